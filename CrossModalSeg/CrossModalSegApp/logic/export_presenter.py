"""Export as DICOM: whether the result that is shown can be exported, and how far that is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from CrossModalSegApp.logic.dicom_export import OnEnd, why_not
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegLib.errors import CrossModalSegError


@dataclass(frozen=True)
class ExportSectionState:
    """``words``: why the result cannot be exported, that it is being exported, or where it was;
    ``with_structure_set``: RT Structure Sets are written as well."""

    can_start: bool
    is_running: bool
    with_structure_set: bool
    words: str


class ExportPresenter(Presenter):
    """Exports the result that is shown."""

    def __init__(self, logic: SegmentationLogic, host: Host):
        super().__init__(host)
        self._logic = logic
        self._case: CaseNodes | None = None
        self._why_not = ""
        self._outcome = ""
        self._with_structure_set = False

    @property
    def state(self) -> ExportSectionState:
        is_running = self._logic.dicom_export.is_running
        words = _("Exporting as DICOM") if is_running else self._why_not or self._outcome
        can_start = self._case is not None and not is_running and not self._why_not
        return ExportSectionState(can_start, is_running, self._with_structure_set, words)

    def show_case(self, case: CaseNodes | None) -> None:
        """The result that is shown, None without any."""
        self._case, self._outcome = case, ""
        reason = why_not(case) if case is not None else ""
        self._why_not = _("Cannot be exported as DICOM. {why}").format(why=reason) if reason else ""
        self.changed()

    def set_structure_set(self, is_wanted: bool) -> None:
        """Whether RT Structure Sets are written as well."""
        if is_wanted != self._with_structure_set:
            self._with_structure_set = is_wanted
            self.changed()

    def export(self, folder: Path, on_end: OnEnd | None = None) -> None:
        """Write the result into ``folder``, which is empty or not there, in the background.

        ``on_end`` is told of its end instead of the user: with the error, or None.
        """
        case = self._case
        if case is None or not self.state.can_start or not self._host.ready_to_export():
            return
        told: Callable[[CrossModalSegError | None], None] = on_end or (lambda error: self._tell(error, folder))

        def ended(error: CrossModalSegError | None) -> None:
            told(error)
            self.changed()

        self._outcome = ""
        try:
            self._logic.export_dicom(case, folder, self._with_structure_set, ended)
        except CrossModalSegError as error:
            told(error)
        self.changed()

    def _tell(self, error: CrossModalSegError | None, folder: Path) -> None:
        if error is not None:
            self._host.dialogs.show_error(error)
        else:
            self._outcome = _("Exported to {folder}").format(folder=folder)
