"""Whether a server writes its log so that it can be followed, and what to change if not."""

from __future__ import annotations

from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed

NO_PRIVILEGE = (1044, 1045, 1142, 1227)
GRANT_DUMP = "The service account needs GRANT REPLICATION SLAVE ON *.*"


class NotFollowable(ServerFailed):
    """The server's settings do not allow it; the message says what to change."""


async def check(connection: ServerConnection, user: str) -> None:
    """Raises NotFollowable for settings, ServerFailed when the server cannot be asked."""
    mariadb = "MariaDB" in connection.server_version
    rows = await connection.query("SELECT @@log_bin, @@global.binlog_format, @@global.binlog_row_image")
    wrong = wrong_settings(*((cell or b"").decode() for cell in rows[0]))
    if not mariadb and not wrong:
        rows = await connection.query(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN"
            " ('gtid_mode', 'binlog_transaction_compression', 'binlog_row_value_options')"
        )
        wrong = wrong_mysql_settings({(row[0] or b"").decode().lower(): (row[1] or b"").decode() for row in rows})
    if wrong:
        raise NotFollowable(f"{connection.where} needs {', '.join(wrong)} in its configuration to be cached coherently")
    try:
        if mariadb:  # MySQL's name for it depends on the version; `source.current_end` asks
            await connection.query("SHOW MASTER STATUS")
        await connection.query("SHOW BINARY LOGS")
    except ServerFailed as error:
        if error.errno not in NO_PRIVILEGE:
            raise
        monitor = "BINLOG MONITOR" if mariadb else "REPLICATION CLIENT"
        raise NotFollowable(
            f"{connection.where}: the service account may not read the binary log. "
            f"GRANT REPLICATION SLAVE, {monitor} ON *.* TO '{user}'@'%'"
        ) from error


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
