"""The numbers of the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bench.synthetic import BASE
from proxy.admin.advice import Advice, advice, as_yaml
from proxy.admin.dashboard import OTHERS, SERIES, SHAPE_CHARS, Dashboard, dashboard
from proxy.admin.overview import Overview, WorkerView
from proxy.admin.past import Reader
from proxy.measure.history import HistoryFile, Minute
from proxy.measure.measures import Measures
from proxy.measure.recent import SLOT_S, SLOTS, Recent
from proxy.measure.shapes import Sample, ShapeId, digest_id
from proxy.measure.states import ServerState
from proxy.measure.tally import Tally
from proxy.rules.loader import parse
from tests.admin.conftest import MS, run

NOW = 1_700_000_200.0


@pytest.fixture
def busy(changed: Callable[..., Overview]) -> Overview:
    """Ten statements in each of the last twenty seconds."""
    recent = Recent()
    measures = Measures()
    join = measures.shape("SELECT * FROM a JOIN b", "forward", ["shop.a", "shop.b"], ["main"])
    read = measures.shape("SELECT * FROM a WHERE id = ?", "forward", ["shop.a"], ["main"])
    local = measures.shape("SELECT LAST_INSERT_ID()", "local")
    cache = measures.cache("shop.a", "id", True)
    server = measures.server("main", "127.0.0.1:3306", "primary")
    for second in range(20):
        for _ in range(2):
            join.record(110 * MS, 100 * MS, 3, 100, False)
        for _ in range(3):
            read.record(20 * MS, 10 * MS, 1, 50, False)
        for _ in range(4):
            read.record_own(5_000, 1, 50)
        local.record(5_000, 0, 1, 30, False)
        cache.hits_local += 4
        cache.misses += 3
        cache.bypass("transaction")
        server.commands += 5
        recent.add(measures.take(), NOW - 20 + second)
    return changed(recent=recent)


def shown(overview: Overview) -> Dashboard:
    """As a browser gets it."""
    return msgspec.json.decode(msgspec.json.encode(dashboard(overview, "live", ["live"])), type=Dashboard)


def test_load_by_table_and_technique_adds_up(busy: Overview) -> None:
    load = shown(busy).load
    assert load.times == [NOW - 20 + SLOT_S * i for i in range(4)]
    tables = {one.name: (one.load[0], one.per_s[0]) for one in load.by_table}
    assert tables == {  # the join is shared out between its tables
        "shop.a": (pytest.approx(0.1 + 0.03), pytest.approx(8.0)),
        "shop.b": (pytest.approx(0.1), pytest.approx(1.0)),
        "(no table)": (0.0, pytest.approx(1.0)),
    }
    plans = {one.name: (one.load[0], one.per_s[0]) for one in load.by_plan}
    assert plans == {
        "forward": (pytest.approx(0.23), pytest.approx(5.0)),
        "cache": (0.0, pytest.approx(4.0)),  # answered from memory, whatever the plan of its shape
        "local": (0.0, pytest.approx(1.0)),
    }


def test_the_moment_servers_and_cache_classes(busy: Overview) -> None:
    found = shown(busy)
    assert found.at_the_moment.per_s == pytest.approx(10.0)
    assert found.at_the_moment.load == pytest.approx(0.23)
    assert found.at_the_moment.cache_hit_pct == pytest.approx(57.1)
    assert found.at_the_moment.clients == 7
    (cache,) = found.caches
    assert (cache.table, cache.by, cache.coherent) == ("shop.a", "id", True)
    assert (cache.hits_per_s, cache.misses_per_s, cache.bypassed_per_s) == (4.0, 3.0, 1.0)
    primary, replica = found.servers[:2]
    assert (primary.role, primary.per_s, primary.busy, primary.limit) == ("primary", 5.0, 4, 200)
    assert (replica.role, replica.lag_s, replica.read_only) == ("replica", 1.25, True)
    assert {one.cluster: one.state for one in found.servers}["media"] == "down"
    assert [one.state for one in found.workers] == ["ready", "ready", "down"]
    assert found.advice is None


def test_shapes_are_those_of_the_window(busy: Overview) -> None:
    found = {one.shape: one for one in shown(busy).shapes}
    assert "SELECT COUNT(*) FROM photos" not in found, "of before"
    join, read = found["SELECT * FROM a JOIN b"], found["SELECT * FROM a WHERE id = ?"]
    assert (join.count, join.mean_ms, join.face, join.rows) == (40, 110.0, "slow, frequent", 3.0)
    assert (read.count, read.per_s, read.face) == (140, 7.0, "frequent")
    assert shown(busy).since == NOW - 20


def test_the_document_is_bounded(changed: Callable[..., Overview]) -> None:
    recent = Recent()
    measures = Measures()
    for second in range(SLOTS * SLOT_S + 30):
        for i in range(60 if second % 5 == 0 else 0):
            stats = measures.shape(f"SELECT {i} " + "x" * 3000, f"k{i}", [f"shop.t{second}_{i}"], ["main"])
            stats.record(i * MS, i * MS, 1, 1, False)
            measures.cache(f"shop.t{i}", "id", True).misses += 1
        recent.add(measures.take(), NOW - SLOTS * SLOT_S - 30 + second)
    states = [ServerState("main", f"127.0.0.1:{i}", "replica", "up") for i in range(300)]
    states[250] = ServerState("main", "127.0.0.1:250", "replica", "down")
    found = shown(changed(recent=recent, workers=tuple(WorkerView(i, servers=states) for i in range(100))))
    assert len(found.load.times) in (SLOTS, SLOTS + 1)
    assert len(found.load.by_table) == len(found.load.by_plan) == SERIES + 1
    assert found.load.by_table[-1].name == OTHERS
    assert all(sum(one.load[i] for one in found.load.by_plan) == pytest.approx(0.354, rel=0.01) for i in (0, 99))
    assert all(len(one.shape) <= SHAPE_CHARS + 4 for one in found.shapes)
    assert found.servers[0].state == "down"
    assert len(found.servers) == 100
    assert found.note == "200 more servers are not shown"
    assert len(msgspec.json.encode(found)) < 200_000


def test_a_clock_that_is_set_back_begins_anew(changed: Callable[..., Overview]) -> None:
    recent = Recent()
    measures = Measures()
    shape = measures.shape("SELECT 1", "local")
    for now in (NOW + 1000, NOW - 10, NOW - 1):
        shape.record(1000, 0, 1, 1, False)
        recent.add(measures.take(), now)
    found = shown(changed(recent=recent))
    assert found.load.times == [NOW - 10, NOW - 5]
    assert [one.count for one in found.shapes] == [2]


def test_a_day_of_the_history(changed: Callable[..., Overview], tmp_path: Path) -> None:
    path = tmp_path / "history"
    file = HistoryFile(path)
    start = int(NOW) - int(NOW) % 600 - 1200
    shape = ShapeId("a" * 16, "shard", ("shop.orders",), ("shard0", "shard1"))
    for minute in (0, 1, 10):
        tally = Tally()
        tally.count, tally.total_ns, tally.server_ns, tally.max_ns = 600, 90 * 10**9, 60 * 10**9, 10**9
        tally.buckets = {20: 600, 44: 200, 44 + 20: 400, 88 + 20: 600}
        file.write(Minute(start + 60 * minute, {shape: tally}, {shape: "SELECT ?"}))
    file.close()
    overview = changed(history=path)
    reader = Reader()
    assert reader.windows(changed()) == ["live"]
    past = run(reader.read(overview, "day"))
    found = dashboard(overview, "day", reader.windows(overview), past)
    assert found.windows == ["live", "day", "month"]
    assert found.load.times == [start, start + 600]
    (orders,) = found.load.by_table
    assert (orders.name, orders.load) == ("shop.orders", [0.2, 0.1])
    assert {one.name: one.per_s for one in found.load.by_plan} == {
        "shard": [pytest.approx(800 / 600, abs=1e-3), pytest.approx(400 / 600, abs=1e-3)],
        "cache": [pytest.approx(400 / 600, abs=1e-3), pytest.approx(200 / 600, abs=1e-3)],
    }
    assert [one.count for one in found.shapes] == [1800]
    assert found.advice is None

    async def advised() -> Advice | None:
        reader.advice(overview)  # begins
        assert reader._advising is not None
        await reader._advising
        return reader.advice(overview)

    advice = run(advised())
    assert [one.table for one in advice.leave_alone] == []  # without a sample of its text a shape says nothing
    path.write_text("something else")
    assert "cannot be used" in run(Reader().read(overview, "month")).note


def test_too_little_to_advise_on_is_said(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "history.sqlite")
    minute = Minute(600)
    shape = ShapeId(digest_id("x"), "forward", ("shop.t",), ("main",))
    minute.shapes[shape] = Tally()
    minute.shapes[shape].count = 34
    minute.samples[shape] = Sample(b"SELECT a FROM t WHERE id = \0", "shop")
    file.write(minute)
    file.close()
    rules = parse(as_yaml(BASE), tmp_path / "rules.yaml", {})
    found = advice(tmp_path / "history.sqlite", rules, 700.0)
    assert found is not None
    assert (found.steps, [one.table for one in found.leave_alone]) == ([], ["shop.t"])
    assert found.too_little.startswith("too little to advise on (34 statements in 60 seconds, busiest server main 0.00")
