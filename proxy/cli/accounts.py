"""What `turnout check` finds out about accounts: whether Turnout's own may do what it is for, whether those of
applications can log in where they are needed, and whether the databases are there. It changes nothing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from parser.rewrite import quoted
from proxy.back.clusters import Clusters
from proxy.back.connection import ServerConnection
from proxy.back.decisions import open_service, service_account
from proxy.back.server import Server
from proxy.errors import ServerFailed, TurnoutError
from proxy.plan.places import table_clusters
from proxy.rules.model import ProxyHeader, Rules, User
from proxy.rules.problem import listed
from proxy.stream.check import grant, lacking
from proxy.wire import command as com
from proxy.wire.login import Secret

_DENIED = (1045, 1698)
_SEEN_FROM = re.compile(r"'[^']*'@'([^']*)'")


@dataclass(frozen=True, slots=True)
class AccountFinding:
    """`where`: the dotted way to an entry of the rules."""

    where: str
    message: str
    warning: bool = False
    lacking: tuple[str, ...] = ()  # of a database: the clusters that it is not on


@dataclass(slots=True)
class _Cluster:
    """What one cluster says. `databases`: those that it should have, and has. `usable`: by account, of these."""

    server: Server
    databases: frozenset[str]
    known: Mapping[str, frozenset[str]] | None  # account -> the hosts that it is for; None: hidden from us
    usable: dict[str, frozenset[str]] = field(default_factory=dict)
    denied: dict[str, ServerFailed] = field(default_factory=dict)


async def look_at_accounts(rules: Rules, clusters: Clusters, asked: Collection[str]) -> tuple[AccountFinding, ...]:
    """What is wrong on clusters that answer."""
    found: list[AccountFinding] = []
    needed = databases_by_cluster(rules)
    missing: dict[str, list[str]] = defaultdict(list)
    seen: dict[str, _Cluster] = {}
    for name in rules.clusters:
        account = service_account(rules, name)
        if name not in asked or account is None:
            continue
        server = clusters.by_name[name].primary
        try:
            connection = await open_service(server, account)
            try:
                there = await _names(connection, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
                grants = await _names(connection, "SHOW GRANTS")
                known = await _accounts(connection, rules)
                mariadb = "MariaDB" in connection.server_version
            finally:
                connection.close()
        except TurnoutError as error:
            found.append(AccountFinding(f"clusters.{name}", f"Its accounts cannot be looked at: {error.message}."))
            continue
        lacks = lacking(grants, rules.databases, mariadb)
        if lacks:
            message = (
                f"Turnout's own account lacks {', '.join(lacks)} on {server.where}. "
                f"It should have all of these: {grant(account.user, mariadb)};"
            )
            found.append(AccountFinding(f"clusters.{name}", message, True))
        folded = {database.lower() for database in there}
        here = needed.get(name, frozenset())
        for database in here:
            if database.lower() not in folded:
                missing[database].append(name)
        present = frozenset(database for database in here if database.lower() in folded)
        if name in needed and rules.clusters[name].proxy_protocol is ProxyHeader.OFF:
            seen[name] = _Cluster(server, present, known)
    for database, on in sorted(missing.items()):
        message = (
            f"There is no database {database} on {_clusters(on)}, or Turnout's own account may not see it. Is the name "
            f"right? Else: CREATE DATABASE {quoted(database)};"
        )
        found.append(AccountFinding(f"databases.{database}", message, lacking=tuple(on)))
    for user in rules.users.values():
        for cluster in seen.values():
            await _try(user, cluster)
        found += _of_user(user, seen, any(not one.admin for one in rules.users.values()))
    return tuple(found)


def databases_by_cluster(rules: Rules) -> dict[str, frozenset[str]]:
    """The clusters that statements of applications go to, and the databases that each should have."""
    found: dict[str, set[str]] = defaultdict(set)
    found[rules.default_home] |= set()
    for database in rules.databases.values():
        found[database.home].add(database.name)
        for table in database.tables.values():
            for cluster in table_clusters(rules, table):
                found[cluster].add(database.name)
    return {cluster: frozenset(names) for cluster, names in found.items()}


async def _names(connection: ServerConnection, sql: str) -> list[str]:
    return [(row[0] or b"").decode("utf-8", "replace") for row in await connection.query(sql)]


async def _accounts(connection: ServerConnection, rules: Rules) -> dict[str, frozenset[str]] | None:
    """The hosts of the rules' accounts, and of the anonymous one; None where the service account may not read them."""
    try:
        rows = await connection.query("SELECT User, Host FROM mysql.user")
    except ServerFailed:
        if connection.aborted is not None:
            raise
        return None
    hosts: dict[str, set[str]] = defaultdict(set)
    for user, host in rows:
        name = (user or b"").decode("utf-8", "replace")
        if host and (not name or name in rules.users):
            hosts[name].add(host.decode("utf-8", "replace"))
    return {name: frozenset(of) for name, of in hosts.items()}


async def _try(user: User, cluster: _Cluster) -> None:
    try:
        connection = await cluster.server.connect(user.name, Secret.of_password(user.password.encode()), 0)
    except TurnoutError as error:
        failed = error if isinstance(error, ServerFailed) else ServerFailed(error.message, error.errno, error.sqlstate)
        cluster.denied[user.name] = failed
        return
    try:
        usable = set()
        for database in sorted(cluster.databases):
            await connection.command(bytes((com.COM_INIT_DB,)) + database.encode())
            if not connection.scanner.errno:
                usable.add(database)
        cluster.usable[user.name] = frozenset(usable)
    except ServerFailed as error:
        cluster.denied[user.name] = error
    finally:
        connection.close()


def _of_user(user: User, seen: Mapping[str, _Cluster], others: bool) -> list[AccountFinding]:
    """`others`: there are accounts of applications besides those of administrators, which need not be on any server:
    SHOW TURNOUT is answered without one."""
    where = f"users.{user.name}"
    if user.admin and others and all(user.name in one.denied for one in seen.values()):
        return []
    found = []
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, cluster in seen.items():
        if user.name in cluster.denied:
            by_reason[_why_denied(user.name, cluster)].append(name)
    for reason, on in by_reason.items():
        found.append(AccountFinding(where, f"cannot log in to {_clusters(on)}: {reason}"))
    usable = frozenset[str]().union(*(one.usable.get(user.name, frozenset()) for one in seen.values()))
    tried = {name: one for name, one in seen.items() if user.name in one.usable}
    for name, cluster in tried.items():
        lacks = sorted((usable & cluster.databases) - cluster.usable[user.name])
        if lacks:
            grants = " ".join(f"GRANT .. ON {quoted(database)}.* TO '{user.name}'@'%';" for database in lacks)
            message = (
                f"may not use {listed(lacks)} on cluster {name}, as it may on another cluster: give it the same "
                f"privileges there. {grants}"
            )
            found.append(AccountFinding(where, message))
    if tried and not usable and not user.admin and any(one.databases for one in tried.values()):
        message = f"may use none of the databases of these rules. GRANT .. ON .. TO '{user.name}'@'%';"
        found.append(AccountFinding(where, message))
    return found


def _why_denied(user: str, cluster: _Cluster) -> str:
    error = cluster.denied[user]
    if error.errno not in _DENIED:
        return f"{error.message}."
    seen_from = _SEEN_FROM.search(error.message)
    host = seen_from[1] if seen_from is not None else ""
    if cluster.known is None:
        return (
            f"{error.message}. Is it there, with the password that the rules have? Then an anonymous account may be in "
            f"the way: DROP USER ''@'localhost';"
        )
    mine, anonymous = cluster.known.get(user, frozenset()), cluster.known.get("", frozenset())
    if not mine:
        return (
            f"there is no such account. Make it with the password that the rules have: "
            f"CREATE USER '{user}'@'%' IDENTIFIED BY '..'; and give it the GRANTs that it has elsewhere."
        )
    if host in anonymous and host not in mine:
        return (
            f"the anonymous account ''@'{host}' goes before '{user}'@'{sorted(mine)[0]}' for connections from there. "
            f"DROP USER ''@'{host}'; or create '{user}'@'{host}' too, with the same password, and repeat its GRANTs."
        )
    hosts = " or ".join(f"'{user}'@'{one}'" for one in sorted(mine))
    came = f" Turnout comes from '{host}'." if host else ""
    return (
        f"access denied. The password in the rules is not that of {hosts}, or that is for other "
        f"hosts, or for TLS alone.{came}"
    )


def _clusters(names: Collection[str]) -> str:
    return f"cluster{'s' if len(names) > 1 else ''} {' and '.join(names)}"
