"""What a worker knows of a directory, and how statements are routed by it: without servers."""

from __future__ import annotations

import dataclasses

import pytest

from parser.analyse import parse
from parser.shape import lexer
from proxy.back import directory as directory_module
from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.back.directory import LEASE_S, Directory, KeysUnknown
from proxy.errors import StatementRefused
from proxy.front.values import TextValues
from proxy.plan.directory_table import DirectoryTable, directory_table
from proxy.plan.keys import Family, KeyForm, Unmodelled
from proxy.plan.plan import Plan, Refuse, Route
from proxy.plan.planner import plan
from proxy.plan.sharding import check_sharding_keys
from tests.rules.texts import rules, shop

KNOWN = frozenset({"shard0", "shard1"})


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """A source that counts."""

    def __init__(self) -> None:
        self.upkeep = 0

    def keep_up(self) -> None:
        self.upkeep += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(directory_module, "_now", made)
    return made


def fresh(clock: Clock, *entries: tuple[bytes, str]) -> Directory:
    made = Directory("by_owner", "shop.owners", "main", KNOWN)
    made.seen(7, False, clock.now)
    for key, cluster in entries:
        made.add(key, cluster)
    return made


def test_an_entry_is_used_as_long_as_the_lease_lasts(clock: Clock) -> None:
    found = fresh(clock, (b"1", "shard0"))
    source = found.source = Asked()  # type: ignore[assignment]
    assert found.find(b"1") == "shard0"
    assert source.upkeep == 0
    clock.now += LEASE_S * 0.75
    assert found.find(b"1") == "shard0"
    assert source.upkeep == 1, "time to look again"
    clock.now += LEASE_S * 0.26
    with pytest.raises(KeysUnknown):
        found.find(b"1")
    assert not found.valid
    found.seen(7, False, clock.now - 0.5)
    assert found.find(b"1") == "shard0", "the same epoch: it still holds"
    clock.now += LEASE_S - 0.5
    with pytest.raises(KeysUnknown):  # the lease counts from when home was asked
        found.find(b"1")


def test_another_epoch_takes_everything_away(clock: Clock) -> None:
    found = fresh(clock, (b"1", "shard0"), (b"2", "shard1"))
    version, changed = found.version, found.changed_ns
    found.seen(8, True, clock.now)
    assert len(found) == 0
    assert (found.held, found.version > version, found.changed_ns > changed) == (True, True, True)
    with pytest.raises(KeysUnknown):
        found.find(b"1")
    version = found.version
    found.seen(6, False, clock.now)  # home went back: a failover that lost something
    assert found.version > version


def test_an_older_look_does_not_shorten_the_lease(clock: Clock) -> None:
    found = fresh(clock)
    until = found.until
    found.seen(7, False, clock.now - 1)
    assert found.until == until


def test_absence_is_for_one_statement(clock: Clock) -> None:
    found = fresh(clock, (b"1", "shard0"))
    with found.taken_as_absent({b"9"}):
        assert found.find(b"9") is None
        assert found.find(b"1") == "shard0"
    with pytest.raises(KeysUnknown):
        found.find(b"9")


def test_memory_is_bounded_and_keeps_what_is_used(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "MAX_ENTRIES", 100)
    found = fresh(clock)
    for number in range(1000):
        found.add(b"%d" % number, "shard0")
        assert found.find(b"0") == "shard0"
        assert len(found) <= 101
    assert found.find(b"999") == "shard0"
    with pytest.raises(KeysUnknown):
        found.find(b"500")


# -- routing

RULES = rules(
    x="shardings: {by_owner: {method: directory, table: shop.owners, clusters: [shard0, shard1]}}",
    y=shop("files: {sharding: by_owner, key: owner}", "notes: {sharding: by_owner, key: owner}"),
    z="transactions: best_effort",
)
OWNER = Column("owner", "bigint", nullable=False)
CLUSTER = Column("cluster", "varchar", charset="utf8mb4", collation="utf8mb4_general_ci", length=20)
OWNERS = TableSchema("shop", "owners", (OWNER, CLUSTER), unique_keys=(("owner",),), engine="InnoDB")


def catalog(directory: Directory | None, table: TableSchema = OWNERS) -> Catalog:
    tables = {("main", "shop", "owners"): table}
    for name in ("files", "notes"):
        schema = TableSchema(
            "shop", name, (OWNER, Column("id", "int")), unique_keys=(("owner", "id"),), engine="InnoDB"
        )
        tables |= {(cluster, "shop", name): schema for cluster in ("shard0", "shard1")}
    return Catalog(tables, directories={"by_owner": directory} if directory is not None else {})


def routed(sql: str, directory: Directory | None) -> Route:
    text = sql.encode()
    shape, literals = lexer().shape(text)
    statement = dataclasses.replace(parse(shape, literals, lexer=lexer(), prepared=False), lexer=lexer())
    made: Plan = plan(statement, RULES, catalog(directory), "shop")
    return made.route(TextValues(literals, lexer()), text)


def clusters(route: Route) -> list[str]:
    return [send.cluster for send in route.sends]


def test_known_keys_route_like_any_others(clock: Clock) -> None:
    found = fresh(clock, (b"1", "shard0"), (b"2", "shard1"), (b"3", "shard1"))
    assert clusters(routed("SELECT * FROM files WHERE owner = 2", found)) == ["shard1"]
    assert clusters(routed("SELECT * FROM files WHERE owner IN (2, 3)", found)) == ["shard1"]
    assert clusters(routed("SELECT * FROM files WHERE owner IN (1, 3)", found)) == ["shard0", "shard1"]
    assert clusters(routed("SELECT * FROM files WHERE owner = '2x'", found)) == ["shard0", "shard1"]
    assert clusters(routed("SELECT * FROM files", found)) == ["shard0", "shard1"]
    join = "SELECT * FROM files f JOIN notes n ON n.owner = f.owner WHERE n.owner = 3"
    assert clusters(routed(join, found)) == ["shard1"]
    assert clusters(routed("INSERT INTO files VALUES (1, 5), (3, 5)", found)) == ["shard0", "shard1"]
    with pytest.raises(StatementRefused, match=r"shop\.files"):
        routed("UPDATE files SET owner = 1 WHERE owner = 2", found)


@pytest.mark.parametrize(
    ("sql", "keys", "new"),
    [
        ("SELECT * FROM files WHERE owner = 8", {b"8"}, False),
        ("SELECT * FROM files WHERE owner IN (1, 8, 9)", {b"8", b"9"}, False),
        ("UPDATE files SET owner = 8 WHERE owner = 1", {b"8"}, False),
        ("DELETE FROM files WHERE owner = 8", {b"8"}, False),
        ("INSERT INTO files VALUES (1, 1), (8, 1), (9, 1), (8, 2)", {b"8", b"9"}, True),
        ("REPLACE INTO files VALUES (8, 1)", {b"8"}, True),
    ],
)
def test_all_unknown_keys_are_asked_for_at_once(clock: Clock, sql: str, keys: set[bytes], new: bool) -> None:
    found = fresh(clock, (b"1", "shard0"))
    with pytest.raises(KeysUnknown) as caught:
        routed(sql, found)
    assert (caught.value.directory, caught.value.keys, caught.value.new) == (found, keys, new)


def test_a_key_that_is_absent_is_anywhere(clock: Clock) -> None:
    found = fresh(clock, (b"1", "shard0"), (b"2", "shard1"))
    with found.taken_as_absent({b"8"}):
        assert len(clusters(routed("SELECT * FROM files WHERE owner = 8", found))) == 1
        assert clusters(routed("SELECT * FROM files WHERE owner IN (8, 2)", found)) == ["shard1"]


def test_without_a_worker_nothing_is_guessed() -> None:
    with pytest.raises(KeysUnknown, match=r"shop\.owners"):
        routed("SELECT * FROM files WHERE owner = 1", None)


# -- what may be a directory


def varied(**changes: object) -> TableSchema:
    return dataclasses.replace(OWNERS, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (varied(unique_keys=()), "exactly one unique key"),
        (varied(unique_keys=(("owner", "cluster"),)), "exactly one unique key"),
        (varied(unique_keys=(("owner(5)",),)), "exactly one unique key"),
        (varied(is_base=False), "not an ordinary table"),
        (varied(engine="Aria"), "the engine Aria"),
        (varied(columns=(OWNER,)), "no column `cluster`"),
        (varied(columns=(OWNER, dataclasses.replace(CLUSTER, length=5))), "too short for shard0"),
        (varied(columns=(dataclasses.replace(OWNER, nullable=True), CLUSTER)), "may be NULL"),
        (varied(columns=(dataclasses.replace(OWNER, data_type="timestamp"), CLUSTER)), "time zone"),
        (
            varied(
                columns=(
                    Column("owner", "varchar", False, "utf8mb4", "utf8mb4_0900_as_cs", nullable=False, length=5),
                    CLUSTER,
                )
            ),
            "upper from lower case",
        ),
    ],
)
def test_what_cannot_be_a_directory(table: TableSchema, why: str) -> None:
    found = directory_table(RULES.shardings["by_owner"], RULES, catalog(None, table))
    assert isinstance(found, Unmodelled)
    assert why in found.why
    statement = parse(*lexer().shape(b"SELECT * FROM files WHERE owner = 1"), lexer=lexer(), prepared=False)
    refused = plan(statement, RULES, catalog(None, table), "shop")
    assert isinstance(refused, Refuse)
    assert refused.error.reason == "shard-key-unusable"
    assert why in refused.error.message
    assert any(why in problem.message for problem in check_sharding_keys(RULES, catalog(None, table)))


def test_the_table_by_another_type() -> None:
    narrow = varied(columns=(dataclasses.replace(OWNER, data_type="int"), CLUSTER))
    messages = [problem.message for problem in check_sharding_keys(RULES, catalog(None, narrow))]
    assert any("another type or collation than owner in its directory shop.owners" in message for message in messages)
    assert [str(problem) for problem in check_sharding_keys(RULES, catalog(None))] == []


def test_what_home_is_asked() -> None:
    table = DirectoryTable("main", "`shop`.`owners`", "owner", KeyForm(Family.INTEGER, -5, 5))
    look = "SELECT NULL, NULL, epoch, held FROM turnout.directories WHERE name = 'shop.owners'"
    assert table.look("'shop.owners'", "turnout.directories", []) == look
    assert table.look("'shop.owners'", "turnout.directories", [b"1", b"-2"]) == (
        f"{look} UNION ALL SELECT `owner`, `cluster`, NULL, NULL FROM `shop`.`owners` WHERE `owner` IN (1, -2)"
    )
    assert table.enter([(b"1", "a'b")]) == (
        "INSERT IGNORE INTO `shop`.`owners` (`owner`, `cluster`) VALUES (1, _utf8mb4 x'612762')"
    )
    text = DirectoryTable(
        "main", "t", "k", KeyForm(Family.EXACT, collation="utf8mb4_bin", last_character="z", length=9)
    )
    assert text.literal(b"it's \\") == "_utf8mb4 x'69742773205c'"
