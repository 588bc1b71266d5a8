"""How the Segment Editor is set for corrections."""

from typing import Any


def protect_neighbours(segment_editor_node: Any) -> None:
    """Set a vtkMRMLSegmentEditorNode so that a stroke leaves all other segments as they are.

    Voxels of other segments, also of hidden ones, cannot be painted over; those of the edited segment can be erased
    and painted again. So a border between two structures is moved by erasing from the one and painting the other.
    Where the user lifts the mask, what is painted still replaces what was there, so that segments never overlap. Some
    effects offer to bypass masking; what overlaps by that is found when the labels are read (`segment_labels`).
    """
    import slicer

    segment_editor_node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    segment_editor_node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
