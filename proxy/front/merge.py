"""The rows of several servers as those of one: sorted, limited, without duplicates.

Every server sends its rows sorted, and is paused while they wait: what is held is bounded by what the streams hold,
whatever the number of rows. Of all that is at hand, the rows up to the least of the streams' last keys are certain to
come next; they are sorted together, which is cheap since they are runs already, and sent.

Each stream's order is checked against the keys on the way: a server that sorts otherwise than Turnout compares makes
the statement fail instead of its answer wrong.
"""

from __future__ import annotations

import asyncio
import operator
import struct
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from proxy.back.connection import ServerConnection
from proxy.errors import ProtocolError, ServerFailed, StatementRefused
from proxy.front.environment import Entry
from proxy.front.merge_groups import Gathering
from proxy.front.merge_keys import STRING_TYPES, KeyReader
from proxy.front.reading import Pairs, Reading
from proxy.front.row_streams import RowStream, Splitter, other_columns
from proxy.front.session import Session
from proxy.plan import refusals
from proxy.plan.merge import Merge
from proxy.plan.plan import Send
from proxy.wire import lenenc
from proxy.wire.column import BINARY_FLAG, ColumnDefinition, encode_column, parse_column
from proxy.wire.frames import MAX_PAYLOAD, encode, next_sequence
from proxy.wire.rows import BinaryRows, Rows, TextRows

_LEFT_OVER = 1 << 20  # bytes of rows that nobody wants, rather read than given up with their connection
_LEFT_OVER_S = 0.2
_NO_LIMIT = (b"18446744073709551615", b"DEFAULT")
# Flags that a server leaves out where it went by way of a temporary table: about keys, BLOB (with BINARY for numbers).
# Whether an outer join's columns are NOT NULL (and without a default: 4096) depends on what a server finds empty.
_PLAN_FLAGS = 1 | 2 | 4 | 8 | 16 | 512 | 4096 | 16384 | 32768
_LIST_FLAGS = 256 | 2048  # ENUM, SET
Key = Any  # what KeyReader.key gives: comparable with its like


class RowReader:
    """Rows of these columns as they are to be merged: payloads without hidden columns (`groups`: all values), and what
    they are compared by, if anything. Raises StatementRefused."""

    def __init__(self, merge: Merge, definitions: Sequence[ColumnDefinition], binary: bool = False) -> None:
        columns = len(definitions)
        self.visible = columns - merge.hidden
        self.format: Rows = BinaryRows(definitions) if binary else TextRows()
        self._values = merge.groups is not None
        self._hides = merge.hidden > 0
        self._keys = KeyReader(merge.keys, definitions, binary) if merge.keys else None
        if self._keys is None:
            self._wanted = [True] * columns if self._values else [False] * self.visible
        else:
            wanted = self._keys.wanted
            last = columns if self._values else max(max(wanted) + 1, self.visible if self._hides else 0)
            self._wanted = [self._values or column in wanted for column in range(last)]

    @property
    def collations(self) -> tuple[bytes | None, ...]:
        return self._keys.collations if self._keys is not None else ()

    @property
    def label(self) -> str:
        return self._keys.label if self._keys is not None else ""

    def read(self, payloads: list[bytes], rows: list[Any], keys: list[Key]) -> None:
        """Adds to `rows`, and where rows are compared, to `keys`. Raises ProtocolError."""
        try:
            self._read(payloads, rows, keys)
        except (IndexError, ValueError, struct.error) as error:
            raise ProtocolError("a server broke the protocol: it sent a row that cannot be read") from error

    def _read(self, payloads: list[bytes], rows: list[Any], keys: list[Key]) -> None:
        reader, values_wanted, hides, visible, wanted = (
            self._keys,
            self._values,
            self._hides,
            self.visible,
            self._wanted,
        )
        if reader is None and not (values_wanted or hides):
            rows += payloads
            return
        fields, front = self.format.fields, self.format.front
        key = reader.key if reader is not None else None
        for payload in payloads:
            values, end = fields(payload, wanted, visible)
            if key is not None:
                keys.append(key(values))
            rows.append(values if values_wanted else front(payload, visible, end) if hides else payload)


def ascends(keys: Sequence[Key]) -> bool:
    return all(map(operator.le, keys, keys[1:]))


def in_order(keys: Sequence[Key]) -> list[int]:
    """The places of keys in their order; of equal ones the first comes first."""
    return sorted(range(len(keys)), key=keys.__getitem__)


def distinct(order: Sequence[int], keys: Sequence[Key], previous: Key) -> tuple[list[int], Key]:
    """The places in `order` whose keys differ from those before them, and the last key."""
    kept = []
    for n in order:
        if keys[n] != previous:
            kept.append(n)
            previous = keys[n]
    return kept, previous


def framed(rows: Sequence[bytes], sequence: int) -> tuple[bytes, int]:
    """Rows as packets, the first one numbered `sequence`, and the number of what follows."""
    parts: list[bytes] = []
    for row in rows:
        n = len(row)
        if n < MAX_PAYLOAD:
            parts.append((n | sequence << 24).to_bytes(4, "little"))
            parts.append(row)
            sequence = (sequence + 1) & 0xFF
        else:
            parts.append(encode(row, sequence))
            sequence = next_sequence(n, sequence)
    return b"".join(parts), sequence


class _Shard:
    """One server's rows, and their keys (if any), both ascending."""

    def __init__(self, send: Send, stream: RowStream, connection: ServerConnection) -> None:
        self.cluster = send.cluster
        self.connection = connection
        self.stream = stream
        self.rows: list[Any] = []
        self.keys: list[Key] = []
        self.definitions: list[ColumnDefinition] = []
        self._splitter = Splitter(payloads=True)
        self._reader: RowReader
        self._last: Key = None

    @property
    def ended(self) -> bool:
        return self._splitter.ended

    @property
    def error(self) -> bytes | None:
        return self._splitter.error

    @property
    def format(self) -> Rows:
        return self._reader.format

    @property
    def collations(self) -> tuple[bytes | None, ...]:
        return self._reader.collations

    async def head(self) -> None:
        """Wait for the column definitions (or an error)."""
        while self._splitter.header is None and not self.ended:
            await self._more()
        self.definitions = [parse_column(packet[4:]) for packet in self._splitter.head_packets[1:-1]]

    def compare(self, merge: Merge, binary: bool) -> None:
        """From now on rows have keys. Raises StatementRefused."""
        self._reader = RowReader(merge, self.definitions, binary)

    async def fill(self) -> None:
        """Wait for more rows, if there are none at hand and more to come."""
        while not self.rows:
            if not self._splitter.rows:
                if self.ended:
                    return
                await self._more()
                continue
            payloads, self._splitter.rows = self._splitter.rows, []
            keys = self.keys
            self._reader.read(payloads, self.rows, keys)
            if keys:
                if not (self._last is None or self._last <= keys[0]) or not ascends(keys):
                    raise refusals.SORT_ORDER.error(where=f"Cluster {self.cluster}", expression=self._reader.label)
                self._last = keys[-1]

    def take(self, bound: Key, everything: bool) -> tuple[list[Key], list[Any]]:
        """The rows at hand whose keys are at most `bound`."""
        cut = len(self.keys) if everything else bisect_right(self.keys, bound)
        keys, rows = self.keys[:cut], self.rows[:cut]
        del self.keys[:cut], self.rows[:cut]
        return keys, rows

    async def _more(self) -> None:
        data = await self.stream.more()
        if not data and not self.ended:
            raise ServerFailed(f"cluster {self.cluster} ended its answer early")
        self._splitter.feed(data)


class MergedRead(Reading):
    def __init__(
        self,
        session: Session,
        entry: Entry,
        merge: Merge,
        pairs: Pairs,
        streams: Sequence[RowStream],
        binary: bool = False,
    ) -> None:
        super().__init__(session, entry, pairs, streams)
        self._merge = merge
        self._binary = binary
        self._skip = merge.offset
        self._left = merge.limit if merge.limit is not None else -1
        self._previous: Key = None
        self._gathered: Gathering | None = None
        self._shards = [_Shard(send, stream, c) for (send, c), stream in zip(pairs, streams)]

    async def run(self) -> None:
        try:
            await self._run()
        except StatementRefused as refusal:
            if not self.sent:
                raise
            self.refuse(refusal)  # some of the rows are out

    async def _run(self) -> None:
        if self._merge.keys:
            failed = await self._merged()
        elif self._merge.groups is not None:
            failed = await self._one_row()
        else:
            failed = await self._one_after_the_other()
        if failed is not None:
            self.fail_with(failed)
            return
        if not self.started:
            self._send_columns()
        await self._leave(wait=self._merge.found_rows)
        await self.end(await self._found_rows())

    # -- columns

    async def _begin(self, shard: _Shard) -> bytes | None:
        """Wait for a shard's columns, which have to be the first one's; its error if it had one."""
        await shard.head()
        if shard.error is not None:
            return shard.error
        first = self._shards[0]
        count = len(shard.definitions)
        expected = self._merge.visible
        if expected is not None and count != expected + self._merge.hidden:
            where, found = f"Cluster {shard.cluster}", str(count - self._merge.hidden)
            raise refusals.MERGE_COLUMNS.error(where=where, found=found, expected=str(expected))
        if shard.definitions != first.definitions and (
            list(map(comparable, shard.definitions)) != list(map(comparable, first.definitions))
        ):
            raise other_columns(shard.cluster, first.cluster)
        shard.compare(self._merge, self._binary)
        return None

    def _send_columns(self) -> None:
        visible = self._shards[0].definitions[: len(self._shards[0].definitions) - self._merge.hidden]
        eof = self._shards[0]._splitter.head_packets[-1]
        payloads = [lenenc.write_int(len(visible)), *map(encode_column, visible), eof[4:]]
        self.started = True
        self.write_packets([encode(payload, 0) for payload in payloads])

    # -- rows

    async def _one_after_the_other(self) -> bytes | None:
        """Rows in any order; the error of the server that had one."""
        for shard in self._shards:
            if not self._left and shard.cluster != self._shards[0].cluster:
                break  # its server may take its time to no avail
            failed = await self._begin(shard)
            if failed is not None:
                return failed
            while self._left:
                await shard.fill()
                if shard.error is not None:
                    return shard.error
                if not shard.rows:
                    break
                rows, shard.rows = shard.rows, []
                await self._send(rows)
        return None

    async def _merged(self) -> bytes | None:
        """Rows in the order of their keys; the error of the server that had one."""
        for shard in self._shards:
            failed = await self._begin(shard)
            if failed is not None:
                return failed
        live = self._shards
        self._gathered = self._gathering()
        while self._left:
            for shard in live:
                await shard.fill()
                if shard.error is not None:
                    return shard.error
            self._check_collations()
            live = [shard for shard in live if shard.rows]
            if not live:
                break
            bounds = [shard.keys[-1] for shard in live if not shard.ended or shard._splitter.rows]
            bound = min(bounds) if bounds else None
            keys: list[Key] = []
            rows: list[Any] = []
            for shard in live:
                more_keys, more_rows = shard.take(bound, everything=not bounds)
                keys += more_keys
                rows += more_rows
            order = self._order(keys)
            if self._gathered is None:
                await self._send([rows[n] for n in order])
            else:
                await self._send(self._gathered.add(keys, rows, order))
        if self._gathered is not None:
            await self._send(self._gathered.rest())
        return None

    async def _one_row(self) -> bytes | None:
        """Every server has one row, which make one."""
        gathered: Gathering | None = None
        for shard in self._shards:
            failed = await self._begin(shard)
            gathered = gathered or (None if failed is not None else self._gathering())
            if failed is None:
                await shard.fill()
                failed = shard.error
            if failed is not None:
                return failed
            if gathered is not None:
                gathered.add([()] * len(shard.rows), shard.rows, range(len(shard.rows)))
            shard.rows = []
        if gathered is not None:
            await self._send(gathered.rest())
        return None

    def _gathering(self) -> Gathering | None:
        merge, definitions = self._merge, self._shards[0].definitions
        if merge.groups is None:
            return None
        wanted = merge.offset + merge.limit if merge.limit is not None else None
        visible = len(definitions) - merge.hidden
        return Gathering(merge.groups, definitions, visible, wanted, self._shards[0].format)

    def _order(self, keys: list[Key]) -> Sequence[int]:
        """The places of rows in the order of their keys, of equal ones the first alone where duplicates go."""
        order = in_order(keys)
        if self._merge.distinct:
            order, self._previous = distinct(order, keys, self._previous)
        return order

    def _check_collations(self) -> None:
        """Strings under different collations are not compared."""
        for different in zip(*(shard.collations for shard in self._shards)):
            names = {name for name in different if name is not None}
            if len(names) > 1:
                text = " and ".join(sorted(name.decode("ascii", "replace") for name in names))
                label = ", ".join(key.label for key in self._merge.keys)
                raise refusals.SORT_COLLATION.error(expression=label, collation=text)

    async def _send(self, rows: list[bytes]) -> None:
        if self._skip:
            skipped = min(self._skip, len(rows))
            self._skip -= skipped
            rows = rows[skipped:]
        if self._left >= 0:
            rows = rows[: self._left]
            self._left -= len(rows)
        if not self.started:
            self._send_columns()
        if not rows:
            return
        self.rows += len(rows)
        out, self.sequence = framed(rows, self.sequence)
        self.write(out)
        await self.drained()

    # -- the end

    async def _leave(self, wait: bool) -> None:
        """The rows that nobody wants: read where they are few and soon there; else `fanout` gives their connections up.
        `wait`: for all of them."""
        if wait:
            for shard in self._shards:
                await shard.stream.drain()
            return
        try:
            async with asyncio.timeout(_LEFT_OVER_S):
                for shard in self._shards:
                    size = 0
                    while not shard.stream.ended and size < _LEFT_OVER:
                        size += len(await shard.stream.more())
        except TimeoutError:
            pass  # a server is still busy: nobody waits for that

    async def _found_rows(self) -> int | None:
        """What FOUND_ROWS() is to say."""
        merge = self._merge
        if not merge.found_rows or merge.limit is None:
            return None if merge.offset and not merge.found_rows else self.rows
        total = 0
        for shard in self._shards:
            total += await shard.connection.number("SELECT FOUND_ROWS() LIMIT 1") or 0
        return total


def check_select_limit(session: Session, merge: Merge | None) -> None:
    """Raises StatementRefused where sql_select_limit would cut off every shard's rows instead of the whole's."""
    limit = session.settings.get("sql_select_limit")
    if limit is not None and limit.strip(b"'") not in _NO_LIMIT and (merge is None or merge.limit is None):
        raise refusals.SELECT_LIMIT.error(limit=limit.decode("ascii", "replace").strip("'"))


def comparable(column: ColumnDefinition) -> tuple[object, ...]:
    """What shards have to agree on: not what depends on how a server went about it. By way of a temporary table an
    expression is another kind of text, and may be longer or shorter: -x of a DECIMAL by one."""
    if column.type in STRING_TYPES:
        # MIN of an ENUM is one, or the text of one.
        flags = column.flags & ~(_PLAN_FLAGS if column.org_name else _PLAN_FLAGS | _LIST_FLAGS)
        return (column.table, column.name, column.charset, flags)
    flags = column.flags & ~(_PLAN_FLAGS | BINARY_FLAG)
    return (column.table, column.name, column.charset, column.type, flags, column.decimals)
