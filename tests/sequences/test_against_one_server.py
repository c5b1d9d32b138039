"""INSERTs whose ids Turnout makes, against one server that makes its own: the same but for the numbers.

Ids are compared by the row that they name: the insert id of an answer and LAST_INSERT_ID() have to be those of the same
row on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.front.raw import Answer, Client, Param, Statement
from tests.sequences.conftest import TABLES, World

pytestmark = pytest.mark.servers
Connect = Callable[..., Client]


class Pair:
    """A client of Turnout and one of the server that has everything."""

    def __init__(self, world: World, connect: Connect) -> None:
        self.world = world
        self.ours = connect(world.start())
        self.theirs = connect(world.one)
        self._prepared: dict[str, tuple[Statement, Statement]] = {}

    def both(self, sql: str) -> tuple[Answer, Answer]:
        return self.ours.query(sql), self.theirs.query(sql)

    def prepared(self, sql: str, *params: Param) -> tuple[Answer, Answer]:
        """Executed with the binary protocol, prepared once."""
        if sql not in self._prepared:
            ours, theirs = self.ours.prepare(sql), self.theirs.prepare(sql)
            assert isinstance(ours, Statement), ours
            assert isinstance(theirs, Statement), theirs
            self._prepared[sql] = ours, theirs
        ours, theirs = self._prepared[sql]
        return self.ours.execute(ours, *params), self.theirs.execute(theirs, *params)

    def same(self, sql: str, *params: Param, prepare: bool = False) -> Answer:
        """The two answers are the same but for ids, and so are LAST_INSERT_ID() and the tables afterwards."""
        ours, theirs = self.prepared(sql, *params) if prepare or params else self.both(sql)
        assert self._plain(self.ours, ours) == self._plain(self.theirs, theirs), f"{sql}\n  {ours}\n  not {theirs}"
        warnings = self.both("SHOW WARNINGS")
        assert [row[:2] for row in warnings[0].rows] == [row[:2] for row in warnings[1].rows], sql
        if ours.ok:  # after an error it is undefined
            last = [client.query("SELECT LAST_INSERT_ID()").number for client in (self.ours, self.theirs)]
            assert self._row(self.ours, last[0]) == self._row(self.theirs, last[1]), f"{sql}: LAST_INSERT_ID() {last}"
        self.check_tables([name for name in TABLES if name in sql])
        return ours

    def _plain(self, client: Client, answer: Answer) -> object:
        named = self._row(client, answer.insert_id) if answer.insert_id else None
        return replace(answer, insert_id=0, status=answer.status & 3, message=""), named

    def _row(self, client: Client, number: int) -> object:
        """What the ids of a row stand for; the number itself where it is no row's."""
        table = TABLES[min(number // 1_000_000, 2)]
        found = client.query(f"SELECT k, v FROM {table} WHERE id = {number}").rows
        return (table, sorted(found, key=repr)) if found else number

    def check_tables(self, tables: Sequence[str] = TABLES) -> None:
        for table in tables:
            columns = "customer_id, k, v" if table != "members" else "k, v"
            ours, theirs = self.both(f"SELECT {columns}, id FROM {table}")
            assert sorted((row[:-1] for row in ours.rows), key=repr) == sorted(
                (row[:-1] for row in theirs.rows), key=repr
            ), table
            numbers = [int(row[-1] or 0) for row in ours.rows]
            assert len(numbers) == len(set(numbers)), f"an id twice in {table}: {sorted(numbers)}"


@pytest.fixture
def pair(world: World, connect: Connect) -> Pair:
    return Pair(world, connect)


def test_rows_that_were_ignored_are_not_returned_from_several_shards(pair: Pair) -> None:
    answer = pair.ours.query("INSERT IGNORE INTO orders (customer_id, k) VALUES (1, 'a'), (8, 'b') RETURNING k")
    assert (answer.errno, "RETURNING" in answer.message) == (1235, True)


ONE_ROW = """\
INSERT INTO orders (customer_id, k) VALUES (1, 'a')
INSERT INTO orders (customer_id, k) VALUES (2, 'b')
INSERT orders(k,customer_id)VALUES('c',3);
INSERT INTO orders VALUES (NULL, 4, 'd', 1)
INSERT INTO orders VALUES (DEFAULT, 5, 'e', 1)
INSERT INTO shop.orders (`id`, customer_id, k) VALUES (0, 6, 'f')
INSERT INTO orders (customer_id, id, k) VALUES (7, '0', 'g')
INSERT INTO orders SET customer_id = 8, k = 'h'
INSERT INTO orders SET id = NULL, customer_id = 9, k = 'i' /* the end */
INSERT INTO orders SET customer_id = 10, id = 0, k = 'j', v = 1 + 1
INSERT INTO orders (customer_id, k, v) VALUES (11, CONCAT('k', ')'), (2 + 3)) -- the end
INSERT INTO orders (k, customer_id, v) VALUES ('m', 12, LAST_INSERT_ID() > 0)
INSERT INTO orders (customer_id, k) VALUES (13, 'n') RETURNING k
INSERT INTO orders (customer_id, k) VALUES (14, NULL), (14, 'o')
INSERT INTO orders (customer_id, k, v) VALUES (15, 'p', NULL)
INSERT INTO orders (id, customer_id, k) VALUES (5000, 16, 'q')
INSERT INTO orders (customer_id, k) VALUES (17, 'r')
INSERT INTO orders (id, customer_id, k) VALUES (-3, 18, 's')
INSERT INTO orders (id, customer_id, k) VALUES (4000, 19, 't')
INSERT INTO orders (customer_id, k) VALUES (20, 'u')
INSERT INTO members (k) VALUES ('a')
INSERT INTO members VALUES ()
INSERT INTO members () VALUES ()
INSERT INTO members SET k = 'b'
INSERT INTO members (id, k) VALUES (NULL, 'c')
INSERT INTO members (id, k) VALUES (77, 'd')
INSERT INTO members (k) VALUES ('e')
INSERT INTO members (k) VALUES ('e2') RETURNING v
INSERT INTO items (customer_id, k) VALUES (1, 'a')
INSERT INTO items (customer_id, k) VALUES (1, 'a')
INSERT IGNORE INTO items (customer_id, k) VALUES (1, 'a')
INSERT IGNORE INTO items (customer_id, k) VALUES (1, 'b')
INSERT INTO items (customer_id, k) VALUES (1, 'a') ON DUPLICATE KEY UPDATE v = v + 1
INSERT INTO items (customer_id, k) VALUES (1, 'c') ON DUPLICATE KEY UPDATE v = v + 1
INSERT INTO items (customer_id, k) VALUES (1, 'a') ON DUPLICATE KEY UPDATE v = v
INSERT INTO items (customer_id, k) VALUES (1, 'a') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = 7
INSERT INTO items (customer_id, k) VALUES (1, 'd') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = 7
INSERT INTO items (customer_id, k) VALUES (1, 'a') ON DUPLICATE KEY UPDATE v = LAST_INSERT_ID(12345)
REPLACE INTO items (customer_id, k, v) VALUES (1, 'a', 9)
REPLACE INTO items (customer_id, k) VALUES (2, 'e')
REPLACE INTO items SET customer_id = 2, k = 'e', v = 3
INSERT IGNORE INTO items (customer_id, k) VALUES (1, 'a'), (1, 'f')
INSERT IGNORE INTO items (customer_id, k) VALUES (1, 'a'), (1, 'f')
INSERT INTO items (customer_id, k) VALUES (1, 'a'), (1, 'g'), (1, 'b'), (1, 'h') ON DUPLICATE KEY UPDATE v = v + 1
INSERT INTO items (customer_id, k) VALUES (1, 'a'), (1, 'b') ON DUPLICATE KEY UPDATE v = v + 1
INSERT INTO items (customer_id, k) VALUES (1, 'a'), (1, 'i') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = 1
INSERT IGNORE INTO items (customer_id, k) VALUES (1, 'a'), (1, 'i'), (1, 'j') RETURNING k
INSERT INTO items (customer_id, k) VALUES (1, 'a') ON DUPLICATE KEY UPDATE v = v + 1 RETURNING k
INSERT INTO items (id, customer_id, k) VALUES (900, 3, 'l'), (NULL, 3, 'm'), (850, 3, 'n')
INSERT INTO items (id, customer_id, k) VALUES (901, 3, 'l') ON DUPLICATE KEY UPDATE v = 3
INSERT IGNORE INTO items (customer_id, k, v) VALUES (4, 'o', 'x'), (4, 'o', 2)
"""
# Rows of both shards: customers 1 and 3 are on one, 8 and 9 on the other.
SPLIT = """\
INSERT INTO items (id, customer_id, k) VALUES (800, 1, 'first'), (801, 8, 'second')
INSERT INTO items (id, customer_id, k) VALUES (812, 8, 'third'), (811, 1, 'last')
INSERT INTO orders (customer_id, k) VALUES (1, 'a'), (8, 'b'), (3, 'c'), (9, 'd')
INSERT INTO orders VALUES (NULL, 1, 'e', 1), /* (none) */ (0, 8, 'f', 2), (DEFAULT, 3, 'g', 3)
INSERT INTO orders (id, customer_id, k) VALUES (NULL, 1, 'h'), (700, 8, 'i'), (NULL, 9, 'j')
INSERT INTO members (k) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f'), ('g'), ('h')
INSERT INTO members VALUES (), (), ()
INSERT INTO members VALUES (NULL, 'i', 1), (500, 'j', 2), (NULL, 'k', 3), (0, 'l', 4)
REPLACE INTO members (k) VALUES ('m'), ('n'), ('o')
INSERT IGNORE INTO members (k) VALUES ('p'), ('q'), ('r')
INSERT INTO items (customer_id, k) VALUES (1, 'a'), (8, 'a')
INSERT IGNORE INTO items (customer_id, k) VALUES (1, 'a'), (8, 'a'), (1, 'b'), (8, 'b')
INSERT IGNORE INTO items (customer_id, k) VALUES (1, 'a'), (8, 'a')
INSERT INTO items (customer_id, k) VALUES (8, 'a'), (8, 'c'), (1, 'a'), (1, 'c') ON DUPLICATE KEY UPDATE v = v + 1
REPLACE INTO items (customer_id, k) VALUES (1, 'a'), (8, 'a'), (3, 'a')
INSERT INTO items (customer_id, k) VALUES (1, 'd'), (8, 'd'), (1, 'a')
INSERT INTO orders (customer_id, k) VALUES (1, 'r1'), (8, 'r2'), (9, 'r3'), (3, 'r4') RETURNING k, customer_id
INSERT INTO items (customer_id, k) VALUES (8, 'a'), (1, 'r'), (8, 'r') ON DUPLICATE KEY UPDATE v = v + 1 RETURNING k, v
REPLACE INTO items (customer_id, k) VALUES (8, 'a'), (1, 'r') RETURNING customer_id, v, k
"""


def test_one_shard(pair: Pair) -> None:
    for sql in ONE_ROW.splitlines():
        pair.same(sql)


def test_rows_of_several_shards(pair: Pair) -> None:
    many = ", ".join(f"('{n}')" for n in range(60))
    for sql in (*SPLIT.splitlines(), f"INSERT INTO members (k) VALUES {many}"):
        pair.same(sql)
    for table in TABLES:
        assert all(shard.execute(f"SELECT id FROM shop.{table}") for shard in pair.world.shards), "on both shards"


def test_inside_of_transactions(pair: Pair) -> None:
    for end in ("COMMIT", "ROLLBACK"):
        pair.both("BEGIN")
        for sql in ONE_ROW.splitlines() + SPLIT.splitlines():
            ours, theirs = pair.both(sql)
            assert ours.errno == theirs.errno, f"{sql}: {ours} not {theirs}"
            assert (ours.affected_rows, ours.status & 3) == (theirs.affected_rows, theirs.status & 3), sql
        pair.both(end)
        pair.check_tables()
        pair.both("DELETE FROM orders")
        pair.both("DELETE FROM members")
        pair.both("DELETE FROM items")


def test_no_auto_value_on_zero(pair: Pair) -> None:
    pair.both("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
    pair.same("INSERT INTO members (id, k) VALUES (0, 'zero')")
    assert 0 in pair.world.column("members")
    pair.same("INSERT INTO members (id, k) VALUES (NULL, 'one')")
    pair.same("INSERT INTO members (id, k) VALUES (?, ?)", None, "two")
    assert pair.ours.query("INSERT INTO members (id, k) VALUES (0, 'again')").errno == 1062


@pytest.mark.parametrize("charset", ["latin1", "gbk"])
def test_other_charsets(pair: Pair, charset: str) -> None:
    pair.both(f"SET NAMES {charset}")
    name = "naïve ÿ" if charset == "latin1" else "表示 功"
    sql = f"INSERT INTO orders VALUES (NULL, 1, '{name}', 1), ( NULL , 1, '{name}', 2)".encode(charset)
    ours, theirs = pair.ours.query(sql), pair.theirs.query(sql)
    assert (ours.errno, ours.affected_rows) == (theirs.errno, theirs.affected_rows) == (0, 2)
    pair.check_tables()


def test_connection_id_is_the_clients(pair: Pair) -> None:
    client = pair.ours
    number = client.query("SELECT CONNECTION_ID()").number
    sql = "INSERT INTO orders (k, customer_id, v) VALUES (CONNECTION_ID(), 1, 7)"
    client.query(sql).checked()
    statement = client.prepare("INSERT INTO orders (k, customer_id, v) VALUES (CONNECTION_ID( ), ?, 7)")
    assert isinstance(statement, Statement)
    client.execute(statement, 1).checked()
    client.execute(statement, 8).checked()
    rows = client.query("SELECT k, v FROM orders").rows
    assert rows == ((b"%d" % number, b"7"),) * 3


PREPARED: tuple[tuple[str, tuple[Param, ...]], ...] = (
    ("INSERT INTO orders (customer_id, k) VALUES (?, ?)", (1, "a")),
    ("INSERT INTO orders (customer_id, k) VALUES (?, ?)", (2, "b")),
    ("INSERT INTO orders (customer_id, k) VALUES (?, ?)", (1, None)),
    ("INSERT INTO orders (id, customer_id, k, v) VALUES (?, ?, ?, ?)", (None, 2, "c", 5)),
    ("INSERT INTO orders (id, customer_id, k, v) VALUES (?, ?, ?, ?)", (0, 2, "d", 5)),
    ("INSERT INTO orders (id, customer_id, k, v) VALUES (?, ?, ?, ?)", ("0", 2, "e", 5)),
    ("INSERT INTO orders (id, customer_id, k, v) VALUES (?, ?, ?, ?)", (3000, 2, "f", 5)),
    ("INSERT INTO orders (id, customer_id, k, v) VALUES (?, ?, ?, ?)", ("3001", 2, "g", 5)),
    ("INSERT INTO orders (id, customer_id, k, v) VALUES (?, ?, ?, ?)", (None, 1, "h", 5.0)),
    ("INSERT INTO orders VALUES (NULL, ?, ?, ? + 1)", (1, "i", 5)),
    ("INSERT INTO orders VALUES (0, ?, ?, ? + 1)", (1, "j", 5)),
    ("INSERT INTO orders SET k = ?, customer_id = ?", ("k", 2)),
    ("INSERT INTO orders SET k = ?, id = DEFAULT, customer_id = ?", ("l", 2)),
    ("INSERT INTO orders (v, customer_id, k) VALUES (? + ?, ?, ?), (?, ?, ?)", (1, 2, 1, "m", 3, 1, "n")),
    ("INSERT orders (id, customer_id, k) VALUES (?, ?, ?), (?, ?, ?), (NULL, ?, 'x')", (None, 1, "o", 6000, 1, "p", 1)),
    ("INSERT INTO members (k) VALUES (?)", ("a",)),
    ("INSERT INTO members (id, k) VALUES (?, ?)", (None, "b")),
    ("INSERT INTO members VALUES ()", ()),
    ("INSERT INTO items (customer_id, k) VALUES (?, ?) ON DUPLICATE KEY UPDATE v = v + ?", (1, "a", 1)),
    ("INSERT INTO items (customer_id, k) VALUES (?, ?) ON DUPLICATE KEY UPDATE v = v + ?", (1, "a", 1)),
    ("INSERT items (customer_id, k) VALUES (?, 'b') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = ?", (1, 1)),
    ("INSERT items (customer_id, k) VALUES (?, 'b') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = ?", (1, 2)),
    ("INSERT IGNORE INTO items (customer_id, k) VALUES (?, ?)", (1, "b")),
    ("REPLACE INTO items (customer_id, k) VALUES (?, ?)", (1, "b")),
    ("INSERT INTO items (customer_id, k) VALUES (?, ?) RETURNING k", (2, "z")),
)  # fmt: skip


def test_prepared_statements(pair: Pair) -> None:
    for sql, params in (*PREPARED, *PREPARED[:8]):
        pair.same(sql, *params, prepare=True)


PREPARED_SPLIT: tuple[tuple[str, tuple[Param, ...]], ...] = (
    ("INSERT INTO orders (customer_id, k) VALUES (?, ?), (?, ?)", (1, "a", 8, "b")),
    ("INSERT INTO orders (customer_id, k) VALUES (?, ?), (?, ?)", (8, "c", 1, None)),
    ("INSERT INTO orders (customer_id, k) VALUES (?, ?), (?, ?)", (8, "d", 8, "e")),
    (
        "INSERT INTO orders (v, customer_id, k, id) VALUES (? + ?, ?, CONCAT(?, ?), ?), (1, 8, 'x', 0), (?, ?, ?, ?)",
        (1, 2, 1, "f", "é", None, 5, 9, "g", 0),
    ),
    ("INSERT orders (id, customer_id, k) VALUES (DEFAULT, ?, ?), (?, ?, ?), (NULL, ?, 'x')", (1, "h", 7001, 8, "i", 9)),
    ("INSERT orders (id, customer_id, k) VALUES (DEFAULT, ?, ?), (?, ?, ?), (NULL, ?, 'x')", (8, "j", None, 1, "k", 1)),
    ("INSERT INTO orders VALUES (NULL, 1, 'l', 1), (0, 8, 'm', 1)", ()),
    ("INSERT INTO orders (customer_id) VALUES (?), (?), (?), (?), (?), (?)", (1, 2, 3, 8, 9, 10)),
    ("INSERT INTO items (customer_id, k) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE v = v + ?", (1, "a", 8, "b", 1)),
    ("INSERT INTO items (customer_id, k) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE v = v + ?", (1, "a", 8, "b", 3)),
    ("INSERT INTO items (customer_id, k) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE v = v + ?", (8, "b", 1, "c", 5)),
    ("INSERT IGNORE INTO items (customer_id, k) VALUES (?, ?), (?, ?)", (1, "b", 8, "b")),
    ("REPLACE INTO items (customer_id, k) VALUES (?, ?), (?, ?)", (1, "b", 8, "z")),
    ("INSERT INTO items (customer_id, k) VALUES (?, ?), (?, ?)", (1, "new", 8, "z")),  # the second is there
    ("INSERT INTO items (customer_id, k) VALUES (?, ?), (?, ?) RETURNING k, v + ?", (8, "y", 2, "x", 1)),
)  # fmt: skip


def test_prepared_statements_of_rows_on_several_shards(pair: Pair) -> None:
    for sql, params in (*PREPARED_SPLIT, *PREPARED_SPLIT[:8]):
        pair.same(sql, *params, prepare=True)


def test_ids_of_a_statement_follow_one_another(world: World, connect: Connect) -> None:
    client = connect(world.start())
    for count in (3, 100, 1, 5000):
        answer = client.query("INSERT INTO members (k) VALUES " + ", ".join(f"('{n}')" for n in range(count)))
        assert answer.checked().affected_rows == count
        first = answer.insert_id
        rows = client.query(f"SELECT id, k FROM members WHERE id >= {first} ORDER BY id").checked().rows
        assert [(int(number or 0) - first, int(k or 0)) for number, k in rows] == [(n, n) for n in range(count)]


def test_what_cannot_be_counted_is_refused(world: World, connect: Connect) -> None:
    client = connect(world.start())
    for sql in (
        "INSERT INTO orders (id, customer_id) VALUES (1 + 1, 1)",
        "INSERT INTO orders (id, customer_id) VALUES ('1x', 1)",
        "INSERT INTO orders (id, customer_id) VALUES (1.5, 1)",
        "ANALYZE INSERT INTO orders (customer_id) VALUES (1)",
        "SET STATEMENT max_statement_time = 9 FOR INSERT INTO orders (customer_id) VALUES (1)",
    ):
        answer = client.query(sql)
        assert (answer.errno, "AUTO_INCREMENT" in answer.message) == (1235, True), f"{sql}: {answer}"
    # New ids keep a row from meeting others by the primary key; ids of its own do not.
    assert client.query("INSERT IGNORE INTO orders (customer_id) VALUES (1)").ok
    assert client.query("INSERT IGNORE INTO orders (id, customer_id) VALUES (NULL, 1)").ok
    answer = client.query("INSERT IGNORE INTO orders (id, customer_id) VALUES (99, 1)")
    assert "unique keys" in answer.message, answer
    assert len(world.column("orders")) == 2
