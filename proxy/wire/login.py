"""Logins in both directions, sans-IO: a client's to us (`ClientLogin`) and ours to a server (`ServerLogin`).

Each machine's file begins with its table of states.
"""

from __future__ import annotations

from proxy.wire.auth import Sha2Cache
from proxy.wire.client_login import MAX_HELD, ClientLogin
from proxy.wire.login_events import (
    Accepted,
    Account,
    AccountSource,
    ClientEvent,
    Closed,
    LoggedIn,
    LoginFailed,
    Rejected,
    Secret,
    SendBytes,
    ServerEvent,
    StartTls,
    decoy,
)
from proxy.wire.server_login import ServerLogin

__all__ = [
    "MAX_HELD",
    "Accepted",
    "Account",
    "AccountSource",
    "ClientEvent",
    "ClientLogin",
    "Closed",
    "LoggedIn",
    "LoginFailed",
    "Rejected",
    "Secret",
    "SendBytes",
    "ServerEvent",
    "ServerLogin",
    "Sha2Cache",
    "StartTls",
    "decoy",
]
