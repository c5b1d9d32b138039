"""One MariaDB server, and Turnout in front of it in several ways, for all tests of clients in one process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from tests.clients.clients import CLIENTS, Client, Workshop
from tests.clients.jobs import Job, all_jobs
from tests.clients.programs import Unavailable
from tests.clients.scenario import (
    DATABASE,
    FIRST_TABLES,
    LINES,
    NATIVE,
    PASSWORD,
    SECOND_DATABASE,
    SECOND_TABLES,
    SHA2,
    Seen,
)
from tests.servers import Authority, Certificate, MariaDB, Run, Turnout

# What `listen.tls` says, by the name of the proxy: none, offered, required, clients with certificates.
PROXIES = {
    "plain": "",
    "tls": "{{cert: {cert}, key: {key}}}",
    "tls-required": "{{cert: {cert}, key: {key}, require: true}}",
    "client-certificates": "{{cert: {cert}, key: {key}, client_ca: {ca}}}",
}


@pytest.fixture(scope="session")
def server_certificate(run: Run) -> Certificate:
    return run.authority.issue("server")


@pytest.fixture(scope="session")
def server(run: Run, server_certificate: Certificate) -> MariaDB:
    server = run.mariadb("clients", tls=server_certificate)
    for account in (NATIVE, SHA2):
        server.create_account(account, PASSWORD)
    server.create_service_account()
    server.execute(f"CREATE DATABASE {DATABASE}", *SECOND_TABLES)
    server.execute(*FIRST_TABLES, database=DATABASE)
    server.execute("SET GLOBAL max_allowed_packet = 67108864")  # of connections from now on
    return server


@pytest.fixture(scope="session")
def proxy(run: Run, server: MariaDB, server_certificate: Certificate) -> Callable[[str], Turnout]:
    """`proxy(name)`: the Turnout of that name in PROXIES, started when it is first asked for."""
    started: dict[str, Turnout] = {}

    def start(name: str) -> Turnout:
        if name not in started:
            started[name] = run.turnout(rules(server, server_certificate, PROXIES[name]), name)
        return started[name]

    return start


def rules(server: MariaDB, certificate: Certificate, tls: str) -> str:
    """YAML reads JSON's strings."""
    paths = {name: json.dumps(str(getattr(certificate, name))) for name in ("ca", "cert", "key")}
    password = json.dumps(PASSWORD)
    return f"""
listen:
  mysql: 127.0.0.1:@MYSQL_PORT@
  http: 127.0.0.1:@HTTP_PORT@
  {"tls: " + tls.format(**paths) if tls else ""}
users:
  {NATIVE}: {{password: {password}, auth: mysql_native_password}}
  {SHA2}: {{password: {password}, auth: caching_sha2_password}}
service: {{user: turnout, password: turnout}}
clusters: {{main: {{primary: "{server.address}"}}}}
databases: {{{DATABASE}: {{home: main}}, {SECOND_DATABASE}: {{home: main}}, dumped: {{home: main}}}}
"""


@pytest.fixture(scope="session")
def clients(run: Run) -> Iterator[Callable[[str], Client]]:
    """`clients(name)`: the client of that name, made when first asked for. Skips when it cannot be had."""
    made: dict[str, Client | str] = {}
    loop = asyncio.new_event_loop()
    workshop = Workshop(run.place("clients"), loop)

    def make(name: str) -> Client:
        if name not in made:
            try:
                made[name] = CLIENTS[name](workshop)
            except Unavailable as error:
                made[name] = str(error)
        client = made[name]
        if isinstance(client, str):
            pytest.skip(client)
        return client

    yield make
    loop.close()


def acting(client: Client, job: Job) -> Job:
    """The job as the account that has to stand for another one, see `Client.account`."""
    target, other = (replace(each, user=client.account(each.user)) for each in (job.target, job.other))
    return replace(job, target=target, other=other)


@pytest.fixture(scope="session")
def seen(
    clients: Callable[[str], Client],
    proxy: Callable[[str], Turnout],
    server: MariaDB,
    server_certificate: Certificate,
    run: Run,
) -> Callable[[str], Mapping[str, Seen]]:
    """`seen(name)`: what the client of that name saw of every job (see `tests.clients.jobs`)."""
    known: dict[str, Mapping[str, Seen]] = {}
    lines = run.place("lines") / "lines.csv"
    lines.write_text(LINES)
    certificates = (
        server_certificate,
        run.authority.issue("a client", client=True),
        Authority(run.place("stranger")).issue("a client", client=True),
    )

    def see(name: str) -> Mapping[str, Seen]:
        client = clients(name)
        if name not in known:
            jobs = all_jobs(server.port, lambda proxied: proxy(proxied).port, *certificates, str(lines))
            jobs = {name: acting(client, job) for name, job in jobs.items() if job.action not in client.lacks}
            known[name] = dict(zip(jobs, client.run(list(jobs.values())), strict=True))
        return known[name]

    return see
