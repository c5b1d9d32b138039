"""Expressions and conditions over the columns of some tables, of a wanted kind; subqueries come from `selects`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.differential.schema import Column, Table

NUMBERS = ("int", "dec", "dbl")
KINDS = ("int", "int", "int", "dec", "dbl", "str", "str", "date", "dt")
SHOWN = ("int", "big", "dec", "dbl", "str", "bin", "date", "dt", "time", "year", "enum", "set", "json", "bit")
# What GROUP BY, DISTINCT, MIN and the like show one of, whichever of the equal ones it is.
STEADY = ("int", "dec", "str", "date", "dt", "year", "enum")


@dataclass(frozen=True)
class Name:
    """A column as it is written in a statement."""

    sql: str
    kind: str
    values: tuple[str, ...] = ()
    nullable: bool = True


@dataclass
class Source:
    """Something in FROM: `unique`: columns by which its rows are certain; none where they are not known."""

    names: list[Name]
    unique: list[str]
    table: Table | None = None
    alias: str = ""


Subquery = Callable[[Sequence[Source], int], "Inner"]


@dataclass(frozen=True)
class Inner:
    """A table for a subquery: what stands behind FROM, a condition for WHERE, and its names."""

    source: str
    where: str
    names: Sequence[Source]


@dataclass
class Expressions:
    rng: random.Random
    subquery: Subquery | None = None
    depth: int = field(default=2)

    # -- columns and constants

    def name(self, sources: Sequence[Source], *kinds: str) -> Name | None:
        found = [name for source in sources for name in source.names if not kinds or name.kind in kinds]
        return self.rng.choice(found) if found else None

    def literal(self, kind: str) -> str:
        rng = self.rng
        if kind == "int":
            return str(rng.choice((0, 1, 2, 3, 5, 7, 10, 12, 20, 33, -1, -4)))
        if kind == "dec":
            return rng.choice(("0.0", "1.5", "-3.25", "12.1", "100.00", "0.001", "7.77"))
        if kind == "dbl":
            return rng.choice(("0.25e0", "1e0", "-1.5e0", "2e1", "1024.25e0"))
        if kind == "str":
            return rng.choice(("'Anna'", "'b'", "''", "'alpha'", "'x_y'", "'zeta%'", "'de'", "'user3'", "'12'", "'é'"))
        if kind == "date":
            return rng.choice(("'2024-02-29'", "'2023-12-31'", "DATE '2024-01-01'", "'2020-06-15'"))
        if kind == "dt":
            return rng.choice(("'2024-02-29 10:00:00'", "TIMESTAMP '2020-06-15 00:00:00'", "'2023-12-31 23:59:59'"))
        if kind == "time":
            return rng.choice(("'10:00:00'", "'23:59:59.99'", "TIME '00:00:00'"))
        if kind == "year":
            return rng.choice(("1999", "2020", "2024"))
        if kind in ("enum", "set"):
            return rng.choice(("'new'", "'sent'", "'a'", "'b,c'"))
        return "'a'"

    def column_or_literal(self, kind: str, sources: Sequence[Source]) -> str:
        found = self.name(sources, kind)
        if found is None or self.rng.random() < 0.15:
            return self.literal(kind)
        return found.sql

    # -- expressions

    def make(self, kind: str, sources: Sequence[Source], depth: int | None = None) -> str:
        depth = self.depth if depth is None else depth
        if depth <= 0 or self.rng.random() < 0.45:
            return self.column_or_literal(kind, sources)
        if self.rng.random() < 0.25:
            return self._any_kind(kind, sources, depth - 1)
        makers = {
            "int": self._int,
            "dec": self._dec,
            "dbl": self._dbl,
            "str": self._str,
            "date": self._date,
            "dt": self._dt,
        }
        if kind not in makers:
            return self.column_or_literal(kind, sources)
        return makers[kind](sources, depth - 1)

    def shown(self, sources: Sequence[Source]) -> str:
        """Something for a select list."""
        rng = self.rng
        if rng.random() < 0.55:
            found = self.name(sources, *SHOWN)
            if found is not None:
                return found.sql
        if rng.random() < 0.15:
            return self.condition(sources, 1)
        return self.make(rng.choice(KINDS), sources)

    def _any_kind(self, kind: str, sources: Sequence[Source], depth: int) -> str:
        rng = self.rng
        one, two = self.make(kind, sources, depth), self.make(kind, sources, depth)
        condition = self.condition(sources, min(depth, 1), subqueries=False)
        choices = [
            f"COALESCE({one}, {two})",
            f"IFNULL({one}, {two})",
            f"IF({condition}, {one}, {two})",
            f"CASE WHEN {condition} THEN {one} ELSE {two} END",
            f"CASE WHEN {condition} THEN {one} END",
            f"NULLIF({one}, {two})",
        ]
        if kind in ("int", "dec", "date"):
            choices += [f"GREATEST({one}, {two})", f"LEAST({one}, {two})"]
        return rng.choice(choices)

    def _int(self, sources: Sequence[Source], depth: int) -> str:
        rng = self.rng

        def of(kind: str) -> str:
            return self.make(kind, sources, depth)

        one, two = of("int"), of("int")
        text = self.column_or_literal("str", sources)
        date = self.column_or_literal("date", sources)
        number = rng.choice((1, 2, 3, 5, 7))
        return rng.choice(
            (
                *(f"({one} + {two})", f"({one} - {two})", f"({one} * {number})", f"{one} DIV {number}"),
                *(f"({one} % {number})", f"MOD({one}, {number})", f"ABS({one})", f"SIGN({one})", f"(- {one})"),
                *(f"({one} & {number})", f"({one} | {number})", f"({one} ^ {number})", f"BIT_COUNT({one})"),
                *(f"LENGTH({text})", f"CHAR_LENGTH({text})", f"ASCII({text})", f"CRC32({text})", f"ORD({text})"),
                *(f"LOCATE('a', {text})", f"INSTR({text}, 'b')", f"FIELD({one}, 1, 2, {two})", f"({text} LIKE '%a%')"),
                *(f"YEAR({date})", f"MONTH({date})", f"DAYOFWEEK({date})", f"DAYOFYEAR({date})", f"TO_DAYS({date})"),
                *(f"QUARTER({date})", f"WEEK({date}, 1)", f"DATEDIFF({date}, '2024-01-01')", f"WEEKDAY({date})"),
                *(f"EXTRACT(YEAR_MONTH FROM {date})", f"TIMESTAMPDIFF(DAY, {date}, '2024-06-01')"),
                *(f"FLOOR({of('dec')})", f"CEIL({of('dec')})", f"CAST({of('dec')} AS SIGNED)", f"ROUND({of('dec')})"),
                # Without INTERVAL(): MariaDB 10.11 loses rows where a condition with it is pushed into a derived table.
                *(f"ISNULL({one})", f"({one} IS NULL)", f"STRCMP({text}, {text})"),
                f"CAST({one} AS SIGNED)",
                f"({one} = {two})",
                f"({one} <=> {two})",
                *self._others_int(sources),
            )
        )

    def _others_int(self, sources: Sequence[Source]) -> list[str]:
        made = []
        for kind, forms in (
            ("enum", ("{} + 0",)),
            ("set", ("{} + 0", "FIND_IN_SET('b', {})")),
            ("json", ("JSON_LENGTH({})", "JSON_DEPTH({})", "JSON_VALID({})")),
            ("bit", ("{} + 0", "BIT_COUNT({})")),
            ("time", ("HOUR({})", "MINUTE({})")),
            ("dt", ("HOUR({})", "SECOND({})", "MICROSECOND({})", "TIMESTAMPDIFF(HOUR, {}, '2024-01-01')")),
            ("bin", ("LENGTH({})", "CRC32({})")),
            ("year", ("{} + 0",)),
        ):
            name = self.name(sources, kind)
            if name is not None:
                made.append(self.rng.choice(forms).format(name.sql))
        return made

    def _dec(self, sources: Sequence[Source], depth: int) -> str:
        rng = self.rng
        one, two = self.make("dec", sources, depth), self.make("dec", sources, depth)
        number = self.make("int", sources, depth)
        # Rounded, since a quotient has more digits than its type says until it comes through a temporary table.
        return rng.choice(
            (
                *(f"({one} + {two})", f"({one} - {two})", f"({one} * {rng.choice(('2', '0.5', '1.1'))})"),
                *(f"ROUND({one}, 1)", f"TRUNCATE({one}, 1)", f"ABS({one})", f"(- {one})", f"({one} / 4)"),
                *(
                    f"CAST({number} AS DECIMAL(12,3))",
                    f"({number} / 8)",
                    f"MOD({one}, 7)",
                    f"ROUND({one} / NULLIF({two}, 0), 2)",
                ),
            )
        )

    def _dbl(self, sources: Sequence[Source], depth: int) -> str:
        one = self.make("dbl", sources, depth)
        number = self.make("int", sources, depth)
        return self.rng.choice(
            (
                *(f"({one} + 0.5e0)", f"({one} * 2)", f"ABS({one})", f"CAST({number} AS DOUBLE)", f"POW({one}, 2)"),
                *(f"({number} * 0.25e0)", f"FLOOR({one})", f"SQRT(ABS({one}))"),
            )
        )

    def _str(self, sources: Sequence[Source], depth: int) -> str:
        rng = self.rng
        one = self.column_or_literal("str", sources)
        number, date = self.make("int", sources, depth), self.column_or_literal("date", sources)
        dec = self.column_or_literal("dec", sources)
        choices = [
            *(f"CONCAT({one}, 'x')", f"CONCAT('<', {one}, '>')", f"UPPER({one})", f"LOWER({one})", f"LEFT({one}, 2)"),
            *(f"RIGHT({one}, 2)", f"SUBSTRING({one}, 2)", f"SUBSTRING({one} FROM 1 FOR 3)", f"TRIM({one})"),
            *(f"REPLACE({one}, 'a', 'o')", f"REVERSE({one})", f"LPAD({one}, 5, '.')", f"RPAD({one}, 5, '*')"),
            *(f"REPEAT({one}, 2)", f"HEX({one})", f"MD5({one})", f"QUOTE({one})", f"TO_BASE64({one})"),
            *(f"CONCAT_WS('-', {one}, {number})", f"SUBSTRING_INDEX({one}, ' ', 1)", f"INSERT({one}, 1, 1, 'Q')"),
            *(
                f"CAST({number} AS CHAR)",
                f"CONCAT({number}, '')",
                f"FORMAT({dec}, 1)",
                f"HEX({number})",
                f"BIN({number})",
            ),
            *(f"DATE_FORMAT({date}, '%Y/%m')", f"DAYNAME({date})", f"MONTHNAME({date})", f"CAST({date} AS CHAR)"),
            *(f"ELT({number}, 'one', 'two', 'three')", f"CONV({number}, 10, 16)", f"LTRIM(CONCAT(' ', {one}))"),
            *(f"REGEXP_REPLACE({one}, '[aeiou]', '_')", f"SOUNDEX({one})", "SPACE(2)", f"MID({one}, 1, 2)"),
            f"CONVERT({one} USING utf8mb4)",
        ]
        for kind, forms in (
            ("json", ("JSON_UNQUOTE(JSON_EXTRACT({}, '$.a'))", "JSON_EXTRACT({}, '$.b[0]')", "JSON_TYPE({})")),
            ("enum", ("CONCAT({}, '!')",)),
            ("set", ("CONCAT({}, '!')",)),
            ("bin", ("HEX({})", "TO_BASE64({})")),
            ("time", ("CAST({} AS CHAR)", "TIME_FORMAT({}, '%H:%i')")),
            ("dt", ("DATE_FORMAT({}, '%H:%i:%s')", "CAST({} AS CHAR)")),
        ):
            name = self.name(sources, kind)
            if name is not None:
                choices.append(rng.choice(forms).format(name.sql))
        return rng.choice(choices)

    def _date(self, sources: Sequence[Source], depth: int) -> str:
        one = self.column_or_literal("date", sources)
        dt = self.column_or_literal("dt", sources)
        return self.rng.choice(
            (
                *(f"DATE({dt})", f"LAST_DAY({one})", f"DATE({one}) + INTERVAL 3 DAY", f"CAST({dt} AS DATE)"),
                *(f"DATE_ADD(DATE({one}), INTERVAL 1 MONTH)", f"DATE(DATE_SUB({dt}, INTERVAL 36 HOUR))"),
                "MAKEDATE(2024, 60)",
            )
        )

    def _dt(self, sources: Sequence[Source], depth: int) -> str:
        one = self.column_or_literal("dt", sources)
        date = self.column_or_literal("date", sources)
        return self.rng.choice(
            (
                *(f"TIMESTAMP({date})", f"TIMESTAMP({one}) + INTERVAL 90 MINUTE", f"CAST({one} AS DATETIME)"),
                *(f"TIMESTAMP({date}, '10:00:00')", f"DATE_SUB(TIMESTAMP({one}), INTERVAL 1 YEAR)"),
            )
        )

    # -- conditions

    def condition(self, sources: Sequence[Source], depth: int | None = None, subqueries: bool = True) -> str:
        depth = self.depth if depth is None else depth
        rng = self.rng
        if depth > 0 and rng.random() < 0.3:
            one, two = self.condition(sources, depth - 1, subqueries), self.condition(sources, depth - 1, subqueries)
            if "SELECT" in one + two:  # of `a XOR b NOT IN (SELECT ..)` MariaDB 10.11 gives what its plan makes of it
                return rng.choice((f"({one} AND {two})", f"({one} OR {two})", f"NOT ({two})"))
            return rng.choice(
                (f"({one} AND {two})", f"({one} OR {two})", f"NOT ({one})", f"({one} XOR {two})", f"({one} AND {two})")
            )
        if subqueries and self.subquery is not None and depth > 0 and rng.random() < 0.3:
            return self._with_subquery(sources, depth - 1)
        return self._simple(sources)

    def _simple(self, sources: Sequence[Source]) -> str:
        rng = self.rng
        if rng.random() < 0.3:
            key = self.name(sources, "int")
            if key is not None:
                number = rng.randrange(-6, 34)
                return rng.choice(
                    (
                        *(f"{key.sql} = {number}", f"{key.sql} IN ({number}, {number + 1}, {number + 7})"),
                        *(f"{key.sql} BETWEEN {number} AND {number + 12}", f"{number} <= {key.sql}"),
                        *(f"{key.sql} <> {number}", f"{key.sql} NOT IN ({number}, {number + 3})"),
                        *(f"{key.sql} NOT BETWEEN {number} AND {number + 5}", f"{key.sql} < '{number}'"),
                        *(f"({key.sql} = {number} OR {key.sql} = {number + 4})", f"NOT {key.sql} = {number}"),
                        *(f"{key.sql} > {number} - 3", f"{key.sql} <=> {number}", f"{key.sql} IS NOT NULL"),
                        *(f"({key.sql}, 1) = ({number}, 1)", f"({key.sql}, 2) IN (({number}, 2), (3, 2), (4, 1))"),
                    )
                )
        kind = rng.choice(KINDS)
        one = self.make(kind, sources, 1)
        two = self.make(kind, sources, 1) if rng.random() < 0.3 and kind != "str" else self.literal(kind)
        three = self.literal(kind)
        choices = [
            *(f"{one} {operator} {two}" for operator in ("=", "<>", "!=", "<", "<=", ">", ">=", "<=>")),
            *(f"{one} BETWEEN {two} AND {three}", f"{one} NOT BETWEEN {two} AND {three}", f"{one} IS NULL"),
            *(f"{one} IS NOT NULL", f"{one} IN ({two}, {three})", f"{one} NOT IN ({two}, {three}, NULL)"),
        ]
        if kind == "int":
            choices += [f"({one}) IS TRUE", f"({one}) IS NOT FALSE", f"({one}) IS UNKNOWN", f"{one}", f"!({one})"]
        if kind == "str":
            pattern = rng.choice(("'a%'", "'%a%'", "'_'", "'%\\_%'", "'x|_y'", "''", "'%e'", "'%'"))
            choices += [
                *(f"{one} LIKE {pattern}", f"{one} NOT LIKE {pattern}", f"{one} LIKE {pattern} ESCAPE '|'"),
                *(f"{one} NOT LIKE {pattern} ESCAPE '|'", f"{one} REGEXP '^[a-m]'", f"{one} NOT REGEXP 'a$'"),
                *(f"{one} RLIKE 'e'", f"NOT {one} LIKE {pattern}"),
            ]
        for other in ("enum", "set", "json", "time", "bin", "year", "big"):
            name = self.name(sources, other)
            if name is not None and rng.random() < 0.3:
                choices = {
                    "enum": [f"{name.sql} = 'paid'", f"{name.sql} > 2", f"{name.sql} IN ('new', 'lost')"],
                    "set": [f"FIND_IN_SET('b', {name.sql})", f"{name.sql} = 'b,c'", f"{name.sql} & 1"],
                    "json": [f"JSON_CONTAINS({name.sql}, '1', '$.a')", f"JSON_EXTRACT({name.sql}, '$.a') = 'x'"],
                    "time": [f"{name.sql} > '10:00:00'", f"{name.sql} BETWEEN '-02:00:00' AND '12:00:00'"],
                    "bin": [f"{name.sql} = X'FF10'", f"{name.sql} > 'a'", f"{name.sql} LIKE '%b%'"],
                    "year": [f"{name.sql} > 2005", f"{name.sql} IN (1999, 2024)", f"{name.sql} = '2020'"],
                    "big": [f"{name.sql} = 7", f"{name.sql} > 4294967295", f"{name.sql} = 18446744073709551615"],
                }[other]
                break
        return rng.choice(choices)

    def _with_subquery(self, sources: Sequence[Source], depth: int) -> str:
        assert self.subquery is not None
        rng = self.rng
        inner = self.subquery(sources, depth)
        kind = rng.choice(("int", "int", "dec", "date", "str"))
        value = self.name(inner.names, kind)
        outer = self.name(sources, kind)
        if value is None or outer is None:
            return f"{rng.choice(('EXISTS', 'NOT EXISTS'))} (SELECT * FROM {inner.source}{inner.where})"
        query = f"FROM {inner.source}{inner.where}"
        not_null = f"{query} AND {value.sql} IS NOT NULL" if inner.where else f"{query} WHERE {value.sql} IS NOT NULL"
        choices = [
            f"EXISTS (SELECT 1 {query})",
            f"NOT EXISTS (SELECT {value.sql} {query})",
            f"{outer.sql} >= (SELECT MIN({value.sql}) {query})",
            f"{outer.sql} = (SELECT MAX({value.sql}) {query})",
            f"(SELECT COUNT(*) {query}) > {rng.randrange(4)}",
            f"(SELECT COUNT({value.sql}) {query}) = {rng.randrange(3)}",
        ]
        if kind != "str":  # collations of two columns may not be comparable
            choices += [
                *(f"{outer.sql} IN (SELECT {value.sql} {query})", f"{outer.sql} NOT IN (SELECT {value.sql} {query})"),
                *(
                    f"{outer.sql} NOT IN (SELECT {value.sql} {not_null})",
                    f"{outer.sql} > ALL (SELECT {value.sql} {query})",
                ),
                *(
                    f"{outer.sql} = ANY (SELECT {value.sql} {query})",
                    f"{outer.sql} <= SOME (SELECT {value.sql} {query})",
                ),
                f"{outer.sql} <> ALL (SELECT {value.sql} {query})",
                f"{outer.sql} IN (SELECT {value.sql} {query} GROUP BY {value.sql} HAVING COUNT(*) > 1)",
                f"({outer.sql}, 1) IN (SELECT {value.sql}, 1 {query})",
                f"{outer.sql} IN (SELECT DISTINCT {value.sql} {query} UNION SELECT 7)",
            ]
        return rng.choice(choices)


def names_of(table: Table, alias: str) -> Source:
    """A table in FROM under an alias (or its own name)."""
    names = [_name(alias, column) for column in table.columns]
    return Source(names, [f"{alias}.{column}" for column in table.key], table, alias)


def _name(alias: str, column: Column) -> Name:
    return Name(f"{alias}.{column.name}", column.kind, column.values, column.nullable)
