"""What binds a widget to a parameter: how the value is read, written, and heard to change.

As in Slicer, the widget's class has to be one of these exactly (a ctkComboBox is not taken for a QComboBox), and a
combination that Slicer has no connector for raises RuntimeError.
"""

from collections.abc import Callable
from typing import Any

from .parameter_types import PATHS, Choice, Decimals, Maximum, Minimum, ParameterType, SingleStep, WithinRange


class Connector:
    """Binds one widget. ``signal`` and ``attribute`` are the widget's."""

    def __init__(self, widget: Any, kind: ParameterType, signal: str, attribute: str):
        self.widget, self.kind, self.signal, self.attribute = widget, kind, signal, attribute
        self._callback: Callable[[], None] | None = None
        self.prepare()

    def prepare(self) -> None:
        """Sets the widget up for the parameter's type."""

    def read(self) -> Any:
        return getattr(self.widget, self.attribute)

    def write(self, value: Any) -> None:
        setattr(self.widget, self.attribute, value)

    def on_changed(self, callback: Callable[[], None] | None) -> None:
        signal = getattr(self.widget, self.signal)
        if callback is not None:
            signal.connect(self._changed)
        elif self._callback is not None:
            signal.disconnect(self._changed)
        self._callback = callback

    def _changed(self, *_: Any) -> None:
        if self._callback is not None:
            self._callback()


class NumberConnector(Connector):
    def prepare(self) -> None:
        bounds = self.kind.extra(WithinRange)
        low, high = self.kind.extra(Minimum), self.kind.extra(Maximum)
        is_slider = type(self.widget).__name__ in ("ctkSliderWidget", "QSlider")
        if is_slider and not (bounds or (low and high)):
            raise RuntimeError("Cannot have a connection to a slider where the type is unbounded.")
        infinite = 2**31 - 1 if self.kind.kind is int else 1e300
        self.widget.minimum = bounds.minimum if bounds else low.minimum if low else -infinite
        self.widget.maximum = bounds.maximum if bounds else high.maximum if high else infinite
        for extra, attribute in ((Decimals, "decimals"), (SingleStep, "singleStep")):
            if self.kind.extra(extra) is not None:
                setattr(self.widget, attribute, self.kind.extra(extra).value)


class PathConnector(Connector):
    def read(self) -> Any:
        return self.kind.kind(super().read())

    def write(self, value: Any) -> None:
        super().write(str(value))


class NodeConnector(Connector):
    def prepare(self) -> None:
        self.widget.nodeTypes = [self.kind.kind.__name__]

    def read(self) -> Any:
        return self.widget.currentNode()

    def write(self, value: Any) -> None:
        self.widget.setCurrentNode(value)


class PlainTextConnector(Connector):
    def read(self) -> Any:
        return self.widget.toPlainText()

    def write(self, value: Any) -> None:
        self.widget.setPlainText(value)


class ChoiceConnector(Connector):
    """A QComboBox, emptied and filled with the choices or the enumeration's labels."""

    def prepare(self) -> None:
        if self.kind.is_enum:
            label = getattr(self.kind.kind, "label", lambda member: member.name)
            self.choices = [(label(member), member) for member in self.kind.kind]
        elif self.kind.extra(Choice) is None:
            raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
        else:
            self.choices = [(str(choice), choice) for choice in self.kind.extra(Choice).choices]
        self.widget.clear()
        for text, _ in self.choices:
            self.widget.addItem(text)

    def read(self) -> Any:
        return self.choices[self.widget.currentIndex][1]

    def write(self, value: Any) -> None:
        self.widget.currentIndex = [choice for _, choice in self.choices].index(value)


def _table(kind: ParameterType) -> dict[str, tuple[type[Connector], str, str]]:
    """Widget class to connector, signal and attribute, for a type."""
    if kind.is_node:
        return {"qMRMLNodeComboBox": (NodeConnector, "currentNodeChanged", "")}
    if kind.is_enum:
        return {"QComboBox": (ChoiceConnector, "currentIndexChanged", "")}
    if kind.kind in PATHS:
        return {
            "ctkPathLineEdit": (PathConnector, "currentPathChanged", "currentPath"),
            "ctkDirectoryButton": (PathConnector, "directoryChanged", "directory"),
        }
    number = (NumberConnector, "valueChanged", "value")
    choice = {"QComboBox": (ChoiceConnector, "currentIndexChanged", "")}
    text = {"QLineEdit": (Connector, "textChanged", "text"), "QTextEdit": (PlainTextConnector, "textChanged", "")}
    tables = {
        bool: {"QCheckBox": (Connector, "stateChanged", "checked"), "QPushButton": (Connector, "toggled", "checked")},
        int: {"QSpinBox": number, "QSlider": number},
        float: {"QDoubleSpinBox": number, "ctkSliderWidget": number},
        str: text,
    }
    return tables[kind.kind] | choice


def connector_for(widget: Any, kind: ParameterType) -> Connector:
    """The connector for a widget and a type; raises RuntimeError where there is none."""
    entry = _table(kind).get(type(widget).__name__)
    if entry is None or (kind.is_optional and not kind.is_node):
        raise RuntimeError(
            f"Unable to create GUI connector from datatype '{kind.annotation}' to widget type '{type(widget)}'"
        )
    connector, signal, attribute = entry
    return connector(widget, kind, signal, attribute)
