"""What a fine-tuned model has learnt from, as its bundle says: its own cases and those of all its ancestors.

A model can only be judged against its parent on patients that neither has learnt from. The cases are named by the
SHA-256 of their ids at the site, which are random and say nothing elsewhere.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.site.cases import person_of

LEARNT_FROM = "learnt from"  # entry of a bundle's training facts


@dataclass(frozen=True)
class LearntCases:
    """Hashes of the cases that a model or an ancestor of it has learnt from, with labels and without."""

    labelled: frozenset[str] = frozenset()
    unlabelled: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, list[str]]:
        """As a bundle holds it."""
        return {"labelled": sorted(self.labelled), "unlabelled": sorted(self.unlabelled)}


class KnownCase(Protocol):
    """Any case of a site."""

    @property
    def id(self) -> str: ...

    @property
    def patient(self) -> str: ...


def learnt_by(bundle: Bundle) -> LearntCases:
    """What a model says; nothing for one that says nothing. Of models from before there was this entry, the corrected
    cases are known."""
    facts = bundle.training
    if LEARNT_FROM in facts:
        return LearntCases(**{kind: frozenset(hashes) for kind, hashes in facts[LEARNT_FROM].items()})
    return LearntCases(frozenset(map(_hash, facts["cases"])) if "fine-tuned from" in facts else frozenset())


def learnt_by_child(parent: Bundle, labelled: Iterable[str], unlabelled: Iterable[str]) -> LearntCases:
    """What ``parent`` says, and the cases, given by their ids, that its child has learnt from."""
    known = learnt_by(parent)
    return LearntCases(known.labelled | set(map(_hash, labelled)), known.unlabelled | set(map(_hash, unlabelled)))


def known_patients(bundle: Bundle, cases: Iterable[KnownCase]) -> set[str]:
    """The patients of whom a model or an ancestor of it has learnt from a case, with labels or without. A case that
    names no patient is a patient of its own."""
    learnt = learnt_by(bundle)
    known = learnt.labelled | learnt.unlabelled
    return {person_of(case) for case in cases if _hash(case.id) in known}


def _hash(case: str) -> str:
    return hashlib.sha256(case.encode()).hexdigest()
