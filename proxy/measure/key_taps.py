"""Which keys a statement asks for: by which columns, and where in it their values stand. Pure, once per shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from parser.statement import Access, Effect, Hole, Kind, Param, Statement, Value

MAX_COLUMNS = 3  # of one candidate key
_WRITES = frozenset({Kind.INSERT, Kind.REPLACE, Kind.UPDATE, Kind.DELETE})
_NOT_CACHEABLE = (
    Effect.LOCKS_ROWS
    | Effect.NONDETERMINISTIC
    | Effect.UNKNOWN_FUNCTION
    | Effect.READS_USER_VARIABLE
    | Effect.SETS_USER_VARIABLE
    | Effect.READS_SYSTEM_VARIABLE
    | Effect.CALC_FOUND_ROWS
    | Effect.USES_FOUND_ROWS
)
Place = Hole | Param
ColumnsOf = Callable[[str | None, str], tuple[str, ...] | None]  # (database, table) -> its columns, where known


@dataclass(frozen=True, slots=True)
class Read:
    """A read of the rows of `table` that have these values in `columns`: the first of each, where there are several."""

    table: str
    columns: tuple[str, ...]
    places: tuple[Place, ...]
    cacheable: bool


@dataclass(frozen=True, slots=True)
class Write:
    """A write to `table`, of rows with these values, as far as it says. `inserts`: rows that nobody can have read."""

    table: str
    places: dict[str, Place] = field(default_factory=dict)
    inserts: bool = False


def keys_of(statement: Statement, database: str | None, columns_of: ColumnsOf) -> tuple[list[Read], list[Write]]:
    """What a statement asks for. Tables are `database.table` as far as that is known."""
    statement = statement.inner or statement
    names = [_full_name(table.database or database, table.name) for table in statement.tables]
    if statement.kind in _WRITES:
        return [], _writes(statement, database, names, columns_of)
    if statement.kind is not Kind.SELECT:
        return [], []
    alone = len(names) == 1 and not statement.effects.meets(_NOT_CACHEABLE)
    reads = []
    for table, pinned in _pinned(statement).items():
        several = any(len(values) > 1 for values in pinned.values())
        places = {column: place for column, values in pinned.items() if (place := _place(values)) is not None}
        columns = sorted(places)
        if 1 < len(columns) <= MAX_COLUMNS:
            every = tuple(places[column] for column in columns)
            reads.append(Read(names[table], tuple(columns), every, alone and not several))
        for column in columns[:MAX_COLUMNS]:
            reads.append(Read(names[table], (column,), (places[column],), alone and not several))
    return reads, []


def _writes(statement: Statement, database: str | None, names: list[str], columns_of: ColumnsOf) -> list[Write]:
    insert = statement.insert
    if insert is not None:
        table = statement.tables[insert.table]
        columns = insert.columns or columns_of(table.database or database, table.name)
        if columns is None or not insert.rows:
            return [Write(names[insert.table], {}, statement.kind is Kind.INSERT and not insert.from_select)]
        first = dict(zip(columns, insert.rows[0]))
        places = {name: place for name, value in first.items() if (place := _place((value,))) is not None}
        return [Write(names[insert.table], places, statement.kind is Kind.INSERT and not insert.on_duplicate)]
    pinned = _pinned(statement)
    found = []
    for table in statement.tables:
        if table.access is Access.WRITE:
            values = pinned.get(table.index, {}).items()
            places = {
                column: place for column, each in values if len(each) == 1 and (place := _place(each)) is not None
            }
            found.append(Write(names[table.index], places))
    return found


def _pinned(statement: Statement) -> dict[int, dict[str, tuple[Value, ...]]]:
    """By table and column: the fewest values that it is pinned to."""
    found: dict[int, dict[str, tuple[Value, ...]]] = {}
    for block in statement.blocks:
        for pin in block.pins:
            columns = found.setdefault(pin.table, {})
            known = columns.get(pin.column)
            if known is None or len(pin.values) < len(known):
                columns[pin.column] = pin.values
    return found


def _place(values: tuple[Value, ...]) -> Place | None:
    first = values[0] if values else None
    return first if isinstance(first, Hole | Param) else None


def _full_name(database: str | None, name: str) -> str:
    return f"{database}.{name}" if database else name
