"""A shop with cache classes, as the planner sees it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.rules.loader import parse
from proxy.rules.model import Rules
from tests.plan.shop import column

FILE = Path(__file__).with_name("shop.yaml")
DATABASE = "shop"


def rules() -> Rules:
    return parse(FILE.read_text(), FILE)


def _table(name: str, columns: list[Column], *unique: tuple[str, ...], **more: object) -> TableSchema:
    schema = TableSchema(
        DATABASE, name, tuple(columns), primary_key=unique[0] if unique else (), unique_keys=unique, engine="InnoDB"
    )
    return dataclasses.replace(schema, **more)  # type: ignore[arg-type]


def _id() -> Column:
    return column("id", auto_increment=True)


def _text(name: str) -> Column:
    return column(name, "varchar(20)")


_MAIN = [
    _table(
        "users",
        [_id(), _text("email"), column("team"), _text("name")],
        ("id",),
        ("email",),
        cascades=(("shop", "posts"), ("shop", "audits")),
    ),
    _table("posts", [_id(), column("user_id"), _text("title")], ("id",), cascades=(("shop", "comments"),)),
    _table("comments", [_id(), column("post_id"), _text("text")], ("id",)),
    _table("audits", [_id(), column("user_id")], ("id",)),
    _table("settings", [column("user_id"), _text("name"), _text("value")], ("user_id", "name")),
    _table("counters", [column("id"), column("n")], ("id",)),
    _table("tokens", [column("token", "varchar(64)", collation="ascii_bin", charset="ascii")], ("token",)),
    _table("mixed", [_id(), _text("name")], ("id",)),
    _table("prices", [column("price", "decimal"), column("at", "date")], ("price",)),
    _table("watched", [_id(), column("n")], ("id",), has_triggers=True),
    _table("versioned", [_id()], ("id",), is_base=False),
    _table("heap", [_id()], ("id",), engine="MEMORY"),
    _table("ages", [_id(), column("age", generated=True, volatile=True)], ("id",)),
    _table("shops", [_id(), column("opens", "time"), column("made", "datetime")], ("id",)),
    _table("days", [column("day", "date"), column("n")], ("day",)),
    _table("renamed", [_id(), column("latter")], ("id",)),
    _table("follower", [_id()], ("id",), follows=(("elsewhere", "leaders"),)),
    _table("plain", [_id(), column("n")], ("id",)),
    TableSchema(
        DATABASE,
        "names",
        (_text("name"),),
        is_view=True,
        is_base=False,
        view_definition="select `shop`.`users`.`name` AS `name` from `shop`.`users`",
    ),
    TableSchema(
        DATABASE,
        "pokes",
        (_text("name"),),
        is_view=True,
        is_base=False,
        view_definition="select `shop`.`poke`(`shop`.`plain`.`id`) AS `name` from `shop`.`plain`",
    ),
    TableSchema(DATABASE, "hidden", (_text("name"),), is_view=True, is_base=False),
]
_ORDERS = _table("orders", [column("id"), column("customer_id"), column("total")], ("id",))
_COUNTRIES = _table("countries", [column("code", "char(2)"), _text("name")], ("code",))


def catalog() -> Catalog:
    tables = {("main", DATABASE, schema.name): schema for schema in [*_MAIN, _COUNTRIES]}
    for shard in ("shard0", "shard1"):
        tables.update({(shard, DATABASE, schema.name): schema for schema in (_ORDERS, _COUNTRIES)})
    return Catalog(tables)
