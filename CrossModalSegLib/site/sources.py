"""Cases to add to a site, found in files as they are: a datalist or dataset folder, loose files, or DICOM."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from CrossModalSegLib.datasets.datalist import LAYOUTS, Entry, read_datalist
from CrossModalSegLib.datasets.layout import images_in, put_once
from CrossModalSegLib.errors import DataError, LabelError
from CrossModalSegLib.imaging.channels import whole_of
from CrossModalSegLib.imaging.dicom import series_of
from CrossModalSegLib.imaging.dicom_segments import (
    is_segmentation_object,
)
from CrossModalSegLib.imaging.dicom_tree import scan_tree
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.lattice import placed_on
from CrossModalSegLib.imaging.resampling import even_labels
from CrossModalSegLib.imaging.segmentation_io import read_segmentation, refuse_wrong_labels
from CrossModalSegLib.imaging.volume import Volume, files_of, read_volume
from CrossModalSegLib.label_translation import in_values_of, named_by_codes
from CrossModalSegLib.plurals import counted, some_of
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.dicom_studies import Refused, cases_of_studies
from CrossModalSegLib.site.folder import SiteFacts

NO_SCANS = (".json", ".txt", ".md", ".csv", ".tsv", ".bval", ".bvec", ".pdf", ".html", ".log")  # by their suffix
PATIENT_PATTERN = r"sub-[a-zA-Z0-9]+"  # BIDS; elsewhere names do not tell patients apart without being asked


@dataclass(frozen=True)
class FoundCases:
    """The ``cases`` that may be added, and the studies that are ``refused``, with the reason."""

    cases: tuple[Entry, ...]
    refused: tuple[Refused, ...] = ()


def read_case_files(case: Entry, site: SiteFacts) -> CaseFiles:
    """The content of the files, with the label values of the ``site``.

    Label values may be stored as floats, as many tools write them. Labels with names of their own (.seg.nrrd) are
    translated by name, in DICOM by code where the name is not known. A label file that serves several scans is
    resampled to those on other grids. Raises what reading volumes and segmentations raises; LabelError
    ``unknown-label`` for a structure that the site has not.
    """
    assumed = case.assumed_orientation
    volumes = {modality: read_volume(path, modality, assumed) for modality, path in case.volumes.items()}
    labels = {}
    shared = len(set(case.labels.values())) < len(case.labels)
    for modality, path in case.labels.items():
        array, grid, own = read_segmentation(path, assumed)
        if own is not None and is_segmentation_object(path):
            own = named_by_codes(own, site.label_map)
            array, grid = _on_scan(array, grid, volumes.get(modality))
        array = in_values_of(_whole_numbers(array), own, site.label_map, str(path))
        try:
            refuse_wrong_labels(array, grid, site.label_map)
        except LabelError as error:
            raise LabelError(error.code, f"{path}: {error.message}", error.hint) from error
        if shared and modality in volumes and not grid.is_close(volumes[modality].grid):
            array, grid = even_labels(array, grid, volumes[modality].grid), volumes[modality].grid
        labels[modality] = (array, grid)
    return CaseFiles(volumes, labels, site.label_map, {}, case.patient_key)


def _on_scan(array: np.ndarray, grid: Grid, scan: Volume | None) -> tuple[np.ndarray, Grid]:
    """Labels of a file that may leave empty slices out, on the grid of their ``scan`` where they lie on its voxels."""
    placed = placed_on(array, grid, scan.grid) if scan is not None else None
    return (array, grid) if scan is None or placed is None else (placed, scan.grid)


def find_cases(
    path: Path,
    modalities: Sequence[str],
    patient_pattern: str = PATIENT_PATTERN,
    assumed_orientation: str | None = None,
) -> FoundCases:
    """The cases in ``path``: a datalist, a dataset in one of the known layouts, a folder per case, files
    ``<case>_<modality>`` (and ``<case>_label`` or ``<case>_label_<modality>``) in one folder, or a folder with DICOM.

    What ``patient_pattern`` (a regular expression) matches in a scan's path tells patients apart; DICOM has the
    patient's ID. ``assumed_orientation`` is that of files that do not say theirs. Raises DataError ``not-found``,
    ``no-cases``, ``datalist`` or ``layout``, and the reason where the only study is refused.
    """
    if not path.exists():
        raise DataError("not-found", f"no such file or folder: {path}", "check the path")
    if path.is_file() and path.suffix.lower() != ".json":
        hint = "give a folder, a zip file or a datalist (.json), or one scan with --input MODALITY=PATH"
        raise DataError("no-cases", f"{path} is a single file, not many cases", hint)
    tree = scan_tree(path) if path.is_dir() else None
    series = series_of(tree) if tree else []
    refused: list[Refused] = []
    if tree and series:
        found, refused = cases_of_studies(tree, modalities)
    elif path.is_dir() and images_in(path) and not any(layout.recognises(path) for layout in LAYOUTS):
        found = _named_cases(path, modalities)
    else:
        lists = read_datalist(path, modalities, labels_required=False, assumed_orientation=assumed_orientation)
        found = _merged([*lists.training, *lists.validation], lists.unlabelled)
    if len(refused) == 1 and not found:
        raise refused[0].error
    if not found and not refused:
        what = f"{path} holds no scan of {' or '.join(modalities)}"
        if series:
            what += f", but {some_of([one.name for one in series])}"
        elif tree and tree.damaged:
            what += (
                f"; {counted(len(tree.damaged), 'file')} cannot be read as DICOM: {some_of([*map(str, tree.damaged)])}"
            )
        raise DataError(
            "no-cases", what, "see docs/site-folder.md for what can be read, or name the files with --input"
        )
    found = [replace(case, assumed_orientation=case.assumed_orientation or assumed_orientation) for case in found]
    return FoundCases(tuple(_with_patient(case, patient_pattern, path) for case in found), tuple(refused))


def _merged(labelled: Sequence[Entry], unlabelled: Sequence[Entry]) -> list[Entry]:
    """Where a patient's scans are labelled in part, layouts list them twice: here, all scans are one case."""
    found = [entry for entry in labelled if entry.volumes]
    place = {
        path: number for number, case in enumerate(found) for path in case.volumes.values() if isinstance(path, Path)
    }
    for entry in unlabelled:
        number = next((place[path] for path in entry.volumes.values() if path in place), None)
        if number is None:
            found.append(entry)
        else:
            found[number] = replace(found[number], volumes={**entry.volumes, **found[number].volumes})
    return found


def _with_patient(case: Entry, pattern: str, folder: Path) -> Entry:
    """Only below ``folder``: names further up say nothing of a patient."""
    if case.patient_key:
        return case
    path = Path(case.title)
    match = re.search(pattern, str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name)
    return replace(case, patient_key=match[0] if match else "")


def _named_cases(folder: Path, modalities: Sequence[str]) -> list[Entry]:
    """Files of one folder by the case that their names begin with."""
    volumes: dict[str, dict[str, Path]] = {}
    labels: dict[str, dict[str, Path]] = {}
    ending = "|".join(re.escape(name) for name in sorted(modalities, key=len, reverse=True))
    name = re.compile(rf"(?P<case>.+?)_(?P<label>labels?)?_?(?P<modality>{ending})?", re.IGNORECASE)
    known = {modality.lower(): modality for modality in modalities}
    for stem, path in images_in(folder).items():
        match = name.fullmatch(stem)
        if match is None or not (match["label"] or match["modality"]):
            continue
        modality = known[match["modality"].lower()] if match["modality"] else ""
        put_once((labels if match["label"] else volumes).setdefault(match["case"], {}), modality, path)
    _refuse_labels_alone(volumes, labels)
    return [Entry(scans, _own_labels(scans, labels.get(case, {}))) for case, scans in volumes.items()]


def _refuse_labels_alone(volumes: Mapping[str, Mapping[str, Path]], labels: Mapping[str, Mapping[str, Path]]) -> None:
    """Raises DataError ``layout`` for labels without their scan, whose case would be taken for one without labels."""
    alone = [
        path.name
        for case, files in labels.items()
        for modality, path in files.items()
        if not volumes.get(case) or (modality and modality not in volumes[case])
    ]
    if alone:
        hint = "name it as its scan begins, capitals included, or remove it"
        raise DataError("layout", f"labels without their scan: {some_of(alone)}", hint)


def files_not_taken(folder: Path, cases: Iterable[Entry]) -> list[str]:
    """Names below ``folder`` of files that may be scans or labels and are in none of the ``cases``."""
    given = [
        path for case in cases for path in (*case.volumes.values(), *case.labels.values()) if isinstance(path, Path)
    ]
    taken = {path.resolve() for one in given for path in (whole_of(one), *files_of(one))}
    found = (path for path in folder.rglob("*") if path.is_file() and path.resolve() not in taken)
    kept = (path.relative_to(folder) for path in found if path.suffix.lower() not in NO_SCANS)
    return sorted(str(path) for path in kept if not any(part.startswith(".") for part in path.parts))


def _own_labels(scans: Iterable[str], labels: Mapping[str, Path]) -> dict[str, Path]:
    own = {modality: labels.get(modality, labels.get("")) for modality in scans}
    return {modality: path for modality, path in own.items() if path is not None}


def _whole_numbers(array: np.ndarray) -> np.ndarray:
    """Floats that all are whole numbers as integers; other values stay, and are refused when they are written."""
    if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        return array
    rounded = np.rint(array)
    return rounded.astype(np.int64) if np.array_equal(rounded, array) else array
