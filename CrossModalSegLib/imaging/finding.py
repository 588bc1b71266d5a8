"""What is worth knowing about a scan without being a reason to refuse it."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing: ``message`` names the value, ``remedy`` says what to do about it."""

    severity: Literal["info", "warning", "error"]
    code: str
    message: str
    remedy: str

    def of(self, name: str) -> "Finding":
        """The same, said of what is called ``name``."""
        return replace(self, message=f"{name}: {self.message}")

    def __str__(self) -> str:
        """As the command line says it: ``warning[code]: message (remedy)``."""
        return f"{self.severity}[{self.code}]: {self.message} ({self.remedy})"


def log_warnings(source: object, findings: Iterable[Finding]) -> None:
    """Tell the warnings about ``source``, a path, where there is no report that they could stand in."""
    for finding in findings:
        if finding.severity == "warning":
            _log.warning("%s: %s", source, finding)
