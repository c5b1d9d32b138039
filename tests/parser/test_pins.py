"""Every pin that the parser claims is put to the test: without the rows that it excludes, a query's result is the same.

Random queries run on SQLite, once as they are and once with the pinned mention of a table replaced by its pinned rows;
equalities are followed as the planner follows them, and what they give is tested likewise.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parser.analyse import parse
from parser.shape import lexer
from parser.statement import DateSum, Hole, Kind, Statement, Value, Word
from tests.sizes import size

TABLES = ("t", "u")
COLUMNS = ("k", "m")
VALUES = (0, 1)


@dataclass
class Query:
    """A query in MySQL's words; `sqlite()` turns the few that differ."""

    sql: str
    aliases: list[str] = field(default_factory=list)


def sqlite(sql: str) -> str:
    return sql.replace("<=>", "IS").replace("ROW(", "(").replace("/*V*/", "VALUES ")


@st.composite
def conditions(draw: st.DrawFn, mine: list[str], outer: list[str], counter: Iterator[int], depth: int) -> str:
    def column(names: list[str]) -> str:
        return f"{draw(st.sampled_from(names))}.{draw(st.sampled_from(COLUMNS))}"

    def constant() -> str:
        return draw(st.sampled_from(["0", "1", "1", "1", "NULL", "(1)", "'1'", "-1"]))

    kinds = ["=", "=", "=", "in", "<=>", "join", "join", "<", "row", "rows", "null", "true"]
    if depth:
        kinds += ["and", "and", "or", "or", "not", "ors", "case"]
    if depth and len(mine) + len(outer) < 5:
        kinds += ["exists", "insub", "scalar", "notexists"]
    kind = draw(st.sampled_from(kinds))
    here = mine if not outer or draw(st.booleans()) else mine + outer
    if kind == "=":
        left, right = column(here), constant()
        return f"{left} = {right}" if draw(st.booleans()) else f"{right} = {left}"
    if kind == "<=>":
        return f"{column(here)} <=> {constant()}"
    if kind == "<":
        return f"{column(here)} < {constant()}"
    if kind == "null":
        return f"{column(here)} IS NULL"
    if kind == "true":
        return draw(st.sampled_from(["1", "0", "NULL"]))
    if kind == "in":
        negation = draw(st.sampled_from(["", "", "NOT "]))
        return f"{column(here)} {negation}IN ({constant()}, {constant()})"
    if kind == "join":
        operator = draw(st.sampled_from(["=", "=", "=", "<=>", "<"]))
        return f"{column(here)} {operator} {column(mine + outer)}"
    if kind == "row":
        return f"({column(here)}, {column(here)}) = ({constant()}, {column(here)})"
    if kind == "rows":
        return f"({column(here)}, {column(here)}) IN (/*V*/({constant()}, {constant()}), ({constant()}, {constant()}))"
    if kind in ("exists", "notexists", "insub", "scalar"):
        sub = draw(queries(mine + outer, counter, depth - 1))
        if kind == "insub":
            return f"{column(here)} IN ({sub})"
        if kind == "scalar":
            return f"{column(here)} = (SELECT MAX(x) FROM ({sub}) d{next(counter)})"
        return ("NOT " if kind == "notexists" else "") + f"EXISTS ({sub})"

    def inner() -> str:
        return draw(conditions(mine, outer, counter, depth - 1))

    if kind == "ors":
        name = column(here)
        return f"({name} = {constant()} OR {name} IN ({constant()}, 2))"
    if kind == "not":
        return f"NOT ({inner()})"
    if kind == "case":
        return f"CASE WHEN {inner()} THEN {inner()} ELSE {inner()} END"
    return f"({inner()} {kind.upper()} {inner()})"


@st.composite
def queries(draw: st.DrawFn, outer: list[str], counter: Iterator[int], depth: int) -> str:
    def mention() -> tuple[str, str]:
        alias = f"a{next(counter):03}"  # no alias begins another
        return f"{draw(st.sampled_from(TABLES))} AS {alias}", alias

    source, alias = mention()
    mine = [alias]
    for _ in range(draw(st.integers(0, 2))):
        right, alias = mention()
        how = draw(
            st.sampled_from(["JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "CROSS JOIN", "USING", "LEFT USING"])
        )
        before = list(mine)
        mine.append(alias)
        if how == "CROSS JOIN":
            source += f" CROSS JOIN {right}"
        elif how.endswith("USING") and len(before) == 1:
            source += f" {how.replace('USING', 'JOIN')} {right} USING (k)"
        else:
            how = how.replace("LEFT USING", "LEFT JOIN").replace("USING", "JOIN")
            one = conditions([*before, alias], [], counter, min(depth, 1))
            on = st.lists(one, min_size=1, max_size=2).map(" AND ".join)
            source += f" {how} {right} ON {draw(on)}"
    parts = [draw(conditions(mine, outer, counter, depth)) for _ in range(draw(st.integers(0, 3)))]
    where = f" WHERE {' AND '.join(parts)}" if parts else ""
    items = f"{draw(st.sampled_from(mine))}.{draw(st.sampled_from(COLUMNS))} AS x"
    if not outer:
        items = ", ".join(f"{name}.{column}" for name in mine for column in COLUMNS)
    return f"SELECT {items} FROM {source}{where}"


SOME = [(name, k, m) for name in TABLES for k in (None, *VALUES) for m in (None, *VALUES)]
rows = st.sets(st.sampled_from(range(len(SOME))), max_size=6).map(
    lambda missing: [row for i, row in enumerate(SOME) if i not in missing]
)


def read(sql: str) -> tuple[Statement, list[bytes]]:
    lex = lexer()
    shape, literals = lex.shape(sql.replace("/*V*/", "").encode())
    return parse(shape, literals, lexer=lex), literals


def pinned_columns(statement: Statement) -> dict[tuple[int, str], list[tuple[Value, ...]]]:
    """Pins by (table, column), with equalities followed to tables of their own block."""
    pins: dict[tuple[int, str], list[tuple[Value, ...]]] = {}
    edges: list[tuple[tuple[int, str], tuple[int, str]]] = []
    for block in statement.blocks:
        for pin in block.pins:
            pins.setdefault((pin.table, pin.column), []).append(pin.values)
        for equal in block.equalities:
            for source, target in ((equal.left, equal.right), (equal.right, equal.left)):
                if equal.only in (None, target[0]) and statement.tables[target[0]].block == block.index:
                    edges.append((source, target))
    for _ in range(6):
        for source, target in edges:
            for values in pins.get(source, []):
                if values not in pins.setdefault(target, []):
                    pins[target].append(values)
    return {node: found for node, found in pins.items() if found}


def constant_text(value: Value, literals: list[bytes]) -> str:
    if isinstance(value, Word):
        return value.value
    assert isinstance(value, Hole)
    text = literals[value.index].decode()
    return f"'{text}'" if value.is_string else ("-" if value.negative else "") + text


def restricted(
    sql: str, statement: Statement, table: int, column: str, values: tuple[Value, ...], literals: list[bytes]
) -> str:
    ref = statement.tables[table]
    mention = f"{ref.name} AS {ref.alias}"
    assert sql.count(mention) == 1
    any_of = " OR ".join(f"{column} IS {constant_text(v, literals)}" for v in values)
    return sql.replace(mention, f"(SELECT * FROM {ref.name} WHERE {any_of}) AS {ref.alias}")


def check(sql: str, contents: list[tuple[object, ...]]) -> int:
    """Raises AssertionError when a pin of the query is not one; gives the number of pins checked."""
    statement, literals = read(sql)
    assert statement.kind is Kind.SELECT, statement.error
    pins = pinned_columns(statement)
    if not pins:
        return 0
    with closing(sqlite3.connect(":memory:")) as database:
        for name in TABLES:
            database.execute(f"CREATE TABLE {name} ({', '.join(c + ' INTEGER' for c in COLUMNS)})")
        for name, *values in contents:
            database.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values))})", values)
        whole = Counter(database.execute(sqlite(sql)).fetchall())
        checked = 0
        for (table, column), alternatives in pins.items():
            for values in alternatives:
                changed = sqlite(restricted(sql, statement, table, column, values, literals))
                assert Counter(database.execute(changed).fetchall()) == whole, (table, column, values, changed)
                checked += 1
        return checked


@settings(max_examples=size("TURNOUT_PIN_EXAMPLES", 400, 1500), deadline=None)
@given(st.data(), rows)
def test_rows_that_a_pin_excludes_do_not_matter(data: st.DataObject, contents: list[tuple[object, ...]]) -> None:
    check(data.draw(queries([], itertools.count(), 2)), contents)


@pytest.mark.parametrize(
    ("sql", "pins"),
    [
        ("SELECT * FROM t AS a WHERE k = 1", {(0, "k"): 1}),
        ("SELECT * FROM t AS a WHERE k = 1 AND m = 2", {(0, "k"): 1, (0, "m"): 1}),
        ("SELECT * FROM t AS a WHERE k = 1 OR m = 2", {}),
        ("SELECT * FROM t AS a WHERE NOT k = 1", {}),
        ("SELECT * FROM t AS a WHERE k = 1 = 1", {}),
        ("SELECT * FROM t AS a WHERE k = 1 OR k = 2", {(0, "k"): 1}),
        ("SELECT * FROM t AS a WHERE k + 0 = 1", {}),
        ("SELECT * FROM t AS a WHERE k = 1 + 1", {}),
        ("SELECT * FROM t AS a WHERE (k = 1) IS FALSE", {}),
        ("SELECT * FROM t AS a HAVING k = 1", {}),
        ("SELECT * FROM t AS a LEFT JOIN u AS b ON a.k = b.k AND a.k = 1", {}),
        ("SELECT * FROM t AS a LEFT JOIN u AS b ON a.k = b.k AND b.k = 1", {(1, "k"): 1}),
        ("SELECT * FROM t AS a LEFT JOIN u AS b ON a.k = b.k WHERE a.k = 1", {(0, "k"): 1, (1, "k"): 1}),
        ("SELECT * FROM t AS a LEFT JOIN u AS b ON a.k = b.k WHERE b.k = 1", {(1, "k"): 1}),
        ("SELECT * FROM t AS a LEFT JOIN u AS b ON a.m = b.m WHERE b.k <=> NULL", {}),
        ("SELECT * FROM t AS a LEFT JOIN u AS b ON a.m = b.m WHERE b.k <=> 1", {(1, "k"): 1}),
        ("SELECT * FROM t AS a RIGHT JOIN u AS b ON a.k = b.k WHERE b.k = 1", {(0, "k"): 1, (1, "k"): 1}),
        ("SELECT * FROM t AS a JOIN u AS b USING (k) WHERE k = 1", {(0, "k"): 1, (1, "k"): 1}),
        (
            "SELECT * FROM t AS a WHERE a.k = 1 AND EXISTS (SELECT 1 FROM u AS b WHERE b.k = a.k)",
            {(0, "k"): 1, (1, "k"): 1},
        ),
        ("SELECT * FROM t AS a WHERE EXISTS (SELECT 1 FROM u AS b WHERE b.k = a.k AND b.k = 1)", {(1, "k"): 1}),
        ("SELECT * FROM t AS a WHERE EXISTS (SELECT 1 FROM u AS b WHERE a.k = 1)", {}),
        ("SELECT * FROM t AS a WHERE a.k = 1 OR EXISTS (SELECT 1 FROM u AS b WHERE b.k = 1)", {(1, "k"): 1}),
        ("SELECT * FROM t AS a WHERE (k, m) IN ((1, 2), (2, 2))", {(0, "k"): 1, (0, "m"): 1}),
        ("SELECT * FROM t AS a WHERE k IN (1, 2, k)", {}),
        ("SELECT * FROM t AS a WHERE k NOT IN (1, 2)", {}),
        ("SELECT * FROM t AS a WHERE k COLLATE utf8mb4_bin = '1'", {}),
        ("SELECT * FROM t AS a WHERE BINARY k = '1'", {}),
        ("SELECT * FROM t AS a WHERE CAST(k AS CHAR) = '1'", {}),
        ("SELECT * FROM t AS a WHERE k = _utf8'1'", {}),
        ("SELECT * FROM t AS a WHERE k = x'31'", {}),
        ("SELECT * FROM t AS a WHERE k = '1' '2'", {}),
        ("SELECT * FROM t AS a WHERE k = ALL (SELECT 1)", {}),
        ("SELECT * FROM t AS a WHERE k = 1 XOR m = 1", {}),
        ("SELECT * FROM t AS a WHERE k = 1 || k = 2", {}),
        ("SELECT * FROM t AS a WHERE @x := k = 1", {}),
        ("SELECT * FROM t AS a WHERE k = @x", {}),
        ("SELECT * FROM t AS a WHERE k = NOW()", {}),
        ("SELECT * FROM t AS a WHERE k BETWEEN 1 AND 1", {}),
        ("SELECT * FROM t AS a WHERE k LIKE '1'", {}),
        ("SELECT * FROM t AS a WHERE k = 1 IN (1)", {}),
        ("SELECT * FROM t AS a WHERE k IN (1) = 0", {}),
        ("SELECT * FROM t AS a WHERE k = 1 IS TRUE", {}),
        ("SELECT * FROM t AS a WHERE IF(k = 1, 1, 0)", {}),
        ("SELECT * FROM t AS a WHERE ! k = 1", {}),
        ("SELECT * FROM t AS a WHERE k = - - 1", {}),
        ("SELECT * FROM (SELECT * FROM t AS a) d WHERE d.k = 1", {}),
        ("SELECT * FROM t AS a JOIN (SELECT k FROM u AS b WHERE k = 1) d ON a.k = d.k", {(1, "k"): 1}),
        ("SELECT k FROM t AS a WHERE k = 1 UNION SELECT k FROM u AS b", {(0, "k"): 1}),
        ("SELECT * FROM t AS a NATURAL JOIN u AS b WHERE k = 1", {}),
        ("WITH a AS (SELECT 1 AS k) SELECT * FROM a WHERE a.k = 1", {}),
        ("SELECT * FROM t AS a, t AS b WHERE a.k = 1 AND a.k = b.k", {(0, "k"): 1, (1, "k"): 1}),
        ("SELECT * FROM t AS a WHERE a.k = 1 AND A.M = 1", {(0, "k"): 1, (0, "m"): 1}),
        ("SELECT * FROM t AS a WHERE t.k = 1", {}),
        ("SELECT * FROM db.t WHERE db.t.k = 1", {(0, "k"): 1}),
        ("SELECT * FROM db.t AS a WHERE db.t.k = 1", {}),
        ("UPDATE t AS a SET k = 5 WHERE k = 1", {(0, "k"): 1}),
        ("DELETE FROM t WHERE k = 1 AND m IN (1, 2)", {(0, "k"): 1, (0, "m"): 1}),
        ("DELETE a FROM t AS a LEFT JOIN u AS b ON a.k = b.k AND b.k = 1 WHERE b.k IS NULL", {(1, "k"): 1}),
        ("SELECT /*!80000 * */ FROM t AS a WHERE k = 1", {}),
    ],
)
def test_pins(sql: str, pins: dict[tuple[int, str], int]) -> None:
    statement, _ = read(sql)
    assert {node: len(found) for node, found in pinned_columns(statement).items()} == pins
    if (
        sql.startswith("SELECT")
        and pins
        and "db." not in sql
        and "u AS b USING" not in sql
        and "d" not in sql.split()[3]
    ):
        check(sql.replace("IN ((1, 2)", "IN (/*V*/(1, 2)"), SOME)


@pytest.mark.parametrize(
    ("condition", "bounds"),
    [
        ("k < 1", ["k < 1"]),
        ("1 < k", ["k > 1"]),
        ("k <> 'a' AND m >= 2", ["k <> 1", "m >= 1"]),
        ("k LIKE 'a'", ["k LIKE 1"]),
        ("k NOT LIKE 'a'", ["k NOT LIKE 1"]),
        ("NOT k LIKE 'a'", []),
        ("'a' LIKE k", []),
        ("'a' NOT LIKE k", []),
        ("k LIKE 'a' ESCAPE '!'", []),
        ("k NOT LIKE 'a' ESCAPE '!'", []),
        ("k LIKE 'a' COLLATE utf8mb4_bin", []),
        ("k BETWEEN 1 AND 2", ["k BETWEEN 2"]),
        ("k NOT BETWEEN 1 AND 2", []),
        ("k BETWEEN 0.06 - 0.01 AND 0.06 + 0.01", ["k BETWEEN 2"]),
        ("k < DATE '2024-01-01'", ["k < 1"]),
        ("k < DATE '2024-01-01' + INTERVAL '3' MONTH - INTERVAL 1 DAY", ["k < 1"]),
        ("k < DATE '2024-01-01' + INTERVAL 3 MICROSECOND", []),
        ("k < DATE '2024-01-01' + INTERVAL m DAY", []),
        ("k < DATE '2024-01-01' + INTERVAL -1 DAY", []),
        ("k < '2024-01-01' + INTERVAL 1 DAY", []),
        ("k < 1 - '2'", []),
        ("k < 1 - (2 - 3)", []),
        ("k < 1 * 2", []),
        ("k < (1 - 2)", ["k < 1"]),
        ("k < CAST('2024-01-01' AS DATE)", ["k < 1"]),
        ("k IS NOT NULL", ["k IS NOT NULL 0"]),
        ("k IS NULL", []),
        ("k < 1 OR k > 3", []),
        ("k NOT IN (1, 2)", []),
        ("k NOT REGEXP 'a'", []),
        ("k < m", []),
        ("k < ALL (SELECT 1)", []),
    ],
)
def test_bounds(condition: str, bounds: list[str]) -> None:
    statement, _ = read(f"SELECT * FROM t WHERE {condition}")
    found = statement.blocks[0].bounds
    if "+ INTERVAL '3'" in condition:
        moves = (("+", Hole(1, True), "MONTH"), ("-", Hole(2, False), "DAY"))
        assert found[0].values == (DateSum(Hole(0, True), moves),)
    assert sorted(f"{bound.column} {bound.operator} {len(bound.values)}" for bound in found) == sorted(bounds)


@pytest.mark.parametrize(
    ("condition", "branches"),
    [
        ("k < 1 OR k > 3", [["k <"], ["k >"]]),
        ("k < 1 OR k > 3 OR m = 2", [["k <"], ["k >"], ["m IN"]]),
        ("(k = 1 AND m < 5) OR (m LIKE 'a' AND k IN (1, 2))", [["k IN", "m <"], ["k IN", "m LIKE"]]),
        ("(k = 1 AND m = k) OR k IS NOT NULL", [["k IN"], ["k IS NOT NULL"]]),
        ("(k = 1 AND (m = 2 OR m > 4)) OR k = 2 AND m = 1", [["k IN"], ["k IN", "m IN"]]),
        ("k < 1 OR k IS NULL", None),
        ("k < 1 OR k <=> 2", None),
        ("k < 1 OR NOT k < 3", None),
        ("k < 1 OR k = m", None),
        ("k < 1 OR EXISTS (SELECT 1)", None),
        ("NOT (k < 1 OR k > 3)", None),
        ("(k < 1 OR k > 3) = 0", None),
        ("k < 1 || k > 3", None),
        ("k < 1 XOR k > 3", None),
    ],
)
def test_branches_of_or(condition: str, branches: list[list[str]] | None) -> None:
    statement, _ = read(f"SELECT * FROM t WHERE {condition}")
    found = [
        sorted(sorted(f"{bound.column} {bound.operator}" for bound in branch) for branch in either)
        for either in statement.blocks[0].either
    ]
    assert found == ([] if branches is None else [sorted(branches)])


def test_branches_of_or_in_the_condition_of_an_outer_join_are_of_its_inner_side() -> None:
    statement, _ = read("SELECT * FROM t AS a LEFT JOIN u AS b ON (a.k < 1 AND b.k < 1) OR (a.m > 1 AND b.m > 1)")
    (either,) = statement.blocks[0].either
    assert [[(bound.table, bound.column) for bound in branch] for branch in either] in (
        [[(1, "k")], [(1, "m")]],
        [[(1, "m")], [(1, "k")]],
    )


def test_the_check_finds_wrong_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests are worth nothing if a wrong pin passed them."""
    sql = "SELECT a.k, b.k FROM t AS a LEFT JOIN u AS b ON a.k = b.k AND a.m = 1"
    assert check(sql, SOME) == 0
    monkeypatch.setitem(globals(), "pinned_columns", lambda statement: {(0, "m"): [(Hole(0, False),)]})
    with pytest.raises(AssertionError):
        check(sql, SOME)
