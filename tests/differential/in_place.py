"""SELECTs with subqueries that the shards can answer by themselves: groups and aggregates of tables that lie together,
in every place that a subquery can have, beside tables that are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.differential.expressions import STEADY, Name, Source, names_of
from tests.differential.schema import BY_NAME, TABLES

if TYPE_CHECKING:
    from tests.differential.selects import Selects

_TOGETHER = ("customers", "orders", "order_lines")
_COMPARE = ("=", "<>", "<", ">", "<=", ">=", "<=>")


class InPlace:
    def __init__(self, selects: Selects) -> None:
        self.selects = selects
        self.rng = selects.rng
        self.expressions = selects.expressions

    def make(self) -> tuple[str, bool]:
        """(SELECT, whether its rows are in a certain order)."""
        return self.rng.choice(
            (self.member, self.member, self.scalar, self.derived, self.derived, self.cte, self.both)
        )()

    # -- what the shards are asked

    def _rows(self) -> tuple[str, list[Source]]:
        """Tables that lie together, or one."""
        rng = self.rng
        if rng.random() < 0.55:
            table = BY_NAME[rng.choice([t.name for t in TABLES if t.place in ("sharded", "media")])]
            alias = self.selects.alias()
            return f"{table.name} {alias}", [names_of(table, alias)]
        one, two = (BY_NAME[name] for name in rng.sample(_TOGETHER, 2))
        a, b = names_of(one, self.selects.alias()), names_of(two, self.selects.alias())
        on = f"{a.alias}.{one.shard_key} = {b.alias}.{two.shard_key}"
        text = f"{one.name} {a.alias} {rng.choice(('JOIN', 'LEFT JOIN'))} {two.name} {b.alias} ON {on}"
        sources = [a, b]
        if rng.random() < 0.3:
            kinds = names_of(BY_NAME["kinds"], self.selects.alias())
            text += f" JOIN kinds {kinds.alias} ON {kinds.alias}.i = {self._int(sources)}"
            sources.append(kinds)
        return text, sources

    def _int(self, sources: Sequence[Source]) -> str:
        return self._column(sources, "int", "big")

    def _column(self, sources: Sequence[Source], *kinds: str) -> str:
        found = self.expressions.name(sources, *kinds)
        return found.sql if found is not None else "1"

    def _where(self, sources: Sequence[Source]) -> str:
        rng = self.rng
        if rng.random() < 0.4:
            return ""
        condition = self.expressions.condition(sources, 0, subqueries=rng.random() < 0.1)
        return " WHERE " + rng.choice((condition, condition, condition, "1 = 0", f"{self._int(sources)} > 1000"))

    def _aggregate(self, sources: Sequence[Source]) -> tuple[str, str]:
        """(aggregate, the kind of its values)."""
        number, exact = self._column(sources, "int", "dec", "big"), self._column(sources, "dec")
        moment = self.expressions.name(sources, "date", "dt", "time", "year")
        return self.rng.choice(
            (
                *(("COUNT(*)", "int"), (f"COUNT({self._column(sources)})", "int"), (f"SUM({number})", "dec")),
                *((f"SUM({exact})", "dec"), (f"MIN({number})", "int"), (f"MAX({exact})", "dec"), ("SUM(1)", "dec")),
                *((f"SUM({exact} * {number})", "dec"), (f"COUNT(DISTINCT {number})", "int"), (f"AVG({exact})", "dec")),
                *((f"AVG({number})", "dec"), (f"SUM({number}) - COUNT(*)", "dec"), (f"MAX({number}) * 1.5", "dec")),
                *((f"MAX({moment.sql})", moment.kind) if moment is not None else ("COUNT(1)", "int"),),
                *((f"MIN({self._column(sources, 'str')})", "str"), (f"BIT_XOR({self._int(sources)})", "int")),
                *((f"SUM({self._column(sources, 'dbl')})", "dbl"), (f"MIN({self._column(sources, 'enum')})", "str")),
            )
        )

    def _groups(self, sources: Sequence[Source]) -> list[Name]:
        """What is grouped by: often the shard key, of which every group is on one shard."""
        rng = self.rng
        by = []
        table = sources[0].table
        if table is not None and table.shard_key and rng.random() < 0.5:
            key = f"{sources[0].alias}.{table.shard_key}"
            by.append(next(name for name in sources[0].names if name.sql == key))
        for _ in range(rng.choice((0, 1, 1, 2))):
            found = self.expressions.name(sources, *STEADY, "big", "time", "bin")
            if found is not None and found.sql not in {one.sql for one in by}:
                by.append(found)
        return by

    def _having(self, sources: Sequence[Source]) -> str:
        rng = self.rng
        if rng.random() < 0.4:
            return ""
        found, kind = self._aggregate(sources)
        if kind == "str":  # how often a server warns of one that is no number depends on its plan
            found = "COUNT(*)"
        return " HAVING " + rng.choice(
            ("COUNT(*) > 1", f"{found} > {rng.choice((0, 3, 50, 300))}", f"{found} IS NULL", "COUNT(*) BETWEEN 2 AND 4")
        )

    def _grouped(self) -> tuple[str, list[Name]]:
        """A query with groups, and its columns."""
        text, sources = self._rows()
        by = self._groups(sources)
        names = [Name(f"g{n}", one.kind) for n, one in enumerate(by)]
        items = [f"{one.sql} AS g{n}" for n, one in enumerate(by)]
        for n in range(self.rng.randrange(1, 4)):
            aggregate, kind = self._aggregate(sources)
            names.append(Name(f"a{n}", kind))
            items.append(f"{aggregate} AS a{n}")
        group = f" GROUP BY {', '.join(one.sql for one in by)}{self._having(sources)}" if by else ""
        return f"SELECT {', '.join(items)} FROM {text}{self._where(sources)}{group}", names

    def _keys(self) -> str:
        """A query whose one column is a number that is grouped by, or an aggregate."""
        text, sources = self._rows()
        by = self._groups(sources)
        key = self._int(sources) if self.rng.random() < 0.5 or not by or by[0].kind not in ("int", "big") else by[0].sql
        if self.rng.random() < 0.15:
            key, _ = self._aggregate(sources)
        group = list(dict.fromkeys([*(one.sql for one in by), *([key] if "(" not in key and key != "1" else [])]))
        end = f" GROUP BY {', '.join(group)}{self._having(sources)}" if group else ""
        if not group and "(" not in key:
            key = f"MAX({key})"
        return f"SELECT {key} FROM {text}{self._where(sources)}{end}"

    def _value(self) -> str:
        text, sources = self._rows()
        aggregate, _ = self._aggregate(sources)
        where = self._where(sources)
        return f"SELECT {aggregate} FROM {text}{where}"

    # -- whole SELECTs

    def _outer(self) -> tuple[str, list[Source]]:
        return self.selects.from_list(self.rng.choice((1, 2, 2)))

    def member(self) -> tuple[str, bool]:
        """IN, NOT IN, EXISTS, ANY, ALL."""
        rng = self.rng
        text, sources = self._outer()
        column = self._int(sources)
        # MariaDB 10.11 takes `18446744073709551615 NOT IN (a subquery's INTs, and NULL)` for true, not for unknown.
        narrow = self._column(sources, "int")
        condition = rng.choice(
            (
                *(f"{column} IN ({self._keys()})",) * 4,
                *(f"{narrow} NOT IN ({self._keys()})", f"EXISTS ({self._keys()})"),
                *(f"{column} > ALL ({self._keys()})", f"{column} = ANY ({self._keys()})"),
            )
        )
        if rng.random() < 0.5:
            condition += rng.choice((" AND ", " AND ", " OR ")) + self.expressions.condition(sources, 0)
        order, ordered = self.selects.order(sources)
        return f"SELECT {self.selects.items(sources)} FROM {text} WHERE {condition}{order}", ordered

    def scalar(self) -> tuple[str, bool]:
        rng = self.rng
        text, sources = self._outer()
        value = f"({self._value()})"
        if rng.random() < 0.5:
            item = rng.choice((value, f"COALESCE({value}, 0)", f"{value} + 1", f"IF({value} > 3, 'many', 'few')"))
            name = rng.choice((" AS v", ""))
            return f"SELECT {self.selects.items(sources, 2)}, {item}{name} FROM {text}{self._where(sources)}", False
        condition = f"{self._column(sources, 'int', 'dec', 'big', 'date')} {rng.choice(_COMPARE)} {value}"
        order, ordered = self.selects.order(sources)
        return f"SELECT {self.selects.items(sources)} FROM {text} WHERE {condition}{order}", ordered

    def derived(self) -> tuple[str, bool]:
        rng = self.rng
        query, names = self._grouped()
        alias = self.selects.alias()
        here = self.selects._as_source(names, alias)
        sources = [here]
        text = f"({query}) {alias}"
        if rng.random() < 0.8:
            added, other = self.selects.table()
            how = rng.choice(("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN"))
            on = self.selects.on(sources, other)
            text = f"{text} {how} {added} ON {on}" if rng.random() < 0.6 else f"{added} {how} {text} ON {on}"
            sources.append(other)
        return self._over(text, sources)

    def _over(self, text: str, sources: list[Source]) -> tuple[str, bool]:
        rng = self.rng
        if rng.random() < 0.35 and self.expressions.name(sources, *STEADY) is not None:
            grouped = self.selects._group(text, sources)
            return grouped.sql, grouped.ordered
        items = rng.choice(("*", self.selects.items(sources), self.selects.items(sources)))
        return f"SELECT {items} FROM {text}{self._where(sources)}", False

    def cte(self) -> tuple[str, bool]:
        rng = self.rng
        query, names = self._grouped()
        first = self.selects._as_source(names, "p")
        text, sources = "p", [first]
        if rng.random() < 0.4:
            again = self.selects._as_source(names, "q")
            text += f" {rng.choice(('JOIN', 'LEFT JOIN'))} p AS q ON {self.selects.on(sources, again)}"
            sources.append(again)
        if rng.random() < 0.7:
            added, other = self.selects.table()
            text += f" {rng.choice(('JOIN', 'LEFT JOIN'))} {added} ON {self.selects.on(sources, other)}"
            sources.append(other)
        sql, ordered = self._over(text, sources)
        return f"WITH p AS ({query}) {sql}", ordered

    def both(self) -> tuple[str, bool]:
        """Several subqueries, one perhaps in another."""
        rng = self.rng
        query, names = self._grouped()
        alias = self.selects.alias()
        here = self.selects._as_source(names, alias)
        number = self.expressions.name([here], "int", "dec")
        number_sql = number.sql if number is not None else "1"
        if rng.random() < 0.5:
            tail = f"WHERE {number_sql} {rng.choice(_COMPARE)} ({self._value()})"
        else:
            tail = f"WHERE {number_sql} IN ({self._keys()}) OR EXISTS ({self._keys()})"
        added, other = self.selects.table()
        on = self.selects.on([here], other)
        sources = [here, other]
        items = self.selects.items(sources)
        return f"SELECT {items} FROM ({query}) AS {alias} LEFT JOIN {added} ON {on} {tail}", False
