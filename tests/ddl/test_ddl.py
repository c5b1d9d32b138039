"""DDL through Turnout, statement kind by statement kind."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.ddl.house import CLUSTERS, SHARDS, House
from tests.front.raw import Client

pytestmark = pytest.mark.servers
LogIn = Callable[..., Client]

THINGS = "CREATE TABLE things (k INT NOT NULL, id INT NOT NULL, name VARCHAR(20), PRIMARY KEY (k, id))"
ROWS = "INSERT INTO things (k, id, name) VALUES " + ", ".join(f"({n}, {n}, 'n{n}')" for n in range(12))


def warnings(client: Client) -> list[str]:
    """SHOW WARNINGS as `level number message`."""
    rows = client.run("SHOW WARNINGS").rows
    return [" ".join((cell or b"").decode() for cell in row) for row in rows]


def test_a_table_is_created_changed_and_dropped_on_every_shard(client: Client, house: House) -> None:
    client.run(THINGS)
    assert "`name` varchar(20)" in (house.same("things") or "")
    assert house.definition("main", "things") is None
    client.run("ALTER TABLE things ADD COLUMN size INT NOT NULL DEFAULT 3 AFTER k")
    client.run("CREATE INDEX by_name ON things (name)")
    found = house.same("things") or ""
    assert "`size` int(11) NOT NULL DEFAULT 3" in found
    assert "KEY `by_name` (`name`)" in found
    client.run("DROP INDEX by_name ON things", "RENAME TABLE things TO things_old")
    assert house.same("things") is None
    assert "by_name" not in (house.same("things_old") or "")
    client.run("CREATE TABLE things LIKE things_old")
    assert house.same("things") == (house.same("things_old") or "").replace("things_old", "things")
    client.run("DROP TABLE things, things_old")
    assert house.same("things") is None
    assert house.same("things_old") is None


def test_a_table_that_is_everywhere(client: Client, house: House) -> None:
    client.run("CREATE TABLE kinds (i INT PRIMARY KEY)", "ALTER TABLE kinds ADD COLUMN kind VARCHAR(20)")
    assert "`kind` varchar(20)" in (house.same("kinds", CLUSTERS) or "")
    client.run("INSERT INTO kinds VALUES (1, 'a')", "TRUNCATE kinds")
    assert [house.rows(cluster, "SELECT COUNT(*) FROM kinds") for cluster in CLUSTERS] == [((0,),)] * 3
    client.run("DROP TABLE kinds")
    assert house.same("kinds", CLUSTERS) is None


def test_a_table_that_has_moved_and_one_that_has_not_get_their_own(client: Client, house: House) -> None:
    client.run("CREATE TABLE moved (k INT)", "CREATE TABLE plain (k INT)", "ALTER TABLE moved ADD COLUMN n INT")
    assert "`n` int" in (house.definition("shard1", "moved") or "")
    assert [house.definition(cluster, "moved") for cluster in ("main", "shard0")] == [None, None]
    assert house.definition("main", "plain") is not None


def test_drop_table_is_split_by_where_the_tables_are(client: Client, house: House) -> None:
    client.run(THINGS, "CREATE TABLE kinds (i INT)", "CREATE TABLE moved (k INT)", "CREATE TABLE `pl``ain` (k INT)")
    client.run("DROP TABLE things, /* all of */ shop.moved, kinds, `pl``ain`")
    assert [house.rows(cluster, "SHOW TABLES") for cluster in CLUSTERS] == [()] * 3
    client.run(THINGS)
    answer = client.run("DROP TABLE IF EXISTS things, moved")
    assert warnings(client) == ["Note 1051 Unknown table 'shop.moved'"]
    assert answer.warnings == 1
    assert house.same("things") is None


def test_tables_that_are_not_there_are_named_as_by_one_server(client: Client, house: House) -> None:
    client.run(THINGS)
    answer = client.query("DROP TABLE things, things_old")
    assert (answer.errno, answer.sqlstate) == (1051, "42S02")
    assert answer.message == "Unknown table 'shop.things_old'"
    assert house.same("things") is None, "what is there goes, as on MariaDB"
    answer = client.query("DROP TABLE things")
    assert (answer.errno, answer.message) == (1051, "Unknown table 'shop.things'")


@pytest.mark.parametrize(
    ("sql", "errno", "message"),
    [
        (THINGS, 1050, "Table 'things' already exists"),
        ("CREATE TABLE things_new LIKE things_old", 1146, "Table 'shop.things_old' doesn't exist"),
        ("ALTER TABLE things ADD COLUMN id INT", 1060, "Duplicate column name 'id'"),
        ("ALTER TABLE things DROP COLUMN nothing", 1091, "Can't DROP COLUMN `nothing`; check that it exists"),
        ("CREATE INDEX i ON things (nothing)", 1072, "Key column 'nothing' doesn't exist in table"),
        ("DROP INDEX i ON things", 1091, "Can't DROP INDEX `i`; check that it exists"),
        ("TRUNCATE things_new", 1146, "Table 'shop.things_new' doesn't exist"),
        ("RENAME TABLE things_new TO things_old", 1146, "Table 'shop.things_new' doesn't exist"),
        ("ALTER TABLE things ADD COLUMN", 1064, None),
    ],
)
def test_errors_are_those_of_one_server(
    client: Client, house: House, sql: str, errno: int, message: str | None
) -> None:
    client.run(THINGS)
    before = house.same("things")
    answer = client.query(sql)
    assert answer.errno == errno
    assert message is None or answer.message == message
    assert house.same("things") == before
    assert house.same("things_new") is None
    assert client.query(sql).errno == errno, "and again"


def test_if_exists_and_if_not_exists(client: Client, house: House) -> None:
    sql = THINGS.replace("TABLE", "TABLE IF NOT EXISTS", 1)
    assert client.run(sql).warnings == 0
    assert client.run(sql).warnings == 1
    assert warnings(client) == ["Note 1050 Table 'things' already exists"]
    client.run("ALTER TABLE things ADD COLUMN IF NOT EXISTS name INT")
    assert warnings(client) == ["Note 1060 Duplicate column name 'name'"]
    client.run("CREATE OR REPLACE TABLE things (k INT PRIMARY KEY)")
    assert "name" not in (house.same("things") or "")
    assert client.run("DROP TABLE IF EXISTS things").warnings == 0
    assert client.run("DROP TABLE IF EXISTS things").warnings == 1


def test_rows_are_counted_over_the_shards(client: Client) -> None:
    client.run(THINGS, ROWS)
    answer = client.run("ALTER TABLE things MODIFY name VARCHAR(300), ALGORITHM=COPY")
    assert (answer.affected_rows, answer.info) == (12, b"Records: 12  Duplicates: 0  Warnings: 0")
    client.run("TRUNCATE TABLE things")
    assert client.run("SELECT COUNT(*) FROM things").number == 0


def test_the_next_statement_of_anybody_knows_the_new_definition(client: Client, house: House, log_in: LogIn) -> None:
    others = [log_in() for _ in range(8)]  # of both workers
    client.run(THINGS)
    for other in others:
        other.run("SELECT * FROM things ORDER BY name")
    client.run("ALTER TABLE things ADD COLUMN size INT FIRST, DROP COLUMN name")
    # A list of columns is left out: had a worker the old definition, it would take the size for the key.
    for number, other in enumerate(others):
        other.run(f"INSERT INTO things VALUES ({1000 - number}, {number}, {number})")
    for other in others:
        rows = other.run("SELECT * FROM things ORDER BY size").rows
        assert rows == tuple((b"%d" % (1000 - n), b"%d" % n, b"%d" % n) for n in reversed(range(8)))
        assert other.run("SELECT size FROM things WHERE k = 5").rows == ((b"995",),)


def test_foreign_keys_between_rows_that_lie_together(client: Client, house: House) -> None:
    client.run("CREATE TABLE parents (k INT PRIMARY KEY)", "CREATE TABLE kinds (i INT PRIMARY KEY)")
    client.run(THINGS.replace("name VARCHAR(20)", "kind INT, FOREIGN KEY (k) REFERENCES parents (k)"))
    client.run("ALTER TABLE things ADD CONSTRAINT to_kind FOREIGN KEY (kind) REFERENCES kinds (i)")
    assert (house.same("things") or "").count("FOREIGN KEY") == 2
    client.run("INSERT INTO kinds VALUES (7)", "INSERT INTO parents VALUES (1), (2), (3), (4)")
    client.run("INSERT INTO things VALUES (1, 1, 7), (2, 1, 7), (3, 1, NULL), (4, 1, 7)")
    assert client.query("INSERT INTO things VALUES (5, 1, 7)").errno == 1452
    assert client.query("INSERT INTO things VALUES (1, 2, 8)").errno == 1452
    refused = client.query("ALTER TABLE things ADD FOREIGN KEY (id) REFERENCES parents (k)")
    assert refused.errno == 1235
    assert "FOREIGN KEY (k, ..) REFERENCES shop.parents (k, ..)" in refused.message
    assert client.query("DROP TABLE parents").errno == 1451
    assert house.same("parents") is not None


def test_unique_keys_without_the_shard_key_are_noted(client: Client) -> None:
    assert client.run(THINGS).warnings == 0
    answer = client.run("ALTER TABLE things ADD UNIQUE KEY (name)")
    assert answer.warnings == 1
    (note,) = warnings(client)
    assert note.startswith("Note 1105 databases.shop.tables.things: has unique keys without k (name)")
    assert client.run("ALTER TABLE things ADD COLUMN size INT").warnings == 0, "it is told once"


def test_ids_are_made_for_a_table_that_was_just_created_and_never_twice(client: Client, log_in: LogIn) -> None:
    sql = "CREATE TABLE things (id BIGINT AUTO_INCREMENT, k INT NOT NULL, PRIMARY KEY (k, id), KEY (id))"
    clients = [client, *(log_in() for _ in range(4))]
    seen: set[int] = set()
    for again in (sql, "TRUNCATE things", "DROP TABLE things"):
        client.run(again)
        if again.startswith("DROP"):
            client.run(sql)
        for number, each in enumerate(clients):
            each.run(f"INSERT INTO things (k) VALUES ({number}), ({number + 10})")
        found = [int(row[0] or 0) for row in client.run("SELECT id FROM things").rows]
        assert len(found) == len(set(found)) == 10
        assert not seen & set(found)
        seen |= set(found)


def test_a_session_in_the_middle_of_something_knows_it_too(client: Client, log_in: LogIn) -> None:
    client.run(THINGS, "CREATE TABLE kinds (i INT PRIMARY KEY)")
    others = [log_in() for _ in range(4)]
    for other in others[:2]:
        other.run("BEGIN", "SELECT * FROM kinds")
    for other in others[2:]:
        other.run("SELECT @v := 7", "INSERT INTO things VALUES (0, CONNECTION_ID(), 'x')")  # pinned
    client.run("ALTER TABLE things ADD COLUMN size INT FIRST, DROP COLUMN name")
    for number, other in enumerate(others):
        other.run(f"INSERT INTO things VALUES ({1000 - number}, {number}, {number})")
    for other in others[:2]:
        other.run("COMMIT")
    for number in range(4):
        assert client.run(f"SELECT size FROM things WHERE k = {number} AND id = {number}").number == 1000 - number
    client.run(
        "SELECT @v := 7", "ALTER TABLE things ADD COLUMN more INT FIRST", "INSERT INTO things VALUES (1, 1, 9, 9)"
    )
    assert client.run("SELECT more FROM things WHERE k = 9").number == 1


def test_ddl_of_a_table_on_one_cluster_is_told_to_all_workers(client: Client, log_in: LogIn) -> None:
    client.run("CREATE TABLE moved (k INT, n INT)", THINGS)
    others = [log_in() for _ in range(8)]
    for other in others:
        other.run("SELECT m.* FROM things t JOIN things m USING (k) WHERE k = 1")
    client.run("/* turnout: cluster=shard0 */ ALTER TABLE things ADD COLUMN z INT")
    client.run("/* turnout: cluster=shard1 */ ALTER TABLE things ADD COLUMN z INT")
    deadline = time.monotonic() + 5  # far less than they need to notice by themselves
    for other in others:
        while other.query("SELECT * FROM things ORDER BY z LIMIT 3").errno:
            assert time.monotonic() < deadline


def test_a_renamed_table_gets_no_id_that_its_rows_have(client: Client, house: House, log_in: LogIn) -> None:
    made = "CREATE TABLE {} (id BIGINT AUTO_INCREMENT, k INT NOT NULL, PRIMARY KEY (k, id), KEY (id))"
    client.run(made.format("things"), made.format("things_new"))
    others = [log_in() for _ in range(4)]
    for other in others:
        other.run("INSERT INTO things (k) VALUES (1)")  # every worker has a block
    top = client.run("SELECT MAX(id) FROM things").number
    client.run("INSERT INTO things_new (k, id) VALUES " + ", ".join(f"({n}, {top + n})" for n in range(1, 2000)))
    client.run("RENAME TABLE things TO things_old, things_new TO things")
    for other in others:
        for _ in range(3):
            other.run("INSERT INTO things (k) VALUES (1), (2), (3)")
    assert client.run("SELECT COUNT(*) FROM things").number == 1999 + 36
    ids = [row[0] for row in client.run("SELECT id FROM things").rows]
    assert len(set(ids)) == len(ids)


def test_auto_increment_counts_from_where_it_is_told(client: Client, log_in: LogIn) -> None:
    made = "CREATE TABLE things (id BIGINT AUTO_INCREMENT, k INT NOT NULL, PRIMARY KEY (k, id), KEY (id))"
    client.run(made)
    others = [log_in() for _ in range(4)]
    for other in others:
        other.run("INSERT INTO things (k) VALUES (1)")
    start = client.run("SELECT MAX(id) FROM things").number + 100_000
    assert client.run(f"ALTER TABLE things AUTO_INCREMENT = {start}").warnings == 0
    ids = [other.run("INSERT INTO things (k) VALUES (2)").insert_id for other in others]
    assert min(ids) == start
    client.run("DROP TABLE things", f"{made} AUTO_INCREMENT = {start * 2}")
    assert client.run("INSERT INTO things (k) VALUES (2)").insert_id == start * 2


def test_a_transaction_is_committed_first(client: Client, house: House) -> None:
    client.run(THINGS, "CREATE TABLE kinds (i INT PRIMARY KEY)", "CREATE TABLE plain (k INT)")
    client.run("BEGIN", ROWS, "INSERT INTO plain VALUES (1)", "SAVEPOINT s")  # XA branches on three clusters
    client.run("ALTER TABLE kinds ADD COLUMN kind INT")
    answer = client.run("ROLLBACK")
    assert answer.status & 1 == 0
    assert sum(int(house.rows(shard, "SELECT COUNT(*) FROM things")[0][0]) for shard in SHARDS) == 12
    assert house.rows("main", "SELECT COUNT(*) FROM plain") == ((1,),)
    assert client.query("ROLLBACK TO s").errno == 1305
    client.run("SET autocommit = 0", "INSERT INTO plain VALUES (2)", "TRUNCATE things", "ROLLBACK")
    client.run("SET autocommit = 1")
    assert house.rows("main", "SELECT COUNT(*) FROM plain") == ((2,),)
    client.run("BEGIN", "DELETE FROM plain")
    assert client.query(THINGS).errno == 1050, "also before a statement that fails"
    client.run("ROLLBACK")
    assert house.rows("main", "SELECT COUNT(*) FROM plain") == ((0,),)


def test_triggers(client: Client, house: House) -> None:
    client.run(THINGS)
    answer = client.run("CREATE TRIGGER upper_name BEFORE INSERT ON things FOR EACH ROW SET NEW.name = UPPER(NEW.name)")
    assert answer.warnings == 1
    assert "has triggers, which run on the shard of the row" in warnings(client)[0]
    assert client.query("CREATE TRIGGER upper_name AFTER INSERT ON things FOR EACH ROW SET @a = 1").errno == 1359
    client.run(ROWS)
    assert {row[0] for row in client.run("SELECT name FROM things").rows} == {b"N%d" % n for n in range(12)}
    client.run("DROP TRIGGER upper_name")
    assert [house.rows(shard, "SHOW TRIGGERS") for shard in SHARDS] == [(), ()]
    assert client.query("DROP TRIGGER upper_name").errno == 1360


def test_databases(client: Client, house: House, log_in: LogIn) -> None:
    other = log_in(None)
    house.on(CLUSTERS, "DROP DATABASE IF EXISTS second")
    other.run("CREATE DATABASE second CHARACTER SET latin1")
    assert other.query("CREATE DATABASE second").errno == 1007
    other.run("USE second", "CREATE TABLE parts (k INT PRIMARY KEY)", "ALTER DATABASE CHARACTER SET utf8mb4")
    for cluster in CLUSTERS:
        assert "utf8mb4" in str(house.rows(cluster, "SHOW CREATE DATABASE second"))
    other.run("DROP DATABASE second")
    assert other.run("SELECT DATABASE()").value is None
    assert other.query("DROP DATABASE second").errno == 1008
    for cluster in CLUSTERS:
        assert house.rows(cluster, "SHOW DATABASES LIKE 'second'") == ()


def test_a_database_that_a_cluster_lacks(client: Client, house: House) -> None:
    house.on(("shard1",), "DROP DATABASE shop")
    answer = client.query(THINGS)
    assert answer.errno == 1049
    assert answer.message.startswith("Nothing was changed: cluster shard1: ")
    assert "Unknown database 'shop'" in answer.message
    assert house.definition("shard0", "things") is None
    client.run("CREATE DATABASE IF NOT EXISTS shop", THINGS)
    house.on(("shard1",), "USE shop")
    assert house.same("things") is not None


def test_work_on_tables_has_the_rows_of_every_cluster(client: Client) -> None:
    client.run(THINGS, "CREATE TABLE kinds (i INT PRIMARY KEY)")
    assert client.run("CHECK TABLE things").rows == ((b"shop.things", b"check", b"status", b"OK"),) * 2
    assert client.run("ANALYZE TABLE kinds").rows[-1] == (b"shop.kinds", b"analyze", b"status", b"OK")
    assert len(client.run("OPTIMIZE TABLE things").rows) == 4
    assert client.run("REPAIR TABLE things").rows[-1][0] == b"shop.things"
    client.run("BEGIN", ROWS, "ANALYZE TABLE things", "ROLLBACK")
    assert client.run("SELECT @@lock_wait_timeout").number > 1000, "the limit was for the statement alone"
    assert client.run("SELECT COUNT(*) FROM things").number == 12


def test_accounts_are_the_same_everywhere(client: Client, house: House) -> None:
    client.run(THINGS)
    client.run("CREATE USER 'someone'@'%' IDENTIFIED BY 'one'")
    assert client.query("CREATE USER 'someone'@'%' IDENTIFIED BY 'two'").errno == 1396
    client.run("GRANT SELECT ON shop.* TO 'someone'@'%'", "GRANT INSERT ON things TO someone")
    for shard in SHARDS:
        assert "GRANT INSERT ON `shop`.`things`" in str(house.rows(shard, "SHOW GRANTS FOR someone"))
    client.run("SET PASSWORD FOR someone = PASSWORD('three')", "REVOKE SELECT ON shop.* FROM someone")
    for cluster in CLUSTERS:
        house.servers[cluster].connect("someone", "three").close()
        assert "GRANT SELECT" not in str(house.rows(cluster, "SHOW GRANTS FOR someone"))
    client.run("RENAME USER someone TO nobody", "DROP USER nobody")
    assert client.query("DROP USER nobody").errno == 1396
    for cluster in CLUSTERS:
        assert house.rows(cluster, "SELECT COUNT(*) FROM mysql.user WHERE User IN ('someone', 'nobody')") == ((0,),)


def test_explain_shows_the_clusters(log_in: LogIn, client: Client) -> None:
    rows = dict(log_in(admin=True).run("TURNOUT EXPLAIN DROP TABLE things, kinds").rows)
    assert rows[b"plan"] == b"ddl"
    assert rows[b"clusters"] == b"shard0, shard1, main, in turn"


def test_ddl_in_a_prepared_statement(client: Client, house: House) -> None:
    statement = client.prepare(THINGS)
    assert not hasattr(statement, "errno"), statement
    client.execute(statement).checked()  # type: ignore[arg-type]
    assert house.same("things") is not None
