"""What is wrong with the entries of a configuration: collected with their places, reported all at once."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from CrossModalSegLib.errors import ConfigError


@dataclass(frozen=True)
class Contradiction:
    """Values that cannot be although each has the right type. ``place`` is the entry that it is reported at, in its table
    ("": the table itself); ``about`` are all entries that it follows from, where these are others."""

    place: str
    text: str
    about: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[str, ...]:
        """All entries that it follows from."""
        return self.about or (self.place,)

    def __str__(self) -> str:
        return _worded(self.place, self.text)


@dataclass(frozen=True)
class Range:
    """Which numbers an entry may have, and the words for it."""

    words: str
    holds: Callable[[float], bool]


AT_LEAST_0 = Range("at least 0", lambda number: 0 <= number < math.inf)
AT_LEAST_1 = Range("at least 1", lambda number: 1 <= number < math.inf)
AT_LEAST_2 = Range("at least 2", lambda number: 2 <= number < math.inf)
ABOVE_0 = Range("above 0", lambda number: 0 < number < math.inf)
FRACTION = Range("between 0 and 1", lambda number: 0 <= number <= 1)
BELOW_1 = Range("at least 0 and below 1", lambda number: 0 <= number < 1)


def out_of_range(table: Any, names: Iterable[str], allowed: Range, where: str = "") -> Iterator[Contradiction]:
    """One for each of the entries ``names`` of ``table``, which stands at ``where``, that is not ``allowed``. None is an
    entry that is missing, which is another matter."""
    for name in names:
        value = getattr(table, name)
        if value is not None and not allowed.holds(value):
            given = f"{value:g}" if isinstance(value, float) else value
            yield Contradiction(f"{where}{name}", f"must be {allowed.words}, not {given}")


def refuse(contradictions: Iterable[Contradiction]) -> None:
    """Raises one ConfigError ``config`` with all of them, where there are any."""
    words = "; ".join(map(str, contradictions))
    if words:
        raise ConfigError("config", words, "correct these entries")


@dataclass
class Problems:
    """What is wrong with a file so far: places and words."""

    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, text: str) -> None:
        """Report ``text`` at ``place``, such as ``training.batch`` or ``patch[1]``."""
        self.found.append((place, text))

    def touch(self, place: str) -> bool:
        """Whether something was reported at this place, inside of it or around it."""
        return any(_within(place, known) or _within(known, place) for known, _ in self.found)

    def refuse(self) -> None:
        """Raises one ConfigError ``config`` with all of them, where there are any."""
        refuse(Contradiction(place, text) for place, text in self.found)


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))


def _worded(place: str, text: str) -> str:
    return f"{place}: {text}" if place else text
