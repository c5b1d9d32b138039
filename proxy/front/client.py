"""A client's connection: bytes to commands, login, flow control. What commands mean is the session's business.

Commands are taken one at a time; what a client sends while one runs waits in `_commands` (bounded: reading stops).
When the client reads slowly, the server that feeds it is not read either, so that nothing piles up in between.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final, cast

from proxy.back.connection import ServerConnection
from proxy.back.outlet import Outlet
from proxy.back.tls import TlsPipe
from proxy.errors import ProtocolError, TurnoutError
from proxy.front import caching
from proxy.front.session import Session
from proxy.front.upload import Upload
from proxy.wire import capability as cap
from proxy.wire import command as com
from proxy.wire import proxy_header
from proxy.wire.edited import EditedResponse
from proxy.wire.frames import MAX_PAYLOAD, FrameReader, encode
from proxy.wire.login import MAX_HELD, Accepted, ClientEvent, ClientLogin, Closed, Rejected, SendBytes, StartTls
from proxy.wire.packets import encode_err

if TYPE_CHECKING:
    from proxy.front.compressed import ClientLink
    from proxy.front.listener import Listener
    from proxy.front.results import Bound

_time = time.time
_MAX_QUEUED: Final = 64  # commands a client may send ahead before it is read no further
_MAX_QUEUED_BYTES: Final = 1 << 20  # the same in bytes; one command more may come, of at most limits.max_packet
_HIGH_WATER: Final = 256 * 1024
_unpack: Final = struct.Struct("<IB").unpack_from  # a packet's length and, above it, number; its first byte

Command = Callable[["Client", bytes, int], None]


class Client(asyncio.Protocol):
    """See the module."""

    __slots__ = (
        "_bounded",
        "_commands",
        "_dispatching",
        "_drain",
        "_early",
        "_feeder",
        "_frames",
        "_header",
        "_login",
        "_login_timer",
        "_outlet",
        "_reading",
        "_tls",
        "_unedited",
        "capabilities",
        "change_user",
        "compressed",
        "connected",
        "connection_id",
        "edited",
        "host",
        "listener",
        "looked_at_in",
        "origin",
        "quiet",
        "quiet_since",
        "scramble",
        "secure",
        "sequence",
        "session",
        "statements_seen",
        "transport",
        "upload",
        "write",
        "write_paused",
    )

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.connection_id = listener.next_connection_id()
        self.transport: asyncio.Transport
        self.write: Callable[[bytes], None]
        self.session: Session | None = None
        self.connected = _time()
        self.quiet_since = 0.0  # when (monotonic) it was last seen busy, or with another count of statements than this:
        self.statements_seen = -1
        self.quiet = True  # nothing has come for a while, or ever: see proxy.front.quiet
        self.looked_at_in = 0  # the second in which it is looked at, if it is quiet then
        self.host = ""  # as errors and accounts have it
        self.origin = ""  # its address; "": a Unix socket
        self.secure = False  # a Unix socket, or TLS: passwords may be sent in full
        self.scramble = b""
        self.capabilities = 0
        self.sequence = 0  # of the command under way: its first response packet is this plus one
        self.write_paused = False
        self.change_user: ClientLogin | None = None
        self.compressed: ClientLink | None = None  # its transport, if it compresses (proxy.front.compressed)
        self.edited: EditedResponse | None = None  # what is written becomes part of this, until the command ends
        self.upload: Upload | None = None  # what is received is a file, until it ends
        self._bounded: Bound | None = None
        self._outlet: Outlet | None = None
        self._unedited: Callable[[bytes], None]
        self._tls: TlsPipe | None = None
        self._frames: FrameReader | None = None
        self._commands: deque[tuple[bytes, int]] = deque()
        self._feeder: ServerConnection | None = None
        self._drain: asyncio.Future[None] | None = None  # somebody waits for the client to read
        self._early = b""  # commands that came before the login's OK went out
        self._dispatching = False
        self._reading = True
        self._header: bytes | None = None  # what has come of the PROXY header that has to come first
        self._login: ClientLogin | None = None
        self._login_timer: asyncio.TimerHandle | None = None

    # -- the event loop calls these ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        outlet = self._outlet = Outlet(self.transport)
        self.write = outlet.write
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self.secure = not isinstance(peer, tuple)
        self._comes_from(proxy_header.plain(peer[0]) if isinstance(peer, tuple) else "")
        refused = self.listener.admit(self)
        if refused is not None:
            self._turn_away(refused)
            return
        self._start_login_timer()
        if self.listener.rules.listen.proxy_protocol.covers(self.origin):
            self._header = b""
        else:
            self._begin_login()

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            try:
                data = self._tls.feed(data)
            except ProtocolError:
                self.transport.abort()
                return
            if not data:
                return
        session = self.session
        if session is not None and not session.busy and self._frames is None:
            known = session.plans.texts.get(data)
            if known is not None and self.change_user is None:
                self.sequence = 0
                try:
                    if caching.serve_known(session, known):
                        session.statements += 1
                        if self.quiet:
                            self.wake()
                        return
                except Exception as error:
                    session.fail(self.listener.unexpected(error))
                    return
        if session is None or self.change_user is not None:
            login = self._login or self.change_user
            if login is None:
                if self._header is not None:
                    self._take_header(self._header + data)
                return
            if login.done:  # accepted, and its database is being looked for
                self._early += data
                if len(self._early) > MAX_HELD:
                    self.transport.abort()
                return
            self._continue_login(login, login.receive(data))
            return
        frames = self._frames
        if frames is None and not session.busy:
            size = len(data)
            head, code = _unpack(data) if size > 4 else (0, 0)
            if (
                (code == 0x03 or code == 0x17)  # COM_QUERY, COM_STMT_EXECUTE
                and head == size - 4  # it is whole, and its number is 0
                and size < 0xFFFFFF
                and session.doom is None
            ):
                if session.environment is not self.listener.environment or session.outdated:
                    session.adopt(self.listener.environment)
                session.statements += 1
                if self.quiet:
                    self.wake()
                self.sequence = 0
                try:
                    if code == 0x03:
                        session.query(data[4:], data)
                    elif not caching.serve_execution(session, data):
                        self.listener.command(session, data[4:])
                        if not session.busy:
                            self.next_command()
                except Exception as error:
                    session.fail(self.listener.unexpected(error))
                return
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Commands that came in pieces, several at once, or while one is under way."""
        if self.upload is not None:
            self._receive_file(self.upload, data)
            return
        session = self.session
        assert session is not None
        frames = self._frames
        size = len(data)
        limit = self.listener.rules.limits.max_packet
        if (
            frames is None
            and size >= 4
            and size == (data[0] | data[1] << 8 | data[2] << 16) + 4
            and size < min(limit, 0xFFFFFF) + 4
        ):
            self._commands.append((data[4:], data[3]))
        else:
            if frames is None:
                frames = self._frames = FrameReader(limit)
            try:
                packets = frames.feed(data)
            except ProtocolError as error:
                self.out_of_step(error)
                return
            if not frames.pending:
                self._frames = None  # an idle client keeps no reader
            self._commands.extend(packets)
        if len(self._commands) > _MAX_QUEUED or (session.busy and self._ahead_too_far()):
            self.stop_reading()
        if not session.busy:
            self.next_command()

    def _ahead_too_far(self) -> bool:
        return sum(len(payload) for payload, _ in self._commands) > _MAX_QUEUED_BYTES

    def wake(self) -> None:
        """The first command comes after a while."""
        self.quiet = False
        self.listener.quiet.awake.append(self)

    @property
    def free(self) -> bool:
        """Whether what the client sends is taken up at once."""
        session = self.session
        if session is None or self.change_user is not None or self.upload is not None:
            return True
        return not (session.busy or self._commands or self._dispatching)

    def out_of_step(self, error: ProtocolError) -> None:
        """What the client has sent cannot be taken apart."""
        self.sequence = 0
        self.lose(error)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._login_timer is not None:
            self._login_timer.cancel()
        self.listener.gone(self)
        session = self.session
        if session is not None and not session.closed:
            session.close()
        self._resume_feeder()
        self._wake()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self._resume_feeder()
        self._wake()

    def _wake(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    # -- login -----------------------------------------------------------------------------------------------------

    def _comes_from(self, address: str) -> None:
        self.origin = address
        self.host = address or "localhost"

    def _take_header(self, data: bytes) -> None:
        """The connection is a balancer's, and has to begin with a PROXY header that says whose it is."""
        self._header = data
        try:
            header = proxy_header.read(data)
        except ProtocolError as error:
            self.listener.bad_header(self, error)
            self._turn_away(error)
            return
        if header is None:
            return
        self._header = None
        if header.source is not None:
            self._comes_from(header.source.host)
            self.secure = False
        self._begin_login(data[header.length :])

    def _begin_login(self, early: bytes = b"") -> None:
        refused = self.listener.admit_login(self)
        if refused is not None:
            self._turn_away(refused)
            return
        login = self._login = self.listener.login(self)
        self._continue_login(login, login.start())
        if early:
            self._continue_login(login, login.receive(early))

    def _turn_away(self, error: TurnoutError) -> None:
        self._header = None
        self.write(encode(encode_err(error.errno, error.sqlstate, error.message), 0))
        self.transport.close()

    def _continue_login(self, login: ClientLogin, events: list[ClientEvent]) -> None:
        for event in events:
            if isinstance(event, SendBytes):
                self.write(event.data)
            elif isinstance(event, StartTls):
                context = self.listener.tls
                assert context is not None
                self._tls = TlsPipe(context, server_side=True, write=self.transport.write)
                self.write = self._tls.write
                self.secure = True
                try:
                    clear = self._tls.feed(event.leftover) if event.leftover else b""
                except ProtocolError:
                    self.transport.abort()
                    return
                self._continue_login(login, login.tls_started())
                if clear:
                    self._continue_login(login, login.receive(clear))
            elif isinstance(event, Accepted):
                self._stop_login_timer()
                self.listener.accepted(self, event)
            elif isinstance(event, Rejected):
                self.listener.rejected(self, event)
                self.write(event.data)
                self.transport.close()
            elif isinstance(event, Closed):
                self.transport.close()

    def begin_change_user(self, events: list[ClientEvent]) -> None:
        """COM_CHANGE_USER has begun: what the client sends belongs to the login until it ends."""
        session, login = self.session, self.change_user
        assert session is not None
        assert login is not None
        session.busy = True
        self._start_login_timer()
        self._continue_login(login, events)

    def refuse_login(self, payload: bytes, sequence: int) -> None:
        """The password was right but the login cannot go on (an unknown database, a server that is down)."""
        self.write(encode(payload, sequence))
        self.lose(None)

    def logged_in(self, session: Session, sequence: int, leftover: bytes) -> None:
        """The account and its database are in order: commands may come. `sequence` is the OK packet's."""
        self._login = None
        change_user, self.change_user = self.change_user, None
        self.session = session
        if self.quiet:
            self.wake()
        self.sequence = sequence - 1
        session.ok()
        leftover += self._early
        self._early = b""
        if self.capabilities & cap.COMPRESS and change_user is None:
            from proxy.front import compressed

            tls, self._tls = self._tls, None
            compressed.begin(self, tls, leftover)
            return
        self.bound_results(session)
        if leftover:
            self._take(leftover)

    def _start_login_timer(self) -> None:
        limit = self.listener.rules.limits.login_s
        self._login_timer = asyncio.get_running_loop().call_later(limit, self._login_timed_out)

    def _stop_login_timer(self) -> None:
        if self._login_timer is not None:
            self._login_timer.cancel()
            self._login_timer = None

    def _login_timed_out(self) -> None:
        self.listener.timed_out(self)
        if self._header is not None:
            self._turn_away(ProtocolError("Bad handshake: no PROXY protocol header has come", 1043, "08S01"))
        else:
            self.transport.abort()

    # -- commands --------------------------------------------------------------------------------------------------

    def next_command(self) -> None:
        """The session is free: carry out what waits."""
        if not self._dispatching:  # else a command was answered at once, and the loop in `_dispatch` goes on
            session = self.session
            if self._commands or session is None or session.killed or self.listener.draining:  # seldom
                self._dispatching = True
                try:
                    self._dispatch()
                finally:
                    self._dispatching = False
        if self.compressed is not None:
            self.compressed.deliver()

    def _dispatch(self) -> None:
        session = self.session
        commands = self._commands
        while commands and session is not None and not (session.busy or session.closed or session.killed):
            payload, sequence = commands.popleft()
            if not self._reading and len(commands) < _MAX_QUEUED // 2:
                self.start_reading()
            self.sequence = sequence
            if session.environment is not self.listener.environment or session.outdated:
                session.adopt(self.listener.environment)
            session.statements += 1
            if self.quiet:
                self.wake()
            if session.doom is not None:
                self.lose(session.doom)
                return
            try:
                if payload and payload[0] == com.COM_QUERY:
                    packet = encode(payload, 0) if len(payload) < 0xFFFFFF else None
                    known = session.plans.texts.get(packet) if packet is not None else None
                    if known is None or not caching.serve_known(session, known):
                        session.query(payload, packet)
                else:
                    self.listener.command(session, payload)
            except Exception as error:
                session.fail(self.listener.unexpected(error))
        if session is None or session.busy:
            return
        if session.killed:
            self.lose(None)
        elif self.listener.draining and not session.in_transaction:
            self.listener.dismiss(self)

    def stop_reading(self) -> None:
        """Take no more from the client for now."""
        if self._reading:
            self._reading = False
            self.transport.pause_reading()

    def start_reading(self) -> None:
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    # -- files -----------------------------------------------------------------------------------------------------

    def receive_file(self, take: Callable[[bytes], None], end: Callable[[], None]) -> Upload:
        """The client has been asked for a file (its answer is edited): what it sends now goes to `take`, and `end` is
        called behind it."""
        assert self.edited is not None
        upload = self.upload = Upload(take, end, self.edited.sequence, self.compressed is None)
        self.start_reading()
        if self.compressed is not None:
            asyncio.get_running_loop().call_soon(self.compressed.deliver)  # what has come of it already
        # What it has sent ahead is the beginning of the file, as a server would read it.
        ahead = [encode(payload, sequence - len(payload) // MAX_PAYLOAD) for payload, sequence in self._commands]
        self._commands.clear()
        frames, self._frames = self._frames, None
        try:
            if frames is not None:
                ahead.append(frames.take_pending())
        except ProtocolError as error:
            self.lose(error)
            return upload
        if ahead:
            self._receive_file(upload, b"".join(ahead))
        return upload

    def _receive_file(self, upload: Upload, data: bytes) -> None:
        try:
            rest = upload.feed(data)
        except ProtocolError as error:
            self.lose(error)
            return
        if rest is None:
            return
        assert self.edited is not None
        self.upload = None
        self.edited.sequence = upload.sequence
        self.start_reading()
        upload.finish()
        if rest:
            self._take(rest)

    # -- answers ---------------------------------------------------------------------------------------------------

    def edit(self) -> EditedResponse:
        """Until the command ends, all that is written becomes part of one response."""
        if self.edited is None:
            edited = self.edited = EditedResponse(self.sequence)
            write = self._unedited = self.write

            def write_edited(data: bytes) -> None:
                data = edited.feed(data)
                if data:
                    write(data)

            self.write = write_edited
        return self.edited

    def end_edit(self) -> None:
        if self.edited is not None:
            self.edited = None
            self.write = self._unedited

    def send(self, payload: bytes) -> None:
        """One response packet of our own, the first to the command under way."""
        self.answer(encode(payload, (self.sequence + 1) & 0xFF))

    def answer(self, data: bytes) -> None:
        """Write a whole answer."""
        outlet = self._outlet
        if outlet is not None and self.write is outlet.write:
            outlet.send(data)
        else:
            self.write(data)

    def relay(self, connection: ServerConnection, data: bytes) -> None:
        """Bytes of a server's answer; stop reading from it while this client does not keep up."""
        self.write(data)
        if self.write_paused and self._feeder is None and connection.transport is not None and self._wants_more:
            self._feeder = connection
            connection.transport.pause_reading()

    async def drained(self) -> None:
        """Wait until the client has read enough for more to be written (for answers that the proxy builds)."""
        if self.write_paused and not self.transport.is_closing() and self._wants_more:
            self._drain = asyncio.get_running_loop().create_future()
            await self._drain

    @property
    def _wants_more(self) -> bool:
        """Whether the client gets what is still to come of the answer under way."""
        return self.session is None or self.session.exceeded is None

    def take_no_more(self) -> None:
        """It does not get it: nobody has to wait for it."""
        self._resume_feeder()
        self._wake()

    def bound_results(self, session: Session) -> None:
        """From now on, answers are as large as the session's account may have them."""
        limits = session.environment.rules.result_limits(session.user)
        if limits.any or self._bounded is not None:
            from proxy.front.results import bound

            self._bounded = bound(self, session, limits, self._bounded)

    def _resume_feeder(self) -> None:
        feeder, self._feeder = self._feeder, None
        if feeder is not None and feeder.transport is not None and not feeder.transport.is_closing():
            feeder.transport.resume_reading()

    def lose(self, error: TurnoutError | None) -> None:
        """End the connection; with a last word unless an answer is already half out."""
        if error is not None:
            self.send(encode_err(error.errno, error.sqlstate, error.message))
        session = self.session
        if session is not None and not session.closed:
            session.close()
        self.transport.close()

    def spawn(self, work: Coroutine[object, object, None], what: str) -> asyncio.Task[None]:
        return self.listener.spawn(work, what)
