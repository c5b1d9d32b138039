"""`turnout check` against real servers: what it says of them, and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import Shop, Turnout
from tests.servers.mariadb import SERVICE_GRANTS
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers


def checked(path: Path, *options: str) -> tuple[int, str]:
    argv = [sys.executable, "-m", "proxy.cli.main", "check", str(path), *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ})
    return done.returncode, done.stdout + done.stderr


def written(folder: Path, servers: str, databases: str, name: str = "rules.yaml") -> Path:
    path = folder / name
    path.write_text(f"turnout: 1\nlisten: {{mysql: '127.0.0.1:3999'}}\n{servers}\n{databases}")
    return path


CUST = "CREATE TABLE cust (id INT PRIMARY KEY)"
ORD = "CREATE TABLE ord (id INT PRIMARY KEY, cust_id INT, CONSTRAINT ord_fk FOREIGN KEY (cust_id) REFERENCES cust (id)"


def test_a_foreign_key_that_a_move_takes_apart(shop_servers: Shop, tmp_path: Path) -> None:
    main, media = shop_servers.main, shop_servers.media
    shop_servers.recreate()
    main.execute(CUST, f"{ORD} ON DELETE CASCADE)", database="shop")
    servers = shop_servers.rules("main", "media")
    old = written(tmp_path, servers, "databases:\n  shop: {home: main}\n", "old.yaml")
    assert checked(old)[0] == 0
    tables = "databases:\n  shop:\n    home: main\n    tables:\n      ord: {cluster: media}\n"
    new = written(tmp_path, servers, tables)
    code, said = checked(new, "--against", str(old))
    assert code == 1
    assert "error: databases.shop.tables.ord Foreign key `ord_fk` (cust_id) REFERENCES shop.cust (id)" in said
    assert "caution: databases.shop.tables.ord takes foreign key `ord_fk`" in said
    media.execute("SET SESSION foreign_key_checks = 0", f"{ORD})", database="shop")
    code, said = checked(new)
    assert code == 1
    assert "Cluster media has no shop.cust: every INSERT into shop.ord there fails with 1452" in said
    assert "Cluster main has a copy of shop.ord with the key" in said
    media.execute("ALTER TABLE ord DROP FOREIGN KEY ord_fk", database="shop")
    code, said = checked(new)
    assert code == 0, said
    assert "warning: databases.shop.tables.ord Foreign key `ord_fk`" in said
    assert "warning: databases.shop Cluster main has a table that the rules do not place there: `ord`" in said
    main.execute("DROP TABLE ord", database="shop")
    code, said = checked(new)
    assert code == 0, said
    assert "ord" not in said


def test_shards_whose_definitions_differ(shop_servers: Shop, tmp_path: Path) -> None:
    shards = [shop_servers.shard(0), shop_servers.shard(1)]
    shop_servers.recreate()
    shards[0].execute("CREATE TABLE posts (id INT PRIMARY KEY, n INT, body VARCHAR(20))", database="shop")
    shards[1].execute(
        "CREATE TABLE posts (id INT PRIMARY KEY, n INT NOT NULL, body VARCHAR(30), extra DECIMAL(5, 2))",
        database="shop",
    )
    databases = (
        "shardings: {s: {method: hash, clusters: [shard0, shard1]}}\n"
        "databases: {shop: {home: shard0, tables: {posts: {sharding: s, key: id}}}}\n"
    )
    code, said = checked(written(tmp_path, shop_servers.rules("shard0", "shard1"), databases))
    assert code == 1
    assert "error: databases.shop.tables.posts It is not the same on all of its clusters. Column body is" in said
    assert "Column extra is missing on shard0, decimal(5,2) on shard1." in said
    assert "warning: databases.shop.tables.posts It is not the same on all of its clusters. Column n is NULL" in said


USERS = """
users:
  app: {password: app-secret}
  other: {password: other-secret}
  ops: {password: ops-secret, admin: true}
"""


@pytest.fixture
def three(shop_servers: Shop) -> Iterator[Callable[..., str]]:
    """Rules of main and media with an account `other`, which the servers are given as the test says."""
    servers = (shop_servers.main, shop_servers.media)
    shop_servers.recreate()

    def rules(main: str, media: str) -> str:
        for server, statements in zip(servers, (main, media)):
            server.execute("DROP USER IF EXISTS 'other'@'%', ''@'127.0.0.1', turnout@'127.0.0.1', ops", "DO 1")
            server.execute(*[one for one in statements.split(";") if one.strip()] or ["DO 1"])
        text = shop_servers.rules("main", "media")
        return USERS + text[text.index("service:") :]

    yield rules
    rules("", "")
    for server in servers:
        server.create_account("ops", "ops-secret")


OTHER = "CREATE USER 'other'@'%' IDENTIFIED BY 'other-secret'; GRANT ALL PRIVILEGES ON shop.* TO 'other'@'%'"
DATABASES = "databases:\n  shop:\n    home: main\n    tables:\n      there: {cluster: media}\n"


def test_accounts_of_applications_are_tried(shop_servers: Shop, three: Callable[..., str], tmp_path: Path) -> None:
    shop_servers.media.execute("CREATE TABLE there (id INT PRIMARY KEY)", database="shop")
    assert checked(written(tmp_path, three(OTHER, OTHER), DATABASES))[0] == 0, "administrators need not be on servers"

    code, said = checked(written(tmp_path, three(OTHER, ""), DATABASES))
    assert code == 1
    assert "error: users.other cannot log in to cluster media: there is no such account" in said
    assert "users.app" not in said

    wrong = OTHER.replace("other-secret", "another")
    code, said = checked(written(tmp_path, three(wrong, OTHER), DATABASES))
    assert code == 1
    assert "cannot log in to cluster main: access denied. The password in the rules is not that of" in said

    code, said = checked(written(tmp_path, three(OTHER, f"{OTHER}; CREATE USER ''@'127.0.0.1'"), DATABASES))
    assert code == 1
    assert "Is its password right? Then an anonymous account is in the way: DROP USER ''@'127.0.0.1';" in said

    own = "CREATE USER turnout@'127.0.0.1' IDENTIFIED BY 'turnout-secret'; GRANT ALL ON *.* TO turnout@'127.0.0.1'"
    anonymous = f"{OTHER}; CREATE USER ''@'127.0.0.1'; {own}"
    code, said = checked(written(tmp_path, three(OTHER, anonymous), DATABASES))
    assert code == 1
    assert "the anonymous account ''@'127.0.0.1' goes before 'other'@'%'" in said
    assert "DROP USER ''@'127.0.0.1'; or create 'other'@'127.0.0.1' too, with the same password" in said

    without = OTHER.partition(";")[0]
    code, said = checked(written(tmp_path, three(OTHER, without), DATABASES))
    assert code == 1
    assert "error: users.other may not use `shop` on cluster media, as it may on another cluster" in said
    code, said = checked(written(tmp_path, three(without, without), DATABASES))
    assert code == 1
    assert "error: users.other may use none of the databases of these rules" in said


def test_databases_and_privileges_that_are_missing(shop_servers: Shop, tmp_path: Path) -> None:
    main = shop_servers.main
    shop_servers.recreate()
    databases = "databases: {shpo: {home: main, tables: {cust: {cluster: main}}}}\n"
    code, said = checked(written(tmp_path, shop_servers.rules("main"), databases))
    assert code == 1
    assert "no such table" not in said
    assert "error: databases.shpo There is no database shpo on cluster main" in said
    main.execute("REVOKE TRIGGER, REPLICA MONITOR, BINLOG MONITOR ON *.* FROM turnout")
    try:
        code, said = checked(written(tmp_path, shop_servers.rules("main"), "databases: {shop: {home: main}}\n"))
    finally:
        main.execute(f"GRANT {SERVICE_GRANTS} TO turnout")
    assert code == 0, said
    assert "warning: clusters.main Turnout's own account lacks TRIGGER, REPLICATION CLIENT, REPLICA MONITOR on" in said
    assert (
        "GRANT SELECT, SHOW VIEW, TRIGGER, PROCESS, REPLICATION CLIENT, REPLICATION SLAVE, REPLICA MONITOR ON *.* "
        "TO 'turnout'@'%';"
    ) in said


def test_exit_codes_for_what_cannot_be_asked(shop_servers: Shop, tmp_path: Path) -> None:
    shop_servers.recreate()
    text = shop_servers.rules("main")
    wrong = text.replace("user: turnout, password: turnout-secret", "user: turnout, password: wrong")
    code, said = checked(written(tmp_path, wrong, "databases: {shop: {home: main}}\n"))
    assert code == 1
    assert "Is its password right? Then an anonymous account" in said
    missing = "databases: {shop: {home: main, tables: {gone: {cluster: main}}}}\n"
    code, said = checked(written(tmp_path, text, missing))
    assert code == 1
    assert "error: databases.shop.tables.gone There is no such table on cluster main" in said
    assert checked(written(tmp_path, text, missing), "--no-servers")[0] == 0


def test_serving_says_which_foreign_keys_are_not_kept(shop_servers: Shop, turnout: Callable[..., Turnout]) -> None:
    main, media = shop_servers.main, shop_servers.media
    shop_servers.recreate()
    main.execute(CUST, database="shop")
    media.execute(CUST, f"{ORD})", database="shop")
    databases = "databases:\n  shop:\n    home: main\n    tables:\n      ord: {cluster: media}\n"
    proxy = turnout(f"{shop_servers.rules('main', 'media')}\n{databases}")
    wait_until(lambda: "foreign key not kept" in proxy.log_text(), 10)
    assert proxy.log_text().count("foreign key not kept") == 1
    with proxy.connect("ops", "ops-secret", "shop") as ops, ops.cursor() as cursor:
        cursor.execute("TURNOUT EXPLAIN DELETE FROM cust WHERE id = 1")
        (line,) = [value for what, value in cursor.fetchall() if what == "foreign key"]
        assert line.startswith("not kept: foreign key `ord_fk` from shop.ord to shop.cust.")
        cursor.execute("TURNOUT EXPLAIN SELECT * FROM cust WHERE id = 1")
        assert not [value for what, value in cursor.fetchall() if what == "foreign key"]
