"""Cursors and COM_STMT_FETCH: what a server itself does with them, and which connections they keep."""

from __future__ import annotations

import contextlib
import struct
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.clients.programs import Unavailable, find_php, need
from tests.front import raw
from tests.front.raw import Answer, Client, Statement
from tests.protocol.both import DATABASE, Both, BothPrepared
from tests.protocol.conftest import Connect
from tests.servers import MariaDB, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD

pytestmark = pytest.mark.servers
CURSOR = 1
SQL = "SELECT id, name, day, at, data FROM items WHERE id > ? ORDER BY id"
DEADLINE_S = 10.0
PROGRAMS = Path(__file__).parent / "programs"


def _opened(made: BothPrepared, *params: raw.Param) -> Answer:
    answer = made.execute(*params, cursor=CURSOR).checked()
    assert answer.status & raw.CURSOR_EXISTS, answer
    assert not answer.rows
    return answer


def _made(client: Client, sql: str) -> Statement:
    made = client.prepare(sql)
    assert isinstance(made, Statement), made
    return made


def _open(client: Client, made: Statement, *params: raw.Param) -> None:
    assert client.execute(made, *params, cursor=CURSOR).checked().status & raw.CURSOR_EXISTS


def _head(made: Statement) -> bytes:
    """Of an EXECUTE with a cursor, without the parameters."""
    return struct.pack("<IBI", made.id, CURSOR, 1)


def _fetched(client: Client, made: Statement, rows: int, columns: int = 1) -> list[int]:
    """First columns, of INT, of what a FETCH brings."""
    start = 1 + (columns + 9) // 8
    answer = client.fetch(made, rows).checked()
    return [int.from_bytes((row or b"")[start : start + 4], "little") for (row,) in answer.rows]


def test_rows_come_in_the_portions_that_are_asked_for(both: Both) -> None:
    made = both.prepare(SQL)
    for portions in ((1, 7, 20, 1000), (60,), (59, 1, 1), (30, 30, 30), (0, 5, 1000), (0xFFFFFFFF,)):
        _opened(made, 0)
        for rows in portions:
            made.fetch(rows)
    _opened(made, 60)  # no rows
    assert made.fetch(5).status & raw.LAST_ROW_SENT
    assert made.fetch(5).errno == 1421
    assert made.execute(58).rows  # and all at once again


def test_what_ends_a_cursor(both: Both) -> None:
    def executed_again(made: BothPrepared) -> None:
        made.execute(50)

    def opened_again(made: BothPrepared) -> None:
        _opened(made, 57)
        assert len(made.fetch(2).rows) == 2

    def was_reset(made: BothPrepared) -> None:
        made.each("reset", lambda client, one: client.command(raw.COM_STMT_RESET, one.id.to_bytes(4, "little")))

    def was_closed(made: BothPrepared) -> None:
        made.close()

    def failed_to_execute(made: BothPrepared) -> None:
        made.each("cut short", lambda client, one: client.command(raw.COM_STMT_EXECUTE, _head(one)))

    ends: tuple[Callable[[BothPrepared], None], ...] = (
        executed_again,
        opened_again,
        was_reset,
        failed_to_execute,
        was_closed,
    )
    for end in ends:
        made = both.prepare(SQL)
        _opened(made, 5)
        assert len(made.fetch(3).rows) == 3
        end(made)
        made.fetch(3)
        made.fetch(3)


@pytest.mark.parametrize(
    "between",
    [
        ("SELECT COUNT(*) FROM items", "SHOW WARNINGS"),
        ("BEGIN", "SELECT name FROM items WHERE id = 3 LOCK IN SHARE MODE", "COMMIT"),
        ("BEGIN", "SELECT 1 FROM items", "ROLLBACK"),
        ("SET autocommit = 0", "SELECT 1 FROM items", "COMMIT", "SET autocommit = 1"),
        ("SET NAMES latin1",),
        ("SET NAMES utf8mb4", "USE information_schema"),
        ("SELECT nosuch", "SELECT 1 FROM nosuch"),
        ("SET @a = CONCAT('p', 'inned')", "SELECT @a"),
        ("CREATE TEMPORARY TABLE t (id INT)", "INSERT INTO t VALUES (1)", "DROP TEMPORARY TABLE t"),
        ("CREATE OR REPLACE TABLE between_fetches (id INT)",),
    ],
)
def test_what_does_not_end_a_cursor(both: Both, between: tuple[str, ...]) -> None:
    both.run("SET NAMES utf8mb4")
    made = both.prepare("SELECT id, CONCAT(name, ' é'), CAST(id AS CHAR) FROM items WHERE id > ? ORDER BY id")
    _opened(made, 5)
    made.fetch(3)
    for sql in between:
        both.query(sql)
        made.fetch(2)
    assert made.fetch(100).status & raw.LAST_ROW_SENT
    both.query("SELECT 'next', @@character_set_results")


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_in_a_transaction(both: Both, end: str) -> None:
    """A cursor shows what was there when it was opened, and outlives its transaction."""
    both.run("CREATE TEMPORARY TABLE mine (id INT PRIMARY KEY, a INT)", "INSERT INTO mine SELECT id, 0 FROM items")
    made = both.prepare("SELECT id, a FROM mine WHERE id > ? ORDER BY id")
    both.run("BEGIN", "UPDATE mine SET a = 1")
    _opened(made, 20)
    assert made.fetch(3).status & raw.IN_TRANS
    both.run("UPDATE mine SET a = 2", "DELETE FROM mine WHERE id > 40")
    made.fetch(3)
    both.run(end)
    assert not made.fetch(3).status & raw.IN_TRANS
    assert len(made.fetch(100).rows) == 31
    both.run("DROP TEMPORARY TABLE mine")


def test_a_transaction_of_a_free_connection(connect: Connect, server: MariaDB) -> None:
    """The same where the connection goes back when the transaction is over: not before the cursor has ended."""
    client = connect()
    made = _made(client, "SELECT id FROM items WHERE id > ? ORDER BY id")
    for end in ("COMMIT", "ROLLBACK"):
        client.run("BEGIN", "SELECT id FROM items WHERE id = 1 FOR UPDATE")
        _open(client, made, 0)
        assert _fetched(client, made, 2) == [1, 2]
        client.run(end)
        assert not client.query("SELECT 1 FROM items LIMIT 1").status & raw.IN_TRANS
        assert _fetched(client, made, 2) == [3, 4]
        client.run("BEGIN", "UPDATE items SET name = name WHERE id = 2")
        assert _fetched(client, made, 2) == [5, 6]
        client.run(end)
        assert _fetched(client, made, 100) == list(range(7, 61))


def test_two_of_one_text_and_two_of_others(both: Both) -> None:
    """Each has a place of its own, also where both were prepared from the same text."""
    one, same = both.prepare(SQL), both.prepare(SQL)
    other = both.prepare("SELECT id, REPEAT('x', id) FROM items WHERE id < ? ORDER BY id DESC")
    for _ in range(2):
        _opened(one, 10)
        _opened(same, 20)
        _opened(other, 30)
        for rows in (1, 5, 4):
            for made in (one, same, other):
                assert len(made.fetch(rows).rows) == rows
        one.execute(55)
        assert len(same.fetch(100).rows) == 30
        assert len(other.fetch(100).rows) == 19
        assert one.fetch(1).errno == 1421


def test_warnings_and_counts(both: Both) -> None:
    made = both.prepare("SELECT id, CAST(CONCAT('x', id) AS SIGNED) FROM items WHERE id > ?")
    _opened(made, 50)
    both.query("SHOW WARNINGS")
    made.fetch(3)
    both.query("SHOW COUNT(*) WARNINGS")
    made.fetch(100)
    both.query("SHOW WARNINGS")
    counted = both.prepare("SELECT SQL_CALC_FOUND_ROWS id FROM items WHERE id > ? LIMIT 3")
    _opened(counted, 50)
    both.query("SELECT FOUND_ROWS()")
    counted.fetch(1)
    both.query("SELECT FOUND_ROWS()")
    both.query("SELECT ROW_COUNT()")


def test_statements_that_have_no_cursor(both: Both) -> None:
    for sql, params in (
        ("UPDATE items SET name = name WHERE id = ?", (4,)),
        ("SELECT id INTO @into FROM items WHERE id = ?", (4,)),
        ("SELECT ?", (4,)),
        ("SHOW DATABASES LIKE 'prot%'", ()),
        ("EXPLAIN SELECT id FROM items WHERE id = ?", (4,)),
        ("SELECT id FROM items WHERE id = ? FOR UPDATE", (4,)),
        ("SELECT id FROM items UNION SELECT ?", (4,)),
        ("SELECT 9223372036854775807 + id FROM items WHERE id > ?", (4,)),
        ("DO SLEEP(?)", (0,)),
    ):
        made = both.prepare(sql)
        made.execute(*params, cursor=CURSOR)
        made.fetch(5)
        made.fetch(100)
    for wrong in (2, 4, 6, 0x81, 0xFF):  # flags that servers do not know
        made = both.prepare("SELECT id FROM items WHERE id < ?")
        made.execute(9, cursor=wrong)
        made.fetch(5)


def test_procedures(both: Both) -> None:
    both.ours.run(
        "CREATE OR REPLACE PROCEDURE listed(n INT) BEGIN SELECT id FROM items WHERE id < n; SELECT n; END",
    )
    made = both.prepare("CALL listed(?)")
    made.execute(5, cursor=CURSOR)
    made.fetch(5)
    both.query("SELECT 'next'")
    both.ours.run("DROP PROCEDURE listed")


def test_wrong_fetches(both: Both) -> None:
    made = both.prepare(SQL)
    assert made.fetch(1).errno == 1421
    assert both.same("an unknown statement", lambda client: client._drive(raw.fetch(9999, 5))).errno == 1243
    _opened(made, 5)
    for rest in (b"\3", b"\3\0\0", b""):  # a server goes on with whatever is behind it in its memory
        answer = both.ours.command(raw.COM_STMT_FETCH, made.ours.id.to_bytes(4, "little") + rest)
        assert answer.message.startswith("Malformed packet")
    assert len(made.fetch(3).rows) == 3


def test_everything_is_gone_after_a_reset(both: Both) -> None:
    made = both.prepare(SQL)
    _opened(made, 5)
    both.command(raw.COM_RESET_CONNECTION)
    assert made.fetch(1).errno == 1243
    made = both.prepare(SQL)
    _opened(made, 5)
    for client in (both.ours, both.theirs):
        client.change_user(client.user, client.password, "protocol")
    assert made.fetch(1).errno == 1243
    both.query("SELECT COUNT(*) FROM items")


@pytest.mark.thorough
def test_rows_of_16_megabytes(both: Both) -> None:
    made = both.prepare("SELECT id, REPEAT('x', IF(id = 2, 16777206 + ?, 10)) FROM items WHERE id < 4 ORDER BY id")
    for more in (0, 1, 2, 20):
        _opened(made, more)
        assert len(made.fetch(2).rows) == 2
        made.fetch(2)


def test_cursors_of_a_procedure(both: Both, server: MariaDB) -> None:
    """What a procedure selects while a cursor of its own is open comes with CURSOR_EXISTS, and with its rows."""
    server.execute(
        "CREATE OR REPLACE PROCEDURE walk() BEGIN DECLARE a INT; DECLARE c CURSOR FOR SELECT id FROM items; "
        "OPEN c; FETCH c INTO a; SELECT a, id FROM items WHERE id < 4 ORDER BY id; CLOSE c; SELECT a + 1; END",
        database=DATABASE,
    )
    call = both.prepare("CALL walk()")
    asked = [partial(both.query, "CALL walk()"), call.execute, partial(call.execute, cursor=CURSOR)]
    for ask in asked * 2:
        answer = ask().checked()
        assert answer.status & raw.CURSOR_EXISTS
        assert [len(each.rows) for each in (answer, *answer.more)] == [3, 1, 0]
        assert len(both.query("SELECT id FROM items WHERE id < 3 ORDER BY id").rows) == 2


def test_shards_and_several_of_them(connect: Connect) -> None:
    """One shard opens a cursor; rows of several come at once, and the answer says so."""
    client = connect()
    one = _made(client, "SELECT id FROM spread WHERE id = ?")
    _open(client, one, 7)
    several = _made(client, "SELECT id FROM spread WHERE id > ? ORDER BY id")
    answer = client.execute(several, 50, cursor=CURSOR).checked()
    assert not answer.status & raw.CURSOR_EXISTS
    assert len(answer.rows) == 10
    assert client.fetch(several, 5).errno == 1421
    assert _fetched(client, one, 5) == [7]


def _connections(server: MariaDB) -> int:
    return int(server.execute("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'")[0][0])


def _pinned(client: Client) -> list[bytes]:
    answer = client.query("SHOW TURNOUT SESSIONS").checked()
    at = [column.name for column in answer.columns].index(b"pinned")
    return [row[at] or b"" for row in answer.rows if row[at]]


def test_open_cursors_share_a_connection(connect: Connect, server: MariaDB) -> None:
    """A session that has many open needs one, for everything else too; and gives it back when they have ended."""
    client, admin = connect(), connect(admin=True)
    client.run("SELECT COUNT(*) FROM items")
    statements = [_made(client, f"SELECT id FROM items WHERE id > ? AND {n} ORDER BY id") for n in range(1, 31)]
    for n, made in enumerate(statements):
        _open(client, made, n)
    assert _pinned(admin) == [b"cursor"]
    used = {client.query("SELECT CONNECTION_ID() + 0, @@pseudo_thread_id FROM items LIMIT 1").rows[0][1]}
    for n, made in enumerate(statements):
        assert _fetched(client, made, 1) == [n + 1]
        used.add(client.query("SELECT @@pseudo_thread_id FROM items LIMIT 1").value)
    assert len(used) == 1
    for made in statements[:20]:
        client.close_statement(made)
    assert all(_fetched(client, made, 100)[-1] == 60 for made in statements[20:])
    assert client.query("SELECT 1").number == 1
    assert _pinned(admin) == []


def test_nobody_else_gets_the_connection(connect: Connect) -> None:
    """Others of the same account and settings have other connections, before and after its transaction."""
    thread = "SELECT @@pseudo_thread_id FROM items LIMIT 1"
    client, others = connect(), [connect() for _ in range(8)]
    made = _made(client, "SELECT id FROM items ORDER BY id")
    for begin, end in (("DO 1", "DO 1"), ("BEGIN", "COMMIT")):
        client.run(begin)
        _open(client, made)
        client.run("SELECT COUNT(*) FROM items", end)
        own = client.query(thread).number
        for other in others:
            assert other.query(thread).number != own
            assert _fetched(client, made, 1)
        assert _fetched(client, made, 100)[-1] == 60


@pytest.mark.parametrize("how", ["quit", "vanish", "in the middle"])
def test_a_client_that_goes_leaves_nothing(connect: Connect, server: MariaDB, how: str) -> None:
    def kept() -> int:
        return int(server.execute("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")[0][1])

    other = connect()
    made = _made(other, SQL)
    other.execute(made, 1).checked()
    before = kept()
    for _ in range(20):
        client = connect()
        made = _made(client, SQL)
        _open(client, made, 1)
        client.fetch(made, 2).checked()
        if how == "quit":
            client.close()
        elif how == "vanish":
            client.abort()
        else:
            client.socket.sendall(raw.framed(bytes((raw.COM_STMT_FETCH,)) + struct.pack("<II", made.id, 1000)))
            client.abort()
    wait_until(lambda: kept() <= before + 12, DEADLINE_S)  # one a connection
    assert other.execute(made, 1).errno in (0, 1243)
    assert other.query("SELECT COUNT(*) FROM items").number == 60


def test_more_sessions_with_cursors_than_connections(connect: Connect) -> None:
    """Who has a connection goes on; who gets none is told so."""
    clients = [connect() for _ in range(12)]
    statements = [_made(client, SQL) for client in clients]
    for client, made in zip(clients, statements):
        _open(client, made, 0)
    for client, made in zip(clients, statements):  # at the limit of connections to the server, by now
        assert client.query("UPDATE items SET name = name WHERE id = 4").ok
        assert len(client.fetch(made, 5).checked().rows) == 5
    for client, made in zip(clients, statements):
        assert client.command(raw.COM_STMT_RESET, made.id.to_bytes(4, "little")).ok
    assert connect().query("SELECT COUNT(*) FROM items").number == 60


def test_a_lost_connection_ends_its_cursors(connect: Connect, server: MariaDB) -> None:
    client = connect()
    made, other = _made(client, SQL), _made(client, "SELECT id FROM items WHERE id > ?")
    _open(client, made, 0)
    _open(client, other, 0)
    number = client.query("SELECT @@pseudo_thread_id FROM items LIMIT 1").number
    server.execute(f"KILL CONNECTION {number}")
    errors = [client.fetch(made, 5), client.fetch(other, 5), client.fetch(other, 5)]
    assert [error.errno for error in errors] == [1158, 1158, 1421], errors
    assert client.execute(made, 50).checked().rows
    assert client.query("SELECT 1").number == 1


@pytest.mark.parametrize("name", ["cursors.c", "cursors.php"])
def test_programs(proxy: Turnout, server: MariaDB, tmp_path: Path, name: str) -> None:
    """Client libraries that read a cursor's rows in portions of their own."""
    source = PROGRAMS / name
    try:
        if source.suffix == ".c":
            need("gcc", "mariadb_config")
            flags = subprocess.run(["mariadb_config", "--cflags", "--libs"], capture_output=True, text=True, check=True)
            argv = [str(tmp_path / "cursors")]
            built = ["gcc", "-Wall", "-Werror", "-o", *argv, str(source), *flags.stdout.split()]
            subprocess.run(built, check=True, timeout=60)
        else:
            argv = [*find_php()[:-1], str(source)]
    except Unavailable as why:
        pytest.skip(str(why))
    ours, theirs = (
        subprocess.run(
            [*argv, str(port), APP, APP_PASSWORD, DATABASE], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for port in (proxy.port, server.port)
    )
    assert ours == theirs
    assert len(theirs.splitlines()) > 60


def test_a_client_is_killed_in_a_fetch(connect: Connect) -> None:
    """The rows are big, so that it takes a while."""
    client, killer = connect(), connect()
    made = _made(client, "SELECT REPEAT('x', 1000000), ? FROM items")
    _open(client, made, 1)
    client.socket.sendall(raw.framed(bytes((raw.COM_STMT_FETCH,)) + struct.pack("<II", made.id, 1000)))
    wait_until(lambda: bool(client.socket.recv(1)), DEADLINE_S)
    assert killer.query(f"KILL CONNECTION {client.id}").ok
    received = 1
    with contextlib.suppress(ConnectionResetError):
        while data := client.socket.recv(1 << 20):
            received += len(data)
    assert received <= 60_001_089
    assert killer.query("SELECT 1").number == 1
