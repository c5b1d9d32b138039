"""Statements for several targets: each gets its share, and their answers become one.

Reads are concatenated: the first target's columns, every target's rows as they were sent (text rows carry no trace of
where they came from), one EOF. Writes add up: affected rows, matched and changed counts, warnings. A write on several
clusters runs inside a transaction on each, which is the client's own or one for the statement alone; a failure on one
rolls back all.
"""

from __future__ import annotations

import asyncio
import re

from parser.statement import Statement
from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front.caching import acknowledge
from proxy.front.environment import Entry
from proxy.front.session import Session, checked
from proxy.front.statements import check_writer, join_transaction, obtain, record
from proxy.front.transactions import finish
from proxy.plan.plan import Reply, Route, Send
from proxy.rules.model import Transactions
from proxy.wire import command as com
from proxy.wire.frames import encode
from proxy.wire.packets import encode_eof, encode_ok, parse_err
from proxy.wire.response import QUERY, ResponseScanner
from proxy.wire.status import IN_TRANS, NO_GOOD_INDEX_USED, NO_INDEX_USED, QUERY_WAS_SLOW

_COUNTS = re.compile(rb"(\w[\w ]*?): (\d+)")


class RowStream:
    """The sink of one target's share of a read: what came, in order, bounded by pausing the server."""

    def __init__(self, limit: int = 256 * 1024) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self.ended = False
        self.error: TurnoutError | None = None
        self._limit = limit
        self._wake: asyncio.Future[None] | None = None
        self.connection: ServerConnection | None = None
        self._paused = False

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self.pieces.append(data)
        self.size += len(data)
        if self.size > self._limit and not self._paused and connection.transport is not None:
            self._paused = True
            connection.transport.pause_reading()
        self._notify()

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        self.pieces.extend(pieces)
        self.ended = True
        self._notify()

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        self.error = error
        self.ended = True
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def drain(self) -> None:
        """Wait for the end of an answer that nobody wants any more."""
        self._limit = 1 << 62
        while not self.ended:
            await self.more()

    async def more(self) -> bytes:
        """The next bytes; b"" at the end. Raises the error by which the connection was lost."""
        while not self.pieces:
            if self.error is not None:
                raise self.error
            if self.ended:
                return b""
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
            self._wake = None
        data = b"".join(self.pieces)
        self.pieces.clear()
        self.size = 0
        if self._paused and self.connection is not None and self.connection.transport is not None:
            self._paused = False
            if not self.connection.transport.is_closing():
                self.connection.transport.resume_reading()
        return data


async def run_everywhere(session: Session, entry: Entry, route: Route, sql: bytes) -> None:
    """Carry out a route with several targets and answer the client. Raises TurnoutError."""
    if entry.plan.writes and route.reply is not Reply.CONCATENATE:
        await _write(session, entry, route, sql)
    else:
        await _read(session, entry, route, sql)


def _payload(send: Send, sql: bytes) -> bytes:
    return bytes((com.COM_QUERY,)) + (send.text if send.text is not None else sql)


async def _connections(
    session: Session, entry: Entry, route: Route, *, always_transaction: bool
) -> list[tuple[Send, ServerConnection]]:
    """One connection per target, in the session's transaction if it has one. All or none."""
    taken: list[tuple[Send, ServerConnection]] = []
    try:
        # One after the other in the order of cluster names, so that two statements that need the same pools cannot
        # each hold what the other waits for.
        for send in sorted(route.sends, key=lambda s: s.cluster):
            connection, fresh = await obtain(session, entry, send, primary=bool(entry.plan.writes))
            taken.append((send, connection))
            if fresh:
                await join_transaction(session, connection, send.cluster)
            if always_transaction and not connection.scanner.status & IN_TRANS:
                await checked(connection, b"\x03BEGIN")  # also on one that is held because of other state
    except BaseException:
        for _, connection in taken:
            if connection.holder is not session:
                connection.abort(ServerFailed("A statement over several clusters could not start"))
        raise
    by_cluster = {send.cluster: connection for send, connection in taken}
    return [(send, by_cluster[send.cluster]) for send in route.sends]


# -- reads ----------------------------------------------------------------------------------------------------


async def _read(session: Session, entry: Entry, route: Route, sql: bytes) -> None:
    pairs = await _connections(session, entry, route, always_transaction=False)
    session.spread = [connection for _, connection in pairs]
    streams: list[RowStream] = []
    merge = _Merge(session, entry, pairs, streams)
    try:
        for send, connection in pairs:
            stream = RowStream()
            stream.connection = connection
            streams.append(stream)
            connection.send(encode(_payload(send, sql), 0), stream, QUERY)
        await merge.run()
    except TurnoutError as error:
        if not merge.started:
            raise
        session.fail(error, broken=True)
    finally:
        session.spread = []
        for (_, connection), stream in zip(pairs, streams):
            if connection.holder is session and connection.sink is not None and not session.closed:
                await stream.drain()  # it has the session's transaction
        for _, connection in pairs:
            if connection.sink is not None:
                connection.abort(ServerFailed("A statement over several clusters was given up"))
            elif connection.holder is session:
                session._settle_held(connection)
            elif connection.aborted is None and connection.scanner.status & IN_TRANS:
                session.hold(connection)
            elif connection.pool is not None:
                connection.pool.release(connection)


class _Merge:
    """The answers of several targets on their way to one client, one target after the other."""

    def __init__(
        self, session: Session, entry: Entry, pairs: list[tuple[Send, ServerConnection]], streams: list[RowStream]
    ) -> None:
        self._session = session
        self._entry = entry
        self._pairs = pairs
        self._streams = streams
        self._sequence = (session.client.sequence + 1) & 0xFF
        self._definitions: bytes | None = None
        self._rows = 0
        self._size = 0
        self.started = False  # part of the answer is with the client

    async def run(self) -> None:
        """Send the merged answer. Raises TurnoutError; `started` says whether the client can still be told."""
        session = self._session
        warnings = 0
        status = 0
        for (send, connection), stream in zip(self._pairs, self._streams):
            if not await self._relay(send, stream):
                return
            warnings += connection.scanner.warnings
            status |= connection.scanner.status
        if session.pending is not None:  # INSERT .. RETURNING and the like
            acknowledge(session, session.in_transaction)
        status = (status & (NO_GOOD_INDEX_USED | NO_INDEX_USED | QUERY_WAS_SLOW)) | session.status
        session.client.write(encode(encode_eof(min(warnings, 65535), status), self._sequence))
        _after_read(session, self._entry, self._rows, warnings, self._size, None)
        if warnings:
            await _collect_warnings(session, self._pairs)

    async def _relay(self, send: Send, stream: RowStream) -> bool:
        """One target's rows; False when it ended with an error that the client was told in their place."""
        session, client = self._session, self._session.client
        splitter = _Splitter()
        while data := await stream.more():
            splitter.feed(data)
            if splitter.error is not None:
                error = parse_err(splitter.error)
                failure = ServerFailed(error.message.decode("utf-8", "replace"), error.errno, error.sqlstate)
                if not self.started:
                    raise failure
                # A server, too, reports an error after rows by an ERR packet in their place.
                client.write(encode(splitter.error, self._sequence))
                _after_read(session, self._entry, self._rows, 0, self._size, failure)
                return False
            if splitter.header is not None and not splitter.checked:
                splitter.checked = True
                self._columns(send, splitter)
            if splitter.rows:
                out, self._sequence = _renumber(splitter.rows, self._sequence)
                self._rows += len(splitter.rows)
                splitter.rows = []
                client.write(out)
                self._size += len(out)
                await client.drained()
                if session.closed:
                    raise ServerFailed("The client went away")
        if not splitter.ended:
            raise ServerFailed(f"cluster {send.cluster} ended its answer early")
        return True

    def _columns(self, send: Send, splitter: _Splitter) -> None:
        if self._definitions is None:
            self._definitions = splitter.header
            out, self._sequence = _renumber(splitter.head_packets, self._sequence)
            self._session.client.write(out)
            self._size += len(out)
            self.started = True
        elif splitter.header != self._definitions:
            raise ServerFailed(
                f"cluster {send.cluster} answered with other columns than {self._pairs[0][0].cluster}: "
                "the table differs between the shards; compare SHOW CREATE TABLE on each",
                1105,
                "HY000",
            )


def _after_read(
    session: Session, entry: Entry, rows: int, warnings: int, size: int, failure: TurnoutError | None
) -> None:
    record(session, entry, rows, size, failed=failure is not None)
    if failure is not None:
        session.environment.measures.error(failure.errno)
        session.remember_error(failure)
        return
    session.found_rows = rows
    session.row_count = -1
    session.diagnostics = None
    session.warning_count = warnings


async def _collect_warnings(session: Session, pairs: list[tuple[Send, ServerConnection]]) -> None:
    from proxy.front.answers import diagnostics_response, diagnostics_rows

    rows: list[list[bytes | None]] = []
    for _, connection in pairs:
        if connection.aborted is None and connection.scanner.warnings:
            rows.extend(diagnostics_rows(await connection.command(b"\x03SHOW WARNINGS")))
    session.diagnostics = diagnostics_response(rows[:64], session.status)


def _renumber(packets: list[bytes], sequence: int) -> tuple[bytes, int]:
    """Framed packets with sequence ids that follow on from `sequence`."""
    parts: list[bytes] = []
    for packet in packets:
        parts.append(packet[:3])
        parts.append(bytes((sequence,)))
        parts.append(packet[4:])
        sequence = (sequence + 1) & 0xFF
    return b"".join(parts), sequence


class _Splitter:
    """One target's response taken apart into its column definitions, its rows (framed) and its end."""

    def __init__(self) -> None:
        self._buffer = b""
        self._left = -1
        self.columns = 0
        self.header: bytes | None = None
        self.head_packets: list[bytes] = []
        self.rows: list[bytes] = []
        self.error: bytes | None = None
        self.ended = False
        self.checked = False
        self._continued = False

    def feed(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        pos, size = 0, len(data)
        while pos + 4 <= size:
            n = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
            end = pos + 4 + n
            if end > size:
                break
            packet = data[pos:end]
            pos = end
            first = packet[4] if n else 0
            if self._continued:
                self._continued = n == 0xFFFFFF
                self.rows.append(packet)
                continue
            if first == 0xFF:
                self.error = packet[4:]
                self.ended = True
            elif self._left == -1:
                self.columns = first if first < 0xFB else packet[5] | packet[6] << 8
                self._left = self.columns
                self.head_packets.append(packet)
            elif self.header is None:
                self.head_packets.append(packet)
                if self._left:
                    self._left -= 1
                else:
                    self.header = b"".join(p[4:] for p in self.head_packets[:-1])
            elif first == 0xFE and n < 9:
                self.ended = True
            else:
                self._continued = n == 0xFFFFFF
                self.rows.append(packet)
        self._buffer = data[pos:]


# -- writes ----------------------------------------------------------------------------------------------------


async def _write(session: Session, entry: Entry, route: Route, sql: bytes) -> None:
    transactions = session.environment.rules.transactions
    if transactions is Transactions.SINGLE:
        raise StatementRefused(
            "This statement writes on several clusters, which 'transactions: single' does not allow",
            reason="cross-cluster-write",
        )
    for send in route.sends:
        check_writer(session, send.cluster)
    own = not session.transaction.explicit and session.autocommit
    pairs = await _connections(session, entry, route, always_transaction=own)
    for send, connection in pairs:
        session.hold(connection)  # its part has to be committed or rolled back, also where autocommit is off
        session.transaction.writers.add(send.cluster)
    if not own and len(pairs) > 1:
        await asyncio.gather(*(checked(c, b"\x03SAVEPOINT turnout_statement") for _, c in pairs))
    session.spread = [connection for _, connection in pairs]
    results = await asyncio.gather(
        *(connection.command(_payload(send, sql)) for send, connection in pairs), return_exceptions=True
    )
    session.spread = []
    failure: TurnoutError | None = None
    for (_, connection), result in zip(pairs, results):
        if isinstance(result, BaseException):
            if not isinstance(result, TurnoutError):
                raise result
            failure = failure or result
        elif connection.scanner.errno and failure is None:
            error = parse_err(connection.scanner.error)
            failure = ServerFailed(error.message.decode("utf-8", "replace"), error.errno, error.sqlstate)
    if failure is not None:
        await _undo(session, pairs, own)
        raise failure
    scanners = [connection.scanner for _, connection in pairs]
    answer = _summed(route.reply, scanners, entry)
    for _, connection in pairs:
        if connection.scanner.session_state:
            session.observe(connection, connection.scanner.session_state)
    if answer[2]:
        await _collect_warnings(session, pairs)
    else:
        session.diagnostics = None
    if own:
        await finish(session, b"COMMIT", [send.cluster for send in route.sends])
        session.transaction.writers.clear()
    if session.pending is not None:
        acknowledge(session, session.in_transaction)
    affected, info, warnings, insert_id = answer
    session.warning_count = warnings
    session.row_count = affected
    session.client.send(encode_ok(affected, insert_id, session.status, warnings, info))
    if insert_id and session.generated:
        session.last_insert_id = insert_id


async def _undo(session: Session, pairs: list[tuple[Send, ServerConnection]], own: bool) -> None:
    """Take back what parts of a failed statement did: the statement's own transaction, or back to its savepoint."""
    if own:
        await finish(session, b"ROLLBACK", [send.cluster for send, _ in pairs])
        session.transaction.writers.clear()
        return
    for _, connection in pairs:
        if connection.aborted is not None:
            continue
        await connection.command(b"\x03ROLLBACK TO SAVEPOINT turnout_statement")
        if connection.scanner.errno:  # the server had rolled back the whole transaction: so do the others
            await finish(session, b"ROLLBACK", list(session.held))
            session.transaction.clear()
            return


def _summed(reply: Reply, scanners: list[ResponseScanner], entry: Entry) -> tuple[int, bytes, int, int]:
    """(affected rows, info, warnings, first insert id) of one statement's parts."""
    if reply is Reply.FIRST:
        first = scanners[0]
        return first.affected_rows, first.info, first.warnings, first.insert_id
    affected = sum(s.affected_rows for s in scanners)
    warnings = min(sum(s.warnings for s in scanners), 65535)
    insert_id = next((s.insert_id for s in scanners if s.insert_id), 0)
    infos = [s.info for s in scanners]
    info = b""
    if entry.plan.statement.insert is not None:
        rows = len(entry.plan.statement.insert.rows)
        if rows > 1:
            info = _records_text(entry.plan.statement, rows, scanners, warnings)
    elif infos[0]:
        info = _joined_counts(infos, warnings)
    return affected, info, warnings, insert_id


def _records_text(statement: Statement, records: int, scanners: list[ResponseScanner], warnings: int) -> bytes:
    """`Records: 3  Duplicates: 0  Warnings: 0` of an INSERT whose rows went to several servers.

    A server that got a single row says nothing; its duplicates follow from the affected rows (MariaDB's sql_insert.cc).
    """
    insert = statement.insert
    duplicates = 0
    for scanner in scanners:
        counts = dict(_COUNTS.findall(scanner.info))
        if counts:
            duplicates += int(counts.get(b"Duplicates", 0))
        elif insert is not None and insert.ignore:
            duplicates += 1 - min(1, scanner.affected_rows)
        else:
            duplicates += max(0, scanner.affected_rows - 1)
    return b"Records: %d  Duplicates: %d  Warnings: %d" % (records, duplicates, warnings)


def _joined_counts(infos: list[bytes], warnings: int) -> bytes:
    """`Rows matched: 3  Changed: 1  Warnings: 0` of several servers, added up."""
    totals: dict[bytes, int] = {}
    for info in infos:
        for name, number in _COUNTS.findall(info):
            totals[name] = totals.get(name, 0) + int(number)
    if b"Warnings" in totals:
        totals[b"Warnings"] = warnings
    return b"  ".join(b"%s: %d" % item for item in totals.items())
