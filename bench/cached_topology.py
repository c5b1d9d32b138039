"""What the cache is measured with: one MariaDB server, asked directly and through Turnouts whose caches differ."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from bench import sysbench
from bench.topology import DIRECT
from tests.servers import MariaDB, Memcached, Run, Turnout

ACCOUNT = sysbench.Account("app", "app-secret", "cached")
UNCACHED = "Turnout, no cache"
LOCAL, LOCAL_2 = "Turnout, local", "Turnout, local, 2 workers"
REMOTE, REMOTE_2 = "Turnout, memcached", "Turnout, memcached, 2 workers"
READ, WRITTEN = "sbtest1", "written"  # tables: one that is only read, and one for loads that write

RULES = """\
workers: {workers}
users:
  app: {{password: app-secret}}
service: {{user: turnout, password: turnout-secret}}
clusters:
  main: {{primary: '{main}', max_connections: 128}}
databases:
  cached:
    home: main
{cache}"""
TABLES = """\
    tables:
      sbtest1: {cache: {by: [id]}}
      written: {cache: {by: [id]}}
"""


class Memory(enum.Enum):
    """Where most of a target's hits come from."""

    NONE = "none"
    LOCAL = "local"
    MEMCACHED = "memcached"


# The least that the rules allow: of the keys that are asked of memcached it holds a few in a hundred.
LEAST_LOCAL = "1MB"


@dataclass(frozen=True, slots=True)
class CachedTarget:
    """`memory`: where its hits are to come from. `proxy` is None for MariaDB itself."""

    name: str
    port: int
    memory: Memory = Memory.NONE
    proxy: Turnout | None = None
    memcached: Memcached | None = None


@dataclass(frozen=True, slots=True)
class CachedTopology:
    server: MariaDB
    targets: Sequence[CachedTarget]


def build(run: Run, names: Sequence[str], local_keys: int, remote_keys: int) -> CachedTopology:
    """`local_keys`: rows that a worker's memory is to hold; `remote_keys`: rows of which it is to hold few."""
    server = run.mariadb("cached", options=["--innodb-buffer-pool-size=128M"])
    server.create_account(ACCOUNT.user, ACCOUNT.password)
    server.create_service_account("turnout", "turnout-secret")
    server.execute(f"CREATE DATABASE {ACCOUNT.database}")
    sysbench.prepare(server.port, ACCOUNT, max(local_keys, remote_keys))
    server.execute(
        f"CREATE TABLE {WRITTEN} LIKE {READ}",
        f"INSERT INTO {WRITTEN} SELECT * FROM {READ} WHERE id <= {local_keys}",
        database=ACCOUNT.database,
    )
    targets = [CachedTarget(DIRECT, server.port)]
    for name, workers, memory in (
        (UNCACHED, 1, Memory.NONE),
        (LOCAL, 1, Memory.LOCAL),
        (LOCAL_2, 2, Memory.LOCAL),
        (REMOTE, 1, Memory.MEMCACHED),
        (REMOTE_2, 2, Memory.MEMCACHED),
    ):
        if name not in names:
            continue
        memcached = run.memcached(size_mb=256) if memory is Memory.MEMCACHED else None
        turnout = run.turnout(_rules(server, workers, memory, memcached))
        targets.append(CachedTarget(name, turnout.port, memory, turnout, memcached))
    return CachedTopology(server, targets)


def _rules(server: MariaDB, workers: int, memory: Memory, memcached: Memcached | None) -> str:
    cache = TABLES if memory is not Memory.NONE else ""
    if memcached is not None:
        cache += f"cache: {{memcached: ['{memcached.address}'], local: {LEAST_LOCAL}}}\n"
    return RULES.format(workers=workers, main=server.address, cache=cache)
