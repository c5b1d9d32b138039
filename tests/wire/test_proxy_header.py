from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire.proxy_header import V2_LONGEST, V2_START, Header, Source, begins, plain, read, v1, v2

V4 = bytes([10, 0, 0, 9, 10, 0, 0, 1]) + b"\xdd\xd5\x0c\xeb"
V6 = bytes(15) + b"\x09" + bytes(15) + b"\x01" + b"\xdd\xd5\x0c\xeb"


def v2_header(version: int = 0x21, family: int = 0x11, rest: bytes = V4, length: int | None = None) -> bytes:
    return V2_START + bytes([version, family]) + (len(rest) if length is None else length).to_bytes(2, "big") + rest


RIGHT = {
    b"PROXY TCP4 10.0.0.9 10.0.0.1 56789 3307\r\n": Source("10.0.0.9", 56789),
    b"PROXY TCP6 2001:db8:0:0:0:0:0:9 ::1 56789 3307\r\n": Source("2001:db8::9", 56789),
    b"PROXY TCP6 ::ffff:10.0.0.9 ::ffff:10.0.0.1 1 2\r\n": Source("10.0.0.9", 1),
    b"PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n": Source("1.2.3.4", 0),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 who knows 1 2\r\n": None,
    v2_header(): Source("10.0.0.9", 56789),
    v2_header(rest=V4 + b"\x04\0\x03abc"): Source("10.0.0.9", 56789),  # with a TLV
    v2_header(family=0x21, rest=V6): Source("::9", 56789),
    v2_header(version=0x20): None,  # LOCAL: a health check
    v2_header(version=0x20, family=0, rest=b""): None,
    v2_header(family=0, rest=b"whatever"): None,
    v2_header(family=0x31, rest=bytes(216)): None,  # a Unix socket
}


@pytest.mark.parametrize(("header", "source"), RIGHT.items())
def test_headers(header: bytes, source: Source | None) -> None:
    assert read(header) == Header(source, len(header))
    assert read(header + b"PROXY UNKNOWN\r\n") == Header(source, len(header))
    for cut in range(1, len(header)):
        assert begins(header[:cut])
        assert read(header[:cut]) is None


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"\x55\0\0\x01\x85\xa6", "does not begin with one"),
        (b"X", "does not begin with one"),
        (b"PROXZ", "does not begin with one"),
        (b"PROXY TCP4 10.0.0.9 10.0.0.1 56789\r\n", "not of the form"),
        (b"PROXY TCP4 10.0.0.9 10.0.0.1 56789 3307 9\r\n", "not of the form"),
        (b"PROXY TCP5 10.0.0.9 10.0.0.1 56789 3307\r\n", "not of the form"),
        (b"PROXY  TCP4 10.0.0.9 10.0.0.1 56789 3307\r\n", "not of the form"),
        (b"PROXY TCP4 10.0.0.999 10.0.0.1 56789 3307\r\n", "where an address belongs"),
        (b"PROXY TCP4 ::1 10.0.0.1 56789 3307\r\n", "where an address belongs"),
        (b"PROXY TCP4 10.0.0.\xff 10.0.0.1 56789 3307\r\n", "where an address belongs"),
        (b"PROXY TCP4 10.0.0.9 10.0.0.1 65536 3307\r\n", "where a port belongs"),
        (b"PROXY TCP4 10.0.0.9 10.0.0.1 01 3307\r\n", "where a port belongs"),
        (b"PROXY TCP4 10.0.0.9 10.0.0.1 -1 3307\r\n", "where a port belongs"),
        (b"PROXY TCP4 " + b"1" * 200, "does not end"),
        (b"PROXY UNKNOWN" + b" " * 100 + b"\r\n", "does not end"),
        (v2_header(version=0x11), "version 1"),
        (v2_header(version=0x22), "command 2"),
        (v2_header(family=0x12), "family 0x12"),  # UDP
        (v2_header(rest=V4[:-1]), "shorter than its addresses"),
        (v2_header(family=0x21, rest=V4), "shorter than its addresses"),
        (v2_header(length=V2_LONGEST + 1), f"longer than {V2_LONGEST} bytes"),
    ],
)
def test_malformed(header: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why) as raised:
        read(header)
    assert (raised.value.errno, raised.value.sqlstate) == (1043, "08S01")


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
sources = st.builds(Source, addresses.map(plain), st.integers(0, 65535))


@given(sources, st.none() | sources)
def test_what_is_written_is_read(source: Source, destination: Source | None) -> None:
    for write in (v1, v2):
        written = write(source, destination)
        assert read(written) == Header(source, len(written))


def test_our_own_connections() -> None:
    assert read(v1(None)) == Header(None, len(v1(None)))
    assert read(v2(None)) == Header(None, len(v2(None)))


@given(st.binary(max_size=40), st.sampled_from([b"", b"PROXY ", V2_START, V2_START + b"\x21\x11"]))
def test_whatever_comes_is_read_or_refused(data: bytes, start: bytes) -> None:
    try:
        found = read(start + data)
    except ProtocolError:
        return
    assert found is None or found.length <= len(start + data)


@pytest.mark.parametrize(
    ("address", "shown"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("fe80::1%eth0", "fe80::1"), ("10.0.0.1", "10.0.0.1")],
)
def test_addresses_as_they_are_shown(address: str, shown: str) -> None:
    assert plain(address) == shown
