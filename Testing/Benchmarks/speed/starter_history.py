"""Former versions of the starter bundle, from the repository's history."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
STARTER = "CrossModalSeg/Resources/Bundles/brain-mr-pair"


def starter_of(version: str, folder: Path) -> Path:
    """The bundle of ``version`` as it was committed last, unpacked below ``folder``.

    Raises SystemExit where the history does not reach back so far, as in a shallow clone.
    """
    for commit in _git("log", "--format=%H", "--", STARTER).decode().split():
        metadata = _git("show", f"{commit}:{STARTER}/configs/metadata.json")
        if json.loads(metadata)["version"] == version:
            with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, STARTER))) as archive:
                archive.extractall(folder, filter="data")
            return folder / STARTER
    raise SystemExit(f"the history has no brain-mr-pair {version}: git fetch --unshallow, or give --bundle")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, check=True).stdout
