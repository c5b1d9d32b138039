"""A synthetic application whose truth is known: does `turnout advise` find it?

    python -m bench.synthetic [--months 6] [--follow]

A shop on one server grows fourfold in half a year. Its history is written as a Turnout in front of it would write it,
without the traffic. What takes its server's time, and what helps, is:

    countries       the same few hundred rows asked for all the time, hardly ever written      a cache class
    orders          written all the time, always by customer; read together with customers     sharding
    chat_*          an independent feature: joined with nothing else                            a cluster of its own
    invoices        a report over all of it, every few seconds                                  replicas
    sessions        looked up by a column that has no index                                     an index
    events, users   large, and everybody believes that they have to be sharded                  nothing
"""

from __future__ import annotations

import argparse
import functools
import math
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from parser.analyse import parse, shape_digest
from parser.shape import lexer
from proxy.admin.advice import as_yaml, layout
from proxy.measure.advice import CORES, SAFE, Advice, Step, Technique, advise, merged
from proxy.measure.headroom import daily, growth
from proxy.measure.history import HistoryFile, Minute
from proxy.measure.key_book import Candidate, KeyBook
from proxy.measure.key_hash import key_hash
from proxy.measure.key_history import KeysRead
from proxy.measure.key_replay import SHADOW_NS
from proxy.measure.key_sampling import KeySampler
from proxy.measure.key_sketch import KeySketch
from proxy.measure.shapes import Sample, ShapeId, digest_id
from proxy.measure.spans import DAY, HOUR
from proxy.measure.tally import Tally
from proxy.measure.workload import workload
from proxy.rules.loader import parse as parse_rules

BEGIN = 1_767_225_600  # a day's begin, in UTC
CAPACITY = SAFE * CORES
A_WEEK = math.log(4) / 26
DAYS = 21  # of history at each stage
EVERY_S = 6 * HOUR  # between what is written
HOT = "SELECT name FROM countries WHERE code = 'de'"
BASE: dict[str, object] = {
    "turnout": 1,
    "listen": {"mysql": "127.0.0.1:3307"},
    "users": {"app": {"password": "app"}},
    "service": {"user": "turnout", "password": "turnout"},
    "clusters": {"main": {"primary": "127.0.0.1:3306"}},
    "databases": {"shop": {"home": "main"}},
}


@dataclass(frozen=True)
class Kind:
    """Statements of one kind: how many a second in the first week, and how long each takes on its server."""

    sql: str
    per_s: float
    ms: float
    rows: float = 1.0

    @property
    def load(self) -> float:
        return self.per_s * self.ms / 1000


APPLICATION = (
    Kind(HOT, 2500, 0.2),
    Kind("UPDATE countries SET name = 'x' WHERE code = 'de'", 0.2, 0.5),
    Kind("INSERT INTO orders (id, customer_id, total) VALUES (1, 2, 3)", 280, 1.0, 0),
    Kind("UPDATE orders SET total = 5 WHERE customer_id = 2 AND id = 1", 280, 1.0, 0),
    Kind("SELECT id, total FROM orders WHERE customer_id = 2", 300, 0.3, 5),
    Kind("SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.id = 5", 150, 0.4, 5),
    Kind("SELECT name FROM customers WHERE id = 5", 160, 0.2),
    Kind("INSERT INTO chat_messages (id, room_id, body) VALUES (1, 2, 'x')", 180, 1.0, 0),
    Kind("SELECT m.body FROM chat_messages m JOIN chat_rooms r ON r.id = m.room_id WHERE r.id = 7", 130, 0.8, 20),
    Kind("SELECT day, SUM(amount) FROM invoices WHERE day > '2026-01-01' GROUP BY day", 0.25, 800.0, 90),
    Kind("SELECT user_id FROM sessions WHERE token = 'x'", 5, 40.0),
    Kind("INSERT INTO events (id, what) VALUES (1, 'x')", 40, 0.8, 0),
    Kind("SELECT name FROM users WHERE id = 5", 150, 0.2),
)
TOGETHER = {("shop.customers", "shop.orders"): 0.02, ("shop.chat_messages", "shop.chat_rooms"): 0.02}  # of a second
TRUTH = {
    "shop.countries": Technique.CACHE,
    "shop.orders": Technique.SHARD,
    "shop.chat_messages": Technique.MOVE,
    "shop.invoices": Technique.REPLICAS,
    "shop.sessions": Technique.INDEX,
}
ALONE = ("shop.events", "shop.users")


@functools.cache
def tables_of(sql: str) -> tuple[str, ...]:
    shape, literals = lexer().shape(sql.encode())
    statement = parse(shape, literals, lexer=lexer(), merged=())
    return tuple(dict.fromkeys(f"shop.{table.name}" for table in statement.tables))


# -- keys --------------------------------------------------------------------------------------------------------------


class _Idle:
    in_transaction = False
    autocommit = True
    began = 0


def sampled(seconds: int = 40, per_s: int = 1000, keys: int = 250) -> tuple[KeySketch, float]:
    """What a worker and the supervisor would know of the keys of `countries`, and the hit rate that a cache would have
    had: the keys are unequal, and one statement in 500 is a write."""
    chance = random.Random(1)
    now = [10**12]
    sampler, book = KeySampler(lambda: now[0]), KeyBook()
    taps = {}
    for sql in (HOT, "UPDATE countries SET name = 'x' WHERE code = 'de'"):
        shape, literals = lexer().shape(sql.encode())
        taps[sql[:6]] = sampler.tap(parse(shape, literals, lexer=lexer(), merged=()), shape, "shop")
    idle, kept, written, hits, reads = _Idle(), set[int](), dict[int, int](), 0, 0
    for second in range(seconds):
        for n in range(per_s):
            now[0] = 10**12 + second * 10**9 + n * 10**9 // per_s
            key, write = int(keys ** chance.random()), chance.random() < 0.002
            idle.began = chance.getrandbits(30)
            literals = [b"x", b"%d" % key] if write else [b"%d" % key]
            tap = taps["UPDATE" if write else "SELECT"]
            assert tap is not None
            tap(idle, literals)
            if write:
                kept.discard(key)
                written[key] = now[0]
            else:
                reads += 1
                if now[0] - written.get(key, -SHADOW_NS) >= SHADOW_NS:
                    hits += key in kept
                    kept.add(key)
        book.add(sampler.take()[0])
    return book.take()["shop.countries", ("code",)], hits / reads


def spread(reads: int, writes: int, keys: int = 50_000) -> KeySketch:
    """A sketch of keys that are all alike; its counts are about one thousandth of its statements."""
    chance = random.Random(2)
    sketch = KeySketch()
    for n in range(2000):
        key = key_hash(b"%d" % chance.randrange(keys))
        sketch.see(key)
        sketch.count(key, n % (reads + writes) >= reads, False, 1)
    return sketch


# -- the application ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """What has been done so far."""

    rules: Mapping[str, object]
    indexed: frozenset[str] = frozenset()
    cached: frozenset[str] = frozenset()
    replicated: frozenset[str] = frozenset()
    moved: Mapping[str, str] = field(default_factory=dict)  # table -> cluster
    sharded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def done(self, step: Step) -> State:
        made = replace(self, rules=merged(self.rules, step.rules))
        tables = frozenset(step.tables)
        if step.technique is Technique.INDEX:
            return replace(made, indexed=self.indexed | tables)
        if step.technique is Technique.CACHE:
            return replace(made, cached=self.cached | tables)
        if step.technique is Technique.REPLICAS:
            return replace(made, replicated=self.replicated | tables)
        clusters = step.rules.get("clusters", {})
        assert isinstance(clusters, Mapping)
        new: tuple[str, ...] = tuple(clusters)
        if step.technique is Technique.MOVE:
            return replace(made, moved={**self.moved, **dict.fromkeys(step.tables, new[0])})
        if step.technique is Technique.SHARD:
            return replace(made, sharded={**self.sharded, **dict.fromkeys(step.tables, new)})
        raise ValueError(f"the application cannot {step.technique.value}")


def kinds(state: State, week: float, hit_rate: float) -> list[tuple[Kind, tuple[str, ...], str]]:
    """What reaches servers in a week, the clusters that have it, and the role of their server."""
    found = []
    for kind in APPLICATION:
        tables = tables_of(kind.sql)
        now = replace(kind, per_s=kind.per_s * math.exp(A_WEEK * week))
        reads = kind.sql.startswith("SELECT")
        if reads and tables[0] in state.indexed:
            now = replace(now, ms=0.2)
        if reads and tables[0] in state.cached:
            now = replace(now, per_s=now.per_s * (1 - hit_rate))
        shards = state.sharded.get(tables[0])
        clusters = shards if shards is not None else (state.moved.get(tables[0], "main"),)
        role = "replica" if reads and set(tables) <= state.replicated else "primary"
        found.append((now, clusters, role))
    return found


def loads(state: State, week: float, hit_rate: float) -> dict[tuple[str, str], float]:
    """The truth: each server's load."""
    found: dict[tuple[str, str], float] = {}
    for kind, clusters, role in kinds(state, week, hit_rate):
        for cluster in clusters:
            found[cluster, role] = found.get((cluster, role), 0.0) + kind.load / len(clusters)
    return found


def write_history(path: Path, state: State, week: float, hot: KeySketch, hit_rate: float, days_later: int = 0) -> float:
    """The last DAYS of a Turnout's history, up to this week; returns when it ends. `days_later`: it all was later."""
    chance = random.Random(int(week * 7))
    history = HistoryFile(path)
    end = BEGIN + int(week * 7) * DAY
    wide: dict[Candidate, KeySketch] = {
        ("shop.orders", ("customer_id",)): spread(450, 560),
        ("shop.users", ("id",)): spread(1, 0),
    }
    for start in range(end - DAYS * DAY, end, EVERY_S):
        at = (start - BEGIN) / DAY / 7
        noise = math.exp(chance.gauss(0, 0.03))
        minute = Minute(start + days_later * DAY)
        for kind, clusters, _ in kinds(state, at, hit_rate):
            shape, _ = lexer().shape(kind.sql.encode())
            digest = shape_digest(shape, lexer()) or "unknown"
            plan = "shard" if len(clusters) > 1 else "forward"
            name = ShapeId(digest_id(digest), plan, tables_of(kind.sql), clusters)
            tally = Tally()
            tally.count = max(1, round(kind.per_s * EVERY_S * noise))
            tally.total_ns = tally.server_ns = round(tally.count * kind.ms * 1e6)
            tally.rows = round(tally.count * kind.rows)
            tally.sent_bytes = tally.count * 120
            minute.shapes[name], minute.digests[name] = tally, digest
            minute.samples[name] = Sample(shape, "shop")
        if "shop.countries" not in state.cached:
            minute.keys["shop.countries", ("code",)] = hot
        minute.keys.update(wide)
        minute.together = {names: round(share * EVERY_S * 280) for names, share in TOGETHER.items()}
        history.write(minute)
    history.close()
    return float(end + days_later * DAY)


def advised(state: State, week: float, hot: KeySketch, hit_rate: float) -> Advice:
    """What is advised in this week, from the last week of its history."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        end = write_history(path, state, week, hot, hit_rate)
        history = HistoryFile(path, read_only=True)
        measured = history.read(end - 7 * DAY, end)
        keys: KeysRead = history.read_keys(end - 7 * DAY, end)
        growths = {name: growth(days) for name, days in daily(history.read_days(end - DAYS * DAY, end)).items()}
        history.close()
    rules = parse_rules(as_yaml(state.rules), Path("routing_rules.yaml"), {})
    return advise(workload(measured, keys), layout(rules), growths)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--months", type=int, default=6)
    options.add_argument("--follow", action="store_true", help="take each step that is due")
    chosen = options.parse_args()
    hot, hit_rate = sampled()
    print(f"hit rate of countries: {100 * hit_rate:.1f} % in truth, {100 * (hot.hit_rate or 0):.1f} % predicted")
    state = State(BASE)
    for month in range(chosen.months + 1):
        week = month * 26 / 6
        advice = advised(state, week, hot, hit_rate)
        for (cluster, role), load in loads(state, week, hit_rate).items():
            print(f"month {month}: {cluster} {role}: {load:.2f} of {CAPACITY:.2f}")
        for step in advice.steps:
            print(
                f"    {'now  ' if step.due else 'later'} {100 * step.share:3.0f} %  {step.technique.value}: {step.what}"
            )
        print("    alone: " + ", ".join(f"{one.table} ({100 * one.share:.1f} %)" for one in advice.alone))
        if chosen.follow and (due := next((step for step in advice.steps if step.due), None)) is not None:
            state = state.done(due)


if __name__ == "__main__":
    main()
