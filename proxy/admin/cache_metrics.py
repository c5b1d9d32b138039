"""Prometheus metrics of the cache, by class."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from proxy.admin.overview import StreamView, WorkerView
from proxy.measure.totals import Totals

_LABELS = ["table", "by"]
_COUNTERS = {  # of CacheTotal.counters: (metric, help, factor)
    "misses": ("turnout_cache_misses", "Reads of a cache class that had to ask the server.", 1.0),
    "fills": ("turnout_cache_fills", "Answers kept in the cache.", 1.0),
    "fill_ns": ("turnout_cache_fill_seconds", "Time that servers took for the answers that were kept.", 1e-9),
    "unasked": ("turnout_cache_unasked", "Misses for which memcached was not asked: it hardly ever has them.", 1.0),
    "waits": ("turnout_cache_waits", "Reads that waited for another session's answer to the same statement.", 1.0),
    "lease_waits": ("turnout_cache_lease_waits", "Reads that waited for another worker's answer in memcached.", 1.0),
    "lease_hits": ("turnout_cache_lease_hits", "Of these, the ones that got it.", 1.0),
    "sampled": ("turnout_cache_samples", "Served values that were compared with the primary.", 1.0),
    "sampled_stale": ("turnout_cache_samples_stale", "Of these, the ones that the primary no longer had.", 1.0),
    "sampled_stale_ns": (
        "turnout_cache_samples_stale_seconds",
        "How long ago those had been asked of the server, added up.",
        1e-9,
    ),
    "sampled_wrong": (
        "turnout_cache_samples_wrong",
        "Of these, the ones still served, and still different, after the limit of staleness: 0, or a defect.",
        1.0,
    ),
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
    "memcached_too_long": ("turnout_memcached_too_long", "Values not given to memcached because of its item size."),
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
    yield from _sizes(workers)


def _sizes(workers: tuple[WorkerView, ...]) -> Iterator[Metric]:
    size = GaugeMetricFamily("turnout_cache_bytes", "Memory of a worker's cached values.", labels=["worker"])
    entries = GaugeMetricFamily("turnout_cache_entries", "Values in a worker's memory.", labels=["worker"])
    for one in workers:
        size.add_metric([str(one.slot)], one.gauges.get("cache_bytes", 0))
        entries.add_metric([str(one.slot)], one.gauges.get("cache_entries", 0))
    yield from (size, entries)


_STREAM_COUNTERS = {  # of StreamView.counters: (metric, help, factor)
    "connected": ("turnout_stream_connects", "Times that the stream process connected to the server.", 1.0),
    "events": ("turnout_stream_events", "Events of the binary log that were read.", 1.0),
    "rows": ("turnout_stream_rows", "Rows of cached tables that were decoded.", 1.0),
    "transactions": ("turnout_stream_transactions", "Transactions that were read.", 1.0),
    "unknown": ("turnout_stream_unknown_events", "Events that were not understood: all counted as changed.", 1.0),
    "incarnations": ("turnout_stream_incarnations", "Times that following began anew and all values were lost.", 1.0),
    "cpu_us": ("turnout_stream_cpu_seconds", "Processor time of the stream process.", 1e-6),
}


def streams(views: tuple[StreamView, ...]) -> Iterator[Metric]:
    """The families of the stream processes, by cluster."""
    labels = ["cluster"]
    up = GaugeMetricFamily("turnout_stream_up", "1 if the cluster's binary log is followed.", labels=labels)
    lag = GaugeMetricFamily(
        "turnout_stream_lag_seconds", "Age of the newest moment that is wholly known.", labels=labels
    )
    restarts = CounterMetricFamily("turnout_stream_restarts", "Times that the process was replaced.", labels=labels)
    memory = GaugeMetricFamily("turnout_stream_memory_bytes", "Resident memory of the process.", labels=labels)
    for one in views:
        up.add_metric([one.cluster], float(one.following))
        if one.lag_s is not None:
            lag.add_metric([one.cluster], one.lag_s)
        restarts.add_metric([one.cluster], one.restarts)
        memory.add_metric([one.cluster], one.memory_bytes)
    yield from (up, lag, restarts, memory)
    for name, (metric, text, factor) in _STREAM_COUNTERS.items():
        family = CounterMetricFamily(metric, text, labels=labels)
        for one in views:
            family.add_metric([one.cluster], one.counters.get(name, 0) * factor)
        yield family
