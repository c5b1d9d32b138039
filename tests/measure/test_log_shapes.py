"""A log's statements under the shapes that Turnout would measure them by."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parser.analyse import parse, shape_digest
from parser.shape import Lexer, lexer
from proxy.measure.log_shapes import LogShapes
from proxy.measure.shapes import ShapeId, digest_id
from proxy.measure.slow_log import LoggedStatement
from proxy.measure.tally import OTHERS

PLAIN = lexer()


def logged(text: str, us: int = 1000, database: str = "shop", unix_s: float | None = 100.0) -> LoggedStatement:
    return text.encode(), database.encode(), unix_s, us, 1, 2, 3, False, False


def summed(statements: Iterable[LoggedStatement], lex: Lexer = PLAIN, **options: float) -> LogShapes:
    sums = LogShapes(lex, **options)  # type: ignore[arg-type]
    sums.add(statements)
    return sums


def counts(sums: LogShapes) -> dict[str, int]:
    found: dict[str, int] = {}
    for shape, tally in sums.shapes:
        digest = sums.digests[shape]
        found[digest] = found.get(digest, 0) + tally.count
    return found


def test_literals_and_lengths_of_lists_make_no_difference() -> None:
    sums = summed(
        [
            logged("SELECT a FROM t WHERE id IN (1, 2) AND s = 'x'"),
            logged("SELECT a  FROM t WHERE id IN (1,2,3, 4) AND s = 'it''s' -- c"),
            logged("SELECT a FROM t WHERE id IN (77) AND s = '7'"),
            logged("SELECT b FROM t"),
        ]
    )
    assert counts(sums) == {"SELECT a FROM t WHERE id IN (?+) AND s = ?": 3, "SELECT b FROM t": 1}
    (first, _) = sums.shapes
    shape, tally = first
    assert shape == ShapeId(digest_id("SELECT a FROM t WHERE id IN (?+) AND s = ?"), "", ("shop.t",), ())
    assert (tally.rows, tally.examined, tally.sent_bytes, tally.total_ns, tally.max_ns) == (
        *(3, 6, 9),
        *(3_000_000, 1_000_000),
    )
    sample = sums.samples[shape]
    assert (sample.shape, sample.database) == (b"SELECT a FROM t WHERE id IN (\0, \0) AND s = '\0'", "shop")


def test_the_ids_are_those_of_statements_that_turnout_sees() -> None:
    for text in ("SELECT 1", "insert into t values (1, 'a'), (2, 'b')", "COMMIT;", "SELECT 1; SELECT 2", "CALL p(1)"):
        shape, literals = PLAIN.shape(text.encode())
        statement = parse(shape, literals, lexer=PLAIN)
        assert shape_digest(shape, PLAIN) == statement.digest != ""
        ((key, _),) = summed([logged(text)]).shapes
        assert key.id == digest_id(statement.digest)


def test_a_table_belongs_to_the_sessions_database() -> None:
    sums = summed([logged("SELECT * FROM t JOIN x.u", database=name) for name in ("one", "two", "")])
    assert sorted(shape.tables for shape, _ in sums.shapes) == [("one.t", "x.u"), ("t", "x.u"), ("two.t", "x.u")]
    assert {table: tally.count for table, tally in sums.by_table()}["one.t"] == 1


def test_administrator_commands_are_shapes_of_their_own() -> None:
    command = (b"Ping", b"", 5.0, 7, 0, 0, 0, False, True)
    assert counts(summed([command, command, logged("Ping")])) == {"administrator command: Ping": 2, "Ping": 1}


def test_what_cannot_be_taken_apart_is_counted_without_its_text() -> None:
    sums = summed([logged("SELECT 'secret"), logged("SELECT 'other secret")])
    assert counts(sums) == {"unknown": 2}
    assert not sums.samples


def test_only_the_window_counts() -> None:
    statements = [logged("SELECT 1", unix_s=second) for second in (9.9, 10.0, 19.0, 20.0, None)]
    sums = summed(statements, since=10.0, until=20.0)
    assert (counts(sums), sums.first, sums.last, sums.seen) == ({"SELECT ?": 2}, 10.0, 19.0, 5)
    sums = summed(statements)
    assert (counts(sums), sums.first, sums.last) == ({"SELECT ?": 5}, 9.9, 20.0)


def test_a_flood_of_shapes_makes_room_and_the_sums_stay() -> None:
    flood = [logged(f"SELECT c{n} FROM t{n % 7}", us=1) for n in range(500)]
    heavy = [logged("SELECT heavy FROM t1", us=1_000_000)]
    statements = [one for n in range(500) for one in (flood[n], *heavy)]
    sums = summed(statements, max_shapes=50)
    assert len(sums.shapes) <= 51
    assert sum(tally.count for _, tally in sums.shapes) == 1000
    assert sum(tally.total_ns for _, tally in sums.shapes) == 500 * 1000 + 500 * 10**9
    found = counts(sums)
    assert found["SELECT heavy FROM t1"] == 500
    assert OTHERS in sums.shapes
    by_table: dict[str, int] = {}
    for table, tally in sums.by_table():
        by_table[table] = by_table.get(table, 0) + tally.count
    assert by_table["shop.t1"] == 500 + 72
    assert sum(by_table.values()) == 1000


def test_shapes_that_made_room_may_come_again() -> None:
    statements = [logged(f"SELECT c FROM {chr(97 + n % 26)}{chr(97 + n // 26)}", us=1 + n) for n in range(300)]
    sums = summed(statements * 4, max_shapes=50)
    assert sum(tally.count for _, tally in sums.shapes) == 1200
    assert sum(tally.count for _, tally in sums.by_table()) == 1200


_TEXTS = st.lists(
    st.sampled_from(
        (
            *(
                "SELECT ",
                "a",
                "t",
                "1",
                "10",
                "0",
                "x",
                "b",
                "e",
                "'",
                "'1'",
                ".",
                "-",
                "--",
                " ",
                "/*!",
                "50001",
                "*/",
            ),
            *("@", "0x1", "1b0", "#", "\n", "`", "`1`", '"', "(", ")", ","),
        )
    ),
    max_size=8,
).map("".join)


@given(st.lists(_TEXTS, max_size=40), st.sampled_from(["utf8mb4", "gbk", "latin1"]))
def test_leaving_out_the_lexer_changes_nothing(texts: list[str], charset: str) -> None:
    """Texts that differ in digits alone are not always taken apart: they would have had the same shape."""
    digits = str.maketrans("01", "97")
    texts = [*texts, *(text.translate(digits) for text in texts)] * 3
    lex = lexer(charset=charset)
    expected: dict[str, int] = {}
    for text in texts:
        digest = shape_digest(lex.shape(text.encode())[0], lex) or "unknown"
        expected[digest] = expected.get(digest, 0) + 1
    assert counts(summed(map(logged, texts), lex)) == expected


def test_digits_in_names_are_told_apart() -> None:
    texts = [f"SELECT c{n % 3} FROM t{n % 2} WHERE id = {n} AND d = '{n % 7}' -- {n % 5}" for n in range(10, 100)]
    found = counts(summed(map(logged, texts)))
    assert found == {f"SELECT c{c} FROM t{t} WHERE id = ? AND d = ?": 15 for c in range(3) for t in range(2)}


@pytest.mark.parametrize("charset", ["utf8mb4", "gbk"])
def test_numbers_and_prefixes_are_told_apart(charset: str) -> None:
    texts = ["SELECT 0x11 FROM t", "SELECT 1x11 FROM t", "SELECT 0b11 FROM t", "SELECT 0b12 FROM t"] * 4
    found = counts(summed(map(logged, texts), lexer(charset=charset)))
    assert found == {"SELECT ? FROM t": 8, "SELECT 1x11 FROM t": 4, "SELECT 0b12 FROM t": 4}
