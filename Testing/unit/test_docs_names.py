"""The documents call buttons, sections and choices what the panel and the page call them."""

import html
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "CrossModalSeg"
EMPHASISED = re.compile(r"\*\*([^*\n]+)\*\*|(?<![*\w])\*([^*\n]+)\*(?![*\w])")
NOT_OURS = {  # emphasised too: headings, and a section of Slicer's Segment Editor
    "A second run.",
    "An alignment that you keep",
    "Corrections that are not saved yet",
    "Masking",
    "One scan alone",
    "Tested how?",
    "Transforms.",
    "Without a network connection:",
}
PANEL = ("Resources/UI/*.ui", *(f"CrossModalSegApp/{room}/*.py" for room in ("qt", "logic", "scene", "process")))
PAGE = ("CrossModalSegApp/web/**/*", "CrossModalSegApp/logic/*.py")
# Where names of the view stand: all of a document, or the section of this heading.
PLACES = [
    ("slicer-module.md", "", PANEL),
    ("site-adaptation.md", "## In 3D Slicer", PANEL),
    ("site-folder.md", "## Which case next", PANEL),
    ("web.md", "", PAGE),
    ("site-folder.md", "## Which case next", PAGE),
]


def names_in(document: str, heading: str) -> set[str]:
    text = (REPOSITORY / "docs" / document).read_text(encoding="utf-8")
    if heading:
        text = text.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    found = {bold or italic for bold, italic in EMPHASISED.findall(text)}
    return {name.rstrip(".") for name in found - NOT_OURS if "›" not in name}  # menus of Slicer itself


def source_of(patterns: tuple[str, ...]) -> str:
    files = [file for pattern in patterns for file in MODULE.glob(pattern)]
    texts = [file for file in files if file.suffix in (".ui", ".py", ".html", ".js")]
    return html.unescape("\n".join(file.read_text(encoding="utf-8") for file in texts))


@pytest.mark.parametrize(("document", "heading", "patterns"), PLACES)
def test_every_name_of_a_button_or_section_is_one_of_the_view(document, heading, patterns):
    names, source = names_in(document, heading), source_of(patterns)
    assert names
    assert {name for name in names if not re.search(rf"""["'>]\s*{re.escape(name)}""", source)} == set()
