"""What a fine-tuning is defined by: its own options, the gate's rules, and a training configuration from the parent."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from CrossModalSegLib.adaptation.gate import GateRules
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import BundleError
from CrossModalSegLib.tables import (
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_2,
    BELOW_1,
    PART,
    Entries,
    Number,
    Problem,
    Switch,
    Whole,
    read_table,
    table,
)
from CrossModalSegLib.training.config import TrainingConfig, read_tables

# Of the parent's own training, the keys that describe augmentation of real cases, and how much of a patch the loss
# sees.
AUGMENTATION = (
    "position_error", "rotation", "scaling", "shear", "elastic", "elastic_knots", "displacement_probability",
    "displacement", "displacement_rotation", "displacement_elastic", "single_probability", "bias", "noise", "gamma",
)  # fmt: skip
DEFAULTS = {"learning_rate": 1e-3, "weight_decay": 0.0, "warmup": 20, "decay": 0.4, "checkpoint_minutes": 1.0}


@table()
class FinetuneOptions:
    """Table ``[finetune]``."""

    supervised: Annotated[Number, BELOW_1] = 0.2  # first part of each training, which is learnt from labels alone
    keep_general: Switch = False  # the model shall serve other scanners too: frozen cases decide as held-out ones do
    anchor: Annotated[Number, AT_LEAST_0] = 0.0  # strength that draws the weights back to the parent's (L2-SP); 0: none
    general_anchor: Annotated[Number, AT_LEAST_0] = 1.0  # the same with keep_general
    unlabelled_below: Annotated[Whole, AT_LEAST_1] = (
        3  # corrected patients: from this many on, their cases get all time
    )
    # Of the way to the trained weights, that held-out cases choose from.
    shares: Annotated[tuple[Annotated[Number, PART], ...], Field(min_length=1)] = (0.25, 0.5, 0.75, 1.0)
    # Of the way where nothing can be held out, and the most with keep_general (WiSE-FT).
    share: Annotated[Number, PART] = 0.5
    # From this many on, held-out patients are scored and never trained on; below: folds.
    held_out_patients: Annotated[Whole, AT_LEAST_2] = 5
    folds: Annotated[Whole, AT_LEAST_2] = 3  # trainings that each leave out a part of the corrected cases, where few
    fold_share: Annotated[Number, BELOW_1] = 0.35  # of the training time, for all folds together
    validations: Annotated[Whole, AT_LEAST_1] = 10  # per training
    patience: Annotated[Whole, AT_LEAST_1] = 4  # validations without a better one, after which a training ends
    most_iterations: Annotated[Whole, AT_LEAST_1] = 20_000
    evaluation_share: Annotated[Number, BELOW_1] = 0.4  # of the budget, at most, for scoring whole cases
    absent: tuple[str, ...] = ()  # structures that are truly not there where no correction shows them, by name


def _iterations(entries: Entries) -> Iterator[Problem]:
    if "iterations" in entries["training"]:
        yield "training.iterations", "follows from the budget; see finetune.most_iterations"


@table()
class FinetuneConfig:
    """All that a person may set; the last three hold entries of the training configuration, by table."""

    CHECKS: ClassVar = (_iterations,)

    finetune: FinetuneOptions = field(default_factory=FinetuneOptions)
    gate: GateRules = field(default_factory=GateRules)
    training: Mapping[str, Any] = field(default_factory=dict)
    semi_supervised: Mapping[str, Any] = field(default_factory=dict)
    synthesis: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asks_for_unlabelled(self) -> bool:
        """Whether a person has said how many cases without labels a step takes."""
        return "batch" in self.semi_supervised

    def without_unlabelled(self) -> "FinetuneConfig":
        """The same, from the corrected cases alone."""
        return dataclasses.replace(self, semi_supervised={**self.semi_supervised, "batch": 0})


def read_finetune_config(path: Path | None) -> FinetuneConfig:
    """The configuration in a TOML file, or the defaults. Raises one ConfigError, which lists all problems."""
    return read_table(FinetuneConfig, read_tables(path)) if path else FinetuneConfig()


def training_config(bundle: Bundle, name: str, version: str, config: FinetuneConfig, iterations: int) -> TrainingConfig:
    """The configuration of one training: network, grid and intensities are the parent's, its augmentation too.

    Raises ConfigError for entries that cannot be, BundleError ``base-spacing`` where the working grid is not isotropic.
    """
    if len(set(bundle.spacing_mm)) > 1:
        what = f"bundle {bundle.name} works at {bundle.spacing_mm} mm"
        raise BundleError("base-spacing", what, "fine-tune a bundle with one spacing for all axes")
    recorded = bundle.training.get("configuration", {})
    synthesis = {key: value for key, value in recorded.get("synthesis", {}).items() if key in AUGMENTATION}
    average = max(0.9, 1 - 10 / iterations)
    training = DEFAULTS | {"average": average, "loss_stride": recorded.get("training", {}).get("loss_stride", 1)}
    training |= {"warmup": min(20, max(1, iterations // 10))}
    training |= {**config.training, "iterations": iterations}
    return read_table(
        TrainingConfig,
        {
            "name": name,
            "version": version,
            "description": bundle.description,
            "licence": bundle.licence,
            "mirror": bundle.mirror,
            "single_component": bundle.single_component,
            "modality_aliases": bundle.modality_aliases,
            "modalities": list(bundle.modalities),
            "spacing": bundle.spacing_mm[0],
            "patch": list(bundle.patch_size),
            "intensity": bundle.intensity,
            "network": {key: value for key, value in bundle.network.items() if key != "classes"},
            "training": training,
            "semi_supervised": {"start": config.finetune.supervised, **config.semi_supervised},
            "synthesis": {**synthesis, **config.synthesis},
        },
    )
