"""The training loop: it learns, it goes on where it was stopped, and it does not go on with what is broken."""

import math
import struct
import time
import zipfile
from dataclasses import replace

import pytest
import torch

from CrossModalSegLib.errors import TrainingError
from CrossModalSegLib.losses import supervised_loss
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.training import training
from CrossModalSegLib.training.batches import StepBatch
from CrossModalSegLib.training.checkpoint import TrainingState, read_curve
from CrossModalSegLib.training.config import NetworkConfig, OptimisationConfig, SemiSupervisedConfig, TrainingConfig
from CrossModalSegLib.training.objective import Objective
from CrossModalSegLib.training.seeds import VALIDATION
from CrossModalSegLib.training.sources import Samples
from CrossModalSegLib.training.teacher import Teacher, autocast
from CrossModalSegLib.training.training import (
    Course,
    Place,
    averaged_weights,
    build_network,
    learning_rate,
    train,
    train_step,
    validate,
)
from CrossModalSegLib.training.training_log import StepReport
from Testing.halves import PATCH, LabelledHalves, UnlabelledHalves

CPU = torch.device("cpu")
OPTIONS = OptimisationConfig(
    iterations=6, batch=1, learning_rate=0.01, warmup=1, decay=0.5, average=0.9, checkpoint_minutes=0, validate_every=3
)
CONFIG = TrainingConfig(
    patch=PATCH,
    network=NetworkConfig((4, 8), stem_stride=1),
    training=OPTIONS,
    semi_supervised=SemiSupervisedConfig(start=0.0),
)


def make(folder):
    folder.mkdir()
    return folder


def run(folder, config=CONFIG, source=None, validation=None, classes=2, report=lambda _: None, unlabelled=None):
    folder.mkdir(exist_ok=True)
    samples = Samples(source or LabelledHalves(), unlabelled, validation)
    return train(config, classes, samples, Place(folder, CPU), report)


def with_options(**changes) -> TrainingConfig:
    return replace(CONFIG, training=replace(OPTIONS, **changes))


# learning


def test_the_loss_falls_on_a_trivial_task(tmp_path):
    seen: list[StepReport] = []
    config = with_options(iterations=30, learning_rate=0.02, checkpoint_minutes=60)
    run(tmp_path, config, validation=LabelledHalves(), report=seen.append)
    assert [progress.step for progress in seen] == list(range(1, 31))
    assert sum(p.loss for p in seen[-5:]) / 5 < 0.6 * seen[0].loss
    assert seen[-1].mean_dice > 0.9
    assert math.isnan(seen[0].mean_dice)


def test_validation_comes_every_so_many_steps_and_at_the_end(tmp_path):
    validation = LabelledHalves()
    seen: list[StepReport] = []
    run(tmp_path, with_options(iterations=5, validate_every=2, validation_samples=2), None, validation, 3, seen.append)
    curve = read_curve(tmp_path)
    assert [point["step"] for point in curve] == [2, 4, 5]
    assert [point["loss"] for point in curve] == [seen[step - 1].loss for step in (2, 4, 5)]
    assert all(len(point["dice"]) == 2 for point in curve)  # without background
    assert math.isnan(seen[-1].dice[1]) or seen[-1].dice[1] == 0  # class 2 does not occur
    assert set(validation.seeds) == {VALIDATION, VALIDATION + 1}  # the same samples every time


def test_every_step_draws_samples_of_its_own_seeds(tmp_path):
    source = LabelledHalves()
    run(tmp_path, with_options(iterations=3, batch=2), source)
    assert source.seeds == [0, 1, 2, 3, 4, 5]
    other = LabelledHalves()
    run(tmp_path / "other", with_options(iterations=3, batch=2, seed=1), other)
    assert not set(source.seeds) & set(other.seeds)


class SlowHalves(LabelledHalves):
    def sample(self, seed):
        time.sleep(0.1)  # what is left is told in tenths of a second
        return super().sample(seed)


def test_progress_carries_the_time_left_and_the_learning_rate(tmp_path):
    seen: list[StepReport] = []
    run(tmp_path, source=SlowHalves(), report=seen.append)
    assert [progress.learning_rate for progress in seen] == [learning_rate(OPTIONS, step) for step in range(6)]
    assert all(progress.seconds_left > 0 for progress in seen[:-1])
    assert seen[-1].seconds_left == 0


def test_the_mean_dice_leaves_out_classes_that_do_not_occur():
    assert StepReport(1, 1, 0.0, 0.0, 0.0, [0.5, math.nan, 1.0]).mean_dice == 0.75


# learning without labels


def test_unlabelled_samples_are_learnt_from_beside_labelled_ones(tmp_path):
    seen: list[StepReport] = []
    unlabelled = UnlabelledHalves()
    config = with_options(iterations=40, learning_rate=0.02, checkpoint_minutes=60)
    run(tmp_path, config, validation=LabelledHalves(), report=seen.append, unlabelled=unlabelled)
    assert len(unlabelled.seeds) == 40
    assert all(set(p.parts) == {"supervised", "pseudo_label", "csc", "cac"} for p in seen)
    assert seen[-1].mean_dice > 0.9
    assert seen[-1].parts["cac"] < 0.2


def test_no_unlabelled_sample_is_drawn_where_none_is_asked_for(tmp_path):
    unlabelled, config = UnlabelledHalves(), replace(CONFIG, semi_supervised=SemiSupervisedConfig(batch=0))
    weights = run(tmp_path / "a", config, unlabelled=unlabelled)
    without = run(tmp_path / "b")
    assert unlabelled.seeds == []
    assert all(torch.equal(weights[name], without[name]) for name in weights)


def test_student_and_teacher_look_at_the_same_cells_in_every_step(tmp_path, monkeypatch):
    seen = {"student": [], "teacher": []}
    student, teacher = Objective._student, Teacher.look

    def of_student(self, batch, subset):
        seen["student"].append(subset)
        return student(self, batch, subset)

    def of_teacher(self, batch, subset, confidence):
        seen["teacher"].append(subset)
        return teacher(self, batch, subset, confidence)

    monkeypatch.setattr(Objective, "_student", of_student)
    monkeypatch.setattr(Teacher, "look", of_teacher)
    run(tmp_path, with_options(loss_stride=3, seed=2), unlabelled=UnlabelledHalves())
    assert seen["student"] == seen["teacher"]
    assert len({subset.offsets for subset in seen["teacher"]}) > 1


class PoisonedWeakView(UnlabelledHalves):
    """NaN in what the teacher is given."""

    def sample(self, seed):
        sample = super().sample(seed)
        sample.weak[:] = math.nan
        return sample


def test_nan_in_what_the_teacher_is_given_stops_the_training(tmp_path):
    with pytest.raises(TrainingError, match="nan at step 0"):
        run(tmp_path, unlabelled=PoisonedWeakView())


# one step


def step_of(network: torch.nn.Module, batch: Sample, rate: float) -> float:
    """One supervised step by plain gradient descent; returns the loss."""
    state = TrainingState(network, {}, torch.optim.SGD(network.parameters(), lr=rate))
    return train_step(Objective(network, CONFIG), state, StepBatch(batch, None), CONFIG)[0]


def test_the_loss_of_a_step_is_the_mean_over_the_modalities_that_are_there():
    network = build_network(CONFIG, 2)
    batch = Sample.stack([LabelledHalves((True, False)).sample(0), LabelledHalves().sample(1)])
    with autocast(CPU), torch.no_grad():
        logits = network(batch.volumes, batch.position, batch.presence)
        first = supervised_loss(logits[0], batch.labels[:, 0])
        second = supervised_loss(logits[1][1:], batch.labels[1:, 1])  # only the second sample has it
    assert step_of(network, batch, 0.0) == pytest.approx(float((first + second) / 2), abs=1e-4)
    batch.labels[0, 1] = 1 - batch.labels[0, 1]
    assert step_of(network, batch, 0.0) == pytest.approx(float((first + second) / 2), abs=1e-4)


def test_a_batch_without_one_modality_trains_the_other():
    network = build_network(CONFIG, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = Sample.stack([LabelledHalves((False, True)).sample(0)])
    loss = step_of(network, batch, 0.1)
    assert math.isfinite(loss)
    after = network.state_dict()
    changed = {name[: len("encoders.0")] for name in before if not torch.equal(before[name], after[name])}
    assert "encoders.1" in changed
    assert "encoders.0" not in changed


def test_the_gradient_is_clipped_to_a_length_of_one():
    network = build_network(CONFIG, 2)
    with torch.no_grad():
        network.heads[0].weight *= 1000
        before = torch.cat([p.detach().clone().flatten() for p in network.parameters()])
    step_of(network, Sample.stack([LabelledHalves().sample(0)]), 1.0)
    after = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert (after - before).norm().item() == pytest.approx(1.0, rel=1e-2)


# learning rate, average


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.1), (4, 0.5), (9, 1), (50, 1), (70, 1), (85, 0.5), (99, 1 / 30)],
)
def test_the_learning_rate_warms_up_stays_and_falls_to_zero(step, factor):
    options = OptimisationConfig(iterations=100, learning_rate=0.02, warmup=10, decay=0.3)
    assert learning_rate(options, step) == pytest.approx(0.02 * factor)


def test_the_learning_rate_before_the_decay_does_not_depend_on_the_length():
    short, long = (OptimisationConfig(iterations=n, warmup=10, decay=0.3) for n in (100, 200))
    assert all(learning_rate(short, step) == learning_rate(long, step) for step in range(70))


def test_no_warmup_and_no_decay_are_possible():
    options = OptimisationConfig(iterations=10, learning_rate=1.0, warmup=0, decay=0)
    assert [learning_rate(options, step) for step in range(10)] == [1.0] * 10


def test_the_average_of_a_training_is_the_mean_of_its_weights_while_it_is_young(tmp_path, monkeypatch):
    """With the decay 1 - 1 / (step + 1), the average of the first steps is their plain mean."""
    weights = []
    step = training.train_step

    def recorded(objective, *rest):
        loss = step(objective, *rest)
        weights.append({name: value.clone() for name, value in objective.network.state_dict().items()})
        return loss

    monkeypatch.setattr(training, "train_step", recorded)
    average = run(tmp_path, with_options(iterations=4, average=0.9))
    for name, value in average.items():
        mean = torch.stack([step_weights[name] for step_weights in weights]).mean(0)
        assert torch.allclose(value, mean, atol=1e-6)


def test_averaged_weights_are_there_inside_the_block_only():
    network = torch.nn.Linear(1, 1, bias=False)
    own = network.weight.item()

    def fail_inside() -> None:
        with averaged_weights(network, {"weight": torch.tensor([[5.0]])}):
            assert network.weight.item() == 5.0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert network.weight.item() == own


# validation


class SaysOne(torch.nn.Module):
    """A network that gives class 1 to every voxel of the modalities that are there."""

    def forward(self, volumes, _position, presence):
        logits = torch.zeros((1, 4, *volumes.shape[3:]))
        logits[:, 1] = 1
        return [logits if presence[0, modality] else None for modality in range(2)]


@pytest.mark.parametrize("presence", [(True, True), (True, False)])
def test_validation_dice_by_hand(presence):
    # Half of the voxels are 1 and all are called 1: 2 * 1/2 / (1 + 1/2). Classes 2 and 3 do not occur.
    dice = validate(SaysOne(), LabelledHalves(presence), 3, 4, CPU)
    assert dice[0] == pytest.approx(2 / 3)
    assert math.isnan(dice[1])
    assert math.isnan(dice[2])


# stopping and going on


class Interrupted(Exception):
    pass


def interrupt_at(step: int):
    def report(progress: StepReport) -> None:
        if progress.step == step:
            raise Interrupted

    return report


SEMI = SemiSupervisedConfig(batch=2, start=0.0, ramp=0.5, confidence=0.5, copy_paste=0.5)


@pytest.mark.parametrize("streams", [1, 2])
def test_a_training_that_was_stopped_and_resumed_gives_the_same_weights(tmp_path, streams):
    config = replace(with_options(batch=2, loss_stride=2, seed=1), semi_supervised=SEMI)
    given = {"validation": LabelledHalves(), "unlabelled": UnlabelledHalves() if streams == 2 else None}
    whole = run(tmp_path / "whole", config, **given)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", config, **given, report=interrupt_at(4))
    steps: list[int] = []
    parts = run(tmp_path / "parts", config, **given, report=lambda progress: steps.append(progress.step))
    assert steps == [4, 5, 6]  # step 4 was not yet saved when it was interrupted
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert read_curve(tmp_path / "whole") == read_curve(tmp_path / "parts")
    saved = [torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "parts")]
    for name, value in (saved[0]["teacher"] or {}).items():
        assert torch.equal(value, saved[1]["teacher"][name])
    assert (saved[0]["teacher"] is None) == (streams == 1)


def test_a_training_that_begins_with_labels_alone_may_get_its_beginning_from_one_that_has_no_others(tmp_path):
    config = replace(with_options(batch=2), semi_supervised=replace(SEMI, start=0.5))
    whole = run(tmp_path / "whole", config, unlabelled=UnlabelledHalves())
    unlabelled = UnlabelledHalves()
    place, samples = Place(make(tmp_path / "parts"), CPU), Samples(LabelledHalves())
    train(config, 2, samples, place, lambda _: None, Course(until=3))
    assert torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)["step"] == 3
    train(config, 2, samples, place, lambda _: None, Course(until=3))  # nothing is left to do
    parts = run(tmp_path / "parts", config, unlabelled=unlabelled)
    assert len(unlabelled.seeds) == 6  # two in each of the steps 3, 4, 5
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    teachers = [
        torch.load(tmp_path / run / "checkpoint.pt", weights_only=True)["teacher"] for run in ("whole", "parts")
    ]
    assert all(torch.equal(teachers[0][name], teachers[1][name]) for name in teachers[0])


def test_unlabelled_samples_may_join_a_training_that_goes_on(tmp_path):
    """The teacher then starts from the weights of the checkpoint."""
    with pytest.raises(Interrupted):
        run(tmp_path, report=interrupt_at(4))
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    config = replace(
        CONFIG, semi_supervised=SemiSupervisedConfig(start=0.0, teacher=1.0)
    )  # and hardly moves in three steps
    run(tmp_path, config, unlabelled=UnlabelledHalves())
    teacher = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["teacher"]
    distance = max(float((teacher[n] - saved["network"][n]).abs().max()) for n in teacher)
    assert 0 < distance < 0.05


def test_the_same_seed_gives_the_same_training_and_another_seed_another(tmp_path):
    first, again = run(tmp_path / "a"), run(tmp_path / "b")
    other = run(tmp_path / "c", with_options(seed=1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["heads.0.weight"], other["heads.0.weight"])


def test_a_finished_training_is_not_trained_further(tmp_path):
    weights = run(tmp_path)
    source = LabelledHalves()
    again = run(tmp_path, source=source)
    assert source.seeds == []
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_checkpoints_are_written_after_the_minutes_asked_for(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, with_options(checkpoint_minutes=60), report=interrupt_at(5))
    assert not (tmp_path / "checkpoint.pt").exists()
    assert read_curve(tmp_path) == []


@pytest.mark.parametrize(
    ("network", "classes"),
    [(NetworkConfig((4, 12), stem_stride=1), 2), (CONFIG.network, 3)],
    ids=["channels", "classes"],
)
def test_a_checkpoint_of_another_network_is_refused_and_kept(tmp_path, network, classes):
    run(tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(TrainingError, match=r"checkpoint\.pt") as caught:
        run(tmp_path, replace(CONFIG, network=network), classes=classes)
    assert caught.value.code == "checkpoint-differs"
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    run(tmp_path)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "other": b"no checkpoint at all"}[damage])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt") as caught:
        run(tmp_path)
    assert caught.value.code == "checkpoint-unreadable"


def test_a_flipped_bit_anywhere_in_the_weights_of_a_checkpoint_is_noticed(tmp_path):
    run(tmp_path)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        stored = [entry for entry in archive.infolist() if "/data/" in entry.filename and entry.file_size]
    assert len(stored) > 5
    for entry in stored[:12]:
        lengths = struct.unpack(
            "<2H", whole[entry.header_offset + 26 : entry.header_offset + 30]
        )  # of name and extra field
        damaged = bytearray(whole)
        damaged[entry.header_offset + 30 + sum(lengths) + entry.file_size // 2] ^= 16
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match=rf"checkpoint-unreadable.*the checksum of {entry.filename} is another"):
            run(tmp_path)
        assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda _: torch.zeros(3), "config"),
        (lambda _: [1, 2], "config"),
        (lambda saved: saved["network"], "config"),
        (lambda saved: {"model": saved["network"], "epoch": 3}, "config"),
        (lambda saved: {**saved, "config": {"name": "x"}}, "config.network"),
        (lambda saved: {**saved, "step": "3"}, "step"),
        (lambda saved: {**saved, "average": {}}, "average"),
        (lambda saved: {**saved, "network": {"weight": 3}}, "network"),
        (lambda saved: {**saved, "optimiser": {}}, "optimiser"),
        (lambda saved: {name: value for name, value in saved.items() if name != "curve"}, "curve"),
    ],
)
def test_another_file_of_torch_in_place_of_a_checkpoint_is_named(tmp_path, change, named):
    run(tmp_path)
    path = tmp_path / "checkpoint.pt"
    torch.save(change(torch.load(path, weights_only=True)), path)
    for read in (run, read_curve):
        with pytest.raises(TrainingError, match=rf"checkpoint\.pt is no checkpoint of a training.*\b{named}") as caught:
            read(tmp_path)
        assert caught.value.code == "checkpoint-unreadable"


class Poisoned(LabelledHalves):
    """NaN in the sample of seed 3."""

    device = torch.device("cpu")

    def sample(self, seed: int) -> Sample:
        sample = super().sample(seed)
        if seed == 3:
            sample.volumes[:] = math.nan
        return sample


def test_a_loss_that_is_not_finite_stops_the_training_and_leaves_the_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingError, match="nan at step 3") as caught:
        run(tmp_path, source=Poisoned())
    assert caught.value.code == "loss-not-finite"
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(value.isfinite().all() for value in state["network"].values())


def test_a_gradient_that_is_not_finite_stops_the_training_before_it_changes_anything(tmp_path, monkeypatch):
    """The loss itself is finite: sqrt(0) is, but not its slope."""

    class Steep(Objective):
        def forward(self, labelled, unlabelled, seen, step):
            loss, parts = super().forward(labelled, unlabelled, seen, step)
            return (loss + (0 * self.network.heads[0].weight.sum()).sqrt() if step == 3 else loss), parts

    monkeypatch.setattr(training, "Objective", Steep)
    with pytest.raises(TrainingError, match=r"the loss is \d.* its gradient nan at step 3") as caught:
        run(tmp_path)
    assert caught.value.code == "loss-not-finite"
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(value.isfinite().all() for value in state["network"].values())
