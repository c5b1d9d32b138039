"""What a session has set, written and begun counts on the workbench too; and nothing of it stays there."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.front.raw import Client
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE
from tests.workbench.shop import CLUSTERS, RULES, Pair

pytestmark = pytest.mark.servers
JOIN = "SELECT t.k, t.id, p.id, p.title FROM things t JOIN photos p ON p.of_id = t.id ORDER BY t.k, t.id, p.id"
COUNTS = (
    "SELECT COUNT(*), SUM(p.price), (SELECT COUNT(*) FROM photos), (SELECT SUM(i) FROM users) FROM parts p "
    "JOIN things t ON t.id = p.of_id LEFT JOIN kinds k ON k.i = t.i"
)


def test_a_transaction_sees_its_own_writes(pair: Pair) -> None:
    before = pair.same(COUNTS).rows
    pair.run(
        "BEGIN",
        "INSERT INTO parts VALUES (3, 9001, 1, 5, 'new'), (4, 9002, 1, 6, 'new')",
        "DELETE FROM photos WHERE id < 10",
        "UPDATE users SET i = 100 WHERE id = 3",
    )
    inside = pair.same(COUNTS).rows
    assert inside != before
    assert pair.same("SELECT COUNT(*) FROM parts a JOIN photos b ON a.part = b.id + 9000").rows == ((b"0",),)
    pair.run("ROLLBACK")
    assert pair.same(COUNTS).rows == before


def test_without_autocommit(pair: Pair) -> None:
    before = pair.same(COUNTS).rows
    pair.run("SET autocommit = 0", "DELETE FROM photos WHERE id < 10")
    assert pair.same(COUNTS).rows != before
    pair.run("ROLLBACK")
    assert pair.same(COUNTS).rows == before
    pair.run("COMMIT", "SET autocommit = 1")
    assert pair.same(COUNTS).rows == before


def test_savepoints_and_isolation(pair: Pair) -> None:
    pair.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "BEGIN")
    pair.same(COUNTS)
    pair.run("SAVEPOINT a", "DELETE FROM parts WHERE k = 3")
    changed = pair.same(COUNTS).rows
    pair.run("ROLLBACK TO a")
    assert pair.same(COUNTS).rows != changed
    pair.run("ROLLBACK")


def test_a_temporary_table_of_the_session(pair: Pair) -> None:
    client, mirror = pair.client, pair.mirror
    for each in (client, mirror):
        each.query("CREATE TEMPORARY TABLE users (id INT, name VARCHAR(20))").checked()
        each.query("INSERT INTO users VALUES (1, 'mine')").checked()
    assert len(pair.same("SELECT u.id, u.name, COUNT(*) FROM users u JOIN things t GROUP BY u.id, u.name").rows) == 1
    for each in (client, mirror):
        each.query("DROP TEMPORARY TABLE users").checked()


@pytest.mark.parametrize(
    "setting",
    [
        "time_zone = '+05:30'",
        "sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'",
        "sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'",
        "sql_select_limit = 3",
        "div_precision_increment = 9",
        "group_concat_max_len = 20",
        "sql_quote_show_create = 0",
        "NAMES latin1",
        "NAMES utf8mb4 COLLATE utf8mb4_bin",
        "character_set_results = latin1",
        "default_week_format = 3",
    ],
)
def test_settings(pair: Pair, setting: str) -> None:
    pair.run(f"SET {setting}")
    try:
        pair.same(
            "SELECT o.k, o.id, o.ts, UNIX_TIMESTAMP(o.ts), o.c, CONCAT(o.c, '|'), o.low, p.price / 3, WEEK(o.ts), "
            "o.local_day, o.who, 'a' || 'b' FROM odd o JOIN parts p ON p.part = o.id ORDER BY o.k, o.id",
            ordered=True,
        )
        pair.same(
            "SELECT k.kind, GROUP_CONCAT(t.id ORDER BY t.id) FROM things t JOIN photos p ON p.of_id = t.id "
            "JOIN kinds k ON k.i = t.i GROUP BY k.kind"
        )
    finally:
        pair.run(
            "SET SESSION time_zone = DEFAULT, sql_mode = DEFAULT, sql_select_limit = DEFAULT, "
            "div_precision_increment = DEFAULT, group_concat_max_len = DEFAULT, sql_quote_show_create = DEFAULT, "
            "default_week_format = DEFAULT",
            "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
        )


@pytest.mark.parametrize(
    "setting",
    [
        "time_zone = '+05:30'",
        "sql_select_limit = 3, div_precision_increment = 9",
        "group_concat_max_len = 20, default_week_format = 3, max_statement_time = 60",
        "lock_wait_timeout = DEFAULT",
        "max_statement_time = 'x'",
        "no_such_setting = 1",
        "max_connections = 100",
    ],
)
def test_settings_of_one_statement(pair: Pair, setting: str) -> None:
    shown = "SELECT @@time_zone, @@sql_select_limit, @@div_precision_increment, @@group_concat_max_len LIMIT 1"
    for sql in (
        "SELECT o.k, o.id, o.ts, p.price / 3, WEEK(o.ts) FROM odd o JOIN parts p ON p.part = o.id ORDER BY o.k, o.id",
        "SELECT k.kind, GROUP_CONCAT(t.id ORDER BY t.id) FROM things t JOIN kinds k ON k.i = t.i GROUP BY k.kind",
        "SELECT k, id FROM things ORDER BY k, id",
        "SELECT i, SUM(g) > 1000, AVG(n) FROM things GROUP BY i ORDER BY i",
        "SELECT id FROM things WHERE k = 3 ORDER BY id",
    ):
        pair.same(f"SET STATEMENT {setting} FOR {sql}", ordered=True)
        pair.same(shown)
    pair.run("BEGIN", "DELETE FROM photos WHERE id < 10")
    pair.same(f"SET STATEMENT {setting} FOR {JOIN}", ordered=True)
    pair.run("ROLLBACK")
    pair.same(shown)
    pair.same(JOIN)


def test_names_and_definitions_beyond_ascii(pair: Pair) -> None:
    pair.run(
        "CREATE TABLE `menü` (`größe` INT PRIMARY KEY, `né` VARCHAR(9) CHARACTER SET latin1 DEFAULT 'é', "
        "art ENUM('ä', 'ö') CHARACTER SET latin1, roh VARBINARY(9), lang TEXT CHARACTER SET utf8mb4)",
        r"INSERT INTO `menü` VALUES (1, DEFAULT, 'ö', X'00275CFF', '😀\\')",
        r"INSERT INTO `menü` VALUES (2, '', NULL, '', NULL), (3, 'ÿ', 'ä', '\0', 'ü')",
    )
    sql = "SELECT m.*, m.art + 0, t.k FROM `menü` m JOIN things t ON t.id = m.`größe`"
    try:
        pair.run("BEGIN")  # in which the table is pulled from where it is
        assert len(pair.same(sql).rows) == 3
        pair.run("ROLLBACK")
        pair.same(sql)
    finally:
        pair.run("DROP TABLE `menü`")


def test_rows_by_the_thousand(pair: Pair, proxy: tuple[Turnout, MariaDB]) -> None:
    """They are passed on as they come, up to the packet that ends them."""
    many = "SELECT t.id, p.id, p.title, REPEAT('x', 30) FROM things t JOIN photos p"
    assert len(pair.same(many).rows) > 10_000
    pair.same("SELECT FOUND_ROWS()")
    # The last row, whichever table is read first, has an error in its place.
    pair.same(f"{many} WHERE IF(t.k = 29 AND p.id = 89, (SELECT id FROM users), 1)")
    with closing(proxy[0].connect(APP, APP_PASSWORD, DATABASE)) as client, client.cursor() as cursor:
        assert cursor.execute(many) > 10_000  # PyMySQL looks at the numbers of packets
        assert cursor.execute("SHOW COUNT(*) WARNINGS") == 1
    pair.same(JOIN)


def test_explain(pair: Pair, shop_servers: Shop) -> None:
    """Each cluster explains what it is asked for, as it does by itself."""
    answer = pair.client.query(
        "EXPLAIN SELECT th.k, ph.title FROM things th JOIN photos ph ON ph.of_id = th.id WHERE th.k IN (1, 8)"
    ).checked()
    assert answer.columns[-1].name == b"cluster"
    found = [row[-1] for row in answer.rows]
    assert found == [b"shard1", b"shard2", b"media"]
    for *row, name in answer.rows:
        assert name is not None
        pulls = "SELECT id, title, of_id FROM photos" if name == b"media" else "SELECT k, id FROM things"
        condition = "" if name == b"media" else " WHERE k IN (1, 8)"
        with Client(shop_servers.server(name.decode()).port, APP, APP_PASSWORD, DATABASE) as client:
            assert client.query(f"EXPLAIN {pulls}{condition}").checked().rows == (tuple(row),)
    as_json = pair.client.query(f"EXPLAIN FORMAT=JSON {JOIN}").checked()
    assert [row[-1] for row in as_json.rows] == [b"shard0", b"shard1", b"shard2", b"media"]
    assert all(b"query_block" in (row[0] or b"") for row in as_json.rows)
    assert pair.client.query(f"ANALYZE {JOIN}").errno == 1235
    pair.same(JOIN)


def test_literals_in_another_character_set(pair: Pair) -> None:
    pair.run("SET NAMES latin1")
    for each in (pair.client, pair.mirror):
        assert each.query(b"SELECT p.k, p.part, f.id FROM parts p JOIN photos f WHERE p.note = '\xe9'").checked().rows
    pair.run("SET NAMES utf8mb4")
    assert pair.same("SELECT p.k, p.part, f.id FROM parts p JOIN photos f WHERE p.note = 'é'").rows
    assert pair.same("SELECT p.k, p.part FROM parts p JOIN photos f ON f.id = p.part WHERE p.note = 'it''s \\\\ \"'").ok


def test_what_the_session_remembers(pair: Pair) -> None:
    pair.run("SET @limit = 7", "INSERT INTO photos (of_id, n) VALUES (1, 1)")
    pair.same("SELECT COUNT(*), LAST_INSERT_ID() FROM parts JOIN photos ON of_id = @limit WHERE parts.k = @limit")
    pair.same("SELECT LAST_INSERT_ID()")
    pair.run("DELETE FROM photos WHERE id = LAST_INSERT_ID()")
    pair.same(
        "SELECT SQL_CALC_FOUND_ROWS t.id, p.id FROM things t JOIN photos p ON p.of_id = t.id ORDER BY 1, 2 LIMIT 2"
    )
    pair.same("SELECT FOUND_ROWS()", ordered=True)
    pair.same("SELECT SQL_CALC_FOUND_ROWS DISTINCT part FROM parts ORDER BY 1 LIMIT 1")  # several shards have the same
    pair.same("SELECT FOUND_ROWS()")
    pair.same(JOIN)
    pair.same("SELECT FOUND_ROWS(), ROW_COUNT()")
    pair.same("SELECT p.id / 0 FROM things t JOIN photos p ON p.of_id = t.id WHERE p.id < 20")
    pair.same("SHOW COUNT(*) WARNINGS")
    pair.same("SELECT 'x' + p.id FROM things t JOIN photos p ON p.of_id = t.id WHERE p.id < 10")
    pair.same("SHOW WARNINGS")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT t.nothing FROM things t JOIN photos p ON p.of_id = t.id",
        "SELECT id FROM things t JOIN photos p ON p.of_id = t.id",
        "SELECT 1 FROM things t JOIN no_such_table n ON n.id = t.id",
        "SELECT (SELECT p.id FROM photos p) FROM things",
        "SELECT t.id FROM things t JOIN photos t ON 1",
    ],
)
def test_errors_are_the_servers_own(pair: Pair, sql: str) -> None:
    assert pair.same(sql).errno
    pair.same(JOIN, ordered=True)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT SUM(g * 0 + i) FROM things WHERE g BETWEEN -10 AND 10",
        "SELECT MIN(e), MAX(s) FROM things",
        "SELECT DISTINCT u FROM odd",
        "SELECT k FROM things GROUP BY k + 1 HAVING COUNT(*) > 1 OR k = 3",
        "SELECT b.* FROM (SELECT k, COUNT(*) AS c FROM things GROUP BY k) AS b ORDER BY c DESC, k LIMIT 5",
        "SELECT part FROM parts NATURAL JOIN things ORDER BY part",
        "SELECT thing.part FROM shop.parts AS thing JOIN shop.photos USING (of_id)",
        "SELECT shop.parts.part, shop.photos.id FROM shop.parts JOIN shop.photos ON shop.parts.part = shop.photos.id",
        "SELECT part FROM parts WHERE EXISTS (SELECT * FROM shop.photos WHERE shop.photos.id = shop.parts.part)",
        "SELECT part FROM parts WHERE part > (SELECT AVG(shop.parts.part) FROM shop.parts)",
        "SELECT part FROM parts FORCE INDEX (of_id) JOIN photos ON photos.id = parts.of_id",
        "SELECT COUNT(*) FROM parts, photos",
        # Merged: a shard that finds an outer join's table empty forgets that its columns are NOT NULL.
        *(
            "SELECT t.g, p.of_id, t.id + p.part FROM parts p LEFT JOIN things t ON t.k = p.k AND (t.k = 23 OR t.k > 20)"
            f" WHERE t.id = 25 AND t.id % 3 = 1{order}"
            for order in ("", " ORDER BY t.k, p.k, p.part")
        ),
        # Answered in place, with names, types, NULLs, warnings as ever.
        "SELECT d.* FROM (SELECT i, COUNT(*), SUM(n) s, AVG(n), MAX(u), MIN(t), y, bin FROM things GROUP BY i, y, bin) "
        "d JOIN photos ON photos.n = d.i",
        "SELECT d.y AS why, d.m + 1 FROM photos LEFT JOIN (SELECT k, y, MAX(at) AS m FROM things GROUP BY k, y) d ON "
        "d.k = photos.id AND photos.n > 3",
        "SELECT (SELECT SUM(n) FROM things WHERE k > 1000), (SELECT COUNT(*)  FROM things WHERE i IS NULL) FROM photos",
        "SELECT COUNT(*) FROM photos WHERE n NOT IN (SELECT i FROM things GROUP BY i)",
        "SELECT COUNT(*) FROM photos WHERE n > ALL (SELECT MAX(i) - 9 FROM things GROUP BY k) OR n = "
        "(SELECT MAX(i) FROM things WHERE uni = 5)",
        "SELECT x.a, COUNT(*) FROM (SELECT DISTINCT a FROM (SELECT MIN(day) AS a FROM things GROUP BY k) AS y) AS x "
        "JOIN photos GROUP BY x.a",
        "SELECT 1 FROM parts JOIN photos LIMIT 1",
        "SELECT c.a FROM (SELECT 1 AS a UNION VALUES (2)) AS c JOIN things t ON t.id = c.a JOIN photos p",
    ],
)
def test_forms(pair: Pair, sql: str) -> None:
    assert pair.same(sql).ok


def test_what_is_refused_by_name(pair: Pair) -> None:
    for sql, text in {
        f"{JOIN} FOR UPDATE": "it locks rows",
        "SELECT t.id INTO @a FROM things t JOIN photos p ON p.of_id = t.id LIMIT 1": "it sets a user variable",
        "SELECT CONNECTION_ID(), t.id FROM things t JOIN photos p ON p.of_id = t.id": "it uses CONNECTION_ID()",
        f"ANALYZE {JOIN}": "ANALYZE cannot be put around",
    }.items():
        answer = pair.client.query(sql)
        assert answer.errno == 1235, sql
        assert text in answer.message


# -- nothing stays


@pytest.fixture(scope="module")
def narrow(run: Run, shop_servers: Shop, proxy: tuple[Turnout, MariaDB]) -> Iterator[Turnout]:
    """One connection to each server, and small limits; the tables are those of `proxy`."""
    rules = RULES.format(
        servers=shop_servers.rules(*CLUSTERS), workbench="{cluster: main, max_rows: 300, max_time: 1s}"
    )
    made = run.turnout(rules.replace("{primary:", "{max_connections: 1, primary:"))
    yield made
    made.kill()


Log = Callable[[], Client]


@pytest.fixture
def log_in(narrow: Turnout) -> Iterator[Log]:
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(narrow.port, APP, APP_PASSWORD, DATABASE))
        return clients[-1]

    yield connect
    for client in clients:
        client.abort()


def _nothing_stayed(client: Client) -> None:
    """Main's own table, which is empty: a temporary one on the only connection would hide it."""
    assert client.query("/* turnout: cluster=main */ SELECT COUNT(*) FROM things").value == b"0"


def test_temporary_tables_are_gone(log_in: Log) -> None:
    client = log_in()
    assert client.query("SELECT COUNT(*) FROM things t JOIN photos p ON p.of_id = t.id").number > 0
    _nothing_stayed(client)
    assert client.query("SELECT COUNT(t.nothing) FROM things t JOIN photos p ON p.of_id = t.id").errno == 1054
    _nothing_stayed(client)


def test_too_many_rows(log_in: Log) -> None:
    client = log_in()
    answer = client.query("SELECT COUNT(*) FROM things t JOIN photos p JOIN parts")
    assert (answer.errno, "more than 300 rows" in answer.message) == (1104, True), answer
    _nothing_stayed(client)
    assert client.query("SELECT COUNT(*) FROM things t JOIN photos p ON p.of_id = t.id").number > 0


_IN_PLACE = "FROM photos f JOIN parts p ON p.part = f.id"  # 89 and 120 rows; with the 150 of `things`, too many


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT f.id {_IN_PLACE} AND f.id IN (SELECT k FROM things GROUP BY k HAVING COUNT(*) > 3 AND MAX(i) > 5)",
        f"SELECT f.id, d.* {_IN_PLACE} JOIN (SELECT i, COUNT(*) AS c, SUM(n), AVG(n), MIN(day), MAX(at) FROM things "
        "GROUP BY i) AS d ON d.i = f.n",
        f"SELECT f.id {_IN_PLACE} WHERE f.n < (SELECT MAX(i) FROM things)",
        # `kinds` now says which rows of others matter, and is brought.
        f"SELECT f.id {_IN_PLACE} JOIN kinds k ON k.i = f.n AND k.i = 2 WHERE f.n < (SELECT COUNT(o.id) FROM photos o)",
        "WITH w AS (SELECT t.k, MIN(uni) AS u, COUNT(*) AS c FROM things t JOIN parts p ON p.k = t.k GROUP BY t.k) "
        f"SELECT * {_IN_PLACE} JOIN w ON w.k = f.id",
    ],
)
def test_few_rows_come_where_subqueries_are_answered_in_place(
    log_in: Log, proxy: tuple[Turnout, MariaDB], sql: str
) -> None:
    client = log_in()
    with closing(Client(proxy[1].port, APP, APP_PASSWORD, DATABASE)) as mirror:
        theirs = mirror.query(sql).checked()
    ours = client.query(sql).checked()
    assert sorted(map(repr, ours.rows)) == sorted(map(repr, theirs.rows))
    assert theirs.rows
    _nothing_stayed(client)


@pytest.mark.parametrize(
    "value",
    [
        "SELECT MAX(g) FROM things",  # floating point
        "SELECT MIN(uni) FROM things",  # a string, and one of several equal ones
        "SELECT MAX(day) FROM things",  # a date, which is compared with a number
        "SELECT SUM(uni) FROM things",
        "SELECT MAX(i) FROM things WHERE uni + 1 = 6",  # warnings
        "SELECT MAX(i + one) FROM things",  # of a derived table around it, whose columns nobody knows
    ],
)
def test_what_cannot_be_answered_in_place_is_pulled(log_in: Log, narrow: Turnout, value: str) -> None:
    """With the rows of the rest these are too many, which tells that they came."""
    client = log_in()
    before = narrow.metric("turnout_fallbacks_total")
    for _ in range(2):  # the second time it is known
        answer = client.query(f"SELECT COUNT(*) {_IN_PLACE} JOIN (SELECT 1 AS one) d WHERE f.n > ({value})")
        assert (answer.errno, "more than 300 rows" in answer.message) == (1104, True), answer
        _nothing_stayed(client)
    if "one" not in value:  # which the plan says
        wait_until(lambda: narrow.metric("turnout_fallbacks_total") == before + 1, 30)


def test_keys_of_what_is_there_keep_other_rows_away(log_in: Log) -> None:
    """All rows of the four tables would be too many."""
    sql = (
        "SELECT u.id, p.part, t.k, f.id FROM things t JOIN photos f ON f.of_id = t.id JOIN parts p ON p.of_id = t.id "
        "JOIN users u ON u.id = p.of_id"
    )
    client = log_in()
    assert client.query(sql).errno == 1104
    found = [row for n in range(30) for row in client.query(f"{sql} WHERE u.id = {n}").checked().rows]
    assert len(found) > 10
    assert {row[0] for row in found} > {b"5"}


def test_a_transaction_outlives_such_an_error(log_in: Log) -> None:
    client = log_in()
    client.run("BEGIN", "UPDATE photos SET n = 77 WHERE id = 5", "UPDATE parts SET price = 1 WHERE k = 3")
    for _ in range(3):
        assert client.query("SELECT COUNT(*) FROM things t JOIN photos p JOIN parts").errno == 1104
        assert client.query("SELECT nothing FROM things t JOIN photos p ON p.of_id = t.id").errno == 1054
    assert client.query("SELECT COUNT(*) FROM things t JOIN photos p ON p.of_id = t.id WHERE p.n = 77").ok
    assert client.query("SELECT n FROM photos WHERE id = 5").number == 77
    client.run("ROLLBACK")
    assert client.query("SELECT n FROM photos WHERE id = 5").value != b"77"


def test_rows_beyond_a_limit_do_not_fail_it(pair: Pair) -> None:
    """Every shard makes as many rows as the statement may have; one server makes those that it has."""
    top = pair.same("SELECT MAX(id) FROM things").number
    sql = f"SELECT id, 18446744073709551615 + (id <> {top}) FROM things ORDER BY id DESC LIMIT {{}}"
    for _ in range(2):
        assert pair.same(sql.format(1)).number == top
        assert pair.same(sql.format(2)).errno == 1690
        assert pair.same("SELECT id FROM things ORDER BY id DESC LIMIT 2").ok


SLOW = "SELECT SUM(SLEEP(5)) FROM things t JOIN photos p ON p.of_id = t.id"


def test_too_long(log_in: Log, shop_servers: Shop) -> None:
    client = log_in()
    answer = client.query(SLOW)
    assert (answer.errno, "within 1 s" in answer.message) == (1317, True), answer
    _nothing_stayed(client)
    running = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SUM(SLEEP%'"
    wait_until(lambda: shop_servers.main.execute(running)[0][0] == 0, 10)


def test_the_client_goes(log_in: Log) -> None:
    gone, client = log_in(), log_in()
    gone.send(SLOW)
    gone.abort()
    _nothing_stayed(client)
    assert client.query("SELECT COUNT(*) FROM things t JOIN photos p ON p.of_id = t.id").number > 0


def test_kill(pair: Pair, proxy: tuple[Turnout, MariaDB]) -> None:
    with Client(proxy[0].port, APP, APP_PASSWORD, DATABASE) as victim:
        victim.send(SLOW)

        def killed() -> bool:
            pair.client.query(f"KILL QUERY {victim.id}").checked()
            return bool(select.select([victim.socket], [], [], 0.2)[0])

        wait_until(killed, 10)
        answer = victim.receive()
        assert answer.errno == 1317 or answer.value is not None, answer  # an interrupted SLEEP gives 1
        assert victim.query(JOIN).checked().rows == pair.client.query(JOIN).rows


WAITING = (
    "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT `id`%photos%' AND STATE LIKE 'Waiting%'"
)


def test_a_source_is_lost(pair: Pair, shop_servers: Shop) -> None:
    media = shop_servers.media
    with closing(media.admin(DATABASE)) as locking:
        locking.cursor().execute("LOCK TABLES photos WRITE")
        pair.client.send(JOIN)
        wait_until(lambda: bool(media.execute(WAITING)), 10)
        media.execute(f"KILL CONNECTION {media.execute(WAITING)[0][0]}")
        answer = pair.client.receive()
        assert answer.errno in (1158, 1317), answer
    assert pair.same(JOIN, ordered=True).rows


def test_a_source_takes_too_long(log_in: Log, shop_servers: Shop) -> None:
    client, media = log_in(), shop_servers.media
    client.run("BEGIN", "UPDATE parts SET price = 1 WHERE k = 3")
    with closing(media.admin(DATABASE)) as locking:
        locking.cursor().execute("LOCK TABLES photos WRITE")
        answer = client.query(JOIN)
        assert (answer.errno, "within 1 s" in answer.message) == (1317, True), answer
        wait_until(lambda: not media.execute(WAITING), 10)  # it is told to end
    assert client.query(JOIN).checked().rows
    client.run("ROLLBACK")
    _nothing_stayed(client)


def test_privileges(run: Run, shop_servers: Shop, proxy: tuple[Turnout, MariaDB]) -> None:
    for name in CLUSTERS:
        shop_servers.server(name).create_account("reader", "r", f"SELECT ON {DATABASE}.*")
    rules = RULES.format(servers=shop_servers.rules(*CLUSTERS), workbench="{cluster: main}")
    made = run.turnout(rules.replace("users:\n", "users:\n  reader: {password: r}\n", 1))
    try:
        with Client(made.port, "reader", "r", DATABASE) as client:
            answer = client.query(JOIN)
            assert answer.errno in (1044, 1142), answer
            assert "could not be copied to the workbench, cluster main" in answer.message
            shop_servers.main.execute(f"GRANT CREATE TEMPORARY TABLES ON {DATABASE}.* TO reader")
        with Client(made.port, "reader", "r", DATABASE) as client:
            assert client.query(JOIN).checked().rows
    finally:
        made.kill()


def test_nothing_reaches_the_binary_log(pair: Pair, shop_servers: Shop) -> None:
    before = shop_servers.main.gtid_position()
    assert pair.same(JOIN, ordered=True).rows
    assert pair.same("SELECT COUNT(*) FROM parts a JOIN parts b ON a.price = b.price").rows
    assert shop_servers.main.gtid_position() == before
