"""CONTRIBUTING.md is right about the places that a change has to touch."""

import re
from pathlib import Path

import pytest

from CrossModalSegLib.datasets.layout import SUFFIXES
from CrossModalSegLib.imaging.dicom_tree import _SUFFIXES as NO_SLICES
from CrossModalSegLib.imaging.volume import READERS

REPOSITORY = Path(__file__).resolve().parents[2]
READ = [suffix for suffixes in READERS for suffix in suffixes]


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", READ)
def test_every_suffix_that_is_read_is_known_in_the_other_places(suffix):
    assert suffix in SUFFIXES or suffix == ".img", "a pair is named by its header"
    assert f".{suffix.split('.')[-1]}" in NO_SLICES
    assert f"`{suffix}`" in text_of("README.md").split("**Formats.**", 1)[1].split("\n\n", 1)[0]
    rows = text_of("docs/reliability.md").split("### What is checked in each file", 1)[1].split("\n\n")[2]
    assert re.search(rf"^\| [^|]*`{re.escape(suffix)}`", rows, re.MULTILINE)


def test_every_room_of_library_and_module_is_in_the_table():
    table = text_of("CONTRIBUTING.md").split("## Which room", 1)[1].split("\n## ", 1)[0]
    packages = [file.parent for file in (REPOSITORY / "CrossModalSegLib").glob("*/__init__.py")]
    rooms = [file.parent for file in (REPOSITORY / "CrossModalSeg" / "CrossModalSegApp").glob("*/__init__.py")]
    assert len(packages) > 5
    assert len(rooms) > 3
    named = [folder.relative_to(REPOSITORY).as_posix() for folder in (*packages, *rooms)]
    assert [name for name in named if f"]({name}/)" not in table] == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("CrossModalSegLib/imaging/modality_guess.py", "_CONTRASTS"),
        ("CrossModalSegLib/imaging/modality_guess.py", "_PARENT"),
        ("CrossModalSegLib/imaging/volume.py", "READERS"),
        ("CrossModalSegLib/datasets/layout.py", "SUFFIXES"),
        ("CrossModalSegLib/imaging/stored_image.py", "class ImageHeader"),
    ],
)
def test_what_it_names_is_in_the_file_that_it_names(file, name):
    assert re.search(rf"^{name}\b", text_of(file), re.MULTILINE)
    assert f"]({file})" in text_of("CONTRIBUTING.md")
    assert f"`{name.removeprefix('class ')}`" in text_of("CONTRIBUTING.md")
