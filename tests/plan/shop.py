"""A shop's rules and schemas, as the planner sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from parser.statement import Hole, Param, Value
from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.plan.plan import KeyValue, Unknown
from proxy.rules.loader import parse
from proxy.rules.model import Rules

FILE = Path(__file__).with_name("shop.yaml")


def rules(transactions: str = "best_effort", workbench: str = "off") -> Rules:
    """`workbench`: a cluster, or off."""
    text = FILE.read_text().replace("TRANSACTIONS", transactions)
    return parse(text + ("" if workbench == "off" else f"workbench: {{cluster: {workbench}}}\n"), FILE)


def column(name: str, kind: str = "int", **more: object) -> Column:
    """`kind`: a data type, with a length in parentheses where it is a string (utf8mb4_general_ci unless told)."""
    data_type, _, length = kind.rstrip(")").partition("(")
    if length:
        more = {"charset": "utf8mb4", "collation": "utf8mb4_general_ci", "length": int(length), **more}
    return Column(name, data_type, nullable=bool(more.pop("nullable", False)), **more)  # type: ignore[arg-type]


def _id(name: str = "id") -> Column:
    return column(name, auto_increment=True)


def _text(name: str) -> Column:
    return column(name, "varchar(100)")


_MAIN = {
    "users": ([_id(), _text("name")], [("id",)]),
    "accounts": ([_id(), column("user_id"), column("balance")], [("id",)]),
    "settings": ([column("user_id"), _text("name"), _text("value")], [("user_id", "name")]),
}
_MEDIA = {
    "photos": ([_id(), column("user_id"), column("album_id"), _text("path")], [("id",)]),
    "albums": ([_id(), column("user_id"), _text("title")], [("id",)]),
}
_SHARDS = {
    "customers": ([column("id"), _text("name"), _text("country")], [("id",)]),
    "orders": ([column("id", "bigint"), column("customer_id"), column("total"), _text("country")], [("id",)]),
    "order_items": (
        [column("customer_id"), column("order_id", "bigint"), column("item"), column("price")],
        [("customer_id", "order_id", "item")],
    ),
    "logins": ([_text("email"), column("customer_id"), column("seen")], [("email",)]),
}
_EVERYWHERE = {
    "countries": ([column("code", "char(2)"), _text("name")], [("code",)]),
    "currencies": (
        [_id(), column("code", "char(3)"), column("changed", "timestamp", server_default=True, on_update=True)],
        [("id",), ("code",)],
    ),
}
_CLUSTERS = {
    "main": {
        **_MAIN,
        **_EVERYWHERE,
        "invoices": ([_id(), column("year", "smallint"), column("total")], [("id", "year")]),
    },
    "media": {**_MEDIA, **_EVERYWHERE},
    "shard0": {
        **_SHARDS,
        **_EVERYWHERE,
        "invoices": ([_id(), column("year", "smallint"), column("total")], [("id", "year")]),
        "stores": ([column("region", "char(2)"), _text("city")], [("region", "city")]),
    },
}
_CLUSTERS["shard1"] = _CLUSTERS["shard0"]

_VIEWS = {
    "names": "select `shop`.`users`.`name` AS `name` from `shop`.`users`",
    "spenders": "select `u`.`name` AS `name` from (`shop`.`users` `u` join `shop`.`orders` `o`)",
    "spender_names": "select `spenders`.`name` AS `name` from `shop`.`spenders`",
}


def catalog(database: str = "shop") -> Catalog:
    tables = {}
    for cluster, schemas in _CLUSTERS.items():
        for name, (columns, unique) in schemas.items():
            schema = TableSchema(
                database,
                name,
                tuple(columns),
                primary_key=unique[0],
                unique_keys=tuple(unique),
                engine="InnoDB",
                referenced=(),
            )
            tables[cluster, database, name] = schema
    for name, definition in _VIEWS.items():
        view = TableSchema(database, name, (_text("name"),), is_view=True, view_definition=definition)
        tables["main", database, name] = view
    return Catalog(tables)


def values(*given: KeyValue, params: tuple[KeyValue, ...] = ()) -> Callable[[Value], KeyValue]:
    """The values of a statement's literals and parameters, by number."""

    def value_of(value: Value) -> KeyValue:
        if isinstance(value, Hole):
            return given[value.index]
        if isinstance(value, Param):
            return params[value.index]
        return Unknown.UNKNOWN

    return value_of
