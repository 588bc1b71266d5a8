"""Which result is seen: the one that is chosen. All others of this module are hidden, in slices and in 3D."""

from typing import Any

from CrossModalSegApp.scene.case_nodes import ROLE_ATTRIBUTE, CaseNodes
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.scene_nodes import nodes_of_class
from CrossModalSegApp.scene.slice_views import is_ours


class ResultDisplay:
    """Shows one segmentation in the usual views of ``scene``, which show both scans of a case at one place.

    Two segmentations there would lie over each other. What a person shows or hides afterwards stays, until something
    else is chosen.
    """

    def __init__(self, scene: Any):
        self._scene = scene
        self._shown: tuple[str, str] | None = None  # ids of segmentation and volume

    def show(self, case: CaseNodes | None, modality: str | None) -> None:
        """Show the segmentation of ``modality`` over its scan, and no other; nothing is hidden where there is none."""
        segmentation = case.segmentations.get(modality or "") if case else None
        volume = case.volumes.get(modality or "") if case else None
        shown = (segmentation.GetID(), volume.GetID() if volume else "") if segmentation else None
        if shown is None or shown == self._shown:
            self._shown = shown
            return
        self._shown = shown
        with one_render():
            for node in nodes_of_class(self._scene, "vtkMRMLSegmentationNode"):
                if node.GetAttribute(ROLE_ATTRIBUTE) and node.GetDisplayNode() is not None:
                    node.GetDisplayNode().SetVisibility(node is segmentation)
            if volume is not None:
                self._show_scan(volume)

    def forget(self) -> None:
        """The views were changed by somebody else: the next choice is shown anew."""
        self._shown = None

    def _show_scan(self, volume: Any) -> None:
        """Under its segmentation, in the views that show another scan."""
        for composite in nodes_of_class(self._scene, "vtkMRMLSliceCompositeNode"):
            shown = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
            if not is_ours(composite) and volume.GetID() not in shown:
                composite.SetBackgroundVolumeID(volume.GetID())
