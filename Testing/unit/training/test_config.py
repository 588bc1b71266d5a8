"""Configurations: what is right is read as it stands, what is wrong is all reported at once."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.synthesis.synthesis import ContrastPrior, SynthesisConfig
from CrossModalSegLib.tables import read_table
from CrossModalSegLib.training.config import (
    NetworkConfig,
    OptimisationConfig,
    SemiSupervisedConfig,
    TrainingConfig,
    read_config,
)

REPOSITORY = Path(__file__).resolve().parents[3]
SHIPPED = sorted((REPOSITORY / "training_cli" / "configs").glob("*.toml"))
BENCHMARKS = sorted((REPOSITORY / "Testing" / "Benchmarks").rglob("*.toml"))

EVERYTHING = """
name = "liver"
modalities = ["CT", "MR"]
modality_aliases = { CT = ["CTA"], MR = ["T1", "T2"] }
spacing = 2
patch = [32, 48, 64]

[intensity.CT]
rule = "window"
lower = -150
upper = 250.5

[network]
channels = [8, 16, 32]
stem_stride = 1
fusion = "bottleneck"
share_convolutions = true

[training]
iterations = 10
learning_rate = 1

[semi_supervised]
csc_form = "affinity"
cac = 1

[synthesis]
groups = [[1, 2], [3]]
merge = { 25 = 2, 57 = 41 }

[[synthesis.contrast]]
modality = "CT"
probability = 0.5
means = { 1 = 0.5, 2 = 1 }
"""


def problems_in(tables) -> str:
    with pytest.raises(ConfigError) as caught:
        read_table(TrainingConfig, tables)
    assert caught.value.code == "config"
    return caught.value.message


# what is right


def test_every_table_is_read_with_its_types(tmp_path):
    (tmp_path / "c.toml").write_text(EVERYTHING)
    config = read_config(tmp_path / "c.toml")
    assert config == TrainingConfig(
        name="liver",
        modalities=("CT", "MR"),
        modality_aliases={"CT": ("CTA",), "MR": ("T1", "T2")},
        spacing=2.0,
        patch=(32, 48, 64),
        intensity={"CT": IntensityRule("window", -150.0, 250.5)},
        network=NetworkConfig((8, 16, 32), 1, "bottleneck", True),
        training=OptimisationConfig(iterations=10, learning_rate=1.0),
        semi_supervised=SemiSupervisedConfig(csc_form="affinity", cac=1.0),
        synthesis=SynthesisConfig(
            groups=((1, 2), (3,)),
            merge={25: 2, 57: 41},
            contrast=(ContrastPrior("CT", 0.5, {1: 0.5, 2: 1.0}),),
        ),
    )
    assert isinstance(config.spacing, float)
    assert isinstance(config.intensity["CT"].lower, float)
    assert isinstance(config.training.learning_rate, float)


def test_an_empty_file_gives_the_defaults(tmp_path):
    (tmp_path / "c.toml").write_text("")
    assert read_config(tmp_path / "c.toml") == TrainingConfig()


def test_rules_are_in_the_order_of_the_modalities_and_percentile_by_default():
    ct = IntensityRule("window", -150, 250)
    assert TrainingConfig(modalities=("MR", "CT"), intensity={"CT": ct}).rules == (IntensityRule(), ct)


def test_tables_read_back_as_the_same_configuration_even_after_json(tmp_path):
    (tmp_path / "c.toml").write_text(EVERYTHING)
    config = read_config(tmp_path / "c.toml")
    tables = asdict(config)
    assert read_table(TrainingConfig, tables) == config
    assert (
        read_table(TrainingConfig, json.loads(json.dumps(tables))) == config
    )  # tuples are lists and keys are strings there


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_is_valid_and_says_what_network_to_build(path):
    config = read_config(path)
    assert config.name == path.stem
    assert read_table(TrainingConfig, asdict(config)) == config
    options = config.network
    network = CrossModalNetwork(2, (1,) * len(options.channels), options.stem_stride, options.fusion)
    assert all(n % network.stride == 0 for n in config.patch)


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_configuration_of_the_benchmarks_is_valid(path):
    read_config(path)


def test_there_are_shipped_configurations():
    assert [path.stem for path in SHIPPED if path.stem == "brain-mr-pair"]
    assert BENCHMARKS


# what is wrong


def test_all_errors_of_a_file_are_reported_at_once():
    message = problems_in(
        {
            "spaing": 1.5,
            "spacing": "fine",
            "patch": [32, 32.5, 32],
            "intensity": {"A": {"rule": "minmax"}, "B": {"lower": 9, "upper": 3}},
            "network": {"channel": [8, 16]},
            "training": {"iterations": "many", "batch": True},
            "synthesis": {"merge": {"x": 2}, "contrast": [{"modality": "A"}]},
        }
    )
    for said in (
        "spaing: unknown name",
        "spacing: expected float, found 'fine'",
        "patch[1]: expected int, found 32.5",
        'intensity.A.rule: must be one of percentile, window, not "minmax"',
        "intensity.B.upper: lower 9 is not below upper 3",
        "network.channel: unknown name",
        "training.iterations: expected int, found 'many'",
        "training.batch: expected int, found True",
        "synthesis.merge: expected a whole number as name, found 'x'",
        "synthesis.contrast[0].probability: missing",
        "synthesis.contrast[0].means: missing",
    ):
        assert said in message
    assert message.count(";") == 10


def test_contradictions_are_reported_at_once_and_beside_unknown_names():
    message = problems_in(
        {
            "surname": "x",
            "name": "../elsewhere",
            "modalities": ["T1w", "T1w"],
            "spacing": 0,
            "patch": [32, 32, 30],
            "network": {"fusion": "late"},
            "training": {"iterations": 0, "batch": 0, "workers": -1, "learning_rate": 0},
            "semi_supervised": {"batch": 2, "cac": -1, "confidence": 1.5, "csc_form": "both", "copy_paste": 0.5},
            "intensity": {"CT": {"rule": "window"}},
            "modality_aliases": {"FLAIR": ["T2"]},
            "synthesis": {"scaling": 1.2, "contrast": [{"modality": "PD", "probability": 1, "means": {}}]},
        }
    )
    for said in (
        "surname: unknown name",
        'name: "../elsewhere" cannot be the name of a folder',
        "modalities: name two different ones, not ['T1w', 'T1w']",
        "spacing: must be from 0.01 to 100 mm, not 0",
        "patch: give three multiples of 16, not [32, 32, 30]",  # stem 2, then three halvings
        'network.fusion: must be one of bottleneck, gated, gated-all, not "late"',
        "training.iterations: must be at least 1, not 0",
        "training.batch: must be from 1 to 1000, not 0",
        "training.workers: must be from 0 to 64, not -1",
        "training.learning_rate: must be above 0, not 0",
        "semi_supervised.cac: must be at least 0, not -1",
        "semi_supervised.confidence: must be between 0 and 1, not 1.5",
        'semi_supervised.csc_form: must be one of aligned, affinity, not "both"',
        "semi_supervised.copy_paste: needs semi_supervised.batch 2 and training.batch 0 equal",
        "synthesis.scaling: must be at least 0 and below 1, not 1.2",
        'intensity.CT: there is no modality "CT"',
        'modality_aliases.FLAIR: there is no modality "FLAIR"',
        'synthesis.contrast[0]: there is no modality "PD"',
    ):
        assert said in message


def test_contradictions_are_reported_beside_wrong_types_and_broken_tables():
    message = problems_in(
        {
            "spacing": "fine",
            "patch": [32, 32, 30],
            "modalities": ["T1w", "T2w"],
            "intensity": {"CT": {"rule": "window"}, "T1w": {"lower": "low", "upper": 120}, "T2w": 5},
            "network": {"channel": [8, 16], "fusion": "late"},
            "training": {"iterations": "many", "batch": 0, "seed": -1},
            "semi_supervised": 7,
            "synthesis": {
                "noise": -1,
                "elastic": "much",
                "contrast": [
                    {"modality": "PD", "means": {"1": 2}},
                    {"modality": "FLAIR", "probability": 3, "means": {"2": 0.5}},
                ],
            },
        }
    )
    assert sorted(message.split("; ")) == sorted(
        [
            "spacing: expected float, found 'fine'",
            "intensity.T1w.lower: expected float, found 'low'",
            'intensity.T1w.upper: must be 0 to 100 percent, not 120, or rule = "window"',
            "intensity.T2w: expected a table, found 5",
            "network.channel: unknown name",
            "training.iterations: expected int, found 'many'",
            "semi_supervised: expected a table, found 7",
            "synthesis.elastic: expected float, found 'much'",
            "synthesis.contrast[0].probability: missing",
            'intensity.CT: there is no modality "CT"',
            'synthesis.contrast[0]: there is no modality "PD"',
            'synthesis.contrast[1]: there is no modality "FLAIR"',
            'network.fusion: must be one of bottleneck, gated, gated-all, not "late"',
            "patch: give three multiples of 16, not [32, 32, 30]",
            "training.batch: must be from 1 to 1000, not 0",
            "training.seed: must be at least 0 and below 2^32, not -1",
            "synthesis.noise: must be at least 0, not -1",
            "synthesis.contrast[0].means.1: must be between 0 and 1, not 2",
            "synthesis.contrast[1].probability: must be between 0 and 1, not 3",
        ]
    )


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"modalities": 5, "intensity": {"CT": {}}}, "modalities: expected tuple, found 5"),
        ({"modalities": ["CT", 1], "modality_aliases": {"CT": ["X"]}}, "modalities[1]: expected str, found 1"),
        ({"network": {"channels": [8, "x"]}, "patch": [8, 8, 8]}, "network.channels[1]: expected int, found 'x'"),
        ({"network": 5, "patch": [8, 8, 8]}, "network: expected a table, found 5"),
        ({"patch": [32, "x", 32]}, "patch[1]: expected int, found 'x'"),
        ({"patch": "big", "training": {"loss_stride": 99}}, "patch: expected tuple, found 'big'"),
        ({"intensity": {"A": {"lower": "x", "upper": 0.5}}}, "intensity.A.lower: expected float, found 'x'"),
        ({"intensity": {"A": {"rule": 1, "lower": -150}}}, "intensity.A.rule: expected str, found 1"),
        (
            {"semi_supervised": {"batch": "x", "copy_paste": 0.5}, "training": {"batch": 2}},
            "semi_supervised.batch: expected int, found 'x'",
        ),
        (
            {"synthesis": {"contrast": [{"modality": 1, "probability": 0.5, "means": {}}]}},
            "synthesis.contrast[0].modality: expected str, found 1",
        ),
    ],
)
def test_nothing_is_said_about_what_follows_from_an_entry_that_cannot_be_read(tables, said):
    assert problems_in(tables) == said


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        *[(f"synthesis.{name}_probability", value, "between 0 and 1")
          for name in ("extraction", "anywhere", "displacement", "single", "thick_slice", "crop")
          for value in (-0.1, 1.1)],
        *[(f"synthesis.{name}", value, "at least 0")
          for name in ("position_error", "rotation", "shear", "elastic", "displacement", "displacement_rotation",
                       "displacement_elastic", "blur", "bias", "noise", "gamma")
          for value in (-0.5, float("nan"), float("inf"))],
        ("synthesis.centre_spread", 1.5, "between 0 and 1"),
        ("synthesis.elastic_knots", 1, "from 2 to 64"),
        ("synthesis.elastic_knots", 10**14, "from 2 to 64"),
        ("training.batch", 10**20, "from 1 to 1000"),
        ("training.workers", 10**7, "from 0 to 64"),
        ("synthesis.thick_slice", 1.0, "at least 1.5 mm"),
        ("synthesis.oversampling", 0.5, "at least 1"),
        ("training.average", 1.0, "at least 0 and below 1"),
        ("training.average", -0.1, "at least 0 and below 1"),
        ("training.decay", 1.1, "between 0 and 1"),
        ("training.warmup", -1, "at least 0"),
        ("training.weight_decay", -0.1, "at least 0"),
        ("training.checkpoint_minutes", -1.0, "at least 0"),
        ("training.seed", -1, "at least 0 and below 2^32"),
        ("training.seed", 2**32, "at least 0 and below 2^32"),
        ("training.learning_rate", float("inf"), "above 0"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named_with_what_it_may_be(entry, value, said):
    table, name = entry.split(".")
    given = f"{value:g}" if isinstance(value, float) else value
    assert problems_in({table: {name: value}}) == f"{entry}: must be {said}, not {given}"


@pytest.mark.parametrize("entry", [
    {"synthesis": {"elastic_knots": 2, "thick_slice": 1.5, "oversampling": 1}},
    {"synthesis": {"centre_spread": 0, "crop_probability": 1}},
    {"training": {"average": 0, "decay": 1, "warmup": 0, "weight_decay": 0}},
    {"training": {"checkpoint_minutes": 0, "seed": 2**32 - 1}},
    {"intensity": {"A": {"lower": 0, "upper": 100}, "B": {"rule": "window", "lower": -1000, "upper": 3000}}},
])  # fmt: skip
def test_the_ends_of_a_range_are_in_it(entry):
    read_table(TrainingConfig, entry)


@pytest.mark.parametrize(
    ("network", "patch", "said"),
    [
        ({"channels": [8, 16, 32], "stem_stride": 1}, [30, 32, 32], "multiples of 4"),
        ({"channels": [8, 16, 32], "stem_stride": 2}, [32, 32, 36], "multiples of 8"),
        ({"channels": [8, 16], "stem_stride": 2}, [32, 32], "three multiples"),
        ({"channels": [8, 16], "stem_stride": 2}, [0, 32, 32], "three multiples"),
        ({"channels": [8, 16], "stem_stride": 2}, [4, 4, 4], "larger than 4"),
        ({"channels": [8, 16], "stem_stride": 0}, [32, 32, 32], "network.stem_stride: must be 1 or 2, not 0"),
        ({"channels": [], "stem_stride": 2}, [32, 32, 32], "network.channels"),
        ({"channels": [8, 0], "stem_stride": 2}, [32, 32, 32], "network.channels"),
    ],
)
def test_a_patch_that_the_network_cannot_halve_is_refused(network, patch, said):
    assert said in problems_in({"network": network, "patch": patch})


@pytest.mark.parametrize("patch", [[32, 32, 32], [16, 16, 48], [64, 80, 64]])
def test_multiples_of_the_stride_are_accepted(patch):
    assert read_table(TrainingConfig, {"patch": patch}).patch == tuple(patch)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"network": 5}, "network: expected a table, found 5"),
        ({"modality_aliases": {"A": "T1"}}, "modality_aliases.A: expected tuple, found 'T1'"),
        ({"synthesis": {"groups": [[1], ["left"]]}}, "synthesis.groups[1][0]: expected int, found 'left'"),
        ({"training": {"iterations": 1.5}}, "training.iterations: expected int, found 1.5"),
        ({"spacing": True}, "spacing: expected float, found True"),
        ({"spacing": float("nan")}, "spacing: must be from 0.01 to 100 mm, not nan"),
        ({"training": {"loss_stride": 50}}, "training.loss_stride: 50"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tables, said):
    assert said in problems_in(tables)


def test_a_missing_file_and_broken_toml_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml") as caught:
        read_config(tmp_path / "nowhere.toml")
    assert caught.value.code == "not-found"
    with pytest.raises(ConfigError, match=str(tmp_path)):
        read_config(tmp_path)
    for content in (b"spacing = = 2", b"name = '\xff'"):
        (tmp_path / "c.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"c\.toml is not valid TOML"):
            read_config(tmp_path / "c.toml")
