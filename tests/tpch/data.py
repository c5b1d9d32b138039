"""The rows of TPC-H at a small scale, made here: the same ones every time.

Keys, dates, prices, flags, and the words that the queries look for are distributed as TPC-H's specification (revision
3.0.1, 4.2.3) says. The texts of comments are shorter, and the numbers come from Python's generator instead of dbgen's,
so answers are not those that the specification prints.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from decimal import Decimal

Row = tuple[object, ...]

SCALE = 0.01
_SEED = 1  # with 2, say, nobody ordered so much at scale 0.01 that Q18 would have rows
_FIRST = datetime.date(1992, 1, 1).toordinal()
_LAST_ORDER = datetime.date(1998, 8, 2).toordinal()
_CURRENT = datetime.date(1995, 6, 17).toordinal()

REGIONS = ("AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST")
NATIONS = (
    *(("ALGERIA", 0), ("ARGENTINA", 1), ("BRAZIL", 1), ("CANADA", 1), ("EGYPT", 4), ("ETHIOPIA", 0), ("FRANCE", 3)),
    *(("GERMANY", 3), ("INDIA", 2), ("INDONESIA", 2), ("IRAN", 4), ("IRAQ", 4), ("JAPAN", 2), ("JORDAN", 4)),
    *(("KENYA", 0), ("MOROCCO", 0), ("MOZAMBIQUE", 0), ("PERU", 1), ("CHINA", 2), ("ROMANIA", 3), ("SAUDI ARABIA", 4)),
    *(("VIETNAM", 2), ("RUSSIA", 3), ("UNITED KINGDOM", 3), ("UNITED STATES", 1)),
)
_SEGMENTS = ("AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD")
_PRIORITIES = ("1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW")
_INSTRUCTIONS = ("DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN")
_MODES = ("REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB")
_TYPES = (
    ("STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"),
    ("ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"),
    ("TIN", "NICKEL", "BRASS", "STEEL", "COPPER"),
)
_CONTAINERS = (
    ("SM", "LG", "MED", "JUMBO", "WRAP"),
    ("CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"),
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_COLOURS = _words("""
almond antique aquamarine azure beige bisque black blanched blue blush brown burlywood burnished chartreuse
chiffon chocolate coral cornflower cornsilk cream cyan dark deep dim dodger drab firebrick floral forest frosted
gainsboro ghost goldenrod green grey honeydew hot indian ivory khaki lace lavender lawn lemon light lime linen
magenta maroon medium metallic midnight mint misty moccasin navajo navy olive orange orchid pale papaya peach
peru pink plum powder puff purple red rose rosy royal saddle salmon sandy seashell sienna sky slate smoke snow
spring steel tan thistle tomato turquoise violet wheat white yellow
""")
_WORDS = _words("""
furiously sly carefully blithe quick final bold ironic even silent packages theodolites instructions dependencies
excuses platelets accounts deposits foxes ideas pinto beans sleep wake haggle nag cajole among across above
""")
_CENT = Decimal("0.01")


def _cents(n: int) -> Decimal:
    return Decimal(n) * _CENT


def _comment(rng: random.Random, most: int) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randrange(3, 9)))[:most]


def _phone(rng: random.Random, nation: int) -> str:
    return f"{nation + 10}-{rng.randrange(100, 1000)}-{rng.randrange(100, 1000)}-{rng.randrange(1000, 10000)}"


def _address(rng: random.Random) -> str:
    return f"{rng.randrange(1, 1000)} {rng.choice(_WORDS)} street"


def _retail_price(part: int) -> int:
    """In cents."""
    return 90000 + (part // 10) % 20001 + 100 * (part % 1000)


class Data:
    """All tables at one scale. Of columns that others need, only counts are kept."""

    def __init__(self, scale: float = SCALE) -> None:
        self.suppliers = int(10_000 * scale)
        self.parts = int(200_000 * scale)
        self.customers = int(150_000 * scale)
        self.orders_count = int(1_500_000 * scale)

    def tables(self) -> Iterator[tuple[str, list[Row]]]:
        """(table, its rows in the order of their columns), smallest tables first."""
        rng = random.Random(_SEED)
        yield "region", [(n, name, _comment(rng, 152)) for n, name in enumerate(REGIONS)]
        yield "nation", [(n, name, region, _comment(rng, 152)) for n, (name, region) in enumerate(NATIONS)]
        yield "supplier", [self._supplier(rng, n) for n in range(1, self.suppliers + 1)]
        yield "part", [self._part(rng, n) for n in range(1, self.parts + 1)]
        yield "partsupp", [self._partsupp(rng, n, i) for n in range(1, self.parts + 1) for i in range(4)]
        yield "customer", [self._customer(rng, n) for n in range(1, self.customers + 1)]
        orders, lines = self._orders(rng)
        yield "orders", orders
        yield "lineitem", lines

    def _supplier_of(self, part: int, i: int) -> int:
        """The i-th of the four suppliers of a part."""
        count = self.suppliers
        return (part + i * (count // 4 + (part - 1) // count)) % count + 1

    def _supplier(self, rng: random.Random, number: int) -> Row:
        nation = rng.randrange(25)
        comment = _comment(rng, 70)
        if number % 20 == 3:  # five of 10,000 by the specification, which would be none at a small scale
            comment = f"{comment[:40]} Customer {rng.choice(_WORDS)} Complaints"
        balance = _cents(rng.randrange(-99_999, 999_999 + 1))
        name = f"Supplier#{number:09}"
        return number, name, _address(rng), nation, _phone(rng, nation), balance, comment

    def _part(self, rng: random.Random, number: int) -> Row:
        maker = rng.randrange(1, 6)
        return (
            number,
            " ".join(rng.sample(_COLOURS, 5)),
            f"Manufacturer#{maker}",
            f"Brand#{maker}{rng.randrange(1, 6)}",
            " ".join(rng.choice(words) for words in _TYPES),
            rng.randrange(1, 51),
            " ".join(rng.choice(words) for words in _CONTAINERS),
            _cents(_retail_price(number)),
            _comment(rng, 23),
        )

    def _partsupp(self, rng: random.Random, part: int, i: int) -> Row:
        cost = _cents(rng.randrange(100, 100_001))
        return part, self._supplier_of(part, i), rng.randrange(1, 10_000), cost, _comment(rng, 199)

    def _customer(self, rng: random.Random, number: int) -> Row:
        nation = rng.randrange(25)
        balance = _cents(rng.randrange(-99_999, 999_999 + 1))
        name, segment = f"Customer#{number:09}", rng.choice(_SEGMENTS)
        return number, name, _address(rng), nation, _phone(rng, nation), balance, segment, _comment(rng, 117)

    def _orders(self, rng: random.Random) -> tuple[list[Row], list[Row]]:
        dates = {n: datetime.date.fromordinal(n).isoformat() for n in range(_FIRST, _LAST_ORDER + 160)}
        orders: list[Row] = []
        lines: list[Row] = []
        for number in range(self.orders_count):
            key = number // 8 * 32 + number % 8 + 1  # of each 32 keys eight are used
            customer = rng.randrange(1, self.customers + 1)
            while customer % 3 == 0:  # a third of the customers order nothing
                customer = rng.randrange(1, self.customers + 1)
            ordered = rng.randrange(_FIRST, _LAST_ORDER + 1)
            total = Decimal(0)
            statuses = set()
            for line in range(1, rng.randrange(1, 8) + 1):
                part = rng.randrange(1, self.parts + 1)
                quantity, discount, tax = rng.randrange(1, 51), rng.randrange(11), rng.randrange(9)
                price = _cents(quantity * _retail_price(part))
                shipped = ordered + rng.randrange(1, 122)
                received = shipped + rng.randrange(1, 31)
                status = "O" if shipped > _CURRENT else "F"
                statuses.add(status)
                total += price * (100 + tax) * (100 - discount) / 10_000
                lines.append(
                    (
                        *(key, part, self._supplier_of(part, rng.randrange(4)), line, quantity, price),
                        *(_cents(discount), _cents(tax)),
                        *(rng.choice("RA") if received <= _CURRENT else "N", status),
                        *(dates[shipped], dates[ordered + rng.randrange(30, 91)], dates[received]),
                        *(rng.choice(_INSTRUCTIONS), rng.choice(_MODES), _comment(rng, 44)),
                    )
                )
            status = statuses.pop() if len(statuses) == 1 else "P"
            comment = _comment(rng, 50)
            if rng.random() < 0.02:
                comment = f"{comment[:30]} special {rng.choice(_WORDS)} requests"
            clerk = f"Clerk#{rng.randrange(1, max(self.orders_count // 1500, 1) + 1):09}"
            cents = total.quantize(_CENT)
            orders.append((key, customer, status, cents, dates[ordered], rng.choice(_PRIORITIES), clerk, 0, comment))
        return orders, lines
