"""Peak memory and time per stage for a large pair: 512 x 512 x 150 with 320 x 260 x 80 voxels, on the CPU.

    python Testing/Benchmarks/memory.py [--in-plane 0.5] [--thickness 1.2]

The network has the size of the starter bundle's and random weights: what it predicts is noise, what it costs is not.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from CrossModalSegLib.bundles.bundle import Bundle, publish_bundle
from CrossModalSegLib.bundles.bundle_metadata import BundleDescription
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.inference.case_output import OutputOptions, segment_case
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, read_label_map
from CrossModalSegLib.network import CrossModalNetwork

LIMIT_GB = 6.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--in-plane", type=float, default=0.5, help="mm, of the large volume (default: 0.5)")
    parser.add_argument("--thickness", type=float, default=1.2, help="mm, of its slices (default: 1.2)")
    args = parser.parse_args()
    extent = np.array([512 * args.in_plane, 512 * args.in_plane, 150 * args.thickness])
    with tempfile.TemporaryDirectory() as folder:
        inputs = {"T1w": Path(folder) / "large.nii.gz", "T2w": Path(folder) / "small.nii.gz"}
        _write_head(inputs["T1w"], (512, 512, 150), extent, extent)
        _write_head(inputs["T2w"], (320, 260, 80), 0.9 * extent, extent)
        segmenter = Segmenter(_bundle(Path(folder) / "bundle"), "cpu")
        report = segment_case(segmenter, inputs, Path(folder) / "result", OutputOptions(), lambda *_: None)
    peak = report["peak_memory_gb"]["process"]
    print(json.dumps({"threads": torch.get_num_threads(), "seconds": report["seconds"]}))
    print(f"peak memory {peak:.2f} GB, {'within' if peak <= LIMIT_GB else 'ABOVE'} the limit of {LIMIT_GB:g} GB")


def _write_head(path: Path, shape_ijk: tuple[int, int, int], field_mm: np.ndarray, head_mm: np.ndarray) -> None:
    """A noisy ellipsoid that nearly fills ``head_mm``, seen in a field of view of ``field_mm`` around its centre."""
    spacing = field_mm / shape_ijk
    axes = [(np.arange(n, dtype=np.float32) - (n - 1) / 2) * step for n, step in zip(shape_ijk, spacing, strict=True)]
    i, j, k = (2.1 * axis / size for axis, size in zip(axes, head_mm, strict=True))
    inside = k[:, None, None] ** 2 + j[None, :, None] ** 2 + i[None, None, :] ** 2 < 1
    noise = np.random.default_rng(0).integers(0, 100, inside.shape, dtype=np.int16)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    write_volume(path, inside * np.int16(700) + noise, Grid(inside.shape, affine))


def _bundle(folder: Path) -> Bundle:
    label_map = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")
    network = {"classes": len(label_map.channels), "channels": [24, 64, 128, 160], "stem_stride": 2}
    torch.manual_seed(0)
    weights = {name: tensor.numpy() for name, tensor in CrossModalNetwork(**network).state_dict().items()}
    described = BundleDescription(
        version="0",
        task="benchmark",
        description="Random weights",
        authors="-",
        copyright_notice="-",
        licence="Apache-2.0",
        modalities=("T1w", "T2w"),
        label_map=label_map,
        spacing_mm=(1.5, 1.5, 1.5),
        patch_size=(64, 80, 64),
        intensity={"T1w": {}, "T2w": {}},
        network=network,
        training={},
        scores={},
    )
    return publish_bundle(folder, described.metadata(), weights, "Random weights.\n")


if __name__ == "__main__":
    main()
