"""Which foreign keys the rules keep, by where their tables are; and tables that a move has left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.back.catalog import Catalog, Column, ForeignKey, TableSchema
from proxy.plan.foreign_keys import Apart, apart, left_behind
from proxy.rules.loader import parse
from proxy.rules.model import Rules

RULES = """
turnout: 1
listen: {mysql: 127.0.0.1:3307}
users: {app: {password: secret}}
service: {user: turnout, password: secret}
clusters:
  main: {primary: 127.0.0.1:3306}
  media: {primary: 127.0.0.1:3326}
  other: {primary: 127.0.0.1:3336}
shardings:
  s: {method: hash, clusters: [media, other]}
  t: {method: hash, clusters: [media, other]}
databases:
  shop:
    home: main
    tables:
"""


def rules(cust: str = "", ord_: str = "") -> Rules:
    tables = [f"      {name}: {entry}" for name, entry in (("cust", cust), ("ord", ord_)) if entry]
    return parse(RULES.rstrip() + (" {}\n" if not tables else "\n" + "\n".join(tables) + "\n"), Path("rules.yaml"))


def catalog(*places: str, action: str = "cascade", columns: str = "cust_id") -> Catalog:
    """Places such as `main.cust`, `main.ord`: a table that a cluster has; `media.ord-`: without the key."""
    tables = {}
    for one in places:
        cluster, _, name = one.partition(".")
        key = ForeignKey("ord_fk", ("shop", "ord"), (columns,), ("shop", "cust"), ("id",), action, "restrict")
        keys = (key,) if name == "ord" else ()
        name = name.rstrip("-")
        tables[cluster, "shop", name] = TableSchema("shop", name, (Column("id", "int"),), foreign_keys=keys)
    return Catalog(tables, 1)


def one(found: tuple[Apart, ...]) -> Apart:
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("cust", "ord_", "places"),
    [
        ("", "", "main.cust main.ord"),
        ("{cluster: media}", "{cluster: media}", "media.cust media.ord main.cust main.ord"),  # copies keep each other
        ("{everywhere: true}", "", "main.cust media.cust other.cust main.ord"),
        ("{everywhere: true}", "{sharding: s, key: cust_id}", "media.cust other.cust media.ord other.ord"),
        ("{sharding: s, key: id}", "{sharding: s, key: cust_id}", "media.cust other.cust media.ord other.ord"),
        ("", "{cluster: media}", "main.cust media.ord- other.ord"),  # where nothing is written
    ],
)
def test_kept(cust: str, ord_: str, places: str) -> None:
    assert apart(rules(cust, ord_), catalog(*places.split())) == ()


@pytest.mark.parametrize(
    ("cust", "ord_", "places", "on", "says"),
    [
        ("", "{cluster: media}", "main.cust media.ord", "media", "every INSERT into shop.ord there fails with 1452"),
        ("", "{cluster: media}", "main.cust media.cust media.ord", "media", "1452 where the copy lacks"),
        ("{cluster: media}", "", "main.ord media.cust main.cust", "main", "1452 where the copy lacks"),
        ("", "{cluster: media}", "main.cust main.ord", "main", "changes it instead of shop.ord"),
        ("", "{cluster: media}", "main.cust main.ord", "main", "where these rules place it without the key"),
        ("", "{cluster: media}", "main.cust main.ord media.ord", "media main", "drop it there, or its key"),
        ("", "{sharding: s, key: cust_id}", "main.cust media.ord other.ord", "media other", "`everywhere: true`"),
        ("{sharding: s, key: id}", "", "main.ord media.cust other.cust", "main", "one cluster"),
        (
            "{sharding: s, key: id}",
            "{sharding: s, key: id}",
            "media.cust other.cust media.ord other.ord",
            "media other",
            "its own rows of shop.cust only",
        ),
        (
            "{sharding: s, key: id}",
            "{sharding: t, key: cust_id}",
            "media.cust other.cust media.ord other.ord",
            "media other",
            "1452 where the parent's row is on another cluster",
        ),
    ],
)
def test_taken_apart(cust: str, ord_: str, places: str, on: str, says: str) -> None:
    found = one(apart(rules(cust, ord_), catalog(*places.split())))
    assert found.on == tuple(on.split())
    assert found.grave
    assert says in found.message
    assert "NOT KEPT" in found.message
    assert "does not CASCADE in shop.ord" in found.message
    assert "Foreign key `ord_fk` (cust_id) REFERENCES shop.cust (id) ON DELETE CASCADE" in found.message


def test_without_an_action_children_stay_without_a_parent() -> None:
    found = one(apart(rules("", "{cluster: media}"), catalog("main.cust", "media.ord", "main.ord", action="restrict")))
    assert "A DELETE from shop.cust is not refused because of rows of shop.ord" in found.message
    assert "fails with 1451 while that copy has a row of it" in found.message
    assert "ALTER TABLE `shop`.`ord` DROP FOREIGN KEY `ord_fk`" in found.message


@pytest.mark.parametrize(
    ("cust", "ord_", "places"),
    [
        # The operator has made the child without the key where it is now.
        ("", "{cluster: media}", "main.cust main.ord media.ord-"),
        ("{everywhere: true}", "{cluster: media}", "main.cust media.cust other.cust main.ord media.ord"),
    ],
)
def test_a_copy_in_the_way_is_not_grave(cust: str, ord_: str, places: str) -> None:
    found = one(apart(rules(cust, ord_), catalog(*places.split())))
    assert not found.grave
    assert found.on == ("main",)
    assert "Cluster main has a copy of shop.ord with the key" in found.message


def test_tables_left_behind() -> None:
    found = left_behind(
        rules("{everywhere: true}", "{cluster: media}"),
        catalog("main.cust", "media.cust", "other.cust", "main.ord", "media.ord", "other.plain", "gone.plain"),
    )
    assert found == {("shop", "main"): ["ord"], ("shop", "other"): ["plain"]}
