"""The same task in nnU-Net v2's order of steps, by nnU-Net's own functions.

It needs an environment of its own, beside that of this project. Torch comes first, with the torchvision that belongs to
it, both of the same build, so that what is installed after them does not choose others; the lock file keeps the rest at
the versions used here:

    python3.11 -m venv build/nnunet-env
    build/nnunet-env/bin/pip install torch==2.13.0 torchvision==0.28.0
    build/nnunet-env/bin/pip install -c requirements/lock.txt -e . nnunetv2==2.8.1
    make bench BENCH="--nnunet-python build/nnunet-env/bin/python"

nnU-Net's: crop to what is not zero, normalisation before resampling, resampling of order 3, windows (their steps,
Gaussian and sum in half precision), logits resampled with order 1, argmax, insertion into the uncropped volume; in
float32, since nnU-Net leaves autocast off on a CPU. Not nnU-Net's, because weights and task ask for it:

- The network and its input channels are those of 0.1.0, with the percentiles that its weights expect.
- nnU-Net wants one grid: the second scan is brought onto the first one's, and its labels back onto its own.
- nnU-Net's mirroring cannot exchange the channels of left and right. `Windows` mirrors instead, left to right only.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from monai.transforms import ScaleIntensityRangePercentiles
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from CrossModalSegLib.bundles.bundle import Bundle
from Testing.Benchmarks.speed.windows import OVERLAP, load_windows, position

CONFIGURATION = "3d_fullres"
RESAMPLING = "resample_data_or_seg_to_shape"


class NnunetPipeline:
    """Segments a pair from files to files with a bundle's weights."""

    def __init__(self, bundle: Bundle):
        self.bundle = bundle
        self.plans = PlansManager(_plans(bundle))
        self.configuration = self.plans.get_configuration(CONFIGURATION)
        self.normalise = ScaleIntensityRangePercentiles(1, 99, 0.0, 1.0, clip=True)
        self.classes = len(bundle.label_map.channels)
        self.predictor = nnUNetPredictor(
            tile_step_size=1 - OVERLAP, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
        )
        windows, both = load_windows(bundle, logits=True), _dataset(2 * self.classes)
        self.predictor.manual_initialization(windows, self.plans, self.configuration, None, both, "", None)

    @torch.inference_mode()
    def __call__(self, files: Mapping[str, Path], output: Path) -> dict[str, np.ndarray]:
        """Label values (K, J, I) by modality, on the scans' own voxels; written to ``output`` as NIfTI as well."""
        first, second = self.bundle.modalities
        native = {name: sitk.ReadImage(str(files[name]), sitk.sitkFloat32) for name in (first, second)}
        grid = sitk.DICOMOrient(native[first], "RAS")
        channels, properties = self._preprocess(grid, native[second])
        logits = self.predictor.predict_sliding_window_return_logits(channels)
        output.mkdir()
        labels = {}
        for name, part in zip((first, second), logits.split(self.classes), strict=True):
            there = sitk.GetImageFromArray(self._export(part, properties))
            there.CopyInformation(grid)
            own = sitk.Resample(there, native[name], sitk.Transform(), sitk.sitkNearestNeighbor)
            labels[name] = np.array(self.bundle.label_map.channels, np.uint16)[sitk.GetArrayViewFromImage(own)]
            image = sitk.GetImageFromArray(labels[name])
            image.CopyInformation(own)
            sitk.WriteImage(image, str(output / f"{name}.nii.gz"), True)
        return labels

    def _preprocess(self, grid: sitk.Image, other: sitk.Image) -> tuple[Tensor, dict[str, object]]:
        """Channels (7, D, H, W) at the bundle's spacing, and what nnU-Net's way back asks for."""
        scans = [grid, sitk.Resample(other, grid, sitk.Transform(), sitk.sitkLinear)]
        everywhere = sitk.Image(other.GetSize(), sitk.sitkInt8) + 1
        everywhere.CopyInformation(other)
        covered = sitk.Resample(everywhere, grid, sitk.Transform(), sitk.sitkNearestNeighbor)
        data, coverage, box = crop_to_nonzero(
            np.stack([sitk.GetArrayViewFromImage(one) for one in scans]), sitk.GetArrayFromImage(covered)[None]
        )
        spacing, wanted = grid.GetSpacing()[::-1], self.configuration.spacing
        shape = compute_new_shape(data.shape[1:], spacing, wanted)
        normalised = np.stack([np.asarray(self.normalise(one)) for one in data])
        intensity = self.configuration.resampling_fn_data(normalised, shape, spacing, wanted)
        there = self.configuration.resampling_fn_seg(coverage, shape, spacing, wanted)
        kji = np.stack([intensity[0], np.ones_like(intensity[0]), intensity[1], there[0] == 1])
        properties = {
            "spacing": spacing,
            "shape_before_cropping": grid.GetSize()[::-1],
            "bbox_used_for_cropping": box,
            "shape_after_cropping_and_before_resampling": data.shape[1:],
        }
        return torch.cat([torch.from_numpy(kji), position(kji.shape[1:], self.bundle)]), properties

    def _export(self, logits: Tensor, properties: dict[str, object]) -> np.ndarray:
        """Channels of the highest ``logits`` (C, D, H, W), (K, J, I) on the grid of the scans before cropping."""
        manager = self.plans.get_label_manager(_dataset(self.classes))
        return convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, self.plans, self.configuration, manager, properties, num_threads_torch=torch.get_num_threads()
        )


def _plans(bundle: Bundle) -> dict[str, object]:
    """What nnU-Net's plans say by default, with the spacing (k, j, i) and the windows of ``bundle``."""
    usual = {"order_z": 0, "force_separate_z": None}
    configuration = {
        "architecture": {},  # the network is ours
        "spacing": list(bundle.spacing_mm[::-1]),
        "patch_size": list(bundle.patch_size),
        "resampling_fn_data": RESAMPLING,
        "resampling_fn_data_kwargs": usual | {"is_seg": False, "order": 3},
        "resampling_fn_seg": RESAMPLING,
        "resampling_fn_seg_kwargs": usual | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities": RESAMPLING,
        "resampling_fn_probabilities_kwargs": usual | {"is_seg": False, "order": 1},
    }
    axes = {"transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2]}
    return {"configurations": {CONFIGURATION: configuration}, "label_manager": "LabelManager", **axes}


def _dataset(classes: int) -> dict[str, dict[str, int]]:
    return {"labels": {"background": 0} | {str(one): one for one in range(1, classes)}}
