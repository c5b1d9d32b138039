"""Responses followed by their headers: whole, split at every byte, with garbage, and against what a client may see."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire.frames import encode
from proxy.wire.lenenc import write_bytes, write_int
from proxy.wire.packets import encode_eof, encode_err, encode_ok, parse_ok
from proxy.wire.response import CURSOR, FETCH, FIELDS, LOAD, PREPARE, QUERY, SINGLE, ResponseScanner
from proxy.wire.resultset import encode_column, encode_resultset, text_column
from proxy.wire.status import SESSION_STATE_CHANGED

COLUMNS = [text_column("a"), text_column("b")]
RESULT = encode_resultset(COLUMNS, [[b"1", b"x"], [None, b"y" * 300]], 2, 1)
# OK with session state, as a server sends it: info is length-encoded, then the state block.
TRACKED = encode(b"\x00\x02\x01\x02\x40\x00\x00\x05hello\x04\x00\x02\x01a", 1)
PLAIN = encode(b"\x00\x02\x01\x02\x00\x00\x00\x05hello", 1)


def follow(data: bytes, cuts: list[int], mode: int = QUERY) -> tuple[bytes, ResponseScanner, int]:
    """Feed `data` cut at these places; returns what a client gets, the scanner, and where the response ended."""
    scanner = ResponseScanner()
    scanner.begin(mode)
    out: list[bytes] = []
    bounds = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(bounds):
        if start == end:
            continue
        at = scanner.feed(data[start:end], 0, out)
        if at >= 0:
            return b"".join(out), scanner, start + at
    return b"".join(out), scanner, -1


@pytest.mark.parametrize("cut", range(1, len(RESULT)))
def test_result_set_cut_anywhere_is_relayed_as_it_is(cut: int) -> None:
    out, scanner, end = follow(RESULT, [cut])
    assert out == RESULT
    assert end == len(RESULT)
    assert (scanner.rows, scanner.columns, scanner.warnings, scanner.status) == (2, 2, 1, 2)


def test_byte_by_byte() -> None:
    out, scanner, end = follow(RESULT, list(range(len(RESULT))))
    assert (out, end, scanner.rows) == (RESULT, len(RESULT), 2)


@pytest.mark.parametrize("cut", range(len(TRACKED)))
def test_session_state_is_kept_from_the_client(cut: int) -> None:
    out, scanner, end = follow(TRACKED, [cut])
    assert end == len(TRACKED)
    assert out == encode(encode_ok(2, 1, 2, 0, b"hello"), 1)
    assert scanner.session_state == [b"\x00\x02\x01a"]
    assert (scanner.affected_rows, scanner.insert_id, scanner.info) == (2, 1, b"hello")


def test_info_is_rewritten_even_without_state() -> None:
    out, scanner, _ = follow(PLAIN, [])
    assert out.endswith(b"hello")
    assert scanner.session_state == []


NUMBERS = ((0, 0), (1, 250), (251, 1), (1, 251), (1, 65_535), (2, 70_000), (3, 1 << 24), (4, (1 << 64) - 1))
INFOS = (None, b"", b"Rows matched: 1", b"i" * 250, b"i" * 251, b"i" * 300)
STATES = (None, b"", b"\x00\x04\x01a\x01b", b"\x02\x02\x011" * 30, b"\x02\x02\x011" * 300)


def test_ok_of_all_sizes() -> None:
    """What is read of it at a glance is what `parse_ok` says, and the client gets what `encode_ok` makes of that."""
    for numbers, info, state, track in itertools.product(NUMBERS, INFOS, STATES, (True, False)):
        flags = (2 | (SESSION_STATE_CHANGED if state is not None else 0)).to_bytes(2, "little")
        payload = b"\0" + write_int(numbers[0]) + write_int(numbers[1]) + flags + b"\x03\0"
        if info is not None or state is not None:
            payload += write_bytes(info or b"")
        if state is not None:
            payload += write_bytes(state)
        scanner = ResponseScanner(session_track=track)
        scanner.begin(QUERY)
        out: list[bytes] = []
        assert scanner.feed(encode(payload, 1), 0, out) == len(payload) + 4
        ok = parse_ok(payload, track)
        found = (scanner.affected_rows, scanner.insert_id, scanner.status, scanner.warnings, scanner.info)
        assert found == (ok.affected_rows, ok.insert_id, ok.status, ok.warnings, ok.info)
        assert scanner.session_state == ([ok.state] if ok.state else [])
        untouched = not (ok.info or ok.state or state is not None)
        rewritten = encode_ok(ok.affected_rows, ok.insert_id, ok.status, ok.warnings, ok.info)
        assert b"".join(out) == encode(payload if untouched else rewritten, 1)


@given(st.binary(max_size=40))
def test_ok_of_any_bytes(data: bytes) -> None:
    payload = b"\0" + data
    scanner = ResponseScanner()
    scanner.begin(QUERY)
    try:
        ok = parse_ok(payload, True)
    except ProtocolError:
        with pytest.raises(ProtocolError):
            scanner.feed(encode(payload, 1), 0, [])
        return
    scanner.feed(encode(payload, 1), 0, [])
    found = (scanner.affected_rows, scanner.insert_id, scanner.status, scanner.warnings, scanner.info)
    assert found == (ok.affected_rows, ok.insert_id, ok.status, ok.warnings, ok.info)
    assert scanner.session_state == ([ok.state] if ok.state else [])


@pytest.mark.parametrize("end", [encode_eof(1, 2), encode_err(1317, "70100", "interrupted")])
def test_many_rows_cut_anywhere(end: bytes) -> None:
    """They are passed over in one go, up to what is no row, or has not come yet."""
    head = encode_resultset(COLUMNS, [])[:-9]
    rows = [
        b"\x01a\xfb",
        b"\xfb\x01b",
        b"\xfa" + b"c" * 250 + b"\xfb",
        b"\xfe" + (5).to_bytes(8, "little") + b"ddddd\xfb",
    ] * 6
    data = head + b"".join(encode(row, n) for n, row in enumerate([*rows, end], 5))
    for cuts in ([], *([cut] for cut in range(1, len(data))), list(range(0, len(data), 7))):
        out, scanner, at = follow(data, cuts)
        assert (out, at, scanner.rows) == (data, len(data), len(rows))
        assert scanner.errno == (1317 if end[:1] == b"\xff" else 0)


def test_error_keeps_the_last_status() -> None:
    scanner = ResponseScanner()
    out: list[bytes] = []
    scanner.feed(encode(encode_ok(0, 0, 3), 1), 0, out)
    scanner.begin(QUERY)
    assert scanner.feed(encode(encode_err(1146, "42S02", "no"), 1), 0, out) > 0
    assert (scanner.errno, scanner.status) == (1146, 3)


def test_error_in_the_middle_of_rows_ends_the_response() -> None:
    head = RESULT[: len(RESULT) - 9]
    data = head + encode(encode_err(1317, "70100", "interrupted"), 9)
    out, scanner, end = follow(data, [])
    assert (out, end, scanner.errno) == (data, len(data), 1317)


def test_rows_that_look_like_the_end_are_rows() -> None:
    # 0xFE as a first byte with 9 bytes or more is a row; so is 0x00 (an empty string), 0xFB (NULL).
    big = b"\xfe" + b"\x10\0\0\0\0\0\0\0" + b"z" * 16
    packets = [b"\x01", encode_column(COLUMNS[0]), encode_eof(), big, b"\x00", b"\xfb", encode_eof(0, 2)]
    data = b"".join(encode(p, i + 1) for i, p in enumerate(packets))
    for cut in range(1, len(data)):
        out, scanner, end = follow(data, [cut])
        assert (out, end, scanner.rows) == (data, len(data), 3)


def test_a_row_over_16_mb_goes_on_in_the_next_packet_whatever_it_begins_with() -> None:
    row = b"\xfe" + (0xFFFFFF + 5).to_bytes(8, "little") + b"\xfe" * (0xFFFFFF + 5)
    data = b"".join(encode(p, i + 1) for i, p in enumerate([b"\x01", encode_column(COLUMNS[0]), encode_eof()]))
    data += encode(row, 4) + encode(encode_eof(0, 2), 6)
    out, scanner, end = follow(data, [0x10000, 0xFFFFFF + 100, 0xFFFFFF + 150, len(data) - 3])
    assert (len(out), end, scanner.rows) == (len(data), len(data), 1)
    assert out == data


def test_several_results() -> None:
    first = encode_resultset(COLUMNS, [[b"1", b"x"]], 2 | 8)
    data = first + encode(encode_ok(1, 0, 2 | 8), 6) + encode_resultset(COLUMNS, [], 2)
    for cut in range(1, len(data), 3):
        out, _, end = follow(data, [cut])
        assert (out, end) == (data, len(data))


def test_a_known_head_changes_nothing_but_the_work() -> None:
    scanner = ResponseScanner()
    scanner.feed(RESULT, 0, [])
    head = scanner.learned
    assert head
    assert RESULT.startswith(head)
    other = encode_resultset([text_column("other")], [[b"1"]], 2)
    in_transaction = encode_resultset(COLUMNS, [[b"1", b"x"], [None, b"y" * 300]], 3, 1)
    for data, rows in ((RESULT, 2), (in_transaction, 2), (other, 1), (encode(encode_err(1, "HY000", "x"), 1), 0)):
        for cut in range(1, len(data)):
            scanner.begin(QUERY, head)
            out: list[bytes] = []
            end = scanner.feed(data[:cut], 0, out)
            assert end == -1
            assert scanner.feed(data[cut:], 0, out) == len(data) - cut
            assert (b"".join(out), scanner.rows) == (data, rows)
        scanner.begin(QUERY, head)
        out = []
        assert scanner.feed(data, 0, out) == len(data)
        assert (b"".join(out), scanner.rows) == (data, rows)


_EOF = encode(encode_eof(0, 2), 7)
_TAILS = (
    _EOF,
    encode(encode_eof(9, 3), 7),
    encode(encode_eof(0, 2 | 8), 7) + encode(encode_ok(1, 0, 2), 8),  # more results
    encode(encode_err(1317, "70100", "interrupted"), 7),
    encode(b"\xfe" + (30).to_bytes(8, "little") + b"r" * 30, 7) + _EOF,  # a row whose length is written at length
    encode(b"\x09" + _EOF, 7) + _EOF,  # a row that ends like the response
    encode(b"\x09" + _EOF, 7),
    _EOF + _EOF,
    _EOF[:5],
    encode(b"", 7) + _EOF,
    b"",
)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=4), st.sampled_from(_TAILS) | st.binary(max_size=30))
def test_a_known_head_finds_the_same_whatever_follows(rows: list[bytes], tail: bytes) -> None:
    scanner = ResponseScanner()
    scanner.feed(RESULT, 0, [])
    head = scanner.learned
    data = encode_resultset(COLUMNS, [], 2)[:-9] + b"".join(encode(row, n) for n, row in enumerate(rows, 5)) + tail

    def found(head: bytes) -> object:
        scanner = ResponseScanner()
        scanner.begin(QUERY, head)
        out: list[bytes] = []
        try:
            end = scanner.feed(data, 0, out)
        except ProtocolError as error:
            return str(error)
        said = (scanner.rows, scanner.columns > 0, scanner.status, scanner.warnings, scanner.errno)
        return end, b"".join(out), *(said if end >= 0 else ())

    assert data.startswith(head)
    assert found(head) == found(b"")


def test_a_head_is_learned_of_the_first_result_only() -> None:
    scanner = ResponseScanner()
    data = encode(encode_ok(1, 0, 2 | 8), 1) + encode_resultset(COLUMNS, [], 2)
    scanner.feed(data, 0, [])
    assert scanner.learned in (b"", encode_resultset(COLUMNS, [], 2)[: len(scanner.learned)])


def test_prepare() -> None:
    head = b"\x00\x07\x00\x00\x00\x01\x00\x02\x00\x00\x03\x00"
    column = encode_column(COLUMNS[0])
    data = b"".join(encode(p, i + 1) for i, p in enumerate([head, column, column, encode_eof(), column, encode_eof()]))
    for cut in range(1, len(data)):
        out, scanner, end = follow(data, [cut], PREPARE)
        assert (out, end) == (data, len(data))
        assert (scanner.statement_id, scanner.params, scanner.columns, scanner.warnings) == (7, 2, 1, 3)
    bare = encode(b"\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1)
    assert follow(bare, [], PREPARE)[2] == len(bare)


@pytest.mark.parametrize("cut", [1, 4, 5, 7])
def test_a_file_is_asked_for_by_load_data_local_alone(cut: int) -> None:
    asking = encode(b"\xfb/tmp/x", 1)
    scanner = ResponseScanner()
    scanner.begin(LOAD)
    out: list[bytes] = []
    assert scanner.feed(asking[:cut], 0, out) == -1
    assert scanner.feed(asking[cut:], 0, out) == -1
    assert (b"".join(out), scanner.infile) == (asking, True)
    scanner.infile = False
    done = encode(encode_ok(3, 0, 2, 1, b"Records: 3  Deleted: 0  Skipped: 0  Warnings: 1"), 4)
    assert scanner.feed(done, 0, out) == len(done)
    assert (b"".join(out), scanner.affected_rows, scanner.infile) == (asking + done, 3, False)
    scanner.begin(QUERY)
    with pytest.raises(ProtocolError, match="asked for a file"):
        scanner.feed(asking, 0, [])


def test_a_cursor_is_opened_and_its_rows_are_fetched() -> None:
    definitions = b"".join(encode(encode_column(column), n) for n, column in enumerate(COLUMNS, 2))
    opened = encode(b"\2", 1) + definitions + encode(encode_eof(1, 0x42), 4)
    rows = encode(b"\0\0one", 1) + encode(b"\0\0" + b"\xfe" * 300, 2) + encode(encode_eof(0, 0x82), 3)
    error = encode(b"\0\0one", 1) + encode(encode_err(1317, "70100", "no more"), 2)
    following = encode(encode_ok(), 1)
    for cut in range(len(opened)):
        out, scanner, end = follow(opened + following, [cut], CURSOR)
        assert (out, end) == (opened, len(opened))
        assert (scanner.columns, scanner.status, scanner.warnings) == (2, 0x42, 1)
    for cut in range(len(rows)):
        out, scanner, end = follow(rows + following, [cut], FETCH)
        assert (out, end, scanner.rows, scanner.status) == (rows, len(rows), 2, 0x82)
    out, scanner, end = follow(error + following, [3], FETCH)
    assert (out, end, scanner.rows, scanner.errno) == (error, len(error), 1, 1317)


@pytest.mark.parametrize("mode", [QUERY, CURSOR])
def test_rows_follow_where_a_procedure_has_a_cursor_of_its_own(mode: int) -> None:
    """So MariaDB 10.11 answers CALL: CURSOR_EXISTS stands in all that the procedure sends while its cursor is open."""
    result = encode_resultset(COLUMNS[:1], [[b"1"], [b"2"]], 0x6A)
    data = result + encode(encode_ok(status=0x22), 6)
    for cut in range(len(data)):
        out, scanner, end = follow(data, [cut], mode)
        assert (out, end) == (data, len(data))
        assert (scanner.columns, scanner.rows, scanner.status) == (1, 2, 0x22)


def test_there_is_no_cursor_that_was_not_asked_for() -> None:
    data = encode_resultset(COLUMNS[:1], [[b"1"], [b"2"]], 0x42)
    assert follow(data, [], QUERY)[2] == len(data)
    assert follow(data, [], CURSOR)[2] < len(data)


def test_field_list_and_statistics() -> None:
    column = encode_column(COLUMNS[0])
    data = encode(column, 1) + encode(column, 2) + encode(encode_eof(), 3)
    assert follow(data, [10], FIELDS)[2] == len(data)
    assert follow(encode(b"Uptime: 3", 1), [6], SINGLE)[2] == len(encode(b"Uptime: 3", 1))


def test_bytes_behind_the_response_are_left() -> None:
    ok = encode(encode_ok(), 1)
    out, _, end = follow(ok + RESULT, [])
    assert (out, end) == (ok, len(ok))


@given(
    st.binary(max_size=400),
    st.lists(st.integers(0, 400), max_size=5),
    st.sampled_from([QUERY, PREPARE, FIELDS, FETCH, CURSOR]),
)
@settings(max_examples=400, deadline=None)
def test_garbage_gives_bytes_or_one_typed_error(data: bytes, cuts: list[int], mode: int) -> None:
    try:
        _, scanner, end = follow(data, [c for c in cuts if c < len(data)], mode)
    except ProtocolError:
        return
    assert end <= len(data)
    assert len(scanner._carry) <= len(data)
