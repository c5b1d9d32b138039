"""Rankings: what comes first, both faces of it, and what a source does not know."""

from __future__ import annotations

from proxy.measure.ranking import Knows, Measured, MeasuredShape, as_json, by_shape, by_table, face, totals
from proxy.measure.shapes import ShapeId
from proxy.measure.tally import OTHER_TABLES, OTHERS, OTHERS_DIGEST, Tally


def tally(count: int, mean_ns: int, rows: int = 0) -> Tally:
    made = Tally()
    made.count, made.total_ns, made.max_ns, made.rows = count, count * mean_ns, mean_ns, rows
    made.buckets = {(mean_ns >> 10).bit_length(): count}
    return made


def shape(name: str, *tables: str, kind: str = "forward", cluster: str = "main") -> ShapeId:
    return ShapeId(name, kind, tables, (cluster,))


LOOKUP = MeasuredShape(shape("aa", "shop.users"), "SELECT lookup", tally(9000, 200_000, 9000))
REPORT = MeasuredShape(shape("bb", "shop.users", "shop.orders"), "SELECT report", tally(10, 400_000_000, 5000))
MOVED = MeasuredShape(shape("aa", "shop.users", kind="shard", cluster="s0"), "SELECT lookup", tally(1000, 200_000))
REST = MeasuredShape(OTHERS, OTHERS_DIGEST, tally(500, 10**8))


ALL = Knows(server_times=True, plans=True)


def measured(knows: Knows = ALL, *more: MeasuredShape) -> Measured:
    return Measured(
        "test",
        knows,
        1000.0,
        1100.0,
        [LOOKUP, REPORT, MOVED, *more],
        [
            ("shop.users", "forward", tally(9010, 600_000)),
            ("shop.users", "shard", tally(1000, 200_000)),
            ("shop.orders", "forward", tally(10, 400_000_000)),
            (OTHER_TABLES, "", tally(1, 10**12)),
        ],
    )


def test_by_total_time_with_both_faces() -> None:
    report, lookup = by_shape(measured())
    assert (report["shape"], report["face"], report["total_s"], report["mean_ms"]) == (
        "SELECT report",
        "slow",
        4.0,
        400,
    )
    assert (report["per_s"], report["rows"]) == (0.1, 500.0)
    assert (lookup["face"], lookup["total_s"], lookup["count"], lookup["per_s"]) == ("frequent", 2.0, 10_000, 100.0)
    assert (lookup["plan"], lookup["clusters"], lookup["tables"]) == ("forward, shard", "main, s0", "shop.users")
    assert (report["time_pct"], lookup["time_pct"]) == (66.67, 33.33)
    assert [row["rank"] for row in (report, lookup)] == [1, 2]


def test_other_orders() -> None:
    assert [row["shape_id"] for row in by_shape(measured(), "count")] == ["aa", "bb"]
    assert [row["shape_id"] for row in by_shape(measured(), "mean")] == ["bb", "aa"]
    assert [row["shape_id"] for row in by_shape(measured(), "p95", 1)] == ["bb"]


def test_all_others_come_last_whatever_they_cost() -> None:
    rows = by_shape(measured(Knows(), REST), limit=1)
    assert [(row["rank"], row["shape_id"]) for row in rows] == [(1, "bb"), (None, "other")]
    tables = by_table(measured())
    assert [(row["rank"], row["table"]) for row in tables] == [(1, "users"), (2, "orders"), (None, OTHER_TABLES)]


def test_by_table() -> None:
    users = by_table(measured())[0]
    assert (users["database"], users["count"], users["plans"]) == ("shop", 10_010, "forward: 9010, shard: 1000")


def test_what_is_not_known_is_not_made_up() -> None:
    knows = Knows(times=False, rows=False, sent_bytes=False, errors=False)
    rows = by_shape(measured(knows))
    assert [row["shape_id"] for row in rows] == ["aa", "bb"], "by their number"
    unknown = ("face", "total_s", "time_pct", "mean_ms", "p95_ms", "max_ms", "server_pct", "rows", "examined", "plan")
    assert {row[name] for row in rows for name in unknown} == {None}
    assert rows[0]["count_pct"] == 99.9


def test_times_in_servers_and_in_the_proxy_have_percentiles_of_their_own() -> None:
    one = tally(100, 8_000_000)
    one.server_ns = 100 * 7_000_000
    one.buckets = {13: 100, 44 + 13: 100, 88 + 10: 100}  # 4.2 to 8.4 ms, and 0.5 to 1 ms
    (row,) = by_shape(Measured("test", ALL, 0.0, 1.0, [MeasuredShape(shape("aa"), "SELECT", one)], []))
    assert 4.1 < float(row["server_p95_ms"] or 0) <= 8.4
    assert 0.5 < float(row["proxy_p95_ms"] or 0) <= 1.05
    assert row["server_pct"] == 87.5


def test_faces() -> None:
    every = tally(100, 1000)
    assert face(tally(4, 1000), every) == ""
    assert face(tally(5, 2000), every) == "frequent"
    assert face(tally(5, 2001), every) == "slow, frequent"
    assert face(Tally(), every) == ""


def test_json_has_everything() -> None:
    found = measured()
    document = as_json(found, by_shape(found), by_table(found))
    assert document["since"] == "1970-01-01T00:16:40Z"
    assert document["seconds"] == 100.0
    assert totals(found)["count"] == 10_010
    empty = Measured("none", Knows(), None, None, [], [])
    assert by_shape(empty) == by_table(empty) == []
    assert totals(empty)["per_s"] is None
