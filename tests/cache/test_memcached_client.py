"""The client of memcached on a real server, and on servers that are late, wrong, or go away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator

import aiomcache
import pytest

from proxy.cache import memcached
from proxy.cache.cached_value import CachedValue
from proxy.cache.memcached import Memcached, RemoteCounters
from proxy.cache.value import RemoteKey, decode_item, encode_item, named, words_of
from proxy.rules.model import Address
from tests.cache.asking import fetch
from tests.servers import Memcached as Server
from tests.servers import Run

pytestmark = pytest.mark.servers

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Client:
    """A client with its counters and tasks."""

    def __init__(self, *ports: int) -> None:
        self.counters = RemoteCounters()
        self.tasks: list[asyncio.Task[None]] = []
        self.memcached = Memcached([Address("127.0.0.1", port) for port in ports], self.spawn, self.counters)

    def spawn(self, work: Awaitable[None], what: str) -> None:
        self.tasks.append(asyncio.ensure_future(work))  # type: ignore[arg-type]

    async def close(self) -> None:
        await self.memcached.close()
        await asyncio.gather(*self.tasks)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine under load is no failure of memcached's."""
    monkeypatch.setattr(memcached, "GET_TIMEOUT_S", 30.0)
    monkeypatch.setattr(memcached, "SET_TIMEOUT_S", 30.0)


def key(number: int) -> RemoteKey:
    return named(words_of((b"main", b"text", b"SELECT c FROM t WHERE id=\0", b"%d" % number)))


def value(response: bytes) -> CachedValue:
    return CachedValue(1, 7, 100, (1, 2, 3), response, 1, 0)


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.kill()


@contextlib.asynccontextmanager  # type: ignore[arg-type]
async def serving(serve: Serve):  # type: ignore[no-untyped-def]
    """The port of a server that does what it is told; its connections end with it."""
    writers = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def test_values_come_back_and_hundreds_at_once(run: Run, patient: None) -> None:
    """More reads at a time than there could be connections, of small values and of nearly the longest."""

    async def dialogue(port: int) -> None:
        client = Client(port)
        responses = {number: b"%d" % number * (1 + number % 50) for number in range(500)}
        responses[500] = b"x" * 900_000
        for number, response in responses.items():
            client.memcached.send(key(number), value(response))
        await wait_for(lambda: client.counters.sets == 501)
        found = await asyncio.gather(*(fetch(client.memcached, key(number)) for number in range(510)))
        assert [each.response if each else None for each in found] == [responses.get(number) for number in range(510)]
        first = found[0]
        assert first is not None
        assert (first.incarnation, first.log_id, first.position, first.slots, first.rows) == (0, 7, 100, (1, 2, 3), 1)
        counters = client.counters
        assert (counters.gets, counters.hits) == (510, 501)
        assert (counters.errors, counters.timeouts, counters.skipped, counters.dropped) == (0, 0, 0, 0)
        # Another implementation of the protocol reads the same.
        other = aiomcache.Client("127.0.0.1", port)
        data = await other.get(key(3).name)
        await other.close()
        assert data is not None
        again = decode_item(key(3), data, 0)
        assert again is not None
        assert again.response == responses[3]
        await client.close()

    with running(run.memcached("client")) as server:
        asyncio.run(dialogue(server.port))


def test_a_value_over_the_item_size_is_not_sent(run: Run, patient: None) -> None:
    async def dialogue(port: int) -> None:
        client = Client(port)
        client.memcached.send(key(1), value(b"x" * (1 << 20)))
        assert await fetch(client.memcached, key(1)) is None
        assert (client.counters.too_long, client.counters.sets, client.counters.errors) == (1, 0, 0)
        await client.close()

    with running(run.memcached("client")) as server:
        asyncio.run(dialogue(server.port))


def test_a_reader_that_goes_away_does_not_shift_the_replies(run: Run, patient: None) -> None:
    async def dialogue(port: int) -> None:
        client = Client(port)
        for number in range(20):
            client.memcached.send(key(number), value(b"%d" % number))
        await wait_for(lambda: client.counters.sets == 20)
        reads = [asyncio.ensure_future(fetch(client.memcached, key(number))) for number in range(20)]
        await asyncio.sleep(0)
        for read in reads[::2]:
            read.cancel()
        found = await asyncio.gather(*reads, return_exceptions=True)
        for number, each in enumerate(found):
            if number % 2:
                assert isinstance(each, CachedValue)
                assert each.response == b"%d" % number
            else:
                assert isinstance(each, asyncio.CancelledError)
        again = await fetch(client.memcached, key(4))
        assert again is not None
        assert again.response == b"4"
        await client.close()

    with running(run.memcached("client")) as server:
        asyncio.run(dialogue(server.port))


def test_a_server_that_is_late_is_left_alone_and_asked_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memcached, "SET_TIMEOUT_S", 30.0)

    async def dialogue(server: Server) -> None:
        client = Client(server.port)
        client.memcached.send(key(1), value(b"one"))
        await wait_for(lambda: client.counters.sets == 1)
        server.pause()
        try:
            began = time.monotonic()
            client.memcached.send(key(2), value(b"two"))  # it has more time than those behind it
            async with asyncio.timeout(10):
                found = await asyncio.gather(*(fetch(client.memcached, key(1)) for _ in range(3)))
            assert found == [None, None, None]
            assert time.monotonic() - began >= memcached.GET_TIMEOUT_S
            assert (client.counters.timeouts, client.counters.errors) == (1, 3)
            assert await fetch(client.memcached, key(1)) is None
            assert client.counters.skipped == 1
        finally:
            server.resume()

        async def back() -> bool:
            return await fetch(client.memcached, key(1)) is not None

        async with asyncio.timeout(10):
            while not await back():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await client.close()

    with running(run.memcached("client")) as server:
        asyncio.run(dialogue(server))


def test_a_server_that_is_restarted_while_idle_is_no_failure(run: Run, patient: None) -> None:
    async def dialogue(server: Server) -> None:
        client = Client(server.port)
        client.memcached.send(key(1), value(b"one"))
        await wait_for(lambda: client.counters.sets == 1)
        await asyncio.to_thread(server.restart)
        assert await fetch(client.memcached, key(1)) is None
        client.memcached.send(key(1), value(b"two"))
        await wait_for(lambda: client.counters.sets == 2)
        counters = client.counters
        assert (counters.errors, counters.timeouts, counters.skipped) == (0, 0, 0)
        await client.close()

    with running(run.memcached("client")) as server:
        asyncio.run(dialogue(server))


def test_nobody_there(run: Run) -> None:
    async def dialogue() -> None:
        client = Client(run.port())
        assert await fetch(client.memcached, key(1)) is None
        assert client.counters.errors == 1
        client.memcached.send(key(1), value(b"one"))
        assert await fetch(client.memcached, key(1)) is None
        assert client.counters.skipped == 2
        await client.close()

    asyncio.run(dialogue())


@pytest.mark.parametrize(
    "reply",
    [b"ERROR\r\n", b"STORED\r\n", b"VALUE k 0 3\r\nabcd\r\nEND\r\n", b"VALUE k 0 100\r\nabc", b"", b"END\r\nEND\r\n"],
)
def test_a_server_that_answers_wrong_or_closes(reply: bytes) -> None:
    """Every read comes back, soon and without a value, and the connection is not used again."""
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readline()
        writer.write(reply)
        await writer.drain()
        writer.close()

    async def dialogue() -> None:
        async with serving(serve) as port:
            client = Client(port)
            async with asyncio.timeout(5):
                found = await asyncio.gather(*(fetch(client.memcached, key(number)) for number in range(3)))
                assert found == [None, None, None]
                assert client.counters.errors or reply.startswith(b"END")  # which is an answer to all three
                await asyncio.sleep(0.15)
                assert await fetch(client.memcached, key(1)) is None
            assert len(connections) == 2
            await client.close()

    asyncio.run(dialogue())


def test_a_reply_that_was_not_asked_for_ends_the_connection(patient: None) -> None:
    """It could be taken for the next request's."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readline():
                writer.write(b"END\r\nEND\r\n")
        finally:
            ended.set()

    async def dialogue() -> None:
        async with serving(serve) as port:
            client = Client(port)
            assert await fetch(client.memcached, key(1)) is None
            await asyncio.wait_for(ended.wait(), 5)
            assert await fetch(client.memcached, key(1)) is None
            assert client.counters.skipped == 1
            await client.close()

    asyncio.run(dialogue())


def test_what_is_asked_in_one_turn_is_one_request(patient: None) -> None:
    """Replies may come in any order; the same key asked for twice, and more keys than go into one request, are asked in
    another one."""
    lines: list[list[bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            names = line.split()[1:]
            lines.append(names)
            for name in sorted(names):
                if name in items:
                    writer.write(b"VALUE %b 0 %d\r\n%b\r\n" % (name, len(items[name]), items[name]))
            writer.write(b"END\r\n")

    keys = [key(number) for number in range(70)]
    items = {each.name: encode_item(each, value(each.name)) for each in keys if each.words[-1] % 2}

    async def dialogue() -> None:
        async with serving(serve) as port:
            client = Client(port)
            for asked, expected in (
                (keys[:5], [keys[:5]]),
                ([*keys[:5], keys[3], keys[6]], [keys[:5], [keys[3], keys[6]]]),
                (keys, [keys[: memcached.GETS_AT_ONCE], keys[memcached.GETS_AT_ONCE :]]),
            ):
                lines.clear()
                found = await asyncio.gather(*(fetch(client.memcached, each) for each in asked))
                assert [each.response if each else None for each in found] == [
                    each.name if each.name in items else None for each in asked
                ]
                assert lines == [[each.name for each in line] for line in expected]
            assert client.counters.errors == 0
            await client.close()

    asyncio.run(dialogue())


@pytest.mark.parametrize("twice", [True, False])
def test_a_value_that_was_not_asked_for_ends_the_connection(patient: None, twice: bool) -> None:
    item = encode_item(key(1), value(b"x"))
    reply = b"VALUE %b 0 %d\r\n%b\r\n" % (key(1).name, len(item), item)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(2 * reply if twice else reply)
        await reader.readline()

    async def dialogue() -> None:
        async with serving(serve) as port:
            client = Client(port)
            asked = [key(1 if twice else 2), key(3)]
            found = await asyncio.gather(*(fetch(client.memcached, each) for each in asked))
            assert [each is not None for each in found] == [twice, False]
            assert client.counters.errors == (1 if twice else 2)
            await client.close()

    asyncio.run(dialogue())


def test_what_a_server_does_not_take_is_bounded(patient: None) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await gone.wait()

    async def dialogue() -> None:
        async with serving(serve) as port:
            client = Client(port)
            for number in range(40):
                client.memcached.send(key(number), value(b"x" * 500_000))
                await asyncio.sleep(0)
            assert client.counters.dropped >= 20
            reads = [asyncio.ensure_future(fetch(client.memcached, key(n))) for n in range(memcached.MAX_GETS + 5)]
            await wait_for(lambda: client.counters.skipped == 5)
            await client.close()
            assert await asyncio.gather(*reads) == [None] * (memcached.MAX_GETS + 5)
            gone.set()

    asyncio.run(dialogue())


def test_keys_are_spread_over_servers(run: Run, patient: None) -> None:
    async def dialogue(*servers: Server) -> None:
        client = Client(*(server.port for server in servers))
        for number in range(200):
            client.memcached.send(key(number), value(b"x"))
        await wait_for(lambda: client.counters.sets == 200)
        found = await asyncio.gather(*(fetch(client.memcached, key(number)) for number in range(200)))
        assert all(each is not None for each in found)
        await client.close()
        alone = [Client(server.port) for server in servers]
        counts = []
        for one in alone:
            each = await asyncio.gather(*(fetch(one.memcached, key(number)) for number in range(200)))
            counts.append(sum(value is not None for value in each))
            await one.close()
        assert sum(counts) == 200
        assert min(counts) >= 50

    with running(run.memcached("client")) as first, running(run.memcached("client")) as second:
        asyncio.run(dialogue(first, second))
