"""What belongs to a site as a whole: its label map, modalities and secret salt, and which split each patient is in."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.labels import LabelMap

STORE_VERSION = 1
SITE_FILE, CASE_FILE, REVISION_FILE = "site.json", "case.json", "revision.json"
CASES, VOLUMES, REVISIONS, SPLITS, QUARANTINE = "cases", "volumes", "revisions", "splits", "quarantine"
EXCLUDED = "excluded"  # excluded/<case>.json: a person has taken the case out; removed where it is to count again
APPROVAL = ".approved"  # revisions/0002.approved.json, beside the revision, which itself is never changed
HELD_OUT_SHARE = 0.2  # of the patients

Split = Literal["", "training", "held-out"]

_ROUNDS = 100_000  # of hashing a patient's key: such keys are short, and trying all of them shall take long
_AUTHOR_LENGTH = 16
_LONGEST_MODALITY = 40
_SALT = re.compile(r"([0-9a-f]{2})+")
_MODALITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+()-]*")  # it becomes a part of file names


@dataclass(frozen=True)
class SiteFacts:
    """What all cases of a site share. ``salt`` (hex) is secret: with it, short patient numbers could be guessed."""

    label_map: LabelMap
    modalities: tuple[str, ...]
    salt: str = field(repr=False)

    def patient_hash(self, key: str) -> str:
        """Salted hash of a patient's key, "" for an unknown patient (two such cases may be of one patient, or of
        two)."""
        return hashlib.pbkdf2_hmac("sha256", key.encode(), bytes.fromhex(self.salt), _ROUNDS).hex() if key else ""

    def author_hash(self, initials: str) -> str:
        """Salted hash of an annotator's initials, however they are capitalised; "" where none are given."""
        plain = initials.strip().casefold()
        return self.patient_hash(f"author {plain}")[:_AUTHOR_LENGTH] if plain else ""

    def keyed_hash(self, content: bytes) -> str:
        """HMAC-SHA-256 of ``content`` with the salt: the same at this site only, and it says nothing to others."""
        return hmac.digest(bytes.fromhex(self.salt), content, "sha256").hex()

    def drawn_split(self, key: str) -> Split:
        """The split that chance puts a patient (or a case of an unknown patient) in: always the same one."""
        draw = int(self.keyed_hash(f"split {key}".encode())[:8], 16) / 16**8
        return "held-out" if draw < HELD_OUT_SHARE else "training"

    def to_json(self) -> dict[str, Any]:
        """What `read_site` reads again."""
        return {
            "store_version": STORE_VERSION,
            "modalities": list(self.modalities),
            "salt": self.salt,
            "label_map": self.label_map.to_json(),
        }


def read_site(folder: Path) -> SiteFacts:
    """The facts of the site in ``folder``. Raises DataError ``not-a-site``, LabelError ``bad-label-map``."""
    file = folder / SITE_FILE
    if not file.exists():
        hint = "create a site with: crossmodalseg site create"
        raise DataError("not-a-site", f"{folder} holds no {SITE_FILE}", hint)
    content = read_json(file, "not-a-site", "restore it from a backup")
    if content.get("store_version") != STORE_VERSION:
        raise DataError("not-a-site", f"{file} is not of version {STORE_VERSION} of the store", "update the software")
    missing = {"label_map", "modalities", "salt"} - set(content)
    if missing:
        raise DataError("not-a-site", f"{file} has no {', '.join(sorted(missing))}", "restore it from a backup")
    modalities, salt = content["modalities"], content["salt"]
    if not (isinstance(modalities, list) and modalities and all(isinstance(name, str) for name in modalities)):
        raise DataError(
            "not-a-site", f"{file}: modalities {modalities!r} is no list of names", "restore it from a backup"
        )
    if not (isinstance(salt, str) and _SALT.fullmatch(salt)):
        raise DataError("not-a-site", f"{file}: the salt is no hexadecimal number", "restore it from a backup")
    return SiteFacts(LabelMap.from_json(content["label_map"]), tuple(modalities), salt)


def read_splits(folder: Path) -> Mapping[str, Split]:
    """The splits that a person has set, by patient hash, or by case id where the patient is unknown.

    Each is a file of its own, so that two who set splits at once do not undo each other. Raises DataError
    ``bad-split``.
    """
    return {file.stem: read_split(file) for file in split_files(folder)}


def split_files(folder: Path) -> list[Path]:
    """The files of `read_splits`."""
    return sorted(file for file in (folder / SPLITS).glob("*.json") if not file.name.startswith("."))


def read_split(file: Path) -> Split:
    """What one of these files says. Raises DataError ``bad-split``."""
    hint = "correct or remove this file"
    split = read_json(file, "bad-split", hint).get("split")
    if split not in ("training", "held-out"):
        raise DataError("bad-split", f"{file}: split {split!r}", hint)
    return split


def excluded_ids(folder: Path) -> frozenset[str]:
    """The ids of the cases that a person has taken out."""
    return frozenset(file.stem for file in (folder / EXCLUDED).glob("*.json") if not file.name.startswith("."))


def approval_file(revision: Path, order: int, is_first: bool) -> Path:
    """Where an approval of a revision goes: ``0002.approved.json`` the first time, ``0002.approved-0003.json``
    later."""
    return revision.with_name(f"{revision.name}{APPROVAL}{'' if is_first else f'-{order:04d}'}.json")


def approval_files(revision: Path) -> list[Path]:
    """All approvals of a revision, oldest first."""
    return sorted(
        revision.parent.glob(f"{revision.name}{APPROVAL}*.json"), key=lambda file: (len(file.name), file.name)
    )


def require_modalities(names: Sequence[str]) -> None:
    """Raises DataError ``bad-modality`` where one cannot be a part of a file's name, is there twice, or would be taken
    for labels."""
    for name in names:
        if not _MODALITY.fullmatch(name):
            what = f"the modality {name!r}"
            raise DataError("bad-modality", what, "use letters, digits, spaces and . _ + - ( ), such as T1w")
        if len(name) > _LONGEST_MODALITY:
            what = f"the modality {name[:20]}... has {len(name)} characters"
            raise DataError("bad-modality", what, f"use at most {_LONGEST_MODALITY}")
        if name.lower() in ("label", "labels"):
            raise DataError(
                "bad-modality", f"the modality {name!r}", "choose another name: files of labels are called so"
            )
    lower = [name.lower() for name in names]
    if twice := sorted({name for name in names if lower.count(name.lower()) > 1}):
        what = f"the modality {' and '.join(twice)} is given {lower.count(twice[0].lower())} times"
        raise DataError("bad-modality", what, "give each once; capitals do not tell two apart")
