"""Loads a scripted module as the application does: its file, its module object, and its panel when it is opened."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui

from .stored_property import stored


class qSlicerScriptedLoadableModule(QtCore.QObject):
    """What the application knows of a scripted module; the module's class fills it in."""

    title = stored(str, "title", "")
    categories = stored("QStringList", "categories", [])
    dependencies = stored("QStringList", "dependencies", [])
    contributors = stored("QStringList", "contributors", [])
    associatedNodeTypes = stored("QStringList", "associatedNodeTypes", [])
    helpText = stored(str, "helpText", "")
    acknowledgementText = stored(str, "acknowledgementText", "")
    icon = stored(QtGui.QIcon, "icon", None)
    path = stored(str, "path", "")
    hidden = stored(bool, "hidden", False)
    index = stored(int, "index", -1)
    widgetRepresentationCreationEnabled = stored(bool, "widgetRepresentationCreationEnabled", True)

    def widgetRepresentation(self) -> Any:
        """The panel's frame; ``.self()`` is the Python object. Made when it is first asked for."""
        if self.__dict__.get("_frame") is None:
            self.__dict__["_frame"] = frame = slicer.qSlicerScriptedLoadableModuleWidget()
            frame._create = lambda: _create_panel(self.objectName, frame)
            frame.reload()
            frame.setMRMLScene(slicer.mrmlScene)
        return self.__dict__["_frame"]

    def has_panel(self) -> bool:
        return self.__dict__.get("_frame") is not None

    def frame_enter(self) -> None:
        frame = self.widgetRepresentation()
        frame.isEntered = True
        _call(frame.self(), "enter")

    def frame_exit(self) -> None:
        frame = self.widgetRepresentation()
        frame.isEntered = False
        _call(frame.self(), "exit")


def _create_panel(name: str, frame: Any) -> None:
    panel = getattr(sys.modules[name], f"{name}Widget")(frame)
    frame._python = panel
    setattr(slicer.modules, f"{name}Widget", panel)
    panel.setup()  # and not enter(), also where the module is shown and is made anew by Reload


def _call(panel: Any, method: str) -> None:
    if hasattr(panel, method):
        getattr(panel, method)()


def load_module(path: Path) -> Any:
    """Imports the module's file and makes its module object (no panel yet). Returns the module object."""
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    python_module = importlib.util.module_from_spec(spec)
    sys.modules[name] = python_module
    spec.loader.exec_module(python_module)
    module = slicer.qSlicerScriptedLoadableModule()
    module.setObjectName(name)
    module.path = str(path)
    instance = getattr(python_module, name)(module)
    setattr(slicer.modules, f"{name}Instance", instance)
    setattr(slicer.modules, name.lower(), module)
    _call(instance, "setup")
    slicer.app.moduleManager().modules[name] = module
    return module


def unload_module(module: Any) -> None:
    """Says goodbye as the application does when it ends: ``exit`` where it is open, then ``cleanup``."""
    name = module.name
    manager = slicer.app.moduleManager()
    if module.has_panel() and module.widgetRepresentation().isEntered:
        module.frame_exit()
    manager.moduleAboutToBeUnloaded.emit(name)
    del manager.modules[name]
    del sys.modules[name]
    for attribute in (name.lower(), f"{name}Instance", f"{name}Widget"):
        vars(slicer.modules).pop(attribute, None)
