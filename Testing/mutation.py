"""Damaged input for fuzzing: bytes and JSON values that were whole, changed at random places by a seed."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

WEIRD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 255, 256, 65536, 2**63, -(2**63), 10**400, 0.0, -0.5, 1e-320, 1e308, float("nan"),
    float("inf"), "", " ", "0", "nan", "../../etc/passwd", "/", "a\0b", "\ud800", "ü" * 300, "x" * 5000, [], [[]], {},
    [None], [0, 0, 0], [1.5, 1.5, 1.5], ["T1w", "T1w"], {"": ""}, {"a": {"b": {"c": []}}}, [1] * 1000,
)  # fmt: skip
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF)


def mutated_bytes(content: bytes, seed: int) -> bytes:
    """``content`` with one to four changes: bits flipped, bytes set, a part cut out, repeated, moved or made up."""
    rng = random.Random(seed)
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        rng.choice(_BYTE_CHANGES)(data, rng)
    return bytes(data)


def mutated_json(value: Any, seed: int) -> Any:
    """``value`` with one to three of its parts left out, replaced by something weird, or by another part of it."""
    rng = random.Random(seed)
    changed = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            return rng.choice(WEIRD)
        holder, key = rng.choice(places)
        kind = rng.random()
        if kind < 0.2:
            del holder[key]
        elif kind < 0.3 and isinstance(holder, dict):
            holder[rng.choice(["", "x", "\ud800", "..", key + "x"])] = holder.pop(key)
        elif kind < 0.45:
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other.get(name) if isinstance(other, dict) else (other or [None])[0])
        else:
            holder[key] = copy.deepcopy(rng.choice(WEIRD))
    return changed


def as_json(value: Any) -> bytes:
    """Also what JSON has no word for, as some programs write it."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key or index) of everything in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(data: bytearray, rng: random.Random) -> None:
    if data:
        start = rng.randrange(len(data))
        for place in range(start, min(len(data), start + rng.choice([1, 2, 4, 8]))):
            data[place] = rng.choice(_NUMBERS)


def _cut_out(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.choice([1, 2, 4, 16, 256, len(data)])]


def _cut_off(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = data[start : start + rng.choice([1, 2, 8, 64])] * rng.choice([1, 2, 50])


def _make_up(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start : start + rng.choice([0, 1, 4])] = rng.choice(
        [b"\n", b"{", b'"', b"\xff\xfe", b"[" * 3000, rng.randbytes(8)]
    )


_BYTE_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _set, _set, _cut_out, _cut_off, _repeat, _make_up
)  # fmt: skip
