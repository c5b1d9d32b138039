"""Rows of INSERTs and their bytes, and the values of string literals."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parser import rows as rows_module
from parser.analyse import parse
from parser.rewrite import insert_parts, splice, unescape
from parser.shape import Lexer, lexer
from parser.statement import Hole, Kind, Opaque, Param, Statement, Word


def read(sql: bytes, lex: Lexer | None = None) -> tuple[Statement, bytes, list[bytes]]:
    lex = lex or lexer()
    shape, literals = lex.shape(sql)
    return parse(shape, literals, lexer=lex), shape, literals


def parts(sql: bytes, lex: Lexer | None = None) -> tuple[bytes, list[bytes], bytes]:
    return insert_parts(*read(sql, lex))


def test_splits_rows() -> None:
    sql = b"INSERT INTO t (a, b) VALUES (1, 'it''s ), (odd') , /* gap ( */ (2,\"x\\\"y\"),(- 3, NOW( ))"
    sql += b" ON DUPLICATE KEY UPDATE a = 5"
    assert parts(sql) == (
        b"INSERT INTO t (a, b) VALUES ",
        [b"(1, 'it''s ), (odd')", b'(2,"x\\"y")', b"(- 3, NOW( ))"],
        b" ON DUPLICATE KEY UPDATE a = 5",
    )
    insert = read(sql)[0].insert
    assert insert is not None
    assert insert.rows == (
        (Hole(0, False), Hole(1, True)),
        (Hole(3, False), Hole(4, True, double_quoted=True)),
        (Hole(5, False, negative=True), Opaque()),
    )
    assert (insert.columns, insert.on_duplicate) == (("a", "b"), ("a",))


def test_splits_rows_of_wide_characters() -> None:
    for charset in ("utf8mb4", "gbk"):
        lex = lexer(charset=charset)
        codec = {"utf8mb4": "utf-8"}.get(charset, charset)
        sql = "INSERT INTO `表é` VALUES ('表',表(1)), (2, '功') -- 表".replace("é", "").encode(codec)
        before, rows, after = parts(sql, lex)
        assert rows == ["('表',表(1))".encode(codec), "(2, '功')".encode(codec)]
        assert before + rows[0] + b", " + rows[1] + after == sql


@pytest.mark.parametrize(
    ("sql", "rows", "columns"),
    [
        (b"INSERT INTO t VALUES ()", ((),), ()),
        (b"INSERT INTO t () VALUES ()", ((),), ()),
        (b"INSERT INTO t VALUES (DEFAULT, NULL, true, ?)", ((Word.DEFAULT, Word.NULL, Word.TRUE, Param(0)),), None),
        (b"INSERT t VALUE (1 + 1, x'41', _utf8'a', 'a' 'b')", ((Opaque(),) * 4,), None),
        (b"INSERT t (d.t.`A`, B) VALUES ROW(1)", None, None),
        (b"INSERT INTO t SET A = 1, t.b = ?", ((Hole(0, False), Param(0)),), ("a", "b")),
    ],
)
def test_rows(sql: bytes, rows: object, columns: object) -> None:
    statement, _, _ = read(sql)
    if rows is None:
        assert statement.insert is None or statement.insert.from_select
        return
    assert statement.insert is not None
    assert (statement.insert.rows, statement.insert.columns) == (rows, columns)


def test_only_rows_can_be_split() -> None:
    for sql in (b"SELECT 1", b"INSERT INTO t SELECT 1", b"INSERT INTO t SET a = 1"):
        with pytest.raises(ValueError, match="not an INSERT of rows"):
            parts(sql)


VALUES = [
    b"1",
    b"-2",
    b"'x'",
    b"''",
    b'"y"',
    b"NULL",
    b"DEFAULT",
    b"?",
    b"NOW()",
    b"1.5",
    b"'it''s'",
    b"(1+2)",
    b"/* c */ 3",
    b"`q`",
]
values = st.lists(st.sampled_from(VALUES), min_size=2, max_size=2).map(lambda v: b"(" + b", ".join(v) + b")")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(values, st.integers(1, 4)), min_size=1, max_size=6),
    st.sampled_from([b",", b", ", b" ,\n"]),
    st.sampled_from([b"", b" ON DUPLICATE KEY UPDATE a = 'z'", b" -- end", b";"]),
)
def test_long_inserts_are_read_like_short_ones(runs: list[tuple[bytes, int]], comma: bytes, tail: bytes) -> None:
    rows = [row for row, count in runs for _ in range(count)]
    sql = b"/* go */ INSERT INTO `t` (a, b) VALUES " + comma.join(rows) + tail
    before = rows_module._BULK
    try:
        rows_module._BULK = 0
        long, shape, literals = read(sql)
        rows_module._BULK = 10**9
        short, _, _ = read(sql)
    finally:
        rows_module._BULK = before
    assert short.insert is not None
    assert (long.kind, long.insert, long.tables, long.effects) == (
        Kind.INSERT,
        short.insert,
        short.tables,
        short.effects,
    )
    head, found, end = insert_parts(long, shape, literals)
    assert (head, found, end) == (b"/* go */ INSERT INTO `t` (a, b) VALUES ", rows, tail)


def test_a_long_insert_costs_milliseconds() -> None:
    row = b"(%d, 'some text that is stored in the row', NULL, 'more of it, so that a megabyte is reached')"
    sql = b"INSERT INTO t VALUES " + b",".join(row % i for i in range(10_000))
    assert len(sql) > 900_000
    statement, shape, literals = read(sql)
    assert statement.insert is not None
    assert statement.insert.rows[9_999] == (Hole(29_997, False), Hole(29_998, True), Word.NULL, Hole(29_999, True))
    assert insert_parts(statement, shape, literals)[1][9_999] == row % 9_999
    began = time.process_time()
    parse(shape, literals, lexer=lexer())
    reading = time.process_time() - began
    began = time.process_time()
    lexer().shape(sql)
    assert reading < 20 * (time.process_time() - began)  # as long as a few passes of the lexer; sqlglot takes seconds


def test_long_inserts_with_subqueries_or_more_statements() -> None:
    many = b",".join(b"(%d, 'x')" % i for i in range(1000))
    statement, _, _ = read(b"INSERT INTO t VALUES (1, (SELECT a FROM u))," + many)
    assert [t.name for t in statement.tables] == ["t", "u"]
    assert read(b"INSERT INTO t VALUES " + many + b"; DROP TABLE u")[0].kind is Kind.MULTI
    assert read(b"INSERT INTO t VALUES " + many + b" SELECT")[0].kind is Kind.UNKNOWN


@pytest.mark.parametrize(
    ("content", "quote", "value"),
    [
        (rb"plain", b"'", b"plain"),
        (rb"it''s", b"'", b"it's"),
        (rb"it''s", b'"', b"it''s"),
        (rb'a""b', b'"', b'a"b'),
        (rb'a""b', b"'", b'a""b'),
        (rb"\n\t\r\b\0\Z\\\'\"\a", b"'", b"\n\t\r\b\0\x1a\\'\"a"),
        (rb"\%\_", b"'", rb"\%\_"),
        (rb"\\''", b"'", b"\\'"),
        (b"", b"'", b""),
    ],
)
def test_unescape(content: bytes, quote: bytes, value: bytes) -> None:
    assert unescape(content, lexer(), quote) == value


def test_unescape_without_backslashes() -> None:
    assert unescape(rb"a\n''b", lexer(no_backslash_escapes=True)) == rb"a\n'b"


def test_unescape_keeps_wide_characters_whole() -> None:
    assert unescape(b"\x81\x5cn\\n", lexer(charset="gbk")) == b"\x81\x5cn\n"
    assert unescape(b"\x81\x5cn", lexer(charset="utf8mb4")) == b"\x81\n"
    assert unescape(b"\x81\x5cn''", lexer(False, True, "gbk")) == b"\x81\x5cn'"


def test_splice_refuses_spans_out_of_order() -> None:
    with pytest.raises(ValueError, match="ascend"):
        splice(b"abc", [], [(1, 2), (0, 1)])
