"""Where a worker's time goes: py-spy samples a Turnout worker while sysbench runs; the hottest functions are printed.

    python -m bench.profile                                  point selects, 8 clients, 10 s
    python -m bench.profile --script oltp_read_write --clients 64
    python -m bench.profile --sharded --keep stacks.txt      folded stacks, for a flame graph
    python -m bench.profile --cached local --load "point select (prepared)"
                                                             one of the loads of `bench.cached`, on one of its ways

py-spy reads the worker's memory from outside, so the worker runs as always; it needs root or ptrace rights. Compiled
code (uvloop, sqlglot, what of Turnout is compiled) shows as the Python line that called it, with `--native` by its own
names; with TURNOUT_PURE=1 Turnout's is not compiled, and takes twice the time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench import cached, cached_topology, sysbench
from bench.sysbench import Account, Workload
from bench.topology import SHARDED, TURNOUT, build
from tests.servers import Process, Run

CACHED = {
    "no": cached_topology.UNCACHED,
    "local": cached_topology.LOCAL,
    "memcached": cached_topology.REMOTE,
}
RATE_PER_S = 500
TOP = 40


def hottest(stacks: Iterable[str]) -> tuple[int, list[tuple[str, int, int]]]:
    """(all samples, [(function, samples in it, samples in it or below)]) of folded stacks `a;b;c N`, hottest first."""
    own: Counter[str] = Counter()
    below: Counter[str] = Counter()
    total = 0
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [_function(frame) for frame in stack.split(";")]
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            below[frame] += int(count)
    return total, sorted(
        ((name, own[name], count) for name, count in below.items()), key=lambda row: (-row[1], -row[2])
    )


def _function(frame: str) -> str:
    """`receive (proxy/front/client.py:42)` without the line, which would split a function into many."""
    name, _, place = frame.partition(" (")
    file = place.rstrip(")").rpartition(":")[0] or place.rstrip(")")
    return f"{name} ({file})" if file else name


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.profile", description="Profiles a Turnout worker under sysbench.")
    parser.add_argument("--script", default="oltp_point_select")
    parser.add_argument("--prepared", action="store_true", help="server-side prepared statements")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--sharded", action="store_true", help="on the table that is spread over two shards")
    parser.add_argument("--cached", choices=sorted(CACHED), help="with `--load`: what the table's cache consists of")
    parser.add_argument(
        "--load", default=cached.HITS, choices=sorted({load.name for load in cached.loads(cached.FULL)})
    )
    parser.add_argument("--native", action="store_true", help="show compiled code too")
    parser.add_argument("--keep", type=Path, help="write the folded stacks to this file")
    arguments = parser.parse_args()
    with Run() as run, tempfile.TemporaryDirectory() as folder:
        stacks = arguments.keep or Path(folder) / "stacks"
        if arguments.cached:
            proxy, port, account, workload = _cached(run, CACHED[arguments.cached], arguments.load)
        else:
            proxy, port, account = _routed(run, SHARDED if arguments.sharded else TURNOUT)
            workload = Workload(arguments.script, arguments.prepared)
        sysbench.run(port, account, workload, arguments.clients, 1)
        (worker,) = proxy.named("turnout-worker")
        spy = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("py-spy")),
                "record",
                f"--pid={worker}",
                f"--duration={arguments.seconds}",
                f"--rate={RATE_PER_S}",
                "--format=raw",
                f"--output={stacks}",
                *(["--native"] if arguments.native else []),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        report = sysbench.run(port, account, workload, arguments.clients, arguments.seconds + 1)
        errors = spy.communicate()[1]
        if spy.returncode:
            sys.exit(f"py-spy failed with {spy.returncode}: {errors}")
        total, rows = hottest(stacks.read_text().splitlines())
    print(
        f"{workload.name}, {arguments.clients} clients: {report.queries_per_s:.0f} statements a second (while profiled)"
    )
    print(f"{total} samples of worker {worker}; own % is time in the function itself, all % with what it calls\n")
    print(" own %   all %  function")
    for function, own, below in rows[:TOP]:
        print(f"{100 * own / total:6.1f}  {100 * below / total:6.1f}  {function}")


def _routed(run: Run, name: str) -> tuple[Process, int, Account]:
    target = build(run, [name]).target(name)
    assert target is not None
    assert target.proxy is not None
    return target.proxy, target.port, target.account


def _cached(run: Run, name: str, load_name: str) -> tuple[Process, int, Account, Workload]:
    """With everything in memory that the load asks for."""
    size = cached.FULL
    topology = cached_topology.build(run, [name], size.local_keys, size.remote_keys)
    target = next(target for target in topology.targets if target.name == name)
    assert target.proxy is not None
    cached.warm(target, size)
    load = next(load for load in cached.loads(size) if load.name == load_name)
    return target.proxy, target.port, cached_topology.ACCOUNT, load.workload(1)


if __name__ == "__main__":
    main()
