"""What the sections show, and what a user's wishes lead to, without any view: the states that panel and page draw."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from results_in_scene import add_result
from scans_in_scene import ELSEWHERE, SECOND_GRID, add_head

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.process.run_state import Outcome, RunState, RunStatus
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.node_geometry import from_world, local_grid
from CrossModalSegApp.scene.scene_io import voxels_of
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegLib.errors import WorkerError
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.models import MODELS
from Testing.presented import Presented
from Testing.tiny_bundle import LABEL_MAP, intensity_bundle


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    intensity_bundle(folder / "quick", (32, 36, 32), 4.0)
    return folder


@pytest.fixture
def view(mrml_scene, bundles, monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundles))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    logic = SegmentationLogic(mrml_scene, WorkerClient(SubprocessWorkerProcess))
    shown = Presented(logic, "quick")
    shown.logic = logic
    yield shown
    logic.close()


@pytest.fixture
def pair(mrml_scene, view):
    nodes = {"T1w": add_head(mrml_scene, "T1w"), "T2w": add_head(mrml_scene, "T2w", SECOND_GRID)}
    view.scans.choose(nodes)
    return nodes


@pytest.fixture
def case(mrml_scene, view, pair):
    result = add_result(mrml_scene, pair, view.logic.bundle("quick"))
    view.sections.result.fill()
    return result


def as_if(view, **status):
    """The run is said to be there."""
    view.logic._tracker._set(replace(RunStatus(), **status))
    return view.sections.run.state


# --- the run


def test_a_state_is_a_value(view):
    with pytest.raises(FrozenInstanceError):
        view.sections.run.state.percent = 3
    assert view.sections.run.state == view.sections.run.state


def test_why_nothing_can_be_segmented_is_said(mrml_scene, view, pair):
    view.scans.choose({})
    assert view.sections.run.state.reason == "Choose one or two scans of one patient."
    view.scans.choose(pair)
    assert (view.sections.run.state.reason, view.sections.run.state.can_start) == (
        "The scans are being examined.",
        False,
    )
    view.scans.examine()
    assert (view.sections.run.state.reason, view.sections.run.state.can_start) == ("", True)
    view.scans.choose(pair | {"T2w": add_head(mrml_scene, "far", ELSEWHERE)})
    view.scans.examine()
    assert "do not overlap" in view.sections.run.state.reason
    assert not view.sections.run.state.can_start


def test_a_run_says_what_it_does_how_far_it_is_and_how_it_ended(view):
    running = as_if(view, state=RunState.RUNNING, stage="network", fraction=0.254, seconds_left=130)
    assert (running.words, running.percent) == ("Network – about 2 min left", 25)
    assert (running.is_idle, running.is_cancellable, running.can_start) == (False, True, False)
    assert not as_if(view, state=RunState.IMPORTING).is_cancellable
    failed = as_if(view, outcome=Outcome.FAILED, error=WorkerError("worker-died", "It died.", "try again"))
    assert (failed.error, failed.hint, failed.outcome) == ("It died.", "Try again.", "")
    assert as_if(view, outcome=Outcome.CANCELLED).outcome == "Cancelled. The scene is as it was."
    assert as_if(view, outcome=Outcome.CANCELLED, reason="Because.").outcome == "Cancelled. Because."


def test_done_is_said_of_the_result_that_is_shown_only(view, case):
    assert as_if(view, outcome=Outcome.DONE).outcome == f"Done. {case.notice}"
    view.sections.result.choose("")
    assert view.sections.run.state.outcome == ""


def test_a_corrected_result_is_not_segmented_again_without_asking(view, case):
    view.scans.examine()
    labels = case.labels("T1w", LABEL_MAP)
    labels[labels == LABEL_MAP.values[0]] = 0
    replace_labels(case.segmentations["T1w"], case.volumes["T1w"], labels)
    view.answers = [False]
    view.sections.run.start()
    assert "corrected segmentation" in view.asked[0]
    assert view.logic.status.state is RunState.IDLE
    assert view.sections.run.state.can_start


# --- result and review


def test_a_new_result_is_shown_and_one_that_goes_gives_way_to_another(mrml_scene, view, case):
    result = view.sections.result
    assert (result.state.current, result.state.files) == ("run", ("T1w", "T2w"))
    assert result.state.columns[:2] == ("structure", "T1w volume (mL)")
    other = add_result(mrml_scene, case.volumes, view.logic.bundle("quick"), "another")
    result.fill()
    assert result.state.current == "another"
    other.remove()
    result.fill()
    assert result.state.current == "run"
    result.choose("nonsense")
    assert (result.state.current, result.state.rows) == ("", ())


def test_the_result_of_the_chosen_scans_is_followed(view, case):
    view.sections.result.follow({"T1w": case.volumes["T1w"]})
    assert view.sections.result.case is None
    view.sections.result.follow(case.volumes)
    assert view.sections.result.state.current == "run"


@pytest.mark.usefixtures("case")
def test_places_are_gone_through_and_ticked(view):
    review = view.sections.review
    assert review.state.is_shown
    assert [row.number for row in review.state.entries] == [1, 2, 3]
    assert review.state.entries[0].reason == "uncertain in T1w, T2w (1.0 mL)"
    review.go_next()
    review.go_next()
    assert (review.state.current, view.places[-1]) == (2, (10.0, -10.0, 15.0))
    review.tick(2, True)
    assert (review.state.count, review.state.entries[1].is_done) == ("1 of 3 done", True)
    view.sections.result.choose("")
    assert not review.state.is_shown


def test_a_place_is_marked_once_something_was_corrected_there_and_no_longer_when_it_is_taken_back(view, case):
    review, node, volume = view.sections.review, case.segmentations["T2w"], case.volumes["T2w"]
    assert not any(row.is_corrected for row in review.state.entries)
    before = marked_labels(node, volume)
    inside = local_grid(volume).ras_to_ijk @ [*from_world(volume, np.array([18.0, -10.0, 15.0])), 1.0]
    i, j, k = np.rint(inside[:3]).astype(int)
    after = before.copy()
    after[k, j, i] = next(one.value for one in LABEL_MAP.structures if one.value != before[k, j, i])
    replace_labels(node, volume, after)
    review.look()
    assert [row.is_corrected for row in review.state.entries] == [False, False, True], "places lie 5 mm apart"
    replace_labels(node, volume, before)
    review.go_next()
    assert not any(row.is_corrected for row in review.state.entries)


# --- the site


def test_a_folder_is_not_read_while_it_is_typed(view, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(view.logic, "site_work", lambda folder, _limit: read.append(folder))
    site, text = view.sections.site, str(tmp_path / "site")
    for end in range(1, len(text) + 1):
        site.type_folder(text[:end])
    assert read == []
    site.choose_folder(text)
    site.choose_folder(text)
    assert read == [tmp_path / "site"]


def test_a_folder_of_which_nobody_knows_where_it_is_gives_way_to_the_one_in_use(view, tmp_path):
    site = view.sections.site
    site.choose_folder(str(tmp_path))
    site.type_folder("somewhere")
    site.choose_folder("somewhere")
    assert [error.code for error in view.errors] == ["relative-folder"]
    assert (site.state.folder, site.state.refused) == (str(tmp_path), 1)


def test_scans_are_added_and_the_work_list_says_so(view, pair, tmp_path):
    site = view.sections.site
    assert not site.state.can_add
    site.choose_folder(str(tmp_path / "site"))
    assert (site.state.can_add, site.state.can_save, site.state.cases) == (True, False, ())
    site.add_unlabelled()
    assert site.state.message.startswith("Added without labels: ")
    assert site.state.summary.startswith("1 case: 1 unlabelled")
    (row,) = site.state.cases
    assert row.id.startswith(row.name)
    site.add_unlabelled()
    assert site.state.message.startswith("These scans are in the site folder already: ")
    view.scans.choose({"T1w": pair["T1w"]})
    site.add_unlabelled()
    assert f"A scan of it is one of {row.name}, under another patient" in site.state.message
    site.open_case(row.id)
    assert view.scans.volumes != pair


@pytest.mark.usefixtures("case")
def test_what_nobody_has_changed_is_saved_only_where_somebody_confirms_it(view, tmp_path):
    site, store = view.sections.site, CaseStore(tmp_path / "site")
    site.choose_folder(str(tmp_path / "site"))
    site.save_correction()
    assert [error.code for error in view.errors] == ["no-initials"]
    site.choose_author("AB")
    view.answers = [False, True]
    site.save_correction()
    assert "Nothing was changed" in view.asked[-1]
    assert not store.folder.exists()
    site.save_correction()
    assert site.state.message.startswith("Correction saved: ")
    site.approve()
    assert "is approved" in site.state.message
    assert store.cases()[0].status == "approved"


@pytest.mark.usefixtures("pair")
def test_models_of_the_site_are_listed_and_ranking_and_fine_tuning_need_cases_and_a_model(view, tmp_path):
    site, ranking, fine_tuning = view.sections.site, view.sections.ranking, view.sections.fine_tuning
    site.choose_folder(str(tmp_path / "site"))
    assert not ranking.state.is_enabled
    assert not fine_tuning.state.is_enabled
    site.add_unlabelled()
    assert ranking.state.is_enabled
    assert fine_tuning.state.is_enabled
    intensity_bundle(tmp_path / "site" / MODELS / "of-the-site", (32, 36, 32), 4.0)
    site.look()
    assert "of-the-site" in [name for name, _title in view.scans.state.models]
    assert (ranking.state.button, fine_tuning.state.button) == ("Sort by expected benefit", "Fine-tune the model")


def test_progress_reads_no_model(view, monkeypatch):
    monkeypatch.setattr(view.logic, "bundles", lambda: pytest.fail("models are read when they are listed"))
    as_if(view, state=RunState.RUNNING, stage="network", fraction=0.5)
    view.sections.fine_tuning.changed()
    assert view.sections.fine_tuning.state.previous == ""


def test_a_structure_is_measured_in_both_scans_as_it_is_now(view, case):
    legend, name = view.sections.legend, LABEL_MAP.structures[0].name
    value, node, volume = LABEL_MAP.structures[0].value, case.segmentations["T1w"], case.volumes["T1w"]
    legend.choose(value)
    labels = marked_labels(node, volume)
    voxels = voxels_of(volume)[labels == value]
    ml = voxels.size * local_grid(volume).voxel_volume_ml
    said = f"T1w: {ml:.2f} mL, intensity {voxels.mean():.4g} ± {voxels.std():.3g}"
    assert legend.state.name == name
    assert legend.state.measures[0] == said
    assert legend.state.measures[1].startswith("T2w: ")
    labels[labels == value] = 0
    replace_labels(node, volume, labels)
    view.sections.look_at_corrections()
    assert legend.state.measures[0] == "T1w: nothing"


@pytest.mark.usefixtures("case")
def test_the_distance_from_a_mark_is_said_until_it_is_taken_away(view):
    place = view.sections.place
    place.point_at((1.0, 2.0, 3.0))
    place.set_mark()
    place.point_at((4.0, 6.0, 15.0))
    assert place.state.distance == "13.0 mm from the mark"
    place.set_mark()
    assert place.state.distance == ""
