"""TLS as a pipe between bytes and bytes (ssl.MemoryBIO), for both directions of the proxy.

The event loop's own `start_tls` loses bytes that arrived together with the SSLRequest packet; a pipe that is fed by us
does not, and leaves the protocol classes the same with and without TLS.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from proxy.errors import ProtocolError

CHUNK = 64 * 1024


class TlsPipe:
    """Feed it what the network delivers; it returns what the peer said in clear and writes what must go out."""

    __slots__ = ("_incoming", "_object", "_outgoing", "_pending", "_write", "established")

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, write: Callable[[bytes], None], hostname: str | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=hostname
        )
        self._write = write
        self._pending: list[bytes] = []  # clear text written before the handshake was over
        self.established = False

    def start(self) -> None:
        """Begin the handshake (a client speaks first)."""
        self._handshake()

    def feed(self, data: bytes) -> bytes:
        """Clear text that became readable. Raises ProtocolError when the peer's TLS is broken or closed."""
        self._incoming.write(data)
        if not self.established and not self._handshake():
            return b""
        parts: list[bytes] = []
        try:
            while True:
                part = self._object.read(CHUNK)
                if not part:
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            pass  # close_notify; the connection's end follows
        except ssl.SSLError as error:
            raise ProtocolError(f"TLS failed: {error.reason or error}") from error
        self._flush()
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if not self.established:
            self._pending.append(data)
            return
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise ProtocolError(f"TLS failed: {error.reason or error}") from error
        self._flush()

    def peer_certificate(self) -> bytes | None:
        """The peer's certificate (DER), if it sent one."""
        return self._object.getpeercert(binary_form=True)

    def _handshake(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._flush()  # the alert that tells the peer why
            raise ProtocolError(f"TLS handshake failed: {error.reason or error}") from error
        self.established = True
        self._flush()
        for data in self._pending:
            self.write(data)
        self._pending.clear()
        return True

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._write(data)
