"""Texts that are read wrongly easily: comments, nothing at all, long names, other lexing modes, many collations."""

from __future__ import annotations

from functools import partial

import pytest

from tests.front import raw
from tests.front.raw import Client
from tests.protocol.both import DATABASE, Both
from tests.protocol.conftest import Connect
from tests.servers import MariaDB

pytestmark = pytest.mark.servers
LONG = "n" * 250


@pytest.mark.parametrize(
    "use",
    [
        "USE {0}",
        "/* c */ USE {0}",
        "/* USE protocol */ USE {0}",
        "-- c\nUSE {0}",
        "# c\n/* d */USE/**/{0}/* e */;",
        "use `{0}`;",
        "/*!USE {0} */",
        "USE {0} -- protocol",
    ],
)
def test_use_behind_comments(both: Both, use: str) -> None:
    both.query(use.format("information_schema")).checked()
    assert both.query("SELECT DATABASE()").value == b"information_schema"
    both.query("SELECT COUNT(*) FROM items")  # which is not there
    both.query(use.format("protocol")).checked()
    assert both.query("SELECT DATABASE(), COUNT(*) FROM items").rows == ((b"protocol", b"60"),)
    assert both.query(use.format("nosuch")).errno == 1049
    assert both.query("SELECT DATABASE()").value == b"protocol"


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        " ; ",
        ";;",
        "; SELECT 1",
        "; COMMIT",
        " ;;SET @a = 1;",
        "/* c */; CREATE TABLE nosuch (id INT)",
        "\0",
        "/* c */",
        "/* c */;",
        "-- c",
        "-- c\n;",
        "#",
        "SELECT $$",
        "SELECT 1 $$",
        "$$",
        "SELECT $a FROM items",
        "SELECT 1;",
        "SELECT 1; ",
        "SELECT 1;;",
        "SELECT 1 ; -- c",
        "SELECT 1 /* never closed",
        "SELECT 1 /*! never closed",
        "/* never closed",
        "/*! SELECT 1",
        "SELECT 'never closed",
        'SELECT "never closed',
        "SELECT `never closed",
        "SELECT 'a\\'",
        "SELECT /* a /* b */ 1",
        "SELECT /* a /* b */ */ 1",
        "SELECT 1 --1",
        "SELECT 1 -- 1",
        "SELECT 1 #1",
        "/*!50000 SELECT */ 1",
        "/*!999999 SELECT 2 */ SELECT 1",
        "SELECT 1 /*!999999 + 1 */ + 10",
        "SELECT\0 1",
        "SELECT 1\0",
        "SELECT 'a' 'b' \"c\"",
        "SELECT N'a', _utf8mb4'b', X'63', 0x64, b'1100101'",
        "SELECT '\\0\\Z\\%\\_\\q'",
        "SELECT 1.e1, .5, 1e-1, 0x, 0b",
        "(SELECT 1)",
        "((SELECT id FROM items WHERE id = 1))",
        "BEGIN NOT ATOMIC SELECT 1; END",
        "SELECT id FROM items WHERE id = 1 PROCEDURE ANALYSE()",
    ],
)
def test_as_the_server_reads_them(both: Both, sql: str) -> None:
    both.query(sql)
    both.query(sql.encode() + b" ")
    assert both.query("SELECT 'next'").value == b"next"


@pytest.mark.parametrize("sql", ["; COMMIT", ";;COMMIT;", "/* c */;COMMIT", "SELECT 1; ;COMMIT", "DO 1;;COMMIT"])
@pytest.mark.parametrize("flags", [0, raw.MULTI_STATEMENTS])
def test_a_statement_behind_nothing_is_not_carried_out(connect: Connect, server: MariaDB, sql: str, flags: int) -> None:
    both = Both(connect(flags=flags), connect(server.port, flags=flags))
    both.run("BEGIN", "SELECT COUNT(*) FROM items")
    answer = both.query(sql)
    assert 1064 in (answer.errno, *(more.errno for more in answer.more))
    assert both.query("SELECT 1").status & raw.IN_TRANS


@pytest.mark.parametrize("sql", ["", ";", "; COMMIT", "/* c */", "SELECT 1;", "SELECT 1 /* never closed", "SELECT $$"])
def test_prepared_as_the_server_reads_them(both: Both, sql: str) -> None:
    def prepared(client: Client) -> raw.Answer:
        made = client.prepare(sql)
        return client.execute(made) if isinstance(made, raw.Statement) else made

    both.same(f"prepare {sql!r}", prepared)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT id AS {LONG} FROM items WHERE id = 1",
        f"SELECT id AS `{LONG}` FROM items ORDER BY `{LONG}` LIMIT 1",
        f"SELECT '{LONG}' FROM items WHERE id = 1",
        f"SELECT {'n' * 257} FROM items",
        f"SELECT id AS {'n' * 257} FROM items",
        f"SELECT * FROM {LONG}",
        f"SELECT * FROM {LONG}.items",
        f"SELECT {LONG}.id FROM items",
        f"SELECT t.id FROM items AS {LONG}",
        f"CREATE TABLE {LONG} (id INT)",
        f"CREATE TABLE short ({LONG} INT)",
        f"USE {LONG}",
        f"SELECT @{LONG}",
        f"SELECT {LONG}()",
        f"CALL {LONG}()",
        f"SAVEPOINT {LONG}",
        "SELECT '🚂' AS " + "🚂" * 60,
    ],
)
def test_long_names(both: Both, sql: str) -> None:
    both.query(sql)
    assert both.query("SELECT 'next'").value == b"next"


def test_long_names_over_several_shards(both: Both) -> None:
    ours = both.ours.query(f"SELECT id AS {LONG} FROM spread ORDER BY {LONG} DESC LIMIT 3").checked()
    theirs = both.theirs.query(f"SELECT id AS {LONG} FROM items ORDER BY {LONG} DESC LIMIT 3")
    assert ours.rows == theirs.rows
    assert [column.name for column in ours.columns] == [LONG.encode()]


def test_long_names_in_commands(both: Both) -> None:
    assert both.command(raw.COM_INIT_DB, LONG.encode()).errno
    for name in (LONG, "n" * 64, "n" * 65):
        both.same(f"columns of {name}", lambda client, name=name: _listed(client, name))  # type: ignore[misc]
    assert both.query("SELECT DATABASE()").value == b"protocol"


def _listed(client: Client, name: str) -> raw.Answer:
    found = client.field_list(name)
    return found if isinstance(found, raw.Answer) else raw.Answer(columns=found)


def test_long_names_at_login(connect: Connect, server: MariaDB) -> None:
    for name in (LONG, "n" * 70_000):
        with pytest.raises((raw.LoginFailed, raw.Disconnected, ConnectionResetError)) as ours:
            connect(database=name)
        if len(name) < 300:
            with pytest.raises(raw.LoginFailed) as theirs:
                connect(server.port, database=name)
            assert str(ours.value) == str(theirs.value)
    assert connect().run("SELECT 1").number == 1


def test_binary_data_without_backslash_escapes(both: Both) -> None:
    data = bytes(range(256)) + b"\\" * 7 + b"'"
    literal = b"'" + data.replace(b"'", b"''") + b"'"
    both.run("SET NAMES binary", "SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')")
    assert both.query(b"SELECT " + literal).rows == ((data,),)
    assert both.query(b"SELECT HEX(" + literal + b"), 1 FROM items WHERE id = 1").rows == (
        (data.hex().upper().encode(), b"1"),
    )
    assert both.query("SELECT 'a\\', 'b'").rows == ((b"a\\", b"b"),)
    made = both.prepare(b"SELECT " + literal + b", ?, '\\'")
    made.execute(data)
    both.run("SET sql_mode = REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', '')")
    assert both.query("SELECT 'a\\', 'b'").errno == 1064
    made.execute(data)  # was read under the other mode, and means what it meant
    escaped = b"'" + data.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
    assert both.query(b"SELECT " + escaped).rows == ((data,),)


def test_writing_binary_data_without_backslash_escapes(both: Both) -> None:
    data = bytes(range(256)) + b"\\" * 7
    both.ours.run("SET NAMES binary", "SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')")
    for table, number in (("items", 5), ("spread", 5), ("spread", 6)):
        before = both.ours.query(f"SELECT data FROM {table} WHERE id = {number}").value
        assert before is not None
        for value in (data, before):
            literal = b"'" + value.replace(b"'", b"''") + b"'"
            update = b"UPDATE %s SET data = %s WHERE id = %d" % (table.encode(), literal, number)
            assert both.ours.query(update).checked().affected_rows == 1
            assert both.ours.query(f"SELECT data FROM {table} WHERE id = {number}").value == value


def test_collations_over_255(both: Both) -> None:
    collation = "utf8mb4_uca1400_swedish_ai_ci"
    table = "information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
    found = both.query(f"SELECT id FROM {table} WHERE full_collation_name = '{collation}'")
    assert found.number > 255
    both.run(f"SET NAMES utf8mb4 COLLATE {collation}")
    assert (
        both.query("SELECT @@collation_connection, 'å' = 'a', 'Å' = 'å', COLLATION('a')").rows[0][0]
        == collation.encode()
    )
    both.run("SET NAMES utf8mb4 COLLATE utf8mb4_bin")
    assert both.query(f"SELECT 'A' = 'a', 'A' COLLATE {collation} = 'a'").rows == ((b"0", b"1"),)
    made = both.prepare(f"SELECT ? COLLATE {collation} = 'A', name FROM items WHERE id = 1")
    made.execute("a")
    both.run(f"CREATE TEMPORARY TABLE swedish (a VARCHAR(10) COLLATE {collation}) SELECT 'å' AS a")
    assert both.query("SELECT COUNT(*), MAX(a) FROM swedish WHERE a = 'Å'").rows[0][0] == b"1"
    both.run("DROP TEMPORARY TABLE swedish")


def test_collations_over_255_in_change_user(both: Both) -> None:
    """Its character set has two bytes; an id without a meaning is the server's default there."""
    for charset in (45, 224, 63, 8, 2304, 0xFFFF):
        for client in (both.ours, both.theirs):
            client.charset = charset
            client.change_user(client.user, client.password, "protocol")
        both.query("SELECT @@character_set_client, @@collation_connection, 'å', HEX('å')")


def test_found_rows(both: Both) -> None:
    for sql, params in (
        ("SELECT SQL_CALC_FOUND_ROWS id FROM items WHERE id > ? ORDER BY id LIMIT 3", (10,)),
        ("SELECT SQL_CALC_FOUND_ROWS id FROM items WHERE id > ? ORDER BY id LIMIT 3 OFFSET 2", (10,)),
        ("SELECT id FROM items WHERE id > ? ORDER BY id", (50,)),
    ):
        made = both.prepare(sql)
        for _ in range(2):
            made.execute(*params)
            assert both.query("SELECT FOUND_ROWS()").number == 60 - params[0]
            made.execute(*params)
            both.prepare("SELECT FOUND_ROWS()").execute()


@pytest.mark.parametrize(
    "does",
    [
        "SELECT id FROM items LIMIT 2; UPDATE items SET day = day WHERE id = 1",
        "SELECT id FROM items LIMIT 2; SELECT 1 INTO @x",
        "SELECT id INTO @x FROM items WHERE id = 3",
        "DO 1",
        "SELECT id FROM items LIMIT 2; UPDATE counted SET n = n + 1",
        "SELECT id FROM items LIMIT 5",
    ],
)
def test_what_was_before_behind_a_procedure(both: Both, server: MariaDB, does: str) -> None:
    """Its own last SELECT counts, which may have sent nothing, and its own last change."""
    server.execute(
        "CREATE OR REPLACE TABLE counted (n INT)",
        "INSERT INTO counted VALUES (1), (2)",
        f"CREATE OR REPLACE PROCEDURE did() BEGIN {does}; END",
        database=DATABASE,
    )
    call = both.prepare("CALL did()")
    for ask in (partial(both.query, "CALL did()"), call.execute):
        for function in ("FOUND_ROWS()", "ROW_COUNT()"):
            both.run("SELECT id FROM items LIMIT 7")
            ask().checked()
            both.query(f"SELECT {function}").checked()


def test_found_rows_over_several_shards(connect: Connect) -> None:
    client = connect()
    made = client.prepare("SELECT SQL_CALC_FOUND_ROWS id FROM spread WHERE id > ? ORDER BY id LIMIT 3")
    assert isinstance(made, raw.Statement)
    for least in (10, 55):
        assert len(client.execute(made, least).checked().rows) == 3
        assert client.query("SELECT FOUND_ROWS()").number == 60 - least


def test_warnings_after_a_large_result(both: Both) -> None:
    sql = "SELECT REPEAT('x', 100000), CAST(CONCAT('x', seq) AS SIGNED) FROM seq_1_to_200"
    assert both.query(sql).warnings == 200
    assert len(both.query("SHOW WARNINGS").rows) == 64  # max_error_count
    assert both.query("SHOW COUNT(*) WARNINGS").number == 200
    assert both.query("SHOW WARNINGS LIMIT 3").rows[0][0] == b"Warning"
    both.query("SELECT 1")
    both.query("SHOW WARNINGS")
    both.query("SELECT COUNT(*) FROM items")
    assert both.query("SHOW WARNINGS").rows == ()


@pytest.mark.parametrize("function", ["ROW_COUNT()", "FOUND_ROWS()"])
@pytest.mark.parametrize("begin", ["DO 1", "BEGIN", "SET @a = CONCAT('held', 1)"])
def test_what_was_before_kept_in_a_variable(connect: Connect, function: str, begin: str) -> None:
    """Refused, unless the connection is at hand that knows; never another statement's number."""
    client = connect()
    client.run(begin, "UPDATE items SET name = name WHERE id = 1")
    right = b"0"
    if function == "FOUND_ROWS()":
        client.run("SELECT SQL_CALC_FOUND_ROWS id FROM items LIMIT 3")
        right = b"60"
    answer = client.query(f"SET @kept = {function}")
    assert answer.errno in (0, 1235)
    assert client.query("SELECT @kept").value == (None if answer.errno else right)
