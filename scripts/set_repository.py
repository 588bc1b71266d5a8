"""Set the address of the repository that CrossModalSeg is published in, wherever it stands.

    python scripts/set_repository.py https://github.com/<owner>/SlicerCrossModalSeg

Slicer's Extensions Index reads CMakeLists.txt as text: icon and screenshots have to stand there as whole addresses.
They are the files of the branch that docs/extension-index/CrossModalSeg.json names. docs/extension-index/README.md says
what else a listing takes.
"""

import json
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
ENTRY = Path("docs/extension-index/CrossModalSeg.json")
FILES = (ENTRY, Path("CMakeLists.txt"), Path("pyproject.toml"))
_ADDRESS = re.compile(r"https://[A-Za-z0-9.-]+(?:/[A-Za-z0-9._-]+)*/(?P<name>[A-Za-z0-9._-]+)")


def checked(url: str) -> str:
    """``url`` without a last slash or ``.git``. Raises ValueError where the index would not take it."""
    address = url.strip().rstrip("/").removesuffix(".git")
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"{url!r} is no address such as https://github.com/<owner>/SlicerCrossModalSeg")
    if not found["name"].startswith("Slicer"):
        raise ValueError(f"the repository is called {found['name']}: its name has to begin with Slicer")
    return address


def set_repository(url: str, root: Path = REPOSITORY) -> list[Path]:
    """Write the address into `FILES` below ``root``; returns those that have changed.

    Raises ValueError, and changes nothing, where the index would not take the address, or a file does not hold the
    former one.
    """
    address = checked(url)
    former = json.loads((root / ENTRY).read_text(encoding="utf-8"))["scm_url"]
    texts = {file: (root / file).read_text(encoding="utf-8") for file in FILES}
    without = [str(file) for file, text in texts.items() if former not in text]
    if without:
        raise ValueError(f"{', '.join(without)} does not hold {former}, the address in {ENTRY}: put it right by hand")
    whole = re.compile(re.escape(former) + r"(?![A-Za-z0-9._-])")  # not the beginning of another repository's name
    changed = {file: whole.sub(address, text) for file, text in texts.items()}
    for file, text in changed.items():
        (root / file).write_text(text, encoding="utf-8")
    return [file for file in FILES if changed[file] != texts[file]]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python scripts/set_repository.py URL\n")
        return 2
    try:
        changed = set_repository(arguments[0], REPOSITORY)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("".join(f"{file}\n" for file in changed) or "nothing to change\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
