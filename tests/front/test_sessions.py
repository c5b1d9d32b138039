"""Sessions by dialogue: transactions, status flags, and the commands other than COM_QUERY."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from tests.front import raw
from tests.front.raw import AUTOCOMMIT, IN_TRANS, NO_BACKSLASH_ESCAPES, Answer, Client, Disconnected, Statement
from tests.servers import Shop, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = pytest.mark.servers
LogIn = Callable[..., Client]


def flags(answer: Answer) -> int:
    assert answer.ok, answer
    return answer.status & (IN_TRANS | AUTOCOMMIT)


def ended(client: Client) -> bool:
    """Whether the server ends the connection by the next statement at the latest; it may say why (1927) before."""
    try:
        said = client.query("SELECT 1")
        assert said.errno == 1927, said
        client.query("SELECT 1")
    except (Disconnected, ConnectionError):
        return True
    return False


def wait_for_statement(shop: Shop, text: str) -> None:
    """Until a statement that contains `text` runs on main."""
    sql = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%{text}%' AND ID <> CONNECTION_ID()"
    wait_until(lambda: shop.main.execute(sql)[0][0] == 1, 5)


def names(client: Client) -> list[str]:
    rows = client.run("SELECT name FROM items ORDER BY id").rows
    return [(name or b"").decode() for (name,) in rows]


@pytest.fixture(autouse=True)
def three_items(shop_servers: Shop) -> None:
    shop_servers.main.execute("DELETE FROM items WHERE name NOT IN ('one', 'two', 'three')", database=DATABASE)


# -- transactions


def test_status_flags_follow_the_transaction(log_in: LogIn) -> None:
    client = log_in()
    assert flags(client.command(raw.COM_PING)) == AUTOCOMMIT
    assert flags(client.query("BEGIN")) == IN_TRANS | AUTOCOMMIT
    assert flags(client.command(raw.COM_PING)) == IN_TRANS | AUTOCOMMIT
    assert flags(client.query("SELECT n FROM items WHERE id = 1")) == IN_TRANS | AUTOCOMMIT
    assert flags(client.query("INSERT INTO items (name) VALUES ('four')")) == IN_TRANS | AUTOCOMMIT
    assert flags(client.query("COMMIT")) == AUTOCOMMIT
    assert flags(client.query("SET autocommit = 0")) == 0
    assert flags(client.query("SELECT n FROM items WHERE id = 1")) == IN_TRANS
    assert flags(client.query("ROLLBACK")) == 0
    assert flags(client.query("SET autocommit = 1")) == AUTOCOMMIT


def test_the_status_says_how_strings_are_escaped(log_in: LogIn) -> None:
    """Drivers quote by this flag: without it, a backslash in a value would end up doubled, or worse."""
    client = log_in()
    client.run("SET sql_mode = 'NO_BACKSLASH_ESCAPES'")
    assert client.query("SELECT 1").status & NO_BACKSLASH_ESCAPES
    assert client.command(raw.COM_PING).status & NO_BACKSLASH_ESCAPES
    assert client.query("BEGIN").status & NO_BACKSLASH_ESCAPES
    assert client.query("ROLLBACK").status & NO_BACKSLASH_ESCAPES
    other = log_in()
    assert not other.query("SELECT 1").status & NO_BACKSLASH_ESCAPES


def test_others_see_a_transaction_only_after_its_commit(log_in: LogIn) -> None:
    writer, reader = log_in(), log_in()
    writer.run("BEGIN", "INSERT INTO items (name) VALUES ('four')")
    assert names(reader) == ["one", "two", "three"]
    writer.run("COMMIT")
    assert names(reader) == ["one", "two", "three", "four"]
    writer.run("BEGIN", "DELETE FROM items WHERE name = 'four'", "ROLLBACK")
    assert names(reader) == ["one", "two", "three", "four"]


def test_a_second_begin_commits_the_first(log_in: LogIn) -> None:
    writer, reader = log_in(), log_in()
    writer.run("BEGIN", "INSERT INTO items (name) VALUES ('four')", "BEGIN")
    assert names(reader)[-1] == "four"
    writer.run("INSERT INTO items (name) VALUES ('five')", "START TRANSACTION READ ONLY")
    assert names(reader)[-1] == "five"
    refused = writer.query("INSERT INTO items (name) VALUES ('six')")
    assert refused.errno == 1792
    assert flags(writer.query("ROLLBACK")) == AUTOCOMMIT


def test_savepoints_before_and_after_the_first_statement(log_in: LogIn) -> None:
    client, reader = log_in(), log_in()
    client.run("BEGIN", "SAVEPOINT nothing_yet", "INSERT INTO items (name) VALUES ('a')", "SAVEPOINT after_a")
    client.run("INSERT INTO items (name) VALUES ('b')", "ROLLBACK TO after_a", "INSERT INTO items (name) VALUES ('c')")
    assert names(client)[3:] == ["a", "c"]
    client.run("RELEASE SAVEPOINT after_a")
    gone = client.query("ROLLBACK TO after_a")
    assert (gone.errno, gone.sqlstate, gone.message) == (1305, "42000", "SAVEPOINT after_a does not exist")
    client.run("ROLLBACK TO nothing_yet", "INSERT INTO items (name) VALUES ('d')", "COMMIT")
    assert names(reader)[3:] == ["d"]
    assert client.query("ROLLBACK TO nothing_yet").errno == 1305, "a savepoint ends with its transaction"


def test_ddl_commits_what_was_begun(log_in: LogIn) -> None:
    client, reader = log_in(), log_in()
    client.run("BEGIN", "INSERT INTO items (name) VALUES ('before ddl')")
    assert flags(client.query("CREATE OR REPLACE TABLE made (id INT)")) == AUTOCOMMIT
    assert names(reader)[-1] == "before ddl"
    client.run("ROLLBACK")
    assert names(reader)[-1] == "before ddl"
    client.run("DROP TABLE made")


def test_turning_autocommit_on_commits(log_in: LogIn) -> None:
    client, reader = log_in(), log_in()
    client.run("SET autocommit = 0", "INSERT INTO items (name) VALUES ('pending')")
    assert "pending" not in names(reader)
    assert flags(client.query("SET autocommit = 1")) == AUTOCOMMIT
    assert "pending" in names(reader)


@pytest.mark.parametrize("how", ["quit", "abort", "reset", "change user"])
def test_a_session_that_ends_rolls_back(home: Turnout, shop_servers: Shop, log_in: LogIn, how: str) -> None:
    client = Client(home.port, APP, APP_PASSWORD, DATABASE)
    client.run("BEGIN", "UPDATE items SET n = 99 WHERE id = 1")
    if how == "quit":
        client.close()
    elif how == "abort":
        client.abort()
    elif how == "reset":
        assert flags(client.command(raw.COM_RESET_CONNECTION)) == AUTOCOMMIT
    else:
        client.change_user(APP, APP_PASSWORD, DATABASE)
    other = log_in()
    started = time.monotonic()
    other.run("UPDATE items SET n = n + 1 WHERE id = 1", "UPDATE items SET n = n - 1 WHERE id = 1")
    assert time.monotonic() - started < 5, "the lock was kept"
    assert shop_servers.main.execute(f"SELECT n FROM {DATABASE}.items WHERE id = 1") == ((1,),)
    client.abort()


def test_the_next_transaction_only(log_in: LogIn) -> None:
    client = log_in()
    client.run("SET TRANSACTION READ ONLY", "BEGIN")
    assert client.query("UPDATE items SET n = 1 WHERE id = 1").errno == 1792
    client.run("COMMIT", "BEGIN", "UPDATE items SET n = 1 WHERE id = 1", "COMMIT")
    client.run("SET TRANSACTION READ ONLY")
    for _ in range(3):  # a statement that failed was no transaction yet
        assert client.query("UPDATE items SET n = 1 WHERE id = 1").errno == 1792
        log_in().run("UPDATE items SET n = 1 WHERE id = 1")
    client.run("SELECT n FROM items", "UPDATE items SET n = 1 WHERE id = 1")


def test_a_deadlock_rolls_back_all_of_its_victim(log_in: LogIn) -> None:
    one, other = log_in(), log_in()
    one.run("BEGIN", "UPDATE items SET n = 10 WHERE id = 1")
    other.run("BEGIN", "INSERT INTO items (name) VALUES ('lost')", "UPDATE items SET n = 20 WHERE id = 2")
    one.send("UPDATE items SET n = 10 WHERE id = 2")
    second = other.query("UPDATE items SET n = 20 WHERE id = 1")
    first = one.receive()
    assert sorted((first.errno, second.errno)) == [0, 1213]
    victim = other if second.errno else one
    assert flags(victim.command(raw.COM_PING)) == AUTOCOMMIT
    assert flags(victim.query("SELECT 1")) == AUTOCOMMIT
    one.run("ROLLBACK")
    other.run("ROLLBACK")
    assert names(log_in()) == ["one", "two", "three"]


# -- commands


def test_small_commands(home: Turnout, log_in: LogIn) -> None:
    client = log_in()
    text = client.packet(raw.COM_STATISTICS).decode()
    assert re.fullmatch(r"Uptime: \d+  Threads: \d+  Questions: \d+  Slow queries: \d+.*", text)
    empty = client.query("")
    assert (empty.errno, empty.sqlstate, empty.message) == (1065, "42000", "Query was empty")
    assert client.query("  -- nothing").ok
    assert client.query(";").errno == 1065
    unknown = client.command(0x77)
    assert (unknown.errno, unknown.sqlstate) == (1047, "08S01")
    assert client.command(raw.COM_INIT_DB, b"nosuch").errno == 1049
    assert client.run("SELECT DATABASE()").value == DATABASE.encode()
    assert client.packet(raw.COM_SET_OPTION, b"\0\0")[:1] == b"\xfe"
    both = client.run("SELECT 1; SELECT 2")
    assert [r.rows for r in (both, *both.more)] == [((b"1",),), ((b"2",),)]
    assert client.packet(raw.COM_SET_OPTION, b"\1\0")[:1] == b"\xfe"
    assert client.query("SELECT 1; SELECT 2").errno == 1064


def test_field_list(log_in: LogIn) -> None:
    client = log_in()
    columns = client.field_list("items")
    assert not isinstance(columns, Answer), columns
    assert [c.name for c in columns] == [b"id", b"name", b"n"]
    missing = client.field_list("nosuch")
    assert isinstance(missing, Answer)
    assert missing.errno == 1146


def test_pipelined_commands_are_answered_in_order(log_in: LogIn) -> None:
    client = log_in()
    statements = [
        "BEGIN",
        "INSERT INTO items (name) VALUES ('piped')",
        "SELECT LAST_INSERT_ID() > 0",
        "SELEC",
        "ROLLBACK",
    ]
    for n in range(40):
        for sql in statements:
            client.send(sql)
        client.send(f"SELECT {n}, COUNT(*) FROM items")
    for n in range(40):
        answers = [client.receive() for _ in statements]
        assert [a.errno for a in answers] == [0, 0, 0, 1064, 0]
        assert answers[2].value == b"1"
        assert client.receive().rows == ((b"%d" % n, b"3"),)


def test_a_statement_of_more_than_16_mb(log_in: LogIn) -> None:
    client = log_in()
    size = (1 << 24) + 5
    answer = client.query(b"SELECT LENGTH('" + b"x" * size + b"'), 'end'")
    assert answer.rows == ((b"%d" % size, b"end"),)


def test_prepared_statements_outlive_other_peoples_settings(log_in: LogIn) -> None:
    one, other = log_in(), log_in()
    made = one.prepare("SELECT ? || 'x', n FROM items WHERE id = ?")
    assert isinstance(made, Statement)
    other.run("SET sql_mode = 'PIPES_AS_CONCAT'")
    for _ in range(3):
        assert other.run("SELECT 'a' || 'x'").value == b"ax"
        row = one.execute(made, "a", 1).checked().rows[0][0]
        assert row is not None
        assert row[2:10] != b"\x02ax", "executed with another session's sql_mode"
    one.close_statement(made)
    gone = one.execute(made, "a", 1)
    assert (gone.errno, gone.sqlstate) == (1243, "HY000")


# -- KILL


def test_kill_query_interrupts_the_statement_and_nothing_else(log_in: LogIn, shop_servers: Shop) -> None:
    victim, killer = log_in(), log_in()
    victim.run("BEGIN", "INSERT INTO items (name) VALUES ('kept')")
    victim.send("SELECT SLEEP(20), n FROM items WHERE id = 1")
    wait_for_statement(shop_servers, "SLEEP(20)")
    killer.run(f"KILL QUERY {victim.id}")
    started = time.monotonic()
    answer = victim.receive()
    assert time.monotonic() - started < 5
    assert answer.errno == 1317 or answer.rows == ((b"1", b"1"),), answer  # SLEEP says 1 when it was interrupted
    victim.run("COMMIT")
    assert "kept" in names(killer)


@pytest.mark.parametrize("how", ["KILL", "KILL CONNECTION", "COM_PROCESS_KILL"])
def test_kill_ends_the_connection_and_its_transaction(log_in: LogIn, shop_servers: Shop, how: str) -> None:
    victim, killer = log_in(), log_in()
    victim.run("BEGIN", "UPDATE items SET n = 50 WHERE id = 1")
    victim.send("SELECT SLEEP(20)")
    wait_for_statement(shop_servers, "SLEEP(20)")
    started = time.monotonic()
    if how == "COM_PROCESS_KILL":
        assert killer.command(raw.COM_PROCESS_KILL, victim.id.to_bytes(4, "little")).ok
    else:
        killer.run(f"{how} {victim.id}")
    killer.run("UPDATE items SET n = 1 WHERE id = 1")
    assert time.monotonic() - started < 5, "the victim's lock was kept"
    try:
        answer = victim.receive()
        assert answer.errno in (1317, 1927) or answer.rows == ((b"1",),), answer
    except (Disconnected, ConnectionError):
        return
    assert ended(victim)


def test_kill_of_an_idle_connection(log_in: LogIn) -> None:
    victim, killer = log_in(), log_in()
    victim.run("SET @a = 1")
    killer.run(f"KILL {victim.id}")
    assert ended(victim)


def test_kill_by_all_kinds_of_ids(log_in: LogIn, shop_servers: Shop) -> None:
    client, admin = log_in(), log_in(admin=True)
    assert client.run("SELECT CONNECTION_ID()").number == client.id
    unknown = client.query("KILL 7")
    assert (unknown.errno, unknown.sqlstate, unknown.message) == (1094, "HY000", "Unknown thread id: 7")
    foreign = client.query(f"KILL {admin.id}")
    assert (foreign.errno, foreign.message) == (1095, f"You are not owner of thread {admin.id}")
    assert client.query(f"KILL QUERY {admin.id}").errno == 1095
    admin.run("SELECT 1")
    own = client.query(f"KILL QUERY {client.id}")
    assert (own.errno, own.sqlstate) == (1317, "70100")
    client.run("SELECT 1")
    admin.run(f"KILL {client.id}")
    wait_until(lambda: admin.query(f"KILL {client.id}").errno == 1094, 5)
    last = admin.query(f"KILL {admin.id}")
    assert (last.errno, last.sqlstate) == (1927, "70100")
    assert ended(admin)


def test_a_killed_statement_that_waits_for_a_connection(log_in: LogIn, home: Turnout) -> None:
    """Eight connections (two workers of four) are busy; the ninth statement waits, and can be killed while it does."""
    clients = [log_in() for _ in range(40)]
    by_worker: dict[int, list[Client]] = {}
    for client in clients:
        by_worker.setdefault(client.id % 64, []).append(client)
    group = max(by_worker.values(), key=len)
    holders, waiter, killer = group[:4], group[4], log_in()
    for client in holders:
        client.run("BEGIN", "SELECT n FROM items WHERE id = 1")
    waiter.send("SELECT n FROM items WHERE id = 2")
    wait_until(lambda: home.metric("turnout_pool_waiting", cluster="main") == 1, 5)
    started = time.monotonic()
    killer.run(f"KILL QUERY {waiter.id}")
    answer = waiter.receive()
    assert answer.errno == 1317, answer
    assert time.monotonic() - started < 2
    for client in holders:
        client.run("ROLLBACK")
    assert waiter.run("SELECT n FROM items WHERE id = 2").value == b"2"


def test_pool_exhaustion_is_an_error_with_a_limit_in_time(
    turnout: Callable[..., Turnout], shop_servers: Shop, log_in: LogIn
) -> None:
    rules = shop_servers.rules().replace("{primary:", "{max_connections: 2, primary:")
    proxy = turnout(f"{rules}pool: {{wait: 400ms, max_waiters: 1}}\ndatabases:\n  {DATABASE}: {{home: main}}\n")
    holders = [log_in(proxy) for _ in range(2)]
    for client in holders:
        client.run("BEGIN", "SELECT n FROM items WHERE id = 1")
    waiter, refused = log_in(proxy), log_in(proxy)
    started = time.monotonic()
    waiter.send("SELECT n FROM items WHERE id = 2")
    time.sleep(0.1)
    at_once = refused.query("SELECT n FROM items WHERE id = 2")
    assert time.monotonic() - started < 0.35
    late = waiter.receive()
    assert 0.35 < time.monotonic() - started < 2
    for answer in (at_once, late):
        assert (answer.errno, answer.sqlstate) == (1040, "08004")
        assert "cluster main" in answer.message
        assert "max_connections" in answer.message
    holders[0].run("COMMIT")
    assert waiter.run("SELECT n FROM items WHERE id = 2").value == b"2"
    assert refused.run("SELECT n FROM items WHERE id = 2").value == b"2"


FIRST = (
    "SET @a = 'x'",
    "SET @a = 5",
    "SET timestamp = 5",
    "SET nosuch = 1",
    "SET @c = (SELECT MAX(id) FROM items)",
    "SET sql_mode = CONCAT(@@sql_mode, '')",
    "SET NAMES latin1",
    "SET TRANSACTION READ ONLY",
    "SELECT GET_LOCK('first', 0)",
    "SELECT nosuch",
    "SELECT nosuch FROM items",
    "SELECT @b := 5",
    "SELECT LAST_INSERT_ID()",
    "CREATE TEMPORARY TABLE passing (id INT)",
    "PREPARE s FROM 'SELECT 1'",
    "SET STATEMENT max_statement_time = 5 FOR SELECT 1",
    "HANDLER items OPEN",
    "SAVEPOINT here",
    "ROLLBACK TO nowhere",
    "SHOW WARNINGS",
    "SHOW TABLES",
    f"USE {DATABASE}",
    "USE nosuch",
    "DO 1",
    "KILL 7",
)


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN; COMMIT AND CHAIN", "SET autocommit = 0", "START TRANSACTION"])
def test_whatever_comes_first_in_a_transaction_what_follows_can_be_undone(
    log_in: LogIn, shop_servers: Shop, begin: str
) -> None:
    for first in FIRST:
        if first == "SET TRANSACTION READ ONLY" and begin == "SET autocommit = 0":
            continue  # the next statement is the read-only transaction's, on a server too
        client = log_in()
        for sql in begin.split("; "):
            client.run(sql)
        client.query(first)
        written = client.run("INSERT INTO items (name) VALUES ('undone')")
        assert written.status & IN_TRANS, first
        client.run("ROLLBACK")
        left = shop_servers.main.execute("SELECT COUNT(*) FROM items WHERE name = 'undone'", database=DATABASE)
        assert left == ((0,),), f"after {first}"
        client.close()
    client = log_in()
    client.run(*begin.split("; "))
    assert isinstance(client.prepare("SELECT nosuch FROM items"), Answer)
    client.run("INSERT INTO items (name) VALUES ('undone')", "ROLLBACK")
    assert "undone" not in names(client)


@pytest.mark.parametrize("begin", ["SET autocommit = 0", "BEGIN"])
def test_executing_a_statement_prepared_under_other_settings_keeps_the_transaction(
    turnout: Callable[..., Turnout], shop_servers: Shop, log_in: LogIn, begin: str
) -> None:
    """The transaction's connection has to prepare it again, as it was read then; nothing is committed by that."""
    proxy = turnout(f"{shop_servers.rules()}databases:\n  {DATABASE}: {{home: main}}\n")
    client, other = log_in(proxy), log_in(proxy)
    made = client.prepare("SELECT COUNT(*), ? FROM items")
    assert isinstance(made, Statement)
    other.run("BEGIN", "SELECT n FROM items")  # has the connection that knows the statement from now on
    client.run("SET sql_mode = 'ANSI_QUOTES'", "SET time_zone = '+07:00'", begin)
    client.run("INSERT INTO items (name) VALUES ('pending')")
    assert client.execute(made, 1).checked().status & IN_TRANS
    assert "pending" not in names(other)
    client.run("ROLLBACK")
    assert "pending" not in names(client)
    assert client.run("SELECT @@time_zone, @@sql_mode").rows == ((b"+07:00", b"ANSI_QUOTES"),)
