"""`cache.verify`: served values are compared with the primary, and what differs is counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.front import caching, samples
from proxy.front.samples import _rows
from tests.cache.test_served import (
    SOON_S,
    answer,
    cached,
    direct,
    fresh,
    memcached,
    rules,
    server,
    through,
    turnout,
)
from tests.servers import MariaDB, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import DATABASE

__all__ = ["fresh", "memcached", "server", "turnout"]
SQL = "SELECT id, n FROM users WHERE id = 1"
AGED = "SELECT v FROM tokens WHERE id = 1"


def test_off_by_default_and_then_nothing_is_compared(fresh: MariaDB, turnout: Callable[..., Turnout]) -> None:
    proxy = turnout(rules(fresh))
    server, client = direct(fresh), through(proxy)
    cached(server, client, [SQL])
    wait_until(lambda: proxy.metric("turnout_cache_hits_total") > 0, SOON_S)
    assert proxy.metric("turnout_cache_samples_total") == 0


def test_every_hit_is_compared_and_stale_ones_are_counted_with_their_age(
    fresh: MariaDB, turnout: Callable[..., Turnout]
) -> None:
    proxy = turnout(rules(fresh, cache=", verify: 1"))
    server, client = direct(fresh), through(proxy)
    users, tokens = f"{DATABASE}.users", f"{DATABASE}.tokens"

    def value(name: str, table: str) -> float:
        return proxy.metric(f"turnout_cache_{name}_total", table=table)

    def hit(sql: str, table: str) -> None:
        """Until one more was compared."""
        before = value("samples", table)

        def compared() -> bool:
            answer(client, sql)
            return value("samples", table) > before

        wait_until(compared, SOON_S)

    hit(SQL, users)
    hit(AGED, tokens)
    assert value("samples_stale", users) == 0
    assert value("samples_stale", tokens) == 0
    with server.cursor() as cursor:
        cursor.execute("UPDATE tokens SET v = v + 1")
    hit(AGED, tokens)
    hit(AGED, tokens)
    assert value("samples_stale", tokens) >= 1
    assert value("samples_stale_seconds", tokens) > 0
    assert value("samples_wrong", tokens) == 0  # nobody said that it would be right
    with server.cursor() as cursor:
        cursor.execute("UPDATE users SET n = n + 1")
    hit(SQL, users)
    hit(SQL, users)
    assert value("samples_wrong", users) == 0


def test_answers_are_the_same_in_any_order_of_their_rows() -> None:
    def response(*payloads: bytes) -> bytes:
        return b"".join(len(each).to_bytes(3, "little") + bytes((n + 1,)) + each for n, each in enumerate(payloads))

    one = response(b"\x01", b"def", b"\xfe\0\0\2\0", b"a", b"b", b"\xfe\0\0\2\0")
    assert _rows(one) == _rows(response(b"\x01", b"def", b"\xfe\0\0\2\0", b"b", b"a", b"\xfe\0\0\x22\0"))
    assert _rows(one) != _rows(response(b"\x01", b"def", b"\xfe\0\0\2\0", b"b", b"b", b"\xfe\0\0\2\0"))
    assert _rows(one) != _rows(response(b"\x01", b"def", b"\xfe\0\0\2\0", b"a", b"\xfe\0\0\2\0"))


def test_the_hit_path_does_not_ask_for_a_sample_when_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from tests.cache.test_filling import World

    def never(*_: object) -> None:
        raise AssertionError("sampled")

    monkeypatch.setattr(caching, "sample", never)
    monkeypatch.setattr(samples, "_MAX_AT_ONCE", 0)
    world = World()

    async def work() -> None:
        world.filled(world.session())
        for _ in range(200):
            assert world.serve(world.session())[0] is caching.Served.ANSWERED

    asyncio.run(work())
    world.close()
