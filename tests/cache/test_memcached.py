"""Values in real memcached servers: whatever happens to them costs hits, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import getpass
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.cache import memcached as module
from proxy.cache.cached_value import CachedValue
from proxy.cache.memcached import GET_TIMEOUT_S, MAX_ITEM_BYTES, Memcached, RemoteCounters
from proxy.cache.store import Store
from proxy.cache.value import PREFIX, RemoteKey, encode_item, named, words_of
from proxy.rules.model import Address
from tests.cache.asking import fetch, fetch_from, lease
from tests.cache.stalling import Stalling
from tests.servers import Memcached as Server
from tests.servers import Run
from tests.servers.process import wait_until

SOON_S = 10.0


def key(n: int) -> RemoteKey:
    return named(words_of((b"main", b"text", b"shop", b"SELECT ..", b"%d" % n)))


def value(n: int, size: int = 100) -> CachedValue:
    return CachedValue(1, 77, n, (1, 2), (b"%d;" % n).ljust(size, b"x"), n, 0)


class Remote(Memcached):
    """With the tasks that it makes, and helpers that wait."""

    def __init__(self, *ports: int | str) -> None:
        self.tasks: list[asyncio.Future[None]] = []
        addresses = [Address(path=p) if isinstance(p, str) else Address("127.0.0.1", p) for p in ports]
        super().__init__(addresses, self._spawn, RemoteCounters())

    def _spawn(self, work: Awaitable[None], what: str) -> object:
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    async def sent(self) -> None:
        """Everything that was to be sent has been, or was given up."""
        async with asyncio.timeout(SOON_S):
            while self.tasks:
                await self.tasks.pop()
            for node in self._nodes:
                while node._link is not None and node._link._waiting:  # noqa: ASYNC110 - it has no event for this
                    await asyncio.sleep(0.001)

    async def keep(self, n: int, size: int = 100) -> None:
        self.send(key(n), value(n, size))
        await self.sent()

    async def found(self, n: int) -> bool:
        """Whether value n is there; another value would be a failure, and so would a long wait."""
        began = time.monotonic()
        got = await fetch(self, key(n))
        assert time.monotonic() - began < SOON_S
        assert got is None or (got.response.startswith(b"%d;" % n) and got.position == n)
        return got is not None

    async def serves(self, n: int) -> None:
        """Wait until it serves again."""
        async with asyncio.timeout(SOON_S):
            while not await self.found(n):
                await self.keep(n)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def remote_of(*ports: int | str) -> AsyncIterator[Remote]:
    """A client; when it is closed, nothing of it is left."""
    before = asyncio.all_tasks()
    remote = Remote(*ports)
    yield remote
    await remote.close()
    async with asyncio.timeout(SOON_S):
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left, timeout=0.1)
    for node in remote._nodes:
        assert node._link is None or (node._link.closed and not node._link._waiting)


@pytest.fixture(scope="module")
def servers(run: Run) -> list[Server]:
    return [run.memcached(f"memcached{n}", size_mb=16) for n in range(3)]


@pytest.fixture
def server(servers: list[Server]) -> Server:
    command(servers[0], b"flush_all")
    return servers[0]


@pytest.fixture
def own_server(run: Run) -> Iterator[Server]:
    """One that a test may stop."""
    made = run.memcached("own", size_mb=16)
    yield made
    made.kill()


def command(server: Server, line: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), 5.0) as connection:
        connection.sendall(line + b"\r\n")
        return connection.recv(1 << 16)


def curr_connections(server: Server) -> int:
    stats = dict(line.split()[1:3] for line in command(server, b"stats").splitlines() if line.startswith(b"STAT "))
    return int(stats[b"curr_connections"])


def run_async(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 60))  # type: ignore[arg-type]
    gc.collect()  # a task whose error nobody saw says so now, and that fails the test


# -- when all is well ----------------------------------------------------------------------------------------------


def test_what_was_sent_is_fetched_by_another_client(server: Server) -> None:
    async def work() -> None:
        async with remote_of(server.port) as one, remote_of(server.port) as other:
            assert not await other.found(1)
            await one.keep(1)
            assert await other.found(1)
            got = await fetch(other, key(1))
            assert got is not None
            assert (got.log_id, got.slots, got.rows, got.incarnation) == (77, (1, 2), 1, 0)
            assert (one.counters.sets, other.counters.gets, other.counters.hits) == (1, 3, 2)

    run_async(work)


def test_a_unix_socket(run: Run) -> None:
    folder = run.place("memcached-socket")
    path = folder / "socket"
    process = subprocess.Popen(["memcached", "-s", str(path), "-m", "16", "-u", getpass.getuser()], env=run.environment)
    try:
        wait_until(path.exists, SOON_S)

        async def work() -> None:
            async with remote_of(str(path)) as remote:
                await remote.serves(1)

        run_async(work)
    finally:
        process.terminate()
        process.wait()


def test_a_value_over_the_item_size_is_not_sent(server: Server) -> None:
    async def work() -> None:
        async with remote_of(server.port) as remote:
            fitting = MAX_ITEM_BYTES - len(encode_item(key(1), value(1, 100_000))) + 100_000
            await remote.keep(1, fitting)
            assert remote.counters.too_long == 0
            assert await remote.found(1)
            await remote.keep(2, fitting + 1)
            assert remote.counters.too_long == 1
            assert not await remote.found(2)

    run_async(work)


def test_a_server_with_a_smaller_item_size_costs_only_the_long_values(run: Run) -> None:
    port = run.port()
    process = subprocess.Popen(
        ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "16", "-I", "512k", "-u", getpass.getuser()],
        env=run.environment,
    )
    try:

        async def work() -> None:
            async with remote_of(port) as remote:
                await remote.serves(1)
                errors = remote.counters.errors
                await remote.keep(2, 600_000)
                assert remote.counters.too_long == 1
                assert remote.counters.errors == errors
                assert await remote.found(1)

        run_async(work)
    finally:
        process.terminate()
        process.wait()


def test_other_data_is_left_alone(server: Server) -> None:
    """Another application's, and that of another version of ours."""
    with socket.create_connection(("127.0.0.1", server.port), 5.0) as connection:
        for name in (b"session:5", b"turnout:0:abc", b"turnout:2:abc", b"turnouts"):
            connection.sendall(b"set %s 0 0 4\r\nmine\r\n" % name)
            assert connection.recv(100) == b"STORED\r\n"

    async def work() -> None:
        async with remote_of(server.port) as remote:
            for n in range(50):
                assert await lease(remote, key(n))
                await remote.keep(n)
                remote.end_lease(key(n))
            await remote.sent()

    run_async(work)
    for name in (b"session:5", b"turnout:0:abc", b"turnout:2:abc", b"turnouts"):
        assert b"mine" in command(server, b"get " + name)


def test_every_item_has_our_prefix(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE_S", 60)  # it is to be there when we look

    async def work() -> None:
        async with remote_of(server.port) as remote:
            await remote.keep(1)
            await lease(remote, key(1))

    run_async(work)
    name = key(1).name
    assert name.startswith(PREFIX)
    assert command(server, b"get " + name).startswith(b"VALUE " + name)
    assert command(server, b"get " + name + b":lease").startswith(b"VALUE ")


def test_thousands_at_once(server: Server) -> None:
    """On one connection; whatever does not find its value in time, none gets another's, and none waits for long."""

    async def work() -> None:
        async with remote_of(server.port) as remote:
            for n in range(40):
                await remote.keep(n)
            found = 0
            for _ in range(10):
                found += sum(await asyncio.gather(*(remote.found(n % 50) for n in range(500))))
            assert found >= 400
            counters = remote.counters
            assert counters.hits == found
            assert counters.malformed == 0
            assert curr_connections(server) <= 5

    run_async(work)


def test_a_request_whose_session_goes_away_gives_its_reply_to_nobody_else(server: Server) -> None:
    async def work() -> None:
        async with remote_of(server.port) as remote:
            for n in range(8):
                await remote.keep(n)
            for turn in range(200):
                tasks = [asyncio.ensure_future(fetch(remote, key(n))) for n in range(6)]
                for _ in range(turn % 5):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if turn % 20 == 0:
                    await remote.serves(turn % 8)

    run_async(work)


# -- several servers -----------------------------------------------------------------------------------------------


def placed(remote: Memcached) -> dict[int, bytes]:
    return {n: remote._node(key(n).name).name for n in range(3_000)}


def test_a_server_more_or_less_moves_only_its_own_keys() -> None:
    async def work() -> None:
        ports = (1001, 1002, 1003, 1004)
        three, four = Remote(*ports[:3]), Remote(*ports)
        before, after = placed(three), placed(four)
        moved = {n for n in before if before[n] != after[n]}
        assert {after[n] for n in moved} == {b"127.0.0.1:1004"}
        assert 0.15 < len(moved) / len(before) < 0.35
        # And the order in which they are written does not matter.
        assert placed(Remote(*reversed(ports))) == after

    run_async(work)


def test_keys_are_spread_evenly() -> None:
    async def work() -> None:
        counts = Counter(placed(Remote(1001, 1002, 1003)).values())
        assert len(counts) == 3
        assert min(counts.values()) > 800

    run_async(work)


def test_one_of_three_servers_goes_and_the_others_serve_on(servers: list[Server], run: Run) -> None:
    third = run.memcached("third", size_mb=16)

    async def work() -> None:
        async with remote_of(servers[1].port, servers[2].port, third.port) as remote:
            for n in range(60):
                await remote.keep(n)
            on_third = {n for n in range(60) if remote._node(key(n).name).name == third.address.encode()}
            assert on_third
            third.kill()
            for n in range(60):
                assert await remote.found(n) == (n not in on_third)

    run_async(work)


# -- when a server fails -------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there(run: Run) -> None:
    port = run.port()

    async def work() -> None:
        async with remote_of(port) as remote:
            for n in range(20):
                assert not await remote.found(n)
                await remote.keep(n)
            assert await lease(remote, key(1)) is None
            assert remote.counters.errors > 0
            assert remote.counters.skipped > 10  # it is left alone for a while
            assert remote.counters.sets == 0

    run_async(work)


def test_a_server_that_comes_back_serves_again(own_server: Server) -> None:
    async def work() -> None:
        async with remote_of(own_server.port) as remote:
            await remote.serves(1)
            own_server.kill()
            assert not await remote.found(1)
            own_server.launch()
            own_server.wait_ready()
            await remote.serves(2)
            assert not await remote.found(1)  # it lost everything

    run_async(work)


def test_a_flushed_server(server: Server) -> None:
    async def work() -> None:
        async with remote_of(server.port) as remote:
            await remote.keep(1)
            assert await remote.found(1)
            command(server, b"flush_all")
            assert not await remote.found(1)
            await remote.keep(1)
            assert await remote.found(1)
            assert remote.counters.errors == 0

    run_async(work)


def test_a_server_that_is_stopped_and_goes_on(own_server: Server) -> None:
    async def work() -> None:
        async with remote_of(own_server.port) as remote:
            await remote.serves(1)
            own_server.pause()
            began = time.monotonic()
            results = await asyncio.gather(*(remote.found(1) for _ in range(200)))
            waited = time.monotonic() - began
            assert not any(results)
            # All of them together wait for one time limit and a little, not for one after the other.
            assert waited < 20 * GET_TIMEOUT_S
            assert remote.counters.timeouts >= 1
            own_server.resume()
            await remote.serves(2)
            for n in (1, 2):
                await remote.found(n)

    run_async(work)


def test_a_slow_server_loses_its_connections_and_late_replies_reach_nobody(server: Server) -> None:
    async def work() -> None:
        async with Stalling(server.port) as proxy, remote_of(proxy.port) as remote:
            for n in range(5):
                await remote.serves(n)
            for _ in range(4):
                proxy.stall()
                assert not any(await asyncio.gather(*(remote.found(n) for n in range(5))))
                proxy.flow()
                for n in range(5):
                    await remote.serves(n)
            assert remote.counters.timeouts >= 4
            assert remote.counters.malformed == 0

    run_async(work)


@pytest.mark.parametrize("cut", [0, 1, 5, 20, 70, 90, 200])
def test_a_connection_that_ends_in_the_middle_of_a_reply(server: Server, cut: int) -> None:
    async def work() -> None:
        async with Stalling(server.port) as proxy, remote_of(proxy.port) as remote:
            await remote.serves(1)
            proxy.cut_after = cut
            for _ in range(3):
                assert not await remote.found(1)
                await remote.keep(1)
            proxy.cut_after = None
            await remote.serves(1)

    run_async(work)


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n",
        b"ERROR\r\n",
        b"SERVER_ERROR out of memory\r\n",
        b"CLIENT_ERROR bad command\r\n",
        b"END\r\n",
        b"VALUE\r\n",
        b"VALUE x 0 5\r\nhello\r\nEND\r\n",
        b"VALUE x 0 -5\r\n",
        b"VALUE x 0 99999999999\r\n",
        b"VALUE x y z\r\n",
        b"VALUE " + key(1).name + b" 0 5\r\nhello\r\nEND\r\n",
        b"VALUE " + key(1).name + b" 7 5\r\nhello\r\nEND\r\n",
        b"VALUE " + key(1).name + b" 0 5\r\nhelloEND\r\n",
        b"\x00" * 100,
        b"x" * 200_000,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x81\x00\x00\x00",
        b"STORED\r\nSTORED\r\nEND\r\nEND\r\n",
    ],
)
def test_garbage_instead_of_replies(answer: bytes) -> None:
    async def work() -> None:
        async with Stalling(0) as proxy, remote_of(proxy.port) as remote:
            proxy.answers = answer
            for n in range(6):
                assert not await remote.found(1)
                await remote.keep(n)
                await lease(remote, key(n))
                remote._nodes[0]._down_until = 0.0  # do not leave it alone

    run_async(work)


def test_a_reply_meant_for_another_key_is_no_value(server: Server) -> None:
    """Replies out of step: the right name with another key's value in it."""
    data = encode_item(key(2), value(2))

    async def work() -> None:
        async with Stalling(0) as proxy, remote_of(proxy.port) as remote:
            proxy.answers = b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key(1).name, len(data), data)
            assert await fetch(remote, key(1)) is None
            assert remote.counters.malformed == 1

    run_async(work)


def test_values_that_wait_to_be_sent_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNSENT_BYTES", 3000)

    async def work() -> None:
        async with remote_of(server.port) as remote:
            for n in range(30):
                remote.send(key(n), value(n))
            dropped = remote.counters.dropped
            assert 10 <= dropped < 30
            await remote.sent()
            assert remote.counters.sets == 30 - dropped

    run_async(work)


def test_no_connections_are_left(servers: list[Server]) -> None:
    server = servers[2]
    before = curr_connections(server)

    async def work() -> None:
        for _ in range(10):
            async with remote_of(server.port) as remote:
                await remote.serves(1)
                await asyncio.gather(*(fetch(remote, key(n)) for n in range(100)))

    run_async(work)
    wait_until(lambda: curr_connections(server) <= before, SOON_S)


# -- leases --------------------------------------------------------------------------------------------------------


def test_only_one_gets_the_lease_until_it_ends(server: Server) -> None:
    async def work() -> None:
        async with remote_of(server.port) as one, remote_of(server.port) as other:
            assert await lease(one, key(1)) is True
            assert await lease(other, key(1)) is False
            assert await lease(other, key(2)) is True
            one.send(key(1), value(1))
            one.end_lease(key(1))
            await one.sent()
            assert await other.found(1)
            assert await lease(other, key(1)) is True

    run_async(work)


def test_a_lease_whose_owner_is_gone_ends_by_itself(server: Server) -> None:
    async def work() -> None:
        async with remote_of(server.port) as one, remote_of(server.port) as other:
            assert await lease(one, key(1))
            for _ in range(int(SOON_S / 0.05)):
                if await lease(other, key(1)):
                    return
                await asyncio.sleep(0.05)
            pytest.fail("it is still there")

    run_async(work)


# -- the store -----------------------------------------------------------------------------------------------------


def test_the_store_takes_only_what_is_comparable_and_depends_on_the_same(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        async with remote_of(server.port) as remote:
            store = Store(1 << 20, remote)
            await remote.keep(1)
            found = await fetch_from(store, key(1), (1, 2), lambda log_id, position: 42 if log_id == 77 else None)
            assert found is not None
            assert found.incarnation == 42
            assert await fetch_from(store, key(1), (1, 2), lambda log_id, position: None) is None
            assert await fetch_from(store, key(1), (1, 3), lambda log_id, position: 42) is None
            assert await fetch_from(Store(1 << 20), key(1), (1, 2), lambda log_id, position: 42) is None

    run_async(work)
