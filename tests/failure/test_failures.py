"""Servers that are killed, stopped, restarted, full or read-only, while all of them are in use."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.failure.load import Load, Record, check_tokens
from tests.front.conftest import end
from tests.front.raw import AUTOCOMMIT, Client, Disconnected
from tests.servers import MariaDB, Run, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, SERVICE, SERVICE_PASSWORD

pytestmark = pytest.mark.servers

TIMEOUT_S = 1.0
# What a statement may take: the time after which a server is given up, a probe's interval, and a busy machine's slack.
LONGEST_S = TIMEOUT_S + 2.0
RECOVERY_S = 15.0
RULES = """\
users: {{{app}: {{password: {app_password}}}}}
service: {{user: {service}, password: {service_password}}}
clusters:
  main: {{primary: '{main}', replicas: ['{replica}']}}
  media: {{primary: '{media}'}}
  shard0: {{primary: '{shard0}'}}
  shard1: {{primary: '{shard1}'}}
shardings:
  by_key: {{method: hash, clusters: [shard0, shard1]}}
databases:
  {database}:
    home: main
    reads: {{from: replicas, max_lag: 60s, own_writes: true}}
    tables:
      photos: {{cluster: media}}
      spread: {{sharding: by_key, key: k}}
health: {{every: 200ms, timeout: 1s, connect_timeout: 1s}}
pool: {{wait: 2s}}
"""
TABLE = "(k INT NOT NULL, token VARCHAR(40) NOT NULL, KEY (token))"  # nothing unique: what is written twice shows


class Servers:
    def __init__(self, run: Run) -> None:
        names = ("main", "media", "shard0", "shard1")
        self.by_name = {name: run.mariadb(f"failing-{name}") for name in names}
        for server in self.by_name.values():
            server.create_account(APP, APP_PASSWORD, f"ALL ON {DATABASE}.*")  # not SUPER, which may write anyway
            server.create_service_account(SERVICE, SERVICE_PASSWORD)
            server.execute(f"CREATE DATABASE {DATABASE}")
        self.by_name["replica"] = run.replica_of(self.by_name["main"])
        self["main"].execute(
            f"CREATE TABLE notes {TABLE}",
            "CREATE TABLE fixed (id INT PRIMARY KEY, v INT)",
            "INSERT INTO fixed SELECT seq, seq * 7 FROM seq_1_to_10",
            database=DATABASE,
        )
        self["media"].execute(f"CREATE TABLE photos {TABLE}", database=DATABASE)
        for name in ("shard0", "shard1"):
            self[name].execute(f"CREATE TABLE spread {TABLE}", database=DATABASE)
        self["replica"].catch_up()

    def __getitem__(self, name: str) -> MariaDB:
        return self.by_name[name]

    def rules(self) -> str:
        return RULES.format(
            app=APP,
            app_password=APP_PASSWORD,
            service=SERVICE,
            service_password=SERVICE_PASSWORD,
            database=DATABASE,
            **{name: server.address for name, server in self.by_name.items()},
        )

    def tokens(self, cluster: str, table: str) -> Counter[str]:
        rows = self[cluster].execute(f"SELECT token, COUNT(*) FROM {table} GROUP BY token", database=DATABASE)
        return Counter({str(token): int(count) for token, count in rows})


@pytest.fixture(scope="module")
def servers(run: Run) -> Iterator[Servers]:
    made = Servers(run)
    yield made
    for server in made.by_name.values():
        server.kill()


@pytest.fixture(scope="module")
def proxy(run: Run, servers: Servers) -> Iterator[Turnout]:
    started = run.turnout(servers.rules())
    yield started
    end(started)


def keys_on(shard: int) -> list[int]:
    return [key for key in range(1, 200) if zlib.crc32(str(key).encode()) % 4096 // 2048 == shard][:20]


FAIL: dict[str, tuple[Callable[[MariaDB], None], Callable[[MariaDB], None]]] = {
    "kill -9": (MariaDB.kill, MariaDB.start),
    "SIGSTOP": (MariaDB.pause, MariaDB.resume),
}
# Which clients of the load may notice, by the server that fails.
CONCERNED = {"main": ("main", "replica"), "replica": (), "media": ("media",), "shard0": ("shard0",)}


@pytest.mark.parametrize("how", FAIL)
@pytest.mark.parametrize("name", CONCERNED)
def test_a_server_fails_under_load(proxy: Turnout, servers: Servers, name: str, how: str) -> None:
    fail, repair = FAIL[how]
    server = servers[name]
    load = Load(proxy, f"{name}-{how[:4]}-{time.monotonic_ns() % 1_000_000}".replace(" ", ""))
    for _ in range(2):
        load.writer("main", "notes", [1, 2, 3])
        load.reader("replica", "SELECT id, v FROM fixed WHERE id IN (3, 4) ORDER BY id", ((b"3", b"21"), (b"4", b"28")))
        load.writer("media", "photos", [1, 2, 3])
        load.writer("shard0", "spread", keys_on(0))
        load.writer("shard1", "spread", keys_on(1))
    load.transactions("main", "notes", [4])
    load.transactions("shard0", "spread", keys_on(0))
    try:
        load.wait_until_all_answer(10)
        failed_at = time.monotonic()
        fail(server)
        time.sleep(TIMEOUT_S * 2)  # longer than it takes to notice
        late = time.monotonic()
        time.sleep(TIMEOUT_S)
        repair(server)
        load.wait_until_all_answer(RECOVERY_S)
        recovered_at = time.monotonic()
        time.sleep(0.5)
    finally:
        if server.alive:
            server.resume()
        else:
            server.start()
        load.stop()

    concerned = CONCERNED[name]
    cluster = "main" if name in ("main", "replica") else name
    for record in load.records:
        assert not record.wrong, record.wrong[:5]
        assert record.slowest_s < LONGEST_S, f"a statement on {record.target} took {record.slowest_s:.2f} s"
        if record.target not in concerned:
            assert not record.failures, f"{record.target} is not on {name}: {record.failures[:3]}"
        for failure in record.failures:
            assert failed_at - LONGEST_S < failure.at < recovered_at, f"after the recovery: {failure}"
            if failure.errno:
                assert f"cluster {cluster}" in failure.message, failure
    for record in (r for target in concerned for r in load.of(target)):
        at_once = [f.took_s for f in record.failures if f.at > late and f.errno == 1429]
        assert record.target == "replica" or record.failures, f"{record.target} noticed nothing: was it in use?"
        assert not at_once or sorted(at_once)[len(at_once) // 2] < 0.5, "a server known to be down fails at once"

    check_tokens([*load.of("main")], servers.tokens("main", "notes"), pairs=True)
    check_tokens([*load.of("media")], servers.tokens("media", "photos"))
    check_tokens([*load.of("shard0")], servers.tokens("shard0", "spread"), pairs=True)
    check_tokens([*load.of("shard1")], servers.tokens("shard1", "spread"))
    wait_until(lambda: proxy.metric("turnout_server_up", cluster=cluster) == (2 if cluster == "main" else 1), 10)
    servers["replica"].catch_up(60)
    assert servers.tokens("replica", "notes") == servers.tokens("main", "notes")


def test_load_without_a_failure_has_none(proxy: Turnout, servers: Servers) -> None:
    """The same load on healthy servers: what the tests above see comes from the failures."""
    load = Load(proxy, f"healthy-{time.monotonic_ns() % 1_000_000}")
    load.writer("main", "notes", [1, 2, 3])
    load.transactions("main", "notes", [4])
    load.writer("media", "photos", [1, 2, 3])
    load.writer("shard0", "spread", keys_on(0))
    load.wait_until_all_answer(10)
    time.sleep(1)
    load.stop()
    records: list[Record] = load.records
    assert all(record.answered > 20 and not record.failures and not record.wrong for record in records), records


def connect(proxy: Turnout) -> Client:
    return Client(proxy.port, APP, APP_PASSWORD, DATABASE, timeout_s=20)


def test_a_restart_between_statements_is_noticed_by_transactions_alone(proxy: Turnout, servers: Servers) -> None:
    with connect(proxy) as client, connect(proxy) as inside:
        client.run("SET time_zone = '+03:00'", "SET @mine = 17", "SELECT COUNT(*) FROM photos")
        made = client.prepare("SELECT COUNT(*) FROM photos WHERE k = ?")
        assert not hasattr(made, "errno")
        client.execute(made, 1).checked()
        inside.run("BEGIN", "INSERT INTO photos VALUES (1, 'in a transaction')")
        servers["media"].restart()
        wait_until(lambda: proxy.metric("turnout_server_up", cluster="media") == 1, 10)
        answer = client.run("SELECT @@time_zone, @mine, COUNT(*) FROM photos WHERE token = 'in a transaction'")
        assert answer.rows == ((b"+03:00", b"17", b"0"),)
        client.execute(made, 1).checked()
        lost = inside.query("INSERT INTO photos VALUES (2, 'in a transaction')")
        assert "cluster media" in lost.message, lost
        with pytest.raises((Disconnected, ConnectionError)):
            inside.query("INSERT INTO photos VALUES (3, 'in a transaction')")
        assert client.run("SELECT COUNT(*) FROM photos WHERE token = 'in a transaction'").number == 0


def test_a_write_whose_connection_is_cut_is_not_repeated(proxy: Turnout, servers: Servers) -> None:
    media = servers["media"]
    for n in range(5):
        with connect(proxy) as client:
            token = f"cut-{n}"
            client.send(f"INSERT INTO photos SELECT {n}, '{token}' FROM (SELECT SLEEP(0.3)) s")
            running = f"SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT%{token}%'"
            wait_until(lambda: bool(media.execute(running)), 5)  # noqa: B023
            media.execute(f"KILL CONNECTION {media.execute(running)[0][0]}")
            answer = client.receive()
            assert answer.errno, "it cannot have succeeded"
            assert client.run("SELECT 1").value == b"1"
    time.sleep(0.5)
    assert not [token for token in servers.tokens("media", "photos") if token.startswith("cut-")]


def test_a_read_only_primary_says_so(proxy: Turnout, servers: Servers) -> None:
    media = servers["media"]
    with connect(proxy) as client:
        media.execute("SET GLOBAL read_only = 1")
        try:
            refused = client.query("INSERT INTO photos VALUES (1, 'read only')")
            assert (refused.errno, refused.sqlstate) == (1290, "HY000")
            assert client.query("SELECT COUNT(*) FROM photos").ok
            wait_until(lambda: proxy.metric("turnout_server_read_only", cluster="media") == 1, 5)
        finally:
            media.execute("SET GLOBAL read_only = 0")
        assert client.run("INSERT INTO photos VALUES (1, 'writable again')").status & AUTOCOMMIT


def test_a_server_without_free_connections(turnout: Callable[..., Turnout], run: Run) -> None:
    server = run.mariadb("full", options=["--max-connections=10"])
    server.create_account(APP, APP_PASSWORD, f"ALL ON {DATABASE}.*")
    server.create_service_account(SERVICE, SERVICE_PASSWORD)
    server.execute(f"CREATE DATABASE {DATABASE}", "CREATE TABLE shop.t (id INT)")
    proxy = turnout(
        f"users: {{{APP}: {{password: {APP_PASSWORD}}}}}\n"
        f"service: {{user: {SERVICE}, password: {SERVICE_PASSWORD}}}\n"
        f"clusters: {{main: {{primary: '{server.address}'}}}}\n"
        "health: {every: 200ms, timeout: 1s}\npool: {wait: 1s}\n"
        f"databases:\n  {DATABASE}: {{home: main}}\n"
    )
    one = connect(proxy)
    one.run("SELECT 1")
    others = [server.connect(APP, APP_PASSWORD) for _ in range(8)]  # the probe and our pool have the rest
    two = connect(proxy)
    one.run("BEGIN", "SELECT COUNT(*) FROM t")
    started = time.monotonic()
    refused = two.query("SELECT COUNT(*) FROM t")
    assert time.monotonic() - started < LONGEST_S
    assert refused.errno in (1040, 1203), refused
    assert "cluster main" in refused.message
    # The one connection that there is serves both in turn.
    one.run("COMMIT")
    assert two.run("SELECT COUNT(*) FROM t").number == 0
    assert one.run("SELECT COUNT(*) FROM t").number == 0
    for other in others:
        other.close()
    one.run("BEGIN", "SELECT COUNT(*) FROM t")

    def served() -> bool:
        return two.query("SELECT COUNT(*) FROM t").ok

    wait_until(served, 5)
    one.close()
    two.close()
    server.kill()
