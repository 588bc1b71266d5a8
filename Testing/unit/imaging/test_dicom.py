"""DICOM series: slices end up where their headers say, and a series with a flaw is refused by name."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from CrossModalSegLib.errors import CrossModalSegError, InputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import read_image, read_volume
from Testing.dicom_files import write_enhanced, write_series
from Testing.volumes import grid_around, grid_of_sitk, rotation, stored_otherwise

OBLIQUE = grid_around((12, -30, 45), (7, 6, 5), (0.8, 0.9, 3.0), rotation((15, -10, 25)))


def numbers(grid: Grid) -> np.ndarray:
    """A different value in each voxel."""
    return np.arange(np.prod(grid.shape_kji), dtype=np.int16).reshape(grid.shape_kji)


def same_in_space(volume, array, grid):
    """True where both hold the same values at the same points, whichever way they are stored."""
    return any(
        other.grid.is_close(grid) and np.array_equal(other.array, array.astype(np.float32))
        for other in stored_otherwise(volume)
    )


def code_of(path):
    with pytest.raises(CrossModalSegError) as caught:
        read_volume(path, "CT")
    return caught.value.code


@pytest.mark.parametrize("direction", [np.eye(3), np.diag([-1.0, -1, 1]), OBLIQUE.direction, np.diag([1.0, 1, -1])])
def test_each_voxel_of_a_series_lies_where_its_header_says(tmp_path, direction):
    grid = grid_around((12, -30, 45), (7, 6, 5), (0.8, 0.9, 3.0), direction)
    write_series(tmp_path, numbers(grid), grid)
    assert same_in_space(read_volume(tmp_path, "CT"), numbers(grid), grid)


def test_geometry_is_the_one_that_itks_series_reader_finds(tmp_path):
    write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    volume = read_volume(tmp_path, "CT")
    assert same_in_space(volume, sitk.GetArrayFromImage(image), grid_of_sitk(image))


def test_slices_are_ordered_by_position_not_by_name_or_number(tmp_path):
    files = write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)
    for file, name in zip(files, "dbeac", strict=True):
        file.rename(tmp_path / f"{name}.IMA")
    assert same_in_space(read_volume(tmp_path, "CT"), numbers(OBLIQUE), OBLIQUE)


def test_rescaling_gives_hounsfield_units(tmp_path):
    write_series(tmp_path, numbers(OBLIQUE), OBLIQUE, slope=2.0, intercept=-1024.0)
    assert same_in_space(read_volume(tmp_path, "CT"), numbers(OBLIQUE) * 2.0 - 1024.0, OBLIQUE)


def test_a_slice_without_a_file_extension_stands_for_its_series(tmp_path):
    files = write_series(tmp_path, numbers(OBLIQUE), OBLIQUE, name="00{:02d}A7")
    write_series(tmp_path, numbers(OBLIQUE) + 500, OBLIQUE, name="other{}")
    assert same_in_space(read_volume(files[2], "CT"), numbers(OBLIQUE), OBLIQUE)


def test_other_files_in_the_folder_do_not_matter(tmp_path):
    write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)
    (tmp_path / "README.txt").write_text("exported yesterday")
    (tmp_path / "nested").mkdir()
    report = pydicom.dcmread(tmp_path / "IM0000")
    for keyword in ("Rows", "Columns", "PixelData", "ImagePositionPatient"):
        delattr(report, keyword)
    report.SeriesInstanceUID = "1.2.3"
    report.save_as(tmp_path / "report")
    assert same_in_space(read_volume(tmp_path, "CT"), numbers(OBLIQUE), OBLIQUE)


def test_label_maps_keep_the_type_of_the_series(tmp_path):
    write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)
    array, _ = read_image(tmp_path)
    assert array.dtype == np.int16


def test_several_series_are_listed(tmp_path):
    write_series(tmp_path, numbers(OBLIQUE), OBLIQUE, series_uid="1.2.3", description="T1 axial")
    write_series(tmp_path, numbers(OBLIQUE)[:3], OBLIQUE, series_uid="1.2.4", description="scout", name="s{}")
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path, "CT")
    assert caught.value.code == "several-series"
    assert "1.2.3 'T1 axial' 5 slices" in caught.value.message
    assert "1.2.4 'scout' 3 slices" in caught.value.message


def test_missing_slices_are_counted_and_located(tmp_path):
    tall = grid_around((0, 0, 0), (4, 4, 9), (1, 1, 2.5))
    files = write_series(tmp_path, numbers(tall), tall)
    files[3].unlink()
    files[4].unlink()
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path, "CT")
    assert caught.value.code == "missing-slices"
    assert "2 slice(s) missing: 7.50 mm between IM0002 and IM0005, usual 2.50 mm" in caught.value.message


def edit(file, **attributes):
    header = pydicom.dcmread(file)
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    header.save_as(file)


def test_uneven_spacing_is_located(tmp_path):
    tall = grid_around((0, 0, 0), (4, 4, 9), (1, 1, 2.0))
    files = write_series(tmp_path, numbers(tall), tall)
    x, y, z = pydicom.dcmread(files[8]).ImagePositionPatient
    edit(files[8], ImagePositionPatient=[x, y, z + 0.7])
    with pytest.raises(InputError, match=r"2.70 mm between IM0007 and IM0008, usual 2.00 mm") as caught:
        read_volume(tmp_path, "CT")
    assert caught.value.code == "uneven-slices"


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_accepted(tmp_path):
    tall = grid_around((0, 0, 0), (4, 4, 30), (1, 1, 0.625))
    for file in write_series(tmp_path, numbers(tall), tall):
        position = pydicom.dcmread(file).ImagePositionPatient
        edit(file, ImagePositionPatient=[round(float(x), 1) for x in position])
    assert read_volume(tmp_path, "CT").grid.spacing_ijk[2] == pytest.approx(0.625, abs=0.005)


def test_a_gantry_tilt_is_refused_with_its_angle(tmp_path):
    tall = grid_around((0, 0, 0), (4, 4, 9), (1, 1, 2.0))
    for n, file in enumerate(write_series(tmp_path, numbers(tall), tall)):
        x, y, z = pydicom.dcmread(file).ImagePositionPatient
        edit(file, ImagePositionPatient=[x, y + n * 2.0 * np.tan(np.radians(12.0)), z])
    with pytest.raises(CrossModalSegError, match=r"12\.0 degrees") as caught:
        read_volume(tmp_path, "CT")
    assert caught.value.code == "gantry-tilt"


def test_two_echoes_in_one_series_are_refused(tmp_path):
    write_series(tmp_path, numbers(OBLIQUE), OBLIQUE, series_uid="1.2.3")
    write_series(tmp_path, numbers(OBLIQUE), OBLIQUE, series_uid="1.2.3", name="echo{}")
    assert code_of(tmp_path) == "several-volumes"


def test_slices_of_another_orientation_are_refused(tmp_path):
    files = write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)
    edit(files[2], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    assert code_of(tmp_path) == "mixed-series"


def test_a_single_slice_is_refused(tmp_path):
    write_series(tmp_path, numbers(OBLIQUE)[:1], OBLIQUE)
    assert code_of(tmp_path) == "not-3d"


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "README.txt").write_text("nothing here")
    assert code_of(tmp_path) == "not-found"


def test_a_slice_that_was_cut_off_is_refused(tmp_path):
    file = write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)[1]
    file.write_bytes(file.read_bytes()[:-30])
    assert code_of(tmp_path) == "unreadable"


def test_a_header_that_was_cut_off_is_refused(tmp_path):
    file = write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)[1]
    file.write_bytes(file.read_bytes()[:300])
    assert code_of(tmp_path) in ("unreadable", "missing-slices")


def test_a_header_with_a_damaged_number_is_refused(tmp_path):
    file = write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)[1]
    content = file.read_bytes()
    assert content.count(b"\x20\x00\x32\x00DS") == 1
    at = content.index(b"\x20\x00\x32\x00DS") + 8
    file.write_bytes(content[:at] + b"x" + content[at + 1 :])
    assert code_of(tmp_path) == "unreadable"


@pytest.mark.parametrize("number", [1, 4])
def test_a_slice_that_is_rescaled_to_one_value_is_refused(tmp_path, number):
    file = write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)[number]
    edit(file, RescaleSlope=0, RescaleIntercept=0)
    assert code_of(tmp_path) == "unreadable"
    edit(file, RescaleSlope=2, RescaleIntercept=0)
    assert read_volume(tmp_path, "CT").array.shape == OBLIQUE.shape_kji


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_slices_that_do_not_say_how_they_are_rescaled_are_refused_among_others(tmp_path, keyword):
    files = write_series(tmp_path, numbers(OBLIQUE), OBLIQUE, slope=2, intercept=-1024)
    edit(files[3], **{keyword: None})
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path, "CT")
    assert caught.value.code == "mixed-series"
    assert keyword in caught.value.message
    assert "IM0003" in caught.value.message
    for file in files:  # nothing to be rescaled by, and nothing said of it, are the same
        edit(file, RescaleSlope=1, RescaleIntercept=0)
    edit(files[3], **{keyword: None})
    assert np.array_equal(read_volume(tmp_path, "CT").array, numbers(OBLIQUE))


def test_values_whose_meaning_a_table_says_are_refused(tmp_path):
    file = write_series(tmp_path, numbers(OBLIQUE), OBLIQUE)[2]
    header = pydicom.dcmread(file)
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 16])
    table.add_new("LUTData", "US", [3, 2, 1, 0])
    header.ModalityLUTSequence = [table]
    header.save_as(file)
    with pytest.raises(InputError, match=r"IM0002.*: a table says .*ModalityLUTSequence"):
        read_volume(tmp_path, "CT")


@pytest.mark.parametrize("frame_order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 2, 4, 1, 3]])
def test_frames_of_an_enhanced_file_lie_where_their_functional_groups_say(tmp_path, frame_order):
    write_enhanced(tmp_path / "enhanced", numbers(OBLIQUE), OBLIQUE, frame_order, slopes=[1.0] * 5)
    for path in (tmp_path, tmp_path / "enhanced"):
        assert same_in_space(read_volume(path, "T1w"), numbers(OBLIQUE), OBLIQUE)


def test_frames_with_one_slope_are_proportional_to_their_pixels(tmp_path):
    write_enhanced(tmp_path / "enhanced", numbers(OBLIQUE), OBLIQUE, [0, 2, 4, 1, 3], slopes=[2.0] * 5)
    assert same_in_space(read_volume(tmp_path, "T1w"), numbers(OBLIQUE) * 2.0, OBLIQUE)


def test_frames_with_different_slopes_are_refused(tmp_path):
    write_enhanced(tmp_path / "enhanced", numbers(OBLIQUE), OBLIQUE, [0, 1, 2, 3, 4], slopes=[1, 1, 2, 1, 1])
    assert code_of(tmp_path) == "mixed-series"


def test_a_missing_frame_of_an_enhanced_file_is_located(tmp_path):
    write_enhanced(tmp_path / "enhanced", numbers(OBLIQUE), OBLIQUE, [0, 1, 2, 4], slopes=[1.0] * 4)
    with pytest.raises(InputError, match="between frame 3 and frame 4") as caught:
        read_volume(tmp_path, "T1w")
    assert caught.value.code == "missing-slices"
