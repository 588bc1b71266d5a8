"""What one stroke brings, with and without adapting locally: Dice of the wrong structure on simulated corrections.

    python -m Testing.Benchmarks.correcting.local_rerun [--bundle BUNDLE]

Cases are the pairs that come with the starter bundle: two of its frozen ones and the sample pair. A correction is one
stroke of 3 mm along the true border of a wrong structure, in the one axial slice through the deepest point of a place
where the model's result differs from the true labels; the largest places of each case, twenty in all.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.imaging.differences import Difference, find_differences
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.local_adaptation import Strokes, adapt_locally, box_around
from CrossModalSegLib.imaging.resampling import samples_at
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_image, read_volume
from CrossModalSegLib.inference.inference import Segmenter

RESOURCES = Path(__file__).resolve().parents[3] / "CrossModalSeg" / "Resources"
PLACES = {"map-18-t1w-t2w": 7, "map-20-t1w-flair": 7, "phantom": 6}
BRUSH_MM = 3.0
FEWEST_VOXELS = 5  # that a stroke changes


@dataclass(frozen=True)
class Case:
    """The model's labels and confidence, the true labels, and both scans: (K, J, I) on the first scan's ``grid``."""

    labels: np.ndarray
    confidence: np.ndarray
    truth: np.ndarray
    scans: Sequence[np.ndarray]
    grid: Grid


@dataclass(frozen=True)
class Correction:
    """Dice of the structure before, after the stroke, and after adapting; ``seconds`` of that."""

    structure: int
    before: float
    stroke: float
    adapted: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default=str(RESOURCES / "Bundles" / "brain-mr-pair"))
    bundle = load_bundle(parser.parse_args().bundle)
    segmenter = Segmenter(bundle, "cpu")
    found = [one for name, limit in PLACES.items() for one in corrections(_case(segmenter, name), limit)]
    print(f"{bundle.name} {bundle.version}: {len(found)} corrections of one stroke each")
    for one in found:
        name = _name(bundle, one.structure)
        gains = f"{one.stroke - one.before:+.4f} {one.adapted - one.before:+.4f}"
        print(f"{name:32} {one.before:.4f} {gains} {one.seconds:.2f} s")
    stroke, adapted = (np.mean([getattr(one, what) - one.before for one in found]) for what in ("stroke", "adapted"))
    worse = sum(one.adapted < one.stroke for one in found)
    print(f"Dice per stroke: {stroke:+.4f} alone, {adapted:+.4f} adapted locally; less than alone in {worse}")
    print(f"longest {max(one.seconds for one in found):.2f} s")


def corrections(case: Case, limit: int) -> Iterator[Correction]:
    """The largest places of a case, one stroke each."""
    count = 0
    for place in find_differences(case.labels, case.truth, case.grid, limit=60).places:
        stroke = _stroke(case, place)
        if stroke is not None and count < limit:
            count += 1
            yield _corrected(case, stroke, place)


def _stroke(case: Case, place: Difference) -> np.ndarray | None:
    """Bool (K, J, I): along the true border near the place, inside of what it truly is; None where that changes
    nothing."""
    spacing = np.array(case.grid.spacing_ijk[:0:-1])  # of rows and columns
    k, j, i = np.rint((case.grid.ras_to_ijk @ [*place.ras_mm, 1.0])[2::-1]).astype(int)
    pieces, _ = ndimage.label((case.labels[k] == place.here) & (case.truth[k] == place.there))
    wrong = (pieces == pieces[j, i]) & (pieces > 0)
    inside = case.truth[k] == place.there
    border = inside & ndimage.binary_dilation(~inside) & (ndimage.distance_transform_edt(~wrong, spacing) <= 2)
    if not border.any() or not wrong.any():
        return None
    reached = ndimage.binary_dilation(wrong, iterations=int(np.ceil(4 / spacing.min())))
    stroke = np.zeros(case.labels.shape, dtype=bool)
    stroke[k] = (ndimage.distance_transform_edt(~border, spacing) <= BRUSH_MM) & inside & reached
    return stroke if (stroke & (case.labels != case.truth)).sum() >= FEWEST_VOXELS else None


def _corrected(case: Case, stroke: np.ndarray, place: Difference) -> Correction:
    value = place.there or place.here
    drawn = np.where(stroke, case.truth, case.labels)
    started = time.perf_counter()
    spacing, by_hand = np.array(case.grid.spacing_ijk[::-1]), drawn != case.labels
    box = box_around(by_hand, spacing)
    assert box is not None
    scans = [scan[box] for scan in case.scans]
    adapted = drawn.copy()
    adapted[box] = adapt_locally(
        Strokes(case.labels[box], drawn[box], by_hand[box], scans, spacing, case.confidence[box])
    )
    seconds = time.perf_counter() - started
    scores = [_dice(labels == value, case.truth == value) for labels in (case.labels, drawn, adapted)]
    return Correction(value, *scores, seconds)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def _case(segmenter: Segmenter, name: str) -> Case:
    folder = segmenter.bundle.path / "frozen" / name
    paths = {modality: folder / f"{modality}.nrrd" for modality in ("T1w", "T2w")}
    if name == "phantom":
        paths = {modality: RESOURCES / "SampleData" / f"phantom_{modality}.nrrd" for modality in paths}
        truth, _ = read_image(RESOURCES / "SampleData" / "phantom_labels.nrrd")
    else:
        truth, _, _ = read_segmentation(folder / "T1w.seg.nrrd")
    volumes = {modality: read_volume(path, modality) for modality, path in paths.items()}
    result = segmenter.segment(volumes).modalities["T1w"]
    first, second = volumes["T1w"], volumes["T2w"]
    moved = _on_grid(second.array, second.grid, first.grid)
    labels, confidence = result.labels, result.confidence.astype(np.float32)
    return Case(labels, confidence, truth.astype(labels.dtype), [first.array.astype(np.float32), moved], first.grid)


def _on_grid(array: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Trilinear, not a number outside of ``source``, slice by slice."""
    to_source = source.ras_to_ijk @ target.ijk_to_ras
    slices = []
    for k in range(target.shape_kji[0]):
        j, i = np.meshgrid(*(np.arange(float(size)) for size in target.shape_kji[1:]), indexing="ij")
        points = np.stack([i, j, np.full_like(i, k)], axis=-1) @ to_source[:3, :3].T + to_source[:3, 3]
        inside = ((points >= -0.5) & (points <= np.array(source.shape_ijk) - 0.5)).all(axis=-1)
        slices.append(np.where(inside, samples_at(array.astype(np.float32), points), np.nan))
    return np.stack(slices).astype(np.float32)


def _name(bundle: Bundle, value: int) -> str:
    return bundle.label_map.by_value(value).name


if __name__ == "__main__":
    main()
