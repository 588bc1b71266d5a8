"""The model grid in world space, and the way of a volume onto a grid.

The model grid is aligned with the RAS axes of the world, not with those of a volume: i runs to the right, j to the
front, k to the top. A volume that is stored flipped or permuted therefore reaches the network the same way as the
original. Its voxel edges begin at an edge of the finest volume's field of view: a volume that lies along the world's
axes with the model's spacing is not interpolated at all, and labels are not asked for half-way between two voxels.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume

Spacing = tuple[float, float, float]

_AIR_HU = -1000.0  # CT values below mean "not scanned" (padding of -2000, -3024 ...); MR images have none
_TISSUE_FRACTION = 0.15  # of the way from the background's level to the tissue's
_NOISE_SIGMAS = 3.0  # how far above the background's noise the threshold must be
_DARKER_THAN_AIR = 0.05  # share of voxels: more of them, and the corners were no air
_SMALLEST_PART = 0.02  # of the largest component; smaller ones are noise, ghosts, markers
_SMALLEST_BODY = 1e-3  # of the field of view
_ROUNDING = 1e-3  # of a voxel: what rounding in headers must not change
_SLAB_SAMPLES = 16_000_000
_THINNEST_SLAB = 2.0  # of the coarse steps
_LATTICE = 64  # points per axis with which an overlap is measured


def model_grid(volumes: Sequence[Volume], spacing_mm: Spacing, margin_mm: float = 10.0) -> Grid:
    """The world-aligned grid on which the network sees all ``volumes``.

    It covers the union of their bodies (`body_box`) plus ``margin_mm``, but not more than the union of their fields of
    view. ``spacing_mm`` is along R, A, S (= i, j, k). ``ijk_to_ras`` has no rotation; voxel edges lie whole multiples
    of the spacing away from the lower corner of the finest volume's field of view. Raises GeometryError
    ``bad-spacing``.
    """
    if min(spacing_mm) <= 0 or not np.isfinite(spacing_mm).all():
        raise GeometryError("bad-spacing", f"spacing must be above 0 mm, not {spacing_mm}", "correct the bundle")
    bodies = np.array([body_box(volume) for volume in volumes])  # (n, 2, 3)
    fields = np.array([_bounds(volume.grid) for volume in volumes])
    lower = np.maximum(bodies[:, 0].min(axis=0) - margin_mm, fields[:, 0].min(axis=0))
    upper = np.minimum(bodies[:, 1].max(axis=0) + margin_mm, fields[:, 1].max(axis=0))
    sizes = [round(volume.grid.voxel_volume_ml, 9) for volume in volumes]
    finest = min(range(len(volumes)), key=lambda n: (sizes[n], *fields[n, 0]))  # in whatever order they are given
    return _world_grid(np.array([lower, upper]), spacing_mm, fields[finest, 0])


def cut_grid(grid: Grid, box: np.ndarray) -> tuple[Grid, tuple[slice, ...]]:
    """The part of a world-aligned ``grid`` that holds ``box`` (2, 3), lower and upper corner in RAS mm, and its slices
    along (k, j, i). At least one voxel; never more than the grid has."""
    corners = (box - grid.ijk_to_ras[:3, 3]) / np.diag(grid.ijk_to_ras)[:3] + 0.5  # in voxels, along i, j, k
    sizes = np.asarray(grid.shape_ijk)
    first = np.clip(np.floor(corners[0] + _ROUNDING), 0, sizes - 1).astype(int)
    stop = np.clip(np.ceil(corners[1] - _ROUNDING), first + 1, sizes).astype(int)
    affine = np.array(grid.ijk_to_ras)
    affine[:3, 3] += affine[:3, :3] @ first
    i, j, k = (slice(int(a), int(b)) for a, b in zip(first, stop, strict=True))
    return Grid((k.stop - k.start, j.stop - j.start, i.stop - i.start), affine), (k, j, i)


def body_box(volume: Volume, coarse_mm: float = 4.0) -> np.ndarray:
    """Bounding box of the head or body: (2, 3) float64, lower and upper corner in RAS mm, good to ``coarse_mm``.

    Found on a coarse world-aligned grid, so that it does not depend on how the volume is stored. Foreground is what
    differs from the background by more than 15 % of what tissue does (see `_foreground_threshold`): low, because dark
    tissue must not be lost. The largest component counts, and all that are not much smaller (two legs, an arm).
    Where no background can be told from tissue (a crop inside the body), or the scan is a slab of less than two coarse
    steps, the box is the whole field of view.
    """
    if min(volume.grid.extent_mm) < _THINNEST_SLAB * coarse_mm:  # it may lie between two points of the coarse grid
        return _bounds(volume.grid)
    coarse = _world_grid(_bounds(volume.grid), (coarse_mm, coarse_mm, coarse_mm))
    samples = np.maximum(_linear_samples(_sitk_image(volume), coarse), _AIR_HU)
    covered = coverage(volume.grid, coarse)
    if not covered.any():
        return _bounds(volume.grid)
    level, noise = background_level(np.maximum(corner_values(volume.array), _AIR_HU))
    threshold = _foreground_threshold(samples[covered], level, noise)
    if threshold is None:
        return _bounds(volume.grid)
    body = _large_components(covered & (np.abs(samples - level) > threshold))
    if body.sum() < _SMALLEST_BODY * covered.sum():
        return _bounds(volume.grid)
    first, last = _extent(body)  # in ijk
    edges = np.array([first - 0.5, last + 0.5])
    return edges @ coarse.ijk_to_ras[:3, :3] + coarse.ijk_to_ras[:3, 3]


def body_intensities(array: np.ndarray) -> tuple[float, float] | None:
    """The range of intensities of a scan (K, J, I) that are brighter than the air around the body; None where no air
    can be told from the body (a crop inside it, a scan in which much is darker than what its corners hold).
    """
    thinned = array[tuple(slice(None, None, max(1, n // _LATTICE)) for n in array.shape)].astype(np.float64)
    level, noise = background_level(np.maximum(corner_values(array).astype(np.float64), _AIR_HU))
    threshold = _foreground_threshold(np.maximum(thinned, _AIR_HU).ravel(), level, noise)
    highest = float(array.max())
    if threshold is None or level + threshold >= highest:
        return None
    return level + threshold, highest


def resample_to(volume: Volume, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Bring ``volume`` onto ``grid``: (array float32, coverage bool), both of ``grid.shape_kji``.

    Linear interpolation. Where the volume is much finer than ``grid``, a voxel is the mean of several samples spread
    over it, so that thin structures are averaged and not skipped. Coverage is `coverage`: it does not look at
    intensities; where it is False the array is 0. Raises GeometryError ``too-thin`` where it is False everywhere.
    """
    source = _sitk_image(volume)
    factors = _samples_per_voxel(volume.grid, grid)
    array = np.empty(grid.shape_kji, dtype=np.float32)
    thickness = max(1, _SLAB_SAMPLES // (array[0].size * int(np.prod(factors))))
    for start in range(0, len(array), thickness):
        stop = min(start + thickness, len(array))
        array[start:stop] = _mean_samples(source, _slab(grid, start, stop), factors)
    covered = coverage(volume.grid, grid)
    if not covered.any():
        size = " x ".join(f"{length:.3g}" for length in volume.grid.extent_mm)
        what = f"{volume.modality}: a scan of {size} mm lies between the points of the model's grid"
        raise GeometryError("too-thin", what, "give a larger scan")
    array[~covered] = 0.0
    return array, covered


def coverage(source: Grid, target: Grid) -> np.ndarray:
    """Bool of ``target.shape_kji``: True where a voxel's centre lies within the field of view of ``source``.

    The field of view ends at the outer edges of the outer voxels; a point on the edge is inside.
    """
    to_source = source.ras_to_ijk @ target.ijk_to_ras
    slices, rows, columns = (np.arange(n, dtype=np.float64) for n in target.shape_kji)
    inside = np.ones(target.shape_kji, dtype=bool)
    for (di, dj, dk, start), size in zip(to_source[:3], source.shape_ijk, strict=True):
        in_plane = di * columns[None, :] + dj * rows[:, None] + start  # (J, I), index along one source axis
        for k in slices.astype(int):
            index = in_plane + dk * k
            inside[k] &= (index >= -0.5 - _ROUNDING) & (index <= size - 0.5 + _ROUNDING)
    return inside


def overlap_fraction(a: Grid, b: Grid) -> float:
    """Share (0 to 1) of the smaller field of view that lies within the other one, measured on 64 points per axis."""
    smaller, larger = sorted((a, b), key=lambda grid: float(np.prod(grid.extent_mm)))
    factors = _LATTICE / np.asarray(smaller.shape_ijk)
    return float(coverage(larger, _divided(smaller, factors)).mean())


def world_grid_of(grid: Grid, spacing_mm: float) -> Grid:
    """The world-aligned grid at one spacing that covers the whole field of view of ``grid``."""
    return _world_grid(_bounds(grid), (spacing_mm, spacing_mm, spacing_mm))


def _bounds(grid: Grid) -> np.ndarray:
    """(2, 3): the box in RAS mm, along the world's axes, that holds the grid's field of view."""
    corners = grid.corners_ras()
    return np.array([corners.min(axis=0), corners.max(axis=0)])


def _world_grid(bounds: np.ndarray, spacing_mm: Spacing, edge: np.ndarray | None = None) -> Grid:
    """The smallest grid along the world's axes over ``bounds`` with voxel edges whole multiples of the spacing away
    from ``edge`` (3,), by default from the world's origin."""
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    phase = np.zeros(3) if edge is None else np.round(edge / spacing % 1 / _ROUNDING) * _ROUNDING
    first = np.floor(bounds[0] / spacing - phase + _ROUNDING) + phase
    stop = np.ceil(bounds[1] / spacing - phase - _ROUNDING) + phase
    i, j, k = np.maximum(np.rint(stop - first), 1).astype(int)
    middle = (bounds.mean(axis=0) / spacing) - 0.5  # a slab thinner than a voxel lies around its centre
    first = np.where((bounds[1] - bounds[0] < spacing) & (stop - first < 1.5), middle, first)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (first + 0.5) * spacing
    return Grid((k, j, i), affine)


def corner_values(array: np.ndarray) -> np.ndarray:
    """The voxels of the eight corners of the array, each a sixteenth of it along each axis: air, in most scans."""
    edges = [max(1, n // 16) for n in array.shape]
    ends = [(slice(0, edge), slice(-edge, None)) for edge in edges]
    return np.concatenate([array[block].ravel() for block in product(*ends)])


def background_level(corners: np.ndarray) -> tuple[float, float]:
    """(median, robust standard deviation): a corner or two may hold tissue."""
    level = float(np.median(corners))
    return level, 1.4826 * float(np.median(np.abs(corners - level)))


def _foreground_threshold(samples: np.ndarray, level: float, noise: float) -> float | None:
    """Smallest distance from the background's ``level`` that makes a sample foreground; None without a background.

    The tissue's distance is the median beyond Otsu's threshold. Taking distances from the level in the corners, rather
    than intensities, serves MR, HU and z-scored images alike. There is no background where ``noise`` reaches half way
    to the tissue, or where much is darker than the supposed air (unless the level is an exact constant that brain
    extraction has set).
    """
    distance = np.abs(samples - level)
    distance = np.minimum(distance, np.quantile(distance, 0.998))  # metal, bright vessels
    beyond = distance[distance > _otsu(distance)]
    if beyond.size == 0:
        return None
    tissue = float(np.median(beyond))
    threshold = max(_TISSUE_FRACTION * tissue, _NOISE_SIGMAS * noise)
    darker = float((samples < level - threshold).mean())
    if threshold > 0.5 * tissue or (noise > 0 and darker > _DARKER_THAN_AIR):
        return None
    return threshold


def _otsu(values: np.ndarray) -> float:
    """The threshold with the largest variance between the two classes (Otsu, IEEE Trans SMC 9:62, 1979)."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts) / counts.sum()
    mean_below = np.cumsum(counts * centres) / counts.sum()
    weight = below * (1 - below)
    between = (mean_below[-1] * below - mean_below) ** 2 / np.where(weight > 0, weight, np.inf)
    return float(edges[int(between.argmax()) + 1])


def _large_components(mask: np.ndarray) -> np.ndarray:
    """``mask`` without the components that are much smaller than its largest one."""
    components = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    keep = sizes >= max(1.0, _SMALLEST_PART * sizes.max())
    return keep[components]


def _extent(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last index (i, j, k) of the voxels in ``mask`` (K, J, I)."""
    indices = [np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
    return np.array([index[0] for index in indices]), np.array([index[-1] for index in indices])


def _sitk_image(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(volume.array)
    volume.grid.to_sitk_geometry(image)
    return image


def _linear_samples(source: sitk.Image, grid: Grid) -> np.ndarray:
    return sitk.GetArrayFromImage(_resampled(source, grid))


def _resampled(source: sitk.Image, grid: Grid) -> sitk.Image:
    """Linear samples of ``source`` at the voxel centres of ``grid``; outside the field of view the nearest voxel's."""
    reference = sitk.Image(1, 1, 1, sitk.sitkUInt8)  # carries the geometry only, so that no memory is spent on it
    Grid((1, 1, 1), grid.ijk_to_ras).to_sitk_geometry(reference)
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(reference)
    resampler.SetSize(grid.shape_ijk)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)  # a point on the outer edge needs a value, however it rounds
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    return resampler.Execute(source)


def _samples_per_voxel(source: Grid, target: Grid) -> tuple[int, int, int]:
    """How many source voxels go into a target voxel along its i, j, k: 1 up to a ratio of 1.45, 2 to 2.45, ...

    The limits are off the halves, so that rounding does not decide on common pairs such as 1 mm onto 1.5 mm.
    """
    steps = source.ras_to_ijk[:3, :3] @ target.ijk_to_ras[:3, :3]  # (3, 3): target steps in source voxels
    i, j, k = np.maximum(np.floor(np.linalg.norm(steps, axis=0) + 0.55), 1).astype(int).tolist()
    return i, j, k


def _mean_samples(source: sitk.Image, grid: Grid, factors: tuple[int, int, int]) -> np.ndarray:
    """Each voxel of ``grid`` as the mean of ``factors`` (i, j, k) linear samples spread evenly over it."""
    samples = _resampled(source, _divided(grid, np.asarray(factors)))
    return sitk.GetArrayFromImage(sitk.BinShrink(samples, factors) if max(factors) > 1 else samples)


def _divided(grid: Grid, factors: np.ndarray) -> Grid:
    """``grid``'s field of view with ``factors`` (i, j, k) times as many voxels along each axis."""
    i, j, k = np.rint(grid.shape_ijk * factors).astype(int)
    finer_to_ijk = np.diag([*(1 / factors), 1.0])
    finer_to_ijk[:3, 3] = 0.5 / factors - 0.5
    return Grid((k, j, i), grid.ijk_to_ras @ finer_to_ijk)


def _slab(grid: Grid, start: int, stop: int) -> Grid:
    """The slices ``start`` to ``stop - 1`` of ``grid``."""
    offset = np.eye(4)
    offset[2, 3] = start
    return Grid((stop - start, *grid.shape_kji[1:]), grid.ijk_to_ras @ offset)
