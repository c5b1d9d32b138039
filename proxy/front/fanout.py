"""Statements for several targets: each gets its share, and their answers become one.

Reads are concatenated (the first target's columns, every target's rows as they were sent, one EOF) or merged
(`proxy.front.merge`). Writes add up: affected rows, matched and changed counts, warnings. A write on several
clusters runs inside a transaction on each, which is the client's own or one for the statement alone; a failure on one
rolls back all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parser.statement import Statement
from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front.atomic import is_atomic, new_branch, start_branch
from proxy.front.caching import acknowledge
from proxy.front.environment import Entry
from proxy.front.explained import Explained
from proxy.front.guard import confirm
from proxy.front.info_text import counts_of, joined
from proxy.front.killing import abandon
from proxy.front.line_numbers import LineNumbers
from proxy.front.made_ids import Answered, identify
from proxy.front.merge import MergedRead, check_select_limit, comparable
from proxy.front.reading import Pairs, Reading, collect_warnings
from proxy.front.returned import Returned
from proxy.front.row_streams import RowStream, Splitter, other_columns, server_error
from proxy.front.session import Session, checked
from proxy.front.statements import check_writer, join_transaction, note_writer, obtain, record_otherwise
from proxy.front.transactions import finish
from proxy.plan.plan import Reply, Route, Send
from proxy.rules.model import Transactions
from proxy.wire import command as com
from proxy.wire.column import parse_column
from proxy.wire.frames import encode
from proxy.wire.packets import encode_err, encode_ok
from proxy.wire.response import QUERY, ResponseScanner
from proxy.wire.status import IN_TRANS

if TYPE_CHECKING:
    from proxy.front.prepared_statement import Execution


async def run_everywhere(
    session: Session, entry: Entry, route: Route, sql: bytes, execution: Execution | None = None
) -> None:
    """Carry out a route with several targets and answer the client; of a prepared statement, one execution. Raises
    TurnoutError."""
    session.last_on = None  # no connection has the whole's FOUND_ROWS() or ROW_COUNT()
    if entry.plan.writes and route.reply not in (Reply.CONCATENATE, Reply.MERGE):
        session.recorded = False
        await _write(session, entry, route, sql, execution)
        record_otherwise(session, entry)
    else:
        await read(session, entry, route, sql, execution)


async def _commands(
    session: Session, pairs: Sequence[tuple[Send, ServerConnection]], sql: bytes, execution: Execution | None
) -> list[bytes]:
    """What each target is sent, framed. Raises TurnoutError."""
    if execution is not None:
        return await execution.commands(session, pairs)
    texts = (send.text if send.text is not None else sql for send, _ in pairs)
    return [encode(bytes((com.COM_QUERY,)) + text, 0) for text in texts]


async def _connections(
    session: Session, entry: Entry, route: Route, execution: Execution | None, *, always_transaction: bool
) -> list[tuple[Send, ServerConnection]]:
    """One connection per target, in the session's transaction if it has one. All or none."""
    taken: list[tuple[Send, ServerConnection]] = []
    database = execution.prepared.database if execution is not None else None
    try:
        # One after the other in the order of cluster names, so that two statements that need the same pools cannot
        # each hold what the other waits for.
        for send in sorted(route.sends, key=lambda s: s.cluster):
            connection, fresh = await obtain(session, entry, send, bool(entry.plan.writes), database)
            taken.append((send, connection))
            await join_transaction(session, connection, send.cluster, fresh)
            if always_transaction and not connection.scanner.status & IN_TRANS:  # also on one held for other state
                if len(taken) > 1 and is_atomic(session):
                    await start_branch(connection, await new_branch(session, taken[0][0].cluster, send.cluster))
                else:
                    await checked(connection, b"\x03BEGIN")
    except BaseException:
        for _, connection in taken:
            if connection.holder is not session:
                connection.abort(ServerFailed("A statement over several clusters could not start"))
        if always_transaction:
            session.transaction.forget_clusters()
        raise
    by_cluster = {send.cluster: connection for send, connection in taken}
    return [(send, by_cluster[send.cluster]) for send in route.sends]


# -- reads ----------------------------------------------------------------------------------------------------


async def read(session: Session, entry: Entry, route: Route, sql: bytes, execution: Execution | None = None) -> None:
    """The rows of a route's targets, to the client or whoever takes them in its place. Raises TurnoutError."""
    if route.reply is not Reply.EXPLAIN:
        check_select_limit(session, route.merge)
    pairs = await _connections(session, entry, route, execution, always_transaction=False)
    for send, _ in pairs:
        note_writer(session, entry, send.cluster)
    try:
        commands = await _commands(session, pairs, sql, execution)
        await confirm(session, *(connection for _, connection in pairs))
    except BaseException:
        for _, connection in pairs:
            if connection.holder is not session:
                session.give_back(connection)
        raise
    streams = [RowStream(connection) for _, connection in pairs]
    await answer(session, entry, route, pairs, streams, commands, binary=execution is not None)


async def answer(
    session: Session,
    entry: Entry,
    route: Route,
    pairs: Pairs,
    streams: Sequence[RowStream],
    commands: Sequence[bytes] = (),
    binary: bool = False,
) -> None:
    """Send what is to be sent yet, and give the client its answer. Raises TurnoutError."""
    session.spread = [connection for _, connection in pairs]
    reading = (
        Explained(session, entry, pairs, streams)
        if route.reply is Reply.EXPLAIN
        else MergedRead(session, entry, route.merge, pairs, streams, binary=binary)
        if route.merge is not None
        else _Concatenation(session, entry, pairs, streams)
    )
    try:
        if commands:
            session.sending_to_several()
        for (_, connection), stream, command in zip(pairs, streams, commands):
            connection.send(command, stream, QUERY)
            if connection.pool is not None:
                connection.pool.server.counters.commands += 1
        await reading.run()
    except TurnoutError as error:
        if not reading.sent or session.receiver is not None:
            raise
        reading.flush()
        session.fail(error, broken=True)
    finally:
        session.spread = []
        for (_, connection), stream in zip(pairs, streams):
            if connection.holder is session and connection.sink is not None and not session.closed:
                await stream.drain()  # it has the session's transaction
        if session.exceeded is not None and not session.closed:
            await session.quiet([connection for _, connection in pairs if connection.holder is session])
        for _, connection in pairs:
            if connection.sink is not None:
                abandon(session, connection, "A statement over several clusters was given up")
            elif connection.holder is session:
                session._settle_held(connection)
            elif connection.aborted is None and connection.scanner.status & IN_TRANS:
                session.hold(connection)
            elif connection.pool is not None:
                connection.pool.release(connection)


class _Concatenation(Reading):
    """The rows of several servers one after the other, as they were sent."""

    _definitions: list[bytes] | None = None  # with the packets around them

    async def run(self) -> None:
        for (send, _), stream in zip(self.pairs, self.streams):
            if not await self._relay(send, stream):
                return
        await self.end(self.rows)

    async def _relay(self, send: Send, stream: RowStream) -> bool:
        """One server's rows; False when it ended with an error that the client was told in their place."""
        splitter = Splitter()
        while data := await stream.more():
            splitter.feed(data)
            if splitter.error is not None:
                self.fail_with(splitter.error)
                return False
            if splitter.header is not None and not splitter.checked:
                splitter.checked = True
                if not self._columns(send, splitter):
                    return False
            if splitter.rows:
                rows, splitter.rows = splitter.rows, []
                self.rows += len(rows)
                self.write_packets(rows)
                await self.drained()
        if not splitter.ended:
            raise ServerFailed(f"cluster {send.cluster} ended its answer early")
        return True

    def _columns(self, send: Send, splitter: Splitter) -> bool:
        """False when they are others than those before, which the client was told."""
        if self._definitions is None:
            self._definitions = splitter.head_packets
            self.started = True
            self.write_packets(splitter.head_packets)
        elif splitter.head_packets != self._definitions and _columns(splitter.head_packets) != _columns(
            self._definitions
        ):
            problem = other_columns(send.cluster, self.pairs[0][0].cluster)
            self.fail_with(encode_err(problem.errno, problem.sqlstate, problem.message))
            return False
        return True


def _columns(packets: list[bytes]) -> list[object]:
    """What targets have to agree on, of the packets in front of the rows."""
    return [comparable(parse_column(packet[4:])) for packet in packets[1:-1]]


# -- writes ----------------------------------------------------------------------------------------------------


async def _write(session: Session, entry: Entry, route: Route, sql: bytes, execution: Execution | None) -> None:
    transactions = session.environment.rules.transactions
    if transactions is Transactions.SINGLE:
        raise StatementRefused(
            "This statement writes on several clusters, which 'transactions: single' does not allow",
            reason="cross-cluster-write",
        )
    for send in route.sends:
        check_writer(session, send.cluster)
    own = not session.transaction.explicit and session.autocommit
    pairs = await _connections(session, entry, route, execution, always_transaction=own)
    for send, connection in pairs:
        session.hold(connection)  # its part has to be committed or rolled back, also where autocommit is off
        session.transaction.writers.add(send.cluster)
        session.transaction.changed.add(send.cluster)
    if not own and len(pairs) > 1:
        savepoints = (checked(connection, b"\x03SAVEPOINT turnout_statement") for _, connection in pairs)
        # All have to have answered, also where one fails: what is still under way on a connection is in the way there.
        for outcome in await asyncio.gather(*savepoints, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
    try:
        commands = await _commands(session, pairs, sql, execution)
        await confirm(session, *(connection for _, connection in pairs))
    except TurnoutError:
        await _undo(session, pairs, own)
        raise
    session.spread = [connection for _, connection in pairs]
    session.sending_to_several()
    for _, connection in pairs:
        if connection.pool is not None:
            connection.pool.server.counters.commands += 1
    results = await asyncio.gather(
        *(connection.exchange(command) for (_, connection), command in zip(pairs, commands)), return_exceptions=True
    )
    session.spread = []
    numbers = LineNumbers() if route.rows and len(pairs) <= 256 else None
    if numbers is not None:
        numbers.add(bytes(route.rows))
    failures: list[tuple[int, TurnoutError]] = []
    for part, ((_, connection), result) in enumerate(zip(pairs, results)):
        if isinstance(result, BaseException):
            if not isinstance(result, TurnoutError):
                raise result
            failures.append((0, result))
        elif connection.scanner.errno:
            failures.append(_failure(connection, numbers, part))
    if failures:
        await _undo(session, pairs, own)
        # One server would have come to the first row that is wrong, and no further.
        raise (min(failures, key=lambda each: each[0]) if all(row for row, _ in failures) else failures[0])[1]
    scanners = [connection.scanner for _, connection in pairs]
    answer = _summed(route, scanners, entry)
    answers = [(connection, Answered.by(connection)) for _, connection in pairs]
    for _, connection in pairs:
        if connection.scanner.session_state:
            session.observe(connection, connection.scanner.session_state)
    if answer[2]:
        await collect_warnings(session, pairs, numbers)
    else:
        session.diagnostics = None
    affected, info, warnings, insert_id = answer
    returned = Returned(route, pairs, results) if answers[0][1].has_rows else None
    if returned is not None and returned.problem is not None:
        await _undo(session, pairs, own)
        raise returned.problem
    if session.made is not None:
        try:
            insert_id = await identify(session, entry, answers)
        except TurnoutError:
            await _undo(session, pairs, own)
            raise
    if own:
        try:
            await finish(session, b"COMMIT", [send.cluster for send in route.sends])
        finally:
            session.transaction.forget_clusters()
    if session.pending is not None:
        acknowledge(session, session.in_transaction)
    session.warning_count = warnings
    session.row_count = affected
    if returned is None:
        session.client.send(encode_ok(affected, insert_id, session.status, warnings, info))
    else:
        session.client.write(returned.answer((session.client.sequence + 1) & 0xFF, warnings, session.status))
        session.row_count, session.found_rows = -1, len(returned.rows)
    if insert_id and session.generated:
        session.last_insert_id = insert_id


def _failure(connection: ServerConnection, numbers: LineNumbers | None, part: int) -> tuple[int, TurnoutError]:
    """What a server failed with, and the client's row that it is about; 0 where it names none."""
    failure = server_error(connection.scanner.error)
    if numbers is None:
        return 0, failure
    ((row, message),) = numbers.told(part, [failure.message.encode()])
    return row, ServerFailed(message.decode(), failure.errno, failure.sqlstate)


async def _undo(session: Session, pairs: list[tuple[Send, ServerConnection]], own: bool) -> None:
    """Take back what parts of a failed statement did: the statement's own transaction, or back to its savepoint."""
    if own:
        await finish(session, b"ROLLBACK", [send.cluster for send, _ in pairs])
        session.transaction.forget_clusters()
        return
    for _, connection in pairs:
        if connection.aborted is not None:
            continue
        await connection.command(b"\x03ROLLBACK TO SAVEPOINT turnout_statement")
        if connection.scanner.errno:  # the server had rolled back the whole transaction: so do the others
            await finish(session, b"ROLLBACK", list(session.held))
            session.transaction.clear()
            return


def _summed(route: Route, scanners: list[ResponseScanner], entry: Entry) -> tuple[int, bytes, int, int]:
    """(affected rows, info, warnings, insert id) of one statement's parts. Of ids that rows brought along
    a server tells the last row's."""
    if route.reply is Reply.FIRST:
        first = scanners[0]
        return first.affected_rows, first.info, first.warnings, first.insert_id
    affected = sum(s.affected_rows for s in scanners)
    warnings = min(sum(s.warnings for s in scanners), 65535)
    last = scanners[route.rows[-1]].insert_id if route.rows else 0
    insert_id = last or next((s.insert_id for s in scanners if s.insert_id), 0)
    infos = [s.info for s in scanners]
    info = b""
    if entry.plan.statement.insert is not None:
        rows = len(entry.plan.statement.insert.rows)
        if rows > 1:
            info = _records_text(entry.plan.statement, rows, scanners, warnings)
    elif infos[0]:
        info = joined(infos, warnings)
    return affected, info, warnings, insert_id


def _records_text(statement: Statement, records: int, scanners: list[ResponseScanner], warnings: int) -> bytes:
    """`Records: 3  Duplicates: 0  Warnings: 0` of an INSERT whose rows went to several servers.

    A server that got a single row says nothing; its duplicates follow from the affected rows (MariaDB's sql_insert.cc).
    """
    insert = statement.insert
    duplicates = 0
    for scanner in scanners:
        counts = counts_of(scanner.info)
        if counts:
            duplicates += counts.get(b"Duplicates", 0)
        elif insert is not None and insert.ignore:
            duplicates += 1 - min(1, scanner.affected_rows)
        else:
            duplicates += max(0, scanner.affected_rows - 1)
    return b"Records: %d  Duplicates: %d  Warnings: %d" % (records, duplicates, warnings)
