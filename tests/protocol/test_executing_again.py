"""Prepared statements that are used more than once: other values, other types, errors and changed tables in between."""

from __future__ import annotations

import struct
import time

import pytest

from tests.front import raw
from tests.front.raw import Bound, Statement, framed
from tests.protocol.both import Both
from tests.protocol.conftest import Connect
from tests.servers import MariaDB, Turnout
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers
DATE, DATETIME, TIME = 10, 12, 11
DAY = Bound(DATE, struct.pack("<BHBB", 4, 2024, 2, 29))
NO_DAY, NO_MOMENT = Bound(DATE, b"\0"), Bound(DATETIME, b"\0")


def test_null_and_not_null_bound_both_ways(both: Both) -> None:
    made = both.prepare("SELECT ?, ? IS NULL, ?, id FROM items WHERE id <=> ? OR name <=> ?")
    bound = [
        (None, None, None, 1, None),
        ("a", 5, 2.5, 2, "name 3"),
        (None, 5, None, 3, None),
        ("b", None, "c", None, "name 1"),
    ]
    for first in bound:
        for second in bound:
            made.execute(*first)
            made.execute(*second)
    made = both.prepare("SELECT ?, ? FROM items WHERE id = 1")
    # Types that were bound once hold for all executions that follow, whether a value is NULL or not.
    for first in ((7, "x"), (None, None)):
        made.execute(*first)
        if first[0] is not None:
            for nulls, values in (
                (b"\1", b"\1y"),
                (b"\0", struct.pack("<q", 8) + b"\1z"),
                (b"\3", b""),
                (b"\2", struct.pack("<q", -9)),
                (b"\0", struct.pack("<q", 10) + b"\0"),
            ):
                made.execute_again(nulls, values)
    made.execute_again(b"\3", b"")


def test_null_dates(both: Both) -> None:
    made = both.prepare("SELECT id, day, at FROM items WHERE id IN (?, ?) ORDER BY id")
    assert len(made.execute(3, 4).rows) == 2  # one without a day, one with
    made = both.prepare("SELECT id FROM items WHERE day <=> ? AND at <=> ? ORDER BY id")
    for day in (None, DAY, NO_DAY, None):
        for moment in (None, NO_MOMENT, Bound(DATETIME, struct.pack("<BHBBBBBI", 11, 2024, 2, 29, 10, 0, 0, 500000))):
            made.execute(day, moment)
    both.run(
        "CREATE TEMPORARY TABLE dated (n INT, day DATE, at DATETIME, span TIME, ts TIMESTAMP NULL)", "SET sql_mode = ''"
    )
    insert = both.prepare("INSERT INTO dated VALUES (?, ?, ?, ?, ?)")
    for n, values in enumerate(
        ((None,) * 4, (NO_DAY, NO_MOMENT, Bound(TIME, b"\0"), NO_MOMENT), (DAY, DAY, None, DAY))
    ):
        assert insert.execute(n, *values).affected_rows == 1
    both.query("SELECT * FROM dated ORDER BY n")
    both.prepare("SELECT * FROM dated ORDER BY n").execute()
    both.run("DROP TEMPORARY TABLE dated")


def test_null_dates_over_several_shards(both: Both) -> None:
    for sql in (
        "SELECT id, day, at FROM {} WHERE day <=> ? ORDER BY id",
        "SELECT day, COUNT(*), MIN(at) FROM {} WHERE id > ? GROUP BY day ORDER BY day",
    ):
        ours, theirs = both.ours.prepare(sql.format("spread")), both.theirs.prepare(sql.format("items"))
        assert isinstance(ours, Statement)
        assert isinstance(theirs, Statement)
        for value in (None, DAY, None, NO_DAY):
            assert both.ours.execute(ours, value).checked().rows == both.theirs.execute(theirs, value).rows


def test_text_and_binary_mixed(both: Both) -> None:
    """A statement is prepared, asked as text, executed, written between; rows come in the protocol of their command."""
    sql = "SELECT id, name, day, at, data FROM items WHERE id < 9 ORDER BY id"
    made = both.prepare(sql)
    update = both.ours.prepare("UPDATE items SET name = ? WHERE id = 7")  # both see it: they are on one server
    assert isinstance(update, Statement)
    for name in ("first", "second", "name 7"):
        text, binary = both.query(sql).rows, made.execute().rows
        assert [len(row) for row in text] == [5] * 8
        assert [len(row) for row in binary] == [1] * 8
        assert both.ours.execute(update, name).checked().affected_rows == 1
        assert both.query("SELECT name FROM items WHERE id = 7").value == name.encode()
        assert name.encode() in (made.execute().rows[6][0] or b"")
        both.query("SELECT COUNT(*) FROM items")


def test_text_and_binary_mixed_over_several_shards(connect: Connect) -> None:
    client = connect()
    sql = "SELECT id, name FROM spread WHERE id < 9 ORDER BY id"
    made = client.prepare(sql)
    assert isinstance(made, Statement)
    for _ in range(3):
        assert [row[0] for row in client.query(sql).checked().rows] == [b"%d" % n for n in range(1, 9)]
        rows = [row[0] or b"" for row in client.execute(made).checked().rows]
        assert [int.from_bytes(row[2:6], "little") for row in rows] == list(range(1, 9))


@pytest.mark.parametrize("table", ["items", "spread"])
def test_an_error_in_the_middle_of_rows(connect: Connect, table: str) -> None:
    """Rows have been sent when it comes. The statement, and the connection, can be used again."""
    client = connect()
    sql = f"SELECT id, REPEAT('x', 2000), 9223372036854775807 + (id = ?) FROM {table} WHERE id < 40"
    made = client.prepare(sql)
    assert isinstance(made, Statement)
    for _ in range(3):
        answer = client.execute(made, 30)
        assert (answer.errno, answer.sqlstate) == (1690, "22003"), answer
        assert client.query("SHOW WARNINGS").rows[0][1] == b"1690"
        assert len(client.execute(made, 99).checked().rows) == 39
        assert client.query(f"SELECT COUNT(*) FROM {table}").number == 60
        assert client.query(sql.replace("?", "30")).errno == 1690
    assert client.query("SELECT 1").number == 1


def test_a_table_changes_between_prepare_and_execute(both: Both) -> None:
    both.ours.run(
        "DROP TABLE IF EXISTS altered",
        "CREATE TABLE altered (id INT PRIMARY KEY, a INT)",
        "INSERT INTO altered VALUES (1, 10)",
    )
    statements = [
        both.prepare("SELECT * FROM altered WHERE id = ?"),
        both.prepare("SELECT a FROM altered WHERE id = ?"),
        both.prepare("SELECT COUNT(*), MAX(id) FROM altered WHERE id <> ?"),
        both.prepare("UPDATE altered SET a = a + 0 WHERE id = ?"),
    ]
    changes = (
        "ALTER TABLE altered ADD COLUMN b VARCHAR(10) DEFAULT 'new' FIRST",
        "ALTER TABLE altered MODIFY a BIGINT UNSIGNED",
        "ALTER TABLE altered DROP COLUMN b, ADD COLUMN c DATE",
        "ALTER TABLE altered RENAME COLUMN a TO z",
        "ALTER TABLE altered RENAME COLUMN z TO a",
        "DROP TABLE altered",
        "CREATE TABLE altered (a INT, id INT)",
        "CREATE OR REPLACE VIEW altered AS SELECT 1 AS id, 2 AS a",
    )
    for change in changes:
        both.ours.query(change)
        for made in statements[: 3 if "VIEW" in change else 4]:
            made.execute(1)
        both.query("SELECT * FROM altered")
    both.ours.run("DROP TABLE altered")


def test_a_statement_prepared_twice_and_closed_once(connect: Connect, server: MariaDB) -> None:
    """The other one lives on, and servers do not keep one for each."""
    client, other = connect(), connect()
    for sql in ("SELECT name FROM items WHERE id = ?", "SELECT name FROM spread WHERE id <> ? ORDER BY id LIMIT 1"):
        first, second, third = client.prepare(sql), client.prepare(sql), other.prepare(sql)
        assert isinstance(first, Statement)
        assert isinstance(second, Statement)
        assert isinstance(third, Statement)
        assert first.id != second.id
        client.execute(first, 1).checked()
        client.close_statement(first)
        assert client.execute(second, 1).checked().rows
        assert client.execute(first, 1).errno == 1243
        client.close_statement(first)  # once more: nothing
        assert client.execute(second, 2).checked().rows
        assert other.execute(third, 2).checked().rows
        client.close_statement(second)
        assert other.execute(third, 3).checked().rows
        assert client.execute(second, 1).errno == 1243

    def kept() -> int:
        return int(server.execute("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")[0][1])

    before = kept()
    for _ in range(200):
        made = client.prepare("SELECT id FROM items WHERE id = ?")
        assert isinstance(made, Statement)
        assert client.execute(made, 1).checked().rows
    assert kept() - before <= 12  # one a connection


def _resident(proxy: Turnout) -> int:
    from tests.front.test_processes import resident, workers

    return max(resident(pid) for pid in workers(proxy))


@pytest.mark.parametrize("table", ["items", "spread"])
def test_a_slow_reader_of_a_huge_prepared_result(connect: Connect, proxy: Turnout, table: str) -> None:
    """The rows wait on their servers, not in Turnout; others are served meanwhile."""
    client, other = connect(), connect()
    made = client.prepare(f"SELECT REPEAT('x', 1000000), ? FROM {table} WHERE id <= 50")
    assert isinstance(made, Statement)
    before = peak = _resident(proxy)
    bound = struct.pack("<IBI", made.id, 0, 1) + b"\0\1" + bytes((raw.LONGLONG, 0)) + struct.pack("<q", 5)
    client.socket.sendall(framed(bytes((raw.COM_STMT_EXECUTE,)) + bound))
    received, tail = 0, b""
    while not (received > 50_000_000 and tail[:1] == b"\xfe"):
        data = client.socket.recv(1 << 20)
        assert data
        received += len(data)
        tail = (tail + data)[-5:]
        if received < 20_000_000:
            time.sleep(0.002)
            if received % (4 << 20) < len(data):
                assert other.query("SELECT 1").number == 1
        peak = max(peak, _resident(proxy))
    assert peak - before < 32 << 20, f"{(peak - before) >> 20} MB more"
    assert len(client.execute(made, 6).checked().rows) == 50


def test_execution_while_another_session_changes_the_table(connect: Connect) -> None:
    """DDL waits for those who read, and they for it; nobody gets columns of before."""
    client, changer = connect(), connect()
    client.run("CREATE TABLE changing (id INT PRIMARY KEY, a INT)", "INSERT INTO changing VALUES (1, 1)")
    made = client.prepare("SELECT * FROM changing WHERE id = ?")
    assert isinstance(made, Statement)
    for n in range(6):
        changer.send(f"ALTER TABLE changing {'ADD COLUMN b INT' if n % 2 == 0 else 'DROP COLUMN b'}")
        for _ in range(5):
            answer = client.execute(made, 1).checked()
            (row,) = answer.rows[0]
            assert row is not None
            assert len(row) == 1 + (len(answer.columns) + 9) // 8 + 8 if len(answer.columns) == 2 else row
            assert len(answer.columns) in (2, 3)
        changer.receive().checked()
        wait_until(lambda n=n: len(client.execute(made, 1).columns) == 3 - n % 2, 5)  # type: ignore[misc]
    client.run("DROP TABLE changing")
