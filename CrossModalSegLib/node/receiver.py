"""Takes images by C-STORE from those who may send; answers that it has an image when it is on disk."""

import hashlib
import logging
import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import UID

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import CrossModalSegError, OutputError
from CrossModalSegLib.imaging.dicom_segments import LABELMAP_CLASS
from CrossModalSegLib.node.config import NodeConfig
from CrossModalSegLib.node.names import file_key
from CrossModalSegLib.node.study_queue import ReceivedImage, StudyQueue
from CrossModalSegLib.node.tls import server_context
from CrossModalSegLib.pacs.packages import package

WHAT = "a DICOM node"
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000  # PS3.4 B.2.3
_REJECTED, _BY_USER, _CALLER_NOT_KNOWN = 1, 1, 3  # PS3.8 9.3.4
_LEAST_FREE_BYTES = 1_000_000_000
_SYNTAXES = (  # what imaging.dicom_pixels decodes
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5",
    *(f"1.2.840.10008.1.2.4.{number}" for number in (70, 57, 80, 81, 90, 91, 50, 51)),
)  # fmt: skip
_log = logging.getLogger("crossmodalseg.node")


@dataclass(frozen=True)
class ImageStore:
    """Where images lie: ``<folder>/images/<key of the study>/<key of the image>.dcm``, noted in the ``queue``.

    ``lock`` is held while files come or go.
    """

    folder: Path
    queue: StudyQueue
    lock: threading.Lock

    def images_of(self, key: str) -> Path:
        return self.folder / "images" / key

    def results_of(self, key: str) -> Path:
        return self.folder / "results" / key

    def keep(self, study: str, image: str, content: bytes, source: str, now: float) -> None:
        """Write an image and note it; one that is there already stays. Raises OutputError ``cannot-write``."""
        digest, key = hashlib.sha256(content).hexdigest(), file_key(study)
        with self.lock:
            if self.queue.knows(image, digest):
                return
            target = self.images_of(key) / f"{file_key(image)}.dcm"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)
            self.queue.received(ReceivedImage(image, study, key, digest, len(content), source), now)

    def clear(self, key: str) -> None:
        for folder in (self.images_of(key), self.results_of(key)):
            shutil.rmtree(folder, ignore_errors=True)


class Receiver:
    """The listening side of the node; ``clock`` gives seconds since 1970."""

    def __init__(self, config: NodeConfig, store: ImageStore, clock: Callable[[], float]):
        self._config, self._store, self._clock = config, store, clock
        self._network = package("pynetdicom", WHAT)
        self._server: Any = None

    def start(self) -> None:
        """Raises OutputError ``port-taken``; ConfigError ``tls``."""
        events, settings = self._network.evt, self._config.node
        entity = self._network.AE(settings.ae_title)
        entity.require_called_aet = True
        entity.network_timeout = 120
        for uid in _storage_classes():
            entity.add_supported_context(uid, [*_SYNTAXES])
        entity.add_supported_context("1.2.840.10008.1.1")
        handlers = [(events.EVT_REQUESTED, self._admit), (events.EVT_C_STORE, self._take)]
        try:
            self._server = entity.start_server(
                (settings.address, settings.port),
                block=False,
                evt_handlers=handlers,
                ssl_context=server_context(self._config.tls),
            )
        except OSError as error:
            message = f"{settings.address}:{settings.port}: {error.strerror or error}"
            raise OutputError("port-taken", message, "choose another node.port or node.address") from error

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()

    def _admit(self, event: Any) -> None:
        """Refuse the association of whom we do not know, by AE title and address."""
        association = event.assoc
        title, address = association.requestor.primitive.calling_ae_title.strip(), association.requestor.address
        if not self._may_send(title, address):
            _log.warning("refused: %r at %s may not send", title, address)
            association.acse.send_reject(_REJECTED, _BY_USER, _CALLER_NOT_KNOWN)
            association.kill()

    def _may_send(self, title: str, address: str) -> bool:
        return any(
            peer.may_send and peer.ae_title.strip() == title and address in _addresses(peer.address)
            for peer in self._config.peers.values()
        )

    def _take(self, event: Any) -> int:
        try:
            return self._kept(event)
        except (CrossModalSegError, OSError) as error:
            _log.error("an image was not kept: %s", error)
            return OUT_OF_RESOURCES

    def _kept(self, event: Any) -> int:
        if not _may_be_scan(str(event.request.AffectedSOPClassUID)):
            return SUCCESS  # its place is the archive, not here
        content = event.encoded_dataset()
        try:
            header = event.dataset
            study, image = str(header.StudyInstanceUID), str(header.SOPInstanceUID)
        except Exception:  # noqa: BLE001 - pydicom raises anything where a data set is damaged
            return CANNOT_UNDERSTAND
        if not (UID(study).is_valid and image == str(event.request.AffectedSOPInstanceUID)):
            return CANNOT_UNDERSTAND
        if not self._has_room(study, len(content)):
            return OUT_OF_RESOURCES
        self._store.keep(study, image, content, event.assoc.requestor.ae_title.strip(), self._clock())
        return SUCCESS

    def _has_room(self, study: str, size: int) -> bool:
        settings = self._config.node
        images, held = self._store.queue.size_of(study)
        too_many = images >= settings.most_images or held + size > settings.largest_study_gb * 1e9
        if too_many:
            _log.error("study %s: more than %d images or %g GB", file_key(study)[:8], images, held / 1e9)
        return not too_many and shutil.disk_usage(self._store.folder).free > _LEAST_FREE_BYTES + size


def _storage_classes() -> list[str]:
    """All that studies consist of: who sends a whole study would fail at its first report otherwise."""
    known = package("pynetdicom.presentation", WHAT).AllStoragePresentationContexts
    return [*dict.fromkeys([*(str(context.abstract_syntax) for context in known), LABELMAP_CLASS])]


def _may_be_scan(sop_class: str) -> bool:
    """Images; reports, presentation states, segmentations and the like are none."""
    name = UID(sop_class).name
    return "Image Storage" in name and any(word in name for word in ("CT", "MR", "Positron", "Capture"))


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()
