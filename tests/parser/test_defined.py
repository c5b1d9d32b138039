"""What CREATE and ALTER TABLE say of columns, keys and foreign keys."""

from __future__ import annotations

import pytest

from parser.analyse import parse
from parser.defined import Defined, DefinedColumn, DefinedForeignKey
from parser.shape import lexer


def defined(sql: str) -> Defined:
    shape, literals = lexer().shape(sql.encode())
    found = parse(shape, literals, lexer=lexer()).defined
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("k INT", DefinedColumn("k", "int")),
        (
            "`K` integer(10) unsigned NOT NULL DEFAULT 5 COMMENT 'unsigned zerofill'",
            DefinedColumn("k", "int", unsigned=True),
        ),
        ("k SERIAL", DefinedColumn("k", "bigint", unsigned=True)),
        ("k BIGINT ZEROFILL", DefinedColumn("k", "bigint", unsigned=True, zerofill=True)),
        ("k INT GENERATED ALWAYS AS (a + 1) STORED", DefinedColumn("k", "int", generated=True)),
        ("k INT CHECK (k AS z)", DefinedColumn("k", "int")),
        ("k NATIONAL VARCHAR(5)", DefinedColumn("k", "varchar")),
        ("k CHARACTER VARYING(5)", DefinedColumn("k", "varchar")),
        ("k CHAR(5) BYTE", DefinedColumn("k", "binary")),
        (
            "k VARCHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            DefinedColumn("k", "varchar", charset="utf8mb4", collation="utf8mb4_bin"),
        ),
        ("k VARCHAR(5) CHARSET latin1 NOT NULL", DefinedColumn("k", "varchar", charset="latin1")),
        ("k VARCHAR(5) COLLATE 'utf8mb4_bin'", DefinedColumn("k", "varchar")),
        ("k SET('a', 'b') DEFAULT 'a'", DefinedColumn("k", "set")),
    ],
)
def test_columns(text: str, column: DefinedColumn) -> None:
    for sql in (
        f"CREATE TABLE t (a INT, {text}, PRIMARY KEY (a), KEY x (k), CHECK (a > 0)) ENGINE=InnoDB",
        f"ALTER TABLE t ADD COLUMN (a INT, {text})",
    ):
        assert defined(sql).columns == (DefinedColumn("a", "int"), column), sql
    for sql in (
        f"ALTER TABLE t ADD {text}",
        f"ALTER TABLE t ADD COLUMN IF NOT EXISTS {text} FIRST",
        f"ALTER TABLE t MODIFY {text}",
        f"ALTER TABLE t CHANGE COLUMN k {text}",
    ):
        assert defined(sql).columns == (column,), sql


def test_keys_and_partitions_are_no_columns() -> None:
    sql = (
        "ALTER TABLE t ADD KEY (a), ADD UNIQUE INDEX b (b), ADD PRIMARY KEY (c), ADD FULLTEXT (d), ADD SPATIAL KEY (e),"
        " ADD CONSTRAINT f CHECK (a > 1), ADD PARTITION (PARTITION p VALUES LESS THAN (5)), DROP KEY g, DROP CHECK j,"
        " DROP PRIMARY KEY, DROP FOREIGN KEY h, DROP CONSTRAINT i, DROP PARTITION k, RENAME INDEX l TO m,"
        " ALTER n SET DEFAULT 5"
    )
    found = defined(sql)
    assert found.columns == ()
    assert found.dropped == frozenset()


@pytest.mark.parametrize(
    ("action", "names"),
    [
        ("DROP a", {"a"}),
        ("DROP COLUMN IF EXISTS `A`", {"a"}),
        ("CHANGE a b INT", {"a"}),
        ("CHANGE a A BIGINT", set()),
        ("RENAME COLUMN a TO b", {"a"}),
        ("ADD x INT, DROP a, DROP b", {"a", "b"}),
    ],
)
def test_dropped_columns(action: str, names: set[str]) -> None:
    assert defined(f"ALTER TABLE t {action}").dropped == names


def test_foreign_keys() -> None:
    sql = (
        "CREATE TABLE t (a INT REFERENCES u (x) ON DELETE CASCADE, b INT, FOREIGN KEY (b) REFERENCES d.v (y),"
        " CONSTRAINT c FOREIGN KEY c2 (`B`, a) REFERENCES t (A, `b`) MATCH FULL ON UPDATE SET NULL ON DELETE NO ACTION)"
    )
    assert defined(sql).foreign_keys == (
        DefinedForeignKey(("a",), 1, ("x",), "cascade"),
        DefinedForeignKey(("b",), 2, ("y",)),
        DefinedForeignKey(("b", "a"), 3, ("a", "b"), "no action", "set null"),
    )
    found = defined("ALTER TABLE t ADD a INT, ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES u (b) ON UPDATE RESTRICT")
    assert found.foreign_keys == (DefinedForeignKey(("a",), 1, ("b",), "", "restrict"),)
    assert found.columns == (DefinedColumn("a", "int"),)


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("ALTER TABLE t ADD id INT AUTO_INCREMENT PRIMARY KEY", "id"),
        ("ALTER TABLE t ADD COLUMN id SERIAL", "id"),
        ("ALTER TABLE t MODIFY id INT AUTO_INCREMENT", ""),
        ("ALTER TABLE t AUTO_INCREMENT = 5", ""),
        ("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)", ""),
    ],
)
def test_columns_by_which_rows_are_numbered(sql: str, column: str) -> None:
    assert defined(sql).numbers == column


@pytest.mark.parametrize(
    ("sql", "counts"),
    [
        ("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)", False),
        ("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB AUTO_INCREMENT=7", True),
        ("ALTER TABLE t ADD x INT, AUTO_INCREMENT 7", True),
        ("ALTER TABLE t MODIFY id INT AUTO_INCREMENT", False),
    ],
)
def test_counters(sql: str, counts: bool) -> None:
    assert defined(sql).counts_from is counts
