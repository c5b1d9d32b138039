"""Cursors that a session has open on servers (`proxy.front.fetching` opens them and fetches their rows).

A server that opens a cursor has put all rows into a temporary table of its connection. It is there, in a transaction or
not, until its rows are at their end, or its statement is executed again, reset or closed. So it needs its connection,
and a statement there that nobody else executes, and nothing else of the session.

A connection with open cursors that the session would give back is *parked*: nobody takes it but the session, for what
else it asks of that server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.back.connection import ServerConnection, ServerStatement
from proxy.errors import ServerFailed

if TYPE_CHECKING:
    from proxy.back.pool import Pool
    from proxy.front.prepared_statement import Prepared
    from proxy.front.session import Session


@dataclass(frozen=True, slots=True)
class Cursor:
    """An open cursor. `prepared`: what its statement was prepared from on the server, and may be used for again."""

    connection: ServerConnection
    statement: ServerStatement
    prepared: Prepared


def parked(session: Session, pool: Pool, database: str | None = None) -> ServerConnection | None:
    """A connection of this pool that the session keeps because of cursors alone, and that has, or can be given, the
    session's default database, or another."""
    name = database if database is not None else session.database
    for cursor in session.cursors.values():
        connection = cursor.connection
        if connection.pool is pool and connection.taker is None and connection.aborted is None:
            if not connection.dirty and (name is not None or connection.database is None):
                return connection
    return None


def close(session: Session, number: int) -> None:
    """Close the cursor of a statement of the client, if it has one."""
    cursor = session.cursors.pop(number, None)
    if cursor is None:
        return
    connection = cursor.connection
    connection.cursors -= 1
    if connection.aborted is None:
        connection.write(cursor.statement.closing)
        if connection.taker is None and connection.pool is not None:
            connection.pool.release(connection)


def close_all(session: Session) -> None:
    """The session is over, or begins anew. A connection in the middle of a FETCH is dropped: nobody reads it."""
    for number, cursor in list(session.cursors.items()):
        if cursor.connection.sink is not None:
            cursor.connection.abort(ServerFailed("The client went away while its statement was running"))
        close(session, number)


def give_back(session: Session, connection: ServerConnection) -> None:
    """After a FETCH: a connection that the session does not hold is parked again, or goes back to its pool."""
    if connection.holder is not session and connection.pool is not None:
        connection.pool.release(connection)
