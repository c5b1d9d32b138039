"""The planner's promise about the cache, tried on a real server: when a write changes a read's answer, its marks are
among the read's slots.

Every write runs in a transaction; every read that the planner calls cacheable is asked before it and inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
from pymysql.connections import Connection

from proxy.back.catalog import Catalog
from proxy.plan.plan import Refuse
from proxy.rules.loader import parse as parse_rules
from proxy.rules.model import Rules
from tests.cache.planned import HEAD, catalog_of, connect, planned, server_with
from tests.servers import MariaDB, Run

RULES = f"""\
{HEAD}databases:
  shop:
    home: main
    tables:
      users: {{cache: [{{by: [id]}}, {{by: [email]}}, {{by: [team]}}]}}
      posts: {{cache: [{{by: [id]}}, {{by: [user_id]}}]}}
      comments: {{cache: {{by: [post_id]}}}}
      likes: {{cache: {{by: [comment_id]}}}}
      settings: {{cache: [{{by: [user_id, name]}}, {{by: [name]}}]}}
      counters: {{cache: {{by: [id]}}}}
      tree: {{cache: [{{by: [id]}}, {{by: [parent]}}]}}
      audited: {{cache: {{by: [id]}}}}
      audit: {{cache: {{by: [what]}}}}
      exact: {{cache: [{{by: [word]}}, {{by: [fixed]}}, {{by: [raw]}}]}}
      small: {{cache: [{{by: [n]}}, {{by: [d]}}]}}
      odd: {{cache: [{{by: [a]}}]}}
      marked: {{cache: [{{by: [id]}}, {{by: [state]}}]}}
"""

SCHEMA = """\
CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(20) NOT NULL UNIQUE, team INT, n INT DEFAULT 0);
CREATE TABLE posts (id INT AUTO_INCREMENT PRIMARY KEY, user_id INT NULL, n INT DEFAULT 0,
  FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE comments (id INT AUTO_INCREMENT PRIMARY KEY, post_id INT NULL, n INT DEFAULT 0,
  FOREIGN KEY (post_id) REFERENCES posts (id) ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE likes (id INT AUTO_INCREMENT PRIMARY KEY, comment_id INT,
  FOREIGN KEY (comment_id) REFERENCES comments (id) ON DELETE CASCADE);
CREATE TABLE settings (user_id INT, name VARCHAR(20), value VARCHAR(20), PRIMARY KEY (user_id, name));
CREATE TABLE counters (id INT PRIMARY KEY, n INT DEFAULT 0);
CREATE TABLE tree (id INT PRIMARY KEY, parent INT, n INT DEFAULT 0,
  FOREIGN KEY (parent) REFERENCES tree (id) ON DELETE CASCADE);
CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, what INT);
CREATE TABLE audited (id INT PRIMARY KEY, n INT);
CREATE TRIGGER audited_insert AFTER INSERT ON audited FOR EACH ROW INSERT INTO audit (what) VALUES (NEW.id);
CREATE TRIGGER audited_update BEFORE UPDATE ON audited FOR EACH ROW SET NEW.id = NEW.id + 1;
CREATE TABLE exact (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(10) COLLATE utf8mb4_bin,
  fixed CHAR(6) COLLATE utf8mb4_general_nopad_ci, raw VARBINARY(10));
CREATE TABLE small (n TINYINT UNSIGNED NOT NULL, d DATE NULL, v INT DEFAULT 0, KEY (n));
CREATE TABLE odd (a INT DEFAULT 7, b INT DEFAULT 0, c INT INVISIBLE DEFAULT 5, UNIQUE (b));
CREATE TABLE marked (id INT AUTO_INCREMENT PRIMARY KEY, state VARCHAR(10) NOT NULL DEFAULT 'new',
  changed TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, twice INT AS (CHAR_LENGTH(state)) STORED, UNIQUE (state, id));
CREATE TABLE plain (id INT PRIMARY KEY, n INT);
CREATE VIEW some_users AS SELECT * FROM users WHERE team = 1;
CREATE VIEW user_posts AS SELECT p.id, p.n, u.email, u.n AS un FROM posts p JOIN users u ON u.id = p.user_id;
CREATE FUNCTION poke(k INT) RETURNS INT DETERMINISTIC BEGIN UPDATE counters SET n = n + 1 WHERE id = k; RETURN k; END;
CREATE PROCEDURE poke_all() UPDATE counters SET n = n + 1;
CREATE VIEW poking AS SELECT poke(1) AS k;
CREATE VIEW poking_deeper AS SELECT * FROM poking;
INSERT INTO users VALUES (1, 'Ann', 1, 0), (2, 'bob', 1, 0), (3, 'cy', 2, 0), (5, 'dée', NULL, 0), (7, 'eve ', 3, 0);
INSERT INTO posts VALUES (1, 1, 0), (2, 1, 0), (3, 2, 0), (4, NULL, 0);
INSERT INTO comments VALUES (1, 1, 0), (2, 2, 0), (3, 3, 0), (4, NULL, 0);
INSERT INTO likes VALUES (1, 1), (2, 2), (3, 3), (4, 4);
INSERT INTO settings VALUES (1, 'colour', 'red'), (1, 'size', 'l'), (2, 'colour', 'blue'), (2, 'café', 'yes');
INSERT INTO counters VALUES (0, 0), (1, 0), (2, 0), (3, 0);
INSERT INTO tree VALUES (1, NULL, 0), (2, 1, 0), (3, 2, 0), (4, 3, 0);
INSERT INTO audited VALUES (1, 0), (2, 0);
INSERT INTO exact (word, fixed, raw) VALUES ('a', 'a', 'a'), ('A', 'A', 'A'), ('a ', 'a ', 'a '), ('é', 'é', 'é'),
  ('', '', '');
INSERT INTO small VALUES (0, NULL, 0), (1, '2024-02-29', 0), (2, '2024-03-01', 0), (255, '0001-01-01', 0);
INSERT INTO odd (a, b) VALUES (1, 1), (7, 2), (NULL, 3), (0, 4);
INSERT INTO marked (id, state) VALUES (1, 'new'), (2, 'new'), (3, 'old');
INSERT INTO plain VALUES (1, 0), (2, 0)
"""

READS = [
    *(f"SELECT * FROM users WHERE id = {k}" for k in ("1", "2", "3", "4", "5", "7", "8", "'1'", "-0", "'7'", "0")),
    "SELECT n FROM users WHERE id IN (1, 2, 3)",
    "SELECT * FROM users WHERE id = 1 OR id = 3",
    "SELECT * FROM users WHERE id <=> 1",
    "SELECT COUNT(*) FROM users WHERE team = 1",
    "SELECT MAX(n) FROM users WHERE team = 1 AND n > 0",
    "SELECT * FROM users WHERE team IN (1, 2) ORDER BY id DESC LIMIT 2",
    "SELECT * FROM users WHERE team = 3",
    "SELECT * FROM users WHERE NOT team = 1",
    "SELECT * FROM users WHERE team = 1 OR id = 3",
    "SELECT * FROM users WHERE team = 1 XOR id = 3",
    "SELECT * FROM users WHERE (team, id) IN ((1, 1), (2, 3))",
    "SELECT * FROM users WHERE (team, id) = (1, 2)",
    "SELECT team, COUNT(*) FROM users WHERE team = 1 GROUP BY team WITH ROLLUP",
    "SELECT team FROM users WHERE team = 1 HAVING team = 1",
    "SELECT team FROM users HAVING team = 1",
    "SELECT IF(team = 1, 1, 0) FROM users",
    "SELECT * FROM users WHERE team = 1 IS NULL",
    "SELECT * FROM users WHERE (team = 1) = 0",
    "SELECT * FROM users WHERE team = 1 = 0",
    "SELECT * FROM users WHERE team = TRUE",
    "SELECT * FROM users WHERE team = NULL",
    "SELECT * FROM users WHERE team <=> NULL",
    "SELECT * FROM users WHERE team BETWEEN 1 AND 1",
    *(
        f"SELECT * FROM users WHERE email = {k}"
        for k in ("'ann'", "'ANN '", "'dee'", "'dée'", "'eve'", "'bob'", "0", "'new'", "''")
    ),
    "SELECT * FROM users WHERE email = 'ann' COLLATE utf8mb4_bin",
    "SELECT * FROM users WHERE BINARY email = 'ann'",
    "SELECT * FROM users WHERE email LIKE 'ann'",
    "SELECT SUM(n) OVER () FROM users WHERE team = 1",
    *(f"SELECT * FROM posts WHERE user_id = {k}" for k in ("1", "2", "3", "9", "8")),
    *(f"SELECT * FROM posts WHERE id = {k}" for k in ("1", "2", "3", "4", "9", "5")),
    *(f"SELECT * FROM comments WHERE post_id = {k}" for k in ("1", "2", "3", "9", "11")),
    *(f"SELECT * FROM likes WHERE comment_id = {k}" for k in ("1", "2", "3", "4")),
    *(
        f"SELECT * FROM settings WHERE user_id = {u} AND name = '{n}'"
        for u in (1, 2, 3)
        for n in ("colour", "SIZE", "x")
    ),
    *(f"SELECT * FROM settings WHERE name = '{n}'" for n in ("colour", "size", "x", "cafe", "café")),
    *(f"SELECT * FROM counters WHERE id = {k}" for k in ("0", "1", "2", "3", "4", "'1'", "10")),
    *(f"SELECT * FROM tree WHERE id = {k}" for k in ("1", "2", "3", "4")),
    *(f"SELECT * FROM tree WHERE parent = {k}" for k in ("1", "2", "3")),
    *(f"SELECT * FROM audited WHERE id = {k}" for k in ("1", "2", "3", "9")),
    *(f"SELECT * FROM audit WHERE what = {k}" for k in ("1", "2", "9")),
    *(
        f"SELECT * FROM exact WHERE {c} = '{k}'"
        for c in ("word", "fixed", "raw")
        for k in ("a", "A", "a ", "é", "", "B", "1")
    ),
    *(f"SELECT * FROM small WHERE n = {k}" for k in ("0", "1", "2", "255", "'1'", "256", "5")),
    *(f"SELECT * FROM small WHERE d = '{k}'" for k in ("2024-02-29", "2024-03-01", "0001-01-01", "20240301", "24-3-1")),
    *(f"SELECT * FROM odd WHERE a = {k}" for k in ("0", "1", "7", "8", "5")),
    "SELECT a, b, c FROM odd WHERE a = 7",
    *(f"SELECT id, state, twice FROM marked WHERE id = {k}" for k in ("1", "2", "3", "4", "5")),
    *(f"SELECT id, state FROM marked WHERE state = '{k}'" for k in ("new", "NEW", "old", "x")),
    "SELECT * FROM users AS u WHERE u.id = 1",
    "SELECT * FROM shop.users WHERE shop.users.id = 1",
    "SELECT * FROM users WHERE users.id = 1 AND id = 2",
    "SELECT DISTINCT team FROM users WHERE team = 1",
    "SELECT * FROM users FORCE INDEX (PRIMARY) WHERE id = 1",
    "SELECT 1 FROM users WHERE id = 1",
    "SELECT * FROM users WHERE id = 1 + 0",
    "SELECT * FROM users WHERE 1 = id",
    "SELECT * FROM users WHERE id = 1 LIMIT 0",
    "(SELECT * FROM users WHERE id = 1)",
    "SELECT * FROM users WHERE id = 1.0",
    "SELECT * FROM users WHERE id = 1e0",
    "SELECT * FROM users WHERE id = 0x1",
    "SELECT * FROM users WHERE id = x'31'",
    "SELECT * FROM users WHERE id = '1a'",
    "SELECT * FROM users WHERE id = ' 1'",
    "SELECT * FROM users WHERE email = _latin1'ann'",
    "SELECT * FROM users WHERE email = n'ann'",
    "SELECT * FROM users WHERE email = 'an' 'n'",
    "SELECT * FROM users WHERE id = 1 AND team = 1 AND email = 'ann'",
]

WRITES = [
    "INSERT INTO users (email, team) VALUES ('new', 1)",
    "INSERT INTO users (email, team) VALUES ('new', 1), ('newer', 2)",
    "INSERT INTO users VALUES (8, 'new', 3, 0)",
    "INSERT INTO users VALUES (NULL, 'new', 3, 0)",
    "INSERT INTO users VALUES (0, 'new', 3, 0)",
    "INSERT INTO users VALUES ('0', 'new', 3, 0)",
    "INSERT INTO users VALUES ('', 'new', 3, 0)",
    "INSERT INTO users VALUES (DEFAULT, 'new', '1', 0)",
    "INSERT INTO users VALUES ('8', 'new', 3.2, 0)",
    "INSERT INTO users VALUES (7 + 1, CONCAT('n', 'ew'), 3, 0)",
    "INSERT INTO users VALUES (-1, 'new', TRUE, 0)",
    "INSERT INTO users (id, email) VALUES (8, 'new') ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO users (id, email) VALUES (1, 'new') ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO users (id, email) VALUES (8, 'ANN') ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO users (id, email) VALUES (8, 'ann ') ON DUPLICATE KEY UPDATE id = 8",
    "INSERT INTO users (id, email) VALUES (1, 'x') ON DUPLICATE KEY UPDATE email = VALUES(email), team = 3",
    "INSERT IGNORE INTO users (id, email) VALUES (1, 'x'), (8, 'y')",
    "INSERT INTO users (email) SELECT CONCAT(email, '2') FROM users WHERE id = 1",
    "INSERT INTO users SET id = 8, email = 'new', team = 1",
    "INSERT INTO users (email) VALUES ('1234567890123456789012345')",
    "INSERT INTO users (email, team) VALUES ('new', NULL)",
    "INSERT INTO users (team) VALUES (1)",
    "INSERT INTO users (email, team) VALUES ('x', '1abc')",
    "REPLACE INTO users (id, email) VALUES (8, 'ann')",
    "REPLACE INTO users (id, email, team) VALUES (1, 'bob', 3)",
    "REPLACE INTO users SET email = 'ann'",
    "REPLACE INTO users SELECT id + 1, email, team, n FROM users WHERE id = 3",
    "UPDATE users SET n = 5 WHERE id = 1",
    "UPDATE users SET n = 5 WHERE id = '1'",
    "UPDATE users SET n = 5 WHERE id = 1.0",
    "UPDATE users SET n = 5 WHERE id = '1a'",
    "UPDATE users SET n = 5 WHERE id IN (1, 3)",
    "UPDATE users SET n = 5 WHERE id IN (1, NULL)",
    "UPDATE users SET n = 5 WHERE email = 'dee'",
    "UPDATE users SET n = 5 WHERE email = 'dée'",
    "UPDATE users SET n = 5 WHERE email = 0",
    "UPDATE users SET n = 5 WHERE team = 1 ORDER BY id LIMIT 1",
    "UPDATE users SET n = 5 WHERE team <=> NULL",
    "UPDATE users SET n = 5 WHERE team IS NULL",
    "UPDATE users SET n = 5 WHERE id = 1 OR team = 2",
    "UPDATE users SET n = 5 WHERE NOT id = 1",
    "UPDATE users SET n = 5 WHERE id = 1 XOR team = 1",
    "UPDATE users SET team = 3 WHERE id = 1",
    "UPDATE users SET team = 3 WHERE team = 1",
    "UPDATE users SET team = team WHERE team = 1",
    "UPDATE users SET id = 9 WHERE id = 1",
    "UPDATE users SET id = id + 10 ORDER BY id DESC",
    "UPDATE users SET email = UPPER(email) WHERE id = 1",
    "UPDATE users SET n = 5",
    "UPDATE users u SET u.n = 5 WHERE u.id = 1",
    "UPDATE users u SET u.id = 9 WHERE u.id = 1",
    "UPDATE shop.users SET shop.users.n = 5 WHERE shop.users.id = 2",
    "UPDATE users, posts SET users.n = 5, posts.n = 6 WHERE posts.user_id = users.id AND users.id = 1",
    "UPDATE users JOIN posts ON posts.user_id = users.id SET posts.n = 6 WHERE users.id = 1",
    "UPDATE users JOIN posts ON posts.user_id = users.id SET users.n = 6 WHERE posts.id = 1",
    "UPDATE users a JOIN users b ON b.team = a.team SET b.n = 6 WHERE a.id = 1",
    "UPDATE users a JOIN users b ON b.team = a.team SET a.n = 6, b.n = 7 WHERE a.id = 1",
    "UPDATE users a LEFT JOIN users b ON b.id = 2 SET a.n = 6 WHERE a.team = 2",
    "UPDATE users a LEFT JOIN users b ON a.id = 2 SET a.n = 6",
    "UPDATE posts p RIGHT JOIN users u ON u.id = 1 SET u.n = 6",
    "UPDATE users LEFT JOIN plain ON plain.id = users.id SET n = 6 WHERE users.id = 1",
    "UPDATE posts SET user_id = 2 WHERE user_id = 1",
    "UPDATE posts SET id = 9 WHERE id = 1",
    "UPDATE posts SET id = 9 WHERE user_id = 2",
    "UPDATE users SET n = (SELECT COUNT(*) FROM posts) WHERE id = 1",
    "UPDATE users SET n = 5 WHERE id = (SELECT user_id FROM posts WHERE id = 3)",
    "UPDATE users SET n = 5 WHERE id IN (SELECT user_id FROM posts)",
    "UPDATE users SET n = 5 WHERE team = 1 AND id IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)",
    "DELETE FROM users WHERE id = 1",
    "DELETE FROM users WHERE email = 'bob'",
    "DELETE FROM users WHERE id = 1 OR 1 = 1",
    "DELETE FROM users",
    "DELETE FROM users WHERE team = 1 ORDER BY id LIMIT 1",
    "DELETE u FROM users u JOIN posts p ON p.user_id = u.id WHERE p.id = 3",
    "DELETE u, p FROM users u JOIN posts p ON p.user_id = u.id WHERE u.id = 1",
    "DELETE FROM p USING posts p JOIN users u ON u.id = p.user_id WHERE u.id = 1",
    "DELETE a FROM users a JOIN users b ON a.team = b.team WHERE b.id = 1",
    "DELETE FROM users WHERE id = 1 RETURNING *",
    "INSERT INTO users (email, team) VALUES ('new', 1) RETURNING id",
    "DELETE FROM posts WHERE id = 1",
    "DELETE FROM posts WHERE user_id = 1",
    "DELETE FROM comments WHERE id = 4",
    "DELETE FROM tree WHERE id = 1",
    "DELETE FROM tree WHERE id = 2",
    "UPDATE some_users SET n = 5",
    "UPDATE user_posts SET n = 5 WHERE id = 1",
    "UPDATE user_posts SET un = 5 WHERE id = 1",
    "DELETE FROM some_users",
    "INSERT INTO some_users (email, team) VALUES ('new', 1)",
    "INSERT INTO settings VALUES (1, 'x', 'y')",
    "INSERT INTO settings VALUES (1, 'COLOUR ', 'y') ON DUPLICATE KEY UPDATE value = 'z'",
    "INSERT INTO settings VALUES (2, 'cafe', 'y') ON DUPLICATE KEY UPDATE value = 'z'",
    "INSERT INTO settings VALUES (2, 'cafe', 'y') ON DUPLICATE KEY UPDATE name = 'x'",
    "REPLACE INTO settings VALUES (2, 'cafe', 'z')",
    "REPLACE INTO settings VALUES (1, 'colour', 'z'), (3, 'x', 'y')",
    "UPDATE settings SET value = 'z' WHERE user_id = 1 AND name = 'colour'",
    "UPDATE settings SET value = 'z' WHERE name = 'cafe'",
    "UPDATE settings SET value = 'z' WHERE (user_id, name) IN ((1, 'colour'), (2, 'cafe'))",
    "UPDATE settings SET user_id = 3 WHERE name = 'colour' AND user_id = 2",
    "DELETE FROM settings WHERE user_id = 1",
    "INSERT INTO counters VALUES (1, 1) ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO counters VALUES (1, 1) ON DUPLICATE KEY UPDATE id = 10",
    "INSERT INTO counters VALUES ('1', 1) ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO counters VALUES (1.4, 1) ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO counters VALUES ('1.4', 1) ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO counters VALUES (NULL, 1) ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO counters VALUES (4, 1), (NULL, 2) ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO counters (n) VALUES (1) ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO counters VALUES () ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO counters VALUES (DEFAULT, 4) ON DUPLICATE KEY UPDATE n = n + 1",
    "INSERT INTO counters VALUES (2, 1), (1, 4) ON DUPLICATE KEY UPDATE counters.n = 4",
    "REPLACE INTO counters VALUES (1, 5)",
    "REPLACE INTO counters VALUES (99999999999, 5)",
    "INSERT IGNORE INTO counters VALUES ('abc', 5)",
    "INSERT INTO audited VALUES (9, 1)",
    "UPDATE audited SET n = 5 WHERE id = 2",
    "DELETE FROM audited WHERE id = 2",
    "INSERT INTO exact (word, fixed, raw) VALUES ('B', 'B', 'B')",
    "INSERT INTO exact (word, fixed, raw) VALUES ('a  ', 'a  ', 'a  ')",
    "INSERT INTO exact (word, fixed, raw) VALUES (1, 1, 1)",
    "INSERT INTO exact (word, fixed, raw) VALUES ('ã', 'ã', 'ã')",
    "INSERT INTO exact (word, fixed, raw) VALUES ('a           b', 'a', 'a           ')",
    "INSERT INTO exact (word, fixed, raw) VALUES (x'61', 0x61, b'1100001')",
    "UPDATE exact SET id = id + 100 WHERE word = 'a'",
    "UPDATE exact SET id = id + 100 WHERE fixed = 'a'",
    "UPDATE exact SET id = id + 100 WHERE raw = 'a'",
    "UPDATE exact SET id = id + 100 WHERE word = 'A' COLLATE utf8mb4_general_ci",
    "UPDATE exact SET id = id + 100 WHERE raw = 'A' COLLATE utf8mb4_general_ci",
    "UPDATE exact SET id = id + 100 WHERE raw = 1",
    "DELETE FROM exact WHERE word = ''",
    "INSERT INTO small VALUES (5, '2024-03-01', 0)",
    "INSERT INTO small VALUES (300, '2024-02-30', 0)",
    "INSERT INTO small VALUES (-1, '24-03-01', 0)",
    "INSERT INTO small VALUES ('5 ', 20240301, 0)",
    "INSERT INTO small VALUES (1.5, '2024-03-01 10:00:00', 0)",
    "INSERT INTO small (d) VALUES ('2024-03-01')",
    "UPDATE small SET v = 5 WHERE n = 1",
    "UPDATE small SET v = 5 WHERE d = '2024-3-1'",
    "UPDATE small SET v = 5 WHERE d = 20240301",
    "UPDATE small SET v = 5 WHERE d = '2024-03-01'",
    "UPDATE small SET v = 5 WHERE d = '2024-03-01 00:00:00'",
    "UPDATE small SET v = 5 WHERE n = 255 AND v = 0",
    "INSERT INTO odd VALUES (8, 9)",
    "INSERT INTO odd () VALUES ()",
    "INSERT INTO odd (b) VALUES (9)",
    "INSERT INTO odd (b, a) VALUES (9, b - 1)",
    "INSERT INTO odd (b, a, c) VALUES (9, 8, 1), (10, DEFAULT, 2)",
    "INSERT INTO odd (a, b) VALUES (DEFAULT(a), 9)",
    "INSERT INTO odd VALUES (NULL, 9), (8, 10)",
    "REPLACE INTO odd (a, b) VALUES (8, 1)",
    "INSERT INTO odd (a, b) VALUES (8, 1) ON DUPLICATE KEY UPDATE c = 6",
    "UPDATE odd SET c = 9 WHERE a = 7",
    "UPDATE odd SET c = 9 WHERE a = 7 OR a = 1",
    "UPDATE marked SET state = 'x' WHERE id = 1",
    "UPDATE marked SET id = 5 WHERE id = 1",
    "UPDATE marked SET state = 'x' WHERE state = 'new' LIMIT 1",
    "INSERT INTO marked (id) VALUES (4)",
    "INSERT INTO marked () VALUES ()",
    "INSERT INTO marked (state) VALUES (DEFAULT)",
    "WITH RECURSIVE r AS (SELECT 1 AS n) SELECT * FROM r",
    "SELECT poke(1)",
    "SELECT SQL_NO_CACHE poke(id) FROM plain",
    "SELECT HIGH_PRIORITY poke(id) FROM plain WHERE id = 1",
    "SELECT `poke`(1)",
    "SELECT shop.poke(1)",
    "SELECT * FROM poking",
    "SELECT * FROM poking_deeper",
    "INSERT INTO plain SELECT k + 10, 1 FROM poking",
    "INSERT INTO plain VALUES (poke(1) + 10, 1)",
    "UPDATE plain SET n = 1 WHERE id IN (SELECT k FROM poking)",
    "DO poke(1)",
    "SET @x = poke(1)",
    "CALL poke_all()",
    "BEGIN NOT ATOMIC UPDATE counters SET n = 9; END",
    "EXECUTE IMMEDIATE 'UPDATE counters SET n = 9'",
    "SET STATEMENT max_statement_time = 10 FOR UPDATE counters SET n = 9",
    "ANALYZE UPDATE counters SET n = 9",
    "ANALYZE FORMAT=JSON DELETE FROM counters",
    "EXPLAIN UPDATE counters SET n = 9",
    "HANDLER counters OPEN",
    "EXPLAIN SELECT * FROM users WHERE id = poke(1)",
    "EXPLAIN EXTENDED SELECT * FROM poking",
    "SHOW TABLES WHERE poke(1)",
    "SHOW STATUS WHERE poke(1) AND Variable_name = 'x'",
    "VALUES (poke(1))",
    "TABLE poking",
    "WITH x AS (SELECT poke(1) AS k) SELECT * FROM x",
    "SELECT 1 UNION SELECT poke(1)",
    "SELECT * FROM plain ORDER BY poke(1)",
    "SELECT poke(1) INTO @x",
    "INSERT INTO plain VALUES (11, 1) RETURNING poke(1)",
    "SET @y = (SELECT k FROM poking)",
    "SET max_join_size = poke(1) + 1000000",
    "SET @z = 1, @x = poke(1)",
    "SET NAMES utf8mb4, @x = poke(1)",
    "IF 1 THEN UPDATE counters SET n = 9; END IF",
]

MODES = ("STRICT_TRANS_TABLES", "", "NO_AUTO_VALUE_ON_ZERO,PAD_CHAR_TO_FULL_LENGTH,NO_ZERO_DATE")


@pytest.fixture(scope="module")
def server(run: Run) -> MariaDB:
    return server_with(run, "marks", SCHEMA)


@pytest.fixture(scope="module")
def catalog(server: MariaDB) -> Catalog:
    return catalog_of(server)


@pytest.fixture(scope="module")
def rules() -> Rules:
    return parse_rules(RULES, Path("rules.yaml"))


@dataclass
class Read:
    sql: str
    slots: frozenset[int]


@pytest.fixture(scope="module")
def reads(rules: Rules, catalog: Catalog) -> list[Read]:
    found = []
    for sql in READS:
        made, values = planned(sql, rules, catalog)
        slots = made.cached.slots(values) if made.cached is not None else None
        if slots is not None:
            found.append(Read(sql, frozenset(slots)))
    return found


def answers(connection: Connection, reads: list[Read]) -> list[object]:
    found: list[object] = []
    with connection.cursor() as cursor:
        for read in reads:
            cursor.execute(read.sql)
            found.append(cursor.fetchall())
    return found


@pytest.fixture
def client(server: MariaDB) -> Iterator[Connection]:
    connection = connect(server)
    yield connection
    connection.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_write_marks_every_read_whose_answer_it_changes(
    client: Connection, rules: Rules, catalog: Catalog, reads: list[Read], mode: str
) -> None:
    assert len(reads) > 100
    cursor = client.cursor()
    cursor.execute("SET sql_mode = %s", (mode,))
    before = answers(client, reads)
    wrong = []
    changing = 0
    for sql in WRITES:
        made, values = planned(sql, rules, catalog)
        cursor.execute("BEGIN")
        insert_id, failed = 0, False
        try:
            cursor.execute(sql)
            insert_id = client.insert_id() if cursor.description is None else 0
            cursor.fetchall()
        except pymysql.MySQLError:
            failed = True
        after = answers(client, reads)
        cursor.execute("ROLLBACK")
        changed = [read for read, old, new in zip(reads, before, after) if old != new]
        changing += bool(changed)
        assert not (failed and changed), sql
        if isinstance(made, Refuse):
            continue
        marks = set(made.marks.slots(values)) if made.marks is not None else set()
        if made.marks is not None and made.marks.generating:
            marks.update(made.marks.generated(insert_id))
        wrong += [(sql, read.sql) for read in changed if not read.slots & marks]
    assert not wrong, "\n".join(f"{write}   is not seen by   {read}" for write, read in wrong)
    assert changing > 100
    assert answers(client, reads) == before


def test_a_table_that_follows_one_of_a_database_without_cached_tables_is_not_cached(
    server: MariaDB, client: Connection, rules: Rules
) -> None:
    """Cascades are not in the binary log, and nobody there knows of that foreign key."""
    server.execute("CREATE DATABASE other", "CREATE TABLE other.leaders (id INT PRIMARY KEY, UNIQUE (id))")
    sql, further = "SELECT * FROM counters WHERE id = 1", "SELECT * FROM likes WHERE comment_id = 1"
    for read in (sql, further):
        assert planned(read, rules, catalog_of(server))[0].cached is not None
    cursor = client.cursor()
    cursor.execute("SET foreign_key_checks = 0")
    cursor.execute(
        "ALTER TABLE counters ADD CONSTRAINT c FOREIGN KEY (id) REFERENCES other.leaders (id) ON DELETE CASCADE"
    )
    # Two steps away: users -> posts -> comments -> likes.
    cursor.execute(
        "ALTER TABLE users ADD CONSTRAINT u FOREIGN KEY (id) REFERENCES other.leaders (id) ON DELETE CASCADE"
    )
    try:
        for read in (sql, further):
            made = planned(read, rules, catalog_of(server))[0]
            assert made.cached is None
            assert "follow those of other.leaders" in made.uncached
        restricted = "SELECT * FROM settings WHERE name = 'size'"
        assert planned(restricted, rules, catalog_of(server))[0].cached is not None
    finally:
        cursor.execute("ALTER TABLE counters DROP FOREIGN KEY c")
        cursor.execute("ALTER TABLE users DROP FOREIGN KEY u")
        server.execute("DROP DATABASE other")
