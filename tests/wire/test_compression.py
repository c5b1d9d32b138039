from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire.compression import HEADER, MAX_PAYLOAD, SLICE, CompressedReader, compressed


def packet(data: bytes, sequence: int, length: int) -> bytes:
    """As the header says it, right or wrong."""
    return len(data).to_bytes(3, "little") + bytes([sequence]) + length.to_bytes(3, "little") + data


def everything(reader: CompressedReader) -> bytes:
    parts = []
    while (part := reader.read()) is not None:
        parts.append(part)
    return b"".join(parts)


def test_short_data_is_sent_as_it_is() -> None:
    assert compressed(b"\x01\0\0\0\x0e", 0) == (b"\x05\0\0\0\0\0\0\x01\0\0\0\x0e", 1)


def test_what_compression_makes_longer_is_sent_as_it_is() -> None:
    noise = random.Random(5).randbytes(500)
    assert compressed(noise, 7) == (packet(noise, 7, 0), 8)


def test_the_header_says_both_lengths() -> None:
    made, following = compressed(b"a" * 5000, 255)
    assert following == 0
    assert made[:HEADER] == (len(made) - HEADER).to_bytes(3, "little") + b"\xff" + (5000).to_bytes(3, "little")
    assert zlib.decompress(made[HEADER:]) == b"a" * 5000


@pytest.mark.parametrize("extra", [-1, 0, 1, 70_000])
def test_more_than_a_packet_holds_is_spread_over_several(extra: int) -> None:
    data = b"0123456789abcdef" * ((MAX_PAYLOAD + extra) // 16) + b"x" * ((MAX_PAYLOAD + extra) % 16)
    made, following = compressed(data, 254)
    assert following == (0 if extra > 0 else 255)
    reader = CompressedReader()
    reader.append(made)
    assert everything(reader) == data
    assert reader.sequence == (following - 1) & 0xFF


@given(st.lists(st.binary(max_size=300).map(lambda part: part * 3), max_size=6), st.data())
def test_data_comes_back_however_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    sequence, stream = 0, b""
    for part in parts:
        made, sequence = compressed(part, sequence)
        stream += made
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = CompressedReader()
    got = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.append(stream[start:end])
        got += everything(reader)
    assert got == b"".join(parts)
    assert reader.pending == 0


def test_byte_by_byte_in_slices() -> None:
    stream = compressed(b"select " * 40, 0)[0] + compressed(b"", 1)[0] + compressed(b"x", 0)[0]
    reader = CompressedReader()
    got = []
    for byte in stream:
        reader.append(bytes([byte]))
        while (part := reader.read(100)) is not None:
            got.append((part, reader.sequence, reader.begins))
    assert [(len(part), sequence, begins) for part, sequence, begins in got] == [
        (100, 0, True),
        (100, 0, False),
        (80, 0, False),
        (1, 0, True),
    ]
    assert b"".join(part for part, _, _ in got) == b"select " * 40 + b"x"


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (zlib.compress(b"a" * 100), 99),  # longer than declared
        (zlib.compress(b"a" * 100), 101),  # shorter
        (zlib.compress(b"a" * 100)[:-1], 100),  # cut short: its checksum is missing
        (zlib.compress(b"a" * 100) + b"x", 100),  # something behind it
        (b"not zlib at all", 100),
        (b"", 5),
        (zlib.compress(b"a" * MAX_PAYLOAD * 2), MAX_PAYLOAD),  # a bomb
    ],
)
def test_what_does_not_fit_its_header_is_refused_for_good(data: bytes, length: int) -> None:
    reader = CompressedReader()
    reader.append(packet(data, 0, length) + compressed(b"fine", 1)[0])
    for _ in range(2):
        with pytest.raises(ProtocolError) as raised:
            reader.read()
        assert (raised.value.errno, raised.value.sqlstate) == (1157, "08S01")
        assert raised.value.message == "Couldn't uncompress communication packet"
    assert reader.pending == 0


def test_declared_lengths_allocate_nothing() -> None:
    bomb = zlib.compress(b"\0" * (64 << 20), 9)
    reader = CompressedReader()
    tracemalloc.start()
    reader.append(b"\xff\xff\xff\0\xff\xff\xff" + b"x" * 1000)
    assert reader.read() is None
    other = CompressedReader()
    other.append(packet(bomb, 0, 1000))
    with pytest.raises(ProtocolError):
        other.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


def test_one_packet_is_inflated_at_a_time() -> None:
    """However much is there, no more is held in clear than one packet's."""
    one, _ = compressed(b"\0" * MAX_PAYLOAD, 0)
    reader = CompressedReader()
    reader.append(one * 50)  # 800 MB in clear
    total = 0
    tracemalloc.start()
    while (part := reader.read()) is not None:
        assert len(part) <= SLICE
        total += len(part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 50 * MAX_PAYLOAD
    assert peak < 40 << 20
