"""The accounts that clients may log in with: from the rules, or from a cluster's own grant tables.

Grant tables (`users_from`): MariaDB's and MySQL's `mysql.user`; an account is (user, host pattern), the most specific
pattern that matches the client's host wins, as on the server ("Access Control, Stage 1" of the MySQL manual).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.rules.model import Rules
from proxy.wire.login import Account, decoy

GRANT_TABLES = "SELECT User, Host, plugin, authentication_string FROM mysql.user"
_NATIVE = "mysql_native_password"
_SHA2 = "caching_sha2_password"
_NATIVE_HASH = re.compile(rb"\*[0-9A-Fa-f]{40}\Z")


@dataclass(frozen=True, slots=True)
class Granted:
    """One row of the grant tables."""

    user: str
    host: str
    account: Account | None  # None: with a plugin that the proxy cannot check
    plugin: str


class AccountBook:
    """Looks up accounts by user and client host. Rules come first, then the grant tables."""

    def __init__(self, rules: Rules) -> None:
        self._accounts = {
            user.name: Account(user.name, user.auth.value if user.auth else None, password=user.password.encode())
            for user in rules.users.values()
        }
        self._admins = frozenset(user.name for user in rules.users.values() if user.admin)
        self._granted: dict[str, list[Granted]] = {}
        self.from_grants = rules.users_from is not None

    def load(self, rows: Iterable[list[bytes | None]]) -> None:
        """Take over the grant tables: rows of GRANT_TABLES."""
        granted: dict[str, list[Granted]] = {}
        for user, host, plugin, secret in rows:
            entry = _granted(_text(user), _text(host), _text(plugin), secret or b"")
            granted.setdefault(entry.user, []).append(entry)
        for entries in granted.values():
            entries.sort(key=lambda e: _specificity(e.host))
        self._granted = granted

    def take_grants(self, other: AccountBook) -> None:
        """Keep what was read of the grant tables over a reload of the rules."""
        if self.from_grants:
            self._granted = other._granted

    def find(self, user: str, host: str) -> Account | None:
        """The account that a login as `user` from `host` is checked against."""
        account = self._accounts.get(user)
        if account is not None:
            return account
        for entry in self._granted.get(user, ()):
            if _matches(entry.host, host):
                return entry.account
        return decoy(user, _NATIVE) if self.from_grants else None

    def is_admin(self, user: str) -> bool:
        return user in self._admins


def _granted(user: str, host: str, plugin: str, secret: bytes) -> Granted:
    account: Account | None = None
    plugin = plugin or _NATIVE
    if plugin == _NATIVE:
        if not secret:
            account = Account(user, _NATIVE, password=b"")
        elif _NATIVE_HASH.match(secret):
            account = Account(user, _NATIVE, native_hash=bytes.fromhex(secret[1:].decode()))
    elif plugin == _SHA2:
        account = Account(user, _SHA2, sha2_crypt=secret) if secret else Account(user, _SHA2, password=b"")
    return Granted(user, host, account, plugin)


def _specificity(pattern: str) -> tuple[int, int]:
    """Sorts exact hosts first, then longer literal beginnings, then '%'."""
    wild = next((i for i, c in enumerate(pattern) if c in "%_"), None)
    if wild is None:
        return (0, -len(pattern))
    return (1, -wild)


def _matches(pattern: str, host: str) -> bool:
    if pattern in ("%", "") or pattern.lower() == host.lower():
        return True
    if pattern.lower() == "localhost":
        return host in ("127.0.0.1", "::1")
    if "/" in pattern:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    regex = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch(regex, host, re.IGNORECASE) is not None


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")
