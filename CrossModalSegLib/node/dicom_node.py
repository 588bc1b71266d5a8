"""The node at work: a complete study is segmented in the worker, its results go to the peers, one thread for each."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.errors import ConfigError, CrossModalSegError, internal_error, typed_error
from CrossModalSegLib.imaging.dicom_header import read_data_set
from CrossModalSegLib.imaging.dicom_tree import scan_tree
from CrossModalSegLib.node.config import NodeConfig
from CrossModalSegLib.node.peers import peer_named
from CrossModalSegLib.node.receiver import ImageStore
from CrossModalSegLib.node.study_queue import Delivery, Made, Study, StudyQueue
from CrossModalSegLib.pacs.pair import Pair, find_pair

SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_PER_DAY = 86400.0
# What may be gone at the next attempt. All else is of the study itself.
_PASSING = frozenset(
    (
        "worker-died", "out-of-memory", "gpu-fault", "no-gpu", "packages-missing", "internal", "cannot-write",
        "cannot-read",
    )
)  # fmt: skip
_log = logging.getLogger("crossmodalseg.node")


class SegmentingWorker(Protocol):
    """What computes: `warm_worker.WarmWorker`."""

    def segment(
        self, bundle: str, inputs: Mapping[str, Path], output: Path, device: str, seg_type: str, structure_set: bool
    ) -> dict[str, Any]: ...

    def stop(self) -> None: ...


class DicomNode:
    """Works the queue off, until it is stopped. ``clock`` gives seconds since 1970."""

    def __init__(
        self,
        config: NodeConfig,
        store: ImageStore,
        worker: SegmentingWorker,
        clock: Callable[[], float] = time.time,
    ):
        self._config, self._settings = config, config.node
        self._store, self._worker, self._clock = store, worker, clock
        self._queue: StudyQueue = store.queue
        self._stopped = threading.Event()
        self._bundle: Bundle = load_bundle(config.node.bundle)
        unknown = [name for name in config.rules if name not in self._bundle.modalities]
        if unknown:
            known = ", ".join(self._bundle.modalities)
            raise ConfigError("config", f"[rules.{unknown[0]}]: the model knows {known}", "correct these entries")

    def run(self) -> None:
        """Work until `stop` is called. Raises whatever a thread of it cannot deal with."""
        self._queue.resume()
        sender = threading.Thread(target=self._repeat, args=(self.send_next,), daemon=True)
        sender.start()
        self._repeat(self.segment_next)
        sender.join(timeout=10)

    def stop(self) -> None:
        """May be called from a signal handler."""
        self._stopped.set()
        self._worker.stop()

    def _repeat(self, step: Callable[[], bool]) -> None:
        """Call ``step`` while it has something to do, then wait a moment."""
        while not self._stopped.is_set():
            if not step():
                self._stopped.wait(SECONDS_BETWEEN_LOOKS)

    def segment_next(self) -> bool:
        """Segment a study that is complete; False: there is none."""
        now = self._clock()
        self._queue.settle(now, self._settings.quiet_seconds)
        self._clear_old(now)
        study = self._queue.take(now)
        if study is None:
            return False
        try:
            self._segment(study)
        except CrossModalSegError as error:
            self._not_segmented(study, error)
        except Exception as error:  # noqa: BLE001 - one study must not stop the others
            told = typed_error(error)
            if told is None:
                _log.exception("study %s", study.key[:8])
            self._not_segmented(study, told or internal_error(error))
        return True

    def send_next(self) -> bool:
        """Send what is due to one peer; False: nothing is."""
        settings = self._settings
        due = self._queue.due_deliveries(self._clock(), settings.retries)
        if not due:
            return False
        by_file = {Path(one.file): one for one in due}
        try:
            for file, why_not in peer_named(self._config, due[0].peer).send([*by_file]):
                delivery = by_file.pop(file)
                if why_not:
                    self._not_sent(delivery, why_not)
                else:
                    self._queue.sent(delivery)
                    _log.info("study %s: sent to %s", _key(delivery.file), delivery.peer)
            reason = "the connection ended"
        except CrossModalSegError as error:
            reason = error.message
        except Exception as error:  # noqa: BLE001 - one peer must not stop the others
            told = typed_error(error)
            if told is None:
                _log.exception("sending to %s", due[0].peer)
            reason = (told or internal_error(error)).message
        for delivery in by_file.values():
            self._not_sent(delivery, reason)
        return True

    def _segment(self, study: Study) -> None:
        images = self._store.images_of(study.key)
        bundle = self._bundle
        rules = {name: one.rule for name, one in self._config.rules.items()}
        pair = find_pair(scan_tree(images), bundle.modalities, bundle.modality_aliases, rules)
        self._refuse_half(pair)
        output = self._store.results_of(study.key) / f"{study.version}-{bundle.sha256[:12]}"
        if not (output / "report.json").is_file():  # else it was finished just before the node ended
            _log.info("study %s: segmenting %s", study.key[:8], " and ".join(pair.scans))
            inputs = {name: images.with_name(f"{images.name}#{one.uid}") for name, one in pair.scans.items()}
            node = self._settings
            self._worker.segment(str(bundle.path), inputs, output, node.device, node.seg_type, node.structure_set)
        objects = [_made(file) for file in sorted(output.glob("*.dcm"))]
        self._queue.made(study, objects, self._settings.send_to, "; ".join(map(str, pair.candidates)))
        _log.info("study %s: %d objects made", study.key[:8], len(objects))

    def _refuse_half(self, pair: Pair) -> None:
        missing = [name for name in self._bundle.modalities if name not in pair.scans]
        if missing and self._settings.require_both:
            listed = "; ".join(map(str, pair.candidates))
            raise CrossModalSegError("unpaired", f"no {' and no '.join(missing)}: {listed}", "send it, or give a rule")

    def _not_segmented(self, study: Study, error: CrossModalSegError) -> None:
        if self._stopped.is_set():  # the worker was ended because the node ends: the study waits for the next start
            return
        reason = f"{error.code}: {error.message}"
        if error.code in _PASSING:
            settings = self._settings
            self._queue.put_off(study, reason, self._clock(), settings.retries, settings.retry_seconds)
            _log.warning("study %s: put off, %s", study.key[:8], error.code)
        else:
            self._queue.refuse(study, reason)
            _log.warning("study %s: refused, %s", study.key[:8], error.code)

    def _not_sent(self, delivery: Delivery, reason: str) -> None:
        settings = self._settings
        self._queue.not_sent(delivery, reason, self._clock(), settings.retries, settings.retry_seconds)
        _log.warning("study %s: not sent to %s, %s", _key(delivery.file), delivery.peer, reason)

    def _clear_old(self, now: float) -> None:
        for study in self._queue.to_clear(now - self._settings.keep_days * _SECONDS_PER_DAY):
            with self._store.lock:
                if self._queue.cleared(study):
                    self._store.clear(study.key)


def _made(file: Path) -> Made:
    header = read_data_set(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    return Made(str(header.SOPInstanceUID), str(file))


def _key(file: str) -> str:
    return Path(file).parent.parent.name[:8]
