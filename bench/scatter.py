"""Sorted rows of four shards through Turnout: rows per second, its CPU time, and how much memory it takes for them.

`python -m bench.scatter [millions of rows, default 1]` fills four servers by itself; every form of ORDER BY is read to
its end by a client that keeps nothing.
"""

from __future__ import annotations

import sys
import time

from bench.memory import Peak
from proxy.wire.response import ResponseScanner
from tests.front.raw import Client
from tests.servers import MariaDB, Run, Turnout

SHARDS = 4
FILLED_AT_ONCE = 500_000
USER, PASSWORD, DATABASE = "app", "app-secret", "wide"
RULES = """\
workers: 1
users:
  app: {{password: app-secret}}
service: {{user: turnout, password: turnout-secret}}
clusters:
{clusters}
shardings:
  by_k: {{method: hash, clusters: [shard0, shard1, shard2, shard3]}}
databases:
  wide:
    home: shard0
    tables:
      big: {{sharding: by_k, key: k}}
"""
TABLE = "CREATE TABLE big (k INT, id INT PRIMARY KEY, n INT, name VARCHAR(30) COLLATE utf8mb4_unicode_ci, KEY (n))"
STATEMENTS = (
    "SELECT * FROM big",
    "SELECT id, k, n FROM big ORDER BY id",
    "SELECT * FROM big ORDER BY id",
    "SELECT id, n, name FROM big ORDER BY n, id DESC",
    "SELECT id, name FROM big ORDER BY name",
    "SELECT DISTINCT n FROM big",
    "SELECT n, COUNT(*), SUM(id) FROM big GROUP BY n",
    "SELECT n, COUNT(*) AS c FROM big GROUP BY n ORDER BY c DESC LIMIT 10",
)


def filled(run: Run, number: int, rows: int) -> MariaDB:
    """One shard with the rows of about a quarter of the keys."""
    server = run.mariadb(f"shard{number}", options=["--sort-buffer-size=16M", "--tmp-table-size=64M"])
    server.create_account(USER, PASSWORD)
    server.create_service_account("turnout", "turnout-secret")
    server.execute(f"CREATE DATABASE {DATABASE}")
    keys = f"CRC32(seq) % 4096 DIV {4096 // SHARDS} = {number}"
    values = f"seq, seq, CRC32(seq) % {max(rows // 100, 1)}, CONCAT('name ', CRC32(seq) % 100000)"
    server.execute(TABLE, database=DATABASE)
    for first in range(1, rows + 1, FILLED_AT_ONCE):
        last = min(first + FILLED_AT_ONCE - 1, rows)
        server.execute(
            f"INSERT INTO big SELECT {values} FROM seq_{first}_to_{last} WHERE {keys}",
            database=DATABASE,
        )
    return server


def measure(proxy: Turnout, sql: str) -> tuple[int, float, float, int]:
    """(rows, seconds, seconds of the proxy's CPU, bytes by which its memory rose). Raises RuntimeError for an error."""
    with Client(proxy.port, USER, PASSWORD, DATABASE, timeout_s=600.0) as client, Peak(proxy.memory_bytes) as peak:
        before, began = sum(proxy.cpu_s()), time.perf_counter()
        client.send(sql)
        scanner = ResponseScanner(session_track=False)
        while scanner.feed(client.socket.recv(1 << 18), 0, []) < 0:
            pass
        seconds, cpu = time.perf_counter() - began, sum(proxy.cpu_s()) - before
    if scanner.errno:
        raise RuntimeError(f"{sql}: {scanner.error!r}")
    return scanner.rows, seconds, cpu, peak.rise


def main() -> None:
    rows = int(float(sys.argv[1]) * 1_000_000) if len(sys.argv) > 1 else 1_000_000
    with Run() as run:
        servers = [filled(run, number, rows) for number in range(SHARDS)]
        clusters = "\n".join(f"  shard{n}: {{primary: '{server.address}'}}" for n, server in enumerate(servers))
        proxy = run.turnout(RULES.format(clusters=clusters))
        measure(proxy, "SELECT id FROM big ORDER BY id LIMIT 1000")
        for sql in STATEMENTS:
            found, seconds, cpu, rise = measure(proxy, sql)
            rates = f"{found / seconds:>9,.0f} rows/s {cpu / found * 1e6:6.2f} us of CPU a row {rise / 2**20:5.1f} MB"
            print(f"{found:>10,} rows {seconds:7.2f} s {rates}  {sql}", flush=True)
        print(f"{proxy.memory_bytes() / 2**20:.1f} MB for the supervisor and its worker in the end")


if __name__ == "__main__":
    main()
