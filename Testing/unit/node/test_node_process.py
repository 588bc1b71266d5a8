"""The node as it runs, with a real PACS: from images to segmentation and report, and through kills."""

import contextlib
import io
import re
import time

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.imaging.lattice import placed_on
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume
from Testing.dicom_pair import GRID, NodeProcess, count_volumes, eventually, write_pair
from Testing.orthanc import MISSING, PROGRAM, running_orthanc
from Testing.tiny_bundle import LABEL_MAP, dice, intensity_bundle, true_labels
from Testing.volumes import points_of

pytest.importorskip("pynetdicom")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason=MISSING), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return intensity_bundle(tmp_path_factory.mktemp("bundle") / "tiny").path


@pytest.fixture
def archive(tmp_path):
    with running_orthanc(tmp_path / "orthanc") as archive:
        yield archive


@pytest.fixture
def node(tmp_path, bundle, archive):
    node = NodeProcess(tmp_path / "node", bundle, archive.dicom_port)
    archive.modalities = {"node": ("CROSSMODALSEG", node.port)}
    archive.stop()
    archive.start()  # it knows the node now
    yield node
    if node.is_running:
        node.kill()


def results(archive):
    return {modality: len(archive.instances(modality)) for modality in ("SEG", "SR", "RTSTRUCT")}


def test_a_study_comes_back_as_segmentation_and_report(tmp_path, archive, node):
    study = write_pair(tmp_path / "study")
    archive.add(tmp_path / "study")
    node.start()
    archive.send_studies("node")
    node.wait_for("done")
    assert results(archive) == {"SEG": 2, "SR": 2, "RTSTRUCT": 2}
    files = [pydicom.dcmread(io.BytesIO(archive.file(one))) for one in archive.instances("SEG")]
    assert {file.StudyInstanceUID for file in files} == {study.uid}
    reports = [pydicom.dcmread(io.BytesIO(archive.file(one))) for one in archive.instances("SR")]
    assert [count_volumes(report) for report in reports] == [3, 3]
    (first,) = [file for file in files if file.SeriesNumber == 101]
    first.save_as(tmp_path / "first.dcm")
    labels, grid, own = read_segmentation(tmp_path / "first.dcm")
    scan = read_volume(tmp_path / "study" / "1", "T1w")
    placed = placed_on(labels, grid, scan.grid)
    truth = true_labels(points_of(scan.grid))
    assert np.allclose(scan.grid.ijk_to_ras, GRID.ijk_to_ras, atol=1e-3)
    for structure in own.structures:
        value = LABEL_MAP.by_name(structure.name).value
        assert dice(np.where(placed == structure.value, value, 0), truth, value) > 0.9
    archive.send_studies("node")  # once more: it has all of it
    time.sleep(3)
    assert node.status()["counts"] == {"done": 1}
    assert node.stop() == 0
    everything = node.log + str(node.folder)
    assert not re.search(r"Phantom|PHANTOM|19700101|20260101", everything)


def test_killed_at_ten_moments_nothing_is_lost_and_nothing_is_twice(tmp_path, archive, node):
    write_pair(tmp_path / "study")
    archive.add(tmp_path / "study")
    node.start()
    archive.send_studies("node")
    for moment in (0.0, 1.0, 2.2, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0):
        time.sleep(moment / 2)
        node.kill()
        node.start()
    node.wait_for("done")
    assert results(archive) == {"SEG": 2, "SR": 2, "RTSTRUCT": 2}
    (study,) = node.status()["studies"]
    assert (study["sent"], study["to send"]) == (6, 6)


def test_killed_while_images_come_what_was_answered_is_there(tmp_path, archive, node):
    from CrossModalSegLib.node.config import read_node_config
    from CrossModalSegLib.node.peers import DicomPeer
    from Testing.dicom_pair import files_of

    write_pair(tmp_path / "study")
    node.further = (
        f'[peers.node]\nae_title = "CROSSMODALSEG"\naddress = "127.0.0.1"\nport = {node.port}\nmay_send = true\n'
    )
    node.start()
    config = read_node_config(node.config)
    peer = DicomPeer("node", config.peer("node"), config)
    assert _sent_until(17, peer, files_of(tmp_path / "study"), node.kill) >= 17
    node.start()
    images = [*(node.folder / "node" / "images").rglob("*.dcm")]
    assert len(images) >= 17
    assert sum(why_not == "" for _file, why_not in peer.send(files_of(tmp_path / "study"))) == 44
    node.wait_for("done")
    assert results(archive) == {"SEG": 2, "SR": 2, "RTSTRUCT": 2}


def test_results_wait_for_a_pacs_that_is_down(tmp_path, archive, node):
    write_pair(tmp_path / "study")
    archive.add(tmp_path / "study")
    node.settings = "quiet_seconds = 3\nretry_seconds = 1\nretries = 100\nstructure_set = true"
    node.start()
    archive.send_studies("node")
    archive.stop()
    node.wait_for("sending")
    eventually(lambda: "does not answer" in node.log, 60, node)
    archive.start()
    node.wait_for("done")
    assert results(archive) == {"SEG": 2, "SR": 2, "RTSTRUCT": 2}


def test_a_study_without_a_pair_is_listed_with_its_reason(tmp_path, archive, node):
    write_pair(tmp_path / "study")
    for file in (tmp_path / "study" / "2").iterdir():
        file.unlink()
    archive.add(tmp_path / "study")
    node.start()
    archive.send_studies("node")
    (study,) = node.wait_for("refused")["studies"]
    assert study["reason"].startswith(
        "unpaired: no T2w: series 1 't1 mprage' (24 slices, axial): T1w, the only one left"
    )
    assert results(archive) == {"SEG": 0, "SR": 0, "RTSTRUCT": 0}


def _sent_until(count, peer, files, then):
    """How many files were taken; after ``count`` of them, ``then`` is called, and the connection ends."""
    from CrossModalSegLib.node.peers import PeerError

    taken = 0
    with contextlib.suppress(PeerError):
        for _file, why_not in peer.send(files):
            taken += why_not == ""
            if taken == count:
                then()
    assert taken < len(files)
    return taken
