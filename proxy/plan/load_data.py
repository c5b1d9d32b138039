"""LOAD DATA: to the one cluster that has the table, or, where that is on several, line by line to where each belongs.

Every cluster gets the statement as the client wrote it and a file of its own, made of the client's lines as they came:
what a field means, which rows are duplicates and what is warned of is each server's own business. Only two fields are
read here: the shard key, by which a line's cluster is found, and the AUTO_INCREMENT column, whose ids Turnout makes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from parser.rewrite import edit, quoted
from parser.statement import Effect, LoadData
from proxy.back.catalog import TableSchema
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.file_lines import FileFormat, charset_problem, file_format
from proxy.plan.id_column import SequenceOf
from proxy.plan.inserts import sequence_of
from proxy.plan.keys import Family, form_text
from proxy.plan.places import Place, check_views, table_clusters
from proxy.plan.plan import Plan, Route, ValueOf
from proxy.plan.rows import key_placement, plan_rows
from proxy.plan.scatter import one_server_reason
from proxy.plan.shard_routes import sharding_text
from proxy.plan.sharding import Placement
from proxy.plan.write_all import generated_columns, one_copy_reason
from proxy.rules.model import Transactions
from proxy.wire.charsets import charset_named, codec

_VARIABLES = Effect.READS_USER_VARIABLE | Effect.SETS_USER_VARIABLE
_INTEGER = re.compile(rb"-?[0-9]{1,40}")
_SURE = frozenset({"utf8mb4", "utf8mb3", "latin1"})
_UNKNOWN_LINE = "the statement has a form that Turnout does not take apart"


@dataclass(frozen=True, slots=True)
class KeyField:
    """The shard key: field number `at`, None where it is the id that Turnout makes."""

    at: int | None
    column: str
    placement: Placement

    def text(self, value: bytes, charset: str) -> bytes | None:
        """The key's text, of a field in this character set; None where it is not modelled."""
        form = self.placement.form
        if form.family is Family.INTEGER:
            return form_text(form, int(value), stored=True) if _INTEGER.fullmatch(value) else None
        # Of other sets, Python's idea of a character may not be the server's.
        name = codec(charset) if charset_named(charset) in _SURE else "ascii"
        try:
            return form_text(form, value.decode(name or "ascii"), stored=True)
        except UnicodeDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class IdField:
    """The AUTO_INCREMENT column: field number `at`, None where lines do not have it and the id goes in front."""

    at: int | None
    column: str
    sequence: SequenceOf
    only_made: bool  # no line may have an id of its own: a row that it would meet may be on another shard


@dataclass(frozen=True, slots=True)
class Loading:
    """One LOAD DATA LOCAL for several clusters. `text`: what each is sent; `count`: fields that a line has for it."""

    label: str
    database: str
    table: str
    clusters: tuple[str, ...]
    text: bytes
    form: FileFormat | None  # None: lines need not be told apart
    charset: str  # empty: that of the default database
    count: int
    key: KeyField | None  # None: every cluster gets every line
    ids: IdField | None
    filled: tuple[int, ...]  # fields that may not be NULL or 0, or each server would put a value of its own
    variables: frozenset[str]  # user variables that fields are put into

    @property
    def wanted(self) -> tuple[int, ...]:
        """The fields that have to be looked at."""
        places = {*self.filled, *(each.at for each in (self.key, self.ids) if each is not None and each.at is not None)}
        return tuple(sorted(places))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpread(Plan):
    kind = "load"
    place: Place
    clusters: tuple[str, ...]
    columns: tuple[str, ...]
    key: KeyField | None
    ids: IdField | None
    filled: tuple[int, ...]

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        load, lexer = self.statement.load, self.statement.lexer
        assert load is not None
        assert lexer is not None
        shape, literals = lexer.shape(text)
        form = file_format(load, literals, lexer) if self.key is not None or self.filled else None
        if form is not None:
            problem = form.problem() or (charset_problem(load.charset) if load.charset else "")
            if problem:
                raise refusals.LOAD_FORMAT.error(table=self.place.label, why=problem)
        edits: list[tuple[tuple[int, int], Sequence[bytes]]] = []
        if self.key is not None and form is not None and form.ignored:
            edits.append((load.ignore_span, ()))  # those lines are left out here
        if self.ids is not None and self.ids.at is None:
            edits.append(((load.columns_at, load.columns_at), (f"{quoted(self.ids.column)}, ".encode(),)))
        assert self.place.database is not None
        loading = Loading(
            self.place.label,
            self.place.database,
            self.place.ref.name,
            self.clusters,
            edit(shape, literals, edits) if edits else text,
            form,
            load.charset,
            len(self.columns),
            self.key,
            self.ids,
            self.filled,
            frozenset(column for column in self.columns if column.startswith("@")),
        )
        return Route((), loading=loading)

    def describe(self) -> list[tuple[str, str]]:
        lines = [("plan", self.kind), ("clusters", ", ".join(self.clusters))]
        if self.key is None:
            lines.append(("lines", "all to every cluster"))
        else:
            where = "the id" if self.key.at is None else f"field {self.key.at + 1}"
            lines.append(("lines", f"each to the shard of its {self.key.column} ({where})"))
            lines.append(("sharding", sharding_text(self.key.placement.sharding)))
        if self.ids is not None:
            lines.append(("ids", f"{self.ids.column} from a sequence on {self.ids.sequence.home}, where left out"))
        return [*lines, *self.traits()]


def plan_load_data(asked: Case) -> Plan:
    """Raises StatementRefused."""
    target = next(each for each in asked.places if each.written)
    if target.cluster is not None:
        return plan_rows(asked)
    load, schema = asked.statement.load, asked.schema(target.ref.index)
    check_views(list(asked.places), asked.rules, asked.catalog)
    assert target.entry is not None
    clusters = table_clusters(asked.rules, target.entry)
    if load is None or asked.statement.lexer is None:
        raise refusals.LOAD_FORMAT.error(table=target.label, why=_UNKNOWN_LINE)
    if not load.local:
        raise refusals.LOAD_NOT_LOCAL.error(table=target.label, clusters=", ".join(clusters))
    if schema is None:
        raise refusals.SCHEMA_UNKNOWN.error(table=target.label, clusters=", ".join(clusters))
    if asked.rules.transactions is Transactions.SINGLE and len(clusters) > 1:
        raise refusals.SEVERAL_WRITES.error(
            verb=asked.verb(),
            table=target.label,
            clusters=", ".join(clusters),
            advice="INSERT the rows shard by shard, ",
        )
    columns = load.columns or tuple(column.name for column in schema.columns if not column.invisible)
    _check(asked, load, target, schema)
    key = ids = None
    filled: tuple[int, ...] = ()
    if target.everywhere:
        filled = _filled(asked, load, target, schema, columns)
    else:
        ids = _ids(asked, load, target, schema, columns)
        key = _key(asked, load, target, columns, ids)
    return LoadSpread(
        statement=asked.statement,
        place=target,
        clusters=clusters,
        columns=columns,
        key=key,
        ids=ids,
        filled=filled,
    )


def _check(asked: Case, load: LoadData, target: Place, schema: TableSchema) -> None:
    why = one_server_reason(load.effects & ~_VARIABLES)
    if load.assigns_variables:
        why = why or "assigns to a user variable in SET"
    if schema.is_view:
        why = "loads into a view"
    elif schema.triggers_leave_state:
        why = "runs triggers that set variables"
    if why:
        raise refusals.LOAD_TIED.error(table=target.label, why=why)


def _ids(asked: Case, load: LoadData, target: Place, schema: TableSchema, columns: tuple[str, ...]) -> IdField | None:
    sequence = sequence_of(asked, target, schema)
    verb = "LOAD DATA LOCAL, which passes over rows that are there already (or replaces them),"
    loose = [key for key in schema.unique_keys if target.key not in key]
    met = next((key for key in loose if sequence is None or sequence.column not in key), None)
    if met is not None:
        raise refusals.UPSERT_UNIQUE.error(verb=verb, table=target.label, column=target.key, unique=", ".join(met))
    if sequence is None:
        return None
    at = columns.index(sequence.column) if sequence.column in columns else None
    if sequence.column in load.assigned or (at is None and load.columns is None):
        raise refusals.AUTO_INCREMENT.error(table=target.label, column=sequence.column)
    if at is None and not sequence.column.isascii():
        raise refusals.AUTO_INCREMENT.error(table=target.label, column=sequence.column)
    return IdField(at, sequence.column, sequence, bool(loose))


def _key(asked: Case, load: LoadData, target: Place, columns: tuple[str, ...], ids: IdField | None) -> KeyField:
    placement = key_placement(asked, target)
    made = ids is not None and ids.column == target.key and ids.at is None
    if target.key in load.assigned or not (made or columns.count(target.key) == 1):
        raise refusals.LOAD_WITHOUT_KEY.error(table=target.label, column=target.key)
    return KeyField(None if made else columns.index(target.key), target.key, placement)


def _filled(
    asked: Case, load: LoadData, target: Place, schema: TableSchema, columns: tuple[str, ...]
) -> tuple[int, ...]:
    """The fields of a table with copies in which NULL would be another value on every cluster."""

    def differs(why: str, advice: str) -> StatementRefused:
        return refusals.EVERYWHERE_DIFFERS.error(table=target.label, verb=asked.verb(), why=why, advice=advice)

    why = one_copy_reason(load.effects)
    if why:
        raise differs(why, "Write the values into the file.")
    if schema.has_triggers:
        raise differs("runs triggers, which may do different things on every server", "Drop them first.")
    places = []
    for column in generated_columns(schema):
        if column not in columns or column in load.assigned:
            raise differs(f"leaves {column} to the server", f"Name {column} among the columns that the file has.")
        places.append(columns.index(column))
    return tuple(places)
