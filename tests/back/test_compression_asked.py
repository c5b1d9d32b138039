"""Compression is asked of a server, and used where it offers it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from proxy.back.compressed import ServerLink
from proxy.back.connection import ServerConnection
from proxy.back.server import LOGIN_SETTINGS
from proxy.wire import capability as cap
from proxy.wire.compression import CompressedReader, compressed
from proxy.wire.frames import encode
from proxy.wire.login import Accepted, ClientLogin, Secret, SendBytes
from proxy.wire.packets import encode_ok
from tests.wire.dialogue import GREETING, PASSWORD, client_login


class Server(asyncio.Protocol):
    """Logs a client in and answers OK to its first command, compressed if that was agreed on."""

    def __init__(self, login: ClientLogin) -> None:
        self._login = login
        self.compressed = False
        self.asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send(self._login.start())

    def _send(self, events: object) -> None:
        assert isinstance(events, list)
        for event in events:
            if isinstance(event, Accepted):
                self._transport.write(encode(encode_ok(), event.sequence))
                self.compressed = bool(event.capabilities & cap.COMPRESS)
            else:
                assert isinstance(event, SendBytes), event
                self._transport.write(event.data)

    def data_received(self, data: bytes) -> None:
        if not self._login.done:
            self._send(self._login.receive(data))
            return
        answer = encode(encode_ok(7), 1)
        if self.compressed:
            reader = CompressedReader()
            reader.append(data)
            data = reader.read() or b""
            answer = compressed(answer, 1)[0]
        self.asked = data
        self._transport.write(answer)


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_it_is_used_where_both_want_it(offered: bool, asked: bool) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        offers = GREETING.capabilities | (cap.COMPRESS if offered else 0)
        login = client_login(replace(GREETING, capabilities=offers | cap.SESSION_TRACK))
        there = Server(login)
        listening = await loop.create_server(lambda: there, "127.0.0.1", 0)
        secret = Secret.of_password(PASSWORD)
        here = ServerConnection(
            "the server",
            user="app",
            secret=secret,
            capabilities=cap.SESSION_TRACK,
            charset=45,
            settings=LOGIN_SETTINGS,
            compress=asked,
        )
        await loop.create_connection(lambda: here, *listening.sockets[0].getsockname())
        await here.ready()
        answer = await here.command(b"\x03DO 1")
        assert answer == encode(encode_ok(7), 1)
        assert here.scanner.affected_rows == 7
        assert there.asked == encode(b"\x03DO 1", 0)
        assert there.compressed == (offered and asked)
        assert isinstance(here.transport, ServerLink) == there.compressed
        here.close()
        listening.close()

    asyncio.run(asyncio.wait_for(scene(), 30))
