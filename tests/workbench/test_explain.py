"""`turnout explain` of a SELECT for the workbench: what is pulled with its literals, and what then runs."""

from __future__ import annotations

from proxy.cli.explain_sql import explained
from tests.plan import shop


def test_pulls_and_the_final_statement() -> None:
    sql = (
        "SELECT a.id FROM orders a JOIN orders b ON b.total = a.total JOIN photos p ON p.id = a.id WHERE p.album_id = 7"
    )
    lines, refused = explained(shop.rules(workbench="main"), shop.catalog(), sql, "shop")
    assert not refused
    assert ("plan", "workbench") in lines
    assert [value for what, value in lines if what == "pulls"] == [
        "shop.photos from media where `album_id` IN (7)",
        "shop.orders from shard0, shard1",
    ]
    assert lines[-1] == ("then on main", sql.replace("JOIN orders b", "JOIN `turnout_copy_1` b"))


def test_what_is_answered_in_place() -> None:
    sql = "SELECT name FROM users JOIN photos ON photos.id = users.id WHERE users.id = (SELECT MAX(id) FROM orders)"
    lines, refused = explained(shop.rules(workbench="main"), shop.catalog(), sql, "shop")
    assert not refused
    assert [(what, value) for what, value in lines if what.startswith("asks ")] == [
        ("asks shard0", "SELECT MAX(id) FROM orders"),
        ("asks shard1", "SELECT MAX(id) FROM orders"),
    ]
    assert lines[-1][1] == sql.replace("SELECT MAX(id) FROM orders", "SELECT * FROM `shop`.`turnout_part_0`")


def test_without_a_workbench_it_says_what_would_help() -> None:
    lines, refused = explained(shop.rules(), shop.catalog(), "SELECT * FROM users JOIN photos", "shop")
    assert refused
    assert lines[-1][1].endswith("Or give the rules a `workbench:`.")


def test_around_a_select_for_the_workbench() -> None:
    rules, catalog = shop.rules(workbench="main"), shop.catalog()
    sql = "SELECT u.name FROM users u JOIN photos p ON p.user_id = u.id WHERE p.album_id = 7"
    lines, refused = explained(rules, catalog, f"EXPLAIN {sql}", "shop")
    assert not refused
    assert lines[-1] == ("explains", "shop.photos on media where `album_id` IN (7)")
    lines, refused = explained(rules, catalog, f"SET STATEMENT max_statement_time = 1 FOR {sql}", "shop")
    assert not refused
    assert lines[-1] == ("runs in the settings", sql)
