"""TLS that must be used, and clients that show certificates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.clients.clients import Client
from tests.clients.scenario import DATABASE, NATIVE, PASSWORD, Error
from tests.clients.target import Target
from tests.clients.test_matrix import comparable, every_account, every_client
from tests.servers import Authority, Certificate, Run, Turnout

pytestmark = pytest.mark.servers

INSECURE: Error = [
    3159,
    "HY000",
    "Connections using insecure transport are prohibited while --require_secure_transport=ON.",
]


@every_client
@every_account
def test_required(
    name: str,
    user: str,
    clients: Callable[[str], Client],
    proxy: Callable[[str], Turnout],
    server_certificate: Certificate,
) -> None:
    client = clients(name)
    plain = Target(proxy("tls-required").port, user, PASSWORD, DATABASE)
    refused = {"answer": "in"} if client.tls_by_itself else comparable(client, {"error": INSECURE})
    assert client.log_in(plain) == refused
    assert client.log_in(replace(plain, ca=server_certificate.ca)) == {"answer": "in"}


@every_client
@every_account
def test_offered_and_not_used(
    name: str, user: str, clients: Callable[[str], Client], proxy: Callable[[str], Turnout]
) -> None:
    assert clients(name).log_in(Target(proxy("tls").port, user, PASSWORD, DATABASE)) == {"answer": "in"}


@pytest.fixture(scope="session")
def client_certificates(run: Run) -> tuple[Certificate, Certificate]:
    """One of the authority that Turnout asks for, and one of a stranger's."""
    return run.authority.issue("a client", client=True), Authority(run.place("stranger")).issue("a client", client=True)


@every_client
def test_client_certificate(
    name: str,
    clients: Callable[[str], Client],
    proxy: Callable[[str], Turnout],
    client_certificates: tuple[Certificate, Certificate],
) -> None:
    client = clients(name)
    known, strange = client_certificates
    without = Target(proxy("client-certificates").port, NATIVE, PASSWORD, DATABASE, ca=known.ca)
    assert client.log_in(replace(without, cert=known.cert, key=known.key)) == {"answer": "in"}
    assert set(client.log_in(without)) == {"error"}
    assert set(client.log_in(replace(without, cert=strange.cert, key=strange.key))) == {"error"}
