"""Finishing transactions over several clusters whose coordinator is gone: one worker of every Turnout looks for them.

A branch that stays prepared has lost its coordinator, or waits for its server. The cluster where the transaction began
is asked for the decision, which writes "abort" there if nothing was decided; then the branch is committed or rolled
back. Several may do this at once: they get the same decision, and finishing a branch twice does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.back.clusters import ClusterServers
from proxy.back.connection import ServerConnection
from proxy.back.decisions import (
    Decision,
    NoToken,
    Tokens,
    ask,
    forget,
    open_service,
    read_rows,
    service_account,
    token_of,
)
from proxy.back.server import Server
from proxy.back.xa import Branch, prepared
from proxy.errors import ServerFailed, TurnoutError
from proxy.front.two_phase import KEEP_COMMITS_S, Sightings, forgettable
from proxy.measure.measures import Measures
from proxy.rules.model import Rules

log = logging.getLogger("turnout.recovery")

EVERY_S = 2.0
GRACE_S = 5.0  # longer than a COMMIT takes between PREPARE and decision: one that is under way is not to be aborted
_FORGET_EVERY_S = 60.0
_ASK_S = 10.0  # for all that one pass asks of one cluster
_NOT_THERE = 1397  # XAER_NOTA: unknown, or a connection has it still


async def look(connection: ServerConnection) -> list[Branch]:
    """Turnout's branches that are prepared on a server. Raises ServerFailed."""
    try:
        rows = await connection.query("XA RECOVER")
        with connection.understood("XA RECOVER"):
            return prepared(rows)
    except ServerFailed as error:
        if error.errno in (1227, 1401):
            raise ServerFailed(
                f"{error.message}. The service account must see prepared branches: GRANT XA_RECOVER_ADMIN ON *.*",
                error.errno,
                error.sqlstate,
            ) from error
        raise


async def finish_branch(connection: ServerConnection, branch: Branch, decision: Decision) -> bool:
    """Commit or roll back a prepared branch as was decided; True once it is not there any more. Raises ServerFailed."""
    text = branch.commit if decision is Decision.COMMIT else branch.rollback
    try:
        await connection.query(text.decode("ascii"))
    except ServerFailed as error:
        if error.errno != _NOT_THERE:
            raise
        return branch not in await look(connection)
    return True


@dataclass(slots=True)
class _Asked:
    """One cluster in one pass."""

    name: str
    token: str
    connection: ServerConnection
    branches: list[Branch]


class Recovery:
    """Passes over all clusters of the rules. `grace_s`: how long a branch is left to its coordinator."""

    def __init__(self, tokens: Tokens, measures: Measures, grace_s: float = GRACE_S) -> None:
        self._tokens = tokens
        self._measures = measures
        self._grace_s = grace_s
        self._sightings = Sightings()
        self._connections: dict[Server, ServerConnection] = {}
        self._said: dict[str, str] = {}  # by cluster: the last problem that was logged
        self._forgotten_at = float("-inf")

    async def look_once(self, rules: Rules, clusters: Mapping[str, ClusterServers]) -> None:
        """One pass. What cannot be asked or told now is for the next one."""
        now = time.monotonic()
        connections = await self._connect(rules, clusters)
        rows = {}
        if now - self._forgotten_at >= _FORGET_EVERY_S:
            self._forgotten_at = now
            for name, connection in connections.items():  # before branches are looked for: see `forgettable`
                with _Told(self, name):
                    async with asyncio.timeout(_ASK_S):
                        rows[name] = await read_rows(connection, KEEP_COMMITS_S)
        asked: dict[str, _Asked] = {}
        doubtful: set[str] = set()  # tokens of several clusters: where a decision is cannot be said
        for name, connection in connections.items():
            with _Told(self, name):
                async with asyncio.timeout(_ASK_S):
                    account = service_account(rules, name)
                    token = await token_of(connection, account.user if account else "")
                    server = clusters[name].primary
                    try:
                        self._tokens.learn(server, server.generation, token)
                    except NoToken:
                        doubtful.add(token)
                        raise
                    asked[token] = _Asked(name, token, connection, await look(connection))
                    if not asked[token].branches:
                        self._said.pop(name, None)
        for token in doubtful:
            asked.pop(token, None)
        seen = {branch for one in asked.values() for branch in one.branches if branch.own == one.token}
        self._measures.prepared_branches = sum(len(one.branches) for one in asked.values())
        for branch in self._sightings.due(seen, asked, now, self._grace_s):
            await self._finish(branch, asked)
        left = {branch for one in asked.values() for branch in one.branches}
        for one in asked.values():
            if (gone := forgettable(rows.get(one.name, ()), left, asked)) and one.connection.aborted is None:
                with _Told(self, one.name):
                    await forget(one.connection, gone)

    async def _connect(self, rules: Rules, clusters: Mapping[str, ClusterServers]) -> dict[str, ServerConnection]:
        """A connection of the service account to every primary that can be reached; kept between passes."""
        found: dict[str, ServerConnection] = {}
        wanted = {servers.primary for servers in clusters.values()}
        for server in [s for s in self._connections if s not in wanted]:
            self._connections.pop(server).close()
        for name, servers in clusters.items():
            server, account = servers.primary, service_account(rules, name)
            if account is None or not server.usable:
                continue
            connection = self._connections.get(server)
            if connection is None or connection.aborted is not None or connection.generation != server.generation:
                if connection is not None:
                    connection.close()
                with _Told(self, name):
                    connection = self._connections[server] = await open_service(server, account)
                    found[name] = connection
            else:
                found[name] = connection
        return found

    async def _finish(self, branch: Branch, asked: Mapping[str, _Asked]) -> None:
        """Ask for the decision on one branch and carry it out."""
        first, own = asked.get(branch.first), asked[branch.own]
        if first is None:
            self.say(own.name, f"a prepared branch waits for a cluster that cannot be asked now (token {branch.first})")
            return
        with _Told(self, own.name):
            async with asyncio.timeout(_ASK_S):
                decision = await ask(first.connection, branch.id)
                if decision is None or not await finish_branch(own.connection, branch, decision):
                    return
            outcome = "committed" if decision is Decision.COMMIT else "rolled back"
            self._measures.recovered(outcome)
            log.warning("finished a branch", extra={"cluster": own.name, "transaction": branch.id, "outcome": outcome})

    def say(self, cluster: str, problem: str) -> None:
        """Log a problem when it is news."""
        if self._said.get(cluster) != problem:
            self._said[cluster] = problem
            log.error("recovery", extra={"cluster": cluster, "problem": problem})

    def drop_busy(self) -> None:
        """Connections in the middle of an answer that nobody waits for any more."""
        for connection in self._connections.values():
            if connection.sink is not None:
                connection.abort(ServerFailed("Recovery gave up waiting"))

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


class _Told:
    """One cluster's failure is logged and does not keep the others waiting. A connection that did not answer goes."""

    def __init__(self, recovery: Recovery, cluster: str) -> None:
        self._recovery = recovery
        self._cluster = cluster

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, TurnoutError):
            self._recovery.say(self._cluster, error.message)
            return True
        if isinstance(error, TimeoutError):
            self._recovery.say(self._cluster, f"no answer within {_ASK_S:g} s")
            self._recovery.drop_busy()
            return True
        return False
