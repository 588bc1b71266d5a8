"""How often the views would have drawn: as in Slicer, at once for each node event, unless rendering is paused."""

from typing import Any

import slicer
import vtk
from PySide6.QtCore import qWarning

_SHOWN = ("vtkMRMLDisplayableNode", "vtkMRMLDisplayNode", "vtkMRMLAbstractViewNode", "vtkMRMLSliceCompositeNode")


class Renders:
    """``count`` goes up by one for each event of a node that views show; within a pause, by one for all of them.

    As in Slicer, a view that is made within a pause is not paused, and Qt complains when it is resumed.
    """

    def __init__(self, scene: Any):
        self.count = 0
        self._scene = scene
        self._pauses = 0
        self._is_due = False
        self._made_in_pause: list[str] = []
        self._observations: list[tuple[Any, int]] = []

    def watch(self) -> None:
        scene = self._scene
        self._observations += [
            (scene, scene.AddObserver(scene.NodeAddedEvent, self._node_added)),
            (scene, scene.AddObserver(scene.NodeRemovedEvent, self._node_removed)),
        ]
        for number in range(scene.GetNumberOfNodes()):
            self._watch_node(scene.GetNthNode(number))

    def stop(self) -> None:
        for subject, tag in self._observations:
            subject.RemoveObserver(tag)
        self._observations.clear()

    def pause(self) -> None:
        self._pauses += 1

    def resume(self) -> None:
        assert self._pauses > 0, "rendering is resumed that was not paused"
        self._pauses -= 1
        if self._pauses == 0 and self._made_in_pause:
            qWarning(f"Cannot resume rendering of {self._made_in_pause}, pause render count is already 0!")
            self._made_in_pause = []
        if self._pauses == 0 and self._is_due:
            self._is_due = False
            self.count += 1

    def _draw(self, *_: Any) -> None:
        if self._pauses:
            self._is_due = True
        else:
            self.count += 1

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_added(self, _scene: Any, _event: str, node: Any) -> None:
        if self._pauses and node.IsA("vtkMRMLAbstractViewNode"):
            self._made_in_pause.append(node.GetName())
        if _is_shown(node):
            self._watch_node(node)
            self._draw()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, _scene: Any, _event: str, node: Any) -> None:
        self._observations = [one for one in self._observations if one[0] is not node]
        if _is_shown(node):
            self._draw()

    def _watch_node(self, node: Any) -> None:
        if not _is_shown(node):
            return
        events = [vtk.vtkCommand.ModifiedEvent]
        if node.IsA("vtkMRMLSegmentationNode"):
            kind = slicer.vtkSegmentation
            events += [kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified, kind.RepresentationModified]
        self._observations += [(node, node.AddObserver(event, self._draw)) for event in events]


def _is_shown(node: Any) -> bool:
    return any(map(node.IsA, _SHOWN))
