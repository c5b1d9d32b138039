"""INSERT and REPLACE of rows into a sharded table: each row goes to the shard of its key."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

from parser.rewrite import insert_parts
from parser.statement import Hole, Kind, Param, Value, Word
from proxy.back.catalog import TableSchema
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.insert_values import check_counts, column_values, insert_columns, is_explicit_id
from proxy.plan.keys import form_text
from proxy.plan.pins import conditions
from proxy.plan.places import Place
from proxy.plan.plan import Plan, Reply, Route, Send, ValueOf
from proxy.plan.rows import beside, fixed_cluster, key_pins, key_placement, plan_rows
from proxy.plan.scatter import apart, one_server_reason
from proxy.plan.shard_routes import KeyPin, constant, route_to, values_text
from proxy.plan.sharding import Placement
from proxy.plan.write_all import plan_write_all
from proxy.rules.model import Transactions

# Shapes have a NUL where a comment's text was; `/*! code */` between rows would be torn apart.
_BETWEEN_ROWS = re.compile(rb"(?>(?:[\s,]|/\*\0\*/|(?:--[\x01-\x20\x7f]|#)\0?\n)*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertRows(Plan):
    """Each row to the shard of its key. One shard gets the client's own bytes, several a text with their rows only.

    `others` and `required` say where other tables of the statement (in subqueries) are: a row must be there too.
    `together` is why rows of several shards are refused.
    """

    kind = "insert"
    table: str
    column: str
    values: tuple[Value, ...]  # the key, row by row
    placement: Placement
    ids: tuple[Value, ...] = ()  # of an AUTO_INCREMENT column: neither NULL nor 0
    id_column: str = ""
    others: tuple[KeyPin, ...] = ()
    required: str | None = None
    together: Callable[[str], Exception] | None

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        for value in self.ids:
            if not is_explicit_id(constant(value, value_of)):
                raise refusals.AUTO_INCREMENT.error(table=self.table, column=self.id_column)
        by_row = [self._cluster(value, value_of) for value in self.values]
        clusters = list(dict.fromkeys(by_row))
        elsewhere = set(clusters)
        if self.required is not None:
            elsewhere.add(self.required)
        for pin in self.others:
            found = pin.clusters(value_of)
            elsewhere.update(found if found is not None else {"unknown"})
        if len(elsewhere) > 1 and (self.required is not None or self.others):
            keys = f"{self.table}.{self.column}"
            raise refusals.SEVERAL_SHARDS.error(keys=keys, clusters=", ".join(sorted(elsewhere)))
        if len(clusters) == 1:
            return route_to(clusters[0])
        if self.together is not None:
            raise self.together(", ".join(clusters))
        return self._split(by_row, clusters, text)

    def _cluster(self, value: Value, value_of: ValueOf) -> str:
        text = form_text(self.placement.form, constant(value, value_of), stored=True)
        if text is None:
            raise refusals.INSERT_KEY_VALUE.error(table=self.table, column=self.column)
        cluster = self.placement.cluster(text)
        if cluster is None:
            sharding = self.placement.sharding.name
            raise refusals.INSERT_KEY_NOWHERE.error(table=self.table, column=self.column, sharding=sharding)
        return cluster

    def _split(self, by_row: list[str], clusters: list[str], text: bytes) -> Route:
        """Each cluster's rows, as they are written, between what stands before the first row and behind the last."""
        lexer, insert = self.statement.lexer, self.statement.insert
        assert lexer is not None
        assert insert is not None
        shape, literals = lexer.shape(text)
        spans = insert.row_spans
        gaps = ((left[1], right[0]) for left, right in itertools.pairwise(spans))
        if not all(_BETWEEN_ROWS.fullmatch(shape[start:end]) for start, end in gaps):
            raise refusals.SPLIT_NEEDS_ONE.error(
                table=self.table, clusters=", ".join(clusters), why="has more than commas and comments between its rows"
            )
        before, rows, behind = insert_parts(self.statement, shape, literals)
        sends = []
        for cluster in clusters:
            own = b", ".join(row for row, where in zip(rows, by_row) if where == cluster)
            sends.append(Send(cluster, before + own + behind))
        return Route(tuple(sends), Reply.SUM)

    def describe(self) -> list[tuple[str, str]]:
        sharding = self.placement.sharding
        lines = [("plan", self.kind)]
        for key in (*self.others, KeyPin(self.table, self.column, self.values, self.placement)):
            lines.append(("key", f"{key.table}.{key.column} = {values_text(key.values)}"))
        lines.append(("sharding", f"{sharding.name} ({sharding.method.value})"))
        if self.required is not None:
            lines.append(("only if on", self.required))
        if len(self.values) > 1:
            lines.append(("rows of several shards", "refused" if self.together is not None else "split by key"))
        return [*lines, *self.traits()]


def plan_insert(asked: Case) -> Plan:
    """An INSERT or REPLACE. Raises StatementRefused."""
    insert = asked.statement.insert
    if insert is None:
        return plan_rows(asked)
    target = asked.places[insert.table]
    if target.everywhere:
        return plan_write_all(asked)
    if not target.sharded:
        return plan_rows(asked)
    return _plan_sharded(asked, target)


def _plan_sharded(asked: Case, target: Place) -> Plan:
    statement = asked.statement
    insert = statement.insert
    assert insert is not None
    required = fixed_cluster(asked)
    placed = key_placement(asked, target)
    if required is not None and required not in placed.sharding.clusters:
        raise beside(asked, target, required)
    schema = asked.schema(insert.table)
    assert schema is not None
    if insert.from_select:
        raise refusals.INSERT_SELECT.error(table=target.label, column=target.key)
    columns = insert_columns(insert, schema)
    check_counts(insert, columns)
    _check_upsert(asked, target, schema)
    values = column_values(insert, columns, target.key)
    if values is None or not all(isinstance(value, (Hole, Param)) or value in _BOOLEANS for value in values):
        raise refusals.INSERT_WITHOUT_KEY.error(table=target.label, column=target.key)
    id_column = next((column.name for column in schema.columns if column.auto_increment), "")
    ids: tuple[Value, ...] = ()
    if id_column:
        given = column_values(insert, columns, id_column)
        if given is None or not all(isinstance(value, (Hole, Param)) or value is Word.TRUE for value in given):
            raise refusals.AUTO_INCREMENT.error(table=target.label, column=id_column)
        ids = given
    others = _others(asked, target)
    return InsertRows(
        statement=statement,
        table=target.label,
        column=target.key,
        values=values,
        placement=placed,
        ids=ids,
        id_column=id_column,
        others=others,
        required=required,
        together=_together(asked, target),
    )


_BOOLEANS = (Word.TRUE, Word.FALSE)


def _check_upsert(asked: Case, target: Place, schema: TableSchema) -> None:
    statement = asked.statement
    insert = statement.insert
    assert insert is not None
    if target.key in insert.on_duplicate:
        raise refusals.UPDATE_KEY.error(table=target.label, column=target.key)
    if insert.on_duplicate or insert.ignore or statement.kind is Kind.REPLACE:
        loose = next((key for key in schema.unique_keys if target.key not in key), None)
        if loose is not None:
            verb = "INSERT IGNORE" if insert.ignore else "ON DUPLICATE KEY UPDATE" if insert.on_duplicate else "REPLACE"
            raise refusals.UPSERT_UNIQUE.error(
                verb=verb, table=target.label, column=target.key, unique=", ".join(loose)
            )


def _others(asked: Case, target: Place) -> tuple[KeyPin, ...]:
    """What the statement's other sharded tables, in subqueries, are pinned to."""
    others = [table for table in asked.sharded if table is not target]
    if not others:
        return ()
    placements = {table.ref.index: key_placement(asked, table) for table in others}
    pins = key_pins(asked, others, placements, conditions(asked.statement, asked.schema))
    if pins is None:
        raise apart(asked.sharded, others)
    return tuple(pins)


def _together(asked: Case, target: Place) -> Callable[[str], Exception] | None:
    """Makes the refusal of rows on several shards; None where the statement may be split."""
    statement = asked.statement
    table = target.label
    if asked.rules.transactions is Transactions.SINGLE:
        verb = asked.verb()
        advice = "Insert the rows of each shard with a statement of their own, "
        return lambda clusters: refusals.SEVERAL_WRITES.error(verb=verb, table=table, clusters=clusters, advice=advice)
    insert = statement.insert
    assert insert is not None
    if any(isinstance(value, Param) for row in insert.rows for value in row):
        return lambda clusters: refusals.SPLIT_PREPARED.error(table=table, clusters=clusters)
    why = one_server_reason(statement.effects)
    if not why and statement.lexer is None:
        why = "cannot be taken apart"
    if not why:
        return None
    return lambda clusters: refusals.SPLIT_NEEDS_ONE.error(table=table, clusters=clusters, why=why)
