"""What the module can do, without any view: the panel in Slicer, a browser view and scripts all call this.

It works on the nodes of one scene. The worker and the scene are given, so that it runs, and is tested, without Qt.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from CrossModalSegApp.logic.dicom_export import DicomExport, OnEnd
from CrossModalSegApp.logic.scan_files import ScanFiles
from CrossModalSegApp.logic.segmentation_run import RunPlan, SegmentationRunner
from CrossModalSegApp.process.fine_tuning import FineTuning
from CrossModalSegApp.process.question import Question
from CrossModalSegApp.process.ranking import CaseRanking
from CrossModalSegApp.process.run_state import RunState, RunStatus, RunTracker
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene import site_cases
from CrossModalSegApp.scene.case_nodes import CaseNodes, find_cases
from CrossModalSegApp.scene.opened_case import OpenedCase, open_case
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegLib.bundles.bundle import Bundle, bundle_search_path, list_bundles, load_bundle
from CrossModalSegLib.bundles.bundle_metadata import SECTION
from CrossModalSegLib.errors import CrossModalSegError, InputError
from CrossModalSegLib.imaging.content_findings import Contents
from CrossModalSegLib.imaging.registration import RigidRefinement
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.protocol import Done, Failed
from CrossModalSegLib.site.case_store import CaseStore, SavedCase
from CrossModalSegLib.site.cases import SiteCase
from CrossModalSegLib.site.models import MODELS

STARTER_BUNDLE = "brain-mr-pair"
_POLL_SECONDS = 0.1


class SegmentationLogic:
    """The module's logic on ``scene``, with the process that computes behind ``worker``.

    ``has_surfaces`` is False where the view makes the surfaces that 3D shows. Only one run goes on at a time; `status`
    says how far it is, and `listen` is told of every change.
    """

    def __init__(self, scene: Any, worker: WorkerClient, has_surfaces: bool = True) -> None:
        self.scene = scene
        self._has_surfaces = has_surfaces
        self._worker = worker
        self._tracker = RunTracker()
        self._files = ScanFiles()
        self._runner = SegmentationRunner(scene, worker, self._files, self._tracker, self._note_result)
        self._alignment, self._contents = Question(worker, "register"), Question(worker, "look")
        self.dicom_export = DicomExport(worker)
        self.fine_tuning, self.ranking = FineTuning(worker.launch), CaseRanking(worker.launch)
        self._latest: CaseNodes | None = None
        self._site: Path | None = None

    # --- models

    def bundles(self) -> list[Bundle]:
        """The installed models by name, and those of the site that is used."""
        own = [self._site / MODELS] if self._site else []
        return list_bundles([*own, *bundle_search_path()])

    def use_site(self, folder: str | Path | None) -> None:
        """List the models that were fine-tuned in this site folder among the others; None: of no site."""
        self._site = Path(folder) if folder else None

    def previous_model(self, bundle: Bundle) -> Bundle | None:
        """The model that ``bundle`` was fine-tuned from, where it is installed."""
        parent = bundle.metadata[SECTION].get("parent")
        return next((model for model in self.bundles() if model.sha256 == parent), None) if parent else None

    def bundle(self, name: str) -> Bundle:
        """The model called ``name``, or in that folder. Raises BundleError."""
        by_name = {bundle.name: bundle for bundle in self.bundles()}
        return by_name.get(name) or load_bundle(name)

    # --- scans

    def look_into(
        self,
        bundle: Bundle,
        volumes: Mapping[str, Any],
        answer: Callable[[Contents], None],
        scans: Mapping[str, Volume] = MappingProxyType({}),
    ) -> None:
        """Find out in the background what these volume nodes (by modality) show; ``scans`` are they in world space,
        where that is known. Only the last question is answered.

        Nobody has asked for it, so that what goes wrong on the way is not told: the run itself tells. Raises what
        `ScanFiles.of` raises.
        """
        inputs = {name: str(self._files.of(node, scans.get(name)).path) for name, node in volumes.items()}

        def on_answer(event: Done | Failed) -> None:
            if isinstance(event, Done):
                answer(Contents.from_json(event.result))

        self._contents.ask({"bundle": str(bundle.path), "inputs": inputs}, on_answer)

    def estimate_displacement(
        self, first: Any, second: Any, answer: Callable[[RigidRefinement | None, CrossModalSegError | None], None]
    ) -> None:
        """Find out in the background how far ``second`` is displaced against ``first``: ``answer(refinement, error)``
        is called with one of the two, or never where this is asked again. Raises what `ScanFiles.of` raises."""
        arguments = {"fixed": str(self._files.of(first).path), "moving": str(self._files.of(second).path)}

        def on_answer(event: Done | Failed) -> None:
            if isinstance(event, Done):
                answer(RigidRefinement.from_json(event.result), None)
            else:
                answer(None, CrossModalSegError(event.code, event.message, event.hint))

        self._alignment.ask(arguments, on_answer)

    def forget_questions(self) -> None:
        """What is being found out about scans no longer matters; their files go."""
        self._alignment.forget()
        self._contents.forget()
        if self.status.state is RunState.IDLE:
            self._files.forget()

    # --- runs

    @property
    def status(self) -> RunStatus:
        return self._tracker.status

    def listen(self, listener: Callable[[RunStatus], None]) -> None:
        """Call ``listener`` with the new status after every change, from the thread that works the worker's events."""
        self._tracker.listen(listener)

    def forget(self, listener: Callable[[RunStatus], None]) -> None:
        self._tracker.forget(listener)

    def start(self, volumes: Mapping[str, Any], bundle: Bundle, device: str = "auto") -> None:
        """Start to segment the volume nodes by modality; returns at once.

        An earlier result of the same scans and model is replaced when the new one is complete, unless it has been
        corrected: then it stays, and the new one is added beside it. Raises InputError ``no-scan``, ``same-scan`` or
        ``busy``.
        """
        _refuse_unusable(volumes)
        if self.status.state is not RunState.IDLE:
            raise InputError("busy", "a run is going on already", "wait for it, or cancel it")
        self._latest = None
        replaces = self._replaceable(volumes, bundle)
        self._runner.start(RunPlan(dict(volumes), bundle, device, replaces, self._has_surfaces))

    def segment(
        self, first: Any = None, second: Any = None, bundle: str | Bundle = STARTER_BUNDLE, device: str = "auto"
    ) -> CaseNodes:
        """Segment one or two volume nodes and wait for the result, for scripts.

        ``first`` and ``second`` are the model's first and second modality. Returns the new nodes. Raises the typed
        error that ended the run (`CrossModalSegLib.errors`).
        """
        model = bundle if isinstance(bundle, Bundle) else self.bundle(bundle)
        pair = zip(model.modalities, (first, second), strict=True)
        self.start({modality: node for modality, node in pair if node is not None}, model, device)
        while self.status.state is not RunState.IDLE:
            self._worker.wait(_POLL_SECONDS)
        if self._latest is None:
            raise self.status.error or InputError("cancelled", "the run was cancelled", "segment again")
        return self._latest

    def cancel(self, reason: str = "") -> None:
        """Stop the run that is going on, if any; the scene stays as it was. ``reason``: where it was not the user's
        wish."""
        self._runner.cancel(reason)

    def require_scans(self) -> None:
        """End the run that is going on where one of its scans has left the scene: it could not be shown any more."""
        self._runner.require_scans()

    def forget_outcome(self) -> None:
        """How the last run ended no longer matters: what it was about is gone."""
        self._tracker.forget_outcome()

    def close(self) -> None:
        """Stop everything and end the worker: the scene or the program is about to go."""
        self.forget_questions()
        self.dicom_export.close()
        self._runner.cancel()
        self._worker.close()
        self._files.forget()
        self.fine_tuning.close()
        self.ranking.close()

    # --- results

    def cases(self) -> list[CaseNodes]:
        """The results in the scene, oldest first, also those of a scene that was saved and loaded."""
        return find_cases(self.scene)

    def corrected_cases(self, volumes: Mapping[str, Any], bundle: Bundle) -> list[CaseNodes]:
        """Earlier results of the same scans and model that have been corrected by hand."""
        return [case for case in self._earlier(volumes, bundle) if case.is_corrected()]

    def is_unconfirmed(self, case: CaseNodes, folder: str | Path, author: str) -> bool:
        """Whether ``author`` has to confirm that the segmentations are right before they are saved: nobody has changed
        them. Raises InputError ``no-initials`` where somebody has to and there is no author; what `is_untouched`
        raises.
        """
        is_untouched = self.is_untouched(case, folder)
        if is_untouched:
            site_cases.require_author(author)
        return is_untouched

    def is_untouched(self, case: CaseNodes, folder: str | Path) -> bool:
        """Whether the segmentations of ``case`` are as the model, or the revision that was opened, has left them.

        Raises LabelError where they cannot be read, DataError where the site cannot.
        """
        store = CaseStore(Path(folder))
        origin = site_cases.origin_of(case, store)
        known = store.case(origin.case) if origin.case else None
        return site_cases.is_untouched(case, self._bundle_of(case).label_map, known, origin.revision)

    def save_correction(
        self, case: CaseNodes, folder: str | Path, author: str = "", is_confirmed: bool = False
    ) -> SavedCase:
        """Put the scans of ``case`` and its segmentations, as they are now, into the site folder.

        Where they were opened from there or saved before, this is the next revision after that one. What nobody has
        changed is no correction: it is saved only where ``author`` says that it is right as it is (``is_confirmed``),
        for a model must not learn its own output. Raises DataError ``untouched``, InputError ``no-initials``.
        """
        if is_confirmed:
            site_cases.require_author(author)
        elif self.is_untouched(case, folder):
            raise site_cases.untouched()
        store = CaseStore(Path(folder))
        origin = site_cases.origin_of(case, store)
        files = replace(site_cases.corrected_case(case, self._bundle_of(case)), case_id=origin.case)
        saved = store.save_correction(files, author, origin.revision)
        site_cases.note_saved(case, saved)
        return saved

    def export_dicom(self, case: CaseNodes, folder: Path, with_structure_set: bool, on_end: OnEnd) -> None:
        """Write ``case`` as it is now as DICOM objects into ``folder``; see `DicomExport.start`. Raises BundleError,
        too."""
        self.dicom_export.start(case, self._bundle_of(case), folder, with_structure_set, on_end)

    def add_unlabelled(self, volumes: Mapping[str, Any], bundle: Bundle, folder: str | Path) -> SavedCase:
        """Put scans without labels into the site folder, for training that learns from them too."""
        _refuse_unusable(volumes)
        return CaseStore(Path(folder)).add_unlabelled(site_cases.unlabelled_case(volumes, bundle))

    def same_scans_as(self, case_id: str, folder: str | Path) -> tuple[str, ...]:
        """Cases of other patients in the site folder that have a scan of this case. Raises DataError."""
        return CaseStore(Path(folder)).same_scans_as(case_id)

    # --- the site's cases

    def site_work(self, folder: str | Path, limit: int) -> site_cases.SiteWork | None:
        """What there is in the site folder, and the cases to correct next; None where it is no site yet. Raises
        DataError."""
        return site_cases.work(CaseStore(Path(folder)), limit)

    def open_site_case(self, case_id: str, bundle: Bundle, folder: str | Path) -> OpenedCase:
        """Load a case of the site folder into the scene, with its newest labels. Raises DataError, LabelError."""
        with one_render():
            return open_case(self.scene, CaseStore(Path(folder)).case(case_id), bundle, self._has_surfaces)

    def approve(self, case: CaseNodes, folder: str | Path, author: str = "") -> SiteCase:
        """Stand for the saved segmentations of ``case``. Raises DataError ``not-saved``, ``not-corrected``, InputError
        ``no-initials``."""
        site_cases.require_author(author)
        store = CaseStore(Path(folder))
        origin = site_cases.origin_of(case, store)
        if origin.revision is None:
            raise site_cases.not_saved()
        site_cases.require_saved(case, self._bundle_of(case).label_map, store.case(origin.case), origin.revision)
        return store.approve(origin.case, origin.revision, author)

    def _note_result(self, case: CaseNodes) -> None:
        self._latest = case

    def _earlier(self, volumes: Mapping[str, Any], bundle: Bundle) -> list[CaseNodes]:
        return [case for case in self.cases() if case.is_of(volumes, bundle)]

    def _replaceable(self, volumes: Mapping[str, Any], bundle: Bundle) -> CaseNodes | None:
        earlier = [case for case in self._earlier(volumes, bundle) if not case.is_corrected()]
        return earlier[-1] if earlier else None

    def _bundle_of(self, case: CaseNodes) -> Bundle:
        bundle = self.bundle(case.bundle_name)
        if bundle.sha256 != case.bundle_sha256:
            raise CrossModalSegError(
                "bundle-changed",
                f"{case.bundle_name} is not the model that made this result",
                "segment again with the model that is installed now",
            )
        return bundle


def _refuse_unusable(volumes: Mapping[str, Any]) -> None:
    if not volumes:
        raise InputError("no-scan", "no scan is chosen", "choose at least one scan")
    if len({node.GetID() for node in volumes.values()}) < len(volumes):
        name = next(iter(volumes.values())).GetName()
        raise InputError("same-scan", f"{name} is chosen twice", "choose two scans, or leave one empty")
