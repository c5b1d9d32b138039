"""Several statements in one text: each goes where it belongs, and the client sees one response, a server's own."""

from __future__ import annotations

from tests.front import raw
from tests.load.place import Pair, Place, seen
from tests.servers.process import wait_until

LOAD = "LOAD DATA LOCAL INFILE 'x' INTO TABLE "
SAME = (
    "SELECT 1; SELECT 2",
    "SELECT 1; SELECT 2;",
    "SELECT 1;;",
    "SELECT 1; ; ",
    "SELECT 1;; SELECT 2",
    "SELECT 1; /* c */; SELECT 2",
    "SELECT 1; -- done",
    "SELECT 1; -- one\nSELECT 2",
    "SELECT 'a;b'; SELECT \"c;d\"; SELECT `id;` FROM (SELECT 1 AS `id;`) AS t",
    "INSERT INTO users (name) VALUES ('x'), ('y'); SELECT LAST_INSERT_ID(); SELECT ROW_COUNT(), FOUND_ROWS()",
    "INSERT INTO photos (k) VALUES (5); SELECT COUNT(*) FROM photos; SELECT COUNT(*) FROM users",
    "SELECT * FROM parts ORDER BY k; UPDATE parts SET n = 7 WHERE k = 2; SELECT * FROM photos ORDER BY id",
    "UPDATE parts SET n = 8; SELECT ROW_COUNT(); DELETE FROM parts WHERE k < 3; SELECT * FROM parts",
    "BEGIN; INSERT INTO users (name) VALUES ('t'); INSERT INTO photos (k) VALUES (9); COMMIT; SELECT name FROM users",
    "BEGIN; INSERT INTO parts (k, part) VALUES (4, 4), (5, 5); ROLLBACK; SELECT COUNT(*) FROM parts",
    "BEGIN; INSERT INTO parts (k, part) VALUES (4, 4); SELECT 1",
    "ROLLBACK; SELECT COUNT(*) FROM parts",
    "SET autocommit = 0; INSERT INTO users (name) VALUES ('z'); ROLLBACK; SET autocommit = 1; SELECT id FROM users",
    "SELECT 1; SELECT * FROM nosuch; SELECT 2",
    "INSERT INTO users VALUES (1, 'dup', 1); INSERT INTO users VALUES (50, 'never', 1)",
    "SELECT COUNT(*) FROM users WHERE id = 50",
    "SELECT 1; INSERT INTO photos (id) VALUES (1); SELECT 2",
    "SELEC 1; SELECT 2",
    "SELECT; SELECT 2",
    "SELECT 1; SELECT 1 FRM 'it''s'; SELECT '" + "x" * 60 + "'",
    f"SELEC {'x' * 73}; SELECT 2",
    f"SELEC {'x' * 100}; SELECT 2",
    "SELECT\n 1 1; SELECT 2",
    "SELECT 1/0; SHOW WARNINGS; SELECT @@warning_count",
    "SELECT 1 FROM users LIMIT 0; SELECT NULL; SELECT REPEAT('x', 300000)",
    "SELECT name FROM users; SELECT name FROM users ORDER BY id DESC; SELECT FOUND_ROWS()",
    "SELECT SQL_CALC_FOUND_ROWS id FROM users LIMIT 1; SELECT FOUND_ROWS()",
    "SET @a = 5; SELECT @a; SET @a = 'text'; SELECT @a, 1",
    "SET NAMES latin1; SELECT 'M\xfcller'; SET NAMES utf8mb4",
    'SET sql_mode = \'ANSI_QUOTES\'; SELECT "name" FROM users WHERE id = 1; SET sql_mode = DEFAULT; SELECT "name"',
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT 'a\\'; SELECT 'b;c'; SET sql_mode = DEFAULT; SELECT 'd\\';e'",
    "USE shop; SELECT DATABASE(); SHOW TABLES LIKE 'users'",
    "CREATE TEMPORARY TABLE tt (a INT); INSERT INTO tt VALUES (1); SELECT * FROM tt; DROP TEMPORARY TABLE tt",
    "CALL three(2, @b); SELECT @b",
    "SELECT 0; CALL three(1, @c); SELECT 9",
    "CALL fails(); SELECT 1",
    "SELECT 1; CALL quiet(@d); SELECT 2",
    "CREATE PROCEDURE tmp() BEGIN SELECT 1; SELECT 2; END; CALL tmp(); DROP PROCEDURE tmp",
    "DO SLEEP(0); SELECT 1",
    "LOCK TABLES users READ; SELECT COUNT(*) FROM users; UNLOCK TABLES",
    "EXPLAIN SELECT 1; SHOW COUNT(*) WARNINGS",
)


def test_one_response_of_several_statements(pair: Pair) -> None:
    for sql in SAME:
        pair.same(sql.encode("latin-1") if "latin1" in sql else sql)
        if ";; S" in sql or "*/;" in sql:  # a server has forgotten the error by then
            pair.same("SELECT COUNT(*) FROM users")
        pair.same("SHOW WARNINGS")
        pair.same("SELECT COUNT(*) AS next FROM users")  # what is left of warnings, too, is gone
        pair.same("ROLLBACK; SET autocommit = 1, sql_mode = DEFAULT; SET NAMES utf8mb4")
    pair.compare("users", "photos", "parts")


def test_many_statements(pair: Pair) -> None:
    """The numbers of packets go past 255, and the time is not that of reading the rest of the text again each time."""
    pair.same("; ".join(f"SELECT {n}, name FROM users" for n in range(600)))
    pair.same(
        "; ".join(f"INSERT INTO users (name) VALUES ('n{n}')" for n in range(300)) + "; SELECT COUNT(*) FROM users"
    )


def test_without_the_capability_it_is_a_syntax_error(place: Place, pair: Pair) -> None:
    with place.pair(0) as without:
        answer = without.same("INSERT INTO users (name) VALUES ('m'); SELECT 1")
        assert answer.errno == 1064
        without.same("SELECT COUNT(*) FROM users")
        for on in (0, 1, 0):  # COM_SET_OPTION: MYSQL_OPTION_MULTI_STATEMENTS_ON is 0
            for client in without.both:
                client.packet(raw.COM_SET_OPTION, on.to_bytes(2, "little"))
            without.same("SELECT COUNT(*) FROM users; SELECT COUNT(*) FROM photos")
        without.same("SELECT 1; SELECT 2")


def test_files_among_them(pair: Pair) -> None:
    """Two LOCAL INFILEs in one text, on two clusters, and an error before a third is asked for."""
    file = [b"100\t1\n", b"", b"101\t1\n"]
    sql = (
        f"SELECT 1; {LOAD}photos (id, k); SELECT COUNT(*) FROM photos; {LOAD}users (id, n); SELECT COUNT(*) FROM users"
    )
    pair.same(sql, file)
    pair.same(sql, file)
    pair.same(f"{LOAD}users (id, n); {LOAD}nosuch; {LOAD}photos (id, k)", [b"110\t1\n"])
    pair.same(f"{LOAD}users (id, n); SELECT 1", [b"x" * 100_000 + b"\n", b"120\t1\n"])
    pair.compare("users", "photos")


def test_a_refusal_is_the_answer_to_its_statement(pair: Pair) -> None:
    answer = pair.client.query("SELECT 1; SELECT 2; LOCK TABLES parts READ; SELECT 3")
    assert answer.ok
    assert [len(answer.more), answer.more[-1].errno] == [2, 1235]
    assert answer.more[0].status & raw.MORE_RESULTS
    assert pair.client.query("SELECT 4").number == 4


def test_pipelined(place: Place, pair: Pair) -> None:
    client = pair.client
    client.numbered = False
    for sql in ("SELECT 1; SELECT 2", "SELECT 3", "SELECT COUNT(*) FROM photos; SELECT COUNT(*) FROM parts"):
        client.send(sql)
    answers = [client.receive() for _ in range(3)]
    assert [(a.number, *(m.number for m in a.more)) for a in answers] == [(1, 2), (3,), (3, 3)]


def test_a_server_that_is_lost_between_two_results(place: Place, pair: Pair) -> None:
    client, meddler = pair.client, place.meddler
    client.run("SELECT * FROM parcels")
    meddler.said, meddler.take = b"'lost'", 0
    client.numbered = True
    meddler.answer = b"\0"  # never complete; then the connection ends
    client.send("SELECT 1; SELECT title, 'lost' FROM parcels; SELECT 2")
    first = client._receive()
    assert first
    meddler.calm()
    other = place.client()
    assert other.query("SELECT COUNT(*) FROM parcels").number == 1
    other.close()


def test_kill_query_ends_the_rest(place: Place, pair: Pair) -> None:
    other = place.client(raw.MULTI_STATEMENTS)
    other.send("SELECT 1; SELECT SLEEP(20), 'to be killed'; SELECT 3")

    def runs() -> bool:
        found = place.servers["main"].execute(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP%to be killed%'"
        )
        return bool(found[0][0])

    wait_until(runs, 20)
    pair.client.run(f"KILL QUERY {other.id}")
    answer = other.receive()
    assert answer.number == 1
    assert len(answer.more) == 1
    assert answer.more[0].errno == 1317 or answer.more[0].rows == ((b"1", b"to be killed"),)
    assert other.query("SELECT 4; SELECT 5").more[0].number == 5
    other.close()


def test_procedures_of_prepared_statements(pair: Pair) -> None:
    """Several result sets in the binary protocol, and OUT parameters as the last of them."""
    for sql, params in (("CALL three(?, ?)", (2, None)), ("CALL quiet(?)", (4,)), ("CALL fails()", ())):
        answers = []
        for client in pair.both:
            statement = client.prepare(sql)
            assert isinstance(statement, raw.Statement)
            answers.append(client.execute(statement, *params))
            answers.append(client.execute(statement, *params))
        assert [seen(a) for a in answers[:2]] == [seen(a) for a in answers[2:]], sql
        assert answers[0].more or answers[0].columns
        pair.same("SELECT 1")


def test_procedures_without_the_capability_for_several_results(place: Place) -> None:
    """CLIENT_MULTI_RESULTS is what a client of a procedure with rows needs."""
    with place.pair(0, raw.MULTI_RESULTS | raw.PS_MULTI_RESULTS) as plain:
        assert plain.same("CALL three(1, @b)").errno == 1312
        plain.same("CALL quiet(@a)")
        plain.same("SELECT 1")
