"""Dialogs that tests answer: they are recorded, never shown, and an unexpected one is an error."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from PySide6 import QtCore, QtWidgets

Button = QtWidgets.QMessageBox.StandardButton


@dataclass
class Dialog:
    """One dialog as the user would have seen it."""

    kind: str
    title: str
    text: str
    details: str = ""


@dataclass
class DialogRecord:
    """All dialogs of a test, and the answers it gives to those that ask."""

    shown: list[Dialog] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)

    def answer(self, *answers: Any) -> None:
        """Puts answers in line: "yes", "no", "ok", "cancel" ... for message boxes, a path ("" cancels) for files."""
        self.answers.extend(answers)

    def texts(self) -> list[str]:
        return [dialog.text for dialog in self.shown]

    def clear(self) -> None:
        self.shown.clear()
        self.answers.clear()

    def show(self, dialog: Dialog, needs_answer: bool) -> Any:
        """Records the dialog; returns the next answer. AssertionError where it asks and no answer is in line."""
        self.shown.append(dialog)
        if not needs_answer:
            return None
        if not self.answers:
            raise AssertionError(f"a dialog asks, and the test gave no answer: {dialog}")
        return self.answers.pop(0)


RECORD = DialogRecord()
DETAILS_BUTTON = "Show Details..."


def button_named(name: str) -> Button:
    """``Button.Yes`` for "yes"."""
    return next(button for button in Button if button.name.lower() == name.lower())


def _answer_of(dialog: Dialog, buttons: Button) -> Button:
    single = [button for button in Button if button in (Button.Ok, Button.Close) and buttons == button]
    if single or buttons == Button.NoButton:
        RECORD.show(dialog, needs_answer=False)
        return single[0] if single else Button.Ok
    chosen = button_named(RECORD.show(dialog, needs_answer=True))
    if not buttons & chosen:
        raise AssertionError(f"{dialog} has no button {chosen.name}")
    return chosen


class MessageBox(QtWidgets.QMessageBox):
    """QMessageBox with recorded answers: standard buttons by name, added buttons by their text."""

    def exec(self) -> Any:
        dialog = Dialog("message", self.windowTitle, self.text, self.detailedText)
        added = [button.text for button in self.buttons() if self.standardButton(button) == Button.NoButton]
        if not [text for text in added if text != DETAILS_BUTTON]:
            return _answer_of(dialog, QtWidgets.QMessageBox.standardButtons(self))
        answer = RECORD.show(dialog, needs_answer=True)
        texts = {button.text.replace("&", ""): button for button in self.buttons()}
        if answer not in texts:
            raise AssertionError(f"{dialog} has no button {answer!r}, only {list(texts)}")
        self.__dict__["_clicked"] = texts[answer]
        return 0

    exec_ = exec

    def clickedButton(self) -> QtWidgets.QAbstractButton | None:
        return self.__dict__.get("_clicked")


def _asking(kind: str, default: Button) -> Any:
    def ask(parent: Any, title: str, text: str, buttons: Button = default, default_button: Any = None) -> Button:
        del parent, default_button
        return _answer_of(Dialog(kind, title, text), buttons)

    return staticmethod(ask)


class QMessageBox(MessageBox):
    question = _asking("question", Button.Yes | Button.No)
    information = _asking("information", Button.Ok)
    warning = _asking("warning", Button.Ok)
    critical = _asking("critical", Button.Ok)


def _file_question(kind: str) -> Any:
    def ask(parent: Any = None, caption: str = "", directory: str = "", *rest: Any) -> Any:
        del parent, directory, rest
        answer = RECORD.show(Dialog(kind, caption, ""), needs_answer=True)
        return [str(path) for path in answer] if _is_several(answer) else str(answer)

    return staticmethod(ask)


def _is_several(answer: Any) -> bool:
    return isinstance(answer, Iterable) and not isinstance(answer, (str, QtCore.QDir))


class QFileDialog(QtWidgets.QFileDialog):
    """Its static functions return what the test put in line; like PythonQt, the path alone without the filter."""

    getExistingDirectory = _file_question("folder")
    getOpenFileName = _file_question("open")
    getOpenFileNames = _file_question("open several")
    getSaveFileName = _file_question("save")

    def exec(self) -> int:
        raise AssertionError("use QFileDialog's static functions: the stand-in answers only those")

    exec_ = exec


class QInputDialog(QtWidgets.QInputDialog):
    getText = _file_question("text")
