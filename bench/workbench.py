"""How long a join takes on the workbench: two tables of 10,000 rows each, over two shards and another cluster.

`python -m bench.workbench [rows of each table, default 10000]` starts and fills its servers by itself. The budget is
half a second for the join of two pulls of 10,000 rows. The time is that until the answer is there; a client in Python
takes as long again to make values of 10,000 rows, which nobody can spare it.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time

from proxy.wire.frames import encode
from proxy.wire.response import ResponseScanner
from tests.front.raw import Client
from tests.servers import Run, Shop
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

RULES = """\
workers: 1
{servers}
shardings:
  by_k: {{method: hash, clusters: [shard0, shard1]}}
databases:
  shop:
    home: main
    tables:
      orders: {{sharding: by_k, key: k}}
      photos: {{cluster: media}}
workbench: {{cluster: main, max_rows: 100000000, max_time: 1h}}
"""
SCHEMA = (
    "CREATE TABLE orders (k INT, id INT, name VARCHAR(30), price DECIMAL(8,2), at DATETIME, PRIMARY KEY (k, id), "
    "KEY (id))",
    "CREATE TABLE photos (id INT PRIMARY KEY, n INT, title VARCHAR(40), KEY (n))",
)
STATEMENTS = (
    "SELECT COUNT(*), SUM(o.price), MAX(p.title) FROM orders o JOIN photos p ON p.id = o.id",
    "SELECT o.*, p.* FROM orders o JOIN photos p ON p.id = o.id",
    "SELECT COUNT(*), SUM(o.price), MAX(p.title) FROM orders o JOIN photos p ON p.id = o.id WHERE o.k = 5",
    "SELECT o.id, p.title FROM orders o JOIN photos p ON p.id = o.id WHERE o.k = 5 AND p.n < 3",
)
TIMES = 7


def received(connection: socket.socket, sql: str) -> int:
    """How many rows the answer has, of which no value is read."""
    connection.sendall(encode(b"\x03" + sql.encode(), 0))
    scanner = ResponseScanner()
    pieces: list[bytes] = []
    while True:
        data = connection.recv(1 << 18)
        if not data:
            raise RuntimeError(f"{sql}: the connection ended")
        if scanner.feed(data, 0, pieces) >= 0:
            break
        pieces.clear()
    if scanner.errno:
        raise RuntimeError(f"{sql}: {scanner.error!r}")
    return scanner.rows


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with Run() as run:
        shop = Shop(run)
        clusters = ("main", "media", "shard0", "shard1")
        for name in clusters:
            shop.server(name).execute(*SCHEMA, database=DATABASE)
        proxy = run.turnout(RULES.format(servers=shop.rules(*clusters)))
        for number in range(2):
            keys = f"CRC32(seq % 1000) % 4096 DIV 2048 = {number}"
            values = "seq % 1000, seq, CONCAT('order ', seq), seq / 7, '2025-01-01' + INTERVAL seq MINUTE"
            shop.shard(number).execute(
                f"INSERT INTO orders SELECT {values} FROM seq_1_to_{rows} WHERE {keys}", database=DATABASE
            )
        shop.media.execute(
            f"INSERT INTO photos SELECT seq, seq % 10, CONCAT('title of ', seq) FROM seq_1_to_{rows}", database=DATABASE
        )
        with Client(proxy.port, APP, APP_PASSWORD, DATABASE, timeout_s=600.0) as client:
            for sql in STATEMENTS:
                times = []
                before = sum(proxy.cpu_s())
                for _ in range(TIMES):
                    began = time.perf_counter()
                    found = received(client.socket, sql)
                    times.append(time.perf_counter() - began)
                cpu = (sum(proxy.cpu_s()) - before) / TIMES
                print(
                    f"{statistics.median(times):6.3f} s, {cpu:6.3f} s of Turnout's CPU, {found:>6} rows  {sql}",
                    flush=True,
                )
        print(f"{proxy.memory_bytes() / 2**20:.1f} MB for the supervisor and its worker in the end")


if __name__ == "__main__":
    main()
