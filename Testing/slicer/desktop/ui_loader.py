"""QUiLoader: makes the widgets of a .ui file from the wrapper classes, and refuses what Slicer would not find."""

import types
import xml.etree.ElementTree as ET
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

BUILT_IN = ("Line",)  # Qt Designer's own, no class of Qt


def make_loader(modules: tuple[types.ModuleType, ...]) -> type:
    """The class ``qt.QUiLoader`` for widget classes of ``modules`` (ctk, slicer, qt; earlier ones first)."""

    def find_class(name: str) -> type | None:
        return next((vars(module)[name] for module in modules if name in vars(module)), None)

    class QUiLoader(QtUiTools.QUiLoader):
        """Raises RuntimeError for unknown widget classes, properties, signals and slots.

        Qt itself leaves such mistakes at a line on stderr, or makes a plain QWidget of the unknown class.
        """

        def __init__(self, parent: QtCore.QObject | None = None):
            super().__init__(parent)
            self._made: list[QtWidgets.QWidget] = []  # PySide6 forgets their Python part otherwise

        def createWidget(self, name: str, parent: Any = None, object_name: str = "") -> QtWidgets.QWidget:
            if name in BUILT_IN:
                return super().createWidget(name, parent, object_name)
            widget = find_class(name)(parent)
            widget.setObjectName(object_name)
            self._made.append(widget)
            return widget

        def load(self, file: QtCore.QIODevice, parent: Any = None) -> QtWidgets.QWidget:
            description = ET.fromstring(bytes(file.readAll()))
            connections = _take_connections(description)
            _check_classes(description, find_class)
            buffer = QtCore.QBuffer()
            buffer.setData(ET.tostring(description))
            buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
            root = super().load(buffer, parent)
            root.__dict__["_loaded_widgets"] = list(self._made)
            by_name = {widget.property("objectName"): widget for widget in self._made}
            _check_properties(description, by_name)
            for connection in connections:
                _connect(connection, by_name)
            return root

    return QUiLoader


def _take_connections(description: ET.Element) -> list[dict[str, str]]:
    """Removes the connections from the description: Qt would not know signals with VTK types."""
    section = description.find("connections")
    if section is None:
        return []
    description.remove(section)
    ends = ("sender", "signal", "receiver", "slot")
    return [{end: connection.findtext(end, "") for end in ends} for connection in section.iter("connection")]


def _check_classes(description: ET.Element, find_class: Any) -> None:
    unknown = {widget.get("class", "") for widget in description.iter("widget")}
    unknown = {name for name in unknown if find_class(name) is None and name not in BUILT_IN}
    if unknown:
        raise RuntimeError(f"widget classes that the stand-in does not know: {', '.join(sorted(unknown))}")


def _check_properties(description: ET.Element, by_name: dict[str, Any]) -> None:
    """Properties of a widget in the file that its class does not declare (dynamic ones have ``stdset="0"``)."""
    for element in description.iter("widget"):
        widget = by_name.get(element.get("name", ""))
        for entry in element.findall("property"):
            name = entry.get("name", "")
            if widget is not None and widget.metaObject().indexOfProperty(name) < 0 and entry.get("stdset") != "0":
                raise RuntimeError(f"{element.get('name')}: {element.get('class')} has no property {name!r}")


def _connect(connection: dict[str, str], by_name: dict[str, Any]) -> None:
    sender, receiver = (_named(by_name, connection[end]) for end in ("sender", "receiver"))
    slot = getattr(receiver, connection["slot"].split("(")[0], None)
    if slot is None:
        raise RuntimeError(f"{connection['receiver']} has no slot {connection['slot']}")
    try:
        sender.connect(connection["signal"], slot)
    except ValueError as error:
        raise RuntimeError(f"{connection['sender']}: {error}") from error


def _named(by_name: dict[str, Any], name: str) -> Any:
    if name not in by_name:
        raise RuntimeError(f"a connection names {name!r}, which is no widget of the file")
    return by_name[name]
