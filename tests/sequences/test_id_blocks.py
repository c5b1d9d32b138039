"""Which ids one worker may hand out, without servers: time and home's answers are given."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.front.id_blocks import LARGEST, LEASE_S, SMALLEST, VOID_AFTER_S, IdBlocks


def test_hands_out_what_was_taken_in_order() -> None:
    blocks = IdBlocks()
    assert blocks.take(1, 0.0) is None
    blocks.add(10, 4, 0.0)
    assert [blocks.take(1, 0.1), blocks.take(2, 0.1), blocks.take(2, 0.1), blocks.take(1, 0.1)] == [10, 11, None, 13]
    assert blocks.left == 0


def test_a_run_is_not_broken_over_a_gap() -> None:
    blocks = IdBlocks()
    blocks.add(10, 4, 0.0)
    blocks.add(50, 4, 0.0)
    assert not blocks.has(5)
    assert blocks.take(1, 0.0) == 10
    assert blocks.take(4, 0.0) == 50, "three were left in the first block: they are given up"
    assert blocks.take(1, 0.0) is None
    blocks.add(54, 4, 0.0)
    blocks.add(58, 4, 0.0)
    assert blocks.take(8, 0.0) == 54, "nobody came between the two"


def test_a_block_has_to_be_found_valid_again() -> None:
    blocks = IdBlocks()
    blocks.add(10, 4, 0.0)
    assert blocks.take(1, LEASE_S + 0.01) is None
    blocks.seen(14, 0, LEASE_S, LEASE_S + 0.1)
    assert blocks.take(1, LEASE_S + 0.01) == 10
    blocks.seen(20, 14, LEASE_S, LEASE_S + 0.1)
    assert blocks.take(1, LEASE_S + 0.01) is None
    assert not blocks.blocks


def test_blocks_grow_with_use_up_to_a_bound() -> None:
    blocks = IdBlocks()
    now, sizes = 0.0, []
    for _ in range(20):
        sizes.append(blocks.wanted(0, now))
        now += 0.1
    assert sizes[0] == SMALLEST
    assert sizes[1:3] == [2 * SMALLEST, 4 * SMALLEST]
    assert sizes[-1] == LARGEST
    assert blocks.wanted(0, now + 60) == LARGEST // 2
    assert blocks.wanted(LARGEST * 3, now + 61) == LARGEST * 3, "one statement may need more"


def test_blocks_are_small_again_after_they_were_taken_away() -> None:
    blocks = IdBlocks()
    for _ in range(9):
        blocks.wanted(0, 0.0)
    assert blocks.size > SMALLEST
    blocks.seen(100, 0, 0.0, 0.0)
    assert blocks.size > SMALLEST
    blocks.seen(100, 100, 0.0, 0.0)
    assert blocks.size == SMALLEST


def test_which_explicit_ids_are_certain_to_be_free() -> None:
    blocks = IdBlocks()
    blocks.add(10, 10, 0.0)
    assert blocks.take(3, 0.0) == 10
    assert [blocks.is_free(number, 0.0) for number in (-1, 0, 9, 10, 12, 13, 20)] == [
        True,
        True,
        False,
        True,
        True,
        False,
        False,
    ]
    assert blocks.give_up(15)
    assert blocks.is_free(15, 0.0)
    assert blocks.take(1, 0.0) == 16
    assert not blocks.give_up(99)
    blocks.seen(30, 30, 1.0, 1.5)
    assert not blocks.is_free(25, 1.5), "other workers may not have noticed"
    assert blocks.free_at(25) == 1.5 + VOID_AFTER_S
    assert blocks.is_free(25, 1.5 + VOID_AFTER_S)
    assert not blocks.is_free(30, 9.0)
    assert blocks.free_at(30) is None


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 20)), max_size=30))
def test_nothing_is_handed_out_twice(steps: list[tuple[int, int]]) -> None:
    blocks, position = IdBlocks(), 1
    given_out: set[int] = set()
    for gap, count in steps:
        position += gap
        blocks.add(position, count, 0.0)
        position += count
        first = blocks.take(gap % 7 + 1, 0.0)
        if first is not None:
            run = set(range(first, first + gap % 7 + 1))
            assert not run & given_out
            given_out |= run


@dataclass
class Home:
    next_id: int = 1
    handed_out: int = 1
    void_below: int = 1


class Workers(RuleBasedStateMachine):
    """Two workers and home, as `proxy.front.sequences` has them talk; answers come at once, time goes on between. No
    id may be handed out after it was admitted as a client's own, and none twice."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Home()
        self.workers = [IdBlocks() for _ in range(2)]
        self.now = 0.0
        self.made: list[int] = []
        self.own: set[int] = set()
        self.waiting: set[tuple[int, int]] = set()  # (worker, number) of those that a client wants to give

    worker = st.integers(0, 1)

    @rule(worker=worker, count=st.integers(3, 5))
    def refill(self, worker: int, count: int) -> None:
        first = self.home.next_id
        self.home.next_id = self.home.handed_out = first + count
        self.workers[worker].add(first, count, self.now)

    @rule(worker=worker)
    def renew(self, worker: int) -> None:
        self.workers[worker].seen(self.home.next_id, self.home.void_below, self.now, self.now)

    @rule(worker=worker, count=st.integers(1, 2))
    def take(self, worker: int, count: int) -> None:
        first = self.workers[worker].take(count, self.now)
        if first is not None:
            run = range(first, first + count)
            assert not self.own.intersection(run), "a client has it"
            assert not set(self.made).intersection(run), "handed out twice"
            self.made += run

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.5]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(worker=worker, number=st.integers(1, 12))
    def give(self, worker: int, number: int) -> None:
        self.waiting.add((worker, number))
        self._admit(worker, number)

    @rule()
    def come_back(self) -> None:
        for worker, number in sorted(self.waiting):
            self._admit(worker, number)

    def _admit(self, worker: int, number: int) -> None:
        """`IdSequence.admit`, but that waiting for others is done by coming back."""
        blocks = self.workers[worker]
        if blocks.is_free(number, self.now):
            self.own.add(number)
            return
        if blocks.free_at(number) is not None:
            return
        before = 2**64
        if number >= blocks.highest:
            before, self.home.next_id = self.home.next_id, max(self.home.next_id, number + 1)
        handed_out = self.home.handed_out
        blocks.seen(self.home.next_id, self.home.void_below, self.now, self.now)
        if number >= min(before, handed_out) or blocks.give_up(number):
            self.own.add(number)
        elif blocks.free_at(number) is None and not blocks.is_free(number, self.now):
            self.home.void_below = self.home.next_id
            blocks.seen(self.home.next_id, self.home.void_below, self.now, self.now)

    @invariant()
    def blocks_are_not_empty(self) -> None:
        assert all(block.next < block.end for each in self.workers for block in each.blocks)


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
