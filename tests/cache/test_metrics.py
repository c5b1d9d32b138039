"""The metrics of the cache and SHOW TURNOUT CACHE move with what happens; the dashboard names metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cache.test_served import (
    SOON_S,
    answer,
    cached,
    direct,
    fresh,
    memcached,
    rules,
    server,
    through,
    turnout,
)
from tests.servers import MariaDB, Memcached, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import DATABASE, OPS, OPS_PASSWORD

__all__ = ["fresh", "memcached", "server", "turnout"]
DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "turnout.json"
TABLE = f"{DATABASE}.users"
SQL = "SELECT * FROM users WHERE id = 1"


@pytest.mark.thorough
def test_metrics_move(fresh: MariaDB, memcached: Memcached, turnout: Callable[..., Turnout]) -> None:
    proxy = turnout(rules(fresh, cache=f", memcached: ['{memcached.address}'], max_value: 2KB"))
    server, client = direct(fresh), through(proxy)

    def value(name: str, **labels: str) -> float:
        return proxy.metric(f"turnout_cache_{name}", table=TABLE, **labels)

    def reaches(name: str, least: float = 1, **labels: str) -> None:
        wait_until(lambda: value(name, **labels) >= least, SOON_S)

    cached(server, client, [SQL])
    reaches("hits_total", by="id", memory="local")
    reaches("misses_total", by="id")
    reaches("fills_total", by="id")
    reaches("fill_seconds_total", 1e-6, by="id")
    wait_until(lambda: proxy.metric("turnout_memcached_sets_total") >= 1, SOON_S)
    wait_until(lambda: proxy.metric("turnout_cache_entries") >= 1, SOON_S)
    assert proxy.metric("turnout_cache_bytes") > 500
    assert 0 <= proxy.metric("turnout_stream_lag_seconds", cluster="main") < 5
    assert proxy.metric("turnout_stream_up", cluster="main") == 1

    # Another worker's memory is empty, memcached's is not: so is that of a Turnout that was just started.
    other = turnout(rules(fresh, cache=f", memcached: ['{memcached.address}']"))
    reader = through(other)
    wait_until(lambda: bool(answer(reader, SQL)) and other.metric("turnout_memcached_gets_total") >= 1, SOON_S)
    reader.close()

    client.cursor().execute("UPDATE users SET n = n + 1 WHERE id = 1")
    answer(client, SQL)
    reaches("refused_total", by="id")
    client.cursor().execute("BEGIN")
    answer(client, SQL)
    client.cursor().execute("COMMIT")
    reaches("bypassed_total", by="id", reason="in-transaction")
    answer(client, "SELECT * FROM users WHERE id = '1a'")
    reaches("bypassed_total", by="id", reason="no-normal-form")
    for _ in range(3):
        answer(client, "SELECT REPEAT(email, 1000) FROM users WHERE id = 1")
    reaches("not_kept_total", by="id", reason="too-long")
    answer(client, "SELECT 1 / 0 FROM users WHERE id = 1")
    reaches("not_kept_total", by="id", reason="warnings")

    ops = proxy.connect(OPS, OPS_PASSWORD)
    with ops.cursor() as cursor:
        cursor.execute("SHOW TURNOUT CACHE")
        names = [column[0] for column in cursor.description]
        rows: list[dict[str, Any]] = [dict(zip(names, row)) for row in cursor.fetchall()]
    row = next(each for each in rows if each["table"] == TABLE and each["by"] == "id")
    assert row["coherent"] == "yes"
    assert row["not_served"] == ""
    for name in ("hits", "misses", "refused", "bypassed", "not_kept", "hit_pct"):
        assert float(row[name]) > 0, name
    assert ":" in row["why"]


def test_the_bytes_of_local_memory_are_bounded_and_evictions_are_counted(
    fresh: MariaDB, turnout: Callable[..., Turnout]
) -> None:
    proxy = turnout(rules(fresh).replace("local: 16MB", "local: 1MB"))
    server, client = direct(fresh), through(proxy)
    cached(server, client, [SQL])

    def evicted() -> bool:
        for n in range(40):
            answer(client, f"SELECT REPEAT(email, 10000), {n} FROM users WHERE id = 1")
        return proxy.metric("turnout_cache_evictions_total") > 0

    wait_until(evicted, SOON_S)
    assert proxy.metric("turnout_cache_bytes") <= 1 << 20


def expressions(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["expr"]] if "expr" in part else []
        return own + [found for each in part.values() for found in expressions(each)]
    return [found for each in part for found in expressions(each)] if isinstance(part, list) else []


def test_every_metric_of_the_dashboard_exists(fresh: MariaDB, turnout: Callable[..., Turnout]) -> None:
    proxy = turnout(rules(fresh))
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", proxy.get("/metrics")[1], re.MULTILINE))
    found = expressions(json.loads(DASHBOARD.read_text()))
    named = {name for each in found for name in re.findall(r"\bturnout_\w+", each)}
    assert len(named) > 40
    for name in named:
        family = name.removesuffix("_bucket") if name.endswith("_bucket") else name
        assert family in types, name
        assert (types[family] == "histogram") == name.endswith("_bucket"), name
    for each in found:
        for kind, name in re.findall(r"(rate)?\(?\(?(turnout_\w+)", each):
            is_counter = types.get(name) == "counter" or name.endswith("_bucket")
            assert is_counter == (kind == "rate"), (name, each)
    for part in ("turnout_statements_total", "turnout_pool_waiting", "turnout_server_up", "turnout_stream_lag_seconds"):
        assert part in named
    assert {name for name in types if name.startswith("turnout_cache_")} - named <= {
        "turnout_cache_entries",
        "turnout_cache_samples_stale_seconds_total",
    }


def test_the_dashboard_s_labels_are_those_of_the_metrics() -> None:
    """As docs/OPERATIONS.md lists them, which is held against /metrics elsewhere."""
    text = (DASHBOARD.parents[2] / "docs" / "OPERATIONS.md").read_text()
    labels = {
        name: set(re.split(r",\s*", found)) if found.strip() else set()
        for name, found in re.findall(r"^\| `(turnout_\w+)` \| \w+ \| ([^|]*?) ?\|", text, re.MULTILINE)
    }
    for each in expressions(json.loads(DASHBOARD.read_text())):
        for by in re.findall(r"\bby \(([^)]*)\)", each):
            wanted = {label.strip() for label in by.split(",")} - {"le"}
            for name in re.findall(r"\bturnout_\w+", each):
                assert wanted <= labels[name.removesuffix("_bucket")], (name, wanted)
