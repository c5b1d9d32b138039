"""Servers that begin sessions with statements of their own (`init_connect`), for all accounts but administrators'.

What such statements set is no default: DEFAULT does not bring it back, and the tracker, which was not on yet, has not
told it. So a new connection to such a server is asked how its variables differ from the defaults. What they are is what
sessions of its account begin with (`Pool.initial`); user variables that they set are on every connection anyway.

Sources: MySQL "Server System Variables", `init_connect`; MariaDB "information_schema.SYSTEM_VARIABLES".
"""

from __future__ import annotations

from proxy.back.connection import ServerConnection
from proxy.back.settings import CHARSET_VARIABLES, UNCARRIED, Settings, tracked_value

_NOT_SET = frozenset({"character_set_database", "collation_database", "max_user_connections"})
# They follow the default database and the account.
_CHARSETS = ", ".join(f"'{name}'" for name in CHARSET_VARIABLES)
_MARIADB = (
    "SELECT LOWER(VARIABLE_NAME), SESSION_VALUE FROM information_schema.SYSTEM_VARIABLES"
    f" WHERE (SESSION_VALUE <> GLOBAL_VALUE AND READ_ONLY = 'NO') OR VARIABLE_NAME IN ({_CHARSETS})"
)
_MYSQL = (
    "SELECT LOWER(own.VARIABLE_NAME), own.VARIABLE_VALUE FROM performance_schema.session_variables AS own"
    " JOIN performance_schema.global_variables AS every USING (VARIABLE_NAME)"
    f" WHERE own.VARIABLE_VALUE <> every.VARIABLE_VALUE OR VARIABLE_NAME IN ({_CHARSETS})"
)


async def observe(connection: ServerConnection) -> None:
    """Find out what settings a new connection has. Raises ServerFailed."""
    asked = _MARIADB if "MariaDB" in connection.server_version else _MYSQL
    changes: dict[str, bytes | None] = {}
    for row in await connection.query(asked):
        if len(row) != 2 or row[0] is None:
            raise connection.nonsense(asked)
        name = row[0].decode("ascii", "replace")
        if name not in UNCARRIED and name not in _NOT_SET:
            changes[name] = tracked_value(name, row[1] or b"")
    connection.settings = connection.settings.with_changes(changes)


def begun_with(initial: Settings, login: Settings, plain: Settings) -> Settings:
    """What a session has whose login asked for `login`, where connections that logged in with `plain` have `initial`:
    the character sets of the login, unless they have been set to something else since."""
    names = dict.fromkeys(CHARSET_VARIABLES)
    if {name: initial.get(name) for name in names} != {name: plain.get(name) for name in names}:
        return initial
    return initial.with_changes({name: login.get(name) for name in names})
