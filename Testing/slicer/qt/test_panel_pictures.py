"""The phantom pair through the whole panel with the starter bundle, and a picture of the panel in each state.

The pictures of docs/ are made by
    CROSSMODALSEG_PICTURES=docs .venv/bin/python -m pytest Testing/slicer/qt/test_panel_pictures.py
They show the panel on the stand-in for Slicer's desktop: fonts and styles differ from Slicer's.
"""

import json
import os
import signal
from pathlib import Path

import pytest
from scene_volumes import add_volume

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import Volume, read_volume
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.work_list import CaseScore, Ranking, write_ranking
from Testing.slicer.process.test_fine_tuning import library_with
from Testing.slicer.qt.test_panel import MODULE, Panel
from Testing.slicer.results_in_scene import add_result, found_displaced
from Testing.tiny_bundle import intensity_bundle
from Testing.web_page import RUN_SECONDS

SAMPLES = MODULE.parent / "Resources" / "SampleData"
WIDTH = 560


@pytest.fixture
def pictures(tmp_path):
    folder = Path(os.environ.get("CROSSMODALSEG_PICTURES", tmp_path)).resolve()
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_phantom_goes_through_the_panel_from_the_choice_to_the_review(desktop, pictures):
    panel = Panel(desktop, "brain-mr-pair")

    def picture(name):
        path = desktop.screenshot(desktop.panel.parent, pictures / f"panel-{name}.png", WIDTH)
        assert path.stat().st_size > 10_000

    picture("empty")
    add_phantom(desktop.scene)
    panel.settle()
    assert panel.ui.secondSelector.currentNode().GetName() == "phantom T2w"
    picture("ready")
    panel.segment()
    panel.wait(lambda: "left" in panel.ui.statusLabel.text, RUN_SECONDS)
    picture("running")
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    picture("cancelled")
    panel.ui.segmentButton.click()
    os.kill(panel.worker_pid(), signal.SIGKILL)
    panel.wait_for_end()
    picture("failed")
    panel.ui.segmentButton.click()
    panel.wait_for_end(RUN_SECONDS)
    assert "Done" in panel.ui.statusLabel.text
    assert panel.ui.resultTable.rowCount == 32
    panel.ui.nextButton.click()
    assert panel.ui.layoutButton.checked
    panel.ui.modelSection.collapsed = panel.ui.scansSection.collapsed = True
    picture("result")


def add_phantom(scene):
    """Both scans of the phantom, by modality."""
    scans = {name: read_volume(SAMPLES / f"phantom_{name}.nrrd", name) for name in ("T1w", "T2w")}
    return {name: add_volume(scene, scan.grid, scan.array, f"phantom {name}") for name, scan in scans.items()}


@pytest.mark.slow
def test_aligning_and_correcting_are_pictured(desktop, pictures, monkeypatch, tmp_path):
    """On a result that no model has made, so that it takes seconds."""
    monkeypatch.chdir(tmp_path)  # so that the folder's name in the pictures is short
    panel = Panel(desktop, "brain-mr-pair")
    scans = add_phantom(desktop.scene)
    panel.settle()
    panel.ui.modelSection.collapsed = True
    found_displaced(panel, 9.0)
    panel.remedy("refine").click()
    assert "moved by 9.0 mm" in panel.ui.previewLabel.text
    assert not panel.ui.segmentButton.enabled, "before Keep or Undo"
    desktop.screenshot(desktop.panel.parent, pictures / "panel-aligning.png", WIDTH)
    panel.ui.undoAlignmentButton.click()
    add_result(desktop.scene, scans, panel.logic.bundle("brain-mr-pair"))
    panel.wait(lambda: panel.ui.caseSelector.count == 1)
    for section in ("scans", "preflight", "result", "review"):
        getattr(panel.ui, f"{section}Section").collapsed = True
    panel.ui.correctSection.collapsed = panel.ui.siteSection.collapsed = False
    panel.ui.segmentEditor.setActiveEffectByName("Paint")
    panel.choose_site("our-site")
    desktop.screenshot(desktop.panel.parent, pictures / "panel-correct.png", WIDTH)


# What the command says of a site with two corrected cases; in its place, because a fine-tuning takes minutes.
ADAPTING = """
import json, time
for text in ("2 corrected cases of 2 patients, 4 cases without labels, 32 structures",
             "few corrected cases: 2 trainings each leave out a part, the last one learns from all",
             "against forgetting: 1 frozen case"):
    print(json.dumps({"event": "message", "id": "", "text": text}), flush=True)
print(json.dumps({"event": "progress", "id": "", "stage": "training final", "fraction": 0.2, "overall": 0.55,
                  "seconds_left": 400.0, "words": "step 96 of 240, loss 0.412"}), flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_adapting_is_pictured_at_work_and_with_the_new_model_that_it_offers(desktop, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # so that the folder's name in the pictures is short
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    panel = Panel(desktop, "brain-mr-pair")
    phantom_site(tmp_path / "our-site")
    for section in ("model", "scans", "preflight", "result", "review", "correct"):
        getattr(panel.ui, f"{section}Section").collapsed = True
    panel.ui.siteSection.collapsed = False
    panel.choose_site("~/our-site")
    panel.ui.budgetSpin.value = 15
    panel.logic._worker._library = library_with(tmp_path / "library", ADAPTING)
    panel.ui.fineTuneButton.click()
    panel.wait(lambda: "7 min left" in panel.ui.fineTuneLabel.text)
    desktop.screenshot(desktop.panel.parent, pictures / "panel-adapting.png", WIDTH)
    panel.ui.fineTuneButton.click()
    finished_run(tmp_path / "our-site", panel.logic.bundle("brain-mr-pair").sha256)
    panel.logic.fine_tuning.status = type(panel.logic.fine_tuning.status)()  # as after the module was opened anew
    panel.ui.refreshSiteButton.click()
    assert "may be better" in panel.ui.fineTuneLabel.text
    panel.ui.useModelButton.click()
    assert panel.ui.previousModelButton.text == "Back to brain-mr-pair"
    desktop.screenshot(desktop.panel.parent, pictures / "panel-adapted.png", WIDTH)


def phantom_site(folder):
    """Two corrected cases and four that wait, all of the phantom."""
    store, bundle = CaseStore(folder), load_bundle("brain-mr-pair")
    store.create(bundle.label_map, bundle.modalities)
    labels, grid, _ = read_segmentation(SAMPLES / "phantom_labels.nrrd")
    facts = {"name": bundle.name, "modalities": list(bundle.modalities)}
    for number in range(6):
        scans = {name: read_volume(SAMPLES / f"phantom_{name}.nrrd", name) for name in bundle.modalities}
        volumes = {name: Volume(scan.array + number, scan.grid, name) for name, scan in scans.items()}
        case = CaseFiles(volumes, {"T1w": (labels, grid)} if number < 2 else {}, bundle.label_map, facts, f"{number}")
        if case.labels:
            store.save_correction(case)
        else:
            store.add_unlabelled(case)
    waiting = [case.id for case in store.cases() if not case.labels]
    scores = {one: CaseScore(0.31 - 0.04 * n, 0.18 - 0.03 * n, (float(n),)) for n, one in enumerate(waiting)}
    write_ranking(folder, Ranking("brain-mr-pair", scores))


def finished_run(site, parent):
    """A run whose gate could not tell the gain from chance."""
    folder = site / "runs" / "20260101-000000"
    candidate = intensity_bundle(folder / "brain-mr-pair-site-1", spacing=3.0, parent=parent)
    reason = "the gain of +0.041 may be chance: its 90% interval is -0.012 to +0.094"
    verdict = {"decision": "insufficient-evidence", "reasons": [reason]}
    (folder / "plan.json").write_text("{}")
    (folder / "report.html").write_text("<html></html>")
    (folder / "metrics.json").write_text(json.dumps({"verdict": verdict, "candidate": {"name": candidate.name}}))
