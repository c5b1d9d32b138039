"""A read of several shards with small answers: asked, answered and put together in the event loop's callbacks.

This is to `proxy.front.fanout` what `Session.query` is to `proxy.front.statements`: no task, no stream for each shard,
and one write. It covers what is usual: connections that are there and need nothing first, no error, no warning, and
each answer in one piece, with the same columns. Whatever is otherwise is handed over, with all that has come so far, to
a task that goes on as `fanout.read` does; nothing was written to the client until then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from proxy.back.connection import ServerConnection
from proxy.errors import StatementRefused, TurnoutError
from proxy.front.merge_whole import merged
from proxy.front.row_streams import RowStream
from proxy.front.values import TextValues
from proxy.plan.plan import Reply, Route, Send
from proxy.plan.shard_routes import Scatter
from proxy.wire import command as com
from proxy.wire.frames import encode
from proxy.wire.packets import encode_eof
from proxy.wire.response import QUERY
from proxy.wire.status import IN_TRANS, NO_GOOD_INDEX_USED, NO_INDEX_USED, QUERY_WAS_SLOW

if TYPE_CHECKING:
    from proxy.front.environment import Entry
    from proxy.front.session import Session

_now = time.perf_counter_ns
_EOF: Final = 9  # bytes of an EOF packet
_STATUS: Final = 4  # bytes of one that `ResponseScanner.learned` leaves out
_OF_QUERIES: Final = NO_GOOD_INDEX_USED | NO_INDEX_USED | QUERY_WAS_SLOW  # flags that tell of any shard's work
MOST_BYTES: Final = 256 * 1024  # of answers that are put together at once


def ask(
    session: Session, entry: Entry, packet: bytes, sql: bytes, literals: list[bytes], route: Route | None = None
) -> bool:
    """Carry out a text statement that may be a plain read of several shards (`Entry.spreads`). False: nothing was done,
    since something has to be waited for, or it is none. `route`: its route, where that is known."""
    transaction = session.transaction
    if (
        entry.directories
        or session.owed
        or session.own_xa
        or session.cursors
        or session.next_transaction
        or session.pending is not None
        or session.bound is not None
        or session.client.sequence
        or session.client.write_paused
        or transaction.savepoints
        or transaction.once
        or entry.unmerged
        or "sql_select_limit" in session.settings.items
    ):
        return False
    if route is None:
        route = entry.everywhere
    if route is None:
        plan = entry.plan
        try:
            route = plan.route(TextValues(literals, session.lexer), sql)
        except StatementRefused as error:
            session.fail(error)
            return True
        if isinstance(plan, Scatter):
            entry.everywhere = plan.everywhere
    if len(route.sends) < 2 or not (route.reply is Reply.CONCATENATE or route.reply is Reply.MERGE):
        return False
    connections = _connections(session, entry, route.sends)
    if connections is None:
        return False
    _send(route.sends, connections, packet)
    session._sent = _now()
    session.generated = entry.plan.generated_id
    Spread(session, entry, route, connections, literals, sql).begin()
    session.client.listener.busy_poll.sent(session._sent, True)
    return True


def _connections(session: Session, entry: Entry, sends: tuple[Send, ...]) -> list[ServerConnection] | None:
    """One connection for each target, ready for the statement; None where one of them has to be waited for."""
    settings, database = session.settings, session.database
    held = session.held
    begins = session.transaction.explicit or not session.autocommit
    taken: list[ServerConnection] = []
    for send in sends:
        if held or begins:
            connection = held.get(send.cluster)
            if (
                connection is None
                or connection.sink is not None
                or connection.aborted is not None
                or not connection.scanner.status & IN_TRANS
                or connection.settings is not settings
                or connection.database != database
            ):
                return None
            taken.append(connection)
            continue
        server = session._server_for(entry, send.cluster)
        if server is None:
            break
        pool = session._pools.get(server)
        connection = pool.take_now(settings, database) if pool is not None else None
        if connection is None:
            break
        connection.taker = session
        taken.append(connection)
        if connection.settings is not settings or connection.database != database:
            break
        connection.taken_ns = session.began
    else:
        return taken
    for connection in taken:
        if connection.pool is not None:
            connection.pool.release(connection)
    return None


def _send(sends: tuple[Send, ...], connections: list[ServerConnection], packet: bytes) -> None:
    """`packet`: the client's, for targets that get its own text. The servers get to work before anything else is done
    here; what they answer is read in later turns of the event loop."""
    text: bytes | None = None
    for send, connection in zip(sends, connections):
        if send.text is not text:
            text = send.text
            assert text is not None  # all have one, or none
            packet = encode(bytes((com.COM_QUERY,)) + text, 0)
        connection.write_whole(packet)


class Spread:
    """One such statement, and the sink of all its answers."""

    __slots__ = (
        "_answers",
        "_connections",
        "_entry",
        "_expected",
        "_head",
        "_left",
        "_literals",
        "_route",
        "_session",
        "_size",
        "_sql",
        "_streams",
    )

    def __init__(
        self,
        session: Session,
        entry: Entry,
        route: Route,
        connections: list[ServerConnection],
        literals: list[bytes],
        sql: bytes,
    ) -> None:
        self._session = session
        self._entry = entry
        self._route = route
        self._connections = connections
        self._literals = literals
        self._sql = sql
        self._expected = self._head = entry.spread_head  # what the answers begin with (`ResponseScanner.learned`)
        self._left = len(connections)
        self._size = 0
        self._answers: dict[ServerConnection, bytes] = {}
        self._streams: dict[ServerConnection, RowStream] | None = None  # once it is handed over

    def begin(self) -> None:
        """The statement has just gone out."""
        self._session.spread = self._connections
        for connection in self._connections:
            connection.expect(self, QUERY, self._expected)
            pool = connection.pool
            if pool is not None:
                pool.server.counters.commands += 1

    # -- answers (Sink)

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        if self._is_over:
            return
        streams = self._streams or self._hand_over()
        streams[connection].on_data(connection, data)

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        streams = self._streams
        if streams is not None:
            streams[connection].on_end(connection, pieces)
            return
        if self._is_over:
            return
        scanner = connection.scanner
        data = self._answers[connection] = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        head = scanner.learned or self._expected
        if not self._size:
            self._head = head
        self._left -= 1
        self._size += len(data)
        if (
            scanner.errno
            or scanner.warnings
            or head != self._head
            or not head
            or not scanner.columns
            or self._size > MOST_BYTES
            or (scanner.status & IN_TRANS and not self._session.held)
        ):
            self._hand_over()
        elif not self._left:
            self._finish()
        elif self._is_enough():
            self._hand_over()  # where nobody waits for the others

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        if self._is_over:
            return
        streams = self._streams or self._hand_over()
        streams[connection].on_lost(connection, error)

    @property
    def _is_over(self) -> bool:
        """Has the client gone? Its session has given up the connections."""
        return self._streams is None and self._session.closed

    def _is_enough(self) -> bool:
        """Does LIMIT leave nothing to be asked of the servers that have not answered?"""
        merge = self._route.merge
        if merge is None or merge.limit is None or merge.keys or merge.groups is not None:
            return False
        wanted = merge.offset + merge.limit
        for connection in self._connections:
            if connection not in self._answers:
                return False
            wanted -= connection.scanner.rows
            if wanted <= 0:
                return True
        return False

    def _hand_over(self) -> dict[ServerConnection, RowStream]:
        """From now on a task does it, as for any other statement."""
        from proxy.front.statements import answer_spread

        streams = self._streams = {connection: RowStream(connection) for connection in self._connections}
        for connection, data in self._answers.items():
            streams[connection].on_end(connection, [data])
        pairs = list(zip(self._route.sends, self._connections))
        session = self._session
        values = TextValues(self._literals, session.lexer)
        session.run(answer_spread(session, self._entry, self._route, values, self._sql, pairs, [*streams.values()]))
        return streams

    # -- all of them are there

    def _finish(self) -> None:
        """Answer the client."""
        session = self._session
        found_rows: int | None
        try:
            if self._route.merge is None:
                out, rows = self._concatenated()
                found_rows = rows
            else:
                out, rows, found_rows = self._merged()
        except Exception:
            out = b""  # it will be found again, where it can be told
        if not out:
            self._hand_over()
            return
        session.spread = []
        session.client.answer(out)
        now = _now()
        total = now - session.began
        entry = self._entry
        entry.spread_head = self._head
        session.client.listener.busy_poll.answered(now, True)
        entry.stats.record(total, now - session._sent, rows, len(out), False)
        if total > session.environment.slow_ns:
            session.client.listener.slow(session, entry, total / 1e9)
        session.found_rows = found_rows
        session.row_count = -1
        session.diagnostics = None
        session.warning_count = 0
        session.last_on = None
        session.running = None
        held = session.held
        for connection in self._connections:
            if held:
                session._settle_held(connection)
            elif connection.pool is not None:
                connection.pool.release(connection)
        session.busy = False
        session.client.next_command()

    @property
    def _status(self) -> int:
        status = 0
        for connection in self._connections:
            status |= connection.scanner.status
        return (status & (_OF_QUERIES | IN_TRANS)) | self._session.status

    def _concatenated(self) -> tuple[bytes, int]:
        """The rows one shard after the other, and their number. Nothing where the columns have to be looked at."""
        head = self._head
        begin = len(head) + _STATUS
        sequence = (head[-2] + 1) & 0xFF  # of the first row
        answers = self._answers
        parts = [answers[self._connections[0]][:begin]]
        rows = 0
        for connection in self._connections:
            data = answers[connection]
            end = len(data) - _EOF
            if end < begin or not data.startswith(head) or data[end : end + 3] != b"\5\0\0" or data[end + 4] != 0xFE:
                return b"", 0
            if end > begin:
                rows += connection.scanner.rows
                if data[begin + 3] == sequence:  # they are numbered as the client's are, as those of the first shard
                    parts.append(data[begin:end])
                    sequence = data[end + 3]
                else:
                    more, sequence = _renumbered(data[begin:end], sequence)
                    parts.append(more)
        parts.append(encode(encode_eof(0, self._status), sequence))
        return b"".join(parts), rows

    def _merged(self) -> tuple[bytes, int, int | None]:
        """The same of rows that are merged, and what FOUND_ROWS() is to be."""
        merge = self._route.merge
        assert merge is not None
        out, rows, sequence = merged(merge, self._head, [self._answers[each] for each in self._connections])
        return out + encode(encode_eof(0, self._status), sequence), rows, None if merge.offset else rows


def _renumbered(rows: bytes, sequence: int) -> tuple[bytes, int]:
    """Framed rows with sequence ids that follow on from `sequence`, and the next one."""
    out = bytearray(rows)
    pos, size = 0, len(out)
    while pos < size:
        out[pos + 3] = sequence
        sequence = (sequence + 1) & 0xFF
        pos += 4 + (out[pos] | out[pos + 1] << 8 | out[pos + 2] << 16)
    return bytes(out), sequence
