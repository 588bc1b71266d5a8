"""What is kept of earlier versions, for the tests that open it with the code of today."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kept:
    """The files of one version, and the facts that were noted when they were written (see `Testing.kept.write`)."""

    folder: Path
    facts: dict[str, Any]

    @property
    def bundles(self) -> Path:
        return self.folder / "bundles"

    @property
    def scene(self) -> Path:
        return self.folder / "scene.mrb"

    def copy_site(self, target: Path) -> Path:
        """A copy of the site folder, which may be written to."""
        return Path(shutil.copytree(self.folder / "site", target))

    def case(self, what: str) -> str:
        """The id of the site's case of which this is so."""
        return str(self.facts["cases"][what])


KEPT = [
    Kept(file.parent, json.loads(file.read_text(encoding="utf-8")))
    for file in sorted(Path(__file__).parent.glob("*/facts.json"))
]
