"""One documented TOML file to a typed configuration; all errors in it are reported at once."""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.network import FUSIONS
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.synthesis import SynthesisConfig

Kind = TypeVar("Kind")
CSC_FORMS = ("aligned", "affinity")
CAC_FROM = ("other", "surer")


@dataclass(frozen=True)
class NetworkConfig:
    """Arguments of ``CrossModalNetwork``, but for the number of classes."""

    channels: tuple[int, ...] = (32, 64, 128, 160)
    stem_stride: int = 2
    fusion: str = "gated"
    share_convolutions: bool = False


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
        problems = list(_contradictions(self))
        if problems:
            raise ConfigError("config", "; ".join(problems), "correct these entries")

    @property
    def rules(self) -> tuple[IntensityRule, ...]:
        """Intensity rule of each modality, in order."""
        return tuple(self.intensity.get(name, IntensityRule()) for name in self.modalities)


def read_config(path: Path) -> TrainingConfig:
    """The configuration in a TOML file; unknown names and wrong types raise one ConfigError that lists them all."""
    return config_from_tables(read_tables(path))


def read_tables(path: Path) -> dict[str, Any]:
    """The nested tables in a TOML file. Raises ConfigError ``not-found`` or ``config``."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("not-found", f"configuration file {path}: {error.strerror}", "check the path") from error
    except ValueError as error:  # malformed TOML, or not UTF-8
        raise ConfigError("config", f"{path} is not valid TOML: {error}", "correct that line") from error


def config_from_tables(tables: Mapping[str, Any]) -> TrainingConfig:
    """The configuration in nested tables, as TOML and JSON give them."""
    return tables_to(TrainingConfig, tables)


def tables_to(kind: type[Kind], tables: Mapping[str, Any]) -> Kind:
    """An instance of the dataclass ``kind``. Raises one ConfigError that lists all unknown names and wrong types."""
    problems: list[str] = []
    config = _build(kind, tables, "", problems)
    if problems:
        raise ConfigError("config", "; ".join(problems), "correct these entries")
    return config


def config_to_tables(config: Any) -> dict[str, Any]:
    """Nested plain tables that ``config_from_tables`` reads back; for checkpoints and model cards."""
    return dataclasses.asdict(config)


def _contradictions(config: TrainingConfig) -> Iterator[str]:
    """What cannot be trained although every value has the right type."""
    if not config.name or config.name.startswith(".") or any(mark in config.name for mark in '/\\:*?"<>|'):
        yield f'name: "{config.name}" cannot be the name of a folder'
    if len(config.modalities) != 2 or len(set(config.modalities)) != 2:
        yield f"modalities: name two different ones, not {list(config.modalities)}"
    named = {f"intensity.{name}": name for name in config.intensity}
    named |= {f"modality_aliases.{name}": name for name in config.modality_aliases}
    named |= {f"synthesis.contrast[{n}]": prior.modality for n, prior in enumerate(config.synthesis.contrast)}
    yield from (
        f'{where}: there is no modality "{name}"' for where, name in named.items() if name not in config.modalities
    )
    if not config.spacing > 0:
        yield f"spacing: must be above 0 mm, not {config.spacing:g}"
    yield from _network_problems(config.network, config.patch, config.training.loss_stride)
    for name in ("iterations", "batch", "validate_every", "validation_samples", "loss_stride"):
        if getattr(config.training, name) < 1:
            yield f"training.{name}: must be at least 1, not {getattr(config.training, name)}"
    if not config.training.learning_rate > 0:
        yield f"training.learning_rate: must be above 0, not {config.training.learning_rate:g}"
    if config.training.workers < 0:
        yield f"training.workers: must be at least 0, not {config.training.workers}"
    if not 0 <= config.synthesis.scaling < 1:
        yield f"synthesis.scaling: must be at least 0 and below 1, not {config.synthesis.scaling:g}"
    yield from _semi_supervised_problems(config.semi_supervised, config.training.batch)


def _semi_supervised_problems(options: SemiSupervisedConfig, labelled: int) -> Iterator[str]:
    for name in ("batch", "pseudo_label", "csc", "cac"):
        if not getattr(options, name) >= 0:
            yield f"semi_supervised.{name}: must be at least 0, not {getattr(options, name):g}"
    for name in ("start", "ramp", "confidence", "teacher", "cut_out", "copy_paste"):
        if not 0 <= getattr(options, name) <= 1:
            yield f"semi_supervised.{name}: must be between 0 and 1, not {getattr(options, name):g}"
    if options.csc_form not in CSC_FORMS:
        yield f'semi_supervised.csc_form: must be one of {", ".join(CSC_FORMS)}, not "{options.csc_form}"'
    if options.cac_from not in CAC_FROM:
        yield f'semi_supervised.cac_from: must be one of {", ".join(CAC_FROM)}, not "{options.cac_from}"'
    if options.copy_paste > 0 and options.batch not in (0, labelled):
        yield f"semi_supervised.copy_paste: needs semi_supervised.batch {options.batch} and training.batch {labelled} equal"


def _network_problems(network: NetworkConfig, patch: tuple[int, ...], loss_stride: int) -> Iterator[str]:
    if network.fusion not in FUSIONS:
        yield f'network.fusion: must be one of {", ".join(FUSIONS)}, not "{network.fusion}"'
    if not network.channels or min(network.channels) < 1:
        yield f"network.channels: give numbers above 0, not {list(network.channels)}"
    elif network.stem_stride not in (1, 2):
        yield f"network.stem_stride: must be 1 or 2, not {network.stem_stride}"
    else:
        stride = network.stem_stride * 2 ** (len(network.channels) - 1)
        if len(patch) != 3 or any(n < 1 or n % stride for n in patch):
            yield f"patch: give three multiples of {stride}, not {list(patch)}"
        elif max(patch) == stride:
            yield f"patch: {list(patch)} is a single cell at the coarsest level; make it larger than {stride}"
        elif min(patch) // network.stem_stride < loss_stride:
            yield f"training.loss_stride: {loss_stride} is more than the feature cells of a patch"


def _build(kind: Any, table: Any, where: str, problems: list[str]) -> Any:
    """An instance of dataclass ``kind``, or None; what is wrong is appended to ``problems``."""
    if not isinstance(table, Mapping):
        problems.append(f"{where.rstrip('.') or 'file'}: expected a table, found {table!r}")
        return None
    hints = typing.get_type_hints(kind)
    problems += [f"{where}{name}: unknown name" for name in table if name not in hints]
    known_before = len(problems)
    values = {n: _convert(hints[n], value, f"{where}{n}", problems) for n, value in table.items() if n in hints}
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in values
    ]
    problems += [f"{where}{name}: missing" for name in missing]
    if len(problems) > known_before:
        return None
    try:
        return kind(**values)
    except ConfigError as error:
        problems.append(f"{where.rstrip('.')}: {error.message}" if where else error.message)
        return None


def _convert(kind: Any, value: Any, where: str, problems: list[str]) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, f"{where}.", problems)
    if origin in (tuple, types.GenericAlias) and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], item, f"{where}[{n}]", problems) for n, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {
            _key(arguments[0], key, where, problems): _convert(arguments[1], item, f"{where}.{key}", problems)
            for key, item in value.items()
        }
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    problems.append(f"{where}: expected {getattr(kind, '__name__', kind)}, found {value!r}")
    return None


def _key(kind: type, key: Any, where: str, problems: list[str]) -> Any:
    if kind is not int:
        return key
    try:
        return int(key)
    except ValueError:
        problems.append(f"{where}: expected a whole number as name, found {key!r}")
        return 0
