"""From the voxels of one grid into another through any transform of the scene, fast enough for whole scans.

Inverting a non-linear transform takes microseconds per point, so minutes for a scan. It is therefore evaluated on a
lattice of some millimetres and interpolated between. Where that is off by more than a tenth of a voxel at one of a
hundred random voxels, or by half a voxel at any, the lattice is refined; at last every voxel is evaluated.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from CrossModalSegApp.scene.node_geometry import transformed
from CrossModalSegLib.imaging.grid import Grid

_PITCHES_MM = (4.0, 2.0)  # of the lattice, before every voxel is evaluated
_COMMON_ERROR, _LARGEST_ERROR = 0.1, 0.5  # voxels of the grid that is mapped into
_CHECKED_VOXELS = 20_000


class VoxelMap:
    """Where the voxels of ``source`` lie in ``target``, in voxel indices.

    ``transform`` (vtkAbstractTransform) maps RAS mm of ``source`` to RAS mm of ``target``; ``is_linear`` says that it
    is known to be linear, so that its values at the corners suffice.
    """

    def __init__(self, source: Grid, target: Grid, transform: Any, is_linear: bool = False):
        self._source = source
        self._target = target
        self._transform = transform
        self._lattice = self._good_lattice(is_linear)

    @property
    def is_interpolated(self) -> bool:
        """Whether a lattice was good enough, so that the transform need not be evaluated at every voxel."""
        return self._lattice is not None

    def exact(self, indices: np.ndarray) -> np.ndarray:
        """Target (i, j, k) of source (i, j, k), both (..., 3), from the transform itself."""
        ras = indices @ self._source.ijk_to_ras[:3, :3].T + self._source.ijk_to_ras[:3, 3]
        ras = transformed(self._transform, ras)
        return ras @ self._target.ras_to_ijk[:3, :3].T + self._target.ras_to_ijk[:3, 3]

    def slab(self, start: int, stop: int) -> np.ndarray:
        """Target (i, j, k), (stop - start, J, I, 3) float64, of the source's slices ``start`` to ``stop - 1``."""
        _, rows, columns = self._source.shape_kji
        if self._lattice is None:
            return self.exact(_indices((stop - start, rows, columns)) + np.array([0, 0, start]))
        return self._lattice.on(np.arange(start, stop), np.arange(rows), np.arange(columns))

    def vtk_transform(self) -> Any:
        """The map as a vtkTransform from source (i, j, k) to target (i, j, k), for vtkImageReslice."""
        import slicer
        import vtk

        if self._lattice is not None:
            return self._lattice.vtk_transform()
        transform = vtk.vtkGeneralTransform()
        transform.PostMultiply()
        transform.Concatenate(slicer.util.vtkMatrixFromArray(self._source.ijk_to_ras))
        transform.Concatenate(self._transform)
        transform.Concatenate(slicer.util.vtkMatrixFromArray(self._target.ras_to_ijk))
        return transform

    def _good_lattice(self, is_linear: bool) -> "_Lattice | None":
        """The coarsest lattice that is good enough."""
        last = np.maximum(np.array(self._source.shape_ijk) - 1, 1)
        steps = [np.maximum(1, np.rint(pitch / np.array(self._source.spacing_ijk))) for pitch in _PITCHES_MM]
        if is_linear:
            steps.insert(0, last)
        voxels = np.random.default_rng(0).integers(0, self._source.shape_ijk, (_CHECKED_VOXELS, 3))
        true = self.exact(voxels)
        for step in steps:
            whole = np.minimum(step, last).astype(int)
            intervals = -(-last // whole)  # rounded up: the last points may lie outside
            lattice = _Lattice(self.exact(_indices(tuple(intervals[::-1] + 1)) * whole), whole)
            errors = np.linalg.norm(lattice.at(voxels) - true, axis=1)
            if np.quantile(errors, 0.99) <= _COMMON_ERROR and errors.max() <= _LARGEST_ERROR:
                return lattice
        return None


@dataclass(frozen=True)
class _Lattice:
    """``values`` (K', J', I', 3) at every ``step`` (i, j, k) voxels; in between they are interpolated linearly."""

    values: np.ndarray
    step: np.ndarray

    def on(self, slices: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(slices, rows, columns, 3): the values at all combinations of these indices."""
        values = self.values
        for axis, (positions, step) in enumerate(zip((slices, rows, columns), self.step[::-1], strict=True)):
            values = _interpolated(values, positions / step, axis)
        return values

    def at(self, voxels: np.ndarray) -> np.ndarray:
        """(n, 3): the values at ``voxels`` (n, 3) (i, j, k)."""
        cells = np.minimum(voxels // self.step, np.array(self.values.shape[2::-1]) - 2)
        fraction = voxels / self.step - cells
        result = np.zeros(voxels.shape)
        for corner in np.ndindex(2, 2, 2):
            i, j, k = (cells + corner).T
            weight = np.where(corner, fraction, 1 - fraction).prod(axis=1)
            result += weight[:, None] * self.values[k, j, i]
        return result

    def vtk_transform(self) -> Any:
        import vtk
        from vtk.util.numpy_support import numpy_to_vtk

        displacement = vtk.vtkImageData()
        displacement.SetDimensions(self.values.shape[2::-1])
        displacement.SetSpacing(self.step.astype(float))
        vectors = self.values - _indices(self.values.shape[:3]) * self.step
        displacement.GetPointData().SetScalars(numpy_to_vtk(vectors.reshape(-1, 3), deep=True))
        transform = vtk.vtkGridTransform()
        transform.SetInterpolationModeToLinear()
        transform.SetDisplacementGridData(displacement)
        return transform


def _indices(shape_kji: tuple[int, ...]) -> np.ndarray:
    """(K, J, I, 3) float64: the (i, j, k) of each place in an array."""
    k, j, i = np.meshgrid(*(np.arange(float(n)) for n in shape_kji), indexing="ij")
    return np.stack([i, j, k], axis=-1)


def _interpolated(values: np.ndarray, positions: np.ndarray, axis: int) -> np.ndarray:
    """``values`` at fractional ``positions`` along ``axis``, linear."""
    lower = np.minimum(positions.astype(int), values.shape[axis] - 2)
    shape = [1] * values.ndim
    shape[axis] = -1
    fraction = (positions - lower).reshape(shape)
    first = values.take(lower, axis)
    return first + (values.take(lower + 1, axis) - first) * fraction
