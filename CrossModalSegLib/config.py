"""One documented TOML file to a typed configuration; all errors in it are reported at once."""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.synthesis import SynthesisConfig


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
class TrainingConfig:
    """Everything that a training is defined by."""

    name: str = "my-model"
    version: str = "0.1.0"
    description: str = ""
    licence: str = "not stated"
    label_map: str = ""  # a JSON file, or the name of a label map of the library; empty: made from the labels' values
    modality_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modalities: tuple[str, ...] = ("A", "B")
    spacing: float = 1.5  # mm, isotropic
    patch: tuple[int, ...] = (96, 96, 96)  # (K, J, I) voxels
    intensity: Mapping[str, IntensityRule] = field(default_factory=dict)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: OptimisationConfig = field(default_factory=OptimisationConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)

    def __post_init__(self) -> None:
        if len(self.modalities) != 2 or len(set(self.modalities)) != 2:
            raise ConfigError("config", f"modalities {list(self.modalities)}", "name two different modalities")
        stride = self.network.stem_stride * 2 ** (len(self.network.channels) - 1)
        if len(self.patch) != 3 or any(n % stride for n in self.patch):
            raise ConfigError("config", f"patch {list(self.patch)}", f"give three multiples of {stride}")

    @property
    def rules(self) -> tuple[IntensityRule, ...]:
        """Intensity rule of each modality, in order."""
        return tuple(self.intensity.get(name, IntensityRule()) for name in self.modalities)


def read_config(path: Path) -> TrainingConfig:
    """The configuration in a TOML file; unknown names and wrong types raise one ConfigError that lists them all."""
    try:
        tables = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError("not-found", f"no configuration file {path}", "check the path") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("config", f"{path} is not valid TOML: {error}", "correct that line") from error
    return config_from_tables(tables)


def config_from_tables(tables: Mapping[str, Any]) -> TrainingConfig:
    """The configuration in nested tables, as TOML and JSON give them."""
    problems: list[str] = []
    config = _build(TrainingConfig, tables, "", problems)
    if problems:
        raise ConfigError("config", "; ".join(problems), "correct these entries")
    return config


def config_to_tables(config: Any) -> dict[str, Any]:
    """Nested plain tables that ``config_from_tables`` reads back; for checkpoints and model cards."""
    return dataclasses.asdict(config)


def _build(kind: Any, table: Any, where: str, problems: list[str]) -> Any:
    """An instance of dataclass ``kind``; what is wrong is appended to ``problems`` and replaced by the default."""
    if not isinstance(table, Mapping):
        problems.append(f"{where or 'file'}: expected a table, found {table!r}")
        return None
    hints = typing.get_type_hints(kind)
    problems += [f"{where}{name}: unknown name" for name in table if name not in hints]
    values = {n: _convert(hints[n], value, f"{where}{n}", problems) for n, value in table.items() if n in hints}
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in values
    ]
    problems += [f"{where}{name}: missing" for name in missing]
    if problems:
        return None
    return kind(**values)


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
