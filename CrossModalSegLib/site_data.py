"""Cases of a site as fine-tuning needs them: checked all at once, read one by one, brought onto the model grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from CrossModalSegLib.bundle import Bundle
from CrossModalSegLib.case_files import file_sha256
from CrossModalSegLib.errors import CrossModalSegError, DataError, InputError
from CrossModalSegLib.grid import Grid
from CrossModalSegLib.inference import modality_slot
from CrossModalSegLib.label_mapping import LabelMapping
from CrossModalSegLib.segmentation_io import read_segmentation
from CrossModalSegLib.site_cases import SiteCase
from CrossModalSegLib.training_case import TrainingCase, training_case
from CrossModalSegLib.volume import Volume, read_volume

Labels = tuple[np.ndarray, Grid]  # label values (K, J, I) and where they lie


@dataclass(frozen=True)
class DataCase:
    """One case by its files: ``scans`` and ``labels`` by the bundle's names of the modalities; ``values`` are the label
    values that its labels would show, ``patient`` a salted hash or the case's own id; ``sha256`` by file."""

    id: str
    patient: str
    scans: Mapping[str, Path]
    labels: Mapping[str, Path]
    values: tuple[int, ...]
    revision: int | None = None
    sha256: Mapping[str, str] | None = None
    held_out: bool = False
    set_apart: bool = False  # held out by a person's decision, not by chance
    translation: Mapping[int, int] | None = None  # of the values in the files; ``values`` are translated already

    def volumes(self) -> dict[str, Volume]:
        """The scans. Raises what reading them raises."""
        return {name: read_volume(path, name) for name, path in self.scans.items()}

    def reference(self) -> dict[str, Labels]:
        """The labels as uint16. Raises what reading them raises."""
        return {name: self._translated(*read_labels(path)) for name, path in self.labels.items()}

    def _translated(self, labels: np.ndarray, grid: Grid) -> Labels:
        if not self.translation:
            return labels, grid
        table = np.zeros(max(int(labels.max()), *self.translation) + 1, dtype=np.uint16)
        for old, new in self.translation.items():
            table[old] = new
        return table[labels], grid


def read_labels(path: Path) -> Labels:
    """Label values (K, J, I) as uint16, and their grid."""
    array, grid, _ = read_segmentation(path)
    return np.rint(array).astype(np.uint16), grid


@dataclass(frozen=True)
class SiteData:
    """The cases of a site that have trusted labels, and those that have none."""

    labelled: tuple[DataCase, ...]
    unlabelled: tuple[DataCase, ...]

    @property
    def patients(self) -> tuple[str, ...]:
        """Those of the labelled cases, each once, in a fixed order."""
        return tuple(sorted({case.patient for case in self.labelled}))


def site_data(
    cases: Sequence[SiteCase], bundle: Bundle, mapping: LabelMapping, splits: Mapping[str, str] | None = None
) -> SiteData:
    """The cases, all of them checked; ``splits`` are those that a person has set, by patient. Raises DataError ``site-data``, which lists everything that is wrong."""
    problems: list[str] = []
    read = [_data_case(case, bundle, mapping, problems) for case in cases]
    read = [replace(case, set_apart=(splits or {}).get(case.patient) == "held-out") for case in read]
    labelled = tuple(case for case in read if case.labels)
    for case in read:
        problems += [f"case {case.id}: {words}" for words in _problems(case, bundle)]
    if not any(case.status in ("corrected", "approved") for case in cases):
        problems.append(f"none of the {len(cases)} cases has corrected labels")
    if problems:
        raise DataError("site-data", "; ".join(problems), "put these right, then start again")
    return SiteData(labelled, tuple(case for case in read if not case.labels))


def _data_case(case: SiteCase, bundle: Bundle, mapping: LabelMapping, problems: list[str]) -> DataCase:
    names = {}
    for modality in case.volumes:
        try:
            names[modality] = bundle.modalities[modality_slot(bundle, modality)]
        except InputError as error:
            problems.append(f"case {case.id}: {error.message}, {error.hint}")
    if len(set(names.values())) < len(names):
        problems.append(f"case {case.id}: {', '.join(names)} are the same modality for bundle {bundle.name}")
    return DataCase(
        id=case.id,
        patient=case.patient or case.id,
        scans={name: case.volumes[modality] for modality, name in names.items()},
        labels={name: case.labels[modality] for modality, name in names.items() if modality in case.labels},
        values=mapping.site.values,
        revision=case.revision,
        sha256=case.sha256,
        held_out=case.split == "held-out",
    )


def _problems(case: DataCase, bundle: Bundle) -> Iterator[str]:
    if bundle.requires_both and len(case.scans) < len(bundle.modalities):
        yield f"bundle {bundle.name} needs both {' and '.join(bundle.modalities)}"
    yield from (f"no file {path}" for path in case.scans.values() if not path.is_file())
    for modality, path in case.labels.items():
        try:
            yield from _label_problems(case, modality, path)
        except CrossModalSegError as error:
            yield error.message


def _label_problems(case: DataCase, modality: str, path: Path) -> Iterator[str]:
    if not path.is_file():
        yield f"no file {path}"
        return
    recorded = next((value for name, value in (case.sha256 or {}).items() if name.endswith(_tail(path))), None)
    if recorded and file_sha256(path) != recorded:
        yield f"{path} is not what was saved: its SHA-256 differs"
        return
    labels, grid = read_labels(path)
    if case.scans[modality].is_file() and not grid.is_close(read_volume(case.scans[modality], modality).grid):
        yield f"the labels of {modality} are not on the grid of its scan"
    found = set(np.unique(labels).tolist()) - {0}
    if not found:
        yield f"the labels of {modality} are empty"
    if found - set(case.values):
        yield f"the labels of {modality} hold {sorted(found - set(case.values))}, which the label map does not have"


def _tail(path: Path) -> str:
    """``revisions/0001/T1w.seg.nrrd``, by which the store records hashes."""
    return "/".join(path.parts[-3:])


def prepared(
    case: DataCase,
    bundle: Bundle,
    mapping: LabelMapping,
    reference: Mapping[str, Labels] | None,
    predicted: Mapping[str, Labels] | None = None,
) -> TrainingCase:
    """The case on its model grid, ready to cut patches from: all scans without labels, or with a ``reference`` (labels by
    modality) those of its scans that it labels.

    What ``predicted`` (the parent's labels by modality, in values of the new model) shows completes the labels where the
    site does not label a structure. It never stands in for the labels of a scan: there, it may be wrong altogether.
    """
    slots = {name: bundle.modalities.index(name) for name in case.scans}
    shown = case.volumes() if reference is None else {name: read_volume(case.scans[name], name) for name in reference}
    labels: dict[int, Labels] = {}
    for name, (array, grid) in (reference or {}).items():
        labels[slots[name]] = mapping.complete(array, predicted[name][0]) if predicted else array, grid
    volumes = {slots[name]: volume for name, volume in shown.items()}
    return training_case(volumes, labels, mapping.label_map.channels, bundle.spacing_mm[0])


def structure_ml(labels: Labels) -> dict[int, float]:
    """Volume in mL of each label value that occurs."""
    array, grid = labels
    values, counts = np.unique(array[array > 0], return_counts=True)
    return {int(value): int(count) * grid.voxel_volume_ml for value, count in zip(values, counts, strict=True)}


def needs_completion(case: DataCase, mapping: LabelMapping) -> bool:
    """Whether the labels leave out structures of the model."""
    return bool(set(mapping.label_map.values) - set(case.values))


def is_partly_labelled(case: DataCase) -> bool:
    """Whether one scan of a pair has labels and the other has none."""
    return 0 < len(case.labels) < len(case.scans)
