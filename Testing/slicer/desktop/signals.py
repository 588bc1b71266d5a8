"""Connections by signature, ``button.connect("clicked()", function)``, with an error where Qt has no such signal."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from PySide6 import QtCore


class SignatureConnections:
    """Mixed into every wrapper class. Stand-ins with VTK types in a signal list it in their ``cpp_signals``."""

    def connect(self, signature: str, *target: Any) -> Any:
        """Calls ``target`` (a function, or an object and the name of its slot) with the arguments in the signature.

        Raises ValueError for a signal that does not exist (PythonQt only returns False, and nothing ever happens).
        """
        if isinstance(signature, QtCore.QObject):  # PySide6 itself, on the way from signal.connect(function)
            return QtCore.QObject.connect(signature, *target)
        signal, count = self._signal(signature)
        callback = _callback(target)
        adapter = callback if count else lambda *_: callback()
        self.__dict__.setdefault("_connections", []).append((_normal(signature), callback, adapter))
        signal.connect(adapter)
        return True

    def disconnect(self, signature: str, *target: Any) -> Any:
        """Undoes ``connect`` with the same arguments; raises ValueError where there was no such connection."""
        if isinstance(signature, QtCore.QObject):
            return QtCore.QObject.disconnect(signature, *target)
        signal, _ = self._signal(signature)
        callback = _callback(target)
        connections = self.__dict__.setdefault("_connections", [])
        for entry in connections:
            if entry[:2] == (_normal(signature), callback):
                connections.remove(entry)
                signal.disconnect(entry[2])
                return True
        raise ValueError(f"{type(self).__name__}: {signature} is not connected to {callback}")

    def _signal(self, signature: str) -> tuple[QtCore.SignalInstance, int]:
        """The signal, and how many arguments the signature has."""
        normal = _normal(signature)
        if normal not in getattr(self, "cpp_signals", ()) and self.metaObject().indexOfSignal(normal) < 0:
            raise ValueError(f"{type(self).__name__} has no signal {signature!r}")
        name, arguments = normal.rstrip(")").split("(")
        signal = getattr(self, name)
        with suppress(IndexError, KeyError):  # the only one of its name: PySide6 does not offer it by C++ arguments
            signal = signal[arguments] if arguments else signal
        return signal, len(arguments.split(",")) if arguments else 0


def _normal(signature: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()


def _callback(target: tuple[Any, ...]) -> Callable[..., Any]:
    if len(target) == 1:
        return target[0]
    receiver, slot = target
    return getattr(receiver, slot.split("(")[0])
