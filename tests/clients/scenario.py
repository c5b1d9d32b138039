"""What every client does, and what it must see.

Values are compared in one form: `shown` for Python's, the same by hand elsewhere. Numbers, dates and times are text as
MariaDB writes it, bytes are hexadecimal digits after `x:`, NULL is None.
"""

from __future__ import annotations

import datetime
import hashlib
from decimal import Decimal

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

LABEL = 'Žluťoučký kůň 東京 🚂 e\u0301 العربية "quoted" it\'s 100% back\\slash\ttab\nline'
DATA = bytes(range(256))
BIG = bytes(range(256)) * 8192 + b"an odd end"  # a little over 2 MB, every byte in it
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
# What a server of its own shows of that row, asked for without any client's conversions.
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
        case _:
            return str(value)


def as_json() -> dict[str, object]:
    """The scenario's values for clients in other languages; bytes are hexadecimal digits."""
    return {
        "tables": TABLES,
        "columns": KIND_COLUMNS,
        "kinds": [shown(value) for value in KINDS],
        "data": DATA.hex(),
        "big": BIG.hex(),
        "notes": NOTES,
        "streamed": STREAMED,
        "database": DATABASE,
        "second_database": SECOND_DATABASE,
    }


def digest(content: object) -> str:
    assert isinstance(content, bytes | bytearray)
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}"


def expected(user: str, other: str) -> Seen:
    """What the scenario shows to `user`; `other` is the account that it changes to in between."""
    return {
        "session": ["1", DATABASE, f"{user}@%"],
        "own id": True,
        "insert ids": [[1, 1], [2, 1], [3, 3]],  # [last insert id, affected rows]
        "LAST_INSERT_ID()": "3",
        "kinds": [shown(value) for value in KINDS],
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
        "no table": [1146, "42S02", f"Table '{DATABASE}.missing' doesn't exist"],
        "warnings": [["Warning", "1292", "Truncated incorrect INTEGER value: '12abc'"]],
        "big": digest(BIG),
        "databases": [SECOND_DATABASE, "marked", DATABASE],
        "streamed": str(STREAMED * (STREAMED + 1) // 2),
        "ping": True,
        "changed user": [f"{other}@%", f"{user}@%"],
        "reset": [None, DATABASE],  # a user variable is gone, the database is not
        "killed": ["lost", "again"],
    }


def access_denied(user: str) -> Error:
    return [1045, "28000", f"Access denied for user '{user}'@'{CLIENT_HOST}' (using password: YES)"]


CLIENT_HOST = "127.0.0.1"  # servers and Turnout both do without name resolution
