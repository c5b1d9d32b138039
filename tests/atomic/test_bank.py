"""A few runs of `tests.atomic.bank`, which says what is checked."""

from __future__ import annotations

import random

import pytest

from tests.atomic.bank import Pair, Told, one_run
from tests.atomic.branch_office import Bank
from tests.servers import Run
from tests.sizes import seed, size

pytestmark = [pytest.mark.servers, pytest.mark.thorough]
SEED = seed()
RUNS = size("TURNOUT_RUNS", 8, 20)


def test_transfers_are_whole_whatever_is_killed(run: Run, bank: Bank) -> None:
    rng = random.Random(SEED)
    pair = Pair(run, bank)
    committed = 0
    for number in range(RUNS):
        result = one_run(bank, pair.next(), rng)
        assert not result.problems, f"seed {SEED}, run {number}, {result.what} killed: {result.problems}"
        committed += result.told[Told.COMMITTED]
    assert committed >= 3 * RUNS
    pair.kill()
    assert not pair.mistakes()
