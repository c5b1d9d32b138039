"""TLS that must be used, and clients that show certificates."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.clients import Client
from tests.clients.scenario import Error
from tests.clients.test_matrix import Seeing, every_account, every_client, refusal

pytestmark = pytest.mark.servers

INSECURE: Error = [
    3159,
    "HY000",
    "Connections using insecure transport are prohibited while --require_secure_transport=ON.",
]


@every_client
@every_account
def test_required(name: str, user: str, clients: Callable[[str], Client], seen: Seeing) -> None:
    client, saw = clients(name), seen(name)
    refused = {"answer": "in"} if client.tls_by_itself else refusal(client, INSECURE)
    assert saw[f"required TLS, without, as {user}"] == refused
    assert saw[f"required TLS, with, as {user}"] == {"answer": "in"}


@every_client
@every_account
def test_offered_and_not_used(name: str, user: str, seen: Seeing) -> None:
    assert seen(name)[f"offered TLS, without, as {user}"] == {"answer": "in"}


@every_client
def test_client_certificate(name: str, seen: Seeing) -> None:
    saw = seen(name)
    assert saw["its certificate"] == {"answer": "in"}
    assert set(saw["no certificate"]) == {"error"}
    assert set(saw["a stranger's certificate"]) == {"error"}
