"""SIGKILL at random moments of a fine-tuning: going on ends with the very weights of a run that was left alone."""

import random

import pytest

from Testing.Benchmarks.site.killing import kill_finetuning


@pytest.mark.slow
@pytest.mark.timeout(1800)  # seven fine-tunings, each in processes of its own
def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_weights(tmp_path):
    hit, differing = kill_finetuning(tmp_path, 4, random.Random(5))
    assert sum(hit.values()) == 4
    assert differing == 0
