"""memcached's replies, whole and in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.replies import MalformedReply, Outcome, Reply, ReplyReader, get_request, set_request


def written(reply: Reply) -> bytes:
    if isinstance(reply, tuple):
        return b"VALUE %b 0 %d\r\n%b\r\n" % (reply[0], len(reply[1]), reply[1])
    lines = {
        Outcome.END: b"END",
        Outcome.STORED: b"STORED",
        Outcome.NOT_STORED: b"NOT_STORED",
        Outcome.GONE: b"DELETED",
        Outcome.TOO_LONG: b"SERVER_ERROR object too large for cache",
        Outcome.FAILED: b"SERVER_ERROR full",
    }
    return lines[reply] + b"\r\n"


def test_requests() -> None:
    assert get_request([b"turnout:1:ab"]) == b"get turnout:1:ab\r\n"
    assert get_request({b"a": 1, b"b": 2}) == b"get a b\r\n"
    assert set_request(b"k", b"a\r\nb", 60) == b"set k 0 60 4\r\na\r\nb\r\n"


@given(
    st.lists(
        st.one_of(
            st.sampled_from(Outcome),
            st.tuples(
                st.sampled_from([b"k", b"another"]),
                st.one_of(st.binary(max_size=40), st.just(b"x\r\nEND\r\n"), st.just(b"STORED\r\n")),
            ),
        )
    ),
    st.data(),
)
def test_replies_are_the_same_in_whatever_pieces_they_come(replies: list[Reply], data: st.DataObject) -> None:
    stream = b"".join(map(written, replies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = ReplyReader()
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)]):
        found += reader.feed(stream[begin:end])
    assert found == replies
    bytewise = ReplyReader()
    assert [reply for at in range(len(stream)) for reply in bytewise.feed(stream[at : at + 1])] == replies


def test_a_reply_that_is_not_whole_is_none() -> None:
    reader = ReplyReader()
    assert reader.feed(b"END\r\nVALUE k 0 3\r\nabc\r\nEN") == [Outcome.END, (b"k", b"abc")]
    assert reader.feed(b"D\r\nSTORED\r") == [Outcome.END]
    assert reader.feed(b"\n") == [Outcome.STORED]


@pytest.mark.parametrize(
    "stream",
    [
        b"ERROR\r\n",
        b"CLIENT_ERROR bad data chunk\r\n",
        b"\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"VALUE k 0\r\n",
        b"VALUE k 0 -1\r\n",
        b"VALUE k 0 3 9\r\nabc\r\nEND\r\n",
        b"VALUE k 0 1048577\r\n",
        b"VALUE k  0 3\r\nabc\r\nEND\r\n",
        b"VALUE k x 3\r\nabc\r\nEND\r\n",
        b"VALUE k 0 99999999999999999999\r\n",
        b"VALUE k 0 3\r\nabcd\r\nEND\r\n",
        b"x" * 1000,
    ],
)
def test_what_is_no_reply(stream: bytes) -> None:
    with pytest.raises(MalformedReply):
        ReplyReader().feed(stream)
