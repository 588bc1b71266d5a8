"""Corrections that an ended program has left: offered on the page, to go on with or to delete."""

from collections.abc import Callable

from trame_server import Server

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.unsaved import UnsavedCorrections
from CrossModalSegLib.errors import CrossModalSegError


class UnsavedSection:
    """Offers what ``unsaved`` keeps; ``on_results`` is called when a result has come into the scene."""

    def __init__(
        self,
        server: Server,
        logic: SegmentationLogic,
        unsaved: UnsavedCorrections,
        dialogs: Dialogs,
        on_results: Callable[[], None],
    ):
        self._logic, self._unsaved, self._dialogs, self._on_results = logic, unsaved, dialogs, on_results
        self._state = PageState(server, "unsaved", offers=unsaved.offers())
        self._state.on("restore", self._restore)
        self._state.on("discard", self._discard)

    def _restore(self, name: str) -> None:
        try:
            self._unsaved.open(self._logic.scene, name, self._logic.bundle)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)
            return
        self._state.show(offers=self._unsaved.offers())
        self._on_results()

    def _discard(self, name: str) -> None:
        def discard() -> None:
            self._unsaved.discard(name)
            self._state.show(offers=self._unsaved.offers())

        self._dialogs.ask(_("Delete these corrections, which are saved nowhere else?"), _("Delete"), discard)
