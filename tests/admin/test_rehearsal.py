"""Recorded shapes under proposed rules: the verdicts are those of the planner that serves clients."""

from __future__ import annotations

import dataclasses

import pytest

from parser.shape import lexer
from proxy.admin.rehearsal import Rehearsed, Verdict, as_proposed, at_least, rehearse, shares, unjudged
from proxy.back.catalog import EMPTY, Catalog
from proxy.measure.ranking import MeasuredShape
from proxy.measure.shapes import Sample, ShapeId, digest_id
from proxy.measure.tally import OTHERS, Tally
from proxy.rules.model import Rules
from tests.plan import shop, test_golden


def measured(sql: str, count: int = 1, database: str | None = "shop", prepared: bool = False) -> MeasuredShape:
    shape, _ = lexer().shape(sql.encode())
    tally = Tally()
    tally.count, tally.total_ns = count, count * 1000
    return MeasuredShape(ShapeId(digest_id(sql), "forward", (), ()), sql, tally, Sample(shape, database, prepared))


def verdict(sql: str, rules: Rules | None = None, prepared: bool = False) -> Rehearsed:
    (one,) = rehearse([measured(sql, prepared=prepared)], rules or shop.rules(), shop.catalog())
    return one


@pytest.mark.parametrize(
    ("sql", "expected", "clusters"),
    [
        ("SELECT LAST_INSERT_ID()", Verdict.LOCAL, ()),
        ("SELECT * FROM users WHERE id = 5", Verdict.ONE, ("main",)),
        ("SELECT * FROM photos WHERE id = 5", Verdict.ONE, ("media",)),
        ("SELECT * FROM orders WHERE customer_id = 5", Verdict.KEY, ("shard0", "shard1")),
        ("SELECT * FROM orders WHERE customer_id IN (5, 6)", Verdict.KEY, ("shard0", "shard1")),
        ("INSERT INTO customers VALUES (1, 'a', 'de')", Verdict.KEY, ("shard0", "shard1")),
        ("SELECT * FROM orders", Verdict.SEVERAL, ("shard0", "shard1")),
        ("UPDATE countries SET name = 'x'", Verdict.SEVERAL, ("main", "media", "shard0", "shard1")),
        ("SELECT * FROM users JOIN photos ON users.id = photos.user_id", Verdict.REFUSED, ()),
    ],
)
def test_verdicts(sql: str, expected: Verdict, clusters: tuple[str, ...]) -> None:
    one = verdict(sql)
    assert (one.verdict, one.clusters) == (expected, clusters)
    assert bool(one.reason) == (expected is Verdict.REFUSED)


def test_a_workbench_takes_what_would_be_refused() -> None:
    one = verdict("SELECT * FROM users JOIN photos ON users.id = photos.user_id", shop.rules(workbench="main"))
    assert one.verdict is Verdict.WORKBENCH


def test_what_is_refused_for_some_values_depends_on_them() -> None:
    single = shop.rules("single")
    rows = "INSERT INTO customers VALUES (1, 'a', 'de'), (2, 'b', 'de')"
    assert verdict(rows).verdict is Verdict.KEY
    one = verdict(rows, single)
    assert (one.verdict, one.reason) == (Verdict.DEPENDS, "several-writes")
    assert verdict("UPDATE customers SET name = 'x' WHERE id IN (1, 2)", single).verdict is Verdict.DEPENDS
    assert verdict("UPDATE customers SET name = 'x' WHERE id = 1", single).verdict is Verdict.KEY
    assert verdict("UPDATE customers SET name = ? WHERE id IN (?, ?)", single, True).verdict is Verdict.DEPENDS


def test_of_several_statements_the_worst_counts() -> None:
    one = verdict(
        "SELECT 'a;b' FROM orders WHERE customer_id = 5; UPDATE orders SET total = 1; COMMIT", shop.rules("single")
    )
    assert (one.verdict, one.plan, one.reason) == (Verdict.REFUSED, "several", "several-writes")
    one = verdict("SELECT * FROM users; SELECT * FROM photos;")
    assert (one.verdict, one.clusters) == (Verdict.ONE, ("main", "media"))


def test_settings_for_one_statement_make_no_difference() -> None:
    join = "SELECT * FROM users JOIN photos ON users.id = photos.user_id"
    rules = shop.rules(workbench="main")
    one = verdict(f"SET STATEMENT max_statement_time = 5 FOR {join}", rules)
    assert (one.verdict, one.plan) == (Verdict.WORKBENCH, "set-statement")


def golden() -> list[tuple[str, str, str | None, str, list[str]]]:
    """Every statement of the planner's golden files: (sql, transactions, database, workbench, its plan's lines)."""
    found = []
    for file in test_golden.FILES:
        transactions, database, workbench = "best_effort", "shop", "off"
        for line in file.read_text().splitlines():
            if line.startswith("## "):
                name, _, value = line[3:].partition(": ")
                if name == "transactions":
                    transactions = value
                elif name == "database":
                    database = value
                elif name == "workbench":
                    workbench = value
            elif line and not line.startswith(("#", " ")):
                where = None if database == "none" else database
                found.append(
                    (line, transactions, where, workbench, test_golden.described(line, transactions, where, workbench))
                )
    return found


def test_every_statement_of_the_golden_files_gets_the_verdict_that_it_gets_when_it_is_sent() -> None:
    statements = golden()
    assert len(statements) > 300
    refused = depends = 0
    for sql, transactions, database, workbench, lines in statements:
        (one,) = rehearse(
            [measured(sql, database=database)], test_golden.RULES[transactions, workbench], test_golden.CATALOG
        )
        kinds = [line.removeprefix("plan: ") for line in lines if line.startswith("plan: ")]
        assert one.plan == (kinds[0] if kinds else one.plan), sql
        assert (one.verdict is Verdict.REFUSED) == (kinds == ["refuse"]), sql
        if one.verdict is Verdict.REFUSED:
            refused += 1
            assert f"reason: {one.reason}" in lines, sql
        here = [line for line in lines if line.startswith("here: refused, several-writes")]
        if here:
            depends += 1
            assert one.verdict is Verdict.DEPENDS, sql
    assert refused > 50
    assert depends >= 1


def test_the_traffic_by_verdict_and_the_order() -> None:
    shapes = [
        measured("SELECT * FROM orders", 5),
        measured("SELECT * FROM users JOIN photos ON users.id = photos.user_id", 2),
        measured("SELECT * FROM users", 70),
        measured("SELECT * FROM accounts", 20),
        MeasuredShape(OTHERS, "(other shapes)", Tally()),
    ]
    found = rehearse(shapes, shop.rules(), shop.catalog())
    assert [one.verdict for one in found] == [
        *(Verdict.UNKNOWN, Verdict.REFUSED, Verdict.SEVERAL, Verdict.ONE, Verdict.ONE)
    ]
    assert [one.measured.tally.count for one in found[-2:]] == [70, 20]
    assert [(share.verdict, share.shapes, share.tally.count) for share in shares(found)] == [
        (Verdict.ONE, 2, 90),
        (Verdict.SEVERAL, 1, 5),
        (Verdict.REFUSED, 1, 2),
        (Verdict.UNKNOWN, 1, 0),
    ]


def test_how_bad_a_verdict_is() -> None:
    assert at_least(Verdict.REFUSED, Verdict.REFUSED)
    assert at_least(Verdict.REFUSED, Verdict.WORKBENCH)
    assert not at_least(Verdict.WORKBENCH, Verdict.DEPENDS)
    assert not at_least(Verdict.UNKNOWN, Verdict.SEVERAL)


def test_tables_are_judged_as_if_they_had_been_moved() -> None:
    """Before a table is sharded, its definition is on one cluster only."""
    everything = shop.catalog()
    only_main = {
        ("main", database, name): dataclasses.replace(schema)
        for (cluster, database, name), schema in everything.tables.items()
        if cluster == "shard0"
    }
    before = Catalog({**only_main}, 1)
    sql = "INSERT INTO customers VALUES (1, 'a', 'de')"
    (unknown,) = rehearse([measured(sql)], shop.rules(), before)
    assert (unknown.verdict, unknown.reason) == (Verdict.REFUSED, "schema-unknown")
    (one,) = rehearse([measured(sql)], shop.rules(), as_proposed(before, shop.rules()))
    assert one.verdict is Verdict.KEY


def test_without_a_catalog_a_verdict_is_not_known_rather_than_refused() -> None:
    sql = "INSERT INTO customers VALUES (1, 'a', 'de')"
    join = "SELECT * FROM users JOIN photos ON users.id = photos.user_id"
    found = rehearse([measured(one) for one in (sql, f"{sql}; SELECT 1", f"{sql}; {join}", join)], shop.rules(), EMPTY)
    by_text = {one.measured.digest: one for one in found}
    assert [by_text[one].verdict for one in (sql, f"{sql}; SELECT 1")] == [Verdict.UNKNOWN, Verdict.UNKNOWN]
    assert [by_text[one].verdict for one in (f"{sql}; {join}", join)] == [Verdict.REFUSED, Verdict.REFUSED]
    assert "--catalog-from-servers" in by_text[sql].detail
    assert {one.measured.digest for one in unjudged(found)} == {sql, f"{sql}; SELECT 1"}
    assert unjudged(rehearse([measured(sql)], shop.rules(), shop.catalog())) == []
    # A server that could not be asked might know more.
    others = Catalog({place: one for place, one in shop.catalog().tables.items() if place[2] != "customers"}, 1)
    assert unjudged(rehearse([measured(sql)], shop.rules(), others, complete=False)) != []
    assert unjudged(rehearse([measured(sql)], shop.rules(), others)) == []
