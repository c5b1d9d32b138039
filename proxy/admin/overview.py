"""What the supervisor knows at one moment: the source of metrics, pages and tables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from proxy.measure.recent import Recent
from proxy.measure.states import SequenceState, ServerState, SessionState
from proxy.measure.totals import Totals
from proxy.rules.model import Rules


@dataclass(slots=True)
class WorkerView:
    """One worker process. `state`: starting, ready, draining, or down (waiting to be started again)."""

    slot: int
    pid: int = 0
    state: str = "down"
    started: float = 0.0  # Unix time
    restarts: int = 0
    gauges: dict[str, int] = field(default_factory=dict)
    memory_bytes: int = 0
    servers: list[ServerState] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StreamView:
    """One cluster whose binary log is followed. `lag_s`: how far in the past everything is certainly known."""

    cluster: str
    pid: int
    following: bool
    reason: str
    lag_s: float | None
    applied: int
    visible: int
    restarts: int
    memory_bytes: int
    counters: dict[str, int]


@dataclass(frozen=True, slots=True)
class Overview:
    rules: Rules
    totals: Totals
    workers: tuple[WorkerView, ...]
    sessions: Callable[[], Awaitable[list[SessionState]]]
    sequences: Callable[[], Awaitable[list[SequenceState]]]
    started: float
    now: float
    version: str
    mysql: str  # where clients connect
    http: str  # "" for nowhere
    rules_loaded: float
    reloads_ok: int = 0
    reloads_failed: int = 0
    last_problem: str = ""  # of the newest reload, when it failed
    began: bool = True  # all workers have been ready at once
    stopping: bool = False
    streams: tuple[StreamView, ...] = ()
    recent: Recent = field(default_factory=Recent)
    history: Path | None = None  # the file that is written

    @property
    def ready(self) -> bool:
        """May a load balancer send clients here? At first when all workers are ready, later while any is."""
        return self.began and not self.stopping and any(worker.state == "ready" for worker in self.workers)


@dataclass(slots=True)
class ServerSum:
    """One server as all workers see it: connections added up, health at its worst."""

    cluster: str
    address: str
    role: str
    state: str
    reason: str
    lag_s: float | None
    busy: int
    idle: int
    pinned: int
    waiters: int
    limit: int
    read_only: bool
    status: dict[str, int] = field(default_factory=dict)  # see ServerState; one worker asks


_WORST = {"down": 0, "unknown": 1, "up": 2}


def servers(workers: tuple[WorkerView, ...]) -> list[ServerSum]:
    """Every server once, in the order of the first worker that knows it."""
    sums: dict[tuple[str, str, str], ServerSum] = {}
    for worker in workers:
        for one in worker.servers:
            key = (one.cluster, one.address, one.role)
            found = sums.get(key)
            if found is None:
                sums[key] = ServerSum(
                    one.cluster,
                    one.address,
                    one.role,
                    one.state,
                    one.reason,
                    one.lag_s,
                    one.busy,
                    one.idle,
                    one.pinned,
                    one.waiters,
                    one.limit,
                    one.read_only,
                    one.status,
                )
                continue
            if _WORST.get(one.state, 1) < _WORST.get(found.state, 1):
                found.state, found.reason = one.state, one.reason
            if one.lag_s is not None:
                found.lag_s = one.lag_s if found.lag_s is None else max(found.lag_s, one.lag_s)
            found.busy += one.busy
            found.idle += one.idle
            found.pinned += one.pinned
            found.waiters += one.waiters
            found.limit += one.limit
            found.read_only = found.read_only or one.read_only
            found.status = found.status or one.status
    return list(sums.values())
