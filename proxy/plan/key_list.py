"""UPDATE and DELETE that no server can carry out alone: their rows are found by a SELECT, and written by primary key.

The SELECT is the statement's own FROM, WHERE, ORDER BY and LIMIT; it is planned like any other SELECT, and locks what
it finds. Then every cluster gets the statement as it was written, with the primary keys of its rows in place of WHERE,
in the same transaction. An UPDATE that assigns the shard key may leave rows where they do not belong: `Moving` says
what is needed to find these and bring them to their shards.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from parser.analyse import parse
from parser.rewrite import Piece, assemble, quoted
from parser.shape import Lexer
from parser.statement import Change, Kind
from proxy.back.catalog import Column
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.case import Case, case, pin_reason
from proxy.plan.keys import Family, form_text
from proxy.plan.places import table_clusters
from proxy.plan.plan import Plan, Refuse, Route, ValueOf
from proxy.plan.rows import key_placement
from proxy.plan.scatter import one_server_reason
from proxy.plan.shard_routes import ByKey
from proxy.plan.sharding import Placement
from proxy.rules.model import Transactions
from proxy.wire.charsets import charset_named, codec

# Refusals that are about where rows are: one server with all of them would just write.
LIFTED = frozenset(
    refusal.slug
    for refusal in (
        *(refusals.NOT_ONE_SHARD, refusals.SHARDS_APART, refusals.UPDATE_KEY),
        *(refusals.CROSS_CLUSTER, refusals.SHARDED_AND_FIXED, refusals.SEVERAL_SHARDS),
    )
)
_ENGINES = frozenset({"innodb", "rocksdb"})  # that take back what a failed statement did

Cells = Sequence[bytes | None]
PlanSelect = Callable[[Case], Plan]


class Written(enum.Enum):
    """How the values of a column are asked for, and written as literals, so that they are exact."""

    NUMBER = "number"
    TEXT = "text"  # ASCII
    BYTES = "bytes"  # as hexadecimal digits


_WRITTEN = {
    **dict.fromkeys(
        ("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "year"), Written.NUMBER
    ),
    **dict.fromkeys(("date", "datetime", "time"), Written.TEXT),
    **dict.fromkeys(("char", "varchar", "binary", "varbinary"), Written.BYTES),
}


@dataclass(frozen=True, slots=True)
class Known:
    """A column by whose values rows are told apart. `name` is quoted, in the character set of the statement."""

    column: str
    name: bytes
    written: Written
    charset: str  # of strings

    def item(self, table: bytes) -> bytes:
        """The select item that tells its value."""
        name = table + self.name
        return b"HEX(%s)" % name if self.written is Written.BYTES else name

    def literal(self, cell: bytes | None) -> bytes:
        if cell is None:
            return b"NULL"
        if self.written is Written.NUMBER:
            return cell
        if self.written is Written.TEXT:
            return b"'%s'" % cell
        return b"_%s X'%s'" % (self.charset.encode(), cell)


@dataclass(frozen=True, slots=True)
class ShardKey:
    """Where rows are, by a cell of what was found."""

    at: int  # among the found cells
    known: Known
    placement: Placement
    table: str  # for people

    def text(self, cell: bytes | None, charset: str) -> bytes | None:
        """The key's text; None where it is not modelled. `charset`: of the bytes, where the key is a string."""
        if cell is None:
            return None
        form = self.placement.form
        if form.family is Family.INTEGER or form.family is Family.DATE:
            return form_text(form, cell.decode("latin-1"), stored=True)
        name = "ascii" if charset == "binary" else codec(charset)
        try:
            value = bytes.fromhex(cell.decode("ascii")).decode(name or "ascii")
        except ValueError:
            return None
        return form_text(form, value, stored=True)

    def cluster(self, cell: bytes | None) -> str:
        """Raises StatementRefused."""
        return self._placed(self.text(cell, self.known.charset))

    def new_cluster(self, cell: bytes | None) -> str:
        """That of a value to be assigned (`Moving.item`). Raises StatementRefused."""
        return self._placed(self.text(cell, "utf8mb4"))

    def _placed(self, text: bytes | None) -> str:
        if text is None:
            raise refusals.INSERT_KEY_VALUE.error(table=self.table, column=self.known.column)
        cluster = self.placement.cluster(text)
        if cluster is None:
            sharding = self.placement.sharding.name
            raise refusals.INSERT_KEY_NOWHERE.error(table=self.table, column=self.known.column, sharding=sharding)
        return cluster


@dataclass(frozen=True, slots=True)
class Moving:
    """An UPDATE that assigns the shard key. `at`: the cell with its new value; `unique`: for each unique key that has
    the shard key in it, the cells of its old values."""

    at: int
    item: tuple[Piece, ...]
    unique: tuple[tuple[int, ...], ...]
    columns: tuple[Known, ...]  # those of the found cells before `at`


@dataclass(frozen=True, slots=True)
class Target:
    """The table that is written to. The first cells that are found are its primary key."""

    label: str
    database: str | None
    table: str
    name: bytes  # qualified and quoted, in the character set of the statement
    alias: bytes  # with a dot behind it
    clusters: tuple[str, ...]
    primary: tuple[Known, ...]
    key: ShardKey | None = None  # None: all rows are on the one cluster

    def cluster(self, cells: Cells) -> str:
        """Where a row is. Raises StatementRefused."""
        return self.clusters[0] if self.key is None else self.key.cluster(cells[self.key.at])

    def condition(self, rows: Iterable[Cells]) -> bytes:
        """These rows and no others."""
        primary, alias = self.primary, self.alias
        if len(primary) == 1:
            texts = b",".join(primary[0].literal(row[0]) for row in rows)
            return b"%s%s IN (%s)" % (alias, primary[0].name, texts)
        each = (
            b" AND ".join(b"%s%s=%s" % (alias, k.name, k.literal(cell)) for k, cell in zip(primary, row))
            for row in rows
        )
        return b"(" + b" OR ".join(b"(%s)" % one for one in each) + b")"


@dataclass(frozen=True, slots=True)
class KeyList:
    """What is to be done for one statement (`proxy.front.key_list` does it): `find` locks and tells the rows, and every
    cluster gets `head`, a condition and `tail`. `nothing` is the same without a row, for errors that need none."""

    finder: Plan
    find: bytes
    target: Target
    head: bytes
    tail: bytes
    moving: Moving | None = None

    @property
    def clusters(self) -> tuple[str, ...]:
        return self.target.clusters

    def statement(self, rows: Iterable[Cells]) -> bytes:
        return self.head + self.target.condition(rows) + self.tail

    @property
    def nothing(self) -> bytes:
        return self.head + b"FALSE" + self.tail


@dataclass(frozen=True, slots=True, kw_only=True)
class ByKeyList(Plan):
    kind = "key-list"
    target: Target
    finder: Plan
    find: tuple[Piece, ...]
    head: tuple[Piece, ...]
    tail: tuple[Piece, ...]
    moving: Moving | None = None
    instead: str = ""  # the reason for which nothing cheaper is right

    @property
    def clusters(self) -> tuple[str, ...]:
        return self.target.clusters

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        lexer = self.statement.lexer
        assert lexer is not None
        shape, literals = lexer.shape(text)

        def text_of(pieces: tuple[Piece, ...]) -> bytes:
            return assemble(shape, literals, pieces)

        listed = KeyList(
            self.finder, text_of(self.find), self.target, text_of(self.head), text_of(self.tail), self.moving
        )
        return Route((), listed=listed)

    def describe(self) -> list[tuple[str, str]]:
        lines = [("plan", self.kind), ("clusters", ", ".join(self.clusters)), ("because", self.instead)]
        lines += [(f"find: {what}", value) for what, value in self.finder.describe() if what not in _NOT_OF_FINDER]
        keys = ", ".join(each.column for each in self.target.primary)
        lines.append(("then", f"the statement itself on every cluster, for its rows by {keys}"))
        if self.moving is not None:
            assert self.target.key is not None
            lines.append(("then", f"rows with another {self.target.key.known.column} move to their shards"))
        return [*lines, *self.traits()]


_NOT_OF_FINDER = frozenset({"runs on", "cache", "pins"})


def with_key_list(asked: Case, made: Plan, plan_select: PlanSelect) -> Plan:
    """A plan whose parts, where they refuse, find rows and write by key instead."""
    if isinstance(made, ByKey) and isinstance(made.fallback, Refuse):
        try:
            return replace(made, fallback=lift_write(asked, made.fallback.error, plan_select))
        except StatementRefused as refusal:
            return replace(made, fallback=Refuse(statement=asked.statement, error=refusal.with_traceback(None)))
    return made


def lift_write(asked: Case, refusal: StatementRefused, plan_select: PlanSelect) -> Plan:
    """The plan for an UPDATE or DELETE that was refused elsewhere. Raises StatementRefused: that refusal, or why not
    even this way."""
    change, lexer = asked.statement.change, asked.statement.lexer
    if refusal.reason not in LIFTED or change is None or not change.shape or lexer is None:
        raise refusal
    if not change.plain or len(asked.places) != 1 or asked.statement.subqueries:
        raise refusal
    if one_server_reason(asked.statement.effects) or pin_reason(asked.statement):
        raise refusal
    if asked.rules.transactions is Transactions.SINGLE:
        raise refusal
    return _Planning(asked, change, lexer, refusal).plan(plan_select)


class _Planning:
    def __init__(self, asked: Case, change: Change, lexer: Lexer, refusal: StatementRefused) -> None:
        self.asked = asked
        self.change = change
        self.lexer = lexer
        self.refusal = refusal
        self.place = asked.places[change.targets[0]]
        schema = asked.schema(self.place.ref.index)
        if schema is None:
            raise refusal
        self.schema = schema
        self.alias = self.name(self.place.ref.alias) + b"."
        self.items: list[tuple[Piece, ...]] = []
        self.columns: list[Known] = []

    def plan(self, plan_select: PlanSelect) -> ByKeyList:
        """Raises StatementRefused."""
        asked, change = self.asked, self.change
        target = self.target()
        moving = self.moving(target)
        if change.by_place:
            raise self.problem("sorts by a number, which one server takes for a constant")
        find: list[Piece] = [b"SELECT "]
        for number, item in enumerate(self.items):
            find += [b", "] * bool(number) + list(item)
        find += [b" FROM ", change.tables]
        if change.where[0] < change.where[1]:
            find += [b" WHERE ", change.where]
        for clause in (change.order, change.limit):
            if clause[0] < clause[1]:
                find += [b" ", clause]
        ignore = b"IGNORE " if change.ignore else b""
        if asked.statement.kind is Kind.UPDATE:
            head: tuple[Piece, ...] = (b"UPDATE " + ignore, change.tables, b" SET ", change.sets, b" WHERE ")
        else:
            head = (b"DELETE " + ignore + b"FROM ", change.tables, b" WHERE ")
        tail: tuple[Piece, ...] = (b" ", change.order) if change.order[0] < change.order[1] else ()
        return ByKeyList(
            statement=asked.statement,
            target=target,
            finder=self.finder(find, plan_select),
            find=tuple(find),
            head=head,
            tail=tail,
            moving=moving,
            instead=self.refusal.reason,
        )

    def finder(self, find: list[Piece], plan_select: PlanSelect) -> Plan:
        shape = self.change.shape
        text = b"".join(piece if isinstance(piece, bytes) else shape[piece[0] : piece[1]] for piece in find)
        statement = parse(text, [], lexer=self.lexer)
        if statement.kind is not Kind.SELECT:
            raise self.problem("has conditions that cannot be asked for by themselves")
        asked = self.asked
        return plan_select(case(statement, asked.rules, asked.catalog, asked.database))

    def target(self) -> Target:
        place, schema = self.place, self.schema
        if not schema.primary_key:
            raise refusals.KEY_LIST_PRIMARY.error(table=place.label, first=self.refusal.message)
        if schema.engine.lower() not in _ENGINES or not schema.is_base:
            raise self.problem("is about a table whose changes cannot be taken back")
        primary = tuple(self.known(name) for name in schema.primary_key)
        for known in primary:
            self.add(known)
        if place.cluster is not None:
            clusters: tuple[str, ...] = (place.cluster,)
        else:
            assert place.entry is not None
            clusters = table_clusters(self.asked.rules, place.entry)
        key = None
        if place.sharded:
            known = self.known(place.key)
            key = ShardKey(self.add(known), known, key_placement(self.asked, place), place.label)
        names = (place.ref.database, place.ref.name)
        name = b".".join(self.name(each) for each in names if each is not None)
        return Target(place.label, place.database, place.ref.name, name, self.alias, clusters, primary, key)

    def add(self, known: Known) -> int:
        """The cell in which the column is found."""
        if known in self.columns:
            return self.columns.index(known)
        self.columns.append(known)
        self.items.append((known.item(self.alias),))
        return len(self.items) - 1

    def moving(self, target: Target) -> Moving | None:
        key = target.key
        assigned = self.change.assigned
        if key is None or key.known.column not in self.asked.statement.assigned:
            return None
        column = key.known.column
        why = self._cannot_move(column)
        if why:
            raise refusals.MOVE_ROWS.error(table=target.label, column=column, why=why)
        unique = tuple(
            tuple(self.add(self.known(part)) for part in parts) for parts in self.schema.unique_keys if column in parts
        )
        columns = tuple(self.columns)
        value = next(each.value for each in assigned if each.column == column)
        if key.placement.form.family in (Family.INTEGER, Family.DATE):
            item: tuple[Piece, ...] = (b"(", value, b")")
        else:
            item = (b"HEX(CONVERT((", value, b") USING utf8mb4))")
        self.items.append(item)
        return Moving(len(self.items) - 1, item, unique, columns)

    def _cannot_move(self, column: str) -> str:
        schema, change = self.schema, self.change
        found = schema.column(column)
        before: set[str] = set()
        for each in change.assigned:
            if each.column == column:
                break
            before.add(each.column)
        value = next(each for each in change.assigned if each.column == column)
        if self.asked.rules.transactions is not Transactions.ATOMIC:
            return "that is done in one transaction over both shards, which needs `transactions: atomic`"
        if [each.column for each in change.assigned].count(column) > 1:
            return "it is assigned twice"
        if not before.isdisjoint(value.words):
            return "its new value depends on a column that is assigned before it"
        if found is not None and found.auto_increment:
            return "it is the AUTO_INCREMENT column, whose ids a sequence hands out"
        if change.ignore:
            return "IGNORE would have to leave out rows that are in the way on other shards"
        if schema.has_triggers:
            return "its triggers would see rows that are inserted and deleted instead of changed"
        if schema.referenced is None or schema.referenced or schema.cascades:
            return "foreign keys of other tables refer to it, whose rows stay on their shards"
        return ""

    def known(self, name: str) -> Known:
        """Raises StatementRefused where the column's values cannot be written down."""
        column = self.schema.column(name)
        if column is None or column.data_type not in _WRITTEN:
            raise self.problem(f"has to tell rows apart by {name}, whose values cannot be written down exactly")
        return Known(column.name, self.name(column.name), _WRITTEN[column.data_type], _charset(column))

    def name(self, name: str) -> bytes:
        text = quoted(name)
        if text.isascii():
            return text.encode()
        try:
            return text.encode(codec(self.lexer.charset) or "ascii")
        except UnicodeError:
            raise self.problem(f"has names that {self.lexer.charset} cannot write") from None

    def problem(self, why: str) -> StatementRefused:
        return refusals.KEY_LIST.error(verb=self.asked.verb(), why=why, first=self.refusal.message)


def _charset(column: Column) -> str:
    if column.charset is None:
        return "binary"
    return charset_named(column.charset) or column.charset
