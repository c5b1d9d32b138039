"""Statements that the session itself carries out."""

from __future__ import annotations

from parser.statement import Block, Effect, Kind, Scope, Statement
from proxy.plan import refusals
from proxy.plan.case import Case, pin_reason
from proxy.plan.places import one_place
from proxy.plan.plan import Do, Local, Plan
from proxy.plan.rows import fixed_cluster

_BY_KIND = {
    Kind.BEGIN: Do.BEGIN,
    Kind.COMMIT: Do.COMMIT,
    Kind.ROLLBACK: Do.ROLLBACK,
    Kind.SAVEPOINT: Do.SAVEPOINT,
    Kind.ROLLBACK_TO: Do.SAVEPOINT,
    Kind.RELEASE_SAVEPOINT: Do.SAVEPOINT,
    Kind.USE: Do.USE,
    Kind.KILL: Do.KILL,
    Kind.TURNOUT: Do.TURNOUT,
    Kind.EMPTY: Do.EMPTY,
    Kind.UNLOCK_TABLES: Do.UNLOCK,
}

# What the session knows better than any server connection that it happens to have.
ANSWERED = frozenset({"last_insert_id()", "found_rows()", "row_count()", "connection_id()"})


DIAGNOSTIC_COUNTS = frozenset({"@@warning_count", "@@session.warning_count", "@@error_count", "@@session.error_count"})


def plan_local(asked: Case) -> Plan | None:
    """The plan of a statement that no server has to see; None for all others. Raises StatementRefused."""
    statement = asked.statement
    do = _BY_KIND.get(statement.kind)
    if do is None and statement.effects & Effect.USES_DIAGNOSTICS and _about_diagnostics(statement):
        do = Do.DIAGNOSTICS
    if do is None and _asks_the_session(statement):
        do = Do.ANSWER
    if do is not None:
        return Local(statement=statement, do=do, effects=statement.effects)
    if statement.kind is Kind.SET:
        return _plan_set(asked)
    if statement.kind in (Kind.PREPARE, Kind.EXECUTE, Kind.DEALLOCATE):
        return _plan_prepare(asked)
    return None


def _about_diagnostics(statement: Statement) -> bool:
    """SHOW WARNINGS and the like, or SELECT of one of the counts alone."""
    if statement.kind is Kind.SHOW:
        return True
    return statement.kind is Kind.SELECT and len(statement.items) == 1 and statement.items[0] in DIAGNOSTIC_COUNTS


def _asks_the_session(statement: Statement) -> bool:
    if statement.kind is not Kind.SELECT or statement.tables or not statement.items:
        return False
    return all(item in ANSWERED for item in statement.items) and all(map(_is_plain, statement.blocks))


def _is_plain(block: Block) -> bool:
    return not (block.limited or block.set_operation or block.having or block.grouped or block.parent is not None)


def _plan_set(asked: Case) -> Plan:
    """SET. A value that only a server can work out makes the session stay where it was worked out."""
    statement = asked.statement
    if asked.sharded:
        table = asked.sharded[0]
        why = "sets a variable from its rows"
        raise refusals.NOT_ONE_SHARD.error(table=table.label, column=table.key, why=why)
    computed = [each for each in statement.assignments if not each.constant]
    pins = ""
    if any(each.scope is Scope.USER for each in computed):
        pins = "user variable"
    elif asked.places:
        pins = "set from a query"
    cluster = (fixed_cluster(asked) or asked.home) if pins else ""
    return Local(statement=statement, do=Do.SET, pins=pins, pin_cluster=cluster, effects=statement.effects)


def _plan_prepare(asked: Case) -> Plan:
    """SQL-level PREPARE and EXECUTE: a string may run where everything is; what a variable holds is not known here."""
    cluster, statement = one_place(asked.rules), asked.statement
    by_name = statement.kind is Kind.PREPARE and any(isinstance(each, str) for each in statement.arguments)
    if cluster is None or by_name or statement.detail == "immediate":
        return Local(statement=statement, do=Do.NAMED)
    return Local(
        statement=statement,
        do=Do.PREPARE,
        pins=pin_reason(statement),
        pin_cluster=cluster,
        writes=statement.kind is Kind.EXECUTE,
        effects=statement.effects,
    )
