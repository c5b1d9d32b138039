"""Python's drivers, each as `tests.clients.dbapi.Driver` wants it."""

from __future__ import annotations

import asyncio
import datetime
import io
from collections.abc import Awaitable
from typing import Any, TypeVar

import pymysql
import pymysql.cursors

from tests.clients.dbapi import Driver, tls_context
from tests.clients.scenario import KINDS, Error, shown
from tests.clients.target import HOST, Target

T = TypeVar("T")


def account(target: Target) -> dict[str, Any]:
    return {
        "host": HOST,
        "port": target.port,
        "user": target.user,
        "password": target.password,
        "database": target.database,
    }


class PyMySQL(Driver):
    error_class = pymysql.err.Error

    def connect(self, target: Target) -> Any:
        return pymysql.connect(**account(target), **({"ssl": tls_context(target)} if target.ca else {}))

    def close(self, connection: Any) -> None:
        if connection.open:
            connection.close()

    def streaming(self, connection: Any) -> Any:
        return connection.cursor(pymysql.cursors.SSCursor)


class MySQLClient(Driver):
    """mysqlclient, which is MariaDB's or MySQL's C library; here MariaDB's."""

    def __init__(self) -> None:
        import MySQLdb
        import MySQLdb.cursors

        self._module = MySQLdb
        self.error_class = MySQLdb.Error  # type: ignore[misc]

    def connect(self, target: Target) -> Any:
        names = {"ca": target.ca, "cert": target.cert, "key": target.key}
        tls = {name: str(path) for name, path in names.items() if path}
        return self._module.connect(**account(target), **({"ssl": tls} if tls else {}))

    def streaming(self, connection: Any) -> Any:
        return connection.cursor(self._module.cursors.SSCursor)

    def info(self, connection: Any) -> str | None:
        return str(connection.info())

    def change_user(self, connection: Any, target: Target) -> bool:
        connection.change_user(target.user, target.password, target.database)
        return True


class Connector(Driver):
    """MySQL Connector/Python, in Python or with its C extension. Uses TLS by itself wherever it is offered."""

    def __init__(self, pure: bool) -> None:
        import mysql.connector

        self._module = mysql.connector
        self._pure = pure
        self.error_class = mysql.connector.Error  # type: ignore[misc]

    def connect(self, target: Target) -> Any:
        tls: dict[str, Any] = {}
        if target.ca:
            tls = {"ssl_ca": str(target.ca), "ssl_verify_cert": True, "ssl_verify_identity": True}
        if target.cert:
            tls |= {"ssl_cert": str(target.cert), "ssl_key": str(target.key)}
        return self._module.connect(**account(target), use_pure=self._pure, **tls)

    def prepared(self, connection: Any) -> Any:
        return connection.cursor(prepared=True)

    def cursor(self, connection: Any) -> Any:
        return connection.cursor(buffered=True)

    def streaming(self, connection: Any) -> Any:
        return connection.cursor()

    def typed(self, connection: Any) -> Any:
        # In C it takes no 64-bit integers without sign, reads them with one, and sends doubles as floats.
        return self.prepared(connection) if self._pure else self.cursor(connection)

    def kinds(self) -> tuple[object, ...]:
        # In Python it encodes negative times wrongly (as the positive time of day of their normal form).
        return tuple(shown(value) if isinstance(value, datetime.timedelta) else value for value in KINDS)

    def big(self, content: bytes) -> Any:
        # In Python it sends a file as COM_STMT_SEND_LONG_DATA.
        return io.BytesIO(content) if self._pure else content

    def thread_id(self, connection: Any) -> int:
        return int(connection.connection_id)

    def select_database(self, connection: Any, database: str) -> None:
        connection.database = database

    def reconnect(self, connection: Any, target: Target) -> Any:
        connection.ping(reconnect=True)
        return connection

    def change_user(self, connection: Any, target: Target) -> bool:
        connection.cmd_change_user(target.user, target.password, target.database)
        return True

    def reset(self, connection: Any) -> bool:
        connection.cmd_reset_connection()
        return True

    def error(self, error: Any) -> Error:
        return [error.errno, error.sqlstate, error.msg]


class Asyncmy(Driver):
    """asyncmy, driven from the outside one call at a time. `caching` prepares every statement on the server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, caching: bool) -> None:
        import asyncmy
        import asyncmy.cursors
        import asyncmy.errors

        self._module = asyncmy
        self._loop = loop
        self._caching = caching
        self.error_class = asyncmy.errors.Error  # type: ignore[misc]

    def wait(self, awaitable: Awaitable[T]) -> T:
        async def waited() -> T:
            return await awaitable

        return self._loop.run_until_complete(waited())

    def connect(self, target: Target) -> Any:
        options: dict[str, Any] = {"ssl": tls_context(target)} if target.ca else {}
        if self._caching:
            options["stmt_cache_size"] = 50
        return Waited(self, self.wait(self._module.connect(**account(target), **options)))

    def close(self, connection: Any) -> None:
        connection.ensure_closed()

    def streaming(self, connection: Any) -> Any:
        return connection.cursor(self._module.cursors.SSCursor)

    def reconnect(self, connection: Any, target: Target) -> Any:
        connection.ping(reconnect=True)
        return connection


class Waited:
    """An object of asyncmy's whose coroutines are waited for."""

    def __init__(self, driver: Asyncmy, inner: Any) -> None:
        self._driver = driver
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **keywords: Any) -> Any:
            result = found(*args, **keywords)
            if asyncio.iscoroutine(result):
                return self._driver.wait(result)
            return Waited(self._driver, result) if name == "cursor" else result

        return call
