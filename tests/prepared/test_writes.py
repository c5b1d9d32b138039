"""Prepared writes whose values are on several shards: the same rows, numbers and errors as on one server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.front.raw import Bound, Param
from tests.prepared.bound import NEWDECIMAL, date, every_type, text
from tests.prepared.pair import PreparedPair

pytestmark = pytest.mark.servers


@pytest.fixture
def undone(pair: PreparedPair) -> Iterator[PreparedPair]:
    """In a transaction that leaves the rows as they were."""
    pair.run("BEGIN")
    yield pair
    pair.run("ROLLBACK")


CHECKS = ("SELECT * FROM parts ORDER BY k, part", "SELECT * FROM places", "SELECT * FROM kinds", "SELECT * FROM odd")

WRITES: tuple[tuple[str, tuple[Param, ...]], ...] = (
    ("UPDATE parts SET price = price + ?, note = ? WHERE of_id > ?", (text(NEWDECIMAL, "1.50"), "é", 70)),
    ("UPDATE parts SET price = price + ?, note = ? WHERE of_id > ?", (2, None, 100)),
    ("UPDATE parts SET note = ? WHERE k IN (?, ?, ?)", ("in three", 1, 2, 3)),
    ("UPDATE parts SET note = ? WHERE k IN (?, ?, ?)", ("in one", 4, 4, None)),
    ("UPDATE parts SET note = ? WHERE k = ?", ("of one", 4)),
    ("UPDATE parts SET note = ? WHERE k = ?", ("of none", None)),
    ("UPDATE parts SET part = ? WHERE of_id > ?", (1, 3)),  # duplicates
    ("DELETE FROM parts WHERE k IN (?, ?) OR note = ?", (7, 8, "a")),
    ("DELETE FROM parts WHERE price < ?", (1.5,)),
    ("INSERT INTO parts VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)", (1, 900, 3, "4.5", "x", 2, 901, None, 6, None)),
    ("INSERT INTO parts VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)", (1, 900, 3, "4.5", "x", 2, 901, None, 6, None)),
    ("INSERT INTO parts VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)", (5, 902, 3, 1, "x", 5, 903, 1, 6, "y")),
    ("INSERT IGNORE INTO parts VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)", (1, 900, 3, 4, "x", 3, 904, 1, 6, "y")),
    ("REPLACE INTO parts VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)", (1, 900, 4, 4, "z", 3, 904, 1, 7, "z")),
    (
        "INSERT INTO parts VALUES (?, ?, ?, ?, ?), (2, 901, ? + 1, 3, UPPER(?)), (?, 905, 1, 1, ?) "
        "ON DUPLICATE KEY UPDATE of_id = VALUES(of_id) + ?",
        (1, 900, 3, 4, "x", 5, "up", 9, "?", 1000),
    ),
    (
        "INSERT INTO places (region, id, name) VALUES (?, ?, ?), (?, ?, ?), (?, ?, ?)",
        ("a", 90, "é", "b", 91, "", "q", 92, "x"),
    ),
    ("INSERT INTO kinds VALUES (?, ?), (?, ?)", (100, "kind 100", 101, None)),
    ("UPDATE kinds SET kind = ? WHERE i > ?", ("large", 5)),
    ("DELETE FROM kinds WHERE i = ?", (100,)),
    ("UPDATE things t JOIN parts p ON p.k = t.k SET p.note = ? WHERE t.i = ?", ("joined", 3)),
    ("DELETE p FROM things t JOIN parts p ON p.k = t.k WHERE t.i = ? AND p.part > ?", (4, 30)),
)  # fmt: skip


def test_one_after_the_other(undone: PreparedPair) -> None:
    for sql, params in WRITES:
        undone.same(sql, *params)
    for check in CHECKS:
        undone.text(check)


def test_without_a_transaction_of_the_clients(pair: PreparedPair) -> None:
    pair.same("INSERT INTO parts VALUES (?, 950, 1, 2, 'a'), (?, 950, 1, 2, 'b')", 1, 2)
    pair.same("UPDATE parts SET price = ? WHERE part = ?", 7, 950)
    # One of the two is there already: none is inserted.
    pair.same("INSERT INTO parts VALUES (?, 950, 1, 2, 'a'), (?, 950, 1, 2, 'b')", 3, 2)
    pair.text("SELECT * FROM parts WHERE part = 950 ORDER BY k")
    pair.same("DELETE FROM parts WHERE part = ?", 950)
    for check in CHECKS:
        pair.text(check)


def test_values_of_every_type(undone: PreparedPair) -> None:
    """Rows on two shards, with a value of each type in columns of several."""
    columns = "k, id, u, big, d, f, c, low, raw, z, zero, bits, y, hidden, z4"
    row = f"(?, ?{', ?' * 13})"
    for number, value in enumerate(every_type(7)):
        if value.type == 255:
            continue  # Cannot get geometry object from data
        values = [value] * 6
        params = [1, 5000 + 2 * number, None, *values, value, date(2024, 1, 1), None, 5, 1999, value]
        undone.same(
            f"INSERT IGNORE INTO odd ({columns}) VALUES {row}, {row}", *params, 2, 5001 + 2 * number, *params[2:]
        )
    undone.text("SELECT * FROM odd WHERE id >= 5000 ORDER BY k, id")


def test_long_data(undone: PreparedPair) -> None:
    sql = "INSERT INTO odd (k, id, raw, z, low) VALUES (?, 6000, ?, 0, ?), (?, 6001, ?, 0, ?)"
    pair = undone
    ours, theirs = pair.prepared(sql)
    big = bytes(range(256)) * 300
    for client, statement in ((pair.client, ours), (pair.mirror, theirs)):
        for piece in (big, b"", big):
            client.long_data(statement, 1, piece)
        client.long_data(statement, 4, b"second")
        client.long_data(statement, 5, "é".encode() * 500)
    empty = Bound(253, b"")
    raw = Bound(252, b"")
    answers = [
        client.execute(statement, 1, raw, "x", 2, raw, empty)
        for client, statement in ((pair.client, ours), (pair.mirror, theirs))
    ]
    pair.compare(sql, *answers)
    assert pair.text("SELECT LENGTH(raw), raw, low FROM odd WHERE id >= 6000 ORDER BY id").rows[0][0] == b"153600"
