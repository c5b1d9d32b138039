"""Where the statements of a text end, in the bytes that the client sent."""

from __future__ import annotations

import pytest

from parser.shape import lexer
from parser.split import statement_ends

TEXTS = (
    ("SELECT 1", ["SELECT 1"]),
    ("SELECT 1; SELECT 22", ["SELECT 1", " SELECT 22"]),
    ("SELECT 'a;b'; SELECT \"c;\" , 1234567; x", ["SELECT 'a;b'", ' SELECT "c;" , 1234567', " x"]),
    ("SELECT 1 /* ; */; -- ;\nSELECT `;` # ;", ["SELECT 1 /* ; */", " -- ;\nSELECT `;` # ;"]),
    ("SELECT 1;; SELECT 2;", ["SELECT 1", "", " SELECT 2", ""]),
    ("SELECT 'ä;', 'ß'; SELECT ö; UPDATE t SET a = '€;' WHERE b = 5", None),
    (
        "CREATE PROCEDURE p() BEGIN SELECT 1; IF a THEN SELECT 2; END IF; END; CALL p()",
        ["CREATE PROCEDURE p() BEGIN SELECT 1; IF a THEN SELECT 2; END IF; END", " CALL p()"],
    ),
    ("IF 1 THEN SELECT 1; SELECT 2; END IF; SELECT 3", ["IF 1 THEN SELECT 1; SELECT 2; END IF", " SELECT 3"]),
    ("CASE 1 WHEN 1 THEN SELECT 1; END CASE; SELECT 3", ["CASE 1 WHEN 1 THEN SELECT 1; END CASE", " SELECT 3"]),
    ("x: WHILE 0 DO SELECT 1; END WHILE x; SELECT 3", ["x: WHILE 0 DO SELECT 1; END WHILE x", " SELECT 3"]),
    ("FOR r IN (SELECT 1) DO SELECT 2; END FOR; SELECT 3", ["FOR r IN (SELECT 1) DO SELECT 2; END FOR", " SELECT 3"]),
    ("LOOP SELECT 1; END LOOP; SELECT 3", ["LOOP SELECT 1; END LOOP", " SELECT 3"]),
    ("REPEAT SELECT 1; UNTIL 1 END REPEAT; SELECT 3", ["REPEAT SELECT 1; UNTIL 1 END REPEAT", " SELECT 3"]),
    ("BEGIN; SELECT 1; COMMIT", ["BEGIN", " SELECT 1", " COMMIT"]),
)


@pytest.mark.parametrize(("text", "parts"), TEXTS)
def test_parts(text: str, parts: list[str] | None) -> None:
    sql = text.encode()
    ends = statement_ends(sql, lexer())
    found = [sql[a:b].decode() for a, b in zip([0, *(end + 1 for end in ends)], [*ends, len(sql)])]
    assert all(sql[end : end + 1] == b";" for end in ends)
    if parts is None:
        parts = ["SELECT 'ä;', 'ß'", " SELECT ö", " UPDATE t SET a = '€;' WHERE b = 5"]
    assert found == parts


def test_by_the_modes_of_the_session() -> None:
    sql = b"SELECT 'a\\'; SELECT 'b;c'"
    assert statement_ends(sql, lexer(no_backslash_escapes=True)) == [11]
    assert statement_ends(sql, lexer()) == []  # no string ends
    assert statement_ends(b'SELECT "a;b"; SELECT 2', lexer(ansi_quotes=True)) == [12]
    assert statement_ends("SELECT '稜;'; SELECT 2".encode("big5"), lexer(charset="big5")) == [12]


def test_what_is_not_certain_is_not_taken_apart() -> None:
    for sql in (b"SELECT 1 /*M! ; */; SELECT 2", b"SELECT 'a; SELECT 2", b"\xff;\xff"):
        assert statement_ends(sql, lexer()) == []
