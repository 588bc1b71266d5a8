"""Typed errors: each names what was wrong with which value, and what to do about it."""

import errno
import os
import re
from typing import Self

_OUT_OF_MEMORY = re.compile(
    "allocate memory|not enough memory|bad_?alloc|out of memory|unable to allocate|storage size calculation overflowed"
    "|failed to map segment",  # of a library that is loaded
    re.IGNORECASE,
)
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


class CrossModalSegError(Exception):
    """Something a user can put right.

    ``code`` is a short stable identifier (``not-found``), ``message`` names the offending value, ``hint`` says
    what to do. The command line prints ``error[code]: message (hint)`` and exits with 2.
    """

    def __init__(self, code: str, message: str, hint: str):
        super().__init__(f"error[{code}]: {message} ({hint})")
        self.code = code
        self.message = message
        self.hint = hint

    def with_path(self, path: object, told_as: object) -> Self:
        """The same error, which names ``path`` as what the user knows it as."""
        self.message = self.message.replace(str(path), str(told_as))
        self.args = (f"error[{self.code}]: {self.message} ({self.hint})",)
        return self


class InputError(CrossModalSegError):
    """A volume or a file that cannot be used."""


class ArchiveError(InputError):
    """A zip file that is none, damaged, or locked by a password."""

    def __init__(self, message: str, hint: str = "pack it again as zip"):
        super().__init__("unreadable", message, hint)


class GeometryError(CrossModalSegError):
    """Grids, affines or fields of view that cannot be brought together."""


class NoMatchError(GeometryError):
    """Two scans that cannot be brought onto each other by what they show."""

    def __init__(self, message: str):
        super().__init__("no-match", message, "check that both scans are of one patient, or align them by hand")


class LabelError(CrossModalSegError):
    """A label map or label values that do not fit."""


class BundleError(CrossModalSegError):
    """A model bundle that is missing, damaged or not meant for this input."""


class ConfigError(CrossModalSegError):
    """A configuration with wrong or unknown entries; the message lists all of them."""


class DataError(CrossModalSegError):
    """A datalist, case table or data folder that cannot be used; the message lists all problems."""


class OutputError(CrossModalSegError):
    """Results that cannot be written where they were asked for."""


class OutputExistsError(OutputError):
    """There is something already where results were to be written."""

    def __init__(self, message: str, hint: str):
        super().__init__("output-exists", message, hint)


class DeviceError(CrossModalSegError):
    """A compute device that is not there or has too little memory."""


class GpuFaultError(DeviceError):
    """A GPU that this process cannot use any more."""

    def __init__(self, message: str):
        super().__init__("gpu-fault", message, "try again; if it comes back, choose the CPU as device")


class TrainingError(CrossModalSegError):
    """A training that cannot go on."""


class ProtocolError(CrossModalSegError):
    """A line between the module and its worker process that makes no sense."""


class WorkerError(CrossModalSegError):
    """Something that kept the worker process from doing what it was asked for."""


class InstallError(CrossModalSegError):
    """Packages that are missing and could not be installed."""


def read_error(what: str, error: OSError, kind: type[CrossModalSegError] = InputError) -> CrossModalSegError:
    """The error of the ``kind`` that says why ``what``, a file or folder with its path, cannot be read.

    Its code is ``not-found``, ``path-too-long`` or ``cannot-read``.
    """
    reason = error.strerror or str(error)
    if error.errno == errno.ENAMETOOLONG:
        return kind("path-too-long", f"{what}: {reason}", "give shorter names, or work in a folder nearer to the root")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return kind("not-found", f"{what}: {reason}", "check the path")
    if isinstance(error, PermissionError):
        return kind(
            "cannot-read", f"{what}: {reason}", "ask for the right to read it, or copy it to a folder of your own"
        )
    return kind("cannot-read", f"{what}: {reason}", "check the path and the disk")


def typed_error(error: BaseException) -> CrossModalSegError | None:
    """What an exception of Python, NumPy, torch or SimpleITK means to the user; None where it is a fault of ours."""
    if isinstance(error, CrossModalSegError):
        return error
    what = _in_one_line(error)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError) and _OUT_OF_MEMORY.search(str(error))
    ):
        return DeviceError("out-of-memory", what, "close other programs or crop the volumes")
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # of Path.resolve
        return InputError("cannot-read", f"{error}: the link leads to itself", "check the path")
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):
        return GpuFaultError(what)
    if isinstance(error, ImportError) and not (error.name or "").startswith("CrossModalSegLib"):
        package = (error.name or "a package").partition(".")[0]
        return InstallError("packages-missing", f"{package} cannot be loaded: {what}", "install the packages")
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return _of_file(os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename, error)
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return OutputError("cannot-write", error.strerror or what, "check that the disk has space")
    return None


def internal_error(error: BaseException) -> CrossModalSegError:
    """How a fault of ours is told where a traceback cannot be: ``internal``."""
    return CrossModalSegError("internal", _in_one_line(error), "report it, with the log")


def _of_file(path: object, error: OSError) -> CrossModalSegError:
    if error.errno in _NO_SPACE:
        return OutputError("cannot-write", f"{path}: {error.strerror}", "check that the disk has space")
    return read_error(str(path), error)


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no details'}"
