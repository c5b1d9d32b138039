from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire import packets, status
from proxy.wire.packets import Err, Ok
from proxy.wire.session_state import (
    Gtids,
    Schema,
    StateChange,
    SystemVariable,
    TransactionCharacteristics,
    TransactionState,
    parse_session_state,
)

UPDATED = b"Rows matched: 2  Changed: 2  Warnings: 0"

# What MariaDB 10.11 sent: an UPDATE without and with session tracking, and a COMMIT.
MARIADB = [
    (b"\0\2\0\x21\0\0\0\x28" + UPDATED, False, Ok(2, 0, 0x21, 0, UPDATED)),
    (
        b"\0\2\0\x21\x40\0\0\x28" + UPDATED + b"\x0b\5\t\x08I___W___",
        True,
        Ok(2, 0, 0x4021, 0, UPDATED, b"\5\t\x08I___W___"),
    ),
    (b"\0\0\0\0\x40\0\0\0\x0b\5\t\x08________", True, Ok(0, 0, 0x4000, 0, b"", b"\5\t\x08________")),
    (b"\0\0\0\2\0\0\0", False, Ok(0, 0, 2, 0)),
    (b"\0\0\0\2\0\0\0", True, Ok(0, 0, 2, 0)),
]


@pytest.mark.parametrize(("payload", "tracked", "ok"), MARIADB)
def test_ok_as_servers_send_it(payload: bytes, tracked: bool, ok: Ok) -> None:
    assert packets.parse_ok(payload, tracked) == ok


def test_ok_is_written_as_servers_write_it() -> None:
    assert packets.encode_ok(2, 0, 0x21, 0, UPDATED) == MARIADB[0][0]
    assert packets.encode_ok() == b"\0\0\0\2\0\0\0"


def test_ok_without_session_tracking_never_claims_session_state() -> None:
    assert packets.parse_ok(packets.encode_ok(status=0x4002), False).status == 2


def test_information_as_the_documentation_has_it_is_read_too() -> None:
    assert packets.parse_ok(b"\0\0\0\2\0\0\0(no length in front", False).info == b"(no length in front"


def test_ok_may_replace_eof() -> None:
    assert packets.parse_ok(b"\xfe\0\0\x22\0\1\0", True) == Ok(0, 0, 0x22, 1)


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 0x3FFF),
    st.integers(0, 65535),
    st.binary(max_size=300),
)
def test_ok_comes_back(rows: int, insert_id: int, flags: int, warnings: int, info: bytes) -> None:
    encoded = packets.encode_ok(rows, insert_id, flags, warnings, info)
    assert packets.parse_ok(encoded, False) == Ok(rows, insert_id, flags, warnings, info)


def test_too_many_warnings_are_cut_not_refused() -> None:
    assert packets.parse_ok(packets.encode_ok(warnings=70000), False).warnings == 65535
    assert packets.parse_eof(packets.encode_eof(70000, 2)) == (65535, 2)


def test_error_numbers_are_unsigned() -> None:
    encoded = packets.encode_err(45000, "45000", "no")
    assert encoded == b"\xff\xc8\xaf#45000no"
    assert packets.parse_err(encoded) == Err(45000, "45000", b"no")


def test_an_error_before_the_handshake_has_no_sqlstate() -> None:
    assert packets.parse_err(b"\xff\x10\x04Too many connections") == Err(1040, "HY000", b"Too many connections")


def test_eof() -> None:
    assert packets.encode_eof(3, status.AUTOCOMMIT | status.MORE_RESULTS) == b"\xfe\3\0\x0a\0"
    assert packets.parse_eof(b"\xfe\3\0\x0a\0") == (3, 10)
    assert packets.is_eof(b"\xfe\0\0\2\0")
    assert not packets.is_eof(b"\xfe" + bytes(8) + b"a row of more than 16 MB begins so")


PARSERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (lambda payload: packets.parse_ok(payload, True), MARIADB[1][0]),
    (packets.parse_err, b"\xff\x15\x04#28000Access denied"),
    (packets.parse_eof, b"\xfe\0\0\2\0"),
    (parse_session_state, b"\0\x0f\nautocommit\3OFF\1\6\5mysql"),
]


@pytest.mark.parametrize(("parse", "payload"), PARSERS)
def test_every_truncation_is_read_or_refused(parse: Callable[[bytes], object], payload: bytes) -> None:
    parse(payload)
    refused = 0
    for end in range(len(payload)):
        try:
            parse(payload[:end])
        except ProtocolError:
            refused += 1
    assert refused >= 3


@given(st.binary(max_size=80), st.booleans())
def test_garbage_is_read_or_refused(garbage: bytes, tracked: bool) -> None:
    for parse, first in (
        (lambda payload: packets.parse_ok(payload, tracked), b"\0"),
        (packets.parse_err, b"\xff"),
        (packets.parse_eof, b"\xfe"),
        (parse_session_state, b""),
    ):
        with contextlib.suppress(ProtocolError):
            parse(first + garbage)


@pytest.mark.parametrize("payload", [b"", b"\1\0\0\2\0\0\0", b"\0\xfb\0\2\0\0\0", b"\0\0\xff\2\0\0\0", b"\0\0\0\2\0\0"])
def test_what_is_not_ok_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        packets.parse_ok(payload, True)


def test_session_state_of_each_type() -> None:
    state = (
        b"\x00\x0f\x0aautocommit\x03OFF"
        b"\x01\x05\x04test"
        b"\x02\x02\x011"
        b"\x03\x07\x00\x05uuid1"
        b"\x04\x18\x17START TRANSACTION READ;"
        b"\x05\x09\x08T_______"
    )
    assert parse_session_state(state) == [
        SystemVariable("autocommit", b"OFF"),
        Schema("test"),
        StateChange(),
        Gtids(b"uuid1"),
        TransactionCharacteristics("START TRANSACTION READ;"),
        TransactionState("T_______"),
    ]


def test_unknown_session_state_is_skipped_by_its_length() -> None:
    assert parse_session_state(b"\x09\x03abc\x01\x03\x02db") == [Schema("db")]


def test_several_variables_in_one_entry() -> None:
    assert parse_session_state(b"\x00\x08\x01a\x011\x01b\x012") == [
        SystemVariable("a", b"1"),
        SystemVariable("b", b"2"),
    ]


@pytest.mark.parametrize("state", [b"\x00", b"\x01\x05\x04tes", b"\x00\x02\x01a", b"\x01\x02\x01\xff", b"\x03\x00"])
def test_malformed_session_state_is_refused(state: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_session_state(state)
