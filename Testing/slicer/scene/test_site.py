"""The site folder in the module: cases go from the folder into the scene, are corrected, saved and approved."""

from dataclasses import replace

import numpy as np
import pytest
from mrml_scene import save_and_reload
from scene_volumes import node_ids

from CrossModalSegApp.logic.case_selection import candidates, suggest
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.site_presenter import site_summary
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.case_nodes import About, CaseNodes
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegApp.scene.site_cases import SiteWork
from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.errors import DataError, InputError, LabelError
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.site.case_store import CaseStore
from Testing.site_case import small_case
from Testing.tiny_bundle import LEFT, RIGHT, intensity_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "quick"
    intensity_bundle(folder, (32, 36, 32), 4.0)
    return load_bundle(str(folder))


@pytest.fixture
def logic(mrml_scene, bundle, monkeypatch):
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundle.path.parent))
    return SegmentationLogic(mrml_scene, WorkerClient(SubprocessWorkerProcess))


def case_of(bundle, number=1, patient="Miller"):
    """A case with the bundle's structures LEFT and RIGHT."""
    case = replace(small_case(number, patient), label_map=bundle.label_map)
    for labels, _grid in case.labels.values():
        labels[labels == 2], labels[labels == 17] = LEFT, RIGHT
    return case


def change_a_voxel(case, bundle, back=False):
    """One voxel of the first scan becomes another structure, or what it was before."""
    modality, scan = next(iter(case.volumes.items()))
    labels = case.labels(modality, bundle.label_map)
    original = case_of(bundle).labels[modality][0][0, 0, 0]
    labels[0, 0, 0] = original if back else (LEFT if original != LEFT else RIGHT)
    changed = add_segmentation(scan, labels, bundle.label_map, "changed")
    case.segmentations[modality].GetSegmentation().DeepCopy(changed.GetSegmentation())


@pytest.fixture
def store(tmp_path):
    return CaseStore(tmp_path / "site")


def test_a_predicted_case_is_opened_corrected_saved_and_approved(logic, store, bundle):
    saved = store.save_prediction(case_of(bundle))
    work = logic.site_work(store.folder, 10)
    assert (work.counts["predicted"], [item.case.id for item in work.items]) == (1, [saved.id])
    opened = logic.open_site_case(saved.id, bundle, store.folder)
    assert list(opened.volumes) == list(bundle.modalities)
    case = opened.result
    for modality, (labels, _grid) in case_of(bundle).labels.items():
        np.testing.assert_array_equal(case.labels(modality, bundle.label_map), labels)
    with pytest.raises(DataError, match="not-corrected"):
        logic.approve(case, store.folder, "AB")
    with pytest.raises(DataError, match="untouched"):
        logic.save_correction(case, store.folder, "AB")
    assert logic.is_unconfirmed(case, store.folder, "AB")
    for author in ("", " "):
        with pytest.raises(InputError, match="no-initials"):
            logic.save_correction(case, store.folder, author, is_confirmed=True)
        with pytest.raises(InputError, match="no-initials"):
            logic.is_unconfirmed(case, store.folder, author)
    assert len(store.case(saved.id).revisions) == 1
    corrected = logic.save_correction(case, store.folder, "AB", is_confirmed=True)
    assert (corrected.id, corrected.revision, corrected.parent) == (saved.id, 2, 1), (
        "not a new case, though unnamed now"
    )
    with pytest.raises(InputError, match="no-initials"):
        logic.approve(case, store.folder, " ")
    assert logic.approve(case, store.folder, "CD").status == "approved"
    assert logic.site_work(store.folder, 10).items == []


def test_what_was_changed_after_saving_cannot_be_approved(logic, store, bundle):
    saved = store.save_correction(case_of(bundle))
    case = logic.open_site_case(saved.id, bundle, store.folder).result
    change_a_voxel(case, bundle)
    with pytest.raises(DataError, match="not-saved"):
        logic.approve(case, store.folder, "AB")
    assert not logic.is_unconfirmed(case, store.folder, "")
    again = logic.save_correction(case, store.folder)
    assert (again.revision, again.parent, again.forks) == (2, 1, ())
    assert logic.approve(case, store.folder, "AB").revision == 2
    with pytest.raises(DataError, match="untouched"):
        logic.save_correction(case, store.folder)


def test_the_model_s_own_result_is_no_correction_before_a_voxel_is_changed(logic, store, bundle):
    """`opened` stands for a result of a run: beside what is edited lies what the model has found."""
    opened = logic.open_site_case(store.add_unlabelled(replace(case_of(bundle), labels={})).id, bundle, store.folder)
    case = CaseNodes(About("run", bundle.name, bundle.sha256, "2026-01-01T00:00:00", "", tuple(opened.volumes)))
    for modality, scan in opened.volumes.items():
        labels = case_of(bundle).labels[modality][0]
        case.volumes[modality] = scan
        for nodes, shown in ((case.segmentations, True), (case.models, False)):
            nodes[modality] = add_segmentation(scan, labels, bundle.label_map, "result", shown)
    with pytest.raises(DataError, match="untouched"):
        logic.save_correction(case, store.folder, "AB")
    change_a_voxel(case, bundle)
    assert logic.save_correction(case, store.folder).revision
    change_a_voxel(case, bundle, back=True)
    with pytest.raises(DataError, match="untouched"):
        logic.save_correction(case, store.folder)


def test_two_who_opened_the_same_revision_are_told_that_both_corrected_it(logic, store, bundle):
    saved = store.save_correction(case_of(bundle))
    left, right = (logic.open_site_case(saved.id, bundle, store.folder).result for _person in range(2))
    assert logic.save_correction(left, store.folder, "AB", is_confirmed=True).forks == ()
    assert logic.save_correction(right, store.folder, "CD", is_confirmed=True).forks == (2, 3)
    assert logic.site_work(store.folder, 10).forks == [saved.id]
    assert logic.save_correction(left, store.folder, "AB", is_confirmed=True).parent == 2


def test_a_damaged_case_is_named_and_hides_no_work(logic, store, bundle):
    saved = store.add_unlabelled(replace(case_of(bundle), labels={}))
    damaged = store.folder / "cases" / "0123456789abcdef"
    damaged.mkdir()
    (damaged / "case.json").write_text("{")
    work = logic.site_work(store.folder, 10)
    assert [item.case.id for item in work.items] == [saved.id]
    assert site_summary(work).startswith("1 case: 1 unlabelled, ")
    assert "Cannot be read: 012345. " in site_summary(work)


def test_of_many_damaged_cases_the_first_are_named():
    work = SiteWork({"unlabelled": 0}, [], [], [str(number) * 16 for number in range(8)])
    assert "Cannot be read: 000000, 111111, 222222, 333333, 444444 and 3 more. " in site_summary(work)


def test_a_folder_that_is_no_site_yet_has_no_work_and_one_that_is_gone_is_told(logic, store, bundle, monkeypatch):
    def gone(_store):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(CaseStore, "readable_cases", gone)
    assert logic.site_work(store.folder, 10) is None
    store.add_unlabelled(replace(case_of(bundle), labels={}))
    with pytest.raises(DataError, match=r"site-unreadable.*Stale file handle"):
        logic.site_work(store.folder, 10)


def test_a_saved_scene_still_knows_the_case_and_the_revision(logic, store, bundle, mrml_scene, tmp_path):
    saved = store.save_correction(case_of(bundle))
    logic.open_site_case(saved.id, bundle, store.folder)
    save_and_reload(mrml_scene, tmp_path / "scene")
    (case,) = logic.cases()
    again = logic.save_correction(case, store.folder, "AB", is_confirmed=True)
    assert (again.id, again.parent) == (saved.id, 1)


def test_an_unlabelled_case_opens_as_scans_alone(logic, store, bundle):
    saved = store.add_unlabelled(replace(case_of(bundle), labels={}))
    opened = logic.open_site_case(saved.id, bundle, store.folder)
    assert opened.result is None
    assert suggest(bundle, candidates(logic.scene)) == opened.volumes, "the names of the nodes tell the modalities"


def test_a_case_of_another_model_leaves_nothing_in_the_scene(logic, store, bundle, mrml_scene):
    before = node_ids(mrml_scene)
    case = case_of(bundle)
    other = LabelMap((*bundle.label_map.structures, Structure(999, "extra", (1, 2, 3))))
    next(iter(case.labels.values()))[0][0, 0, 0] = 999
    saved = store.save_correction(replace(case, label_map=other))
    with pytest.raises(LabelError, match="999"):
        logic.open_site_case(saved.id, bundle, store.folder)
    flair = replace(case, volumes={"FLAIR": case.volumes["T1w"]}, labels={}, label_map=other, bundle={})
    with pytest.raises(DataError, match="FLAIR"):
        logic.open_site_case(store.add_unlabelled(flair).id, bundle, store.folder)
    added = {name for name in node_ids(mrml_scene) - before if "SubjectHierarchy" not in name}
    assert added == set()
