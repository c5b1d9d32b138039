"""Towards servers a certificate has to be of the CA that the rules name, and of the server that they name."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from proxy.back.clusters import tls_context
from proxy.back.tls import TlsPipe
from proxy.errors import ProtocolError
from proxy.rules.model import Address, ClusterTls
from tests.servers.tls import Authority, Certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Authority(tmp_path_factory.mktemp("tls")).issue("db1")


def shake_hands(certificate: Certificate, rules: ClusterTls, address: Address) -> bool:
    """Whether a client of these rules gets along with a server. Raises ProtocolError with the client's reason."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate.cert, certificate.key)
    to_server: list[bytes] = []
    to_client: list[bytes] = []
    there = TlsPipe(server, server_side=True, write=to_client.append)
    here = TlsPipe(
        tls_context(rules, address), server_side=False, write=to_server.append, hostname=address.host or None
    )
    here.start()
    for _ in range(5):
        while to_server:
            there.feed(to_server.pop(0))
        while to_client:
            here.feed(to_client.pop(0))
    return here.established and there.established


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "db1"])
def test_the_server_that_is_named(certificate: Certificate, host: str) -> None:
    assert shake_hands(certificate, ClusterTls(ca=certificate.ca), Address(host, 3306))


@pytest.mark.parametrize("host", ["127.0.0.2", "db2"])
def test_another_server_of_the_same_authority(certificate: Certificate, host: str) -> None:
    with pytest.raises(ProtocolError, match="CERTIFICATE_VERIFY_FAILED"):
        shake_hands(certificate, ClusterTls(ca=certificate.ca), Address(host, 3306))
    assert shake_hands(certificate, ClusterTls(verify=False), Address(host, 3306))


def test_a_unix_socket_has_no_name(certificate: Certificate) -> None:
    assert shake_hands(certificate, ClusterTls(ca=certificate.ca), Address(path="/run/mysqld.sock"))


def test_a_stranger(certificate: Certificate, tmp_path: Path) -> None:
    stranger = Authority(tmp_path).issue("db1")
    with pytest.raises(ProtocolError, match="CERTIFICATE_VERIFY_FAILED"):
        shake_hands(certificate, ClusterTls(ca=stranger.ca), Address("db1", 3306))
