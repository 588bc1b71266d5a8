"""What a stroke has changed, back and again."""

import numpy as np
import pytest

from CrossModalSegApp.web.strokes import LabelChange

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("share", [1e-4, 0.02, 0.9])
def test_a_change_leads_back_and_again_to_the_same_labels(share):
    before = RANDOM.integers(0, 4, (12, 14, 16)).astype(np.uint16) * 100
    after = np.where(RANDOM.random(before.shape) < share, 300, before).astype(np.uint16)
    after[5, 6, 7] = 7
    change = LabelChange.between(before, after)
    labels = after.copy()
    change.apply(labels, back=True)
    np.testing.assert_array_equal(labels, before)
    change.apply(labels, back=False)
    np.testing.assert_array_equal(labels, after)


def test_gains_are_counted_by_structure_also_where_as_many_come_as_go():
    before, after = np.zeros((2, 3, 4, 5), np.uint16)
    before[0, 0, :3] = 2, 2, 9
    after[0, 0, :4] = 2, 9, 9, 9
    after[2, 3, 4] = 17
    before[1, 1, 1], after[1, 1, 2] = 5, 5
    assert LabelChange.between(before, after).gains == {2: -1, 5: 0, 9: 2, 17: 1}


def test_where_nothing_has_changed_there_is_no_change():
    labels = RANDOM.integers(0, 4, (4, 5, 6)).astype(np.uint16)
    assert LabelChange.between(labels, labels.copy()) is None
