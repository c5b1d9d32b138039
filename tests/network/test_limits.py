"""What one client may take of logins and of time."""

from __future__ import annotations

import socket
import time

import pymysql
import pytest

from tests.front.raw import VAR_STRING, Answer, Bound, Client, Statement
from tests.network.conftest import PASSWORD, BySocket, Connect, Network, scalar
from tests.servers.process import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("network")]

SENT_AHEAD = Bound(VAR_STRING, b"")  # a parameter whose value is not in the EXECUTE
STATEMENT_TIME = (1969, "Query execution was interrupted (max_statement_time exceeded: limits.statement is 0.5 s)")


def test_a_client_that_says_nothing_is_dismissed(by_socket: BySocket, connect: Connect) -> None:
    proxy = by_socket.proxy
    idle, busy, patient = connect(), connect(), connect()
    for client in (idle, busy):
        with client.cursor() as cursor:
            cursor.execute("SET wait_timeout = 1")
    deadline = time.monotonic() + 30
    while not proxy.metric("turnout_clients_dismissed_total", reason="idle"):
        assert scalar(busy, "SELECT 1") == 1
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(pymysql.OperationalError, match=r"Lost connection|gone away"):
        scalar(idle, "SELECT 1")
    for client in (busy, patient):
        assert scalar(client, "SELECT 1") == 1
        client.close()


PARTLY_ANSWERED = "SELECT seq, REPEAT('x', 5000), SLEEP(0.01) FROM seq_1_to_100000"


@pytest.mark.parametrize(
    ("database", "statement"),
    [
        ("plain", "SELECT SLEEP(60)"),
        ("plain", PARTLY_ANSWERED),
        ("near", PARTLY_ANSWERED),
        ("plain", "CREATE OR REPLACE TABLE slow AS SELECT SLEEP(60)"),
    ],
)
def test_a_statement_that_takes_too_long_is_killed(
    by_socket: BySocket, connect: Connect, database: str, statement: str
) -> None:
    killed = by_socket.proxy.metric("turnout_kills_total", what="statement time")
    with connect(database) as client, client.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as raised:
            cursor.execute(statement)
        assert raised.value.args == STATEMENT_TIME
        assert scalar(client, "SELECT 1") == 1
        assert scalar(client, "SELECT SLEEP(0.01)") == 0
    wait_until(lambda: by_socket.proxy.metric("turnout_kills_total", what="statement time") > killed, 30)


def test_a_change_of_the_user_that_does_not_end(by_socket: BySocket, connect: Connect) -> None:
    """It is a login, and takes no longer than one may; what the session held is let go."""
    client = connect()
    with client.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE locked (id INT PRIMARY KEY)")
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO locked VALUES (1)")
    client._execute_command(0x11, b"app\0\x14" + bytes(20) + b"\0\x2d\0mysql_native_password\0")
    assert client._read_packet().get_all_data()[:1] == b"\xfe"  # prove it with this scramble: no answer
    with pytest.raises(pymysql.OperationalError, match="Lost connection"):
        client._read_packet()
    wait_until(lambda: by_socket.proxy.metric("turnout_logins_total", outcome="timeout") > 0, 30)
    with connect() as other, other.cursor() as cursor:
        assert cursor.execute("INSERT INTO locked VALUES (1)") == 1


def test_a_transaction_goes_on_after_that(connect: Connect) -> None:
    with connect() as client, client.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE kept (id INT PRIMARY KEY)")
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO kept VALUES (1)")
        with pytest.raises(pymysql.MySQLError) as raised:
            cursor.execute("SELECT SLEEP(60) FROM kept")
        assert raised.value.args == STATEMENT_TIME
        cursor.execute("INSERT INTO kept VALUES (2)")
        cursor.execute("COMMIT")
        assert scalar(client, "SELECT COUNT(*) FROM kept") == 2


def test_an_idle_client_has_no_statement_that_takes_long(connect: Connect) -> None:
    """The time is a statement's, not the time since the last one."""
    with connect() as client, client.cursor() as cursor:
        cursor.execute("SELECT 1")
        time.sleep(1)
        client.select_db("near")
        client.ping(reconnect=False)
        assert scalar(client, "SELECT 1") == 1


def test_prepared_statements_take_so_much_memory_and_no_more(network: Network) -> None:
    text = f"SELECT '{'x' * 50_000}', ?"
    with Client(network.proxy.port, "app", PASSWORD, "plain") as client:
        prepared: list[Statement] = []
        while isinstance(answer := client.prepare(text), Statement):
            prepared.append(answer)
            assert len(prepared) < 20, "a text is kept, and its shape, and its literals"
        assert isinstance(answer, Answer)
        assert (answer.errno, answer.sqlstate) == (3170, "HY000")
        assert answer.message.startswith("Memory capacity of 1048576 bytes for 'limits.session_memory' exceeded.")
        client.long_data(prepared[-1], 0, b"y" * 200_000)
        assert client.execute(prepared[-1], SENT_AHEAD).errno == 3170
        client.close_statement(prepared.pop())
        client.close_statement(prepared.pop())
        assert client.execute(prepared[0], "z").ok
        again = client.prepare(text)
        assert isinstance(again, Statement)
        client.long_data(again, 0, b"y" * 100_000)
        assert client.execute(again, SENT_AHEAD).ok
    wait_until(lambda: network.proxy.metric("turnout_refused_statements_total", reason="session-memory") > 0, 30)


def test_more_logins_than_may_be_are_told_so(by_socket: BySocket, connect: Connect) -> None:
    """20 a second from one address; a Unix socket is one."""
    refused: list[bytes] = []
    deadline = time.monotonic() + 30
    while not refused:
        assert time.monotonic() < deadline
        for _ in range(60):
            with socket.socket(socket.AF_UNIX) as plain:
                plain.settimeout(30)
                plain.connect(str(by_socket.path))
                greeting = plain.recv(4096)
                if greeting[4] == 0xFF:
                    refused.append(greeting)
    assert refused[0][5:7] == (1129).to_bytes(2, "little")
    assert refused[0].endswith(
        b"#HY000Host 'localhost' is blocked because of more than 20 logins a second; "
        b"try again (limits.logins_per_address)"
    )

    def welcome() -> bool:
        try:
            connect().close()
        except pymysql.OperationalError as error:
            return bool(error.args[0] != 1129)
        return True

    wait_until(welcome, 30)
    wait_until(lambda: by_socket.proxy.metric("turnout_logins_total", outcome="address-rate") >= 1, 30)
