"""What ``crossmodalseg segment --cases`` shares with other processes that work on the same table."""

import argparse
import json
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from CrossModalSegLib.archive.claims import LEASE_SECONDS, Claims
from CrossModalSegLib.archive.results_table import RESULTS, SHARED, Outcome
from CrossModalSegLib.archive.work import Job, Work, claims_folder
from CrossModalSegLib.errors import CrossModalSegError, DataError, OutputError, internal_error, typed_error

if TYPE_CHECKING:
    from rich.console import Console

WHOLE = (1, 1)


def add_part_option(parser: argparse.ArgumentParser) -> None:
    """``part`` (i, N) of what is parsed."""
    parser.add_argument(
        "--part",
        type=_part,
        default=WHOLE,
        metavar="i/N",
        help="of --cases only each N-th case, beginning with the i-th",
    )


def add_lease_option(parser: argparse.ArgumentParser) -> None:
    """``lease`` in seconds of what is parsed."""
    parser.add_argument(
        "--lease",
        type=_seconds,
        default=LEASE_SECONDS,
        metavar="MINUTES",
        help="after which the case of a process that gives no sign of life is taken over (default: 10)",
    )


def work_through(
    cases: Mapping[str, Mapping[str, Path]],
    args: argparse.Namespace,
    result: Callable[[str], float | None],
    make: Callable[[str], float],
) -> tuple[Mapping[str, Outcome], Collection[str]]:
    """Do the cases of the part that nobody else does, wait for the others; the outcomes, and what was made here.

    ``result`` and ``make`` are those of a `Job`. Raises OutputError ``input-in-output``, DataError ``case-table``.
    """
    _refuse_names_of_ours(cases, args)
    names, (first, step) = list(cases), args.part
    numbers = {name: number for number, name in enumerate(names, start=1)}
    with ended_politely(), Claims(claims_folder(args.output), args.lease) as claims:

        def fresh_result(case: str) -> float | None:
            if args.overwrite and not claims.is_newer(args.output / case / "report.json"):
                return None
            return result(case)

        def announced(case: str) -> float:
            print(f"{numbers[case]}/{len(names)} {case}", file=sys.stderr)
            return make(case)

        work = Work(args.output, names, names[first - 1 :: step], Job(fresh_result, announced, _told), claims)
        return work.run(), work.made


@contextmanager
def ended_politely() -> Iterator[None]:
    """In the block SIGTERM, which a scheduler sends some time before it kills, is an interruption as Ctrl-C is: claims
    are given back, and what is known is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def seconds_of(folder: Path) -> float:
    """What computing a result took, by its report; 0 where that does not say it."""
    try:
        seconds = json.loads((folder / "report.json").read_text(encoding="utf-8"))["seconds"]
        return float(sum(seconds.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0.0


def print_outcomes(console: "Console", outcomes: Mapping[str, Outcome], made: Collection[str]) -> None:
    """A table of what came of each case, and one line that sums it up."""
    from rich.table import Table

    table = Table("case", "result")
    for case, outcome in outcomes.items():
        table.add_row(case, _in_words(outcome, case in made))
    console.print(table)
    failed = sum(outcome.state == "failed" for outcome in outcomes.values())
    print(f"{len(outcomes) - failed} done, {failed} failed")


def _in_words(outcome: Outcome, made_here: bool) -> str:
    if outcome.state == "failed":
        return f"error[{outcome.error}]: {outcome.message}"
    return f"done in {outcome.seconds or 0:.0f} s" if made_here else "done before"


def _told(error: Exception) -> CrossModalSegError:
    """An error as a typed one, in one line, which is told on stderr at once."""
    told = typed_error(error)
    if told is None:
        traceback.print_exception(error)
        told = internal_error(error)
    message, hint = (" ".join(text.split()) for text in (told.message, told.hint))
    print(f"error[{told.code}]: {message} ({hint})", file=sys.stderr)
    return CrossModalSegError(told.code, message, hint)


def _refuse_names_of_ours(cases: Mapping[str, object], args: argparse.Namespace) -> None:
    if taken := [name for name in (RESULTS, SHARED) if name in cases]:
        raise DataError("case-table", f"{args.cases}: no case can be named {taken[0]}", "give it another name")
    if args.cases.resolve() == (args.output / RESULTS).resolve():
        message = f"{args.cases} would be replaced by the table of results"
        raise OutputError("input-in-output", message, "choose another output folder")


def _part(text: str) -> tuple[int, int]:
    number, separator, parts = text.partition("/")
    if not (separator and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part such as 3/8")
    return int(number), int(parts)


def _seconds(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0")
    return 60 * minutes
