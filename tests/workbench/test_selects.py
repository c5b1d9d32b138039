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
