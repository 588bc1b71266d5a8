"""What a federation is defined by, the same file at all hospitals."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from CrossModalSegLib.adaptation.config import FinetuneConfig
from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.tables import AT_LEAST_0, AT_LEAST_1, Number, Whole, one_of, read_table, table
from CrossModalSegLib.training.config import read_tables

ALGORITHMS = ("fedavg", "fedprox")
AGGREGATIONS = ("mean", "median")


@table()
class FederationOptions:
    """Table ``[federation]``."""

    name: str = "federated"
    parent: str = "brain-mr-pair"  # the model that all begin with, and that the gates compare with
    rounds: Annotated[Whole, AT_LEAST_1] = 5
    steps: Annotated[Whole, AT_LEAST_1] = 100  # of each hospital in each round
    algorithm: Annotated[str, one_of(ALGORITHMS)] = "fedavg"
    mu: Annotated[Number, AT_LEAST_0] = 1.0  # of FedProx: draws a hospital's weights back to the global ones
    aggregation: Annotated[str, one_of(AGGREGATIONS)] = "mean"  # the median of each weight bears few bad hospitals
    fewest_hospitals: Annotated[Whole, AT_LEAST_1] = 2


@dataclass(frozen=True)
class FederationConfig:
    """All that a person may set. ``hospitals`` are site folders by name, for a simulation on one machine;
    ``adaptation`` is the configuration of each hospital's training and gate."""

    options: FederationOptions
    hospitals: Mapping[str, Path]
    adaptation: FinetuneConfig

    @property
    def local(self) -> FinetuneConfig:
        """The same with the strength that draws weights back, and one validation per round."""
        strength = self.options.mu if self.options.algorithm == "fedprox" else 0.0
        options = asdict(self.adaptation.finetune) | {"anchor": strength, "keep_general": False, "validations": 1}
        return read_table(FinetuneConfig, asdict(self.adaptation) | {"finetune": options})


def read_federation(path: Path) -> FederationConfig:
    """The configuration in a TOML file; folders may be relative to it. Raises one ConfigError, which lists all
    problems."""
    return federation_of(read_tables(path), path.parent)


def federation_of(content: Mapping[str, Any], folder: Path) -> FederationConfig:
    """The same from nested tables."""
    tables = dict(content)
    hospitals = tables.pop("hospitals", {})
    if not (isinstance(hospitals, dict) and all(isinstance(value, str) for value in hospitals.values())):
        raise ConfigError("config", "hospitals must be a table of site folders by name", 'write a = "sites/a"')
    wrong = [name for name in hospitals if not (name.isidentifier() and name.islower()) or name == "server"]
    if wrong:
        what = f'hospitals: "{wrong[0]}" is no name in lower-case letters and digits'
        raise ConfigError("config", what, "rename it, such as north_1")
    options = read_table(FederationOptions, tables.pop("federation", {}))
    places = {name: (folder / place).resolve() for name, place in hospitals.items()}
    return FederationConfig(options, places, read_table(FinetuneConfig, tables))
