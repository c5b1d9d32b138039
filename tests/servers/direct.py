"""Several servers asked one by one, past any proxy, over connections that are made again when a server was away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pymysql
from pymysql.connections import Connection

from tests.servers.mariadb import MariaDB


class Direct:
    """`servers` by cluster, all with `database`."""

    def __init__(self, servers: Mapping[str, MariaDB], database: str) -> None:
        self.servers = dict(servers)
        self._database = database
        self._connections: dict[str, Connection] = {}

    def rows(self, cluster: str, sql: str) -> tuple[tuple[Any, ...], ...]:
        """Asked of the server itself."""
        connection = self._connections.get(cluster)
        try:
            if connection is None or not connection.open:
                raise OSError("not connected")
            connection.ping(reconnect=False)
        except (OSError, pymysql.err.Error):
            connection = self._connections[cluster] = self.servers[cluster].admin(self._database)
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return tuple(cursor.fetchall())

    def close(self) -> None:
        for connection in self._connections.values():
            if connection.open:
                connection.close()
        self._connections.clear()
