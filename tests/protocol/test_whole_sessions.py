"""What ends or replaces a session's state: CHANGE_USER, RESET, DDL in a transaction."""

from __future__ import annotations

import pytest

from tests.front import raw
from tests.front.raw import Client, Statement, framed
from tests.protocol.conftest import Connect
from tests.servers import MariaDB
from tests.servers.shop import APP, APP_PASSWORD, OPS, OPS_PASSWORD

pytestmark = pytest.mark.servers

# What a session may have, and how one sees that it is gone.
STATE = (
    "SET @a = 5, @b = CONCAT('x', 'y')",
    "SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+05:00', autocommit = 0",
    "SET NAMES latin1",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "CREATE TEMPORARY TABLE temporary (id INT)",
    "INSERT INTO temporary VALUES (1)",
    "SELECT GET_LOCK('a lock', 5)",
    "SELECT SQL_CALC_FOUND_ROWS id FROM items LIMIT 1",
    "INSERT INTO written VALUES (NULL, 'open')",
)
LOOKS = (
    "SELECT @a, @b, @@sql_mode, @@time_zone, @@autocommit, @@character_set_client, @@tx_isolation, @@in_transaction",
    "SELECT LAST_INSERT_ID()",
    "SELECT FOUND_ROWS()",
    "SELECT IS_FREE_LOCK('a lock')",
    "SELECT COUNT(*) FROM written",
    "SELECT * FROM temporary",
    "SHOW WARNINGS",
    "SELECT DATABASE(), CURRENT_USER(), 'é'",
)


@pytest.fixture
def written(server: MariaDB) -> None:
    server.execute(
        "CREATE OR REPLACE TABLE written (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20))", database="protocol"
    )


def _looks(client: Client) -> list[raw.Answer]:
    return [client.query(sql) for sql in LOOKS]


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("how", ["reset", "change user"])
@pytest.mark.parametrize("first", ["state", "nothing"])
def test_everything_is_gone(connect: Connect, server: MariaDB, how: str, first: str) -> None:
    def lived(client: Client) -> list[raw.Answer]:
        made = client.prepare("SELECT ? FROM items WHERE id = 1")
        assert isinstance(made, Statement)
        client.execute(made, 5).checked()
        client.long_data(made, 0, b"never asked for")
        if first == "state":
            client.run(*STATE)
        if how == "reset":
            client.command(raw.COM_RESET_CONNECTION).checked()
        else:
            client.change_user(APP, APP_PASSWORD, "protocol")
        found = [client.execute(made, 5), *_looks(client)]
        assert found[0].errno == 1243
        client.close()
        return found

    theirs = lived(connect(server.port))
    ours = lived(connect())
    for what, mine, other in zip(("EXECUTE", *LOOKS), ours, theirs, strict=True):
        assert (mine.errno, mine.rows, mine.affected_rows) == (other.errno, other.rows, other.affected_rows), what
        assert mine.status & 3 == other.status & 3, what


@pytest.mark.usefixtures("written")
def test_change_user_inside_a_transaction(connect: Connect, server: MariaDB) -> None:
    """It is rolled back, whoever comes; the other account has its own rights and database."""
    client = connect()
    for user, password in ((OPS, OPS_PASSWORD), (APP, APP_PASSWORD)):
        client.run(
            "BEGIN",
            "INSERT INTO written VALUES (NULL, 'in a transaction')",
            "UPDATE spread SET name = 'x' WHERE id = 9",
        )
        client.change_user(user, password, "protocol")
        assert client.query("SELECT CURRENT_USER()").value == f"{user}@%".encode()
        assert client.query("SELECT COUNT(*) FROM written").number == 0
        assert client.query("SELECT name FROM spread WHERE id = 9").value == b"name 9"
        assert not client.query("SELECT 1").status & raw.IN_TRANS
    assert server.execute("SELECT COUNT(*) FROM written", database="protocol")[0][0] == 0


def test_change_user_that_is_refused(connect: Connect) -> None:
    """The session is over (MariaDB goes on as who it was before)."""
    client = connect()
    with pytest.raises(raw.LoginFailed) as error:
        client.change_user(APP, "wrong", "protocol")
    assert error.value.errno == 1045
    with pytest.raises((raw.Disconnected, ConnectionError)):
        client.query("SELECT 1")


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"\0",
        b"app",
        b"app\0",
        b"app\0\x14",
        b"app\0\x14short",
        b"app\0\0",
        b"app\0\0protocol",
        b"app\0\0protocol\0",
        b"app\0\0protocol\0\x2d",
        b"app\0\0protocol\0\x2d\0",
        b"app\0\0protocol\0\x2d\0mysql_native_password",
        b"\0\0\0",
        b"\xff" * 40,
    ],
)
def test_change_user_without_its_data(connect: Connect, argument: bytes) -> None:
    """Never accepted without a password, never a hang: an error, a question for the password, or the end."""
    neighbour, client = connect(), connect()
    client.socket.sendall(framed(bytes((raw.COM_CHANGE_USER,)) + argument))
    try:
        packet = client._receive()
    except (raw.Disconnected, ConnectionError):
        packet = b"\xff"
    assert packet[:1] in (b"\xff", b"\xfe"), packet
    if packet[:1] == b"\xfe":
        client.socket.sendall(framed(b"nothing that fits here", client._sequence + 1))
        with pytest.raises((raw.Disconnected, ConnectionError, AssertionError)):
            assert client._receive()[:1] != b"\xff"
    assert neighbour.query("SELECT 1").number == 1


@pytest.mark.usefixtures("written")
def test_ddl_commits_what_was_begun(connect: Connect, server: MariaDB) -> None:
    """As on a server, what comes after it is outside of the transaction, and a rollback undoes nothing."""

    def lived(client: Client) -> list[tuple[int, int, int]]:
        found = []
        for sql in (
            "DELETE FROM written",
            "BEGIN",
            "INSERT INTO written VALUES (1, 'before')",
            "CREATE TABLE made (id INT)",
            "INSERT INTO written VALUES (2, 'after')",
            "ROLLBACK",
            "BEGIN",
            "INSERT INTO written VALUES (3, 'before')",
            "CREATE TABLE made (id INT)",
            "ROLLBACK",
            "BEGIN",
            "INSERT INTO written VALUES (4, 'before')",
            "DROP TABLE IF EXISTS nosuch",
            "ROLLBACK",
            "BEGIN",
            "INSERT INTO written VALUES (5, 'before')",
            "CREATE TEMPORARY TABLE temporary (id INT)",
            "ROLLBACK",
            "SET autocommit = 0",
            "INSERT INTO written VALUES (6, 'before')",
            "TRUNCATE made",
            "INSERT INTO written VALUES (7, 'after')",
            "ROLLBACK",
            "DROP TABLE made",
            "SET autocommit = 1",
        ):
            answer = client.query(sql)
            found.append((answer.errno, answer.status & 3, answer.affected_rows * (sql[:6] != "DELETE")))
        rows = client.query("SELECT id FROM written ORDER BY id").checked().rows
        return [*found, *((int(row[0] or 0), 0, 0) for row in rows)]

    theirs = lived(connect(server.port))
    ours = lived(connect())
    assert ours == theirs
    assert [number for number, *_ in ours[-5:]] == [1, 2, 3, 4, 6]


def test_ddl_of_several_shards_commits_what_was_begun(connect: Connect) -> None:
    client, other = connect(), connect()
    client.run("BEGIN", "UPDATE spread SET name = 'changed' WHERE id = 3")
    assert other.query("SELECT name FROM spread WHERE id = 3").value == b"name 3"
    client.run("ALTER TABLE spread ADD COLUMN more INT", "ROLLBACK")
    assert other.query("SELECT name FROM spread WHERE id = 3").value == b"changed"
    client.run("ALTER TABLE spread DROP COLUMN more", "UPDATE spread SET name = 'name 3' WHERE id = 3")
