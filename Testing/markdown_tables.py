"""Tables of Markdown pages: those that the docs show are those that a command prints."""

from itertools import groupby
from pathlib import Path

Table = tuple[str, ...]


def tables_in(text: str) -> list[Table]:
    """Each table of ``text``, as its lines."""
    blocks = groupby(text.splitlines(), key=lambda line: line.startswith("|"))
    return [tuple(lines) for is_table, lines in blocks if is_table]


def assert_shows(page: Path, printed: str) -> None:
    """``page`` has the tables of ``printed``, and no other ones with the same heading."""
    measured = tables_in(printed)
    assert measured
    headings = {table[0] for table in measured}
    shown = [table for table in tables_in(page.read_text(encoding="utf-8")) if table[0] in headings]
    assert sorted(shown) == sorted(measured)
