"""Key texts: tables of values, and a real server as the judge of equality."""

from __future__ import annotations

import itertools
from typing import Any
from zlib import crc32

import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.plan.keys import Family, KeyForm, Unmodelled, key_form, key_text
from proxy.plan.plan import KeyValue, Unknown
from proxy.plan.sharding import Placement, check_sharding_keys, placement, sql_key_expression
from proxy.rules.model import Method, Sharding
from tests.plan import shop
from tests.servers import Shop


def text_column(collation: str, kind: str = "varchar", length: int = 10) -> Column:
    charset = collation.partition("_")[0]
    return Column("k", kind, charset=charset, collation=collation, length=length)


INT = Column("k", "int")
BIGINT = Column("k", "bigint", unsigned=True)
DATE = Column("k", "date")
DATETIME, MILLIS = Column("k", "datetime"), Column("k", "datetime", fraction=3)
GENERAL = text_column("utf8mb4_general_ci")
BIN = text_column("utf8mb4_bin")
NO_PAD = text_column("utf8mb4_0900_bin")


@pytest.mark.parametrize(
    ("column", "value", "compared", "stored"),
    [
        (INT, 5, b"5", b"5"),
        (INT, -5, b"-5", b"-5"),
        (INT, 2**31 - 1, b"2147483647", b"2147483647"),
        (INT, 2**31, None, None),
        (INT, "5", b"5", b"5"),
        (INT, "-5", b"-5", b"-5"),
        (INT, "05", None, None),
        (INT, "-0", None, None),
        (INT, "5 ", None, None),
        (INT, "5a", None, None),
        (INT, "٣", None, None),
        (INT, "", None, None),
        (INT, None, None, None),
        (INT, Unknown.UNKNOWN, None, None),
        (BIGINT, -1, None, None),
        (BIGINT, 2**64 - 1, b"18446744073709551615", b"18446744073709551615"),
        (BIGINT, str(2**53 + 1), None, b"9007199254740993"),
        (BIGINT, 2**53 + 1, b"9007199254740993", b"9007199254740993"),
        (GENERAL, "Abc", b"abc", b"abc"),
        (GENERAL, "abc  ", b"abc", b"abc"),
        (GENERAL, "", b"", b""),
        (GENERAL, "  ", b"", b""),
        (GENERAL, "straße", None, None),
        (GENERAL, "a\tb", None, None),
        (GENERAL, "abcdefghijk", None, None),
        (GENERAL, "abcdefghij ", b"abcdefghij", b"abcdefghij"),
        (GENERAL, 5, None, None),
        (BIN, "Abc ", b"Abc", b"Abc"),
        (BIN, "é", "é".encode(), "é".encode()),
        (BIN, "\U0001f600", "\U0001f600".encode(), "\U0001f600".encode()),
        (BIN, "\ud800", None, None),
        (NO_PAD, "a ", b"a ", b"a "),
        (text_column("utf8mb4_0900_bin", "char"), "a ", b"a", b"a"),
        (text_column("utf8mb3_bin"), "\U0001f600", None, None),
        (text_column("latin1_bin"), "é", None, None),
        (text_column("latin1_swedish_ci"), "A-b", b"a-b", b"a-b"),
        (Column("k", "varbinary", length=5), "Ab ", b"Ab ", b"Ab "),
        (DATE, "2024-02-29", b"2024-02-29", b"2024-02-29"),
        (DATE, "2023-02-29", None, None),
        (DATE, "2024-2-29", None, None),
        (DATE, "20240229", None, None),
        (DATE, "0000-00-00", None, None),
        (DATE, 20240229, None, None),
        (DATETIME, "2024-02-29 23:59:59", b"2024-02-29 23:59:59", b"2024-02-29 23:59:59"),
        (DATETIME, "2024-02-29", b"2024-02-29 00:00:00", b"2024-02-29 00:00:00"),
        (DATETIME, "2024-02-29 01:02:03.000000", b"2024-02-29 01:02:03", b"2024-02-29 01:02:03"),
        (DATETIME, "2024-02-29 01:02:03.4", None, None),
        (DATETIME, "2024-02-29 01:02:03.0000001", None, None),
        (DATETIME, "2023-02-29 01:02:03", None, None),
        (DATETIME, "2024-02-29 24:00:00", None, None),
        (DATETIME, "2024-02-29 01:02:60", None, None),
        (DATETIME, "2024-02-29T01:02:03", None, None),
        (DATETIME, "2024-02-29 01:02:03+00:00", None, None),
        (DATETIME, "2024-02-29  01:02:03", None, None),
        (DATETIME, "2024-02-29 01:02", None, None),
        (DATETIME, "0000-00-00 00:00:00", None, None),
        (DATETIME, 20240229010203, None, None),
        (MILLIS, "2024-02-29 01:02:03", b"2024-02-29 01:02:03.000", b"2024-02-29 01:02:03.000"),
        (MILLIS, "2024-02-29 01:02:03.5", b"2024-02-29 01:02:03.500", b"2024-02-29 01:02:03.500"),
        (MILLIS, "2024-02-29 01:02:03.123000", b"2024-02-29 01:02:03.123", b"2024-02-29 01:02:03.123"),
        (MILLIS, "2024-02-29 01:02:03.1234", None, None),
    ],
)
def test_key_text(column: Column, value: KeyValue, compared: bytes | None, stored: bytes | None) -> None:
    assert key_text(column, value) == compared
    assert key_text(column, value, stored=True) == stored


@pytest.mark.parametrize(
    "column",
    [
        Column("k", "decimal"),
        Column("k", "double"),
        Column("k", "timestamp"),
        Column("k", "time"),
        Column("k", "enum", charset="utf8mb4", collation="utf8mb4_bin", length=1),
        Column("k", "text", charset="utf8mb4", collation="utf8mb4_bin", length=65535),
        Column("k", "binary", length=16),
        Column("k", "year"),
        Column("k", "bit"),
        Column("k", "int", generated=True),
        Column("k", "int", zerofill=True),
        text_column("utf8mb4_danish_ci"),
        text_column("utf8mb4_swedish_ci"),
        text_column("utf8mb4_turkish_ci"),
        text_column("utf8mb4_de_pb_0900_ai_ci"),
        text_column("utf8mb4_uca1400_swedish_ai_ci"),
        text_column("latin1_german2_ci"),
        text_column("latin2_general_ci"),
        text_column("gbk_bin"),
        text_column("utf16_bin"),
    ],
)
def test_columns_that_cannot_be_keys(column: Column) -> None:
    found = key_form(column)
    assert isinstance(found, Unmodelled)
    assert found.why
    assert key_text(column, 5) is None
    with pytest.raises(ValueError, match="k "):
        sql_key_expression(column)


def test_which_keys_lie_together() -> None:
    def form(column: Column) -> KeyForm:
        found = key_form(column)
        assert isinstance(found, KeyForm)
        return found

    assert form(INT).compares_with(form(BIGINT))
    assert form(DATETIME).compares_with(form(DATETIME))
    assert not form(DATETIME).compares_with(form(MILLIS))
    assert not form(DATETIME).compares_with(form(DATE))
    assert not form(INT).compares_with(form(GENERAL))
    assert not form(GENERAL).compares_with(form(BIN))
    assert form(GENERAL).compares_with(form(text_column("utf8mb4_general_ci", "char", 3)))
    assert form(text_column("utf8_bin")).compares_with(form(text_column("utf8mb3_bin")))


INT_FORM = KeyForm(Family.INTEGER, -100, 100)


def test_ranges_and_lists_of_the_wrong_type_are_said_to_be() -> None:
    text_form = key_form(GENERAL)
    assert isinstance(text_form, KeyForm)
    ranges = Sharding("s", Method.RANGE, ("a", "b"), ranges=((5, "a"), (None, "b")))
    assert isinstance(placement(ranges, INT_FORM), Placement)
    assert isinstance(placement(ranges, text_form), Unmodelled)
    words = Sharding("s", Method.RANGE, ("a", "b"), ranges=(("M", "a"), (None, "b")))
    assert isinstance(placement(words, INT_FORM), Unmodelled)
    placed = placement(words, text_form)
    assert isinstance(placed, Placement)
    assert [placed.cluster(text) for text in (b"a", b"lzzz", b"m", b"z")] == ["a", "a", "b", "b"]
    backwards = Sharding("s", Method.RANGE, ("a", "b"), ranges=(("a", "a"), ("B", "b"), ("A", "a"), (None, "b")))
    assert isinstance(placement(backwards, text_form), Unmodelled)
    twice = Sharding("s", Method.LIST, ("a", "b"), values={"us": "a", "US": "b"})
    assert isinstance(placement(twice, text_form), Unmodelled)
    listed = placement(Sharding("s", Method.LIST, ("a", "b"), values={1: "a", 500: "b"}, default="b"), INT_FORM)
    assert isinstance(listed, Placement)
    assert [listed.cluster(text) for text in (b"1", b"2")] == ["a", "b"]


def test_check_sharding_keys() -> None:
    rules = shop.rules()
    catalog = shop.catalog()
    found = check_sharding_keys(rules, catalog)
    assert [(problem.table, problem.warning) for problem in found] == [("orders", True), ("logins", False)]
    assert "id" in found[0].message
    assert "customers" in found[1].message
    assert check_sharding_keys(rules, Catalog()) == []
    tables = dict(catalog.tables)
    tables["shard0", "shop", "orders"] = TableSchema("shop", "orders", (Column("id", "int"),))
    tables["shard1", "shop", "orders"] = TableSchema("shop", "orders", (Column("customer_id", "decimal"),))
    tables["shard1", "shop", "customers"] = TableSchema("shop", "customers", (Column("id", "bigint"),))
    tables["main", "shop", "invoices"] = TableSchema("shop", "invoices", (Column("year", "int"),), is_view=True)
    messages = [str(problem) for problem in check_sharding_keys(rules, Catalog(tables)) if not problem.warning]
    assert len(messages) == 5
    for part in ("no column customer_id", "type DECIMAL", "different types", "is a view", "logins"):
        assert any(part in message for message in messages), part


# -- a real server as the judge

PRINTABLE = [chr(code) for code in range(32, 127)]
FOLDED = [
    "utf8mb4_general_ci",
    "utf8mb4_unicode_ci",
    "utf8mb4_unicode_520_ci",
    "utf8mb4_general_nopad_ci",
    "utf8mb4_unicode_nopad_ci",
    "utf8mb4_uca1400_ai_ci",
    "utf8mb4_uca1400_as_ci",
    "utf8mb4_uca1400_as_cs",
    "utf8mb4_uca1400_nopad_ai_ci",
    "utf8mb3_general_ci",
    "latin1_swedish_ci",
    "latin1_swedish_nopad_ci",
    "latin1_general_ci",
    "latin1_general_cs",
    "ascii_general_ci",
]
CHARACTERS = st.characters(codec="utf-8", categories=["L", "N", "P", "Zs", "S"])
EXACT = ["utf8mb4_bin", "utf8mb4_nopad_bin", "latin1_bin", "ascii_bin", "utf8mb3_bin"]


@pytest.fixture(scope="module")
def server(shop_servers: Shop) -> Any:
    connection = shop_servers.main.admin(charset="utf8mb4")
    yield connection
    connection.close()


def query(connection: Any, sql: str, *values: object) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return list(cursor.fetchall())


@pytest.mark.servers
@pytest.mark.parametrize("collation", FOLDED + EXACT)
def test_what_a_collation_calls_equal_has_one_text(server: Any, collation: str) -> None:
    """All strings of one and two printable characters: equal ones (one group of the server's) have one text."""
    strings = [*PRINTABLE, *("".join(pair) for pair in itertools.product(PRINTABLE, repeat=2))]
    column = text_column(collation)
    query(server, f"CREATE OR REPLACE TEMPORARY TABLE shop.words (k VARCHAR(10) COLLATE {collation})")
    with server.cursor() as cursor:
        cursor.executemany("INSERT INTO shop.words VALUES (%s)", [(string,) for string in strings])
    query(server, "SET SESSION group_concat_max_len = 1000000")
    groups = query(server, "SELECT GROUP_CONCAT(HEX(k)) FROM shop.words GROUP BY k")
    texts = []
    for (members,) in groups:
        found = {key_text(column, bytes.fromhex(member).decode()) for member in members.split(",")}
        assert len(found) == 1, (members, found)
        texts.append(found.pop())
    assert None not in texts


@pytest.mark.servers
@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.text(CHARACTERS, max_size=8), max_size=8))
def test_exact_collations_with_any_characters(server: Any, values: list[str]) -> None:
    values = [*values, *(value + " " for value in values)]
    for collation in ("utf8mb4_bin", "utf8mb4_nopad_bin"):
        column = text_column(collation)
        for left, right in itertools.combinations(values, 2):
            sql = f"SELECT %s COLLATE {collation} = %s"
            if query(server, sql, left, right)[0][0]:
                assert key_text(column, left) == key_text(column, right)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("definition", "column", "values"),
    [
        ("INT", INT, [0, -1, 5, 2**31 - 1, "77"]),
        ("BIGINT UNSIGNED", BIGINT, [0, 2**64 - 1, str(2**53 + 1)]),
        ("DATE", DATE, ["2024-02-29", "1999-12-31"]),
        ("DATETIME", DATETIME, ["2024-02-29 01:02:03", "1999-12-31", "0001-01-01 00:00:00", "9999-12-31 23:59:59.0"]),
        ("DATETIME(3)", MILLIS, ["2024-02-29 01:02:03.4", "1999-12-31", "2024-02-29 01:02:03.456000"]),
        ("VARCHAR(10) COLLATE utf8mb4_general_ci", GENERAL, ["Abc  ", "", "x@Y.Z", "a b"]),
        ("CHAR(10) COLLATE utf8mb4_uca1400_ai_ci", text_column("utf8mb4_uca1400_ai_ci", "char"), ["Q ", "it's"]),
        ("VARCHAR(10) COLLATE utf8mb4_bin", BIN, ["Abc  ", "é", "\U0001f600", " x"]),
        ("VARCHAR(10) COLLATE utf8mb4_nopad_bin", text_column("utf8mb4_nopad_bin"), ["Abc  ", " "]),
        ("VARCHAR(10) COLLATE latin1_swedish_ci", text_column("latin1_swedish_ci"), ["Abc  "]),
        ("VARBINARY(10)", Column("k", "varbinary", length=10), ["Abc  "]),
    ],
)
def test_the_sql_expression_gives_the_same_slot(
    server: Any, definition: str, column: Column, values: list[KeyValue]
) -> None:
    query(server, f"CREATE OR REPLACE TEMPORARY TABLE shop.keyed (k {definition})")
    for value in values:
        query(server, "DELETE FROM shop.keyed")
        query(server, "INSERT INTO shop.keyed VALUES (%s)", value)
        text = key_text(column, value, stored=True)
        assert text is not None
        assert query(server, f"SELECT {sql_key_expression(column)} FROM shop.keyed") == [(crc32(text) % 4096,)]
        assert query(server, "SELECT COUNT(*) FROM shop.keyed WHERE k = %s", value) == [(1,)]
    ranges = Sharding("s", Method.RANGE, ("a",), ranges=((None, "a"),))
    expression = sql_key_expression(column, ranges)
    (found,) = query(server, f"SELECT CAST({expression} AS BINARY) FROM shop.keyed")[0]
    assert found == text


TIMES = [
    *("2024-12-31", "2024-12-31 00:00:00", "2024-12-31 00:00:00.000000", "2024-12-31 23:59:59.5", "2025-01-01"),
    *("2024-12-31 23:59:59.500", "2024-12-31 23:59:59.5004", "2024-12-31 23:59:60", "2024-12-31 24:00:00"),
    *("2024-12-31T00:00:00", "20241231", "20241231000000", "2024-12-31 0:0:0", " 2024-12-31 00:00:00", "24-12-31"),
    *("2024-12-31 00:00:00+00:00", "2024-12-31 00:00", "2024.12.31", "2024-12-31 23:59:59", "2024-12-31 00:00:00 "),
]


@pytest.mark.servers
@pytest.mark.parametrize(("definition", "column"), [("DATETIME", DATETIME), ("DATETIME(3)", MILLIS), ("DATE", DATE)])
def test_literals_that_equal_a_time_have_its_text(server: Any, definition: str, column: Column) -> None:
    """.. or none; and texts are in the order of the times, which ranges go by."""
    query(server, "SET SESSION sql_mode = ''")
    try:
        query(server, f"CREATE OR REPLACE TEMPORARY TABLE shop.times (k {definition})")
        stored = [time for time in TIMES if key_text(column, time, stored=True) is not None]
        assert len(stored) > 1
        for time in stored:
            query(server, "DELETE FROM shop.times")
            query(server, "INSERT INTO shop.times VALUES (%s)", time)
            for literal in TIMES:
                ((equal, less),) = query(server, "SELECT k = %s, k < %s FROM shop.times", literal, literal)
                text, own = key_text(column, literal), key_text(column, time, stored=True)
                assert own is not None
                if text is not None:
                    assert (text == own, own < text) == (bool(equal), bool(less)), (time, literal)
    finally:
        query(server, "SET SESSION sql_mode = DEFAULT")


@pytest.mark.servers
def test_texts_that_a_server_would_change_when_storing_have_no_key(server: Any) -> None:
    """Without strict mode, what does not fit is cut or bent: no key text may pretend otherwise."""
    query(server, "SET SESSION sql_mode = ''")
    cases: list[tuple[str, Column, list[KeyValue]]] = [
        ("VARCHAR(3) COLLATE utf8mb4_general_ci", text_column("utf8mb4_general_ci", length=3), ["abcd", "abc "]),
        ("VARCHAR(3) COLLATE utf8mb4_nopad_bin", text_column("utf8mb4_nopad_bin", length=3), ["abc ", "ab "]),
        ("CHAR(3) COLLATE utf8mb4_nopad_bin", text_column("utf8mb4_nopad_bin", "char", 3), ["ab ", "a"]),
        ("TINYINT", Column("k", "tinyint"), [300, -129, "300", "1x", 127]),
        ("DATE", DATE, ["2023-02-30", "x", "2023-02-28"]),
        ("DATETIME", DATETIME, [*TIMES, "2023-02-30 01:02:03", "2024-12-31 23:59:59.9"]),
    ]
    try:
        for definition, column, values in cases:
            query(server, f"CREATE OR REPLACE TEMPORARY TABLE shop.bent (k {definition})")
            for value in values:
                text = key_text(column, value, stored=True)
                query(server, "DELETE FROM shop.bent")
                try:
                    query(server, "INSERT INTO shop.bent VALUES (%s)", value)
                except pymysql.err.DataError:
                    continue
                stored = str(query(server, "SELECT k FROM shop.bent")[0][0])
                if text is not None:
                    again: KeyValue = int(stored) if column.data_type == "tinyint" else stored
                    assert key_text(column, again, stored=True) == text, (definition, value, stored)
    finally:
        query(server, "SET SESSION sql_mode = DEFAULT")
