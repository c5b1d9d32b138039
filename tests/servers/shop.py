"""The servers of the shop in DESIGN.md's rules file, each started when it is first asked for."""

from __future__ import annotations

from tests.servers.mariadb import MariaDB
from tests.servers.memcached import Memcached
from tests.servers.run import Run

APP, APP_PASSWORD = "app", "app-secret"
OPS, OPS_PASSWORD = "ops", "ops-secret"
SERVICE, SERVICE_PASSWORD = "turnout", "turnout-secret"
DATABASE = "shop"
KEPT = frozenset({"information_schema", "mysql", "performance_schema", "sys", "turnout"})


class Shop:
    """`main` with a replica, `media`, and shards; the same accounts and an empty database `shop` on every one."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._servers: dict[str, MariaDB] = {}
        self._replica: MariaDB | None = None
        self._memcached: Memcached | None = None

    def server(self, name: str) -> MariaDB:
        if name not in self._servers:
            server = self.run.mariadb(name)
            server.create_account(APP, APP_PASSWORD)
            server.create_account(OPS, OPS_PASSWORD)
            server.create_service_account(SERVICE, SERVICE_PASSWORD)
            server.execute(f"CREATE DATABASE {DATABASE}")
            self._servers[name] = server
        return self._servers[name]

    @property
    def main(self) -> MariaDB:
        return self.server("main")

    @property
    def replica(self) -> MariaDB:
        if self._replica is None:
            self._replica = self.run.replica_of(self.main, "main-replica")
        return self._replica

    @property
    def media(self) -> MariaDB:
        return self.server("media")

    def shard(self, number: int) -> MariaDB:
        return self.server(f"shard{number}")

    @property
    def memcached(self) -> Memcached:
        if self._memcached is None:
            self._memcached = self.run.memcached()
        return self._memcached

    def recreate(self) -> None:
        """On every server that was started only an empty database `shop`, beside the server's own and Turnout's;
        replicas have applied it on return."""
        for server in self._servers.values():
            made = {name for (name,) in server.execute("SHOW DATABASES")} - KEPT
            server.execute(*(f"DROP DATABASE `{name}`" for name in sorted(made)), f"CREATE DATABASE {DATABASE}")
        if self._replica is not None:
            self._replica.catch_up()

    def rules(self, *clusters: str, replica: bool = False) -> str:
        """The `users`, `service` and `clusters` keys of a rules file over these clusters (default: main only)."""
        lines = [
            "users:",
            f"  {APP}: {{password: {APP_PASSWORD}}}",
            f"  {OPS}: {{password: {OPS_PASSWORD}, admin: true}}",
            f"service: {{user: {SERVICE}, password: {SERVICE_PASSWORD}}}",
            "clusters:",
        ]
        for name in clusters or ("main",):
            replicas = f", replicas: ['{self.replica.address}']" if replica and name == "main" else ""
            lines.append(f"  {name}: {{primary: '{self.server(name).address}'{replicas}}}")
        return "\n".join(lines) + "\n"
