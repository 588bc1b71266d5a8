"""The module ``qt``: PySide6 made to obey PythonQt's rules for attributes.

In PythonQt, properties are attributes (``label.text = "x"``, ``button.enabled``), not methods. A name that does not
exist cannot be assigned, a method cannot be overwritten, constructors take no keyword arguments. PySide6 would let all
of these pass and the mistake would show only in Slicer; here each raises.
"""

import inspect
import types
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .signals import SignatureConnections

SOURCES = (QtCore, QtGui, QtWidgets, QtUiTools)

WRAPPERS: set[type] = set()
"""The classes of ``qt``, ``ctk`` and ``slicer`` that stand for C++ classes: their objects take no new attributes."""


class PropertyAttribute:
    """A Qt property that is read and written as an attribute. On the class, the method of that name is still found."""

    def __init__(self, name: str, method: Any):
        self.name = name
        self.method = method
        self.being_read: set[int] = set()

    def __get__(self, instance: QtCore.QObject | None, owner: type) -> Any:
        if instance is None:
            return self.method
        check_alive(instance, self.name)
        if id(instance) in self.being_read:  # Qt asks whether its virtual getter is overridden in Python: no
            return None
        self.being_read.add(id(instance))
        try:
            value = instance.property(self.name)
        finally:
            self.being_read.remove(id(instance))
        return tuple(value) if isinstance(value, list) else value  # PythonQt gives lists as tuples

    def __set__(self, instance: QtCore.QObject, value: Any) -> None:
        set_property(instance, self.name, value)


def check_alive(instance: QtCore.QObject, name: str) -> None:
    """Raises ValueError, as PythonQt does, where Qt has deleted the object behind a Python name."""
    if not shiboken6.isValid(instance):
        raise ValueError(f"Trying to access attribute '{name}' of a destroyed {type(instance).__name__} object")


def set_property(instance: QtCore.QObject, name: str, value: Any) -> None:
    """Sets a declared property; raises AttributeError where it cannot be written or takes no such value."""
    declared = instance.metaObject().property(instance.metaObject().indexOfProperty(name))
    kind = type(instance).__name__
    if not declared.isWritable():
        raise AttributeError(f"Property '{name}' of {kind} is not writable")
    value = list(value) if isinstance(value, tuple) else value
    missing_text = value is None and declared.typeName() == "QString"
    if missing_text or not (instance.setProperty(name, value) or _call_setter(instance, name, value)):
        raise AttributeError(
            f"Property '{name}' of type '{declared.typeName()}' of {kind} does not accept "
            f"{value!r} of type {type(value).__name__}"
        )


def _call_setter(instance: QtCore.QObject, name: str, value: Any) -> bool:
    """For enumerations, which PySide6 does not take as property values: ``setIcon(value)`` for ``icon``."""
    try:
        getattr(instance, f"set{name[0].upper()}{name[1:]}")(value)
    except (AttributeError, TypeError):
        return False
    return True


def _own_properties(qt_class: type) -> list[str]:
    """The properties that a class declares, and inherited ones of which it has a method of that name again."""
    declared = qt_class.staticMetaObject
    inherited = [declared.property(number).name() for number in range(declared.propertyOffset())]
    own = [declared.property(number).name() for number in range(declared.propertyOffset(), declared.propertyCount())]
    return own + [name for name in inherited if name in vars(qt_class)]


def _qt_names() -> dict[str, Any]:
    """What PySide6 has under each name that starts with Q. (It loads classes when asked for: ``vars`` lacks most.)"""
    return {name: getattr(source, name) for source in SOURCES for name in dir(source) if name.startswith("Q")}


def _dress(qt_class: type) -> None:
    """Gives a PySide6 class its properties as attributes, also for objects that Qt itself creates."""
    for name in _own_properties(qt_class):
        setattr(qt_class, name, PropertyAttribute(name, getattr(qt_class, name, None)))


class WrapperType(type(QtCore.QObject)):
    """The type of wrapper classes: an object that Qt made is an instance of the wrapper, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.qt_class) if cls in WRAPPERS else super().__instancecheck__(instance)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.qt_class) if cls in WRAPPERS else super().__subclasscheck__(other)

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        if cls in WRAPPERS and keywords:
            raise TypeError(f"{cls.__name__}() takes no keyword arguments in PythonQt, not {', '.join(keywords)}")
        return super().__call__(*arguments, **keywords)


class Wrapped(SignatureConnections):
    """What PythonQt adds to every object, and what it forbids."""

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self)
        check_alive(self, name)
        if self.metaObject().indexOfProperty(name) >= 0:
            set_property(self, name, value)
        elif kind not in WRAPPERS or name.startswith("_") or isinstance(getattr(kind, name, None), property):
            super().__setattr__(name, value)
        elif name in [bytes(dynamic).decode() for dynamic in self.dynamicPropertyNames()]:
            self.setProperty(name, value)
        elif hasattr(kind, name):
            raise AttributeError(f"Slot '{name}' can not be overwritten on {kind.__name__} object")
        else:
            raise AttributeError(
                f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
            )

    @property
    def name(self) -> str:
        return self.property("objectName")

    @name.setter
    def name(self, value: str) -> None:
        self.setObjectName(value)

    def className(self) -> str:
        return type(self).__name__

    def delete(self) -> None:
        shiboken6.delete(self)

    def findChildren(self, kind: type = QtCore.QObject, name: str = "") -> list[QtCore.QObject]:
        kind = getattr(kind, "qt_class", kind)
        return self.qt_class.findChildren(self, kind, name) if name else self.qt_class.findChildren(self, kind)

    def findChild(self, kind: type = QtCore.QObject, name: str = "") -> QtCore.QObject | None:
        return next(iter(self.findChildren(kind, name)), None)


def wrap(qt_class: type, name: str = "") -> type:
    """The class under which Slicer's Python knows a Qt class (or a stand-in written as one)."""
    # PySide6 finds "connect" and the like in the class itself only, so they are put there as well.
    own = {method: getattr(Wrapped, method) for method in ("connect", "disconnect", "findChild", "findChildren")}
    wrapper = WrapperType(name or qt_class.__name__, (Wrapped, qt_class), {"qt_class": qt_class, **own})
    WRAPPERS.add(wrapper)
    return wrapper


def build_qt() -> types.ModuleType:
    """The module ``qt``. PySide6's own classes are dressed by it once and for all; call it once per process."""
    qt = types.ModuleType("qt", __doc__)
    qt.Signal, qt.Slot, qt.Property = QtCore.Signal, QtCore.Slot, QtCore.Property
    for name, item in _qt_names().items():
        is_object = inspect.isclass(item) and issubclass(item, QtCore.QObject)
        if is_object:
            _dress(item)
        setattr(qt, name, wrap(item) if is_object and not issubclass(item, QtCore.QCoreApplication) else item)
    return qt
