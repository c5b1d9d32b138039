"""A prepared statement of a client, and the statements on servers that stand for it.

It belongs to no server. Every connection on which it runs gets its text prepared once (`ServerConnection.statements`,
bounded; the least recently used is closed), and so do the texts that single shards get of it (*shares*, whose
parameters are those of the client's in another order, some of them more than once, and numbers of ours).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from parser.rewrite import Number
from parser.shape import Lexer
from parser.statement import Effect
from proxy.back.connection import ServerConnection, ServerStatement
from proxy.back.settings import CHARSET_VARIABLES, Settings
from proxy.errors import ServerFailed, StatementRefused
from proxy.front.environment import Entry, Environment
from proxy.front.known import Texts
from proxy.front.session import Session
from proxy.front.statements import with_connection_id
from proxy.front.values import BoundValues
from proxy.plan.plan import Send
from proxy.wire import command as com
from proxy.wire.binary import (
    READ_ONLY_CURSOR,
    Execute,
    Integer,
    decode_params,
    parse_execute,
    rearranged,
    rebuild_execute,
)
from proxy.wire.frames import encode
from proxy.wire.packets import parse_err
from proxy.wire.response import PREPARE

_LONGEST_SHARE = 64 * 1024  # bytes of a text of ours that is kept prepared
READING = ("sql_mode", *CHARSET_VARIABLES)


def reading(settings: Settings) -> tuple[bytes | None, ...]:
    """The settings that decide what a text means when it is read."""
    return tuple(settings.get(name) for name in READING)


def read_as(settings: Settings, at_prepare: Settings) -> Settings:
    """Settings, but for those that decide what a text means. Others stay: autocommit, say, would end a transaction."""
    if reading(settings) == reading(at_prepare):
        return settings
    return settings.with_changes(dict(zip(READING, reading(at_prepare))))


@dataclass(slots=True)
class Prepared:
    """One statement of one client. `types`: two bytes a parameter, as last bound; `long_data` by parameter."""

    id: int
    sql: bytes
    shape: bytes
    literals: list[bytes]
    database: str | None
    lexer: Lexer
    environment: Environment
    entry: Entry
    settings: Settings  # at PREPARE, when the text was read
    params: int = 0
    types: bytes | None = None
    long_data: dict[int, bytearray] = field(default_factory=dict)
    long_error: StatementRefused | None = None
    known: Texts | None = None  # executions whose answers came from memory (`PlanCache.executions`)
    key: tuple[bytes, str | None, tuple[bytes | None, ...]] = field(init=False)
    # What makes two server-side statements the same: the text, and what changes how a server reads it.
    answered_by: tuple[bytes, ...] = field(init=False)  # what of it decides, besides the shape, how it is answered

    def __post_init__(self) -> None:
        self.key = self.make_key()
        read_by = (value if value is not None else b"-" for value in reading(self.settings))
        self.answered_by = (*self.literals, *read_by)

    def make_key(self) -> tuple[bytes, str | None, tuple[bytes | None, ...]]:
        return self.sql, self.database, reading(self.settings)

    @property
    def text(self) -> bytes:
        """As it was planned: of `sql`, something may have been replaced."""
        return Lexer.restore(self.shape, self.literals)


@dataclass(frozen=True, slots=True)
class Execution:
    """One EXECUTE. `long_data`: of parameters that were sent ahead; `once`: the text is not one to be kept prepared;
    `cursor`: the server is asked for one."""

    prepared: Prepared
    bound: Execute
    long_data: Mapping[int, bytes]
    once: bool = False
    cursor: bool = False

    @classmethod
    def of(cls, prepared: Prepared, payload: bytes) -> Execution:
        """What the payload of a COM_STMT_EXECUTE says. Raises ProtocolError."""
        bound = parse_execute(payload, prepared.params, prepared.types)
        prepared.types = bound.types
        return cls(prepared, bound, {number: bytes(data) for number, data in prepared.long_data.items()})

    def values(self, charset: str) -> BoundValues:
        """What was bound, its strings in this character set. Raises ProtocolError."""
        params: list[object] = list(decode_params(self.bound, set(self.long_data)))
        for number, data in self.long_data.items():
            params[number] = data
        return BoundValues(params, self.bound.types, self.prepared.literals, self.prepared.lexer, charset)

    def share(self, send: Send, session: Session) -> Execution:
        """What one target executes."""
        if send.text is None:
            return self
        text = send.text
        if self.prepared.entry.plan.effects & Effect.USES_CONNECTION_ID:
            text = with_connection_id(session.connection_id, *self.prepared.lexer.shape(text))
        wanted = [Integer(each.value) if isinstance(each, Number) else each for each in send.params]
        payload, was = rearranged(self.bound, set(self.long_data), wanted)
        prepared = replace(self.prepared, sql=text, params=len(wanted), long_data={}, long_error=None, known=None)
        long_data = {
            new: self.long_data[old] for new, old in enumerate(was) if old is not None and old in self.long_data
        }
        return Execution(prepared, parse_execute(payload, len(wanted), None), long_data, len(text) > _LONGEST_SHARE)

    async def frames(self, session: Session, connection: ServerConnection) -> bytes:
        """What is sent to execute it on a connection, which has the session's state then; it is prepared there first
        if need be. Raises ServerFailed."""
        if not self.once:
            return self.framed(await server_statement(session, connection, self.prepared))
        made = await prepare_on(session, connection, self.prepared, session.settings)
        await session.dress(connection, self.prepared.database)
        return self.framed(made) + made.closing

    def framed(self, statement: ServerStatement) -> bytes:
        """What is sent to execute it, given the statement there."""
        number = statement.id
        head = bytes((com.COM_STMT_SEND_LONG_DATA,)) + number.to_bytes(4, "little")
        long_data = [encode(head + at.to_bytes(2, "little") + data, 0) for at, data in self.long_data.items()]
        flags = READ_ONLY_CURSOR if self.cursor else 0
        return b"".join((*long_data, encode(rebuild_execute(self.bound, number, flags), 0)))

    async def commands(self, session: Session, pairs: Sequence[tuple[Send, ServerConnection]]) -> list[bytes]:
        """The same for several targets, each with its share. Raises TurnoutError."""
        shares = [(self.share(send, session), connection) for send, connection in pairs]
        jobs = (share.frames(session, connection) for share, connection in shares)
        made = await asyncio.gather(*jobs, return_exceptions=True)
        for each in made:
            if isinstance(each, BaseException):
                raise each
        return [each for each in made if isinstance(each, bytes)]


async def server_statement(session: Session, connection: ServerConnection, prepared: Prepared) -> ServerStatement:
    """The statement on a connection, which gets the session's settings. Raises ServerFailed."""
    await session.dress(connection, prepared.database)
    made = connection.statements.pop(prepared.key, None)
    if made is None:
        made = await prepare_on(session, connection, prepared, session.settings)
    remember(session, connection, prepared, made)
    await session.dress(connection, prepared.database)
    return made


async def prepare_on(
    session: Session, connection: ServerConnection, prepared: Prepared, settings: Settings
) -> ServerStatement:
    """Prepare the text under these settings, but read it as it was read by us. Raises ServerFailed."""
    await session.dress(connection, prepared.database, read_as(settings, prepared.settings))
    await connection.command(bytes((com.COM_STMT_PREPARE,)) + prepared.sql, PREPARE)
    if connection.scanner.errno:
        error = parse_err(connection.scanner.error)
        raise ServerFailed(error.message.decode("utf-8", "replace"), error.errno, error.sqlstate)
    made = ServerStatement(connection.scanner.statement_id)
    if connection.scanner.params != prepared.params:
        close_on(connection, made)
        raise ServerFailed("Prepared statement needs to be re-prepared", 1615, "HY000")
    return made


def remember(session: Session, connection: ServerConnection, prepared: Prepared, made: ServerStatement) -> None:
    """Keep a statement that was prepared on a connection; close the least recently used beyond the limit."""
    statements = connection.statements
    old = statements.pop(prepared.key, None)
    if old is not None and old.id != made.id:
        close_on(connection, old)
    statements[prepared.key] = made
    limit = session.environment.rules.pool.max_statements
    while len(statements) > limit:
        close_on(connection, statements.pop(next(iter(statements))))


def close_on(connection: ServerConnection, statement: ServerStatement) -> None:
    connection.write(statement.closing)
