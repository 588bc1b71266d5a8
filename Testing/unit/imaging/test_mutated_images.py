"""A thousand mutated image files, read in processes of their own: volumes or typed errors, nothing else.

An hour of it: ``python -m Testing.mutated_images --minutes 60``.
"""

import random
import sys

import numpy as np
import pytest

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging import volume as volume_module
from CrossModalSegLib.imaging.volume import read_image
from Testing import mutated_images
from Testing.mutated_images import mutated, outcome_of, read_in_child, run, write_seeds


def test_mutated_files_are_volumes_or_typed_errors(tmp_path):
    counts = run(1000, seed=20, folder=tmp_path)
    assert {words: count for words, count in counts.items() if words.startswith("fault")} == {}
    kinds = {words.split(":")[0] for words in counts}
    assert kinds == {"read", "refused"}  # else the mutations were all too harmless, or too harsh
    assert sum(counts.values()) == 1000


def test_whole_files_are_all_read_and_hold_the_same(tmp_path):
    seeds = [
        path
        for path in write_seeds(tmp_path)
        if path.name.endswith(mutated_images.SUFFIXES) and path.name != "other.nii"
    ]
    assert {path.suffix for path in seeds} == {".nrrd", ".mha", ".mhd", ".nhdr", ".nii", ".gz", ".hdr", ".img"}
    first = read_image(seeds[0])
    for path in seeds:
        array, grid = read_image(path)
        assert np.array_equal(array, first[0])
        assert grid.is_close(first[1], 1e-3)
        assert outcome_of(path).kind == "read"


def test_a_fault_is_noticed_where_there_is_one(tmp_path, monkeypatch):
    seeds = write_seeds(tmp_path)

    def careless(path, _orientation=None):
        raise KeyError(path)

    monkeypatch.setattr(mutated_images, "read_image", careless)
    assert outcome_of(seeds[0]).kind == "fault"
    monkeypatch.undo()
    monkeypatch.setattr(volume_module, "refuse_impossible_size", lambda _header: None)
    monkeypatch.setattr(mutated_images, "read_grid", lambda *_: read_image(seeds[0])[1].__class__((2, 2, 2), np.eye(4)))
    assert outcome_of(seeds[0]).kind == "fault"


@pytest.mark.parametrize("end", ["import os; os._exit(139)", "import time; time.sleep(60)"])
def test_a_process_that_dies_or_hangs_is_a_fault_and_the_rest_is_read(tmp_path, monkeypatch, end):
    seeds = [path for path in write_seeds(tmp_path) if path.name.endswith(".mha")]
    real = sys.executable
    script = tmp_path / "python"
    marker = tmp_path / "once"
    script.write_text(
        f'#!/bin/sh\nif [ ! -e "{marker}" ]; then touch "{marker}"; exec "{real}" -c "{end}"; fi\nexec "{real}" "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(mutated_images, "_PATIENCE_SECONDS", 60.0 if "exit" in end else 8.0)
    outcomes = read_in_child(seeds)
    assert [one.kind for one in outcomes] == ["fault", *["read"] * (len(seeds) - 1)]


def test_mutations_can_be_repeated_by_their_seed():
    content = bytes(range(256)) * 4
    once, again = (mutated(content, random.Random(3)) for _ in range(2))
    assert once == again != content


def test_no_message_has_several_lines(tmp_path):
    """Words of the file, such as a line break in a field, do not break the one line that an error is."""
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\ntype: short\rx\ndimension: 3\nsizes: 1 2 3\nencoding: raw\n\n")
    with pytest.raises(CrossModalSegError) as caught:
        read_image(tmp_path / "a.nrrd")
    assert len(str(caught.value).splitlines()) == 1
