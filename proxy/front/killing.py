"""KILL QUERY of a session's statement on its server."""

from __future__ import annotations

from proxy.back.connection import ServerConnection
from proxy.back.server import Server
from proxy.errors import TurnoutError
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
