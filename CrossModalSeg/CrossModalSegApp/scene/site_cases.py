"""Cases for the site's own training: a corrected result, or scans without labels, out of the scene into a folder."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.node_geometry import parent_transform_kind
from CrossModalSegApp.scene.scene_io import world_volume
from CrossModalSegApp.scene.segmentation_labels import segment_labels
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import DataError, GeometryError, InputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.case_files import CaseFiles, SavedCase
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.cases import STATUSES, SiteCase
from CrossModalSegLib.site.finetune_base import learnt_patients
from CrossModalSegLib.site.folder import SITE_FILE
from CrossModalSegLib.site.work_list import WorkItem, read_ranking, work_list

ORIGIN_ATTRIBUTE = "CrossModalSeg.site"  # on scans and segmentations: JSON of `Origin`


class UnreadableSite(DataError):
    """The folder is there but not to be read, such as a network share that does not answer."""


@dataclass(frozen=True)
class Origin:
    """Which case of a site nodes belong to, and the revision that segmentations are; "" and None where none is
    known."""

    case: str = ""
    revision: int | None = None


@dataclass(frozen=True)
class SiteWork:
    """What there is in a site: cases by status, and those to correct next, the most promising first."""

    counts: Mapping[str, int]
    items: Sequence[WorkItem]
    forks: Sequence[str]  # ids of cases whose corrections do not know of each other
    damaged: Sequence[str]  # ids of cases that cannot be read


def work(store: CaseStore, limit: int) -> SiteWork | None:
    """None where the folder is no site yet: the first case makes it one. Raises DataError ``not-a-site``,
    ``bad-ranking``, UnreadableSite ``site-unreadable``."""
    try:
        if not (store.folder / SITE_FILE).is_file():
            return None
        cases, damaged = store.readable_cases()
        items = work_list(cases, read_ranking(store.folder), limit, learnt_patients(store.folder, cases, damaged))
    except OSError as error:
        what = f"{store.folder} cannot be read: {error.strerror or error}"
        hint = "check that the folder is there, and that you may read it"
        raise UnreadableSite("site-unreadable", what, hint) from error
    counts = Counter(case.status for case in cases)
    forks = [case.id for case in cases if case.forks]
    return SiteWork({status: counts[status] for status in STATUSES}, items, forks, list(damaged))


def origin_of(case: CaseNodes, store: CaseStore) -> Origin:
    """The case of ``store`` that a result's scans belong to, and the revision that its segmentations began with."""
    scans = {_origin(node) for node in case.volumes.values()}
    ids = {one.case for one in scans}
    if len(ids) != 1 or not store.knows(next(iter(ids))):
        return Origin()
    known = next(iter(ids))
    revisions = {one.revision for one in map(_origin, case.segmentations.values()) if one.case == known}
    return Origin(known, next(iter(revisions)) if len(revisions) == 1 else None)


def note_saved(case: CaseNodes, saved: SavedCase) -> None:
    """Remember on the nodes, also in a saved scene, which revision they are now."""
    for node in case.volumes.values():
        mark_origin(node, Origin(saved.id))
    for node in case.segmentations.values():
        mark_origin(node, Origin(saved.id, saved.revision))


def mark_origin(node: Any, origin: Origin) -> None:
    node.SetAttribute(ORIGIN_ATTRIBUTE, json.dumps(asdict(origin)))


def require_saved(case: CaseNodes, label_map: LabelMap, known: SiteCase, revision: int | None) -> None:
    """Raises DataError ``not-saved`` where the segmentations are not those of ``revision``, as they are now."""
    if not _is_revision(case, label_map, known, revision):
        raise not_saved()


def is_untouched(case: CaseNodes, label_map: LabelMap, known: SiteCase | None, revision: int | None) -> bool:
    """Whether nobody has changed anything in the segmentations since the model, or ``revision`` of ``known``, made
    them."""
    return not case.is_corrected() or (known is not None and _is_revision(case, label_map, known, revision))


def _is_revision(case: CaseNodes, label_map: LabelMap, known: SiteCase, revision: int | None) -> bool:
    saved = next((one for one in known.revisions if one.number == revision), None)
    files = saved.labels if saved else {}
    return set(files) == set(case.segmentations) and all(
        np.array_equal(read_segmentation(path)[0], case.labels(modality, label_map)) for modality, path in files.items()
    )


def untouched() -> DataError:
    return DataError(
        "untouched", "nothing was changed in these segmentations", "correct them, or confirm them as they are"
    )


def require_author(author: str) -> None:
    """Raises InputError ``no-initials``: somebody has to stand for what a model is not to learn from itself."""
    if not author.strip():
        raise InputError("no-initials", "nobody stands for these segmentations", "type your initials")


def not_saved() -> DataError:
    return DataError("not-saved", "these segmentations are not in the site folder", "save the correction first")


def _origin(node: Any) -> Origin:
    text = node.GetAttribute(ORIGIN_ATTRIBUTE)
    return Origin(**json.loads(text)) if text else Origin()


def corrected_case(case: CaseNodes, bundle: Bundle) -> CaseFiles:
    """The scans of a result and its segmentations as they are now, both in world space.

    Raises LabelError where segments overlap or are not of the model, GeometryError ``warped`` or ``volume-gone``.
    """
    gone = [modality for modality in case.segmentations if modality not in case.volumes]
    if gone:
        what = f"the {gone[0]} scan of this result was removed from the scene"
        raise GeometryError("volume-gone", what, "load it, and segment again")
    scans = unlabelled_case(case.volumes, bundle)
    labels: dict[str, tuple[Any, Grid]] = {}
    for modality, segmentation in case.segmentations.items():
        node = case.volumes[modality]
        labels[modality] = (segment_labels(segmentation, node, bundle.label_map), scans.volumes[modality].grid)
    return CaseFiles(scans.volumes, labels, bundle.label_map, scans.bundle, scans.patient_key)


def unlabelled_case(volumes: Mapping[str, Any], bundle: Bundle) -> CaseFiles:
    """Scans by modality, in world space, so that both lie in the place where they belong to each other.

    Raises what `world_volume` raises, and GeometryError ``warped`` where a scan's parent transform bends or shears it.
    """
    for modality, node in volumes.items():
        if parent_transform_kind(node) in ("sheared", "non-linear"):
            what = f"{modality}: {node.GetName()} lies under a transform that bends or shears it"
            raise GeometryError("warped", what, "harden a copy, segment that, and save it")
    scans = {modality: world_volume(node, modality) for modality, node in volumes.items()}
    identity = {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256}
    identity["modalities"] = list(bundle.modalities)
    return CaseFiles(scans, {}, bundle.label_map, identity, patient_key(next(iter(volumes.values()))))


def patient_key(volume: Any) -> str:
    """What tells this patient from others: the DICOM patient ID in the subject hierarchy, else nothing.

    The store keeps a salted hash of it only.
    """
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume.GetScene())
    item = hierarchy.GetItemByDataNode(volume) if hierarchy else 0
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    while item:
        if hierarchy.GetItemLevel(item) == constants.GetDICOMLevelPatient():
            return hierarchy.GetItemUID(item, constants.GetDICOMUIDName()) or hierarchy.GetItemName(item)
        parent = hierarchy.GetItemParent(item)
        item = parent if parent != hierarchy.GetSceneItemID() else 0
    return ""
