"""Simulated MR acquisition of a virtual head: tissue contrast, texture, coil sensitivity, slices and noise.

The head is a label map in LPS millimetres; an acquisition is an image (int16) on the scanner grid it names. Signal is
in arbitrary units, about 0 to 250, and 0 in the air around the head, so that the compressed images stay small.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from phantom_anatomy import array_to_image, lookup_table

FAT, MUSCLE = 1001, 1002
"""Tissues that soft tissue (label 507) is divided into, beyond the values of the label maps."""

SIGNAL = {
    # tissue: (labels, T1w signal, T2w signal); adult head at 3 T: MPRAGE and turbo spin echo
    "cerebral white matter": ((2, 41), 165, 65),
    "cerebellar white matter": ((7, 46), 161, 68),
    "cerebral cortex": ((3, 42), 111, 98),
    "cerebellar cortex": ((8, 47), 108, 95),
    "thalamus": ((10, 49), 134, 83),
    "caudate": ((11, 50), 114, 92),
    "putamen": ((12, 51), 122, 85),
    "pallidum": ((13, 52), 148, 59),
    "hippocampus": ((17, 53), 108, 102),
    "amygdala": ((18, 54), 107, 101),
    "accumbens": ((26, 58), 113, 94),
    "ventral diencephalon": ((28, 60), 144, 73),
    "brain stem": ((16, 85, 530), 152, 74),
    "spinal cord": ((512,), 148, 75),
    "ventricles": ((4, 43, 5, 44, 14, 15), 31, 220),
    "subarachnoid space": ((24,), 36, 210),
    "eye": ((506,), 29, 215),
    "fat": ((FAT,), 190, 140),
    "muscle": ((MUSCLE, 508), 82, 38),
    "skin": ((511,), 108, 65),
    "mucosa": ((509,), 92, 150),
    "cortical bone": ((515,), 14, 9),
    "cancellous bone": ((516,), 132, 92),
    "vein": ((514,), 60, 31),
    "artery": ((502,), 70, 12),
}


@dataclass(frozen=True)
class Acquisition:
    """How one volume is taken; lengths in millimetres, signal in the units of `SIGNAL`."""

    modality: str
    spacing: tuple[float, float, float]
    size: tuple[int, int, int]
    direction: np.ndarray
    """Columns are the LPS directions of i, j and k; a negative determinant stores the volume left-handed."""
    centre: np.ndarray
    """LPS point in the middle of the field of view."""
    motion: sitk.Transform
    """Where the patient lies in this scan: from scanner points to points of the head, LPS."""
    bias: float
    """Coil sensitivity varies by about this fraction either way."""
    noise: float
    """Standard deviation of the noise in each channel of the receiver."""

    def grid(self, oversampling: int = 1) -> sitk.Image:
        """Empty image on the scanner grid, its slices (k) divided into as many sub-slices."""
        grid = sitk.Image([self.size[0], self.size[1], self.size[2] * oversampling], sitk.sitkUInt8)
        grid.SetSpacing([self.spacing[0], self.spacing[1], self.spacing[2] / oversampling])
        grid.SetDirection(self.direction.ravel().tolist())
        middle = (np.array(grid.GetSize()) - 1) / 2 * grid.GetSpacing()
        grid.SetOrigin((self.centre - self.direction @ middle).tolist())
        return grid


def divide_soft_tissue(head: sitk.Image, rng: np.random.Generator) -> sitk.Image:
    """Label map whose soft tissue (507) is fat beneath the skin and around the eyes, muscle with fat planes elsewhere.

    Depths are distances to skin, air and eyes in millimetres; an uneven threshold keeps the borders natural.
    """
    labels = sitk.GetArrayFromImage(head)
    unevenness = smooth_noise(head, rng, sigma_mm=4.0)
    beneath_skin = distance_to(head, (0, 511)) < 6.0 + 1.5 * unevenness
    around_eye = distance_to(head, (506,)) < 13.0
    fat_plane = np.abs(smooth_noise(head, rng, sigma_mm=6.0)) < 0.16
    soft = labels == 507
    labels[soft] = np.where((beneath_skin | around_eye | fat_plane)[soft], FAT, MUSCLE)
    return array_to_image(labels, like=head)


def distance_to(head: sitk.Image, labels: tuple[int, ...]) -> np.ndarray:
    """Distance in millimetres (K, J, I) of each voxel to the nearest voxel with one of the labels."""
    mask = array_to_image(np.isin(sitk.GetArrayViewFromImage(head), labels).astype(np.uint8), like=head)
    distance = sitk.SignedMaurerDistanceMap(mask, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayFromImage(distance), 0)


def smooth_noise(grid: sitk.Image, rng: np.random.Generator, sigma_mm: float) -> np.ndarray:
    """Random field (K, J, I) of mean 0 and standard deviation 1, smooth over sigma_mm."""
    noise = array_to_image(rng.standard_normal(grid.GetSize()[::-1], dtype=np.float32), like=grid)
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(noise, sigma_mm))
    return (smooth - smooth.mean()) / smooth.std()


def signal_of(head: sitk.Image, modality: str, rng: np.random.Generator) -> sitk.Image:
    """Noise-free signal (float32) of each voxel of the head: the tissue's mean with a texture of 2 to 3 per cent."""
    column = {"T1w": 1, "T2w": 2}[modality]
    table = lookup_table({label: tissue[column] for tissue in SIGNAL.values() for label in tissue[0]})
    texture = 1 + 0.018 * smooth_noise(head, rng, sigma_mm=1.2) + 0.015 * smooth_noise(head, rng, sigma_mm=8.0)
    return array_to_image(table[sitk.GetArrayViewFromImage(head)] * texture.astype(np.float32), like=head)


def coil_sensitivity(grid: sitk.Image, rng: np.random.Generator, fraction: float) -> np.ndarray:
    """Smooth positive field (K, J, I) around 1: exponential of a random quadratic in the field of view."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in grid.GetSize()[::-1]]
    k, j, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    weights = rng.uniform(-1, 1, size=6)
    terms = (k, j, i, k * k - 1 / 3, j * j - 1 / 3, i * i - 1 / 3)
    field = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    return np.exp(field * (fraction / np.std(field)) / 2)


def acquire(head: sitk.Image, acquisition: Acquisition, rng: np.random.Generator) -> sitk.Image:
    """MR volume (int16) of the head (label map with divided soft tissue) on the scanner grid.

    Each voxel is the mean over its slice thickness of the signal, blurred in plane, so that borders show partial
    volume; the noise is Rician (Gudbjartsson and Patz, MRM 1995). As many scanners do, air around the head is set to 0.
    """
    signal = sitk.SmoothingRecursiveGaussian(signal_of(head, acquisition.modality, rng), 0.45)
    oversampling = max(1, round(acquisition.spacing[2]))
    fine = sitk.Resample(signal, acquisition.grid(oversampling), acquisition.motion, sitk.sitkLinear, 0.0)
    sub_slices = sitk.GetArrayViewFromImage(fine)
    slices = sub_slices.reshape(-1, oversampling, *sub_slices.shape[1:]).mean(axis=1)
    grid = acquisition.grid()
    slices = slices * coil_sensitivity(grid, rng, acquisition.bias)
    real, imaginary = rng.standard_normal((2, *slices.shape)) * acquisition.noise
    magnitude = np.hypot(slices + real, imaginary) * near_head(head, grid, acquisition.motion)
    return array_to_image(np.rint(magnitude).astype(np.int16), like=grid)


def near_head(head: sitk.Image, grid: sitk.Image, motion: sitk.Transform) -> np.ndarray:
    """Which voxels of a grid (K, J, I) lie within 4 mm of the head."""
    depth = sitk.SignedMaurerDistanceMap(head > 0, squaredDistance=False, useImageSpacing=True)
    return sitk.GetArrayFromImage(sitk.Resample(depth, grid, motion, sitk.sitkLinear, 1000.0)) < 4.0
