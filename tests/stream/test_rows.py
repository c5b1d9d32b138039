"""Row images as bytes: where values are, NULLs, images without a column, and what is malformed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.stream import events as ev
from proxy.stream import rows
from proxy.stream.events import Decoder, Rows
from proxy.stream.rows import Image, Layout, NotThere, Stored
from tests.stream import log

INT, VARCHAR = 3, 15
SHORT_LONG = b"\x50\0" + b"\x90\1"  # VARCHAR of 80 and of 400 bytes


def layout(*types: int, meta: bytes = b"") -> Layout:
    return Layout(memoryview(log.table_rest(types, meta)))


def decoded(kind: int, columns: int, images: bytes) -> Rows:
    found = Decoder(True).decode(log.rows(kind, 1, columns, images))
    assert isinstance(found, Rows)
    return found


def images(of: Layout, found: Rows, wanted: list[int]) -> list[tuple[Image | None, Image | None]]:
    return list(of.images(found, wanted))


def test_inserts_updates_and_deletes_of_both_versions() -> None:
    table = layout(INT, VARCHAR, VARCHAR, INT, meta=SHORT_LONG)
    one = b"\x00" + b"\1\0\0\0" + b"\2ab" + b"\3\0xyz" + b"\7\0\0\0"
    two = b"\xf6" + b"\2\0\0\0" + b"\x09\0\0\0"  # both VARCHARs are NULL; spare bits are set
    first, second = [b"\1\0\0\0", b"\7\0\0\0"], [b"\2\0\0\0", b"\x09\0\0\0"]
    for kind in (log.INSERT_V1, log.INSERT_V2):
        assert images(table, decoded(kind, 4, one + two), [0, 3]) == [(None, first), (None, second)]
    for kind in (log.DELETE_V1, log.DELETE_V2):
        assert images(table, decoded(kind, 4, one + two), [0, 3]) == [(first, None), (second, None)]
    for kind in (log.UPDATE_V1, log.UPDATE_V2):
        assert images(table, decoded(kind, 4, one + two), [0, 3]) == [(first, second)]
    assert images(table, decoded(log.INSERT_V1, 4, one + two), [1, 2]) == [
        (None, [b"ab", b"xyz"]),
        (None, [None, None]),
    ]
    assert images(table, decoded(log.INSERT_V1, 4, one), []) == [(None, [])]


def test_compressed_rows() -> None:
    table = layout(INT)
    data = b"".join(b"\0" + struct.pack("<I", n) for n in range(1000))
    event = log.event(166, (1).to_bytes(6, "little") + b"\1\0" + b"\1\xff" + log.compressed(data))
    found = Decoder(True).decode(event)
    assert isinstance(found, Rows)
    assert [image[0] for _, image in table.images(found, [0]) if image] == [struct.pack("<I", n) for n in range(1000)]


def test_images_with_some_columns_only() -> None:
    """binlog_row_image=MINIMAL: the bitmap of NULLs has bits for the columns that are there."""
    table = layout(INT, INT, INT)
    body = b"\3" + b"\x05" + b"\x02" + b"\1\0\0\0"  # columns 0 and 2, the latter NULL
    event = ev.Rows(Decoder(True).decode(log.xid()).header, ev.Change.INSERT, 1, True, memoryview(body), False)
    assert images(table, event, [0, 2]) == [(None, [b"\1\0\0\0", None])]
    with pytest.raises(NotThere):
        images(table, event, [1])


def test_no_columns_at_all_is_refused() -> None:
    """An image of no bytes would never come to the end of the rows."""
    table = layout(INT)
    body = b"\1\0garbage"
    event = ev.Rows(Decoder(True).decode(log.xid()).header, ev.Change.INSERT, 1, True, memoryview(body), False)
    with pytest.raises(ProtocolError):
        images(table, event, [])


def test_what_the_table_map_says_of_columns() -> None:
    table = layout(
        1,
        2,
        9,
        3,
        8,
        4,
        5,
        246,
        16,
        254,
        254,
        254,
        18,
        252,
        254,
        meta=bytes.fromhex("04 08 0a04 0102 f701 f803 fe50 06 03 ce58".replace(" ", "")),
    )
    assert [table.stored(n) for n in range(15)] == [
        Stored(rows.TINY, 1),
        Stored(rows.SHORT, 2),
        Stored(rows.INT24, 3),
        Stored(rows.LONG, 4),
        Stored(rows.LONGLONG, 8),
        Stored(rows.FLOAT, 4),
        Stored(rows.DOUBLE, 8),
        Stored(rows.DECIMAL, 10 << 8 | 4),
        Stored(rows.BIT, 17),
        Stored(rows.ENUM, 1),
        Stored(rows.SET, 3),
        Stored(rows.STRING, 80),
        Stored(rows.DATETIME2, 6),
        Stored(rows.BLOB, 3),
        Stored(rows.STRING, 0x358),
    ]
    assert table.sizes == [1, 2, 3, 4, 8, 4, 8, 5, 3, 1, 3, -1, 8, -3, -2]
    assert not table.guessed


def test_old_temporal_columns_need_the_catalog() -> None:
    rest = memoryview(log.table_rest([11, 12, 7, INT]))
    assert Layout(rest).guessed
    assert Layout(rest, [0, 0]).guessed  # of another definition
    assert Layout(rest).sizes == [3, 8, 4, 4]
    known = Layout(rest, [6, 3, 1, 0])
    assert not known.guessed
    assert known.sizes == [6, 7, 5, 4]
    with pytest.raises(ProtocolError):
        Layout(rest, [7, 0, 0, 0])


@pytest.mark.parametrize(
    ("types", "meta"),
    [
        ([20], b""),
        ([200], b""),
        ([15], b"\1"),
        ([4], b"\5"),
        ([18], b"\7"),
        ([16], b"\0\0"),
        ([16], b"\1\x08"),
        ([246], b"\x42\0"),
        ([246], b"\3\4"),
        ([252], b"\0"),
        ([252], b"\5"),
        ([254], b"\xf7\3"),
        ([254], b"\xf8\x09"),
    ],
)
def test_table_maps_that_cannot_be(types: list[int], meta: bytes) -> None:
    with pytest.raises(ProtocolError):
        layout(*types, meta=meta)


@pytest.mark.parametrize("kind", [log.INSERT_V1, log.UPDATE_V1, log.DELETE_V2])
def test_rows_cut_anywhere(kind: int) -> None:
    table = layout(INT, VARCHAR, VARCHAR, meta=SHORT_LONG)
    image = b"\0" + b"\1\0\0\0" + b"\2ab" + b"\3\0xyz"
    found = decoded(kind, 3, image * 2)
    whole = bytes(found.body)
    complete = 0
    for end in range(len(whole)):
        cut = ev.Rows(found.header, found.change, 1, True, memoryview(whole)[:end], False)
        try:
            images(table, cut, [0, 2])
        except ProtocolError:
            continue
        complete += 1
    assert complete <= 2  # between rows


def test_rows_of_another_table_map() -> None:
    with pytest.raises(ProtocolError):
        images(layout(INT), decoded(log.INSERT_V1, 2, b"\0" + bytes(8)), [0])


META = st.binary(max_size=12)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from([*range(21), *range(140, 142), 242, *range(245, 256)]), max_size=20),
    META,
    st.sampled_from([*ev.ROWS]),
    st.binary(max_size=200),
    st.booleans(),
)
def test_garbage(types: list[int], meta: bytes, kind: int, body: bytes, all_wanted: bool) -> None:
    try:
        table = layout(*types, meta=meta)
        found = decoded(kind, len(types), body)
        total = 0
        for before, after in table.images(found, range(len(types)) if all_wanted else ()):
            total += 1
            assert before is not None or after is not None
        assert total <= len(body) or found.compressed
    except (ProtocolError, NotThere):
        return
