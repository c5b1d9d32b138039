"""Sessions over two clusters, statement by statement the same as on one server that has all the tables."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest

from tests.front import two_clusters
from tests.front.raw import Answer, Client
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE
from tests.sizes import seed, size

pytestmark = pytest.mark.servers
SEED = seed()
ROUNDS = size("TURNOUT_ROUNDS", 30, 100)
STATEMENTS = 40
TABLES = {**two_clusters.TABLES, "mirror": ("items", "photos", "spread")}
NOT_LOCKED = 1100  # a server lets nobody use a table that LOCK TABLES does not name; on another cluster it is not asked
REFUSED = 1235
LOCK_ALL = "FLUSH TABLES WITH READ LOCK"
TEMPLATES = """\
BEGIN
START TRANSACTION
START TRANSACTION READ WRITE
START TRANSACTION WITH CONSISTENT SNAPSHOT
COMMIT
ROLLBACK
COMMIT AND CHAIN
ROLLBACK AND CHAIN
SAVEPOINT a
SAVEPOINT b
RELEASE SAVEPOINT a
ROLLBACK TO SAVEPOINT a
ROLLBACK TO b
SET autocommit=0
SET autocommit=1
SET autocommit=1
INSERT INTO {t} (n) VALUES ({n})
INSERT INTO {t} (n) VALUES ({n})
INSERT INTO {t} (n) VALUES ({n})
INSERT INTO spread VALUES ({n},{n})
REPLACE INTO spread VALUES ({i},{n}),(8,{n}),(9,{n})
UPDATE {t} SET n={n} WHERE id={i}
UPDATE {t} SET n={n} WHERE id={i}
UPDATE spread SET n={n} WHERE id={i}
UPDATE spread SET n=n+1
DELETE FROM {t} WHERE n={n}
DELETE FROM spread WHERE id={i}
SELECT id, n FROM {t} ORDER BY id
SELECT * FROM spread ORDER BY id
SELECT COUNT(*) FROM {t}
SELECT n FROM {t} WHERE id={i} FOR UPDATE
SELECT photos.id, items.n FROM photos JOIN items ON photos.id=items.id ORDER BY photos.id
LOCK TABLES {t} WRITE
LOCK TABLES {t} READ
UNLOCK TABLES
UNLOCK TABLES
FLUSH TABLES WITH READ LOCK
CREATE TEMPORARY TABLE seen (x INT)
INSERT INTO seen VALUES ({n})
SELECT x FROM seen ORDER BY x
DROP TEMPORARY TABLE IF EXISTS seen
SELECT GET_LOCK('{n}', 1)
SELECT RELEASE_LOCK('{n}')
SET @v={n}
SELECT @v
SET @v=(SELECT MAX(n) FROM {t})
SELECT @v:=@v+1
SELECT n FROM {t} WHERE n=@v
INSERT INTO {t} (n) VALUES (@v)
INSERT INTO {t} (n) VALUES ({n}),({n}) RETURNING id
INSERT INTO {t} (id, n) VALUES ({i},{n})
INSERT INTO {t} (id, n) VALUES ({i},{n}) ON DUPLICATE KEY UPDATE n=n+1
INSERT IGNORE INTO spread VALUES ({i},{n}),(7,{n})
INSERT INTO {t} (n) SELECT n FROM {t} WHERE id={i}
DELETE FROM {t} WHERE id={i} RETURNING n
REPLACE INTO {t} (id, n) VALUES ({i},{n})
SELECT LAST_INSERT_ID()
SELECT LAST_INSERT_ID({n})
SELECT ROW_COUNT()
SELECT DATABASE()
DO 1
SHOW WARNINGS
SELECT @@warning_count
SELECT SQL_CALC_FOUND_ROWS id FROM {t} ORDER BY id LIMIT 1
SELECT @@autocommit, @@sql_mode
PREPARE p FROM 'SELECT n FROM {t} WHERE id=?'
SET @i={i}
EXECUTE p USING @i
DEALLOCATE PREPARE p
SET sql_mode=''
SET sql_mode='ANSI_QUOTES'
SET sql_mode=DEFAULT
SET SESSION sql_select_limit=2
SET SESSION sql_select_limit=DEFAULT
INSERT INTO {t} (n) VALUES ('x')
INSERT IGNORE INTO {t} (n) VALUES ('x')
SELECT nosuch FROM {t}
SELEC
LOCK TABLES items READ, photos WRITE
CREATE TEMPORARY TABLE IF NOT EXISTS seen SELECT n AS x FROM {t}
TRUNCATE TABLE {t}
TRUNCATE TABLE spread
SELECT COUNT(*), SUM(n) FROM spread
SELECT n FROM spread WHERE id IN (1,2,{i}) ORDER BY n, id LIMIT 2
SELECT id FROM spread WHERE id={i} FOR UPDATE
ALTER TABLE {t} COMMENT '{n}'
SHOW TABLES
USE shop
""".splitlines()


@pytest.fixture(scope="module")
def mirror(run: Run) -> MariaDB:
    server = run.mariadb("mirror")
    server.create_account(APP, APP_PASSWORD)
    server.execute(f"CREATE DATABASE {DATABASE}")
    two_clusters.made(server, TABLES["mirror"])
    return server


@pytest.fixture(params=["best_effort", "atomic", "best_effort, directory", "atomic, directory"])
def proxy(request: pytest.FixtureRequest, run: Run, shop_servers: Shop) -> Iterator[Turnout]:
    transactions, _, directory = request.param.partition(", ")
    more = f"workbench: {{cluster: main}}\ntransactions: {transactions}"
    sharding = two_clusters.DIRECTORY if directory else two_clusters.HASH
    with two_clusters.running(run, shop_servers, more, sharding) as proxy:
        yield proxy


def emptied(server: MariaDB, tables: tuple[str, ...]) -> None:
    """So that ids begin with 4 again."""
    for table in tables:
        server.execute(f"TRUNCATE TABLE {table}", database=DATABASE)
        if table != "spread":
            server.execute(f"INSERT INTO {table} (n) VALUES (10), (20), (30)", database=DATABASE)


def told(answer: Answer) -> tuple[object, ...]:
    """Of an answer, what has to be the same."""
    if answer.errno:
        return answer.errno, answer.sqlstate
    names = tuple(column.name for column in answer.columns)
    flags = answer.status & 3  # in a transaction, autocommit
    return names, answer.rows, answer.affected_rows, answer.insert_id, answer.warnings, flags


def test_a_session_is_what_it_is_on_one_server(proxy: Turnout, shop_servers: Shop, mirror: MariaDB) -> None:
    rules = proxy.rules_path.read_text()
    locks_all = "transactions: atomic" not in rules and two_clusters.DIRECTORY not in rules
    rng = random.Random(SEED)
    refused = asked = 0
    for _ in range(ROUNDS):
        for name, tables in TABLES.items():
            emptied(mirror if name == "mirror" else shop_servers.server(name), tables)
        with closing(log_in(proxy)) as ours, closing(log_in(mirror)) as theirs:
            alike, answer = compare(ours, theirs, statements(rng, locks_all))
        asked += alike
        refused += answer is not None
    assert refused < asked / 20, f"{refused} of {asked} were refused"


def log_in(server: Turnout | MariaDB) -> Client:
    return Client(server.port, APP, APP_PASSWORD, DATABASE)


def statements(rng: random.Random, locks_all: bool) -> Iterator[str]:
    for _ in range(STATEMENTS):
        values = {"t": rng.choice(("items", "photos")), "n": rng.randrange(100), "i": rng.randrange(1, 6)}
        sql = rng.choice(TEMPLATES).format(**values)
        # Under it an XA transaction may not write, not even temporary tables, and Turnout may not enter new keys.
        if sql == LOCK_ALL and not locks_all:
            continue
        yield sql


def compare(ours: Client, theirs: Client, sqls: Iterable[str]) -> tuple[int, Answer | None]:
    """How many statements were answered alike, until the first that Turnout refuses (its error is remembered, the
    other's is not), which comes with them, or that a server refuses for a lock that it knows of."""
    said: list[str] = []
    for sql in sqls:
        answer = ours.query(sql)
        if answer.errno == REFUSED:
            return len(said), answer
        expected = theirs.query(sql)
        if NOT_LOCKED in (answer.errno, expected.errno):
            break
        said.append(f"{sql}: {answer}")
        assert told(answer) == told(expected), "\n".join([f"seed {SEED}", *said, f"one server: {expected}"])
    return len(said), None


DIFFERED = {
    "a server does not switch autocommit on inside of an XA branch": """\
SELECT GET_LOCK('8', 1)
SET autocommit=0
SET @v=(SELECT MAX(n) FROM photos)
SET autocommit=1
START TRANSACTION READ WRITE
SAVEPOINT a
UPDATE photos SET n=8 WHERE id=1
ROLLBACK TO a
COMMIT""",
    "a branch that a connection begins which is held for other reasons has the transaction's savepoints": """\
SET autocommit=0
CREATE TEMPORARY TABLE seen (x INT)
SELECT @v:=@v+1
ROLLBACK
SAVEPOINT b
INSERT INTO photos (n) VALUES (17)
SAVEPOINT b
SELECT @v:=@v+1
ROLLBACK TO b""",
    "warnings of ROLLBACK TO are told": """\
START TRANSACTION
SAVEPOINT a
CREATE TEMPORARY TABLE seen (x INT)
INSERT INTO items (n) VALUES (95)
SELECT COUNT(*) FROM photos
ROLLBACK TO a
SHOW WARNINGS""",
    "what an error on one cluster cannot have ended goes on on the other": """\
SET autocommit=0
SELECT x FROM nosuch
UPDATE photos SET n=77 WHERE id=1
SELECT x FROM nosuch
SELECT n FROM photos WHERE id=1
COMMIT
SELECT n FROM photos WHERE id=1""",
}


@pytest.mark.parametrize("why", DIFFERED)
def test_a_session_that_differed_once(proxy: Turnout, shop_servers: Shop, mirror: MariaDB, why: str) -> None:
    sqls = DIFFERED[why].splitlines()
    for name, tables in TABLES.items():
        emptied(mirror if name == "mirror" else shop_servers.server(name), tables)
    with closing(log_in(proxy)) as ours, closing(log_in(mirror)) as theirs:
        assert compare(ours, theirs, sqls) == (len(sqls), None)
