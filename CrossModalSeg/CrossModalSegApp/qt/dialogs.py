"""Everything that asks the user something or tells of an error; tests put their own in its place."""

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from CrossModalSegLib.errors import CrossModalSegError


class Dialogs:
    """Slicer's own dialogs. A choice that was cancelled is None."""

    def show_error(self, error: CrossModalSegError) -> None:
        slicer.util.errorDisplay(f"{error.message}\n\n{error.hint}", windowTitle=_("CrossModalSeg"))

    def tell(self, text: str) -> None:
        slicer.util.infoDisplay(text, windowTitle=_("CrossModalSeg"))

    def confirm(self, question: str) -> bool:
        return bool(slicer.util.confirmYesNoDisplay(question, windowTitle=_("CrossModalSeg")))

    def ask(
        self, question: str, _action: str, on_yes: Callable[[], None], on_no: Callable[[], None] = lambda: None
    ) -> None:
        """As `logic.presenter.Dialogs` has it."""
        if self.confirm(question):
            on_yes()
        else:
            on_no()

    def choose_folder(self, title: str, start: str = "") -> Path | None:
        return _path(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, start))

    def choose_file(self, title: str, pattern: str) -> Path | None:
        return _path(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", pattern))

    def choose_new_file(self, title: str, name: str, pattern: str) -> Path | None:
        return _path(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, pattern))


def _path(answer: str | tuple[str, ...]) -> Path | None:
    """PythonQt gives the path, PySide a pair of path and chosen pattern."""
    text = answer[0] if isinstance(answer, tuple | list) else answer
    return Path(text) if text else None
