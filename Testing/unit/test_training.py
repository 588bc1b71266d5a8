"""The training loop: it learns, it goes on where it was stopped, and it does not go on with what is broken."""

import math
from dataclasses import replace

import pytest
import torch

from CrossModalSegLib import training
from CrossModalSegLib.config import NetworkConfig, OptimisationConfig, TrainingConfig
from CrossModalSegLib.errors import TrainingError
from CrossModalSegLib.losses import supervised_loss
from CrossModalSegLib.synthesis import Sample
from CrossModalSegLib.training import (
    VALIDATION_SEED,
    Progress,
    autocast,
    averaged_weights,
    build_network,
    learning_rate,
    thin_out,
    train,
    train_step,
    update_average,
    validate,
)

CPU = torch.device("cpu")
PATCH = (8, 8, 8)
OPTIONS = OptimisationConfig(
    iterations=6, batch=1, learning_rate=0.01, warmup=1, decay=0.5, average=0.9, checkpoint_minutes=0, validate_every=3
)
CONFIG = TrainingConfig(patch=PATCH, network=NetworkConfig((4, 8), stem_stride=1), training=OPTIONS)


class Halves:
    """Bright in one half of each patch, where the label is 1; the seed says which half."""

    def __init__(self, presence=(True, True)):
        self.presence = presence
        self.seeds: list[int] = []

    device = torch.device("cpu")

    def sample(self, seed: int) -> Sample:
        self.seeds.append(seed)
        generator = torch.Generator().manual_seed(seed)
        labels = torch.zeros((2, *PATCH), dtype=torch.uint8)
        axis, side = (
            int(torch.randint(0, 3, (), generator=generator)),
            int(torch.randint(0, 2, (), generator=generator)),
        )
        labels.narrow(1 + axis, 4 * side, 4).fill_(1)
        intensity = labels + 0.1 * torch.randn((2, *PATCH), generator=generator)
        volumes = torch.stack([intensity, torch.ones_like(intensity)], dim=1)  # (M, 2, D, H, W)
        return Sample(volumes, torch.zeros((3, *PATCH)), labels, torch.tensor(self.presence))


def run(folder, config=CONFIG, source=None, validation=None, classes=2, report=lambda _: None):
    folder.mkdir(exist_ok=True)
    return train(config, classes, source or Halves(), validation, folder, CPU, report)


def with_options(**changes) -> TrainingConfig:
    return replace(CONFIG, training=replace(OPTIONS, **changes))


# learning


def test_the_loss_falls_on_a_trivial_task(tmp_path):
    seen: list[Progress] = []
    config = with_options(iterations=30, learning_rate=0.02, checkpoint_minutes=60)
    run(tmp_path, config, validation=Halves(), report=seen.append)
    assert [progress.step for progress in seen] == list(range(1, 31))
    assert sum(p.loss for p in seen[-5:]) / 5 < 0.6 * seen[0].loss
    assert seen[-1].mean_dice > 0.9
    assert math.isnan(seen[0].mean_dice)


def test_validation_comes_every_so_many_steps_and_at_the_end(tmp_path):
    validation = Halves()
    seen: list[Progress] = []
    run(tmp_path, with_options(iterations=5, validate_every=2, validation_samples=2), None, validation, 3, seen.append)
    curve = training.read_curve(tmp_path)
    assert [point["step"] for point in curve] == [2, 4, 5]
    assert [point["loss"] for point in curve] == [seen[step - 1].loss for step in (2, 4, 5)]
    assert all(len(point["dice"]) == 2 for point in curve)  # without background
    assert math.isnan(seen[-1].dice[1]) or seen[-1].dice[1] == 0  # class 2 does not occur
    assert set(validation.seeds) == {VALIDATION_SEED, VALIDATION_SEED + 1}  # the same samples every time


def test_every_step_draws_samples_of_its_own_seeds(tmp_path):
    source = Halves()
    run(tmp_path, with_options(iterations=3, batch=2), source)
    assert source.seeds == [0, 1, 2, 3, 4, 5]
    other = Halves()
    run(tmp_path / "other", with_options(iterations=3, batch=2, seed=1), other)
    assert not set(source.seeds) & set(other.seeds)


def test_progress_carries_the_time_left_and_the_learning_rate(tmp_path):
    seen: list[Progress] = []
    run(tmp_path, report=seen.append)
    assert [progress.learning_rate for progress in seen] == [learning_rate(OPTIONS, step) for step in range(6)]
    assert all(progress.seconds_left > 0 for progress in seen[:-1])
    assert seen[-1].seconds_left == 0


def test_the_mean_dice_leaves_out_classes_that_do_not_occur():
    assert Progress(1, 1, 0.0, 0.0, 0.0, [0.5, math.nan, 1.0]).mean_dice == 0.75


# one step


def test_the_loss_of_a_step_is_the_mean_over_the_modalities_that_are_there():
    network = build_network(CONFIG, 2)
    frozen = torch.optim.SGD(network.parameters(), lr=0.0)
    batch = Sample.stack([Halves((True, False)).sample(0), Halves().sample(1)])
    with autocast(CPU), torch.no_grad():
        logits = network(batch.volumes, batch.position, batch.presence)
        first = supervised_loss(logits[0], batch.labels[:, 0])
        second = supervised_loss(logits[1][1:], batch.labels[1:, 1])  # only the second sample has it
    assert train_step(network, frozen, batch, 1, 0) == pytest.approx(float((first + second) / 2), abs=1e-4)
    batch.labels[0, 1] = 1 - batch.labels[0, 1]
    assert train_step(network, frozen, batch, 1, 0) == pytest.approx(float((first + second) / 2), abs=1e-4)


def test_a_batch_without_one_modality_trains_the_other():
    network = build_network(CONFIG, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = Sample.stack([Halves((False, True)).sample(0)])
    loss = train_step(network, torch.optim.SGD(network.parameters(), lr=0.1), batch, 1, 0)
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
    train_step(network, torch.optim.SGD(network.parameters(), lr=1.0), Sample.stack([Halves().sample(0)]), 1, 0)
    after = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert (after - before).norm().item() == pytest.approx(1.0, rel=1e-2)


# thinning out


def block_numbers(cells: tuple[int, int, int], block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (1, block³, d, h, w) that hold the labels (1, D, H, W) of their block: every voxel has its own number."""
    shape = [n * block for n in cells]
    labels = torch.arange(math.prod(shape)).view(1, *shape)
    split = labels.view(1, cells[0], block, cells[1], block, cells[2], block)
    return split.permute(0, 2, 4, 6, 1, 3, 5).reshape(1, block**3, *cells), labels


def copying_head(features: torch.Tensor, block: int) -> torch.Tensor:
    """Each cell's features as its block of voxels: (1, D, H, W)."""
    _, _, d, h, w = features.shape
    split = features.view(1, block, block, block, d, h, w).permute(0, 4, 1, 5, 2, 6, 3)
    return split.reshape(1, d * block, h * block, w * block)


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("cells", [(4, 4, 4), (5, 4, 6)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_thinning_out_keeps_each_feature_cell_with_its_block_of_labels(block, cells, stride):
    features, labels = block_numbers(cells, block)
    assert torch.equal(copying_head(features, block), labels)
    for phase in range(6):
        thin_features, thin_labels = thin_out(features, labels, stride, phase)
        assert torch.equal(copying_head(thin_features, block), thin_labels)


def test_thinning_out_by_two_leaves_an_eighth_and_every_cell_has_its_turn():
    features, labels = block_numbers((4, 4, 4), 2)
    met = set()
    for phase in range(60):
        thin_features, thin_labels = thin_out(features, labels, 2, phase)
        assert thin_features.shape == (1, 8, 2, 2, 2)
        assert thin_labels.shape == (1, 4, 4, 4)
        met.update(thin_labels.flatten().tolist())
    assert len(met) == labels.numel()


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


def test_the_average_follows_its_formula():
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(8.0)
        average = {"weight": torch.tensor([[4.0]])}
        update_average(average, network, 0.75)
        assert average["weight"].item() == 0.75 * 4 + 0.25 * 8
        assert network.weight.item() == 8.0
        update_average(average, network, 0.0)
        assert average["weight"].item() == 8.0


def test_the_average_of_a_training_is_the_mean_of_its_weights_while_it_is_young(tmp_path, monkeypatch):
    """With the decay 1 - 1 / (step + 1), the average of the first steps is their plain mean."""
    weights = []
    step = training.train_step

    def recorded(network, *rest, **named):
        loss = step(network, *rest, **named)
        weights.append({name: value.clone() for name, value in network.state_dict().items()})
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
    dice = validate(SaysOne(), Halves(presence), 3, 4, CPU)
    assert dice[0] == pytest.approx(2 / 3)
    assert math.isnan(dice[1])
    assert math.isnan(dice[2])


# stopping and going on


class Interrupted(Exception):
    pass


def interrupt_at(step: int):
    def report(progress: Progress) -> None:
        if progress.step == step:
            raise Interrupted

    return report


def test_a_training_that_was_stopped_and_resumed_gives_the_same_weights(tmp_path):
    config = with_options(batch=2)
    whole = run(tmp_path / "whole", config, validation=Halves())
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", config, validation=Halves(), report=interrupt_at(4))
    steps: list[int] = []
    parts = run(tmp_path / "parts", config, validation=Halves(), report=lambda progress: steps.append(progress.step))
    assert steps == [4, 5, 6]  # step 4 was not yet saved when it was interrupted
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert training.read_curve(tmp_path / "whole") == training.read_curve(tmp_path / "parts")


def test_the_same_seed_gives_the_same_training_and_another_seed_another(tmp_path):
    first, again = run(tmp_path / "a"), run(tmp_path / "b")
    other = run(tmp_path / "c", with_options(seed=1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["heads.0.weight"], other["heads.0.weight"])


def test_a_finished_training_is_not_trained_further(tmp_path):
    weights = run(tmp_path)
    source = Halves()
    again = run(tmp_path, source=source)
    assert source.seeds == []
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_checkpoints_are_written_after_the_minutes_asked_for(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, with_options(checkpoint_minutes=60), report=interrupt_at(5))
    assert not (tmp_path / "checkpoint.pt").exists()
    assert training.read_curve(tmp_path) == []


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


class Poisoned(Halves):
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
