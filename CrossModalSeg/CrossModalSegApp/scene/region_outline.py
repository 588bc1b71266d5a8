"""The region in question as an outline in Slicer's slice views: a segmentation of its own, which no scene keeps."""

from typing import Any

import numpy as np

from CrossModalSegApp.scene.review_region import Region
from CrossModalSegApp.scene.segmentation_nodes import oriented_image
from CrossModalSegApp.scene.subject_tree import remove

_WHITE = (1.0, 1.0, 1.0)
_THICK = 3  # pixels


class RegionOutline:
    """Shows one `Region` at a time in ``scene``."""

    def __init__(self, scene: Any):
        self._scene, self._node = scene, None

    def show(self, region: Region | None) -> None:
        """Outline this region, and no other; None: none."""
        node, self._node = self._node, None
        if node is not None and node.GetScene() is not None:
            remove(node)
        if region is not None:
            self._node = self._add(region)

    def _add(self, region: Region) -> Any:
        import slicer

        node = self._scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "region in question")
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
        node.SetAndObserveTransformNodeID(region.volume.GetTransformNodeID())
        node.SetSourceRepresentationToBinaryLabelmap()
        segment = slicer.vtkSegment()
        segment.SetName("region in question")
        segment.SetColor(*_WHITE)
        segment.SetLabelValue(1)
        segment.AddRepresentation("Binary labelmap", oriented_image(region.mask.astype(np.uint8), region.volume))
        node.GetSegmentation().AddSegment(segment, "Region")
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetVisibility3D(False)
        display.SetVisibility2DFill(False)
        display.SetSliceIntersectionThickness(_THICK)
        return node
