"""Looking around from sessions in the middle of something, with few rights, and past servers that are not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.around.logical import Logical, Pair
from tests.front.raw import Client
from tests.servers import Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD

pytestmark = pytest.mark.servers
ALL = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' ORDER BY 1"
LIKE = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'p%'"


def test_in_a_transaction(logical: Logical, pair: Pair) -> None:
    pair.run("BEGIN", "INSERT INTO photos (id, n) VALUES (1, 7)")
    for _ in range(2):
        pair.same("SHOW TABLES")
        pair.same("SHOW TABLE STATUS")
        pair.same(ALL)
        pair.same(LIKE)
    pair.same("SELECT id, n FROM photos")  # still in the transaction: nobody else has this row
    with Client(logical.proxy.port, APP, APP_PASSWORD, DATABASE) as other:
        assert other.query("SELECT COUNT(*) FROM photos").number == 0
    pair.run("ROLLBACK")
    pair.same("SELECT id, n FROM photos")


@pytest.mark.parametrize("first", ["SET autocommit = 0", "SELECT GET_LOCK('around', 0)", "SET @x = CONCAT('p', '%')"])
def test_with_state_on_a_connection(pair: Pair, first: str) -> None:
    pair.run(first)
    pair.same(ALL)
    pair.same("SHOW TABLES")
    pair.same(LIKE)
    if "@x" not in first:
        pair.same("SELECT COUNT(*) FROM photos")
    else:
        pair.same("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME LIKE @x")


def test_found_rows_warnings_and_settings(pair: Pair) -> None:
    pair.same(
        "SELECT SQL_CALC_FOUND_ROWS TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' LIMIT 1"
    )
    pair.same("SELECT FOUND_ROWS()")
    pair.same("SHOW TABLES")
    pair.same("SELECT FOUND_ROWS(), ROW_COUNT()")
    pair.same("SELECT TABLE_NAME, CAST('x' AS SIGNED) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'")
    pair.same("SHOW WARNINGS")
    for setting in (
        "NAMES latin1",
        "NAMES utf8mb4",
        "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
        "time_zone = '+05:00'",
        "sql_select_limit = 2",
    ):
        pair.run(f"SET {setting}")
        pair.same(ALL)
        pair.same("SHOW TABLES")
        pair.same(
            "SELECT TABLE_NAME, TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' ORDER BY 1"
        )


def test_of_other_databases(pair: Pair) -> None:
    for database in ("stats", "information_schema", "mysql"):
        pair.run(f"USE {database}")
        pair.same("SHOW TABLES FROM stats")
        pair.same("SHOW TABLES FROM shop")
        pair.same("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'stats'")
        pair.same(ALL)
        pair.same("SHOW TABLES LIKE 'v%'")
    pair.run("USE information_schema")
    pair.same("SELECT TABLE_NAME FROM tables WHERE tables.table_schema = 'shop' ORDER BY table_name")
    pair.same("SHOW TABLES FROM nothing")


def test_that_tools_see_a_new_table_at_once(pair: Pair) -> None:
    pair.run("CREATE TABLE a_new_one (i INT)")
    try:
        pair.same("SHOW TABLES")
        pair.same(ALL)
    finally:
        pair.run("DROP TABLE a_new_one")
    pair.same(ALL)


def test_rights_decide_what_is_seen(logical: Logical) -> None:
    """An account that may only read one moved table and one at home."""
    servers = [logical.mirror, *(logical.shop.server(name) for name in ("main", "media", "shard0", "shard1"))]
    granted = {"main": "accounts", "media": "photos"}
    for server in servers:
        if server is logical.mirror:
            server.create_account(OPS, OPS_PASSWORD)
        server.execute(f"REVOKE ALL ON *.* FROM '{OPS}'@'%'")
    try:
        for table in granted.values():
            logical.mirror.execute(f"GRANT SELECT ON shop.{table} TO '{OPS}'@'%'")
        for name, table in granted.items():
            logical.shop.server(name).execute(f"GRANT SELECT ON shop.{table} TO '{OPS}'@'%'")
        with (
            Client(logical.proxy.port, OPS, OPS_PASSWORD, DATABASE) as ours,
            Client(logical.mirror.port, OPS, OPS_PASSWORD, DATABASE) as theirs,
        ):
            for sql in (
                "SHOW TABLES",
                "SHOW FULL TABLES FROM shop",
                ALL,
                "SELECT DISTINCT TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop' ORDER BY 1",
            ):
                one, other = ours.query(sql).checked(), theirs.query(sql).checked()
                assert one.rows == other.rows, sql
                assert len(one.rows) == 2
    finally:
        for server in servers[1:]:
            server.execute(f"GRANT ALL ON *.* TO '{OPS}'@'%' WITH GRANT OPTION")


def test_a_database_that_is_at_home_alone(logical: Logical, turnout: Callable[..., Turnout]) -> None:
    """Its rules place a table on a cluster that does not have the database yet."""
    main = logical.shop.server("main")
    main.execute("CREATE DATABASE IF NOT EXISTS lonely", "CREATE TABLE IF NOT EXISTS lonely.a (i INT)")
    main.execute("CREATE TABLE IF NOT EXISTS lonely.moved (i INT)")
    proxy = turnout(
        logical.shop.rules("main", "media") + "databases: {lonely: {home: main, tables: {moved: {cluster: media}}}}\n"
    )
    try:
        with Client(proxy.port, APP, APP_PASSWORD, "lonely") as client:
            for sql in (
                "SHOW TABLES",
                "SHOW TABLES FROM lonely",
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'lonely'",
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
            ):
                assert client.query(sql).checked().rows == ((b"a",),), sql
    finally:
        main.execute("DROP DATABASE lonely")


def test_no_other_cluster_is_asked_about_what_is_at_home(logical: Logical, turnout: Callable[..., Turnout]) -> None:
    """A database without moved tables costs nothing beyond its home, whatever the others are like."""
    servers = logical.shop.rules("main", "media").replace(logical.shop.media.address, "127.0.0.1:1")
    proxy = turnout(servers + "databases: {shop: {home: main}, far: {home: main, tables: {away: {cluster: media}}}}\n")
    with Client(proxy.port, APP, APP_PASSWORD, DATABASE) as client:
        for sql in (
            "SHOW TABLES",
            "SHOW TABLE STATUS",
            ALL,
            LIKE,
            "SELECT c.COLUMN_NAME FROM information_schema.COLUMNS c JOIN information_schema.TABLES t USING"
            " (TABLE_SCHEMA, TABLE_NAME) WHERE c.TABLE_SCHEMA = 'shop' AND t.TABLE_SCHEMA = 'shop'",
        ):
            assert client.query(sql).checked().rows, sql
        failed = client.query("SELECT COUNT(*) FROM information_schema.TABLES")
        assert failed.errno == 1429, failed
        assert "media" in failed.message


REFUSED = {
    "INSERT INTO accounts (name) SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'":
        "INSERT reads information_schema.TABLES, which several clusters have to tell",
    "SET @n = (SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_NAME = 'orders')":
        "SET reads information_schema.COLUMNS",
    "CREATE TABLE copied AS SELECT TABLE_NAME FROM information_schema.TABLES":
        "DDL reads information_schema.TABLES",
    "SELECT o.id FROM orders o JOIN information_schema.COLUMNS c ON c.ORDINAL_POSITION = o.id WHERE"
    " c.TABLE_SCHEMA = 'shop'": "cannot be read in one statement with shop.orders",
    "SELECT p.id FROM photos p, accounts a, information_schema.COLUMNS c": "cannot be read in one statement with",
    "SHOW TABLES WHERE twice(1) = 2": "calls a function that Turnout does not know",
    "SHOW TABLES WHERE Tables_in_shop = @x": "uses a user variable",
    "SET STATEMENT max_statement_time = 9 FOR SELECT TABLE_NAME FROM information_schema.TABLES":
        "SET STATEMENT reads information_schema",
}  # fmt: skip


@pytest.mark.parametrize("sql", REFUSED)
def test_refused_by_name(pair: Pair, sql: str) -> None:
    answer = pair.client.query(sql)
    assert answer.errno == 1235, answer
    assert REFUSED[sql] in answer.message, answer
    assert pair.client.query("SELECT 1").number == 1
