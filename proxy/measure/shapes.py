"""What statements of one shape cost, as `proxy.measure.shape_stats` counts it and others sum it up.

Histograms have a bucket per power of two of 1.024 microseconds: bucket i holds times whose `ns >> 10` has i bits, so
its upper bound is `1024 << i` nanoseconds.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

BUCKETS: Final = 44  # the last one's bound is over 100 days, so no time needs a check against the end
SERVER: Final = BUCKETS  # where the places of times spent waiting for servers begin
PROXY: Final = 2 * BUCKETS
DIGEST_CHARS = 2048  # of a digest kept and shown; the id is of the whole one
MAX_SAMPLE = 4096  # bytes of a shape's text that is handed on, to be planned again under other rules
SAMPLE_EVERY = 64  # takes with statements: so often it is handed on again, to whoever has forgotten it


class ShapeId(msgspec.Struct, frozen=True, array_like=True):
    """What makes two plan-cache entries one line of SHOW TURNOUT SHAPES: hashable, and small enough to send."""

    id: str  # 16 hexadecimal digits of the digest's hash, as in the log
    kind: str  # the plan's kind
    tables: tuple[str, ...]  # "database.table", as far as the shape says
    clusters: tuple[str, ...]  # every cluster that the plan can send to

    @property
    def cluster(self) -> str:
        """The metric label: a cluster's name, `several`, or `none` for what the proxy answers itself."""
        if len(self.clusters) > 1:
            return "several"
        return self.clusters[0] if self.clusters else "none"


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A shape's own text, without literals (`parser.shape`), and what its statements are read by."""

    shape: bytes
    database: str | None  # the session's default database
    prepared: bool = False
    charset: str = "utf8mb4"
    ansi_quotes: bool = False
    no_backslash_escapes: bool = False


class ShapeWindow(msgspec.Struct, array_like=True):
    """One shape's numbers since they were last taken. `buckets` is sparse: place in total + server + proxy, count."""

    shape: ShapeId
    digest: str
    count: int
    errors: int
    rows: int
    sent_bytes: int
    total_ns: int
    server_ns: int
    max_ns: int
    buckets: dict[int, int]
    sample: Sample | None = None  # in the first window, and again from time to time


def digest_id(digest: str) -> str:
    """A short name for a shape that is the same in every worker, host and version."""
    return hashlib.blake2b(digest.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


class Histogram:
    """Counts by power of two, summed over windows. `sum_ns` and `max_ns` are exact."""

    __slots__ = ("counts", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.sum_ns = 0
        self.max_ns = 0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def add(self, sparse: dict[int, int], sum_ns: int, max_ns: int = 0) -> None:
        """Add a window's counts by bucket, the sum of its times, and its longest (0: not known)."""
        for i, n in sparse.items():
            self.counts[i] += n
        self.sum_ns += sum_ns
        self.max_ns = max(self.max_ns, max_ns)

    def quantile_ns(self, q: float) -> int:
        """Estimate: linear inside the bucket where the q-th time lies, and never over the longest one seen."""
        counts = self.counts
        total = sum(counts)
        if not total:
            return 0
        rank = q * total
        seen = 0
        for i, n in enumerate(counts):
            if n and seen + n >= rank:
                low, high = bucket_ns(i)
                high = max(low, min(high, self.max_ns))
                return int(low + (high - low) * (rank - seen) / n)
            seen += n
        return self.max_ns


def bucket_ns(i: int) -> tuple[int, int]:
    """The bounds of bucket i: times from the first up to, not including, the second."""
    return (1024 << (i - 1) if i else 0), 1024 << i


def split_buckets(sparse: dict[int, int]) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
    """A window's buckets as total, server and proxy histograms (bucket -> count)."""
    parts: tuple[dict[int, int], dict[int, int], dict[int, int]] = ({}, {}, {})
    for place, n in sparse.items():
        part, i = divmod(place, BUCKETS)
        parts[part][i] = n
    return parts
