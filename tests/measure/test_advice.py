"""What is advised for which load: tables of shapes in, steps out."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from bench.synthetic import BASE
from parser.analyse import shape_digest
from parser.shape import lexer
from proxy.admin.advice import as_yaml, layout
from proxy.measure.advice import Advice, Layout, LeftAlone, Technique, advise, merged
from proxy.measure.headroom import Growth
from proxy.measure.key_hash import key_hash
from proxy.measure.key_history import KeysRead
from proxy.measure.key_sketch import KeySketch
from proxy.measure.ranking import Knows, Measured, MeasuredShape
from proxy.measure.shapes import Sample, ShapeId, digest_id
from proxy.measure.tally import Tally
from proxy.measure.workload import workload
from proxy.rules.loader import parse

SECONDS = 60
READ = "SELECT a FROM t WHERE id = 5"
BY_ID = ("shop.t", ("id",))
WRITE = "UPDATE t SET a = 1 WHERE owner = 5 AND id = 6"


def shape(sql: str, count: int, ms: float, rows: float = 1, examined: float = 1) -> MeasuredShape:
    """`count` of these statements a second."""
    text, _ = lexer().shape(sql.encode())
    count *= SECONDS
    digest = shape_digest(text, lexer()) or "unknown"
    tally = Tally()
    tally.count, tally.total_ns = count, round(count * ms * 1e6)
    tally.rows, tally.examined, tally.sent_bytes = round(count * rows), round(count * examined), count * 100
    return MeasuredShape(ShapeId(digest_id(digest), "", ("shop.t",), ("main",)), digest, tally, Sample(text, "shop"))


def sketch(hit: float, reads: int = 2000, writes: int = 20, one: float = 0.0) -> KeySketch:
    chance = random.Random(1)
    made = KeySketch()
    for n in range(reads + writes):
        key = key_hash(b"5" if chance.random() < one else b"%d" % chance.randrange(3000))
        made.see(key)
        made.count(key, n >= reads, True, 1)
    made.hits, made.misses = round(reads * hit), round(reads * (1 - hit))
    return made


def advice(
    *shapes: MeasuredShape,
    keys: dict[Any, KeySketch] | None = None,
    together: dict[tuple[str, ...], int] | None = None,
    examined: bool = False,
    where: Layout | None = None,
    how: Growth | None = None,
    seconds: float = SECONDS,
) -> Advice:
    measured = Measured("test", Knows(examined=examined), 0.0, seconds, list(shapes), [])
    work = workload(measured, KeysRead(keys or {}, {names: n * SECONDS for names, n in (together or {}).items()}))
    return advise(work, where or layout(parse(as_yaml(BASE), Path("r.yaml"), {}), {}, 8.0), {"main": how})


def techniques(found: Advice) -> list[tuple[str, tuple[str, ...]]]:
    return [(step.technique.value, step.tables) for step in found.steps]


REST = shape("UPDATE rest SET a = 1 WHERE x > 5", 1000, 1.0, 0)  # one second of load that nothing takes off


@pytest.mark.parametrize(
    ("shapes", "options", "expected"),
    [
        # rows examined are known: an index where they are far above rows sent, and not for a report
        ([shape(READ, 1000, 1, 1, 50_000)], {"examined": True}, [("index", ("shop.t",))]),
        ([shape(READ, 1000, 1, 1, 50)], {"examined": True}, [("replicas", ("shop.t",))]),
        ([shape("SELECT SUM(a) FROM t", 10, 100, 1, 50_000)], {"examined": True}, [("replicas", ("shop.t",))]),
        # they are not: much slower than other lookups
        ([shape(READ, 9000, 0.1), shape("SELECT a FROM t WHERE b = 5", 20, 50)], {}, "index"),
        # a cache where it would answer most
        ([shape(READ, 1000, 1)], {"keys": {BY_ID: sketch(0.9)}}, [("cache", ("shop.t",))]),
        ([shape(READ, 1000, 1)], {"keys": {BY_ID: sketch(0.3)}}, [("replicas", ("shop.t",))]),
        # most reads are in transactions: no replica may answer them
        ([shape(READ, 1000, 1)], {"together": {("shop.rest", "shop.t"): 900}}, []),
        # a flood of small inserts
        (
            [shape("INSERT INTO t (id, a) VALUES (1, 2)", 200_000, 0.01, 0)],
            {},
            [("batch", ("shop.t",)), ("move", ("shop.t",))],
        ),
        # writes that name one column; and those that name none, or one value too often
        ([shape(WRITE, 4000, 1, 0)], {}, [("shard", ("shop.t",))]),
        ([shape("UPDATE t SET a = 1 WHERE b > 5", 4000, 1, 0)], {}, []),
        ([shape(WRITE, 4000, 1, 0)], {"keys": {("shop.t", ("owner",)): sketch(0, 0, 2000, 0.6)}}, "no owner"),
        # a small part of the load
        ([shape(READ, 20, 1)], {"keys": {BY_ID: sketch(0.9)}}, []),
    ],
)
def test_steps(shapes: list[MeasuredShape], options: dict[str, Any], expected: Any) -> None:
    all_found = advice(*shapes, REST, **options)
    found = [one for one in techniques(all_found) if "shop.rest" not in one[1]]
    if expected == "index":
        assert found[0] == ("index", ("shop.t",))
    elif expected == "no owner":
        assert found == []
        (alone,) = (one for one in all_found.alone if one.table == "shop.t")
        assert "one value of owner has 6" in alone.why
    else:
        assert found == expected


def test_tables_that_go_together_move_together_and_others_stay() -> None:
    shapes = [
        shape("UPDATE a SET x = 1 WHERE y > 5", 3000, 1, 0),
        shape("UPDATE b SET x = 1 WHERE y > 5", 1000, 1, 0),
        shape("SELECT 1 FROM b JOIN c ON c.id = b.c_id WHERE c.x > 5", 100, 1),
    ]
    assert techniques(advice(*shapes)) == [("move", ("shop.b", "shop.c"))]
    # One transaction in ten touches a and b: they stay where they are.
    assert techniques(advice(*shapes, together={("shop.a", "shop.b"): 100})) == []


def test_what_is_joined_by_the_key_is_spread_with_it() -> None:
    join = "SELECT 1 FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.id = 5"
    shapes = [
        shape("UPDATE orders SET a = 1 WHERE customer_id = 5", 3000, 1, 0),
        shape(join, 100, 1),
        shape("UPDATE customers SET a = 1 WHERE id = 5", 100, 1, 0),
    ]
    (step,) = advice(*shapes).steps
    assert (step.technique, step.tables) == (Technique.SHARD, ("shop.orders", "shop.customers"))
    rules = parse(as_yaml(merged(BASE, step.rules)), Path("r.yaml"), {})
    entries = rules.databases["shop"].tables
    assert {name: (entry.sharding is not None, entry.key) for name, entry in entries.items()} == {
        "orders": (True, "customer_id"),
        "customers": (True, "id"),
    }


def test_what_is_done_is_not_advised_again() -> None:
    found = advice(shape(READ, 1000, 1), REST, keys={BY_ID: sketch(0.9)})
    rules = merged(BASE, found.steps[0].rules)
    where = layout(parse(as_yaml(rules), Path("r.yaml"), {}), {}, 8.0)
    again = advice(shape(READ, 1000, 1), REST, keys={BY_ID: sketch(0.9)}, where=where)
    assert Technique.CACHE not in {step.technique for step in again.steps}


@pytest.mark.parametrize(
    ("how", "due", "weeks"),
    [
        (None, None, None),
        (Growth(math.log(5.6 / 2) / 20, 0.05, 0.06, 30), False, 20),
        (Growth(math.log(5.6 / 2) / 4, 0.25, 0.26, 30), True, 4),
        (Growth(-0.1, -0.2, -0.1, 30), False, None),
    ],
)
def test_when(how: Growth | None, due: bool | None, weeks: float | None) -> None:
    found = advice(shape(READ, 1000, 1), REST, keys={BY_ID: sketch(0.9)}, how=how)
    assert {step.due for step in found.steps} == {due}
    (server,) = found.servers
    assert server.load == pytest.approx(2.0, rel=0.01)
    if weeks is None:
        assert server.weeks is None or server.weeks.expected is None
    else:
        assert server.weeks is not None
        assert server.weeks.expected == pytest.approx(weeks, rel=0.01)
        assert found.steps[0].adds_weeks is not None
        assert found.steps[0].adds_weeks > 0


def test_every_table_has_a_step_or_a_reason() -> None:
    found = advice(shape(READ, 20, 1), shape("SELECT a FROM u WHERE id = 5", 1000, 1, 1), REST)
    named = {name for step in found.steps for name in step.tables} | {one.table for one in found.alone}
    assert named == {"shop.t", "shop.u", "shop.rest"}
    (small,) = (one for one in found.alone if one.table == "shop.t")
    assert small.share == pytest.approx(0.02 / 2.02)
    assert "10 times" in small.unless


# -- too little --------------------------------------------------------------------------------------------------------

HOUR = 60 * SECONDS  # the same statements, over so much time


def of_one(found: Advice, table: str) -> LeftAlone:
    (one,) = (one for one in found.alone if one.table == table)
    return one


def test_a_server_that_has_little_to_do_is_left_alone() -> None:
    shapes = [shape(READ, 1000, 1), shape(WRITE, 4000, 1, 0), REST]
    keys = {BY_ID: sketch(0.9)}
    assert advice(*shapes, keys=keys).steps  # busy 6.0 of 5.6
    found = advice(*shapes, keys=keys, seconds=HOUR)
    assert found.steps == ()
    assert "360,000 statements in 60 minutes, busiest server main 0.10 of 5.6" in found.too_little
    assert "statements of over a second" in found.enough
    assert {one.table for one in found.alone} == {"shop.t", "shop.rest"}
    assert "busy 0.10 of 5.6" in of_one(found, "shop.t").why
    assert "0.56" in of_one(found, "shop.t").unless


def test_a_server_that_will_soon_be_full_is_not_far_from_it() -> None:
    shapes = [shape(READ, 1000, 1), REST]
    slow, quick = Growth(0.05, 0.04, 0.06, 30), Growth(0.6, 0.5, 0.7, 30)
    assert advice(*shapes, how=slow, seconds=HOUR).too_little
    found = advice(*shapes, how=quick, seconds=HOUR)
    assert (found.too_little, bool(found.steps)) == ("", True)


def test_few_statements_say_nothing() -> None:
    found = advice(shape(READ, 10, 400), shape("SELECT a FROM u WHERE id = 5", 2, 100))  # busy 4.2 of 5.6
    assert found.steps == ()
    assert "720 statements in 60 seconds, busiest server main 4.20 of 5.6" in found.too_little
    assert {one.table for one in found.alone} == {"shop.t", "shop.u"}
    assert "1,000 statements" in of_one(found, "shop.t").unless
    assert advice(shape(READ, 1000, 1), REST, seconds=30).too_little


def test_an_index_is_missing_however_little_there_is_to_do() -> None:
    few = shape(READ, 1, 2, 1, 50_000)
    found = advice(few, examined=True)
    assert techniques(found) == [("index", ("shop.t",))]
    assert "60 statements" in found.too_little
    # Without rows examined it takes more statements to say so.
    lookups, slow = shape(READ, 90, 0.1), shape("SELECT a FROM u WHERE b = 5", 1, 50)
    assert techniques(advice(lookups, slow)) == [("index", ("shop.u",))]
    assert techniques(advice(shape(READ, 9, 0.1), slow)) == []


def test_what_is_slow_is_advised_on_however_little_there_is_to_do() -> None:
    report = "SELECT SUM(a) FROM t"
    assert advice(REST, shape(report, 1, 900), seconds=HOUR).too_little
    found = advice(REST, shape(report, 1, 1100), seconds=HOUR)
    assert (found.too_little, techniques(found)) == ("", [("replicas", ("shop.t",))])


def test_one_server_may_have_little_to_do_while_another_is_busy() -> None:
    where = Layout(lambda table: "media" if table == "shop.u" else "main", cores=lambda cluster: 8.0)
    found = advice(shape(READ, 1000, 1), shape("SELECT a FROM u WHERE id = 5", 10, 1), REST, where=where)
    assert found.too_little == ""
    assert techniques(found) == [("replicas", ("shop.t",))]
    assert "media is busy 0.01 of 5.6" in of_one(found, "shop.u").why


def test_tables_on_several_clusters_are_left_alone_and_said_to_be() -> None:
    where = Layout(lambda table: None if table == "shop.u" else "main", cores=lambda cluster: 8.0)
    found = advice(shape(READ, 1000, 1), shape("SELECT a FROM u WHERE id = 5", 1000, 1), REST, where=where)
    assert "on several clusters already" in of_one(found, "shop.u").why
    assert of_one(found, "shop.u").share == pytest.approx(1 / 3)


def test_tables_of_the_system_and_temporary_ones_are_nobody_s_to_move() -> None:
    others = (
        *("SELECT * FROM information_schema.TABLES", "SELECT * FROM turnout.cluster", "INSERT INTO big VALUES (1)"),
        *("CREATE TEMPORARY TABLE big (id INT)", "ALTER TABLE wide ADD x INT", "SELECT 1 FROM t, mysql.user"),
    )
    found = advice(shape(READ, 1000, 1), REST, *(shape(sql, 1000, 1) for sql in others))
    named = {name for step in found.steps for name in step.tables} | {one.table for one in found.alone}
    assert named == {"shop.t", "shop.rest"}
