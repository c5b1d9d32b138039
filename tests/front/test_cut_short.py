"""The log's lines about answers that end with the client's connection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest

from proxy.errors import ServerFailed
from proxy.front import cut_short
from tests.front import raw
from tests.servers import Shop, Turnout
from tests.servers.process import wait_until


def test_few_lines_of_one_cluster_and_how_many_were_left_out() -> None:
    seldom = cut_short.Seldom()
    assert [seldom.may("a", 1.0) for _ in range(12)] == [0] * 10 + [None] * 2
    assert seldom.may("b", 1.0) == 0
    assert seldom.may("a", 60.9) is None
    assert seldom.may("a", 61.0) == 3
    assert seldom.may("a", 61.0) == 0


def test_a_line_has_the_cluster_and_no_literals(caplog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_short, "_seldom", cut_short.Seldom())
    on = [SimpleNamespace(where=f"cluster {name}, primary") for name in ("shard0", "shard1")]
    session: Any = SimpleNamespace(
        spread=on, running_on=None, running=None, client=SimpleNamespace(connection_id=7), held={}, last_on=None
    )
    with caplog.at_level(logging.WARNING):
        cut_short.tell(session, ServerFailed("Incorrect value: 'it''s me' for x", 1366))
    (record,) = caplog.records
    assert record.servers == "cluster shard0, primary; cluster shard1, primary"
    assert record.reason == "Incorrect value: '..' for x"
    assert record.errno == 1366


@pytest.mark.servers
def test_shards_whose_columns_differ_give_an_error_and_no_end(
    shop_servers: Shop, turnout: Callable[..., Turnout]
) -> None:
    """Also where the rows of the first have been sent: the error is in the place of the next row."""
    shards = [shop_servers.shard(0), shop_servers.shard(1)]
    shop_servers.recreate()
    more = ("", ", extra INT")
    for shard, extra in zip(shards, more):
        shard.execute(
            f"CREATE TABLE posts (id INT PRIMARY KEY, body VARCHAR(1000){extra})",
            "INSERT INTO posts (id, body) SELECT seq, REPEAT('x', 1000) FROM seq_1_to_2000",
            database="shop",
        )
    proxy = turnout(
        f"{shop_servers.rules('shard0', 'shard1')}\n"
        "shardings: {s: {method: hash, clusters: [shard0, shard1]}}\n"
        "databases: {shop: {home: shard0, tables: {posts: {sharding: s, key: id}}}}\n"
    )
    with proxy.connect("app", "app-secret", "shop") as client, client.cursor() as cursor:
        for limit in (1, 2000):
            with pytest.raises(pymysql.err.OperationalError, match="the table differs between the shards") as raised:
                cursor.execute(f"SELECT * FROM posts WHERE id <= {limit}")
            assert raised.value.args[0] == 1105
        cursor.execute("SELECT 1")  # the connection is still there
        assert cursor.fetchall() == ((1,),)


@pytest.mark.servers
def test_a_server_that_is_lost_in_the_middle_is_in_the_log(shop_servers: Shop, turnout: Callable[..., Turnout]) -> None:
    main = shop_servers.main
    shop_servers.recreate()
    proxy = turnout(f"{shop_servers.rules('main')}\ndatabases: {{shop: {{home: main}}}}\n")
    with raw.Client(proxy.port, "app", "app-secret", "shop") as client:
        client.socket.sendall(raw.framed(b"\x03SELECT REPEAT('x', 1000) FROM seq_1_to_1000000"))
        assert client.socket.recv(1)
        (row,) = main.execute("SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT REPEAT%'")
        main.execute(f"KILL {row[0]}")
        while client.socket.recv(1 << 20):
            pass
    wait_until(lambda: "answer cut short, client disconnected" in proxy.log_text(), 10)
    (line,) = [line for line in proxy.log_text().splitlines() if "answer cut short" in line]
    assert '"servers": "cluster main, primary' in line
