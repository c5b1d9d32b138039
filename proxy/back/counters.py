"""Counters: by label, and those of one server."""

from __future__ import annotations

from typing import Final

OTHER: Final = "other"  # the label of everything past a family's limit
REASON_LABELS: Final = 64
SERVER_COUNTERS: Final = (
    "commands",
    "preludes",
    "waits",
    "wait_ns",
    "waits_timed_out",
    "waits_refused",
    "opened",
)


class Labelled:
    """A counter by label that keeps at most `limit` labels; the rest counts as `other`."""

    __slots__ = ("_counts", "_known", "_limit")

    def __init__(self, limit: int = REASON_LABELS) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._counts: dict[str, int] = {}

    def add(self, label: str, n: int = 1) -> None:
        counts = self._counts
        if label not in self._known:
            if len(self._known) >= self._limit:
                label = OTHER
            else:
                self._known.add(label)
        counts[label] = counts.get(label, 0) + n

    def take(self) -> dict[str, int]:
        """What was added since the last call. Labels stay known, so that a label never moves into `other`."""
        counts, self._counts = self._counts, {}
        return counts


class Counters:
    """Whoever talks to a server adds to them; `proxy.measure` hands them on."""

    __slots__ = ("closed", "open_failed", *SERVER_COUNTERS)

    def __init__(self) -> None:
        self.open_failed = Labelled()  # by reason: "refused", "timeout", "login", ...
        self.closed = Labelled()  # by reason: "idle", "age", "error", "lost", "reload", ...
        self.clear()

    def clear(self) -> None:
        self.commands = 0  # statements and other commands of clients that were sent
        self.preludes = 0  # commands of ours before them: settings, BEGIN, database
        self.waits = self.wait_ns = 0  # for a connection, when none was free at once
        self.waits_timed_out = 0
        self.waits_refused = 0  # the queue of waiters was full
        self.opened = 0
