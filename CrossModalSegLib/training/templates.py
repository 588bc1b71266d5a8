"""Reports and model cards: text around values, by jinja2. What is put into HTML is escaped; a value that is missing is
an error."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parents[1] / "templates"),
    autoescape=select_autoescape(["html"], default_for_string=False),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **values: Any) -> str:
    """The template of this name in ``templates/`` with these values."""
    return _ENVIRONMENT.get_template(template).render(values)


def render_text(text: str, **values: Any) -> str:
    """``text``, which is a template itself (Markdown), with these values."""
    return _ENVIRONMENT.from_string(text).render(values)
