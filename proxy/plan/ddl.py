"""DDL, and other work on tables, databases and accounts that are on several clusters: the same statement on each.

`proxy.front.ddl` carries it out, one cluster after the other, and can take it up again where an earlier try has ended
(`proxy.plan.ddl_progress`).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from parser.defined import Defined
from parser.members import quick
from parser.rewrite import edit, quoted, splice
from parser.statement import Effect
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.places import Place, check_views, database_entry, table_clusters
from proxy.plan.plan import Plan, Reply, Route, Send, ValueOf
from proxy.plan.shard_definitions import check_foreign_keys, check_shard_key


@quick
class Thing(enum.Enum):
    """What a definition is of, in the word of SHOW CREATE .."""

    TABLE = "TABLE"
    DATABASE = "DATABASE"
    TRIGGER = "TRIGGER"
    USER = "USER"
    GRANTS = "GRANTS"  # SHOW GRANTS FOR ..


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """Something that the statement defines. `name` is for people, `quoted` and `database` (that it is in) for SQL."""

    thing: Thing
    name: str
    quoted: str
    clusters: tuple[str, ...]
    database: str = ""


@quick
class Again(enum.Enum):
    """What happens when the statement is sent to a cluster that has carried it out already."""

    FAILS = "fails"  # mostly with an error of its own; or it does something twice
    SAME = "the same"  # TRUNCATE, IF EXISTS, IF NOT EXISTS, OR REPLACE: the outcome does not change


@dataclass(frozen=True, slots=True, kw_only=True)
class Ddl(Plan):
    """The statement on every cluster in turn. `grows`: definitions become longer (True) or shorter (False) by it, or
    neither is certain. `spans`: of DROP TABLE, where the name of each of `objects` stands in the shape. What is done to
    accounts has no objects here: their names are literals."""

    kind = "ddl"
    what: str  # create table, alter table, ..
    clusters: tuple[str, ...]
    objects: tuple[SchemaObject, ...]
    again: Again = Again.FAILS
    grows: bool | None = None
    drops: bool = False
    reply: Reply = Reply.SUM
    in_database: bool = True  # the session's default database has to be there
    labels: tuple[
        str, ...
    ] = ()  # of tables whose rows are on several clusters, by which sharding is checked afterwards
    spans: tuple[tuple[int, int], ...] = ()
    counts_from: bool = False  # AUTO_INCREMENT = n
    renames: tuple[tuple[str, str], ...] = ()  # labels

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        sends = []
        for cluster in self.clusters:
            there = [index for index, each in enumerate(self.objects) if cluster in each.clusters]
            sends.append(Send(cluster, self.text_of(text, there)))
        return Route(tuple(sends), self.reply)

    def text_of(self, text: bytes, wanted: Collection[int]) -> bytes | None:
        """DROP TABLE of some of `objects` alone; None for the statement as it is."""
        if not self.spans or len(wanted) == len(self.objects):
            return None
        lexer = self.statement.lexer
        assert lexer is not None
        shape, literals = lexer.shape(text)
        names = splice(shape, literals, self.spans)
        chosen = b", ".join(names[index] for index in sorted(wanted))
        return edit(shape, literals, [((self.spans[0][0], self.spans[-1][1]), [chosen])])

    def describe(self) -> list[tuple[str, str]]:
        return [("plan", self.kind), ("clusters", f"{', '.join(self.clusters)}, in turn"), *self.traits()]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableWork(Plan):
    """OPTIMIZE, ANALYZE, CHECK and REPAIR TABLE: the statement to every cluster, whose rows follow one another."""

    kind = "table-work"
    clusters: tuple[str, ...]

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        return Route(tuple(Send(cluster) for cluster in self.clusters), Reply.CONCATENATE)

    def describe(self) -> list[tuple[str, str]]:
        return [("plan", self.kind), ("clusters", ", ".join(self.clusters)), *self.traits()]


_DEFINES_TABLES = frozenset(
    {
        "create table",
        "alter table",
        "drop table",
        "rename table",
        "truncate table",
        "create index",
        "drop index",
        "create trigger",
    }
)
_WORK = frozenset({"optimize", "analyze", "check", "repair"})


def plan_ddl(asked: Case) -> Ddl | None:
    """DDL of which something is on several clusters; None for all other. Raises StatementRefused."""
    statement = asked.statement
    defined = statement.defined or Defined()
    if statement.name.endswith(" database"):
        return _database_ddl(asked, defined)
    if statement.name == "drop trigger":
        return _drop_trigger(asked, defined)
    check_foreign_keys(asked)
    written = [each for each in asked.places if each.written]
    clusters = {_clusters(asked, each) for each in written}
    dropping = statement.name == "drop table" and not statement.effects & Effect.TEMPORARY_TABLE
    table = next((each for each in written if each.cluster is None), None)
    if table is None and not (dropping and len(clusters) > 1):
        return None
    if table is None:
        table = written[0]
    _check_form(asked, table, defined)
    _check_renames(asked, defined)
    if len(clusters) > 1 and not (dropping and len(written) == len(_once(written))):
        raise refusals.DDL_MIXED.error(
            tables="; ".join(f"{each.label} on {', '.join(_clusters(asked, each))}" for each in _once(written))
        )
    for each in written:
        check_shard_key(asked, each)
    if defined.numbers and table.sharded:
        raise refusals.DDL_NUMBERS.error(table=table.label, column=defined.numbers)
    check_views([each for each in asked.places if not each.written], asked.rules, asked.catalog)
    if statement.name == "create trigger":
        assert defined.routine is not None
        objects = [_trigger(asked, defined, table.database, _clusters(asked, table))]
    else:
        objects = [_table(asked, each) for each in _once(written)]
    return Ddl(
        statement=statement,
        what=statement.name,
        clusters=tuple(dict.fromkeys(c for each in written for c in _clusters(asked, each))),
        objects=tuple(objects),
        again=_again(statement.name, defined),
        grows=_grows(asked, defined),
        drops=statement.name == "drop table",
        reply=Reply.FIRST if all(each.everywhere for each in written) else Reply.SUM,
        labels=tuple(each.label for each in _once(written) if each.sharded),
        spans=defined.spans if dropping and len(objects) == len(written) else (),
        counts_from=defined.counts_from,
        renames=tuple((asked.places[one].label, asked.places[other].label) for one, other in defined.renames),
    )


def _check_form(asked: Case, table: Place, defined: Defined) -> None:
    """Raises StatementRefused for what cannot be done on several clusters."""
    statement = asked.statement
    clusters = ", ".join(_clusters(asked, table))
    if statement.effects & Effect.TEMPORARY_TABLE:
        why = "a temporary table is on one server"
    elif statement.name not in _DEFINES_TABLES:
        why = "only tables, their indexes and triggers can be on several"
    elif defined.exchanges:
        why = "an EXCHANGE PARTITION that ended half-way could not be taken up again"
    elif defined.query:
        raise refusals.DDL_SELECT.error(table=table.label, clusters=clusters)
    else:
        _check_sources(asked, table, defined)
        return
    raise refusals.DDL_ON_SEVERAL.error(table=table.label, clusters=clusters, why=why)


def _check_sources(asked: Case, table: Place, defined: Defined) -> None:
    """What is read has to be wherever the statement runs."""
    wanted = _clusters(asked, table)
    keys = {key.table for key in defined.foreign_keys}  # which have been looked at
    for each in asked.places:
        there = _clusters(asked, each)
        if not each.written and each.ref.index not in keys and not set(wanted) <= set(there):
            raise refusals.DDL_MIXED.error(
                tables=f"{table.label} on {', '.join(wanted)}; {each.label} on {', '.join(there)}"
            )


def _check_renames(asked: Case, defined: Defined) -> None:
    """Raises StatementRefused for new names under which the rules look for rows elsewhere, and for exchanges of names,
    which look the same before and after."""
    names: dict[str, str] = {}  # the name that a table has now -> the one that it began with
    for before, after in defined.renames:
        one, other = asked.places[before], asked.places[after]
        if _sharded_by(one) != _sharded_by(other):
            raise refusals.DDL_RENAME.error(table=one.label, other=other.label)
        names[other.label.lower()] = names.pop(one.label.lower(), one.label.lower())
    if names and set(names) == set(names.values()):
        raise refusals.DDL_EXCHANGE.error(tables=", ".join(sorted(names)))


def _sharded_by(table: Place) -> object:
    if table.cluster is not None or table.entry is None:
        return table.cluster
    sharding = table.entry.sharding
    return (sharding.name, table.key) if sharding is not None else None


def _again(name: str, defined: Defined) -> Again:
    return Again.SAME if name == "truncate table" or defined.or_replace or _whole_if(name, defined) else Again.FAILS


def _whole_if(name: str, defined: Defined) -> bool:
    """Does IF [NOT] EXISTS stand for all that the statement does? In ALTER TABLE it is about the table alone."""
    return defined.if_exists and name != "alter table"


def _grows(asked: Case, defined: Defined) -> bool | None:
    verb = asked.statement.name.partition(" ")[0]
    if verb != "alter":
        return {"create": True, "drop": False}.get(verb)
    words = asked.statement.words
    adds, drops = "add" in words, "drop" in words or bool(defined.dropped)
    return adds if adds != drops else None


def _once(written: list[Place]) -> list[Place]:
    return list({each.label.lower(): each for each in written}.values())


def _table(asked: Case, each: Place) -> SchemaObject:
    owner = quoted(each.database) if each.database else ""
    name = quoted(each.ref.name)
    return SchemaObject(
        Thing.TABLE, each.label, f"{owner}.{name}" if owner else name, _clusters(asked, each), database=owner
    )


def _trigger(asked: Case, defined: Defined, database: str | None, clusters: tuple[str, ...]) -> SchemaObject:
    assert defined.routine is not None
    owner = defined.routine[0] or database or ""
    name = defined.routine[1]
    return SchemaObject(Thing.TRIGGER, f"{owner}.{name}", quoted(owner, name), clusters, database=quoted(owner))


def _drop_trigger(asked: Case, defined: Defined) -> Ddl | None:
    """Its text does not say which table it is of; the catalog does."""
    assert defined.routine is not None
    database = defined.routine[0] or asked.database or ""
    name = defined.routine[1].lower()
    found = tuple(
        cluster
        for (cluster, owner, _), schema in asked.catalog.tables.items()
        if owner == database.lower() and name in schema.triggers
    )
    if found in ((), (asked.home,)):
        return None
    clusters = tuple(cluster for cluster in asked.rules.clusters if cluster in found)
    return Ddl(
        statement=asked.statement,
        what=asked.statement.name,
        clusters=clusters,
        objects=(_trigger(asked, defined, database, clusters),),
        again=Again.SAME if defined.if_exists else Again.FAILS,
        grows=False,
        reply=Reply.FIRST,
    )


def _database_ddl(asked: Case, defined: Defined) -> Ddl | None:
    """CREATE, ALTER, DROP DATABASE, on every cluster that has tables of it by the rules."""
    statement = asked.statement
    name = statement.detail or asked.database
    entry = database_entry(asked.rules, name)
    if entry is None or name is None:
        return None
    tables = (cluster for table in entry.tables.values() for cluster in table_clusters(asked.rules, table))
    clusters = tuple(dict.fromkeys((entry.home, *tables)))
    if len(clusters) == 1:
        return None
    same = statement.name == "alter database" or defined.if_exists or defined.or_replace
    return Ddl(
        statement=statement,
        what=statement.name,
        clusters=clusters,
        objects=(SchemaObject(Thing.DATABASE, name, quoted(name), clusters),),
        again=Again.SAME if same else Again.FAILS,
        grows=statement.name == "create database",
        reply=Reply.SUM,
        in_database=not statement.detail,
    )


def plan_table_work(asked: Case) -> TableWork | None:
    """OPTIMIZE, ANALYZE, CHECK, REPAIR TABLE of tables on the same several clusters; None for all else."""
    verb = asked.statement.name.partition(" ")[0]
    clusters = {_clusters(asked, each) for each in asked.places}
    if verb not in _WORK or len(clusters) != 1 or all(each.cluster is not None for each in asked.places):
        return None
    return TableWork(statement=asked.statement, clusters=clusters.pop())


def plan_account(asked: Case) -> Plan:
    """Accounts are the same on every cluster, privileges on a table wherever it is."""
    statement = asked.statement
    defined = statement.defined or Defined()
    clusters = _clusters(asked, asked.places[0]) if asked.places else tuple(asked.rules.clusters)
    if statement.detail == "routine":
        clusters = (asked.home,)
    if len(clusters) == 1:
        return asked.forward(clusters[0])
    verb = statement.name.partition(" ")[0]
    same = verb not in ("create", "drop", "rename", "revoke") or defined.if_exists or defined.or_replace
    return Ddl(
        statement=statement,
        what=statement.name,
        clusters=clusters,
        objects=(),
        again=Again.SAME if same else Again.FAILS,
        grows={"create": True, "drop": False, "revoke": False}.get(verb),
        reply=Reply.FIRST,
        in_database=bool(asked.places),
    )


def _clusters(asked: Case, table: Place) -> tuple[str, ...]:
    if table.cluster is not None or table.entry is None:
        return (table.cluster or asked.home,)
    return table_clusters(asked.rules, table.entry)


def hints(clusters: Iterable[str]) -> str:
    return ", ".join(f"/* turnout: cluster={cluster} */" for cluster in clusters)
