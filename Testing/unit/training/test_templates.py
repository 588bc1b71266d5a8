"""Cards and reports: what is put into HTML is escaped, Markdown is left as it is, and nothing is missing in silence."""

import pytest
from jinja2 import UndefinedError

from CrossModalSegLib.adaptation.gate import GroupChanges, Verdict
from CrossModalSegLib.adaptation.plan import Parent
from CrossModalSegLib.adaptation.report import Figure, Points, Section, Table, Verbatim
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.templates import render, render_text

NOTHING = GroupChanges(None, (), ())


def report(**changes) -> str:
    verdict = Verdict("keep", ("worse <here>",), NOTHING, NOTHING)
    model = Parent("a<b", "1", "0")
    values = {"model": model, "parent": model, "summary": ("No & yes.",), "verdict": verdict, "sections": []}
    return render("report.html", **values | {"decision": "Keep", "color": "#b3261e"} | changes)


def test_names_and_words_are_escaped_in_a_report():
    text = report(sections=[Section("<T>", ["<p>", Points(["<i>"]), Verbatim("<v>"), Figure("QUJD", 'a "b"')])])
    for said in ("a&lt;b", "worse &lt;here&gt;", "No &amp; yes.", "&lt;T&gt;", "&lt;p&gt;", "&lt;i&gt;", "&lt;v&gt;"):
        assert said in text
    assert 'alt="a &#34;b&#34;"' in text


def test_a_row_that_is_to_be_noticed_is_marked():
    text = report(sections=[Section("T", [Table(("name",), [("one",), ("two",)], [False, True])])])
    assert "<tr><td>one</td></tr>" in text
    assert '<tr class="bad"><td>two</td></tr>' in text


def test_a_card_is_markdown_as_it_stands():
    values = {"facts": {"cases": 3}, "scores": {"a & b": 0.5, "c": 0.25}, "structures": ["a & b", "c"]}
    card = render("trained-card.md", config=TrainingConfig(name="m"), intended_use="Research.", **values)
    assert card.startswith("# m 0.1.0\n\nA model trained with `crossmodalseg train`.\n\n**Research.**\n\n- Modalities:")
    assert "\n\n## Training\n\n- cases: 3\n\n## Validation\n\nMean Dice 0.375 on validation patches.\n\n" in card
    assert card.endswith("| structure | Dice |\n|---|---|\n| a & b | 0.500 |\n| c | 0.250 |\n")


def test_a_value_that_is_missing_is_an_error():
    assert render_text("{{ version }} {{ tables }}", version="1", tables="| <a> |") == "1 | <a> |"
    with pytest.raises(UndefinedError):
        render_text("{{ version }}")
