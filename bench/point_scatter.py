"""How long a point read takes that four shards are asked for, at one client, beside the same read from one of them.

`python -m bench.point_scatter [rounds, default 7]` starts four servers and a Turnout of one worker. In every round each
statement is asked 500 times in turn by one client: directly on each server, through Turnout with the shard known, and
through Turnout without, so that all four are asked. The budget: 1.5 x the slowest shard's time through Turnout.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict

from bench.scatter import DATABASE, PASSWORD, RULES, SHARDS, USER, filled
from tests.front.raw import Client
from tests.servers import Run

ROWS, ASKED = 20_000, 500
POINT = "SELECT id, n, name FROM big WHERE id = {}"
SORTED = "SELECT id, n, name FROM big WHERE id IN ({}, {}, {}, {}) ORDER BY id"
COUNTED = "SELECT COUNT(*), SUM(n) FROM big WHERE id = {}"


def _ask(client: Client, statements: list[str]) -> float:
    """Seconds for one, on average."""
    began = time.perf_counter()
    for sql in statements:
        client.run(sql)
    return (time.perf_counter() - began) / len(statements)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with Run() as run:
        servers = [filled(run, number, ROWS) for number in range(SHARDS)]
        clusters = "\n".join(f"  shard{n}: {{primary: '{server.address}'}}" for n, server in enumerate(servers))
        proxy = run.turnout(RULES.format(clusters=clusters))
        ids = [number * 37 % ROWS + 1 for number in range(ASKED)]
        direct = [Client(server.port, USER, PASSWORD, DATABASE) for server in servers]
        through = Client(proxy.port, USER, PASSWORD, DATABASE)
        points = [POINT.format(n) for n in ids]
        asked: dict[str, tuple[list[Client], list[str]]] = {
            "a server, directly": (direct, points),
            "Turnout, one shard": ([through], [f"{sql} AND k = {n}" for sql, n in zip(points, ids)]),
            "Turnout, four shards": ([through], points),
            "Turnout, four shards, sorted": ([through], [SORTED.format(n, n + 1, n + 2, n + 3) for n in ids]),
            "Turnout, four shards, COUNT and SUM": ([through], [COUNTED.format(n) for n in ids]),
        }
        times: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds + 1):
            for name, (clients, statements) in asked.items():
                times[name].append(max(_ask(client, statements) for client in clients))
        one = times["Turnout, one shard"][1:]
        for name, taken in times.items():
            ratios = [a / b for a, b in zip(taken[1:], one)]
            span = f"{statistics.median(ratios):5.2f} x one shard ({min(ratios):.2f}-{max(ratios):.2f})"
            print(f"{name:<38} {statistics.median(taken[1:]) * 1e6:7.0f} us  {span}")


if __name__ == "__main__":
    main()
