"""Three clusters with a bank and a Turnout in front of them that commits atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.atomic.branch_office import Bank
from tests.front.conftest import end
from tests.front.raw import Client
from tests.servers import Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE


@pytest.fixture(scope="module")
def bank(run: Run) -> Iterator[Bank]:
    """Servers of its own: they are killed."""
    bank = Bank(Shop(run))
    yield bank
    bank.close()


@pytest.fixture(scope="module")
def proxy(run: Run, bank: Bank) -> Iterator[Turnout]:
    proxy = run.turnout(bank.rules)
    yield proxy
    end(proxy)


@pytest.fixture
def log_in(proxy: Turnout) -> Iterator[Callable[..., Client]]:
    """A factory of clients, which are gone after the test."""
    clients: list[Client] = []

    def connect(to: Turnout | None = None, user: str = APP, password: str = APP_PASSWORD) -> Client:
        clients.append(Client((to or proxy).port, user, password, DATABASE))
        return clients[-1]

    yield connect
    for client in clients:
        client.abort()
