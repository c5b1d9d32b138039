r"""A server's general query log, read as a stream: MySQL 5.1 to 8, MariaDB. It says what was asked, not what it took.

    2023-11-26T05:42:03.123456Z\t    8 Query\tSELECT 1     MySQL since 5.7
    231126  5:42:03\t     4 Connect\tapp@localhost on shop   others; within the same second two tabs stand for the time:
    \t\t     4 Query\tSELECT 1

Prepared statements are counted where they are executed (`Execute`), not where they are prepared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from proxy.measure.slow_log import MAX_BEFORE, LoggedStatement, logged_time, without_banner

_ENTRY = re.compile(
    rb"\n(\d{6} [ \d]\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)|\t)\t *(\d+) "
    rb"(Query|Execute|Prepare|Connect|Init DB|Quit|Close stmt|Reset stmt|Field List|Statistics|Ping|Change user"
    rb"|Binlog Dump(?: GTID)?|Fetch|Long Data|Set option|Processlist|Kill|Shutdown|Refresh|Create DB|Drop DB|Debug"
    rb"|Register Slave|Register Replica|Table Dump|Connect Out|Delayed insert|Daemon|Time|Error|Reset connection"
    rb"|Bulk_execute|Slave_worker|Slave_IO|Slave_SQL)\t? *"
)
_ON = re.compile(rb"\A\S* on (\S*)(?: using |\Z)")
_USE = re.compile(rb"\Ause\s+(?:`((?:[^`]|``)*)`|(\S+?))\s*;?\s*\Z", re.IGNORECASE)
MAX_SESSIONS = 100_000  # whose databases are remembered


class GeneralLog:
    """Bytes of a general log in, statements out. `unread` counts what stands between entries and is none."""

    def __init__(self) -> None:
        self.unread = 0
        self.has_bytes = self.has_errors = False
        self._rest = b"\n"
        self._begun = False
        self._time: float | None = None
        self._databases: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> Iterator[LoggedStatement]:
        """The statements that are complete with these bytes of the file."""
        data = self._rest + data
        found = list(_ENTRY.finditer(data))
        self._begun = self._begun or bool(found)
        # An entry may go on until another begins.
        self._rest = data[found[-1].start() :] if found else data if self._begun else data[-MAX_BEFORE:]
        return self._read(data, found[:-1], [entry.start() for entry in found[1:]])

    def end(self) -> Iterator[LoggedStatement]:
        """The last one, at the end of the file."""
        data, self._rest = self._rest.removesuffix(b"\n"), b"\n"
        found = list(_ENTRY.finditer(data))
        return self._read(data, found, [*(entry.start() for entry in found[1:]), len(data)])

    def _read(self, data: bytes, entries: Sequence[re.Match[bytes]], ends: Sequence[int]) -> Iterator[LoggedStatement]:
        databases = self._databases
        for entry, end in zip(entries, ends):
            moment, session, command = entry.groups()
            if len(moment) > 1:
                self._time = logged_time(moment)
            text = data[entry.end() : end]
            if text.rstrip().endswith(b"Argument"):
                text = without_banner(text)
            if command == b"Query" or command == b"Execute":
                yield text, databases.get(session, b""), self._time, 0, 0, 0, 0, False, False
                used = _USE.match(text) if text[:3].lower() == b"use" else None
                if used is not None:
                    self._remember(session, used[1].replace(b"``", b"`") if used[1] is not None else used[2])
            elif command == b"Init DB":
                self._remember(session, text)
            elif command == b"Connect" or command == b"Change user":
                on = _ON.match(text)
                self._remember(session, on[1] if on is not None else b"")
            elif command == b"Quit":
                databases.pop(session, None)

    def _remember(self, session: bytes, database: bytes) -> None:
        if len(self._databases) >= MAX_SESSIONS:
            self._databases.clear()
        self._databases[session] = database
