"""Asking a server that no rules name for its sums by digest (`turnout measure --performance-schema DSN`)."""

from __future__ import annotations

import asyncio
import os
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.back.server import Role, Server
from proxy.cli.sources import NoMeasurements
from proxy.measure.digests import ENABLED, QUERY, Look, between, looked
from proxy.measure.measures import Measures
from proxy.measure.ranking import Measured
from proxy.rules.model import Address, Health, Pool
from proxy.wire.login import Secret

PASSWORD = "MYSQL_PWD"  # the environment variable that MySQL's own clients read, too


@dataclass(frozen=True, slots=True)
class Dsn:
    address: Address
    user: str
    password: str

    def __str__(self) -> str:
        """Without the password."""
        return f"{self.user}@{self.address}"


def parse_dsn(text: str, environ: Mapping[str, str] = os.environ) -> Dsn:
    """`mysql://user:password@host:port`, or `..@localhost?socket=/path`. Raises ValueError."""
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port or 3306
    except ValueError as error:
        raise ValueError(f"not a DSN: {error}") from None
    socket = urllib.parse.parse_qs(url.query).get("socket", [""])[0]
    if url.scheme not in ("mysql", "mariadb") or not url.username or not (url.hostname or socket):
        raise ValueError("not a DSN: write `mysql://user@host:3306`, with the password in MYSQL_PWD")
    unquote = urllib.parse.unquote
    address = Address(path=socket) if socket else Address(url.hostname or "", port)
    password = unquote(url.password) if url.password is not None else environ.get(PASSWORD, "")
    return Dsn(address, unquote(url.username), password)


async def ask(dsn: Dsn, for_s: float | None) -> Measured:
    """The server's sums; with `for_s`, those of so many seconds from now on. Raises TurnoutError."""
    measures = Measures()
    server = Server(
        "server",
        Role.PRIMARY,
        dsn.address,
        1,
        None,
        Pool(),
        Health(),
        lambda work, what: work.close(),
        measures.server("server", str(dsn.address), Role.PRIMARY.value),
    )
    connection = await server.connect(dsn.user, Secret.of_password(dsn.password.encode()), 0)
    try:
        ((enabled,),) = await connection.query(ENABLED)
        if enabled not in (b"1", b"ON"):
            raise NoMeasurements(
                f"{dsn} keeps no sums: its performance_schema is off. Start it with `performance_schema = ON`, or use "
                "its slow log (--slow-log)"
            )

        async def look() -> Look:
            return looked(await connection.query(QUERY), time.time())

        before = None
        if for_s is not None:
            before = await look()
            await asyncio.sleep(for_s)
        return between(before, await look(), f"performance_schema of {dsn}")
    finally:
        connection.close()
