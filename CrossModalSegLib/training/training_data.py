"""From a datalist to sample sources: real cases are brought onto their model grids, label maps are made ready."""

import colorsys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from CrossModalSegLib.datasets.datalist import Entry
from CrossModalSegLib.errors import ConfigError, DataError, GeometryError
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.fingerprint import fingerprint
from CrossModalSegLib.imaging.geometry import coverage, world_grid_of
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.preflight import label_findings, same_image_findings
from CrossModalSegLib.imaging.resampling import resample_labels
from CrossModalSegLib.imaging.volume import Volume, read_volume
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, LabelMap, Structure, read_label_map
from CrossModalSegLib.synthesis.synthesis import PairSynthesizer
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.data_report import DataReport
from CrossModalSegLib.training.label_files import LabelFacts, common_label_map, read_facts, read_label_file
from CrossModalSegLib.training.sources import CaseSource, MixedSource, SampleSource, SynthesisSource, UnlabelledSource
from CrossModalSegLib.training.training_case import TrainingCase, training_case

_LEAST_INSIDE = 0.5  # of the labelled voxels: labels of a pair may be drawn on a scan that shows more
MOST_LABELS = 255  # labels and channels are uint8 while training


def choose_label_map(config: TrainingConfig, entries: Sequence[Entry]) -> LabelMap:
    """The configured label map, or one made from the names, or else the values, that occur in the cases' labels.

    Raises LabelError, DataError ``labels-ambiguous``, ConfigError ``no-labels`` or ``too-many-labels``.
    """
    label_map = _configured(config.label_map) if config.label_map else _label_map_of(entries)
    if len(label_map.structures) > MOST_LABELS:
        found = f"{len(label_map.structures)} structures"
        raise ConfigError("too-many-labels", found, f"give a label_map with at most {MOST_LABELS}")
    return label_map


def _configured(name: str) -> LabelMap:
    shipped = LABEL_MAP_FOLDER / f"{name}.json"
    return read_label_map(shipped if shipped.is_file() else name)


def _label_map_of(entries: Sequence[Entry]) -> LabelMap:
    files = read_facts({path: entry.assumed_orientation for entry in entries for path in entry.labels.values()})
    common = common_label_map(files)
    named = common.structures if common else ()
    present = {file.value_in(common, value) for file in files for value in file.present}
    if not present:
        raise ConfigError("no-labels", "the training cases have no labelled voxel", "check the label files")
    nameless = sorted(present - {one.value for one in named})
    colors = [colorsys.hsv_to_rgb(n * 0.618 % 1, 0.65, 0.95) for n in range(len(nameless))]
    others = (
        Structure(value, f"label {value}", (round(255 * r), round(255 * g), round(255 * b)))
        for value, (r, g, b) in zip(nameless, colors, strict=True)
    )
    return LabelMap((*(one for one in named if one.value in present), *others))


def build_source(
    entries: Sequence[Entry],
    config: TrainingConfig,
    label_map: LabelMap,
    device: torch.device,
    report: DataReport | None = None,
    learnt: bool = True,
) -> SampleSource | None:
    """One source over all entries; None where there are none. Real and synthetic samples alternate where both exist.

    ``report`` is told what was found out about the files. Not ``learnt``, for validation: entries of which a scan is
    learnt from, by its content, are left out; build the sources to learn from before, with the same report.

    Raises DataError ``no-labels`` (names the label maps without any structure) or ``too-many-labels``, and what reading
    the files raises.
    """
    maps = [entry for entry in entries if not entry.volumes]
    cases = [entry for entry in entries if entry.volumes]
    sources: list[SampleSource] = []
    report = report or DataReport()
    found = read_facts({_own_label(entry): entry.assumed_orientation for entry in maps})
    facts = [one for one in found if report.is_new(str(one.path), [one.content], learnt)]
    if facts:
        sources.append(_synthesis(facts, config, label_map, device))
    read = _cases(cases, config, label_map, report, learnt)
    if read:
        sources.append(CaseSource(read, config))
    if len(sources) > 1:
        return MixedSource(sources)
    return sources[0] if sources else None


def build_unlabelled_source(
    entries: Sequence[Entry], config: TrainingConfig, label_map: LabelMap, report: DataReport | None = None
) -> UnlabelledSource | None:
    """The source of unlabelled samples; None where there are no such entries, or none are asked for."""
    if not entries or config.semi_supervised.batch == 0:
        return None
    report = report or DataReport()
    return UnlabelledSource(_cases(entries, config, label_map, report, learnt=True), config)


def _own_label(entry: Entry) -> Path:
    return next(iter(entry.labels.values()))


def _cases(
    entries: Sequence[Entry], config: TrainingConfig, label_map: LabelMap, report: DataReport, learnt: bool
) -> list[TrainingCase]:
    read = (_case(entry, config, label_map, report, learnt) for entry in entries)
    return [case for case in read if case is not None]


def _case(
    entry: Entry, config: TrainingConfig, label_map: LabelMap, report: DataReport, learnt: bool
) -> TrainingCase | None:
    """The case; None where it is to validate with and one of its scans is learnt from."""
    slots = {config.modalities.index(name): name for name in entry.volumes}
    assumed = entry.assumed_orientation
    volumes = {slot: read_volume(entry.volumes[name], name, assumed) for slot, name in slots.items()}
    title = " + ".join(str(entry.volumes[name]) for name in slots.values())
    if not report.is_new(title, (fingerprint(volume.array) for volume in volumes.values()), learnt):
        return None
    told = (finding for one in volumes.values() for finding in (*one.findings, *label_findings(one)))
    report.findings += [finding.of(title) for finding in told]
    pairs = combinations(volumes.values(), 2)
    report.findings += [finding.of(title) for a, b in pairs for finding in same_image_findings(a, b)]
    wanted = {slot: entry.labels[name] for slot, name in slots.items() if name in entry.labels}
    files = {path: read_label_file(path, assumed) for path in wanted.values()}
    values = {path: file.in_values_of(label_map, report) for path, file in files.items()}
    labels = {slot: (values[path], files[path].grid) for slot, path in wanted.items()}
    for slot, path in wanted.items():
        report.findings += _label_place_findings(path, labels[slot], volumes[slot])
    return training_case(volumes, labels, label_map.channels, config.spacing, entry.aligned)


def _label_place_findings(path: Path, labels: tuple[np.ndarray, Grid], volume: Volume) -> list[Finding]:
    """Whether labels show anything, and lie where their scan is. Raises GeometryError ``no-overlap`` where they do
    not."""
    array, grid = labels
    drawn = array > 0
    if not drawn.any():
        what = f"{path} shows no structure: all of its scan is learnt as background"
        return [Finding("warning", "no-labels", what, "give a case that nobody has drawn in without labels")]
    if grid.is_close(volume.grid):
        return []
    inside = float(coverage(volume.grid, grid)[drawn].mean())
    if inside == 0:
        what = f"no labelled voxel of {path} lies within the scan of {volume.modality}"
        raise GeometryError("no-overlap", what, "give the labels of this scan")
    if inside < _LEAST_INSIDE:
        what = f"{1 - inside:.0%} of the labelled voxels of {path} lie outside the scan of {volume.modality}"
        return [Finding("warning", "labels-outside", what, "make sure that they are the labels of this scan")]
    return []


def _synthesis(
    facts: Sequence[LabelFacts], config: TrainingConfig, label_map: LabelMap, device: torch.device
) -> SynthesisSource:
    paths = {file.path: file.assumed_orientation for file in facts}
    common = common_label_map(facts, label_map)
    values = sorted({0, *(file.value_in(common, value) for file in facts for value in file.present)})
    if len(values) > MOST_LABELS + 1:
        raise DataError("too-many-labels", f"{len(values)} values in the label maps", "merge some of them in the files")
    synthesizer = PairSynthesizer(config.synthesis, values, label_map.channels, config.modalities, config.rules, device)
    wanted = [value for value, channel in zip(values, synthesizer.target.tolist(), strict=True) if channel]
    arrays = [_world_aligned_file(path, common, assumed) for path, assumed in paths.items()]
    empty = [str(path) for path, (array, _) in zip(paths, arrays, strict=True) if not np.isin(array, wanted).any()]
    if empty:
        raise DataError("no-labels", f"nothing to segment in {', '.join(empty)}", "remove them from the training data")
    maps = [synthesizer.source(torch.from_numpy(array), spacing) for array, spacing in arrays]
    return SynthesisSource(synthesizer, maps, config.patch, config.spacing)


def _world_aligned_file(path: Path, common: LabelMap | None, assumed: str | None) -> tuple[np.ndarray, float]:
    file = read_label_file(path, assumed)
    return world_aligned(file.in_values_of(common, DataReport()) if common else file.labels, file.grid)


def world_aligned(labels: np.ndarray, grid: Grid) -> tuple[np.ndarray, float]:
    """Labels (K, J, I) int32 along the world's axes (i -> R, j -> A, k -> S) at the finest spacing, and that
    spacing."""
    spacing = min(grid.spacing_ijk)
    integers = np.rint(labels).astype(np.int32)
    return resample_labels(integers, grid, world_grid_of(grid, spacing)), spacing
