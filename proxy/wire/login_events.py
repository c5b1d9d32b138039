"""What the two login machines take and give: accounts and secrets, and their events."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from proxy.wire import auth
from proxy.wire.handshake import CACHING_SHA2, NATIVE, Greeting
from proxy.wire.packets import Ok


@dataclass(frozen=True, slots=True)
class Secret:
    """What is known of an account's password, for logging in to servers.

    `native_stage1` is SHA1(password) and is enough for mysql_native_password. `sha2_stage1` is SHA256(password) and
    is enough for caching_sha2_password while the server has the account in its cache.
    """

    password: bytes | None = field(default=None, repr=False)
    native_stage1: bytes | None = field(default=None, repr=False)
    sha2_stage1: bytes | None = field(default=None, repr=False)

    @staticmethod
    def of_password(password: bytes) -> Secret:
        return Secret(password, auth.native_stage1(password), auth.sha2_stage1(password))


@dataclass(frozen=True, slots=True)
class Account:
    """An account that clients may log in with. One of `password`, `native_hash`, `sha2_crypt` at least is known.

    `plugin` None: the client's choice among those that what is known allows. An account without a password has
    `password=b""`. `native_hash` is SHA1(SHA1(password)), 20 bytes; `sha2_crypt` the whole `$A$005$...`.
    """

    name: str
    plugin: str | None = None
    password: bytes | None = field(default=None, repr=False)
    native_hash: bytes | None = field(default=None, repr=False)
    sha2_crypt: bytes | None = field(default=None, repr=False)

    def plugins(self) -> tuple[str, ...]:
        """The plugins that this account can prove itself with; empty when what is known does not fit `plugin`."""
        possible = []
        if self.password is not None or self.native_hash is not None:
            possible.append(NATIVE)
        if self.password is not None or self.sha2_crypt is not None:
            possible.append(CACHING_SHA2)
        return tuple(name for name in possible if self.plugin in (None, name))


# (user, client's host) -> account. None: no such account; the client then goes through the dialogue of an account whose
# password is known. A source of hashes returns `decoy(...)` instead, so that the dialogue is that of its accounts.
AccountSource: TypeAlias = Callable[[str, str], Account | None]


def decoy(name: str, plugin: str | None = None) -> Account:
    """An account that no password fits. With caching_sha2_password it asks for the password in full, then refuses."""
    if plugin == CACHING_SHA2:
        return Account(name, plugin, sha2_crypt=auth.sha2_crypt(os.urandom(24), auth.new_scramble()))
    if plugin == NATIVE:
        return Account(name, plugin, native_hash=os.urandom(20))
    return Account(name, plugin, password=os.urandom(24))


@dataclass(frozen=True, slots=True)
class SendBytes:
    data: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """Put TLS on the connection, then call `tls_started`. `leftover`: bytes already received that belong to TLS."""

    leftover: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The client is who it says. Whoever listens sends OK (or ERR, e.g. for an unknown database) with `sequence`."""

    account: Account
    user: str
    database: str | None
    charset: int  # a collation id that a client may speak
    capabilities: int  # those that both sides have
    attributes: Mapping[bytes, bytes]
    secret: Secret
    sequence: int
    leftover: bytes  # received behind the login: the client's first commands, as frames
    scramble: bytes  # the newest one sent; COM_CHANGE_USER proves its password with it
    max_packet: int = 0
    peer_certificate: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Send `data`, then close. `reason` is for the log: one sentence without credentials."""

    data: bytes
    errno: int
    user: str
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The login is over; what was received is ignored."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    greeting: Greeting
    capabilities: int
    status: int
    sequence: int  # of the server's OK
    leftover: bytes
    ok: Ok  # may carry session state


@dataclass(frozen=True, slots=True)
class LoginFailed:
    errno: int
    sqlstate: str
    message: str


ClientEvent: TypeAlias = SendBytes | StartTls | Accepted | Rejected | Closed
ServerEvent: TypeAlias = SendBytes | StartTls | LoggedIn | LoginFailed | Closed
