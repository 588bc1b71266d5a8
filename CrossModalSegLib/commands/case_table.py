"""The table of cases that ``crossmodalseg segment --cases`` reads."""

import csv
import io
from pathlib import Path

from CrossModalSegLib.errors import DataError, read_error

CASE = "case"  # the column with the case's name; every other one is of a modality


def read_case_table(table: Path) -> dict[str, dict[str, Path]]:
    """Inputs (modality -> file) per case of a CSV table; paths may be relative to the table.

    Raises DataError ``case-table`` with all that is wrong, ``not-found``, ``cannot-read``, ``path-too-long``.
    """
    try:
        reader = csv.reader(io.StringIO(table.read_text(encoding="utf-8-sig")), strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except OSError as error:
        raise read_error(f"case table {table}", error, DataError) from error
    except (UnicodeError, csv.Error) as error:
        raise DataError("case-table", f"{table} cannot be read: {error}", "save it as CSV in UTF-8") from error
    columns = lines[0][1] if lines else []
    if wrong := _wrong_columns(columns, [row for _, row in lines]):
        raise DataError("case-table", f"{table}: {wrong}", "correct the table: see crossmodalseg segment --help")
    cases: dict[str, dict[str, Path]] = {}
    problems = [] if len(lines) > 1 else ["there is no row below the names of the columns"]
    for number, row in lines[1:]:
        cells = dict(zip(columns, row, strict=False))  # cells that a row does not have are empty
        name = cells.pop(CASE, "")
        if not _is_plain_name(name) or name in cases:
            problems.append(f'line {number}: case name "{name}" is empty, repeated or no plain name')
        if any("\0" in cell for cell in row):
            problems.append(f"line {number}: a cell holds a NUL character, which no path has")
        if any(row[len(columns) :]):
            problems.append(f"line {number}: more cells than columns")
        cases[name] = {modality: table.parent / value for modality, value in cells.items() if value}
        if not cases[name]:
            problems.append(f"line {number}: no volume")
    if problems:
        raise DataError("case-table", f"{table}: {'; '.join(problems)}", "correct the table")
    return cases


def _wrong_columns(columns: list[str], rows: list[list[str]]) -> str:
    """What is not clear about the columns, in words; "" where it is: nothing is guessed."""
    if CASE not in columns:
        marks = {";": "semicolons", "\t": "tabs"}
        for mark, word in marks.items():
            if any(mark in name for name in columns):
                return f"its columns are separated by {word}, not by commas"
        return f'no column "{CASE}" among {", ".join(columns) or "none"}'
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        return f'the column "{twice[0]}" is there {columns.count(twice[0])} times'
    for position, name in enumerate(columns):
        if not name and any(row[position] for row in rows if len(row) > position):
            return f"column {position + 1} has no name"
    return ""


def _is_plain_name(name: str) -> bool:
    return bool(name) and Path(name).name == name and name != ".." and name.isprintable()
