"""Texts that were answered from memory are known: they are answered again without being read, under the same rule."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

import pytest

from bench import hit_path
from bench.fast_path import FakeTransport
from bench.hit_path import ANSWER, packet
from proxy.back.connection import ServerConnection
from proxy.cache.cached_value import CachedValue
from proxy.front import known
from proxy.front.caching import serve_known
from proxy.front.client import Client
from proxy.front.session import Session
from proxy.wire.frames import encode


class Dialogue:
    """A client of a worker whose server answers at once with `ANSWER`, and whose clock is followed."""

    def __init__(self) -> None:
        self.client: Client
        self.server: ServerConnection
        self.client, self.server, self.caching = hit_path.make()
        assert self.client.session is not None
        self.session: Session = self.client.session
        self.texts = self.session.plans.texts

    def ask(self, data: bytes) -> bool:
        """Is the server asked? Its answer and one from memory look the same to the client."""
        before = written(self.server), written(self.client)
        self.client.data_received(data)
        asked = written(self.server) > before[0]
        if asked:
            self.server.data_received(ANSWER)
        assert written(self.client) - before[1] == len(ANSWER)
        assert not self.session.busy
        return asked

    @property
    def counts(self) -> tuple[int, int]:
        """(hits, misses)."""
        stats = self.session.plans[b"SELECT c FROM sbtest1 WHERE id=\0"].cache_stats
        return stats.hits_local, stats.misses

    def slots(self, data: bytes) -> tuple[int, ...]:
        value = self.texts[data].find(self.caching, self.session.cache_identity())
        assert value is not None
        return value.slots


def written(end: Client | ServerConnection) -> int:
    return cast(FakeTransport, end.transport).written


def run(dialogue: Callable[[Dialogue], None]) -> None:
    async def started() -> None:
        dialogue(Dialogue())

    asyncio.run(started())


def test_a_text_is_known_from_its_first_hit_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def dialogue(it: Dialogue) -> None:
        assert it.ask(packet(5000))
        assert packet(5000) not in it.texts
        assert not it.ask(packet(5000))
        assert packet(5000) in it.texts
        hits = it.session.environment.measures.plan_hits
        shapes = []
        lexer = it.session.lexer
        monkeypatch.setattr(type(lexer), "shape", lambda self, sql: shapes.append(sql))
        assert not it.ask(packet(5000))
        assert not shapes
        assert it.counts == (2, 1)
        assert it.session.environment.measures.plan_hits == hits + 1
        assert it.session.found_rows == 1

    run(dialogue)


@pytest.mark.parametrize("what", ["stream", "write", "transaction", "stalled", "slow", "forgotten", "settings"])
def test_known_texts_are_under_the_same_rule(what: str) -> None:
    """Whatever forbids a hit sends a known text to the server, too."""

    def dialogue(it: Dialogue) -> None:
        for key in (5000, 5001, 5000, 5001):
            it.ask(packet(key))
        clock = it.caching.clocks["main"]
        only_5000 = [slot for slot in it.slots(packet(5000)) if slot not in it.slots(packet(5001))]
        if what == "stream":
            clock.touch(only_5000, 201)
        elif what == "write":
            clock._mine = clock.marked[0]
            clock.mark(only_5000, time.perf_counter_ns() + 10**16)
        elif what == "transaction":
            it.client.data_received(encode(b"\x03BEGIN", 0))
        elif what == "stalled":
            clock.stop("for the test")
        elif what == "slow":
            it.client.write_paused = True
        elif what == "forgotten":
            it.caching.store.local.clear()
        elif what == "settings":
            it.session.settings = it.session.settings.with_changes({"autocommit": b"'OFF'"})
        if what in ("stream", "write"):
            assert not it.ask(packet(5001))
        assert not serve_known(it.session, it.texts[packet(5000)])
        if what == "settings":
            return  # its server would have to take these over first
        before = it.counts[0]
        server = written(it.server)
        it.client.data_received(packet(5000))
        assert it.counts[0] == before
        assert written(it.server) > server

    run(dialogue)


def test_the_bytes_and_length_of_known_texts_are_bounded() -> None:
    def dialogue(it: Dialogue) -> None:
        room = it.session.environment._room
        room._limit_bytes = 4 * known._bytes_of(packet(1000))
        for key in range(1000, 1020):
            it.ask(packet(key))
            assert not it.ask(packet(key))
            assert packet(key) in it.texts
            assert len(it.texts) <= 4
            assert room._bytes == sum(map(known._bytes_of, it.texts))
        long = encode(b"\x03SELECT c FROM sbtest1 WHERE id=5 AND c<>'%b'" % (b"x" * known.MAX_TEXT_BYTES), 0)
        assert it.ask(long)
        assert not it.ask(long)
        assert long not in it.texts

    run(dialogue)


def test_texts_that_are_asked_for_stay_known() -> None:
    def dialogue(it: Dialogue) -> None:
        it.session.environment._room._limit_bytes = 16 * known._bytes_of(packet(1000))
        for key in range(1000, 1100):
            it.ask(packet(key))
            assert not it.ask(packet(key))
            if key > 1000:
                assert packet(1000) in it.texts
            it.caching.local._turn()
            assert not it.ask(packet(1000))

    run(dialogue)


def test_a_client_is_dismissed_after_a_hit_when_the_worker_ends() -> None:
    def dialogue(it: Dialogue) -> None:
        it.ask(packet(5000))
        it.ask(packet(5000))
        dismissed = []
        it.client.listener.dismiss = dismissed.append  # type: ignore[method-assign,assignment]
        it.client.listener.draining = True
        it.ask(packet(5000))
        assert dismissed == [it.client]

    run(dialogue)


def test_hits_that_were_sent_together_are_answered_in_one_go() -> None:
    def dialogue(it: Dialogue) -> None:
        for key in (5000, 5001):
            it.ask(packet(key))
            it.ask(packet(key))
        before = written(it.client)
        it.client.data_received(packet(5000) + packet(5001) + packet(5000))
        assert written(it.client) - before == 3 * len(ANSWER)
        assert it.counts == (5, 2)

    run(dialogue)


def test_a_known_text_gets_what_replaced_its_answer() -> None:
    def dialogue(it: Dialogue) -> None:
        it.ask(packet(5000))
        it.ask(packet(5000))
        known = it.texts[packet(5000)]
        assert not it.ask(packet(5000))  # from now on it has the answer at hand
        key = (known.entry.cache_shape, it.session.cache_identity(), known.cluster, known.literals)
        old = it.caching.store.peek(key)
        assert old is not None
        assert known.value is old
        newer = CachedValue(old.incarnation, old.log_id, old.position, old.slots, old.response + ANSWER[-9:], 1, 0)
        it.caching.store.keep(key, newer)
        before = written(it.client)
        it.client.data_received(packet(5000))
        assert written(it.client) - before == len(newer.response)

    run(dialogue)


def test_a_known_text_keeps_no_answer_in_memory() -> None:
    """The limit of a worker's memory holds, and what is used stays: it moves on to the young generation."""

    def dialogue(it: Dialogue) -> None:
        it.ask(packet(5000))
        local = it.caching.store.local
        for _ in range(3):
            assert not it.ask(packet(5000))
            local._turn()
        known = it.texts[packet(5000)]
        assert known.value is None
        assert not it.ask(packet(5000))
        value = known.value
        assert value is not None
        assert value.generation == local.generation
        local._turn()
        local._turn()
        assert known.value is None
        assert it.ask(packet(5000))
        assert not it.ask(packet(5000))

    run(dialogue)


def test_sessions_with_other_settings_have_their_own_answers_to_a_known_text() -> None:
    def dialogue(it: Dialogue) -> None:
        it.ask(packet(5000))
        it.ask(packet(5000))
        assert not it.ask(packet(5000))
        known = it.texts[packet(5000)]
        other = it.session.settings.with_changes({"div_precision_increment": b"7"})
        mine, it.session.settings = it.session.settings, other
        assert not serve_known(it.session, known)
        it.session.settings = mine
        assert not it.ask(packet(5000))

    run(dialogue)
