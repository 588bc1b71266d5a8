"""``crossmodalseg archive``: a table of many cases as jobs of a cluster, or as processes of this computer."""

import argparse
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CrossModalSegLib.commands.case_table import read_case_table
from CrossModalSegLib.commands.display import Display
from CrossModalSegLib.commands.options import given_path
from CrossModalSegLib.commands.segment import add_case_options
from CrossModalSegLib.commands.shared_cases import ended_politely
from CrossModalSegLib.errors import InputError, InstallError
from CrossModalSegLib.own_process import processor_count

if TYPE_CHECKING:
    from CrossModalSegLib.archive.engines import Engine, Resources

EXAMPLES = """examples:
  crossmodalseg archive --cases cases.csv --output results --parallel 4
  crossmodalseg archive --cases cases.csv --output results --engine slurm --parallel 50 --gpus 1 --minutes 120 \\
      --slurm partition=gpu --slurm account=radiology

Runs "crossmodalseg segment --cases" on chunks of the table, each a job. Run the same command again to go on: finished
chunks are not repeated. What came of each case is in OUTPUT/results.csv, logs are in OUTPUT/.cases/jobs. Exit code 1:
some cases failed, or chunks were lost too often.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "archive",
        help="segment many cases on a cluster",
        description="Segments the cases of a table in chunks, as jobs of Slurm or as processes of this computer.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", type=given_path, required=True, metavar="TABLE.csv", help="as for segment")
    parser.add_argument("--output", type=given_path, required=True, metavar="FOLDER", help="all machines must see it")
    parser.add_argument("--engine", choices=("local", "slurm"), default="local")
    parser.add_argument("--chunk", type=_number, default=100, metavar="CASES", help="cases per job (default: 100)")
    parser.add_argument("--parallel", type=_number, default=2, metavar="JOBS", help="that run at a time (default: 2)")
    parser.add_argument("--cpus", type=_number, metavar="N", help="per job; default: 4, locally what there is for each")
    parser.add_argument("--memory", type=_gigabytes, default=8.0, metavar="GB", help="per job, for Slurm (default: 8)")
    parser.add_argument("--gpus", type=_count, default=0, metavar="N", help="per job (default: 0)")
    parser.add_argument("--minutes", type=_number, default=240, help="after which a job is ended (default: 240)")
    parser.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further option of sbatch, such as partition",
    )
    add_case_options(parser)


def run(args: argparse.Namespace) -> int:
    """Submit, wait and sum up; returns 0, or 1 when some cases failed or are open. Raises CrossModalSegError."""
    cases = read_case_table(args.cases)
    more = _options_of_slurm(args.slurm)
    args.cases, args.output = args.cases.resolve(), args.output.resolve()

    from CrossModalSegLib.archive.chunks import Archive, summary
    from CrossModalSegLib.bundles.bundle import load_bundle

    bundle = load_bundle(args.bundle)
    chunks = -(-len(cases) // args.chunk)
    archive = Archive(args.output, list(cases), chunks, lambda number: _command(args, bundle.path, number, chunks))
    engine, most_jobs = _engine(args, more)
    with ended_politely(), Display() as show:
        outcomes = archive.run(_made_of(args, bundle.sha256, chunks), engine, most_jobs, show.progress)
    print(f"{summary(outcomes)}: {args.output / 'results.csv'}")
    if lost := archive.given_up():
        print(f"given up, as their jobs were lost again and again: chunks {', '.join(map(str, lost))}")
    return int(any(outcome.state != "done" for outcome in outcomes.values()))


def _command(args: argparse.Namespace, bundle: Path, number: int, chunks: int) -> list[str]:
    command = ["segment", "--cases", str(args.cases), "--output", str(args.output), "--part", f"{number}/{chunks}"]
    command += ["--bundle", str(bundle.resolve()), "--device", args.device, "--lease", str(args.lease / 60)]
    return command + [f"{name}={value}" for name, value in _options(args).items() if value] + _flags(args)


def _options(args: argparse.Namespace) -> dict[str, str | None]:
    """Those that results depend on, as they are given to ``segment``."""
    return {
        "--format": args.format,
        "--seg-type": args.seg_type,
        "--assume-orientation": args.assume_orientation,
    }


def _flags(args: argparse.Namespace) -> list[str]:
    given = {
        "--quick-check": args.quick_check,
        "--save-probabilities": args.save_probabilities,
        "--uncertainty-map": args.uncertainty_map,
        "--structure-set": args.structure_set,
    }
    return [name for name, is_given in given.items() if is_given]


def _made_of(args: argparse.Namespace, bundle: str, chunks: int) -> dict[str, Any]:
    """What may not change when an archive is gone on with."""
    options = [_options(args), _flags(args)]
    table = hashlib.sha256(args.cases.read_bytes()).hexdigest()
    return {"table": table, "model": bundle, "choice of options": options, "size of chunks": chunks}


def _engine(args: argparse.Namespace, more: dict[str, str]) -> tuple["Engine", int]:
    """Where it runs, and how many jobs may wait or run there at a time."""
    try:
        from CrossModalSegLib.archive.engines import MOST_JOBS_AT_ONCE, LocalEngine, Resources, SlurmEngine
    except ImportError as error:
        what, hint = f"{error.name} is not installed", 'install it: pip install "crossmodalseg[cluster]"'
        raise InstallError("packages-missing", what, hint) from error
    folder = args.output / ".cases" / "jobs"
    if args.engine == "local":
        cpus = args.cpus or max(1, processor_count() // args.parallel)
        return LocalEngine(folder, _resources(args, cpus, Resources, {})), args.parallel
    return SlurmEngine(folder, _resources(args, args.cpus or 4, Resources, more), args.parallel), MOST_JOBS_AT_ONCE


def _resources(args: argparse.Namespace, cpus: int, make: "type[Resources]", more: dict[str, str]) -> "Resources":
    return make(cpus, args.memory, args.minutes, args.gpus, more)


def _options_of_slurm(entries: list[str]) -> dict[str, str]:
    options = dict(entry.partition("=")[::2] for entry in entries)
    if wrong := [entry for entry in entries if not all(entry.partition("="))]:
        raise InputError("usage", f"{wrong[0]!r} is not NAME=VALUE", "write it such as partition=gpu")
    return options


def _number(text: str) -> int:
    if not _count(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of things")
    return int(text)


def _gigabytes(text: str) -> float:
    size = float(text)
    if not (math.isfinite(size) and size > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no size above 0")
    return size
