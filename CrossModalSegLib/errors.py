"""Typed errors: each names what was wrong with which value, and what to do about it."""


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


class InputError(CrossModalSegError):
    """A volume or a file that cannot be used."""


class GeometryError(CrossModalSegError):
    """Grids, affines or fields of view that cannot be brought together."""


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


class DeviceError(CrossModalSegError):
    """A compute device that is not there or has too little memory."""


class TrainingError(CrossModalSegError):
    """A training that cannot go on."""


class ProtocolError(CrossModalSegError):
    """A line between the module and its worker process that makes no sense."""


class WorkerError(CrossModalSegError):
    """Something that kept the worker process from doing what it was asked for."""


class InstallError(CrossModalSegError):
    """Packages that are missing and could not be installed."""
