"""Files of the shown result, for the browser to download."""

from pathlib import Path

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.result_presenter import ResultPresenter
from CrossModalSegApp.logic.scans_presenter import ORIGINAL_REFERENCE
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.result_table import write_csv
from CrossModalSegLib.imaging.segmentation_io import write_segmentation

_TABLE = "table"


class ResultFiles:
    """Writes what `ResultPresenter` shows."""

    def __init__(self, logic: SegmentationLogic, result: ResultPresenter):
        self._logic, self._result = logic, result

    def write(self, what: str, folder: Path) -> Path | None:
        """Write a file of the shown result into ``folder``: its "table", or a modality's segmentation as ``.seg.nrrd``.

        None where there is nothing of this name. Raises LabelError where the segments cannot be written as labels,
        BundleError, OutputError.
        """
        case = self._result.case
        if case is not None and what == _TABLE and case.table is not None:
            path = folder / f"{_file_name(case.table.GetName())}.csv"
            write_csv(case.table, path)
            return path
        if case is None or what not in case.segmentations:
            return None
        scan, label_map = case.volumes[what], self._logic.bundle(case.bundle_name).label_map
        # What the user has as a file; the voxels are the same.
        original = scan.GetNodeReference(ORIGINAL_REFERENCE) or scan
        path = folder / f"{_file_name(original.GetName())}_segmentation.seg.nrrd"
        write_segmentation(path, case.labels(what, label_map), local_grid(original), label_map)
        return path


def _file_name(name: str) -> str:
    """A node's name, fit for a file."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
