"""The section Scans: the model, which volume is which modality, and the preflight with its remedies."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trame_server import Server

from CrossModalSegApp.logic.case_examination import CaseExamination
from CrossModalSegApp.logic.case_selection import Check, candidates, suggest
from CrossModalSegApp.logic.logic import STARTER_BUNDLE, SegmentationLogic
from CrossModalSegApp.logic.wording import (
    SIGNS,
    model_facts,
    overlap_words,
    remedy_words,
    scan_facts,
    sentence,
    structure_names,
)
from CrossModalSegApp.process.run_state import RunState
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.site_cases import patient_key
from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.bundles.bundle_metadata import INTENDED_USE, SECTION

_SETTLE_SECONDS = 0.3  # after the last change, before the scans are looked at
_PLACES = ("first", "second")
_NOT_CHOSEN = "not chosen"
ORIGINAL_REFERENCE = "CrossModalSegWeb.original"  # of a scan that was aligned, to the one that it was made from


class ScansSection:
    """Keeps model and scans chosen and examined; what listens is called after each choice and each finding."""

    def __init__(self, server: Server, logic: SegmentationLogic, dialogs: Dialogs) -> None:
        self._logic = logic
        self._on_change: Callable[[], None] = lambda: None
        self._bundle: Bundle | None = None
        self._nodes: dict[str, Any] = dict.fromkeys(_PLACES)
        self._opened: list[Any] = []
        self._settling: asyncio.Task[None] | None = None
        self._state = PageState(
            server,
            "scans",
            models=[],
            model="",
            model_facts=[],
            description="",
            structures="",
            use=INTENDED_USE,
            volumes=[],
            places=[],
            facts=[],
            overlap="",
            notes=[],
            preview="",
            is_aligning=False,
            is_idle=True,
        )
        self._examination = CaseExamination(logic, self, self._on_finding, dialogs.show_error)
        self._state.on("model", self.choose_model)
        self._state.on("choose", self._choose_place)
        self._state.on("suggest", self.suggest)
        self._state.on("remedy", self._examination.apply)
        self._state.on("end_preview", self._end_preview)
        self.choose_model(STARTER_BUNDLE)

    def listen(self, on_change: Callable[[], None]) -> None:
        """Call ``on_change`` from here on."""
        self._on_change = on_change

    @property
    def bundle(self) -> Bundle | None:
        return self._bundle

    @property
    def volumes(self) -> dict[str, Any]:
        """The chosen volume nodes by modality."""
        if self._bundle is None:
            return {}
        pair = zip(self._bundle.modalities, self._nodes.values(), strict=True)
        return {modality: node for modality, node in pair if node is not None}

    @property
    def can_start(self) -> bool:
        return self._examination.can_start

    def choose(self, volumes: Mapping[str, Any]) -> None:
        """Choose these volume nodes by modality, and none for the others."""
        if self._bundle is not None:
            self._nodes = dict(zip(_PLACES, map(volumes.get, self._bundle.modalities), strict=True))
            self._changed()

    def choose_for(self, case: CaseNodes) -> None:
        """Choose the scans of a result, and its model where the chosen one does not know them."""
        if self._bundle is not None and not set(case.volumes) <= set(self._bundle.modalities):
            self.choose_model(case.bundle_name)
        if self.volumes != case.volumes:
            self.choose(case.volumes)

    def suggest(self) -> None:
        """Choose the scans that can be told by name or header."""
        if self._bundle is not None:
            self.choose(self.volumes | suggest(self._bundle, candidates(self._logic.scene)))

    def take_in(self, opened: Sequence[Any], named: Mapping[str, Any] | None = None) -> None:
        """Volume nodes have been opened: they are chosen, ``named`` by modality, else as their names and headers tell.

        A scan that was chosen before stays only where it is completed by them: where it was alone, of another kind, and
        not of another patient.
        """
        if self._bundle is None:
            return
        found = dict(named or suggest(self._bundle, opened))
        is_alone = len(self.volumes) < len(self._bundle.modalities)
        kept = self.volumes if is_alone and _of_one_patient([*self.volumes.values(), *opened]) else {}
        self._opened = list(opened)
        self.choose(kept | found)

    @property
    def shown(self) -> dict[str, Any]:
        """What there is to see by modality: the chosen volume nodes, else those that were opened last."""
        if self.volumes or self._bundle is None:
            return self.volumes
        known = candidates(self._logic.scene)
        opened = [node for node in self._opened if node in known]
        return {f"{_NOT_CHOSEN} ({number})": node for number, node in enumerate(opened[: len(_PLACES)], 1)}

    @property
    def reason(self) -> str:
        """Why nothing can be segmented; "" where it can."""
        if self._bundle is None:
            return "No model is installed."
        if not self.volumes:
            return "Choose which scan is which." if candidates(self._logic.scene) else "Open scans first."
        check = self._examination.check
        if check is None:
            return "The scans are being examined."
        if self._examination.is_previewing:
            return "Keep the alignment, or undo it."
        return next((note.message for note in check.notes if note.severity == "error"), "")

    def choose_model(self, name: str) -> None:
        """Choose the model called ``name``, or the first where there is none of this name."""
        bundles = self._logic.bundles()
        self._bundle = next((bundle for bundle in bundles if bundle.name == name), bundles[0] if bundles else None)
        self._state.show(models=[{"name": one.name, "title": f"{one.name} {one.version}"} for one in bundles])
        self._changed()

    def list_models(self) -> None:
        """Read the list of models again, and keep the one that is chosen."""
        self.choose_model(self._bundle.name if self._bundle else STARTER_BUNDLE)

    def show_running(self, is_idle: bool) -> None:
        """While a run goes on, nothing can be chosen."""
        self._state.show(is_idle=is_idle)

    def _choose_place(self, place: str, node_id: str) -> None:
        if place in _PLACES:
            known = {node.GetID(): node for node in candidates(self._logic.scene)}
            self._nodes[place] = known.get(node_id)
            self._changed()

    def _end_preview(self, keep: bool) -> None:
        """Keep: the second scan as it is shown becomes a scan of its own, under no transform.

        trame-slicer's tools paint where a scan would lie without its transform.
        """
        if not keep or len(self.volumes) < 2:
            self._examination.end_preview(keep=False)
            return
        second = list(self.volumes)[1]
        original = self.volumes[second]
        aligned = self._logic.harden_copy(original)
        aligned.SetNodeReferenceID(ORIGINAL_REFERENCE, original.GetID())
        self._examination.end_preview(keep=False)
        self.choose({**self.volumes, second: aligned})

    def _changed(self) -> None:
        """What was found out no longer holds; it is looked at again when the choice has settled."""
        if self._examination.is_outdated:
            self._examination.forget()
            self._settle()
        self._render()

    def _on_finding(self) -> None:
        """From the worker, or by a click."""
        self._changed()

    def _settle(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
        self._settling = None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the page is still being made; `examine` is called when it is there
            return
        self._settling = loop.create_task(self._examine_soon())

    async def _examine_soon(self) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        self._settling = None
        self.examine()

    def examine(self) -> None:
        """Look at the scans now."""
        with self._state.flushed():
            self._examination.examine()

    def _render(self) -> None:
        bundle, check = self._bundle, self._examination.check
        self._state.show(
            volumes=[{"id": node.GetID(), "name": node.GetName()} for node in candidates(self._logic.scene)],
            places=_places(bundle, self._nodes),
            facts=scan_facts(check) if check else [],
            overlap=overlap_words(check) if check else "",
            notes=_notes(check),
            preview=self._examination.preview_words,
            is_aligning=self._examination.is_aligning,
            is_idle=self._logic.status.state is RunState.IDLE,
            **_about(bundle),
        )
        self._on_change()


def _about(bundle: Bundle | None) -> dict[str, Any]:
    if bundle is None:
        return {"model": "", "model_facts": [], "description": "No model is installed.", "structures": ""}
    return {
        "model": bundle.name,
        "model_facts": model_facts(bundle),
        "description": bundle.metadata["description"],
        "structures": structure_names(bundle),
        "use": bundle.metadata[SECTION]["intended_use"],
    }


def _places(bundle: Bundle | None, nodes: Mapping[str, Any]) -> list[dict[str, str]]:
    if bundle is None:
        return []
    places = []
    for modality, (place, node) in zip(bundle.modalities, nodes.items(), strict=True):
        aliases = ", ".join(bundle.modality_aliases.get(modality, []))
        node_id = node.GetID() if node is not None else ""
        places.append({"place": place, "modality": modality, "aliases": aliases, "id": node_id})
    return places


def _notes(check: Check | None) -> list[dict[str, str]]:
    return [
        {
            "severity": note.severity,
            "code": note.code,
            "text": f"{SIGNS[note.severity]} {note.message}",
            "hint": sentence(note.hint),
            "remedy": note.remedy or "",
            "remedy_words": remedy_words(note.remedy) if note.remedy else "",
        }
        for note in (check.notes if check else ())
    ]


def _of_one_patient(nodes: Sequence[Any]) -> bool:
    """Whether their headers do not say otherwise."""
    return len({key for key in map(patient_key, nodes) if key}) <= 1
