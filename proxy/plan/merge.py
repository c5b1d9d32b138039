"""How the rows of several shards become those of one server: what the planner says and `proxy.front.merge` does.

Columns of a shard's rows are numbered from 0; negative numbers count from the end, where the *hidden* columns are that
the planner adds to the select list and that are taken off before a client sees a row.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MergeKey:
    """What rows are compared by. `value` is the column that has the value itself; where that may be a string, `weight`
    and `collation` are columns with its WEIGHT_STRING and the name of its collation (NULL where the value is)."""

    value: int | None
    weight: int | None = None
    collation: int | None = None
    descending: bool = False
    label: str = ""  # the expression, for people


@dataclass(frozen=True, slots=True)
class Merge:
    """Without `keys` the shards' rows follow one another; else every shard's rows come sorted by them.

    `offset` and `limit` are the client's. `distinct`: of rows with equal keys the first is kept.
    """

    hidden: int = 0
    visible: int | None = None  # how many columns the client is to see, where the planner counted on it
    keys: tuple[MergeKey, ...] = ()
    distinct: bool = False
    offset: int = 0
    limit: int | None = None
    found_rows: bool = False  # FOUND_ROWS() is to be what it would be without the limit
