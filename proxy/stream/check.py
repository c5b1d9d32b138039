"""Whether a server writes its log so that it can be followed, and what to change if not."""

from __future__ import annotations

from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed


class NotFollowable(ServerFailed):
    """The server's settings do not allow it; the message says what to change."""


async def check(connection: ServerConnection, user: str) -> None:
    """Raises NotFollowable for settings, ServerFailed when the server cannot be asked."""
    if "MariaDB" not in connection.server_version:
        raise NotFollowable(
            f"{connection.where} is MySQL, which does not say what a snapshot can see: coherent caching needs MariaDB. "
            "Give the cache class a `ttl:` (not coherent) or take it out"
        )
    rows = await connection.query("SELECT @@log_bin, @@global.binlog_format, @@global.binlog_row_image")
    log_bin, row_format, image = ((cell or b"").decode() for cell in rows[0])
    wrong = []
    if log_bin != "1":
        wrong.append("log_bin (start the server with it, and with a server_id)")
    if row_format.upper() != "ROW":
        wrong.append(f"binlog_format=ROW (it is {row_format})")
    if image.upper() != "FULL":
        wrong.append(f"binlog_row_image=FULL (it is {image})")
    if wrong:
        raise NotFollowable(f"{connection.where} needs {', '.join(wrong)} in its configuration to be cached coherently")
    try:
        await connection.query("SHOW MASTER STATUS")
        await connection.query("SHOW BINARY LOGS")
    except ServerFailed as error:
        if error.errno not in (1044, 1045, 1142, 1227):
            raise
        raise NotFollowable(
            f"{connection.where}: the service account may not read the binary log. "
            f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{user}'@'%'"
        ) from error
