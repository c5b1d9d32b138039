"""What becomes of an answer on its way into the cache, who is served it, and what its key holds."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from parser.shape import lexer
from proxy.back.catalog import Catalog
from proxy.back.server import Role
from proxy.back.settings import NONE, Settings, intern
from proxy.cache.clocks import Clocks, SourceClock, new_incarnation, position_of
from proxy.cache.store import Store
from proxy.cache.value import RemoteKey
from proxy.front import caching, elsewhere
from proxy.front.caching import Caching, Served
from proxy.front.environment import Entry, Environment
from proxy.front.session import Session
from proxy.measure.measures import Measures
from proxy.rules.model import Cache
from proxy.wire.login import Secret
from proxy.wire.packets import encode_err
from tests.cache import shop

RULES = shop.rules()
CATALOG = shop.catalog()
SQL = b"SELECT * FROM users WHERE id = 1"
FINGERPRINT = 5


class World:
    """One worker's environment with clocks of its own, and sessions that write to nobody."""

    def __init__(self, catalog: Catalog = CATALOG) -> None:
        self.clocks = Clocks.create(workers=1, sources=1)
        self.stream = self.clocks.source(0)
        self.clock: SourceClock = self.clocks.source(0, 0)
        self.caching = Caching(Store(1 << 20), Cache())
        self.caching.apply(Cache(max_value_bytes=1_000), {"main": self.clock})
        self.environment = Environment(
            rules=RULES,
            catalog=catalog,
            servers={},
            measures=Measures(),
            generation=1,
            caching=self.caching,
            fingerprints={"main": FINGERPRINT},
            definitions={"main": 0},
        )
        self.position = 100
        self.stream.begin(new_incarnation(), position_of(3, 100))
        self.stream.name_log(3, 77)
        self.stream.follow(FINGERPRINT, [])
        self.probe()

    def probe(self) -> None:
        self.stream.apply(position_of(3, self.position))
        self.stream.see(position_of(3, self.position))
        self.stream.cover(time.perf_counter_ns())

    def write(self, slot: int) -> None:
        """By somebody else, seen by the stream."""
        self.position += 100
        self.stream.touch([slot], position_of(3, self.position))
        self.probe()

    def session(
        self, user: str = "app", settings: Settings = NONE, database: str = "shop", capabilities: int = 0
    ) -> Session:
        written: list[bytes] = []
        client: Any = SimpleNamespace(
            write_paused=False,
            answer=written.append,
            send=written.append,
            written=written,
            origin="",
            next_command=lambda: None,
            end_edit=lambda: None,
        )
        return Session(
            client, self.environment, user, Secret.of_password(b""), capabilities, settings, database, 1, False
        )

    def entry(self, session: Session, sql: bytes = SQL, prepared: bool = False) -> tuple[Entry, list[bytes]]:
        cache = self.environment.cache(session.database, session.lexer, prepared)
        shape, literals = session.lexer.shape(sql)
        return cache.get(shape) or self.environment.miss(cache, shape, literals, prepared), literals

    def serve(self, session: Session, sql: bytes = SQL) -> tuple[Served, Entry]:
        entry, literals = self.entry(session, sql)
        session.begin_statement(entry)
        found = caching.serve(session, entry, "main", tuple(literals))
        return found, entry

    def filled(
        self, session: Session, response: bytes = b"the answer", sql: bytes = SQL, **connection: object
    ) -> Entry:
        """Ask, and be answered by the server."""
        found, entry = self.serve(session, sql)
        assert found is Served.ASK
        assert session.fill is not None
        session.fill.add(response[:4])
        session.filled(answered(**connection), [response[4:]])
        return entry

    def key(self, session: Session, sql: bytes = SQL, prepared: bool = False) -> RemoteKey:
        entry, literals = self.entry(session, sql, prepared)
        session.cache_identity()
        return caching.remote_key(session, entry, "main", tuple(literals), FINGERPRINT)

    def close(self) -> None:
        os.close(self.clocks.fd)


def answered(**more: object) -> Any:
    """A connection after an answer."""
    scanner = SimpleNamespace(errno=0, warnings=0, columns=3, rows=1)
    connection = SimpleNamespace(scanner=scanner, aborted=None, role=Role.PRIMARY)
    for name, value in more.items():
        setattr(scanner if hasattr(scanner, name) else connection, name, value)
    return connection


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def in_loop(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 30))  # type: ignore[arg-type]


# -- fills ---------------------------------------------------------------------------------------------------------


def test_an_answer_is_kept_and_served(world: World) -> None:
    async def work() -> None:
        entry = world.filled(world.session())
        other = world.session()
        assert world.serve(other)[0] is Served.ANSWERED
        assert other.client.written == [b"the answer"]  # type: ignore[attr-defined]
        stats = entry.cache_stats
        assert (stats.misses, stats.fills, stats.hits_local) == (1, 1, 1)
        assert stats.fill_ns > 0
        assert entry.cache_fill_ns == stats.fill_ns
        assert not world.caching.flights

    in_loop(work)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"errno": 1064}, "error"),
        ({"warnings": 1}, "warnings"),
        ({"columns": 0}, "incomplete"),
        ({"aborted": OSError()}, "incomplete"),
        ({"role": Role.REPLICA}, "replica"),
        ({"response": b"x" * 1_001}, "too-long"),
    ],
)
def test_what_is_not_kept(world: World, how: dict[str, Any], reason: str) -> None:
    async def work() -> None:
        entry = world.filled(world.session(), **how)
        assert entry.cache_stats.unfilled == {reason: 1}
        assert entry.cache_stats.fills == 0
        assert entry.cache_fill_ns == 0
        assert len(world.caching.store.local) == 0
        assert not world.caching.flights
        assert world.serve(world.session())[0] is Served.ASK

    in_loop(work)


def test_an_answer_that_is_just_short_enough(world: World) -> None:
    async def work() -> None:
        entry = world.filled(world.session(), b"x" * 1_000)
        assert entry.cache_stats.fills == 1

    in_loop(work)


def nobody() -> None:
    raise AssertionError("the server was asked")


def test_an_answer_that_never_comes_leaves_nobody_waiting(world: World) -> None:
    async def work() -> None:
        session, other = world.session(), world.session()
        assert world.serve(session)[0] is Served.ASK
        assert world.serve(other)[0] is Served.WAIT
        asked: list[bool] = []
        elsewhere.look(other, lambda: asked.append(True))
        await asyncio.sleep(0)
        assert other.waiting
        assert not asked
        session.not_filled()
        await asyncio.sleep(0)
        assert asked
        assert not other.waiting
        assert not world.caching.flights

    in_loop(work)


def test_who_waits_for_another_s_answer_gets_it(world: World) -> None:
    async def work() -> None:
        session, others = world.session(), [world.session() for _ in range(5)]
        world.serve(session)
        for other in others:
            assert world.serve(other)[0] is Served.WAIT
            elsewhere.look(other, nobody)
        await asyncio.sleep(0)
        assert session.fill is not None
        session.fill.add(b"the answer")
        session.filled(answered(), [])
        await asyncio.sleep(0)
        assert all(other.client.written == [b"the answer"] for other in others)  # type: ignore[attr-defined]
        assert not any(other.busy or other.waiting for other in others)

    in_loop(work)


def test_an_answer_that_takes_too_long_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "_FLIGHT_WAIT_S", 0.01)

    async def work() -> None:
        session, other = world.session(), world.session()
        world.serve(session)
        assert world.serve(other)[0] is Served.WAIT
        asked = asyncio.Event()
        elsewhere.look(other, asked.set)
        await asyncio.wait_for(asked.wait(), 10)
        session.filled(answered(), [b"the answer"])  # it comes all the same, and is not given to it as well
        await asyncio.sleep(0)
        assert other.client.written == []  # type: ignore[attr-defined]

    in_loop(work)


def test_a_kill_ends_the_waiting_for_an_answer(world: World) -> None:
    async def work() -> None:
        leads, waits = world.session(), world.session()
        world.serve(leads)
        assert world.serve(waits)[0] is Served.WAIT
        elsewhere.look(waits, nobody)
        await asyncio.sleep(0)
        waits.interrupt()
        killed = [encode_err(1317, "70100", "Query execution was interrupted")]
        assert waits.client.written == killed  # type: ignore[attr-defined]
        assert not waits.busy
        assert not waits.waiting
        leads.filled(answered(), [b"the answer"])
        await asyncio.sleep(0)
        assert waits.client.written == killed  # type: ignore[attr-defined]
        assert world.serve(world.session())[0] is Served.ANSWERED

    in_loop(work)


def test_nobody_waits_while_what_the_answer_depends_on_is_being_written(world: World) -> None:
    async def work() -> None:
        session, other = world.session(), world.session()
        _, entry = world.serve(session)
        assert session.fill is not None
        world.clock.mark(session.fill.slots[-1:], time.perf_counter_ns())
        assert world.serve(other)[0] is Served.ASK
        world.probe()
        assert world.serve(world.session())[0] is Served.WAIT
        assert entry.cache_stats.misses == 2

    in_loop(work)


def test_a_write_between_stamp_and_answer_makes_the_value_worthless(world: World) -> None:
    async def work() -> None:
        session = world.session()
        world.serve(session)
        assert session.fill is not None
        world.write(session.fill.slots[-1])
        session.fill.add(b"old or new, who knows")
        session.filled(answered(), [])
        found, entry = world.serve(world.session())
        assert found is Served.ASK
        assert entry.cache_stats.refused == {"written": 1}

    in_loop(work)


# -- reads that do not look ----------------------------------------------------------------------------------------


def bypassed(world: World, session: Session, sql: bytes = SQL) -> dict[str, int]:
    found, entry = world.serve(session, sql)
    assert found is Served.ASK
    assert session.fill is None
    return entry.cache_stats.bypassed


def test_reasons_not_to_look(world: World) -> None:
    async def work() -> None:
        world.filled(world.session())
        session = world.session()
        session.transaction.explicit = True
        assert bypassed(world, session) == {"in-transaction": 1}
        session = world.session(settings=intern({"autocommit": b"'OFF'"}))
        assert bypassed(world, session)["in-transaction"] == 2
        session = world.session()
        session.next_transaction = [b"SET TRANSACTION READ ONLY"]
        assert bypassed(world, session)["in-transaction"] == 3
        session = world.session()
        session.held["main"] = answered()
        assert bypassed(world, session)["in-transaction"] == 4
        for name, value in (("tx_isolation", b"'READ-UNCOMMITTED'"), ("sql_mode", b"'ORACLE'")):
            session = world.session(settings=intern({name: value}))
            assert "settings" in bypassed(world, session)
        session = world.session()
        session.client.write_paused = True
        assert "slow-client" in bypassed(world, session)
        assert "no-normal-form" in bypassed(world, world.session(), b"SELECT * FROM users WHERE id = '1a'")
        world.environment.fingerprints = {"main": FINGERPRINT + 1}
        assert "definitions" in bypassed(world, world.session(), b"SELECT * FROM users WHERE id = 2")
        world.stream.stop("gone")
        assert "no-stream" in bypassed(world, world.session())

    in_loop(work)


def test_a_class_by_age_needs_no_stream_and_expires(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = b"SELECT * FROM tokens WHERE token = 'a'"

    async def work() -> None:
        world.stream.stop("gone")
        entry = world.filled(world.session(), sql=sql)
        assert world.serve(world.session(), sql)[0] is Served.ANSWERED
        later = time.perf_counter_ns() + 11 * 10**9
        monkeypatch.setattr("proxy.front.session._now", lambda: later)
        assert world.serve(world.session(), sql)[0] is Served.ASK
        assert entry.cache_stats.refused == {"expired": 1}

    in_loop(work)


# -- keys ----------------------------------------------------------------------------------------------------------


def variants(world: World) -> dict[str, RemoteKey]:
    """Keys of reads that may have different answers, by what is different."""
    base = world.session()
    named = {
        "charset": {"character_set_client": b"'latin1'"},
        "collation": {"collation_connection": b"'utf8mb4_bin'"},
        "results": {"character_set_results": b"NULL"},
        "time zone": {"time_zone": b"'+05:00'"},
        "mode": {"sql_mode": b"'PIPES_AS_CONCAT'"},
        "ansi": {"sql_mode": b"'ANSI_QUOTES'"},
        "precision": {"div_precision_increment": b"8"},
        "concat": {"group_concat_max_len": b"4"},
        "limit": {"sql_select_limit": b"1"},
        "names": {"lc_time_names": b"'de_DE'"},
        "isolation": {"tx_isolation": b"'SERIALIZABLE'"},
        "anything": {"some_variable_of_tomorrow": b"1"},
    }
    return {
        "base": world.key(base),
        "literal": world.key(base, SQL[:-1] + b"2"),
        "string": world.key(base, SQL[:-1] + b"'1'"),
        "spelling": world.key(base, SQL.replace(b"SELECT", b"select")),
        "prepared": world.key(base, prepared=True),
        "account": world.key(world.session(user="ops")),
        "database": world.key(world.session(database="other"), b"SELECT * FROM shop.users WHERE id = 1"),
        "qualified": world.key(base, b"SELECT * FROM shop.users WHERE id = 1"),
        "capabilities": world.key(world.session(capabilities=2)),
        **{what: world.key(world.session(settings=intern(settings))) for what, settings in named.items()},
    }


def test_reads_that_may_differ_have_different_keys(world: World) -> None:
    keys = variants(world)
    for (one, key), (other, another) in itertools.combinations(keys.items(), 2):
        assert key != another, (one, other)
        assert key.name != another.name, (one, other)


def test_keys_are_the_same_in_every_process(world: World) -> None:
    other = World()
    assert variants(world) == variants(other)
    other.close()


def test_user_variables_are_in_no_key(world: World) -> None:
    """A statement that reads one is not cached."""
    assert world.key(world.session(settings=intern({"@a": b"1"}))) == world.key(world.session())


def test_the_cluster_is_in_the_key(world: World) -> None:
    session = world.session()
    entry, literals = world.entry(session)
    session.cache_identity()
    keys = {caching.remote_key(session, entry, cluster, tuple(literals), 5) for cluster in ("main", "other")}
    assert len(keys) == 2


def test_settings_and_literals_do_not_run_into_each_other(world: World) -> None:
    one = world.session(settings=intern({"a": b"1"}))
    entry, _ = world.entry(one)
    one.cache_identity()
    other = world.session()
    other.cache_identity()
    assert caching.remote_key(one, entry, "main", (b"1",), 5) != caching.remote_key(
        other, entry, "main", (b"a=1", b"1"), 5
    )


def test_a_changed_capability_is_another_key(world: World) -> None:
    session = world.session()
    before = session.cache_identity()
    session.set_capability(1 << 16, True)
    assert session.cache_identity() != before


def test_the_lexer_reads_as_the_key_says(world: World) -> None:
    session = world.session(settings=intern({"sql_mode": b"'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"}))
    assert session.lexer is lexer(True, True, "utf8mb4")
    assert b"utf8mb4 1 1" in world.key(session).words
