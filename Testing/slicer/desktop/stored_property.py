"""Qt properties of stand-in widgets: a stored value that QUiLoader, ``setProperty`` and attributes all reach."""

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore


def stored(kind: Any, name: str, default: Any, changed: Callable[[Any], None] | None = None) -> QtCore.Property:
    """A property ``name`` of type ``kind`` (``"QStringList"``, bool ...); ``changed(widget)`` runs when it is set."""
    key = f"_{name}"

    def read(widget: Any) -> Any:
        return widget.__dict__.get(key, default)

    def write(widget: Any, value: Any) -> None:
        widget.__dict__[key] = value
        if changed is not None:
            changed(widget)

    return QtCore.Property(kind, read, write)


def forwarded(kind: Any, name: str, part: str) -> QtCore.Property:
    """A property that is that of a widget inside: ``widget.<part>.<name>``."""

    def read(widget: Any) -> Any:
        return getattr(widget, part).property(name)

    def write(widget: Any, value: Any) -> None:
        getattr(widget, part).setProperty(name, value)

    return QtCore.Property(kind, read, write)


def slot_for(name: str) -> Callable[[Any, Any], None]:
    """The slot that sets a property. Where a class has none, PythonQt only knows the attribute."""

    def write(widget: Any, value: Any) -> None:
        widget.setProperty(name, value)

    return write
