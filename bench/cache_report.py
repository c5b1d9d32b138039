"""The cache's part of `RESULTS.md`: its budgets, and a table of its loads."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cached import HITS, MISSES, PREPARED_HITS, REMOTE_HITS, CacheSample
from bench.cached_topology import LOCAL, LOCAL_2, REMOTE, REMOTE_2, UNCACHED
from bench.samples import Spread, ratios
from bench.tables import Budget, budget, number, spread, table
from bench.topology import DIRECT

CLIENTS = 8
MEANT = 0.99  # of the reads have to be what a load is meant for, or its budgets are not met
NOTE = (
    "One table with `cache: {by: [id]}`, reads of one row by its primary key. `x direct` and `x no cache` are ratios",
    "of throughput to MariaDB asked directly and to Turnout without a cache class. `CPU us` is user plus system time",
    "of all of Turnout's processes per statement (the stream process too, which costs the same whatever is asked),",
    "`x server` its ratio to what MariaDB spends per statement when it is asked directly. `local`, `memcached` and",
    "`misses` are Turnout's own counts, in per cent of all reads; `refused` are values that were found and not served",
    "because the row had been written to, or might have been.",
)


def budgets(samples: Sequence[CacheSample]) -> list[Budget]:
    """Budgets are held against medians; ratios are taken round by round."""

    def ratio(
        target: str, base: str, load: str, what: str, base_what: str = "", clients: int = CLIENTS
    ) -> Spread | None:
        return ratios(samples, target, base, load, clients, what, base_what)

    def meant(target: str, load: str, part: str, clients: int = CLIENTS) -> bool:
        shares = [
            each.share(getattr(each, part))
            for each in samples
            if (each.target, each.workload, each.clients) == (target, load, clients)
        ]
        return bool(shares) and min(shares) >= MEANT

    found = []
    many = sorted({each.clients for each in samples if (each.target, each.workload) == (LOCAL, HITS)} - {CLIENTS})
    for clients in (CLIENTS, *many):
        fast = ratio(LOCAL, DIRECT, HITS, "queries_per_s", clients=clients)
        cheap = ratio(LOCAL, DIRECT, HITS, "proxy_us", "server_us", clients)
        hits = meant(LOCAL, HITS, "hits_local", clients)
        found += [
            budget(
                f"throughput of reads from a worker's memory, {clients} clients",
                ">= 2 x MariaDB",
                fast,
                " x",
                hits and fast is not None and fast.median >= 2,
            ),
            budget(
                f"CPU of the proxy per read from a worker's memory, {clients} clients",
                "<= 0.5 x MariaDB's",
                cheap,
                " x",
                hits and cheap is not None and cheap.median <= 0.5,
            ),
        ]
    for target, memory in ((LOCAL, "a worker's memory"), (REMOTE, "that and memcached")):
        fill = ratio(target, UNCACHED, MISSES, "proxy_us")
        found.append(
            budget(
                f"CPU of the proxy per read that is asked and kept in {memory}, {CLIENTS} clients",
                "<= 1.25 x no cache",
                fill,
                " x",
                meant(target, MISSES, "misses") and fill is not None and fill.median <= 1.25,
            )
        )
    return found


def section(settings: str, samples: Sequence[CacheSample]) -> list[str]:
    """The lines of the section."""
    head = [
        "statements",
        "clients",
        "through",
        "per second",
        "x direct",
        "x no cache",
        "p95 ms",
        "CPU us",
        "user",
        "system",
        "x server",
        "server us",
        "memcached us",
        "local",
        "memcached",
        "misses",
        "refused",
    ]
    doubts = [
        f"{100 * each.share(part):.1f} % of round {each.round + 1} of {each.workload!r} through {each.target}"
        for each in samples
        if (part := _meant(each)) is not None and each.share(part) < MEANT
    ]
    warning = ["", f"**Not what was meant**: only {'; '.join(doubts)}."] if doubts else []
    return ["## Cache", "", settings, "", *NOTE, *warning, "", *table(head, _rows(samples))]


def _meant(sample: CacheSample) -> int | None:
    """How many reads were what the load is meant for; None where it is meant for a mixture."""
    if sample.target in (LOCAL, LOCAL_2) and sample.workload in (HITS, PREPARED_HITS):
        return sample.hits_local
    if sample.target in (REMOTE, REMOTE_2) and sample.workload == REMOTE_HITS:
        return sample.hits_local + sample.hits_memcached
    if sample.target in (LOCAL, REMOTE) and sample.workload == MISSES:
        return sample.misses
    return None


def _rows(samples: Sequence[CacheSample]) -> list[list[str]]:
    rows = []
    groups = dict.fromkeys((each.workload, each.clients, each.target) for each in sorted(samples, key=_order))
    for workload, clients, target in groups:
        chosen = [each for each in samples if (each.workload, each.clients, each.target) == (workload, clients, target)]

        def median(*values: float) -> str:
            return number(Spread.of(values).median)

        def against(
            base: str, what: str, base_what: str = "", row: tuple[str, str, int] = (target, workload, clients)
        ) -> str:
            found = ratios(samples, row[0], base, row[1], row[2], what, base_what)
            return f"{found.median:.2f}" if found and row[0] != base else ""

        proxied, cached = target != DIRECT, target not in (DIRECT, UNCACHED)
        rows.append(
            [
                workload,
                str(clients),
                target,
                spread(Spread.of(each.queries_per_s for each in chosen)),
                against(DIRECT, "queries_per_s"),
                against(UNCACHED, "queries_per_s") if cached else "",
                median(*(each.p95_ms for each in chosen)),
                spread(Spread.of(each.proxy_us for each in chosen)) if proxied else "",
                median(*(each.proxy_user_us for each in chosen)) if proxied else "",
                median(*(each.proxy_system_us for each in chosen)) if proxied else "",
                against(DIRECT, "proxy_us", "server_us"),
                median(*(each.server_us for each in chosen)),
                median(*(each.memcached_us for each in chosen)) if target in (REMOTE, REMOTE_2) else "",
                *(
                    f"{Spread.of(100 * each.share(getattr(each, part)) for each in chosen).median:.1f}"
                    if cached
                    else ""
                    for part in ("hits_local", "hits_memcached", "misses", "refused")
                ),
            ]
        )
    return rows


def _order(sample: CacheSample) -> tuple[str, int, int]:
    targets = (DIRECT, UNCACHED, LOCAL, LOCAL_2, REMOTE, REMOTE_2)
    return sample.workload, sample.clients, targets.index(sample.target)
