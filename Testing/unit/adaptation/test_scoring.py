"""Scores of whole cases: a disk that is full is an error of one line, and leaves nothing half written."""

from pathlib import Path

import pytest

from CrossModalSegLib.adaptation.scoring import SCORES_FILE, CaseScorer
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.inference.inference import Segmenter
from Testing.tiny_bundle import LABEL_MAP, intensity_bundle
from Testing.tiny_site import make_site


@pytest.fixture
def scorer(tmp_path):
    segmenter = Segmenter(intensity_bundle(tmp_path / "tiny", (16, 16, 16), 4.0), "cpu")
    return CaseScorer(segmenter, {}, LABEL_MAP, tmp_path / "run" / "parent")


@pytest.fixture
def case(tmp_path):
    (one,) = make_site(tmp_path / "site", 1, 0).cases()
    return DataCase(one.id, one.patient, one.volumes, one.labels, LABEL_MAP.values)


def test_a_full_disk_is_an_error_of_one_line_and_leaves_nothing(scorer, case, tmp_path, monkeypatch):
    write_text = Path.write_text

    def full(path, *arguments, **more):
        if path.name == SCORES_FILE:
            raise OSError(28, "No space left on device")
        return write_text(path, *arguments, **more)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=rf"cannot-write.*{case.id}: No space left"):
        scorer.score(case)
    monkeypatch.undo()
    assert not [path for path in tmp_path.rglob(f"*{case.id}*") if "site" not in path.parts]
    assert scorer.score(case)["T1w"].keys() == {one.name for one in LABEL_MAP.structures}
