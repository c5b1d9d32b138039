"""What one difference between two rules files would do."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.Enum):
    INFO = "info"  # takes effect at the reload, and nothing else has to be done
    CAUTION = "caution"  # something has to be done outside Turnout, or applications notice
    RESTART = "restart"  # takes effect only when Turnout is restarted


@dataclass(frozen=True, slots=True)
class Change:
    """`where` is the dotted way to the entry, `message` a sentence about it."""

    severity: Severity
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity.value}: {self.where}: {self.message}"
