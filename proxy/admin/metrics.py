"""Prometheus metrics: the sums of all workers, in the text format that Prometheus scrapes.

Every label is bounded: clusters, servers and workers by the rules, plan kinds by the code, errors and reasons by
`proxy.measure.measures`. The list for operators is in docs/OPERATIONS.md; a test keeps the two the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.admin.cache_metrics import cache, streams
from proxy.admin.overview import Overview, servers
from proxy.measure.shapes import BUCKETS, Histogram, bucket_ns
from proxy.measure.totals import Totals

FIRST_BUCKET, LAST_BUCKET = 4, 25  # exported bounds: 16 us to 34 s, doubling; shorter and longer ones are folded
SERVER_LABELS = ("cluster", "server", "role")

_COUNTERS = {  # of Totals.counters: (metric, help)
    "accepted": ("turnout_connections_accepted", "Connections of clients that were accepted, logged in or not."),
    "plan_hits": ("turnout_plan_cache_hits", "Statements whose shape was in the plan cache."),
    "plan_misses": ("turnout_plan_cache_misses", "Statements whose shape had to be parsed and planned."),
    "plan_evictions": ("turnout_plan_cache_evictions", "Plans that made room for others."),
    "directory_lookups": ("turnout_directory_lookups", "Keys of directory shardings that were looked up on home."),
    "directory_batches": ("turnout_directory_batches", "Statements by which they were."),
    "directory_renewals": ("turnout_directory_renewals", "Leases of directories that a look at home renewed."),
    "directory_new_keys": ("turnout_directory_new_keys", "Keys that INSERTs brought and that were given a cluster."),
    "slow_statements": ("turnout_slow_statements", "Statements that took longer than limits.slow_statement."),
}
_LABELLED = {  # of Totals.labelled: (metric, label, help)
    "pins": ("turnout_session_pins", "reason", "Times that a session became pinned to its connection."),
    "errors": ("turnout_client_errors", "errno", "Error packets sent to clients, by MySQL error number."),
    "refused": (
        "turnout_refused_statements",
        "reason",
        "Statements refused because they could not be shown to be right.",
    ),
    "fallbacks": (
        "turnout_fallbacks",
        "reason",
        "Plans whose answers could not be merged, or brought in place, so that rows are pulled instead.",
    ),
    "logins": ("turnout_logins", "outcome", "Logins of clients: ok, or why not."),
    "atomic": ("turnout_atomic_commits", "outcome", "COMMITs in two phases: committed, rolled back or unknown."),
    "recovered": (
        "turnout_recovered_branches",
        "outcome",
        "Branches that recovery finished for somebody else: committed or rolled back.",
    ),
    "kills": ("turnout_kills", "what", "KILLs carried out: query or connection for clients, or statement time."),
    "dismissed": ("turnout_clients_dismissed", "reason", "Clients whose connection was ended because of a limit."),
}
_SERVER_COUNTERS = {  # of ServerTotal.counters: (metric, help, factor)
    "commands": ("turnout_server_commands", "Commands of clients sent to the server.", 1.0),
    "preludes": (
        "turnout_server_prelude_commands",
        "Commands sent before them to carry settings and transactions over.",
        1.0,
    ),
    "waits": ("turnout_pool_waits", "Statements that had to wait for a connection.", 1.0),
    "wait_ns": ("turnout_pool_wait_seconds", "Time that statements waited for a connection.", 1e-9),
    "waits_timed_out": (
        "turnout_pool_wait_timeouts",
        "Statements that failed because no connection came free in time.",
        1.0,
    ),
    "waits_refused": ("turnout_pool_wait_refusals", "Statements that failed because too many waited already.", 1.0),
    "opened": ("turnout_server_connections_opened", "Connections opened to the server.", 1.0),
}


class OverviewCollector(Collector):
    """Makes the families anew from what `look` returns, at every scrape."""

    def __init__(self, look: Callable[[], Overview]) -> None:
        self._look = look

    def describe(self) -> Iterable[Metric]:
        return []  # registering must not collect: there is nothing to look at yet

    def collect(self) -> Iterator[Metric]:
        overview = self._look()
        yield from _process(overview)
        yield from _statements(overview.totals)
        yield from _counts(overview.totals)
        yield from _servers(overview)
        yield from cache(overview.totals, overview.workers)
        yield from streams(overview.streams)
        yield from _workers(overview)


def registry(look: Callable[[], Overview]) -> CollectorRegistry:
    made = CollectorRegistry(auto_describe=False)
    made.register(OverviewCollector(look))
    return made


def _process(overview: Overview) -> Iterator[Metric]:
    info = GaugeMetricFamily("turnout_build_info", "1; the version is a label.", labels=["version"])
    info.add_metric([overview.version], 1)
    yield info
    yield GaugeMetricFamily("turnout_ready", "1 if clients are accepted.", float(overview.ready))
    yield GaugeMetricFamily("turnout_start_time_seconds", "Unix time of the supervisor's start.", overview.started)
    yield GaugeMetricFamily("turnout_rules_loaded_seconds", "Unix time of the last good reload.", overview.rules_loaded)
    reloads = CounterMetricFamily("turnout_rules_reloads", "Times that the rules were read again.", labels=["outcome"])
    reloads.add_metric(["ok"], overview.reloads_ok)
    reloads.add_metric(["failed"], overview.reloads_failed)
    yield reloads


def _statements(totals: Totals) -> Iterator[Metric]:
    labels = ["plan", "cluster"]
    count = CounterMetricFamily("turnout_statements", "Statements, by kind of plan and cluster.", labels=labels)
    errors = CounterMetricFamily("turnout_statement_errors", "Statements that failed.", labels=labels)
    rows = CounterMetricFamily("turnout_statement_rows", "Rows sent to clients.", labels=labels)
    sent = CounterMetricFamily("turnout_statement_sent_bytes", "Bytes of answers sent to clients.", labels=labels)
    total = HistogramMetricFamily(
        "turnout_statement_seconds", "From a statement's first byte to its answer's last.", labels=labels
    )
    server = HistogramMetricFamily(
        "turnout_statement_server_seconds", "The part of it spent waiting for servers.", labels=labels
    )
    proxy = HistogramMetricFamily("turnout_statement_proxy_seconds", "The part of it spent in Turnout.", labels=labels)
    for key, group in sorted(totals.groups.items()):
        count.add_metric(key, group.count)
        errors.add_metric(key, group.errors)
        rows.add_metric(key, group.rows)
        sent.add_metric(key, group.sent_bytes)
        for family, histogram in ((total, group.total), (server, group.server), (proxy, group.proxy)):
            family.add_metric(key, exported(histogram), histogram.sum_ns / 1e9)
    yield from (count, errors, rows, sent, total, server, proxy)
    yield GaugeMetricFamily("turnout_shapes", "Shapes with measurements.", len(totals.shapes))
    yield CounterMetricFamily(
        "turnout_shapes_forgotten", "Shapes that made room for others in the measurements.", totals.shapes_forgotten
    )


def exported(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound in seconds, as Prometheus wants them."""
    buckets: list[tuple[str, float]] = []
    seen = sum(histogram.counts[:FIRST_BUCKET])
    for i in range(FIRST_BUCKET, LAST_BUCKET + 1):
        seen += histogram.counts[i]
        buckets.append((repr(bucket_ns(i)[1] / 1e9), seen))
    buckets.append(("+Inf", seen + sum(histogram.counts[LAST_BUCKET + 1 : BUCKETS])))
    return buckets


def _counts(totals: Totals) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "turnout_busy_poll_seconds",
        "Processor time of workers that stayed awake for what came next.",
        totals.counters.get("busy_poll_ns", 0) / 1e9,
    )
    for name, (metric, text) in _COUNTERS.items():
        yield CounterMetricFamily(metric, text, totals.counters.get(name, 0))
    for name, (metric, label, text) in _LABELLED.items():
        family = CounterMetricFamily(metric, text, labels=[label])
        for value, n in sorted(totals.labelled.get(name, {}).items()):
            family.add_metric([value], n)
        yield family


def _servers(overview: Overview) -> Iterator[Metric]:
    labels = list(SERVER_LABELS)
    up = GaugeMetricFamily(
        "turnout_server_up", "1 if the server answers all workers; none if not known.", labels=labels
    )
    read_only = GaugeMetricFamily("turnout_server_read_only", "1 if the server refuses writes.", labels=labels)
    lag = GaugeMetricFamily("turnout_replica_lag_seconds", "How far a replica is behind, if known.", labels=labels)
    connections = GaugeMetricFamily(
        "turnout_server_connections", "Open connections to the server.", labels=[*labels, "state"]
    )
    pinned = GaugeMetricFamily(
        "turnout_server_connections_pinned", "Of the busy ones, those that a session cannot give back.", labels=labels
    )
    limit = GaugeMetricFamily("turnout_server_connections_limit", "Most connections to the server.", labels=labels)
    waiting = GaugeMetricFamily("turnout_pool_waiting", "Statements waiting for a connection.", labels=labels)
    for one in servers(overview.workers):
        key = [one.cluster, one.address, one.role]
        if one.state != "unknown":
            up.add_metric(key, float(one.state == "up"))
            read_only.add_metric(key, float(one.read_only))
        if one.lag_s is not None:
            lag.add_metric(key, one.lag_s)
        connections.add_metric([*key, "busy"], one.busy)
        connections.add_metric([*key, "idle"], one.idle)
        pinned.add_metric(key, one.pinned)
        limit.add_metric(key, one.limit)
        waiting.add_metric(key, one.waiters)
    yield from (up, read_only, lag, connections, pinned, limit, waiting)
    totals = sorted(overview.totals.servers.items())
    for name, (metric, text, factor) in _SERVER_COUNTERS.items():
        family = CounterMetricFamily(metric, text, labels=labels)
        for where, server in totals:
            family.add_metric(where, server.counters.get(name, 0) * factor)
        yield family
    failed = CounterMetricFamily(
        "turnout_server_connection_failures", "Connections that could not be opened.", labels=[*labels, "reason"]
    )
    closed = CounterMetricFamily(
        "turnout_server_connections_closed", "Connections that were closed.", labels=[*labels, "reason"]
    )
    for where, server in totals:
        for family, counts in ((failed, server.open_failed), (closed, server.closed)):
            for reason, n in sorted(counts.items()):
                family.add_metric([*where, reason], n)
    yield from (failed, closed)


def _workers(overview: Overview) -> Iterator[Metric]:
    labels = ["worker"]
    ready = GaugeMetricFamily("turnout_worker_ready", "1 if the worker accepts clients.", labels=labels)
    restarts = CounterMetricFamily("turnout_worker_restarts", "Times that the worker was replaced.", labels=labels)
    memory = GaugeMetricFamily("turnout_worker_memory_bytes", "Resident memory of the worker.", labels=labels)
    clients = GaugeMetricFamily("turnout_clients", "Clients connected.", labels=labels)
    plans = GaugeMetricFamily("turnout_plan_cache_entries", "Plans in the worker's cache.", labels=labels)
    known = GaugeMetricFamily(
        "turnout_directory_entries", "Keys of directory shardings that the worker knows.", labels=labels
    )
    for one in overview.workers:
        key = [str(one.slot)]
        known.add_metric(key, one.gauges.get("directory_entries", 0))
        ready.add_metric(key, float(one.state == "ready"))
        restarts.add_metric(key, one.restarts)
        memory.add_metric(key, one.memory_bytes)
        clients.add_metric(key, one.gauges.get("clients", 0))
        plans.add_metric(key, one.gauges.get("plans", 0))
    yield from (ready, restarts, memory, clients, plans, known)
    yield GaugeMetricFamily(
        "turnout_prepared_branches",
        "Parts of transactions over several clusters that are prepared now, on all clusters.",
        sum(one.gauges.get("prepared_branches", 0) for one in overview.workers),
    )
    yield CounterMetricFamily(
        "turnout_worker_cpu_seconds", "Processor time of all workers.", overview.totals.counters.get("cpu_us", 0) / 1e6
    )
