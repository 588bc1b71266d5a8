"""The same task as a competent user of MONAI writes it: transforms, sliding windows, mirroring, and the way back."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    Orientationd,
    ResampleToMatch,
    SaveImage,
    ScaleIntensityRangePercentilesd,
    Spacingd,
)

from CrossModalSegLib.bundles.bundle import Bundle
from Testing.Benchmarks.speed.windows import OVERLAP, load_windows, position


class MonaiPipeline:
    """Segments a pair from files to files with a bundle's weights; ``autocast``: in bfloat16."""

    def __init__(self, bundle: Bundle, autocast: bool):
        self.bundle, self.autocast = bundle, autocast
        self.windows = load_windows(bundle)
        self.inferer = SlidingWindowInferer(bundle.patch_size, overlap=OVERLAP, mode="gaussian", sw_batch_size=1)
        names = list(bundle.modalities)
        self.load = Compose([LoadImaged(names), EnsureChannelFirstd(names)])
        self.prepare = Compose(
            [
                Orientationd(names, axcodes="RAS", labels=None),
                Spacingd(names, pixdim=bundle.spacing_mm, mode="bilinear"),
                ScaleIntensityRangePercentilesd(names, 1, 99, 0.0, 1.0, clip=True),
            ]
        )

    @torch.inference_mode()
    def __call__(self, files: Mapping[str, Path], output: Path) -> dict[str, np.ndarray]:
        """Label values (K, J, I) by modality, on the scans' own voxels; written to ``output`` as NIfTI as well."""
        first, second = self.bundle.modalities
        native = self.load({name: str(path) for name, path in files.items()})
        grid = self.prepare(dict(native))
        other = ResampleToMatch(mode="bilinear", padding_mode="zeros")(grid[second], grid[first])
        inside = MetaTensor(torch.ones_like(grid[second]), meta=grid[second].meta)
        covered = ResampleToMatch(mode="nearest", padding_mode="zeros")(inside, grid[first])
        scans = [grid[first], torch.ones_like(grid[first]), other, covered]
        kji = torch.cat([one.as_tensor().permute(0, 3, 2, 1) for one in scans])
        channels = torch.cat([kji, position(kji.shape[1:], self.bundle)])[None]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            found = self.inferer(channels, self.windows)
        labels = {}
        for name, part in zip((first, second), found[0].chunk(2), strict=True):  # type: ignore[union-attr, index]
            there = MetaTensor(part.float().permute(0, 3, 2, 1), meta=grid[first].meta)
            own = ResampleToMatch(mode="bilinear")(there, native[name])
            values = torch.tensor(self.bundle.label_map.channels, dtype=torch.int16)[own.argmax(dim=0).as_tensor()]
            image = MetaTensor(values[None], meta=native[name].meta)
            SaveImage(output, output_postfix=name, separate_folder=False, print_log=False, output_dtype=np.int16)(image)
            labels[name] = values.numpy().transpose(2, 1, 0)
        return labels
