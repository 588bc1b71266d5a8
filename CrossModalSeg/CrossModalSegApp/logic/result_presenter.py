"""The section Result: which result of the scene is shown, and its figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.table_rows import rows_of


@dataclass(frozen=True)
class ResultSectionState:
    """``cases``: id and title of each result; ``current``: the id of the one that is shown, "" for none.

    ``columns`` and ``rows`` are its figures, ``files`` the modalities whose segmentation it has.
    """

    cases: tuple[tuple[str, str], ...]
    current: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    files: tuple[str, ...]


class ResultPresenter(Presenter):
    """Lists the results of the scene.

    ``on_case(case)`` is called when another one is shown, ``on_gone(run_id)`` for each that was removed.
    """

    def __init__(
        self,
        logic: SegmentationLogic,
        host: Host,
        on_case: Callable[[CaseNodes | None], None],
        on_gone: Callable[[str], None],
    ):
        super().__init__(host)
        self._logic, self._on_case, self._on_gone = logic, on_case, on_gone
        self._cases: dict[str, CaseNodes] = {}
        self._identities: dict[str, Any] = {}  # of the cases, as they were listed
        self._current = ""

    @property
    def case(self) -> CaseNodes | None:
        """The result that is shown."""
        return self._cases.get(self._current)

    @property
    def state(self) -> ResultSectionState:
        case = self.case
        columns, *rows = rows_of(case.table if case else None) or [[]]
        return ResultSectionState(
            cases=tuple((run_id, one.title) for run_id, one in self._cases.items()),
            current=self._current,
            columns=tuple(columns),
            rows=tuple(map(tuple, rows)),
            files=tuple(name for name in case.segmentations if name in case.volumes) if case else (),
        )

    def fill(self) -> None:
        """List the results anew; a new one is shown, else the one that was shown stays. Nothing new changes nothing."""
        self._list(self._logic.cases())

    def clear(self) -> None:
        """List none: the scene is not this view's any more."""
        self._list([])

    def follow(self, volumes: Mapping[str, Any]) -> None:
        """Show the result of these scans by modality: the one that is shown, else their newest one, or none."""
        fitting = self._of(volumes)
        if self._current not in fitting:
            self.choose(fitting[-1] if fitting else "")

    def choose(self, run_id: str) -> None:
        """Show another result; "" for none."""
        former, self._current = self._current, run_id if run_id in self._cases else ""
        self.changed()
        if self.case is not None or former:
            self._on_case(self.case)

    def _list(self, cases: list[CaseNodes]) -> None:
        identities = {case.run_id: case.identity for case in cases}
        if identities == self._identities:
            return
        shown, former = self.case, self._identities.get(self._current)
        new = [run_id for run_id in identities if run_id not in self._cases]
        gone = [run_id for run_id in self._cases if run_id not in identities]
        self._cases, self._identities = {case.run_id: case for case in cases}, identities
        if new:
            self._current = new[-1]
        elif (
            shown is not None and self._current in gone
        ):  # another one takes its place, of the same scans if there is one
            self._current = next(reversed([*identities, *self._of(shown.volumes)]), "")
        for run_id in gone:
            self._on_gone(run_id)
        self.changed()
        if identities.get(self._current) != former:
            self._on_case(self.case)

    def _of(self, volumes: Mapping[str, Any]) -> list[str]:
        return [run_id for run_id, case in self._cases.items() if case.volumes == dict(volumes)]
