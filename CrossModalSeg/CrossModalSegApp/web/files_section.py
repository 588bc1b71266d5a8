"""The section Open: scans from files, DICOM folders or zip files, into the scene."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trame_server import Server

from CrossModalSegApp.logic.case_selection import candidates
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.process.run_state import RunState
from CrossModalSegApp.scene import sample_data
from CrossModalSegApp.scene.dicom_source import note_files
from CrossModalSegApp.scene.scene_io import add_volume
from CrossModalSegApp.scene.subject_tree import file_as_series, remove
from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.kept_headers import KeptHeaders
from CrossModalSegApp.web.opened_scans import OpenedScans
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.uploads import Uploads
from CrossModalSegLib.datasets.scan_files import ScanFile, sorted_out
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.orientation import ORIENTATIONS
from CrossModalSegLib.imaging.volume import Volume, read_volume
from CrossModalSegLib.plurals import some_of

_USUAL = ("RAS", "LAS", "LPS", "RPS", "LSA", "RSA", "PSR", "ASR")  # first among those to choose from
_NAMED = 5  # files that are left out
_CLOSE = _("Remove all scans and results from this page? What has not been saved or downloaded is lost.")


class FilesSection:
    """Reads scans and adds them to the scene; ``opened`` is told of them. ``on_results`` is called when there are
    others."""

    def __init__(
        self,
        server: Server,
        logic: SegmentationLogic,
        uploads: Uploads,
        opened: OpenedScans,
        dialogs: Dialogs,
        on_results: Callable[[], None],
    ):
        self._logic, self._uploads, self._dialogs = logic, uploads, dialogs
        self._headers = KeptHeaders(uploads.folder / "headers")
        self._opened, self._scans = opened, opened.presenter
        self._on_results = on_results
        limit = uploads.limit_bytes / 1e9
        self._asked = _Question()
        self._state = PageState(
            server,
            "files",
            is_reading=False,
            message="",
            limit=f"{limit:g} GB",
            unoriented=[],
            orientation="",
            orientations=[*_USUAL, *(one for one in ORIENTATIONS if one not in _USUAL)],
            has_sample=bool(sample_pair()),
        )
        self._state.on("open", self._open_uploaded)
        self._state.on("sample", self._open_sample)
        self._state.on("close", self._close)
        self._state.on("choose_orientation", lambda code: self._state.show(orientation=str(code)))
        self._state.on("orient", self._open_oriented)
        self._state.on("leave_out", self._leave_out)

    def open_files(self, inputs: Mapping[str, Path], assumed_orientation: str | None = None) -> None:
        """Open files, or folders with one DICOM series, by modality. ``assumed_orientation`` (such as "RAS") is that of
        files that do not say theirs. Raises what `read_volume` raises, and InputError
        ``unknown-modality``.
        """
        bundle, nodes = self._scans.bundle, {}
        for name, path in inputs.items():
            volume = read_volume(path, name, assumed_orientation)
            modality = bundle.modality_named(name) if bundle else name
            nodes[modality] = add_volume(self._logic.scene, volume.array, volume.grid, path.name.split(".")[0] or name)
            note_files(nodes[modality], (one.file for one in volume.slices))
        self._opened.choose_opened(list(nodes.values()), nodes)

    def _open_sample(self) -> None:
        if self._logic.status.state is RunState.IDLE:
            self.open_files(sample_pair())
            self._state.show(message=_("Opened: the sample pair"))

    def _close(self) -> None:
        if self._logic.status.state is RunState.IDLE:
            self._dialogs.ask(_CLOSE, _("Close all"), self._remove_all)

    def _remove_all(self) -> None:
        """Take all scans and results out of the scene, and with them out of the memory."""
        for case in self._logic.cases():
            case.remove()
        self._on_results()
        for volume in candidates(self._logic.scene):
            remove(volume)
        self._scans.choose({})
        self._headers.clear()
        self._state.show(message="")

    async def _open_uploaded(self, batch: str) -> None:
        """Open all scans among the uploaded files; what cannot be read is said, the rest is opened. Where some do not
        say how they lie, it is asked, and their files are kept until there is an answer."""
        self._leave_out()
        with self._state.flushed():
            self._state.show(is_reading=True, message=_("Reading the files"))
        try:
            folder = self._uploads.folder_of(batch)
            read = await asyncio.to_thread(_read_uploaded, folder, self._headers)
        except CrossModalSegError as error:
            self._uploads.remove(batch)
            with self._state.flushed():
                self._state.show(is_reading=False, message="")
            self._dialogs.show_error(error)
            return
        except BaseException:
            self._uploads.remove(batch)
            raise
        if read.unoriented:
            self._asked = _Question(batch, tuple(read.unoriented))
        else:
            self._uploads.remove(batch)
        self._show(read)

    async def _open_oriented(self) -> None:
        """Open what was asked about, with the orientation that is chosen."""
        orientation = self._state["orientation"]
        if not self._asked.scans or orientation not in ORIENTATIONS:
            return
        asked, self._asked = self._asked, _Question()
        with self._state.flushed():
            self._state.show(is_reading=True, message=_("Reading the files"), unoriented=[])
        try:
            folder = self._uploads.folder_of(asked.batch)
            read = await asyncio.to_thread(_read_all, asked.scans, folder, self._headers, orientation)
        except CrossModalSegError as error:
            with self._state.flushed():
                self._state.show(is_reading=False, message="", orientation="")
            self._dialogs.show_error(error)
            return
        finally:
            self._uploads.remove(asked.batch)
        self._show(read)

    def _leave_out(self) -> None:
        """Forget what was asked about."""
        asked, self._asked = self._asked, _Question()
        if asked.batch:
            self._uploads.remove(asked.batch)
        self._state.show(unoriented=[], orientation="")

    def _show(self, read: "_Read") -> None:
        with self._state.flushed():
            self._add(read.found)
            opened = ", ".join(one.scan.name for one in read.found)
            first = _("Opened: {scans}").format(scans=opened) if read.found else _("Nothing was opened")
            names = [scan.name for scan in read.unoriented]
            message = ". ".join([first, *read.problems]) + "."
            self._state.show(is_reading=False, message=message, unoriented=names, orientation="")

    def _add(self, found: "list[_Found]") -> None:
        nodes = []
        for one in found:
            nodes.append(add_volume(self._logic.scene, one.volume.array, one.volume.grid, one.scan.name))
            file_as_series(nodes[-1], one.scan.patient_id, one.scan.dicom_modality)
            note_files(nodes[-1], one.headers)
        if nodes:
            self._opened.choose_opened(nodes)


@dataclass(frozen=True)
class _Question:
    """The scans of a batch of uploaded files that do not say how they lie; none where nothing is asked."""

    batch: str = ""
    scans: tuple[ScanFile, ...] = ()


@dataclass(frozen=True)
class _Found:
    """A scan that could be read, and its DICOM files as they are kept; none where it is no DICOM series."""

    scan: ScanFile
    volume: Volume
    headers: tuple[Path, ...] = ()


@dataclass
class _Read:
    """The scans that could be read; why others could not, and what there is to say; and those that need an answer."""

    found: list[_Found] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unoriented: list[ScanFile] = field(default_factory=list)


def _read_uploaded(folder: Path, kept: KeptHeaders) -> _Read:
    """All scans in ``folder``. Raises InputError where there is none at all."""
    scans, others = sorted_out(folder)
    read = _read_all(scans, folder, kept)
    if others:
        read.problems.append(_("No scans, and left out: {files}").format(files=some_of(others, _NAMED)))
    return read


def _read_all(
    scans: Iterable[ScanFile], folder: Path, kept: KeptHeaders, assumed_orientation: str | None = None
) -> _Read:
    read = _Read()
    for scan in scans:
        try:
            volume = read_volume(scan.path, scan.name, assumed_orientation)
        except CrossModalSegError as error:
            if error.code == "unknown-orientation":
                read.unoriented.append(scan)
            else:
                words = _("{scan} was left out: {why}")
                read.problems.append(words.format(scan=scan.name, why=_without(folder, error.message)))
        else:
            read.found.append(_Found(scan, volume, kept.keep(one.file for one in volume.slices)))
            read.problems += [_without(folder, one.message) for one in volume.findings if one.severity == "warning"]
    return read


def _without(folder: Path, message: str) -> str:
    """The message without the temporary folder, which says nothing to the user."""
    return message.replace(f"{folder}/", "").replace(str(folder), _("the files")).rstrip(".")


def sample_pair() -> dict[str, Path]:
    """The phantom that comes with the source, by modality; nothing where it is not there."""
    files = {node.rsplit("_", 1)[1]: sample_data.FOLDER / file for node, file, _ in sample_data.VOLUMES}
    return {modality: path for modality, path in files.items() if path.is_file()}
