"""Who the patient is, is in no file that a run writes, however the scan says it: in its header, its path, its
faults."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.cli import main
from Testing.dicom_files import write_series
from Testing.scan_faults import GRID, WHOLE
from Testing.tiny_bundle import intensity_bundle

NAME, IDENTITY, BIRTH = "Mustermann", "PID-471147", "19610417"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return intensity_bundle(tmp_path_factory.mktemp("bundles") / "quick", (32, 36, 32), 4.0).path


def series_of_a_person(folder: Path) -> Path:
    """A series whose headers, folder and file names say who it is, with something to be said about its files."""
    files = write_series(folder / f"{NAME}_{BIRTH}", WHOLE.astype(np.int16), GRID, name=f"{NAME}_{{:04d}}")
    for file in files:
        header = pydicom.dcmread(file)
        header.PatientName, header.PatientID, header.PatientBirthDate = f"{NAME}^Erika", IDENTITY, BIRTH
        header.SeriesDescription = f"head of {NAME}"
        header.InstanceNumber = 2 * int(header.InstanceNumber)  # gaps in the numbers are told
        header.save_as(file)
    (files[0].parent / f"{NAME}.txt").write_text("a note")
    return files[0].parent


def everything_in(folder: Path) -> bytes:
    """Names and content of all files, unpacked where they are packed."""
    found = b""
    for path in folder.rglob("*"):
        found += path.relative_to(folder).as_posix().encode() + b"\n"
        content = path.read_bytes() if path.is_file() else b""
        found += content
        for unpack in (gzip.decompress, lambda data: zlib.decompressobj(31).decompress(data[data.find(b"\x1f\x8b") :])):
            try:
                found += unpack(content)
            except (OSError, EOFError, zlib.error):
                continue
    return found


@pytest.mark.parametrize("form", ["seg.nrrd", "nii.gz"])
def test_no_file_of_a_result_says_who_the_patient_is(bundle, tmp_path, form, capsys):
    series = series_of_a_person(tmp_path)
    arguments = [
        "--bundle",
        str(bundle),
        "--output",
        str(tmp_path / "result"),
        "--format",
        form,
        "--save-probabilities",
    ]
    assert main(["segment", "--input", f"T1w={series}", *arguments]) == 0
    written = everything_in(tmp_path / "result").lower()
    assert b"confidence" in written
    for word in (NAME, "Erika", IDENTITY, BIRTH):
        assert word.lower().encode() not in written
    assert NAME not in capsys.readouterr().out
