"""A hospital's part in a federation, and what the server makes of what hospitals send; no network, no NVFlare."""

import dataclasses
import json

import numpy as np
import pytest

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.errors import ConfigError, DataError
from CrossModalSegLib.federation.config import federation_of, read_federation
from CrossModalSegLib.federation.hospital import Facts, Hospital, Judgement, combine, fits, size_of
from CrossModalSegLib.federation.report import History, Round, read_history, report_of, write_history
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.site.models import site_models
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return intensity_bundle(tmp_path_factory.mktemp("bundles") / "tiny", (16, 16, 16), 4.0)


def config_of(bundle, folder, **options):
    tables = {"federation": {"parent": str(bundle.path), "rounds": 1, "steps": 2, **options}}
    return federation_of(tables | {"training": {"loss_stride": 2}, "hospitals": {"north": "north"}}, folder)


# --- the server


def test_the_mean_weighs_hospitals_by_their_cases_and_the_median_does_not():
    sent = {
        "a": ({"w": np.array([0.0, 2.0], dtype=np.float32)}, 1),
        "b": ({"w": np.array([4.0, 2.0], dtype=np.float32)}, 3),
        "bad": ({"w": np.array([1000.0, -1000.0], dtype=np.float32)}, 0),
    }
    assert combine(sent, "mean")["w"].tolist() == [3.0, 2.0]  # (1 * 0 + 3 * 4) / 4
    assert combine(sent, "median")["w"].tolist() == [4.0, 2.0]
    assert combine(sent, "mean")["w"].dtype == np.float32
    assert size_of(sent["a"][0]) == 8


@pytest.mark.parametrize(
    ("sent", "is_fit"),
    [({"w": [1.0, 2.0]}, True), ({"w": [1.0, np.nan]}, False), ({"w": [1.0]}, False), ({"v": [1.0, 2.0]}, False)],
)
def test_weights_of_another_network_or_that_are_no_numbers_do_not_reach_the_mean(sent, is_fit):
    arrays = {name: np.array(values, dtype=np.float32) for name, values in sent.items()}
    assert fits(arrays, {"w": np.zeros(2, dtype=np.float32)}) == is_fit


# --- a hospital


def test_facts_say_what_is_learnt_from_and_held_out_and_nobody_is_on_both_sides(bundle, tmp_path):
    make_site(tmp_path / "north", 4, 0, modalities=("T2w",))
    hospital = Hospital(tmp_path / "north", config_of(bundle, tmp_path), "cpu")
    facts = hospital.facts()
    assert (facts.parent, facts.refused) == (bundle.sha256, "")
    assert facts.structures == {one.name: one.value for one in bundle.label_map.structures}
    assert facts.modalities == ["T2w"]  # a hospital with one modality alone takes part
    assert facts.patients + facts.held_out == 4
    assert facts.held_out > 0
    split = hospital._split
    assert not {*split.learnt} & {*split.judged}
    again = Hospital(tmp_path / "north", config_of(bundle, tmp_path), "cpu")._split
    assert again == split  # another process goes by the same plan


def test_another_label_map_and_exchanged_labels_are_reasons_not_to_take_part(bundle, tmp_path):
    other = LabelMap(
        (
            Structure(2, "tissue", (0, 0, 255)),
            Structure(17, "another ball", (0, 255, 0)),
            Structure(300, "a third", (9, 9, 9)),
        )
    )
    make_site(tmp_path / "other", 1, 0, label_map=other)
    assert "labels-differ" in Hospital(tmp_path / "other", config_of(bundle, tmp_path), "cpu").facts().refused
    make_site(tmp_path / "bad", 3, 0, exchanged=True, shift=0.0)
    assert "exchanged" in Hospital(tmp_path / "bad", config_of(bundle, tmp_path), "cpu").facts().refused


@pytest.mark.slow
def test_a_round_begins_with_the_global_weights_and_the_gate_judges_them_on_patients_no_round_has_seen(
    bundle, tmp_path
):
    make_site(tmp_path / "north", 4, 0)
    hospital = Hospital(tmp_path / "north", config_of(bundle, tmp_path), "cpu")
    weights = {name: array.astype(np.float32) for name, array in bundle.read_weights().items()}
    trained, cases = hospital.train(weights, 0)
    assert cases == len(hospital._split.learnt)
    assert {name: array.shape for name, array in trained.items()} == {n: a.shape for n, a in weights.items()}
    assert any(not np.array_equal(trained[name], weights[name]) for name in weights)
    further, _ = hospital.train(trained, 1)
    prox = {"algorithm": "fedprox", "mu": 1000.0}
    with pytest.raises(DataError, match="other-federation"):
        Hospital(tmp_path / "north", config_of(bundle, tmp_path, **prox), "cpu").train(trained, 1)
    anchored = Hospital(tmp_path / "north", config_of(bundle, tmp_path, name="other", **prox), "cpu")
    held, _ = anchored.train(trained, 1)

    def distance(one, other):
        return sum(float(np.abs(one[name] - other[name]).sum()) for name in one)

    assert distance(held, trained) < 0.5 * distance(further, trained)  # the proximal term: near the global weights
    judgement = hospital.judge(weights, 0)
    assert judgement.candidate == pytest.approx(judgement.parent)  # the parent itself is no better than the parent
    assert judgement.decision != "promote"
    model = hospital.accept(trained, dataclasses.replace(judgement, decision="promote"))
    assert [one.name for one in site_models(tmp_path / "north")] == [model.name]
    assert load_bundle(model.path).parent == bundle.sha256


# --- configuration and report


def test_a_configuration_with_wrong_entries_is_told_with_all_of_them(tmp_path):
    (tmp_path / "wrong.toml").write_text('[federation]\nrounds = 0\naggregation = "best"\n')
    with pytest.raises(ConfigError, match=r"(?s)rounds.*aggregation|aggregation.*rounds"):
        read_federation(tmp_path / "wrong.toml")
    (tmp_path / "names.toml").write_text('[hospitals]\n"St. Mary" = "mary"\n')
    with pytest.raises(ConfigError, match=r"St\. Mary"):
        read_federation(tmp_path / "names.toml")


def test_fedprox_is_the_anchor_of_fine_tuning_and_fedavg_has_none(bundle, tmp_path):
    assert config_of(bundle, tmp_path).local.finetune.anchor == 0.0
    prox = config_of(bundle, tmp_path, algorithm="fedprox", mu=0.5)
    assert prox.local.finetune.anchor == 0.5
    assert prox.local.training == {"loss_stride": 2}


def test_the_report_says_who_accepted_and_what_left_and_is_read_again(tmp_path):
    facts = Facts("abc", {"tissue": 2}, ["T1w"], patients=4, held_out=2, cases=4)
    good = Judgement("promote", ["better"], 2, 0.7, 0.8, 0.05, 0.15)
    history = History("three", "tiny", "abc", {"rounds": 1, "steps": 2, "algorithm": "fedavg", "aggregation": "mean"})
    history.sent = [["stem.weight", [3, 5], 60]]
    history.hospitals = {"north": facts, "south": dataclasses.replace(facts, refused="labels are exchanged")}
    history.rounds = [Round(0, {"north": good}, {"north": 60})]
    history.models = {"north": "tiny-site-1"}
    write_history(tmp_path, history)
    assert read_history(tmp_path / "federation.json") == history
    text = report_of(history)
    assert "| 1 | north | 0.700 | 0.800 | 0.050 to 0.150 | promote |" in text
    assert "north: the global model, as tiny-site-1" in text
    assert "south: its own model; it took no part" in text
    assert "| stem.weight | 3 × 5 | 60 |" in text
    assert "no: labels are exchanged" in text
    json.loads((tmp_path / "federation.json").read_text())
