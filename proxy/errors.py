"""Every error that Turnout raises on purpose, by who has to act.

An error that can reach a client has a MySQL error number, an SQLSTATE and a sentence that says what to do.
Numbers and SQLSTATEs: MySQL 8.4 Error Message Reference; MariaDB's `sql/share/errmsg-utf8.txt`.
"""

from __future__ import annotations


class TurnoutError(Exception):
    """Root of all. `errno` (unsigned 16 bit), `sqlstate` (5 characters), `message` (what a client is told)."""

    errno = 1105
    sqlstate = "HY000"

    def __init__(self, message: str, errno: int | None = None, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if errno is not None:
            self.errno = errno
        if sqlstate is not None:
            self.sqlstate = sqlstate


class StatementRefused(TurnoutError):
    """The client's statement cannot be shown to be right through the proxy. 1235: ER_NOT_SUPPORTED_YET."""

    errno = 1235
    sqlstate = "42000"

    def __init__(self, message: str, errno: int | None = None, sqlstate: str | None = None, reason: str = "") -> None:
        super().__init__(message, errno, sqlstate)
        self.reason = reason  # a short stable slug for metrics and docs, e.g. "cross-cluster-join"


class ProtocolError(TurnoutError):
    """The peer (a client, or a server) broke the MySQL protocol. 1835: ER_MALFORMED_PACKET."""

    errno = 1835
    sqlstate = "HY000"


class ServerFailed(TurnoutError):
    """A database server could not be reached, was lost, or answered nonsense. 1429, 1158 or 1159 by what happened."""

    errno = 1158
    sqlstate = "08S01"


class PoolExhausted(TurnoutError):
    """No connection became free in time. 1040: ER_CON_COUNT_ERROR."""

    errno = 1040
    sqlstate = "08004"


class RulesError(TurnoutError):
    """The rules file is wrong; the operator has to act. See `proxy.rules` for the list with places."""


class Defect(TurnoutError):
    """Our own mistake. The client gets an id that is in the log."""
