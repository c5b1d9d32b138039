"""Clients that read and write through several proxies while keys move by the steps of docs/RULES.md, and what they saw.

python -m tests.directory.moving --seconds 600    # prints what happened; exit code 1 where something was wrong

Every key has one row in `files` whose `v` only its one writer raises, so that whoever reads knows the least that it
must be (acknowledged before the read began) and the most (sent before it ended). Writers also insert rows into `notes`,
each once. At the end every acknowledged row must be there, on the cluster that the directory has for it, and nowhere
else.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxy.back.directory import CREATE, LEASE_S
from tests.directory.conftest import MEMBERSHIP, NAMES, OWNERS, RULES, SCHEMA
from tests.front.conftest import end
from tests.front.raw import Client
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, SERVICE

WAIT_S = LEASE_S * 1.1 + 0.3  # the documents say 5 s
STALENESS_S = 0.6  # the default of cache.max_staleness, and a little
MAY_FAIL = frozenset({1205, 1213})  # held, changed, or a lock
HOLD = (
    "INSERT INTO turnout.directories (name, epoch, held) VALUES ('shop.owners', 1, 1)"
    " ON DUPLICATE KEY UPDATE epoch = epoch + 1, held = held + 1"
)
LET_GO = "UPDATE turnout.directories SET epoch = epoch + 1, held = held - 1 WHERE name = 'shop.owners'"
KEYS = 24
CLUSTERS = ("shard0", "shard1")


@dataclass
class Seen:
    """What everybody did, and what was wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        did = ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items()))
        failed = ", ".join(f"{errno}: {n}" for errno, n in sorted(self.failed.items())) or "none"
        return f"{did}; errors {failed}; wrong: {len(self.wrong)} {self.wrong[:5]}"


class Check:
    """The state that is checked against. Each entry has one writer; the lists only grow."""

    def __init__(self, proxies: Sequence[Turnout], main: MariaDB, shards: Sequence[MariaDB], seed: int) -> None:
        self.proxies = proxies
        self.main = main
        self.shards = shards
        self.seed = seed
        self.sent = [0] * KEYS
        self.acknowledged = [0] * KEYS
        self.notes: list[set[int]] = [set() for _ in range(KEYS)]
        self.stop = threading.Event()
        self.seen = Seen()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[random.Random, list[Client]], None], *arguments: object) -> None:
        number = len(self._threads)

        def run() -> None:
            clients = [Client(proxy.port, APP, APP_PASSWORD, DATABASE) for proxy in self.proxies]
            try:
                rng = random.Random(self.seed * 1000 + number)
                while not self.stop.is_set():
                    work(rng, clients, *arguments)
            except Exception as error:
                self.complain(f"{work.__name__}: {error!r}")
            finally:
                for client in clients:
                    client.abort()

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def finish(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(90)
            if thread.is_alive():
                self.complain("a thread hangs")

    def complain(self, what: str) -> None:
        with self._lock:
            self.seen.wrong.append(what)
        self.stop.set()

    def count(self, what: str, n: int = 1) -> None:
        with self._lock:
            self.seen.counts[what] += n

    def fine(self, errno: int, message: str) -> bool:
        """Is an error one of those that a move may cause?"""
        with self._lock:
            self.seen.failed[errno] += 1
        if errno not in MAY_FAIL:
            self.complain(f"{errno}: {message}")
            return False
        return True

    # -- clients

    def write(self, rng: random.Random, clients: list[Client], own: range) -> None:
        """One write on one of the keys that this writer has, or two in one transaction."""
        client = rng.choice(clients)
        keys = rng.sample(own, 2 if rng.random() < 0.2 else 1)
        together = len(keys) > 1
        if together:
            client.query("BEGIN").checked()
        wrote = []
        for key in keys:
            self.sent[key] += 1
            answer = client.query(f"UPDATE files SET v = {self.sent[key]} WHERE owner = {key}")
            if not answer.ok:
                self.fine(answer.errno, answer.message)
                break
            if answer.affected_rows != 1:
                self.complain(f"an UPDATE of {key} found {answer.affected_rows} rows")
            wrote.append((key, self.sent[key]))
        if together:
            done = client.query("COMMIT" if len(wrote) == 2 else "ROLLBACK")
            if not done.ok:
                self.fine(done.errno, done.message)
            if not done.ok or len(wrote) < 2:
                return
        for key, value in wrote:
            self.acknowledged[key] = value
        self.count("writes", len(wrote))
        if rng.random() < 0.3:
            self.insert(rng, client, keys[0])

    def insert(self, rng: random.Random, client: Client, key: int) -> None:
        number = rng.randrange(1 << 30)
        answer = client.query(f"INSERT INTO notes (owner, id, k) VALUES ({key}, {number}, 'x')")
        if answer.ok:
            self.notes[key].add(number)
            self.count("inserts")
        else:
            self.fine(answer.errno, answer.message)

    def read(self, rng: random.Random, clients: list[Client]) -> None:
        client, key = rng.choice(clients), rng.randrange(KEYS)
        least = self.acknowledged[key]
        answer = client.query(f"SELECT v FROM files WHERE owner = {key}")
        self.judge(key, answer.rows, least, self.sent[key], "read") if answer.ok else self.fine(
            answer.errno, answer.message
        )

    def read_in_transaction(self, rng: random.Random, clients: list[Client]) -> None:
        """Several keys in one snapshot a cluster, with time between them."""
        client = rng.choice(clients)
        least = list(self.acknowledged)
        client.query("BEGIN").checked()
        for _ in range(rng.randrange(2, 6)):
            key = rng.randrange(KEYS)
            answer = client.query(f"SELECT v FROM files WHERE owner = {key}")
            if not answer.ok:
                self.fine(answer.errno, answer.message)
                break
            self.judge(key, answer.rows, least[key], self.sent[key], "read in a transaction")
            self.stop.wait(rng.uniform(0, 0.8))
        client.query("COMMIT" if rng.random() < 0.5 else "ROLLBACK").checked()

    def read_all(self, rng: random.Random, clients: list[Client]) -> None:
        """All rows: alone, or twice in a transaction."""
        client = rng.choice(clients)
        times = rng.choice((1, 1, 2))
        least = list(self.acknowledged)
        if times > 1:
            client.query("BEGIN").checked()
        for _ in range(times):
            answer = client.query("SELECT owner, v FROM files")
            if not answer.ok:
                self.fine(answer.errno, answer.message)
                break
            found = Counter(int(row[0] or 0) for row in answer.rows)
            if found != Counter(range(KEYS)):
                self.complain(
                    f"all rows: {found - Counter(range(KEYS))} too many, {Counter(range(KEYS)) - found} missing"
                )
            for owner, v in answer.rows:
                self.judge(int(owner or 0), ((v,),), least[int(owner or 0)], self.sent[int(owner or 0)], "read of all")
            if times > 1:
                self.stop.wait(rng.uniform(0, 1.5))
        if times > 1:
            client.query("COMMIT").checked()
        self.stop.wait(0.05)

    def judge(self, key: int, rows: Sequence[Sequence[bytes | None]], least: int, most: int, what: str) -> None:
        values = [int(row[0] or 0) for row in rows]
        self.count(f"{what}s" if " " not in what else what)
        if len(values) != 1 or not least <= values[0] <= most:
            self.complain(f"{what} of key {key} gave {values}, not one from {least} to {most}")

    # -- who moves

    def move(self, rng: random.Random, own: range, wait_s: float, then_s: float) -> None:
        """Some keys to the other cluster, by the documented steps."""
        home = self.main
        source = rng.randrange(2)
        listed = ", ".join(map(str, own))
        there = home.execute(
            f"SELECT owner FROM owners WHERE owner IN ({listed}) AND cluster = '{CLUSTERS[source]}'", database=DATABASE
        )
        if not there:
            return
        some = [int(row[0]) for row in there]
        keys = ", ".join(map(str, rng.sample(some, min(3, len(some)))))
        home.execute(
            *CREATE,
            "START TRANSACTION",
            HOLD,
            f"UPDATE owners SET cluster = '' WHERE owner IN ({keys})",
            "COMMIT",
            database=DATABASE,
        )
        time.sleep(wait_s)
        if wait_s:
            for shard in self.shards:
                drained(shard)
        self.copy(source, keys)
        time.sleep(then_s)
        home.execute(
            "START TRANSACTION",
            f"UPDATE owners SET cluster = '{CLUSTERS[1 - source]}' WHERE owner IN ({keys})",
            LET_GO,
            "COMMIT",
            database=DATABASE,
        )
        self.count("moved keys", keys.count(",") + 1)
        # Where keys are held, workers look at home all the time: now and then they have to go by their lease alone.
        self.stop.wait(rng.choice((0.0, 0.3, 3.0)))

    def copy(self, source: int, keys: str) -> None:
        old, new = self.shards[source].admin(DATABASE), self.shards[1 - source].admin(DATABASE)
        try:
            with old.cursor() as from_, new.cursor() as to:
                from_.execute("START TRANSACTION")
                to.execute("START TRANSACTION")
                for table in ("files", "notes"):
                    from_.execute(f"SELECT * FROM {table} WHERE owner IN ({keys}) FOR UPDATE")
                    rows = list(from_.fetchall())
                    if rows:
                        marks = ", ".join(["%s"] * len(rows[0]))
                        to.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
                to.execute("COMMIT")
                time.sleep(0.1)  # they are on both now
                for table in ("files", "notes"):
                    from_.execute(f"DELETE FROM {table} WHERE owner IN ({keys})")
                from_.execute("COMMIT")
        finally:
            old.close()
            new.close()

    def compare(self) -> None:
        """After everybody has stopped."""
        directory = {int(k): c for k, c in self.main.execute("SELECT * FROM owners", database=DATABASE)}
        values: Counter[int] = Counter()
        for number, shard in enumerate(self.shards):
            for owner, v in shard.execute("SELECT owner, v FROM files", database=DATABASE):
                values[owner] += 1
                if directory[owner] != CLUSTERS[number]:
                    self.complain(f"a row of {owner} is on {CLUSTERS[number]}, and not on {directory[owner]}")
                if not self.acknowledged[owner] <= v <= self.sent[owner]:
                    self.complain(f"{owner} ends with {v}, not {self.acknowledged[owner]} to {self.sent[owner]}")
            for owner, number_ in shard.execute("SELECT owner, id FROM notes", database=DATABASE):
                if directory[owner] != CLUSTERS[number]:
                    self.complain(f"a note of {owner} is on {CLUSTERS[number]}, and not on {directory[owner]}")
                self.notes[owner].discard(number_)
        if values != Counter(range(KEYS)):
            self.complain(f"rows by key: {values}")
        lost = {key: notes for key, notes in enumerate(self.notes) if notes}
        if lost:
            self.complain(f"lost inserts: {lost}")


def drained(server: MariaDB, deadline_s: float = 60.0) -> None:
    """Wait until no statement runs that is running now."""
    began = time.monotonic()
    sql = (
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND IN ('Query', 'Execute')"
        " AND ID <> CONNECTION_ID() AND TIME_MS > {}"
    )
    while server.execute(sql.format(int((time.monotonic() - began) * 1000)))[0][0]:
        if time.monotonic() - began > deadline_s:
            raise TimeoutError(f"statements still run on {server.name}")
        time.sleep(0.02)


def stir(
    run: Run, shop: Shop, seconds: float, seed: int, wait_s: float = WAIT_S, movers: int = 2, cached: bool = False
) -> Seen:
    """Let it go on for so long, or until something is wrong; then compare. `cached`: with a cache class, through one
    proxy, since others may be `max_staleness` behind."""
    main, shards = shop.main, [shop.shard(0), shop.shard(1)]
    main.execute("DROP DATABASE IF EXISTS turnout")
    shop.recreate()
    main.execute(OWNERS, NAMES, MEMBERSHIP, f"GRANT INSERT ON {DATABASE}.* TO {SERVICE}", database=DATABASE)
    for number, shard in enumerate(shards):
        shard.execute(*SCHEMA.splitlines(), database=DATABASE)
        owners = range(number, KEYS, 2)
        values = ", ".join(f"({owner}, '{CLUSTERS[number]}')" for owner in owners)
        main.execute(f"INSERT INTO owners VALUES {values}", database=DATABASE)
        shard.execute(
            f"INSERT INTO files (owner, id) VALUES {', '.join(f'({o}, 1)' for o in owners)}", database=DATABASE
        )
    servers = shop.rules("main", "shard0", "shard1")
    text = RULES.format(head="workers: 2\n", servers=servers, transactions="atomic", weights="{shard0: 1}")
    if cached:
        plain = "files: {sharding: by_owner, key: owner}"
        assert plain in text
        text = text.replace(plain, "files: {sharding: by_owner, key: owner, cache: {by: [owner]}}")
    proxies = [run.turnout(text, f"mover{n}") for n in range(1 if cached else 2)]
    check = Check(proxies, main, shards, seed)
    try:
        share = KEYS // 4
        for n in range(4):
            check.start(lambda rng, clients, own=range(n * share, n * share + share): check.write(rng, clients, own))
        for work in (check.read, check.read, check.read_in_transaction, check.read_in_transaction, check.read_all):
            check.start(work)
        for n in range(movers):
            own = range(n * KEYS // movers, (n + 1) * KEYS // movers)
            check.start(lambda rng, clients, own=own: check.move(rng, own, wait_s, STALENESS_S if cached else 0.0))
        check.stop.wait(seconds)
        check.finish()
        if cached:
            check.seen.counts["served from memory"] = int(proxies[0].metric("turnout_cache_hits_total"))
    finally:
        check.stop.set()
        for proxy in proxies:
            end(proxy)
    check.compare()
    return check.seen


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--wait", type=float, default=WAIT_S, help="what movers let pass")
    parser.add_argument("--movers", type=int, default=2)
    parser.add_argument("--cached", action="store_true")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args(argv)
    with Run() as run:
        seen = stir(run, Shop(run), options.seconds, options.seed, options.wait, options.movers, options.cached)
    print(f"seed {options.seed}: {seen}")
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
