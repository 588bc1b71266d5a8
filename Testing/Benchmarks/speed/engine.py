"""One way from files to files, warm in a process of its own, for ``Testing.Benchmarks.speed.bench``.

    python -m Testing.Benchmarks.speed.engine NAME --bundle FOLDER --threads 2

Each line on standard input is a run, ``{"files": {modality: path}, "output": folder}``. The answer is a line that
begins with `ANSWER`: seconds on the wall and of the processor, the highest resident memory of the process so far in GB,
and a file with the labels by modality, (K, J, I), which are read after the time is taken.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.inference.case_output import OutputOptions, peak_memory_gb, segment_case, segmentation_name
from CrossModalSegLib.inference.inference import Segmenter
from Testing.Benchmarks.speed.monai_pipeline import MonaiPipeline

ANSWER = "answer: "
Labels = Mapping[str, np.ndarray]  # (K, J, I) by modality
Engine = Callable[[Mapping[str, Path], Path], Callable[[], Labels]]  # writes into a folder; what it gives reads labels


def ours(bundle: Bundle) -> Engine:
    """What the worker does for a click."""
    segmenter, options = Segmenter(bundle, "cpu"), OutputOptions(look=None, overview=False)

    def run(files: Mapping[str, Path], output: Path) -> Callable[[], Labels]:
        segment_case(segmenter, files, output, options, lambda *_: None)
        return lambda: {name: read_segmentation(output / segmentation_name(name, options))[0] for name in files}

    return run


def script(pipeline: Callable[[Mapping[str, Path], Path], Labels]) -> Engine:
    """What a script for another framework does: its labels are there already when the files are written."""

    def run(files: Mapping[str, Path], output: Path) -> Callable[[], Labels]:
        labels = pipeline(files, output)
        return lambda: labels

    return run


def nnunet(bundle: Bundle) -> Engine:
    """In nnU-Net's order of steps; only an environment that has nnU-Net can import it."""
    from Testing.Benchmarks.speed.nnunet_pipeline import NnunetPipeline

    return script(NnunetPipeline(bundle))


NNUNET = "nnunet"
ENGINES: dict[str, Callable[[Bundle], Engine]] = {
    "ours": ours,
    "monai-bf16": lambda bundle: script(MonaiPipeline(bundle, autocast=True)),
    "monai-fp32": lambda bundle: script(MonaiPipeline(bundle, autocast=False)),
    NNUNET: nnunet,
}


def main() -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*ENGINES])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    engine = ENGINES[args.name](load_bundle(args.bundle))
    for line in sys.stdin:
        request = json.loads(line)
        output = Path(request["output"])
        output.mkdir()
        wall, processor = time.perf_counter(), time.process_time()
        read_labels = engine({name: Path(path) for name, path in request["files"].items()}, output / "result")
        answer = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        answer["memory_gb"] = peak_memory_gb()["process"]
        np.savez(output / "labels.npz", **read_labels())
        print(ANSWER + json.dumps(answer | {"labels": str(output / "labels.npz")}), flush=True)


if __name__ == "__main__":
    main()
