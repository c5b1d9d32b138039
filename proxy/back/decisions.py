"""The tables by which a transaction over several clusters is decided, on every cluster that takes part in one.

`turnout.transactions` has one row per transaction that wrote on several clusters, on the cluster where it began. A row
that says `commit` is written inside the transaction's own part there and so commits with it; a row that says `abort` is
written by whoever finds a prepared branch and no decision. The primary key lets one of the two in, and makes the second
wait for the first: whichever row is there in the end is the decision.

`turnout.cluster` has one row: the cluster's token, by which branches name it.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.back.connection import ServerConnection
from proxy.back.server import Server
from proxy.errors import ServerFailed, TurnoutError
from proxy.rules.model import Rules, ServiceAccount
from proxy.wire.login import Secret

TABLE = "turnout.transactions"
CREATE = (
    "CREATE DATABASE IF NOT EXISTS turnout",
    "CREATE TABLE IF NOT EXISTS turnout.transactions (id CHAR(24) CHARACTER SET ascii NOT NULL PRIMARY KEY,"
    " outcome ENUM('commit', 'abort') NOT NULL, branches TEXT CHARACTER SET ascii NOT NULL,"
    " at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS turnout.cluster (one TINYINT NOT NULL PRIMARY KEY DEFAULT 1,"
    " token CHAR(16) CHARACTER SET ascii NOT NULL) ENGINE=InnoDB",
)
GRANT_SERVICE = "GRANT SELECT, INSERT, DELETE, CREATE ON turnout.* TO '{user}'@'%'"
GRANT_CLIENT = "GRANT INSERT ON turnout.transactions TO '{user}'@'%'"
_MISSING = frozenset({1049, 1146})  # no such database, no such table
_DUPLICATE = 1062
# An abort row that a lock keeps waiting so long (s) is tried again later: the decision is still open.
_WAIT_S = 3


class Decision(enum.Enum):
    COMMIT = "commit"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of `turnout.transactions`."""

    id: str
    decision: Decision
    branches: tuple[str, ...]  # tokens of the clusters that have branches
    age_s: float


def service_account(rules: Rules, cluster: str) -> ServiceAccount | None:
    """Turnout's own account on a cluster."""
    known = rules.clusters.get(cluster)
    return (known.service if known is not None else None) or rules.service


async def open_service(server: Server, account: ServiceAccount | None, capabilities: int = 0) -> ServerConnection:
    """A connection of Turnout's own account. Raises ServerFailed."""
    if account is None:
        raise ServerFailed(f"{server.where} has no account for Turnout itself (`service:` in the rules)", 1105, "HY000")
    return await server.connect(account.user, Secret.of_password(account.password.encode()), capabilities)


async def token_of(connection: ServerConnection, user: str) -> str:
    """The cluster's token; makes the tables where they are missing. Raises ServerFailed, with the statements to run."""
    try:
        try:
            return await _read_token(connection)
        except ServerFailed as error:
            if error.errno not in _MISSING:
                raise
        for sql in CREATE:
            await connection.query(sql)
        return await _read_token(connection)
    except ServerFailed as error:
        if connection.aborted is not None:
            raise
        raise ServerFailed(
            f"{error.message}. `transactions: atomic` needs tables of its own on every cluster; as an administrator "
            f"run there: {'; '.join((*CREATE, GRANT_SERVICE.format(user=user)))}",
            error.errno,
            error.sqlstate,
        ) from error


async def _read_token(connection: ServerConnection) -> str:
    asked = "SELECT token FROM turnout.cluster WHERE one = 1"
    rows = await connection.query(asked)
    if not rows:  # whoever is first gives it
        await connection.query(f"INSERT IGNORE INTO turnout.cluster (one, token) VALUES (1, '{secrets.token_hex(8)}')")
        rows = await connection.query(asked)
    with connection.understood(asked):
        ((token,),) = rows
        return (token or b"").decode("ascii")


def commit_row(transaction: str, branches: Iterable[str]) -> bytes:
    """The INSERT of a decision to commit, for the transaction's own connection."""
    tokens = ",".join(branches)
    return f"INSERT INTO {TABLE} (id, outcome, branches) VALUES ('{transaction}', 'commit', '{tokens}')".encode()


async def ask(connection: ServerConnection, transaction: str) -> Decision | None:
    """What was decided; "abort" from now on where nothing was. None: a transaction that may still commit holds the row
    (a server may take its time to notice that a connection is gone). Raises ServerFailed."""
    await connection.query(f"SET innodb_lock_wait_timeout = {_WAIT_S}")
    try:
        await connection.query(f"INSERT INTO {TABLE} (id, outcome, branches) VALUES ('{transaction}', 'abort', '')")
    except ServerFailed as error:
        if error.errno in (1205, 1213):
            return None
        if error.errno != _DUPLICATE:
            raise
    else:
        return Decision.ABORT
    asked = f"SELECT outcome FROM {TABLE} WHERE id = '{transaction}'"
    rows = await connection.query(asked)
    with connection.understood(asked):
        return Decision((rows[0][0] or b"").decode()) if rows else None


async def read_rows(connection: ServerConnection, older_than_s: float) -> list[Row]:
    """The decisions that were taken so long ago. Raises ServerFailed."""
    asked = (
        "SELECT id, outcome, branches, TIMESTAMPDIFF(SECOND, at, CURRENT_TIMESTAMP)"
        f" FROM {TABLE} WHERE at <= CURRENT_TIMESTAMP - INTERVAL {int(older_than_s)} SECOND LIMIT 10000"
    )
    rows = await connection.query(asked)
    with connection.understood(asked):
        return [
            Row(
                (name or b"").decode("ascii"),
                Decision((outcome or b"").decode("ascii")),
                tuple(filter(None, (branches or b"").decode("ascii").split(","))),
                float(age or 0),
            )
            for name, outcome, branches, age in rows
        ]


async def forget(connection: ServerConnection, transactions: Sequence[str]) -> None:
    """Remove decisions that nobody can ask for any more. Raises ServerFailed."""
    for at in range(0, len(transactions), 500):
        names = ", ".join(f"'{name}'" for name in transactions[at : at + 500])
        await connection.query(f"DELETE FROM {TABLE} WHERE id IN ({names})")


class NoToken(TurnoutError):
    """A cluster cannot take part in a transaction over several."""


class Tokens:
    """The tokens of a worker's clusters, read when they are first needed and again when a server was down."""

    def __init__(self) -> None:
        self._known: dict[Server, tuple[int, str]] = {}

    async def of(self, server: Server, account: ServiceAccount | None) -> str:
        """Raises NoToken, ServerFailed."""
        known = self._known.get(server)
        if known is not None and known[0] == server.generation:
            return known[1]
        generation = server.generation
        connection = await open_service(server, account)
        try:
            token = await token_of(connection, account.user if account is not None else "")
        finally:
            connection.close()
        self.learn(server, generation, token)
        return token

    def learn(self, server: Server, generation: int, token: str) -> None:
        """Raises NoToken where another cluster has the same: one is a copy of the other."""
        for other, (_, known) in self._known.items():
            if known == token and other.cluster != server.cluster:
                raise NoToken(
                    f"Clusters {other.cluster} and {server.cluster} have the same row in turnout.cluster: one was made "
                    "as a copy of the other. Empty that table on the copy (while no transaction over several clusters "
                    "is under way); Turnout then gives it a token of its own"
                )
        for stale in [s for s in self._known if s.cluster == server.cluster]:
            del self._known[stale]
        self._known[server] = (generation, token)
