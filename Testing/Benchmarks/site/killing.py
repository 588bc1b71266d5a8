"""SIGKILL at random moments of saving, training and publishing: what is left is whole, and goes on to the same weights.

    python -m Testing.Benchmarks.site.killing [--kills 30] [--seed 0]

A third of the kills hits a process that saves corrections: after each, the site verifies, and every revision that was
said to be saved is there. The others hit a fine-tuning of a tiny site that ends with a promotion, at a random moment of
a random stage; it is resumed each time. When it is done, a new one begins. The weights of all, and of the models that
the site has adopted, are those of a fine-tuning that nobody has stopped.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.check import verify_site
from CrossModalSegLib.site.runs import METRICS_FILE, PLAN_FILE, RUNS
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site

# Steps as few as a promotion takes; a checkpoint after each, so that runs go on from many places.
CONFIG = """
finetune = { most_iterations = 24, validations = 2, anchor = 0.0, share = 1.0, folds = 2 }
training = { learning_rate = 0.004, decay = 0.2, checkpoint_minutes = 0.0 }
"""
STAGES = (
    "scoring the parent",
    "timing",
    "preparing",
    "training fold-1",
    "training fold-2",
    "training final",
    "report",
    "",
)
SAVE = """
import sys
from pathlib import Path
from CrossModalSegLib.site.case_store import CaseStore
from Testing.site_case import small_case
store, case = CaseStore(Path(sys.argv[1])), small_case(1, "p")
while True:
    print(store.save_correction(case).revision, flush=True)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, count, and print; returns 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    moments = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lost = kill_saving(folder / "saving", args.kills // 3, moments)
        kills = args.kills - args.kills // 3
        killed, differing = kill_finetuning(folder, kills, moments)
    print(f"{args.kills // 3} kills while saving: {len(lost)} sites damaged or revisions lost {lost or ''}")
    print(f"{kills} kills while fine-tuning, in {dict(sorted(killed.items()))}: {differing} results differ")
    return int(bool(lost or differing))


def kill_saving(site: Path, kills: int, moments: random.Random) -> list[str]:
    """What was lost, in words."""
    problems, said = [], 0
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", SAVE, str(site)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = max(said, int(process.stdout.readline()))
        time.sleep(moments.uniform(0.0, 0.3))
        process.kill()
        lines = process.communicate()[0].splitlines(keepends=True)
        said = max([said, *(int(line) for line in lines if line.endswith("\n"))])  # the last one may be cut off
        problems += [str(damage) for damage in verify_site(site).damages]
        there = {one.number for case in CaseStore(site).cases() for one in case.revisions}
        problems += [f"revision {number} is gone" for number in range(1, said + 1) if number not in there]
    return problems


def kill_finetuning(folder: Path, kills: int, moments: random.Random) -> tuple[dict[str, int], int]:
    """How often each stage was hit, and how many of the finished runs have other weights than one left alone."""
    prepare(folder / "fresh")
    alone = copy(folder / "fresh", folder / "alone")
    run(alone, None, moments)
    wanted, number, differing = weights(alone), 0, 0
    hit: dict[str, int] = {}
    current = copy(folder / "fresh", folder / "killed-0")
    while sum(hit.values()) < kills:
        stage = run(current, moments.choice(STAGES), moments)
        if stage is not None:
            hit[stage] = hit.get(stage, 0) + 1
        if is_done(current):
            differing += not same(weights(current), wanted)
            number += 1
            current = copy(folder / "fresh", folder / f"killed-{number}")
    while not is_done(current):
        run(current, None, moments)
    differing += not same(weights(current), wanted)
    return hit, differing


def prepare(folder: Path) -> None:
    """A site in a contrast that its base misreads."""
    intensity_bundle(folder / "tiny", (16, 16, 16), 4.0)
    make_site(folder / "site", 2, 1, shift=290.0)
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")


def copy(source: Path, target: Path) -> Path:
    """Copies of one site have one salt, and so one order of cases."""
    shutil.copytree(source, target)
    return target


def run(folder: Path, stage: str | None, moments: random.Random) -> str | None:
    """Begin or resume, and kill a moment after ``stage`` has begun ("": just after the start; None: never). Returns the
    stage that was hit, None where the run was over before."""
    begun = any((folder / "site" / RUNS).glob(f"*/{PLAN_FILE}"))
    more = ["--resume"] if begun else ["--budget", "60", "--config", str(folder / "config.toml")]
    command = ["finetune", str(folder / "site"), "--base", str(folder / "tiny"), "--device", "cpu", "--events", *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "CrossModalSegLib.cli", *command],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    now = ""
    try:
        if stage != "":
            for line in process.stdout:
                now = json.loads(line).get("stage", now)
                if now == stage:
                    break
        time.sleep(moments.uniform(0.0, 3.0 if stage == "" else 0.5))
    finally:
        process.kill()
        process.communicate()
    return None if process.returncode == 0 else now or "start"


def is_done(folder: Path) -> bool:
    return any((folder / "site" / RUNS).glob(f"*/{METRICS_FILE}"))


def weights(folder: Path) -> dict[str, np.ndarray]:
    """Those of the model that the site has adopted, or of the candidate where it has not. Both are verified."""
    (plan,) = (folder / "site" / RUNS).glob(f"*/{PLAN_FILE}")
    candidate = load_bundle(plan.parent / "tiny-site-1")
    adopted = folder / "site" / "models" / "tiny-site-1"
    if not adopted.exists():
        return candidate.read_weights()
    assert load_bundle(adopted).sha256 == candidate.sha256
    return load_bundle(adopted).read_weights()


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


if __name__ == "__main__":
    sys.exit(main())
