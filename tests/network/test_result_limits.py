"""Results that are larger than the account's may be: 100 rows, 20 KB. The fixture's tables are on a server that is two
shards at once, which has each row twice."""

from __future__ import annotations

import pymysql
import pytest

from tests.front import raw
from tests.front.raw import Answer, Client, Statement
from tests.network.conftest import PASSWORD, Network
from tests.servers.process import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("network")]

ROWS = (1226, "42000", "User 'small' has exceeded the 'result_rows' resource (current value: 100)")
BYTES = (1226, "42000", "User 'small' has exceeded the 'result_bytes' resource (current value: 20480)")
TOO_LARGE = {
    "SELECT seq FROM seq_1_to_101": ROWS,
    "SELECT seq FROM seq_1_to_100000000": ROWS,
    "SELECT REPEAT('x', 3000) FROM seq_1_to_9": BYTES,
    "SELECT REPEAT('x', 30000)": BYTES,
    "SELECT id FROM numbers": ROWS,
    "SELECT id FROM numbers ORDER BY n, id": ROWS,
    "SELECT id, COUNT(*) FROM numbers GROUP BY id": ROWS,
    "SELECT id, RANK() OVER (ORDER BY n) FROM numbers": ROWS,  # on the workbench
    "CALL several()": ROWS,
}


def client(network: Network, database: str = "spread", flags: int = 0) -> Client:
    return Client(network.proxy.port, "small", PASSWORD, database, flags=flags)


def told(answer: Answer) -> tuple[int, str, str]:
    last = answer.more[-1] if answer.more else answer
    return last.errno, last.sqlstate, last.message.split(":")[0] + ":" + last.message.split(":")[1]


@pytest.mark.parametrize("database", ["spread", "packed", "near"])
def test_a_result_of_the_allowed_size_is_whole(network: Network, database: str) -> None:
    with client(network, database) as session:
        assert len(session.query("SELECT seq FROM seq_1_to_100").rows) == 100
        assert session.query("SELECT REPEAT('x', 20000)").ok


@pytest.mark.parametrize("sql", TOO_LARGE)
def test_a_larger_one_ends_with_an_error_as_text_and_prepared(network: Network, sql: str) -> None:
    with client(network) as session:
        answer = session.query(sql)
        assert told(answer) == TOO_LARGE[sql]
        assert session.query("SELECT 1").value == b"1"
        assert session.query("SHOW WARNINGS").ok
        statement = session.prepare(sql)
        assert isinstance(statement, Statement), statement
        for _ in range(2):
            assert told(session.execute(statement)) == TOO_LARGE[sql]
        assert session.query("SELECT COUNT(*) FROM numbers").value == b"6000"


def test_who_asks_for_a_cursor_gets_all_rows_at_once_and_not_too_many(network: Network) -> None:
    with client(network, "plain") as session:
        statement = session.prepare("SELECT seq FROM seq_1_to_101")
        assert isinstance(statement, Statement), statement
        assert told(session.execute(statement, cursor=1)) == ROWS
        statement = session.prepare("SELECT seq FROM seq_1_to_100")
        assert isinstance(statement, Statement), statement
        assert len(session.execute(statement, cursor=1).rows) == 100


@pytest.mark.parametrize("database", ["packed", "near"])
def test_the_transaction_goes_on(network: Network, database: str) -> None:
    with client(network, database) as session:
        session.run(f"CREATE OR REPLACE TABLE kept_{database} (id INT PRIMARY KEY)", "BEGIN")
        session.run(f"INSERT INTO kept_{database} VALUES (1)")
        assert told(session.query("SELECT seq FROM seq_1_to_100000000")) == ROWS
        assert session.query("SHOW WARNINGS").rows[0][1] == b"1226"
        session.run(f"INSERT INTO kept_{database} VALUES (2)", "COMMIT")
        assert session.query(f"SELECT COUNT(*) FROM kept_{database}").value == b"2"


def test_what_follows_in_the_text_is_not_carried_out(network: Network) -> None:
    with client(network, "plain", raw.MULTI_STATEMENTS) as session:
        session.run("CREATE OR REPLACE TABLE not_emptied (id INT) AS SELECT 1 AS id")
        answer = session.query("SELECT seq FROM seq_1_to_101; DELETE FROM not_emptied; SELECT 1")
        assert told(answer) == ROWS
        assert session.query("SELECT COUNT(*) FROM not_emptied").value == b"1"


def test_clients_that_compress_and_statements_sent_ahead(network: Network) -> None:
    options = {"user": "small", "password": PASSWORD, "database": "plain", "port": network.proxy.port}
    with pymysql.connect(host="127.0.0.1", **options) as plain, plain.cursor() as cursor:  # type: ignore[arg-type]
        with pytest.raises(pymysql.MySQLError) as raised:
            cursor.execute("SELECT seq FROM seq_1_to_5000")
        assert raised.value.args[0] == 1226
    with client(network, "plain") as session:
        session.send("SELECT seq FROM seq_1_to_100000000")
        session.send("SELECT 7")
        assert session.receive().errno == 1226
        assert session.receive().value == b"7"


def test_rows_of_a_write_are_not_counted(network: Network) -> None:
    with client(network, "plain") as session:
        session.run("CREATE OR REPLACE TABLE written (id INT)")
        values = ", ".join(f"({number})" for number in range(150))
        assert len(session.query(f"INSERT INTO written VALUES {values} RETURNING id").rows) == 150


def test_other_accounts_have_no_limit_and_the_surplus_is_counted(network: Network) -> None:
    with Client(network.proxy.port, "app", PASSWORD, "plain") as session:
        assert len(session.query("SELECT seq FROM seq_1_to_5000").rows) == 5000
        session.change_user("small", PASSWORD, "plain")
        assert session.query("SELECT seq FROM seq_1_to_5000").errno == 1226
        session.change_user("app", PASSWORD, "plain")
        assert len(session.query("SELECT seq FROM seq_1_to_5000").rows) == 5000
    for reason in ("result-rows", "result-bytes"):
        wait_until(lambda: network.proxy.metric("turnout_refused_statements_total", reason=reason) > 0, 30)  # noqa: B023
