"""What a plan-cache miss leaves behind, and what it does not do needlessly."""

from __future__ import annotations

import gc

import pytest
from sqlglot import exp

from parser import tree
from parser.analyse import parse
from parser.shape import lexer
from parser.statement import Kind, Statement

JOIN = (
    b"SELECT a.x, COUNT(*) FROM t AS a LEFT JOIN u ON u.id = a.id WHERE a.id IN (1, 2) GROUP BY a.x ORDER BY 1 LIMIT 3"
)


def read(sql: bytes, merged: frozenset[str] | None = None) -> Statement:
    shape, literals = lexer().shape(sql)
    return parse(shape, literals, lexer=lexer(), merged=merged)


@pytest.mark.parametrize(
    "sql", [JOIN, b"UPDATE t SET a = (SELECT MAX(b) FROM u) WHERE id = 5", b"DELETE FROM t WHERE a"]
)
def test_trees_leave_nothing_to_the_collector(sql: bytes) -> None:
    read(sql)  # what is made once
    gc.collect()
    before = _nodes()
    gc.disable()
    try:
        assert read(sql).kind is not Kind.UNKNOWN
        assert _nodes() == before
    finally:
        gc.enable()


def _nodes() -> int:
    return sum(issubclass(type(each), exp.Expr) for each in gc.get_objects())


def test_an_error_of_sqlglot_leaves_nothing_for_the_next_statement() -> None:
    before = read(JOIN)
    assert read(b"SELECT a FROM t WHERE (b = ) AND c").kind is Kind.UNKNOWN
    assert read(JOIN) == before
    read(b"SELECT " + b", ".join(b"c%d" % i for i in range(5000)) + b" FROM t")
    assert all(len(parser.sql) < tree._LONG for _, parser in tree._idle)
    assert read(JOIN) == before


@pytest.mark.parametrize(
    ("table", "merged", "wanted"),
    [
        ("t", {"t", "d.t"}, True),
        ("T", {"t"}, True),
        ("d.t", {"d.t"}, True),
        ("D.T", {"d.t"}, True),
        ("t", {"d.t"}, False),  # sharded in another database
        ("e.t", {"t", "d.t"}, False),
        ("t", None, True),
    ],
)
def test_only_what_may_be_merged_has_an_outline(table: str, merged: set[str] | None, wanted: bool) -> None:
    names = None if merged is None else frozenset(merged)
    found = read(f"SELECT a FROM {table} ORDER BY a".encode(), names)
    assert (found.outline is not None) is wanted
