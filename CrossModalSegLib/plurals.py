"""Numbers of things in English sentences."""


def counted(number: int, noun: str) -> str:
    """``1 case``, ``2 cases``; for nouns whose plural ends in an s."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
