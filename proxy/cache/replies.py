"""memcached's text protocol as far as the cache speaks it: `get`, `set`, `add`, `delete`, and their replies.

Bytes in, replies out; no I/O. Source: doc/protocol.txt of memcached.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

_MAX_LINE = 512  # a key has at most 250 bytes
_MAX_VALUE = 1 << 20  # memcached's default limit; we send less
_value = re.compile(rb"VALUE ([^ \r\n]+) \d+ (\d{1,7})\r\n").match


class Outcome(enum.Enum):
    """A reply without a value."""

    END = "end"  # of what is there of the keys of a `get`
    STORED = "stored"
    NOT_STORED = "not stored"  # of an `add`: it is there already
    GONE = "gone"  # of a `delete`, whether it was there or not
    TOO_LONG = "too long"  # over the server's item size
    FAILED = "failed"  # the server says so; it goes on with the next request


Value = tuple[bytes, bytes]  # key and data
Reply = Value | Outcome


class MalformedReply(Exception):
    """What came cannot be a reply, or says that the server did not understand us: nothing after it can be trusted."""


def get_request(names: Iterable[bytes]) -> bytes:
    return b"get %b\r\n" % b" ".join(names)


def set_request(name: bytes, data: bytes, expires_s: int) -> bytes:
    return b"set %b 0 %d %d\r\n%b\r\n" % (name, expires_s, len(data), data)


def add_request(name: bytes, data: bytes, expires_s: int) -> bytes:
    return b"add %b 0 %d %d\r\n%b\r\n" % (name, expires_s, len(data), data)


def delete_request(name: bytes) -> bytes:
    return b"delete %b\r\n" % name


_LINES = {
    b"END": Outcome.END,
    b"STORED": Outcome.STORED,
    b"NOT_STORED": Outcome.NOT_STORED,
    b"DELETED": Outcome.GONE,
    b"NOT_FOUND": Outcome.GONE,
    b"SERVER_ERROR object too large for cache": Outcome.TOO_LONG,
}


class ReplyReader:
    """Takes a connection's bytes apart. Each reply comes once, in the order of the requests; that to a `get` is as many
    values as there are, and an end."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete now. Raises MalformedReply."""
        if self._buffer:
            data = self._buffer + data
        replies: list[Reply] = []
        size = len(data)
        start = 0
        while start < size:
            head = _value(data, start)
            if head is not None:
                begin = head.end()
                end = begin + int(head[2])
                if end - begin > _MAX_VALUE:
                    raise MalformedReply("a value that is too long")
                if size < end + 2:
                    break  # the whole value is read again then: values come in a few pieces at most
                if data[end : end + 2] != b"\r\n":
                    raise MalformedReply("a value of another length than was said")
                replies.append((head[1], data[begin:end]))
                start = end + 2
                continue
            end = data.find(b"\r\n", start)
            if end < 0:
                if size - start > _MAX_LINE:
                    raise MalformedReply("a line without an end")
                break
            line = data[start:end]
            outcome = _LINES.get(line)
            if outcome is None and line.startswith(b"SERVER_ERROR"):
                outcome = Outcome.FAILED
            if outcome is None:
                raise MalformedReply(line[:80].decode("ascii", "replace"))
            replies.append(outcome)
            start = end + 2
        self._buffer = data[start:] if start < size else b""
        return replies
