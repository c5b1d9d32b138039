"""The clauses of LOAD DATA, and where they stand."""

from __future__ import annotations

import pytest

from parser.analyse import parse
from parser.shape import lexer
from parser.statement import Effect, Kind, LoadData, Statement

HEAD = "LOAD DATA LOCAL INFILE 'file' INTO TABLE `d b`.t "


def read(sql: str) -> tuple[Statement, list[bytes], bytes]:
    shape, literals = lexer().shape(sql.encode())
    return parse(shape, literals, lexer=lexer()), literals, shape


def load(sql: str) -> tuple[LoadData, list[bytes], bytes]:
    statement, literals, shape = read(sql)
    assert statement.kind is Kind.LOAD_DATA
    assert statement.load is not None, sql
    return statement.load, literals, shape


def test_every_clause() -> None:
    found, literals, shape = load(
        "LOAD DATA CONCURRENT LOCAL INFILE 'file' REPLACE INTO TABLE `d b`.t PARTITION (p0, p1) CHARSET Latin1 "
        "COLUMNS ESCAPED BY '^' OPTIONALLY ENCLOSED BY \"'\" TERMINATED BY ',' LINES TERMINATED BY ';' STARTING BY '>' "
        "IGNORE 7 ROWS (a, `B`, @x, d.t.c) SET e = @x + 1, t.f = NOW()"
    )
    holes = [found.file, found.escaped, found.enclosed, found.fields_terminated, found.lines_terminated]
    holes += [found.lines_starting, found.ignore_lines]
    assert [literals[hole.index] for hole in holes if hole is not None] == [b"file", b"^", b"'", b",", b";", b">", b"7"]
    assert found.enclosed is not None
    assert found.enclosed.double_quoted
    assert (found.local, found.replace, found.ignore, found.partitioned, found.optionally) == (
        True,
        True,
        False,
        True,
        True,
    )
    assert (found.charset, found.columns, found.assigned) == ("latin1", ("a", "b", "@x", "c"), ("e", "f"))
    assert shape[slice(*found.ignore_span)] == b"IGNORE \0 ROWS"
    assert shape[found.columns_at :].startswith(b"a, `B`")
    assert found.effects & Effect.NONDETERMINISTIC
    assert not found.assigns_variables


def test_a_list_of_columns_calls_no_function() -> None:
    """`LINES (a)` and `utf8mb4 (a)` look like calls."""
    for rest in ("IGNORE 1 LINES (a)", "CHARACTER SET utf8mb4 (a, b)", "FIELDS TERMINATED BY ',' (a)", "(a)", ""):
        statement, _, _ = read(HEAD + rest)
        assert statement.effects == Effect.WRITES | Effect.LOCAL_INFILE, rest
        ((table),) = statement.tables
        assert (table.database, table.name) == ("d b", "t")


def test_effects_of_variables_and_functions() -> None:
    reads, sets = Effect.READS_USER_VARIABLE, Effect.SETS_USER_VARIABLE
    assert read(HEAD + "(@a)")[0].effects & (reads | sets) == sets
    assert read(HEAD + "(@a) SET b = @A + 1")[0].effects & (reads | sets) == sets  # what the line itself has set
    assert read(HEAD + "(c) SET b = @a")[0].effects & (reads | sets) == reads
    assert read(HEAD + "(@a) SET b = @a + @b")[0].effects & (reads | sets) == reads | sets
    assert read(HEAD + "(a) SET b = f(1)")[0].effects & Effect.UNKNOWN_FUNCTION
    assert load(HEAD + "(a) SET b = (@n := @n + 1)")[0].assigns_variables


@pytest.mark.parametrize(
    "rest",
    [
        "FIELDS TERMINATED BY 0x09",
        "FIELDS TERMINATED BY X'09'",
        "FIELDS TERMINATED BY ',' TERMINATED BY ';'",
        "LINES ENCLOSED BY '\"'",
        "IGNORE x LINES",
        "(a b)",
        "(a) SET b",
        "PARTITION",
        "CHARACTER utf8",
        "WHERE 1",
        "(a",
    ],
)
def test_other_forms_are_known_as_such(rest: str) -> None:
    statement, _, _ = read(HEAD + rest)
    assert statement.load is None
    assert statement.kind in (Kind.LOAD_DATA, Kind.UNKNOWN)


def test_xml_and_a_file_of_the_server() -> None:
    assert read("LOAD XML LOCAL INFILE 'x' INTO TABLE t")[0].load is None
    found, _, _ = load("LOAD DATA INFILE 'x' IGNORE INTO TABLE t")
    assert (found.local, found.ignore, found.columns, found.columns_at) == (False, True, None, -1)
    assert found.ignore_span[0] == found.ignore_span[1]
