"""Scans as files for the worker, written once: what was written to look at them serves their alignment and the run,
too."""

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from CrossModalSegApp.scene.placed_scan import PlacedScan, place
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.temporary import new_temporary_folder


class ScanFiles:
    """Files of volume nodes in world space, in a folder of their own until `forget`."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._scans: dict[str, PlacedScan] = {}  # by id of the node
        self._written = 0

    def of(self, node: Any, volume: Volume | None = None) -> PlacedScan:
        """``node`` as a file, which is written where there is none, or where its voxels or its place are others since.

        ``volume`` is its `world_volume` where somebody has that already. Raises what `place` raises.
        """
        known = self._scans.get(node.GetID())
        if known is not None and known.is_current():
            return known
        if self._folder is None:
            self._folder = new_temporary_folder()
        self._written += 1  # what the worker may be reading is not written over
        self._scans[node.GetID()] = place(node, self._folder / f"{self._written}.nrrd", volume)
        return self._scans[node.GetID()]

    def put(self, node: Any, path: Path) -> PlacedScan:
        """The same, at ``path``, where it stays whatever becomes of this folder."""
        scan = self.of(node)
        try:
            os.link(scan.path, path)
        except OSError:
            shutil.copyfile(scan.path, path)
        return replace(scan, path=path)

    def forget(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            with suppress(OSError):
                shutil.rmtree(self._folder)
        self._folder, self._scans = None, {}
