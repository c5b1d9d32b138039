"""Statements around others: EXPLAIN and ANALYZE <statement>, MariaDB's SET STATEMENT .. FOR <statement>."""

from __future__ import annotations

import dataclasses

from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.around_workbench import explain_pulls, in_settings
from proxy.plan.case import Case, writes
from proxy.plan.inserts import InsertRows
from proxy.plan.plan import Forward, Local, Plan, Refuse, Reply
from proxy.plan.shard_routes import ByKey, Scatter
from proxy.plan.system_reads import SystemRead
from proxy.plan.workbench import Workbench
from proxy.plan.write_all import WriteAll


def plan_explain(asked: Case, inner: Plan) -> Plan:
    """EXPLAIN: where the statement itself goes; to each of its shards, with the text that each would get. The first of
    its clusters explains what all do alike, and an INSERT.

    ANALYZE carries the statement out, so that one which writes on several clusters is refused. Raises StatementRefused.
    """
    if isinstance(inner, Refuse):
        raise inner.error.with_traceback(None)
    if isinstance(inner, Local):
        return asked.forward(asked.home)
    if isinstance(inner, Forward):
        return asked.forward(inner.cluster, *inner.notes)
    if isinstance(inner, Workbench):
        explained = explain_pulls(asked.statement, inner)
        if isinstance(explained, StatementRefused):
            raise explained
        return explained
    if isinstance(inner, SystemRead):
        return asked.forward(inner.cluster)
    if isinstance(inner, ByKey):
        fallback = inner.fallback
        if isinstance(fallback, Workbench):
            made = explain_pulls(asked.statement, fallback)
            fallback = Refuse(statement=asked.statement, error=made) if isinstance(made, StatementRefused) else made
        elif not isinstance(fallback, Refuse):
            fallback = plan_explain(asked, fallback)
        return dataclasses.replace(inner, statement=asked.statement, fallback=fallback)
    clusters = _clusters(inner)
    if writes(asked.statement):
        if isinstance(inner, InsertRows):
            return _unsplit(asked, inner, clusters)
        raise refusals.EXPLAIN_WRITES.error(clusters=", ".join(clusters))
    if isinstance(inner, Scatter):
        otherwise = inner.otherwise
        if otherwise is not None:
            error = refusals.WORKBENCH_AROUND.error(verb="EXPLAIN")
            otherwise = Refuse(statement=asked.statement, error=error)
        return dataclasses.replace(inner, statement=asked.statement, reply=Reply.EXPLAIN, otherwise=otherwise)
    return asked.forward(clusters[0], f"the statement itself goes to {', '.join(clusters)}: the first explains it")


def _clusters(plan: Plan) -> tuple[str, ...]:
    if isinstance(plan, Scatter):
        return plan.clusters
    if isinstance(plan, WriteAll):
        return tuple(send.cluster for send in plan.fixed.sends)
    assert isinstance(plan, InsertRows)
    return tuple(dict.fromkeys(plan.placement.sharding.clusters))


def _unsplit(asked: Case, inner: InsertRows, clusters: tuple[str, ...]) -> Plan:
    several = refusals.EXPLAIN_WRITES.error(clusters=", ".join(clusters))
    return dataclasses.replace(inner, statement=asked.statement, together=lambda _: several.with_traceback(None))


def plan_set_statement(asked: Case, inner: Plan) -> Plan:
    """SET STATEMENT a = b FOR ..: goes where the statement inside goes. Raises StatementRefused."""
    if isinstance(inner, Refuse):
        raise inner.error.with_traceback(None)
    if isinstance(inner, Local):
        raise refusals.SET_STATEMENT.error(verb=asked.verb_of(inner.statement))
    if isinstance(inner, SystemRead):
        raise refusals.SYSTEM_INSIDE.error(system="information_schema", verb="SET STATEMENT")
    steps = inner.fallback if isinstance(inner, ByKey) else inner
    if isinstance(steps, Workbench) or (isinstance(steps, Scatter) and steps.otherwise is not None):
        within = in_settings(asked.statement, steps)
        if within is not None:
            if isinstance(inner, ByKey):
                return dataclasses.replace(inner, statement=asked.statement, fallback=within)
            return within
    inner = _without_workbench(inner)
    targets = inner.fallback if isinstance(inner, ByKey) else inner
    if isinstance(targets, Scatter) and any(a.name == "sql_select_limit" for a in asked.statement.assignments):
        raise refusals.SELECT_LIMIT.error(limit="..")
    if isinstance(inner, InsertRows):
        table = inner.table
        why = "is inside of SET STATEMENT"
        return dataclasses.replace(
            inner,
            statement=asked.statement,
            together=lambda clusters: refusals.SPLIT_NEEDS_ONE.error(table=table, clusters=clusters, why=why),
        )
    return dataclasses.replace(inner, statement=asked.statement)


def _without_workbench(inner: Plan) -> Plan:
    """The settings in SET STATEMENT would hold for the last step alone. Raises StatementRefused."""
    if isinstance(inner, Workbench):
        raise refusals.WORKBENCH_AROUND.error(verb="SET STATEMENT")
    if isinstance(inner, Scatter):
        return dataclasses.replace(inner, otherwise=None)
    if isinstance(inner, ByKey) and isinstance(inner.fallback, Workbench):
        error = refusals.WORKBENCH_AROUND.error(verb="SET STATEMENT")
        return dataclasses.replace(inner, fallback=Refuse(statement=inner.statement, error=error))
    if isinstance(inner, ByKey) and isinstance(inner.fallback, Scatter):
        return dataclasses.replace(inner, fallback=_without_workbench(inner.fallback))
    return inner
