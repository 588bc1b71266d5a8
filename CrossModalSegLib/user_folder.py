"""Where a user's own things are kept."""

import os
import sys
from pathlib import Path


def user_folder() -> Path:
    """Where this user's own things are kept; it may not exist yet."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "CrossModalSeg"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "CrossModalSeg"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "crossmodalseg"
