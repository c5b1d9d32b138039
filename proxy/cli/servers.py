"""Asking the servers of some rules once, for `turnout check` and `turnout explain`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass, field

from proxy.back.catalog import EMPTY, Catalog
from proxy.back.clusters import Clusters
from proxy.back.decisions import Tokens, open_service, service_account
from proxy.back.server import State
from proxy.cli.accounts import AccountFinding, look_at_accounts
from proxy.cli.directories import DirectoryFinding, look_at_directories
from proxy.errors import TurnoutError
from proxy.front.recovery import look as look_for_branches
from proxy.front.schemas import SchemaReader
from proxy.front.sequences import Sequences
from proxy.measure.measures import Measures
from proxy.plan.id_column import sequence_homes
from proxy.rules.model import Rules, Transactions
from proxy.stream.check import NotFollowable
from proxy.stream.check import check as check_log
from proxy.wire.login import Secret

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the servers said, and (where, why) of those that said nothing."""

    catalog: Catalog
    unreachable: tuple[tuple[str, str], ...]  # (where, reason)
    asked: frozenset[str]  # clusters whose schemas are in the catalog
    not_followable: Mapping[str, str] = field(default_factory=dict)  # clusters with coherent cache classes -> why not
    # Homes that are to keep sequences -> what is missing, and whether somebody has to do something about it.
    sequences: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    # With `transactions: atomic`: clusters that cannot take part, or not as safely as they should -> why.
    not_atomic: Mapping[str, str] = field(default_factory=dict)
    not_durable: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[DirectoryFinding, ...] = ()
    accounts: tuple[AccountFinding, ...] = ()


async def look(rules: Rules, suitable: bool = True) -> Answer:
    """Probe all servers, and read the schemas of the databases that the rules name from those that answer.

    `suitable`: find out as well whether they can do what the rules want of them, which for atomic transactions takes
    tables that are made where they are missing. Without it nothing is changed on any server.
    """
    tasks: set[asyncio.Task[object]] = set()

    def spawn(work: Coroutine[object, object, None], what: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=what)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    clusters = Clusters(spawn, Measures().server)
    clusters.apply(rules)
    try:
        await clusters.probed(TIMEOUT_S)
        catalog = await SchemaReader(rules, clusters).read(EMPTY)
        unreachable = tuple(
            (server.where, server.health.reason or "no answer")
            for server in clusters.servers()
            if server.health.state is not State.UP
        )
        asked = frozenset(
            name for name, servers in clusters.by_name.items() if servers.primary.health.state is State.UP
        )
        if not suitable:
            return Answer(catalog, unreachable, asked)
        not_followable = await _logs(rules, clusters, asked)
        not_atomic, not_durable = await _transactions(rules, clusters, asked)
        sequences = await _sequences(rules, clusters, asked, catalog)
        directories = await look_at_directories(rules, clusters, asked, catalog)
        accounts = await look_at_accounts(rules, clusters, asked)
        return Answer(
            catalog, unreachable, asked, not_followable, sequences, not_atomic, not_durable, directories, accounts
        )
    finally:
        await clusters.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _transactions(
    rules: Rules, clusters: Clusters, asked: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The clusters that cannot take part in atomic transactions, and those that may lose what they have acknowledged.
    Makes the tables where they are missing."""
    broken: dict[str, str] = {}
    weak: dict[str, str] = {}
    tokens = Tokens()
    if rules.transactions is not Transactions.ATOMIC:
        return broken, weak
    for name in sorted(asked):
        account = service_account(rules, name)
        if account is None:
            continue
        primary = clusters.by_name[name].primary
        try:
            await tokens.of(primary, account)
            connection = await open_service(primary, account)
            try:
                await look_for_branches(connection)
                (values,) = await connection.query("SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog")
            finally:
                connection.close()
        except TurnoutError as error:
            broken[name] = error.message
            continue
        flush, log_bin, sync = ((value or b"").decode() for value in values)
        wrong = [f"innodb_flush_log_at_trx_commit = {flush}"] if flush not in ("1", "3") else []
        wrong += [f"sync_binlog = {sync}"] if log_bin == "1" and sync == "0" else []
        if wrong:
            weak[name] = ", ".join(wrong)
    return broken, weak


async def _logs(rules: Rules, clusters: Clusters, asked: Collection[str]) -> dict[str, str]:
    """The clusters that are to be followed, and whose settings do not allow it."""
    found: dict[str, str] = {}
    for name in rules.cached_clusters:
        account = rules.clusters[name].service or rules.service
        if name not in asked or account is None:
            continue
        primary = clusters.by_name[name].primary
        try:
            connection = await primary.connect(account.user, Secret.of_password(account.password.encode()), 0)
            try:
                await check_log(connection, account.user, {table.database for table in rules.cached_tables})
            finally:
                connection.close()
        except NotFollowable as error:
            found[name] = error.message
        except TurnoutError:
            continue  # it is among the unreachable, or was up a moment ago
    return found


async def _sequences(
    rules: Rules, clusters: Clusters, asked: Collection[str], catalog: Catalog
) -> dict[str, tuple[str, bool]]:
    """Where ids of sharded tables have to be made, and cannot be yet."""
    sequences = Sequences(clusters, rules, lambda work, what: None)
    found: dict[str, tuple[str, bool]] = {}
    try:
        for cluster in sequence_homes(rules, catalog):
            if cluster in asked and (problem := await sequences.home(cluster).missing())[0]:
                found[cluster] = problem
    finally:
        sequences.close()
    return found
