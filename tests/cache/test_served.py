"""A cache in front of a real server: right after each kind of write, what Turnout serves is what the server has.

Before every write the reads are served from memory, which the count of what the server is asked shows.
"""

from __future__ import annotations

import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pymysql
import pytest
from pymysql.connections import Connection

from tests.cache.test_marks_on_server import SCHEMA
from tests.front.conftest import end
from tests.front.raw import COM_STMT_EXECUTE, Answer, Client, Statement
from tests.servers import MariaDB, Memcached, Run, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD, SERVICE, SERVICE_PASSWORD

SOON_S = 20.0
TABLES = """\
      users: {cache: [{by: [id]}, {by: [email]}, {by: [team]}]}
      posts: {cache: [{by: [id]}, {by: [user_id]}]}
      comments: {cache: {by: [post_id]}}
      likes: {cache: {by: [comment_id]}}
      settings: {cache: [{by: [user_id, name]}, {by: [name]}]}
      counters: {cache: {by: [id]}}
      tree: {cache: [{by: [id]}, {by: [parent]}]}
      audited: {cache: {by: [id]}}
      audit: {cache: {by: [what]}}
      tokens: {cache: {by: [id], ttl: 1h}}
      slow: {cache: {by: [id]}}
"""
MORE = """\
CREATE TABLE tokens (id INT PRIMARY KEY, v INT);
INSERT INTO tokens VALUES (1, 0);
CREATE TABLE slow (id INT, v INT, KEY (id));
INSERT INTO slow SELECT seq % 5, seq FROM seq_1_to_30000"""

READS = [
    *(f"SELECT * FROM users WHERE id = {n}" for n in (1, 2, 3, 8)),
    *(f"SELECT * FROM users WHERE email = '{n}'" for n in ("ann", "dee", "bob", "new")),
    *(f"SELECT * FROM users WHERE team = {n} ORDER BY id" for n in (1, 2, 3)),
    *(f"SELECT * FROM posts WHERE user_id = {n}" for n in (1, 2, 9)),
    *(f"SELECT * FROM posts WHERE id = {n}" for n in (1, 3)),
    *(f"SELECT * FROM comments WHERE post_id = {n}" for n in (1, 2, 3)),
    *(f"SELECT * FROM likes WHERE comment_id = {n}" for n in (1, 2, 3)),
    *(f"SELECT * FROM settings WHERE user_id = {n} AND name = 'colour'" for n in (1, 2)),
    "SELECT COUNT(*) FROM settings WHERE name = 'colour'",
    *(f"SELECT * FROM counters WHERE id = {n}" for n in (1, 2, 10)),
    *(f"SELECT * FROM tree WHERE id = {n}" for n in (1, 2, 3)),
    *(f"SELECT * FROM tree WHERE parent = {n}" for n in (1, 2)),
    *(f"SELECT * FROM audited WHERE id = {n}" for n in (1, 2, 9)),
    *(f"SELECT * FROM audit WHERE what = {n}" for n in (9, 10)),
]

# Each changes something that was read; one after the other, on what is left by those before.
WRITES = [
    ["UPDATE users SET n = n + 1 WHERE id = 1"],
    ["UPDATE users SET n = n + 1 WHERE email = 'dee'"],
    ["UPDATE users SET n = n + 1 WHERE team = 1 ORDER BY id LIMIT 1"],
    ["UPDATE users SET team = 3 WHERE id = 2"],
    ["UPDATE users SET n = n + 1"],
    ["INSERT INTO users (email, team) VALUES ('new', 1)"],
    ["UPDATE users SET id = 8 WHERE email = 'new'"],
    ["INSERT INTO users (id, email) VALUES (8, 'x') ON DUPLICATE KEY UPDATE email = 'newer', team = 2"],
    ["REPLACE INTO users (id, email, team) VALUES (8, 'new', 1)"],
    ["INSERT INTO users (id, email) VALUES (20, 'NEW') ON DUPLICATE KEY UPDATE n = n + 5"],
    ["DELETE FROM users WHERE email = 'new'"],
    ["BEGIN", "UPDATE users SET n = n + 1 WHERE id = 1", "UPDATE counters SET n = n + 1 WHERE id = 2", "COMMIT"],
    ["SET autocommit = 0", "UPDATE users SET n = n + 1 WHERE id = 1", "COMMIT", "SET autocommit = 1"],
    ["BEGIN", "UPDATE counters SET n = n + 1 WHERE id = 1", "CREATE TABLE IF NOT EXISTS fresh (id INT)"],
    ["UPDATE users, posts SET users.n = 50, posts.n = 60 WHERE posts.user_id = users.id AND users.id = 1"],
    ["UPDATE user_posts SET un = un + 1 WHERE id = 1"],
    ["UPDATE some_users SET n = n + 1"],
    ["INSERT INTO settings VALUES (1, 'COLOUR ', 'y') ON DUPLICATE KEY UPDATE value = 'green'"],
    ["REPLACE INTO settings VALUES (2, 'colour', 'pink')"],
    ["INSERT INTO counters VALUES (1, 1) ON DUPLICATE KEY UPDATE id = 10"],
    ["INSERT INTO counters VALUES ('1', 1)"],
    ["REPLACE INTO counters VALUES (1, 5)"],
    ["INSERT INTO counters SELECT 1, 1 ON DUPLICATE KEY UPDATE n = counters.n + 1"],
    ["SELECT poke(1)"],
    ["SELECT HIGH_PRIORITY poke(id) FROM plain WHERE id = 1"],
    ["SELECT * FROM poking"],
    ["DO poke(2)"],
    ["SET @x = poke(1)"],
    ["CALL poke_all()"],
    ["BEGIN NOT ATOMIC UPDATE counters SET n = n + 1; END"],
    ["SET STATEMENT max_statement_time = 10 FOR UPDATE counters SET n = n + 1"],
    ["PREPARE p FROM 'UPDATE counters SET n = n + 1'", "EXECUTE p"],
    ["ANALYZE UPDATE counters SET n = n + 1"],
    ["INSERT INTO audited VALUES (9, 1)"],
    ["UPDATE audited SET n = n + 1 WHERE id = 9"],
    ["XA START 'x'", "UPDATE counters SET n = n + 1 WHERE id = 1", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"],
    ["ALTER TABLE users ADD COLUMN extra INT DEFAULT 4"],
    ["UPDATE users SET extra = 5 WHERE id = 1"],
    ["DELETE FROM tree WHERE id = 2"],
    ["UPDATE posts SET id = 30 WHERE id = 1"],
    ["DELETE FROM posts WHERE id = 30"],
    ["DELETE FROM users WHERE id = 1"],
    ["TRUNCATE counters"],
    ["DROP TABLE likes"],
    ["RENAME TABLE settings TO old_settings"],
]


@pytest.fixture(scope="module")
def server(run: Run) -> MariaDB:
    server = run.mariadb("served", options=["--userstat=1"])
    server.create_account(APP, APP_PASSWORD)
    server.create_account(OPS, OPS_PASSWORD)
    server.create_service_account(SERVICE, SERVICE_PASSWORD)
    return server


@pytest.fixture(scope="module")
def memcached(run: Run) -> Memcached:
    return run.memcached("served-memcached", size_mb=32)


@pytest.fixture
def fresh(server: MariaDB) -> MariaDB:
    """With the tables as they are at first."""
    server.execute(
        f"DROP DATABASE IF EXISTS {DATABASE}",
        f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    )
    connection = direct(server)
    with connection.cursor() as cursor:
        for statement in f"{SCHEMA};\n{MORE}".split(";\n"):
            cursor.execute(statement)
    connection.close()
    return server


def rules(server: MariaDB, tables: str = TABLES, cache: str = "", more: str = "") -> str:
    return f"""\
users:
  {APP}: {{password: {APP_PASSWORD}}}
  {OPS}: {{password: {OPS_PASSWORD}, admin: true}}
service: {{user: {SERVICE}, password: {SERVICE_PASSWORD}}}
clusters: {{main: {{primary: '{server.address}'}}}}
databases:
  {DATABASE}:
    home: main
    tables:
{tables}
cache: {{local: 16MB{cache}}}
{more}"""


@pytest.fixture
def turnout(run: Run) -> Iterator[Callable[[str], Turnout]]:
    """A Turnout that follows its server's log (unless it is told not to wait for that)."""
    started: list[Turnout] = []

    def start(text: str, following: bool = True) -> Turnout:
        proxy = run.turnout(text)
        started.append(proxy)
        if following:
            wait_until(lambda: proxy.metric("turnout_stream_up", cluster="main") == 1, SOON_S)
        return proxy

    yield start
    for proxy in reversed(started):
        end(proxy)


def direct(server: MariaDB) -> Connection:
    return pymysql.connect(
        host="127.0.0.1", port=server.port, user="root", database=DATABASE, autocommit=True, charset="utf8mb4"
    )


def through(proxy: Turnout, **options: object) -> Connection:
    return proxy.connect(APP, APP_PASSWORD, DATABASE, charset="utf8mb4", **options)


def answer(connection: Connection, sql: str) -> object:
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return [column[0] for column in cursor.description or ()], cursor.fetchall()
    except pymysql.MySQLError as error:
        return error.args[0]


def answers(connection: Connection, reads: list[str] = READS) -> list[object]:
    return [answer(connection, sql) for sql in reads]


def hits(proxy: Turnout, **labels: str) -> float:
    return proxy.metric("turnout_cache_hits_total", **labels)


def asked(server: Connection) -> int:
    """How many SELECTs of the application have reached the server."""
    with server.cursor() as cursor:
        cursor.execute("SELECT SUM(SELECT_COMMANDS) FROM information_schema.USER_STATISTICS WHERE USER = %s", (APP,))
        (row,) = cursor.fetchall()
    return int(row[0] or 0)


def cached(server: Connection, client: Connection, reads: list[str]) -> None:
    """Wait until these reads are served from memory, all of them."""

    def served() -> bool:
        before = asked(server)
        answers(client, reads)
        return asked(server) == before

    answers(client, reads)
    wait_until(served, SOON_S)


@pytest.mark.parametrize("remote", [False, True], ids=["local", "memcached"])
def test_after_every_kind_of_write_the_answer_is_the_server_s(
    fresh: MariaDB, memcached: Memcached, turnout: Callable[..., Turnout], remote: bool
) -> None:
    proxy = turnout(rules(fresh, cache=f", memcached: ['{memcached.address}']" if remote else ""))
    server, other = direct(fresh), through(proxy)
    reads = READS
    for statements in WRITES:
        # What fails (its table is gone) is not cached.
        reads = [sql for sql in reads if not isinstance(answer(server, sql), int)]
        cached(server, other, reads)
        writer = through(proxy)
        for sql in statements:
            with writer.cursor() as cursor:
                cursor.execute(sql)
                cursor.fetchall()
        assert answers(other, READS) == answers(server, READS), statements
        assert answers(writer, READS) == answers(server, READS), statements
        writer.close()
    wait_until(lambda: hits(proxy, memory="local") > len(WRITES) * len(reads), SOON_S)
    assert proxy.metric("turnout_stream_unknown_events_total") == 0


def test_writes_that_bypass_the_proxy_are_seen_within_the_limit(
    fresh: MariaDB, turnout: Callable[..., Turnout]
) -> None:
    proxy = turnout(rules(fresh))
    server, client = direct(fresh), through(proxy)
    for statements in WRITES:
        if any(sql.startswith(("PREPARE", "SELECT HIGH")) for sql in statements):
            continue
        reads = [sql for sql in READS if not isinstance(answer(server, sql), int)]
        cached(server, client, reads)
        for sql in statements:
            with server.cursor() as cursor:
                cursor.execute(sql)
                cursor.fetchall()
        wait_until(lambda: answers(client) == answers(server), SOON_S)
        # And they stay right.
        cached(server, client, [sql for sql in READS if not isinstance(answer(server, sql), int)])
        assert answers(client) == answers(server), statements


def test_a_session_s_own_world_is_not_answered_from_the_cache(fresh: MariaDB, turnout: Callable[..., Turnout]) -> None:
    """Temporary tables, open transactions, locks, settings: the session sees what its server connection would show."""
    proxy = turnout(rules(fresh))
    sql = "SELECT n FROM users WHERE id = 1"
    server, plain = direct(fresh), through(proxy)

    def ready() -> Connection:
        cached(server, plain, [sql])
        return through(proxy)

    def value(client: Connection) -> object:
        with client.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()

    client = ready()
    for each in ("CREATE TEMPORARY TABLE users (id INT, n INT)", "INSERT INTO users VALUES (1, 77)"):
        client.cursor().execute(each)
    assert value(client) == (77,)
    assert value(plain) == (0,)

    client = ready()
    client.cursor().execute("BEGIN")
    client.cursor().execute("UPDATE users SET n = 78 WHERE id = 1")
    assert value(client) == (78,)
    assert value(plain) == (0,)
    client.cursor().execute("ROLLBACK")
    assert value(client) == (0,)

    client = ready()
    client.cursor().execute("SET autocommit = 0")
    client.cursor().execute("UPDATE users SET n = 79 WHERE id = 1")
    assert value(client) == (79,)
    client.close()

    # What others have not committed is seen by those who ask for that, and by nobody afterwards.
    writer, dirty = ready(), through(proxy)
    writer.cursor().execute("BEGIN")
    writer.cursor().execute("UPDATE users SET n = 80 WHERE id = 1")
    dirty.cursor().execute("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    assert value(dirty) == (80,)
    assert value(dirty) == (80,)
    writer.cursor().execute("ROLLBACK")
    assert value(dirty) == (0,)

    client = ready()
    client.cursor().execute("SET sql_select_limit = 0")
    assert value(client) is None
    client.cursor().execute("SET sql_select_limit = DEFAULT")
    assert value(client) == (0,)

    client = ready()
    client.cursor().execute("PREPARE p FROM 'CREATE TEMPORARY TABLE users (id INT, n INT)'")
    client.cursor().execute("EXECUTE p")
    assert value(client) is None

    client = ready()
    client.cursor().execute("BEGIN NOT ATOMIC CREATE TEMPORARY TABLE users (id INT, n INT); END")
    assert value(client) is None


def test_settings_that_change_results_have_values_of_their_own(fresh: MariaDB, turnout: Callable[..., Turnout]) -> None:
    proxy = turnout(rules(fresh))
    server = direct(fresh)
    cases = [
        ("SET time_zone = '+05:00'", "SELECT FROM_UNIXTIME(0) FROM users WHERE id = 1"),
        ("SET div_precision_increment = 8", "SELECT id / 3 FROM users WHERE id = 1"),
        ("SET group_concat_max_len = 4", "SELECT GROUP_CONCAT(email) FROM users WHERE team = 1"),
        ("SET collation_connection = utf8mb4_bin", "SELECT 'a' = 'A' FROM users WHERE id = 1"),
        ("SET lc_time_names = 'de_DE'", "SELECT DATE_FORMAT('2024-05-01', '%W %M') FROM users WHERE id = 1"),
        ("SET sql_mode = 'PIPES_AS_CONCAT'", "SELECT 1 || id FROM users WHERE id = 1"),
        ("SET sql_mode = 'ANSI_QUOTES'", 'SELECT "id" FROM users WHERE id = 1'),
        ("SET sql_mode = 'NO_UNSIGNED_SUBTRACTION'", "SELECT CAST(1 AS UNSIGNED) - id FROM users WHERE id = 2"),
        ("SET sql_mode = 'HIGH_NOT_PRECEDENCE'", "SELECT NOT id BETWEEN -5 AND 5 FROM users WHERE id = 1"),
        ("SET max_sort_length = 8", "SELECT email FROM users WHERE team = 1 ORDER BY CONCAT('12345678', email) DESC"),
        ("SET sql_select_limit = 1", "SELECT id FROM users WHERE team = 1"),
        ("SET default_week_format = 3", "SELECT WEEK('2024-12-31') FROM users WHERE id = 1"),
        ("SET old_mode = ''", "SELECT _utf8'a' FROM users WHERE id = 1"),
    ]
    for change, sql in cases:
        one, other = through(proxy), through(proxy)
        if isinstance(answer(server, sql), int):
            assert change == "SET sql_mode = 'NO_UNSIGNED_SUBTRACTION'"  # without it an error, which is not kept
        else:
            cached(server, one, [sql])
        for connection in (other, server):
            with connection.cursor() as cursor:
                cursor.execute("SET @saved = @@session.sql_mode")
                cursor.execute(change)
        changed = through(proxy)
        changed.cursor().execute(change)
        expected = answer(server, sql)
        for _ in range(3):
            assert answer(changed, sql) == expected, change
            assert answer(other, sql) == expected, change
        server.close()
        server = direct(fresh)
        for _ in range(2):
            assert answer(one, sql) == answer(server, sql), change
        for connection in (one, other, changed):
            connection.close()


def test_another_account_has_values_of_its_own(fresh: MariaDB, turnout: Callable[..., Turnout]) -> None:
    proxy = turnout(rules(fresh))
    sql = "SELECT * FROM users WHERE id = 1"
    server, client = direct(fresh), through(proxy)
    cached(server, client, [sql])
    fresh.execute(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{OPS}'@'%'")
    try:
        fresh.execute(f"GRANT SELECT (id) ON {DATABASE}.users TO '{OPS}'@'%'")
        other = proxy.connect(OPS, OPS_PASSWORD, DATABASE)
        assert answer(other, sql) in (1142, 1143)
        cached(server, client, [sql])
        assert answer(other, sql) in (1142, 1143)
    finally:
        fresh.execute(f"GRANT ALL PRIVILEGES ON *.* TO '{OPS}'@'%'")


def test_a_prepared_statement_means_what_it_meant_when_it_was_prepared(
    fresh: MariaDB, turnout: Callable[..., Turnout]
) -> None:
    """Two sessions with the same settings now, that prepared the same text under different ones."""
    proxy = turnout(rules(fresh))
    server = direct(fresh)
    sql = "SELECT ? || 0 FROM users WHERE id = 1"
    cached(server, through(proxy), ["SELECT * FROM users WHERE id = 1"])
    with Client(proxy.port, APP, APP_PASSWORD, DATABASE) as one, Client(proxy.port, APP, APP_PASSWORD, DATABASE) as two:
        statements = []
        for client, mode in ((one, "PIPES_AS_CONCAT"), (two, "")):
            client.run(f"SET sql_mode = '{mode}'")
            made = client.prepare(sql)
            assert isinstance(made, Statement)
            statements.append(made)
            client.run("SET sql_mode = ''")
        for _ in range(3):
            # Binary rows: a string of two characters, and the integer 1.
            assert one.execute(statements[0], 5).value == b"\0\0\x0250"
            assert (two.execute(statements[1], 5).value or b"").startswith(b"\0\0\x01\0")


def test_known_executions_are_under_the_same_rule(fresh: MariaDB, turnout: Callable[..., Turnout]) -> None:
    """What is bound decides, whichever session binds it and however; and a write ends it."""
    proxy = turnout(rules(fresh))
    server = direct(fresh)
    cached(server, through(proxy), ["SELECT n FROM users WHERE id = 1"])
    sql = "SELECT n FROM users WHERE id = ? AND n <> ?"
    expected = {1: 10, 2: 20, 3: 30}
    fresh.execute(*(f"UPDATE users SET n = {n} WHERE id = {id}" for id, n in expected.items()), database=DATABASE)

    def number(answer: Answer) -> int:
        assert answer.ok
        return int.from_bytes((answer.value or b"")[2:6], "little")

    def again(client: Client, statement: Statement, *values: int) -> Answer:
        """The same types as before, not repeated."""
        head = statement.id.to_bytes(4, "little") + b"\0\1\0\0\0" + b"\0\0"
        return client.command(COM_STMT_EXECUTE, head + struct.pack(f"<{len(values)}q", *values), binary=True)

    with Client(proxy.port, APP, APP_PASSWORD, DATABASE) as one, Client(proxy.port, APP, APP_PASSWORD, DATABASE) as two:
        made = [(client, client.prepare(sql)) for client in (one, two)]
        statements = [(client, each) for client, each in made if isinstance(each, Statement)]
        assert len(statements) == 2

        def ask_all() -> None:
            for client, statement in statements:
                for id, n in expected.items():
                    assert number(client.execute(statement, id, 7)) == n
                    assert number(again(client, statement, id, 7)) == n
                    assert client.execute(statement, id, n).rows == ()
                    assert number(client.execute(statement, str(id), 7)) == n
                    assert number(client.execute(statement, id, 7)) == n

        def served() -> bool:
            before = asked(server)
            ask_all()
            return asked(server) == before

        wait_until(served, SOON_S)
        for n in range(100, 120):
            assert one.query(f"UPDATE users SET n = {n} WHERE id = 2").ok
            expected[2] = n
            ask_all()
        one.run("BEGIN")
        one.run("UPDATE users SET n = 500 WHERE id = 3")
        assert number(one.execute(statements[0][1], 3, 7)) == 500  # its own transaction's
        assert number(two.execute(statements[1][1], 3, 7)) == 30
        one.run("ROLLBACK")
        wait_until(served, SOON_S)


def test_after_change_user_another_account_s_values_are_out_of_reach(
    fresh: MariaDB, turnout: Callable[..., Turnout]
) -> None:
    proxy = turnout(rules(fresh))
    sql = "SELECT n FROM users WHERE id = 1"
    cached(direct(fresh), through(proxy), [sql])
    fresh.execute(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{OPS}'@'%'")
    try:
        fresh.execute(f"GRANT SELECT (id) ON {DATABASE}.users TO '{OPS}'@'%'")
        with Client(proxy.port, APP, APP_PASSWORD, DATABASE) as client:
            assert client.query(sql).ok
            client.change_user(OPS, OPS_PASSWORD, DATABASE)
            assert not client.query(sql).ok
            client.change_user(APP, APP_PASSWORD, DATABASE)
            assert client.query(sql).ok
    finally:
        fresh.execute(f"GRANT ALL PRIVILEGES ON *.* TO '{OPS}'@'%'")


def test_a_right_that_is_revoked_counts_for_cached_answers_too(fresh: MariaDB, turnout: Callable[..., Turnout]) -> None:
    sql = "SELECT * FROM users WHERE id = 1"
    fresh.execute(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{APP}'@'%'")
    try:
        fresh.execute(f"GRANT SELECT ON {DATABASE}.users TO '{APP}'@'%'")
        proxy = turnout(rules(fresh))
        server, client = direct(fresh), through(proxy)
        cached(server, client, [sql])
        fresh.execute(f"REVOKE SELECT ON {DATABASE}.users FROM '{APP}'@'%'")
        wait_until(lambda: answer(client, sql) == 1142, SOON_S)
        assert answer(client, sql) == 1142
    finally:
        fresh.execute(f"GRANT ALL PRIVILEGES ON *.* TO '{APP}'@'%'")


def test_a_class_by_age_is_served_though_it_was_written(fresh: MariaDB, turnout: Callable[..., Turnout]) -> None:
    proxy = turnout(rules(fresh))
    client = through(proxy)
    sql = "SELECT v FROM tokens WHERE id = 1"
    before = answer(client, sql)
    client.cursor().execute("UPDATE tokens SET v = v + 1 WHERE id = 1")
    assert answer(client, sql) == before
    answer(client, "SELECT * FROM users WHERE id = 1")
    wait_until(lambda: "turnout_cache_coherent" in proxy.get("/metrics")[1], SOON_S)
    wait_until(lambda: proxy.metric("turnout_cache_coherent", table=f"{DATABASE}.users") == 1, SOON_S)
    assert proxy.metric("turnout_cache_coherent", table=f"{DATABASE}.tokens") == 0


def test_a_herd_asks_the_server_once(fresh: MariaDB, memcached: Memcached, turnout: Callable[..., Turnout]) -> None:
    """Many clients of four workers miss the same slow answer at once: one asks for it."""
    proxy = turnout(rules(fresh, cache=f", memcached: ['{memcached.address}']", more="workers: 4\n"))
    reads = [f"SELECT SUM(CRC32(REPEAT(v, 200))) FROM slow WHERE id = {n}" for n in range(5)]
    reads += [sql.replace("SUM", "MAX") for sql in reads] + [sql.replace("SUM", "MIN") for sql in reads]
    clients = [through(proxy) for _ in range(24)]
    cached(direct(fresh), clients[0], ["SELECT * FROM users WHERE id = 1"])
    for client in clients:  # every worker knows the definitions and has connections
        for _ in range(2):
            answer(client, "SELECT * FROM users WHERE id = 2")

    def misses() -> float:
        return proxy.metric("turnout_cache_misses_total", table=f"{DATABASE}.slow")

    before = misses()
    for sql in reads:
        found: list[object] = []
        gate = threading.Barrier(len(clients))

        def ask(
            client: Connection, sql: str = sql, found: list[object] = found, gate: threading.Barrier = gate
        ) -> None:
            gate.wait()
            found.append(answer(client, sql))

        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON_S)
        assert len(found) == len(clients)
        assert all(each == found[0] for each in found)
    wait_until(lambda: misses() - before >= len(reads), SOON_S)
    for name in ("waits", "lease_waits", "lease_hits"):
        wait_until(lambda name=name: proxy.metric(f"turnout_cache_{name}_total", table=f"{DATABASE}.slow") > 0, SOON_S)
    # At most one in each worker. How many fewer depends on how busy the machine is: the wait for others is short.
    assert misses() - before <= 4 * len(reads)


def test_reads_go_on_while_memcached_is_stopped_and_gone(
    run: Run, fresh: MariaDB, turnout: Callable[..., Turnout]
) -> None:
    own = run.memcached("own-memcached", size_mb=16)
    proxy = turnout(rules(fresh, cache=f", memcached: ['{own.address}']"))
    server, client = direct(fresh), through(proxy)
    cached(server, client, READS)
    for what in (signal.SIGSTOP, signal.SIGKILL):
        own.signal(what)
        for n in range(3):
            client.cursor().execute(f"UPDATE users SET n = {n} + n")
            began = time.monotonic()
            assert answers(client) == answers(server)
            assert time.monotonic() - began < SOON_S
        cached(server, client, READS)
    own.kill()
