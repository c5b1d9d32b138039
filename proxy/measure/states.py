"""What a worker says about its servers, sessions and sequences: gauges, not counters. Small enough to send."""

from __future__ import annotations

import msgspec


class ServerState(msgspec.Struct):
    """One server as one worker sees it."""

    cluster: str
    address: str
    role: str  # primary | replica
    state: str  # up | down | unknown
    reason: str = ""  # why it is down
    lag_s: float | None = None  # replicas; None when not known
    busy: int = 0  # connections with a statement or a transaction, or pinned
    idle: int = 0
    pinned: int = 0  # of the busy ones
    waiters: int = 0  # statements that wait for a connection
    limit: int = 0  # connections, per worker
    read_only: bool = False
    status: dict[str, int] = {}  # what it says of its load (`proxy.front.load`), where the history asks


class SessionState(msgspec.Struct):
    """One client's session."""

    id: int
    user: str
    host: str  # where the client comes from, address:port
    database: str | None = None
    state: str = "idle"  # idle | running | waiting | login, ...
    cluster: str = ""  # of the connection that it holds
    transaction: bool = False
    pinned: str = ""  # the reason, when it is
    shape: str = ""  # id of the running statement's shape
    seconds: float = 0.0  # in this state
    statements: int = 0
    worker: int = 0


class SequenceState(msgspec.Struct):
    """One sequence of ids as one worker sees it; without a name: the table of a cluster's sequences, where there is a
    problem with it."""

    cluster: str  # home, which has the table
    name: str = ""
    next_id: int | None = None  # where the next block begins, as home says; None: it does not say
    at_hand: int = 0  # ids that the worker has taken and not given out yet
    block: int = 0  # ids that it takes at once
    problem: str = ""
