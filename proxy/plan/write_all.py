"""Writes to tables of which every cluster has a copy."""

from __future__ import annotations

from dataclasses import dataclass, replace

from parser.statement import Effect, Hole, Insert, Kind, Param, Statement, Value
from proxy.back.catalog import TableSchema
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.column_list import column_list, listed
from proxy.plan.insert_values import insert_columns, is_explicit_id
from proxy.plan.places import table_clusters
from proxy.plan.plan import Plan, Reply, Route, Send, ValueOf
from proxy.rules.model import Transactions

_DIFFERS = (
    (Effect.NONDETERMINISTIC, "calls a function whose value differs from server to server (NOW, UUID, RAND ..)"),
    (Effect.UNKNOWN_FUNCTION, "calls a function that Turnout does not know"),
    (Effect.READS_USER_VARIABLE | Effect.SETS_USER_VARIABLE, "uses a user variable"),
    (Effect.READS_SYSTEM_VARIABLE, "uses a system variable"),
    (Effect.USES_LAST_INSERT_ID | Effect.SETS_LAST_INSERT_ID, "uses LAST_INSERT_ID()"),
    (Effect.USES_FOUND_ROWS | Effect.USES_ROW_COUNT, "uses FOUND_ROWS() or ROW_COUNT()"),
    (Effect.USES_CONNECTION_ID | Effect.USES_DIAGNOSTICS, "uses values of the connection"),
    (Effect.SESSION_LOCK, "takes or asks for a lock of the session"),
    (Effect.SEQUENCE, "uses a sequence"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteAll(Plan):
    """The statement as it is to every cluster, which all do the same work; the answer is that of the first."""

    kind = "write-all"
    fixed: Route
    table: str
    not_null: tuple[Value, ...] = ()  # NULL in these makes the server put a value of its own
    ids: tuple[Value, ...] = ()  # so does NULL or 0 in these
    columns: bytes = b""  # of an INSERT: the list of columns that it is sent with

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        filled_in = any(value_of(value) is None for value in self.not_null)
        if filled_in or any(not is_explicit_id(value_of(value)) for value in self.ids):
            raise refusals.EVERYWHERE_DIFFERS.error(
                table=self.table,
                verb=self.statement.kind.value.upper(),
                why="gives NULL or 0 to a column that the server then fills in",
                advice="Give the value in the statement.",
            )
        if self.columns and self.statement.insert is not None:
            return replace(self.fixed, sends=listed(self.statement, text, self.fixed.sends, self.columns))
        return self.fixed

    def describe(self) -> list[tuple[str, str]]:
        return [("plan", self.kind), ("clusters", ", ".join(send.cluster for send in self.fixed.sends)), *self.traits()]


def plan_write_all(asked: Case) -> Plan:
    """A write to an `everywhere` table. Raises StatementRefused unless every cluster certainly does the same."""
    statement = asked.statement
    target = next(each for each in asked.places if each.everywhere and each.written)
    assert target.entry is not None
    clusters = table_clusters(asked.rules, target.entry)
    other = next((each for each in asked.places if not each.everywhere), None)
    if other is not None:
        raise refusals.EVERYWHERE_MIXED.error(table=target.label, verb=asked.verb(), other=other.label)
    if asked.rules.transactions is Transactions.SINGLE:
        raise refusals.SEVERAL_WRITES.error(
            verb=asked.verb(),
            table=target.label,
            clusters=", ".join(clusters),
            advice="Move the table to one cluster, ",
        )
    schemas = [schema for schema in (asked.schema(each.ref.index) for each in asked.places) if schema is not None]
    if len(schemas) < len(asked.places):
        raise refusals.SCHEMA_UNKNOWN.error(table=target.label, clusters=", ".join(clusters))
    filled = _Filled([], [])
    why = _difference(asked, filled)
    if why is not None:
        raise refusals.EVERYWHERE_DIFFERS.error(table=target.label, verb=asked.verb(), why=why[0], advice=why[1])
    sends = Route(tuple(Send(cluster) for cluster in clusters), Reply.FIRST)
    schema, insert = asked.schema(target.ref.index), statement.insert
    return WriteAll(
        statement=statement,
        fixed=sends,
        table=target.label,
        not_null=tuple(filled.not_null),
        ids=tuple(filled.ids),
        columns=column_list(insert, schema, statement.lexer) if insert is not None and schema is not None else b"",
    )


def one_copy_reason(effects: Effect) -> str:
    """What makes servers do different things with a statement of these effects, as a clause; "" if nothing does."""
    return next((why for effect, why in _DIFFERS if effects.meets(effect)), "")


def generated_columns(schema: TableSchema) -> list[str]:
    """Those in which every server would put a value of its own."""
    return [column.name for column in schema.columns if column.auto_increment or column.server_default]


@dataclass(frozen=True, slots=True)
class _Filled:
    """Values on which it depends whether servers put their own."""

    not_null: list[Value]
    ids: list[Value]


def _difference(asked: Case, filled: _Filled) -> tuple[str, str] | None:
    """(what differs between servers, what to do), or None. What is left to check per statement goes into `filled`."""
    statement = asked.statement
    why = one_copy_reason(statement.effects)
    if why:
        return why, "Work the value out first and give it in the statement."
    if statement.effects & Effect.RETURNING:
        return "uses RETURNING", "Read the rows with a SELECT."
    if any(block.limited for block in statement.blocks):
        return "has a LIMIT, by which servers may pick different rows", "Name the rows by their primary key."
    for each in asked.places:
        if each.written:
            schema = asked.schema(each.ref.index)
            assert schema is not None
            found = _target_difference(asked, schema, filled)
            if found is not None:
                return found
    return None


def _target_difference(asked: Case, schema: TableSchema, filled: _Filled) -> tuple[str, str] | None:
    if schema.has_triggers:
        return "runs triggers, which may do different things on every server", "Drop them, or run it on every cluster."
    if schema.is_view:
        return "writes through a view", "Write to the table itself."
    statement = asked.statement
    if statement.insert is not None:
        found = _inserted_difference(statement.insert, schema, filled)
        if found is not None:
            return found
    return _assigned_difference(statement, schema, filled)


def _inserted_difference(insert: Insert, schema: TableSchema, filled: _Filled) -> tuple[str, str] | None:
    if insert.on_duplicate and len(schema.unique_keys) > 1:
        return (
            "has ON DUPLICATE KEY UPDATE on a table with several unique keys, of which servers may meet different ones",
            "Use UPDATE and INSERT.",
        )
    columns = insert_columns(insert, schema)
    for column in schema.columns:
        if not (column.auto_increment or column.server_default):
            continue
        advice = f"Give {column.name} a value in the statement."
        if insert.from_select:
            return f"may leave {column.name} to the server", advice
        position = columns.index(column.name) if column.name in columns else None
        for row in insert.rows:
            value = row[position] if position is not None and position < len(row) else None
            if not isinstance(value, (Hole, Param)):
                return f"leaves {column.name} to the server", advice
            (filled.ids if column.auto_increment else filled.not_null).append(value)
    return None


def _assigned_difference(statement: Statement, schema: TableSchema, filled: _Filled) -> tuple[str, str] | None:
    if statement.kind is Kind.UPDATE:
        values: dict[str, Value | None] = dict.fromkeys(statement.assigned)
        values.update(zip(statement.assigned, statement.assigned_values))
    elif statement.insert is not None and statement.insert.on_duplicate:
        values = dict.fromkeys(statement.insert.on_duplicate)
    else:
        return None
    for column in schema.columns:
        if column.on_update and column.name not in values:
            return f"lets the server set {column.name} to the time", f"Assign {column.name} a value."
        if (column.server_default or column.on_update) and column.name in values:
            value = values[column.name]
            if not isinstance(value, (Hole, Param)):
                return f"may leave {column.name} to the server", f"Assign {column.name} a literal or a bound value."
            filled.not_null.append(value)
    return None
