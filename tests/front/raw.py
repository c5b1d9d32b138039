"""A client that hides nothing: all of an answer that a driver could see is in `Answer`, and nothing is interpreted.

It shares no code with the proxy, so a mistake of the proxy's wire code cannot cancel itself out. What is sent and what
is awaited is written once, as generators ("steps"); `Client` carries them out on a socket, `AsyncClient` on streams.

A step yields what is to be sent (b"": nothing) and is sent the next packet's payload.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import socket
import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[bytes, bytes, T]


class Asked(bytes):
    """Yielded where the other side asks for a file: its name."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A parameter of a type of its own: `data` as the protocol writes it."""

    type: int
    data: bytes
    unsigned: bool = False


Param = int | float | str | bytes | None | Bound

# Capability flags (protocol: "Capabilities Flags").
LONG_PASSWORD, FOUND_ROWS, LONG_FLAG, CONNECT_WITH_DB, LOCAL_FILES = 1, 2, 4, 8, 128
PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION = 1 << 9, 1 << 13, 1 << 15
MULTI_STATEMENTS, MULTI_RESULTS, PS_MULTI_RESULTS, PLUGIN_AUTH = 1 << 16, 1 << 17, 1 << 18, 1 << 19
BASE = LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | MULTI_RESULTS | PS_MULTI_RESULTS
BASE |= PLUGIN_AUTH

# Status flags.
IN_TRANS, AUTOCOMMIT, MORE_RESULTS, NO_BACKSLASH_ESCAPES, IN_TRANS_READONLY = 1, 2, 8, 0x200, 0x2000
CURSOR_EXISTS, LAST_ROW_SENT = 0x40, 0x80

COM_QUIT, COM_INIT_DB, COM_QUERY, COM_FIELD_LIST, COM_STATISTICS = 1, 2, 3, 4, 9
COM_PROCESS_KILL, COM_PING, COM_CHANGE_USER, COM_RESET_CONNECTION = 12, 14, 17, 31
COM_STMT_PREPARE, COM_STMT_EXECUTE, COM_STMT_SEND_LONG_DATA, COM_STMT_CLOSE, COM_STMT_RESET = 22, 23, 24, 25, 26
COM_SET_OPTION, COM_STMT_FETCH = 27, 28

LONGLONG, DOUBLE, NULL, VAR_STRING = 8, 5, 6, 253


class Disconnected(ConnectionError):
    """The other side ended the connection; `where` in the answer it did so is in the message."""


class LoginFailed(Exception):
    def __init__(self, errno: int, message: str) -> None:
        super().__init__(f"{errno}: {message}")
        self.errno = errno
        self.message = message


@dataclass(frozen=True, slots=True)
class Column:
    """A column definition. `length` is the display length."""

    database: bytes
    table: bytes
    org_table: bytes
    name: bytes
    org_name: bytes
    charset: int
    length: int
    type: int
    flags: int
    decimals: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. Rows of the text protocol are tuples of values; of the binary protocol, one tuple of the raw row."""

    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[bytes | None, ...], ...] = ()
    affected_rows: int = 0
    insert_id: int = 0
    status: int = 0
    warnings: int = 0
    info: bytes = b""
    errno: int = 0
    sqlstate: str = ""
    message: str = ""
    more: tuple[Answer, ...] = ()  # further results of the same command

    @property
    def ok(self) -> bool:
        return not self.errno

    @property
    def value(self) -> bytes | None:
        """The first column of the only row."""
        ((value, *_),) = self.checked().rows
        return value

    @property
    def number(self) -> int:
        value = self.value
        assert value is not None
        return int(value)

    def checked(self) -> Answer:
        """Itself, if it is not an error."""
        assert not self.errno, f"{self.errno} ({self.sqlstate}): {self.message}"
        return self

    def __str__(self) -> str:
        if self.errno:
            return f"ERR {self.errno} ({self.sqlstate}) {self.message}"
        if self.columns:
            names = ", ".join(c.name.decode("utf-8", "replace") for c in self.columns)
            head = f"[{names}] {len(self.rows)} rows {list(self.rows[:4])}"
        else:
            head = f"OK affected={self.affected_rows} id={self.insert_id} info={self.info!r}"
        return f"{head} status={self.status:#06x} warnings={self.warnings}" + "".join(
            f"\n      + {a}" for a in self.more
        )


@dataclass(frozen=True, slots=True)
class Statement:
    id: int
    params: int
    columns: tuple[Column, ...]


# -- reading -----------------------------------------------------------------------------------------------------------


class _Cursor:
    def __init__(self, data: bytes, pos: int = 0) -> None:
        self.data = data
        self.pos = pos

    def take(self, n: int) -> bytes:
        found = self.data[self.pos : self.pos + n]
        assert len(found) == n, "a packet ends early"
        self.pos += n
        return found

    def fixed(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def length(self) -> int | None:
        first = self.fixed(1)
        if first == 0xFB:
            return None
        return first if first < 0xFB else self.fixed({0xFC: 2, 0xFD: 3, 0xFE: 8}[first])

    def text(self) -> bytes | None:
        n = self.length()
        return None if n is None else self.take(n)

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.pos)


def _column(packet: bytes) -> Column:
    cursor = _Cursor(packet)
    catalog, database, table, org_table, name, org_name = (cursor.text() or b"" for _ in range(6))
    assert catalog == b"def"
    assert cursor.length() == 12
    charset, length, kind, flags, decimals = (cursor.fixed(n) for n in (2, 4, 1, 2, 1))
    return Column(database, table, org_table, name, org_name, charset, length, kind, flags, decimals)


def _err(packet: bytes) -> Answer:
    assert packet[3:4] == b"#", packet
    return Answer(
        errno=int.from_bytes(packet[1:3], "little"),
        sqlstate=packet[4:9].decode("ascii"),
        message=packet[9:].decode("utf-8", "replace"),
    )


def _ok(packet: bytes) -> Answer:
    cursor = _Cursor(packet, 1)
    affected, insert_id = cursor.length(), cursor.length()
    assert affected is not None
    assert insert_id is not None
    status, warnings = cursor.fixed(2), cursor.fixed(2)
    info = (cursor.text() or b"") if cursor.pos < len(packet) else b""
    assert cursor.pos == len(packet), f"bytes after OK's end: {packet!r}"
    return Answer(affected_rows=affected, insert_id=insert_id, status=status, warnings=warnings, info=info)


def _is_eof(packet: bytes) -> bool:
    return packet[:1] == b"\xfe" and len(packet) < 9


def _result(binary: bool) -> Steps[Answer]:
    packet = yield b""
    if packet[:1] == b"\xfb":
        packet = yield Asked(packet[1:])
    if packet[:1] == b"\xff":
        return _err(packet)
    if packet[:1] == b"\x00":
        return _ok(packet)
    count = _Cursor(packet).length()
    assert count
    columns = []
    for _ in range(count):
        columns.append(_column((yield b"")))
    packet = yield b""
    if packet[:1] == b"\xff":  # a cursor's rows have been found before any of them is sent
        return _err(packet)
    assert _is_eof(packet), packet
    warnings, status = struct.unpack_from("<HH", packet, 1)
    if binary and status & CURSOR_EXISTS and not status & MORE_RESULTS:  # the rows are to be fetched
        return Answer(tuple(columns), status=status, warnings=warnings)
    rows: list[tuple[bytes | None, ...]] = []
    while True:
        packet = yield b""
        if packet[:1] == b"\xff":
            return _err(packet)
        if _is_eof(packet):
            warnings, status = struct.unpack_from("<HH", packet, 1)
            return Answer(tuple(columns), tuple(rows), status=status, warnings=warnings)
        if binary:
            rows.append((packet,))
        else:
            cursor = _Cursor(packet)
            rows.append(tuple(cursor.text() for _ in range(count)))
            assert cursor.pos == len(packet), "a row is longer than its columns"


def _answer(binary: bool = False) -> Steps[Answer]:
    answers = [(yield from _result(binary))]
    while answers[-1].status & MORE_RESULTS and answers[-1].ok:
        answers.append((yield from _result(binary)))
    first, *more = answers
    if not more:
        return first
    return Answer(**{name: getattr(first, name) for name in Answer.__slots__ if name != "more"}, more=tuple(more))


# -- commands ----------------------------------------------------------------------------------------------------------


def command(code: int, argument: bytes = b"", binary: bool = False) -> Steps[Answer]:
    """A command whose answer is OK, ERR or result sets."""
    steps = _answer(binary)
    next(steps)
    packet = yield bytes((code,)) + argument
    while True:
        try:
            out = steps.send(packet)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        packet = yield out


def _scrambled(password: str, scramble: bytes) -> bytes:
    if not password:
        return b""
    once = hashlib.sha1(password.encode()).digest()
    mask = hashlib.sha1(scramble[:20] + hashlib.sha1(once).digest()).digest()
    return bytes(a ^ b for a, b in zip(once, mask))


def login(
    user: str, password: str, database: str | None, flags: int, charset: int, without: int = 0
) -> Steps[tuple[int, bytes]]:
    """Log in with mysql_native_password: (connection id, scramble). `without`: flags that are left out. Raises
    LoginFailed."""
    packet = yield b""
    if packet[:1] == b"\xff":
        raise LoginFailed(int.from_bytes(packet[1:3], "little"), packet[3:].decode("utf-8", "replace"))
    cursor = _Cursor(packet, 1)
    cursor.pos = packet.index(b"\0", 1) + 1
    number = cursor.fixed(4)
    scramble = cursor.take(8)
    cursor.take(1 + 2 + 1 + 2 + 2)
    cursor.take(1 + 10)
    scramble += cursor.take(12)
    flags |= BASE & ~without | (CONNECT_WITH_DB if database is not None else 0)
    answer = _scrambled(password, scramble)
    packet = yield b"".join(
        (
            struct.pack("<IIB23x", flags, 1 << 24, charset),
            user.encode() + b"\0",
            bytes((len(answer),)) + answer,
            database.encode() + b"\0" if database is not None else b"",
            b"mysql_native_password\0",
        )
    )
    scramble = yield from _logged_in(packet, password, scramble)
    return number, scramble


def _logged_in(packet: bytes, password: str, scramble: bytes) -> Steps[bytes]:
    if packet[:1] == b"\xfe":  # auth switch
        plugin, _, data = packet[1:].partition(b"\0")
        assert plugin == b"mysql_native_password", plugin
        scramble = data.rstrip(b"\0")
        packet = yield _scrambled(password, scramble)
    if packet[:1] == b"\xff":
        error = _err(packet)
        raise LoginFailed(error.errno, error.message)
    assert packet[:1] == b"\x00", packet
    return scramble


def change_user(user: str, password: str, database: str, scramble: bytes, charset: int) -> Steps[bytes]:
    """COM_CHANGE_USER: the new scramble. Raises LoginFailed."""
    answer = _scrambled(password, scramble)
    packet = yield b"".join(
        (
            bytes((COM_CHANGE_USER,)),
            user.encode() + b"\0",
            bytes((len(answer),)) + answer,
            database.encode() + b"\0",
            charset.to_bytes(2, "little"),
            b"mysql_native_password\0",
        )
    )
    return (yield from _logged_in(packet, password, scramble))


def prepare(sql: bytes) -> Steps[Statement | Answer]:
    """COM_STMT_PREPARE: the statement, or the error."""
    packet = yield bytes((COM_STMT_PREPARE,)) + sql
    if packet[:1] == b"\xff":
        return _err(packet)
    number, columns, params = struct.unpack_from("<IHH", packet, 1)
    for _ in range(params):
        _column((yield b""))
    if params:
        assert _is_eof((yield b""))
    found = []
    for _ in range(columns):
        found.append(_column((yield b"")))
    if columns:
        assert _is_eof((yield b""))
    return Statement(number, params, tuple(found))


def execute(statement: Statement, params: Sequence[Param], cursor: int = 0) -> Steps[Answer]:
    """COM_STMT_EXECUTE with newly bound parameters."""
    nulls = bytearray((len(params) + 7) // 8)
    types, values = b"", b""
    for i, value in enumerate(params):
        if value is None:
            nulls[i // 8] |= 1 << i % 8
            types += bytes((NULL, 0))
        elif isinstance(value, int):
            types += bytes((LONGLONG, 0))
            values += struct.pack("<q", value)
        elif isinstance(value, float):
            types += bytes((DOUBLE, 0))
            values += struct.pack("<d", value)
        elif isinstance(value, Bound):
            types += bytes((value.type, 0x80 * value.unsigned))
            values += value.data
        else:
            data = value.encode() if isinstance(value, str) else value
            types += bytes((VAR_STRING, 0))
            values += lenenc(len(data)) + data
    head = struct.pack("<IBI", statement.id, cursor, 1)
    bound = bytes(nulls) + b"\1" + types + values if params else b""
    return (yield from command(COM_STMT_EXECUTE, head + bound, binary=True))


def fetch(number: int, rows: int) -> Steps[Answer]:
    """COM_STMT_FETCH of a statement: rows, each as it came, or the error."""
    packet = yield bytes((COM_STMT_FETCH,)) + struct.pack("<II", number, rows)
    found: list[tuple[bytes | None, ...]] = []
    while not _is_eof(packet):
        if packet[:1] == b"\xff":
            return _err(packet)
        found.append((packet,))
        packet = yield b""
    warnings, status = struct.unpack_from("<HH", packet, 1)
    return Answer(rows=tuple(found), status=status, warnings=warnings)


def field_list(table: bytes) -> Steps[tuple[Column, ...] | Answer]:
    """COM_FIELD_LIST: the columns, or the error."""
    packet = yield bytes((COM_FIELD_LIST,)) + table + b"\0"
    columns = []
    while not _is_eof(packet):
        if packet[:1] == b"\xff":
            return _err(packet)
        columns.append(_column(packet))
        packet = yield b""
    return tuple(columns)


def _one_packet(payload: bytes) -> Steps[bytes]:
    return (yield payload)


def lenenc(n: int) -> bytes:
    if n < 0xFB:
        return bytes((n,))
    if n < 1 << 16:
        return b"\xfc" + n.to_bytes(2, "little")
    return b"\xfd" + n.to_bytes(3, "little") if n < 1 << 24 else b"\xfe" + n.to_bytes(8, "little")


def framed(payload: bytes, sequence: int = 0) -> bytes:
    parts = []
    while True:
        piece, payload = payload[:0xFFFFFF], payload[0xFFFFFF:]
        parts.append(len(piece).to_bytes(3, "little") + bytes((sequence & 0xFF,)) + piece)
        sequence += 1
        if len(piece) < 0xFFFFFF:
            return b"".join(parts)


class Client:
    """A connection, logged in. Every wait ends after `timeout_s` with TimeoutError."""

    def __init__(
        self,
        port: int,
        user: str,
        password: str = "",
        database: str | None = None,
        *,
        flags: int = 0,
        without: int = 0,
        charset: int = 45,
        timeout_s: float = 60.0,
    ) -> None:
        self.user = user
        self.password = password
        self.charset = charset
        self.file: Callable[[bytes], Iterable[bytes]] = lambda name: ()  # pieces of a file that is asked for
        self.numbered = False  # are packets to be numbered in turn?
        self._sequence = -1
        self._buffer = b""
        self._read = 0  # bytes of it
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.id, self._scramble = self._drive(login(user, password, database, flags, charset, without), first=False)
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # gone already, which is what we want
            self._socket.sendall(framed(bytes((COM_QUIT,))))
        self._socket.close()

    def abort(self) -> None:
        """Close without saying goodbye."""
        self._socket.close()

    @property
    def socket(self) -> socket.socket:
        return self._socket

    def query(self, sql: str | bytes) -> Answer:
        return self._drive(command(COM_QUERY, sql.encode() if isinstance(sql, str) else sql))

    def run(self, *statements: str) -> Answer:
        """Statements that must succeed; the last one's answer."""
        answer = Answer()
        for sql in statements:
            answer = self.query(sql)
            assert answer.ok, f"{sql}: {answer}"
        return answer

    def command(self, code: int, argument: bytes = b"", binary: bool = False) -> Answer:
        return self._drive(command(code, argument, binary))

    def packet(self, code: int, argument: bytes = b"") -> bytes:
        """The first packet of the answer to a command."""
        return self._drive(_one_packet(bytes((code,)) + argument))

    def prepare(self, sql: str | bytes) -> Statement | Answer:
        return self._drive(prepare(sql.encode() if isinstance(sql, str) else sql))

    def execute(self, statement: Statement, *params: Param, cursor: int = 0) -> Answer:
        return self._drive(execute(statement, params, cursor))

    def execute_again(self, statement: Statement, nulls: bytes, values: bytes) -> Answer:
        """Execute with parameters of the types that were bound last."""
        head = struct.pack("<IBI", statement.id, 0, 1)
        return self._drive(command(COM_STMT_EXECUTE, head + nulls + b"\0" + values, binary=True))

    def fetch(self, statement: Statement, rows: int) -> Answer:
        return self._drive(fetch(statement.id, rows))

    def long_data(self, statement: Statement, number: int, data: bytes) -> None:
        """A piece of a parameter's value, which has no answer."""
        head = bytes((COM_STMT_SEND_LONG_DATA,)) + struct.pack("<IH", statement.id, number)
        self._socket.sendall(framed(head + data))

    def close_statement(self, statement: Statement) -> None:
        self._socket.sendall(framed(bytes((COM_STMT_CLOSE,)) + statement.id.to_bytes(4, "little")))

    def field_list(self, table: str) -> tuple[Column, ...] | Answer:
        return self._drive(field_list(table.encode()))

    def change_user(self, user: str, password: str, database: str) -> None:
        self._scramble = self._drive(change_user(user, password, database, self._scramble, self.charset))

    # pipelining

    def send(self, sql: str) -> None:
        """Send a statement without waiting for its answer; `receive` is the next answer in order."""
        self._sequence = -1
        self._send(bytes((COM_QUERY,)) + sql.encode())

    def receive(self) -> Answer:
        return self._drive(_answer(), first=False)

    def rows(self) -> Iterator[tuple[bytes | None, ...]]:
        """The rows of the text result that `send` asked for, one at a time, none kept."""
        count = _Cursor(self._receive()).length()
        assert count
        for _ in range(count + 1):
            self._receive()
        while not _is_eof(packet := self._receive()):
            assert packet[:1] != b"\xff", _err(packet)
            cursor = _Cursor(packet)
            yield tuple(cursor.text() for _ in range(count))

    def _drive(self, steps: Steps[T], first: bool = True) -> T:
        try:
            out = next(steps)
            if first:
                self._sequence = -1
            while True:
                if isinstance(out, Asked):
                    for piece in itertools.chain(self.file(out), (b"",)):
                        self._send(piece)
                elif out or first:
                    self._send(out)
                first = False
                out = steps.send(self._receive())
        except StopIteration as end:
            result: T = end.value
            return result

    def _send(self, payload: bytes) -> None:
        self._socket.sendall(framed(payload, self._sequence + 1))
        self._sequence = (self._sequence + 1 + len(payload) // 0xFFFFFF) & 0xFF

    def _receive(self) -> bytes:
        payload = b""
        while True:
            head = self._exactly(4)
            size = int.from_bytes(head[:3], "little")
            assert not self.numbered or head[3] == (self._sequence + 1) & 0xFF, f"{head[3]} after {self._sequence}"
            self._sequence = head[3]
            payload += self._exactly(size)
            if size < 0xFFFFFF:
                return payload

    def _exactly(self, n: int) -> bytes:
        while (left := len(self._buffer) - self._read) < n:
            data = self._socket.recv(max(65536, n - left))
            if not data:
                raise Disconnected(f"the connection ended with {left} of {n} bytes")
            self._buffer = self._buffer[self._read :] + data
            self._read = 0
        self._read += n
        return self._buffer[self._read - n : self._read]


class AsyncClient:
    """The same on asyncio streams: `await AsyncClient.connect(..)`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sequence = -1
        self.id = 0

    @classmethod
    async def connect(
        cls, port: int, user: str, password: str = "", database: str | None = None, *, flags: int = 0
    ) -> AsyncClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = cls(reader, writer)
        try:
            client.id, _ = await client._drive(login(user, password, database, flags, 45), first=False)
        except BaseException:
            client.abort()
            raise
        return client

    async def query(self, sql: str) -> Answer:
        return await self._drive(command(COM_QUERY, sql.encode()))

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.write(framed(bytes((COM_QUIT,))))
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # the other side was faster
            await self._writer.wait_closed()

    async def _drive(self, steps: Steps[T], first: bool = True) -> T:
        try:
            out = next(steps)
            if first:
                self._sequence = -1
            while True:
                if out or first:
                    self._writer.write(framed(out, self._sequence + 1))
                first = False
                out = steps.send(await self._receive())
        except StopIteration as end:
            result: T = end.value
            return result

    async def _receive(self) -> bytes:
        payload = b""
        while True:
            try:
                head = await self._reader.readexactly(4)
                size = int.from_bytes(head[:3], "little")
                self._sequence = head[3]
                payload += await self._reader.readexactly(size)
            except asyncio.IncompleteReadError as error:
                raise Disconnected("the connection ended") from error
            if size < 0xFFFFFF:
                return payload
