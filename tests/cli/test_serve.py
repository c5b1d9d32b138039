"""`turnout serve` with its real workers and a real server: what an operator sees of what clients do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pymysql
import pytest

from tests.servers import Shop, Turnout
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers
Start = Callable[..., Turnout]


def rules(shop: Shop) -> str:
    return "\n".join(
        [
            "workers: 2",
            shop.rules("main"),
            "databases:",
            "  shop: {home: main}",
            "limits: {drain: 10s, slow_statement: 300ms}",
        ]
    )


def connected(turnout: Turnout, user: str = "app") -> Any:
    return turnout.connect(user, f"{user}-secret", "shop")


def asked(connection: Any, sql: str) -> list[dict[str, Any]]:
    with connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def test_what_clients_do_is_seen(shop_servers: Shop, turnout: Start) -> None:
    main = shop_servers.main
    shop_servers.recreate()
    main.execute("CREATE TABLE seen (id INT PRIMARY KEY, secret VARCHAR(20))", database="shop")
    proxy = turnout(rules(shop_servers))
    clients = [connected(proxy) for _ in range(8)]
    ops = connected(proxy, "ops")
    for number, client in enumerate(clients):
        asked(client, f"INSERT INTO seen VALUES ({number}, 'xyzzy{number}')")
        assert len(asked(client, f"SELECT secret FROM seen WHERE id = {number}")) == 1
    with pytest.raises(pymysql.err.IntegrityError):
        asked(clients[0], "INSERT INTO seen VALUES (0, 'xyzzy')")
    asked(clients[1], "SELECT SLEEP(0.2) FROM seen WHERE id = 1")

    forwarded = {"plan": "forward", "cluster": "main"}
    wait_until(lambda: proxy.metric("turnout_statements_total", **forwarded) == 18, 10)
    assert proxy.metric("turnout_client_errors_total", errno="1062") == 1
    assert proxy.metric("turnout_logins_total", outcome="ok") == 9
    assert proxy.metric("turnout_clients") == 9
    assert proxy.metric("turnout_server_up", cluster="main", role="primary") == 1
    assert proxy.metric("turnout_statement_server_seconds_sum", plan="forward") > 0.2

    shapes = {row["shape"]: row for row in asked(ops, "SHOW TURNOUT SHAPES")}
    insert = next(row for shape, row in shapes.items() if shape.upper().startswith("INSERT"))
    assert (int(insert["count"]), int(insert["errors"]), insert["tables"]) == (9, 1, "shop.seen")
    assert not any("xyzzy" in shape for shape in shapes)
    sessions = asked(ops, "SHOW TURNOUT SESSIONS")
    assert sorted(row["user"] for row in sessions) == ["app"] * 8 + ["ops"]
    assert len({row["id"] for row in sessions}) == 9
    assert {int(row["worker"]) for row in asked(ops, "SHOW TURNOUT WORKERS")} == {0, 1}
    assert asked(ops, "SHOW TURNOUT CLUSTERS")[0]["state"] == "up"
    assert asked(ops, "SHOW TURNOUT TABLES LIMIT 1")[0]["table"] == "seen"
    assert "secret" not in " ".join(row["rules"] for row in asked(ops, "SHOW TURNOUT RULES")).replace("password", "")
    explained = {row["what"]: row["value"] for row in asked(ops, "TURNOUT EXPLAIN SELECT * FROM seen WHERE id = 1")}
    assert (explained["plan"], explained["cluster"]) == ("forward", "main")
    with pytest.raises(pymysql.err.MySQLError, match="Did you mean SHAPES"):
        asked(ops, "SHOW TURNOUT SHAPE")

    assert "xyzzy" not in proxy.log_text()
    assert "xyzzy" not in proxy.get("/")[1]
    for client in (*clients, ops):
        client.close()


def test_slow_statements_are_logged_without_their_values(shop_servers: Shop, turnout: Start) -> None:
    proxy = turnout(rules(shop_servers))
    client = connected(proxy)
    for _ in range(2):  # once a new connection is opened for it, once there is an idle one
        asked(client, "SELECT SLEEP(0.4), 'xyzzy'")
    asked(client, "SELECT SLEEP(0.01), 'xyzzy'")
    client.close()
    lines = [json.loads(line) for line in proxy.log_text().splitlines() if line.startswith("{")]
    slow = [line for line in lines if line["event"] == "slow statement"]
    assert len(slow) == 2
    assert all(line["total_ms"] >= line["server_ms"] >= 399 for line in slow)
    assert "xyzzy" not in proxy.log_text()
    wait_until(lambda: proxy.metric("turnout_slow_statements_total") == 2, 5)


def test_kill_reaches_sessions_of_other_workers(shop_servers: Shop, turnout: Start) -> None:
    proxy = turnout(rules(shop_servers))
    clients = [connected(proxy) for _ in range(12)]
    ids = [asked(client, "SELECT CONNECTION_ID() AS id")[0]["id"] for client in clients]
    assert {id % 64 for id in ids} == {0, 1}
    killer = clients[0]
    victim = next(i for i, id in enumerate(ids) if id % 64 != ids[0] % 64)
    asked(killer, f"KILL {ids[victim]}")
    with pytest.raises(pymysql.err.MySQLError):
        wait_until(lambda: not asked(clients[victim], "SELECT 1"), 5)
    with pytest.raises(pymysql.err.MySQLError) as caught:
        asked(killer, "KILL 999999")
    assert caught.value.args[0] == 1094
    for i, client in enumerate(clients):
        if i != victim:
            client.close()


def test_a_graceful_stop_of_real_workers(shop_servers: Shop, turnout: Start) -> None:
    proxy = turnout(rules(shop_servers))
    idle, busy = connected(proxy), connected(proxy)
    asked(busy, "BEGIN")
    asked(busy, "SELECT 1")
    stopping = threading.Thread(target=proxy.stop)
    stopping.start()
    with pytest.raises(pymysql.err.MySQLError):
        wait_until(lambda: not asked(idle, "SELECT 1"), 5)
    with pytest.raises(pymysql.err.OperationalError):
        wait_until(lambda: not connected(proxy).close() and False, 5)
    assert proxy.alive
    assert asked(busy, "SELECT 1 AS one") == [{"one": 1}]
    asked(busy, "COMMIT")
    stopping.join(10)
    assert proxy.returncode == 0


def test_check_sees_what_is_wrong_on_the_servers(shop_servers: Shop, turnout: Start, tmp_path: Any) -> None:
    main = shop_servers.main
    shop_servers.recreate()
    main.execute("CREATE TABLE keyed (id INT PRIMARY KEY, price FLOAT)", database="shop")
    path = tmp_path / "rules.yaml"
    path.write_text(
        "turnout: 1\nlisten: {mysql: '127.0.0.1:3999'}\n" + shop_servers.rules("main") + "\n"
        "shardings:\n  s: {method: hash, clusters: [main]}\n"
        "databases:\n  shop:\n    home: main\n    tables:\n"
        "      keyed: {sharding: s, key: price}\n      missing: {cluster: main}\n"
    )
    argv = [sys.executable, "-m", "proxy.cli.main", "check", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ})
    assert done.returncode == 1, done.stdout + done.stderr
    assert "error: databases.shop.tables.keyed price on cluster main" in done.stdout
    assert "error: databases.shop.tables.missing There is no such table on cluster main" in done.stdout
