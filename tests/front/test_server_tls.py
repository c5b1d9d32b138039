"""TLS towards servers: an account that requires it, a certificate that is checked, and one that does not fit."""

from __future__ import annotations

from collections.abc import Callable

import pymysql
import pytest

from tests.servers import Authority, Run, Turnout

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("server-tls")]


def rules(port: int, tls: str) -> str:
    return (
        "users: {app: {password: app-secret}}\n"
        "service: {user: turnout, password: turnout}\n"
        f"clusters: {{main: {{primary: '127.0.0.1:{port}', tls: {tls}}}}}\n"
        "databases: {shop: {home: main}}\n"
    )


def test_connections_to_a_server_are_encrypted_and_its_certificate_is_checked(
    run: Run, turnout: Callable[..., Turnout]
) -> None:
    certificate = run.authority.issue("server")
    server = run.mariadb("tls-server", tls=certificate)
    server.create_account("app", "app-secret", require="SSL")
    server.create_service_account()
    server.execute("CREATE DATABASE shop")
    proxy = turnout(rules(server.port, f"{{ca: {certificate.ca}}}"))
    with proxy.connect("app", "app-secret", "shop") as client, client.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        assert cursor.fetchone()[1]
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == ((1,),)

    stranger = Authority(run.place("stranger")).issue("stranger")
    distrustful = turnout(rules(server.port, f"{{ca: {stranger.ca}}}"))
    with pytest.raises(pymysql.MySQLError, match=r"cluster main.*CERTIFICATE_VERIFY_FAILED"):
        distrustful.connect("app", "app-secret")  # its first statement, SET autocommit, needs the server
