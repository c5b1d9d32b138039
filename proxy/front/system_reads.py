"""A SELECT from information_schema with rows of several clusters (`proxy.plan.system_reads` says which).

Connections of the client's account to the other clusters are asked for their rows, in parallel, outside of the
session's transaction: what information_schema says is none of a transaction's. Then the statement, with these rows in
it, is forwarded like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

from parser.rewrite import quoted
from parser.shape import Lexer
from parser.statement import Effect
from proxy.back.connection import ServerConnection
from proxy.back.settings import Settings
from proxy.errors import ServerFailed
from proxy.front.environment import Entry
from proxy.front.row_streams import server_error
from proxy.front.session import Session
from proxy.front.statements import Relay, forward, with_connection_id
from proxy.plan import refusals
from proxy.plan.plan import Plan, Send
from proxy.plan.system_reads import Ask, Gather
from proxy.plan.system_tables import INFORMATION_SCHEMA, Cell, SystemTable, total
from proxy.wire import column as types
from proxy.wire import command as com
from proxy.wire.charsets import collation
from proxy.wire.column import ColumnDefinition
from proxy.wire.frames import encode
from proxy.wire.response import PREPARE
from proxy.wire.resultset import ResultsetReader, read_resultset

MOST_BYTES = 8 << 20  # of the rows of one mention, as text; servers take statements of 16 MB

_WHOLE = frozenset({types.TINY, types.SHORT, types.LONG, types.LONGLONG, types.INT24, types.YEAR})
_OTHER_NUMBERS = frozenset({types.NEWDECIMAL, types.FLOAT, types.DOUBLE})


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer: the columns' definitions, with the character sets that the servers have their texts in, and rows."""

    columns: Sequence[ColumnDefinition]
    rows: Sequence[dict[str, Cell]]


class Named(Relay):
    """Passes an answer on with the columns that the client's own text would have had."""

    __slots__ = ("_columns", "_head")

    def __init__(self, session: Session, columns: Sequence[bytes]) -> None:
        super().__init__(session)
        self._columns: Sequence[bytes] = columns
        self._head = b""

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        if self._columns:
            self._head += data
            if len(_packet_ends(self._head, len(self._columns) + 1)) <= len(self._columns):
                return  # not all of them are there
            data = self._named()
        super().on_data(connection, data)

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        if self._columns:  # all of the answer is here
            self._head += b"".join(pieces)
            pieces = [self._named()]
        super().on_end(connection, pieces)

    def _named(self) -> bytes:
        """What has come, with the other columns."""
        data, columns, self._head, self._columns = self._head, self._columns, b"", ()
        ends = _packet_ends(data, len(columns) + 1)
        if data[4] != len(columns) or len(ends) <= len(columns):
            return data  # an error
        named = [encode(text, number + 2) for number, text in enumerate(columns)]
        return b"".join([data[: ends[0]], *named, data[ends[-1] :]])


def _packet_ends(data: bytes, most: int) -> list[int]:
    """Where the first packets end that are there as a whole."""
    ends: list[int] = []
    end = 0
    while len(ends) < most and end + 4 <= len(data):
        end += 4 + int.from_bytes(data[end : end + 3], "little")
        if end > len(data):
            break
        ends.append(end)
    return ends


async def run_gathered(session: Session, entry: Entry, gather: Gather, sql: bytes) -> None:
    """Carry out a text statement. Raises TurnoutError."""
    columns: list[bytes] = []
    send = await gathered(session, entry.plan, gather, columns)
    payload = bytes((com.COM_QUERY,)) + (send.text if send.text is not None else sql)
    await forward(session, entry, send, payload, relay=Named(session, columns))


async def gathered(session: Session, plan: Plan, gather: Gather, columns: list[bytes] | None = None) -> Send:
    """The statement with the rows of other clusters in it, and where it goes. `columns`: is given the definitions that
    the answer to the client's own text would have. Raises TurnoutError."""
    clusters = sorted({gather.cluster, *(cluster for ask in gather.asks for cluster, _ in ask.there)})
    connections: dict[str, ServerConnection] = {}
    try:
        for cluster in clusters:  # in the order of their names: nobody waits for what one has who waits for this one
            connections[cluster] = await _take(session, cluster)
        session.spread = list(connections.values())
        if columns is not None:
            columns += await _definitions(
                session, connections[gather.cluster], Lexer.restore(gather.shape, list(gather.literals))
            )
        names = await _columns(connections[gather.cluster], gather)
        parts = [ask.pulled(names[ask.mention.table.name]) for ask in gather.asks]
        async with _told_first(), asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_bring(gather, cluster, connections[cluster], parts)) for cluster in clusters]
        brought = {cluster: task.result() for cluster, task in zip(clusters, running)}
    finally:
        session.spread = []
        for connection in connections.values():
            if connection.sink is not None:
                connection.abort(ServerFailed("A statement about information_schema was given up"))
            elif connection.holder is not session and connection.aborted is None and connection.pool is not None:
                connection.pool.release(connection)
    derived = [
        _derived(ask, names[ask.mention.table.name], {c: found[at] for c, found in brought.items() if at in found})
        for at, ask in enumerate(gather.asks)
    ]
    text = gather.final(derived)
    if plan.effects & Effect.USES_CONNECTION_ID:
        text = with_connection_id(session.connection_id, *session.lexer.shape(text))
    return Send(gather.cluster, text)


@asynccontextmanager
async def _told_first() -> AsyncIterator[None]:
    """Of what tasks raised, the first that is not about others having failed."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise next((e for e in group.exceptions if not isinstance(e, asyncio.CancelledError)), group) from None


async def _take(session: Session, cluster: str) -> ServerConnection:
    """The connection that the session has to the cluster, or another, asked in the servers' own character sets."""
    settings = _asking(session)
    held = session.held.get(cluster)
    if held is not None:
        await session.dress(held, None, settings)
        return held
    server = session.environment.cluster(cluster).primary
    server.check_up()
    return await session.take(server, INFORMATION_SCHEMA, settings.with_changes(_OUTSIDE))


_OUTSIDE = {"autocommit": b"'ON'"}  # of the session's transaction


def _asking(session: Session) -> Settings:
    return session.settings.with_changes({"character_set_results": b"NULL", "sql_select_limit": None})


async def _query(connection: ServerConnection, sql: bytes) -> ResultsetReader:
    """Raises ServerFailed with the server's own error."""
    response = await connection.command(bytes((com.COM_QUERY,)) + sql)
    if connection.scanner.errno:
        raise server_error(connection.scanner.error)
    return read_resultset(response)


async def _definitions(session: Session, connection: ServerConnection, sql: bytes) -> list[bytes]:
    """The columns of a statement, as the server would describe them. Raises ServerFailed with what is wrong with it."""
    settings, database = connection.settings, connection.database
    own = session.settings if connection.holder is session else session.settings.with_changes(_OUTSIDE)
    await session.dress(connection, session.database, own)
    response = await connection.command(bytes((com.COM_STMT_PREPARE,)) + sql, PREPARE)
    if connection.scanner.errno:
        raise server_error(connection.scanner.error)
    connection.write(encode(bytes((com.COM_STMT_CLOSE,)) + response[5:9], 0))  # has no answer
    ends = _packet_ends(response, 1 + connection.scanner.columns)
    await session.dress(connection, database, settings)
    return [response[start + 4 : end] for start, end in pairwise(ends)]


async def _columns(connection: ServerConnection, gather: Gather) -> dict[str, list[str]]:
    """The columns of information_schema's tables where the statement runs."""
    found = {}
    for table in {ask.mention.table.name for ask in gather.asks}:
        reader = await _query(connection, b"SELECT * FROM information_schema.%s LIMIT 0" % table.encode())
        found[table] = [column.name.decode() for column in reader.columns]
    return found


async def _bring(
    gather: Gather, cluster: str, connection: ServerConnection, parts: Sequence[Sequence[str]]
) -> dict[int, Rows]:
    """What one cluster has to tell, by the number of the mention."""
    found = {}
    for at, ask in enumerate(gather.asks):
        for where, condition in ask.there:
            if where == cluster:
                sql = _select(parts[at], ask.mention.table, condition)
                try:
                    reader = await _query(connection, sql)
                except ServerFailed as error:
                    if error.errno != 1054:
                        raise
                    system = f"information_schema.{ask.mention.table.name}"
                    column = error.message.partition("'")[2].partition("'")[0]
                    raise refusals.SYSTEM_COLUMN.error(
                        system=system, column=column, cluster=cluster, home=gather.cluster
                    ) from None
                found[at] = Rows(reader.columns, [dict(zip(parts[at], row)) for row in reader.rows])
    return found


def _select(columns: Sequence[str], table: SystemTable, condition: bytes) -> bytes:
    names = ", ".join(quoted(name) for name in columns).encode()
    return b"SELECT %s FROM information_schema.%s WHERE %s" % (names, table.name.encode(), condition)


def _derived(ask: Ask, names: Sequence[str], brought: dict[str, Rows]) -> bytes:
    """The derived table that stands for a mention."""
    chosen = ask.chosen(names)
    parts = [_select(chosen, ask.mention.table, ask.here)]
    size = 0
    for definitions, row in _rows(ask, brought):
        text = b"SELECT " + b", ".join(_constant(row[name], definitions[name]) for name in chosen)
        size += len(text)
        if size > MOST_BYTES:
            raise refusals.SYSTEM_ROWS.error(
                system=f"information_schema.{ask.mention.table.name}", limit=str(MOST_BYTES)
            )
        parts.append(text)
    if len(parts) == 1:  # else MariaDB merges it into the query, and names columns in another case than the client
        parts[0] += b" LIMIT 18446744073709551615"
    return b"(" + b" UNION ALL ".join(parts) + b")"


def _rows(ask: Ask, brought: dict[str, Rows]) -> list[tuple[dict[str, ColumnDefinition], dict[str, Cell]]]:
    """The rows that were brought, those of a sharded table's clusters made one."""
    table = ask.mention.table
    made = []
    added: dict[tuple[Cell, ...], list[tuple[str, dict[str, Cell]]]] = {}
    keyed: dict[tuple[tuple[str, str], Cell], int] = {}  # by index: from which of its columns on the shard key is in it
    definitions = {
        cluster: {column.name.decode(): column for column in answer.columns} for cluster, answer in brought.items()
    }
    for cluster, answer in brought.items():
        for row in answer.rows:
            about = _about(table, row) if ask.spread else ("", "")
            if about not in ask.spread:
                made.append((definitions[cluster], row))
                continue
            identity = tuple(row[name] for name in table.identity)
            added.setdefault((*(part.encode() for part in about), *identity), []).append((cluster, row))
            speaks, key = ask.spread[about]
            if "SEQ_IN_INDEX" in row and cluster == speaks and _text(row["COLUMN_NAME"]).lower() == key:
                keyed[about, row["INDEX_NAME"]] = int(row["SEQ_IN_INDEX"] or 0)
    for rows in added.values():
        about = _about(table, rows[0][1])
        speaks, _ = ask.spread[about]
        spoken = next((at for at, (cluster, _) in enumerate(rows) if cluster == speaks), None)
        if spoken is None:
            continue  # it is not there where it should be
        row = rows[spoken][1]
        first = keyed.get((about, row.get("INDEX_NAME")))
        by_key = first is not None and first <= int(row["SEQ_IN_INDEX"] or 0)
        made.append((definitions[speaks], total([each for _, each in rows], spoken, table.totals or {}, by_key=by_key)))
    return made


def _about(table: SystemTable, row: dict[str, Cell]) -> tuple[str, str]:
    return _text(row[table.schema]).lower(), _text(row[table.table]).lower()


def _text(value: Cell) -> str:
    return (value or b"").decode("utf-8", "replace")


def _constant(value: Cell, column: ColumnDefinition) -> bytes:
    """A value as a constant of its column's type, as every sql_mode and character set reads it."""
    if column.type in _WHOLE and column.flags & types.UNSIGNED_FLAG:  # a signed one beside it would make DECIMALs
        return b"CAST(%s AS UNSIGNED)" % (value if value is not None else b"NULL")
    if value is None:
        return b"NULL"
    if column.type in _WHOLE:
        return value
    if column.type in _OTHER_NUMBERS:
        return value
    if column.type in (types.DATETIME, types.TIMESTAMP):
        return b"TIMESTAMP'%s'" % value
    known = collation(column.charset)
    introducer = b"_" + known.charset.encode() + b" " if known is not None and known.charset != "binary" else b""
    return b"%sX'%s'" % (introducer, value.hex().encode())
