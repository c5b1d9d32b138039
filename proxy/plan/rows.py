"""Where statements over rows go: SELECT, UPDATE, DELETE, and the parts of others that are like them."""

from __future__ import annotations

from parser.statement import Effect, Hole, Kind, Param, Word
from proxy.back.catalog import Column
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.case import Case, writes
from proxy.plan.directory_table import directory_table
from proxy.plan.keys import KeyForm, Unmodelled, key_form
from proxy.plan.pins import Conditions, conditions
from proxy.plan.places import Place, home_of, table_clusters
from proxy.plan.plan import Plan, Refuse, Reply
from proxy.plan.scatter import merged_select, scatter_problem
from proxy.plan.shard_routes import ByKey, KeyPin, Scatter
from proxy.plan.sharding import Placement, directory_problem, placement
from proxy.plan.write_all import plan_write_all
from proxy.rules.model import Method, Sharding, Table, Transactions


def plan_rows(asked: Case) -> Plan:
    """The first rung that is right. Raises StatementRefused."""
    cluster = fixed_cluster(asked)
    if any(each.everywhere and each.written for each in asked.places):
        return plan_write_all(asked)
    if not asked.sharded:
        cluster = cluster or _home(asked)
        if asked.statement.effects.meets(Effect.INTO_FILE) and cluster != asked.home:
            raise refusals.OUTFILE_ELSEWHERE.error(home=asked.home, table=asked.places[0].label)
        return asked.forward(cluster)
    if asked.statement.effects.meets(Effect.INTO_FILE):
        raise refusals.OUTFILE_ELSEWHERE.error(home=asked.home, table=asked.sharded[0].label)
    return _plan_sharded(asked, cluster)


def fixed_cluster(asked: Case) -> str | None:
    """The one cluster on which the tables are that are on one. Raises StatementRefused where there are two."""
    first: Place | None = None
    for each in asked.fixed:
        if first is None:
            first = each
        elif each.cluster != first.cluster:
            raise refusals.CROSS_CLUSTER.error(
                first=first.label,
                first_cluster=first.cluster or "",
                second=each.label,
                second_cluster=each.cluster or "",
            )
    return first.cluster if first is not None else None


def _home(asked: Case) -> str:
    """For a statement without a table that is on one cluster."""
    return home_of(asked.rules, asked.places[0].database) if asked.places else asked.home


def key_placement(asked: Case, table: Place) -> Placement:
    """How a sharded table's keys lead to clusters. Raises StatementRefused."""
    assert table.entry is not None
    assert table.entry.sharding is not None
    schema = asked.schema(table.ref.index)
    if schema is None:
        clusters = ", ".join(table_clusters(asked.rules, table.entry))
        raise refusals.SCHEMA_UNKNOWN.error(table=table.label, clusters=clusters)
    column = schema.column(table.key)
    if column is None:
        raise refusals.KEY_UNUSABLE.error(table=table.label, why=f"it has no column {table.key}")
    form = key_form(column)
    if isinstance(form, Unmodelled):
        raise refusals.KEY_UNUSABLE.error(table=table.label, why=f"{table.key} {form.why}")
    sharding = table.entry.sharding
    placed = placement(sharding, form, asked.catalog.directories.get(sharding.name))
    if isinstance(placed, Unmodelled):
        raise refusals.KEY_UNUSABLE.error(table=table.label, why=f"{table.key} {placed.why}")
    if sharding.method is Method.DIRECTORY:
        _check_directory(asked, table, sharding, column, form)
    return placed


def _check_directory(asked: Case, table: Place, sharding: Sharding, column: Column, form: KeyForm) -> None:
    """Raises StatementRefused."""
    if directory_table(sharding, asked.rules, asked.catalog) is None:
        home = asked.rules.home(sharding.table.partition(".")[0])
        raise refusals.SCHEMA_UNKNOWN.error(table=sharding.table, clusters=home)
    why = directory_problem(sharding, column, form, asked.rules, asked.catalog)
    if why is not None:
        raise refusals.KEY_UNUSABLE.error(table=table.label, why=f"{table.key} {why.why}")


def key_pins(
    asked: Case, tables: list[Place], placements: dict[int, Placement], found: Conditions
) -> list[KeyPin] | None:
    """What each of the sharded tables is pinned to, each pin once; None if one of them is not."""
    pins: dict[tuple[str, str, object], KeyPin] = {}
    for table in tables:
        values = found.values(table.ref.index, table.key)
        if values is None:
            return None
        placed = placements[table.ref.index]
        pin = KeyPin(table.label, table.key, values, placed)
        pins.setdefault((placed.sharding.name, placed.form.collation or placed.form.family.value, values), pin)
    return list(pins.values())


def _plan_sharded(asked: Case, required: str | None) -> Plan:
    tables = asked.sharded
    placements = {table.ref.index: key_placement(asked, table) for table in tables}
    for table in tables:
        if required is not None and required not in table_clusters(asked.rules, _entry(table)):
            raise beside(asked, table, required)
    check_ids(asked)
    found = conditions(asked.statement, asked.schema)
    moves = _moves(asked, placements)
    pins = key_pins(asked, tables, placements, found)
    try:
        fallback: Plan = _scatter(asked, found, required, bool(moves), pins)
    except StatementRefused as refusal:
        if pins is None:
            raise
        fallback = Refuse(statement=asked.statement, error=refusal.with_traceback(None))
    if pins is None:
        return fallback
    return ByKey(
        statement=asked.statement,
        keys=tuple(pins),
        fallback=fallback,
        required=required,
        any_cluster=required or table_clusters(asked.rules, _entry(tables[0]))[0],
        moves=moves,
    )


def beside(asked: Case, table: Place, cluster: str) -> StatementRefused:
    """The refusal of a sharded table beside one that is on `cluster`."""
    return refusals.SHARDED_AND_FIXED.error(
        sharded=table.label, column=table.key, fixed=asked.fixed[0].label, cluster=cluster
    )


def _entry(table: Place) -> Table:
    assert table.entry is not None
    return table.entry


def check_ids(asked: Case) -> None:
    """Raises StatementRefused for an UPDATE after which ids might not be unique over the shards."""
    for table in asked.sharded:
        schema = asked.schema(table.ref.index)
        if table.written and schema is not None and asked.statement.kind is Kind.UPDATE:
            for column in schema.columns:
                if column.auto_increment and column.name != table.key and column.name in asked.statement.assigned:
                    raise refusals.UPDATE_ID.error(table=table.label, column=column.name)


def _moves(asked: Case, placements: dict[int, Placement]) -> tuple[KeyPin, ...]:
    """The values that an UPDATE assigns to shard keys. Raises StatementRefused where they are not constants."""
    statement = asked.statement
    moves = []
    for table in asked.sharded:
        if not (statement.kind is Kind.UPDATE and table.written):
            continue
        for position, column in enumerate(statement.assigned):
            if column == table.key:
                value = statement.assigned_values[position] if statement.assigned_values else None
                if not isinstance(value, (Hole, Param)) and value not in (Word.TRUE, Word.FALSE):
                    raise refusals.UPDATE_KEY.error(table=table.label, column=column)
                moves.append(KeyPin(table.label, column, (value,), placements[table.ref.index]))
    return tuple(moves)


def _scatter(asked: Case, found: Conditions, required: str | None, moves: bool, pins: list[KeyPin] | None) -> Scatter:
    """To all shards, if that is exact. Raises StatementRefused."""
    tables = asked.sharded
    if required is not None:
        raise beside(asked, tables[0], required)
    if moves:
        raise refusals.UPDATE_KEY.error(table=tables[0].label, column=tables[0].key)
    problem = scatter_problem(asked, found)
    if problem is not None:
        raise problem
    clusters = table_clusters(asked.rules, _entry(tables[0]))
    changes = writes(asked.statement)
    if changes and asked.rules.transactions is Transactions.SINGLE:
        raise refusals.SEVERAL_WRITES.error(
            verb=asked.verb(),
            table=tables[0].label,
            clusters=", ".join(clusters),
            advice=f"Add a condition {tables[0].key} = ..., ",
        )
    select = merged_select(asked, found)
    reply = Reply.SUM if changes else Reply.CONCATENATE if select is None else Reply.MERGE
    return Scatter(statement=asked.statement, clusters=clusters, reply=reply, select=select)
