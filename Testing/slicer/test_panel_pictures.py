"""The phantom pair through the whole panel with the starter bundle, and a picture of the panel in each state.

The pictures of docs/ are made by
    CROSSMODALSEG_PICTURES=docs .venv/bin/python -m pytest Testing/slicer/test_panel_pictures.py
They show the panel on the stand-in for Slicer's desktop: fonts and styles differ from Slicer's.
"""

import os
import signal
from pathlib import Path

import pytest
from scene_volumes import add_volume

from CrossModalSegLib.volume import read_volume
from Testing.slicer.test_panel import MODULE, Panel

SAMPLES = MODULE.parent / "Resources" / "SampleData"
WIDTH = 560


@pytest.fixture
def pictures(tmp_path):
    folder = Path(os.environ.get("CROSSMODALSEG_PICTURES", tmp_path))
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.slow
def test_the_phantom_goes_through_the_panel_from_the_choice_to_the_review(desktop, pictures):
    panel = Panel(desktop, "brain-mr-pair")

    def picture(name):
        path = desktop.screenshot(desktop.panel.parent, pictures / f"panel-{name}.png", WIDTH)
        assert path.stat().st_size > 10_000

    picture("empty")
    for name in ("T1w", "T2w"):
        scan = read_volume(SAMPLES / f"phantom_{name}.nrrd", name)
        add_volume(desktop.scene, scan.grid, scan.array, f"phantom {name}")
    panel.settle()
    assert panel.ui.secondSelector.currentNode().GetName() == "phantom T2w"
    picture("ready")
    panel.segment()
    panel.wait(lambda: "left" in panel.ui.statusLabel.text, 120)
    picture("running")
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    picture("cancelled")
    panel.ui.segmentButton.click()
    os.kill(panel.worker_pid(), signal.SIGKILL)
    panel.wait_for_end()
    picture("failed")
    panel.ui.segmentButton.click()
    panel.wait_for_end(280)
    assert "Done" in panel.ui.statusLabel.text
    assert panel.ui.resultTable.rowCount == 32
    panel.ui.nextButton.click()
    assert panel.ui.layoutButton.checked
    panel.ui.modelSection.collapsed = panel.ui.scansSection.collapsed = True
    picture("result")
    panel.ui.secondSelector.setCurrentNode(None)
    panel.settle()
    panel.ui.scansSection.collapsed = False
    panel.ui.resultSection.collapsed = panel.ui.reviewSection.collapsed = True
    panel.ui.correctSection.collapsed = panel.ui.siteSection.collapsed = False
    panel.ui.siteFolderEdit.text = "/data/site"
    picture("correct")
