"""The subject hierarchy (patients, studies and their data): where new nodes are filed, and how nodes go altogether."""

from typing import Any


def place_beside(node: Any, new_node: Any) -> None:
    """File ``new_node`` under the item (study, patient, folder) that ``node`` lies under.

    Without the desktop program nobody else makes an item for a new node, so it is made here where it is missing.
    """
    tree = subject_hierarchy(node.GetScene())
    if tree is None:
        return
    item = tree.GetItemByDataNode(node)
    parent = tree.GetItemParent(item) if item else tree.GetSceneItemID()
    own = tree.GetItemByDataNode(new_node)
    if own:
        tree.SetItemParent(own, parent)
    else:
        tree.CreateItem(parent, new_node)


def remove(node: Any) -> None:
    """Remove ``node`` from its scene with its item, its display nodes and its storage node, which would stay behind."""
    scene = node.GetScene()
    if scene is None:
        return
    tree = subject_hierarchy(scene)
    item = tree.GetItemByDataNode(node) if tree else 0
    belongings = []
    if node.IsA("vtkMRMLDisplayableNode"):
        belongings += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        belongings += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    if item:
        tree.RemoveItem(item, False, True)
    scene.RemoveNode(node)
    for belonging in belongings:
        if belonging is not None and belonging.GetScene() is scene:
            scene.RemoveNode(belonging)


def copy_modality(node: Any, copy: Any) -> None:
    """Give the item of ``copy`` the DICOM modality of the item of ``node``, where that has one."""
    import slicer

    tree = subject_hierarchy(node.GetScene())
    if tree is None or not tree.GetItemByDataNode(node):
        return
    attribute = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    modality = tree.GetItemAttribute(tree.GetItemByDataNode(node), attribute)
    if modality:
        tree.SetItemAttribute(tree.GetItemByDataNode(copy), attribute, modality)


def subject_hierarchy(scene: Any) -> Any:
    """The scene's vtkMRMLSubjectHierarchyNode, or None where there is no scene."""
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene) if scene else None


def file_as_series(node: Any, patient_id: str, dicom_modality: str) -> None:
    """File a scan that was read from DICOM under its patient, with its modality, as Slicer's DICOM module would.

    Both are "" where they are not known. The patient is told by the ID alone; names are not kept.
    """
    import slicer

    tree = subject_hierarchy(node.GetScene())
    if tree is None:
        return
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    parent = tree.GetSceneItemID()
    if patient_id:
        parent = tree.GetItemByUID(constants.GetDICOMUIDName(), patient_id)
        if not parent:
            parent = tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient")
            tree.SetItemUID(parent, constants.GetDICOMUIDName(), patient_id)
    item = tree.GetItemByDataNode(node) or tree.CreateItem(parent, node)
    tree.SetItemParent(item, parent)
    if dicom_modality:
        tree.SetItemAttribute(item, constants.GetDICOMSeriesModalityAttributeName(), dicom_modality)
