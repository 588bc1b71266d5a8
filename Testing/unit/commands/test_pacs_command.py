"""``crossmodalseg pacs`` and ``crossmodalseg node --list``, as they are typed, against a real Orthanc."""

import io

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.cli import main
from CrossModalSegLib.imaging.dicom_segments import LABELMAP_CLASS
from CrossModalSegLib.imaging.lattice import placed_on
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.node.study_queue import StudyQueue
from CrossModalSegLib.pacs.export import write_objects
from scripts.dicom_study import Study
from Testing.dicom_pair import files_of, write_pair
from Testing.dicom_results import GRIDS, LABEL_MAP, MODEL, written_series
from Testing.orthanc import MISSING, PROGRAM, free_port, running_orthanc

for package in ("pynetdicom", "highdicom", "dicomweb_client"):
    pytest.importorskip(package)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip(MISSING)
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


@pytest.fixture
def config(tmp_path, archive):
    """The archive by DICOM and by DICOMweb, and one that does not answer."""
    path = tmp_path / "pacs.toml"
    path.write_text(
        f'[peers.archive]\nae_title = "ORTHANC"\naddress = "127.0.0.1"\nport = {archive.dicom_port}\n'
        f'[peers.web]\nurl = "{archive.web_url}"\n'
        f'[peers.nobody]\nae_title = "NOBODY"\naddress = "127.0.0.1"\nport = {free_port()}\n'
    )
    return path


def pacs(config, action, peer, *arguments):
    return main(["pacs", action, peer, "--config", str(config), *map(str, arguments)])


def pixels_by_uid(folder):
    return {str(one.SOPInstanceUID): one.PixelData for one in map(pydicom.dcmread, files_of(folder))}


@pytest.mark.parametrize("peer", ["archive", "web"])
def test_a_study_that_is_sent_is_found_and_got_as_it_was(tmp_path, archive, config, capsys, peer):
    del archive
    study = write_pair(tmp_path / "study", Study(patient_id=f"ID-{peer}"))
    assert pacs(config, "send", peer, tmp_path / "study") == 0
    assert capsys.readouterr().out == f"44 of 44 files sent to {peer}\n"
    assert pacs(config, "find", peer, "--patient", f"ID-{peer}") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["date", "modalities", "description", "patient", "accession", "study"]
    assert row.split() == ["20260101", "MR", f"ID-{peer}", "A1", study.uid]
    assert pacs(config, "find", peer, "--patient", "somebody else") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert pacs(config, "get", peer, "--study", study.uid, "--output", tmp_path / "got") == 0
    assert capsys.readouterr().out == f"44 images in {tmp_path / 'got'}\n"
    assert pixels_by_uid(tmp_path / "study") == pixels_by_uid(tmp_path / "got")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # pynetdicom drops the socket of a connection that was refused
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_goes_wrong_is_one_line_and_exit_code_2(tmp_path, config, capsys):
    write_pair(tmp_path / "study")
    for arguments, code in (
        (("echo", "nobody"), "peer"),
        (("send", "nobody", tmp_path / "study"), "peer"),
        (("echo", "web"), "usage"),
        (("find", "archive"), "usage"),
        (("find", "stranger", "--patient", "1"), "no-such-peer"),
        (("get", "archive", "--study", "1.2.3", "--output", tmp_path / "out"), "peer"),
        (("get", "web", "--study", "1.2.3", "--output", tmp_path / "out"), "peer"),
        (("send", "archive", tmp_path / "nothing"), "not-found"),
    ):
        assert pacs(config, *arguments) == 2, arguments
        error = capsys.readouterr().err
        assert error.startswith(f"error[{code}]: "), (arguments, error)
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert pacs(config, "echo", "archive") == 0
    assert capsys.readouterr().out == "archive answers\n"


@pytest.mark.parametrize("peer", ["archive", "web"])
def test_a_label_map_of_the_new_class_is_stored_and_comes_back_with_the_same_voxels(
    tmp_path, archive, config, capsys, peer
):
    written = written_series(tmp_path / "scan", GRIDS["oblique"])
    (tmp_path / "made").mkdir()
    write_objects(tmp_path / "made", {"T1w": written.scan}, LABEL_MAP, MODEL, "labelmap", (peer,))
    assert pacs(config, "send", peer, tmp_path / "made") == 0
    assert capsys.readouterr().out == f"2 of 2 files sent to {peer}\n"
    uid = str(pydicom.dcmread(tmp_path / "made" / "T1w_segmentation.dcm").SOPInstanceUID)
    (stored,) = [name for name in archive.instances("SEG") if uid in str(archive.asked(f"/instances/{name}/tags"))]
    (tmp_path / "back.dcm").write_bytes(archive.file(stored))
    back = pydicom.dcmread(io.BytesIO(archive.file(stored)))
    assert (back.SOPClassUID, back.SOPInstanceUID) == (LABELMAP_CLASS, uid)
    labels, grid, _ = read_segmentation(tmp_path / "back.dcm")
    assert np.array_equal(placed_on(labels, grid, written.volume.grid), written.labels)


def test_the_queue_is_listed_and_a_study_tried_again(tmp_path, capsys):
    config = tmp_path / "node.toml"
    config.write_text('[node]\nfolder = "node"\n')
    node = lambda *options: main(["node", str(config), *options])
    assert node("--list") == 2
    assert capsys.readouterr().err.startswith("error[not-found]: there is no queue")
    (tmp_path / "node").mkdir()
    StudyQueue(tmp_path / "node" / "queue.sqlite").close()
    assert node("--list") == 0
    assert capsys.readouterr().out.split() == [
        "study",
        "from",
        "last",
        "image",
        "state",
        "sent",
        "to",
        "send",
        "reason",
    ]
    assert node("--again", "1f0c") == 2
    assert capsys.readouterr().err.startswith("error[no-such-study]: ")
