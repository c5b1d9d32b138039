"""Executions of prepared statements that were answered from memory are known by their packets, as texts are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.back.connection import ServerStatement
from proxy.errors import StatementRefused
from proxy.front import commands
from proxy.front import prepared as executing
from proxy.wire.frames import encode
from tests.front.test_known_texts import Dialogue

TEXT = b"SELECT c FROM sbtest1 WHERE id=?"


class Executing(Dialogue):
    """A client that has prepared `TEXT`, and whose server has it, too."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared = self._prepare()

    def _prepare(self) -> executing.Prepared:
        session = self.session
        made = executing.read_statement(session, TEXT)
        session.next_statement_id += 1
        made.params = 1
        session.prepared[made.id] = made
        self.server.statements[made.key] = ServerStatement(7)
        return made

    def execution(self, key: int, types: bytes | None = b"\x03\0", number: int = 0) -> bytes:
        """A packet; without `types` it refers to those before."""
        bound = b"\0\0" if types is None else b"\0\1" + types
        number = number or self.prepared.id
        return encode(b"\x17" + number.to_bytes(4, "little") + b"\0\1\0\0\0" + bound + key.to_bytes(4, "little"), 0)

    def known(self) -> None:
        for expected in (True, False, False):
            assert self.ask(self.execution(5000)) is expected


def run(dialogue: Callable[[Executing], None]) -> None:
    async def started() -> None:
        dialogue(Executing())

    asyncio.run(started())


def test_an_execution_is_known_from_its_first_hit_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def dialogue(it: Executing) -> None:
        assert it.ask(it.execution(5000))
        assert not it.ask(it.execution(5000))
        carried_out: list[bytes] = []
        monkeypatch.setattr(commands, "carry_out", lambda session, payload: carried_out.append(payload))
        before = it.session.statements
        it.session.found_rows = 17
        assert not it.ask(it.execution(5000))
        assert not carried_out
        assert it.session.statements == before + 1
        assert it.session.found_rows == 1
        stats = it.prepared.entry.cache_stats
        assert (stats.hits_local, stats.misses) == (2, 1)

    run(dialogue)


def test_types_that_were_bound_before_count() -> None:
    """The same bytes mean something else behind other types, and a hit leaves the types that it names."""

    def dialogue(it: Executing) -> None:
        it.known()
        assert not it.ask(it.execution(5000, None))  # an INT as well, but its packet does not say so
        assert it.ask(it.execution(5000, b"\x03\x80"))  # unsigned
        for _ in range(3):
            assert not it.ask(it.execution(5000, b"\x03\x80"))
            assert it.prepared.types == b"\x03\x80"
            assert not it.ask(it.execution(5000, None))
            assert it.prepared.types == b"\x03\x80"
            assert not it.ask(it.execution(5000))
            assert it.prepared.types == b"\x03\0"
            assert not it.ask(it.execution(5000, None))
            assert it.prepared.types == b"\x03\0"
        assert it.ask(it.execution(6000, b"\x03\x80"))
        assert it.ask(it.execution(6000))

    run(dialogue)


@pytest.mark.parametrize("what", ["stream", "write", "slow", "transaction", "database", "long data", "error", "gone"])
def test_known_executions_are_under_the_same_rule(what: str) -> None:
    """Whatever forbids a hit sends a known execution on, too."""

    def dialogue(it: Executing) -> None:
        it.known()
        hits = it.prepared.entry.cache_stats.hits_local
        session = it.session
        if what == "stream":
            it.caching.clocks["main"].stop("a test")
        elif what == "write":
            clock = it.caching.clocks["main"]
            value = next(iter(it.caching.local._young.values()))
            clock.touch(value.slots[-1:], value.position + 1)
        elif what == "slow":
            it.client.write_paused = True
        elif what == "transaction":
            session.transaction.explicit = True
        elif what == "database":
            session.database = "another"
        elif what == "long data":
            it.prepared.long_data[0] = bytearray(b"5000")
        elif what == "error":
            it.prepared.long_error = StatementRefused("too long")
        elif what == "gone":
            del session.prepared[it.prepared.id]
        it.client.data_received(it.execution(5000))
        assert it.prepared.entry.cache_stats.hits_local == hits

    run(dialogue)


def test_executions_that_were_sent_together_are_answered_in_one_go() -> None:
    def dialogue(it: Executing) -> None:
        it.known()
        hits = it.prepared.entry.cache_stats.hits_local
        it.client.data_received(3 * it.execution(5000))
        assert it.prepared.entry.cache_stats.hits_local == hits + 3
        half = it.execution(5000)
        it.client.data_received(half[:11])
        it.client.data_received(half[11:])
        assert it.prepared.entry.cache_stats.hits_local == hits + 4

    run(dialogue)


def test_the_statement_that_was_prepared_last_needs_no_number() -> None:
    """MariaDB's clients may execute what they have just prepared without knowing its number."""

    def dialogue(it: Executing) -> None:
        it.known()
        it.session.last_prepared = it.prepared.id
        assert not it.ask(it.execution(5000, number=0xFFFFFFFF))

    run(dialogue)
