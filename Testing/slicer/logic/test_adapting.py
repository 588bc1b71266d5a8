"""Adapting around strokes, on nodes of a real scene: which voxels count as drawn, what changes, and what is told."""

import numpy as np
import pytest
from results_in_scene import add_result

from CrossModalSegApp.logic.adapt_presenter import AdaptPresenter
from CrossModalSegApp.logic.fill_presenter import FillPresenter
from CrossModalSegApp.logic.presenter import Host
from CrossModalSegApp.scene.drawn_by_hand import DrawnByHand
from CrossModalSegApp.scene.local_rerun import rerun
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegLib.errors import LabelError
from Testing.slicer.logic.test_presenters import bundles, pair, view  # noqa: F401

STROKE = (slice(2, 4), slice(10, 14), slice(10, 20))


@pytest.fixture
def case(mrml_scene, pair, view):  # noqa: F811
    return add_result(mrml_scene, pair, view.logic.bundle("quick"))


@pytest.fixture
def presenter(view, case):  # noqa: F811
    found = AdaptPresenter(Host(view, lambda: "cpu"), DrawnByHand(), lambda labels: put(case, labels))
    found.show(case, "T1w")
    return found


def now(case):
    return marked_labels(case.segmentations["T1w"], case.volumes["T1w"])


def put(case, labels):
    replace_labels(case.segmentations["T1w"], case.volumes["T1w"], labels)


def paint(case, box=STROKE):
    labels = now(case)
    labels[box] = next(value for value in np.unique(labels).tolist() if value and value != labels[box].max())
    put(case, labels)
    return labels


def test_what_was_drawn_stays_and_the_scene_gets_what_the_summary_says(presenter, case):
    before = now(case)
    drawn = paint(case)
    other = marked_labels(case.segmentations["T2w"], case.volumes["T2w"])
    presenter.start()
    adapted = now(case)
    np.testing.assert_array_equal(adapted[STROKE], drawn[STROKE])
    count, changed = (drawn != before).sum(), (adapted != drawn).sum()
    assert presenter.state.words.startswith(f"{changed:,} voxels adapted to {count:,} that were drawn")
    np.testing.assert_array_equal(marked_labels(case.segmentations["T2w"], case.volumes["T2w"]), other)


def test_what_was_adapted_is_not_taken_for_drawn_also_after_a_step_back(case):
    by_hand = DrawnByHand()
    drawn = paint(case)
    first = rerun(case, "T1w", by_hand, None)
    put(case, first.labels)
    assert rerun(case, "T1w", by_hand, None).drawn == first.drawn
    put(case, drawn)
    again = rerun(case, "T1w", by_hand, None)
    assert (again.drawn, again.changed) == (first.drawn, first.changed)
    np.testing.assert_array_equal(again.labels, first.labels)


def test_segments_that_overlap_are_told_and_not_taken_for_nothing_drawn(presenter, case, view, monkeypatch):  # noqa: F811
    def overlap(*_given):
        raise LabelError("overlapping-segments", "two structures overlap", "remove one")

    monkeypatch.setattr("CrossModalSegApp.logic.adapt_presenter.rerun", overlap)
    ready, before = presenter.state, now(case)
    presenter.start()
    assert [error.code for error in view.errors] == ["overlapping-segments"]
    assert presenter.state == ready
    np.testing.assert_array_equal(now(case), before)


def test_without_strokes_it_says_so_and_without_the_models_own_result_it_cannot_start(presenter, case):
    presenter.start()
    assert presenter.state.words.startswith("Nothing was drawn yet")
    assert presenter.state.can_start
    case.models.clear()
    presenter.changed()
    assert not presenter.state.can_start


def test_filling_is_looked_at_kept_in_one_step_and_not_taken_for_drawn(view, case):  # noqa: F811
    regions, drawn = [], DrawnByHand()
    fill = FillPresenter(Host(view, lambda: "cpu"), drawn, lambda labels: put(case, labels), regions.append)
    fill.show(case, "T1w")
    before = now(case)
    ours = next(value for value in np.unique(before).tolist() if value and value != before[2, 12, 12])
    fill.note_structure(ours)
    fill.start()
    assert fill.state.words.startswith("Nothing to fill")
    painted = before.copy()
    painted[2, 10:16, 10:16] = painted[6, 10:16, 10:16] = ours
    put(case, painted)
    expected = painted.copy()
    expected[3:6, 10:16, 10:16] = np.where(np.isin(before[3:6, 10:16, 10:16], before[[2, 6], 12, 12]), ours, 0)
    fill.start()
    assert fill.state.is_preview
    np.testing.assert_array_equal(now(case), painted)
    np.testing.assert_array_equal(regions[-1].mask, expected != painted)
    fill.keep()
    np.testing.assert_array_equal(now(case), expected)
    assert regions[-1] is None
    by_hand = drawn.mask(case.segmentations["T1w"], now(case), before)
    np.testing.assert_array_equal(by_hand, painted != before)
    put(case, painted)
    fill.start()
    fill.note_change()
    assert not fill.state.is_preview, "somebody has drawn on"
