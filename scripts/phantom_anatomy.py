"""A virtual head: several label maps brought together, fused, and warped into an anatomy of its own.

All transforms are SimpleITK's and map points of a fixed space to points of a moving space, in LPS millimetres.
Method: one map serves as the first reference; the others are registered to it (affine, then diffeomorphic demons).
The mean of the transforms carries the reference to the group's mean shape, so that the result has nobody's shape;
a vote over all maps decides the label of each voxel, so that it has nobody's folds; a random smooth diffeomorphism
(integrated stationary velocity field, Arsigny et al., MICCAI 2006) moves it away from the mean.
"""

import logging
from pathlib import Path

import numpy as np
import SimpleITK as sitk

logger = logging.getLogger(__name__)

SOURCE_MAPS = (10, 2, 12, 15, 17)
"""Numbers of the label maps that are fused; the first is the first reference. None of 18 to 20 (validation)."""

STRUCTURES = (
    *(2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 26, 28),
    *(41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60),
)
"""FreeSurfer values of the 32 structures that the starter bundle segments."""

MERGED_LABELS = {25: 2, 57: 41, 30: 2, 62: 41, 136: 4, 137: 5, 163: 43, 164: 44, 72: 14}
"""Labels that serve synthesis only, and the structure each belongs to."""

REGISTRATION_CONTRAST = {
    "white": (190, (2, 41, 7, 46, 512)),
    "deep white": (175, (16, 28, 60, 13, 52, 85, 530)),
    "thalamus": (160, (10, 49)),
    "grey": (130, (3, 42, 8, 47, 11, 50, 12, 51, 17, 53, 18, 54, 26, 58)),
    "fluid": (40, (4, 43, 5, 44, 14, 15, 24, 506, 502, 514)),
    "soft tissue": (110, (507, 508, 509, 511)),
    "bone": (20, (515, 516)),
}
"""Intensity of each group of labels in the images that are registered: an MR-like contrast."""

BRAIN_LABELS = tuple(label for label in STRUCTURES if label != 24)
LARGEST_LABEL = 1023


def lookup_table(values: dict[int, float], dtype: type = np.float32) -> np.ndarray:
    """Table indexed by label that gives each label's value, 0 where it has none."""
    table = np.zeros(LARGEST_LABEL + 1, dtype=dtype)
    for label, value in values.items():
        table[label] = value
    return table


def array_to_image(array: np.ndarray, like: sitk.Image) -> sitk.Image:
    """Image of the array (K, J, I) on the grid of another image."""
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(like)
    return image


def read_head(path: Path) -> sitk.Image:
    """Label map (int16, axes to L, P, S) with synthesis-only labels merged and nothing but the head in it."""
    stored = sitk.DICOMOrient(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkInt16), "LPS")
    labels = sitk.GetArrayFromImage(stored)
    merge = np.arange(LARGEST_LABEL + 1, dtype=np.int16)
    merge[list(MERGED_LABELS)] = list(MERGED_LABELS.values())
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(stored > 0), sortByObjectSize=True)
    return array_to_image(merge[labels] * (sitk.GetArrayViewFromImage(parts) == 1), like=stored)


def anatomy_image(head: sitk.Image, spacing_mm: float) -> sitk.Image:
    """MR-like image of a label map, smoothed and resampled to isotropic voxels: what the registration sees."""
    table = lookup_table({label: value for value, labels in REGISTRATION_CONTRAST.values() for label in labels})
    image = array_to_image(table[sitk.GetArrayViewFromImage(head)], like=head)
    smooth = sitk.SmoothingRecursiveGaussian(image, spacing_mm / 2)
    return sitk.Resample(smooth, isotropic_grid(head, spacing_mm), sitk.Transform(), sitk.sitkLinear, 0.0)


def isotropic_grid(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Empty image with isotropic voxels that covers the extent of another image."""
    extent = np.array(image.GetSize()) * image.GetSpacing()
    grid = sitk.Image([int(n) for n in np.ceil(extent / spacing_mm)], sitk.sitkUInt8)
    grid.SetSpacing([spacing_mm] * 3)
    grid.SetDirection(image.GetDirection())
    first_voxel = (np.full(3, spacing_mm) / image.GetSpacing() - 1) / 2
    grid.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(first_voxel.tolist()))
    return grid


def brain_mask(head: sitk.Image) -> sitk.Image:
    """1 in the brain and the ventricles, 0 elsewhere (uint8)."""
    table = lookup_table(dict.fromkeys(BRAIN_LABELS, 1), dtype=np.uint8)
    return array_to_image(table[sitk.GetArrayViewFromImage(head)], like=head)


def register_affine(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Affine transform from the brain of one head (label map) to that of another."""
    start = sitk.CenteredTransformInitializer(
        sitk.Cast(brain_mask(fixed), sitk.sitkFloat32),
        sitk.Cast(brain_mask(moving), sitk.sitkFloat32),
        sitk.AffineTransform(3),
        sitk.CenteredTransformInitializerFilter.MOMENTS,
    )
    method = sitk.ImageRegistrationMethod()
    method.SetInitialTransform(start, inPlace=False)
    method.SetMetricAsMeanSquares()
    method.SetMetricFixedMask(sitk.BinaryDilate(brain_mask(fixed), (6, 6, 6)))
    method.SetMetricSamplingStrategy(method.NONE)  # every voxel: ITK moves sampled points by a clock-seeded jitter
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=2.0, minStep=1e-3, numberOfIterations=100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([2, 0])
    return method.Execute(anatomy_image(fixed, 4.0), anatomy_image(moving, 4.0))


def register_demons(fixed: sitk.Image, moving: sitk.Image, affine: sitk.Transform) -> sitk.Image:
    """Displacement field (LPS mm, on a 2 mm grid of the fixed head) that follows the affine transform.

    Diffeomorphic demons (Vercauteren et al., NeuroImage 2009), coarse to fine.
    """
    field = None
    for spacing_mm, iterations in ((8.0, 60), (4.0, 60), (2.0, 80)):
        fixed_image = anatomy_image(fixed, spacing_mm)
        moving_image = sitk.Resample(anatomy_image(moving, spacing_mm), fixed_image, affine)
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(1.2)
        if field is None:
            field = demons.Execute(fixed_image, moving_image)
        else:
            field = demons.Execute(fixed_image, moving_image, sitk.Resample(field, fixed_image))
    return field


def register(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Transform from points of the fixed head to the corresponding points of the moving head (label maps)."""
    affine = register_affine(fixed, moving)
    return sitk.CompositeTransform([affine, field_transform(register_demons(fixed, moving, affine))])


def field_transform(field: sitk.Image) -> sitk.Transform:
    """Transform that adds the displacement field (LPS mm); the field itself is left as it is."""
    return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))


def sample_transform(transform: sitk.Transform, grid: sitk.Image) -> sitk.Image:
    """Displacement field (LPS mm) of any transform, sampled on a grid."""
    return sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, grid.GetSize(), grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection()
    )


def mean_shape_transform(transforms: list[sitk.Transform], grid: sitk.Image) -> sitk.Transform:
    """Transform from points of the group's mean shape to points of the reference.

    `transforms` lead from the reference to each head of the group (identity for the reference itself); their mean
    leads from the reference to the mean shape, and is inverted here. The mean shift is left out: it tells where the
    heads lay, not what shape they have.
    """
    fields = [sitk.GetArrayFromImage(sample_transform(transform, grid)) for transform in transforms]
    displacement = np.mean(fields, axis=0)
    mean = sitk.GetImageFromArray(displacement - displacement.mean(axis=(0, 1, 2)), isVector=True)
    mean.CopyInformation(grid)
    check_diffeomorphic(mean, "mean shape")
    inverse = sitk.InvertDisplacementField(mean, maximumNumberOfIterations=30, maxErrorToleranceThreshold=0.2)
    return field_transform(inverse)


def random_diffeomorphism(grid: sitk.Image, rng: np.random.Generator, sigma_mm: float, rms_mm: float) -> sitk.Image:
    """Displacement field (LPS mm): exponential of a random velocity field, by scaling and squaring.

    sigma_mm: smoothness of the velocity field; rms_mm: root mean square of each of its components within the grid,
    at whose border it vanishes.
    """
    window = border_window(grid.GetSize()[::-1], round(2 * sigma_mm / grid.GetSpacing()[0]))
    components = []
    for _ in range(3):
        noise = array_to_image(rng.standard_normal(window.shape), like=grid)
        velocity = window * sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(noise, sigma_mm))
        velocity *= rms_mm / np.sqrt(np.mean(velocity[window == 1] ** 2))
        components.append(array_to_image(velocity, like=grid))
    squarings = 6
    field = sitk.Compose([component / 2**squarings for component in components])
    for _ in range(squarings):
        field = field + sitk.Resample(field, field, field_transform(field))
    check_diffeomorphic(field, "random deformation")
    return field


def border_window(shape_kji: tuple[int, ...], width: int) -> np.ndarray:
    """Window (K, J, I) that rises from 0 at each face of the array to 1 at `width` voxels from it."""
    window = np.ones(shape_kji)
    for axis, size in enumerate(shape_kji):
        depth = np.minimum(np.arange(size), np.arange(size)[::-1])
        rise = np.sin(np.pi / 2 * np.minimum(depth / width, 1)) ** 2
        window *= np.expand_dims(rise, tuple(other for other in range(3) if other != axis))
    return window


def check_diffeomorphic(field: sitk.Image, name: str) -> None:
    """Raise ValueError where a displacement field folds space (Jacobian determinant not positive)."""
    smallest = float(np.min(sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))))
    if smallest <= 0:
        raise ValueError(f"{name}: the smallest Jacobian determinant must be positive, not {smallest:.3f}")


def fuse(heads: list[sitk.Image], smoothing_mm: float) -> sitk.Image:
    """Label map (int16) by vote of label maps on one grid: at each voxel the label with most votes nearby.

    The votes for a label are smoothed before they are compared, label by label, so that memory stays small.
    """
    votes_of = np.stack([sitk.GetArrayFromImage(head) for head in heads])
    fused = np.zeros(votes_of.shape[1:], dtype=np.int16)
    most_votes = np.zeros(fused.shape, dtype=np.float32)
    for label in np.unique(votes_of):
        box = neighbourhood((votes_of == label).any(axis=0), margin=6)
        votes = sitk.GetImageFromArray((votes_of[(slice(None), *box)] == label).sum(axis=0).astype(np.float32))
        votes.SetSpacing(heads[0].GetSpacing())
        smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(votes, smoothing_mm))
        won = smooth > most_votes[box]
        fused[box][won] = label
        most_votes[box][won] = smooth[won]
    return array_to_image(fused, like=heads[0])


def neighbourhood(mask: np.ndarray, margin: int) -> tuple[slice, ...]:
    """Slices of the bounding box of a mask (K, J, I), widened by a margin in voxels within the array."""
    box = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(max(int(inside[0]) - margin, 0), int(inside[-1]) + 1 + margin))
    return tuple(box)


def head_grid(head: sitk.Image, spacing_mm: float, margin_mm: float, neck_mm: float) -> sitk.Image:
    """Fine grid around a head (axes to L, P, S), cut `neck_mm` below the brain."""
    labels = sitk.GetArrayViewFromImage(head)
    box = list(neighbourhood(labels > 0, margin=round(margin_mm / head.GetSpacing()[0])))
    lowest_brain_slice = neighbourhood(np.isin(labels, BRAIN_LABELS), margin=0)[0].start
    box[0] = slice(max(0, lowest_brain_slice - round(neck_mm / head.GetSpacing()[2])), box[0].stop)
    return isotropic_grid(head[box[2], box[1], box[0]], spacing_mm)


def make_virtual_head(folder: Path, rng: np.random.Generator, spacing_mm: float) -> sitk.Image:
    """Label map (int16, axes to L, P, S) of a head that is nobody's, from the label maps in a folder."""
    heads = [read_head(folder / f"training_seg_{number:02d}.nii.gz") for number in SOURCE_MAPS]
    reference = heads[0]
    transforms = [sitk.Transform(3, sitk.sitkIdentity)]
    for number, head in zip(SOURCE_MAPS[1:], heads[1:], strict=True):
        logger.info("registering label map %02d to %02d", number, SOURCE_MAPS[0])
        transforms.append(register(reference, head))
    coarse = isotropic_grid(reference, 2.0)
    to_reference = mean_shape_transform(transforms, coarse)
    deformation = random_diffeomorphism(isotropic_grid(reference, 4.0), rng, sigma_mm=20.0, rms_mm=2.2)
    from_phantom = sitk.CompositeTransform([to_reference, field_transform(deformation)])
    preview = sitk.Resample(reference, coarse, from_phantom, sitk.sitkNearestNeighbor, 0)
    grid = head_grid(preview, spacing_mm, margin_mm=8.0, neck_mm=25.0)
    on_grid = []
    for head, transform in zip(heads, transforms, strict=True):
        whole = sitk.CompositeTransform([transform, from_phantom])
        on_grid.append(sitk.Resample(head, grid, whole, sitk.sitkNearestNeighbor, 0))
    logger.info("fusing %d heads", len(on_grid))
    return fuse(on_grid, smoothing_mm=1.0)
