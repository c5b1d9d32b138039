"""Statements that fail on one of several clusters, or before any, and are sent again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.ddl.house import CLUSTERS, SHARDS, House
from tests.ddl.test_ddl import ROWS, THINGS, warnings
from tests.front.raw import Answer, Client
from tests.servers import Turnout
from tests.servers.process import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.thorough]
LogIn = Callable[..., Client]

# A statement, and one by which somebody carries it out on the first cluster, or the last, before.
STATEMENTS = [
    "ALTER TABLE things ADD COLUMN size INT",
    "ALTER TABLE things ADD INDEX (name)",  # would make a second one, of another name
    "ALTER TABLE things ADD UNIQUE (k, name), ADD CHECK (id >= 0)",
    "ALTER TABLE things DROP COLUMN name",
    "ALTER TABLE things DROP COLUMN name, ADD COLUMN name INT FIRST",
    "ALTER TABLE things CHANGE name title VARCHAR(30)",
    "ALTER TABLE things MODIFY name VARCHAR(40) NOT NULL DEFAULT 'x'",
    "ALTER TABLE things RENAME COLUMN name TO title",
    "ALTER TABLE things ADD FOREIGN KEY (id) REFERENCES kinds (i)",
    "ALTER TABLE things DROP PRIMARY KEY, ADD PRIMARY KEY (k, name)",
    "ALTER TABLE things COMMENT = 'x'",
    "CREATE INDEX by_name ON things (name)",
    "DROP INDEX by_id ON things",
    "RENAME TABLE things TO things_old",
    "RENAME TABLE things TO things_old, things_new TO things",
    "ALTER TABLE things RENAME TO things_old",
    "CREATE TABLE things_old LIKE things",
    "CREATE TABLE things_old (k INT PRIMARY KEY, KEY (k))",
    "DROP TABLE things",
    "DROP TABLE things, things_new, kinds",
    "CREATE DEFINER = app TRIGGER t BEFORE INSERT ON things FOR EACH ROW SET NEW.name = 'x'",
    "DROP TRIGGER old_trigger",
    "TRUNCATE things",
]


def prepare(client: Client, house: House) -> None:
    things = THINGS.replace("PRIMARY", "KEY by_id (id), PRIMARY")
    house.on(CLUSTERS, "CREATE TABLE kinds (i INT PRIMARY KEY)")
    house.on(SHARDS, things, "CREATE TABLE things_new LIKE things")
    house.on(SHARDS, "CREATE TRIGGER old_trigger BEFORE UPDATE ON things FOR EACH ROW SET NEW.name = 'y'")
    client.run("DROP TABLE IF EXISTS scratch")


def everything(house: House, cluster: str) -> dict[str, object]:
    """All definitions of one cluster."""
    tables = [str(row[0]) for row in house.rows(cluster, "SHOW TABLES")]
    triggers = [str(row[0]) for row in house.rows(cluster, "SHOW TRIGGERS")]
    found: dict[str, object] = {table: house.definition(cluster, table) for table in tables}
    return found | {name: house.rows(cluster, f"SHOW CREATE TRIGGER {name}")[0][2] for name in triggers}


@pytest.mark.parametrize(
    ("done_on", "sql"), [(SHARDS[0], sql) for sql in STATEMENTS] + [(SHARDS[1], sql) for sql in STATEMENTS[::3]]
)
def test_what_was_done_on_one_cluster_is_done_on_the_other(
    client: Client, house: House, sql: str, done_on: str
) -> None:
    prepare(client, house)
    other = SHARDS[1 - SHARDS.index(done_on)]
    house.on((done_on,), sql)
    wanted = everything(house, done_on)
    client.query(sql).checked()
    assert everything(house, done_on) == wanted
    assert everything(house, other) == wanted
    noted = [f"cluster {done_on} had carried out this statement before" in line for line in warnings(client)]
    # It is not asked again, except where only the order could have told that (the shards were done in the wrong one).
    assert any(noted) or (done_on == "shard1" and sql.startswith("ALTER")) or sql.startswith("TRUNCATE")
    if sql.startswith(("CREATE", "DROP", "RENAME")):
        assert client.query(sql).errno, "now it is what it is on one server"


def test_a_duplicate_on_one_shard_and_the_same_statement_again(client: Client, house: House) -> None:
    client.run(THINGS, ROWS)
    bad = SHARDS[1] if house.rows("shard1", "SELECT COUNT(*) FROM things")[0][0] >= 2 else ""
    assert bad
    house.on((bad,), "UPDATE things SET name = 'same' ORDER BY k LIMIT 2")
    sql = "ALTER TABLE things ADD UNIQUE (name)"
    answer = client.query(sql)
    assert answer.errno == 1062
    assert answer.message.startswith("Duplicate entry 'same' for key 'name' (on cluster shard1; done on shard0.")
    assert "UNIQUE" in (house.definition("shard0", "things") or "")
    assert client.query(sql).errno == 1062, "it is still so"
    house.on((bad,), "UPDATE things SET name = k")
    client.run(sql)
    assert (house.same("things") or "").count("UNIQUE") == 1
    assert warnings(client)[0] == "Note 1105 cluster shard0 had carried out this statement before"


def test_a_table_of_the_same_name_that_is_another(client: Client, house: House) -> None:
    house.on(("shard0",), "CREATE TABLE things (k INT PRIMARY KEY, other INT)")
    answer = client.query(THINGS)
    assert answer.errno == 1050
    assert answer.message.startswith("Table 'things' already exists (on cluster shard0; done on shard1.")
    answer = client.query(THINGS)
    assert answer.errno == 1050
    house.on(("shard1",), "DROP TABLE things")
    answer = client.query(THINGS.replace("TABLE", "TABLE IF NOT EXISTS", 1))
    assert answer.errno == 1105
    assert "shop.things is not the same on clusters shard0 and shard1" in answer.message


def test_definitions_that_differ_otherwise_are_told(client: Client, house: House) -> None:
    client.run(THINGS)
    house.on(("shard1",), "ALTER TABLE things COMMENT = 'mine'")
    client.run("TRUNCATE things")
    assert client.run("ALTER TABLE things ADD COLUMN size INT").warnings == 1
    assert all("`size`" in (house.definition(shard, "things") or "") for shard in SHARDS)
    (warning,) = warnings(client)
    assert warning.startswith("Warning 1105 shop.things is not the same on clusters")


def test_accounts_are_completed(client: Client, house: House) -> None:
    house.on(CLUSTERS, "DROP USER IF EXISTS someone, nobody")
    sql = "CREATE USER someone IDENTIFIED BY 'one'"
    house.on(("main",), sql)
    client.run(sql)
    for cluster in CLUSTERS:
        house.servers[cluster].connect("someone", "one").close()
    house.on(("main", "shard1"), "RENAME USER someone TO nobody")
    client.run("RENAME USER someone TO nobody")
    house.on(("shard0",), "DROP USER nobody")
    client.run("DROP USER nobody")
    house.on(("shard0",), "CREATE USER someone IDENTIFIED BY 'another'")
    answer = client.query(sql)
    assert answer.errno == 1396
    assert "on cluster shard0; done on main, shard1" in answer.message
    client.run("GRANT SELECT ON shop.* TO someone")
    house.on(("main",), "REVOKE SELECT ON shop.* FROM someone")
    client.run("REVOKE SELECT ON shop.* FROM someone", "DROP USER someone")
    assert client.query("DROP USER someone").errno == 1396


def test_a_cluster_that_is_read_only(client: Client, house: House) -> None:
    house.on(("shard1",), "SET GLOBAL read_only = 1")
    try:
        answer = client.query(THINGS)
    finally:
        house.on(("shard1",), "SET GLOBAL read_only = 0")
    assert (answer.errno, answer.sqlstate) == (1290, "HY000")
    assert answer.message == "Nothing was changed: the primary of cluster shard1 is read-only"
    assert house.same("things") is None
    client.run(THINGS)


def test_a_cluster_that_is_down_and_one_that_is_lost(client: Client, house: House, log_in: LogIn) -> None:
    client.run(THINGS, ROWS)
    server = house.servers["shard1"]
    sql = "ALTER TABLE things ADD COLUMN size INT"
    blocker = server.admin("shop", autocommit=False)
    blocker.cursor().execute("SELECT * FROM things")
    answers: list[Answer] = []
    waiting = threading.Thread(target=lambda: answers.append(client.query(sql)))
    waiting.start()
    wait_until(lambda: "`size`" in (house.definition("shard0", "things") or ""), 20)
    wait_until(lambda: any("metadata lock" in str(row) for row in house.rows("shard1", "SHOW PROCESSLIST")), 20)
    server.kill()
    waiting.join(30)
    (answer,) = answers
    assert answer.errno in (1158, 1159)
    assert "on cluster shard1; done on shard0." in answer.message
    other = log_in()
    answer = other.query("ALTER TABLE things ADD COLUMN more INT")
    assert answer.errno in (1429, 1158, 1159)
    assert answer.message.startswith("Nothing was changed: ")
    assert "more" not in (house.definition("shard0", "things") or "")
    server.start()
    wait_until(lambda: other.query("SELECT COUNT(*) FROM things").ok, 30)
    answer = other.run(sql)
    assert warnings(other) == ["Note 1105 cluster shard0 had carried out this statement before"]
    assert "`size`" in (house.same("things") or "")
    assert other.run("SELECT COUNT(*) FROM things WHERE size IS NULL").number == 12


@pytest.fixture
def blocked(client: Client, house: House) -> Iterator[None]:
    """A transaction on shard1 that uses the table."""
    client.run(THINGS)
    blocker = house.servers["shard1"].admin("shop", autocommit=False)
    blocker.cursor().execute("SELECT * FROM things")
    yield
    blocker.close()


def test_waiting_for_a_table_ends(client: Client, house: House, blocked: None) -> None:
    sql = "ALTER TABLE things ADD COLUMN size INT"
    client.run("SET lock_wait_timeout = 1")
    answer = client.query(sql)
    assert answer.errno == 1205
    assert "on cluster shard1; done on shard0." in answer.message
    assert client.run("SELECT @@lock_wait_timeout").number == 1


def test_a_limit_is_set_for_the_statement_alone(client: Client) -> None:
    client.run("BEGIN", "SELECT @v := 5")  # pins the session to main, which is one of the clusters
    before = client.run("SELECT @@lock_wait_timeout").number
    assert before > 1000
    client.run("CREATE TABLE kinds (i INT PRIMARY KEY)")
    assert client.run("SELECT @@lock_wait_timeout").number == before
    assert client.run("SELECT @v").number == 5


def test_kill_query(client: Client, house: House, blocked: None, log_in: LogIn, proxy: Turnout) -> None:
    sql = "ALTER TABLE things ADD COLUMN size INT"
    answers: list[Answer] = []
    running = threading.Thread(target=lambda: answers.append(client.query(sql)))
    running.start()
    wait_until(lambda: any("metadata lock" in str(row) for row in house.rows("shard1", "SHOW PROCESSLIST")), 20)
    log_in().run(f"KILL QUERY {client.id}")
    running.join(20)
    (answer,) = answers
    assert answer.errno == 1317
    assert "on cluster shard1; done on shard0." in answer.message
    assert client.run("SELECT 1").number == 1


def test_one_statement_at_a_time_changes_a_table(client: Client, house: House, log_in: LogIn) -> None:
    client.run(THINGS)
    blocker = house.servers["shard1"].admin("shop", autocommit=False)
    blocker.cursor().execute("SELECT * FROM things")
    answers: list[Answer] = []
    statements = [f"ALTER TABLE things ADD COLUMN c{number} INT" for number in range(2)]
    threads = [
        threading.Thread(target=lambda each=each, sql=sql: answers.append(each.query(sql)))  # type: ignore[misc]
        for each, sql in zip((client, log_in()), statements)
    ]
    threads[0].start()
    wait_until(lambda: any("metadata lock" in str(row) for row in house.rows("shard1", "SHOW PROCESSLIST")), 20)
    threads[1].start()
    wait_until(lambda: any("User lock" in str(row) for row in house.rows("shard0", "SHOW PROCESSLIST")), 20)
    assert "c1" not in (house.definition("shard0", "things") or ""), "it waits for the other before it begins"
    blocker.close()
    for thread in threads:
        thread.join(30)
    assert [answer.errno for answer in answers] == [0, 0]
    assert "c1" in (house.same("things") or "")
    assert client.run("ALTER TABLE things DROP COLUMN c1").ok, "and the lock is given back"
