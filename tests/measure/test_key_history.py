"""What the history keeps of keys: by hour and by day, bounded, in files of the older format, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.measure import key_history
from proxy.measure.history import HistoryFile, Minute
from proxy.measure.key_hash import key_hash
from proxy.measure.key_sketch import KeySketch
from proxy.measure.spans import DAY, HOUR
from tests.measure.test_history import minute, tally

MIDNIGHT = 1_700_956_800
BY_ID = ("shop.t", ("id",))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[HistoryFile]:
    made = HistoryFile(tmp_path / "history.sqlite")
    yield made
    made.close()


def sketch(begin: int, end: int) -> KeySketch:
    made = KeySketch()
    for n in range(begin, end):
        made.see(key_hash(b"%d" % n))
        made.count(key_hash(b"%d" % n), write=False, cacheable=True, weight=1)
    return made


def write(file: HistoryFile, at: int, keys: dict[key_history.Candidate, KeySketch], together: int = 1) -> None:
    file.write(Minute(at - at % 60, keys=keys, together={("shop.t", "shop.u"): together}))


def test_windows_of_hours_and_days(file: HistoryFile) -> None:
    for n in range(0, 3 * DAY, HOUR // 2):
        write(file, MIDNIGHT + n, {BY_ID: sketch(n // HOUR, n // HOUR + 10)})
    everything = file.read_keys()
    assert everything.keys[BY_ID].reads == 6 * 24 * 10
    assert everything.keys[BY_ID].distinct == pytest.approx(81, rel=0.1)
    assert everything.together == {("shop.t", "shop.u"): 6 * 24}
    hours = file.read_keys(MIDNIGHT + HOUR + 60, MIDNIGHT + 3 * HOUR)
    assert hours.keys[BY_ID].reads == 40
    assert hours.keys[BY_ID].distinct == pytest.approx(11, abs=1)


def test_old_rows_go_and_names_with_them(file: HistoryFile) -> None:
    for n in range(0, 40 * DAY, 6 * HOUR):
        write(file, MIDNIGHT + n, {(f"shop.t{n // (39 * DAY)}", ("id",)): sketch(0, 1)})
    (hours,) = file._db.execute("SELECT COUNT(*) FROM key_times WHERE span = 3600").fetchone()
    (days,) = file._db.execute("SELECT COUNT(*) FROM key_times WHERE span = 86400").fetchone()
    assert (hours, days) == (35 * 4 + 1, 40)
    # The hours no longer go back so far: days tell it.
    assert sum(one.reads for one in file.read_keys(MIDNIGHT).keys.values()) == 160
    write(file, MIDNIGHT + 900 * DAY, {BY_ID: sketch(0, 1)})
    assert list(file.read_keys().keys) == [BY_ID]
    assert list(file._db.execute("SELECT name FROM keys")) == [("shop.t",)]


def test_the_most_used_stay(file: HistoryFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_history, "MAX_KEYS", 3)
    write(file, MIDNIGHT, {(f"shop.t{n}", ("id",)): sketch(0, n) for n in range(1, 8)})
    assert sorted(name for name, _ in file.read_keys().keys) == ["shop.t5", "shop.t6", "shop.t7"]


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE keys; DROP TABLE key_times; DROP TABLE together_times; PRAGMA user_version = 1",
        "PRAGMA user_version = 2",  # with other hashes: every key would be counted twice
    ],
)
def test_a_file_of_an_older_format(change: str, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    file = HistoryFile(path)
    write(file, MIDNIGHT, {BY_ID: sketch(0, 7)})
    file.close()
    old = sqlite3.connect(path)
    old.executescript(change)
    old.close()
    reader = HistoryFile(path, read_only=True)
    assert reader.read_keys().keys == {}
    reader.close()
    file = HistoryFile(path)
    assert file.read_keys().keys == {}
    write(file, MIDNIGHT, {BY_ID: sketch(0, 5)})
    assert file.read_keys().keys[BY_ID].reads == 5
    file.close()


def test_what_clusters_had_to_do_is_told_once(file: HistoryFile) -> None:
    for n in range(0, 3 * DAY, 1800):
        file.write(minute(MIDNIGHT + n, {"a": tally(10)}))
    parts = file.read_days()
    assert sum(part.busy_s["main"] for part in parts) == pytest.approx(3 * 48 * 10 * 0.0005)
    assert {part.seconds for part in parts} == {60, HOUR}
    ends = [part.start + part.seconds for part in parts]
    assert all(end <= later.start for end, later in zip(ends, parts[1:]))
