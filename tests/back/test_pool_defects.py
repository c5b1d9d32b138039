"""What pools do not do right yet. Whoever puts one right takes its mark away (strict: it fails from then on)."""

from __future__ import annotations

import asyncio

import pytest

from proxy.back.server import LOGIN_SETTINGS
from proxy.errors import ServerFailed
from tests.back.fakes import FakeServer, filled, lose, play, refused, settle, start, take


def test_a_busy_account_does_not_keep_another_out() -> None:
    async def scene() -> None:
        server = FakeServer(2, wait_s=5.0)
        a, b = server.account("a"), server.account("b")
        stop = asyncio.get_running_loop().time() + 20

        async def busy() -> None:
            while asyncio.get_running_loop().time() < stop:
                connection = await take(a)
                await asyncio.sleep(0.01)
                a.release(connection)

        clients = [asyncio.create_task(busy()) for _ in range(6)]
        await asyncio.sleep(0.1)
        b.release(await take(b))  # nearly a thousand statements of the other account are answered meanwhile
        await asyncio.gather(*clients)

    play(scene)


@pytest.mark.xfail(strict=True, reason="_open() gives its slot back without telling starved pools")
def test_a_refused_login_makes_room_for_another_account() -> None:
    async def scene() -> None:
        server = FakeServer(1, wait_s=5.0)
        server.connect_s = 0.5
        server.refusal["a"] = refused()
        wrong = start(server.account("a"))
        await settle()
        right = start(server.account("b"))
        with pytest.raises(ServerFailed):
            await wrong
        assert (await right).aborted is None

    play(scene)


@pytest.mark.xfail(strict=True, reason="_open() knows TurnoutError only")
def test_a_mistake_of_ours_while_connecting_costs_no_slot() -> None:
    async def scene() -> None:
        server = FakeServer(1, wait_s=1.0)
        server.refusal["a"] = UnicodeError("label too long")
        waiting = start(server.account("a"))
        await settle()
        await asyncio.gather(waiting, return_exceptions=True)
        assert [type(failure) for failure in server.failures] == [UnicodeError]
        server.refusal.clear()
        assert server.size == 0
        assert (await take(server.account("a"))).aborted is None

    play(scene)


def test_an_idle_connection_is_found_behind_one_that_is_about_to_be_lost() -> None:
    async def scene() -> None:
        server = FakeServer(2)
        pool = server.account()
        good, lost = await filled(pool, 2, "shop")
        pool.release(good)
        pool.release(lost)
        lost.abort(ServerFailed("killed"))
        assert pool.take_now(good.settings, "shop") is good

    play(scene)


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


def test_a_connection_with_a_database_that_is_lost_on_its_way_to_a_session_without_one() -> None:
    async def scene() -> None:
        server = FakeServer(1, wait_s=5.0)
        pool = server.account()
        (connection,) = await filled(pool, 1, "shop")
        waiting = start(pool)
        await settle()
        server.starved.clear()
        pool.release(connection)
        lose(connection)
        assert (await waiting).aborted is None

    play(scene)


def test_room_for_a_session_without_a_database_costs_one_connection() -> None:
    async def scene() -> None:
        server = FakeServer(4)
        pool = server.account()
        for connection in await filled(pool, 4, "shop"):
            pool.release(connection)
        assert pool.take_now(LOGIN_SETTINGS, None) is None  # as a statement's fast path does
        await take(pool)
        await settle()
        assert server.size == 4

    play(scene)


@pytest.mark.xfail(strict=True, reason="take() goes to the end of the queue, and others get what is opened for it")
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
