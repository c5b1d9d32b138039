"""The history's file: sums by minute, hour and day that always add up, in bounded space."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.measure import history
from proxy.measure.history import HistoryFile, HistoryUnusable, Minute, TableKey
from proxy.measure.ranking import Measured
from proxy.measure.shapes import Sample, ShapeId, digest_id
from proxy.measure.spans import DAY, HOUR, MINUTE, Span
from proxy.measure.tally import OTHER_TABLES, OTHERS, Tally

MIDNIGHT = 1_700_956_800  # a day's begin, in UTC
SAMPLE = Sample(b"SELECT \0", "shop")


def shape(name: str, *tables: str) -> ShapeId:
    return ShapeId(digest_id(name), "forward", tables or ("shop.t",), ("main",))


def tally(count: int = 1, ns: int = 1_000_000) -> Tally:
    made = Tally()
    made.count, made.total_ns, made.max_ns, made.rows, made.server_ns = (
        count,
        count * ns,
        ns,
        2 * count,
        count * ns // 2,
    )
    place = (ns >> 10).bit_length()
    made.buckets = {place: count, 44 + place: count}
    return made


def minute(start: int, shapes: Mapping[str, Tally], tables: Mapping[TableKey, Tally] | None = None) -> Minute:
    ids = {shape(name): one for name, one in shapes.items()}
    return Minute(
        start - start % MINUTE,
        ids,
        {shape(name): name for name in shapes},
        {shape(name): SAMPLE for name in shapes},
        dict(tables or {}),
        {("main", "127.0.0.1:3306", "primary"): {"looks": 1.0, "busy": 2.0, "busy_max": 2.0, "commands": 5.0}},
    )


@pytest.fixture
def file(tmp_path: Path) -> Iterator[HistoryFile]:
    made = HistoryFile(tmp_path / "history.sqlite")
    yield made
    made.close()


def counts(measured: Measured) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in measured.shapes:
        found[one.digest] = found.get(one.digest, 0) + one.tally.count
    return found


def rows(file: HistoryFile, span: int) -> list[tuple[Any, ...]]:
    return list(file._db.execute("SELECT start, key, count FROM shape_times WHERE span = ? ORDER BY 1, 2", (span,)))


def test_what_was_written_is_read(file: HistoryFile) -> None:
    file.write(minute(MIDNIGHT, {"a": tally(3), "b": tally(1, 5_000_000)}))
    found = file.read()
    assert counts(found) == {"a": 3, "b": 1}
    (one,) = (each for each in found.shapes if each.digest == "a")
    assert (one.shape, one.sample) == (shape("a"), SAMPLE)
    assert {name: getattr(one.tally, name) for name in Tally.__slots__} == {
        name: getattr(tally(3), name) for name in Tally.__slots__
    }
    assert [(name, kind, each.count) for name, kind, each in found.tables] == [("shop.t", "forward", 4)]
    assert (found.since, found.until) == (MIDNIGHT, MIDNIGHT + 60)
    (server,) = found.servers
    assert (server["cluster"], server["busy"], server["statements_per_s"]) == ("main", 2.0, round(5 / 60, 3))


def test_a_minute_can_be_added_to(file: HistoryFile) -> None:
    for _ in range(2):
        file.write(minute(MIDNIGHT, {"a": tally(3)}))
    assert counts(file.read()) == {"a": 6}
    assert file.read().servers[0]["busy_max"] == 2.0
    assert len(rows(file, MINUTE)) == 1


def test_windows(file: HistoryFile) -> None:
    for n in range(5):
        file.write(minute(MIDNIGHT + 60 * n, {"a": tally(10**n)}))
    found = file.read(MIDNIGHT + 90, MIDNIGHT + 200)  # a minute belongs to a window that begins in it
    assert (counts(found), found.since, found.until) == ({"a": 1110}, MIDNIGHT + 60, MIDNIGHT + 240)
    assert counts(file.read(until=MIDNIGHT + 60)) == {"a": 1}
    assert counts(file.read(since=MIDNIGHT + 240)) == {"a": 10_000}
    assert counts(file.read(since=MIDNIGHT + 400)) == {}
    assert file.read(since=MIDNIGHT + 400).seconds is None


def test_hours_and_days_take_the_place_of_minutes(file: HistoryFile) -> None:
    total = 0
    for n in range(0, 4 * DAY, 1200):
        total += 1 + n
        file.write(minute(MIDNIGHT + 600 + n, {"a": tally(1 + n)}))
        assert counts(file.read()) == {"a": total}
    newest = MIDNIGHT + 4 * DAY - 600
    kept = [start for start, _, _ in rows(file, MINUTE)]
    assert newest - 27 * HOUR - 60 <= kept[0] <= newest - 26 * HOUR + 60
    assert [start for start, _, _ in rows(file, HOUR)] == list(range(MIDNIGHT, MIDNIGHT + 4 * DAY - HOUR, HOUR))
    assert [start for start, _, _ in rows(file, DAY)] == [MIDNIGHT + n * DAY for n in range(3)]
    # The first day's hours are still there: a window inside of it is told by whole hours.
    found = file.read(MIDNIGHT + HOUR + 60, MIDNIGHT + 3 * HOUR)
    assert (found.since, found.until) == (MIDNIGHT + HOUR, MIDNIGHT + 3 * HOUR)
    assert counts(found) == {"a": sum(1 + n for n in range(HOUR, 3 * HOUR, 1200))}


def test_old_hours_are_days_and_old_days_go(tmp_path: Path) -> None:
    spans = (
        Span(MINUTE, HOUR, 200, 200),
        Span(HOUR, DAY, 200, 200),
        Span(DAY, 3 * DAY, 200, 200),
    )
    file = HistoryFile(tmp_path / "h", spans=spans)
    for n in range(0, 6 * DAY, 1800):
        file.write(minute(MIDNIGHT + n, {"a": tally()}))
    days = [start for start, _, _ in rows(file, DAY)]
    assert days[0] >= MIDNIGHT + 2 * DAY
    found = file.read()
    assert found.since == days[0]
    assert counts(found) == {"a": (MIDNIGHT + 6 * DAY - days[0]) // 1800}
    file.close()


def test_what_costs_least_counts_with_the_others(tmp_path: Path) -> None:
    spans = (Span(MINUTE, HOUR, 3, 2), Span(HOUR, 100 * DAY, 2, 2), Span(DAY, 100 * DAY, 2, 2))
    file = HistoryFile(tmp_path / "h", spans=spans)
    for n in range(180):
        flood = {f"once {n} {i}": tally(1, 1000) for i in range(20)}
        tables: dict[TableKey, Tally] = {(f"shop.t{i}", "forward"): tally(2, 1 + i) for i in range(4)}
        file.write(minute(MIDNIGHT + 60 * n, {"heavy": tally(5), **flood}, tables))
    found = file.read()
    assert sum(counts(found).values()) == 180 * 25
    assert counts(found)["heavy"] == 180 * 5
    assert sum(each.tally.total_ns for each in found.shapes) == 180 * (5 * 1_000_000 + 20 * 1000)
    assert sum(sum(each.tally.buckets.values()) for each in found.shapes) == 2 * 180 * 25
    assert any(each.shape == OTHERS for each in found.shapes)
    by_table: dict[str, int] = {}
    for name, _, each in found.tables:
        by_table[name] = by_table.get(name, 0) + each.count
    assert by_table == {"shop.t": 180 * 25, "shop.t3": 360, OTHER_TABLES: 1080}
    for span, limit in ((MINUTE, 4), (HOUR, 3)):
        (most,) = file._db.execute(
            "SELECT MAX(n) FROM (SELECT COUNT(*) AS n FROM shape_times WHERE span = ? GROUP BY start)", (span,)
        ).fetchone()
        assert most == limit
    (known,) = file._db.execute("SELECT COUNT(*) FROM shapes").fetchone()
    assert known <= 2 + 3 * (60 + 60 + 1)  # not those of minutes that are gone
    file.close()


def test_names_are_bounded_and_the_sums_stay(file: HistoryFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_SHAPES", 50)
    monkeypatch.setattr(history, "MAX_TABLES", 10)
    for n in range(30):
        once = {f"once {n} {i}": tally(1, 1000 + n) for i in range(10)}
        file.write(
            minute(MIDNIGHT + 60 * n, {"heavy": tally(5), **once}, {(f"shop.t{n}", "forward"): tally(1, 10**6 + n)})
        )
        (known,) = file._db.execute("SELECT COUNT(*) FROM shapes").fetchone()
        assert known <= 50
        found = file.read()
        assert sum(counts(found).values()) == (n + 1) * 15
        assert sum(each.count for _, _, each in found.tables) == (n + 1) * 16
    assert counts(file.read())["heavy"] == 150
    (known,) = file._db.execute("SELECT COUNT(*) FROM tables").fetchone()
    assert known <= 10


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.integers(0, 180), st.integers(-3000, 6000)), max_size=30), st.integers(0, DAY))
def test_a_clock_that_jumps_loses_nothing(tmp_path: Path, jumps: list[int], begin: int) -> None:
    """The clock moves by so many minutes, back too, between what is written."""
    path = tmp_path / "h"
    path.unlink(missing_ok=True)
    spans = (Span(MINUTE, 2 * HOUR, 5, 5), Span(HOUR, 2 * DAY, 5, 5), Span(DAY, 1000 * DAY, 5, 5))
    file = HistoryFile(path, spans=spans)
    now = MIDNIGHT + 10 * DAY + begin
    for n, jump in enumerate(jumps, 1):
        now += jump * MINUTE
        file.write(minute(now, {"a": tally()}))
        assert counts(file.read()) == {"a": n}
    file.close()


def test_texts_that_come_later_are_kept(file: HistoryFile) -> None:
    first = minute(MIDNIGHT, {"a": tally()})
    first.samples.clear()
    file.write(first)
    assert [one.sample for one in file.read().shapes] == [None]
    file.write(minute(MIDNIGHT, {"a": tally()}))
    assert [one.sample for one in file.read().shapes] == [SAMPLE]


def test_it_is_read_while_it_is_written(file: HistoryFile) -> None:
    file.write(minute(MIDNIGHT, {"a": tally()}))
    reader = HistoryFile(file.path, read_only=True)
    file._db.execute("BEGIN IMMEDIATE")
    assert counts(reader.read()) == {"a": 1}
    file._db.execute("ROLLBACK")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM shapes")
    reader.close()


def test_a_write_that_fails_changes_nothing(file: HistoryFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write(minute(MIDNIGHT, {"a": tally()}))

    def fail(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(HistoryFile, "_bound_dictionaries", fail)
        with pytest.raises(HistoryUnusable, match="disk is full"):
            file.write(minute(MIDNIGHT, {"a": tally(), "b": tally()}))
    assert counts(file.read()) == {"a": 1}
    file.write(minute(MIDNIGHT, {"b": tally()}))
    assert counts(file.read()) == {"a": 1, "b": 1}


def test_files_that_are_no_history(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnusable, match="There is no history"):
        HistoryFile(tmp_path / "absent", read_only=True)
    (tmp_path / "text").write_text("something else, and long enough to be looked at as a database " * 9)
    with pytest.raises(HistoryUnusable, match="not a database"):
        HistoryFile(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(HistoryUnusable, match="not a history"):
        HistoryFile(tmp_path / "other")
    made = HistoryFile(tmp_path / "newer")
    made._db.execute("PRAGMA user_version = 99")
    made.close()
    with pytest.raises(HistoryUnusable, match="another version"):
        HistoryFile(tmp_path / "newer")
    with pytest.raises(HistoryUnusable, match="unable to open"):
        HistoryFile(tmp_path / "no" / "folder")
