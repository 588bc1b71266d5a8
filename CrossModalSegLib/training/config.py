"""One documented TOML file to a typed configuration; all errors in it are reported at once."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ValidationInfo, field_validator

from CrossModalSegLib.errors import ConfigError, read_error
from CrossModalSegLib.network import FUSIONS
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.synthesis.synthesis import SynthesisConfig
from CrossModalSegLib.tables import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    FRACTION,
    FROM_0_TO_1000,
    FROM_1_TO_1000,
    UP_TO_64,
    Entries,
    Number,
    Problem,
    Switch,
    Unreadable,
    Whole,
    one_of,
    read_table,
    table,
    within,
    wrong,
)

PSEUDO_LABEL_FORMS = ("hard", "soft")
CSC_FORMS = ("aligned", "affinity")
CAC_FROM = ("other", "surer")
SEED = within("at least 0 and below 2^32", lambda seed: 0 <= seed < 2**32)
LENGTH = within("from 0.01 to 100 mm", lambda mm: 0.01 <= mm <= 100)
Count = Annotated[Whole, AT_LEAST_1]
Fraction = Annotated[Number, FRACTION]
Weight = Annotated[Number, AT_LEAST_0]


def _require_channels(channels: tuple[int, ...]) -> tuple[int, ...]:
    if not channels or min(channels) < 1:
        raise wrong(f"give numbers above 0, not {list(channels)}")
    return channels


def _require_folder_name(name: str) -> str:
    if not name or name.startswith(".") or any(mark in name for mark in '/\\:*?"<>|'):
        raise wrong(f'"{name}" cannot be the name of a folder')
    return name


def _require_pair(modalities: tuple[str, ...]) -> tuple[str, ...]:
    if len(modalities) != 2 or len(set(modalities)) != 2:
        raise wrong(f"name two different ones, not {list(modalities)}")
    return modalities


@table()
class NetworkConfig:
    """Arguments of ``CrossModalNetwork``, but for the number of classes."""

    channels: Annotated[tuple[Whole, ...], AfterValidator(_require_channels)] = (32, 64, 128, 160)
    stem_stride: Annotated[Whole, within("1 or 2", lambda stride: stride in (1, 2))] = 2
    fusion: Annotated[str, one_of(FUSIONS)] = "gated"
    share_convolutions: Switch = False
    smooth_head: Switch = False  # the head sees the cells around each voxel: outlines without steps of a cell

    @field_validator("smooth_head")
    @classmethod
    def _fits_stem(cls, smooth_head: bool, info: ValidationInfo) -> bool:
        stem_stride = info.data.get("stem_stride", 2)
        if smooth_head and stem_stride != 2:
            raise wrong(f"needs a stem_stride of 2, not {stem_stride}")
        return smooth_head


@table()
class OptimisationConfig:
    """The training loop. ``decay`` is the last part of the iterations, over which the learning rate falls to zero."""

    iterations: Count = 20000
    batch: Annotated[Whole, FROM_1_TO_1000] = 1
    workers: Annotated[Whole, UP_TO_64] = 0  # processes that prepare samples; 0 where samples are made on the GPU
    learning_rate: Annotated[Number, ABOVE_0] = 1e-3
    weight_decay: Weight = 0.01
    warmup: Annotated[Whole, AT_LEAST_0] = 200
    decay: Fraction = 0.3
    average: Annotated[Number, BELOW_1] = 0.999  # exponential moving average of the weights, which is what is published
    loss_stride: Count = 1  # 2: the loss sees every second feature cell per axis, in random phase
    seed: Annotated[Whole, SEED] = 0
    checkpoint_minutes: Weight = 5.0
    validate_every: Count = 500
    validation_samples: Count = 6


@table()
class SemiSupervisedConfig:
    """How cases without labels are learnt from; acts where the data have any. The equations are in ``losses.py``."""

    batch: Annotated[Whole, FROM_0_TO_1000] = 1  # unlabelled cases per step; 0 leaves them out
    start: Fraction = 0.3  # first part of the iterations, which is learnt from labels alone
    ramp: Fraction = 0.2  # part of the iterations, after those, over which the weights below rise
    pseudo_label: Weight = 0.3
    # "soft": the teacher's probabilities, with their doubts.
    pseudo_label_form: Annotated[str, one_of(PSEUDO_LABEL_FORMS)] = "hard"
    csc: Weight = 0.1
    csc_form: Annotated[str, one_of(CSC_FORMS)] = "aligned"  # "affinity": that form for aligned pairs too
    cac: Weight = 0.3
    # The paper: "other"; "surer": only where the teacher is at least as sure of the other.
    cac_from: Annotated[str, one_of(CAC_FROM)] = "surer"
    # The paper: False; only where the other modality's neighbouring voxels agree, not at borders.
    cac_inside: Switch = True
    confidence: Fraction = 0.8  # lowest probability at which the teacher is believed
    teacher: Fraction = 0.99  # highest decay of the teacher's moving average
    cut_out: Fraction = 0.5  # how often boxes are cut out of a modality that the student sees
    copy_paste: Fraction = 0.0  # how often labelled and unlabelled patches exchange a box


def _unknown_modalities(entries: Entries) -> Iterator[Problem]:
    modalities = entries["modalities"]
    for kind in ("intensity", "modality_aliases"):
        for name in entries.names(kind):
            if name not in modalities:
                yield f"{kind}.{name}", f'there is no modality "{name}"'
    for number in range(entries.count("synthesis.contrast")):
        place = f"synthesis.contrast[{number}]"
        with suppress(Unreadable):
            if entries[f"{place}.modality"] not in modalities:
                yield place, f'there is no modality "{entries[f"{place}.modality"]}"'


def _wrong_patch(entries: Entries) -> Iterator[Problem]:
    """The network halves a patch at each level but the first."""
    patch, channels, stem_stride = entries["patch"], entries["network.channels"], entries["network.stem_stride"]
    if not channels or stem_stride < 1:
        return
    stride = stem_stride * 2 ** (len(channels) - 1)
    if len(patch) != 3 or any(n < 1 or n % stride for n in patch):
        yield "patch", f"give three multiples of {stride}, not {list(patch)}"
    elif max(patch) == stride:
        yield "patch", f"{list(patch)} is a single cell at the coarsest level; make it larger than {stride}"
    elif min(patch) // stem_stride < entries["training.loss_stride"]:
        words = f"{entries['training.loss_stride']} is more than the feature cells of a patch"
        yield "training.loss_stride", words


def _unequal_batches(entries: Entries) -> Iterator[Problem]:
    """Patches with and without labels exchange boxes in pairs."""
    batch, labelled = entries["semi_supervised.batch"], entries["training.batch"]
    if entries["semi_supervised.copy_paste"] > 0 and batch not in (0, labelled):
        words = f"needs semi_supervised.batch {batch} and training.batch {labelled} equal"
        yield "semi_supervised.copy_paste", words


@table()
class TrainingConfig:
    """Everything that a training is defined by."""

    CHECKS: ClassVar = (_unknown_modalities, _wrong_patch, _unequal_batches)

    name: Annotated[str, AfterValidator(_require_folder_name)] = "my-model"
    version: str = "0.1.0"
    description: str = ""
    licence: str = "not stated"
    label_map: str = ""  # a JSON file, or the name of a label map of the library; empty: made from the labels' values
    single_component: Switch = False  # all structures form one connected piece: islands elsewhere are removed
    mirror: Switch = False  # average with the prediction for the mirrored scans, left and right exchanged
    modality_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modalities: Annotated[tuple[str, ...], AfterValidator(_require_pair)] = ("A", "B")
    spacing: Annotated[Number, LENGTH] = 1.5  # mm, isotropic
    patch: tuple[Whole, ...] = (96, 96, 96)  # (K, J, I) voxels
    intensity: Mapping[str, IntensityRule] = field(default_factory=dict)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: OptimisationConfig = field(default_factory=OptimisationConfig)
    semi_supervised: SemiSupervisedConfig = field(default_factory=SemiSupervisedConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)

    @property
    def rules(self) -> tuple[IntensityRule, ...]:
        """Intensity rule of each modality, in order."""
        return tuple(self.intensity.get(name, IntensityRule()) for name in self.modalities)


def read_config(path: Path) -> TrainingConfig:
    """The configuration in a TOML file; all that is wrong in it is in one ConfigError."""
    return read_table(TrainingConfig, read_tables(path))


def read_tables(path: Path) -> dict[str, Any]:
    """The nested tables in a TOML file. Raises ConfigError ``config``, or those of `read_error`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise read_error(f"configuration file {path}", error, ConfigError) from error
    except (ValueError, RecursionError) as error:  # malformed TOML, or not UTF-8
        raise ConfigError("config", f"{path} is not valid TOML: {error}", "correct that line") from error
