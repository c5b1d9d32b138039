"""Subqueries of a statement for the workbench that clusters answer by themselves: *in place*.

A subquery that groups or aggregates is a statement of its own where no name in it means something around it. If that
can be forwarded or merged exactly (`proxy.plan.scatter`), it is asked of the clusters, and its rows come to the
workbench instead of those that it reads: into a temporary table that takes its place in the statement.

What only servers can tell is seen when they answer (`proxy.front.in_place`): that no name is meant around it, and of
which types its columns are. Where that or anything else goes wrong the statement is carried out without this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from parser.analyse import parse
from parser.rewrite import quoted, splice
from parser.shape import HOLE
from parser.statement import Aggregating, Block, Effect, Hole, Kind, Statement, Value
from proxy.back.catalog import TableSchema
from proxy.errors import StatementRefused
from proxy.plan.case import Case, case
from proxy.plan.merge_groups import MergeGroups
from proxy.plan.pins import SchemaOf, memberships
from proxy.plan.plan import Forward, KeyValue, Plan, Route, ValueOf
from proxy.plan.rows import plan_rows
from proxy.plan.shard_routes import ByKey, Scatter

PART = "turnout_part_{number}"  # the temporary table that stands for a subquery
PART_PREFIX = b"`turnout_part_"

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """A subquery that is answered in place. `tables`: the mentions in it, by number; `root`: the block that it is.

    `folded`: groups have rows on several shards; which of several equal strings stands for one is then not certain.
    `table`: it is a derived table, or that of a WITH clause.
    """

    number: int
    span: Span
    tables: frozenset[int]
    root: int
    plan: Plan
    clusters: tuple[str, ...]
    database: str
    labels: tuple[str, ...]  # of its tables, for people
    folded: bool
    table: bool

    @property
    def name(self) -> bytes:
        """Qualified and quoted."""
        return quoted(self.database, PART.format(number=self.number)).encode()

    def describe(self) -> str:
        how = "parts of groups, put together" if self.folded else "whole groups"
        return f"the subquery on {', '.join(self.labels)}, answered by {', '.join(self.clusters)}: {how}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A `Part` for one statement: its own text, and where that goes."""

    part: Part
    text: bytes
    route: Route


def asked_of(part: Part, value_of: ValueOf, shape: bytes, literals: tuple[bytes, ...]) -> Asked:
    """Raises StatementRefused, or KeysUnknown."""
    first = shape.count(HOLE, 0, part.span[0])

    def value(of: Value) -> KeyValue:
        return value_of(replace(of, index=of.index + first) if isinstance(of, Hole) else of)

    text = splice(shape, literals, (part.span,))[0]
    return Asked(part, text, part.plan.route(value, text))


def parts_of(asked: Case, bench: str) -> tuple[Part, ...]:
    """The subqueries that are answered in place, of several one in another the outermost. `bench`: the workbench's
    cluster."""
    statement = asked.statement
    found: list[Part] = []
    end = 0
    for each in statement.aggregating:
        if each.span[0] >= end:
            part = _part(asked, each, bench, len(found))
            if part is not None:
                found.append(part)
                end = each.span[1]
    if any(PART.format(number=part.number) in statement.names for part in found):
        return ()
    return tuple(found)


def tellers(parts: Iterable[Part], statement: Statement, schema_of: SchemaOf) -> dict[tuple[int, str], int]:
    """(table, column) -> the number of the part whose first column has the values that matter of it."""
    by_root = {part.root: part.number for part in parts}
    return {
        (table, column): by_root[block]
        for table, column, block in memberships(statement, schema_of)
        if block in by_root
    }


def _part(asked: Case, found: Aggregating, bench: str, number: int) -> Part | None:
    statement = asked.statement
    start, end = found.span
    inside = [t for t in statement.tables if t.span is not None and start <= t.span[0] and t.span[1] <= end]
    if statement.lexer is None or not found.text or not inside or any(t.span is None for t in statement.tables):
        return None
    if found.quotient and not found.table:
        return None
    own = parse(found.text, [], lexer=statement.lexer)
    if own.kind is not Kind.SELECT or own.effects is not Effect.NONE or own.hint is not None:
        return None
    # What a WITH clause around it defines would look like a table here.
    if [(t.database, t.name, t.alias) for t in own.tables] != [(t.database, t.name, t.alias) for t in inside]:
        return None
    roots = [block for block in own.blocks if block.parent is None]
    if len(roots) != 1 or not _may_be_asked(roots[0]) or any(block.limited for block in own.blocks):
        return None
    alone = case(own, asked.rules, asked.catalog, asked.database)
    first = next((n for n, table in enumerate(own.tables) if table.block == roots[0].index), None)
    tables = frozenset(table.index for table in inside)
    schemas = [schema for n in range(len(own.tables)) if (schema := alone.schema(n)) is not None]
    if first is None or len(schemas) < len(inside) or any(schema.is_view for schema in schemas):
        return None
    database = alone.places[first].database
    if database is None or not database.isascii() or any(place.system for place in alone.places):
        return None
    if _means_others(asked, found, own, tables, schemas):
        return None
    try:
        plan = plan_rows(alone)
    except StatementRefused:
        return None
    merged = _scatter(plan)
    if merged is not None:
        clusters = merged.clusters
    elif isinstance(plan, Forward) and plan.cluster != bench:
        clusters = (plan.cluster,)
    else:
        return None
    folded = merged is not None and isinstance(merged.select, MergeGroups)
    labels = tuple(dict.fromkeys(place.label for place in alone.places))
    return Part(number, found.span, tables, inside[first].block, plan, clusters, database, labels, folded, found.table)


def _may_be_asked(root: Block) -> bool:
    """Does it make fewer rows of those that it reads, and the same ones whenever it is asked?"""
    return (root.grouped or root.aggregates) and not (root.distinct or root.windows or root.ordered)


def _means_others(
    asked: Case, found: Aggregating, own: Statement, tables: frozenset[int], schemas: Sequence[TableSchema]
) -> bool:
    """Is it likely that a name in it is that of a column of a table around it? A server would say so, too late."""
    known = {name.lower() for table in own.tables for name in (table.database, table.name, table.alias) if name}
    if not found.qualifiers <= known:
        return True
    around = (asked.schema(table.index) for table in asked.statement.tables if table.index not in tables)
    names = {column.name for schema in around if schema is not None for column in schema.columns}
    return not (own.names & names) <= {column.name for schema in schemas for column in schema.columns}


def _scatter(plan: Plan) -> Scatter | None:
    made = plan.fallback if isinstance(plan, ByKey) else plan
    return made if isinstance(made, Scatter) else None
