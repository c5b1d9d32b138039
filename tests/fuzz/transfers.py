"""Transactions of clients whose writes are looked for on the servers afterwards: all of them, or none."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.fuzz.campaign import Finding
from tests.fuzz.fake_cluster import FakeCluster

WRITES = (
    "INSERT INTO plain_t VALUES (%d, 'x')",
    "INSERT INTO spread_t (id, c) VALUES (%d, 'x')",
    "INSERT INTO spread_t (id, c) VALUES (1, 'x'), (2, 'y'), (%d, 'z')",
    "UPDATE spread_t SET c = 'y' WHERE v = %d",
    "UPDATE spread_t SET c = 'y' WHERE id = %d",
    "UPDATE away_t SET c = 'y' WHERE v = %d",
    "DELETE FROM away_t WHERE id = %d",
    "UPDATE plain_t SET c = 'y' WHERE id = %d",
)


class End(enum.Enum):
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    ONE_OF_THE_TWO = "one of the two"  # COMMIT was sent, and the client was not told which


@dataclass(slots=True)
class Transfer:
    """One transaction: the numbers in its writes, and what its client was told."""

    end: End = End.ROLLED_BACK  # so as it is as long as no COMMIT has been sent
    tags: list[bytes] = field(default_factory=list)
    told: str = ""


def check(transfers: Iterable[Transfer], clusters: Iterable[FakeCluster], atomic: bool) -> None:
    """Raises Finding. Nobody writes any more, and nothing is left to be recovered."""
    clusters = tuple(clusters)
    for transfer in transfers:
        tags = set(transfer.tags)
        done = [(tag, each.token) for each in clusters for tag in tags & each.committed]
        undone = [(tag, each.token) for each in clusters for tag in tags & each.undone - each.committed]
        if transfer.end is End.COMMITTED and (undone or {tag for tag, _ in done} != tags):
            raise Finding(f"lost writes: {transfer}: {done} are there, {undone} are not")
        if transfer.end is End.ROLLED_BACK and done:
            raise Finding(f"writes that were rolled back are there: {transfer}: {done}")
        if transfer.end is End.ONE_OF_THE_TWO and atomic and done and undone:
            raise Finding(f"half a transaction: {transfer}: {done} are there, {undone} are not")
    if atomic:
        _check_branches({each.token: each for each in clusters})


def _check_branches(clusters: dict[bytes, FakeCluster]) -> None:
    """Every branch that was prepared has ended as was decided."""
    for cluster in clusters.values():
        if left := cluster.prepared():
            raise Finding(f"branches are left prepared: {left}")
        for branch, committed in cluster.ended:
            if branch.ours is None:
                continue  # a client's own
            transaction, first, own = branch.ours
            if own != cluster.token:
                raise Finding(f"a branch of {own!r} on {cluster.token!r}")
            outcome, _ = clusters[first].decisions.get(transaction, (b"none", None))
            if committed != (outcome == b"commit"):
                raise Finding(f"decided {outcome!r} of {transaction!r}, and committed {committed} on {own!r}")
