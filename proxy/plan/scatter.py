"""When the answers of all shards, one after the other, are the answer of one server that holds all the rows.

Each row of the result has to come from exactly one row of one sharded table, the *driver*, and everything else that it
depends on has to be on the driver's shard: copies of `everywhere` tables, and sharded rows with the driver's key.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

from parser.statement import Block, Effect, Kind
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.case import Case, pin_reason
from proxy.plan.merge_groups import MergeGroups
from proxy.plan.merge_select import KNOWN_TYPES, MergeSelect, Source, owner
from proxy.plan.pins import Conditions
from proxy.plan.places import Place

_ONE_SERVER = (
    (Effect.UNKNOWN_FUNCTION, "calls a function that Turnout does not know"),
    (Effect.SETS_USER_VARIABLE, "sets a user variable"),
    (Effect.SESSION_LOCK, "takes or asks for a lock of the session"),
    (Effect.USES_LAST_INSERT_ID, "uses LAST_INSERT_ID()"),
    (Effect.SETS_LAST_INSERT_ID, "sets LAST_INSERT_ID()"),
    (Effect.USES_FOUND_ROWS, "uses FOUND_ROWS()"),
    (Effect.CALC_FOUND_ROWS, "uses SQL_CALC_FOUND_ROWS"),
    (Effect.USES_ROW_COUNT, "uses ROW_COUNT()"),
    (Effect.USES_CONNECTION_ID, "uses CONNECTION_ID()"),
    (Effect.USES_DIAGNOSTICS, "uses the diagnostics area"),
    (Effect.SEQUENCE, "uses a sequence"),
    (Effect.RETURNING, "uses RETURNING"),
    (Effect.TEMPORARY_TABLE, "makes a temporary table"),
)

_BREAKS: tuple[tuple[Callable[[Block], bool], str], ...] = (
    (lambda block: block.set_operation, "combines queries"),
    (lambda block: block.grouped, "groups its rows"),
    (lambda block: block.aggregates, "aggregates over its rows"),
    (lambda block: block.having, "has a HAVING condition"),
    (lambda block: block.windows, "uses window functions"),
    (lambda block: block.distinct, "removes duplicate rows"),
    (lambda block: block.ordered, "sorts its rows"),
    (lambda block: block.limited, "limits its rows"),
)
_ONLY_HERE = (_BREAKS[0], _BREAKS[4])  # what SELECTs, too, may not do
_GROUPING = _BREAKS[1:4]
_MERGED = _BREAKS[-3:]


_ANY_ONE_SERVER = functools.reduce(operator.or_, (int(effect) for effect, _ in _ONE_SERVER))


def one_server_reason(effects: Effect) -> str:
    """What ties a statement with these effects to one server, as a clause; "" if nothing does."""
    if not int(effects) & _ANY_ONE_SERVER:
        return ""
    return next((why for effect, why in _ONE_SERVER if effects.meets(effect)), "")


def scatter_problem(asked: Case, found: Conditions) -> StatementRefused | None:
    """Why this statement, all of whose tables are sharded or everywhere, cannot be sent to every shard as it is."""
    statement = asked.statement
    tables = asked.sharded
    first = tables[0]

    def not_one_shard(why: str) -> StatementRefused:
        return refusals.NOT_ONE_SHARD.error(table=first.label, column=first.key, why=why)

    if statement.kind not in (Kind.SELECT, Kind.UPDATE, Kind.DELETE):
        return not_one_shard(f"is a {statement.kind.value.upper()}, which cannot be spread")
    if any(table.entry.sharding is not first.entry.sharding for table in tables if table.entry and first.entry):
        return apart(tables, tables)
    selects = statement.kind is Kind.SELECT
    tied = one_server_reason(statement.effects & ~Effect.CALC_FOUND_ROWS if selects else statement.effects)
    if tied or pin_reason(statement):
        return not_one_shard(tied or "keeps state on one connection")
    roots = [block for block in statement.blocks if block.parent is None]
    if len(roots) != 1:
        return not_one_shard("combines queries")
    root = roots[0]
    broken = next((why for test, why in (_ONLY_HERE if selects else _BREAKS) if test(root)), None)
    if broken is not None:
        return not_one_shard(broken)
    with_tables = {each.ref.block for each in asked.places}
    if any(block.aggregates and block.index not in with_tables for block in statement.blocks if block is not root):
        return not_one_shard("aggregates over its rows in a subquery")  # (SELECT MAX(outer.column))
    drivers = [table for table in tables if table.ref.block == root.index]
    if not drivers:
        return not_one_shard("reads it in a subquery only")
    drivers = [table for table in drivers if _always_there(table, root, asked)]
    if not drivers:
        return not_one_shard("may give rows without a row of it (outer join)")
    for driver in drivers:
        together = found.reachable((driver.ref.index, driver.key))
        if all((table.ref.index, table.key) in together for table in tables):
            return None
    return apart(tables, tables)


def merged_select(asked: Case, found: Conditions) -> MergeSelect | None:
    """How the rows of a SELECT over several shards are merged; None: one after the other. Raises StatementRefused."""
    root = next(block for block in asked.statement.blocks if block.parent is None)
    grouping = next((why for test, why in _GROUPING if test(root)), None)
    if asked.statement.kind is not Kind.SELECT or not (grouping or any(test(root) for test, _ in _MERGED)):
        return None
    first = asked.sharded[0]
    outline = asked.statement.outline
    if outline is None:
        raise refusals.MERGE_FORM.error(table=first.label, column=first.key)
    sources = []
    odd: set[str] = set()
    unknown = ""
    for number, place in enumerate(asked.places):
        schema = asked.schema(number)
        if schema is None:
            unknown = unknown or place.label
        else:
            odd.update(c.name for c in schema.columns if c.data_type not in KNOWN_TYPES)
        if place.ref.block == root.index:
            name = place.ref.alias
            sources.append(Source(name.lower(), name, schema.columns if schema is not None else None))
    made = MergeSelect(outline, tuple(sources), first.label, first.key, frozenset(odd), unknown)
    if grouping:
        if outline.rollup:
            raise refusals.GROUP_ROLLUP.error()
        # Every row is on the shard of these columns' values.
        keys = frozenset(
            (table.ref.alias.lower(), table.key)
            for table in asked.sharded
            if table.ref.block == root.index and _always_there(table, root, asked)
        )
        if not any(owner(made, expression) in keys for expression in outline.group):
            made = MergeGroups(outline, tuple(sources), first.label, first.key, frozenset(odd), unknown, keys)
    made.made()  # what is wrong with it whatever its literals are
    return made


def _always_there(table: Place, root: Block, asked: Case) -> bool:
    """Is there a row of this table in every row of the root's join?"""
    if not root.outer_joins:
        return True
    if root.nullable is not None:
        return table.ref.index not in root.nullable
    # Which side of the joins it is on is not known. Where every table of the join is sharded and leads to the others
    # by key, rows with NULLs in its place are on the shard of the row that is there.
    return not asked.statement.subqueries and all(each.sharded for each in asked.places if each.ref.block == root.index)


def apart(tables: list[Place], unpinned: list[Place]) -> StatementRefused:
    """The refusal of sharded tables whose rows need not be on one shard; `unpinned` could have conditions."""
    labels = list(dict.fromkeys(table.label for table in tables))
    return refusals.SHARDS_APART.error(
        tables=" and ".join(labels) if len(labels) > 1 else f"Several mentions of {labels[0]}",
        conditions=", ".join(dict.fromkeys(f"{table.ref.alias}.{table.key} = ..." for table in unpinned)),
    )
