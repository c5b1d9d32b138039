"""The harness itself: servers come up, do what their methods say, and never outlive their owner."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.servers import MariaDB, NotReady, Process, Run, Shop, Turnout, watchdog
from tests.servers.process import runs, wait_until

pytestmark = [pytest.mark.servers, pytest.mark.thorough]


@pytest.fixture
def own() -> Run:
    """A run for one test; every test that uses it closes it."""
    return Run()


def test_a_killed_owner_leaves_neither_processes_nor_folder(tmp_path: Path) -> None:
    script = """
import sys, time
from tests.servers import Run
run = Run()
server = run.mariadb("orphan")
cache = run.memcached()
run.started(__import__("tests.servers").servers.Process(
    "shell", ["sh", "-c", "setsid sleep 300 & exec sleep 300"], run.folder / "shell.log", run.environment))
print(run.marker, run.folder, server.pid, cache.pid, flush=True)
time.sleep(300)
"""
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        marker, folder, server_pid, cache_pid = owner.stdout.readline().split()
        wait_until(lambda: len(watchdog.marked(marker, folder)) >= 4, 10)  # server, memcached, and the shell's two
        assert {int(server_pid), int(cache_pid)} <= set(watchdog.marked(marker, folder))
        assert Path(folder).is_dir()
    finally:
        owner.kill()
        owner.communicate()
    wait_until(lambda: not watchdog.marked(marker, folder) and not Path(folder).exists(), 15)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_owner_leaves_nothing(number: signal.Signals) -> None:
    script = """
import time
from tests.servers import Run
run = Run()
run.memcached()
print(run.marker, run.folder, flush=True)
time.sleep(300)
"""
    owner = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout is not None
    marker, folder = owner.stdout.readline().split()
    assert watchdog.marked(marker, folder)
    owner.send_signal(number)
    owner.communicate()
    wait_until(lambda: not watchdog.marked(marker, folder) and not Path(folder).exists(), 15)


def test_close_ends_paused_and_deaf_processes_too(own: Run) -> None:
    paused = own.memcached()
    paused.pause()
    deaf = own.started(
        Process("deaf", ["sh", "-c", "trap '' TERM; sleep 300"], own.folder / "deaf.log", own.environment)
    )
    own.close()
    own.close()
    assert not paused.alive
    assert not deaf.alive
    assert not watchdog.marked(own.marker, str(own.folder))
    assert not own.folder.exists()


def test_a_kept_folder_stays_and_its_processes_do_not() -> None:
    run = Run(keep=True)
    cache = run.memcached()
    run.close()
    try:
        assert not cache.alive
        assert (run.folder / "1-memcached" / "log").exists()
    finally:
        subprocess.run(["rm", "-r", str(run.folder)], check=True)


def test_stop_of_a_deaf_process_ends_at_the_deadline(own: Run) -> None:
    with own:
        deaf = own.started(
            Process(
                "deaf",
                ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"],
                own.folder / "log",
                own.environment,
            )
        )
        wait_until(lambda: "up" in deaf.log_text(), 5)
        assert deaf.stop(0.2) == -signal.SIGKILL
        assert not deaf.alive


def test_a_server_that_cannot_start_says_why(own: Run) -> None:
    with own, pytest.raises(NotReady, match="no-such-option") as raised:
        own.mariadb("broken", options=["--no-such-option=1"])
    assert "ended with" in str(raised.value)


def test_a_process_that_never_becomes_ready_is_ended(own: Run) -> None:
    class Never(Process):
        def ready(self) -> bool:
            return False

    with own:
        never = Never("never", ["sleep", "300"], own.folder / "log", own.environment, ready_s=0.2)
        with pytest.raises(NotReady, match=r"not ready after 0\.2 s"):
            own.started(never)
        assert not never.alive


def test_server_keeps_its_data_and_address_over_kill_and_restart(own: Run) -> None:
    with own:
        server = own.mariadb("main")
        server.create_account("app", "it's \\ secret")
        server.execute("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
        with pytest.raises(pymysql.err.OperationalError, match="1045"):
            server.connect("app", "wrong")
        port = server.port
        server.kill()
        assert not server.alive
        with pytest.raises(pymysql.err.OperationalError, match="2003"):
            server.connect("app", "it's \\ secret")
        server.start()
        assert server.port == port
        with server.connect("app", "it's \\ secret", "d") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT a FROM t")
            assert cursor.fetchall() == ((1,),)
        server.restart()
        assert server.execute("SELECT COUNT(*) FROM d.t") == ((1,),)
        assert server.stop() == 0


def test_a_paused_server_accepts_and_does_not_answer(own: Run) -> None:
    with own:
        server = own.mariadb("main")
        server.pause()
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), 1) as connection:
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        assert time.monotonic() - started >= 0.5
        server.resume()
        assert server.execute("SELECT 1") == ((1,),)


def test_replica_follows_lags_stops_and_catches_up(shop_servers: Shop, run: Run) -> None:
    primary = run.mariadb("primary")
    primary.execute("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
    replica = run.replica_of(primary)

    def rows() -> int:
        return int(replica.execute("SELECT COUNT(*) FROM d.t")[0][0])

    assert rows() == 1
    assert replica.execute("SELECT @@read_only, @@server_id")[0] == (1, replica.server_id)
    assert replica.server_id != primary.server_id
    replica.stop_replication()
    primary.execute("INSERT INTO d.t VALUES (2)")
    with pytest.raises(TimeoutError):
        replica.catch_up(0.5)
    assert rows() == 1
    replica.start_replication()
    replica.catch_up()
    assert rows() == 2
    replica.set_delay(60)
    primary.execute("INSERT INTO d.t VALUES (3)")
    with pytest.raises(TimeoutError):
        replica.catch_up(1.0)
    replica.set_delay(0)
    replica.catch_up()
    assert rows() == 3
    replica.execute("SET SESSION sql_log_bin = 0", "DROP TABLE d.t")
    primary.execute("INSERT INTO d.t VALUES (4)")
    with pytest.raises(NotReady, match=r"does not replicate.*d\.t"):
        replica.catch_up()
    for server in (replica, primary):
        server.kill()


def test_tls_server_certificates_and_client_certificates(own: Run) -> None:
    with own:
        authority = own.authority
        server = own.mariadb("secure", tls=authority.issue("server"))
        server.create_account("ssl", "p", require="SSL")
        server.create_account("cert", "p", require="SUBJECT '/CN=client'")
        client = authority.issue("client", client=True)
        with pytest.raises(pymysql.err.OperationalError, match="1045"):
            server.connect("ssl", "p", ssl_disabled=True)
        verified: dict[str, Any] = {"ssl_ca": str(authority.ca), "ssl_verify_cert": True, "ssl_verify_identity": True}
        with server.connect("ssl", "p", **verified) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            assert cursor.fetchone()[1]
        with pytest.raises(pymysql.err.OperationalError, match="1045"):
            server.connect("cert", "p", **verified)
        server.connect("cert", "p", **verified, ssl_cert=str(client.cert), ssl_key=str(client.key)).close()
        other = Run()
        with other, pytest.raises(pymysql.err.OperationalError, match=r"CERTIFICATE_VERIFY_FAILED"):
            server.connect("ssl", "p", **{**verified, "ssl_ca": str(other.authority.ca)})
        assert ssl.create_default_context(cafile=str(authority.ca))
        assert client.key.stat().st_mode & 0o077 == 0


def test_haproxy_relays_and_memcached_answers(own: Run) -> None:
    with own:
        server = own.mariadb("main")
        server.create_account("app", "p")
        proxy = own.haproxy(server.port)
        connection = pymysql.connect(host="127.0.0.1", port=proxy.port, user="app", password="p")
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@server_id")
            assert cursor.fetchone() == (server.server_id,)
        cache = own.memcached()
        with socket.create_connection(("127.0.0.1", cache.port), 5) as plain:
            plain.sendall(b"set k 0 0 1\r\nv\r\nget k\r\n")
            wait_until(lambda: b"VALUE k 0 1\r\nv\r\n" in plain.recv(4096, socket.MSG_PEEK), 5)


def test_ports_are_not_given_twice(own: Run) -> None:
    other = Run()
    with own, other:
        ports = [run.port() for run in (own, other) for _ in range(200)]
        assert len(set(ports)) == len(ports)


def test_cpu_and_memory_of_a_process_and_its_children(own: Run) -> None:
    with own:
        command = f"{sys.executable} -c 'x = b\"x\" * (64 << 20)\nwhile True: pass' & echo $!; wait"
        parent = own.started(Process("parent", ["sh", "-c", command], own.folder / "log", own.environment))
        wait_until(lambda: parent.log_text().strip().isdigit(), 5)
        child = int(parent.log_text())
        assert set(parent.pids()) == {parent.pid, child}
        wait_until(lambda: parent.memory_bytes() > 64 << 20, 10)
        before = sum(parent.cpu_s())
        wait_until(lambda: sum(parent.cpu_s()) >= before + 0.2, 20)
        parent.kill()
        wait_until(lambda: not runs(child), 5)


def test_shop_starts_only_what_is_asked_for_and_recreates_it(shop_servers: Shop) -> None:
    shop = Shop(shop_servers.run)
    text = shop.rules("media")
    media = shop.media
    assert f"media: {{primary: '{media.address}'}}" in text
    assert list(shop._servers) == ["media"]
    with media.connect("app", "app-secret", "shop") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a INT)")
    media.execute("CREATE DATABASE left_behind", "CREATE DATABASE turnout")
    shop.recreate()
    assert media.execute("SHOW TABLES IN shop") == ()
    assert {"left_behind", "shop", "turnout"} & {name for (name,) in media.execute("SHOW DATABASES")} == {
        "shop",
        "turnout",
    }
    _cannot(media, "turnout", "turnout-secret", "CREATE USER x")
    media.stop()


def test_turnout_is_ready_reloads_pauses_and_dies_with_its_workers(
    shop_servers: Shop, turnout: Callable[..., Turnout]
) -> None:
    rules = shop_servers.rules("main") + "databases: {shop: {home: main}}\n"
    process = turnout(rules)
    with process.connect("app", "app-secret", "shop") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == ((1,),)
    assert process.metric("turnout_no_such_metric") == 0
    process.write_rules(rules.replace("app-secret", "changed"))
    process.reload()

    def refused() -> bool:
        try:
            process.connect("app", "app-secret", "shop").close()
        except pymysql.err.OperationalError as error:
            return int(error.args[0]) == 1045
        return False

    wait_until(refused, 10)
    pids = process.pids()
    assert len(pids) >= 2
    process.pause()
    with pytest.raises(TimeoutError):
        process.get("/healthz", timeout_s=0.3)
    process.resume()
    wait_until(lambda: process.get("/healthz")[0] == 200, 5)
    process.kill()
    wait_until(lambda: not any(map(runs, pids)), 5)


def _cannot(server: MariaDB, user: str, password: str, statement: str) -> None:
    with (
        server.connect(user, password) as connection,
        connection.cursor() as cursor,
        pytest.raises(pymysql.err.MySQLError, match="denied"),
    ):
        cursor.execute(statement)


def test_the_watchdog_does_not_touch_others(own: Run) -> None:
    other = Run()
    with other:
        cache = other.memcached()
        mine = own.memcached()
        own.close()
        assert not mine.alive
        assert cache.alive
        assert os.getpid() not in watchdog.marked(other.marker, str(other.folder))
