"""What the names in a query block can refer to, and a block in the making."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from parser.conditions import ColumnName
from parser.statement import Block, Bound, ColumnEquality, Pin, Value


@dataclass(slots=True)
class Item:
    """One thing in a FROM: `table` is its index in the statement's tables, None for a derived table or CTE."""

    alias: str  # lower case
    name: str
    database: str | None
    aliased: bool
    table: int | None


@dataclass(slots=True)
class Scope:
    """The names that columns can refer to: a block's FROM, then those of the blocks around it."""

    block: int
    items: list[Item] = field(default_factory=list)
    parent: Scope | None = None
    merged: dict[str, Item | None] = field(default_factory=dict)  # columns of USING: whose they are
    natural: bool = False


@dataclass(slots=True)
class Join:
    condition: exp.Expression | None
    using: list[str]
    left: list[Item]
    right: list[Item]
    side: str


@dataclass(slots=True)
class Building:
    """A Block in the making."""

    index: int
    parent: int | None
    set_operation: bool
    pins: list[Pin] = field(default_factory=list)
    equalities: list[ColumnEquality] = field(default_factory=list)
    unresolved: list[tuple[str, tuple[Value, ...]]] = field(default_factory=list)
    unresolved_equalities: list[tuple[int | None, str, int | None, str]] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    in_database: list[tuple[int | None, str]] = field(default_factory=list)
    either: list[tuple[tuple[Bound, ...], ...]] = field(default_factory=list)
    members: list[tuple[int | None, str, exp.Expression]] = field(default_factory=list)
    joins: list[Join] = field(default_factory=list)
    nullable: set[int] = field(default_factory=set)
    flags: dict[str, bool] = field(default_factory=dict)
    computed: frozenset[str] | None = None
    around: int | None = None

    def done(self, index_of: Mapping[int, int]) -> Block:
        """`index_of`: a block's index by the id of its node."""
        members = ((table, column, index_of.get(id(query))) for table, column, query in self.members)
        return Block(
            self.index,
            self.parent,
            tuple(self.pins),
            tuple(self.equalities),
            tuple(self.unresolved),
            tuple(self.unresolved_equalities),
            tuple(self.bounds),
            tuple(self.in_database),
            nullable=tuple(sorted(self.nullable)),
            set_operation=self.set_operation,
            computed=self.computed,
            around=self.around,
            either=tuple(self.either),
            members=tuple((table, column, block) for table, column, block in members if block is not None),
            **self.flags,
        )


def find(column: ColumnName, scope: Scope) -> tuple[Item, bool] | None:
    """What a column belongs to, and whether that is in this very block. None where it cannot be told."""
    if column.table is None:
        return _find_unqualified(column.column, scope)
    own = True
    at: Scope | None = scope
    qualifier = column.table.lower()
    while at is not None:
        named = [item for item in at.items if item.alias == qualifier]
        if named:
            found = named if column.database is None else [item for item in named if _is_meant(item, column.database)]
            return (found[0], own) if len(found) == 1 else None
        own = False
        at = at.parent
    return None


def _find_unqualified(column: str, scope: Scope) -> tuple[Item, bool] | None:
    if scope.natural:
        return None
    if column in scope.merged:
        item = scope.merged[column]
        return None if item is None else (item, True)
    if len(scope.items) == 1 and scope.parent is None:
        return scope.items[0], True
    return None


def _is_meant(item: Item, database: str) -> bool:
    """By a name with this database in front."""
    return not item.aliased and item.database is not None and item.database.lower() == database.lower()
