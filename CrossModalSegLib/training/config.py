"""One documented TOML file to a typed configuration; all errors in it are reported at once."""

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from CrossModalSegLib.contradictions import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_2,
    BELOW_1,
    FRACTION,
    Contradiction,
    Range,
    out_of_range,
    refuse,
)
from CrossModalSegLib.errors import ConfigError, read_error
from CrossModalSegLib.network import FUSIONS
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.synthesis.synthesis import ContrastPrior, SynthesisConfig
from CrossModalSegLib.training.config_tables import tables_to

PSEUDO_LABEL_FORMS = ("hard", "soft")
CSC_FORMS = ("aligned", "affinity")
CAC_FROM = ("other", "surer")
CHANCES = ("extraction", "anywhere", "displacement", "single", "thick_slice", "crop")  # of synthesis
EXTENTS = (
    "position_error", "rotation", "shear", "elastic", "displacement", "displacement_rotation", "displacement_elastic",
    "blur", "bias", "noise", "gamma",
)  # fmt: skip
SEEDS = Range("at least 0 and below 2^32", lambda seed: 0 <= seed < 2**32)
GROWTH = Range("0 to 5 mm", lambda mm: 0 <= mm <= 5)
THICKNESS = Range("at least 1.5 mm", lambda mm: 1.5 <= mm < float("inf"))


@dataclass(frozen=True)
class NetworkConfig:
    """Arguments of ``CrossModalNetwork``, but for the number of classes."""

    channels: tuple[int, ...] = (32, 64, 128, 160)
    stem_stride: int = 2
    fusion: str = "gated"
    share_convolutions: bool = False
    smooth_head: bool = False  # the head sees the cells around each voxel: outlines without steps of a cell


@dataclass(frozen=True)
class OptimisationConfig:
    """The training loop. ``decay`` is the last part of the iterations, over which the learning rate falls to zero."""

    iterations: int = 20000
    batch: int = 1
    workers: int = 0  # processes that prepare samples; 0 where samples are made on the GPU
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 200
    decay: float = 0.3
    average: float = 0.999  # exponential moving average of the weights, which is what is published
    loss_stride: int = 1  # 2: the loss sees every second feature cell per axis, in random phase
    seed: int = 0
    checkpoint_minutes: float = 5.0
    validate_every: int = 500
    validation_samples: int = 6


@dataclass(frozen=True)
class SemiSupervisedConfig:
    """How cases without labels are learnt from; acts where the data have any. The equations are in ``losses.py``."""

    batch: int = 1  # unlabelled cases per step; 0 leaves them out
    start: float = 0.3  # first part of the iterations, which is learnt from labels alone
    ramp: float = 0.2  # part of the iterations, after those, over which the weights below rise
    pseudo_label: float = 0.3
    pseudo_label_form: str = "hard"  # "soft": the teacher's probabilities, with their doubts
    csc: float = 0.1
    csc_form: str = "aligned"  # "affinity": that form for aligned pairs too
    cac: float = 0.3
    cac_from: str = "surer"  # the paper: "other"; "surer": only where the teacher is at least as sure of the other
    cac_inside: bool = (
        True  # the paper: False; only where the other modality's neighbouring voxels agree, not at borders
    )
    confidence: float = 0.8  # lowest probability at which the teacher is believed
    teacher: float = 0.99  # highest decay of the teacher's moving average
    cut_out: float = 0.5  # how often boxes are cut out of a modality that the student sees
    copy_paste: float = 0.0  # how often labelled and unlabelled patches exchange a box


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that a training is defined by."""

    name: str = "my-model"
    version: str = "0.1.0"
    description: str = ""
    licence: str = "not stated"
    label_map: str = ""  # a JSON file, or the name of a label map of the library; empty: made from the labels' values
    single_component: bool = False  # all structures form one connected piece: islands elsewhere are removed
    mirror: bool = False  # average with the prediction for the mirrored scans, left and right exchanged
    modality_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modalities: tuple[str, ...] = ("A", "B")
    spacing: float = 1.5  # mm, isotropic
    patch: tuple[int, ...] = (96, 96, 96)  # (K, J, I) voxels
    intensity: Mapping[str, IntensityRule] = field(default_factory=dict)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: OptimisationConfig = field(default_factory=OptimisationConfig)
    semi_supervised: SemiSupervisedConfig = field(default_factory=SemiSupervisedConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)

    def __post_init__(self) -> None:
        refuse(self.contradictions())

    def contradictions(self) -> Iterator[Contradiction]:
        """What cannot be trained although every value has the right type."""
        yield from _top_problems(self)
        yield from _network_problems(self.network, self.patch, self.training.loss_stride)
        yield from _optimisation_problems(self.training)
        yield from _semi_supervised_problems(self.semi_supervised, self.training.batch)
        yield from _synthesis_problems(self.synthesis)

    @property
    def rules(self) -> tuple[IntensityRule, ...]:
        """Intensity rule of each modality, in order."""
        return tuple(self.intensity.get(name, IntensityRule()) for name in self.modalities)


def read_config(path: Path) -> TrainingConfig:
    """The configuration in a TOML file; all that is wrong in it is in one ConfigError."""
    return config_from_tables(read_tables(path))


def read_tables(path: Path) -> dict[str, Any]:
    """The nested tables in a TOML file. Raises ConfigError ``config``, or those of `read_error`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise read_error(f"configuration file {path}", error, ConfigError) from error
    except (ValueError, RecursionError) as error:  # malformed TOML, or not UTF-8
        raise ConfigError("config", f"{path} is not valid TOML: {error}", "correct that line") from error


def config_from_tables(tables: Mapping[str, Any]) -> TrainingConfig:
    """The configuration in nested tables, as TOML and JSON give them."""
    return tables_to(TrainingConfig, tables)


def config_to_tables(config: Any) -> dict[str, Any]:
    """Nested plain tables that ``config_from_tables`` reads back; for checkpoints and model cards."""
    return dataclasses.asdict(config)


def _top_problems(config: TrainingConfig) -> Iterator[Contradiction]:
    if not config.name or config.name.startswith(".") or any(mark in config.name for mark in '/\\:*?"<>|'):
        yield Contradiction("name", f'"{config.name}" cannot be the name of a folder')
    if len(config.modalities) != 2 or len(set(config.modalities)) != 2:
        yield Contradiction("modalities", f"name two different ones, not {list(config.modalities)}")
    named = [(f"intensity.{name}", name) for name in config.intensity]
    named += [(f"modality_aliases.{name}", name) for name in config.modality_aliases]
    for place, name in named:
        if name not in config.modalities:
            yield Contradiction(place, f'there is no modality "{name}"', ("modalities",))
    for n, prior in enumerate(config.synthesis.contrast):
        if prior.modality not in config.modalities:
            place = f"synthesis.contrast[{n}]"
            yield Contradiction(place, f'there is no modality "{prior.modality}"', ("modalities", f"{place}.modality"))
    yield from out_of_range(config, ("spacing",), Range("above 0 mm", ABOVE_0.holds))


def _network_problems(network: NetworkConfig, patch: tuple[int, ...], loss_stride: int) -> Iterator[Contradiction]:
    if network.fusion not in FUSIONS:
        yield Contradiction("network.fusion", f'must be one of {", ".join(FUSIONS)}, not "{network.fusion}"')
    about = ("patch", "network.channels", "network.stem_stride")
    if not network.channels or min(network.channels) < 1:
        yield Contradiction("network.channels", f"give numbers above 0, not {list(network.channels)}")
    elif network.stem_stride not in (1, 2):
        yield Contradiction("network.stem_stride", f"must be 1 or 2, not {network.stem_stride}")
    elif network.smooth_head and network.stem_stride != 2:
        about_head = ("network.smooth_head", "network.stem_stride")
        yield Contradiction("network.smooth_head", f"needs a stem_stride of 2, not {network.stem_stride}", about_head)
    else:
        stride = network.stem_stride * 2 ** (len(network.channels) - 1)
        if len(patch) != 3 or any(n < 1 or n % stride for n in patch):
            yield Contradiction("patch", f"give three multiples of {stride}, not {list(patch)}", about)
        elif max(patch) == stride:
            text = f"{list(patch)} is a single cell at the coarsest level; make it larger than {stride}"
            yield Contradiction("patch", text, about)
        elif min(patch) // network.stem_stride < loss_stride:
            text = f"{loss_stride} is more than the feature cells of a patch"
            yield Contradiction("training.loss_stride", text, ("training.loss_stride", *about))


def _optimisation_problems(options: OptimisationConfig) -> Iterator[Contradiction]:
    for names, allowed in (
        (("iterations", "batch", "validate_every", "validation_samples", "loss_stride"), AT_LEAST_1),
        (("learning_rate",), ABOVE_0),
        (("workers", "weight_decay", "warmup", "checkpoint_minutes"), AT_LEAST_0),
        (("decay",), FRACTION),
        (("average",), BELOW_1),
        (("seed",), SEEDS),
    ):
        yield from out_of_range(options, names, allowed, "training.")


def _semi_supervised_problems(options: SemiSupervisedConfig, labelled: int) -> Iterator[Contradiction]:
    yield from out_of_range(options, ("batch", "pseudo_label", "csc", "cac"), AT_LEAST_0, "semi_supervised.")
    fractions = ("start", "ramp", "confidence", "teacher", "cut_out", "copy_paste")
    yield from out_of_range(options, fractions, FRACTION, "semi_supervised.")
    for name, known in (("pseudo_label_form", PSEUDO_LABEL_FORMS), ("csc_form", CSC_FORMS), ("cac_from", CAC_FROM)):
        if getattr(options, name) not in known:
            text = f'must be one of {", ".join(known)}, not "{getattr(options, name)}"'
            yield Contradiction(f"semi_supervised.{name}", text)
    if options.copy_paste > 0 and options.batch not in (0, labelled):
        text = f"needs semi_supervised.batch {options.batch} and training.batch {labelled} equal"
        about = ("semi_supervised.copy_paste", "semi_supervised.batch", "training.batch")
        yield Contradiction("semi_supervised.copy_paste", text, about)


def _synthesis_problems(options: SynthesisConfig) -> Iterator[Contradiction]:
    probabilities = tuple(f"{name}_probability" for name in CHANCES)
    for names, allowed in (
        ((*probabilities, "centre_spread"), FRACTION),
        (EXTENTS, AT_LEAST_0),
        (("scaling",), BELOW_1),
        (("elastic_knots",), AT_LEAST_2),
        (("thick_slice",), THICKNESS),
        (("oversampling",), AT_LEAST_1),
    ):
        yield from out_of_range(options, names, allowed, "synthesis.")
    for n, prior in enumerate(options.contrast):
        yield from _prior_problems(prior, f"synthesis.contrast[{n}].")
    for n, growth in enumerate(options.growth):
        yield from out_of_range(growth, ("probability",), FRACTION, f"synthesis.growth[{n}].")
        yield from out_of_range(growth, ("outwards", "inwards"), GROWTH, f"synthesis.growth[{n}].")
    yield from out_of_range(options.lesions, ("probability",), FRACTION, "synthesis.lesions.")
    if options.lesions.probability > 0 and not options.lesions.within:
        yield Contradiction("synthesis.lesions.within", "say which label they lie in and which they have")


def _prior_problems(prior: ContrastPrior, where: str) -> Iterator[Contradiction]:
    yield from out_of_range(prior, ("probability", "elsewhere"), FRACTION, where)
    yield from out_of_range(prior, ("spread",), AT_LEAST_0, where)
    for label, mean in (prior.means or {}).items():  # None where they are missing
        if not FRACTION.holds(mean):
            yield Contradiction(f"{where}means.{label}", f"must be {FRACTION.words}, not {mean:g}")
