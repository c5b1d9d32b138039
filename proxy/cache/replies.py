"""memcached's text protocol as far as the cache speaks it: `get` of one key, `set`, `add`, `delete`, and their replies.

Bytes in, replies out; no I/O. Source: doc/protocol.txt of memcached.
"""

from __future__ import annotations

import enum

_MAX_LINE = 512  # a key has at most 250 bytes
_MAX_VALUE = 1 << 20  # memcached's default limit; we send less


class Outcome(enum.Enum):
    """A reply without a value."""

    MISSED = "missed"
    STORED = "stored"
    NOT_STORED = "not stored"  # of an `add`: it is there already
    GONE = "gone"  # of a `delete`, whether it was there or not
    TOO_LONG = "too long"  # over the server's item size
    FAILED = "failed"  # the server says so; it goes on with the next request


Reply = bytes | Outcome


class MalformedReply(Exception):
    """What came cannot be a reply, or says that the server did not understand us: nothing after it can be trusted."""


def get_request(name: bytes) -> bytes:
    return b"get %b\r\n" % name


def set_request(name: bytes, data: bytes, expires_s: int) -> bytes:
    return b"set %b 0 %d %d\r\n%b\r\n" % (name, expires_s, len(data), data)


def add_request(name: bytes, data: bytes, expires_s: int) -> bytes:
    return b"add %b 0 %d %d\r\n%b\r\n" % (name, expires_s, len(data), data)


def delete_request(name: bytes) -> bytes:
    return b"delete %b\r\n" % name


_LINES = {
    b"END": Outcome.MISSED,
    b"STORED": Outcome.STORED,
    b"NOT_STORED": Outcome.NOT_STORED,
    b"DELETED": Outcome.GONE,
    b"NOT_FOUND": Outcome.GONE,
    b"SERVER_ERROR object too large for cache": Outcome.TOO_LONG,
}


class ReplyReader:
    """Takes a connection's bytes apart. Each reply comes once, in the order of the requests."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete now. Raises MalformedReply."""
        if self._buffer:
            data = self._buffer + data
        replies: list[Reply] = []
        start = 0
        while (end := data.find(b"\r\n", start)) >= 0:
            line = data[start:end]
            if line.startswith(b"VALUE "):
                begin = end + 2
                after = begin + _size(line)
                if len(data) < after + 7:
                    break  # the whole value is read again then: values come in a few pieces at most
                if data[after : after + 7] != b"\r\nEND\r\n":
                    raise MalformedReply("a value of another length than was said")
                replies.append(data[begin:after])
                start = after + 7
                continue
            if line in _LINES:
                replies.append(_LINES[line])
            elif line.startswith(b"SERVER_ERROR"):
                replies.append(Outcome.FAILED)
            else:
                raise MalformedReply(line[:80].decode("ascii", "replace"))
            start = end + 2
        self._buffer = data[start:]
        if len(self._buffer) > _MAX_LINE and b"\r\n" not in self._buffer[:_MAX_LINE]:
            raise MalformedReply("a line without an end")
        return replies


def _size(line: bytes) -> int:
    """`VALUE <key> <flags> <bytes>`. Raises MalformedReply."""
    words = line.split(b" ")
    if len(words) != 4 or not words[3].isdigit() or len(words[3]) > 7 or int(words[3]) > _MAX_VALUE:
        raise MalformedReply(line[:80].decode("ascii", "replace"))
    return int(words[3])
