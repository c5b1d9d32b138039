"""INSERT and REPLACE .. SELECT whose rows come from, or go to, more than one cluster.

The SELECT is planned like any other, and its rows go through Turnout: as literals of their type, each to the shard of
its key, or to every copy of the table, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from parser.analyse import parse
from parser.rewrite import Text, assemble, quoted
from parser.shape import Lexer
from parser.statement import Insert, Kind
from proxy.back.catalog import Column, TableSchema
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.case import Case, case, pin_reason
from proxy.plan.column_list import column_list
from proxy.plan.id_column import SequenceOf
from proxy.plan.insert_values import insert_columns
from proxy.plan.inserts import sequence_of, unique_refusal
from proxy.plan.key_list import several_writes
from proxy.plan.places import Place, table_clusters
from proxy.plan.plan import Plan, Refuse, Route, ValueOf
from proxy.plan.rows import key_placement
from proxy.plan.scatter import one_server_reason
from proxy.plan.shard_routes import ByKey
from proxy.plan.told_apart import ShardKey, known
from proxy.rules.model import Transactions
from proxy.wire.charsets import codec

LIFTED = frozenset(
    refusal.slug
    for refusal in (
        *(refusals.CROSS_CLUSTER, refusals.SHARDED_AND_FIXED, refusals.SEVERAL_SHARDS, refusals.INSERT_SELECT),
        *(refusals.NOT_ONE_SHARD, refusals.SHARDS_APART, refusals.EVERYWHERE_MIXED, refusals.EVERYWHERE_DIFFERS),
    )
)


@dataclass(frozen=True, slots=True)
class Ids:
    """The AUTO_INCREMENT column. `at`: its place among the columns that are given; None: not there, so that it is one
    more behind them where Turnout makes the ids (`sequence`)."""

    column: str
    at: int | None
    sequence: SequenceOf | None  # None: the server of the table makes them


@dataclass(frozen=True, slots=True)
class Into:
    """The table that gets the rows. `columns`: those that the SELECT gives, in order."""

    label: str
    database: str | None
    table: str
    clusters: tuple[str, ...]
    columns: tuple[Column, ...]
    key: ShardKey | None = None  # of a sharded table; `at` is among the columns, and the last if it is made
    copies: bool = False  # every cluster gets all rows
    filled: tuple[int, ...] = ()  # of a table with copies: columns in which NULL makes a server put its own value
    ids: Ids | None = None
    plain: bool = True  # a row that is in the way is an error


@dataclass(frozen=True, slots=True)
class Selected:
    """What is to be done for one statement (`proxy.front.insert_select` does it). `lock`: for the end of the SELECT,
    where it has a place there."""

    finder: Plan
    find: bytes
    into: Into
    head: bytes
    tail: bytes
    lock: bytes | None

    @property
    def clusters(self) -> tuple[str, ...]:
        return self.into.clusters


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertSelect(Plan):
    kind = "insert-select"
    into: Into
    finder: Plan
    head: tuple[Text, ...]
    tail: tuple[Text, ...]
    lock: bytes | None
    instead: str = ""  # the reason for which nothing cheaper is right

    @property
    def clusters(self) -> tuple[str, ...]:
        return self.into.clusters

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        lexer, insert = self.statement.lexer, self.statement.insert
        assert lexer is not None
        assert insert is not None
        shape, literals = lexer.shape(text)
        find, head, tail = (assemble(shape, literals, each) for each in ((insert.query,), self.head, self.tail))
        return Route((), selected=Selected(self.finder, find, self.into, head, tail, self.lock))

    def describe(self) -> list[tuple[str, str]]:
        into = self.into
        lines = [("plan", self.kind), ("clusters", ", ".join(self.clusters)), ("because", self.instead)]
        lines += [(f"select: {what}", value) for what, value in self.finder.describe() if what != "runs on"]
        if into.key is not None:
            lines.append(("then", f"each row to the shard of its {into.key.known.column}"))
        else:
            lines.append(("then", f"the rows to {', '.join(into.clusters)}"))
        if into.ids is not None and into.ids.sequence is not None:
            lines.append(("ids", f"{into.ids.column} from a sequence on {into.ids.sequence.home}, where left out"))
        return [*lines, *self.traits()]


def with_insert_select(asked: Case, made: Plan, plan_select: Callable[[Case], Plan]) -> Plan:
    """A plan whose parts, where they refuse, select first and insert then."""
    insert = asked.statement.insert
    if insert is not None and insert.from_select and isinstance(made, ByKey) and isinstance(made.fallback, Refuse):
        try:
            return replace(made, fallback=lift_insert(asked, made.fallback.error, plan_select))
        except StatementRefused as refusal:
            return replace(made, fallback=Refuse(statement=asked.statement, error=refusal.with_traceback(None)))
    return made


def lift_insert(asked: Case, refusal: StatementRefused, plan_select: Callable[[Case], Plan]) -> Plan:
    """The plan for an INSERT .. SELECT that was refused elsewhere. Raises StatementRefused: that refusal, or why not
    even this way."""
    statement = asked.statement
    insert, lexer = statement.insert, statement.lexer
    if refusal.reason not in LIFTED or insert is None or not insert.from_select or not insert.shape or lexer is None:
        raise refusal
    if one_server_reason(statement.effects) or pin_reason(statement):
        raise refusal
    place, schema = asked.places[insert.table], asked.schema(insert.table)
    if schema is None or schema.is_view:
        raise refusal
    into = _into(asked, insert, place, schema, lexer, refusal)
    if len(into.clusters) > 1 and asked.rules.transactions is Transactions.SINGLE:
        raise several_writes(asked, place, into.clusters, "Run the query first and INSERT its rows shard by shard, ")
    query = insert.shape[insert.query[0] : insert.query[1]]
    selects = parse(query, [], lexer=lexer)
    if selects.kind is not Kind.SELECT:
        raise refusal
    simple = len(selects.blocks) == 1 and not selects.subqueries and query[:6].upper() == b"SELECT"
    end = insert.columns_end
    head: tuple[Text, ...] = ((0, insert.query[0]),)
    if columns := column_list(insert, schema, lexer):
        head = ((0, end), columns, (end, insert.query[0]))
    if into.ids is not None and into.ids.at is None and into.ids.sequence is not None:
        if not insert.listed:
            raise refusals.AUTO_INCREMENT.error(table=into.label, column=into.ids.column)
        head = ((0, end), b", ", _name(into.ids.column, lexer, refusal), (end, insert.query[0]))
    return InsertSelect(
        statement=statement,
        into=into,
        finder=plan_select(case(selects, asked.rules, asked.catalog, asked.database)),
        head=head,
        tail=((insert.query[1], insert.end),) if insert.query[1] < insert.end else (),
        lock=b" LOCK IN SHARE MODE" if simple else None,
        instead=refusal.reason,
    )


def _into(
    asked: Case, insert: Insert, place: Place, schema: TableSchema, lexer: Lexer, refusal: StatementRefused
) -> Into:
    """Raises StatementRefused."""
    names = insert_columns(insert, schema)
    columns = [
        schema.column(name) or Column(name, "") for name in names
    ]  # one that is not known is the server's to say
    if place.cluster is not None:
        clusters: tuple[str, ...] = (place.cluster,)
    else:
        assert place.entry is not None
        clusters = table_clusters(asked.rules, place.entry)
    plain = not (insert.ignore or insert.on_duplicate or asked.statement.kind is Kind.REPLACE)
    automatic = next((column.name for column in schema.columns if column.auto_increment), None)
    ids = None
    if automatic is not None:
        sequence = sequence_of(asked, place, schema) if place.sharded else None
        ids = Ids(automatic, names.index(automatic) if automatic in names else None, sequence)
    key = _key(asked, place, schema, names, ids, lexer, refusal) if place.sharded else None
    if place.sharded and not plain:
        _check_unique(asked, place, schema, ids)
    filled: tuple[int, ...] = ()
    if place.everywhere:
        filled = _filled(asked, insert, place, schema, names)
    return Into(
        place.label,
        place.database,
        place.ref.name,
        clusters,
        tuple(columns),
        key,
        place.everywhere,
        filled,
        ids,
        plain,
    )


def _key(
    asked: Case,
    place: Place,
    schema: TableSchema,
    names: tuple[str, ...],
    ids: Ids | None,
    lexer: Lexer,
    refusal: StatementRefused,
) -> ShardKey:
    made = ids is not None and ids.column == place.key and ids.at is None
    if place.key not in names and not made:
        raise refusals.INSERT_WITHOUT_KEY.error(table=place.label, column=place.key)
    column = schema.column(place.key)
    found = known(column, _name(column.name, lexer, refusal)) if column is not None else None
    if found is None:
        raise refusal
    at = len(names) if made else names.index(place.key)
    return ShardKey(at, found, key_placement(asked, place), place.label)


def _check_unique(asked: Case, place: Place, schema: TableSchema, ids: Ids | None) -> None:
    """Raises StatementRefused for what decides by a unique key that rows of several shards share."""
    insert = asked.statement.insert
    assert insert is not None
    if place.key in insert.on_duplicate:
        raise refusals.UPDATE_KEY.error(table=place.label, column=place.key)
    for key in schema.unique_keys:
        if place.key not in key and not (ids is not None and ids.at is None and ids.column in key):
            raise unique_refusal(asked.statement, place.label, place.key, key)


def _filled(asked: Case, insert: Insert, place: Place, schema: TableSchema, names: tuple[str, ...]) -> tuple[int, ...]:
    """The columns of a table with copies in which NULL would be another value on every cluster. Raises
    StatementRefused where something else would differ."""

    def differs(why: str) -> StatementRefused:
        return refusals.EVERYWHERE_DIFFERS.error(
            table=place.label, verb=asked.verb(), why=why, advice="Run the query first and INSERT its rows with VALUES."
        )

    if schema.has_triggers:
        raise differs("runs triggers, which may do different things on every server")
    if insert.on_duplicate:
        raise differs("has ON DUPLICATE KEY UPDATE, which may do different things on every server")
    filled = []
    for column in schema.columns:
        if column.auto_increment or column.server_default:
            if column.name not in names:
                raise differs(f"leaves {column.name} to the server")
            filled.append(names.index(column.name))
    return tuple(filled)


def _name(name: str, lexer: Lexer, refusal: StatementRefused) -> bytes:
    text = quoted(name)
    try:
        return text.encode("ascii" if text.isascii() else codec(lexer.charset) or "ascii")
    except UnicodeError:
        raise refusal from None
