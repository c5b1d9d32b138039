"""Prometheus metrics of the cache, by class."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from proxy.admin.overview import WorkerView
from proxy.measure.totals import Totals

_LABELS = ["table", "by"]
_COUNTERS = {  # of CacheTotal.counters: (metric, help, factor)
    "misses": ("turnout_cache_misses", "Reads of a cache class that had to ask the server.", 1.0),
    "fills": ("turnout_cache_fills", "Answers kept in the cache.", 1.0),
    "fill_ns": ("turnout_cache_fill_seconds", "Time that servers took for the answers that were kept.", 1e-9),
    "waits": ("turnout_cache_waits", "Reads that waited for another session's answer to the same statement.", 1.0),
    "sampled": ("turnout_cache_samples", "Served values that were compared with the primary.", 1.0),
    "sampled_stale": ("turnout_cache_samples_stale", "Of these, the ones that the primary no longer had.", 1.0),
}
_REASONS = {  # of CacheTotal: (metric, help)
    "refused": ("turnout_cache_refused", "Values found but not served, by the part of the rule that forbade it."),
    "bypassed": ("turnout_cache_bypassed", "Reads of a cache class that did not look into the cache, by reason."),
    "unfilled": ("turnout_cache_not_kept", "Answers that were not kept, by reason."),
}
_STORE_COUNTERS = {  # of Totals.counters: (metric, help)
    "cache_evictions": ("turnout_cache_evictions", "Values that made room for others in workers' memory."),
    "memcached_gets": ("turnout_memcached_gets", "Values asked of memcached."),
    "memcached_hits": ("turnout_memcached_hits", "Values that memcached had."),
    "memcached_sets": ("turnout_memcached_sets", "Values given to memcached."),
    "memcached_errors": ("turnout_memcached_errors", "Requests to memcached that failed."),
    "memcached_timeouts": ("turnout_memcached_timeouts", "Requests to memcached that took too long."),
    "memcached_skipped": ("turnout_memcached_skipped", "Requests not made because the server was down a moment ago."),
    "memcached_dropped": ("turnout_memcached_dropped", "Values not given to memcached because too many waited."),
    "memcached_malformed": ("turnout_memcached_malformed", "Items of memcached that were not ours or damaged."),
}


def cache(totals: Totals, workers: tuple[WorkerView, ...]) -> Iterator[Metric]:
    """The families of the cache."""
    classes = sorted(totals.caches.items())
    hits = CounterMetricFamily("turnout_cache_hits", "Reads served from memory.", labels=[*_LABELS, "memory"])
    coherent = GaugeMetricFamily(
        "turnout_cache_coherent", "1 if the class follows the binary log; 0: served by age alone (ttl).", labels=_LABELS
    )
    for (table, by, is_coherent), total in classes:
        hits.add_metric([table, by, "local"], total.counters.get("hits_local", 0))
        hits.add_metric([table, by, "memcached"], total.counters.get("hits_memcached", 0))
        coherent.add_metric([table, by], float(is_coherent))
    yield from (hits, coherent)
    for name, (metric, text, factor) in _COUNTERS.items():
        family = CounterMetricFamily(metric, text, labels=_LABELS)
        for (table, by, _), total in classes:
            family.add_metric([table, by], total.counters.get(name, 0) * factor)
        yield family
    for name, (metric, text) in _REASONS.items():
        family = CounterMetricFamily(metric, text, labels=[*_LABELS, "reason"])
        for (table, by, _), total in classes:
            for reason, n in sorted(getattr(total, name).items()):
                family.add_metric([table, by, reason], n)
        yield family
    for name, (metric, text) in _STORE_COUNTERS.items():
        yield CounterMetricFamily(metric, text, totals.counters.get(name, 0))
    size = GaugeMetricFamily("turnout_cache_bytes", "Memory of a worker's cached values.", labels=["worker"])
    entries = GaugeMetricFamily("turnout_cache_entries", "Values in a worker's memory.", labels=["worker"])
    for one in workers:
        size.add_metric([str(one.slot)], one.gauges.get("cache_bytes", 0))
        entries.add_metric([str(one.slot)], one.gauges.get("cache_entries", 0))
    yield from (size, entries)
