"""What an export as DICOM needs of uploaded series: their headers, kept without the pixels while the page runs."""

import shutil
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from CrossModalSegLib.imaging.dicom_header import copy_header


class KeptHeaders:
    """Keeps headers below ``folder``, which is removed with all that lies in it by whoever made it."""

    def __init__(self, folder: Path):
        self._folder, self._numbers = folder, count(1)

    def keep(self, files: Iterable[Path]) -> tuple[Path, ...]:
        """Copies of the DICOM ``files`` without pixels; none where there are none, or one cannot be copied: the scan
        is opened all the same, and only not exported."""
        files = [*dict.fromkeys(files)]
        if not files:
            return ()
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        copies = []
        try:
            for number, file in enumerate(files):
                copies.append(folder / f"{number:05d}.dcm")
                copy_header(file, copies[-1])
        except Exception:  # noqa: BLE001 - pydicom raises anything where a header is not as it should be
            shutil.rmtree(folder, ignore_errors=True)
            return ()
        return tuple(copies)

    def clear(self) -> None:
        """Remove all of them: no scan is open any more."""
        shutil.rmtree(self._folder, ignore_errors=True)
