"""Early stopping and the anchor: when a training ends, with which weights, and how far it may go from its start."""

import math
from dataclasses import replace

import pytest
import torch

from CrossModalSegLib.training.checkpoint import read_curve
from CrossModalSegLib.training.config import NetworkConfig, OptimisationConfig, SemiSupervisedConfig, TrainingConfig
from CrossModalSegLib.training.early_stop import EarlyStop, best_of, best_step
from CrossModalSegLib.training.forgetting import Anchor, between
from CrossModalSegLib.training.sources import Samples
from CrossModalSegLib.training.training import Course, Place, build_network, train
from Testing.halves import PATCH, LabelledHalves, UnlabelledHalves

CPU = torch.device("cpu")
OPTIONS = OptimisationConfig(iterations=12, learning_rate=0.01, warmup=1, average=0.9, validate_every=2)
CONFIG = TrainingConfig(patch=PATCH, network=NetworkConfig((4, 8), stem_stride=1), training=OPTIONS)


def curve(*values: float) -> list[dict]:
    return [{"step": number, "loss": 0.0, "dice": [value, math.nan]} for number, value in enumerate(values)]


def test_the_best_validation_is_the_first_of_equals_and_structures_that_do_not_occur_do_not_count():
    assert best_of(curve(0.5, 0.7, 0.7, 0.6)) == 1
    assert best_of([]) == -1


def test_a_training_ends_after_so_many_validations_without_a_better_one():
    stop = EarlyStop(patience=2)
    assert [stop.ends(curve(*(0.5, 0.7, 0.7, 0.6)[:n])) for n in range(5)] == [False, False, False, False, True]


def test_several_trainings_together_tell_where_overfitting_begins():
    assert best_step([curve(0.5, 0.6, 0.55), curve(0.5, 0.61, 0.56), curve(0.4, 0.5, 0.45)]) == 1


def test_one_lucky_validation_one_training_or_a_rise_to_the_end_tell_nothing():
    assert best_step([curve(0.5, 0.9, 0.55), curve(0.5, 0.55, 0.56), curve(0.4, 0.45, 0.46)]) is None
    assert best_step([curve(0.5, 0.9, 0.1)]) is None
    assert best_step([curve(0.5, 0.6, 0.7), curve(0.5, 0.6, 0.7)]) is None
    assert best_step([curve(0.5, 0.604, 0.6), curve(0.5, 0.604, 0.6)]) is None, "no more than anything varies by"
    assert best_step([]) is None


class _Worse(EarlyStop):
    """Finds every validation but the first one worse."""

    def ends(self, curve):
        return len(curve) > self.patience


def trained(folder, config=CONFIG, unlabelled=None, **more):
    folder.mkdir(exist_ok=True)
    samples = Samples(LabelledHalves(), unlabelled, LabelledHalves())
    return train(config, 2, samples, Place(folder, CPU), lambda _: None, Course(**more))


def test_a_training_that_ended_early_says_so_in_its_curve_and_resuming_it_changes_nothing(tmp_path):
    weights = trained(tmp_path, early_stop=_Worse(1))
    assert [entry["step"] for entry in read_curve(tmp_path)] == [2, 4]
    again = trained(tmp_path, early_stop=_Worse(1))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert [entry["step"] for entry in read_curve(tmp_path)] == [2, 4]


def test_a_training_that_ended_early_gives_the_weights_at_its_end_not_those_of_its_best_validation(tmp_path):
    best = trained(tmp_path / "best", until=2)
    at_the_end = trained(tmp_path / "end", until=4)
    weights = trained(tmp_path / "stopped", early_stop=_Worse(1))
    assert all(torch.equal(weights[name], at_the_end[name]) for name in weights)
    assert not all(torch.equal(weights[name], best[name]) for name in weights)


def test_the_anchor_draws_weights_a_known_part_of_the_way_back():
    network = torch.nn.Linear(1, 1)
    with torch.no_grad():
        network.weight.fill_(2.0)
        network.bias.fill_(2.0)
    anchor = Anchor(network, strength=5.0)
    with torch.no_grad():
        network.weight.fill_(4.0)
    anchor.pull(network, learning_rate=0.05)  # a quarter of the way
    assert float(network.weight.detach()) == pytest.approx(3.5)
    assert float(network.bias.detach()) == 2.0


def test_an_anchored_training_stays_nearer_to_its_start(tmp_path):
    def distance(name: str, strength: float) -> float:
        torch.manual_seed(3)
        network = build_network(CONFIG, 2)
        anchor = Anchor(network, strength)
        trained(tmp_path / name, network=network, anchor=anchor)
        return sum(float((weight.detach() - anchor.start[key]).norm()) for key, weight in network.named_parameters())

    assert distance("anchored", 30.0) < 0.7 * distance("free", 0.0)


def test_the_first_part_of_a_training_is_learnt_from_labels_alone(tmp_path):
    unlabelled = UnlabelledHalves()
    config = replace(CONFIG, semi_supervised=SemiSupervisedConfig(start=0.5))
    trained(tmp_path, config, unlabelled=unlabelled)
    assert len(unlabelled.seeds) == 6  # of 12 steps


def test_what_is_published_lies_between_the_start_and_the_end():
    start, end = {"w": torch.tensor([0.0, 4.0])}, {"w": torch.tensor([2.0, 0.0])}
    assert between(start, end, 0.25)["w"].tolist() == [0.5, 3.0]
    assert torch.equal(between(start, end, 1.0)["w"], end["w"])
