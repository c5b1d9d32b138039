"""What to do next about a server that has much to do, the cheapest first; and what to leave alone. Pure.

For each cluster the techniques are tried in the order of what they cost a team (`Technique`). Each takes what the ones
before it have left, so that the loads taken off can be added up. A table that is worth less than SHARE of its server is
left alone, however large it is. Of a server that is far from full only indexes are advised, and of a window with too
little in it only those whose evidence is counted.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from proxy.measure.headroom import Growth, Weeks, added, weeks_left
from proxy.measure.spans import DAY
from proxy.measure.workload import Use, Workload

SHARE = 0.05  # of a server's load: less is not worth a change
HORIZON_WEEKS = 12.0  # a step is due when a server may be full by then
CORES = 8.0  # that a server is taken to have where nobody says
SAFE = 0.7  # of a server's cores that may be busy
WASTE = 100.0  # rows examined for each row that is sent: an index is missing
SLOW = 20.0  # times as slow as lookups: the same, where rows examined are not known
SLOW_MS = 5.0
HIT_RATE = 0.5
FLOOD_PER_S = 50.0  # INSERTs of one row
PINNED = 0.8  # of a table's load that has to name the shard key
SKEW = 0.3  # of a key's statements that one value may have
CROSSING = 0.02  # of a table's statements that may be joined, or in one transaction, with tables elsewhere
FAR = 0.1  # of what is safe: a server with less to do needs nothing, unless something is slow
WAITED_FOR_MS = 1000.0  # on average: slow, whatever there is to do
MIN_SEEN = 10  # statements of a shape, to call it slow
MIN_STATEMENTS, MIN_S = 1000, 60.0  # in a window that says enough
LARGE_BYTES_OF_VALUE = 300  # that a cached answer takes besides its bytes


class Technique(enum.Enum):
    """The cheapest first."""

    INDEX = "index"
    BATCH = "batch"
    CACHE = "cache"
    REPLICAS = "replicas"
    MOVE = "move"
    SHARD = "shard"


class Sure(enum.Enum):
    SURE = "sure"
    LIKELY = "likely"
    GUESS = "a guess"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `rules`: what to write, as the nested mapping that YAML reads."""

    technique: Technique
    cluster: str
    tables: tuple[str, ...]
    what: str
    evidence: tuple[str, ...]
    takes_off: float  # load of the cluster's primary: statements under way, at its busiest hour
    share: float  # the same, of its load before any step
    sure: Sure
    rules: Mapping[str, object] = field(default_factory=dict)
    adds_weeks: float | None = None  # None: not known, or without end
    due: bool | None = None  # None: not known


@dataclass(frozen=True, slots=True)
class LeftAlone:
    table: str
    share: float  # of its server's load
    why: str
    unless: str


@dataclass(frozen=True, slots=True)
class Server:
    """A cluster's primary. Loads are those of its busiest hour."""

    cluster: str
    load: float
    capacity: float  # load that is safe
    growth: Growth | None
    weeks: Weeks | None  # None: too few days to say
    after: Weeks | None  # when all steps are done
    cores: float | None = None  # that it was said to have; None: CORES were assumed


@dataclass(frozen=True, slots=True)
class Advice:
    servers: tuple[Server, ...]
    steps: tuple[Step, ...]
    alone: tuple[LeftAlone, ...]
    too_little: str = ""  # a sentence, where there is too little to advise on; then also ..
    enough: str = ""  # .. what would change that


@dataclass(frozen=True, slots=True)
class Layout:
    """Where tables are, and what is done already."""

    cluster_of: Callable[[str], str | None]  # None: on several
    replicas: frozenset[str] = frozenset()  # clusters that have some
    from_replicas: frozenset[str] = frozenset()  # tables
    cached: frozenset[tuple[str, tuple[str, ...]]] = frozenset()  # table, columns
    cores: Callable[[str], float | None] = lambda cluster: None  # None: nobody has said
    clusters: frozenset[str] = frozenset()


def advise(
    work: Workload, layout: Layout, growths: Mapping[str, Growth | None], peaks: Mapping[str, float] | None = None
) -> Advice:
    """`growths` and `peaks` by cluster: how its load grows, and its busiest hour against the mean."""
    by_cluster: dict[str, list[Use]] = {}
    for use in work.uses:
        clusters = {cluster for table in use.tables if (cluster := layout.cluster_of(table)) is not None}
        if len(clusters) == 1 and len(use.clusters) < 2:
            by_cluster.setdefault(clusters.pop(), []).append(use)
    servers, steps, alone, calm = list[Server](), list[Step](), list[LeftAlone](), list[str]()
    statements = sum(use.count for use in work.uses)
    little = statements < MIN_STATEMENTS or work.seconds < MIN_S
    for cluster in sorted(by_cluster):
        how = growths.get(cluster)
        # What was measured is the mean of the window; it has grown since its middle.
        grown = math.exp(how.a_week * work.seconds / 2 / (7 * DAY)) if how is not None else 1.0
        one = _Cluster(cluster, by_cluster[cluster], work, layout, grown * (peaks or {}).get(cluster, 1.0))
        cores = layout.cores(cluster)
        capacity = SAFE * (cores if cores is not None else CORES)
        weeks = weeks_left(one.load, capacity, how) if how is not None else None
        left = one.load
        due = left >= capacity if weeks is None else weeks.soonest is not None and weeks.soonest < HORIZON_WEEKS
        one.decide(little, None if due else capacity)
        if one.why_nothing:
            calm.append(cluster)
        for step in one.steps:
            more = added(left, step.takes_off, capacity, how)
            left -= step.takes_off
            steps.append(replace(step, adds_weeks=more, due=due if how is not None or due else None))
        after = weeks_left(left, capacity, how) if how is not None else None
        servers.append(Server(cluster, one.load, capacity, how, weeks, after, cores))
        alone += one.alone()
    alone += _on_several(work, by_cluster)
    too_little = enough = ""
    if len(calm) == len(servers):
        busiest = max(servers, key=lambda one: one.load / one.capacity, default=None)
        of = f", busiest server {busiest.cluster} {busiest.load:.2f} of {busiest.capacity:.1f}" if busiest else ""
        too_little = f"too little to advise on ({_much(statements, work.seconds)}{of}): leave all alone for now"
        enough = (
            f"that takes {MIN_STATEMENTS:,} statements in a minute or more, and a server with a tenth of what is safe "
            f"to do, or one that may be full in {HORIZON_WEEKS:.0f} weeks, or statements of over a second"
        )
    return Advice(tuple(servers), tuple(steps), tuple(alone), too_little, enough)


def _much(statements: int, seconds: float) -> str:
    time = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
    return f"{statements:,} statement{'' if statements == 1 else 's'} in {time}"


def _on_several(work: Workload, by_cluster: Mapping[str, list[Use]]) -> list[LeftAlone]:
    """The tables that no one cluster has alone."""
    judged = {table for uses in by_cluster.values() for use in uses for table in use.tables}
    every = sum(use.load for use in work.uses)
    loads: dict[str, float] = {}
    for use in work.uses:
        for table in use.tables:
            if table not in judged:
                loads[table] = loads.get(table, 0.0) + use.load
    return [
        LeftAlone(
            table,
            load / every if every else 0.0,
            "it is on several clusters already, or read together with such a table: advice looks at one server each",
            "`turnout measure --by server` showed one of these servers to be far busier than the others",
        )
        for table, load in sorted(loads.items(), key=lambda item: (-item[1], item[0]))
    ]


class _Cluster:
    """One cluster's primary, while it is decided. `left`: what of each use's load no step has taken off yet."""

    def __init__(self, name: str, uses: list[Use], work: Workload, layout: Layout, peak: float) -> None:
        self.name = name
        self.work = work
        self.layout = layout
        self.uses = uses
        self.left = {use: use.load * peak * self._on_primary(use) for use in uses}
        self.load = sum(self.left.values())
        self.steps: list[Step] = []
        self.reasons: dict[str, list[tuple[str, str]]] = {}  # of tables: why not, and unless
        self.first = dict(self.left)
        self.why_nothing: tuple[str, str] | None = None  # but for indexes: why, and what would change that

    def _on_primary(self, use: Use) -> float:
        elsewhere = use.reads and all(table in self.layout.from_replicas for table in use.tables)
        return self._in_transactions(use.tables) if elsewhere else 1.0

    def decide(self, little: bool, far_from: float | None) -> None:
        """`little`: the window says too little. `far_from`: what is safe, where the server may have far too little to
        do for more than an index."""
        if self.load > 0:
            self._indexes(little)
        if little:
            said = _much(sum(use.count for use in self.work.uses), self.work.seconds)
            self.why_nothing = (
                f"{said} are too little to judge by",
                f"there were {MIN_STATEMENTS:,} statements in a minute or more",
            )
        elif self.load <= 0 or (far_from is not None and self.load < FAR * far_from and not self._waited_for()):
            safe = f" of {far_from:.1f}" if far_from is not None else ""
            at = f"it came to {FAR * far_from:.2f}" if far_from is not None else "it had something to do"
            self.why_nothing = (f"{self.name} is busy {self.load:.2f}{safe} only: nothing has to be done", at)
        if self.why_nothing:
            return
        self._batches()
        self._caches()
        self._replicas()
        self._moves()
        self._shards()

    def _waited_for(self) -> bool:
        """Is something so slow that somebody may want it elsewhere, and no index is advised for it?"""
        return any(
            use.mean_ms >= WAITED_FOR_MS and use.count >= MIN_SEEN and load == self.first[use]
            for use, load in self.left.items()
        )

    def _of(self, table: str, left: bool = True) -> float:
        loads = self.left if left else self.first
        return sum(load for use, load in loads.items() if table in use.tables)

    @property
    def tables(self) -> list[str]:
        names = dict.fromkeys(table for use in self.uses for table in use.tables)
        return sorted(names, key=lambda name: (-self._of(name, left=False), name))

    def _step(
        self,
        technique: Technique,
        tables: tuple[str, ...],
        what: str,
        evidence: list[str],
        off: Mapping[Use, float],
        sure: Sure,
        rules: Mapping[str, object],
    ) -> None:
        total = sum(off.values())
        for use, load in off.items():
            self.left[use] -= load
        self.steps.append(
            Step(technique, self.name, tables, what, tuple(evidence), total, total / self.load, sure, rules)
        )

    def _why_not(self, table: str, why: str, unless: str) -> None:
        self.reasons.setdefault(table, []).append((why, unless))

    # -- indexes ---------------------------------------------------------------------------------------------------

    def _indexes(self, little: bool) -> None:
        lookups = sorted((use.mean_ms, use.count) for use in self.uses if use.reads and use.pins and not use.aggregates)
        usual_ms = _weighted_median(lookups)
        for use in sorted(self.uses, key=lambda use: -self.left[use]):
            if self.left[use] < SHARE * self.load or use.aggregates or use.inserts_one:
                continue
            if use.count < MIN_SEEN or (little and use.examined is None):
                continue
            rows = max(1.0, use.rows)
            if use.examined is not None:
                missing = use.examined >= WASTE * rows and use.examined >= 1000
                useful, sure = rows * 10 / use.examined if missing else 1.0, Sure.SURE
                evidence = [f"{use.examined:.0f} rows are read for each {rows:.0f} that are sent"]
            else:
                missing = bool(use.pins) and rows <= 100 and use.mean_ms >= max(SLOW_MS, SLOW * usual_ms)
                useful, sure = usual_ms / use.mean_ms if missing else 1.0, Sure.LIKELY
                evidence = [
                    f"{use.mean_ms:.1f} ms for {rows:.0f} rows, where lookups take {usual_ms:.2f} ms",
                    "a slow log would say how many rows are read for it; so does EXPLAIN",
                ]
            if missing:
                columns = ", ".join(sorted(column for table, column in use.pins if table == use.tables[0]))
                what = f"an index of {use.tables[0]} on ({columns})" if columns else "an index, or another way to ask"
                off = {use: self.left[use] * (1 - min(1.0, useful))}
                self._step(Technique.INDEX, use.tables[:1], f"{what}, for: {use.digest[:200]}", evidence, off, sure, {})

    # -- batches ---------------------------------------------------------------------------------------------------

    def _batches(self) -> None:
        for table in self.tables:
            writes = [use for use in self.uses if use.tables == (table,) and not use.reads]
            flood = [use for use in writes if use.inserts_one]
            per_s = sum(use.count for use in flood) / self.work.seconds
            load = sum(self.left[use] for use in flood)
            alone = self._in_transactions((table,)) < 0.5
            if per_s < FLOOD_PER_S or load < 2 * SHARE * self.load or not alone:
                continue
            if load < 0.9 * self._of(table):
                continue
            self._step(
                Technique.BATCH,
                (table,),
                f"INSERTs into {table} of many rows instead of one, or one transaction around many",
                [f"{per_s:.0f} INSERTs of one row a second, each a round trip and a flush to disk"],
                {use: 0.8 * self.left[use] for use in flood},
                Sure.GUESS,
                {},
            )

    # -- cache -----------------------------------------------------------------------------------------------------

    def _caches(self) -> None:
        for table in self.tables:
            best: tuple[float, tuple[str, ...], dict[Use, float]] | None = None
            for (name, columns), sketch in self.work.keys.keys.items():
                if name != table or any(table == cached for cached, _ in self.layout.cached):
                    continue
                rate = sketch.hit_rate
                if rate is None or not sketch.reads:
                    continue
                eligible = min(1.0, sketch.cacheable / sketch.reads)
                off = {
                    use: self.left[use] * rate * eligible
                    for use in self.uses
                    if use.reads and use.tables == (table,) and {(table, one) for one in columns} <= use.pins
                }
                if sum(self.left[use] for use in off) >= SHARE * self.load and rate < HIT_RATE:
                    self._why_not(
                        table,
                        f"a cache by {', '.join(columns)} would answer {100 * rate:.0f} % of its reads",
                        "it were written less often, or the same rows asked for more often",
                    )
                    continue
                total = sum(off.values())
                if total >= SHARE * self.load and (best is None or total > best[0]):
                    best = (total, columns, off)
            if best is None:
                continue
            _, columns, off = best
            sketch = self.work.keys.keys[table, columns]
            size = sum(use.count * use.sent_bytes for use in off) / max(1, sum(use.count for use in off))
            memory_mb = sketch.distinct * (size + LARGE_BYTES_OF_VALUE) / 2**20
            self._step(
                Technique.CACHE,
                (table,),
                f"a cache class of {table} by {', '.join(columns)}",
                [
                    f"{100 * (sketch.hit_rate or 0):.0f} % of these reads would be answered from memory (replayed)",
                    f"about {sketch.distinct} different keys, {max(1, math.ceil(memory_mb))} MB at most; "
                    f"{100 * sketch.writes / max(1, sketch.reads + sketch.writes):.1f} % of its statements are writes",
                ],
                off,
                Sure.SURE if sketch.samples >= 1000 else Sure.LIKELY,
                _entry(table, {"cache": {"by": list(columns)}}),
            )

    # -- replicas --------------------------------------------------------------------------------------------------

    def _replicas(self) -> None:
        for table in self.tables:
            if table in self.layout.from_replicas:
                continue
            tolerant = 1 - self._in_transactions((table,))
            off = {use: self.left[use] * tolerant for use in self.uses if use.reads and use.tables[0] == table}
            load = sum(off.values())
            if load < SHARE * self.load or load < 0.5 * self._of(table):
                continue
            reports = sum(self.left[use] for use in off if use.aggregates) >= 0.5 * sum(self.left[use] for use in off)
            tables = tuple(dict.fromkeys(name for use in off for name in use.tables))
            evidence = [f"{100 * tolerant:.0f} % of its reads are outside of transactions"]
            if reports:
                evidence.append("most of it are reports, which a moment's delay does no harm")
            if self.name not in self.layout.replicas:
                evidence.append(f"{self.name} has no replica yet: it needs one, named in `replicas:`")
            rules: dict[str, object] = {}
            for name in tables:
                reads = {"reads": {"from": "replicas", "max_lag": "5s", "own_writes": True}}
                rules = merged(rules, _entry(name, reads))
            if self.name not in self.layout.replicas:
                replica = f"{self.name.replace('_', '-')}-replica.example:3306"
                rules = merged(rules, {"clusters": {self.name: {"replicas": [replica]}}})
            self._step(
                Technique.REPLICAS,
                tables,
                f"reads of {', '.join(tables)} from replicas",
                evidence,
                off,
                Sure.LIKELY,
                rules,
            )

    def _in_transactions(self, tables: tuple[str, ...]) -> float:
        """The share of a table's statements that are in transactions of several, about."""
        together = sum(n for names, n in self.work.keys.together.items() if any(table in names for table in tables))
        statements = sum(use.count for use in self.uses if any(table in use.tables for table in tables))
        return min(1.0, together / statements) if statements else 0.0

    # -- vertical --------------------------------------------------------------------------------------------------

    def _groups(self) -> list[tuple[str, ...]]:
        """Tables that are joined, or changed in one transaction: the group with most load first."""
        group = {table: table for table in self.tables}

        def find(table: str) -> str:
            while group[table] != table:
                table = group[table]
            return table

        counts = {table: sum(use.count for use in self.uses if table in use.tables) for table in group}
        links: dict[tuple[str, str], int] = {}
        for use in self.uses:
            for other in use.tables[1:]:
                links[use.tables[0], other] = links.get((use.tables[0], other), 0) + use.count
        for names, n in self.work.keys.together.items():
            known = [name for name in names if name in group]
            for other in known[1:]:
                links[known[0], other] = links.get((known[0], other), 0) + n
        for (first, second), n in links.items():
            if n >= CROSSING * min(counts[first], counts[second]):
                group[find(first)] = find(second)
        members: dict[str, list[str]] = {}
        for table in self.tables:
            members.setdefault(find(table), []).append(table)
        groups = [tuple(sorted(names)) for names in members.values()]
        return sorted(groups, key=lambda names: (-self._load_of(names), names))

    def _load_of(self, names: tuple[str, ...]) -> float:
        return sum(load for use, load in self.left.items() if set(use.tables) & set(names))

    def _moves(self) -> None:
        for names in self._groups()[1:]:  # the one with most load stays
            inside = {use: self.left[use] for use in self.uses if set(use.tables) <= set(names)}
            load = sum(inside.values())
            if load < 2 * SHARE * self.load:
                continue
            crossing = sum(use.count for use in self.uses if 0 < len(set(use.tables) & set(names)) < len(use.tables))
            together = sum(
                n for tables, n in self.work.keys.together.items() if 0 < len(set(tables) & set(names)) < len(tables)
            )
            new = _free(f"{names[0].rpartition('.')[2]}_cluster", self.layout.clusters)
            rules: dict[str, object] = {"clusters": {new: {"primary": f"{new.replace('_', '-')}.example:3306"}}}
            for name in names:
                rules = merged(rules, _entry(name, {"cluster": new}))
            self._step(
                Technique.MOVE,
                names,
                f"{', '.join(names)} to a cluster of their own",
                [
                    f"statements that join them with other tables: {crossing or 'none'}; "
                    f"transactions that touch both: {together or 'none'}"
                ],
                inside,
                Sure.SURE if self.work.keys.together or not together else Sure.LIKELY,
                rules,
            )

    # -- sharding --------------------------------------------------------------------------------------------------

    def _shards(self) -> None:
        done: set[str] = {name for step in self.steps if step.technique is Technique.MOVE for name in step.tables}
        for table in self.tables:
            writes = sum(load for use, load in self.left.items() if table in use.tables and not use.reads)
            if table in done or writes < 2 * SHARE * self.load:
                continue
            key, pinned = self._shard_key(table)
            if key is None or pinned < PINNED:
                self._why_not(
                    table,
                    f"its writes are {100 * writes / self.load:.0f} % of the load, but no column is named by "
                    f"{100 * PINNED:.0f} % of its statements" + (f" ({key}: {100 * pinned:.0f} %)" if key else ""),
                    "nearly all of its statements named one column",
                )
                continue
            sketch = self.work.keys.keys.get((table, (key,)))
            if sketch is not None and sketch.top_share > SKEW:
                self._why_not(
                    table,
                    f"one value of {key} has {100 * sketch.top_share:.0f} % of its statements, and so would its shard",
                    "that value's work were split",
                )
                continue
            group = self._colocated(table, key)
            done.update(group)
            name = key.removesuffix("_id") or key
            shards = [_free(f"{name}_shard{n}", self.layout.clusters) for n in range(2)]
            rules: dict[str, object] = {
                "clusters": {shard: {"primary": f"{shard.replace('_', '-')}.example:3306"} for shard in shards},
                "shardings": {name: {"method": "hash", "clusters": shards}},
            }
            for member, column in group.items():
                rules = merged(rules, _entry(member, {"sharding": name, "key": column}))
            evidence = [
                f"{100 * writes / self.load:.0f} % of the load are its writes, which neither cache nor replica takes",
                f"{100 * pinned:.0f} % of its statements (by time) name {key}",
            ]
            if sketch is not None:
                evidence.append(
                    f"about {sketch.distinct} different values; the most frequent has {100 * sketch.top_share:.1f} %"
                )
            if len(group) > 1:
                evidence.append("with it: " + ", ".join(f"{one} by {by}" for one, by in group.items() if one != table))
            inside = {use: load for use, load in self.left.items() if set(use.tables) <= set(group)}
            self._step(
                Technique.SHARD,
                tuple(group),
                f"{', '.join(group)} over shards by {key}",
                evidence,
                inside,
                Sure.LIKELY if sketch is not None and sketch.samples >= 100 else Sure.GUESS,
                rules,
            )

    def _shard_key(self, table: str) -> tuple[str | None, float]:
        """The column that most of a table's statements name, by time, and the share that does."""
        total = self._of(table)
        by_column: dict[str, float] = {}
        for use, load in self.left.items():
            for name, column in use.pins:
                if name == table:
                    by_column[column] = by_column.get(column, 0.0) + load
        # INSERTs name all columns: what others look for decides among equals.
        looked: dict[str, int] = {}
        for use in self.uses:
            if not use.inserts_one:
                for name, column in use.pins:
                    if name == table:
                        looked[column] = looked.get(column, 0) + use.count
        best = max(looked, key=lambda column: (by_column[column], looked[column], column), default=None)
        return best, by_column[best] / total if best is not None and total else 0.0

    def _colocated(self, table: str, key: str) -> dict[str, str]:
        """The table, and those that are joined with it by its key: table -> column."""
        group = {table: key}
        for use in self.uses:
            for one, other in use.equal:
                for source, target in ((one, other), (other, one)):
                    if source == (table, key) and target[0] not in group:
                        name, column = target
                        load = self._of(name)
                        named = sum(left for use, left in self.left.items() if (name, column) in use.pins)
                        if not load or named >= PINNED * load:
                            group[name] = column
        return group

    # -- what is left alone ------------------------------------------------------------------------------------------

    def alone(self) -> list[LeftAlone]:
        touched = {name for step in self.steps for name in step.tables}
        found = []
        for table in self.tables:
            if table in touched:
                continue
            share = self._of(table, left=False) / self.load if self.load else 0.0
            reasons = self.reasons.get(table)
            if self.why_nothing:
                found.append(LeftAlone(table, share, *self.why_nothing))
            elif share < 2 * SHARE and not reasons:
                times = 2 * SHARE / share if share else None
                unless = f"it came to {times:.0f} times as much" if times is not None else "it came to something"
                found.append(LeftAlone(table, share, f"it is {100 * share:.1f} % of {self.name}'s load", unless))
            elif reasons:
                found.append(LeftAlone(table, share, reasons[0][0], reasons[0][1]))
            else:
                why = f"it is {100 * share:.1f} % of {self.name}'s load, and no technique would take much of it off"
                found.append(LeftAlone(table, share, why, "its statements changed: more reads of the same rows, say"))
        return found


def _weighted_median(pairs: list[tuple[float, int]]) -> float:
    half, seen = sum(n for _, n in pairs) / 2, 0
    for value, n in pairs:
        seen += n
        if seen >= half:
            return value
    return 0.0


def _free(name: str, taken: frozenset[str]) -> str:
    return name if name not in taken else next(f"{name}{n}" for n in range(2, 1000) if f"{name}{n}" not in taken)


def _entry(table: str, entry: Mapping[str, object]) -> dict[str, object]:
    database, _, name = table.rpartition(".")
    return {"databases": {database: {"tables": {name: dict(entry)}}}}


def merged(base: Mapping[str, object], more: Mapping[str, object]) -> dict[str, object]:
    """Rules with further lines in them."""
    found = dict(base)
    for key, value in more.items():
        known = found.get(key)
        found[key] = merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return found
