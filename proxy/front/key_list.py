"""UPDATE and DELETE whose rows are found first and written by their primary keys (`proxy.plan.key_list`).

All of it is one transaction. The SELECT that finds the rows locks them, so that what is written is what was found; the
values that an UPDATE assigns are worked out by the servers that have the rows, as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field

from parser.statement import Change, Kind, Statement
from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed
from proxy.front.answers import diagnostics_response, diagnostics_rows
from proxy.front.caching import acknowledge
from proxy.front.environment import Entry
from proxy.front.found_rows import Gathered, find, time_zone
from proxy.front.guard import confirm, learn
from proxy.front.info_text import add_counts, text_of
from proxy.front.literals import Literal, literals_of
from proxy.front.row_streams import server_error
from proxy.front.session import Session
from proxy.front.statements import joined, record
from proxy.front.whole import Whole
from proxy.plan.key_list import KeyList, Part, Target
from proxy.plan.plan import Send
from proxy.wire import command as com
from proxy.wire.packets import encode_ok
from proxy.wire.resultset import Row

_BATCH = 500  # rows of one statement
_MOST_WARNINGS = 64
# SQLSTATEs of what strict modes make errors of.
_STATES = {1265: "01000", 1292: "22007", 1366: "22007", 1264: "22003", 1406: "22001", 1365: "22012", 1411: "HY000"}


@dataclass(slots=True)
class Tally:
    """What the answer of one server would have said of all that was done."""

    affected: int = 0
    warnings: int = 0
    counts: dict[bytes, int] = field(default_factory=dict)
    messages: list[Row] = field(default_factory=list)

    def add(self, connection: ServerConnection) -> None:
        scanner = connection.scanner
        self.affected += scanner.affected_rows
        self.warnings += scanner.warnings
        add_counts(self.counts, scanner.info)

    @property
    def info(self) -> bytes:
        return text_of(self.counts, min(self.warnings, 65535))


class Writer:
    """Sends the statements of one statement of the client to the clusters that they write on."""

    def __init__(self, session: Session, entry: Entry) -> None:
        self.session = session
        self.entry = entry
        self.tally = Tally()
        self.last_insert_id = 0  # what the last statement's answer called the insert id

    async def connection(self, cluster: str) -> ServerConnection:
        """The one of the session's transaction, which now writes there. Raises TurnoutError."""
        session = self.session
        connection = await joined(session, self.entry, Send(cluster))
        session.hold(connection)
        session.transaction.writers.add(cluster)
        session.transaction.changed.add(cluster)
        return connection

    async def run(self, connection: ServerConnection, text: bytes) -> None:
        """One statement whose effects are the client's. Raises TurnoutError."""
        await confirm(self.session, connection)
        await connection.command(bytes((com.COM_QUERY,)) + text)
        scanner = connection.scanner
        if scanner.errno:
            raise server_error(scanner.error)
        if scanner.session_state:
            self.session.observe(connection, scanner.session_state)
        self.tally.add(connection)
        self.last_insert_id = scanner.insert_id
        if scanner.warnings:
            rows = diagnostics_rows(await connection.command(b"\x03SHOW WARNINGS"))
            self.tally.messages.extend(rows[: _MOST_WARNINGS - len(self.tally.messages)])

    def answer(self, insert_id: int = 0) -> None:
        """Tell the client that all is done."""
        session, tally = self.session, self.tally
        warnings, info = min(tally.warnings, 65535), tally.info
        if session.pending is not None:
            acknowledge(session, session.in_transaction)
        session.warning_count = warnings
        session.diagnostics = diagnostics_response(tally.messages, session.status) if warnings else None
        session.row_count = tally.affected
        session.client.send(encode_ok(tally.affected, insert_id, session.status, warnings, info))
        record(session, self.entry, 0, 0)


async def write_by_key(session: Session, entry: Entry, listed: KeyList) -> None:
    """Carry out the statement and answer the client. Raises TurnoutError: then nothing of it is done."""
    from proxy.front.moved_rows import write_and_move

    writer = Writer(session, entry)
    async with Whole(session) as whole:
        found = Gathered()
        written = frozenset((part.target.database, part.target.table) for part in listed.parts)
        exact = any(part.values for part in listed.parts)
        await find(session, listed.finder, listed.find, found, written, exact)
        take_warnings(session, writer.tally, entry.plan.statement)
        nothing = True
        for part in listed.parts:
            if (key := part.target.key) is not None:
                texts = (key.text(row[key.at], key.known.charset) for row in found.rows)
                await learn(session, key.placement, texts)
                if listed.moving is not None:
                    texts = (key.text(row[listed.moving.at], "utf8mb4") for row in found.rows)
                    await learn(session, key.placement, texts, new=True)
            by_cluster = _by_cluster(part.target, found.rows)
            nothing = nothing and not by_cluster
            if not by_cluster:
                connection = await writer.connection(part.target.clusters[0])
                await writer.run(connection, part.nothing)
            elif listed.moving is not None:
                await write_and_move(writer, part, listed.moving, found, by_cluster)
            else:
                await _write(writer, part, found, by_cluster)
        if nothing and entry.plan.statement.kind is Kind.UPDATE and not await _can_match_nothing(writer, listed):
            writer.tally.counts = dict.fromkeys((b"Rows matched", b"Changed", b"Warnings"), 0)
        await whole.commit()
    writer.answer()


async def _can_match_nothing(writer: Writer, listed: KeyList) -> bool:
    """Does a server see without looking at rows that an UPDATE of one table finds none (LIMIT 0, `a = 1 AND a = 2`)?
    Then it does not say how many matched."""
    statement = writer.entry.plan.statement
    if len(statement.tables) > 1 or statement.change is None or not statement.change.plain:
        return False
    connection = await writer.connection(listed.parts[0].target.clusters[0])
    answer = await connection.command(b"\x03EXPLAIN " + listed.text)
    if connection.scanner.errno:
        raise server_error(connection.scanner.error)
    return any(b"Impossible WHERE" in (row[-1] or b"") for row in diagnostics_rows(answer))


def _by_cluster(target: Target, found: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of one table, each once, as they were found first."""
    by_cluster: dict[str, list[Row]] = {}
    seen: set[tuple[object, ...]] = set()
    for row in found:
        identity = target.identity(row)
        if identity[0] is None:
            continue
        for cluster in target.places(row):
            if (cluster, identity) not in seen:
                seen.add((cluster, identity))
                by_cluster.setdefault(cluster, []).append(row)
    return by_cluster


async def _write(writer: Writer, part: Part, found: Gathered, by_cluster: dict[str, list[Row]]) -> None:
    connections = {cluster: await writer.connection(cluster) for cluster in sorted(by_cluster)}
    # Of a table with copies, what is done to the first is what is told.
    counted = part.target.clusters if part.target.key is not None else part.target.clusters[:1]
    silent = Writer(writer.session, writer.entry)
    writers = {cluster: writer if cluster in counted else silent for cluster in by_cluster}
    if part.values:
        zone = await time_zone(writer.session, next(iter(connections.values())))
        columns = [given.column for given in part.values]
        literals = literals_of([found.columns[given.at] for given in part.values], columns, zone)
        works = [_write_values(writers[c], connections[c], part, literals, rows) for c, rows in by_cluster.items()]
    else:
        works = [write_rows(writers[c], connections[c], part, rows) for c, rows in by_cluster.items()]
    await together(works)


async def write_rows(writer: Writer, connection: ServerConnection, part: Part, rows: Sequence[Row]) -> None:
    """The statement itself for these rows of one cluster. Raises ServerFailed."""
    for batch in batches(rows):
        await writer.run(connection, part.statement(batch))


async def _write_values(
    writer: Writer, connection: ServerConnection, part: Part, literals: Sequence[Literal], rows: Sequence[Row]
) -> None:
    """Rows that get the same values go together."""
    groups: dict[tuple[bytes, ...], list[Row]] = {}
    for row in rows:
        values = tuple(literal(row[given.at]) for literal, given in zip(literals, part.values))
        groups.setdefault(values, []).append(row)
    for values, same in groups.items():
        for batch in batches(same):
            await writer.run(connection, part.giving(values, batch))


def batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for at in range(0, len(rows), _BATCH):
        yield rows[at : at + _BATCH]


async def together(works: Sequence[Coroutine[object, object, None]]) -> None:
    """All at once; when they have ended, the first failure is raised."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def take_warnings(session: Session, tally: Tally, statement: Statement) -> None:
    """What finding the rows warned of, the statement itself would have warned of, or failed by in a strict mode: which
    of the two depends on a server's plan, so that it fails here. Raises ServerFailed."""
    if not session.warning_count:
        return
    rows = diagnostics_rows(session.diagnostics)
    mode = session.sql_mode
    ignore = (statement.change or statement.insert or Change((0, 0), (0, 0), (0, 0), (0, 0))).ignore
    lenient = ignore or (statement.kind is Kind.DELETE and session.environment.mariadb)
    if not lenient and ("STRICT_TRANS_TABLES" in mode or "STRICT_ALL_TABLES" in mode):
        for level, code, message in rows:
            if level == b"Warning":
                number = int(code or 0)
                raise ServerFailed((message or b"").decode("utf-8", "replace"), number, _STATES.get(number, "HY000"))
    tally.warnings += session.warning_count
    tally.messages.extend(rows[:_MOST_WARNINGS])
