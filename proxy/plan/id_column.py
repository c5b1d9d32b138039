"""The AUTO_INCREMENT column of a sharded table in an INSERT: which rows leave it to Turnout, and what the others give.

A server takes NULL, DEFAULT, no value, and 0 (unless sql_mode has NO_AUTO_VALUE_ON_ZERO) as "make one up". Turnout does
that from a sequence on home (`proxy.front.sequences`), because every shard would count for itself.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

from parser.fill import fill, fill_parts
from parser.rewrite import quoted
from parser.shape import Lexer
from parser.statement import Hole, Insert, Opaque, Param, Statement, Value, Word
from proxy.back.catalog import Catalog, TableSchema
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.insert_values import column_values, insert_columns
from proxy.plan.places import table_clusters
from proxy.plan.plan import KeyValue, Unknown, ValueOf
from proxy.plan.shard_routes import constant
from proxy.plan.sharding import key_schema
from proxy.rules.model import Rules

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,19}")


@dataclass(frozen=True, slots=True)
class SequenceOf:
    """Whose values a sequence gives, and where they are. `name` is its key on home."""

    home: str
    clusters: tuple[str, ...]
    database: str
    table: str
    column: str

    @property
    def name(self) -> str:
        return f"{self.database}.{self.table}".lower()

    def unavailable(self, why: str, advice: str) -> StatementRefused:
        table = f"{self.database}.{self.table}"
        return refusals.NO_SEQUENCE.error(column=self.column, table=table, home=self.home, why=why, advice=advice)


@dataclass(frozen=True, slots=True)
class IdColumn:
    """The column in one INSERT. `position` is its place among the statement's columns, None where it is not there."""

    sequence: SequenceOf
    label: str  # the table's name for people
    values: tuple[Value, ...]  # row by row; DEFAULT for none
    position: int | None

    @property
    def column(self) -> str:
        return self.sequence.column

    @property
    def always(self) -> bool:
        """Is every row's value left to Turnout, whatever literals and parameters there are?"""
        return all(value in (Word.NULL, Word.DEFAULT) for value in self.values)

    def given(self, value_of: ValueOf, zero_is_a_value: bool) -> list[int | None]:
        """The ids that the rows give, None for those that Turnout has to make. Raises StatementRefused."""
        found: list[int | None] = []
        for value in self.values:
            if value is Word.DEFAULT:
                found.append(None)
                continue
            number = _number(constant(value, value_of))
            if isinstance(number, Unknown):
                raise refusals.AUTO_INCREMENT.error(table=self.label, column=self.column)
            found.append(None if number == 0 and not zero_is_a_value else number)
        return found

    def filled(self, statement: Statement, text: bytes, values: Sequence[bytes | None]) -> bytes:
        """The INSERT with these values (SQL text, None: as it is) in the column. Raises StatementRefused."""
        if all(value is None for value in values):
            return text
        lexer = self._lexer(statement)
        return fill(statement, *lexer.shape(text), self._written(lexer.charset), self.position, values)

    def filled_parts(
        self, statement: Statement, text: bytes, values: Sequence[bytes | None]
    ) -> tuple[bytes, list[bytes], bytes]:
        """The same, taken apart: before the rows, each row, behind them."""
        lexer = self._lexer(statement)
        return fill_parts(statement, *lexer.shape(text), self._written(lexer.charset), self.position, values)

    def _lexer(self, statement: Statement) -> Lexer:
        if statement.insert is None or statement.lexer is None:  # EXPLAIN and SET STATEMENT are around it
            raise refusals.AUTO_INCREMENT.error(table=self.label, column=self.column)
        return statement.lexer

    def _written(self, charset: str) -> bytes:
        if not self.column.isascii() and not charset.startswith("utf8"):
            raise refusals.AUTO_INCREMENT.error(table=self.label, column=self.column)
        return quoted(self.column).encode()


def sequence_homes(rules: Rules, catalog: Catalog) -> tuple[str, ...]:
    """The clusters that have to keep a sequence."""
    homes: dict[str, None] = {}
    for database in rules.databases.values():
        for entry in database.tables.values():
            if entry.sharding is not None and len(table_clusters(rules, entry)) > 1:
                schema = key_schema(entry, catalog)
                if schema is not None and any(column.auto_increment for column in schema.columns):
                    homes[database.home] = None
    return tuple(homes)


def sequence_by_label(rules: Rules, catalog: Catalog, label: str) -> SequenceOf | None:
    """The sequence of a table (`database.table`) whose rows are on several shards; None where it needs none."""
    database, _, name = label.partition(".")
    entry = rules.table(database, name)
    if entry is None or entry.sharding is None or len(table_clusters(rules, entry)) == 1:
        return None
    schema = key_schema(entry, catalog)
    column = next((column.name for column in schema.columns if column.auto_increment), None) if schema else None
    if column is None:
        return None
    return SequenceOf(rules.home(database), table_clusters(rules, entry), entry.database, entry.name, column)


def _number(value: KeyValue) -> int | Unknown | None:
    """The number that an AUTO_INCREMENT column stores of a value; None for NULL."""
    if isinstance(value, str):
        return int(value) if _INTEGER.fullmatch(value) else Unknown.UNKNOWN
    return Unknown.UNKNOWN if isinstance(value, datetime.date) else value


def id_column(insert: Insert, schema: TableSchema, sequence: SequenceOf | None, label: str) -> IdColumn | None:
    """None where the table has no such column. Raises StatementRefused where a row gives it an expression."""
    if sequence is None:
        return None
    columns = insert_columns(insert, schema)
    values = column_values(insert, columns, sequence.column)
    position = columns.index(sequence.column) if sequence.column in columns else None
    if values is None:
        if insert.columns is None:  # an invisible column and no list to name it in
            raise refusals.AUTO_INCREMENT.error(table=label, column=sequence.column)
        values = (Word.DEFAULT,) * len(insert.rows)
    if any(isinstance(value, Opaque) or not isinstance(value, (Hole, Param, Word)) for value in values):
        raise refusals.AUTO_INCREMENT.error(table=label, column=sequence.column)
    return IdColumn(sequence, label, values, position)
