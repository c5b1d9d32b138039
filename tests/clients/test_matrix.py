"""Each client, with each way to log in, through Turnout: it sees what it sees on the server itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clients.clients import CLIENTS, Client
from tests.clients.scenario import (
    DATABASE,
    NATIVE,
    PASSWORD,
    SHA2,
    STORED,
    UNKNOWN_DATABASE,
    WRONG_PASSWORD,
    Error,
    Seen,
    access_denied,
    stored,
)
from tests.clients.target import Target
from tests.servers import Certificate, MariaDB, Turnout

pytestmark = pytest.mark.servers


# A client's tests stay in one process, which has made it and has asked the server with it.
every_client = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(f"client {name}")) for name in CLIENTS]
)
every_account = pytest.mark.parametrize("user", [NATIVE, SHA2])
every_transport = pytest.mark.parametrize("transport", ["plain", "tls"])


# What libmysqlclient says when a server asks for the password itself, as MySQL and Turnout do after a wrong proof by
# caching_sha2_password, and there is neither TLS nor leave to ask for the key.
NO_KEY: Error = [
    2061,
    "HY000",
    "Authentication plugin 'caching_sha2_password' reported error: Authentication requires secure connection.",
]
# Steps in which accounts differ.
PERSONAL = ("session", "changed user")


@pytest.fixture(scope="session")
def on_server(server: MariaDB) -> Callable[[Client, Path | None], Seen]:
    """What a client sees on the server itself, with TLS if there is an authority; it is asked once for each."""
    known: dict[tuple[int, Path | None], Seen] = {}

    def see(client: Client, ca: Path | None) -> Seen:
        asked = id(client), ca
        if asked not in known:
            known[asked] = play(client, Target(server.port, NATIVE, PASSWORD, DATABASE, ca=ca))
        return known[asked]

    return see


@every_client
@every_account
@every_transport
def test_works_as_on_the_server(
    name: str,
    user: str,
    transport: str,
    clients: Callable[[str], Client],
    on_server: Callable[[Client, Path | None], Seen],
    proxy: Callable[[str], Turnout],
    server: MariaDB,
    server_certificate: Certificate,
) -> None:
    client = clients(name)
    ca = server_certificate.ca if transport == "tls" else None
    direct = on_server(client, ca)
    expected = comparable(client, client.expected(NATIVE, SHA2))
    assert {step: direct.get(step) for step in expected} == expected
    expected = comparable(client, client.expected(user, other(user)))
    personal = {step: expected[step] for step in PERSONAL if step in expected}
    assert play(client, Target(proxy(transport).port, user, PASSWORD, DATABASE, ca=ca)) == {**direct, **personal}
    assert server.execute(STORED, database=DATABASE)[0][0] == stored()


@every_client
@every_account
@every_transport
def test_refuses_logins_as_the_server_does(
    name: str,
    user: str,
    transport: str,
    clients: Callable[[str], Client],
    proxy: Callable[[str], Turnout],
    server: MariaDB,
    server_certificate: Certificate,
) -> None:
    client = clients(name)
    ca = server_certificate.ca if transport == "tls" else None
    right = Target(proxy(transport).port, user, PASSWORD, DATABASE, ca=ca)
    nowhere: Error = [1049, "42000", f"Unknown database '{UNKNOWN_DATABASE}'"]
    refused = {
        replace(right, password=WRONG_PASSWORD): access_denied(user),
        replace(right, user="nobody"): access_denied("nobody"),
        replace(right, database=UNKNOWN_DATABASE): nowhere,
    }
    for target, error in refused.items():
        expected = comparable(client, {"error": error})
        assert client.log_in(replace(target, port=server.port)) == expected
        found = client.log_in(target)
        assert found == expected or (transport == "plain" and not client.asks_for_key and found == {"error": NO_KEY})
    assert client.log_in(right) == {"answer": "in"}


def other(user: str) -> str:
    return SHA2 if user == NATIVE else NATIVE


def play(client: Client, target: Target) -> Seen:
    return client.play(target, replace(target, user=other(target.user)))


def comparable(client: Client, seen: Seen) -> Seen:
    """Errors without SQLSTATE, for a client that does not tell it."""
    if client.sqlstates:
        return seen
    return {step: without_sqlstate(value) for step, value in seen.items()}


def without_sqlstate(value: object) -> object:
    match value:
        case [int(errno), str(), str(message)]:
            return [errno, None, message]
        case _:
            return value
