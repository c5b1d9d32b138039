"""Plans and routes: the narrow interface between deciding where a statement goes and sending it there.

A `Plan` belongs to a shape and is immutable; `Plan.route(values)` fills in one statement's values and says which
targets get which bytes. Both are pure. A plan describes itself (`describe`), which is what EXPLAIN and the golden
tests show.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from parser.members import quick
from parser.params import Bindings
from parser.statement import Effect, Statement, Value
from proxy.errors import StatementRefused
from proxy.plan.merge import Merge
from proxy.rules.model import CacheClass

if TYPE_CHECKING:
    from proxy.back.text_slots import TextSlots
    from proxy.plan.around_workbench import Explanation, Within
    from proxy.plan.insert_select import Selected
    from proxy.plan.key_list import KeyList
    from proxy.plan.load_data import Loading
    from proxy.plan.shows import Showing
    from proxy.plan.system_reads import Gather
    from proxy.plan.workbench import Work


@quick
class Unknown(enum.Enum):
    """A value that cannot be known without a server (a decimal, an expression, undecodable text)."""

    UNKNOWN = "unknown"


class WholeDouble(int):
    """A whole number that was bound as DOUBLE (node's driver binds all numbers so) and is exact as such."""


KeyValue = int | str | datetime.date | None | Unknown  # None is SQL NULL; dates and times only where they were bound
ValueOf = Callable[[Value], KeyValue]  # gives the value of a Hole or Param in the statement at hand


@quick
class Reply(enum.Enum):
    """How the answers of several targets become one."""

    CONCATENATE = "concatenate"  # rows one target after the other
    MERGE = "merge"  # rows sorted, limited, without duplicates: see Route.merge
    SUM = "sum"  # affected rows, warnings and matched/changed counts added up
    EXPLAIN = "explain"  # rows one target after the other, with a column that says of which they are
    FIRST = "first"  # every target did the same work (everywhere tables): the first one's answer


@dataclass(frozen=True, slots=True)
class Send:
    """One target's share of a statement. `text` is None when the client's own bytes are forwarded.

    `params`: of a prepared statement's share, what is bound to each `?` of `text`.
    """

    cluster: str
    text: bytes | None = None
    params: Bindings = ()


@dataclass(frozen=True, slots=True)
class Route:
    """Where one statement goes. One `send` is the fast path."""

    sends: tuple[Send, ...]
    reply: Reply = Reply.CONCATENATE
    merge: Merge | None = None  # of Reply.MERGE
    rows: tuple[int, ...] = ()  # of an INSERT that is split: for each row, which of `sends` has it
    work: Work | None = None  # without sends: to be finished on the workbench
    gather: Gather | None = None  # without sends: of information_schema, with rows of several clusters
    showing: Showing | None = None  # without sends: SHOW, with rows of several clusters
    otherwise: Plan | None = None  # goes elsewhere if the answers turn out to be such that they cannot be merged
    listed: KeyList | None = None  # without sends: rows to be found, and written by their primary keys
    selected: Selected | None = None  # without sends: rows to be selected, and inserted elsewhere
    explaining: Explanation | None = None  # without sends: EXPLAIN of what is pulled on to the workbench
    within: Within | None = None  # without sends: a statement to be run under other settings
    loading: Loading | None = None  # without sends: a file whose lines go to several clusters

    @property
    def clusters(self) -> tuple[str, ...]:
        """Where it may write."""
        if self.listed is not None:
            return self.listed.clusters
        if self.selected is not None:
            return self.selected.clusters
        if self.loading is not None:
            return self.loading.clusters
        return tuple(send.cluster for send in self.sends)


class CachedRead(Protocol):
    """A read of one cache class (`proxy.plan.caching`)."""

    @property
    def database(self) -> str: ...

    @property
    def table(self) -> str: ...

    @property
    def cache_class(self) -> CacheClass: ...

    def slots(self, value_of: ValueOf) -> tuple[int, ...] | None:
        """The slots of the clocks that the answer depends on; None: this statement's values have no normal form."""

    @property
    def text_slots(self) -> TextSlots | None:
        """A quicker way for texts; None: there is none."""

    def describe(self) -> str: ...


class Marks(Protocol):
    """What a write touches, as far as its text tells (`proxy.plan.caching`)."""

    @property
    def generating(self) -> tuple[object, ...]:
        """Not empty: `generated` is to be asked too."""

    def slots(self, value_of: ValueOf) -> tuple[int, ...]:
        """The slots to mark, never too few, but for those of `generated`."""

    def generated(self, insert_id: int) -> tuple[int, ...]:
        """More to mark, of rows whose key the server made, once it has said which (0: it made none)."""

    def describe(self) -> str: ...


@quick
class Do(enum.Enum):
    """Statements that the session itself carries out (`Local` plans)."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"  # SAVEPOINT, ROLLBACK TO, RELEASE: to whatever holds the transaction
    SET = "set"
    USE = "use"
    KILL = "kill"
    ANSWER = "answer"  # SELECTs of session values: LAST_INSERT_ID(), FOUND_ROWS(), CONNECTION_ID(), ...
    DIAGNOSTICS = "diagnostics"  # SHOW WARNINGS / ERRORS / COUNT(*) WARNINGS
    TURNOUT = "turnout"
    EMPTY = "empty"
    PREPARE = "prepare"  # SQL-level PREPARE, EXECUTE, DEALLOCATE, on the one cluster that there is
    NAMED = "named"  # the same by the session, for tables on several
    LOCK = "lock"  # FLUSH TABLES WITH READ LOCK, of everything, which is on several clusters
    UNLOCK = "unlock"  # UNLOCK TABLES, wherever the session has locks


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens to one shape. Subclasses are the rungs of the planning ladder (DESIGN.md 5.3)."""

    statement: Statement
    kind = "plan"  # bounded label for metrics: local, forward, shard, insert, scatter, workbench, refuse, ..
    writes: bool = False  # must run on a primary, and counts as the transaction's writer
    replica_ok: bool = False  # may be read from a replica (own writes and lag permitting)
    max_lag_s: float = 0.0
    own_writes: bool = True
    pins: str = ""  # not empty: after it the session stays on its connection, and this is why (metric label)
    pin_cluster: str = ""  # the cluster of that connection; empty: the one that the route names
    effects: Effect = Effect.NONE
    generated_id: bool | None = None  # INSERT: does the OK packet's insert id become LAST_INSERT_ID()? None: must ask
    explicit_ids: tuple[Value, ...] = ()  # the auto-increment column's values where they alone decide `generated_id`
    cached: CachedRead | None = None  # a read that may be served from memory
    uncached: str = ""  # a read of a cache class's table that may not: why, in a few words
    marks: Marks | None = None  # a write that may concern cached rows
    notes: tuple[str, ...] = field(default=())  # for EXPLAIN: why this rung and not a cheaper one

    def generates_id(self, value_of: ValueOf) -> bool | None:
        """`generated_id` for one statement: its literals and bound values may remove the doubt."""
        if self.generated_id is not None or not self.explicit_ids:
            return self.generated_id
        if len(self.explicit_ids) == 1:
            return _generates(value_of(self.explicit_ids[0]))
        generated = {_generates(value_of(value)) for value in self.explicit_ids}
        return generated.pop() if len(generated) == 1 else None

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        """The targets for one statement whose bytes are `text`. Raises StatementRefused."""
        raise NotImplementedError

    def describe(self) -> list[tuple[str, str]]:
        """(what, value) pairs for TURNOUT EXPLAIN."""
        raise NotImplementedError

    def traits(self) -> list[tuple[str, str]]:
        """The lines that every plan ends with."""
        lines = []
        if self.writes:
            lines.append(("runs on", "primary (writes)"))
        elif self.replica_ok:
            own = ", after this session's own writes" if self.own_writes else ""
            lines.append(("runs on", f"replica at most {self.max_lag_s:g} s behind{own}, or primary"))
        if self.pins:
            where = f" to {self.pin_cluster}" if self.pin_cluster else ""
            lines.append(("pins", f"the session{where}: {self.pins}"))
        if self.cached is not None:
            lines.append(("cache", self.cached.describe()))
        elif self.uncached:
            lines.append(("cache", f"not cached: {self.uncached}"))
        if self.marks is not None:
            lines.append(("cache marks", self.marks.describe()))
        if self.statement.insert is not None:
            known = {True: "generated", False: "none generated", None: "to be asked for"}
            lines.append(("last insert id", known[self.generated_id]))
        lines += [("note", note) for note in self.notes]
        return lines


def _generates(value: KeyValue) -> bool | None:
    if value is None:
        return True
    if isinstance(value, str):
        return False if value.isascii() and value.isdigit() and value.strip("0") else None
    if isinstance(value, int):
        # 0 is generated, or stored as it is (NO_AUTO_VALUE_ON_ZERO): then the OK packet says 0, which means none.
        return value == 0
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(Plan):
    kind = "local"
    do: Do

    def describe(self) -> list[tuple[str, str]]:
        return [("plan", self.kind), ("action", self.do.value), *self.traits()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward(Plan):
    """Everything that the statement touches is on one cluster, known from the shape alone."""

    kind = "forward"
    cluster: str
    fixed: Route

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        return self.fixed

    def describe(self) -> list[tuple[str, str]]:
        return [("plan", self.kind), ("cluster", self.cluster), *self.traits()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Several(Forward):
    """Several statements in one text, each of which has a plan of its own when its turn comes. `cluster` is for clients
    that have not asked for that (CLIENT_MULTI_STATEMENTS): a server reads no further than the first semicolon."""

    kind = "several"

    def describe(self) -> list[tuple[str, str]]:
        return [("plan", self.kind), ("each statement", "has a plan of its own, when its turn comes")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Plan):
    kind = "refuse"
    error: StatementRefused

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        raise self.error.with_traceback(None)  # the plan lives on: do not let frames pile up on its error

    def describe(self) -> list[tuple[str, str]]:
        return [("plan", "refuse"), ("reason", self.error.reason), ("error", self.error.message)]
