"""All parts of the page, put together: the scene, the logic, the sections, the views."""

import asyncio
import gc
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from trame_server import Server
from trame_slicer.core import SlicerApp

from CrossModalSegApp.logic.keys import KEYS, MOUSE
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.presenter import Host
from CrossModalSegApp.logic.scans_presenter import MemoryStore, ScansPresenter
from CrossModalSegApp.logic.sections import Sections, ViewEvents
from CrossModalSegApp.logic.wording import DEVICES
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.pointed_place import Pointer
from CrossModalSegApp.web.correct_section import Chosen, CorrectSection
from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.editor import Editor
from CrossModalSegApp.web.files_section import FilesSection
from CrossModalSegApp.web.opened_scans import OpenedScans
from CrossModalSegApp.web.page import build_page
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.recent import RecentCases
from CrossModalSegApp.web.recent_section import Openers, RecentSection
from CrossModalSegApp.web.result_files import ResultFiles
from CrossModalSegApp.web.settling import Paced, Settling
from CrossModalSegApp.web.strokes import LabelChange
from CrossModalSegApp.web.unsaved import UnsavedCorrections
from CrossModalSegApp.web.unsaved_section import UnsavedSection
from CrossModalSegApp.web.uploads import Uploads
from CrossModalSegApp.web.views import Views
from CrossModalSegApp.web.vtk_messages import log_vtk_messages

_POLL_SECONDS = 0.1
# What the page may ask the presenters for.
_SCANS_INTENTS = ("choose_model", "choose_place", "suggest", "apply", "keep_alignment", "undo_alignment")
_SITE_INTENTS = ("choose_folder", "choose_author", "look", "save_correction", "add_unlabelled", "approve", "open_case")
_LEGEND_INTENTS = ("search", "choose", "show", "show_only", "show_found", "set_opacity")
_POINTING_SECONDS = 0.05  # between two readings of what is below the mouse
_SETTLE_SECONDS = 0.3  # after the last change, before the scans are looked at
_DRAWN_SECONDS = 0.05  # until the browser has been told what is about to be done


@dataclass(frozen=True)
class Start:
    """What the workstation opens with: scans by modality, how those of them lie that do not say it, and the site
    folder."""

    inputs: Mapping[str, Path] = field(default_factory=dict)
    site: Path | None = None
    assumed_orientation: str | None = None


class Workstation:
    """The module behind the page of ``server``. `run` works the worker's events; call `close` at the end."""

    def __init__(self, server: Server, uploads: Uploads, start: Start):
        self._server = server
        application = self._application = SlicerApp()
        log_vtk_messages()
        slicer.mrmlScene = application.scene  # parts of slicer.util look for it there
        self._worker = WorkerClient(SubprocessWorkerProcess)
        self.logic = SegmentationLogic(application.scene, self._worker, has_surfaces=False)
        self._dialogs = Dialogs(server)
        self._views = Views(server, application)
        self._editor = Editor(server, application)
        self._editor.on_labels = self._on_labels
        self._views.on_contrast = self._editor.rest
        self._unsaved = UnsavedCorrections()
        self._device = PageState(server, "device", chosen="auto", devices=DEVICES)
        self._device.on("choose", self._choose_device)
        host = Host(self._dialogs, lambda: self._device["chosen"], soon=self._do_once_drawn)
        self._settling = Settling(_SETTLE_SECONDS, self._examine)
        self._scans = ScansPresenter(self.logic, host, self._settling.start, copies=True)
        self._opened = OpenedScans(application.scene, self._scans)
        self._scans.open(MemoryStore())
        views, editor = self._views, self._editor
        events = ViewEvents(
            self._on_case,
            views.jump_to,
            editor.choose,
            editor.put,
            views.outline_region,
            views.restyle,
            views.show_compared,
            self._on_saved,
            self._unsaved.forget,
            self._on_site_case,
        )
        self._sections = sections = Sections(self.logic, self._scans, host, events)
        self.files_of_result = ResultFiles(self.logic, sections.result, sections.export)
        chosen = Chosen(views.leave_contrast, sections.note_structure, sections.show_edited)
        self._correct = CorrectSection(server, editor, self._dialogs, chosen)
        self._files = FilesSection(server, self.logic, uploads, self._opened, self._dialogs, sections.result.fill)
        openers = Openers(self._files.open_files, sections.site.open_case_of)
        self._recent = RecentSection(server, RecentCases(), self._dialogs, openers)
        UnsavedSection(server, self.logic, self._unsaved, self._dialogs, sections.result.fill)
        PageState(server, "scans").draw(self._scans, *_SCANS_INTENTS)
        PageState(server, "run").draw(sections.run, "start", "cancel")
        PageState(server, "result").draw(sections.result, "choose")
        PageState(server, "compare").draw(sections.compare, "choose")
        PageState(server, "adapt").draw(sections.adapt, "start")
        PageState(server, "fill").draw(sections.fill, "start", "keep", "discard")
        PageState(server, "dicom").draw(sections.export, "set_structure_set")
        PageState(server, "review").draw(sections.review, "go_next", "go_previous", "go_to", "tick", "finish")
        PageState(server, "legend").draw(sections.legend, *_LEGEND_INTENTS)
        PageState(server, "place").draw(sections.place)
        PageState(server, "place").on("choose", sections.choose_pointed)
        PageState(server, "place").on("mark", sections.place.set_mark)
        PageState(server, "windows").draw(sections.windows, "choose", "set")
        PageState(server, "keys", all=[asdict(key) for key in (*KEYS, *MOUSE)])
        self._corrected = Settling(_SETTLE_SECONDS, self._look_at_corrections)
        self._pointer = Pointer(application.scene, Paced(_POINTING_SECONDS, self._on_pointer).ask)
        views.free_mouse(lambda: not editor.tool, sections.windows.drag)
        PageState(server, "ranking").draw(sections.ranking, "start_or_cancel")
        PageState(server, "site").draw(sections.site, *_SITE_INTENTS)
        if start.inputs:
            self._files.open_files(start.inputs, start.assumed_orientation)
            self._recent.note_scans(dict(start.inputs))
        if start.site is not None:
            sections.site.choose_folder(str(start.site.expanduser().absolute()))
        self._scans.listen(self._on_scans)
        build_page(server, self._views, self._editor)

    async def run(self) -> None:
        """Until cancelled: deliver what the worker says, and a ranking."""
        self._examine()
        while True:
            self._worker.wait(0.0)
            self.logic.ranking.wait(0.0)
            await asyncio.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Stop what is going on, end the worker, and keep what was not saved."""
        self.logic.close()
        self._unsaved.write_due()
        self._application.io_manager.cache_dir.cleanup()

    def _on_scans(self) -> None:
        """Other scans are chosen, or something has been found out about them."""
        result = self._sections.result
        result.follow(self._scans.volumes)
        if result.case is None and self._opened.shown:
            self._views.show_scans(self._opened.shown)
            self._sections.show_scans(self._opened.shown)
        elif result.case is None:
            self._views.clear()

    def _on_case(self, case: CaseNodes | None) -> None:
        """Another result is shown, or none."""
        self._correct.show(case)
        if case is not None:
            self._views.show_case(case)
            self._opened.choose_for(case)
        gc.collect()  # the editor of the result before refers to itself, and Python would keep its 65 MB for long

    def _on_pointer(self) -> None:
        self._sections.place.point_at(self._pointer.place)

    def _examine(self) -> None:
        with self._server.state:  # the browser is told at the end
            self._scans.examine()

    def _look_at_corrections(self) -> None:
        with self._server.state:  # the browser is told at the end
            self._sections.look_at_corrections()

    def _choose_device(self, name: str) -> None:
        if name in DEVICES:
            self._device.show(chosen=name)

    def _on_labels(self, node: Any, change: LabelChange, labels: np.ndarray) -> None:
        """A stroke was drawn, or taken back."""
        self._views.refresh(node, change.gains, labels)
        self._sections.note_stroke(node, change.box)
        self._corrected.start()
        case = next((one for one in self.logic.cases() if node in one.segmentations.values()), None)
        if case is not None:  # not always the one that is shown: another may have been chosen during a stroke
            self._unsaved.keep(case, node, labels)

    def _on_site_case(self, folder: str, case_id: str, title: str) -> None:
        self._recent.note_site_case(folder, case_id, title)

    def _on_saved(self, case: CaseNodes) -> None:
        self._unsaved.forget(case.run_id)

    def _do_once_drawn(self, action: Callable[[], None]) -> None:
        """Do ``action`` when the browser has been told of what changed before, and tell it what changes then."""

        def do() -> None:
            with self._server.state:
                action()

        try:
            asyncio.get_running_loop().call_later(_DRAWN_SECONDS, do)
        except RuntimeError:  # the page is still being made
            action()
