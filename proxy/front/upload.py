"""A file that a client sends because a server has asked for it (LOAD DATA LOCAL)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.wire.file_packets import FilePackets


class Upload:
    """The contents go to `take` in pieces, as they come; `end` is called behind them. `sequence`: the number of the
    packet that asked for it; `checked`: see FilePackets."""

    __slots__ = ("_end", "_packets", "_take", "finished")

    def __init__(
        self, take: Callable[[bytes], None], end: Callable[[], None], sequence: int, checked: bool = True
    ) -> None:
        self._take = take
        self._end = end
        self._packets = FilePackets(sequence, checked)
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def sequence(self) -> int:
        """The number of the last packet."""
        return self._packets.sequence

    def feed(self, data: bytes) -> bytes | None:
        """What the client has sent. Returns what is behind the file, None where there is more of it. Raises
        ProtocolError."""
        pieces: list[bytes] = []
        end = self._packets.feed(data, pieces)
        if pieces:
            self._take(b"".join(pieces))
        return None if end < 0 else data[end:]

    def discard(self) -> None:
        """Nobody needs the rest any more, which the client sends all the same."""
        self._take = lambda contents: None
        self._end = lambda: None

    def finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)
        self._end()
