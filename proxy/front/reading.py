"""The client's side of a read over several servers: one answer, its sequence ids, and what the session keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front.caching import acknowledge
from proxy.front.environment import Entry
from proxy.front.row_streams import RowStream, server_error
from proxy.front.session import Session
from proxy.front.statements import record
from proxy.plan.plan import Send
from proxy.wire.frames import encode
from proxy.wire.packets import encode_eof, encode_err
from proxy.wire.status import IN_TRANS, NO_GOOD_INDEX_USED, NO_INDEX_USED, QUERY_WAS_SLOW

Pairs = Sequence[tuple[Send, ServerConnection]]
_BUFFER = 16384  # as much as a server collects before it sends (net_buffer_length)


class Receiver(Protocol):
    """Takes an answer in the client's place (`Session.receiver`)."""

    def feed(self, data: bytes) -> None:
        """Framed packets of the answer, up to its last row. Raises TurnoutError."""

    async def drained(self) -> None:
        """Wait until more can be taken. Raises TurnoutError."""


class Reading:
    """See the module. `started`: the columns have been written. `sent`: some of that is with the client, or whoever
    takes it in its place; until then another answer can be given."""

    def __init__(self, session: Session, entry: Entry, pairs: Pairs, streams: Sequence[RowStream]) -> None:
        self.session = session
        self.entry = entry
        self.pairs = pairs
        self.streams = streams
        self.sequence = (session.client.sequence + 1) & 0xFF
        self.rows = 0
        self.size = 0
        self.started = self.sent = False
        self._unsent: list[bytes] = []  # what little there is goes out with what follows it
        self._unsent_bytes = 0

    async def run(self) -> None:
        """Send the answer. Raises TurnoutError; `sent` says whether the client can still be told."""
        raise NotImplementedError

    def write(self, out: bytes) -> None:
        self.size += len(out)
        if self.session.receiver is not None:
            self.sent = True
            self.session.receiver.feed(out)
            return
        self._unsent.append(out)
        self._unsent_bytes += len(out)
        if self._unsent_bytes >= _BUFFER:
            self.flush()

    def flush(self) -> None:
        if self._unsent:
            self.sent = True
            self.session.client.write(b"".join(self._unsent))
            self._unsent.clear()
            self._unsent_bytes = 0

    def write_packets(self, packets: list[bytes]) -> None:
        """Packets with headers whose sequence ids are not yet the client's."""
        out, self.sequence = renumber(packets, self.sequence)
        self.write(out)

    async def drained(self) -> None:
        """Wait for the client. Raises ServerFailed when it has gone."""
        if self.session.receiver is not None:
            await self.session.receiver.drained()
        else:
            await self.session.client.drained()
        if self.session.closed:
            raise ServerFailed("The client went away")

    def fail_with(self, packet: bytes) -> None:
        """A server ended its rows with an ERR packet: so does the answer. Raises it as long as nothing was sent."""
        failure = server_error(packet)
        if not self.sent or self.session.receiver is not None:
            raise failure
        self._last(packet)
        self._after(0, failure)

    def refuse(self, refusal: StatementRefused) -> None:
        """End rows that are on their way with an error of our own."""
        if self.session.receiver is not None:
            raise refusal
        packet = encode_err(refusal.errno, refusal.sqlstate, refusal.message)
        self._last(packet)
        self.session.environment.measures.refused(refusal.reason)
        self._after(0, refusal)

    async def end(self, found_rows: int | None) -> None:
        """The rows are out: the last packet, and what the session is to remember. `found_rows` is FOUND_ROWS()."""
        session = self.session
        warnings = status = 0
        for _, connection in self.pairs:
            if connection.sink is None and connection.aborted is None:
                warnings += connection.scanner.warnings
                status |= connection.scanner.status
        if session.receiver is not None:
            session.warning_count = warnings
            session.diagnostics = None
            if warnings:
                await collect_warnings(session, self.pairs)
            return
        if session.pending is not None:  # INSERT .. RETURNING and the like
            acknowledge(session, session.in_transaction)
        status = (status & (NO_GOOD_INDEX_USED | NO_INDEX_USED | QUERY_WAS_SLOW | IN_TRANS)) | session.status
        self._last(encode_eof(min(warnings, 65535), status))
        self._after(warnings, None)
        if session.exceeded is not None:
            return
        session.found_rows = found_rows
        if warnings:
            await collect_warnings(session, self.pairs)

    def _last(self, payload: bytes) -> None:
        packet = encode(payload, self.sequence)
        self.size += len(packet)
        self._unsent.append(packet)
        self.flush()

    def _after(self, warnings: int, failure: TurnoutError | None) -> None:
        session = self.session
        failure = session.exceeded or failure
        record(session, self.entry, self.rows, self.size, failed=failure is not None)
        if failure is not None:
            session.environment.measures.error(failure.errno)
            session.remember_error(failure)
            return
        session.row_count = -1
        session.diagnostics = None
        session.warning_count = warnings


async def collect_warnings(session: Session, pairs: Pairs) -> None:
    from proxy.front.answers import diagnostics_response, diagnostics_rows

    rows: list[list[bytes | None]] = []
    for _, connection in pairs:
        if connection.sink is None and connection.aborted is None and connection.scanner.warnings:
            rows.extend(diagnostics_rows(await connection.command(b"\x03SHOW WARNINGS")))
    session.diagnostics = diagnostics_response(rows[:64], session.status)


def renumber(packets: list[bytes], sequence: int) -> tuple[bytes, int]:
    """Framed packets with sequence ids that follow on from `sequence`."""
    parts: list[bytes] = []
    for packet in packets:
        parts.append(packet[:3])
        parts.append(bytes((sequence,)))
        parts.append(packet[4:])
        sequence = (sequence + 1) & 0xFF
    return b"".join(parts), sequence
