"""The module ``ctk``: stand-ins for the widgets of the Common Toolkit that Slicer modules use."""

import types

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Qt, Signal

from .collapsible import ctkCollapsibleButton, ctkCollapsibleGroupBox
from .dialogs import MessageBox
from .pythonqt import wrap
from .stored_property import forwarded, stored


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box, over float values."""

    STEPS = 1000

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    value = forwarded(float, "value", "_spin_box")
    minimum = forwarded(float, "minimum", "_spin_box")
    maximum = forwarded(float, "maximum", "_spin_box")
    singleStep = forwarded(float, "singleStep", "_spin_box")
    decimals = forwarded(int, "decimals", "_spin_box")
    prefix = forwarded(str, "prefix", "_spin_box")
    suffix = forwarded(str, "suffix", "_spin_box")
    spinBoxVisible = forwarded(bool, "visible", "_spin_box")
    pageStep = stored(float, "pageStep", 10.0)
    tickInterval = stored(float, "tickInterval", 0.0)
    tracking = stored(bool, "tracking", True)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._spin_box = QtWidgets.QDoubleSpinBox(self)
        self._slider = QtWidgets.QSlider(Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, self.STEPS)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._spin_box)
        self._spin_box.valueChanged.connect(self._value_changed)
        self._slider.sliderMoved.connect(self._slider_moved)

    def setValue(self, value: float) -> None:
        self._spin_box.setValue(value)

    def _value_changed(self, value: float) -> None:
        low, high = self.minimum, self.maximum
        self._slider.setValue(round((value - low) / (high - low) * self.STEPS) if high > low else 0)
        self.valueChanged.emit(value)

    def _slider_moved(self, position: int) -> None:
        self.setValue(self.minimum + (self.maximum - self.minimum) * position / self.STEPS)


class ctkDoubleSlider(QtWidgets.QWidget):
    """A slider over float values."""

    STEPS = 1000

    valueChanged = Signal(float)
    sliderMoved = Signal(float)
    sliderPressed = Signal()
    sliderReleased = Signal()

    tracking = stored(bool, "tracking", True)
    singleStep = stored(float, "singleStep", 1.0)
    pageStep = stored(float, "pageStep", 10.0)
    tickInterval = stored(float, "tickInterval", 0.0)
    orientation = forwarded(Qt.Orientation, "orientation", "_slider")

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, self.STEPS)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        self._now, self._low, self._high = 0.0, 0.0, 99.0
        self._slider.sliderMoved.connect(self._slider_moved)

    def setValue(self, value: float) -> None:
        value = min(max(float(value), self._low), self._high)
        if value == self._now:
            return
        self._now = value
        self._show()
        self.valueChanged.emit(value)

    def setMinimum(self, value: float) -> None:
        self._low = float(value)
        self.setValue(self._now)
        self._show()

    def setMaximum(self, value: float) -> None:
        self._high = float(value)
        self.setValue(self._now)
        self._show()

    def setRange(self, low: float, high: float) -> None:
        self.setMinimum(low)
        self.setMaximum(high)

    value = QtCore.Property(float, lambda self: self._now, setValue)
    minimum = QtCore.Property(float, lambda self: self._low, setMinimum)
    maximum = QtCore.Property(float, lambda self: self._high, setMaximum)

    def _show(self) -> None:
        extent = self._high - self._low
        self._slider.setValue(round((self._now - self._low) / extent * self.STEPS) if extent > 0 else 0)

    def _slider_moved(self, position: int) -> None:
        value = self._low + (self._high - self._low) * position / self.STEPS
        self.sliderMoved.emit(value)
        self.setValue(value)


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text for the case that nothing is chosen."""

    defaultText = stored(str, "defaultText", "", lambda self: self.setPlaceholderText(self.defaultText))
    forceDefault = stored(bool, "forceDefault", False)
    scrollWheelEffect = stored(int, "scrollWheelEffect", 0)


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path that can be typed."""

    currentPathChanged = Signal(str)

    currentPath = forwarded(str, "text", "_line")
    settingKey = stored(str, "settingKey", "")
    nameFilters = stored("QStringList", "nameFilters", [])
    label = stored(str, "label", "")
    showBrowseButton = stored(bool, "showBrowseButton", True)
    showHistoryButton = stored(bool, "showHistoryButton", True)
    filters = stored(int, "filters", 0)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._line = QtWidgets.QLineEdit(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        layout.addWidget(QtWidgets.QToolButton(self, text="..."))
        self._line.textChanged.connect(self.currentPathChanged)


class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows the chosen folder and asks for another one."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    caption = stored(str, "caption", "")
    text = forwarded(str, "text", "_button")

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        icon = self.style().standardIcon(QtWidgets.QStyle.StandardPixmap.SP_DirIcon)
        self._button = QtWidgets.QPushButton(icon, ".", self)
        self._folder = QtCore.QDir.currentPath()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)

    def setDirectory(self, folder: str) -> None:
        if folder == self._folder:
            return
        self._folder = folder
        self._button.setText(QtGui.QFontMetrics(self.font()).elidedText(folder, Qt.TextElideMode.ElideMiddle, 300))
        self.directoryChanged.emit(folder)

    directory = QtCore.Property(str, lambda self: self._folder, setDirectory)


class ctkMessageBox(MessageBox):
    """A message box with "don't show again"."""

    dontShowAgainVisible = stored(bool, "dontShowAgainVisible", False)
    dontShowAgain = stored(bool, "dontShowAgain", False)
    dontShowAgainSettingsKey = stored(str, "dontShowAgainSettingsKey", "")


def build_ctk() -> types.ModuleType:
    """The module ``ctk``."""
    ctk = types.ModuleType("ctk", __doc__)
    for widget in (
        *(ctkCollapsibleButton, ctkCollapsibleGroupBox, ctkSliderWidget, ctkDoubleSlider, ctkComboBox),
        *(ctkPathLineEdit, ctkDirectoryButton, ctkMessageBox),
        *(type("ctkCheckBox", (QtWidgets.QCheckBox,), {}), type("ctkPushButton", (QtWidgets.QPushButton,), {})),
        *(type("ctkDoubleSpinBox", (QtWidgets.QDoubleSpinBox,), {}),),
        *(type("ctkFittedTextBrowser", (QtWidgets.QTextBrowser,), {}),),
    ):
        setattr(ctk, widget.__name__, wrap(widget))
    return ctk
