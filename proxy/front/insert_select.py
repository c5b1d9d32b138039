"""INSERT and REPLACE .. SELECT through Turnout (`proxy.plan.insert_select` says where rows come from and go to).

The rows are selected first and kept as texts, by cluster, in memory up to a few megabytes and beyond in a temporary
file: a server cannot be given rows on the connection on which it still sends some, and in a transaction there is but
one. Then each cluster gets its rows, all clusters at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from tempfile import SpooledTemporaryFile

from parser.rewrite import quoted
from proxy.back.connection import ServerConnection
from proxy.front.environment import Entry
from proxy.front.found_rows import cells, find, time_zone
from proxy.front.guard import learn
from proxy.front.key_list import Writer, take_warnings, together
from proxy.front.literals import Literal, check_key, literals_of
from proxy.front.row_streams import Splitter
from proxy.front.sequences import IdSequence, IdsVoided, Run
from proxy.front.session import Session, checked
from proxy.front.statements import joined
from proxy.front.whole import Whole
from proxy.plan import refusals
from proxy.plan.insert_select import Into, Selected
from proxy.plan.keys import Family
from proxy.plan.plan import Send
from proxy.plan.told_apart import PLAIN
from proxy.wire.charsets import collation
from proxy.wire.column import ColumnDefinition, parse_column
from proxy.wire.resultset import Row

_BATCH = 256 * 1024  # bytes of one INSERT, but for a row that is longer
_MEMORY = 2 << 20  # bytes of one cluster's rows
_LIMIT = 1 << 30  # bytes of all rows
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,19}")


async def insert_selected(session: Session, entry: Entry, selected: Selected) -> None:
    """Carry out the statement and answer the client. Raises TurnoutError: then nothing of it is done."""
    into = selected.into
    writer = Writer(session, entry)
    whole = Whole(session)
    lock = selected.lock or b""
    isolation = (session.settings.get("transaction_isolation") or session.settings.get("tx_isolation") or b"").upper()
    if (
        selected.lock is None
        and selected.finder.kind != "workbench"
        and not whole.alone
        and b"COMMITTED" not in isolation
    ):
        raise refusals.INSERT_SELECT_LOCKS.error()
    rows = _Rows(session, into)
    async with whole:
        connection = await joined(session, entry, Send(into.clusters[0]))
        rows.zone = await time_zone(session, connection)
        await find(session, selected.finder, selected.find, rows, frozenset(), exact=True, lock=lock)
        await rows.drained()
        take_warnings(session, writer.tally, entry.plan.statement)
        insert_id = await _Inserting(writer, selected, rows).run()
        await whole.commit()
    writer.answer(insert_id)


def _reads_anew(session: Session) -> bool:
    """Does every statement of the transaction read what is there when it begins, without locks?"""
    names = ("transaction_isolation", "tx_isolation")
    return any(b"COMMITTED" in (session.settings.get(name) or b"").upper() for name in names)


class _Spool:
    """The rows of one cluster."""

    def __init__(self) -> None:
        self.file = SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115 - `_Rows.close` does
        self.size = 0

    def add(self, row: bytes) -> None:
        self.file.write(len(row).to_bytes(4, "little") + row)
        self.size += len(row)

    def batches(self) -> Iterator[list[bytes]]:
        self.file.seek(0)
        batch: list[bytes] = []
        size = 0
        while head := self.file.read(4):
            row = self.file.read(int.from_bytes(head, "little"))
            if batch and size + len(row) > _BATCH:
                yield batch
                batch, size = [], 0
            batch.append(row)
            size += len(row)
        if batch:
            yield batch


class _Rows:
    """Takes the rows of the SELECT: as literals, by the cluster that they go to."""

    def __init__(self, session: Session, into: Into) -> None:
        self.zone = b""
        self.runs: list[Run] = []
        self.spools: dict[str, _Spool] = {}
        self.last = ""  # where the last row goes
        self._session = session
        self._into = into
        self.sequence: IdSequence | None = None
        if into.ids is not None and into.ids.sequence is not None:
            assert session.environment.sequences is not None
            self.sequence = session.environment.sequences.of(into.ids.sequence)
        self._zero_is_a_value = "NO_AUTO_VALUE_ON_ZERO" in session.sql_mode
        self.restart()

    def close(self) -> None:
        for spool in self.spools.values():
            spool.file.close()

    def restart(self) -> None:
        self.close()
        self.spools = {}
        self.runs.clear()
        self._payloads: list[bytes] = []
        self._splitter = Splitter(payloads=True)
        self._definitions: list[ColumnDefinition] = []
        self._literals: list[Literal] = []
        self._charset = "binary"

    def feed(self, data: bytes) -> None:
        splitter = self._splitter
        splitter.feed(data)
        if splitter.header is not None and not splitter.checked:
            splitter.checked = True
            self._begin([parse_column(packet[4:]) for packet in splitter.head_packets[1:-1]])
        self._payloads += splitter.rows
        splitter.rows = []

    def _begin(self, definitions: list[ColumnDefinition]) -> None:
        into = self._into
        if len(definitions) != len(into.columns):
            raise refusals.COLUMN_COUNT.error(row="1")
        self._definitions = definitions
        self._literals = literals_of(definitions, into.columns, self.zone)
        if into.key is not None and into.key.at < len(definitions):
            check_key(definitions[into.key.at], into.key.placement.form.family is Family.INTEGER)
            known = collation(definitions[into.key.at].charset)
            self._charset = known.charset if known is not None else "binary"

    async def drained(self) -> None:
        payloads, self._payloads = self._payloads, []
        if not payloads:
            return
        rows = [cells(payload, len(self._definitions)) for payload in payloads]
        ids = await self._ids(rows)
        if (key := self._into.key) is not None:
            await learn(self._session, key.placement, map(self._key_text, rows, ids), new=True)
        for row, made in zip(rows, ids, strict=True):
            texts = [literal(cell) for literal, cell in zip(self._literals, row)]
            if made is not None:
                assert self._into.ids is not None
                if self._into.ids.at is None:
                    texts.append(b"%d" % made)
                else:
                    texts[self._into.ids.at] = b"%d" % made
            self._check_copies(row)
            self.last = self._cluster(row, made)
            if self.last not in self.spools:
                self.spools[self.last] = _Spool()
            self.spools[self.last].add(b",".join(texts))
        if sum(spool.size for spool in self.spools.values()) > _LIMIT:
            raise refusals.INSERT_SELECT_SIZE.error(limit=str(_LIMIT))

    async def _ids(self, rows: Sequence[Row]) -> list[int | None]:
        """The ids that Turnout makes for rows; None for those that have their own, or leave it to their server."""
        sequence, of = self.sequence, self._into.ids
        if sequence is None or of is None:
            return [None] * len(rows)
        given = [None if of.at is None else self._given(row[of.at]) for row in rows]
        own = [number for number in given if number is not None]
        self._session.waiting = True  # KILL QUERY ends it
        try:
            if own:
                await sequence.admit(own)
            if len(own) == len(rows):
                return [None] * len(rows)
            run = await sequence.take(len(rows) - len(own))
        finally:
            self._session.waiting = False
        self.runs.append(run)
        made = iter(range(run.first, run.first + run.count))
        return [next(made) if number is None else None for number in given]

    def _given(self, cell: bytes | None) -> int | None:
        assert self._into.ids is not None
        if cell is None or (cell == b"0" and not self._zero_is_a_value):
            return None
        if not _INTEGER.fullmatch(cell):
            raise refusals.AUTO_INCREMENT.error(table=self._into.label, column=self._into.ids.column)
        return int(cell)

    def _cluster(self, row: Row, made: int | None) -> str:
        into = self._into
        if into.key is None:
            return into.clusters[0]
        return into.key.placed(self._key_text(row, made))

    def _key_text(self, row: Row, made: int | None) -> bytes | None:
        into, key = self._into, self._into.key
        assert key is not None
        if made is not None and into.ids is not None and into.ids.column == key.known.column:
            return b"%d" % made
        cell = row[key.at]
        if cell is None or key.placement.form.family in PLAIN:
            return key.text(cell, "")
        return key.text_of(cell, self._charset)

    def _check_copies(self, row: Row) -> None:
        for at in self._into.filled:
            if row[at] is None or row[at] == b"0":
                raise refusals.EVERYWHERE_DIFFERS.error(
                    table=self._into.label,
                    verb="INSERT",
                    why="gives NULL or 0 to a column that the server then fills in",
                    advice="Give the value in the query.",
                )


class _Inserting:
    """Rows that have been selected go to their clusters."""

    def __init__(self, writer: Writer, selected: Selected, rows: _Rows) -> None:
        self._writer = writer
        self._selected = selected
        self._rows = rows
        self._last_ids: dict[str, int] = {}  # what each cluster called its insert id last
        self._until = min((run.until for run in rows.runs), default=0.0)

    async def run(self) -> int:
        """The statement's insert id. Raises TurnoutError."""
        into, rows = self._selected.into, self._rows
        if not rows.spools:
            columns = len(into.columns) + (
                into.ids is not None and into.ids.at is None and into.ids.sequence is not None
            )
            nothing = b"SELECT " + b",".join([b"NULL"] * columns) + b" FROM DUAL WHERE FALSE"
            connection = await self._writer.connection(into.clusters[0])
            await self._writer.run(connection, self._selected.head + nothing + self._selected.tail)
            return 0
        if into.copies:
            (spool,) = rows.spools.values()
            silent = Writer(self._writer.session, self._writer.entry)
            for number, cluster in enumerate(into.clusters):
                writer = silent if number else self._writer
                await self._insert(writer, cluster, await writer.connection(cluster), spool)
            return self._last_ids.get(into.clusters[0], 0)
        connections = {cluster: await self._writer.connection(cluster) for cluster in sorted(rows.spools)}
        if into.ids is not None and rows.sequence is None:
            return await self._counted(*connections.items())
        await together(
            [self._insert(self._writer, cluster, connections[cluster], spool) for cluster, spool in rows.spools.items()]
        )
        first = await self._first_made(list(connections.values()))
        if first:
            self._writer.session.last_insert_id = first
        return first or self._last_ids.get(rows.last, 0)

    async def _insert(self, writer: Writer, cluster: str, connection: ServerConnection, spool: _Spool) -> None:
        for batch in spool.batches():
            await self._confirm()
            await writer.run(connection, self._text(batch))
            self._last_ids[cluster] = writer.last_insert_id

    def _text(self, batch: Sequence[bytes]) -> bytes:
        """One row is selected: in VALUES it would be checked more strictly than as one of many."""
        selected = self._selected
        if len(batch) == 1:
            return selected.head + b"SELECT " + batch[0] + b" FROM DUAL" + selected.tail
        return selected.head + b"VALUES (" + b"),(".join(batch) + b")" + selected.tail

    async def _confirm(self) -> None:
        """Ids that were made have to be valid when they are sent. Raises IdsVoided."""
        sequence, runs = self._rows.sequence, self._rows.runs
        if sequence is None or not runs or time.monotonic() < self._until:
            return
        self._until = await sequence.renewed()
        if min(run.first for run in runs) < sequence.blocks.void_below:
            raise IdsVoided

    async def _counted(self, *only: tuple[str, ServerConnection]) -> int:
        """The rows go to the one server that makes their ids: it says which was the first."""
        ((cluster, connection),) = only
        session = self._writer.session
        before = session.last_insert_id
        await checked(connection, b"\x03SET @@session.last_insert_id=%d" % before)
        first = None
        for batch in self._rows.spools[cluster].batches():
            await self._writer.run(connection, self._text(batch))
            last = self._writer.last_insert_id
            if first is None:
                said = await connection.number("SELECT LAST_INSERT_ID() LIMIT 1") or 0
                if said != before:
                    first = session.last_insert_id = said
        return first if first is not None else last

    async def _first_made(self, connections: Sequence[ServerConnection]) -> int:
        """The first id that was made for a row that is there now."""
        into, runs = self._selected.into, self._rows.runs
        if not runs:
            return 0
        if into.plain:
            return runs[0].first
        assert into.ids is not None
        column, table = quoted(into.ids.column), quoted(*(n for n in (into.database, into.table) if n is not None))
        for run in runs:
            found = []
            for connection in connections:
                last = run.first + run.count - 1
                least = await connection.number(
                    f"SELECT MIN({column}) FROM {table} WHERE {column} BETWEEN {run.first} AND {last} LIMIT 1"
                )
                if least is not None:
                    found.append(least)
            if found:
                return min(found)
        return 0
