"""How the rows of several shards become those of one server: what the planner says and `proxy.front.merge` does.

Columns of a shard's rows are numbered from 0; negative numbers count from the end, where the *hidden* columns are that
the planner adds to the select list and that are taken off before a client sees a row.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

from parser.members import quick


@dataclass(frozen=True, slots=True)
class MergeKey:
    """What rows are compared by. `value` is the column that has the value itself; where that may be a string, `weight`
    and `collation` are columns with its WEIGHT_STRING and the name of its collation (NULL where the value is)."""

    value: int | None
    weight: int | None = None
    collation: int | None = None
    descending: bool = False
    label: str = ""  # the expression, for people


@quick
class How(enum.Enum):
    """How the values of one aggregate function on several shards become one."""

    COUNT = "count"
    SUM = "sum"
    AVERAGE = "average"  # the sum of sums by the sum of counts
    LEAST = "least"
    GREATEST = "greatest"


@dataclass(frozen=True, slots=True)
class Fold:
    """The aggregate in column `column`. AVERAGE has its SUM and COUNT in columns of their own, LEAST and
    GREATEST what values are compared by."""

    column: int
    how: How
    label: str
    sum: int | None = None
    count: int | None = None
    key: MergeKey | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """HAVING: the number in `column` compared with a literal, or with what is bound; as doubles with a double."""

    column: int
    operator: str
    number: Decimal | float
    label: str


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows with equal keys are parts of one group. `order`: by what the groups are sorted once they are whole, where
    that is not by their keys; of visible columns."""

    folds: tuple[Fold, ...]
    order: tuple[MergeKey, ...] = ()
    having: tuple[Condition, ...] = ()


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
    groups: Groups | None = None  # without keys: every shard has one row, which make one
    found_rows: bool = False  # FOUND_ROWS() is to be what it would be without the limit
