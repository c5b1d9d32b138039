"""The link: messages whole, split and joined; answers to their questions; what is not ours ends it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli import link as wire
from proxy.cli.link import Link, LinkBroken, Reader, encode
from proxy.measure.measures import Measures
from proxy.measure.states import SequenceState, ServerState, SessionState


def snapshot() -> wire.Snapshot:
    measures = Measures()
    shape = measures.shape("SELECT ?", "shard", ["shop.t"], ["a", "b"])
    shape.record(5000, 3000, 2, 100, True)
    server = measures.server("a", "127.0.0.1:1", "primary")
    server.opened += 1
    server.closed.add("idle")
    measures.error(1062)
    return wire.Snapshot(measures.take(), [ServerState("a", "127.0.0.1:1", "primary", "up", lag_s=None)], 12345)


def packed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


MESSAGES: list[wire.Message] = [
    wire.Start(b"turnout: 1\n", 3, 8, "::1", 3307),
    wire.Reload(7, b"\x80\x05"),
    wire.Follow(b"turnout: 1\n", "main", 3),
    wire.StreamState("following", "", 1, 500, 400, 30, 0, 1, 40 << 20, 123_456),
    wire.AskSessions(1),
    wire.AskSequences(14),
    wire.Kill(2, 2**40 + 5, True, "app", False),
    wire.Refresh(9),
    wire.Drain(2.5),
    wire.Ready(4711),
    wire.Failed("why"),
    snapshot(),
    wire.Drained(),
    wire.Show(9, "SHAPES LIMIT 3"),
    wire.ReloadNow(10),
    wire.Outcome(11, "", ["a", "b"]),
    wire.Sessions(12, [SessionState(65, "app", "h", database=None, seconds=1.5)]),
    wire.Sequences(15, [SequenceState("main", "shop.orders.id", 2**63, 7, 8), SequenceState("main", problem="down")]),
    wire.Rows(13, ["a", "b"], [["x", 1], [1.5, None]]),
]


def test_every_message_survives() -> None:
    assert Reader().feed(b"".join(map(encode, MESSAGES))) == MESSAGES
    assert len(MESSAGES) == len(wire.Message.__args__), "a new message belongs in this list"


@given(st.lists(st.integers(1, 50), min_size=1))
def test_messages_come_out_however_the_bytes_are_split(sizes: list[int]) -> None:
    data = b"".join(map(encode, MESSAGES))
    reader = Reader()
    found: list[wire.Message] = []
    position = 0
    while position < len(data):
        size = sizes[position % len(sizes)]
        found += reader.feed(data[position : position + size])
        position += size
    assert found == MESSAGES


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", wire.MAX_BYTES + 1),
        packed(b""),
        packed(b"\xc1abc"),
        packed(msgspec.msgpack.encode({"type": "nobody"})),
        packed(msgspec.msgpack.encode({"type": "ready"})),
        packed(msgspec.msgpack.encode({"type": "ready", "pid": "x"})),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(LinkBroken):
        Reader().feed(data)


class End:
    """A receiver that answers Show, keeps the rest, and says nothing to AskSessions."""

    def __init__(self) -> None:
        self.got: list[wire.Message] = []
        self.ended = asyncio.Event()

    def received(self, link: Link, message: wire.Message) -> None:
        self.got.append(message)
        if isinstance(message, wire.Show):
            link.send(wire.Rows(message.id, [message.what], []))

    def closed(self, link: Link) -> None:
        self.ended.set()


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[Link, Link, End, End]]:
    left, right = socket.socketpair()
    ends = End(), End()
    links = Link(ends[0]), Link(ends[1])
    loop = asyncio.get_running_loop()
    for link, channel in zip(links, (left, right), strict=True):
        channel.setblocking(False)
        await loop.create_unix_connection(lambda link=link: link, sock=channel)  # type: ignore[misc]
    try:
        yield (*links, *ends)
    finally:
        for link in links:
            link.close()
        await asyncio.wait_for(ends[0].ended.wait(), 5)
        await asyncio.wait_for(ends[1].ended.wait(), 5)


def test_answers_find_their_questions_in_both_directions() -> None:
    async def scene() -> None:
        async with pair() as (one, other, _, _):
            answers = await asyncio.gather(
                *(side.ask(partial(wire.Show, what=f"{n}"), 5) for n, side in enumerate((one, other, one, one)))
            )
            assert [answer.columns for answer in answers if isinstance(answer, wire.Rows)] == [
                ["0"],
                ["1"],
                ["2"],
                ["3"],
            ]

    asyncio.run(scene())


def test_a_question_without_an_answer_times_out_and_leaves_nothing_behind() -> None:
    async def scene() -> None:
        async with pair() as (one, other, _, end):
            with pytest.raises(TimeoutError):
                await one.ask(wire.AskSessions, 0.05)
            other.send(wire.Sessions(1, []))  # too late: for nobody
            answer = await one.ask(lambda id: wire.Show(id, "x"), 5)
            assert isinstance(answer, wire.Rows)
            assert end.got[0] == wire.AskSessions(1)

    asyncio.run(scene())


def test_questions_end_when_the_peer_is_gone() -> None:
    async def scene() -> None:
        async with pair() as (one, other, end, _):
            asking = asyncio.create_task(one.ask(wire.AskSessions, 5))
            await asyncio.sleep(0)
            other.close()
            with pytest.raises(LinkBroken):
                await asking
            await asyncio.wait_for(end.ended.wait(), 5)
            with pytest.raises(LinkBroken):
                await one.ask(wire.AskSessions, 5)
            one.send(wire.Drained())  # nothing, and no error

    asyncio.run(scene())


def test_a_peer_that_talks_nonsense_is_cut_off() -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair()
        end = End()
        ours.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: Link(end), sock=ours)
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.wait_for(end.ended.wait(), 5)
        assert end.got == []
        theirs.close()

    asyncio.run(scene())
