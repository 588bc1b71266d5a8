"""The fixture ``desktop``: one Slicer-like application for a test."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from Testing.slicer.launcher import write_launcher

IGNORED_MESSAGES = ("propagateSizeHints",)


class Desktop:
    """Loads modules, answers dialogs, lets events happen, takes pictures.

    ``module`` is the module object loaded last, ``frame`` its panel's frame, ``panel`` the ``<Module>Widget``.
    ``dialogs`` records message boxes and gives the answers of the test. Exceptions inside slots and observers, and
    Qt's warnings, fail the test when it ends, unless the test took them with ``take_errors()``.
    """

    def __init__(self, names: Any, application: Any):
        from .dialogs import RECORD

        self.scene = names.logics.scene
        self.logics = names.logics
        self.qt, self.ctk = names.qt, names.ctk
        self.app = application
        self.dialogs = RECORD
        self.module: Any = None
        self._errors: list[BaseException | str] = []

    @property
    def frame(self) -> Any:
        return self.module.widgetRepresentation()

    @property
    def panel(self) -> Any:
        return self.frame.self()

    def load_module(self, path: str | Path, enter: bool = True) -> Any:
        """Loads ``<Name>.py`` as Slicer does; makes its panel and opens it. Returns the panel, ``<Name>Widget``."""
        from .module_loader import load_module

        self.module = load_module(Path(path).resolve())
        self.app.startup_completed()
        if enter:
            self.enter()
        return self.panel

    def enter(self) -> None:
        """The user opens the module."""
        self.app.main_window.moduleSelector().selectModule(self.module.name)

    def exit(self) -> None:
        """The user goes to another module."""
        self.app.main_window.moduleSelector().selectModule("Welcome")

    def reload(self) -> Any:
        """The developer's Reload button. Returns the new panel."""
        self.panel.onReload()
        self.process_events()
        return self.panel

    def close_scene(self) -> None:
        """File > Close scene."""
        self.scene.Clear(0)
        self.process_events()

    def process_events(self, until: Callable[[], Any] | None = None, timeout: float = 30.0) -> None:
        """Lets events happen: once, or until ``until()`` is true. AssertionError after ``timeout`` seconds."""
        from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop

        deadline = time.monotonic() + timeout
        while True:
            QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
            if until is None or until():
                return
            assert time.monotonic() < deadline, f"not so after {timeout} s: {until}; errors: {self._errors}"
            time.sleep(0.005)

    def renders_of(self, action: Callable[[], Any]) -> int:
        """How often the views would draw during ``action()``."""
        before = self.app.renders.count
        action()
        return int(self.app.renders.count - before)

    def show_scrolled(self, width: int, height: int) -> Any:
        """Puts the panel into a window of this size that scrolls, as Slicer's module panel does. Returns the window."""
        from .collapsible import ModulePanel

        area = self.qt.QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(ModulePanel(self.frame))
        area.resize(width, height)
        area.show()
        self.process_events()
        return area

    def screenshot(self, widget: Any, path: str | Path, width: int = 480, height: int | None = None) -> Path:
        """Draws a widget at the given width (pixels), as high as it wants to be or as given; writes a PNG."""
        widget.resize(width, height or 100)
        widget.show()
        self.process_events()
        widget.resize(width, height or max(widget.minimumSizeHint.height(), widget.sizeHint.height()))
        self.process_events()
        assert widget.grab().save(str(path)), f"{path} could not be written"
        return Path(path)

    def take_errors(self) -> list[BaseException | str]:
        """Exceptions that slots and observers raised, and Qt's warnings, since the last call."""
        taken, self._errors[:] = list(self._errors), []
        return taken

    def unload(self) -> None:
        """Ends the application: modules clean up, then the scene is cleared (a forgotten observer may show)."""
        from .module_loader import unload_module
        from .parameter_node import release_bindings

        modules = list(self.app.moduleManager().modules.values())
        for module in modules:
            unload_module(module)
        self.close_scene()
        release_bindings()
        for node in self.scene.GetNodesByClass("vtkMRMLScriptedModuleNode"):
            self.scene.RemoveNode(node)
        for module in modules:
            if module.has_panel():
                module.widgetRepresentation().deleteLater()
        self.module = None
        self.process_events()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Collects what Python and Qt would only print."""
        from PySide6.QtCore import qInstallMessageHandler

        former_hook = sys.excepthook
        sys.excepthook = lambda _kind, error, _trace: self._errors.append(error)
        former_handler = qInstallMessageHandler(lambda _kind, _context, text: self._message(text))
        try:
            yield
        finally:
            sys.excepthook = former_hook
            qInstallMessageHandler(former_handler)

    def _message(self, text: str) -> None:
        if not any(ignored in text for ignored in IGNORED_MESSAGES):
            self._errors.append(f"Qt: {text}")


@pytest.fixture(scope="session")
def slicer_names(slicer_logics: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The stand-in modules and the Qt application, once for all tests."""
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed: pip install PySide6-Essentials")
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtCore import QSettings
    from PySide6.QtWidgets import QApplication

    from .appearance import dress_up
    from .slicer_names import SlicerNames

    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path_factory.mktemp("slicer-settings"))
    )
    application = QApplication.instance() or QApplication(["Slicer"])
    application.setOrganizationName("NA-MIC")
    application.setApplicationName("Slicer")
    dress_up(application)
    return SlicerNames(slicer_logics)


@pytest.fixture(scope="session")
def python_slicer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with Slicer's launcher of Python."""
    return write_launcher(tmp_path_factory.mktemp("slicer-bin")).parent


@pytest.fixture
def desktop(
    slicer_names: Any, mrml_scene: Any, python_slicer: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desktop]:
    """A Slicer-like application with an empty scene; see Desktop. What it proves and what not: the package's page."""
    del mrml_scene
    monkeypatch.setenv("PATH", str(python_slicer), prepend=os.pathsep)
    application = slicer_names.make_application()
    with slicer_names.installed(application):
        desktop = Desktop(slicer_names, application)
        with desktop.watched():
            application.open()
            try:
                yield desktop
            finally:
                desktop.unload()
                application.close()
                desktop.dialogs.clear()
        errors = desktop.take_errors()
    raised = next((error for error in errors if isinstance(error, BaseException)), None)
    if errors:
        raise AssertionError(f"in slots, in observers or from Qt: {errors}") from raised
