"""Writing to a connection past its transport.

A transport's `write` looks after what the other side does not take at once. Nearly always all of it is taken, and what
that costs was for nothing. So what is whole, a command or an answer in one piece, is given to the system here, and to
the transport only what is left of it, or all where something is waiting there already.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_write = os.write


class Outlet:
    """Of one connection. `write`: its transport's own, by which is told whether anything stands between (TLS,
    compression, an answer that is edited)."""

    __slots__ = ("_fd", "_is_closing", "_waiting", "write")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.write: Callable[[bytes], None] = transport.write
        self._waiting: Callable[[], int] = transport.get_write_buffer_size
        self._is_closing: Callable[[], bool] = transport.is_closing
        socket = transport.get_extra_info("socket")
        self._fd: int = socket.fileno() if socket is not None else -1

    def send(self, data: bytes) -> None:
        """Write something that is whole (other parts of it would each be a packet of their own). As with a
        transport's `write`, whether the other side is still there is not known afterwards."""
        # Once the transport closes, the number may be another connection's.
        if self._fd < 0 or self._waiting() or self._is_closing():
            self.write(data)
            return
        try:
            sent = _write(self._fd, data)
        except OSError:
            sent = 0  # nothing is taken at present, or ever: the transport finds out and does what is to be done
        if sent < len(data):
            self.write(data[sent:])
