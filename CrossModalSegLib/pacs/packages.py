"""The packages that only DICOM output and the network need: the extra ``dicom``."""

from importlib import import_module
from types import ModuleType
from typing import Any

from CrossModalSegLib.errors import InstallError

_HINT = "install them: pip install 'crossmodalseg[dicom]'"


def package(name: str, what: str) -> Any:
    """The module ``name``, such as ``highdicom.sr``. Raises InstallError ``packages-missing``: ``what`` needs it."""
    try:
        module: ModuleType = import_module(name)
    except ImportError as error:
        missing = (error.name or name).partition(".")[0]
        raise InstallError(
            "packages-missing", f"{what} needs the package {missing}, which is not there", _HINT
        ) from error
    return module
