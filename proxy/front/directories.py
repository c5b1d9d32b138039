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
_LOCK_WAIT_S = 1  # somebody who enters a key in a transaction keeps others waiting
_TRIES = 4  # of an INSERT that a deadlock ended
_LOCK_WAIT, _DEADLOCK = 1205, 1213
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
            reader.follow(sharding, found)
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
            found = self._homes[cluster, use] = Home(self._sequences, cluster, "a directory", _LOCK_WAIT_S)
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


@dataclass(slots=True)
class _Share:
    """Keys that one statement brings, to be entered with one cluster."""

    keys: list[bytes]
    cluster: str
    entered: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Reader:
    """One directory's `Source`."""

    def __init__(self, directories: Directories, sharding: Sharding, home: str) -> None:
        self.sharding = sharding
        self.table: DirectoryTable | None = None
        self._last: DirectoryTable | None = None  # by which the entries were read
        self.name = sharding.table.lower()
        self.directory = Directory(sharding.name, sharding.table, home, frozenset(sharding.clusters), self)
        self._directories = directories
        self._next: _Batch | None = None
        self._reading = False
        self._shares: list[_Share] = []
        self._entering = False
        self._upkeep = False

    def serves(self, sharding: Sharding, home: str, table: DirectoryTable | None) -> bool:
        """Is what is known here still of use under other rules or definitions?"""
        known = self.directory
        if known.table.lower() != sharding.table.lower() or known.home != home:
            return False
        if known.clusters != frozenset(sharding.clusters):
            return False
        return self._last is None or table is None or self._last == table

    def follow(self, sharding: Sharding, table: DirectoryTable | None) -> None:
        """Under other rules or definitions that it serves."""
        self.sharding, self.table = sharding, table
        self._last = table or self._last

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
        weights = self.sharding.weights
        share = _Share(list(keys), random.choices(list(weights), list(weights.values()))[0])
        self._shares.append(share)
        if not self._entering:
            self._entering = True
            self._directories.spawn(self._enter_all(), f"directory {self.name}")
        await asyncio.shield(share.entered)

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
                except TurnoutError as error:
                    batch.rows.set_exception(error)
                    batch.rows.exception()  # it may be that nobody waits any longer
                except BaseException:
                    _give_up(batch.rows)
                    raise
                else:
                    batch.rows.set_result(rows)
        finally:
            self._reading = False
            batch, self._next = self._next, None
            if batch is not None:
                _give_up(batch.rows)

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
        for attempt in range(3):
            measures.directory_batches += bool(keys)
            measures.directory_renewals += 1
            try:
                outcome = await self._home("look").run(sql)
            except ServerFailed as error:
                if error.errno not in MISSING or attempt:  # it may be the directory itself that is missing
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

    async def _enter_all(self) -> None:
        """The new keys of all statements that wait, together; one by one where that fails."""
        shares: list[_Share] = []
        try:
            while True:
                await asyncio.sleep(0)  # the other sessions of this turn
                shares, self._shares = self._shares, []
                if not shares:
                    return
                if len(shares) > 1:
                    try:
                        await self._enter(shares)
                        shares = []
                    except TurnoutError:
                        pass  # each is told what is the matter with its own
                for share in shares:
                    try:
                        await self._explained(self._enter([share]))
                    except TurnoutError as error:
                        share.entered.set_exception(error)
                        share.entered.exception()  # it may be that nobody waits any longer
        finally:
            self._entering = False
            for share in (*shares, *self._shares):
                _give_up(share.entered)
            self._shares = []

    async def _enter(self, shares: Sequence[_Share]) -> None:
        table = self._known_table()
        clusters: dict[bytes, str] = {}
        for share in shares:
            for key in share.keys:
                clusters.setdefault(key, share.cluster)
        rows = sorted(clusters.items())  # two that enter the same keys take their locks in one order
        for at in range(0, len(rows), _AT_ONCE):
            await self._insert(table.enter(rows[at : at + _AT_ONCE]))
        for share in shares:
            share.entered.set_result(None)

    async def _insert(self, sql: str) -> None:
        for left in reversed(range(_TRIES)):
            try:
                outcome = await self._home("enter").run(sql)
                self._directories.measures.directory_new_keys += outcome.matched
                return
            except ServerFailed as error:
                if error.errno == _LOCK_WAIT:
                    raise StatementRefused(
                        f"Somebody else is entering a key of this INSERT in {self.directory.table}, in a transaction "
                        "that is still open: it has to be committed first; try again then",
                        _LOCK_WAIT,
                        "HY000",
                        reason="directory-key-locked",
                    ) from None
                if error.errno != _DEADLOCK or not left:
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


def _give_up(future: asyncio.Future[T]) -> None:
    """Whoever waits for it is told, when what would have answered ends early."""
    if not future.done():
        future.set_exception(ServerFailed("The look-up in a directory was given up"))
        future.exception()


def advice(table: str) -> str:
    """What an operator has to do so that a directory can be used."""
    return (
        f"On home, GRANT SELECT, INSERT ON {table} and GRANT SELECT, INSERT, CREATE ON turnout.* to it; or, without "
        f"CREATE, make the table of epochs yourself: {'; '.join(CREATE)}."
    )


def literal(name: str) -> str:
    """A name as a string that means the same whatever sql_mode says."""
    return f"'{name}'" if _PLAIN.fullmatch(name) else f"_utf8mb4 x'{name.encode().hex()}'"
