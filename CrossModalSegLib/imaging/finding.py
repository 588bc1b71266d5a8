"""What is worth knowing about a scan without being a reason to refuse it."""

from dataclasses import dataclass, replace
from typing import Literal


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
