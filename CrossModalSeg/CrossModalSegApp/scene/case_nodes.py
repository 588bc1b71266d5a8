"""The nodes that belong to one result, found again in any scene, also one that was saved and loaded.

Every node of a result says so itself: attributes name the run, its role in it, the modality and the model; references
lead to the scans.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.review import ReviewList
from CrossModalSegApp.scene.scene_nodes import nodes_of_class
from CrossModalSegApp.scene.segmentation_labels import differs_around, is_corrected, segment_labels
from CrossModalSegApp.scene.segmentation_nodes import CLOSED_SURFACE, create_surfaces
from CrossModalSegApp.scene.subject_tree import remove
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.labels import LabelMap

ROLE_ATTRIBUTE = "CrossModalSeg.role"  # "segmentation", "model", "uncertainty", "table", "review"
RUN_ATTRIBUTE = "CrossModalSeg.run"
VOLUME_REFERENCE = "CrossModalSeg.volume"
ORIGINAL_REFERENCE = "CrossModalSegWeb.original"  # of a scan that was aligned, to the one that it was made from
_ABOUT_ATTRIBUTE = "CrossModalSeg.about"  # JSON of `About`
_MODALITY_ATTRIBUTE = "CrossModalSeg.modality"


@dataclass(frozen=True)
class About:
    """What a result is: of which run and model, made when (ISO 8601, local time), and what the run had to say."""

    run_id: str
    bundle_name: str
    bundle_sha256: str
    created: str
    notice: str
    modalities: tuple[str, ...]


@dataclass
class CaseNodes:
    """The nodes of one result by modality, in the order the scans were given in; what was removed is missing.

    ``volumes`` are the scans, ``segmentations`` the results to correct, ``models`` the model's own results, which stay
    as they are, ``uncertainties`` volumes in percent; ``table`` and ``review`` are of the whole case.
    """

    about: About
    volumes: dict[str, Any] = field(default_factory=dict)
    segmentations: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    uncertainties: dict[str, Any] = field(default_factory=dict)
    table: Any = None
    review: ReviewList | None = None

    def has_model_s_own(self, modality: str) -> bool:
        """Whether a scan is there with its result and the model's own: then it is known what was drawn."""
        return all(modality in nodes for nodes in (self.models, self.segmentations, self.volumes))

    @property
    def run_id(self) -> str:
        return self.about.run_id

    @property
    def bundle_name(self) -> str:
        return self.about.bundle_name

    @property
    def bundle_sha256(self) -> str:
        return self.about.bundle_sha256

    @property
    def notice(self) -> str:
        """What the run had to say: the device, and what did not go as usual."""
        return self.about.notice

    @property
    def title(self) -> str:
        """Scans, model and time, to tell results apart."""
        scans = " + ".join(node.GetName() for node in self.volumes.values()) or "scans removed"
        return f"{scans}, {self.bundle_name}, {self.about.created[11:16]}"

    @property
    def identity(self) -> tuple[Any, ...]:
        """Changes with any node of the result or scan that comes, goes or gets another name, and with nothing else."""
        by_modality = (self.volumes, self.segmentations, self.models, self.uncertainties)
        ids = [(modality, node.GetID()) for nodes in by_modality for modality, node in nodes.items()]
        review = self.review.table if self.review is not None else None
        tables = [node.GetID() for node in (self.table, review) if node is not None]
        return self.run_id, self.title, *ids, *tables

    def rows(self) -> tuple[Any, ...]:
        """The arguments of `TwoModalityLayout.enter`: first scan, second scan or None, segmentations."""
        first, second, *_ = [*self.volumes.values(), None, None]
        return first, second, *self.segmentations.values()

    def labels(self, modality: str, label_map: LabelMap) -> np.ndarray:
        """Label values (K, J, I) of a modality's segmentation as it is now, on its scan's own grid; see
        `segment_labels`."""
        return segment_labels(self.segmentations[modality], self.volumes[modality], label_map)

    def is_of(self, volumes: Mapping[str, Any], bundle: Bundle) -> bool:
        """Whether this is a result of ``bundle`` for exactly these scans by modality."""
        own = {modality: node.GetID() for modality, node in self.volumes.items()}
        same_scans = own == {modality: node.GetID() for modality, node in volumes.items()}
        return same_scans and self.bundle_sha256 == bundle.sha256

    def is_corrected(self) -> bool:
        """Whether any segmentation differs from the model's own result, or can no longer be compared with it."""
        return any(
            modality not in self.models or is_corrected(node, self.models[modality])
            for modality, node in self.segmentations.items()
        )

    def is_corrected_at(self, modalities: Iterable[str], place: Sequence[float], radius_mm: float) -> bool:
        """Whether a segmentation of these modalities differs from the model's own around ``place`` (RAS, mm)."""
        return any(
            differs_around(self.segmentations[name], self.models[name], place, radius_mm)
            for name in modalities
            if name in self.segmentations and name in self.models
        )

    def restore(self, modality: str) -> None:
        """Make the segmentation of ``modality`` the model's own result again. Raises KeyError where that is gone."""
        node = self.segmentations[modality]
        had_surfaces = node.GetSegmentation().ContainsRepresentation(CLOSED_SURFACE)
        with one_render():
            node.GetSegmentation().DeepCopy(self.models[modality].GetSegmentation())
            if had_surfaces:
                create_surfaces(node)

    def remove(self) -> None:
        """Take all nodes of the result, not the scans, out of the scene."""
        reviews = [self.review.table] if self.review is not None else []
        for node in (*self.segmentations.values(), *self.models.values(), *self.uncertainties.values()):
            remove(node)
        for node in (self.table, *reviews):
            if node is not None:
                remove(node)


def mark(node: Any, role: str, about: About, modality: str = "", volume_node: Any = None) -> None:
    """Note on ``node`` what it is in the result ``about``, and which scan it is of."""
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    node.SetAttribute(RUN_ATTRIBUTE, about.run_id)
    node.SetAttribute(_ABOUT_ATTRIBUTE, json.dumps(about.__dict__))
    if modality:
        node.SetAttribute(_MODALITY_ATTRIBUTE, modality)
        node.SetNodeReferenceID(VOLUME_REFERENCE, volume_node.GetID())


def find_cases(scene: Any) -> list[CaseNodes]:
    """The results in ``scene`` that still have a segmentation, oldest first."""
    members = defaultdict(list)
    for class_name in ("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode", "vtkMRMLTableNode"):
        for node in nodes_of_class(scene, class_name):
            if node.GetAttribute(ROLE_ATTRIBUTE) and node.GetAttribute(_ABOUT_ATTRIBUTE):
                members[node.GetAttribute(RUN_ATTRIBUTE)].append(node)
    cases = [_case(nodes) for nodes in members.values()]
    return sorted((case for case in cases if case.segmentations), key=lambda case: case.about.created)


def _case(nodes: list[Any]) -> CaseNodes:
    entry = json.loads(nodes[0].GetAttribute(_ABOUT_ATTRIBUTE))
    case = CaseNodes(About(**entry | {"modalities": tuple(entry["modalities"])}))
    by_modality = {"segmentation": case.segmentations, "model": case.models, "uncertainty": case.uncertainties}
    order = {modality: place for place, modality in enumerate(case.about.modalities)}
    for node in sorted(nodes, key=lambda node: order.get(node.GetAttribute(_MODALITY_ATTRIBUTE), len(order))):
        role, modality = node.GetAttribute(ROLE_ATTRIBUTE), node.GetAttribute(_MODALITY_ATTRIBUTE)
        if role in by_modality:
            by_modality[role][modality] = node
            volume = node.GetNodeReference(VOLUME_REFERENCE)
            if volume is not None:
                case.volumes[modality] = volume
        elif role == "table":
            case.table = node
        elif role == "review":
            case.review = ReviewList(node)
    return case
