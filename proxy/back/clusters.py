"""The clusters of one set of rules, as servers: which one gets a statement."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from proxy.back.counters import Counters
from proxy.back.gtid import GtidPosition
from proxy.back.monitor import Monitor
from proxy.back.server import Role, Server
from proxy.rules import model

Spawn = Callable[[Coroutine[object, object, None], str], None]


@dataclass(slots=True)
class ClusterServers:
    """One cluster's primary and replicas."""

    name: str
    primary: Server
    replicas: tuple[Server, ...]
    _turn: int = 0

    def replica(self, max_lag_s: float, must_cover: GtidPosition | None) -> Server | None:
        """A replica that is up, behind by at most `max_lag_s`, and has applied `must_cover`; round robin over those."""
        count = len(self.replicas)
        for i in range(count):
            server = self.replicas[(self._turn + i) % count]
            health = server.health
            if health.lag_s is None or health.lag_s > max_lag_s or not server.usable:
                continue
            if must_cover is not None and (health.position is None or not health.position.covers(must_cover)):
                continue
            self._turn = (self._turn + i + 1) % count
            return server
        return None


@dataclass(slots=True)
class Clusters:
    """All servers of this worker. `apply` keeps servers that did not change, with their pools, over a reload."""

    spawn: Spawn
    counters: Callable[[str, str, str], Counters]  # (cluster, address, role) -> where a server is counted
    by_name: dict[str, ClusterServers] = field(default_factory=dict)
    _monitors: dict[Server, tuple[Monitor, asyncio.Task[None]]] = field(default_factory=dict)
    _signatures: dict[Server, object] = field(default_factory=dict)

    def apply(self, rules: model.Rules) -> None:
        """Bring the servers in line with `rules`."""
        existing = {signature: server for server, signature in self._signatures.items()}
        fresh: dict[str, ClusterServers] = {}
        kept: set[Server] = set()
        for cluster in rules.clusters.values():
            account = cluster.service or rules.service
            servers: list[Server] = []
            for role, address in [(Role.PRIMARY, cluster.primary), *((Role.REPLICA, a) for a in cluster.replicas)]:
                said = (cluster.compression, cluster.proxy_protocol)
                tls = tls_context(cluster.tls, address) if cluster.tls is not None else None
                signature = (cluster.name, role, address, cluster.tls, account, rules.health, said)
                server = existing.get(signature)
                if server is None:
                    server = Server(
                        cluster.name,
                        role,
                        address,
                        cluster.max_connections,
                        tls,
                        rules.pool,
                        rules.health,
                        self.spawn,
                        self.counters(cluster.name, str(address), role.value),
                        compress=cluster.compression is not model.Compression.OFF,
                        proxy_header=cluster.proxy_protocol,
                    )
                    self._signatures[server] = signature
                    if account is not None:
                        monitor = Monitor(server, account)
                        self._monitors[server] = (monitor, asyncio.get_running_loop().create_task(monitor.run()))
                server.allow(cluster.max_connections)
                server.tls = tls  # its files may have changed
                server.pool_rules = rules.pool
                kept.add(server)
                servers.append(server)
            fresh[cluster.name] = ClusterServers(cluster.name, servers[0], tuple(servers[1:]))
        self.by_name = fresh
        for server in [s for s in self._signatures if s not in kept]:
            del self._signatures[server]
            self._stop_monitor(server)
            server.close()

    def servers(self) -> list[Server]:
        return [s for c in self.by_name.values() for s in (c.primary, *c.replicas)]

    async def probed(self, timeout_s: float) -> None:
        """Wait until every server was probed once, or the time is over (statements will try what is unknown then)."""
        waits = [monitor.probed.wait() for monitor, _ in self._monitors.values()]
        if not waits:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*waits)
        except TimeoutError:
            return

    def trim(self, now: float) -> None:
        for server in self.servers():
            server.trim(now)

    async def close(self) -> None:
        tasks = [task for _, task in self._monitors.values()]
        for server in list(self._monitors):
            self._stop_monitor(server)
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self.servers():
            server.close()

    def _stop_monitor(self, server: Server) -> None:
        entry = self._monitors.pop(server, None)
        if entry is not None:
            entry[1].cancel()


def tls_context(tls: model.ClusterTls, address: model.Address) -> ssl.SSLContext:
    """The client side of TLS towards a server. Raises OSError or ssl.SSLError for unreadable files."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(tls.ca) if tls.ca else None)
    # A CA that the rules name may have signed more than this server's certificate. A Unix socket has no name.
    context.check_hostname = tls.verify and tls.ca is not None and not address.path
    context.verify_mode = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
    if tls.cert is not None:
        context.load_cert_chain(str(tls.cert), str(tls.key) if tls.key else None)
    return context
