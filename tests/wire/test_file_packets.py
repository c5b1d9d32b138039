"""A client's file in packets: cut anywhere, of all sizes, and numbered wrongly."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire.file_packets import LARGEST, FilePackets, file_packets
from proxy.wire.frames import encode


def framed(pieces: list[bytes], sequence: int) -> bytes:
    out = b""
    for piece in [*pieces, b""]:
        out += encode(piece, sequence)
        sequence += 1 + len(piece) // 0xFFFFFF
    return out


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.integers(0, 300), max_size=12),
    st.integers(0, 255),
    st.binary(max_size=9),
)
def test_contents_and_end(pieces: list[bytes], cuts: list[int], sequence: int, behind: bytes) -> None:
    data = framed(pieces, sequence + 1)
    reader = FilePackets(sequence)
    out: list[bytes] = []
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    ends = []
    for start, end in itertools.pairwise(bounds):
        last = end == len(data)
        ends.append(reader.feed(data[start:end] + (behind if last else b""), out))
        if last:
            assert ends[-1] == end - start
    assert ends[:-1] == [-1] * (len(ends) - 1)
    assert b"".join(out) == b"".join(pieces)
    assert reader.sequence == (sequence + len(pieces) + 1) & 0xFF


def test_an_empty_packet_behind_a_full_one_is_not_the_end() -> None:
    reader = FilePackets(1)
    out: list[bytes] = []
    data = encode(b"x" * 0xFFFFFF, 2)
    assert len(data) == 0xFFFFFF + 8
    assert reader.feed(data, out) == -1
    assert reader.feed(encode(b"y", 4), out) == -1
    assert reader.feed(encode(b"", 5), out) == 4
    assert b"".join(out) == b"x" * 0xFFFFFF + b"y"


def test_packets_that_are_not_numbered_in_turn() -> None:
    with pytest.raises(ProtocolError, match="out of order"):
        FilePackets(1).feed(encode(b"x", 3), [])


@pytest.mark.parametrize("size", [0, 1, LARGEST, LARGEST + 1, 5 * LARGEST + 7])
def test_made_packets_are_read_back(size: int) -> None:
    contents = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    made, following = file_packets(contents, 254) if size else (b"", 254)
    end, _ = file_packets(b"", following)
    reader = FilePackets(253)
    out: list[bytes] = []
    assert reader.feed(made + end, out) == len(made + end)
    assert b"".join(out) == contents
    assert all(len(piece) <= LARGEST for piece in out)
