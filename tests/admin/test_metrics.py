"""Metrics: values, units, names that Prometheus accepts, and the list in docs/OPERATIONS.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.metrics import registry
from proxy.admin.overview import Overview

ROOT = Path(__file__).resolve().parents[2]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(overview: Overview) -> Samples:
    text = generate_latest(registry(lambda: overview)).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_statements_by_plan_and_cluster(overview: Overview) -> None:
    found = samples(overview)
    assert value(found, "turnout_statements_total", plan="shard", cluster="several") == 200
    assert value(found, "turnout_statements_total", plan="forward", cluster="media") == 2
    assert value(found, "turnout_statements_total", plan="local", cluster="none") == 2
    assert value(found, "turnout_statement_errors_total", plan="shard", cluster="several") == 2
    assert value(found, "turnout_statement_rows_total", plan="shard", cluster="several") == 198
    assert value(found, "turnout_statement_sent_bytes_total", plan="shard", cluster="several") == 2 * (99 * 200 + 50)


def test_time_is_split_between_proxy_and_servers(overview: Overview) -> None:
    found = samples(overview)
    key = {"plan": "forward", "cluster": "media"}
    assert value(found, "turnout_statement_seconds_sum", **key) == 1.8
    assert value(found, "turnout_statement_server_seconds_sum", **key) == 1.78
    assert round(value(found, "turnout_statement_proxy_seconds_sum", **key), 6) == 0.02
    for part in ("", "server_", "proxy_"):
        assert value(found, f"turnout_statement_{part}seconds_count", **key) == 2


def test_histogram_buckets_are_cumulative_and_complete(overview: Overview) -> None:
    key = {"plan": "shard", "cluster": "several"}
    buckets = sorted(
        (float(dict(labels)["le"]), count)
        for (name, labels), count in samples(overview).items()
        if name == "turnout_statement_seconds_bucket" and key.items() <= dict(labels).items()
    )
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert buckets[-1] == (float("inf"), 200)
    assert max(le for le, count in buckets if count == 0) < 0.002 <= min(le for le, count in buckets if count == 198)
    assert max(le for le, count in buckets if count == 198) < 0.04 <= min(le for le, count in buckets if count == 200)


def test_times_below_the_first_bound_are_in_the_first_bucket(overview: Overview) -> None:
    found = samples(overview)
    assert value(found, "turnout_statement_seconds_bucket", plan="local", cluster="none", le="1.6384e-05") == 2


def test_servers(overview: Overview) -> None:
    found = samples(overview)
    main = {"cluster": "main", "server": "127.0.0.1:3306", "role": "primary"}
    replica = {"cluster": "main", "server": "127.0.0.1:3316", "role": "replica"}
    media = {"cluster": "media", "server": "127.0.0.1:3326", "role": "primary"}
    shard0 = {"cluster": "shard0", "server": "127.0.0.1:3336", "role": "primary"}
    assert value(found, "turnout_server_up", **main) == 1
    assert value(found, "turnout_server_up", **media) == 0, "one worker says that it is down"
    assert ("turnout_server_up", frozenset(shard0.items())) not in found, "not known is neither up nor down"
    assert value(found, "turnout_replica_lag_seconds", **replica) == 1.25
    assert ("turnout_replica_lag_seconds", frozenset(main.items())) not in found
    assert value(found, "turnout_server_connections", **main, state="busy") == 4
    assert value(found, "turnout_server_connections_pinned", **main) == 2
    assert value(found, "turnout_pool_waiting", **main) == 8
    assert value(found, "turnout_pool_wait_seconds_total", **main) == 1.0
    assert value(found, "turnout_server_connections_opened_total", **main) == 4
    assert value(found, "turnout_server_connection_failures_total", **main, reason="refused") == 2
    assert value(found, "turnout_server_connections_closed_total", **main, reason="idle") == 2


def test_everything_else_that_is_counted(overview: Overview) -> None:
    found = samples(overview)
    assert value(found, "turnout_client_errors_total", errno="1062") == 2
    assert value(found, "turnout_session_pins_total", reason="user-variable") == 2
    assert value(found, "turnout_logins_total", outcome="wrong-password") == 2
    assert value(found, "turnout_refused_statements_total", reason="cross-cluster-join") == 2
    assert value(found, "turnout_kills_total", what="query") == 2
    assert value(found, "turnout_plan_cache_hits_total") == 198
    assert value(found, "turnout_clients", worker="1") == 4
    assert value(found, "turnout_worker_ready", worker="2") == 0
    assert value(found, "turnout_worker_restarts_total", worker="2") == 4
    assert value(found, "turnout_rules_reloads_total", outcome="failed") == 1
    assert value(found, "turnout_build_info", version="1.2.3") == 1
    assert value(found, "turnout_ready") == 1


def test_a_stopping_turnout_is_not_ready(changed: Callable[..., Overview]) -> None:
    assert value(samples(changed(stopping=True)), "turnout_ready") == 0


def test_the_documented_metrics_are_the_exported_ones(overview: Overview) -> None:
    text = generate_latest(registry(lambda: overview)).decode()
    exported = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    documented = set(re.findall(r"^\| `(turnout_\w+)`", (ROOT / "docs" / "OPERATIONS.md").read_text(), re.MULTILINE))
    assert exported == documented
    assert all(re.fullmatch(r"turnout_[a-z0-9_]+", name) for name in exported)
