"""The names that only the desktop sets: ``qt``, ``ctk``, ``slicer.app``, ``slicer.modules`` and their like."""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import slicer

from . import dialogs
from .application import Application, ModuleManager
from .ctk_widgets import build_ctk
from .module_loader import qSlicerScriptedLoadableModule
from .mrml_widgets import mrml_widgets
from .parameter_node import build_parameter_node_wrapper
from .pythonqt import build_qt, wrap
from .sample_data_module import build_sample_data
from .scripted_module import build_scripted_module
from .ui_loader import make_loader


class SlicerNames:
    """Makes all stand-in modules once; ``installed()`` shows them to Python for the time of one test."""

    def __init__(self, logics: SimpleNamespace):
        self.logics = logics
        self.qt = build_qt()
        self.ctk = build_ctk()
        self.widgets = {name: wrap(widget) for name, widget in mrml_widgets().items()}
        self.widgets["qSlicerScriptedLoadableModule"] = wrap(qSlicerScriptedLoadableModule)
        for dialog in (dialogs.QMessageBox, dialogs.QFileDialog, dialogs.QInputDialog):
            setattr(self.qt, dialog.__name__, wrap(dialog))
        self.qt.QUiLoader = make_loader((self.ctk, SimpleNamespace(**self.widgets), self.qt))
        self.modules = types.ModuleType("slicer.modules")
        self.submodules = {
            "modules": self.modules,
            "i18n": _build_i18n(),
            "ScriptedLoadableModule": build_scripted_module(),
            "parameterNodeWrapper": build_parameter_node_wrapper(),
        }
        self.top_level = {"qt": self.qt, "ctk": self.ctk, "SampleData": build_sample_data()}

    def make_application(self) -> Application:
        """The application for one test, with a main window, no modules and empty settings."""
        settings = self.qt.QSettings()
        settings.clear()
        vars(self.modules).clear()
        self.modules.__name__ = "slicer.modules"
        self.modules.sampleDataSources = {}
        for name, logic in vars(self.logics).items():
            if hasattr(logic, "GetModuleLogic") or name in ("scene", "application"):
                continue
            module_name = name.replace("_", "")
            setattr(self.modules, module_name, SimpleNamespace(logic=lambda logic=logic: logic, name=module_name))
        return Application(self.logics, wrap(ModuleManager)(), settings)

    @contextmanager
    def installed(self, application: Application) -> Iterator[None]:
        """Within it, ``import qt`` and ``slicer.app`` work; afterwards all is as before."""
        attributes: dict[str, Any] = {"app": application, "mrmlScene": self.logics.scene}
        attributes |= self.submodules | self.widgets
        modules = self.top_level | {f"slicer.{name}": module for name, module in self.submodules.items()}
        imported = dict(sys.modules)
        vars(slicer).update(attributes)
        sys.modules.update(modules)
        try:
            yield
        finally:
            _take_back(imported)
            for name in attributes:
                vars(slicer).pop(name, None)
            for name in modules:
                sys.modules.pop(name, None)


def _take_back(imported: dict[str, types.ModuleType]) -> None:
    """Packages that were imported anew (by Reload) are the former ones again: tests hold on to classes of those."""
    replaced = {name for name, module in imported.items() if sys.modules.get(name) is not module}
    packages = {name.split(".")[0] for name in replaced} - {"slicer"}
    for name in [name for name in sys.modules if name.split(".")[0] in packages]:
        del sys.modules[name]
    sys.modules.update({name: module for name, module in imported.items() if name.split(".")[0] in packages})


def _build_i18n() -> types.ModuleType:
    module = types.ModuleType("slicer.i18n")
    module.tr = lambda text: text
    module.translate = lambda _context, text: text
    return module
