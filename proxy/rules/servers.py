"""Where Turnout listens, and the clusters: addresses, TLS files, and no server in two roles."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from proxy.rules import address
from proxy.rules.accounts import Secrets, read_service
from proxy.rules.form import ClusterTlsForm, FileForm, ListenTlsForm
from proxy.rules.model import (
    Address,
    Cluster,
    ClusterTls,
    Compression,
    HttpLogin,
    Listen,
    ListenTls,
    ProxyHeader,
    Trusted,
)
from proxy.rules.report import Report
from proxy.rules.tree import Path as Where
from proxy.rules.tree import dotted

_CLUSTER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")


def read_listen(report: Report, form: FileForm, folder: Path) -> Listen | None:
    listen = form.listen
    if listen is None:
        if not report.has_problem(("listen",)):
            report.add(("listen",), "is missing", "Write `listen: {mysql: 127.0.0.1:3307}`.")
        return None
    if listen.http is not None and address.overlap(listen.mysql, listen.http):
        report.add(("listen", "http"), f"is the same place as `mysql`, {listen.mysql}", "Choose another port.")
    tls = _listen_tls(report, listen.tls, folder) if listen.tls is not None else None
    trusted = Trusted(
        tuple(network for one in listen.proxy_protocol for network in one.networks),
        any(one.unix for one in listen.proxy_protocol),
    )
    compression = Compression(listen.compression)
    login = HttpLogin(listen.http_login)
    return Listen(listen.mysql, listen.http, tls, listen.max_connections, compression, trusted, login)


def read_clusters(report: Report, form: FileForm, folder: Path, secrets: Secrets) -> dict[str, Cluster]:
    clusters = {}
    for name, cluster in form.clusters.items():
        path = ("clusters", name)
        if not _CLUSTER_NAME.fullmatch(name):
            message = "is not a cluster's name: letters, digits, `_` and `-`, at most 64"
            report.add(path, message, at_key=True)
        clusters[name] = Cluster(
            name=name,
            primary=cluster.primary,
            replicas=tuple(cluster.replicas),
            service=read_service(report, (*path, "service"), cluster.service, secrets),
            tls=_cluster_tls(report, (*path, "tls"), cluster.tls, folder) if cluster.tls is not None else None,
            max_connections=cluster.max_connections,
            compression=Compression(cluster.compression),
            proxy_protocol=ProxyHeader(cluster.proxy_protocol),
            cores=cluster.cores,
        )
    if not report.keys(("clusters",)) and not report.has_problem(("clusters",)):
        suggestion = "Write `clusters: {main: {primary: 127.0.0.1:3306}}` with your server's address."
        report.add(("clusters",), "names no cluster", suggestion)
    _check_addresses(report, form)
    return clusters


def _check_addresses(report: Report, form: FileForm) -> None:
    """One server has one role: as two primaries, or as a primary and a replica, statements would reach it twice."""
    seen: dict[str, Where] = {}
    for name, cluster in form.clusters.items():
        path: Where = ("clusters", name)
        servers: list[tuple[Where, Address]] = [((*path, "primary"), cluster.primary)]
        if not report.has_problem((*path, "replicas")):  # with a broken one left out, the others' places are not known
            servers += [((*path, "replicas", index), one) for index, one in enumerate(cluster.replicas)]
        for where, server in servers:
            first = seen.setdefault(address.place(server), where)
            if first != where:
                message = f"{server} is `{dotted(first)}` already; a server belongs to one cluster, in one role"
                report.add(where, message)
            for kind in ("mysql", "http"):
                listening = getattr(form.listen, kind, None)
                if listening is not None and address.covers(listening, server):
                    message = f"{server} is where Turnout itself listens (`listen.{kind}`)"
                    report.add(where, message, "Give Turnout another port than the server's.")


def _listen_tls(report: Report, form: ListenTlsForm, folder: Path) -> ListenTls:
    path = ("listen", "tls")
    client_ca = _file(report, (*path, "client_ca"), folder, form.client_ca) if form.client_ca else None
    cert = _file(report, (*path, "cert"), folder, form.cert)
    key = _file(report, (*path, "key"), folder, form.key)
    _check_pem(report, path, cert, key)
    _check_pem(report, (*path, "client_ca"), ca=client_ca)
    return ListenTls(cert, key, client_ca, form.require)


def _cluster_tls(report: Report, path: Where, form: ClusterTlsForm, folder: Path) -> ClusterTls:
    written = report.keys(path)
    for one, other in (("cert", "key"), ("key", "cert")):
        if one in written and other not in written:
            report.add((*path, one), f"needs `{other}` beside it")
    if form.ca and not form.verify:
        report.add((*path, "ca"), "has no effect with `verify: false`", "Take one of them out.")
    ca, cert, key = (
        _file(report, (*path, name), folder, value) if value else None
        for name, value in (("ca", form.ca), ("cert", form.cert), ("key", form.key))
    )
    _check_pem(report, path, cert, key)
    _check_pem(report, (*path, "ca"), ca=ca)
    return ClusterTls(ca, cert, key, form.verify)


def _check_pem(
    report: Report, path: Where, cert: Path | None = None, key: Path | None = None, ca: Path | None = None
) -> None:
    """What would fail at the first connection is a mistake now, also when the files are read again at a reload."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if cert is not None and key is not None and cert.is_file() and key.is_file():
            context.load_cert_chain(str(cert), str(key), password=_no_password)
        if ca is not None and ca.is_file():
            context.load_verify_locations(str(ca))
    except (OSError, ValueError) as error:  # SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        what = f"{cert} and {key}" if cert is not None else str(ca)
        report.add(
            path, f"{what} cannot be used: {reason}", "Write PEM files that belong together, without a password."
        )


def _no_password() -> str:
    raise ValueError("the key is protected by a password")


def _file(report: Report, path: Where, folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file():
        report.add(path, f"there is no file {file}")
    return file
