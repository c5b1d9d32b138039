"""The planner on statements built by hand, and the routes of its plans."""

from __future__ import annotations

import dataclasses
from zlib import crc32

import pytest

from parser.statement import (
    Access,
    Assignment,
    Block,
    ColumnEquality,
    Effect,
    Hint,
    Hole,
    Insert,
    Kind,
    Opaque,
    Param,
    Pin,
    Scope,
    Statement,
    TableRef,
    Value,
    Word,
)
from proxy.back.catalog import EMPTY, Catalog
from proxy.errors import StatementRefused
from proxy.plan.inserts import InsertRows
from proxy.plan.plan import Do, Forward, Local, Plan, Refuse, Reply, Send, Several, Unknown
from proxy.plan.planner import plan
from proxy.plan.shard_routes import ByKey, Scatter
from tests.plan import shop

RULES = shop.rules()
SINGLE = shop.rules("single")
CATALOG = shop.catalog()


def table(
    name: str, index: int = 0, block: int = 0, access: Access = Access.READ, database: str | None = None
) -> TableRef:
    return TableRef(index, database, name, name, block, access)


def select(*names: str, **block: object) -> Statement:
    refs = tuple(table(name, index) for index, name in enumerate(names))
    return Statement(Kind.SELECT, refs, (Block(0, None, **block),))  # type: ignore[arg-type]


def planned(statement: Statement, database: str | None = "shop") -> Plan:
    return plan(statement, RULES, CATALOG, database)


def shard(key: object) -> str:
    return "shard0" if crc32(str(key).encode()) % 4096 < 2048 else "shard1"


ONE = (Hole(0, False),)


def refusal(found: Plan, *given: object) -> StatementRefused:
    with pytest.raises(StatementRefused) as caught:
        found.route(shop.values(*given), b"")  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("names", "cluster"),
    [
        (("users",), "main"),
        (("photos",), "media"),
        (("photos", "albums"), "media"),
        (("PHOTOS",), "media"),
        (("countries",), "main"),
        (("countries", "photos"), "media"),
        ((), "main"),
    ],
)
def test_one_cluster(names: tuple[str, ...], cluster: str) -> None:
    found = planned(select(*names))
    assert isinstance(found, Forward)
    assert found.cluster == cluster
    assert [send.cluster for send in found.route(shop.values(), b"x").sends] == [cluster]
    assert found.fixed.sends[0].text is None


def test_two_clusters_are_refused_with_both_names() -> None:
    found = planned(select("users", "photos"))
    assert isinstance(found, Refuse)
    assert found.error.reason == "cross-cluster"
    for part in ("shop.users", "main", "shop.photos", "media", "everywhere"):
        assert part in found.error.message


def test_a_refusal_that_is_raised_again_and_again_keeps_no_frames() -> None:
    found = planned(select("users", "photos"))
    depths = set()
    for _ in range(3):
        error = refusal(found)
        depth, frame = 0, error.__traceback__
        while frame is not None:
            depth, frame = depth + 1, frame.tb_next
        depths.add(depth)
    assert len(depths) == 1


def test_a_key_leads_to_its_shard() -> None:
    found = planned(select("orders", pins=(Pin(0, "customer_id", ONE),)))
    assert isinstance(found, ByKey)
    assert isinstance(found.fallback, Scatter)
    for key in (*range(-50, 50), 2**31 - 1, -(2**31), "7", "-7", "0"):
        route = found.route(shop.values(key), b"")
        assert [send.cluster for send in route.sends] == [shard(key)]
    for key in (2**31, Unknown.UNKNOWN, None, "07", "7a", " 7", "", "-0", "1e1"):
        route = found.route(shop.values(key), b"")  # type: ignore[arg-type]
        assert [send.cluster for send in route.sends] == ["shard0", "shard1"], key
        assert route.reply is Reply.CONCATENATE


def test_several_values_go_to_the_shards_that_hold_them() -> None:
    same = [key for key in range(50) if shard(key) == "shard1"]
    other = [key for key in range(50) if shard(key) == "shard0"]
    pin = Pin(0, "customer_id", (Hole(0, False), Hole(1, False)))
    found = planned(select("orders", pins=(pin,)))
    assert [s.cluster for s in found.route(shop.values(same[0], same[1]), b"").sends] == ["shard1"]
    assert [s.cluster for s in found.route(shop.values(same[0], other[1]), b"").sends] == ["shard0", "shard1"]
    aggregate = planned(select("orders", pins=(pin,), aggregates=True))
    assert [s.cluster for s in aggregate.route(shop.values(same[0], same[1]), b"").sends] == ["shard1"]
    assert refusal(aggregate, same[0], other[0]).reason == "merge-form"


def test_the_smallest_of_several_conditions_is_used_and_expressions_are_not() -> None:
    pins = (Pin(0, "customer_id", (Opaque(),)), Pin(0, "customer_id", (Hole(0, False), Hole(1, False))))
    found = planned(select("orders", pins=(*pins, Pin(0, "customer_id", (Hole(2, False),)))))
    assert isinstance(found, ByKey)
    assert found.keys[0].values == (Hole(2, False),)
    assert isinstance(planned(select("orders", pins=pins[:1])), Scatter)


def test_joined_tables_share_a_key_by_equality() -> None:
    equal = ColumnEquality((0, "id"), (1, "customer_id"))
    found = planned(select("customers", "orders", pins=(Pin(0, "id", ONE),), equalities=(equal,)))
    assert isinstance(found, ByKey)
    assert len(found.keys) == 1
    assert isinstance(found.fallback, Scatter)
    apart = planned(select("customers", "orders", pins=(Pin(0, "id", ONE),)))
    assert isinstance(apart, Refuse)
    assert apart.error.reason == "not-one-shard"
    assert "customers.id = ..., orders.customer_id = ..." in apart.error.message


def test_an_equality_is_not_followed_between_number_and_string() -> None:
    # logins.email = customers.id compares doubles: '7a' = 7.
    equal = ColumnEquality((0, "id"), (1, "email"))
    found = planned(select("customers", "logins", pins=(Pin(0, "id", ONE),), equalities=(equal,)))
    assert isinstance(found, Refuse)


def test_an_equality_in_a_subquery_does_not_restrict_the_rows_around_it() -> None:
    inner = Block(1, 0, pins=(Pin(1, "id", ONE),), equalities=(ColumnEquality((0, "customer_id"), (1, "id")),))
    refs = (table("orders"), table("customers", 1, 1))
    outward = planned(Statement(Kind.SELECT, refs, (Block(0, None), inner), subqueries=True))
    assert isinstance(outward, Scatter)  # NOT EXISTS (..) has rows on every shard
    inner = Block(1, 0, equalities=(ColumnEquality((0, "customer_id"), (1, "id")),))
    inward = planned(Statement(Kind.SELECT, refs, (Block(0, None, pins=(Pin(0, "customer_id", ONE),)), inner)))
    assert isinstance(inward, ByKey)
    assert isinstance(inward.fallback, Scatter)


def test_the_condition_of_an_outer_join_restricts_its_inner_side_only() -> None:
    equal = ColumnEquality((0, "id"), (1, "customer_id"), only=1)
    outer = planned(select("customers", "orders", pins=(Pin(0, "id", ONE),), equalities=(equal,), outer_joins=True))
    assert isinstance(outer, ByKey)
    inner = planned(
        select("customers", "orders", pins=(Pin(1, "customer_id", ONE),), equalities=(equal,), outer_joins=True)
    )
    assert isinstance(inner, Scatter)


def test_a_scatter_needs_a_sharded_row_in_every_row() -> None:
    # countries LEFT JOIN orders: a country without orders would come from every shard.
    known = select("countries", "orders", outer_joins=True, nullable=(1,))
    assert isinstance(planned(known), Refuse)
    unknown = select("countries", "orders", outer_joins=True)
    assert isinstance(planned(unknown), Refuse)
    right = select("orders", "countries", outer_joins=True, nullable=(1,))
    assert isinstance(planned(right), Scatter)


@pytest.mark.parametrize(
    "flag", ["grouped", "aggregates", "having", "windows", "distinct", "ordered", "limited", "set_operation"]
)
def test_what_breaks_a_scatter(flag: str) -> None:
    """.. of a statement that has no outline, so that its rows cannot be merged."""
    found = planned(select("orders", **{flag: True}))
    assert isinstance(found, Refuse)
    assert found.error.reason in ("not-one-shard", "merge-form")
    assert "shop.orders" in found.error.message
    assert "customer_id" in found.error.message


def test_a_sharded_table_beside_one_that_is_on_a_shard() -> None:
    pins = (Pin(0, "year", ONE),)
    found = planned(select("invoices", "users", pins=pins))
    assert isinstance(found, ByKey)
    assert [s.cluster for s in found.route(shop.values(2024), b"").sends] == ["main"]
    error = refusal(found, 2025)
    assert error.reason == "sharded-with-other-cluster"
    assert refusal(planned(select("invoices", "users"))).reason == "sharded-with-other-cluster"


@pytest.mark.parametrize(("year", "cluster"), [(2023, "shard0"), (2024, "main"), (2025, "shard1"), (-5, "shard0")])
def test_ranges(year: int, cluster: str) -> None:
    found = planned(select("invoices", pins=(Pin(0, "year", ONE),)))
    assert [s.cluster for s in found.route(shop.values(year), b"").sends] == [cluster]


@pytest.mark.parametrize(
    ("region", "clusters"),
    [("us", ["shard0"]), ("DE", ["shard1"]), ("fr ", ["shard1"]), ("xx", ["shard0"]), ("é", ["shard0", "shard1"])],
)
def test_lists(region: str, clusters: list[str]) -> None:
    found = planned(select("stores", pins=(Pin(0, "region", ONE),)))
    assert [s.cluster for s in found.route(shop.values(region), b"").sends] == clusters


def test_without_a_schema_a_sharded_table_is_refused() -> None:
    found = plan(select("orders", pins=(Pin(0, "customer_id", ONE),)), RULES, EMPTY, "shop")
    assert isinstance(found, Refuse)
    assert (found.error.errno, found.error.sqlstate, found.error.reason) == (1105, "HY000", "schema-unknown")
    assert "schema of shop.orders is not known yet" in found.error.message


def test_unqualified_columns_are_found_in_the_catalog() -> None:
    equal = ((None, "id", 1, "customer_id"),)
    refs = (table("customers"), TableRef(1, None, "orders", "o", 0, Access.READ))
    # `id` is in both tables, so only a server could say which is meant (it refuses).
    block = Block(0, None, unresolved=(("total", ONE), ("customer_id", ONE)), unresolved_equalities=equal)
    assert isinstance(planned(Statement(Kind.SELECT, refs, (block,))), Refuse)
    equal = ((0, "id", None, "customer_id"),)
    for outer in (False, True):
        block = Block(0, None, unresolved=(("customer_id", ONE),), unresolved_equalities=equal, outer_joins=outer)
        assert isinstance(planned(Statement(Kind.SELECT, refs, (block,))), ByKey)


def test_updates_and_deletes_of_all_shards_add_up_unless_one_cluster_may_be_written_only() -> None:
    refs = (table("orders", access=Access.WRITE),)
    delete = Statement(Kind.DELETE, refs, (Block(0, None),), Effect.WRITES)
    found = planned(delete)
    assert isinstance(found, Scatter)
    assert found.writes
    assert found.route(shop.values(), b"").reply is Reply.SUM
    single = plan(delete, SINGLE, CATALOG, "shop")
    assert isinstance(single, Refuse)
    assert single.error.reason == "several-writes"
    assert "transactions: single" in single.error.message
    limited = Statement(Kind.DELETE, refs, (Block(0, None, limited=True),), Effect.WRITES)
    assert isinstance(planned(limited), Refuse)


def test_a_shard_key_may_be_assigned_a_value_of_the_same_shard_only() -> None:
    refs = (table("orders", access=Access.WRITE),)
    block = Block(0, None, pins=(Pin(0, "customer_id", ONE),))

    def update(blocks: Block, *assigned: Value) -> Plan:
        columns = ("total", "customer_id")[-len(assigned) :] if assigned else ("customer_id",)
        return planned(
            Statement(Kind.UPDATE, refs, (blocks,), Effect.WRITES, assigned=columns, assigned_values=assigned)
        )

    found = update(block, Opaque(), Hole(1, False))
    assert [s.cluster for s in found.route(shop.values(5, 5), b"").sends] == [shard(5)]
    other = next(key for key in range(99) if shard(key) != shard(5))
    assert refusal(found, 5, other).reason == "update-shard-key"
    for refused in (update(block), update(block, Opaque()), update(Block(0, None), Hole(1, False))):
        assert isinstance(refused, Refuse)
        assert refused.error.reason == "update-shard-key"


def insert(name: str, columns: tuple[str, ...] | None, *rows: tuple[Value, ...], **more: object) -> Statement:
    kind = more.pop("kind", Kind.INSERT)
    spans = tuple((index, index + 1) for index in range(len(rows)))
    values = Insert(0, columns, rows, spans, **more)  # type: ignore[arg-type]
    return Statement(kind, (table(name, access=Access.WRITE),), (Block(0, None),), Effect.WRITES, values)  # type: ignore[arg-type]


def number(index: int) -> Hole:
    return Hole(index, False)


def test_a_row_goes_to_the_shard_of_its_key() -> None:
    found = planned(insert("orders", ("id", "customer_id"), (number(0), number(1))))
    route = found.route(shop.values(1, 77), b"")
    assert [(s.cluster, s.text) for s in route.sends] == [(shard(77), None)]
    everything = planned(insert("orders", None, (number(0), number(1), number(2), number(3))))
    assert [s.cluster for s in everything.route(shop.values(1, 78, 5, "de"), b"").sends] == [shard(78)]


@pytest.mark.parametrize(
    ("columns", "row", "reason"),
    [
        (("id", "total"), (number(0), number(1)), "insert-without-shard-key"),
        (("customer_id",), (Word.NULL,), "insert-without-shard-key"),
        (("customer_id",), (Word.DEFAULT,), "insert-without-shard-key"),
        (("customer_id",), (Opaque(),), "insert-without-shard-key"),
        (("customer_id", "id"), (number(0),), "column-count"),
        (None, (number(0),), "column-count"),
        (None, (), "insert-without-shard-key"),
    ],
)
def test_rows_without_a_key(columns: tuple[str, ...] | None, row: tuple[Value, ...], reason: str) -> None:
    found = planned(insert("orders", columns, row))
    assert isinstance(found, Refuse)
    assert found.error.reason == reason


@pytest.mark.parametrize("key", [None, Unknown.UNKNOWN, "07", "x", 2**31, ""])
def test_keys_that_cannot_be_stored_as_they_are(key: object) -> None:
    found = planned(insert("orders", ("customer_id",), (number(0),)))
    assert refusal(found, key).reason == "insert-shard-key-value"


def test_ids_of_sharded_tables_are_made_where_rows_leave_them_out() -> None:
    found = planned(insert("invoices", ("year", "id"), (number(0), number(1)), (number(2), Word.DEFAULT)))
    assert isinstance(found, InsertRows)
    assert found.ids is not None
    assert (found.ids.sequence.name, found.ids.sequence.home) == ("shop.invoices", "main")
    assert found.given(shop.values(2024, 5, 2024), False) == [5, None]
    for left_out in (0, None, "0"):
        assert found.given(shop.values(2024, left_out, 2024), False) == [None, None]
    assert found.given(shop.values(2024, 0, 2024), True) == [0, None]
    for doubtful in (Unknown.UNKNOWN, "", "07", "5x"):
        with pytest.raises(StatementRefused) as refused:
            found.given(shop.values(2024, doubtful, 2024), False)
        assert refused.value.reason == "auto-increment-of-sharded"
    assert isinstance(planned(insert("invoices", ("year", "id"), (number(0), Opaque()))), Refuse)
    assert refusal(found, 2024, 0, 2024).reason == "auto-increment-of-sharded", "a route without the ids that are made"
    assert found.route_with(shop.values(2024, 5, 2024), b"", (None, None)).sends == (Send("main"),)


def test_statements_that_decide_by_unique_keys_need_the_shard_key_in_each() -> None:
    row = (number(0), number(1))
    columns = ("customer_id", "order_id")
    refused = planned(insert("orders", ("customer_id", "id"), row, ignore=True))
    assert isinstance(refused, Refuse)
    assert refused.error.reason == "unique-key-without-shard-key"
    assert isinstance(planned(insert("orders", ("customer_id", "id"), row, kind=Kind.REPLACE)), Refuse)
    for more in ({"ignore": True}, {"kind": Kind.REPLACE}, {"on_duplicate": ("price",)}):
        found = planned(insert("order_items", columns, row, **more))
        assert [s.cluster for s in found.route(shop.values(5, 1), b"").sends] == [shard(5)]
    moved = planned(insert("order_items", columns, row, on_duplicate=("customer_id",)))
    assert isinstance(moved, Refuse)
    assert moved.error.reason == "update-shard-key"


def test_writes_to_copies_go_to_every_cluster() -> None:
    statement = insert("countries", ("code", "name"), (Hole(0, True), Hole(1, True)))
    found = planned(statement)
    route = found.route(shop.values("de", "Germany"), b"")
    assert [s.cluster for s in route.sends] == ["main", "media", "shard0", "shard1"]
    assert route.reply is Reply.FIRST
    single = plan(statement, SINGLE, CATALOG, "shop")
    assert isinstance(single, Refuse)
    assert single.error.reason == "several-writes"


@pytest.mark.parametrize(
    ("columns", "row", "reason"),
    [
        (("code",), (Hole(0, True),), "everywhere-not-deterministic"),
        (("id", "code"), (Hole(0, False), Hole(1, True)), "everywhere-not-deterministic"),
        (("id", "code", "changed"), (Hole(0, False), Hole(1, True), Opaque()), "everywhere-not-deterministic"),
    ],
)
def test_copies_must_not_fill_in_values_of_their_own(
    columns: tuple[str, ...], row: tuple[Value, ...], reason: str
) -> None:
    found = planned(insert("currencies", columns, row))
    assert isinstance(found, Refuse)
    assert found.error.reason == reason


def test_copies_with_triggers_or_several_unique_keys_may_come_to_differ() -> None:
    def with_schema(statement: Statement, **changed: object) -> Plan:
        tables = {
            key: dataclasses.replace(schema, **changed) if key[2] == "countries" else schema  # type: ignore[arg-type]
            for key, schema in CATALOG.tables.items()
        }
        return plan(statement, RULES, Catalog(tables), "shop")

    row = (Hole(0, True), Hole(1, True))
    plain = insert("countries", None, row)
    upsert = insert("countries", None, row, on_duplicate=("name",))
    assert not isinstance(with_schema(plain), Refuse)
    assert not isinstance(with_schema(upsert), Refuse)
    assert isinstance(with_schema(plain, has_triggers=True), Refuse)
    assert not isinstance(with_schema(plain, unique_keys=(("code",), ("name",))), Refuse)
    assert isinstance(with_schema(upsert, unique_keys=(("code",), ("name",))), Refuse)
    assert isinstance(plan(plain, RULES, EMPTY, "shop"), Refuse)


def test_copies_that_are_given_every_value() -> None:
    row = (Hole(0, False), Hole(1, True), Hole(2, True))
    found = planned(insert("currencies", ("id", "code", "changed"), row))
    assert len(found.route(shop.values(1, "EUR", "2024-01-01"), b"").sends) == 4
    assert refusal(found, 0, "EUR", "2024-01-01").reason == "everywhere-not-deterministic"
    assert refusal(found, 1, "EUR", None).reason == "everywhere-not-deterministic"


@pytest.mark.parametrize(
    ("kind", "do"),
    [
        (Kind.BEGIN, Do.BEGIN),
        (Kind.COMMIT, Do.COMMIT),
        (Kind.ROLLBACK, Do.ROLLBACK),
        (Kind.SAVEPOINT, Do.SAVEPOINT),
        (Kind.ROLLBACK_TO, Do.SAVEPOINT),
        (Kind.RELEASE_SAVEPOINT, Do.SAVEPOINT),
        (Kind.USE, Do.USE),
        (Kind.KILL, Do.KILL),
        (Kind.TURNOUT, Do.TURNOUT),
        (Kind.EMPTY, Do.EMPTY),
        (Kind.SET, Do.SET),
    ],
)
def test_local(kind: Kind, do: Do) -> None:
    found = planned(Statement(kind))
    assert isinstance(found, Local)
    assert found.do is do
    assert not found.pins


def test_session_values_are_answered_when_asked_for_alone() -> None:
    block = (Block(0, None),)
    alone = Statement(Kind.SELECT, (), block, Effect.USES_LAST_INSERT_ID, items=("last_insert_id()", "row_count()"))
    found = planned(alone)
    assert isinstance(found, Local)
    assert found.do is Do.ANSWER
    for items in (("last_insert_id()", "1"), ("version()",), ()):
        mixed = planned(Statement(Kind.SELECT, (), block, items=items))
        assert isinstance(mixed, Forward), items
    limited = planned(Statement(Kind.SELECT, (), (Block(0, None, limited=True),), items=("row_count()",)))
    assert isinstance(limited, Forward)


def test_a_computed_user_variable_keeps_the_session_where_it_was_computed() -> None:
    constant = Assignment(Scope.USER, "x", True, Hole(0, False))
    computed = Assignment(Scope.USER, "x", False)
    assert not planned(Statement(Kind.SET, assignments=(constant,))).pins
    found = planned(Statement(Kind.SET, assignments=(constant, computed)))
    assert (found.pins, found.pin_cluster) == ("user variable", "main")
    found = planned(Statement(Kind.SET, (table("photos"),), (Block(0, None),), assignments=(computed,)))
    assert (found.pins, found.pin_cluster) == ("user variable", "media")
    assert isinstance(planned(Statement(Kind.SET, (table("orders"),), assignments=(computed,))), Refuse)


@pytest.mark.parametrize(
    ("effect", "reason"),
    [
        (Effect.TEMPORARY_TABLE, "temporary table"),
        (Effect.SESSION_LOCK, "session lock"),
        (Effect.SETS_USER_VARIABLE, "user variable"),
        (Effect.UNKNOWN_FUNCTION, "stored function"),
        (Effect.CALC_FOUND_ROWS, ""),
        (Effect.LOCAL_INFILE, ""),
    ],
)
def test_state_that_cannot_be_carried_pins(effect: Effect, reason: str) -> None:
    found = planned(Statement(Kind.SELECT, (table("photos"),), (Block(0, None),), effect))
    assert (found.pins, found.pin_cluster, found.replica_ok) == (reason, "media" if reason else "", False)


def test_reads_may_go_to_replicas_where_all_tables_say_so() -> None:
    found = planned(select("photos", "albums"))
    assert (found.replica_ok, found.max_lag_s, found.own_writes) == (True, 2.0, True)
    assert not planned(select("albums")).own_writes
    assert not planned(select("accounts", "users")).replica_ok
    assert not planned(select()).replica_ok
    primary = Statement(Kind.SELECT, (table("users"),), (Block(0, None),), hint=Hint(primary=True))
    assert not planned(primary).replica_ok
    locking = Statement(Kind.SELECT, (table("users"),), (Block(0, None),), Effect.LOCKS_ROWS)
    assert not planned(locking).replica_ok
    assert not planned(locking).writes
    unknown = Statement(Kind.SELECT, (table("users"),), (Block(0, None),), Effect.UNKNOWN_FUNCTION)
    assert not planned(unknown).replica_ok
    assert planned(unknown).writes
    system = Statement(Kind.SELECT, (table("tables", database="information_schema"),), (Block(0, None),))
    assert not planned(system).replica_ok


def test_hints() -> None:
    orders = select("orders")
    found = planned(Statement(orders.kind, orders.tables, orders.blocks, hint=Hint(cluster="shard1")))
    assert isinstance(found, Forward)
    assert found.cluster == "shard1"
    for hint, reason in ((Hint(cluster="nowhere"), "hint-cluster"), (Hint(unknown=("primry",)), "hint-unknown")):
        refused = planned(Statement(orders.kind, orders.tables, orders.blocks, hint=hint))
        assert isinstance(refused, Refuse)
        assert refused.error.reason == reason


def test_text_that_was_not_understood_goes_home_if_it_mentions_nothing_that_left() -> None:
    found = planned(Statement(Kind.UNKNOWN, words=frozenset({"select", "users"})))
    assert isinstance(found, Forward)
    assert (found.cluster, found.writes, found.replica_ok) == ("main", True, False)
    for word in ("photos", "orders", "countries", "stats", "spenders"):
        refused = planned(Statement(Kind.UNKNOWN, words=frozenset({"select", word}), error="Unexpected token."))
        assert isinstance(refused, Refuse), word
        assert refused.error.reason == "not-understood"
        assert f"`{word}`" in refused.error.message


def test_several_statements_in_one_text() -> None:
    for word in ("users", "photos", "begin", "use", "set"):
        found = planned(Statement(Kind.MULTI, words=frozenset({"select", word})))
        assert isinstance(found, Several)
        assert (found.cluster, found.pins, found.marks) == ("main", "several statements", None)


def test_views_of_tables_that_have_left_are_refused() -> None:
    assert isinstance(planned(select("names")), Forward)
    for view in ("spenders", "spender_names"):
        found = planned(select(view))
        assert isinstance(found, Refuse)
        assert found.error.reason == "view-of-moved-table"
        assert "shop.orders" in found.error.message


@pytest.mark.parametrize(
    ("kind", "name", "effects", "reason"),
    [
        (Kind.DDL, "orders", Effect.WRITES, "ddl-on-several"),
        (Kind.DDL, "countries", Effect.WRITES, "ddl-on-several"),
        (Kind.ADMIN, "orders", Effect.NONE, "table-work-on-several"),
        (Kind.LOCK_TABLES, "orders", Effect.SESSION_LOCK, "lock-tables-on-several"),
        (Kind.HANDLER, "orders", Effect.NONE, "table-work-on-several"),
        (Kind.LOAD_DATA, "orders", Effect.WRITES, "load-data-format"),
        (Kind.LOAD_DATA, "countries", Effect.WRITES, "load-data-format"),
    ],
)
def test_work_on_one_server(kind: Kind, name: str, effects: Effect, reason: str) -> None:
    refused = planned(Statement(kind, (table(name, access=Access.WRITE),), (), effects))
    assert isinstance(refused, Refuse)
    assert refused.error.reason == reason
    found = planned(Statement(kind, (table("photos", access=Access.WRITE),), (), effects))
    assert isinstance(found, Forward)
    assert found.cluster == "media"
    assert found.writes == (kind is not Kind.HANDLER)


def test_show_about_a_table_goes_where_the_table_is() -> None:
    for name, cluster in (("photos", "media"), ("orders", "shard0"), ("countries", "main"), ("users", "main")):
        for kind in (Kind.SHOW, Kind.DESCRIBE):
            found = planned(Statement(kind, (table(name),)))
            assert isinstance(found, Forward)
            assert found.cluster == cluster
    diagnostics = planned(Statement(Kind.SHOW, effects=Effect.USES_DIAGNOSTICS, name="warnings"))
    assert isinstance(diagnostics, Local)
    assert diagnostics.do is Do.DIAGNOSTICS


def test_explain_goes_where_the_statement_goes() -> None:
    def explain(inner: Statement, name: str = "explain") -> Plan:
        return planned(Statement(Kind.EXPLAIN, inner=inner, name=name))

    found = explain(select("photos"))
    assert isinstance(found, Forward)
    assert found.cluster == "media"
    found = explain(select("orders"))
    assert isinstance(found, Scatter)
    assert found.route(shop.values(), b"").reply is Reply.EXPLAIN
    found = explain(select("orders", pins=(Pin(0, "customer_id", ONE),)))
    assert [s.cluster for s in found.route(shop.values(5), b"").sends] == [shard(5)]
    everywhere = found.route(shop.values(Unknown.UNKNOWN), b"")
    assert ([s.cluster for s in everywhere.sends], everywhere.reply) == (["shard0", "shard1"], Reply.EXPLAIN)
    delete = Statement(Kind.DELETE, (table("orders", access=Access.WRITE),), (Block(0, None),), Effect.WRITES)
    assert explain(delete).route(shop.values(), b"").reply is Reply.EXPLAIN
    assert isinstance(explain(delete, "analyze"), Refuse)
    assert explain(Statement(Kind.DELETE, (table("users"),), effects=Effect.WRITES), "analyze").writes
    assert not explain(Statement(Kind.DELETE, (table("users"),), effects=Effect.WRITES)).writes
    assert isinstance(explain(select("users", "photos")), Refuse)


def test_last_insert_ids() -> None:
    def found(columns: tuple[str, ...] | None, *rows: tuple[Value, ...], **more: object) -> Plan:
        return planned(insert("users", columns, *rows, **more))

    assert found(("name",), (number(0),)).generated_id is True
    assert found(("id", "name"), (Word.NULL, number(0)), (Word.DEFAULT, number(1))).generated_id is True
    assert found(None, ()).generated_id is True
    explicit = found(("id", "name"), (number(0), number(1)), (number(2), number(3)))
    assert explicit.generated_id is None
    assert explicit.generates_id(shop.values(5, "x", 6, "y")) is False
    assert explicit.generates_id(shop.values(None, "x", None, "y")) is True
    assert explicit.generates_id(shop.values(5, "x", None, "y")) is None
    assert explicit.generates_id(shop.values(0, "x", 0, "y")) is True  # or the OK packet says 0, under any sql_mode
    assert explicit.generates_id(shop.values(0, "x", 5, "y")) is None
    assert explicit.generates_id(shop.values("0", "x", "0", "y")) is None
    assert found(("id",), (number(0),), (Word.NULL,)).generated_id is None
    assert found(("name",), (number(0),), ignore=True).generated_id is None
    assert found(("name",), (number(0),), kind=Kind.REPLACE).generated_id is None
    settings = planned(insert("settings", ("user_id",), (number(0),), ignore=True))
    assert settings.generated_id is False
    params = found(("id",), (Param(0),))
    assert params.generates_id(shop.values(params=(7,))) is False
