"""Labels as they are now, corrected or not, as DICOM objects: for panel and page, which have a scan's DICOM files and
the labels of a segmentation that may have been changed since."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.atomic import staged_folder
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import GeometryError, InputError, OutputError, read_error
from CrossModalSegLib.imaging.dicom_header import DamagedHeader, ImageFile, Slice, read_header
from CrossModalSegLib.imaging.dicom_stack import grid_of, stacked
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.label_counts import counts_by_slice
from CrossModalSegLib.imaging.lattice import placed_on
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.pacs.export import SegmentedScan, write_objects
from CrossModalSegLib.pacs.made_object import Model
from CrossModalSegLib.pacs.report_object import Measured
from CrossModalSegLib.pacs.source_images import images_of


@dataclass(frozen=True, eq=False)
class ShownScan:
    """``labels`` (K, J, I), label values, on ``grid`` (RAS mm) of the scan in the DICOM ``files``, whose pixels are not
    needed. ``confidence`` and ``agreement``, from 0 to 1 by label value, are the model's; they say nothing about what
    somebody has changed (``is_corrected``)."""

    files: tuple[Path, ...]
    labels: np.ndarray
    grid: Grid
    is_corrected: bool
    confidence: Mapping[int, float]
    agreement: Mapping[int, float]

    def to_json(self, folder: Path, name: str) -> dict[str, Any]:
        """For another process, with the labels as a file ``name`` in ``folder``. Raises OSError."""
        path = folder / f"{name}.npy"
        np.save(path, self.labels, allow_pickle=False)
        return {
            "files": [*map(str, self.files)],
            "labels": str(path),
            "ijk_to_ras": self.grid.ijk_to_ras.tolist(),
            "is_corrected": self.is_corrected,
            "confidence": [*self.confidence.items()],
            "agreement": [*self.agreement.items()],
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "ShownScan":
        """What `to_json` gave. Raises KeyError, TypeError or ValueError where it is something else."""
        labels = np.load(entry["labels"], mmap_mode="r", allow_pickle=False)
        return cls(
            files=tuple(map(Path, entry["files"])),
            labels=labels,
            grid=Grid(labels.shape, np.array(entry["ijk_to_ras"], np.float64)),
            is_corrected=bool(entry["is_corrected"]),
            confidence=dict(entry["confidence"]),
            agreement=dict(entry["agreement"]),
        )


def export_labels(
    bundle: Bundle, scans: Mapping[str, ShownScan], output: Path, *, with_structure_set: bool = False
) -> None:
    """Write the segmentation and the report of each scan (by modality) into the folder ``output``, whole or not at all;
    ``with_structure_set`` the contours as well.

    Raises InputError ``unreadable`` or another one about the files, ``several-patients``, ``incomplete-header``;
    GeometryError ``volume-changed``, ``gantry-tilt``; OutputError ``nothing-found`` or one of `staged_folder`;
    InstallError ``packages-missing``.
    """
    placed = {name: _segmented(name, scan, bundle.label_map) for name, scan in scans.items()}
    corrected = [_digest(one.labels) for one in placed.values() if one.is_corrected]
    with staged_folder(output) as folder:
        try:
            model, further = Model.of(bundle), tuple(corrected)
            write_objects(
                folder, placed, bundle.label_map, model, further=further, with_structure_set=with_structure_set
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError("cannot-write", f"{output}: {reason}", "check that the disk has space") from error


def _segmented(name: str, scan: ShownScan, label_map: LabelMap) -> SegmentedScan:
    slices = stacked([one for file in scan.files for one in _slices(file)], scan.files[0].parent)
    grid = grid_of(slices)
    labels = placed_on(scan.labels, scan.grid, grid)
    if labels is None:
        message = f"{name}: the scan does not lie on the voxels of its DICOM images any more"
        raise GeometryError("volume-changed", message, "open the DICOM series again, and segment it")
    counts = counts_by_slice(labels, max(label_map.values) + 1).sum(axis=0)
    measured = {value: Measured(float(counts[value] * grid.voxel_volume_ml)) for value in label_map.values}
    if not scan.is_corrected:
        measured = {
            value: replace(one, confidence=scan.confidence.get(value), agreement=scan.agreement.get(value))
            for value, one in measured.items()
        }
    return SegmentedScan(images_of(name, slices), labels, measured, is_corrected=scan.is_corrected)


def _slices(file: Path) -> tuple[Slice, ...]:
    try:
        found = read_header(file)
    except OSError as error:
        raise read_error(str(file), error) from error
    except DamagedHeader as error:
        raise _unreadable(file, str(error)) from error
    if not isinstance(found, ImageFile) or not found.slices:
        raise _unreadable(file, found.problem if isinstance(found, ImageFile) else f"it is a {found.kind}")
    return found.slices


def _unreadable(file: Path, why: str) -> InputError:
    return InputError("unreadable", f"{file} cannot be used: {why}", "open the DICOM series again")


def _digest(labels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()
