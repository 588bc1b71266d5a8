"""qMRMLNodeComboBox: a selector of the scene's nodes, on a real scene."""

from typing import Any

import shiboken6
import vtk
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from .stored_property import stored


def _refill(widget: Any) -> None:
    widget.refill()


class NodeFilter:
    """Of qMRMLSortFilterProxyModel, the ids that are not listed."""

    def __init__(self, changed: Any):
        self._changed = changed
        self._hidden: tuple[str, ...] = ()

    @property
    def hiddenNodeIDs(self) -> tuple[str, ...]:
        return self._hidden

    @hiddenNodeIDs.setter
    def hiddenNodeIDs(self, ids: Any) -> None:
        self._hidden = tuple(ids)
        self._changed()


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Follows the scene: nodes of its types that come, go or change their name. One node is current, or none.

    As Slicer's, it takes the entry before the current node where that is removed, which may be another node.
    """

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    cpp_signals = (
        *("currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)", "currentNodeIDChanged(QString)"),
        *("nodeActivated(vtkMRMLNode*)", "nodeAdded(vtkMRMLNode*)", "nodeAddedByUser(vtkMRMLNode*)"),
    )

    nodeTypes = stored("QStringList", "nodeTypes", [], _refill)
    hideChildNodeTypes = stored("QStringList", "hideChildNodeTypes", [], _refill)
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True, _refill)
    showHidden = stored(bool, "showHidden", False, _refill)
    noneEnabled = stored(bool, "noneEnabled", False, _refill)
    noneDisplay = stored(str, "noneDisplay", "None", _refill)
    addEnabled = stored(bool, "addEnabled", True, _refill)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    baseName = stored(str, "baseName", "")
    interactionNodeSingletonTag = stored(str, "interactionNodeSingletonTag", "")

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox(self)
        self._scene, self._current, self._required = None, "", []
        self._rows: list[str] = []  # ids of what is listed, "" for none
        self._filter = NodeFilter(self.refill)
        self._observations: list[tuple[Any, int]] = []
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._activated)
        self._combo.setEnabled(False)  # until it has a scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._stop_observing()
        self._scene = scene
        self._combo.setEnabled(scene is not None)
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndBatchProcessEvent)
            self._observations.extend((scene, scene.AddObserver(event, self._scene_changed)) for event in events)
        self.refill()

    def mrmlScene(self) -> Any:
        return self._scene

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def setCurrentNode(self, node: Any) -> None:
        """Chooses a node; one that the selector does not list leaves it without a current node."""
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node)
        self._choose(node.GetID() if node is not None and node in self._nodes() else "")

    def setCurrentNodeID(self, node_id: str) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(node_id) if self._scene and node_id else None)

    currentNodeID = Property(str, lambda self: self._current, setCurrentNodeID)

    def nodeFromIndex(self, index: int) -> Any:
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def nodeCount(self) -> int:
        return len(self._nodes())

    def addNode(self, node_type: str = "") -> Any:
        """Adds a node of the type (the first one where none is given), named after ``baseName``."""
        node_type = node_type or self.nodeTypes[0]
        name = self._scene.GenerateUniqueName(self.baseName or node_type.removeprefix("vtkMRML").removesuffix("Node"))
        node = self._scene.AddNewNodeByClass(node_type, name)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        return node

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        """Lists only nodes of that type that have the attribute (with that value, where one is given)."""
        self._required.append((node_type, name, value))
        self.refill()

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        every = [self._scene.GetNthNode(number) for number in range(self._scene.GetNumberOfNodes())]
        return [node for node in every if self._lists(node)]

    def sortFilterProxyModel(self) -> "NodeFilter":
        return self._filter

    def _lists(self, node: Any) -> bool:
        if node.GetID() in self._filter.hiddenNodeIDs:
            return False
        kind = node.GetClassName()
        wanted = kind in self.nodeTypes or (self.showChildNodeTypes and any(map(node.IsA, self.nodeTypes)))
        hidden = (node.GetHideFromEditors() and not self.showHidden) or any(map(node.IsA, self.hideChildNodeTypes))
        return bool(wanted and not hidden and all(self._has(node, *entry) for entry in self._required))

    @staticmethod
    def _has(node: Any, node_type: str, name: str, value: Any) -> bool:
        if not node.IsA(node_type):
            return True
        held = node.GetAttribute(name)
        return held is not None if value is None else held == str(value)

    def refill(self) -> None:
        """Lists the nodes anew and keeps the choice where it is still there."""
        if self._scene is None or self._scene.IsBatchProcessing():
            return
        nodes = self._nodes()
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        for node_type in self.nodeTypes if self.addEnabled else []:
            kind = node_type.removeprefix("vtkMRML").removesuffix("Node")
            self._combo.addItem(f"Create new {kind}", f"+{node_type}")
        self._observe_names(nodes)
        ids = [node.GetID() for node in nodes]
        entries = [""] * self.noneEnabled + ids
        row = self._rows.index(self._current) - 1 if self._current in self._rows else 0
        neighbour = entries[min(max(row, 0), len(entries) - 1)] if entries else ""
        self._rows = entries
        self._choose(self._current if self._current in ids else neighbour)
        self._combo.setCurrentIndex(self._combo.findData(self._current))

    def _choose(self, node_id: str) -> None:
        if node_id == self._current:
            return
        self._current = node_id
        self._combo.setCurrentIndex(self._combo.findData(node_id))
        self.currentNodeChanged.emit(self.currentNode())
        self.currentNodeIDChanged.emit(node_id)

    def _activated(self, index: int) -> None:
        chosen = self._combo.itemData(index) or ""
        if chosen.startswith("+"):
            self.nodeAddedByUser.emit(self.addNode(chosen[1:]))
        else:
            self._choose(chosen)
            self.nodeActivated.emit(self.currentNode())

    def _scene_changed(self, *_: Any) -> None:
        if shiboken6.isValid(self):
            self.refill()
        else:
            self._stop_observing()

    def _observe_names(self, nodes: list[Any]) -> None:
        gone = [entry for entry in self._observations if entry[0] is not self._scene and entry[0] not in nodes]
        for node, tag in gone:
            node.RemoveObserver(tag)
            self._observations.remove((node, tag))
        watched = [subject for subject, _ in self._observations]
        for node in nodes:
            if node not in watched:
                self._observations.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._node_changed)))

    def _node_changed(self, node: Any, event: str) -> None:
        del event
        if shiboken6.isValid(self):
            index = self._combo.findData(node.GetID())
            if index >= 0 and self._combo.itemText(index) != node.GetName():
                self._combo.setItemText(index, node.GetName())

    def _stop_observing(self) -> None:
        for subject, tag in self._observations:
            subject.RemoveObserver(tag)
        self._observations.clear()
