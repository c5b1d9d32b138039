"""Transfers between clusters under kill -9: of Turnout, of a server, or of both at a random moment.

After every run, and recovery: each transfer is on all of its clusters or on none, as its client was told; the sum of
all balances is what it was; no branch is prepared, and no lock is held.

    python -m tests.atomic.bank --runs 1000 [--seed N]
"""

from __future__ import annotations

import argparse
import enum
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.atomic.branch_office import ACCOUNTS, CLUSTERS, OPENING, TABLES, Bank
from tests.atomic.recovering import recover
from tests.front.raw import Answer, Client, Disconnected, LoginFailed
from tests.servers import Run, Shop, Turnout
from tests.servers.process import NotReady, wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

CLIENTS = 4
LIMIT_S = 40.0  # for one statement
_IDS = itertools.count(1)


class Told(enum.Enum):
    """What a client knows of a transfer."""

    COMMITTED = "committed"
    NOT = "not committed"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Transfer:
    id: int
    parts: dict[str, int]  # cluster -> how many rows it has in the journal there
    everywhere: bool = False  # one autocommit statement for a table that is on all clusters
    told: Told = Told.UNKNOWN
    error: str = ""


class Teller(threading.Thread):
    """One client that makes transfers until it is told to stop, and logs in again when it is cut off."""

    def __init__(self, proxy: Turnout, seed: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._proxy = proxy
        self._rng = random.Random(seed)
        self._ended = ended
        self.transfers: list[Transfer] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        client: Client | None = None
        while not self._ended.is_set():
            try:
                if client is None:
                    client = Client(self._proxy.port, APP, APP_PASSWORD, DATABASE, timeout_s=LIMIT_S)
                    client.query("SET innodb_lock_wait_timeout = 1")  # how deadlocks over clusters end
                self._transfer(client)
            except TimeoutError:
                self.wrong.append(f"no answer for {LIMIT_S:g} s")
                break
            except (OSError, Disconnected, LoginFailed):
                if client is not None:
                    client.abort()
                client = None
                self._ended.wait(0.02)
        if client is not None:
            client.abort()

    def _transfer(self, client: Client) -> None:
        rng = self._rng
        number = next(_IDS)
        if rng.random() < 0.15:
            transfer = Transfer(number, dict.fromkeys(CLUSTERS, 1), everywhere=True)
            self.transfers.append(transfer)
            self._say(client, transfer, f"INSERT INTO rates VALUES ({number}, 1)", last=True)
            return
        clusters = rng.sample(CLUSTERS, rng.choice((1, 2, 2, 3)))
        moves = [(rng.choice(clusters), rng.randrange(ACCOUNTS)) for _ in range(2)]
        moves += [(cluster, rng.randrange(ACCOUNTS)) for cluster in clusters]
        moves.sort()
        if rng.random() < 0.05:  # which may end in a deadlock
            rng.shuffle(moves)
        amounts = [rng.randint(-9, 9) for _ in moves[1:]]
        amounts.append(-sum(amounts))
        transfer = Transfer(number, dict(Counter(cluster for cluster, _ in moves)))
        self.transfers.append(transfer)
        if not self._say(client, transfer, "BEGIN"):
            return
        for (cluster, account), amount in zip(moves, amounts, strict=True):
            table = TABLES[cluster]
            for sql in (
                f"UPDATE {table} SET balance = balance + {amount} WHERE id = {account}",
                f"INSERT INTO {table}_made VALUES ({number}, {account}, {amount})",
            ):
                if not self._say(client, transfer, sql):
                    client.query("ROLLBACK")
                    return
        if rng.random() < 0.1:
            self._say(client, transfer, "ROLLBACK")
            transfer.told = Told.NOT
        else:
            self._say(client, transfer, "COMMIT", last=True)

    def _say(self, client: Client, transfer: Transfer, sql: str, last: bool = False) -> bool:
        """One statement; `last`: its OK means that the transfer is committed. Before that nothing can be."""
        transfer.told = Told.UNKNOWN if last else Told.NOT
        answer: Answer = client.query(sql)
        if answer.ok:
            transfer.told = Told.COMMITTED if last else Told.NOT
            return True
        transfer.error = f"{answer.errno} {answer.message}"
        if last and answer.errno not in (1158, 1159):
            transfer.told = Told.NOT
        return False


@dataclass(slots=True)
class Result:
    what: str
    told: Counter[Told] = field(default_factory=Counter)
    there: int = 0
    of_unknown: Counter[bool] = field(default_factory=Counter)
    recovered: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    took_s: float = 0.0


def one_run(bank: Bank, proxy: Turnout, rng: random.Random, patient: bool = False) -> Result:
    """Transfers, one kill, and what is left. `patient`: it is the proxy's own recovery that finishes branches."""
    bank.open()
    began = time.monotonic()
    victims: list[Turnout | str] = []
    choice = rng.random()
    if choice < 0.7:
        victims.append(proxy)
    if choice >= 0.45:
        victims.append(rng.choice(CLUSTERS))
    rng.shuffle(victims)
    result = Result(" and ".join("turnout" if isinstance(v, Turnout) else v for v in victims))
    ended = threading.Event()
    tellers = [Teller(proxy, rng.randrange(1 << 60), ended) for _ in range(CLIENTS)]
    for teller in tellers:
        teller.start()
    wait_until(lambda: sum(t.told is Told.COMMITTED for x in tellers for t in x.transfers) >= 3, 30, every_s=0.002)
    time.sleep(rng.random() * 0.25)
    for victim in victims:
        (bank.servers[victim] if isinstance(victim, str) else victim).kill()
        time.sleep(rng.choice((0.0, rng.random() * 0.05)))
    hasty = not patient and rng.random() < 0.3
    if hasty and proxy not in victims:  # recovery that takes transactions under way for lost ones
        result.recovered.update(recover(bank, passes=1))
    if proxy in victims:
        ended.set()
        proxy.launch()  # the next runs are another's, until it is ready
    for victim in victims:
        if isinstance(victim, str):
            bank.servers[victim].start()
    if hasty:
        result.recovered.update(recover(bank, passes=2))
    time.sleep(rng.random() * 0.1)
    ended.set()
    for teller in tellers:
        teller.join(LIMIT_S + 10)
        if teller.is_alive():
            result.problems.append("a client hangs")
        result.problems += teller.wrong
    if not patient:
        result.recovered.update(recover(bank))
    result.took_s = time.monotonic() - began
    examine(bank, [t for teller in tellers for t in teller.transfers], result)
    return result


def examine(bank: Bank, transfers: Sequence[Transfer], result: Result) -> None:
    """Adds what is wrong to `result.problems`."""
    try:
        bank.settle()
    except TimeoutError:
        result.problems.append(f"left behind: {bank.prepared()} {bank.under_way()}")
        return
    found: dict[int, dict[str, int]] = {}
    for cluster in CLUSTERS:
        journal = bank.rows(cluster, f"SELECT transfer, COUNT(*) FROM {TABLES[cluster]}_made GROUP BY transfer")
        for number, count in (*journal, *((row[0], 1) for row in bank.rows(cluster, "SELECT id FROM rates"))):
            found.setdefault(int(number), {})[cluster] = int(count)
    for transfer in transfers:
        there = found.pop(transfer.id, {})
        result.told[transfer.told] += 1
        if there not in ({}, transfer.parts):
            result.problems.append(f"{transfer} is only partly there: {there}")
        elif transfer.told is Told.COMMITTED and not there:
            result.problems.append(f"{transfer} is not there")
        elif transfer.told is Told.NOT and there:
            result.problems.append(f"{transfer} is there")
        result.there += bool(there)
        if transfer.told is Told.UNKNOWN:
            result.of_unknown[bool(there)] += 1
    if found:
        result.problems.append(f"transfers that nobody made: {found}")
    if (total := bank.total()) != len(CLUSTERS) * ACCOUNTS * OPENING:
        result.problems.append(f"the sum is {total}")


class Pair:
    """Two Turnouts in front of the same servers: one serves while the other, which was killed, starts again."""

    def __init__(self, run: Run, bank: Bank) -> None:
        self._proxies = [run.turnout(bank.rules, f"turnout{number}") for number in (0, 1)]

    def next(self) -> Turnout:
        """The one that has had more time to start."""
        self._proxies.reverse()
        self._proxies[0].wait_ready()
        return self._proxies[0]

    def kill(self) -> None:
        for proxy in self._proxies:
            proxy.kill()

    def mistakes(self) -> list[str]:
        lines = [line for proxy in self._proxies for line in proxy.log_text().splitlines()]
        return [line for line in lines if '"event": "defect"' in line or '"event": "task failed"' in line]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.atomic.bank", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    print(f"seed {arguments.seed}", flush=True)
    told: Counter[Told] = Counter()
    unknown: Counter[bool] = Counter()
    recovered: Counter[str] = Counter()
    victims: Counter[str] = Counter()
    failed = 0
    began = time.monotonic()
    with Run() as run:
        bank = Bank(Shop(run))
        pair = Pair(run, bank)
        for number in range(1, arguments.runs + 1):
            result = one_run(bank, pair.next(), rng, patient=number % 25 == 0)
            told += result.told
            unknown += result.of_unknown
            recovered += result.recovered
            victims[result.what] += 1
            failed += bool(result.problems)
            for problem in result.problems:
                print(f"run {number} ({result.what}): {problem}", flush=True)
            if number % 20 == 0 or number == arguments.runs:
                print(
                    f"{number} runs, {time.monotonic() - began:.0f} s, {failed} failed; transfers "
                    f"{ {t.value: n for t, n in told.items()} }, unknown ones that are there "
                    f"{unknown[True]} of {unknown.total()}; branches recovered {dict(recovered)}; "
                    f"killed {dict(victims)}",
                    flush=True,
                )
        bank.close()
        mistakes = pair.mistakes()
        for line in mistakes[:10]:
            print(line)
    return 1 if failed or mistakes else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except NotReady as error:
        raise SystemExit(str(error)) from error
