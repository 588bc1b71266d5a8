"""ctkCollapsibleButton and ctkCollapsibleGroupBox: sections of a panel that fold away."""

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QStyle

ARROW = 16  # pixels


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header with an arrow over the section's contents. A click on the header folds them away."""

    contentsCollapsed = Signal(bool)

    def __init__(self, text: object = None, parent: QtWidgets.QWidget | None = None):
        is_parent = isinstance(text, QtWidgets.QWidget)
        super().__init__(text if is_parent else parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.toggled.connect(lambda checked: self.setCollapsed(not checked))
        if isinstance(text, str):
            self.setText(text)

    def setCollapsed(self, collapsed: bool) -> None:
        if collapsed == self.property("collapsed"):
            return
        self.__dict__["_collapsed"] = collapsed
        self.setChecked(not collapsed)
        self._show_contents()
        self.contentsCollapsed.emit(collapsed)

    collapsed = QtCore.Property(bool, lambda self: self.__dict__.get("_collapsed", False), setCollapsed)

    def _show_contents(self) -> None:
        """Hides the contents; shows them again, but for those that were hidden on their own."""
        collapsed = self.property("collapsed")
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and collapsed and not child.isHidden():
                child.setProperty("_folded", True)
                child.setVisible(False)
            elif isinstance(child, QtWidgets.QWidget) and not collapsed and child.property("_folded"):
                child.setProperty("_folded", False)
                child.setVisible(True)
        self.setMaximumHeight(self._header_height() if collapsed else 16777215)
        self.updateGeometry()

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        """What is added to a folded section is hidden, too."""
        super().childEvent(event)
        if event.type() == QtCore.QEvent.Type.ChildPolished and self.property("collapsed"):
            self._show_contents()

    def _header_height(self) -> int:
        return self.fontMetrics().height() + 10

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < self._header_height()

    def hasHeightForWidth(self) -> bool:
        """As in Slicer, where the panel is scrolled: the section does not ask how high its texts are at its width."""
        return False

    def sizeHint(self) -> QtCore.QSize:
        layout = super().layout()
        height = self._header_height()
        width = self.fontMetrics().horizontalAdvance(self.property("text")) + ARROW + 20
        if layout is None or self.property("collapsed"):
            return QtCore.QSize(width, height)
        return layout.sizeHint().grownBy(self.contentsMargins()).expandedTo(QtCore.QSize(width, height))

    def minimumSizeHint(self) -> QtCore.QSize:
        layout = super().layout()
        if layout is None or self.property("collapsed"):
            return QtCore.QSize(0, self._header_height())
        return layout.minimumSize().grownBy(self.contentsMargins())

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        del event
        painter = QtWidgets.QStylePainter(self)
        header = self.rect.adjusted(0, 0, 0, self._header_height() - self.rect.height())
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = header
        painter.drawPrimitive(QStyle.PrimitiveElement.PE_PanelButtonCommand, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(4, (header.height() - ARROW) // 2, ARROW, ARROW)
        right = QStyle.PrimitiveElement.PE_IndicatorArrowRight
        down = QStyle.PrimitiveElement.PE_IndicatorArrowDown
        painter.drawPrimitive(right if self.property("collapsed") else down, arrow)
        left = QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.AlignmentFlag.AlignLeft
        painter.drawText(header.adjusted(ARROW + 8, 0, 0, 0), left, self.property("text"))


class ModulePanel(QtWidgets.QWidget):
    """What Slicer scrolls: it is as high as its module has to be at least, and does not ask how high at its width."""

    def __init__(self, module: QtWidgets.QWidget):
        super().__init__()
        inside = _AnyWidth()
        for widget, content in ((inside, module), (self, inside)):
            layout = QtWidgets.QVBoxLayout(widget)
            layout.setContentsMargins(0, 0, 0, 0)
            layout.addWidget(content)


class _AnyWidth(QtWidgets.QWidget):
    def hasHeightForWidth(self) -> bool:
        return False


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box that folds away."""

    def setCollapsed(self, collapsed: bool) -> None:
        self.__dict__["_collapsed"] = collapsed
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not collapsed)

    collapsed = QtCore.Property(bool, lambda self: self.__dict__.get("_collapsed", False), setCollapsed)
