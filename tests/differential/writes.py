"""Writes at random: INSERT, REPLACE, UPDATE, DELETE, with ids that they give themselves."""

from __future__ import annotations

import random

from tests.differential.expressions import Expressions, Source, names_of
from tests.differential.schema import BY_NAME, TABLES, Column, Table, row, value

_PLAIN_KINDS = ("int", "dec", "dbl", "str", "date", "dt", "enum")
# Columns of small numbers: those that may be assigned, and those that name rows of other tables.
_COUNTS = (("customers", "level"), ("orders", "qty"), ("order_lines", "kind"), ("photos", "size"), ("stores", "size"))
_COUNTS += (
    ("staff", "boss"),
    ("settings", "value"),
    ("accounts", "owner"),
    ("logins", "customer_id"),
    ("kinds", "parent"),
)
_NUMBERS = (("customers", "id"), ("orders", "customer_id"), ("orders", "qty"), ("order_lines", "kind"), ("staff", "id"))
_NUMBERS += (
    ("photos", "customer_id"),
    ("accounts", "owner"),
    ("logins", "customer_id"),
    ("kinds", "i"),
    ("stores", "id"),
)
_UNIQUE = (("customers", "id"), ("photos", "id"), ("staff", "id"), ("kinds", "i"))  # alone


class Writes:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.expressions = Expressions(rng, None)

    def make(self) -> tuple[str, str]:
        """(statement, the table that it changes)."""
        makers = (
            *((self.insert, 6), (self.insert_many, 3), (self.on_duplicate, 3), (self.replace, 3), (self.ignore, 3)),
            *((self.update, 8), (self.update_by_key, 8), (self.delete, 4), (self.delete_by_key, 5), (self.joined, 2)),
            *((self.insert_set, 2), (self.from_select, 2), (self.limited, 1), (self.wrong, 2)),
            *((self.spread, 5),),
        )
        (maker,) = self.rng.choices([maker for maker, _ in makers], [weight for _, weight in makers])
        table = self.rng.choice(TABLES)
        return maker(table), table.name

    # -- inserts

    def _rows(self, table: Table, count: int) -> str:
        return ", ".join(f"({', '.join(row(self.rng, table))})" for _ in range(count))

    def insert(self, table: Table) -> str:
        if self.rng.random() < 0.4:
            return f"INSERT INTO {table.name} VALUES {self._rows(table, 1)}"
        columns = [c for c in table.columns if not c.nullable or c.name in table.key or self.rng.random() < 0.7]
        self.rng.shuffle(columns)
        names = ", ".join(column.name for column in columns)
        values = ", ".join(self._value(column) for column in columns)
        return f"INSERT INTO {table.name} ({names}) VALUES ({values})"

    def _value(self, column: Column) -> str:
        if column.nullable and self.rng.random() < 0.05:
            return "DEFAULT"
        return value(self.rng, column)

    def insert_many(self, table: Table) -> str:
        return f"INSERT INTO {table.name} VALUES {self._rows(table, self.rng.randrange(2, 7))}"

    def insert_set(self, table: Table) -> str:
        items = ", ".join(f"{c.name} = {value(self.rng, c)}" for c in table.columns)
        return f"{self.rng.choice(('INSERT INTO', 'REPLACE INTO', 'INSERT IGNORE'))} {table.name} SET {items}"

    def on_duplicate(self, table: Table) -> str:
        column = self._plain_column(table)
        new = self.rng.choice((f"VALUES({column.name})", value(self.rng, column), column.name))
        count = self.rng.choice((1, 1, 3))
        rows = self._rows(table, count)
        return f"INSERT INTO {table.name} VALUES {rows} ON DUPLICATE KEY UPDATE {column.name} = {new}"

    def replace(self, table: Table) -> str:
        return f"REPLACE INTO {table.name} VALUES {self._rows(table, self.rng.choice((1, 1, 2, 4)))}"

    def ignore(self, table: Table) -> str:
        return f"INSERT IGNORE INTO {table.name} VALUES {self._rows(table, self.rng.choice((1, 1, 3, 5)))}"

    def from_select(self, table: Table) -> str:
        rng = self.rng
        orders = self._condition(BY_NAME["orders"])
        lines = "order_lines (customer_id, order_id, line, kind, amount, price)"
        chosen = f"SELECT customer_id, id, 1 + ABS(id) % 4, qty, 3, total FROM orders WHERE {orders}"
        return rng.choice(
            (
                f"INSERT IGNORE INTO {table.name} SELECT * FROM {table.name} WHERE {self._condition(table)}",
                f"INSERT IGNORE INTO {lines} {chosen}",
                f"REPLACE INTO {lines} {chosen}",
                f"INSERT INTO {lines} {chosen} ON DUPLICATE KEY UPDATE kind = 5",
                f"INSERT INTO {lines} {chosen}",
                "INSERT IGNORE INTO photos (id, customer_id, title) SELECT id, level, name FROM customers WHERE id > 0",
                "REPLACE INTO staff (id, boss, name, hired) SELECT i, parent, IFNULL(kind, ''), DATE '2024-01-01' "
                "FROM kinds WHERE i > 0",
            )
        )

    # -- changes

    def _plain_column(self, table: Table) -> Column:
        columns = [c for c in table.columns if c.name not in table.key]
        plain = [c for c in columns if c.kind in _PLAIN_KINDS]
        return self.rng.choice(plain or columns)

    def _source(self, table: Table) -> Source:
        return names_of(table, table.name)

    def _condition(self, table: Table) -> str:
        return self.expressions.condition([self._source(table)], 1, subqueries=False)

    def _key_condition(self, table: Table) -> str:
        column = table.column(table.shard_key or table.key[0])
        rng = self.rng
        if rng.random() < 0.25:
            return f"{column.name} IN ({', '.join(rng.choice(column.values) for _ in range(rng.choice((2, 3))))})"
        where = f"{column.name} = {rng.choice(column.values)}"
        if len(table.key) > 1 and rng.random() < 0.5:
            other = table.column(table.key[1])
            where += f" AND {other.name} {rng.choice(('=', '<', '>='))} {rng.choice(other.values)}"
        return where

    def _assignments(self, table: Table) -> str:
        rng = self.rng
        columns = {self._plain_column(table).name for _ in range(rng.choice((1, 1, 2)))}
        items = []
        for name in sorted(columns):
            column = table.column(name)
            new = value(rng, column)
            if column.kind == "int" and rng.random() < 0.4:
                new = f"IF({name} > 3, 0, IFNULL({name}, 1) + 1)"
            elif column.kind == "dec" and rng.random() < 0.4:
                new = f"IFNULL({name}, 0) * 1"
            elif rng.random() < 0.15:
                new = name
            items.append(f"{name} = {new}")
        return ", ".join(items)

    def update(self, table: Table) -> str:
        return f"UPDATE {table.name} SET {self._assignments(table)} WHERE {self._condition(table)}"

    def update_by_key(self, table: Table) -> str:
        return f"UPDATE {table.name} SET {self._assignments(table)} WHERE {self._key_condition(table)}"

    def limited(self, table: Table) -> str:
        keys = ", ".join(table.key)
        tail = f"WHERE {self._condition(table)} ORDER BY {keys} LIMIT {self.rng.randrange(1, 5)}"
        if self.rng.random() < 0.5:
            return f"DELETE FROM {table.name} {tail}"
        return f"UPDATE {table.name} SET {self._assignments(table)} {tail}"

    def delete(self, table: Table) -> str:
        return f"DELETE FROM {table.name} WHERE {self._condition(table)} AND {self._condition(table)}"

    def delete_by_key(self, table: Table) -> str:
        return f"DELETE FROM {table.name} WHERE {self._key_condition(table)}"

    def joined(self, table: Table) -> str:
        """Of several tables."""
        del table
        rng = self.rng
        customer = rng.randrange(-6, 34)
        return rng.choice(
            (
                "UPDATE orders o JOIN order_lines l ON l.customer_id = o.customer_id AND l.order_id = o.id "
                f"SET o.qty = {rng.randrange(9)} WHERE l.amount > {rng.randrange(5, 25)}",
                "DELETE l FROM order_lines l LEFT JOIN orders o ON o.customer_id = l.customer_id AND o.id = l.order_id "
                f"WHERE o.id IS NULL AND l.customer_id < {customer - 20}",
                f"UPDATE customers c JOIN orders o ON o.customer_id = c.id SET c.level = 1 WHERE c.id = {customer}",
                f"DELETE FROM orders WHERE customer_id = {customer} AND id NOT IN (SELECT order_id FROM order_lines "
                f"WHERE customer_id = {customer})",
                f"UPDATE photos SET size = 7 WHERE customer_id = {customer}",
                "UPDATE orders SET qty = 5 WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = orders.customer_id "
                f"AND c.level = {rng.randrange(5)})",
            )
        )

    def spread(self, table: Table) -> str:
        """Whose rows or values depend on tables that may be elsewhere."""
        del table
        rng = self.rng
        name, column = rng.choice(_COUNTS)
        own = rng.choice([number for each, number in _NUMBERS if each == name] or [column])
        other, key = rng.choice([each for each in _NUMBERS if each[0] != name])
        where = self._condition_of(name, "t")
        groups = (
            f"(SELECT {key} AS k, COUNT(*) AS n FROM {other} WHERE {self._condition(BY_NAME[other])} GROUP BY {key})"
        )
        counted = f"(SELECT COUNT(*) FROM {other} WHERE {other}.{key} = t.{own})"
        keys = f"SELECT {key} FROM {other} WHERE {self._condition(BY_NAME[other])}"
        there, unique = rng.choice([each for each in _UNIQUE if each[0] != name])
        on, join = f"{there} u ON u.{unique} = t.{own}", rng.choice(("JOIN", "LEFT JOIN"))
        if name == "kinds" and rng.random() < 0.7:  # so that it keeps some rows
            return f"UPDATE kinds t SET parent = {counted} WHERE {where}"
        return rng.choice(
            (
                f"UPDATE {name} t {join} {groups} d ON d.k = t.{own} SET t.{column} = d.n WHERE {where}",
                f"UPDATE {name} t, {groups} d SET t.{column} = d.n + 1 WHERE d.k = t.{own}",
                f"UPDATE {name} t SET {column} = {counted} WHERE {where}",
                f"UPDATE {name} t SET {column} = 3 WHERE {own} {rng.choice(('IN', 'NOT IN'))} ({keys}) AND {where}",
                f"UPDATE {name} t {join} {on} SET t.{column} = u.{unique} % 9 WHERE {where}",
                f"UPDATE {name} t JOIN {on} SET t.{column} = 2 WHERE {where}",
                f"DELETE t FROM {name} t JOIN {groups} d ON d.k = t.{own} WHERE d.n > {rng.randrange(2, 6)}",
                f"DELETE t FROM {name} t LEFT JOIN {on} WHERE u.{unique} IS NULL AND {where}",
                f"DELETE FROM {name} WHERE {own} IN ({keys}) AND {self._condition(BY_NAME[name])}",
                f"DELETE FROM {name} WHERE {own} = (SELECT MAX({key}) FROM {other})",
            )
        )

    def _condition_of(self, table: str, alias: str) -> str:
        return self.expressions.condition([names_of(BY_NAME[table], alias)], 1, subqueries=False)

    def wrong(self, table: Table) -> str:
        """What servers refuse."""
        column = self._plain_column(table)
        key = table.column(table.shard_key or table.key[0])
        return self.rng.choice(
            (
                f"UPDATE {table.name} SET nothing = 1 WHERE {key.name} = {key.values[0]}",
                f"DELETE FROM {table.name} WHERE nothing = 1",
                f"INSERT INTO {table.name} (nothing) VALUES (1)",
                f"INSERT INTO {table.name} ({key.name}) VALUES (1, 2)",
                f"UPDATE {table.name} SET {column.name} = (SELECT 1, 2) WHERE {key.name} = {key.values[0]}",
                f"UPDATE customers SET level = 1000 WHERE id = {self.rng.randrange(-6, 34)}",
                "INSERT INTO countries VALUES ('de', 'x', 1)",
                "INSERT INTO kinds VALUES (3, 'x', 1), (4, 'y', 2)",
            )
        )


def tables_of(sql: str) -> list[str]:
    """The tables that are named in a statement."""
    return [name for name in BY_NAME if name in sql]
