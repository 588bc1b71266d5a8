"""The module's logic without any view, on Slicer's real scene, with the real worker process."""

import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from mrml_scene import save_and_reload
from scans_in_scene import ELSEWHERE, FIRST_GRID, SECOND_GRID, add_head, add_head_under, head_landmarks
from scene_volumes import TRANSFORMS, node_ids, segment_at

from CrossModalSegApp.logic.alignment import preview
from CrossModalSegApp.logic.case_selection import check
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.process.run_state import Outcome, RunState
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegLib.errors import CrossModalSegError, InputError
from CrossModalSegLib.imaging.volume import read_image, read_volume
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, read_label_map
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, intensity_bundle

SAMPLES = Path(__file__).resolve().parents[3] / "CrossModalSeg" / "Resources" / "SampleData"
KINDS = list(TRANSFORMS)


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory):
    """The bundle "quick" takes about a second, "slow" about a minute."""
    folder = tmp_path_factory.mktemp("bundles")
    intensity_bundle(folder / "quick", (32, 36, 32), 4.0)
    intensity_bundle(folder / "slow", (24, 24, 24), 0.7)
    return folder


@pytest.fixture(scope="session")
def worker():
    """One worker process for all tests: it stays warm, as it does for a user."""
    client = WorkerClient(SubprocessWorkerProcess)
    yield client
    client.close()


@pytest.fixture
def logic(mrml_scene, worker, bundle_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundle_folder))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return SegmentationLogic(mrml_scene, worker)


def wait_until(logic, condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, logic.status
        logic._worker.wait(0.02)


@pytest.mark.parametrize("seed", range(20))
def test_landmarks_lie_in_the_right_segment_after_a_whole_run(mrml_scene, logic, seed):
    kinds = KINDS[seed % len(KINDS)], KINDS[(3 * seed + 5) % len(KINDS)]
    first, second = (add_head_under(mrml_scene, f"T{n}w", kind, 2 * seed + n) for n, kind in enumerate(kinds, start=1))
    case = logic.segment(first, second, "quick")
    for modality, node in case.segmentations.items():
        assert node.GetTransformNodeID() == case.volumes[modality].GetTransformNodeID()
        for point, value in head_landmarks(seed):
            assert segment_at(node, point) == f"Segment_{value}", (kinds, modality, point)


def test_a_run_in_a_saved_scene_is_found_again_and_can_go_on(mrml_scene, logic, tmp_path):
    logic.segment(add_head(mrml_scene, "T1w"), add_head(mrml_scene, "T2w", SECOND_GRID), "quick")
    before = {name: logic.cases()[0].labels(name, LABEL_MAP) for name in ("T1w", "T2w")}
    save_and_reload(mrml_scene, tmp_path / "scene.mrb")
    (case,) = logic.cases()
    for name, labels in before.items():
        np.testing.assert_array_equal(case.labels(name, LABEL_MAP), labels)
    assert not case.is_corrected()
    logic.segment(case.volumes["T1w"], case.volumes["T2w"], "quick")
    assert len(logic.cases()) == 1


@pytest.mark.parametrize("is_corrected", [True, False])
def test_what_is_corrected_while_a_run_goes_on_stays_beside_the_new_result(mrml_scene, logic, is_corrected):
    scan = add_head(mrml_scene, "T1w")
    first = logic.segment(scan, bundle="quick")
    logic.start({"T1w": scan}, logic.bundle("quick"))
    labels = first.labels("T1w", LABEL_MAP)
    if is_corrected:
        labels[labels == LABEL_MAP.values[0]] = LABEL_MAP.values[1]
        replace_labels(first.segmentations["T1w"], scan, labels)
    wait_until(logic, lambda: logic.status.state is RunState.IDLE)
    run_ids = [case.run_id for case in logic.cases()]
    assert (len(run_ids), first.run_id in run_ids) == ((2, True) if is_corrected else (1, False))


def test_one_scan_alone_is_segmented(mrml_scene, logic):
    case = logic.segment(second=add_head(mrml_scene, "T2w", SECOND_GRID), bundle="quick")
    assert list(case.segmentations) == ["T2w"]
    assert {LEFT, RIGHT} <= set(np.unique(case.labels("T2w", LABEL_MAP)))


def test_bad_choices_are_refused_before_anything_is_started(mrml_scene, logic):
    scan = add_head(mrml_scene, "T1w")
    before = node_ids(mrml_scene)
    for arguments, code in (((), "no-scan"), ((scan, scan), "same-scan")):
        with pytest.raises(InputError, match=code):
            logic.segment(*arguments, bundle="quick")
    with pytest.raises(CrossModalSegError, match="bundle-not-found"):
        logic.segment(scan, bundle="nonsense")
    assert logic.status.state is RunState.IDLE
    assert node_ids(mrml_scene) == before


def test_an_error_of_the_worker_ends_the_run_with_its_own_code_and_changes_nothing(mrml_scene, logic, tmp_path):
    first, second = add_head(mrml_scene, "T1w"), add_head(mrml_scene, "T2w", ELSEWHERE)
    before = node_ids(mrml_scene)
    with pytest.raises(CrossModalSegError, match="no-overlap"):
        logic.segment(first, second, "quick")
    assert logic.status.outcome is Outcome.FAILED
    assert node_ids(mrml_scene) == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith("crossmodalseg")] == []
    assert logic.segment(first, bundle="quick").segmentations


def test_a_second_run_while_one_goes_on_is_refused(mrml_scene, logic):
    scan = add_head(mrml_scene, "T1w")
    logic.start({"T1w": scan}, logic.bundle("quick"))
    with pytest.raises(InputError, match="busy"):
        logic.start({"T1w": scan}, logic.bundle("quick"))
    wait_until(logic, lambda: logic.status.state is RunState.IDLE)
    assert logic.status.outcome is Outcome.DONE


def test_progress_never_falls_and_the_states_come_in_their_order(mrml_scene, logic):
    heard = []
    logic.listen(heard.append)
    logic.segment(add_head(mrml_scene, "T1w"), bundle="quick")
    states = [status.state.value for status in heard]
    assert list(dict.fromkeys(states)) == ["starting", "running", "importing", "idle"]
    fractions = [status.fraction for status in heard if status.state is RunState.RUNNING]
    assert fractions == sorted(fractions)
    assert 0.0 <= fractions[0] <= fractions[-1] <= 1.0


def test_a_scan_that_is_moved_during_the_run_takes_its_result_along_and_one_that_is_bent_ends_it(mrml_scene, logic):
    import vtk

    for kind, moved in (("rigid", True), ("sheared", False)):
        scan = add_head_under(mrml_scene, kind, kind, seed=3)
        logic.start({"T1w": scan}, logic.bundle("quick"))
        transform = scan.GetParentTransformNode()
        matrix = vtk.vtkMatrix4x4()
        transform.GetMatrixTransformToParent(matrix)
        matrix.SetElement(0, 3, matrix.GetElement(0, 3) + 50.0)
        transform.SetMatrixTransformToParent(matrix)
        wait_until(logic, lambda: logic.status.state is RunState.IDLE)
        if moved:
            point, value = head_landmarks(0)[0]
            assert (
                segment_at(logic.cases()[-1].segmentations["T1w"], point + np.array([50, 0, 0])) == f"Segment_{value}"
            )
        else:
            assert logic.status.error.code == "volume-changed"


@pytest.mark.slow
def test_killing_the_worker_at_random_moments_leaves_the_scene_and_the_next_run_works(mrml_scene, logic, tmp_path):
    first, second = add_head(mrml_scene, "T1w"), add_head(mrml_scene, "T2w", SECOND_GRID)
    slow, random = logic.bundle("slow"), np.random.default_rng(4)
    before = node_ids(mrml_scene)
    for moment in random.uniform(0, 6, 6):
        logic.start({"T1w": first, "T2w": second}, slow)
        wait_until(logic, lambda: logic._worker.worker_pid)
        killed = time.monotonic() + moment
        while time.monotonic() < killed:
            logic._worker.wait(0.02)
        os.kill(logic._worker.worker_pid, signal.SIGKILL)
        wait_until(logic, lambda: logic.status.state is RunState.IDLE)
        assert (logic.status.outcome, logic.status.error.code) == (Outcome.FAILED, "worker-died")
        assert "click Segment" in logic.status.error.hint
        assert node_ids(mrml_scene) == before
        assert [path for path in tmp_path.iterdir() if path.name.startswith("crossmodalseg")] == []
    assert logic.segment(first, second, "quick").segmentations


@pytest.mark.slow
def test_the_phantom_pair_is_segmented_by_the_starter_bundle(mrml_scene, logic):
    from scene_volumes import add_volume

    scans = {name: read_volume(SAMPLES / f"phantom_{name}.nrrd", name) for name in ("T1w", "T2w")}
    nodes = {name: add_volume(mrml_scene, scan.grid, scan.array, name) for name, scan in scans.items()}
    case = logic.segment(nodes["T1w"], nodes["T2w"])
    brain = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")
    truth, _ = read_image(SAMPLES / "phantom_labels.nrrd")
    labels = case.labels("T1w", brain)
    for name in ("left cerebral white matter", "right cerebral white matter", "brain stem", "left thalamus"):
        value = brain.by_name(name).value
        a, b = labels == value, truth == value
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.6, name
    assert case.table.GetNumberOfRows() == 32
    assert len(case.review) > 0
    assert all(entry.structure in {one.name for one in brain.structures} for entry in case.review.entries)


def test_the_logic_uses_neither_qt_nor_torch():
    import subprocess
    import sys

    code = "import sys; import CrossModalSegApp.logic.logic; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (SAMPLES.parents[2], SAMPLES.parents[1])))}
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not {"qt", "PySide6", "torch", "monai", "safetensors", "matplotlib"} & set(loaded.stdout.split())


def test_the_grids_of_the_tests_are_what_they_are_said_to_be():
    assert not FIRST_GRID.is_close(SECOND_GRID)
    assert len(KINDS) >= 10


def refinement(matrix):
    from CrossModalSegLib.imaging.registration import RigidRefinement

    return RigidRefinement(matrix, 5.0, 5.0, 4.0, 0.5, 0.8)


@pytest.mark.parametrize("kind", ["none", "rigid", "sheared"])
def test_an_alignment_moves_the_second_scan_in_the_world_and_can_be_undone(mrml_scene, kind):
    from scene_volumes import rigid_matrix

    from CrossModalSegApp.scene.node_geometry import to_world

    first, second = add_head(mrml_scene, "T1w"), add_head_under(mrml_scene, "T2w", kind, seed=7)
    motion = rigid_matrix(np.random.default_rng(2))
    point = np.array([3.0, 4.0, 5.0])
    former, before = second.GetTransformNodeID(), to_world(second, point)
    nodes = node_ids(mrml_scene)
    shown = preview(first, second, refinement(motion))
    np.testing.assert_allclose(to_world(second, point), (motion @ [*before, 1])[:3], atol=1e-6)
    shown.undo()
    assert second.GetTransformNodeID() == former
    assert node_ids(mrml_scene) == nodes
    preview(first, second, refinement(motion)).keep()
    np.testing.assert_allclose(to_world(second, point), (motion @ [*before, 1])[:3], atol=1e-6)


def test_a_bent_scan_is_not_aligned_but_named(mrml_scene):
    first, second = add_head(mrml_scene, "T1w"), add_head_under(mrml_scene, "T2w", "b-spline", seed=7)
    with pytest.raises(CrossModalSegError, match=r"warped.*harden a copy"):
        preview(first, second, refinement(np.eye(4)))


def test_a_displaced_second_scan_is_found_out_and_only_the_last_question_is_answered(mrml_scene, logic):
    import vtk

    first, second = add_head(mrml_scene, "T1w"), add_head(mrml_scene, "T2w", SECOND_GRID)
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(1, 3, 9.0)
    transform = mrml_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    transform.SetMatrixTransformToParent(shift)
    second.SetAndObserveTransformNodeID(transform.GetID())
    answers = []
    logic.estimate_displacement(first, second, lambda *answer: answers.append(("early", *answer)))
    logic.estimate_displacement(first, second, lambda *answer: answers.append(("late", *answer)))
    wait_until(logic, lambda: answers and not logic._worker.is_busy)
    ((which, found, error),) = answers
    assert (which, error) == ("late", None)
    assert found.is_improvement
    assert found.displacement_mm == pytest.approx(9.0, abs=1.5)
    np.testing.assert_allclose(found.moving_to_fixed[:3, 3], [0, -9, 0], atol=2.5)


def test_what_the_scans_show_is_told_where_they_are_in_the_scene(mrml_scene, logic):
    import vtk

    first, second = add_head(mrml_scene, "T1w"), add_head(mrml_scene, "T2w", SECOND_GRID)
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(1, 3, 9.0)
    transform = mrml_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    transform.SetMatrixTransformToParent(shift)
    second.SetAndObserveTransformNodeID(transform.GetID())
    bundle, answers = logic.bundle("quick"), []
    logic.look_into(bundle, {"T1w": first}, lambda _: pytest.fail("another question was asked meanwhile"))
    logic.look_into(bundle, {"T1w": first, "T2w": second}, answers.append)
    wait_until(logic, lambda: answers and not logic._worker.is_busy)
    found, _scans = check(bundle, {"T1w": first, "T2w": second})
    (note,) = [note for note in found.with_contents(answers[0]).notes if note.code == "displaced"]
    assert note.message.startswith("T2w seems displaced by about 9 mm")
    assert note.remedy == "refine"
    assert answers[0].refinement.displacement_mm == pytest.approx(9.0, abs=1.5)


def test_closing_in_the_middle_of_an_estimate_leaves_no_scan_behind(mrml_scene, logic, tmp_path):
    logic.estimate_displacement(add_head(mrml_scene, "T1w"), add_head(mrml_scene, "T2w", SECOND_GRID), pytest.fail)
    assert list(tmp_path.iterdir())
    logic.close()
    assert not list(tmp_path.iterdir())
