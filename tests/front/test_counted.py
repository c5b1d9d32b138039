"""Every statement is in its shape's numbers, once, whatever carries it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from parser.analyse import shape_digest
from parser.shape import lexer
from tests.front.raw import Client, Statement
from tests.servers import Shop, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import DATABASE

pytestmark = pytest.mark.servers

RULES = """
workers: 1
shardings:
  customer: {method: hash, clusters: [shard0, shard1]}
databases:
  shop:
    home: main
    tables:
      customers: {sharding: customer, key: id}
      orders: {sharding: customer, key: customer_id}
      countries: {everywhere: true}
workbench: {cluster: main}
transactions: best_effort
"""
TABLES = {
    "customers": "id INT PRIMARY KEY, name VARCHAR(50)",
    "orders": "id BIGINT AUTO_INCREMENT PRIMARY KEY, customer_id INT NOT NULL, total INT",
    "countries": "code CHAR(2) PRIMARY KEY, name VARCHAR(50)",
    "users": "id INT PRIMARY KEY, customer_id INT",
}
TEXTS = (
    "INSERT INTO customers VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')",
    "INSERT INTO orders (customer_id, total) VALUES (1, 1), (2, 2), (3, 3), (4, 4)",
    "INSERT INTO countries VALUES ('de', 'Germany')",
    "INSERT INTO users VALUES (1, 1), (2, 2)",
    "UPDATE orders SET total = total + 1",
    "UPDATE orders SET total = 9 WHERE customer_id IN (1, 2, 3, 4)",
    "UPDATE customers SET name = 'x' WHERE id = 1",
    "DELETE FROM countries WHERE code = 'xx'",
    "INSERT INTO users SELECT id + 100, id FROM customers",
    "INSERT INTO customers SELECT id + 1000, 'copy' FROM users",
    "SELECT COUNT(*) FROM orders",
    "SELECT * FROM customers ORDER BY id",
    "SELECT c.name FROM customers c JOIN users u ON u.customer_id = c.id",
    "SELECT id, ROW_NUMBER() OVER (ORDER BY id) FROM customers",
    "SET STATEMENT max_statement_time = 5 FOR UPDATE orders SET total = 0",
    "CREATE TABLE countries2 (id INT)",
    "ALTER TABLE countries ADD note INT",
    "OPTIMIZE TABLE customers",
    "SELECT LAST_INSERT_ID()",
)
PREPARED = (
    ("UPDATE orders SET total = total + ?", (b"1",)),
    ("UPDATE customers SET name = ? WHERE id IN (1, 2, 3, 4, 5)", (b"y",)),
    ("INSERT INTO orders (customer_id, total) VALUES (1, ?), (2, 7), (3, 8), (4, 9)", (b"1",)),
    ("SELECT COUNT(*), SUM(total) FROM orders WHERE total > ?", (b"0",)),
    ("SELECT c.id FROM customers c JOIN users u ON u.customer_id = c.id AND c.id > ?", (b"0",)),
)


def test_every_statement_is_counted_once(
    turnout: Callable[..., Turnout], log_in: Callable[..., Client], shop_servers: Shop
) -> None:
    for name in ("main", "shard0", "shard1"):
        shop_servers.server(name)
    shop_servers.recreate()
    for name in ("main", "shard0", "shard1"):
        for table, columns in TABLES.items():
            shop_servers.server(name).execute(f"CREATE TABLE {table} ({columns})", database=DATABASE)
    proxy = turnout(shop_servers.rules("main", "shard0", "shard1") + RULES)
    client, admin = log_in(proxy), log_in(proxy, admin=True)
    for sql in TEXTS:
        client.run(sql)
    for sql, values in PREPARED:
        made = client.prepare(sql)
        assert isinstance(made, Statement)
        client.execute(made, *values).checked()
    sent = (*TEXTS, *(sql for sql, _ in PREPARED))
    wanted = Counter(shape_digest(lexer().shape(sql.encode())[0], lexer()) for sql in sent)

    def counted() -> dict[str, int]:
        rows = admin.query("SHOW TURNOUT SHAPES LIMIT 500").checked().rows
        return {(row[-1] or b"").decode(): int(row[1] or 0) for row in rows}

    counts: dict[str, int] = {}

    def all_are_there() -> bool:
        counts.update(counted())
        return counts.keys() >= wanted.keys()

    try:
        wait_until(all_are_there, 20)
    except TimeoutError:
        pytest.fail(f"not counted: {wanted.keys() - counts.keys()}")
    assert {shape: counted()[shape] for shape in wanted} == wanted
