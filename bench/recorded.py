"""What recording costs end to end: two Turnouts before one server, alike but for `history:`, in short turns.

    python -m bench.recorded [--rounds 12] [--turns 60]        (also a part of `make bench`)

Each Turnout has a sysbench of its own, on tables of its own, and one of the two is stopped (SIGSTOP) while the other
goes on. A turn is a tenth of a second, so that whatever else the machine does slows both sides. Every round has new
processes: where one has its code and its data in memory is chance, and makes it some per cent quicker or slower than
the next for as long as it lives. From round to round the tables change sides. Statements are the server's own count;
CPU is that of all of a Turnout's processes over the whole round, with what is done once a second.
"""

from __future__ import annotations

import argparse
import math
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench import sysbench
from bench.samples import Spread
from bench.sysbench import Account, Workload
from bench.tables import Budget, number, table
from tests.servers import MariaDB, Run, Turnout

CLIENTS = 8
TURN_S = 0.1
_CPUCLOCK_SCHED = 2
WARM_S = 1.5
DRAIN_S = 0.01  # after a stop, until what was under way has been answered
COST_PCT = 3.0  # the budget
WORKLOADS = (
    Workload("oltp_point_select"),
    Workload("oltp_point_select", prepared=True),
    Workload("oltp_read_write"),
)
RULES = """\
workers: 1
users:
  app: {{password: app-secret}}
service: {{user: turnout, password: turnout-secret}}
clusters:
  main: {{primary: '{main}', max_connections: 64}}
databases:
  one: {{home: main}}
  two: {{home: main}}
"""
ACCOUNTS = (Account("app", "app-secret", "one"), Account("app", "app-secret", "two"))


@dataclass(frozen=True, slots=True)
class RecordedSize:
    rounds: int
    turns: int  # of each side in a round


FULL, QUICK = RecordedSize(12, 60), RecordedSize(3, 10)


@dataclass(frozen=True, slots=True)
class Turn:
    """One side of a round: statements a second while it went on, and CPU of its Turnout for each of them."""

    per_s: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Round:
    plain: Turn
    recording: Turn


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the rounds of one workload came to. Of ratios: the median, and where it is with 95 %."""

    workload: str
    rounds: Sequence[Round]

    @property
    def speed(self) -> Spread:
        return middle([one.recording.per_s / one.plain.per_s for one in self.rounds])

    @property
    def cpu(self) -> Spread:
        return middle([one.recording.cpu_us / one.plain.cpu_us for one in self.rounds])


def middle(values: Sequence[float]) -> Spread:
    """The median, and between which of the values it is with 95 % (by their order, whatever their distribution)."""
    ordered = sorted(values)
    n = len(ordered)
    reach = 1.96 * math.sqrt(n) / 2
    low, high = max(0, math.floor(n / 2 - reach)), min(n - 1, math.ceil(n / 2 + reach))
    return Spread(statistics.median(ordered), ordered[low], ordered[high], n)


class _Side:
    """One Turnout, and the sysbench that asks it."""

    def __init__(self, proxy: Turnout, load: subprocess.Popen[str]) -> None:
        self.proxy = proxy
        self.load = load

    def cpu_ns(self) -> int:
        return sum(_cpu_ns(pid) for pid in self.proxy.pids())

    def go_on(self) -> None:
        self.load.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.load.send_signal(signal.SIGSTOP)


def _cpu_ns(pid: int) -> int:
    """CPU time of a process with all its threads; 0 when it is gone. clock_getcpuclockid(3), of which Python has none:
    clock ticks, as /proc has them, are too coarse here."""
    try:
        return time.clock_gettime_ns(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:
        return 0


@contextmanager
def _loading(proxy: Turnout, account: Account, workload: Workload) -> Iterator[_Side]:
    """A sysbench that goes on until the end of the block; it is stopped at its beginning."""
    argv = [*sysbench.arguments(proxy.port, account, workload, CLIENTS, 3600), "run"]
    load = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True)
    try:
        time.sleep(WARM_S)
        if load.poll() is not None:
            raise sysbench.SysbenchFailed(f"{' '.join(argv)} ended at once, with {load.returncode}")
        side = _Side(proxy, load)
        side.stop()
        yield side
    finally:
        load.kill()
        load.wait()


def _round(server: MariaDB, plain: _Side, recording: _Side, turns: int) -> Round:
    sides = (plain, recording)
    asked, seconds = dict.fromkeys(sides, 0), dict.fromkeys(sides, 0.0)
    with server.admin() as connection, connection.cursor() as cursor:

        def statements() -> int:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
            return int(cursor.fetchone()[1])

        began_ns = {side: side.cpu_ns() for side in sides}
        for n in range(turns):
            for side in sides if n % 2 else sides[::-1]:
                before = statements()
                began = time.perf_counter()
                side.go_on()
                time.sleep(TURN_S)
                side.stop()
                seconds[side] += time.perf_counter() - began
                time.sleep(DRAIN_S)
                asked[side] += statements() - before - 1
        used_ns = {side: side.cpu_ns() - began_ns[side] for side in sides}
    return Round(*(Turn(asked[side] / seconds[side], used_ns[side] / 1000 / asked[side]) for side in sides))


def measure(
    run: Run, size: RecordedSize, say: Callable[[str], None], workloads: Sequence[Workload] = WORKLOADS
) -> list[Recorded]:
    server = run.mariadb("recorded", options=["--innodb-buffer-pool-size=128M"])
    server.create_account(ACCOUNTS[0].user, ACCOUNTS[0].password)
    server.create_service_account("turnout", "turnout-secret")
    for account in ACCOUNTS:
        server.execute(f"CREATE DATABASE {account.database}")
        sysbench.prepare(server.port, account)
    rules = RULES.format(main=server.address)
    found: dict[str, list[Round]] = {workload.name: [] for workload in workloads}
    for n in range(size.rounds):
        plain = run.turnout(rules, f"plain-{n}")
        recording = run.turnout(rules + "history: {file: history.sqlite}\n", f"recording-{n}")
        for workload in workloads:
            accounts = ACCOUNTS if n % 2 else ACCOUNTS[::-1]
            with _loading(plain, accounts[0], workload) as one, _loading(recording, accounts[1], workload) as other:
                done = _round(server, one, other, size.turns)
            found[workload.name].append(done)
            say(
                f"round {n + 1}/{size.rounds} recording, {workload.name}: "
                f"{done.recording.per_s:.0f}/s for {done.plain.per_s:.0f}/s, "
                f"CPU {done.recording.cpu_us:.1f} us for {done.plain.cpu_us:.1f} us"
            )
        plain.stop()
        recording.stop()
    return [Recorded(name, rounds) for name, rounds in found.items()]


def budgets(results: Sequence[Recorded]) -> list[Budget]:
    return [
        Budget(
            f"throughput that recording (`history:`) costs, {one.workload}, {CLIENTS} clients",
            f"<= {COST_PCT:g} %",
            f"{_cost(one.speed)} %",
            100 * (1 - one.speed.median) <= COST_PCT,
        )
        for one in results
    ]


def section(results: Sequence[Recorded]) -> list[str]:
    rows = [
        [
            one.workload,
            number(statistics.median(each.plain.per_s for each in one.rounds)),
            number(statistics.median(each.recording.per_s for each in one.rounds)),
            f"{_cost(one.speed)} %",
            number(statistics.median(each.plain.cpu_us for each in one.rounds)),
            number(statistics.median(each.recording.cpu_us for each in one.rounds)),
            f"{100 * (one.cpu.median - 1):+.1f} ({100 * (one.cpu.low - 1):+.1f} to {100 * (one.cpu.high - 1):+.1f}) %",
        ]
        for one in results
    ]
    rounds = max(len(one.rounds) for one in results)
    return [
        f"Two Turnouts before one server, with `history:` and without, asked by turns of {TURN_S:g} s by {CLIENTS}",
        f"clients each; {rounds} rounds with new processes. Medians over rounds; in parentheses, the interval in which",
        "the median is with 95 %. `CPU us` is that of all of a Turnout's processes for a statement.",
        "",
        *table(("script", "per second", "recording", "costs", "CPU us", "recording", "more CPU"), rows),
    ]


def _cost(speed: Spread) -> str:
    """In per cent: what is missing to the throughput without."""
    return f"{100 * (1 - speed.median):.1f} ({100 * (1 - speed.high):.1f} to {100 * (1 - speed.low):.1f})"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=FULL.rounds)
    options.add_argument("--turns", type=int, default=FULL.turns, help="of each side in a round")
    options.add_argument("--workloads", nargs="+", choices=[one.name for one in WORKLOADS])
    chosen = options.parse_args()
    workloads = [one for one in WORKLOADS if not chosen.workloads or one.name in chosen.workloads]
    size = RecordedSize(chosen.rounds, chosen.turns)
    with Run() as run:
        found = measure(run, size, lambda text: print(text, file=sys.stderr, flush=True), workloads)
    print("\n".join(section(found)))


if __name__ == "__main__":
    main()
