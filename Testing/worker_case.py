"""A small case for the worker process: two scans of a head and bundles for them, and requests to segment them."""

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.protocol import Request
from Testing.tiny_bundle import intensity_bundle, two_balls
from Testing.volumes import grid_around, sampled

GRID = grid_around((5.0, -10.0, 15.0), (27, 30, 28), (4.0, 4.0, 4.0))
OTHER = grid_around((5.0, -14.0, 20.0), (28, 20, 26), (4.0, 5.0, 4.0))


@dataclass(frozen=True)
class WorkerCase:
    """Files in ``folder``: scans ``a`` and ``b``, the bundle ``quick`` (about a second) and ``slow`` (about a
    minute)."""

    folder: Path
    _numbers: "count[int]" = field(default_factory=count)

    @classmethod
    def written_to(cls, folder: Path) -> "WorkerCase":
        intensity_bundle(folder / "quick", (32, 36, 32), 4.0)
        intensity_bundle(folder / "slow", (24, 24, 24), 0.7)
        write_volume(folder / "a.nrrd", sampled(two_balls, GRID).array, GRID)
        write_volume(folder / "b.nrrd", sampled(two_balls, OTHER).array, OTHER)
        return cls(folder)

    def request(self, output: Path, bundle: str = "quick", **changes: Any) -> Request:
        """A request with an id of its own to segment both scans into ``output``."""
        arguments = {
            "bundle": str(self.folder / bundle),
            "inputs": {"T1w": str(self.folder / "a.nrrd"), "T2w": str(self.folder / "b.nrrd")},
            "output": str(output),
            "device": "cpu",
        }
        return Request(f"run-{next(self._numbers)}", "segment", arguments | changes)
