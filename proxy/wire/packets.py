"""The packets that end or answer an exchange: OK, ERR and EOF.

The documentation has the human-readable part of OK as string<EOF> for clients without session tracking. Servers
(MySQL `net_send_ok`, MariaDB the same) and client libraries (`net_field_length` before `mysql->info`) length-encode
it always, so that is what is written here, and both are read.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.errors import ProtocolError
from proxy.wire import lenenc
from proxy.wire import status as flags
from proxy.wire.cursor import Cursor
from proxy.wire.session_state import (
    Gtids,
    Schema,
    SessionEvent,
    StateChange,
    SystemVariable,
    TransactionCharacteristics,
    TransactionState,
    parse_session_state,
)

__all__ = [
    "Err",
    "Gtids",
    "Ok",
    "Schema",
    "SessionEvent",
    "StateChange",
    "SystemVariable",
    "TransactionCharacteristics",
    "TransactionState",
    "encode_eof",
    "encode_err",
    "encode_ok",
    "is_eof",
    "parse_eof",
    "parse_err",
    "parse_ok",
    "parse_session_state",
    "status_at",
]


@dataclass(frozen=True, slots=True)
class Ok:
    affected_rows: int
    insert_id: int
    status: int
    warnings: int
    info: bytes = b""
    state: bytes = b""  # the raw session state; `parse_session_state` reads it


@dataclass(frozen=True, slots=True)
class Err:
    errno: int
    sqlstate: str
    message: bytes


def parse_ok(payload: bytes, session_track: bool) -> Ok:
    """Reads OK; `session_track` says whether the connection negotiated CLIENT_SESSION_TRACK.

    The first byte is 0x00, or 0xFE where OK replaces EOF.
    """
    if not payload or payload[0] not in (0x00, 0xFE):
        raise ProtocolError("Malformed packet: OK expected")
    affected_rows, pos = lenenc.read_length(payload, 1)
    insert_id, pos = lenenc.read_length(payload, pos)
    if len(payload) < pos + 4:
        raise ProtocolError("Malformed packet: OK ends before its status and warnings")
    status = payload[pos] | payload[pos + 1] << 8
    warnings = payload[pos + 2] | payload[pos + 3] << 8
    pos += 4
    if pos == len(payload):
        return Ok(affected_rows, insert_id, status, warnings)
    if not session_track:
        return Ok(affected_rows, insert_id, status, warnings, _untracked_info(payload, pos))
    cursor = Cursor(payload, pos)
    info = cursor.string()
    state = cursor.string() if status & flags.SESSION_STATE_CHANGED and cursor.left else b""
    return Ok(affected_rows, insert_id, status, warnings, info, state)


def _untracked_info(payload: bytes, pos: int) -> bytes:
    rest = payload[pos:]
    try:
        info, end = lenenc.read_bytes(rest, 0)
    except ProtocolError:
        return rest
    return info if info is not None and end == len(rest) else rest


def encode_ok(
    affected_rows: int = 0, insert_id: int = 0, status: int = 2, warnings: int = 0, info: bytes = b""
) -> bytes:
    """OK for a client without session tracking. `warnings` above 65535 are cut, as servers do."""
    return b"".join(
        (
            b"\0",
            lenenc.write_int(affected_rows),
            lenenc.write_int(insert_id),
            (status & ~flags.SESSION_STATE_CHANGED & 0xFFFF).to_bytes(2, "little"),
            min(warnings, 0xFFFF).to_bytes(2, "little"),
            lenenc.write_bytes(info) if info else b"",
        )
    )


def parse_err(payload: bytes) -> Err:
    """Reads ERR. One sent before the capabilities are agreed (e.g. "Too many connections") may lack its SQLSTATE."""
    if len(payload) < 3 or payload[0] != 0xFF:
        raise ProtocolError("Malformed packet: ERR expected")
    errno = payload[1] | payload[2] << 8
    if payload[3:4] != b"#":
        return Err(errno, "HY000", payload[3:])
    sqlstate = payload[4:9]
    if len(sqlstate) < 5 or not sqlstate.isascii():
        raise ProtocolError("Malformed packet: ERR without its five characters of SQLSTATE")
    return Err(errno, sqlstate.decode("ascii"), payload[9:])


def encode_err(errno: int, sqlstate: str, message: str | bytes) -> bytes:
    text = message.encode("utf-8", "replace") if isinstance(message, str) else message
    return b"\xff" + errno.to_bytes(2, "little") + b"#" + sqlstate.encode("ascii") + text


def is_eof(payload: bytes) -> bool:
    """Whether the payload is EOF rather than a row that begins with an eight-byte length."""
    return len(payload) < 9 and payload[:1] == b"\xfe"


def parse_eof(payload: bytes) -> tuple[int, int]:
    """(warnings, status) of EOF."""
    if len(payload) != 5 or payload[0] != 0xFE:
        raise ProtocolError("Malformed packet: EOF expected")
    return payload[1] | payload[2] << 8, payload[3] | payload[4] << 8


def status_at(payload: bytes) -> int:
    """Where OK, or EOF, has its two bytes of status. Raises ProtocolError where it ends before."""
    at = 3 if payload[:1] == b"\xfe" else lenenc.read_length(payload, lenenc.read_length(payload, 1)[1])[1]
    if len(payload) < at + 2:
        raise ProtocolError("a status packet ends before its status")
    return at


def encode_eof(warnings: int = 0, status: int = 2) -> bytes:
    return b"\xfe" + min(warnings, 0xFFFF).to_bytes(2, "little") + (status & 0xFFFF).to_bytes(2, "little")
