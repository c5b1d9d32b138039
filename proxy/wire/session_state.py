"""What an OK packet tells of changes to the session (CLIENT_SESSION_TRACK; MySQL `enum_session_state_type`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from proxy.errors import ProtocolError
from proxy.wire.cursor import Cursor


@dataclass(frozen=True, slots=True)
class SystemVariable:
    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Schema:
    """The default database is now this one ("": none)."""

    name: str


@dataclass(frozen=True, slots=True)
class StateChange:
    """Something in the session changed; sent while session_track_state_change is on."""


@dataclass(frozen=True, slots=True)
class Gtids:
    value: bytes


@dataclass(frozen=True, slots=True)
class TransactionCharacteristics:
    """The statements that would begin a transaction like this one, e.g. `SET TRANSACTION READ ONLY;`."""

    text: str


@dataclass(frozen=True, slots=True)
class TransactionState:
    """Eight characters, e.g. `T_______` for an explicit transaction in which nothing happened yet."""

    text: str


SessionEvent: TypeAlias = SystemVariable | Schema | StateChange | Gtids | TransactionCharacteristics | TransactionState


def parse_session_state(state: bytes) -> list[SessionEvent]:
    """The events in a session-state block, in order. Unknown types are skipped by their length."""
    events: list[SessionEvent] = []
    cursor = Cursor(state)
    while cursor.left:
        kind = cursor.uint(1)
        entry = Cursor(cursor.string())
        if kind == 0:
            while entry.left:  # MySQL sends one variable an entry, MariaDB may send several
                name = _text(entry.string())
                events.append(SystemVariable(name, entry.string()))
        elif kind == 1:
            events.append(Schema(_text(entry.string())))
        elif kind == 2:
            entry.string()
            events.append(StateChange())
        elif kind == 3:
            entry.take(1)  # encoding specification; 0 is the only one defined
            events.append(Gtids(entry.string()))
        elif kind == 4:
            events.append(TransactionCharacteristics(_text(entry.string())))
        elif kind == 5:
            events.append(TransactionState(_text(entry.string())))
    return events


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ProtocolError("Malformed packet: a session state is not UTF-8") from None
