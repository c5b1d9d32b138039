"""Two shards and main, a Turnout of two workers in front of them, and one client."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.ddl.house import House
from tests.front.conftest import end
from tests.front.raw import Client
from tests.servers import Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD


@pytest.fixture(scope="session")
def house(run: Run) -> Iterator[House]:
    """Servers of their own: they are killed, and made read-only."""
    made = House(Shop(run))
    yield made
    made.close()


@pytest.fixture(scope="session")
def proxy(run: Run, house: House) -> Iterator[Turnout]:
    started = run.turnout(house.rules)
    yield started
    end(started)


@pytest.fixture
def log_in(proxy: Turnout) -> Iterator[Callable[..., Client]]:
    """A factory of clients, which are gone after the test."""
    clients: list[Client] = []

    def connect(database: str | None = DATABASE, *, admin: bool = False) -> Client:
        account = (OPS, OPS_PASSWORD) if admin else (APP, APP_PASSWORD)
        clients.append(Client(proxy.port, *account, database))
        return clients[-1]

    yield connect
    for client in clients:
        client.abort()


@pytest.fixture
def client(house: House, log_in: Callable[..., Client]) -> Client:
    """A client of an empty shop: every cluster has the database, and no table in it."""
    house.empty()
    client = log_in()
    client.run("DROP TABLE IF EXISTS scratch")  # all workers read the schemas again
    return client
