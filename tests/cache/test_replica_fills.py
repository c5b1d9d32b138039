"""Answers of replicas in the cache: stamped with how far the replica had come, so that its lag is never served."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from proxy.cache.clocks import Clocks, new_incarnation, position_of
from tests.front.raw import Client
from tests.servers import MariaDB, Run, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, SERVICE, SERVICE_PASSWORD


def selects(server: MariaDB) -> int:
    return int(server.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])


def test_stamps_of_replicas_are_at_or_before_what_they_had_applied() -> None:
    clocks = Clocks.create(workers=1, sources=1)
    clock = clocks.source(0)
    clock.begin(new_incarnation(), position_of(3, 4))
    clock.name_log(3, 77)
    assert clock.stamp_of_replica(0, 10**9) is None  # no domain is known
    clock.one_domain(0)
    assert clock.stamp_of_replica(0, 10**9) is None  # no transaction is known
    for sequence in range(100, 300):
        clock.apply(position_of(3, sequence * 10))
        clock.mark_position(position_of(3, sequence * 10), sequence)
    for applied in (236, 250, 299, 300, 10**9):
        stamp = clock.stamp_of_replica(0, applied)
        assert stamp is not None
        assert stamp.position == position_of(3, min(applied, 299) * 10)
        assert (stamp.incarnation, stamp.log_id) == (clock.incarnation, 77)
    assert clock.stamp_of_replica(0, 235) is None  # too far behind for what is remembered
    assert clock.stamp_of_replica(1, 299) is None  # a position in another domain says nothing
    # After a change of definitions, whose position is made up, a replica that has what was before is as good.
    clock.follow(5, [9])
    stamp = clock.stamp_of_replica(0, 299)
    assert stamp is not None
    assert stamp.position == position_of(3, 2990) + 1
    clock.one_domain(None)
    assert clock.stamp_of_replica(0, 299) is None
    clock.one_domain(0)
    clock.stop("gone")
    assert clock.stamp_of_replica(0, 299) is None
    clock.begin(new_incarnation(), position_of(4, 4))
    clock.one_domain(0)
    assert clock.stamp_of_replica(0, 299) is None  # of the incarnation before


@pytest.mark.servers
def test_misses_go_to_the_replica_and_its_lag_is_not_served(run: Run, turnout: Callable[..., Turnout]) -> None:
    primary = run.mariadb("primary")
    primary.create_account(APP, APP_PASSWORD)
    primary.create_service_account(SERVICE, SERVICE_PASSWORD)
    primary.execute(
        f"CREATE DATABASE {DATABASE}",
        f"CREATE TABLE {DATABASE}.items (id INT PRIMARY KEY, v INT NOT NULL)",
        f"USE {DATABASE}",
        "INSERT INTO items SELECT seq, 1 FROM seq_1_to_500",
    )
    replica = run.replica_of(primary)
    proxy = turnout(
        f"users: {{{APP}: {{password: {APP_PASSWORD}}}}}\n"
        f"service: {{user: {SERVICE}, password: {SERVICE_PASSWORD}}}\n"
        f"clusters: {{main: {{primary: '{primary.address}', replicas: ['{replica.address}']}}}}\n"
        f"databases:\n  {DATABASE}:\n    home: main\n"
        "    reads: {from: replicas, max_lag: 60s, own_writes: true}\n"
        "    tables: {items: {cache: {by: [id]}}}\n"
    )
    primary.execute(f"UPDATE {DATABASE}.items SET v = 2 WHERE id = 500")  # the stream sees a transaction's number
    with Client(proxy.port, APP, APP_PASSWORD, DATABASE) as client:

        def read(id: int) -> int:
            return client.query(f"SELECT v FROM items WHERE id = {id}").number

        def served_from_memory() -> bool:
            before = proxy.metric("turnout_cache_hits_total", memory="local")
            for _ in range(20):
                read(1)
            wait_until(lambda: proxy.metric("turnout_statements_total") >= 20, 10)
            time.sleep(1.1)  # workers report once a second
            return proxy.metric("turnout_cache_hits_total", memory="local") - before > 10

        wait_until(served_from_memory, 60)

        before = selects(primary), selects(replica)
        for id in range(100, 400):
            assert read(id) == 1
            assert read(id) == 1
        asked_primary, asked_replica = selects(primary) - before[0], selects(replica) - before[1]
        assert asked_replica >= 300 > asked_primary

        # A replica that falls behind: it may answer, as the rules allow, but memory must not repeat what it says.
        replica.set_delay(30)
        primary.execute(f"UPDATE {DATABASE}.items SET v = 2 WHERE id = 7")
        time.sleep(1.0)  # twice max_staleness: from here on only the replica may not know it
        before_reads = selects(replica) + selects(primary)
        answers = [read(7) for _ in range(60)]
        asked = selects(replica) + selects(primary) - before_reads
        assert set(answers) <= {1, 2}
        assert answers[0] == 2 or asked >= 60, (answers, asked)

        # Through Turnout the session sees its own write, and so does memory, whatever the replica has.
        client.query("UPDATE items SET v = 3 WHERE id = 8").checked()
        assert [read(8) for _ in range(20)] == [3] * 20
