"""Which subqueries are found that group or aggregate, where they stand, and what is told of them."""

from __future__ import annotations

import pytest

from parser.analyse import parse
from parser.shape import lexer
from parser.statement import Statement


def _read(sql: str, prepared: bool = False) -> Statement:
    shape, literals = lexer().shape(sql.encode())
    return parse(shape, literals, lexer=lexer(), prepared=prepared)


# statement -> texts of the subqueries: T for tables, V for values, with `/` where they divide
FOUND: dict[str, list[str]] = {
    "SELECT 1 FROM t WHERE a IN (SELECT b FROM u GROUP BY b)": ["V SELECT b FROM u GROUP BY b"],
    "SELECT 1 FROM t WHERE a IN (SELECT b FROM u)": [],
    "SELECT 1 FROM t WHERE a = ( SELECT max(b) FROM u ) AND c": ["V SELECT max(b) FROM u"],
    "SELECT * FROM t JOIN (SELECT COUNT(*) FROM u) d": ["T SELECT COUNT(*) FROM u"],
    "WITH w (a) AS (SELECT SUM(b) FROM u) SELECT * FROM w": ["T SELECT SUM(b) FROM u"],
    "SELECT COALESCE((SELECT MIN(b) FROM u), 0), IF(a, 1, (SELECT SUM(b) FROM u)) FROM t": [
        "V SELECT MIN(b) FROM u",
        "V SELECT SUM(b) FROM u",
    ],
    "SELECT (SELECT SUM(b) FROM u WHERE c = 5), (SELECT AVG(b) FROM u) FROM t": [
        "V SELECT SUM(b) FROM u WHERE c = \0",
        "V/ SELECT AVG(b) FROM u",
    ],
    "SELECT 1 FROM t WHERE a IN (SELECT b FROM u WHERE c IN (SELECT MAX(d) / 2 FROM v) GROUP BY b)": [
        "V/ SELECT b FROM u WHERE c IN (SELECT MAX(d) / \0 FROM v) GROUP BY b",
        "V/ SELECT MAX(d) / \0 FROM v",
    ],
    # It is not certain what these are, or they are branches of a UNION.
    "SELECT * FROM t, (SELECT COUNT(*) FROM u) d": [],
    "SELECT * FROM ((SELECT COUNT(*) FROM u) d JOIN t)": [],
    "SELECT 1 FROM t UNION (SELECT COUNT(*) FROM u)": [],
    "SELECT 1 FROM t UNION ALL (SELECT COUNT(*) FROM u)": [],
    "SELECT 1 FROM t WHERE a > ALL (SELECT COUNT(*) FROM u)": ["V SELECT COUNT(*) FROM u"],
    "SELECT * FROM t, LATERAL (SELECT COUNT(*) FROM u WHERE u.a = t.a) d": [],
    "SELECT 1 FROM t ORDER BY a, (SELECT COUNT(*) FROM u)": ["V SELECT COUNT(*) FROM u"],
    "SELECT 1 FROM t WHERE a = (SELECT MAX(@x) FROM u)": [],
}


@pytest.mark.parametrize("sql", FOUND)
def test_found(sql: str) -> None:
    found = [
        f"{'T' if each.table else 'V'}{'/' * each.quotient} {each.text.decode()}" for each in _read(sql).aggregating
    ]
    assert found == FOUND[sql]


def test_none_with_parameters() -> None:
    sql = "SELECT 1 FROM t WHERE a = ? AND b = (SELECT MAX(c) FROM u{})"
    assert len(_read(sql.format(""), prepared=True).aggregating) == 1
    assert not _read(sql.format(" WHERE d = ?"), prepared=True).aggregating


def test_spans_are_of_bytes() -> None:
    sql = "SELECT 'x', é FROM t WHERE é = (SELECT MAX(ü.b) FROM u AS ü WHERE c = 'y')"
    shape, _ = lexer().shape(sql.encode())
    (found,) = _read(sql).aggregating
    assert shape[slice(*found.span)] == found.text
    assert found.qualifiers == {"ü"}


@pytest.mark.parametrize(
    ("where", "members"),
    [
        ("t.a IN (SELECT b FROM u)", ((0, "a", 1),)),
        ("a IN (SELECT b FROM u) AND t.c = 3", ((0, "a", 1),)),
        ("t.a NOT IN (SELECT b FROM u)", ()),
        ("t.a IN (SELECT b FROM u) OR t.c = 3", ()),
        ("t.a IN (SELECT b FROM u UNION SELECT c FROM u)", ()),
        ("(t.a, t.c) IN (SELECT b, c FROM u)", ()),
        ("t.a + 1 IN (SELECT b FROM u)", ()),
    ],
)
def test_members(where: str, members: tuple[object, ...]) -> None:
    assert _read(f"SELECT 1 FROM t WHERE {where}").blocks[0].members == members


def test_members_by_outer_joins() -> None:
    """The ON of an outer join says something of the inner side alone."""
    block = _read("SELECT 1 FROM t LEFT JOIN u ON u.a IN (SELECT b FROM v) AND t.c IN (SELECT d FROM v)").blocks[0]
    assert block.members == ((1, "a", 1),)
