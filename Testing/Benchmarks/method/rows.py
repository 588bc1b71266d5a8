"""The rows of the table: what each trains, and on what."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from CrossModalSegLib.tables import read_table
from CrossModalSegLib.training.config import TrainingConfig, read_config

BASE = Path(__file__).with_name("base.toml")
BEST = "best"  # of rows 4 and 5, by their scores on the validation patients


@dataclass(frozen=True)
class Row:
    """One row. ``scans`` are the modalities that patients have in training and test, ``unpaired`` gives every other
    training patient the first alone and the rest the second alone. ``semi`` are weights of the unlabelled losses; None
    trains on labelled patients alone. ``everyone`` labels all training patients."""

    title: str
    network: str = "cross-modal"  # or "early fusion", "early fusion, two heads"
    fusion: str = BEST
    scans: tuple[int, ...] = (0, 1)
    unpaired: bool = False
    semi: Mapping[str, Any] | None = None
    everyone: bool = False

    @property
    def begins_alike(self) -> bool:
        """Until unlabelled patients join, this row's training is that of row 4 or 5."""
        return self.network == "cross-modal" and self.scans == (0, 1) and not (self.unpaired or self.everyone)


TEACHER: Mapping[str, Any] = {"csc": 0.0, "cac": 0.0}
FULL: Mapping[str, Any] = {}  # base.toml and the defaults
ROWS: Mapping[str, Row] = {
    "1": Row("supervised, T1w alone", fusion="bottleneck", scans=(0,)),
    "2": Row("supervised, SIM alone", fusion="bottleneck", scans=(1,)),
    "3": Row("supervised, early fusion (DynUNet as nnU-Net plans it)", network="early fusion"),
    "3b": Row("the same with a head per scan", network="early fusion, two heads"),
    "4": Row("supervised, this network, bottleneck fusion", fusion="bottleneck"),
    "5": Row("supervised, this network, gated fusion", fusion="gated"),
    "6": Row("best of 4 and 5 + EMA teacher on unlabelled", semi=TEACHER),
    "7": Row("6 + CSC", semi={"cac": 0.0}),
    "8": Row("6 + CAC", semi={"csc": 0.0}),
    "9": Row("full method: 6 + CSC + CAC", semi=FULL),
    "10": Row("full method + copy-paste", semi={"copy_paste": 0.5}),
    "11": Row("supervised, all training patients labelled", everyone=True),
    "u1": Row("unpaired: supervised, T1w alone", fusion="bottleneck", scans=(0,), unpaired=True),
    "u2": Row("unpaired: supervised, SIM alone", fusion="bottleneck", scans=(1,), unpaired=True),
    "u9": Row("unpaired: full method", semi={"csc_form": "affinity"}, unpaired=True),
}


@dataclass(frozen=True)
class Run:
    """One training: a row with a number of labelled patients and a seed. ``changes`` are entries of the configuration
    by dotted name, of a ``variant`` that is tried beside the table."""

    row: str
    labelled: int
    seed: int
    iterations: int
    variant: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its folder."""
        return "-".join([self.row, str(self.labelled), str(self.seed), *filter(None, [self.variant])])

    def config(self, fusion: str) -> TrainingConfig:
        """Its configuration, with ``fusion`` where the row asks for the best."""
        row, base = ROWS[self.row], read_config(BASE)
        config = replace(
            base,
            network=replace(base.network, fusion=fusion if row.fusion == BEST else row.fusion),
            training=replace(base.training, iterations=self.iterations, seed=self.seed),
            semi_supervised=replace(base.semi_supervised, **(row.semi or {})),
        )
        tables = asdict(config)
        for name, value in self.changes.items():
            *path, last = name.split(".")
            table = tables
            for part in path:
                table = table[part]
            table[last] = value
        return read_table(TrainingConfig, tables)
