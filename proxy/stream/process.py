"""Following one cluster's binary log, in a process of its own: from the server's events to the clocks.

Whatever goes wrong, the clock is stopped first: values are then neither served nor stamped. After it, what can be
resumed is (the same log, from A on); otherwise a new incarnation begins at the log's end, and what was cached is
worthless. It is so too when the server was restarted: a crash may have lost what a value has.

The definitions of the cached tables are read at the start and after every statement that may have changed them; rows
that were logged before the reading are not taken apart, since they may be of another definition (`Tracker.adopt`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass

from proxy.back.catalog import EMPTY, Catalog
from proxy.back.catalog_loader import build, merge, queries
from proxy.back.clusters import tls_context
from proxy.back.connection import ServerConnection
from proxy.back.server import Role, Server
from proxy.cache.clocks import ORDERED, SETTLES_NS, SourceClock, new_incarnation
from proxy.errors import ProtocolError, ServerFailed, TurnoutError
from proxy.measure.measures import ServerStats
from proxy.rules.model import Rules
from proxy.stream import events as ev
from proxy.stream.check import check
from proxy.stream.probe import probe_for
from proxy.stream.source import (
    OFFSET_BITS,
    Follower,
    LogGone,
    Place,
    StreamConnection,
    connect,
    current_end,
    has_log,
    identity,
    log_id,
    own_server_id,
    prepare,
)
from proxy.stream.tracker import Tracker, changed_tables
from proxy.stream.wanted import Wanted, fingerprint, wanted
from proxy.wire.login import Secret

log = logging.getLogger("turnout.stream")

PROBE_S = 0.05
_CHECK_S = 5.0
_SETTLE_S = 0.02  # DDL comes in bursts
_MARK_S = 0.02
_STALL_NS = 2_000_000_000  # older probes are behind what the server had sent when it said that it had nothing to send
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_WORKED_S = 0.5  # an attempt that followed for longer was no failure to begin with: the next one comes soon
_NOTHING = Wanted({}, {})


@dataclass(slots=True)
class Progress:
    """What the process has done, for whoever watches it. Counters only go up."""

    state: str = "starting"  # starting, following, stopped
    reason: str = ""
    connected: int = 0
    events: int = 0
    rows: int = 0
    transactions: int = 0
    unknown: int = 0
    incarnations: int = 0


class StreamProcess:
    """One source. `run` never returns by itself."""

    def __init__(self, rules: Rules, cluster: str, clock: SourceClock) -> None:
        self.rules = rules
        self.cluster = cluster
        self.clock = clock
        self.progress = Progress()
        entry = rules.clusters[cluster]
        account = entry.service or rules.service
        assert account is not None, "the loader refuses rules without a service account"
        self._user = account.user
        self._secret = Secret.of_password(account.password.encode())
        self._server = Server(
            cluster,
            Role.PRIMARY,
            entry.primary,
            10,
            None,  # each attempt reads the files of `tls`
            rules.pool,
            rules.health,
            _spawn,
            ServerStats(cluster, str(entry.primary), "primary"),
            proxy_header=entry.proxy_protocol,
        )
        self._fresh = False  # the next attempt begins a new incarnation
        self._followed_from: float | None = None  # when this attempt had come so far

    async def run(self) -> None:
        """Follow for ever, through whatever happens to the server."""
        pause_s = _FIRST_PAUSE_S
        while True:
            self._followed_from = None
            try:
                await self._follow()
            except (LogGone, ProtocolError) as error:
                self._fresh = True  # what is not understood would come again: it is left out
                self._failed(error.message)
            except TurnoutError as error:
                self._failed(error.message)
            except OSError as error:
                self._failed(error.strerror or str(error))
            since = self._followed_from
            if since is not None and time.monotonic() - since > _WORKED_S:
                pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _failed(self, reason: str) -> None:
        self.clock.stop(reason)
        if self.progress.reason != reason:
            log.warning(
                "not following: nothing of this cluster is served from the cache",
                extra={"cluster": self.cluster, "reason": reason},
            )
        self.progress.state, self.progress.reason = "stopped", reason

    async def _follow(self) -> None:
        """One connection's life. Raises TurnoutError or OSError."""
        connections: list[ServerConnection] = []
        entry = self.rules.clusters[self.cluster]
        self._server.tls = tls_context(entry.tls, entry.primary) if entry.tls is not None else None

        async def opened() -> StreamConnection:
            connection = await connect(self._server, self._user, self._secret)
            connections.append(connection)
            return connection

        tasks: list[asyncio.Task[None]] = []
        try:
            dump, asking, probing = await opened(), await opened(), await opened()
            await check(asking, self._user, {table.database for table in self.rules.cached_tables})
            known = await identity(dump)
            if await identity(asking) != known or await identity(probing) != known:
                raise ServerFailed(f"{self._server.where}: two connections led to two servers; trying again")
            checksums = await prepare(dump, known)
            end = await current_end(asking, known.mariadb)
            place, resuming = await self._starting_place(asking, end)
            attempt = _Attempt(self, asking, place, resuming, known.mariadb)
            await attempt.read_definitions()
            await attempt.read_domain()
            start = attempt.probe.start(place)
            dump.dump(start, own_server_id())
            self.progress.connected += 1
            tasks = [
                asyncio.create_task(attempt.events(Follower(dump, start, checksums)), name="events"),
                asyncio.create_task(attempt.probes(probing), name="probes"),
                asyncio.create_task(attempt.definitions(), name="definitions"),
                asyncio.create_task(self._check_again(asking), name="check"),
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            self.clock.stop("the connection ended")
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for connection in connections:
                connection.abort(ServerFailed("the stream was ended"))

    async def _check_again(self, asking: ServerConnection) -> None:
        """What was so at the start may be changed while the server runs, and says nothing in its log."""
        databases = {table.database for table in self.rules.cached_tables}
        while True:
            await asyncio.sleep(_CHECK_S)
            await check(asking, self._user, databases)

    async def _starting_place(self, asking: ServerConnection, end: Place) -> tuple[Place, bool]:
        """Where to go on: after what is applied, if the log still has it, else at its end with a new incarnation."""
        clock = self.clock
        if not self._fresh and clock.resumable:
            applied = clock.applied
            number = applied >> OFFSET_BITS
            stem, _, digits = end.file.rpartition(".")
            place = Place(f"{stem}.{number:0{len(digits)}d}", applied & ((1 << OFFSET_BITS) - 1))
            if clock.log_id(number) and await has_log(asking, place):
                return place, True
        self._fresh = False
        return end, False


class _Attempt:
    """What belongs to one connection: the tracker, the probes that wait for A, the definitions."""

    def __init__(
        self, process: StreamProcess, asking: ServerConnection, place: Place, resuming: bool, mariadb: bool
    ) -> None:
        self._process = process
        self._clock = process.clock
        self._asking = asking
        self._mariadb = mariadb
        self.probe = probe_for(mariadb)
        self._resuming = resuming
        self._end = 0  # the newest position that a probe found
        self._visible = 0  # the newest position that a probe found visible
        self._named = 0  # the newest file whose id is published
        self._pending: deque[tuple[int, int]] = deque()  # (acknowledged, when sent) of probes that A has not reached
        self._changed = asyncio.Event()
        self._catalog: Catalog = EMPTY
        self._wanted = _NOTHING
        self._begun = asyncio.Event()
        self._floor = place
        self._counted = (0, 0, 0)  # of the tracker's rows, transactions and unknown events
        self.tracker = Tracker(self, _NOTHING, self._definitions_changed)
        self._domain: int | None = None  # MariaDB: the only replication domain of the log; None: not the only one
        self._sequence = 0  # of the newest transaction that began
        self._marker = (0, 0)  # (position, sequence) of the newest that ended
        self._marked = 0  # the newest position that replicas' answers can be stamped with
        self._marked_at = 0.0

    # -- Clock, as the tracker sees it -----------------------------------------------------------------------------

    def touch(self, slots: set[int], position: int) -> None:
        self._clock.touch(slots, position)

    def apply(self, position: int) -> None:
        self.probe.ended(position)
        self._marker = position, self._sequence
        if position > self._clock.applied:
            self._clock.apply(position)

    # -- the log ---------------------------------------------------------------------------------------------------

    async def events(self, follower: Follower) -> None:
        progress = self._process.progress
        while True:
            for packet in await follower.packets():
                event, position = follower.take(packet)
                progress.events += 1
                if isinstance(event, ev.Format):
                    self._file_begins(event, follower.place)
                if self._begun.is_set():
                    self.tracker.feed(event, position)
                    self.probe.passed(event, position)
                    if isinstance(event, ev.Begin):
                        self._began(event)
                if isinstance(event, ev.Heartbeat):
                    self._check_stall()
            self._cover()
            self._count()
            await asyncio.sleep(0)  # the probes' turn

    def _count(self) -> None:
        tracker, progress = self.tracker, self._process.progress
        counted = (tracker.rows, tracker.transactions, sum(tracker.unknown.values()))
        rows, transactions, unknown = (now - before for now, before in zip(counted, self._counted, strict=True))
        self._counted = counted
        progress.rows += rows
        progress.transactions += transactions
        progress.unknown += unknown

    def _file_begins(self, event: ev.Format, place: Place) -> None:
        """The identity of the file is known now: of the first one it says whether the log is still the same."""
        clock = self._clock
        number = place.number
        if self._begun.is_set() and event.starts_server and not event.header.artificial:
            raise LogGone("the server was started again")
        identifier = log_id(event.header.server_id, place.file, event.header.timestamp_s)
        first = not self._begun.is_set()
        if first:
            if self._resuming and clock.log_id(number) == identifier and clock.resumable:
                clock.resume()
            elif self._resuming:
                raise LogGone("the server has another binary log than before")
            else:
                clock.begin(new_incarnation(), self._floor.position)
                self._process.progress.incarnations += 1
            self._begun.set()
            self._process._followed_from = time.monotonic()
            self._process.progress.state, self._process.progress.reason = "following", ""
            log.info(
                "following",
                extra={
                    "cluster": self._process.cluster,
                    "file": place.file,
                    "offset": self._floor.offset,
                    "resumed": self._resuming,
                },
            )
        clock.name_log(number, identifier)
        self._named = number
        if first:
            clock.one_domain(self._domain)
            self._announce(None)

    # -- what is visible -------------------------------------------------------------------------------------------

    async def probes(self, connection: ServerConnection) -> None:
        await self._begun.wait()
        timeout_s = self._process.rules.health.timeout_s
        while True:
            sent_ns = time.perf_counter_ns()
            try:
                async with asyncio.timeout(timeout_s):
                    found = await self.probe.find(connection)
            except TimeoutError:
                raise ServerFailed(f"{connection.where} did not answer for {timeout_s:g} s") from None
            if found.acknowledged < self._end:
                raise LogGone("the server's binary log went back: it was reset, or it is another server")
            self._end = found.acknowledged
            self._visible = max(self._visible, found.visible or 0)
            self._pending.append((found.acknowledged, sent_ns))
            if len(self._pending) > 1000:
                self._pending.popleft()  # A is far behind: later probes cover what this one would
            self._cover()
            left_s = PROBE_S - (time.perf_counter_ns() - sent_ns) / 1e9
            await asyncio.sleep(max(left_s, 0.001))

    def _cover(self) -> None:
        clock = self._clock
        visible = self._visible
        # A stamp needs the id of its file, which comes with the file's first event. On MySQL what is before the floor
        # passes again.
        if visible >> OFFSET_BITS <= self._named and visible >= self._floor.position:
            clock.see(visible)
        pending = self._pending
        applied = clock.applied
        sent_ns = 0
        while pending and pending[0][0] <= applied:
            _, sent_ns = pending.popleft()
        if sent_ns:
            if not ORDERED:
                time.sleep(SETTLES_NS / 1e9)  # W first
            clock.cover(sent_ns)
        self._mark()

    def _check_stall(self) -> None:
        """The server had nothing more to send. Then A is where its log ends, unless it sends another log (RESET MASTER
        may leave us in one that was deleted). If it was only ourselves who were slow, nothing is lost."""
        if self._pending and time.perf_counter_ns() - self._pending[0][1] > _STALL_NS:
            raise ServerFailed("the server has a longer binary log than it sends: connecting anew")

    # -- replicas --------------------------------------------------------------------------------------------------

    def _began(self, event: ev.Begin) -> None:
        """A replica that has applied a transaction has applied those before it, if all are of one domain and their
        numbers ascend."""
        if self._domain is None:
            return
        if event.domain != self._domain or event.sequence <= self._sequence:
            self._domain = None
            self._clock.one_domain(None)
        self._sequence = event.sequence

    def _mark(self) -> None:
        position, sequence = self._marker
        now = time.monotonic()
        if self._domain is None or not sequence or position <= self._marked or now - self._marked_at < _MARK_S:
            return
        self._marked, self._marked_at = position, now
        self._clock.mark_position(position, sequence)

    async def read_domain(self) -> None:
        """MariaDB: is all that was ever logged there of one replication domain?"""
        if self._mariadb:
            ((state, own),) = await self._asking.query("SELECT @@global.gtid_binlog_state, @@global.gtid_domain_id")
            domains = {part.split("-")[0].strip() for part in (state or own or b"").decode().split(",")}
            self._domain = int(domains.pop()) if len(domains) == 1 else None

    # -- definitions -----------------------------------------------------------------------------------------------

    def _definitions_changed(self) -> None:
        self._clock.unfollow()
        self._changed.set()

    async def definitions(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(_SETTLE_S)
            self._changed.clear()
            await self.read_definitions()

    async def read_definitions(self) -> None:
        """Read the cached tables' definitions, and then where the log ends: what is before may not fit them."""
        process = self._process
        databases = sorted({table.database for table in process.rules.cached_tables})
        rows = {what: await self._asking.query(sql) for what, sql in queries(databases).items()}
        self._catalog = merge(self._catalog, process.cluster, build(process.cluster, rows))
        end = await current_end(self._asking, self._mariadb)
        if self._changed.is_set():
            return  # another statement came meanwhile: they are read again
        before, self._wanted = self._wanted, wanted(process.rules, self._catalog, process.cluster)
        self.tracker.adopt(self._wanted, end.position)
        if self._begun.is_set():
            self._announce(before)

    def _announce(self, before: Wanted | None) -> None:
        """Tell the workers by which definitions slots are touched from here on. What they kept by others is worthless:
        of the tables that differ, or of all where it is not known what was `before`."""
        process = self._process
        number = fingerprint(process.rules, self._catalog, process.cluster)
        if not self._clock.follows(number):
            everything = {table.epoch for table in self._wanted.tables.values()}
            self._clock.follow(number, changed_tables(before, self._wanted) if before is not None else everything)


def _spawn(work: Coroutine[object, object, None], what: str) -> None:
    raise AssertionError("a stream's server has no pools")
