"""What is measured: one MariaDB server, asked directly, through HAProxy, and through Turnout.

Turnout runs with everything on: several clusters, sharded and unsharded tables, measurements and metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import sysbench
from tests.servers import MariaDB, Process, Run

DIRECT, HAPROXY, TURNOUT, SHARDED = "direct", "HAProxy", "Turnout", "Turnout, 2 shards"
PLAIN = sysbench.Account("app", "app-secret", "plain")
SPREAD = sysbench.Account("app", "app-secret", "spread")
MAX_CONNECTIONS = 6000

RULES = """\
workers: 1
users:
  app: {{password: app-secret}}
service: {{user: turnout, password: turnout-secret}}
clusters:
  main: {{primary: '{main}', max_connections: 128}}
  other: {{primary: '{other}', max_connections: 128}}
shardings:
  by_id: {{method: hash, slots: {{main: 0-2047, other: 2048-4095}}}}
databases:
  plain:
    home: main
    tables:
      elsewhere: {{cluster: other}}
  spread:
    home: main
    tables:
      sbtest1: {{sharding: by_id, key: id}}
"""
# What statements of applications are about (`bench.miss`).
PEOPLE = """\
CREATE TABLE people (id INT PRIMARY KEY AUTO_INCREMENT, email VARCHAR(100), name VARCHAR(100), born DATE,
city VARCHAR(50), country CHAR(2), active TINYINT, visits INT, seen DATETIME, note TEXT)"""


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    port: int
    account: sysbench.Account
    proxy: Process | None


@dataclass(frozen=True, slots=True)
class Topology:
    servers: Sequence[MariaDB]
    targets: Sequence[Target]

    def target(self, name: str) -> Target | None:
        return next((target for target in self.targets if target.name == name), None)


def build(run: Run, names: Sequence[str]) -> Topology:
    """Starts the servers and those of the targets that are named, with their tables filled."""
    options = [f"--max-connections={MAX_CONNECTIONS}", "--innodb-buffer-pool-size=128M", "--back-log=1024"]
    main = run.mariadb("main", options=options)
    servers = [main]
    if TURNOUT in names or SHARDED in names:
        servers.append(run.mariadb("other", options=options))
    for server in servers:
        server.create_account(PLAIN.user, PLAIN.password)
        server.create_service_account("turnout", "turnout-secret")
        server.execute(f"CREATE DATABASE {PLAIN.database}", f"CREATE DATABASE {SPREAD.database}")
    sysbench.prepare(main.port, PLAIN)
    main.execute(PEOPLE, database=PLAIN.database)
    targets = []
    if DIRECT in names:
        targets.append(Target(DIRECT, main.port, PLAIN, None))
    if HAPROXY in names:
        haproxy = run.haproxy(main.port)
        targets.append(Target(HAPROXY, haproxy.port, PLAIN, haproxy))
    if len(servers) > 1:
        for number, server in enumerate(servers):
            sysbench.prepare(server.port, SPREAD)
            foreign = "CRC32(id) % 4096 >= 2048" if number == 0 else "CRC32(id) % 4096 < 2048"
            server.execute(f"DELETE FROM {SPREAD.database}.sbtest1 WHERE {foreign}")
        turnout = run.turnout(RULES.format(main=main.address, other=servers[1].address))
        if TURNOUT in names:
            targets.append(Target(TURNOUT, turnout.port, PLAIN, turnout))
        if SHARDED in names:
            targets.append(Target(SHARDED, turnout.port, SPREAD, turnout))
    return Topology(servers, targets)
