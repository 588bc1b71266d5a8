"""How fast a pair goes from files to files: this software, and a standard MONAI pipeline with the same weights.

    python -m Testing.Benchmarks.speed.bench [--bundle BRAIN_MR_PAIR_0.1.0] [--rounds 2] [--threads 2]

All in one process, warm, interleaved round by round; the least wall time of all rounds counts, and the processor time
of that round. The phantom, as NIfTI for both. MONAI's network is the code of 0.1.0, kept beside this file, so that the
bundle has to be the starter 0.1.0, which is taken from the repository's history if it is not given. Dice is against the
phantom's own labels, agreement between the two results; structures that neither has do not count.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from CrossModalSegApp.web.files_section import sample_pair
from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume, write_volume
from CrossModalSegLib.inference.case_output import OutputOptions, segment_case, segmentation_name
from CrossModalSegLib.inference.inference import Segmenter
from Testing.Benchmarks.speed.monai_pipeline import MonaiPipeline
from Testing.Benchmarks.speed.starter_history import starter_of
from Testing.Benchmarks.starter.tables import dice_between

TRUTH = "phantom_labels.nrrd"
Labels = Mapping[str, np.ndarray]  # (K, J, I) by modality
Run = Callable[[Path], Callable[[], Labels]]  # writes into a folder; what it gives reads the labels


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="folder of the starter 0.1.0")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        bundle = load_bundle(args.bundle or starter_of("0.1.0", Path(folder)))
        files = as_nifti(Path(folder))
        runs = {
            "this software": ours(bundle, files),
            "MONAI, bfloat16": monai(MonaiPipeline(bundle, autocast=True), files),
            "MONAI, float32": monai(MonaiPipeline(bundle, autocast=False), files),
        }
        found = timed(runs, args.rounds, Path(folder))
    labels = {name: one[2] for name, one in found.items()}
    truth = {"T1w": read_segmentation(sample_pair()["T1w"].with_name(TRUTH))[0]}
    print(f"phantom, bundle {bundle.name} {bundle.version}, {args.threads} threads, least of {args.rounds} rounds")
    print("| | wall, s | processor, s | times as long as ours | Dice, T1w | agreement with ours |")
    print("|---|---|---|---|---|---|")
    own = found["this software"]
    for name, (wall, processor, result) in found.items():
        scores = [mean_dice(bundle, result, one) for one in (truth, labels["this software"])]
        ratio = wall / own[0]
        print(f"| {name} | {wall:.1f} | {processor:.1f} | {ratio:.2f} | {scores[0]:.3f} | {scores[1]:.3f} |")


def as_nifti(folder: Path) -> dict[str, Path]:
    """The phantom's scans."""
    files = {name: folder / f"{name}.nii.gz" for name in sample_pair()}
    for name, path in sample_pair().items():
        volume = read_volume(path, name)
        write_volume(files[name], volume.array, volume.grid)
    return files


def ours(bundle: Bundle, files: Mapping[str, Path]) -> Run:
    """What the worker does for a click."""
    segmenter, options = Segmenter(bundle, "cpu"), OutputOptions(look=None, overview=False)

    def run(output: Path) -> Callable[[], Labels]:
        segment_case(segmenter, files, output, options, lambda *_: None)
        return lambda: {name: read_segmentation(output / segmentation_name(name, options))[0] for name in files}

    return run


def monai(pipeline: MonaiPipeline, files: Mapping[str, Path]) -> Run:
    """What a script for MONAI does."""

    def run(output: Path) -> Callable[[], Labels]:
        labels = pipeline(files, output)
        return lambda: labels

    return run


def timed(runs: Mapping[str, Run], rounds: int, folder: Path) -> dict[str, tuple[float, float, Labels]]:
    """By name: seconds on the wall, of the processor, and the labels by modality. One round more warms up."""
    found: dict[str, tuple[float, float, Labels]] = {}
    for number in range(rounds + 1):
        for name, run in runs.items():
            output = folder / f"{name}-{number}"
            wall, processor = time.perf_counter(), time.process_time()
            labels = run(output)  # written; read below
            taken = time.perf_counter() - wall, time.process_time() - processor
            print(f"round {number}: {name} {taken[0]:.1f} s", flush=True)
            if number and (name not in found or taken[0] < found[name][0]):
                found[name] = (*taken, labels())
    return found


def mean_dice(bundle: Bundle, result: Labels, other: Labels) -> float:
    """Over the structures and modalities that both have."""
    scores = [dice_between(bundle.label_map, result[name], other[name]) for name in other]
    return float(np.mean([dice for one in scores for dice in one.values()]))


if __name__ == "__main__":
    main()
