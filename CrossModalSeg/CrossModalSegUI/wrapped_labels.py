"""Labels of several lines, shown whole: in a scrolled panel Slicer gives a section the height of one line for each."""

from typing import Any

import qt


class WrappedLabels(qt.QObject):
    """Keeps each word-wrapped label below ``root``, and each that is `watch`\\ ed, as high as its text needs at its width.

    Sections that fold away do not ask their contents how high they have to be at a width. So each label says it as its
    least height, whenever its text or its width has changed.
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
            if label.minimumHeight != height:
                label.minimumHeight = height
        return False
