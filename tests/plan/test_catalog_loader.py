"""information_schema rows -> schemas: on a real MariaDB, and on rows as MySQL 8 gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.back.catalog_loader import build, leaves_state, merge, queries
from tests.servers import Shop

EMPTY_ROWS: dict[str, list[list[str | None]]] = {
    "version": [["8.4.2"]],
    "tables": [],
    "columns": [],
    "keys": [],
    "views": [],
    "triggers": [],
    "foreign keys": [],
    "columns of foreign keys": [],
}


def mysql(*columns: list[str | None], **more: list[list[str | None]]) -> TableSchema:
    rows = {**EMPTY_ROWS, "tables": [["Shop", "Things", "BASE TABLE", "InnoDB"]], **more}
    rows["columns"] = [["Shop", "Things", *column] for column in columns]
    return build("main", rows)["main", "shop", "things"]


def row(
    name: str, data_type: str = "int", default: str | None = None, extra: str = "", expression: str = ""
) -> list[str | None]:
    return [name, data_type, data_type, "YES", None, None, None, default, extra, expression]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row("Id", "int", None, "auto_increment"), Column("id", "int", auto_increment=True)),
        (row("a", "int", "5"), Column("a", "int")),
        (row("a", "varchar", "now()"), Column("a", "varchar")),
        (row("a", "datetime", "CURRENT_TIMESTAMP", "DEFAULT_GENERATED"), Column("a", "datetime", server_default=True)),
        (row("a", "datetime", "CURRENT_TIMESTAMP"), Column("a", "datetime", server_default=True)),
        (
            row("a", "timestamp", None, "on update CURRENT_TIMESTAMP"),
            Column("a", "timestamp", on_update=True),
        ),
        (row("a", "int", "uuid()", "DEFAULT_GENERATED"), Column("a", "int", server_default=True)),
        (row("a", "int", None, "VIRTUAL GENERATED", "(`b` + 1)"), Column("a", "int", generated=True)),
        (row("a", "int", None, "STORED GENERATED", "(`b` + 1)"), Column("a", "int", generated=True)),
        (row("a", "int", None, "VIRTUAL GENERATED", "now()"), Column("a", "int", generated=True, volatile=True)),
        (row("a", "int", None, "VIRTUAL GENERATED"), Column("a", "int", generated=True, volatile=True)),
        (row("a", "int", None, "INVISIBLE"), Column("a", "int", invisible=True)),
        (
            ["a", "bigint", "bigint unsigned zerofill", "NO", None, None, None, None, "", ""],
            Column("a", "bigint", unsigned=True, zerofill=True, nullable=False),
        ),
        (
            ["a", "varchar", "varchar(20)", "NO", "utf8mb4", "utf8mb4_0900_ai_ci", "20", None, "", ""],
            Column("a", "varchar", charset="utf8mb4", collation="utf8mb4_0900_ai_ci", nullable=False, length=20),
        ),
    ],
)
def test_mysql_columns(given: list[str | None], expected: Column) -> None:
    assert mysql(given).columns == (expected,)


def test_unique_keys_of_prefixes_and_expressions_name_no_column() -> None:
    keys: list[list[str | None]] = [
        ["Shop", "Things", "PRIMARY", "Id", None],
        ["Shop", "Things", "by_name", "name", "10"],
        ["Shop", "Things", "by_name", "id", None],
        ["Shop", "Things", "by_lower", None, None],
    ]
    schema = mysql(row("Id"), row("name", "varchar"), keys=keys)
    assert schema.primary_key == ("id",)
    assert schema.unique_keys == (("id",), ("name(10)", "id"), ("(expression)",))


def test_tables_that_differ_only_in_case_are_left_out_and_those_without_columns() -> None:
    """The latter are being made or dropped: without columns nothing is known, not even whether they make ids."""
    rows = {**EMPTY_ROWS, "tables": [["shop", name, "BASE TABLE", "InnoDB"] for name in ("t", "T", "u", "dropped")]}
    rows["tables"].append(["shop", "broken", "VIEW", None])
    rows["columns"] = [["shop", name, *row("id")] for name in ("t", "T", "u")]
    assert list(build("main", rows)) == [("main", "shop", "u"), ("main", "shop", "broken")]


def test_merge_replaces_one_cluster_and_counts_changes() -> None:
    table = mysql(row("id"))
    one = merge(Catalog(), "main", {("main", "shop", "things"): table})
    assert one.generation == 1
    both = merge(one, "media", {("media", "shop", "things"): table})
    assert (len(both.tables), both.generation) == (2, 2)
    assert merge(both, "media", {("media", "shop", "things"): table}) is both
    gone = merge(both, "main", {})
    assert (list(gone.tables), gone.generation) == ([("media", "shop", "things")], 3)


def ask(server: Any, names: tuple[str, ...] | None) -> Mapping[str, Any]:
    connection = server.admin(use_unicode=False)
    try:
        found = {}
        for name, sql in queries(names).items():
            with connection.cursor() as cursor:
                cursor.execute(sql)
                found[name] = [[str(c).encode() if isinstance(c, int) else c for c in row] for row in cursor.fetchall()]
        return found
    finally:
        connection.close()


@pytest.mark.servers
def test_mariadb(shop_servers: Shop) -> None:
    server = shop_servers.main
    shop_servers.recreate()
    server.load(
        """
        CREATE TABLE a (
          Id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, c CHAR(3) COLLATE utf8mb4_bin NOT NULL,
          v VARCHAR(10) CHARACTER SET latin1, d DATE, at DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
          z INT(5) ZEROFILL, g INT AS (z + 1) STORED, h INT AS (z + 1) VIRTUAL, u UUID DEFAULT UUID(), n INT DEFAULT -5,
          f FLOAT DEFAULT 1.5e3, s VARCHAR(20) DEFAULT 'now()', b BIT(2) DEFAULT b'1', i INT INVISIBLE,
          e INT DEFAULT (n + 1), k VARBINARY(8), UNIQUE two (c, v), UNIQUE pre (s(5)), KEY plain (n));
        CREATE VIEW w AS SELECT a.n FROM a JOIN a b ON a.id = b.id WHERE a.d = 'x`y';
        CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.n = 1;
        CREATE DATABASE `it's \\\\odd`; CREATE TABLE `it's \\\\odd`.`T` (x INT);
        """,
        "shop",
    )
    try:
        found = build("main", ask(server, ("shop", "it's \\\\odd")))
        everything = build("main", ask(server, None))
    finally:
        server.execute("DROP DATABASE IF EXISTS `it's \\\\odd`")
    assert set(found) == {("main", "shop", "a"), ("main", "shop", "w"), ("main", "it's \\\\odd", "t")}
    assert found.items() <= everything.items()
    assert build("main", ask(server, ())) == {}
    table = found["main", "shop", "a"]
    assert table.primary_key == ("id",)
    assert set(table.unique_keys) == {("id",), ("c", "v"), ("s(5)",)}
    assert table.has_triggers
    assert table.triggers == {"t"}
    assert not table.triggers_leave_state
    assert not table.is_view
    by_name = {column.name: column for column in table.columns}
    assert by_name["id"] == Column("id", "bigint", unsigned=True, nullable=False, auto_increment=True)
    assert by_name["c"] == Column("c", "char", False, "utf8mb4", "utf8mb4_bin", nullable=False, length=3)
    assert by_name["v"] == Column("v", "varchar", False, "latin1", "latin1_swedish_ci", length=10)
    assert by_name["k"] == Column("k", "varbinary", length=8)
    assert {name for name, column in by_name.items() if column.generated} == {"g", "h"}
    assert {name for name, column in by_name.items() if column.server_default} == {"at", "u", "e"}
    assert {name for name, column in by_name.items() if column.on_update} == {"at"}
    assert {name for name, column in by_name.items() if column.zerofill} == {"z"}
    assert {name for name, column in by_name.items() if column.invisible} == {"i"}
    view = found["main", "shop", "w"]
    assert view.is_view
    assert "`shop`.`a`" in view.view_definition


@pytest.mark.parametrize(
    ("body", "leaves"),
    [
        ("SET NEW.n = 1", False),
        ("BEGIN INSERT INTO log (a, b) VALUES (NEW.id, 'x@y; CALL p()'); UPDATE t SET n = n + 1; END", False),
        ("SET @x = NEW.id", True),
        ("BEGIN DECLARE v INT; SET v = 1; SELECT id INTO @y FROM t LIMIT 1; END", True),
        ("SET @@session.sql_mode = ''", True),
        ("CALL p(NEW.id)", True),
        ("SET NEW.n = my_function(NEW.id)", True),
        ("SET NEW.n = GET_LOCK('a', 1)", True),
        ("SET NEW.n = CONCAT(NEW.a, LOWER(NEW.b))", False),
    ],
)
def test_triggers_that_leave_variables_behind(body: str, leaves: bool) -> None:
    assert leaves_state(body, "") is leaves
