"""SIGKILL at random moments of a fine-tuning: going on ends with the very weights of a run that was left alone."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from CrossModalSegLib.bundle import load_bundle
from CrossModalSegLib.cli import main
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site

CONFIG = """
finetune = { most_iterations = 8, validations = 2 }
training = { checkpoint_minutes = 0.0, loss_stride = 2 }
"""
KILLS = 3


def arguments(folder: Path) -> list[str]:
    """Those that a new run and one that is resumed have in common."""
    return ["finetune", str(folder / "site"), "--base", str(folder / "tiny"), "--device", "cpu"]


def plans(folder: Path) -> list[Path]:
    return list((folder / "site").glob("runs/*/plan.json"))


def weights(folder: Path) -> dict[str, np.ndarray]:
    (plan,) = plans(folder)
    return load_bundle(plan.parent / "tiny-site-1").read_weights()


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_weights(tmp_path):
    new = ["--budget", "60", "--config"]
    intensity_bundle(tmp_path / "alone" / "tiny", (16, 16, 16), 4.0)
    make_site(tmp_path / "alone" / "site", 2, 1)
    (tmp_path / "alone" / "config.toml").write_text(CONFIG)
    shutil.copytree(tmp_path / "alone", tmp_path / "killed")
    alone, killed, moments = arguments(tmp_path / "alone"), arguments(tmp_path / "killed"), random.Random(5)
    assert main([*alone, *new, str(tmp_path / "alone" / "config.toml")]) == 0

    for _ in range(KILLS):
        begun = bool(plans(tmp_path / "killed"))
        more = ["--resume"] if begun else [*new, str(tmp_path / "killed" / "config.toml")]
        process = subprocess.Popen(
            [sys.executable, "-m", "CrossModalSegLib.cli", *killed, *more], stderr=subprocess.DEVNULL
        )
        while not plans(tmp_path / "killed") and process.poll() is None:
            time.sleep(0.05)
        time.sleep(moments.uniform(0.0, 8.0))
        process.kill()
        process.wait()
    finished = any((tmp_path / "killed" / "site").glob("runs/*/metrics.json"))
    assert finished or main([*killed, "--resume"]) == 0
    one, other = weights(tmp_path / "alone"), weights(tmp_path / "killed")
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
