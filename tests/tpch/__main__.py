"""TPC-H's queries through Turnout, timed beside one server with all the rows: `python -m tests.tpch`.

Prints a table for docs/TPCH.md: of each query the median of several runs, the two sides in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time

from tests.servers import Run, Shop, Turnout
from tests.servers.shop import DATABASE, OPS, OPS_PASSWORD
from tests.tpch.queries import QUERIES
from tests.tpch.warehouse import prepare
from tests.workbench.shop import Pair


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--scale", type=float, default=0.01)
    options.add_argument("--times", type=int, default=5, help="runs of each query")
    options.add_argument("--plans", action="store_true", help="print TURNOUT EXPLAIN of each query too")
    chosen = options.parse_args()
    with Run() as run:
        started = time.monotonic()
        proxy, mirror, counts = prepare(run, Shop(run), chosen.scale)
        print(f"loaded {sum(counts.values())} rows twice in {time.monotonic() - started:.1f} s")
        pair = Pair(proxy, mirror)
        print("| query | one server, ms | Turnout, ms | ratio | rows | plan |\n|---|---|---|---|---|---|")
        for name, sql in QUERIES.items():
            rows = len(pair.same(sql, ordered=True).rows)
            ours, theirs = [], []
            for _ in range(chosen.times):
                for client, times in ((pair.mirror, theirs), (pair.client, ours)):
                    before = time.perf_counter()
                    client.query(sql).checked()
                    times.append((time.perf_counter() - before) * 1000)
            one, through = statistics.median(theirs), statistics.median(ours)
            plan = _explained(proxy, sql)
            print(f"| {name} | {one:.0f} | {through:.0f} | {through / one:.1f} | {rows} | {plan[0]} |", flush=True)
            if chosen.plans:
                print("\n".join(f"    {line}" for line in plan), flush=True)
        pair.close()
        proxy.kill()


def _explained(proxy: Turnout, sql: str) -> list[str]:
    connection = proxy.connect(OPS, OPS_PASSWORD, DATABASE)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"TURNOUT EXPLAIN {sql}")
            return [": ".join(map(str, row)) for row in cursor.fetchall()]
    finally:
        connection.close()


if __name__ == "__main__":
    main()
