"""When memcached is asked, against simulated streams of reads."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from proxy.cache.worth import Worth, in_sample

READS_PER_S = 5_000
_STEP_NS = 10**9 // READS_PER_S


class Class:
    """One class of a worker whose own memory never has what is read. `there`: what memcached has."""

    def __init__(self) -> None:
        self.worth = Worth()
        self.there: set[int] = set()
        self.now_ns = 0
        self.found = self.asked = 0

    def read_all(self, slots: Iterable[int]) -> Class:
        self.found = self.asked = 0
        for slot in slots:
            self.now_ns += _STEP_NS
            if not self.worth.sparse or in_sample(slot, self.now_ns):
                self.asked += 1
                self.found += slot in self.there
                self.worth.asked(slot in self.there)
            self.there.add(slot)
        return self


def distinct(rng: random.Random, count: int) -> list[int]:
    return rng.sample(range(1 << 40), count)


def test_it_is_hardly_asked_where_it_has_nothing() -> None:
    rng = random.Random(1)
    found = Class().read_all(distinct(rng, 300))
    assert found.worth.sparse
    found.read_all(distinct(rng, 50_000))
    assert found.worth.sparse
    assert 0.005 * 50_000 < found.asked < 0.012 * 50_000


@pytest.mark.parametrize("keys", [1, 50, 5_000])
def test_it_is_asked_again_once_it_has_something(keys: int) -> None:
    rng = random.Random(keys)
    found = Class().read_all(distinct(rng, 10_000))
    assert found.worth.sparse
    again = distinct(rng, keys)
    found.read_all(rng.choice(again) for _ in range(20 * READS_PER_S))
    assert not found.worth.sparse
    found.read_all(rng.choice(again) for _ in range(READS_PER_S))
    assert found.found > 0.9 * READS_PER_S


def test_a_key_in_demand_among_many_that_are_not_is_noticed() -> None:
    for seed in range(8):
        rng = random.Random(seed)
        found = Class().read_all(distinct(rng, 10_000))
        hot = rng.randrange(1 << 40)
        found.read_all(hot if rng.random() < 0.3 else slot for slot in distinct(rng, 18 * READS_PER_S))
        assert not found.worth.sparse, seed  # each part of the keys has had its turn


def test_a_class_with_many_hits_is_left_alone() -> None:
    rng = random.Random(3)
    found = Class()
    keys = distinct(rng, 1_000)
    for _ in range(20):
        found.read_all(rng.choice(keys) if rng.random() < 0.2 else slot for slot in distinct(rng, 5_000))
        assert not found.worth.sparse


def test_a_great_many_hits_are_not_forgotten_at_once() -> None:
    worth = Worth()
    for _ in range(3_000):
        worth.asked(True)
    for _ in range(1_000):
        worth.asked(False)
    assert not worth.sparse


def test_a_few_hits_are_not_enough() -> None:
    """Where memcached has one of a hundred it is not asked about all, whatever the sample brings."""
    for seed in range(4):
        rng = random.Random(seed)
        found = Class().read_all(distinct(rng, 300))
        known = distinct(rng, 100)
        found.there.update(known)
        found.read_all(rng.choice(known) if rng.random() < 0.01 else slot for slot in distinct(rng, 100_000))
        assert found.asked < 0.02 * 100_000, seed


def test_a_new_statement_is_given_a_chance() -> None:
    worth = Worth()
    for number in range(200):
        worth.asked(False)
        assert not worth.sparse, number
    for found in (True, *[False] * 12) * 100:
        worth.asked(found)
        assert not worth.sparse


def test_a_sample_is_one_in_256_for_all_and_one_more_in_turn() -> None:
    slots = range(2_560)
    turns = range(256)
    always = {slot for slot in slots if all(in_sample(slot, turn << 26) for turn in turns)}
    assert len(always) == 10
    for turn in turns[1:]:
        assert sum(in_sample(slot, turn << 26) for slot in slots) == 20
    assert {slot for slot in slots for turn in turns if in_sample(slot, turn << 26)} == set(slots)
