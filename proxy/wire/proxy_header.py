"""The PROXY protocol: who a connection is from, said by a load balancer ahead of everything else.

    v1: PROXY TCP4|TCP6 source destination source-port destination-port CR LF     (at most 107 bytes)
        PROXY UNKNOWN ... CR LF
    v2: 12 bytes signature | version and command | family and transport | 2 bytes length | addresses | TLVs

Source: "The PROXY protocol, Versions 1 & 2" (haproxy.org/download/3.0/doc/proxy-protocol.txt).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from proxy.errors import ProtocolError

V1_START: Final = b"PROXY "
V2_START: Final = b"\r\n\r\n\0\r\nQUIT\n"
V1_LONGEST: Final = 107
V2_LONGEST: Final = 4096  # addresses and TLVs of a v2 header; the longest that are in use are certificates' names
_V2_FIXED: Final = 16
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a connection comes from. `host` is an address as `ipaddress` writes it."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Header:
    """`source` None: the balancer's own connection (a health check), or one of which it knows nothing."""

    source: Source | None
    length: int  # in bytes; what follows is the connection's


def begins(data: bytes) -> bool:
    """Whether these bytes, the first of a connection, are a header's beginning, as far as they go."""
    return bool(data) and any(data[: len(start)] == start[: len(data)] for start in (V1_START, V2_START))


def read(data: bytes) -> Header | None:
    """The header that `data` begins with; None until more of it is there. Raises ProtocolError 1043."""
    if not begins(data):
        raise _malformed("it does not begin with one")
    if data[:1] == b"P":
        return _read_v1(data)
    return _read_v2(data)


def v1(source: Source | None, destination: Source | None = None) -> bytes:
    """A header of version 1. `source` None: the proxy's own connection. A `destination` that is not known, or of
    another family, is told as the address of nobody: a header has room for two of one family."""
    if source is None:
        return b"PROXY UNKNOWN\r\n"
    there = _of_family(source, destination)
    text = f"PROXY TCP{_version(source)} {source.host} {there.host} {source.port} {there.port}\r\n"
    return text.encode("ascii")


def v2(source: Source | None, destination: Source | None = None) -> bytes:
    """The same of version 2."""
    if source is None:
        return V2_START + b"\x20\x00\x00\x00"
    there = _of_family(source, destination)
    addresses = b"".join(ipaddress.ip_address(end.host).packed for end in (source, there))
    ports = source.port.to_bytes(2, "big") + there.port.to_bytes(2, "big")
    family = b"\x11" if _version(source) == 4 else b"\x21"
    return V2_START + b"\x21" + family + (len(addresses) + 4).to_bytes(2, "big") + addresses + ports


def plain(host: str) -> str:
    """An address as MySQL shows it: IPv4 that came by an IPv6 socket as IPv4."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped if mapped is not None else address)


def _of_family(source: Source, destination: Source | None) -> Source:
    if destination is not None and _version(destination) == _version(source):
        return destination
    return Source("0.0.0.0" if _version(source) == 4 else "::", destination.port if destination is not None else 0)


def _version(source: Source) -> int:
    return ipaddress.ip_address(source.host).version


def _read_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, V1_LONGEST)
    if end < 0:
        if len(data) >= V1_LONGEST:
            raise _malformed("it does not end")
        return None
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(None, end + 2)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise _malformed("it is not of the form `PROXY TCP4 source destination port port`")
    kind = ipaddress.IPv4Address if words[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        source, _ = (kind(word.decode("ascii")) for word in words[2:4])
    except ValueError:
        raise _malformed("it has something else where an address belongs") from None
    if not all(_PORT.fullmatch(word) and int(word) <= 0xFFFF for word in words[4:]):
        raise _malformed("it has something else where a port belongs")
    return Header(Source(plain(str(source)), int(words[4])), end + 2)


def _read_v2(data: bytes) -> Header | None:
    if len(data) < _V2_FIXED:
        return None
    version, family = data[12], data[13]
    length = int.from_bytes(data[14:16], "big")
    if version not in (0x20, 0x21):
        raise _malformed(f"it is of version {version >> 4} or has the command {version & 15}")
    if length > V2_LONGEST:
        raise _malformed(f"it is longer than {V2_LONGEST} bytes")
    whole = _V2_FIXED + length
    if len(data) < whole:
        return None
    size = {0x11: 4, 0x21: 16}.get(family)
    if version == 0x20 or family in (0x00, 0x31):  # LOCAL; of no family, or a Unix socket's: nothing to go by
        return Header(None, whole)
    if size is None:
        raise _malformed(f"it is of the family {family:#04x}: TCP over IPv4 or IPv6 is spoken here")
    if length < 2 * size + 4:
        raise _malformed("it is shorter than its addresses")
    host = str(ipaddress.ip_address(data[_V2_FIXED : _V2_FIXED + size]))
    at = _V2_FIXED + 2 * size
    return Header(Source(plain(host), int.from_bytes(data[at : at + 2], "big")), whole)


def _malformed(why: str) -> ProtocolError:
    return ProtocolError(f"Bad handshake: this address has to send a PROXY protocol header, and {why}", 1043, "08S01")
