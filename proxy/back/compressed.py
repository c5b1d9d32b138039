"""Compression between a transport and a protocol that knows nothing of it: protocol to the one, transport to the other.

It takes the place of the transport behind the login, and TLS with it, so that a connection without compression does not
even ask. What is held is bounded: what is compressed stays so until it is wanted, and nothing more is read then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.back.tls import TlsPipe
from proxy.errors import ProtocolError
from proxy.wire.compression import SLICE, CompressedReader
from proxy.wire.numbering import CommandWriter, NumberedScanner


class CompressedLink(asyncio.Transport, asyncio.Protocol):
    """See the module. `upper` is given slices of what comes; `broken` is told when the peer's compression is wrong."""

    def __init__(
        self,
        transport: asyncio.Transport,
        tls: TlsPipe | None,
        upper: asyncio.Protocol,
        broken: Callable[[ProtocolError], None],
    ) -> None:
        super().__init__()
        self._transport = transport
        self._tls = tls
        self._send: Callable[[bytes], None] = transport.write if tls is None else tls.write
        self._upper = upper
        self._broken = broken
        self._reader = CompressedReader()
        self._paused = False  # by the protocol above
        self._full = False  # as much is held as may be
        self._delivering = False

    def start(self, leftover: bytes) -> None:
        """Take the transport over; `leftover` has come behind the login already, in clear of TLS."""
        self._transport.set_protocol(self)
        if leftover:
            self._reader.append(leftover)
            self.deliver()

    # -- the transport below calls these -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            try:
                data = self._tls.feed(data)
            except ProtocolError:
                self._transport.abort()  # nothing can be said any more
                return
        self._reader.append(data)
        self.deliver()

    def eof_received(self) -> bool | None:
        return self._upper.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._upper.connection_lost(exc)

    def pause_writing(self) -> None:
        self._upper.pause_writing()

    def resume_writing(self) -> None:
        self._upper.resume_writing()

    # -- the protocol above calls these ------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._send(self.pack(bytes(data)))

    def pause_reading(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if not self._full:
            self._transport.resume_reading()
        if self._reader.pending:
            asyncio.get_running_loop().call_soon(self.deliver)  # as a transport would: not while the caller runs

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # -- between the two ---------------------------------------------------------------------------------------------

    def pack(self, data: bytes) -> bytes:
        """What is to be sent, as compressed packets."""
        raise NotImplementedError

    def wanted(self) -> bool:
        """Whether the protocol above can take more."""
        return True

    def arrived(self, sequence: int) -> None:
        """What comes next begins the compressed packet with this number. Raises ProtocolError."""
        raise NotImplementedError

    def deliver(self) -> None:
        """Hand over what has come, for as long as it is wanted."""
        if self._delivering:
            return  # called by the protocol above out of what is delivered below, which goes on
        self._delivering = True
        reader = self._reader
        try:
            while not self._paused and not self._transport.is_closing() and self.wanted():
                data = reader.read()
                if data is None:
                    break
                if reader.begins:
                    self.arrived(reader.sequence)
                self._upper.data_received(data)
            else:
                self._hold(reader.pending > SLICE)
                return
        except ProtocolError as error:
            self._broken(error)
            return
        finally:
            self._delivering = False
        self._hold(False)

    def _hold(self, full: bool) -> None:
        """Stop reading, or go on."""
        if full == self._full or self._transport.is_closing():
            return
        self._full = full
        if full:
            self._transport.pause_reading()
        elif not self._paused:
            self._transport.resume_reading()


class ServerLink(CompressedLink):
    """Towards a server: every command begins a compressed packet numbered 0."""

    def __init__(
        self,
        transport: asyncio.Transport,
        tls: TlsPipe | None,
        upper: asyncio.Protocol,
        broken: Callable[[ProtocolError], None],
        scanner: NumberedScanner,
    ) -> None:
        super().__init__(transport, tls, upper, broken)
        self._writer = CommandWriter(scanner)

    def pack(self, data: bytes) -> bytes:
        return self._writer.write(data)

    def arrived(self, sequence: int) -> None:
        self._writer.sequence = (sequence + 1) & 0xFF
