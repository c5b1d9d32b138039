"""Responses numbered anew: whole, cut anywhere, with what a client needs in order to go on reading."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire.edited import EditedResponse
from proxy.wire.frames import encode
from proxy.wire.packets import encode_eof, encode_err, encode_ok
from proxy.wire.resultset import encode_column, encode_resultset, text_column

MORE = 8
COLUMNS = [text_column("a"), text_column("b")]
ROWS: list[list[bytes | None]] = [[b"1", b"x"], [None, b"y" * 300], [b"", b"\xfe"]]
OK = encode(encode_ok(300, 70000, 2, 1, b"info"), 1)
ERR = encode(encode_err(1064, "42000", "near"), 1)
ASKING = encode(b"\xfb/tmp/x", 1)


def packets(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    pos = 0
    while pos < len(data):
        n = int.from_bytes(data[pos : pos + 3], "little")
        found.append((data[pos + 3], data[pos + 4 : pos + 4 + n]))
        pos += 4 + n
    assert pos == len(data)
    return found


def edited(edit: EditedResponse, data: bytes, cuts: list[int]) -> bytes:
    return b"".join(edit.feed(data[start:end]) for start, end in itertools.pairwise([0, *sorted(cuts), len(data)]))


def response(status: int, sequence: int = 0) -> bytes:
    return encode_resultset(COLUMNS, ROWS, status, 1)


@given(st.lists(st.integers(0, 500), max_size=12), st.integers(0, 255))
def test_numbered_on_from_any_number(cuts: list[int], start: int) -> None:
    data = response(2)
    edit = EditedResponse(start)
    out = edited(edit, data, [cut for cut in cuts if cut < len(data)])
    assert [p for _, p in packets(out)] == [p for _, p in packets(data)]
    assert [n for n, _ in packets(out)] == [(start + 1 + i) & 0xFF for i in range(len(packets(data)))]
    assert edit.sequence == packets(out)[-1][0]
    assert not edit.failed


@pytest.mark.parametrize("cut", range(1, 60))
def test_more_is_said_in_every_status(cut: int) -> None:
    edit = EditedResponse()
    edit.more = True
    out = edited(edit, OK + response(3), [cut])
    edit.more = False
    out += edited(edit, OK, [cut % len(OK)])
    theirs = [encode_ok(300, 70000, 2 | MORE, 1, b"info")]
    theirs += [p for _, p in packets(encode_resultset(COLUMNS, ROWS, 3 | MORE, 1))]
    theirs += [encode_ok(300, 70000, 2, 1, b"info")]
    assert packets(out) == list(enumerate(theirs, 1))


def test_an_error_is_the_last_word() -> None:
    head = response(2)[:-9]  # without the EOF behind the rows
    for before in (b"", OK, head):
        edit = EditedResponse()
        edit.more = True
        out = edit.feed(before + ERR)
        assert edit.failed
        assert packets(out)[-1][1] == packets(ERR)[0][1]
        edit = EditedResponse()
        edit.feed(before)
        assert not edit.failed


@pytest.mark.parametrize("cut", range(1, len(ERR)))
def test_an_error_may_be_amended(cut: int) -> None:
    edit = EditedResponse(3)
    edit.amend = lambda payload: payload + b" and more"
    assert packets(edited(edit, OK + ERR, [len(OK) + cut])) == [
        (4, packets(OK)[0][1]),
        (5, packets(ERR)[0][1] + b" and more"),
    ]


def test_a_request_for_a_file_is_passed_on_and_the_answer_follows_the_clients_packets() -> None:
    edit = EditedResponse(6)
    edit.more = True
    assert packets(edit.feed(ASKING)) == [(7, b"\xfb/tmp/x")]
    edit.sequence = 12  # what the client has sent
    assert packets(edit.feed(OK)) == [(13, encode_ok(300, 70000, 2 | MORE, 1, b"info"))]


def test_a_row_over_16_mb() -> None:
    row = b"\xfe" + (0xFFFFFF * 2).to_bytes(8, "little") + b"\0" * (0xFFFFFF * 2 - 9)
    data = b"".join(encode(p, i + 1) for i, p in enumerate([b"\x01", encode_column(COLUMNS[0]), encode_eof()]))
    data += encode(row, 4) + encode(encode_eof(0, 2), 7)
    edit = EditedResponse(40)
    edit.more = True
    out = edited(edit, data, [5, 70, 1000, 0xFFFFFF + 120, 0xFFFFFF * 2 + 85, len(data) - 2])
    assert [n for n, _ in packets(out)] == list(range(41, 48))
    assert packets(out)[-1][1] == encode_eof(0, 2 | MORE)
    assert packets(out)[-2][1] == b""


def test_an_empty_packet_where_a_response_is_due_is_not_passed_on() -> None:
    with pytest.raises(ProtocolError):
        EditedResponse().feed(b"\0\0\0\1")
