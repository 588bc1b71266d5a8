"""The DICOM objects of a result, written: segmentation, report, and the uncertainty where it is asked for."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.pacs.made_object import Model, Origin
from CrossModalSegLib.pacs.packages import package
from CrossModalSegLib.pacs.report_object import Measured, report_object
from CrossModalSegLib.pacs.segmentation_object import (
    WHAT,
    Maker,
    SegmentationType,
    found_structures,
    segment_numbers,
    segmentation_object,
    write_object,
)
from CrossModalSegLib.pacs.source_images import (
    SourceImages,
    refuse_not_dicom,
    refuse_several_patients,
    source_images,
)
from CrossModalSegLib.pacs.structure_set import structure_set_object
from CrossModalSegLib.pacs.uncertainty_object import uncertainty_object

SUFFIX = ".dcm"


@dataclass(frozen=True, eq=False)
class SegmentedScan:
    """The ``labels`` (K, J, I), label values, of a scan whose images are ``source``, and what was ``measured`` by label
    value. ``uncertainty`` in percent (K, J, I) uint8: None where no map is wanted. ``is_corrected``: somebody has
    changed what the model had made."""

    source: SourceImages
    labels: np.ndarray
    measured: Mapping[int, Measured]
    uncertainty: np.ndarray | None = None
    is_corrected: bool = False

    @property
    def made_by(self) -> Maker:
        return "SEMIAUTOMATIC" if self.is_corrected else "AUTOMATIC"


def require_exportable(volumes: Mapping[str, Volume]) -> None:
    """Before anything is computed. Raises InputError ``not-dicom``, ``several-patients`` or ``incomplete-header``;
    InstallError ``packages-missing``."""
    for volume in volumes.values():
        refuse_not_dicom(volume)
    package("highdicom", WHAT)
    refuse_several_patients(source_images(volume) for volume in volumes.values())


def write_objects(
    folder: Path,
    scans: Mapping[str, SegmentedScan],
    label_map: LabelMap,
    model: Model,
    kind: SegmentationType = "binary",
    further: tuple[str, ...] = (),
    *,
    with_structure_set: bool = False,
) -> None:
    """Write ``<m>_segmentation.dcm``, ``<m>_report.dcm`` and, where there is one, ``<m>_uncertainty.dcm`` per scan;
    ``with_structure_set`` also the contours as ``<m>_structures.dcm``.

    UIDs follow from the scans' instances, the model, ``kind`` and what else is named in ``further``. Raises InputError
    ``several-patients``; InstallError ``packages-missing``; OutputError ``nothing-found``; OSError.
    """
    sources = [scan.source for scan in scans.values()]
    refuse_several_patients(iter(sources))
    origin = Origin.of(model, sources, kind, *further)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of highdicom, about values that are the source's own
        for name, scan in scans.items():
            _write_scan(folder, name, scan, label_map, origin, kind)
            if with_structure_set:
                contours = structure_set_object(scan.labels, label_map.structures, scan.source, origin, scan.made_by)
                write_object(contours, folder / f"{name}_structures{SUFFIX}")


def _write_scan(
    folder: Path,
    name: str,
    scan: SegmentedScan,
    label_map: LabelMap,
    origin: Origin,
    kind: SegmentationType,
) -> None:
    found, source = found_structures(scan.labels, label_map.structures), scan.source
    segmentation = segmentation_object(scan.labels, label_map.structures, source, origin, kind, scan.made_by)
    write_object(segmentation, folder / f"{name}_segmentation{SUFFIX}")
    numbers = segment_numbers(found, kind)
    report = report_object(segmentation, found, numbers, scan.measured, source, origin)
    write_object(report, folder / f"{name}_report{SUFFIX}")
    if scan.uncertainty is not None:
        write_object(uncertainty_object(scan.uncertainty, source, origin), folder / f"{name}_uncertainty{SUFFIX}")
