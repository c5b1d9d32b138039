"""Sequences on real servers: where they begin, ids that clients give, several proxies, and what a failure says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from proxy.front.sequences import CREATE
from tests.front.raw import Client, Statement
from tests.sequences.conftest import World, ids
from tests.servers.mariadb import OWN_GRANTS
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD, SERVICE

pytestmark = pytest.mark.servers
Connect = Callable[..., Client]


def insert(client: Client, count: int = 1) -> int:
    """Rows into `orders` whose ids are made; the first of them."""
    rows = ", ".join("(1, 'made')" for _ in range(count))
    return client.query(f"INSERT INTO orders (customer_id, k) VALUES {rows}").checked().insert_id


def test_begins_above_what_the_shards_have_and_had(world: World, connect: Connect) -> None:
    world.shards[0].execute("INSERT INTO shop.orders (id, customer_id) VALUES (41, 8)")
    world.shards[1].execute("INSERT INTO shop.orders (id, customer_id) VALUES (99, 1)", "DELETE FROM shop.orders")
    client = connect(world.start())
    assert insert(client) == 100, "the counter of a shard remembers 99"
    assert client.query("INSERT INTO members (k) VALUES ('a')").insert_id == 2000001
    assert ids(client.query("SELECT id FROM orders ORDER BY id")) == [41, 100]


def test_show_tells_of_them(world: World, connect: Connect) -> None:
    proxy = world.start()
    client = connect(proxy)
    insert(client, 3)
    with Client(proxy.port, OPS, OPS_PASSWORD, DATABASE) as admin:
        answer = admin.query("SHOW TURNOUT SEQUENCES").checked()
    names = [column.name for column in answer.columns]
    assert names == [b"cluster", b"sequence", b"next_id", b"at_hand", b"block", b"workers", b"problem"]
    shown = {row[1]: row for row in answer.rows}
    next_id = world.sequence("orders")[0]
    row = shown[b"shop.orders"]
    assert row[0] == b"main"
    assert int(row[2] or 0) == next_id
    assert 0 < int(row[3] or 0) < next_id
    assert (row[5], row[6]) == (b"1", b"")
    world.main.execute("DROP TABLE turnout.sequences")
    with Client(proxy.port, OPS, OPS_PASSWORD, DATABASE) as admin:
        (row,) = admin.query("SHOW TURNOUT SEQUENCES").checked().rows
    assert (row[:3], b"turnout.sequences" in (row[6] or b"")) == ((b"main", b"shop.orders", None), True)


def test_explicit_ids_are_never_made_again(world: World, connect: Connect) -> None:
    client = connect(world.start())
    last = insert(client)
    for ahead in (1, 2, 6, 7, 50, 3000):
        client.query(f"INSERT INTO orders (id, customer_id, k) VALUES ({last + ahead}, 8, 'given')").checked()
        for _ in range(5):
            last = max(last, insert(client))
    for number in (last + 4000, last + 4002):
        statement = client.prepare("INSERT INTO orders (id, customer_id, k) VALUES (?, 8, 'given')")
        assert isinstance(statement, Statement)
        client.execute(statement, number).checked()
        insert(client, 40)
    found = world.column("orders")
    assert len(found) == len(set(found)) == 1 + 6 * 6 + 2 * 41


def test_an_explicit_id_in_the_block_of_another_proxy(world: World, connect: Connect) -> None:
    one, other = connect(world.start()), connect(world.start())
    mine, its = insert(one), insert(other)
    assert its > mine + 1, "each has a block of its own"
    wanted = range(its + 1, its + 6)
    for number in wanted:
        one.query(f"INSERT INTO orders (id, customer_id, k) VALUES ({number}, 8, 'given')").checked()
    assert world.sequence("orders")[2] > 1, "the blocks were taken away"
    made = [insert(other) for _ in range(20)] + [insert(one) for _ in range(20)]
    assert not set(made) & set(wanted)
    found = world.column("orders")
    assert len(found) == len(set(found)) == 47
    # Once is enough: ids below are free for all.
    before = world.sequence("orders")[2]
    for number in range(its + 6, before):
        if number not in found:
            other.query(f"INSERT INTO orders (id, customer_id, k) VALUES ({number}, 8, 'given')").checked()
    assert world.sequence("orders")[2] == before
    found = world.column("orders")
    assert len(found) == len(set(found))


def test_rows_written_again_by_their_ids_take_no_blocks_away(world: World, connect: Connect) -> None:
    one, other = connect(world.start()), connect(world.start())
    for client in (one, other):
        client.query("INSERT INTO items (customer_id, k) VALUES (1, 'first')")
        client.query("DELETE FROM items WHERE customer_id = 1").checked()
    made = [one.query(f"INSERT INTO items (customer_id, k) VALUES (8, '{n}')").checked().insert_id for n in range(5)]
    before = world.sequence("items")[2]
    for number in made:
        other.query(f"REPLACE INTO items (customer_id, id, k) VALUES (8, {number}, 'again {number}')").checked()
        sql = f"INSERT INTO items (customer_id, id, k) VALUES (8, {number}, 'x') ON DUPLICATE KEY UPDATE v = 5"
        assert other.query(sql).checked().affected_rows == 2
    assert world.sequence("items")[2] == before
    assert sorted(map(str, world.column("items", "v"))) == ["5"] * 5


def test_a_sequence_that_went_back_is_moved_on(world: World, connect: Connect) -> None:
    client = connect(world.start())
    made = {insert(client, 5) for _ in range(10)}
    world.main.execute("UPDATE turnout.sequences SET next_id = 1, handed_out = 1, void_below = 1")
    made |= {insert(client, 5) for _ in range(10)}
    world.main.execute("DELETE FROM turnout.sequences")
    made |= {insert(client, 5) for _ in range(10)}
    assert len(made) == 30
    found = world.column("orders")
    assert len(found) == len(set(found)) == 150


def test_blocks_grow_with_use(world: World, connect: Connect) -> None:
    client = connect(world.start())
    updates = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'COM_UPDATE'"
    before = int(world.main.execute(updates)[0][0])
    for _ in range(40):
        insert(client, 50)
    blocks = int(world.main.execute(updates)[0][0]) - before
    assert blocks < 30, "far fewer than statements"
    assert len(set(world.column("orders"))) == 2000


def test_an_idle_worker_asks_home_nothing(world: World, connect: Connect) -> None:
    client = connect(world.start())
    insert(client)
    wait_until(lambda: world.sequence("orders")[0] > 0, 10)
    position = world.main.gtid_position()
    insert(client)  # within a lease or not: at most a look
    assert world.main.gtid_position() == position


def test_without_the_privilege_the_error_says_what_to_grant(world: World, connect: Connect) -> None:
    world.main.execute(f"REVOKE {OWN_GRANTS} FROM {SERVICE}@'%'")
    try:
        client = connect(world.start())
        answer = client.query("INSERT INTO orders (customer_id) VALUES (1)")
        assert (answer.errno, answer.ok) == (1105, False)
        assert "GRANT SELECT, INSERT, UPDATE, CREATE ON turnout.*" in answer.message
        assert answer.message.startswith(f"On cluster {answer.message.split()[2].rstrip(':')}: GRANT")
        assert f"TO '{SERVICE}'@'%';" in answer.message
        assert client.query("SELECT COUNT(*) FROM orders").number == 0
    finally:
        world.main.execute(f"GRANT {OWN_GRANTS} TO {SERVICE}@'%'")
    insert(client)


def test_check_says_what_is_missing(world: World) -> None:
    def found() -> str:
        argv = [sys.executable, "-m", "proxy.cli.main", "check", str(proxy.rules_path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "500"})
        assert done.returncode == 0, done
        return done.stdout + done.stderr

    world.main.execute(f"REVOKE {OWN_GRANTS} FROM {SERVICE}@'%'")
    try:
        proxy = world.start()
        assert "GRANT SELECT, INSERT, UPDATE, CREATE ON turnout.*" in found()
    finally:
        world.main.execute(f"GRANT {OWN_GRANTS} TO {SERVICE}@'%'")
    said = found()
    assert "note: clusters" in said
    assert "The table turnout.sequences is not there yet: Turnout makes it when it starts." in said
    assert "GRANT" not in said
    assert not world.main.execute("SHOW DATABASES LIKE 'turnout'"), "check changes nothing"
    world.main.execute(*CREATE)
    assert "turnout.sequences" not in found()


@pytest.mark.thorough
def test_home_that_hangs_is_no_reason_to_wait_for_ever(world: World, connect: Connect) -> None:
    client = connect(world.start())
    insert(client)
    lock = world.main.admin("turnout")
    try:
        with lock.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT * FROM sequences FOR UPDATE")
        began = time.monotonic()
        answer = client.query("INSERT INTO orders (customer_id) VALUES (1)")
        while answer.ok:  # there are ids left, and they are valid
            assert time.monotonic() - began < 60
            answer = client.query("INSERT INTO orders (customer_id) VALUES (1)")
        assert answer.errno in (1205, 1159), answer
    finally:
        lock.close()
    insert(client)


class Base(orm.DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    customer_id: orm.Mapped[int]
    k: orm.Mapped[str] = orm.mapped_column(sa.String(40))


def test_sqlalchemy_objects_get_their_ids(world: World) -> None:
    proxy = world.start()
    engine = sa.create_engine(f"mysql+pymysql://{APP}:{APP_PASSWORD}@{proxy.address}/{DATABASE}")
    try:
        with orm.Session(engine) as session:
            orders = [Order(customer_id=customer, k=f"order {customer}") for customer in (1, 8, 2, 9)]
            session.add_all(orders)
            session.commit()
            numbers = [order.id for order in orders]
            assert len(set(numbers)) == 4
        with orm.Session(engine) as session:
            for order, number in zip((1, 8, 2, 9), numbers):
                found = session.get(Order, number)
                assert found is not None
                assert (found.customer_id, found.k) == (order, f"order {order}")
    finally:
        engine.dispose()


def test_pymysql_lastrowid(world: World) -> None:
    connection = world.start().connect(APP, APP_PASSWORD, DATABASE)
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (customer_id, k) VALUES (%s, %s)", (8, "x"))
            first = cursor.lastrowid
            cursor.executemany("INSERT INTO orders (customer_id, k) VALUES (%s, %s)", [(1, "y"), (8, "z")])
            assert cursor.lastrowid == first + 1
            cursor.execute("SELECT k FROM orders WHERE id BETWEEN %s AND %s ORDER BY id", (first, first + 2))
            assert [row[0] for row in cursor.fetchall()] == ["x", "y", "z"]
    finally:
        connection.close()
