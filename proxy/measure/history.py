"""The history: what shapes, tables and servers cost, by minute, in an SQLite file of bounded size.

Minutes are kept for a day, and summed up to hours, which are kept for five weeks, and to days, which are kept for three
years. In each of these *spans of time* the most expensive shapes and tables have a row of their own, and all others
are one row, so that every sum over a span is that of all its statements.

`HistoryFile` belongs to one thread. Writing is one transaction a minute; whoever reads (`turnout measure`) opens the
file for itself, while it is written, too.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from proxy.errors import TurnoutError
from proxy.measure.key_book import Candidate
from proxy.measure.key_history import KEY_SCHEMA, KeysRead, KeyTimes
from proxy.measure.key_sketch import KeySketch
from proxy.measure.ranking import Knows, Measured, MeasuredShape
from proxy.measure.server_load import Load, add_load, server_row
from proxy.measure.shapes import Sample, ShapeId
from proxy.measure.slots import UNSERVED, Slot
from proxy.measure.spans import DAY, HOUR, SPANS, Span, bounded, parts_of
from proxy.measure.tally import OTHER_TABLES, OTHERS, OTHERS_DIGEST, Tally

VERSION = 3  # 1 knew nothing of keys, and 2 had other hashes of them
_APPLICATION = 0x54524E54  # "TRNT", in the file's header

MAX_SHAPES = 10_000  # of which the file has the text
MAX_TABLES = 5_000
MAX_SERVERS = 2_000

TableKey = tuple[str, str]  # database.table, kind of plan
ServerKey = tuple[str, str, str]  # cluster, address, role
OTHER_TABLE: TableKey = (OTHER_TABLES, "")

KNOWS = Knows(server_times=True, plans=True)


class HistoryUnusable(TurnoutError):
    """The file is not ours, or cannot be read or written; the message says why."""


@dataclass(slots=True)
class Minute:
    """What happened in one minute, to be written."""

    start: int  # Unix time, a multiple of 60
    shapes: dict[ShapeId, Tally] = field(default_factory=dict)
    digests: dict[ShapeId, str] = field(default_factory=dict)
    samples: dict[ShapeId, Sample] = field(default_factory=dict)
    others: dict[TableKey, Tally] = field(default_factory=dict)  # of the tables of shapes that are among the others
    servers: dict[ServerKey, Load] = field(default_factory=dict)
    keys: dict[Candidate, KeySketch] = field(default_factory=dict)
    together: dict[tuple[str, ...], int] = field(default_factory=dict)  # transactions by the tables they touched

    def by_table(self) -> dict[TableKey, Tally]:
        """Sums by table and kind of plan; a statement over several tables counts for each of them."""
        sums: dict[TableKey, Tally] = {}
        for key, tally in self.others.items():
            sums.setdefault(key, Tally()).add(tally)
        for shape, tally in self.shapes.items():
            for table in dict.fromkeys(shape.tables):
                sums.setdefault((table, shape.kind), Tally()).add(tally)
        return sums


@dataclass(frozen=True, slots=True)
class Part:
    """What clusters had to do in one span of time: seconds of statements on their servers."""

    seconds: int  # the span's length
    start: int  # Unix time
    busy_s: Mapping[str, float]


_SCHEMA = """
CREATE TABLE shapes (
  key INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, tables BLOB NOT NULL, clusters BLOB NOT NULL,
  digest TEXT NOT NULL, sample BLOB, total_ns INTEGER NOT NULL DEFAULT 0, UNIQUE (id, kind, tables, clusters));
CREATE TABLE tables (
  key INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, total_ns INTEGER NOT NULL DEFAULT 0,
  UNIQUE (name, kind));
CREATE TABLE servers (
  key INTEGER PRIMARY KEY, cluster TEXT NOT NULL, address TEXT NOT NULL, role TEXT NOT NULL,
  UNIQUE (cluster, address, role));
CREATE TABLE shape_times (
  span INTEGER, start INTEGER, key INTEGER, count INTEGER NOT NULL, errors INTEGER NOT NULL, rows INTEGER NOT NULL,
  sent_bytes INTEGER NOT NULL, total_ns INTEGER NOT NULL, server_ns INTEGER NOT NULL, max_ns INTEGER NOT NULL,
  buckets BLOB NOT NULL, PRIMARY KEY (span, start, key)) WITHOUT ROWID;
CREATE TABLE table_times (
  span INTEGER, start INTEGER, key INTEGER, count INTEGER NOT NULL, errors INTEGER NOT NULL, rows INTEGER NOT NULL,
  sent_bytes INTEGER NOT NULL, total_ns INTEGER NOT NULL, server_ns INTEGER NOT NULL, max_ns INTEGER NOT NULL,
  buckets BLOB NOT NULL, PRIMARY KEY (span, start, key)) WITHOUT ROWID;
CREATE TABLE server_times (
  span INTEGER, start INTEGER, key INTEGER, load BLOB NOT NULL, PRIMARY KEY (span, start, key)) WITHOUT ROWID;
CREATE TABLE spans (
  span INTEGER PRIMARY KEY,
  since INTEGER NOT NULL,   -- rows of this span are there from here on: older ones are in the next longer span
  until INTEGER NOT NULL);  -- and up to here
"""
_NUMBERS = "count, errors, rows, sent_bytes, total_ns, server_ns, max_ns, buckets"
_pack = msgspec.msgpack.encode
_buckets = msgspec.msgpack.Decoder(dict[int, int])
_names = msgspec.msgpack.Decoder(tuple[str, ...])
_load = msgspec.msgpack.Decoder(dict[str, float])
_sample = msgspec.msgpack.Decoder(Sample)
OTHER_KEY = 0  # of shapes and of tables

Numbers = tuple[int, int, int, int, int, int, int, bytes]


class HistoryFile:
    """See the module. Raises HistoryUnusable where SQLite fails."""

    def __init__(self, path: Path, read_only: bool = False, spans: Sequence[Span] = SPANS) -> None:
        self.path = path
        self._spans = spans
        with self._explained():
            if read_only:
                if not path.exists():
                    raise HistoryUnusable(f"There is no history at {path}: has a Turnout with these rules run?")
                # One that was not closed has to be put in order by whoever opens it next, if that is allowed.
                mode = "rw" if os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK) else "ro"
                self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
            else:
                with contextlib.suppress(OSError):  # SQLite says what is wrong; others need not read what is in it
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
                self._db = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
            try:
                self._open(read_only)
            except BaseException:
                self._db.close()
                raise

    def _open(self, read_only: bool) -> None:
        db = self._db
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables == 0 and not read_only:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(
                f"BEGIN; PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {VERSION}; "
                f"{_SCHEMA} {KEY_SCHEMA} COMMIT;"
            )
            db.execute(
                "INSERT INTO shapes VALUES (?, ?, '', ?, ?, ?, NULL, 0)",
                (OTHER_KEY, OTHERS.id, _pack(()), _pack(()), OTHERS_DIGEST),
            )
            db.execute("INSERT INTO tables VALUES (?, ?, ?, 0)", (OTHER_KEY, *OTHER_TABLE))
        elif application != _APPLICATION:
            raise HistoryUnusable(f"{self.path} is not a history of Turnout's: give another file")
        elif version == 1 and not read_only:
            db.executescript(f"BEGIN; PRAGMA user_version = {VERSION}; {KEY_SCHEMA} COMMIT;")
        elif version == 2 and not read_only:
            db.executescript(f"BEGIN; PRAGMA user_version = {VERSION}; DELETE FROM key_times; COMMIT;")
        elif version not in (1, 2, VERSION):
            raise HistoryUnusable(
                f"{self.path} was written by another version of Turnout (format {version}, this one has {VERSION}): "
                "give another file"
            )
        self._knows_keys = not read_only or version == VERSION
        db.execute("PRAGMA query_only = ON" if read_only else "PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise HistoryUnusable(f"The history {self.path} cannot be used: {error}") from error

    # -- writing ---------------------------------------------------------------------------------------------------

    def write(self, minute: Minute) -> None:
        """Add what happened in a minute, sum up what is over, drop what is too old. All or nothing."""
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._write(minute)
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # the disk may be full
                    self._db.execute("ROLLBACK")
                raise

    def _write(self, minute: Minute) -> None:
        first = self._spans[0]
        shapes = {
            self._shape_key(shape, minute): tally
            for shape, tally in bounded(minute.shapes, first.shapes, OTHERS).items()
        }
        tables = {
            self._table_key(name): tally
            for name, tally in bounded(minute.by_table(), first.tables, OTHER_TABLE).items()
        }
        servers = {self._server_key(name): load for name, load in minute.servers.items()}
        for dictionary, sums in (("shapes", shapes), ("tables", tables)):
            self._db.executemany(
                f"UPDATE {dictionary} SET total_ns = total_ns + ? WHERE key = ?",
                [(tally.total_ns, key) for key, tally in sums.items()],
            )
        covered = {span: (since, until) for span, since, until in self._db.execute("SELECT * FROM spans")}
        for span, longer in itertools.pairwise([*self._spans, self._spans[-1]]):
            start = minute.start - minute.start % span.seconds
            # From the beginning of a longer span on, so that no row of that will be about the same time.
            since, until = covered.get(span.seconds, (start - start % longer.seconds,) * 2)
            summed_up = longer is not span and start < covered.get(longer.seconds, (0, 0))[1]
            if summed_up and start < since:
                continue  # a clock that was set back, to a time whose rows of this span are gone
            self._add(span, start, shapes, tables, servers)
            if not summed_up:
                self._set_span(covered, span.seconds, min(since, start), until)
                break
        KeyTimes(self._db).write(minute.start, minute.keys, minute.together)
        self._sum_up_what_is_over(covered, minute.start)
        self._bound_dictionaries()

    def _add(
        self,
        span: Span,
        start: int,
        shapes: Mapping[int, Tally],
        tables: Mapping[int, Tally],
        servers: Mapping[int, Load],
    ) -> None:
        """Add sums to the rows of one span that begins at `start`."""
        for name, sums, limit in (("shape_times", shapes, span.shapes), ("table_times", tables, span.tables)):
            rows = self._rows(name, "span = ? AND start = ?", (span.seconds, start))
            found = {key: tally for _, _, key, tally in rows}
            for key, tally in sums.items():
                found.setdefault(key, Tally()).add(tally)
            self._replace(name, span.seconds, start, bounded(found, limit, OTHER_KEY))
        known = {
            key: _load.decode(load)
            for key, load in self._db.execute(
                "SELECT key, load FROM server_times WHERE span = ? AND start = ?", (span.seconds, start)
            )
        }
        for key, load in servers.items():
            add_load(known.setdefault(key, {}), load)
        self._db.executemany(
            "INSERT OR REPLACE INTO server_times VALUES (?, ?, ?, ?)",
            [(span.seconds, start, key, _pack(load)) for key, load in known.items()],
        )

    def _replace(self, name: str, span: int, start: int, sums: Mapping[int, Tally]) -> None:
        self._db.execute(f"DELETE FROM {name} WHERE span = ? AND start = ?", (span, start))
        self._db.executemany(
            f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(span, start, key, *_numbers(tally)) for key, tally in sums.items()],
        )

    def _rows(self, name: str, where: str, values: Sequence[int]) -> Iterator[tuple[int, int, int, Tally]]:
        for span, start, key, *numbers in self._db.execute(
            f"SELECT span, start, key, {_NUMBERS} FROM {name} WHERE {where}", values
        ):
            yield span, start, key, _tally(numbers)

    def _sum_up_what_is_over(self, covered: dict[int, tuple[int, int]], now: int) -> None:
        """Sum up every hour and day that is over, and drop rows that are too old and summed up."""
        first = self._spans[0]
        since, until = covered.get(first.seconds, (now - now % self._spans[1].seconds, now))
        self._set_span(covered, first.seconds, since, max(until, now + first.seconds))
        for place, longer in enumerate(self._spans[1:], 1):
            shorter = self._spans[place - 1]
            since, until = covered[shorter.seconds]
            fresh = since - since % self._spans[min(place + 1, len(self._spans) - 1)].seconds
            begun, done = covered.get(longer.seconds, (fresh, since))
            current = until - 1 - (until - 1) % longer.seconds  # the newest one, which may not be over
            for start in self._starts(shorter.seconds, done, current, longer.seconds):
                self._sum_up(shorter, longer, start)
            self._set_span(covered, longer.seconds, begun, max(done - done % longer.seconds, current))
            keep = until - shorter.kept_s
            keep = min(keep - keep % longer.seconds, covered[longer.seconds][1])
            if keep > since:
                self._drop(shorter.seconds, keep)
                self._set_span(covered, shorter.seconds, keep, until)
        last = self._spans[-1]
        since, until = covered[last.seconds]
        keep = until - last.kept_s
        if keep > since:
            self._drop(last.seconds, keep)
            self._set_span(covered, last.seconds, keep, until)

    def _starts(self, span: int, since: int, until: int, length: int) -> list[int]:
        """Of the longer spans between, those that rows of the shorter span are in."""
        found: set[int] = set()
        for name in ("shape_times", "table_times", "server_times"):
            found.update(
                start
                for (start,) in self._db.execute(
                    f"SELECT DISTINCT start - start % ? FROM {name} WHERE span = ? AND start >= ? AND start < ?",
                    (length, span, since, until),
                )
            )
        return sorted(found)

    def _sum_up(self, shorter: Span, longer: Span, start: int) -> None:
        """Make the rows of one longer span, from those of the shorter spans in it."""
        inside = (shorter.seconds, start, start + longer.seconds)
        where = "span = ? AND start >= ? AND start < ?"
        for name, limit in (("shape_times", longer.shapes), ("table_times", longer.tables)):
            sums: dict[int, Tally] = {}
            for _, _, key, tally in self._rows(name, where, inside):
                sums.setdefault(key, Tally()).add(tally)
            self._replace(name, longer.seconds, start, bounded(sums, limit, OTHER_KEY))
        loads: dict[int, Load] = {}
        for key, load in self._db.execute(f"SELECT key, load FROM server_times WHERE {where} ORDER BY start", inside):
            add_load(loads.setdefault(key, {}), _load.decode(load))
        self._db.executemany(
            "INSERT OR REPLACE INTO server_times VALUES (?, ?, ?, ?)",
            [(longer.seconds, start, key, _pack(load)) for key, load in loads.items()],
        )

    def _set_span(self, covered: dict[int, tuple[int, int]], span: int, since: int, until: int) -> None:
        if covered.get(span) != (since, until):
            covered[span] = (since, until)
            self._db.execute("INSERT OR REPLACE INTO spans VALUES (?, ?, ?)", (span, since, until))

    def _drop(self, span: int, before: int) -> None:
        for name in ("shape_times", "table_times", "server_times"):
            self._db.execute(f"DELETE FROM {name} WHERE span = ? AND start < ?", (span, before))
        for dictionary, times in (("shapes", "shape_times"), ("tables", "table_times"), ("servers", "server_times")):
            if span == self._spans[-1].seconds or span == self._spans[0].seconds:  # once an hour, once a day
                self._db.execute(
                    f"DELETE FROM {dictionary} WHERE key <> ? AND key NOT IN (SELECT key FROM {times})", (OTHER_KEY,)
                )

    # -- names -----------------------------------------------------------------------------------------------------

    def _shape_key(self, shape: ShapeId, minute: Minute) -> int:
        if shape == OTHERS:
            return OTHER_KEY
        words = (shape.id, shape.kind, _pack(shape.tables), _pack(shape.clusters))
        found = self._db.execute(
            "SELECT key, sample IS NULL FROM shapes WHERE id = ? AND kind = ? AND tables = ? AND clusters = ?", words
        ).fetchone()
        sample = minute.samples.get(shape)
        if found is None:
            digest = minute.digests.get(shape, "")
            made = self._db.execute(
                "INSERT INTO shapes (id, kind, tables, clusters, digest, sample) VALUES (?, ?, ?, ?, ?, ?)",
                (*words, digest, _pack(sample) if sample is not None else None),
            )
            assert made.lastrowid is not None
            return made.lastrowid
        if found[1] and sample is not None:
            self._db.execute("UPDATE shapes SET sample = ? WHERE key = ?", (_pack(sample), found[0]))
        return int(found[0])

    def _table_key(self, name: TableKey) -> int:
        if name == OTHER_TABLE:
            return OTHER_KEY
        found = self._db.execute("SELECT key FROM tables WHERE name = ? AND kind = ?", name).fetchone()
        if found is None:
            made = self._db.execute("INSERT INTO tables (name, kind) VALUES (?, ?)", name).lastrowid
            assert made is not None
            return made
        return int(found[0])

    def _server_key(self, name: ServerKey) -> int:
        where = "SELECT key FROM servers WHERE cluster = ? AND address = ? AND role = ?"
        found = self._db.execute(where, name).fetchone()
        if found is None:
            (count,) = self._db.execute("SELECT COUNT(*) FROM servers").fetchone()
            if count >= MAX_SERVERS:
                name = ("other", "other", name[2])
                found = self._db.execute(where, name).fetchone()
        if found is None:
            made = self._db.execute("INSERT INTO servers (cluster, address, role) VALUES (?, ?, ?)", name).lastrowid
            assert made is not None
            return made
        return int(found[0])

    def _bound_dictionaries(self) -> None:
        """Whose names are too many: what took the least time since it is known becomes a part of the others."""
        for dictionary, times, limit in (
            ("shapes", "shape_times", MAX_SHAPES),
            ("tables", "table_times", MAX_TABLES),
        ):
            (count,) = self._db.execute(f"SELECT COUNT(*) FROM {dictionary}").fetchone()
            if count > limit:
                self._forget(dictionary, times, count - limit + limit // 10)

    def _forget(self, dictionary: str, times: str, victims: int) -> None:
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS victims (key INTEGER PRIMARY KEY)")
        self._db.execute("DELETE FROM victims")
        self._db.execute(
            f"INSERT INTO victims SELECT key FROM {dictionary} WHERE key <> ? ORDER BY total_ns, key LIMIT ?",
            (OTHER_KEY, victims),
        )
        moved: dict[tuple[int, int], Tally] = {}
        for span, start, _, tally in self._rows(times, "key IN (SELECT key FROM victims)", ()):
            moved.setdefault((span, start), Tally()).add(tally)
        for (span, start), tally in moved.items():
            for _, _, _, others in self._rows(times, "span = ? AND start = ? AND key = ?", (span, start, OTHER_KEY)):
                tally.add(others)
        self._db.execute(f"DELETE FROM {times} WHERE key IN (SELECT key FROM victims)")
        self._db.executemany(
            f"INSERT OR REPLACE INTO {times} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(span, start, OTHER_KEY, *_numbers(tally)) for (span, start), tally in moved.items()],
        )
        self._db.execute(f"DELETE FROM {dictionary} WHERE key IN (SELECT key FROM victims)")

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, since: float | None = None, until: float | None = None) -> Measured:
        """The sums of a window of time. Where its minutes are gone it begins and ends with whole hours or days; the
        window that the sums are about is in the answer."""
        with self._explained():
            self._db.execute("BEGIN")
            try:
                return self._read(since, until)
            finally:
                self._db.execute("ROLLBACK")

    def read_keys(self, since: float | None = None, until: float | None = None) -> KeysRead:
        """What is known of keys in a window of time, to whole hours; to whole days where it began weeks ago."""
        with self._explained():
            if not self._knows_keys:
                return KeysRead()
            return KeyTimes(self._db).read(since, until)

    def read_days(self, since: float | None = None, until: float | None = None) -> list[Part]:
        """What each cluster's servers had to do: by minute, hour and day, whichever there still are for a time."""
        with self._explained():
            self._db.execute("BEGIN")
            try:
                return self._read_days(since, until)
            finally:
                self._db.execute("ROLLBACK")

    def read_peaks(self, since: float, until: float) -> dict[str, float]:
        """By cluster: how many times a day's mean its busiest hour has had to do, of days with all their hours."""
        with self._explained():
            clusters = {
                key: _names.decode(names) for key, names in self._db.execute("SELECT key, clusters FROM shapes")
            }
            hours: dict[tuple[str, int], dict[int, float]] = {}
            for start, key, server_ns in self._db.execute(
                "SELECT start, key, server_ns FROM shape_times WHERE span = ? AND start >= ? AND start < ?",
                (HOUR, int(since), int(until)),
            ):
                for cluster in clusters[key]:
                    day = hours.setdefault((cluster, start // DAY), {})
                    day[start] = day.get(start, 0.0) + server_ns / len(clusters[key])
        ratios: dict[str, list[float]] = {}
        for (cluster, _), loads in hours.items():
            if len(loads) == DAY // HOUR and any(loads.values()):
                ratios.setdefault(cluster, []).append(max(loads.values()) * len(loads) / sum(loads.values()))
        return {cluster: sum(each) / len(each) for cluster, each in ratios.items()}

    def _read_days(self, since: float | None, until: float | None) -> list[Part]:
        covered = {span: (begun, done) for span, begun, done in self._db.execute("SELECT * FROM spans")}
        clusters = {key: _names.decode(names) for key, names in self._db.execute("SELECT key, clusters FROM shapes")}
        busy: dict[tuple[int, int], dict[str, float]] = {}
        for part in parts_of(self._spans, covered, since, until):
            for span, start, key, server_ns in self._db.execute(
                "SELECT span, start, key, server_ns FROM shape_times WHERE span = ? AND start >= ? AND start < ?", part
            ):
                loads = busy.setdefault((start, span), {})
                for cluster in clusters[key]:
                    loads[cluster] = loads.get(cluster, 0.0) + server_ns / 1e9 / len(clusters[key])
        return [Part(span, start, loads) for (start, span), loads in sorted(busy.items())]

    def slots(self, since: float, step_s: int, now: float) -> list[Slot]:
        """Load over time from `since` to `now`, in steps that begin at multiples of `step_s`; each has the seconds of
        it that are in the window. Between the first and the last with statements there are all, also empty ones."""
        with self._explained():
            self._db.create_function("unserved", 1, _unserved, deterministic=True)
            covered = {span: (begun, done) for span, begun, done in self._db.execute("SELECT * FROM spans")}
            parts = parts_of(self._spans, covered, since, None)
            if not parts:
                return []
            begins = min(begin for _, begin, _ in parts)
            found: dict[int, Slot] = {}
            for start, id, kind, tables, clusters, count, server_ns, errors, unserved in self._db.execute(
                "SELECT start - start % ? AS step, id, kind, tables, clusters, SUM(count), SUM(server_ns), SUM(errors),"
                " SUM(unserved(buckets)) FROM shape_times JOIN shapes USING (key)"
                f" WHERE {' OR '.join(['span = ? AND start >= ? AND start < ?'] * len(parts))} GROUP BY step, key",
                [step_s, *(value for part in parts for value in part)],
            ):
                if start not in found:
                    found[start] = Slot(start, _seconds(start, step_s, begins, now))
                shape = ShapeId(id, kind, _names.decode(tables), _names.decode(clusters))
                found[start].add(shape, count, server_ns, errors, unserved)
        steps = range(min(found), max(found) + step_s, step_s) if found else ()
        return [found.get(start) or Slot(start, step_s) for start in steps]

    def _read(self, since: float | None, until: float | None) -> Measured:
        covered = {span: (begun, done) for span, begun, done in self._db.execute("SELECT * FROM spans")}
        parts = parts_of(self._spans, covered, since, until)
        where = " OR ".join(["span = ? AND start >= ? AND start < ?"] * len(parts)) or "0"
        values = [value for part in parts for value in part]
        shapes: dict[int, Tally] = {}
        for _, _, key, tally in self._rows("shape_times", where, values):
            shapes.setdefault(key, Tally()).add(tally)
        tables: dict[int, Tally] = {}
        for _, _, key, tally in self._rows("table_times", where, values):
            tables.setdefault(key, Tally()).add(tally)
        loads: dict[int, Load] = {}
        for key, load in self._db.execute(f"SELECT key, load FROM server_times WHERE {where} ORDER BY start", values):
            add_load(loads.setdefault(key, {}), _load.decode(load))
        begins, ends = None, None
        if parts:
            edges = self._db.execute(
                f"SELECT MIN(start), MAX(start + span) FROM (SELECT start, span FROM shape_times WHERE {where} "
                f"UNION ALL SELECT start, span FROM server_times WHERE {where})",
                [*values, *values],
            ).fetchone()
            if edges[0] is not None:
                begins, ends = float(edges[0]), min(float(edges[1]), time.time())
        names = {
            key: (ShapeId(id, kind, _names.decode(tables), _names.decode(clusters)), digest, sample)
            for key, id, kind, tables, clusters, digest, sample in self._db.execute(
                "SELECT key, id, kind, tables, clusters, digest, sample FROM shapes"
            )
            if key in shapes
        }
        named_tables = {key: (name, kind) for key, name, kind in self._db.execute("SELECT key, name, kind FROM tables")}
        servers = list(
            self._db.execute("SELECT key, cluster, address, role FROM servers ORDER BY cluster, role, address")
        )
        measured = Measured(
            f"history {self.path}",
            KNOWS,
            begins,
            ends,
            [
                MeasuredShape(
                    names[key][0], names[key][1], tally, _sample.decode(blob) if (blob := names[key][2]) else None
                )
                for key, tally in shapes.items()
            ],
            [(*named_tables[key], tally) for key, tally in tables.items()],
        )
        seconds = measured.seconds or 0.0
        measured.servers = [
            server_row(cluster, address, role, loads[key], seconds)
            for key, cluster, address, role in servers
            if key in loads
        ]
        return measured


def _seconds(start: int, step_s: int, begins: int, now: float) -> float:
    """How much of a step is in a window. What is written of a minute that is not over counts for all of it."""
    return max(1.0, min(start + step_s, now) - max(start, begins))


def _unserved(buckets: bytes) -> int:
    return _buckets.decode(buckets).get(UNSERVED, 0)


def _numbers(tally: Tally) -> Numbers:
    return (
        tally.count,
        tally.errors,
        tally.rows,
        tally.sent_bytes,
        tally.total_ns,
        tally.server_ns,
        tally.max_ns,
        _pack(tally.buckets),
    )


def _tally(numbers: Iterable[object]) -> Tally:
    tally = Tally()
    (
        tally.count,
        tally.errors,
        tally.rows,
        tally.sent_bytes,
        tally.total_ns,
        tally.server_ns,
        tally.max_ns,
        buckets,
    ) = numbers  # type: ignore[assignment]
    tally.buckets = _buckets.decode(buckets)  # type: ignore[arg-type]
    return tally
