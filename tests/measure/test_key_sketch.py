"""How many keys, how unequal: what is estimated, against what is known."""

from __future__ import annotations

import random

import pytest

from proxy.measure.key_hash import key_hash
from proxy.measure.key_sketch import HEAVY, KeySketch

KINDS = {
    "numbers": lambda n: b"%d" % (1000 + n),
    "steps": lambda n: b"%d" % (n * 4096),
    "names": lambda n: b"user%06d@example.com" % n,
    "days": lambda n: b"20%02d-%02d-%02d" % (n // 372, n // 31 % 12 + 1, n % 31 + 1),
}


def seen(texts: list[bytes], level: int = 0) -> KeySketch:
    sketch = KeySketch(level)
    for text in texts:
        if (key := key_hash(text)) < 1 << (32 - level):
            sketch.see(key)
    return sketch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 50, 3000, 30_000])
def test_distinct_keys(kind: str, count: int) -> None:
    texts = [KINDS[kind](n) for n in range(count)]
    assert seen(texts * 2 if count < 10_000 else texts).distinct == pytest.approx(count, rel=0.12, abs=1)


@pytest.mark.parametrize("level", [1, 3, 5])
def test_of_a_sample_of_the_keys(level: int) -> None:
    texts = [b"%d" % n for n in range(30_000)]
    assert seen(texts, level).distinct == pytest.approx(30_000, rel=0.15)


def test_nothing_seen() -> None:
    assert (KeySketch().distinct, KeySketch().hit_rate, KeySketch().top_share) == (0, None, 0.0)


def test_merged_keys_are_those_of_both_whatever_their_levels() -> None:
    texts = [b"%d" % n for n in range(40_000)]
    merged = seen(texts[:30_000])
    merged.add(seen(texts[20_000:], level=3))
    assert merged.level == 3
    assert merged.distinct == pytest.approx(40_000, rel=0.15)


def test_heavy_hitters_are_found_among_many() -> None:
    chance = random.Random(1)
    sketch = KeySketch()
    for n in range(20_000):
        key = 7 if n % 5 == 0 else 8 if n % 10 == 1 else chance.getrandbits(32)
        sketch.count(key, write=key == 8, cacheable=True, weight=3)
    (first_reads, first_writes), (second_reads, second_writes) = sketch.heaviest[:2]
    assert first_writes == second_reads == 0
    assert first_reads == pytest.approx(12_000, rel=0.1)
    assert second_writes == pytest.approx(6_000, rel=0.2)
    assert sketch.top_share == pytest.approx(0.2, rel=0.1)
    assert (sketch.reads, sketch.writes, sketch.samples) == (54_000, 6_000, 20_000)
    assert sum(map(sum, sketch.heaviest[2:])) < 0.05 * 60_000  # nobody else is said to be heavy for certain


def test_merging_heavy_hitters_never_says_too_much() -> None:
    chance = random.Random(2)
    merged, total = KeySketch(), dict[int, int]()
    for _ in range(20):
        part = KeySketch()
        for _ in range(500):
            key = min(int(chance.paretovariate(0.6)), 10_000)
            total[key] = total.get(key, 0) + 1
            part.count(key, write=False, cacheable=True, weight=1)
        merged.add(part)
    assert len(merged.heaviest) <= HEAVY
    true = sorted(total.values(), reverse=True)
    assert [reads for reads, _ in merged.heaviest] == pytest.approx(true[: len(merged.heaviest)], rel=1)
    assert all(reads <= most for (reads, _), most in zip(merged.heaviest, true))
    assert merged.heaviest[0][0] == pytest.approx(true[0], rel=0.02)


def test_kept_and_read_again() -> None:
    sketch = seen([b"%d" % n for n in range(5000)], level=2)
    for n in range(100):
        sketch.count(n % 40, write=n % 2 == 0, cacheable=n % 3 == 0, weight=2)
    sketch.hits, sketch.misses = 30, 10
    again = KeySketch.decode(sketch.encode())
    assert len(sketch.encode()) < 1500
    for name in KeySketch.__slots__:
        assert getattr(again, name) == getattr(sketch, name), name
