"""What labels show as rich text; all that comes from elsewhere is escaped."""

from collections.abc import Iterable
from html import escape

ERROR_COLOUR = "#b00020"


def lines_html(lines: Iterable[str]) -> str:
    """One line below the other."""
    return "<br>".join(map(escape, lines))


def error_html(message: str, hint: str) -> str:
    """An error with its hint."""
    text = escape(message).replace("\n", "<br>")
    return f'<span style="color:{ERROR_COLOUR}">✖ {text}</span><br>{escape(hint)}'


def show_text(label: object, html: str) -> None:
    """Show ``html`` in a QLabel, which is hidden where there is nothing to say."""
    label.text = html  # type: ignore[attr-defined]
    label.visible = bool(html)  # type: ignore[attr-defined]
