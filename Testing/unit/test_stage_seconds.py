"""How long the stages will take, worked by hand, and what is kept of earlier runs."""

import json

import pytest

from CrossModalSegLib.progress import RunProgress
from CrossModalSegLib.stage_seconds import Forecast, StagePaces, expected_seconds

BUNDLE = "0123456789abcdef" * 4


def test_a_scan_of_twice_the_voxels_takes_longer_but_the_network_hardly():
    small, large = expected_seconds("cpu", 10.0), expected_seconds("cpu", 20.0)
    assert small["restoring"] == pytest.approx(1.0 + 0.1 * 10)
    assert large["restoring"] == pytest.approx(1.0 + 0.1 * 20)
    assert large["network"] < 1.1 * small["network"]


def test_what_a_stage_took_here_counts_for_scans_of_another_size(tmp_path):
    paces = StagePaces(tmp_path / "kept" / "paces.json")
    paces.learn(BUNDLE, "cpu", 10.0, {"restoring": 6.0})  # three times the reference's 2
    again = StagePaces(tmp_path / "kept" / "paces.json").of(BUNDLE, "cpu")
    assert expected_seconds("cpu", 20.0, again)["restoring"] == pytest.approx(9.0)
    assert expected_seconds("cpu", 20.0, again)["network"] == expected_seconds("cpu", 20.0)["network"]


def test_one_run_beside_other_work_does_not_count_alone(tmp_path):
    paces = StagePaces(tmp_path / "paces.json")
    for seconds in (2.0, 200.0):
        paces.learn(BUNDLE, "cpu", 10.0, {"restoring": seconds})
    assert paces.of(BUNDLE, "cpu") == pytest.approx({"restoring": 100.0**0.7})


def test_other_bundles_and_devices_have_paces_of_their_own(tmp_path):
    paces = StagePaces(tmp_path / "paces.json")
    paces.learn(BUNDLE, "cpu", 10.0, {"restoring": 6.0})
    assert paces.of(BUNDLE, "cuda") is None
    assert paces.of(BUNDLE[::-1], "cpu") is None


@pytest.mark.parametrize("content", ["{", '{"x": 3}', '{"0123456789abcdef cpu": {"network": -1.0}}', "[]"])
def test_a_damaged_file_is_nothing_known(tmp_path, content):
    file = tmp_path / "paces.json"
    file.write_text(content)
    assert StagePaces(file).of(BUNDLE, "cpu") is None
    StagePaces(file).learn(BUNDLE, "cpu", 10.0, {"restoring": 2.0})
    assert StagePaces(file).of(BUNDLE, "cpu") == {"restoring": pytest.approx(1.0)}


def test_where_nothing_can_be_kept_the_run_goes_on(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    StagePaces(tmp_path / "file" / "paces.json").learn(BUNDLE, "cpu", 10.0, {"restoring": 2.0})


def test_a_run_is_told_by_the_size_of_its_scans_and_learnt_from_but_for_what_was_skipped(tmp_path):
    now = [0.0]
    paces = StagePaces(tmp_path / "paces.json")
    paces.learn(BUNDLE, "cpu", 10.0, expected_seconds("cpu", 10.0))
    progress = RunProgress({}, clock=lambda: now[0])
    forecast = Forecast(progress, paces, BUNDLE, "cpu")
    progress.update("reading", 0.0)
    progress.update("checking", 0.0)
    forecast.has_scans(40_000_000)
    expected = expected_seconds("cpu", 40.0)
    left = sum(seconds for stage, seconds in expected.items() if stage != "reading")
    assert progress.update("checking", 0.0).seconds_left == pytest.approx(left, abs=0.1)
    now[0] += 0.01
    progress.update("network", 0.0)
    now[0] += 2 * expected["network"]
    progress.update("network", 1.0)
    forecast.learn("checking")
    kept = json.loads((tmp_path / "paces.json").read_text())[f"{BUNDLE[:16]} cpu"]
    assert kept["checking"] == pytest.approx(1.0)
    assert kept["network"] == pytest.approx(2.0**0.7)
