"""What a worker's cache did, by cache class: counters, handed on as windows (see `proxy.measure.measures`)."""

from __future__ import annotations

from proxy.measure.windows import CacheWindow

CACHE_COUNTERS = (
    "hits_local",
    "hits_memcached",
    "misses",
    "fills",
    "fill_ns",
    "unasked",
    "waits",
    "lease_waits",
    "lease_hits",
    "sampled",
    "sampled_stale",
    "sampled_stale_ns",
    "sampled_wrong",
)


class CacheStats:
    """Counters of one class. Whoever serves it adds to the attributes."""

    __slots__ = ("bypassed", "by", "coherent", "refused", "table", "unfilled", *CACHE_COUNTERS)

    def __init__(self, table: str, by: str, coherent: bool) -> None:
        self.table = table  # database.table
        self.by = by  # the class's columns, comma separated
        self.coherent = coherent  # False: served by age alone (ttl)
        self.refused: dict[str, int] = {}  # values found but not served, by the part of the rule that forbade it
        self.bypassed: dict[str, int] = {}  # reads of the class that did not look, by reason
        self.unfilled: dict[str, int] = {}  # answers that were not kept, by reason
        self._clear()

    def _clear(self) -> None:
        self.hits_local = self.hits_memcached = self.misses = 0
        self.fills = self.fill_ns = 0  # answers kept, and how long their statements took on the server
        self.unasked = 0  # misses for which memcached was not asked, since it hardly ever has anything
        self.waits = 0  # reads that waited for another session's fill of the same key
        self.lease_waits = self.lease_hits = 0  # and for another worker's; those that got its answer
        self.sampled = self.sampled_stale = 0  # served values compared with the primary, and those that differed
        self.sampled_stale_ns = 0  # how long ago the latter had been kept
        self.sampled_wrong = 0  # and those that were still served, and still differed, when no write may be unseen

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def bypass(self, reason: str) -> None:
        self.bypassed[reason] = self.bypassed.get(reason, 0) + 1

    def not_kept(self, reason: str) -> None:
        self.unfilled[reason] = self.unfilled.get(reason, 0) + 1

    def take(self) -> CacheWindow:
        window = CacheWindow(
            self.table,
            self.by,
            self.coherent,
            {name: n for name in CACHE_COUNTERS if (n := getattr(self, name))},
            self.refused,
            self.bypassed,
            self.unfilled,
        )
        self.refused, self.bypassed, self.unfilled = {}, {}, {}
        self._clear()
        return window
