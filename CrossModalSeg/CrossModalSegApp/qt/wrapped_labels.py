"""Labels of several lines, shown whole: in a scrolled panel Slicer gives a section the height of one line for each."""

from typing import Any

import qt

_ANY_HEIGHT = 16777215  # Qt's QWIDGETSIZE_MAX


class WrappedLabels(qt.QObject):
    """Keeps word-wrapped labels, those below ``root`` and those given to `watch`, as high as their text is at their
    width.

    Sections that fold away do not ask their contents how high they have to be at a width. So each label says it as its
    height, no less and no more, whenever its text or its width has changed.
    """

    def __init__(self, root: Any = None):
        super().__init__()
        for label in root.findChildren(qt.QLabel) if root is not None else ():
            if label.wordWrap:
                self.watch(label)

    def watch(self, label: Any) -> None:
        """From now on, too."""
        label.installEventFilter(self)

    def eventFilter(self, label: Any, event: Any) -> bool:
        """Qt asks it about each event of the labels. A label that has got another text is painted."""
        if event.type() in (qt.QEvent.Resize, qt.QEvent.Paint):
            height = label.heightForWidth(label.width) if label.text else 0
            most = height or _ANY_HEIGHT  # without a height it would never be painted again
            if (label.minimumHeight, label.maximumHeight) != (height, most):
                label.minimumHeight, label.maximumHeight = height, most
        return False
