"""One Turnout per module for the dialogues that leave it as they found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.front.raw import Client
from tests.servers import Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD

TABLES = """\
CREATE TABLE items (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, n INT NOT NULL DEFAULT 0)
INSERT INTO items (name, n) VALUES ('one', 1), ('two', 2), ('three', 3)
"""


def end(proxy: Turnout) -> None:
    """Kill it; a test in which it made a mistake of its own fails, whatever the clients saw."""
    proxy.kill()
    lines = proxy.log_text().splitlines()
    mistakes = [line for line in lines if '"event": "defect"' in line or '"event": "task failed"' in line]
    assert not mistakes, "\n".join(mistakes).replace("\\n", "\n")


@pytest.fixture
def turnout(run: Run) -> Iterator[Callable[..., Turnout]]:
    """A factory: `turnout(rules_text)` is a running Turnout, ended after the test, that must not have failed itself."""
    started: list[Turnout] = []

    def start(rules: str) -> Turnout:
        started.append(run.turnout(rules))
        return started[-1]

    yield start
    for proxy in reversed(started):
        end(proxy)


@pytest.fixture(scope="module")
def home(run: Run, shop_servers: Shop) -> Iterator[Turnout]:
    """Everything on main, four connections, two workers."""
    shop_servers.recreate()
    shop_servers.main.execute(*TABLES.splitlines(), database=DATABASE)
    shop_servers.main.execute("SET GLOBAL max_allowed_packet = 67108864")  # for connections opened from now on
    rules = shop_servers.rules().replace("{primary:", "{max_connections: 4, primary:")
    proxy = run.turnout(f"workers: 2\n{rules}databases:\n  {DATABASE}: {{home: main}}\n")
    yield proxy
    end(proxy)


@pytest.fixture
def log_in(home: Turnout) -> Iterator[Callable[..., Client]]:
    """A factory of clients of `home`, or of another Turnout; they are gone after the test."""
    clients: list[Client] = []

    def connect(proxy: Turnout | None = None, *, admin: bool = False, timeout_s: float = 30.0) -> Client:
        account = (OPS, OPS_PASSWORD) if admin else (APP, APP_PASSWORD)
        client = Client((proxy or home).port, *account, DATABASE, timeout_s=timeout_s)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.abort()
