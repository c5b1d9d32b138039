"""By which columns rows are found."""

from __future__ import annotations

import pytest

from parser.shape import lexer
from proxy.measure.columns import in_words, pinned, used
from proxy.measure.ranking import MeasuredShape
from proxy.measure.shapes import Sample, ShapeId
from proxy.measure.tally import Tally


def sample(sql: str, database: str | None = "shop", prepared: bool = False) -> Sample:
    return Sample(lexer().shape(sql.encode())[0], database, prepared)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM t WHERE id = 5 AND b IN (1, 2) AND c > 3", {"shop.t": ("b", "id")}),
        ("SELECT * FROM t WHERE id = 5 OR b = 3", {"shop.t": ()}),
        ("SELECT * FROM t JOIN x.u ON u.t_id = t.id WHERE t.id = 5", {"shop.t": ("id",), "x.u": ()}),
        ("UPDATE t SET a = 1 WHERE b = 2", {"shop.t": ("b",)}),
        ("DELETE FROM t", {"shop.t": ()}),
        ("INSERT INTO t (id) VALUES (1)", {}),
        ("EXPLAIN SELECT * FROM t WHERE a = 1", {"shop.t": ("a",)}),
        ("SELECT 1", {}),
        ("SELEC", {}),
    ],
)
def test_pinned_columns(sql: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert pinned(sample(sql)) == expected


def test_prepared_statements_and_no_database() -> None:
    assert pinned(sample("SELECT * FROM t WHERE a = ?", None, True)) == {"t": ("a",)}


def test_weighted_by_traffic() -> None:
    def measured(sql: str, count: int) -> MeasuredShape:
        tally = Tally()
        tally.count = count
        return MeasuredShape(ShapeId(sql, "", (), ()), sql, tally, sample(sql))

    unknown = MeasuredShape(ShapeId("x", "", (), ()), "x", Tally())
    found = used(
        [
            measured("SELECT * FROM t WHERE id = 1", 70),
            measured("SELECT a FROM t WHERE id = 1", 20),
            measured("SELECT a FROM t WHERE b = 1 AND a = 1", 8),
            measured("SELECT * FROM t", 2),
            unknown,
        ]
    )
    assert found == {"shop.t": {("id",): 90, ("a", "b"): 8, (): 2}}
    assert in_words(found["shop.t"]) == "id: 90 %, (a, b): 8 %, none: 2 %"
