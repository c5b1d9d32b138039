"""Length-encoded integers and strings (MySQL "Protocol Basics: Basic Data Types").

The first byte is the value (below 0xFB), or says how wide it is: 0xFC two bytes, 0xFD three, 0xFE eight. 0xFB
stands for NULL in rows, 0xFF begins an error packet and is never a length. Readers take a position and return
the one behind; every failure is a ProtocolError.
"""

from __future__ import annotations

from typing import Final

from proxy.errors import ProtocolError

NULL: Final = b"\xfb"
_WIDTH: Final = {0xFC: 2, 0xFD: 3, 0xFE: 8}


def read_int(data: bytes, pos: int) -> tuple[int | None, int]:
    """The integer at `pos` and the position behind it; None for NULL (0xFB)."""
    if pos >= len(data):
        raise ProtocolError("Malformed packet: it ends where a length-encoded integer should begin")
    first = data[pos]
    if first < 0xFB:
        return first, pos + 1
    if first == 0xFB:
        return None, pos + 1
    if first == 0xFF:
        raise ProtocolError("Malformed packet: 0xFF where a length-encoded integer should begin")
    end = pos + 1 + _WIDTH[first]
    if end > len(data):
        raise ProtocolError("Malformed packet: it ends within a length-encoded integer")
    return int.from_bytes(data[pos + 1 : end], "little"), end


def read_length(data: bytes, pos: int) -> tuple[int, int]:
    """Like `read_int`, where NULL makes no sense."""
    value, pos = read_int(data, pos)
    if value is None:
        raise ProtocolError("Malformed packet: NULL where a length-encoded integer should be")
    return value, pos


def read_bytes(data: bytes, pos: int) -> tuple[bytes | None, int]:
    """The length-encoded string at `pos` and the position behind it; None for NULL."""
    length, pos = read_int(data, pos)
    if length is None:
        return None, pos
    end = pos + length
    if end > len(data):
        raise ProtocolError("Malformed packet: it ends within a length-encoded string")
    return data[pos:end], end


def write_int(value: int) -> bytes:
    if value < 0xFB:
        return value.to_bytes(1, "little")
    if value < 0x10000:
        return b"\xfc" + value.to_bytes(2, "little")
    if value < 0x1000000:
        return b"\xfd" + value.to_bytes(3, "little")
    return b"\xfe" + value.to_bytes(8, "little")


def write_bytes(value: bytes | None) -> bytes:
    return NULL if value is None else write_int(len(value)) + value
