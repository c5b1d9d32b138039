"""Reading sysbench's output, medians and ratios, the budgets, and folded stacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import clients, recorded
from bench.clients import ClientResults
from bench.profile import hottest
from bench.recorded import Recorded, Round, Turn
from bench.report import Results, budgets, markdown
from bench.samples import Sample, Spread, ratios
from bench.sysbench import SysbenchFailed, parse

OUTPUT = """\
SQL statistics:
    queries performed:
        read:                            140070
        write:                           40020
        other:                           20010
        total:                           200100
    transactions:                        10005  (1000.40 per sec.)
    queries:                             200100 (20008.05 per sec.)
    ignored errors:                      3      (0.30 per sec.)
    reconnects:                          0      (0.00 per sec.)

Latency (ms):
         min:                                    0.05
         avg:                                    0.10
         max:                                    7.31
         95th percentile:                        0.14
         sum:                                 9876.54
"""


def sample(number: int, target: str, per_s: float, cpu_us: float, clients: int = 8) -> Sample:
    return Sample(number, target, "oltp_point_select", clients, 1000, per_s, 0.5, 1, cpu_us / 4, cpu_us * 3 / 4, 40.0)


def prepared(haproxy_us: float, turnout_us: float) -> list[Sample]:
    measured = (sample(0, "HAProxy", 100, haproxy_us), sample(0, "Turnout", 100, turnout_us))
    return [replace(each, workload="oltp_point_select (prepared)") for each in measured]


def results(*samples: Sample, **more: object) -> Results:
    return Results([("Memory", "24 GiB")], "One round.", samples, **more)  # type: ignore[arg-type]


def test_sysbench_output() -> None:
    report = parse(OUTPUT)
    assert (report.queries, report.reads, report.errors) == (200100, 140070, 3)
    assert (report.queries_per_s, report.p95_ms) == (20008.05, 0.14)


@pytest.mark.parametrize("missing", ["    queries: ", "read: ", "ignored errors", "95th percentile"])
def test_sysbench_output_without_a_figure_is_an_error(missing: str) -> None:
    with pytest.raises(SysbenchFailed, match="no "):
        parse(OUTPUT.replace(missing, "?"))


def test_spread() -> None:
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0, 3)


def test_ratios_are_taken_round_by_round() -> None:
    samples = [
        sample(0, "HAProxy", 100, 10),
        sample(0, "Turnout", 75, 20),
        sample(1, "HAProxy", 10, 100),
        sample(1, "Turnout", 5, 100),
        sample(1, "Turnout", 7, 1, clients=64),
        sample(2, "Turnout", 1, 1),
    ]
    assert ratios(samples, "Turnout", "HAProxy", "oltp_point_select", 8, "queries_per_s") == Spread(0.625, 0.5, 0.75, 2)
    assert ratios(samples, "Turnout", "HAProxy", "oltp_point_select", 8, "proxy_us") == Spread(1.5, 1.0, 2.0, 2)
    assert ratios(samples, "Turnout", "HAProxy", "oltp_point_select", 1, "proxy_us") is None


def test_budgets_at_their_limits_are_met_and_above_are_not() -> None:
    at_limit = results(
        sample(0, "HAProxy", 100, 10),
        sample(0, "Turnout", 85, 15),
        idle_clients=10,
        idle_bytes={"Turnout": Spread.of([24 * 1024])},
        result_bytes=10**9,
        slow_bytes={"Turnout": Spread.of([32 << 20]), "HAProxy": Spread.of([1 << 40])},
        miss_us={"point select": Spread.of([1000])},
        prepared=prepared(10, 16),
    )
    assert [budget.met for budget in budgets(at_limit)] == [True] * 6
    over = results(
        sample(0, "HAProxy", 100, 10),
        sample(0, "Turnout", 84, 15.1),
        idle_bytes={"Turnout": Spread.of([24 * 1024 + 1])},
        slow_bytes={"Turnout": Spread.of([(32 << 20) + 1])},
        miss_us={"point select": Spread.of([1001])},
        prepared=prepared(10, 16.1),
    )
    assert [budget.met for budget in budgets(over)] == [False] * 6
    assert markdown(over).count("**not met**") == 6


def test_what_was_not_measured_is_not_met_either() -> None:
    found = budgets(results(sample(0, "HAProxy", 100, 10)))
    assert [budget.met for budget in found] == [None] * 6
    assert {budget.found for budget in found} == {"not measured"}


def test_sharded_point_selects_have_budgets_of_their_own() -> None:
    found = budgets(results(sample(0, "HAProxy", 100, 10), sample(0, "Turnout, 2 shards", 50, 16)))
    assert [(b.what, b.met) for b in found if "sharded" in b.what] == [
        ("CPU of the proxy per routed point select of a sharded table, 8 clients", False),
        ("throughput of routed point selects of a sharded table, 8 clients", False),
    ]


def test_markdown_table() -> None:
    text = markdown(results(sample(0, "direct", 200, 0), sample(0, "HAProxy", 100, 10), sample(0, "Turnout", 1234, 15)))
    assert "| oltp_point_select | 8 | direct | 200 | 2.00 | 0.50 |  |  |  |  | 40.0 | 1 |" in text
    assert "| oltp_point_select | 8 | HAProxy | 100 |  | 0.50 | 10.0 | 2.50 | 7.50 |  | 40.0 | 1 |" in text
    assert "| oltp_point_select | 8 | Turnout | 1,234 | 12.34 | 0.50 | 15.0 | 3.75 | 11.2 | 1.50 | 40.0 | 1 |" in text
    assert "## Memory" not in text


def test_hottest_functions() -> None:
    stacks = [
        "main (a.py:1);work (b.py:10) 3",
        "main (a.py:2);work (b.py:11);work (b.py:12) 5",
        "main (a.py:2) 2",
        "C 1",
    ]
    total, rows = hottest(stacks)
    assert total == 11
    assert rows == [("work (b.py)", 8, 8), ("main (a.py)", 2, 10), ("C", 1, 1)]


def test_many_clients() -> None:
    many = ClientResults(clients.FULL, [5000.0, 6000.0, 7000.0], [(1.0, 2.0, 3.0)], [(1.5, 2.5, 3.5)], [40.0], [44.0])
    many.login_us, many.refused_us, many.logins_per_s = [400.0], [160.0], 900.0
    many.storm.update({"ok": 800, "1040": 7150, "hung": 0, "ConnectionResetError": 50})
    text = markdown(results(many=many))
    assert "| 200 busy clients among 10,000 idle ones | 1.50 | 2.50 | 3.50 | 44.0 |" in text
    assert "| logins a second of one worker, by its CPU | 2,500 |" in text
    assert "7,150 were told error 1040, 0 had no answer, others: {'ConnectionResetError': 50}." in text


def test_percentiles() -> None:
    assert clients.percentiles([n / 1000 for n in range(1, 101)]) == pytest.approx((51.0, 96.0, 100.0))


def test_prepared_statements_have_a_budget_of_their_own() -> None:
    (found,) = [each for each in budgets(results(prepared=prepared(20, 30))) if "prepared" in each.what]
    assert (found.limit, found.found, found.met) == ("<= 1.6 x HAProxy", "1.50 x", True)
    assert "## sysbench, prepared statements" in markdown(results(prepared=prepared(20, 30)))


def test_what_recording_costs_is_the_middle_of_the_rounds() -> None:
    per_s = [97.0, 98.0, 90.0, 96.0, 99.0, 97.5, 97.2]  # of a Turnout that records, for 100 of the other
    rounds = [Round(Turn(100, 50.0), Turn(each, 51.0)) for each in per_s]
    found = Recorded("oltp_point_select", rounds)
    assert found.speed == Spread(0.972, 0.9, 0.99, 7)
    made = results(recording=[found])
    (budget,) = (each for each in budgets(made) if "recording" in each.what)
    assert (budget.limit, budget.found, budget.met) == ("<= 3 %", "2.8 (1.0 to 10.0) %", True)
    assert "| oltp_point_select | 100 | 97.2 | 2.8 (1.0 to 10.0) % | 50.0 | 51.0 | +2.0 (+2.0 to +2.0) % |" in markdown(
        made
    )
    slower = [Round(Turn(100, 50.0), Turn(96.9, 51.0))] * 3
    assert [each.met for each in recorded.budgets([Recorded("oltp_point_select", slower)])] == [False]
