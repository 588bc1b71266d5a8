"""Everything that asks the user something or tells of an error."""

from collections.abc import Callable

from trame_server import Server

from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.logic.wording import sentence
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegLib.errors import CrossModalSegError


class Dialogs:
    """One dialog at a time, over the page."""

    def __init__(self, server: Server):
        self._state = PageState(server, "dialog", is_open=False, is_question=False, text="", hint="", action="")
        self._state.on("answer", self._answer)
        self._state.on("tell", self.tell)
        self._on_yes = self._on_no = _nothing

    def show_error(self, error: CrossModalSegError) -> None:
        self.tell(error.message, sentence(error.hint))

    def tell(self, text: str, hint: str = "") -> None:
        """Something that the user should know before going on."""
        self._on_yes = self._on_no = _nothing
        self._open(is_question=False, text=text, hint=hint, action=_("OK"))

    def ask(
        self, question: str, action: str, on_yes: Callable[[], None], on_no: Callable[[], None] = lambda: None
    ) -> None:
        """As `logic.presenter.Dialogs` has it."""
        self._on_yes, self._on_no = on_yes, on_no
        self._open(is_question=True, text=question, hint="", action=action)

    def _open(self, **content: bool | str) -> None:
        with self._state.flushed():
            self._state.show(is_open=True, **content)

    def _answer(self, is_yes: bool) -> None:
        self._state.show(is_open=False)
        answer = self._on_yes if is_yes else self._on_no
        self._on_yes = self._on_no = _nothing
        answer()


def _nothing() -> None:
    """What is done where there is nothing to choose from."""
