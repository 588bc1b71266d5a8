"""What VTK has to say goes into Python's log: errors are seen, notes that are for its developers are not."""

import logging
from typing import Any

import vtk

_log = logging.getLogger(__name__)
_kept: list[Any] = []


def log_vtk_messages() -> None:
    """Errors become errors of Python's log, warnings become infos, which are not shown by default."""
    window = vtk.vtkOutputWindow()
    window.SetDisplayModeToNever()
    for event, level in (("ErrorEvent", logging.ERROR), ("WarningEvent", logging.INFO)):
        window.AddObserver(event, _logger(level))
    vtk.vtkOutputWindow.SetInstance(window)
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)  # the same messages once more, in colours
    _kept.append(window)


def _logger(level: int) -> Any:
    def log(_window: Any, _event: str, text: str) -> None:
        _log.log(level, "%s", text.strip())

    log.CallDataType = vtk.VTK_STRING  # type: ignore[attr-defined]
    return log
