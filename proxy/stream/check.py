"""Whether a server writes its log so that it can be followed, and what to change if not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed

# What the service account has to see of cached tables: without SHOW VIEW and TRIGGER servers hide views' definitions,
# triggers, and (without both) foreign keys, and what a write changes through them would not be known.
NEEDED, GLOBAL = ("SELECT", "SHOW VIEW", "TRIGGER"), ("REPLICATION SLAVE", "REPLICATION CLIENT")
# All that the service account should have (README.md); MariaDB alone has the last.
SERVICE, MARIADB_ONLY = (*NEEDED, "PROCESS", "REPLICATION CLIENT", "REPLICATION SLAVE"), "REPLICA MONITOR"
# What servers call them otherwise in SHOW GRANTS.
_SAME = {
    "BINLOG MONITOR": "REPLICATION CLIENT",
    "SLAVE MONITOR": "REPLICA MONITOR",
    "REPLICATION REPLICA": "REPLICATION SLAVE",
}
_NAME = r"""(?:`(?:[^`]|``)*`|"(?:[^"]|"")*"|[^\s.`"]+)"""  # in either sql_mode
_GRANT = re.compile(rf"GRANT (?P<what>.+?) ON (?P<where>{_NAME}\.{_NAME}) TO ", re.IGNORECASE)
NO_PRIVILEGE = (1044, 1045, 1142, 1227)
GRANT_DUMP = "The service account needs GRANT REPLICATION SLAVE ON *.*"


class NotFollowable(ServerFailed):
    """The server's settings do not allow it; the message says what to change."""


async def check(connection: ServerConnection, user: str, databases: Collection[str]) -> None:
    """`databases`: of the cached tables. Raises NotFollowable for settings and privileges, ServerFailed when the server
    cannot be asked."""
    mariadb = "MariaDB" in connection.server_version
    rows = await connection.query("SELECT @@log_bin, @@global.binlog_format, @@global.binlog_row_image")
    wrong = wrong_settings(*((cell or b"").decode() for cell in rows[0]))
    isolation = await connection.query(
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')"
    )
    if any((value or b"").upper() == b"READ-UNCOMMITTED" for _, value in isolation):
        wrong.append("another transaction_isolation than READ-UNCOMMITTED")
    if not mariadb and not wrong:
        rows = await connection.query(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN"
            " ('gtid_mode', 'binlog_transaction_compression', 'binlog_row_value_options')"
        )
        wrong = wrong_mysql_settings({(row[0] or b"").decode().lower(): (row[1] or b"").decode() for row in rows})
    if wrong:
        message = f"{connection.where} needs {', '.join(wrong)} in its configuration to be cached coherently"
        raise NotFollowable(message + at_once(wrong))
    try:
        if mariadb:  # MySQL's name for it depends on the version; `source.current_end` asks
            for _, _, only, ignored, *_ in await connection.query("SHOW MASTER STATUS"):
                if only or ignored:
                    raise NotFollowable(
                        f"{connection.where} leaves databases out of its binary log: take binlog_do_db and "
                        "binlog_ignore_db out of its configuration to have it cached coherently"
                    )
        await connection.query("SHOW BINARY LOGS")
    except ServerFailed as error:
        if error.errno not in NO_PRIVILEGE:
            raise
        raise NotFollowable(
            f"{connection.where}: the service account may not read the binary log. {grant(user, mariadb)}"
        ) from error

    grants = [(row[0] or b"").decode("utf-8", "replace") for row in await connection.query("SHOW GRANTS")]
    lacking = missing_grants(grants, databases)
    if lacking:
        raise NotFollowable(
            f"{connection.where}: the service account lacks {', '.join(lacking)}, without which the binary log, or "
            f"triggers and foreign keys of cached tables, are hidden from it. {grant(user, mariadb)}"
        )


def grant(user: str, mariadb: bool) -> str:
    """The statement that gives the service account all that it should have."""
    return f"GRANT {', '.join(_wanted(mariadb))} ON *.* TO '{user}'@'%'"


def lacking(grants: Iterable[str], databases: Collection[str], mariadb: bool) -> list[str]:
    """What the service account should have, and does not have."""
    wanted = _wanted(mariadb)
    return missing_grants(grants, databases, [name for name in wanted if name not in NEEDED])


def _wanted(mariadb: bool) -> tuple[str, ...]:
    return (*SERVICE, MARIADB_ONLY) if mariadb else SERVICE


def missing_grants(
    grants: Iterable[str],
    databases: Collection[str],
    everywhere: Collection[str] = GLOBAL,
    needed: Collection[str] = NEEDED,
) -> list[str]:
    """Which of `needed` is granted neither on everything nor on all of these databases, and which of `everywhere` is
    not granted; `grants` as SHOW GRANTS says them (of roles, only what it shows)."""
    held: dict[str, set[str]] = {}
    for line in grants:
        found = _GRANT.match(line)
        if found is None:
            continue
        names = {name.strip().upper() for name in found["what"].split(",")}
        if names & {"ALL PRIVILEGES", "ALL"}:
            names.update((*SERVICE, MARIADB_ONLY, *needed))
        names.update(_SAME[name] for name in names & _SAME.keys())
        held.setdefault(found["where"], set()).update(names)
    lacking = []
    for name in needed:
        on = [where for where, names in held.items() if name in names]
        if "*.*" not in on and not all(any(_covers(where, database) for where in on) for database in databases):
            lacking.append(name)
    return [*lacking, *(name for name in everywhere if name not in held.get("*.*", ()))]


def _covers(where: str, database: str) -> bool:
    """Is a database as a whole what a grant is on? Its name is a LIKE pattern there."""
    name, _, table = where.rpartition(".")
    if table != "*":
        return False
    quote = name[:1]
    text = name[1:-1].replace(2 * quote, quote) if quote in ('"', "`") else name
    pattern = "".join(
        {"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in re.findall(r"\\.|.", text, re.DOTALL)
    )
    return re.fullmatch(pattern, database, re.IGNORECASE | re.DOTALL) is not None


def wrong_settings(log_bin: str, row_format: str, image: str) -> list[str]:
    """What either family of servers needs and does not have."""
    wrong = []
    if log_bin != "1":
        wrong.append("log_bin (start the server with it, and with a server_id)")
    if row_format.upper() != "ROW":
        wrong.append(f"binlog_format=ROW (it is {row_format})")
    if image.upper() != "FULL":
        wrong.append(f"binlog_row_image=FULL (it is {image})")
    return wrong


def at_once(wrong: Iterable[str]) -> str:
    """What to do about settings of `wrong_settings` that can be changed while the server runs."""
    settings = [found.groups() for each in wrong if (found := _SETTABLE.match(each)) is not None]
    if not settings:
        return ""
    now = " ".join(f"SET GLOBAL {name} = '{value}';" for name, value in settings)
    lines = ", ".join(f"`{name} = {value}`" for name, value in settings)
    return f". Now: {now} (for connections that begin after it); for its next start, under [mysqld]: {lines}"


_SETTABLE = re.compile(r"(binlog_format|binlog_row_image)=(\w+)")


def wrong_mysql_settings(variables: dict[str, str]) -> list[str]:
    """GTIDs say what is visible (`proxy.stream.probe`). Of transactions that are compressed as a whole, and of parts of
    JSON values, the stream reads nothing: everything would count as changed by them."""
    wrong = []
    mode = variables.get("gtid_mode", "OFF")
    if mode.upper() != "ON":
        wrong.append(f"gtid_mode=ON and enforce_gtid_consistency=ON (gtid_mode is {mode})")
    if variables.get("binlog_transaction_compression", "OFF").upper() not in ("OFF", "0"):
        wrong.append("binlog_transaction_compression=OFF")
    if variables.get("binlog_row_value_options", ""):
        wrong.append("binlog_row_value_options='' (no PARTIAL_JSON)")
    return wrong
