"""Sums over workers: they add up, never go down, and stay bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.back.counters import OTHER
from proxy.measure.measures import Measures
from proxy.measure.totals import Totals, add_labels, merge


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abcdef"), st.booleans()), max_size=60), st.integers(1, 4))
def test_groups_count_every_statement_though_shapes_are_forgotten(
    statements: list[tuple[int, str, bool]], max_shapes: int
) -> None:
    workers = [Measures(), Measures()]
    totals = Totals(max_shapes)
    for now, (worker, digest, failed) in enumerate(statements):
        stats = workers[worker].shape(digest, "forward", (), ["main"])
        stats.record(1000, 10, 2, 3, failed)
        del stats  # evicted from that worker's plan cache at once
        if now % 3 == 0:
            for measures in workers:
                totals.add(measures.take(), float(now))
    for measures in workers:
        totals.add(measures.take(), 1e9)
    assert totals.statements == len(statements)
    assert len(totals.shapes) <= max_shapes
    if statements:
        group = totals.groups["forward", "main"]
        assert group.errors == sum(failed for *_, failed in statements)
        assert group.total.count == group.server.count == group.proxy.count == len(statements)
        assert (group.total.sum_ns, group.server.sum_ns) == (1000 * len(statements), 10 * len(statements))


def test_a_shape_of_two_workers_is_one_line() -> None:
    first, second = Measures(), Measures()
    for measures, total_ns in ((first, 3_000_000), (second, 5_000_000)):
        measures.shape("SELECT ?", "forward", ["shop.t"], ["main"]).record(total_ns, 1_000_000, 4, 50, False)
    totals = Totals()
    totals.add(first.take(), 100.0)
    totals.add(second.take(), 101.0)
    (line,) = totals.shapes.values()
    assert (line.count, line.rows, line.first_seen, line.last_seen) == (2, 8, 100.0, 101.0)
    assert (line.times.sum_ns, line.times.max_ns) == (8_000_000, 5_000_000)


def test_the_shape_not_seen_for_longest_makes_room() -> None:
    measures = Measures()
    shapes = {d: measures.shape(d, "local") for d in "abc"}
    totals = Totals(2)
    for now, digest in enumerate("abac"):
        shapes[digest].record(1, 0, 0, 0, False)
        totals.add(measures.take(), float(now))
    assert [t.digest for t in totals.shapes.values()] == ["a", "c"]
    assert totals.shapes_forgotten == 1


def test_counters_of_a_replaced_worker_go_on() -> None:
    dead = Measures()
    dead.plan_hits += 5
    dead.error(1045)
    dead.server("main", "a:1", "primary").opened += 2
    window = dead.take()
    fresh = Measures()
    fresh.plan_hits += 1
    fresh.error(1045)
    kept = fresh.server("main", "a:1", "primary")
    kept.opened += 1
    totals = merge([window, fresh.take()], 1.0)
    assert totals.counters["plan_hits"] == 6
    assert totals.labelled["errors"] == {"1045": 2}
    assert totals.servers["main", "a:1", "primary"].counters["opened"] == 3


def test_labels_of_many_workers_stay_bounded() -> None:
    into: dict[str, int] = {}
    for i in range(10):
        add_labels(into, {str(i): 1}, 3)
    assert into == {"0": 1, "1": 1, "2": 1, OTHER: 7}
