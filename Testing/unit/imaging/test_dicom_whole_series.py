"""A DICOM series is read whole or not at all: whatever lies beside its slices is a slice, known to be none, or an
error."""

import os
import shutil

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging import dicom_tree
from CrossModalSegLib.imaging.dicom import series_at, series_in
from CrossModalSegLib.imaging.volume import read_volume
from Testing.dicom_files import write_enhanced, write_series
from Testing.dicom_series import GRID, NUMBERS, compressed, edit, moved, refused, series, whole, without

# --- the whole tree


def test_a_series_over_folders_at_any_depth_is_one(tmp_path):
    files = series(tmp_path / "cd" / "A")
    moved(files[3:6], tmp_path / "cd" / "B")
    moved(files[6:], tmp_path / "cd" / "C" / "deeper")
    assert whole(tmp_path / "cd") == {}
    (found,) = series_in(tmp_path / "cd")
    assert whole(found) == {}


def test_one_of_several_series_in_a_tree_is_named_by_its_uid(tmp_path):
    files = series(tmp_path / "cd" / "A", series_uid="1.2.3")
    moved(files[5:], tmp_path / "cd" / "B")
    write_series(tmp_path / "cd" / "A", NUMBERS[:3] * 2, GRID, series_uid="1.2.4", description="localizer", name="L{}")
    assert refused(tmp_path / "cd").code == "several-series"
    assert whole(tmp_path / "cd#1.2.3") == {}
    assert refused(tmp_path / "cd#1.2.5").code == "not-found"


def test_a_file_means_its_folder_and_is_refused_where_the_rest_lies_beside_it(tmp_path):
    files = series(tmp_path / "cd" / "A", series_uid="1.2.3")
    rest = moved(files[5:], tmp_path / "cd" / "B")
    error = refused(files[0])
    assert error.code == "series-elsewhere"
    assert "holds 5 slices" in error.message
    assert "cd#1.2.3" in error.hint
    assert "5 slices" in str({f.code: f.message for f in read_volume(tmp_path / "cd" / "A", "CT").findings})
    moved(rest, tmp_path / "cd" / "A")
    assert whole(files[0]) == {}


def test_slices_below_the_folder_of_a_file_are_not_forgotten(tmp_path):
    files = series(tmp_path / "A")
    moved(files[5:], tmp_path / "A" / "more")
    assert refused(files[0]).code == "series-elsewhere"


def test_a_copy_of_the_series_beside_it_does_no_harm(tmp_path):
    files = series(tmp_path / "A")
    shutil.copytree(tmp_path / "A", tmp_path / "copy")
    assert whole(files[0]) == {}


# --- files that may have been slices


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (bytes(100), "ends within its header"),
        (bytes(5000), "is no DICOM file"),
        (b"/annex/objects/MD5E-s1--0\n", "pointer of git-annex"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "pointer of git-annex"),
        (b"<html><body>404 Not Found</body></html>" * 9, "is no DICOM file"),
    ],
)
def test_files_at_the_end_that_hold_no_slice_are_named(tmp_path, content, reason):
    files = series(tmp_path)
    for file in files[-2:]:
        file.write_bytes(content)
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "2 files among the slices" in error.message
    assert "IM0006" in error.message
    assert reason in error.message
    assert refused(files[0]).message == error.message


@pytest.mark.parametrize("target", ["/nowhere/at/all", "IM0007"])
def test_links_to_nothing_and_to_themselves_are_named(tmp_path, target):
    file = series(tmp_path)[-1]
    file.unlink()
    file.symlink_to(target)
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "IM0007" in error.message


def test_links_to_slices_are_slices_and_loops_of_folders_end(tmp_path):
    files = series(tmp_path / "store")
    (tmp_path / "given" / "sub").mkdir(parents=True)
    for file in files[:4]:
        (tmp_path / "given" / file.name).symlink_to(file)
    (tmp_path / "given" / "sub" / "rest").symlink_to(tmp_path / "rest")
    moved(files[4:], tmp_path / "rest")
    (tmp_path / "given" / "sub" / "loop").symlink_to(tmp_path / "given")
    assert whole(tmp_path / "given") == {}


def test_a_slice_that_was_cut_anywhere_is_never_left_out(tmp_path):
    """Also within a UID, where it looks like a file of another series or of another kind."""
    file = series(tmp_path)[-1]
    content = file.read_bytes()
    for length in [*range(140, 400, 3), *range(400, len(content) - 1, 29)]:
        file.write_bytes(content[:length])
        error = refused(tmp_path)
        assert error.code in ("unreadable", "no-position"), length
        assert "IM0007" in error.message, length


def test_a_slice_whose_series_and_place_are_damaged_is_not_taken_for_another_series(tmp_path):
    edit(series(tmp_path)[-1], SeriesInstanceUID="1.2.3.99", PixelSpacing=[-1, 1])
    assert "IM0007 cannot be used" in refused(tmp_path).message


def test_pixels_of_an_unknown_kind_may_be_a_slice(tmp_path):
    file = series(tmp_path)[-1]
    without(file, "Rows")
    edit(file, SOPClassUID="1.2.3.4")
    assert "IM0007 cannot be used" in refused(tmp_path).message


def test_a_report_that_was_cut_may_have_been_a_slice(tmp_path):
    files = series(tmp_path)
    report = pydicom.dcmread(files[0])
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.ContentSequence = [Dataset()]
    report.ContentSequence[0].TextValue = "nothing to report"
    report["ContentSequence"].is_undefined_length = True
    report.save_as(tmp_path / "report")
    assert "1 Basic Text SR Storage" in whole(tmp_path)["files-passed-over"].message
    (tmp_path / "report").write_bytes((tmp_path / "report").read_bytes()[:-9])
    assert "report cannot be used" in refused(tmp_path).message


def test_slices_without_a_position_are_counted_and_named(tmp_path):
    for file in series(tmp_path)[-3:]:
        without(file, "ImagePositionPatient")
    error = refused(tmp_path)
    assert error.code == "no-position"
    assert "3 of 8 files" in error.message
    assert "IM0005, IM0006, IM0007" in error.message


@pytest.mark.parametrize(
    "keyword",
    [
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "Rows",
        "Columns",
        "SeriesInstanceUID",
        "BitsAllocated",
    ],
)
@pytest.mark.parametrize("affected", [slice(-1, None), slice(None)])
def test_an_empty_tag_that_is_needed_is_refused_by_name(tmp_path, keyword, affected):
    for file in series(tmp_path)[affected]:
        edit(file, **{keyword: None})
    error = refused(tmp_path)
    assert error.code in ("unreadable", "no-position")
    assert "IM000" in error.message


@pytest.mark.parametrize(
    "keyword",
    [
        "PatientName",
        "PatientID",
        "SeriesDescription",
        "Modality",
        "InstanceNumber",
        "SOPInstanceUID",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "RescaleSlope",
        "RescaleIntercept",
        "SliceThickness",
    ],
)
def test_an_empty_tag_that_is_not_needed_does_no_harm(tmp_path, keyword):
    for file in series(tmp_path):
        edit(file, **{keyword: None})
    assert whole(tmp_path) == {}


def test_an_orientation_that_is_no_direction_is_refused(tmp_path):
    for file in series(tmp_path):
        edit(file, ImageOrientationPatient=[0, 0, 0, 0, 0, 0])
    assert refused(tmp_path).code == "unreadable"


# --- files that are known to be none


def test_what_is_known_to_be_no_slice_is_counted(tmp_path):
    series(tmp_path)
    (tmp_path / "DICOMDIR").write_bytes(b"directory")
    (tmp_path / "._IM0000").write_bytes(b"left by a desktop")
    (tmp_path / "README").write_text("burnt yesterday")
    (tmp_path / "case.nii.gz").write_bytes(b"\x1f\x8bx")
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n")
    os.mkfifo(tmp_path / "pipe")
    finding = whole(tmp_path)["files-passed-over"]
    assert finding.severity == "info"
    assert "6 files" in finding.message
    assert "1 DICOMDIR, 1 hidden, 4 known to be no slice" in finding.message


def test_a_report_and_a_screen_capture_of_the_series_are_counted(tmp_path):
    files = series(tmp_path)
    capture = pydicom.dcmread(files[0])
    del capture.ImagePositionPatient
    capture.SOPClassUID, capture.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()
    capture.save_as(tmp_path / "capture")
    report = pydicom.dcmread(files[0])
    for keyword in ("Rows", "Columns", "PixelData", "ImagePositionPatient"):
        delattr(report, keyword)
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.save_as(tmp_path / "report")
    message = whole(tmp_path)["files-passed-over"].message
    assert "1 Basic Text SR Storage, 1 screen capture" in message


def test_a_suffix_that_the_slices_have_makes_no_file_known(tmp_path):
    series(tmp_path, name="slice{:02d}.raw")
    (tmp_path / "slice07.raw").write_bytes(b"")
    assert "slice07.raw is empty" in refused(tmp_path).message


def test_a_neighbouring_folder_of_which_nothing_can_be_read_is_warned_of(tmp_path):
    series(tmp_path / "A")
    (tmp_path / "B").mkdir()
    for number in range(3):
        (tmp_path / "B" / f"IM{number}").symlink_to("/nowhere")
    finding = whole(tmp_path)["files-unreadable"]
    assert finding.severity == "warning"
    assert "3 files" in finding.message


def test_damaged_files_of_another_series_do_not_stop_this_one(tmp_path):
    series(tmp_path / "A", series_uid="1.2.3")
    files = series(tmp_path / "B", series_uid="1.2.4")
    files[-1].write_bytes(b"")
    assert whole(tmp_path / "A") == {}
    assert whole(tmp_path.parent / f"{tmp_path.name}#1.2.3") == {}
    assert refused(tmp_path.parent / f"{tmp_path.name}#1.2.4").code == "unreadable"


# --- one instance several times


def test_copies_of_a_slice_count_once(tmp_path):
    files = series(tmp_path)
    shutil.copytree(tmp_path, tmp_path / "copies")
    edit(tmp_path / "copies" / "IM0001", ImageComments="other bytes, the same image")
    assert "8 files" in whole(tmp_path)["copies"].message
    assert len(files) == 8


@pytest.mark.parametrize("change", [{"ImagePositionPatient": [0, 0, 99]}, {"PixelData": bytes(84)}])
def test_the_same_instance_with_other_content_is_refused(tmp_path, change):
    files = series(tmp_path)
    shutil.copy(files[2], tmp_path / "other")
    edit(tmp_path / "other", **change)
    error = refused(tmp_path)
    assert error.code == "instance-differs"
    assert "other" in error.message


def test_two_contents_at_one_position_are_refused_with_both_names(tmp_path):
    files = series(tmp_path)
    shutil.copy(files[2], tmp_path / "other")
    edit(tmp_path / "other", SOPInstanceUID=generate_uid(), PixelData=bytes(84))
    error = refused(tmp_path)
    assert error.code == "several-volumes"
    assert "IM0002" in error.message
    assert "other" in error.message


# --- gaps at an end, where positions do not tell


def test_gaps_in_instance_numbers_are_told(tmp_path):
    for number, file in zip((1, 2, 3, 7, 8, 11, 12, 13), series(tmp_path), strict=True):
        edit(file, InstanceNumber=number)
    finding = whole(tmp_path)["slice-numbers"]
    assert finding.severity == "warning"
    assert "4 to 6, 9 to 10 are not there" in finding.message


def test_a_series_that_begins_late_is_told(tmp_path):
    for number, file in enumerate(series(tmp_path), start=5):
        edit(file, InstanceNumber=number)
    assert "1 to 4 are not there" in whole(tmp_path)["slice-numbers"].message


def test_numbers_that_are_counted_in_steps_have_no_gap(tmp_path):
    for number, file in enumerate(series(tmp_path)):
        edit(file, InstanceNumber=10 * number)
    assert whole(tmp_path) == {}


@pytest.mark.parametrize(("step", "gap"), [(2, None), (3, None), (2, 0.3)])
def test_every_other_slice_alone_is_told_where_headers_say_how_far_they_lie_apart(tmp_path, step, gap):
    for number, file in enumerate(series(tmp_path)):
        edit(file, InstanceNumber=1 + step * number, SliceThickness=3.0 / step)
        if gap:
            edit(file, SpacingBetweenSlices=gap)
    assert f"{step} apart" in whole(tmp_path)["slice-numbers"].message
    for file in sorted(tmp_path.iterdir()):
        edit(file, SliceThickness=2.7)
    assert whole(tmp_path) == {}


def test_fewer_images_than_were_acquired_are_told(tmp_path):
    for file in series(tmp_path):
        edit(file, ImagesInAcquisition=12)
    assert "12 images were acquired; there are 8" in whole(tmp_path)["slice-numbers"].message


def test_images_that_the_dicomdir_lists_have_to_be_there(tmp_path):
    files = series(tmp_path)
    write_dicomdir(tmp_path / "DICOMDIR", files)
    assert "1 DICOMDIR" in whole(tmp_path)["files-passed-over"].message
    files[-1].unlink()
    files[-2].unlink()
    error = refused(tmp_path)
    assert error.code == "missing-slices"
    assert "2 of 8 images" in error.message
    assert "DATA/IM0006, DATA/IM0007" in error.message


def write_dicomdir(path, files):
    """One series with its images (PS3.3 F.3), of which each record points to the next."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    top = record("SERIES", SeriesInstanceUID=headers[0].SeriesInstanceUID)
    images = [
        record("IMAGE", ReferencedSOPInstanceUIDInFile=one.SOPInstanceUID, ReferencedFileID=["DATA", file.name])
        for one, file in zip(headers, files, strict=True)
    ]
    directory = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    directory.SOPClassUID = meta.MediaStorageSOPClassUID
    for _ in range(2):  # offsets are of one length, so that the second writing knows the places of the first
        directory.DirectoryRecordSequence = Sequence([top, *images])
        directory.save_as(path, enforce_file_format=True)
        places = [one.seq_item_tell for one in pydicom.dcmread(path).DirectoryRecordSequence]
        top.OffsetOfReferencedLowerLevelDirectoryEntity = places[1]
        for image, following in zip(images, [*places[2:], 0], strict=True):
            image.OffsetOfTheNextDirectoryRecord = following


def record(kind, **attributes):
    one = Dataset()
    one.OffsetOfTheNextDirectoryRecord, one.OffsetOfReferencedLowerLevelDirectoryEntity = 0, 0
    one.DirectoryRecordType = kind
    for keyword, value in attributes.items():
        setattr(one, keyword, value)
    return one


def test_a_slice_that_lies_beside_the_others_is_located(tmp_path):
    files = series(tmp_path)
    x, y, z = pydicom.dcmread(files[3]).ImagePositionPatient
    edit(files[3], ImagePositionPatient=[x + 20, y, z])
    error = refused(tmp_path)
    assert error.code == "uneven-slices"
    assert "IM0003 lies 20.00 mm beside" in error.message


# --- names and sizes


@pytest.mark.parametrize("name", ["Müller ÄÖÜ 脳", b"\xe4\xf6.d".decode("utf-8", "surrogateescape"), "a" * 120])
def test_names_of_any_kind_are_read(tmp_path, name):
    files = series(tmp_path / "plain")
    compressed(files[0], "JPEG")
    (tmp_path / name).mkdir()
    for number, file in enumerate(files):
        file.rename(tmp_path / name / f"{name}{number}")
    assert whole(tmp_path / name) == {}


def test_a_tree_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_tree, "MOST_FILES", 7)
    series(tmp_path)
    error = refused(tmp_path)
    assert error.code == "too-many-files"
    assert "more than 7 files" in error.message


def test_a_localizer_in_the_folder_is_listed_and_a_file_chooses(tmp_path):
    files = series(tmp_path, description="T1 MPRAGE")
    write_series(tmp_path, NUMBERS[:3], GRID, description="localizer", name="L{}")
    error = refused(tmp_path)
    assert error.code == "several-series"
    assert "'localizer' 3 slices" in error.message
    assert whole(files[0]) == {}


def test_frames_without_a_place_are_refused(tmp_path):
    write_enhanced(tmp_path / "enhanced", NUMBERS, GRID, list(range(8)), slopes=[1.0] * 8)
    header = pydicom.dcmread(tmp_path / "enhanced")
    del header.PerFrameFunctionalGroupsSequence[7].PlanePositionSequence
    header.save_as(tmp_path / "enhanced")
    assert refused(tmp_path).code == "no-position"


def test_more_frames_than_places_are_refused(tmp_path):
    write_enhanced(tmp_path / "enhanced", NUMBERS, GRID, list(range(8)), slopes=[1.0] * 8)
    header = pydicom.dcmread(tmp_path / "enhanced")
    del header.PerFrameFunctionalGroupsSequence[7]
    header.save_as(tmp_path / "enhanced")
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "8 frames, and the places of 7" in error.message


def test_the_series_of_a_file_that_is_no_image_is_refused_with_the_reason(tmp_path):
    file = series(tmp_path)[0]
    without(file, "Rows")
    with pytest.raises(CrossModalSegError, match="its header does not say how large the image is"):
        series_at(file)
