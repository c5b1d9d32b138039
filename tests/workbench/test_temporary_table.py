"""SHOW CREATE TABLE -> CREATE TEMPORARY TABLE: what is kept, and what a server makes of it."""

from __future__ import annotations

import pytest

from proxy.plan.temporary_table import Unreadable, read_definition
from tests.servers import Shop
from tests.servers.shop import DATABASE

MYSQL = b"""CREATE TABLE `t` (
  `id` int NOT NULL AUTO_INCREMENT,
  `j` json DEFAULT NULL,
  `code` varchar(10) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT 'it''s, (\\\\',
  `at` timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  `made` datetime DEFAULT (now() + interval 1 day) /*!80023 INVISIBLE */,
  `twice` int GENERATED ALWAYS AS ((`id` * 2)) STORED NOT NULL COMMENT 'a, b',
  `local` date GENERATED ALWAYS AS (cast((`at` - interval 1 hour) as date)) VIRTUAL,
  `body` text,
  `place` point NOT NULL /*!80003 SRID 4326 */,
  PRIMARY KEY (`id`),
  UNIQUE KEY `code` (`code`,`body`(5)) USING BTREE,
  KEY `expression` ((lower(`code`))),
  KEY `down` (`at` DESC,`id`) /*!80000 INVISIBLE */,
  FULLTEXT KEY `words` (`body`),
  CONSTRAINT `f` FOREIGN KEY (`id`) REFERENCES `u` (`id`)
) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='DEFAULT CHARSET=big5'
/*!50100 PARTITION BY HASH (`id`) PARTITIONS 4 */"""


def test_what_mysql_prints() -> None:
    assert read_definition(MYSQL).create(b"`t`").decode() == (
        "CREATE TEMPORARY TABLE `t` ("
        "`id` int NOT NULL AUTO_INCREMENT,"
        "`j` json DEFAULT NULL NULL,"
        "`code` varchar(10) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT 'it''s, (\\\\',"
        "`at` timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),"
        "`made` datetime INVISIBLE NULL,"
        "`twice` int NOT NULL,"
        "`local` date GENERATED ALWAYS AS( cast(( `at` - interval 1 hour ) as date ) ) VIRTUAL,"
        "`body` text NULL,"
        "`place` point NOT NULL SRID 4326,"
        "PRIMARY KEY (`id`),"
        "UNIQUE KEY `code` (`code`,`body`(5)),"
        "KEY `down` (`at` DESC,`id`)"
        ") DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"
    )


def test_some_columns_and_rows_of_several_servers() -> None:
    table = read_definition(MYSQL)
    some = table.chosen({"code", "body", "no"})
    assert [column.name for column in some.columns] == [b"`code`", b"`body`"]
    assert b"KEY `code` (`code`,`body`(5))" in some.create(b"`t`", "id")
    assert b"UNIQUE" not in some.create(b"`t`", "id")
    assert b"UNIQUE" in some.create(b"`t`", "code")
    assert b"KEY `turnout_primary` (`id`)" in table.create(b"`t`", "code")
    assert [column.name for column in table.chosen(set()).columns] == [b"`id`"]  # COUNT(*) counts something
    assert b"`id` int NOT NULL AUTO_INCREMENT" in table.chosen({"id"}).create(b"`t`")
    # Without its last column a key still finds rows; they need not be unique by what is left of it.
    assert b",KEY `code` (`code`))" in table.chosen({"code", "no"}).create(b"`t`")
    assert b"KEY" not in table.chosen({"body", "no"}).create(b"`t`")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"CREATE ALGORITHM=UNDEFINED VIEW `v` AS select 1", "is not a table"),
        (b"CREATE TABLE `t` (\n  `v` vector(3) DEFAULT NULL\n) ENGINE=InnoDB", "has the column `v`, of a type"),
        (b"CREATE TABLE `t` (\n  `v` int", "ends early"),
        (b"", "is not a table"),
    ],
)
def test_what_is_not_understood(text: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read_definition(text)


EVERYTHING = """CREATE TABLE all_of_it (
    id INT AUTO_INCREMENT, a VARCHAR(10) CHARACTER SET latin1 NOT NULL DEFAULT 'it''s \\\\,',
    e ENUM('a', 'b,''c') DEFAULT 'a', f FLOAT(7,3), j JSON, b BIT(9) DEFAULT b'101', u UUID,
    ts TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
    g INT AS (id + 1) VIRTUAL COMMENT 'x, y', gt TIMESTAMP AS (FROM_UNIXTIME(id)) VIRTUAL, p INT AS (-n) STORED,
    h VARCHAR(20) AS (IF(e <> 'a' OR n >= -5.5e-1, SUBSTRING(a, 1, 2), TRIM(CONCAT(_utf8mb4'b', '~')))) VIRTUAL,
    inv INT INVISIBLE, d DECIMAL(10,2) UNSIGNED ZEROFILL, txt TEXT, bl BLOB NOT NULL DEFAULT (CONCAT('a', 'b')),
    n BIGINT DEFAULT -5, x DOUBLE DEFAULT 1.5e100, geo GEOMETRY, y YEAR, `weird ``,(` INT, PRIMARY KEY (id),
    UNIQUE KEY (a, txt(10)), UNIQUE (txt), KEY (n DESC, d), KEY (`weird ``,(`), FULLTEXT KEY (txt), CHECK (n < 7)
) COLLATE utf8mb4_unicode_ci"""
SHOWN = (
    "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLUMNS "
    "WHERE TABLE_NAME = 'all_of_it' ORDER BY ORDINAL_POSITION"
)


@pytest.mark.servers
def test_a_server_makes_the_same_columns_of_it(shop_servers: Shop) -> None:
    server = shop_servers.main
    server.execute("DROP TABLE IF EXISTS all_of_it", EVERYTHING, database=DATABASE)
    try:
        columns = server.execute(SHOWN)
        table = read_definition(server.execute("SHOW CREATE TABLE all_of_it", database=DATABASE)[0][1].encode())
        server.execute(
            "DROP TABLE all_of_it", table.create(b"`all_of_it`").decode().replace("TEMPORARY ", ""), database=DATABASE
        )
        assert server.execute(SHOWN) == columns
        again = read_definition(server.execute("SHOW CREATE TABLE all_of_it", database=DATABASE)[0][1].encode())
        assert again.keys == table.keys
        assert [(c.name, c.kind, c.counts, c.virtual) for c in again.columns] == [
            (c.name, c.kind, c.counts, c.virtual) for c in table.columns
        ]
    finally:
        server.execute("DROP TABLE IF EXISTS all_of_it", database=DATABASE)
