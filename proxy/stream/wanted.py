"""Which tables of a source the clocks are about: their classes, where the classes' columns are in a row, what their
bytes mean, and which other tables change with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.back.tags import class_seed, table_slot
from proxy.plan.caching import class_forms
from proxy.plan.keys import Family, KeyForm, form_text
from proxy.rules.model import Rules
from proxy.stream import rows
from proxy.wire.charsets import codec

Text = Callable[[bytes], bytes | None]  # a value's bytes in the log -> its key text; None: it has none
_INTEGERS = {rows.TINY: 1, rows.SHORT: 2, rows.INT24: 3, rows.LONG: 4, rows.LONGLONG: 8}
_BYTES_OF = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "integer": 4, "bigint": 8}


@dataclass(frozen=True, slots=True)
class WantedClass:
    seed: int
    places: tuple[int, ...]  # of its columns among `WantedTable.ordinals`
    texts: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class WantedTable:
    """`schema` is what the classes were made from; a table map that does not fit it makes them useless."""

    epoch: int
    schema: TableSchema | None  # None: not known, every change is one of the whole table
    ordinals: tuple[int, ...] = ()
    classes: tuple[WantedClass, ...] = ()

    def fits(self, layout: rows.Layout) -> bool:
        """May values of this layout be read as the schema says?"""
        schema = self.schema
        if schema is None or layout.guessed or len(schema.columns) != len(layout.types):
            return False
        return all(_fits(schema.columns[ordinal], layout, ordinal) for ordinal in self.ordinals)


@dataclass(frozen=True, slots=True)
class Referenced:
    """The columns of a parent that foreign keys refer to: an UPDATE of others changes no child. `columns`: of the
    table."""

    columns: int
    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """By (database, table) in lower case."""

    tables: Mapping[tuple[str, str], WantedTable]
    children: Mapping[tuple[str, str], tuple[int, ...]]  # epochs that change with a parent's rows, by foreign keys
    referenced: Mapping[tuple[str, str], Referenced] = field(default_factory=dict)  # of these parents, where known


def wanted(rules: Rules, catalog: Catalog, cluster: str) -> Wanted:
    """What the rules want of a cluster, with what the catalog knows of it."""
    tables: dict[tuple[str, str], WantedTable] = {}
    for table in rules.cached_tables:
        classes = [one for one in table.cache if one.ttl_s is None]
        on = table.sharding.clusters if table.sharding else (table.cluster,)
        if not classes or cluster not in on:
            continue
        epoch = table_slot(table.database, table.name)
        schema = catalog.find(cluster, table.database, table.name)
        usable = []
        ordinals: dict[int, None] = {}
        for one in classes:
            forms = class_forms(schema, one) if schema is not None else ""
            if schema is None or isinstance(forms, str):
                continue  # reads by it are not cached either
            names = [column.name for column in schema.columns]
            where = [names.index(column) for column in one.by]
            ordinals.update(dict.fromkeys(where))
            usable.append((one, forms, where))
        order = tuple(sorted(ordinals))
        tables[table.database.lower(), table.name.lower()] = WantedTable(
            epoch,
            schema,
            order,
            tuple(
                WantedClass(
                    class_seed(table.database, table.name, one.by),
                    tuple(order.index(ordinal) for ordinal in where),
                    tuple(_text(schema.columns[ordinal], form) for ordinal, form in zip(where, forms)),
                )
                for one, forms, where in usable
                if schema is not None
            ),
        )
    children = _children(catalog, cluster, tables)
    return Wanted(tables, children, _referenced(catalog, cluster, children))


def fingerprint(rules: Rules, catalog: Catalog, cluster: str) -> int:
    """A number for everything that slots and marks are worked out from. Where a worker's is not the stream process's,
    one of the two has older definitions: their slots may not be the same. Never 0."""
    databases = {table.database.lower() for table in rules.cached_tables}
    said: list[object] = []
    for (where, database, name), schema in sorted(catalog.tables.items()):
        if where == cluster and database in databases:
            said.append(
                (database, name, schema.is_base, schema.engine, schema.has_triggers, schema.cascades, schema.referenced)
            )
    for table in rules.cached_tables:
        if cluster not in (table.sharding.clusters if table.sharding else (table.cluster,)):
            continue
        known = catalog.find(cluster, table.database, table.name)
        for one in table.cache:
            forms = class_forms(known, one) if known is not None else "unknown"
            keys = (known.primary_key, known.unique_keys) if known is not None else ()
            said.append((table.database, table.name, one, forms, keys))
    digest = hashlib.blake2b(repr(said).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def _children(
    catalog: Catalog, cluster: str, tables: Mapping[tuple[str, str], WantedTable]
) -> dict[tuple[str, str], tuple[int, ...]]:
    found: dict[tuple[str, str], tuple[int, ...]] = {}
    for (where, database, name), schema in catalog.tables.items():
        if where != cluster or not schema.cascades:
            continue
        reached: dict[tuple[str, str], None] = {}
        waiting = list(schema.cascades)
        while waiting:
            child = waiting.pop()
            if child in reached:
                continue
            reached[child] = None
            known = catalog.find(cluster, *child)
            if known is not None:
                waiting.extend(known.cascades)
        epochs = [
            tables[key].epoch for key in ((child[0].lower(), child[1].lower()) for child in reached) if key in tables
        ]
        if epochs:
            found[database, name] = tuple(epochs)
    return found


def _referenced(
    catalog: Catalog, cluster: str, children: Mapping[tuple[str, str], tuple[int, ...]]
) -> dict[tuple[str, str], Referenced]:
    found = {}
    for key in children:
        schema = catalog.find(cluster, *key)
        # A row of a system-versioned table is deleted by an UPDATE of its end, as the log has it.
        if schema is None or not schema.is_base or schema.referenced is None:
            continue
        if not any(column.generated and column.name in schema.referenced for column in schema.columns):
            names = [column.name for column in schema.columns]
            if all(name in names for name in schema.referenced):
                found[key] = Referenced(len(names), tuple(sorted(names.index(name) for name in schema.referenced)))
    return found


def _fits(column: Column, layout: rows.Layout, ordinal: int) -> bool:
    kind, size = layout.types[ordinal], layout.sizes[ordinal]
    if column.data_type in _BYTES_OF:
        return kind in _INTEGERS and size == _BYTES_OF[column.data_type]
    if column.data_type == "date":
        return kind in (rows.DATE, rows.NEWDATE)
    return kind in (rows.VARCHAR, rows.VAR_STRING, rows.STRING)


def _text(column: Column, form: KeyForm) -> Text:
    if form.family is Family.INTEGER:
        signed = not column.unsigned

        def integer(raw: bytes) -> bytes | None:
            return b"%d" % int.from_bytes(raw, "little", signed=signed)

        return integer
    if form.family is Family.DATE:

        def date(raw: bytes) -> bytes | None:
            packed = int.from_bytes(raw, "little")
            return form_text(form, f"{packed >> 9:04d}-{packed >> 5 & 15:02d}-{packed & 31:02d}", stored=True)

        return date
    name = codec(column.charset or "binary")

    def string(raw: bytes) -> bytes | None:
        if name is None:
            return None
        try:
            return form_text(form, raw.decode(name), stored=True)
        except UnicodeDecodeError:
            return None

    return string
