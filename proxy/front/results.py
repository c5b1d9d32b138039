"""Results that are larger than an account's may be (`result_rows`, `result_bytes`): the client is told an error in the
place of the rest, and the servers' statement is ended.

Only sessions with such a limit know of it: what is written to their clients goes through a `Bound`, which sees every
answer however it came about, and which the session (`Session.bound`) tells where answers begin and end. Of the rest of
an answer nothing is written any more, but its servers are listened to until they have heard the KILL: so the
connections keep their place, and transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from parser.statement import Effect
from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front.killing import kill_on_server
from proxy.front.session import Session
from proxy.wire.bounded import BoundedResponse, Exceeded
from proxy.wire.frames import encode
from proxy.wire.packets import encode_err

if TYPE_CHECKING:
    from proxy.front.client import Client
    from proxy.rules.model import ResultLimits

PATIENCE_S = 5.0  # a server that goes on sending for so long after a KILL loses its connection
_LOOK_S = 0.05


class Bound:
    """Stands in for `Client.write`."""

    __slots__ = ("_ending", "_write", "response", "session")

    def __init__(self, session: Session, write: Callable[[bytes], None]) -> None:
        self.response = BoundedResponse()
        self.session = session
        self._write = write
        self._ending: list[asyncio.Task[None]] = []  # what sees to it that servers stop sending

    def write(self, data: bytes) -> None:
        response = self.response
        if response.exceeded is not None:
            return
        if not response.active:
            self._write(data)
            return
        if self._returns_what_it_wrote:
            response.end()
            self._write(data)
            return
        out = response.feed(data)
        if response.exceeded is not None:
            error = self._too_large(response.exceeded)
            self._write(out + encode(encode_err(error.errno, error.sqlstate, error.message), response.sequence))
            self._exceed(error)
        elif out:
            self._write(out)

    def unwrapped(self) -> Callable[[bytes], None]:
        return self._write

    @property
    def _returns_what_it_wrote(self) -> bool:
        """A write with RETURNING has been carried out, whatever becomes of its rows: there is nothing to be ended."""
        running = self.session.running
        return running is not None and bool(running.plan.effects & Effect.RETURNING)

    # -- answers

    def begin_answer(self) -> None:
        self.session.exceeded = None
        self._ending = []
        self.response.begin()

    def end_answer(self) -> None:
        response = self.response
        if response.active or response.exceeded is not None:
            response.end()
            response.exceeded = None

    # -- they are too large

    def _too_large(self, exceeded: Exceeded) -> StatementRefused:
        response = self.response
        rows = exceeded is Exceeded.ROWS
        name, limit = exceeded.value, response.max_rows if rows else response.max_bytes
        return StatementRefused(
            f"User '{self.session.user}' has exceeded the '{name}' resource (current value: {limit}): the statement's "
            f"result has more {'rows' if rows else 'bytes'}. Ask for less of it (LIMIT), or raise {name} in the rules",
            1226,
            "42000",
            reason=name.replace("_", "-"),
        )

    def _exceed(self, error: StatementRefused) -> None:
        """The client has been told `error`: let go of what is still on its way."""
        session = self.session
        session.exceeded = error
        session.not_filled()
        session.environment.measures.refused(error.reason)
        if session.running_on is not None:
            session.told_otherwise(session.running_on)
        session.client.take_no_more()
        self._ending = [
            session.client.spawn(_end(session, connection), "KILL of a result that is too large")
            for connection in session.running_connections()
        ]

    async def quiet(self, connections: Iterable[ServerConnection]) -> None:
        if self._ending:
            await asyncio.wait(self._ending)
            self._ending = []
            for connection in connections:
                if connection.dirty and connection.aborted is None and connection.sink is None:
                    await connection.command(b"\x03DO 0")  # a KILL that came too late hits this


async def _end(session: Session, connection: ServerConnection) -> None:
    """Have a server stop sending: by KILL, and if that does not help, by the end of the connection."""
    began, pool = session.began, connection.pool

    def goes_on() -> bool:
        return connection.taker is session and connection.sink is not None and session.began == began

    if pool is None:
        return
    await asyncio.sleep(_LOOK_S)
    if not goes_on():  # there was not much more
        return
    try:
        async with asyncio.timeout(PATIENCE_S):
            await kill_on_server(pool.server, session, connection)
            while goes_on():  # noqa: ASYNC110 - what it does next is nobody's to be told
                await asyncio.sleep(_LOOK_S)
    except (TimeoutError, TurnoutError):
        pass  # it cannot be reached, or not by this account any more
    if goes_on():
        connection.abort(ServerFailed("A result that is too large for its account was given up"))


def bound(client: Client, session: Session, limits: ResultLimits, before: Bound | None) -> Bound | None:
    """Have a session's answers bounded, or no longer; it is between two statements. `before`: what bounded the client's
    answers until now, perhaps those of another session (COM_CHANGE_USER). Returns what does from now on."""
    if not limits.any:
        if before is not None:
            client.write = before.unwrapped()
        session.bound = session.exceeded = None
        return None
    made = session.bound = before if before is not None else Bound(session, client.write)
    made.session = session
    made.response.max_rows, made.response.max_bytes = limits.rows, limits.bytes
    client.write = made.write
    return made
