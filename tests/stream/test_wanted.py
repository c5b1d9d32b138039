"""What the stream collects and the workers plan by is the same, cluster by cluster."""

from __future__ import annotations

from pathlib import Path

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.cli.streams import signature
from proxy.rules.loader import parse
from proxy.rules.model import Rules
from proxy.stream.wanted import fingerprint

HEAD = """\
turnout: 1
listen: {mysql: 127.0.0.1:3307}
users: {app: {password: app}}
clusters: {main: {primary: 127.0.0.1:3306}, geo: {primary: 127.0.0.1:3316}}
service: {user: turnout, password: turnout}
databases:
  shop:
    home: main
    tables:
      orders: {cache: {by: [id]}}
"""
CATALOG = Catalog(
    {
        (cluster, "shop", name): TableSchema(
            "shop", name, (Column("id", "int"),), primary_key=("id",), unique_keys=(("id",),), engine="InnoDB"
        )
        for cluster, name in (("main", "orders"), ("geo", "cities"))
    },
    1,
)


def rules(*lines: str) -> Rules:
    return parse(HEAD + "".join(f"      {line}\n" for line in lines), Path("rules.yaml"))


def test_a_class_on_one_cluster_is_nothing_to_another() -> None:
    """Else the stream process of the other would be left with rules by which all of its workers refuse to keep."""
    before, after = rules("cities: {cluster: geo}"), rules("cities: {cluster: geo, cache: {by: [id]}}")
    assert fingerprint(before, CATALOG, "main") == fingerprint(after, CATALOG, "main")
    assert signature(before, "main") == signature(after, "main")
    assert fingerprint(before, CATALOG, "geo") != fingerprint(after, CATALOG, "geo")
    assert signature(before, "geo") != signature(after, "geo")
