"""What the protocol allows around prepared statements, over one shard and several."""

from __future__ import annotations

import struct

import pytest

from tests.front.raw import COM_STMT_EXECUTE, COM_STMT_PREPARE, COM_STMT_RESET, Client, Statement, framed
from tests.prepared.pair import PreparedPair
from tests.servers import MariaDB, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE
from tests.workbench.shop import CLUSTERS

pytestmark = pytest.mark.servers
SQL = "SELECT id, k FROM things WHERE k <> ? ORDER BY id LIMIT ?"
LAST = b"\xff\xff\xff\xff"
JOIN = "SELECT t.id, p.id FROM things t JOIN photos p ON p.of_id = t.id WHERE t.i = ?"


def test_a_cursor_is_asked_for(pair: PreparedPair) -> None:
    """Rows of several clusters come at once, and the answer says that there is no cursor."""
    for sql, params in ((SQL, (3, 1000)), ("SELECT id FROM things WHERE k > ?", (3,)), (JOIN, (3,))):
        ours, theirs = pair.prepared(sql)
        found = pair.client.execute(ours, *params, cursor=1)
        expected = pair.mirror.execute(theirs, *params)
        assert not found.status & 0x40
        assert sorted(found.checked().rows) == sorted(expected.rows)


def _pipelined(client: Client, sql: str, bound: bytes) -> tuple[bytes, bytes]:
    """The first packets of the answers to PREPARE, and to an EXECUTE sent without waiting for its id."""
    client.socket.sendall(
        framed(bytes((COM_STMT_PREPARE,)) + sql.encode())
        + framed(bytes((COM_STMT_EXECUTE,)) + LAST + b"\0" + struct.pack("<I", 1) + bound)
    )
    packets = []
    data = b""
    client.socket.settimeout(10)
    while True:
        data += client.socket.recv(65536)
        packets = _packets(data)
        eofs = sum(packet[:1] == b"\xfe" and len(packet) < 9 for packet in packets)
        failed = [packet for packet in packets if packet[:1] == b"\xff"]
        if len(failed) == 2 or eofs == 4:  # parameters, columns; columns, rows
            first = 1 if failed else next(n for n, p in enumerate(packets) if n and len(p) == 1)
            return packets[0], packets[first]


def _packets(data: bytes) -> list[bytes]:
    found = []
    while len(data) >= 4:
        size = int.from_bytes(data[:3], "little")
        if len(data) < 4 + size:
            return []
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


@pytest.mark.parametrize("sql", ["SELECT id, k FROM things WHERE k = ?", SQL.replace("LIMIT ?", "LIMIT 9"), JOIN])
def test_executed_before_its_id_is_known(proxy: tuple[Turnout, MariaDB], sql: str) -> None:
    bound = b"\0\1\x08\0" + (3).to_bytes(8, "little")
    for port in (proxy[0].port, proxy[1].port):
        with Client(port, APP, APP_PASSWORD, DATABASE) as client:
            made, columns = _pipelined(client, sql, bound)
            assert (made[0], columns) == (0, b"\2")
            failed, unknown = _pipelined(client, "SELECT nosuch FROM things WHERE k = ?", bound)
            assert int.from_bytes(failed[1:3], "little") == 1054
            assert int.from_bytes(unknown[1:3], "little") == 1243


def test_reset_and_close(pair: PreparedPair) -> None:
    ours, theirs = pair.prepared(SQL)
    for client, statement in ((pair.client, ours), (pair.mirror, theirs)):
        client.long_data(statement, 0, b"77")
        assert client.command(COM_STMT_RESET, statement.id.to_bytes(4, "little")).ok
    pair.same(SQL, 3, 5, ordered=True)
    for client, statement in ((pair.client, ours), (pair.mirror, theirs)):
        client.close_statement(statement)
        assert client.execute(statement, 3, 5).errno == 1243


def test_texts_are_prepared_once_on_a_connection(pair: PreparedPair, shop_servers: Shop) -> None:
    """Values, limits and offsets do not make other texts."""
    shards = [shop_servers.shard(n) for n in range(3)]

    def prepares() -> int:
        return sum(int(s.execute("SHOW GLOBAL STATUS LIKE 'Com_stmt_prepare'")[0][1]) for s in shards)

    pair.same(SQL, 1, 5, ordered=True)
    pair.same("INSERT INTO parts VALUES (?, ?, 1, 1, ?), (?, ?, 1, 1, ?)", 1, 990, "a", 6, 990, "b")
    before = prepares()
    for n in range(20):
        pair.same(SQL, n, n * 3, ordered=True)
        pair.same("INSERT INTO parts VALUES (?, ?, 1, 1, ?), (?, ?, 1, 1, ?)", 1, 991 + n, "a", 6, 991 + n, "b")
    assert prepares() - before == 0
    pair.same("DELETE FROM parts WHERE part >= ?", 990)


def test_long_texts_of_shares_are_not_kept(pair: PreparedPair, shop_servers: Shop) -> None:
    def kept() -> int:
        servers = [shop_servers.shard(n) for n in range(3)]
        return sum(int(s.execute("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")[0][1]) for s in servers)

    row = "(?, ?, 1, 1, '" + "x" * 20 + "')"
    for rows in (7000, 6999):
        params = [value for n in range(rows) for value in (n % 24, 10_000 + n)]
        sql = f"INSERT INTO parts VALUES {', '.join([row] * rows)}"
        pair.prepared(sql)
        before = kept()
        pair.run("BEGIN")
        pair.same(sql, *params)
        pair.text("SELECT COUNT(*), SUM(part) FROM parts WHERE part >= 10000")
        pair.run("ROLLBACK")
        assert kept() == before


def test_a_table_changes(pair: PreparedPair, proxy: tuple[Turnout, MariaDB], shop_servers: Shop) -> None:
    """Statements that were prepared before show the columns of now."""
    statements = (
        ("SELECT * FROM places WHERE id <> ? ORDER BY id", (3,)),
        ("SELECT * FROM places WHERE region = ?", ("a",)),
        ("SELECT p.*, f.id FROM places p JOIN photos f ON f.id = p.id WHERE p.id > ?", (5,)),
    )
    servers = [proxy[1], *(shop_servers.server(name) for name in CLUSTERS)]
    for sql, params in statements:
        pair.same(sql, *params)
    try:
        for server in servers:
            server.execute("ALTER TABLE places ADD COLUMN more INT DEFAULT 5", database=DATABASE)
        for sql, params in statements:
            assert len(pair.same(sql, *params).columns) >= 4
    finally:
        for server in servers:
            server.execute("ALTER TABLE places DROP COLUMN more", database=DATABASE)
    for sql, params in statements:
        pair.same(sql, *params)


def test_in_another_database(pair: PreparedPair) -> None:
    """A statement keeps the default database that it was prepared in."""
    for sql, params in ((SQL, (3, 9)), (JOIN, (3,)), ("UPDATE parts SET note = note WHERE price > ?", (5,))):
        pair.prepared(sql)
        pair.run("USE information_schema")
        pair.same(sql, *params)
        pair.run("USE shop")
    assert isinstance(pair.client.prepare(SQL), Statement)


def test_rows_and_values_of_16_megabytes(proxy: tuple[Turnout, MariaDB]) -> None:
    with Client(proxy[0].port, APP, APP_PASSWORD, DATABASE) as client:
        made = client.prepare(
            "SELECT part, IF(part = 3, CONCAT(?, 'x'), 'short') FROM parts WHERE part < ? ORDER BY part"
        )
        assert isinstance(made, Statement)
        value = b"y" * 17_000_000
        rows = client.execute(made, value, 6).checked().rows
        assert [len(row[0] or b"") > 17_000_000 for row in rows] == [False] * 3 + [True] + [False] * 2
