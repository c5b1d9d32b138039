"""Who may see the dashboard: anybody on this machine where it listens on loopback, otherwise administrators.

HTTP's Basic authentication (RFC 7617), against the accounts of the rules that have `admin: true`. What is asked for by
another name than loopback's is asked for by way of a proxy, or by a foreign page whose name was made to point here (DNS
rebinding), and needs the login too.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
import ipaddress
import re

from proxy.rules.address import is_loopback
from proxy.rules.model import Address, HttpLogin, Rules

FAILURES = 10  # of one host in a minute: then it has to wait
MINUTE_S = 60.0
MAX_HOSTS = 1000  # that are remembered

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::[0-9]+)?\Z")


class Verdict(enum.Enum):
    ADMITTED = "admitted"
    ASKED = "asked"  # no name was given
    WRONG = "wrong"
    WAIT = "wait"  # too many wrong ones


def is_open(address: Address, login: HttpLogin, host: str) -> bool:
    """Whether nobody has to log in who asks `host` (a request's Host header) of a server at `address`."""
    return login is not HttpLogin.ALWAYS and (bool(address.path) or is_loopback(address)) and _names_loopback(host)


def _names_loopback(host: str) -> bool:
    found = _HOST.match(host)
    if found is None:
        return False
    name = found[1].strip("[]").lower().rstrip(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def is_admin(rules: Rules, authorization: str) -> bool:
    """Whether an Authorization header has name and password of an administrator."""
    given = _credentials(authorization)
    if given is None:
        return False
    name, password = given
    user = rules.users.get(name)
    known = user is not None and user.admin
    expected = user.password if user is not None else ""
    same = hmac.compare_digest(expected.encode(), password.encode())  # compared in any case: as long for any name
    return known and same


def _credentials(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None


class Door:
    """Decides, and remembers who guesses. `now` only ever goes up."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[float, int]] = {}  # by host: since when, and how many

    def decide(self, rules: Rules, host: str, authorization: str, now: float) -> Verdict:
        """`host`: where the request comes from."""
        since, failures = self._failures.get(host, (now, 0))
        if now - since > MINUTE_S:
            since, failures = now, 0
        if failures >= FAILURES:
            return Verdict.WAIT
        if not authorization:
            return Verdict.ASKED
        if is_admin(rules, authorization):
            self._failures.pop(host, None)
            return Verdict.ADMITTED
        if host not in self._failures and len(self._failures) >= MAX_HOSTS:
            del self._failures[next(iter(self._failures))]
        self._failures[host] = (since, failures + 1)
        return Verdict.WRONG
