"""One worker's numbers: counters with bounded labels, the shapes that it serves, and what it has open.

Counters only ever go up here and are handed on as *windows*: what was added since the last `take`. Whoever collects
windows adds them up (`proxy.measure.totals`), so sums stay right and monotonic when a worker dies and is replaced.
Nothing here is thread-safe: a worker is one event loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.back.counters import SERVER_COUNTERS, Counters, Labelled
from proxy.measure.caches import CacheStats
from proxy.measure.key_sampling import KeySampler
from proxy.measure.shape_stats import ShapeStats
from proxy.measure.shapes import Sample
from proxy.measure.windows import ServerWindow, Window, referred_to

ERRNO_LABELS = 200


class ServerStats(Counters):
    """Counters of one server. Whoever talks to it adds to the attributes."""

    __slots__ = ("address", "cluster", "role")

    def __init__(self, cluster: str, address: str, role: str) -> None:
        super().__init__()
        self.cluster = cluster
        self.address = address
        self.role = role

    def take(self) -> ServerWindow:
        window = ServerWindow(
            self.cluster,
            self.address,
            self.role,
            {name: n for name in SERVER_COUNTERS if (n := getattr(self, name))},
            self.open_failed.take(),
            self.closed.take(),
        )
        self.clear()
        return window


class Measures:
    """One worker's numbers. Hot-path callers add to the plain attributes; the rest goes through methods."""

    def __init__(self) -> None:
        self._shapes: list[ShapeStats] = []
        self._servers: list[ServerStats] = []
        self._caches: dict[tuple[str, str, bool], CacheStats] = {}
        self.keys: KeySampler | None = None  # None: nobody wants to know of keys
        # gauges
        self.clients = 0  # connected, logged in or not
        self.plans = 0  # entries of the plan cache
        self.cache_bytes = 0  # of cached values in this worker's memory
        self.cache_entries = 0
        self.directory_entries = 0  # keys of directory shardings whose clusters are known
        self.prepared_branches = 0  # of transactions over several clusters, on all of them, as recovery saw last
        # counters: they only go up, `take` hands on by how much
        self._taken: dict[str, int] = {}
        self.plan_hits = 0
        self.plan_misses = 0
        self.plan_evictions = 0
        self.slow_statements = 0
        self.accepted = 0
        self.busy_poll_ns = 0  # of waiting awake, with nothing to do
        self.cache_evictions = 0
        self.memcached_gets = 0
        self.memcached_hits = 0
        self.memcached_sets = 0
        self.memcached_errors = 0
        self.memcached_timeouts = 0
        self.memcached_skipped = 0
        self.memcached_dropped = 0
        self.memcached_malformed = 0
        self.memcached_too_long = 0
        self.directory_lookups = 0  # keys that were looked up on home ..
        self.directory_batches = 0  # .. by so many statements
        self.directory_renewals = 0  # leases that a look at home renewed, with keys or without
        self.directory_new_keys = 0
        self._pins = Labelled()
        self._errors = Labelled(ERRNO_LABELS)
        self._refused = Labelled()
        self._logins = Labelled()
        self._fallbacks = Labelled()
        self._kills = Labelled()
        self._dismissed = Labelled()
        self._atomic = Labelled()
        self._recovered = Labelled()

    def shape(
        self,
        digest: str,
        kind: str,
        tables: Sequence[str] = (),
        clusters: Sequence[str] = (),
        shape_id: str = "",
        sample: Sample | None = None,
    ) -> ShapeStats:
        """A new plan-cache entry's counters. Keep the object for as long as statements can end under it, then just
        drop it: it is taken one last time when nobody else refers to it."""
        stats = ShapeStats(digest, kind, tables, clusters, shape_id, sample)
        self._shapes.append(stats)
        return stats

    def server(self, cluster: str, address: str, role: str) -> ServerStats:
        """The counters of one server, the same object for the same arguments for as long as anyone keeps it.
        `role`: primary or replica."""
        for stats in self._servers:
            if stats.cluster == cluster and stats.address == address and stats.role == role:
                return stats
        stats = ServerStats(cluster, address, role)
        self._servers.append(stats)
        return stats

    def cache(self, table: str, by: str, coherent: bool) -> CacheStats:
        """The counters of one cache class: there are as many as the rules have named."""
        stats = self._caches.get((table, by, coherent))
        if stats is None:
            stats = self._caches[(table, by, coherent)] = CacheStats(table, by, coherent)
        return stats

    def pinned(self, reason: str) -> None:
        """A session became pinned to its connection."""
        self._pins.add(reason)

    def error(self, errno: int) -> None:
        """A client was sent an error packet, a server's or one of ours."""
        self._errors.add(str(errno))

    def refused(self, reason: str) -> None:
        """A statement was refused (StatementRefused.reason); also count its `error`."""
        self._refused.add(reason or "unnamed")

    def fell_back(self, reason: str) -> None:
        """What was to be merged, or brought in place, turned out to need the rows themselves: a refusal's reason, or
        "in-place-types", ... (`proxy.front.in_place`)."""
        self._fallbacks.add(reason or "unnamed")

    def login(self, outcome: str = "ok") -> None:
        """A login ended: "ok", or why not ("unknown-user", "wrong-password", "unknown-database", "timeout", ...)."""
        self._logins.add(outcome)

    def atomic(self, outcome: str) -> None:
        """A COMMIT in two phases ended: "committed", "rolled back" or "unknown"."""
        self._atomic.add(outcome)

    def recovered(self, outcome: str) -> None:
        """Recovery finished a prepared branch: "committed" or "rolled back"."""
        self._recovered.add(outcome)

    def dismissed(self, reason: str) -> None:
        """A client's connection was ended because of a limit: "idle", ..."""
        self._dismissed.add(reason)

    def killed(self, what: str) -> None:
        """KILL was carried out: "query" or "connection" by a client, or for "statement time"."""
        self._kills.add(what)

    def take(self) -> Window:
        """Everything since the last call. Once a second: it walks all shapes (0.1 us each when nothing happened)."""
        windows = [window for stats in self._shapes if stats.count and (window := stats.take()) is not None]
        kept = self._shapes = referred_to(self._shapes)
        servers = [server.take() for server in self._servers]
        self._servers = referred_to(self._servers)
        keys, together = self.keys.take() if self.keys is not None else ([], [])
        counters = {}
        for name in _COUNTERS:
            total = getattr(self, name)
            counters[name] = total - self._taken.get(name, 0)
            self._taken[name] = total
        return Window(
            windows,
            servers,
            counters,
            {
                "pins": self._pins.take(),
                "errors": self._errors.take(),
                "refused": self._refused.take(),
                "fallbacks": self._fallbacks.take(),
                "logins": self._logins.take(),
                "kills": self._kills.take(),
                "dismissed": self._dismissed.take(),
                "atomic": self._atomic.take(),
                "recovered": self._recovered.take(),
            },
            {
                "clients": self.clients,
                "plans": self.plans,
                "shapes": len(kept),
                "cache_bytes": self.cache_bytes,
                "cache_entries": self.cache_entries,
                "directory_entries": self.directory_entries,
                "prepared_branches": self.prepared_branches,
            },
            [stats.take() for stats in self._caches.values()],
            keys,
            together,
        )


_COUNTERS = (
    "plan_hits",
    "plan_misses",
    "plan_evictions",
    "slow_statements",
    "accepted",
    "busy_poll_ns",
    "cache_evictions",
    "memcached_gets",
    "memcached_hits",
    "memcached_sets",
    "memcached_errors",
    "memcached_timeouts",
    "memcached_skipped",
    "memcached_dropped",
    "memcached_malformed",
    "memcached_too_long",
    "directory_lookups",
    "directory_batches",
    "directory_renewals",
    "directory_new_keys",
)
