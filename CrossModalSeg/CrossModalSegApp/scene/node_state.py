"""Properties of nodes that are changed for a while and then put back."""

from typing import Any

COMPOSITE = (
    "BackgroundVolumeID",
    "ForegroundVolumeID",
    "LabelVolumeID",
    "ForegroundOpacity",
    "LinkedControl",
    "HotLinkedControl",
)
THRESHOLD = ("ApplyThreshold", "LowerThreshold", "UpperThreshold")
MARKS = ("RulerType", "OrientationMarkerType", "OrientationMarkerSize")
DISPLAY = ("Visibility", "Visibility2DFill", "Visibility2DOutline", "Opacity2DOutline", "SliceIntersectionThickness")


class NodeState:
    """What ``properties`` of ``node`` were when this was made."""

    def __init__(self, node: Any, properties: tuple[str, ...]):
        self.node = node
        self._values = {name: getattr(node, f"Get{name}")() for name in properties}
        self._view_ids = _view_ids(node)

    def restore(self) -> None:
        """Put them back. A node that has left its scene is let be."""
        if self.node.GetScene() is None:
            return
        was_modifying = self.node.StartModify()
        for name, value in self._values.items():
            getattr(self.node, f"Set{name}")(value)
        set_view_ids(self.node, self._view_ids)
        self.node.EndModify(was_modifying)


def set_view_ids(node: Any, view_ids: tuple[str, ...]) -> None:
    """Show a display node in these views only; in all where there are none. Other nodes are let be."""
    if node.IsA("vtkMRMLDisplayNode"):
        node.SetViewNodeIDs(list(view_ids))


def _view_ids(node: Any) -> tuple[str, ...]:
    return tuple(node.GetViewNodeIDs()) if node.IsA("vtkMRMLDisplayNode") else ()
