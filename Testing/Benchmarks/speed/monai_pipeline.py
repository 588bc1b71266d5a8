"""The same task as a competent user of MONAI writes it: transforms, sliding windows, mirroring, and the way back.

The network is the code of the starter 0.1.0 (``network_0_1_0.py``), so that the yardstick stays where it is.
"""

from collections.abc import Mapping, Sequence
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
from torch import Tensor, nn

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.inference.inference import windows_of
from Testing.Benchmarks.speed.network_0_1_0 import CrossModalNetwork

OVERLAP = 0.5


class Windows(nn.Module):
    """Probabilities (B, 2 * C, D, H, W) of both modalities, mean of the window's and of its mirror image's.

    From channels (B, 7, D, H, W): intensity and coverage of each modality, position along k, j, i in decimetres.
    """

    def __init__(self, network: CrossModalNetwork, mirrored: Sequence[int] | None):
        super().__init__()
        self.network, self.mirrored = network, mirrored

    def forward(self, channels: Tensor) -> Tensor:
        found = self._probabilities(channels[:, :4], channels[:, 4:])
        if self.mirrored is None:
            return torch.cat(found, dim=1)
        place = channels[:, 4:].flip(-1)
        place[:, 2] *= -1
        turned = [one.flip(-1)[:, list(self.mirrored)] for one in self._probabilities(channels[:, :4].flip(-1), place)]
        return torch.cat([(a + b) / 2 for a, b in zip(found, turned, strict=True)], dim=1)

    def _probabilities(self, scans: Tensor, position: Tensor) -> list[Tensor]:
        presence = torch.ones(len(scans), 2, dtype=torch.bool)
        logits = self.network(scans.unflatten(1, (2, 2)), position, presence)
        return [torch.softmax(one.float(), dim=1) for one in logits]


class MonaiPipeline:
    """Segments a pair from files to files with a bundle's weights; ``autocast``: in bfloat16."""

    def __init__(self, bundle: Bundle, autocast: bool):
        self.bundle, self.autocast = bundle, autocast
        arguments = {name: value for name, value in bundle.network.items() if name != "smooth_head"}
        network = CrossModalNetwork(**arguments)
        weights = {name: torch.from_numpy(array) for name, array in bundle.read_weights().items()}
        network.load_state_dict(weights)
        windows = windows_of(bundle)
        self.windows = Windows(network.eval(), windows.mirrored)
        self.inferer = SlidingWindowInferer(windows.size, overlap=OVERLAP, mode="gaussian", sw_batch_size=1)
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
        channels = torch.cat([kji, _position(kji.shape[1:], self.bundle.spacing_mm[::-1])])[None]
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


def _position(shape: Sequence[int], spacing_mm: Sequence[float]) -> Tensor:
    axes = [(torch.arange(n) - (n - 1) / 2) * mm / 100 for n, mm in zip(shape, spacing_mm, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))
