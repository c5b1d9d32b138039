from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire.frames import MAX_PAYLOAD, FrameReader, encode, next_sequence


def header(length: int, sequence: int) -> bytes:
    return length.to_bytes(3, "little") + bytes([sequence])


def test_a_frame_is_length_sequence_and_payload() -> None:
    assert encode(b"\x0e", 0) == b"\x01\x00\x00\x00\x0e"
    assert encode(b"", 255) == b"\x00\x00\x00\xff"
    assert FrameReader(10).feed(b"\x01\x00\x00\x07\x0e") == [(b"\x0e", 7)]


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 255)), max_size=6), st.data())
def test_payloads_come_back_however_they_are_cut(packets: list[tuple[bytes, int]], data: st.DataObject) -> None:
    stream = b"".join(encode(payload, sequence) for payload, sequence in packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = FrameReader(40)
    got = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += reader.feed(stream[start:end])
    assert got == packets
    assert reader.pending == 0


def test_byte_by_byte() -> None:
    stream = encode(b"select", 0) + encode(b"", 1) + encode(b"x", 2)
    reader = FrameReader(100)
    got = [payload for byte in stream for payload in reader.feed(bytes([byte]))]
    assert got == [(b"select", 0), (b"", 1), (b"x", 2)]


@pytest.mark.parametrize("extra", [-1, 0, 1, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 5])
def test_sixteen_megabytes_and_more_are_split_and_joined(extra: int) -> None:
    payload = b"ab" * ((MAX_PAYLOAD + extra) // 2) + b"c" * ((MAX_PAYLOAD + extra) % 2)
    stream = encode(payload, 254)
    frames = (len(stream) - len(payload)) // 4
    assert frames == len(payload) // MAX_PAYLOAD + 1
    last = (254 + frames - 1) & 0xFF
    reader = FrameReader(len(payload))
    step = 3_000_001
    got = [found for start in range(0, len(stream), step) for found in reader.feed(stream[start : start + step])]
    assert [sequence for _, sequence in got] == [last]
    assert got[0][0] == payload
    assert next_sequence(len(payload), 254) == (last + 1) & 0xFF
    assert reader.pending == 0


def test_the_declared_length_alone_is_enough_to_refuse() -> None:
    reader = FrameReader(1000)
    with pytest.raises(ProtocolError) as raised:
        reader.feed(header(1001, 0))
    assert (raised.value.errno, raised.value.sqlstate) == (1153, "08S01")
    assert raised.value.message == "Got a packet bigger than 'max_allowed_packet' bytes"
    assert reader.pending == 0


def test_the_sum_of_a_split_payload_counts() -> None:
    reader = FrameReader(MAX_PAYLOAD + 10)
    assert reader.feed(encode(bytes(MAX_PAYLOAD), 0)[: MAX_PAYLOAD + 4]) == []
    assert reader.pending == MAX_PAYLOAD
    with pytest.raises(ProtocolError) as raised:
        reader.feed(header(11, 1))
    assert raised.value.errno == 1153


def test_the_limit_itself_is_allowed() -> None:
    assert FrameReader(5).feed(encode(b"12345", 0)) == [(b"12345", 0)]
    with pytest.raises(ProtocolError):
        FrameReader(5).feed(encode(b"123456", 0))


def test_parts_of_a_payload_must_be_numbered_in_turn() -> None:
    reader = FrameReader(MAX_PAYLOAD * 2)
    reader.feed(header(MAX_PAYLOAD, 255) + bytes(MAX_PAYLOAD))
    with pytest.raises(ProtocolError) as raised:
        reader.feed(header(1, 1) + b"x")
    assert (raised.value.errno, raised.value.sqlstate, raised.value.message) == (
        1156,
        "08S01",
        "Got packets out of order",
    )


def test_a_broken_reader_stays_broken() -> None:
    reader = FrameReader(5)
    with pytest.raises(ProtocolError):
        reader.feed(header(6, 0))
    with pytest.raises(ProtocolError):
        reader.feed(encode(b"ok", 0))
    reader.append(b"more")
    assert reader.pending == 0
    with pytest.raises(ProtocolError):
        reader.next_payload()


def test_memory_is_what_was_received_not_what_was_declared() -> None:
    reader = FrameReader(1 << 30)
    reader.feed(header(MAX_PAYLOAD, 0) + b"abc")
    assert reader.pending == 7


def test_what_follows_a_payload_can_be_handed_over() -> None:
    reader = FrameReader(100)
    reader.append(encode(b"first", 1) + b"\x16\x03\x01\x02\x00\x01")
    assert reader.next_payload() == (b"first", 1)
    assert reader.pending == 6
    assert reader.take_pending() == b"\x16\x03\x01\x02\x00\x01"
    assert reader.pending == 0


def test_half_a_split_payload_cannot_be_handed_over() -> None:
    reader = FrameReader(MAX_PAYLOAD * 2)
    reader.feed(header(MAX_PAYLOAD, 0) + bytes(MAX_PAYLOAD))
    with pytest.raises(ProtocolError):
        reader.take_pending()
