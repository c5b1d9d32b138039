"""One server that is reached in three ways, and one Turnout in front of it that listens in every way at once.

Databases by how their server is reached: `plain`, over IPv4; `packed`, over IPv6, with TLS, compression and PROXY
headers of version 2; `near`, by its Unix socket, with compression and headers of version 1.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

from tests.front.conftest import end
from tests.servers import Certificate, MariaDB, Run, Turnout

PASSWORD = "app-secret"
DATABASES = ("plain", "packed", "near")
BALANCER = "127.0.0.2"  # an address of this host that Turnout trusts to say whose connections it brings


@dataclass(frozen=True, slots=True)
class Reached:
    """The server. One place is one cluster, and addresses of loopback are one place: it has a second port."""

    server: MariaDB
    certificate: Certificate
    other_port: int


@dataclass(frozen=True, slots=True)
class Network:
    server: MariaDB
    proxy: Turnout
    certificate: Certificate  # both sides'


@pytest.fixture(scope="session")
def network_server(run: Run) -> Reached:
    certificate = run.authority.issue("network")
    other_port = run.port()
    options = [
        "--bind-address=127.0.0.1,::1",
        "--proxy-protocol-networks=127.0.0.1,::1,localhost",
        "--max-allowed-packet=64M",
        f"--extra-port={other_port}",
        "--extra-max-connections=100",
    ]
    server = run.mariadb("network", tls=certificate, options=options)
    server.create_account("app", PASSWORD)
    server.create_account("small", PASSWORD)
    server.create_account("guest", PASSWORD, host="10.1.2.%")
    server.create_account("guest6", PASSWORD, host="2001:db8::%")
    server.create_service_account()
    server.execute(*(f"CREATE DATABASE {name}" for name in (*DATABASES, "spread")))
    server.execute(
        "USE spread",
        "CREATE TABLE numbers (id INT, n INT, KEY (id))",
        "INSERT INTO numbers SELECT seq, seq % 7 FROM seq_1_to_3000",
        "CREATE PROCEDURE several() BEGIN SELECT seq FROM seq_1_to_60; SELECT seq FROM seq_1_to_60; END",
    )
    return Reached(server, certificate, other_port)


def rules(reached: Reached) -> str:
    server = reached.server
    return f"""
users:
  app: {{password: {PASSWORD}}}
  small: {{password: {PASSWORD}, result_rows: 100, result_bytes: 20KB}}
  guest: {{password: {PASSWORD}}}
  guest6: {{password: {PASSWORD}}}
service: {{user: turnout, password: turnout}}
clusters:
  plain: {{primary: "127.0.0.1:{server.port}"}}
  packed:
    primary: "[::1]:{reached.other_port}"
    compression: zlib
    tls: {{ca: {reached.certificate.ca}}}
    proxy_protocol: v2
  near: {{primary: {server.socket}, compression: zlib, proxy_protocol: v1}}
shardings: {{by_id: {{method: hash, clusters: [plain, near]}}}}  # one server: it has every row twice
workbench: {{cluster: plain}}
databases:
  plain: {{home: plain}}
  packed: {{home: packed}}
  near: {{home: near}}
  spread: {{home: plain, tables: {{numbers: {{sharding: by_id, key: id}}}}}}
"""


@pytest.fixture(scope="session")
def network(run: Run, network_server: Reached) -> Iterator[Network]:
    certificate = network_server.certificate
    listen = f"""
listen:
  mysql: "[::]:@MYSQL_PORT@"
  http: "127.0.0.1:@HTTP_PORT@"
  tls: {{cert: {certificate.cert}, key: {certificate.key}}}
  proxy_protocol: ["{BALANCER}/32", "2001:db8::1"]
limits: {{session_memory: 1MB}}
"""
    proxy = run.turnout(listen + rules(network_server))
    yield Network(network_server.server, proxy, certificate)
    end(proxy)


@dataclass(frozen=True, slots=True)
class BySocket:
    """A Turnout that is reached by a Unix socket, with small limits, and the folder of its certificate."""

    proxy: Turnout
    path: Path
    folder: Path


@pytest.fixture(scope="session")
def by_socket(run: Run, network_server: Reached) -> Iterator[BySocket]:
    folder = run.place("by-socket")
    issued = run.authority.issue("before")
    for name, source in (("cert.pem", issued.cert), ("key.pem", issued.key)):
        shutil.copy(source, folder / name)
    path = folder / "turnout.sock"
    listen = f"""
listen:
  mysql: {path}
  http: "127.0.0.1:@HTTP_PORT@"
  tls: {{cert: {folder}/cert.pem, key: {folder}/key.pem}}
limits: {{logins_per_address: 20, statement: 500ms, login: 3s}}
"""
    proxy = run.turnout(listen + rules(network_server))
    yield BySocket(proxy, path, folder)
    end(proxy)


Connect = Callable[..., pymysql.Connection]


@pytest.fixture
def connect(by_socket: BySocket) -> Connect:
    def connect(database: str = "plain", **options: object) -> pymysql.Connection:
        return pymysql.connect(
            unix_socket=str(by_socket.path),
            user="app",
            password=PASSWORD,
            database=database,
            autocommit=True,
            **options,  # type: ignore[arg-type]
        )

    return connect


def scalar(client: pymysql.Connection, sql: str) -> object:
    with client.cursor() as cursor:
        cursor.execute(sql)
        (value,) = cursor.fetchone()
        return value
