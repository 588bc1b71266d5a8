"""Window and level of scans: presets, numbers and drags, on volumes of a real scene."""

import numpy as np
import pytest

from CrossModalSegApp.logic.presenter import Host
from CrossModalSegApp.logic.windows_presenter import WindowsPresenter
from CrossModalSegApp.scene.scene_io import add_volume
from CrossModalSegApp.scene.windows import PRESETS
from Testing.volumes import grid_around

GRID = grid_around((0.0, 0.0, 0.0), (40, 40, 40), (3.0, 3.0, 3.0))


@pytest.fixture
def windows(mrml_scene):
    """A CT with air at -1000 HU and a body from -100 to 299 HU, and a T1w with a body of 100 to 499."""
    body = np.zeros(GRID.shape_kji, bool)
    body[8:32, 8:32, 8:32] = True
    ramp = np.arange(body.sum()) % 400
    arrays = {"CT": np.full(body.shape, -1000, np.int16), "T1w": np.zeros(body.shape, np.int16)}
    arrays["CT"][body], arrays["T1w"][body] = ramp - 100, ramp + 100
    made = WindowsPresenter(Host(None, lambda: "cpu"))
    made.show({name: add_volume(mrml_scene, array, GRID, name) for name, array in arrays.items()})
    return made


def shown(windows, modality):
    (scan,) = [one for one in windows.state.scans if one.modality == modality]
    return float(scan.window), float(scan.level), scan.preset


def test_a_ct_is_offered_those_of_ct_and_they_are_hounsfield_units(windows):
    ct, t1 = windows.state.scans
    assert [one for one, _title in ct.presets] == ["automatic", "ct-brain", "ct-bone", "ct-abdomen", "ct-lung"]
    assert [one for one, _title in t1.presets] == ["automatic", "brain-t1", "brain-t2", "brain-flair"]
    for preset, expected in (("ct-brain", (80, 40)), ("ct-bone", (2000, 500)), ("ct-lung", (1500, -600))):
        windows.choose("CT", preset)
        assert shown(windows, "CT") == (*expected, preset)
    assert PRESETS.keys() >= {one for scan in windows.state.scans for one, _title in scan.presets[1:]}


def test_a_preset_of_mr_goes_by_the_body_s_intensities_not_by_the_air(windows):
    windows.choose("T1w", "brain-t1")
    window, level, preset = shown(windows, "T1w")
    assert (window, level) == pytest.approx((0.98 * 400, 300), abs=6)
    assert preset == "brain-t1"


def test_what_is_set_by_numbers_or_a_drag_is_no_preset_any_more_and_as_at_first_leads_back(windows):
    before = shown(windows, "CT")
    windows.choose("CT", "ct-abdomen")
    windows.drag(0, 10, -20)  # a pixel is a 500th of the range from -1000 to 299
    assert shown(windows, "CT") == (pytest.approx(400 + 10 * 1299 / 500), pytest.approx(50 - 20 * 1299 / 500), "")
    windows.set("CT", 123.0, 7.0)
    assert shown(windows, "CT") == (123, 7, "")
    windows.choose("CT", "automatic")
    assert shown(windows, "CT") == (*before[:2], "automatic")
    assert shown(windows, "T1w")[2] == "automatic"
