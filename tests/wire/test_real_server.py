"""The wire code against MariaDB: what it sends, and whether it lets us in."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest

from proxy.wire import auth, charsets, frames
from proxy.wire import capability as cap
from proxy.wire.frames import FrameReader
from proxy.wire.login import LoggedIn, LoginFailed, Secret, SendBytes, ServerLogin, StartTls
from proxy.wire.resultset import ResultsetReader
from proxy.wire.session_state import Schema, SystemVariable, parse_session_state
from tests.servers import MariaDB, Run

pytestmark = pytest.mark.servers

PASSWORD = "zoë's".encode()
KNOWN = [Secret(PASSWORD), Secret(native_stage1=auth.native_stage1(PASSWORD))]


@pytest.fixture(scope="module")
def server(run: Run) -> Iterator[MariaDB]:
    started = run.mariadb("wire", tls=run.authority.issue("wire"))
    with started.admin() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE USER app@'%' IDENTIFIED BY 'zoë''s', open@'%'")
        cursor.execute("CREATE USER tls@'%' IDENTIFIED BY 'x' REQUIRE SSL")
        cursor.execute("GRANT ALL ON shop.* TO app@'%'")
    yield started
    started.kill()


class Talk:
    """A blocking connection that logs in with ServerLogin."""

    def __init__(self, server: MariaDB, login: ServerLogin) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self.verdict: LoggedIn | LoginFailed | None = None
        while self.verdict is None:
            data = self.socket.recv(65536)
            assert data, "the server closed the connection"
            for event in login.receive(data):
                if isinstance(event, SendBytes):
                    self.socket.sendall(event.data)
                elif isinstance(event, StartTls):
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                    context.check_hostname = False
                    context.verify_mode = ssl.CERT_NONE
                    self.socket = context.wrap_socket(self.socket)
                    for reply in login.tls_started():
                        assert isinstance(reply, SendBytes)
                        self.socket.sendall(reply.data)
                else:
                    assert isinstance(event, LoggedIn | LoginFailed)
                    self.verdict = event

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def query(self, sql: str) -> ResultsetReader:
        self.socket.sendall(frames.encode(b"\x03" + sql.encode(), 0))
        reader, result = FrameReader(1 << 26), ResultsetReader(session_track=True)
        while not result.done:
            data = self.socket.recv(65536)
            assert data, "the server closed the connection"
            for payload, _ in reader.feed(data):
                result.feed(payload)
        return result


def talk(
    server: MariaDB, user: str = "app", secret: Secret = KNOWN[0], database: str | None = "shop", tls: bool = False
) -> Talk:
    wanted = cap.SESSION_TRACK | cap.MULTI_RESULTS | cap.MULTI_STATEMENTS | cap.TRANSACTIONS
    attributes = {b"program_name": b"turnout"}
    return Talk(server, ServerLogin(user, secret, database, wanted, 45, tls=tls, attributes=attributes))


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("secret", KNOWN)
def test_we_are_let_in(server: MariaDB, secret: Secret, tls: bool) -> None:
    with talk(server, secret=secret, tls=tls) as session:
        assert isinstance(session.verdict, LoggedIn)
        assert Schema("shop") in parse_session_state(session.verdict.ok.state)
        result = session.query("SELECT CURRENT_USER(), DATABASE(), NULL, REPEAT('x', 70000), @@collation_connection")
        assert result.rows == [[b"app@%", b"shop", None, b"x" * 70000, b"utf8mb4_general_ci"]]
        cipher = session.query("SHOW STATUS LIKE 'Ssl_cipher'").rows[0][1]
        assert bool(cipher) == tls


@pytest.mark.parametrize("tls", [False, True])
def test_an_account_without_a_password(server: MariaDB, tls: bool) -> None:
    with talk(server, "open", Secret(b""), None, tls) as session:
        assert isinstance(session.verdict, LoggedIn)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("user", "secret", "database", "errno", "sqlstate"),
    [
        ("app", Secret(b"wrong"), "shop", 1045, "28000"),
        ("nobody", Secret(b"x"), None, 1045, "28000"),
        ("app", KNOWN[0], "elsewhere", 1044, "42000"),
    ],
)
def test_we_are_told_why_not(
    server: MariaDB, user: str, secret: Secret, database: str | None, errno: int, sqlstate: str, tls: bool
) -> None:
    with talk(server, user, secret, database, tls) as session:
        assert isinstance(session.verdict, LoginFailed)
        assert (session.verdict.errno, session.verdict.sqlstate) == (errno, sqlstate)


def test_an_account_that_requires_tls(server: MariaDB) -> None:
    with talk(server, "tls", Secret(b"x"), None, False) as session:
        assert isinstance(session.verdict, LoginFailed)
    with talk(server, "tls", Secret(b"x"), None, True) as session:
        assert isinstance(session.verdict, LoggedIn)


def test_results_ok_packets_and_session_state(server: MariaDB) -> None:
    with talk(server) as session:
        session.query("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(10))")
        inserted = session.query("INSERT INTO t (v) VALUES ('a'), (NULL)").ok
        assert inserted is not None
        assert (inserted.affected_rows, inserted.insert_id) == (2, 1)
        assert inserted.info == b"Records: 2  Duplicates: 0  Warnings: 0"
        selected = session.query("SELECT * FROM t ORDER BY id")
        assert selected.rows == [[b"1", b"a"], [b"2", None]]
        assert [(column.schema, column.org_table, column.name) for column in selected.columns] == [
            (b"shop", b"t", b"id"),
            (b"shop", b"t", b"v"),
        ]
        error = session.query("SELECT nothing").err
        assert error is not None
        assert (error.errno, error.sqlstate) == (1054, "42S22")
        changed = session.query("SET autocommit = 0").ok
        assert changed is not None
        assert SystemVariable("autocommit", b"OFF") in parse_session_state(changed.state)
        assert session.query("SELECT 1; SET @x = 2; SELECT @x, 3").rows == [[b"2", b"3"]]


def test_every_collation_that_the_server_has_is_known(server: MariaDB) -> None:
    sql = (
        "SELECT id, full_collation_name, character_set_name "
        "FROM information_schema.collation_character_set_applicability"
    )
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        listed = cursor.fetchall()
    assert len(listed) > 1000
    for number, name, charset in listed:
        assert charsets.collation(number) == charsets.Collation(number, name, charset)
