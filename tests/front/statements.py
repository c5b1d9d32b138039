"""What the sessions of `test_isolation` do: statements by theme, as templates.

`{p}` is the session's prefix (its tables, locks and prepared statements carry it), `{i}` a small number, `{s}` a string
literal. Every statement's answer depends on its own session alone, whatever the others do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

STRINGS = [
    *("'x'", "''", "'it''s'", "'a\\\\b'", "'a\\'b'", '"dq"', "'50%'", "'\xe9t\xe9'", "NULL", "0x41", "'-- no comment'"),
]

# The tables of one session, in both databases. (A trigger that sets a user variable would show a known difference: the
# session keeps its connection after stored procedures and functions, but not after a write with triggers.)
SCHEMA = """\
CREATE TABLE {p}_a (id INT AUTO_INCREMENT PRIMARY KEY, k INT UNIQUE, v VARCHAR(30), n INT NOT NULL DEFAULT 0)
CREATE TABLE {p}_b (id INT PRIMARY KEY, a INT, v VARCHAR(30) NOT NULL, d DATETIME)
CREATE TABLE {p}_t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(30))
CREATE TABLE {p}_my (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(30)) ENGINE=MyISAM
INSERT INTO {p}_a (k, v) VALUES (1, 'one'), (2, 'two'), (3, 'three')
INSERT INTO {p}_b VALUES (1, 1, 'b1', '2024-03-01 10:00:00'), (2, 1, 'b2', NULL), (3, 2, 'b3', '1999-12-31 23:59:59')
"""
SHARED = """\
CREATE TRIGGER {p}_trace BEFORE INSERT ON {p}_t FOR EACH ROW SET NEW.v = UPPER(NEW.v)
CREATE PROCEDURE {p}_set(IN x INT) SET @called = x
CREATE PROCEDURE {p}_rows(IN x INT) BEGIN SELECT x AS x; SELECT x + 1 AS y; END
CREATE PROCEDURE {p}_insert(IN x VARCHAR(30)) INSERT INTO {p}_a (v) VALUES (x)
CREATE FUNCTION {p}_add(x INT) RETURNS INT DETERMINISTIC RETURN x + 1
CREATE FUNCTION {p}_leak(x INT) RETURNS INT NO SQL BEGIN SET @leaked = x; RETURN x; END
"""


@dataclass(frozen=True, slots=True)
class Theme:
    """How often, and what."""

    weight: int
    templates: tuple[str, ...]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if line.strip())


READS = _lines("""\
SELECT * FROM {p}_a ORDER BY id
SELECT id, v FROM {p}_a WHERE k = {i}
SELECT COUNT(*), MAX(id), SUM(n) FROM {p}_a
SELECT a.id, b.v FROM {p}_a a JOIN {p}_b b ON b.a = a.id ORDER BY a.id, b.id
SELECT SQL_CALC_FOUND_ROWS id FROM {p}_a ORDER BY id LIMIT 2
SELECT SQL_CALC_FOUND_ROWS id FROM {p}_a ORDER BY id LIMIT 1, 1
SELECT id FROM {p}_a ORDER BY id LIMIT {i}
SELECT GROUP_CONCAT(v ORDER BY id) FROM {p}_b
SELECT HEX(v), LENGTH(v), CHAR_LENGTH(v) FROM {p}_a ORDER BY id DESC LIMIT 1
SELECT {s}, {i} + 1
SELECT 'a' 'b', "x", 'a\\nb'
SELECT 1 || 0, 'a' || 'b'
SELECT 1/3, 7 DIV 2, -1
SELECT MONTHNAME('2024-03-01'), WEEK('2024-01-03')
SELECT FROM_UNIXTIME(86400)
SELECT DATABASE(), SCHEMA(), USER(), CURRENT_USER()
SELECT CHARSET('x'), COLLATION('x'), CHARSET(v) FROM {p}_a LIMIT 1
SELECT * FROM shop.{p}_b ORDER BY id
SELECT * FROM attic.{p}_a ORDER BY id
SELECT * FROM {p}_my ORDER BY id
SELECT * FROM {p}_t ORDER BY id
SELECT id FROM {p}_a UNION ALL SELECT id FROM {p}_b ORDER BY 1
SELECT id, (SELECT COUNT(*) FROM {p}_b WHERE a = {p}_a.id) FROM {p}_a ORDER BY id
WITH w AS (SELECT id FROM {p}_b) SELECT COUNT(*) FROM w
SELECT * FROM {p}_a WHERE id = {i} FOR UPDATE
SELECT * FROM {p}_a WHERE id = {i} LOCK IN SHARE MODE
SELECT 1;
/* hello */ SELECT /* inner */ {i} -- tail
SHOW TABLES LIKE '{p}%'
SHOW CREATE TABLE {p}_b
SHOW COLUMNS FROM {p}_a
DESCRIBE {p}_b
DO 1
CHECKSUM TABLE {p}_b
TABLE {p}_b
VALUES (1, 2), (3, 4)
""")

STATE = _lines("""\
SELECT LAST_INSERT_ID()
SELECT @@last_insert_id
SELECT @@identity
SELECT last_insert_id() AS id FROM dual
SELECT LAST_INSERT_ID() + 0
SELECT * FROM {p}_a WHERE id = LAST_INSERT_ID()
SELECT @@sql_mode, @@time_zone, @@autocommit
SELECT @@session.sql_select_limit, @@group_concat_max_len, @@sql_safe_updates
SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection
SELECT @@tx_isolation, @@session.tx_read_only
SELECT @@auto_increment_increment, @@auto_increment_offset, @@lc_time_names, @@div_precision_increment
SELECT @@foreign_key_checks, @@unique_checks, @@sql_auto_is_null, @@in_transaction
SELECT @a, @b, @c, @d, @called, @leaked
SELECT @@collation_database, @@character_set_database
SELECT @@max_error_count, @@sql_warnings, @@sql_notes, @@default_week_format
SHOW VARIABLES LIKE 'sql_mode'
SHOW SESSION VARIABLES LIKE 'character_set_%t%'
SHOW VARIABLES WHERE Variable_name IN ('time_zone', 'autocommit', 'tx_isolation')
""")

# Asked only after these: what other statements do to FOUND_ROWS() is not documented, and no two versions agree.
COUNTED = _lines("""\
SELECT * FROM {p}_a ORDER BY id
SELECT SQL_CALC_FOUND_ROWS id FROM {p}_a ORDER BY id LIMIT 2
SELECT SQL_CALC_FOUND_ROWS id FROM {p}_a ORDER BY id LIMIT 1, 1
SELECT id FROM {p}_a ORDER BY id LIMIT {i}
SELECT id FROM {p}_a ORDER BY id LIMIT 1, {i}
SELECT id FROM {p}_a ORDER BY id LIMIT {i} OFFSET 1
SELECT COUNT(*) FROM {p}_b
""")
FOUND = ("SELECT FOUND_ROWS()", "SELECT FOUND_ROWS() AS n", "SELECT FOUND_ROWS(), LAST_INSERT_ID()")

# Asked right after statements that change rows; what others leave of ROW_COUNT() differs, too.
AFFECTED = (
    "SELECT ROW_COUNT()",
    "SELECT last_insert_id() AS id, row_count()",
    "SELECT ROW_COUNT() * 2, @a",
    "INSERT INTO {p}_b (id, v) VALUES (200 + ROW_COUNT(), 'rc')",
)

# Asked right after a statement with a warning or an error. Which other statements leave the list alone differs from
# version to version; GET DIAGNOSTICS and max_error_count are left out for that reason, too.
DIAGNOSTICS = _lines("""\
SHOW WARNINGS
SHOW ERRORS
SHOW WARNINGS LIMIT 1
SHOW COUNT(*) WARNINGS
SHOW COUNT(*) ERRORS
SELECT @@warning_count
SELECT @@error_count
SELECT @@session.warning_count
""")
CONDITIONS = _lines("""\
SELECT CAST('12abc' AS SIGNED), 1/0
SELECT nosuch FROM {p}_a
SELECT * FROM {p}_nosuch
SELEC 1
INSERT INTO {p}_b (id, v) VALUES (1, 'dup'), (1, 'dup')
INSERT IGNORE INTO {p}_b (id, v) VALUES (1, NULL), (2, 'a string that is much too long for its column')
UPDATE {p}_a SET v = 5 WHERE v = 0
SELECT COUNT(*) FROM {p}_b
DROP TABLE IF EXISTS {p}_nosuch
SET sql_mode = 'NOSUCH'
""")

WRITES = _lines("""\
INSERT INTO {p}_a (v) VALUES ({s})
INSERT INTO {p}_a (v) VALUES ('m1'), ('m2'), ('m3')
INSERT INTO {p}_a (id, v) VALUES (1{i}, 'explicit')
INSERT INTO {p}_a (id, v) VALUES (NULL, 'null id'), (0, 'zero id')
INSERT INTO {p}_a (id, k, v) VALUES (NULL, {i}, 'mixed'), (3{i}, NULL, 'mixed')
INSERT INTO {p}_a SET k = {i}, v = {s}
INSERT INTO {p}_a VALUES (DEFAULT, NULL, 'positional', 1)
INSERT IGNORE INTO {p}_a (k, v) VALUES ({i}, 'ignored'), (1, 'twice')
INSERT INTO {p}_a (k, v) VALUES ({i}, 'up') ON DUPLICATE KEY UPDATE n = n + 1
INSERT INTO {p}_a (k, v) VALUES ({i}, 'up') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), n = n + 1
INSERT INTO {p}_a (k, v) VALUES ({i}, 'u1'), (1{i}, 'u2') ON DUPLICATE KEY UPDATE v = VALUES(v)
REPLACE INTO {p}_a (k, v) VALUES ({i}, 'replaced')
REPLACE INTO {p}_b (id, v) VALUES ({i}, 'r')
INSERT INTO {p}_a (v) SELECT v FROM {p}_b WHERE id < {i}
INSERT INTO {p}_b (id, a, v) VALUES (1{i}, LAST_INSERT_ID(), 'child')
INSERT INTO {p}_b (id, a, v) VALUES (1{i}, @a, 'var')
INSERT INTO {p}_a (v) VALUES ('ret') RETURNING id, v
INSERT INTO {p}_my (v) VALUES ('my')
INSERT LOW_PRIORITY INTO {p}_b VALUES (2{i}, 1, 'low', NOW() - NOW())
INSERT INTO shop.{p}_a (v) VALUES ('other db')
INSERT INTO {p}_b (id, v) VALUES (4{i}, 'a string that is much too long for its column')
INSERT INTO {p}_b (id, v) VALUES ('4x', NULL)
UPDATE {p}_a SET n = n + 1 WHERE id = {i}
UPDATE {p}_a SET n = n
UPDATE {p}_a SET n = LAST_INSERT_ID(n + 1) WHERE id = {i}
UPDATE {p}_a SET v = 5 WHERE v = 0
UPDATE {p}_a a JOIN {p}_b b ON b.a = a.id SET a.n = a.n + 1, b.v = 'joined'
UPDATE {p}_b SET v = {s} ORDER BY id LIMIT 1
DELETE FROM {p}_b WHERE id > 1{i}
DELETE FROM {p}_a WHERE id > 20
DELETE FROM {p}_a WHERE id = {i} RETURNING v
DELETE a FROM {p}_a a JOIN {p}_b b ON b.id = a.id WHERE b.id = 1{i}
SELECT LAST_INSERT_ID({i})
SELECT LAST_INSERT_ID({i}) + 1, LAST_INSERT_ID()
DO LAST_INSERT_ID({i})
""")

SETS = _lines("""\
SET NAMES utf8mb4
SET NAMES latin1
SET NAMES 'utf8mb3' COLLATE 'utf8mb3_unicode_ci'
SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci
SET NAMES binary
SET NAMES default
SET CHARACTER SET latin1
SET CHARSET utf8mb4
SET sql_mode = ''
SET sql_mode = 'ANSI_QUOTES'
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_TRANS_TABLES'
SET @@sql_mode = 'TRADITIONAL'
SET @@session.sql_mode = 'ANSI'
SET sql_mode = 'PIPES_AS_CONCAT,NO_AUTO_VALUE_ON_ZERO'
SET sql_mode = DEFAULT
SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')
SET sql_mode = (SELECT REPLACE(@@sql_mode, 'STRICT_TRANS_TABLES', ''))
SET time_zone = '+05:00'
SET LOCAL time_zone = '-03:30'
SET @@time_zone = SYSTEM
SET @@local.time_zone = DEFAULT
SET sql_select_limit = 2
SET sql_select_limit = DEFAULT
SET SQL_SELECT_LIMIT = 1, group_concat_max_len = 5
SET group_concat_max_len = DEFAULT, sql_select_limit = DEFAULT
SET SESSION group_concat_max_len := 4
SET sql_safe_updates = 1
SET sql_safe_updates = OFF
SET auto_increment_increment = 5, auto_increment_offset = 2
SET auto_increment_increment = DEFAULT, auto_increment_offset = DEFAULT
SET div_precision_increment = 8
SET div_precision_increment = DEFAULT
SET lc_time_names = 'de_DE'
SET lc_time_names = DEFAULT
SET default_week_format = 3
SET foreign_key_checks = 0, unique_checks = 0
SET foreign_key_checks = DEFAULT, unique_checks = 1
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED
SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE
SET tx_isolation = 'SERIALIZABLE'
SET @@session.tx_isolation = 'READ-UNCOMMITTED'
SET tx_isolation = DEFAULT
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
SET SESSION TRANSACTION READ WRITE
SET character_set_results = NULL
SET character_set_results = utf8mb4
SET character_set_client = latin1
SET character_set_connection = utf8mb3
SET collation_connection = 'latin1_german1_ci'
SET sql_notes = 0
SET sql_notes = 1
SET @a = {i}
SET @a = -7, @b = NULL
SET nosuch_variable = 1
SET sql_mode = 'NOSUCH_MODE'
SET time_zone = 'Nowhere/Land'
SET sql_select_limit = 1, nosuch_variable = 2
SET @@global.sql_safe_updates = 0
SET STATEMENT sql_select_limit = 1 FOR SELECT id FROM {p}_b ORDER BY id
SET STATEMENT max_statement_time = 20 FOR SELECT 1
""")

VARIABLES = _lines("""\
SET @a = {s}
SET @a = {i}, time_zone = '+01:00', @b = 2
SET @b := 'text', @c = @a + 1
SET @d = (SELECT MAX(id) FROM {p}_a)
SET @a = 1.5
SELECT @a := {i}
SELECT @c := COUNT(*) FROM {p}_a
SELECT {i}, 'into' INTO @a, @b
SELECT MAX(id) FROM {p}_a INTO @d
CALL {p}_set({i})
CALL {p}_insert('called')
CALL nosuch_procedure()
INSERT INTO {p}_t (v) VALUES ('traced')
SELECT {p}_add({i})
SELECT {p}_leak({i})
CALL {p}_rows({i})
INSERT INTO {p}_t (v) VALUES ('again')
SET @b = CONCAT('a', {i})
SET timestamp = 1000000000
SELECT UNIX_TIMESTAMP() = 1000000000, YEAR(NOW())
SET timestamp = DEFAULT
SET insert_id = 77
SET last_insert_id = 7
SET @@identity = 8
""")

TEMPORARY = _lines("""\
CREATE TEMPORARY TABLE {p}_tmp (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(10))
CREATE TEMPORARY TABLE IF NOT EXISTS {p}_tmp (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(10))
CREATE TEMPORARY TABLE {p}_tmp SELECT id, v FROM {p}_b
CREATE TEMPORARY TABLE {p}_b (id INT PRIMARY KEY, v VARCHAR(30) DEFAULT 'shadow')
INSERT INTO {p}_tmp (v) VALUES ('t1'), ('t2')
SELECT * FROM {p}_tmp ORDER BY id
SELECT COUNT(*) FROM {p}_tmp JOIN {p}_a USING (id)
DROP TEMPORARY TABLE IF EXISTS {p}_tmp
DROP TEMPORARY TABLE {p}_b
SELECT GET_LOCK('{p}', 0)
SELECT RELEASE_LOCK('{p}')
SELECT IS_FREE_LOCK('{p}')
SELECT RELEASE_ALL_LOCKS()
LOCK TABLES {p}_a WRITE, {p}_b READ
LOCK TABLES {p}_a READ
UNLOCK TABLES
HANDLER {p}_a OPEN
HANDLER {p}_a READ FIRST
HANDLER {p}_a CLOSE
PREPARE {p}_s FROM 'SELECT id, ? FROM {p}_a ORDER BY id LIMIT 2'
EXECUTE {p}_s USING @a
DEALLOCATE PREPARE {p}_s
EXECUTE IMMEDIATE 'SELECT COUNT(*) FROM {p}_a WHERE id < ?' USING 3
EXECUTE IMMEDIATE 'UPDATE {p}_b SET v = ? WHERE id = ?' USING 'now', 1
EXECUTE IMMEDIATE 'SELECT nothing FROM {p}_a'
PREPARE {p}_b FROM 'BEGIN'
EXECUTE {p}_b
""")

TRANSACTIONS = _lines("""\
BEGIN
BEGIN WORK
START TRANSACTION
START TRANSACTION READ ONLY
START TRANSACTION READ WRITE
COMMIT
COMMIT
COMMIT WORK
ROLLBACK
ROLLBACK
COMMIT AND CHAIN
ROLLBACK AND CHAIN
COMMIT AND NO CHAIN NO RELEASE
SAVEPOINT sp1
SAVEPOINT sp2
SAVEPOINT SP1
ROLLBACK TO sp1
ROLLBACK TO SAVEPOINT sp2
ROLLBACK WORK TO sp1
RELEASE SAVEPOINT sp1
RELEASE SAVEPOINT sp2
SET autocommit = 0
SET autocommit = 1
SET autocommit = ON
SET SESSION autocommit = OFF
SET @@autocommit = 1
SET autocommit = 0, sql_safe_updates = 0
SELECT @@autocommit, @@in_transaction
""")

DDL = _lines("""\
CREATE TABLE {p}_x (id INT PRIMARY KEY, v INT)
CREATE TABLE IF NOT EXISTS {p}_x (id INT PRIMARY KEY)
INSERT INTO {p}_x (id) VALUES ({i})
SELECT * FROM {p}_x ORDER BY id
ALTER TABLE {p}_x ADD COLUMN extra INT
DROP TABLE {p}_x
DROP TABLE IF EXISTS {p}_x
TRUNCATE TABLE {p}_b
ALTER TABLE {p}_a ADD COLUMN extra INT DEFAULT 5
ALTER TABLE {p}_a DROP COLUMN extra
CREATE TABLE {p}_y SELECT id, v FROM {p}_b
RENAME TABLE {p}_y TO {p}_z
DROP TABLE {p}_z
CREATE OR REPLACE VIEW {p}_v AS SELECT id FROM {p}_a
SELECT COUNT(*) FROM {p}_v
ANALYZE TABLE {p}_b
""")

ERRORS = _lines("""\
SELEC 1
SELECT 'unterminated
SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'mine', MYSQL_ERRNO = 4567
SELECT * FROM {p}_nosuch
SELECT nosuch FROM {p}_a
INSERT INTO {p}_b VALUES (1)
INSERT INTO {p}_b (id, v) VALUES (1, 'dup'), (1, 'dup')
INSERT INTO {p}_a (id, k) VALUES (1, 1)
SELECT * FROM nosuch_db.t
SELECT CAST('12abc' AS SIGNED), 1/0
SELECT CAST('x' AS DATE), INET_ATON('bad')
INSERT INTO {p}_a (n) VALUES (1/0)
SELECT (SELECT id FROM {p}_a)
UPDATE {p}_b SET v = NULL
USE nosuch_db
EXECUTE nosuch_statement
""")

USES = ("USE shop", "USE attic", "USE `shop`", "use attic;", "SELECT DATABASE()")

PREPARED = _lines("""\
SELECT * FROM {p}_a WHERE id = ?
SELECT id, ?, v FROM {p}_a WHERE id > ? ORDER BY id
INSERT INTO {p}_a (v, n) VALUES (?, ?)
INSERT INTO {p}_a (k, v) VALUES (?, ?) ON DUPLICATE KEY UPDATE n = n + 1
UPDATE {p}_a SET n = n + ? WHERE id <= ?
DELETE FROM {p}_b WHERE id = ? AND v <> ?
REPLACE INTO {p}_b (id, v) VALUES (?, ?)
SELECT ?, @@sql_mode, DATABASE(), ?
SELECT LAST_INSERT_ID(), ?, ?
SELECT ? FROM {p}_nosuch
SELECT ?, @a, ?
""")

THEMES = {
    "reads": Theme(26, READS),
    "state": Theme(24, STATE),
    "found": Theme(6, COUNTED),
    "affected": Theme(6, WRITES),
    "conditions": Theme(6, CONDITIONS),
    "writes": Theme(22, WRITES),
    "sets": Theme(16, SETS),
    "variables": Theme(6, VARIABLES),
    "temporary": Theme(8, TEMPORARY),
    "transactions": Theme(16, TRANSACTIONS),
    "ddl": Theme(4, DDL),
    "errors": Theme(7, ERRORS),
    "uses": Theme(5, USES),
}
# What is asked right after a statement of these themes.
FOLLOW_UPS = {"found": FOUND, "conditions": DIAGNOSTICS, "affected": AFFECTED}


def fill(template: str, prefix: str, rng: random.Random) -> str:
    """The statement, with numbers and strings drawn from `rng`."""
    out = template.replace("{p}", prefix)
    while "{i}" in out:
        out = out.replace("{i}", str(rng.randrange(1, 10)), 1)
    while "{s}" in out:
        out = out.replace("{s}", rng.choice(STRINGS), 1)
    return out
