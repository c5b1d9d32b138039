"""UPDATEs after which rows belong to another shard: they are brought there, in the same transaction.

Every shard carries out the UPDATE for its own rows first. Rows that stay are done with that. Those that do not are then
the only rows of the shard whose key belongs to another one; they are read whole, as they are stored, deleted, and
inserted where they belong. Meanwhile foreign keys are not checked for them: the row that they refer to may be on the
new shard only, where the INSERT checks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parser.rewrite import quoted
from proxy.back.connection import ServerConnection
from proxy.back.settings import Settings
from proxy.errors import ServerFailed
from proxy.front.found_rows import cells
from proxy.front.guard import confirm
from proxy.front.key_list import Writer, together, write_rows
from proxy.front.row_streams import RowStream, Splitter, server_error
from proxy.front.session import Session, checked
from proxy.front.workbench import LOADING, definition_of, pulling
from proxy.front.workbench_rows import RowText
from proxy.plan import refusals
from proxy.plan.key_list import Moving, Part, Target
from proxy.plan.temporary_table import ColumnText, Unreadable, read_definition
from proxy.plan.told_apart import Known, ShardKey
from proxy.wire import command as com
from proxy.wire.frames import encode
from proxy.wire.response import QUERY
from proxy.wire.resultset import Row

_BATCH = 512 * 1024  # bytes of one INSERT
_LIMIT = 32 << 20  # bytes of rows on their way


async def write_and_move(writer: Writer, part: Part, moving: Moving, by_cluster: dict[str, list[Row]]) -> None:
    """Carry out an UPDATE that assigns the shard key for the rows that were found. Raises TurnoutError."""
    key = part.target.key
    assert key is not None
    move = _Move(writer, part, moving, key)
    staying: dict[str, list[Row]] = {}
    for cluster, rows in by_cluster.items():
        for row in rows:
            goes = key.new_cluster(row[moving.at]) != cluster
            (move.going if goes else staying).setdefault(cluster, []).append(row)
    connections = {cluster: await writer.connection(cluster) for cluster in sorted(by_cluster)}
    await together([write_rows(writer, connections[cluster], part, rows) for cluster, rows in staying.items()])
    if not move.going:
        return
    await together([move.take(cluster, connections[cluster]) for cluster in move.going])
    move.check_unique([row for rows in by_cluster.values() for row in rows])
    for cluster in sorted(move.coming):
        connections[cluster] = await writer.connection(cluster)
    await together([move.give(cluster, connections[cluster]) for cluster in move.coming])


class _Move:
    def __init__(self, writer: Writer, part: Part, moving: Moving, key: ShardKey) -> None:
        self._writer = writer
        self._part = part
        self._target = part.target
        self._moving = moving
        self._key = key
        self._size = 0
        self._new: list[Row] = []  # of every row that moves, the cells that were found of it before
        self._columns: tuple[ColumnText, ...] | None = None
        self.going: dict[str, list[Row]] = {}
        self.coming: dict[str, RowText] = {}

    # -- from where they were

    async def take(self, cluster: str, connection: ServerConnection) -> None:
        """Change the rows of a cluster that leave it, and take them out of it."""
        session, rows = self._writer.session, self.going[cluster]
        unchecked = session.settings.with_changes({"foreign_key_checks": b"'OFF'"})
        await session.dress(connection, None, unchecked)
        await write_rows(self._writer, connection, self._part, rows)
        reading = pulling(session).with_changes({"foreign_key_checks": b"'OFF'", "sql_safe_updates": b"'OFF'"})
        await session.dress(connection, None, reading)
        columns = await self._agreed(connection)
        keys = {self._new_key(row[self._moving.at]) for row in rows}
        column = self._key.known.name
        condition = b" WHERE %s IN (%s)" % (column, b",".join(sorted(keys)))
        name = self._target.name
        count = await self._read(cluster, connection, columns, condition)
        if count != len(rows):
            raise refusals.KEY_LIST_CHANGED.error(table=self._target.label, cluster=cluster)
        await checked(connection, b"\x03DELETE FROM " + name + condition)
        if connection.scanner.affected_rows != count:
            raise refusals.KEY_LIST_CHANGED.error(table=self._target.label, cluster=cluster)
        await session.dress(connection)

    def _new_key(self, cell: bytes | None) -> bytes:
        known = self._key.known
        utf8 = Known(known.column, known.name, known.written, "utf8mb4")
        return utf8.literal(cell)

    async def _agreed(self, connection: ServerConnection) -> tuple[ColumnText, ...]:
        """The columns to be moved, which have to be the same on all clusters. Raises StatementRefused."""
        found = await _columns(connection, self._target)
        if self._columns is None:
            self._columns = found
        elif self._columns != found:
            raise ServerFailed(
                f"{self._target.label} has other columns on one shard than on another: compare SHOW CREATE TABLE", 1105
            )
        return found

    async def _read(
        self, cluster: str, connection: ServerConnection, columns: Sequence[ColumnText], condition: bytes
    ) -> int:
        known = self._moving.columns
        items = [each.item(b"") for each in known] + [column.pulled for column in columns]
        text = b"SELECT " + b", ".join(items) + b" FROM " + self._target.name + condition + b" FOR UPDATE"
        stream, splitter = RowStream(connection), Splitter(payloads=True)
        connection.send(encode(bytes((com.COM_QUERY,)) + text, 0), stream, QUERY)
        count = 0
        while data := await stream.more():
            splitter.feed(data)
            payloads, splitter.rows = splitter.rows, []
            for payload in payloads:
                count += 1
                self._size += len(payload)
                self._add(cluster, payload, columns)
            if self._size > _LIMIT:
                await stream.drain()
                raise refusals.KEY_LIST_MEMORY.error(limit=str(_LIMIT))
        if splitter.error is not None:
            raise server_error(splitter.error)
        return count

    def _add(self, cluster: str, payload: bytes, columns: Sequence[ColumnText]) -> None:
        known = len(self._moving.columns)
        row = cells(payload, known + len(columns))
        to = self._key.cluster(row[self._key.at])
        if to == cluster:
            raise refusals.KEY_LIST_CHANGED.error(table=self._target.label, cluster=cluster)
        self._new.append(row[:known])
        if to not in self.coming:
            self.coming[to] = RowText(columns)
        self.coming[to].add_values(row[known:])

    def check_unique(self, found: Iterable[Row]) -> None:
        """Raises StatementRefused where it depends on the order of changes whether a unique key is there twice."""
        for parts in self._moving.unique:
            before = {tuple(row[at] for at in parts) for row in found}
            after = [tuple(row[at] for at in parts) for row in self._new]
            if any(None not in values and values in before for values in after):
                raise refusals.MOVE_ORDER.error(table=self._target.label)

    # -- to where they belong

    async def give(self, cluster: str, connection: ServerConnection) -> None:
        session = self._writer.session
        await session.dress(connection, None, _storing(session))
        columns = await self._agreed(connection)
        names = b",".join(column.name for column in columns)
        head = b"INSERT INTO " + _utf8(self._target) + b" (" + names + b") VALUES "
        for text in self.coming[cluster].taken(_BATCH):
            await confirm(session, connection)
            await checked(connection, b"\x03" + head + text)
        await session.dress(connection)


def _storing(session: Session) -> Settings:
    """The settings under which rows are stored as they were."""
    changes: dict[str, bytes | None] = {name: value for name, value in LOADING.items.items() if name != "autocommit"}
    return session.settings.with_changes(changes)


def _utf8(target: Target) -> bytes:
    return quoted(*(name for name in (target.database, target.table) if name is not None)).encode()


async def _columns(connection: ServerConnection, target: Target) -> tuple[ColumnText, ...]:
    """Those that are given values, as the server has them now. Raises TurnoutError."""
    shown = await definition_of(connection, target.name)
    try:
        return tuple(column for column in read_definition(shown).columns if not column.generated)
    except Unreadable as problem:
        column = target.key.known.column if target.key is not None else ""
        raise refusals.MOVE_ROWS.error(table=target.label, column=column, why=f"the table {problem}") from None
