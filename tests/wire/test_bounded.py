"""Answers that are cut off at their limit."""

from __future__ import annotations

import pytest

from proxy.wire.bounded import BoundedResponse, Exceeded
from proxy.wire.frames import encode
from proxy.wire.packets import encode_eof, encode_err, encode_ok
from proxy.wire.resultset import encode_resultset, text_column

ROW = [b"x" * 20]  # 25 bytes with its header and length


def result(rows: int, status: int = 2) -> bytes:
    return encode_resultset([text_column("c")], [ROW] * rows, status)


def fed(data: bytes, step: int, rows: int = 0, size: int = 0) -> tuple[bytes, BoundedResponse]:
    bounded = BoundedResponse()
    bounded.max_rows, bounded.max_bytes = rows, size
    bounded.begin()
    out = b"".join(bounded.feed(data[i : i + step]) for i in range(0, len(data), step))
    return out, bounded


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
@pytest.mark.parametrize(("rows", "size"), [(3, 0), (0, 75), (0, 0), (9, 999)])
def test_an_answer_within_its_limits_passes_as_it_is(step: int, rows: int, size: int) -> None:
    data = result(3)
    out, bounded = fed(data, step, rows, size)
    assert out == data
    assert bounded.exceeded is None
    assert not bounded.active


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
@pytest.mark.parametrize(("rows", "size", "expected"), [(2, 0, Exceeded.ROWS), (0, 74, Exceeded.BYTES)])
def test_it_is_cut_off_before_the_first_row_that_is_too_many(
    step: int, rows: int, size: int, expected: Exceeded
) -> None:
    data = result(3)
    out, bounded = fed(data, step, rows, size)
    assert out == result(2)[: -len(encode(encode_eof(), 0))]
    assert bounded.exceeded is expected
    assert bounded.sequence == 6  # column count, column, EOF, two rows; then this
    assert bounded.feed(result(1)) == b""


@pytest.mark.parametrize("step", [1, 1000])
def test_rows_of_all_results_count(step: int) -> None:
    data = result(2, status=2 | 8) + result(2)
    assert fed(data, step, rows=4)[0] == data
    out, bounded = fed(data, step, rows=3)
    assert bounded.exceeded is Exceeded.ROWS
    assert len(out) == len(data) - 25 - 9


@pytest.mark.parametrize("answer", [encode_ok(3, 4), encode_err(1064, "42000", "no"), b"\xfbfile"])
def test_answers_without_rows_pass(answer: bytes) -> None:
    data = encode(answer, 1)
    out, bounded = fed(data, 1, rows=1, size=1)
    assert out == data
    assert bounded.active is (answer[0] == 0xFB)  # the answer proper follows the file


def test_an_error_among_rows_ends_the_answer() -> None:
    data = result(2)[:-9] + encode(encode_err(1317, "70100", "interrupted"), 6)
    out, bounded = fed(data, 4, rows=2)
    assert out == data
    assert not bounded.active


@pytest.mark.parametrize("step", [1 << 20, 1 << 30])
def test_a_row_of_several_packets_goes_out_whole(step: int) -> None:
    large = b"\xfd" + b"x" * 0x1000010
    head = result(0)[:-9]
    data = head + encode(large, 4) + encode(b"\x01y", 6) + encode(encode_eof(), 7)
    out, bounded = fed(data, step, size=0x1000010)
    assert out == head + encode(large, 4)
    assert (bounded.exceeded, bounded.sequence) == (Exceeded.BYTES, 6)
    out, bounded = fed(data, step, size=0xFFFFFF)
    assert (out, bounded.sequence) == (head, 4)
    assert fed(data, step, size=1 << 25)[0] == data
