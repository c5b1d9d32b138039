"""Statements over directory shardings on real servers: where they go, new keys, and what home is asked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.directory.conftest import World, numbers
from tests.front.raw import Client, Statement
from tests.servers import Turnout
from tests.servers.process import wait_until
from tests.servers.shop import DATABASE

pytestmark = pytest.mark.servers
Connect = Callable[..., Client]


def test_rows_are_where_the_directory_says(world: World, connect: Connect) -> None:
    world.enter((1, "shard0"), (2, "shard1"), (3, "shard1"))
    client = connect(world.start())
    for owner in (1, 2, 3):
        client.query(f"INSERT INTO files (owner, id, k) VALUES ({owner}, 1, 'a{owner}')").checked()
    assert world.rows(0, "SELECT owner FROM files") == [(1,)]
    assert world.rows(1, "SELECT owner FROM files ORDER BY owner") == [(2,), (3,)]
    for owner in (1, 2, 3):
        assert client.query(f"SELECT k FROM files WHERE owner = {owner}").checked().rows == ((f"a{owner}".encode(),),)
        client.query(f"UPDATE files SET v = {owner} WHERE owner = {owner}").checked()
    assert numbers(client.query("SELECT v FROM files WHERE owner IN (1, 3) ORDER BY v")) == [1, 3]
    assert numbers(client.query("SELECT SUM(v) FROM files")) == [6]
    assert client.query("DELETE FROM files WHERE owner = 2").checked().affected_rows == 1
    assert numbers(client.query("SELECT owner FROM files ORDER BY owner DESC")) == [3, 1]
    join = "SELECT f.owner FROM files f JOIN notes n ON n.owner = f.owner WHERE f.owner = 3"
    client.query("INSERT INTO notes VALUES (3, 1, 'n')").checked()
    assert numbers(client.query(join)) == [3]


def test_a_key_that_is_not_there_has_no_rows(world: World, connect: Connect) -> None:
    client = connect(world.start())
    assert client.query("SELECT * FROM files WHERE owner = 77").checked().rows == ()
    assert client.query("UPDATE files SET v = 1 WHERE owner = 77").checked().affected_rows == 0
    assert numbers(client.query("SELECT COUNT(*) FROM files WHERE owner IN (77, 78)")) == [0]
    assert world.directory() == {}
    # Nor is that remembered: somebody else enters it.
    world.enter((77, "shard1"))
    world.shards[1].execute("INSERT INTO files (owner, id, v) VALUES (77, 1, 5)", database=DATABASE)
    assert numbers(client.query("SELECT v FROM files WHERE owner = 77")) == [5]


def test_new_keys_are_placed_by_weight(world: World, connect: Connect) -> None:
    client = connect(world.start(weights="{shard0: 3, shard1: 1}"))
    for owner in range(400):
        client.query(f"INSERT INTO files (owner, id) VALUES ({owner}, 1)").checked()
    found = Counter(world.directory().values())
    assert found.total() == 400
    assert 230 < found["shard0"] < 370, "three of four, within seven standard deviations"
    for shard in (0, 1):
        there = {str(owner) for (owner,) in world.rows(shard, "SELECT owner FROM files")}
        assert there == {owner for owner, cluster in world.directory().items() if cluster == f"shard{shard}"}


def test_no_new_keys_with_weight_0(world: World, connect: Connect) -> None:
    world.enter((1, "shard0"))
    client = connect(world.start(weights="{shard0: 0, shard1: 1}"))
    for owner in range(40):
        client.query(f"INSERT INTO files (owner, id) VALUES ({owner}, 1)").checked()
    assert Counter(world.directory().values()) == {"shard0": 1, "shard1": 39}


def test_new_keys_of_one_statement_are_placed_together(world: World, connect: Connect) -> None:
    client = connect(world.start(transactions="single"))
    for first in range(0, 400, 20):
        rows = ", ".join(f"({owner}, 1)" for owner in range(first, first + 20))
        assert client.query(f"INSERT INTO files (owner, id) VALUES {rows}").checked().affected_rows == 20
    assert len(set(world.directory().values())) == 2
    assert numbers(client.query("SELECT COUNT(*) FROM files")) == [400]


def test_a_rolled_back_insert_leaves_its_entry(world: World, connect: Connect) -> None:
    client = connect(world.start())
    client.query("BEGIN")
    client.query("INSERT INTO files (owner, id) VALUES (5, 1)").checked()
    client.query("ROLLBACK").checked()
    assert list(world.directory()) == ["5"]
    assert client.query("SELECT * FROM files WHERE owner = 5").checked().rows == ()
    client.query("INSERT INTO files (owner, id) VALUES (5, 1)").checked()
    assert numbers(client.query("SELECT owner FROM files")) == [5]


def test_two_proxies_enter_the_same_keys_at_once(world: World, connect: Connect) -> None:
    """No key on two clusters, and no row lost."""
    proxies = [world.start(), world.start("workers: 2\n")]
    barrier = threading.Barrier(6)
    failed: list[object] = []

    def insert(number: int, client: Client) -> None:
        for owner in range(150):
            if owner % 10 == 0:
                barrier.wait(60)
            answer = client.query(f"INSERT INTO files (owner, id) VALUES ({owner}, {number})")
            if not answer.ok:
                failed.append((answer.errno, answer.message))

    clients = [connect(proxies[number % 2]) for number in range(6)]
    threads = [threading.Thread(target=insert, args=each) for each in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    assert len(world.directory()) == 150
    owners = [{owner for (owner,) in world.rows(shard, "SELECT owner FROM files")} for shard in (0, 1)]
    assert owners[0] & owners[1] == set()
    assert numbers(clients[0].query("SELECT COUNT(*) FROM files")) == [900]
    for owner in range(0, 150, 7):
        for client in clients[:2]:
            assert numbers(client.query(f"SELECT COUNT(*) FROM files WHERE owner = {owner}")) == [6]


def settled(proxy: Turnout, name: str) -> float:
    """A counter, once the worker has handed it on (it does so every second)."""
    value, since = proxy.metric(name), time.monotonic()

    def same() -> bool:
        nonlocal value, since
        if (found := proxy.metric(name)) != value:
            value, since = found, time.monotonic()
        return time.monotonic() - since > 2.5

    wait_until(same, 60)
    return value


def test_a_known_key_takes_the_fast_path_and_asks_nothing(world: World, connect: Connect) -> None:
    world.enter(*((owner, f"shard{owner % 2}") for owner in range(20)))
    proxy = world.start()
    client = connect(proxy)
    for owner in range(20):
        client.query(f"SELECT v FROM files WHERE owner = {owner}").checked()
    looked_up = settled(proxy, "turnout_directory_lookups_total")
    assert looked_up == 20
    for _ in range(20):
        for owner in range(20):
            client.query(f"SELECT v FROM files WHERE owner = {owner}").checked()
    assert settled(proxy, "turnout_directory_lookups_total") == looked_up
    assert settled(proxy, "turnout_directory_entries") == 20


def test_look_ups_are_batched_and_each_key_asked_once(world: World, connect: Connect) -> None:
    world.enter(*((owner, f"shard{owner % 2}") for owner in range(200)))
    proxy = world.start()
    admin = connect(proxy, admin=True)
    clients = [connect(proxy) for _ in range(40)]
    clients[0].query("SELECT v FROM files WHERE owner = 0").checked()
    names = ("turnout_directory_lookups_total", "turnout_directory_batches_total")
    before = [settled(proxy, name) for name in names]

    def waiting() -> bool:
        shown = admin.query("SHOW TURNOUT SESSIONS").checked()
        return sum(b"waiting" in row and b"app" in row for row in shown.rows) == len(clients)

    home = world.main.admin(DATABASE)
    try:
        with home.cursor() as cursor:

            def looking() -> bool:
                cursor.execute("SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'")
                return bool(cursor.fetchall())

            cursor.execute("LOCK TABLES owners WRITE")
            for number, client in enumerate(clients):
                client.send(f"SELECT id FROM files WHERE owner IN ({1 + number % 20}, {101 + number})")
                if not number:
                    wait_until(looking, 30)
            wait_until(waiting, 30)
            cursor.execute("UNLOCK TABLES")
    finally:
        home.close()
    for client in clients:
        client.receive().checked()
    lookups, batches = (settled(proxy, name) - was for name, was in zip(names, before, strict=True))
    # Of the first statement's keys one is asked for again: its look was under way when the others came.
    assert lookups == 61, "20 keys of two statements each, 40 of one, and the one that was asked for twice"
    assert batches == 2


def test_text_keys_by_their_collation(world: World, connect: Connect) -> None:
    world.enter(("Ada", "shard1"), ("stra\u00dfe", "shard0"), table="names")
    client = connect(world.start())
    client.query("INSERT INTO users (name, v) VALUES ('ADA ', 1), ('Bob', 2)").checked()
    assert client.query("SELECT v FROM users WHERE name = 'ada'").checked().rows == ((b"1",),)
    assert client.query("SELECT v FROM users WHERE name = 'bOB  '").checked().rows == ((b"2",),)
    assert world.rows(1, "SELECT name FROM users WHERE v = 1") == [("ADA",)] or world.rows(
        1, "SELECT name FROM users WHERE v = 1"
    ) == [("ADA ",)]
    assert set(world.directory("names")) == {"Ada", "stra\u00dfe", "bob"}


def test_prepared_statements(world: World, connect: Connect) -> None:
    world.enter((1, "shard0"), (2, "shard1"))
    client = connect(world.start())
    insert = client.prepare("INSERT INTO files (owner, id, v) VALUES (?, ?, ?)")
    select = client.prepare("SELECT v FROM files WHERE owner = ?")
    assert isinstance(insert, Statement)
    assert isinstance(select, Statement)
    for owner in (1, 2, 3, 4):
        client.execute(insert, owner, 1, owner * 10).checked()
    for _ in range(2):
        for owner in (1, 2, 3, 4):
            (row,) = client.execute(select, owner).checked().rows
            assert int.from_bytes((row[0] or b"")[2:6], "little") == owner * 10
        assert client.execute(select, 99).checked().rows == ()
    assert world.rows(0, "SELECT v FROM files WHERE owner = 1") == [(10,)]
    assert world.rows(1, "SELECT v FROM files WHERE owner = 2") == [(20,)]


def test_ids_of_a_sequence(world: World, connect: Connect) -> None:
    client = connect(world.start())
    made = [
        client.query(f"INSERT INTO things (owner, k) VALUES ({n}, 'x'), ({n + 50}, 'y')").checked().insert_id
        for n in range(20)
    ]
    assert len(set(made)) == 20
    assert numbers(client.query("SELECT COUNT(DISTINCT id) FROM things")) == [40]
    assert len(world.directory()) == 40


def test_the_shard_key_is_an_id_of_a_sequence(world: World, connect: Connect) -> None:
    client = connect(world.start())
    made = [client.query(f"INSERT INTO members (k) VALUES ('{n}'), ('{n}b')").checked().insert_id for n in range(15)]
    statement = client.prepare("INSERT INTO members (k) VALUES (?)")
    assert isinstance(statement, Statement)
    made += [client.execute(statement, f"p{n}").checked().insert_id for n in range(10)]
    assert len(set(made)) == 25
    found = world.directory("membership")
    for shard in (0, 1):
        there = {str(number) for (number,) in world.rows(shard, "SELECT id FROM members")}
        assert there == {number for number, cluster in found.items() if cluster == f"shard{shard}"}
        assert there
    for number in made:
        assert numbers(client.query(f"SELECT id FROM members WHERE id = {number}")) == [number]


@pytest.mark.parametrize("transactions", ["atomic", "best_effort"])
def test_transactions_over_both_shards(world: World, connect: Connect, transactions: str) -> None:
    world.enter((1, "shard0"), (2, "shard1"))
    client = connect(world.start(transactions=transactions))
    client.query("BEGIN")
    for owner in (1, 2):
        client.query(f"INSERT INTO files (owner, id) VALUES ({owner}, 1)").checked()
    client.query("INSERT INTO files (owner, id) VALUES (1, 2), (2, 2)").checked()
    client.query("COMMIT").checked()
    client.query("UPDATE files SET v = 7").checked()
    assert numbers(client.query("SELECT v FROM files")) == [7] * 4


def test_the_workbench(world: World, connect: Connect) -> None:
    world.enter((1, "shard0"), (2, "shard1"))
    world.main.execute("CREATE TABLE plans (id INT PRIMARY KEY, owner BIGINT)", database=DATABASE)
    world.main.execute("INSERT INTO plans VALUES (1, 1), (2, 2), (3, 9)", database=DATABASE)
    client = connect(world.start())
    client.query("INSERT INTO files (owner, id, v) VALUES (1, 1, 5), (2, 1, 6)").checked()
    join = "SELECT p.id, f.v FROM plans p LEFT JOIN files f ON f.owner = p.owner"
    assert client.query(f"{join} ORDER BY p.id").checked().rows == ((b"1", b"5"), (b"2", b"6"), (b"3", None))
    assert client.query(f"{join} WHERE p.id = 2").checked().rows == ((b"2", b"6"),)
    assert client.query(f"{join} AND f.owner IN (2, 77) WHERE p.id < 3 ORDER BY p.id").checked().rows == (
        (b"1", None),
        (b"2", b"6"),
    )


def test_a_key_that_somebody_enters_in_an_open_transaction(world: World, connect: Connect) -> None:
    """Others' new keys do not wait for it, or not for long."""
    proxy = world.start()
    other, client = connect(proxy), connect(proxy)
    other.query("BEGIN")
    other.query("INSERT INTO owners VALUES (1, 'shard1')").checked()
    answer = client.query("INSERT INTO files (owner, id) VALUES (1, 1), (2, 1)")
    assert answer.errno == 1205
    assert "has to be committed first" in answer.message
    clients = [connect(proxy) for _ in range(5)]
    for number, each in enumerate(clients):
        each.send(f"INSERT INTO files (owner, id) VALUES ({number}, 5)")
    answers = [each.receive() for each in clients]
    assert [answer.errno for answer in answers] == [0, 1205, 0, 0, 0]
    other.query("COMMIT").checked()
    client.query("INSERT INTO files (owner, id) VALUES (1, 1)").checked()
    assert world.rows(1, "SELECT owner FROM files WHERE owner = 1") == [(1,)]


def test_new_keys_of_many_sessions_are_entered_together(world: World, connect: Connect) -> None:
    proxy = world.start()
    clients = [connect(proxy) for _ in range(40)]
    for each in clients:
        each.query("SELECT 1 FROM files WHERE owner = 0").checked()
    before = inserts(world)
    for number, each in enumerate(clients):
        each.send(f"INSERT INTO files (owner, id) VALUES ({number}, 1)")
    for each in clients:
        each.receive().checked()
    assert len(world.directory()) == 40
    assert inserts(world) - before < 20
    assert settled(proxy, "turnout_directory_new_keys_total") == 40


def inserts(world: World) -> int:
    """INSERTs that home has carried out."""
    sql = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'COM_INSERT'"
    return int(world.main.execute(sql)[0][0])


def test_rows_that_are_found_first(world: World, connect: Connect) -> None:
    """UPDATE and DELETE with ORDER BY and LIMIT, INSERT .. SELECT, and rows whose key changes."""
    owners = [(owner, f"shard{owner % 2}") for owner in range(10)]
    world.enter(*owners)
    for owner, cluster in owners:
        world.shards[int(cluster[-1])].execute(
            f"INSERT INTO files (owner, id, v) VALUES ({owner}, 1, {owner})", database=DATABASE
        )
    client = connect(world.start(transactions="atomic"))
    assert client.query("UPDATE files SET k = 'x' ORDER BY v DESC LIMIT 3").checked().affected_rows == 3
    assert numbers(client.query("SELECT owner FROM files WHERE k = 'x' ORDER BY owner")) == [7, 8, 9]
    assert client.query("DELETE FROM files ORDER BY v LIMIT 2").checked().affected_rows == 2
    assert numbers(client.query("SELECT owner FROM files ORDER BY owner")) == list(range(2, 10))
    copied = client.query("INSERT INTO notes (owner, id, k) SELECT owner + 100, id, k FROM files").checked()
    assert copied.affected_rows == 8
    found = world.directory()
    for shard in (0, 1):
        for (owner,) in world.rows(shard, "SELECT owner FROM notes"):
            assert found[str(owner)] == f"shard{shard}"
    assert numbers(client.query("SELECT owner FROM notes ORDER BY owner")) == list(range(102, 110))
    # The key of a row changes: to one on the other shard, and to a new one.
    client.query("UPDATE files SET owner = 3, id = 7 WHERE owner = 2").checked()
    assert world.rows(1, "SELECT id, v FROM files WHERE owner = 3 ORDER BY id") == [(1, 3), (7, 2)]
    assert world.rows(0, "SELECT COUNT(*) FROM files WHERE owner = 2") == [(0,)]
    client.query("UPDATE files SET owner = owner + 1000 WHERE owner IN (4, 5)").checked()
    assert numbers(client.query("SELECT v FROM files WHERE owner = 1004")) == [4]
    assert numbers(client.query("SELECT v FROM files WHERE owner = 1005")) == [5]
    found = world.directory()
    for shard in (0, 1):
        for (owner,) in world.rows(shard, "SELECT owner FROM files"):
            assert found[str(owner)] == f"shard{shard}"
    world.shards[0].execute("INSERT INTO files (owner, id, v) VALUES (5000, 1, 99)", database=DATABASE)
    answer = client.query("UPDATE files SET k = 'y' ORDER BY v DESC LIMIT 1")
    assert answer.errno == 1105
    assert "rows with keys that shop.owners does not have" in answer.message
