"""The planning ladder: a statement, the rules and the catalog -> a plan. Pure.

Local, Forward, a shard by key, Scatter (and split INSERTs, and writes to every copy), Workbench, Refuse: the first that
is right.
Triggers and stored programs run where the statement that starts them runs; what they touch is not looked at.
"""

from __future__ import annotations

import dataclasses

from parser.statement import Kind, Scope, Statement
from proxy.back.catalog import Catalog
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.around import plan_explain, plan_set_statement
from proxy.plan.caching import EVERYTHING, cached_read, touched, touched_locally
from proxy.plan.case import Case, case, with_traits
from proxy.plan.directory_writes import check_directory_writes
from proxy.plan.insert_select import lift_insert, with_insert_select
from proxy.plan.insert_values import generated_id
from proxy.plan.inserts import plan_insert
from proxy.plan.key_list import lift_write, with_key_list
from proxy.plan.local import plan_local
from proxy.plan.places import check_views
from proxy.plan.plan import Plan, Refuse, Several
from proxy.plan.rows import plan_rows
from proxy.plan.server_work import plan_server_work
from proxy.plan.shard_routes import route_to
from proxy.plan.system_reads import check_inside, plan_system_read, reads_system
from proxy.plan.workbench import lift, with_workbench
from proxy.rules.model import Rules


def plan(statement: Statement, rules: Rules, catalog: Catalog, database: str | None) -> Plan:
    """What happens to `statement` in a session whose database is `database`. Never raises for a client's statement."""
    try:
        return _plan(case(statement, rules, catalog, database))
    except StatementRefused as refusal:
        refusal.__context__ = None  # the plan is kept: do not keep the frames of its making
        return Refuse(statement=statement, error=refusal.with_traceback(None), effects=statement.effects)


def _plan(asked: Case) -> Plan:
    statement = asked.statement
    if statement.kind is Kind.MULTI:
        # What is not several statements to the server that gets it whole may leave and write anything.
        marks = EVERYTHING if asked.rules.cached_clusters else None
        fixed = route_to(asked.home)
        return Several(
            statement=statement, cluster=asked.home, fixed=fixed, writes=True, pins="several statements", marks=marks
        )
    _check_hint(asked)
    _check_binary_log(asked)
    if statement.kind is Kind.SET and statement.inner is not None:
        return _set_statement(asked)
    system = statement.kind in _MAY_READ and reads_system(asked)
    if system and statement.kind is not Kind.SELECT:
        check_inside(asked)
    local = plan_local(asked)
    if local is not None:
        return dataclasses.replace(local, marks=touched_locally(asked)) if asked.rules.cached_tables else local
    hint = statement.hint
    plan: Plan
    if hint is not None and hint.cluster is not None:
        plan = asked.forward(hint.cluster, "a hint names the cluster")
    elif system and statement.kind is Kind.SELECT:
        plan = plan_system_read(asked)
    else:
        plan = _by_kind(asked)
    if statement.insert is not None:
        known, explicit = generated_id(statement, asked.schema(statement.insert.table))
        plan = with_traits(plan, asked, generated_id=known, explicit_ids=explicit)
    elif statement.kind in (Kind.UPDATE, Kind.DELETE):
        # LAST_INSERT_ID(expr) is an effect of its own, and what a trigger or a function inserts does not count.
        plan = with_traits(plan, asked, generated_id=False)
    else:
        plan = with_traits(plan, asked)
    if asked.rules.cached_tables:
        cached, reason = cached_read(plan, asked)
        plan = dataclasses.replace(plan, cached=cached, uncached=reason, marks=touched(plan, asked))
    return plan


_MAY_READ = frozenset({Kind.SELECT, Kind.INSERT, Kind.REPLACE, Kind.UPDATE, Kind.DELETE, Kind.DO, Kind.SET, Kind.DDL})


def _by_kind(asked: Case) -> Plan:
    kind = asked.statement.kind
    check_directory_writes(asked)
    if kind is Kind.EXPLAIN:
        return _explain(asked)
    if kind in (Kind.SELECT, Kind.DO):
        return _select(asked)
    if kind in (Kind.UPDATE, Kind.DELETE):
        check_views(list(asked.places), asked.rules, asked.catalog)
        try:
            made = plan_rows(asked)
        except StatementRefused as refusal:
            return lift_write(asked, refusal, _finder)
        return with_key_list(asked, made, _finder)
    if kind in (Kind.INSERT, Kind.REPLACE):
        check_views(list(asked.places), asked.rules, asked.catalog)
        try:
            made = plan_insert(asked)
        except StatementRefused as refusal:
            return lift_insert(asked, refusal, _finder)
        return with_insert_select(asked, made, _finder)
    return plan_server_work(asked)


def _select(asked: Case) -> Plan:
    check_views(list(asked.places), asked.rules, asked.catalog)
    try:
        return with_workbench(asked, plan_rows(asked))
    except StatementRefused as refusal:
        return lift(asked, refusal)


def _finder(asked: Case) -> Plan:
    """The plan of a SELECT that Turnout asks for itself, in a transaction, to write what it finds."""
    plan = with_traits(_select(asked), asked)
    return dataclasses.replace(plan, replica_ok=False)


def _explain(asked: Case) -> Plan:
    inner = asked.statement.inner
    if inner is None:
        return plan_rows(asked)
    inner_asked = case(inner, asked.rules, asked.catalog, asked.database)
    return plan_explain(asked, _plan(inner_asked))


def _set_statement(asked: Case) -> Plan:
    inner = asked.statement.inner
    assert inner is not None
    if asked.statement.hint is not None:
        inner = dataclasses.replace(inner, hint=asked.statement.hint)
    plan = plan_set_statement(asked, _plan(case(inner, asked.rules, asked.catalog, asked.database)))
    # Under other settings the answer may be another, and what it writes is not looked at twice.
    marks = EVERYTHING if plan.writes and asked.rules.cached_clusters else None
    return dataclasses.replace(plan, effects=asked.statement.effects, cached=None, marks=marks)


def _check_hint(asked: Case) -> None:
    hint = asked.statement.hint
    if hint is None:
        return
    if hint.unknown:
        raise refusals.HINT_UNKNOWN.error(word=hint.unknown[0])
    if hint.cluster is not None and hint.cluster not in asked.rules.clusters:
        raise refusals.HINT_CLUSTER.error(cluster=hint.cluster, clusters=", ".join(asked.rules.clusters))


def _check_binary_log(asked: Case) -> None:
    """Raises StatementRefused for what would write past the binary log, as far as the text shows that."""
    statement = asked.statement
    if "sql_log_bin" in statement.words or any(
        each.name.lstrip("@") == "sql_log_bin" and each.scope is not Scope.GLOBAL for each in statement.assignments
    ):
        raise refusals.SQL_LOG_BIN.error()
