"""A scene of each earlier version is loaded: its results are understood, corrected further, and saved into the site."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegApp.web.unsaved import UnsavedCorrections
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site.case_store import CaseStore
from Testing.kept.versions import KEPT
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, TISSUE


@pytest.fixture(params=KEPT, ids=lambda kept: kept.folder.name)
def kept(request, monkeypatch):
    """One version's files; its model is installed."""
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(request.param.bundles))
    return request.param


@pytest.fixture
def logic(mrml_scene, kept):
    assert mrml_scene.ReadFromMRB(str(kept.scene))
    return SegmentationLogic(mrml_scene, WorkerClient(SubprocessWorkerProcess))


def voxels(case):
    """How many voxels of each label, by modality, as ``facts.json`` has them."""
    found = {}
    for modality in case.segmentations:
        values, counts = np.unique(case.labels(modality, LABEL_MAP), return_counts=True)
        found[modality] = {str(value): int(count) for value, count in zip(values, counts, strict=True)}
    return found


def test_the_results_are_understood_with_all_their_nodes(kept, logic):
    ran, opened = logic.cases()
    facts = kept.facts["scene"]
    assert (ran.run_id, ran.about.created, ran.notice) == (facts["run"], facts["created"], facts["notice"])
    assert (ran.bundle_name, ran.bundle_sha256) == ("tiny", kept.facts["bundle"])
    assert {modality: node.GetName() for modality, node in ran.volumes.items()} == {"T1w": "T1w", "T2w": "T2w"}
    assert set(ran.segmentations) == set(ran.models) == set(ran.uncertainties) == {"T1w", "T2w"}
    assert voxels(ran) == facts["voxels"]["run"]
    assert voxels(opened) == facts["voxels"]["site"]
    assert ran.segmentations["T2w"].GetTransformNodeID() == ran.volumes["T2w"].GetTransformNodeID() != ""
    assert (opened.models, opened.table, opened.review) == ({}, None, None)


def test_the_correction_is_told_from_the_model_s_own_result_and_can_be_taken_back(logic):
    ran, _opened = logic.cases()
    assert ran.is_corrected()
    assert set(np.unique(ran.labels("T1w", LABEL_MAP)).tolist()) == {0, TISSUE, RIGHT}
    ran.restore("T1w")
    assert not ran.is_corrected()
    assert set(np.unique(ran.labels("T1w", LABEL_MAP)).tolist()) == {0, TISSUE, RIGHT, LEFT}
    assert logic.corrected_cases(ran.volumes, logic.bundle("tiny")) == []


def test_the_table_says_what_it_said(kept, logic):
    table = logic.cases()[0].table
    columns = range(table.GetNumberOfColumns())
    rows = [[table.GetCellText(row, column) for column in columns] for row in range(table.GetNumberOfRows())]
    assert rows == kept.facts["scene"]["table"]
    assert table.GetColumnName(0) == "structure"


def test_the_review_goes_on_where_it_was_left(kept, logic):
    review = logic.cases()[0].review
    assert len(review) == kept.facts["scene"]["places"] == 2
    first, second = review.entries
    assert review.current == second
    assert (review.is_ticked(first.number), review.is_ticked(second.number)) == (True, False)
    assert {first.structure, second.structure} == {"left bright ball", "right bright ball"}
    assert first.reason == "disagreement"
    assert first.modalities == ("T1w", "T2w")
    assert review.previous() == first


def test_a_case_of_the_site_is_still_known_as_its_case_and_goes_on_as_its_next_revision(kept, logic, tmp_path):
    site = kept.copy_site(tmp_path / "site")
    _ran, opened = logic.cases()
    with pytest.raises(DataError, match="untouched"):
        logic.save_correction(opened, site, "AB")
    labels = opened.labels("T1w", LABEL_MAP)
    labels[labels == LEFT] = TISSUE
    replace_labels(opened.segmentations["T1w"], opened.volumes["T1w"], labels)
    saved = logic.save_correction(opened, site, "AB")
    assert (saved.id, saved.revision, saved.parent) == (kept.case("fork"), 4, 3)


def test_a_corrected_result_of_the_run_becomes_a_case_of_the_site(kept, logic, tmp_path):
    site = kept.copy_site(tmp_path / "site")
    ran, _opened = logic.cases()
    saved = logic.save_correction(ran, site, "AB")
    assert saved.revision == 1
    assert CaseStore(site).case(saved.id).revisions[0].bundle["sha256"] == kept.facts["bundle"]


def test_a_case_of_the_site_is_opened_from_the_folder(kept, logic, tmp_path):
    site = kept.copy_site(tmp_path / "site")
    work = logic.site_work(site, 10)
    assert [item.case.id for item in work.items] == [
        kept.case(what) for what in ("one scan", "unlabelled", "predicted")
    ]
    opened = logic.open_site_case(kept.case("predicted"), logic.bundle("tiny"), site)
    assert opened.result is not None
    assert {TISSUE, LEFT, RIGHT} <= set(np.unique(opened.result.labels("T1w", LABEL_MAP)).tolist())
    assert len(logic.cases()) == 3


@pytest.mark.slow  # starts a worker
def test_the_same_scans_are_segmented_again_beside_the_corrected_result(logic):
    ran, _opened = logic.cases()
    case = logic.segment(ran.volumes["T1w"], ran.volumes["T2w"], "tiny", "cpu")
    logic.close()
    assert len(logic.cases()) == 3, "a corrected result is not replaced"
    models = [one.models["T1w"] for one in (ran, case)]
    assert models[0] is not models[1]
    case.restore("T1w")
    ran.restore("T1w")
    np.testing.assert_array_equal(case.labels("T1w", LABEL_MAP), ran.labels("T1w", LABEL_MAP))


def test_unsaved_corrections_of_the_browser_are_offered_and_opened(kept, logic, mrml_scene, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    shutil.copytree(kept.folder / "unsaved", tmp_path / "unsaved")
    (file,) = (tmp_path / "unsaved").glob("*/case.json")
    file.write_text(
        json.dumps(json.loads(file.read_text()) | {"process": ended.pid})
    )  # the one that wrote it is long gone
    corrections = UnsavedCorrections(tmp_path / "unsaved")
    (offer,) = corrections.offers()
    assert offer["title"].startswith("T1w + T2w, tiny")
    mrml_scene.Clear(0)
    case = corrections.open(mrml_scene, offer["id"], logic.bundle)
    facts = kept.facts["scene"]
    assert (case.run_id, voxels(case)) == (facts["run"], facts["voxels"]["run"])
    assert case.is_corrected()
    assert [case.review.is_ticked(entry.number) for entry in case.review.entries] == [True, False]
    assert case.table.GetNumberOfRows() == len(facts["table"])
