"""The stream process against a real server: what it touches, and that it notices whatever happens to the log."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from proxy.back.connection import ServerConnection
from proxy.back.tags import CLUSTER_SLOT
from proxy.cache.clocks import OFFSET_BITS
from proxy.stream import process as module
from proxy.stream import source as source_module
from proxy.stream.probe import Found, SnapshotProbe
from tests.cache.stamped import stamped
from tests.servers import MariaDB, Run
from tests.servers.process import wait_until
from tests.stream.following import NOTES, ORDERS, SCHEMA, Following, Memory, by_customer, by_id
from tests.stream.reading import PASSWORD, USER, end_of_log

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server(run: Run) -> Iterator[MariaDB]:
    """One that tests restart, reset and reconfigure, and leave running."""
    started = run.mariadb("followed", options=["--max-allowed-packet=64M"])
    started.create_service_account()
    yield started
    started.kill()


@pytest.fixture(autouse=True)
def schema(server: MariaDB) -> None:
    server.execute(*SCHEMA)


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_writes_are_touched_by_key(server: MariaDB, memory: Memory) -> None:
    with Following(server, memory) as stream:
        stream.follows()
        stamp = stream.stamp()
        tags = [by_id(1), by_id(2), by_customer("ann"), by_customer("bob"), ORDERS, NOTES, CLUSTER_SLOT]
        assert all(stream.fresh(stamp, tag) for tag in tags)
        server.execute("INSERT INTO shop.orders VALUES (1, 'Ann', 1)")
        assert [stream.fresh(stamp, tag) for tag in tags] == [False, True, False, True, True, True, True]
        stamp = stream.stamp()
        assert all(stream.fresh(stamp, tag) for tag in tags)
        server.execute("UPDATE shop.orders SET id = 2, customer = 'BOB'")
        assert [stream.fresh(stamp, tag) for tag in tags] == [False, False, False, False, True, True, True]
        server.execute("TRUNCATE shop.orders")
        assert not stream.fresh(stamp, ORDERS)
        assert stream.fresh(stamp, NOTES)
        server.execute("GRANT SELECT ON *.* TO turnout")
        assert not stream.fresh(stamp, CLUSTER_SLOT)
        assert stream.progress.rows == 2
        assert stream.progress.unknown == 0


def test_a_changed_definition_is_read_anew(server: MariaDB, memory: Memory) -> None:
    with Following(server, memory) as stream:
        stream.follows()
        server.execute("ALTER TABLE shop.orders MODIFY id BIGINT, ADD COLUMN first INT FIRST")
        server.execute("INSERT INTO shop.orders (id, customer, n) VALUES (9000000000, 'ann', 0)")
        stamp = stream.stamp()

        def keyed() -> bool:
            """Rows are taken apart again: the keys are touched, the table is not."""
            nonlocal stamp
            stamp = stream.stamp()
            server.execute("UPDATE shop.orders SET n = n + 1")
            return stream.fresh(stamp, ORDERS)

        wait_until(keyed, 20)
        assert not stream.fresh(stamp, by_id(9_000_000_000))
        assert not stream.fresh(stamp, by_customer("ann"))
        assert stream.fresh(stamp, by_id(1))


def test_it_resumes_after_its_own_end(server: MariaDB, memory: Memory) -> None:
    with Following(server, memory) as stream:
        stream.follows()
        server.execute("INSERT INTO shop.orders VALUES (1, 'ann', 1), (2, 'bob', 2)")
        stamp = stream.stamp()
        incarnation = stream.clock.incarnation
    stream.clock.stop("the test")  # as the supervisor does it
    assert not stream.clock.fresh(
        stamped(stamp.incarnation, stamp.position, (by_id(1),)), time.perf_counter_ns(), 10**10
    )
    server.execute("UPDATE shop.orders SET n = 5 WHERE id = 1", "FLUSH BINARY LOGS")
    with Following(server, memory) as stream:
        stream.follows()
        assert stream.clock.incarnation == incarnation
        assert stream.progress.incarnations == 0
        # What was written while nobody followed counts as a write to the whole table: it may have been another.
        assert not stream.fresh(stamp, by_id(1), ORDERS)
        assert stream.fresh(stamp, by_id(1), NOTES)


def test_it_follows_from_file_to_file(server: MariaDB, memory: Memory) -> None:
    with Following(server, memory) as stream:
        stream.follows()
        incarnation = stream.clock.incarnation
        stamp = stream.stamp()
        for number in range(1, 6):
            server.execute(f"INSERT INTO shop.orders VALUES ({number}, 'x', 0)", "FLUSH BINARY LOGS")
        assert not any(stream.fresh(stamp, by_id(number)) for number in range(1, 6))
        assert stream.fresh(stamp, by_id(6))
        file = end_of_log(server).number
        stamp = stream.stamp()
        assert stamp.position >> OFFSET_BITS == file
        assert stamp.log_id == stream.clock.log_id(file) != stream.clock.log_id(file - 1) != 0
        assert stream.clock.adopt(stamp.log_id, stamp.position) == incarnation == stream.clock.incarnation


def test_it_begins_anew_after_a_restart_of_the_server(server: MariaDB, memory: Memory) -> None:
    """A crash may have lost what a value has, so nothing from before is served."""
    with Following(server, memory) as stream:
        for end in (server.stop, server.kill):
            stream.follows()
            incarnation = stream.clock.incarnation
            stamp = stream.stamp()
            end()
            stream.until(lambda: not stream.clock.incarnation)
            assert stream.clock.reason
            assert not stream.clock.fresh(
                stamped(stamp.incarnation, stamp.position, (1,)), time.perf_counter_ns(), 10**11
            )
            server.start()
            stream.until(lambda known=incarnation: stream.clock.incarnation not in (0, known))  # type: ignore[misc]
            stream.follows()
            server.execute("REPLACE INTO shop.orders VALUES (1, 'ann', 1)")
            assert not stream.fresh(stamp, by_id(1))
            assert not stream.fresh(stamp, by_id(99))
            stamp = stream.stamp()
            assert stream.fresh(stamp, by_id(1))


def test_it_notices_that_its_place_was_purged(server: MariaDB, memory: Memory) -> None:
    with Following(server, memory) as stream:
        stream.follows()
        stamp = stream.stamp()
    stream.clock.stop("the test")
    server.execute("FLUSH BINARY LOGS", "INSERT INTO shop.orders VALUES (1, 'ann', 1)", "FLUSH BINARY LOGS")
    file = end_of_log(server).file

    def purged() -> bool:  # not while the server believes that its dump goes on
        server.execute(f"PURGE BINARY LOGS TO '{file}'")
        return [row[0] for row in server.execute("SHOW BINARY LOGS")] == [file]

    wait_until(purged, 20)
    with Following(server, memory) as stream:
        stream.follows()
        assert stream.clock.incarnation != stamp.incarnation
        assert not stream.fresh(stamp, by_id(2))


def test_it_notices_that_the_log_was_reset(server: MariaDB, memory: Memory) -> None:
    with Following(server, memory) as stream:
        for _ in range(2):  # the second time in the first file
            stream.follows()
            incarnation = stream.clock.incarnation
            stamp = stream.stamp()
            server.execute("INSERT INTO shop.orders VALUES (NULL, 'ann', 1)", "RESET MASTER")
            stream.until(lambda known=incarnation: stream.clock.incarnation not in (0, known))  # type: ignore[misc]
            assert not stream.fresh(stamp, by_id(77))


def test_it_notices_a_reset_log_that_has_outgrown_the_old_one(server: MariaDB, memory: Memory) -> None:
    server.execute("RESET MASTER")
    with Following(server, memory) as stream:
        stream.follows()
        incarnation = stream.clock.incarnation
        stamp = stream.stamp()
        time.sleep(1.1)  # files are told apart by the second of their creation
        server.execute("RESET MASTER", *["INSERT INTO shop.others VALUES (NULL, REPEAT('x', 100000))"] * 10)
        stream.until(lambda: stream.clock.incarnation not in (0, incarnation))
        assert not stream.fresh(stamp, by_id(1))
        server.execute("INSERT INTO shop.orders VALUES (1, 'ann', 1)")


def test_a_reset_while_nobody_follows(server: MariaDB, memory: Memory) -> None:
    server.execute("RESET MASTER")
    with Following(server, memory) as stream:
        stream.follows()
        stamp = stream.stamp()
    stream.clock.stop("the test")
    time.sleep(1.1)  # files are told apart by the second of their creation
    server.execute("RESET MASTER", *["INSERT INTO shop.orders VALUES (NULL, 'ann', 1)"] * 30)
    with Following(server, memory) as stream:
        stream.follows()
        assert stream.clock.incarnation != stamp.incarnation
        assert not stream.fresh(stamp, by_id(1))


def test_it_notices_a_log_that_is_longer_than_what_is_sent(
    server: MariaDB, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a dump that was left in a deleted file: heartbeats come, and what probes find never does."""
    with Following(server, memory) as stream:
        stream.follows()
        incarnation = stream.clock.incarnation
        server.execute("INSERT INTO shop.orders VALUES (1, 'ann', 1)")
        stream.covered()
        rows = stream.progress.rows
        assert rows > 0
        find = SnapshotProbe.find

        async def ahead(self: SnapshotProbe, connection: ServerConnection) -> Found:
            found = await find(self, connection)
            return Found(found.visible, found.acknowledged + 1000)

        monkeypatch.setattr(SnapshotProbe, "find", ahead)
        stream.until(lambda: "longer" in stream.clock.reason)
        monkeypatch.undo()
        stream.follows()
        assert stream.clock.incarnation == incarnation  # it is the same log after all
        assert stream.progress.connected == 2
        assert stream.progress.rows >= rows  # counters only go up


def test_another_server_behind_the_address(run: Run, memory: Memory) -> None:
    """The same file, a longer log, but not the log that was followed."""
    one, other = run.mariadb("one"), run.mariadb("other")
    for started in (one, other):
        started.create_service_account()
        started.execute(*SCHEMA)
    with Following(one, memory) as stream:
        stream.follows()
        stamp = stream.stamp()
    stream.clock.stop("the test")
    other.execute(*["INSERT INTO shop.orders VALUES (NULL, 'ann', 1)"] * 30)
    assert end_of_log(other).file == end_of_log(one).file
    with Following(other, memory) as stream:
        stream.follows()
        assert stream.clock.incarnation != stamp.incarnation
        assert not stream.fresh(stamp, by_id(1))
    one.kill()
    other.kill()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--binlog-format=MIXED"], "binlog_format=ROW (it is MIXED)"),
        (["--binlog-row-image=MINIMAL"], "binlog_row_image=FULL (it is MINIMAL)"),
        (["--skip-log-bin", "--log-slave-updates=0", "--binlog-format=ROW"], "log_bin"),
        (["--transaction-isolation=READ-UNCOMMITTED"], "another transaction_isolation"),
        (["--binlog-ignore-db=elsewhere"], "leaves databases out of its binary log"),
    ],
)
def test_servers_that_cannot_be_followed(run: Run, memory: Memory, options: list[str], says: str) -> None:
    server = run.mariadb("wrong", options=options)
    server.create_service_account()
    server.execute(*SCHEMA)
    with Following(server, memory) as stream:
        stream.until(lambda: says in stream.progress.reason)
        assert stream.progress.state == "stopped"
        assert says in stream.clock.reason
        assert stream.clock.stamp() is None
    server.kill()


@pytest.mark.parametrize("grants", ["SELECT ON *.*", "SELECT, BINLOG MONITOR ON *.*"])
def test_an_account_without_privileges(server: MariaDB, memory: Memory, grants: str) -> None:
    server.create_account(USER, PASSWORD, grants)
    with Following(server, memory) as stream:
        stream.until(lambda: "GRANT" in stream.progress.reason)
        assert "REPLICATION SLAVE" in stream.clock.reason
        assert stream.clock.incarnation == 0
        server.create_service_account()
        stream.follows()


def test_an_account_that_cannot_log_in(server: MariaDB, memory: Memory) -> None:
    server.create_account(USER, "another", "ALL PRIVILEGES ON *.*")
    with Following(server, memory) as stream:
        stream.until(lambda: "Access denied" in stream.progress.reason)
        server.create_service_account()
        stream.follows()


def test_a_quiet_server_is_followed_by_heartbeats(
    server: MariaDB, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "SILENCE_S", 2.0)
    with Following(server, memory) as stream:
        stream.follows()
        connected, events = stream.progress.connected, stream.progress.events
        stream.until(lambda: stream.progress.events >= events + 6)  # three seconds' worth
        assert stream.progress.connected == connected
        stream.covered()


def test_a_server_that_stops_answering(server: MariaDB, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "SILENCE_S", 1.0)
    with Following(server, memory) as stream:
        stream.follows()
        incarnation = stream.clock.incarnation
        stamp = stream.stamp()
        server.pause()
        try:
            stream.until(lambda: not stream.clock.incarnation)
            assert "sent nothing" in stream.clock.reason or "did not answer" in stream.clock.reason
        finally:
            server.resume()
        stream.follows()
        assert stream.clock.incarnation == incarnation  # the same log, from where it was
        assert stream.fresh(stamp, by_id(1))


def test_an_event_that_cannot_be_read_is_left_out_by_beginning_anew(
    server: MariaDB, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Following(server, memory) as stream:
        stream.follows()
        stamp = stream.stamp()
        incarnation = stream.clock.incarnation

        def fail(*_: object) -> None:
            monkeypatch.undo()
            raise module.ProtocolError("an event that is malformed")

        monkeypatch.setattr(module.Tracker, "feed", fail)
        stream.until(lambda: stream.clock.incarnation not in (0, incarnation))
        stream.follows()
        assert not stream.fresh(stamp, by_id(1))
        assert stream.progress.state == "following"


def test_xa_transactions(server: MariaDB, memory: Memory) -> None:
    with Following(server, memory) as stream:
        stream.follows()
        stamp = stream.stamp()
        connection = server.admin("shop")
        try:
            with connection.cursor() as cursor:
                for statement in (
                    "XA START 'a'",
                    "INSERT INTO orders VALUES (1, 'ann', 1)",
                    "XA END 'a'",
                    "XA PREPARE 'a'",
                ):
                    cursor.execute(statement)
                assert stream.fresh(stamp, by_id(1), CLUSTER_SLOT)  # nobody can see it
                cursor.execute("XA COMMIT 'a'")
        finally:
            connection.close()
        assert not stream.fresh(stamp, by_id(1))
        assert stream.fresh(stamp, by_id(2), CLUSTER_SLOT)
        assert stream.progress.unknown == 0


def test_what_is_logged_by_statement_touches_everything(server: MariaDB, memory: Memory) -> None:
    with Following(server, memory) as stream:
        stream.follows()
        stamp = stream.stamp()
        server.execute("SET SESSION binlog_format = STATEMENT", "INSERT INTO shop.notes VALUES (1, 1)")
        assert not stream.fresh(stamp, CLUSTER_SLOT)


@pytest.mark.parametrize("checksum", ["NONE", "CRC32"])
def test_checksums_that_change_under_way(server: MariaDB, memory: Memory, checksum: str) -> None:
    with Following(server, memory) as stream:
        stream.follows()
        stamp = stream.stamp()
        for value in (checksum, "CRC32" if checksum == "NONE" else "NONE", "CRC32"):
            server.execute(f"SET GLOBAL binlog_checksum = {value}")
            server.execute("INSERT INTO shop.orders VALUES (NULL, 'ann', 1)")
            assert not stream.fresh(stamp, by_customer("ann"))
            stamp = stream.stamp()
            assert stream.fresh(stamp, by_customer("ann"))
