"""The supervisor over fake workers: ports, lives, signals, reloads, questions that cross processes."""

from __future__ import annotations

import ast
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.cli.conftest import Client, Fake, rules
from tests.servers import Run
from tests.servers.process import runs, wait_until

Start = Callable[..., Fake]


def control(fake: Fake, *words: str) -> subprocess.CompletedProcess[str]:
    """`turnout <words>` against this supervisor."""
    argv = [sys.executable, "-m", "proxy.cli.main", *words]
    return subprocess.run(argv, env=fake.environment, capture_output=True, text=True, timeout=30, check=False)


def exit_code(fake: Fake, deadline_s: float = 20.0) -> int | None:
    wait_until(lambda: not fake.alive, deadline_s)
    return fake.returncode


def test_clients_reach_every_worker_on_one_port(fake: Start) -> None:
    turnout = fake(rules(workers=2))
    wait_until(lambda: len(turnout.events("worker ready")) == 2, 15)
    slots = set()
    pids = set()
    for _ in range(60):
        client = turnout.client()
        slot, pid, _ = client.ask("who").split()
        slots.add(slot)
        pids.add(int(pid))
        client.close()
    assert slots == {"0", "1"}
    assert len(pids) == 2
    assert turnout.pid not in pids


def test_a_killed_worker_is_replaced_and_its_numbers_stay(fake: Start) -> None:
    turnout = fake(rules(workers=2))
    victim, other = turnout.client_of(0), turnout.client_of(1)
    assert victim.ask("run SELECT ?") == other.ask("run SELECT ?") == "ok"
    wait_until(lambda: turnout.metric("turnout_statements_total", plan="forward", cluster="main") == 2, 10)

    pid = int(victim.ask("who").split()[1])
    os.kill(pid, signal.SIGKILL)
    assert victim.read() == ""
    assert other.ask("run SELECT ?") == "ok", "clients of the other worker notice nothing"
    wait_until(lambda: len(turnout.events("worker ready")) == 3, 15)
    (ended,) = turnout.events("worker ended, starting another")
    assert (ended["slot"], ended["signal"]) == (0, "SIGKILL")
    again = turnout.client_of(0)
    assert int(again.ask("who").split()[1]) != pid
    again.ask("run SELECT ?")
    wait_until(lambda: turnout.metric("turnout_statements_total") == 4, 10)
    assert turnout.metric("turnout_worker_restarts_total") == 1


def test_a_worker_that_crashes_again_and_again_is_restarted_less_and_less_often(fake: Start) -> None:
    turnout = fake(rules(workers=1))
    for crash in range(1, 5):
        turnout.client().send("crash 7")
        wait_until(lambda crash=crash: len(turnout.events("worker ready")) == crash + 1, 15)  # type: ignore[misc]
    ended = turnout.events("worker ended, starting another")
    assert [event["exit_code"] for event in ended] == [7, 7, 7, 7]
    assert [event["after_s"] for event in ended] == [0.1, 0.2, 0.4, 0.8]


def test_workers_that_cannot_start_end_the_supervisor_with_the_reason(fake: Start) -> None:
    turnout = fake(rules(users="fail-at-start"), wait=False)
    assert exit_code(turnout) == 1
    assert "turnout: this worker was told to fail" in turnout.log_text()


def test_workers_that_crash_before_any_was_ready_end_the_supervisor(fake: Start) -> None:
    turnout = fake(rules(workers=1, users="crash-at-start"), wait=False)
    assert exit_code(turnout) == 1
    assert "end as soon as they start (exit code 7)" in turnout.log_text()


def test_a_graceful_stop_lets_transactions_end(fake: Start) -> None:
    turnout = fake(rules(workers=2, drain="20s"))
    idle, busy = turnout.client_of(0), turnout.client_of(1)
    assert busy.ask("begin") == "ok"
    pids = [pid for pid in turnout.pids() if pid != turnout.pid]
    turnout.signal(signal.SIGTERM)
    assert idle.read() == "1053"
    wait_until(lambda: turnout.get("/readyz")[0] == 503, 5)
    assert turnout.get("/healthz")[0] == 200

    def refused() -> bool:
        try:
            turnout.client().close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(refused, 5)
    assert turnout.alive
    assert busy.ask("who").startswith("1 ")
    assert busy.ask("commit") == "ok"
    assert exit_code(turnout) == 0
    assert not any(runs(pid) for pid in pids)


def test_what_does_not_end_in_time_gets_error_1053(fake: Start) -> None:
    turnout = fake(rules(workers=1, drain="1s"))
    busy = turnout.client()
    busy.ask("begin")
    started = time.monotonic()
    turnout.signal(signal.SIGINT)
    assert busy.read() == "1053"
    assert 0.9 < time.monotonic() - started < 5
    assert exit_code(turnout) == 0


def test_a_second_signal_stops_at_once(fake: Start) -> None:
    turnout = fake(rules(workers=2, drain="60s"))
    busy = turnout.client()
    busy.ask("begin")
    pids = [pid for pid in turnout.pids() if pid != turnout.pid]
    turnout.signal(signal.SIGTERM)
    wait_until(lambda: bool(turnout.events("stopping")), 5)
    assert turnout.alive
    turnout.signal(signal.SIGTERM)
    assert exit_code(turnout, 5) == 3
    assert not any(runs(pid) for pid in pids)


def test_workers_drain_and_end_when_their_supervisor_is_gone(fake: Start) -> None:
    turnout = fake(rules(workers=2, drain="20s"))
    idle, busy = turnout.client_of(0), turnout.client_of(1)
    busy.ask("begin")
    pids = [pid for pid in turnout.pids() if pid != turnout.pid]
    os.kill(turnout.pid, signal.SIGKILL)
    assert idle.read() == "1053"
    assert busy.ask("commit") == "ok"
    wait_until(lambda: not any(runs(pid) for pid in pids), 10)


@pytest.mark.parametrize("how", ["SIGHUP", "file", "command"])
def test_rules_are_read_again(fake: Start, how: str) -> None:
    turnout = fake(rules(workers=2))
    clients = [turnout.client_of(0), turnout.client_of(1)]
    assert clients[0].ask("users") == "app,ops"
    if how == "SIGHUP":
        turnout.reload(rules(workers=2, users="late"))
    else:
        turnout.write_rules(rules(workers=2, users="late"))
        if how == "command":
            done = control(turnout, "reload", str(turnout.rules_path))
            assert done.returncode == 0, done.stderr
            assert "users.late" in done.stdout
    for client in clients:
        wait_until(lambda client=client: client.ask("users") == "app,late,ops", 10)  # type: ignore[misc]
    wait_until(lambda: bool(turnout.events("rules reloaded")), 5)
    os.kill(int(clients[0].ask("who").split()[1]), signal.SIGKILL)
    wait_until(lambda: len(turnout.events("worker ready")) == 3, 15)
    assert turnout.client_of(0).ask("users") == "app,late,ops", "a replacement starts with the newest rules"


def test_a_bad_file_changes_nothing_and_every_problem_is_logged(fake: Start) -> None:
    turnout = fake(rules(workers=1))
    client = turnout.client()
    turnout.reload(rules(workers=1, users="late").replace("home: main", "home: mian").replace("drain:", "dran:"))
    wait_until(lambda: bool(turnout.events("the rules in force stay as they were")), 10)
    problems = [event["problem"] for event in turnout.events("rules refused")]
    assert len(problems) == 2
    assert any("mian" in problem and "main" in problem for problem in problems)
    assert any("dran" in problem for problem in problems)
    assert client.ask("users") == "app,ops"
    assert turnout.metric("turnout_rules_reloads_total", outcome="failed") == 1
    last = control(turnout, "status", str(turnout.rules_path), "status").stdout
    assert "mian" in last
    assert "dran" in last
    failed = control(turnout, "reload", str(turnout.rules_path))
    assert failed.returncode == 1
    assert "mian" in failed.stderr
    assert turnout.get("/readyz")[0] == 200


def test_what_needs_a_restart_is_said_each_time(fake: Start) -> None:
    turnout = fake(rules(workers=1))
    turnout.write_rules(rules(workers=2))
    first = control(turnout, "reload", str(turnout.rules_path))
    assert "restart: workers: changes from 1 to 2" in first.stdout
    second = control(turnout, "reload", str(turnout.rules_path))
    assert "They are the rules that have been in force since" in second.stdout
    assert "restart: workers: changes from 1 to 2" in second.stdout
    assert turnout.events("rules need a restart")[0]["where"] == "workers"


def test_a_worker_that_cannot_take_new_rules_is_replaced(fake: Start) -> None:
    turnout = fake(rules(workers=1))
    before = turnout.client().ask("who").split()[1]
    turnout.write_rules(rules(workers=1, users="refuse-rules"))
    done = control(turnout, "reload", str(turnout.rules_path))
    assert "worker 0: RuntimeError; it is being replaced" in done.stdout
    wait_until(lambda: len(turnout.events("worker ready")) == 2, 15)
    client = turnout.client()
    assert client.ask("users") == "app,ops,refuse-rules"
    assert client.ask("who").split()[1] != before


def test_questions_cross_processes(fake: Start) -> None:
    turnout = fake(rules(workers=2))
    first, second = turnout.client_of(0), turnout.client_of(1)
    columns, rows = ast.literal_eval(first.ask("show SESSIONS"))
    sessions = [dict(zip(columns, row, strict=True)) for row in rows]
    assert {session["worker"] for session in sessions} == {0, 1}
    assert ast.literal_eval(second.ask("show SEQUENCES"))[1] == [["main", "a.b", 100, 10, 10, 2, ""]]
    assert first.ask("show SESSION").startswith("error No SHOW TURNOUT SESSION. Did you mean SESSIONS?")
    target = int(second.ask("who").split()[2])
    assert target % 64 == 1
    assert first.ask(f"kill {target} stranger") == "'denied'"
    assert first.ask(f"kill {target + 64 * 1000} app") == "'unknown'"
    assert first.ask("kill 63 app") == "'unknown'", "a slot without a worker"
    assert first.ask(f"kill {target} app") == "''"
    assert second.read() == "killed"
    assert second.read() == ""


def test_status_without_a_password(fake: Start) -> None:
    turnout = fake(rules(workers=2))
    turnout.client().ask("run SELECT * FROM t WHERE id = ?")
    wait_until(lambda: turnout.metric("turnout_statements_total") == 1, 10)
    done = control(turnout, "status", str(turnout.rules_path))
    assert done.returncode == 0, done.stderr
    for word in ("Status", "Clusters", "Workers", "Shapes", "127.0.0.1:3306", "SELECT * FROM t WHERE id = ?"):
        assert word in done.stdout
    assert "secret" not in control(turnout, "status", str(turnout.rules_path), "rules").stdout
    wrong = control(turnout, "status", str(turnout.rules_path), "shape")
    assert wrong.returncode == 1
    assert "Did you mean SHAPES?" in wrong.stderr
    assert os.stat(turnout.environment["TURNOUT_CONTROL"]).st_mode & 0o777 == 0o600


def test_a_port_in_use_is_said_at_once(fake: Start, run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        turnout = fake(rules().replace("@MYSQL_PORT@", str(port)), wait=False)
        assert exit_code(turnout) == 1
    assert f"turnout: Cannot listen on 127.0.0.1:{port}: Address already in use." in turnout.log_text()


def test_two_supervisors_do_not_share_a_port(fake: Start) -> None:
    first = fake(rules())
    second = fake(rules().replace("@MYSQL_PORT@", str(first.port)), wait=False)
    assert exit_code(second) == 1
    assert "Address already in use" in second.log_text()


def test_two_supervisors_do_not_serve_the_same_file(fake: Start, run: Run) -> None:
    first = fake(rules())
    second = fake(rules(), wait=False)
    second.kill()
    second.environment["TURNOUT_CONTROL"] = first.environment["TURNOUT_CONTROL"]
    second.launch()
    assert exit_code(second) == 1
    assert "Another Turnout serves" in second.log_text()
    assert control(first, "status", str(first.rules_path)).returncode == 0, "the first one's socket is still there"


def test_unix_sockets_instead_of_ports(fake: Start, run: Run) -> None:
    folder = run.place("sockets")
    mysql, http = folder / "mysql.sock", folder / "http.sock"
    text = rules(workers=2).replace("127.0.0.1:@MYSQL_PORT@", str(mysql)).replace("127.0.0.1:@HTTP_PORT@", str(http))
    turnout = fake(text, wait=False)
    wait_until(lambda: bool(turnout.events("ready")), 20)
    slots = set()
    for _ in range(200):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.connect(str(mysql))
            client = Client(channel)
            slots.add(client.ask("who").split()[0])
            client.close()
        if len(slots) == 2:
            break
    assert slots == {"0", "1"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(str(http))
        channel.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert channel.recv(1000).startswith(b"HTTP/1.0 200")
    turnout.signal(signal.SIGTERM)
    assert exit_code(turnout) == 0
    assert not mysql.exists()
    assert not http.exists()


def test_systemd_is_told(fake: Start, run: Run) -> None:
    path = str(run.place("notify") / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(path)
        channel.settimeout(10)
        turnout = fake(rules(workers=1), NOTIFY_SOCKET=path)
        assert channel.recv(100) == b"READY=1"
        turnout.signal(signal.SIGHUP)
        assert channel.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert channel.recv(100) == b"READY=1"
        turnout.signal(signal.SIGTERM)
        assert channel.recv(100) == b"STOPPING=1"


def test_no_secret_is_in_the_log_or_on_a_page(fake: Start) -> None:
    turnout = fake(rules())
    turnout.reload(rules(users="late").replace("home: main", "home: mian"))
    wait_until(lambda: bool(turnout.events("the rules in force stay as they were")), 10)
    assert "secret-of" not in turnout.log_text()
    assert "secret-of" not in turnout.get("/")[1] + turnout.get("/metrics")[1]
