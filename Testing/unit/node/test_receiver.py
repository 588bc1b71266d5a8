"""Who may send what to the node, and what becomes of it; over real connections."""

import ssl
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from CrossModalSegLib.errors import ConfigError, CrossModalSegError, OutputError
from CrossModalSegLib.node.config import NodeConfig, NodeSettings, PeerConfig, RuleConfig, TlsConfig
from CrossModalSegLib.node.dicom_node import DicomNode
from CrossModalSegLib.node.peers import DicomPeer, PeerError, peer_named
from CrossModalSegLib.node.receiver import ImageStore, Receiver
from CrossModalSegLib.node.study_queue import StudyQueue
from CrossModalSegLib.pacs.export import write_objects
from Testing.dicom_pair import files_of, write_pair
from Testing.dicom_results import GRIDS, LABEL_MAP, MODEL, written_series
from Testing.orthanc import MISSING, PROGRAM, free_port, running_orthanc

pytest.importorskip("pynetdicom")
pytestmark = pytest.mark.slow


class Place:
    """A receiver with its queue; peers are those who call it."""

    def __init__(self, folder, *, callers=None, tls=None, **settings):
        self.port = free_port()
        callers = callers or {"scanner": PeerConfig("SCANNER", "127.0.0.1", self.port, may_send=True)}
        node = NodeSettings(port=self.port, folder=str(folder), **settings)
        self.config = NodeConfig(node, callers, tls=tls or TlsConfig())
        self.queue = StudyQueue(folder / "queue.sqlite")
        self.store = ImageStore(folder, self.queue, threading.Lock())
        self.now = 1000.0
        self.receiver = Receiver(self.config, self.store, lambda: self.now)
        self.receiver.start()

    def caller(self, title="SCANNER", called="CROSSMODALSEG", tls=None):
        """Somebody who calls the node, as a peer that it is to them."""
        there = PeerConfig(called, "127.0.0.1", self.port, tls=tls is not None)
        return DicomPeer("node", there, NodeConfig(NodeSettings(ae_title=title), tls=tls or TlsConfig()))

    def images(self):
        return sorted(self.store.folder.rglob("*.dcm"))

    def stop(self):
        self.receiver.stop()
        self.queue.close()


@pytest.fixture
def places(tmp_path):
    """Makes places, and stops them."""
    made = []

    def make(**options):
        folder = tmp_path / f"place {len(made)}"
        folder.mkdir()
        made.append(Place(folder, **options))
        return made[-1]

    yield make
    for place in made:
        place.stop()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_pair(folder)
    return folder


def reasons(peer, files):
    return {why_not for _file, why_not in peer.send(files)}


def test_what_is_sent_is_on_disk_and_in_the_queue(places, study):
    place, files = places(), files_of(study)[:7]
    assert reasons(place.caller(), files) == {""}
    sent = {pydicom.dcmread(file).SOPInstanceUID for file in files}
    kept = [pydicom.dcmread(file) for file in place.images()]
    assert {image.SOPInstanceUID for image in kept} == sent
    assert kept[0].pixel_array.any()
    assert place.queue.size_of(kept[0].StudyInstanceUID)[0] == 7
    assert place.queue.counts() == {"arriving": 1}


@pytest.mark.parametrize(("title", "called"), [("STRANGER", "CROSSMODALSEG"), ("SCANNER", "OTHER")])
def test_who_is_not_known_is_refused(places, study, title, called):
    place = places()
    with pytest.raises(PeerError, match="refuses us"):
        list(place.caller(title, called).send(files_of(study)[:1]))
    assert place.images() == []


def test_the_address_has_to_be_that_of_the_title(places, study):
    place = places(callers={"scanner": PeerConfig("SCANNER", "127.0.0.9", 104, may_send=True)})
    with pytest.raises(PeerError, match="refuses us"):
        list(place.caller().send(files_of(study)[:1]))


def test_who_may_not_send_is_refused(places, study):
    place = places(callers={"archive": PeerConfig("SCANNER", "127.0.0.1", 104)})
    with pytest.raises(PeerError, match="refuses us"):
        list(place.caller().send(files_of(study)[:1]))


def test_echo_is_answered(places):
    places().caller().echo()


def test_more_images_than_allowed_are_not_taken(places, study):
    place = places(most_images=3)
    assert [why_not for _file, why_not in place.caller().send(files_of(study)[:5])] == [
        "",
        "",
        "",
        *["status 0xA700"] * 2,
    ]
    assert len(place.images()) == 3


def test_more_bytes_than_allowed_are_not_taken(places, study):
    assert reasons(places(largest_study_gb=1e-6).caller(), files_of(study)[:1]) == {"status 0xA700"}


def test_an_image_that_is_sent_again_is_one_image(places, study):
    place = places()
    for _again in range(2):
        assert reasons(place.caller(), files_of(study)[:2]) == {""}
    assert len(place.images()) == 2


def test_a_report_is_taken_and_not_kept(places, tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    (tmp_path / "made").mkdir()
    write_objects(tmp_path / "made", {"T1w": written.scan}, LABEL_MAP, MODEL, "labelmap")
    place = places()
    assert reasons(place.caller(), files_of(tmp_path / "made")) == {""}
    assert (place.images(), place.queue.counts()) == ([], {})


def test_a_uid_cannot_lead_out_of_the_folder(places, study, tmp_path):
    content, uid = files_of(study)[0].read_bytes(), pydicom.dcmread(files_of(study)[0]).StudyInstanceUID
    (tmp_path / "bad.dcm").write_bytes(content.replace(uid.encode(), b"../" * (len(uid) // 3) + b"x" * (len(uid) % 3)))
    place = places()
    assert reasons(place.caller(), [tmp_path / "bad.dcm"]) == {"status 0xC000"}
    assert place.images() == []


def test_a_port_that_is_taken_is_told(places):
    place = places()
    with pytest.raises(OutputError, match="port-taken"):
        Receiver(place.config, place.store, lambda: 0.0).start()


def test_tls_is_spoken_with_those_who_have_a_certificate(places, study, tmp_path):
    files = {name: str(tmp_path / f"{name}.pem") for name in ("key", "certificate")}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", files["key"], "-out", files["certificate"]]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    ours = TlsConfig(**files, authority=files["certificate"])
    place = places(tls=ours)
    assert reasons(place.caller(tls=ours), files_of(study)[:1]) == {""}
    for theirs in (None, TlsConfig(authority=files["certificate"])):  # no TLS, and no certificate of their own
        with pytest.raises((PeerError, ssl.SSLError)):
            list(place.caller(tls=theirs).send(files_of(study)[1:2]))
    assert len(place.images()) == 1


def test_a_key_that_is_none_is_told(places, tmp_path):
    (tmp_path / "key.pem").write_text("no key")
    config = NodeConfig(tls=TlsConfig(certificate=str(tmp_path / "key.pem")))
    with pytest.raises(ConfigError, match="error\\[tls\\]"):
        Receiver(config, places().store, lambda: 0.0).start()


class PreparedWorker:
    """Writes segmentations that were made before; counts how often it is asked. ``error``: raised instead."""

    def __init__(self, tmp_path):
        self.written = written_series(tmp_path / "prepared", GRIDS["straight"])
        self.asked, self.error, self.meanwhile = 0, None, lambda: None

    def segment(self, _bundle, inputs, output, _device, seg_type, structure_set):
        self.asked += 1
        self.meanwhile()
        if self.error:
            raise self.error
        output.mkdir(parents=True)
        scans = dict.fromkeys(inputs, self.written.scan)
        write_objects(output, scans, LABEL_MAP, MODEL, seg_type, with_structure_set=structure_set)
        (output / "report.json").write_text("{}")
        return {}

    def stop(self):
        pass


@pytest.fixture
def archive(tmp_path):
    if PROGRAM is None:
        pytest.skip(MISSING)
    with running_orthanc(tmp_path / "orthanc") as archive:
        yield archive


def working(place, tmp_path, archive=None, send_to=(), **rules):
    """A node on a place, which sends to the archive by DICOM and by DICOMweb."""
    port, url = (archive.dicom_port, archive.web_url) if archive else (1, "http://127.0.0.1:1/")
    peers = {**place.config.peers, "archive": PeerConfig("ORTHANC", "127.0.0.1", port), "web": PeerConfig(url=url)}
    settings = replace(place.config.node, send_to=send_to, structure_set=True)
    config = NodeConfig(settings, peers, {name: RuleConfig(**rule) for name, rule in rules.items()})
    return DicomNode(config, place.store, PreparedWorker(tmp_path), lambda: place.now)


def test_results_go_to_all_peers_once_and_nothing_is_twice_after_a_kill(places, study, tmp_path, archive):
    place = places()
    node = working(place, tmp_path, archive, ("archive", "web"))
    assert reasons(place.caller(), files_of(study)) == {""}
    assert not node.segment_next()  # images may still come
    place.now += 61
    assert node.segment_next()
    assert place.queue.counts() == {"sending": 1}
    due = place.queue.due_deliveries(place.now, 9)
    list(peer_named(node._config, "archive").send([Path(one.file) for one in due[:2]]))  # killed before this was noted
    while node.send_next():
        pass
    assert place.queue.counts() == {"done": 1}
    # Both scans of this worker are of one series: one object of each kind by both peers.
    assert [len(archive.instances(kind)) for kind in ("SEG", "SR", "RTSTRUCT")] == [1, 1, 1]


def test_a_finished_result_is_not_made_again_after_a_kill(places, study, tmp_path):
    place = places()
    node = working(place, tmp_path, send_to=("archive",))
    list(place.caller().send(files_of(study)))
    place.now += 61
    node._queue.made, made = lambda *_: None, node._queue.made  # killed just before the results are noted
    assert node.segment_next()
    node._queue.made = made
    place.queue.resume()
    assert node.segment_next()
    assert (node._worker.asked, place.queue.counts()) == (1, {"sending": 1})


def test_a_study_that_grows_while_it_is_segmented_is_segmented_again(places, study, tmp_path):
    place, files = places(), files_of(study)
    node = working(place, tmp_path)
    list(place.caller().send(files[:-1]))
    place.now += 61
    node._worker.meanwhile = lambda: list(place.caller().send(files[-1:]))
    assert node.segment_next()
    assert place.queue.counts() == {"arriving": 1}
    node._worker.meanwhile = lambda: None
    place.now += 61
    assert node.segment_next()
    assert place.queue.counts() == {"done": 1}  # to nobody: it has no peers


@pytest.mark.parametrize(("code", "state"), [("out-of-memory", "waiting"), ("no-overlap", "refused")])
def test_what_may_pass_is_tried_again_and_what_is_the_studys_own_is_refused(places, study, tmp_path, code, state):
    place = places()
    node = working(place, tmp_path)
    node._worker.error = CrossModalSegError(code, "something", "do something")
    list(place.caller().send(files_of(study)))
    place.now += 61
    assert node.segment_next()
    assert place.queue.counts() == {state: 1}
    assert place.queue.studies()[0].reason == f"{code}: something"


def test_a_rule_for_a_modality_that_the_model_does_not_know_is_told(places, tmp_path):
    with pytest.raises(ConfigError, match="the model knows T1w, T2w"):
        working(places(), tmp_path, CT={"plane": "axial"})


def test_files_go_after_some_days(places, study, tmp_path):
    place = places(keep_days=1.0)
    node = working(place, tmp_path)
    list(place.caller().send(files_of(study)))
    place.now += 61
    assert node.segment_next()
    assert len(place.images()) == 44 + 6
    place.now += 86400
    node.segment_next()
    assert place.images() == []
    assert place.queue.counts() == {"done": 1}


def test_a_broken_transfer_leaves_whole_images_alone(places, study):
    place = places()
    sent = place.caller().send(files_of(study))
    for _ in range(3):
        next(sent)
    sent.close()  # the connection ends
    time.sleep(0.1)
    assert len(place.images()) == 3
    assert all(pydicom.dcmread(file).pixel_array.shape == (28, 24) for file in place.images())
