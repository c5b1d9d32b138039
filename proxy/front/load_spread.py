"""LOAD DATA LOCAL into a table on several clusters: the client's file is read once, and becomes one for each of them.

All clusters are given the statement at once, and ask for their files, before the client is asked for its own: what is
wrong with the statement is so found out before anything is sent. Then lines are passed on as they come, and the client
is not read while any server does not take its part. All of it is one transaction: a line that cannot be placed, or a
server that fails, undoes the rest, after the client has got rid of its file.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from parser.rewrite import quoted
from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front.answers import diagnostics_rows
from proxy.front.client import Client
from proxy.front.environment import Entry
from proxy.front.key_list import Writer
from proxy.front.row_streams import server_error
from proxy.front.sequences import IdSequence, Run
from proxy.front.session import Session
from proxy.front.statements import pin
from proxy.front.whole import Whole
from proxy.plan import refusals
from proxy.plan.file_lines import Cell, Line, LineReader, Unreadable, charset_problem
from proxy.plan.load_data import Loading
from proxy.wire import command as com
from proxy.wire.file_packets import file_packets
from proxy.wire.frames import encode
from proxy.wire.response import LOAD
from proxy.wire.resultset import Row

_FIRST_PACKET = 2  # of a file: behind the command and the server's request
_AHEAD = 256 * 1024  # bytes of the file that wait for their turn before the client is read no further
_PIECE = 64 * 1024  # bytes that are looked at before others have their turn
_MOST_WARNINGS = 64
_ROWS_KNOWN = 16 << 20  # lines of which it is remembered where they went, a byte each, to say which a warning is about
_AT_ROW = re.compile(rb"(?<=at row )\d+|(?<=\ARow )\d+")
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,19}")
_KEPT_KEYS = 100_000
_PIN = "file variable"


async def load_spread(session: Session, entry: Entry, loading: Loading) -> None:
    """Carry out the statement and answer the client. Raises TurnoutError: then nothing of it is done."""
    session.client.edit()
    writer = Writer(session, entry)
    async with Whole(session) as whole:
        _check_variables(session, loading)
        parts = {c: _Part(c, await writer.connection(c)) for c in sorted(loading.clusters)}
        lines = await _Lines.of(session, loading, parts)
        name = await _begin(loading, parts)
        incoming = _Incoming(session.client)
        session.client.send(b"\xfb" + name)
        upload = session.client.receive_file(incoming.take, incoming.end)
        try:
            async for piece in incoming.pieces():
                await lines.pass_on(piece)
            await lines.end()
            await _ended(parts)
        except BaseException:
            if session.closed:
                raise
            upload.discard()
            session.client.start_reading()
            await _ended(parts, failed=True)
            await upload.finished
            raise
        first_id = await _count(writer, loading, parts, lines)
        if loading.variables:
            _keep_variables(session, loading, parts, lines)
        await whole.commit()
    if first_id:
        session.last_insert_id = first_id
    writer.answer()


async def _begin(loading: Loading, parts: dict[str, _Part]) -> bytes:
    """Every cluster is sent the statement. Returns the name of the file that they ask for. Raises TurnoutError."""
    command = encode(bytes((com.COM_QUERY,)) + loading.text, 0)
    for part in parts.values():
        part.connection.send(command, part, LOAD)
    answers = await asyncio.gather(*(part.asked for part in parts.values()), return_exceptions=True)
    if all(isinstance(answer, bytes) for answer in answers):
        name = answers[0]
        assert isinstance(name, bytes)
        return name
    await _ended(parts, failed=True)
    for part in parts.values():
        part.check()
    raise ServerFailed("The clusters answered LOAD DATA LOCAL without asking for a file")


async def _ended(parts: dict[str, _Part], failed: bool = False) -> None:
    """Wait until all clusters have answered. Raises the first failure, unless it is known that there is one."""
    for part in parts.values():
        part.finish()
    await asyncio.gather(*(part.ended for part in parts.values()), return_exceptions=True)
    if not failed:
        for part in parts.values():
            part.check()


async def _count(writer: Writer, loading: Loading, parts: dict[str, _Part], lines: _Lines) -> int:
    """Add up what the clusters have said. Returns the first id that was made for a row that is there now."""
    counted = list(parts.values()) if loading.key is not None else list(parts.values())[:1]
    for part in counted:
        writer.tally.add(part.connection)
    found: list[tuple[int, Row]] = []
    for part in parts.values():
        scanner = part.connection.scanner
        if scanner.session_state:
            writer.session.observe(part.connection, scanner.session_state)
        if scanner.warnings and part in counted:
            rows = diagnostics_rows(await part.connection.command(b"\x03SHOW WARNINGS"))
            found += lines.numbered(part, rows)
    found.sort(key=lambda pair: pair[0])
    writer.tally.messages.extend(row for _, row in found[:_MOST_WARNINGS])
    first = 0
    if lines.runs:
        assert loading.ids is not None
        first = lines.runs[0].first if writer.tally.affected == lines.rows else await _first_made(loading, parts, lines)
    return first


async def _first_made(loading: Loading, parts: dict[str, _Part], lines: _Lines) -> int:
    assert loading.ids is not None
    column, table = quoted(loading.ids.column), quoted(loading.database, loading.table)
    for run in lines.runs:
        between = f"{column} BETWEEN {run.first} AND {run.first + run.count - 1}"
        found = []
        for part in parts.values():
            rows = await part.connection.query(f"SELECT MIN({column}) FROM {table} WHERE {between}")
            if rows[0][0] is not None:
                found.append(int(rows[0][0]))
        if found:
            return min(found)
    return 0


def _check_variables(session: Session, loading: Loading) -> None:
    """User variables for fields have the last line's values afterwards, on the cluster that it went to, where the
    session then stays. Raises StatementRefused where others are kept elsewhere."""
    if not loading.variables:
        return
    for cluster, reason in session.pinned.items():
        if reason != _PIN or not session.file_variables <= loading.variables:
            why = f"sets user variables, and the session has others on cluster {cluster}, where it is pinned ({reason})"
            raise refusals.LOAD_TIED.error(table=loading.label, why=why)


def _keep_variables(session: Session, loading: Loading, parts: dict[str, _Part], lines: _Lines) -> None:
    if lines.last is None:
        return
    session.pinned.clear()  # what was kept there has been set anew
    for part in parts.values():
        part.connection.dirty = part.connection.dirty or _PIN
    pin(session, lines.last.connection, _PIN)
    session.file_variables = loading.variables


class _Part:
    """One cluster's share: the sink of its LOAD DATA LOCAL."""

    def __init__(self, cluster: str, connection: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        self.cluster = cluster
        self.connection = connection
        self.asked: asyncio.Future[bytes] = loop.create_future()  # the file's name
        self.ended: asyncio.Future[None] = loop.create_future()
        self._request = b""
        self._sequence = _FIRST_PACKET
        self._finished = False  # the whole file is sent
        self._room: asyncio.Future[None] | None = None

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self._request += data

    def on_file_asked(self, connection: ServerConnection) -> None:
        if not self.asked.done():
            self.asked.set_result(self._request[5:])
        connection.writable = self._wake

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        self._end(None)

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        self._end(error)

    def _end(self, error: TurnoutError | None) -> None:
        self.connection.forget_writable()
        for future in (self.asked, self.ended):
            if not future.done():
                if error is not None:
                    future.set_exception(error)
                    future.exception()  # seen: `check` tells
                elif future is self.ended:
                    self.ended.set_result(None)
                else:
                    self.asked.cancel()
        self._wake()

    def check(self) -> None:
        """Raises TurnoutError where the answer is an error."""
        self.ended.result()
        if self.connection.scanner.errno:
            raise server_error(self.connection.scanner.error)

    def write(self, contents: bytes) -> None:
        packets, self._sequence = file_packets(contents, self._sequence)
        self.connection.write_more(packets)

    async def drained(self) -> None:
        """Wait until the server has taken enough for more to be sent. Raises TurnoutError where it has ended."""
        while self.connection.write_paused and not self.ended.done():
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        if self.ended.done():
            self.check()
            raise ServerFailed(f"{self.connection.where} answered before it had the whole file")

    def _wake(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def finish(self) -> None:
        """There are no more lines."""
        waits = self.asked.done() and not self.asked.cancelled() and self.asked.exception() is None
        if waits and not self._finished and not self.ended.done():
            self._finished = True
            self.connection.write_more(file_packets(b"", self._sequence)[0])


class _Incoming:
    """The client's file as it comes, in pieces that wait to be looked at."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: list[bytes] = []
        self._size = 0
        self._over = False
        self._more: asyncio.Future[None] | None = None

    def take(self, contents: bytes) -> None:
        self._waiting.append(contents)
        self._size += len(contents)
        if self._size > _AHEAD:
            self._client.stop_reading()
        self._wake()

    def end(self) -> None:
        self._over = True
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, None
        if more is not None and not more.done():
            more.set_result(None)

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            if self._waiting:
                data = b"".join(self._waiting)
                self._waiting.clear()
                for start in range(0, len(data), _PIECE):
                    yield data[start : start + _PIECE]
                    await asyncio.sleep(0)
                self._size = sum(map(len, self._waiting))
                if not self._over:
                    self._client.start_reading()
            elif self._over:
                return
            else:
                self._more = asyncio.get_running_loop().create_future()
                await self._more


class _Lines:
    """The file's lines on their way to the clusters."""

    def __init__(self, session: Session, loading: Loading, parts: dict[str, _Part], charset: str) -> None:
        self._session = session
        self._loading = loading
        self._parts = parts
        self._charset = charset
        self._numbers = {cluster: number for number, cluster in enumerate(parts)}
        self._went = bytearray()  # which part each line went to
        self._clusters: dict[bytes, _Part] = {}  # by the key's field
        self._zero_is_a_value = "NO_AUTO_VALUE_ON_ZERO" in session.sql_mode
        self._unsent: Run | None = None  # ids that were made for lines that are about to be sent
        self.runs: list[Run] = []
        self.last: _Part | None = None
        self.sequence: IdSequence | None = None
        if loading.ids is not None:
            assert session.environment.sequences is not None
            self.sequence = session.environment.sequences.of(loading.ids.sequence)
        self._reader: LineReader | None = None
        if loading.form is not None:
            longest = session.client.listener.rules.limits.max_packet
            self._reader = LineReader(loading.form, charset, loading.count, loading.wanted, longest)
        wanted = loading.wanted
        self._key_at = wanted.index(loading.key.at) if loading.key is not None and loading.key.at is not None else None
        self._id_at = wanted.index(loading.ids.at) if loading.ids is not None and loading.ids.at is not None else None

    @classmethod
    async def of(cls, session: Session, loading: Loading, parts: dict[str, _Part]) -> _Lines:
        """Raises TurnoutError where the file's character set does not let lines be told apart, or differs."""
        charset = loading.charset
        if not charset:
            found = set()
            for part in parts.values():
                rows = await part.connection.query("SELECT @@session.character_set_database LIMIT 1")
                found.add((rows[0][0] or b"").decode())
            if len(found) > 1:
                why = f"clusters differ in the character set of the database ({', '.join(sorted(found))})"
                raise refusals.LOAD_FORMAT.error(table=loading.label, why=why)
            charset = found.pop()
        problem = charset_problem(charset) if loading.form is not None else ""
        if problem:
            raise refusals.LOAD_FORMAT.error(table=loading.label, why=problem)
        return cls(session, loading, parts, charset)

    @property
    def rows(self) -> int:
        return self._reader.rows if self._reader is not None else 0

    async def pass_on(self, piece: bytes) -> None:
        """A piece of the file goes where it belongs. Raises TurnoutError."""
        if self._reader is None or self._loading.key is None:
            if self._reader is not None:
                self._check_copies(self._read(piece))
            for part in self._parts.values():
                part.write(piece)
        else:
            await self._place(self._read(piece))
        for part in self._parts.values():
            await part.drained()

    async def end(self) -> None:
        """There is no more of the file. Raises TurnoutError."""
        if self._reader is not None:
            rest = self._reader.end()
            if self._loading.key is None:
                self._check_copies(rest)
            elif rest:
                await self._place(rest)

    def _read(self, piece: bytes) -> list[Line]:
        assert self._reader is not None
        try:
            return self._reader.feed(piece)
        except Unreadable as error:
            raise self._refused(self.rows + 1, f"is not certain: {error.message}") from None

    def _refused(self, number: int, why: str) -> StatementRefused:
        return refusals.LOAD_LINE.error(line=str(number), table=self._loading.label, why=why)

    # -- every line to its shard

    async def _place(self, lines: list[Line]) -> None:
        first = self.rows - len(lines) + 1
        made = await self._ids(first, lines)
        shares: dict[_Part, list[bytes]] = defaultdict(list)
        went = bytearray()
        assert self._loading.form is not None
        by = self._loading.form.terminated
        for number, (line, own) in enumerate(zip(lines, made), first):
            part = self._part(number, line, own)
            self.last = part
            text = line.text
            if own is not None:
                if self._id_at is None:
                    text = b"%d%b%b" % (own, by, text)
                else:
                    cell = line.cells[self._id_at]
                    assert cell is not None
                    text = b"%b%d%b" % (text[: cell.start], own, text[cell.end :])
            shares[part].append(text)
            went.append(self._numbers[part.cluster])
        if len(self._went) < _ROWS_KNOWN:
            self._went += went
        unsent, self._unsent = self._unsent, None
        if unsent is not None:
            await unsent.confirm()
        for part, texts in shares.items():
            part.write(b"".join(texts))

    def _part(self, number: int, line: Line, made: int | None) -> _Part:
        key = self._loading.key
        assert key is not None
        if self._key_at is None or (made is not None and self._key_at == self._id_at):
            assert made is not None
            value = b"%d" % made
        else:
            cell = line.cells[self._key_at]
            if cell is None or cell.value is None:
                raise self._refused(number, f"has no value for {key.column}, by which it is sharded")
            value = cell.value
        found = self._clusters.get(value)
        if found is None:
            text = key.text(value, self._charset)
            if text is None:
                shown = value[:40].decode("utf-8", "replace")
                raise self._refused(
                    number, f"has a value for {key.column} whose shard is not certain ({shown!r}; docs/SQL.md)"
                )
            cluster = key.placement.cluster(text)
            if cluster is None:
                raise self._refused(
                    number,
                    f"has a value for {key.column} that the sharding {key.placement.sharding.name} does not list",
                )
            if len(self._clusters) >= _KEPT_KEYS:
                self._clusters.clear()
            found = self._clusters[value] = self._parts[cluster]
        return found

    async def _ids(self, first: int, lines: Sequence[Line]) -> list[int | None]:
        """The ids that Turnout makes for lines; None for those that have their own, or where there are none."""
        sequence, of = self.sequence, self._loading.ids
        if sequence is None or of is None:
            return [None] * len(lines)
        given: list[int | None] = [None] * len(lines)
        if self._id_at is not None:
            given = [self._given(number, line.cells[self._id_at]) for number, line in enumerate(lines, first)]
        own = [number for number in given if number is not None]
        self._session.waiting = True  # KILL QUERY ends it
        try:
            if own:
                await sequence.admit(own)
            if len(own) == len(lines):
                return [None] * len(lines)
            run = await sequence.take(len(lines) - len(own))
        finally:
            self._session.waiting = False
        self._unsent = run
        self.runs.append(run)
        made = iter(range(run.first, run.first + run.count))
        return [next(made) if number is None else None for number in given]

    def _given(self, number: int, cell: Cell | None) -> int | None:
        of = self._loading.ids
        assert of is not None
        if cell is None:
            raise self._refused(number, f"ends before the field of {of.column}")
        value = cell.value
        if value is None or (value == b"0" and not self._zero_is_a_value):
            return None
        if not _INTEGER.fullmatch(value):
            raise self._refused(
                number, f"has a value for the AUTO_INCREMENT column {of.column} that is no whole number"
            )
        if of.only_made:
            raise self._refused(
                number,
                f"gives {of.column} a value: a row with the same may be on another shard, where it would not be met. "
                f"Leave it out (or NULL)",
            )
        return int(value)

    # -- every line to all

    def _check_copies(self, lines: list[Line]) -> None:
        first = self.rows - len(lines) + 1
        for number, line in enumerate(lines, first):
            for cell in line.cells:
                if cell is None or cell.value is None or not cell.value.strip(b"0"):
                    raise self._refused(number, "gives NULL or 0 to a column that every server would then fill in")

    # -- warnings

    def numbered(self, part: _Part, rows: Sequence[Row]) -> list[tuple[int, Row]]:
        """A cluster's warnings with the number of the line in the whole file."""
        mine = self._numbers[part.cluster]
        found: list[tuple[int, Row]] = []
        last = 0
        at = counted = 0  # so many lines of the file, of which so many went there
        for row in rows:
            match = _AT_ROW.search(row[2] or b"")
            if match is not None and self._went:
                wanted = int(match.group())
                if wanted < counted:
                    at = counted = 0
                while counted < wanted and at >= 0:
                    at = self._went.find(mine, at) + 1
                    if not at:
                        break
                    counted += 1
                if at:
                    last = at
                    row = [row[0], row[1], _AT_ROW.sub(b"%d" % at, row[2] or b"", count=1)]
                else:
                    counted = wanted + 1  # beyond what is remembered
            found.append((last, row))
        return found
