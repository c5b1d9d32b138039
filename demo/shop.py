"""The demo's schema and rows."""

from __future__ import annotations

HOME = (
    "CREATE TABLE accounts (id INT PRIMARY KEY AUTO_INCREMENT, email VARCHAR(99) NOT NULL UNIQUE, balance INT)",
    "CREATE TABLE products (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(99) NOT NULL, price DECIMAL(8,2))",
)
MEDIA = (
    "CREATE TABLE photos (id INT PRIMARY KEY AUTO_INCREMENT, product_id INT NOT NULL, caption VARCHAR(200) NOT NULL)",
)
SHARDS = (
    "CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL, country CHAR(2) NOT NULL)",
    "CREATE TABLE orders (id BIGINT NOT NULL, customer_id INT NOT NULL, total DECIMAL(8,2) NOT NULL,"
    " PRIMARY KEY (customer_id, id))",
)
EVERYWHERE = ("CREATE TABLE countries (code CHAR(2) PRIMARY KEY, name VARCHAR(50) NOT NULL)",)

COUNTRIES = (("de", "Germany"), ("fr", "France"), ("jp", "Japan"), ("us", "United States"))
CUSTOMERS = 2000


def customer_rows(first: int, count: int) -> str:
    """VALUES for customers `first` .. `first + count - 1`."""
    return ", ".join(
        f"({i}, 'Customer {i}', '{COUNTRIES[i % len(COUNTRIES)][0]}')" for i in range(first, first + count)
    )


def order_rows(first: int, count: int) -> str:
    """Two orders for each of these customers."""
    return ", ".join(
        f"({2 * i + n}, {i}, {(i * 7 + n) % 300}.50)" for i in range(first, first + count) for n in range(2)
    )
