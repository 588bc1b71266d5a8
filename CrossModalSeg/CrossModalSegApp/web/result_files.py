"""Files of the shown result, for the browser to download."""

import asyncio
import zipfile
from pathlib import Path

from CrossModalSegApp.logic.export_presenter import ExportPresenter
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.result_presenter import ResultPresenter
from CrossModalSegApp.scene.case_nodes import ORIGINAL_REFERENCE
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.result_table import write_csv
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.segmentation_io import write_segmentation

_TABLE, _DICOM = "table", "dicom"


class ResultFiles:
    """Writes what `ResultPresenter` shows."""

    def __init__(self, logic: SegmentationLogic, result: ResultPresenter, export: ExportPresenter):
        self._logic, self._result, self._export = logic, result, export

    async def write(self, what: str, folder: Path) -> Path | None:
        """Write a file of the shown result into ``folder``: its "table", a modality's segmentation as ``.seg.nrrd``, or
        "dicom", a zip file of its DICOM objects.

        None where there is nothing of this name. Raises LabelError where the segments cannot be written as labels,
        BundleError, OutputError, and what the worker says.
        """
        case = self._result.case
        if what == _DICOM:
            return await self._write_dicom(folder) if case is not None and self._export.state.can_start else None
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

    async def _write_dicom(self, folder: Path) -> Path:
        ended: asyncio.Future[CrossModalSegError | None] = asyncio.get_running_loop().create_future()
        self._export.export(folder / _DICOM, lambda error: None if ended.done() else ended.set_result(error))
        error = await ended
        if error is not None:
            raise error
        return await asyncio.to_thread(_zipped, folder / _DICOM, folder / "CrossModalSeg DICOM.zip")


def _zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def _file_name(name: str) -> str:
    """A node's name, fit for a file."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
