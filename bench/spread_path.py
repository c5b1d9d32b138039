"""What the Python code of point reads of a sharded table costs, without the kernel: fake transports on all sides.

    python -m bench.spread_path [--profile NAME] [--rounds 7]

Prints microseconds of CPU per statement (median of rounds), from the client's bytes to its answer's last byte, for
an unsharded table, one shard of four, and all four. `bench.point_scatter` is the same with real servers.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.fast_path import FakeTransport
from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.back.clusters import ClusterServers
from proxy.back.connection import ServerConnection
from proxy.back.pool import PoolKey
from proxy.back.server import LOGIN_SETTINGS, Role, Server, State
from proxy.front.client import Client
from proxy.front.environment import Environment
from proxy.front.listener import Listener
from proxy.front.session import Session
from proxy.measure.measures import Measures
from proxy.rules.loader import parse
from proxy.wire.column import LONG, LONGLONG, NEWDECIMAL, VAR_STRING, ColumnDefinition
from proxy.wire.frames import encode
from proxy.wire.login import Secret
from proxy.wire.resultset import encode_resultset

SHARDS = ("shard0", "shard1", "shard2", "shard3")
RULES = """
turnout: 1
listen: {mysql: "127.0.0.1:3307"}
users: {app: {password: app}}
service: {user: turnout, password: turnout}
clusters:
  shard0: {primary: "127.0.0.1:3306"}
  shard1: {primary: "127.0.0.1:3308"}
  shard2: {primary: "127.0.0.1:3309"}
  shard3: {primary: "127.0.0.1:33010"}
shardings:
  by_k: {method: hash, clusters: [shard0, shard1, shard2, shard3]}
databases: {wide: {home: shard0, tables: {big: {sharding: by_k, key: k}}}}
"""
COLUMNS = (
    Column("k", "int", nullable=False),
    Column("id", "int", nullable=False),
    Column("n", "int"),
    Column("name", "varchar", charset="utf8mb4", collation="utf8mb4_unicode_ci", length=30),
)
STATEMENTS = 10_000


def _column(name: str, kind: int, decimals: int = 0, table: str = "big") -> ColumnDefinition:
    charset = 45 if kind == VAR_STRING else 63
    of = table.encode()
    database = b"wide" if table else b""
    return ColumnDefinition(b"def", database, of, of, name.encode(), name.encode(), charset, 11, kind, 0, decimals)


_POINT = [_column("id", LONG), _column("n", LONG), _column("name", VAR_STRING)]
_SUMS = [_column("COUNT(*)", LONGLONG, table=""), _column("SUM(n)", NEWDECIMAL, table="")]
_ROW: list[bytes | None] = [b"1234", b"77", b"name 12345"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One form of statement, and what each server that is asked answers."""

    sql: str
    answers: tuple[bytes, ...]


def _rows(*rows: list[list[bytes | None]]) -> tuple[bytes, ...]:
    return tuple(encode_resultset(_POINT, each) for each in rows)


ASKED = {
    "unsharded": Asked("SELECT id, n, name FROM small WHERE id = {0}", _rows([_ROW])),
    "one shard": Asked("SELECT id, n, name FROM big WHERE id = {0} AND k = {0}", _rows([_ROW])),
    "four shards": Asked("SELECT id, n, name FROM big WHERE id = {0}", _rows([], [_ROW], [], [])),
    "four, sorted": Asked(
        "SELECT id, n, name FROM big WHERE id IN ({0}, 1{0}, 2{0}, 3{0}) ORDER BY id", _rows([_ROW], [_ROW], [], [_ROW])
    ),
    "four, COUNT and SUM": Asked(
        "SELECT COUNT(*), SUM(n) FROM big WHERE id = {0}",
        tuple(encode_resultset(_SUMS, [each]) for each in ([b"0", None], [b"1", b"77"], [b"0", None], [b"0", None])),
    ),
}


def make(transport: Callable[[], asyncio.Transport] = FakeTransport) -> tuple[Client, list[ServerConnection]]:
    """A client that has logged in, and the one idle connection of each server."""
    rules = parse(RULES, Path("rules.yaml"), {})
    measures = Measures()
    catalog = Catalog({(shard, "wide", "big"): TableSchema("wide", "big", COLUMNS) for shard in SHARDS})
    servers, connections = {}, []
    for name in SHARDS:
        address = rules.clusters[name].primary
        counters = measures.server(name, str(address), "primary")
        server = Server(
            name, Role.PRIMARY, address, 10, None, rules.pool, rules.health, lambda work, what: work.close(), counters
        )
        server.health.state = State.UP
        servers[name] = ClusterServers(name, server, ())
        connection = ServerConnection(
            server.where,
            user="app",
            secret=Secret(password=b"app"),
            capabilities=0,
            charset=45,
            settings=LOGIN_SETTINGS,
            database="wide",
        )
        connection.connection_made(transport())
        connection._in_login = False
        connection.role = Role.PRIMARY
        connections.append(connection)
    environment = Environment(rules, catalog, servers, measures, 1)
    client = Client(Listener(rules, environment, 0, measures))
    client.connection_made(transport())
    secret = Secret(password=b"app")
    session = Session(client, environment, "app", secret, 0, LOGIN_SETTINGS, "wide", client.connection_id, False)
    client.logged_in(session, 2, b"")
    for each, connection in zip(servers.values(), connections):
        pool = each.primary.pool(PoolKey("app", 0), secret)
        connection.pool = pool
        pool.size = each.primary.size = 1
        pool.idle.append(connection)
        each.primary.connections.add(connection)
        session._pools[each.primary] = pool
    return client, connections


async def _ask(
    client: Client, connections: list[ServerConnection], packets: list[bytes], answers: tuple[bytes, ...]
) -> None:
    session = client.session
    assert session is not None
    for packet in packets:
        client.data_received(packet)
        while sum(1 for each in connections if each.sink is not None) < len(answers):  # noqa: ASYNC110 - see fast_path
            await asyncio.sleep(0)
        if len(answers) == 1:
            next(each for each in connections if each.sink is not None).data_received(answers[0])
        else:
            for connection, answer in zip(connections, answers):
                connection.data_received(answer)
        while session.busy:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=ASKED)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    client, connections = make()
    times: dict[str, list[float]] = {}
    profiler = cProfile.Profile()
    for _ in range(options.rounds + 1):
        for name, asked in ASKED.items():
            if options.profile not in (None, name):
                continue
            packets = [encode(b"\x03" + asked.sql.format(5000 + n).encode(), 0) for n in range(STATEMENTS)]
            if options.profile:
                profiler.enable()
            began = time.process_time()
            await _ask(client, connections, packets, asked.answers)
            times.setdefault(name, []).append((time.process_time() - began) / STATEMENTS * 1e6)
            profiler.disable()
    for name, taken in times.items():
        print(f"{name:<22} {statistics.median(taken[1:]):7.2f} us (min {min(taken):.2f})")
    if options.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    uvloop.run(main())
