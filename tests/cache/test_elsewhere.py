"""What a worker asks memcached for and sends there, and what it makes of the replies, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.cache.cached_value import CachedValue
from proxy.cache.clocks import position_of
from proxy.cache.value import RemoteKey
from proxy.errors import TurnoutError
from proxy.front import caching, elsewhere
from proxy.front.caching import Known, Served, serve_known
from proxy.front.environment import Entry
from proxy.front.session import Session
from proxy.wire.packets import encode_err
from tests.cache.test_filling import FINGERPRINT, World, answered, nobody


class Remote:
    """memcached: what was sent is there; whoever asks waits until `reply`."""

    def __init__(self) -> None:
        self.there: dict[RemoteKey, CachedValue] = {}
        self.sent: list[RemoteKey] = []
        self.asked: list[tuple[RemoteKey, Callable[[CachedValue | None], None]]] = []
        self.leases: list[Callable[[bool | None], None]] = []
        self.ended: list[RemoteKey] = []
        self.up = True

    def ask(self, key: RemoteKey, done: Callable[[CachedValue | None], None]) -> bool:
        if self.up:
            self.asked.append((key, done))
        return self.up

    def read(self, key: RemoteKey, item: CachedValue) -> CachedValue:
        return item

    def send(self, key: RemoteKey, value: CachedValue) -> None:
        self.sent.append(key)
        self.there[key] = CachedValue(0, value.log_id, value.position, value.slots, value.response, value.rows, 0)

    def lease(self, key: RemoteKey, done: Callable[[bool | None], None]) -> bool:
        if self.up:
            self.leases.append(done)
        return self.up

    def end_lease(self, key: RemoteKey) -> None:
        self.ended.append(key)

    def reply(self) -> None:
        key, done = self.asked.pop(0)
        done(self.there.get(key))


class Shared(World):
    """One worker of several, with its memcached."""

    def __init__(self, remote: Remote) -> None:
        super().__init__()
        self.remote = remote
        self.caching.store.remote = remote  # type: ignore[assignment]

    def look(self, session: Session, ask: Callable[[], None] = nobody) -> Entry:
        found, entry = self.serve(session)
        assert found is Served.WAIT
        elsewhere.look(session, ask)
        return entry

    def fill(self, session: Session) -> None:
        """Ask memcached, which has nothing, then the server, which is quick."""
        asked: list[bool] = []
        self.look(session, lambda: asked.append(True)).cache_fill_ns = 1000
        self.remote.reply()
        assert asked
        session.filled(answered(), [b"the answer"])


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def world(remote: Remote) -> Iterator[Shared]:
    made = Shared(remote)
    yield made
    made.close()


@pytest.fixture
def other(remote: Remote) -> Iterator[Shared]:
    """Another worker, with clocks that say the same."""
    made = Shared(remote)
    yield made
    made.close()


def written(session: Session) -> list[bytes]:
    client: Any = session.client
    found: list[bytes] = client.written
    return found


def sparse(world: Shared) -> Entry:
    """The statement was found not to be worth asking for."""
    entry, _ = world.entry(world.session())
    entry.cache_worth.sparse = True
    return entry


@pytest.fixture
def unsampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "in_sample", lambda slot, now_ns: False)


# -- asking --------------------------------------------------------------------------------------------------------


def test_what_another_worker_has_sent_is_served_and_kept(world: Shared, other: Shared) -> None:
    world.fill(world.session())
    session = other.session()
    entry = other.look(session)
    assert session.waiting
    other.remote.reply()
    assert written(session) == [b"the answer"]
    assert not session.busy
    assert not session.waiting
    assert session.fill is None
    assert not other.caching.flights
    stats = entry.cache_stats
    assert (stats.hits_memcached, stats.hits_local, stats.misses, stats.fills) == (1, 0, 0, 0)
    assert other.serve(other.session())[0] is Served.ANSWERED
    assert len(other.remote.sent) == 1  # it came from there


def test_what_was_written_since_is_not_served(world: Shared, other: Shared) -> None:
    world.fill(world.session())
    session, asked = other.session(), list[bool]()
    entry = other.look(session, lambda: asked.append(True))
    entry.cache_fill_ns = 1000
    assert session.fill is not None
    other.write(session.fill.slots[-1])
    before = session.fill.stamp
    other.remote.reply()
    assert asked
    assert written(session) == []
    assert entry.cache_stats.refused == {"written": 1}
    assert session.fill.stamp != before  # the newest that is older than the SELECT
    assert session.fill.stamp == other.clock.stamp()


def test_what_depends_on_other_tags_is_not_served(world: Shared, other: Shared) -> None:
    """Another host may have other classes, whose tags nobody touches here."""
    world.fill(world.session())
    (key,) = world.remote.there
    world.remote.there[key] = CachedValue(0, 77, position_of(3, 100), (9999,), b"r", 1, 0)
    session, asked = other.session(), list[bool]()
    other.look(session, lambda: asked.append(True))
    other.remote.reply()
    other.remote.leases.pop()(True)
    assert asked
    assert written(session) == []


def test_a_memcached_that_cannot_be_asked_costs_nothing(world: Shared) -> None:
    world.remote.up = False
    session, asked = world.session(), list[bool]()
    entry = world.look(session, lambda: asked.append(True))
    assert asked
    assert not session.waiting
    assert entry.cache_stats.misses == 1
    session.filled(answered(), [b"the answer"])
    assert world.serve(world.session())[0] is Served.ANSWERED


def test_a_kill_ends_the_waiting_for_memcached(world: Shared, other: Shared) -> None:
    world.fill(world.session())
    session = other.session()
    other.look(session)
    session.interrupt()
    killed = [encode_err(1317, "70100", "Query execution was interrupted")]
    assert written(session) == killed
    assert not session.busy
    assert not session.waiting
    other.remote.reply()
    assert written(session) == killed
    assert not other.caching.flights


def test_a_reply_to_an_earlier_statement_is_not_the_answer_to_the_next(world: Shared, other: Shared) -> None:
    world.fill(world.session())
    session = other.session()
    other.look(session)
    session.interrupt()
    del written(session)[:]
    other.look(session)
    other.remote.reply()
    assert written(session) == []
    assert session.waiting
    other.remote.reply()
    assert written(session) == [b"the answer"]


def test_a_mistake_of_ours_fails_the_statement_and_not_memcached(world: Shared) -> None:
    session = world.session()
    client: Any = session.client
    client.listener = SimpleNamespace(unexpected=lambda error: TurnoutError(f"mistake: {error}"))

    def mistaken() -> None:
        raise KeyError("oh")

    world.look(session, mistaken).cache_fill_ns = 1000
    world.remote.reply()
    assert b"mistake: 'oh'" in written(session)[0]
    assert not session.busy
    assert not session.waiting
    assert not world.caching.flights


# -- leases --------------------------------------------------------------------------------------------------------


def test_who_has_the_lease_asks_and_ends_it_with_the_answer(world: Shared) -> None:
    session, asked = world.session(), list[bool]()
    world.look(session, lambda: asked.append(True))
    world.remote.reply()
    assert not asked
    world.remote.leases.pop()(True)
    assert asked
    session.filled(answered(), [b"the answer"])
    assert world.remote.ended == world.remote.sent


def test_a_quick_answer_is_not_worth_a_lease(world: Shared) -> None:
    world.fill(world.session())
    assert world.remote.leases == []


# -- sending -------------------------------------------------------------------------------------------------------


def test_where_memcached_is_worth_asking_answers_are_sent_at_once(world: Shared) -> None:
    world.fill(world.session())
    assert world.remote.sent == [world.key(world.session())]


def test_where_it_is_not_they_are_sent_when_they_are_served(world: Shared, other: Shared, unsampled: None) -> None:
    entry = sparse(world)
    stamp = world.clock.stamp()
    assert stamp is not None
    world.filled(world.session())
    assert world.remote.asked == []
    assert world.remote.sent == []
    assert entry.cache_stats.unasked == 1
    world.position += 100
    world.probe()
    for _ in range(3):
        assert world.serve(world.session())[0] is Served.ANSWERED
        assert world.remote.sent == [world.key(world.session())]
    (sent,) = world.remote.there.values()
    assert (sent.log_id, sent.position, sent.response) == (stamp.log_id, stamp.position, b"the answer")
    session = other.session()
    other.look(session)
    other.remote.reply()
    assert written(session) == [b"the answer"]


def test_a_known_text_takes_the_long_way_once(world: Shared, unsampled: None) -> None:
    entry = sparse(world)
    world.filled(world.session())
    session = world.session()
    session.cache_identity()
    client: Any = session.client
    client.listener = SimpleNamespace(environment=world.environment, draining=False)
    known = Known(entry, "main", tuple(world.entry(session)[1]))
    assert not serve_known(session, known)
    assert world.serve(session)[0] is Served.ANSWERED
    assert len(world.remote.sent) == 1
    assert serve_known(session, known)
    assert written(session) == [b"the answer"] * 2


def test_what_is_in_the_sample_is_asked_for_and_sent_at_once(world: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    sparse(world)
    monkeypatch.setattr(caching, "in_sample", lambda slot, now_ns: True)
    world.fill(world.session())
    assert len(world.remote.sent) == 1


def test_slow_answers_are_shared_at_once(world: Shared) -> None:
    entry = sparse(world)
    entry.cache_fill_ns = 30_000_000
    session, asked = world.session(), list[bool]()
    world.look(session, lambda: asked.append(True))
    world.remote.reply()
    world.remote.leases.pop()(True)
    session.filled(answered(), [b"the answer"])
    assert len(world.remote.sent) == 1


def test_what_was_written_before_it_is_asked_for_again_is_not_sent(world: Shared, unsampled: None) -> None:
    sparse(world)
    session = world.session()
    world.serve(session)
    assert session.fill is not None
    slots = session.fill.slots
    session.filled(answered(), [b"the answer"])
    world.write(slots[-1])
    assert world.serve(world.session())[0] is Served.ASK
    assert world.remote.sent == []


def test_what_was_kept_by_other_definitions_is_not_sent(world: Shared, unsampled: None) -> None:
    sparse(world)
    world.filled(world.session())
    world.environment.fingerprints = {"main": FINGERPRINT + 1}
    assert world.serve(world.session())[0] is Served.ANSWERED
    assert world.remote.sent == []


def test_a_class_by_age_has_nothing_to_do_with_memcached(world: Shared, unsampled: None) -> None:
    sql = b"SELECT * FROM tokens WHERE token = 'a'"
    world.filled(world.session(), sql=sql)
    assert world.serve(world.session(), sql)[0] is Served.ANSWERED
    assert (world.remote.asked, world.remote.sent) == ([], [])
