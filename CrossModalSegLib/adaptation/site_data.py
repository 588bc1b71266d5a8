"""Cases of a site as fine-tuning needs them: checked all at once, read one by one, brought onto the model grid."""

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from CrossModalSegLib.adaptation.label_displacement import FARTHEST_MM, displacement_mm, structure_centres
from CrossModalSegLib.adaptation.label_mapping import LabelMapping
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError, DataError, InputError, LabelError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import Volume, read_grid, read_volume
from CrossModalSegLib.inference.inference import intensity_rules, load_locator, modality_slot
from CrossModalSegLib.label_translation import in_values_of, relabel
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.plurals import counted, some_of
from CrossModalSegLib.site.case_files import file_sha256
from CrossModalSegLib.site.cases import SiteCase, person_of
from CrossModalSegLib.training.training_case import Focus, TrainingCase, training_case

Labels = tuple[np.ndarray, Grid]  # label values (K, J, I) and where they lie


@dataclass(frozen=True)
class DataCase:
    """One case by its files: ``scans`` and ``labels`` by the bundle's names of the modalities; ``values`` are the label
    values that its labels would show, ``patient`` a salted hash or the case's own id; ``sha256`` by file; ``aligned``
    says whether its scans are taken to lie on each other."""

    id: str
    patient: str
    scans: Mapping[str, Path]
    labels: Mapping[str, Path]
    values: tuple[int, ...]
    revision: int | None = None
    sha256: Mapping[str, str] | None = None
    held_out: bool = False
    set_apart: bool = False  # held out by a person's decision, not by chance
    label_map: LabelMap | None = None  # what the values mean; files with names are translated by them
    translation: Mapping[int, int] | None = None  # of the values in the files; ``values`` are translated already
    aligned: bool = True

    def volumes(self) -> dict[str, Volume]:
        """The scans. Raises what reading them raises."""
        return {name: read_volume(path, name) for name, path in self.scans.items()}

    def reference(self) -> dict[str, Labels]:
        """The labels as uint16. Raises what reading them raises."""
        return {name: self._translated(*read_labels(path, self.label_map)) for name, path in self.labels.items()}

    def _translated(self, labels: np.ndarray, grid: Grid) -> Labels:
        return (relabel(labels, self.translation) if self.translation else labels), grid


def read_labels(path: Path, label_map: LabelMap | None = None) -> Labels:
    """Label values (K, J, I) as uint16, and their grid; where the file has names, in the values of ``label_map``.

    Raises what reading raises; LabelError ``unknown-label`` for a structure that the label map does not have.
    """
    array, grid, own = read_segmentation(path)
    labels = np.rint(array).astype(np.uint16)
    return (in_values_of(labels, own, label_map, str(path)) if label_map else labels), grid


@dataclass(frozen=True)
class SiteData:
    """The cases of a site that have trusted labels, and those that have none. ``notes`` are sentences: which cases are
    left out and why, and which labels show nothing. ``unshown`` are the values of the site's structures that the bundle
    knows and no correction shows: these are scored nowhere."""

    labelled: tuple[DataCase, ...]
    unlabelled: tuple[DataCase, ...]
    notes: tuple[str, ...] = ()
    unshown: tuple[int, ...] = ()

    @property
    def patients(self) -> tuple[str, ...]:
        """Those of the labelled cases, each once, in a fixed order."""
        return tuple(sorted({case.patient for case in self.labelled}))


def site_data(
    cases: Sequence[SiteCase],
    bundle: Bundle,
    mapping: LabelMapping,
    splits: Mapping[str, str] | None = None,
    absent: Collection[str] = (),
) -> SiteData:
    """The cases, all of them checked; ``splits`` are those that a person has set, by patient. ``absent`` names
    structures that are truly not there where no correction shows them, which a person says.

    Two scans lie on each other if the centres of what is labelled in both are at most ``FARTHEST_MM`` apart; where that
    cannot be told of a case itself, the median of those of which it can decides (without any: yes). Left out are cases
    that a person has excluded, that do not fit the bundle, or that have no labels and are damaged. Raises DataError
    ``site-data``, which lists everything that is wrong with the corrected ones.
    """
    checked = [_checked(case, bundle, mapping) for case in cases]
    known = [one.displacement_mm for one in checked if one.displacement_mm is not None]
    usual = statistics.median(known) if known else 0.0
    read = [_placed(one.case, usual, one.displacement_mm) for one in checked if one.case is not None]
    set_apart = {case.id for case in cases if case.is_split_set and case.split == "held-out"} if splits else set()
    by_person = {patient for patient, split in (splits or {}).items() if split == "held-out"}
    read = [replace(case, set_apart=case.id in set_apart or case.patient in by_person) for case in read]
    labelled = tuple(case for case in read if case.labels)
    notes = (*same_scans_in_words(cases), *(words for one in checked for words in one.notes))
    if usual > FARTHEST_MM:
        what = "such pairs, and those without labels, are not compared voxel by voxel"
        notes += (f"the two scans of a corrected case lie {usual:.1f} mm apart (median of {len(known)}): {what}",)
    problems = [words for one in checked for words in one.problems]
    if not any((one.case is not None and one.case.labels) or one.problems for one in checked):
        problems += [f"{counted(len(cases), 'case')}, and none has corrected labels", *notes]
    elif not problems and not any(one.values for one in checked):
        problems.append(f"the labels of all {len(labelled)} corrected cases are empty")
    if problems:
        raise DataError("site-data", "; ".join(problems), "put these right, then start again")
    unshown = _unshown(mapping, frozenset().union(*(one.values for one in checked)), absent)
    shown = tuple(value for value in mapping.site.values if value not in unshown)
    labelled = tuple(replace(case, values=shown) for case in labelled)
    return SiteData(labelled, tuple(case for case in read if not case.labels), notes, unshown)


def _unshown(mapping: LabelMapping, shown: frozenset[int], absent: Collection[str]) -> tuple[int, ...]:
    """Raises LabelError ``no-such-structure`` for a name that the site's label map does not have."""
    by_name = {one.name.strip().lower(): one.value for one in mapping.site.structures}
    unknown = [name for name in absent if name.strip().lower() not in by_name]
    if unknown:
        hint = f"the site's label map has: {', '.join(one.name for one in mapping.site.structures)}"
        raise LabelError("no-such-structure", f"--absent {', '.join(unknown)}", hint)
    said = {by_name[name.strip().lower()] for name in absent}
    values = (value for value, origin in mapping.origin.items() if origin is not None)
    return tuple(value for value in values if value not in shown and value not in said)


def same_scans_in_words(cases: Sequence[SiteCase]) -> Iterator[str]:
    """Which cases hold a scan of another patient's."""
    for case in cases:
        later = [one for one in case.same_scan_as if one > case.id]
        if later and not case.is_excluded:
            yield f"case {case.id} holds a scan of {some_of(later)}, under another patient: they count as one patient"


@dataclass(frozen=True)
class _Checked:
    """What the check found of one case: ``case`` is None where it is left out; ``values`` are those that its labels
    show, ``displacement_mm`` is how far apart its scans lie by what is labelled in both."""

    case: DataCase | None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    values: frozenset[int] = frozenset()
    displacement_mm: float | None = None


@dataclass(frozen=True)
class _CheckedLabels:
    """What is wrong with the labels of one scan, and otherwise the centres of their structures, and their values."""

    problems: tuple[str, ...] = ()
    values: frozenset[int] = frozenset()
    centres: Mapping[int, np.ndarray] = field(default_factory=dict)


def _placed(case: DataCase, usual_mm: float, displacement: float | None) -> DataCase:
    return replace(case, aligned=(usual_mm if displacement is None else displacement) <= FARTHEST_MM)


def _checked(case: SiteCase, bundle: Bundle, mapping: LabelMapping) -> _Checked:
    misfits = ["it is excluded"] if case.is_excluded else list(_misfits(case, bundle))
    if misfits:
        return _left_out(case, misfits)
    one = _data_case(case, bundle, mapping)
    damages = [words for modality, path in one.scans.items() for words in _scan_damages(one, modality, path)]
    if damages and not one.labels:
        return _left_out(case, damages)
    labels = {modality: _checked_labels(one, modality, path) for modality, path in one.labels.items()}
    damages += [words for checked in labels.values() for words in checked.problems]
    silent = [] if damages else [modality for modality, checked in labels.items() if not checked.values]
    return _Checked(
        case=None if damages else one,
        notes=tuple(f"case {case.id}: the labels of {modality} show no structure" for modality in silent),
        problems=tuple(f"case {case.id}: {words}" for words in damages),
        values=frozenset().union(*(checked.values for checked in labels.values())),
        displacement_mm=displacement_mm(*(checked.centres for checked in labels.values()))
        if len(labels) == 2
        else None,
    )


def _left_out(case: SiteCase, reasons: Sequence[str]) -> _Checked:
    return _Checked(None, (f"case {case.id} is left out: {'; '.join(reasons)}",))


def _misfits(case: SiteCase, bundle: Bundle) -> Iterator[str]:
    """Why the bundle cannot take the scans of a case."""
    slots = []
    for modality in case.volumes:
        try:
            slots.append(modality_slot(bundle, modality))
        except InputError as error:
            yield f"{error.message}, {error.hint}"
    if len(set(slots)) < len(slots):
        yield f"{', '.join(case.volumes)} are the same modality for bundle {bundle.name}"
    if bundle.requires_both and len(set(slots)) < len(bundle.modalities):
        yield f"bundle {bundle.name} needs both {' and '.join(bundle.modalities)}"


def _data_case(case: SiteCase, bundle: Bundle, mapping: LabelMapping) -> DataCase:
    names = {modality: bundle.modalities[modality_slot(bundle, modality)] for modality in case.volumes}
    return DataCase(
        id=case.id,
        patient=person_of(case),
        scans={name: case.volumes[modality] for modality, name in names.items()},
        labels={name: case.labels[modality] for modality, name in names.items() if modality in case.labels},
        values=mapping.site.values,
        label_map=mapping.site,
        revision=case.revision,
        sha256=case.sha256,
        held_out=case.split == "held-out",
    )


def _scan_damages(case: DataCase, modality: str, path: Path) -> Iterator[str]:
    """A scan with the hash of what was saved was checked when it was saved; only others are read."""
    damages = list(_file_damages(case, path))
    yield from damages
    if not damages and _recorded(case, path) is None:
        try:
            read_volume(path, modality)
        except CrossModalSegError as error:
            yield error.message


def _checked_labels(case: DataCase, modality: str, path: Path) -> _CheckedLabels:
    damages = tuple(_file_damages(case, path))
    if damages:
        return _CheckedLabels(damages)
    try:
        labels, grid = read_labels(path, case.label_map)
        beside = case.scans[modality].is_file() and not grid.is_close(read_grid(case.scans[modality]))
    except CrossModalSegError as error:
        return _CheckedLabels((error.message,))
    centres = structure_centres(labels, grid)
    values = frozenset(np.unique(labels).tolist()) - {0}
    unknown = sorted(values - set(case.values))
    problems = [f"the labels of {modality} are not on the grid of its scan"] if beside else []
    if unknown:
        problems.append(f"the labels of {modality} hold {unknown}, which the label map does not have")
    return _CheckedLabels(tuple(problems), values, centres)


def _file_damages(case: DataCase, path: Path) -> Iterator[str]:
    if not path.is_file():
        yield f"no file {_short(path)}"
        return
    recorded = _recorded(case, path)
    try:
        if recorded is not None and file_sha256(path) != recorded:
            yield f"{_short(path)} is not what was saved: its SHA-256 differs"
    except OSError as error:
        yield f"{_short(path)} cannot be read: {error.strerror or error}"


def _recorded(case: DataCase, path: Path) -> str | None:
    """The hash that the store has recorded, by the file's path in the case's folder."""
    hashes = case.sha256 or {}
    return next((value for name, value in hashes.items() if path.as_posix().endswith(f"/{name}")), None)


def _short(path: Path) -> str:
    """``volumes/T1w.nrrd``: the case is named beside it."""
    return "/".join(path.parts[-2:])


def prepared(
    case: DataCase,
    bundle: Bundle,
    mapping: LabelMapping,
    reference: Mapping[str, Labels] | None,
    predicted: Mapping[str, Labels] | None = None,
) -> TrainingCase:
    """The case on its model grid, cut to what the bundle's locator finds, with normalised intensities: all scans
    without labels, or with a ``reference`` (labels by modality) those of its scans that it labels.

    What ``predicted`` (the parent's labels by modality, in values of the new model) shows completes the labels where
    the site does not label a structure. It never stands in for the labels of a scan: there, it may be wrong altogether.
    """
    slots = {name: bundle.modalities.index(name) for name in case.scans}
    shown = case.volumes() if reference is None else {name: read_volume(case.scans[name], name) for name in reference}
    labels: dict[int, Labels] = {}
    for name, (array, grid) in (reference or {}).items():
        labels[slots[name]] = mapping.complete(array, predicted[name][0]) if predicted else array, grid
    volumes = {slots[name]: volume for name, volume in shown.items()}
    locator = load_locator(bundle)
    located = locator.find(volumes) if locator else None
    focus = Focus(intensity_rules(bundle), located.box if located else None)
    return training_case(volumes, labels, mapping.label_map.channels, bundle.spacing_mm[0], case.aligned, focus)


def structure_ml(labels: Labels) -> dict[int, float]:
    """Volume in mL of each label value that occurs."""
    array, grid = labels
    values, counts = np.unique(array[array > 0], return_counts=True)
    return {int(value): int(count) * grid.voxel_volume_ml for value, count in zip(values, counts, strict=True)}


def is_partly_labelled(case: DataCase) -> bool:
    """Whether one scan of a pair has labels and the other has none."""
    return 0 < len(case.labels) < len(case.scans)
