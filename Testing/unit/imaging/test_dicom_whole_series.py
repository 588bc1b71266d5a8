"""A DICOM series is read whole or not at all: whatever lies beside its slices is a slice, known to be none, or an
error."""

import os
import shutil
from itertools import cycle

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging import dicom_tree
from CrossModalSegLib.imaging.dicom import read_series, series_at, series_in
from CrossModalSegLib.imaging.preflight import examine
from CrossModalSegLib.imaging.volume import read_volume
from Testing.dicom_files import write_enhanced, write_series
from Testing.volumes import grid_around

GRID = grid_around((12, -30, 45), (7, 6, 8), (0.8, 0.9, 3.0))
NUMBERS = np.arange(np.prod(GRID.shape_kji), dtype=np.int16).reshape(GRID.shape_kji)


def series(folder, **options):
    return write_series(folder, NUMBERS, GRID, **options)


def whole(source):
    """The volume, which has to hold every slice with the values that were written; what was found out."""
    volume = read_volume(source, "CT")
    assert np.array_equal(np.sort(volume.array.ravel()), np.sort(NUMBERS.ravel().astype(np.float32)))
    assert volume.grid.shape_kji == GRID.shape_kji
    return {finding.code: finding for finding in volume.findings}


def refused(source):
    with pytest.raises(CrossModalSegError) as caught:
        read_volume(source, "CT")
    return caught.value


def edit(file, **attributes):
    """Set attributes of a file; None leaves an element without a value."""
    header = pydicom.dcmread(file)
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    header.save_as(file)


def without(file, *keywords):
    """Remove attributes of a file."""
    header = pydicom.dcmread(file)
    for keyword in keywords:
        delattr(header, keyword)
    header.save_as(file)


def moved(files, folder):
    folder.mkdir(parents=True, exist_ok=True)
    return [file.rename(folder / file.name) for file in files]


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


# --- of one origin


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_slices_of_another_patient_study_or_frame_of_reference_are_refused(tmp_path, keyword):
    for file in series(tmp_path)[-3:]:
        edit(file, **{keyword: "1.2.3.4"})
    error = refused(tmp_path)
    assert error.code == "mixed-series"
    assert "IM0000 and IM0005" in error.message
    assert "1.2.3.4" not in error.message  # it may be a patient's number


def test_identities_that_an_anonymiser_has_given_to_each_file_are_told(tmp_path):
    for file in series(tmp_path):
        edit(file, FrameOfReferenceUID=generate_uid())
    assert "8 files" in whole(tmp_path)["series-identity"].message


def test_names_that_differ_under_one_patient_id_are_told_and_how_they_are_spelt_is_not(tmp_path):
    files = series(tmp_path)
    for file, name in zip(files, cycle(("Doe^Jane", "DOE^JANE^^", "doe jane")), strict=False):
        edit(file, PatientName=name)
    assert whole(tmp_path) == {}
    edit(files[4], PatientName="Roe^Jane")
    message = whole(tmp_path)["series-identity"].message
    assert "IM0000 and IM0004" in message
    assert "oe" not in message.lower().replace("does", "")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])),
        ("EchoTime", ("4.2", "9.1")),
        ("TemporalPositionIdentifier", ("1", "2")),
        ("PixelRepresentation", (1, 0)),
    ],
)
def test_slices_of_different_kinds_that_take_turns_are_told(tmp_path, name, values):
    files = series(tmp_path)
    for file in files:
        edit(file, **{name: values[0]})
    assert "slice-kinds" not in whole(tmp_path)
    for file in files[1::2]:
        edit(file, **{name: values[1]})
    message = whole(tmp_path)["slice-kinds"].message
    assert f"differ in {name}: IM0000 has " in message
    assert "IM0001" in message


def test_scans_of_different_patients_are_told(tmp_path):
    one = read_volume(series(tmp_path / "a")[0].parent, "T1w")
    for key, value, word in (("PatientID", "other", "IDs"), ("PatientName", "Roe^Richard", "names")):
        for file in series(tmp_path / key):
            edit(file, **{key: value})
        other = read_volume(tmp_path / key, "T2w")
        (finding,) = [found for found in examine([one, other]).findings if found.code == "patients-differ"]
        assert f"by the {word} in their headers" in finding.message
    assert "patients-differ" not in [found.code for found in examine([one, one]).findings]


# --- how files are stored


def test_values_above_the_bits_that_are_said_to_be_stored_are_told(tmp_path):
    files = series(tmp_path)
    for file in files:
        edit(file, BitsStored=12, HighBit=11, PixelRepresentation=0)
    pixels = np.full(42, 0x0123, "<u2")
    edit(files[1], PixelData=(pixels | 0x4000).tobytes())
    image = read_series(tmp_path)
    (finding,) = image.findings
    assert (finding.code, finding.severity) == ("bits-left-out", "warning")
    assert finding.message.startswith(f"{files[1].name}: ")
    overlay = pydicom.dcmread(files[1])
    overlay.add_new(0x60000100, "US", 16)
    overlay.add_new(0x60000102, "US", 14)
    overlay.save_as(files[1])
    assert read_series(tmp_path).findings == ()


@pytest.mark.parametrize("negative", [0xFFFE, 0x0FFE])  # -2 in 12 bits, with the sign repeated above them or not
def test_a_sign_that_is_repeated_or_not_is_no_surplus(tmp_path, negative):
    files = series(tmp_path)
    pixels = np.full(42, negative, "<u2")
    edit(files[0], BitsStored=12, HighBit=11, PixelRepresentation=1, PixelData=pixels.tobytes())
    image = read_series(tmp_path)
    assert image.findings == ()
    assert (image.array == -2).sum() == 42


def bare(file):
    """The data set alone, without preamble, prefix and meta information."""
    header = pydicom.dcmread(file)
    header.file_meta, header.preamble = FileMetaDataset(), None
    header.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=False)


def test_files_without_preamble_or_prefix_are_read(tmp_path):
    files = series(tmp_path)
    content = files[0].read_bytes()
    files[0].write_bytes(content[128:])
    files[1].write_bytes(files[1].read_bytes()[132:])
    bare(files[2])
    assert pydicom.dcmread(files[2], force=True).preamble is None
    assert whole(tmp_path) == {}
    assert whole(files[0]) == {}
    assert whole(files[2]) == {}


def compressed(file, kind):
    """Rewrite a slice with another transfer syntax."""
    header = pydicom.dcmread(file)
    if kind == "rle":
        header.compress(RLELossless, generate_instance_uid=False)
    elif kind == "deflated":
        header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    elif kind == "big":
        header.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        header.PixelData = np.frombuffer(header.PixelData, "<i2").astype(">i2").tobytes()
        pydicom.dcmwrite(file, header, implicit_vr=False, little_endian=False, force_encoding=True)
        return
    else:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor(kind)
        writer.SetFileName(str(file.with_name("compressed.dcm")))
        writer.Execute(sitk.GetImageFromArray(header.pixel_array[None]))
        other = pydicom.dcmread(file.with_name("compressed.dcm"))
        header.PixelData, header.file_meta.TransferSyntaxUID = other.PixelData, other.file_meta.TransferSyntaxUID
        header["PixelData"].VR, header["PixelData"].is_undefined_length = "OB", True
        file.with_name("compressed.dcm").unlink()
    header.save_as(file)


KINDS = ("rle", "deflated", "big", "JPEG", "JPEG2000")


def test_a_series_of_mixed_transfer_syntaxes_is_read(tmp_path):
    files = series(tmp_path)
    for file, kind in zip(files, KINDS, strict=False):
        compressed(file, kind)
    syntaxes = {pydicom.dcmread(file).file_meta.TransferSyntaxUID for file in files}
    assert len(syntaxes) == len(KINDS) + 1
    assert whole(tmp_path) == {}


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_a_compressed_file_without_preamble_is_read(tmp_path, kind):
    file = series(tmp_path)[0]
    compressed(file, kind)
    file.write_bytes(file.read_bytes()[128:])
    assert whole(tmp_path) == {}


@pytest.mark.parametrize("kind", ["rle", "JPEG", "JPEG2000"])
@pytest.mark.parametrize("damage", [lambda s: s[: len(s) // 4 * 2], lambda s: s[: len(s) // 2] + bytes(len(s) // 2)])
def test_a_compressed_slice_whose_stream_is_cut_is_refused_by_name(tmp_path, kind, damage):
    file = series(tmp_path)[-1]
    compressed(file, kind)
    header = pydicom.dcmread(file)
    header.PixelData = encapsulate([damage(next(generate_frames(header.PixelData, number_of_frames=1)))])
    header.save_as(file)
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "IM0007" in error.message


def test_a_jpeg_stream_without_its_end_is_refused_though_gdcm_reads_it(tmp_path):
    """GDCM makes something up for the rest of the slice, and tells nobody."""
    grid = grid_around((0, 0, 0), (64, 64, 3), (1, 1, 2))
    noise = np.random.default_rng(1).integers(0, 900, grid.shape_kji).astype(np.int16)
    file = write_series(tmp_path, noise, grid)[-1]
    compressed(file, "JPEG")
    header = pydicom.dcmread(file)
    stream = next(generate_frames(header.PixelData, number_of_frames=1))
    header.PixelData = encapsulate([stream[: len(stream) // 2] + bytes(len(stream) - len(stream) // 2)])
    header.save_as(file)
    made_up = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0]
    assert not np.array_equal(made_up, noise[-1])
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "the compressed pixels of frame 1 are cut or damaged" in error.message


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_a_compression_that_cannot_be_decoded_is_refused_by_its_name(tmp_path, syntax, name):
    file = series(tmp_path)[-1]
    header = pydicom.dcmread(file)
    header.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(100)])
    header.file_meta.TransferSyntaxUID = syntax
    header.save_as(file, implicit_vr=False, little_endian=True)
    error = refused(tmp_path)
    assert error.code == "compression"
    assert "IM0007" in error.message
    assert name in error.message


@pytest.mark.parametrize("pixels", [b"", bytes(40)])
def test_a_slice_with_too_few_pixels_is_refused_by_name(tmp_path, pixels):
    edit(series(tmp_path)[-1], PixelData=pixels)
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "IM0007" in error.message


@pytest.mark.parametrize("kind", ["plain", "rle", "JPEG", "JPEG2000"])
@pytest.mark.parametrize("rows", [32, 100])
def test_another_size_than_the_pixels_have_is_refused(tmp_path, kind, rows):
    grid = grid_around((0, 0, 0), (64, 64, 3), (1, 1, 2))
    noise = np.random.default_rng(1).integers(0, 900, grid.shape_kji).astype(np.int16)
    for file in write_series(tmp_path, noise, grid):
        if kind != "plain":
            compressed(file, kind)
        edit(file, Rows=rows)
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "IM0000" in error.message


def test_pixels_are_those_that_gdcm_finds(tmp_path):
    """Signs, unused bits, inverted display and rescaling, against an independent reader."""
    generator = np.random.default_rng(3)
    facts = [
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0},
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1},
        {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME1"},
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleSlope": 0.5, "RescaleIntercept": -7},
        {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 2, "RescaleIntercept": -1024},
        {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "PhotometricInterpretation": "MONOCHROME1"},
    ]
    files = series(tmp_path)
    for file, changed in zip(files, facts, strict=False):
        edit(file, **changed, PixelData=generator.integers(0, 4096, 42).astype("<u2").tobytes())
    image = read_series(tmp_path)
    array, findings = image.array, image.findings
    assert [finding.code for finding in findings] == ["slice-kinds", "inverted"]
    assert f"{files[2].name} and 1 more of {len(files)} files" in findings[1].message  # those that are, not the first
    expected = [sitk.GetArrayFromImage(sitk.ReadImage(str(file), sitk.sitkFloat64))[0] for file in files]
    assert np.allclose(array, expected) or np.allclose(array, expected[::-1])


def test_a_colour_series_is_refused(tmp_path):
    edit(series(tmp_path)[0], PhotometricInterpretation="PALETTE COLOR")
    assert refused(tmp_path).code == "not-scalar"


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
