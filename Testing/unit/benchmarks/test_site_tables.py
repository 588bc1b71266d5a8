"""The tables of the site experiments: means, gains and differences by hand, and the figures in the docs."""

import json
from pathlib import Path

import pytest

from Testing.Benchmarks.site import table
from Testing.Benchmarks.site.table import (
    all_lines,
    few_cases_lines,
    protocol_lines,
    scanner_lines,
    starter_lines,
    structure_lines,
)
from Testing.markdown_tables import assert_shows

REPOSITORY = Path(__file__).parents[3]
MEASURED = REPOSITORY / "Testing" / "Benchmarks" / "site" / "measured"


def row(shifted, unshifted, **facts):
    kinds = {"shifted": shifted, "unshifted": unshifted}
    scores = {
        kind: {"mean": sum(values) / len(values), "patients": dict(zip("ab", values, strict=True))}
        for kind, values in kinds.items()
    }
    return {**facts, **scores}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def scanner(tmp_path):
    """Two patients: their mean is 0.6 shifted and 0.8 unshifted with the base."""
    write(tmp_path / "rows" / "base.json", row([0.5, 0.7], [0.8, 0.8], method="base", corrected=0, seed=0))
    for seed, better in ((0, 0.1), (1, 0.2)):
        found = row([0.5 + better, 0.7 + better], [0.8, 0.7], method="supervised", corrected=2, seed=seed)
        write(tmp_path / "rows" / f"supervised-2-{seed}.json", found)
    found = row([0.7, 0.9], [0.8, 0.8], method="semi-supervised", corrected=2, seed=0)
    write(tmp_path / "rows" / "semi-supervised-2-0.json", found)
    return tmp_path


def test_gains_are_means_over_patients_of_the_means_over_seeds(scanner):
    lines = scanner_lines(scanner)
    assert "| 0 | base | 0.600 |  | 0.800 |  |  |" in lines
    # every patient gains 0.15 in the mean of both seeds: any draw of patients has that mean
    gain = "0.750 (0.700–0.800) | +0.150 [+0.150, +0.150]"
    assert f"| 2 | supervised | {gain} | 0.750 (0.750–0.750) | -0.050 [-0.100, +0.000] | 2 |" in lines
    assert "| 2 | +0.050 [+0.050, +0.050] | +0.050 [+0.000, +0.100] |" in lines


def test_the_command_stands_beside_the_base_and_supervised_fine_tuning(scanner):
    facts = {"decision": "promote", "reasons": ["better"], "seconds": 800, "steps": 90, "share": 0.5}
    write(scanner / "few-cases" / "2-20-15.json", row([0.6, 0.8], [0.8, 0.8], **facts))
    write(scanner / "few-cases" / "supervised-2-0.json", row([0.5, 0.8], [0.8, 0.8]))
    lines = few_cases_lines(scanner)
    assert lines[0].startswith("| 2 corrected, 20 without labels, 15 minutes | shifted | gain |")
    assert "| `crossmodalseg finetune` | 0.700 | +0.100 [+0.100, +0.100] | 0.800 | +0.000 [+0.000, +0.000] |" in lines
    assert "| Dice | +0.050 [+0.000, +0.100] | +0.000 [+0.000, +0.000] |" in lines
    assert "promote: better" in lines
    assert "800 s, 90 steps, share 0.5" in lines


def test_each_patient_of_the_starter_s_site_has_a_line(tmp_path):
    scores = {name: {"T1w": {"left": {"dice": dice}}} for name, dice in (("p", 0.6), ("q", 0.8))}
    after = {name: {"T1w": {"left": {"dice": dice}}} for name, dice in (("p", 0.7), ("q", 0.8))}
    metrics = {"verdict": {"decision": "keep", "reasons": ["no gain"]}, "seconds": 9, "share": 0.25}
    write(tmp_path / "row.json", {"base": scores, "candidate": after, "metrics": metrics})
    lines = starter_lines(tmp_path)
    assert "| p | 0.600 | 0.700 | +0.100 |" in lines
    assert "| mean | 0.700 | 0.750 | +0.050 |" in lines
    assert "keep: no gain" in lines


def test_each_patient_left_out_has_a_line(tmp_path):
    write(tmp_path / "1" / "row.json", {"whole tumour": 0.5, "brain structures": 0.91234, "verdict": "promote"})
    assert "| 1 | 0.500 | 0.912 | promote |" in structure_lines(tmp_path)


def test_experiments_without_rows_have_no_table(tmp_path, capsys):
    table.main(["--output", str(tmp_path)])
    assert capsys.readouterr().out == "\n"


def test_the_tables_in_the_docs_are_those_of_the_scores_that_are_kept():
    assert_shows(REPOSITORY / "docs" / "site-adaptation.md", "\n".join(all_lines(MEASURED)))


def test_another_protocol_has_a_line_per_method_with_the_mean_over_the_adults_judged(tmp_path, monkeypatch):
    write(tmp_path / "first.json", {"1": {"a": 0.6, "b": 0.7}, "2": {"a": 0.5, "b": 0.6}})
    monkeypatch.setattr(table, "FIRST", tmp_path / "first.json")

    def measured(method, judged, *dice, **facts):
        content = {"method": method, "judged": judged, "dice": dict(zip("ab", dice, strict=True)), **facts}
        write(tmp_path / "rows" / f"{method}-{judged}.json", content)

    assert protocol_lines(tmp_path) == []
    measured("base", "1", 0.7, 0.8)
    measured("base", "2", 0.5, 0.6)
    assert protocol_lines(tmp_path) == []
    measured("product", "1", 0.8, 0.9, decision="promote")
    measured("product", "2", 0.6, 0.8, decision="keep")
    measured("plain", "2", 0.6, 0.6)
    lines = protocol_lines(tmp_path)
    assert "| product | 1, 2 | 0.650 | 0.775 | +0.125 | +0.175 | promote, keep |" in lines
    assert "| plain | 2 | 0.550 | 0.600 | +0.050 | +0.050 |  |" in lines
