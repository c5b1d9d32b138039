"""Interleaved sysbench runs: in every round each target gets each load once, in turning order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import sysbench
from bench.samples import Sample
from bench.sysbench import Workload
from bench.topology import SHARDED, Target, Topology

POINT_SELECT = Workload("oltp_point_select")
WORKLOADS = (
    POINT_SELECT,
    Workload("oltp_point_select", prepared=True),
    Workload("oltp_read_only"),
    Workload("oltp_read_write"),
)
PREPARED = tuple(  # the OLTP set with `--db-ps-mode=auto`
    Workload(f"oltp_{name}", prepared=True)
    for name in (
        "point_select",
        "read_only",
        "read_write",
        "write_only",
        "insert",
        "update_index",
        "update_non_index",
        "delete",
    )
)


@dataclass(frozen=True, slots=True)
class Load:
    workload: Workload
    clients: int


def applies(target: Target, load: Load) -> bool:
    """The sharded table is for point selects: the other scripts read ranges, which are several shards' work."""
    return target.name != SHARDED or load.workload.script == POINT_SELECT.script


def measure(
    topology: Topology, loads: Sequence[Load], rounds: int, seconds: int, say: Callable[[str], None]
) -> list[Sample]:
    for target in topology.targets:  # pools and caches are warm before anything counts
        sysbench.run(target.port, target.account, POINT_SELECT, max(load.clients for load in loads), 1)
    samples = []
    for number in range(rounds):
        for load in loads:
            turn = number % len(topology.targets)
            for target in [*topology.targets[turn:], *topology.targets[:turn]]:
                if applies(target, load):
                    sample = _one(topology, target, load, number, seconds)
                    samples.append(sample)
                    say(
                        f"round {number + 1}/{rounds} {load.workload.name} {load.clients} clients {target.name}: "
                        f"{sample.queries_per_s:.0f}/s, proxy {sample.proxy_us:.1f} us/statement"
                    )
    return samples


def _one(topology: Topology, target: Target, load: Load, number: int, seconds: int) -> Sample:
    def proxy() -> tuple[float, float]:
        return target.proxy.cpu_s() if target.proxy else (0.0, 0.0)

    def server() -> float:
        return sum(sum(each.cpu_s()) for each in topology.servers)

    proxy_before, server_before = proxy(), server()
    report = sysbench.run(target.port, target.account, load.workload, load.clients, seconds)
    proxy_after, server_after = proxy(), server()
    per_query = 1e6 / report.queries
    return Sample(
        round=number,
        target=target.name,
        workload=load.workload.name,
        clients=load.clients,
        queries=report.queries,
        queries_per_s=report.queries_per_s,
        p95_ms=report.p95_ms,
        errors=report.errors,
        proxy_user_us=(proxy_after[0] - proxy_before[0]) * per_query,
        proxy_system_us=(proxy_after[1] - proxy_before[1]) * per_query,
        server_us=(server_after - server_before) * per_query,
    )
