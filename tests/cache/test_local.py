"""A worker's own memory: its bound, its two generations, and what it does against a model."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.cache.cached_value import CachedValue, memory_of
from proxy.cache.local import Local

OVERHEAD = memory_of(0, (), (b"",))


def value(size_bytes: int, number: int = 0) -> CachedValue:
    """A value that counts as this many bytes."""
    return CachedValue(1, 1, number, (), b"x" * (size_bytes - OVERHEAD), 0, 0, size_bytes)


def test_what_was_put_is_found() -> None:
    local = Local(10_000)
    one, other = value(1_000), value(1_000)
    local.put("a", one)
    assert local.get("a") is one
    assert local.get("b") is None
    local.put("a", other)
    assert local.get("a") is other
    assert (len(local), local.bytes) == (1, 1_000)


def test_the_bound_holds_and_the_longest_unused_makes_room() -> None:
    local = Local(10_000)
    for n in range(20):
        local.put(n, value(1_000, n))
        assert local.bytes <= 10_000
    assert local.get(19) is not None
    assert local.get(0) is None
    assert local.evictions == 20 - len(local)


def test_what_is_used_outlives_what_is_not() -> None:
    local = Local(10_000)
    local.put("used", value(1_000))
    for n in range(100):
        assert local.get("used") is not None
        local.put(n, value(1_000, n))
    assert local.bytes <= 10_000


def test_a_value_over_half_of_everything_is_not_kept_and_the_old_one_under_its_key_is_gone() -> None:
    local = Local(4_000)
    local.put("a", value(2_000))
    local.put("a", value(2_001))
    assert local.get("a") is None
    assert (len(local), local.bytes, local.evictions) == (0, 0, 0)


def test_discard_and_clear() -> None:
    local = Local(10_000)
    for n in range(8):
        local.put(n, value(1_000, n))
    for n in range(4):
        local.discard(n)
        local.discard(n)
        assert local.get(n) is None
    assert local.bytes == 1_000 * len(local)
    local.clear()
    assert (len(local), local.bytes) == (0, 0)
    assert local.get(7) is None


def test_resize_to_less_drops_as_much_as_it_must() -> None:
    local = Local(100_000)
    for n in range(60):
        local.put(n, value(1_000, n))
    local.resize(20_000)
    assert local.bytes <= 20_000
    local.put("x", value(1_000))
    assert local.get("x") is not None
    local.resize(1_000)
    assert local.bytes <= 1_000


def test_what_is_replaced_takes_no_room() -> None:
    local = Local(8_000)
    local.put("other", value(600))
    for size in (600, 3_400, 600, 3_400):
        local.put("one", value(size))
    assert local.evictions == 0
    assert local.get("other") is not None
    assert local.bytes == 4_000


class AgainstModel(RuleBasedStateMachine):
    """It may forget, but not mix up, exceed its bound, or count wrongly. What was used in the last half's worth of
    bytes is never forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = 8_000
        self.local = Local(self.limit)
        self.newest: dict[int, CachedValue] = {}
        self.recent: list[tuple[int, int]] = []  # (key, size) in order of use, newest last
        self.number = 0

    @rule(key=st.integers(0, 12), size=st.integers(OVERHEAD, 5_000))
    def put(self, key: int, size: int) -> None:
        self.number += 1
        made = value(size, self.number)
        self.local.put(key, made)
        self.newest[key] = made
        if 2 * size <= self.limit:
            self.recent = [*(each for each in self.recent if each[0] != key), (key, size)]
        else:  # it took the place of what was used last: of the others, none has to be there
            self.recent = []
            assert self.local.get(key) is None

    @rule(key=st.integers(0, 12))
    def get(self, key: int) -> None:
        found = self.local.get(key)
        assert found is None or found is self.newest[key]
        if found is not None:
            self.recent = [*(each for each in self.recent if each[0] != key), (key, found.size_bytes)]

    @rule(key=st.integers(0, 12))
    def discard(self, key: int) -> None:
        self.local.discard(key)
        self.recent = []
        assert self.local.get(key) is None

    @rule(limit=st.integers(2_000, 12_000))
    def resize(self, limit: int) -> None:
        if limit < self.limit:
            self.recent = []
        self.limit = limit
        self.local.resize(limit)

    @invariant()
    def counts_are_right(self) -> None:
        kept = {**self.local._old, **self.local._young}
        assert len(self.local) == len(kept)
        assert self.local.bytes == sum(each.size_bytes for each in kept.values())
        assert self.local.bytes <= self.limit

    @invariant()
    def the_last_used_is_there(self) -> None:
        if self.recent:
            key, _ = self.recent[-1]
            assert key in self.local._young or key in self.local._old


AgainstModel.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestAgainstModel = AgainstModel.TestCase
