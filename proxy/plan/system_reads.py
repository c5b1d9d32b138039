"""SELECTs from information_schema where tables of a database are on several clusters.

`proxy.plan.system_tables` says whose rows count. A statement whose conditions lead to databases and tables that one
cluster speaks for goes to that cluster as it was written. Any other runs on one cluster too, over derived tables in the
place of information_schema's: the rows there that this cluster speaks for, and as constants those of other clusters,
which are asked first. Constants keep types, character sets and names; joins, subqueries and functions are the server's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from parser.rewrite import edit
from parser.statement import ColumnEquality, Statement, Value
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.places import SYSTEM_DATABASES, database_entry, one_place, table_clusters
from proxy.plan.plan import Plan, Route, ValueOf
from proxy.plan.shard_routes import constant, route_to
from proxy.plan.system_tables import SystemTable, database_clusters, is_spread, speaker, system_table
from proxy.rules.model import Database, Rules, Table

Span = tuple[int, int]
Node = tuple[int, str]

_PLAIN = re.compile(r"[0-9A-Za-z_$-]+")  # of these names it is certain that they equal no other, but for case


@dataclass(frozen=True, slots=True)
class Mention:
    """One mention of a table of information_schema. `schemas`, `tables`: of what its rows are that can matter, each
    tuple of values on its own sufficient; `in_database`: of the session's database."""

    table: SystemTable
    span: Span  # of its name
    whole: Span  # with the database
    aliased: bool
    words: frozenset[str] | None  # of its columns those are needed that are among these; None: all
    schemas: tuple[tuple[Value, ...], ...]
    tables: tuple[tuple[Value, ...], ...]
    in_database: bool

    @property
    def totals(self) -> bool:
        """Does the statement ask for what is added up?"""
        totals = self.table.totals or {}
        return bool(totals) and (self.words is None or any(name.lower() in self.words for name in totals))

    def describe(self) -> str:
        about = [
            *(["of the session's database"] if self.in_database else []),
            *(["of the databases that it names"] if self.schemas else []),
            *(["of the tables that it names"] if self.tables else []),
        ]
        return f"{self.table.name}, {' and '.join(about) or 'of all databases'}"


@dataclass(frozen=True, slots=True)
class Ask:
    """The rows that one mention needs, for one statement. `here`: the condition for those that the cluster has itself
    on which the statement runs; `there`: by cluster, the condition for those that are brought from it; `spread`: by
    (database, table), both in lower case, the sharded tables whose rows are added up: who speaks, and the shard key."""

    mention: Mention
    here: bytes
    there: tuple[tuple[str, bytes], ...]
    spread: dict[tuple[str, str], tuple[str, str]]

    def chosen(self, columns: Sequence[str]) -> list[str]:
        """Those of the table's columns that the statement needs, at least one."""
        words = self.mention.words
        kept = [name for name in columns if words is None or name.lower() in words]
        return kept or [self.mention.table.schema]

    def pulled(self, columns: Sequence[str]) -> list[str]:
        """Those that are needed of a row that is brought, for the statement or to add it to others."""
        kept = self.chosen(columns)
        if self.spread:
            kept += [name for name in dict.fromkeys(self.mention.table.for_totals) if name not in kept]
        return kept


@dataclass(frozen=True, slots=True)
class Gather:
    """What is to be done for one statement (`proxy.front.system_reads` does it)."""

    cluster: str
    asks: tuple[Ask, ...]
    shape: bytes
    literals: tuple[bytes, ...]
    qualifiers: tuple[Span, ...]

    def final(self, derived: Sequence[bytes]) -> bytes:
        """The statement with these derived tables (in parentheses) in the place of the mentions."""
        edits: list[tuple[Span, tuple[bytes | Span, ...]]] = [(span, (b"",)) for span in self.qualifiers]
        for ask, text in zip(self.asks, derived, strict=True):
            mention = ask.mention
            edits.append((mention.whole, (text,) if mention.aliased else (text, b" AS ", mention.span)))
        return edit(self.shape, self.literals, sorted(edits, key=lambda each: each[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRead(Plan):
    kind = "system"
    cluster: str  # where it runs, if it is not about what another alone speaks for
    bound: bool  # it has to run there
    database: str | None
    rules: Rules = field(repr=False)
    mentions: tuple[Mention, ...]

    @property
    def clusters(self) -> tuple[str, ...]:
        others = (c for entry in self.rules.databases.values() for c in database_clusters(self.rules, entry))
        return tuple(dict.fromkeys((self.cluster, self.rules.default_home, *others)))

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        about = [(each, *self._about(each, value_of)) for each in self.mentions]
        told = {c for each, schemas, tables in about for c in self._telling(each, schemas, tables)}
        if len(told) == 1:
            (only,) = told
            if not self.bound or only == self.cluster:
                return route_to(only)
        lexer = self.statement.lexer
        assert lexer is not None
        shape, literals = lexer.shape(text)
        asks = tuple(self._ask(each, schemas, tables) for each, schemas, tables in about)
        return Route((), gather=Gather(self.cluster, asks, shape, tuple(literals), self.statement.qualifiers))

    def _about(self, mention: Mention, value_of: ValueOf) -> tuple[frozenset[str] | None, frozenset[str] | None]:
        """The databases and the tables whose rows can matter; None: any."""
        alternatives = [_names(values, value_of) for values in mention.schemas]
        if mention.in_database and self.database is not None and _PLAIN.fullmatch(self.database):
            alternatives.append(frozenset({self.database}))
        schemas = min((names for names in alternatives if names is not None), key=len, default=None)
        tables = (_names(values, value_of) for values in mention.tables)
        return schemas, min((names for names in tables if names is not None), key=len, default=None)

    def _telling(
        self, mention: Mention, schemas: frozenset[str] | None, tables: frozenset[str] | None
    ) -> Iterator[str]:
        """The clusters that have rows which can matter."""
        rules = self.rules
        if schemas is None:
            yield from self.clusters
            return
        for name in schemas:
            entry = database_entry(rules, name)
            if entry is None:
                yield self.cluster if name.lower() in SYSTEM_DATABASES else rules.default_home
            elif not mention.table.table:
                yield entry.home
            elif tables is None:
                yield entry.home
                for table in entry.tables.values():
                    yield from self._speaking(mention, table)
            else:
                for table_name in tables:
                    found = rules.table(entry.name, table_name)
                    if found is None:
                        yield entry.home
                    else:
                        yield from self._speaking(mention, found)

    def _speaking(self, mention: Mention, table: Table) -> tuple[str, ...]:
        if mention.totals and is_spread(table):
            return table_clusters(self.rules, table)
        return (speaker(self.rules, table),)

    def _ask(self, mention: Mention, schemas: frozenset[str] | None, tables: frozenset[str] | None) -> Ask:
        rules = self.rules
        entries = list(rules.databases.values())
        if schemas is not None:
            folded = {name.lower() for name in schemas}
            entries = [entry for entry in entries if entry.name.lower() in folded]
        wanted = None if tables is None else frozenset(name.lower() for name in tables)
        spread: dict[tuple[str, str], tuple[str, str]] = {}
        if mention.totals:
            for entry in entries:
                for table in entry.tables.values():
                    if is_spread(table) and (wanted is None or table.name.lower() in wanted):
                        spread[entry.name.lower(), table.name.lower()] = speaker(rules, table), table.key
        narrow = b""
        if schemas is not None:
            narrow += b" AND %s %s" % (mention.table.schema.encode(), _equals(schemas))
        if tables is not None and mention.table.table:
            narrow += b" AND %s %s" % (mention.table.table.encode(), _equals(tables))
        there = []
        for cluster in self.clusters:
            parts = [] if cluster == self.cluster else self._spoken(mention, cluster, entries, schemas, wanted, spread)
            parts += self._added(mention, cluster, entries, spread)
            if parts:
                there.append((cluster, b"(%s)%s" % (b" OR ".join(parts), narrow)))
        here = self._spoken(mention, self.cluster, entries, schemas, wanted, spread)
        return Ask(mention, b"(%s)%s" % (b" OR ".join(here) or b"FALSE", narrow), tuple(there), spread)

    def _spoken(
        self,
        mention: Mention,
        cluster: str,
        entries: Collection[Database],
        schemas: frozenset[str] | None,
        wanted: frozenset[str] | None,
        spread: Collection[tuple[str, str]],
    ) -> list[bytes]:
        """Conditions for the rows that a cluster speaks for and that are added to none."""
        rules, schema, table = self.rules, mention.table.schema, mention.table.table
        routed = {entry.name.lower() for entry in rules.databases.values()} - SYSTEM_DATABASES
        parts = []
        if cluster == self.cluster and _any(schemas, lambda name: name in SYSTEM_DATABASES):
            parts.append(_among(schema, SYSTEM_DATABASES))
        if cluster == rules.default_home and _any(schemas, lambda n: n not in routed and n not in SYSTEM_DATABASES):
            parts.append(b"NOT " + _among(schema, routed | SYSTEM_DATABASES))
        for entry in entries:
            of_database = _among(schema, [entry.name.lower()])
            if not table:
                parts += [of_database] if cluster == entry.home else []
                continue
            added = {name for database, name in spread if database == entry.name.lower()}
            by_speaker = {t.name.lower(): speaker(rules, t) for t in entry.tables.values()}
            if cluster == entry.home:
                elsewhere = added | {name for name, speaks in by_speaker.items() if speaks != cluster}
                but = b" AND NOT " + _among(table, elsewhere) if elsewhere else b""
                parts.append(b"(" + of_database + but + b")")
                continue
            own = {name for name, speaks in by_speaker.items() if speaks == cluster} - added
            own = own if wanted is None else own & wanted
            if own:
                parts.append(b"(" + of_database + b" AND " + _among(table, own) + b")")
        return parts

    def _added(
        self, mention: Mention, cluster: str, entries: Collection[Database], spread: Collection[tuple[str, str]]
    ) -> list[bytes]:
        """Conditions for a cluster's rows that are added to those of others."""
        parts = []
        for entry in entries:
            names = {
                table.name.lower()
                for table in entry.tables.values()
                if (entry.name.lower(), table.name.lower()) in spread and cluster in table_clusters(self.rules, table)
            }
            if names:
                of_database = _among(mention.table.schema, [entry.name.lower()])
                parts.append(b"(" + of_database + b" AND " + _among(mention.table.table, names) + b")")
        return parts

    def describe(self) -> list[tuple[str, str]]:
        lines = [("plan", self.kind), ("cluster", self.cluster)]
        lines += [("reads", mention.describe()) for mention in self.mentions]
        lines.append(("rows of", ", ".join(self.clusters) + ", as far as each speaks for the tables asked about"))
        return [*lines, *self.traits()]


def _any(schemas: frozenset[str] | None, test: Callable[[str], bool]) -> bool:
    return schemas is None or any(test(name.lower()) for name in schemas)


def _names(values: Iterable[Value], value_of: ValueOf) -> frozenset[str] | None:
    """The names that these values are; None where that is not certain."""
    found = set()
    for value in values:
        name = constant(value, value_of)
        if not isinstance(name, str) or not _PLAIN.fullmatch(name):
            return None
        found.add(name)
    return frozenset(found)


def _literal(name: str) -> bytes:
    """A name as a string that every sql_mode and character set reads alike."""
    return b"'%s'" % name.encode() if _PLAIN.fullmatch(name) else b"_utf8mb4 X'%s'" % name.encode().hex().encode()


def _equals(names: Collection[str]) -> bytes:
    """As the client compares, which lets the server look at these tables only."""
    texts = [_literal(name) for name in sorted(names)]
    return b"= " + texts[0] if len(texts) == 1 else b"IN (" + b", ".join(texts) + b")"


def _among(column: str, names: Collection[str]) -> bytes:
    """Is the column one of these names (lower case), as the rules compare them?"""
    texts = b", ".join(_literal(name) for name in sorted(names))
    return b"CONVERT(LOWER(%s) USING utf8mb4) COLLATE utf8mb4_bin IN (%s)" % (column.encode(), texts)


# -- planning


def reads_system(asked: Case) -> bool:
    """Does it read tables of information_schema whose rows several clusters may have to tell?"""
    return (
        any(each.system and system_table(each.database, each.ref.name) is not None for each in asked.places)
        and one_place(asked.rules) is None
    )


def _ours(asked: Case) -> dict[int, SystemTable]:
    """The mentions of such tables."""
    return {
        each.ref.index: table
        for each in asked.places
        if each.system and (table := system_table(each.database, each.ref.name)) is not None
    }


def check_inside(asked: Case) -> None:
    """For statements that read such tables in order to do something with it: they run on one cluster. Raises
    StatementRefused, but where what they ask about is surely all on home."""
    if asked.statement.hint is not None and asked.statement.hint.cluster is not None:
        return
    entry = database_entry(asked.rules, asked.database)
    at_home = asked.database is not None and (entry is None or database_clusters(asked.rules, entry) == (entry.home,))
    restrictions = _Restrictions(asked.statement, _ours(asked))
    for number, table in _ours(asked).items():
        if not (at_home and restrictions.of(number, table)[2]):
            raise refusals.SYSTEM_INSIDE.error(system=asked.places[number].label, verb=asked.verb())


def plan_system_read(asked: Case) -> Plan:
    """A statement of which `reads_system` is true. Raises StatementRefused."""
    statement = asked.statement
    ours = _ours(asked)
    first = next(each.label for each in asked.places if each.ref.index in ours)
    beside = [each for each in asked.places if each.ref.index not in ours and not each.everywhere]
    clusters = {each.cluster for each in beside}
    cluster = beside[0].cluster if beside else asked.home
    if cluster is None or len(clusters) > 1:
        raise refusals.SYSTEM_BESIDE.error(system=first, table=next(e.label for e in beside if e.cluster != asked.home))
    bound = any(each.ref.index not in ours for each in asked.places)
    restrictions = _Restrictions(statement, ours)
    words = None if "*" in statement.names else statement.names
    mentions = []
    for each in asked.places:
        table = ours.get(each.ref.index)
        if table is None:
            continue
        ref = each.ref
        if ref.span is None or ref.whole is None:
            raise refusals.SYSTEM_PLACE.error(system=each.label)
        schemas, tables, here = restrictions.of(ref.index, table)
        mentions.append(Mention(table, ref.span, ref.whole, ref.aliased, words, schemas, tables, here))
    return SystemRead(
        statement=statement,
        cluster=cluster,
        bound=bound,
        database=asked.database,
        rules=asked.rules,
        mentions=tuple(mentions),
    )


Restriction = tuple[tuple[tuple[Value, ...], ...], tuple[tuple[Value, ...], ...], bool]


class _Restrictions:
    """What the conditions of a statement say of the databases and tables that its mentions are about."""

    def __init__(self, statement: Statement, tables: dict[int, SystemTable]) -> None:
        self._statement = statement
        self._tables = tables
        self._pins: dict[Node, list[tuple[Value, ...]]] = {}
        self._here: set[Node] = set()
        self._edges: dict[Node, set[Node]] = {}
        for block in statement.blocks:
            for pin in block.pins:
                self._pins.setdefault((pin.table, pin.column), []).append(pin.values)
            for column, values in block.unresolved:
                owner = self._owner(block.index, column)
                if owner is not None:
                    self._pins.setdefault((owner, column), []).append(values)
            for table, column in block.in_database:
                owner = table if table is not None else self._owner(block.index, column)
                if owner is not None:
                    self._here.add((owner, column))
            for equality in block.equalities:
                self._connect(block.index, equality)
            for left_table, left, right_table, right in block.unresolved_equalities:
                one = left_table if left_table is not None else self._owner(block.index, left)
                other = right_table if right_table is not None else self._owner(block.index, right)
                if one is not None and other is not None:
                    self._connect(block.index, ColumnEquality((one, left), (other, right)))

    def _connect(self, block: int, equality: ColumnEquality) -> None:
        for source, target in ((equality.left, equality.right), (equality.right, equality.left)):
            certain = equality.only is None or equality.only == target[0]
            certain = certain and source[0] in self._tables and target[0] in self._tables
            if certain and self._statement.tables[target[0]].block == block:
                self._edges.setdefault(source, set()).add(target)

    def _owner(self, block: int, column: str) -> int | None:
        """The mention in a block that an unqualified column belongs to. If more than one thing there had it, the
        statement would be an error."""
        tables = self._statement.tables
        having = [
            number for number, table in self._tables.items() if tables[number].block == block and column in table.keys
        ]
        return having[0] if len(having) == 1 else None

    def of(self, number: int, table: SystemTable) -> Restriction:
        schemas, here = self._told(number, [name.lower() for name in table.schemas])
        tables, _ = self._told(number, [table.table.lower()] if table.table else [])
        return tuple(schemas), tuple(tables), here

    def _told(self, number: int, columns: Iterable[str]) -> tuple[list[tuple[Value, ...]], bool]:
        """What is known of these columns of one mention, by their own conditions and those of columns that lead
        there."""
        values: list[tuple[Value, ...]] = []
        here = False
        seen: set[Node] = set()
        todo: list[Node] = [(number, column) for column in columns]
        leading: dict[Node, set[Node]] = {}
        for source, targets in self._edges.items():
            for target in targets:
                leading.setdefault(target, set()).add(source)
        while todo:
            node = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            of = self._tables[node[0]]
            if node[1].upper() in of.schemas:
                todo += ((node[0], name.lower()) for name in of.schemas)
            values += self._pins.get(node, [])
            here = here or node in self._here
            todo += leading.get(node, ())
        return values, here
