"""A SELECT that is finished on the workbench (`proxy.plan.workbench` says what is to be pulled).

One connection of the client's account on the workbench's primary gets a TEMPORARY table for every pull; the pulls run
in parallel, one cluster each, and what they bring is INSERTed as it comes: a server is read no further while its rows
wait, so memory does not depend on their number. Then the connection gets the client's settings and the statement runs.

The temporary tables are dropped before the connection goes back to its pool. Whatever else happens it is closed, and
they with it: until the DROP has succeeded it counts as dirty.

What one cluster is asked for, it answers from one moment: in the session's transaction, or in a snapshot of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from parser.rewrite import quoted
from parser.statement import Effect
from proxy.back.connection import Discarded, ServerConnection, ServerStatement
from proxy.back.server import Role
from proxy.back.settings import Settings, intern
from proxy.errors import PoolExhausted, ServerFailed, StatementRefused, TurnoutError
from proxy.front.answers import diagnostics_rows
from proxy.front.environment import Entry
from proxy.front.guard import confirm
from proxy.front.in_place import NotInPlace, PartTable, bring
from proxy.front.killing import abandon, kill
from proxy.front.merge import comparable
from proxy.front.prepared_statement import Execution, Prepared, close_on, prepare_on, read_as
from proxy.front.reading import Pairs, Reading
from proxy.front.row_streams import RowStream, Splitter, other_columns, server_error
from proxy.front.session import Session, checked
from proxy.front.statements import join_transaction
from proxy.front.workbench_rows import RowText
from proxy.plan import refusals
from proxy.plan.in_place import PART, PART_PREFIX
from proxy.plan.plan import Send, Unknown
from proxy.plan.temporary_table import TableText, Unreadable, read_definition
from proxy.plan.workbench import COPY_PREFIX, KeysOf, Pull, Pulled, Work
from proxy.wire import command as com
from proxy.wire.charsets import codec
from proxy.wire.column import ColumnDefinition, encode_column, parse_column
from proxy.wire.frames import encode
from proxy.wire.response import PREPARE, QUERY
from proxy.wire.status import IN_TRANS

_MOST_KEYS = 10_000  # in one condition
_KEEP_S = 5.0  # for a statement that was told to end
_NO_DEFAULT = 4096  # a flag of columns
_LONGEST_NAME = 255  # bytes of UTF-8 (MAX_ALIAS_NAME)
_EOF_SIZE = 9  # bytes of the packet that ends rows
_BATCH = 512 * 1024  # bytes of one INSERT, but for a row that is longer
# How values come into the temporary tables: all or an error, and any that a source can hold.
LOADING = intern(
    {
        "character_set_client": b"'utf8mb4'",
        "character_set_connection": b"'utf8mb4'",
        "character_set_results": b"'utf8mb4'",
        "collation_connection": b"'utf8mb4_general_ci'",
        "sql_mode": b"'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'",
        "time_zone": b"'+00:00'",
        "autocommit": b"'ON'",
    }
)
_SNAPSHOT = (
    b"\x03SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    b"\x03START TRANSACTION WITH CONSISTENT SNAPSHOT",
)


async def finish_on_workbench(session: Session, entry: Entry, work: Work, execution: Execution | None = None) -> None:
    """Carry out a statement's work and answer the client; of a prepared one, an execution. Raises TurnoutError."""
    effects = entry.plan.effects
    if effects & Effect.READS_USER_VARIABLE and session.pinned:
        raise refusals.WORKBENCH_VARIABLE.error()
    bench = _Workbench(session, entry, work, execution)
    try:
        try:
            async with asyncio.timeout(work.max_time_s):
                await bench.load()
                reading = await bench.begin()
        except TimeoutError:
            raise refusals.WORKBENCH_TIME.error(limit=f"{work.max_time_s:g}") from None
        await _answer(session, reading)
        await bench.drop()
    finally:
        await bench.close()


async def describe_on_workbench(session: Session, entry: Entry, prepared: Prepared) -> tuple[bytes, int, int]:
    """PREPARE of a statement for the workbench, over empty tables: (the server's answer, how many parameters and
    warnings it tells of). Raises TurnoutError."""
    work = entry.plan.route(lambda value: Unknown.UNKNOWN, prepared.sql).work
    assert work is not None
    bench = _Workbench(session, entry, work, None)
    try:
        try:
            async with asyncio.timeout(work.max_time_s):
                await bench.load(prepared)
                answer = await bench.describe(prepared)
                await bench.drop()
        except TimeoutError:
            raise refusals.WORKBENCH_TIME.error(limit=f"{work.max_time_s:g}") from None
        return answer
    finally:
        await bench.close()


async def _answer(session: Session, reading: _Finished) -> None:
    try:
        await reading.run()
    except TurnoutError as error:
        if not reading.sent or session.receiver is not None:
            raise
        reading.flush()
        session.fail(error, broken=True)


@dataclass(slots=True)
class _Table:
    """A temporary table in the making. `name` is qualified and quoted."""

    pulled: Pulled
    text: TableText
    name: bytes
    copies: tuple[bytes, ...]
    definitions: list[ColumnDefinition] | None = None
    left: int = 0  # clusters that have not sent all their rows
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    keys: dict[str, set[bytes]] = field(default_factory=dict)  # values of columns that others wait for

    @property
    def label(self) -> str:
        return self.pulled.pull.label


class _Workbench:
    def __init__(self, session: Session, entry: Entry, work: Work, execution: Execution | None) -> None:
        self._session = session
        self._entry = entry
        self._work = work
        self._execution = execution
        self._charset = session.lexer.charset  # of what sources are asked
        self._pulling: Settings | None = None
        self._statement: ServerStatement | None = None  # of the execution
        self._sources: dict[str, ServerConnection] = {}
        self._snapshots: set[str] = set()
        self._streams: dict[ServerConnection, RowStream] = {}
        self._bench: ServerConnection | None = None
        self._parts: list[PartTable] = []
        self._tables: list[_Table] = []
        self._inserts: asyncio.Queue[tuple[bytes, str] | None] = asyncio.Queue(1)  # None: a source has no more
        self._rows = 0
        self._finished = False

    # -- what is pulled

    async def load(self, described: Prepared | None = None) -> None:
        """Make and fill the temporary tables; `described`: they stay empty, since only the columns of this statement
        matter. Raises TurnoutError."""
        plain = self._work.without_parts
        if described is not None or self._work.writes is not None or self._entry.undivided:
            self._work = plain
        pulls = [each for each in plain.pulls if not self._stays(each.pull)]
        beside = [each for each in self._work.pulls if not self._stays(each.pull)]
        await self._connect([*pulls, *beside], described)
        bench = self._bench
        assert bench is not None
        self._session.spread = [*self._sources.values(), bench]
        bench.dirty = "workbench"
        if self._work.parts:
            pulls = beside if await self._answer_in_place() else pulls
        for each in pulls:
            self._tables.append(await self._table(each))
        for table in self._tables:
            after = table.pulled.pull.after
            if after is not None and after.part is None:
                self._teller(after).keys[after.source] = set()
        for table in self._tables:
            many = len(table.pulled.clusters) > 1
            unique_by = table.pulled.pull.shard_key if many else None
            for name in (table.name, *table.copies):
                await self._on_bench(table.text.create(name, unique_by), table.label)
        if described is not None:
            await self._let_go()
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fill(len(self._sources)))
                for cluster, connection in self._sources.items():
                    tasks.create_task(self._pull_from(cluster, connection))
        except BaseExceptionGroup as group:
            raise _first(group) from None
        for table in self._tables:
            for copy in table.copies:
                stored = b",".join(column.name for column in table.text.stored)
                await self._on_bench(
                    b"INSERT INTO %s (%s) SELECT %s FROM %s" % (copy, stored, stored, table.name), table.label
                )
        await self._let_go()

    async def _answer_in_place(self) -> bool:
        """Have the parts answered; False: it has to go on without them."""
        session = self._session
        try:
            for asked in self._work.parts:
                part = PartTable(asked, partial(self._for_part, asked.part.labels), self._count)
                self._parts.append(part)
                await bring(session, self._entry, asked, self._sources, part)
        except NotInPlace as problem:
            session.environment.measures.fell_back(problem.reason)
            self._entry.undivided = True
            await self._drop_tables([part.name for part in self._parts if part.created])
            self._parts = []
            self._work = self._work.without_parts
            self._rows = 0
        settings = self._pulling
        assert settings is not None
        for connection in self._sources.values():
            await session.dress(connection, None, settings)
        return bool(self._parts)

    async def _for_part(self, labels: Sequence[str], text: bytes) -> None:
        await self._on_bench(text, ", ".join(labels))

    def _stays(self, pull: Pull) -> bool:
        """Are the rows read where they are? Not by another connection than the one that has the session's state."""
        if pull.system:
            return True
        session = self._session
        tied = session.in_transaction or not session.autocommit or self._work.cluster in session.held
        return pull.local and not tied

    async def _connect(self, pulls: Sequence[Pulled], described: Prepared | None) -> None:
        """One connection for each cluster, one after the other in the order of their names, then the workbench's."""
        session = self._session
        prepared = self._execution.prepared if self._execution is not None else described
        settings = self._pulling = pulling(session, prepared)
        if self._work.parts:
            settings = asking(session, prepared)
        if prepared is not None:
            self._charset = prepared.lexer.charset
        asked = {send.cluster for each in self._work.parts for send in each.route.sends}
        for cluster in sorted(asked.union(*(each.clusters for each in pulls))):
            connection, fresh = await self._source(cluster, settings)
            self._sources[cluster] = connection
            if described is not None:
                continue
            await join_transaction(session, connection, cluster, fresh)
            if fresh:
                if not session.transaction.explicit and session.autocommit:
                    self._snapshots.add(cluster)
                    for text in _SNAPSHOT:
                        await checked(connection, text)
        await confirm(session, *self._sources.values())
        session.one_shot = []
        servers = session.environment.cluster(self._work.cluster)
        servers.primary.check_up()
        self._bench = await session.take(servers.primary, settings=LOADING)

    async def _source(self, cluster: str, settings: Settings) -> tuple[ServerConnection, bool]:
        session = self._session
        held = session.held.get(cluster)
        if held is not None:
            await session.dress(held, None, settings)
            return held, False
        send = Send(cluster)
        server = session.target(send, self._entry, False)
        try:
            return await session.take(server, settings=settings), True
        except (ServerFailed, PoolExhausted):
            if server.role is not Role.REPLICA:
                raise
            return await session.take(session.target(send, self._entry, True), settings=settings), True

    async def _table(self, each: Pulled) -> _Table:
        name, text = await _definition(self._sources[each.clusters[0]], each.pull, self._charset)
        copies = tuple(_name(each.pull.database or "", copy.name) for copy in each.pull.copies)
        return _Table(each, text, name, copies, left=len(each.clusters))

    async def _on_bench(self, text: bytes, label: str) -> None:
        """A statement of ours about a copy. Raises ServerFailed, which says what it was for."""
        bench = self._bench
        assert bench is not None
        try:
            await checked(bench, bytes((com.COM_QUERY,)) + text)
        except ServerFailed as error:
            if bench.aborted is not None:
                raise
            raise ServerFailed(
                f"{label} could not be copied to the workbench, cluster {self._work.cluster}: {error.message}",
                error.errno,
                error.sqlstate,
            ) from None

    async def _fill(self, sources: int) -> None:
        """Insert what the sources bring, until each has brought all. Raises ServerFailed."""
        while sources:
            insert = await self._inserts.get()
            if insert is None:
                sources -= 1
            else:
                await self._on_bench(*insert)

    async def _pull_from(self, cluster: str, connection: ServerConnection) -> None:
        for table in self._tables:
            if cluster in table.pulled.clusters:
                await self._pull(cluster, connection, table)
                table.left -= 1
                if not table.left:
                    table.complete.set()
        await self._inserts.put(None)

    def _teller(self, after: KeysOf) -> _Table:
        pull = self._work.pulls[after.pull].pull
        return next(table for table in self._tables if table.pulled.pull is pull)

    async def _condition(self, cluster: str, table: _Table) -> bytes | None:
        """Which rows are wanted of a cluster (empty: all); None: it can have none that matter."""
        condition, after = table.pulled.condition, table.pulled.pull.after
        if after is None:
            return condition
        if after.part is not None:
            values = self._parts[after.part].keys
        else:
            teller = self._teller(after)
            await teller.complete.wait()
            values = teller.keys[after.source]
        if values is None or len(values) > _MOST_KEYS:
            return condition
        if not after.is_on(cluster, values):
            return None
        keys = after.condition(values)
        return b"(%s) AND %s" % (condition, keys) if condition else keys

    async def _pull(self, cluster: str, connection: ServerConnection, table: _Table) -> None:
        condition = await self._condition(cluster, table)
        if condition is None:
            return
        text = _pulling_text(table.text, table.name, condition, self._charset, table.pulled.pull.label)
        text += self._work.lock(table.pulled.pull)
        stream = self._streams[connection] = RowStream(connection)
        connection.send(encode(bytes((com.COM_QUERY,)) + text, 0), stream, QUERY)
        splitter = Splitter(payloads=True)
        names = [column.name[1:-1].replace(b"``", b"`").lower() for column in table.text.stored]
        rows = RowText(table.text.stored, {names.index(c.encode()): values for c, values in table.keys.items()})
        insert = b"INSERT INTO " + table.name + b" (" + b",".join(c.name for c in table.text.stored) + b") VALUES "
        while data := await stream.more():
            splitter.feed(data)
            if splitter.error is not None:
                raise server_error(splitter.error)
            if splitter.header is not None and not splitter.checked:
                splitter.checked = True
                self._check_columns(cluster, table, splitter)
            payloads, splitter.rows = splitter.rows, []
            self._count(len(payloads))
            rows.add(payloads)
            if rows.size >= _BATCH:
                await self._insert(insert, rows, table)
        if not splitter.ended:
            raise ServerFailed(f"cluster {cluster} ended its answer early")
        await self._insert(insert, rows, table)

    def _check_columns(self, cluster: str, table: _Table, splitter: Splitter) -> None:
        found = [parse_column(packet[4:]) for packet in splitter.head_packets[1:-1]]
        if table.definitions is None:
            table.definitions = found
        elif list(map(comparable, found)) != list(map(comparable, table.definitions)):
            raise other_columns(cluster, table.pulled.clusters[0])

    def _count(self, more: int) -> None:
        self._rows += more
        if self._rows > self._work.max_rows:
            raise refusals.WORKBENCH_ROWS.error(limit=str(self._work.max_rows))

    async def _insert(self, head: bytes, rows: RowText, table: _Table) -> None:
        for text in rows.taken(_BATCH):
            await self._inserts.put((head + text, table.label))

    async def _let_go(self) -> None:
        """All is there: the sources may go."""
        session = self._session
        for cluster, connection in self._sources.items():
            if cluster in self._snapshots:
                await checked(connection, b"\x03COMMIT")
            elif connection.holder is session:
                await session.dress(connection)  # its settings are the session's again
        self._release()

    def _release(self) -> None:
        session = self._session
        sources, self._sources = self._sources, {}
        for connection in sources.values():
            if connection.sink is not None:
                abandon(self._session, connection, "A statement on the workbench was given up")
            elif connection.aborted is not None:
                continue
            elif connection.holder is session:
                session._settle_held(connection)
            elif connection.scanner.status & IN_TRANS and self._snapshots.isdisjoint(
                {connection.pool.server.cluster} if connection.pool is not None else ()
            ):
                session.hold(connection)  # autocommit is off
            elif connection.pool is not None:
                connection.pool.release(connection)

    async def _keep(self) -> None:
        """After a failure: end what still runs on connections that have the session's transaction."""
        session = self._session
        for connection in self._sources.values():
            stream = self._streams.get(connection)
            if connection.holder is not session or connection.aborted is not None:
                continue
            if connection.sink is not None and connection.sink is stream and connection.pool is not None:
                try:
                    async with asyncio.timeout(_KEEP_S):
                        await kill(connection.pool.server, session, connection.thread_id)
                        await stream.drain()
                except (TimeoutError, TurnoutError):
                    continue  # it is closed then, and the transaction with it
            if connection.sink is None:
                await session.dress(connection)

    # -- the statement itself

    async def begin(self) -> _Finished:
        """Run the statement; returns when its answer begins."""
        session, bench = self._session, self._bench
        assert bench is not None
        settings = session.settings.with_changes({"autocommit": b"'ON'"})
        final = self._work.final(self._pulls(), self._stand_ins())
        command, database = encode(bytes((com.COM_QUERY,)) + final, 0), None
        if self._execution is not None:
            prepared = replace(self._execution.prepared, sql=final)
            self._statement = await prepare_on(session, bench, prepared, settings)
            command, database = self._execution.framed(self._statement), prepared.database
        await session.dress(bench, database, settings)
        if self._entry.plan.effects & Effect.USES_LAST_INSERT_ID:
            text = b"\x03SET @@session.last_insert_id=%d" % session.last_insert_id
            bench.send(encode(text, 0), Discarded("SET last_insert_id"))
        stream = RowStream(bench)
        session.sending(bench)
        bench.send(command, stream, QUERY)
        reading = _Finished(session, self._entry, [(Send(self._work.cluster), bench)], [stream], self._names())
        await reading.head()
        return reading

    def _pulls(self) -> list[Pull]:
        return [table.pulled.pull for table in self._tables]

    def _stand_ins(self) -> list[bytes]:
        return [part.stand_in for part in self._parts]

    def _names(self) -> _Names:
        pulls = self._pulls()
        tables = {copy.name.encode(): pull.name.encode() for pull in pulls for copy in pull.copies}
        parts = {PART.format(number=n).encode(): part.columns for n, part in enumerate(self._parts)}
        return _Names(tables, self._work.written(pulls, self._stand_ins()), parts)

    async def describe(self, prepared: Prepared) -> tuple[bytes, int, int]:
        """Prepare the statement over the temporary tables. Raises ServerFailed."""
        session, bench = self._session, self._bench
        assert bench is not None
        final = self._work.final(self._pulls())
        await session.dress(bench, prepared.database, session.settings.with_changes({"autocommit": b"'ON'"}))
        response = await bench.command(bytes((com.COM_STMT_PREPARE,)) + final, PREPARE)
        if bench.scanner.errno:
            raise server_error(bench.scanner.error)
        params, warnings = bench.scanner.params, bench.scanner.warnings
        self._statement = ServerStatement(bench.scanner.statement_id)
        return _renamed(response, params, self._names()), params, warnings

    async def drop(self) -> None:
        """The client has its answer: nothing of it stays."""
        bench = self._bench
        assert bench is not None
        if bench.aborted is not None or bench.sink is not None:
            return
        if self._statement is not None:
            close_on(bench, self._statement)
        names = [name for table in self._tables for name in (table.name, *table.copies)]
        names += [part.name for part in self._parts]
        try:
            await self._drop_tables([spelled(self._session.lexer.charset, name, "") for name in names])
        except ServerFailed as error:
            bench.abort(error)
            return
        bench.dirty = ""

    async def _drop_tables(self, names: Sequence[bytes]) -> None:
        assert self._bench is not None
        if names:
            await checked(self._bench, b"\x03DROP TEMPORARY TABLE " + b", ".join(names))

    async def close(self) -> None:
        """Give back what is in order, close the rest."""
        session, bench = self._session, self._bench
        session.spread = []
        if not session.closed:
            await self._keep()
        self._release()
        if bench is None or bench.aborted is not None:
            return
        if bench.sink is not None:
            abandon(session, bench, "A statement on the workbench was given up")
        elif bench.pool is not None:
            bench.pool.release(bench)


class _Finished(Reading):
    """The answer of the workbench, with the tables' own names in its columns."""

    def __init__(
        self,
        session: Session,
        entry: Entry,
        pairs: Pairs,
        streams: Sequence[RowStream],
        names: _Names,
    ) -> None:
        super().__init__(session, entry, pairs, streams)
        self._names = names
        self._splitter = Splitter()

    async def head(self) -> None:
        """Wait for the first rows, the end, or an error, of which none is sent yet."""
        splitter = self._splitter
        while not (splitter.rows or splitter.ended):
            data = await self.streams[0].more()
            if not data:
                raise ServerFailed("The workbench ended its answer early")
            splitter.feed(data)

    async def run(self) -> None:
        splitter = self._splitter
        if splitter.error is not None:
            self.fail_with(splitter.error)
            return
        self.started = True
        self.write_packets(self._columns(splitter.head_packets))
        if not splitter.ended and splitter.rows[0][3] == self.sequence:
            await self._relay()
            return
        while True:
            rows, splitter.rows = splitter.rows, []
            self.rows += len(rows)
            self.write_packets(rows)
            await self.drained()
            if splitter.error is not None:
                self.fail_with(splitter.error)
                return
            if splitter.ended:
                break
            data = await self.streams[0].more()
            if not data:
                raise ServerFailed("The workbench ended its answer early")
            splitter.feed(data)
        await self.end(await self._found_rows())

    async def _relay(self) -> None:
        """The rows are numbered as the client's are: they go to it as they come, up to the packet that ends them."""
        stream, scanner = self.streams[0], self.pairs[0][1].scanner
        self.write(b"".join([*self._splitter.rows, self._splitter.rest]))
        while True:
            await self.drained()
            data = await stream.more()
            if not data:
                raise ServerFailed("The workbench ended its answer early")
            if stream.ended:
                break
            self.write(data)
        last = data[-4 - len(scanner.error) if scanner.errno else -_EOF_SIZE :]
        self.write(data[: -len(last)])
        self.sequence = last[3]
        self.rows = scanner.rows
        if scanner.errno:
            self.fail_with(scanner.error)
            return
        await self.end(await self._found_rows())

    def _columns(self, packets: Iterable[bytes]) -> list[bytes]:
        count, *definitions, end = packets
        return [count, *(encode(self._names.definition(packet[4:]), 0) for packet in definitions), end]

    async def _found_rows(self) -> int | None:
        if self.entry.plan.effects & Effect.CALC_FOUND_ROWS:
            return await self.pairs[0][1].number("SELECT FOUND_ROWS() LIMIT 1") or 0
        return None if self.entry.offset else self.rows


@dataclass(frozen=True, slots=True)
class _Names:
    """What the client calls that of which there are copies: tables, and what is written for them in a column's name,
    which is its expression where it has no alias. `parts`: by the table that stands for a subquery, its columns."""

    tables: dict[bytes, bytes]
    written: dict[bytes, bytes]
    parts: dict[bytes, dict[bytes, ColumnDefinition]]

    def definition(self, payload: bytes) -> bytes:
        """A column's definition with the client's names."""
        if not self.written:
            return payload
        column = parse_column(payload)
        name = column.name
        if COPY_PREFIX in name or PART_PREFIX in name:
            for text, written in self.written.items():
                name = name.replace(text, written)
            name = _cut(name)
        org_table, flags = self.tables.get(column.org_table, column.org_table), column.flags
        if column.org_table in self.parts:
            found = self.parts[column.org_table].get(column.org_name)
            org_table = found.org_table if found is not None else b""
            flags = flags & ~_NO_DEFAULT | (found.flags & _NO_DEFAULT if found is not None else 0)
        return encode_column(replace(column, name=name, org_table=org_table, flags=flags))


def _cut(name: bytes) -> bytes:
    """A column's name as a server cuts it: to so many bytes, at the end of a character."""
    if len(name) <= _LONGEST_NAME:
        return name
    end = _LONGEST_NAME
    while end > _LONGEST_NAME - 4 and name[end] & 0xC0 == 0x80:
        end -= 1
    return name[:end]


def _renamed(response: bytes, params: int, names: _Names) -> bytes:
    """The answer to PREPARE with the client's names in its columns."""
    packets = []
    at = 0
    while at < len(response):
        end = at + 4 + int.from_bytes(response[at : at + 3], "little")
        packets.append(response[at:end])
        at = end
    first = 1 + (params + 1 if params else 0)
    for number in range(first, len(packets) - 1):  # an EOF packet ends them
        packets[number] = encode(names.definition(packets[number][4:]), packets[number][3])
    return b"".join(packets)


def pulling(session: Session, prepared: Prepared | None = None) -> Settings:
    """The settings under which rows are read: values as they are stored, conditions as the client means them."""
    text, lexer, settings = session.sql_mode, session.lexer, session.settings
    if prepared is not None:
        lexer, settings = prepared.lexer, read_as(settings, prepared.settings)
    modes = ["PAD_CHAR_TO_FULL_LENGTH"] if "PAD_CHAR_TO_FULL_LENGTH" in text else []  # how values are compared
    modes += ["NO_BACKSLASH_ESCAPES"] if lexer.no_backslash_escapes else []
    return settings.with_changes(
        {
            "character_set_results": b"NULL",
            "time_zone": b"'+00:00'",
            "sql_mode": b"'%s'" % ",".join(modes).encode(),
            "sql_select_limit": None,
            "sql_quote_show_create": None,
        }
    )


def asking(session: Session, prepared: Prepared | None = None) -> Settings:
    """The settings under which parts of the statement are answered: the session's, but for the form of the answer."""
    settings = session.settings if prepared is None else read_as(session.settings, prepared.settings)
    return settings.with_changes({"character_set_results": b"NULL", "sql_select_limit": None})


def _name(database: str, table: str) -> bytes:
    return quoted(database, table).encode()


def spelled(charset: str, name: bytes, table: str) -> bytes:
    """A name (UTF-8) in the character set of statements. Raises StatementRefused."""
    if name.isascii():
        return name
    try:
        return name.decode().encode(codec(charset) or "ascii")
    except UnicodeError:
        why = f"has names that {charset} cannot write"
        raise refusals.WORKBENCH_TABLE.error(table=table, why=why) from None


async def _definition(connection: ServerConnection, pull: Pull, charset: str) -> tuple[bytes, TableText]:
    """The qualified name of a pull's table, and what is to be copied of it. Raises TurnoutError."""
    if pull.database is None:
        raise StatementRefused("No database selected", 1046, "3D000", reason="no-database")
    name = _name(pull.database, pull.name)
    shown = await definition_of(connection, spelled(charset, name, pull.label))
    try:
        return name, read_definition(shown).chosen(pull.words)
    except Unreadable as problem:
        raise refusals.WORKBENCH_TABLE.error(table=pull.label, why=str(problem)) from None


def _pulling_text(table: TableText, name: bytes, condition: bytes, charset: str, label: str) -> bytes:
    text = b"SELECT " + b", ".join(column.pulled for column in table.stored) + b" FROM " + name
    return spelled(charset, text, label) + (b" WHERE " + condition if condition else b"")


async def pull_text(connection: ServerConnection, each: Pulled, charset: str) -> bytes:
    """What a cluster is asked for, but for the keys that another pull tells. Raises TurnoutError."""
    name, text = await _definition(connection, each.pull, charset)
    return _pulling_text(text, name, each.condition, charset, each.pull.label)


async def definition_of(connection: ServerConnection, name: bytes) -> bytes:
    """SHOW CREATE TABLE. Raises ServerFailed."""
    response = await connection.command(b"\x03SHOW CREATE TABLE " + name)
    if connection.scanner.errno:
        raise server_error(connection.scanner.error)
    return diagnostics_rows(response)[0][1] or b""


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of what several tasks raised, the one that the client is to be told: not that others were cancelled because of
    it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
        if not isinstance(error, asyncio.CancelledError):
            return error
    return group.exceptions[0]
