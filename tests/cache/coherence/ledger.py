"""What was written, what was acknowledged, and therefore what a read may answer."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

Rows = tuple[bytes, ...]  # the one column of an answer's rows, in the order of the statement
now_ns = time.perf_counter_ns  # the clock of this host's processes


@dataclass(frozen=True, slots=True)
class Violation:
    """An answer that must not have been given. Times in nanoseconds of one clock."""

    key: str
    statement: str
    began_ns: int
    answered_ns: int
    required: int
    required_by: str
    observed: Rows
    allowed: tuple[Rows | None, ...]
    history: str  # the newest acknowledgements

    def __str__(self) -> str:
        return (
            f"{self.key}: {self.statement} answered {self.observed!r}; version {self.required} was {self.required_by} "
            f"before the read began, so that one of {self.allowed!r} was due "
            f"({self.history}; the read began at {self.began_ns / 1e9:.3f} and was answered "
            f"{(self.answered_ns - self.began_ns) / 1e6:.1f} ms later)"
        )


class Key:
    """One thing that is read: every version it was ever given, in order. Versions count from 0, the state at the start.

    Whoever writes calls `issue` before the statement is sent and `ack` when it was acknowledged; one writer at a time.
    """

    __slots__ = ("_acked", "_direct", "_direct_floor", "_through", "contents", "name", "statement")

    def __init__(self, name: str, statement: str, content: Rows) -> None:
        self.name = name
        self.statement = statement
        self.contents: list[Rows | None] = [content]
        self._through = 0  # newest version acknowledged through the host's Turnout
        self._direct: deque[tuple[int, int]] = deque()  # (when, version) of those acknowledged past it
        self._direct_floor = 0
        self._acked: deque[tuple[int, int, bool]] = deque(maxlen=4)

    def issue(self, content: Rows | None) -> int:
        """The version that is about to be written. None: it will be rolled back, and nobody may ever see it."""
        self.contents.append(content)
        return len(self.contents) - 1

    def ack(self, version: int, through: bool) -> None:
        self._acked.append((now_ns(), version, through))
        if through:
            self._through = max(self._through, version)
        else:
            self._direct.append((now_ns(), version))

    def required(self, began_ns: int, staleness_ns: int) -> int:
        """The oldest version that a read may answer that begins now."""
        direct = self._direct
        while direct and direct[0][0] <= began_ns - staleness_ns:
            self._direct_floor = max(self._direct_floor, direct.popleft()[1])
        return max(self._through, self._direct_floor)

    def admits(self, required: int, observed: Rows) -> bool:
        """May `observed` be the answer to a read that required this version when it began?"""
        contents = self.contents
        return any(contents[version] == observed for version in range(len(contents) - 1, required - 1, -1))

    def violation(self, required: int, observed: Rows, began_ns: int) -> Violation:
        by = "acknowledged through this host" if required == self._through else "acknowledged longer than allowed ago"
        allowed = tuple(self.contents[required:])
        return Violation(
            self.name,
            self.statement,
            began_ns,
            now_ns(),
            required,
            by,
            observed,
            tuple(dict.fromkeys(allowed)),
            "; ".join(
                f"{version} acknowledged {'through' if through else 'past'} Turnout at {when / 1e9:.3f}"
                for when, version, through in self._acked
            ),
        )
