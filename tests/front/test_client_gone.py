"""Clients that go away in the middle of something: no server connection is lost, and nothing of theirs stays on it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.front import raw
from tests.front.raw import Client, Statement
from tests.servers import Shop, Turnout
from tests.servers.shop import DATABASE

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("home")]  # which makes the tables
LogIn = Callable[..., Client]

LAST_WORDS = {
    "a read": ["SELECT n FROM items"],
    "an error": ["SELECT nosuch FROM items"],
    "a warning": ["SELECT CAST('x' AS SIGNED)"],
    "an error in a transaction": ["BEGIN", "SELECT nosuch FROM items"],
    "an error without autocommit": ["SET autocommit = 0", "SELECT nosuch FROM items"],
    "a write": ["BEGIN", "UPDATE items SET n = n WHERE id = 1"],
    "an insert": ["INSERT INTO items (name) VALUES ('gone') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)"],
    "commit": ["BEGIN", "UPDATE items SET n = n + 0 WHERE id = 1", "COMMIT"],
    "rollback": ["BEGIN", "UPDATE items SET n = n + 0 WHERE id = 1", "ROLLBACK"],
    "chain": ["BEGIN", "SELECT n FROM items", "COMMIT AND CHAIN"],
    "a snapshot": ["START TRANSACTION WITH CONSISTENT SNAPSHOT"],
    "a savepoint": ["BEGIN", "SELECT n FROM items", "SAVEPOINT here", "ROLLBACK TO here"],
    "one transaction's mode": ["SET TRANSACTION READ ONLY", "UPDATE items SET n = 1 WHERE id = 1"],
    "a setting": ["SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')"],
    "a charset": ["SET NAMES latin1 COLLATE latin1_german1_ci"],
    "a wrong setting": ["SET sql_mode = 'NOSUCH'"],
    "another database": ["USE nosuch"],
    "the same database": [f"USE {DATABASE}"],
    "a user variable": ["SET @a = CONCAT('a', 'b')"],
    "a temporary table": ["CREATE TEMPORARY TABLE gone (id INT)"],
    "a lock": ["SELECT GET_LOCK('gone', 0)"],
    "calculated rows": ["SELECT SQL_CALC_FOUND_ROWS n FROM items LIMIT 1"],
    "a slow read": ["SELECT SLEEP(0.05), n FROM items LIMIT 1"],
    "a large read": ["SELECT REPEAT('x', 100000) FROM seq_1_to_100"],
    "ddl": ["CREATE OR REPLACE TABLE gone (id INT)"],
}
MOMENTS_S = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.01)


def test_a_client_that_goes_away_at_any_moment_leaves_no_connection_behind(
    turnout: Callable[..., Turnout], shop_servers: Shop, log_in: LogIn
) -> None:
    """With one server connection, the next client waits for good if it is lost, and sees what was not cleaned up."""
    rules = shop_servers.rules().replace("{primary:", "{max_connections: 1, primary:")
    proxy = turnout(f"{rules}pool: {{wait: 3s}}\ndatabases:\n  {DATABASE}: {{home: main}}\n")
    clean = "SELECT @@autocommit, @@sql_mode = @@global.sql_mode, @@in_transaction, @a IS NULL, IS_FREE_LOCK('gone')"
    for what, statements in LAST_WORDS.items():
        for moment_s in MOMENTS_S:
            client = log_in(proxy)
            for sql in statements[:-1]:
                client.run(sql)
            client.send(statements[-1])
            time.sleep(moment_s)
            client.abort()
            after = log_in(proxy).query(clean)
            for _ in range(100):
                if what != "a lock" or after.rows != ((b"1", b"1", b"0", b"1", b"0"),):
                    break
                time.sleep(0.05)  # the server has not noticed yet that the connection with the lock was closed
                after = log_in(proxy).query(clean)
            assert after.rows == ((b"1", b"1", b"0", b"1", b"1"),), f"{what}, {moment_s} s: {after}"
    shop_servers.main.execute("DROP TABLE IF EXISTS gone", database=DATABASE)


def test_a_client_that_goes_away_while_preparing_or_executing(
    turnout: Callable[..., Turnout], shop_servers: Shop, log_in: LogIn
) -> None:
    rules = shop_servers.rules().replace("{primary:", "{max_connections: 1, primary:")
    proxy = turnout(f"{rules}pool: {{wait: 3s}}\ndatabases:\n  {DATABASE}: {{home: main}}\n")
    for sql in ("SELECT n FROM items WHERE id = ?", "SELECT nosuch, ? FROM items", "SELECT SLEEP(0.01), ?, @a := 5"):
        for moment_s in MOMENTS_S:
            client = log_in(proxy)
            client.socket.sendall(raw.framed(bytes((raw.COM_STMT_PREPARE,)) + sql.encode()))
            time.sleep(moment_s)
            client.abort()
            assert log_in(proxy).query("SELECT @a").rows == ((None,),), (sql, "prepare", moment_s)
            client = log_in(proxy)
            made = client.prepare(sql)
            if isinstance(made, Statement):
                bound = made.id.to_bytes(4, "little") + b"\0\1\0\0\0" + b"\0\1\x08\0" + (1).to_bytes(8, "little")
                client.socket.sendall(raw.framed(bytes((raw.COM_STMT_EXECUTE,)) + bound))
                time.sleep(moment_s)
            client.abort()
            assert log_in(proxy).query("SELECT @a").rows == ((None,),), (sql, "execute", moment_s)
