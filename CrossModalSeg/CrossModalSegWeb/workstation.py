"""All parts of the page, put together: the scene, the logic, the sections, the views."""

import asyncio
import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import slicer
from trame_server import Server
from trame_slicer.core import SlicerApp

from CrossModalSegUI import sample_data
from CrossModalSegUI.case_nodes import CaseNodes
from CrossModalSegUI.logic import SegmentationLogic
from CrossModalSegUI.opened_case import OpenedCase
from CrossModalSegUI.run_state import RunState
from CrossModalSegUI.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegUI.worker_client import WorkerClient
from CrossModalSegWeb.correct_section import CorrectSection
from CrossModalSegWeb.dialogs import Dialogs
from CrossModalSegWeb.editor import Editor
from CrossModalSegWeb.files_section import FilesSection
from CrossModalSegWeb.page import build_page
from CrossModalSegWeb.ranking_section import RankingSection
from CrossModalSegWeb.result_section import ResultSection
from CrossModalSegWeb.review_section import ReviewSection
from CrossModalSegWeb.run_section import RunSection
from CrossModalSegWeb.scans_section import ScansSection
from CrossModalSegWeb.site_section import SiteSection
from CrossModalSegWeb.uploads import Uploads
from CrossModalSegWeb.views import Views
from CrossModalSegWeb.vtk_messages import log_vtk_messages

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Start:
    """What the workstation opens with: scans by modality, by default the sample pair, how those of them lie that do not
    say it; and the site folder."""

    inputs: Mapping[str, Path] = field(default_factory=dict)
    site: Path | None = None
    assumed_orientation: str | None = None


class Workstation:
    """The module behind the page of ``server``. `run` works the worker's events; call `close` at the end."""

    def __init__(self, server: Server, uploads: Uploads, start: Start):
        self._server = server
        application = SlicerApp()
        log_vtk_messages()
        slicer.mrmlScene = application.scene  # parts of slicer.util look for it there
        self._worker = WorkerClient(SubprocessWorkerProcess)
        self.logic = SegmentationLogic(application.scene, self._worker)
        self._dialogs = Dialogs(server)
        self._views = Views(server, application)
        self._editor = Editor(server, application)
        self._scans = ScansSection(server, self.logic, self._dialogs)
        self._run = RunSection(server, self.logic, self._scans, self._dialogs, self._on_done)
        self._review = ReviewSection(server, self._views.jump_to)
        self._correct = CorrectSection(server, self._editor, self._dialogs)
        self._site = SiteSection(server, self.logic, self._scans, self._dialogs, self._on_opened, start.site)
        self._ranking = RankingSection(
            server, self.logic, self._scans, self._site, self._dialogs, lambda: self._run.device
        )
        self.result = ResultSection(server, self.logic, self._on_case)
        self._files = FilesSection(server, self.logic, uploads, self._scans, self._dialogs, self._on_closed)
        self._files.open_files(start.inputs or sample_pair(), start.assumed_orientation)
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
        """Stop what is going on and end the worker."""
        self.logic.close()

    def _on_scans(self) -> None:
        """Other scans are chosen, or something has been found out about them."""
        volumes = self._scans.volumes
        self._site.show_scans(volumes)
        self._run.render()
        case = self.result.case
        if volumes and (case is None or not _is_of(case, volumes)) and self.logic.status.state is RunState.IDLE:
            self._views.show_scans(volumes)

    def _on_done(self) -> None:
        self.result.fill()

    def _on_case(self, case: CaseNodes | None) -> None:
        """Another result is shown, or none."""
        self._run.note(case.notice if case else "")
        self._review.show(case.review if case else None)
        self._correct.show(case)
        self._site.show_case(case)
        if case is not None:
            self._views.show_case(case)
        gc.collect()  # the editor of the result before refers to itself, and Python would keep its 65 MB for long

    def _on_closed(self) -> None:
        """Nothing is open any more."""
        self.result.fill()
        self._views.clear()

    def _on_opened(self, opened: OpenedCase) -> None:
        """A case of the site was loaded: its scans are the chosen ones, its labels the result that is shown."""
        self._scans.choose(opened.volumes)
        self.result.fill()


def sample_pair() -> dict[str, Path]:
    """The phantom that comes with the source, by modality; nothing where it is not there."""
    files = {node.rsplit("_", 1)[1]: sample_data.FOLDER / file for node, file, _ in sample_data.VOLUMES}
    return {modality: path for modality, path in files.items() if path.is_file()}


def _is_of(case: CaseNodes, volumes: Mapping[str, object]) -> bool:
    return list(case.volumes.values()) == list(volumes.values())
