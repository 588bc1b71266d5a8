"""The section of the scans: the model, which volume is which modality, and the preflight with its remedies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from CrossModalSegApp.logic.case_examination import CaseExamination
from CrossModalSegApp.logic.case_selection import Check, Remedy, candidates, suggest
from CrossModalSegApp.logic.logic import STARTER_BUNDLE, SegmentationLogic
from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.logic.wording import SIGNS, sentence
from CrossModalSegApp.scene.case_nodes import ORIGINAL_REFERENCE
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.scene_io import harden_copy
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.bundles.bundle_library import import_bundle, is_removable, remove_bundle
from CrossModalSegLib.bundles.bundle_metadata import INTENDED_USE, SECTION

PLACES = ("first", "second")


class ChoiceStore(Protocol):
    """Where the choice is kept."""

    model: str

    def scans(self) -> tuple[Any, Any]:
        """The volume nodes in the two places, None for an empty one."""

    def put(self, first: Any, second: Any) -> None:
        """Choose both at once, so that no view sees one scan chosen twice."""


@dataclass
class MemoryStore:
    """A choice that nobody else sees."""

    model: str = STARTER_BUNDLE
    pair: tuple[Any, Any] = (None, None)

    def scans(self) -> tuple[Any, Any]:
        return self.pair

    def put(self, first: Any, second: Any) -> None:
        self.pair = first, second


@dataclass(frozen=True)
class Place:
    """One of the model's modalities, other names for it, and the id of the volume that is chosen for it."""

    place: str
    modality: str
    aliases: str
    id: str


@dataclass(frozen=True)
class NoteRow:
    """Something to be careful about, and what one click can do about it; "" where nothing can."""

    severity: str
    text: str
    hint: str
    remedy: str
    remedy_words: str


@dataclass(frozen=True)
class ScansSectionState:
    """``models`` and ``volumes``: what can be chosen, as (name or id, title). ``reason``: why nothing can be
    segmented."""

    models: tuple[tuple[str, str], ...]
    model: str
    can_remove: bool
    description: str
    model_facts: tuple[tuple[str, str], ...]
    structures: str
    use: str
    places: tuple[Place, ...]
    volumes: tuple[tuple[str, str], ...]
    reason: str
    facts: tuple[tuple[str, str], ...]
    overlap: str
    notes: tuple[NoteRow, ...]
    is_aligning: bool
    preview: str


class ScansPresenter(Presenter):
    """Keeps model and scans of a `ChoiceStore` examined, from `open` to `close`.

    ``settle`` is called when something else is chosen: a moment after the last time, `examine` is to be called. With
    ``copies``, an alignment that is kept becomes a scan of its own, under no transform.
    """

    def __init__(self, logic: SegmentationLogic, host: Host, settle: Callable[[], None], copies: bool = False):
        super().__init__(host)
        self._logic, self._settle, self._copies = logic, settle, copies
        self._store: ChoiceStore | None = None
        self._bundles: list[Bundle] = []
        self.bundle: Bundle | None = None
        self._examination = CaseExamination(logic, self, self._on_finding, host.dialogs.show_error)

    # --- what is shown

    @property
    def state(self) -> ScansSectionState:
        bundle, check = self.bundle, self._examination.check
        return ScansSectionState(
            models=tuple((one.name, f"{one.name} {one.version}") for one in self._bundles),
            model=bundle.name if bundle else "",
            can_remove=bundle is not None and is_removable(bundle),
            description=bundle.metadata["description"] if bundle else _("No model is installed. Import one."),
            model_facts=_model_facts(bundle) if bundle else (),
            structures=", ".join(one.name for one in bundle.label_map.structures) if bundle else "",
            use=bundle.metadata[SECTION]["intended_use"] if bundle else INTENDED_USE,
            places=self._places(),
            volumes=tuple((node.GetID(), node.GetName()) for node in candidates(self._logic.scene)),
            reason=self.reason,
            facts=_scan_facts(check) if check else (),
            overlap=_overlap(check) if check else "",
            notes=_notes(check) if check else (),
            is_aligning=self._examination.is_aligning,
            preview=self._examination.preview_words,
        )

    @property
    def volumes(self) -> dict[str, Any]:
        """The chosen volume nodes by modality."""
        if self._store is None or self.bundle is None:
            return {}
        pair = zip(self.bundle.modalities, self._store.scans(), strict=True)
        return {modality: node for modality, node in pair if node is not None}

    @property
    def can_start(self) -> bool:
        return self._store is not None and self._examination.can_start

    @property
    def reason(self) -> str:
        """Why nothing can be segmented; "" where it can."""
        if self.bundle is None:
            return _("No model is installed.")
        if not self.volumes:
            is_there = bool(candidates(self._logic.scene))
            return _("Choose one or two scans of one patient.") if is_there else _("Open scans first.")
        check = self._examination.check
        if check is None:
            return _("The scans are being examined.")
        if self._examination.is_previewing:
            return _("Keep the alignment, or undo it.")
        return next((note.message for note in check.notes if note.severity == "error"), "")

    # --- from when to when

    def open(self, store: ChoiceStore) -> None:
        """Show what ``store`` holds; scans that can be told by name are filled in where none is chosen."""
        self._examination.reset()
        self._store = store
        self.list_models()
        if not self.volumes:
            self.suggest()
        self.choice_changed()

    def close(self) -> None:
        """Let go of the scene. An alignment that is only previewed is undone."""
        self._end_preview(keep=False)
        self._store = None
        self._examination.reset()
        self.changed()

    # --- what is chosen

    def list_models(self, choose: str = "") -> None:
        """Read the list of models again; the chosen one stays, unless ``choose`` names another."""
        if self._store is not None:
            self._bundles = self._logic.bundles()
            self.choose_model(choose or self._store.model)

    def choose_model(self, name: str) -> None:
        """Choose the model called ``name``; where there is none of this name, the first is used without being
        chosen."""
        known = {bundle.name: bundle for bundle in self._bundles}
        if self._store is not None:
            self.bundle = known.get(name) or next(iter(self._bundles), None)
            self._store.model = name if name in known else self._store.model
            self.choice_changed()

    def import_model(self, path: Path) -> None:
        """Install the model in a folder or zip file, and choose it."""
        bundle = self._tried(lambda: import_bundle(path))
        if bundle is not None:
            self.list_models(bundle.name)

    def remove_model(self) -> None:
        """Delete the chosen model, after asking."""
        bundle = self.bundle
        if bundle is not None:
            question = _("Delete the model {name}?").format(name=bundle.name)
            self._host.dialogs.ask(question, _("Delete"), lambda: self._remove(bundle.name))

    def choose(self, volumes: Mapping[str, Any]) -> None:
        """Choose these volume nodes by modality, and none for the others."""
        if self._store is not None and self.bundle is not None:
            first, second = map(volumes.get, self.bundle.modalities)
            self._store.put(first, second)
            self.choice_changed()

    def choose_place(self, place: str, node_id: str) -> None:
        """Choose the volume with this id for a place; none where there is no such."""
        known = {node.GetID(): node for node in candidates(self._logic.scene)}
        if self.bundle is not None and place in PLACES:
            modality = self.bundle.modalities[PLACES.index(place)]
            self.choose({**self.volumes, modality: known.get(node_id)})

    def suggest(self, only: frozenset[str] = frozenset()) -> None:
        """Choose the scans that can be told by name; with ``only``, just these node ids, for places left empty."""
        if self._store is None or self.bundle is None:
            return
        found, chosen = suggest(self.bundle, candidates(self._logic.scene)), self.volumes
        if only:
            found = {name: node for name, node in found.items() if node.GetID() in only and name not in chosen}
        if found:
            self.choose(chosen | found)

    def drop_node(self, node: Any) -> None:
        """A node is about to leave the scene: where it is chosen, its place becomes empty."""
        if self._store is not None and any(one is node for one in self._store.scans()):
            first, second = (None if one is node else one for one in self._store.scans())
            self._store.put(first, second)

    def choice_changed(self) -> None:
        """Something else may be chosen, or lie elsewhere: then it is looked at again, once it has settled."""
        if self._store is not None and self._examination.is_outdated:
            self.look_again()
        else:
            self.changed()

    def look_again(self) -> None:
        """What was found out no longer holds."""
        self._examination.forget()
        self._settle()
        self.changed()

    def examine(self) -> None:
        """Look at the scans now."""
        if self._store is not None:
            self._examination.examine()

    # --- remedies

    def apply(self, remedy: Remedy) -> None:
        """Do what a note offers."""
        self._examination.apply(remedy)

    def keep_alignment(self) -> None:
        """The alignment that is previewed is right."""
        second = list(self.volumes)[1:]
        if not self._copies or not second:
            self._end_preview(keep=True)
            return
        original = self.volumes[second[0]]
        aligned = harden_copy(original)
        aligned.SetNodeReferenceID(ORIGINAL_REFERENCE, original.GetID())
        self._end_preview(keep=False)
        self.choose({**self.volumes, second[0]: aligned})

    def undo_alignment(self) -> None:
        """Put the second scan back where it was."""
        self._end_preview(keep=False)

    def _end_preview(self, keep: bool) -> None:
        with one_render():  # the scan where it belongs, and the former views
            self._examination.end_preview(keep)

    def _on_finding(self) -> None:
        """A preflight has come, or an alignment is shown, kept or undone: then the scans lie elsewhere."""
        self.choice_changed()

    def _remove(self, name: str) -> None:
        self._tried(lambda: remove_bundle(name))
        self.list_models()

    def _places(self) -> tuple[Place, ...]:
        bundle = self.bundle
        if bundle is None:
            return ()
        pair = self._store.scans() if self._store is not None else (None, None)
        return tuple(
            Place(
                place, name, ", ".join(bundle.modality_aliases.get(name, [])), node.GetID() if node is not None else ""
            )
            for place, name, node in zip(PLACES, bundle.modalities, pair, strict=True)
        )


def _model_facts(bundle: Bundle) -> tuple[tuple[str, str], ...]:
    """(title, content) of each thing that a user should know of a model."""
    section, unknown = bundle.metadata[SECTION], _("not stated")
    return (
        (_("Scans"), _(" and ").join(bundle.modalities)),
        (_("Structures"), f"{len(bundle.label_map.values)}"),
        (_("Trained on"), _training(section["training"]) or unknown),
        (_("Scores"), _scores(section["scores"]) or unknown),
        (_("Licence"), section["licence"]),
        (_("Date"), section.get("created") or unknown),
        (_("Fine-tuned from"), (section.get("parent") or "")[:12] or _("no other model")),
    )


def _training(facts: Mapping[str, Any]) -> str:
    plain = [f"{value} {name}" for name, value in facts.items() if isinstance(value, int | float)]
    return ", ".join(filter(None, [facts.get("data", ""), *plain]))


def _scores(scores: Mapping[str, Any]) -> str:
    """The mean of each table of scores, such as "validation Dice 0.67"."""
    tables = {name: list(table.values()) for name, table in scores.items() if isinstance(table, dict) and table}
    numbers = {name: [one for one in table if isinstance(one, int | float)] for name, table in tables.items()}
    return ", ".join(f"{name} {sum(found) / len(found):.2f}" for name, found in numbers.items() if found)


def _scan_facts(check: Check) -> tuple[tuple[str, str], ...]:
    """(modality, size, spacing, tilt and transform) of each scan; nothing where one cannot be read."""
    facts = []
    for volume in check.preflight.volumes if check.preflight else ():
        size = " × ".join(str(n) for n in volume.shape_ijk)
        spacing = " × ".join(f"{length:.2g}" for length in volume.spacing_mm)
        tilt = _("tilted by {degrees:.0f}°").format(degrees=volume.obliquity_degrees)
        facts.append((volume.modality, f"{size}, {spacing} mm, {tilt}, {_(check.transforms[volume.modality])}"))
    return tuple(facts)


def _overlap(check: Check) -> str:
    """How much of one field of view the other covers; "" where that is not known."""
    percent = check.preflight.field_of_view_overlap_percent if check.preflight else None
    return "" if percent is None else _("Overlap of the fields of view: {percent:.0f} %").format(percent=percent)


def _notes(check: Check) -> tuple[NoteRow, ...]:
    words = {
        "swap": _("Swap"),
        "clear-second": _("Leave the second empty"),
        "harden-first": _("Harden a copy"),
        "harden-second": _("Harden a copy"),
        "refine": _("Align…"),
    }
    return tuple(
        NoteRow(
            severity=note.severity,
            text=f"{SIGNS[note.severity]} {note.message}",
            hint=sentence(note.hint),
            remedy=note.remedy or "",
            remedy_words=words[note.remedy] if note.remedy else "",
        )
        for note in check.notes
    )
