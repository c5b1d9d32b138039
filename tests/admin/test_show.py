"""SHOW TURNOUT: every table's rows, sorted for the eye, over all workers."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.admin.explain import explain
from proxy.admin.overview import Overview
from proxy.admin.show import TABLES, show
from proxy.errors import StatementRefused
from tests.admin.conftest import run


def shown(overview: Overview, what: str) -> list[dict[str, Any]]:
    columns, rows = run(show(what, overview))
    assert all(len(row) == len(columns) for row in rows)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_clusters_add_up_connections_and_show_health_at_its_worst(overview: Overview) -> None:
    primary, replica, media, shard0 = shown(overview, "CLUSTERS")
    assert primary == {
        "cluster": "main",
        "role": "primary",
        "address": "127.0.0.1:3306",
        "state": "up",
        "lag_s": None,
        "busy": 4,
        "idle": 2,
        "pinned": 2,
        "waiting": 8,
        "limit": 200,
        "read_only": "no",
        "reason": "",
    }
    assert (replica["role"], replica["lag_s"], replica["read_only"]) == ("replica", 1.25, "yes")
    assert (media["state"], media["reason"]) == ("down", "refused")
    assert shard0["state"] == "unknown"


def test_shapes_come_by_total_time(overview: Overview) -> None:
    slow, fast, local = shown(overview, "shapes")
    assert slow["shape"] == "SELECT COUNT(*) FROM photos"
    assert (slow["count"], slow["total_s"], slow["mean_ms"], slow["max_ms"]) == (2, 1.8, 900.0, 900.0)
    assert slow["server_pct"] == 99
    assert (fast["count"], fast["errors"], fast["rows"]) == (200, 2, 198)
    assert fast["mean_ms"] == 2.38
    assert 1.05 < fast["p95_ms"] < 2.2
    assert fast["max_ms"] == 40.0
    assert (fast["plan"], fast["clusters"], fast["tables"]) == ("shard", "shard0, shard1", "shop.orders")
    assert fast["last_seen"] == "2023-11-14 22:15:00"
    assert local["clusters"] == ""


def test_limit(overview: Overview) -> None:
    assert [row["plan"] for row in shown(overview, "Shapes limit 1;")] == ["forward"]
    assert shown(overview, "SHAPES LIMIT 0") == []


def test_sessions_come_by_id(overview: Overview) -> None:
    first, second = shown(overview, "SESSIONS")
    assert first == {
        "id": 64,
        "user": "app",
        "host": "10.0.0.1:4",
        "database": "shop",
        "state": "running",
        "seconds": 1.235,
        "transaction": "yes",
        "pinned": "temporary-table",
        "cluster": "main",
        "shape": "ab",
        "statements": 7,
        "worker": 0,
    }
    assert (second["id"], second["database"], second["transaction"]) == (129, None, "no")


def test_tables_say_where_they_are_and_what_they_cost(overview: Overview) -> None:
    rows = {row["table"]: row for row in shown(overview, "TABLES")}
    assert list(rows)[:2] == ["photos", "Orders"], "by time; names as the rules write them"
    assert rows["photos"] == {
        "database": "shop",
        "table": "photos",
        "place": "cluster: media",
        "key": "",
        "reads": "replicas",
        "statements": 2,
        "errors": 0,
        "total_s": 1.8,
    }
    assert (rows["Orders"]["place"], rows["Orders"]["key"]) == ("sharding: customer", "customer_id")
    assert rows["Orders"]["statements"] == 200
    assert rows["countries"]["place"] == "everywhere"
    assert (rows["accounts"]["place"], rows["accounts"]["reads"]) == ("cluster: main", "primary")


def test_rules_are_shown_without_passwords(overview: Overview) -> None:
    text = "\n".join(str(row["rules"]) for row in shown(overview, "RULES"))
    assert "hunter" not in text
    assert "photos: {cluster: media}" in text


def test_workers(overview: Overview) -> None:
    first, second, third = shown(overview, "WORKERS")
    assert (first["worker"], first["pid"], first["state"], first["clients"]) == (0, 1000, "ready", 3)
    assert (first["started"], first["memory_mb"]) == ("2023-11-14 22:13:20", 32.0)
    assert second["restarts"] == 1
    assert (third["pid"], third["state"], third["started"], third["restarts"]) == (None, "down", None, 4)


def test_sequences_add_up_over_workers(overview: Overview) -> None:
    columns, rows = run(show("SEQUENCES", overview))
    assert columns == ["cluster", "sequence", "next_id", "at_hand", "block", "workers", "problem"]
    assert rows == [
        ["main", "shop.events", 17, 0, 0, 0, ""],
        ["main", "shop.orders", 3001, 1000, 1000, 2, ""],
        ["media", "", None, 0, 0, 0, "no such table"],
    ]


def test_status(overview: Overview) -> None:
    values = {row["what"]: row["value"] for row in shown(overview, "STATUS")}
    assert (values["state"], values["clients"], values["statements"], values["errors"]) == ("ready", 7, 204, 2)
    assert (values["reloads"], values["reloads_failed"], values["last_reload_problem"]) == (2, 1, "line 3")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("SHAPE", "No SHOW TURNOUT SHAPE. Did you mean SHAPES? There are: CLUSTERS, SHAPES"),
        ("SHAPES LIMIT x", "No SHOW TURNOUT SHAPES LIMIT x"),
        ("", "SHOW TURNOUT needs the name of a table. There are: CLUSTERS"),
        ("zebras", "No SHOW TURNOUT zebras. There are: CLUSTERS"),
    ],
)
def test_what_there_is_not_gets_a_suggestion(overview: Overview, what: str, message: str) -> None:
    with pytest.raises(StatementRefused) as caught:
        run(show(what, overview))
    assert message in caught.value.message


def test_every_table_of_an_idle_turnout_has_its_columns(changed: Any) -> None:
    from proxy.measure.totals import Totals

    idle = changed(totals=Totals(), workers=())
    for name in TABLES:
        columns, rows = run(show(name, idle))
        assert columns
        assert all(len(row) == len(columns) for row in rows)


def test_explain_is_the_plans_own_words() -> None:
    class Plan:
        notes = ("a note",)

        def describe(self) -> list[tuple[str, str]]:
            return [("plan", "forward"), ("cluster", "main"), ("note", "a note")]

    assert explain(Plan()) == (
        ["what", "value"],
        [["plan", "forward"], ["cluster", "main"], ["note", "a note"]],
    )
