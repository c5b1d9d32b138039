"""Columns of answers as columns of temporary tables; real servers' definitions are in tests/workbench."""

from __future__ import annotations

import pytest

from proxy.plan.result_table import columns_of, is_plain_string, is_whole
from proxy.wire import column as wire
from proxy.wire.column import ColumnDefinition


def _column(kind: int, length: int, flags: int = 0, decimals: int = 0, charset: int = 63) -> ColumnDefinition:
    return ColumnDefinition(b"def", b"", b"", b"", b"x", b"", charset, length, kind, flags, decimals)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (_column(wire.LONGLONG, 21, 1), b"bigint(21) NOT NULL"),
        (_column(wire.LONGLONG, 20, 32), b"bigint(20) UNSIGNED NULL"),
        (_column(wire.LONG, 11), b"int(11) NULL"),
        (_column(wire.NEWDECIMAL, 34, 0, 2), b"decimal(32,2) NULL"),
        (_column(wire.NEWDECIMAL, 23), b"decimal(22,0) NULL"),
        (_column(wire.NEWDECIMAL, 11, 32 | 1, 2), b"decimal(10,2) UNSIGNED NOT NULL"),
        (_column(wire.DATE, 10, 128), b"date NULL"),
        (_column(wire.DATETIME, 23, 128, 3), b"datetime(3) NULL"),
        (_column(wire.TIME, 10, 128), b"time(0) NULL"),
        (_column(wire.YEAR, 4, 32 | 64), b"year NULL"),
        (_column(wire.VAR_STRING, 80, 0, 0, 224), b"varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NULL"),
        (_column(wire.STRING, 3, 0, 0, 8), b"char(3) CHARACTER SET latin1 COLLATE latin1_swedish_ci NULL"),
        (_column(wire.VAR_STRING, 5, 128), b"varbinary(5) NULL"),
        # What a definition does not tell, or an approximation.
        (_column(wire.DOUBLE, 23, 0, 31), None),
        (_column(wire.FLOAT, 12, 0, 31), None),
        (_column(wire.BLOB, 65535, 16, 0, 63), None),
        (_column(wire.STRING, 16, 256, 0, 45), None),  # ENUM
        (_column(wire.LONG, 10, 32 | 64), None),  # ZEROFILL
        (_column(wire.LONGLONG, 1, 1), None),  # MIN(1)
        (_column(wire.LONG, 10), None),
        (_column(wire.LONG, 10, 32), b"int(10) UNSIGNED NULL"),
        (_column(wire.TINY, 1), None),  # BOOLEAN
        (_column(wire.TIMESTAMP, 19), None),
        (_column(wire.BIT, 9, 32), None),
        (_column(wire.NULL, 0), None),
        (_column(wire.DATETIME, 26, 0, 39), None),
        (_column(wire.NEWDECIMAL, 70, 0, 2), None),
        (_column(wire.VAR_STRING, 81, 0, 0, 224), None),  # not so many characters
        (_column(wire.VAR_STRING, 0, 0, 0, 224), None),
        (_column(wire.VAR_STRING, 40, 0, 0, 28), None),  # gbk
        (_column(wire.VAR_STRING, 65532, 0, 0, 224), None),
    ],
)
def test_columns(column: ColumnDefinition, text: bytes | None) -> None:
    made = columns_of([_column(wire.DATE, 10), column])
    assert (made and (made[1].name, made[1].text)) == (text and (b"`c1`", text))


def test_values_are_written_as_what_they_are() -> None:
    made = columns_of([_column(wire.LONG, 11), _column(wire.NEWDECIMAL, 5), _column(wire.DATETIME, 19, 0, 0)])
    assert made is not None
    assert [column.introducer for column in made] == [None, None, b"_binary"]


def test_kinds() -> None:
    assert is_whole(_column(wire.LONG, 11))
    assert not is_whole(_column(wire.LONG, 11, 64))
    assert not is_whole(_column(wire.NEWDECIMAL, 11))
    assert is_plain_string(_column(wire.LONG, 11))
    assert is_plain_string(_column(wire.VAR_STRING, 11))
    assert not is_plain_string(_column(wire.VAR_STRING, 11, 0, 0, 224))
    assert not is_plain_string(_column(wire.VAR_STRING, 11, 0, 0, 46))  # utf8mb4_bin: spaces at the end
