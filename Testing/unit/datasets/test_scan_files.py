"""Scans found in files as people have them: loose images, DICOM series, zip files; and zip files that are no good."""

import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib.datasets.scan_files import scans_in, sorted_out
from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.volume import read_volume, write_volume
from CrossModalSegLib.imaging.zip_files import unpack
from Testing.dicom_files import write_series
from Testing.volumes import grid_around, stored_otherwise

GRID = grid_around((12, -30, 45), (7, 6, 5), (0.8, 0.9, 3.0))
ARRAY = np.arange(np.prod(GRID.shape_kji), dtype=np.int16).reshape(GRID.shape_kji)


def zipped(folder, target):
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return target


def code_of(action):
    with pytest.raises(InputError) as caught:
        action()
    return caught.value.code


def test_images_are_found_at_any_depth_by_their_names_without_suffix(tmp_path):
    (tmp_path / "deeper").mkdir()
    for name in ("t10.nii.gz", "t2.nrrd", "deeper/flair.mha"):
        write_volume(tmp_path / name, ARRAY, GRID)
    (tmp_path / "notes.txt").write_text("no scan")
    (tmp_path / ".t1.nrrd").write_bytes(b"what a program has left")
    assert [scan.name for scan in scans_in(tmp_path)] == ["flair", "t2", "t10"]


def test_each_dicom_series_is_one_scan_with_its_description_modality_and_patient(tmp_path):
    write_series(tmp_path / "study", ARRAY[:3], GRID, description="scout", name="A{:04d}")
    write_series(tmp_path / "study", ARRAY, GRID, description="axial thin", name="B{:04d}")
    first, second = scans_in(tmp_path)
    assert (first.name, first.dicom_modality, second.name) == ("axial thin", "CT", "scout")
    assert any(np.array_equal(other.array, ARRAY) for other in stored_otherwise(read_volume(first.path, "CT")))
    assert read_volume(second.path, "CT").grid.shape_kji == (3, *GRID.shape_kji[1:])


def test_a_series_over_folders_is_one_scan(tmp_path):
    files = write_series(tmp_path / "A", ARRAY, GRID)
    (tmp_path / "B").mkdir()
    for file in files[3:]:
        file.rename(tmp_path / "B" / file.name)
    (scan,) = scans_in(tmp_path)
    assert any(np.array_equal(other.array, ARRAY) for other in stored_otherwise(read_volume(scan.path, "CT")))


def test_files_that_may_have_been_slices_are_named_where_there_is_no_scan(tmp_path):
    (tmp_path / "IM0001").write_bytes(b"")
    with pytest.raises(InputError, match="IM0001 is empty") as caught:
        scans_in(tmp_path)
    assert caught.value.code == "no-scans"


def test_a_zip_file_of_dicom_and_images_is_opened_as_if_it_were_a_folder(tmp_path):
    source, upload = tmp_path / "source", tmp_path / "upload"
    source.mkdir()
    upload.mkdir()
    write_series(source / "series", ARRAY, GRID, description="axial")
    write_volume(source / "mr.nrrd", ARRAY, GRID)
    zipped(source, upload / "case.zip")
    assert {scan.name for scan in scans_in(upload)} == {"axial", "mr"}


def test_files_without_a_scan_are_refused_with_what_can_be_read(tmp_path):
    (tmp_path / "report.txt").write_text("nothing")
    with pytest.raises(InputError, match=r"no-scans.*no scan: report\.txt"):
        scans_in(tmp_path)
    for number in range(7):
        (tmp_path / f"page{number}.txt").write_text("nothing")
    with pytest.raises(InputError, match=r"page0\.txt, .*page4\.txt and 3 more"):
        scans_in(tmp_path)


def test_files_that_belong_to_no_scan_are_named(tmp_path):
    write_volume(tmp_path / "t1.nrrd", ARRAY, GRID)
    write_series(tmp_path / "study", ARRAY, GRID, description="axial")
    (tmp_path / "study" / "notes.txt").write_text("no scan")
    scans, others = sorted_out(tmp_path)
    assert ({scan.name for scan in scans}, others) == ({"t1", "axial"}, ["notes.txt"])


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "C:out", "a\\out"])
def test_a_zip_with_names_that_lead_out_of_it_is_refused_before_it_is_unpacked(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("good", b"x")
        archive.writestr(name, b"x")
    assert code_of(lambda: unpack(tmp_path / "bad.zip", tmp_path / "in", 1000)) == "zip-unsafe"
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_a_zip_with_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert code_of(lambda: unpack(tmp_path / "bad.zip", tmp_path / "in", 1000)) == "zip-unsafe"


def test_a_zip_with_one_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("IM1", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("IM1", b"two")
    assert code_of(lambda: unpack(tmp_path / "bad.zip", tmp_path / "in", 1000)) == "zip-unsafe"


@pytest.mark.parametrize("other", ["./IM1", ".//IM1", "IM1/slice", "./IM1/a/slice", "n" * 256])
def test_a_zip_whose_names_no_folder_can_have_at_once_is_refused(other, tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("IM1", b"one")
        archive.writestr(other, b"two")
    assert code_of(lambda: unpack(tmp_path / "bad.zip", tmp_path / "in", 1000)) == "zip-unsafe"


def test_a_zip_that_would_fill_the_disk_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 10_000)
    assert code_of(lambda: unpack(tmp_path / "bad.zip", tmp_path / "in", 9_999)) == "zip-too-large"
    assert not (tmp_path / "in").exists()


def test_what_is_no_zip_or_ends_early_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    assert code_of(lambda: unpack(tmp_path / "text.zip", tmp_path / "in", 1000)) == "unreadable"
    assert code_of(lambda: unpack(tmp_path / "missing.zip", tmp_path / "in", 1000)) == "unreadable"


def test_data_files_of_headers_are_parts_of_their_scans_and_no_files_too_many(tmp_path):
    image = sitk.GetImageFromArray(ARRAY.astype(np.int16))
    GRID.to_sitk_geometry(image)
    for name in ("pair.hdr", "slicer.nhdr", "meta.mhd"):
        sitk.WriteImage(image, tmp_path / name)
    (tmp_path / "notes.img").write_bytes(b"of nobody")
    found, others = sorted_out(tmp_path)
    assert [one.name for one in found] == ["meta", "pair", "slicer"]
    assert others == ["notes.img"]
    assert all(np.array_equal(read_volume(one.path, "CT").array, ARRAY.astype(np.int16)) for one in found)
