"""The clusters of the keys of one directory sharding, as far as one worker knows them. Pure.

The table of the rules has them all, on home: (key, cluster), unique by key. What a worker has read there it may use
only under a lease, which `turnout.directories` on home keeps coherent: one row a directory, with an `epoch` that rises
in the transaction of every change to a row that exists, and `held`, how many such changes are under way.

- A look at home reads epoch and rows in one statement. Until LEASE_S after it was *sent*, what this worker knows may be
  used. If the epoch has changed, everything known is forgotten first.
- Whoever changes where a key is first takes its cluster away and raises the epoch; then lets LAPSE_S pass. From then on
  no worker sends a statement for the key: what was known was under a lease that has run out, and a look at home says
  that the key is held. Now its rows can be copied, and then the new cluster is entered, and the epoch raised again.
- That a key is not there is never remembered: the statement at hand may take it so, since it began before the look.
  A key that is new needs no epoch, therefore.
- While changes are under way (`held`), statements over several shards wait: they would see the rows twice, or never.
- Inside a transaction, a cluster may show rows as they were when the transaction came to it. It must not be asked for
  keys of a directory that has changed since (`changed_ns`): they may have been copied there later.

docs/ARCHITECTURE.md has the argument in full; tests/directory looks for the hole in it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from proxy.errors import StatementRefused

LEASE_S = 2.0
# What an operator lets pass between taking a cluster away and copying: clocks of hosts do not run at quite the same
# speed, and a statement that was sent under the last lease has to arrive.
LAPSE_S = 5.0
_RENEW_S = LEASE_S / 2  # left of the lease when a look at home is due, if the directory is in use
MAX_ENTRIES = 400_000  # about 64 MB
_now = time.monotonic

TABLE = "turnout.directories"
CREATE = (
    "CREATE DATABASE IF NOT EXISTS turnout",
    f"CREATE TABLE IF NOT EXISTS {TABLE} (name VARCHAR(140) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
    " PRIMARY KEY, epoch BIGINT UNSIGNED NOT NULL DEFAULT 0, held INT UNSIGNED NOT NULL DEFAULT 0) ENGINE=InnoDB",
)


class KeysUnknown(StatementRefused):
    """The shards of some keys have to be looked up before the statement can be routed. `new`: it is an INSERT of them,
    so that those which have none are given one."""

    def __init__(self, directory: Directory, keys: Collection[bytes], new: bool = False) -> None:
        super().__init__(
            f"The shards of this statement's keys have to be looked up in {directory.table}, which Turnout cannot do "
            "for this kind of statement; use one statement per key",
            reason="directory-lookup",
        )
        self.directory = directory
        self.keys = set(keys)
        self.new = new

    def with_keys_of(self, other: KeysUnknown | None) -> KeysUnknown:
        """Both as one, if they are of one directory; else this alone, and the other is met again."""
        if other is not None and other.directory is self.directory:
            self.keys |= other.keys
        return self


class Source(Protocol):
    """What asks home for a directory's keys, and tells the `Directory`. Raises TurnoutError."""

    def keep_up(self) -> None:
        """A look at home is due; it need not be waited for."""

    async def look_up(self, keys: Collection[bytes]) -> Mapping[bytes, str]:
        """What the table has for these keys: no entry where it has none, "" where a key is held."""

    async def enter(self, keys: Collection[bytes]) -> None:
        """Give keys a cluster that have none. Somebody else may do so at the same time: look them up afterwards."""


@dataclass(slots=True, eq=False)
class Directory:
    """See the module. Times are monotonic seconds of this process, or nanoseconds as they are named."""

    sharding: str
    table: str  # database.table, for people
    home: str
    clusters: frozenset[str]
    source: Source | None = None  # what asks home; None: nothing can
    until: float = 0.0  # of the lease
    epoch: int | None = None
    held: bool = False
    version: int = 0  # other numbers, other entries
    changed_ns: int = 0  # when this worker has last noticed that entries may have changed (perf_counter_ns)
    _recent: dict[bytes, str] = field(default_factory=dict)
    _older: dict[bytes, str] = field(default_factory=dict)
    _absent: Collection[bytes] = ()

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def find(self, key: bytes) -> str | None:
        """The cluster of a key; None where it has none (see `taken_as_absent`). Raises KeysUnknown."""
        left = self.until - _now()
        if left > 0:
            if left < _RENEW_S:
                if self.source is not None:
                    self.source.keep_up()
            found = self._recent.get(key)
            if found is None:
                found = self._older.pop(key, None)
                if found is not None:
                    self._keep(key, found)
            if found is not None:
                return found
            if key in self._absent:
                return None
        raise KeysUnknown(self, (key,))

    def unknown(self, keys: Iterable[bytes]) -> set[bytes]:
        """Those for which `find` would raise KeysUnknown."""
        valid = self.valid
        return {key for key in keys if not valid or (key not in self._recent and key not in self._older)}

    @property
    def valid(self) -> bool:
        return self.until > _now()

    def seen(self, epoch: int, held: bool, sent: float) -> None:
        """What home said to a statement that was sent at `sent`."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.version += 1
            self.changed_ns = time.perf_counter_ns()
            self._recent.clear()
            self._older.clear()
        self.held = held
        self.until = max(self.until, sent + LEASE_S)

    def add(self, key: bytes, cluster: str) -> None:
        """A row of the look that `seen` was told of."""
        self._older.pop(key, None)
        self._keep(key, cluster)

    def forget(self) -> None:
        """Everything is to be read anew."""
        self.until = 0.0
        self.epoch = None

    @contextmanager
    def taken_as_absent(self, keys: Collection[bytes]) -> Iterator[None]:
        """A statement that began before a look is routed by it: these keys were not there. Nothing may be awaited."""
        self._absent = keys
        try:
            yield
        finally:
            self._absent = ()

    def _keep(self, key: bytes, cluster: str) -> None:
        if len(self._recent) >= MAX_ENTRIES // 2:
            self._older, self._recent = self._recent, {}
        self._recent[key] = cluster
