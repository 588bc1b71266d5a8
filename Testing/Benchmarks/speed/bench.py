"""How fast a pair goes from files to files: this software, and standard pipelines with the same weights.

    python -m Testing.Benchmarks.speed.bench [--pair phantom] [--rounds 2] [--threads 2] [--engines ours monai-bf16]
        [--nnunet-python PYTHON] [--bundle BRAIN_MR_PAIR_0.1.0] [--busy 2]

Each engine is warm in a process of its own, and they run in turn, round by round; the least wall time of all rounds
counts, and the processor time of that round. The others run the network code of 0.1.0, kept beside this file, so the
bundle has to be the starter 0.1.0, which is taken from the repository's history if it is not given. The pair is the
phantom, as it is or on a larger grid. Dice is against the phantom's own labels, agreement with the first engine;
structures that neither has do not count. With ``--busy`` so many processes that only count stand beside every run.
nnU-Net needs an environment of its own, whose Python is given; ``nnunet_pipeline.py`` says how to make it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from Testing.Benchmarks.speed.engine import ANSWER, ENGINES, NNUNET, Labels
from Testing.Benchmarks.speed.pairs import PAIRS, Pair, write_pair
from Testing.Benchmarks.speed.starter_history import starter_of
from Testing.Benchmarks.starter.tables import dice_between


@dataclass(frozen=True)
class Timed:
    """One run: seconds on the wall and of the processor, highest memory of the engine so far in GB, labels."""

    wall: float
    processor: float
    memory_gb: float
    labels: Labels


def main() -> None:
    """Print the table."""
    args = argument_parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as running:
        folder = Path(temporary)
        bundle = load_bundle(args.bundle or starter_of("0.1.0", folder))
        pair = write_pair(args.pair, folder)
        processes = {
            name: running.enter_context(engine(name, python, bundle, args.threads))
            for name, python in pythons(args).items()
        }
        running.enter_context(neighbours(args.busy))
        best: dict[str, Timed] = {}
        for number in range(args.rounds + 1):  # the first warms up
            for name, process in processes.items():
                found = run(process, pair, folder / f"{name}-{number}")
                print(f"round {number}: {name} {found.wall:.1f} s", flush=True)
                if number and (name not in best or found.wall < best[name].wall):
                    best[name] = found
    busy = f", {args.busy} busy neighbours" if args.busy else ""
    print(
        f"pair {args.pair}, bundle {bundle.name} {bundle.version}, {args.threads} threads, least of {args.rounds}{busy}"
    )
    print("\n".join(table(bundle, pair, best)))


def table(bundle: Bundle, pair: Pair, best: dict[str, Timed]) -> Iterator[str]:
    """Lines of Markdown; ratios and agreement are to the first engine."""
    yield "| | wall, s | processor, s | memory, GB | times as long | Dice, T1w | agreement |"
    yield "|---|---|---|---|---|---|---|"
    first = next(iter(best.values()))
    for name, one in best.items():
        scores = [mean_dice(bundle, one.labels, other) for other in (pair.truth, first.labels)]
        ratio = one.wall / first.wall
        yield (
            f"| {name} | {one.wall:.1f} | {one.processor:.1f} | {one.memory_gb:.1f} | {ratio:.2f} | {scores[0]:.3f} "
            f"| {scores[1]:.3f} |"
        )


def mean_dice(bundle: Bundle, result: Labels, other: Labels) -> float:
    """Over the structures and modalities that both have."""
    scores = [dice_between(bundle.label_map, result[name], other[name]) for name in other]
    return float(np.mean([dice for one in scores for dice in one.values()]))


def pythons(args: argparse.Namespace) -> dict[str, str]:
    """Which Python runs each engine."""
    found = dict.fromkeys(args.engines, sys.executable)
    return found | {NNUNET: args.nnunet_python} if args.nnunet_python else found


@contextmanager
def engine(name: str, python: str, bundle: Bundle, threads: int) -> Iterator[subprocess.Popen[str]]:
    """A process of ``python`` that waits for runs."""
    arguments = [
        "-m",
        "Testing.Benchmarks.speed.engine",
        name,
        "--bundle",
        str(bundle.path),
        "--threads",
        str(threads),
    ]
    with subprocess.Popen([python, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            yield process
        finally:
            with suppress(BrokenPipeError):  # of an engine that has ended
                process.stdin.close()


def run(process: subprocess.Popen[str], pair: Pair, output: Path) -> Timed:
    """One run of an engine. Raises SystemExit where it ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    files = {name: str(path) for name, path in pair.files.items()}
    with suppress(BrokenPipeError):  # there is no answer then
        process.stdin.write(json.dumps({"files": files, "output": str(output)}) + "\n")
        process.stdin.flush()
    for line in process.stdout:
        if line.startswith(ANSWER):
            answer = json.loads(line.removeprefix(ANSWER))
            labels = dict(np.load(answer["labels"]))
            return Timed(answer["wall"], answer["processor"], answer["memory_gb"], labels)
    raise SystemExit(f"the engine ended: {process.args!r}")


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """``count`` processes that only count."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="folder of the starter 0.1.0")
    parser.add_argument("--pair", choices=[*PAIRS], default="phantom")
    here = [name for name in ENGINES if name != NNUNET]
    parser.add_argument("--engines", choices=here, nargs="+", default=here)
    parser.add_argument("--nnunet-python", metavar="PYTHON", help=f"of an environment with nnU-Net: {NNUNET} as well")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="processes that count beside")
    return parser


if __name__ == "__main__":
    main()
