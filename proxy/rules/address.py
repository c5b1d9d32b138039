"""Addresses as they are written in the rules, and whether two of them are the same place."""

from __future__ import annotations

import ipaddress
import re

from proxy.rules.model import Address

_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,9}\.?")
_SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path on Linux, without its final NUL
_ANYWHERE = frozenset({"0.0.0.0", "::"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def parse(text: str) -> Address:
    """`host:port`, `[ipv6]:port` or a Unix socket's absolute path. Raises ValueError with a sentence."""
    if "/" in text:
        if not text.startswith("/"):
            raise ValueError("must be a socket's path from the root (`/run/mysqld/mysqld.sock`), or `host:port`")
        if len(text.encode()) > _SOCKET_PATH_BYTES:
            raise ValueError(f"is longer than a socket's path may be ({_SOCKET_PATH_BYTES} bytes)")
        return Address(path=text)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _is_ipv6(host):
            raise ValueError("is not an IPv6 address in brackets, such as `[::1]:3306`")
        return Address(host, _port(rest.removeprefix(":") if rest.startswith(":") else "", text))
    if text.count(":") > 1:
        raise ValueError(f"is an IPv6 address without brackets: write `[address]:port` in quotes, not `{text}`")
    host, _, port = text.partition(":")
    if not host:
        raise ValueError(f"has no host: write `127.0.0.1:{port}`, or `0.0.0.0:{port}` for every interface")
    if not _HOST.fullmatch(host):
        raise ValueError(f"has `{host}` where a host's name or address belongs")
    if re.fullmatch(r"[0-9.]+", host) and not _is_ipv4(host):
        raise ValueError(f"has `{host}`, which is not an IPv4 address")
    return Address(host, _port(port, text))


def place(address: Address) -> str:
    """A text that is equal for addresses that are one place, as far as can be told without asking a name server."""
    if address.path:
        return address.path
    return f"{'loopback' if is_loopback(address) else _canonical(address.host)}:{address.port}"


def is_loopback(address: Address) -> bool:
    return _canonical(address.host) in _LOOPBACK


def covers(listening: Address, other: Address) -> bool:
    """Whether a listener on `listening` would take connections that are meant for `other` on this machine."""
    if listening.path or other.path:
        return listening.path == other.path
    if listening.port != other.port:
        return False
    return place(listening) == place(other) or (_canonical(listening.host) in _ANYWHERE and is_loopback(other))


def overlap(one: Address, other: Address) -> bool:
    """Whether two listeners cannot both be opened."""
    if one.path or other.path:
        return one.path == other.path
    anywhere = _canonical(one.host) in _ANYWHERE or _canonical(other.host) in _ANYWHERE
    return one.port == other.port and (anywhere or place(one) == place(other))


def _canonical(host: str) -> str:
    return ipaddress.ip_address(host).compressed if _is_ipv6(host) else host.lower().rstrip(".")


def _port(text: str, whole: str) -> int:
    if not text:
        raise ValueError(f"has no port: write `{whole.rstrip(':')}:` and the port's number")
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"has `{text}` where a port from 1 to 65535 belongs")
    return int(text)


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
