"""Bounded sums: whatever makes room, nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.measure.tally import Tallies, Tally


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10**9))), st.integers(1, 12))
def test_the_sums_of_all_stay_those_of_everything(times: list[tuple[int, int]], limit: int) -> None:
    tallies: Tallies[int] = Tallies(limit, -1)
    for key, ns in times:
        tally = tallies.of(key)
        tally.count += 1
        tally.total_ns += ns
        tally.max_ns = max(tally.max_ns, ns)
        place = (ns >> 10).bit_length()
        tally.buckets[place] = tally.buckets.get(place, 0) + 1
        assert len(tallies) <= limit + 1
    total = Tally()
    for _, tally in tallies:
        total.add(tally)
    assert (total.count, total.total_ns) == (len(times), sum(ns for _, ns in times))
    assert total.max_ns == max((ns for _, ns in times), default=0)
    assert sum(total.buckets.values()) == len(times)


def test_what_costs_least_makes_room() -> None:
    tallies: Tallies[str] = Tallies(8, "others")
    for n, key in enumerate("abcdefgh", 1):
        tallies.of(key).total_ns = n
    tallies.of("new").total_ns = 100
    assert [key for key, _ in tallies] == ["b", "c", "d", "e", "f", "g", "h", "others", "new"]
    assert dict(tallies)["others"].total_ns == 1
