"""UPDATE and DELETE that no server can carry out alone: their rows are found by a SELECT, and written by primary key.

The SELECT is the statement's own FROM, WHERE, ORDER BY and LIMIT; it is planned like any other SELECT, and locks what
it finds. Then every cluster gets the statement as it was written, with the primary keys of its rows in place of WHERE,
in the same transaction. Where values depend on other tables, the SELECT tells these too, and they are written as
literals. An UPDATE that assigns the shard key may leave rows where they do not belong: `Moving` says what is needed to
find these and bring them to their shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from parser.analyse import parse
from parser.rewrite import Text, assemble, quoted
from parser.shape import Lexer
from parser.statement import Assigned, Change, Kind
from proxy.back.catalog import Column, TableSchema
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.case import Case, case, pin_reason
from proxy.plan.places import Place, table_clusters
from proxy.plan.plan import Plan, Refuse, Route, ValueOf
from proxy.plan.rows import check_ids, key_placement
from proxy.plan.scatter import one_server_reason
from proxy.plan.shard_routes import ByKey
from proxy.plan.told_apart import PLAIN, Cells, Known, ShardKey, known
from proxy.rules.model import Transactions
from proxy.wire.charsets import codec

# Refusals that are about where rows are: one server with all of them would just write.
LIFTED = frozenset(
    refusal.slug
    for refusal in (
        *(refusals.NOT_ONE_SHARD, refusals.SHARDS_APART, refusals.UPDATE_KEY),
        *(refusals.CROSS_CLUSTER, refusals.SHARDED_AND_FIXED, refusals.SEVERAL_SHARDS),
        *(refusals.EVERYWHERE_MIXED, refusals.EVERYWHERE_DIFFERS),
    )
)
_ENGINES = frozenset({"innodb", "rocksdb"})  # that take back what a failed statement did

PlanSelect = Callable[[Case], Plan]


@dataclass(frozen=True, slots=True)
class Moving:
    """An UPDATE that assigns the shard key. `at`: the cell with its new value; `unique`: for each unique key that has
    the shard key in it, the cells of its old values."""

    at: int
    unique: tuple[tuple[int, ...], ...]
    columns: tuple[Known, ...]  # those of the found cells before `at`


@dataclass(frozen=True, slots=True)
class Target:
    """A table that is written to. `primary`: its primary key, in the cells from number `first` on."""

    label: str
    database: str | None
    table: str
    name: bytes  # qualified and quoted, in the character set of the statement
    clusters: tuple[str, ...]
    primary: tuple[Known, ...]
    first: int
    key: ShardKey | None = None  # None: each of the clusters has all rows

    def places(self, cells: Cells) -> tuple[str, ...]:
        """Where a row is. Raises StatementRefused."""
        return self.clusters if self.key is None else (self.key.cluster(cells[self.key.at]),)

    def identity(self, cells: Cells) -> tuple[bytes | None, ...]:
        """Its primary key. The first is None where an outer join had no row."""
        return tuple(cells[self.first : self.first + len(self.primary)])

    def condition(self, rows: Iterable[Cells], alias: bytes) -> bytes:
        """These rows and no others."""
        primary = self.primary
        if len(primary) == 1:
            texts = b",".join(primary[0].literal(row[self.first]) for row in rows)
            return b"%s%s IN (%s)" % (alias, primary[0].name, texts)
        each = (
            b" AND ".join(b"%s%s=%s" % (alias, k.name, k.literal(cell)) for k, cell in zip(primary, self.identity(row)))
            for row in rows
        )
        return b"(" + b" OR ".join(b"(%s)" % one for one in each) + b")"


@dataclass(frozen=True, slots=True)
class Given:
    """A column that gets the value found in cell number `at`."""

    name: bytes  # quoted
    at: int
    column: Column


@dataclass(frozen=True, slots=True)
class Part:
    """What is written to one table: `head`, a condition on the columns of `alias`, and `tail`; with `values`, these
    are assigned between `head` and a WHERE."""

    target: Target
    head: bytes
    tail: bytes = b""
    alias: bytes = b""
    values: tuple[Given, ...] = ()

    def statement(self, rows: Iterable[Cells]) -> bytes:
        return self.head + self.target.condition(rows, self.alias) + self.tail

    def giving(self, literals: Iterable[bytes], rows: Iterable[Cells]) -> bytes:
        """The statement for rows that get these values."""
        sets = b",".join(b"%s=%s" % (given.name, literal) for given, literal in zip(self.values, literals))
        return self.head + sets + b" WHERE " + self.target.condition(rows, self.alias)

    @property
    def nothing(self) -> bytes:
        """The statement without a row, for errors that need none."""
        if self.values:
            return self.head + b",".join(b"%s=%s" % (given.name, given.name) for given in self.values) + b" WHERE FALSE"
        return self.head + b"FALSE" + self.tail


@dataclass(frozen=True, slots=True)
class KeyList:
    """What is to be done for one statement (`proxy.front.key_list` does it): `find` tells and locks the rows. `text`:
    the client's."""

    finder: Plan
    find: bytes
    parts: tuple[Part, ...]
    text: bytes
    moving: Moving | None = None

    @property
    def clusters(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cluster for part in self.parts for cluster in part.target.clusters))


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A `Part` of any statement of the shape."""

    target: Target
    head: tuple[Text, ...]
    tail: tuple[Text, ...] = ()
    alias: bytes = b""
    values: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ByKeyList(Plan):
    kind = "key-list"
    parts: tuple[PlannedPart, ...]
    finder: Plan
    find: tuple[Text, ...]
    moving: Moving | None = None
    instead: str = ""  # the reason for which nothing cheaper is right

    @property
    def clusters(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cluster for part in self.parts for cluster in part.target.clusters))

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        lexer = self.statement.lexer
        assert lexer is not None
        shape, literals = lexer.shape(text)

        def text_of(pieces: tuple[Text, ...]) -> bytes:
            return assemble(shape, literals, pieces)

        parts = tuple(
            Part(part.target, text_of(part.head), text_of(part.tail), part.alias, part.values) for part in self.parts
        )
        return Route((), listed=KeyList(self.finder, text_of(self.find), parts, text, self.moving))

    def describe(self) -> list[tuple[str, str]]:
        lines = [("plan", self.kind), ("clusters", ", ".join(self.clusters)), ("because", self.instead)]
        lines += [(f"find: {what}", value) for what, value in self.finder.describe() if what not in _NOT_OF_FINDER]
        for part in self.parts:
            keys = ", ".join(each.column for each in part.target.primary)
            what = "the values that were found" if part.values else "the statement itself"
            lines.append(("then", f"{part.target.label} by {keys}: {what}, on {', '.join(part.target.clusters)}"))
            if self.moving is not None and part.target.key is not None:
                lines.append(("then", f"rows with another {part.target.key.known.column} move to their shards"))
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
    if one_server_reason(asked.statement.effects) or pin_reason(asked.statement):
        raise refusal
    check_ids(asked)
    return _Planning(asked, change, lexer, refusal).plan(plan_select)


def several_writes(asked: Case, place: Place, clusters: Iterable[str], advice: str) -> StatementRefused:
    names = ", ".join(clusters)
    return refusals.SEVERAL_WRITES.error(verb=asked.verb(), table=place.label, clusters=names, advice=advice)


def _clusters(asked: Case, place: Place) -> tuple[str, ...]:
    if place.cluster is not None:
        return (place.cluster,)
    assert place.entry is not None
    return table_clusters(asked.rules, place.entry)


class _Planning:
    def __init__(self, asked: Case, change: Change, lexer: Lexer, refusal: StatementRefused) -> None:
        self.asked = asked
        self.change = change
        self.lexer = lexer
        self.refusal = refusal
        self.items: list[tuple[Text, ...]] = []  # of the SELECT
        self.columns: dict[tuple[int, str], int] = {}  # (table, column) -> cell
        self.known: list[Known] = []  # as long as all items are columns

    def plan(self, plan_select: PlanSelect) -> ByKeyList:
        """Raises StatementRefused."""
        change = self.change
        if change.by_place:
            raise self.problem("sorts by a number, which one server takes for a constant")
        tables = change.targets
        if self.asked.statement.kind is Kind.UPDATE:  # of tables that may be meant, those that have the columns
            tables = tuple(sorted({self.owner(each) for each in change.assigned}))
        self.check_transactions(tables)
        as_written = change.plain and not any("select" in each.words for each in change.assigned)
        if self.asked.statement.kind is Kind.UPDATE and any(self.asked.places[t].everywhere for t in tables):
            as_written = False  # what a server computes may differ from what another one does
        targets = {table: self.target(table) for table in tables}
        moving = None
        for table, target in targets.items():
            if target.key is not None and any(
                each.column == target.key.known.column and self.owner(each) == table for each in change.assigned
            ):
                moving = self.moving(table, target, as_written)
        if as_written:
            parts = [self.as_written(tables[0], targets[tables[0]])]
        elif self.asked.statement.kind is Kind.UPDATE:
            parts = [self.with_values(table, target) for table, target in targets.items()]
        else:
            head = b"DELETE " + self.ignore + b"FROM "
            parts = [PlannedPart(target, (head + target.name + b" WHERE ",)) for target in targets.values()]
        find = self.find()
        return ByKeyList(
            statement=self.asked.statement,
            parts=tuple(parts),
            finder=self.finder(find, plan_select),
            find=find,
            moving=moving,
            instead=self.refusal.reason,
        )

    def check_transactions(self, tables: Sequence[int]) -> None:
        """Raises StatementRefused where the rules do not allow to write these tables with one statement."""
        asked = self.asked
        if asked.rules.transactions is not Transactions.SINGLE:
            return
        places = [asked.places[table] for table in tables]
        clusters = dict.fromkeys(cluster for place in places for cluster in _clusters(asked, place))
        if len(clusters) > 1:
            advice = "Name the rows of each shard with a statement of their own, "
            raise several_writes(asked, places[0], clusters, advice)

    # -- finding

    def find(self) -> tuple[Text, ...]:
        change = self.change
        find: list[Text] = [b"SELECT "]
        for number, item in enumerate(self.items):
            find += [b", "] * bool(number) + list(item)
        find += [b" FROM ", change.tables]
        if change.where[0] < change.where[1]:
            find += [b" WHERE ", change.where]
        for clause in (change.order, change.limit):
            if clause[0] < clause[1]:
                find += [b" ", clause]
        return tuple(find)

    def finder(self, find: tuple[Text, ...], plan_select: PlanSelect) -> Plan:
        shape, asked = self.change.shape, self.asked
        text = b"".join(piece if isinstance(piece, bytes) else shape[piece[0] : piece[1]] for piece in find)
        statement = parse(text, [], lexer=self.lexer)
        if statement.kind is not Kind.SELECT:
            raise self.problem("has conditions or values that cannot be asked for by themselves")
        return plan_select(case(statement, asked.rules, asked.catalog, asked.database))

    def add(self, table: int, name: str) -> int:
        """The cell in which a column is found. Raises StatementRefused."""
        if (table, name) not in self.columns:
            column = self.column(table, name)
            self.columns[table, name] = len(self.items)
            self.known.append(column)
            self.items.append((column.item(self.name(self.asked.places[table].ref.alias) + b"."),))
        return self.columns[table, name]

    # -- writing

    def target(self, table: int) -> Target:
        place, schema = self.asked.places[table], self.schema(table)
        if place.everywhere:
            self.check_copies(place, schema)
        if not schema.primary_key:
            raise refusals.KEY_LIST_PRIMARY.error(table=place.label, first=self.refusal.message)
        if schema.engine.lower() not in _ENGINES or not schema.is_base:
            raise self.problem("is about a table whose changes cannot be taken back")
        first = len(self.items)
        for name in schema.primary_key:
            self.add(table, name)
        primary = tuple(self.column(table, name) for name in schema.primary_key)
        key = None
        if place.sharded:
            column = self.column(table, place.key)
            key = ShardKey(self.add(table, place.key), column, key_placement(self.asked, place), place.label)
        names = [name for name in (place.ref.database, place.ref.name) if name is not None]
        qualified = b".".join(map(self.name, names))
        clusters = _clusters(self.asked, place)
        return Target(place.label, place.database, place.ref.name, qualified, clusters, primary, first, key)

    def check_copies(self, place: Place, schema: TableSchema) -> None:
        """Raises StatementRefused where servers would put values of their own into the copies of a table."""
        why = "runs triggers, which may do different things on every server" if schema.has_triggers else ""
        assigned = self.asked.statement.assigned
        for column in schema.columns:
            if column.on_update and self.asked.statement.kind is Kind.UPDATE:
                why = why or f"may let the server set {column.name} to the time"
            if column.server_default and column.name in assigned:
                why = why or f"may leave {column.name} to the server"
        if why and self.refusal.reason == refusals.EVERYWHERE_DIFFERS.slug:
            raise self.refusal
        if why:
            advice = "Name the rows, and give the values, in a statement of its own."
            verb = self.asked.verb()
            raise refusals.EVERYWHERE_DIFFERS.error(table=place.label, verb=verb, why=why, advice=advice)

    @property
    def ignore(self) -> bytes:
        return b"IGNORE " if self.change.ignore else b""

    def as_written(self, table: int, target: Target) -> PlannedPart:
        """The statement itself, with another condition."""
        change = self.change
        alias = self.name(self.asked.places[table].ref.alias) + b"."
        if self.asked.statement.kind is Kind.UPDATE:
            head: tuple[Text, ...] = (b"UPDATE " + self.ignore, change.tables, b" SET ", change.sets, b" WHERE ")
        else:
            head = (b"DELETE " + self.ignore + b"FROM ", change.tables, b" WHERE ")
        tail: tuple[Text, ...] = (b" ", change.order) if change.order[0] < change.order[1] else ()
        return PlannedPart(target, head, tail, alias)

    def with_values(self, table: int, target: Target) -> PlannedPart:
        """An UPDATE whose values were found with the rows."""
        values = []
        assigned = self.change.assigned
        for number, each in enumerate(assigned):
            others = assigned[:number] if self.change.plain else (*assigned[:number], *assigned[number + 1 :])
            if any(other.column in each.words for other in others):
                raise self.problem(f"assigns {each.column} a value that depends on another column that it assigns")
            if "default" in each.words:
                raise self.problem(f"assigns {each.column} its DEFAULT")
            if self.owner(each) != table:
                continue
            column = self.schema(table).column(each.column)
            if column is None:
                raise self.refusal
            values.append(Given(self.name(column.name), len(self.items), column))
            self.items.append((b"(", each.value, b")"))
        return PlannedPart(target, (b"UPDATE " + self.ignore + target.name + b" SET ",), values=tuple(values))

    def owner(self, assigned: Assigned) -> int:
        """The table of an assigned column. Raises StatementRefused."""
        targets = self.change.targets
        if len(targets) == 1:
            if (
                assigned.qualifiers
                and assigned.qualifiers[-1].lower() != self.asked.places[targets[0]].ref.alias.lower()
            ):
                raise self.problem(f"assigns {assigned.column} of something else than a table")
            return targets[0]
        if assigned.qualifiers:
            alias = assigned.qualifiers[-1].lower()
            found = [table for table in targets if self.asked.places[table].ref.alias.lower() == alias]
        else:
            found = [table for table in targets if self.schema(table).column(assigned.column) is not None]
        if len(found) != 1:
            raise self.problem(f"assigns {assigned.column}, whose table is not certain")
        return found[0]

    # -- moving

    def moving(self, table: int, target: Target, as_written: bool) -> Moving:
        key = target.key
        assert key is not None
        column = key.known.column
        why = self._cannot_move(table, column)
        if not as_written:
            why = why or "its values depend on other tables"
        if why:
            raise refusals.MOVE_ROWS.error(table=target.label, column=column, why=why)
        unique = tuple(
            tuple(self.add(table, part) for part in parts)
            for parts in self.schema(table).unique_keys
            if column in parts
        )
        columns = tuple(self.known)
        value = next(each.value for each in self.change.assigned if each.column == column)
        if key.placement.form.family in PLAIN:
            self.items.append((b"(", value, b")"))
        else:
            self.items.append((b"HEX(CONVERT((", value, b") USING utf8mb4))"))
        return Moving(len(self.items) - 1, unique, columns)

    def _cannot_move(self, table: int, column: str) -> str:
        schema, change = self.schema(table), self.change
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

    # -- names

    def schema(self, table: int) -> TableSchema:
        schema = self.asked.schema(table)
        if schema is None:
            raise self.refusal
        return schema

    def column(self, table: int, name: str) -> Known:
        """Raises StatementRefused where the column's values cannot be written down."""
        column = self.schema(table).column(name)
        found = known(column, self.name(column.name)) if column is not None else None
        if found is None:
            raise self.problem(f"has to tell rows apart by {name}, whose values cannot be written down exactly")
        return found

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
