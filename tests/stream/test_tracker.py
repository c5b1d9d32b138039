"""What events mean for the clocks: dialogues of events, and the slots that are touched, with which position."""

from __future__ import annotations

import random
import struct
import uuid
from pathlib import Path

import pytest

from proxy.back.tags import CLUSTER_SLOT, table_slot
from proxy.errors import ProtocolError
from proxy.rules.loader import parse
from proxy.stream import events as ev
from proxy.stream import tracker as module
from proxy.stream.wanted import wanted
from tests.stream import log
from tests.stream.tracked import (
    CATALOG,
    EPOCH,
    META,
    NOTES_EPOCH,
    RULES,
    TYPES,
    Stream,
    by_customer,
    by_id,
    mapped,
    order,
)

UUID = uuid.UUID(int=9)


def test_rows_are_touched_with_the_position_of_the_transactions_end() -> None:
    stream = Stream()
    stream.feed(log.mariadb_gtid(), mapped(), log.rows(log.INSERT_V1, 5, 4, order(1) + order(2, b"Bob", (1, 1, 1))))
    assert (stream.touched, stream.clock.applied) == ([], 0)
    end = stream.feed(log.xid())
    slots = {by_id(1), by_id(2), by_customer(b"ann", b"2024-02-29"), by_customer(b"bob", b"0001-01-01")}
    assert stream.touched == [(slots, end)]
    assert stream.clock.applied == end
    assert (stream.tracker.rows, stream.tracker.transactions) == (2, 1)


@pytest.mark.parametrize(("insert", "update", "delete"), [(23, 24, 25), (30, 31, 32)])
def test_both_images_count(insert: int, update: int, delete: int) -> None:
    stream = Stream()
    end = stream.feed(log.mariadb_gtid(), mapped(), log.rows(update, 5, 4, order(1) + order(2)), log.xid())
    assert stream.touched == [({by_id(1), by_id(2), by_customer(b"ann", b"2024-02-29")}, end)]
    end = stream.feed(log.mariadb_gtid(), mapped(), log.rows(delete, 5, 4, order(3, None, None)), log.xid())
    assert stream.touched == [({by_id(3), by_customer(None, None)}, end)]


def test_values_without_a_normal_form_touch_the_table() -> None:
    stream = Stream()
    for image in (order(1, b"\xff"), order(1, "ä".encode()), order(1, b"x", (2024, 2, 31)), order(1, b"x" * 21)):
        stream.feed(log.mariadb_gtid(), mapped(), log.rows(log.INSERT_V1, 5, 4, image), log.xid())
        ((slots, _),) = stream.touched
        assert slots == {by_id(1), EPOCH}


def test_other_tables_are_left_alone() -> None:
    stream = Stream()
    end = stream.feed(
        log.mariadb_gtid(),
        mapped(b"others"),
        log.rows(log.INSERT_V1, 5, 4, b"\xff garbage that nobody reads"),
        mapped(b"orders", b"elsewhere"),
        log.rows(log.DELETE_V1, 5, 4, order(1)),
        log.xid(),
    )
    assert (stream.touched, stream.clock.applied) == ([], end)


def test_foreign_keys_pass_changes_on() -> None:
    stream = Stream()
    parent = log.table_map(6, b"shop", b"parents", [3])
    row = b"\0\1\0\0\0"
    stream.feed(log.mariadb_gtid(), parent, log.rows(log.INSERT_V1, 6, 1, row), log.xid())
    assert stream.touched == []
    stream.feed(log.mariadb_gtid(), parent, log.rows(log.UPDATE_V1, 6, 1, row * 2), log.xid())
    stream.feed(log.mariadb_gtid(), parent, log.rows(log.DELETE_V2, 6, 1, row), log.xid())
    assert [slots for slots, _ in stream.touched] == [{EPOCH}, {EPOCH}]


def test_only_columns_that_foreign_keys_refer_to_reach_children() -> None:
    """Except where an UPDATE in the log may be something else: system-versioned rows are deleted by one."""
    unchanged = struct.pack("<BiiBii", 0, 1, 10, 0, 1, 11)
    changed = struct.pack("<BiiBii", 0, 1, 10, 0, 2, 10)
    for table, expected in ((b"leaders", [set(), {EPOCH}, {EPOCH}]), (b"versioned", [{EPOCH}] * 3)):
        for images, kind, found in zip(
            (unchanged, changed, changed[:9]), (log.UPDATE_V1, log.UPDATE_V1, log.DELETE_V2), expected
        ):
            stream = Stream()
            parent = log.table_map(6, b"shop", table, [3, 3])
            stream.feed(log.mariadb_gtid(), parent, log.rows(kind, 6, 2, images), log.xid())
            assert set().union(*(slots for slots, _ in stream.touched)) == found, (table, kind)
    stream = Stream()
    other = log.table_map(6, b"shop", b"leaders", [3, 3, 3])  # of another definition than the one that is known
    stream.feed(log.mariadb_gtid(), other, log.rows(log.UPDATE_V1, 6, 3, bytes(26)), log.xid())
    assert stream.touched[0][0] == {EPOCH}


def test_names_in_another_case_are_the_same_table() -> None:
    stream = Stream()
    stream.feed(log.mariadb_gtid(), mapped(b"ORDERS", b"Shop"), log.rows(log.INSERT_V1, 5, 4, order(1)), log.xid())
    assert by_id(1) in stream.touched[0][0]


def test_another_definition_touches_the_whole_table() -> None:
    stream = Stream()
    other = log.table_map(5, b"shop", b"orders", [8, 15, 18, 10], META)  # id is BIGINT
    stream.feed(log.mariadb_gtid(), other, log.rows(log.INSERT_V1, 5, 4, order(1)), log.xid())
    wider = log.table_map(5, b"shop", b"orders", [*TYPES, 3], META)
    stream.feed(log.mariadb_gtid(), wider, log.rows(log.INSERT_V1, 5, 5, b"\0" * 40), log.xid())
    assert [slots for slots, _ in stream.touched] == [{EPOCH}, {EPOCH}]


def test_old_temporal_columns_make_keys_uncertain() -> None:
    """Such a column has more bytes with a fraction, and the log does not say: what looks like a key is none."""
    stream = Stream()
    old = log.table_map(5, b"shop", b"notes", [11, 3])
    row = b"\0" + bytes(6) + struct.pack("<i", 7)  # TIME(6)
    stream.feed(log.mariadb_gtid(), old, log.rows(log.INSERT_V1, 5, 2, row), log.xid())
    assert [slots for slots, _ in stream.touched] == [{NOTES_EPOCH}]


def test_images_without_the_key_touch_the_whole_table() -> None:
    stream = Stream()
    body = (5).to_bytes(6, "little") + b"\1\0" + b"\4\x01" + b"\0\1\0\0\0"
    stream.feed(log.mariadb_gtid(), mapped(), log.event(log.INSERT_V1, body), log.xid())
    assert [slots for slots, _ in stream.touched] == [{EPOCH}]


def test_a_transaction_of_very_many_keys_touches_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SLOTS", 50)
    stream = Stream()
    stream.feed(log.mariadb_gtid())
    for start in range(0, 200, 20):
        images = b"".join(order(n) for n in range(start, start + 20))
        stream.feed(mapped(), log.rows(log.INSERT_V1, 5, 4, images))
    stream.feed(log.xid())
    ((slots, _),) = stream.touched
    assert EPOCH in slots
    assert len(slots) < 60


def test_a_rolled_back_transaction_keeps_what_engines_without_transactions_wrote() -> None:
    stream = Stream()
    end = stream.feed(log.mariadb_gtid(), mapped(), log.rows(log.INSERT_V1, 5, 4, order(1)), log.query(b"ROLLBACK"))
    assert stream.touched[0] == ({by_id(1), by_customer(b"ann", b"2024-02-29")}, end)


def test_statements_between_begin_and_commit() -> None:
    """MySQL's form: a GTID, BEGIN as a statement, savepoints, rows, XID."""
    stream = Stream()
    stream.feed(log.mysql_gtid(UUID, 1), log.query(b"BEGIN"), log.query(b"SAVEPOINT `a`"), mapped())
    assert stream.tracker.in_transaction
    before = stream.clock.applied
    stream.feed(log.rows(log.INSERT_V2, 5, 4, order(1)), log.query(b"ROLLBACK TO `a`"))
    assert stream.clock.applied == before
    end = stream.feed(log.xid())
    assert stream.touched == [({by_id(1), by_customer(b"ann", b"2024-02-29")}, end)]


def test_ddl_touches_its_tables_and_asks_for_the_definitions() -> None:
    stream = Stream()
    end = stream.feed(log.mariadb_gtid(1), log.query(b"ALTER TABLE orders ADD x INT"))
    assert stream.touched == [({EPOCH}, end)]
    assert stream.changed == 1
    # Until the definitions have been read again, rows touch their table.
    stream.feed(log.mariadb_gtid(), mapped(), log.rows(log.INSERT_V1, 5, 4, order(1)), log.xid())
    assert stream.touched[0][0] == {EPOCH}
    known = wanted(parse(RULES, Path("r")), CATALOG, "main")
    stream.tracker.adopt(known, stream.position + 30)
    for slots in ({EPOCH}, {by_id(1), by_customer(b"ann", b"2024-02-29")}):
        stream.feed(log.mariadb_gtid(), mapped(), log.rows(log.INSERT_V1, 5, 4, order(1)), log.xid())
        assert stream.touched[0][0] == slots


def test_rename_and_drop_touch_all_their_tables() -> None:
    stream = Stream()
    stream.feed(log.mariadb_gtid(1), log.query(b"RENAME TABLE shop.orders TO shop.old, notes TO shop.orders"))
    ((slots, _),) = stream.touched
    assert {EPOCH, NOTES_EPOCH, table_slot("shop", "old")} <= slots or CLUSTER_SLOT in slots
    stream.feed(log.mariadb_gtid(1), log.query(b"DROP TABLE `orders`, `notes` /* generated by server */"))
    ((slots, _),) = stream.touched
    assert {EPOCH, NOTES_EPOCH} <= slots or CLUSTER_SLOT in slots
    stream.feed(log.mariadb_gtid(1), log.query(b"DROP DATABASE shop"))
    ((slots, _),) = stream.touched
    assert CLUSTER_SLOT in slots


@pytest.mark.parametrize(
    "text",
    [
        b"GRANT SELECT ON *.* TO a",
        b"INSERT INTO orders VALUES (1)",
        b"UPDATE orders SET a = 1",
        b"\xff\xfe not SQL",
        b"",
        b"(" * 20_000,
        b"CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW SET @a = 1",
        b"SELECT 1 FROM " + b"(SELECT 1 FROM " * 500,
    ],
)
def test_other_statements_touch_everything(text: bytes) -> None:
    stream = Stream()
    end = stream.feed(log.mariadb_gtid(1), log.query(text))
    ((slots, position),) = stream.touched
    assert CLUSTER_SLOT in slots or slots >= {EPOCH}
    assert position == end


def test_xa_transactions_show_when_they_are_committed() -> None:
    stream = Stream()
    stream.feed(log.mariadb_gtid(64, b"one"), mapped(), log.rows(log.INSERT_V1, 5, 4, order(1)))
    prepared = stream.feed(log.query(b"XA END X'6f6e65',X'',1"), log.event(ev.XA_PREPARE, bytes(13)))
    assert (stream.touched, stream.clock.applied) == ([], prepared)
    stream.feed(log.mariadb_gtid(), mapped(), log.rows(log.INSERT_V1, 5, 4, order(2)), log.xid())
    assert by_id(1) not in stream.touched[0][0]
    end = stream.feed(log.mariadb_gtid(128 | 1, b"one"), log.query(b"XA COMMIT X'6f6e65',X'',1"))
    assert stream.touched == [({by_id(1), by_customer(b"ann", b"2024-02-29")}, end)]
    # Prepared before we looked, or on MySQL, which does not say the XID: everything.
    stream.feed(log.mariadb_gtid(128 | 1, b"two"), log.query(b"XA COMMIT X'6f6e65',X'',1"))
    assert stream.touched[0][0] == {CLUSTER_SLOT}
    stream.feed(log.mysql_gtid(UUID, 1), log.query(b"XA START X'61',X'',1"), mapped())
    stream.feed(log.rows(log.INSERT_V2, 5, 4, order(1)), log.query(b"XA END X'61',X'',1"))
    stream.feed(log.event(ev.XA_PREPARE, bytes(13)))
    assert stream.touched == []
    stream.feed(log.mysql_gtid(UUID, 2), log.query(b"XA COMMIT X'61',X'',1"))
    assert stream.touched[0][0] == {CLUSTER_SLOT}


def test_one_phase_xa_commits_at_once() -> None:
    stream = Stream()
    stream.feed(log.mysql_gtid(UUID, 1), log.query(b"XA START X'61',X'',1"), mapped())
    end = stream.feed(log.rows(log.INSERT_V2, 5, 4, order(1)), log.event(ev.XA_PREPARE, b"\1" + bytes(12)))
    assert stream.touched == [({by_id(1), by_customer(b"ann", b"2024-02-29")}, end)]


@pytest.mark.parametrize("kind", [20, ev.INCIDENT, 39, 40, ev.GTID_TAGGED, 172, 255])
def test_what_is_not_understood_touches_everything(kind: int) -> None:
    stream = Stream()
    end = stream.feed(log.event(kind, b"???"))  # outside a transaction
    assert stream.touched == [({CLUSTER_SLOT}, end)]
    stream.feed(log.mariadb_gtid(), log.event(kind, b"???"))
    assert stream.touched == []
    end = stream.feed(log.xid())
    assert stream.touched == [({CLUSTER_SLOT}, end)]
    assert stream.tracker.unknown == {f"event type {kind}": 2}


def test_rows_of_a_table_that_was_not_named() -> None:
    stream = Stream()
    stream.feed(log.mariadb_gtid(), log.rows(log.INSERT_V1, 5, 4, order(1)), log.xid())
    assert stream.touched[0][0] == {CLUSTER_SLOT}
    # The end of a statement ends what its table ids mean.
    stream.feed(log.mariadb_gtid(), mapped(), log.rows(log.INSERT_V1, 5, 4, order(1)))
    stream.feed(log.rows(log.INSERT_V1, 5, 4, order(2)), log.xid())
    assert CLUSTER_SLOT in stream.touched[0][0]
    dummy = log.rows(log.INSERT_V1, 0xFFFFFF, 0, b"")
    end = stream.feed(log.mariadb_gtid(), dummy, log.xid())
    assert (stream.touched, stream.clock.applied) == ([], end)


def test_an_event_that_cannot_be_read_is_never_skipped() -> None:
    """Nothing of it is applied: whoever reads the log has to begin anew."""
    stream = Stream()
    stream.feed(log.mariadb_gtid(), mapped())
    before = stream.clock.applied
    with pytest.raises(ProtocolError):
        stream.feed(log.rows(log.INSERT_V1, 5, 4, order(1)[:-1]))
    with pytest.raises(ProtocolError):
        stream.feed(log.table_map(7, b"shop", b"orders", [200]))
    assert (stream.touched, stream.clock.applied) == ([], before)


def test_what_has_no_transaction_is_applied_at_its_end() -> None:
    stream = Stream()
    for data in (log.event(ev.GTID_LIST, b""), log.rotate("binlog.000008"), log.previous_gtids({})):
        assert stream.feed(data) == stream.clock.applied
    stream.feed(log.mariadb_gtid())
    before = stream.clock.applied
    stream.feed(log.event(ev.ANNOTATE_ROWS, b"x"), log.rotate("binlog.000009", flags=0x20))
    assert stream.clock.applied == before


def test_a_server_that_died_in_a_transaction() -> None:
    stream = Stream()
    stream.feed(log.mariadb_gtid(), mapped(), log.rows(log.INSERT_V1, 5, 4, order(1)))
    end = stream.feed(log.format_description(created=9))
    assert stream.clock.applied == end
    assert by_id(1) in stream.touched[0][0]


def test_a_transaction_without_an_end_ends_where_the_next_begins() -> None:
    stream = Stream()
    stream.feed(log.mysql_gtid(UUID, 1), mapped(), log.rows(log.INSERT_V2, 5, 4, order(1)))
    end = stream.feed(log.mysql_gtid(UUID, 2))
    assert stream.touched == [({by_id(1), by_customer(b"ann", b"2024-02-29")}, end)]


def test_any_order_of_events_is_survived() -> None:
    """Positions only go forward, nothing is touched late, nothing but ProtocolError is raised, and a row that was read
    is touched when the transaction is over."""
    rng = random.Random(7)
    events = [
        log.mariadb_gtid(),
        log.mariadb_gtid(1),
        log.mariadb_gtid(64, b"one"),
        log.mariadb_gtid(128 | 1, b"one"),
        log.mysql_gtid(UUID, 3),
        mapped(),
        mapped(b"notes"),
        log.rows(log.INSERT_V1, 5, 4, order(1)),
        log.rows(log.UPDATE_V2, 5, 4, order(1) + order(2), last=False),
        log.xid(),
        log.query(b"BEGIN"),
        log.query(b"COMMIT"),
        log.query(b"XA COMMIT X'6f6e65',X'',1"),
        log.query(b"ALTER TABLE orders ADD x INT"),
        log.event(ev.XA_PREPARE, bytes(13)),
        log.event(99, b""),
        log.format_description(),
        log.rotate("binlog.000002"),
        log.event(ev.GTID_LIST, b""),
    ]
    for _ in range(300):
        stream = Stream()
        for _ in range(30):
            stream.feed(rng.choice(events))
        stream.feed(log.xid())
        assert not stream.tracker.in_transaction
        assert stream.clock.applied == stream.position
