"""The legend and the line of what is below the mouse, in the panel on a stand-in for the desktop."""

import tempfile

import numpy as np
import pytest
from PySide6.QtCore import Qt
from results_in_scene import add_result
from scans_in_scene import FIRST_GRID, SECOND_GRID, add_head

from Testing.slicer.qt.test_panel import Panel, bundles  # noqa: F401
from Testing.tiny_bundle import BALLS, RIGHT

NAME = "right bright ball"


@pytest.fixture
def panel(desktop, bundles, monkeypatch, tmp_path, layout_logic):  # noqa: F811
    del layout_logic  # there is a main window, with a layout
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundles))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    return Panel(desktop, "quick")


@pytest.fixture
def case(desktop, panel):
    """A result that is shown."""
    pair = {"T1w": add_head(desktop.scene, "T1w", FIRST_GRID), "T2w": add_head(desktop.scene, "T2w", SECOND_GRID)}
    result = add_result(desktop.scene, pair, panel.logic.bundle("quick"))
    panel.wait(lambda: panel.ui.caseSelector.count == 1)
    return result


def is_shown(case, value):
    displays = [node.GetDisplayNode() for node in case.segmentations.values()]
    return [bool(display.GetSegmentVisibility(f"Segment_{value}")) for display in displays]


def names(panel):
    table = panel.ui.legendTable
    return [table.item(row, 1).text() for row in range(table.rowCount)]


def test_ticks_hide_and_show_a_structure_of_both_scans(panel, case):
    ui = panel.ui
    row = names(panel).index(NAME)
    assert is_shown(case, RIGHT) == [True, True]
    ui.legendTable.item(row, 0).setCheckState(Qt.CheckState.Unchecked)
    assert is_shown(case, RIGHT) == [False, False]
    assert ui.legendCountLabel.text == "2 of 3 shown"
    ui.legendAllButton.click()
    assert is_shown(case, RIGHT) == [True, True]


@pytest.mark.slow
def test_what_is_hidden_in_slicers_own_table_is_hidden_in_the_legend(panel, case):
    first = next(iter(case.segmentations.values()))
    first.GetDisplayNode().SetSegmentVisibility(f"Segment_{RIGHT}", False)
    row = names(panel).index(NAME)
    assert panel.ui.legendTable.item(row, 0).checkState() == Qt.CheckState.Unchecked


@pytest.mark.slow
def test_a_search_lists_and_only_this_one_hides_the_others(panel, case):
    ui = panel.ui
    ui.legendSearch.setText("Right")
    assert names(panel) == [NAME]
    ui.legendTable.cellClicked.emit(0, 1)
    assert ui.segmentEditor.currentSegmentID() == f"Segment_{RIGHT}"
    ui.legendSearch.setText("")
    ui.legendOnlyButton.click()
    shown = [is_shown(case, structure.value) for structure in panel.logic.bundle("quick").label_map.structures]
    assert shown == [[False, False], [False, False], [True, True]]
    ui.legendOpacitySlider.value = 40
    display = case.segmentations["T2w"].GetDisplayNode()
    assert display.GetSegmentOpacity2DOutline(f"Segment_{RIGHT}") == pytest.approx(0.4)


@pytest.mark.slow
def test_the_structure_that_is_chosen_in_the_editor_is_the_one_of_the_legend(panel, case):
    assert case
    panel.ui.segmentEditor.setCurrentSegmentID(f"Segment_{RIGHT}")
    panel.ui.segmentEditor.mrmlSegmentEditorNode().SetSelectedSegmentID(f"Segment_{RIGHT}")
    assert NAME in panel.ui.legendOpacityLabel.text


def test_the_line_says_what_is_at_the_crosshair(desktop, panel, case):
    crosshair = desktop.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCrosshairRAS(*BALLS[RIGHT])
    crosshair.SetCrosshairMode(crosshair.ShowBasic)
    panel.wait(lambda: panel.ui.placeLabel.text.startswith("R 27.0  P 5.0  S 20.0 mm"))
    label_map = panel.logic.bundle("quick").label_map
    for modality, grid in (("T1w", FIRST_GRID), ("T2w", SECOND_GRID)):
        i, j, k = np.rint(grid.ras_to_ijk @ [*BALLS[RIGHT], 1])[:3].astype(int)
        value = int(case.labels(modality, label_map)[k, j, i])
        assert f"{modality} 1000 {label_map.by_value(value).name}" in panel.ui.placeLabel.text
