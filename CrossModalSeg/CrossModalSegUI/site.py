"""Cases for the site's own training: a corrected result, or scans without labels, out of the scene into a folder."""

from collections.abc import Mapping
from typing import Any, Protocol

from CrossModalSegLib.bundle import Bundle
from CrossModalSegLib.case_store import CaseFiles, SavedCase
from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.grid import Grid
from CrossModalSegUI.result_nodes import CaseNodes, segment_labels
from CrossModalSegUI.scene_io import parent_transform_kind, world_volume


class SiteFolder(Protocol):
    """Where cases go; `CrossModalSegLib.case_store.CaseStore` is one."""

    def save_correction(self, case: CaseFiles, author: str = "") -> SavedCase: ...

    def add_unlabelled(self, case: CaseFiles) -> SavedCase: ...


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
