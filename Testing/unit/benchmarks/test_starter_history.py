"""Former starters, which benchmarks compare with, come from the repository's history."""

import pytest

from CrossModalSegLib.bundles.bundle import load_bundle
from Testing.Benchmarks.speed.starter_history import REPOSITORY, STARTER, starter_of


def test_the_starter_of_today_is_found_as_it_is_and_one_that_never_was_is_not(tmp_path):
    today = load_bundle(REPOSITORY / STARTER)
    try:
        found = load_bundle(starter_of(today.version, tmp_path))
    except SystemExit:
        pytest.skip("a shallow clone, or a version that is not committed yet")
    assert found.name == today.name
    assert found.version == today.version
    with pytest.raises(SystemExit, match=r"no brain-mr-pair 9\.9\.9"):
        starter_of("9.9.9", tmp_path)
