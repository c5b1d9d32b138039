"""A server that begins sessions with statements of its own: clients have what these set, on any connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.front import raw
from tests.front.conftest import end
from tests.front.raw import Client
from tests.servers import MariaDB, Run, Turnout

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("init connect")]

INIT = "SET sql_mode='ANSI_QUOTES', SESSION max_statement_time=7, autocommit=0"
RULES = """
workers: 1
users: {{app: {{password: app-secret}}, root_like: {{password: app-secret}}}}
service: {{user: turnout, password: turnout-secret}}
clusters: {{main: {{primary: '{address}', max_connections: 3}}}}
databases: {{plain: {{home: main}}}}
"""
ASKED = (
    "SELECT @@sql_mode, @@max_statement_time, @@autocommit, @@character_set_client, @@character_set_results,"
    " @@collation_connection, @@sql_safe_updates"
)


@dataclass(frozen=True)
class Both:
    server: MariaDB
    proxy: Turnout

    def client(self) -> Client:
        return Client(self.proxy.port, "app", "app-secret", "plain")

    def each(self, user: str = "app", charset: int = 45) -> tuple[Client, Client]:
        server, proxy = (
            Client(port, user, "app-secret", "plain", charset=charset) for port in (self.server.port, self.proxy.port)
        )
        return server, proxy


@pytest.fixture(scope="module")
def both(run: Run) -> Iterator[Both]:
    server = run.mariadb("init-connect", options=[f"--init-connect={INIT}"])
    server.create_account("root_like", "app-secret")
    server.create_service_account("turnout", "turnout-secret")
    server.execute(
        "CREATE USER app@'%' IDENTIFIED BY 'app-secret'",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON *.* TO app@'%'",
        "CREATE DATABASE plain",
        "CREATE TABLE plain.t (a INT PRIMARY KEY, b VARCHAR(10)) SELECT 1 AS a, 'a' AS b",
    )
    proxy = run.turnout(RULES.format(address=server.address), "init-connect-proxy")
    yield Both(server, proxy)
    end(proxy)
    end(server)


@pytest.mark.parametrize("charset", [45, 8, 33])
@pytest.mark.parametrize("user", ["app", "root_like"])
def test_a_session_begins_as_on_the_server(both: Both, user: str, charset: int) -> None:
    """root_like has the right (CONNECTION ADMIN) that spares it those statements."""
    server, proxy = both.each(user, charset)
    with server, proxy:
        assert proxy.query(ASKED).rows == server.query(ASKED).rows
        assert proxy.query('SELECT "a" FROM t').rows == server.query('SELECT "a" FROM t').rows
        if user == "app":
            proxy.run("UPDATE t SET b = 'lost'")
            proxy.run("ROLLBACK")
            assert proxy.query("SELECT b FROM t").value == b"a"


def test_what_others_set_is_not_what_it_begins_with(both: Both) -> None:
    """DEFAULT is another value than the one that it begins with."""
    with both.client() as client:
        before = client.query(ASKED).rows
    for _ in range(4):  # more than there are connections
        with both.client() as other:
            other.run("SET sql_mode = '', max_statement_time = 3, NAMES latin1, sql_safe_updates = 1")
            assert other.query('SELECT "a" FROM t').value == b"a"
        with both.client() as again:
            assert again.query(ASKED).rows == before
            assert again.query('SELECT "a" FROM t').value == b"1"


@pytest.mark.parametrize("what", ["reset", "change user"])
def test_what_is_left_of_it(both: Both, what: str) -> None:
    answers = []
    for client in both.each():
        with client:
            if what == "reset":
                client.command(raw.COM_RESET_CONNECTION).checked()
            else:
                client.change_user("app", "app-secret", "plain")
            answers.append(client.query(ASKED).rows)
    assert answers[1] == answers[0]
