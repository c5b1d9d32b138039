"""A worker's numbers: windows add up to what happened, labels are bounded, dropped shapes are not lost."""

from __future__ import annotations

import msgspec

from proxy.back.counters import OTHER, Labelled
from proxy.measure.measures import Measures
from proxy.measure.windows import Window


def test_counters_are_handed_on_once() -> None:
    measures = Measures()
    measures.plan_hits += 3
    measures.clients += 2
    measures.login()
    measures.login("wrong-password")
    measures.error(1045)
    measures.pinned("user-variable")
    window = measures.take()
    assert window.counters["plan_hits"] == 3
    assert window.labelled["logins"] == {"ok": 1, "wrong-password": 1}
    assert window.labelled["errors"] == {"1045": 1}
    assert window.labelled["pins"] == {"user-variable": 1}
    assert window.gauges["clients"] == 2

    after = measures.take()
    assert after.counters["plan_hits"] == 0
    assert measures.plan_hits == 3, "the front may show it"
    assert after.labelled["logins"] == {}
    assert after.gauges["clients"] == 2, "a gauge is what is there now, not what was added"


def test_labels_past_the_limit_count_as_other_and_known_ones_stay() -> None:
    counter = Labelled(2)
    for label in ("a", "b", "c", "d", "a"):
        counter.add(label)
    assert counter.take() == {"a": 2, "b": 1, OTHER: 2}
    counter.add("c")
    counter.add("b")
    assert counter.take() == {OTHER: 1, "b": 1}


def test_a_shape_that_left_the_plan_cache_is_taken_when_its_last_statement_has_ended() -> None:
    measures = Measures()
    cache = {"key": measures.shape("SELECT ?", "forward", ["shop.t"], ["main"])}
    in_flight = cache["key"]
    in_flight.record(10, 5, 1, 1, False)
    del cache["key"]
    assert [w.count for w in measures.take().shapes] == [1]

    in_flight.record(10, 5, 1, 1, False)  # it ends after the entry was evicted and taken
    del in_flight
    window = measures.take()
    assert [w.count for w in window.shapes] == [1]
    assert window.gauges["shapes"] == 0
    assert measures.take().shapes == []


def test_shapes_that_are_kept_stay_measured() -> None:
    measures = Measures()
    kept = [measures.shape(f"SELECT {i}", "local") for i in range(3)]
    for _ in range(2):
        assert measures.take().gauges["shapes"] == 3
    kept[1].record(1, 0, 0, 0, False)
    assert [w.digest for w in measures.take().shapes] == ["SELECT 1"]


def test_a_servers_counters_are_one_object_until_nobody_keeps_it() -> None:
    measures = Measures()
    server = measures.server("main", "127.0.0.1:3306", "primary")
    assert measures.server("main", "127.0.0.1:3306", "primary") is server
    assert measures.server("main", "127.0.0.1:3316", "replica") is not server
    server.commands += 2
    server.closed.add("idle")
    windows = {w.address: w for w in measures.take().servers}
    assert windows["127.0.0.1:3306"].counters == {"commands": 2}
    assert windows["127.0.0.1:3306"].closed == {"idle": 1}
    assert [w.address for w in measures.take().servers] == ["127.0.0.1:3306"]


def test_a_window_survives_the_wire() -> None:
    measures = Measures()
    shape = measures.shape("SELECT ?", "forward", ["shop.t"], ["main"])
    shape.record(10, 5, 1, 1, False)
    server = measures.server("main", "a:1", "primary")
    server.waits += 1
    window = measures.take()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(window), type=Window) == window
