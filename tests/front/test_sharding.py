"""Tables in four shards against one server that has all the rows: the same answers, or a refusal that helps."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.front import raw
from tests.front.conftest import end
from tests.front.raw import Answer, Client, Statement
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE
from tests.sizes import seed

pytestmark = pytest.mark.servers
SEED = seed()
STEPS = int(os.environ.get("TURNOUT_STEPS", "400"))
SHARDS = 4

RULES = """\
{servers}
shardings:
  by_customer: {{method: hash, clusters: [shard0, shard1, shard2, shard3]}}
  by_email: {{method: hash, clusters: [shard3, shard2, shard1, shard0]}}
  by_year: {{method: range, ranges: [{{below: 2000, cluster: shard0}}, {{below: 2010, cluster: shard1}},
             {{below: 2020, cluster: shard2}}, {{cluster: shard3}}]}}
  by_region: {{method: list, values: {{shard0: [us, ca], shard1: [de], shard2: [fr]}}, default: shard3}}
databases:
  shop:
    home: main
    tables:
      customers: {{sharding: by_customer, key: id}}
      orders: {{sharding: by_customer, key: customer_id}}
      logins: {{sharding: by_email, key: email}}
      events: {{sharding: by_year, key: year}}
      stores: {{sharding: by_region, key: region}}
      countries: {{everywhere: true}}
transactions: {transactions}
health: {{timeout: 30s, connect_timeout: 30s}}
"""
SCHEMA = """\
CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL, country CHAR(2))
CREATE TABLE orders (customer_id INT, id INT, total DECIMAL(10,2), note VARCHAR(60), PRIMARY KEY (customer_id, id))
CREATE TABLE logins (email VARCHAR(60) PRIMARY KEY, customer_id INT NOT NULL)
CREATE TABLE events (year INT, id INT, what VARCHAR(30), PRIMARY KEY (year, id))
CREATE TABLE stores (region VARCHAR(10), id INT, city VARCHAR(30) DEFAULT 'nowhere', PRIMARY KEY (region, id))
CREATE TABLE countries (code CHAR(2) PRIMARY KEY, name VARCHAR(30))
"""
HOME_TABLE = "CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(30))"


class Both:
    """A client of Turnout and one of the server that has everything."""

    def __init__(self, proxy: Turnout, mirror: MariaDB) -> None:
        self.client = Client(proxy.port, APP, APP_PASSWORD, DATABASE)
        self.mirror = Client(mirror.port, APP, APP_PASSWORD, DATABASE)

    def close(self) -> None:
        self.client.abort()
        self.mirror.abort()

    def same(self, sql: str) -> Answer:
        """Both are asked; the answers are equal but for the order of rows that have none."""
        ours, theirs = self.client.query(sql), self.mirror.query(sql)
        ordered = "ORDER BY" in sql
        assert _plain(ours, ordered) == _plain(theirs, ordered), f"{sql}\n  {ours}\n  instead of {theirs}"
        return ours

    def refused(self, sql: str) -> str:
        """Turnout says no; the text of it."""
        ours = self.client.query(sql)
        assert ours.errno, f"{sql} was answered: {ours}"
        assert (ours.errno, ours.sqlstate) == (1235, "42000"), f"{sql}: {ours}"
        # A sentence about this statement, and one about what to do.
        assert ours.message.count(". ") >= 1, ours.message
        assert ours.message.endswith((".", "*/")), ours.message
        return ours.message


def _plain(answer: Answer, ordered: bool) -> Answer:
    rows = answer.rows if ordered else tuple(sorted(answer.rows, key=repr))
    return replace(answer, status=answer.status & 3, rows=rows)


@pytest.fixture(scope="module")
def everything(run: Run) -> MariaDB:
    server = run.mariadb("everything")
    server.create_account(APP, APP_PASSWORD)
    return server


@pytest.fixture
def shards(shop_servers: Shop, everything: MariaDB) -> list[MariaDB]:
    servers = [shop_servers.shard(n) for n in range(SHARDS)]
    shop_servers.main.execute("SELECT 1")
    shop_servers.recreate()
    everything.execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    for server in (*servers, everything):
        server.execute(*SCHEMA.splitlines(), database=DATABASE)
    for server in (shop_servers.main, everything):
        server.execute(HOME_TABLE, database=DATABASE)
    shop_servers.main.execute("CREATE TABLE countries (code CHAR(2) PRIMARY KEY, name VARCHAR(30))", database=DATABASE)
    return servers


def rules(shop: Shop, transactions: str = "best_effort") -> str:
    servers = shop.rules("main", *(f"shard{n}" for n in range(SHARDS)))
    return RULES.format(servers=servers, transactions=transactions)


@pytest.fixture
def both(
    turnout: Callable[..., Turnout], shop_servers: Shop, shards: list[MariaDB], everything: MariaDB
) -> Iterator[Both]:
    proxy = turnout(rules(shop_servers))
    made = Both(proxy, everything)
    for sql in LOADED:
        made.same(sql)
    yield made
    made.close()


def _loaded() -> list[str]:
    rng = random.Random(7)
    countries = "('de', 'Germany'), ('fr', 'France'), ('us', 'United States')"
    statements = [f"INSERT INTO countries (code, name) VALUES {countries}"]
    codes = ("'de'", "'fr'", "'us'", "NULL")
    rows = ", ".join(f"({n}, 'name {n}', {rng.choice(codes)})" for n in range(1, 61))
    statements.append(f"INSERT INTO customers (id, name, country) VALUES {rows}")
    rows = ", ".join(f"({n % 60 + 1}, {n}, {rng.randrange(100, 9999) / 100}, 'it''s; (odd), {n}')" for n in range(200))
    statements.append(f"INSERT INTO orders VALUES {rows}")
    rows = ", ".join(f"('user{n}@example.com', {n})" for n in range(1, 61))
    statements.append(f"INSERT INTO logins (email, customer_id) VALUES {rows}")
    rows = ", ".join(f"({1990 + n}, {n % 3}, 'happened in {1990 + n}')" for n in range(40))
    statements.append(f"INSERT INTO events (year, id, what) VALUES {rows}")
    regions = ("us", "ca", "de", "fr", "it", "es")
    rows = ", ".join(f"('{regions[n % 6]}', {n}, 'city {n}')" for n in range(30))
    statements.append(f"REPLACE INTO stores (region, id, city) VALUES {rows}")
    statements.append("INSERT INTO users (id, name) VALUES (1, 'one'), (2, 'two')")
    return statements


LOADED = _loaded()


def slot(key: object) -> int:
    return zlib.crc32(str(key).encode()) % 4096


def test_every_row_is_on_the_shard_of_its_key(both: Both, shards: list[MariaDB]) -> None:
    def column(server: MariaDB, sql: str) -> list[object]:
        return [row[0] for row in server.execute(sql, database=DATABASE)]

    for n, server in enumerate(shards):
        for table, key in (("customers", "id"), ("orders", "customer_id")):
            keys = column(server, f"SELECT {key} FROM {table}")
            assert keys
            assert all(slot(found) * SHARDS // 4096 == n for found in keys)
            sql = f"SELECT COUNT(*) FROM {table} WHERE CRC32({key}) % 4096 DIV 1024 <> {n}"
            assert column(server, sql) == [0], "as anybody can check with SQL alone"
        assert column(server, "SELECT COUNT(*) FROM countries") == [3]
        years = column(server, "SELECT year FROM events")
        low, high = ((1990, 1999), (2000, 2009), (2010, 2019), (2020, 2029))[n]
        assert years
        assert all(low <= int(str(year)) <= high for year in years)
        regions = {"us": 0, "ca": 0, "de": 1, "fr": 2, "it": 3, "es": 3}
        assert {regions[str(region)] for region in column(server, "SELECT region FROM stores")} == {n}
    total = sum(int(str(column(server, "SELECT COUNT(*) FROM logins")[0])) for server in shards)
    assert total == 60


SINGLE_KEY = """\
SELECT * FROM customers WHERE id = {k}
SELECT * FROM customers WHERE {k} = id AND name LIKE 'name%'
SELECT COUNT(*), SUM(total), MAX(note) FROM orders WHERE customer_id = {k}
SELECT * FROM orders WHERE customer_id = {k} ORDER BY total DESC, id LIMIT 2
SELECT DISTINCT note FROM orders WHERE customer_id = {k} ORDER BY note
SELECT id % 3, COUNT(*) FROM orders WHERE customer_id = {k} GROUP BY id % 3 ORDER BY 1
SELECT c.name, o.id, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = {k} ORDER BY o.id
SELECT c.name, COUNT(o.id) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE c.id = {k} GROUP BY c.name
SELECT c.name, l.name FROM customers c LEFT JOIN countries l ON l.code = c.country WHERE c.id = {k}
SELECT * FROM customers WHERE id = {k} AND EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = customers.id)
SELECT * FROM customers WHERE id = '{k}'
SELECT * FROM customers WHERE id = {k}.0
SELECT * FROM customers WHERE id = {k} OR id = {k}
SELECT * FROM customers WHERE id = -{k}
SELECT * FROM customers WHERE id IN ({k})
SELECT * FROM customers WHERE id IN ({k}, {j})
SELECT o.id, o.total FROM orders o WHERE o.customer_id IN ({k}, {j}, {i}) AND o.total > 20
SELECT * FROM customers WHERE id = {k} OR id = {j}
SELECT * FROM customers WHERE id IN ({k}, '{j}', NULL)
SELECT * FROM logins WHERE email = 'user{k}@example.com'
SELECT * FROM logins WHERE email = 'USER{k}@Example.COM'
SELECT * FROM logins WHERE email IN ('user{k}@example.com', 'user{j}@example.com ')
SELECT * FROM events WHERE year = 19{k2}
SELECT * FROM events WHERE year IN (20{k2}, 19{k2})
SELECT * FROM events WHERE year = '20{k2}' AND id >= 0
SELECT * FROM stores WHERE region = 'de' ORDER BY id
SELECT COUNT(*) FROM stores WHERE region = 'DE'
SELECT COUNT(*) FROM stores WHERE region = 'es'
SELECT id, city FROM stores WHERE region IN ('us', 'ca')
UPDATE customers SET name = CONCAT(name, '!') WHERE id = {k}
UPDATE customers SET name = name WHERE id = {k}
UPDATE customers SET country = 'fr' WHERE id IN ({k}, {j})
UPDATE orders SET total = total + 1, note = 'changed' WHERE customer_id = {k} AND id < 100
UPDATE orders SET total = 0 WHERE customer_id = {k} ORDER BY id LIMIT 1
UPDATE events SET what = 'x' WHERE year = 20{k2}
DELETE FROM orders WHERE customer_id = {k} AND id > 150
DELETE FROM orders WHERE customer_id = {k} LIMIT 0
DELETE FROM customers WHERE id = {k}
INSERT INTO customers VALUES ({k}, 'again', 'de')
INSERT INTO customers (name, id) VALUES ('swapped', {k})
INSERT IGNORE INTO customers (id, name) VALUES ({k}, 'ignored')
INSERT IGNORE INTO customers (id, name) VALUES ({k}, 'two'), ({k}, 'rows')
INSERT INTO customers (id, name) VALUES ({k}, 'up') ON DUPLICATE KEY UPDATE name = 'was there'
REPLACE INTO customers (id, name) VALUES ({k}, 'replaced')
INSERT INTO customers SET id = {k}, name = 'set', country = 'us'
INSERT INTO orders (customer_id, id, total) VALUES ({k}, 9{j}, 1.5)
REPLACE INTO orders (customer_id, id, total, note) VALUES ({k}, 1, 2, 'a'), ({k}, 2, 3, 'b')
INSERT INTO events (year, id) VALUES (20{k2}, 7) ON DUPLICATE KEY UPDATE what = 'seven'
REPLACE INTO stores VALUES ('it', {k}, 'Roma')
BEGIN
COMMIT
ROLLBACK
SELECT ROW_COUNT()
SHOW WARNINGS
SELECT FOUND_ROWS()
""".splitlines()

SCATTER = """\
SELECT id, DEFAULT(city) FROM stores
SELECT DISTINCT DEFAULT(city), id FROM stores ORDER BY 2
SELECT MAX(DEFAULT(city)), COUNT(*) FROM stores
UPDATE stores SET city = DEFAULT(city) WHERE id > 20
SELECT id FROM stores WHERE city = DEFAULT(city) ORDER BY id
SELECT DEFAULT(city) AS c, COUNT(*) FROM stores GROUP BY DEFAULT(city)
SELECT * FROM customers
SELECT id, UPPER(name), country IS NULL FROM customers WHERE country = 'de' OR id < 20
SELECT c.name, o.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.total > 50
SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.total > 90
SELECT c.id, l.name FROM customers c LEFT JOIN countries l ON l.code = c.country
SELECT c.id, l.name FROM customers c JOIN countries l ON l.code = c.country WHERE l.name LIKE '%a%'
SELECT id FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.total > 60)
SELECT c.id, (SELECT MAX(o.total) FROM orders o WHERE o.customer_id = c.id) FROM customers c
SELECT id FROM customers WHERE country IN (SELECT code FROM countries WHERE name LIKE 'F%')
SELECT * FROM events WHERE what LIKE '%5'
SELECT region, id FROM stores WHERE id BETWEEN 3 AND 20
SELECT id FROM customers WHERE id > 1000
SELECT * FROM orders WHERE customer_id = 1 OR total > 90
UPDATE orders SET note = 'cheap' WHERE total < 30
UPDATE orders SET note = note
UPDATE orders SET total = total * 2 WHERE total > 95
DELETE FROM orders WHERE total > 150
UPDATE customers SET country = 'us' WHERE country IS NULL
UPDATE customers c JOIN orders o ON o.customer_id = c.id SET o.note = c.name WHERE o.total < 10
DELETE o FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.country = 'fr' AND o.total < 20
SELECT ROW_COUNT()
SELECT * FROM customers FOR UPDATE
INSERT INTO customers (id, name) VALUES (201, 'a'), (202, 'b'), (203, 'c'), (204, 'd'), (205, 'e')
SELECT ROW_COUNT()
INSERT INTO customers (id, name) VALUES (301, 'a'), (302, 'b'), (203, 'twice'), (304, 'd')
INSERT IGNORE INTO customers (id, name) VALUES (401, 'a'), (202, 'twice'), (203, 'twice'), (404, 'd')
REPLACE INTO customers (id, name) VALUES (401, 'A'), (202, 'B'), (203, 'C'), (504, 'D')
INSERT INTO orders VALUES (1, 901, 1, '), ('), (2, 902, 2, "x'y"), (3, 903, 3, NULL), /* gap */ (4, 904, 4, '')
UPDATE countries SET name = 'La France' WHERE code = 'fr'
INSERT INTO countries VALUES ('it', 'Italy'), ('es', 'Spain')
DELETE FROM countries WHERE code = 'es'
SELECT * FROM countries ORDER BY code
SELECT id, 1/0 FROM customers WHERE id < 4
BEGIN
UPDATE orders SET note = 'in a transaction'
INSERT INTO customers (id, name) VALUES (601, 'a'), (602, 'b'), (603, 'c')
SELECT id FROM customers WHERE id > 600
ROLLBACK
SELECT id, note FROM orders WHERE note = 'in a transaction'
SELECT id FROM customers WHERE id > 600
BEGIN
INSERT INTO customers (id, name) VALUES (601, 'a'), (602, 'b'), (603, 'c')
SAVEPOINT one
DELETE FROM customers WHERE id < 10
ROLLBACK TO one
DELETE FROM customers WHERE id = 602
COMMIT
SELECT id FROM customers
SELECT nosuch FROM customers
UPDATE customers SET nosuch = 1
""".splitlines()


def test_statements_by_key_at_random(both: Both) -> None:
    rng = random.Random(SEED)
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    for _ in range(STEPS):
        template = rng.choice(SINGLE_KEY)
        names = {"k": rng.randrange(1, 70), "j": rng.randrange(1, 70), "i": rng.randrange(1, 70)}
        both.same(template.format(**names, k2=f"{rng.randrange(100):02}"))
    both.same("COMMIT")
    for table in ("customers", "orders", "logins", "events", "stores"):
        both.same(f"SELECT * FROM {table}")


def test_statements_over_all_shards(both: Both) -> None:
    for sql in SCATTER:
        both.same(sql)
    for table in ("customers", "orders", "logins", "events", "stores"):
        both.same(f"SELECT * FROM {table}")


def test_prepared_statements_go_by_their_values(both: Both) -> None:
    made = [
        (sql, both.client.prepare(sql), both.mirror.prepare(sql))
        for sql in (
            "SELECT * FROM customers WHERE id = ?",
            "SELECT o.* FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.id = ? ORDER BY o.id",
            "UPDATE customers SET name = CONCAT('p', id) WHERE id = ?",
            "INSERT INTO orders (customer_id, id) VALUES (?, 5000)",
            "DELETE FROM orders WHERE customer_id = ? AND id = 5000",
        )
    ]
    for key in [*range(1, 25), "7", None, -3, "7x", 2.0]:
        for sql, ours, theirs in made:
            assert isinstance(ours, Statement), ours
            assert isinstance(theirs, Statement)
            if "INSERT" in sql and not isinstance(key, int):
                continue
            answer = both.client.execute(ours, key)
            if answer.errno == 1235 and not isinstance(key, int):
                continue
            assert _plain(answer, True) == _plain(both.mirror.execute(theirs, key), True), (sql, key)
    both.same("SELECT * FROM customers")
    both.same("SELECT * FROM orders")


REFUSALS = {
    "SELECT SUM(total) / 2 FROM orders": "customer_id",
    "SELECT COUNT(DISTINCT note) FROM orders": "COUNT",
    "SELECT name AS x FROM customers ORDER BY LENGTH(x)": "alias x",
    "SELECT DISTINCT country FROM customers ORDER BY id": "select",
    "SELECT id FROM customers ORDER BY (1)": "place",
    "SELECT country, COUNT(*) FROM customers GROUP BY country HAVING AVG(id) > 1": "shard key id",
    "SELECT country, COUNT(*) FROM customers GROUP BY country WITH ROLLUP": "ROLLUP",
    "SELECT name, COUNT(*) FROM customers GROUP BY country": "name",
    "SELECT country, COUNT(*) FROM customers GROUP BY country ORDER BY MAX(id)": "max(id)",
    "SELECT * FROM orders a JOIN orders b ON a.id = b.customer_id + 1": "orders",
    "SELECT * FROM users u JOIN customers c ON c.id = u.id": "everywhere: true",
    "SELECT * FROM customers c JOIN logins l ON l.customer_id = c.id": "logins",
    "INSERT INTO customers (name) VALUES ('keyless')": "id",
    "INSERT INTO customers (id, name) VALUES (1 + 1, 'computed')": "id",
    "INSERT INTO orders (total) SELECT total FROM orders": "customer_id",
    "UPDATE customers SET id = 5 WHERE name = 'x'": "shard key",
    "UPDATE orders SET total = 1 ORDER BY 1 LIMIT 3": "customer_id",
    "DELETE FROM customers ORDER BY 1 LIMIT 1": "customers",
    "INSERT INTO countries VALUES ('xx', UUID())": "countries",
    "ALTER TABLE customers DROP COLUMN id": "the other key",
    "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES users (id)": "everywhere: true",
    "LOCK TABLES customers WRITE": "FOR UPDATE",
    "SELECT ROW_NUMBER() OVER (ORDER BY id) FROM customers": "window",
    "SELECT id FROM customers UNION SELECT id FROM users": "users",
}


@pytest.mark.parametrize("sql", REFUSALS)
def test_refusals_say_why_and_what_to_do(refusing: Both, sql: str) -> None:
    before = refusing.client.run("SELECT id, name, country FROM customers").rows
    message = refusing.refused(sql)
    assert REFUSALS[sql] in message, message
    assert sorted(refusing.client.run("SELECT id, name, country FROM customers").rows, key=repr) == sorted(
        before, key=repr
    )


@pytest.fixture(scope="module")
def refusing(run: Run, shop_servers: Shop, everything: MariaDB) -> Iterator[Both]:
    """One Turnout for all refusals: they change nothing."""
    servers = [shop_servers.shard(n) for n in range(SHARDS)]
    shop_servers.main.execute("SELECT 1")
    shop_servers.recreate()
    everything.execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    for server in (shop_servers.main, everything, *servers):
        server.execute(*SCHEMA.splitlines(), HOME_TABLE, database=DATABASE)
    proxy = run.turnout(rules(shop_servers))
    made = Both(proxy, everything)
    for sql in LOADED:
        made.same(sql)
    yield made
    made.close()
    end(proxy)


def test_a_failure_on_one_shard_undoes_all(both: Both, shards: list[MariaDB]) -> None:
    before = both.same("SELECT * FROM orders").rows
    # The third shard refuses a value that the others take.
    shards[2].execute("ALTER TABLE orders ADD CONSTRAINT small CHECK (total < 100000)", database=DATABASE)
    failed = both.client.query("UPDATE orders SET total = 100000 WHERE total > 0")
    assert failed.errno == 4025, failed
    assert sorted(both.client.run("SELECT * FROM orders").rows, key=repr) == sorted(before, key=repr)
    both.client.run("BEGIN", "UPDATE customers SET name = 'kept' WHERE id = 1")
    assert both.client.query("UPDATE orders SET total = 100000").errno == 4025
    both.client.run("COMMIT")
    assert both.client.run("SELECT name FROM customers WHERE id = 1").value == b"kept", "the rest of it goes on"
    assert sorted(both.client.run("SELECT * FROM orders").rows, key=repr) == sorted(before, key=repr)


def test_single_allows_one_cluster_per_transaction(
    turnout: Callable[..., Turnout], shop_servers: Shop, shards: list[MariaDB], everything: MariaDB
) -> None:
    proxy = turnout(rules(shop_servers, "single"))
    made = Both(proxy, everything)
    by_shard: dict[int, int] = {}
    for key in range(1, 60):
        by_shard.setdefault(slot(key) * SHARDS // 4096, key)
    one, other = by_shard[0], by_shard[3]
    for key in (one, other):
        made.same(f"INSERT INTO customers (id, name) VALUES ({key}, 'x')")
    several = f"INSERT INTO customers (id, name) VALUES ({one + 1000}, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (4, 'e')"
    assert "best_effort" in made.refused(several)
    made.refused("UPDATE customers SET name = 'y'")
    made.same("BEGIN")
    made.same(f"UPDATE customers SET name = 'changed' WHERE id = {one}")
    made.same(f"SELECT name FROM customers WHERE id = {other}")
    assert made.client.query(f"UPDATE customers SET name = 'changed' WHERE id = {other}").errno == 1235
    made.same("COMMIT")
    made.same("SELECT * FROM customers")
    made.close()


def test_user_variables_of_a_session_that_is_pinned_to_two_clusters_are_not_guessed(both: Both) -> None:
    """Each connection has variables of its own: which of them has the last value is not known."""
    client = both.client
    client.run("SELECT @n := 5 FROM users", "SELECT GET_LOCK('two', 0) FROM orders WHERE customer_id = 1 LIMIT 1")
    client.run("SELECT @n := 7 FROM users")
    answer = client.query("SELECT @n FROM orders WHERE customer_id = 1")
    assert answer.errno
    assert "user variable" in answer.message
    client.command(raw.COM_RESET_CONNECTION)
    client.run("SELECT @n := 7 FROM users")
    assert client.run("SELECT @n FROM users LIMIT 1").value == b"7"
