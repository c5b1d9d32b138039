"""Definitions of one table that are not the same on its clusters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.plan.differing import differing
from tests.plan import shop

COLUMNS = (
    Column("id", "int", nullable=False),
    Column("name", "varchar", charset="utf8mb4", collation="utf8mb4_bin"),
    Column("at", "datetime"),
)
TABLE = TableSchema("shop", "customers", COLUMNS, ("int(11)", "varchar(20)", "datetime"), unique_keys=(("id",),))


def column(place: int, **changes: object) -> TableSchema:
    columns = [*COLUMNS]
    columns[place] = replace(columns[place], **changes)  # type: ignore[arg-type]
    return replace(TABLE, columns=tuple(columns))


@pytest.mark.parametrize(
    ("other", "says", "grave"),
    [
        (replace(TABLE, types=("int", "varchar(20)", "datetime")), "", False),  # the width is not of MySQL 8
        (replace(TABLE, is_view=True, columns=()), "", False),
        (
            replace(TABLE, columns=COLUMNS[:2], types=TABLE.types[:2]),
            "Column at is datetime on shard0, missing on shard1.",
            True,
        ),
        (
            replace(TABLE, types=("int(11)", "varchar(30)", "datetime")),
            "Column name is varchar(20) COLLATE utf8mb4_bin on shard0, varchar(30) COLLATE utf8mb4_bin on shard1.",
            True,
        ),
        (
            column(1, collation="utf8mb4_general_ci"),
            "Column name is varchar(20) COLLATE utf8mb4_bin on shard0, "
            "varchar(20) COLLATE utf8mb4_general_ci on shard1.",
            True,
        ),
        (column(2, nullable=False), "Column at is NULL on shard0, NOT NULL on shard1.", False),
        (column(2, invisible=True), "Column at is datetime on shard0, datetime INVISIBLE on shard1.", True),
        (
            replace(TABLE, columns=COLUMNS[::-1], types=TABLE.types[::-1]),
            "The order of its columns is id, name, at on shard0, at, name, id on shard1.",
            True,
        ),
        (replace(TABLE, unique_keys=()), "The unique keys are (id) on shard0, none on shard1.", False),
    ],
)
def test_two_shards(other: TableSchema, says: str, grave: bool) -> None:
    catalog = Catalog({("shard0", "shop", "customers"): TABLE, ("shard1", "shop", "customers"): other})
    found = list(differing(shop.rules(), catalog))
    assert [(one.what, one.grave) for one in found] == ([(says, grave)] if says else [])
    assert all((one.database, one.table) == ("shop", "customers") for one in found)


def test_what_most_clusters_have_comes_first() -> None:
    tables = {(cluster, "shop", "countries"): TABLE for cluster in ("main", "media", "shard0", "shard1")}
    tables["main", "shop", "countries"] = replace(TABLE, types=("bigint", "varchar(20)", "datetime"))
    (found,) = differing(shop.rules(), Catalog(tables))
    assert found.what == "Column id is int on media and shard0 and shard1, bigint on main."
