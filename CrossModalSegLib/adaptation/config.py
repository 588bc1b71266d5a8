"""What a fine-tuning is defined by: its own options, the gate's rules, and a training configuration from the base."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from CrossModalSegLib.adaptation.gate import GateRules
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.bundles.bundle_metadata import SECTION
from CrossModalSegLib.contradictions import (
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_2,
    BELOW_1,
    Contradiction,
    Problems,
    Range,
    out_of_range,
    refuse,
)
from CrossModalSegLib.errors import BundleError
from CrossModalSegLib.training.config import TrainingConfig, config_from_tables, read_tables
from CrossModalSegLib.training.config_tables import table_to

# Of the base's own training, the keys that describe augmentation of real cases, and how much of a patch the loss sees.
AUGMENTATION = (
    "position_error", "rotation", "scaling", "shear", "elastic", "elastic_knots", "displacement_probability",
    "displacement", "displacement_rotation", "displacement_elastic", "single_probability", "bias", "noise", "gamma",
)  # fmt: skip
DEFAULTS = {"learning_rate": 1e-3, "weight_decay": 0.0, "warmup": 20, "decay": 0.4, "checkpoint_minutes": 1.0}
SETTABLE = ("training", "semi_supervised", "synthesis")


@dataclass(frozen=True)
class FinetuneOptions:
    """Table ``[finetune]``."""

    supervised: float = 0.2  # first part of each training, which is learnt from labels alone
    keep_general: bool = False  # the model shall serve other scanners too: frozen cases decide as held-out ones do
    anchor: float = 0.0  # strength that draws the weights back to the base's (L2-SP); 0: none
    general_anchor: float = 1.0  # the same with keep_general
    unlabelled_below: int = 5  # corrected patients: from this many on, all time goes into their cases
    shares: tuple[float, ...] = (
        0.25,
        0.5,
        0.75,
        1.0,
    )  # of the way to the trained weights that held-out cases choose from
    share: float = 0.5  # of the way where nothing can be held out, and the most with keep_general (WiSE-FT)
    held_out_patients: int = 5  # from this many on, held-out patients are scored and never trained on; below: folds
    folds: int = 3  # trainings that each leave out a part of the corrected cases, where these are few
    fold_share: float = 0.35  # of the training time, for all folds together
    validations: int = 10  # per training
    patience: int = 4  # validations without a better one, after which a training ends
    most_iterations: int = 4000
    evaluation_share: float = 0.4  # of the budget, at most, for scoring whole cases
    absent: tuple[str, ...] = ()  # structures that are truly not there where no correction shows them, by name

    def __post_init__(self) -> None:
        refuse(self.contradictions())

    def contradictions(self) -> Iterator[Contradiction]:
        """What cannot be trained by although every value has the right type."""
        for names, allowed in (
            (("supervised", "fold_share", "evaluation_share"), BELOW_1),
            (("held_out_patients", "folds"), AT_LEAST_2),
            (("validations", "patience", "most_iterations", "unlabelled_below"), AT_LEAST_1),
            (("share",), Range("above 0 and at most 1", lambda share: 0 < share <= 1)),
            (("anchor", "general_anchor"), AT_LEAST_0),
        ):
            yield from out_of_range(self, names, allowed)
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            yield Contradiction("shares", f"give one or more above 0 and at most 1, not {list(self.shares)}")


@dataclass(frozen=True)
class FinetuneConfig:
    """All that a person may set; ``changes`` are entries of the training configuration by table."""

    finetune: FinetuneOptions = field(default_factory=FinetuneOptions)
    gate: GateRules = field(default_factory=GateRules)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def asks_for_unlabelled(self) -> bool:
        """Whether a person has said how many cases without labels a step takes."""
        return "batch" in self.changes.get("semi_supervised", {})

    def without_unlabelled(self) -> "FinetuneConfig":
        """The same, from the corrected cases alone."""
        semi = {**self.changes.get("semi_supervised", {}), "batch": 0}
        return dataclasses.replace(self, changes={**self.changes, "semi_supervised": semi})

    def to_tables(self) -> dict[str, Any]:
        """What ``config_from`` reads again."""
        own = {"finetune": dataclasses.asdict(self.finetune), "gate": dataclasses.asdict(self.gate)}
        return own | {name: dict(table) for name, table in self.changes.items()}


def read_finetune_config(path: Path | None) -> FinetuneConfig:
    """The configuration in a TOML file, or the defaults. Raises one ConfigError, which lists all problems."""
    return finetune_config_from(read_tables(path)) if path else FinetuneConfig()


def finetune_config_from(tables: Mapping[str, Any]) -> FinetuneConfig:
    """The configuration in nested tables. Raises ConfigError ``config``."""
    known, problems = ("finetune", "gate", *SETTABLE), Problems()
    for name in tables:
        if name not in known:
            problems.add(name, f"unknown name, use {', '.join(known)}")
    for name in SETTABLE:
        if not isinstance(tables.get(name, {}), Mapping):
            problems.add(name, f"expected a table, found {tables[name]!r}")
    if isinstance(tables.get("training"), Mapping) and "iterations" in tables["training"]:
        problems.add("training.iterations", "follows from the budget; see finetune.most_iterations")
    options = table_to(FinetuneOptions, tables.get("finetune", {}), "finetune.", problems)
    rules = table_to(GateRules, tables.get("gate", {}), "gate.", problems)
    problems.refuse()
    return FinetuneConfig(options, rules, {name: tables[name] for name in SETTABLE if name in tables})


def training_config(bundle: Bundle, name: str, version: str, config: FinetuneConfig, iterations: int) -> TrainingConfig:
    """The configuration of one training: network, grid and intensities are the base's, its augmentation too.

    Raises ConfigError for entries that cannot be, BundleError ``base-spacing`` where the working grid is not isotropic.
    """
    if len(set(bundle.spacing_mm)) > 1:
        what = f"bundle {bundle.name} works at {bundle.spacing_mm} mm"
        raise BundleError("base-spacing", what, "fine-tune a bundle with one spacing for all axes")
    section = bundle.metadata[SECTION]
    recorded = section["training"].get("configuration", {})
    synthesis = {key: value for key, value in recorded.get("synthesis", {}).items() if key in AUGMENTATION}
    average = max(0.9, 1 - 10 / iterations)
    training = DEFAULTS | {"average": average, "loss_stride": recorded.get("training", {}).get("loss_stride", 1)}
    training |= {"warmup": min(20, max(1, iterations // 10))}
    defaults = {
        "training": training,
        "semi_supervised": {"start": config.finetune.supervised},
        "synthesis": synthesis,
    }
    tables: dict[str, Any] = {key: {**defaults[key], **config.changes.get(key, {})} for key in SETTABLE}
    tables["training"]["iterations"] = iterations
    return config_from_tables(
        {
            "name": name,
            "version": version,
            "description": bundle.metadata["description"],
            "licence": section["licence"],
            "mirror": bundle.mirror,
            "single_component": bundle.single_component,
            "modality_aliases": bundle.modality_aliases,
            "modalities": list(bundle.modalities),
            "spacing": bundle.spacing_mm[0],
            "patch": list(bundle.patch_size),
            "intensity": bundle.intensity,
            "network": {key: value for key, value in bundle.network.items() if key != "classes"},
            **tables,
        }
    )
