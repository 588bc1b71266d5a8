"""``crossmodalseg site create | add | list | show | approve | split | exclude | rank | next | models | adopt | export
| verify | repair``: the site's cases."""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from CrossModalSegLib.commands.options import add_orientation_option, given_path, paths_by_modality
from CrossModalSegLib.commands.site_listing import (
    export_cases,
    list_cases,
    next_cases,
    show_case,
    store_of,
    verify,
)
from CrossModalSegLib.commands.site_models import adopt_candidate, list_models
from CrossModalSegLib.commands.site_ranking import rank_cases
from CrossModalSegLib.errors import DataError, InputError, typed_error
from CrossModalSegLib.plurals import counted, some_of

if TYPE_CHECKING:
    from CrossModalSegLib.datasets.datalist import Entry
    from CrossModalSegLib.labels import LabelMap
    from CrossModalSegLib.site.case_store import SavedCase

EXAMPLES = """examples:
  crossmodalseg site create our-site --bundle brain-mr-pair
  crossmodalseg site add our-site --input T1w=t1.nii.gz --input T2w=t2.nii.gz --labels T1w=t1.seg.nrrd --author AB
  crossmodalseg site add our-site --from dicom-export.zip
  crossmodalseg site next our-site --limit 10

docs/site-folder.md describes the folder and every command. Exit code 1: some cases are damaged, or were not added.
"""
LARGEST_UNPACKED_BYTES = 100_000_000_000  # of an export of many cases
_Answer = Callable[[argparse.Namespace], int]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "site",
        help="keep a site's own cases",
        description="Keeps a site's own cases in a folder: scans, corrected labels, and what is to be corrected next.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_writing_actions(actions)
    _add_reading_actions(actions)


def _add_writing_actions(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    create = _add_action(actions, "create", _create, "found a site in an empty folder")
    what = create.add_mutually_exclusive_group(required=True)
    what.add_argument("--bundle", metavar="NAME_OR_FOLDER", help="for the structures and modalities of this model")
    what.add_argument(
        "--label-map", type=given_path, metavar="FILE.json", help="for these structures; needs --modality"
    )
    create.add_argument("--modality", action="append", default=[], metavar="NAME", help="once for each kind of scan")

    add = _add_action(actions, "add", _add, "add cases with or without labels from files")
    for option, text in (("--input", "a scan of one case"), ("--labels", "its labels, if any")):
        add.add_argument(option, action="append", default=[], metavar="MODALITY=PATH", help=text)
    add.add_argument("--patient", default="", metavar="KEY", help="tells patients apart; only a salted hash is kept")
    source = (
        "many cases: a datalist, a dataset folder, files CASE_MODALITY in a folder, DICOM; or a zip file with these"
    )
    add.add_argument("--from", dest="source", type=given_path, metavar="PATH", help=source)
    add.add_argument(
        "--patient-pattern",
        type=_pattern,
        metavar="REGEX",
        help="what tells patients apart in the paths (default: BIDS)",
    )
    add_orientation_option(add)
    add.add_argument("--author", default="", metavar="INITIALS", help="who made the labels; only a salted hash is kept")
    add.add_argument("--predicted", action="store_true", help="the labels are a model's: they are never trained on")

    approve = _add_case_action(actions, "approve", _approve, "stand for a case's labels: they are the ones to trust")
    approve.add_argument("--revision", type=int, metavar="N", help="default: the newest correction")
    approve.add_argument("--author", default="", metavar="INITIALS", help="who approves; only a salted hash is kept")
    split = _add_case_action(actions, "split", _split, "decide whether a patient's cases are trained on or scored with")
    split.add_argument("split", choices=("training", "held-out", "chance"), help="chance: as drawn, the default")
    exclude = _add_case_action(
        actions, "exclude", _exclude, "keep a case, but neither learn from it nor list it as work"
    )
    exclude.add_argument("--undo", action="store_true", help="let it count again")
    taken = _add_action(
        actions, "adopt", adopt_candidate, "take a fine-tuned model over whose evidence was insufficient"
    )
    taken.add_argument("run", nargs="?", default="", metavar="RUN", help="see site models; default: the newest")
    repair = _add_action(actions, "repair", _repair, "set damaged files aside, remove what interrupted saving has left")
    repair.add_argument(
        "--nobody-is-saving", action="store_true", help="also remove what was being written within the last hour"
    )


def _add_reading_actions(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listing = _add_action(actions, "list", list_cases, "all cases, and how many there are of each kind")
    listing.add_argument("--status", choices=("unlabelled", "predicted", "corrected", "approved"))
    _add_case_action(actions, "show", show_case, "one case with its revisions")
    rank = _add_action(actions, "rank", rank_cases, "let a model score the cases, for the order of site next")
    rank.add_argument("--bundle", metavar="NAME_OR_FOLDER", help="default: the site's newest model")
    rank.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    rank.add_argument("--limit", type=int, metavar="N", help="score at most this many cases now")
    rank.add_argument("--events", action="store_true", help="progress as lines of JSON on stdout")
    following = _add_action(actions, "next", next_cases, "the cases to correct next, the most promising first")
    following.add_argument("--limit", type=int, default=10, metavar="N", help="default: 10")
    _add_action(actions, "models", list_models, "the site's own models, and what its fine-tunings came to")
    export = _add_action(actions, "export", export_cases, "write a datalist for other tools")
    export.add_argument("output", type=given_path, metavar="DATALIST.json")
    export.add_argument("--approved-only", action="store_true", help="count labels that nobody approved as missing")
    _add_action(actions, "verify", verify, "check every file of the site; nothing is changed")


def _add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, answer: _Answer, text: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    action.add_argument("site", type=given_path, metavar="SITE", help="the site's folder")
    action.set_defaults(answer=answer)
    return action


def _add_case_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, answer: _Answer, text: str
) -> argparse.ArgumentParser:
    action = _add_action(actions, name, answer, text)
    action.add_argument("case", metavar="CASE", help="its id, or the beginning of it")
    return action


def run(args: argparse.Namespace) -> int:
    """Answer on stdout; returns 0, or 1 where cases are damaged or were not added. Raises CrossModalSegError."""
    return args.answer(args)


# --- writing


def _create(args: argparse.Namespace) -> int:
    label_map, modalities = _kind_of_site(args)
    site = store_of(args).create(label_map, modalities)
    print(f"{args.site}: {counted(len(site.label_map.structures), 'structure')}, {' + '.join(site.modalities)}")
    return 0


def _kind_of_site(args: argparse.Namespace) -> "tuple[LabelMap, tuple[str, ...]]":
    from CrossModalSegLib.bundles.bundle import load_bundle
    from CrossModalSegLib.labels import read_label_map

    if args.bundle:
        bundle = load_bundle(args.bundle)
        return bundle.label_map, tuple(args.modality) or tuple(bundle.modalities)
    if not args.modality:
        raise InputError("usage", "--label-map without --modality", "name each kind of scan, such as --modality T1w")
    return read_label_map(args.label_map), tuple(args.modality)


def _add(args: argparse.Namespace) -> int:
    from CrossModalSegLib.datasets.datalist import Entry
    from CrossModalSegLib.imaging.zip_files import unpacked
    from CrossModalSegLib.site.sources import PATIENT_PATTERN, files_not_taken, find_cases

    if bool(args.input) == bool(args.source):
        raise InputError("usage", "give either --input or --from", "see crossmodalseg site add --help")
    modalities = store_of(args).site().modalities
    if args.input:
        scans, labels = (_known_modalities(paths_by_modality(one), modalities) for one in (args.input, args.labels))
        given = Entry(scans, labels, assumed_orientation=args.assume_orientation, patient_key=args.patient)
        saved = _add_one(args, given)
        _say_saved(saved)
        _say_same_scans(args, {saved.id})
        return 0
    is_zip = args.source.is_file() and args.source.suffix.lower() == ".zip"
    with unpacked(args.source, LARGEST_UNPACKED_BYTES) if is_zip else nullcontext(args.source) as folder:
        found = find_cases(folder, modalities, args.patient_pattern or PATIENT_PATTERN, args.assume_orientation)
        cases = found.cases
        is_files = not found.refused and all(isinstance(path, Path) for one in cases for path in one.volumes.values())
        if folder.is_dir() and is_files:
            _say_not_taken(files_not_taken(folder, cases))
        added = [_try_one(args, case, f"{number}/{len(cases)}", folder) for number, case in enumerate(cases, start=1)]
        for one in found.refused:
            error = one.error.with_path(folder, args.source)
            title = one.title.replace(str(folder), str(args.source))
            print(f"{title}: not added\n{' '.join(str(error).split())}", file=sys.stderr)
    count = len(cases) + len(found.refused)
    failed = added.count("") + len(found.refused)
    _say_same_scans(args, added)
    print(f"in {args.site}: {count - failed} of {counted(count, 'case')}")
    return int(failed > 0)


def _say_not_taken(names: Sequence[str]) -> None:
    from CrossModalSegLib.imaging.finding import Finding

    if names:
        what = f"{counted(len(names), 'file')} not taken: {some_of(names)}"
        print(Finding("warning", "not-taken", what, "see docs/site-folder.md for how files are named"), file=sys.stderr)


def _try_one(args: argparse.Namespace, case: "Entry", which: str, folder: Path) -> str:
    """Add one of many in ``folder``, and return its id; what is wrong with it is said, "" returned, and the rest goes
    on."""
    print(f"{which} {case.title.replace(str(folder), str(args.source))}", file=sys.stderr)
    try:
        saved = _add_one(args, case)
        _say_saved(saved)
    except Exception as error:
        told = typed_error(error)
        if told is None:
            raise
        print(" ".join(str(told.with_path(folder, args.source)).split()), file=sys.stderr)
        return ""
    return saved.id


def _add_one(args: argparse.Namespace, found: "Entry") -> "SavedCase":
    from CrossModalSegLib.imaging.finding import Finding
    from CrossModalSegLib.imaging.preflight import label_findings, patient_findings, same_image_findings
    from CrossModalSegLib.site.sources import read_case_files

    store = store_of(args)
    case = read_case_files(found, store.site())
    for volume in case.volumes.values():
        for finding in (*volume.findings, *label_findings(volume)):
            if finding.severity == "warning":
                print(finding, file=sys.stderr)
    for a, b in combinations(case.volumes.values(), 2):
        for finding in (*same_image_findings(a, b), *patient_findings(a, b)):
            print(finding, file=sys.stderr)
    for name, (labels, _grid) in case.labels.items():
        if not labels.any():
            what = f"the labels of {name} show no structure: all of its scan would be learnt as background"
            remedy = "add a case that nobody has drawn in without labels"
            print(Finding("warning", "no-labels", what, remedy), file=sys.stderr)
    if found.left_out:
        print(f"of the same examination, not taken: {'; '.join(found.left_out)}", file=sys.stderr)
    if not case.labels:
        return store.add_unlabelled(case)
    return store.save_prediction(case) if args.predicted else store.save_correction(case, args.author)


def _say_saved(saved: "SavedCase") -> None:
    print(f"{saved.id} {'unlabelled' if saved.revision is None else f'revision {saved.revision}'}")
    if saved.forks:
        listed = " and ".join(map(str, saved.forks))
        print(f"warning[fork]: revisions {listed} do not know of each other (approve one)", file=sys.stderr)


def _say_same_scans(args: argparse.Namespace, added: Collection[str]) -> None:
    """Which of the cases that were added hold a scan of another patient's."""
    from CrossModalSegLib.imaging.finding import Finding

    for case in store_of(args).readable_cases()[0]:
        if case.id in added and case.same_scan_as:
            what = f"a scan of {case.id} is one of {some_of(case.same_scan_as)}, under another patient"
            remedy = "they count as one patient; exclude one of them if it was added by mistake"
            print(Finding("warning", "same-scan", what, remedy), file=sys.stderr)


def _known_modalities(paths: dict[str, Path], modalities: Sequence[str]) -> dict[str, Path]:
    for name in paths:
        if name not in modalities:
            raise DataError("unknown-modality", f'the site has no "{name}"', f"it has {', '.join(modalities)}")
    return paths


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def _approve(args: argparse.Namespace) -> int:
    case = store_of(args).approve(args.case, args.revision, args.author)
    print(f"{case.id} revision {case.revision} is approved, and the one to trust from now on")
    return 0


def _split(args: argparse.Namespace) -> int:
    store = store_of(args)
    store.set_split(args.case, "" if args.split == "chance" else args.split)
    case = store.case(args.case)
    split = next(one.split for one in store.readable_cases()[0] if one.id == case.id)
    print(f"{case.id} and all cases of this patient: {split}")
    return 0


def _exclude(args: argparse.Namespace) -> int:
    case = store_of(args).exclude(args.case, not args.undo)
    print(f"{case.id} is excluded" if case.is_excluded else f"{case.id} counts")
    return 0


def _repair(args: argparse.Namespace) -> int:
    from CrossModalSegLib.site.repair import repair_site

    done = repair_site(args.site, args.nobody_is_saving)
    print("\n".join(done) if done else "nothing to repair")
    return verify(args)
