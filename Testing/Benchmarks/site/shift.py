"""Another scanner: what it does to both scans of a hippocampus patient, with a fixed seed per patient.

Real are the anatomy and the expert's labels; the first scan is real, the second simulated (``method/simulate.py``). The
shift acts on both:

1. **Contrast curve.** Intensities from the 1st to the 99th percentile, brought to 0 to 1, are raised to a power: 0.3 in
   the first modality (fluid and grey matter brighten, and differ less), 3 in the second.
2. **Slice thickness.** 2 mm in the first, 3.5 mm in the second, along an axis that is the same for all patients.
3. **Displacement.** The second scan, with its labels, is moved by 3 mm in any direction and turned by 3 degrees.
4. **Bias field** with a standard deviation of 0.3 of its logarithm, on 3 x 3 x 3 knots.
5. **Noise** with a standard deviation of 0.07 of the range.

``strength`` scales 1, 4 and 5: 0 leaves thickness and displacement. These numbers are those of the first of three
``SHIFTS``; the last one is held out until everything is decided.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from CrossModalSegLib.imaging.geometry import resample_to
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.resampling import even_labels
from CrossModalSegLib.imaging.volume import Volume
from Testing.Benchmarks.method.patients import Scan


@dataclass(frozen=True)
class Scanner:
    """What happens to one modality; ``axis`` (i, j, k: 0, 1, 2) is that of the thick slices."""

    power: float
    slice_mm: float
    axis: int
    moved_mm: float
    turned: float
    bias: float = 0.3
    noise: float = 0.07


SCANNERS = {"T1w": Scanner(0.3, 2.0, 2, 0.0, 0.0), "SIM": Scanner(3.0, 3.5, 1, 3.0, 3.0)}
SHIFTS = {
    "first": SCANNERS,  # all that is decided by experiment is decided on this one and the next
    "second": {
        "T1w": Scanner(2.5, 1.0, 0, 0.0, 0.0, bias=0.5, noise=0.03),
        "SIM": Scanner(0.4, 2.0, 2, 0.0, 0.0, bias=0.2, noise=0.10),
    },
    "last": {  # held out: looked at once, when everything is decided
        "T1w": Scanner(0.5, 3.0, 1, 0.0, 0.0, bias=0.15, noise=0.12),
        "SIM": Scanner(2.0, 1.0, 0, 2.0, 2.0, bias=0.45, noise=0.05),
    },
}


def on_own_grid(scan: Scan) -> Scan:
    """The same scan with its labels on its own grid, as a site keeps them."""
    labels = even_labels(scan.labels, scan.label_grid, scan.volume.grid)
    return Scan(scan.volume, np.rint(labels).astype(np.uint16), scan.volume.grid)


def shifted(scan: Scan, modality: str, patient: int, strength: float = 1.0, shift: str = "first") -> Scan:
    """The scan as the other scanner would have taken it, with labels on its own grid."""
    scanner, rng = SHIFTS[shift][modality], np.random.default_rng([patient, len(modality), 7])
    motion = _motion(scanner, scan.volume.grid, rng)
    moved = Volume(scan.volume.array, Grid(scan.volume.grid.shape_kji, motion @ scan.volume.grid.ijk_to_ras), modality)
    grid = _thick(moved.grid, scanner)
    image, _covered = resample_to(_blurred(moved, scanner), grid)
    labels = even_labels(scan.labels, Grid(scan.label_grid.shape_kji, motion @ scan.label_grid.ijk_to_ras), grid)
    low, high = np.percentile(image, (1, 99))
    curve = ((image - low) / max(high - low, 1e-6)).clip(0, 1.2) ** (1 + strength * (scanner.power - 1))
    knots = rng.normal(0, strength * scanner.bias, (3, 3, 3))
    bias = np.exp(ndimage.zoom(knots, np.divide(curve.shape, 3), order=1, grid_mode=True, mode="nearest"))
    noisy = curve * bias + rng.normal(0, strength * scanner.noise, curve.shape)
    volume = Volume(np.rint(1000 * noisy.clip(0)).astype(np.float32), grid, modality)
    return Scan(volume, np.rint(labels).astype(np.uint16), grid)


def _motion(scanner: Scanner, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """4x4 rigid motion about the grid's centre in RAS mm."""
    directions = rng.normal(size=(2, 3))
    shift, axis = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    centre = (grid.ijk_to_ras @ [*((np.asarray(grid.shape_ijk) - 1) / 2), 1])[:3]
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(scanner.turned * axis, degrees=True).as_matrix()
    motion[:3, 3] = centre + scanner.moved_mm * shift - motion[:3, :3] @ centre
    return motion


def _thick(grid: Grid, scanner: Scanner) -> Grid:
    """The same field of view in thicker slices."""
    spacing = np.asarray(grid.spacing_ijk)
    wanted = spacing.copy()
    wanted[scanner.axis] = max(scanner.slice_mm, spacing[scanner.axis])
    size = np.maximum(2, np.rint(np.asarray(grid.extent_mm) / wanted)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = grid.direction * wanted
    centre = (grid.ijk_to_ras @ [*((np.asarray(grid.shape_ijk) - 1) / 2), 1])[:3]
    affine[:3, 3] = centre - affine[:3, :3] @ ((size - 1) / 2)
    return Grid(tuple(int(n) for n in size[::-1]), affine)


def _blurred(volume: Volume, scanner: Scanner) -> Volume:
    """Averaged over a slice's thickness, which resampling alone would not do."""
    width = scanner.slice_mm / volume.grid.spacing_ijk[scanner.axis]
    if width <= 1:
        return volume
    blurred = ndimage.gaussian_filter1d(volume.array.astype(float), width / 2.355, axis=2 - scanner.axis)
    return Volume(blurred.astype(np.float32), volume.grid, volume.modality)
