"""The objective of a step: what it learns from, what each part weighs, and where gradients go."""

import math
from dataclasses import replace

import pytest
import torch

from CrossModalSegLib.losses import ramp
from CrossModalSegLib.synthesis.deformation import chance
from CrossModalSegLib.synthesis.samples import Sample, UnlabelledSample
from CrossModalSegLib.training.cell_subset import CellSubset
from CrossModalSegLib.training.config import NetworkConfig, OptimisationConfig, SemiSupervisedConfig, TrainingConfig
from CrossModalSegLib.training.objective import Objective
from CrossModalSegLib.training.processes import ALONE, Processes
from CrossModalSegLib.training.teacher import Teacher
from CrossModalSegLib.training.training import build_network
from Testing.halves import PATCH, LabelledHalves, UnlabelledHalves

SEMI = SemiSupervisedConfig(
    pseudo_label=1.0, csc=0.1, cac=0.3, cac_from="other", cac_inside=False, confidence=0.0, start=0.0, ramp=0.5
)
CONFIG = TrainingConfig(
    patch=PATCH,
    network=NetworkConfig((4, 8), stem_stride=1),
    training=OptimisationConfig(iterations=100),
    semi_supervised=SEMI,
)


def with_semi(**changes) -> TrainingConfig:
    return replace(CONFIG, semi_supervised=replace(SEMI, **changes))


class Setup:
    """A student, a teacher with other weights, and a batch."""

    def __init__(self, config: TrainingConfig = CONFIG, labelled=None, unlabelled=None):
        torch.manual_seed(0)
        self.network = build_network(config, 2)
        self.objective = Objective(self.network, config)
        self.teacher = Teacher(build_network(config, 2), 0.9)
        self.config = config
        self.labelled = Sample.stack([(labelled or LabelledHalves()).sample(n) for n in range(2)])
        self.unlabelled = UnlabelledSample.stack([(unlabelled or UnlabelledHalves()).sample(9 + n) for n in range(2)])

    def __call__(self, step: int = 0, semi_supervised: bool = True):
        if not semi_supervised:
            return self.objective(self.labelled, None, None, step)
        subset = CellSubset.of_step(self.config.training, step)
        seen = self.teacher.look(self.unlabelled, subset, self.config.semi_supervised.confidence)
        return self.objective(self.labelled, self.unlabelled, seen, step)


def gradient_of(module: torch.nn.Module) -> float:
    return max(0.0 if p.grad is None else float(p.grad.abs().max()) for p in module.parameters())


@pytest.mark.parametrize("step", [0, 25, 50, 99])
def test_the_loss_is_the_sum_of_its_parts_with_weights_that_rise(step):
    loss, parts = Setup()(step)
    assert set(parts) == {"supervised", "pseudo_label", "csc", "cac"}
    rising = ramp(step, 50, 1.0)
    expected = parts["supervised"] + rising * (parts["pseudo_label"] + 0.1 * parts["csc"] + 0.3 * parts["cac"])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_weights_rise_from_where_unlabelled_samples_join():
    setup = Setup(with_semi(start=0.2, csc=0.0, cac=0.0))
    for step, since in ((20, 0), (45, 25), (70, 50), (99, 79)):
        loss, parts = setup(step)
        expected = parts["supervised"] + ramp(since, 50, 1.0) * parts["pseudo_label"]
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_without_unlabelled_samples_the_loss_is_the_supervised_one():
    setup = Setup()
    loss, parts = setup(semi_supervised=False)
    assert set(parts) == {"supervised"}
    assert loss == parts["supervised"]
    assert setup()[1]["supervised"].item() == pytest.approx(loss.item(), abs=2e-2)  # bfloat16, other batch size


@pytest.mark.parametrize("part", ["pseudo_label", "csc", "cac"])
def test_a_part_without_weight_is_not_computed(part):
    assert set(Setup(with_semi(**{part: 0.0}))()[1]) == {"supervised", "pseudo_label", "csc", "cac"} - {part}


@pytest.mark.parametrize("part", ["pseudo_label", "csc", "cac"])
def test_unlabelled_samples_train_both_encoders_by_every_part(part):
    setup = Setup()
    setup.labelled.presence[:] = torch.tensor([True, False])  # labelled samples give the second encoder nothing
    setup(99)[1][part].backward()
    assert gradient_of(setup.network.encoders[0]) > 0
    assert gradient_of(setup.network.encoders[1]) > 0


def test_no_gradient_reaches_the_teacher():
    setup = Setup()
    setup(99)[0].backward()
    assert all(p.grad is None and not p.requires_grad for p in setup.teacher.network.parameters())


def test_the_strong_view_is_the_students_and_the_weak_one_the_teachers():
    setup = Setup()
    before = {name: part.item() for name, part in setup(99)[1].items()}
    seen = setup.teacher.look(setup.unlabelled, CellSubset.draw(1, 99), 0.0)
    setup.unlabelled.weak.zero_()
    _, same_student = setup.objective(setup.labelled, setup.unlabelled, seen, 99)
    assert {name: part.item() for name, part in same_student.items()} == before
    setup.unlabelled.strong.mul_(0.5).add_(torch.randn(PATCH))
    _, other_student = setup.objective(setup.labelled, setup.unlabelled, seen, 99)
    assert other_student["pseudo_label"].item() != before["pseudo_label"]
    assert other_student["supervised"].item() == pytest.approx(before["supervised"], abs=1e-5)


def test_a_teacher_that_is_the_student_and_sees_the_same_agrees_with_it_in_every_voxel():
    """CAC compares modalities, so it is 0 only where both modalities give the same: both scans and branches alike."""
    config = replace(CONFIG, network=NetworkConfig((4, 8), 1, "bottleneck", share_convolutions=True))
    setup = Setup(config)
    with torch.no_grad():
        setup.network.heads[1].load_state_dict(setup.network.heads[0].state_dict())
    setup.teacher = Teacher(setup.network, 0.9)
    setup.unlabelled.strong.copy_(setup.unlabelled.strong[:, :1].expand(-1, 2, -1, -1, -1, -1).clone())
    setup.unlabelled.weak.copy_(setup.unlabelled.strong[:, None])
    assert setup(99)[1]["cac"].item() == pytest.approx(0, abs=1e-3)  # bfloat16


def test_with_soft_pseudo_labels_a_student_that_sees_what_the_teacher_sees_has_nothing_to_learn():
    found = {}
    for form in ("hard", "soft"):
        setup = Setup(with_semi(pseudo_label_form=form, confidence=0.0))
        setup.teacher = Teacher(setup.network, 0.9)
        setup.unlabelled.strong.copy_(setup.unlabelled.weak[:, 0])
        found[form] = setup(99)[1]["pseudo_label"].item()
    assert found["soft"] == pytest.approx(0, abs=1e-3)  # bfloat16
    assert found["hard"] > 0.1


def test_the_form_for_displaced_pairs_may_be_asked_for_everywhere():
    aligned, affinity = Setup()(99)[1]["csc"], Setup(with_semi(csc_form="affinity"))(99)[1]["csc"]
    displaced = Setup(labelled=LabelledHalves(aligned=False), unlabelled=UnlabelledHalves(aligned=False))(99)[1]
    assert displaced["csc"].item() == pytest.approx(affinity.item())
    assert aligned.item() != pytest.approx(affinity.item(), rel=1e-2)
    assert "cac" not in displaced


def test_anatomy_is_compared_in_registered_pairs_although_they_were_displaced_for_the_student():
    assert Setup(unlabelled=UnlabelledHalves(aligned=False, registered=True))(99)[1]["cac"] > 0


def test_unlabelled_scans_of_one_modality_are_learnt_from_too():
    loss, parts = Setup(unlabelled=UnlabelledHalves((False, True)))(99)
    assert "cac" not in parts
    assert parts["pseudo_label"] > 0
    assert loss.isfinite()


def test_a_modality_hidden_from_the_student_is_still_taught_by_the_teacher():
    parts = Setup(unlabelled=UnlabelledHalves(shown=(True, False)))(99)[1]
    assert parts["cac"] > 0


def test_nan_in_the_weak_view_makes_the_loss_nan():
    setup = Setup()
    setup.unlabelled.weak[:, :, :, 0] = math.nan
    assert setup(99)[0].isnan()


@pytest.mark.parametrize("stride", [1, 2])
def test_copy_paste_replaces_the_supervised_part_by_a_mixed_one(stride):
    config = replace(with_semi(copy_paste=1.0), training=replace(CONFIG.training, loss_stride=stride))
    setup = Setup(config)
    loss, parts = setup(99)
    assert set(parts) == {"copy_paste", "csc", "cac"}
    assert loss.item() == pytest.approx((parts["copy_paste"] + 0.1 * parts["csc"] + 0.3 * parts["cac"]).item())
    loss.backward()
    assert gradient_of(setup.network.encoders[1]) > 0


def exchanges(seed: int = 0, processes: Processes = ALONE) -> list[bool]:
    """In which of 40 steps boxes are exchanged, where that is so in half of all."""
    config = replace(with_semi(copy_paste=0.5, cac=0, csc=0), training=replace(CONFIG.training, seed=seed))
    setup = Setup(config)
    setup.objective.processes = processes
    return ["copy_paste" in setup(step)[1] for step in range(40)]


def test_copy_paste_is_decided_anew_in_each_training_and_process_and_not_as_samples_are_drawn():
    first = exchanges()
    assert first == exchanges()
    as_samples = [chance(0.5, torch.Generator().manual_seed(step)) for step in range(40)]  # of one per step, seed 0
    for other in (
        exchanges(seed=1),
        exchanges(processes=Processes(0, 2)),
        exchanges(processes=Processes(1, 2)),
        as_samples,
    ):
        assert 8 < sum(a == b for a, b in zip(first, other, strict=True)) < 32


def test_copy_paste_early_in_training_learns_from_labels_and_hardly_from_the_teacher():
    setup = Setup(with_semi(copy_paste=1.0, cac=0, csc=0))
    sure_of(setup.network, 0, 3.0)
    losses = {}
    for opinion in (0, 1):
        sure_of(setup.teacher.network, opinion, 20.0)
        losses[opinion] = [setup(step)[0].item() for step in (0, 99)]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.03)
    assert losses[1][1] > 1.2 * losses[0][1]


def sure_of(network: torch.nn.Module, opinion: int, strength: float) -> None:
    """Let a network prefer one of two classes everywhere."""
    with torch.no_grad():
        for head in network.heads:
            head.bias.copy_(strength * torch.nn.functional.one_hot(torch.tensor(opinion), 2))
