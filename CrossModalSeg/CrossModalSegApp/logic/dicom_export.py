"""A result of the scene as DICOM objects, written by the worker in the background."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from CrossModalSegApp.process.question import Question
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.case_nodes import ORIGINAL_REFERENCE, CaseNodes
from CrossModalSegApp.scene.dicom_source import source_files, why_no_source
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.result_table import figures_of
from CrossModalSegApp.scene.segmentation_labels import is_corrected
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError, InputError, OutputError
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.pacs.label_export import ShownScan
from CrossModalSegLib.protocol import Done, Failed
from CrossModalSegLib.temporary import new_temporary_folder

OnEnd = Callable[[CrossModalSegError | None], None]


class DicomExport:
    """Exports one result after another; ``is_running`` until the last one has ended."""

    def __init__(self, worker: WorkerClient):
        self._question = Question(worker, "export")
        self._folder: Path | None = None  # of the labels, for the worker

    @property
    def is_running(self) -> bool:
        return self._folder is not None

    def start(self, case: CaseNodes, bundle: Bundle, output: Path, with_structure_set: bool, on_end: OnEnd) -> None:
        """Write the objects of ``case`` as it is now into the folder ``output``, which is empty or not there, with RT
        Structure Sets where ``with_structure_set``; returns at once. ``on_end`` is called later, with what went wrong
        if something did.

        Raises InputError ``busy`` or ``not-dicom``, LabelError where segments overlap or are not of the model,
        OutputError ``cannot-write``.
        """
        if self.is_running:
            raise InputError("busy", "a result is being exported already", "wait for it")
        scans = {name: _shown(case, name, bundle.label_map) for name in exported_scans(case)}
        self._folder = folder = new_temporary_folder()
        try:
            entries = {name: scan.to_json(folder, name) for name, scan in scans.items()}
        except OSError as error:
            self._end()
            raise OutputError("cannot-write", f"{folder}: {error.strerror or error}", "free some space") from error
        arguments = {
            "bundle": str(bundle.path),
            "scans": entries,
            "output": str(output),
            "structure_set": with_structure_set,
        }

        def on_answer(event: Done | Failed) -> None:
            self._end()
            failed = isinstance(event, Failed)
            on_end(CrossModalSegError(event.code, event.message, event.hint) if failed else None)

        self._question.ask(arguments, on_answer)

    def close(self) -> None:
        """Whatever is still on its way no longer matters."""
        self._question.forget()
        self._end()

    def _end(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None


def why_not(case: CaseNodes) -> str:
    """Why ``case`` cannot be exported, "" where it can, as far as that is seen without a look at files."""
    scans = exported_scans(case)
    if not scans:
        return "The scans of this result were removed."
    for node in scans.values():
        if why := why_no_source(node):
            return f"{node.GetName()}: {why}."
    return ""


def exported_scans(case: CaseNodes) -> Mapping[str, Any]:
    """By modality, the scans that have a segmentation, as they were opened: an aligned copy has the same voxels."""
    scans = {name: case.volumes[name] for name in case.segmentations if name in case.volumes}
    return {name: node.GetNodeReference(ORIGINAL_REFERENCE) or node for name, node in scans.items()}


def _shown(case: CaseNodes, name: str, label_map: LabelMap) -> ShownScan:
    node, own = exported_scans(case)[name], case.models.get(name)
    confidence, agreement = figures_of(case.table, name)
    values = {structure.name: structure.value for structure in label_map.structures}
    return ShownScan(
        files=source_files(node),
        labels=case.labels(name, label_map),
        grid=local_grid(node),
        is_corrected=own is None or is_corrected(case.segmentations[name], own),
        confidence={values[one]: value for one, value in confidence.items() if one in values},
        agreement={values[one]: value for one, value in agreement.items() if one in values},
    )
