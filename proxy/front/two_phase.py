"""How a transaction over several clusters ends: what is done in which order, and what each event makes of it. Pure.

`ending` says which parts need two phases at all. Where they do, the coordinator (`proxy.front.atomic`) walks TABLE:

    PREPARING   every branch that may have written is being prepared
    WRITING     the decision row is being inserted in the first cluster's ordinary transaction
    COMMITTING  that transaction is being committed, and the decision with it
    ASKING      an answer is missing: the row that is there in the end says what happened (`proxy.back.decisions.ask`)
    COMMITTED, ROLLED_BACK   the decision is known, and branches are told
    UNKNOWN     nobody could be asked in time: branches stay prepared, recovery asks again

Before WRITING nothing can have been decided, so any failure rolls back. From then on only a row, or the server's own
refusal to write it, decides: a lost answer never does. Recovery decides by the same row, so the two always agree.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from proxy.back.decisions import Decision, Row
from proxy.back.xa import Branch


class Phase(enum.Enum):
    PREPARING = "preparing"
    WRITING = "writing"
    COMMITTING = "committing"
    ASKING = "asking"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    UNKNOWN = "unknown"


class Event(enum.Enum):
    DONE = "done"  # what the phase does was acknowledged
    REFUSED = "refused"  # a server answered with an error
    LOST = "lost"  # a connection was lost before the answer
    LATE = "late"  # it took too long to go on
    FOUND_COMMIT = "found commit"
    FOUND_ABORT = "found abort"


TABLE: Mapping[tuple[Phase, Event], Phase] = {
    (Phase.PREPARING, Event.DONE): Phase.WRITING,
    (Phase.PREPARING, Event.REFUSED): Phase.ROLLED_BACK,
    (Phase.PREPARING, Event.LOST): Phase.ROLLED_BACK,
    (Phase.PREPARING, Event.LATE): Phase.ROLLED_BACK,
    (Phase.WRITING, Event.DONE): Phase.COMMITTING,
    (Phase.WRITING, Event.REFUSED): Phase.ROLLED_BACK,  # no row of ours: recovery's, or none
    (Phase.WRITING, Event.LOST): Phase.ASKING,
    (Phase.WRITING, Event.LATE): Phase.ROLLED_BACK,
    (Phase.COMMITTING, Event.DONE): Phase.COMMITTED,
    (Phase.COMMITTING, Event.LATE): Phase.ROLLED_BACK,  # COMMIT was not sent, and is not going to be
    (Phase.COMMITTING, Event.REFUSED): Phase.ASKING,
    (Phase.COMMITTING, Event.LOST): Phase.ASKING,
    (Phase.ASKING, Event.FOUND_COMMIT): Phase.COMMITTED,
    (Phase.ASKING, Event.FOUND_ABORT): Phase.ROLLED_BACK,
    (Phase.ASKING, Event.LATE): Phase.UNKNOWN,
}
FINAL = frozenset({Phase.COMMITTED, Phase.ROLLED_BACK, Phase.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Ending:
    """What COMMIT has to do. Clusters in no list hold nothing of the transaction."""

    prepare: tuple[str, ...] = ()  # branches that are prepared, and committed after the decision
    alone: str | None = None  # the branch that alone has written: committed in one phase, before all others
    decide: bool = False  # a decision row goes into the first cluster's transaction
    readers: tuple[str, ...] = ()  # branches that only read: their locks are let go last


def ending(branches: Sequence[str], first: str | None, writers: Collection[str]) -> Ending:
    """`branches`: clusters with an XA branch; `first`: the cluster with the ordinary transaction; `writers`: clusters
    on which something may have been written."""
    wrote = tuple(cluster for cluster in branches if cluster in writers)
    readers = tuple(cluster for cluster in branches if cluster not in writers)
    if not wrote:
        return Ending(readers=readers)
    if len(wrote) == 1 and first not in writers:
        return Ending(alone=wrote[0], readers=readers)
    return Ending(prepare=wrote, decide=True, readers=readers)


# -- recovery --------------------------------------------------------------------------------------------------------

# An abort row keeps a late commit out. Coordinators give up far sooner than this (proxy.front.atomic.DECIDE_WITHIN_S).
KEEP_ABORTS_S = 86_400.0
KEEP_COMMITS_S = 600.0


class Sightings:
    """Since when a branch has been seen prepared. Those of a transaction that is being committed are gone soon; the
    others wait for somebody to finish them."""

    def __init__(self) -> None:
        self._since: dict[Branch, float] = {}

    def due(self, seen: Collection[Branch], asked: Collection[str], now_s: float, grace_s: float) -> list[Branch]:
        """`seen`: every prepared branch on the clusters with the tokens `asked`. Returns those to be finished now."""
        self._since = {
            branch: since for branch, since in self._since.items() if branch in seen or branch.own not in asked
        }
        for branch in seen:
            self._since.setdefault(branch, now_s)
        return sorted(
            (branch for branch in seen if now_s - self._since[branch] >= grace_s), key=lambda b: (b.id, b.own)
        )


def forgettable(rows: Collection[Row], left: Collection[Branch], asked: Collection[str]) -> list[str]:
    """Decisions that nobody can ask for any more. `left`: branches prepared on the clusters with the tokens `asked`, as
    seen after the rows were read. All branches were prepared before a decision to commit, so one that is not there has
    been committed."""
    waiting = {branch.id for branch in left}
    return [
        row.id
        for row in rows
        if row.id not in waiting
        and (
            row.age_s >= KEEP_ABORTS_S
            if row.decision is Decision.ABORT
            else row.age_s >= KEEP_COMMITS_S and all(token in asked for token in row.branches)
        )
    ]
