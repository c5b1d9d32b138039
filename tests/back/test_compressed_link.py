"""Compression between a transport and a protocol: what is not wanted stays compressed, and is bounded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from proxy.back.compressed import CompressedLink
from proxy.errors import ProtocolError
from proxy.front.compressed import ClientLink
from proxy.wire.compression import MAX_PAYLOAD, SLICE, CompressedReader, compressed, whole_frames
from proxy.wire.frames import encode

ROW = b"r" * 1000
NOISE = random.Random(3).randbytes(1000)


class Transport(asyncio.Transport):
    """Keeps what is written, and whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        self.written.append(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class Upper(asyncio.Protocol):
    """The protocol above: pauses after so many deliveries."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.link: Link
        self.pause_after = 1 << 30
        self.then: Callable[[], None] | None = None

    def data_received(self, data: bytes) -> None:
        self.got.append(data)
        if len(self.got) == self.pause_after:
            self.link.pause_reading()
        if self.then is not None:
            self.then()


class Link(CompressedLink):
    def __init__(self, transport: Transport, upper: Upper) -> None:
        self.errors: list[ProtocolError] = []
        super().__init__(transport, None, upper, self.errors.append)
        upper.link = self
        self.numbers: list[int] = []
        self.is_wanted = True

    def pack(self, data: bytes) -> bytes:
        return compressed(data, 7)[0]

    def wanted(self) -> bool:
        return self.is_wanted

    def arrived(self, sequence: int) -> None:
        self.numbers.append(sequence)


def linked() -> tuple[Transport, Upper, Link]:
    transport, upper = Transport(), Upper()
    link = Link(transport, upper)
    link.start(b"")
    assert transport.protocol is link
    return transport, upper, link


def rows(count: int) -> bytes:
    return b"".join(compressed(ROW, number & 0xFF)[0] for number in range(count))


def in_loop(scene: Callable[[], Any]) -> None:
    async def run() -> None:
        scene()
        await asyncio.sleep(0)  # what was put off to the next turn of the loop
        await asyncio.sleep(0)

    asyncio.run(run())


def test_a_pause_in_the_middle_of_what_has_come() -> None:
    transport, upper, link = linked()

    def scene() -> None:
        upper.pause_after = 3
        link.data_received(rows(10))
        assert upper.got == [ROW] * 3
        assert not transport.reading
        link.resume_reading()
        assert transport.reading
        assert len(upper.got) == 3, "not while the caller runs"

    in_loop(scene)
    assert upper.got == [ROW] * 10
    assert link.numbers == list(range(10))


def test_what_is_not_wanted_is_held_and_bounded() -> None:
    transport, upper, link = linked()
    link.is_wanted = False
    link.data_received(rows(3))
    assert (upper.got, transport.reading) == ([], True)
    link.data_received(compressed(NOISE, 0)[0] * (SLICE // len(NOISE) + 1))
    assert (upper.got, transport.reading) == ([], False)
    link.is_wanted = True
    link.deliver()
    assert upper.got[:3] == [ROW] * 3
    assert transport.reading


def test_a_pause_and_a_full_link_both_have_to_end() -> None:
    transport, upper, link = linked()

    def scene() -> None:
        upper.pause_after = 1
        many = SLICE // len(compressed(ROW, 0)[0]) + 10
        link.data_received(rows(many))
        assert not transport.reading
        link.resume_reading()
        assert not transport.reading, "it is full"

    in_loop(scene)
    assert transport.reading
    assert set(upper.got) == {ROW}


def test_what_is_delivered_may_ask_for_more_without_going_deeper() -> None:
    _, upper, link = linked()
    upper.then = link.deliver
    link.data_received(rows(5000))
    assert len(upper.got) == 5000


def test_nothing_is_delivered_after_the_end() -> None:
    transport, upper, link = linked()
    upper.then = transport.close
    link.data_received(rows(5))
    assert len(upper.got) == 1


def test_what_is_wrong_is_told_once_behind_what_was_right() -> None:
    _, upper, link = linked()
    link.data_received(rows(2) + b"\x05\0\0\0\x64\0\0hello" + rows(2))
    assert upper.got == [ROW] * 2
    assert [error.errno for error in link.errors] == [1157]


def test_what_is_written_is_packed() -> None:
    transport, _, link = linked()
    link.write(ROW)
    assert transport.written == [compressed(ROW, 7)[0]]


def test_a_client_gets_whole_frames_however_an_answer_comes() -> None:
    """A frame is never in three compressed packets, nor its header in two."""
    rng = random.Random(5)
    frames = [
        encode(rng.randbytes(length), n & 0xFF) for n, length in enumerate((0, 1, 300, 70_000, 5, 800_000, 3, 200))
    ]
    stream = b"".join(frames)
    for most in (1, 2, 7, 1000, 65_536, len(stream)):
        transport = Transport()
        link = ClientLink(transport, None, cast(Any, SimpleNamespace()))
        at = 0
        while at < len(stream):
            if most < 10 and 4 + 301 < at < len(stream) - 300:
                step = 50_000
            else:
                step = most
            link.write(stream[at : at + step])
            at += step
        reader = CompressedReader()
        found = b""
        for packet in transport.written:
            reader.append(packet)
            inside = b""
            while (piece := reader.read()) is not None:
                inside += piece
            end, _ = whole_frames(inside)
            assert inside
            assert end == len(inside)
            found += inside
        assert found == stream


def test_a_frame_of_16_mb_takes_two_packets() -> None:
    frame = encode(b"\x00" * (MAX_PAYLOAD - 1), 0)
    transport = Transport()
    link = ClientLink(transport, None, cast(Any, SimpleNamespace()))
    for at in range(0, len(frame), SLICE):
        link.write(frame[at : at + SLICE])
    reader = CompressedReader()
    reader.append(b"".join(transport.written))
    pieces = []
    begins = 0
    while (piece := reader.read()) is not None:
        begins += reader.begins
        pieces.append(piece)
    assert begins == 2
    assert b"".join(pieces) == frame
