"""A shop on two clusters: `items` on home, `photos` on the other, `spread` over both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.front.conftest import end
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import DATABASE, SERVICE

RULES = """\
databases:
  placing: {home: main}
  shop:
    home: main
    tables:
      photos: {cluster: media}
      spread: {sharding: by_id, key: id}
shardings:
"""
HASH = "by_id: {method: hash, clusters: [main, media]}"
DIRECTORY = "by_id: {method: directory, table: placing.owners, clusters: [main, media]}"
TABLES = {"main": ("items", "spread"), "media": ("photos", "spread")}


def made(server: MariaDB, tables: Sequence[str]) -> None:
    """The tables, empty: with `id`, which is generated unless it is the shard key, and `n`."""
    for table in tables:
        numbered = "" if table == "spread" else "AUTO_INCREMENT "
        server.execute(f"CREATE TABLE {table} (id INT {numbered}PRIMARY KEY, n INT)", database=DATABASE)


@contextmanager
def running(run: Run, shop: Shop, more: str, sharding: str = HASH) -> Iterator[Turnout]:
    """A Turnout before new tables; `more`: further lines of its rules."""
    shop.recreate()
    shop.main.execute(
        "CREATE DATABASE placing",
        "CREATE TABLE placing.owners (id INT NOT NULL PRIMARY KEY, cluster VARCHAR(40) NOT NULL)",
        f"GRANT SELECT, INSERT ON placing.* TO {SERVICE}",
    )
    for name, tables in TABLES.items():
        made(shop.server(name), tables)
    proxy = run.turnout(f"{shop.rules(*TABLES)}{RULES}  {sharding}\n{more}\n")
    yield proxy
    end(proxy)
