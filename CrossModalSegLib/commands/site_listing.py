"""What ``crossmodalseg site`` says of a site: its cases, which comes next, whether it is whole."""

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING

from CrossModalSegLib.commands.display import Display
from CrossModalSegLib.commands.text_table import text_table
from CrossModalSegLib.plurals import counted, some_of
from CrossModalSegLib.progress import RunProgress

if TYPE_CHECKING:
    from CrossModalSegLib.errors import DataError
    from CrossModalSegLib.site.case_store import CaseStore
    from CrossModalSegLib.site.cases import SiteCase


def list_cases(args: argparse.Namespace) -> int:
    """All cases, then how many there are of each status; returns 1 where some are damaged."""
    from CrossModalSegLib.site.cases import STATUSES

    cases, damaged = store_of(args).readable_cases()
    shown = [case for case in cases if args.status in (None, case.status)]
    rows = [(case.id, case.status, "+".join(case.modalities), _trust(case), case.split, _note(case)) for case in shown]
    print("\n".join(text_table([("CASE", "STATUS", "SCANS", "REVISION", "SPLIT", "NOTE"), *rows])))
    counts = Counter(case.status for case in cases)
    print(f"{counted(len(cases), 'case')}: {', '.join(f'{counts[status]} {status}' for status in STATUSES)}")
    return _say_damages(damaged)


def show_case(args: argparse.Namespace) -> int:
    """One case with its revisions."""
    store = store_of(args)
    found = store.case(args.case)
    case = next((one for one in store.readable_cases()[0] if one.id == found.id), found)
    facts = [("case", case.id), ("status", case.status), ("scans", " + ".join(case.modalities)), ("split", case.split)]
    facts += [("patient", case.patient[:12] or "unknown"), ("trusted revision", _trust(case)), ("note", _note(case))]
    print("\n".join(text_table([fact for fact in facts if fact[1]])))
    rows = [
        (
            str(one.number),
            "prediction" if one.is_prediction else "correction",
            str(one.parent or "-"),
            "+".join(one.labels),
            one.author[:6] or "-",
            str(one.bundle.get("name", "-")),
            "-" if one.approved_by is None else f"approved {one.approved_by[:6]}".strip(),
        )
        for one in case.revisions
    ]
    if rows:
        head = ("REVISION", "KIND", "BASED ON", "LABELS", "AUTHOR", "MODEL", "APPROVAL")
        print("\n".join(["", *text_table([head, *rows])]))
    return 0


def next_cases(args: argparse.Namespace) -> int:
    """The work list; returns 1 where some cases are damaged."""
    from CrossModalSegLib.site.finetune_base import learnt_patients
    from CrossModalSegLib.site.work_list import read_ranking, work_list

    (cases, damaged), ranking = store_of(args).readable_cases(), read_ranking(args.site)
    items = work_list(cases, ranking, max(args.limit, 0), learnt_patients(args.site, cases, damaged))
    rows = [
        (str(place), item.case.id, item.case.status, "-" if item.gain is None else f"{item.gain:.2f}", item.reason)
        for place, item in enumerate(items, start=1)
    ]
    print("\n".join(text_table([("PLACE", "CASE", "STATUS", "GAIN", "WHY"), *rows])))
    waiting = [case for case in cases if case.trusted is None and not case.is_excluded]
    scored = sum(case.id in ranking.scores for case in waiting)
    by = f" by {ranking.model}" if ranking.model else ""
    print(f"waiting for a correction: {counted(len(waiting), 'case')}, {scored} scored{by}")
    return _say_damages(damaged)


def _say_damages(damaged: "dict[str, DataError]") -> int:
    """What is wrong with cases that cannot be read; 1 where there are any."""
    for error in damaged.values():
        print(error, file=sys.stderr)
    return int(bool(damaged))


def export_cases(args: argparse.Namespace) -> int:
    """Write a datalist."""
    from CrossModalSegLib.site.datalist import export_datalist

    lists = export_datalist(store_of(args).cases(), args.output, args.approved_only)
    print(f"{args.output}: {', '.join(f'{len(entries)} {name}' for name, entries in lists.items())}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Check every file; returns 1 where anything is damaged."""
    from CrossModalSegLib.site.check import verify_site

    progress = RunProgress({"checking": 1.0}, shown_by=0.0)
    with Display(lines=False) as show:
        report = verify_site(args.site, lambda fraction: show.progress(progress.update("checking", fraction)))
    for damage in report.damages:
        print(f"damaged: {damage}")
    for path in report.leftovers:
        print(f"not finished: {path} (being saved just now, or left by an interruption)")
    whole = f"{counted(report.cases, 'case')} and {counted(report.revisions, 'revision')}"
    print(f"whole: {whole}; damaged: {len(report.damages)}")
    return int(not report.is_whole)


def store_of(args: argparse.Namespace) -> "CaseStore":
    """The store of the site that was named."""
    from CrossModalSegLib.site.case_store import CaseStore

    return CaseStore(args.site)


def _trust(case: "SiteCase") -> str:
    return "-" if case.revision is None else str(case.revision)


def _note(case: "SiteCase") -> str:
    """What a person should know: that it is excluded, corrections that do not know of each other, or one that waits for
    approval."""
    if case.is_excluded:
        return "excluded"
    if case.forks:
        return f"fork: revisions {' and '.join(map(str, case.forks))}"
    newest = case.newest
    if case.status == "approved" and newest is not None and newest.approved_by is None:
        return f"revision {newest.number} is not approved"
    return f"the same scan as {some_of(case.same_scan_as)}" if case.same_scan_as else ""
