"""Statements that work on a server rather than on rows: DDL, SHOW, locks, accounts, texts that were not understood."""

from __future__ import annotations

from parser.statement import Effect, Kind
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.ddl import hints, plan_account, plan_ddl, plan_table_work
from proxy.plan.load_data import plan_load_data
from proxy.plan.places import (
    Place,
    check_views,
    home_of,
    left_home,
    one_place,
    table_clusters,
    words_elsewhere,
)
from proxy.plan.plan import Do, Local, Plan
from proxy.plan.rows import fixed_cluster
from proxy.plan.shows import plan_show
from proxy.rules.model import Rules


def plan_server_work(asked: Case) -> Plan:
    """Everything but queries and row changes. Raises StatementRefused."""
    kind = asked.statement.kind
    if kind in (Kind.SHOW, Kind.DESCRIBE):
        return _plan_show(asked)
    if kind is Kind.DDL:
        return _plan_ddl(asked)
    if kind is Kind.LOAD_DATA:
        return plan_load_data(asked)
    if kind is Kind.ACCOUNT:
        return _plan_account(asked)
    if kind in (Kind.ADMIN, Kind.HANDLER, Kind.LOCK_TABLES):
        return _plan_table_work(asked)
    if kind is Kind.UNKNOWN:
        return _plan_unread(asked)
    if kind is Kind.CALL:
        return _plan_call(asked)
    return asked.forward(asked.home)  # XA


def _clusters(asked: Case, table: Place) -> tuple[str, ...]:
    if table.cluster is not None or table.entry is None:
        return (table.cluster or asked.home,)
    return table_clusters(asked.rules, table.entry)


def _on_several(asked: Case, written_only: bool = False) -> tuple[Place, tuple[str, ...]] | None:
    """The first table that is on several clusters, and these."""
    for each in asked.places:
        if each.cluster is None and (each.written or not written_only):
            return each, _clusters(asked, each)
    return None


def _plan_show(asked: Case) -> Plan:
    if not asked.places:
        return plan_show(asked) or asked.forward(home_of(asked.rules, asked.statement.detail or asked.database))
    table = asked.places[0]
    clusters = _clusters(asked, table)
    if len(clusters) > 1:
        return asked.forward(clusters[0], f"{table.label} is on {', '.join(clusters)}: the first answers")
    return asked.forward(clusters[0])


def _plan_ddl(asked: Case) -> Plan:
    several = plan_ddl(asked)
    if several is not None:
        return several
    statement = asked.statement
    cluster = fixed_cluster(asked) or asked.home
    if asked.sharded:
        table = asked.sharded[0]
        clusters = _clusters(asked, table)
        raise refusals.DDL_READS_SHARDED.error(
            cluster=cluster, table=table.label, clusters=", ".join(clusters), hints=hints(clusters)
        )
    if statement.name.endswith(" database"):
        return asked.forward(home_of(asked.rules, statement.detail or asked.database))
    check_views([each for each in asked.places if not each.written], asked.rules, asked.catalog)
    return asked.forward(cluster)


def clusters_in_use(rules: Rules) -> tuple[str, ...]:
    """Every cluster that holds tables by the rules."""
    homes = (rules.default_home, *(database.home for database in rules.databases.values()))
    return tuple(dict.fromkeys((*homes, *(c for table in left_home(rules) for c in table_clusters(rules, table)))))


def _plan_call(asked: Case) -> Plan:
    """CALL, to its database's home. What the procedure touches is not known; its arguments may hold subqueries."""
    home = home_of(asked.rules, asked.statement.detail or asked.database)
    elsewhere = next((table for table in asked.places if not table.everywhere and table.cluster != home), None)
    if elsewhere is not None:
        clusters = _clusters(asked, elsewhere)
        raise refusals.TABLE_WORK_ON_SEVERAL.error(
            what=f"CALL (here on {home})", table=elsewhere.label, clusters=", ".join(clusters), hints=hints(clusters)
        )
    return asked.forward(home)


def _plan_account(asked: Case) -> Plan:
    cluster = one_place(asked.rules)
    return plan_account(asked) if cluster is None else asked.forward(cluster)


def _plan_table_work(asked: Case) -> Plan:
    kind = asked.statement.kind
    if kind is Kind.ADMIN and asked.statement.effects & Effect.SESSION_LOCK and not asked.places:
        if one_place(asked.rules) is None:
            return Local(statement=asked.statement, do=Do.LOCK)
    work = plan_table_work(asked) if kind is Kind.ADMIN else None
    if work is not None:
        return work
    several = _on_several(asked, written_only=kind is Kind.LOCK_TABLES)
    if kind is Kind.LOCK_TABLES:
        several = several or next(((each, _clusters(asked, each)) for each in asked.sharded), None)
        if several is not None:
            raise refusals.LOCK_ON_SEVERAL.error(table=several[0].label, clusters=", ".join(several[1]))
    elif several is not None:
        raise refusals.TABLE_WORK_ON_SEVERAL.error(
            what=asked.verb() if kind is Kind.HANDLER else "This statement",
            table=several[0].label,
            clusters=", ".join(several[1]),
            hints=hints(several[1]),
        )
    return asked.forward(fixed_cluster(asked) or asked.home)


# What several clusters may have to show together (SHOW TABLE STATUS has `table`).
_LOOKING_AROUND = frozenset({"table", "tables", "triggers", "databases", "schemas"})


def _plan_unread(asked: Case) -> Plan:
    """A text whose tables are not known: to home, unless it mentions something that is not there."""
    statement = asked.statement
    elsewhere = sorted(statement.words & words_elsewhere(asked.rules, asked.catalog, asked.home))
    if one_place(asked.rules) is None:
        elsewhere += sorted(statement.words & _LOOKING_AROUND) if "show" in statement.words else []
        elsewhere += ["information_schema"] if "information_schema" in statement.words else []
    if elsewhere:
        why = f" ({statement.error})" if statement.error else ""
        raise refusals.NOT_UNDERSTOOD.error(word=elsewhere[0], cluster=asked.home, why=why)
    return asked.forward(asked.home, "not understood, but it mentions nothing that has left home")
