"""Where clients come from and how servers are reached: PROXY headers, IPv6, Unix sockets, renewed certificates."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import time

import pymysql
import pytest

from tests.network.conftest import BALANCER, DATABASES, PASSWORD, BySocket, Connect, Network, scalar
from tests.servers import Authority, Run
from tests.servers.process import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("network")]

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v2(host: str, command: int = 0x21) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    addresses = socket.inet_pton(family, host) * 2 + b"\x11\x11\x0c\xeb"
    return V2 + bytes((command, 0x21 if ":" in host else 0x11)) + len(addresses).to_bytes(2, "big") + addresses


def through_balancer(network: Network, header: bytes, user: str = "app", database: str = "plain") -> pymysql.Connection:
    """A PyMySQL client behind a balancer that sends `header`."""
    client = pymysql.connect(user=user, password=PASSWORD, database=database, defer_connect=True, autocommit=True)
    plain = socket.create_connection(("127.0.0.1", network.proxy.port), 30, (BALANCER, 0))
    plain.sendall(header)
    try:
        client.connect(plain)
    except BaseException:
        plain.close()
        raise
    return client


HEADERS: dict[str, bytes] = {
    "10.1.2.3": b"PROXY TCP4 10.1.2.3 10.0.0.1 4369 3307\r\n",
    "10.1.2.4": v2("10.1.2.4"),
    "2001:db8::5": b"PROXY TCP6 2001:db8::5 ::1 4369 3307\r\n",
    "2001:db8::6": v2("2001:db8::6"),
}


@pytest.mark.parametrize("host", HEADERS)
def test_a_balancer_says_who_connects_and_servers_hear_it(network: Network, host: str) -> None:
    """`guest` may log in to the server from these addresses only."""
    user = "guest6" if ":" in host else "guest"
    for database in ("packed", "near"):
        with contextlib.closing(through_balancer(network, HEADERS[host], user, database)) as client:
            assert scalar(client, "SELECT USER()") == f"{user}@{host}"
            assert str(scalar(client, "SELECT CURRENT_USER()")).startswith(f"{user}@")
    client = through_balancer(network, HEADERS[host], user, "packed")
    with contextlib.closing(client):
        hosts = network.server.execute(f"SELECT HOST FROM information_schema.PROCESSLIST WHERE USER = '{user}'")
        assert host in {str(found) for (found,) in hosts}


def test_servers_that_are_not_told_see_turnout(network: Network) -> None:
    with contextlib.closing(through_balancer(network, HEADERS["10.1.2.3"], "guest", "packed")) as client:
        with pytest.raises(pymysql.MySQLError, match=r"Access denied for user 'guest'@'127\.0\.0\.1'"):
            client.select_db("plain")
        assert scalar(client, "SELECT USER()") == "guest@10.1.2.3"


def test_an_account_of_another_address(network: Network) -> None:
    client = network.proxy.connect("guest", PASSWORD, defer_connect=True)
    with pytest.raises(pymysql.MySQLError, match=r"Access denied for user 'guest'@'127\.0\.0\.1'"):
        client.connect()  # its first statement needs the server


def test_connections_are_shared_by_address_only(network: Network) -> None:
    def thread(host: str) -> object:
        with contextlib.closing(through_balancer(network, v2(host), "app", "packed")) as client:
            return scalar(
                client,
                "SELECT CONNECTION_ID() * 0 + (SELECT MAX(ID) FROM information_schema.PROCESSLIST"
                " WHERE INFO LIKE '%MAX(ID)%')",
            )

    first = thread("10.1.2.50")
    other = thread("10.1.2.51")
    assert thread("10.1.2.50") == first
    assert other != first


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2("10.1.2.3", command=0x20), V2 + b"\x20\0\0\0"])
def test_a_balancers_own_connection(network: Network, header: bytes) -> None:
    with contextlib.closing(through_balancer(network, header, "app", "packed")) as client:
        assert scalar(client, "SELECT 1") == 1
    with pytest.raises(pymysql.MySQLError, match=f"'nobody'@'{BALANCER}'"):
        through_balancer(network, header, "nobody")


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_haproxy_in_front(run: Run, network: Network, option: str) -> None:
    """It also looks whether Turnout is there, with headers that say so."""
    balancer = run.haproxy(network.proxy.port, options=f"{option} source {BALANCER} check check-send-proxy inter 100ms")
    before = network.proxy.metric("turnout_connections_accepted_total")
    try:
        with pymysql.connect(
            host="127.0.0.1", port=balancer.port, user="app", password=PASSWORD, database="packed", autocommit=True
        ) as client:
            assert scalar(client, "SELECT USER()") == "app@127.0.0.1"  # Turnout itself comes from ::1
            wait_until(lambda: network.proxy.metric("turnout_connections_accepted_total") > before + 3, 30)
            assert scalar(client, "SELECT 1") == 1
    finally:
        balancer.kill()


def said(network: Network, data: bytes, source: str | None, cut: bool = False) -> bytes:
    """All that Turnout says to `data` from an address."""
    where = (source, 0) if source else None
    with socket.create_connection(("127.0.0.1", network.proxy.port), 30, where) as plain:
        parts = []
        with contextlib.suppress(ConnectionError):  # it may be refused before all is said
            for piece in [bytes((byte,)) for byte in data] if cut else [data]:
                plain.sendall(piece)
        with contextlib.suppress(ConnectionError):
            while part := plain.recv(65536):
                parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize("header", [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", v2("1.2.3.4")])
def test_a_header_from_anybody_else_is_refused(network: Network, header: bytes) -> None:
    answer = said(network, header, None)
    assert (
        b"#08S01Bad handshake: a PROXY protocol header from 127.0.0.1, which is not in listen.proxy_protocol" in answer
    )
    length = int.from_bytes(answer[:3], "little")
    error = answer[4 + length :]  # behind the greeting
    assert error[4:7] == b"\xff" + (1043).to_bytes(2, "little")


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(
    "data", [b"PROXY TCP4 somebody 5.6.7.8 1 2\r\n", b"\x20\0\0\x01\x85\xa6\x3f\x20", v2("1.2.3.4", 0x25)]
)
def test_a_malformed_header_from_a_balancer_is_refused(network: Network, data: bytes, cut: bool) -> None:
    answer = said(network, data, BALANCER, cut)
    assert answer[4:7] == b"\xff" + (1043).to_bytes(2, "little")
    assert b"Bad handshake: this address has to send a PROXY protocol header, and it" in answer


def test_refused_headers_are_counted(network: Network) -> None:
    said(network, b"nonsense", BALANCER)
    wait_until(lambda: network.proxy.metric("turnout_logins_total", outcome="proxy-header") > 0, 30)


def test_a_header_in_pieces_and_one_that_never_comes(network: Network) -> None:
    with socket.create_connection(("127.0.0.1", network.proxy.port), 30, (BALANCER, 0)) as silent:
        silent.settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent.recv(1)  # no greeting before the header
        header = b"PROXY TCP4 10.1.2.3 5.6.7.8 1 2\r\n"
        for byte in header[:-1]:
            silent.sendall(bytes((byte,)))
        with pytest.raises(TimeoutError):
            silent.recv(1)
        silent.settimeout(30)
        silent.sendall(header[-1:])
        assert b"-turnout\0" in silent.recv(4096)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ipv4_and_ipv6(network: Network, host: str, database: str) -> None:
    with pymysql.connect(
        host=host, port=network.proxy.port, user="app", password=PASSWORD, database=database, autocommit=True
    ) as client:
        seen = scalar(client, "SELECT SUBSTRING_INDEX(USER(), '@', -1)")
        assert seen == ("127.0.0.1" if database == "plain" else host)
    with pytest.raises(pymysql.MySQLError, match=f"'nobody'@'{host}'"):
        pymysql.connect(host=host, port=network.proxy.port, user="nobody", password="x")


@pytest.mark.parametrize("database", DATABASES)
def test_a_unix_socket(connect: Connect, database: str) -> None:
    """Its clients have no address: servers see Turnout."""
    with connect(database) as client:
        host = "localhost" if database == "near" else "::1" if database == "packed" else "127.0.0.1"
        assert scalar(client, "SELECT USER()") == f"app@{host}"


def test_a_renewed_certificate_is_used_without_a_restart(by_socket: BySocket, connect: Connect, run: Run) -> None:
    proxy, where, folder = by_socket.proxy, by_socket.path, by_socket.folder
    old = connect(ssl=None)
    renewed = Authority(run.place("renewed")).issue("after")

    def shown() -> str:
        """The name in the certificate that a client is shown."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(str(renewed.ca))
        context.load_verify_locations(str(run.authority.ca))
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(30)
            plain.connect(str(where))
            greeting = plain.recv(4096)
            assert greeting[4] == 10
            plain.sendall(b"\x20\0\0\x01" + (0x00088A00 | 0x200).to_bytes(4, "little") + bytes(28))
            with context.wrap_socket(plain, server_hostname="x") as wrapped:
                subject = wrapped.getpeercert()["subject"]  # type: ignore[index]
                return str(dict(pair[0] for pair in subject)["commonName"])

    assert shown() == "before"
    shutil.copy(renewed.cert, folder / "cert.pem")  # the key does not fit it yet
    wait_until(lambda: proxy.metric("turnout_rules_reloads_total", outcome="failed") > 0, 30)
    assert "listen.tls" in proxy.log_text()
    assert "KEY_VALUES_MISMATCH" in proxy.log_text()
    assert shown() == "before"
    shutil.copy(renewed.key, folder / "key.pem")
    wait_until(lambda: proxy.metric("turnout_rules_reloads_total", outcome="ok") > 0, 30)
    deadline = time.monotonic() + 30
    while shown() != "after":
        assert time.monotonic() < deadline
        time.sleep(0.2)  # logins are limited here
    assert scalar(old, "SELECT 1") == 1  # connections stay
    old.close()
