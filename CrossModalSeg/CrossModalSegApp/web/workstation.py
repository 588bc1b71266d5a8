"""All parts of the page, put together: the scene, the logic, the sections, the views."""

import asyncio
import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from trame_server import Server
from trame_slicer.core import SlicerApp

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.opened_case import OpenedCase
from CrossModalSegApp.web.correct_section import CorrectSection
from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.editor import Editor
from CrossModalSegApp.web.files_section import FilesSection
from CrossModalSegApp.web.page import build_page
from CrossModalSegApp.web.ranking_section import RankingSection
from CrossModalSegApp.web.result_section import ResultSection
from CrossModalSegApp.web.review_section import ReviewSection
from CrossModalSegApp.web.run_section import RunSection
from CrossModalSegApp.web.scans_section import ScansSection
from CrossModalSegApp.web.site_section import SiteSection
from CrossModalSegApp.web.strokes import LabelChange
from CrossModalSegApp.web.unsaved import UnsavedCorrections
from CrossModalSegApp.web.uploads import Uploads
from CrossModalSegApp.web.views import Views
from CrossModalSegApp.web.vtk_messages import log_vtk_messages

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Start:
    """What the workstation opens with: scans by modality, how those of them lie that do not say it, and the site folder."""

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
        self._scans = ScansSection(server, self.logic, self._dialogs)
        self.result = ResultSection(server, self.logic, self._on_case, self._unsaved.forget)
        self._run = RunSection(server, self.logic, self._scans, self._dialogs, self.result.fill)
        self._review = ReviewSection(server, self._views.jump_to)
        self._correct = CorrectSection(server, self._editor, self._dialogs, self._views.leave_contrast)
        self._site = SiteSection(
            server, self.logic, self._scans, self._dialogs, self._on_opened, self._on_saved, start.site
        )
        self._ranking = RankingSection(
            server, self.logic, self._scans, self._site, self._dialogs, lambda: self._run.device
        )
        self._files = FilesSection(
            server, self.logic, uploads, self._scans, self._dialogs, self._unsaved, self.result.fill
        )
        if start.inputs:
            self._files.open_files(start.inputs, start.assumed_orientation)
        self._site.look()
        self._scans.listen(self._on_scans)
        self._on_scans()
        build_page(server, self._views, self._editor)

    async def run(self) -> None:
        """Until cancelled: deliver what the worker says, and a ranking."""
        self._scans.examine()
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
        volumes = self._scans.volumes
        self._site.show_scans(volumes)
        self._run.render()
        self.result.follow(volumes)
        if self.result.case is None and self._scans.shown:
            self._views.show_scans(self._scans.shown)
        elif self.result.case is None:
            self._views.clear()

    def _on_case(self, case: CaseNodes | None) -> None:
        """Another result is shown, or none."""
        self._run.note(case.notice if case else "")
        self._review.show(case.review if case else None)
        self._correct.show(case)
        self._site.show_case(case)
        if case is not None:
            self._views.show_case(case)
            self._scans.choose_for(case)
        gc.collect()  # the editor of the result before refers to itself, and Python would keep its 65 MB for long

    def _on_labels(self, node: Any, change: LabelChange, labels: np.ndarray) -> None:
        """A stroke was drawn, or taken back."""
        self._views.refresh(node, change.gains)
        if self.result.case is not None:
            self._unsaved.keep(self.result.case, node, labels)

    def _on_saved(self, case: CaseNodes) -> None:
        self._unsaved.forget(case.run_id)

    def _on_opened(self, opened: OpenedCase) -> None:
        """A case of the site was loaded: its scans are the chosen ones, its labels the result that is shown."""
        self._scans.choose(opened.volumes)
        self.result.fill()
