"""The sockets that clients connect to: reserved by the supervisor, listened on by the workers."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress

from proxy.errors import TurnoutError
from proxy.rules.model import Address


class CannotListen(TurnoutError):
    """The address cannot be listened on; the message says which one, why, and what to do."""


def reserve(address: Address) -> socket.socket:
    """A socket that keeps `address` for the workers.

    TCP: bound with SO_REUSEPORT but not listening, so that the port (0: one that the kernel chose) is ours for as long
    as the supervisor lives, and the kernel gives clients to the workers' own sockets on it. Unix: bound and listening,
    inherited by the workers. Raises CannotListen.
    """
    try:
        return _reserve_path(address.path) if address.path else _reserve_port(address)
    except socket.gaierror as error:
        raise CannotListen(f"Cannot listen on {address}: {error.strerror}. Write an address of this host.") from error
    except OSError as error:
        raise CannotListen(f"Cannot listen on {address}: {error.strerror}. {_advice(error, address)}") from error


def open_shared(host: str, port: int) -> socket.socket:
    """A worker's own socket on the supervisor's port, bound and not yet listening. Raises OSError."""
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return _bound(family, kind, protocol, where, share=True)


def _reserve_port(address: Address) -> socket.socket:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = found[0]
    if address.port:
        # Another Turnout of the same user would share the port with ours, and take half of its clients: refuse that.
        _bound(family, kind, protocol, where, share=False).close()
    return _bound(family, kind, protocol, where, share=True)


def _bound(family: int, kind: int, protocol: int, where: tuple[object, ...], share: bool) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(where)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _reserve_path(path: str) -> socket.socket:
    remove_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(path)
        os.chmod(path, 0o777)  # like mysqld's: who may log in is decided by the password
        made.listen(1024)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def remove_stale(path: str) -> None:
    """Remove a Unix socket that nobody listens on any more. Raises OSError (EADDRINUSE) when somebody does."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "A file that is not a socket is in the way")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with suppress(FileNotFoundError):  # its owner may remove it at the same moment
                os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _advice(error: OSError, address: Address) -> str:
    if error.errno == errno.EADDRINUSE:
        return "Stop the program that uses it, or choose another address under `listen` in the rules."
    if error.errno in (errno.EACCES, errno.EPERM):
        if not address.path and address.port < 1024:
            return "Ports below 1024 are for root: choose a higher one under `listen` in the rules."
        return "This user may not create it: choose another address under `listen` in the rules."
    if error.errno == errno.EADDRNOTAVAIL:
        return "This host does not have that address: correct `listen` in the rules."
    return "Correct `listen` in the rules."
