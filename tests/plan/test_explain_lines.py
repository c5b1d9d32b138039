"""What EXPLAIN says besides the plan."""

from __future__ import annotations

from pathlib import Path

from proxy.back.catalog import EMPTY
from proxy.cli.explain_sql import explained
from proxy.plan.places import of_cluster
from proxy.rules.loader import parse
from tests.cache import shop as cached
from tests.plan import shop


def test_a_table_without_a_database_matches_nothing() -> None:
    sql = "SELECT * FROM users, shop.accounts"
    lines, _ = explained(shop.rules(), EMPTY, sql, None)
    assert ("note", "no default database: `users` matches no entry of the rules") in lines
    assert not [value for what, value in explained(shop.rules(), EMPTY, sql, "shop")[0] if what == "note"]


def test_a_reason_names_its_cluster_once() -> None:
    assert of_cluster("main", "no answer") == "main: no answer"
    assert of_cluster("main", "cluster main, primary h:1 needs log_bin") == "cluster main, primary h:1 needs log_bin"


def test_memcached_is_named_where_there_is_one() -> None:
    sql = "SELECT * FROM users WHERE id = 1"
    text = cached.FILE.read_text()
    without = parse(text, Path("rules.yaml"))
    with_one = parse(text + "\ncache: {memcached: [127.0.0.1:11211]}\n", Path("rules.yaml"))
    for rules, ends in ((without, "this worker's memory"), (with_one, "this worker's memory, then memcached")):
        (line,) = [value for what, value in explained(rules, cached.catalog(), sql, "shop")[0] if what == "cache"]
        assert line.endswith(ends)
