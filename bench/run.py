"""`make bench`: measures MariaDB directly, through HAProxy and through Turnout side by side, and writes the results.

A full run takes some 45 minutes and writes `bench/RESULTS.md`; `--quick` takes about four and writes
`bench/out/quick.md`; a run of some `--parts` only writes `bench/out/parts.md`. No figure is asserted: a machine under
other load gives others.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

from bench import cached, cached_topology, machine, memory, miss, recorded, report, stream, throughput
from bench import clients as many_clients
from bench.report import Results
from bench.samples import Sample, Spread
from bench.topology import DIRECT, HAPROXY, SHARDED, TURNOUT, Topology, build
from tests.servers import Run

HERE = Path(__file__).resolve().parent
PARTS = ("routing", "prepared", "cache", "stream", "clients", "recording")
SLUGS = {"direct": DIRECT, "haproxy": HAPROXY, "turnout": TURNOUT, "sharded": SHARDED}


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    rounds: int
    seconds: int  # of each sysbench run
    clients: tuple[int, ...]
    idle_clients: int
    result_bytes: int
    misses: int
    cache: cached.CacheSize
    stream_rows: int
    many: many_clients.ClientSize
    recording: recorded.RecordedSize


FULL = Size(
    rounds=5,
    seconds=4,
    clients=(1, 8, 64),
    idle_clients=2000,
    result_bytes=10**9,
    misses=400,
    cache=cached.FULL,
    stream_rows=100_000,
    many=many_clients.FULL,
    recording=recorded.FULL,
)
QUICK = Size(
    rounds=2,
    seconds=1,
    clients=(8,),
    idle_clients=300,
    result_bytes=10**8,
    misses=100,
    cache=cached.QUICK,
    stream_rows=10_000,
    many=many_clients.QUICK,
    recording=recorded.QUICK,
)


def main() -> None:
    arguments = _parser().parse_args()
    size = QUICK if arguments.quick else FULL
    if arguments.rounds or arguments.seconds:
        changes = {"rounds": arguments.rounds, "seconds": arguments.seconds}
        given = {name: value for name, value in changes.items() if value}
        size = dataclasses.replace(size, **given, cache=dataclasses.replace(size.cache, **given))
    output = arguments.output or _output(arguments.quick, set(arguments.parts) == set(PARTS))
    many_clients.allow_many_files()
    results = Results(machine.describe(), "", [])
    if "routing" in arguments.parts:
        with Run() as run:
            topology = build(run, [SLUGS[name] for name in arguments.targets])
            results = _measure(topology, size)
    if "prepared" in arguments.parts:
        with Run() as run:
            prepared = _measure_prepared(build(run, [HAPROXY, TURNOUT]), size)
        results = dataclasses.replace(results, prepared=prepared)
    if "cache" in arguments.parts:
        settings, samples = _measure_cache(size.cache)
        results = dataclasses.replace(results, cache_settings=settings, cache_samples=samples)
    if "stream" in arguments.parts:
        with Run() as run:
            found = stream.measure(run, size.rounds, size.stream_rows, say=_say)
        results = dataclasses.replace(results, stream=found)
    if "clients" in arguments.parts:
        with Run() as run:
            results = dataclasses.replace(results, many=many_clients.measure(run, size.many, _say))
    if "recording" in arguments.parts:
        with Run() as run:
            recording = recorded.measure(run, size.recording, _say)
        results = dataclasses.replace(results, recording=recording)
    output.parent.mkdir(exist_ok=True)
    output.write_text(report.markdown(results))
    raw = HERE / "out" / "samples.json"
    raw.parent.mkdir(exist_ok=True)
    every = [*results.samples, *results.prepared, *results.cache_samples]
    raw.write_text(json.dumps([dataclasses.asdict(sample) for sample in every], indent=1))
    for budget in report.budgets(results):
        _say(f"{budget.what}: {budget.found} (budget {budget.limit})")
    _say(f"written: {output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.run", description="Measures Turnout beside HAProxy and MariaDB.")
    parser.add_argument("--quick", action="store_true", help="some minutes instead of three quarters of an hour")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, help="interleaved rounds")
    parser.add_argument("--seconds", type=int, help="length of one sysbench run")
    parser.add_argument(
        "--targets", nargs="+", choices=SLUGS, default=list(SLUGS), metavar="TARGET", help=", ".join(SLUGS)
    )
    parser.add_argument("--output", type=Path, help="the Markdown file to write")
    return parser


def _measure(topology: Topology, size: Size) -> Results:
    started = time.monotonic()
    loads = [throughput.Load(workload, clients) for workload in throughput.WORKLOADS for clients in size.clients]
    samples = throughput.measure(topology, loads, size.rounds, size.seconds, _say)
    idle, slow = {}, {}
    for name in (HAPROXY, TURNOUT):
        target = topology.target(name)
        if target is not None:
            idle[name] = Spread.of([memory.idle_bytes_per_client(target, size.idle_clients)])
            _say(f"idle client through {name}: {idle[name].median / 1024:.1f} KB")
            slow[name] = Spread.of([memory.slow_reader_peak_bytes(target, size.result_bytes)])
            _say(f"slow reader through {name}: {slow[name].median / (1 << 20):.1f} MB")
    misses = {}
    turnout = topology.target(TURNOUT)
    if turnout is not None:
        for statement, text in miss.STATEMENTS.items():
            misses[statement] = Spread.of([miss.miss_us(turnout, text, size.misses) for _ in range(size.rounds)])
            _say(f"plan-cache miss, {statement}: {misses[statement].median:.0f} us")
    settings = (
        f"{size.rounds} interleaved rounds of {size.seconds} s for each script, number of clients and way; one run,"
        f" {(time.monotonic() - started) / 60:.0f} minutes."
    )
    return Results(
        machine=machine.describe(),
        settings=settings,
        samples=samples,
        idle_clients=size.idle_clients,
        idle_bytes=idle,
        result_bytes=size.result_bytes,
        slow_bytes=slow,
        miss_us=misses,
    )


def _measure_prepared(topology: Topology, size: Size) -> list[Sample]:
    loads = [throughput.Load(workload, report.BUDGET_CLIENTS) for workload in throughput.PREPARED]
    return throughput.measure(topology, loads, size.rounds, size.seconds, _say)


def _output(quick: bool, everything: bool) -> Path:
    if quick or not everything:
        return HERE / "out" / ("quick.md" if quick else "parts.md")
    return HERE / "RESULTS.md"


def _measure_cache(size: cached.CacheSize) -> tuple[str, list[cached.CacheSample]]:
    """(how it was measured, what was)."""
    started = time.monotonic()
    samples = []
    for group in cached.GROUPS:
        concerned = {name for load in cached.loads(size) if load.name in group for name in load.targets}
        with Run() as run:
            names = [name for name in size.targets if name in concerned]
            topology = cached_topology.build(run, names, size.local_keys, size.remote_keys)
            samples += cached.measure(topology, group, size, _say)
    settings = (
        f"{size.rounds} interleaved rounds of {size.seconds} s. {size.local_keys:,} keys, which fit into a worker's"
        f" memory; `many keys` are {size.remote_keys:,}, and {cached_topology.LEAST_LOCAL} of memory. One run,"
        f" {(time.monotonic() - started) / 60:.0f} minutes."
    )
    return settings, samples


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
