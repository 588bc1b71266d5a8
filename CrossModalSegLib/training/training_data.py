"""From a datalist to sample sources: real cases are brought onto their model grids, label maps are made ready."""

import colorsys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from CrossModalSegLib.datasets.datalist import Entry
from CrossModalSegLib.errors import ConfigError, DataError
from CrossModalSegLib.imaging.geometry import world_grid_of
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.ground_slices import is_ground, read_ground
from CrossModalSegLib.imaging.resampling import resample_labels
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, LabelMap, Structure, read_label_map
from CrossModalSegLib.synthesis.synthesis import PairSynthesizer
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.sources import CaseSource, MixedSource, SampleSource, SynthesisSource, UnlabelledSource
from CrossModalSegLib.training.training_case import TrainingCase, training_case

MOST_LABELS = 255  # labels and channels are uint8 while training


def choose_label_map(config: TrainingConfig, entries: Sequence[Entry]) -> LabelMap:
    """The configured label map, or one made from the values that occur in the cases' labels.

    Raises LabelError, ConfigError ``no-labels`` or ``too-many-labels``.
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
    values = sorted(_values(path for entry in entries for path in entry.labels.values()) - {0})
    if not values:
        raise ConfigError("no-labels", "the training cases have no labelled voxel", "check the label files")
    colors = [colorsys.hsv_to_rgb(n * 0.618 % 1, 0.65, 0.95) for n in range(len(values))]
    return LabelMap(
        tuple(
            Structure(value, f"label {value}", (round(255 * r), round(255 * g), round(255 * b)))
            for value, (r, g, b) in zip(values, colors, strict=True)
        )
    )


def build_source(
    entries: Sequence[Entry], config: TrainingConfig, label_map: LabelMap, device: torch.device
) -> SampleSource | None:
    """One source over all entries; None where there are none. Real and synthetic samples alternate where both exist.

    Raises DataError ``no-labels`` (names the label maps without any structure) or ``too-many-labels``, and what reading
    the files raises.
    """
    maps = [entry for entry in entries if not entry.volumes]
    cases = [entry for entry in entries if entry.volumes]
    sources: list[SampleSource] = []
    if maps:
        sources.append(_synthesis(maps, config, label_map, device))
    if cases:
        sources.append(CaseSource([_case(entry, config, label_map) for entry in cases], config))
    if len(sources) > 1:
        return MixedSource(sources)
    return sources[0] if sources else None


def build_unlabelled_source(
    entries: Sequence[Entry], config: TrainingConfig, label_map: LabelMap
) -> UnlabelledSource | None:
    """The source of unlabelled samples; None where there are no such entries, or none are asked for."""
    if not entries or config.semi_supervised.batch == 0:
        return None
    return UnlabelledSource([_case(entry, config, label_map) for entry in entries], config)


def _case(entry: Entry, config: TrainingConfig, label_map: LabelMap) -> TrainingCase:
    slots = {config.modalities.index(name): name for name in entry.volumes}
    volumes = {slot: read_volume(entry.volumes[name], name) for slot, name in slots.items()}
    labels = {slot: read_labels(entry.labels[name]) for slot, name in slots.items() if name in entry.labels}
    return training_case(volumes, labels, label_map.channels, config.spacing, entry.aligned)


def _synthesis(
    entries: Sequence[Entry], config: TrainingConfig, label_map: LabelMap, device: torch.device
) -> SynthesisSource:
    paths = [next(iter(entry.labels.values())) for entry in entries]
    values = sorted(_values(paths) | {0})
    if len(values) > MOST_LABELS + 1:
        raise DataError("too-many-labels", f"{len(values)} values in the label maps", "merge some of them in the files")
    synthesizer = PairSynthesizer(config.synthesis, values, label_map.channels, config.modalities, config.rules, device)
    wanted = [value for value, channel in zip(values, synthesizer.target.tolist(), strict=True) if channel]
    arrays = [world_aligned(*read_labels(path)) for path in paths]
    empty = [str(path) for path, (array, _) in zip(paths, arrays, strict=True) if not np.isin(array, wanted).any()]
    if empty:
        raise DataError("no-labels", f"nothing to segment in {', '.join(empty)}", "remove them from the training data")
    maps = [synthesizer.source(torch.from_numpy(array), spacing) for array, spacing in arrays]
    return SynthesisSource(synthesizer, maps, config.patch, config.spacing)


def read_labels(path: Path) -> tuple[np.ndarray, Grid]:
    """Label values (K, J, I) and their grid, from a file or from a folder of slices beside a DICOM series."""
    return read_ground(path) if is_ground(path) else read_segmentation(path)[:2]


def world_aligned(labels: np.ndarray, grid: Grid) -> tuple[np.ndarray, float]:
    """Labels (K, J, I) int32 along the world's axes (i -> R, j -> A, k -> S) at the finest spacing, and that spacing."""
    spacing = min(grid.spacing_ijk)
    integers = np.rint(labels).astype(np.int32)
    return resample_labels(integers, grid, world_grid_of(grid, spacing)), spacing


def _values(paths: Iterable[Path]) -> set[int]:
    found: set[int] = set()
    for path in set(paths):
        found |= set(np.unique(np.rint(read_labels(path)[0])).astype(int).tolist())
    return found
