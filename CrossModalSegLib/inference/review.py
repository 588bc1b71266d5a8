"""The places of a result most worth a person's look: where the modalities disagree, or one of them is uncertain.

Every border is a voxel or two uncertain, and two results never share it exactly. Such thin rims are not listed. Where
the modalities disagree about two structures, that counts only where one of these is not to be found nearby in the other
result; and what is no thicker than a sheet of voxels does not count, unless only one modality found the structure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage

from CrossModalSegLib.imaging.geometry import coverage
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.inference.inference import ModalityResult, SegmentationResult
from CrossModalSegLib.labels import LabelMap

RIM_MM = 3.0  # as far as a border may lie from the other result's
SHEET_MM = 1.5  # a ball of this radius fits into what counts as disagreement
UNCERTAIN_SHEET_MM = 2.25  # the same for uncertainty; at least a voxel
UNCERTAIN = 0.6  # a highest class probability below this counts as uncertain
APART_MM = 8.0  # between two places of one structure
SEEN = 0.5  # of a region in graver ones: it is seen with them
TYPICAL_ML = 0.5  # of expected wrong tissue: severity 1 - 1/e
LONGEST_MM = 50.0  # longer regions are divided: one look does not show them
SMALLEST_ML = 0.03

Box = tuple[slice, ...]
Reason = Literal["uncertain", "disagreement"]

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class ReviewPlace:
    """One place, the gravest is number 1.

    ``ras_mm``: a point deep within the region (x, y, z in world RAS). ``modalities``: whose results are in doubt.
    ``severity`` (0 to 1) grows with the volume of tissue that is expected to be wrong, ``volume_ml`` is the region's,
    both without thin rims.
    """

    number: int
    ras_mm: tuple[float, float, float]
    structure: str
    modalities: tuple[str, ...]
    reason: Reason
    severity: float
    volume_ml: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`."""
        return asdict(self)


@dataclass(frozen=True)
class _Opinion:
    """One modality's result on the model grid, (D, H, W): winning channel, its probability, where the scan covers."""

    name: str
    item: ModalityResult
    winner: np.ndarray
    confidence: np.ndarray
    covers: np.ndarray


@dataclass(frozen=True)
class _Region:
    """A connected region of doubt: ``mask`` in ``box`` (three slices), and the mL of tissue expected to be wrong."""

    box: Box
    mask: np.ndarray
    structure: str
    modalities: tuple[str, ...]
    reason: Reason
    wrong_ml: float
    volume_ml: float


def review_places(result: SegmentationResult, label_map: LabelMap, limit: int = 20) -> list[ReviewPlace]:
    """At most ``limit`` places of ``result``, gravest first; found on the model grid, the same for the same result."""
    opinions = [_opinion(name, item, result.model_grid) for name, item in result.modalities.items()]
    regions = [region for opinion in opinions for region in _uncertainties(opinion, result.model_grid, label_map)]
    if len(opinions) == 2:
        first, second = opinions
        regions = [*_disagreements(first, second, result.model_grid, label_map), *regions]
    regions.sort(key=lambda region: -region.wrong_ml)
    places: list[ReviewPlace] = []
    seen = np.zeros(result.model_grid.shape_kji, dtype=bool)
    for region in regions:
        if len(places) == limit:
            break
        x, y, z = (round(float(coordinate), 2) for coordinate in _deepest_point(region, result.model_grid))
        is_seen = float(seen[region.box][region.mask].mean()) > SEEN
        if not is_seen and not _is_close((x, y, z), region.structure, places):
            seen[region.box] |= region.mask
            severity = round(1 - float(np.exp(-region.wrong_ml / TYPICAL_ML)), 3)
            what = (region.structure, region.modalities, region.reason, severity, round(region.volume_ml, 3))
            places.append(ReviewPlace(len(places) + 1, (x, y, z), *what))
    return places


# --- doubt


def _opinion(name: str, item: ModalityResult, grid: Grid) -> _Opinion:
    confidence, winner = (one.cpu().numpy() for one in item.best)
    return _Opinion(name, item, winner, confidence, coverage(item.volume.grid, grid))


def _disagreements(a: _Opinion, b: _Opinion, grid: Grid, label_map: LabelMap) -> Iterator[_Region]:
    """Regions that one modality calls a structure and the other does not, where both scans cover.

    Of the two structures in doubt, a region is named after the one that only one modality found, else the smaller one.
    """
    both = a.covers & b.covers
    points = np.argwhere((a.winner != b.winner) & both)  # (n, 3) in (k, j, i)
    in_a, in_b = _at(a.winner, points), _at(b.winner, points)
    counts = np.array([np.bincount(one.winner[both], minlength=len(label_map.channels)) for one in (a, b)])
    in_one_only = counts.min(axis=0) == 0
    size = np.where(in_one_only, -1, counts.sum(axis=0))
    size[0] = both.size + 1  # a region is never named after the background
    owner = np.where(size[in_a] <= size[in_b], in_a, in_b)
    is_border = _is_near(in_a, b.winner, points, grid) & _is_near(in_b, a.winner, points, grid)
    counted = _without_sheets(points[~is_border], both.shape, _ball(SHEET_MM, grid))
    kept = _at(counted, points) | in_one_only[owner]
    for channel, box, mask in _clusters(points[kept], owner[kept], both.shape, grid):
        volume = float(mask.sum()) * grid.voxel_volume_ml
        if volume >= SMALLEST_ML or in_one_only[channel]:
            name = label_map.structures[channel - 1].name
            yield _Region(box, mask, name, (a.name, b.name), "disagreement", volume, volume)


def _uncertainties(one: _Opinion, grid: Grid, label_map: LabelMap) -> Iterator[_Region]:
    """Regions of low confidence, named after the most probable structure."""
    points = np.argwhere((one.confidence < UNCERTAIN) & one.covers)
    ball = _ball(max(UNCERTAIN_SHEET_MM, *grid.spacing_ijk), grid)
    points = np.argwhere(_without_sheets(points, one.winner.shape, ball))
    for channel, box, mask in _clusters(points, _most_probable_structure(one, points), one.winner.shape, grid):
        volume = float(mask.sum()) * grid.voxel_volume_ml
        if volume >= SMALLEST_ML:
            wrong = float((1 - one.confidence[box][mask].astype(np.float64)).sum()) * grid.voxel_volume_ml
            name = label_map.structures[channel - 1].name
            yield _Region(box, mask, name, (one.name,), "uncertain", wrong, volume)


def _most_probable_structure(one: _Opinion, points: np.ndarray) -> np.ndarray:
    """(n,) channel of the most probable structure at ``points``, background left out."""
    places = tuple(torch.from_numpy(points.T).to(one.item.probabilities.device))
    structures = one.item.probabilities.movedim(0, -1)[places][:, 1:]  # (n, C - 1)
    return 1 + structures.max(dim=1).indices.cpu().numpy()


def _is_near(channels: np.ndarray, winner: np.ndarray, points: np.ndarray, grid: Grid) -> np.ndarray:
    """(n,) bool: whether ``winner`` (D, H, W) has the channel of each point within the rim around it."""
    far = np.arange(len(points))
    for step in _ball(max(RIM_MM, *grid.spacing_ijk), grid):
        far = far[_at(winner, points[far] + step) != channels[far]]
    near = np.ones(len(points), dtype=bool)
    near[far] = False
    return near


def _without_sheets(points: np.ndarray, shape: tuple[int, ...], ball: Sequence[np.ndarray]) -> np.ndarray:
    """Bool (D, H, W): the mask of ``points`` where ``ball`` fits into it, and what lies around that.

    An opening, with one more dilation so that small regions keep their corners. Morphology on the points alone, which
    are few, is several times faster than on the whole grid.
    """
    mask = _mask(points, shape)
    kept = points
    for step in ball:
        kept = kept[_at(mask, kept + step)]
    for _dilation in range(2):
        reached = np.zeros(shape, dtype=bool)
        for step in ball:
            reached.ravel()[_flat(kept + step, shape)] = True
        reached &= mask
        kept = np.argwhere(reached)
    return reached


def _mask(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(points.T)] = True
    return mask


def _at(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n,) ``values`` (D, H, W) at ``points`` (n, 3); beyond the grid those at its edge."""
    return values.ravel()[_flat(points, values.shape)]


def _flat(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(n,) indices of ``points`` (n, 3) in an array of ``shape`` in one dimension, clipped to its edge."""
    return np.ravel_multi_index(tuple(points.T), shape, mode="clip")


def _ball(radius_mm: float, grid: Grid) -> list[np.ndarray]:
    """Steps (k, j, i) in voxels to all voxels within ``radius_mm``, short ones first."""
    spacing = np.array(grid.spacing_ijk[::-1])
    reach = (radius_mm / spacing + 1e-6).astype(int)
    steps = product(*(range(-n, n + 1) for n in reach))
    lengths = {step: float(np.linalg.norm(step * spacing)) for step in steps}
    return [np.array(step) for step in sorted(lengths, key=lengths.__getitem__) if lengths[step] <= radius_mm + 1e-6]


# --- places


def _clusters(
    points: np.ndarray, owner: np.ndarray, shape: tuple[int, ...], grid: Grid
) -> Iterator[tuple[int, Box, np.ndarray]]:
    """(channel, box, mask in it) of each connected cluster of ``points`` (n, 3) with one ``owner`` channel."""
    owners = np.zeros(shape, dtype=np.int16)
    owners[tuple(points.T)] = owner
    for channel, box in enumerate(ndimage.find_objects(owners), start=1):
        if box is not None:
            clusters, _count = ndimage.label(owners[box] == channel, _TOUCHING)
            for number, part in enumerate(ndimage.find_objects(clusters), start=1):
                mask = clusters[part] == number
                for piece in _pieces(mask.shape, grid):
                    if mask[piece].any():
                        yield channel, _within(_within(box, part), piece), mask[piece]


def _pieces(shape: tuple[int, ...], grid: Grid) -> Iterator[Box]:
    """Equal boxes, none longer than `LONGEST_MM`, that make up an array of ``shape``."""
    counts = [int(np.ceil(size * step / LONGEST_MM)) for size, step in zip(shape, grid.spacing_ijk[::-1], strict=True)]
    cuts = [np.linspace(0, size, count + 1).astype(int) for size, count in zip(shape, counts, strict=True)]
    yield from product(*([slice(a, b) for a, b in pairwise(cut)] for cut in cuts))


def _within(outer: Box, inner: Box) -> Box:
    """``inner``, which is relative to ``outer``, relative to the whole array."""
    return tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, inner, strict=True))


def _deepest_point(region: _Region, grid: Grid) -> np.ndarray:
    """RAS mm of the region's voxel that is farthest from its border, and of several the one nearest to its middle."""
    spacing = np.array(grid.spacing_ijk[::-1])
    depth = ndimage.distance_transform_edt(np.pad(region.mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    deepest = np.argwhere(depth >= depth.max() - 1e-6)
    middle = np.argwhere(region.mask).mean(axis=0)
    voxel = deepest[np.linalg.norm((deepest - middle) * spacing, axis=1).argmin()] + [part.start for part in region.box]
    return (grid.ijk_to_ras @ [*voxel[::-1], 1.0])[:3]


def _is_close(point: tuple[float, float, float], structure: str, places: Sequence[ReviewPlace]) -> bool:
    """Whether a graver place of the same structure is so near that it shows this one too."""
    same = [place for place in places if place.structure == structure]
    return any(float(np.linalg.norm(np.subtract(point, place.ras_mm))) < APART_MM for place in same)
