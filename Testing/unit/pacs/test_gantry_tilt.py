"""Scans with a tilted gantry: their slices are shifted against each other, and no grid with right angles has their
voxels. They are refused with the angle, wherever they come in."""

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.cli import main
from CrossModalSegLib.errors import GeometryError, InputError
from CrossModalSegLib.imaging.dicom_header import read_data_set
from CrossModalSegLib.imaging.dicom_tree import scan_tree
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.pacs.label_export import ShownScan, export_labels
from CrossModalSegLib.pacs.made_object import SEGMENTATION, Origin
from CrossModalSegLib.pacs.pair import find_pair
from CrossModalSegLib.pacs.segmentation_object import segmentation_object
from CrossModalSegLib.pacs.source_images import SourceImages
from Testing.dicom_files import write_series
from Testing.dicom_results import LABEL_MAP, MODEL, label_at
from Testing.tiny_bundle import intensity_bundle
from Testing.volumes import grid_around, points_of

DEGREES = 18.0
STRAIGHT = grid_around((3, -5, 8), (20, 24, 12), (2, 2, 3))


def tilted_grid():
    """The slices of `STRAIGHT`, each shifted to the front against the one below, as a tilted gantry takes them."""
    affine = STRAIGHT.ijk_to_ras.copy()
    affine[1, 2] = 3 * np.tan(np.radians(DEGREES))
    return Grid(STRAIGHT.shape_kji, affine)


@pytest.fixture
def tilted(tmp_path):
    pixels = np.arange(np.prod(STRAIGHT.shape_kji), dtype=np.int16).reshape(STRAIGHT.shape_kji) % 1000
    return write_series(tmp_path / "tilted", pixels, tilted_grid(), description="t1 mprage")


@pytest.mark.slow
@pytest.mark.usefixtures("tilted")
def test_a_tilted_series_is_refused_with_the_angle_before_anything_is_exported(tmp_path, capsys):
    with pytest.raises(GeometryError, match=r"gantry was tilted.* by 18\.0 degrees.*3D Slicer"):
        read_volume(tmp_path / "tilted", "T1w")
    bundle = intensity_bundle(tmp_path / "tiny")
    command = ["segment", "--input", f"T1w={tmp_path / 'tilted'}", "--bundle", str(bundle.path), "--device", "cpu"]
    assert main([*command, "--format", "dicom-seg", "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error[gantry-tilt]: ")
    assert not (tmp_path / "out").exists()


def test_labels_on_the_scan_that_slicer_has_straightened_are_not_put_onto_the_tilted_slices(tmp_path, tilted):
    pytest.importorskip("highdicom")
    bundle = intensity_bundle(tmp_path / "tiny")
    shown = ShownScan(tuple(tilted), np.ones(STRAIGHT.shape_kji, np.uint8), STRAIGHT, False, {}, {})
    with pytest.raises(GeometryError, match="gantry-tilt"):
        export_labels(bundle, {"T1w": shown}, tmp_path / "out")


@pytest.mark.usefixtures("tilted")
def test_in_a_study_it_is_left_out_with_the_reason(tmp_path):
    with pytest.raises(InputError, match=r"no-scan-in-study.*left out, .*gantry was tilted.*18\.0 degrees"):
        find_pair(scan_tree(tmp_path / "tilted"), ("T1w", "T2w"), {})


def test_a_segmentation_on_tilted_slices_by_somebody_else_is_refused(tmp_path, tilted):
    pytest.importorskip("highdicom")
    headers = tuple(read_data_set(file, stop_before_pixels=True) for file in tilted)
    for header in headers:
        header.PatientBirthDate, header.PatientSex, header.AccessionNumber, header.StudyID = "", "", "", ""
        header.StudyDate, header.StudyTime, header.ReferringPhysicianName = None, None, ""
        header.Manufacturer, header.PatientName = "", "Phantom^"
    source = SourceImages(headers, np.arange(len(headers)), ())
    made = segmentation_object(
        label_at(points_of(tilted_grid())), LABEL_MAP.structures, source, Origin.of(MODEL, [source]), "binary"
    )
    made.save_as(tmp_path / "seg.dcm")
    assert int(pydicom.dcmread(tmp_path / "seg.dcm").SeriesNumber) == SEGMENTATION
    with pytest.raises(GeometryError, match=r"gantry-tilt.*18\.0 degrees"):
        read_segmentation(tmp_path / "seg.dcm")
