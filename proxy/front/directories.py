"""Asking home where the keys of directory shardings are, and entering new ones.

What may be used and for how long is `proxy.back.directory`'s business; here it is read. Look-ups that come in one turn
of the event loop, or while an earlier one is under way, become one statement, in which every key is once. A look-up
that has been sent is not joined: what it says of a key that is not there may be older than the statement that asks.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from proxy.back.catalog import Catalog
from proxy.back.directory import CREATE, TABLE, Directory
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front.sequences import DENIED, MISSING, Home, Outcome, Sequences, Spawn
from proxy.measure.measures import Measures
from proxy.plan.directory_table import DirectoryTable, directory_table
from proxy.rules.model import Rules, Sharding

log = logging.getLogger("turnout.directories")

_AT_ONCE = 1000  # keys of one statement
_ENTER_TRIES = 4  # of an INSERT that a lock kept waiting, or a deadlock ended
_RETRY = frozenset({1205, 1213})
_PLAIN = re.compile(r"[A-Za-z0-9_$.]+")
T = TypeVar("T")


class Directories:
    """Those of one worker, over changes of rules."""

    def __init__(self, sequences: Sequences, spawn: Spawn, measures: Measures) -> None:
        self.spawn = spawn
        self.measures = measures
        self._sequences = sequences
        self._readers: dict[str, Reader] = {}
        self._homes: dict[tuple[str, str], Home] = {}

    def apply(self, rules: Rules, catalog: Catalog) -> Catalog:
        """The catalog with the directories of these rules. What is known stays known where nothing has changed."""
        readers = {}
        for sharding in rules.directories.values():
            home = rules.home(sharding.table.partition(".")[0])
            table = directory_table(sharding, rules, catalog)
            found = table if isinstance(table, DirectoryTable) else None
            reader = self._readers.get(sharding.name)
            if reader is None or not reader.serves(sharding, home, found):
                reader = Reader(self, sharding, home)
            reader.sharding, reader.table = sharding, found
            readers[sharding.name] = reader
        self._readers = readers
        return replace(catalog, directories={name: reader.directory for name, reader in readers.items()})

    async def prepare(self) -> None:
        """Make the table of epochs, and read it, before it is needed: whoever needs it is told if that fails."""
        for reader in list(self._readers.values()):
            if reader.table is not None and reader.directory.epoch is None:
                try:
                    await reader.look_up(())
                except TurnoutError as error:
                    log.warning("cannot read a directory", extra={"table": reader.name, "error": error.message})

    def count(self) -> None:
        self.measures.directory_entries = sum(len(reader.directory) for reader in self._readers.values())

    def home(self, cluster: str, use: str) -> Home:
        """Look-ups and INSERTs go by connections of their own: a lock must not keep look-ups waiting."""
        found = self._homes.get((cluster, use))
        if found is None:
            found = self._homes[cluster, use] = Home(self._sequences, cluster, "a directory")
        return found

    def close(self) -> None:
        for home in self._homes.values():
            home.close()


@dataclass(slots=True)
class _Batch:
    """Keys that the next statement asks for. `rows`: what it said."""

    keys: set[bytes] = field(default_factory=set)
    rows: asyncio.Future[Mapping[bytes, str]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Reader:
    """One directory's `Source`."""

    def __init__(self, directories: Directories, sharding: Sharding, home: str) -> None:
        self.sharding = sharding
        self.table: DirectoryTable | None = None
        self.name = sharding.table.lower()
        self.directory = Directory(sharding.name, sharding.table, home, frozenset(sharding.clusters), self)
        self._directories = directories
        self._next: _Batch | None = None
        self._reading = False
        self._upkeep = False

    def serves(self, sharding: Sharding, home: str, table: DirectoryTable | None) -> bool:
        """Is what is known here still of use under other rules or definitions?"""
        known = self.directory
        if known.table.lower() != sharding.table.lower() or known.home != home:
            return False
        if known.clusters != frozenset(sharding.clusters):
            return False
        return self.table is None or table is None or self.table == table

    # -- Source

    def keep_up(self) -> None:
        if not self._upkeep:
            self._upkeep = True
            self._directories.spawn(self._keep_up(), f"directory {self.name}")

    async def look_up(self, keys: Collection[bytes]) -> Mapping[bytes, str]:
        batch = self._next
        if batch is None:
            batch = self._next = _Batch()
        batch.keys.update(keys)
        if not self._reading:
            self._reading = True
            self._directories.spawn(self._read_all(), f"directory {self.name}")
        return await asyncio.shield(batch.rows)

    async def enter(self, keys: Collection[bytes]) -> None:
        table = self._known_table()
        weights = self.sharding.weights
        cluster = random.choices(list(weights), list(weights.values()))[0]
        texts = sorted(keys)  # two that enter the same keys take their locks in one order
        for at in range(0, len(texts), _AT_ONCE):
            await self._explained(self._enter(table.enter(texts[at : at + _AT_ONCE], cluster)))
        self._directories.measures.directory_new_keys += len(texts)

    # -- asking home

    async def _keep_up(self) -> None:
        try:
            await self.look_up(())
        except TurnoutError as error:  # whoever needs the directory will be told
            log.warning("cannot read a directory", extra={"table": self.name, "error": error.message})
        finally:
            self._upkeep = False

    async def _read_all(self) -> None:
        try:
            while True:
                await asyncio.sleep(0)  # the other sessions of this turn
                batch, self._next = self._next, None
                if batch is None:
                    return
                try:
                    rows = await self._explained(self._read(sorted(batch.keys)))
                except BaseException as error:
                    batch.rows.set_exception(error if isinstance(error, Exception) else ServerFailed("given up"))
                    batch.rows.exception()  # it may be that nobody waits any longer
                    if not isinstance(error, TurnoutError):
                        raise
                else:
                    batch.rows.set_result(rows)
        finally:
            self._reading = False
            if self._next is not None:
                self._next.rows.cancel()
                self._next = None

    async def _read(self, keys: Sequence[bytes]) -> Mapping[bytes, str]:
        table = self._known_table()
        measures = self._directories.measures
        measures.directory_lookups += len(keys)
        rows: dict[bytes, str] = {}
        for at in range(0, max(len(keys), 1), _AT_ONCE):
            some = list(keys[at : at + _AT_ONCE])
            outcome = await self._look(table, some)
            rows |= await self._understood(table, some, outcome)
            for key in some:
                cluster = rows.get(key)
                if cluster in self.directory.clusters:
                    self.directory.add(key, cluster)
        return rows

    async def _look(self, table: DirectoryTable, keys: list[bytes]) -> Outcome:
        """One look at home, which also renews the lease."""
        measures = self._directories.measures
        sql = table.look(literal(self.name), TABLE, keys)
        for _ in range(3):
            measures.directory_batches += bool(keys)
            measures.directory_renewals += 1
            try:
                outcome = await self._home("look").run(sql)
            except ServerFailed as error:
                if error.errno not in MISSING:
                    raise
                for text in CREATE:
                    await self._home("enter").run(text)
                continue
            state = [row for row in outcome.rows if row[2] is not None]
            if state:
                self.directory.seen(int(state[0][2] or 0), bool(int(state[0][3] or 0)), outcome.sent)
                return outcome
            await self._home("enter").run(f"INSERT IGNORE INTO {TABLE} (name) VALUES ({literal(self.name)})")
        raise ServerFailed(f"{TABLE} on cluster {self.directory.home} loses its row of {self.name}", 1105, "HY000")

    async def _understood(self, table: DirectoryTable, keys: list[bytes], outcome: Outcome) -> dict[bytes, str]:
        """The clusters by key. A row whose key has no normal form may still be equal to one that was asked for."""
        asked, found, odd = set(keys), dict[bytes, str](), False
        for cell, cluster, epoch, _ in outcome.rows:
            if epoch is not None:
                continue
            text = table.text(cell or b"")
            if text is None or text not in asked:
                odd = True
                continue
            if text in found:
                raise self._twice(text)
            found[text] = (cluster or b"").decode("utf-8", "replace")
        for text in keys if odd else ():
            if text not in found:
                rows = (await self._home("look").run(table.look_at(text))).rows
                if len(rows) > 1:
                    raise self._twice(text)
                if rows:
                    found[text] = (rows[0][0] or b"").decode("utf-8", "replace")
        return found

    async def _enter(self, sql: str) -> None:
        for left in reversed(range(_ENTER_TRIES)):
            try:
                await self._home("enter").run(sql)
                return
            except ServerFailed as error:
                if error.errno not in _RETRY or not left:
                    raise
                await asyncio.sleep(random.uniform(0, 0.02))

    def _home(self, use: str) -> Home:
        return self._directories.home(self.directory.home, use)

    def _known_table(self) -> DirectoryTable:
        if self.table is None:
            raise ServerFailed(
                f"{self.directory.table}, which says where the rows of this sharding are, is not known yet on cluster "
                f"{self.directory.home}",
                1429,
                "HY000",
            )
        return self.table

    def _twice(self, text: bytes) -> StatementRefused:
        return StatementRefused(
            f"The key {text.decode('utf-8', 'replace')} is in {self.directory.table} more than once",
            1105,
            "HY000",
            reason="directory-key-twice",
        )

    async def _explained(self, work: Coroutine[object, object, T]) -> T:
        """`work`, with errors that say what could not be known, and what to grant."""
        try:
            return await work
        except ServerFailed as error:
            where = f"cluster {self.directory.home}"
            if error.errno in DENIED:
                raise StatementRefused(
                    f"Turnout's account may not do on {where} what the directory {self.directory.table} takes: "
                    f"{error.message}. {advice(self.directory.table)}",
                    1105,
                    "HY000",
                    reason="directory-denied",
                ) from None
            raise ServerFailed(
                f"Where the rows of this statement are has to be looked up in {self.directory.table}, and {where} "
                f"cannot be asked: {error.message}",
                error.errno,
                error.sqlstate,
            ) from error


def advice(table: str) -> str:
    """What an operator has to do so that a directory can be used."""
    return (
        f"On home, GRANT SELECT, INSERT ON {table} and GRANT SELECT, INSERT, CREATE ON turnout.* to it; or, without "
        f"CREATE, make the table of epochs yourself: {'; '.join(CREATE)}."
    )


def literal(name: str) -> str:
    """A name as a string that means the same whatever sql_mode says."""
    return f"'{name}'" if _PLAIN.fullmatch(name) else f"_utf8mb4 x'{name.encode().hex()}'"
