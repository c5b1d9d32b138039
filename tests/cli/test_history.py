"""A Turnout that keeps a history: what it says afterwards is what was done, and what a change of rules would do is what
that then does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest
from click.testing import CliRunner

from parser.analyse import shape_digest
from parser.shape import lexer
from proxy.back.clusters import Clusters
from proxy.cli.main import main
from proxy.front.load import Loads
from proxy.measure.history import HistoryFile
from proxy.measure.measures import Measures
from proxy.rules.loader import load
from tests.cli.conftest import rules as fake_rules
from tests.front.raw import Client, Statement
from tests.servers import Run, Shop, Turnout
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers

# Statements, and how often each is executed. Under the new rules customers and orders are spread, photos have moved and
# countries are everywhere.
STATEMENTS = {
    "SELECT name FROM customers WHERE id = 5": 40,
    "SELECT name, 'xyzzy' FROM customers WHERE id = 6": 3,
    "SELECT COUNT(*), SUM(total) FROM orders": 4,
    "SELECT * FROM orders WHERE customer_id = 7 ORDER BY id LIMIT 5": 9,
    "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.id = 5": 2,
    "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id + 1": 2,
    "SELECT c.name, p.path FROM customers c JOIN photos p ON p.customer_id = c.id": 2,
    "SELECT path FROM photos WHERE id = 3": 6,
    "SELECT MAX(id) FROM settings": 5,
    "INSERT INTO orders (id, customer_id, total) VALUES (1001, 7, 10)": 1,
    "INSERT INTO orders (id, customer_id, total) VALUES (2001, 1, 10), (2002, 2, 10), (2003, 3, 10), (2004, 4, 10)": 1,
    "UPDATE orders SET total = 5 WHERE customer_id = 7": 3,
    "UPDATE orders SET total = 6 WHERE customer_id IN (1, 2, 3, 4, 7)": 3,
    "UPDATE orders SET total = 5 WHERE total = 3": 2,
    "UPDATE photos SET path = 'xyzzy' WHERE id = 3": 2,
    "DELETE FROM countries WHERE code = 'xx'": 2,
    "SELECT name FROM countries JOIN photos ON countries.code = photos.path": 1,
    "SELECT LAST_INSERT_ID()": 3,
    "COMMIT": 2,
}
TABLES = {
    "customers": "id INT PRIMARY KEY, name VARCHAR(50)",
    "orders": "id INT PRIMARY KEY, customer_id INT NOT NULL, total INT",
    "photos": "id INT PRIMARY KEY, customer_id INT, path VARCHAR(50)",
    "settings": "id INT PRIMARY KEY, value VARCHAR(50)",
    "notes": "id INT PRIMARY KEY, text VARCHAR(50)",
    "countries": "code CHAR(2) PRIMARY KEY, name VARCHAR(50)",
}
HISTORY = "history: {file: history.sqlite}\n"
BEFORE = "workers: 2\ndatabases:\n  shop: {home: main}\n" + HISTORY
AFTER = """
shardings:
  customer: {method: hash, clusters: [shard0, shard1]}
databases:
  shop:
    home: main
    tables:
      customers: {sharding: customer, key: id}
      orders: {sharding: customer, key: customer_id}
      photos: {cluster: shard0}
      countries: {everywhere: true}
"""
CLUSTERS = ("main", "shard0", "shard1")


@dataclass(frozen=True)
class Recorded:
    rules: Path
    statements: float  # as /metrics counted them
    status: int | None


def asked(connection: Any, sql: str) -> list[dict[str, Any]]:
    with connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@pytest.fixture(scope="module")
def recorded(run: Run, shop_servers: Shop) -> Iterator[Recorded]:
    """Everything on main: executed, and recorded by a Turnout that has ended."""
    for name in CLUSTERS:
        shop_servers.server(name)
    shop_servers.recreate()
    for name, columns in TABLES.items():
        shop_servers.main.execute(f"CREATE TABLE {name} ({columns})", database="shop")
    proxy = run.turnout(shop_servers.rules() + BEFORE, "recording")
    try:
        clients = [proxy.connect("app", "app-secret", "shop") for _ in range(4)]
        for sql, count in STATEMENTS.items():
            for n in range(count):
                with contextlib.suppress(pymysql.err.IntegrityError):
                    asked(clients[n % len(clients)], sql)
        others = _of_keys(proxy, clients[0])
        for client in clients:
            client.close()
        counted = 0.0  # each client has also set autocommit
        deadline = time.monotonic() + 10
        while counted < sum(STATEMENTS.values()) + len(clients) + others and time.monotonic() < deadline:
            counted = proxy.metric("turnout_statements_total")
            time.sleep(0.05)
        proxy.stop()
        yield Recorded(proxy.rules_path, counted, proxy.returncode)
    finally:
        proxy.kill()


def _of_keys(proxy: Turnout, client: Any) -> int:
    """Statements whose keys are known, prepared ones and transactions among them; how many they were."""
    with Client(proxy.port, "app", "app-secret", "shop") as raw:
        look = raw.prepare("SELECT value FROM settings WHERE id = ?")
        assert isinstance(look, Statement)
        for n in range(100):
            raw.execute(look, n % 20).checked()
    for n in range(100):
        asked(client, f"SELECT value FROM settings WHERE id = {n % 25}")
    for n in range(10):
        asked(client, f"UPDATE settings SET value = 'x' WHERE id = {n}")
    for n in range(64):
        asked(client, "BEGIN")
        asked(client, f"SELECT value FROM settings WHERE id = {n} FOR UPDATE")
        asked(client, f"INSERT INTO notes VALUES ({n}, 'xyzzy')")
        asked(client, "COMMIT")
    return 210 + 4 * 64


def turnout_command(*words: object) -> Any:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_history_is_what_was_done(recorded: Recorded) -> None:
    assert recorded.status == 0
    document = json.loads(turnout_command("measure", recorded.rules, "--json", "--limit", 0).stdout)
    shapes = {row["shape"]: row for row in document["shapes"]}
    assert shapes["SELECT name FROM customers WHERE id = ?"]["count"] == 40
    assert shapes["SELECT name, ? FROM customers WHERE id = ?"]["count"] == 3
    assert shapes["UPDATE orders SET total = ? WHERE customer_id IN (?+)"]["count"] == 3
    assert document["all"]["count"] == recorded.statements
    for row in document["shapes"]:
        assert row["plan"] in ("forward", "local")
    tables = {row["table"]: row for row in document["tables"]}
    assert tables["photos"]["count"] == sum(n for sql, n in STATEMENTS.items() if "photos" in sql)
    assert tables["customers"]["plans"] == f"forward: {sum(n for sql, n in STATEMENTS.items() if 'customers' in sql)}"
    (server,) = document["servers"]
    assert (server["cluster"], server["role"]) == ("main", "primary")
    assert server["limit"] in (100, 200)  # of one worker, when the other had not said a word yet
    assert server["statements_per_s"] > 0


def test_which_keys_were_asked_for(recorded: Recorded) -> None:
    history = HistoryFile(recorded.rules.parent / "history.sqlite", read_only=True)
    found = history.read_keys()
    history.close()
    settings = found.keys["shop.settings", ("id",)]
    assert settings.reads == pytest.approx(264, rel=0.5)  # of samples, where they came quickly
    assert 0 < settings.writes < 40
    assert settings.cacheable < 0.9 * settings.reads  # neither those in a transaction, nor those that lock
    assert settings.distinct == pytest.approx(64, abs=25)
    # 25 keys of text, 20 of prepared statements, and what the writes made void: nothing was asked for behind them.
    assert 0.5 < settings.hits / (settings.hits + settings.misses) < 0.95
    assert found.keys["shop.orders", ("customer_id",)].reads == 9
    assert found.together == {("shop.notes", "shop.settings"): pytest.approx(64, abs=8)}


def test_it_holds_no_values_of_statements(recorded: Recorded) -> None:
    for file in recorded.rules.parent.glob("history.sqlite*"):
        assert b"xyzzy" not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0, "others could read what the application does"


def test_a_rehearsal_says_what_then_happens(recorded: Recorded, run: Run, shop_servers: Shop) -> None:
    new = recorded.rules.with_name("new.yaml")
    text = shop_servers.rules(*CLUSTERS) + AFTER + HISTORY
    new.write_text(f"turnout: 1\nlisten: {{mysql: '127.0.0.1:{run.port()}'}}\n{text}")
    # Nothing has been moved yet.
    result = turnout_command("rehearse", new, "--catalog-from-servers", "--json")
    rehearsed = json.loads(result.stdout)
    assert result.exit_code == 1
    by_shape = {row["shape"]: row for row in rehearsed["shapes"]}
    assert {row["verdict"] for row in rehearsed["verdicts"]} >= {
        *("local", "one cluster", "by key", "several clusters", "depends", "refused"),
    }

    atomic = recorded.rules.with_name("atomic.yaml")
    atomic.write_text(new.read_text() + "transactions: atomic\n")
    before = everything(shop_servers)
    assert turnout_command("rehearse", atomic, "--catalog-from-servers", "--fail-on", "never").exit_code == 0
    assert everything(shop_servers) == before, "a rehearsal changes nothing"

    for name, columns in TABLES.items():
        for cluster in CLUSTERS[1:]:
            shop_servers.server(cluster).execute(f"CREATE TABLE {name} ({columns})", database="shop")
    proxy = run.turnout(text, "rehearsed")
    try:
        client, ops = (proxy.connect(user, f"{user}-secret", "shop") for user in ("app", "ops"))
        seen = 0
        for sql in STATEMENTS:
            explained = {row["what"]: row["value"] for row in asked(ops, f"TURNOUT EXPLAIN {sql}")}
            row = by_shape[shape_digest(lexer().shape(sql.encode())[0], lexer())]
            assert row["plan"] == explained["plan"], sql
            try:
                asked(client, sql)
                refused = False
            except pymysql.err.NotSupportedError:  # 1235
                refused = True
            if row["verdict"] != "depends":
                assert refused == (row["verdict"] == "refused"), sql
            seen += row["statements"]
        assert seen >= sum(STATEMENTS.values())
        watched(proxy, client)
        client.close()
        ops.close()
    finally:
        proxy.kill()


def everything(shop_servers: Shop) -> list[Any]:
    """The tables of all servers."""
    tables = (
        "SELECT TABLE_SCHEMA, TABLE_NAME, CREATE_TIME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'"
    )
    return [sorted(map(str, shop_servers.server(name).execute(tables))) for name in CLUSTERS]


def watched(proxy: Turnout, client: Any) -> None:
    """`turnout measure --live`, on a terminal, shows what is executed meanwhile, and ends on Ctrl-C."""
    terminal, other = pty.openpty()
    environment = {**proxy.environment, "TERM": "xterm", "COLUMNS": "160", "LINES": "30"}
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy.cli.main", "measure", "--live", str(proxy.rules_path)],
        stdin=other,
        stdout=other,
        stderr=other,
        env=environment,
        start_new_session=True,
    )
    os.close(other)
    try:
        shown = b""
        deadline = time.monotonic() + 30
        while shown.count(b"SELECT path FROM photos") < 2 or b"forward" not in shown:
            assert time.monotonic() < deadline, shown
            asked(client, "SELECT path FROM photos WHERE id = 3")
            if select.select([terminal], [], [], 0.05)[0]:
                shown += os.read(terminal, 65536)
        os.killpg(process.pid, signal.SIGINT)
        while select.select([terminal], [], [], 5)[0]:
            try:
                if not os.read(terminal, 65536):
                    break
            except OSError:  # nobody has the other end any longer
                break
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_how_much_servers_have_to_do(shop_servers: Shop, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        f"turnout: 1\nlisten: {{mysql: '127.0.0.1:1'}}\n{shop_servers.rules()}databases: {{shop: {{home: main}}}}\n"
    )
    rules = load(path)

    async def look() -> dict[str, int]:
        tasks: set[asyncio.Task[None]] = set()
        clusters = Clusters(lambda work, what: tasks.add(asyncio.create_task(work)), Measures().server)
        clusters.apply(rules)
        loads = Loads()
        try:
            await clusters.probed(10)
            (server,) = clusters.servers()
            await loads.look(clusters.servers(), rules)
            first = loads.status(server)
            await loads.look(clusters.servers(), rules)
            assert loads.status(server)["questions"] > first["questions"]
            return loads.status(server)
        finally:
            loads.close()
            await clusters.close()

    status = asyncio.run(look())
    assert status["threads_running"] >= 1
    assert status["innodb_buffer_pool_read_requests"] > 0
    assert status["data_bytes"] > 0
    assert status["rows_read"] > 0
    assert status["rows_written"] > 0


def test_a_history_that_cannot_be_kept_is_told_at_the_start(fake: Any, tmp_path: Path) -> None:
    process = fake(f"{fake_rules()}history: {{file: {tmp_path}/no/folder/h.sqlite}}\n", wait=False)
    wait_until(lambda: not process.alive, 20)
    assert process.returncode == 1
    assert "cannot be used: unable to open database file" in process.log_text()
