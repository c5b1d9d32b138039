"""SELECTs over shards and clusters that are finished on the workbench: as on one server with everything."""

from __future__ import annotations

import os
import random

import pytest

from tests.sizes import seed
from tests.workbench.selects import Selects
from tests.workbench.shop import Pair

pytestmark = pytest.mark.servers
SEED = seed()
STEPS = int(os.environ.get("TURNOUT_STEPS", "300"))


def test_selects_at_random(pair: Pair) -> None:
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    selects = Selects(random.Random(SEED))
    rows = 0
    for _ in range(STEPS):
        sql, ordered = selects.make()
        rows += len(pair.same(sql, ordered=ordered).rows)
    assert rows > STEPS  # most of them have rows to compare


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT SUM(n / 7), AVG(n / 7), SUM(i / 3), AVG(i / 3) FROM things",
        "SELECT AVG(12.1 / NULLIF(i, 0)), SUM(IF(i > 3, i / 7, 0)) FROM things",
        "SELECT SUM(x), AVG(x) FROM (SELECT i / 3 AS x FROM things) AS d",
        "SELECT SUM(ROUND(i / 3, 5)), AVG(ROUND(i / 3, 5)), MAX(i / 3), MIN(i / 7) FROM things",
        "SELECT e FROM things GROUP BY e HAVING MAX(i / 3) > 3.3333 AND MIN(i / 7) < -0.4285",
    ],
)
def test_quotients_have_all_their_digits(pair: Pair, sql: str) -> None:
    """A shard's sum shows fewer than it has."""
    pair.same(sql)


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT MIN(bits), MAX(bits), SUM(bits) FROM things", False),
        ("SELECT e, MIN(bits), MAX(bits) FROM things GROUP BY e ORDER BY MAX(bits), e", True),
        ("SELECT e, COUNT(*) FROM things GROUP BY e HAVING MAX(bits) > 99 ORDER BY e", True),
        ("SELECT k, MIN(bits) FROM things GROUP BY k ORDER BY MIN(bits), k", True),
        ("SELECT IFNULL(bits, bits) AS x, id FROM things ORDER BY x, id", True),
        ("SELECT MAX(x) FROM (SELECT bits AS x FROM things) AS d", False),
    ],
)
def test_bits_may_be_sent_as_digits(pair: Pair, sql: str, ordered: bool) -> None:
    """As which they are in no order."""
    pair.same(sql, ordered=ordered)


def test_defaults_are_those_of_the_tables(pair: Pair) -> None:
    pair.run("ALTER TABLE parts ALTER price SET DEFAULT 1.25", "ALTER TABLE photos ALTER n SET DEFAULT 7")
    try:
        answer = pair.same("SELECT DEFAULT(p.price), DEFAULT(f.n) FROM parts p JOIN photos f ON f.id = p.part LIMIT 1")
        assert answer.rows == ((b"1.25", b"7"),)
        pair.same("SELECT p.part, f.n FROM parts p JOIN photos f ON f.id = p.part AND f.n < DEFAULT(f.n)")
        pair.same("SELECT MAX(DEFAULT(i)) FROM things WHERE id IN (SELECT id FROM photos)")
    finally:
        pair.run("ALTER TABLE parts ALTER price SET DEFAULT NULL", "ALTER TABLE photos ALTER n SET DEFAULT NULL")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT EXISTS (SELECT 1 FROM things WHERE things.i = 1), EXISTS (SELECT 1 FROM things) FROM users",
        "SELECT (SELECT MAX(t.i) FROM things t), (SELECT MIN(`u`.i)  FROM   `things`  AS `u`) FROM users",
        "SELECT (SELECT COUNT(*) FROM shop.things), (SELECT COUNT(*)+1 FROM shop . `things` WHERE i) FROM parts",
        "SELECT * FROM (SELECT COUNT(*) FROM things, things t2 WHERE t2.i = 1) d JOIN photos",
        # names that are cut
        f"SELECT {'1 + ' * 20}(SELECT MAX(t.i) FROM things AS t WHERE {'t.i < 8 AND ' * 15}t.i < 9) + 1 FROM users",
        f"SELECT (SELECT MAX(t.i) FROM things AS t WHERE t.general <> '{'é' * 200}') FROM users",
        f"SELECT 1 + (SELECT MAX(t.i) FROM things AS t WHERE t.general <> '{'日' * 100}') FROM users",
    ],
)
def test_columns_have_the_names_of_what_was_written(pair: Pair, sql: str) -> None:
    """Also where it mentions a table for a second time, which is another table on the workbench."""
    answer = pair.same(sql)
    assert not any(b"turnout" in column.name for column in answer.columns)
