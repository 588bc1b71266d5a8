"""The node's memory on disk: which studies have come, how far each is, what is still to be sent. It survives a kill.

Every change is one transaction that is on disk when the method returns. A study goes through ::

    arriving    images come
    waiting     complete: nothing came for a while
    segmenting  in the worker; waiting again after a restart
    sending     results are there; each of them to each peer is a delivery
    done, refused (for a reason that trying again does not change), failed (tried too often)

An image that is new, or differs from the one of its UID, makes a study arriving again.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARRIVING, WAITING, SEGMENTING, SENDING = "arriving", "waiting", "segmenting", "sending"
DONE, REFUSED, FAILED = "done", "refused", "failed"
_TABLES = """
CREATE TABLE IF NOT EXISTS study (
    uid TEXT PRIMARY KEY, key TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    arrived REAL NOT NULL, changed REAL NOT NULL, due REAL NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0, cleared INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS image (
    uid TEXT PRIMARY KEY, study TEXT NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS image_of_study ON image (study);
CREATE TABLE IF NOT EXISTS delivery (
    peer TEXT NOT NULL, object TEXT NOT NULL, study TEXT NOT NULL, file TEXT NOT NULL,
    is_sent INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (peer, object));
"""


@dataclass(frozen=True)
class Study:
    """A study in the queue; times in seconds since 1970. ``version`` counts its changes; ``key`` names its folders."""

    uid: str
    key: str
    source: str
    state: str
    reason: str
    arrived: float
    changed: float
    due: float
    attempts: int
    version: int
    cleared: int


@dataclass(frozen=True)
class ReceivedImage:
    """An image on disk: its UID and its study's, the key of the study's folders, SHA-256 and bytes of the file, and who
    sent it."""

    uid: str
    study: str
    key: str
    digest: str
    size: int
    source: str


@dataclass(frozen=True)
class Made:
    """An object that was made for a study: its SOP instance UID, and its file."""

    object: str
    file: str


@dataclass(frozen=True)
class Delivery:
    """An object on its way to a peer."""

    peer: str
    object: str
    study: str
    file: str
    attempts: int


class StudyQueue:
    """The queue in the SQLite file ``path``. May be used from several threads."""

    def __init__(self, path: Path):
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # --- receiving

    def received(self, image: ReceivedImage, now: float) -> bool:
        """Note an image whose file is on disk. False: it is there already, and nothing changes."""
        with self._change() as run:
            known = run("SELECT digest FROM image WHERE uid = ?", image.uid).fetchone()
            if known is not None and known["digest"] == image.digest:
                return False
            run("INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?)", image.uid, image.study, image.digest, image.size)
            run(
                "INSERT INTO study (uid, key, source, state, arrived, changed) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (uid) DO UPDATE SET state = excluded.state, source = excluded.source,"
                " changed = excluded.changed, reason = '', due = 0, attempts = 0, version = version + 1, cleared = 0",
                image.study, image.key, image.source, ARRIVING, now, now,
            )  # fmt: skip
            return True

    def knows(self, image: str, digest: str) -> bool:
        """Whether this very image is there."""
        row = self._one("SELECT digest FROM image WHERE uid = ?", image)
        return row is not None and row["digest"] == digest

    def size_of(self, study: str) -> tuple[int, int]:
        """Number of images and of bytes."""
        row = self._one("SELECT COUNT(*) AS images, COALESCE(SUM(bytes), 0) AS bytes FROM image WHERE study = ?", study)
        assert row is not None
        return row["images"], row["bytes"]

    # --- working

    def resume(self) -> None:
        """After a restart: what was being segmented is not any more."""
        with self._change() as run:
            run("UPDATE study SET state = ? WHERE state = ?", WAITING, SEGMENTING)

    def settle(self, now: float, quiet_seconds: float) -> None:
        """Studies of which nothing came for a while are complete."""
        with self._change() as run:
            run("UPDATE study SET state = ? WHERE state = ? AND changed <= ?", WAITING, ARRIVING, now - quiet_seconds)

    def take(self, now: float) -> Study | None:
        """The study to segment next, which is segmenting from now on."""
        with self._change() as run:
            row = run(
                "SELECT * FROM study WHERE state = ? AND due <= ? ORDER BY changed, uid LIMIT 1", WAITING, now
            ).fetchone()
            if row is None:
                return None
            run("UPDATE study SET state = ? WHERE uid = ?", SEGMENTING, row["uid"])
            return Study(**row)

    def refuse(self, study: Study, reason: str) -> None:
        """Trying again would not help."""
        self._settle_as(study, REFUSED, reason)

    def put_off(self, study: Study, reason: str, now: float, retries: int, seconds: float) -> None:
        """Try again later, or not at all any more."""
        with self._change() as run:
            state = FAILED if study.attempts >= retries else WAITING
            run(
                "UPDATE study SET state = ?, reason = ?, attempts = attempts + 1, due = ?"
                " WHERE uid = ? AND state = ? AND version = ?",
                state, reason, now + seconds, study.uid, SEGMENTING, study.version,
            )  # fmt: skip

    def made(self, study: Study, objects: Sequence[Made], peers: Sequence[str], note: str = "") -> None:
        """The results are there: each goes to each peer, unless it has it. Nothing, where images came meanwhile."""
        with self._change() as run:
            current = run("SELECT version FROM study WHERE uid = ?", study.uid).fetchone()
            if current["version"] != study.version:
                return
            for peer in peers:
                for one in objects:
                    run(
                        "INSERT OR IGNORE INTO delivery (peer, object, study, file) VALUES (?, ?, ?, ?)",
                        peer, one.object, study.uid, one.file,
                    )  # fmt: skip
            run("UPDATE study SET state = ?, reason = ?, attempts = 0, due = 0 WHERE uid = ?", SENDING, note, study.uid)
            self._finish(run, study.uid)

    # --- sending

    def due_deliveries(self, now: float, retries: int) -> list[Delivery]:
        """The objects of one study that are to be sent to one peer now; none: nothing is due."""
        with self._lock:
            first = self._one(
                "SELECT peer, study FROM delivery WHERE is_sent = 0 AND due <= ? AND attempts <= ?"
                " ORDER BY due LIMIT 1",
                now, retries,
            )  # fmt: skip
            if first is None:
                return []
            rows = self._all(
                "SELECT peer, object, study, file, attempts FROM delivery"
                " WHERE is_sent = 0 AND due <= ? AND attempts <= ? AND peer = ? AND study = ? ORDER BY object",
                now, retries, first["peer"], first["study"],
            )  # fmt: skip
        return [Delivery(**row) for row in rows]

    def sent(self, delivery: Delivery) -> None:
        with self._change() as run:
            run(
                "UPDATE delivery SET is_sent = 1, reason = '' WHERE peer = ? AND object = ?",
                delivery.peer, delivery.object,
            )  # fmt: skip
            self._finish(run, delivery.study)

    def not_sent(self, delivery: Delivery, reason: str, now: float, retries: int, seconds: float) -> None:
        """Try again later; the study has failed where it was tried too often."""
        with self._change() as run:
            run(
                "UPDATE delivery SET attempts = attempts + 1, due = ?, reason = ? WHERE peer = ? AND object = ?",
                now + seconds, reason, delivery.peer, delivery.object,
            )  # fmt: skip
            if delivery.attempts >= retries:
                text = f"not sent to {delivery.peer}: {reason}"
                run(
                    "UPDATE study SET state = ?, reason = ? WHERE uid = ? AND state = ?",
                    FAILED, text, delivery.study, SENDING,
                )  # fmt: skip

    # --- looking, and tidying up

    def studies(self, limit: int = 200) -> list[Study]:
        """The latest first."""
        return [Study(**row) for row in self._all("SELECT * FROM study ORDER BY changed DESC, uid LIMIT ?", limit)]

    def counts(self) -> dict[str, int]:
        """Studies by state."""
        rows = self._all("SELECT state, COUNT(*) AS number FROM study GROUP BY state")
        return {row["state"]: row["number"] for row in rows}

    def deliveries(self, study: str) -> list[tuple[str, str, bool, str]]:
        """Peer, object, whether it was sent, and why not."""
        rows = self._all("SELECT * FROM delivery WHERE study = ? ORDER BY peer, object", study)
        return [(row["peer"], row["object"], bool(row["is_sent"]), row["reason"]) for row in rows]

    def to_clear(self, before: float) -> list[Study]:
        """Studies that have come to an end, and whose last image came ``before``: their files may go."""
        rows = self._all(
            "SELECT * FROM study WHERE cleared = 0 AND changed < ? AND state IN (?, ?, ?)",
            before,
            DONE,
            REFUSED,
            FAILED,
        )
        return [Study(**row) for row in rows]

    def cleared(self, study: Study) -> bool:
        """Note that the files go now: the same images would be a study to segment again. False: images came."""
        with self._change() as run:
            done = run("UPDATE study SET cleared = 1 WHERE uid = ? AND version = ?", study.uid, study.version)
            if done.rowcount:
                run("DELETE FROM image WHERE study = ?", study.uid)
            return bool(done.rowcount)

    def again(self, uid: str) -> bool:
        """Put a study that was refused or has failed back into the queue, where its files are still there."""
        with self._change() as run:
            run("UPDATE delivery SET attempts = 0, due = 0 WHERE study = ? AND is_sent = 0", uid)
            done = run(
                "UPDATE study SET state = ?, reason = '', attempts = 0, due = 0"
                " WHERE uid = ? AND state IN (?, ?) AND cleared = 0",
                WAITING, uid, REFUSED, FAILED,
            )  # fmt: skip
            return bool(done.rowcount)

    # --- inside

    def _settle_as(self, study: Study, state: str, reason: str) -> None:
        with self._change() as run:
            run(
                "UPDATE study SET state = ?, reason = ? WHERE uid = ? AND version = ?",
                state, reason, study.uid, study.version,
            )  # fmt: skip

    def _finish(self, run: Any, uid: str) -> None:
        left = run("SELECT COUNT(*) AS number FROM delivery WHERE study = ? AND is_sent = 0", uid).fetchone()
        if left["number"] == 0:
            run("UPDATE study SET state = ? WHERE uid = ? AND state IN (?, ?)", DONE, uid, SENDING, FAILED)

    @contextmanager
    def _change(self) -> Iterator[Any]:
        """A function that runs a statement, all of them in one transaction."""
        with self._lock, self._connection:  # which commits, or rolls back what an error leaves half done
            self._connection.execute("BEGIN IMMEDIATE")
            yield lambda statement, *values: self._connection.execute(statement, values)

    def _one(self, statement: str, *values: Any) -> sqlite3.Row | None:
        with self._lock:
            row: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
            return row

    def _all(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()
