"""SHOW about a database whose tables are on several clusters: each shows what it speaks for
(`proxy.plan.system_tables`), and the rows become one list, in the order that one server would give."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from parser.members import quick
from parser.statement import Effect
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.places import SYSTEM_DATABASES, database_entry, table_clusters
from proxy.plan.plan import Plan, Route, ValueOf
from proxy.plan.system_tables import SYSTEM_TABLES, Total, database_clusters, is_spread, speaker
from proxy.rules.model import Database, Rules


@quick
class Shown(enum.Enum):
    TABLES = "tables"  # SHOW [FULL] TABLES
    STATUS = "table status"
    TRIGGERS = "triggers"
    DATABASES = "databases"
    TRIGGER = "create trigger"  # the first cluster that has it


# What SHOW TABLE STATUS calls the columns of information_schema.TABLES that are added up.
STATUS_TOTALS: Mapping[str, Total] = {
    name.removeprefix("TABLE_"): kind for name, kind in (SYSTEM_TABLES["TABLES"].totals or {}).items()
}
_DIFFERS = frozenset({"create_time", *(name.lower() for name in STATUS_TOTALS)})  # from shard to shard


@dataclass(frozen=True, slots=True)
class Showing:
    """How the rows of several clusters become one list (`proxy.front.shows` does it). `database`: whose tables are
    shown; `named`: the statement names it; `speakers`: by table, in lower case, those whose word is not home's;
    `spread`: the clusters of those whose sizes are added up. For databases, `speakers` is by database."""

    shown: Shown
    clusters: tuple[str, ...]  # home first
    database: str
    named: bool
    home: str
    speakers: Mapping[str, str]
    spread: Mapping[str, tuple[str, ...]]

    def speaks(self, name: str, cluster: str) -> bool:
        """Are a cluster's rows about this table (or database) those that count?"""
        return self.speakers.get(name.lower(), self.home) == cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Show(Plan):
    kind = "show"
    showing: Showing
    fixed: Route = field(repr=False)

    @property
    def clusters(self) -> tuple[str, ...]:
        return self.showing.clusters

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        return self.fixed

    def describe(self) -> list[tuple[str, str]]:
        showing = self.showing
        lines = [("plan", self.kind), ("clusters", ", ".join(showing.clusters))]
        if showing.shown is Shown.TRIGGER:
            lines.append(("rows", "of the first that has it"))
        else:
            lines.append(("rows", f"of each, about what it speaks for; else of {showing.home}"))
        if showing.shown is Shown.STATUS and showing.spread:
            lines.append(("added up", ", ".join(sorted(showing.spread))))
        return [*lines, *self.traits()]


_BY_NAME = {
    "tables": Shown.TABLES,
    "table status": Shown.STATUS,
    "triggers": Shown.TRIGGERS,
    "databases": Shown.DATABASES,
    "schemas": Shown.DATABASES,
    "create trigger": Shown.TRIGGER,
}


def plan_show(asked: Case) -> Show | None:
    """A SHOW that names no table; None where one cluster has it all. Raises StatementRefused."""
    statement = asked.statement
    shown = _BY_NAME.get(statement.name)
    if shown is None:
        return None
    showing: Showing | None = None
    if shown is Shown.DATABASES:
        showing = _databases(asked.rules, asked.home)
    else:
        entry = database_entry(asked.rules, statement.detail or asked.database)
        if entry is not None:
            showing = _tables(asked.rules, entry, shown, bool(statement.detail))
    if showing is None or len(showing.clusters) < 2:
        return None
    _check_condition(asked, showing)
    return Show(statement=statement, showing=showing, fixed=Route((), showing=showing))


def _databases(rules: Rules, here: str) -> Showing:
    """Databases are shown by their homes, those without an entry by the default home, the servers' own by `here`."""
    speakers = {entry.name.lower(): entry.home for entry in rules.databases.values()}
    speakers |= dict.fromkeys(SYSTEM_DATABASES, here)
    clusters = tuple(dict.fromkeys((here, rules.default_home, *speakers.values())))
    return Showing(Shown.DATABASES, clusters, "", True, rules.default_home, speakers, {})


def _tables(rules: Rules, entry: Database, shown: Shown, named: bool) -> Showing:
    speakers = {table.name.lower(): speaker(rules, table) for table in entry.tables.values()}
    spread: dict[str, tuple[str, ...]] = {}
    clusters = tuple(dict.fromkeys((entry.home, *speakers.values())))
    if shown is Shown.STATUS:
        spread = {t.name.lower(): table_clusters(rules, t) for t in entry.tables.values() if is_spread(t)}
        clusters = database_clusters(rules, entry)
    return Showing(shown, clusters, entry.name, named, entry.home, speakers, spread)


def _check_condition(asked: Case, showing: Showing) -> None:
    """Raises StatementRefused for a WHERE that does not mean the same on each cluster, or is about totals."""
    effects = asked.statement.effects
    clusters = ", ".join(showing.clusters)
    if effects & (Effect.UNKNOWN_FUNCTION | Effect.SEQUENCE | Effect.SESSION_LOCK):
        raise refusals.SHOW_CONDITION.error(clusters=clusters, why="calls a function that Turnout does not know")
    if effects & (Effect.SETS_USER_VARIABLE | Effect.READS_USER_VARIABLE):
        raise refusals.SHOW_CONDITION.error(clusters=clusters, why="uses a user variable")
    about = sorted(_DIFFERS & asked.statement.names)
    if showing.shown is Shown.STATUS and showing.spread and about:
        table = sorted(showing.spread)[0]
        raise refusals.SHOW_TOTALS.error(column=about[0], table=f"{showing.database}.{table}")
