"""A tracker that is fed bytes of events: a few cached tables, rows of theirs, and a clock that remembers."""

from __future__ import annotations

import struct
from pathlib import Path

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.back.tags import class_seed, key_slot, table_slot
from proxy.rules.loader import parse
from proxy.stream.events import Decoder
from proxy.stream.tracker import Tracker
from proxy.stream.wanted import Wanted, wanted
from tests.stream import log

RULES = """\
turnout: 1
listen: {mysql: 127.0.0.1:3307}
users: {app: {password: app}}
clusters: {main: {primary: 127.0.0.1:3306}}
service: {user: turnout, password: turnout}
databases:
  shop:
    home: main
    tables:
      orders: {cache: [{by: [id]}, {by: [customer, day]}]}
      notes: {cache: {by: [id]}}
"""
ORDERS = TableSchema(
    "shop",
    "orders",
    (
        Column("id", "int"),
        Column("customer", "varchar", charset="utf8mb4", collation="utf8mb4_general_ci", length=20),
        Column("at", "datetime"),
        Column("day", "date"),
    ),
    primary_key=("id",),
    unique_keys=(("id",),),
    engine="InnoDB",
)
NOTES = TableSchema(
    "shop", "notes", (Column("at", "time"), Column("id", "int")), (), "", ("id",), (("id",),), engine="InnoDB"
)
PARENT = TableSchema("shop", "parents", (Column("id", "int"),), engine="InnoDB", cascades=(("shop", "orders"),))
LEADERS, VERSIONED = (
    TableSchema(
        "shop",
        name,
        (Column("id", "int"), Column("n", "int")),
        engine="InnoDB",
        is_base=is_base,
        cascades=(("shop", "orders"),),
        referenced=("id",),
    )
    for name, is_base in (("leaders", True), ("versioned", False))
)
CATALOG = Catalog(
    {("main", table.database, table.name): table for table in (ORDERS, NOTES, PARENT, LEADERS, VERSIONED)},
    1,
)
EPOCH, NOTES_EPOCH = table_slot("shop", "orders"), table_slot("shop", "notes")
TYPES, META = [3, 15, 18, 10], b"\x50\0\0"


def by_id(number: int) -> int:
    return key_slot(class_seed("shop", "orders", ["id"]), [b"%d" % number])


def by_customer(name: bytes | None, day: bytes | None) -> int:
    return key_slot(class_seed("shop", "orders", ["customer", "day"]), [name, day])


def order(number: int, customer: bytes | None = b"Ann", day: tuple[int, int, int] | None = (2024, 2, 29)) -> bytes:
    nulls = (customer is None) << 1 | (day is None) << 3
    image = bytes((nulls,)) + struct.pack("<i", number)
    if customer is not None:
        image += bytes((len(customer),)) + customer
    image += bytes(5)
    if day is not None:
        image += (day[0] << 9 | day[1] << 5 | day[2]).to_bytes(3, "little")
    return image


class Clock:
    def __init__(self) -> None:
        self.touched: list[tuple[set[int], int]] = []
        self.applied = 0

    def touch(self, slots: set[int], position: int) -> None:
        assert position > self.applied, "touched after it was said to be applied"
        self.touched.append((set(slots), position))

    def apply(self, position: int) -> None:
        assert position >= self.applied
        self.applied = position


class Stream:
    """A tracker that is fed bytes of events, each ten positions after the one before."""

    def __init__(self, known: Wanted | None = None) -> None:
        self.clock = Clock()
        self.changed = 0
        self.position = 1000
        self.tracker = Tracker(self.clock, known or wanted(parse(RULES, Path("r")), CATALOG, "main"), self._change)
        self._decoder = Decoder(True)

    def _change(self) -> None:
        self.changed += 1

    def feed(self, *events: bytes) -> int:
        for data in events:
            self.position += 10
            event = self._decoder.decode(data)
            self.tracker.feed(event, 0 if event.header.artificial else self.position)
        return self.position

    @property
    def touched(self) -> list[tuple[set[int], int]]:
        found, self.clock.touched = self.clock.touched, []
        return found


def mapped(table: bytes = b"orders", database: bytes = b"shop") -> bytes:
    return log.table_map(5, database, table, TYPES, META)
