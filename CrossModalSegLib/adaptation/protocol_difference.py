"""Where a site's corrections differ from its parent model in the same way in all patients: another protocol, or another
look of the scans, but no mistake of one case, and nothing that a model forgets when it follows them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats

from CrossModalSegLib.adaptation.site_data import Labels
from CrossModalSegLib.plurals import counted

CONFIDENCE = 0.90
LEAST_RATIO = 1.10  # of volumes, either way: less is what two experts differ by anyway
LEAST_BORDER_MM = 0.2
FEWEST_PATIENTS = 2


@dataclass(frozen=True)
class StructureShift:
    """One structure in one scan: mL as corrected and as the parent finds it, and how far (mm) the corrected border lies
    outside the parent's (below 0: inside), on average."""

    corrected_ml: float
    parent_ml: float
    border_mm: float


@dataclass(frozen=True)
class ProtocolDifference:
    """Of a structure, over ``patients``: the corrected volume divided by the parent's (geometric mean), and how far the
    corrected border lies outside the parent's (mm, mean)."""

    name: str
    patients: int
    ratio: float
    border_mm: float

    def in_words(self) -> str:
        """One line of a list."""
        larger = f"{abs(self.ratio - 1):.0%} {'larger' if self.ratio > 1 else 'smaller'}"
        side = "further out" if self.border_mm > 0 else "further in"
        where = f"in all {counted(self.patients, 'corrected patient')}"
        return f"{self.name}: {larger}, border {abs(self.border_mm):.1f} mm {side}, {where}"


def structure_shifts(corrected: Labels, parent: Labels, values: Sequence[int]) -> dict[int, StructureShift]:
    """By value, for structures that both show; both arrays (K, J, I) lie on one grid."""
    (array, grid), (other, _grid) = corrected, parent
    most = max(values)
    boxes = zip(ndimage.find_objects(array, most), ndimage.find_objects(other, most), strict=True)
    found = {}
    for value, (one, two) in enumerate(boxes, start=1):
        if value not in values or one is None or two is None:
            continue
        box = tuple(
            slice(max(0, min(a.start, b.start) - 1), max(a.stop, b.stop) + 1) for a, b in zip(one, two, strict=True)
        )
        mask, seen = array[box] == value, other[box] == value
        ml = grid.voxel_volume_ml
        border = _border_mm(mask, seen, grid.spacing_ijk[::-1])
        found[value] = StructureShift(int(mask.sum()) * ml, int(seen.sum()) * ml, border)
    return found


def consistent_differences(
    shifts: Mapping[str, Sequence[Mapping[int, StructureShift]]], names: Mapping[int, str]
) -> list[ProtocolDifference]:
    """The structures whose volumes and borders shift alike in all patients; ``shifts`` by patient, of each of their
    scans.

    Volumes differ by a tenth or more and borders by 0.2 mm or more, on the same side in every patient, and neither mean
    may be chance (90 % interval, Student's t over patients).
    """
    differences = []
    for value, name in names.items():
        by_patient = [[scan[value] for scan in scans if value in scan] for scans in shifts.values()]
        seen = [scans for scans in by_patient if scans]
        if len(seen) < FEWEST_PATIENTS:
            continue
        ratios = np.array([np.mean([math.log(s.corrected_ml / s.parent_ml) for s in scans]) for scans in seen])
        borders = np.array([np.mean([s.border_mm for s in scans]) for scans in seen])
        if _alike(ratios, math.log(LEAST_RATIO)) and _alike(borders, LEAST_BORDER_MM) and ratios[0] * borders[0] > 0:
            difference = ProtocolDifference(name, len(seen), math.exp(ratios.mean()), float(borders.mean()))
            differences.append(difference)
    return differences


def _alike(values: np.ndarray, least: float) -> bool:
    """All on one side of 0, the mean at least so far, and so that it is no chance."""
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return bool(np.all(values * mean > 0)) and abs(mean) >= least and abs(mean) > half


def _border_mm(mask: np.ndarray, other: np.ndarray, spacing_kji: Sequence[float]) -> float:
    """Mean signed distance of the border voxels of ``mask`` from the border of ``other``: above 0 outside it. Both
    (bool) have a margin, except at the edge of the scan."""
    border = mask & ~ndimage.binary_erosion(mask, border_value=1)
    if not border.any():
        return 0.0
    half = float(np.mean(spacing_kji)) / 2  # distances are from voxel centres, the border lies between two of them
    outside = ndimage.distance_transform_edt(~other, sampling=spacing_kji)
    inside = ndimage.distance_transform_edt(other, sampling=spacing_kji)
    signed = np.where(other, half - inside, outside - half) + half
    return float(signed[border].mean())
