"""Rigid refinement: how far the second scan is displaced against the first, and the motion that brings it back.

Mattes mutual information (IEEE Trans Med Imaging 22:120, 2003), so that contrasts may differ. Both scans are taken onto
world-aligned grids, coarse then fine, so that it does not matter how they are stored; only points that both scans cover
are compared, so that a partial field of view does not pull.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.errors import GeometryError, NoMatchError
from CrossModalSegLib.imaging.background import with_dark_background
from CrossModalSegLib.imaging.geometry import body_box, model_grid, overlap_fraction, resample_to, world_grid_of
from CrossModalSegLib.imaging.grid import LPS_TO_RAS, Grid
from CrossModalSegLib.imaging.volume import Volume

Report = Callable[[str, float], None]  # stage, fraction done

STAGE = "registration"

_COARSE_MM = 4.0  # the first grid's spacing, less for small fields of view; the second one's is half of it
_VOXELS_ACROSS = 24  # of the first grid, along the shortest side of what is compared
_POINTS = (20_000, 20_000)  # compared on the first and the second grid
_ITERATIONS = (80, 40)
_OUTLIER_SAMPLE = 200_000  # voxels
_BINS = 32
_SEED = 1
_MOST_VOXELS = 30e6  # of the second grid
_APART = 0.5  # share of the boxes' overlap below which the scans may have lost their position

_LEAST_GAIN = 0.03  # in nats, and of what it was before
_LEAST_DISPLACEMENT_MM = 0.5
_LARGEST_ROTATION_DEGREES = 45.0
_LEAST_OVERLAP_KEPT = 0.7


@dataclass(frozen=True)
class RigidRefinement:
    """A rigid motion of the moving scan, and what speaks for it.

    ``moving_to_fixed`` (4, 4) float64 maps RAS points (mm) of the moving scan to where they belong in the fixed scan's
    space. ``displacement_mm`` is how far it moves the corners of the box around the moving head or body on average,
    ``translation_mm`` how far the box's centre, ``rotation_degrees`` how much it turns. ``metric_before`` and
    ``metric_after``: mutual information in nats, higher is better, over points that both scans cover.
    """

    moving_to_fixed: np.ndarray
    displacement_mm: float
    translation_mm: float
    rotation_degrees: float
    metric_before: float
    metric_after: float

    @property
    def is_improvement(self) -> bool:
        """True where the scans clearly match better after a motion that matters."""
        gain = self.metric_after - self.metric_before
        matters = self.displacement_mm >= _LEAST_DISPLACEMENT_MM
        return matters and gain > _LEAST_GAIN * max(1.0, self.metric_before)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`; ``is_improvement`` is in it for readers."""
        values = {name: value for name, value in vars(self).items() if name != "moving_to_fixed"}
        return {"moving_to_fixed": self.moving_to_fixed.tolist(), **values, "is_improvement": self.is_improvement}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "RigidRefinement":
        """What `to_json` gave. Raises KeyError where something is missing."""
        names = ("displacement_mm", "translation_mm", "rotation_degrees", "metric_before", "metric_after")
        matrix = np.array(entry["moving_to_fixed"], dtype=np.float64)
        return cls(matrix, **{name: float(entry[name]) for name in names})


def _silent(_stage: str, _fraction: float) -> None:
    """Tells nobody."""


def rigid_refine(fixed: Volume, moving: Volume, report: Report = _silent) -> RigidRefinement:
    """The rigid motion of ``moving`` after which it matches ``fixed`` best; the same scans always give the same one.

    It starts where the scans are, and also with the bodies' centres brought together where the bodies lie apart.
    Raises GeometryError ``no-overlap`` where the fields of view do not meet, ``no-match`` where the search led to a
    motion that no patient makes, so that the scans may have nothing in common.
    """
    if overlap_fraction(fixed.grid, moving.grid) == 0.0:
        message = f"{fixed.modality} and {moving.modality} do not overlap anywhere in space"
        raise GeometryError(
            "no-overlap", message, "check that both are of one patient, or move one onto the other by hand"
        )
    fixed, moving = with_dark_background(fixed), with_dark_background(moving)
    boxes = body_box(fixed), body_box(moving)
    fixed, moving = _without_outliers(fixed), _without_outliers(moving)
    spacing = _coarse_spacing(boxes, moving.grid)
    levels = [_level(fixed, moving, step, points) for step, points in zip((spacing, spacing / 2), _POINTS, strict=True)]
    motion = _search(levels, _starts(*boxes), report)
    result = _refinement(motion, boxes[1], levels[-1])
    if result.rotation_degrees > _LARGEST_ROTATION_DEGREES or not _keeps_overlap(fixed.grid, moving.grid, motion):
        message = (
            f"the best match of {moving.modality} to {fixed.modality} is a motion of {result.displacement_mm:.0f} mm"
        )
        message += f" and {result.rotation_degrees:.0f} degrees"
        raise NoMatchError(message)
    report(STAGE, 1.0)
    return result


# --- search


@dataclass(frozen=True)
class _Level:
    """Both scans at one spacing, with masks of what each covers, and the share of voxels that is compared."""

    fixed: sitk.Image
    moving: sitk.Image
    fixed_mask: sitk.Image
    moving_mask: sitk.Image
    spacing: float
    share: float

    def method(self, transform: sitk.Transform) -> sitk.ImageRegistrationMethod:
        """The comparison from ``transform`` on, which its execution changes in place."""
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)  # so that the sums are taken in one order, and the result is the same everywhere
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(self.share, _SEED)
        method.SetMetricFixedMask(self.fixed_mask)
        method.SetMetricMovingMask(self.moving_mask)
        method.SetMetricUseFixedImageGradientFilter(False)  # gradients where they are needed: whole images of them cost
        method.SetMetricUseMovingImageGradientFilter(False)  # more than all the rest
        method.SetInterpolator(sitk.sitkLinear)
        method.SetInitialTransform(transform, inPlace=True)
        return method

    def mutual_information(self, transform: sitk.Transform) -> float:
        """In nats; 0 where there is no point that both scans cover."""
        try:
            return -float(self.method(transform).MetricEvaluate(self.fixed, self.moving))
        except RuntimeError as error:
            _refuse_other_than_no_common_points(error)
            return 0.0

    def optimise(self, transform: sitk.Transform, iterations: int, on_step: Callable[[float], None]) -> bool:
        """Improve ``transform`` in place; ``on_step`` is told the fraction of ``iterations`` that is done.

        False where it came to a place without any point that both scans cover.
        """
        method = self.method(transform)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=self.spacing / 2,  # mm, as the scales make it
            minStep=self.spacing / 400,
            numberOfIterations=iterations,
            relaxationFactor=0.6,
            gradientMagnitudeTolerance=1e-5,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.AddCommand(sitk.sitkIterationEvent, lambda: on_step((method.GetOptimizerIteration() + 1) / iterations))
        try:
            method.Execute(self.fixed, self.moving)
        except RuntimeError as error:
            _refuse_other_than_no_common_points(error)
            return False
        return True


def _refuse_other_than_no_common_points(error: RuntimeError) -> None:
    """ITK has one type of error for everything; "do not sufficiently overlap" is the one that may happen here."""
    if "overlap" not in str(error):
        raise error


def _search(levels: Sequence[_Level], starts: Sequence[sitk.Euler3DTransform], report: Report) -> sitk.Euler3DTransform:
    """The best motion from any start on the coarse level, improved on the fine one; none where none is better."""
    coarse, fine = levels
    share = 1 / len(starts) / 2
    found = [
        start
        for number, start in enumerate(starts)
        if coarse.optimise(start, _ITERATIONS[0], _part(report, number * share, share))
    ]
    best = max(found, key=coarse.mutual_information, default=None)
    if best is None or not fine.optimise(best, _ITERATIONS[1], _part(report, 0.5, 0.5)):
        raise NoMatchError("the scans have too little in common to be compared")
    return max((sitk.Euler3DTransform(), best), key=fine.mutual_information)


def _part(report: Report, done: float, share: float) -> Callable[[float], None]:
    """Tells ``report`` of a step that is ``share`` of the whole and begins when ``done`` of it is done."""
    return lambda fraction: report(STAGE, done + share * fraction)


def _starts(fixed_box: np.ndarray, moving_box: np.ndarray) -> list[sitk.Euler3DTransform]:
    """Where the scans are; and with the boxes' centres on each other where the boxes lie apart."""
    centre = fixed_box.mean(axis=0)
    offsets = [np.zeros(3)]
    common = np.maximum(np.minimum(fixed_box[1], moving_box[1]) - np.maximum(fixed_box[0], moving_box[0]), 0.0)
    if common.prod() < _APART * min(np.diff(box, axis=0).prod() for box in (fixed_box, moving_box)):
        offsets.append(moving_box.mean(axis=0) - centre)
    return [_euler(moving_box.mean(axis=0) - offset, offset) for offset in offsets]


def _euler(centre: np.ndarray, offset: np.ndarray) -> sitk.Euler3DTransform:
    """From points of the fixed scan to those of the moving one, turning about ``centre``; both arguments are in RAS."""
    to_lps = LPS_TO_RAS[:3, :3]
    return sitk.Euler3DTransform((to_lps @ centre).tolist(), 0.0, 0.0, 0.0, (to_lps @ offset).tolist())


# --- what is compared


def _without_outliers(volume: Volume) -> Volume:
    """Metal and bright vessels would leave few of the histogram's bins to everything else."""
    low, high = np.quantile(volume.array.ravel()[:: max(1, volume.array.size // _OUTLIER_SAMPLE)], (0.001, 0.999))
    return Volume(np.clip(volume.array, low, high), volume.grid, volume.modality) if low < high else volume


def _coarse_spacing(boxes: Sequence[np.ndarray], grid: Grid) -> float:
    """So that the shortest side of a box has enough voxels, and the whole field of the moving scan not too many."""
    shortest = min(float((upper - lower).min()) for lower, upper in boxes)
    fewest = 2 * (float(np.prod(grid.extent_mm)) / _MOST_VOXELS) ** (1 / 3)
    return max(min(_COARSE_MM, shortest / _VOXELS_ACROSS), fewest)


def _level(fixed: Volume, moving: Volume, spacing: float, points: int) -> _Level:
    ours, theirs = model_grid([fixed], (spacing,) * 3), world_grid_of(moving.grid, spacing)
    fixed_array, fixed_mask = resample_to(fixed, ours)
    moving_array, moving_mask = resample_to(moving, theirs)
    return _Level(
        fixed=_image(fixed_array, ours),
        moving=_image(moving_array, theirs),
        fixed_mask=_image(fixed_mask.astype(np.uint8), ours),
        moving_mask=_image(moving_mask.astype(np.uint8), theirs),
        spacing=spacing,
        share=min(1.0, points / int(fixed_mask.sum())),
    )


def _image(array: np.ndarray, grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    grid.to_sitk_geometry(image)
    return image


# --- what is found


def _refinement(transform: sitk.Euler3DTransform, box: np.ndarray, level: _Level) -> RigidRefinement:
    matrix = np.linalg.inv(_ras_matrix(transform))
    corners = np.array(list(product(*box.T)))  # (8, 3)
    centre = box.mean(axis=0)
    return RigidRefinement(
        moving_to_fixed=matrix,
        displacement_mm=float(np.linalg.norm(_moved(corners, matrix) - corners, axis=1).mean()),
        translation_mm=float(np.linalg.norm(_moved(centre, matrix) - centre)),
        rotation_degrees=float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1.0, 1.0)))),
        metric_before=level.mutual_information(sitk.Euler3DTransform()),
        metric_after=level.mutual_information(transform),
    )


def _ras_matrix(transform: sitk.Euler3DTransform) -> np.ndarray:
    """(4, 4) from RAS points of the fixed scan to those of the moving one."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.array(transform.GetCenter())
    matrix[:3, 3] = centre + transform.GetTranslation() - matrix[:3, :3] @ centre
    return LPS_TO_RAS @ matrix @ LPS_TO_RAS


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _keeps_overlap(fixed: Grid, moving: Grid, transform: sitk.Euler3DTransform) -> bool:
    """Whether the fields of view still meet: mutual information can be high over a few points at the edge."""
    there = Grid(moving.shape_kji, np.linalg.inv(_ras_matrix(transform)) @ moving.ijk_to_ras)
    return overlap_fraction(fixed, there) >= _LEAST_OVERLAP_KEPT * overlap_fraction(fixed, moving)
