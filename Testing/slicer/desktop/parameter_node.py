"""``slicer.parameterNodeWrapper``: a class of annotated parameters, stored in a node, bound to widgets by name.

Not stood in for: parameter packs, lists, dictionaries, unions other than with None.
"""

import types
import typing
from typing import Any

import slicer
import vtk

from . import parameter_types
from .gui_connectors import Connector, connector_for
from .parameter_types import Default, ParameterType

PROPERTY = "SlicerParameterName"

_BOUND: list[tuple[Any, int]] = []
"""Node and tag of each observation made for a binding; see `release_bindings`."""


class ParameterNode:
    """What ``@parameterNodeWrapper`` adds to a class."""

    allParameters: typing.ClassVar[dict[str, ParameterType]] = {}

    def __init__(self, parameterNode: Any, prefix: str | None = None):
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._guis: dict[int, dict[str, Connector]] = {}
        self._next_tag = 0
        self._is_updating_gui = False
        for name, kind in self.allParameters.items():
            if not kind.is_in(parameterNode, self._prefix + name):
                kind.write(parameterNode, self._prefix + name, kind.default())

    def __setattr__(self, name: str, value: Any) -> None:
        """Parameters and private names only: Slicer would let a misspelled parameter pass, and lose its value."""
        known = name in self.allParameters or name.startswith("_") or name == "parameterNode"
        if not known and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}, only {list(self.allParameters)}")
        super().__setattr__(name, value)

    def getValue(self, name: str) -> Any:
        return self._kind(name).read(self.parameterNode, self._prefix + name)

    def setValue(self, name: str, value: Any) -> None:
        self._kind(name).write(self.parameterNode, self._prefix + name, value)

    def default(self, name: str) -> Default:
        return Default(self._kind(name).default())

    def dataType(self, name: str) -> Any:
        return self._kind(name).annotation

    def isCached(self, name: str) -> bool:
        return self._kind(name) is not None

    def _kind(self, name: str) -> ParameterType:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}; found {list(self.allParameters)}")
        return self.allParameters[name]

    def connectGui(self, gui: Any) -> None:
        """Binds every widget inside ``gui`` (a widget, or what ``childWidgetVariables`` gives) that names a parameter.

        Slicer's returns nothing, so these bindings cannot be undone; ``connectParametersToGui`` returns a tag.
        Raises ValueError for a name that is no parameter, RuntimeError for a widget that cannot show its type.
        """
        import qt

        is_widget = getattr(gui, "isWidgetType", lambda: False)()
        widgets = gui.findChildren(qt.QWidget) if is_widget else vars(gui).values()
        bound = {widget.property(PROPERTY): widget for widget in widgets}
        self.connectParametersToGui({name: widget for name, widget in bound.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        connectors = {name: connector_for(widget, self._kind(name)) for name, widget in mapping.items()}
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._guis[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.on_changed(lambda name=name, connector=connector: self._take_from_gui(name, connector))
        # As in Slicer, the observation is never taken back, not even by disconnectGui.
        _BOUND.append((self.parameterNode, self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update_guis)))
        return tag

    def disconnectGui(self, tag: int) -> None:
        for connector in self._guis.pop(tag, {}).values():
            connector.on_changed(None)

    def _take_from_gui(self, name: str, connector: Connector) -> None:
        with slicer.util.NodeModify(self):
            if not self._is_updating_gui:
                self.setValue(name, connector.read())

    def _update_guis(self, *_: Any) -> None:
        if self._is_updating_gui:
            return
        self._is_updating_gui = True
        try:
            with slicer.util.NodeModify(self):
                for connectors in self._guis.values():
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._is_updating_gui = False

    def StartModify(self) -> Any:
        return self.parameterNode.StartModify()

    def EndModify(self, was_modifying: Any) -> None:
        self.parameterNode.EndModify(was_modifying)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def release_bindings() -> None:
    """For the end of a test. Until then all are kept: Python might collect a node's observer while the scene has the
    node, because it does not see the scene's reference, and the next change of the node would call what is gone.
    """
    for node, tag in _BOUND:
        node.RemoveObserver(tag)
    _BOUND.clear()


def _value_property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def parameterNodeWrapper(described: type | None = None) -> Any:
    """The decorator: annotations become parameters; a default comes from ``= value`` or from ``Default``."""
    if described is None:
        return parameterNodeWrapper
    parameters = {}
    for name, annotation in typing.get_type_hints(described, include_extras=True).items():
        if hasattr(ParameterNode, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        parameters[name] = ParameterType(annotation)
        if hasattr(described, name):
            parameters[name].extras.insert(0, Default(getattr(described, name)))
    wrapped = type(described.__name__, (described, ParameterNode), {"__init__": ParameterNode.__init__})
    wrapped.__module__, wrapped.__doc__ = described.__module__, described.__doc__
    wrapped.allParameters = parameters
    wrapped._is_parameter_node_wrapper = True
    for name in parameters:
        setattr(wrapped, name, _value_property(name))
    return wrapped


def build_parameter_node_wrapper() -> types.ModuleType:
    """The module ``slicer.parameterNodeWrapper``."""
    module = types.ModuleType("slicer.parameterNodeWrapper", __doc__)
    module.parameterNodeWrapper = parameterNodeWrapper
    module.SlicerParameterNamePropertyName = PROPERTY
    module.isParameterNodeWrapper = lambda item: getattr(item, "_is_parameter_node_wrapper", False)
    for name in ("Choice", "Decimals", "Default", "Maximum", "Minimum", "SingleStep", "Validator", "WithinRange"):
        setattr(module, name, getattr(parameter_types, name))
    return module
