"""How the Segment Editor is set for corrections: what a stroke may change."""

from enum import Enum
from typing import Any

from CrossModalSegApp.scene.scene_io import voxels_of
from CrossModalSegLib.imaging.geometry import body_intensities


class Masking(Enum):
    """What a stroke may change, beside the structure that is edited and what is no structure. See `set_masking`."""

    LEAVE_NEIGHBOURS = "leave"
    TAKE_FROM_NEIGHBOURS = "take"
    INSIDE_BODY = "body"


MaskSettings = tuple[int, int, bool, tuple[float, ...]]
DEFAULT_MASKING = Masking.TAKE_FROM_NEIGHBOURS  # a border between two structures is moved by one stroke


def set_masking(segment_editor_node: Any, masking: Masking, volume_node: Any) -> None:
    """Set a vtkMRMLSegmentEditorNode, whose source volume is ``volume_node`` or None, so that any tool changes

    - LEAVE_NEIGHBOURS: the edited segment and what is no segment; all other segments, also hidden ones, stay;
    - TAKE_FROM_NEIGHBOURS: whatever it meets, so that painting over a neighbour moves the border;
    - INSIDE_BODY: the same, but nothing where the scan is as dark as the air around the body (`body_intensities`); the
      same as TAKE_FROM_NEIGHBOURS for a scan in which no air can be told from the body.

    In none of them segments come to overlap: what is painted replaces what was there. Some effects offer to bypass
    masking; what overlaps by that is found when the labels are read (`segment_labels`). The node has to know the
    segment that is edited (its selected segment), else that one is masked as well.
    """
    import slicer

    was_modifying = segment_editor_node.StartModify()
    leaves = masking is Masking.LEAVE_NEIGHBOURS
    modes = slicer.vtkMRMLSegmentationNode
    segment_editor_node.SetMaskMode(modes.EditAllowedOutsideAllSegments if leaves else modes.EditAllowedEverywhere)
    segment_editor_node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    is_limited = masking is Masking.INSIDE_BODY and volume_node is not None
    body = body_intensities(voxels_of(volume_node)) if is_limited else None
    segment_editor_node.SetSourceVolumeIntensityMask(body is not None)
    if body is not None:
        segment_editor_node.SetSourceVolumeIntensityMaskRange(*body)
    segment_editor_node.EndModify(was_modifying)


def mask_settings(segment_editor_node: Any) -> MaskSettings:
    """What of the node says what a stroke may change; a person can set it in the editor, too."""
    return (
        segment_editor_node.GetMaskMode(),
        segment_editor_node.GetOverwriteMode(),
        bool(segment_editor_node.GetSourceVolumeIntensityMask()),
        tuple(segment_editor_node.GetSourceVolumeIntensityMaskRange()),
    )
