"""What clients see when a server dies, hangs, fills up or turns read-only, and when a worker dies.

docs/FAILURES.md tells operators the same; what it says about times and errors is asserted here.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pymysql
import pytest
from pymysql.connections import Connection

from tests.failure.conftest import HEALTH, Farm
from tests.failure.load import Load, Worker
from tests.front.raw import IN_TRANS, Answer, Client, Disconnected
from tests.servers import MariaDB, Run, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, SERVICE, SERVICE_PASSWORD
from tests.sizes import seed

pytestmark = [pytest.mark.servers, pytest.mark.thorough]
SEED = seed()
# health.every until the next probe begins, health.timeout until it is given up; the rest is for a busy machine.
NOTICED_S = 0.5 + 2.0
MARGIN_S = 3.0
UNREACHABLE, LOST, NOT_ANSWERING = 1429, 1158, 1159
Start = Callable[[str], Turnout]


def connect(proxy: Turnout, timeout_s: float = NOTICED_S + MARGIN_S) -> Client:
    return Client(proxy.port, APP, APP_PASSWORD, DATABASE, timeout_s=timeout_s)


def workers(proxy: Turnout) -> list[int]:
    return proxy.named("turnout-worker")


def up(proxy: Turnout, name: str, workers: int = 2) -> bool:
    """Whether all workers see the cluster's primary, or main's replica, up: by the log, as metrics are a second old."""
    where = "cluster main, replica" if name == "replica" else f"cluster {name}, primary"
    last: dict[int, str] = {}
    for line in proxy.log_text().splitlines():
        if '"turnout.health"' in line and where in line:
            event = json.loads(line)
            last[event["worker"]] = event["event"]
    return list(last.values()) == ["server up"] * workers


def all_up(proxy: Turnout, farm: Farm) -> None:
    wait_until(lambda: all(up(proxy, name) for name in farm.targets), 10)


def kill(server: MariaDB) -> None:
    server.kill()


def stop(server: MariaDB) -> None:
    server.pause()


def bring_back(server: MariaDB) -> None:
    if server.alive:
        server.resume()
    else:
        server.start()


@pytest.mark.parametrize("how", [kill, stop])
@pytest.mark.parametrize("name", ["main", "media", "shard1"])
def test_a_primary_fails_under_load(farm: Farm, shared: Turnout, name: str, how: Callable[[MariaDB], None]) -> None:
    server, target = farm.server(name), farm.targets[name]
    all_up(shared, farm)
    before = farm.hits(target)
    with Load(shared, list(farm.targets.values()), 3, NOTICED_S + MARGIN_S, SEED) as load:
        victims = load.of(name)
        # Reads of main's replica: it reports no lag while it cannot reach a primary that was killed (docs/FAILURES.md).
        related = load.of("replica") if name == "main" else []
        others = [w for w in load.workers if w not in victims and w not in related]
        load.progress(load.workers, 20, 10)
        assert not load.failures(), f"seed {SEED}"
        fell = time.monotonic()
        how(server)
        try:
            wait_until(lambda: all(len(w.failures) > 3 for w in victims), NOTICED_S + MARGIN_S)
            load.progress(others, 20, 10)
            wait_until(lambda: shared.metric("turnout_server_up", cluster=name, role="primary") == 0, 5)
            _fails_at_once(shared, farm, name)
        finally:
            bring_back(server)
        load.progress(load.workers, 5, 15)
        wait_until(lambda: up(shared, name), 5)
        wait_until(lambda: up(shared, "replica"), 5)
        recovered = time.monotonic()
        load.progress(load.workers, 40, 15)
    assert not load.wrong(), f"seed {SEED}"
    assert not load.failures(others), f"seed {SEED}: other clusters go on"
    for worker in victims + related:
        named = False  # the failure before said which server it was
        for failure in worker.failures:
            assert fell - NOTICED_S - MARGIN_S < failure.sent < recovered, f"{failure}, {recovered}"
            assert failure.took_s < NOTICED_S + MARGIN_S, failure
            if failure.errno == 0 and named:  # lost right after its answer: the error, then the end of the connection
                named = False
                continue
            named = True
            assert failure.errno in (UNREACHABLE, LOST, NOT_ANSWERING), failure
            assert f"cluster {name}, primary" in failure.message, failure
            assert failure.message.count(server.address) == 1, failure
    _writes_happened_once(farm, target.name, before, victims)


def _fails_at_once(proxy: Turnout, farm: Farm, name: str) -> None:
    """A statement on a server that is known to be down does not wait; the session goes on with other clusters."""
    target, other = farm.targets[name], farm.targets["media" if name != "media" else "main"]
    with connect(proxy) as client:
        began = time.monotonic()
        answer = client.query(f"SELECT v FROM {target.table} WHERE id = {target.keys[0]}")
        assert time.monotonic() - began < 1, answer
        assert (answer.errno, answer.sqlstate) == (UNREACHABLE, "HY000"), answer
        assert f"Unable to connect to cluster {name}, primary" in answer.message
        assert client.run(f"SELECT id FROM {other.table} WHERE id = {other.keys[0]}").number == other.keys[0]


def _writes_happened_once(farm: Farm, name: str, before: int, workers: list[Worker]) -> None:
    """What was acknowledged is there, and nothing twice."""
    done = farm.hits(farm.targets[name]) - before
    acknowledged = sum(w.acknowledged for w in workers)
    assert acknowledged <= done <= acknowledged + sum(w.uncertain for w in workers)


@pytest.mark.parametrize("how", [kill, stop])
def test_a_replica_fails_under_load(farm: Farm, shared: Turnout, how: Callable[[MariaDB], None]) -> None:
    """Reads are asked of the primary instead: at once when it died, when it is found to hang otherwise."""
    replica = farm.server("replica")
    all_up(shared, farm)
    targets = [farm.targets[name] for name in ("main", "replica", "media")]
    with Load(shared, targets, 4, NOTICED_S + MARGIN_S, SEED) as load:
        readers = load.of("replica")
        others = [w for w in load.workers if w not in readers]
        load.progress(load.workers, 20, 10)
        wait_until(lambda: _reads_there(replica, load, readers), 10)
        fell = time.monotonic()
        how(replica)
        try:
            wait_until(lambda: all(w.answered_at > fell + 0.5 for w in readers), NOTICED_S + MARGIN_S)
            wait_until(lambda: not up(shared, "replica"), NOTICED_S + MARGIN_S)
            known = time.monotonic()
            load.progress(load.workers, 40, 10)
        finally:
            bring_back(replica)
        wait_until(lambda: up(shared, "replica"), 10)
        wait_until(lambda: _reads_there(replica, load, readers), 15)
        load.progress(load.workers, 20, 10)
    assert not load.wrong(), f"seed {SEED}"
    assert not load.failures(others), f"seed {SEED}"
    if how is kill:
        assert not load.failures(readers), f"seed {SEED}"
    for failure in load.failures(readers):
        # Only what had to wait for a new connection to the stopped replica.
        assert failure.errno in (UNREACHABLE, NOT_ANSWERING), failure
        assert "cluster main, replica" in failure.message, failure
        assert failure.sent < known, failure


def _reads_there(replica: MariaDB, load: Load, readers: list[Worker]) -> bool:
    before = _selects(replica)
    load.progress(readers, 5, 10)
    return _selects(replica) - before >= 10


def _selects(server: MariaDB) -> int:
    return int(server.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])


def test_a_restart_between_statements_is_not_noticed(farm: Farm, shared: Turnout) -> None:
    """Pooled connections of before are gone, and no statement is tried on one of them."""
    media = farm.server("media")
    all_up(shared, farm)
    with connect(shared) as one, connect(shared) as two:
        for end in (media.stop, media.kill):
            for client in (one, two):
                client.run("SET @carried := 7", "SELECT COUNT(*) FROM photos")
            end()
            media.start()
            wait_until(lambda: up(shared, "media"), 10)
            for client in (one, two):
                assert client.run("SELECT COUNT(*) FROM photos").number == len(farm.targets["media"].keys)
                assert client.run("SELECT @carried").number == 7


def test_a_transaction_whose_server_dies(farm: Farm, shared: Turnout) -> None:
    """The error, then the end of the client's connection: nothing it still sends may run outside the transaction."""
    media = farm.server("media")
    all_up(shared, farm)
    total = "SELECT SUM(hits) FROM photos"
    before = farm.hits(farm.targets["media"])
    with connect(shared) as idle, connect(shared) as busy, connect(shared) as apart:
        for key, client in enumerate((idle, busy)):
            client.run("BEGIN", f"UPDATE photos SET hits = hits + 1 WHERE id = {key}")
        assert apart.run("BEGIN", "SELECT COUNT(*) FROM orders").status & IN_TRANS
        busy.send("SELECT SLEEP(20), id FROM photos LIMIT 1")
        wait_until(lambda: _runs(media, "SLEEP(20)"), 5)
        media.kill()
        lost = busy.receive()
        assert lost.errno == LOST, lost
        assert "Lost the connection to cluster media, primary" in lost.message
        with pytest.raises((Disconnected, ConnectionError)):
            busy.query("SELECT 1")
        late = _error_or_end(idle, "UPDATE photos SET hits = hits + 1 WHERE id = 2")
        if late is not None:
            assert late.errno == LOST, late
            with pytest.raises((Disconnected, ConnectionError)):
                idle.query("SELECT 1")
        assert apart.run("COMMIT").ok, "a transaction on another cluster goes on"
        media.start()
        wait_until(lambda: up(shared, "media"), 10)
        assert apart.run(total).number == before


def _error_or_end(client: Client, sql: str) -> Answer | None:
    """An error, or None for the end of the connection."""
    try:
        answer = client.query(sql)
    except (Disconnected, ConnectionError):
        return None
    assert answer.errno, answer
    return answer


def _runs(server: MariaDB, text: str) -> bool:
    sql = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%{text}%' AND ID <> CONNECTION_ID()"
    return bool(server.execute(sql)[0][0])


def test_a_write_is_never_repeated(farm: Farm, shared: Turnout) -> None:
    """The primary is killed at random moments of single INSERTs: each token is there at most once, and every one that
    was acknowledged is. (The table has no unique key that could hide a repetition.)"""
    media = farm.server("media")
    rng = random.Random(SEED)
    all_up(shared, farm)
    tokens = itertools.count(1)
    sent: list[int] = []
    acknowledged: list[int] = []
    unexpected: list[str] = []
    ended = threading.Event()

    def insert() -> None:
        client: Client | None = None
        while not ended.is_set():
            try:
                client = client or connect(shared)
                token = next(tokens)
                sent.append(token)
                answer = client.query(f"INSERT INTO photos_log VALUES ({token})")
                if answer.ok:
                    acknowledged.append(token)
                elif answer.errno not in (UNREACHABLE, LOST, NOT_ANSWERING):
                    unexpected.append(str(answer))
                    return
                else:
                    ended.wait(0.02)
            except (Disconnected, ConnectionError):  # the server was lost between its answer and a question of ours
                if client is not None:
                    client.abort()
                client = None
            except TimeoutError as error:
                unexpected.append(repr(error))
                return
        if client is not None:
            client.abort()

    def reach(goal: int) -> None:
        wait_until(lambda: len(acknowledged) >= goal or bool(unexpected), 15, 0.001)

    threads = [threading.Thread(target=insert, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            reach(len(acknowledged) + rng.randrange(50, 150))
            media.kill()
            media.start()
        reach(len(acknowledged) + 50)
    finally:
        ended.set()
        for thread in threads:
            thread.join(10)
    assert not unexpected, f"seed {SEED}"
    found = [row[0] for row in media.execute(f"SELECT token FROM {DATABASE}.photos_log")]
    assert len(found) == len(set(found)), f"seed {SEED}: a write was repeated"
    assert set(acknowledged) <= set(found) <= set(sent), f"seed {SEED}"


def test_a_read_only_primary(farm: Farm, shared: Turnout) -> None:
    """Its own error reaches the client; reads and other clusters go on."""
    media = farm.server("media")
    all_up(shared, farm)
    update = "UPDATE photos SET hits = hits + 0 WHERE id = 1"
    try:
        media.execute("SET GLOBAL read_only = 1")
        with connect(shared) as client:
            for _ in range(2):
                refused = client.query(update)
                assert (refused.errno, refused.sqlstate) == (1290, "HY000"), refused
                assert client.run("SELECT COUNT(*) FROM photos").number == len(farm.targets["media"].keys)
                client.run("UPDATE orders SET hits = hits + 0 WHERE id = 1")
            refused = client.run("BEGIN") and client.query(update)
            assert refused.errno == 1290, refused
            assert client.run("ROLLBACK").ok
            assert up(shared, "media"), "a server that takes no writes is not down"
            media.execute("SET GLOBAL read_only = 0")
            assert client.run(update).ok
    finally:
        media.execute("SET GLOBAL read_only = 0")


def test_a_server_out_of_connections(turnout: Start, run: Run) -> None:
    """Statements are served in turn over the connections that there are; the server is not down for that."""
    server = run.mariadb("small", options=["--max-connections=10"])
    server.create_account(APP, APP_PASSWORD, "SELECT, INSERT, UPDATE ON *.*")  # root's is the one beyond the limit
    server.create_service_account(SERVICE, SERVICE_PASSWORD)
    server.execute(f"CREATE DATABASE {DATABASE}", f"CREATE TABLE {DATABASE}.t (id INT PRIMARY KEY)")
    proxy = turnout(
        f"workers: 1\nusers: {{{APP}: {{password: {APP_PASSWORD}}}}}\n"
        f"service: {{user: {SERVICE}, password: {SERVICE_PASSWORD}}}\n"
        f"clusters: {{main: {{primary: '{server.address}'}}}}\n"
        f"databases: {{{DATABASE}: {{home: main}}}}\npool: {{wait: 1s}}\n{HEALTH}"
    )
    foreign = [server.connect(APP, APP_PASSWORD) for _ in range(5)]  # one is the probe's, so that 4 are left
    clients = [connect(proxy, 10) for _ in range(12)]
    try:
        for round_ in range(3):
            for client in clients:
                client.send(f"SELECT SLEEP(0.05), {round_}")
            for client in clients:
                assert client.receive().checked().rows == ((b"0", b"%d" % round_),)
        wait_until(lambda: proxy.metric("turnout_server_connection_failures_total", cluster="main") > 0, 5)
        # All of them taken by transactions: who comes now waits for pool.wait, and is told why it was in vain.
        holders, late = clients[:4], clients[5]
        for client in holders:
            client.run("BEGIN", "SELECT * FROM t")
        began = time.monotonic()
        refused = late.query("SELECT COUNT(*) FROM t")
        assert refused.errno == 1040, refused
        assert "cluster main, primary" in refused.message
        assert time.monotonic() - began < 1 + MARGIN_S
        assert holders[0].run("COMMIT").ok
        assert late.run("SELECT COUNT(*) FROM t").number == 0
        # The probe's connection is lost, too, and somebody else takes its place.
        wait_until(lambda: _takes_the_place_of_the_probe(server, foreign), 15)
        wait_until(lambda: '"server full"' in proxy.log_text(), 5)
        assert late.run("SELECT COUNT(*) FROM t").number == 0
        assert holders[1].run("SELECT COUNT(*) FROM t").status & IN_TRANS
        for connection in foreign:
            connection.close()
        wait_until(lambda: up(proxy, "main", workers=1), 5)
        for client in holders:
            assert client.run("COMMIT").ok
        assert '"server down"' not in proxy.log_text()
    finally:
        for client in clients:
            client.abort()
        for connection in foreign:
            if connection.open:
                connection.close()
        server.kill()


def _probes(server: MariaDB) -> set[int]:
    """The connections of the service account."""
    return {row[0] for row in server.execute("SHOW PROCESSLIST") if row[1] == SERVICE}


def _takes_the_place_of_the_probe(server: MariaDB, connections: list[Connection]) -> bool:
    try:
        server.execute(*(f"KILL {probe}" for probe in _probes(server)), "DO 1")
        connections.append(server.connect(APP, APP_PASSWORD))
    except pymysql.err.OperationalError as error:
        if error.args[0] not in (1040, 1094):  # no place yet, even for root; the probe has gone by itself
            raise
        return False
    return True


def test_a_probe_that_is_killed_says_nothing_about_its_server(farm: Farm, shared: Turnout) -> None:
    media = farm.server("media")
    all_up(shared, farm)
    said = len(shared.log_text())
    with connect(shared, 10) as client:
        client.run("BEGIN", "UPDATE photos SET hits = hits + 0 WHERE id = 1")
        for _ in range(2):
            wait_until(lambda: len(_probes(media)) == 2, 10)  # one of each worker
            before = _probes(media)
            media.execute(*(f"KILL {probe}" for probe in before))
            _replaced(media, before)
            assert client.run("SELECT COUNT(*) FROM photos").status & IN_TRANS, "the transaction lives"
        assert client.run("COMMIT").ok
    assert '"server down"' not in shared.log_text()[said:]


def _replaced(server: MariaDB, before: set[int]) -> None:
    wait_until(lambda: len(_probes(server)) == len(before) and not _probes(server) & before, 10)


def test_a_worker_is_killed_under_load(farm: Farm, shared: Turnout) -> None:
    """Its clients lose their connections, connect again, and are served; the other worker's clients notice nothing."""
    all_up(shared, farm)
    rng = random.Random(SEED)
    restarts = shared.metric("turnout_worker_restarts_total")
    before = {name: farm.hits(target) for name, target in farm.targets.items() if name != "replica"}
    with Load(shared, list(farm.targets.values()), 3, NOTICED_S + MARGIN_S, SEED) as load:
        load.progress(load.workers, 20, 10)
        victim = rng.choice(workers(shared))
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: shared.metric("turnout_worker_restarts_total") == restarts + 1, 10)
        wait_until(lambda: len(workers(shared)) == 2, 10)
        wait_until(shared.ready, 10)
        load.progress(load.workers, 40, 15)
    assert not load.wrong(), f"seed {SEED}"
    for worker in load.workers:
        # The end of its connection; a new one may be dealt to the dying process, too, until its sockets are gone.
        assert all(f.errno == 0 and f.sent < killed + 1 for f in worker.failures), f"seed {SEED}: {worker.failures}"
    assert any(worker.failures for worker in load.workers)
    for name, count in before.items():
        if name in ("main", "media"):
            _writes_happened_once(farm, name, count, load.of(name))
