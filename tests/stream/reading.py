"""A real server's binary log, read through the connection that stream processes use."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path

from proxy.back.server import Role, Server
from proxy.measure.measures import ServerStats
from proxy.rules.loader import parse
from proxy.rules.model import Rules
from proxy.stream import source
from proxy.stream.events import Event
from proxy.stream.source import Follower, Place
from proxy.wire.login import Secret
from tests.servers import MariaDB

USER, PASSWORD = "turnout", "turnout"
DEADLINE_S = 60.0


def rules_for(server: MariaDB, tables: str = "{}") -> Rules:
    return rules_at(server.address, tables)


def rules_at(address: str, tables: str = "{}") -> Rules:
    """Rules with one cluster; `tables` are those of the database `shop`, as YAML."""
    text = f"""\
turnout: 1
listen: {{mysql: 127.0.0.1:3307}}
users: {{app: {{password: app}}}}
clusters: {{main: {{primary: "{address}"}}}}
service: {{user: {USER}, password: {PASSWORD}}}
databases: {{shop: {{home: main, tables: {tables}}}}}
"""
    return parse(text, Path("rules.yaml"))


def backend(server: MariaDB) -> Server:
    rules = rules_for(server)
    entry = rules.clusters["main"]
    stats = ServerStats("main", str(entry.primary), "primary")
    return Server("main", Role.PRIMARY, entry.primary, 10, None, rules.pool, rules.health, _no_pools, stats)


def _no_pools(work: Coroutine[object, object, None], what: str) -> None:
    raise AssertionError("there are no pools here")


def end_of_log(server: MariaDB) -> Place:
    file, offset = server.execute("SHOW MASTER STATUS")[0][:2]
    return Place(str(file), int(offset))


def read_log(server: MariaDB, start: Place, end: Place | None = None) -> list[tuple[Event, int]]:
    """All events from `start` to `end` (or to where the log ends now), with the positions of their ends."""
    return asyncio.run(_read(server, start, end or end_of_log(server)))


async def _read(server: MariaDB, start: Place, end: Place) -> list[tuple[Event, int]]:
    connection = await source.connect(backend(server), USER, Secret.of_password(PASSWORD.encode()))
    try:
        known = await source.identity(connection)
        checksums = await source.prepare(connection, known)
        connection.dump(start, source.own_server_id())
        follower = Follower(connection, start, checksums)
        found: list[tuple[Event, int]] = []
        async with asyncio.timeout(DEADLINE_S):
            while follower.place.position < end.position:
                found += [follower.take(packet) for packet in await follower.packets()]
        return [(event, position) for event, position in found if position <= end.position]
    finally:
        connection.close()
        await asyncio.sleep(0)
