"""Plans and routes: the narrow interface between deciding where a statement goes and sending it there.

A `Plan` belongs to a shape and is immutable; `Plan.route(values)` fills in one statement's values and says which
targets get which bytes. Both are pure. A plan describes itself (`describe`), which is what EXPLAIN and the golden
tests show.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from parser.statement import Effect, Statement, Value
from proxy.errors import StatementRefused


class Unknown(enum.Enum):
    """A value that cannot be known without a server (a decimal, an expression, undecodable text)."""

    UNKNOWN = "unknown"


KeyValue = int | str | None | Unknown  # None is SQL NULL
ValueOf = Callable[[Value], KeyValue]  # gives the value of a Hole or Param in the statement at hand


class Reply(enum.Enum):
    """How the answers of several targets become one."""

    CONCATENATE = "concatenate"  # rows one target after the other
    SUM = "sum"  # affected rows, warnings and matched/changed counts added up
    FIRST = "first"  # every target did the same work (everywhere tables): the first one's answer


@dataclass(frozen=True, slots=True)
class Send:
    """One target's share of a statement. `text` is None when the client's own bytes are forwarded."""

    cluster: str
    text: bytes | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Where one statement goes. One `send` is the fast path."""

    sends: tuple[Send, ...]
    reply: Reply = Reply.CONCATENATE


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
    PREPARE = "prepare"  # SQL-level PREPARE, EXECUTE, DEALLOCATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens to one shape. Subclasses are the rungs of the planning ladder (DESIGN.md 5.3)."""

    statement: Statement
    kind = "plan"  # bounded label for metrics: local, forward, shard, scatter, write-all, refuse
    writes: bool = False  # must run on a primary, and counts as the transaction's writer
    replica_ok: bool = False  # may be read from a replica (own writes and lag permitting)
    max_lag_s: float = 0.0
    own_writes: bool = True
    pins: str = ""  # not empty: after it the session stays on its connection, and this is why (metric label)
    pin_cluster: str = ""
    effects: Effect = Effect.NONE
    generated_id: bool | None = None  # INSERT: does the OK packet's insert id become LAST_INSERT_ID()? None: must ask
    notes: tuple[str, ...] = field(default=())  # for EXPLAIN: why this rung and not a cheaper one

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        """The targets for one statement whose bytes are `text`. Raises StatementRefused."""
        raise NotImplementedError

    def describe(self) -> list[tuple[str, str]]:
        """(what, value) pairs for TURNOUT EXPLAIN."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(Plan):
    kind = "local"
    do: Do

    def describe(self) -> list[tuple[str, str]]:
        return [("plan", "local"), ("action", self.do.value)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward(Plan):
    """Everything that the statement touches is on one cluster, known from the shape alone."""

    kind = "forward"
    cluster: str
    fixed: Route

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        return self.fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Plan):
    kind = "refuse"
    error: StatementRefused

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        raise self.error

    def describe(self) -> list[tuple[str, str]]:
        return [("plan", "refuse"), ("reason", self.error.reason), ("error", self.error.message)]
