"""A second modality for patients who have one: the recipe, with a fixed seed per patient.

Real is the anatomy, the first scan (T1-weighted) and the expert's labels. Simulated is the second scan, SIM:

1. **Contrast.** The T1 intensity, from its 1st to its 99th percentile, goes through a curve. The curve falls, so that
   fluid is bright, and is flat above the middle: the border between grey and white matter, which T1 shows, is lost. 2.
   **What T1 does not show.** Labels add an offset of their own, blurred by 0.8 mm: the anterior hippocampus stands out
   against its surroundings and against the posterior part, which looks like what is around it. The offsets vary from
   patient to patient. Blobs of the same size and strength lie elsewhere, so that brightness alone proves nothing. 3.
   **Texture** of 1 mm grain. 4. **Displacement.** The patient has moved a little between the scans (aligned: up to 0.7
   mm along and 1 degree about each axis) or much (displaced: 5 mm in any direction, 5 degrees about any axis). The
   labels of SIM move along. 5. **Grid.** Slices of 2.5 mm (aligned), or of 3 mm on a grid tilted by 15 degrees about
   any axis (displaced). 6. **Acquisition.** A bias field and white noise.

``contrast(0)`` is the recipe of the tables. Other numbers draw other curves and offsets.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from CrossModalSegLib.imaging.geometry import resample_to
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume

KNOTS = np.linspace(0, 1, 5)
PADDING = 14  # voxels of replicated border, so that a moved grid finds something everywhere
BLOBS = 6


@dataclass(frozen=True)
class Contrast:
    """Intensity of SIM at five T1 intensities from dark to bright, and what each label adds."""

    curve: tuple[float, ...] = (0.95, 0.75, 0.46, 0.42, 0.40)
    offsets: tuple[float, float] = (0.16, 0.02)
    spread: float = 0.03


@dataclass(frozen=True)
class Placement:
    """Where the second scan lies: how far the patient moved (mm, degrees), slice thickness and tilt of the grid."""

    shift: float
    turn: float
    exact: bool  # by exactly this much in a random direction, or up to this much along each axis
    slice_mm: float
    tilt: float


ALIGNED = Placement(shift=0.7, turn=1.0, exact=False, slice_mm=2.5, tilt=0.0)
DISPLACED = Placement(shift=5.0, turn=5.0, exact=True, slice_mm=3.0, tilt=15.0)


@dataclass(frozen=True)
class Simulated:
    """The second scan on its own grid, and its labels on the T1's grid moved along."""

    volume: Volume
    labels: np.ndarray
    label_grid: Grid


def contrast(number: int) -> Contrast:
    """The documented contrast for 0; for any other number one drawn at random, as hard as that by construction."""
    if number == 0:
        return Contrast()
    rng = np.random.default_rng(number)
    start, flat = rng.uniform(0.7, 1.0), rng.uniform(0.3, 0.5)
    curve = (start, flat + 0.7 * (start - flat), flat + 0.1, flat + 0.03, flat)
    strong = rng.choice([-1, 1]) * rng.uniform(0.13, 0.19)
    offsets = rng.permutation([strong, 0.02])
    return Contrast(curve, (float(offsets[0]), float(offsets[1])))


def simulate(t1: Volume, labels: np.ndarray, placement: Placement, recipe: Contrast, patient: int) -> Simulated:
    """The second scan of patient number ``patient``; the same number gives the same patient and the same scan."""
    tissue = _tissue(t1.array, labels, recipe, np.random.default_rng([patient, 0]))
    rng = np.random.default_rng([patient, 1 + int(placement.exact)])
    motion = _motion(placement, _centre(t1.grid), rng)
    padded = np.pad(tissue, PADDING, mode="edge")
    padded_to_t1 = np.eye(4)
    padded_to_t1[:3, 3] = -PADDING
    moved = Volume(padded, Grid(padded.shape, motion @ t1.grid.ijk_to_ras @ padded_to_t1), "SIM")
    grid = _scan_grid(t1.grid, placement, rng)
    image, _ = resample_to(moved, grid)
    image = image * _bias_field(image.shape, rng) + rng.normal(0, 0.04, image.shape)
    scan = Volume(np.rint(1000 * image.clip(0)).astype(np.float32), grid, "SIM")
    return Simulated(scan, labels, Grid(labels.shape, motion @ t1.grid.ijk_to_ras))


def _tissue(t1: np.ndarray, labels: np.ndarray, recipe: Contrast, rng: np.random.Generator) -> np.ndarray:
    """(K, J, I) noise-free contrast on the T1's grid."""
    low, high = np.percentile(t1, [1, 99])
    tissue = np.interp(((t1 - low) / max(high - low, 1e-6)).clip(0, 1), KNOTS, recipe.curve)
    for value, offset in enumerate(recipe.offsets, start=1):
        mask = ndimage.gaussian_filter((labels == value).astype(float), 0.8)
        tissue = tissue + mask * (offset + rng.normal(0, recipe.spread))
    tissue = tissue + _blobs(labels, recipe, rng)
    grain = ndimage.gaussian_filter(rng.normal(0, 1, tissue.shape), 1.0)
    return tissue + 0.04 * grain / grain.std()


def _blobs(labels: np.ndarray, recipe: Contrast, rng: np.random.Generator) -> np.ndarray:
    """Bright or dark spots of 3 to 6 mm radius around the labelled structures."""
    blobs = np.zeros(labels.shape)
    positions = np.stack(np.meshgrid(*map(np.arange, labels.shape), indexing="ij"), axis=-1)
    for _ in range(BLOBS):
        centre, radius = rng.uniform(0, labels.shape), rng.uniform(3, 6)
        distance = np.linalg.norm(positions - centre, axis=-1)
        blobs += rng.choice(recipe.offsets) * rng.uniform(0.7, 1.3) / (1 + np.exp((distance - radius) / 0.8))
    return blobs * (1 - ndimage.gaussian_filter((labels > 0).astype(float), 0.8))


def _motion(placement: Placement, centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """4x4 rigid motion about ``centre`` in RAS mm."""
    if placement.exact:
        shift, axis = (_direction(rng) for _ in range(2))
        shift, turn = placement.shift * shift, placement.turn * axis
    else:
        shift = rng.uniform(-placement.shift, placement.shift, 3)
        turn = rng.uniform(-placement.turn, placement.turn, 3)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(turn, degrees=True).as_matrix()
    motion[:3, 3] = centre + shift - motion[:3, :3] @ centre
    return motion


def _scan_grid(t1: Grid, placement: Placement, rng: np.random.Generator) -> Grid:
    """The T1's field of view in slices of their own thickness along a random axis, tilted."""
    tilt = Rotation.from_rotvec(placement.tilt * _direction(rng), degrees=True).as_matrix()
    axis = int(rng.integers(3))
    spacing = np.where(np.arange(3) == axis, placement.slice_mm, 1.0)
    size = np.maximum(2, np.rint(np.asarray(t1.extent_mm) / spacing)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = (tilt @ t1.direction) * spacing
    affine[:3, 3] = _centre(t1) - affine[:3, :3] @ ((size - 1) / 2)
    return Grid(tuple(int(n) for n in size[::-1]), affine)


def _bias_field(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    knots = rng.normal(0, 0.12, (3, 3, 3))
    return np.exp(ndimage.zoom(knots, np.divide(shape, 3), order=1, grid_mode=True, mode="nearest"))


def _centre(grid: Grid) -> np.ndarray:
    return (grid.ijk_to_ras @ [*((np.asarray(grid.shape_ijk) - 1) / 2), 1])[:3]


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)
