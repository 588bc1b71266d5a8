"""Where the voxels of a volume lie: a shape and an affine from voxel indices to RAS millimetres."""

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from CrossModalSegLib.errors import GeometryError

if TYPE_CHECKING:
    import SimpleITK as sitk

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NO_TILT = 1e-14  # of an axis's length: what rounding leaves, down to numbers so small that they lose their digits
_FLATTEST_CELL = 1e-3  # volume of the cell of unit axis vectors (1 = right angles), below it the axes are dependent


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid of voxels in space.

    ``shape_kji`` is the shape of the array (slices, rows, columns). ``ijk_to_ras`` is 4x4 float64 and maps the column
    (i, j, k, 1) of a voxel *centre* to RAS millimetres: +R(ight), +A(nterior), +S(uperior), as in 3D Slicer. Left-
    handed, oblique and sheared grids are valid; singular and non-finite affines raise GeometryError.
    """

    shape_kji: tuple[int, int, int]
    ijk_to_ras: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape_kji)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError("bad-shape", f"a grid needs three sizes of at least 1, not {shape}", "check the volume")
        affine = np.array(self.ijk_to_ras, dtype=np.float64)
        _refuse_unusable(affine)
        axes = affine[:3, :3]
        axes[np.abs(axes) < _NO_TILT * np.linalg.norm(axes, axis=0)] = 0.0  # ITK inverts such directions wrongly
        affine.setflags(write=False)
        object.__setattr__(self, "shape_kji", shape)
        object.__setattr__(self, "ijk_to_ras", affine)

    @property
    def shape_ijk(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        k, j, i = self.shape_kji
        return i, j, k

    @property
    def spacing_ijk(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along i, j, k in mm."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def direction(self) -> np.ndarray:
        """3x3 float64; its columns are the unit vectors of i, j, k in RAS."""
        return self.ijk_to_ras[:3, :3] / np.asarray(self.spacing_ijk)

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Length of the field of view along i, j, k in mm, from voxel edge to voxel edge."""
        i, j, k = np.asarray(self.shape_ijk) * self.spacing_ijk
        return float(i), float(j), float(k)

    @property
    def ras_to_ijk(self) -> np.ndarray:
        """4x4 float64, the inverse of ``ijk_to_ras``."""
        return np.linalg.inv(self.ijk_to_ras)

    @property
    def is_left_handed(self) -> bool:
        """True where i, j, k form a left-handed system in RAS."""
        return bool(np.linalg.det(self.ijk_to_ras[:3, :3]) < 0)

    @property
    def obliquity_degrees(self) -> float:
        """Largest angle between an axis of the grid and the RAS axis nearest to it."""
        nearest = np.abs(self.direction).max(axis=0).min()
        return float(np.degrees(np.arccos(min(1.0, nearest))))

    @property
    def shear_degrees(self) -> float:
        """Largest deviation of the angle between two axes of the grid from 90 degrees."""
        cosines = self.direction.T @ self.direction - np.eye(3)
        return float(np.degrees(np.arcsin(min(1.0, np.abs(cosines).max()))))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3])) / 1000.0)

    def corners_ras(self) -> np.ndarray:
        """(8, 3) float64: RAS positions of the corners of the field of view, at the voxels' outer edges."""
        ends = [(-0.5, n - 0.5) for n in self.shape_ijk]
        corners = np.array(list(product(*ends)))  # (8, 3) in ijk
        return corners @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def is_close(self, other: "Grid", tolerance_mm: float = 0.01) -> bool:
        """True where both have the same shape and no corner differs by more than ``tolerance_mm``."""
        if self.shape_kji != other.shape_kji:
            return False
        return bool(np.abs(self.corners_ras() - other.corners_ras()).max() <= tolerance_mm)

    def to_sitk_geometry(self, image: "sitk.Image") -> None:
        """Write this grid's spacing, origin and direction (LPS, as ITK wants them) into ``image`` of the same size."""
        if image.GetSize() != self.shape_ijk:
            message = f"an image of size {image.GetSize()} on a grid of {self.shape_ijk}"
            raise GeometryError("shape-mismatch", message, "give the array and the grid of one volume")
        image.SetSpacing(self.spacing_ijk)
        image.SetOrigin((LPS_TO_RAS @ self.ijk_to_ras)[:3, 3].tolist())
        image.SetDirection((LPS_TO_RAS[:3, :3] @ self.direction).ravel().tolist())


def _refuse_unusable(affine: np.ndarray) -> None:
    hint = "the file's header is damaged: export the volume again"
    if affine.shape != (4, 4):
        raise GeometryError("bad-affine", f"the affine must be 4x4, not of shape {affine.shape}", hint)
    if not np.isfinite(affine).all():
        raise GeometryError("bad-affine", f"the affine has values that are no numbers: {affine.tolist()}", hint)
    if not np.allclose(affine[3], [0.0, 0.0, 0.0, 1.0]):
        raise GeometryError("bad-affine", f"the affine's last row must be 0 0 0 1, not {affine[3].tolist()}", hint)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < _FLATTEST_CELL:
        raise GeometryError("singular-affine", f"the axes do not span space: {affine[:3, :3].tolist()}", hint)
