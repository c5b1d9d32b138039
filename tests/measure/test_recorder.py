"""Windows of workers become minutes, whatever the clock does."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from parser.analyse import parse
from parser.shape import lexer
from proxy.measure.history import OTHER_TABLE
from proxy.measure.key_sampling import TRANSACTIONS, KeySampler
from proxy.measure.measures import Measures
from proxy.measure.recorder import MAX_WAITING, Recorder
from proxy.measure.shapes import SAMPLE_EVERY, Sample, ShapeId, ShapeWindow, digest_id
from proxy.measure.states import ServerState
from proxy.measure.tally import OTHERS
from proxy.measure.windows import Window

SAMPLE = Sample(b"SELECT \0", "shop")


def test_windows_of_workers_are_added_up_by_minute() -> None:
    workers = [Measures(), Measures()]
    recorder = Recorder(100)
    for now in (600.0, 630.0, 659.9, 660.0):
        for measures in workers:
            stats = measures.shape("SELECT ?", "forward", ["shop.t", "shop.u"], ["main"], sample=SAMPLE)
            stats.record(3_000_000, 1_000_000, 4, 50, True)
            recorder.add(measures.take(), now)
    minute = recorder.due(661.0)
    assert minute is not None
    assert minute.start == 600
    ((shape, tally),) = minute.shapes.items()
    assert (shape.tables, minute.digests[shape], minute.samples[shape]) == (("shop.t", "shop.u"), "SELECT ?", SAMPLE)
    assert (tally.count, tally.errors, tally.rows, tally.sent_bytes) == (6, 6, 24, 300)
    assert (tally.total_ns, tally.server_ns, tally.max_ns) == (18_000_000, 6_000_000, 3_000_000)
    assert {name: each.count for name, each in minute.by_table().items()} == {
        ("shop.t", "forward"): 6,
        ("shop.u", "forward"): 6,
    }
    assert recorder.due(661.0) is minute
    recorder.written(minute)
    assert recorder.due(719.0) is None
    second = recorder.due(720.0)
    assert second is not None
    assert [each.count for each in second.shapes.values()] == [2]


def test_a_minute_is_written_though_it_is_not_over() -> None:
    recorder = Recorder(100)
    measures = Measures()
    stats = measures.shape("SELECT ?", "forward")
    for _ in range(2):
        stats.record(1000, 0, 0, 0, False)
        recorder.add(measures.take(), 610.0)
        recorder.end_minute()
    found = []
    while (minute := recorder.due(611.0)) is not None:
        found.append((minute.start, [each.count for each in minute.shapes.values()]))
        recorder.written(minute)
    assert found == [(600, [1]), (600, [1])]


def test_a_flood_of_shapes_is_bounded() -> None:
    recorder = Recorder(20)
    measures = Measures()
    heavy = measures.shape("heavy", "forward", ["shop.heavy"])
    for n in range(300):
        heavy.record(10**9, 0, 0, 0, False)
        measures.shape(f"once {n}", "forward", [f"shop.t{n % 5}"], sample=SAMPLE).record(1, 0, 0, 0, False)
        recorder.add(measures.take(), 600.0)
    minute = recorder.due(660.0)
    assert minute is not None
    assert len(minute.shapes) <= 21
    assert OTHERS in minute.shapes
    assert len(minute.digests) <= 21
    assert len(minute.samples) <= 21
    assert sum(each.count for each in minute.shapes.values()) == 600
    assert {name: each.count for (name, _), each in minute.by_table().items()} == {
        "shop.heavy": 300,
        **{f"shop.t{n}": 60 for n in range(5)},
    }
    assert OTHER_TABLE not in minute.by_table()


def of_shapes(begin: int, count: int) -> Window:
    """What a worker sends of these: as it comes from the wire, every text an object of its own."""
    shapes = []
    for n in range(begin, begin + count):
        digest = (
            f"SELECT a.id, a.name, a.note_{n} FROM articles AS a JOIN authors AS b ON b.id = a.author_id WHERE a.id = ?"
        )
        shape = ShapeId(digest_id(digest), "forward", (f"shop.articles{n % 50}", "shop.authors"), ("main",))
        buckets = dict.fromkeys((8, 9, 10, 11, 52, 53, 54, 96, 97), n + 1000)
        sample = Sample(digest.replace("?", "\0").encode(), "shop")
        numbers = (n + 1000, 0, n + 2000, 10**6 + n, 10**9 + n, 10**8 + n, 10**7 + n)
        shapes.append(ShapeWindow(shape, digest, *numbers, buckets, sample))
    return Window(shapes, [], {}, {}, {})


@pytest.mark.parametrize("once", [0, 30_000])
def test_memory_for_ten_thousand_shapes_is_bounded(once: int) -> None:
    """docs/ARCHITECTURE.md says 27 MB; so it is however many others there are that occur once."""
    tracemalloc.start()
    try:
        recorder = Recorder(10_000)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for begin in range(0, 10_000 + once, 1000):
            recorder.add(of_shapes(begin, 1000), 600.0)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 10 * 2**20 < used < 27 * 2**20 * 1.15
    minute = recorder.due(660.0)
    assert minute is not None
    assert sum(each.count for each in minute.shapes.values()) == sum(range(1000, 11_000 + once))
    assert 10_000 - 10_000 // 8 <= len(minute.shapes) <= 10_001


def test_what_cannot_be_written_waits_for_an_hour() -> None:
    recorder = Recorder(10)
    measures = Measures()
    stats = measures.shape("SELECT ?", "forward")
    for n in range(MAX_WAITING + 5):
        stats.record(1000, 0, 0, 0, False)
        recorder.add(measures.take(), 60.0 * n)
    minute = recorder.due(1e6)
    assert minute is not None
    assert minute.start == 300
    assert recorder.lost == 5


def test_the_text_of_a_shape_is_handed_on_now_and_then() -> None:
    stats = Measures().shape("SELECT ?", "forward", sample=SAMPLE)
    texts = []
    for _ in range(2 * SAMPLE_EVERY + 1):
        stats.record(1, 0, 0, 0, False)
        window = stats.take()
        assert window is not None
        texts.append(window.sample)
    assert [n for n, text in enumerate(texts) if text is not None] == [0, SAMPLE_EVERY, 2 * SAMPLE_EVERY]


def test_how_servers_do() -> None:
    recorder = Recorder(10)
    state = ServerState("main", "127.0.0.1:3306", "primary", "up", lag_s=None, busy=3, waiters=1, limit=100)
    status = {"uptime": 100, "threads_running": 4, "rows_read": 1000, "rows_written": 5, "data_bytes": 7}
    state.status = status
    recorder.look([state], 600.0)
    recorder.look([state], 605.0)  # the server was not asked again
    state.busy, state.state, state.lag_s = 5, "down", 2.5
    more = {"uptime": 110, "threads_running": 8, "rows_read": 1500, "rows_written": 6, "data_bytes": 9}
    state.status = more
    recorder.look([state], 610.0)
    state.status = {**status, "uptime": 1, "rows_read": 3}  # it was started again
    recorder.look([state], 615.0)
    minute = recorder.due(660.0)
    assert minute is not None
    load = minute.servers["main", "127.0.0.1:3306", "primary"]
    assert (load["looks"], load["busy"], load["busy_max"], load["down"], load["lag_s_max"]) == (4, 16, 5, 2, 2.5)
    assert (load["status_looks"], load["threads_running"], load["threads_running_max"]) == (3, 16, 8)
    assert (load["status_s"], load["rows_read"], load["rows_written"]) == (10, 500, 1)
    assert load["data_bytes_last"] == 7


@pytest.mark.parametrize("backwards", [1.0, 120.0])
def test_a_clock_that_is_set_back(backwards: float) -> None:
    recorder = Recorder(10)
    measures = Measures()
    stats = measures.shape("SELECT ?", "forward")
    for now in (660.0, 660.0 - backwards, 661.0):
        stats.record(1, 0, 0, 0, False)
        recorder.add(measures.take(), now)
    recorder.end_minute()
    total = 0
    while (minute := recorder.due(661.0)) is not None:
        total += sum(each.count for each in minute.shapes.values())
        recorder.written(minute)
    assert total == 3


def test_what_is_known_of_keys_is_added_up_too() -> None:
    recorder = Recorder(10)
    for n in range(2):
        measures = Measures()
        measures.keys = KeySampler()
        lex = lexer()
        shape, literals = lex.shape(b"SELECT * FROM t WHERE id = %d" % n)
        tap = measures.keys.tap(parse(shape, literals, lexer=lex, merged=()), shape, "shop")
        assert tap is not None
        tap(Idle(), literals)
        measures.keys.ended([("shop.t", "shop.u")])
        measures.shape("SELECT ?", "forward").record(1, 0, 0, 0, False)
        recorder.add(measures.take(), 600.0)
    recorder.end_minute()
    minute = recorder.due(600.0)
    assert minute is not None
    assert {name: (sketch.reads, sketch.distinct) for name, sketch in minute.keys.items()} == {
        ("shop.t", ("id",)): (2, 2)
    }
    assert minute.together == {("shop.t", "shop.u"): 2 * TRANSACTIONS}


class Idle:
    in_transaction = False
    autocommit = True
    began = 0
