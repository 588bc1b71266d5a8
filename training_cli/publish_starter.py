"""Publish the starter bundle from its training run, with measured scores on its model card, and with the frozen cases
of ``frozen_crops.py``, which show what a model that is fine-tuned from it loses elsewhere.

    crossmodalseg train --data training_cli/configs/brain-label-maps.json --root LABEL_MAPS \
        --config training_cli/configs/brain-mr-pair.toml --output runs/starter
    python -m Testing.Benchmarks.starter.score --bundle runs/starter/brain-mr-pair --output runs/scores.json
    crossmodalseg train --data training_cli/configs/brain-label-maps.json --root LABEL_MAPS \
        --config training_cli/configs/brain-locator.toml --output runs/locator
    python training_cli/publish_starter.py --run runs/starter --locator runs/locator/brain-locator \
        --maps LABEL_MAPS --output runs/candidate
    python -m Testing.Benchmarks.starter.score --bundle runs/candidate --output runs/scores.json
    python training_cli/publish_starter.py --run runs/starter --locator runs/locator/brain-locator \
        --candidate runs/candidate --scores runs/scores.json
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from CrossModalSegLib.bundles.bundle import Bundle, LocatorSettings, load_bundle
from CrossModalSegLib.bundles.bundle_metadata import WEIGHTS_FILE
from CrossModalSegLib.datasets.datalist import read_datalist
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, LabelMap, read_label_map
from CrossModalSegLib.training.calibration import calibrate
from CrossModalSegLib.training.config import TrainingConfig, read_config
from CrossModalSegLib.training.templates import render_text
from CrossModalSegLib.training.trained_bundle import TrainedModel, publish_trained
from CrossModalSegLib.training.training import build_network
from CrossModalSegLib.training.training_data import build_source

sys.path.insert(0, str(Path(__file__).resolve().parent))

from starter_card import score_tables  # beside this file

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "configs" / "brain-mr-pair.toml"
FROZEN = HERE / "frozen"  # what frozen_crops.py has written
CARD = HERE / "configs" / "brain-mr-pair.card.md"
BUNDLES = HERE.parent / "CrossModalSeg" / "Resources" / "Bundles"
DATA = HERE / "configs" / "brain-label-maps.json"
OASIS_LOOKS = "three times"  # since 0.1.0, which is as often as they may be
CALIBRATION_SAMPLES = 136  # eight of each label map
MARGIN_MM = 12.0  # around what the locator finds, that the model sees
# It draws the brain a little too small: of extracted brains in six real scans, 2 to 9 % were lost at a probability of
# 0.5 and 5 mm around it, at most 0.53 % at these (the part ``located`` of Testing.Benchmarks.starter.score prints it).
THRESHOLD = 0.3
REACH_MM = 8.0  # how far from it something may be labelled


def main() -> None:
    """Write CrossModalSeg/Resources/Bundles/brain-mr-pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--locator", type=Path, help="bundle of the coarse network, that brain-locator.toml gives")
    parser.add_argument(
        "--maps", type=Path, help="folder of the label maps: volumes are calibrated on pairs made of them"
    )
    parser.add_argument("--candidate", type=Path, help="bundle that was scored: its calibrated weights are taken")
    parser.add_argument("--scores", type=Path, help="what score.py wrote; without it the card has no scores")
    parser.add_argument("--output", type=Path, default=BUNDLES / "brain-mr-pair")
    args = parser.parse_args()
    config = read_config(CONFIG)
    label_map = read_label_map(LABEL_MAP_FOLDER / f"{config.label_map}.json")
    state = torch.load(args.run / "checkpoint.pt", weights_only=True, map_location="cpu")
    scores = json.loads(args.scores.read_text()) if args.scores else {}
    data = "synthetic pairs from 17 label maps of adult heads (SynthSeg, Apache-2.0), no images"
    facts = {
        "data": data,
        "training cases": 17,
        "validation cases": 3,
        "iterations": state["step"],
        "measured scores": scores,
    }
    weights = state["average"]
    if args.candidate:
        weights = {name: torch.from_numpy(one) for name, one in load_bundle(args.candidate).read_weights().items()}
    elif args.maps:
        weights = calibrated(config, label_map, weights, args.maps)
    dice = state["curve"][-1]["dice"] if state["curve"] else []
    card = model_card(config, label_map, state["step"], scores)
    files = frozen_files()
    locator = locator_of(load_bundle(args.locator)) if args.locator else None
    model = TrainedModel(config, label_map, weights, facts, dice, card, more_files=files, locator=locator)
    bundle = publish_trained(args.output, model)
    print(f"published {bundle.path} ({bundle.sha256})")


def calibrated(
    config: TrainingConfig, label_map: LabelMap, weights: Mapping[str, Tensor], maps: Path
) -> dict[str, Tensor]:
    """The weights with heads whose volumes are right on synthetic pairs of the training's own label maps."""
    network = build_network(config, len(label_map.channels))
    network.load_state_dict(dict(weights))
    entries = read_datalist(DATA, config.modalities, maps, config.modality_aliases).training
    source = build_source(entries, config, label_map, torch.device("cpu"))
    assert source is not None
    calibrate(network, source, CALIBRATION_SAMPLES)
    return network.state_dict()


def locator_of(bundle: Bundle) -> tuple[LocatorSettings, bytes]:
    """A coarse model as the locator of another one."""
    settings = LocatorSettings(bundle.network, bundle.spacing_mm[0], bundle.patch_size, MARGIN_MM, REACH_MM, THRESHOLD)
    return settings, (bundle.path / WEIGHTS_FILE).read_bytes()


def frozen_files(folder: Path = FROZEN) -> dict[str, bytes]:
    """The files of the frozen cases as the bundle carries them, by their place in it."""
    return {f"frozen/{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(folder.glob("*/*.nrrd"))}


def model_card(config: TrainingConfig, label_map: LabelMap, steps: int, scores: Mapping[str, Any]) -> str:
    """The card's text with the tables filled in."""
    return render_text(
        CARD.read_text(encoding="utf-8"),
        version=config.version,
        steps=steps,
        structures=len(label_map.structures),
        oasis_looks=OASIS_LOOKS,
        tables=score_tables(label_map, scores),
    )


if __name__ == "__main__":
    main()
