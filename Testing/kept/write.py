"""Writes what a user of this version has, and later versions must open.

A model, a site with a fine-tuning, a scene, and corrections in the browser that were not saved.

::

    python -m Testing.kept.write        into Testing/kept/<version>, which must not be there

Run it once for a version, at the commit that is published as this version, and add the files to the repository. They
are not written again: what they are for is that they are old. ``facts.json`` says what they held when they were
written, and of which commit the code was that wrote them. The tests are Testing/unit/test_kept_site.py,
test_kept_bundle.py and Testing/slicer/logic/test_kept_scene.py and Testing/slicer/qt/test_kept_panel.py.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from CrossModalSegLib import __version__
from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.cli import main
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, intensity_bundle, true_labels, two_balls
from Testing.volumes import grid_around, points_of

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SHAPE, SPACING = (20, 22, 20), (5.0, 5.0, 5.0)
MODALITIES = ("T1w", "T2w")
QUICK = "finetune = { most_iterations = 4, validations = 1 }\ntraining = { loss_stride = 2 }\n"


def write(folder: Path) -> None:
    """All of it into ``folder``."""
    from Testing.kept.write_scene import write_scene
    from Testing.kept.write_unsaved import write_unsaved

    bundles = folder / "bundles"
    bundle = intensity_bundle(bundles / "tiny", (16, 16, 16), 5.0, located=True)
    os.environ["CROSSMODALSEG_BUNDLES"] = str(bundles)
    site = folder / "site"
    cases = _write_site(site, bundle)
    shown = write_scene(folder / "scene.mrb", bundle, site, cases["fork"])
    write_unsaved(folder / "unsaved", folder / "scene.mrb")
    _remove_locks(folder)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    facts = {
        "version": __version__,
        "commit": commit.stdout.strip(),
        "bundle": bundle.sha256,
        "starter bundle": load_bundle("brain-mr-pair", [REPOSITORY / "CrossModalSeg/Resources/Bundles"]).sha256,
        "cases": cases,
        "run": next(path.parent.name for path in site.glob("runs/*/metrics.json")),
        "scene": shown,
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")


def _write_site(folder: Path, bundle: Bundle) -> dict[str, str]:
    """A site whose cases are in every state; their ids by what is so about them."""
    store = CaseStore(folder)
    store.create(LABEL_MAP, MODALITIES)
    ids = {
        "corrected": _correct(store, 0, bundle, times=2),
        "approved": _correct(store, 1, bundle),
        "held out": _correct(store, 2, bundle),
        "excluded": _correct(store, 3, bundle),
        "fork": _correct(store, 4, bundle),
        "predicted": store.save_prediction(_case(5, bundle)).id,
        "unlabelled": store.add_unlabelled(_case(6, bundle, labelled=False)).id,
        "one scan": store.add_unlabelled(_case(7, bundle, labelled=False, modalities=MODALITIES[:1])).id,
    }
    store.approve(ids["approved"], author="CD")
    for what, id_ in ids.items():
        store.set_split(id_, "held-out" if what == "held out" else "training")
    store.exclude(ids["excluded"])
    for mark in (1, 2):
        store.save_correction(_case(4, bundle, painted=mark), "EF", based_on=1)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "quick.toml").write_text(QUICK)
        _finetune(folder, "--config", f"{place}/quick.toml", "--budget", "30")
        _run("site", "adopt", str(folder))
        _run("site", "rank", str(folder), "--device", "cpu")
        _stop_one(folder, Path(place) / "quick.toml")
    return ids


def _correct(store: CaseStore, number: int, bundle: Bundle, times: int = 1) -> str:
    saved = [store.save_correction(_case(number, bundle, painted=time), "AB") for time in range(times)]
    return saved[-1].id


def _case(
    number: int,
    bundle: Bundle,
    labelled: bool = True,
    modalities: tuple[str, ...] = MODALITIES,
    painted: int = 0,
) -> CaseFiles:
    """The head of patient ``number``, in whole numbers, which are small in a file; ``painted``: voxels that were
    changed."""
    grid = grid_around((5.0 + number, -10.0 - number, 15.0), SHAPE, SPACING)
    clean = two_balls(points_of(grid))
    volumes, labels = {}, {}
    for modality in modalities:
        noise = np.random.default_rng([number, len(volumes)]).normal(0, 8, grid.shape_kji)
        bright = (clean + 130.0 * (clean > 200) + noise).round(-1)
        volumes[modality] = Volume(bright.astype(np.int16), grid, modality)
        drawn = true_labels(points_of(grid))
        drawn[:painted, 0, 0] = LEFT if number % 2 else RIGHT
        labels[modality] = (drawn, grid)
    identity = {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256, "modalities": list(MODALITIES)}
    return CaseFiles(volumes, labels if labelled else {}, LABEL_MAP, identity, f"patient {number}")


def _finetune(site: Path, *more: str) -> None:
    _run("finetune", str(site), "--device", "cpu", *more)


def _stop_one(site: Path, config: Path) -> None:
    """A second fine-tuning that is killed when it has planned."""
    command = [sys.executable, "-m", "CrossModalSegLib.cli", "finetune", str(site), "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--config", str(config), "--events"], stdout=subprocess.PIPE, stdin=subprocess.PIPE, cwd=REPOSITORY
    )
    assert process.stdout is not None
    process.stdout.readline()  # the plan is told when it is saved
    process.kill()
    process.communicate()
    unfinished = [path.parent for path in site.glob("runs/*/plan.json") if not (path.parent / "metrics.json").exists()]
    assert len(unfinished) == 1, unfinished


def _run(*arguments: str) -> None:
    if main(list(arguments)) != 0:
        raise SystemExit(f"crossmodalseg {' '.join(arguments)} failed")


def _remove_locks(folder: Path) -> None:
    """And what a training needs no more once it is done: it is large, and no version reads it again."""
    for path in folder.rglob("lock"):
        path.unlink()
    for run in (folder / "site" / "runs").iterdir():
        for name in ("prepared", "training", "parent"):
            shutil.rmtree(run / name, ignore_errors=True)


if __name__ == "__main__":
    target = HERE / __version__
    if target.exists():
        raise SystemExit(f"{target} is there already: what is kept of a version is not written again")
    with tempfile.TemporaryDirectory(dir=HERE) as staging:
        write(Path(staging))
        shutil.copytree(staging, target)
