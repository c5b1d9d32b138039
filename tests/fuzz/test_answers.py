"""Where an answer ends for the clients of the fuzzer."""

from __future__ import annotations

import pytest

from proxy.wire.frames import FrameReader, encode
from proxy.wire.packets import encode_eof, encode_err, encode_ok
from proxy.wire.resultset import encode_resultset, text_column
from tests.fuzz.answers import Answer, Malformed, Mode

COLUMNS = [text_column("a"), text_column("b")]
ROWS: list[list[bytes | None]] = [[b"1", None], [b"\xfe" * 300, b""]]
RESULT = encode_resultset(COLUMNS, ROWS)
MORE = encode_resultset(COLUMNS, ROWS, 0x4A)
OK, ERROR = encode(encode_ok(300, 70_000, 2), 1), encode(encode_err(1064, "42000", "x"), 1)
HEAD = b"".join(encode(payload, 1) for payload, _ in FrameReader(1 << 24).feed(RESULT)[:3])


def read(data: bytes, mode: Mode) -> tuple[int, Answer]:
    """How many packets belong to the answer; -1: more."""
    answer = Answer(mode)
    for number, (payload, _) in enumerate(FrameReader(1 << 25).feed(data), 1):
        if answer.feed(payload):
            return number, answer
    return -1, answer


@pytest.mark.parametrize(
    ("data", "mode", "packets"),
    [
        (OK, Mode.RESULTS, 1),
        (ERROR, Mode.ROWS, 1),
        (RESULT, Mode.RESULTS, 7),
        (MORE, Mode.RESULTS, -1),
        (MORE + OK, Mode.RESULTS, 8),
        (MORE + OK, Mode.CURSOR, 8),
        (MORE + RESULT, Mode.RESULTS, 14),
        (encode_resultset(COLUMNS, ROWS, 0x42), Mode.RESULTS, 7),
        (encode_resultset(COLUMNS, ROWS, 0x42), Mode.CURSOR, 4),
        (HEAD + encode(encode_eof(0, 2), 4) + ERROR, Mode.RESULTS, 5),
        (encode(b"\0\x07\0\0\0\x01\0\x02\0\0\0\0", 1) + OK * 2 + encode(encode_eof(), 1), Mode.PREPARED, -1),
        (encode(b"\0\x07\0\0\0\0\0\0\0\0\0\0", 1), Mode.PREPARED, 1),
        (HEAD[5:] + encode(encode_eof(0, 2), 4), Mode.COLUMNS, 3),
        (encode(b"Uptime: 1", 1), Mode.PACKET, 1),
    ],
)
def test_where_an_answer_ends(data: bytes, mode: Mode, packets: int) -> None:
    assert read(data, mode)[0] == packets
    if packets > 0:
        assert read(data + OK, mode)[0] == packets


def test_what_it_says() -> None:
    assert read(ERROR, Mode.RESULTS)[1].errno == 1064
    assert read(OK, Mode.RESULTS)[1].status == 2
    assert read(encode_resultset(COLUMNS, ROWS, 0x42), Mode.CURSOR)[1].has_cursor


@pytest.mark.parametrize(
    "data",
    [
        encode(b"", 1),
        encode(b"\xfbx", 1),
        encode(b"\0\1", 1),
        encode(b"\xfe\0", 1),
        HEAD[:32] + encode(encode_eof(), 3),
    ],
    ids=["empty", "a file", "half an OK", "no number", "another number of columns"],
)
def test_what_cannot_be_an_answer(data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data, Mode.RESULTS)
