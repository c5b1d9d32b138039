"""Transactions over clusters as a client sees them: joined, committed, rolled back, and what they leave on servers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.atomic.branch_office import CLUSTERS, Bank
from tests.front.conftest import end
from tests.front.raw import IN_TRANS, Client, Disconnected
from tests.servers import Run, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, DATABASE

pytestmark = pytest.mark.servers
LogIn = Callable[..., Client]
MOVE = (
    "UPDATE savings SET balance = balance - 10 WHERE id = 0",
    "UPDATE loans SET balance = balance + 4 WHERE id = 0",
    "UPDATE stocks SET balance = balance + 6 WHERE id = 0",
)


@pytest.fixture(autouse=True)
def fresh(bank: Bank) -> Iterator[None]:
    bank.open()
    yield
    bank.settle()
    assert bank.total() == 3 * 5 * 100


def moved(bank: Bank) -> tuple[int, int, int]:
    return bank.balance("main", 0), bank.balance("media", 0), bank.balance("shard0", 0)


def log_of(bank: Bank, cluster: str, since: str) -> list[str]:
    """What a server's binary log says of XA and of decisions since a GTID position."""
    return [str(row[5]) for row in bank.rows(cluster, "SHOW BINLOG EVENTS") if "XA" in str(row[5])]


def test_a_transaction_over_three_clusters_is_committed_with_one_decision(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    before = {name: len(bank.decisions(name)) if has_decisions(bank, name) else 0 for name in CLUSTERS}
    client.query("BEGIN").checked()
    for sql in MOVE:
        answer = client.query(sql).checked()
        assert answer.status & IN_TRANS
        assert answer.affected_rows == 1
    assert moved(bank) == (100, 100, 100)
    assert client.query("SELECT balance FROM stocks WHERE id = 0").number == 106  # its own
    answer = client.query("COMMIT").checked()
    assert not answer.status & IN_TRANS
    assert moved(bank) == (90, 104, 106)
    after = {name: bank.decisions(name) for name in CLUSTERS}
    assert after["main"][before["main"] :] == ["commit"]
    assert [len(after[name]) for name in ("media", "shard0")] == [before["media"], before["shard0"]]
    client.query("UPDATE savings SET balance = balance WHERE id = 0").checked()
    client.query("BEGIN").checked()  # and the next one is a new one
    for sql in MOVE:
        client.query(sql).checked()
    client.query("COMMIT").checked()
    assert moved(bank) == (80, 108, 112)
    assert bank.decisions("main")[before["main"] :] == ["commit", "commit"]


def has_decisions(bank: Bank, cluster: str) -> bool:
    return bool(bank.rows(cluster, "SELECT 1 FROM information_schema.TABLES WHERE TABLE_NAME = 'transactions'"))


def test_rollback_and_a_client_that_goes_undo_every_part(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    client.query("ROLLBACK").checked()
    assert moved(bank) == (100, 100, 100)
    client.run("BEGIN", *MOVE)
    client.abort()
    bank.settle()
    assert moved(bank) == (100, 100, 100)


def test_one_cluster_costs_nothing(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.query("SELECT 1").checked()
    xa = len(log_of(bank, "media", ""))
    for sql in (MOVE[1], "UPDATE loans SET balance = balance - 4 WHERE id = 0"):
        client.run("BEGIN", sql)
        client.query("COMMIT").checked()
    assert len(log_of(bank, "media", "")) == xa


@pytest.mark.parametrize(
    ("statements", "decisions"),
    [
        (
            (
                "SELECT balance FROM savings WHERE id = 0",
                MOVE[1],
                "UPDATE loans SET balance = balance - 4 WHERE id = 0",
            ),
            0,
        ),
        ((MOVE[0], "UPDATE savings SET balance = balance + 10 WHERE id = 0", "SELECT * FROM loans FOR UPDATE"), 0),
        (("SELECT * FROM savings", "SELECT * FROM loans", "SELECT * FROM stocks"), 0),
        (("SELECT * FROM savings", "DELETE FROM loans_made", "DELETE FROM stocks_made"), 1),
    ],
)
def test_parts_that_only_read_need_no_decision(
    bank: Bank, log_in: LogIn, statements: tuple[str, ...], decisions: int
) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    client.query("ROLLBACK").checked()  # the tables are there now
    before = len(bank.decisions("main"))
    client.query("BEGIN").checked()
    for sql in statements:
        client.query(sql).checked()
    client.query("COMMIT").checked()
    assert len(bank.decisions("main")) == before + decisions


def test_a_branch_that_alone_has_written_is_committed(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.query("BEGIN").checked()
    client.query("SELECT * FROM savings").checked()
    client.query("UPDATE loans SET balance = balance + 10 WHERE id = 0").checked()
    client.query("UPDATE loans SET balance = balance - 10 WHERE id = 1").checked()
    client.query("SELECT * FROM stocks").checked()
    client.query("COMMIT").checked()
    assert (bank.balance("media", 0), bank.balance("media", 1)) == (110, 90)


def test_savepoints_go_over_all_clusters(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", MOVE[0], MOVE[1], "SAVEPOINT a", MOVE[2], "UPDATE loans SET balance = 0 WHERE id = 3")
    client.query("ROLLBACK TO SAVEPOINT a").checked()
    assert client.query("SELECT balance FROM stocks WHERE id = 0").number == 100
    assert client.query("SELECT balance FROM loans WHERE id = 3").number == 100
    client.query(MOVE[2]).checked()
    client.query("RELEASE SAVEPOINT a").checked()
    client.query("COMMIT").checked()
    assert moved(bank) == (90, 104, 106)


def test_autocommit_off(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.query("SET autocommit = 0").checked()
    for ending, expected in (("ROLLBACK", (100, 100, 100)), ("COMMIT", (90, 104, 106))):
        for sql in MOVE:
            client.query(sql).checked()
        assert moved(bank) == (100, 100, 100)
        client.query(ending).checked()
        assert moved(bank) == expected
    for sql in (
        "UPDATE savings SET balance = balance + 10 WHERE id = 0",
        "UPDATE loans SET balance = balance - 4 WHERE id = 0",
        "UPDATE stocks SET balance = balance - 6 WHERE id = 0",
    ):
        client.query(sql).checked()
    client.query("SET autocommit = 1").checked()  # commits
    assert moved(bank) == (100, 100, 100)


def test_chain_begins_the_next_one(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    assert client.query("COMMIT AND CHAIN").checked().status & IN_TRANS
    assert moved(bank) == (90, 104, 106)
    for sql in MOVE:
        client.query(sql).checked()
    client.query("ROLLBACK").checked()
    assert moved(bank) == (90, 104, 106)


def test_implicit_commits_are_atomic(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.run("BEGIN", *MOVE)
    client.query("BEGIN").checked()
    assert moved(bank) == (90, 104, 106)
    for sql in MOVE:
        client.query(sql).checked()
    decided = len(bank.decisions("main"))
    client.query("CREATE TABLE loans_old (id INT) /* turnout: cluster=media */").checked()
    assert moved(bank) == (80, 108, 112)
    assert len(bank.decisions("main")) == decided + 1
    client.query("DROP TABLE loans_old /* turnout: cluster=media */").checked()


def test_statements_over_several_clusters_are_atomic_by_themselves(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.query("INSERT INTO rates VALUES (1, 5), (2, 7)").checked()
    assert [bank.rows(name, "SELECT COUNT(*) FROM rates") for name in CLUSTERS] == [((2,),)] * 3
    bank.servers["shard0"].execute("INSERT INTO rates VALUES (9, 9)", database=DATABASE)
    answer = client.query("INSERT INTO rates VALUES (8, 1), (9, 1)")
    assert answer.errno == 1062
    assert [bank.rows(name, "SELECT COUNT(*) FROM rates WHERE id = 8") for name in CLUSTERS] == [((0,),)] * 3
    client.query("BEGIN").checked()
    client.query("INSERT INTO rates VALUES (3, 5)").checked()
    answer = client.query("INSERT INTO rates VALUES (4, 5), (9, 1)")  # undone alone
    assert answer.errno == 1062
    client.query(MOVE[1]).checked()
    client.query("UPDATE loans SET balance = balance - 4 WHERE id = 0").checked()
    client.query("COMMIT").checked()
    assert [bank.rows(name, "SELECT COUNT(*) FROM rates WHERE id IN (3, 4)") for name in CLUSTERS] == [((1,),)] * 3


def test_prepared_statements_join(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    statements = [client.prepare(sql.replace("id = 0", "id = ?")) for sql in MOVE]
    for _ in range(2):
        client.query("BEGIN").checked()
        for statement in statements:
            assert not hasattr(statement, "errno"), statement
            client.execute(statement, 0).checked()  # type: ignore[arg-type]
        client.query("COMMIT").checked()
    assert moved(bank) == (80, 108, 112)


def test_a_pinned_session_joins_with_what_it_holds(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    client.query("CREATE TEMPORARY TABLE loans_mine (id INT) /* turnout: cluster=media */").checked()
    client.query("CREATE TEMPORARY TABLE mine (id INT)").checked()
    for _ in range(2):
        client.run("BEGIN", *MOVE)
        client.query("COMMIT").checked()
    assert moved(bank) == (80, 108, 112)
    client.query("SET autocommit = 0").checked()
    for sql in MOVE:
        client.query(sql).checked()
    client.query("ROLLBACK").checked()
    assert moved(bank) == (80, 108, 112)
    assert client.query("SELECT COUNT(*) FROM mine").number == 0  # it is still there


def test_a_deadlock_rolls_back_every_part(bank: Bank, log_in: LogIn) -> None:
    one, other = log_in(), log_in()
    one.run("BEGIN", MOVE[0], MOVE[1])
    other.run("BEGIN", "INSERT INTO loans VALUES (21, 0), (22, 0), (23, 0), (24, 0)")
    other.query("UPDATE loans SET balance = balance + 1 WHERE id = 1").checked()
    other.send("UPDATE loans SET balance = balance + 1 WHERE id = 0")
    wait_until(lambda: any(row[1] == "LOCK WAIT" for _, row in bank.under_way()), 20, every_s=0.15)
    answers = [one.query("UPDATE loans SET balance = balance + 1 WHERE id = 1"), other.receive()]
    assert sorted(answer.errno for answer in answers) == [0, 1213]
    loser = one if answers[0].errno else other
    if loser is one:
        assert bank.balance("main", 0) == 100
        log_in().query(MOVE[0].replace("- 10", "- 0")).checked()  # no lock is left on main
        assert not one.query("SELECT 1").checked().status & IN_TRANS
    one.query("ROLLBACK").checked()
    other.query("ROLLBACK").checked()


def test_a_deadlock_over_clusters_ends_by_lock_wait_timeout(bank: Bank, log_in: LogIn) -> None:
    one, other = log_in(), log_in()
    one.run("SET innodb_lock_wait_timeout = 1", "BEGIN", MOVE[0])
    other.run("BEGIN", MOVE[1])
    other.send(MOVE[0])
    answer = one.query(MOVE[1])
    assert answer.errno == 1205
    one.query("ROLLBACK").checked()
    other.receive().checked()
    other.query("ROLLBACK").checked()


def test_the_clients_own_xa_transaction_stays_on_one_cluster(bank: Bank, log_in: LogIn) -> None:
    client = log_in()
    for autocommit in (1, 0):
        client.query(f"SET autocommit = {autocommit}").checked()
        client.query("XA START 'own'").checked()
        client.query(MOVE[0]).checked()
        answer = client.query(MOVE[1])
        assert answer.errno == 1235, answer
        assert "XA transaction of its own" in answer.message
        client.run("XA END 'own'", "XA ROLLBACK 'own'")
    client.run("BEGIN", *MOVE)
    client.query("COMMIT").checked()
    assert moved(bank) == (90, 104, 106)


def test_an_account_without_the_right_to_decide_is_told_so(bank: Bank, proxy: Turnout, log_in: LogIn) -> None:
    for server in bank.servers.values():
        server.create_account("poor", "poor", f"SELECT, INSERT, UPDATE ON {DATABASE}.*")
    rules = bank.rules.replace("users:\n", "users:\n  poor: {password: poor}\n")
    proxy.reload(rules)

    def logged_in() -> bool:
        try:
            log_in(user="poor", password="poor")
        except Exception:
            return False
        return True

    wait_until(logged_in, 20)
    client = log_in(user="poor", password="poor")
    client.run("BEGIN", *MOVE)
    answer = client.query("COMMIT")
    assert answer.errno == 1142
    assert "GRANT INSERT ON turnout.transactions TO 'poor'" in answer.message
    assert "rolled back on all" in answer.message
    assert moved(bank) == (100, 100, 100)
    assert not client.query("SELECT balance FROM savings WHERE id = 0").checked().status & IN_TRANS
    client.run("BEGIN", MOVE[1], "UPDATE loans SET balance = balance - 4 WHERE id = 0")
    client.query("COMMIT").checked()  # on one cluster nothing is decided


def test_the_metrics_count(bank: Bank, proxy: Turnout, log_in: LogIn) -> None:
    before = proxy.metric("turnout_atomic_commits_total", outcome="committed")
    client = log_in()
    client.run("BEGIN", *MOVE)
    client.query("COMMIT").checked()
    wait_until(lambda: proxy.metric("turnout_atomic_commits_total", outcome="committed") > before, 20)


@pytest.mark.parametrize("transactions", ["atomic", "best_effort"])
def test_a_part_that_is_lost_while_commit_arrives_is_not_missed(
    bank: Bank, run: Run, transactions: str, log_in: LogIn
) -> None:
    def connections() -> tuple[tuple[int], ...]:
        return bank.rows("media", f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{APP}'")

    proxy = run.turnout(bank.rules.replace("transactions: atomic", f"transactions: {transactions}"))
    try:
        for first in ("loss", "commit", "loss", "loss"):
            client = log_in(proxy)
            client.run("BEGIN", *MOVE)
            proxy.pause()
            if first == "commit":
                client.send("COMMIT")
            for (number,) in connections():
                bank.rows("media", f"KILL {number}")
            wait_until(lambda: not connections(), 20)
            if first == "loss":
                client.send("COMMIT")
            proxy.resume()
            with contextlib.suppress(Disconnected, ConnectionError):
                assert not client.receive().ok
            client.abort()
            bank.settle()
            assert transactions == "best_effort" or moved(bank) == (100, 100, 100)
            bank.open()
    finally:
        end(proxy)
