"""One connection of a server that says what it was asked in every answer, if it answers at all."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field

from proxy.wire import auth, frames, packets
from proxy.wire import capability as cap
from proxy.wire import command as com
from proxy.wire.column import ColumnDefinition, encode_column, int_column, text_column
from proxy.wire.frames import FrameReader
from proxy.wire.handshake import NATIVE, Greeting
from proxy.wire.lenenc import write_bytes, write_int
from proxy.wire.resultset import encode_row
from proxy.wire.status import (
    AUTOCOMMIT,
    CURSOR_EXISTS,
    IN_TRANS,
    LAST_ROW_SENT,
    MORE_RESULTS,
    SESSION_STATE_CHANGED,
)
from tests.fuzz.fake_cluster import (
    OUT_OF_PLACE,
    OUTSIDE,
    TAG,
    UNDONE,
    UNKNOWN,
    XA,
    Branch,
    FakeCluster,
    Refused,
    State,
    Work,
)
from tests.fuzz.virtual import End
from tests.wire.fuzz_wire import cut, mutate_stream

VERSION = "10.11.6-MariaDB"
CAPABILITIES = (
    cap.PROTOCOL_41
    | cap.SECURE_CONNECTION
    | cap.PLUGIN_AUTH
    | cap.PLUGIN_AUTH_LENENC
    | cap.CONNECT_WITH_DB
    | cap.CONNECT_ATTRS
    | cap.LONG_PASSWORD
    | cap.LONG_FLAG
    | cap.TRANSACTIONS
    | cap.LOCAL_FILES
    | cap.FOUND_ROWS
    | cap.IGNORE_SPACE
    | cap.NO_SCHEMA
    | cap.MULTI_STATEMENTS
    | cap.MULTI_RESULTS
    | cap.PS_MULTI_RESULTS
    | cap.SESSION_TRACK
)
ERRORS = ((1064, "42000"), (1205, "HY000"), (1213, "40001"), (1317, "70100"), (1146, "42S02"), (1062, "23000"))
TRACKED = ("autocommit", "sql_mode", "character_set_client", "character_set_connection", "character_set_results")
_NO_ANSWER = (com.COM_STMT_CLOSE, com.COM_STMT_SEND_LONG_DATA)
_COMMENTS = re.compile(rb"^(\s|/\*.*?\*/|\()*", re.DOTALL)
_FOR = re.compile(rb"^SET STATEMENT .*? FOR ")
_ASSIGNED = re.compile(rb"\b(\w{1,64}+)\s*=\s*('[^']*'|\w+)")
_READ = re.compile(rb"SELECT ((?:@@[\w.]+,?\s*)+)(?: LIMIT 1)?\s*\Z")
_WRITES = (b"INSERT", b"UPDATE", b"DELETE", b"REPLACE")
_ENDS = (b"BEGIN", b"START TRANSACTION", b"COMMIT", b"ROLLBACK", b"CREATE", b"LOCK TABLES")  # a transaction
_ENDING = re.compile(rb"COMMIT|ROLLBACK|XA (?:PREPARE|COMMIT|ROLLBACK)|INSERT INTO turnout")
_ROWS = (b"SELECT", b"SHOW", b"EXPLAIN", b"DESCRIBE", b"DESC", b"WITH", b"VALUES", b"TABLE", b"CHECK")


@dataclass(slots=True)
class Manners:
    """How servers behave in one round."""

    lie: float = 0.0  # share of answers that are changed on their way
    lose: float = 0.0  # share of commands at which the connection is lost, carried out or not
    lose_ends: float = 0.0  # the same of those that end a transaction
    fail: float = 0.0  # share of statements that end with an error
    slow: float = 0.0  # share of answers that take seconds
    many: float = 0.0  # share of results that are long
    running: dict[int, FakeServer] = field(default_factory=dict)  # by thread id
    threads: int = 0
    clusters: dict[str, FakeCluster] = field(default_factory=dict)

    def cluster(self, host: str) -> FakeCluster:
        return self.clusters.setdefault(host, FakeCluster(len(self.clusters) + 1))


class FakeServer:
    """See the module."""

    def __init__(self, end: End, manners: Manners, rng: random.Random, host: str) -> None:
        self._end = end
        self._cluster = manners.cluster(host)
        self._work = Work()
        self._branch: Branch | None = None
        self._variables = {b"sql_mode": b"", b"innodb_lock_wait_timeout": b"50"}
        self._manners = manners
        self._rng = rng
        self._status = AUTOCOMMIT
        self._prepared: dict[int, bytes] = {}
        self._cursors: dict[int, list[bytes]] = {}  # rows to be fetched, by statement
        self._next_statement = 1
        self._lied = False
        self._killed = asyncio.Event()
        self._reader = FrameReader(1 << 26)
        self._commands: list[bytes] = []
        manners.threads += 1
        self.thread_id = manners.threads
        manners.running[self.thread_id] = self

    async def run(self) -> None:
        try:
            if await self._login():
                await self._serve()
        finally:
            del self._manners.running[self.thread_id]
            self._cluster.end(self._work, False)
            if self._branch is not None:
                self._cluster.let_go(self._branch)
            self._end.hang_up()

    async def _command(self) -> bytes | None:
        while not self._commands:
            try:
                # An answer with a lie in it may have no end, and be waited for: the server goes away.
                async with asyncio.timeout(3 if self._lied else None):
                    data = await self._end.received()
            except TimeoutError:
                data = b""
            if not data:
                return None
            self._commands += [payload for payload, _ in self._reader.feed(data)]
        return self._commands.pop(0)

    async def _send(self, stream: list[bytes], lost: bool = False) -> bool:
        """`lost`: the connection is, on the way. False: it is over."""
        rng = self._rng
        data = b"".join(stream)
        if rng.random() < self._manners.lie:
            data, self._lied = mutate_stream(stream, rng), True
        pieces = cut(data, rng) if rng.random() < 0.3 else [data]
        if lost:
            pieces = pieces[: rng.randrange(len(pieces) + 1)]
            for piece in pieces:
                self._end.deliver(piece)
            return False
        for piece in pieces:
            self._end.deliver(piece)
            if len(pieces) < 20:
                await asyncio.sleep(rng.choice((0, 0, 0.001)))
        return not self._end.lost

    async def _login(self) -> bool:
        scramble = auth.new_scramble()
        greeting = Greeting(VERSION, self.thread_id, scramble, CAPABILITIES, 45, AUTOCOMMIT, NATIVE)
        lost = self._rng.random() < self._manners.lose
        if not await self._send([frames.encode(greeting.encode(), 0)], lost and self._rng.random() < 0.5):
            return False
        if await self._command() is None:
            return False
        return await self._send([frames.encode(packets.encode_ok(), 2)], lost)

    async def _serve(self) -> None:
        manners = self._manners
        while (payload := await self._command()) is not None:
            if not payload or payload[0] == com.COM_QUIT:
                return
            if payload[0] in _NO_ANSWER:
                if payload[0] == com.COM_STMT_CLOSE:
                    self._cursors.pop(int.from_bytes(payload[1:5], "little"), None)
                continue
            own = b"session_track" in payload
            if not own and self._rng.random() < self._manners.slow:
                await self._wait(2.0)
            lost = self._rng.random() < (manners.lose_ends if _ENDING.match(payload, 1) else manners.lose)
            if lost and self._rng.random() < 0.5:
                return
            answer = await self._answer(payload, self._killed.is_set() and not own)
            self._killed.clear()
            if answer is None or not await self._send(answer, lost):
                return

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._killed.wait()
        except TimeoutError:
            pass

    # -- answers -----------------------------------------------------------------------------------------------------

    async def _answer(self, payload: bytes, killed: bool) -> list[bytes] | None:
        rng, code = self._rng, payload[0]
        sure = payload[1:].startswith((b"BEGIN", b"START TRANSACTION"))  # nothing makes a server refuse these
        if killed and not sure:
            return self._error(1317, "70100", payload)
        if code in (com.COM_QUERY, com.COM_STMT_EXECUTE, com.COM_STMT_PREPARE, com.COM_INIT_DB):
            own = b"session_track" in payload
            if not own and not sure and rng.random() < self._manners.fail:
                return self._fails(payload)
        if code == com.COM_QUERY:
            return await self._carried_out(payload, payload[1:], False)
        if code == com.COM_STMT_PREPARE:
            return self._prepare(payload[1:])
        number = int.from_bytes(payload[1:5], "little")
        if code in (com.COM_STMT_EXECUTE, com.COM_STMT_RESET):
            self._cursors.pop(number, None)
        if code == com.COM_STMT_FETCH:
            return self._fetch(number, int.from_bytes(payload[5:9], "little"), payload)
        if code == com.COM_STMT_EXECUTE:
            text = self._prepared.get(number)
            if text is not None and payload[5] & 1:
                return self._opened(number, await self._carried_out(payload, text, True))
            return self._error(1243, "HY000", payload) if text is None else await self._carried_out(payload, text, True)
        if code == com.COM_FIELD_LIST:
            return self._framed([encode_column(text_column("c")) + b"\xfb", packets.encode_eof(0, self._status)])
        if code == com.COM_STATISTICS:
            return self._framed([b"Uptime: 1"])
        if code == com.COM_SET_OPTION:
            return self._framed([packets.encode_eof(0, self._status)])
        return self._ok()

    def _framed(self, payloads: list[bytes], first: int = 1) -> list[bytes]:
        return [frames.encode(payload, number & 0xFF) for number, payload in enumerate(payloads, first)]

    def _opened(self, number: int, answer: list[bytes] | None) -> list[bytes] | None:
        """The beginning of a result, whose rows are kept; any other answer as it is."""
        if answer is None or answer[0][4] in (0x00, 0xFF) or len(answer) < 4 or answer[-1][4] != 0xFE:
            return answer
        ends = [at for at, packet in enumerate(answer) if packet[4] == 0xFE and len(packet) == 9]
        if len(ends) != 2:
            return answer
        self._cursors[number] = [packet[4:] for packet in answer[ends[0] + 1 : ends[1]]]
        return [*answer[: ends[0]], self._framed([packets.encode_eof(0, self._status | CURSOR_EXISTS)], ends[0] + 1)[0]]

    def _fetch(self, number: int, count: int, payload: bytes) -> list[bytes]:
        rows = self._cursors.get(number)
        if rows is None:
            return self._error(1421, "HY000", payload)
        found, self._cursors[number] = rows[:count], rows[count:]
        last = 0 if self._cursors[number] else LAST_ROW_SENT
        if last:
            del self._cursors[number]
        return self._framed([*found, packets.encode_eof(0, self._status | (last or CURSOR_EXISTS))])

    async def _carried_out(self, payload: bytes, text: bytes, binary: bool) -> list[bytes] | None:
        try:
            return await self._query(text, binary)
        except Refused as refused:
            return self._error(refused.errno, refused.sqlstate, payload)

    def _fails(self, payload: bytes) -> list[bytes]:
        """An error that the statement itself has not deserved."""
        errno, sqlstate = self._rng.choice(ERRORS)
        if errno == 1213 and payload.startswith(b"\x03SET"):  # which locks nothing
            errno, sqlstate = 1231, "42000"
        branch = self._branch
        if branch is not None and branch.state is not State.PREPARED:
            xa = XA.match(payload[1:])
            if xa is not None and (xa[1].upper() == b"PREPARE" or xa[3]):  # one that fails undoes the branch
                self._forget(branch, False)
            elif errno == 1213:
                branch.state = State.DOOMED
                self._cluster.end(branch.work, False)
        elif errno == 1213:
            self._ends(False)
        return self._error(errno, sqlstate, payload)

    def _error(self, errno: int, sqlstate: str, about: bytes) -> list[bytes]:
        return self._framed([packets.encode_err(errno, sqlstate, b"An error near " + about[:200])])

    def _ok(self, changed: dict[bytes, bytes] | None = None, insert_id: int = 0) -> list[bytes]:
        if not changed:
            return self._framed([packets.encode_ok(1 if insert_id else 0, insert_id, self._status)])
        state = b"".join(b"\0" + write_bytes(write_bytes(name) + write_bytes(value)) for name, value in changed.items())
        status = (self._status | SESSION_STATE_CHANGED).to_bytes(2, "little")
        return self._framed([b"\0\0\0" + status + b"\0\0" + b"\0" + write_bytes(state)])

    def _prepare(self, text: bytes) -> list[bytes]:
        number, self._next_statement = self._next_statement, self._next_statement + 1
        self._prepared[number] = text
        params = text.count(b"?")
        columns = 1 if _COMMENTS.sub(b"", text).upper().startswith(_ROWS) else 0
        if params > 0xFFFF:
            return self._error(1390, "HY000", b"too many placeholders")
        head = b"\0" + number.to_bytes(4, "little") + columns.to_bytes(2, "little") + params.to_bytes(2, "little")
        payloads = [head + bytes(3)]
        for count in (params, columns):
            if count:
                payloads += [encode_column(text_column("c"))] * count + [packets.encode_eof(0, self._status)]
        return self._framed(payloads)

    async def _query(self, text: bytes, binary: bool) -> list[bytes] | None:
        said = _FOR.sub(b"", _COMMENTS.sub(b"", text.replace(b"/*!50000", b"")))
        up = said.upper()
        xa = XA.match(said)
        if xa is not None:
            self._xa(xa[1].upper(), xa[2], xa[3] is not None)
        elif up.startswith(b"XA RECOVER"):
            return self._result(
                [int_column(name) for name in ("formatID", "gtrid_length", "bqual_length")] + [text_column("data")],
                self._cluster.prepared(),
                False,
            )
        elif up.startswith(b"ROLLBACK TO"):
            pass
        elif up.startswith(_ENDS):
            if self._branch is not None:
                raise Refused(*OUT_OF_PLACE)
            self._ends(not up.startswith(b"ROLLBACK"))
            if up.startswith((b"BEGIN", b"START TRANSACTION")):
                self._status |= IN_TRANS
        elif up.startswith(b"KILL"):
            numbers = re.findall(rb"\d+", said)
            victim = self._manners.running.get(int(numbers[0])) if numbers else None
            if victim is not None:
                victim._killed.set()
        elif up.startswith(b"SET"):
            return self._ok(self._set(said))
        elif up.startswith(b"LOAD DATA LOCAL"):
            return await self._load()
        elif up.startswith(_ROWS):
            return self._rows(said, up, binary)
        elif up.startswith(b"CALL"):
            return self._call(said, binary)
        elif up.startswith(_WRITES):
            await self._write(said)
            return self._ok(insert_id=7 if up.startswith(b"INSERT") else 0)
        return self._ok()

    def _call(self, text: bytes, binary: bool) -> list[bytes]:
        """Some results, at which a cursor of the procedure's own may be open, and an OK."""
        status, answer = self._status, list[bytes]()
        more = MORE_RESULTS | self._rng.choice((0, CURSOR_EXISTS))
        row: bytes = encode_row([text])
        for _ in range(self._rng.choice((0, 1, 2))):
            eof = packets.encode_eof(0, status | more)
            payloads = [write_int(1), encode_column(text_column("c")), eof, b"\0\0" + row if binary else row, eof]
            answer += self._framed(payloads, len(answer) + 1)
        return answer + self._framed([packets.encode_ok(0, 0, status)], len(answer) + 1)

    async def _write(self, text: bytes) -> None:
        branch = self._branch
        if branch is not None and branch.state is not State.ACTIVE:
            raise Refused(*(UNDONE if branch.state is State.DOOMED else OUT_OF_PLACE))
        work = self._work if branch is None else branch.work
        wait_s = self._variables[b"innodb_lock_wait_timeout"]
        if not await self._cluster.decide(text, work, int(wait_s) if wait_s.isdigit() else 50):
            work.tags.update(TAG.findall(text))
        if branch is not None:
            return
        if not self._status & AUTOCOMMIT:
            self._status |= IN_TRANS
        if not self._status & IN_TRANS:
            self._ends(True)

    def _ends(self, commit: bool) -> None:
        """The transaction is over."""
        self._status &= ~IN_TRANS
        self._cluster.end(self._work, commit)

    def _forget(self, branch: Branch, commit: bool) -> None:
        self._cluster.finish(branch, commit)
        if branch is self._branch:
            self._branch = None
            self._status &= ~IN_TRANS

    def _xa(self, verb: bytes, name: bytes, one_phase: bool) -> None:
        """Raises Refused."""
        branch = self._branch
        if verb in (b"START", b"BEGIN"):
            if branch is not None:
                raise Refused(*OUT_OF_PLACE)
            if self._status & IN_TRANS:
                raise Refused(*OUTSIDE)
            self._branch = self._cluster.start(name)
            self._status |= IN_TRANS
            return
        if branch is None or branch.name != name:
            other = self._cluster.branches.get(name)
            if verb in (b"END", b"PREPARE") or other is None or other.attached or one_phase:
                raise Refused(*UNKNOWN)
            if branch is not None or self._status & IN_TRANS:
                raise Refused(*OUT_OF_PLACE)
            self._forget(other, verb == b"COMMIT")
            return
        if branch.state is State.DOOMED and verb != b"ROLLBACK":
            raise Refused(*UNDONE)
        wanted = {
            b"END": (State.ACTIVE,),
            b"PREPARE": (State.IDLE,),
            b"COMMIT": (State.IDLE if one_phase else State.PREPARED,),
            b"ROLLBACK": (State.IDLE, State.PREPARED, State.DOOMED),
        }
        if branch.state not in wanted[verb]:
            raise Refused(*OUT_OF_PLACE)
        if verb == b"END":
            branch.state = State.IDLE
        elif verb == b"PREPARE":
            branch.state = State.PREPARED
            self._status &= ~IN_TRANS
        else:
            self._forget(branch, verb == b"COMMIT")

    def _set(self, text: bytes) -> dict[bytes, bytes]:
        changed = {}
        names = re.search(rb"NAMES\s+(\w+)", text)
        if names is not None:
            for name in TRACKED[2:]:
                changed[name.encode()] = self._variables[name.encode()] = names[1]
        for name, value in _ASSIGNED.findall(text):
            value = value.strip(b"'")
            if name == b"autocommit":
                on = value in (b"1", b"ON")
                if on and not self._status & AUTOCOMMIT and self._branch is None:
                    self._ends(True)
                self._status = (self._status | AUTOCOMMIT) if on else (self._status & ~AUTOCOMMIT)
                value = b"ON" if on else b"OFF"
            self._variables[name] = value
            if name.decode("ascii", "replace") in TRACKED:
                changed[name] = value
        return changed

    def _rows(self, text: bytes, up: bytes, binary: bool) -> list[bytes]:
        if not self._status & AUTOCOMMIT and up.startswith(b"SELECT"):
            self._status |= IN_TRANS
        asked = self._cluster.asked(text)
        if asked is not None:
            return self._result([text_column("c")], asked, binary)
        variables = _READ.match(text)
        if variables is not None:
            names = [name.strip().rpartition(b".")[2].lstrip(b"@") for name in variables[1].split(b",")]
            values: list[bytes | None] = [self._variables.get(name, b"utf8mb4") for name in names]
            return self._result([text_column(name.decode()) for name in names], [values], binary)
        columns = [text_column("c")]
        row: list[bytes | None] = [text[:3000]]
        rows = [row] * self._rng.choice((0, 1, 1, 1, 3))
        if up.startswith((b"SHOW WARNINGS", b"SHOW ERRORS")):
            columns = [text_column("Level"), int_column("Code"), text_column("Message")]
            rows = [[b"Warning", b"1", b"m"]] * self._rng.randrange(3)
        elif b"COUNT(*)" in up or up.startswith((b"SELECT FOUND_ROWS", b"SELECT LAST_INSERT_ID", b"SELECT ROW_COUNT")):
            columns, rows = [int_column("COUNT(*)")], [[b"3"]]
        else:
            rows = rows or [row]
            if self._rng.random() < self._manners.many:
                rows = [row] * 400
        return self._result(columns, rows, binary, self._rng.choice((0, 0, 0, 0, 1)) if up.startswith(b"SELECT") else 0)

    def _result(
        self, columns: list[ColumnDefinition], rows: list[list[bytes | None]], binary: bool, warnings: int = 0
    ) -> list[bytes]:
        status = self._status
        payloads = [write_int(len(columns)), *map(encode_column, columns), packets.encode_eof(0, status)]
        payloads += [b"\0\0" + encode_row(each) if binary else encode_row(each) for each in rows]
        return self._framed([*payloads, packets.encode_eof(warnings, status)])

    async def _load(self) -> list[bytes] | None:
        asked = [frames.encode(b"\xfbx", 1)]
        if not await self._send(asked):
            return None
        number = 2
        while (payload := await self._command()) is not None:
            number += 1
            if not payload:
                return [frames.encode(packets.encode_ok(3, 0, self._status), number & 0xFF)]
        return None
