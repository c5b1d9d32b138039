"""Clients that insert at full speed through several proxies, while workers and proxies are killed.

python -m tests.sequences.storm --seconds 600    # prints what happened; exit code 1 where an id came twice
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.front.raw import Client
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

TABLE = """\
CREATE TABLE orders (customer_id INT NOT NULL, id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, k VARCHAR(40), KEY (id), \
KEY (customer_id))"""  # no unique key: nothing but the sequence keeps ids apart
SQL_RULES = """\
workers: 2
{servers}
shardings:
  by_customer: {{method: hash, clusters: [shard0, shard1]}}
databases:
  shop:
    home: main
    tables:
      orders: {{sharding: by_customer, key: customer_id}}
transactions: best_effort
health: {{timeout: 30s, connect_timeout: 30s}}
"""
CUSTOMERS = (1, 2, 8, 9)


@dataclass
class Told:
    """What clients were told."""

    statements: int = 0
    failed: Counter[int] = field(default_factory=Counter)
    ids: list[int] = field(default_factory=list)  # first ids of acknowledged statements
    given: list[int] = field(default_factory=list)  # acknowledged ids that clients chose
    began: dict[str, float] = field(default_factory=dict)  # by statement (orders.k): when it was sent
    acknowledged: dict[str, float] = field(default_factory=dict)  # by statement: when its OK was there


@dataclass
class Outcome:
    told: Told
    rows: int
    twice: list[int]  # see `handed_out_twice`
    overtaken: int  # ids that Turnout had made just before a client gave the same
    lost: list[int]  # acknowledged, and not there
    worker_kills: int
    proxy_kills: int
    blocks: int  # next_id on home in the end
    seconds: float

    def __str__(self) -> str:
        failed = ", ".join(f"{errno}: {n}" for errno, n in sorted(self.told.failed.items()))
        return (
            f"{self.told.statements} INSERTs in {self.seconds:.0f} s ({self.rows} rows, next id {self.blocks}), "
            f"{self.worker_kills} workers and {self.proxy_kills} proxies killed, failed: {failed or 'none'}, "
            f"explicit ids: {len(self.told.given)}; ids twice: {self.twice or 'none'}, "
            f"given just after they were made: {self.overtaken}, lost: {self.lost or 'none'}"
        )


class Storm:
    """`clients` threads, each with a connection to one of the proxies that it renews when it is lost."""

    def __init__(self, proxies: list[Turnout], clients: int, seed: int) -> None:
        self._proxies = proxies
        self._stop = threading.Event()
        self.told = [Told() for _ in range(clients)]
        self._threads = [
            threading.Thread(target=self._insert, args=(n, random.Random(seed + n)), daemon=True)
            for n in range(clients)
        ]

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def statements(self) -> int:
        return sum(told.statements for told in self.told)

    def _insert(self, number: int, rng: random.Random) -> None:
        told, client = self.told[number], None
        while not self._stop.is_set():
            proxy = self._proxies[rng.randrange(len(self._proxies))]
            try:
                if client is None:
                    client = Client(proxy.port, APP, APP_PASSWORD, DATABASE)
                self._one(client, number, rng, told)
            except OSError:
                if client is not None:
                    client.abort()
                client = None
                time.sleep(0.02)
        if client is not None:
            client.abort()

    def _one(self, client: Client, number: int, rng: random.Random, told: Told) -> None:
        own = rng.random() < 0.02
        count = 1 if own or rng.random() < 0.7 else rng.randrange(2, 6)
        customers = [rng.choice(CUSTOMERS) for _ in range(count)]
        name = f"{'given' if own else 'made'} {number}.{len(told.began)}"
        if own:
            # Ahead of what was made last: in the block of some worker, or just above all.
            ((newest,),) = client.query("SELECT MAX(id) FROM orders").checked().rows
            chosen = int(newest or 0) + rng.choice((1, 3, 20, 500, 4000)) * 1000 + threading.get_ident() % 997
            sql = f"INSERT INTO orders (id, customer_id, k) VALUES ({chosen}, {customers[0]}, '{name}')"
        else:
            chosen = 0
            sql = "INSERT INTO orders (customer_id, k) VALUES " + ", ".join(f"({each}, '{name}')" for each in customers)
        told.began[name] = time.monotonic()
        answer = client.query(sql)
        if not answer.ok:
            told.failed[answer.errno] += 1
            return
        told.acknowledged[name] = time.monotonic()
        told.statements += 1
        if own:
            told.given.append(chosen)
        else:
            told.ids.append(answer.insert_id)


def children(pid: int) -> list[int]:
    """The worker processes of a supervisor."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if re.search(rf"^PPid:\t{pid}$", text, re.MULTILINE) and text.startswith("Name:\tturnout-worker\n"):
            found.append(int(status.parent.name))
    return found


def rage(run: Run, shop: Shop, seconds: float, seed: int, clients: int = 6, proxies: int = 2) -> Outcome:
    """Let it go on for so long; then count."""
    shards = [shop.shard(0), shop.shard(1)]
    main = shop.main
    main.execute("DROP DATABASE IF EXISTS turnout")
    shop.recreate()
    for shard in shards:
        shard.execute(TABLE, database=DATABASE)
    rules = SQL_RULES.format(servers=shop.rules("main", "shard0", "shard1"))
    started = [run.turnout(rules, f"proxy{n}") for n in range(proxies)]
    rng = random.Random(seed)
    worker_kills = proxy_kills = 0
    began = time.monotonic()
    try:
        with Storm(started, clients, seed) as storm:
            while time.monotonic() - began < seconds:
                time.sleep(rng.uniform(0.2, 1.0))
                which = rng.randrange(len(started))
                if rng.random() < 0.2:
                    started[which].kill()
                    proxy_kills += 1
                    started[which].launch()
                elif workers := children(started[which].pid):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    worker_kills += 1
    finally:
        for proxy in started:
            proxy.kill()
    return counted(storm, shards, main, worker_kills, proxy_kills, time.monotonic() - began)


def is_made(name: str) -> bool:
    return name.startswith("made")


def handed_out_twice(names: Sequence[str], told: Told) -> bool:
    """Is it a fault that the statements `names` have rows with the same id?

    Two made ones always. A made one and a given one only if the client that gave the id had its OK before the other
    statement was sent: a client may give an id that has been made a moment ago, here as on one server."""
    made = [name for name in names if is_made(name)]
    acknowledged = [told.acknowledged[name] for name in names if not is_made(name) and name in told.acknowledged]
    return len(made) > 1 or any(told.began[name] > at for name in made for at in acknowledged)


def counted(
    storm: Storm, shards: Sequence[MariaDB], main: MariaDB, worker_kills: int, proxy_kills: int, seconds: float
) -> Outcome:
    there: defaultdict[int, list[str]] = defaultdict(list)
    for shard in shards:
        for number, name in shard.execute("SELECT id, k FROM orders", database=DATABASE):
            there[int(number)].append(str(name))
    told = Told()
    for each in storm.told:
        told.statements += each.statements
        told.failed += each.failed
        told.ids += each.ids
        told.given += each.given
        told.began |= each.began
        told.acknowledged |= each.acknowledged
    shared = {number: names for number, names in there.items() if len(names) > 1}
    twice = [number for number, names in shared.items() if handed_out_twice(names, told)]
    overtaken = sum(any(is_made(name) for name in names) for names in shared.values()) - len(twice)
    lost = [number for number in (*told.ids, *told.given) if number not in there]
    ((next_id,),) = main.execute("SELECT next_id FROM turnout.sequences")
    rows = sum(map(len, there.values()))
    return Outcome(told, rows, twice, overtaken, lost, worker_kills, proxy_kills, int(next_id), seconds)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args(argv)
    with Run() as run:
        outcome = rage(run, Shop(run), options.seconds, options.seed)
    print(f"seed {options.seed}: {outcome}")
    return 1 if outcome.twice or outcome.lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
