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
from collections.abc import Iterable
from typing import Final

# Bytes, and how many, of what comes before statements: 10 MB at most, seldom 1 MB.
MAX_HEAD: Final = 2048
MAX_HEADS: Final = 8192
MAX_BEFORE: Final = 1 << 20  # bytes kept of what stands before the first entry, if there is any
_NEXT: Final = b"\n# User@Host: "
_TIME: Final = b"# Time: "
_STAMP: Final = b"\nSET timestamp="
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_ADMINISTRATOR: Final = b"# administrator command: "
# Lines in their most frequent forms have groups of their own, others are searched for what matters.
_ENTRY: Final = re.compile(
    rb"[^\n]*\n(?:# Thread_id: [0-9]+  Schema: (\S*)  QC_hit: [^\n]*\n)?((?:# (?!Query_time:)[^\n]*\n)*)"
    rb"# Query_time: ([0-9.]+) +Lock_time: [0-9.]+ +Rows_sent: ([0-9]+) +Rows_examined: ([0-9]+)"
    rb"([^\n]*)\n(?:# Rows_affected: [0-9]+  Bytes_sent: ([0-9]+)\n)?((?:#(?! administrator command: )[^\n]*\n)*)"
    rb"(?:use ([^\n]*);\r?\n)?(?:SET (?:[^\n;]*,)?timestamp=([0-9]+)[^\n;]*;\r?\n)?"
)
_SCHEMA: Final = re.compile(rb"(?:\A|[ #])Schema: (\S*)")
_SENT: Final = re.compile(rb"Bytes_sent: ([0-9]+)")
_ERRNO: Final = re.compile(rb" (?:Last_e|E)rrno: ([0-9]+)")
# What a server that starts, or begins a new file, writes first.
_BANNER: Final = re.compile(
    rb"(?:\A|\n)[^\n]*, Version: [^\n]* started with:\r?\nTcp port: [^\n]*\nTime\s+Id\s+Command\s+Argument\s*\Z"
)


# One statement of a log: its text (an administrator command's name), the session's default database (empty for none,
# or not known), when it began or was logged (Unix time; None: not told), how long it took in microseconds, rows sent,
# rows examined, bytes sent, whether it failed, and whether it is an administrator command. A plain tuple, since there
# are millions.
LoggedStatement = tuple[bytes, bytes, float | None, int, int, int, int, bool, bool]


Place = tuple[int, int]  # in a piece of the log: from, to


class _Head:
    """Where things stand in what comes before a statement. Heads that differ in their digits alone are alike."""

    __slots__ = ("end", "errno", "examined", "rows", "schema", "seconds", "sent", "timestamp", "used")

    def __init__(
        self,
        end: int,
        seconds: Place,
        rows: Place,
        examined: Place,
        schema: Place | None,
        sent: Place | None,
        errno: Place | None,
        used: Place | None,
        timestamp: Place | None,
    ) -> None:
        self.end = end  # where the statement begins
        self.seconds = seconds
        self.rows = rows
        self.examined = examined
        self.schema = schema
        self.sent = sent
        self.errno = errno
        self.used = used
        self.timestamp = timestamp


class SlowLog:
    """Bytes of a slow log in, statements out. `unread` counts entries that are not of the form above. `max_heads`: how
    many forms of what comes before statements are remembered."""

    def __init__(self, max_heads: int = MAX_HEADS) -> None:
        self._max_heads = max_heads
        self.unread = 0
        self.has_bytes = self.has_errors = False  # whether the log tells of them
        self._rest = b"\n"  # the file may begin with an entry
        self._database = b""
        self._time = b""  # of the last `# Time:` line
        self._begun = False
        self._heads: dict[bytes, _Head] = {}  # by their text, with every digit a 0; see `_head`

    def feed(self, data: bytes) -> list[LoggedStatement]:
        """The statements that are complete with these bytes of the file."""
        pieces = (self._rest + data).split(_NEXT)
        self._rest = pieces.pop()  # it may go on, and the next separator may be cut
        if not pieces and not self._begun:
            self._rest = self._rest[-MAX_BEFORE:]
        return self._read(pieces)

    def end(self) -> list[LoggedStatement]:
        """The last one, at the end of the file."""
        rest, self._rest = self._rest, b"\n"
        return self._read([rest])

    def _read(self, pieces: list[bytes]) -> list[LoggedStatement]:
        found: list[LoggedStatement] = []
        heads, database = self._heads, self._database
        stamp, stamp_s = b"", 0.0
        for piece in pieces:
            if not self._begun:  # what stands before the first entry
                self._begun = True
                self._before_next(piece, 0)
                continue
            # Nearly every head ends with this line. If it does not end where this finds it, it is not among `heads`.
            end = piece.find(b";\n", piece.find(_STAMP)) + 2
            head = heads.get(piece[:end].translate(_DIGITS))
            if head is None:
                head = self._head(piece, end)
                if head is None:
                    self.unread += 1
                    self._before_next(piece, 0)
                    continue
            start = head.end
            moment: float | None
            if head.timestamp is None:
                moment = logged_time(self._time.strip())
            else:
                timestamp = _at(piece, head.timestamp)
                if timestamp != stamp:
                    stamp, stamp_s = timestamp, float(timestamp)
                moment = stamp_s
            if piece[-1:] == b";":
                text = piece[start:-1]
            elif (line := piece.rfind(b";\n# Time: ", start)) >= 0 and piece.find(b"\n", line + 2) < 0:
                text = piece[start:line]
                self._time = piece[line + 2 + len(_TIME) :]
            else:
                text = self._text(piece, start)
            if head.used is not None:
                used = _at(piece, head.used)
                database = used[1:-1].replace(b"``", b"`") if used[:1] == b"`" else used
            command = text[:1] == b"#" and text.startswith(_ADMINISTRATOR)
            if command:
                text = text[len(_ADMINISTRATOR) :]
            found.append(
                (
                    text,
                    database if head.schema is None else _at(piece, head.schema),
                    moment,
                    int(float(_at(piece, head.seconds)) * 1e6 + 0.5),
                    int(_at(piece, head.rows)),
                    int(_at(piece, head.examined)),
                    int(_at(piece, head.sent)) if head.sent is not None else 0,
                    head.errno is not None and _at(piece, head.errno) != b"0",
                    command,
                )
            )
        self._database = database
        return found

    def _head(self, piece: bytes, end: int) -> _Head | None:
        """What comes before this piece's statement; None: it is no entry. It is remembered if it ends at `end`, by
        which it is found again: a digit more or less here and there makes another of it, so there are some hundreds."""
        found = _ENTRY.match(piece)
        if found is None:
            return None
        places = [found.span(group) if found[group] is not None else None for group in range(1, 11)]
        schema, before, seconds, rows, examined, behind, sent, after, used, timestamp = places
        more = [place for place in (before, behind, after) if place is not None]
        schema = schema or _search(_SCHEMA, piece, more[:1])
        sent = sent or _search(_SENT, piece, more)
        errno = _search(_ERRNO, piece, more)
        self.has_bytes = self.has_bytes or sent is not None
        self.has_errors = self.has_errors or errno is not None
        assert seconds is not None
        assert rows is not None
        assert examined is not None
        head = _Head(found.end(), seconds, rows, examined, schema, sent, errno, used, timestamp)
        if head.end == end and end <= MAX_HEAD and len(self._heads) < self._max_heads:
            self._heads[piece[:end].translate(_DIGITS)] = head
        return head

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


def _at(piece: bytes, place: Place) -> bytes:
    return piece[place[0] : place[1]]


def _search(pattern: re.Pattern[bytes], piece: bytes, places: Iterable[Place]) -> Place | None:
    """Where the first of these places of a piece has what the pattern looks for."""
    for place in places:
        if (found := pattern.search(piece[place[0] : place[1]])) is not None:
            return place[0] + found.start(1), place[0] + found.end(1)
    return None


def without_banner(text: bytes) -> bytes:
    """A statement without what a server wrote behind it when it was started again."""
    return _BANNER.sub(b"", text)


_OLD_TIME: Final = re.compile(rb"(\d\d)(\d\d)(\d\d) +(\d{1,2}):(\d\d):(\d\d)(?:\.(\d+))?\Z")


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
