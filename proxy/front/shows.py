"""SHOW about a database whose tables are on several clusters: `proxy.plan.shows` says whose rows count."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from parser.params import param_places
from parser.rewrite import edit
from parser.statement import Param
from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, StatementRefused
from proxy.front.environment import Entry
from proxy.front.prepared_statement import Execution, reading
from proxy.front.reading import Reading
from proxy.front.row_streams import other_columns, server_error
from proxy.front.session import Session
from proxy.plan.plan import Send, ValueOf
from proxy.plan.shows import STATUS_TOTALS, Showing, Shown
from proxy.plan.system_tables import INFORMATION_SCHEMA, Cell, total
from proxy.plan.workbench import Constants
from proxy.wire import command as com
from proxy.wire.charsets import codec, collation
from proxy.wire.column import ColumnDefinition, encode_column
from proxy.wire.frames import encode
from proxy.wire.lenenc import write_int
from proxy.wire.packets import encode_eof
from proxy.wire.resultset import ResultsetReader, encode_row, read_resultset
from proxy.wire.rows import BinaryRows

_NONE_THERE = frozenset({1044, 1049, 1360})  # no right to the database, no such database, no such trigger


@dataclass(frozen=True, slots=True)
class _Part:
    cluster: str
    connection: ServerConnection
    answer: ResultsetReader


async def execute_show(
    session: Session, entry: Entry, showing: Showing, execution: Execution, value_of: ValueOf
) -> None:
    """Carry out a prepared SHOW, in the binary protocol: its clusters are asked by text, with what is bound as
    literals. Raises TurnoutError."""
    prepared = execution.prepared
    constants = Constants(value_of, prepared.literals, prepared.lexer)
    edits = []
    for number, place in enumerate(param_places(prepared.shape, prepared.lexer)):
        found = constants.of(Param(number))
        if found is None or reading(session.settings) != reading(prepared.settings):
            raise StatementRefused(
                "A prepared SHOW over several clusters takes whole numbers, strings and dates for its parameters. "
                "Send it as text.",
                reason="prepare-unsupported",
            )
        edits.append(((place, place + 1), (found[1],)))
    sql = edit(prepared.shape, prepared.literals, edits)
    await show(session, entry, showing, sql, binary=True)


async def show(session: Session, entry: Entry, showing: Showing, sql: bytes, binary: bool = False) -> None:
    """Carry out a SHOW and answer the client, an EXECUTE in the `binary` protocol. Raises TurnoutError."""
    taken: dict[str, ServerConnection] = {}
    try:
        refused: dict[str, ServerFailed] = {}
        for cluster in sorted(showing.clusters):  # nobody waits for what one has who waits for this one
            try:
                taken[cluster] = await _take(session, showing, cluster)
            except ServerFailed as error:
                _check_absent(error)
                refused[cluster] = error
        session.spread = list(taken.values())
        parts: list[_Part] = []
        asked = [cluster for cluster in showing.clusters if cluster in taken]
        answers = await asyncio.gather(*(_asked(taken[cluster], sql) for cluster in asked), return_exceptions=True)
        for cluster, answer in zip(asked, answers):
            if isinstance(answer, ServerFailed):
                _check_absent(answer)
                refused[cluster] = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                parts.append(_Part(cluster, taken[cluster], answer))
        if not parts:
            raise next(refused[cluster] for cluster in showing.clusters)
        await _Shown(session, entry, showing, parts, binary).run()
    finally:
        session.spread = []
        for connection in taken.values():
            if connection.sink is not None:
                connection.abort(ServerFailed("A SHOW was given up"))
            elif connection.holder is session:
                session._settle_held(connection)
            elif connection.aborted is None and connection.pool is not None:
                connection.pool.release(connection)


def _check_absent(error: ServerFailed) -> None:
    """Raises it, unless it says that there is nothing to be shown."""
    if error.errno not in _NONE_THERE:
        raise error


async def _take(session: Session, showing: Showing, cluster: str) -> ServerConnection:
    """The connection that the session has to the cluster, or another, in the database that the statement is about."""
    held = session.held.get(cluster)
    if held is not None:
        await session.dress(held, None, session.settings.with_changes({"sql_select_limit": None}))
        return held
    server = session.environment.cluster(cluster).primary
    server.check_up()
    database = INFORMATION_SCHEMA if showing.named else session.database
    settings = session.settings.with_changes({"autocommit": b"'ON'", "sql_select_limit": None})
    return await session.take(server, database, settings)


async def _asked(connection: ServerConnection, sql: bytes) -> ResultsetReader:
    response = await connection.command(bytes((com.COM_QUERY,)) + sql)
    if connection.scanner.errno:
        raise server_error(connection.scanner.error)
    return read_resultset(response)


class _Shown(Reading):
    """One list of the rows of several clusters."""

    def __init__(self, session: Session, entry: Entry, showing: Showing, parts: list[_Part], binary: bool) -> None:
        super().__init__(session, entry, [(Send(part.cluster), part.connection) for part in parts], [])
        self._showing = showing
        self._parts = parts
        self._binary = binary

    async def run(self) -> None:
        first = self._parts[0]
        columns = first.answer.columns
        for part in self._parts[1:]:
            if [c.name for c in part.answer.columns] != [c.name for c in columns]:
                raise other_columns(part.cluster, first.cluster)
        rows = first.answer.rows if self._showing.shown is Shown.TRIGGER else self._listed(columns)
        packets = [write_int(len(columns)), *map(encode_column, columns), encode_eof(0, self.session.status)]
        self.started = True
        self.write_packets([encode(packet, 0) for packet in packets])
        written = BinaryRows(columns).encode_text if self._binary else encode_row
        self.write_packets([encode(written(row), 0) for row in rows])
        self.rows = len(rows)
        await self.end(self.rows)

    def _listed(self, columns: list[ColumnDefinition]) -> list[list[Cell]]:
        """The rows that count, in the order of their names' bytes."""
        showing = self._showing
        at = 2 if showing.shown is Shown.TRIGGERS else 0
        kept: list[tuple[bytes, list[Cell]]] = []
        for part in self._parts:
            for row in part.answer.rows:
                name = _text(row[at], columns[at])
                if showing.speaks(name, part.cluster):
                    shown = self._total(name, row, part) if name.lower() in showing.spread else row
                    kept.append((name.encode(), shown))
        limit = self.session.settings.get("sql_select_limit")
        most = int(limit.strip(b"'")) if limit is not None and limit.strip(b"'").isdigit() else None
        return [row for _, row in sorted(kept, key=lambda each: each[0])[:most]]

    def _total(self, name: str, row: list[Cell], part: _Part) -> list[Cell]:
        """A sharded table's status, over all shards."""
        names = [column.name.decode() for column in part.answer.columns]
        keys = [each.upper() for each in names]
        rows = [dict(zip(keys, row))]
        for other in self._parts:
            if other is not part and other.cluster in self._showing.spread[name.lower()]:
                definition = other.answer.columns[0]
                rows += [
                    dict(zip(keys, r)) for r in other.answer.rows if _text(r[0], definition).lower() == name.lower()
                ]
        made = total(rows, 0, STATUS_TOTALS)
        return [made[key] for key in keys]


def _text(value: Cell, column: ColumnDefinition) -> str:
    known = collation(column.charset)
    return (value or b"").decode(codec(known.charset) or "utf-8" if known is not None else "utf-8", "replace")
