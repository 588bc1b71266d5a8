"""``slicer.app``, its main window and module manager."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PySide6 import QtCore, QtWidgets

from .file_reading import CoreIOManager
from .pythonqt import wrap
from .rendering import Renders

VERSION = (5, 11)


class ModuleSelector:
    """The toolbar's list of modules: leaving one calls its ``exit``, choosing one its ``enter``."""

    def __init__(self, manager: "ModuleManager"):
        self._manager = manager
        self.selectedModule = ""

    def selectModule(self, name: str) -> None:
        if name == self.selectedModule:
            return
        for module in self._manager.modules.values():
            if module.name == self.selectedModule:
                module.frame_exit()
        self.selectedModule = name
        if name in self._manager.modules:
            self._manager.modules[name].frame_enter()


class MainWindow(QtWidgets.QMainWindow):
    """An empty window by the name under which Slicer's functions look for it; it is never shown."""

    def __init__(self, manager: "ModuleManager"):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = ModuleSelector(manager)

    def moduleSelector(self) -> ModuleSelector:
        return self._selector


class ModuleManager(QtCore.QObject):
    """Knows the loaded scripted modules."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)
    moduleLoaded = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Any] = {}

    @property
    def modules(self) -> dict[str, Any]:
        return self._modules

    def module(self, name: str) -> Any:
        return self.modules.get(name)


class Application:
    """What Python code finds as ``slicer.app``."""

    SIGNALS = ("startupCompleted()", "aboutToQuit()", "lastWindowClosed()")

    applicationName = "Slicer"
    majorVersion, minorVersion = VERSION
    applicationVersion = f"{VERSION[0]}.{VERSION[1]}.0"

    def __init__(self, logics: SimpleNamespace, manager: ModuleManager, settings: Any):
        self._logics, self._manager, self._settings = logics, manager, settings
        self._startup_callbacks: list[Any] = []
        self.main_window: MainWindow | None = None
        self.temporaryPath = logics.application.GetTemporaryPath()
        self.slicerHome = str(Path(self.temporaryPath) / "home")
        self.is_testing = False
        self.renders = Renders(logics.scene)

    def open(self) -> None:
        self.main_window = wrap(MainWindow)(self._manager)
        self.renders.watch()

    def close(self) -> None:
        self.renders.stop()
        self.main_window.deleteLater()
        self.main_window = None

    def startup_completed(self) -> None:
        """Calls what modules connected to ``startupCompleted()``, once."""
        callbacks, self._startup_callbacks = self._startup_callbacks, []
        for callback in callbacks:
            callback()

    def topLevelWidgets(self) -> list[Any]:
        return [self.main_window] if self.main_window else []

    def testingEnabled(self) -> bool:
        return self.is_testing

    def mrmlScene(self) -> Any:
        return self._logics.scene

    def moduleManager(self) -> ModuleManager:
        return self._manager

    def coreIOManager(self) -> CoreIOManager:
        return CoreIOManager(self._logics)

    def settings(self) -> Any:
        return self._settings

    def processEvents(self, *_: Any) -> None:
        QtCore.QCoreApplication.processEvents()

    def setOverrideCursor(self, cursor: Any) -> None:
        QtWidgets.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        QtWidgets.QApplication.restoreOverrideCursor()

    def pauseRender(self) -> None:
        self.renders.pause()

    def resumeRender(self) -> None:
        self.renders.resume()

    def connect(self, signature: str, target: Any) -> bool:
        """Of the application's signals, ``startupCompleted()`` is emitted after a module was loaded, others never."""
        if signature not in self.SIGNALS:
            raise ValueError(f"the application has no signal {signature!r}")
        if signature == "startupCompleted()":
            self._startup_callbacks.append(target)
        return True

    def documentationBaseUrl(self) -> str:
        return "https://slicer.readthedocs.io/en/latest/"

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl()}{name}"
