"""Sessions whose tables are on two clusters: locks of tables, transactions, what is set, what pins them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.front.raw import Client
from tests.front.two_clusters import running
from tests.servers import Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = pytest.mark.servers
BLOCKED = 1205


@pytest.fixture(scope="module", params=["best_effort", "atomic"])
def proxy(request: pytest.FixtureRequest, run: Run, shop_servers: Shop) -> Iterator[Turnout]:
    with running(run, shop_servers, f"transactions: {request.param}") as proxy:
        yield proxy


@pytest.fixture
def log_in(proxy: Turnout) -> Iterator[Callable[[], Client]]:
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(proxy.port, APP, APP_PASSWORD, DATABASE))
        return clients[-1]

    yield connect
    for client in clients:
        client.abort()


def writable(other: Client) -> dict[str, bool]:
    """Which tables somebody else can write to."""
    found = {}
    for table in ("items", "photos"):
        answer = other.query(f"INSERT INTO {table} (n) VALUES (1)")
        assert answer.ok or answer.errno == BLOCKED, answer
        found[table] = answer.ok
    return found


@pytest.fixture
def other(log_in: Callable[[], Client]) -> Client:
    """Somebody else, who does not wait for long."""
    client = log_in()
    client.run("SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1")
    assert writable(client) == {"items": True, "photos": True}
    return client


@pytest.mark.parametrize("lock", ["LOCK TABLES photos WRITE", "FLUSH TABLES photos WITH READ LOCK"])
def test_unlock_reaches_the_cluster_that_has_the_lock(log_in: Callable[[], Client], other: Client, lock: str) -> None:
    client = log_in()
    client.run(lock)
    assert writable(other) == {"items": True, "photos": False}
    client.run("UNLOCK TABLES")
    assert writable(other) == {"items": True, "photos": True}


def test_a_second_lock_ends_the_first(log_in: Callable[[], Client], other: Client) -> None:
    client = log_in()
    client.run("LOCK TABLES photos WRITE", "LOCK TABLES items WRITE")
    assert writable(other) == {"items": False, "photos": True}
    client.run("LOCK TABLES photos READ")
    assert writable(other) == {"items": True, "photos": False}
    assert client.query("LOCK TABLES nosuch READ").errno == 1146
    assert writable(other) == {"items": True, "photos": True}
    client.run("UNLOCK TABLES", "INSERT INTO photos (n) VALUES (2)")


def test_unlock_leaves_whatever_else_the_session_has(log_in: Callable[[], Client]) -> None:
    """It is not somebody else's then either."""
    client, stranger = log_in(), log_in()
    client.run("CREATE TEMPORARY TABLE photos_seen (id INT) /* turnout: cluster=media */")
    client.run("LOCK TABLES photos READ", "UNLOCK TABLES")
    client.run("CREATE TEMPORARY TABLE seen (id INT)", "INSERT INTO seen VALUES (7)", "SELECT GET_LOCK('one', 5)")
    client.run("FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES", "LOCK TABLES items READ", "UNLOCK TABLES")
    assert client.run("SELECT id FROM seen").rows == ((b"7",),)
    for _ in range(5):
        assert stranger.query("SELECT id FROM seen").errno == 1146
    assert stranger.run("SELECT IS_FREE_LOCK('one')").rows == ((b"0",),)
    client.run("SELECT RELEASE_LOCK('one')")
    assert stranger.run("SELECT IS_FREE_LOCK('one')").rows == ((b"1",),)


def test_a_connection_without_locks_goes_back(log_in: Callable[[], Client], shop_servers: Shop) -> None:
    """A session that has unlocked its tables keeps no connection of its own."""
    client, stranger = log_in(), log_in()
    ids = "SELECT CONNECTION_ID() FROM (SELECT 1) AS one"
    for lock in ("LOCK TABLES items READ", "FLUSH TABLES WITH READ LOCK"):
        client.run(lock)
        client.run("UNLOCK TABLES")
        # It would be its session's if it were pinned: a transaction begins wherever there is room.
        client.run("BEGIN", "INSERT INTO items (n) VALUES (5)", "ROLLBACK")
        assert client.run(ids).ok
    stranger.run("SELECT n FROM photos LIMIT 1")


def test_a_lock_on_everything_is_on_every_cluster(log_in: Callable[[], Client], other: Client) -> None:
    client = log_in()
    client.run("FLUSH TABLES WITH READ LOCK")
    assert writable(other) == {"items": False, "photos": False}
    assert other.query("INSERT INTO spread VALUES (1, 1), (2, 1), (3, 1), (4, 1)").errno == BLOCKED
    for table in ("items", "photos", "spread"):
        client.run(f"SELECT COUNT(*) FROM {table}")
    assert client.query("INSERT INTO photos (n) VALUES (2)").errno == 1223  # it has the lock itself
    client.run("UNLOCK TABLES")
    assert writable(other) == {"items": True, "photos": True}
    client.run("INSERT INTO photos (n) VALUES (2)")


def test_a_lock_on_everything_that_cannot_be_had_is_on_nothing(
    log_in: Callable[[], Client], other: Client, shop_servers: Shop
) -> None:
    client, killer = log_in(), log_in()
    number = int(client.run("SELECT CONNECTION_ID()").rows[0][0] or 0)
    holding = log_in()
    holding.run("LOCK TABLES photos WRITE")  # which is asked for last
    client.run("SET lock_wait_timeout = 1")
    assert client.query("FLUSH TABLES WITH READ LOCK").errno == BLOCKED
    holding_out = {"items": True, "photos": False}
    assert writable(other) == holding_out
    client.run("SET lock_wait_timeout = 600")
    client.send("FLUSH TABLES WITH READ LOCK")
    deadline = time.monotonic() + 20
    waits = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'FLUSH TABLES%'"
    while not shop_servers.media.execute(waits):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killer.run(f"KILL QUERY {number}")
    assert client.receive().errno == 1317
    assert writable(other) == holding_out
    client.run("SELECT 1 FROM items LIMIT 1")


def test_a_transaction_ends_locks_of_tables_and_the_other_way_round(
    log_in: Callable[[], Client], other: Client
) -> None:
    client = log_in()
    for begin in ("BEGIN", "START TRANSACTION READ ONLY"):
        client.run("LOCK TABLES photos WRITE", begin)
        assert writable(other) == {"items": True, "photos": True}
        client.run("ROLLBACK")
    client.run("SET autocommit = 0", "LOCK TABLES photos WRITE", "INSERT INTO photos (n) VALUES (77)")
    client.run("UNLOCK TABLES", "ROLLBACK", "SET autocommit = 1")
    assert client.run("SELECT n FROM photos WHERE n = 77").rows == ((b"77",),)
    client.run("DELETE FROM photos WHERE n = 77")
    # Where there was nothing to unlock, nothing is committed.
    client.run("BEGIN", "INSERT INTO photos (n) VALUES (78)", "UNLOCK TABLES", "ROLLBACK")
    assert client.run("SELECT n FROM photos WHERE n = 78").rows == ()


@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION READ WRITE"])
def test_a_transaction_is_one_wherever_the_session_is_pinned(log_in: Callable[[], Client], begin: str) -> None:
    client = log_in()
    client.run("CREATE TEMPORARY TABLE photos_seen (id INT) /* turnout: cluster=media */", begin)
    client.run("INSERT INTO photos (n) VALUES (79)", "ROLLBACK")
    assert client.run("SELECT n FROM photos WHERE n = 79").rows == ()


def test_nothing_of_turnouts_own_waits_for_the_sessions_lock(log_in: Callable[[], Client]) -> None:
    """It would have to write: an id of the cluster, a decision. (The first statements of a new Turnout.)"""
    client = log_in()
    client.run("FLUSH TABLES WITH READ LOCK", "START TRANSACTION READ WRITE")
    assert client.query("INSERT INTO photos (n) VALUES (84)").errno in (1223, 1235)
    client.run("SELECT n FROM items WHERE id = 2", "SELECT n FROM photos WHERE id = 2", "COMMIT", "SET autocommit = 0")
    client.run("SELECT COUNT(*) FROM spread", "COMMIT", "SET autocommit = 1")
    assert client.query("UPDATE spread SET n = n + 1").errno == 1223
    client.run("UNLOCK TABLES", "BEGIN", "INSERT INTO photos (n) VALUES (84)", "INSERT INTO items (n) VALUES (84)")
    client.run("ROLLBACK")


def test_what_a_dump_does_sees_one_moment_on_all_clusters(
    proxy: Turnout, log_in: Callable[[], Client], other: Client
) -> None:
    """As mysqldump does it with --single-transaction and --master-data."""
    client = log_in()
    client.run("FLUSH TABLES WITH READ LOCK", "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    client.run("START TRANSACTION WITH CONSISTENT SNAPSHOT", "UNLOCK TABLES")
    assert writable(other) == {"items": True, "photos": True}
    other.run("INSERT INTO items (n) VALUES (80)", "INSERT INTO photos (n) VALUES (80)")
    assert client.run("SELECT n FROM items WHERE n = 80").rows == ()
    assert client.run("SELECT n FROM photos WHERE n = 80").rows == ()
    if "transactions: atomic" in proxy.rules_path.read_text():
        assert client.query("DELETE FROM photos WHERE n = 80").errno == 1235  # it has begun without branches
    client.run("COMMIT")
    assert client.run("SELECT n FROM photos WHERE n = 80").rows == ((b"80",),)
    other.run("DELETE FROM items WHERE n = 80", "DELETE FROM photos WHERE n = 80")


def test_a_chained_transaction_begins_wherever_the_session_is_pinned(
    log_in: Callable[[], Client], other: Client
) -> None:
    client = log_in()
    client.run("CREATE TEMPORARY TABLE seen (id INT)", "LOCK TABLES photos WRITE", "COMMIT AND CHAIN")
    assert writable(other) == {"items": True, "photos": True}
    client.run("INSERT INTO photos (n) VALUES (81)", "INSERT INTO items (n) VALUES (81)", "ROLLBACK")
    assert client.run("SELECT n FROM photos WHERE n = 81").rows == ()
    assert client.run("SELECT n FROM items WHERE n = 81").rows == ()


def test_a_lock_on_everything_outlives_transactions(log_in: Callable[[], Client], other: Client) -> None:
    client = log_in()
    client.run("FLUSH TABLES WITH READ LOCK", "LOCK TABLES items READ", "BEGIN")
    assert writable(other) == {"items": False, "photos": False}
    client.run("UNLOCK TABLES", "COMMIT")
    assert writable(other) == {"items": True, "photos": True}


def test_a_value_comes_from_the_cluster_of_its_table(log_in: Callable[[], Client]) -> None:
    client = log_in()
    client.run("DELETE FROM photos", "INSERT INTO photos (n) VALUES (4)", "SET @n = (SELECT MAX(n) FROM photos)")
    assert client.run("SELECT n FROM photos WHERE n = @n").rows == ((b"4",),)
    client.run("SET @m = @n + 1")
    assert client.run("SELECT n + 1 FROM photos WHERE n + 1 = @m").rows == ((b"5",),)
    assert client.query("SET @k = (SELECT MAX(n) FROM items WHERE n = @m)").errno == 1235


def test_what_is_set_for_the_next_transaction_reaches_clusters_that_are_joined(log_in: Callable[[], Client]) -> None:
    client = log_in()
    client.run("SELECT GET_LOCK('two', 5)")  # it is pinned to main
    for begin in ("BEGIN", "START TRANSACTION", "SET @none = NULL"):
        client.run("SET TRANSACTION READ ONLY", begin)
        assert client.query("INSERT INTO photos (n) VALUES (6)").errno == 1792
        client.run("ROLLBACK", "INSERT INTO photos (n) VALUES (6)")


def test_autocommit_off_is_one_transaction_on_all_clusters(log_in: Callable[[], Client]) -> None:
    client = log_in()
    client.run("SET autocommit = 0", "INSERT INTO photos (n) VALUES (82)")
    assert client.run("SELECT 1 FROM items LIMIT 1").status & 1
    assert client.run("SELECT VERSION() IS NULL").status & 1
    client.run("INSERT INTO items (n) VALUES (82)", "ROLLBACK")
    assert client.run("SELECT COUNT(*) FROM spread").status & 1
    client.run("SET autocommit = 1")
    assert client.run("SELECT n FROM photos WHERE n = 82").rows == ()
    assert client.run("SELECT n FROM items WHERE n = 82").rows == ()


def test_deallocate_keeps_the_error_before(log_in: Callable[[], Client]) -> None:
    client = log_in()
    client.run("PREPARE p FROM 'SELECT n FROM photos WHERE id=?'")
    assert client.query("SELECT nosuch FROM photos").errno == 1054
    client.run("DEALLOCATE PREPARE p")
    assert client.run("SELECT @@warning_count").rows == ((b"1",),)  # as in MariaDB, whose statement has no tables


def test_ddl_on_another_cluster_after_a_statement_that_failed(log_in: Callable[[], Client]) -> None:
    """There is no transaction yet on the connection that is kept for one."""
    client = log_in()
    client.run("SET autocommit = 0")
    assert client.query("INSERT INTO nosuch VALUES (1)").errno == 1146
    client.run("ALTER TABLE photos COMMENT 'again'", "INSERT INTO photos (n) VALUES (84)", "ROLLBACK")
    assert client.run("SELECT n FROM photos WHERE n = 84").rows == ()


@pytest.mark.parametrize("begin", ["BEGIN", "SET autocommit = 0"])
def test_ddl_on_another_cluster_commits_what_was_begun(log_in: Callable[[], Client], begin: str) -> None:
    client, other = log_in(), log_in()
    client.run(begin, "INSERT INTO items (n) VALUES (83)")
    client.run("ALTER TABLE photos COMMENT 'changed'")
    assert other.run("SELECT n FROM items WHERE n = 83").rows == ((b"83",),)
    client.run("ROLLBACK", "DELETE FROM items WHERE n = 83", "COMMIT")
