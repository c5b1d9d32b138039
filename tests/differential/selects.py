"""SELECTs at random."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.differential.expressions import STEADY, Expressions, Inner, Name, Source, names_of
from tests.differential.in_place import InPlace
from tests.differential.schema import BY_NAME, TABLES

_PLACE = re.compile(r"-?[0-9]+( DESC| ASC)?")  # in ORDER BY that is a column's number, not a constant
_TOGETHER = ("customers", "orders", "order_lines")  # their rows are on one shard by the customer


@dataclass(frozen=True)
class Select:
    """`ordered`: its rows come in a certain order. `then`: what is asked after it (FOUND_ROWS)."""

    sql: str
    ordered: bool
    then: str = ""
    kind: str = ""


class Selects:
    def __init__(self, rng: random.Random, only: str = "") -> None:
        """`only`: SELECTs of this kind alone."""
        self._only = only
        self.rng = rng
        self.expressions = Expressions(rng, self._inner)
        self._aliases = 0

    def make(self) -> Select:
        makers = (
            *((self.plain, 8), (self.of_one_table, 6), (self.by_key, 5), (self.grouped, 8), (self.windowed, 4)),
            *((self.united, 5), (self.with_cte, 4), (self.recursive, 1), (self.derived, 4), (self.distinct, 3)),
            *((self.counted, 2), (self.locking, 2), (self.joined_by_name, 3), (self.without_tables, 1)),
            *((self.whole, 2), (self.aggregated, 5), (self.together, 6), (self.merged, 10), (self.merged_groups, 10)),
            *((self.nested_joins, 2), (self.hinted, 1), (self.computed_groups, 3), (self.nested, 4), (self.wrong, 2)),
            *((self.with_subqueries, 3), (self.of_json, 1), (self.in_place, 8)),
        )
        if self._only:
            makers = tuple((maker, weight) for maker, weight in makers if maker.__name__ == self._only)
        (maker,) = self.rng.choices([maker for maker, _ in makers], [weight for _, weight in makers])
        return replace(maker(), kind=maker.__name__)

    # -- parts

    def alias(self) -> str:
        self._aliases += 1
        return f"t{self._aliases}"

    def table(self, *names: str) -> tuple[str, Source]:
        """(what stands in FROM, its columns)."""
        table = BY_NAME[self.rng.choice(names)] if names else self.rng.choice(TABLES)
        if self.rng.random() < 0.15:
            return f"{table.name}", names_of(table, table.name)
        alias = self.alias()
        return f"{table.name}{self.rng.choice((' ', ' AS '))}{alias}", names_of(table, alias)

    def _inner(self, outer: Sequence[Source], depth: int) -> Inner:
        text, source = self.table()
        while source.alias in {each.alias for each in outer}:
            text, source = self.table()
        sources = [source]
        terms = []
        if self.rng.random() < 0.5:  # correlated
            mine, other = self.expressions.name(sources, "int"), self.expressions.name(outer, "int")
            if mine is not None and other is not None:
                terms.append(f"{mine.sql} {self.rng.choice(('=', '=', '=', '<', '<>'))} {other.sql}")
        if self.rng.random() < 0.6:
            terms.append(self.expressions.condition(sources, depth))
        return Inner(text, f" WHERE {' AND '.join(terms)}" if terms else "", sources)

    def from_list(self, count: int, *names: str) -> tuple[str, list[Source]]:
        """Tables joined, some by commas."""
        rng = self.rng
        text, first = self.table(*names)
        sources = [first]
        for _ in range(count - 1):
            added, other = self.table(*names)
            while other.alias in {each.alias for each in sources}:
                added, other = self.table(*names)
            how = rng.choice(("JOIN", "INNER JOIN", "LEFT JOIN", "RIGHT JOIN", "LEFT OUTER JOIN", "CROSS JOIN", "JOIN"))
            on = self.on(sources, other)
            if how == "CROSS JOIN" or (" ON " not in text and rng.random() < 0.15 and "JOIN" not in how):
                text += f" {how} {added} ON {on}"
            else:
                text += f" {how} {added} ON {on}"
            sources.append(other)
        return text, sources

    def on(self, sources: list[Source], other: Source) -> str:
        rng = self.rng
        mine = self._join_column(other)
        yours = self._join_column(rng.choice(sources))
        on = f"{mine} = {yours}" if mine and yours else "1 = 1"
        if not (mine and yours):
            kind_mine, kind_yours = self.expressions.name([other], "str"), self.expressions.name(sources, "str")
            if kind_mine is not None and kind_yours is not None:
                on = f"{kind_mine.sql} = CONVERT({kind_yours.sql} USING utf8mb4) COLLATE utf8mb4_general_ci"
        if rng.random() < 0.25:
            on += f" AND {self.expressions.condition([other], 0)}"
        if rng.random() < 0.1:
            on += f" AND {self.expressions.condition([*sources, other], 0)}"
        return on

    def _join_column(self, source: Source) -> str:
        keys = [name for name in source.names if name.kind == "int"]
        preferred = [n for n in keys if n.sql.split(".")[-1] in ("id", "customer_id", "owner", "kind", "i", "boss")]
        chosen = preferred if preferred and self.rng.random() < 0.8 else keys
        return self.rng.choice(chosen).sql if chosen else ""

    def where(self, sources: Sequence[Source]) -> str:
        terms = [self.expressions.condition(sources) for _ in range(self.rng.choice((0, 1, 1, 1, 2)))]
        return f" WHERE {self.rng.choice((' AND ', ' AND ', ' OR ')).join(terms)}" if terms else ""

    def order(self, sources: Sequence[Source], limited: bool = True) -> tuple[str, bool]:
        """ORDER BY and LIMIT: by the unique keys of all tables in the end."""
        rng = self.rng
        if rng.random() < 0.45 or not all(source.unique for source in sources):
            return "", False
        keys = []
        for _ in range(rng.randrange(3)):
            kind = rng.choice(("int", "dec", "str", "date", "dt", "dbl", "enum", "year"))
            keys.append(self.expressions.make(kind, sources, 1) + rng.choice(("", " DESC", " ASC")))
        keys = [key for key in keys if not _PLACE.fullmatch(key)]
        keys += [name + rng.choice(("", "", " DESC")) for source in sources for name in source.unique]
        limit = ""
        if limited:
            limit = rng.choice(
                (
                    *(
                        "",
                        "",
                        "",
                        f" LIMIT {rng.randrange(1, 20)}",
                        f" LIMIT {rng.randrange(9)} OFFSET {rng.randrange(9)}",
                    ),
                    *(f" LIMIT {rng.randrange(5)}, {rng.randrange(1, 30)}", " LIMIT 1000"),
                )
            )
        return f" ORDER BY {', '.join(keys)}{limit}", True

    def items(self, sources: Sequence[Source], most: int = 5) -> str:
        rng = self.rng
        made = []
        for _ in range(rng.randrange(1, most + 1)):
            item = self.expressions.shown(sources)
            made.append(f"{item} AS c{len(made)}" if rng.random() < 0.3 or not item[0].isalpha() else item)
        if rng.random() < 0.12:
            inner = self._inner(sources, 0)
            value = self.expressions.name(inner.names, "int", "dec")
            if value is not None:
                how = rng.choice(("COUNT(*)", f"MAX({value.sql})", f"SUM({value.sql})", f"COUNT(DISTINCT {value.sql})"))
                made.append(f"(SELECT {how} FROM {inner.source}{inner.where}) AS sub")
        return ", ".join(made)

    # -- whole SELECTs

    def plain(self) -> Select:
        text, sources = self.from_list(self.rng.choice((1, 2, 2, 3)))
        order, ordered = self.order(sources)
        return Select(f"SELECT {self.items(sources)} FROM {text}{self.where(sources)}{order}", ordered)

    def together(self) -> Select:
        """Tables that lie together, joined by their shard key."""
        rng = self.rng
        first, second = rng.sample(_TOGETHER, 2)
        one, two = BY_NAME[first], BY_NAME[second]
        a, b = names_of(one, self.alias()), names_of(two, self.alias())
        on = f"{a.alias}.{one.shard_key} = {b.alias}.{two.shard_key}"
        if {first, second} == {"orders", "order_lines"} and rng.random() < 0.7:
            orders, lines = (a, b) if first == "orders" else (b, a)
            on += f" AND {orders.alias}.id = {lines.alias}.order_id"
        how = rng.choice(("JOIN", "LEFT JOIN", "JOIN", "RIGHT JOIN"))
        text = f"{first} {a.alias} {how} {second} {b.alias} ON {on}"
        sources = [a, b]
        if rng.random() < 0.3:
            kinds = names_of(BY_NAME["kinds"], self.alias())
            text += (
                f" {rng.choice(('JOIN', 'LEFT JOIN'))} kinds {kinds.alias} ON {kinds.alias}.i = {self._join_column(b)}"
            )
            sources.append(kinds)
        if rng.random() < 0.4:
            return self._group(text, sources)
        order, ordered = self.order(sources)
        return Select(f"SELECT {self.items(sources)} FROM {text}{self.where(sources)}{order}", ordered)

    def merged(self) -> Select:
        """Sorted rows of one sharded table, or of two together: by places, aliases, expressions, hidden columns."""
        rng = self.rng
        text, sources = self._sharded()
        items = [self.expressions.shown(sources) for _ in range(rng.randrange(1, 5))]
        written = [f"{item} AS x{n}" if rng.random() < 0.4 else item for n, item in enumerate(items)]
        keys = []
        for _ in range(rng.randrange(4)):
            n = rng.randrange(len(items))
            alias = f"x{n}" if written[n].endswith(f" AS x{n}") else items[n]
            kind = rng.choice(("int", "str", "dec", "dt", "enum", "dbl", "date"))
            key = rng.choice((str(n + 1), alias, self.expressions.make(kind, sources, 1), self._column(sources)))
            if not _PLACE.fullmatch(key) or key == str(n + 1):
                keys.append(key + rng.choice(("", " DESC", " ASC")))
        if any(" JSON_" in f" {key}" or " mask" in key for key in keys):
            keys = []
        keys += [name + rng.choice(("", " DESC")) for source in sources for name in source.unique]
        tail = rng.choice(
            (
                *("", "", f" LIMIT {rng.randrange(30)}", f" LIMIT {rng.randrange(9)} OFFSET {rng.randrange(40)}"),
                *(
                    f" LIMIT {rng.randrange(60)}, {rng.randrange(9)}",
                    f" OFFSET {rng.randrange(5)} ROWS FETCH NEXT 4 ROWS ONLY",
                ),
            )
        )
        calc = (
            "SQL_CALC_FOUND_ROWS "
            if rng.random() < 0.1 and "LIMIT" in tail
            else rng.choice(("", "", "", "SQL_NO_CACHE "))
        )
        where = self._simple_where(sources)
        sql = f"SELECT {calc}{', '.join(written)} FROM {text}{where} ORDER BY {', '.join(keys)}{tail}"
        return Select(sql, True, "SELECT FOUND_ROWS()" if "CALC" in calc else "")

    def _sharded(self) -> tuple[str, list[Source]]:
        rng = self.rng
        if rng.random() < 0.75:
            text, source = self.table(*(table.name for table in TABLES if table.shard_key))
            return text, [source]
        one, two = (BY_NAME[name] for name in rng.sample(_TOGETHER, 2))
        a, b = names_of(one, self.alias()), names_of(two, self.alias())
        how = rng.choice(("JOIN", "LEFT JOIN"))
        on = f"{a.alias}.{one.shard_key} = {b.alias}.{two.shard_key}"
        return f"{one.name} {a.alias} {how} {two.name} {b.alias} ON {on}", [a, b]

    def _simple_where(self, sources: Sequence[Source]) -> str:
        terms = [
            self.expressions.condition(sources, self.rng.choice((0, 1)), subqueries=False)
            for _ in range(self.rng.choice((0, 0, 1, 1, 2)))
        ]
        return f" WHERE {' AND '.join(terms)}" if terms else ""

    def _column(self, sources: Sequence[Source]) -> str:
        name = self.expressions.name(sources, *STEADY, "dbl", "time", "big", "set", "bin")
        assert name is not None
        return name.sql

    def merged_groups(self) -> Select:
        """Groups of sharded rows that are put together: every aggregate that can be, HAVING, ORDER BY aggregates."""
        rng = self.rng
        text, sources = self._sharded()
        by = self._steady(sources, rng.choice((0, 1, 1, 1, 2)))
        if rng.random() < 0.25 and sources[0].table is not None:
            by.append(f"{sources[0].alias}.{sources[0].table.shard_key}")
        by = list(dict.fromkeys(by))

        def column(*kinds: str) -> str:
            found = self.expressions.name(sources, *kinds)
            return found.sql if found is not None else "1"

        def aggregate() -> str:
            number = column("int", "dec") if rng.random() < 0.7 else self.expressions.make("dec", sources, 1)
            return rng.choice(
                (
                    *("COUNT(*)", f"COUNT({column()})", f"SUM({number})", f"AVG({number})", f"MIN({number})"),
                    *(f"MAX({number})", f"MIN({column(*STEADY)})", f"MAX({column(*STEADY, 'dt', 'time', 'big')})"),
                    *(f"COUNT(DISTINCT {column('int', 'str')})", f"SUM({column('int')} > 3)", f"COUNT(ALL {number})"),
                    *(f"MIN({column('dt', 'date')})", f"SUM({number} * 2)", f"AVG({number} / 4)", "COUNT(1)"),
                )
            )

        found = [aggregate() for _ in range(rng.randrange(1, 4))]
        items = [*by, *(f"{each} AS g{n}" if rng.random() < 0.5 else each for n, each in enumerate(found))]
        if rng.random() < 0.2:
            rng.shuffle(items)
        having = ""
        if rng.random() < 0.35:
            having = " HAVING " + rng.choice(
                (
                    *(f"COUNT(*) > {rng.randrange(4)}", f"SUM({column('int')}) >= {rng.randrange(20)}", "COUNT(*) = 1"),
                    *("COUNT(*) > 1 AND COUNT(*) <= 6", f"MAX({column('int')}) <> 3", f"MIN({column('dec')}) < 7.5"),
                    *(f"{found[0]} IS NULL", "COUNT(*) NOT BETWEEN 2 AND 3"),
                )
            )
        order, ordered = "", not by
        if by and rng.random() < 0.6:
            keys = [name + rng.choice(("", " DESC")) for name in by]
            if rng.random() < 0.4:
                at = rng.randrange(len(found))
                key = f"g{at}" if f"{found[at]} AS g{at}" in items else found[at]
                keys.insert(0, key + rng.choice(("", " DESC")))
            order = f" ORDER BY {', '.join(keys)}{rng.choice(('', '', ' LIMIT 3', ' LIMIT 5 OFFSET 2', ' LIMIT 0'))}"
            ordered = True
        group = f" GROUP BY {', '.join(by)}" if by else ""
        sql = f"SELECT {', '.join(items)} FROM {text}{self._simple_where(sources)}{group}{having}{order}"
        return Select(sql, ordered)

    def computed_groups(self) -> Select:
        """GROUP BY expressions, aliases and places."""
        rng = self.rng
        text, sources = self.from_list(rng.choice((1, 1, 2)))
        expression = self.expressions.make(rng.choice(("int", "int", "date", "dec")), sources, 2)
        by = rng.choice(("k", "1", expression if not _PLACE.fullmatch(expression) else "k"))
        order, ordered = rng.choice((("", False), (" ORDER BY 1", True), (" ORDER BY k DESC LIMIT 4", True)))
        items = f"{expression} AS k, {self.aggregate(sources)}, COUNT(*)"
        sql = f"SELECT {items} FROM {text}{self.where(sources)} GROUP BY {by}"
        return Select(sql + order, ordered)

    def nested(self) -> Select:
        """Queries in queries: windows over groups, a UNION in FROM, WITH over WITH."""
        rng = self.rng
        text, sources = self.from_list(rng.choice((1, 2)))
        by = self._steady(sources, 1)[:1] or ["1"]
        number = self.expressions.make(rng.choice(("int", "dec")), sources, 1)
        where = self.where(sources)
        groups = f"SELECT {by[0]} AS a, COUNT(*) AS n, SUM({number}) AS s FROM {text}{where} GROUP BY {by[0]}"
        kinds = [rng.choice(("int", "dec", "int")), "int"]
        union = f"{self._branch(kinds)} UNION {rng.choice(('', 'ALL '))}{self._branch(kinds)}"
        again = f"x.u{rng.randrange(2)}"
        return rng.choice(
            (
                Select(
                    f"SELECT {by[0]}, COUNT(*), RANK() OVER (ORDER BY COUNT(*) DESC), SUM(COUNT(*)) OVER () FROM {text}"
                    f"{where} GROUP BY {by[0]}",
                    False,
                ),
                Select(f"SELECT MAX(n), SUM(n), COUNT(s), MIN(a) FROM ({groups}) AS g", True),
                Select(f"SELECT n, COUNT(*), SUM(s) FROM ({groups}) AS g WHERE n < 20 GROUP BY n ORDER BY n", True),
                Select(f"SELECT {again}, COUNT(*) FROM ({union}) AS x GROUP BY {again}", False),
                Select(f"SELECT * FROM ({union}) AS x JOIN kinds ON kinds.i = x.u1", False),
                Select(f"WITH p AS ({groups}), q AS (SELECT n, MAX(a) AS m FROM p GROUP BY n) SELECT * FROM q", False),
                Select(f"WITH p AS ({groups}) SELECT * FROM p WHERE n = (SELECT MAX(n) FROM p) OR n < 2", False),
                Select(f"SELECT COUNT(*) FROM (SELECT DISTINCT {by[0]} AS a FROM {text}{where}) AS d", True),
            )
        )

    def with_subqueries(self) -> Select:
        """Subqueries in the select list, ORDER BY, HAVING and ON."""
        rng = self.rng
        text, sources = self._sharded() if rng.random() < 0.5 else self.from_list(1)
        inner = self._inner(sources, 0)
        value = self.expressions.name(inner.names, "int", "dec")
        if value is None:
            return self.plain()
        one = f"(SELECT {rng.choice(('MAX', 'SUM', 'COUNT', 'MIN'))}({value.sql}) FROM {inner.source}{inner.where})"
        unique = self._all(sources)
        by = self._steady(sources, 1)
        choices = [
            Select(f"SELECT {unique}, {one} AS v FROM {text}{self._simple_where(sources)} ORDER BY {unique}", True),
            Select(f"SELECT {unique}, IFNULL({one}, 0) + 1 FROM {text} WHERE {one} IS NOT NULL", False),
            Select(f"SELECT {unique} FROM {text} ORDER BY {one}, {unique} LIMIT 9", True),
            Select(f"SELECT {unique}, EXISTS (SELECT 1 FROM {inner.source}{inner.where}) FROM {text}", False),
        ]
        if by:
            apart = self._inner([], 0)
            number = self.expressions.name(apart.names, "int")
            if number is not None:
                having = f"COUNT(*) > (SELECT MIN({number.sql}) FROM {apart.source}{apart.where})"
                choices.append(Select(f"SELECT {by[0]}, COUNT(*) FROM {text} GROUP BY {by[0]} HAVING {having}", False))
        return rng.choice(choices)

    def of_json(self) -> Select:
        columns = self.rng.choice(("", "n FOR ORDINALITY, ")) + "v VARCHAR(10) PATH '$'"
        table = f"JSON_TABLE(l.prefs, '$.b[*]' COLUMNS ({columns})) AS j"
        return Select(f"SELECT l.login, j.* FROM logins l, {table}", False)

    def wrong(self) -> Select:
        """What servers refuse."""
        rng = self.rng
        text, source = self.table()
        name = source.names[0].sql
        other = rng.choice(TABLES).name
        return Select(
            rng.choice(
                (
                    f"SELECT nothing FROM {text}",
                    f"SELECT {name} FROM {text} WHERE nothing = 1",
                    f"SELECT {name} FROM {text} ORDER BY nothing",
                    f"SELECT {name} FROM {text} ORDER BY 9",
                    f"SELECT {name} FROM {text} GROUP BY nothing",
                    f"SELECT x.{name.split('.')[1]} FROM {text}",
                    f"SELECT {name} FROM {text} WHERE COUNT(*) > 1",
                    f"SELECT {name}, COUNT(*) FROM {text} GROUP BY 2",
                    f"SELECT id FROM customers c JOIN orders o ON o.customer_id = c.id JOIN {other} x ON 1 = 1",
                    f"SELECT {name} FROM {text} WHERE 1 = (SELECT 1 UNION SELECT 2)",
                    f"SELECT {name} FROM {text} WHERE (1, 2) = (SELECT 1)",
                    f"SELECT {name} FROM {text} UNION SELECT 1, 2",
                    f"SELECT {name} FROM {text}, {text}",
                    f"SELECT {name} FROM {text} WHERE {name} IN (SELECT {name} FROM {other} LIMIT 1)",
                    f"SELECT * FROM {text} JOIN {other} y USING (nothing)",
                    f"SELECT {name} FROM {text} LIMIT -1",
                    f"SELECT SUM(COUNT(*)) FROM {text}",
                )
            ),
            False,
        )

    def nested_joins(self) -> Select:
        """Joins in parentheses, and commas."""
        rng = self.rng
        (one, a), (two, b), (three, c) = self.table(), self.table(), self.table()
        if len({a.alias, b.alias, c.alias}) < 3:
            return self.plain()
        sources = [a, b, c]
        inside = f"{two} {rng.choice(('JOIN', 'LEFT JOIN'))} {three} ON {self.on([b], c)}"
        text = rng.choice(
            (
                f"{one} {rng.choice(('JOIN', 'LEFT JOIN', 'RIGHT JOIN'))} ({inside}) ON {self.on([a], b)}",
                f"({inside}) {rng.choice(('JOIN', 'LEFT JOIN'))} {one} ON {self.on([b, c], a)}",
            )
        )
        if rng.random() < 0.3:
            text = f"{one}, {two}"
            sources = [a, b]
            return Select(f"SELECT {self.items(sources)} FROM {text} WHERE {self.on([a], b)}", False)
        order, ordered = self.order(sources)
        return Select(f"SELECT {self.items(sources)} FROM {text}{self.where(sources)}{order}", ordered)

    def hinted(self) -> Select:
        """Hints about indexes and the order of joins."""
        rng = self.rng
        index = rng.choice(
            ("orders o {} INDEX (state)", "order_lines o {} KEY (PRIMARY)", "accounts o {} INDEX (owner)")
        )
        text = index.format(rng.choice(("USE", "FORCE", "IGNORE")))
        source = names_of(BY_NAME[text.split()[0]], "o")
        if rng.random() < 0.5:
            order, ordered = self.order([source])
            return Select(f"SELECT {self.items([source])} FROM {text}{self.where([source])}{order}", ordered)
        added, other = self.table("photos", "staff", "kinds", "customers")
        sources = [source, other]
        sql = f"SELECT STRAIGHT_JOIN {self.items(sources)} FROM {text} JOIN {added} ON {self.on([source], other)}"
        return Select(sql + self.where(sources), False)

    def of_one_table(self) -> Select:
        text, source = self.table()
        order, ordered = self.order([source])
        items = "*" if self.rng.random() < 0.3 else self.items([source])
        return Select(f"SELECT {items} FROM {text}{self.where([source])}{order}", ordered)

    def by_key(self) -> Select:
        rng = self.rng
        text, source = self.table(*(table.name for table in TABLES if table.shard_key))
        assert source.table is not None
        column = source.table.column(source.table.shard_key)
        values = [rng.choice(column.values) for _ in range(rng.choice((1, 1, 1, 2, 4)))]
        name = f"{source.alias}.{column.name}"
        where = f"{name} = {values[0]}" if len(values) == 1 else f"{name} IN ({', '.join(values)})"
        if rng.random() < 0.4:
            where += f" AND {self.expressions.condition([source], 1)}"
        if rng.random() < 0.3:
            count = rng.choice(("COUNT(*)", "COUNT(*), MIN({0}), MAX({0})")).format(source.unique[-1])
            return Select(f"SELECT {count} FROM {text} WHERE {where}", True)
        order, ordered = self.order([source])
        return Select(f"SELECT {self.items([source])} FROM {text} WHERE {where}{order}", ordered)

    def whole(self) -> Select:
        table = self.rng.choice(TABLES)
        order = f" ORDER BY {', '.join(table.key)}" if self.rng.random() < 0.6 else ""
        return Select(f"SELECT * FROM {table.name}{order}", bool(order))

    def distinct(self) -> Select:
        rng = self.rng
        text, sources = self.from_list(rng.choice((1, 1, 2)))
        names = self._steady(sources, rng.randrange(1, 4))
        if rng.random() < 0.05:
            names = [rng.choice(("1", "'x'", "NULL", "-1.5"))]
        order, ordered = "", False
        if rng.random() < 0.5:
            limit = rng.choice(("", "", " LIMIT 5", " LIMIT 3 OFFSET 2"))
            order, ordered = f" ORDER BY {', '.join(names)}{limit}", True
        return Select(f"SELECT DISTINCT {', '.join(names)} FROM {text}{self.where(sources)}{order}", ordered)

    def _steady(self, sources: Sequence[Source], count: int) -> list[str]:
        """Columns of which equal values are the same."""
        found = [self.expressions.name(sources, *STEADY) for _ in range(count)]
        return list(dict.fromkeys(name.sql for name in found if name is not None))

    def aggregate(self, sources: Sequence[Source]) -> str:
        rng = self.rng
        expressions = self.expressions

        def column(*kinds: str) -> str:
            found = expressions.name(sources, *kinds)
            return found.sql if found is not None else "1"

        number = expressions.make(rng.choice(("int", "dec")), sources, 1)
        string, listed = column("str"), column("int")
        by = f"{column('int')}, " if listed != "1" and rng.random() < 0.5 else ""
        # MariaDB 10.11 forgets about ORDER BY inside of these in joins, depending on its plan.
        alone = len(sources) == 1
        return rng.choice(
            (
                *("COUNT(*)", "COUNT(*)", f"COUNT({column()})", f"SUM({number})", f"AVG({number})", f"MIN({number})"),
                *(f"MAX({number})", f"COUNT(DISTINCT {number})", f"SUM(DISTINCT {column('int')})"),
                *(
                    f"SUM({column('dbl')})",
                    f"AVG({column('dbl')})",
                    f"MIN({column(*STEADY)})",
                    f"MAX({column(*STEADY)})",
                ),
                *(f"COUNT(DISTINCT {column('int')}, {column('int', 'str')})", f"AVG(DISTINCT {column('int', 'dec')})"),
                *(
                    f"GROUP_CONCAT({listed} ORDER BY {by}{listed})" if alone else f"COUNT({listed})",
                    f"BIT_OR({column('int')})",
                ),
                *(f"GROUP_CONCAT(DISTINCT {string} ORDER BY {string} DESC SEPARATOR '|')", f"BIT_XOR({column('int')})"),
                *(
                    f"MAX({expressions.make('date', sources, 1)})",
                    f"SUM(IF({expressions.condition(sources, 0)}, 1, 0))",
                ),
                *(f"SUM({column('int')}) + COUNT(*)", f"MAX({number}) - MIN({number})", f"BIT_AND({column('int')})"),
                *(f"COUNT(CASE WHEN {expressions.condition(sources, 0)} THEN 1 END)", f"MIN({column('time', 'dt')})"),
                *(
                    f"JSON_ARRAYAGG({listed} ORDER BY {by}{listed} DESC)" if alone else f"MAX({listed})",
                    f"SUM({column('int')}) / COUNT(*)",
                ),
                *(f"STDDEV_POP({column('int')} * 0)", f"VAR_SAMP({column('int')} * 0)", f"COUNT(ALL {column('int')})"),
            )
        )

    def _all(self, sources: Sequence[Source]) -> str:
        """The unique keys of all tables, or a constant where they are not known."""
        keys = [name for source in sources for name in source.unique]
        return ", ".join(keys) if all(source.unique for source in sources) else "NULL"

    def grouped(self) -> Select:
        text, sources = self.from_list(self.rng.choice((1, 1, 2, 2, 3)))
        return self._group(text, sources)

    def _group(self, text: str, sources: list[Source]) -> Select:
        rng = self.rng
        by = self._steady(sources, rng.choice((1, 1, 2, 3)))
        aggregates = [self.aggregate(sources) for _ in range(rng.randrange(1, 4))]
        items = [*by, *(f"{each} AS a{n}" if rng.random() < 0.5 else each for n, each in enumerate(aggregates))]
        having = ""
        if rng.random() < 0.35:
            having = " HAVING " + rng.choice(
                (
                    *(
                        "COUNT(*) > 1",
                        "COUNT(*) BETWEEN 2 AND 5",
                        f"{rng.choice(by)} IS NOT NULL",
                        "COUNT(*) > 1 OR 1 = 0",
                    ),
                    *(f"{self.aggregate(sources)} IS NOT NULL", "SUM(1) >= 2 AND COUNT(*) < 20", "AVG(2) > 1"),
                )
            )
        rollup = " WITH ROLLUP" if rng.random() < 0.12 else ""
        order, ordered = "", False
        if not rollup and rng.random() < 0.5:
            keys = [name + rng.choice(("", " DESC")) for name in by]
            if rng.random() < 0.4:
                keys.insert(0, rng.choice(("COUNT(*) DESC", "COUNT(*)", "SUM(1)", str(len(by) + 1))))
                if keys[0].isdigit() and any(word in items[len(by)] for word in ("CONCAT", "ARRAYAGG")):
                    keys[0] = "COUNT(*)"
            limit = rng.choice(("", "", f" LIMIT {rng.randrange(1, 12)}", " LIMIT 4 OFFSET 2"))
            order, ordered = f" ORDER BY {', '.join(keys)}{limit}", True
        group = f" GROUP BY {', '.join(by)}" if by else ""
        sql = f"SELECT {', '.join(items)} FROM {text}{self.where(sources)}{group}{rollup}{having}{order}"
        return Select(sql, ordered)

    def aggregated(self) -> Select:
        """One row."""
        text, sources = self.from_list(self.rng.choice((1, 1, 1, 2)))
        items = ", ".join(self.aggregate(sources) for _ in range(self.rng.randrange(1, 5)))
        return Select(f"SELECT {items} FROM {text}{self.where(sources)}", True)

    def windowed(self) -> Select:
        rng = self.rng
        text, sources = self.from_list(rng.choice((1, 1, 2)))
        unique = self._all(sources)
        partition = f"PARTITION BY {', '.join(self._steady(sources, 1))} " if rng.random() < 0.6 else ""
        if partition == "PARTITION BY  ":
            partition = ""
        number = self.expressions.make("int", sources, 1)
        column = self.expressions.name(sources, "int", "dec")
        by = column.sql if column is not None else unique.split(", ")[0]
        windows = [
            f"ROW_NUMBER() OVER ({partition}ORDER BY {unique})",
            f"RANK() OVER ({partition}ORDER BY {by})",
            f"DENSE_RANK() OVER ({partition}ORDER BY {by} DESC)",
            f"SUM({number}) OVER ({partition}ORDER BY {unique} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
            f"SUM({by}) OVER ({partition}ORDER BY {by})",
            f"LAG({number}) OVER ({partition}ORDER BY {unique})",
            f"LEAD({by}, 2) OVER ({partition}ORDER BY {unique})",
            f"COUNT(*) OVER ({partition.strip()})",
            f"FIRST_VALUE({number}) OVER ({partition}ORDER BY {unique})",
            f"NTILE(3) OVER ({partition}ORDER BY {unique})",
            f"MAX({by}) OVER w",
            f"CUME_DIST() OVER ({partition}ORDER BY {by})",
            f"AVG({by}) OVER ({partition.strip()})",
        ]
        chosen = rng.sample(windows, rng.randrange(1, 4))
        named = f" WINDOW w AS ({partition.strip()})" if any(" OVER w" in each for each in chosen) else ""
        sql = f"SELECT {unique}, {', '.join(chosen)} FROM {text}{self.where(sources)}{named}"
        if rng.random() < 0.6:
            return Select(f"{sql} ORDER BY {unique}{rng.choice(('', ' LIMIT 10', ' LIMIT 5 OFFSET 3'))}", True)
        return Select(sql, False)

    def united(self) -> Select:
        rng = self.rng
        kinds = [rng.choice(("int", "dec", "date", "int", "enum", "year")) for _ in range(rng.randrange(1, 4))]
        branches = [self._branch(kinds) for _ in range(rng.choice((2, 2, 3)))]
        text = branches[0]
        for branch in branches[1:]:
            how = rng.choice(("UNION", "UNION ALL", "UNION DISTINCT", "EXCEPT", "INTERSECT", "UNION"))
            text += f" {how} {branch}"
        if rng.random() < 0.5:
            places = ", ".join(str(n + 1) + rng.choice(("", " DESC")) for n in range(len(kinds)))
            return Select(f"{text} ORDER BY {places}{rng.choice(('', ' LIMIT 9', ' LIMIT 4 OFFSET 3'))}", True)
        return Select(text, False)

    def _branch(self, kinds: list[str]) -> str:
        text, sources = self.from_list(self.rng.choice((1, 1, 1, 2)))
        items = []
        for n, kind in enumerate(kinds):
            found = self.expressions.name(sources, kind)
            items.append(f"{found.sql if found is not None else 'NULL'} AS u{n}")
        sql = f"SELECT {', '.join(items)} FROM {text}{self.where(sources)}"
        if self.rng.random() < 0.15:
            order, ordered = self.order(sources)
            if ordered:
                return f"({sql}{order})"
        return f"({sql})" if self.rng.random() < 0.15 else sql

    def _query(self) -> tuple[str, list[Name]]:
        """A query with named columns: for WITH and derived tables."""
        rng = self.rng
        text, sources = self.from_list(rng.choice((1, 1, 2)))
        if rng.random() < 0.5:
            by = self.expressions.name(sources, "int")
            value = self.expressions.name(sources, "int", "dec")
            if by is not None and value is not None:
                names = [Name("a", "int"), Name("n", "int"), Name("m", value.kind)]
                sql = (
                    f"SELECT {by.sql} AS a, COUNT(*) AS n, MAX({value.sql}) AS m FROM {text}{self.where(sources)} "
                    f"GROUP BY {by.sql}"
                )
                return sql, names
        names, items = [], []
        for letter in "abcd"[: rng.randrange(1, 5)]:
            kind = rng.choice(("int", "int", "dec", "str", "date", "dt"))
            names.append(Name(letter, kind))
            items.append(f"{self.expressions.make(kind, sources, 1)} AS {letter}")
        order, _ = self.order(sources) if rng.random() < 0.3 else ("", False)
        return f"SELECT {', '.join(items)} FROM {text}{self.where(sources)}{order}", names

    def _as_source(self, names: list[Name], alias: str) -> Source:
        return Source([Name(f"{alias}.{name.sql}", name.kind) for name in names], [], None, alias)

    def with_cte(self) -> Select:
        rng = self.rng
        queries = [self._query() for _ in range(rng.choice((1, 1, 2)))]
        clauses = ", ".join(f"w{n} AS ({sql})" for n, (sql, _) in enumerate(queries))
        first = self._as_source(queries[0][1], "w0")
        text, sources = "w0", [first]
        if len(queries) > 1:
            second = self._as_source(queries[1][1], "w1")
            text += f" {rng.choice(('JOIN', 'LEFT JOIN'))} w1 ON {self.on(sources, second)}"
            sources.append(second)
        elif rng.random() < 0.3:
            again = self._as_source(queries[0][1], "again")
            text += f" LEFT JOIN w0 AS again ON {self.on(sources, again)}"
            sources.append(again)
        if rng.random() < 0.5:
            added, other = self.table()
            text += f" {rng.choice(('JOIN', 'LEFT JOIN'))} {added} ON {self.on(sources, other)}"
            sources.append(other)
        if rng.random() < 0.3:
            grouped = self._group(text, sources)
            return Select(f"WITH {clauses} {grouped.sql}", grouped.ordered)
        return Select(f"WITH {clauses} SELECT {self.items(sources)} FROM {text}{self.where(sources)}", False)

    def recursive(self) -> Select:
        rng = self.rng
        start = rng.randrange(1, 8)
        if rng.random() < 0.5:
            sql = (
                f"WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {start + 5}) "
                f"SELECT n.i, COUNT(o.id) FROM n LEFT JOIN orders o ON o.customer_id = n.i GROUP BY n.i ORDER BY n.i"
            )
            return Select(sql, True)
        sql = (
            f"WITH RECURSIVE tree AS (SELECT id, boss, 0 AS depth FROM staff WHERE id = {start} UNION ALL SELECT s.id, "
            "s.boss, tree.depth + 1 FROM staff s JOIN tree ON s.boss = tree.id AND tree.depth < 5) SELECT tree.id, "
            "tree.depth, (SELECT COUNT(*) FROM orders o WHERE o.customer_id = tree.id) AS n FROM tree ORDER BY 1, 2"
        )
        return Select(sql, True)

    def derived(self) -> Select:
        rng = self.rng
        sql, names = self._query()
        alias = self.alias()
        text, sources = f"({sql}) {rng.choice(('', 'AS '))}{alias}", [self._as_source(names, alias)]
        if rng.random() < 0.6:
            added, other = self.table()
            text += f" {rng.choice(('JOIN', 'LEFT JOIN', 'RIGHT JOIN'))} {added} ON {self.on(sources, other)}"
            sources.append(other)
        if rng.random() < 0.3:
            return self._group(text, sources)
        items = "*" if rng.random() < 0.2 else self.items(sources)
        return Select(f"SELECT {items} FROM {text}{self.where(sources)}", False)

    def counted(self) -> Select:
        rng = self.rng
        text, source = self.table()
        steady = self._steady([source], 1)
        if steady and rng.random() < 0.2:
            sql = f"SELECT SQL_CALC_FOUND_ROWS DISTINCT {steady[0]} FROM {text} ORDER BY 1 LIMIT {rng.randrange(6)}"
            return Select(sql, True, "SELECT FOUND_ROWS()")
        order = f" ORDER BY {', '.join(source.unique)} LIMIT {rng.randrange(6)}"
        sql = f"SELECT SQL_CALC_FOUND_ROWS {self.items([source])} FROM {text}{self.where([source])}{order}"
        return Select(sql, True, "SELECT FOUND_ROWS()")

    def locking(self) -> Select:
        text, source = self.table()
        order, ordered = (f" ORDER BY {', '.join(source.unique)}", True) if self.rng.random() < 0.5 else ("", False)
        lock = self.rng.choice((" FOR UPDATE", " LOCK IN SHARE MODE"))
        where = f" WHERE {self.expressions.condition([source], 1, subqueries=False)}"
        items = ", ".join(name.sql for name in self.rng.sample(source.names, self.rng.randrange(1, 4)))
        return Select(f"SELECT {items} FROM {text}{where}{order}{lock}", ordered)

    def joined_by_name(self) -> Select:
        """USING and NATURAL JOIN."""
        rng = self.rng
        pairs = (
            *(("orders", "order_lines", "customer_id"), ("customers", "photos", "id"), ("customers", "staff", "id")),
            *(
                ("logins", "photos", "customer_id"),
                ("orders", "photos", "customer_id"),
                ("stores", "customers", "region"),
            ),
        )
        one, two, column = rng.choice(pairs)
        a, b = self.alias(), self.alias()
        how = rng.choice(("JOIN", "LEFT JOIN", "RIGHT JOIN", "JOIN"))
        sources = [names_of(BY_NAME[one], a), names_of(BY_NAME[two], b)]
        text = f"{one} {a} {how} {two} {b} USING ({column})"
        if rng.random() < 0.25 and (one, two) in (("orders", "order_lines"), ("logins", "photos")):
            text = f"{one} {a} NATURAL {rng.choice(('', 'LEFT '))}JOIN {two} {b}"
        items = rng.choice(("*", self.items(sources), f"{column}, {self.items(sources, 2)}", f"{column}"))
        order, ordered = self.order(sources)
        return Select(f"SELECT {items} FROM {text}{self.where(sources)}{order}", ordered)

    def in_place(self) -> Select:
        """Subqueries that shards can answer."""
        sql, ordered = InPlace(self).make()
        return Select(sql, ordered)

    def without_tables(self) -> Select:
        kind = self.rng.choice(("int", "dec", "str", "date"))
        return Select(f"SELECT {self.expressions.make(kind, [])} AS v, {self.expressions.literal('int')} + 1", True)
