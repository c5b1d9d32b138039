"""KILL QUERY of a session's statement on its server, also where nobody waits for its answer any more."""

from __future__ import annotations

from proxy.back.connection import ServerConnection
from proxy.back.server import Server
from proxy.errors import ServerFailed, TurnoutError
from proxy.front.session import Session, checked


async def kill_on_server(server: Server, session: Session, victim: ServerConnection) -> None:
    """With the session's own account (an account may kill its own threads). Raises TurnoutError."""
    connection = await server.connect(session.user, session.secret, 0, origin=session.key.origin)
    try:
        if victim.taker is not session or victim.sink is None:
            return  # it ended meanwhile, and the connection may serve somebody else
        victim.dirty = victim.dirty or "killed"  # whenever the KILL arrives, it must not find another session there
        await checked(connection, b"\x03KILL QUERY %d" % victim.thread_id)
    except TurnoutError as error:
        if error.errno != 1094:  # it ended by itself
            raise
    finally:
        connection.close()


async def kill(server: Server, session: Session, thread_id: int) -> None:
    """End a statement whose connection is being given up: a server notices that only when it sends rows."""
    connection = await server.connect(session.user, session.secret, 0, origin=session.key.origin)
    try:
        await checked(connection, b"\x03KILL QUERY %d" % thread_id)
    except ServerFailed as error:
        if error.errno != 1094:  # it ended by itself
            raise
    finally:
        connection.close()


def abandon(session: Session, connection: ServerConnection, why: str) -> None:
    """Give up a connection whose server is still at work for a statement that has failed elsewhere, and end that: it
    would go on, with its locks, for as long as it has nothing to send."""
    pool, thread_id = connection.pool, connection.thread_id
    connection.abort(ServerFailed(why))
    if pool is not None and (session.killed or not session.closed):
        session.client.spawn(kill(pool.server, session, thread_id), "KILL of a statement that was given up")
