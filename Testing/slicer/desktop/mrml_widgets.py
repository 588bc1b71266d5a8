"""qMRML widgets on real nodes: the module's frame, the segment editor's outside, and what wraps them for ``slicer``."""

from typing import Any

import vtk
from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Signal

from .node_combo_box import qMRMLNodeComboBox
from .stored_property import slot_for, stored


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows the scene and tells it to the widgets inside (``mrmlSceneChanged`` in the .ui file)."""

    mrmlSceneChanged = Signal(object)
    cpp_signals = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self.mrmlScene():
            return
        self.__dict__["_scene"] = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self.__dict__.get("_scene")


class qSlicerWidget(qMRMLWidget):
    """The same for modules in C++."""


class SegmentEditorEffect:
    """An effect by name; its parameters are kept in the editor's node, nothing is edited."""

    def __init__(self, name: str, node: Any):
        self.name = name
        self._node = node

    def parameter(self, name: str) -> str:
        return self._node.GetAttribute(f"{self.name}.{name}") or ""


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Keeps the nodes as the real widget does and lists the segments. It does not edit: there are no effects.

    As in Slicer, the tool is put down when another segmentation is edited.
    """

    EFFECTS = ("Paint", "Draw", "Erase", "Threshold", "Smoothing", "Islands", "Grow from seeds", "Scissors")

    currentSegmentIDChanged = Signal(str)
    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)
    cpp_signals = (
        *qMRMLWidget.cpp_signals,
        *("currentSegmentIDChanged(QString)", "segmentationNodeChanged(vtkMRMLSegmentationNode*)"),
        "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)",
    )

    maximumNumberOfUndoStates = stored(int, "maximumNumberOfUndoStates", 10)
    undoEnabled = stored(bool, "undoEnabled", True)
    readOnly = stored(bool, "readOnly", False)
    autoShowSourceVolumeNode = stored(bool, "autoShowSourceVolumeNode", True)
    segmentationNodeSelectorVisible = stored(bool, "segmentationNodeSelectorVisible", True)
    sourceVolumeNodeSelectorVisible = stored(bool, "sourceVolumeNodeSelectorVisible", True)
    switchToSegmentationsButtonVisible = stored(bool, "switchToSegmentationsButtonVisible", True)
    unorderedEffectsVisible = stored(bool, "unorderedEffectsVisible", True)
    effectColumnCount = stored(int, "effectColumnCount", 2)
    jumpToSelectedSegmentEnabled = stored(bool, "jumpToSelectedSegmentEnabled", False)
    defaultTerminologyEntry = stored(str, "defaultTerminologyEntry", "")
    defaultTerminologyEntrySettingsKey = stored(str, "defaultTerminologyEntrySettingsKey", "")

    setMaximumNumberOfUndoStates = slot_for("maximumNumberOfUndoStates")
    setUndoEnabled = slot_for("undoEnabled")
    setReadOnly = slot_for("readOnly")
    setAutoShowSourceVolumeNode = slot_for("autoShowSourceVolumeNode")
    setSegmentationNodeSelectorVisible = slot_for("segmentationNodeSelectorVisible")
    setSourceVolumeNodeSelectorVisible = slot_for("sourceVolumeNodeSelectorVisible")
    setSwitchToSegmentationsButtonVisible = slot_for("switchToSegmentationsButtonVisible")
    setEffectColumnCount = slot_for("effectColumnCount")

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._node, self._observation = None, None
        self._saved_states = 0
        self._table = QtWidgets.QTableWidget(0, 1, self)
        self._table.setHorizontalHeaderLabels(["Segment"])
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.cellClicked.connect(self._row_clicked)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        layout.addLayout(self._effect_buttons())

    def _effect_buttons(self) -> QtWidgets.QGridLayout:
        grid = QtWidgets.QGridLayout()
        for number, name in enumerate(self.EFFECTS):
            button = QtWidgets.QToolButton(self)
            button.setText(name)
            button.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
            button.clicked.connect(lambda *_, name=name: self.setActiveEffectByName(name))
            grid.addWidget(button, number // 4, number % 4)
        return grid

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        if node is not None and not node.IsA("vtkMRMLSegmentEditorNode"):
            raise TypeError(f"setMRMLSegmentEditorNode takes a vtkMRMLSegmentEditorNode, not {node.GetClassName()}")
        if self._observation is not None:
            self._node.RemoveObserver(self._observation)
        self._node = node
        self._observation = node and node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update())
        self._update()

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        settings = self._editor_node()
        if node is self.segmentationNode():
            return
        self.setActiveEffectByName("")
        settings.SetAndObserveSegmentationNode(node)
        segmentation = node and node.GetSegmentation()
        first = segmentation.GetNthSegmentID(0) if segmentation and segmentation.GetNumberOfSegments() else ""
        self.setCurrentSegmentID(first)
        self.segmentationNodeChanged.emit(node)

    def segmentationNode(self) -> Any:
        return self._node and self._node.GetSegmentationNode()

    def setSourceVolumeNode(self, node: Any) -> None:
        self._editor_node().SetAndObserveSourceVolumeNode(node)
        self.sourceVolumeNodeChanged.emit(node)

    def sourceVolumeNode(self) -> Any:
        return self._node and self._node.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segment_id: str) -> None:
        if segment_id != self.currentSegmentID():
            self._editor_node().SetSelectedSegmentID(segment_id)
            self.currentSegmentIDChanged.emit(segment_id)

    def currentSegmentID(self) -> str:
        return (self._node and self._node.GetSelectedSegmentID()) or ""

    def setActiveEffectByName(self, name: str) -> None:
        if name and name not in self.EFFECTS:
            raise ValueError(f"no effect {name!r} in the stand-in, only {self.EFFECTS}")
        self._editor_node().SetActiveEffectName(name)

    def saveStateForUndo(self) -> None:
        """Nothing is edited here, so that nothing is undone; ``_saved_states`` counts."""
        self._saved_states += 1

    def activeEffect(self) -> SegmentEditorEffect | None:
        name = self._node and self._node.GetActiveEffectName()
        return SegmentEditorEffect(name, self._node) if name else None

    def _editor_node(self) -> Any:
        if self._node is None:
            raise RuntimeError("the segment editor has no node: call setMRMLSegmentEditorNode first")
        return self._node

    def _update(self) -> None:
        segmentation = self.segmentationNode() and self.segmentationNode().GetSegmentation()
        count = segmentation.GetNumberOfSegments() if segmentation else 0
        self._table.setRowCount(count)
        for row in range(count):
            segment = segmentation.GetNthSegment(row)
            swatch = QtGui.QPixmap(16, 16)
            swatch.fill(QtGui.QColor.fromRgbF(*segment.GetColor()))
            self._table.setItem(row, 0, QtWidgets.QTableWidgetItem(QtGui.QIcon(swatch), segment.GetName()))
            if segmentation.GetNthSegmentID(row) == self.currentSegmentID():
                self._table.selectRow(row)

    def _row_clicked(self, row: int) -> None:
        self.setCurrentSegmentID(self.segmentationNode().GetSegmentation().GetNthSegmentID(row))


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The frame that the application puts around a scripted module's widget; ``module_loader`` drives it."""

    isEntered = stored(bool, "isEntered", False)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self.setLayout(QtWidgets.QVBoxLayout())
        self._python, self._create = None, None

    def self(self) -> Any:
        """The Python object, an instance of ``<Module>Widget``."""
        return self._python

    def reload(self) -> None:
        """Makes the Python object anew, from the class as it is now."""
        self._create()


def mrml_widgets() -> dict[str, type]:
    """The widget classes of the module ``slicer`` by name."""
    classes = (
        *(qMRMLWidget, qSlicerWidget, qMRMLNodeComboBox, qMRMLSegmentEditorWidget),
        qSlicerScriptedLoadableModuleWidget,
    )
    return {widget.__name__: widget for widget in classes}
