"""What belongs together is drawn once: Slicer's views draw at once for each event of a node, which takes seconds in
3D."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any


def one_render() -> AbstractContextManager[Any]:
    """A block after which Slicer's views draw once, whatever was changed in it; nothing where there is no desktop."""
    import slicer

    has_views = hasattr(getattr(slicer, "app", None), "pauseRender")
    return slicer.util.RenderBlocker() if has_views else nullcontext()
