"""What the servers' schemas look like, as far as routing needs it: frozen values (see `proxy.back.catalog_loader`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.back.directory import Directory


@dataclass(frozen=True, slots=True)
class Column:
    """One column; names lower case, `data_type` as in information_schema.COLUMNS.DATA_TYPE (int, varchar, ..)."""

    name: str
    data_type: str
    unsigned: bool = False
    charset: str | None = None
    collation: str | None = None
    nullable: bool = True
    auto_increment: bool = False
    generated: bool = False
    length: int | None = None  # characters, for string types
    fraction: int = 0  # digits of a second's, for types with a time of day
    zerofill: bool = False
    invisible: bool = False  # not among the columns of INSERT INTO t VALUES (..)
    server_default: bool = False  # its default is an expression: the time, a UUID, a sequence's next value ..
    on_update: bool = False  # ON UPDATE CURRENT_TIMESTAMP
    volatile: bool = False  # generated when it is read, and not from the row alone (the time, the account, ..)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Tables are (database, table) as the server names them, columns lower case and in pairs, actions as in the text of
    DDL, lower case (`cascade`, `no action`, ..)."""

    name: str
    child: tuple[str, str]
    columns: tuple[str, ...]
    parent: tuple[str, str]
    referenced: tuple[str, ...]
    on_delete: str
    on_update: str


@dataclass(frozen=True, slots=True)
class TableSchema:
    database: str
    name: str
    columns: tuple[Column, ...]
    types: tuple[str, ...] = ()  # of the columns, as in information_schema.COLUMNS.COLUMN_TYPE: varchar(20), ..
    is_view: bool = False
    view_definition: str = ""
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()  # the primary key is one of them
    has_triggers: bool = False
    triggers: frozenset[str] = frozenset()  # their names, lower case
    engine: str = ""  # as in information_schema.TABLES.ENGINE; empty for views
    is_base: bool = True  # an ordinary table: no view, no sequence, not system-versioned
    cascades: tuple[tuple[str, str], ...] = ()  # (database, table) whose rows change with this one's by foreign keys
    referenced: tuple[str, ...] | None = None  # lower-case columns that foreign keys refer to; None: not known
    # Of this table; and those that lead to it from tables of databases that are not asked about.
    foreign_keys: tuple[ForeignKey, ...] = ()
    follows: tuple[tuple[str, str], ...] = ()  # (database, table) whose `cascades`, and theirs, lead here
    triggers_leave_state: bool = False  # they may set user or system variables, which stay after the statement

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Schemas by (cluster, database, table), names as the server gives them, folded to lower case.

    A table that is not in `tables` is unknown, not absent: the planner must stay right without it.
    """

    tables: Mapping[tuple[str, str, str], TableSchema] = field(default_factory=dict)
    generation: int = 0  # a different number for every different content; part of the plan cache's key
    directories: Mapping[str, Directory] = field(default_factory=dict)  # by sharding; empty: none can be asked

    def find(self, cluster: str, database: str | None, name: str) -> TableSchema | None:
        return self.tables.get((cluster, (database or "").lower(), name.lower()))


EMPTY = Catalog()
