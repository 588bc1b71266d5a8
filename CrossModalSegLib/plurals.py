"""Numbers and names of things in English sentences."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """``1 case``, ``2 cases``; for nouns whose plural ends in an s."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def some_of(names: Sequence[str], most: int = 3) -> str:
    """``a, b, c and 4 more``: the first few by name, the rest by number."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
