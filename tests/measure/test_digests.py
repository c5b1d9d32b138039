"""performance_schema's digests: looks at it, what is between two, and a real server's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.cli.asking import Dsn, ask, parse_dsn
from proxy.cli.main import main
from proxy.cli.sources import NoMeasurements
from proxy.measure.digests import Look, between, looked
from proxy.measure.ranking import Measured
from proxy.measure.tally import OTHERS
from proxy.rules.model import Address
from tests.servers import Run, Shop
from tests.servers.process import wait_until

SELECT = "SELECT * FROM `orders` WHERE `id` IN (...) "
INSERT = "INSERT INTO `x` . `log` VALUES (...) /* , ... */ "


def row(database: str | None, digest: str | None, text: str | None, count: int) -> list[bytes | None]:
    words = [database, digest, text, count, count * 2_000_000, 5_000_000, 1, 3 * count, 9 * count, 1000 + count, 2000]
    return [None if word is None else str(word).encode() for word in words]


def look(*counts: int, at: float = 2000.0) -> Look:
    keys = [("shop", "d1", SELECT), ("shop", "d2", INSERT), (None, None, None)]
    return looked([row(*key, count) for key, count in zip(keys, counts)], at)


def counted(measured: Measured) -> dict[str, int]:
    return {one.digest: one.tally.count for one in measured.shapes}


def test_since_the_server_began_to_count() -> None:
    found = between(None, look(10, 4), "s")
    assert counted(found) == {SELECT: 10, INSERT: 4}
    assert [one.shape.tables for one in found.shapes] == [("shop.orders",), ("x.log",)]
    tally = found.shapes[0].tally
    assert (tally.total_ns, tally.max_ns, tally.errors, tally.rows, tally.examined) == (20_000, 5000, 1, 30, 90)
    assert (found.since, found.until, found.notes) == (1004.0, 2000.0, [])


def test_between_two_looks() -> None:
    found = between(look(10, 4), look(12, 4, 7, at=2010.0), "s")
    assert [(one.digest, one.tally.count, one.tally.total_ns) for one in found.shapes] == [
        (SELECT, 2, 4000),
        ("(other shapes)", 7, 14_000),
    ]
    assert found.shapes[1].shape == OTHERS
    assert (found.seconds, len(found.notes)) == (10.0, 2)


def test_sums_that_began_again_in_between() -> None:
    assert counted(between(look(10, 4), look(3, 5), "s")) == {SELECT: 3, INSERT: 1}


def test_dsns() -> None:
    assert parse_dsn("mysql://a%40b:p%3a@db.example:3307", {}) == Dsn(Address("db.example", 3307), "a@b", "p:")
    assert parse_dsn("mysql://a@[::1]", {"MYSQL_PWD": "p"}) == Dsn(Address("::1", 3306), "a", "p")
    assert parse_dsn("mysql://a@localhost?socket=/run/m.sock", {}) == Dsn(Address(path="/run/m.sock"), "a", "")
    assert "secret" not in str(parse_dsn("mysql://a:secret@h", {}))
    for text in ("a@h", "mysql://h", "mysql://a@", "mysql://a@h:x", "postgres://a@h"):
        with pytest.raises(ValueError, match="not a DSN"):
            parse_dsn(text, {})


@pytest.mark.servers
def test_a_server(run: Run, shop_servers: Shop) -> None:
    options = ["--performance-schema=1", "--performance-schema-digests-size=500"]
    server = run.mariadb("digests", options=options)
    try:
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (item INT PRIMARY KEY)")
        server.create_account("app", "app-secret")
        server.execute(
            "INSERT INTO t VALUES (1), (2), (3)",
            *(f"SELECT * FROM t WHERE item = {n}" for n in range(7)),
            database="shop",
        )
        dsn = f"mysql://app:app-secret@{server.address}"

        def measured() -> dict[str, Any]:
            result = CliRunner().invoke(main, ["measure", "--performance-schema", dsn, "--json"])
            assert result.exit_code == 0, result.output
            assert "app-secret" not in result.output
            rows = {row["shape"].strip(): row for row in json.loads(result.stdout)["shapes"]}
            return dict(rows["SELECT * FROM `t` WHERE `item` = ?"])

        wait_until(lambda: measured()["count"] == 7, 10)  # the server counts a statement after it has answered
        shape = measured()
        assert (shape["count"], shape["tables"], shape["examined"], shape["p95_ms"]) == (7, "shop.t", 0.4, None)
        assert shape["total_s"] > 0

        async def meanwhile() -> tuple[Measured, int]:
            asking = asyncio.create_task(ask(parse_dsn(dsn), 0.5))
            executed = 0
            while not asking.done():
                await asyncio.to_thread(server.execute, "SELECT * FROM t WHERE item = 1", database="shop")
                executed += 1
                await asyncio.sleep(0.02)
            return await asking, executed

        seen, executed = asyncio.run(meanwhile())
        found = {digest.strip(): n for digest, n in counted(seen).items()}
        assert 1 <= found["SELECT * FROM `t` WHERE `item` = ?"] <= executed
    finally:
        server.stop()


@pytest.mark.servers
def test_a_server_without_it(shop_servers: Shop) -> None:
    with pytest.raises(NoMeasurements, match="performance_schema is off"):
        asyncio.run(ask(parse_dsn(f"mysql://app:app-secret@{shop_servers.main.address}"), None))
