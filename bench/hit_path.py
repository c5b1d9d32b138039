"""What the Python code of one cached read costs, without the kernel: fake transports, real clocks, one key class.

    python -m bench.hit_path [--profile hit|miss]

Prints nanoseconds: of whole statements (answered from memory; asked of a server and kept; asked of a server by rules
without a cache), and of the steps of a hit and of a fill. Each figure is the best of many rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import itertools
import os
import pstats
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from bench import fast_path
from proxy.back.catalog import EMPTY, Catalog, Column, TableSchema
from proxy.back.connection import ServerConnection, ServerStatement
from proxy.cache.cached_value import CachedValue, memory_of
from proxy.cache.clocks import Clocks, SourceClock, Stamp
from proxy.cache.memcached import Memcached, RemoteCounters, _Asked
from proxy.cache.store import Store
from proxy.front import caching, prepared
from proxy.front.caching import Caching
from proxy.front.client import Client
from proxy.front.values import TextValues
from proxy.rules.loader import parse
from proxy.rules.model import Address
from proxy.wire import command
from proxy.wire.frames import encode
from proxy.wire.resultset import encode_resultset, text_column

RULES = fast_path.RULES.replace("{home: main}", "{home: main, tables: {sbtest1: {cache: {by: [id]}}}}")
CATALOG = Catalog(
    {
        ("main", "sbtest", "sbtest1"): TableSchema(
            "sbtest",
            "sbtest1",
            (Column("id", "int"), Column("c", "char", charset="utf8mb4", collation="utf8mb4_general_ci")),
            primary_key=("id",),
            engine="InnoDB",
        )
    },
    1,
)
ANSWER = encode_resultset([text_column("c")], [[b"x" * 119]])
_SHAPE = b"SELECT c FROM sbtest1 WHERE id=\0"
_REPLIES = {_Asked.GET: b"END\r\n", _Asked.DELETE: b"DELETED\r\n", _Asked.SET: b"STORED\r\n", _Asked.ADD: b"STORED\r\n"}
ROUNDS = 15
CALLS = 10_000


def followed_clock() -> SourceClock:
    """A source whose binary log is known up to a moment that is always now: T0 is far in the future."""
    clocks = Clocks.create(1, sources=1)
    os.close(clocks.fd)
    clock = clocks.source(0, 0)
    clock.begin(1, 4)
    clock.name_log(0, 1)
    clock.apply(200)
    clock.see(200)
    clock.cover(time.perf_counter_ns() + 10**15)
    return clock


def make() -> tuple[Client, ServerConnection, Caching]:
    rules = parse(RULES, Path("rules.yaml"), {})
    shared = Caching(Store(rules.cache.local_bytes), rules.cache)
    shared.apply(rules.cache, {"main": followed_clock()})
    client, connection = fast_path.make(RULES, CATALOG, shared)
    return client, connection, shared


def packet(key: int) -> bytes:
    return encode(b"\x03SELECT c FROM sbtest1 WHERE id=%d" % key, 0)


def best_ns(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Nanoseconds of CPU a call, by name; rounds are interleaved, and the best of them counts: what it costs when
    nobody else has the processor."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            repeat = itertools.repeat(None, CALLS)
            began = time.process_time_ns()
            for _ in repeat:
                call()
            best[name] = min(best[name], (time.process_time_ns() - began) / CALLS)
    return best


def whole_statements() -> dict[str, Callable[[], object]]:
    """By name: what carries out the next statement."""
    warm, _, shared = make()
    for key in range(5000, 5100):
        _keep(shared, warm, key)
    cold, server, emptied = make()
    plain, plain_server = fast_path.make(fast_path.RULES, EMPTY)
    few = [packet(key) for key in range(5000, 5100)]
    lonely, shared_by_many, having = _Remote(sparse=True), _Remote(sparse=False), _Remote(sparse=False, has=True)
    return {
        "a hit": partial(next, _statements(warm, None, few)),
        "a hit of a prepared statement": partial(next, _executions()),
        "a miss whose answer is kept": partial(next, _new_statements(cold, server, emptied)),
        "the same with memcached, where it has nothing": partial(next, lonely.statements()),
        "the same with memcached, where it often has something": partial(next, shared_by_many.statements()),
        "a hit from memcached, which is kept": partial(next, having.statements()),
        "a read without a cache": partial(next, _statements(plain, plain_server, few)),
    }


def _never(work: Awaitable[None], what: str) -> None:
    cast("Coroutine[object, object, None]", work).close()


class _NoLoop:
    """Calls nothing: what is due is done by hand. What is left behind in a real loop costs every collection."""

    time = staticmethod(time.monotonic)

    def call_soon(self, call: Callable[[], None]) -> None:
        pass

    def call_at(self, when: float, call: Callable[[], None]) -> _NoLoop:
        return self

    call_later = call_at

    def cancel(self) -> None:
        pass


class _Remote:
    """A worker with a memcached that has nothing, or all it was ever given. `sparse`: it knows that it is not worth
    asking."""

    def __init__(self, sparse: bool, has: bool = False) -> None:
        self.client, self.server, self.caching = make()
        remote = Memcached([Address("127.0.0.1", 11211)], _never, RemoteCounters())
        self.caching.store.remote = remote
        self.sparse = sparse
        self.has = has
        self.there: dict[bytes, bytes] = {}
        link = remote._nodes[0]._usable()
        assert link is not None
        self.link = link
        link._loop = _NoLoop()  # type: ignore[assignment]
        link.connection_made(fast_path.FakeTransport())
        if has:
            taking, link.set = link.set, self._take  # type: ignore[method-assign]
            for _ in itertools.islice(self.statements(), 2 * CALLS):
                pass
            link.set = taking  # type: ignore[method-assign]
            self.caching.store.local.clear()

    def _take(self, name: bytes, data: bytes) -> bool:
        self.there[name] = b"VALUE %b 0 %d\r\n%b\r\n" % (name, len(data), data)
        return True

    def statements(self) -> Iterator[None]:
        session = self.client.session
        assert session is not None
        server = None if self.there else self.server
        for _ in _new_statements(self.client, server, self.caching, self._reply):
            entry = session.plans[_SHAPE]
            entry.cache_worth.sparse, entry.cache_fill_ns = self.sparse, 1
            yield

    def _reply(self) -> None:
        """To whatever was asked since the last time."""
        link = self.link
        link._flush()
        while link._waiting:
            what, asked, _ = link._waiting[0]
            reply = _REPLIES[what]
            if isinstance(asked, dict) and self.there:
                reply = b"".join([self.there.get(name, b"") for name in asked]) + reply
            link.data_received(reply)


def _statements(client: Client, server: ServerConnection | None, packets: Sequence[bytes]) -> Iterator[None]:
    """Each `next` is one statement, and its server's answer where it is asked."""
    for data in itertools.cycle(packets):
        client.data_received(data)
        if server is not None:
            server.data_received(ANSWER)
        yield


def _executions() -> Iterator[None]:
    """Each `next` is one execution of a prepared statement that is answered from memory."""
    client, server, _ = make()
    session = client.session
    assert session is not None
    made = prepared.read_statement(session, b"SELECT c FROM sbtest1 WHERE id=?")
    made.params = 1
    session.prepared[made.id] = made
    server.statements[made.key] = ServerStatement(1)
    head = bytes((command.COM_STMT_EXECUTE,)) + made.id.to_bytes(4, "little") + b"\0\1\0\0\0\0\1\x03\0"
    packets = [encode(head + key.to_bytes(4, "little"), 0) for key in range(5000, 5100)]
    for data in packets:
        client.data_received(data)
        server.data_received(ANSWER)
    return _statements(client, None, packets)


def _new_statements(
    client: Client, server: ServerConnection | None, shared: Caching, between: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """The same with no statement that is in the cache. It is emptied as it would be: the older half at once. `between`:
    what happens before the server answers."""
    packets = [packet(key) for key in range(100_000, 100_000 + 2 * CALLS)]
    for _ in itertools.count():
        for data in packets:
            client.data_received(data)
            between()
            if server is not None:
                server.data_received(ANSWER)
            yield
        shared.store.local.clear()


def _keep(shared: Caching, client: Client, key: int) -> None:
    """Put the answer to `packet(key)` where its session looks for it."""
    session = client.session
    assert session is not None
    shape, literals = session.lexer.shape(packet(key)[5:])
    entry = session.plans.get(shape) or session.environment.miss(session.plans, shape, literals)
    assert entry.cached is not None
    slots = entry.cached.slots(TextValues(literals, session.lexer))
    assert slots is not None
    local_key = (entry.cache_shape, session.cache_identity(), "main", tuple(literals))
    shared.store.keep(local_key, CachedValue(*_stamp(shared), slots, ANSWER, 1, 0, 1000))


def _stamp(shared: Caching) -> Stamp:
    stamp = shared.clocks["main"].stamp()
    assert stamp is not None
    return stamp


def steps() -> dict[str, Callable[[], object]]:
    """By name: the parts of a hit in their order, then those of a fill."""
    client, _, shared = make()
    _keep(shared, client, 5000)
    session = client.session
    assert session is not None
    sql = packet(5000)[5:]
    shape, literals = session.lexer.shape(sql)
    entry = session.plans[shape]
    quick = entry.text_slots
    assert quick is not None
    fixed = tuple(literals)
    key = (entry.cache_shape, session.cache_identity(), "main", fixed)
    value = shared.store.peek(key)
    assert value is not None
    clock = shared.clocks["main"]
    now = time.perf_counter_ns()
    session.running = entry

    def answer() -> None:
        session.running = entry
        session.answer_cached(value)

    return {
        "hit: shape of the text": partial(session.lexer.shape, sql),
        "hit: plan look-up": partial(session.plans.get, shape),
        "hit: key look-up": partial(shared.store.peek, key),
        "hit: SourceClock.fresh": partial(clock.fresh, value, now, 10**9),
        "hit: judge": partial(caching.judge, shared, entry, "main", value, now),
        "hit: stats.record": partial(entry.stats.record, 20_000, 0, 1, 200, False),
        "hit: answer_cached": answer,
        "hit: a known text": partial(client.data_received, packet(5000)),
        "fill: slots": partial(quick.of, literals),
        "fill: stamp": clock.stamp,
        "fill: memory_of": partial(memory_of, len(ANSWER), value.slots, key[3]),
        "fill: CachedValue": partial(CachedValue, *_stamp(shared), value.slots, ANSWER, 1, now, 1000),
        "fill: store.keep": partial(shared.store.keep, key, value),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.hit_path", description="Nanoseconds of a cached read's Python code.")
    parser.add_argument("--profile", choices=["hit", "miss"], help="show where one kind of statement spends its time")
    asyncio.run(_run(parser.parse_args().profile))


async def _run(profile: str | None) -> None:
    gc.freeze()
    statements = whole_statements()
    if profile is not None:
        call = statements["a hit" if profile == "hit" else "a miss whose answer is kept"]
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(10 * CALLS):
            call()
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
        return
    found = best_ns({"": lambda: None, **statements, **steps()})
    empty = found.pop("")
    for name, ns in found.items():
        print(f"{ns - empty:7.0f} ns  {name}")


if __name__ == "__main__":
    main()
