"""Where the `?` of a prepared statement stand, and what is bound to those of a text made of its pieces."""

from __future__ import annotations

import pytest

from parser.params import bindings, param_places
from parser.rewrite import Number, edit
from parser.shape import lexer


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT 1", 0),
        ("SELECT ?, a FROM t WHERE b IN (?, ?)", 3),
        ("SELECT '?', \"?\", ? -- ?", 1),
        ("SELECT `a?b`, ? FROM `t?`", 1),
        ("SELECT /* ? */ ?, @`a?b`, @'?', /*+ hint(?) */ ? # ?", 2),
        ("SELECT /* turnout: cluster=? */ ?", 1),
        ("SELECT /*!40000 ?, */ ?", 2),
        ("SELECT ? AS é, 'ü', ? FROM `ß?`", 2),
    ],
)
def test_places(sql: str, params: int) -> None:
    shape, _ = lexer().shape(sql.encode())
    places = param_places(shape, lexer())
    assert len(places) == params
    assert all(shape[place : place + 1] == b"?" for place in places)


def test_names_in_double_quotes() -> None:
    ansi = lexer(ansi_quotes=True)
    shape, _ = ansi.shape(b'SELECT "a?b", ?')
    assert param_places(shape, ansi) == (shape.rindex(b"?"),)


def test_a_long_text_is_read_quickly_and_rightly() -> None:
    sql = b"INSERT INTO t VALUES " + b", ".join([b"(?, '?', 5)"] * 3000)
    shape, _ = lexer().shape(sql)
    quick = param_places(shape, lexer())
    slow = param_places(shape + b" /* ` */", lexer())
    assert len(quick) == 3000
    assert quick == slow


def test_bindings_of_an_edited_text() -> None:
    sql = b"SELECT ? + a, '?' FROM t WHERE b = ? AND c = ? LIMIT ?"
    shape, literals = lexer().shape(sql)
    places = param_places(shape, lexer())
    first, limit = (places[0], places[0] + 1), (places[3], places[3] + 1)
    middle = shape.index(b" FROM")
    edits = [
        ((middle, middle), (b", ", first, b" AS again, ", (places[1] - 4, places[2] + 1))),
        (limit, (Number(7),)),
    ]
    text = edit(shape, literals, edits)
    assert text == b"SELECT ? + a, '?', ? AS again, b = ? AND c = ? FROM t WHERE b = ? AND c = ? LIMIT ?"
    assert bindings(places, edits) == (0, 0, 1, 2, 1, 2, Number(7))
    assert bindings(places, []) == (0, 1, 2, 3)
