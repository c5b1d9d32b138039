"""Values as literals in a prepared statement's text."""

from __future__ import annotations

import pytest

from parser.shape import lexer
from proxy.errors import StatementRefused
from proxy.front.inlined import bound_literal, places, with_values
from proxy.wire import column

UTF8 = lexer()


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (None, column.LONG, b"NULL"),
        (5, column.LONG, b"5"),
        (-5, column.LONGLONG, b"-5"),
        ((1 << 64) - 1, column.LONGLONG, b"18446744073709551615"),
        (-(1 << 63), column.LONGLONG, b"(-9223372036854775807-1)"),  # 9223372036854775808 would be a DECIMAL
        (1.5, column.DOUBLE, b"1.5e0"),
        (1e300, column.DOUBLE, b"1e+300"),
        (0.1 + 0.2, column.DOUBLE, b"0.30000000000000004e0"),
        (float("inf"), column.DOUBLE, None),
        (b"1.50", column.NEWDECIMAL, b"1.50"),
        (b"-7", column.NEWDECIMAL, b"-7."),
        (b"1e3", column.NEWDECIMAL, None),
        (b"it's", column.VAR_STRING, b"'it''s'"),
        (b"back\\slash", column.STRING, b"'back\\\\slash'"),
        (b"\0'\xff", column.BLOB, b"_binary'\0''\xff'"),
        (b"2024-02-29", column.DATE, b"DATE'2024-02-29'"),
        (b"0000-00-00", column.DATE, None),
        (b"2024-01-02 03:04:05.000006", column.DATETIME, b"TIMESTAMP'2024-01-02 03:04:05.000006'"),
        (b"2024-00-02 03:04:05", column.DATETIME, None),
        (b"-12:00:01", column.TIME, b"TIME'-12:00:01'"),
        (b"{}", column.JSON, None),
        (b"\1", column.BIT, None),
    ],
)
def test_what_was_bound(value: object, kind: int, expected: bytes | None) -> None:
    assert bound_literal(value, kind, UTF8) == expected


def test_strings_that_a_charset_cannot_write_for_certain() -> None:
    assert bound_literal("é\\".encode("gbk"), column.STRING, lexer(charset="gbk")) is None
    assert bound_literal(b"a\\", column.STRING, lexer(no_backslash_escapes=True)) == b"'a\\'"


def filled(sql: str, *values: bytes) -> str:
    return with_values(*UTF8.shape(sql.encode()), UTF8, values).decode()


@pytest.mark.parametrize(
    ("sql", "values", "expected"),
    [
        ("UPDATE t SET a=?,b=?WHERE c=?", [b"1", b"'x'", b"NULL"], "UPDATE t SET a= 1 ,b= 'x' WHERE c= NULL "),
        ("SELECT 'a?', `b?`, ? -- c?", [b"7"], "SELECT 'a?', `b?`,  7  -- c?"),
        ("SELECT a -? FROM t", [b"-5"], "SELECT a - -5  FROM t"),  # and no comment
        ("SELECT 1 /* ? */ LIMIT ?, ?", [b"3", b"4"], "SELECT 1 /* ? */ LIMIT  3 ,  4 "),
        ("SELECT 'é', ? LIMIT 2 OFFSET ?", ["'ü'".encode(), b"4"], "SELECT 'é',  'ü'  LIMIT 2 OFFSET  4 "),
        ("SELECT f(?, ?)", [b"'a'", b"'b'"], "SELECT f( 'a' ,  'b' )"),
    ],
)
def test_values_in_the_place_of_parameters(sql: str, values: list[bytes], expected: str) -> None:
    assert filled(sql, *values) == expected


@pytest.mark.parametrize(
    ("sql", "values", "why"),
    [
        ("SELECT a FROM t LIMIT ?", [b"'3'"], "LIMIT"),
        ("SELECT a FROM t LIMIT 1, ?", [b"-1"], "LIMIT"),
        ("SELECT a FROM t LIMIT 1 OFFSET ?", [b"NULL"], "LIMIT"),
        ("SELECT ? 'x'", [b"'y'"], "joined"),  # an alias becomes a part of the string
        ("SELECT _latin1 ?", [b"'y'"], "_LATIN1"),
        ("SELECT DATE ?", [b"'2024-01-01'"], "DATE"),
    ],
)
def test_where_a_literal_would_mean_something_else(sql: str, values: list[bytes], why: str) -> None:
    with pytest.raises(StatementRefused, match=why):
        filled(sql, *values)


def test_places_are_those_of_bytes() -> None:
    shape, _ = UTF8.shape("SELECT `é`, ? FROM t".encode())
    assert [place.start for place in places(shape, UTF8)] == [shape.index(b"?")]
