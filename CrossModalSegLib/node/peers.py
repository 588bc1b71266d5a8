"""What is asked of another system: C-ECHO, C-FIND, C-GET and C-STORE, or the same by DICOMweb."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pydicom.dataset import Dataset

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.dicom_header import read_data_set
from CrossModalSegLib.imaging.dicom_segments import LABELMAP_CLASS
from CrossModalSegLib.node.config import NodeConfig, PeerConfig
from CrossModalSegLib.node.names import file_key
from CrossModalSegLib.node.tls import client_context
from CrossModalSegLib.pacs.packages import package

WHAT = "speaking to a PACS"
SECONDS_TO_CONNECT, SECONDS_FOR_AN_ANSWER = 10, 120
_HINT = "check that it runs, and that it knows our AE title and address"
_PENDING = (0xFF00, 0xFF01)
_RETRIEVED_CLASSES = (  # a C-GET has to name what may come, at most 128
    "CTImageStorage", "EnhancedCTImageStorage", "MRImageStorage", "EnhancedMRImageStorage", "EnhancedPETImageStorage",
    "PositronEmissionTomographyImageStorage", "SecondaryCaptureImageStorage", "SegmentationStorage",
    "Comprehensive3DSRStorage", "ComprehensiveSRStorage", "EnhancedSRStorage", "ParametricMapStorage",
    "RTStructureSetStorage",
)  # fmt: skip
_FOUND = ("StudyInstanceUID", "StudyDate", "StudyDescription", "ModalitiesInStudy", "PatientID", "AccessionNumber")


class PeerError(CrossModalSegError):
    """Another system that does not answer, or not as it should."""

    def __init__(self, message: str, hint: str = _HINT):
        super().__init__("peer", message, hint)


class Peer(Protocol):
    """Another system, whichever way it is spoken to. All raise PeerError."""

    def send(self, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
        """Send files; each with why it was not taken, "" where it was. In order, as far as the connection holds."""

    def find(self, wanted: Mapping[str, str]) -> list[Dataset]:
        """Studies that match ``wanted``, attributes by keyword."""

    def get(self, study: str, folder: Path) -> int:
        """Retrieve a study into ``folder``, a file per instance; returns how many."""


def peer_named(config: NodeConfig, name: str) -> Peer:
    """Raises ConfigError ``no-such-peer``."""
    peer = config.peer(name)
    return DicomWebPeer(name, peer, config) if peer.url else DicomPeer(name, peer, config)


class DicomPeer:
    """A peer that is spoken to by DIMSE."""

    def __init__(self, name: str, peer: PeerConfig, config: NodeConfig):
        self._name, self._peer, self._config = name, peer, config

    def echo(self) -> None:
        """C-ECHO. Raises PeerError."""
        with self._associated([("1.2.840.10008.1.1", None)]) as association:
            self._require(association.send_c_echo(), "C-ECHO")

    def send(self, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
        contexts: dict[tuple[str, str | None], None] = {}
        for file in files:
            header = read_data_set(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            contexts[str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID)] = None
        with self._associated([*contexts]) as association:
            for file in files:
                try:
                    status = association.send_c_store(str(file)).get("Status")
                except (ValueError, RuntimeError) as error:  # not taken by the peer, or the connection is gone
                    yield file, " ".join(str(error).split())
                    continue
                if status is None:
                    raise PeerError(f"{self._name} broke the connection off")
                is_taken = status == 0 or status >> 12 == 0xB  # with a warning (PS3.4 B.2.3)
                yield file, "" if is_taken else f"status 0x{status:04X}"

    def find(self, wanted: Mapping[str, str]) -> list[Dataset]:
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        for keyword in _FOUND:
            setattr(query, keyword, wanted.get(keyword, ""))
        model = package("pynetdicom.sop_class", WHAT).StudyRootQueryRetrieveInformationModelFind
        found = []
        with self._associated([(model, None)]) as association:
            for status, answer in association.send_c_find(query, model):
                self._require(status, "C-FIND", _PENDING)
                if answer is not None:
                    found.append(answer)
        return found

    def get(self, study: str, folder: Path) -> int:
        network, classes = package("pynetdicom", WHAT), package("pynetdicom.sop_class", WHAT)
        model = classes.StudyRootQueryRetrieveInformationModelGet
        storage = [*(getattr(classes, name) for name in _RETRIEVED_CLASSES), LABELMAP_CLASS]
        query = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study
        kept: list[str] = []

        def keep(event: Any) -> int:
            uid = str(event.request.AffectedSOPInstanceUID)
            write_atomically(folder / f"{file_key(uid)}.dcm", event.encoded_dataset())
            kept.append(uid)
            return 0

        roles = [network.build_role(uid, scp_role=True) for uid in storage]
        contexts = [(model, None), *((uid, None) for uid in storage)]
        folder.mkdir(parents=True, exist_ok=True)
        with self._associated(contexts, roles, [(network.evt.EVT_C_STORE, keep)]) as association:
            for status, _answer in association.send_c_get(query, model):
                self._require(status, "C-GET", _PENDING, "check the study's UID, and that we may retrieve it")
                failed = status.get("NumberOfFailedSuboperations") or 0
                if failed:
                    raise PeerError(f"{self._name} could not send {failed} images of the study")
        return len(set(kept))

    def _require(self, status: Dataset, what: str, further: Sequence[int] = (), hint: str = _HINT) -> None:
        value = status.get("Status")
        if value is None:
            raise PeerError(f"{self._name} broke the {what} off")
        if value not in (0, *further):
            comment = str(status.get("ErrorComment") or "")
            raise PeerError(f"{self._name} answered the {what} with status 0x{value:04X} {comment}".rstrip(), hint)

    @contextmanager
    def _associated(
        self, contexts: Sequence[tuple[str, str | None]], roles: Sequence[Any] = (), handlers: Sequence[Any] = ()
    ) -> Iterator[Any]:
        network = package("pynetdicom", WHAT)
        entity = network.AE(self._config.node.ae_title)
        entity.connection_timeout = entity.acse_timeout = SECONDS_TO_CONNECT
        entity.dimse_timeout = entity.network_timeout = SECONDS_FOR_AN_ANSWER
        for abstract, syntax in contexts:
            entity.add_requested_context(abstract, *([syntax] if syntax else []))
        peer, opened = self._peer, []
        remember = (network.evt.EVT_CONN_OPEN, lambda event: opened.append(event.assoc.dul.socket.socket))
        association = entity.associate(
            peer.address,
            peer.port,
            ae_title=peer.ae_title,
            ext_neg=[*roles],
            evt_handlers=[*handlers, remember],
            tls_args=(client_context(self._config.tls), peer.address) if peer.tls else None,
        )
        if not association.is_established:
            for connection in opened:  # pynetdicom leaves those open that the peer has closed
                connection.close()
            why = "refuses us" if association.is_rejected else "does not answer"
            raise PeerError(f"{self._name} ({peer.ae_title} at {peer.address}:{peer.port}) {why}")
        try:
            yield association
        finally:
            if association.is_established:
                association.release()


class DicomWebPeer:
    """A peer that is spoken to by DICOMweb (PS3.18)."""

    def __init__(self, name: str, peer: PeerConfig, config: NodeConfig):
        self._name, self._peer, self._config = name, peer, config

    def send(self, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
        for file in files:
            answer = self._asked("store_instances", [read_data_set(file)])
            refused = [int(one.FailureReason) for one in answer.get("FailedSOPSequence") or []]
            yield file, f"status 0x{refused[0]:04X}" if refused else ""

    def find(self, wanted: Mapping[str, str]) -> list[Dataset]:
        filters = {keyword: value for keyword, value in wanted.items() if value}
        found = self._asked("search_for_studies", search_filters=filters, fields=[*_FOUND])
        return [Dataset.from_json(one) for one in found]

    def get(self, study: str, folder: Path) -> int:
        instances = self._asked("retrieve_study", study)
        folder.mkdir(parents=True, exist_ok=True)
        for one in instances:
            one.save_as(folder / f"{file_key(str(one.SOPInstanceUID))}.dcm", enforce_file_format=True)
        return len(instances)

    def _asked(self, method: str, *arguments: Any, **options: Any) -> Any:
        client = package("dicomweb_client.api", WHAT).DICOMwebClient(url=self._peer.url)
        client.set_http_retry_params(retry=False)
        try:
            return getattr(client, method)(*arguments, **options)
        except (OSError, ValueError, RuntimeError) as error:  # requests' errors are OSError
            raise PeerError(f"{self._name} ({self._peer.url}): {' '.join(str(error).split())[:300]}") from error
