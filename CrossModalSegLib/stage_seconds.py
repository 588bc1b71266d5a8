"""How long the stages of a segmentation take: from the size of the scans, and from what they took on this computer.

Seconds of a reference computer for any pair, and for each million voxels of the scans; a computer's own pace is a
factor for each stage, learnt from every run and kept between them.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import CrossModalSegError, DataError
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.progress import RunProgress
from CrossModalSegLib.user_folder import user_folder

TYPICAL_MEGAVOXELS = 15.0  # of a pair that has not been read yet
_REFERENCE = {  # by device, for the starter bundle
    "cpu": {
        "reading": (0.1, 0.03), "checking": (2.0, 0.13), "resampling": (0.5, 0.05), "network": (6.0, 0.03),
        "restoring": (1.0, 0.1), "writing": (0.1, 0.03),
    },
    "cuda": {
        "reading": (0.1, 0.03), "checking": (1.0, 0.13), "resampling": (0.3, 0.05), "network": (1.5, 0.005),
        "restoring": (0.2, 0.01), "writing": (0.1, 0.03),
    },
}  # fmt: skip
_SLOWEST = 1000.0  # times the reference: what is beyond is no measurement
_OLD_SHARE = 0.3  # of what was known before, beside the newest run; a run beside other work shall not count alone


def expected_seconds(device: str, megavoxels: float, paces: Mapping[str, float] | None = None) -> dict[str, float]:
    """Seconds by stage on "cpu" or "cuda", for scans of so many million voxels together; ``paces`` by stage."""
    known = paces or {}
    return {
        stage: (any_ + per * megavoxels) * known.get(stage, 1.0) for stage, (any_, per) in _REFERENCE[device].items()
    }


class StagePaces:
    """What the stages take on this computer, as a multiple of the reference's seconds, by bundle and device.

    Kept in ``file``. A file that is damaged, or cannot be written, only makes the time left a worse guess.
    """

    def __init__(self, file: Path | None = None):
        self._file = file or user_folder() / "stage-paces.json"

    def of(self, bundle: str, device: str) -> dict[str, float] | None:
        """By stage; None where nothing was measured. ``bundle``: its SHA-256."""
        found = self._read().get(_key(bundle, device))
        return dict(found) if found else None

    def learn(self, bundle: str, device: str, megavoxels: float, seconds: Mapping[str, float]) -> None:
        """What the stages of one run took."""
        expected = expected_seconds(device, megavoxels)
        paces = self._read()
        known = paces.setdefault(_key(bundle, device), {})
        for stage in expected.keys() & seconds.keys():
            newest = min(max(seconds[stage] / expected[stage], 1 / _SLOWEST), _SLOWEST)
            known[stage] = newest ** (1 - _OLD_SHARE) * known.get(stage, newest) ** _OLD_SHARE
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps(paces, indent=1))
        except (OSError, CrossModalSegError):
            pass

    def _read(self) -> dict[str, dict[str, float]]:
        try:
            content = read_json(self._file, "stage-paces", "")
        except DataError:
            return {}
        return {key: paces for key, paces in content.items() if _are_paces(paces)}


class Forecast:
    """What one run with ``bundle`` (its SHA-256) on ``device`` is expected to take, told to ``progress``, and took."""

    def __init__(self, progress: RunProgress, paces: StagePaces, bundle: str, device: str):
        self._progress, self._paces, self._known = progress, paces, (bundle, device)
        self._megavoxels = TYPICAL_MEGAVOXELS
        self._own = paces.of(bundle, device)
        self._expect()

    def has_scans(self, voxels: int) -> None:
        """How large the scans are, together."""
        self._megavoxels = voxels / 1e6
        self._expect()

    def learn(self, *unknown: str) -> None:
        """Keep what the stages took; ``unknown`` are stages that did not do what they usually do."""
        seconds = {stage: took for stage, took in self._progress.seconds().items() if stage not in unknown}
        self._paces.learn(*self._known, self._megavoxels, seconds)

    def _expect(self) -> None:
        self._progress.expect(expected_seconds(self._known[1], self._megavoxels, self._own), self._own is not None)


def _are_paces(paces: object) -> bool:
    return isinstance(paces, dict) and all(
        isinstance(one, float) and math.isfinite(one) and 0 < one <= _SLOWEST for one in paces.values()
    )


def _key(bundle: str, device: str) -> str:
    return f"{bundle[:16]} {device}"
