"""Shapes: what is recorded is what is taken, once; and the histogram's estimates are inside its buckets."""

from __future__ import annotations

import timeit

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.measure.shape_stats import ShapeStats
from proxy.measure.shapes import BUCKETS, Histogram, ShapeWindow, bucket_ns, digest_id, split_buckets

MS = 1_000_000


def test_a_window_holds_what_was_recorded_and_then_starts_again() -> None:
    stats = ShapeStats("SELECT ?", "forward", ["shop.t"], ["main"])
    stats.record(3 * MS, 2 * MS, rows=5, sent_bytes=100, failed=False)
    stats.record(9 * MS, 8 * MS, rows=0, sent_bytes=11, failed=True)
    window = stats.take()
    assert window is not None
    assert (window.count, window.errors, window.rows, window.sent_bytes) == (2, 1, 5, 111)
    assert (window.total_ns, window.server_ns, window.max_ns) == (12 * MS, 10 * MS, 9 * MS)
    assert window.shape.id == digest_id("SELECT ?")
    assert window.shape.tables == ("shop.t",)
    assert stats.take() is None

    stats.record(1 * MS, 0, 0, 0, False)
    again = stats.take()
    assert again is not None
    assert (again.count, again.errors, again.max_ns) == (1, 0, MS)


@given(st.lists(st.tuples(st.integers(0, 2**52), st.floats(0, 1)), min_size=1, max_size=40))
def test_every_statement_is_in_one_bucket_of_each_histogram(times: list[tuple[int, float]]) -> None:
    stats = ShapeStats("x", "local")
    for time_ns, share in times:
        stats.record(time_ns, int(time_ns * share), 0, 0, False)
    window = stats.take()
    assert window is not None
    total, server, proxy = split_buckets(window.buckets)
    assert sum(total.values()) == sum(server.values()) == sum(proxy.values()) == len(times)
    expected: dict[int, int] = {}
    for t, _ in times:
        place = next(i for i in range(BUCKETS) if bucket_ns(i)[0] <= t < bucket_ns(i)[1])
        expected[place] = expected.get(place, 0) + 1
    assert total == expected


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_in_the_bucket_of_the_exact_one(times: list[int], q: float) -> None:
    stats = ShapeStats("x", "local")
    for t in times:
        stats.record(t, 0, 0, 0, False)
    window = stats.take()
    assert window is not None
    histogram = Histogram()
    histogram.add(split_buckets(window.buckets)[0], window.total_ns, window.max_ns)
    exact = sorted(times)[max(0, -(-int(q * 1000) * len(times) // 1000) - 1)]
    low, high = bucket_ns((exact >> 10).bit_length())
    assert low <= histogram.quantile_ns(q) <= min(high, max(times))


def test_the_cluster_label_is_bounded() -> None:
    assert ShapeStats("x", "local").shape.cluster == "none"
    assert ShapeStats("x", "forward", (), ["a"]).shape.cluster == "a"
    assert ShapeStats("x", "shard", (), ["a", "b"]).shape.cluster == "several"


def test_a_very_long_digest_is_cut_but_keeps_its_own_id() -> None:
    one, other = ShapeStats("x" * 5000 + "1", "local"), ShapeStats("x" * 5000 + "2", "local")
    assert len(one.digest) < 3000
    assert one.digest == other.digest
    assert one.shape.id != other.shape.id


def test_a_window_survives_the_wire() -> None:
    stats = ShapeStats("SELECT ?", "shard", ["shop.t", "shop.u"], ["a", "b"])
    stats.record(10, 5, 1, 1, True)
    window = stats.take()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(window), type=ShapeWindow) == window


def test_recording_is_cheap() -> None:
    """Beside a list's own `append` and `pop`; an allocation-heavy rewrite would be noticed."""
    record = ShapeStats("SELECT ?", "forward").record
    some: list[int] = []

    def append() -> None:
        some.append(1)
        some.pop()

    recorded = min(timeit.repeat(lambda: record(300_123, 250_456, 1, 200, False), number=2_000, repeat=30))
    assert recorded < 10 * min(timeit.repeat(append, number=2_000, repeat=30))
