"""Makes the Slicer fixtures known to the tests of this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mrml_scene import layout_logic, mrml_scene, slicer_logics, slicer_terminologies  # noqa: F401

from Testing.slicer.desktop.desktop import desktop, slicer_names  # noqa: F401
