"""One connection to a database server: login, then commands whose responses go to sinks in the order they were sent.

Several commands may be under way at once (a prelude and the statement it is for, in one write); the server answers
them in order. Who sends a command gives the *sink* that receives its response; the session that relays to its client is
one, `Collected` (an awaitable for our own queries) another.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, cast

from proxy.back.compressed import ServerLink
from proxy.back.outlet import Outlet
from proxy.back.settings import Settings
from proxy.back.tls import TlsPipe
from proxy.errors import Defect, ProtocolError, ServerFailed, TurnoutError
from proxy.wire import capability as cap
from proxy.wire import command as com
from proxy.wire.frames import encode
from proxy.wire.login import LoggedIn, LoginFailed, Secret, SendBytes, ServerLogin, StartTls
from proxy.wire.numbering import NumberedScanner
from proxy.wire.packets import parse_err
from proxy.wire.proxy_header import Source, plain
from proxy.wire.response import QUERY, ResponseScanner
from proxy.wire.resultset import ResultsetReader

if TYPE_CHECKING:
    from proxy.back.pool import Pool
    from proxy.back.xa import Branch

_monotonic = time.monotonic
log = logging.getLogger("turnout.back")

_NUMBER: Final = re.compile(rb"-?[0-9]{1,20}")


class Sink(Protocol):
    """Receives one command's response."""

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        """Some of the response's bytes, as a client is to see them; more follow."""

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        """The rest of the response. What it said is in `connection.scanner` until the next command begins."""

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        """The connection was lost before the response was complete."""


class FileSink(Sink, Protocol):
    """The same for a command that is sent in the mode LOAD."""

    def on_file_asked(self, connection: ServerConnection) -> None:
        """The server waits for a file, in packets (`proxy.wire.file_packets`) numbered from 2 on. Its response goes on
        when it has got it."""


class Holder(Protocol):
    """Who keeps a connection between commands, and has to know when it is lost."""

    def on_held_lost(self, connection: ServerConnection, error: TurnoutError) -> None: ...


@dataclass(slots=True)
class ServerStatement:
    """A statement prepared on one connection, by the server's id."""

    id: int
    executing: bytes = field(init=False)  # what a command that executes it begins with

    def __post_init__(self) -> None:
        self.executing = bytes((com.COM_STMT_EXECUTE,)) + self.id.to_bytes(4, "little")

    @property
    def closing(self) -> bytes:
        """The command, framed, that closes it; it has no answer."""
        return encode(bytes((com.COM_STMT_CLOSE,)) + self.id.to_bytes(4, "little"), 0)


def _nothing() -> None:
    """Nobody listens."""


class Discarded:
    """The sink of a command whose success is taken for granted: when it fails, so does everything sent after it, as far
    as the client is told. The server may have carried it out."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        pass

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        if connection.scanner.errno:
            error = parse_err(connection.scanner.error)
            connection.abort(
                ServerFailed(
                    f"{connection.where} refused the {self.what} that had to come before the statement "
                    f"({error.errno} {error.message.decode('utf-8', 'replace')}); whether the statement took effect is "
                    "not known"
                )
            )

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        pass


class Collected:
    """The sink of our own commands: the whole response, bounded, as a future of its bytes."""

    __slots__ = ("_limit", "_parts", "_size", "future")

    def __init__(self, limit: int = 64 << 20) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = limit

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            connection.abort(ServerFailed(f"{connection.where} sent more than {self._limit} bytes to the proxy itself"))
            return
        self._parts.append(data)

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        if not self.future.done():
            self.future.set_result(b"".join(self._parts + pieces))

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class ServerConnection(asyncio.Protocol):
    """See the module. `settings`, `database` and `statements` say what state the server holds for this connection."""

    __slots__ = (
        "_in_login",
        "_introduce",
        "_login",
        "_out",
        "_outlet",
        "_ready",
        "_sinks",
        "_tls",
        "_tls_context",
        "_tls_name",
        "aborted",
        "born",
        "branch",
        "busy_since",
        "commands",
        "cursors",
        "database",
        "dirty",
        "flags",
        "generation",
        "holder",
        "idle_since",
        "lost",
        "pool",
        "role",
        "scanner",
        "server_version",
        "settings",
        "sink",
        "statements",
        "taken_ns",
        "taker",
        "thread_id",
        "transport",
        "where",
        "writable",
        "write",
        "write_paused",
    )

    def __init__(
        self,
        where: str,
        *,
        user: str,
        secret: Secret,
        capabilities: int,
        charset: int,
        settings: Settings,
        database: str | None = None,
        tls: ssl.SSLContext | None = None,
        attributes: Mapping[bytes, bytes] | None = None,
        tls_name: str | None = None,
        compress: bool = False,
        introduce: Callable[[Source | None], bytes] | None = None,
    ) -> None:
        self.where = where  # "cluster main, primary 127.0.0.1:3306": how errors name it
        self.pool: Pool | None = None
        self.holder: Holder | None = None
        self.role: object = None  # its server's (proxy.back.server.Role)
        self.taker: object = None  # who took it from the pool and has not given it back
        self.taken_ns = 0  # no transaction under way on it is older (perf_counter_ns)
        self.transport: asyncio.Transport | None = None
        self.write: Callable[[bytes], None]
        self.scanner: ResponseScanner = NumberedScanner() if compress else ResponseScanner()
        self.sink: Sink | None = None
        self._sinks: deque[tuple[Sink, int]] = deque()
        self._out: list[bytes] = []
        self.settings = settings
        self.database = database
        self.statements: dict[Hashable, ServerStatement] = {}  # by what makes two of them the same; oldest use first
        self.flags = capabilities
        self.thread_id = 0
        self.server_version = ""
        self.born = self.idle_since = _monotonic()
        self.busy_since = 0.0
        self.dirty = ""  # why the connection cannot be used by another session without a reset
        self.generation = 0
        self.branch: Branch | None = None  # the XA branch that is under way on it, begun by us
        self.commands = 0  # of our own, sent by `command`: they change what ROW_COUNT() and the like say
        self.cursors = 0  # open on it, of one session: nobody else gets it before they are closed
        self.aborted: TurnoutError | None = None
        self.lost = False  # closed by the other side, or by us because of an error
        self.write_paused = False
        self.writable: Callable[[], None] = _nothing  # called when `write_paused` is over
        self._introduce = introduce  # makes the PROXY header that goes first, given the server's address
        self._tls: TlsPipe | None = None
        self._tls_context = tls
        self._tls_name = tls_name  # of the server, as its certificate has to have it
        self._login: ServerLogin | None = ServerLogin(
            user,
            secret,
            database,
            capabilities | cap.COMPRESS if compress else capabilities,
            charset,
            tls=tls is not None,
            attributes=dict(attributes or {}),
        )
        self._in_login = True
        self._outlet: Outlet | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # -- the event loop calls these ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        outlet = self._outlet = Outlet(self.transport)
        self.write = outlet.write
        if self._introduce is not None:
            peer = transport.get_extra_info("peername")
            there = Source(plain(peer[0]), peer[1]) if isinstance(peer, tuple) else None
            self.write(self._introduce(there))

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            try:
                data = self._tls.feed(data)
            except ProtocolError as error:
                self.abort(ServerFailed(f"{self.where}: {error.message}"))
                return
            if not data:
                return
        if self._in_login:
            self._continue_login(data)
            return
        try:
            self._follow(data)
        except ProtocolError as error:
            self._broken(error)
        except Exception as error:
            # A mistake of ours while an answer was taken apart: the connection's place in the protocol is lost.
            log.error("defect", exc_info=error, extra={"server": self.where})
            self.abort(Defect("Turnout failed on this statement by a mistake of its own; see its log"))

    def connection_lost(self, exc: Exception | None) -> None:
        error = self.aborted or self._end_of_connection()
        self.lost = self.lost or self.aborted is None
        self.aborted = error
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # seen: whoever opened the connection may have given up waiting
        sink, self.sink = self.sink, None
        waiting = list(self._sinks)
        self._sinks.clear()
        holder, self.holder = self.holder, None
        if self.pool is not None:
            self.pool.on_closed(self)
        if holder is not None:
            holder.on_held_lost(self, error)
        if sink is not None:
            sink.on_lost(self, error)
        for other, _ in waiting:
            other.on_lost(self, error)

    def _end_of_connection(self) -> ServerFailed:
        if not self._in_login:
            return ServerFailed(
                f"Lost the connection to {self.where} while a statement was running; "
                "whether it took effect is not known",
                errno=1158,
            )
        why = "" if self._introduce is None else ": does it trust PROXY headers from this host (proxy_protocol)?"
        return ServerFailed(f"{self.where} closed the connection during login{why}", errno=1429, sqlstate="HY000")

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self.writable()

    def write_more(self, data: bytes) -> None:
        """More of a command that is under way; nothing where the connection is lost, of which its sink will be told."""
        if self.aborted is None and self.transport is not None and not self.transport.is_closing():
            self.write(data)

    def forget_writable(self) -> None:
        self.writable = _nothing

    # -- commands --------------------------------------------------------------------------------------------------

    def send(self, data: bytes, sink: Sink, mode: int = QUERY) -> None:
        """Send one framed command; its response goes to `sink`."""
        if self.aborted is not None:  # while whoever has the connection waited for something else
            asyncio.get_running_loop().call_soon(sink.on_lost, self, self.aborted)
            return
        self.expect(sink, mode)
        self.write_whole(data)

    def write_whole(self, data: bytes) -> None:
        """Write commands whose answers are expected."""
        outlet = self._outlet
        if outlet is not None and self.write is outlet.write:
            outlet.send(data)
        else:
            self.write(data)

    def expect(self, sink: Sink, mode: int = QUERY, head: bytes = b"") -> None:
        """The caller is about to write a command whose response goes to `sink` (several commands in one write)."""
        if self.sink is None:
            self.sink = sink
            self.scanner.begin(mode, head)
        else:
            self._sinks.append((sink, mode))

    async def command(self, payload: bytes, mode: int = QUERY) -> bytes:
        """Send one command payload; returns the whole framed response. Raises ServerFailed when the connection is lost.

        An ERR response is returned like any other (`scanner.errno` tells).
        """
        return await self.exchange(encode(payload, 0), mode)

    async def exchange(self, frames: bytes, mode: int = QUERY) -> bytes:
        """The same for a framed command, before which may stand others that have no answer."""
        if self.aborted is not None:
            raise self.aborted
        self.commands += 1
        sink = Collected()
        self.send(frames, sink, mode)
        return await sink.future

    def read(self, response: bytes) -> ResultsetReader:
        """What the framed answer to a question of ours says. Raises ServerFailed, which ends the connection."""
        reader = ResultsetReader()
        pos = 0
        try:
            while pos < len(response):
                n = int.from_bytes(response[pos : pos + 3], "little")
                reader.feed(response[pos + 4 : pos + 4 + n])
                pos += 4 + n
        except ProtocolError as error:
            raise self.broken(error) from None
        return reader

    async def query(self, sql: str) -> list[list[bytes | None]]:
        """Run one of our own statements; returns its rows. Raises ServerFailed with the server's error in it."""
        reader = self.read(await self.command(bytes((com.COM_QUERY,)) + sql.encode()))
        refusal = reader.err
        if refusal is not None:
            raise ServerFailed(
                f"{self.where}: {refusal.errno} {refusal.message.decode('utf-8', 'replace')}",
                errno=refusal.errno,
                sqlstate=refusal.sqlstate,
            )
        return reader.rows

    async def row(self, sql: str, columns: int = 1) -> list[bytes | None]:
        """The same for a statement whose answer has one row of so many columns, whatever happens."""
        rows = await self.query(sql)
        if len(rows) != 1 or len(rows[0]) != columns:
            raise self.nonsense(sql)
        return rows[0]

    async def number(self, sql: str) -> int | None:
        """The same for one that gives a whole number of 64 bits, or NULL."""
        (value,) = await self.row(sql)
        if value is None:
            return None
        if not _NUMBER.fullmatch(value) or not -(1 << 63) <= int(value) < 1 << 64:
            raise self.nonsense(sql)
        return int(value)

    @contextmanager
    def understood(self, sql: str) -> Iterator[None]:
        """Around nothing but the taking apart of the answer to a statement of ours. Raises ServerFailed where it cannot
        be taken apart; the connection ends then."""
        try:
            yield
        except (ValueError, TypeError, IndexError) as error:
            raise self.nonsense(sql) from error

    def nonsense(self, sql: str) -> ServerFailed:
        """What came cannot be the answer to a statement of ours. The connection ends; the error is to be raised."""
        return self.broken(ProtocolError(f"its answer to {sql} is none"))

    def broken(self, error: ProtocolError) -> ServerFailed:
        """What the server said cannot be taken apart. The connection ends; the error is to be raised."""
        failure = ServerFailed(f"{self.where} broke the protocol: {error.message}")
        self.abort(failure)
        return failure

    @property
    def idle(self) -> bool:
        return self.sink is None

    def abort(self, error: TurnoutError) -> None:
        """Drop the connection at once; every sink is told `error`."""
        if self.aborted is None:
            self.aborted = error
            self.lost = True
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """Say goodbye and close; for connections that nobody uses."""
        if self.aborted is None:
            self.aborted = ServerFailed(f"The connection to {self.where} was closed")
        if self.transport is not None and not self.transport.is_closing():
            self.write(b"\x01\x00\x00\x00\x01")  # COM_QUIT
            self.transport.close()

    # -- login -----------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until the login is over. Raises ServerFailed (unreachable or refused)."""
        await self._ready

    def _continue_login(self, data: bytes) -> None:
        assert self._login is not None
        assert self.transport is not None
        try:
            events = self._login.receive(data)
        except ProtocolError as error:
            self._login_failed(ServerFailed(f"{self.where}: {error.message}", errno=1429, sqlstate="HY000"))
            return
        while events:
            event = events.pop(0)
            if isinstance(event, SendBytes):
                self.write(event.data)
            elif isinstance(event, StartTls):
                assert self._tls_context is not None
                write, name = self.transport.write, self._tls_name
                self._tls = TlsPipe(self._tls_context, server_side=False, write=write, hostname=name)
                self.write = self._tls.write
                events.extend(self._login.tls_started())
                self._tls.start()
            elif isinstance(event, LoggedIn):
                self._logged_in(event)
            elif isinstance(event, LoginFailed):
                self._login_failed(ServerFailed(event.message, errno=event.errno, sqlstate=event.sqlstate))

    def _logged_in(self, event: LoggedIn) -> None:
        self._in_login = False
        self._login = None
        self.thread_id = event.greeting.connection_id
        self.server_version = event.greeting.server_version
        if event.capabilities & cap.COMPRESS:
            self._compress()
        elif isinstance(self.scanner, NumberedScanner):  # the server does not offer it
            self.scanner = ResponseScanner()
        self.scanner.status = event.status
        if not self._ready.done():
            self._ready.set_result(None)

    def _compress(self) -> None:
        assert self.transport is not None
        assert isinstance(self.scanner, NumberedScanner)
        tls, self._tls = self._tls, None
        link = ServerLink(self.transport, tls, self, self._broken, self.scanner)
        self.transport = link
        self.write = link.write
        link.start(b"")

    def _broken(self, error: ProtocolError) -> None:
        self.broken(error)

    def _login_failed(self, error: ServerFailed) -> None:
        self.aborted = error
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # seen: whoever opened the connection may have given up waiting
        if self.transport is not None:
            self.transport.abort()

    # -- responses -------------------------------------------------------------------------------------------------

    def _follow(self, data: bytes) -> None:
        pos = 0
        size = len(data)
        while pos < size:
            sink = self.sink
            if sink is None:
                if self.aborted is None:
                    raise ProtocolError("the server spoke without being asked")
                return
            out: list[bytes] = []
            end = self.scanner.feed(data, pos, out)
            if end < 0:
                for piece in out:
                    sink.on_data(self, piece)
                if self.scanner.infile:
                    self.scanner.infile = False
                    cast(FileSink, sink).on_file_asked(self)
                return
            if self.scanner.infile:
                raise ProtocolError("it asked for a file and did not wait for it")
            pos = end
            if self._sinks:
                # The next command's response may follow in the same bytes: the sink reads the scanner before that.
                self.sink = _BETWEEN
                sink.on_end(self, out)
                if self.aborted is not None:
                    return
                self.sink, mode = self._sinks.popleft()
                self.scanner.begin(mode)
            else:
                self.sink = None
                sink.on_end(self, out)
                if self.aborted is not None:
                    return


_BETWEEN: Sink = Discarded("command")  # the sink while one response has ended and the next has not begun
