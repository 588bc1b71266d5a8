"""Slicer's translation of texts where there is one; elsewhere, texts stay as they are written."""

try:
    from slicer.i18n import tr
except ImportError:  # slicer-core without the desktop program

    def tr(text: str) -> str:
        """``text`` itself."""
        return text


__all__ = ["tr"]
