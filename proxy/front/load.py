"""How much a server has to do, as it says itself: a few of its status variables, and how large its data are.

One worker asks, on connections of Turnout's own account that are used for nothing else, so that a server which is slow
to answer keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from proxy.back.connection import ServerConnection
from proxy.back.decisions import open_service, service_account
from proxy.back.server import Server
from proxy.errors import ServerFailed, TurnoutError
from proxy.rules.model import Rules

log = logging.getLogger("turnout.load")

LOAD_EVERY_S = 10.0
SIZES_EVERY_S = 3600.0
TIMEOUT_S = 8.0
# Rows that storage engines were asked for and given. (MariaDB no longer has Innodb_rows_read and its like.)
_READ = tuple(f"Handler_read_{what}" for what in ("first", "key", "last", "next", "prev", "rnd", "rnd_next"))
_WRITTEN = tuple(f"Handler_{what}" for what in ("write", "update", "delete"))
VARIABLES = (
    "Uptime",
    "Questions",
    "Threads_running",
    "Threads_connected",
    "Innodb_buffer_pool_reads",
    "Innodb_buffer_pool_read_requests",
    *_READ,
    *_WRITTEN,
)
_STATUS = "SHOW GLOBAL STATUS WHERE Variable_name IN ({})".format(", ".join(f"'{name}'" for name in VARIABLES))
_SIZES = "SELECT SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'"


class Loads:
    """What each server last said. A server that does not answer has no status until it does."""

    def __init__(self) -> None:
        self._connections: dict[Server, ServerConnection] = {}
        self._status: dict[Server, dict[str, int]] = {}
        self._sizes: dict[Server, tuple[float, int]] = {}  # when they were asked for, and the bytes

    def status(self, server: Server) -> dict[str, int]:
        """By the variables' names in lower case, and `rows_read`, `rows_written`, `data_bytes`; empty: not known."""
        return self._status.get(server, {})

    async def look(self, servers: Sequence[Server], rules: Rules) -> None:
        """Ask all servers that are up, at the same time."""
        for gone in self._connections.keys() - set(servers):
            self._drop(gone)
        await asyncio.gather(*(self._look(server, rules) for server in servers))

    async def _look(self, server: Server, rules: Rules) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                self._status[server] = await self._ask(server, rules)
        except (TurnoutError, TimeoutError, OSError, ValueError) as error:
            # Whether it is up is not found out here: the probes do that, and say so.
            self._drop(server)
            log.debug("load not known", extra={"server": server.where, "error": str(error)})

    async def _ask(self, server: Server, rules: Rules) -> dict[str, int]:
        connection = self._connections.get(server)
        if connection is None or connection.aborted is not None:
            connection = await open_service(server, service_account(rules, server.cluster))
            self._connections[server] = connection
        told = {
            (name or b"").decode("ascii", "replace"): int(value or b"0")
            for name, value in await connection.query(_STATUS)
        }
        status = {name.lower(): value for name, value in told.items() if not name.startswith("Handler_")}
        status["rows_read"] = sum(told.get(name, 0) for name in _READ)
        status["rows_written"] = sum(told.get(name, 0) for name in _WRITTEN)
        asked, size = self._sizes.get(server, (float("-inf"), 0))
        now = time.monotonic()
        if now - asked >= SIZES_EVERY_S:
            self._sizes[server] = (
                now,
                size,
            )  # a server with so many tables that it takes too long is asked hourly, too
            ((total,),) = await connection.query(_SIZES)
            size = int(total or b"0")
            self._sizes[server] = (now, size)
        if size:
            status["data_bytes"] = size
        return status

    def _drop(self, server: Server) -> None:
        self._status.pop(server, None)
        connection = self._connections.pop(server, None)
        if connection is not None:
            connection.abort(ServerFailed(f"{server.where}: no longer asked"))

    def close(self) -> None:
        for server in list(self._connections):
            self._drop(server)
