"""Aligning the second scan onto the first: a preview in the scene, that is kept or undone."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from CrossModalSegApp.scene.node_geometry import parent_transform_kind
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.registration import RigidRefinement


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
