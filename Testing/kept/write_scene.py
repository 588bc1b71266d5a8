"""A scene as a user of the module leaves it: two results, one of them corrected and half reviewed, one of a site's
case."""

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegLib.bundles.bundle import Bundle
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, two_balls
from Testing.volumes import grid_around, points_of, rotation

sys.path.insert(0, str(Path(__file__).parents[1] / "slicer"))  # as its tests find what they share


def write_scene(file: Path, bundle: Bundle, site: Path, case_id: str) -> dict[str, Any]:
    """Write the scene to ``file`` (.mrb). Returns what it holds, to compare with what is read."""
    with tempfile.TemporaryDirectory() as place:
        scene = slicer_in(Path(place)).scene
        worker = WorkerClient(SubprocessWorkerProcess)
        logic = SegmentationLogic(scene, worker)
        first, second = _add_scans(scene)
        case = logic.segment(first, second, bundle, "cpu")
        _correct(case)
        opened = logic.open_site_case(case_id, bundle, site)
        _add_parameters(scene, first, second, bundle.name)
        worker.close()
        assert scene.WriteToMRB(str(file)), file
    assert case.review is not None
    assert case.table is not None
    assert opened.result is not None
    return {
        "run": case.run_id,
        "created": case.about.created,
        "notice": case.notice,
        "voxels": {"run": _voxels(case), "site": _voxels(opened.result)},
        "table": [[case.table.GetCellText(row, column) for column in range(case.table.GetNumberOfColumns())]
                  for row in range(case.table.GetNumberOfRows())],
        "places": len(case.review),
    }  # fmt: skip


def slicer_in(temporary: Path) -> Any:
    """Slicer's ``scene`` and the logics that read and write it: it works as long as they are held on to."""
    from mrml_scene import make_logics

    return make_logics(temporary, temporary)


def _add_scans(scene: Any) -> tuple[Any, Any]:
    """Two scans of a head on grids of their own, the second under a transform, in a patient's study.

    The second does not show the balls, so that the two results disagree in them: these are places to check.
    """
    import slicer
    from scene_volumes import add_volume, linear_node, put_under

    grids = (
        grid_around((5.0, -10.0, 15.0), (22, 24, 22), (5.0, 5.0, 5.0)),
        grid_around((5.0, -14.0, 20.0), (24, 18, 22), (5.0, 6.0, 5.0), rotation((8.0, -5.0, 12.0))),
    )
    moved = np.eye(4)
    moved[:3, 3] = 3.0, -2.0, 1.0
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = tree.CreateStudyItem(tree.CreateSubjectItem(tree.GetSceneItemID(), "patient"), "study")
    nodes = []
    for name, grid, motion in zip(("T1w", "T2w"), grids, (np.eye(4), moved), strict=True):
        world = points_of(grid) + motion[:3, 3]
        values = np.minimum(two_balls(world), 1000 if name == "T1w" else 400)
        node = add_volume(scene, grid, values.round(-1).astype(np.int16), name)
        tree.SetItemParent(tree.GetItemByDataNode(node), study)
        nodes.append(node)
    put_under(nodes[1], linear_node(scene, moved, "alignment"))
    return nodes[0], nodes[1]


def _correct(case: CaseNodes) -> None:
    """The left ball of the first scan is given to the right one; the first place is checked, and the second looked
    at."""
    scan = case.volumes["T1w"]
    labels = case.labels("T1w", LABEL_MAP)
    labels[labels == LEFT] = RIGHT
    replace_labels(case.segmentations["T1w"], scan, labels)
    review = case.review
    assert review is not None
    first, second, *_ = review.entries
    review.tick(first.number)
    review.go_to(second.number)


def _add_parameters(scene: Any, first: Any, second: Any, model: str) -> None:
    """The module's parameter node, as Slicer's ``parameterNodeWrapper`` writes it."""
    import slicer

    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag("CrossModalSeg")
    node.SetName("CrossModalSeg")
    node = scene.AddNode(node)
    node.SetAttribute("ModuleName", "CrossModalSeg")
    for name, value in {"modelName": model, "device": "CPU", "crossfade": "0.25"}.items():
        node.SetParameter(name, value)
    for name, scan in {"firstVolume": first, "secondVolume": second}.items():
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, scan.GetID())


def _voxels(case: CaseNodes) -> dict[str, dict[str, int]]:
    """How many voxels each label has, by modality."""
    return {
        modality: {str(value): count for value, count in sorted(_counts(case, modality).items())}
        for modality in case.segmentations
    }


def _counts(case: CaseNodes, modality: str) -> Counter[int]:
    values, counts = np.unique(case.labels(modality, LABEL_MAP), return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
