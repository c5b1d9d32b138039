"""An overview of two workers that have done something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.overview import Overview, WorkerView
from proxy.measure.measures import Measures
from proxy.measure.states import SequenceState, ServerState, SessionState
from proxy.measure.totals import Totals
from proxy.rules.loader import parse

RULES = """
turnout: 1
listen: {mysql: 127.0.0.1:3307, http: 127.0.0.1:9307}
users:
  app: {password: hunter2}
clusters:
  main: {primary: 127.0.0.1:3306, replicas: [127.0.0.1:3316]}
  media: {primary: 127.0.0.1:3326}
  shard0: {primary: 127.0.0.1:3336}
  shard1: {primary: 127.0.0.1:3346}
service: {user: turnout, password: hunter3}
shardings:
  customer: {method: hash, clusters: [shard0, shard1]}
databases:
  shop:
    home: main
    reads: {from: replicas}
    tables:
      photos: {cluster: media}
      Orders: {sharding: customer, key: customer_id}
      countries: {everywhere: true}
      accounts: {reads: {from: primary}}
"""
MS = 1_000_000


def worker(slot: int) -> tuple[Measures, WorkerView]:
    measures = Measures()
    measures.clients = 3 + slot
    fast = measures.shape("SELECT * FROM orders WHERE customer_id = ?", "shard", ["shop.orders"], ["shard0", "shard1"])
    slow = measures.shape("SELECT COUNT(*) FROM photos", "forward", ["shop.photos"], ["media"])
    local = measures.shape("SELECT LAST_INSERT_ID()", "local")
    for _ in range(99):
        fast.record(2 * MS, 1 * MS, 1, 200, False)
    fast.record(40 * MS, 39 * MS, 0, 50, True)
    slow.record(900 * MS, 890 * MS, 1, 60, False)
    local.record(5_000, 0, 1, 30, False)
    measures.error(1062)
    measures.pinned("user-variable")
    measures.login()
    measures.login("wrong-password")
    measures.refused("cross-cluster-join")
    measures.killed("query")
    measures.plan_hits += 99
    server = measures.server("main", "127.0.0.1:3306", "primary")
    server.commands += 10
    server.waits += 1
    server.wait_ns += 500 * MS
    server.opened += 2
    server.open_failed.add("refused")
    server.closed.add("idle")
    states = [
        ServerState("main", "127.0.0.1:3306", "primary", "up", busy=2, idle=1, pinned=1, waiters=4, limit=100),
        ServerState("main", "127.0.0.1:3316", "replica", "up", lag_s=0.25 + slot, idle=1, limit=100, read_only=True),
        ServerState("media", "127.0.0.1:3326", "primary", "down" if slot else "up", reason="refused" if slot else ""),
        ServerState("shard0", "127.0.0.1:3336", "primary", "unknown"),
    ]
    view = WorkerView(
        slot, 1000 + slot, "ready", 1_700_000_000.0, slot, {"clients": 3 + slot, "plans": 3}, 2**25, states
    )
    return measures, view


@pytest.fixture
def overview() -> Overview:
    totals = Totals()
    views = []
    for slot in (1, 0):
        measures, view = worker(slot)
        totals.add(measures.take(), 1_700_000_100.0 + slot)
        views.append(view)

    async def sessions() -> list[SessionState]:
        return [
            SessionState(129, "ops", "10.0.0.2:5", worker=1),
            SessionState(64, "app", "10.0.0.1:4", "shop", "running", "main", True, "temporary-table", "ab", 1.23456, 7),
        ]

    async def sequences() -> list[SequenceState]:
        return [
            SequenceState("main", "shop.orders", 2001, 900, 1000),
            SequenceState("media", problem="no such table"),
            SequenceState("main", "shop.events", 17),
            SequenceState("main", "shop.orders", 3001, 100, 1000),
        ]

    return Overview(
        rules=parse(RULES, Path("/etc/turnout/routing_rules.yaml")),
        totals=totals,
        workers=(*reversed(views), WorkerView(2, restarts=4)),
        sessions=sessions,
        sequences=sequences,
        started=1_700_000_000.0,
        now=1_700_000_200.0,
        version="1.2.3",
        mysql="127.0.0.1:3307",
        http="127.0.0.1:9307",
        rules_loaded=1_700_000_050.0,
        reloads_ok=2,
        reloads_failed=1,
        last_problem="line 3",
    )


@pytest.fixture
def changed(overview: Overview) -> Callable[..., Overview]:
    return lambda **fields: replace(overview, **fields)


def run(work: Any) -> Any:
    return asyncio.run(work)
