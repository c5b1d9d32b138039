"""What statements see of the steps by which a key moves, one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from proxy.back.directory import CREATE, LEASE_S
from tests.directory.conftest import World, numbers
from tests.directory.moving import HOLD, LET_GO
from tests.front.raw import Answer, Client
from tests.servers.process import wait_until
from tests.servers.shop import DATABASE

pytestmark = pytest.mark.servers
Connect = Callable[..., Client]


def hold(world: World, owner: int) -> None:
    update = f"UPDATE owners SET cluster = '' WHERE owner = {owner}"
    world.main.execute(*CREATE, "START TRANSACTION", HOLD, update, "COMMIT", database=DATABASE)
    time.sleep(LEASE_S * 1.1)


def let_go(world: World, owner: int, cluster: str) -> None:
    update = f"UPDATE owners SET cluster = '{cluster}' WHERE owner = {owner}"
    world.main.execute("START TRANSACTION", LET_GO, update, "COMMIT", database=DATABASE)


def copy(world: World, owner: int, source: int) -> None:
    rows = world.rows(source, f"SELECT id, v FROM files WHERE owner = {owner}")
    for number, v in rows:
        world.shards[1 - source].execute(
            f"INSERT INTO files (owner, id, v) VALUES ({owner}, {number}, {v})", database=DATABASE
        )
    world.shards[source].execute(f"DELETE FROM files WHERE owner = {owner}", database=DATABASE)


def later(client: Client, sql: str) -> tuple[threading.Thread, list[Answer]]:
    """A statement that somebody waits for."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(client.query(sql)), daemon=True)
    thread.start()
    return thread, answers


@pytest.fixture
def stocked(world: World) -> World:
    world.enter((1, "shard0"), (2, "shard1"), (3, "shard0"))
    for shard, owners in ((0, (1, 3)), (1, (2,))):
        for owner in owners:
            world.shards[shard].execute(
                f"INSERT INTO files (owner, id, v) VALUES ({owner}, 1, {owner}0)", database=DATABASE
            )
    return world


@pytest.mark.parametrize("cluster", ["''", "NULL"])
def test_a_held_key_is_waited_for(stocked: World, connect: Connect, cluster: str) -> None:
    world = stocked
    proxy = world.start("pool: {wait: 60s}\n")
    client, other = connect(proxy), connect(proxy)
    assert numbers(client.query("SELECT v FROM files WHERE owner = 1")) == [10]
    world.main.execute("ALTER TABLE owners MODIFY cluster VARCHAR(40) NULL", database=DATABASE)
    update = f"UPDATE owners SET cluster = {cluster} WHERE owner = 1"
    world.main.execute(*CREATE, "START TRANSACTION", HOLD, update, "COMMIT", database=DATABASE)
    time.sleep(LEASE_S * 1.1)
    waiting = [
        later(client, "SELECT v FROM files WHERE owner = 1"),
        later(other, "SELECT SUM(v) FROM files"),
        later(connect(proxy), "INSERT INTO files (owner, id, v) VALUES (1, 2, 5)"),
    ]
    third = connect(proxy)
    assert numbers(third.query("SELECT v FROM files WHERE owner = 3")) == [30]
    assert numbers(third.query("SELECT v FROM files WHERE owner = 2")) == [20]
    copy(world, 1, 0)
    assert all(thread.is_alive() for thread, _ in waiting)
    let_go(world, 1, "shard1")
    for thread, _ in waiting:
        thread.join(60)
    assert numbers(waiting[0][1][0])[:1] == [10]
    assert numbers(waiting[1][1][0]) in ([60], [65])
    assert waiting[2][1][0].checked().affected_rows == 1
    assert world.rows(0, "SELECT owner FROM files") == [(3,)]
    assert world.rows(1, "SELECT v FROM files WHERE owner = 1 ORDER BY id") == [(10,), (5,)]


def test_a_held_key_is_refused_in_the_end_and_in_transactions_at_once(stocked: World, connect: Connect) -> None:
    world = stocked
    proxy = world.start("pool: {wait: 1500ms}\n")
    client = connect(proxy)
    hold(world, 1)
    for sql in (
        "SELECT v FROM files WHERE owner = 1",
        "UPDATE files SET v = 1 WHERE owner IN (1, 3)",
        "SELECT COUNT(*) FROM files",
        "DELETE FROM files",
    ):
        answer = client.query(sql)
        assert answer.errno == 1205, (sql, answer)
        assert "shop.owners" in answer.message
        assert "being moved to another cluster" in answer.message
    client.query("BEGIN")
    client.query("UPDATE files SET v = 31 WHERE owner = 3").checked()
    assert client.query("SELECT v FROM files WHERE owner = 1").errno == 1205
    client.query("COMMIT").checked()
    assert numbers(client.query("SELECT v FROM files WHERE owner = 3")) == [31]
    let_go(world, 1, "shard0")
    wait_until(lambda: client.query("SELECT COUNT(*) FROM files").ok, 30)


def test_a_transaction_does_not_look_for_rows_where_they_came_later(stocked: World, connect: Connect) -> None:
    world = stocked
    client = connect(world.start())
    for isolation in ("REPEATABLE READ", "READ COMMITTED"):
        client.query(f"SET SESSION TRANSACTION ISOLATION LEVEL {isolation}").checked()
        client.query("BEGIN")
        assert numbers(client.query("SELECT v FROM files WHERE owner = 2")) == [20]
        source = int(world.directory()["1"][-1])
        hold(world, 1)
        copy(world, 1, source)
        let_go(world, 1, f"shard{1 - source}")
        time.sleep(LEASE_S * 1.1)
        for sql in ("SELECT v FROM files WHERE owner = 2", "SELECT v FROM files ORDER BY v"):
            answer = client.query(sql)
            assert answer.errno == 1205, answer
            assert "have moved since this transaction came to" in answer.message
        client.query("ROLLBACK").checked()
        client.query("BEGIN")
        assert numbers(client.query("SELECT v FROM files WHERE owner = 2")) == [20]
        assert numbers(client.query("SELECT v FROM files ORDER BY v")) == [10, 20, 30]
        client.query("COMMIT").checked()


@pytest.mark.parametrize("moved", [True, False])
def test_a_transaction_goes_on_when_the_directory_changed_before_its_first_statement_was_sent(
    stocked: World, connect: Connect, moved: bool
) -> None:
    """BEGIN has gone to the server by then, and its answer is on the way."""
    world = stocked
    proxy = world.start("pool: {wait: 60s}\n", limit=1)
    holder, client = connect(proxy), connect(proxy)
    holder.query("BEGIN")
    assert numbers(holder.query("SELECT v FROM files WHERE owner = 3")) == [30]
    client.query("BEGIN")
    thread, answers = later(client, "SELECT v FROM files WHERE owner = 1")  # the one connection is in use
    wait_until(lambda: proxy.metric("turnout_pool_waiting", cluster="shard0") == 1, 30)
    if moved:
        hold(world, 1)
        copy(world, 1, 0)
        let_go(world, 1, "shard1")
    else:
        hold(world, 3)
        let_go(world, 3, "shard0")
    time.sleep(LEASE_S * 1.1)
    assert numbers(connect(proxy).query("SELECT v FROM files WHERE owner = 2")) == [20]  # the worker has heard of it
    holder.query("COMMIT").checked()
    thread.join(60)
    assert numbers(answers[0]) == [10]
    assert numbers(client.query("SELECT v FROM files WHERE owner = 3")) == [30]
    client.query("COMMIT").checked()
    assert numbers(client.query("SELECT v FROM files WHERE owner = 1")) == [10]


def test_a_pinned_session_goes_on_after_a_change(stocked: World, connect: Connect) -> None:
    world = stocked
    client = connect(world.start())
    client.query("CREATE TEMPORARY TABLE mine (a INT)").checked()
    client.query("BEGIN")
    client.query("SELECT GET_LOCK('a', 0) FROM files WHERE owner = 2").checked()
    client.query("COMMIT").checked()
    hold(world, 1)
    let_go(world, 1, "shard0")
    time.sleep(LEASE_S * 1.1)
    assert numbers(client.query("SELECT v FROM files WHERE owner = 2")) == [20]
    client.query("BEGIN")
    assert numbers(client.query("SELECT v FROM files WHERE owner = 2")) == [20]
    client.query("COMMIT").checked()


@pytest.mark.parametrize("prepared", [False, True])
def test_what_waits_for_a_connection_is_routed_again(stocked: World, connect: Connect, prepared: bool) -> None:
    """Routed before the move, sent after it."""
    world = stocked
    proxy = world.start("pool: {wait: 60s}\n", limit=2)
    client = connect(proxy)
    statement = client.prepare("UPDATE files SET v = v + 1 WHERE owner = ?") if prepared else None
    assert numbers(client.query("SELECT v FROM files WHERE owner = 1")) == [10]
    blockers = [connect(proxy) for _ in range(2)]
    for blocker in blockers:  # they take all connections to shard0
        blocker.query("BEGIN")
        blocker.query("SELECT v FROM files WHERE owner = 3").checked()
    answers: list[Answer] = []

    def update() -> None:
        if statement is None:
            answers.append(client.query("UPDATE files SET v = v + 1 WHERE owner = 1"))
        else:
            assert not isinstance(statement, Answer)
            answers.append(client.execute(statement, 1))

    thread = threading.Thread(target=update, daemon=True)
    thread.start()
    wait_until(lambda: proxy.metric("turnout_pool_waiting", cluster="shard0") == 1, 30)
    hold(world, 1)
    copy(world, 1, 0)
    let_go(world, 1, "shard1")
    assert thread.is_alive()
    for blocker in blockers:
        blocker.query("COMMIT").checked()
    thread.join(60)
    assert answers[0].checked().affected_rows == 1
    assert world.rows(1, "SELECT v FROM files WHERE owner = 1") == [(11,)]


def test_a_statement_that_waits_for_a_key_can_be_killed(stocked: World, connect: Connect) -> None:
    world = stocked
    proxy = world.start("pool: {wait: 60s}\n")
    client, other = connect(proxy), connect(proxy)
    number = client.query("SELECT CONNECTION_ID()").number
    hold(world, 1)
    thread, answers = later(client, "SELECT v FROM files WHERE owner = 1")

    def killed() -> bool:
        other.query(f"KILL QUERY {number}").checked()
        return not thread.is_alive()

    wait_until(killed, 30)
    assert answers[0].errno == 1317
    assert numbers(client.query("SELECT v FROM files WHERE owner = 3")) == [30]
    let_go(world, 1, "shard0")
    wait_until(lambda: client.query("SELECT v FROM files WHERE owner = 1").ok, 30)
