"""Pools: who gets which connection, and what becomes of those that come back."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from proxy.back.pool import PoolKey
from proxy.back.server import LOGIN_SETTINGS
from proxy.back.settings import for_charset
from proxy.errors import PoolExhausted, ServerFailed
from proxy.rules.model import ProxyHeader
from tests.back.fakes import (
    NO_SECRET,
    FakeServer,
    Stuck,
    filled,
    lose,
    play,
    refused,
    run_a_statement,
    settle,
    start,
    take,
    transport,
)

LATIN1 = for_charset("latin1", "latin1_bin")


# -- which connection --------------------------------------------------------------------------------------------------


def test_the_one_that_was_given_back_last_is_taken_first() -> None:
    async def scene() -> None:
        pool = FakeServer(10).account()
        a, b, c = await filled(pool, 3)
        for connection in (b, a, c):
            pool.release(connection)
        assert [pool.take_now(LOGIN_SETTINGS, None) for _ in range(4)] == [c, a, b, None]

    play(scene)


def test_one_with_the_session_s_settings_and_database_comes_before_the_newest() -> None:
    async def scene() -> None:
        pool = FakeServer(4).account()
        plain, latin1, attic, last = await filled(pool, 4, "shop")
        latin1.settings, attic.database = LATIN1, "attic"
        for connection in (plain, latin1, attic, last):
            pool.release(connection)
        assert pool.take_now(LATIN1, "shop") is latin1
        assert pool.take_now(LOGIN_SETTINGS, "attic") is attic
        assert pool.take_now(LATIN1, "attic") is last, "none fits: the newest"
        assert pool.take_now(LATIN1, "attic") is plain

    play(scene)


def test_one_in_another_database_does_not_fit() -> None:
    async def scene() -> None:
        pool = FakeServer(3).account()
        shop, attic, last = await filled(pool, 3, "shop")
        attic.database, last.settings = "attic", LATIN1
        for connection in (shop, attic, last):
            pool.release(connection)
        assert pool.take_now(LOGIN_SETTINGS, "shop") is shop

    play(scene)


def test_only_the_newest_few_are_compared() -> None:
    async def scene() -> None:
        pool = FakeServer(10).account()
        connections = await filled(pool, 10, "shop")
        connections[0].settings = LATIN1
        for connection in connections:
            pool.release(connection)
        assert pool.take_now(LATIN1, "shop") is connections[9], "nine newer ones hide it"
        assert pool.take_now(LATIN1, "shop") is connections[0]

    play(scene)


def test_with_room_to_spare_a_change_of_settings_opens_another_connection() -> None:
    async def scene() -> None:
        server = FakeServer(12)
        pool = server.account()
        pool.release((await filled(pool, 1, "shop"))[0])
        assert pool.take_now(LATIN1, "shop") is server.opened[0]
        await settle()
        assert (pool.size, len(pool.idle)) == (2, 1)
        server.check()
        small = FakeServer(4)
        pool = small.account()
        pool.release((await filled(pool, 1, "shop"))[0])
        assert pool.take_now(LATIN1, "shop") is small.opened[0]
        await settle()
        assert pool.size == 1

    play(scene)


# -- sessions without a default database: nothing takes a connection's away again --------------------------------------


def test_a_session_without_a_database_gets_a_connection_without_one() -> None:
    async def scene() -> None:
        server = FakeServer(4)
        pool = server.account()
        bare, other, shop = await filled(pool, 3, "shop")
        bare.database = other.database = None
        for connection in (bare, other, shop):
            pool.release(connection)
        assert pool.take_now(LOGIN_SETTINGS, None) is other
        assert pool.take_now(LOGIN_SETTINGS, None) is bare
        assert pool.take_now(LOGIN_SETTINGS, None) is None
        fresh = await take(pool)
        assert fresh.database is None
        assert fresh not in (bare, other, shop)
        server.check()

    play(scene)


@pytest.mark.parametrize("idle", [True, False])
def test_a_full_server_makes_room_for_a_session_without_a_database(idle: bool) -> None:
    async def scene() -> None:
        server = FakeServer(2)
        pool = server.account()
        held = await filled(pool, 2, "shop")
        if idle:
            pool.release(held[0])
        waiting = start(pool)
        await settle()
        if not idle:
            pool.release(held[0])
        fresh = await waiting
        assert fresh.database is None
        assert transport(held[0]).closed
        assert not transport(held[1]).closed
        await settle()
        server.check()
        assert server.connections == {fresh, held[1]}

    play(scene)


# -- others wait --------------------------------------------------------------------------------------------------


def test_nobody_overtakes_those_who_wait() -> None:
    async def scene() -> None:
        server = FakeServer(1)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        waiting = start(pool)
        await settle()
        pool.release(connection)
        assert pool.take_now(LOGIN_SETTINGS, None) is None
        assert await waiting is connection

    play(scene)


def test_nobody_overtakes_those_for_whom_a_connection_is_being_opened() -> None:
    async def scene() -> None:
        server = FakeServer(2)
        pool = server.account()
        good, lost = await filled(pool, 2)
        pool.release(good)
        pool.release(lost)
        lost.abort(ServerFailed("killed"))
        server.connect_s = 1.0
        future = asyncio.get_running_loop().create_future()
        pool.waiters.append(future)
        await settle()
        assert pool.idle == [good]
        assert pool.take_now(LOGIN_SETTINGS, "shop") is None
        assert (await future).aborted is None
        assert pool.take_now(LOGIN_SETTINGS, "shop") is good

    play(scene)


def test_a_connection_that_is_about_to_be_lost_is_not_given_out() -> None:
    async def scene() -> None:
        server = FakeServer(2)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        pool.release(connection)
        connection.abort(ServerFailed("killed"))
        assert pool.take_now(LOGIN_SETTINGS, None) is None
        other = await take(pool)
        assert other is not connection
        assert other.aborted is None
        await settle()
        server.check()
        assert server.size == 1

    play(scene)


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_who_waits_is_served_in_order() -> None:
    async def scene() -> None:
        server = FakeServer(2)
        pool = server.account()
        held = await filled(pool, 2)
        served: list[int] = []

        async def client(number: int) -> None:
            connection = await take(pool)
            served.append(number)
            await asyncio.sleep(0.01)
            pool.release(connection)

        clients = []
        for number in range(6):
            clients.append(asyncio.create_task(client(number)))
            await settle()
        for connection in held:
            pool.release(connection)
        await asyncio.gather(*clients)
        assert served == list(range(6))
        assert server.counters.waits == 2 + 6, "the first two waited for a connection to be made"
        assert not pool.waiting
        server.check()

    play(scene)


def test_the_limit_of_a_server_is_kept_however_many_ask() -> None:
    async def scene() -> None:
        server = FakeServer(3)
        server.connect_s = 0.5
        pools = [server.account(user) for user in ("a", "b")]
        tasks = [start(pools[number % 2]) for number in range(8)]
        await asyncio.sleep(1)
        server.check()
        assert server.size == 3
        assert sum(task.done() for task in tasks) == 3
        for task in tasks:
            task.cancel()

    play(scene)


def test_waiting_ends_after_the_time_limit() -> None:
    async def scene() -> None:
        server = FakeServer(1, wait_s=2.5)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(PoolExhausted, match=r"all 1 connections .* were busy for 2\.5 s \(limit 1\)") as caught:
            await take(pool)
        assert (caught.value.errno, caught.value.sqlstate) == (1040, "08004")
        assert loop.time() - began == pytest.approx(2.5, abs=0.01)
        assert not pool.waiting
        assert server.counters.waits_timed_out == 1
        pool.release(connection)
        assert await take(pool) is connection

    play(scene)


def test_the_queue_is_bounded() -> None:
    async def scene() -> None:
        server = FakeServer(1, max_waiters=2)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        waiting = [start(pool), start(pool)]
        await settle()
        with pytest.raises(PoolExhausted, match="2 statements already wait"):
            await take(pool)
        assert server.counters.waits_refused == 1
        pool.release(connection)
        pool.release(await waiting[0])
        assert await waiting[1] is connection

    play(scene)


@pytest.mark.parametrize("how", ["time limit", "cancelled"])
def test_a_connection_that_comes_at_the_moment_that_waiting_ends_is_not_lost(how: str) -> None:
    async def scene() -> None:
        server = FakeServer(1, wait_s=1.0)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        first, second = start(pool), None
        await settle()
        future = pool.bare[0]
        if how == "cancelled":
            pool.release(connection)
            first.cancel()
        else:
            # Given in the same turn of the loop in which the time is over, behind it: both have happened when the
            # task goes on.
            loop = asyncio.get_running_loop()
            loop.call_at(loop.time() + 1.0, pool.release, connection)
            await asyncio.sleep(1.0)
        second = start(pool)
        with pytest.raises((PoolExhausted, asyncio.CancelledError)):
            await first
        assert future.done()
        assert await second is connection
        server.check()

    play(scene)


def test_the_moment_between_the_time_limit_and_the_end_of_the_task() -> None:
    """The future has its connection, and only then the task is told that the time is over."""

    async def scene() -> None:
        server = FakeServer(1, wait_s=1.0)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        waiting = start(pool)
        await settle()
        pool.bare.popleft().set_result(connection)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.idle == [connection]
        server.check()

    play(scene)


def test_who_gave_up_waiting_is_passed_over() -> None:
    async def scene() -> None:
        server = FakeServer(1)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        first, second, third = start(pool), start(pool), start(pool)
        await settle()
        second.cancel()
        first.cancel()
        pool.release(connection)
        assert await third is connection
        assert not pool.waiting
        assert first.cancelled()
        assert second.cancelled()

    play(scene)


# -- coming back ------------------------------------------------------------------------------------------------------


def test_a_connection_that_comes_back_has_no_holder() -> None:
    class Holder:
        def on_held_lost(self, connection: object, error: object) -> None:
            raise AssertionError("it held the connection no more")

    async def scene() -> None:
        pool = FakeServer(1).account()
        (connection,) = await filled(pool, 1)
        connection.holder = connection.taker = Holder()
        pool.release(connection)
        assert connection.holder is None
        assert connection.taker is None
        lose(connection)

    play(scene)


@pytest.mark.parametrize("why", ["busy", "dirty", "old generation", "old", "wait_timeout"])
def test_what_cannot_be_given_to_another_session_is_closed(why: str) -> None:
    async def scene() -> None:
        server = FakeServer(1)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        waiting = start(pool)
        await settle()
        if why == "busy":
            run_a_statement(connection)
        elif why == "dirty":
            connection.dirty = "temporary table"
        elif why == "old generation":
            server.generation += 1
        elif why == "old":
            connection.born = time.monotonic() - server.pool_rules.max_age_s - 1
        else:
            connection.settings = LOGIN_SETTINGS.with_changes({"wait_timeout": b"1"})
        pool.release(connection)
        assert connection.aborted is not None
        assert transport(connection).written.endswith(b"\x01\x00\x00\x00\x01")
        assert transport(connection).closed
        assert pool.idle == []
        fresh = await waiting
        assert fresh is not connection, "who waits gets a new one instead"
        assert connection.pool is None
        server.check()
        assert server.connections == {fresh}

    play(scene)


def test_one_that_is_as_it_should_be_is_kept() -> None:
    async def scene() -> None:
        server = FakeServer(1)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        connection.born = time.monotonic() - server.pool_rules.max_age_s + 5
        before = time.monotonic()
        pool.release(connection)
        assert pool.idle == [connection]
        assert connection.idle_since >= before
        assert not transport(connection).closed

    play(scene)


def test_a_lost_connection_that_is_given_back_counts_once() -> None:
    async def scene() -> None:
        server = FakeServer(2)
        pool = server.account()
        lost, aborted = await filled(pool, 2)
        lose(lost)
        pool.release(lost)
        aborted.abort(ServerFailed("broke the protocol"))
        pool.release(aborted)
        await settle()
        assert (pool.idle, pool.size, server.size) == ([], 0, 0)
        server.check()
        assert server.stats.closed._counts == {"lost": 2}  # type: ignore[attr-defined]

    play(scene)


def test_an_idle_connection_that_the_server_closes_is_forgotten() -> None:
    async def scene() -> None:
        server = FakeServer(2)
        pool = server.account()
        first, second = await filled(pool, 2)
        pool.release(first)
        pool.release(second)
        lose(second)
        assert pool.idle == [first]
        server.check()

    play(scene)


def test_a_lost_connection_makes_room_for_who_waits() -> None:
    async def scene() -> None:
        server = FakeServer(1)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        waiting = start(pool)
        await settle()
        lose(connection)
        assert (await waiting).aborted is None
        server.check()

    play(scene)


def test_what_is_idle_for_too_long_or_too_old_is_closed() -> None:
    async def scene() -> None:
        server = FakeServer(3)
        pool = server.account()
        idle, old, fresh = await filled(pool, 3)
        for connection in (idle, old, fresh):
            pool.release(connection)
        now = time.monotonic()
        idle.idle_since = now - server.pool_rules.max_idle_s - 1
        old.born = now - server.pool_rules.max_age_s - 1
        server.trim(now)
        assert pool.idle == [fresh]
        await settle()
        assert server.connections == {fresh}
        server.check()

    play(scene)


# -- opening ----------------------------------------------------------------------------------------------------------


def test_who_waits_for_a_connection_that_is_refused_is_told_why() -> None:
    async def scene() -> None:
        server = FakeServer(2)
        server.refusal["app"] = refused()
        pool = server.account()
        tasks = [start(pool) for _ in range(4)]
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        for error in errors:
            assert isinstance(error, ServerFailed)
            assert (error.errno, error.sqlstate) == (1045, "28000")
            assert server.where in error.message
        assert len({id(error) for error in errors}) == 4, "an exception belongs to one raiser"
        assert server.size == 0
        server.check()

    play(scene)


@pytest.mark.parametrize("errno", [1040, 1203, 1226])
def test_a_server_that_is_full_serves_who_waits_with_what_there_is(errno: int) -> None:
    async def scene() -> None:
        server = FakeServer(5)
        pool = server.account()
        (connection,) = await filled(pool, 1)
        server.refusal["app"] = refused(errno)
        waiting = start(pool)
        await settle()
        assert not waiting.done()
        pool.release(connection)
        assert await waiting is connection
        server.check()

    play(scene)


def test_a_server_that_is_full_and_of_which_there_is_nothing_is_an_error() -> None:
    async def scene() -> None:
        server = FakeServer(5)
        server.refusal["app"] = refused(1040)
        results = await asyncio.gather(*[start(server.account()) for _ in range(3)], return_exceptions=True)
        assert [getattr(result, "errno", None) for result in results] == [1040] * 3
        assert server.size == 0

    play(scene)


def test_a_server_that_goes_down_fails_who_waits_and_what_runs() -> None:
    async def scene() -> None:
        server = FakeServer(2)
        pool = server.account()
        held = await filled(pool, 2)
        waiting = start(pool)
        await settle()
        assert server.mark_down("no answer to a probe")
        with pytest.raises(ServerFailed, match="no answer to a probe"):
            await waiting
        await settle()
        assert [getattr(connection.aborted, "errno", 0) for connection in held] == [1159, 1159]
        assert server.size == 0
        with pytest.raises(ServerFailed):
            await take(pool)
        assert server.mark_up()
        assert (await take(pool)).aborted is None
        server.check()

    play(scene)


def test_a_connection_that_was_being_opened_when_the_server_went_down_is_not_used() -> None:
    async def scene() -> None:
        server = FakeServer(1)
        server.connect_s = 1.0
        pool = server.account()
        first = start(pool)
        await asyncio.sleep(0.5)
        server.mark_down("gone")
        with pytest.raises(ServerFailed):
            await first
        server.mark_up()
        second = start(pool)
        connection = await second
        assert connection is server.opened[1]
        assert server.opened[0].aborted is not None
        await settle()
        server.check()
        assert server.size == 1

    play(scene)


def test_one_that_is_lost_between_login_and_pool() -> None:
    class Losing(FakeServer):
        async def connect(self, *args: object, **more: object) -> object:  # type: ignore[override]
            connection = await super().connect(*args, **more)  # type: ignore[arg-type]
            if len(self.opened) == 1:
                lose(connection)
            return connection

    async def scene() -> None:
        server = Losing(1)
        connection = await take(server.account())
        assert connection is server.opened[1]
        server.check()

    play(scene)


# -- several accounts on one server -----------------------------------------------------------------------------------


def test_an_idle_connection_of_another_account_makes_room() -> None:
    async def scene() -> None:
        server = FakeServer(3)
        a, b, c = (server.account(user) for user in "abc")
        older, newer = (await filled(a, 1))[0], (await filled(b, 1))[0]
        busy = (await filled(b, 1))[0]
        a.release(older)
        b.release(newer)
        older.idle_since, newer.idle_since = 1.0, 2.0
        await take(c)
        assert transport(older).closed, "the one that was idle for longest"
        assert not transport(newer).closed
        assert not transport(busy).closed
        assert (a.size, b.size, c.size) == (0, 2, 1)
        server.check()
        await settle()
        server.check()

    play(scene)


@pytest.mark.parametrize("how", ["given back", "lost", "dirty"])
def test_an_account_that_could_open_none_gets_one_when_another_s_comes_free(how: str) -> None:
    async def scene() -> None:
        server = FakeServer(2)
        a, b = server.account("a"), server.account("b")
        held = await filled(a, 2)
        waiting = [start(b), start(b)]
        await settle()
        assert set(server.starved) == {b}
        for connection, task in zip(held, waiting):
            if how == "lost":
                lose(connection)
            else:
                connection.dirty = "lock" if how == "dirty" else ""
                a.release(connection)
            assert (await task).pool is b
            server.check()
        assert (a.size, b.size) == (0, 2)

    play(scene)


def test_three_accounts_take_turns_on_one_connection() -> None:
    async def scene() -> None:
        server = FakeServer(1)
        served: dict[str, int] = {}

        async def client(user: str) -> None:
            pool = server.account(user)
            for _ in range(5):
                connection = await take(pool)
                served[user] = served.get(user, 0) + 1
                await asyncio.sleep(0.01)
                server.check()
                pool.release(connection)

        await asyncio.gather(*[client(user) for user in ("a", "b", "c")])
        assert served == {"a": 5, "b": 5, "c": 5}

    play(scene)


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


def test_who_waits_for_nothing_that_can_happen_is_told_by_the_clock_only() -> None:
    """The fakes themselves: a wait without a time limit and without anybody who could end it is noticed."""

    async def scene() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        play(scene)


# -- addresses of clients ----------------------------------------------------------------------------------------------


def test_a_server_that_is_not_told_of_clients_addresses_has_one_pool_for_all() -> None:
    async def scene() -> None:
        server = FakeServer(10)
        pools = {server.pool(PoolKey("app", 0, origin), NO_SECRET) for origin in ("10.0.0.1", "10.0.0.2", "")}
        assert len(pools) == 1

    play(scene)


def test_one_that_is_told_has_a_pool_for_each_until_nobody_needs_it() -> None:
    async def scene() -> None:
        server = FakeServer(10)
        server.proxy_header = ProxyHeader.V2
        kept = server.pool(PoolKey("app", 0, "10.0.0.1"), NO_SECRET)
        (busy,) = await filled(server.pool(PoolKey("app", 0, "10.0.0.2"), NO_SECRET), 1)
        pools = [server.pool(PoolKey("app", 0, f"10.1.0.{number}"), NO_SECRET) for number in range(100)]
        assert len(server.pools) == 102
        pools.clear()
        gc.collect()
        server.trim(time.monotonic())
        assert [key.origin for key in server.pools] == ["10.0.0.1", "10.0.0.2"]
        assert server.pool(kept.key, NO_SECRET) is kept
        lose(busy)
        await settle()
        del busy
        gc.collect()
        server.trim(time.monotonic())
        assert [key.origin for key in server.pools] == ["10.0.0.1"]

    play(scene)


def test_a_raised_limit_serves_who_waits() -> None:
    async def scene() -> None:
        server = FakeServer(1, wait_s=5.0)
        await filled(server.account("a"), 1)
        waiting = start(server.account("b"))
        await settle()
        server.allow(2)
        assert (await waiting).aborted is None

    play(scene)


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


def test_a_lowered_limit_closes_what_is_too_many() -> None:
    async def scene() -> None:
        server = FakeServer(4)
        pool, other = server.account("a"), server.account("b")
        one, two, three = await filled(pool, 3)
        other.release(await take(other))
        pool.release(three)
        server.allow(2)
        assert (server.size, pool.size, other.size) == (2, 2, 0)
        server.allow(1)
        pool.release(one)
        assert one.aborted is not None or transport(one).closed
        await settle()
        pool.release(two)
        await settle()
        assert pool.idle == [two]
        assert server.size == pool.size == len(server.connections) == 1

    play(scene)
