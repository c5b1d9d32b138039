"""Results that are larger than an account's may be (`result_rows`, `result_bytes`): the client is told an error in the
place of the rest, and the servers' statement is ended.

Only sessions with such a limit know of it: a session becomes a `BoundedSession`, and what is written to its client goes
through a `Bound`, which sees every answer however it came about. Of the rest of an answer nothing is written any more,
but its servers are listened to until they have heard the KILL: so the connections keep their place, and transactions.
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
    from proxy.cache.value import CachedValue
    from proxy.front.client import Client
    from proxy.front.environment import Entry
    from proxy.rules.model import ResultLimits

PATIENCE_S = 5.0  # a server that goes on sending for so long after a KILL loses its connection
_LOOK_S = 0.05


class Bound:
    """Stands in for `Client.write`."""

    __slots__ = ("_write", "response", "session")

    def __init__(self, session: BoundedSession, write: Callable[[bytes], None]) -> None:
        self.response = BoundedResponse()
        self.session = session
        self._write = write

    def write(self, data: bytes) -> None:
        response = self.response
        if response.exceeded is not None:
            return
        if not response.active:
            self._write(data)
            return
        if self.session.returns_what_it_wrote:
            response.end()
            self._write(data)
            return
        out = response.feed(data)
        if response.exceeded is not None:
            error = self.session.too_large(response.exceeded)
            self._write(out + encode(encode_err(error.errno, error.sqlstate, error.message), response.sequence))
            self.session.exceed(error)
        elif out:
            self._write(out)

    def unwrapped(self) -> Callable[[bytes], None]:
        return self._write


class BoundedSession(Session):
    """A session whose answers are bounded. No session is made as one: see `bound`."""

    is_bounded = True
    bound: Bound
    ending: list[asyncio.Task[None]]  # what sees to it that servers stop sending

    @property
    def busy(self) -> bool:
        return bool(self.__dict__["busy"])

    @busy.setter
    def busy(self, value: bool) -> None:
        self.__dict__["busy"] = value
        if not value:
            self._end_answer()

    def _begin_answer(self) -> None:
        self.exceeded = None
        self.ending = []
        self.bound.response.begin()

    def _end_answer(self) -> None:
        response = self.bound.response
        if response.active or response.exceeded is not None:
            response.end()
            response.exceeded = None

    @property
    def returns_what_it_wrote(self) -> bool:
        """A write with RETURNING has been carried out, whatever becomes of its rows: there is nothing to be ended."""
        running = self.running
        return running is not None and bool(running.plan.effects & Effect.RETURNING)

    # -- answers begin

    def query(self, payload: bytes, packet: bytes | None) -> None:
        self._begin_answer()
        super().query(payload, packet)

    def begin_statement(self, entry: Entry) -> None:
        self._begin_answer()
        super().begin_statement(entry)

    def answer_cached(self, value: CachedValue) -> None:
        self._begin_answer()
        super().answer_cached(value)
        if self.exceeded is not None:
            self.remember_error(self.exceeded)
        self._end_answer()

    def lists_fields(self) -> None:
        self._end_answer()

    # -- they are too large

    def too_large(self, exceeded: Exceeded) -> StatementRefused:
        response = self.bound.response
        rows = exceeded is Exceeded.ROWS
        name, limit = exceeded.value, response.max_rows if rows else response.max_bytes
        return StatementRefused(
            f"User '{self.user}' has exceeded the '{name}' resource (current value: {limit}): the statement's result "
            f"has more {'rows' if rows else 'bytes'}. Ask for less of it (LIMIT), or raise {name} in the rules",
            1226,
            "42000",
            reason=name.replace("_", "-"),
        )

    def exceed(self, error: StatementRefused) -> None:
        """The client has been told `error`: let go of what is still on its way."""
        self.exceeded = error
        self.not_filled()
        self.environment.measures.refused(error.reason)
        if self.running_on is not None:
            self.told_otherwise(self.running_on)
        self.client.take_no_more()
        self.ending = [
            self.client.spawn(_end(self, connection), "KILL of a result that is too large")
            for connection in self.running_connections()
        ]

    async def quiet(self, connections: Iterable[ServerConnection]) -> None:
        if self.ending:
            await asyncio.wait(self.ending)
            self.ending = []
            for connection in connections:
                if connection.dirty and connection.aborted is None and connection.sink is None:
                    await connection.command(b"\x03DO 0")  # a KILL that came too late hits this

    def told_otherwise(self, connection: ServerConnection) -> None:
        """Whatever a server says of the statement: the client was told an error."""
        error = self.exceeded
        if error is not None:
            scanner = connection.scanner
            scanner.errno, scanner.error = error.errno, encode_err(error.errno, error.sqlstate, error.message)

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        self.told_otherwise(connection)
        super().on_end(connection, pieces)

    def fail(self, error: TurnoutError, broken: bool = False) -> None:
        told = self.exceeded
        if told is not None and self.bound.response.exceeded is not None:  # the client has its whole answer
            error = TurnoutError(told.message, told.errno, told.sqlstate)
            if broken and self.task is not None:  # which goes on to its end, and takes the next command then
                self.environment.measures.error(error.errno)
                self.remember_error(error)
                return
            broken = False
        super().fail(error, broken)


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
        session.__class__ = Session
        return None
    session.__class__ = BoundedSession
    assert isinstance(session, BoundedSession)
    made = session.bound = before if before is not None else Bound(session, client.write)
    made.session = session
    made.response.max_rows, made.response.max_bytes = limits.rows, limits.bytes
    client.write = made.write
    return made
