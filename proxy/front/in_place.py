"""Subqueries that the clusters answer in place (`proxy.plan.in_place` says which): their rows go into a temporary table
on the workbench.

An error, a warning, or a column of another type than can be copied exactly means that the statement is to be carried
out without (`NotInPlace`): then what a client hears is what the workbench says of the whole statement.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from parser.rewrite import quoted
from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, StatementRefused
from proxy.front.environment import Entry
from proxy.front.merge import MergedRead
from proxy.front.reading import Pairs
from proxy.front.row_streams import RowStream, Splitter, server_error
from proxy.front.session import Session
from proxy.front.workbench_rows import RowText
from proxy.plan.in_place import Asked
from proxy.plan.merge import Merge
from proxy.plan.result_table import columns_of, is_number, is_plain_string, is_whole
from proxy.wire import command as com
from proxy.wire.column import ColumnDefinition, parse_column
from proxy.wire.frames import encode
from proxy.wire.response import QUERY

# A table that is not merged into the statement: then columns are described as those of any that groups.
_WHOLE = b" LIMIT 18446744073709551615"
_BATCH = 512 * 1024  # bytes of one INSERT, but for a row that is longer
_LONGEST_NAME = 60  # bytes of a column's name that no server has to cut
# Errors that say something of the session's transaction, or of the client's wish, and not of the subquery.
_ITS_OWN = frozenset({1205, 1213, 1317, 1020, 1614, 1637, 1028, 1053, 1927, 1969, 3024})
Run = Callable[[bytes], Awaitable[None]]  # a statement on the workbench


class NotInPlace(Exception):
    """The statement has to be carried out without; `reason` is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PartTable:
    """The temporary table of one subquery in the making. `keys`: the values of its first column, if they are whole
    numbers; `stand_in`: what is written in the subquery's place; `columns`: what its columns are called, and how a
    server describes them that does not have them from a table of ours."""

    def __init__(self, asked: Asked, run: Run, count: Callable[[int], None]) -> None:
        self.name = asked.part.name
        self.keys: set[bytes] | None = None
        self.stand_in = b""
        self.columns: dict[bytes, ColumnDefinition] = {}
        self.created = False
        self._is_table = asked.part.table
        self._folded = asked.part.folded
        self._run = run
        self._count = count
        self._splitter = Splitter(payloads=True)
        self._rows: RowText | None = None

    def feed(self, data: bytes) -> None:
        self._splitter.feed(data)

    async def drained(self) -> None:
        """Take what has come. Raises NotInPlace and TurnoutError."""
        splitter = self._splitter
        if splitter.header is None:
            return
        if self._rows is None:
            await self._begin([parse_column(packet[4:]) for packet in splitter.head_packets[1:-1]])
        assert self._rows is not None
        payloads, splitter.rows = splitter.rows, []
        self._count(len(payloads))
        self._rows.add(payloads)
        if self._rows.size >= _BATCH:
            await self._insert(self._rows)

    async def finish(self) -> None:
        await self.drained()
        assert self._rows is not None
        await self._insert(self._rows)

    async def _begin(self, definitions: Sequence[ColumnDefinition]) -> None:
        columns = columns_of(definitions)
        if columns is None or (self._folded and not all(map(is_plain_string, definitions))):
            raise NotInPlace("in-place-types")
        # What a value is that is no number depends on more than its type: how a date is compared with a number, whose
        # collation gives way to the other's, how often a server warns of a string that is no number.
        if not self._is_table and not all(map(is_number, definitions)):
            raise NotInPlace("in-place-types")
        if any(not column.name.isascii() or len(column.name) > _LONGEST_NAME for column in definitions):
            raise NotInPlace("in-place-names")
        self.columns = {definition.name: definition for definition in definitions}
        if is_whole(definitions[0]):
            self.keys = set()
        self._rows = RowText(columns, {0: self.keys} if self.keys is not None else {})
        shown = [
            b"%s AS %s" % (column.name, quoted(definition.name.decode("ascii")).encode())
            for column, definition in zip(columns, definitions, strict=True)
        ]
        self.stand_in = b"SELECT " + b", ".join(shown) + b" FROM " + self.name
        if self._is_table:
            self.stand_in += _WHOLE
        lines = b", ".join(column.name + b" " + column.text for column in columns)
        await self._run(b"CREATE TEMPORARY TABLE " + self.name + b" (" + lines + b")")
        self.created = True

    async def _insert(self, rows: RowText) -> None:
        head = b"INSERT INTO " + self.name + b" VALUES "
        for text in rows.taken(_BATCH):
            await self._run(head + text)


class _PartRead(MergedRead):
    """The rows of a subquery, merged as those of a statement are, for its table."""

    def __init__(
        self, session: Session, entry: Entry, merge: Merge, pairs: Pairs, streams: Sequence[RowStream], table: PartTable
    ) -> None:
        super().__init__(session, entry, merge, pairs, streams)
        self._table = table

    def write(self, out: bytes) -> None:
        self.sent = True
        self._table.feed(out)

    async def drained(self) -> None:
        if self.session.closed:
            raise ServerFailed("The client went away")
        await self._table.drained()

    def fail_with(self, packet: bytes) -> None:
        raise server_error(packet)

    def refuse(self, refusal: StatementRefused) -> None:
        raise NotInPlace(refusal.reason) from refusal

    async def end(self, found_rows: int | None) -> None:
        await self._table.finish()
        for stream in self.streams:
            await stream.drain()
        if any(connection.scanner.warnings for _, connection in self.pairs):
            raise NotInPlace("in-place-warnings")


async def bring(
    session: Session, entry: Entry, asked: Asked, sources: dict[str, ServerConnection], table: PartTable
) -> None:
    """Ask a subquery's clusters, and fill its table. Raises NotInPlace, when all of them have answered, and
    TurnoutError."""
    route = asked.route
    pairs = [(send, sources[send.cluster]) for send in route.sends]
    streams = []
    for send, connection in pairs:
        stream = RowStream(connection)
        text = send.text if send.text is not None else asked.text
        connection.send(encode(bytes((com.COM_QUERY,)) + text, 0), stream, QUERY)
        streams.append(stream)
    try:
        await _PartRead(session, entry, route.merge or Merge(), pairs, streams, table).run()
    except (NotInPlace, StatementRefused, ServerFailed) as problem:
        if isinstance(problem, ServerFailed) and problem.errno in _ITS_OWN:
            raise
        if session.closed or any(connection.aborted is not None for _, connection in pairs):
            raise
        for stream in streams:
            await stream.drain()
        reason = "in-place-error" if isinstance(problem, ServerFailed) else problem.reason
        raise NotInPlace(reason) from problem
