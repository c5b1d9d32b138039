"""LOAD DATA LOCAL into a table on several clusters: the client's file is read once, and becomes one for each of them.

All clusters are given the statement at once, and ask for their files, before the client is asked for its own: what is
wrong with the statement is so found out before anything is sent. Then lines are passed on as they come, and the client
is not read while any server does not take its part. All of it is one transaction: a line that cannot be placed, or a
server that fails, undoes the rest, after the client has got rid of its file.

The keys of a directory are looked up, and new ones entered, by batches of lines. What is confirmed when the statement
is sent holds until it ends: whoever moves a key waits for all statements that had begun (docs/RULES.md, step 3).
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from parser.rewrite import quoted
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front.answers import diagnostics_rows
from proxy.front.environment import Entry
from proxy.front.file_parts import FilePart, IncomingFile
from proxy.front.guard import confirm, learn
from proxy.front.key_list import Writer
from proxy.front.line_numbers import LineNumbers
from proxy.front.sequences import IdSequence, Run
from proxy.front.session import Session
from proxy.front.statements import pin
from proxy.front.whole import Whole
from proxy.plan import refusals
from proxy.plan.file_lines import Cell, Line, LineReader, Unreadable, charset_problem
from proxy.plan.load_data import KeyField, Loading
from proxy.wire import command as com
from proxy.wire.frames import encode
from proxy.wire.response import LOAD
from proxy.wire.resultset import Row

_MOST_WARNINGS = 64
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,19}")
_KEPT_KEYS = 100_000  # at the beginning of a batch
_PIN = "file variable"


async def load_spread(session: Session, entry: Entry, loading: Loading) -> None:
    """Carry out the statement and answer the client. Raises TurnoutError: then nothing of it is done."""
    session.client.edit()
    writer = Writer(session, entry)
    async with Whole(session) as whole:
        _check_variables(session, loading)
        parts = {c: FilePart(n, await writer.connection(c)) for n, c in enumerate(sorted(loading.clusters))}
        lines = await _Lines.of(session, loading, parts)
        name = await _begin(session, loading, parts)
        incoming = IncomingFile(session.client)
        session.client.send(b"\xfb" + name)
        upload = session.client.receive_file(incoming.take, incoming.end)
        try:
            async for piece in incoming.pieces():
                await lines.pass_on(piece)
            await lines.end()
            await _ended(parts)
            lines.check()
        except BaseException as error:
            if session.closed:
                raise
            upload.discard()
            session.client.start_reading()
            await _ended(parts)
            await upload.finished
            if isinstance(error, ServerFailed):  # of several clusters, the one whose mistake comes first in the file
                lines.check()
            raise
        first_id = await _count(writer, loading, parts, lines)
        if loading.variables:
            _keep_variables(session, loading, parts, lines)
        await whole.commit()
    if first_id:
        session.last_insert_id = first_id
    writer.answer()


async def _begin(session: Session, loading: Loading, parts: dict[str, FilePart]) -> bytes:
    """Every cluster is sent the statement. Returns the name of the file that they ask for. Raises TurnoutError."""
    command = encode(bytes((com.COM_QUERY,)) + loading.text, 0)
    await confirm(session, *(part.connection for part in parts.values()))
    for part in parts.values():
        part.connection.send(command, part, LOAD)
    names = await asyncio.gather(*(part.asked for part in parts.values()))
    if None not in names:
        name = names[0]
        assert name is not None
        return name
    await _ended(parts)
    failures = [part.failure for part in parts.values() if part.failure is not None]
    raise failures[0] if failures else ServerFailed("The clusters answered LOAD DATA LOCAL without asking for a file")


async def _ended(parts: dict[str, FilePart]) -> None:
    """All clusters have their files, and have answered."""
    for part in parts.values():
        part.finish()
    await asyncio.gather(*(part.ended for part in parts.values()))


async def _count(writer: Writer, loading: Loading, parts: dict[str, FilePart], lines: _Lines) -> int:
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
            told = lines.told(part, [row[2] or b"" for row in rows])
            found += [(line, [row[0], row[1], message]) for row, (line, message) in zip(rows, told)]
    found.sort(key=lambda pair: pair[0])
    writer.tally.messages.extend(row for _, row in found[:_MOST_WARNINGS])
    first = 0
    if lines.runs:
        assert loading.ids is not None
        first = lines.runs[0].first if writer.tally.affected == lines.rows else await _first_made(loading, parts, lines)
    return first


async def _first_made(loading: Loading, parts: dict[str, FilePart], lines: _Lines) -> int:
    assert loading.ids is not None
    column, table = quoted(loading.ids.column), quoted(loading.database, loading.table)
    for run in lines.runs:
        between = f"{column} BETWEEN {run.first} AND {run.first + run.count - 1}"
        found = []
        for part in parts.values():
            least = await part.connection.number(f"SELECT MIN({column}) FROM {table} WHERE {between} LIMIT 1")
            if least is not None:
                found.append(least)
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


def _keep_variables(session: Session, loading: Loading, parts: dict[str, FilePart], lines: _Lines) -> None:
    if lines.last is None:
        return
    session.pinned.clear()  # what was kept there has been set anew
    for part in parts.values():
        part.connection.dirty = part.connection.dirty or _PIN
    pin(session, lines.last.connection, _PIN)
    session.file_variables = loading.variables


class _Lines:
    """The file's lines on their way to the clusters."""

    def __init__(self, session: Session, loading: Loading, parts: dict[str, FilePart], charset: str) -> None:
        self._session = session
        self._loading = loading
        self._parts = parts
        self._charset = charset
        self._went = LineNumbers()
        self._clusters: dict[bytes, FilePart] = {}  # by the key's field as it stands
        self._zero_is_a_value = "NO_AUTO_VALUE_ON_ZERO" in session.sql_mode
        self._unsent: Run | None = None  # ids that were made for lines that are about to be sent
        self.runs: list[Run] = []
        self.last: FilePart | None = None
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
    async def of(cls, session: Session, loading: Loading, parts: dict[str, FilePart]) -> _Lines:
        """Raises TurnoutError where the file's character set does not let lines be told apart, or differs."""
        charset = loading.charset
        if not charset:
            found = set()
            for part in parts.values():
                (name,) = await part.connection.row("SELECT @@session.character_set_database LIMIT 1")
                found.add((name or b"").decode("utf-8", "replace"))
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

    def told(self, part: FilePart, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """What a cluster says, each with the number of the line in the whole file; 0 where it names none."""
        return self._went.told(part.number, messages)

    def check(self) -> None:
        """All clusters have answered. Raises TurnoutError: the first failure, by the file's lines."""
        found: list[tuple[int, TurnoutError]] = []
        for part in self._parts.values():
            failure = part.failure
            if failure is not None:
                ((line, message),) = self.told(part, [failure.message.encode("utf-8", "surrogateescape")])
                text = message.decode("utf-8", "surrogateescape")
                found.append((line, ServerFailed(text, failure.errno, failure.sqlstate)))
        if found:
            raise min(found, key=lambda pair: pair[0])[1]

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
        if len(self._clusters) >= _KEPT_KEYS:
            self._clusters.clear()
        key = self._loading.key
        if key is not None and key.placement.directory is not None:
            await learn(self._session, key.placement, self._new_keys(key, lines, made), new=True)
        shares: dict[FilePart, list[bytes]] = defaultdict(list)
        went = bytearray()
        assert self._loading.form is not None
        by = self._loading.form.terminated
        key_at, id_at, known = self._key_at, self._id_at, self._clusters
        for number, (line, own) in enumerate(zip(lines, made), first):
            text, cells = line
            part = None
            if key_at is not None and (own is None or key_at != id_at):
                cell = cells[key_at]
                if cell is not None and not cell.cut:
                    part = known.get(cell.text)
            if own is not None and id_at is None:
                text = b"%d%b%b" % (own, by, text)
            elif own is not None and id_at is not None:
                cell = cells[id_at]
                assert cell is not None
                text = b"%b%d%b" % (text[: cell.start], own, text[cell.end :])
            if part is None:
                part = self._part(number, line, own)
            shares[part].append(text)
            went.append(part.number)
        if lines:
            self.last = part
        self._went.add(bytes(went))
        unsent, self._unsent = self._unsent, None
        if unsent is not None:
            await unsent.confirm()
        for part, texts in shares.items():
            part.write(b"".join(texts))

    def _new_keys(self, key: KeyField, lines: Sequence[Line], made: Sequence[int | None]) -> Iterator[bytes | None]:
        """The keys of lines whose shards are not known yet; `_part` says what is wrong with others."""
        for line, own in zip(lines, made):
            if self._key_at is None or (own is not None and self._key_at == self._id_at):
                yield key.text(b"%d" % own, self._charset) if own is not None else None
                continue
            cell = line.cells[self._key_at]
            if cell is not None and (cell.cut or cell.text not in self._clusters):
                value = self._value(cell)
                yield key.text(value, self._charset) if value is not None else None

    def _part(self, number: int, line: Line, made: int | None) -> FilePart:
        key = self._loading.key
        assert key is not None
        cell = None
        if self._key_at is None or (made is not None and self._key_at == self._id_at):
            assert made is not None
            value = b"%d" % made
        else:
            cell = line.cells[self._key_at]
            found = self._value(cell) if cell is not None else None
            if found is None:
                raise self._refused(number, f"has no value for {key.column}, by which it is sharded")
            value = found
        text = key.text(value, self._charset)
        if text is None:
            shown = value[:40].decode("utf-8", "replace")
            raise self._refused(
                number, f"has a value for {key.column} whose shard is not certain ({shown!r}; docs/SQL.md)"
            )
        cluster = key.placement.cluster(text)
        if cluster is None:
            raise self._refused(
                number, f"has a value for {key.column} that the sharding {key.placement.sharding.name} does not list"
            )
        part = self._parts[cluster]
        if cell is not None and not cell.cut:
            self._clusters[cell.text] = part
        return part

    def _value(self, cell: Cell) -> bytes | None:
        assert self._reader is not None
        return self._reader.value(cell)

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
        value = self._value(cell)
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
                value = self._value(cell) if cell is not None else None
                if value is None or not value.strip(b"0"):
                    raise self._refused(number, "gives NULL or 0 to a column that every server would then fill in")
