"""The section Result: which result of the scene is shown, and its figures."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trame_server import Server

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.result_table import write_csv
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.scans_section import ORIGINAL_REFERENCE
from CrossModalSegLib.imaging.segmentation_io import write_segmentation

_TABLE = "table"


class ResultSection:
    """Lists the results of the scene.

    ``on_chosen(case)`` is called when another one is shown, ``on_gone(run_id)`` for each that was removed.
    """

    def __init__(
        self,
        server: Server,
        logic: SegmentationLogic,
        on_chosen: Callable[[CaseNodes | None], None],
        on_gone: Callable[[str], None],
    ):
        self._logic, self._on_chosen, self._on_gone = logic, on_chosen, on_gone
        self._cases: dict[str, CaseNodes] = {}
        self._current = ""
        self._state = PageState(server, "result", cases=[], current="", notice="", columns=[], rows=[], files=[])
        self._state.on("choose", self._choose)

    @property
    def case(self) -> CaseNodes | None:
        """The result that is shown."""
        return self._cases.get(self._current)

    def fill(self) -> None:
        """List the results anew; a new one is shown, else the one that was shown stays, or none."""
        known, shown = set(self._cases), self.case
        self._cases = {case.run_id: case for case in self._logic.cases()}
        new = [run_id for run_id in self._cases if run_id not in known]
        for run_id in known - set(self._cases):
            self._on_gone(run_id)
        if shown is not None and self._current not in self._cases and not new:
            self.follow(shown.volumes)  # it is gone; another one of its scans takes its place
        else:
            self._choose(new[-1] if new else self._current)

    def follow(self, volumes: Mapping[str, Any]) -> None:
        """Show the result of these scans by modality: the one that is shown, else their newest one, or none."""
        fitting = [run_id for run_id, case in self._cases.items() if case.volumes == dict(volumes)]
        if self._current not in fitting or not self._current:
            self._choose(fitting[-1] if fitting else "")

    def write(self, what: str, folder: Path) -> Path | None:
        """Write a file of the shown result into ``folder``: its "table", or a modality's segmentation as ``.seg.nrrd``.

        None where there is nothing of this name. Raises LabelError where the segments cannot be written as labels,
        BundleError, OutputError.
        """
        case = self.case
        if case is not None and what == _TABLE and case.table is not None:
            path = folder / f"{_file_name(case.table.GetName())}.csv"
            write_csv(case.table, path)
            return path
        if case is None or what not in case.segmentations:
            return None
        scan, label_map = case.volumes[what], self._logic.bundle(case.bundle_name).label_map
        original = (
            scan.GetNodeReference(ORIGINAL_REFERENCE) or scan
        )  # what the user has as a file; the voxels are the same
        path = folder / f"{_file_name(original.GetName())}_segmentation.seg.nrrd"
        write_segmentation(path, case.labels(what, label_map), local_grid(original), label_map)
        return path

    def _choose(self, run_id: str) -> None:
        former, self._current = self._current, run_id if run_id in self._cases else ""
        case = self.case
        table = case.table if case else None
        columns = range(table.GetNumberOfColumns()) if table else ()
        self._state.show(
            cases=[{"id": one.run_id, "title": one.title} for one in self._cases.values()],
            current=self._current,
            notice=case.notice if case else "",
            columns=[table.GetColumnName(column) for column in columns],
            rows=[
                [table.GetCellText(row, column) for column in columns]
                for row in range(table.GetNumberOfRows() if table else 0)
            ],
            files=[modality for modality in case.segmentations if modality in case.volumes] if case else [],
        )
        if case is not None or former:
            self._on_chosen(case)


def _file_name(name: str) -> str:
    """A node's name, fit for a file."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
