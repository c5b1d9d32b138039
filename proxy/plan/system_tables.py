"""information_schema's tables that tell of databases: what their rows are about, and how those of several clusters
become one.

A table of a routed database has one cluster that *speaks* for it: where it is, of a sharded one the first of its
clusters, of one that is everywhere home. Rows about it are that cluster's, but that what counts rows and bytes is added
up over a sharded table's clusters. Everything else about a database is told by its home.

Sources: MariaDB Knowledge Base, "Information Schema Tables"; MySQL 8.4 Reference Manual, 28.3.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from parser.members import quick
from proxy.plan.places import home_of, table_clusters
from proxy.rules.model import Database, Rules, Table

INFORMATION_SCHEMA = "information_schema"


@quick
class Total(enum.Enum):
    """How one column of a sharded table's rows becomes that of the whole."""

    SUM = "sum"
    MAX = "max"
    MEAN = "mean"  # of the length of rows: bytes by rows, as InnoDB has it
    KEYS = "keys"  # different keys: a sum where the shard key is part of the key so far, else at least the largest


@dataclass(frozen=True, slots=True)
class SystemTable:
    """`schemas`: the columns that all name the database, `table` the one that names the table ("": the rows are about
    the database). `identity`: the columns besides these by which rows of several clusters are about the same thing.
    All names are in upper case."""

    name: str
    schemas: tuple[str, ...]
    table: str = ""
    totals: Mapping[str, Total] | None = None
    identity: tuple[str, ...] = ()

    @property
    def schema(self) -> str:
        return self.schemas[0]

    @property
    def keys(self) -> frozenset[str]:
        """The columns that say what a row is about, in lower case."""
        names = (*self.schemas, self.table) if self.table else self.schemas
        return frozenset(name.lower() for name in names)

    @property
    def for_totals(self) -> tuple[str, ...]:
        """What has to be known of a row to add it to others."""
        totals = self.totals or {}
        parts = ("TABLE_ROWS", "DATA_LENGTH") if Total.MEAN in totals.values() else ()
        more = ("COLUMN_NAME",) if Total.KEYS in totals.values() else ()
        return (self.schema, self.table, *self.identity, *totals, *parts, *more)


_SIZES = {
    "TABLE_ROWS": Total.SUM,
    "AVG_ROW_LENGTH": Total.MEAN,
    "DATA_LENGTH": Total.SUM,
    "MAX_DATA_LENGTH": Total.SUM,
    "INDEX_LENGTH": Total.SUM,
    "DATA_FREE": Total.SUM,
    "UPDATE_TIME": Total.MAX,
    "CHECK_TIME": Total.MAX,
}
_OF_TABLE = ("TABLE_SCHEMA",)
_OF_CONSTRAINT = ("TABLE_SCHEMA", "CONSTRAINT_SCHEMA")

SYSTEM_TABLES = {
    each.name: each
    for each in (
        SystemTable("TABLES", _OF_TABLE, "TABLE_NAME", {**_SIZES, "AUTO_INCREMENT": Total.MAX}),
        SystemTable(
            "PARTITIONS",
            _OF_TABLE,
            "TABLE_NAME",
            _SIZES,
            ("PARTITION_ORDINAL_POSITION", "SUBPARTITION_ORDINAL_POSITION"),
        ),
        SystemTable(
            "STATISTICS",
            ("TABLE_SCHEMA", "INDEX_SCHEMA"),
            "TABLE_NAME",
            {"CARDINALITY": Total.KEYS},
            ("INDEX_NAME", "SEQ_IN_INDEX"),
        ),
        SystemTable("COLUMNS", _OF_TABLE, "TABLE_NAME"),
        SystemTable("KEY_COLUMN_USAGE", _OF_CONSTRAINT, "TABLE_NAME"),
        SystemTable("TABLE_CONSTRAINTS", _OF_CONSTRAINT, "TABLE_NAME"),
        SystemTable("REFERENTIAL_CONSTRAINTS", ("CONSTRAINT_SCHEMA",), "TABLE_NAME"),
        SystemTable("CHECK_CONSTRAINTS", ("CONSTRAINT_SCHEMA",), "TABLE_NAME"),
        SystemTable("VIEWS", _OF_TABLE, "TABLE_NAME"),
        SystemTable("TRIGGERS", ("EVENT_OBJECT_SCHEMA", "TRIGGER_SCHEMA"), "EVENT_OBJECT_TABLE"),
        SystemTable("TABLE_PRIVILEGES", _OF_TABLE, "TABLE_NAME"),
        SystemTable("COLUMN_PRIVILEGES", _OF_TABLE, "TABLE_NAME"),
        SystemTable("SCHEMATA", ("SCHEMA_NAME",)),
        SystemTable("SCHEMA_PRIVILEGES", _OF_TABLE),
        SystemTable("ROUTINES", ("ROUTINE_SCHEMA",)),
        SystemTable("PARAMETERS", ("SPECIFIC_SCHEMA",)),
        SystemTable("EVENTS", ("EVENT_SCHEMA",)),
    )
}


def system_table(database: str | None, name: str) -> SystemTable | None:
    """The table of information_schema that is meant, if it is one that tells of databases."""
    if database is None or database.lower() != INFORMATION_SCHEMA:
        return None
    return SYSTEM_TABLES.get(name.upper())


def speaker(rules: Rules, entry: Table) -> str:
    """The cluster whose rows about a table count."""
    return table_clusters(rules, entry)[0]


def speaker_of(rules: Rules, database: str, table: str) -> str:
    """The same for any table of any database, with an entry or without one."""
    entry = rules.table(database, table)
    return home_of(rules, database) if entry is None else speaker(rules, entry)


def is_spread(entry: Table) -> bool:
    """Are its rows on several clusters, so that sizes are added up?"""
    return entry.sharding is not None and len(set(entry.sharding.clusters)) > 1


def database_clusters(rules: Rules, database: Database) -> tuple[str, ...]:
    """The clusters that have a say about a database's tables, home first."""
    return tuple(dict.fromkeys([database.home, *(c for t in database.tables.values() for c in _telling(rules, t))]))


def _telling(rules: Rules, entry: Table) -> Iterable[str]:
    return table_clusters(rules, entry) if is_spread(entry) else (speaker(rules, entry),)


Cell = bytes | None


def total(
    rows: list[dict[str, Cell]], spoken: int, kinds: Mapping[str, Total], *, by_key: bool = False
) -> dict[str, Cell]:
    """One row for those of a sharded table's clusters. `spoken`: which of them its speaker gave; `by_key`: the shard
    key is among the columns of the key up to here."""
    made = dict(rows[spoken])
    for column, kind in kinds.items():
        known = [value for row in rows if (value := row.get(column)) is not None]
        if kind is Total.MEAN or not known:
            continue
        if column.endswith("TIME"):
            made[column] = max(known)
        elif kind is Total.SUM or (kind is Total.KEYS and by_key):
            made[column] = b"%d" % sum(map(int, known))
        else:
            made[column] = b"%d" % max(map(int, known))
    if made.get("AVG_ROW_LENGTH") is not None:
        count = int(made.get("TABLE_ROWS") or made.get("ROWS") or 0)
        made["AVG_ROW_LENGTH"] = b"%d" % (int(made["DATA_LENGTH"] or 0) // count if count else 0)
    return made
