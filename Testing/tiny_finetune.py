"""Fine-tunings of a tiny site by the command, for tests: a few steps, and what is read of their results."""

from pathlib import Path

import numpy as np

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.cli import main
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site

QUICK = """
finetune = { most_iterations = 4, validations = 1 }
training = { loss_stride = 2 }
"""


def prepare(folder: Path, corrected: int, unlabelled: int, **more) -> Path:
    folder.mkdir(exist_ok=True)
    intensity_bundle(folder / "tiny", (16, 16, 16), 4.0)
    (folder / "quick.toml").write_text(QUICK)
    make_site(folder / "site", corrected, unlabelled, **more)
    return folder


def run(folder: Path, *more: object, new: bool = True) -> int:
    arguments = ["--base", folder / "tiny", "--device", "cpu"]
    if new:
        arguments += ["--budget", 30, "--config", folder / "quick.toml"]
    return main(["finetune", str(folder / "site"), *map(str, arguments), *map(str, more)])


def run_folder(folder: Path) -> Path:
    (found,) = (folder / "site" / "runs").iterdir()
    return found


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return load_bundle(run_folder(folder) / "tiny-site-1").read_weights()


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
