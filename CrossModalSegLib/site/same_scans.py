"""The same scan under several patients, as exports that were anonymised twice have it: these count as one patient.

Otherwise a model would learn from a scan and be judged on it. Found by the content of the scans, not by names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from CrossModalSegLib.site.cases import SiteCase, person_of
from CrossModalSegLib.site.folder import SiteFacts, Split


def with_joined_patients(cases: Sequence[SiteCase], site: SiteFacts, splits: Mapping[str, Split]) -> list[SiteCase]:
    """The cases, where those with a scan in common count as one patient, have one split, and name each other.

    A split that a person has set for any of these patients holds for all; of two that differ, held-out: nothing is
    learnt then from what may be judged on. Else chance decides, by one of them.
    """
    owners: dict[str, list[SiteCase]] = {}
    for case in cases:
        for key in case.content:
            owners.setdefault(key, []).append(case)
    shared = [each for each in owners.values() if len({person_of(case) for case in each}) > 1]
    if not shared:
        return list(cases)
    leader = _leaders(shared)
    members: dict[str, set[str]] = {}
    for person, first in leader.items():
        members.setdefault(first, set()).add(person)
    return [_joined(case, leader, members, shared, site, splits) for case in cases]


def _leaders(shared: Sequence[Sequence[SiteCase]]) -> dict[str, str]:
    """For each person the first, by name, of all who are the same; known patients come before cases without one."""
    known = {case.patient for each in shared for case in each if case.patient}
    group: dict[str, set[str]] = {}
    for each in shared:
        together = set().union(*(group.get(person_of(case), {person_of(case)}) for case in each))
        for person in together:
            group[person] = together
    return {person: min(together, key=lambda one: (one not in known, one)) for person, together in group.items()}


def _joined(
    case: SiteCase,
    leader: Mapping[str, str],
    members: Mapping[str, set[str]],
    shared: Sequence[Sequence[SiteCase]],
    site: SiteFacts,
    splits: Mapping[str, Split],
) -> SiteCase:
    if person_of(case) not in leader:
        return case
    first = leader[person_of(case)]
    chosen = {splits[person] for person in members[first] if person in splits}
    split: Split = "held-out" if "held-out" in chosen else "training" if chosen else site.drawn_split(first)
    others = {one.id for each in shared if case in each for one in each if person_of(one) != person_of(case)}
    return replace(case, counts_as=first, split=split, is_split_set=bool(chosen), same_scan_as=tuple(sorted(others)))
