"""COM_STMT_EXECUTE that asks for a cursor, and COM_STMT_FETCH.

The one server that answers an execution is asked for the cursor. Executions that no server answers alone, or whose
answer may be kept in the cache, bring all their rows at once and say so, as the protocol allows.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from proxy.back.connection import ServerConnection
from proxy.errors import ProtocolError, ServerFailed, StatementRefused, TurnoutError
from proxy.front.cursors import Cursor, close, give_back
from proxy.front.prepared_statement import Prepared, remember
from proxy.front.session import Session
from proxy.wire import command as com
from proxy.wire.binary import READ_ONLY_CURSOR, Execute
from proxy.wire.frames import encode
from proxy.wire.response import FETCH
from proxy.wire.status import CURSOR_EXISTS, IN_TRANS, LAST_ROW_SENT

if TYPE_CHECKING:
    from proxy.front.environment import Entry

_now = time.perf_counter_ns
_FETCH_BYTES = 9  # command, statement id, number of rows


def asked_for(session: Session, bound: Execute, entry: Entry) -> bool:
    """Whether the server that executes it is asked for a cursor: not for an account whose results are limited, since no
    single answer tells how much it has had."""
    wanted = bool(bound.flags & READ_ONLY_CURSOR) and entry.cached is None and not entry.plan.writes
    return wanted and session.bound is None


def opened(session: Session, prepared: Prepared, connection: ServerConnection) -> None:
    """An execution with a cursor was answered: from now on it is open, if the server says so."""
    scanner = connection.scanner
    if scanner.errno or not scanner.columns or not scanner.status & CURSOR_EXISTS:
        return
    statement = connection.statements.pop(prepared.key)
    session.cursors[prepared.id] = Cursor(connection, statement, prepared)
    connection.cursors += 1
    session.environment.measures.pinned("cursor")


class Opening:
    """The sink of an execution in the fast path that asks for a cursor: the session's, which hears of it first."""

    __slots__ = ("_prepared", "_session")

    def __init__(self, session: Session, prepared: Prepared) -> None:
        self._session = session
        self._prepared = prepared

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self._session.on_data(connection, data)

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        opened(self._session, self._prepared, connection)
        self._session.on_end(connection, pieces)

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        self._session.on_lost(connection, error)


# -- fetching ------------------------------------------------------------------------------------------------------


def fetch(session: Session, prepared: Prepared, payload: bytes) -> None:
    """COM_STMT_FETCH. Raises TurnoutError."""
    cursor = session.cursors.get(prepared.id)
    if cursor is None:
        text = f"The statement ({prepared.id}) has no open cursor"
        raise StatementRefused(text, 1421, "HY000", reason="no-cursor")
    if len(payload) < _FETCH_BYTES:
        raise ProtocolError("Malformed packet: a fetch is cut short")
    connection = cursor.connection
    if connection.aborted is not None:
        close(session, prepared.id)
        error = connection.aborted
        raise ServerFailed(f"The cursor is gone with its connection: {error.message}", error.errno, error.sqlstate)
    session.begin_statement(prepared.entry)
    if connection.settings is session.settings:
        _send(session, prepared, cursor, payload)
    else:
        session.run(_send_dressed(session, prepared, cursor, payload))


async def _send_dressed(session: Session, prepared: Prepared, cursor: Cursor, payload: bytes) -> bool:
    """The session's settings have changed: rows come in the character set of now."""
    connection = cursor.connection
    connection.taker = session
    try:
        await session.dress(connection)
    except BaseException:
        give_back(session, connection)
        raise
    _send(session, prepared, cursor, payload)
    return True


def _send(session: Session, prepared: Prepared, cursor: Cursor, payload: bytes) -> None:
    connection = cursor.connection
    connection.taker = session
    session.sending(connection)
    command = bytes((com.COM_STMT_FETCH,)) + cursor.statement.id.to_bytes(4, "little") + payload[5:_FETCH_BYTES]
    connection.send(encode(command, 0), Fetching(session, prepared, cursor), FETCH)


class Fetching:
    """The sink of a FETCH: its rows go to the client."""

    __slots__ = ("_bytes", "_cursor", "_prepared", "_session")

    def __init__(self, session: Session, prepared: Prepared, cursor: Cursor) -> None:
        self._session = session
        self._prepared = prepared
        self._cursor = cursor
        self._bytes = 0

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self._bytes += len(data)
        self._session.client.relay(connection, data)

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        session, scanner = self._session, connection.scanner
        if not scanner.errno and session.in_transaction and not scanner.status & IN_TRANS:
            pieces = _within_transaction(pieces)
        for piece in pieces:
            self._bytes += len(piece)
            session.client.write(piece)
        began, sent = session.times
        now = _now()
        entry = self._prepared.entry
        entry.stats.record_more(now - began, now - sent, scanner.rows, self._bytes)
        if now - began > session.environment.slow_ns:
            session.client.listener.slow(session, entry, (now - began) / 1e9)
        session.running = session.running_on = None
        if scanner.errno:
            close(session, self._prepared.id)
            session.run(_failed(session, connection))
            return
        if scanner.status & LAST_ROW_SENT:
            self._ended(connection)
        give_back(session, connection)
        session.busy = False
        session.client.next_command()

    def _ended(self, connection: ServerConnection) -> None:
        """The server has closed the cursor; its statement may be executed for others again."""
        session, cursor = self._session, self._cursor
        if session.cursors.pop(self._prepared.id, None) is not None:
            connection.cursors -= 1
            if connection.aborted is None:
                remember(session, connection, cursor.prepared, cursor.statement)

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        close(self._session, self._prepared.id)
        self._session.fail(error, broken=self._bytes > 0)


def _within_transaction(pieces: list[bytes]) -> list[bytes]:
    """The end of an answer from a connection that is not part of the session's transaction: the client is in one."""
    *rows, last = pieces
    low = len(last) - 2  # EOF ends with the status
    return [*rows, last[:low] + bytes((last[low] | IN_TRANS,)) + last[low + 1 :]]


async def _failed(session: Session, connection: ServerConnection) -> None:
    """A FETCH was answered by an error, of which SHOW WARNINGS tells."""
    session.environment.measures.error(connection.scanner.errno)
    session.row_count, session.warning_count, session.diagnostics = -1, 1, None
    try:
        if connection.aborted is None:
            session.diagnostics = await connection.command(b"\x03SHOW WARNINGS")
    finally:
        give_back(session, connection)
