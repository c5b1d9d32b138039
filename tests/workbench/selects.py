"""SELECTs at random over the tables of `tests.workbench.shop`, most of which no single server can answer.

Every answer is certain but for the order of its rows, and that too where the SELECT says so: no LIMIT without a whole
order, no aggregate that shows one of several equal strings, no sum of floating point.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

# table -> (integer columns, unique key, other columns whose values are exact)
TABLES = {
    "things": (
        ("k", "id", "i"),
        ("k", "id"),
        ("n", "day", "at", "ts", "t", "y", "e", "s", "u", "bin", "raw", "f", "g"),
    ),
    "parts": (("k", "part", "of_id"), ("k", "part"), ("price", "note")),
    "places": (("id",), ("region", "id"), ("name", "region")),
    "photos": (("id", "of_id", "n"), ("id",), ("title", "taken")),
    "users": (("id", "i", "boss"), ("id",), ("name",)),
    "kinds": (("i",), ("i",), ("kind",)),
    "odd": (
        ("k", "id", "twice", "thrice"),
        ("k", "id"),
        ("local_day", "who", "j", "u", "i6", "raw", "wide", "gbk", "c", "z", "d", "f"),
    ),
}
LITERALS = {"note": "'a'", "name": "'x'", "title": "'two'", "kind": "'kind 1'", "bin": "'a'", "e": "'m'", "c": "'  a'"}


DATES = ("day", "at", "ts", "taken", "z")


@dataclass
class Ref:
    table: str
    alias: str

    @property
    def integers(self) -> list[str]:
        return [f"{self.alias}.{column}" for column in TABLES[self.table][0]]

    @property
    def others(self) -> list[str]:
        return [f"{self.alias}.{column}" for column in TABLES[self.table][2]]

    @property
    def unique(self) -> list[str]:
        return [f"{self.alias}.{column}" for column in TABLES[self.table][1]]


class Selects:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._aliases = 0

    def make(self) -> tuple[str, bool]:
        """(SELECT, whether its rows are in a certain order)."""
        makers = (
            *(self.plain, self.plain, self.plain, self.grouped, self.grouped, self.windowed, self.united),
            *(self.with_cte, self.derived, self.recursive, self.odd),
        )
        return self.rng.choice(makers)()

    # -- parts

    def ref(self, *tables: str) -> Ref:
        self._aliases += 1
        return Ref(self.rng.choice(tables or tuple(TABLES)), f"r{self._aliases}")

    def integer(self, refs: list[Ref]) -> str:
        return self.rng.choice([column for ref in refs for column in ref.integers])

    def any(self, refs: list[Ref]) -> str:
        rng = self.rng
        if rng.random() < 0.25:
            one, two = self.integer(refs), self.integer(refs)
            return rng.choice((f"{one} + {two}", f"COALESCE({one}, {two})", f"IF({one} > 5, 'more', {two})", f"-{one}"))
        return rng.choice([column for ref in refs for column in (*ref.integers, *ref.others)])

    def source(self, refs: list[Ref], least: int = 1) -> str:
        """FROM's list of tables; adds what it has to `refs`."""
        rng = self.rng
        first = self.ref()
        refs.append(first)
        text = f"{first.table} {first.alias}"
        for _ in range(rng.choice((least, least, least + 1)) - 1):
            other = self.ref()
            on = f"{self.integer([other])} = {self.integer(refs)}"
            if rng.random() < 0.3:
                on += f" AND {self.condition([other], 2)}"
            text += f" {rng.choice(('JOIN', 'JOIN', 'LEFT JOIN', 'RIGHT JOIN'))} {other.table} AS {other.alias} ON {on}"
            refs.append(other)
        return text

    def condition(self, refs: list[Ref], depth: int = 0) -> str:
        rng = self.rng
        column = self.integer(refs)
        number = rng.randrange(-2, 40)
        simple = (
            f"{column} = {number}",
            f"{column} IN ({number}, {number + 1}, {number * 2})",
            f"{number} < {column}",
            f"{column} BETWEEN {number} AND {number + 20}",
            f"{column} IS NULL",
            f"{column} IS NOT NULL",
            f"{column} <=> NULL",
            f"NOT {column} = {number}",
            f"{column} <> {number}",
            f"{column} >= '{number}'",
            f"({column} < {number} AND {number - 30} <= {column})",
            f"({column} = {number} OR {column} > 20)",
            f"{column} % 3 = 1",
        )
        choice = rng.random()
        if choice < 0.12:
            named = [name for ref in refs for name in ref.others if name.partition(".")[2] in LITERALS]
            if named:
                name = rng.choice(named)
                return f"{name} {rng.choice(('=', '<>', '<=', 'LIKE', 'NOT LIKE'))} {LITERALS[name.partition('.')[2]]}"
        if choice < 0.17:
            named = [name for ref in refs for name in ref.others if name.partition(".")[2] in DATES]
            if named:
                date = rng.choice(
                    ("'2024-02-29'", "'2024-03-01 10:00:00'", "'1999-12-31'", "'2024-2-9'", "'x'", "20240301")
                )
                return f"{rng.choice(named)} {rng.choice(('=', '<', '>=', '<>'))} {date}"
        if choice < 0.4 and depth < 2:
            inner = self.ref()
            inside = rng.choice((self.condition([inner], depth + 1), self.condition([inner, *refs], depth + 1), "1"))
            value = self.integer([inner])
            subquery = f"FROM {inner.table} {inner.alias} WHERE {inside}"
            return rng.choice(
                (
                    f"{column} IN (SELECT {value} {subquery})",
                    f"{column} NOT IN (SELECT {value} {subquery} AND {value} IS NOT NULL)",
                    f"EXISTS (SELECT 1 {subquery})",
                    f"NOT EXISTS (SELECT 1 {subquery} AND {value} = {column})",
                    f"{column} >= (SELECT MIN({value}) {subquery})",
                    f"{column} > ALL (SELECT {value} {subquery})",
                )
            )
        return rng.choice(simple)

    def where(self, refs: list[Ref]) -> str:
        terms = [self.condition(refs) for _ in range(self.rng.choice((0, 1, 1, 2)))]
        return f" WHERE {self.rng.choice((' AND ', ' AND ', ' OR ')).join(terms)}" if terms else ""

    def order(self, refs: list[Ref]) -> tuple[str, bool]:
        """ORDER BY and LIMIT; the unique keys of all tables make the order certain."""
        rng = self.rng
        if rng.random() < 0.4:
            return "", False
        keys = [self.integer(refs) + rng.choice(("", " DESC")) for _ in range(rng.randrange(3))]
        keys += [name for ref in refs for name in ref.unique]
        limit = rng.choice(("", "", f" LIMIT {rng.randrange(20)}", f" LIMIT 5 OFFSET {rng.randrange(9)}"))
        return f" ORDER BY {', '.join(keys)}{limit}", True

    # -- SELECTs

    def plain(self) -> tuple[str, bool]:
        rng = self.rng
        refs: list[Ref] = []
        source = self.source(refs, 2)
        items = [self.any(refs) for _ in range(rng.randrange(1, 5))]
        if rng.random() < 0.2:
            items = ["*"]
        elif rng.random() < 0.2:
            inner = self.ref()
            inside = rng.choice((self.condition([inner], 1), f"{self.integer([inner])} = {self.integer(refs)}"))
            value = rng.choice((f"COUNT({self.integer([inner])})", f"MAX({self.integer([inner])})", "COUNT(*)"))
            items.append(f"(SELECT {value} FROM {inner.table} {inner.alias} WHERE {inside}) AS sub")
        distinct = "DISTINCT " if rng.random() < 0.1 and "*" not in items else ""
        order, ordered = ("", False) if distinct else self.order(refs)
        if distinct:
            items = [self.integer(refs) for _ in items]
        return f"SELECT {distinct}{', '.join(items)} FROM {source}{self.where(refs)}{order}", ordered

    def grouped(self) -> tuple[str, bool]:
        rng = self.rng
        refs: list[Ref] = []
        source = self.source(refs, rng.choice((1, 2)))
        by = list(dict.fromkeys(self.integer(refs) for _ in range(rng.randrange(3))))
        one, two = self.integer(refs), self.integer(refs)
        aggregates = [
            "COUNT(*)",
            f"SUM({one})",
            f"COUNT(DISTINCT {one}), COUNT(DISTINCT {two})",
            f"AVG({one}), MAX({two})",
            f"GROUP_CONCAT(DISTINCT {one} ORDER BY {one} DESC SEPARATOR '|')",
            f"SUM(DISTINCT {two}) + COUNT({one})",
            f"BIT_OR({two}), STDDEV_POP({one} * 0)",
            f"JSON_ARRAYAGG({one} ORDER BY {one})",
            f"MAX(IF({one} > 3, {two}, NULL))",
        ]
        items = [*by, *rng.sample(aggregates, rng.randrange(1, 4))]
        group = f" GROUP BY {', '.join(by)}" if by else ""
        having = rng.choice(("", "", f" HAVING COUNT(*) > 1 OR AVG({one}) < 5", f" HAVING MAX({two}) IS NOT NULL"))
        order, ordered = "", False
        if by and rng.random() < 0.3:
            group += " WITH ROLLUP"
        elif by and rng.random() < 0.5:
            order, ordered = f" ORDER BY {', '.join(by)}{rng.choice(('', ' LIMIT 7'))}", True
        return f"SELECT {', '.join(items)} FROM {source}{self.where(refs)}{group}{having}{order}", ordered

    def windowed(self) -> tuple[str, bool]:
        rng = self.rng
        refs: list[Ref] = []
        source = self.source(refs, rng.choice((1, 2)))
        unique = ", ".join(name for ref in refs for name in ref.unique)
        one, two = self.integer(refs), self.integer(refs)
        windows = [
            f"ROW_NUMBER() OVER (PARTITION BY {one} ORDER BY {two}, {unique})",
            f"RANK() OVER (ORDER BY {two})",
            f"SUM({one}) OVER (PARTITION BY {two} ORDER BY {unique} ROWS 2 PRECEDING)",
            f"LAG({one}) OVER (ORDER BY {unique})",
            f"COUNT(*) OVER (PARTITION BY {one})",
        ]
        items = ", ".join([unique, *rng.sample(windows, rng.randrange(1, 4))])
        return f"SELECT {items} FROM {source}{self.where(refs)} ORDER BY {unique}", True

    def united(self) -> tuple[str, bool]:
        rng = self.rng
        branches = []
        for _ in range(rng.choice((2, 2, 3))):
            refs: list[Ref] = []
            source = self.source(refs)
            branches.append(f"SELECT {self.integer(refs)}, {self.integer(refs)} FROM {source}{self.where(refs)}")
        text = f" {rng.choice(('UNION', 'UNION ALL', 'UNION', 'EXCEPT', 'INTERSECT'))} ".join(branches)
        if rng.random() < 0.5:
            return f"{text} ORDER BY 1, 2{rng.choice(('', ' LIMIT 9'))}", True
        return text, False

    def with_cte(self) -> tuple[str, bool]:
        refs: list[Ref] = []
        source = self.source(refs, self.rng.choice((1, 2)))
        body = f"SELECT {self.integer(refs)} AS a, {self.integer(refs)} AS b FROM {source}{self.where(refs)}"
        other = self.ref()
        join = f"JOIN {other.table} {other.alias} ON {self.integer([other])} = c.a"
        twice = " LEFT JOIN c AS d ON d.a = c.b" if self.rng.random() < 0.3 else ""
        return f"WITH c AS ({body}) SELECT c.a, c.b, {self.any([other])} FROM c {join}{twice}", False

    def derived(self) -> tuple[str, bool]:
        refs: list[Ref] = []
        source = self.source(refs, self.rng.choice((1, 2)))
        by, value = self.integer(refs), self.integer(refs)
        body = f"SELECT {by} AS a, COUNT(*) AS n, MAX({value}) AS m FROM {source}{self.where(refs)} GROUP BY {by}"
        other = self.ref()
        text = f"SELECT x.*, {self.any([other])} FROM ({body}) AS x LEFT JOIN {other.table} AS {other.alias}"
        return f"{text} ON {self.integer([other])} = x.a WHERE x.n > {self.rng.randrange(4)} OR x.m IS NULL", False

    def recursive(self) -> tuple[str, bool]:
        start = self.rng.randrange(1, 6)
        other = self.ref("things", "parts", "photos")
        count = f"(SELECT COUNT(*) FROM {other.table} {other.alias} WHERE {self.integer([other])} = tree.id)"
        return (
            f"WITH RECURSIVE tree AS (SELECT id, boss, 0 AS depth FROM users WHERE id = {start} UNION ALL "
            f"SELECT u.id, u.boss, tree.depth + 1 FROM users u JOIN tree ON u.boss = tree.id AND u.id <> tree.id) "
            f"SELECT id, depth, {count} FROM tree ORDER BY id, depth",
            True,
        )

    def odd(self) -> tuple[str, bool]:
        """Every type, computed with."""
        ref = self.ref("users", "photos", "kinds", "parts")
        where = self.rng.choice(("", f" WHERE o.id = {self.rng.randrange(40)}", " WHERE o.k IN (3, 4)"))
        items = "o.*, hidden, HEX(raw), HEX(wide), HEX(bits), d * 3, f * 3, ts, UNIX_TIMESTAMP(ts), JSON_OBJECT('a', j)"
        return (
            f"SELECT {items} FROM odd o LEFT JOIN {ref.table} {ref.alias} ON {self.integer([ref])} = o.id{where}",
            False,
        )
