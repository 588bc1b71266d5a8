"""Adapting around strokes, on nodes of a real scene: which voxels count as drawn, what changes, and what is told."""

import numpy as np
import pytest
from results_in_scene import add_result

from CrossModalSegApp.logic.adapt_presenter import AdaptPresenter
from CrossModalSegApp.logic.presenter import Host
from CrossModalSegApp.scene.local_rerun import LocalRerun
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from Testing.slicer.logic.test_presenters import bundles, pair, view  # noqa: F401

STROKE = (slice(2, 4), slice(10, 14), slice(10, 20))


@pytest.fixture
def case(mrml_scene, pair, view):  # noqa: F811
    return add_result(mrml_scene, pair, view.logic.bundle("quick"))


@pytest.fixture
def presenter(view, case):  # noqa: F811
    found = AdaptPresenter(Host(view, lambda: "cpu"), lambda labels: put(case, labels))
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
    rerun = LocalRerun()
    drawn = paint(case)
    first = rerun.adapt(case, "T1w", None)
    put(case, first.labels)
    assert rerun.adapt(case, "T1w", None).drawn == first.drawn
    put(case, drawn)
    again = rerun.adapt(case, "T1w", None)
    assert (again.drawn, again.changed) == (first.drawn, first.changed)
    np.testing.assert_array_equal(again.labels, first.labels)


def test_without_strokes_it_says_so_and_without_the_models_own_result_it_cannot_start(presenter, case):
    presenter.start()
    assert presenter.state.words.startswith("Nothing was drawn yet")
    assert presenter.state.can_start
    case.models.clear()
    presenter.changed()
    assert not presenter.state.can_start
