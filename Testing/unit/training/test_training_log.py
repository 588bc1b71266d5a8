"""What a training leaves to look at: every number that it reported, also after it was stopped and went on."""

import math
from pathlib import Path

import matplotlib.image
import pytest

from CrossModalSegLib.training import training_log
from CrossModalSegLib.training.checkpoint import TrainingState
from CrossModalSegLib.training.training_log import StepReport, TrainingLog, draw_curves


def progress(step: int, dice: list[float] | None = None) -> StepReport:
    return StepReport(step, 10, 1 / step, 0.01 * step, 0.0, dice or [], {"supervised": 2 / step, "cac": 0.5})


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value of everything in the TensorBoard log of ``folder``, as TensorBoard itself reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        name: [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_tensorboard_has_every_part_of_the_loss_and_each_validation_once(tmp_path):
    with TrainingLog(tmp_path, ["liver", "spleen"]) as log:
        log.step(progress(1), 0)
        log.step(progress(2, [0.5, math.nan]), 1)
        log.step(progress(3, [0.5, math.nan]), 1)
    assert scalars(tmp_path) == {
        "loss/total": [(1, 1.0), (2, 0.5), (3, 1 / 3)],
        "loss/supervised": [(1, 2.0), (2, 1.0), (3, 2 / 3)],
        "loss/cac": [(1, 0.5), (2, 0.5), (3, 0.5)],
        "learning rate": [(1, 0.01), (2, 0.02), (3, 0.03)],
        "validation Dice/mean": [(2, 0.5)],
        "validation Dice/liver": [(2, 0.5)],
    }


def test_a_training_that_goes_on_replaces_what_it_had_not_saved(tmp_path):
    with TrainingLog(tmp_path, ["liver"]) as log:
        for step in (1, 2, 3):
            log.step(progress(step), 0)
    with TrainingLog(tmp_path, ["liver"]) as log:
        for step in (2, 3, 4):
            log.step(progress(step), 0)
    assert [step for step, _ in scalars(tmp_path)["loss/total"]] == [1, 2, 3, 4]


def test_without_tensorboard_the_picture_is_there_and_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(training_log, "find_spec", lambda _name: None)
    with TrainingLog(tmp_path, ["liver"]) as log:
        log.step(progress(1), 0)
        log.saved(state(3))
    assert "pip install tensorboard" in log.missing
    assert [item.name for item in tmp_path.iterdir()] == ["curves.png"]


def state(steps: int, iterations: int = 10) -> TrainingState:
    made = TrainingState(None, {}, None)
    for step in range(1, steps + 1):
        made.step = step
        made.record({"loss": float(step), "csc": 1.0}, iterations)
    return made


def test_the_history_holds_the_means_of_equal_parts_of_the_training():
    history = state(7, iterations=800).history  # 400 entries, so two steps each
    assert [entry["step"] for entry in history] == [2, 4, 6, 7]
    assert [entry["sums"]["loss"] / entry["counts"]["loss"] for entry in history] == [1.5, 3.5, 5.5, 7.0]


def test_parts_that_some_steps_do_not_have_are_averaged_over_those_that_do():
    made = TrainingState(None, {}, None)
    for made.step, losses in ((1, {"loss": 1.0, "cac": 4.0}), (2, {"loss": 3.0})):
        made.record(losses, 800)
    (entry,) = made.history
    assert entry["sums"] == {"loss": 4.0, "cac": 4.0}
    assert entry["counts"] == {"loss": 2, "cac": 1}


@pytest.mark.parametrize("validations", [0, 2])
def test_the_curves_are_a_picture_whatever_there_is_to_draw(tmp_path, validations):
    curve = [{"step": 5 * n, "loss": 1.0, "dice": [0.4, math.nan]} for n in range(validations)]
    draw_curves(tmp_path / "curves.png", state(6).history if validations else [], curve, ["liver", "spleen"])
    picture = matplotlib.image.imread(tmp_path / "curves.png")
    assert picture.shape == (450, 1200, 4)
    assert picture.std() > 0.01
