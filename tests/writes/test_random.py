"""The same writes at random through Turnout and on one server: the same answers, and the same rows afterwards."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from tests.sizes import seed
from tests.writes.shop import Pair, Place, rows
from tests.writes.statements import Writes

pytestmark = pytest.mark.servers
SEED = seed()
EVERY = int(os.environ.get("TURNOUT_COMPARE_EVERY", "10"))  # steps
STEPS = int(os.environ.get("TURNOUT_STEPS", "150"))


def test_writes_at_random(pair: Pair, place: Place) -> None:
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    rng = random.Random(SEED)
    writes = Writes(rng)
    outcomes: Counter[str] = Counter()
    history: list[str] = []
    try:
        for step in range(1, STEPS + 1):
            sql = writes.make()
            history.append(sql)
            answer = pair.same_or_refused(sql)
            if answer is None:
                outcomes["refused"] += 1
            elif answer.errno:
                outcomes[str(answer.errno)] += 1
            else:
                outcomes["written" if answer.affected_rows else "nothing"] += 1
            if step % EVERY == 0:
                pair.compare()
            if step % 60 == 0:
                pair.run(writes.end())
                pair.compare()
                place.check_places()
                pair.run(*rows(rng))
                history.clear()
        pair.run(writes.end())
        pair.compare()
    except AssertionError as error:
        error.add_note(f"TURNOUT_SEED={SEED}; lately:\n  " + "\n  ".join(history))
        raise
    print(dict(outcomes))
    assert outcomes["written"] > STEPS // 4, outcomes
    assert outcomes["refused"] < STEPS // 5, outcomes
