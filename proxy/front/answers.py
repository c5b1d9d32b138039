"""Answers that the proxy gives from what it knows of the session: ids, counts, warnings.

Column types are those of MariaDB 10.11 (MySQL 8 gives the same types with other display lengths).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from proxy.errors import StatementRefused
from proxy.wire import column
from proxy.wire.charsets import BINARY
from proxy.wire.lenenc import write_bytes
from proxy.wire.resultset import (
    ColumnDefinition,
    ResultsetReader,
    encode_resultset,
    frame_resultset,
    int_column,
    text_column,
)


def number_column(
    name: str, *, unsigned: bool, length: int = 21, kind: int = column.LONGLONG, nullable: bool = False
) -> ColumnDefinition:
    """A column of whole numbers that no table holds."""
    flags = column.BINARY_FLAG | (column.UNSIGNED_FLAG if unsigned else 0) | (0 if nullable else column.NOT_NULL_FLAG)
    return ColumnDefinition(b"def", b"", b"", b"", name.encode(), b"", BINARY, length, kind, flags, 0)


_LAST_INSERT_ID = frozenset({"last_insert_id()", "@@last_insert_id", "@@identity", "@@session.last_insert_id"})


def session_columns(items: Sequence[str], names: Sequence[str]) -> list[ColumnDefinition]:
    """The columns of `SELECT LAST_INSERT_ID(), ..`. Raises StatementRefused for an item that is not known."""
    columns: list[ColumnDefinition] = []
    for item, name in zip(items, names):
        if item in _LAST_INSERT_ID:
            columns.append(number_column(name, unsigned=True, nullable=item.startswith("@@")))
        elif item in ("found_rows()", "row_count()"):
            columns.append(number_column(name, unsigned=False))
        elif item == "connection_id()":
            columns.append(number_column(name, unsigned=True, length=10, kind=column.LONG))
        else:
            raise StatementRefused(f"{item} is not a value that the proxy knows", reason="unknown-session-value")
    return columns


def session_row(
    items: Sequence[str], *, last_insert_id: int, found_rows: int | None, row_count: int, connection_id: int
) -> list[int]:
    """The values for `session_columns`. Raises StatementRefused when one is not known."""
    row: list[int] = []
    for item in items:
        if item in _LAST_INSERT_ID:
            row.append(last_insert_id)
        elif item == "row_count()":
            row.append(row_count)
        elif item == "connection_id()":
            row.append(connection_id)
        elif found_rows is None:
            raise StatementRefused(
                "FOUND_ROWS() after a LIMIT with OFFSET, or of a cursor, is only known with SQL_CALC_FOUND_ROWS",
                reason="found-rows-unknown",
            )
        else:
            row.append(found_rows)
    return row


def response(
    columns: Sequence[ColumnDefinition], rows: Iterable[Sequence[bytes | None]], status: int, *, binary: bool
) -> bytes:
    """A result set in the text or in the binary protocol; values are given as text in both cases."""
    if not binary:
        return encode_resultset(columns, rows, status)
    return frame_resultset(columns, [_binary_row(columns, row) for row in rows], status, 0)


def _binary_row(columns: Sequence[ColumnDefinition], row: Sequence[bytes | None]) -> bytes:
    nulls = bytearray((len(columns) + 9) // 8)
    values = []
    for index, (definition, value) in enumerate(zip(columns, row)):
        if value is None:
            nulls[(index + 2) >> 3] |= 1 << (index + 2 & 7)
        elif definition.type == column.LONGLONG:
            values.append((int(value) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little"))
        elif definition.type == column.LONG:
            values.append((int(value) & 0xFFFFFFFF).to_bytes(4, "little"))
        else:
            values.append(write_bytes(value))
    return b"".join((b"\0", nulls, *values))


def warning_columns() -> list[ColumnDefinition]:
    """The columns of SHOW WARNINGS."""
    return [
        replace(text_column("Level"), length=28, flags=column.NOT_NULL_FLAG, decimals=39),
        number_column("Code", unsigned=True, length=4, kind=column.LONG),
        replace(text_column("Message"), length=2048, flags=column.NOT_NULL_FLAG, decimals=39),
    ]


def warnings_response(rows: Iterable[tuple[str, int, str]], status: int) -> bytes:
    """A SHOW WARNINGS response with these (level, code, message) rows."""
    return diagnostics_response(
        [[level.encode(), b"%d" % code, message.encode("utf-8", "surrogateescape")] for level, code, message in rows],
        status,
    )


def diagnostics_rows(response: bytes | None) -> list[list[bytes | None]]:
    """The rows of a SHOW WARNINGS response."""
    if response is None:
        return []
    reader = ResultsetReader()
    pos = 0
    while pos < len(response):
        n = int.from_bytes(response[pos : pos + 3], "little")
        reader.feed(response[pos + 4 : pos + 4 + n])
        pos += 4 + n
    return reader.rows


def diagnostics_response(rows: list[list[bytes | None]], status: int) -> bytes:
    return encode_resultset(warning_columns(), rows, status)


def count_column(name: str) -> ColumnDefinition:
    """The column of SHOW COUNT(*) WARNINGS and of @@warning_count."""
    return number_column(name, unsigned=True, nullable=True)


def table_response(columns: Sequence[str], rows: Sequence[Sequence[str | int | float | None]], status: int) -> bytes:
    """Rows of our own (SHOW TURNOUT ..) as a text result set; columns of whole numbers only are numbers."""
    definitions = [
        int_column(name)
        if rows and all(isinstance(row[i], int) and not isinstance(row[i], bool) for row in rows)
        else text_column(name)
        for i, name in enumerate(columns)
    ]
    return encode_resultset(
        definitions,
        [[None if value is None else str(value).encode("utf-8", "replace") for value in row] for row in rows],
        status,
    )
