"""What nobody draws at a site is not background: it is found out, told, and kept as the parent sees it."""

import json

import numpy as np
import pytest

from CrossModalSegLib.adaptation.label_mapping import LabelMapping, mapping_from_json, same_structures
from CrossModalSegLib.adaptation.site_data import site_data
from CrossModalSegLib.adaptation.undrawn import found_all_the_same
from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, TISSUE, intensity_bundle
from Testing.tiny_finetune import QUICK, run, run_folder
from Testing.tiny_site import labels, scan, site_grid


def site_without(folder, value: int, patients: int = 2):
    """Corrections in which one structure is left out, though the label map has it."""
    folder.mkdir(exist_ok=True)
    bundle = intensity_bundle(folder / "tiny", (16, 16, 16), 4.0)
    (folder / "quick.toml").write_text(QUICK)
    store = CaseStore(folder / "site")
    for number in range(patients):
        drawn = np.where(labels(number) == value, 0, labels(number)).astype(np.uint16)
        volumes = {"T1w": scan(number, "T1w", 0.0)}
        facts = {"name": "tiny", "modalities": ["T1w", "T2w"]}
        store.save_correction(CaseFiles(volumes, {"T1w": (drawn, site_grid(number))}, LABEL_MAP, facts, f"p{number}"))
    return store, bundle


def test_what_half_of_the_scans_show_is_found_and_a_speck_is_not():
    scans = [{1: 5.0, 2: 0.05, 3: 9.0}, {1: 4.0, 2: 0.05}, {2: 0.05}]
    assert found_all_the_same(scans, [1, 2, 3, 4]) == {1}
    assert found_all_the_same(scans[:2], [1, 2, 3]) == {1, 3}
    assert found_all_the_same([], [1]) == frozenset()


def test_a_structure_that_is_not_drawn_is_completed_from_the_parent_whatever_the_site_calls_it():
    site = LABEL_MAP
    mapping = LabelMapping(LABEL_MAP, site, {value: value for value in site.values}, undrawn=frozenset({RIGHT}))
    corrected, predicted = np.array([LEFT, 0, 0, 0]), np.array([RIGHT, RIGHT, LEFT, 0])
    assert mapping.complete(corrected, predicted).tolist() == [LEFT, RIGHT, 0, 0]
    assert mapping.needs_parent
    assert not same_structures(LABEL_MAP, LABEL_MAP).needs_parent
    assert mapping_from_json(json.loads(json.dumps(mapping.to_json())), LABEL_MAP, site) == mapping
    assert "right bright ball (if it is truly absent: --absent NAME)" in mapping.in_words()[0]
    with pytest.raises(LabelError, match="cannot be kept"):
        LabelMapping(LABEL_MAP, site, {TISSUE: TISSUE, LEFT: LEFT, RIGHT: None}, undrawn=frozenset({RIGHT}))


def test_what_no_correction_shows_is_scored_nowhere_unless_a_person_says_that_it_is_absent(tmp_path):
    store, bundle = site_without(tmp_path, RIGHT)
    mapping = same_structures(LABEL_MAP, LABEL_MAP)
    data = site_data(store.cases(), bundle, mapping)
    assert data.unshown == (RIGHT,)
    assert {case.values for case in data.labelled} == {(TISSUE, LEFT)}
    said = site_data(store.cases(), bundle, mapping, absent=["Right bright ball"])
    assert said.unshown == ()
    assert {case.values for case in said.labelled} == {LABEL_MAP.values}
    with pytest.raises(LabelError, match=r"no-such-structure.*tumour"):
        site_data(store.cases(), bundle, mapping, absent=["tumour"])


def test_a_fine_tuning_finds_out_what_nobody_draws_and_keeps_it_from_the_parent(tmp_path, capsys):
    site_without(tmp_path, LEFT)
    assert run(tmp_path) == 0
    said = capsys.readouterr().out
    assert "drawn in no correction though the model finds it" in said
    assert "left bright ball (if it is truly absent" in said
    plan = json.loads((run_folder(tmp_path) / "plan.json").read_text())
    assert plan["mapping"]["undrawn"] == [LEFT]
    metrics = json.loads((run_folder(tmp_path) / "metrics.json").read_text())
    scored = [scan for case in metrics["scores"]["parent"].values() for scan in case.values()]
    assert all("left bright ball" not in structures and "tissue" in structures for structures in scored)
    assert "drawn in no correction" in (run_folder(tmp_path) / "report.html").read_text()
    assert load_bundle(run_folder(tmp_path) / "tiny-site-1").label_map.values == LABEL_MAP.values


def test_what_a_person_says_is_absent_is_learnt_as_background_and_a_name_that_is_not_there_is_refused(tmp_path, capsys):
    site_without(tmp_path, LEFT)
    assert run(tmp_path, "--absent", "left bright bal") == 2
    assert "error[no-such-structure]: --absent left bright bal" in capsys.readouterr().err
    assert run(tmp_path, "--absent", "left bright ball") == 0
    assert "drawn in no correction" not in capsys.readouterr().out
    plan = json.loads((run_folder(tmp_path) / "plan.json").read_text())
    assert "undrawn" not in plan["mapping"]
    assert plan["config"]["finetune"]["absent"] == ["left bright ball"]
