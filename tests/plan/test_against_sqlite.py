"""Random statements, carried out by plan on several SQLite databases and by themselves on one with all the rows.

SQLite stands in for MySQL: what is tested is that the rows a statement needs are where its plan sends it. Whatever is
not refused has to give the same rows, the same number of changed rows and the same tables afterwards.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parser.analyse import parse
from parser.shape import lexer
from proxy.errors import StatementRefused
from proxy.front.values import TextValues
from proxy.plan.merge import Groups, How, Merge
from proxy.plan.plan import Refuse, Reply
from proxy.plan.planner import plan
from tests.plan import shop
from tests.sizes import size

RULES = shop.rules()
CATALOG = shop.catalog()
CLUSTERS = tuple(RULES.clusters)
COLUMNS = {
    "customers": ("id", "name", "country"),
    "orders": ("id", "customer_id", "total", "country"),
    "order_items": ("customer_id", "order_id", "item", "price"),
    "logins": ("email", "customer_id", "seen"),
    "stores": ("region", "city"),
    "countries": ("code", "name"),
    "users": ("id", "name"),
    "photos": ("id", "user_id", "album_id", "path"),
}
TEXTS = frozenset({"name", "country", "email", "code", "path", "region", "city"})
WORDS = ("de", "us", "fr", "ca", "DE", "Us", "x y")
KEYS = {"customers": "id", "orders": "customer_id", "order_items": "customer_id", "logins": "email", "stores": "region"}
FIXED = {"users": "main", "photos": "media"}
Row = tuple[object, ...]
Pool = tuple[str, ...]  # tables that a statement may mention
EVERY: Pool = tuple(sorted(COLUMNS))
TOGETHER: Pool = ("customers", "customers", "orders", "orders", "order_items", "countries")  # often on one shard
COUNTRIES = [("de", "Germany"), ("us", "States"), ("fr", "France")]


def clusters_of(table: str, row: dict[str, object]) -> tuple[str, ...]:
    """Where a row lives, worked out independently of the planner."""
    if table == "countries":
        return CLUSTERS
    if table in FIXED:
        return (FIXED[table],)
    key = str(row[KEYS[table]]).lower().rstrip(" ")
    if table == "stores":
        return ("shard0",) if key in ("us", "ca") else ("shard1",)
    return ("shard0",) if crc32(key.encode()) % 4096 < 2048 else ("shard1",)


class Servers:
    """One database with all the rows, and one for each cluster with those that live there."""

    def __init__(self) -> None:
        self.whole = sqlite3.connect(":memory:", isolation_level=None)
        self.clusters = {name: sqlite3.connect(":memory:", isolation_level=None) for name in CLUSTERS}
        for database in (self.whole, *self.clusters.values()):
            for table, columns in COLUMNS.items():
                kinds = ", ".join(f"{c} {'TEXT COLLATE NOCASE' if c in TEXTS else 'INTEGER'}" for c in columns)
                database.execute(f"CREATE TABLE {table} ({kinds})")
            database.create_function("weight_string", 1, lambda v: v.lower() if isinstance(v, str) else None)
            database.create_function("collation", 1, lambda _: "nocase")
            database.create_function("if", 3, lambda condition, yes, no: yes if condition else no)

    def close(self) -> None:
        for database in (self.whole, *self.clusters.values()):
            database.close()

    def fill(self, rows: list[tuple[str, tuple[object, ...]]]) -> None:
        for table, values in rows:
            sql = f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})"
            self.whole.execute(sql, values)
            for cluster in clusters_of(table, dict(zip(COLUMNS[table], values))):
                self.clusters[cluster].execute(sql, values)

    def check_tables(self, sql: str) -> None:
        """The clusters hold what the whole holds, every row where it belongs."""
        for table in COLUMNS:
            expected: Counter[tuple[str, tuple[object, ...]]] = Counter()
            for row in self.whole.execute(f"SELECT * FROM {table}"):
                for cluster in clusters_of(table, dict(zip(COLUMNS[table], row))):
                    expected[cluster, row] += 1
            found: Counter[tuple[str, tuple[object, ...]]] = Counter()
            for cluster, database in self.clusters.items():
                found.update((cluster, row) for row in database.execute(f"SELECT * FROM {table}"))
            assert found == expected, (sql, table)


@contextmanager
def servers() -> Iterator[Servers]:
    with closing(Servers()) as made:
        yield made


@dataclass
class Seen:
    plans: Counter[str]


SEEN = Seen(Counter())


def merged(merge: Merge, shards: list[list[Row]]) -> list[Row]:
    """What merging is about, without its streams."""
    rows: list[Row] = []
    for found in shards:
        rows += found
        keys = [sort_key(merge, row) for row in found]
        assert keys == sorted(keys), "a shard's rows do not come in their order"
    if merge.keys:
        rows.sort(key=lambda row: sort_key(merge, row))
    if merge.distinct:
        rows = [row for n, row in enumerate(rows) if not n or sort_key(merge, row) != sort_key(merge, rows[n - 1])]
    if merge.groups is not None:
        rows = folded_groups(merge, merge.groups, rows)
    end = None if merge.limit is None else merge.offset + merge.limit
    return [row[: len(row) - merge.hidden] for row in rows[merge.offset : end]]


def folded_groups(merge: Merge, groups: Groups, rows: list[Row]) -> list[Row]:
    """Rows with equal keys as one, of counts and sums."""
    assert all(fold.how in (How.COUNT, How.SUM) for fold in groups.folds)
    found: dict[str, list[Any]] = {}
    for row in rows:
        group = found.setdefault(repr(sort_key(merge, row)), list(row[:0]))
        if not group:
            group += row
            continue
        for fold in groups.folds:
            one, other = group[fold.column], row[fold.column]
            group[fold.column] = other if one is None else one if other is None else one + other
    return [tuple(group) for group in found.values()]


def sort_key(merge: Merge, row: Row) -> list[tuple[bool, object]]:
    found: list[tuple[bool, object]] = []
    for key in merge.keys:
        assert not key.descending, "is not among the statements made here"
        value = row[key.value] if key.value is not None else None
        if value is None and key.weight is not None:
            value = row[key.weight]
        value = value.lower() if isinstance(value, str) else value
        found.append((value is not None, value if value is not None else 0))
    return found


def check_merged(sql: str, ours: list[Row], theirs: list[Row]) -> None:
    """The same rows, where ORDER BY says which; SQLite's texts are equal whatever their case."""
    if "LIMIT" in sql and "ORDER BY" not in sql:
        assert len(ours) == len(theirs), sql
        return
    assert Counter(map(folded, ours)) == Counter(map(folded, theirs)), sql
    if "ORDER BY" in sql:
        assert list(map(folded, ours)) == list(map(folded, theirs)), sql


def folded(row: Row) -> Row:
    return tuple(value.lower() if isinstance(value, str) else value for value in row)


def carry_out(sql: str, rows: list[tuple[str, tuple[object, ...]]]) -> str:
    """Compares; returns the plan's kind, or "refused"."""
    text = sql.encode()
    shape, literals = lexer().shape(text)
    statement = parse(shape, literals, lexer=lexer(), prepared=False)
    made = plan(statement, RULES, CATALOG, "shop")
    if isinstance(made, Refuse):
        return "refused"
    try:
        route = made.route(TextValues(literals, lexer()), text)
    except StatementRefused:
        return "refused"
    with servers() as database:
        database.fill(rows)
        whole = database.whole.execute(sql)
        rows_of_whole = whole.fetchall()
        expected = Counter(rows_of_whole)
        parts = []
        shards: list[list[Row]] = []
        for send in route.sends:
            cursor = database.clusters[send.cluster].execute((send.text or text).decode())
            shards.append(cursor.fetchall())
            parts.append((Counter(shards[-1]), cursor.rowcount))
        if route.merge is not None:
            check_merged(sql, merged(route.merge, shards), rows_of_whole)
        elif sql.startswith("SELECT"):
            assert len(parts) == 1 or route.reply is Reply.CONCATENATE
            assert sum((found for found, _ in parts), Counter()) == expected, (sql, made.describe())
        else:
            changed = [count for _, count in parts]
            total = changed[0] if route.reply is Reply.FIRST else sum(changed)
            assert total == whole.rowcount, (sql, made.describe())
            if route.reply is Reply.FIRST:
                assert set(changed) == {total}
            database.check_tables(sql)
    return f"{made.kind} over {len(route.sends)}" if len(route.sends) > 1 else made.kind


# -- statements

NUMBERS = st.integers(6, 9).map(str)  # 6 and 7 are on one shard, 8 and 9 on the other
LITERALS = {
    False: st.one_of(NUMBERS, NUMBERS.map(lambda n: f"'{n}'"), st.sampled_from(["'08'", "8.0", "-7", "NULL", "'x'"])),
    True: st.sampled_from([f"'{word}'" for word in WORDS] + ["'de '", "''", "NULL", "7"]),
}


@st.composite
def column(draw: st.DrawFn, tables: list[tuple[str, str]]) -> tuple[str, bool]:
    """(alias.column, is it text)"""
    alias, table = draw(st.sampled_from(tables))
    names = [KEYS[table], *COLUMNS[table]] if table in KEYS else list(COLUMNS[table])
    name = draw(st.sampled_from(names))
    return f"{alias}.{name}", name in TEXTS


@st.composite
def comparison(draw: st.DrawFn, tables: list[tuple[str, str]]) -> str:
    keyed = [(alias, KEYS[table]) for alias, table in tables if table in KEYS]
    if keyed and draw(st.integers(0, 2)):  # conditions on keys are what plans are made of
        alias, key = draw(st.sampled_from(keyed))
        if draw(st.booleans()):
            other, other_key = draw(st.sampled_from(keyed))
            return f"{alias}.{key} = {other}.{other_key}"
        literal = draw(LITERALS[key in TEXTS])
        return draw(st.sampled_from([f"{alias}.{key} = {literal}", f"{alias}.{key} IN ({literal}, 8)"]))
    left, text = draw(column(tables))
    form = draw(st.integers(0, 9))
    if form <= 3:
        return f"{left} = {draw(LITERALS[text])}"
    if form == 4:
        return f"{left} IN ({', '.join(draw(st.lists(LITERALS[text], min_size=1, max_size=3)))})"
    if form == 5:
        return f"{draw(LITERALS[text])} = {left}"
    if form <= 7:
        right, _ = draw(column(tables))
        return f"{left} = {right}"
    if form == 8:
        return f"{left} {draw(st.sampled_from(['<', '>=', '<>']))} {draw(LITERALS[text])}"
    return f"{left} IS {draw(st.sampled_from(['', 'NOT ']))}NULL"


@st.composite
def condition(draw: st.DrawFn, tables: list[tuple[str, str]], pool: Pool, depth: int = 2) -> str:
    form = draw(st.integers(0, 9)) if depth else 0
    if form <= 4:
        return draw(comparison(tables))
    parts = [draw(condition(tables, pool, depth - 1)) for _ in range(2)]
    if form <= 6:
        return f"({parts[0]} AND {parts[1]})"
    if form == 7:
        return f"({parts[0]} OR {parts[1]})"
    if form == 8:
        return f"NOT ({parts[0]})"
    table = draw(st.sampled_from(pool))
    alias = f"s{depth}{len(tables)}"
    inner = draw(condition([(alias, table), *tables], pool, depth - 1))
    if draw(st.booleans()):
        return f"{draw(st.sampled_from(['', 'NOT ']))}EXISTS (SELECT 1 FROM {table} {alias} WHERE {inner})"
    outer, text = draw(column(tables))
    name = draw(st.sampled_from([c for c in COLUMNS[table] if (c in TEXTS) == text] or [COLUMNS[table][0]]))
    return f"{outer} IN (SELECT {alias}.{name} FROM {table} {alias} WHERE {inner})"


@st.composite
def joins(draw: st.DrawFn, pool: Pool) -> tuple[str, list[tuple[str, str]]]:
    first = draw(st.sampled_from(pool))
    tables = [("t0", first)]
    text = f"{first} t0"
    for number in range(draw(st.integers(0, 2))):
        table = draw(st.sampled_from(pool))
        alias = f"t{number + 1}"
        other, other_table = draw(st.sampled_from(tables))
        tables.append((alias, table))
        how = draw(st.sampled_from(["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "CROSS JOIN", ","]))
        text += f", {table} {alias}" if how == "," else f" {how} {table} {alias}"
        if "JOIN" in how and how != "CROSS JOIN":
            if table in KEYS and other_table in KEYS and draw(st.integers(0, 4)):
                on = f"{alias}.{KEYS[table]} = {other}.{KEYS[other_table]}"
                if draw(st.booleans()):
                    on += f" AND {draw(condition(tables, pool, 1))}"
            else:
                on = draw(condition(tables, pool, 1))
            text += f" ON {on}"
    return text, tables


@st.composite
def selects(draw: st.DrawFn, pool: Pool) -> str:
    source, tables = draw(joins(pool))
    form = draw(st.integers(0, 11))
    columns = [draw(column(tables))[0] for _ in range(draw(st.integers(1, 3)))]
    tail = ""
    if draw(st.integers(0, 6)):
        tail += f" WHERE {draw(condition(tables, pool))}"
    if form == 0:
        what = "COUNT(*)"
    elif form == 1:
        what = f"{columns[0]}, SUM({columns[-1]})"
        tail += f" GROUP BY {columns[0]}"
    elif form == 2:
        what = f"DISTINCT {', '.join(columns)}"
    elif form == 3:
        what = ", ".join(columns)
        tail += f" ORDER BY {what} LIMIT {draw(st.integers(0, 4))}"
    elif form == 4:
        inner_table = draw(st.sampled_from(pool))
        inner = draw(condition([("q", inner_table), *tables], pool, 1))
        what = f"{columns[0]}, (SELECT COUNT(*) FROM {inner_table} q WHERE {inner})"
    elif form == 5:
        source = f"(SELECT {columns[0]} AS v FROM {source}{tail}) d"
        what, tail = "d.v", ""
    elif form == 6:
        what = columns[0]
        tail += f" UNION {draw(st.sampled_from(['', 'ALL ']))}SELECT {columns[0]} FROM {source}"
        tail += f" WHERE {draw(condition(tables, pool, 1))}"
    else:
        what = "*" if form == 7 else ", ".join(columns)
    return f"SELECT {what} FROM {source}{tail}"


@st.composite
def changes(draw: st.DrawFn) -> str:
    table = draw(st.sampled_from(sorted(COLUMNS)))
    if draw(st.booleans()):
        head = f"DELETE FROM {table}"
    else:
        assigned = draw(st.lists(st.sampled_from(COLUMNS[table]), min_size=1, max_size=2, unique=True))
        head = f"UPDATE {table} SET " + ", ".join(f"{c} = {draw(LITERALS[c in TEXTS])}" for c in assigned)
    return (
        f"{head} WHERE {draw(condition([(table, table)], draw(st.sampled_from((EVERY, TOGETHER)))))}"
        if draw(st.integers(0, 5))
        else head
    )


@st.composite
def inserts(draw: st.DrawFn) -> str:
    table = draw(st.sampled_from(sorted(COLUMNS)))
    columns = draw(st.permutations(COLUMNS[table]))
    if not draw(st.integers(0, 5)):
        columns = columns[:-1]
    plain = {False: NUMBERS, True: st.sampled_from([f"'{word}'" for word in WORDS])}
    rows = [
        "("
        + ", ".join(draw(st.one_of(plain[c in TEXTS], plain[c in TEXTS], LITERALS[c in TEXTS])) for c in columns)
        + ")"
        for _ in range(draw(st.integers(1, 4)))
    ]
    names = "" if list(columns) == list(COLUMNS[table]) else f" ({', '.join(columns)})"
    return f"INSERT INTO {table}{names} VALUES {', '.join(rows)}"


@st.composite
def contents(draw: st.DrawFn) -> list[tuple[str, tuple[object, ...]]]:
    rows: list[tuple[str, tuple[object, ...]]] = [("countries", row) for row in COUNTRIES]
    for table in sorted(set(COLUMNS) - {"countries"}):
        for _ in range(draw(st.integers(0, 4))):
            values: list[object] = []
            for name in COLUMNS[table]:
                value: st.SearchStrategy[object] = st.sampled_from(WORDS[:5]) if name in TEXTS else st.integers(6, 9)
                values.append(draw(value if name == KEYS.get(table) else st.one_of(value, value, st.none())))
            rows.append((table, tuple(values)))
    return rows


STATEMENTS = st.one_of(selects(EVERY), selects(TOGETHER), selects(TOGETHER), changes(), inserts())


@settings(
    max_examples=size("TURNOUT_SQLITE_EXAMPLES", 150, 400), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(STATEMENTS, contents())
def test_plans_give_what_one_server_would(sql: str, rows: list[tuple[str, tuple[object, ...]]]) -> None:
    SEEN.plans[carry_out(sql, rows)] += 1


ROWS: list[tuple[str, tuple[object, ...]]] = [
    *(("countries", row) for row in COUNTRIES),
    *(("customers", (number, f"n{number}", ("de", "us", "fr")[number % 3])) for number in range(4, 12)),
    *(("orders", (20 + number, 4 + number % 8, number, ("de", "us", None)[number % 3])) for number in range(20)),
    *(("order_items", (4 + number % 8, 20 + number, number % 2, 5)) for number in range(20)),
    *(("users", (number, "u")) for number in range(2)),
]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT * FROM orders WHERE customer_id = 8", "shard"),
        ("SELECT * FROM orders WHERE customer_id = '8'", "shard"),
        ("SELECT * FROM orders WHERE customer_id = '08'", "shard over 2"),
        ("SELECT * FROM orders", "scatter over 2"),
        ("SELECT COUNT(*) FROM orders WHERE customer_id IN (8)", "shard"),
        ("SELECT COUNT(*) FROM orders", "scatter over 2"),
        ("SELECT country, SUM(total) FROM orders GROUP BY country", "scatter over 2"),
        ("SELECT customer_id, AVG(total) FROM orders GROUP BY customer_id HAVING COUNT(*) > 1", "scatter over 2"),
        ("SELECT c.id, o.id FROM customers c JOIN orders o ON o.customer_id = c.id", "scatter over 2"),
        ("SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id", "scatter over 2"),
        ("SELECT c.id, o.id FROM customers c JOIN orders o ON o.id = c.id", "refused"),
        ("SELECT c.code, o.id FROM countries c LEFT JOIN orders o ON o.country = c.code", "refused"),
        ("SELECT c.code, o.id FROM orders o LEFT JOIN countries c ON o.country = c.code", "scatter over 2"),
        (
            "SELECT o.id, (SELECT COUNT(*) FROM order_items i WHERE i.customer_id = o.customer_id) FROM orders o",
            "scatter over 2",
        ),
        ("SELECT id FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.total = c.id)", "refused"),
        (
            "SELECT id FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
            "scatter over 2",
        ),
        (
            "SELECT id FROM customers c WHERE NOT EXISTS"
            " (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.customer_id = 8)",
            "scatter over 2",
        ),
        (
            "SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.customer_id = 8",
            "scatter over 2",
        ),
        (
            "SELECT c.id, o.id FROM orders o RIGHT JOIN customers c ON o.customer_id = c.id AND o.customer_id = 8",
            "scatter over 2",
        ),
        ("SELECT c.id FROM customers c LEFT JOIN orders o ON o.total = c.id WHERE c.id = 8", "refused"),
        ("SELECT DISTINCT country FROM customers", "scatter over 2"),
        ("SELECT id FROM customers LIMIT 3", "scatter over 2"),
        ("SELECT id FROM customers WHERE id IN (SELECT total FROM orders WHERE customer_id = 8)", "refused"),
        ("UPDATE orders SET total = 1 WHERE customer_id = 9", "shard"),
        ("UPDATE orders SET total = 1", "scatter over 2"),
        ("DELETE FROM orders WHERE total > 3", "scatter over 2"),
        ("UPDATE orders SET customer_id = 5 WHERE id = 21", "refused"),
        ("INSERT INTO customers VALUES (7, 'a (b', 'de')", "insert"),
        (
            "INSERT INTO customers VALUES (7, 'a, (b', 'de'), (8, ')''', 'us'), (9, '', NULL), (6, 'x', 'de')",
            "insert over 2",
        ),
        ("INSERT INTO countries VALUES ('it', 'Italy')", "write-all over 4"),
    ],
)
def test_plans_that_must_not_be_refused(sql: str, kind: str) -> None:
    assert carry_out(sql, ROWS) == kind
