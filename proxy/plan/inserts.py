"""INSERT and REPLACE of rows into a sharded table: each row goes to the shard of its key."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from parser.fill import params_before
from parser.params import Bindings, param_places, within
from parser.rewrite import Number, insert_parts
from parser.statement import Effect, Hole, Kind, Param, Statement, Value, Word
from proxy.back.catalog import TableSchema
from proxy.back.directory import KeysUnknown
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.column_list import column_list, listed
from proxy.plan.id_column import IdColumn, SequenceOf, id_column
from proxy.plan.insert_values import check_counts, column_values, insert_columns
from proxy.plan.keys import form_text
from proxy.plan.pins import conditions
from proxy.plan.places import Place, home_of, table_clusters
from proxy.plan.plan import KeyValue, Plan, Reply, Route, Send, ValueOf
from proxy.plan.rows import beside, fixed_cluster, key_pins, key_placement, plan_rows
from proxy.plan.scatter import apart, one_server_reason
from proxy.plan.shard_routes import KeyPin, constant, route_to, sharding_text, values_text
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
    ids: IdColumn | None = None  # an AUTO_INCREMENT column: `front` has the ids made and calls `route_with`
    met_by_id: tuple[str, ...] = ()  # a unique key that only rows with ids of their own could meet elsewhere
    others: tuple[KeyPin, ...] = ()
    required: str | None = None
    together: Callable[[str], Exception] | None
    columns: bytes = b""  # the list of columns that it is sent with

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        if self.ids is not None and None in self.given(value_of, False):
            raise refusals.AUTO_INCREMENT.error(table=self.table, column=self.ids.column)
        return self.route_with(value_of, text, ())

    def given(self, value_of: ValueOf, zero_is_a_value: bool) -> list[int | None]:
        """The ids that the rows bring along, None for those that have to be made. Raises StatementRefused."""
        assert self.ids is not None
        given = self.ids.given(value_of, zero_is_a_value)
        if self.met_by_id and any(number is not None for number in given):
            raise unique_refusal(self.statement, self.table, self.column, self.met_by_id)
        return given

    def route_with(self, value_of: ValueOf, text: bytes, ids: Sequence[int | None], bound: bool = False) -> Route:
        """`ids`: those that were made, row by row, None for rows that have their own; `bound`: as parameters of a
        prepared statement. Raises StatementRefused."""
        route = self._routed(value_of, text, ids, bound)
        if self.columns and self.statement.insert is not None:
            return replace(route, sends=listed(self.statement, text, route.sends, self.columns))
        return route

    def _routed(self, value_of: ValueOf, text: bytes, ids: Sequence[int | None], bound: bool) -> Route:
        if not any(ids):
            ids = ()
        if ids and self.ids is not None and self.ids.column == self.column:
            given = [
                constant(value, value_of) if made is None else made
                for value, made in zip(self.values, ids, strict=True)
            ]
        else:
            given = [constant(value, value_of) for value in self.values]
        by_row = self._by_row(given)
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
            if not ids:
                return route_to(clusters[0])
            assert self.ids is not None
            filled = self.ids.filled(self.statement, text, self._texts(ids, bound))
            params = tuple(itertools.chain.from_iterable(self._bindings(text, ids))) if bound else ()
            return Route((Send(clusters[0], filled, params),))
        if self.together is not None:
            raise self.together(", ".join(clusters))
        return self._split(by_row, clusters, text, ids, bound)

    def example(self, value_of: ValueOf, text: bytes, first: int = 1) -> Route:
        """Where the statement would go if the ids to be made were `first` and those that follow: for EXPLAIN."""
        if self.ids is None:
            return self.route(value_of, text)
        numbers = itertools.count(first)
        ids = [next(numbers) if number is None else None for number in self.given(value_of, False)]
        return self.route_with(value_of, text, ids)

    def _by_row(self, keys: Sequence[KeyValue]) -> list[str]:
        """Raises KeysUnknown, StatementRefused."""
        try:
            return [self._placed(key) for key in keys]
        except KeysUnknown as error:  # all of them at once, then
            unknown = error
        for key in keys:
            try:
                self._placed(key)
            except KeysUnknown as error:
                unknown = error.with_keys_of(unknown)
        unknown.new = True
        raise unknown

    def _placed(self, key: KeyValue) -> str:
        text = form_text(self.placement.form, key, stored=True)
        if text is None:
            raise refusals.INSERT_KEY_VALUE.error(table=self.table, column=self.column)
        cluster = self.placement.cluster(text)
        if cluster is None:
            sharding = self.placement.sharding.name
            raise refusals.INSERT_KEY_NOWHERE.error(table=self.table, column=self.column, sharding=sharding)
        return cluster

    def _texts(self, ids: Sequence[int | None], bound: bool) -> list[bytes | None]:
        """What the ids are written as. A parameter that stands where one belongs gets another value instead."""
        assert self.ids is not None
        return [
            None if number is None or (bound and isinstance(value, Param)) else b"?" if bound else b"%d" % number
            for value, number in zip(self.ids.values, ids, strict=True)
        ]

    def _bindings(self, text: bytes, ids: Sequence[int | None]) -> list[Bindings]:
        """What is bound to the `?` before the rows, in each row, and behind them, ids among them."""
        lexer, insert = self.statement.lexer, self.statement.insert
        assert lexer is not None
        assert insert is not None
        shape, _ = lexer.shape(text)
        places = param_places(shape, lexer)
        spans = insert.row_spans or ((0, len(shape)),)
        rows: list[list[int | Number]] = [list(within(places, *span)) for span in spans]
        if ids:
            assert self.ids is not None
            added = [number is not None and not isinstance(value, Param) for value, number in zip(self.ids.values, ids)]
            before = iter(params_before(self.statement, shape, self.ids.position, added) if any(added) else ())
            for row, span, value, number in zip(rows, spans, self.ids.values, ids, strict=True):
                if number is None:
                    continue
                if isinstance(value, Param):
                    row[row.index(value.index)] = Number(number)
                else:
                    row.insert(next(before) - within(places, *span).start, Number(number))
        first, last = within(places, 0, spans[0][0]), within(places, spans[-1][1], len(shape))
        return [tuple(first), *map(tuple, rows), tuple(last)]

    def _split(
        self, by_row: list[str], clusters: list[str], text: bytes, ids: Sequence[int | None], bound: bool
    ) -> Route:
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
        if ids:
            assert self.ids is not None
            before, rows, behind = self.ids.filled_parts(self.statement, text, self._texts(ids, bound))
        else:
            before, rows, behind = insert_parts(self.statement, shape, literals)
        params: list[Bindings] = []
        if bound or b"?" in shape:
            params = self._bindings(text, ids)
        sends = []
        for cluster in clusters:
            own = b", ".join(row for row, where in zip(rows, by_row) if where == cluster)
            its: list[int | Number] = []
            if params:
                its = [*params[0]]
                for row_params, where in zip(params[1:-1], by_row):
                    its += row_params if where == cluster else ()
                its += params[-1]
            sends.append(Send(cluster, before + own + behind, tuple(its)))
        return Route(tuple(sends), Reply.SUM, rows=tuple(clusters.index(where) for where in by_row))

    def describe(self) -> list[tuple[str, str]]:
        sharding = self.placement.sharding
        lines = [("plan", self.kind)]
        for key in (*self.others, KeyPin(self.table, self.column, self.values, self.placement)):
            lines.append(("key", f"{key.table}.{key.column} = {values_text(key.values)}"))
        lines.append(("sharding", sharding_text(sharding)))
        if self.required is not None:
            lines.append(("only if on", self.required))
        if self.ids is not None:
            lines.append(("ids", f"{self.ids.column} from a sequence on {self.ids.sequence.home}, where left out"))
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
    generated = sequence_of(asked, target, schema)
    ids = id_column(insert, schema, generated, target.label)
    met_by_id = _check_upsert(asked, target, schema, ids)
    values = column_values(insert, columns, target.key)
    if ids is not None and ids.column == target.key:
        values = ids.values
    elif values is None or not all(isinstance(value, (Hole, Param)) or value in _BOOLEANS for value in values):
        raise refusals.INSERT_WITHOUT_KEY.error(table=target.label, column=target.key)
    others = _others(asked, target)
    return InsertRows(
        statement=statement,
        table=target.label,
        column=target.key,
        values=values,
        placement=placed,
        ids=ids,
        met_by_id=met_by_id,
        others=others,
        required=required,
        together=_together(asked, target),
        columns=column_list(insert, schema, statement.lexer),
    )


_BOOLEANS = (Word.TRUE, Word.FALSE)


def sequence_of(asked: Case, target: Place, schema: TableSchema) -> SequenceOf | None:
    """What makes the ids of a sharded table; None where it has no AUTO_INCREMENT column."""
    assert target.entry is not None
    column = next((column.name for column in schema.columns if column.auto_increment), None)
    if column is None:
        return None
    entry = target.entry
    home = home_of(asked.rules, entry.database)
    return SequenceOf(home, table_clusters(asked.rules, entry), entry.database, entry.name, column)


def _check_upsert(asked: Case, target: Place, schema: TableSchema, ids: IdColumn | None) -> tuple[str, ...]:
    """Raises StatementRefused for what decides by a unique key that rows of several shards share; returns the one, if
    any, that new ids keep rows from meeting."""
    statement = asked.statement
    insert = statement.insert
    assert insert is not None
    if target.key in insert.on_duplicate:
        raise refusals.UPDATE_KEY.error(table=target.label, column=target.key)
    if insert.on_duplicate or insert.ignore or statement.kind is Kind.REPLACE:
        loose = [key for key in schema.unique_keys if target.key not in key]
        for key in loose:
            if ids is None or ids.column not in key:
                raise unique_refusal(statement, target.label, target.key, key)
        return loose[0] if loose else ()
    return ()


def unique_refusal(statement: Statement, table: str, column: str, unique: tuple[str, ...]) -> StatementRefused:
    insert = statement.insert
    ignore, updates = insert is not None and insert.ignore, insert is not None and bool(insert.on_duplicate)
    verb = "INSERT IGNORE" if ignore else "ON DUPLICATE KEY UPDATE" if updates else "REPLACE"
    return refusals.UPSERT_UNIQUE.error(verb=verb, table=table, column=column, unique=", ".join(unique))


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
    # RETURNING: without IGNORE, there is one row in the answer for each that was given.
    why = one_server_reason(statement.effects if insert.ignore else statement.effects & ~Effect.RETURNING)
    if not why and statement.lexer is None:
        why = "cannot be taken apart"
    if not why:
        return None
    return lambda clusters: refusals.SPLIT_NEEDS_ONE.error(table=table, clusters=clusters, why=why)
