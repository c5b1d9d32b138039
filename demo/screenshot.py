"""Pictures of the dashboard: `python -m demo.screenshot docs/dashboard.png`, with Chromium.

Starts the demo's servers, has some clients use the shop for a few minutes, and takes the picture that README shows:
light, as wide as a desk's screen. `--more FOLDER` also takes the whole page, light and dark, wide and on a telephone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import random
import threading
import time
from pathlib import Path

import pymysql
from rich.console import Console

from demo import shop
from demo.__main__ import Demo
from tests.browser.chromium import Chromium
from tests.servers import Run

CLIENTS = 5
LOADED = "document.querySelectorAll('#shapes tbody tr').length > 5"


class Customer(threading.Thread):
    """One client of the shop: looks at customers and orders, buys, and sometimes wants a report."""

    def __init__(self, demo: Demo, number: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._demo = demo
        self._random = random.Random(number)
        self._ended = ended
        self._orders = 10_000 * (number + 1)

    def run(self) -> None:
        begun = time.monotonic()
        with self._demo.connect() as connection, connection.cursor() as cursor:
            while not self._ended.is_set():
                self._visit(cursor)
                tide = 1.0 + 0.7 * math.sin((time.monotonic() - begun) / 35)
                self._ended.wait(self._random.expovariate(1 / 0.03) / tide)

    def _visit(self, cursor: pymysql.cursors.Cursor) -> None:
        pick = self._random.random
        customer = min(shop.CUSTOMERS, int(self._random.paretovariate(0.6)))
        for _ in range(3):
            cursor.execute(f"SELECT name, country FROM customers WHERE id = {customer}")
        cursor.execute(f"SELECT id, total FROM orders WHERE customer_id = {customer} ORDER BY id DESC LIMIT 10")
        cursor.execute(f"SELECT caption FROM photos WHERE product_id = {1 + customer % 2}")
        if pick() < 0.3:
            cursor.execute("SELECT id, name, price FROM products ORDER BY price LIMIT 20")
        if pick() < 0.2:
            self._orders += 1
            cursor.execute(f"INSERT INTO orders (id, customer_id, total) VALUES ({self._orders}, {customer}, 12.50)")
        if pick() < 0.1:
            cursor.execute(f"SELECT balance FROM accounts WHERE id = {1 + customer % 2}")
        if pick() < 0.05:
            cursor.execute(f"UPDATE customers SET name = 'Customer {customer}' WHERE id = {customer}")
        if pick() < 0.04:
            cursor.execute("SELECT COUNT(*), SUM(total) FROM orders WHERE total > 100")
        if pick() < 0.02:
            cursor.execute(
                "SELECT c.country, COUNT(*) FROM customers c JOIN orders o ON o.customer_id = c.id"
                " GROUP BY c.country ORDER BY c.country"
            )
        if pick() < 0.01:
            with contextlib.suppress(pymysql.err.MySQLError):
                cursor.execute("SELECT c.name, p.caption FROM customers c JOIN photos p ON p.id = c.id LIMIT 5")


async def take(url: str, environment: dict[str, str], picture: Path, more: Path | None) -> dict[Path, bytes]:
    async with Chromium(environment) as browser:
        await browser.colours("light")
        await browser.size(1280, 1000)
        await browser.open(url)
        await browser.until(LOADED)
        await asyncio.sleep(6.0)  # one more look: rates are those of now
        pictures = {picture: await browser.picture()}
        if more is None:
            return pictures
        for width, mobile in ((1280, False), (360, True)):
            for scheme in ("light", "dark"):
                await browser.size(width, 800, mobile)
                await browser.colours(scheme)
                await asyncio.sleep(1.0)
                pictures[more / f"{scheme}-{width}.png"] = await browser.picture(whole=True)
        return pictures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("picture", type=Path)
    arguments.add_argument("--minutes", type=float, default=4.0)
    arguments.add_argument("--more", type=Path)
    given = arguments.parse_args()
    ended = threading.Event()
    with Run() as run:
        demo = Demo(run, Console(stderr=True))
        demo.start()
        customers = [Customer(demo, number, ended) for number in range(CLIENTS)]
        for one in customers:
            one.start()
        try:
            time.sleep(given.minutes * 60)
            taken = asyncio.run(take(demo.turnout.url + "/", run.environment, given.picture, given.more))
            for path, png in taken.items():
                path.write_bytes(png)
        finally:
            ended.set()
            for one in customers:
                one.join(10.0)


if __name__ == "__main__":
    main()
