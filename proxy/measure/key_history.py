"""Where the history keeps what is known of keys: sketches by hour, for five weeks, and by day, for 400 days.

Both are added to as minutes are written. Bounded: MAX_KEYS candidate keys, those with the most statements, and
MAX_TOGETHER sets of tables in each; a sketch takes 0.3 to 1.5 KB, so 80 MB at the very most, a few MB in practice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from proxy.measure.key_book import Candidate
from proxy.measure.key_sketch import KeySketch
from proxy.measure.spans import DAY, HOUR

KEY_SCHEMA = """
CREATE TABLE keys (key INTEGER PRIMARY KEY, name TEXT NOT NULL, columns BLOB NOT NULL, UNIQUE (name, columns));
CREATE TABLE key_times (
  span INTEGER, start INTEGER, key INTEGER, statements INTEGER NOT NULL, sketch BLOB NOT NULL,
  PRIMARY KEY (span, start, key)) WITHOUT ROWID;
CREATE TABLE together_times (
  span INTEGER, start INTEGER, tables BLOB, count INTEGER NOT NULL, PRIMARY KEY (span, start, tables)) WITHOUT ROWID;
"""
KEPT_S = {HOUR: 35 * DAY, DAY: 400 * DAY}
MAX_KEYS = 60
MAX_TOGETHER = 200
_pack = msgspec.msgpack.encode
_names = msgspec.msgpack.Decoder(tuple[str, ...])


@dataclass(slots=True)
class KeysRead:
    """What is known of keys in a window of time."""

    keys: dict[Candidate, KeySketch] = field(default_factory=dict)
    together: dict[tuple[str, ...], int] = field(default_factory=dict)  # transactions by the tables they touched


class KeyTimes:
    """The rows about keys in an open history."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def write(self, minute: int, keys: Mapping[Candidate, KeySketch], together: Mapping[tuple[str, ...], int]) -> None:
        """Add what a minute brought, inside of the transaction that writes it."""
        numbers = {self._number(candidate): sketch for candidate, sketch in keys.items()}
        for span, kept_s in KEPT_S.items():
            start = minute - minute % span
            for key, sketch in numbers.items():
                self._add_sketch(span, start, key, sketch)
            self._db.executemany(
                "INSERT INTO together_times VALUES (?, ?, ?, ?) "
                "ON CONFLICT (span, start, tables) DO UPDATE SET count = count + excluded.count",
                [(span, start, _pack(tables), n) for tables, n in together.items()],
            )
            for name, column, order, limit in (
                ("key_times", "key", "statements", MAX_KEYS),
                ("together_times", "tables", "count", MAX_TOGETHER),
            ):
                self._db.execute(
                    f"DELETE FROM {name} WHERE span = ? AND start = ? AND {column} IN (SELECT {column} FROM {name} "
                    f"WHERE span = ? AND start = ? ORDER BY {order} DESC, {column} LIMIT -1 OFFSET ?)",
                    (span, start, span, start, limit),
                )
                if minute % HOUR == 0:
                    self._db.execute(f"DELETE FROM {name} WHERE span = ? AND start < ?", (span, start - kept_s))
        if minute % HOUR == 0:
            self._db.execute("DELETE FROM keys WHERE key NOT IN (SELECT key FROM key_times)")

    def _number(self, candidate: Candidate) -> int:
        table, columns = candidate
        words = (table, _pack(columns))
        found = self._db.execute("SELECT key FROM keys WHERE name = ? AND columns = ?", words).fetchone()
        if found is not None:
            return int(found[0])
        made = self._db.execute("INSERT INTO keys (name, columns) VALUES (?, ?)", words).lastrowid
        assert made is not None
        return made

    def _add_sketch(self, span: int, start: int, key: int, more: KeySketch) -> None:
        sketch = more
        found = self._db.execute(
            "SELECT sketch FROM key_times WHERE span = ? AND start = ? AND key = ?", (span, start, key)
        ).fetchone()
        if found is not None:
            sketch = KeySketch.decode(found[0])
            sketch.add(more)
        self._db.execute(
            "INSERT OR REPLACE INTO key_times VALUES (?, ?, ?, ?, ?)",
            (span, start, key, sketch.reads + sketch.writes, sketch.encode()),
        )

    def read(self, since: float | None, until: float | None) -> KeysRead:
        """The sums of a window: of its hours, or of its days where it begins before the hours do."""
        (oldest,) = self._db.execute("SELECT MIN(start) FROM key_times WHERE span = ?", (HOUR,)).fetchone()
        span = HOUR if since is not None and oldest is not None and oldest <= since + HOUR else DAY
        begin = 0 if since is None else since - since % span
        where = (span, begin, until if until is not None else 1 << 62)
        found = KeysRead()
        for name, columns, blob in self._db.execute(
            "SELECT name, columns, sketch FROM key_times JOIN keys USING (key) "
            "WHERE span = ? AND start >= ? AND start < ? ORDER BY start",
            where,
        ):
            candidate = (name, _names.decode(columns))
            found.keys.setdefault(candidate, KeySketch()).add(KeySketch.decode(blob))
        for tables, n in self._db.execute(
            "SELECT tables, count FROM together_times WHERE span = ? AND start >= ? AND start < ?", where
        ):
            names = _names.decode(tables)
            found.together[names] = found.together.get(names, 0) + n
        return found
