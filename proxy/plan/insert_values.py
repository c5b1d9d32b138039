"""What an INSERT says about single columns: their values row by row, and whether the server will make up an id."""

from __future__ import annotations

import re

from parser.statement import Hole, Insert, Kind, Param, Statement, Value, Word
from proxy.back.catalog import TableSchema
from proxy.plan import refusals
from proxy.plan.plan import KeyValue

_NON_ZERO = re.compile(r"-?[1-9][0-9]*")


def insert_columns(insert: Insert, schema: TableSchema) -> tuple[str, ...]:
    """The columns that the values of a row belong to, in order."""
    if insert.columns is not None:
        return insert.columns
    return tuple(column.name for column in schema.columns if not column.invisible)


def check_counts(insert: Insert, columns: tuple[str, ...]) -> None:
    """Raises the server's own error where a row has more or fewer values than there are columns.

    `INSERT INTO t VALUES ()`, without columns and values, is a row of defaults.
    """
    for number, row in enumerate(insert.rows, 1):
        if len(row) != len(columns) and (row or insert.columns):
            raise refusals.COLUMN_COUNT.error(row=str(number))


def column_values(insert: Insert, columns: tuple[str, ...], column: str) -> tuple[Value, ...] | None:
    """The values of one column, row by row; None where no row gives it any. DEFAULT stands for a missing one."""
    if column not in columns:
        return None
    position = columns.index(column)
    return tuple(row[position] if position < len(row) else Word.DEFAULT for row in insert.rows)


def is_explicit_id(value: KeyValue) -> bool:
    """Is this certainly a value that an AUTO_INCREMENT column keeps (neither NULL nor 0)?"""
    if isinstance(value, str):
        return _NON_ZERO.fullmatch(value) is not None
    return isinstance(value, int) and value != 0


def generated_id(statement: Statement, schema: TableSchema | None) -> tuple[bool | None, tuple[Value, ...]]:
    """(`Plan.generated_id`, `Plan.explicit_ids`) of an INSERT or REPLACE into a table with this schema.

    True where every row leaves the AUTO_INCREMENT column to the server, False where the table has none. Literals and
    bound values are known statement by statement only.
    """
    insert = statement.insert
    if insert is None or schema is None or schema.is_view:
        return None, ()
    automatic = next((column.name for column in schema.columns if column.auto_increment), None)
    if automatic is None:
        # LAST_INSERT_ID(expr) in ON DUPLICATE KEY UPDATE is an effect of its own (SETS_LAST_INSERT_ID).
        return False, ()
    if insert.from_select or insert.ignore or insert.on_duplicate or statement.kind is Kind.REPLACE:
        return None, ()
    values = column_values(insert, insert_columns(insert, schema), automatic)
    if values is None or all(value in (Word.NULL, Word.DEFAULT) for value in values):
        return True, ()
    if all(isinstance(value, (Hole, Param)) for value in values):
        return None, () if schema.has_triggers else values  # which may give another id
    if all(value is Word.TRUE for value in values):
        return False, ()
    return None, ()
