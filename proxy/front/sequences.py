"""The ids of AUTO_INCREMENT columns of sharded tables: blocks of them, taken from a table on home by this worker.

`proxy.front.id_blocks` says which ids may be handed out and why no other worker has them; this file asks home. Every
statement to home is one of autocommit, on a connection of the service account that is kept; each may be repeated when
its answer is lost, which leaves a gap at worst. A block is taken before the last one is used up, so that an INSERT
rarely waits.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from parser.rewrite import quoted
from proxy.back.clusters import Clusters
from proxy.back.connection import ServerConnection
from proxy.back.decisions import open_service, service_account
from proxy.back.server import Server
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front.id_blocks import LEASE_S, VOID_AFTER_S, IdBlocks
from proxy.measure.states import SequenceState
from proxy.plan.id_column import SequenceOf
from proxy.rules.model import Rules
from proxy.stream.check import missing_grants
from proxy.wire import capability as cap

log = logging.getLogger("turnout.sequences")

TABLE = "turnout.sequences"
CREATE = (
    "CREATE DATABASE IF NOT EXISTS turnout",
    "CREATE TABLE IF NOT EXISTS turnout.sequences (name VARCHAR(140) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
    " PRIMARY KEY, next_id BIGINT UNSIGNED NOT NULL, handed_out BIGINT UNSIGNED NOT NULL,"
    " void_below BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
)
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "CREATE")
MISSING = frozenset({1146, 1049})
DENIED = frozenset({1142, 1143, 1044, 1045, 1227, 1370})
_ANSWER_S = 10.0
_SHOWN_S = 3.0  # for who only looks
_ASKED_AT_ONCE = 1000  # ids of one statement that are looked for on the shards
# What a server's global variables may say otherwise.
_SESSION = "SET SESSION autocommit = 1, sql_mode = 'STRICT_TRANS_TABLES', innodb_lock_wait_timeout = {lock_wait_s}"
_PLAIN = re.compile(r"[a-z0-9_$.]+")
_GREATEST = 2**64 - 1

Spawn = Callable[[Coroutine[object, object, None], str], object]
T = TypeVar("T")


class IdsVoided(TurnoutError):
    """Ids that were reserved for an INSERT were taken away before it was sent. 1205: try again."""

    errno = 1205
    sqlstate = "HY000"

    def __init__(self) -> None:
        super().__init__(
            "The ids reserved for this INSERT were given up while it waited, because an id was given explicitly that "
            "might have been one of them; try the statement again"
        )


@dataclass(slots=True)
class Run:
    """Ids that follow one another, reserved for one statement. `until`: as long they are certain to be valid."""

    sequence: IdSequence
    first: int
    count: int
    until: float

    async def confirm(self) -> None:
        """To be called right before the statement is sent. Raises IdsVoided, TurnoutError."""
        if time.monotonic() < self.until:
            return
        self.until = await self.sequence.renewed()
        if self.first < self.sequence.blocks.void_below:
            raise IdsVoided


class Sequences:
    """Those of one worker, over changes of rules."""

    def __init__(self, clusters: Clusters, rules: Rules, spawn: Spawn) -> None:
        self.clusters = clusters
        self.rules = rules
        self.spawn = spawn
        self._homes: dict[str, Home] = {}
        self._known: dict[tuple[str, str], IdSequence] = {}

    def of(self, of: SequenceOf) -> IdSequence:
        key = (of.home, of.name)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = IdSequence(self, of)
        found.of = of
        return found

    def home(self, cluster: str) -> Home:
        found = self._homes.get(cluster)
        if found is None:
            found = self._homes[cluster] = Home(self, cluster)
        return found

    async def prepare(self, homes: Collection[str]) -> None:
        """Make the table where sequences will be needed, if that is possible: whoever needs it is told why if not."""
        for cluster in homes:
            try:
                await self.home(cluster).make_table()
            except TurnoutError as error:
                log.warning("cannot make the table of sequences", extra={"cluster": cluster, "error": error.message})

    async def states(self) -> list[SequenceState]:
        """Those that home knows, and what this worker has of each."""
        homes = list(self._homes.values())
        return [state for states in await asyncio.gather(*map(self._states, homes)) for state in states]

    async def _states(self, home: Home) -> list[SequenceState]:
        own = {name: each.blocks for (cluster, name), each in self._known.items() if cluster == home.cluster}
        problem = ""
        next_ids: dict[str, int] = {}
        try:
            async with asyncio.timeout(_SHOWN_S):
                outcome = await home.run(f"SELECT name, next_id FROM {TABLE}")
            next_ids = {(row[0] or b"").decode(): int(row[1] or 0) for row in outcome.rows}
        except TimeoutError:
            problem = f"cluster {home.cluster} does not answer"
        except TurnoutError as error:
            problem = error.message
        names = sorted({*next_ids, *own}) or ([""] if problem else [])
        return [
            SequenceState(
                home.cluster,
                name,
                next_ids.get(name),
                own[name].left if name in own else 0,
                own[name].size if name in own else 0,
                problem,
            )
            for name in names
        ]

    def primary(self, cluster: str) -> Server:
        servers = self.clusters.by_name.get(cluster)
        if servers is None:
            raise StatementRefused(f"No cluster '{cluster}' in the rules", reason="unknown-cluster")
        return servers.primary

    async def connect(self, cluster: str, lock_wait_s: int = 5) -> ServerConnection:
        """A new connection of the service account. Raises TurnoutError."""
        connection = await open_service(self.primary(cluster), service_account(self.rules, cluster), cap.FOUND_ROWS)
        try:
            async with asyncio.timeout(_ANSWER_S):
                await connection.query(_SESSION.format(lock_wait_s=lock_wait_s))
        except BaseException:
            connection.abort(ServerFailed("The connection could not be prepared"))
            raise
        return connection

    def close(self) -> None:
        for home in self._homes.values():
            home.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """`sent`: just before the statement was; `matched`: rows that an UPDATE found."""

    sent: float
    rows: Sequence[Sequence[bytes | None]]
    matched: int
    insert_id: int


class Home:
    """A connection of the service account to one cluster, for statements that may be repeated. `about`: for errors."""

    def __init__(self, sequences: Sequences, cluster: str, about: str = "a sequence", lock_wait_s: int = 5) -> None:
        self._about = about
        self._lock_wait_s = lock_wait_s
        self.cluster = cluster
        self._sequences = sequences
        self._connection: ServerConnection | None = None
        self._server: Server | None = None
        self._lock = asyncio.Lock()

    async def run(self, sql: str) -> Outcome:
        """One statement, once more on a new connection if the one at hand was lost. Raises ServerFailed."""
        async with self._lock:
            for attempt in (0, 1):
                connection = await self._connected()
                sent = time.monotonic()
                try:
                    async with asyncio.timeout(_ANSWER_S):
                        rows = await connection.query(sql)
                except TimeoutError:
                    silent = f"cluster {self.cluster} did not answer about {self._about}"
                    connection.abort(ServerFailed(silent, 1159))
                    raise ServerFailed(silent, 1159) from None
                except ServerFailed:
                    if connection.aborted is None or attempt:
                        raise
                    continue
                scanner = connection.scanner
                return Outcome(sent, rows, scanner.affected_rows, scanner.insert_id)
        raise AssertionError("unreachable")

    async def make_table(self) -> None:
        """Raises ServerFailed where the account may not."""
        try:
            await self.run(f"SELECT COUNT(*) FROM {TABLE}")
        except ServerFailed as error:
            if error.errno not in MISSING:
                raise
            for sql in CREATE:
                await self.run(sql)

    async def missing(self) -> tuple[str, bool]:
        """What an operator has to do before ids can be made, and whether anything; "" if all is there, or it cannot be
        asked. Changes nothing."""
        try:
            await self.run(f"UPDATE {TABLE} SET next_id = next_id WHERE 1 = 0")
        except ServerFailed as error:
            if error.errno in MISSING:
                grants = [(row[0] or b"").decode("utf-8", "replace") for row in (await self.run("SHOW GRANTS")).rows]
                if missing_grants(grants, ("turnout",), (), PRIVILEGES):
                    return f"There is no table {TABLE} yet, and Turnout's account may not make it. {self._advice}", True
                return f"The table {TABLE} is not there yet: Turnout makes it when it starts.", False
            if error.errno in DENIED:
                return f"Turnout's account may not use the table {TABLE}. {self._advice}", True
        return "", False

    @property
    def _advice(self) -> str:
        return f"{self.grant} Or, without CREATE, make it yourself: {'; '.join(CREATE)};"

    @property
    def grant(self) -> str:
        """The statement that lets sequences be kept here."""
        account = service_account(self._sequences.rules, self.cluster)
        user = account.user if account is not None else ".."
        return f"GRANT {', '.join(PRIVILEGES)} ON turnout.* TO '{user}'@'%';"

    async def _connected(self) -> ServerConnection:
        connection, server = self._connection, self._sequences.primary(self.cluster)
        if connection is not None and (connection.aborted is not None or self._server is not server):
            connection.close()
            connection = None
        if connection is None:
            connection = self._connection = await self._sequences.connect(self.cluster, self._lock_wait_s)
            self._server = server
        server.check_up()
        return connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(slots=True)
class IdSequence:
    """One sequence, as this worker sees it."""

    sequences: Sequences
    of: SequenceOf
    blocks: IdBlocks = field(default_factory=IdBlocks)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # of what asks home
    _upkeep: bool = False

    async def take(self, count: int) -> Run:
        """Ids for one statement. Raises TurnoutError."""
        while True:
            run = self.take_now(count)
            if run is not None:
                return run
            async with self._lock:
                now = time.monotonic()
                if self.blocks.until > now and self.blocks.has(count):
                    continue  # somebody else has asked meanwhile
                await self._explained(self._renew() if self.blocks.has(count) else self._refill(count))

    def take_now(self, count: int) -> Run | None:
        """The same without asking home, if that is possible."""
        blocks, now = self.blocks, time.monotonic()
        until = blocks.until
        first = blocks.take(count, now)
        if first is None:
            return None
        if not self._upkeep and (blocks.low() or until - now < LEASE_S / 2):
            self._upkeep = True
            self.sequences.spawn(self._keep_up(), f"sequence {self.of.name}")
        return Run(self, first, count, until)

    async def admit(self, numbers: Collection[int]) -> None:
        """Wait until ids that a client gives itself are certain not to be handed out. Raises TurnoutError."""
        waiting = set(numbers)
        while True:
            now = time.monotonic()
            waiting = {number for number in waiting if not self.blocks.is_free(number, now)}
            if not waiting:
                return
            soon = {number: self.blocks.free_at(number) for number in waiting}
            ask = [number for number, at in soon.items() if at is None]
            if ask:
                async with self._lock:
                    waiting -= await self._explained(self._admitted(ask))
            else:
                await asyncio.sleep(max(at for at in soon.values() if at is not None) - now + 0.001)

    async def renewed(self) -> float:
        """Ask home which blocks are valid; returns until when what it said holds. Raises TurnoutError."""
        async with self._lock:
            return await self._explained(self._renew())

    async def move_past(self, source: SequenceOf) -> None:
        """Rows of the table `source` are about to be this one's (RENAME), or its counter was set (AUTO_INCREMENT = n):
        give out no id below what that table's rows and counters say, and take all blocks away from all workers. Returns
        when no id that was reserved before can come any more. Raises TurnoutError."""
        async with self._lock:
            if await self._explained(self._moved_past(source)):
                await asyncio.sleep(VOID_AFTER_S)

    # -- asking home, one at a time ----------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        try:
            async with self._lock:
                if self.blocks.low():
                    await self._refill(0)
                elif self.blocks.until - time.monotonic() < LEASE_S / 2:
                    await self._renew()
        except TurnoutError as error:  # whoever needs an id will be told
            log.warning("cannot take ids", extra={"sequence": self.of.name, "error": error.message})
        finally:
            self._upkeep = False

    async def _renew(self) -> float:
        return (await self._state())[2] + LEASE_S

    async def _state(self) -> tuple[int, int, float]:
        """(where the next block begins, where the last block of any worker ended, when home was asked)."""
        outcome = await self._run(f"SELECT next_id, handed_out, void_below FROM {TABLE} WHERE {self._where}")
        if not outcome.rows:
            await self._begin()
            return await self._state()
        next_id, handed_out, void_below = (int(cell or 0) for cell in outcome.rows[0])
        self.blocks.seen(next_id, void_below, outcome.sent, time.monotonic())
        return next_id, handed_out, outcome.sent

    async def _refill(self, count: int) -> None:
        wanted = self.blocks.wanted(count, time.monotonic())
        while True:
            known = self.blocks.highest
            outcome = await self._run(
                f"UPDATE {TABLE} SET next_id = LAST_INSERT_ID(next_id) + {wanted}, handed_out = next_id"
                f" WHERE {self._where}"
            )
            if not outcome.matched:
                await self._begin()
            elif outcome.insert_id < known:
                await self._move_on(known)
            else:
                self.blocks.add(outcome.insert_id, wanted, outcome.sent)
                return

    async def _move_on(self, to: int) -> None:
        """Home has lost something: a failover to a replica that was behind, or an older copy of the table."""
        log.error("a sequence had gone back and is moved on", extra={"sequence": self.of.name, "to": to})
        await self._run(f"UPDATE {TABLE} SET next_id = GREATEST(next_id, {to}) WHERE {self._where}")

    async def _admitted(self, numbers: Sequence[int]) -> set[int]:
        """Those of the numbers that are certain not to be handed out, once this has been asked and said."""
        top = max(numbers)
        before = _GREATEST
        if top >= self.blocks.highest:
            beyond = min(top + 1, _GREATEST)
            outcome = await self._run(
                f"UPDATE {TABLE} SET next_id = GREATEST(LAST_INSERT_ID(next_id), {beyond}) WHERE {self._where}"
            )
            if not outcome.matched:
                await self._begin()
                return set()
            before = outcome.insert_id
            if min(numbers) >= before:
                self.blocks.highest = max(self.blocks.highest, beyond)
                return set(numbers)
        next_id, handed_out, _ = await self._state()
        if next_id <= top:  # home has lost something
            await self._move_on(max(self.blocks.highest, top + 1))
            return set()
        fine = {number for number in numbers if number >= min(before, handed_out)}
        rest = {number for number in numbers if number not in fine}
        fine.update(number for number in rest if self.blocks.give_up(number))
        fine.update(await self._existing(rest - fine))
        now = time.monotonic()
        if any(self.blocks.free_at(n) is None and not self.blocks.is_free(n, now) for n in rest - fine):
            outcome = await self._run(f"UPDATE {TABLE} SET void_below = LAST_INSERT_ID(next_id) WHERE {self._where}")
            self.blocks.seen(outcome.insert_id, outcome.insert_id, outcome.sent, time.monotonic())
        return fine

    async def _existing(self, numbers: Collection[int]) -> set[int]:
        """Those that rows have: they were handed out or admitted before (REPLACE and the like of rows by their ids)."""
        found: set[int] = set()
        if not 0 < len(numbers) <= _ASKED_AT_ONCE:
            return found
        of = self.of
        column, among = quoted(of.column), ", ".join(map(str, sorted(numbers)))
        sql = f"SELECT {column} FROM {quoted(of.database, of.table)} WHERE {column} IN ({among})"
        for cluster in of.clusters:
            try:
                outcome = await self.sequences.home(cluster).run(sql)
            except TurnoutError:
                continue  # not knowing costs a wait
            found.update(int(row[0] or 0) for row in outcome.rows)
        return found

    async def _begin(self) -> None:
        """Home does not know the sequence: it begins above every id that any shard has, or has used."""
        starts = await asyncio.gather(*(self._start_on(self.of, cluster) for cluster in self.of.clusters))
        start = max([1, self.blocks.highest, *starts])
        await self._run(
            f"INSERT IGNORE INTO {TABLE} (name, next_id, handed_out, void_below)"
            f" VALUES ({_literal(self.of.name)}, {start}, {start}, {start})"
        )

    async def _moved_past(self, source: SequenceOf) -> bool:
        """False where home does not know this sequence yet: it will begin above its rows."""
        starts = await asyncio.gather(*(self._start_on(source, cluster) for cluster in source.clusters))
        known = await self._run(f"SELECT next_id FROM {TABLE} WHERE name = {_literal(source.name)}")
        start = max([1, *starts, *(int(row[0] or 0) for row in known.rows)])
        outcome = await self._run(
            f"UPDATE {TABLE} SET next_id = GREATEST(next_id, {start}), void_below = next_id WHERE {self._where}"
        )
        if outcome.matched:
            await self._state()
        return bool(outcome.matched)

    async def _start_on(self, of: SequenceOf, cluster: str) -> int:
        """Where ids of one shard may begin. Raises ServerFailed."""
        try:
            connection = await self.sequences.connect(cluster)
            try:
                async with asyncio.timeout(_ANSWER_S):
                    if "MariaDB" not in connection.server_version:  # which keeps no statistics of this for a day
                        await connection.query("SET SESSION information_schema_stats_expiry = 0")
                    table = quoted(of.database, of.table)
                    greatest = await connection.query(f"SELECT MAX({quoted(of.column)}) FROM {table}")
                    counter = await connection.query(
                        "SELECT AUTO_INCREMENT FROM information_schema.TABLES"
                        f" WHERE TABLE_SCHEMA = {_literal(of.database)} AND TABLE_NAME = {_literal(of.table)}"
                    )
            finally:
                connection.close()
        except (TimeoutError, ServerFailed) as error:
            why = error.message if isinstance(error, ServerFailed) else "no answer"
            number, state = (error.errno, error.sqlstate) if isinstance(error, ServerFailed) else (1159, "08S01")
            raise ServerFailed(
                f"The sequence of {of.database}.{of.table}.{of.column} is to begin above the ids of all shards, and "
                f"cluster {cluster} could not be asked: {why}. Try again when it can",
                number,
                state,
            ) from error
        return max(int((rows[0][0] if rows else None) or 0) + more for rows, more in ((greatest, 1), (counter, 0)))

    async def _run(self, sql: str) -> Outcome:
        home = self.sequences.home(self.of.home)
        try:
            return await home.run(sql)
        except ServerFailed as error:
            if error.errno not in MISSING:
                raise
        await home.make_table()
        return await home.run(sql)

    async def _explained(self, work: Coroutine[object, object, T]) -> T:
        """`work`, with the refusal that says what to grant where the service account may not do it."""
        try:
            return await work
        except ServerFailed as error:
            if error.errno not in DENIED:
                raise
            why = error.message
        home = self.sequences.home(self.of.home)
        raise self.of.unavailable(why, f"On cluster {home.cluster}: {home.grant}")

    @property
    def _where(self) -> str:
        return f"name = {_literal(self.of.name)}"


def _literal(name: str) -> str:
    """A name as a string that means the same whatever sql_mode says."""
    return f"'{name}'" if _PLAIN.fullmatch(name) else f"_utf8mb4 0x{name.encode().hex()}"
