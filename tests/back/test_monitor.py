"""What a probe finds out about a server besides that it is there."""

from __future__ import annotations

import asyncio
from typing import cast

from bench.fast_path import make
from proxy.back.connection import ServerConnection
from proxy.back.monitor import Monitor
from proxy.rules.model import ServiceAccount


class Probe:
    """A connection whose server has these statements begin its sessions."""

    server_version = "10.11.6-MariaDB"

    def __init__(self, init_connect: bytes) -> None:
        self.init_connect = init_connect

    async def row(self, sql: str, columns: int) -> list[bytes | None]:
        row = [b"", b"0", b"0", b"utf8mb4", b"utf8mb4", b"utf8mb4_general_ci", b"28800", b"28800", self.init_connect]
        assert len(row) == columns
        return list(row)


def test_connections_that_were_begun_otherwise_are_given_up() -> None:
    async def play() -> None:
        _, connection = make()
        pool = connection.pool
        assert pool is not None
        server, monitor = pool.server, Monitor(pool.server, ServiceAccount("turnout", "turnout"))

        async def read(init_connect: bytes) -> None:
            await monitor._read_baseline(cast(ServerConnection, Probe(init_connect)))

        await read(b"")
        assert pool.idle == [connection]
        await read(b"SET autocommit=0")
        assert not pool.idle
        assert connection.generation != server.generation
        generation = server.generation
        await read(b"SET autocommit=0")
        assert server.generation == generation
        await read(b"")
        assert server.generation == generation + 1

    asyncio.run(play())
