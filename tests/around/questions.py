"""SELECTs from information_schema at random, over joins, outer joins, subqueries and conditions of many forms."""

from __future__ import annotations

import random

_COLUMNS = {
    "TABLES": ("TABLE_SCHEMA", "TABLE_NAME", ("TABLE_TYPE", "ENGINE", "TABLE_COLLATION", "TABLE_COMMENT")),
    "COLUMNS": ("TABLE_SCHEMA", "TABLE_NAME", ("COLUMN_NAME", "ORDINAL_POSITION", "DATA_TYPE", "NUMERIC_PRECISION")),
    "STATISTICS": ("TABLE_SCHEMA", "TABLE_NAME", ("INDEX_NAME", "SEQ_IN_INDEX", "COLUMN_NAME", "NON_UNIQUE")),
    "KEY_COLUMN_USAGE": ("TABLE_SCHEMA", "TABLE_NAME", ("CONSTRAINT_NAME", "COLUMN_NAME", "REFERENCED_TABLE_NAME")),
    "TABLE_CONSTRAINTS": ("TABLE_SCHEMA", "TABLE_NAME", ("CONSTRAINT_NAME", "CONSTRAINT_TYPE")),
    "REFERENTIAL_CONSTRAINTS": ("CONSTRAINT_SCHEMA", "TABLE_NAME", ("CONSTRAINT_NAME", "DELETE_RULE")),
    "CHECK_CONSTRAINTS": ("CONSTRAINT_SCHEMA", "TABLE_NAME", ("CONSTRAINT_NAME", "CHECK_CLAUSE")),
    "VIEWS": ("TABLE_SCHEMA", "TABLE_NAME", ("CHECK_OPTION", "IS_UPDATABLE")),
    "TRIGGERS": ("EVENT_OBJECT_SCHEMA", "EVENT_OBJECT_TABLE", ("TRIGGER_NAME", "ACTION_TIMING")),
    "SCHEMATA": ("SCHEMA_NAME", "", ("DEFAULT_CHARACTER_SET_NAME",)),
    "ROUTINES": ("ROUTINE_SCHEMA", "", ("ROUTINE_NAME", "ROUTINE_TYPE")),
}
_NAMES = (
    "customers",
    "orders",
    "photos",
    "Albums",
    "places",
    "countries",
    "accounts",
    "a-b",
    "ghost",
    "stray",
    "visits",
)
_SCHEMAS = ("shop", "shop", "shop", "stats", "nothing")
_OURS = "('shop', 'stats')"


class Questions:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def make(self) -> str:
        if self._rng.random() < 0.15:
            one, other = self._select(0), self._select(0)
            return f"{one} {self._rng.choice(('UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT'))} {other}"
        return self._select(self._rng.choice((0, 0, 1, 1, 2)))

    def _select(self, joins: int) -> str:
        rng = self._rng
        tables = [rng.choice(sorted(_COLUMNS)) for _ in range(joins + 1)]
        aliases = [f"t{n}" for n in range(len(tables))]
        source = f"information_schema.{tables[0]} {aliases[0]}"
        for n in range(1, len(tables)):
            kind = rng.choice(("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "CROSS JOIN"))
            joined = f"information_schema.{tables[n]} AS {aliases[n]}"
            on = "" if kind == "CROSS JOIN" else f" ON {self._on(tables, aliases, n)}"
            source += f" {kind} {joined}{on}"
        shown = ", ".join(f"{a}.{rng.choice((*_COLUMNS[t][2], _COLUMNS[t][0]))}" for t, a in zip(tables, aliases))
        if joins == 0:
            shown = ", ".join(dict.fromkeys((shown, f"{aliases[0]}.{_COLUMNS[tables[0]][0]}")))
            shown = rng.choice((shown, "COUNT(*), MAX(" + shown.partition(",")[0] + ")"))
        # Which databases and system tables there are besides is no matter of ours.
        where = [
            f"{a}.{_COLUMNS[t][0]} IN {_OURS}" if rng.random() < 0.5 else self._in(t, a)
            for t, a in zip(tables, aliases)
        ]
        where = [
            f"({condition} OR {alias}.{_COLUMNS[table][0]} IS NULL)" if joins and rng.random() < 0.3 else condition
            for condition, table, alias in zip(where, tables, aliases)
        ]
        where += [self._condition(tables, aliases) for _ in range(rng.randrange(3))]
        return f"SELECT {rng.choice(('', '', 'DISTINCT '))}{shown} FROM {source} WHERE {' AND '.join(where)}"

    def _on(self, tables: list[str], aliases: list[str], n: int) -> str:
        rng = self._rng
        other = rng.randrange(n)
        mine, theirs = _COLUMNS[tables[n]], _COLUMNS[tables[other]]
        parts = [f"{aliases[n]}.{mine[0]} = {aliases[other]}.{theirs[0]}"]
        if mine[1] and theirs[1] and rng.random() < 0.8:
            parts.append(f"{aliases[other]}.{theirs[1]} = {aliases[n]}.{mine[1]}")
        if rng.random() < 0.3:
            parts.append(self._condition(tables[: n + 1], aliases[: n + 1]))
        rng.shuffle(parts)
        return " AND ".join(parts)

    def _in(self, table: str, alias: str) -> str:
        column = f"{alias}.{_COLUMNS[table][0]}"
        name = self._rng.choice(_SCHEMAS)
        return self._rng.choice(
            (
                f"{column} = '{name}'",
                f"'{name}' = {column}",
                f"{column} = DATABASE()",
                f"{column} IN ('{name}', 'stats')",
                f"({column} = 'stats' OR {column} = '{name}')",
                f"{column} = (SELECT '{name}')",
                f"{column} LIKE 's%p'",
            )
        )

    def _condition(self, tables: list[str], aliases: list[str]) -> str:
        rng = self._rng
        at = rng.randrange(len(tables))
        schema, named, others = _COLUMNS[tables[at]]
        column = f"{aliases[at]}.{named or schema}"
        name, second = rng.choice(_NAMES), rng.choice(_NAMES)
        forms = [
            f"{column} = '{name}'",
            f"{column} = '{name}'",
            f"{column} <=> '{name}'",
            f"{column} IN ('{name}', '{second}')",
            f"({column} = '{name}' OR {column} = '{second}')",
            f"({column} = '{name}' OR {aliases[at]}.{others[0]} = 'x')",
            f"NOT {column} = '{name}'",
            f"{column} LIKE '%o%'",
            f"{column} > 'c'",
            f"{aliases[at]}.{others[0]} IS NOT NULL",
            f"{column} IN (SELECT s.TABLE_NAME FROM information_schema.TABLES s WHERE s.TABLE_SCHEMA ="
            f" '{rng.choice(_SCHEMAS)}' AND s.TABLE_NAME <> '{name}')",
            f"EXISTS (SELECT * FROM information_schema.COLUMNS s WHERE s.TABLE_NAME = {column} AND s.TABLE_SCHEMA ="
            f" {aliases[at]}.{schema} AND s.ORDINAL_POSITION = 2)",
            f"({schema if len(tables) == 1 else aliases[at] + '.' + schema}, {column}) IN (('shop', '{name}'),"
            " ('stats', 'visits'))",
        ]
        return rng.choice(forms)
