"""What the Python code of one routed statement costs, without the kernel: fake transports on both sides.

    python -m bench.fast_path [--prepared | --insert] [--profile]

A point select, or sysbench's INSERT, whose answer tells the id that was generated and the position in the binary log.

Prints microseconds per statement (median of rounds) from the client's bytes to the relayed answer.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proxy.back.catalog import EMPTY, Catalog, Column, TableSchema
from proxy.back.clusters import ClusterServers
from proxy.back.connection import ServerConnection, ServerStatement
from proxy.back.pool import Pool, PoolKey
from proxy.back.server import LOGIN_SETTINGS, Role, Server, State
from proxy.front.caching import Caching
from proxy.front.client import Client
from proxy.front.environment import Environment
from proxy.front.listener import Listener
from proxy.front.prepared import read_statement
from proxy.front.session import Session
from proxy.measure.measures import Measures
from proxy.rules.loader import parse
from proxy.rules.model import Address
from proxy.wire.binary import encode_binary_resultset
from proxy.wire.frames import encode
from proxy.wire.lenenc import write_bytes, write_int
from proxy.wire.login import Secret
from proxy.wire.resultset import encode_resultset, text_column
from proxy.wire.status import AUTOCOMMIT, SESSION_STATE_CHANGED

RULES = """
turnout: 1
listen: {mysql: "127.0.0.1:3307"}
users: {app: {password: app}}
service: {user: turnout, password: turnout}
clusters: {main: {primary: "127.0.0.1:3306"}}
databases: {sbtest: {home: main}}
"""
_COLUMNS = (
    Column("id", "int", auto_increment=True),
    Column("k", "int"),
    Column("c", "char", charset="utf8mb4"),
    Column("pad", "char", charset="utf8mb4"),
)
CATALOG = Catalog({("main", "sbtest", "sbtest1"): TableSchema("sbtest", "sbtest1", _COLUMNS, primary_key=("id",))}, 1)
ROUNDS = 9
STATEMENTS = 20_000


class FakeTransport(asyncio.Transport):
    """Takes what is written and forgets it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: Any) -> None:
        self.written += len(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


def make(
    text: str = RULES, catalog: Catalog = EMPTY, caching: Caching | None = None
) -> tuple[Client, ServerConnection]:
    """A client that has logged in, and the one idle connection of its pool."""
    rules = parse(text, Path("rules.yaml"), {})
    measures = Measures()
    server = Server(
        "main",
        Role.PRIMARY,
        Address("127.0.0.1", 3306),
        10,
        None,
        rules.pool,
        rules.health,
        lambda work, what: None,
        measures.server("main", "127.0.0.1:3306", "primary"),
    )
    server.health.state = State.UP
    servers = {"main": ClusterServers("main", server, ())}
    environment = Environment(rules, catalog, servers, measures, 1, caching)
    listener = Listener(rules, environment, 0, measures)
    client = Client(listener)
    client.connection_made(FakeTransport())
    session = Session(
        client,
        environment,
        "app",
        Secret(password=b"app"),
        0,
        LOGIN_SETTINGS,
        "sbtest",
        client.connection_id,
        False,
    )
    client.logged_in(session, 2, b"")
    connection = ServerConnection(
        server.where, user="app", secret=Secret(password=b"app"), capabilities=0, charset=45, settings=LOGIN_SETTINGS
    )
    connection.connection_made(FakeTransport())
    connection._in_login = False
    connection.role = Role.PRIMARY
    connection.database = "sbtest"
    pool: Pool = server.pool(PoolKey("app", 0), Secret(password=b"app"))
    connection.pool = pool
    pool.size = server.size = 1
    pool.idle.append(connection)
    return client, connection


def executions(client: Client, connection: ServerConnection, numbers: Iterable[int]) -> list[bytes]:
    """The select as executions of a statement that client and server have prepared, the types of whose parameter are
    sent with the first."""
    session = client.session
    assert session is not None
    statement = read_statement(session, b"SELECT c FROM sbtest1 WHERE id=?")
    statement.params, statement.types = 1, b"\x08\0"
    session.prepared[statement.id] = statement
    connection.statements[statement.key] = ServerStatement(7)
    head = b"\x17" + statement.id.to_bytes(4, "little") + b"\0\x01\0\0\0" + b"\0\0"
    return [encode(head + number.to_bytes(8, "little"), 0) for number in numbers]


def inserts() -> tuple[list[bytes], bytes]:
    """sysbench's INSERTs (which it sends as text in any case), and the answer of a server that tracks its session."""
    digits = b"-".join([b"%011d" % n for n in range(10**10, 10**10 + 10)])
    text = b"\x03INSERT INTO sbtest1 (id, k, c, pad) VALUES (0, %d, '%s', '%s')"
    state = b"\0" + write_bytes(write_bytes(b"last_gtid") + write_bytes(b"0-1-123456"))
    status = (AUTOCOMMIT | SESSION_STATE_CHANGED).to_bytes(2, "little")
    ok = b"\0\x01" + write_int(123_456) + status + b"\0\0" + b"\0" + write_bytes(state)
    return [encode(text % (n, digits, digits[:59]), 0) for n in range(5000, 5100)], encode(ok, 1)


async def run(profile: bool, prepared: bool, insert: bool) -> None:
    client, connection = make(catalog=CATALOG if insert else EMPTY)
    columns, rows = [text_column("c")], [[b"x" * 119]]
    if insert:
        statements, answer = inserts()
    elif prepared:
        statements = executions(client, connection, range(5000, 5100))
        answer = encode_binary_resultset(columns, rows)
    else:
        statements = [encode(b"\x03SELECT c FROM sbtest1 WHERE id=%d" % n, 0) for n in range(5000, 5100)]
        answer = encode_resultset(columns, rows)
    take, give = client.data_received, connection.data_received
    for packet in statements:
        take(packet)
        give(answer)
    profiler = cProfile.Profile()
    times = []
    for _ in range(ROUNDS):
        if profile:
            profiler.enable()
        began = time.perf_counter()
        for _ in range(STATEMENTS // len(statements)):
            for packet in statements:
                take(packet)
                give(answer)
        times.append((time.perf_counter() - began) / STATEMENTS * 1e6)
        if profile:
            profiler.disable()
    print(f"{statistics.median(times):.2f} us per statement (min {min(times):.2f}, max {max(times):.2f})")
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--profile", action="store_true")
    options.add_argument("--prepared", action="store_true", help="a prepared statement, whose values are bound")
    options.add_argument("--insert", action="store_true", help="an INSERT whose id is generated")
    arguments = options.parse_args()
    asyncio.run(run(arguments.profile, arguments.prepared, arguments.insert))
