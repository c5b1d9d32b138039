"""The question that the planner answers: one statement under one set of rules and one catalog."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from parser.statement import Effect, Kind, Statement
from proxy.back.catalog import Catalog, TableSchema
from proxy.plan.places import Place, home_of, place, table_clusters
from proxy.plan.plan import Forward, Plan
from proxy.plan.shard_routes import route_to
from proxy.plan.sharding import key_schema
from proxy.rules.model import ReadFrom, Rules


@dataclass(frozen=True, slots=True)
class Case:
    statement: Statement
    rules: Rules
    catalog: Catalog
    database: str | None
    home: str  # of the session's database
    places: tuple[Place, ...]  # one for each of statement.tables
    _schemas: dict[int, TableSchema | None] = field(default_factory=dict, repr=False, compare=False)

    def schema(self, table: int) -> TableSchema | None:
        """The columns of the table mentioned as number `table`."""
        if table not in self._schemas:
            self._schemas[table] = self._schema(table)
        return self._schemas[table]

    def _schema(self, table: int) -> TableSchema | None:
        found = self.places[table]
        if found.cluster is not None:
            return self.catalog.find(found.cluster, found.database, found.ref.name)
        assert found.entry is not None
        if found.sharded:
            return key_schema(found.entry, self.catalog)
        where = (
            self.catalog.find(cluster, found.database, found.ref.name)
            for cluster in table_clusters(self.rules, found.entry)
        )
        return next((schema for schema in where if schema is not None), None)

    @property
    def sharded(self) -> list[Place]:
        return [each for each in self.places if each.sharded]

    @property
    def fixed(self) -> list[Place]:
        return [each for each in self.places if each.cluster is not None]

    @property
    def everywhere(self) -> list[Place]:
        return [each for each in self.places if each.everywhere]

    def forward(self, cluster: str, *notes: str) -> Forward:
        return Forward(statement=self.statement, cluster=cluster, fixed=route_to(cluster), notes=notes)

    def verb(self) -> str:
        """The statement's kind for people."""
        return self.statement.kind.value.upper()

    @staticmethod
    def verb_of(statement: Statement) -> str:
        return statement.kind.value.upper()


def case(statement: Statement, rules: Rules, catalog: Catalog, database: str | None) -> Case:
    places = tuple(place(ref, rules, database) for ref in statement.tables)
    return Case(statement, rules, catalog, database, home_of(rules, database), places)


_WRITING_KINDS = frozenset(
    {
        Kind.INSERT,
        Kind.REPLACE,
        Kind.UPDATE,
        Kind.DELETE,
        Kind.LOAD_DATA,
        Kind.CALL,
        Kind.XA,
        Kind.DDL,
        Kind.ACCOUNT,
        Kind.LOCK_TABLES,
        Kind.ADMIN,
        Kind.UNKNOWN,
        Kind.EXECUTE,
    }
)

# Reads with any of these are for the primary: they write, lock, or ask about the session or the server itself.
_PRIMARY_EFFECTS = (
    Effect.WRITES
    | Effect.LOCKS_ROWS
    | Effect.UNKNOWN_FUNCTION
    | Effect.READS_USER_VARIABLE
    | Effect.SETS_USER_VARIABLE
    | Effect.SESSION_LOCK
    | Effect.USES_LAST_INSERT_ID
    | Effect.SETS_LAST_INSERT_ID
    | Effect.USES_FOUND_ROWS
    | Effect.CALC_FOUND_ROWS
    | Effect.USES_ROW_COUNT
    | Effect.USES_CONNECTION_ID
    | Effect.USES_DIAGNOSTICS
    | Effect.INTO_FILE
    | Effect.READS_SYSTEM_VARIABLE
    | Effect.SEQUENCE
    | Effect.TEMPORARY_TABLE
    | Effect.LOCAL_INFILE
)

_CHANGING = Effect.WRITES | Effect.UNKNOWN_FUNCTION | Effect.SEQUENCE

LOCK_TABLES, READ_LOCK, GLOBAL_READ_LOCK = "lock tables", "read lock", "global read lock"
LOCK_REASONS = frozenset({LOCK_TABLES, READ_LOCK, GLOBAL_READ_LOCK})  # to be pinned until UNLOCK TABLES
_PIN_BY_EFFECT = (
    (Effect.TEMPORARY_TABLE, "temporary table"),
    (Effect.SESSION_LOCK, "session lock"),
    (Effect.SETS_USER_VARIABLE, "user variable"),
    (Effect.SEQUENCE, "sequence"),  # LASTVAL is the connection's
    (Effect.UNKNOWN_FUNCTION, "stored function"),  # it may set user variables, take locks
)
_PIN_BY_KIND = {
    Kind.LOCK_TABLES: LOCK_TABLES,
    Kind.HANDLER: "handler",
    Kind.XA: "xa",
    Kind.UNKNOWN: "not understood",  # it may do any of these things
    Kind.CALL: "stored procedure",  # it may set variables, make temporary tables, take locks
    Kind.PREPARE: "sql prepare",
    Kind.EXECUTE: "sql prepare",
}


def writes(statement: Statement) -> bool:
    """Does it have to be taken for a write? A stored function or procedure may write, and ANALYZE carries out."""
    if statement.kind is Kind.EXPLAIN:
        return statement.name == "analyze" and statement.inner is not None and writes(statement.inner)
    return statement.kind in _WRITING_KINDS or statement.effects.meets(_CHANGING)


def pin_reason(statement: Statement) -> str:
    """Why the session has to stay on the connection that ran this; "" if it need not."""
    if statement.kind is Kind.SET:
        return ""  # the planner decides by its assignments
    by_kind = _PIN_BY_KIND.get(statement.kind)
    if by_kind is not None:
        return by_kind
    if statement.kind is Kind.ADMIN and statement.effects.meets(Effect.SESSION_LOCK):
        return READ_LOCK if statement.tables else GLOBAL_READ_LOCK
    return next((reason for effect, reason in _PIN_BY_EFFECT if statement.effects.meets(effect)), "")


def _trigger_pin(asked: Case) -> str:
    """A trigger of a written table may leave variables behind that only the session on whose account it ran may see."""
    for table, each in enumerate(asked.places):
        if each.written:
            schema = asked.schema(table)
            if schema is not None and schema.triggers_leave_state:
                return "trigger"
    return ""


def _is_view(schema: TableSchema | None) -> bool:
    """A view may call a function that writes, which a replica must not be asked to do."""
    return schema is not None and schema.is_view


def with_traits(plan: Plan, asked: Case, **more: Any) -> Plan:
    """The plan with everything that does not depend on its rung, and with `more` of its fields."""
    statement = asked.statement
    writing = writes(statement)
    reason = pin_reason(statement) or _trigger_pin(asked)
    hint = statement.hint
    replica_ok = (
        statement.kind is Kind.SELECT
        and not writing
        and not statement.effects.meets(_PRIMARY_EFFECTS)
        and not (hint is not None and hint.primary)
        and bool(asked.places)
        and not any(_is_view(asked.schema(table)) for table in range(len(asked.places)))
        and all(each.reads.source is ReadFrom.REPLICAS for each in asked.places)
    )
    return dataclasses.replace(
        plan,
        writes=writing,
        replica_ok=replica_ok,
        max_lag_s=min((each.reads.max_lag_s for each in asked.places), default=0.0) if replica_ok else 0.0,
        own_writes=any(each.reads.own_writes for each in asked.places) if replica_ok else True,
        pins=reason,
        pin_cluster=plan.cluster if reason and isinstance(plan, Forward) else "",
        effects=statement.effects,
        **more,
    )
