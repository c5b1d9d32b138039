"""What pools do not do right yet. Who puts one right moves it to test_pool (strict: it fails from then on)."""

from __future__ import annotations

import asyncio

import pytest

from proxy.back.server import LOGIN_SETTINGS
from tests.back.fakes import FakeServer, filled, play, settle, start, take


@pytest.mark.xfail(strict=True, reason="nobody is told of a limit that was raised")
def test_a_raised_limit_serves_who_waits() -> None:
    async def scene() -> None:
        server = FakeServer(1, wait_s=5.0)
        await filled(server.account("a"), 1)
        waiting = start(server.account("b"))
        await settle()
        server.limit = 2  # as Clusters.apply does
        assert (await waiting).aborted is None

    play(scene)


@pytest.mark.xfail(
    strict=True, reason="a retired server's new connections have its new generation, and nobody trims it"
)
def test_a_retired_server_keeps_no_connection() -> None:
    async def scene() -> None:
        server = FakeServer(1)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        waiting = start(pool)
        await settle()
        server.close()
        pool.release(connection)
        pool.release(await waiting)
        await settle()
        assert server.size == 0

    play(scene)


@pytest.mark.xfail(strict=True, reason="take() closes whatever comes back until a new one happens to reach it")
def test_a_session_without_a_database_is_served_in_its_turn() -> None:
    async def scene() -> None:
        server = FakeServer(2, wait_s=5.0)
        server.connect_s = 0.01
        pool = server.account()
        stop = asyncio.get_running_loop().time() + 20

        async def busy() -> None:
            while asyncio.get_running_loop().time() < stop:
                connection = await pool.take(LOGIN_SETTINGS, "shop")
                connection.database = "shop"
                await asyncio.sleep(0.01)
                pool.release(connection)

        clients = [asyncio.create_task(busy()) for _ in range(6)]
        await asyncio.sleep(1)
        opened = len(server.opened)
        bare = await take(pool)
        assert bare.database is None
        pool.release(bare)
        assert len(server.opened) - opened <= 2
        await asyncio.gather(*clients)

    play(scene)
