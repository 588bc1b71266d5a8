"""The settings of a fine-tuning: read as they stand, and all that is wrong reported at once, with its table."""

import math
from dataclasses import asdict

import pytest

from CrossModalSegLib.adaptation.config import FinetuneConfig, FinetuneOptions
from CrossModalSegLib.adaptation.gate import GateRules
from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.tables import read_table


def test_settings_are_read_and_come_back():
    tables = {"finetune": {"folds": 4, "share": 1}, "gate": {"case_fall": 0.2}, "training": {"batch": 2}}
    config = read_table(FinetuneConfig, tables)
    assert config == FinetuneConfig(FinetuneOptions(folds=4, share=1.0), GateRules(case_fall=0.2), {"batch": 2})
    assert read_table(FinetuneConfig, asdict(config)) == config


def test_all_problems_of_all_tables_are_reported_at_once():
    tables = {
        "finetune": {"folds": 1, "share": 0.0, "patience": "much", "fold": 3},
        "gate": {"confidence": 1.0, "case_fall": "deep"},
        "training": {"iterations": 5},
        "synthesis": 7,
        "networks": {},
    }
    with pytest.raises(ConfigError) as caught:
        read_table(FinetuneConfig, tables)
    assert sorted(caught.value.message.split("; ")) == sorted(
        [
            "networks: unknown name",
            "synthesis: expected a table, found 7",
            "training.iterations: follows from the budget",
            "see finetune.most_iterations",
            "finetune.fold: unknown name",
            "finetune.patience: expected int, found 'much'",
            "finetune.folds: must be at least 2, not 1",
            "finetune.share: must be above 0 and at most 1, not 0",
            "gate.case_fall: expected float, found 'deep'",
            "gate.confidence: must be between 0 and 1, not 1",
        ]
    )


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([math.nan], "finetune.shares[0]: must be above 0 and at most 1, not nan"),
        ([1.0000001], "finetune.shares[0]: must be above 0 and at most 1, not 1.0000001"),
        ([-1], "finetune.shares[0]: must be above 0 and at most 1, not -1"),
        ([True, math.inf], ("finetune.shares[0]: expected float, found True; "
         "finetune.shares[1]: must be above 0 and at most 1, not inf")),
        ([], "finetune.shares: give one or more"),
    ],
    ids=str,
)  # fmt: skip
def test_a_list_is_told_what_is_wrong_with_its_entries_and_nothing_else(shares, said):
    with pytest.raises(ConfigError) as caught:
        read_table(FinetuneConfig, {"finetune": {"shares": shares}})
    assert caught.value.message == said


@pytest.mark.parametrize(
    "options", [{"supervised": 1.0}, {"folds": 1}, {"validations": 0}, {"share": 0.0}, {"anchor": -1.0}], ids=str
)
def test_options_that_cannot_be_are_refused_where_they_are_made(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        FinetuneOptions(**options)
