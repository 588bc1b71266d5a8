"""A case as it is given to a site to keep: scans, labels if any, and how the same scans are told."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.errors import DataError, GeometryError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.folder import require_modalities

# Places are rounded before they are hashed. Spacings such as 0.46875 mm lie on the edge between two roundings, where
# the last bit of a float decides; moved by this odd number, no spacing in use does.
_AWAY_FROM_EDGES = 1.7320508e-5


@dataclass(frozen=True)
class CaseFiles:
    """What is saved of a case.

    ``volumes`` are the scans by modality; ``labels`` the label values (K, J, I) with their grid, empty for a case
    without labels; ``bundle`` says which model the labels started from, or came from (name, version, sha256);
    ``patient_key`` is anything that tells patients apart, or empty: only a salted hash of it is written. ``case_id`` is
    given where the scans were loaded from this site: they go back to that case, whatever is known of the patient now;
    where they were moved meanwhile, they become another case of the same patient.

    Raises GeometryError ``grids-differ`` where labels do not lie on the grid of their scan, DataError ``no-scan`` where
    there is none for them, ``bad-modality`` where a name cannot be a part of a file's name.
    """

    volumes: Mapping[str, Volume]
    labels: Mapping[str, tuple[np.ndarray, Grid]]
    label_map: LabelMap
    bundle: Mapping[str, Any]
    patient_key: str = ""
    case_id: str = ""

    def __post_init__(self) -> None:
        if not self.volumes:
            raise DataError("no-scan", "a case without scans", "choose the scans that belong to it")
        require_modalities(tuple(self.volumes))
        for modality, (_labels, grid) in self.labels.items():
            if modality not in self.volumes:
                raise DataError("no-scan", f"labels of {modality} without its scan", "choose the scan as well")
            if not grid.is_close(self.volumes[modality].grid):
                what = f"the labels of {modality} are not on the grid of its scan"
                raise GeometryError("grids-differ", what, "give labels on the scan's own grid")


@dataclass(frozen=True)
class SavedCase:
    """Where a case went: its folder, its id, and the number of the revision that was written (None: no labels).

    ``was_known``: nothing was written, because the scans were there already and there were no labels to save.

    ``parent`` is the revision that it was based on; ``forks`` are the corrections that do not know of each other now:
    empty, unless two people have corrected the same revision.
    """

    folder: Path
    id: str
    revision: int | None
    parent: int | None = None
    forks: tuple[int, ...] = ()
    was_known: bool = False


def volume_sha256(volume: Volume) -> str:
    """SHA-256 over a scan's shape, place (to 1e-4 mm) and voxels: the same scan has it, however it was stored."""
    place = np.round(volume.grid.ijk_to_ras + _AWAY_FROM_EDGES, 4) + 0.0  # + 0.0: no negative zeros
    digest = hashlib.sha256(repr(volume.grid.shape_kji).encode() + place.astype("<f8").tobytes())
    digest.update(np.ascontiguousarray(volume.array, dtype="<f4").tobytes())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
