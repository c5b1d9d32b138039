"""What happens around sessions: slow readers, new rules, the ends of a worker and of Turnout, a server's accounts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.front.raw import AUTOCOMMIT, IN_TRANS, Client, Disconnected, LoginFailed
from tests.servers import Shop, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, SERVICE, SERVICE_PASSWORD

pytestmark = pytest.mark.servers
LogIn = Callable[..., Client]
Start = Callable[..., Turnout]
MB = 1 << 20


def home_rules(shop: Shop, more: str = "") -> str:
    return f"{shop.rules()}databases:\n  {DATABASE}: {{home: main}}\n{more}"


def workers(proxy: Turnout) -> list[int]:
    return proxy.named("turnout-worker")


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_slow_reader_of_200_mb_costs_little_memory(turnout: Start, shop_servers: Shop, log_in: LogIn) -> None:
    shop_servers.recreate()
    shop_servers.main.execute("CREATE TABLE t (id INT)", database=DATABASE)
    proxy = turnout(home_rules(shop_servers))
    (worker,) = workers(proxy)
    client, other = log_in(proxy), log_in(proxy)
    client.run("SELECT 1")
    before = peak = resident(worker)
    client.send("SELECT REPEAT('x', 1000000), seq FROM seq_1_to_200")
    received, tail = 0, b""
    while not (received > 200_000_000 and tail[:1] == b"\xfe"):  # EOF: 0xFE, warnings, status
        data = client.socket.recv(MB)
        assert data, "the connection ended"
        received += len(data)
        tail = (tail + data)[-5:]
        if received < 50 * MB:
            time.sleep(0.005)
            if received % (5 * MB) < len(data):
                assert other.run(f"SELECT {received}").number == received, "others are served meanwhile"
        peak = max(peak, resident(worker))
    assert peak - before < 32 * MB, f"{(peak - before) / MB:.0f} MB more"


def test_reload_during_a_transaction(turnout: Start, shop_servers: Shop, log_in: LogIn) -> None:
    """A transaction ends under the rules that it began with; the next one follows the new ones."""
    shop_servers.recreate()
    for server in (shop_servers.main, shop_servers.media):
        server.execute("CREATE TABLE photos (id INT PRIMARY KEY, place VARCHAR(10))", database=DATABASE)
    before = f"{shop_servers.rules('main', 'media')}databases:\n  {DATABASE}: {{home: main}}\n"
    after = f"{before[: before.index('databases:')]}databases:\n  {DATABASE}:\n    home: main\n"
    after += "    tables:\n      photos: {cluster: media}\n"
    proxy = turnout(before)
    old, new = log_in(proxy), log_in(proxy)
    old.run("BEGIN", "INSERT INTO photos VALUES (1, 'main')")
    proxy.reload(after)
    wait_until(lambda: proxy.metric("turnout_rules_reloads_total", outcome="ok") >= 1, 10)
    wait_until(lambda: new.run("SELECT COUNT(*) FROM photos").number == 0, 10)
    new.run("INSERT INTO photos VALUES (10, 'media')")
    old.run("INSERT INTO photos VALUES (2, 'main')")
    assert old.run("SELECT COUNT(*) FROM photos").number == 2
    old.run("COMMIT")
    assert old.run("SELECT GROUP_CONCAT(id) FROM photos").value == b"10"
    assert shop_servers.main.execute(f"SELECT id FROM {DATABASE}.photos ORDER BY id") == ((1,), (2,))
    assert shop_servers.media.execute(f"SELECT id FROM {DATABASE}.photos") == ((10,),)
    proxy.reload("turnout: 1\nclusters: nonsense\n")
    wait_until(lambda: proxy.metric("turnout_rules_reloads_total") >= 2, 10)
    assert old.run("SELECT GROUP_CONCAT(id) FROM photos").value == b"10", "bad rules change nothing"


def test_graceful_stop(turnout: Start, shop_servers: Shop, log_in: LogIn) -> None:
    """Idle clients see the end of their connection at once (an error packet would be taken for the answer to their next
    statement), transactions may end, and a statement that still runs at the deadline fails with error 1053."""
    shop_servers.recreate()
    shop_servers.main.execute("CREATE TABLE t (id INT)", database=DATABASE)
    proxy = turnout(home_rules(shop_servers, "limits: {drain: 2s}\n"))
    idle, finishing, running, stuck, late = (log_in(proxy) for _ in range(5))
    finishing.run("BEGIN", "INSERT INTO t VALUES (1)")
    stuck.run("BEGIN", "INSERT INTO t VALUES (2)")
    running.send("SELECT SLEEP(0.7), 'done'")
    late.send("SELECT SLEEP(30)")
    wait_until(lambda: _running(shop_servers, "SLEEP") == 2, 5)
    proxy.signal(signal.SIGTERM)
    with pytest.raises((Disconnected, ConnectionError)):
        idle.receive()
    wait_until(lambda: proxy.get("/readyz")[0] == 503, 5)
    with pytest.raises((OSError, LoginFailed)):
        Client(proxy.port, APP, APP_PASSWORD, DATABASE)
    assert running.receive().rows == ((b"0", b"done"),)
    assert finishing.run("SELECT COUNT(*) FROM t").number == 1
    assert finishing.run("COMMIT").status & (IN_TRANS | AUTOCOMMIT) == AUTOCOMMIT
    said = late.receive()
    assert (said.errno, said.sqlstate, said.message) == (1053, "08S01", "Server shutdown in progress")
    for client in (finishing, running, stuck, late):
        with pytest.raises((Disconnected, ConnectionError)):
            client.receive()
    wait_until(lambda: not proxy.alive, 10)
    assert proxy.returncode == 0
    wait_until(lambda: shop_servers.main.execute(f"SELECT id FROM {DATABASE}.t") == ((1,),), 5)
    wait_until(lambda: _running(shop_servers, "SLEEP") == 0, 5)


def _running(shop: Shop, text: str) -> int:
    """How many statements with this text run on main."""
    sql = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%{text}%' AND ID <> CONNECTION_ID()"
    return int(shop.main.execute(sql)[0][0])


def test_a_worker_that_is_killed_is_replaced(turnout: Start, shop_servers: Shop, log_in: LogIn) -> None:
    shop_servers.recreate()
    shop_servers.main.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 0)", database=DATABASE
    )
    proxy = turnout(home_rules(shop_servers, "workers: 2\n"))
    clients = [log_in(proxy) for _ in range(16)]
    by_slot: dict[int, list[Client]] = {}
    for client in clients:
        by_slot.setdefault(client.id % 64, []).append(client)
    assert sorted(by_slot) == [0, 1], "the kernel spreads clients over both workers"
    for client in clients:
        client.run("BEGIN", "SELECT n FROM t")
    by_slot[0][0].run("UPDATE t SET n = 5 WHERE id = 1")
    victim = _process_of(proxy, by_slot[0][0])
    os.kill(victim, signal.SIGKILL)
    for client in by_slot[1]:
        assert client.run("SELECT n FROM t").value == b"0", "the other worker's clients notice nothing"
        client.run("COMMIT")
    for client in by_slot[0]:
        with pytest.raises((Disconnected, ConnectionError)):
            client.query("SELECT 1")
    wait_until(lambda: len(workers(proxy)) == 2, 10)

    def served_by_slot_0() -> bool:
        fresh = log_in(proxy)
        assert fresh.run("UPDATE t SET n = n + 1 WHERE id = 1").affected_rows == 1
        return fresh.id % 64 == 0

    wait_until(served_by_slot_0, 20)
    assert proxy.metric("turnout_worker_restarts_total") == 1


def _process_of(proxy: Turnout, client: Client) -> int:
    """The worker that has the client's connection."""
    port = client.socket.getsockname()[1]
    for pid in workers(proxy):
        inodes = set()
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(entry)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[2].endswith(f":{port:04X}") and fields[9] in inodes:
                return pid
    raise AssertionError("no worker has this client")


def test_accounts_from_a_servers_own_grant_tables(turnout: Start, shop_servers: Shop, log_in: LogIn) -> None:
    shop_servers.recreate()
    main = shop_servers.main
    main.execute("CREATE TABLE t (id INT)", database=DATABASE)
    main.create_account("granted", "first", f"SELECT ON {DATABASE}.*")
    text = shop_servers.rules()
    text = text[text.index("service:") :]
    proxy = turnout(f"users_from: main\n{text}databases:\n  {DATABASE}: {{home: main}}\n")
    client = Client(proxy.port, "granted", "first", DATABASE)
    assert client.run("SELECT COUNT(*) FROM t").number == 0
    assert client.query("INSERT INTO t VALUES (1)").errno == 1142, "privileges are the server's business"
    with pytest.raises(LoginFailed) as refused:
        Client(proxy.port, "granted", "wrong", DATABASE)
    assert refused.value.errno == 1045
    with pytest.raises(LoginFailed) as unknown:
        Client(proxy.port, "nobody", "x", DATABASE)
    assert unknown.value.errno == 1045
    with pytest.raises(LoginFailed) as elsewhere:
        Client(proxy.port, "granted", "first", "mysql")
    assert elsewhere.value.errno == 1044
    app = Client(proxy.port, APP, APP_PASSWORD, DATABASE)
    app.run("INSERT INTO t VALUES (1)")
    service = Client(proxy.port, SERVICE, SERVICE_PASSWORD)
    service.run("SELECT 1")
    for one in (client, app, service):
        one.close()
    main.create_account("granted", "second", f"SELECT ON {DATABASE}.*")

    def takes_the_new_password() -> bool:
        try:
            Client(proxy.port, "granted", "second", DATABASE).close()
        except LoginFailed:
            return False
        return True

    wait_until(takes_the_new_password, 15, 0.2)
    main.execute("DROP USER granted")
