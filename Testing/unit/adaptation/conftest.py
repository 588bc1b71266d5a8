"""Sites that several tests of fine-tuning share. They change nothing in them: what they write, they write in a copy."""

import shutil
from pathlib import Path

import pytest

from Testing.tiny_finetune import prepare, run


@pytest.fixture(scope="session")
def blank(tmp_path_factory) -> Path:
    """A site with two corrected cases and one without labels; a site's secret salt decides the order of its cases."""
    return prepare(tmp_path_factory.mktemp("blank"), 2, 1)


@pytest.fixture(scope="session")
def done(blank, tmp_path_factory) -> Path:
    """The same site after a run."""
    folder = tmp_path_factory.mktemp("two") / "done"
    shutil.copytree(blank, folder)
    assert run(folder) == 0
    return folder
