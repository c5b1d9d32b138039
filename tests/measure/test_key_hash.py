from __future__ import annotations

import random

import pytest

from proxy.measure.key_hash import LARGEST, integer_hash, key_hash

CHANCE = random.Random(1)


@pytest.mark.parametrize("number", [0, 1, 9, 10, 5123, 2**31 - 1, 2**32, 10**17, LARGEST])
def test_a_number_has_the_hash_of_its_text(number: int) -> None:
    assert integer_hash(number) == key_hash(b"%d" % number)
    assert 0 <= integer_hash(number) < 1 << 32


def test_texts_that_differ_are_not_taken_for_numbers() -> None:
    texts = [b"", b"7", b"07", b"007", b"-7", b"7 ", b"7.0", b"+7", b"7/", b"7:"]
    texts += [b"%d" % (LARGEST + 1), b"0%d" % LARGEST]
    assert len({key_hash(text) for text in texts}) == len(texts)


@pytest.mark.parametrize("step", [1, 2, 10, 64, 1000, 4096, 1 << 20, (1 << 32) + 1, (1 << 30) - 1, 10**9, 10**10])
def test_of_numbers_in_any_order_each_part_of_the_hashes_has_its_share(step: int) -> None:
    """The upper bits choose which keys are looked at, and count how many there are."""
    count = 1 << 16
    for shift in (24, 16, 8, 0):
        shares = [0] * 256
        for number in range(count):
            shares[integer_hash(5000 + number * step) >> shift & 255] += 1
        squares = sum((share - count / 256) ** 2 for share in shares) / (count / 256)
        assert squares < 400, "chi-square with 255 degrees of freedom; 400 is beyond six standard deviations"


def test_a_bit_of_a_number_changes_half_of_its_hash() -> None:
    changed = [0] * 32
    count = 4000
    for _ in range(count):
        number = CHANCE.randrange(LARGEST)
        other = integer_hash(number ^ 1 << CHANCE.randrange(40)) ^ integer_hash(number)
        for bit in range(32):
            changed[bit] += other >> bit & 1
    assert all(0.45 * count < each < 0.55 * count for each in changed)
