"""The lexer against a real server: both must read the same literals out of the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymysql.connections import Connection

from parser.rewrite import unescape
from parser.shape import HoleKind, hole_kinds, is_opaque, lexer
from tests.servers import Run

pytestmark = pytest.mark.servers

CHARSETS = ["utf8mb4", "latin1", "gbk", "big5", "sjis", "cp932", "binary"]


@pytest.fixture(scope="module")
def server(run: Run) -> Iterator[Connection]:  # type: ignore[type-arg]
    connection = run.mariadb("lexer").admin()
    connection.encoding = "latin-1"  # column names hold any bytes
    yield connection
    connection.close()


def answer(connection: Connection, sql: bytes) -> tuple[object, ...] | None:  # type: ignore[type-arg]
    """The row that the server gives, None where it does not take the statement."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql)
        except pymysql.MySQLError:
            return None
        row = cursor.fetchone() or ()
        return tuple(value.decode() if isinstance(value, bytes) else value for value in row)


def modes(connection: Connection, ansi: bool, raw: bool, charset: str) -> None:  # type: ignore[type-arg]
    chosen = [name for name, on in (("ANSI_QUOTES", ansi), ("NO_BACKSLASH_ESCAPES", raw)) if on]
    with connection.cursor() as cursor:
        cursor.execute(f"SET NAMES {charset}")
        cursor.execute("SET SESSION sql_mode = '" + ",".join(chosen) + "'")


INSIDE = st.lists(
    st.sampled_from([bytes((b,)) for b in b"a0'\"\\%_n \n-#*/`\x81\x95\xa5\xbf\x5c\x60\xc3\xa9\xfe"]), max_size=6
)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(["'", '"', "--", "#", "/*"]), INSIDE.map(b"".join)), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
    st.sampled_from(CHARSETS),
)
def test_literals_are_the_servers(
    server: Connection,  # type: ignore[type-arg]
    pieces: list[tuple[str, bytes]],
    ansi: bool,
    raw: bool,
    charset: str,
) -> None:
    modes(server, ansi, raw, charset)
    sql = b"SELECT HEX('begin')"
    for kind, content in pieces:
        if kind in ("'", '"'):
            sql += b", HEX(" + kind.encode() + content + kind.encode() + b")"
        elif kind == "/*":
            sql += b" /* " + content.replace(b"*/", b"") + b"*/"
        else:
            sql += b" " + kind.encode() + b" " + content.replace(b"\n", b"") + b"\n"
    row = answer(server, sql)
    lex = lexer(ansi, raw, charset)
    shape, literals = lex.shape(sql)
    if row is None or is_opaque(shape) or not PLAIN.fullmatch(shape):
        return  # the content ended its literal and went on as an expression
    strings = [
        unescape(literal, lex, shape_quote).hex().upper()
        for literal, kind, shape_quote in zip(literals, hole_kinds(shape), quotes(shape))
        if kind is HoleKind.STRING
    ]
    assert list(row) == strings, (sql, shape, literals)


PLAIN = re.compile(rb"SELECT(?:,? HEX\((['\"])\0\1\)| -- \0?\n| # ?\0?\n| /\*\0\*/)+", re.DOTALL)


def quotes(shape: bytes) -> list[bytes]:
    """The byte before every hole."""
    return [part[-1:] for part in shape.split(b"\0")[:-1]]


NUMBERS = [
    "1",
    "1.",
    ".5",
    "1.5",
    "1e5",
    "1E-5",
    "1.e2",
    "0x1F",
    "0b101",
    "0XFF",
    "1a",
    "1e",
    "2e5a",
    "0xG",
    "1_",
    "00x1",
    "1e+5",
]


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_the_servers(server: Connection, text: str) -> None:  # type: ignore[type-arg]
    """A number needs no column; a name does, and there is none: error 1054."""
    modes(server, False, False, "utf8mb4")
    is_number = answer(server, f"SELECT {text}".encode()) is not None
    shape, literals = lexer().shape(f"SELECT {text}".encode())
    assert not is_opaque(shape)
    assert bool(literals) == is_number
