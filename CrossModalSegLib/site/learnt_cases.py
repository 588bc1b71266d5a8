"""What a fine-tuned model has learnt from, as its bundle says: its own cases and those of all its ancestors.

A model can only be judged against its parent on patients that neither has learnt from. The cases are named by the SHA-256
of their ids at the site, which are random and say nothing elsewhere.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.bundles.bundle_metadata import SECTION
from CrossModalSegLib.site.cases import person_of

LEARNT_FROM, LABELLED, UNLABELLED = "learnt from", "labelled", "unlabelled"


class KnownCase(Protocol):
    """Any case of a site."""

    @property
    def id(self) -> str: ...

    @property
    def patient(self) -> str: ...


def learnt_by(bundle: Bundle) -> dict[str, set[str]]:
    """Hashes of the cases that a model or an ancestor of it has learnt from, with labels and without; both empty for a
    model that says nothing. Of models from before there was this entry, the corrected cases are known."""
    facts: Mapping[str, Any] = bundle.metadata[SECTION]["training"]
    if LEARNT_FROM in facts:
        return {kind: set(facts[LEARNT_FROM][kind]) for kind in (LABELLED, UNLABELLED)}
    return {
        LABELLED: {_hash(case) for case in facts["cases"]} if "fine-tuned from" in facts else set(),
        UNLABELLED: set(),
    }


def learnt_by_child(
    parent: Bundle, labelled: Iterable[str], unlabelled: Iterable[str]
) -> dict[str, dict[str, list[str]]]:
    """The entry of a child's training facts: what ``parent`` says, and the ids of the cases that the child learnt from."""
    known = learnt_by(parent)
    known[LABELLED] |= {_hash(case) for case in labelled}
    known[UNLABELLED] |= {_hash(case) for case in unlabelled}
    return {LEARNT_FROM: {kind: sorted(hashes) for kind, hashes in known.items()}}


def known_patients(bundle: Bundle, cases: Iterable[KnownCase]) -> set[str]:
    """The patients of whom a model or an ancestor of it has learnt from a case, with labels or without. A case that names
    no patient is a patient of its own."""
    known = set().union(*learnt_by(bundle).values())
    return {person_of(case) for case in cases if _hash(case.id) in known}


def _hash(case: str) -> str:
    return hashlib.sha256(case.encode()).hexdigest()
