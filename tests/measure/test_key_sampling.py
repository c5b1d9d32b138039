"""From statements to statistics of keys: taps, samples, replay, and the book that adds them up."""

from __future__ import annotations

import random
from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate

import msgspec
import pytest

from parser.analyse import parse
from parser.shape import lexer
from proxy.measure.key_book import KeyBook
from proxy.measure.key_replay import SHADOW_NS
from proxy.measure.key_sampling import MAX_CANDIDATES, TRANSACTIONS, KeySampler, Tap
from proxy.measure.key_sketch import KeySketch
from proxy.measure.key_taps import keys_of
from proxy.measure.measures import Measures
from proxy.measure.windows import KeyWindow, Window

LEXER = lexer()
COLUMNS = {"t": ("id", "a", "b")}


@dataclass
class Idle:
    in_transaction: bool = False
    autocommit: bool = True
    began: int = 0


class Traffic:
    """Statements of one worker at times of our own."""

    def __init__(self) -> None:
        self.now_ns = 10**12
        self._chance = random.Random(7)
        self.sampler = KeySampler(lambda: self.now_ns)
        self._taps: dict[bytes, Tap | None] = {}

    def run(self, sql: str, session: Idle | None = None) -> None:
        shape, literals = LEXER.shape(sql.encode())
        if shape not in self._taps:
            statement = parse(shape, literals, lexer=LEXER, merged=())
            columns = lambda _, name: COLUMNS.get(name)  # noqa: E731
            self._taps[shape] = self.sampler.tap(statement, shape, "shop", columns)
        tap = self._taps[shape]
        if tap is not None:
            session = session or Idle()
            session.began = self._chance.getrandbits(30)
            if not session.began & tap.sample.mask or not tap.sample.is_beyond(
                literals[tap.place]
            ):  # as sessions do it
                tap(session, literals)


def sketches(*traffics: Traffic) -> dict[tuple[str, tuple[str, ...]], KeySketch]:
    book = KeyBook()
    for traffic in traffics:
        book.add(traffic.sampler.take()[0])
    return book.take()


@pytest.mark.parametrize(
    ("sql", "reads", "writes"),
    [
        ("SELECT * FROM t WHERE id = 5", [("shop.t", ("id",), True)], []),
        ("SELECT * FROM t WHERE id IN (5, 6)", [("shop.t", ("id",), False)], []),
        ("SELECT * FROM t WHERE id = 5 FOR UPDATE", [("shop.t", ("id",), False)], []),
        (
            "SELECT * FROM x.t WHERE b = 5 AND a = 'u'",
            [("x.t", ("a", "b"), True), ("x.t", ("a",), True), ("x.t", ("b",), True)],
            [],
        ),
        ("SELECT * FROM t JOIN u ON u.t_id = t.id WHERE t.id = 5", [("shop.t", ("id",), False)], []),
        ("SELECT * FROM t WHERE id > 5", [], []),
        ("UPDATE t SET a = 1 WHERE id = 5", [], [("shop.t", {"id"}, False)]),
        ("UPDATE t SET a = 1 WHERE id IN (5, 6)", [], [("shop.t", set(), False)]),
        ("DELETE FROM t WHERE a > 5", [], [("shop.t", set(), False)]),
        ("INSERT INTO t (a, id) VALUES ('x', 5), ('y', 6)", [], [("shop.t", {"a", "id"}, True)]),
        ("INSERT INTO t VALUES (1, NOW(), 3)", [], [("shop.t", {"id", "b"}, True)]),
        ("INSERT INTO unknown VALUES (1, 2)", [], [("shop.unknown", set(), True)]),
        ("REPLACE INTO t SET id = 5", [], [("shop.t", {"id"}, False)]),
        ("INSERT INTO t SELECT * FROM u", [], [("shop.t", set(), False)]),
        ("SET @a = 5", [], []),
    ],
)
def test_what_a_statement_asks_for(
    sql: str, reads: list[tuple[str, tuple[str, ...], bool]], writes: list[tuple[str, set[str], bool]]
) -> None:
    shape, literals = LEXER.shape(sql.encode())
    found_reads, found_writes = keys_of(
        parse(shape, literals, lexer=LEXER, merged=()), "shop", lambda _, name: COLUMNS.get(name)
    )
    assert [(one.table, one.columns, one.cacheable) for one in found_reads] == reads
    assert [(one.table, set(one.places), one.inserts) for one in found_writes] == writes


def test_counts_add_up_and_writes_find_keys_that_came_later() -> None:
    traffic = Traffic()
    traffic.run("INSERT INTO t (id, a) VALUES (1, 'x')")  # no candidate key yet
    for n in range(100):
        traffic.run(f"SELECT * FROM t WHERE id = {n}")
        traffic.run(f"INSERT INTO t (id, a) VALUES ({n}, 'x')")
    sketch = sketches(traffic)["shop.t", ("id",)]
    assert (sketch.reads, sketch.writes, sketch.cacheable, sketch.distinct) == (100, 100, 100, pytest.approx(100, 8))


def test_samples_stand_for_everything_however_much_it_is() -> None:
    """30,000 statements a second: a few hundred are handed on, and the sums are still those of all."""
    traffic, book, chance = Traffic(), KeyBook(), random.Random(3)
    random.seed(4)
    for _ in range(6):
        for _ in range(10_000):
            traffic.now_ns += 100_000
            traffic.run(f"SELECT * FROM t WHERE id = {chance.randrange(40_000)}")
            if chance.random() < 0.1:
                traffic.run(f"UPDATE t SET a = 1 WHERE id = {chance.randrange(40_000)}")
        windows, _ = traffic.sampler.take()
        assert all(len(window.events) <= 401 for window in windows)
        book.add(windows)
    sketch = book.take()["shop.t", ("id",)]
    assert sketch.reads == pytest.approx(60_000, rel=0.2)
    assert sketch.writes == pytest.approx(6_000, rel=0.6)
    assert sketch.level >= 3
    assert sketch.distinct == pytest.approx(40_000 * (1 - 0.25), rel=0.35)  # those that have come at least once


def test_who_asks_before_telling_a_tap_misses_nothing() -> None:
    traffic, chance = Traffic(), random.Random(5)
    for _ in range(20_000):  # until only some are looked at
        traffic.run(f"SELECT * FROM t WHERE id = {chance.randrange(10**6)}")
    traffic.sampler.take()
    shape, literals = LEXER.shape(b"SELECT * FROM t WHERE id = 5")
    tap = traffic.sampler.tap(parse(shape, literals, lexer=LEXER, merged=()), shape, "shop")
    assert tap is not None
    sample = tap.sample
    assert sample.mask
    assert sample.beyond
    told = 0
    for _ in range(20_000):
        session, literals = Idle(began=chance.getrandbits(40)), [b"%d" % chance.randrange(10**6)]
        asked = not session.began & sample.mask or not sample.is_beyond(literals[tap.place])
        tap(session, literals)
        window = traffic.sampler.take()[0]
        assert asked == bool(window)
        told += asked
        if sample.mask == 0:
            break  # with so little in each window, all are looked at again
    assert told


def test_windows_go_over_the_wire() -> None:
    measures = Measures()
    measures.keys = Traffic().sampler
    shape, literals = LEXER.shape(b"SELECT * FROM t WHERE id = 5")
    tap = measures.keys.tap(parse(shape, literals, lexer=LEXER, merged=()), shape, "shop")
    assert tap is not None
    tap(Idle(), literals)
    measures.keys.ended([("a", "b"), ("a",)])
    window = measures.take()
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(window), type=Window)
    assert (again.keys, again.together) == (window.keys, [(("a", "b"), TRANSACTIONS)])
    (found,) = again.keys
    assert (found.table, found.columns, len(found.events)) == ("shop.t", ("id",), 2)
    assert measures.take().keys == []


def test_candidate_keys_are_bounded() -> None:
    traffic = Traffic()
    for n in range(MAX_CANDIDATES + 50):
        traffic.run(f"SELECT * FROM t WHERE c{chr(97 + n % 26)}{chr(97 + n // 26)} = 5")
    assert len(traffic.sampler.take()[0]) == MAX_CANDIDATES


# -- replay ------------------------------------------------------------------------------------------------------------

READ, WRITE, OTHER, LOOK = (
    "SELECT * FROM t WHERE id = 5",
    "UPDATE t SET a = 1 WHERE id = 5",
    "SELECT * FROM t WHERE id = 6",
    "SELECT a FROM t WHERE id = 5",
)
BLIND = "UPDATE t SET a = 1 WHERE b = 7"
MS = 10**6


@pytest.mark.parametrize(
    ("steps", "hits", "misses"),
    [
        ([(READ, 0)] * 10, 9, 1),
        ([(READ, 0), (OTHER, 0), (LOOK, 0), (READ, 0), (LOOK, 0)], 2, 3),
        ([(READ, 0), (WRITE, 0), (READ, 1000), (READ, 0)], 1, 2),
        ([(READ, 0), (WRITE, 0), (READ, 10), (READ, 10), (READ, 1000), (READ, 0)], 1, 4),  # not kept in the shadow
        ([(READ, 0), (BLIND, 0), (READ, 10), (READ, 1000)], 1, 2),  # it is still there behind it
        ([(READ, 0), (OTHER, 0), (WRITE, 0), (OTHER, 1)], 1, 2),
    ],
)
def test_what_a_cache_would_have_done(steps: list[tuple[str, int]], hits: int, misses: int) -> None:
    traffic = Traffic()
    for sql, wait_ms in steps:
        traffic.now_ns += 1 + wait_ms * MS
        traffic.run(sql)
    sketch = sketches(traffic)["shop.t", ("id",)]
    assert (sketch.hits, sketch.misses) == (hits, misses)


def test_reads_inside_of_transactions_are_no_hits() -> None:
    traffic = Traffic()
    for session in (Idle(), Idle(in_transaction=True), Idle(autocommit=False), Idle()):
        traffic.run(READ, session)
    sketch = sketches(traffic)["shop.t", ("id",)]
    assert (sketch.hits, sketch.misses, sketch.cacheable, sketch.reads) == (1, 1, 2, 4)


def test_a_write_through_another_worker_counts_at_its_time() -> None:
    first, second = Traffic(), Traffic()
    first.run(READ)
    first.run(OTHER)  # ends the run of reads
    first.now_ns += 3000 * MS
    first.run(LOOK)
    first.run(READ)
    second.run(LOOK)  # a candidate key there, too
    second.now_ns += 1000 * MS
    second.run(WRITE)
    sketch = sketches(first, second)["shop.t", ("id",)]
    assert (sketch.hits, sketch.misses) == (0, 5)


def exact_hit_rate(events: list[tuple[int, str, int, bool]]) -> float:
    """By the definition, of all keys: (ns, what, key, whether it writes)."""
    kept: set[int] = set()
    written: dict[int, int] = {}
    hits = reads = 0
    for at, _, key, write in events:
        if write:
            kept.discard(key)
            written[key] = at
        else:
            reads += 1
            if at - written.get(key, -SHADOW_NS) >= SHADOW_NS:
                hits += key in kept
                kept.add(key)
    return hits / reads


@pytest.mark.parametrize(
    ("keys", "skew", "writes", "per_s"),
    [(2_000, 1.0, 0.02, 2000), (20_000, 0.8, 0.2, 2000), (200, 0.0, 0.01, 3000), (100_000, 1.1, 0.05, 1000)],
)
def test_the_hit_rate_of_a_sample_is_that_of_all_keys(keys: int, skew: float, writes: float, per_s: int) -> None:
    """Within five points, whatever the keys are like, over three samples: which keys are in one is chance."""
    weights = list(accumulate(1 / (n + 1) ** skew for n in range(keys)))
    errors = [hit_rate_error(weights, writes, per_s, first) for first in (1000, 50_000, 123_456)]
    assert sum(errors) / 3 == pytest.approx(0, abs=0.05)
    assert max(map(abs, errors)) < 0.1


def hit_rate_error(weights: list[float], writes: float, per_s: int, first: int) -> float:
    """Of 24,000 statements with keys from `first` on."""
    random.seed(5)
    chance = random.Random(6)
    traffics = [Traffic(), Traffic()]
    book, events = KeyBook(), []
    for second in range(24_000 // per_s):
        for n in range(per_s):
            at = 10**12 + second * 10**9 + n * 10**9 // per_s
            write = chance.random() < writes
            key = bisect(weights, chance.random() * weights[-1]) + first
            worker = traffics[chance.randrange(2)]
            worker.now_ns = at
            worker.run(f"UPDATE t SET a = 1 WHERE id = {key}" if write else f"SELECT * FROM t WHERE id = {key}")
            events.append((at, "", key, write))
        for worker in traffics:
            book.add(worker.sampler.take()[0])
    sketch = book.take()["shop.t", ("id",)]
    assert sketch.hit_rate is not None
    return sketch.hit_rate - exact_hit_rate(events)


def test_the_book_is_bounded() -> None:
    book = KeyBook()
    for n in range(300):
        book.add([KeyWindow(f"t{n}", ("id",), 0, 1, [])])
    assert len(book.take()) == 200


# -- transactions ------------------------------------------------------------------------------------------------------


def test_one_transaction_in_eight_is_followed() -> None:
    sampler = KeySampler()
    assert sum(sampler.follows_next() for _ in range(80)) == 80 // TRANSACTIONS
    for _ in range(3):
        sampler.ended([("shop.b",), ("shop.a", "shop.b")])
    sampler.ended([()])
    assert sampler.take()[1] == [(("shop.a", "shop.b"), 3 * TRANSACTIONS)]
    assert sampler.take()[1] == []
