"""Prepared SHOWs and reads of information_schema, whose rows come from several clusters, in the binary protocol."""

from __future__ import annotations

import pytest

from proxy.wire import column as types
from proxy.wire.column import ColumnDefinition
from proxy.wire.rows import BinaryRows
from tests.front.raw import Param
from tests.prepared.pair import PreparedPair

SCHEMA = "TABLE_SCHEMA = ?"


@pytest.mark.servers
@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SHOW TABLES", ()),
        ("SHOW TABLES LIKE 'p%'", ()),
        ("SHOW FULL TABLES WHERE Table_type = ?", ("BASE TABLE",)),
        ("SHOW TABLES WHERE Tables_in_shop = ?", ("it's",)),
        ("SHOW COLUMNS FROM things", ()),
        ("SHOW INDEX FROM parts", ()),
        ("SHOW CREATE TABLE photos", ()),
        ("SHOW DATABASES", ()),
        ("SHOW TRIGGERS", ()),
        ("DESCRIBE odd", ()),
        (f"SELECT COUNT(*) FROM information_schema.TABLES WHERE {SCHEMA}", ("shop",)),
        (f"SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE {SCHEMA} ORDER BY 1 LIMIT ?", ("shop", 9)),
        ("EXPLAIN SELECT * FROM things WHERE k = ?", (3,)),
    ],
)
def test_as_on_one_server(pair: PreparedPair, sql: str, params: tuple[Param, ...]) -> None:
    answers = pair.both(sql, *params)
    ours, theirs = (answer.checked() for answer in answers)
    assert [c.name for c in ours.columns] == [c.name for c in theirs.columns]
    if "EXPLAIN" not in sql and "INDEX" not in sql:  # which estimate
        assert ours.rows == theirs.rows


@pytest.mark.servers
def test_sizes_and_dates(pair: PreparedPair) -> None:
    """They differ from server to server; as text they are those of the same rows."""
    sql = "SHOW TABLE STATUS LIKE 'p%'"
    ours = pair.both(sql)[0].checked()
    said = pair.client.query(sql).checked()
    definitions = [
        ColumnDefinition(b"def", b"", b"", b"", c.name, b"", c.charset, c.length, c.type, c.flags, c.decimals)
        for c in ours.columns
    ]
    assert [c.type for c in ours.columns] == [c.type for c in said.columns]
    assert {types.LONGLONG, types.DATETIME} <= {c.type for c in definitions}
    rows = BinaryRows(definitions)
    read = [rows.fields(row[0] or b"", [True] * len(definitions), len(definitions))[0] for row in ours.rows]
    for mine, text in zip(read, said.rows, strict=True):
        for number, (value, shown) in enumerate(zip(mine, text)):
            kind = definitions[number].type
            if shown is None or kind not in (types.LONGLONG, types.DATETIME):
                assert value == shown
            elif kind == types.LONGLONG:
                assert rows.number(number, value or b"") == shown
            else:
                assert value is not None
                year, month, day, hour, minute, second = value[0] | value[1] << 8, *value[2:7]
                assert f"{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}".encode() == shown


@pytest.mark.servers
def test_what_cannot_be_written_is_refused(pair: PreparedPair) -> None:
    ours, _ = pair.prepared("SHOW FULL TABLES WHERE Table_type = ? OR ? IS NULL")
    assert pair.client.execute(ours, "BASE TABLE", None).errno == 1235
    assert pair.client.execute(ours, "BASE TABLE", 1).checked().rows


@pytest.mark.parametrize(
    ("kind", "text", "binary"),
    [
        (types.LONGLONG, b"-5", b"\xfb" + b"\xff" * 7),
        (types.LONG, b"7", b"\7\0\0\0"),
        (types.DATETIME, b"2024-02-29 10:00:00.25", b"\x0b\xe8\x07\x02\x1d\x0a\0\0\x90\xd0\3\0"),
        (types.DATETIME, b"2024-02-29 10:00:00", b"\7\xe8\x07\x02\x1d\x0a\0\0"),
        (types.DATETIME, b"2024-02-29 00:00:00", b"\4\xe8\x07\x02\x1d"),
        (types.DATETIME, b"0000-00-00 00:00:00", b"\0"),
        (types.DATE, b"2024-02-29", b"\4\xe8\x07\x02\x1d"),
        (types.VAR_STRING, b"x", b"\1x"),
    ],
)
def test_text_as_binary(kind: int, text: bytes, binary: bytes) -> None:
    definition = ColumnDefinition(b"def", b"", b"", b"", b"x", b"", 63, 20, kind, 0, 0)
    rows = BinaryRows([definition, definition])
    assert rows.encode_text([None, text]) == b"\0\4" + binary
