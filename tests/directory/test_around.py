"""Around the routing of directory shardings: `turnout check`, EXPLAIN, refusals, and a home that does not answer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from proxy.back.directory import CREATE, LEASE_S
from tests.directory.conftest import World, numbers
from tests.front.raw import Client
from tests.servers import Run, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, SERVICE, SERVICE_PASSWORD

pytestmark = pytest.mark.servers
Connect = Callable[..., Client]


def cli(proxy: Turnout, command: str, *arguments: str) -> tuple[int, str]:
    argv = [sys.executable, "-m", "proxy.cli.main", command, str(proxy.rules_path), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "500"})
    return done.returncode, done.stdout + done.stderr


@pytest.mark.thorough
def test_check_says_what_is_wrong_with_a_directory(world: World) -> None:
    proxy = world.start()
    assert cli(proxy, "check")[0] == 0
    cases = {
        "DROP TABLE owners": "There is no table shop.owners on its home, cluster main",
        "CREATE TABLE owners (owner BIGINT, cluster VARCHAR(40))": "needs exactly one unique key of one column",
        "CREATE TABLE owners (owner BIGINT PRIMARY KEY, shard VARCHAR(40))": "has no column `cluster` of type VARCHAR",
        "CREATE TABLE owners (owner BIGINT UNIQUE, cluster VARCHAR(40))": "has a key, owner, that may be NULL",
        "CREATE TABLE owners (owner BIGINT PRIMARY KEY, cluster VARCHAR(5))": "that is too short for shard0",
        "CREATE TABLE owners (owner BIGINT PRIMARY KEY, cluster VARCHAR(9)) ENGINE=MyISAM": "has the engine MyISAM",
        "CREATE TABLE owners (owner INT PRIMARY KEY, cluster VARCHAR(9))": "another type or collation than owner",
        "CREATE TABLE owners (owner CHAR(9) PRIMARY KEY, cluster VARCHAR(9))": "another type or collation than owner",
        "CREATE VIEW owners AS SELECT 1 AS owner, 'a' AS cluster": "is not an ordinary table",
    }
    for statement, said in cases.items():
        world.main.execute("DROP TABLE IF EXISTS owners", database=DATABASE)
        world.main.execute(*([] if statement.startswith("DROP") else [statement]), "DO 0", database=DATABASE)
        code, output = cli(proxy, "check")
        assert said in output, (statement, output)
        assert code == 1
        world.main.execute("DROP VIEW IF EXISTS owners", database=DATABASE)
    world.main.execute(
        "CREATE TABLE owners (owner BIGINT PRIMARY KEY, cluster VARCHAR(9))",
        "INSERT INTO owners VALUES (1, 'shard0'), (2, 'shard7'), (3, 'main'), (4, ''), (5, NULL)",
        database=DATABASE,
    )
    code, output = cli(proxy, "check")
    assert code == 1
    assert "shop.owners has keys on `main` and `shard7`: statements for them fail" in output
    assert "shop.owners has keys without a cluster: they are being moved" in output
    world.main.execute("DELETE FROM owners WHERE owner > 1", database=DATABASE)
    assert cli(proxy, "check")[0] == 0


def test_check_says_what_to_grant(world: World) -> None:
    proxy = world.start()
    world.main.execute(f"REVOKE INSERT ON {DATABASE}.* FROM {SERVICE}")
    try:
        code, output = cli(proxy, "check")
    finally:
        world.main.execute(f"GRANT INSERT ON {DATABASE}.* TO {SERVICE}")
    assert code == 1
    assert "GRANT SELECT, INSERT ON shop.owners" in output
    assert cli(proxy, "check")[0] == 0


def test_check_makes_nothing(world: World, shop_servers: object) -> None:
    proxy = world.start()
    wait_until(lambda: bool(world.main.execute("SHOW DATABASES LIKE 'turnout'")), 20)
    proxy.kill()
    world.main.execute("DROP DATABASE turnout")
    code, output = cli(proxy, "check")
    assert code == 0
    assert "There is no table turnout.directories on cluster main yet" in output
    assert not world.main.execute("SHOW DATABASES LIKE 'turnout'")
    world.main.execute(*CREATE)
    assert "turnout.directories" not in cli(proxy, "check")[1]


def test_explain_shows_the_directory_and_the_cluster(world: World, connect: Connect) -> None:
    world.enter((1, "shard0"), (2, "shard1"))
    proxy = world.start()
    client = connect(proxy, admin=True)
    found = client.query("TURNOUT EXPLAIN SELECT * FROM files WHERE owner IN (1, 2, 3)").checked().rows
    assert (b"sharding", b"by_owner (directory, looked up in shop.owners)") in found
    assert [row[1] for row in found if row[0] == b"directory"] == [
        b"shop.owners: 1 is on shard0",
        b"shop.owners: 2 is on shard1",
        b"shop.owners: 3 is not there",
    ]
    found = client.query("TURNOUT EXPLAIN INSERT INTO files (owner, id) VALUES (2, 1), (4, 1)").checked().rows
    assert [row[1] for row in found if row[0] == b"directory"] == [
        b"shop.owners: 2 is on shard1",
        b"shop.owners: 4 is not there",
    ]
    assert list(world.directory()) == ["1", "2"], "EXPLAIN enters nothing"
    sql = "SELECT * FROM files WHERE owner = 2"
    code, output = cli(proxy, "explain", sql, "--database", DATABASE, "--catalog-from-servers")
    assert code == 0, output
    assert "the cluster that shop.owners has for 2" in output


def test_statements_that_would_change_entries_are_refused(world: World, connect: Connect) -> None:
    world.enter((1, "shard0"))
    client = connect(world.start())
    for sql in (
        "UPDATE owners SET cluster = 'shard1' WHERE owner = 1",
        "DELETE FROM shop.owners",
        "DELETE o FROM owners AS o",
        "REPLACE INTO owners VALUES (1, 'shard1')",
        "INSERT INTO owners VALUES (1, 'shard1') ON DUPLICATE KEY UPDATE cluster = 'shard1'",
        "TRUNCATE owners",
        "TRUNCATE TABLE Shop.Owners",
        "LOAD DATA INFILE '/x' REPLACE INTO TABLE owners",
    ):
        answer = client.query(sql)
        assert (answer.errno, "directory" in answer.message or "says where" in answer.message) == (1235, True), sql
    assert world.directory() == {"1": "shard0"}
    client.query("INSERT INTO owners VALUES (9, 'shard1')").checked()
    client.query("INSERT INTO files (owner, id) VALUES (9, 1)").checked()
    assert world.rows(1, "SELECT owner FROM files") == [(9,)]


def test_a_cluster_that_the_rules_do_not_have(world: World, connect: Connect) -> None:
    world.enter((1, "shard0"), (2, "shard9"), (3, "main"))
    client = connect(world.start())
    for owner, name in ((2, "shard9"), (3, "main")):
        answer = client.query(f"SELECT * FROM files WHERE owner = {owner}")
        assert answer.errno == 1105
        assert f"has the key {owner} on '{name}', which is no cluster of the sharding by_owner" in answer.message
        assert not client.query(f"INSERT INTO files (owner, id) VALUES ({owner}, 1)").ok
    assert client.query("SELECT * FROM files WHERE owner = 1").checked().rows == ()


def test_the_key_of_a_row_stays(world: World, connect: Connect) -> None:
    world.enter((1, "shard0"), (2, "shard1"), (3, "shard0"))
    client = connect(world.start())
    client.query("INSERT INTO files (owner, id) VALUES (1, 1)").checked()
    assert client.query("UPDATE files SET owner = 2 WHERE owner = 1").errno == 1235
    assert client.query("UPDATE files SET owner = 77 WHERE owner = 1").errno == 1235
    client.query("UPDATE files SET owner = 3 WHERE owner = 1").checked()
    assert world.rows(0, "SELECT owner FROM files") == [(3,)]
    assert client.query("INSERT INTO files (owner, id) VALUES (NULL, 1)").errno == 1235
    assert client.query("SELECT * FROM files WHERE owner = NULL").checked().rows == ()


def test_a_directory_that_was_dropped(world: World, connect: Connect) -> None:
    client = connect(world.start())
    world.main.execute("DROP TABLE owners", database=DATABASE)
    answer = client.query("SELECT * FROM files WHERE owner = 31")
    assert not answer.ok
    assert "shop.owners" in answer.message
    assert "doesn't exist" in answer.message or "not known yet" in answer.message


@pytest.fixture
def own_home(run: Run, world: World, shop_servers: object) -> object:
    """A home of its own, which may be stopped."""
    home = run.mariadb("home-of-directory")
    home.create_account(APP, APP_PASSWORD)
    home.create_service_account(SERVICE, SERVICE_PASSWORD)
    home.execute(f"CREATE DATABASE {DATABASE}", f"GRANT INSERT ON {DATABASE}.* TO {SERVICE}")
    return home


def test_known_keys_are_served_while_the_lease_lasts(
    run: Run, world: World, own_home: object, connect: Connect, turnout: Callable[..., Turnout]
) -> None:
    from tests.directory.conftest import NAMES, OWNERS
    from tests.servers import MariaDB

    assert isinstance(own_home, MariaDB)
    own_home.execute(OWNERS, NAMES, "INSERT INTO owners VALUES (1, 'shard0'), (2, 'shard1')", database=DATABASE)
    clusters = [("home", own_home), ("shard0", world.shards[0]), ("shard1", world.shards[1])]
    listed = "".join(f"  {name}: {{primary: '{server.address}'}}\n" for name, server in clusters)
    proxy = turnout(f"""\
users:
  {APP}: {{password: {APP_PASSWORD}}}
service: {{user: {SERVICE}, password: {SERVICE_PASSWORD}}}
clusters:
{listed}shardings:
  by_owner: {{method: directory, table: shop.owners, clusters: [shard0, shard1]}}
databases:
  shop: {{home: home, tables: {{files: {{sharding: by_owner, key: owner}}}}}}
""")
    client = connect(proxy)
    for owner in (1, 2):
        client.query(f"INSERT INTO files (owner, id) VALUES ({owner}, {owner})").checked()
    own_home.kill()
    gone = sent = time.monotonic()
    served = 0
    answer = client.query("SELECT id FROM files WHERE owner = 1")
    while answer.ok and sent - gone < 60:
        served += 1
        assert numbers(answer) == [1]
        assert sent - gone < LEASE_S, "nothing is sent by a lease that has run out"
        sent = time.monotonic()
        answer = client.query("SELECT id FROM files WHERE owner = 1")
    assert served > 0
    assert answer.errno in (1429, 1158, 1159)
    assert "shop.owners" in answer.message
    assert "home" in answer.message
    for sql in (
        "SELECT id FROM files WHERE owner = 9",
        "INSERT INTO files (owner, id) VALUES (9, 1)",
        "UPDATE files SET v = 1 WHERE owner = 2",
        "SELECT COUNT(*) FROM files",
    ):
        assert client.query(sql).errno in (1429, 1158, 1159), sql
    own_home.launch()

    def back() -> bool:
        return client.query("SELECT id FROM files WHERE owner = 2").ok

    wait_until(back, 60)
    assert numbers(client.query("SELECT id FROM files ORDER BY id")) == [1, 2]
