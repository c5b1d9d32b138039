"""What every client does, and what it must see.

Values are compared in one form: `shown` for Python's, the same by hand elsewhere. Numbers, dates and times are text as
MariaDB writes it, bytes are hexadecimal digits after `x:`, NULL is None.
"""

from __future__ import annotations

import datetime
import hashlib
from decimal import Decimal
from pathlib import Path

# What a client saw, step by step. Lists and text only, so that it can come from another language as JSON.
Seen = dict[str, object]
# Errno, SQLSTATE (None from a client that does not tell) and text.
Error = list[int | str | None]

DATABASE, SECOND_DATABASE = "clients", "second"
UNKNOWN_DATABASE = "nowhere"
PASSWORD, WRONG_PASSWORD = 'it\'s a "secret" \\ & 100% $ok', "wrong"  # ASCII: drivers disagree about the rest
NATIVE, SHA2 = "native", "sha2"  # accounts, named for what their clients are asked for

TABLES = (
    "DROP TABLE IF EXISTS kinds, notes, files",
    "CREATE TABLE kinds (id INT PRIMARY KEY, tiny TINYINT, small SMALLINT UNSIGNED, big BIGINT, ubig BIGINT UNSIGNED,"
    " ratio DOUBLE, price DECIMAL(20,4), day DATE, moment DATETIME(6), span TIME(6), label VARCHAR(200),"
    " data VARBINARY(300), nothing INT)",
    "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(100))",
    "CREATE TABLE files (id INT PRIMARY KEY, content LONGBLOB)",
)
KIND_COLUMNS = "tiny, small, big, ubig, ratio, price, day, moment, span, label, data, nothing"
# On the second database; made by the fixture.
SECOND_TABLES = (
    f"CREATE DATABASE {SECOND_DATABASE}",
    f"CREATE TABLE {SECOND_DATABASE}.marks (mark VARCHAR(20))",
    f"INSERT INTO {SECOND_DATABASE}.marks VALUES ('marked')",
)

# Every type of column: definition, and its value in an ordinary row, the row of the least, the row of the most.
TYPES = (
    ("BOOLEAN", "1", "0", "1"),
    ("TINYINT", "-5", "-128", "127"),
    ("TINYINT UNSIGNED", "5", "0", "255"),
    ("SMALLINT", "-5", "-32768", "32767"),
    ("SMALLINT UNSIGNED", "5", "0", "65535"),
    ("MEDIUMINT", "-5", "-8388608", "8388607"),
    ("MEDIUMINT UNSIGNED", "5", "0", "16777215"),
    ("INT", "-5", "-2147483648", "2147483647"),
    ("INT UNSIGNED", "5", "0", "4294967295"),
    ("INT(5) ZEROFILL", "42", "0", "99999"),
    ("BIGINT", "-5", "-9223372036854775808", "9223372036854775807"),
    ("BIGINT UNSIGNED", "5", "0", "18446744073709551615"),
    ("FLOAT", "1.5", "-0.25", "1048576.5"),
    ("DOUBLE", "0.1", "-1.5e300", "2.5e-300"),
    ("DECIMAL(30,10)", "1.5", "-99999999999999999999.9999999999", "99999999999999999999.9999999999"),
    ("BIT(1)", "b'1'", "b'0'", "b'1'"),
    ("BIT(20)", "b'101'", "b'0'", "b'11111111111111111111'"),
    ("DATE", "'2024-02-29'", "'1000-01-01'", "'9999-12-31'"),
    ("TIME", "'12:34:56'", "'-838:59:59'", "'838:59:59'"),
    ("TIME(6)", "'12:34:56.123456'", "'-838:59:59.999999'", "'838:59:59.999999'"),
    ("DATETIME", "'2024-02-29 12:34:56'", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"),
    ("DATETIME(6)", "'2024-02-29 12:34:56.123456'", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'"),
    ("TIMESTAMP(3) NULL", "'2024-02-29 12:34:56.123'", "'1971-01-01 00:00:00'", "'2037-12-31 23:59:59.999'"),
    ("YEAR", "2024", "1901", "2155"),
    ("CHAR(10)", "'chär'", "''", "'🚂🚂🚂🚂🚂🚂🚂🚂🚂🚂'"),
    ("CHAR(5) CHARACTER SET latin1", "'café'", "''", "'ÿÿÿÿÿ'"),
    ("VARCHAR(50)", "'ř 東京'", "''", "REPEAT('🚂', 50)"),
    ("BINARY(4)", "X'00FF'", "''", "X'FFFFFFFF'"),
    ("VARBINARY(20)", "X'00FF275C'", "''", "REPEAT(X'FF', 20)"),
    ("TINYTEXT", "'é'", "''", "REPEAT('a', 255)"),
    ("TEXT", "'é'", "''", "REPEAT('é', 300)"),
    ("MEDIUMTEXT", "'é'", "''", "REPEAT('b', 70000)"),
    ("LONGTEXT", "'é'", "''", "REPEAT('c', 300)"),
    ("TINYBLOB", "X'00FF'", "''", "REPEAT(X'FE', 255)"),
    ("BLOB", "X'00FF'", "''", "REPEAT(X'FD', 300)"),
    ("MEDIUMBLOB", "X'00FF'", "''", "REPEAT(X'FC', 70000)"),
    ("LONGBLOB", "X'00FF'", "''", "REPEAT(X'FB', 300)"),
    ("ENUM('one', 'two, three', 'it''s')", "'one'", "'two, three'", "'it''s'"),
    ("SET('a', 'b', 'c')", "'a,c'", "''", "'a,b,c'"),
    ("JSON", """'{"a": [1, "é", null]}'""", "'null'", "'[]'"),
    ("POINT", "POINT(1, 2)", "POINT(-1, -2)", "POINT(1e300, 2e-300)"),
    (
        "GEOMETRY",
        "ST_GeomFromText('LINESTRING(0 0,1 2)')",
        "POINT(0, 0)",
        "ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))')",
    ),
    ("UUID", "'12345678-1234-1234-1234-123456789abc'", "REPEAT('0', 32)", "REPEAT('f', 32)"),
    ("INET4", "'192.0.2.1'", "'0.0.0.0'", "'255.255.255.255'"),
    ("INET6", "'2001:db8::1'", "'::'", "'::ffff:192.0.2.1'"),
)
_DATED = ("DATE", "DATETIME", "DATETIME(6)", "TIMESTAMP(3) NULL")
SELECT_TYPES = "SELECT * FROM types WHERE id > {} ORDER BY id"


def create_types(table: str) -> tuple[str, ...]:
    """A table with the three rows above, one with dates of zero and little else, and one of NULLs."""
    columns = ", ".join(f"c{n} {definition}" for n, (definition, *_) in enumerate(TYPES))
    rows = [[value for _, *values in TYPES for value in values[n : n + 1]] for n in range(3)]
    zeros = ["'0000-00-00'" if definition in _DATED else "NULL" for definition, *_ in TYPES]
    rows += [zeros, ["NULL"] * len(TYPES)]
    values = ", ".join(f"({n}, {', '.join(row)})" for n, row in enumerate(rows, 1))
    create = f"CREATE TABLE {table} (id INT PRIMARY KEY, {columns})"
    return "SET sql_mode = '', NAMES utf8mb4", create, f"INSERT INTO {table} VALUES {values}", "SET sql_mode = DEFAULT"


# On the first database, made by the fixture.
FIRST_TABLES = (
    *create_types("types"),
    "CREATE PROCEDURE several(n INT) BEGIN SELECT n AS number, 'first' AS word; SELECT seq FROM seq_1_to_3;"
    " SELECT 'none' AS word FROM DUAL WHERE n < 0; END",
    "CREATE PROCEDURE halfway() BEGIN SELECT 'before' AS word; SELECT * FROM missing; END",
    "CREATE PROCEDURE doubled(n INT, OUT twice INT) SET twice = n * 2",
)

LABEL = 'Žluťoučký kůň 東京 🚂 e\u0301 العربية "quoted" it\'s 100% back\\slash\ttab\nline'
DATA = bytes(range(256))
BIG = bytes(range(256)) * 8192 + b"an odd end"  # a little over 2 MB, every byte in it
HUGE_UNIT, HUGE_TIMES = "0123456789", 1_700_000  # more than a packet's 16 MB
HUGE = HUGE_UNIT * HUGE_TIMES
NOTES = ("first", "second", "third", "fourth", "fifth")
STREAMED = 5000

KINDS = (
    -128,
    65535,
    -(1 << 63),
    (1 << 64) - 1,
    0.1,
    Decimal("12345678901234.5678"),
    datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 12, 34, 56, 123456),
    -datetime.timedelta(hours=12, minutes=34, seconds=56, milliseconds=500),
    LABEL,
    DATA,
    None,
)
# That row without any client's conversions.
STORED = (
    "SELECT CONCAT_WS('|', tiny, small, big, ubig, ratio, price, day, moment, span, HEX(CONVERT(label USING utf8mb4)),"
    " HEX(data), nothing IS NULL) FROM kinds WHERE id = 1"
)


def stored() -> str:
    shown_kinds = [text or "" for text in map(shown, KINDS[:9])]
    return "|".join([*shown_kinds, LABEL.encode().hex().upper(), DATA.hex().upper(), "1"])


def shown(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return str(int(value))
        case datetime.datetime():
            return value.isoformat(" ", "microseconds")
        case datetime.timedelta():
            sign, size = ("-", -value) if value < datetime.timedelta() else ("", value)
            minutes, seconds = divmod(size.days * 86400 + size.seconds, 60)
            return f"{sign}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{size.microseconds:06}"
        case bytes() | bytearray():
            return f"x:{bytes(value).hex()}"
        case float():
            return repr(value)
        case set() | frozenset():
            return ",".join(sorted(map(str, value)))
        case _:
            return str(value)


def as_json(big: Path) -> dict[str, object]:
    """The scenario's values for clients in other languages; bytes are hexadecimal digits, `big` has those of BIG."""
    return {
        "tables": TABLES,
        "columns": KIND_COLUMNS,
        "kinds": [shown(value) for value in KINDS],
        "data": DATA.hex(),
        "big_file": str(big),
        "huge_unit": HUGE_UNIT,
        "huge_times": HUGE_TIMES,
        "several": SEVERAL,
        "several_wrong": SEVERAL_WRONG,
        "loaded_table": LOADED_TABLE,
        "load": LOAD.format("{}"),
        "loaded": LOADED,
        "stored": STORED,
        "select_types": SELECT_TYPES.format("?"),
        "select_types_as_text": SELECT_TYPES.format("0"),
        "notes": NOTES,
        "streamed": STREAMED,
        "database": DATABASE,
        "second_database": SECOND_DATABASE,
    }


def digest(content: object) -> str:
    if isinstance(content, str):
        content = content.encode()
    assert isinstance(content, bytes | bytearray)
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}"


NO_TABLE: Error = [1146, "42S02", f"Table '{DATABASE}.missing' doesn't exist"]
# Texts of several statements, for connections with the option `several`.
SEVERAL = "SELECT 1 AS a; UPDATE notes SET note = note; SELECT 2 AS b, 'x;y' AS c"
SEVERAL_WRONG = "SELECT 1 AS a; SELECT * FROM missing; SELECT 3 AS d"
EXPECTED_SEVERAL: Seen = {
    "results": [[["1"]], [["2", "x;y"]]],
    "wrong": [[["1"]], NO_TABLE],
    "after": "after",
}
# What LOAD DATA LOCAL is to send: 150 KB.
LINES = "".join(f"{n},line {n} {'x' * (n % 300)}\n" for n in range(1, 1001))
LOADED_TABLE = "CREATE OR REPLACE TABLE loaded (id INT PRIMARY KEY, line VARCHAR(400))"
LOAD = "LOAD DATA LOCAL INFILE '{}' INTO TABLE loaded FIELDS TERMINATED BY ','"
LOADED = "SELECT COUNT(*), SUM(id), SUM(LENGTH(line)) FROM loaded"
_LENGTH = sum(len(line.partition(",")[2]) for line in LINES.splitlines())
EXPECTED_INFILE: Seen = {"affected": 1000, "loaded": ["1000", "500500", str(_LENGTH)], "after": "after"}
EXPECTED_COMPRESS: Seen = {"sent": hashlib.sha256(b"y" * 3_000_000).hexdigest(), "received": digest("z" * 3_000_000)}

RESULTS: list[object] = [[["7", "first"]], [["1"], ["2"], ["3"]], []]
HALFWAY: list[object] = [[["before"]], NO_TABLE]  # a result, then an error
# Besides, each client shows the table `types` in its own way, as text and by a prepared statement.
OWN_WAY = ("types as text", "types prepared", "type columns")
# Only where a job asks for it: a value of more than 16 MB, sent (the server says its digest) and received.
EXPECTED_HUGE: Seen = {"huge sent": hashlib.sha256(HUGE.encode()).hexdigest(), "huge received": digest(HUGE)}


def expected(user: str, other: str) -> Seen:
    """What the scenario shows to `user`; `other` is the account that it changes to in between."""
    return {
        "session": ["1", DATABASE, f"{user}@%"],
        "own id": True,
        "insert ids": [[1, 1], [2, 1], [3, 3]],  # [last insert id, affected rows]
        "LAST_INSERT_ID()": "3",
        "kinds": [shown(value) for value in KINDS],
        "stored": stored(),
        "notes by id": ["third", "first", None, "fifth"],
        "updated": [2, 0],  # affected rows, the second time without a change
        "after rollback": "5",
        "after commit": "6",
        "duplicate": [1062, "23000", "Duplicate entry '1' for key 'PRIMARY'"],
        "syntax": [
            1064,
            "42000",
            "You have an error in your SQL syntax; check the manual that corresponds to your MariaDB server version for"
            " the right syntax to use near 'SELEKT 1' at line 1",
        ],
        "no table": NO_TABLE,
        "warnings": [["Warning", "1292", "Truncated incorrect INTEGER value: '12abc'"]],
        "big": digest(BIG),
        "databases": [SECOND_DATABASE, "marked", DATABASE],
        "streamed": str(STREAMED * (STREAMED + 1) // 2),
        "results": RESULTS,
        "halfway": HALFWAY,
        "out": "42",
        "ping": True,
        "changed user": [f"{other}@%", f"{user}@%"],
        "reset": [None, DATABASE],  # a user variable is gone, the database is not
        "killed": ["lost", "again"],
    }


def access_denied(user: str) -> Error:
    return [1045, "28000", f"Access denied for user '{user}'@'{CLIENT_HOST}' (using password: YES)"]


CLIENT_HOST = "127.0.0.1"  # servers and Turnout both do without name resolution
