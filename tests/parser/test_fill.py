"""One column's values put into an INSERT's own bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parser.analyse import parse
from parser.fill import fill, fill_parts, params_before
from parser.shape import Lexer, lexer
from parser.statement import Statement


def read(sql: bytes, lex: Lexer | None = None, prepared: bool = False) -> tuple[Statement, bytes, list[bytes]]:
    lex = lex or lexer()
    shape, literals = lex.shape(sql)
    return parse(shape, literals, lexer=lex, prepared=prepared), shape, literals


@pytest.mark.parametrize(
    ("sql", "position", "values", "expected"),
    [
        ("INSERT INTO t (a) VALUES (1)", None, ["7"], "INSERT INTO t (a, `id`) VALUES (1, 7)"),
        (
            "INSERT t( a,b )VALUES( 'x)' ,2 ) , /* (3, */ (4,5) ON DUPLICATE KEY UPDATE a = (6)",
            None,
            ["7", "8"],
            "INSERT t( a,b , `id`)VALUES( 'x)' ,2 , 7) , /* (3, */ (4,5, 8) ON DUPLICATE KEY UPDATE a = (6)",
        ),
        ("INSERT INTO t VALUES ()", None, ["7"], "INSERT INTO t (`id`) VALUES (7)"),
        ("INSERT INTO d.`t` () VALUES (),()", None, ["7", "8"], "INSERT INTO d.`t` (`id`) VALUES (7),(8)"),
        ("REPLACE t VALUE ()", None, ["7"], "REPLACE t (`id`) VALUE (7)"),
        ("INSERT INTO t VALUES (NULL, 'a''b')", 0, ["7"], "INSERT INTO t VALUES (7, 'a''b')"),
        ("INSERT INTO t VALUES (1,DEFAULT),(2,9)", 1, ["7", None], "INSERT INTO t VALUES (1,7),(2,9)"),
        (
            "INSERT INTO t VALUES (f(1,(2)), /*,*/ + 0 /*,*/)",
            1,
            ["7"],
            "INSERT INTO t VALUES (f(1,(2)), /*,*/ 7 /*,*/)",
        ),
        ("INSERT INTO t (a, id) VALUES (1, '0')", 1, ["7"], "INSERT INTO t (a, id) VALUES (1, 7)"),
        ("INSERT INTO t SET a = 1, b = (2 + 3)", None, ["7"], "INSERT INTO t SET a = 1, b = (2 + 3), `id` = 7"),
        (
            "INSERT INTO t SET a := f(1), id = NULL ON DUPLICATE KEY UPDATE a = 2",
            1,
            ["7"],
            "INSERT INTO t SET a := f(1), id = 7 ON DUPLICATE KEY UPDATE a = 2",
        ),
        ("INSERT INTO t SET a = 1 RETURNING id", None, ["7"], "INSERT INTO t SET a = 1, `id` = 7 RETURNING id"),
        ("INSERT INTO t SET a = 1;", None, [None], "INSERT INTO t SET a = 1;"),
    ],
)
def test_fills(sql: str, position: int | None, values: list[str | None], expected: str) -> None:
    texts = [None if value is None else value.encode() for value in values]
    assert fill(*read(sql.encode()), b"`id`", position, texts).decode() == expected


@pytest.mark.parametrize("charset", ["utf8mb4", "gbk", "latin1"])
def test_wide_characters(charset: str) -> None:
    codec = {"utf8mb4": "utf-8"}.get(charset, charset)
    name = "ÿ" if charset == "latin1" else "表"
    sql = f"INSERT INTO `{name}` (`{name}`) VALUES ('{name}'), ( '{name}')".encode(codec)
    statement = read(sql, lexer(charset=charset))
    expected = f"INSERT INTO `{name}` (`{name}`, id) VALUES ('{name}', 1), ( '{name}', 2)".encode(codec)
    assert fill(*statement, b"id", None, [b"1", b"2"]) == expected
    before, rows, behind = fill_parts(*statement, b"id", None, [b"1", b"2"])
    assert before + b", ".join(rows) + behind == expected


VALUES = st.sampled_from([b"1", b"'a, (b'", b"NULL", b"f(1, (2))", b"- 3", b'"x\\"y"', b"/* , */ 4"])


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=5), st.integers(0, 2), st.data())
def test_parts_and_whole_agree(rows: list[tuple[bytes, ...]], position: int, data: st.DataObject) -> None:
    sql = b"INSERT INTO t VALUES " + b", ".join(b"(" + b",".join(row) + b")" for row in rows) + b" -- end"
    numbers = st.one_of(st.none(), st.integers(1, 99).map(lambda number: b"%d" % number))
    values = data.draw(st.lists(numbers, min_size=len(rows), max_size=len(rows)))
    whole = fill(*read(sql), b"id", position, values)
    before, parts, behind = fill_parts(*read(sql), b"id", position, values)
    assert before + b", ".join(parts) + behind == whole
    for row, part, value in zip(rows, parts, values):
        expected = list(row)
        if value is not None:
            comment = b"/* , */ " if row[position].startswith(b"/*") else b""
            expected[position] = comment + value
        assert part == b"(" + b",".join(expected) + b")"


def test_long_inserts_are_filled_like_short_ones() -> None:
    sql = b"INSERT INTO t (a, b) VALUES " + b", ".join(b"(%d, 'r%d')" % (n, n) for n in range(500))
    values: list[bytes | None] = [b"%d" % (1000 + n) for n in range(500)]
    expected = b"INSERT INTO t (a, b, id) VALUES " + b", ".join(
        b"(%d, 'r%d', %d)" % (n, n, 1000 + n) for n in range(500)
    )
    assert fill(*read(sql), b"id", None, values) == expected


@pytest.mark.parametrize(
    ("sql", "position", "chosen", "expected"),
    [
        ("INSERT INTO t (a, b) VALUES (?, ?) ON DUPLICATE KEY UPDATE a = ?", None, [True], [2]),
        ("INSERT INTO t (a) VALUES (? + ?), (?)", None, [True, True], [2, 3]),
        ("INSERT INTO t VALUES (NULL, ?), (?, ?), (0, ?)", 0, [True, False, True], [0, 3]),
        ("INSERT INTO t SET a = ?, b = '?', c = ?", None, [True], [2]),
        ("INSERT INTO t SET a = ?, id = NULL, c = ?", 1, [True], [1]),
    ],
)
def test_counts_the_parameters_before(sql: str, position: int | None, chosen: list[bool], expected: list[int]) -> None:
    statement, shape, _ = read(sql.encode(), prepared=True)
    assert params_before(statement, shape, position, chosen) == expected


def test_what_has_no_rows_cannot_be_filled() -> None:
    for sql in (b"INSERT INTO t SELECT 1", b"SELECT 1"):
        with pytest.raises(ValueError, match="not an INSERT"):
            fill(*read(sql), b"id", None, [b"1"])
    with pytest.raises(ValueError, match="not an INSERT"):
        fill_parts(*read(b"INSERT INTO t SET a = 1"), b"id", None, [b"1"])
