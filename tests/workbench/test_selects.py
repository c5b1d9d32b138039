"""SELECTs over shards and clusters that are finished on the workbench: as on one server with everything."""

from __future__ import annotations

import os
import random

import pytest

from tests.workbench.selects import Selects
from tests.workbench.shop import Pair

pytestmark = pytest.mark.servers
SEED = os.environ.get("TURNOUT_SEED") or str(random.SystemRandom().randrange(1 << 32))
STEPS = int(os.environ.get("TURNOUT_STEPS", "300"))


def test_selects_at_random(pair: Pair) -> None:
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    selects = Selects(random.Random(SEED))
    rows = 0
    for _ in range(STEPS):
        sql, ordered = selects.make()
        rows += len(pair.same(sql, ordered=ordered).rows)
    assert rows > STEPS  # most of them have rows to compare


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT EXISTS (SELECT 1 FROM things WHERE things.i = 1), EXISTS (SELECT 1 FROM things) FROM users",
        "SELECT (SELECT MAX(t.i) FROM things t), (SELECT MIN(`u`.i)  FROM   `things`  AS `u`) FROM users",
        "SELECT (SELECT COUNT(*) FROM shop.things), (SELECT COUNT(*)+1 FROM shop . `things` WHERE i) FROM parts",
        "SELECT * FROM (SELECT COUNT(*) FROM things, things t2 WHERE t2.i = 1) d JOIN photos",
    ],
)
def test_columns_have_the_names_of_what_was_written(pair: Pair, sql: str) -> None:
    """Also where it mentions a table for a second time, which is another table on the workbench."""
    answer = pair.same(sql)
    assert not any(b"turnout" in column.name for column in answer.columns)
