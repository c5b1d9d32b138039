from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire import lenenc


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, b"\x00"),
        (250, b"\xfa"),
        (251, b"\xfc\xfb\x00"),
        (0xFFFF, b"\xfc\xff\xff"),
        (0x10000, b"\xfd\x00\x00\x01"),
        (0xFFFFFF, b"\xfd\xff\xff\xff"),
        (0x1000000, b"\xfe\x00\x00\x00\x01\x00\x00\x00\x00"),
        (2**64 - 1, b"\xfe" + b"\xff" * 8),
    ],
)
def test_integers_are_as_wide_as_they_must_be(value: int, encoded: bytes) -> None:
    assert lenenc.write_int(value) == encoded
    assert lenenc.read_int(b"?" + encoded + b"!", 1) == (value, 1 + len(encoded))


def test_null_is_none() -> None:
    assert lenenc.read_int(b"\xfb", 0) == (None, 1)
    assert lenenc.read_bytes(b"\xfb", 0) == (None, 1)
    assert lenenc.write_bytes(None) == b"\xfb"


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xfc", b"\xfc\x01", b"\xfd\x01\x02", b"\xfe1234567"])
def test_what_is_no_integer_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        lenenc.read_int(data, 0)


@pytest.mark.parametrize("data", [b"\x01", b"\x05abcd", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"])
def test_a_string_longer_than_its_packet_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        lenenc.read_bytes(data, 0)


def test_null_is_no_length() -> None:
    with pytest.raises(ProtocolError):
        lenenc.read_length(b"\xfb", 0)


@given(st.lists(st.none() | st.binary(max_size=300)))
def test_strings_come_back(values: list[bytes | None]) -> None:
    data = b"".join(lenenc.write_bytes(value) for value in values)
    pos = 0
    for value in values:
        assert lenenc.read_bytes(data, pos)[0] == value
        pos = lenenc.read_bytes(data, pos)[1]
    assert pos == len(data)
