"""Small bundles for tests, and a head for them. What the first one predicts is a known function of the intensity.

Its network is a real ``CrossModalNetwork`` of one level whose norms are set to zero, so that every block is the
identity and the head sees the network's input voxel by voxel.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from CrossModalSegLib.bundles.bundle import Bundle, publish_bundle
from CrossModalSegLib.bundles.bundle_metadata import LOCATOR_FILE, BundleDescription
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.network import CrossModalNetwork

TISSUE, LEFT, RIGHT = 2, 17, 300  # 300 does not fit a byte
LABEL_MAP = LabelMap(
    (
        Structure(TISSUE, "tissue", (0, 0, 255)),
        Structure(LEFT, "left bright ball", (0, 255, 0)),
        Structure(RIGHT, "right bright ball", (255, 0, 0)),
    )
)
SHARPNESS = 60.0  # of the intensity classes
SIDE = 200.0  # weight of one decimetre to the wrong side
HEAD_CENTRE = np.array([5.0, -10.0, 15.0])
BALLS = {RIGHT: np.array([27.0, -5.0, 20.0]), LEFT: np.array([-17.0, -20.0, 8.0])}  # RAS mm
BALL_RADIUS = 13.0


def intensity_bundle(
    folder: Path,
    patch_size: tuple[int, int, int] = (32, 40, 36),
    spacing: float = 2.0,
    parent: str | None = None,
    located: bool = False,
) -> Bundle:
    """Intensities are 1000ths: below 200 background, to 700 ``TISSUE``, above it ``RIGHT`` or ``LEFT`` by the side.

    The side is that of the body's centre. Both modalities alike; neither looks at the other. ``located``: it has a
    locator that finds what is brighter than 200.
    """
    arguments = {"classes": 4, "channels": [3], "stem_stride": 1}
    weights = {name: np.zeros(tuple(tensor.shape), dtype=np.float32) for name, tensor in _state(arguments).items()}
    centre = (1, 1, 1)
    for modality in range(2):
        stem = weights[f"encoders.{modality}.stem.weight"]  # (3, 5, 3, 3, 3)
        stem[(0, 0, *centre)] = 1.0  # intensity
        stem[(1, 4, *centre)] = 1.0  # how far to the right
        stem[(2, 4, *centre)] = -1.0  # how far to the left
        head = weights[f"heads.{modality}.weight"][..., 0, 0, 0]  # (3, 4)
        bias = weights[f"heads.{modality}.bias"]
        for channel, level in enumerate((0.0, 0.4, 1.0, 1.0)):  # the nearest level wins: x² - (x - level)²
            head[0, channel] = SHARPNESS * 2 * level
            bias[channel] = -SHARPNESS * level**2
        head[1, 2] = head[2, 3] = -SIDE
    return _publish(folder, arguments, weights, patch_size, spacing, parent, _locator() if located else None)


def _locator() -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Settings and weights of a locator at 4 mm: brighter than 200 is anatomy."""
    arguments = {"classes": 2, "channels": [1], "stem_stride": 1}
    weights = {name: np.zeros(tuple(tensor.shape), dtype=np.float32) for name, tensor in _state(arguments).items()}
    for modality in range(2):
        weights[f"encoders.{modality}.stem.weight"][0, 0, 1, 1, 1] = 1.0
        weights[f"heads.{modality}.weight"][0, 1] = SHARPNESS
        weights[f"heads.{modality}.bias"][1] = -0.2 * SHARPNESS
    settings = {"network": arguments, "spacing_mm": 4.0, "patch_size": [32, 32, 32], "margin_mm": 12.0, "reach_mm": 5.0}
    return settings, weights


def random_bundle(folder: Path, patch_size: tuple[int, int, int] = (24, 32, 24)) -> Bundle:
    """A network of two levels with random weights, for what must hold whatever it predicts."""
    torch.manual_seed(1)
    arguments = {"classes": 4, "channels": [4, 8], "stem_stride": 2}
    weights = {name: tensor.numpy() for name, tensor in _state(arguments).items()}
    return _publish(folder, arguments, weights, patch_size, spacing=3.0)


def two_balls(points: np.ndarray) -> np.ndarray:
    """Intensity at RAS points (..., 3) in mm: a head of 400 with two balls of 1000 in it, edges of 2 mm, air of 0."""
    intensity = 400.0 * _edge(_head_distance(points))
    for centre in BALLS.values():
        intensity += 600.0 * _edge(BALL_RADIUS - np.linalg.norm(points - centre, axis=-1))
    return intensity


def true_labels(points: np.ndarray) -> np.ndarray:
    """Label values at RAS points (..., 3) in mm, of what ``two_balls`` shows."""
    labels = np.where(_head_distance(points) > 0, TISSUE, 0).astype(np.uint16)
    for value, centre in BALLS.items():
        labels[np.linalg.norm(points - centre, axis=-1) < BALL_RADIUS] = value
    return labels


def dice(a: np.ndarray, b: np.ndarray, value: int) -> float:
    """Dice of one label value."""
    in_a, in_b = a == value, b == value
    return 2.0 * float((in_a & in_b).sum()) / float(in_a.sum() + in_b.sum())


def _head_distance(points: np.ndarray) -> np.ndarray:
    """About the distance in mm from the surface of an ellipsoid of 84 x 100 x 92 mm, positive inside."""
    return (1.0 - np.linalg.norm((points - HEAD_CENTRE) / [42.0, 50.0, 46.0], axis=-1)) * 45.0


def _edge(distance: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + distance / 2.0, 0.0, 1.0)


def _state(arguments: Mapping[str, object]) -> dict[str, torch.Tensor]:
    return CrossModalNetwork(**arguments).state_dict()


def _publish(
    folder: Path,
    arguments: Mapping[str, object],
    weights: Mapping[str, np.ndarray],
    patch_size: tuple[int, int, int],
    spacing: float,
    parent: str | None = None,
    locator: tuple[dict[str, object], dict[str, np.ndarray]] | None = None,
) -> Bundle:
    window = {"rule": "window", "lower": 0.0, "upper": 1000.0}
    described = BundleDescription(
        version="0.0.1",
        task="nothing",
        description="A model for tests",
        authors="The authors",
        copyright_notice="The authors",
        licence="Apache-2.0",
        modalities=("T1w", "T2w"),
        modality_aliases={"T2w": ("FLAIR",)},
        label_map=LABEL_MAP,
        spacing_mm=(spacing,) * 3,
        patch_size=patch_size,
        intensity={"T1w": window, "T2w": window},
        network=arguments,
        training={},
        scores={},
        parent=parent,
        locator=locator[0] if locator else None,
    )
    more = {LOCATOR_FILE: safetensors.numpy.save(locator[1])} if locator else None
    return publish_bundle(
        folder, described.metadata(), weights, "A model for tests.\n", overwrite=True, more_files=more
    )
