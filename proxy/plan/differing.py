"""Tables on several clusters whose definitions are not the same there: what one statement means depends on the cluster,
and answers of several cannot be put together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.plan.places import table_clusters
from proxy.rules.model import Rules

# Makers and versions of servers differ in what they call the same.
_WIDTH = re.compile(r"\b(tinyint|smallint|mediumint|int|bigint)\(\d+\)")
_UTF8 = re.compile(r"\butf8(?=_|$)")


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` is a sentence about a table. `grave`: statements fail because of it."""

    database: str
    table: str
    what: str
    grave: bool


def differing(rules: Rules, catalog: Catalog) -> Iterator[Difference]:
    """One for each column, or key, that is not the same on all clusters that have the table and are known."""
    for database in rules.databases.values():
        for entry in database.tables.values():
            found = (
                (cluster, catalog.find(cluster, entry.database, entry.name)) for cluster in table_clusters(rules, entry)
            )
            schemas = {cluster: schema for cluster, schema in found if schema is not None and not schema.is_view}
            if len(schemas) > 1:
                for what, grave in _differences(schemas):
                    yield Difference(entry.database, entry.name, what, grave)


def _differences(schemas: Mapping[str, TableSchema]) -> Iterator[tuple[str, bool]]:
    names = dict.fromkeys(column.name for schema in schemas.values() for column in schema.columns)
    whole = True
    for name in names:
        kinds = {cluster: _kind(schema, name) for cluster, schema in schemas.items()}
        nulls = {cluster: _null(schema.column(name)) for cluster, schema in schemas.items()}
        if len(set(kinds.values())) > 1:
            whole = whole and "missing" not in kinds.values()
            yield f"Column {name} is {_said(kinds)}.", True
        elif len(set(nulls.values())) > 1:
            yield f"Column {name} is {_said(nulls)}.", False
    if whole:
        orders = {cluster: ", ".join(c.name for c in schema.columns) for cluster, schema in schemas.items()}
        if len(set(orders.values())) > 1:
            yield f"The order of its columns is {_said(orders)}.", True
    keys = {cluster: _keys(schema) for cluster, schema in schemas.items()}
    if len(set(keys.values())) > 1:
        yield f"The unique keys are {_said(keys)}.", False


def _kind(schema: TableSchema, name: str) -> str:
    for place, column in enumerate(schema.columns):
        if column.name == name:
            text = schema.types[place] if place < len(schema.types) else column.data_type
            collation = f" COLLATE {_UTF8.sub('utf8mb3', column.collation)}" if column.collation else ""
            more = (" GENERATED" if column.generated else "") + (" INVISIBLE" if column.invisible else "")
            return _WIDTH.sub(r"\1", text) + collation + more
    return "missing"


def _null(column: Column | None) -> str:
    return "" if column is None else "NULL" if column.nullable else "NOT NULL"


def _keys(schema: TableSchema) -> str:
    return " ".join(sorted(f"({', '.join(key)})" for key in schema.unique_keys)) or "none"


def _said(by_cluster: Mapping[str, str]) -> str:
    """`int on a and b, missing on c`, what most have first."""
    clusters: dict[str, list[str]] = defaultdict(list)
    for cluster, what in by_cluster.items():
        clusters[what].append(cluster)
    by_number: Iterable[tuple[str, list[str]]] = sorted(clusters.items(), key=lambda item: -len(item[1]))
    return ", ".join(f"{what} on {' and '.join(on)}" for what, on in by_number)
