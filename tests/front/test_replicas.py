"""Reads on replicas: they go there, they see the session's own writes, and a lost replica is no client's concern."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.front.raw import Client
from tests.servers import MariaDB, Run, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, SERVICE, SERVICE_PASSWORD

pytestmark = pytest.mark.servers
RULES = """\
users: {{{app}: {{password: {app_password}}}}}
service: {{user: {service}, password: {service_password}}}
clusters:
  main: {{primary: '{primary}', replicas: ['{replica}'], max_connections: 8}}
databases:
  {database}:
    home: main
    reads: {{from: replicas, max_lag: 60s, own_writes: {own_writes}}}
    tables:
      strict: {{reads: {{from: primary}}}}
health: {{every: 200ms, timeout: 1s}}
"""


class Pair:
    """A primary and its replica, and a table `place` whose only row says which of the two it is."""

    def __init__(self, run: Run) -> None:
        self.primary = run.mariadb("pair")
        self.primary.create_account(APP, APP_PASSWORD)
        self.primary.create_service_account(SERVICE, SERVICE_PASSWORD)
        self.replica = run.replica_of(self.primary)
        self.primary.execute(
            f"CREATE DATABASE {DATABASE}",
            f"USE {DATABASE}",
            "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL)",
            "CREATE TABLE strict (id INT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL)",
            "INSERT INTO notes (v) VALUES (1)",
            "INSERT INTO strict (v) VALUES (1)",
            "CREATE TABLE place (server INT)",
            f"INSERT INTO place VALUES ({self.primary.server_id})",
        )
        self.replica.catch_up()
        self.replica.execute("SET sql_log_bin = 0", f"UPDATE {DATABASE}.place SET server = {self.replica.server_id}")

    def rules(self, own_writes: str = "true") -> str:
        return RULES.format(
            app=APP,
            app_password=APP_PASSWORD,
            service=SERVICE,
            service_password=SERVICE_PASSWORD,
            primary=self.primary.address,
            replica=self.replica.address,
            database=DATABASE,
            own_writes=own_writes,
        )


@pytest.fixture(scope="module")
def pair(run: Run) -> Pair:
    return Pair(run)


@pytest.fixture
def caught_up(pair: Pair) -> Iterator[Pair]:
    yield pair
    pair.replica.set_delay(0)
    pair.replica.catch_up()


def connect(proxy: Turnout, **options: float) -> Client:
    return Client(proxy.port, APP, APP_PASSWORD, DATABASE, **options)  # type: ignore[arg-type]


def reader(client: Client, table: str = "notes") -> int:
    """The server_id of the server that answers reads of the table."""
    return client.run(f"SELECT server, (SELECT COUNT(*) FROM {table}) FROM place").number


def test_reads_go_to_the_replica_and_nothing_else_does(turnout: Callable[..., Turnout], pair: Pair) -> None:
    proxy = turnout(pair.rules())
    primary, replica = pair.primary.server_id, pair.replica.server_id
    with connect(proxy) as client:
        wait_until(lambda: reader(client) == replica, 5)
        assert reader(client, "strict") == primary
        assert client.run("/* turnout: primary */ SELECT server FROM place").number == primary
        assert client.run("SELECT server FROM place FOR UPDATE").number == primary
        client.run("BEGIN")
        assert reader(client) == primary
        client.run("COMMIT")
        assert reader(client) == replica
        client.run("SET autocommit = 0")
        assert reader(client) == primary
        client.run("SET autocommit = 1")
        assert reader(client) == replica
        before = pair.replica.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1]
        for _ in range(50):
            client.run("SELECT v FROM notes WHERE id = 1")
        assert int(pair.replica.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1]) - int(before) >= 50
        client.run("INSERT INTO notes (v) VALUES (1)")


def test_a_session_sees_its_own_writes_on_a_replica_that_lags(turnout: Callable[..., Turnout], caught_up: Pair) -> None:
    pair = caught_up
    pair.replica.set_delay(2)  # which stops it for a moment: before anybody looks
    proxy = turnout(pair.rules())
    with connect(proxy) as writer, connect(proxy) as other:
        wait_until(lambda: reader(writer) == pair.replica.server_id, 5)
        before = writer.run("SELECT COUNT(*) FROM notes").number
        for n in range(1, 6):
            writer.run(f"INSERT INTO notes (v) VALUES ({n})")
            assert writer.run("SELECT COUNT(*) FROM notes").number == before + n
            assert reader(writer) == pair.primary.server_id
        writer.run("BEGIN", "INSERT INTO notes (v) VALUES (6)", "COMMIT")
        assert writer.run("SELECT COUNT(*) FROM notes").number == before + 6
        assert reader(other) == pair.replica.server_id, "who wrote nothing still reads there"
        wait_until(lambda: reader(writer) == pair.replica.server_id, 15, 0.1)
        assert writer.run("SELECT COUNT(*) FROM notes").number == before + 6


def test_own_writes_of_a_prepared_statement(turnout: Callable[..., Turnout], caught_up: Pair) -> None:
    from tests.front.raw import Statement

    pair = caught_up
    proxy = turnout(pair.rules())
    with connect(proxy) as writer:
        wait_until(lambda: reader(writer) == pair.replica.server_id, 5)
        pair.replica.set_delay(2)
        insert, count = writer.prepare("INSERT INTO notes (v) VALUES (?)"), writer.prepare("SELECT COUNT(*) FROM notes")
        assert isinstance(insert, Statement)
        assert isinstance(count, Statement)
        before = int.from_bytes(writer.execute(count).rows[0][0][2:10], "little")  # type: ignore[index]
        writer.execute(insert, 5).checked()
        after = int.from_bytes(writer.execute(count).rows[0][0][2:10], "little")  # type: ignore[index]
        assert after == before + 1


def test_without_own_writes_a_session_reads_where_everybody_does(
    turnout: Callable[..., Turnout], caught_up: Pair
) -> None:
    pair = caught_up
    proxy = turnout(pair.rules(own_writes="false"))
    with connect(proxy) as writer:
        wait_until(lambda: reader(writer) == pair.replica.server_id, 5)
        writer.run("INSERT INTO notes (v) VALUES (1)")
        assert reader(writer) == pair.replica.server_id


def test_a_read_that_a_replica_loses_is_answered_by_the_primary(turnout: Callable[..., Turnout], run: Run) -> None:
    pair = Pair(run)
    proxy = turnout(pair.rules())
    with connect(proxy) as client:
        wait_until(lambda: reader(client) == pair.replica.server_id, 5)
        client.send("SELECT server, SLEEP(1.5) FROM place")
        wait_until(lambda: _runs_sleep(pair.replica), 5)
        pair.replica.kill()
        answer = client.receive()
        assert answer.rows == ((b"%d" % pair.primary.server_id, b"0"),)
        for _ in range(20):
            assert reader(client) == pair.primary.server_id
        pair.replica.start()
        wait_until(lambda: reader(client) == pair.replica.server_id, 15, 0.1)
    pair.replica.kill()
    pair.primary.kill()


def _runs_sleep(server: MariaDB) -> bool:
    sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(1.5)%' AND ID <> CONNECTION_ID()"
    return bool(server.execute(sql)[0][0])
