"""From measurements to `RESULTS.md`: tables of medians, and which budgets of DESIGN.md's part 6 were met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench import cache_report, recorded, stream
from bench import clients as many_clients
from bench.cached import CacheSample
from bench.clients import ClientResults
from bench.recorded import Recorded
from bench.samples import Sample, Spread, ratios
from bench.stream import StreamResults
from bench.tables import Budget, budget, number, scaled, spread, table
from bench.topology import DIRECT, HAPROXY, SHARDED, TURNOUT

POINT_SELECT = "oltp_point_select"
BUDGET_CLIENTS = 8
KB, MB = 1024, 1 << 20
_SYSBENCH_HEAD = (
    *("script", "clients", "through", "per second", "x", "p95 ms", "CPU us", "user", "system", "x", "server us"),
    "errors",
)
SYSBENCH_NOTE = (
    "Statements a second, and microseconds of CPU per statement (BEGIN and COMMIT count as statements). `CPU` is user",
    "plus system time of all the proxy's processes, `server` that of MariaDB; `x` is the ratio to HAProxy; `errors`",
    "are deadlocks that sysbench retried.",
)
MEMORY_NOTE = (
    "Proportional set size (PSS) of all the proxy's processes, less what it was before. Buffers in the kernel are not",
    "part of it.",
)


@dataclass(frozen=True, slots=True)
class Results:
    machine: Sequence[tuple[str, str]]
    settings: str  # rounds, seconds, ...: one sentence
    samples: Sequence[Sample]
    prepared: Sequence[Sample] = ()  # the OLTP set with prepared statements
    idle_clients: int = 0
    idle_bytes: Mapping[str, Spread] = field(default_factory=dict)  # by target, per client
    result_bytes: int = 0
    slow_bytes: Mapping[str, Spread] = field(default_factory=dict)  # by target
    miss_us: Mapping[str, Spread] = field(default_factory=dict)  # by statement
    cache_settings: str = ""
    cache_samples: Sequence[CacheSample] = ()
    stream: StreamResults | None = None
    many: ClientResults | None = None
    recording: Sequence[Recorded] = ()


def budgets(results: Results) -> list[Budget]:
    """Budgets are held against medians; ratios are taken round by round."""

    def ratio(target: str, what: str) -> Spread | None:
        return ratios(results.samples, target, HAPROXY, POINT_SELECT, BUDGET_CLIENTS, what)

    found = []
    for target in (TURNOUT, SHARDED):
        if target == SHARDED and not any(sample.target == SHARDED for sample in results.samples):
            continue
        cpu, speed = ratio(target, "proxy_us"), ratio(target, "queries_per_s")
        name = "" if target == TURNOUT else " of a sharded table"
        found += [
            budget(
                f"CPU of the proxy per routed point select{name}, {BUDGET_CLIENTS} clients",
                "<= 1.5 x HAProxy",
                cpu,
                " x",
                cpu is not None and cpu.median <= 1.5,
            ),
            budget(
                f"throughput of routed point selects{name}, {BUDGET_CLIENTS} clients",
                ">= 0.85 x HAProxy",
                speed,
                " x",
                speed is not None and speed.median >= 0.85,
            ),
        ]
    prepared = ratios(
        results.prepared or results.samples, TURNOUT, HAPROXY, f"{POINT_SELECT} (prepared)", BUDGET_CLIENTS, "proxy_us"
    )
    found.append(
        budget(
            f"CPU of the proxy per routed point select with a prepared statement, {BUDGET_CLIENTS} clients",
            "<= 1.6 x HAProxy",
            prepared,
            " x",
            prepared is not None and prepared.median <= 1.6,
        )
    )
    misses: dict[str, Spread | None] = {**results.miss_us} or {"": None}
    for statement, miss in misses.items():
        found.append(
            budget(
                f"a plan-cache miss{statement and f', {statement}'}",
                "<= 1 ms",
                miss and scaled(miss, 1000),
                " ms",
                miss is not None and miss.median <= 1000,
            )
        )
    idle, slow = results.idle_bytes.get(TURNOUT), results.slow_bytes.get(TURNOUT)
    found += [
        budget(
            "an idle client", "<= 24 KB", idle and scaled(idle, KB), " KB", idle is not None and idle.median <= 24 * KB
        ),
        budget(
            f"a result of {results.result_bytes / 1e9:.2g} GB to a slow reader",
            "<= 32 MB more memory",
            slow and scaled(slow, MB),
            " MB",
            slow is not None and slow.median <= 32 * MB,
        ),
    ]
    if results.cache_samples:
        found += cache_report.budgets(results.cache_samples)
    return found + recorded.budgets(results.recording)


def _loads(samples: Sequence[Sample]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((sample.workload, sample.clients) for sample in samples))


def _sysbench_rows(samples: Sequence[Sample]) -> list[list[str]]:
    rows = []
    for workload, clients in _loads(samples):
        chosen = [s for s in samples if (s.workload, s.clients) == (workload, clients)]
        for target in (DIRECT, HAPROXY, TURNOUT, SHARDED):
            of_target = [s for s in chosen if s.target == target]
            if not of_target:
                continue
            proxied = target != DIRECT

            def against(what: str, target: str = target, load: tuple[str, int] = (workload, clients)) -> str:
                found = ratios(samples, target, HAPROXY, *load, what)
                return f"{found.median:.2f}" if found and target != HAPROXY else ""

            rows.append(
                [
                    workload,
                    str(clients),
                    target,
                    spread(Spread.of(s.queries_per_s for s in of_target)),
                    against("queries_per_s"),
                    number(Spread.of(s.p95_ms for s in of_target).median),
                    spread(Spread.of(s.proxy_us for s in of_target)) if proxied else "",
                    number(Spread.of(s.proxy_user_us for s in of_target).median) if proxied else "",
                    number(Spread.of(s.proxy_system_us for s in of_target).median) if proxied else "",
                    against("proxy_us") if proxied else "",
                    number(Spread.of(s.server_us for s in of_target).median),
                    str(sum(s.errors for s in of_target)),
                ]
            )
    return rows


def markdown(results: Results) -> str:
    met = {True: "met", False: "**not met**", None: ""}
    lines = [
        "# Results",
        "",
        "Written by `make bench`. " + results.settings,
        "",
        *table(["", ""], [list(pair) for pair in results.machine]),
        "",
        "## Budgets",
        "",
        "Medians, with the lowest and the highest in parentheses. Ratios are taken within each round.",
        "",
        *table(["what", "budget", "measured", ""], [[b.what, b.limit, b.found, met[b.met]] for b in budgets(results)]),
    ]
    for title, samples in (("sysbench", results.samples), ("sysbench, prepared statements", results.prepared)):
        if samples:
            lines += ["", f"## {title}", "", *SYSBENCH_NOTE, "", *table(_SYSBENCH_HEAD, _sysbench_rows(samples))]
    if results.idle_bytes or results.slow_bytes:
        rows = [
            [f"each of {results.idle_clients:,} idle clients", target, f"{spread(scaled(found, KB))} KB"]
            for target, found in results.idle_bytes.items()
        ]
        rows += [
            [
                f"peak with {results.result_bytes / 1e9:.2g} GB to a slow reader",
                target,
                f"{spread(scaled(found, MB))} MB",
            ]
            for target, found in results.slow_bytes.items()
        ]
        lines += [
            "",
            "## Memory",
            "",
            *MEMORY_NOTE,
            "",
            *table(["what", "through", "more memory"], rows),
        ]
    if results.cache_samples:
        lines += ["", *cache_report.section(results.cache_settings, results.cache_samples)]
    if results.stream is not None:
        lines += ["", "## Change stream", "", stream.markdown(results.stream).rstrip()]
    if results.many is not None:
        lines += ["", "## Many clients", "", *many_clients.section(results.many)]
    if results.recording:
        lines += ["", "## Recording", "", *recorded.section(results.recording)]
    return "\n".join(lines) + "\n"
