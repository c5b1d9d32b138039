"""MySQL: which position is visible, from what passed in the stream and what gtid_executed says.

No MySQL server is asked: events and sets are as MySQL's documents have them.
"""

from __future__ import annotations

import random
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.back import gtid
from proxy.errors import ServerFailed
from proxy.stream import events as ev
from proxy.stream import probe as module
from proxy.stream.check import NotFollowable, at_once, wrong_mysql_settings, wrong_settings
from proxy.stream.events import Decoder
from proxy.stream.probe import GtidProbe, SnapshotProbe
from proxy.stream.source import Place
from tests.stream import log
from tests.stream.tracked import Stream, mapped, order

A, B = uuid.UUID(int=0xA), uuid.UUID(int=0xB)


class Source(Stream):
    """A tracker and a probe, fed as the stream process does it."""

    def __init__(self) -> None:
        super().__init__()
        self.probe = GtidProbe()
        self.clock.apply = self._applied  # type: ignore[method-assign]

    def _applied(self, position: int) -> None:
        self.probe.ended(position)
        self.clock.applied = position

    def feed(self, *events: bytes) -> int:
        for data in events:
            super().feed(data)
            self.probe.passed(Decoder(True).decode(data), self.position)
        return self.position

    def executed(self, text: str) -> int | None:
        self.probe.executed(gtid.parse(text))
        return self.probe.visible


def transaction(source: uuid.UUID, number: int) -> list[bytes]:
    return [
        log.mysql_gtid(source, number),
        log.query(b"BEGIN"),
        mapped(),
        log.rows(log.INSERT_V2, 5, 4, order(number)),
        log.xid(),
    ]


def test_the_dump_begins_with_the_file() -> None:
    assert GtidProbe().start(Place("binlog.000007", 12345)) == Place("binlog.000007", 4)
    assert SnapshotProbe().start(Place("binlog.000007", 12345)) == Place("binlog.000007", 12345)


def test_a_transaction_is_visible_once_it_is_executed() -> None:
    source = Source()
    begun = source.feed(log.format_description(), log.previous_gtids({A: [(1, 4)]}))
    assert source.executed(f"{A}:1-3") is None  # something in an earlier file is still being committed
    assert source.executed(f"{A}:1-4") == begun
    first = source.feed(*transaction(A, 5))
    second = source.feed(*transaction(A, 6))
    assert source.probe.visible != first
    assert source.executed(f"{A}:1-5") == first
    assert source.executed(f"{A}:1-6") == second
    # A server that is ahead of the stream: what passes later is visible at once.
    assert source.executed(f"{A}:1-9") == second
    third = source.feed(*transaction(A, 7))
    assert source.probe.visible == third


def test_the_log_is_quiet() -> None:
    """With nothing after it, the end of the file's first events is visible as soon as all before is."""
    source = Source()
    source.executed(f"{A}:1-4")
    source.feed(log.format_description(), log.previous_gtids({A: [(1, 4)]}))
    end = source.feed(*transaction(A, 5))
    assert source.executed(f"{A}:1-5") == end
    rotated = source.feed(log.rotate("binlog.000008"))
    assert source.probe.visible == rotated
    source.feed(*transaction(A, 6))
    later = source.feed(log.rotate("binlog.000009"))
    assert source.probe.visible == rotated  # 6 is not visible yet, so nothing after it is
    assert source.executed(f"{A}:1-6") is not None
    assert source.probe.visible is not None
    assert rotated < source.probe.visible < later


def test_one_that_is_not_executed_holds_up_those_behind_it() -> None:
    source = Source()
    source.feed(log.previous_gtids({}))
    ends = [source.feed(*transaction(*one)) for one in ((A, 1), (B, 5), (A, 2), (B, 6))]
    assert source.executed(f"{A}:1-2") == ends[0]
    assert source.executed(f"{A}:1-2,{B}:6") == ends[0]
    assert source.executed(f"{A}:1-2,{B}:5") == ends[2]
    assert source.executed(f"{A}:1-2,{B}:5-6") == ends[3]


def test_ddl_and_xa_have_ends_of_their_own() -> None:
    source = Source()
    source.feed(log.previous_gtids({}))
    ddl = source.feed(log.mysql_gtid(A, 1), log.query(b"DROP TABLE orders"))
    source.feed(log.mysql_gtid(A, 2), log.query(b"XA START X'61',X'',1"), log.query(b"XA END X'61',X'',1"))
    prepared = source.feed(log.event(ev.XA_PREPARE, bytes(13)))
    committed = source.feed(log.mysql_gtid(A, 3), log.query(b"XA COMMIT X'61',X'',1"))
    assert source.executed(f"{A}:1") == ddl
    assert source.executed(f"{A}:1-2") == prepared
    assert source.executed(f"{A}:1-3") == committed


def test_a_transaction_without_an_end_of_its_own() -> None:
    source = Source()
    source.feed(log.previous_gtids({}))
    source.feed(log.mysql_gtid(A, 1), mapped(), log.rows(log.INSERT_V2, 5, 4, order(1)))
    begun = source.feed(log.mysql_gtid(A, 2))
    end = source.feed(log.query(b"DROP TABLE x"))
    assert source.executed(f"{A}:1") == begun
    assert source.executed(f"{A}:1-2") == end


def test_what_cannot_be_followed() -> None:
    source = Source()
    with pytest.raises(NotFollowable, match="gtid_mode=ON"):
        source.feed(log.mysql_gtid(A, 0, ev.ANONYMOUS_GTID))
    with pytest.raises(NotFollowable, match="tagged"):
        source.feed(log.event(ev.GTID_TAGGED, bytes(40)))


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    source = Source()
    source.feed(log.previous_gtids({}))
    for number in range(1, 4):
        source.feed(*transaction(A, number))
    with pytest.raises(ServerFailed, match="gtid_executed"):
        source.feed(*transaction(A, 4))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 30))
def test_never_more_than_is_visible(seed: int) -> None:
    """Transactions pass, commit and are probed in any order: what is called visible has been executed, all of it, and
    in the end everything is visible."""
    rng = random.Random(seed)
    source = Source()
    source.feed(log.previous_gtids({A: [(1, 2)]}))
    todo = [(A, n) for n in range(3, 12)] + [(B, n) for n in range(1, 6)]
    rng.shuffle(todo)
    ends: dict[tuple[uuid.UUID, int], int] = {}
    executed = {(A, 1)}
    uncommitted = [(A, 2), *todo]

    def probed() -> None:
        visible = source.executed(",".join(f"{u}:{n}" for u, n in executed))
        if visible is not None:
            assert (A, 2) in executed
            assert all(one in executed for one, end in ends.items() if end <= visible)

    while todo or uncommitted:
        action = rng.randrange(3)
        if action == 0 and todo:
            one = todo.pop(0)
            ends[one] = source.feed(*transaction(*one))
        elif action == 1 and uncommitted:
            executed.add(uncommitted.pop(rng.randrange(len(uncommitted))))
        probed()
    probed()
    assert source.probe.visible == max(ends.values())


def test_settings_that_are_needed() -> None:
    assert wrong_settings("1", "ROW", "FULL") == []
    assert len(wrong_settings("0", "MIXED", "MINIMAL")) == 3
    assert "SET GLOBAL binlog_format = 'ROW';" in at_once(wrong_settings("1", "MIXED", "FULL"))
    assert "`binlog_format = ROW`" in at_once(wrong_settings("1", "MIXED", "FULL"))
    assert at_once(wrong_settings("0", "ROW", "FULL")) == "", "it takes a restart"
    assert wrong_mysql_settings({"gtid_mode": "ON"}) == []
    assert (
        wrong_mysql_settings(
            {"gtid_mode": "ON", "binlog_transaction_compression": "OFF", "binlog_row_value_options": ""}
        )
        == []
    )
    assert "gtid_mode=ON" in wrong_mysql_settings({"gtid_mode": "OFF_PERMISSIVE"})[0]
    assert (
        len(wrong_mysql_settings({"binlog_transaction_compression": "ON", "binlog_row_value_options": "PARTIAL_JSON"}))
        == 3
    )
