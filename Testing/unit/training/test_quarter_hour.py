"""A quarter of an hour on a GPU: what is packed is enough to train, small, and goes back into the run."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.training.checkpoint import load_checkpoint, save_checkpoint
from CrossModalSegLib.training.config import read_config
from Testing.volumes import grid_around

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = """
name = "brain-mr-pair"
label_map = "brain_mr_pair"
modalities = ["T1w", "T2w"]
patch = [16, 16, 16]
[network]
channels = [4, 6]
smooth_head = true
[training]
iterations = 100
average = 0.5
"""


@pytest.fixture(scope="module")
def quarter_hour():
    sys.path.insert(0, str(REPOSITORY / "training_cli"))
    import quarter_hour

    return quarter_hour


@pytest.fixture
def run(quarter_hour, tmp_path) -> Path:
    """A run that has come to step 40, and beside it the maps, the datalist and the configuration."""
    labels = np.zeros((24, 24, 24), dtype=np.int16)
    labels[3:21, 3:21, 3:21] = 2
    labels[8:16, 8:16, 8:16] = 17
    write_volume(tmp_path / "one.nrrd", labels, grid_around((0, 0, 0), (24, 24, 24), (2.0, 2.0, 2.0)))
    (tmp_path / "data.json").write_text(json.dumps({"training": [{"label": "one.nrrd"}], "validation": []}))
    (tmp_path / "config.toml").write_text(CONFIG)
    torch.manual_seed(0)
    config = read_config(tmp_path / "config.toml")
    state = quarter_hour._state(config)
    state.step = 40
    state.average = {name: value + 0.25 for name, value in state.network.state_dict().items()}
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run", config, state)
    return tmp_path / "run"


def packed(quarter_hour, run: Path) -> Path:
    folder = run.parent
    quarter_hour.pack(run, folder / "config.toml", folder / "data.json", folder, folder / "packed")
    return folder / "packed"


def state_of(quarter_hour, run: Path):
    config = read_config(run.parent / "config.toml")
    state = quarter_hour._state(config)
    load_checkpoint(run, config, state)
    return state


def test_a_run_is_packed_trained_elsewhere_and_gone_on_with(quarter_hour, run):
    folder = packed(quarter_hour, run)
    before = state_of(quarter_hour, run)
    steps = quarter_hour.train(folder, run.parent / "out", 0.02, 2, torch.device("cpu"))
    assert steps >= 1
    quarter_hour.unpack(run.parent / "out", run)
    after = state_of(quarter_hour, run)
    assert after.step == 40 + steps
    for name, value in after.network.state_dict().items():
        if value.is_floating_point() and "gamma" not in name:
            assert not torch.equal(value, before.network.state_dict()[name]), name
    assert not after.optimiser.state_dict()["state"]  # moments begin anew


def test_what_is_packed_is_the_weights_their_average_and_the_maps(quarter_hour, run):
    folder, before = packed(quarter_hour, run), state_of(quarter_hour, run)
    state = quarter_hour._state(read_config(folder / "config.toml"))
    assert quarter_hour._read(folder, state) == 40
    for name, value in state.network.state_dict().items():
        assert torch.equal(value, before.network.state_dict()[name])
        assert torch.allclose(state.average[name], before.average[name], atol=2e-3)  # float16
    with np.load(folder / "maps.npz") as maps:
        assert maps["values"].tolist() == [0, 2, 17]
        assert maps["map-00"].shape == (18, 18, 18)  # the empty border is left out


def test_no_file_is_larger_than_agreed_however_large_the_network(quarter_hour, run, monkeypatch):
    monkeypatch.setattr(quarter_hour, "LARGEST_PART", 4000)
    folder = packed(quarter_hour, run)
    parts = sorted(folder.glob("weights-*.safetensors"))
    assert len(parts) > 3
    state = quarter_hour._state(read_config(folder / "config.toml"))
    quarter_hour._read(folder, state)  # nothing is missing


def test_a_time_that_is_over_at_once_still_leaves_a_result(quarter_hour, run):
    assert quarter_hour.train(packed(quarter_hour, run), run.parent / "out", 1e-6, 1, torch.device("cpu")) == 1
