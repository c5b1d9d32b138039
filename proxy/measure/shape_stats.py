"""Counts what statements of one shape cost, where they end; taken away once a second.

`ShapeStats` sits in the hot path: `record` is plain attribute adds on one object, without locks or allocations. It
counts since the last `take`; sums over time and over workers are kept by whoever takes (`proxy.measure.totals`), so
that nothing is lost or counted twice when a shape leaves the plan cache or a worker dies.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.measure.shapes import (
    BUCKETS,
    DIGEST_CHARS,
    PROXY,
    SAMPLE_EVERY,
    SERVER,
    Sample,
    ShapeId,
    ShapeWindow,
    digest_id,
)


class ShapeStats:
    """The numbers of one plan-cache entry since the last `take`."""

    __slots__ = (
        "buckets",
        "count",
        "digest",
        "errors",
        "max_ns",
        "own",
        "rows",
        "sample",
        "sent_bytes",
        "server_ns",
        "shape",
        "taken",
        "total_ns",
    )

    def __init__(
        self,
        digest: str,
        kind: str,
        tables: Sequence[str] = (),
        clusters: Sequence[str] = (),
        shape_id: str = "",
        sample: Sample | None = None,
    ) -> None:
        self.shape = ShapeId(shape_id or digest_id(digest), kind, tuple(tables), tuple(clusters))
        self.digest = digest if len(digest) <= DIGEST_CHARS else digest[:DIGEST_CHARS] + " ..."
        self.sample = sample
        self.taken = 0  # windows
        self._clear()

    def _clear(self) -> None:
        self.count = self.errors = self.rows = self.sent_bytes = 0
        self.total_ns = self.server_ns = self.max_ns = 0
        self.buckets = [0] * (3 * BUCKETS)
        self.own = [0] * BUCKETS  # of statements that no server was asked for; not in `buckets`

    def record(self, total_ns: int, server_ns: int, rows: int, sent_bytes: int, failed: bool) -> None:
        """Count one statement: from its first byte read to its answer's last byte written, and the part of it spent
        waiting for servers (0 <= server_ns <= total_ns); rows and bytes that went to the client."""
        self.count += 1
        self.rows += rows
        self.sent_bytes += sent_bytes
        self.total_ns += total_ns
        self.server_ns += server_ns
        if total_ns > self.max_ns:
            self.max_ns = total_ns
        buckets = self.buckets
        buckets[(total_ns >> 10).bit_length()] += 1
        buckets[SERVER + (server_ns >> 10).bit_length()] += 1
        buckets[PROXY + ((total_ns - server_ns) >> 10).bit_length()] += 1
        if failed:
            self.errors += 1

    def record_more(self, total_ns: int, server_ns: int, rows: int, sent_bytes: int) -> None:
        """More of the answer to a statement that has been counted: rows that were fetched from its cursor."""
        self.rows += rows
        self.sent_bytes += sent_bytes
        self.total_ns += total_ns
        self.server_ns += server_ns

    def record_own(self, total_ns: int, rows: int, sent_bytes: int) -> None:
        """The same of a statement that was answered without a server."""
        self.count += 1
        self.rows += rows
        self.sent_bytes += sent_bytes
        self.total_ns += total_ns
        if total_ns > self.max_ns:
            self.max_ns = total_ns
        self.own[(total_ns >> 10).bit_length()] += 1

    def take(self) -> ShapeWindow | None:
        """The numbers since the last call, which start again at nothing; None when there were no statements."""
        if not self.count:
            return None
        buckets = self.buckets
        for i, n in enumerate(self.own):
            buckets[i] += n
            buckets[SERVER] += n
            buckets[PROXY + i] += n
        window = ShapeWindow(
            self.shape,
            self.digest,
            self.count,
            self.errors,
            self.rows,
            self.sent_bytes,
            self.total_ns,
            self.server_ns,
            self.max_ns,
            {place: n for place, n in enumerate(buckets) if n},
            self.sample if self.taken % SAMPLE_EVERY == 0 else None,
        )
        self.taken += 1
        self._clear()
        return window
