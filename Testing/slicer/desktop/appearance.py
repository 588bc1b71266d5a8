"""A style, a palette and a font for pictures that look the same on every machine."""

from pathlib import Path
from typing import Any

from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette

FAMILY = "DejaVu Sans"


def dress_up(application: Any) -> None:
    """Sets the style Fusion, light colours, and DejaVu Sans (matplotlib's copy where the system has none)."""
    application.setStyle("Fusion")
    application.setPalette(_light_palette())
    if FAMILY not in QFontDatabase.families():
        import matplotlib as mpl

        folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
        for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"):
            if QFontDatabase.addApplicationFont(str(folder / name)) < 0:
                raise RuntimeError(f"Qt cannot use {folder / name}: pictures would have no text")
    application.setFont(QFont(FAMILY, 9))


def _light_palette() -> QPalette:
    palette = QPalette(QColor("#e9e9ec"))
    palette.setColor(QPalette.ColorRole.Highlight, QColor("#3874b8"))
    palette.setColor(QPalette.ColorRole.HighlightedText, QColor("white"))
    palette.setColor(QPalette.ColorRole.Link, QColor("#1f5fa8"))
    return palette
