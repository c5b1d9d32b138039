"""LOAD DATA LOCAL into a table of one server: its request for the file goes to the client, the file to the server.

The proxy opens no file, and keeps no more of one than is on its way: while the server does not take what it was sent,
the client is not read. Whoever fails, the client has to get rid of its whole file before it listens to an answer; what
comes of it in vain is thrown away.
"""

from __future__ import annotations

import asyncio

from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, TurnoutError
from proxy.front.environment import Entry
from proxy.front.session import Session
from proxy.front.statements import Relay, forward
from proxy.front.upload import Upload
from proxy.plan.plan import Send
from proxy.wire.file_packets import file_packets
from proxy.wire.response import LOAD

_FIRST_PACKET = 2  # of the file: behind the command and the server's request


async def forward_load(session: Session, entry: Entry, send: Send, payload: bytes) -> None:
    """Send the statement to the one target of `send`, the client's file too, and relay the answer. Raises
    TurnoutError."""
    session.client.edit()
    await forward(session, entry, send, payload, True, LOAD, FileRelay(session))


class FileRelay(Relay):
    """The sink of LOAD DATA LOCAL. It is done when the client has sent its whole file, whatever the server said."""

    __slots__ = ("_connection", "_sequence", "_upload")

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._upload: Upload | None = None
        self._connection: ServerConnection | None = None
        self._sequence = _FIRST_PACKET

    def on_file_asked(self, connection: ServerConnection) -> None:
        if self._session.closed:
            return
        self.relayed = False  # whatever fails now, the client can be told when it has sent its file
        self._connection = connection
        self._sequence = _FIRST_PACKET
        connection.writable = self._session.client.start_reading
        self._upload = self._session.client.receive_file(self._take, self._end)

    def _take(self, contents: bytes) -> None:
        assert self._connection is not None
        packets, self._sequence = file_packets(contents, self._sequence)
        self._connection.write_more(packets)
        if self._connection.write_paused:
            self._session.client.stop_reading()

    def _end(self) -> None:
        assert self._connection is not None
        self._connection.write_more(file_packets(b"", self._sequence)[0])

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        connection.forget_writable()
        upload = self._upload
        if upload is None or upload.finished.done():
            super().on_end(connection, pieces)
            return
        # Servers read the whole file before they answer, with an error too; this one does not, or is going away.
        connection.abort(ServerFailed(f"{connection.where} answered before it had the whole file"))
        upload.discard()
        self._session.client.start_reading()
        upload.finished.add_done_callback(lambda _: Relay.on_end(self, connection, pieces))

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        connection.forget_writable()
        upload = self._upload
        if upload is None or upload.finished.done():
            super().on_lost(connection, error)
            return
        upload.discard()
        self._session.client.start_reading()

        def fail(_: asyncio.Future[None]) -> None:
            Relay.on_lost(self, connection, error)

        upload.finished.add_done_callback(fail)
