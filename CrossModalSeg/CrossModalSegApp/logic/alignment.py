"""Aligning the second scan onto the first: an estimate in the background, a preview in the scene, keep or undo."""

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from CrossModalSegApp.process.temporary import new_temporary_folder
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.scene_io import export_volume, parent_transform_kind
from CrossModalSegLib.errors import CrossModalSegError, GeometryError
from CrossModalSegLib.imaging.registration import RigidRefinement
from CrossModalSegLib.protocol import Done, Event, Failed, Request

Answer = Callable[[RigidRefinement | None, CrossModalSegError | None], None]


class AlignmentEstimator:
    """Asks the worker how far the second scan is displaced against the first; only the last question is answered."""

    def __init__(self, worker: WorkerClient):
        self._worker = worker
        self._latest = ""

    def estimate(self, first: Any, second: Any, answer: Answer) -> None:
        """Start an estimate and return; ``answer(refinement, error)`` is called with one of the two, or never.

        It is never called where another estimate was started meanwhile, or `forget` was called. Raises what
        `export_volume` raises.
        """
        self._latest = request_id = uuid.uuid4().hex[:12]
        folder = new_temporary_folder()
        try:
            export_volume(first, folder / "fixed.nrrd", "first")
            export_volume(second, folder / "moving.nrrd", "second")
        except (CrossModalSegError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        arguments = {"fixed": str(folder / "fixed.nrrd"), "moving": str(folder / "moving.nrrd")}

        def on_event(event: Event) -> None:
            if isinstance(event, Done | Failed):
                shutil.rmtree(folder, ignore_errors=True)
                if request_id == self._latest:
                    _pass_on(event, answer)

        self._worker.submit(Request(request_id, "register", arguments), on_event)

    def forget(self) -> None:
        """Whatever is still on its way no longer matters."""
        self._latest = ""


def _pass_on(event: Done | Failed, answer: Answer) -> None:
    if isinstance(event, Done):
        answer(RigidRefinement.from_json(event.result), None)
    else:
        answer(None, CrossModalSegError(event.code, event.message, event.hint))


@dataclass(frozen=True)
class AlignmentPreview:
    """A refinement that is shown: ``transform`` moves ``volume``, which lay under the node with the id ``former``."""

    volume: Any
    transform: Any
    former: str | None

    def keep(self) -> None:
        """Leave it as it is: the transform stays in the scene, where it can be inspected and removed."""
        self.transform.SetAttribute(_PREVIEW, None)

    def undo(self) -> None:
        """Put the scan back where it was and remove the transform; harmless where either is gone already."""
        scene = self.transform.GetScene()
        with one_render():
            if self.volume.GetScene() is not None:
                self.volume.SetAndObserveTransformNodeID(self.former)
            if scene is not None:
                scene.RemoveNode(self.transform)


_PREVIEW = "CrossModalSeg.preview"


def preview(first: Any, second: Any, refinement: RigidRefinement) -> AlignmentPreview:
    """Show ``second`` where ``refinement`` puts it: under a new linear transform that includes its former one.

    Raises GeometryError ``warped`` where the former one is not linear: the two cannot be told apart afterwards.
    """
    import slicer
    import vtk

    if parent_transform_kind(second) == "non-linear":
        what = f"{second.GetName()} lies under a non-linear transform"
        raise GeometryError("warped", what, "harden a copy first, and align that")
    to_world = vtk.vtkMatrix4x4()
    former = second.GetParentTransformNode()
    if former:
        former.GetMatrixTransformToWorld(to_world)
    matrix = refinement.moving_to_fixed @ _array(to_world)
    name = f"{second.GetName()} aligned to {first.GetName()}"
    transform = second.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    transform.SetAttribute(_PREVIEW, "1")
    second.SetAndObserveTransformNodeID(transform.GetID())
    return AlignmentPreview(second, transform, former.GetID() if former else None)


def _array(matrix: Any) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
