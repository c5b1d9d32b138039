"""Shard keys that are dates and times, against one server that has all the rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from tests.front.conftest import end
from tests.front.raw import Client, Statement
from tests.servers import Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = pytest.mark.servers
RULES = """\
{servers}
shardings:
  by_day: {{method: range, ranges: [{{below: 2024-07-01, cluster: shard0}}, {{cluster: shard1}}]}}
  by_time: {{method: range, ranges: [{{below: '2024-07-01', cluster: shard0}},
             {{below: '2024-07-02 12:00:00.5', cluster: shard1}}, {{cluster: shard0}}]}}
  by_hash: {{method: hash, clusters: [shard0, shard1]}}
  by_list: {{method: list, values: {{shard0: ['2024-07-01', '2024-07-02']}}, default: shard1}}
databases:
  shop:
    home: main
    tables:
      days: {{sharding: by_day, key: at}}
      times: {{sharding: by_time, key: at}}
      hashed: {{sharding: by_hash, key: at}}
      listed: {{sharding: by_list, key: at}}
      stamps: {{sharding: by_hash, key: at}}
transactions: best_effort
health: {{timeout: 30s, connect_timeout: 30s}}
"""
TABLES = {"days": "DATE", "times": "DATETIME(3)", "hashed": "DATETIME", "listed": "DATE", "stamps": "TIMESTAMP"}
DAYS = ["2024-06-30", "2024-07-01", "2024-07-02", "2024-07-03", "1000-01-01", "9999-12-31"]
TIMES = [f"{day} {time}" for day in DAYS for time in ("00:00:00", "12:00:00", "23:59:59")]
FINE = [
    *TIMES,
    "2024-07-02 12:00:00.499",
    "2024-07-02 12:00:00.5",
    "2024-07-02 12:00:00.500",
    "2024-06-30 23:59:59.999",
]
VALUES = {"days": DAYS, "times": [*FINE, *DAYS], "hashed": [*TIMES, *DAYS], "listed": DAYS}


@pytest.fixture
def both(run: Run, shop_servers: Shop) -> Iterator[Callable[[], tuple[Client, Client]]]:
    shop_servers.main, shop_servers.media, shop_servers.shard(0), shop_servers.shard(1)
    shop_servers.recreate()
    one = shop_servers.media
    for server in (shop_servers.shard(0), shop_servers.shard(1), one):
        for table, kind in TABLES.items():
            server.execute(
                f"CREATE TABLE {table} (at {kind} NOT NULL, id INT, PRIMARY KEY (at, id))", database=DATABASE
            )
    proxies: list[Turnout] = [run.turnout(RULES.format(servers=shop_servers.rules("main", "shard0", "shard1")))]
    clients = [Client(server.port, APP, APP_PASSWORD, DATABASE) for server in (proxies[0], one)]
    yield lambda: (clients[0], clients[1])
    for client in clients:
        client.abort()
    end(proxies[0])


def test_as_on_one_server(both: Callable[[], tuple[Client, Client]], shop_servers: Shop) -> None:
    clients = both()
    rng = random.Random(7)
    for number in range(200):
        table = rng.choice(list(VALUES))
        value = rng.choice(VALUES[table])
        insert = f"INSERT INTO {table} VALUES ('{value}', {number})"
        if number % 3 == 0:
            statements = [client.prepare(f"INSERT INTO {table} VALUES (?, ?)") for client in clients]
            for client, statement in zip(clients, statements, strict=True):
                assert isinstance(statement, Statement)
                client.execute(statement, value, number).checked()
        else:
            for client in clients:
                client.query(insert).checked()
    spread = [shop_servers.shard(n).execute(f"SELECT at FROM {t}", database=DATABASE) for n in (0, 1) for t in VALUES]
    assert all(spread), "every table has rows on both shards"
    for table, values in VALUES.items():
        for literal in [
            *values,
            f"{values[0]} ",
            values[0].replace("-", ""),
            f"{values[1]}.000000",
            "2024-07-01T00:00:00",
        ]:
            for sql in (
                f"SELECT at, id FROM {table} WHERE at = '{literal}' ORDER BY at, id",
                f"SELECT COUNT(*) FROM {table} WHERE at IN ('{literal}', '{values[2]}')",
                f"SELECT MAX(id) FROM {table} WHERE at > '{literal}'",
                f"UPDATE {table} SET id = id + 1000 WHERE at = '{literal}' AND id = 17",
            ):
                there, here = (client.query(sql) for client in clients)
                assert (there.errno, there.rows, there.affected_rows) == (here.errno, here.rows, here.affected_rows), (
                    sql
                )
        for sql in (
            f"UPDATE {table} SET id = id + 5000 ORDER BY at, id LIMIT 7",
            f"DELETE FROM {table} ORDER BY id LIMIT 3",
        ):
            assert [client.query(sql).checked().affected_rows for client in clients] in ([7, 7], [3, 3])
        for client in clients:
            sql = f"INSERT INTO {table} SELECT at, id + 9000 FROM {table}"
            client.query(sql).checked()
    for table in VALUES:
        sql = f"SELECT * FROM {table} ORDER BY at, id"
        assert clients[0].query(sql).checked().rows == clients[1].query(sql).checked().rows


def test_what_has_no_text_is_refused(both: Callable[[], tuple[Client, Client]]) -> None:
    client, _ = both()
    for table, value in (("days", "2024-7-1"), ("hashed", "2024-07-01 00:00:00.5"), ("times", "2024-07-01T00:00:00")):
        answer = client.query(f"INSERT INTO {table} VALUES ('{value}', 1)")
        assert (answer.errno, answer.sqlstate) == (1235, "42000"), (table, answer)
    answer = client.query("SELECT * FROM stamps WHERE at = '2024-07-01 00:00:00'")
    assert answer.errno == 1105
    assert "is a TIMESTAMP, whose text depends on the session's time zone" in answer.message
