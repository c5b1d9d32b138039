"""A server's slow query log, read as a stream: MySQL 5.1 to 8, MariaDB, Percona Server.

An entry is a few lines of comment, then what the server puts before the statement, then the statement as it was sent:

    # Time: 231126  5:42:03                          not in every entry; MySQL since 5.7: 2023-11-26T05:42:03.123456Z
    # User@Host: app[app] @ localhost [127.0.0.1]    MySQL since 5.6 goes on:  Id:     8
    # Thread_id: 4  Schema: shop  QC_hit: No         MariaDB; Percona: # Schema: shop  Last_errno: 0  Killed: 0
    # Query_time: 0.000163  Lock_time: 0.000080 Rows_sent: 1  Rows_examined: 10   more on this line with log_slow_extra
    # Rows_affected: 0  Bytes_sent: 57               and further lines, up to the whole EXPLAIN
    use shop;                                        only where the database is another than that of the entry before
    SET timestamp=1700977323;                        also `SET last_insert_id=1,insert_id=2,timestamp=..;`
    SELECT ..;                                       any number of lines; or `# administrator command: Quit;`

A statement that has a line `# User@Host: ` of its own inside of a string is taken for two: the format cannot tell.
"""

from __future__ import annotations

import calendar
import datetime
import re
import time
from collections.abc import Iterator

MAX_BEFORE = 1 << 20  # bytes kept of what stands before the first entry, if there is any
_NEXT = b"\n# User@Host: "
_TIME = b"# Time: "
_ADMINISTRATOR = b"# administrator command: "
# Lines in their most frequent forms have groups of their own, others are searched for what matters.
_ENTRY = re.compile(
    rb"[^\n]*\n(?:# Thread_id: [0-9]+  Schema: (\S*)  QC_hit: [^\n]*\n)?((?:# (?!Query_time:)[^\n]*\n)*)"
    rb"# Query_time: ([0-9.]+) +Lock_time: [0-9.]+ +Rows_sent: ([0-9]+) +Rows_examined: ([0-9]+)"
    rb"([^\n]*)\n(?:# Rows_affected: [0-9]+  Bytes_sent: ([0-9]+)\n)?((?:#(?! administrator command: )[^\n]*\n)*)"
    rb"(?:use ([^\n]*);\r?\n)?(?:SET (?:[^\n;]*,)?timestamp=([0-9]+)[^\n;]*;\r?\n)?"
)
_SCHEMA = re.compile(rb"(?:\A|[ #])Schema: (\S*)")
_SENT = re.compile(rb"Bytes_sent: ([0-9]+)")
_ERRNO = re.compile(rb" (?:Last_e|E)rrno: ([0-9]+)")
# What a server that starts, or begins a new file, writes first.
_BANNER = re.compile(
    rb"(?:\A|\n)[^\n]*, Version: [^\n]* started with:\r?\nTcp port: [^\n]*\nTime\s+Id\s+Command\s+Argument\s*\Z"
)


# One statement of a log: its text (an administrator command's name), the session's default database (empty for none,
# or not known), when it began or was logged (Unix time; None: not told), how long it took in microseconds, rows sent,
# rows examined, bytes sent, whether it failed, and whether it is an administrator command. A plain tuple, since there
# are millions.
LoggedStatement = tuple[bytes, bytes, float | None, int, int, int, int, bool, bool]


class SlowLog:
    """Bytes of a slow log in, statements out. `unread` counts entries that are not of the form above."""

    def __init__(self) -> None:
        self.unread = 0
        self.has_bytes = self.has_errors = False  # whether the log tells of them
        self._rest = b"\n"  # the file may begin with an entry
        self._database = b""
        self._time = b""  # of the last `# Time:` line
        self._begun = False

    def feed(self, data: bytes) -> Iterator[LoggedStatement]:
        """The statements that are complete with these bytes of the file."""
        pieces = (self._rest + data).split(_NEXT)
        self._rest = pieces.pop()  # it may go on, and the next separator may be cut
        if not pieces and not self._begun:
            self._rest = self._rest[-MAX_BEFORE:]
        return self._read(pieces)

    def end(self) -> Iterator[LoggedStatement]:
        """The last one, at the end of the file."""
        rest, self._rest = self._rest, b"\n"
        return self._read([rest])

    def _read(self, pieces: list[bytes]) -> Iterator[LoggedStatement]:
        match = _ENTRY.match
        stamp, stamp_s = b"", 0.0
        for piece in pieces:
            if not self._begun:  # what stands before the first entry
                self._begun = True
                self._before_next(piece, 0)
                continue
            found = match(piece)
            if found is None:
                self.unread += 1
                self._before_next(piece, 0)
                continue
            schema, before, seconds, rows, examined, behind, sent, after, used, timestamp = found.groups()
            start = found.end()
            moment: float | None
            if timestamp is None:
                moment = logged_time(self._time)
            else:
                if timestamp != stamp:
                    stamp, stamp_s = timestamp, float(timestamp)
                moment = stamp_s
            text = piece[start:-1] if piece[-1:] == b";" else self._text(piece, start)
            if used is not None:
                self._database = used[1:-1].replace(b"``", b"`") if used[:1] == b"`" else used
            sent_bytes, failed = 0, False
            if sent is not None:
                sent_bytes = int(sent)
                self.has_bytes = True
            if before or behind or after:
                more = before + behind + after
                if schema is None and b"Schema: " in before and (other := _SCHEMA.search(before)) is not None:
                    schema = other[1]
                if sent is None and (other := _SENT.search(more)) is not None:
                    sent_bytes = int(other[1])
                    self.has_bytes = True
                if b"rrno: " in more and (other := _ERRNO.search(more)) is not None:
                    failed = other[1] != b"0"
                    self.has_errors = True
            command = text[:1] == b"#" and text.startswith(_ADMINISTRATOR)
            if command:
                text = text[len(_ADMINISTRATOR) :]
            yield (
                text,
                self._database if schema is None else schema,
                moment,
                int(float(seconds) * 1e6 + 0.5),
                int(rows),
                int(examined),
                sent_bytes,
                failed,
                command,
            )

    def _text(self, piece: bytes, start: int) -> bytes:
        """The statement of a piece that does not end with it."""
        end = self._before_next(piece, start)
        if piece[end - 1 : end] == b";" and end > start:
            return piece[start : end - 1]
        text = piece[start:end].rstrip(b"\r\n")
        if text[-1:] != b";":
            text = without_banner(text).rstrip(b"\r\n")
        return text[:-1] if text[-1:] == b";" else text

    def _before_next(self, piece: bytes, start: int) -> int:
        """Where the piece ends without the `# Time:` line of the entry that follows, which is remembered."""
        line = piece.rfind(b"\n")
        if piece.startswith(_TIME, line + 1):
            self._time = piece[line + 1 + len(_TIME) :].strip()
            return max(line, start)
        return len(piece)


def without_banner(text: bytes) -> bytes:
    """A statement without what a server wrote behind it when it was started again."""
    return _BANNER.sub(b"", text)


_OLD_TIME = re.compile(rb"(\d\d)(\d\d)(\d\d) +(\d{1,2}):(\d\d):(\d\d)(?:\.(\d+))?\Z")


def logged_time(text: bytes) -> float | None:
    """Unix time of `231126  5:42:03` (the time of the server's zone, taken for this machine's) or
    `2023-11-26T05:42:03.123456Z`; None where it is neither."""
    old = _OLD_TIME.match(text)
    if old is not None:
        year, month, day, hour, minute, second = (int(part) for part in old.groups()[:6])
        fraction = float(b"0." + old[7]) if old[7] else 0.0
        try:
            return time.mktime((2000 + year, month, day, hour, minute, second, 0, 0, -1)) + fraction
        except (OverflowError, ValueError):
            return None
    try:
        moment = datetime.datetime.fromisoformat(text.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        return None
    if moment.tzinfo is None:
        return calendar.timegm(moment.timetuple()) + moment.microsecond / 1e6
    return moment.timestamp()
