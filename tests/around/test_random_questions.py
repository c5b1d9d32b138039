"""Questions at random to information_schema: what one server with all tables says."""

from __future__ import annotations

import os
import random

import pytest

from tests.around.logical import Pair
from tests.around.questions import Questions
from tests.sizes import seed

pytestmark = pytest.mark.servers
SEED = seed()
STEPS = int(os.environ.get("TURNOUT_STEPS", "120"))


def test_questions_at_random(pair: Pair) -> None:
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    questions = Questions(random.Random(SEED))
    rows = 0
    for _ in range(STEPS):
        rows += len(pair.same(questions.make(), origin=False).rows)
    assert rows > STEPS  # most of them have rows to compare
