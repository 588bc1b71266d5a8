"""The section Open: scans from files, DICOM folders or zip files, into the scene."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from trame_server import Server

from CrossModalSegLib.datasets.scan_files import ScanFile, scans_in
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.volume import Volume, read_volume
from CrossModalSegUI.inputs import candidates
from CrossModalSegUI.logic import SegmentationLogic
from CrossModalSegUI.run_state import RunState
from CrossModalSegUI.scene_io import add_volume
from CrossModalSegUI.subject_tree import file_as_series, remove
from CrossModalSegWeb.dialogs import Dialogs
from CrossModalSegWeb.page_state import PageState
from CrossModalSegWeb.scans_section import ScansSection
from CrossModalSegWeb.uploads import Uploads

_CLOSE = "Remove all scans and results from this page? What has not been saved or downloaded is lost."


class FilesSection:
    """Reads scans and adds them to the scene; ``scans`` is told of them. ``on_closed``: all have been removed."""

    def __init__(
        self,
        server: Server,
        logic: SegmentationLogic,
        uploads: Uploads,
        scans: ScansSection,
        dialogs: Dialogs,
        on_closed: Callable[[], None],
    ):
        self._logic, self._uploads, self._scans, self._dialogs = logic, uploads, scans, dialogs
        self._on_closed = on_closed
        limit = uploads.limit_bytes / 1e9
        self._state = PageState(server, "files", is_reading=False, message="", limit=f"{limit:g} GB")
        self._state.on("open", self._open_uploaded)
        self._state.on("close", self._close)

    def open_files(self, inputs: Mapping[str, Path]) -> None:
        """Open files, or folders with one DICOM series, by modality. Raises what `read_volume` raises, and InputError
        ``unknown-modality``.
        """
        bundle, nodes = self._scans.bundle, {}
        for name, path in inputs.items():
            volume = read_volume(path, name)
            modality = bundle.modality_named(name) if bundle else name
            nodes[modality] = add_volume(self._logic.scene, volume.array, volume.grid, path.name.split(".")[0] or name)
        self._scans.take_in(nodes)

    def _close(self) -> None:
        if self._logic.status.state is RunState.IDLE:
            self._dialogs.ask(_CLOSE, "Close all", self._remove_all)

    def _remove_all(self) -> None:
        """Take all scans and results out of the scene, and with them out of the memory."""
        for case in self._logic.cases():
            case.remove()
        for volume in candidates(self._logic.scene):
            remove(volume)
        self._scans.choose({})
        self._state.show(message="")
        self._on_closed()

    async def _open_uploaded(self, batch: str) -> None:
        """Open all scans among the uploaded files; what cannot be read is said, the rest is opened."""
        with self._state.flushed():
            self._state.show(is_reading=True, message="Reading the files")
        try:
            found, problems = await asyncio.to_thread(_read_all, self._uploads.folder_of(batch))
        except CrossModalSegError as error:
            self._state.show(message="")
            self._dialogs.show_error(error)
            return
        finally:
            self._uploads.remove(batch)
            with self._state.flushed():
                self._state.show(is_reading=False)
        with self._state.flushed():
            self._add(found)
            opened = ", ".join(scan.name for scan, _ in found)
            self._state.show(message=". ".join([f"Opened: {opened}" if found else "Nothing was opened", *problems]))

    def _add(self, found: list[tuple[ScanFile, Volume]]) -> None:
        for scan, volume in found:
            node = add_volume(self._logic.scene, volume.array, volume.grid, scan.name)
            file_as_series(node, scan.patient_id, scan.dicom_modality)
        self._scans.take_in()


def _read_all(folder: Path) -> tuple[list[tuple[ScanFile, Volume]], list[str]]:
    """The scans that can be read, and for each other one, why not. Raises InputError where there is none at all."""
    found, problems = [], []
    for scan in scans_in(folder):
        try:
            volume = read_volume(scan.path, scan.name)
        except CrossModalSegError as error:
            problems.append(f"{scan.name} was left out: {_without(folder, error.message)}")
        else:
            found.append((scan, volume))
            problems += [_without(folder, one.message) for one in volume.findings if one.severity == "warning"]
    return found, problems


def _without(folder: Path, message: str) -> str:
    """The message without the temporary folder, which says nothing to the user."""
    return message.replace(f"{folder}/", "").replace(str(folder), "the files").rstrip(".")
