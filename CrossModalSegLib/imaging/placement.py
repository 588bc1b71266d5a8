"""Where a file's header puts its voxels, or why that cannot be known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.orientation import direction_of

LARGEST_SHEAR_DEGREES = 0.1
_LONGEST_FIELD_MM = 5_000.0
_LARGEST_FIELD_ML = 4_000_000.0
_FARTHEST_MM = 100_000.0
_SMALLEST_VOXEL_MM = 1e-3

ASK_ORIENTATION = "look at it in a viewer, then say with --assume-orientation where i, j and k run to, such as RAS"


@dataclass(frozen=True)
class Placement:
    """What a header says about the place of its voxels.

    ``affine`` is ijk_to_ras (4x4, mm), None where it is not known: then ``refusal`` (code, what is wrong, what to do)
    says why. ``spacing`` are the distances of voxels along i, j, k in mm where the header has them, for those who know
    how the axes run. ``findings`` are what was decided in reading it.
    """

    affine: np.ndarray | None
    spacing: tuple[float, float, float] | None = None
    findings: tuple[Finding, ...] = ()
    refusal: tuple[str, str, str] = ("", "", "")

    def grid(self, path: Path, shape_ijk: Sequence[int], assumed: str | None) -> tuple[Grid, tuple[Finding, ...]]:
        """The grid of a volume of this shape, and what is to be told about it. ``assumed`` is the orientation (such as
        "RAS") of files that do not say theirs.

        Raises GeometryError ``unknown-orientation``, ``singular-affine``, ``bad-affine``, ``sheared-axes``,
        ``implausible-geometry``.
        """
        affine, findings = self.affine, self.findings
        if affine is None:
            affine, told = self._assumed_affine(path, shape_ijk, assumed)
            findings = (*findings, told)
        i, j, k = shape_ijk
        try:
            grid = Grid((k, j, i), affine)
        except GeometryError as error:
            raise GeometryError(error.code, f"{path}: {error.message}", error.hint) from error
        refuse_sheared(grid, path)
        refuse_implausible(grid, path)
        return grid, findings

    def _assumed_affine(self, path: Path, shape_ijk: Sequence[int], assumed: str | None) -> tuple[np.ndarray, Finding]:
        code, what, hint = self.refusal
        if code != "unknown-orientation" or assumed is None or self.spacing is None:
            raise GeometryError(code, f"{path}: {what}", hint)
        affine = np.eye(4)
        affine[:3, :3] = direction_of(assumed) * self.spacing
        affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape_ijk) - 1) / 2)
        message = f"the header does not say how the voxel axes run; {assumed} was assumed, with the centre at 0 mm"
        remedy = "make sure that left is left; such a scan need not lie where another scan of the patient lies"
        return affine, Finding("warning", "assumed-orientation", message, remedy)


def unknown_orientation(what: str, spacing: Sequence[float], findings: Sequence[Finding] = ()) -> Placement:
    """The placement of voxels ``spacing`` mm apart whose axes may run anywhere."""
    i, j, k = (abs(float(length)) for length in spacing)
    if not (np.isfinite([i, j, k]).all() and min(i, j, k) > 0):
        what = f"{what}; and its voxel size, {' x '.join(f'{length:g}' for length in spacing)} mm, is none"
        return Placement(None, None, tuple(findings), ("bad-affine", what, "export the volume again"))
    return Placement(None, (i, j, k), tuple(findings), ("unknown-orientation", what, ASK_ORIENTATION))


def distance_mm(one: np.ndarray, other: np.ndarray, shape_ijk: Sequence[int]) -> float:
    """How far a voxel lies at most from itself, between two affines of a volume: at one of its corners."""
    i, j, k = shape_ijk
    corners = Grid((k, j, i), np.eye(4)).corners_ras()  # in voxel indices
    offset = corners @ (one - other)[:3, :3].T + (one - other)[:3, 3]
    return float(np.linalg.norm(offset, axis=1).max())


def refuse_sheared(grid: Grid, path: object) -> None:
    """Raise GeometryError ``sheared-axes`` where the voxel axes are not at right angles. ``path`` is told."""
    if grid.shear_degrees > LARGEST_SHEAR_DEGREES:
        message = f"{path}: the voxel axes are {grid.shear_degrees:.2f} degrees away from right angles"
        raise GeometryError("sheared-axes", message, "resample the volume to right angles, e.g. with 3D Slicer")


def refuse_implausible(grid: Grid, path: object) -> None:
    """Raise GeometryError ``implausible-geometry`` where no scanner reaches: wrong units, or a damaged header."""
    extent, finest = grid.extent_mm, min(grid.spacing_ijk)
    farthest = float(np.abs(grid.corners_ras()).max())
    size = " x ".join(f"{length:.4g}" for length in extent)
    if max(extent) > _LONGEST_FIELD_MM or float(np.prod(extent)) / 1000 > _LARGEST_FIELD_ML:
        what = f"the field of view is {size} mm"
    elif finest < _SMALLEST_VOXEL_MM:
        what = f"voxels are {finest:.3g} mm apart"
    elif farthest > _FARTHEST_MM:
        what = f"it lies up to {farthest:.4g} mm away from the scanner's centre"
    else:
        return
    message = f"{path}: {what}, which no scan has"
    raise GeometryError("implausible-geometry", message, "check units and voxel size in the header: export it again")
