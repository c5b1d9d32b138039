"""Single values as bytes: what they are as text and as literal, and what is refused."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.stream import rows, values
from proxy.stream.definition import Definition, NotReadable, definition, definitions
from proxy.stream.rows import Layout, Stored
from tests.stream import log


def write(column_type: str, kind: int, meta: int, raw: bytes, charset: str | None = None) -> tuple[bytes, bytes]:
    writer = values.writer(Stored(kind, meta), definition("c", column_type, charset))
    return writer.text(raw), writer.literal(raw)


@pytest.mark.parametrize(
    ("column_type", "kind", "meta", "raw", "text", "literal"),
    [
        ("int(11)", 3, 4, b"\xff" * 4, b"-1", b"-1"),
        ("int(10) unsigned", 3, 4, b"\xff" * 4, b"4294967295", b"4294967295"),
        ("mediumint(9)", 9, 3, b"\0\0\x80", b"-8388608", b"-8388608"),
        ("bigint(20) unsigned zerofill", 8, 8, b"\xff" * 8, b"18446744073709551615", b"18446744073709551615"),
        ("double", 5, 8, struct.pack("<d", 0.1), b"0.1", b"0.1e0"),
        ("double", 5, 8, struct.pack("<d", -0.0), b"-0.0", b"-0.0e0"),
        ("double", 5, 8, struct.pack("<d", 5e-324), b"5e-324", b"5e-324"),
        ("float", 4, 4, struct.pack("<f", 0.1), b"0.10000000149011612", b"0.10000000149011612e0"),
        ("decimal(4,2)", 246, 4 << 8 | 2, b"\x7f\xff"[:1] + b"\xfe", b"-0.01", b"-0.01"),
        ("bit(9)", 16, 9, b"\x01\x00", b"\x01\x00", b"256"),
        ("year(4)", 13, 1, b"\0", b"0000", b"0"),
        ("year(4)", 13, 1, b"\xff", b"2155", b"2155"),
        ("date", 10, 3, b"\0\0\0", b"0000-00-00", b"'0000-00-00'"),
        ("time(6)", 19, 6, b"\x7f\xff\xff\xff\xff\xff", b"-00:00:00.000001", b"'-00:00:00.000001'"),
        ("time", 19, 0, b"\x80\0\0", b"00:00:00", b"'00:00:00'"),
        ("timestamp(3)", 17, 3, b"\0\0\0\x01\x26\xf2", b"1970-01-01 00:00:01.997", b"'1970-01-01 00:00:01.997'"),
        ("timestamp", 17, 0, b"\xff" * 4, b"2106-02-07 06:28:15", b"'2106-02-07 06:28:15'"),
        ("datetime", 18, 0, b"\x80\0\0\0\0", b"0000-00-00 00:00:00", b"'0000-00-00 00:00:00'"),
        ("binary(4)", 254, 4, b"\x01", b"\x01\0\0\0", b"x'01000000'"),
        ("varbinary(4)", 15, 4, b"\xc3", b"\xc3", b"x'c3'"),
        ("blob", 252, 2, b"", b"", b"x''"),
        (
            "uuid",
            254,
            16,
            b"\x11" * 15,
            b"11111111-1111-1111-1111-111111111100",
            b"'11111111-1111-1111-1111-111111111100'",
        ),
        ("inet6", 254, 16, b"", b"::", b"'::'"),
        ("inet4", 254, 4, b"\x0a", b"10.0.0.0", b"'10.0.0.0'"),
        ("vector(1)", 242, 4, b"\0\0\x80\x3f", b"\0\0\x80\x3f", b"x'0000803f'"),
    ],
)
def test_values(column_type: str, kind: int, meta: int, raw: bytes, text: bytes, literal: bytes) -> None:
    assert write(column_type, kind, meta, raw) == (text, literal)


def test_strings_say_their_charset() -> None:
    assert write("varchar(10)", 15, 40, b"a'\\\xff", "latin1") == (b"a'\\\xff", b"_latin1 x'61275cff'")
    assert write("text", 252, 2, b"", "utf8mb4") == (b"", b"_utf8mb4 x''")
    assert write("char(3)", 254, 9, b"\xe2\x82\xac", "utf8") == (b"\xe2\x82\xac", b"_utf8mb3 x'e282ac'")
    assert write("longtext", 252, 4, b"{}", "utf8mb4")[1] == b"_utf8mb4 x'7b7d'"


def test_enums_and_sets() -> None:
    kind = "enum('a','it''s','b\\\\n','x,y')"
    assert [write(kind, 247, 1, bytes((n,)), "utf8mb4")[0] for n in range(5)] == [b"", b"a", b"it's", b"b\\n", b"x,y"]
    assert write(kind, 247, 1, b"\2", "utf8mb4")[1] == b"2"
    kind = "set('a','b','ж')"
    assert write(kind, 248, 1, b"\5", "cp1251") == ("a,ж".encode("cp1251"), b"5")
    assert write(kind, 248, 1, b"\0", "cp1251") == (b"", b"0")
    with pytest.raises(NotReadable):
        write(kind, 248, 1, b"\4", "latin1")
    with pytest.raises(NotReadable):
        write(kind, 248, 1, b"\x08", "cp1251")
    with pytest.raises(NotReadable):
        write("enum('a')", 247, 1, b"\2", "latin1")


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 65), st.data())
def test_decimals_of_every_precision(precision: int, data: st.DataObject) -> None:
    scale = data.draw(st.integers(0, min(precision, 38)))
    digits = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    raw = packed_decimal(digits, precision, scale)
    text, literal = write(f"decimal({precision},{scale})", 246, precision << 8 | scale, raw)
    assert text == literal
    assert int(text.replace(b".", b"")) == digits
    assert len(text.partition(b".")[2]) == scale


def packed_decimal(number: int, precision: int, scale: int) -> bytes:
    """As decimal2bin packs it: nine digits in four bytes, fewer in as many as they take."""
    sizes = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]
    digits = f"{abs(number):0{precision}d}"
    whole, fraction = digits[: precision - scale], digits[precision - scale :]
    first = len(whole) % 9
    parts = [whole[:first]] if first else []
    parts += [whole[n : n + 9] for n in range(first, len(whole), 9)]
    parts += [fraction[n : n + 9] for n in range(0, len(fraction), 9)]
    data = b"".join(int(part).to_bytes(sizes[len(part)], "big") for part in parts)
    if number < 0:
        data = bytes(byte ^ 0xFF for byte in data)
    return bytes((data[0] ^ 0x80,)) + data[1:]


@settings(max_examples=300, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back(single: float, double: float) -> None:
    raw = struct.pack("<f", single)
    for written in write("float", 4, 4, raw):
        assert struct.pack("<f", float(written)) == raw
    raw = struct.pack("<d", double)
    for written in write("double", 5, 8, raw):
        assert struct.pack("<d", float(written)) == raw
    assert b"e" in write("double", 5, 8, raw)[1]


def test_compressed_columns() -> None:
    value = bytes(1000)
    wrapped = b"\x82" + (1000).to_bytes(2, "big") + zlib.compress(value)
    bare = zlib.compressobj(wbits=-15)
    raw = b"\x8a" + (1000).to_bytes(2, "big") + bare.compress(value) + bare.flush()
    for stored in (wrapped, raw):
        assert write("blob /*M!100301 COMPRESSED*/", rows.BLOB_COMPRESSED, 2, stored)[0] == value
    assert write("varchar(9) /*M!100301 COMPRESSED*/", rows.VARCHAR_COMPRESSED, 9, b"\0ab", "latin1")[0] == b"ab"
    assert write("varbinary(9) /*M!100301 COMPRESSED*/", rows.VARCHAR_COMPRESSED, 9, b"")[0] == b""
    for damaged in (wrapped[:-1], b"\x82\0\0" + wrapped[3:], b"\x10abc", b"\x81\4" + b"abcd", b"\x87" + b"\xff" * 9):
        with pytest.raises(ProtocolError):
            write("blob", rows.BLOB_COMPRESSED, 2, damaged)


@pytest.mark.parametrize(
    ("column_type", "kind", "meta"),
    [
        ("int(11)", 8, 8),
        ("bigint(20)", 3, 4),
        ("time(3)", 19, 6),
        ("datetime", 17, 0),
        ("varchar(10)", 252, 2),
        ("uuid", 254, 4),
        ("json", 245, 4),
        ("frobnicate", 15, 4),
        ("decimal(10,2)", 3, 4),
    ],
)
def test_a_definition_of_another_time_is_refused(column_type: str, kind: int, meta: int) -> None:
    with pytest.raises(NotReadable, match="column c"):
        values.writer(Stored(kind, meta), definition("c", column_type, "utf8mb4"))


def test_texts_without_a_charset_are_refused() -> None:
    for charset in (None, "klingon"):
        with pytest.raises(NotReadable):
            values.writer(Stored(15, 40), definition("c", "varchar(10)", charset))


@pytest.mark.parametrize(
    ("column_type", "kind", "meta", "raw"),
    [
        ("int(11)", 3, 4, b"\0" * 3),
        ("double", 5, 8, struct.pack("<d", float("nan"))),
        ("float", 4, 4, struct.pack("<f", float("inf"))),
        ("decimal(2,0)", 246, 2 << 8, b"\xff"),
        ("time(2)", 19, 2, b"\x80\0\0\xff"),
        ("datetime", 18, 0, b"\0" * 5),
        ("inet6", 254, 16, b"\0" * 17),
    ],
)
def test_bytes_that_are_no_value(column_type: str, kind: int, meta: int, raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        write(column_type, kind, meta, raw)


def test_definitions_from_the_catalog() -> None:
    assert definitions(
        [
            (b"id", b"int(10) unsigned", None, b"auto_increment"),
            ("v", "varchar(20)", "latin1", "VIRTUAL GENERATED"),
            ("t", "datetime(6)", None, "on update current_timestamp(6)"),
            ("d", "double(20,5) unsigned zerofill", None, ""),
        ]
    ) == (
        Definition("id", "int", 10, True),
        Definition("v", "varchar", 20, False, "latin1", (), True),
        Definition("t", "datetime", 6),
        Definition("d", "double", 20, True),
    )
    assert definition("t", "datetime(6)").fraction_digits == 6
    for wrong in ("", "enum('a", "enum(a)", "(5)"):
        with pytest.raises(NotReadable):
            definition("c", wrong)


COLUMN_TYPES = [
    "tinyint", "int unsigned", "bigint", "float", "double", "decimal(10,4)", "bit(17)", "year", "date", "time(3)",
    "datetime(6)", "timestamp(1)", "enum('a','b')", "set('a','b')", "char(3)", "varchar(9)", "binary(3)", "text",
    "blob", "json", "point", "uuid", "inet6", "inet4",
]  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from(COLUMN_TYPES),
    st.sampled_from([*range(1, 20), *range(245, 256), 140, 141]),
    st.binary(max_size=3),
    st.binary(max_size=20),
)
def test_garbage(column_type: str, kind: int, meta: bytes, raw: bytes) -> None:
    column = definition("c", column_type, "utf8mb4")
    try:
        layout = Layout(memoryview(log.table_rest([kind], meta)), [column.fraction_digits])
        writer = values.writer(layout.stored(0), column)
        writer.text(raw)
        writer.literal(raw).decode("ascii")
    except (ProtocolError, NotReadable):
        return
