"""Python's drivers, each as `tests.clients.dbapi.Driver` wants it."""

from __future__ import annotations

import asyncio
import datetime
import io
from collections.abc import Awaitable
from contextlib import closing
from typing import Any, TypeVar

import pymysql
import pymysql.constants.CLIENT
import pymysql.converters
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


def pymysql_options(target: Target) -> dict[str, Any]:
    """Of PyMySQL and those that are made of it."""
    flag = pymysql.constants.CLIENT.MULTI_STATEMENTS if "several" in target.options else 0
    return {"client_flag": flag, "local_infile": "infile" in target.options}


class PyMySQL(Driver):
    error_class = pymysql.err.Error

    def connect(self, target: Target) -> Any:
        options: dict[str, Any] = {"ssl": tls_context(target)} if target.ca else {}
        return pymysql.connect(**account(target), **options, **pymysql_options(target))

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
        options: dict[str, Any] = {"ssl": tls} if tls else {}
        options |= {"local_infile": True} if "infile" in target.options else {}
        options |= {"compress": True} if "compress" in target.options else {}
        return self._module.connect(**account(target), **options, multi_statements="several" in target.options)

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
        if pure:  # of prepared statements
            self.unread, self.reads_huge = ("YEAR",), False  # type: ignore[misc]
        self.error_class = mysql.connector.Error  # type: ignore[misc]

    def connect(self, target: Target) -> Any:
        tls: dict[str, Any] = {}
        if target.ca:
            tls = {"ssl_ca": str(target.ca), "ssl_verify_cert": True, "ssl_verify_identity": True}
        if target.cert:
            tls |= {"ssl_cert": str(target.cert), "ssl_key": str(target.key)}
        options = {"allow_local_infile": "infile" in target.options, "compress": "compress" in target.options}
        return self._module.connect(**account(target), use_pure=self._pure, **options, **tls)

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

    def results(self, connection: Any, procedure: str, values: tuple[object, ...]) -> list[object]:
        found: list[object] = []
        with closing(connection.cursor()) as cursor:
            try:
                cursor.callproc(procedure, values)
                found += [
                    [[shown(value) for value in row] for row in each.fetchall()] for each in cursor.stored_results()
                ]
            except self.error_class as error:
                found.append(self.error(error))
        return found

    def out(self, connection: Any) -> str | None:
        with closing(connection.cursor()) as cursor:
            return shown(cursor.callproc("doubled", (21, 0))[1])

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


class Awaited(Driver):
    """A driver of asyncio's, driven from the outside one call at a time; `module` is its own."""

    module: Any

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def wait(self, awaitable: Awaitable[T]) -> T:
        async def waited() -> T:
            return await awaitable

        return self._loop.run_until_complete(waited())

    def connect(self, target: Target) -> Any:
        options: dict[str, Any] = {"ssl": tls_context(target)} if target.ca else {}
        return Waited(self, self.wait(self.module.connect(**self.account(target), **options)))

    def account(self, target: Target) -> dict[str, Any]:
        return {**account(target), **pymysql_options(target)}

    def close(self, connection: Any) -> None:
        connection.ensure_closed()

    def streaming(self, connection: Any) -> Any:
        return connection.cursor(self.module.cursors.SSCursor)

    def reconnect(self, connection: Any, target: Target) -> Any:
        connection.ping(reconnect=True)
        return connection


class Asyncmy(Awaited):
    """`caching` prepares every statement on the server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, caching: bool) -> None:
        import asyncmy
        import asyncmy.cursors
        import asyncmy.errors

        super().__init__(loop)
        self.module = asyncmy
        self._caching = caching
        self.reads_huge = caching  # type: ignore[misc]
        self.error_class = asyncmy.errors.Error  # type: ignore[misc]

    def account(self, target: Target) -> dict[str, Any]:
        return {**super().account(target), **({"stmt_cache_size": 50} if self._caching else {})}


class Aiomysql(Awaited):
    """aiomysql: PyMySQL's protocol code on asyncio's streams."""

    error_class = pymysql.err.Error

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        import aiomysql
        import aiomysql.connection

        super().__init__(loop)
        self.module = aiomysql
        aiomysql.connection.escape_bytes_prefixed = _binary_literal  # PyMySQL's own is gone since 1.2

    def account(self, target: Target) -> dict[str, Any]:
        return {("db" if name == "database" else name): value for name, value in super().account(target).items()}


def _binary_literal(value: bytes) -> str:
    return f"_binary'{pymysql.converters.escape_string(value.decode('ascii', 'surrogateescape'))}'"


class MariaDBConnector(Driver):
    """MariaDB Connector/Python: MariaDB's C library; statements with values are prepared by `prepared=True`."""

    unread = ("INT(5) ZEROFILL",)  # it takes a number's zeros away, and then has none left of 0

    def __init__(self) -> None:
        import mariadb

        self._module = mariadb
        self.error_class = mariadb.Error  # type: ignore[misc]

    def connect(self, target: Target) -> Any:
        tls: dict[str, Any] = {"ssl": True, "ssl_ca": str(target.ca), "ssl_verify_cert": True} if target.ca else {}
        if target.cert:
            tls |= {"ssl_cert": str(target.cert), "ssl_key": str(target.key)}
        flag = pymysql.constants.CLIENT.MULTI_STATEMENTS if "several" in target.options else 0
        options = {"client_flag": flag, "local_infile": "infile" in target.options}
        return self._module.connect(**account(target), **options, **tls, compress="compress" in target.options)

    def prepared(self, connection: Any) -> Any:
        return connection.cursor(prepared=True)

    def streaming(self, connection: Any) -> Any:
        return connection.cursor(buffered=False)

    def thread_id(self, connection: Any) -> int:
        return int(connection.connection_id)

    def reconnect(self, connection: Any, target: Target) -> Any:
        connection.reconnect()
        return connection

    def change_user(self, connection: Any, target: Target) -> bool:
        connection.change_user(target.user, target.password, target.database)
        return True

    def reset(self, connection: Any) -> bool:
        connection.reset()
        return True

    def error(self, error: Any) -> Error:
        return [error.errno, error.sqlstate, error.msg or str(error)]


class Waited:
    """An object of such a driver whose coroutines are waited for."""

    def __init__(self, driver: Awaited, inner: Any) -> None:
        self._driver = driver
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **keywords: Any) -> Any:
            result = found(*args, **keywords)
            if name == "cursor":
                if hasattr(result, "__await__"):  # aiomysql's `cursor()` may be awaited or entered
                    result = self._driver.wait(result)
                return Waited(self._driver, result)
            return self._driver.wait(result) if asyncio.iscoroutine(result) or asyncio.isfuture(result) else result

        return call
