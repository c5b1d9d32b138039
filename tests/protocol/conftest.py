"""One Turnout in front of two servers, and a second connection past it, for all tests of this folder.

`items` lives on main, `spread` has the same rows, sharded over both; so what is asked of either through Turnout can be
asked of `items` on main itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.front.conftest import end
from tests.front.raw import Client
from tests.protocol.both import DATABASE, Both
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, OPS, OPS_PASSWORD

ROWS = 60
SCHEMA = (
    f"DROP DATABASE IF EXISTS {DATABASE}",
    f"CREATE DATABASE {DATABASE}",
    f"USE {DATABASE}",
    "CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(300), day DATE NULL, at DATETIME(6) NULL, data LONGBLOB)",
    "CREATE TABLE spread LIKE items",
)
RULES = """\
workers: 2
listen:
  mysql: 127.0.0.1:@MYSQL_PORT@
  http: 127.0.0.1:@HTTP_PORT@
  tls: {tls}
{servers}shardings:
  by_id: {{method: hash, clusters: [main, shard0]}}
databases:
  {database}:
    home: main
    tables:
      spread: {{sharding: by_id, key: id}}
transactions: best_effort
"""
Connect = Callable[..., Client]


def filled(table: str) -> str:
    day = "IF(seq % 3, '2024-02-29', NULL)"
    return (
        f"INSERT INTO {table} SELECT seq, CONCAT('name ', seq), {day}, CONCAT({day}, ' 10:00:00.5'), "
        f"REPEAT(X'00FF275C', seq) FROM seq_1_to_{ROWS}"
    )


@pytest.fixture(scope="package")
def proxy(run: Run, shop_servers: Shop) -> Iterator[Turnout]:
    for server in (shop_servers.main, shop_servers.shard(0)):
        server.execute(*SCHEMA, "SET GLOBAL max_allowed_packet = 67108864")
    shop_servers.main.execute(filled("items"), database=DATABASE)
    certificate = run.authority.issue("protocol")
    tls = json.dumps({"cert": str(certificate.cert), "key": str(certificate.key)})
    servers = shop_servers.rules("main", "shard0").replace("{primary:", "{max_connections: 12, primary:")
    proxy = run.turnout(RULES.format(tls=tls, servers=servers, database=DATABASE))
    with Client(proxy.port, APP, APP_PASSWORD, DATABASE) as client:
        rows = shop_servers.main.execute("SELECT id, name, day, at, HEX(data) FROM items", database=DATABASE)
        for number, name, day, at, data in rows:
            dated = f"'{day}', '{at}'" if day else "NULL, NULL"
            client.run(f"INSERT INTO spread VALUES ({number}, '{name}', {dated}, X'{data}')")
    yield proxy
    end(proxy)
    for server in (shop_servers.main, shop_servers.shard(0)):
        server.execute(f"DROP DATABASE {DATABASE}", "SET GLOBAL max_allowed_packet = DEFAULT")


@pytest.fixture(scope="package")
def server(proxy: Turnout, shop_servers: Shop) -> MariaDB:
    return shop_servers.main


@pytest.fixture
def connect(proxy: Turnout) -> Iterator[Connect]:
    """A factory of clients of Turnout, or of another port; they are gone after the test."""
    clients: list[Client] = []

    def made(port: int = 0, *, admin: bool = False, database: str | None = DATABASE, flags: int = 0) -> Client:
        account = (OPS, OPS_PASSWORD) if admin else (APP, APP_PASSWORD)
        clients.append(Client(port or proxy.port, *account, database, flags=flags, timeout_s=30.0))
        return clients[-1]

    yield made
    for client in clients:
        client.abort()


@pytest.fixture
def both(connect: Connect, server: MariaDB) -> Both:
    """A session through Turnout and one on main itself."""
    return Both(connect(), connect(server.port))
