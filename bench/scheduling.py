"""What `scheduling: batch` and `busy_poll` do: pages of an application on the processors of proxy and servers.

    python -m bench.scheduling [scheduling | busy_poll | scatters] [--rounds 5] [--seconds 3]

Every client is a process that makes pages: twenty reads of one row, each followed by some work of its own; of one
shard, or (`scatters`) of all four, since the shard is not known. Four servers, one Turnout of one worker and the
clients share the machine. Both ways take turns in the same worker, by reloads, so that nothing else differs. The last
load is what both are bad for: one client, beside processes that do nothing but compute.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from bench.point_scatter import POINT, ROWS, ask, logged_in
from bench.samples import Spread
from bench.scatter import RULES, SHARDS, filled
from bench.tables import number, spread, table
from tests.servers import Run, Turnout
from tests.servers.process import wait_until

READS = 20  # for one page
WAYS = {  # the first is what the other is compared with
    "scheduling": {"normal": "scheduling: normal", "batch": "scheduling: batch"},
    "busy_poll": {"off": "busy_poll: off", "all": "busy_poll: all"},
    "scatters": {"off": "busy_poll: off", "scatter": "busy_poll: scatter"},
}
OF_A_SHARD = f"{POINT} AND k = {{}}"


@dataclass(frozen=True, slots=True)
class Load:
    """`work_us`: of the application, after each read. `strangers`: processes that compute all the time."""

    name: str
    clients: int
    work_us: int
    strangers: int = 0


LOADS = (
    Load("8 clients, 0.3 ms of work after each read", 8, 300),
    Load("8 clients, 2 ms", 8, 2000),
    Load("2 clients, 0.3 ms", 2, 300),
    Load("8 clients that do nothing else", 8, 0),
    Load("1 client that does nothing else", 1, 0),
    Load("1 client, 0.3 ms", 1, 300),
    Load("1 client, 2 ms", 1, 2000),
    Load("1 client, 0.3 ms, beside 2 strangers", 1, 300, strangers=2),
)


@dataclass(slots=True)
class Found:
    """Of one load in one way; seconds. A value of each round, but for the times of pages and reads."""

    pages_per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)  # of Turnout, for each read
    pages: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)


def _work(steps: int) -> None:
    for _ in range(steps):
        pass


def _steps_per_us() -> float:
    began = time.process_time()
    _work(5_000_000)
    return 5 / (time.process_time() - began)


def _make_pages(port: int, steps: int, statement: str, orders: Connection) -> None:
    """For as many seconds as it is told to each time, until it is told 0."""
    client = [logged_in(port)]
    while seconds := orders.recv():
        pages, reads = [], []
        end = time.perf_counter() + seconds
        while (page_began := time.perf_counter()) < end:
            for _ in range(READS):
                key = random.randrange(1, ROWS)
                began = time.perf_counter()
                ask(client, [statement.format(key, key)])
                reads.append(time.perf_counter() - began)
                _work(steps)
            pages.append(time.perf_counter() - page_began)
        orders.send((pages, reads))


@contextmanager
def _process(target: object, *args: object) -> Iterator[None]:
    process = mp.Process(target=target, args=args, daemon=True)  # type: ignore[arg-type]
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _compute() -> None:
    while True:
        _work(1_000_000)


def _reload(proxy: Turnout, rules: str) -> None:
    before = proxy.metric("turnout_rules_reloads_total", outcome="ok")
    proxy.reload(rules)
    wait_until(lambda: proxy.metric("turnout_rules_reloads_total", outcome="ok") > before, 10)


def _measure(
    load: Load, proxy: Turnout, statement: str, ways: dict[str, str], rounds: int, seconds: float
) -> dict[str, Found]:
    found: defaultdict[str, Found] = defaultdict(Found)
    steps = int(load.work_us * _steps_per_us())
    with ExitStack() as stack:
        clients = []
        for _ in range(load.clients):
            ours, theirs = mp.Pipe()
            stack.enter_context(_process(_make_pages, proxy.port, steps, statement, theirs))
            clients.append(ours)
        for _ in range(load.strangers):
            stack.enter_context(_process(_compute))
        for turn in range(rounds):
            for name in sorted(ways, reverse=bool(turn % 2)):
                _reload(proxy, ways[name])
                before = sum(proxy.cpu_s())
                for client in clients:
                    client.send(seconds)
                answers = [client.recv() for client in clients]
                pages = [page for answer, _ in answers for page in answer]
                reads = [read for _, answer in answers for read in answer]
                one = found[name]
                one.pages_per_s.append(len(pages) / seconds)
                one.cpu_us.append((sum(proxy.cpu_s()) - before) / len(reads) * 1e6)
                one.pages += pages
                one.reads += reads
        for client in clients:
            client.send(0)
    return dict(found)


def _at(values: Sequence[float], share: float) -> str:
    return number(sorted(values)[int(len(values) * share)] * 1e3)


def _times(values: Sequence[float]) -> str:
    return " / ".join(_at(values, share) for share in (0.5, 0.95, 0.99))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=WAYS, default="scheduling")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    base = next(iter(WAYS[options.what]))
    head = ["load", options.what, "pages a second", f"x {base}", "Turnout's CPU us a read", "page ms", "read ms"]
    rows = []
    with Run() as run:
        servers = [filled(run, number, ROWS) for number in range(SHARDS)]
        clusters = "\n".join(f"  shard{n}: {{primary: '{server.address}'}}" for n, server in enumerate(servers))
        rules = RULES.format(clusters=clusters)
        ways = {name: f"{rules}\n{line}\n" for name, line in WAYS[options.what].items()}
        proxy = run.turnout(rules)
        statement = POINT if options.what == "scatters" else OF_A_SHARD
        for load in LOADS:
            found = _measure(load, proxy, statement, ways, options.rounds, options.seconds)
            for name in ways:
                one = found[name]
                ratios = [a / b for a, b in zip(one.pages_per_s, found[base].pages_per_s, strict=True)]
                ratio = spread(Spread.of(ratios)) if name != base else ""
                pages, cpu = spread(Spread.of(one.pages_per_s)), number(statistics.median(one.cpu_us))
                rows.append([load.name, name, pages, ratio, cpu, _times(one.pages), _times(one.reads)])
    print("\n".join(table(head, rows)))


if __name__ == "__main__":
    main()
