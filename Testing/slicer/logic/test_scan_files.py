"""Scans are written for the worker once, and again only where they are others."""

import numpy as np
import pytest
from scans_in_scene import SECOND_GRID, add_head
from scene_volumes import linear_node, rigid_matrix

from CrossModalSegApp.logic import case_selection
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.scan_files import ScanFiles
from CrossModalSegApp.process.run_state import Outcome, RunState
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene import placed_scan
from CrossModalSegLib.imaging.volume import read_volume
from Testing.presented import Presented
from Testing.tiny_bundle import intensity_bundle


@pytest.fixture
def files():
    made = ScanFiles()
    yield made
    made.forget()


def test_a_scan_is_written_once(mrml_scene, files):
    node = add_head(mrml_scene, "T1w")
    first = files.of(node)
    assert files.of(node) is first


def test_other_voxels_another_place_and_a_moved_transform_are_written_anew(mrml_scene, files):
    import slicer

    node = add_head(mrml_scene, "T1w")
    paths = [files.of(node).path]
    slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node) + 1)
    paths.append(files.of(node).path)
    node.SetOrigin(1, 2, 3)
    paths.append(files.of(node).path)
    transform = linear_node(mrml_scene, rigid_matrix(np.random.default_rng(0)))
    node.SetAndObserveTransformNodeID(transform.GetID())
    paths.append(files.of(node).path)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid_matrix(np.random.default_rng(1))))
    paths.append(files.of(node).path)
    assert len(set(paths)) == 5
    above = linear_node(mrml_scene, np.eye(4))
    transform.SetAndObserveTransformNodeID(above.GetID())
    paths.append(files.of(node).path)
    above.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid_matrix(np.random.default_rng(2))))
    paths.append(files.of(node).path)
    assert len(set(paths)) == 7
    assert not np.allclose(read_volume(paths[5], "T1w").grid.ijk_to_ras, read_volume(paths[6], "T1w").grid.ijk_to_ras)


def test_what_was_put_elsewhere_stays_when_the_rest_is_forgotten(mrml_scene, files, tmp_path):
    node = add_head(mrml_scene, "T1w")
    kept = files.put(node, tmp_path / "T1w.nrrd")
    folder = files.of(node).path.parent
    files.forget()
    assert not folder.exists()
    np.testing.assert_array_equal(read_volume(kept.path, "T1w").array, read_volume(tmp_path / "T1w.nrrd", "T1w").array)


def test_from_the_choice_to_the_result_scans_are_written_once_and_examined_once(mrml_scene, monkeypatch, tmp_path):
    written, examined = [], []
    monkeypatch.setattr(placed_scan, "write_scan", lambda *one, real=placed_scan.write_scan: written.append(real(*one)))
    real = case_selection.examine
    monkeypatch.setattr(case_selection, "examine", lambda scans: examined.append(len(scans)) or real(scans))
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(tmp_path))
    intensity_bundle(tmp_path / "quick", (32, 36, 32), 4.0)
    add_head(mrml_scene, "T1w")
    add_head(mrml_scene, "T2w", SECOND_GRID)
    logic = SegmentationLogic(mrml_scene, WorkerClient(SubprocessWorkerProcess))
    view = Presented(logic, "quick")
    view.scans.examine()
    view.sections.run.start()
    while logic.status.state is not RunState.IDLE:
        logic._worker.wait(0.1)
    logic.close()
    assert logic.status.outcome is Outcome.DONE
    assert (len(written), examined) == (2, [2])
