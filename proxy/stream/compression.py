"""What MariaDB makes small with zlib: events (log_bin_compress), and values of columns that are declared COMPRESSED.

Both begin with a byte that says how, and the original length, big endian, in as many bytes as its last three bits say.
Sources: `binlog_buf_uncompress` in `sql/log_event.cc`, `sql/field_comp.cc`.
"""

from __future__ import annotations

import zlib

from proxy.errors import ProtocolError

MAX_UNCOMPRESSED_BYTES = 1 << 30


def event_uncompressed(data: memoryview) -> bytes:
    """The rows or the text of a compressed event. Raises ProtocolError."""
    if not data:
        raise ProtocolError("a compressed event is cut short")
    if data[0] >> 4 & 7:
        raise ProtocolError("a compressed event has a form that Turnout does not know")
    return _inflated(data, zlib.MAX_WBITS)


def column_uncompressed(data: bytes) -> bytes:
    """A value of a compressed column. Raises ProtocolError."""
    if not data:
        return b""
    method = data[0] >> 4
    if method == 0:
        return data[1:]
    if method != 8:
        raise ProtocolError(f"a compressed column's method {method} is not known to Turnout")
    return _inflated(memoryview(data), -zlib.MAX_WBITS if data[0] & 8 else zlib.MAX_WBITS)


def _inflated(data: memoryview, window_bits: int) -> bytes:
    length_bytes = data[0] & 7
    length = int.from_bytes(data[1 : 1 + length_bytes], "big")
    if length > MAX_UNCOMPRESSED_BYTES:
        raise ProtocolError("what is compressed says that it is too long")
    inflater = zlib.decompressobj(window_bits)
    try:
        found = inflater.decompress(data[1 + length_bytes :], length + 1)
    except zlib.error as error:
        raise ProtocolError("what is compressed is damaged") from error
    if len(found) != length or not inflater.eof:
        raise ProtocolError("what is compressed has another length than it says")
    return found
