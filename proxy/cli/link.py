"""What the supervisor and its workers say to each other, and how it is put on a socket.

A message is a length (4 bytes, big endian) and a msgpack map with the message's type in `type`. Both ends run the same
code at the same version: an unknown or malformed message, or one over MAX_BYTES, is a defect and closes the link. The
socket is private (a socketpair, or a Unix socket of mode 0600); nothing here is meant for a network.

Requests carry an `id` that their answer repeats. Either side may ask:

    supervisor -> stream process   Follow; and from it StreamState
    supervisor -> worker   Start, Reload -> Outcome, AskSessions -> Sessions, AskSequences -> Sequences,
                           Kill -> Outcome, Refresh -> Outcome, Drain
    worker -> supervisor   Ready | Failed, Snapshot, Drained, Show -> Rows, Kill -> Outcome, Refresh -> Outcome
    command -> supervisor  Show -> Rows, ReloadNow -> Outcome (the control socket, see proxy.cli.control)
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import struct
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from proxy.measure.states import SequenceState, ServerState, SessionState
from proxy.measure.windows import Window

log = logging.getLogger("turnout.link")

MAX_BYTES = 256 << 20  # of one message; the largest are windows of 10,000 shapes, some megabytes
_LENGTH = struct.Struct(">I")


class Start(msgspec.Struct, tag="start"):
    """The first message to a worker: who it is, and the rules that the supervisor found valid."""

    rules: bytes  # see proxy.rules.packed
    slot: int
    slots: int
    host: str = ""  # where to listen, as bound by the supervisor; a Unix socket comes as an inherited descriptor
    port: int = 0

    sources: dict[str, int] = {}  # cluster -> its clock, where its binary log is followed


class Reload(msgspec.Struct, tag="reload"):
    id: int
    rules: bytes
    sources: dict[str, int] = {}


class Follow(msgspec.Struct, tag="follow"):
    """The first message to a stream process: which cluster's binary log it follows, for which clock."""

    rules: bytes
    cluster: str
    source: int


class StreamState(msgspec.Struct, tag="stream-state"):
    """A stream process's word, once a second."""

    state: str
    reason: str
    connected: int
    events: int
    rows: int
    transactions: int
    unknown: int
    incarnations: int
    memory_bytes: int
    cpu_us: int


class AskSessions(msgspec.Struct, tag="ask-sessions"):
    id: int


class AskSequences(msgspec.Struct, tag="ask-sequences"):
    id: int


class Kill(msgspec.Struct, tag="kill"):
    id: int
    connection_id: int
    query_only: bool
    user: str
    admin: bool


class Refresh(msgspec.Struct, tag="refresh"):
    """Definitions have changed on servers: read them again, then answer. From a worker: let the others do so."""

    id: int


class Drain(msgspec.Struct, tag="drain"):
    """Close the listener, let transactions end until the deadline, end the rest with error 1053, then exit."""

    deadline_s: float


class Ready(msgspec.Struct, tag="ready"):
    """The worker accepts clients."""

    pid: int


class Failed(msgspec.Struct, tag="failed"):
    """The worker could not start, for a reason that another try will not mend."""

    message: str


class Snapshot(msgspec.Struct, tag="snapshot"):
    window: Window
    servers: list[ServerState]
    memory_bytes: int = 0


class Drained(msgspec.Struct, tag="drained"):
    """The worker has no clients left and exits. Its last Snapshot came before this."""


class Show(msgspec.Struct, tag="show"):
    id: int
    what: str


class ReloadNow(msgspec.Struct, tag="reload-now"):
    id: int


class Outcome(msgspec.Struct, tag="outcome"):
    """The answer to Reload, Kill, Refresh and ReloadNow: `problem` is "" when it was done; `notes` are for people."""

    id: int
    problem: str = ""
    notes: list[str] = []


class Sessions(msgspec.Struct, tag="sessions"):
    id: int
    sessions: list[SessionState]


class Sequences(msgspec.Struct, tag="sequences"):
    id: int
    sequences: list[SequenceState]


class Rows(msgspec.Struct, tag="rows"):
    """The answer to Show. With a `problem` there are no rows."""

    id: int
    columns: list[str]
    rows: list[list[str | int | float | None]]
    problem: str = ""


Message = (
    Start
    | Reload
    | Follow
    | StreamState
    | AskSessions
    | AskSequences
    | Kill
    | Refresh
    | Drain
    | Ready
    | Failed
    | Snapshot
    | Drained
    | Show
    | ReloadNow
    | Outcome
    | Sessions
    | Sequences
    | Rows
)
Answer = Outcome | Sessions | Sequences | Rows

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class LinkBroken(Exception):
    """The peer is gone, or sent what no peer of ours sends."""


def encode(message: Message) -> bytes:
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Reader:
    """Bytes in, messages out. Raises LinkBroken."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        buffer = self._buffer
        buffer += data
        messages = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_BYTES:
                raise LinkBroken(f"a message of {length} bytes")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            try:
                messages.append(_decoder.decode(bytes(buffer[start + _LENGTH.size : end])))
            except msgspec.MsgspecError as error:
                raise LinkBroken(f"a malformed message: {error}") from error
            start = end
        del buffer[:start]
        return messages


class Receiver(Protocol):
    """Whoever is at this end of a link."""

    def received(self, link: Link, message: Message) -> None: ...

    def closed(self, link: Link) -> None: ...


class Link(asyncio.Protocol):
    """One end of a link. Answers find their requests; everything else goes to the receiver."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._full = False

    # -- sending ---------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_full(self) -> bool:
        """The peer does not keep up: what can wait (snapshots) should."""
        return self._full

    @property
    def is_flushing(self) -> bool:
        """Something that was sent is still on its way out."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def send(self, message: Message) -> None:
        """Send; silently nothing when the link is closed, which the receiver is told about by `closed`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))

    async def ask(self, make: Callable[[int], Message], timeout_s: float) -> Answer:
        """Send the request `make(id)` and wait for its answer. Raises LinkBroken, TimeoutError."""
        if not self.is_open:
            raise LinkBroken("the link is closed")
        request = next(self._ids)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        try:
            self.send(make(request))
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            del self._waiting[request]

    def close(self) -> None:
        """Close once what was sent is out."""
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses of it

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._reader.feed(data)
        except LinkBroken as error:
            log.error("link broken", extra={"reason": str(error)})
            if self._transport is not None:
                self._transport.abort()
            return
        for message in messages:
            if isinstance(message, (Outcome, Sessions, Sequences, Rows)):
                future = self._waiting.get(message.id)
                if future is not None and not future.done():
                    future.set_result(message)
            else:
                self._receiver.received(self, message)

    def connection_lost(self, error: Exception | None) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(LinkBroken("the link was closed"))
        self._receiver.closed(self)
