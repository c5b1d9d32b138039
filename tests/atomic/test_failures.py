"""COMMIT over clusters with a failure at a chosen step. A lock of the test's own holds COMMIT where it is wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.atomic.branch_office import TABLES, Bank
from tests.atomic.cut import Cut
from tests.atomic.recovering import recover
from tests.front.conftest import end
from tests.front.raw import IN_TRANS, Client, Disconnected, LoginFailed
from tests.servers import Run, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = pytest.mark.servers
LogIn = Callable[..., Client]
MOVE = (
    "UPDATE savings SET balance = balance - 10 WHERE id = 0",
    "UPDATE loans SET balance = balance + 4 WHERE id = 0",
    "UPDATE stocks SET balance = balance + 6 WHERE id = 0",
)
BEFORE, AFTER = (100, 100, 100), (90, 104, 106)


@pytest.fixture(autouse=True)
def fresh(bank: Bank, proxy: Turnout) -> Iterator[None]:
    bank.open()
    yield
    for server in bank.servers.values():
        if not server.alive:
            server.start()
    recover(bank)
    bank.settle()
    assert bank.total() == 3 * 5 * 100
    wait_until(lambda: served(proxy), 30)


def served(proxy: Turnout) -> bool:
    """Whether Turnout takes every server to be up again. Metrics may be a moment old: statements tell."""
    try:
        client = Client(proxy.port, APP, APP_PASSWORD, DATABASE)
    except LoginFailed:  # with a database, which only the first cluster has
        return False
    try:
        return all(client.query(f"SELECT COUNT(*) FROM {table}").ok for table in TABLES.values())
    finally:
        client.abort()


def moved(bank: Bank) -> tuple[int, int, int]:
    return bank.balance("main", 0), bank.balance("media", 0), bank.balance("shard0", 0)


@contextlib.contextmanager
def holding(bank: Bank, cluster: str, *statements: str) -> Iterator[Any]:
    """Another connection to a server that has executed these."""
    connection = bank.servers[cluster].admin()
    try:
        with connection.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)
            yield cursor
    finally:
        with contextlib.suppress(Exception):
            connection.close()


NO_DECISIONS = ("LOCK TABLES turnout.transactions READ",)  # the INSERT waits
NO_COMMITS = ("BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL", "BACKUP STAGE BLOCK_COMMIT")


def both_prepared(bank: Bank) -> None:
    wait_until(lambda: {name for name, _ in bank.prepared()} == {"media", "shard0"}, 20)


def waits(bank: Bank, cluster: str, text: str) -> None:
    """Until a client's statement waits there for the test's lock."""
    sql = (
        "SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = 'app' AND STATE LIKE 'Waiting%%' "
        f"AND INFO LIKE '{text}%%'"
    )
    wait_until(lambda: bool(bank.rows(cluster, sql.replace("%%", "%"))), 20)


def test_a_coordinator_that_dies_before_the_decision(bank: Bank, run: Run, log_in: LogIn) -> None:
    doomed = run.turnout(bank.rules)
    client = log_in(doomed)
    client.run("BEGIN", *MOVE)
    with holding(bank, "main", *NO_DECISIONS):
        client.send("COMMIT")
        both_prepared(bank)
        waits(bank, "main", "INSERT INTO turnout")
        doomed.kill()
        with pytest.raises((Disconnected, ConnectionError)):
            client.receive()
        assert moved(bank) == BEFORE
    assert set(recover(bank)) <= {"rolled back"}  # the other Turnout may have come first
    assert moved(bank) == BEFORE
    assert bank.decisions("main")[-1] == "abort"


@pytest.mark.thorough
def test_another_turnout_recovers_by_itself(bank: Bank, proxy: Turnout, run: Run, log_in: LogIn) -> None:
    before = proxy.metric("turnout_recovered_branches_total", outcome="rolled back")
    doomed = run.turnout(bank.rules)
    client = log_in(doomed)
    client.run("BEGIN", *MOVE)
    with holding(bank, "main", *NO_DECISIONS):
        client.send("COMMIT")
        both_prepared(bank)
        doomed.kill()
    wait_until(lambda: not bank.prepared(), 40)
    assert moved(bank) == BEFORE
    wait_until(lambda: proxy.metric("turnout_recovered_branches_total", outcome="rolled back") >= before + 1, 20)
    wait_until(lambda: proxy.metric("turnout_prepared_branches") == 0, 20)


def test_a_coordinator_that_dies_while_it_commits(bank: Bank, run: Run, log_in: LogIn) -> None:
    """COMMIT has been sent to the first cluster, which commits or, noticing that nobody is there, does not."""
    doomed = run.turnout(bank.rules)
    client = log_in(doomed)
    client.run("BEGIN", *MOVE)
    with holding(bank, "main", *NO_COMMITS) as cursor:
        client.send("COMMIT")
        waits(bank, "main", "COMMIT")
        doomed.kill()
        cursor.execute("BACKUP STAGE END")
    finished = recover(bank)
    decided = bank.decisions("main")[-1]
    assert set(finished) <= {"committed" if decided == "commit" else "rolled back"}
    assert moved(bank) == (AFTER if decided == "commit" else BEFORE)


def test_a_client_that_goes_does_not_stop_its_commit(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    with holding(bank, "main", *NO_DECISIONS):
        client.send("COMMIT")
        waits(bank, "main", "INSERT INTO turnout")
        client.abort()
    wait_until(lambda: moved(bank) == AFTER, 20)


@pytest.mark.parametrize("victim", ["media", "shard0"])
def test_a_branch_whose_server_dies_after_prepare_is_committed(bank: Bank, log_in: LogIn, victim: str) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    with holding(bank, "main", *NO_DECISIONS):
        client.send("COMMIT")
        both_prepared(bank)
        waits(bank, "main", "INSERT INTO turnout")
        bank.servers[victim].kill()
    answer = client.receive().checked()  # it is committed
    assert not answer.status & IN_TRANS
    assert bank.balance("main", 0) == 90
    table = {"media": "loans", "shard0": "stocks"}[victim]
    sql = f"SELECT balance FROM {table} WHERE id = 0"
    missed = client.query(sql)
    assert missed.errno in (1158, 1429), missed  # never the balance of before
    bank.servers[victim].start()

    def seen() -> bool:
        answer = client.query(sql)
        assert answer.errno in (0, 1158, 1429), answer
        assert answer.errno or answer.number != 100
        return answer.ok

    wait_until(seen, 30)
    assert moved(bank) == AFTER


def test_a_branch_that_cannot_be_prepared_rolls_everything_back(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    with holding(bank, "shard0", *NO_COMMITS):  # PREPARE waits for it, too
        client.send("COMMIT")
        waits(bank, "shard0", "XA PREPARE")
        bank.servers["shard0"].kill()
    answer = client.receive()
    assert (answer.errno, answer.ok) == (1180, False)
    assert "rolled back on all clusters" in answer.message
    assert bank.balance("main", 0) == 100
    bank.servers["shard0"].start()
    recover(bank)
    assert moved(bank) == BEFORE


def test_the_first_cluster_dies_before_the_decision(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    with holding(bank, "main", *NO_DECISIONS):
        client.send("COMMIT")
        both_prepared(bank)
        waits(bank, "main", "INSERT INTO turnout")
        bank.servers["main"].kill()
    bank.servers["main"].start()
    answer = client.receive()
    assert answer.errno == 1180, answer
    assert "rolled back on all clusters" in answer.message
    assert moved(bank) == BEFORE
    assert bank.decisions("main")[-1] == "abort"


@pytest.mark.thorough
def test_the_first_cluster_stays_away(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    with holding(bank, "main", *NO_DECISIONS):
        client.send("COMMIT")
        both_prepared(bank)
        waits(bank, "main", "INSERT INTO turnout")
        bank.servers["main"].kill()
    answer = client.receive()
    assert answer.errno == 1158, answer
    assert "not known yet" in answer.message
    with pytest.raises((Disconnected, ConnectionError)):
        client.query("SELECT 1")
    assert len(bank.prepared_on("media", "shard0")) == 2
    bank.servers["main"].start()
    recover(bank)
    assert moved(bank) == BEFORE


def test_an_answer_that_is_lost_is_looked_up(bank: Bank, proxy: Turnout, log_in: LogIn) -> None:
    """The first cluster hangs for so long during COMMIT that it counts as down, and then goes on."""
    client = log_in()
    client.run("BEGIN", *MOVE)
    with holding(bank, "main", *NO_COMMITS) as cursor:
        client.send("COMMIT")
        waits(bank, "main", "COMMIT")
        bank.servers["main"].pause()
        wait_until(lambda: proxy.metric("turnout_server_up", cluster="main") == 0, 20)
        bank.servers["main"].resume()
        cursor.execute("BACKUP STAGE END")
    answer = client.receive()
    decided = bank.decisions("main")[-1]
    assert (answer.errno, decided) in [(0, "commit"), (1180, "abort")], answer
    wait_until(lambda: moved(bank) == (AFTER if decided == "commit" else BEFORE), 20)


@pytest.mark.parametrize(
    ("said", "outcome"), [(b"\x03COMMIT", "commit"), (b"\x03INSERT INTO turnout.", "abort")], ids=["commit", "insert"]
)
def test_a_connection_that_is_cut_after_a_step_was_carried_out(
    bank: Bank, run: Run, log_in: LogIn, said: bytes, outcome: str
) -> None:
    """The first cluster has done what it was told, and nobody hears of it. A cut after COMMIT is a commit."""
    with Cut(bank.servers["main"].port, said) as cut:
        other = run.turnout(bank.rules.replace(bank.servers["main"].address, f"127.0.0.1:{cut.port}"))
        client = log_in(other)
        client.run("BEGIN", *MOVE)
        cut.armed.set()
        answer = client.query("COMMIT")
        assert cut.done.is_set()
        assert bank.decisions("main")[-1] == outcome
        if outcome == "commit":
            assert answer.ok, answer
            assert moved(bank) == AFTER
        else:
            assert answer.errno == 1180, answer
            assert moved(bank) == BEFORE
        bank.settle()
        client.abort()
        end(other)


def test_recovery_that_comes_too_early_aborts_and_nothing_is_torn(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    with holding(bank, "main", "LOCK TABLES turnout.transactions WRITE") as cursor:
        client.send("COMMIT")
        both_prepared(bank)
        id_ = bank.prepared()[0][1][3][:24]
        name = id_.decode() if isinstance(id_, bytes) else id_
        cursor.execute(f"INSERT INTO turnout.transactions (id, outcome, branches) VALUES ('{name}', 'abort', '')")
    answer = client.receive()
    assert answer.errno == 1062
    assert "rolled back on all clusters" in answer.message
    bank.settle()
    assert moved(bank) == BEFORE


def test_old_decisions_are_forgotten(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    client.query("COMMIT").checked()
    count = "SELECT COUNT(*) FROM turnout.transactions"
    assert bank.rows("main", count)[0][0] > 0
    recover(bank, passes=1)
    assert bank.rows("main", count)[0][0] > 0
    bank.rows("main", "UPDATE turnout.transactions SET at = at - INTERVAL 2 DAY")
    recover(bank, passes=1)
    assert bank.rows("main", count)[0][0] == 0


def test_a_copy_of_a_cluster_is_found_out(bank: Bank, run: Run, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    client.query("COMMIT").checked()
    (token,) = bank.rows("media", "SELECT token FROM turnout.cluster")[0]
    (own,) = bank.rows("shard0", "SELECT token FROM turnout.cluster")[0]
    bank.rows("shard0", f"UPDATE turnout.cluster SET token = '{token}'")
    other = run.turnout(bank.rules)
    try:
        client = log_in(other)
        client.run("BEGIN", *MOVE[:2])
        answer = client.query(MOVE[2])
        assert answer.errno == 1105, answer
        assert "turnout.cluster" in answer.message
        client.query("ROLLBACK").checked()
    finally:
        bank.rows("shard0", f"UPDATE turnout.cluster SET token = '{own}'")
        end(other)
    assert moved(bank) == AFTER
    bank.open()
