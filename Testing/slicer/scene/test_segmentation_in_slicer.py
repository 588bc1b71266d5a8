"""What 3D Slicer makes of our ``.seg.nrrd``: the same label at the same physical point, names, colours, codes."""

import json

import numpy as np
import pytest

from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation, write_segmentation
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, LabelMap, Structure, read_label_map

BRAIN = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")


def oblique_left_handed_grid():
    """9 x 8 x 7 voxels, turned about two axes, i mirrored, 3 mm slices, origin far from 0."""
    a, b = np.radians([20, -13])
    about_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_r = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_r @ about_s @ np.diag([-0.9, 1.1, 3.0])
    affine[:3, 3] = [52.5, -30.25, 107.75]
    grid = Grid((7, 8, 9), affine)
    assert grid.is_left_handed
    assert grid.obliquity_degrees > 10
    return grid


def labels_with_a_missing_structure(grid, label_map=BRAIN):
    """Random labels without the first structure: Slicer crops a layer to the extent of its first segment."""
    values = [value for value in label_map.channels if value != label_map.values[0]]
    return np.random.default_rng(1).choice(values, size=grid.shape_kji).astype(np.uint8)


def load(scene, path):
    import slicer
    import vtk

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node), "Slicer could not read the file"
    messages = storage.GetUserMessages()
    assert messages.GetNumberOfMessagesOfType(vtk.vtkCommand.ErrorEvent) == 0, messages.GetAllMessagesAsString()
    assert messages.GetNumberOfMessagesOfType(vtk.vtkCommand.WarningEvent) == 0, messages.GetAllMessagesAsString()
    assert isinstance(node, slicer.vtkMRMLSegmentationNode)
    return node


def save(scene, node, path):
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.WriteData(node), "Slicer could not write the file"


def segments_by_name(node):
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetNthSegment(number) for number in range(segmentation.GetNumberOfSegments())]
    return {segment.GetName(): segment for segment in segments}


def label_at(node, ras):
    """The name of the segment that Slicer has at a RAS point, found through Slicer's own matrices."""
    here = [name for name, segment in segments_by_name(node).items() if _holds(segment, ras)]
    assert len(here) <= 1, f"several segments at one point: {here}"
    return here[0] if here else None


def _holds(segment, ras):
    import vtk

    image = segment.GetRepresentation("Binary labelmap")
    world_to_image = vtk.vtkMatrix4x4()
    image.GetWorldToImageMatrix(world_to_image)
    i, j, k = np.rint(world_to_image.MultiplyPoint([*ras, 1.0])[:3]).astype(int)
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    inside = i0 <= i <= i1 and j0 <= j <= j1 and k0 <= k <= k1
    return inside and image.GetScalarComponentAsDouble(i, j, k, 0) == segment.GetLabelValue()


@pytest.fixture
def written(tmp_path):
    grid = oblique_left_handed_grid()
    labels = labels_with_a_missing_structure(grid)
    path = tmp_path / "T1w_segmentation.seg.nrrd"
    write_segmentation(path, labels, grid, BRAIN)
    return path, labels, grid


def test_slicer_has_the_same_label_at_the_same_physical_point(mrml_scene, written):
    path, labels, grid = written
    node = load(mrml_scene, path)
    names = {0: None} | {structure.value: structure.name for structure in BRAIN.structures}
    rng = np.random.default_rng(2)
    corners = [(0, 0, 0), (6, 7, 8), (6, 0, 0), (0, 7, 0), (0, 0, 8)]
    for k, j, i in [*corners, *rng.integers((0, 0, 0), grid.shape_kji, size=(100, 3))]:
        ras = (grid.ijk_to_ras @ [i, j, k, 1])[:3]
        assert label_at(node, ras) == names[labels[k, j, i]]


def test_slicer_shows_our_names_colours_and_label_values_in_our_order(mrml_scene, written):
    segments = segments_by_name(load(mrml_scene, written[0]))
    assert list(segments) == [structure.name for structure in BRAIN.structures]
    for structure in BRAIN.structures:
        segment = segments[structure.name]
        assert segment.GetLabelValue() == structure.value
        np.testing.assert_allclose(np.array(segment.GetColor()) * 255, structure.color, atol=0.01)


def test_slicer_decodes_every_terminology_tag(mrml_scene, slicer_logics, written):
    import slicer
    import vtk

    for structure, segment in zip(
        BRAIN.structures, segments_by_name(load(mrml_scene, written[0])).values(), strict=True
    ):
        tag = vtk.reference("")
        assert segment.GetTag(segment.GetTerminologyEntryTagName(), tag)
        entry = slicer.vtkSlicerTerminologyEntry()
        assert slicer_logics.terminologies.DeserializeTerminologyEntry(str(tag), entry)
        decoded = [entry.GetCategoryObject(), entry.GetTypeObject(), entry.GetTypeModifierObject()]
        wanted = [structure.terminology.category, structure.terminology.type, structure.terminology.modifier]
        for got, code in zip(decoded, wanted, strict=True):
            expected = tuple(code.as_list()) if code else (None, None, None)
            assert (got.GetCodingSchemeDesignator(), got.GetCodeValue(), got.GetCodeMeaning()) == expected
        assert slicer_logics.terminologies.SerializeTerminologyEntry(entry) == structure.terminology.slicer_tag()


def test_slicer_s_own_list_has_our_codes_but_for_the_three_that_the_label_map_names(slicer_terminologies):
    content = json.loads(slicer_terminologies["SegmentationCategoryTypeModifier-DICOM-Master.term.json"].read_text())
    assert BRAIN.structures[0].terminology.slicer_tag().startswith(content["SegmentationCategoryTypeContextName"] + "~")
    (anatomy,) = (c for c in content["SegmentationCodes"]["Category"] if c["CodeValue"] == "123037004")
    listed = {(t["CodingSchemeDesignator"], t["CodeValue"], t["CodeMeaning"]) for t in anatomy["Type"]}
    missing = {
        structure.name.removeprefix("left ").removeprefix("right ")
        for structure in BRAIN.structures
        if tuple(structure.terminology.type.as_list()) not in listed
    }
    assert missing == {"inferior lateral ventricle", "cerebellar cortex", "ventral diencephalon"}


def test_a_segmentation_that_slicer_saved_again_is_read_back_unchanged(mrml_scene, written, tmp_path):
    path, labels, grid = written
    save(mrml_scene, load(mrml_scene, path), tmp_path / "again.seg.nrrd")
    array, read_grid, label_map = read_segmentation(tmp_path / "again.seg.nrrd")
    np.testing.assert_array_equal(array, labels)
    assert read_grid.is_close(grid, tolerance_mm=1e-4)
    assert label_map == BRAIN


def test_segments_that_overlap_after_editing_in_slicer_are_refused_with_a_remedy(mrml_scene, written, tmp_path):
    node = load(mrml_scene, written[0])
    segmentation = node.GetSegmentation()
    segmentation.SeparateSegmentLabelmap(segmentation.GetNthSegmentID(1))
    image = segmentation.GetNthSegment(1).GetRepresentation("Binary labelmap")
    image.GetPointData().GetScalars().Fill(segmentation.GetNthSegment(1).GetLabelValue())
    save(mrml_scene, node, tmp_path / "overlap.seg.nrrd")
    with pytest.raises(LabelError, match=r"overlapping-segments.*remove the overlap"):
        read_segmentation(tmp_path / "overlap.seg.nrrd")


def test_structures_without_terminology_and_names_beyond_ascii_reach_slicer(mrml_scene, tmp_path):
    label_map = LabelMap((Structure(7, "Großhirn", (0, 128, 255)), Structure(300, "小脑", (1, 2, 254))))
    grid = oblique_left_handed_grid()
    labels = np.full(grid.shape_kji, 300, np.uint16)
    write_segmentation(tmp_path / "a.seg.nrrd", labels, grid, label_map)
    node = load(mrml_scene, tmp_path / "a.seg.nrrd")
    assert list(segments_by_name(node)) == ["Großhirn", "小脑"]
    assert label_at(node, (grid.ijk_to_ras @ [1, 2, 3, 1])[:3]) == "小脑"
