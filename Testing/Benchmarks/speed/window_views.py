"""What it costs and brings to see the windows of a scan mirrored as well, and to let them overlap.

    python -m Testing.Benchmarks.speed.window_views --data DATA [--bundle brain-mr-pair] [--threads 2]

Pairs of synthetic scans of the label maps 18 to 20, whose labels are known: mean Dice over structures, scans and pairs,
and the seconds that the network takes, for the product as it is, for windows that are each seen both ways, for windows
that are never mirrored, and for an overlap of an eighth.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.inference import inference, sliding_window
from CrossModalSegLib.inference.inference import Segmenter, windows_of
from CrossModalSegLib.inference.sliding_window import MIRRORED, STRAIGHT, Windows
from Testing.Benchmarks.starter.synthetic import UNSEEN_MAPS, Head, head
from Testing.Benchmarks.starter.tables import dice_between


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with brain-label-maps")
    parser.add_argument("--bundle", default="brain-mr-pair")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    segmenter = Segmenter(load_bundle(args.bundle), "cpu")
    heads = [head(segmenter, args.data, number) for number in UNSEEN_MAPS]
    print("| windows | Dice | network, s |")
    print("|---|---|---|")
    for name, way in WAYS.items():
        with way():
            dice, seconds = np.mean([score(segmenter, one) for one in heads], axis=0)
        print(f"| {name} | {dice:.4f} | {seconds:.1f} |", flush=True)


def score(segmenter: Segmenter, given: Head) -> tuple[float, float]:
    """Mean Dice over both scans, and the network's seconds."""
    result = segmenter.segment(given.volumes)
    found = {name: one.labels for name, one in result.modalities.items()}
    scores = [dice_between(segmenter.bundle.label_map, found[name], truth) for name, truth in given.truths.items()]
    return float(np.mean([dice for one in scores for dice in one.values()])), result.seconds["network"]


def _both_ways() -> AbstractContextManager[object]:
    all_windows = sliding_window._all_windows

    def seen_both_ways(shape: tuple[int, ...], windows: Windows, cell: int) -> Iterator[sliding_window._Window]:
        views = (STRAIGHT, MIRRORED)[: windows.views]
        return (replace(one, views=views) for one in all_windows(shape, windows, cell))

    return patch.object(sliding_window, "_all_windows", seen_both_ways)


def _never_mirrored() -> AbstractContextManager[object]:
    return patch.object(inference, "windows_of", lambda bundle: replace(windows_of(bundle), mirrored=None))


WAYS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "straight and mirrored in turn, as the product does": nullcontext,
    "each both ways": _both_ways,
    "never mirrored": _never_mirrored,
    "in turn, with an overlap of an eighth": lambda: patch.object(sliding_window, "OVERLAP", 1 / 8),
}


if __name__ == "__main__":
    main()
