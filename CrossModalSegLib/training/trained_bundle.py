"""From a finished training to a model bundle with its card."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from torch import Tensor

from CrossModalSegLib.bundles.bundle import Bundle, LocatorSettings, publish_bundle
from CrossModalSegLib.bundles.bundle_metadata import INTENDED_USE, LOCATOR_FILE, BundleDescription
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.plurals import counted
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.templates import render


@dataclass(frozen=True)
class TrainedModel:
    """A model that is finished.

    ``facts`` says what it was trained on (cases, iterations, hours, device), ``dice`` is the validation Dice per
    structure in the order of the label map. ``card`` replaces the model card that would be written from them,
    ``created`` (ISO 8601) today's date. ``parent`` is the SHA-256 of the bundle that it was fine-tuned from; ``scores``
    are written beside the validation Dice, ``more_files`` into the bundle. ``requires_both``: it refuses one scan
    alone; ``locator``: its settings and weights file; ``expected_ml``: the range of volumes that is expected, by name.
    """

    config: TrainingConfig
    label_map: LabelMap
    weights: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    dice: Sequence[float] = ()
    card: str | None = None
    created: str | None = None
    parent: str | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)
    more_files: Mapping[str, bytes] = field(default_factory=dict)
    requires_both: bool = False
    locator: tuple[LocatorSettings, bytes] | None = None
    expected_ml: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def validation(self) -> dict[str, float]:
        """Validation Dice by structure, without those that were not met."""
        pairs = zip(self.label_map.structures, self.dice, strict=False)
        return {structure.name: round(value, 4) for structure, value in pairs if not math.isnan(value)}


def publish_trained(folder: Path, model: TrainedModel) -> Bundle:
    """Publish a model as the bundle ``folder``; its training configuration goes into the metadata."""
    config, label_map, locator = model.config, model.label_map, model.locator
    described = BundleDescription(
        version=config.version,
        task=f"segmentation of {counted(len(label_map.structures), 'structure')} in {' and '.join(config.modalities)}",
        description=config.description or "Trained with crossmodalseg train.",
        authors="CrossModalSeg contributors",
        copyright_notice="CrossModalSeg contributors",
        licence=config.licence,
        modalities=config.modalities,
        modality_aliases=config.modality_aliases,
        single_component=config.single_component,
        mirror=config.mirror,
        requires_both=model.requires_both,
        locator=asdict(locator[0]) if locator else None,
        expected_ml=model.expected_ml,
        created=model.created or date.today().isoformat(),
        label_map=label_map,
        spacing_mm=(config.spacing,) * 3,
        patch_size=config.patch,
        intensity={name: asdict(rule) for name, rule in zip(config.modalities, config.rules, strict=True)},
        network={"classes": len(label_map.channels), **asdict(config.network)},
        training={**model.facts, "configuration": _plain(asdict(config))},
        parent=model.parent,
        scores={"validation Dice": model.validation, **model.scores},
    )
    card = model.card or model_card(config, label_map, model.facts, model.validation)
    arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in model.weights.items()}
    files = dict(model.more_files) | ({LOCATOR_FILE: locator[1]} if locator else {})
    return publish_bundle(folder, described.metadata(), arrays, card, overwrite=True, more_files=files)


def model_card(
    config: TrainingConfig, label_map: LabelMap, facts: Mapping[str, Any], scores: Mapping[str, float]
) -> str:
    """Markdown: what the model does, what it was trained on, how it scored, what it is not for."""
    structures = [structure.name for structure in label_map.structures]
    values = {"config": config, "structures": structures, "facts": facts, "scores": scores}
    return render("trained-card.md", intended_use=INTENDED_USE, **values)


def _plain(content: Any) -> Any:
    """The same content in what JSON knows."""
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(item) for item in content]
    return content
