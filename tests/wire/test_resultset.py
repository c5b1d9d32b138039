from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire import packets
from proxy.wire.frames import FrameReader, encode
from proxy.wire.resultset import (
    ColumnDefinition,
    ResultsetReader,
    encode_column,
    encode_resultset,
    int_column,
    parse_column,
    parse_row,
    text_column,
)

# `select 1` as MariaDB 10.11 answered it.
SELECT_1 = [
    b"\x01",
    b"\x03def\x00\x00\x00\x011\x00\x0c?\x00\x01\x00\x00\x00\x03\x81\x00\x00\x00\x00",
    b"\xfe\x00\x00\x02\x00",
    b"\x011",
    b"\xfe\x00\x00\x02\x00",
]


def feed_all(reader: ResultsetReader, payloads: list[bytes]) -> None:
    for payload in payloads:
        reader.feed(payload)


def read(payloads: list[bytes], **options: bool) -> ResultsetReader:
    reader = ResultsetReader(**options)
    for index, payload in enumerate(payloads):
        assert reader.feed(payload) == (index == len(payloads) - 1)
    return reader


def test_a_select_as_servers_answer_it() -> None:
    reader = read(SELECT_1)
    assert reader.rows == [[b"1"]]
    assert reader.columns == [ColumnDefinition(b"def", b"", b"", b"", b"1", b"", 63, 1, 3, 0x81, 0)]
    assert reader.ok == packets.Ok(0, 0, 2, 0)
    assert reader.err is None


def test_an_answer_of_our_own_is_the_same_bytes() -> None:
    column = ColumnDefinition(b"def", b"", b"", b"", b"1", b"", 63, 1, 3, 0x81, 0)
    expected = b"".join(encode(payload, sequence) for sequence, payload in enumerate(SELECT_1, 1))
    assert encode_resultset([column], [[b"1"]]) == expected


def test_a_result_without_rows_and_its_flags() -> None:
    data = encode_resultset([text_column("a"), int_column("b")], [], status=0x22, warnings=7)
    reader = read([payload for payload, _ in FrameReader(1000).feed(data)])
    assert [column.name for column in reader.columns] == [b"a", b"b"]
    assert reader.rows == []
    assert reader.ok == packets.Ok(0, 0, 0x22, 7)


@given(st.lists(st.lists(st.none() | st.binary(max_size=300), min_size=2, max_size=2), max_size=20))
def test_rows_come_back(rows: list[list[bytes | None]]) -> None:
    data = encode_resultset([text_column("é"), text_column("b", 8)], rows)
    payloads = FrameReader(10_000).feed(data)
    assert [sequence for _, sequence in payloads] == list(range(1, len(payloads) + 1))
    assert read([payload for payload, _ in payloads]).rows == rows


def test_sequence_ids_wrap_and_big_rows_are_split() -> None:
    big = b"x" * (1 << 24)
    data = encode_resultset([text_column("a")], [[b"1"]] * 251 + [[big], [b"end"]])
    payloads = FrameReader(1 << 25).feed(data)
    # 1 count, 1 column, 1 EOF, 251 rows, then two frames, a row, EOF
    assert [sequence for _, sequence in payloads[-4:]] == [254, 0, 1, 2]
    assert read([payload for payload, _ in payloads]).rows[-2:] == [[big], [b"end"]]


def test_ok_and_error() -> None:
    assert read([packets.encode_ok(3, 9)]).ok == packets.Ok(3, 9, 2, 0)
    reader = read([packets.encode_err(1146, "42S02", "no such table")])
    assert reader.err == packets.Err(1146, "42S02", b"no such table")
    assert reader.ok is None


def test_an_error_may_end_rows() -> None:
    reader = read([*SELECT_1[:4], packets.encode_err(1317, "70100", "interrupted")])
    assert reader.err is not None
    assert reader.err.errno == 1317


def test_of_several_results_the_last_counts() -> None:
    more = packets.encode_ok(1, 0, 0x0A)
    rows_and_more = [*SELECT_1[:2], packets.encode_eof(0, 10), SELECT_1[3], packets.encode_eof(0, 10)]
    assert read([more, *SELECT_1]).rows == [[b"1"]]
    last = read([*rows_and_more, packets.encode_ok(5, 0)])
    assert last.rows == []
    assert last.columns == []
    assert last.ok == packets.Ok(5, 0, 2, 0)


@pytest.mark.parametrize(
    "payloads",
    [
        [b""],
        [b"\xfb/etc/passwd"],
        [b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"],
        [b"\x01\x01"],
        [b"\x01", b"\x03def"],
        [b"\x01", SELECT_1[1], SELECT_1[3]],
        [*SELECT_1[:3], b"\x011\x012"],
        [*SELECT_1[:3], b"\x05ab"],
        [*SELECT_1[:3], b"\xfe\x00"],
        [*SELECT_1, SELECT_1[4]],
    ],
)
def test_malformed_results_are_refused(payloads: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        feed_all(ResultsetReader(), payloads)


def test_rows_are_bounded() -> None:
    reader = ResultsetReader(max_bytes=100)
    feed_all(reader, SELECT_1[:3])
    feed_all(reader, [SELECT_1[3]] * 20)
    with pytest.raises(ProtocolError):
        feed_all(reader, [SELECT_1[3]] * 50)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_garbage_is_read_or_refused(payloads: list[bytes]) -> None:
    with contextlib.suppress(ProtocolError):
        feed_all(ResultsetReader(), payloads)


def test_column_definitions_come_back() -> None:
    column = ColumnDefinition(b"def", b"s", b"t", b"ot", b"n", b"on", 45, 0xFFFFFFFF, 252, 0x1011, 31)
    assert parse_column(encode_column(column)) == column
    assert parse_column(encode_column(column) + b"\x07default") == column
    for end in range(len(encode_column(column))):
        with pytest.raises(ProtocolError):
            parse_column(encode_column(column)[:end])


def test_a_row_needs_all_its_columns() -> None:
    assert parse_row(b"\x01a\xfb", 2) == [b"a", None]
    with pytest.raises(ProtocolError):
        parse_row(b"\x01a", 2)
