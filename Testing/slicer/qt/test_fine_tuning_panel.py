"""Adapting the model from the panel, on the stand-in for Slicer's desktop. The process that adapts is a few lines."""

import json
import tempfile

import pytest

from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.work_list import read_ranking
from Testing.slicer.process.test_fine_tuning import add_run, stub
from Testing.slicer.qt.test_panel import Panel
from Testing.tiny_bundle import LABEL_MAP, intensity_bundle
from Testing.tiny_site import make_site

PROGRESS = 'step(0.25, 240); time.sleep(0 if "--resume" in sys.argv else 600)\n'
DONE = 'say("done", decision="promote", reasons=["mean Dice"], report="/site/report.html", bundle="/nowhere")\n'


@pytest.fixture
def site(tmp_path):
    CaseStore(tmp_path / "site").create(LABEL_MAP, ("T1w", "T2w"))
    return tmp_path / "site"


@pytest.fixture
def panel(desktop, site, monkeypatch, tmp_path):
    bundles = tmp_path / "bundles"
    intensity_bundle(bundles / "quick", (32, 36, 32), 4.0)
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundles))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shown = Panel(desktop, "quick")
    shown.choose_site(str(site))
    return shown


def use_stub(panel, tmp_path, body):
    """In the place of the library that the panel's processes use."""
    panel.logic._worker._library = stub(tmp_path, body)


def models(panel):
    return [panel.ui.modelSelector.itemText(n).split()[0] for n in range(panel.ui.modelSelector.count)]


def test_without_a_site_there_is_nothing_to_adapt(panel):
    assert panel.ui.fineTuneButton.enabled
    panel.choose_site("")
    assert not panel.ui.fineTuneButton.enabled
    assert not panel.ui.useModelButton.enabled


def test_a_site_that_is_gone_is_told_and_gives_nothing_to_adapt_until_it_is_back(panel, monkeypatch):
    def gone(_store):
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as share:
        share.setattr(CaseStore, "readable_cases", gone)
        panel.ui.refreshSiteButton.click()
        assert "Stale file handle" in panel.ui.workLabel.text
        assert not panel.ui.fineTuneButton.enabled
    panel.ui.refreshSiteButton.click()
    assert "0 cases" in panel.ui.workLabel.text
    assert panel.ui.fineTuneButton.enabled


def test_adapting_shows_plan_and_time_left_and_can_be_cancelled_and_gone_on_with(desktop, panel, site, tmp_path):
    use_stub(panel, tmp_path, PROGRESS)
    panel.ui.budgetSpin.value = 15
    panel.ui.fineTuneButton.click()
    panel.wait(lambda: "4 min left" in panel.ui.fineTuneLabel.text)
    assert "Training final: step 1 of 2" in panel.ui.fineTuneLabel.text
    assert "--base" in panel.ui.fineTuneLabel.text
    assert "--budget 15" in panel.ui.fineTuneLabel.text
    assert panel.ui.fineTuneBar.value == 25
    assert panel.ui.modelSection.enabled, "the user goes on working"
    assert panel.ui.fineTuneButton.text == "Cancel fine-tuning"
    panel.ui.fineTuneButton.click()
    assert "Stopped" in panel.ui.fineTuneLabel.text
    assert panel.ui.fineTuneBar.isHidden()
    (site / "runs" / "1").mkdir(parents=True)
    (site / "runs" / "1" / "plan.json").write_text("{}")  # as the command would have left it
    desktop.dialogs.answer("yes")
    panel.ui.fineTuneButton.click()
    panel.wait(lambda: "ended unexpectedly" in panel.ui.fineTuneLabel.text)
    assert "stopped before its end" in desktop.dialogs.texts()[-1]


def test_the_aim_is_a_choice_and_off_unless_it_is_made(panel, tmp_path):
    use_stub(panel, tmp_path, PROGRESS)
    assert not panel.ui.keepGeneralCheck.checked
    panel.ui.fineTuneButton.click()
    panel.wait(lambda: "--budget" in panel.ui.fineTuneLabel.text)
    assert "--keep-general" not in panel.ui.fineTuneLabel.text
    assert not panel.ui.keepGeneralCheck.enabled, "it is decided"
    panel.ui.fineTuneButton.click()
    panel.ui.keepGeneralCheck.checked = True
    panel.ui.fineTuneButton.click()
    panel.wait(lambda: "--keep-general" in panel.ui.fineTuneLabel.text)
    panel.ui.fineTuneButton.click()


def test_what_was_gained_and_what_it_costs_is_told_in_two_sentences(panel, site):
    run = add_run(site, "promote")
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"summary": ["It gains <much>.", "It loses little."]}))
    panel.ui.refreshSiteButton.click()
    assert "better for this site" in panel.ui.fineTuneLabel.text
    assert "It gains &lt;much&gt;.<br>It loses little." in panel.ui.fineTuneLabel.text


def test_an_error_is_shown_with_its_hint(panel, tmp_path):
    use_stub(panel, tmp_path, 'say("error", code="site-data", message="no <labels>", hint="add some"); sys.exit(2)')
    panel.ui.fineTuneButton.click()
    panel.wait(lambda: "✖" in panel.ui.fineTuneLabel.text)
    assert "no &lt;labels&gt;" in panel.ui.fineTuneLabel.text
    assert "Add some." in panel.ui.fineTuneLabel.text


def test_the_new_model_is_offered_with_its_report_and_one_click_leads_back(panel, site, tmp_path):
    parent = panel.logic.bundle("quick").sha256
    use_stub(panel, tmp_path, DONE)
    run = add_run(site, "insufficient-evidence", parent)
    panel.ui.fineTuneButton.click()
    panel.wait(lambda: "report.html" in panel.ui.fineTuneLabel.text)
    assert (run / "report.html").resolve().as_uri() in panel.ui.fineTuneLabel.text
    assert "evidence is insufficient" in panel.ui.fineTuneLabel.text
    assert models(panel).count("tiny-site-1") == 0
    panel.ui.useModelButton.click()
    assert panel.ui.modelSelector.currentText.startswith("tiny-site-1")
    assert panel.ui.previousModelButton.text == "Back to quick"
    panel.ui.previousModelButton.click()
    assert panel.ui.modelSelector.currentText.startswith("quick")
    assert not panel.ui.previousModelButton.enabled


def test_a_model_that_would_be_worse_is_not_offered(panel, site):
    add_run(site, "keep")
    panel.ui.refreshSiteButton.click()
    assert "The model stays" in panel.ui.fineTuneLabel.text
    assert not panel.ui.useModelButton.enabled


def test_closing_the_panel_kills_the_process(desktop, panel, tmp_path):
    use_stub(panel, tmp_path, PROGRESS)
    panel.ui.fineTuneButton.click()
    panel.wait(lambda: "4 min left" in panel.ui.fineTuneLabel.text)
    process = panel.logic.fine_tuning._process
    desktop.reload()
    assert not process.is_running


# ordering the work list

SCORING = """
say("progress", stage="scoring the cases", fraction=0.25, overall=0.25, seconds_left=240, words="case 2 of 5")
time.sleep(600)
"""


def reasons(panel):
    table = panel.ui.workTable
    return [table.item(row, 2).text() for row in range(table.rowCount)]


@pytest.mark.slow
def test_the_work_list_has_an_order_after_one_click(panel, site):
    make_site(site, 0, 3)
    panel.ui.refreshSiteButton.click()
    assert reasons(panel) == ["not scored yet"] * 3
    panel.ui.rankButton.click()
    panel.wait(lambda: panel.ui.rankButton.text == "Sort by expected benefit")
    assert panel.ui.rankLabel.text == "Done: the work list is in order.<br>scored by quick: 3 cases"
    assert len(read_ranking(site).scores) == 3
    assert len([words for words in reasons(panel) if words.startswith("uncertainty")]) == 3


def test_ordering_says_how_far_it_is_and_can_be_cancelled(panel, tmp_path):
    use_stub(panel, tmp_path, SCORING)
    panel.ui.rankButton.click()
    panel.wait(lambda: "case 2 of 5" in panel.ui.rankLabel.text)
    assert "4 min left" in panel.ui.rankLabel.text
    assert panel.ui.rankButton.text == "Cancel sorting"
    panel.ui.rankButton.click()
    assert "Stopped" in panel.ui.rankLabel.text
    assert panel.ui.rankButton.text == "Sort by expected benefit"


def test_an_error_of_ordering_is_shown_with_its_hint(panel, tmp_path):
    use_stub(panel, tmp_path, 'say("error", code="damaged-cases", message="no <case>", hint="repair"); sys.exit(2)')
    panel.ui.rankButton.click()
    panel.wait(lambda: "✖" in panel.ui.rankLabel.text)
    assert "no &lt;case&gt;" in panel.ui.rankLabel.text


def test_there_is_nothing_to_order_without_a_site_or_while_the_model_is_adapted(panel, tmp_path):
    assert panel.ui.rankButton.enabled
    use_stub(panel, tmp_path, "time.sleep(600)")
    panel.ui.fineTuneButton.click()
    assert not panel.ui.rankButton.enabled
    panel.ui.fineTuneButton.click()
    assert panel.ui.rankButton.enabled
    panel.choose_site("")
    assert not panel.ui.rankButton.enabled
