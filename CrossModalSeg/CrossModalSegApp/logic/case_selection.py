"""The scans of a case: which volume of the scene is which modality, and what to be careful about before a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import ROLE_ATTRIBUTE
from CrossModalSegApp.scene.node_geometry import parent_transform_kind
from CrossModalSegApp.scene.scene_io import world_volume
from CrossModalSegApp.scene.scene_nodes import nodes_of_class
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.content_findings import Contents, name_findings
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.modality_guess import ScanDescription, assign
from CrossModalSegLib.imaging.preflight import Preflight, examine
from CrossModalSegLib.imaging.volume import Volume

Remedy = Literal["swap", "clear-second", "harden-first", "harden-second", "refine"]

_REMEDY_OF: Mapping[str, Remedy] = {
    "anatomy-apart": "refine",
    "displaced": "refine",
    "low-overlap": "refine",
    "modality-doubt": "swap",
    "same-image": "clear-second",
}
_TRANSFORM_WORDS = {
    "none": "no transform",
    "linear": "linear transform, applied",
    "sheared": "sheared transform",
    "non-linear": "non-linear transform",
}


@dataclass(frozen=True)
class Note:
    """One line of the preflight card; ``remedy`` is what one click can do about it, None where nothing can."""

    severity: Literal["info", "warning", "error"]
    code: str
    message: str
    hint: str
    remedy: Remedy | None = None


@dataclass(frozen=True)
class Check:
    """What the preflight says: ``preflight`` is None where a scan cannot be read; ``notes`` come most severe first."""

    preflight: Preflight | None
    transforms: dict[str, str]
    notes: tuple[Note, ...]

    def with_contents(self, contents: Contents) -> "Check":
        """The same with what the worker has found out about the scans."""
        found = [_note(one, len(self.transforms)) for one in contents.findings]
        return replace(self, notes=_most_severe_first([*found, *self.notes]))

    @property
    def allows_run(self) -> bool:
        return bool(self.transforms) and not any(note.severity == "error" for note in self.notes)


def candidates(scene: Any) -> list[Any]:
    """Scalar volumes of ``scene`` that a user may choose: neither label maps, nor hidden, nor results of ours."""
    return [node for node in nodes_of_class(scene, "vtkMRMLScalarVolumeNode") if _is_scan(node)]


def own_volumes(scene: Any) -> list[Any]:
    """Scalar volumes of ``scene`` that this module has made, such as uncertainty: no scans."""
    return [node for node in nodes_of_class(scene, "vtkMRMLScalarVolumeNode") if node.GetAttribute(ROLE_ATTRIBUTE)]


def suggest(bundle: Bundle, nodes: Sequence[Any]) -> dict[str, Any]:
    """The volume node for each modality of ``bundle`` that can be told from DICOM modality, description or name."""
    found = assign(bundle.modalities, bundle.modality_aliases, [describe(node) for node in nodes])
    return {modality: nodes[index] for modality, index in found.items()}


def describe(node: Any) -> ScanDescription:
    """What ``node`` is called in the scene and in the subject hierarchy, and its DICOM modality where known."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
    if not item:
        return ScanDescription((node.GetName() or "",))
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    modality = hierarchy.GetItemAttribute(item, constants.GetDICOMSeriesModalityAttributeName())
    return ScanDescription((node.GetName() or "", hierarchy.GetItemName(item)), modality)


def check(bundle: Bundle, volumes: Mapping[str, Any]) -> tuple[Check, dict[str, Volume]]:
    """Preflight of the chosen volume nodes by modality, and the scans that it has read, in world space.

    Never raises for a scan that cannot be used, but notes it.
    """
    notes: list[Note] = []
    findings: list[Finding] = []
    scans: dict[str, Volume] = {}
    kinds: dict[str, str] = {}
    for modality, node in volumes.items():
        kinds[modality] = "none"
        try:
            kinds[modality] = parent_transform_kind(node)
            scans[modality] = world_volume(node, modality)
        except CrossModalSegError as error:
            notes.append(Note("error", error.code, f"{modality} ({node.GetName()}): {error.message}", error.hint))
        called = describe(node)
        findings += name_findings(modality, node.GetName(), called, bundle.modalities, bundle.modality_aliases)
        notes += _transform_notes(bundle, modality, kinds[modality])
    preflight = examine(list(scans.values())) if scans and len(scans) == len(volumes) else None
    if preflight:
        findings += preflight.findings
    notes += [_note(one, len(volumes)) for one in findings]
    notes += _twice_notes(volumes)
    notes += _own_notes(volumes)
    notes += _missing_notes(bundle, volumes)
    transforms = {modality: _TRANSFORM_WORDS[kind] for modality, kind in kinds.items()}
    return Check(preflight, transforms, _most_severe_first(notes)), scans


def _most_severe_first(notes: Sequence[Note]) -> tuple[Note, ...]:
    return tuple(sorted(notes, key=lambda note: ("error", "warning", "info").index(note.severity)))


def _is_scan(node: Any) -> bool:
    if node.IsA("vtkMRMLLabelMapVolumeNode") or node.GetHideFromEditors() or node.GetAttribute(ROLE_ATTRIBUTE):
        return False
    return node.GetImageData() is not None


def _note(finding: Finding, scans: int) -> Note:
    """With a click that puts it right where there are two scans, and it is more than an information."""
    remedy = _REMEDY_OF.get(finding.code) if scans > 1 and finding.severity != "info" else None
    return Note(finding.severity, finding.code, finding.message, finding.remedy, remedy)


def _transform_notes(bundle: Bundle, modality: str, kind: str) -> list[Note]:
    if kind not in ("sheared", "non-linear"):
        return []
    which: Remedy = "harden-first" if modality == bundle.modalities[0] else "harden-second"
    message = _("{modality} lies under a {kind} transform: it is resampled for the model, and the result bent back.")
    hint = _("harden a copy to segment it where it is shown, without bending")
    return [Note("info", "warped", message.format(modality=modality, kind=_(kind)), hint, which)]


def _twice_notes(volumes: Mapping[str, Any]) -> list[Note]:
    if len({node.GetID() for node in volumes.values()}) == len(volumes):
        return []
    message = _("{scan} is chosen twice.").format(scan=next(iter(volumes.values())).GetName())
    return [Note("error", "same-scan", message, _("choose two scans, or leave one place empty"), "clear-second")]


def _own_notes(volumes: Mapping[str, Any]) -> list[Note]:
    own = [node.GetName() for node in volumes.values() if node.GetAttribute(ROLE_ATTRIBUTE)]
    words, hint = _("{scan} was made by this module."), _("choose the scan itself")
    return [Note("error", "not-a-scan", words.format(scan=name), hint) for name in own]


def _missing_notes(bundle: Bundle, volumes: Mapping[str, Any]) -> list[Note]:
    missing = [modality for modality in bundle.modalities if modality not in volumes]
    if not volumes or not missing:
        return []
    if bundle.requires_both:
        message = _("{model} needs both scans; {missing} is not chosen.").format(model=bundle.name, missing=missing[0])
        return [Note("error", "scan-missing", message, _("choose it, or use a model that can do with one scan"))]
    message = _("Without {missing}, {modality} is segmented alone.")
    hint = _("expect a less certain result, and no agreement between two scans to judge it by")
    return [Note("info", "one-scan", message.format(missing=missing[0], modality=next(iter(volumes))), hint)]
