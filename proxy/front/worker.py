"""One worker: its servers, its environment, its listener, and what happens to them over time."""

from __future__ import annotations

import asyncio
import logging
import socket
import time

from proxy.back.catalog import EMPTY, Catalog
from proxy.back.clusters import Clusters
from proxy.back.decisions import Tokens
from proxy.back.server import Role, Server
from proxy.cache.clocks import Clocks
from proxy.cache.memcached import Memcached, RemoteCounters
from proxy.cache.store import Store
from proxy.errors import TurnoutError
from proxy.front.accounts import GRANT_TABLES
from proxy.front.caching import Caching
from proxy.front.client import Client
from proxy.front.directories import Directories
from proxy.front.environment import Environment
from proxy.front.listener import Listener
from proxy.front.load import LOAD_EVERY_S, Loads
from proxy.front.recovery import EVERY_S, Recovery
from proxy.front.schemas import SchemaReader
from proxy.front.sequences import Sequences
from proxy.measure.measures import Measures
from proxy.measure.peers import Peers
from proxy.measure.states import SequenceState, ServerState, SessionState
from proxy.plan.foreign_keys import apart
from proxy.plan.id_column import sequence_homes
from proxy.rules.model import Rules, Transactions
from proxy.stream.wanted import fingerprint
from proxy.wire.login import Secret

log = logging.getLogger("turnout.worker")

_FIRST_PROBE_S = 5.0  # how long the start waits for servers; those that are unknown then are tried by statements
_SCHEMAS_EVERY_S = 10.0
_REFRESH_S = 8.0  # how long DDL waits for the schemas to be read again
_GRANTS_EVERY_S = 10.0


class Worker:
    """See the module. Everything runs on the event loop that `start` was called on."""

    def __init__(self, rules: Rules, slot: int, slots: int, measures: Measures) -> None:
        self.rules = rules
        self.slot = slot
        self.slots = slots
        self.measures = measures
        self.listener: Listener | None = None
        self.clocks: Clocks | None = None  # shared with the other workers and the stream processes
        self.sources: dict[str, int] = {}  # cluster -> its clock, where its binary log is followed
        self._caching: Caching | None = None
        self._memcached_counters = RemoteCounters()
        self._peers: Peers | None = None
        self._clusters: Clusters | None = None
        self._sequences: Sequences | None = None
        self._directories: Directories | None = None
        self._catalog: Catalog = EMPTY
        self._keys_seen: tuple[Rules, int] | None = None  # of which catalog the foreign keys were looked at
        self._keys_apart: set[str] = set()
        self._definitions: dict[str, int] = {}  # see `Environment.definitions`
        self._generation = 0
        self._server: asyncio.Server | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._schemas_wanted = asyncio.Event()
        self._reading_schemas = asyncio.Lock()
        self._others_wanted = False  # the other workers are to read them, too
        self._tokens = Tokens()
        self._loads = Loads()
        self._recovery: Recovery | None = None  # in one worker, once the rules have said `transactions: atomic`

    @property
    def peers(self) -> Peers | None:
        return self._peers

    @peers.setter
    def peers(self, peers: Peers | None) -> None:
        self._peers = peers
        if self.listener is not None:
            self.listener.peers = peers

    async def start(self, channel: socket.socket) -> None:
        """Probe the servers, read their schemas, then accept clients on `channel` (bound, perhaps not listening)."""
        loop = asyncio.get_running_loop()
        clusters = Clusters(self._spawn, self.measures.server)
        clusters.apply(self.rules)
        self._clusters = clusters
        self._sequences = Sequences(clusters, self.rules, self._spawn)
        self._directories = Directories(self._sequences, self._spawn, self.measures)
        await clusters.probed(_FIRST_PROBE_S)
        listener = Listener(self.rules, self._environment(), self.slot, self.measures)
        listener.peers = self._peers
        listener.schemas_changed = self._schemas_changed
        listener.refresh_schemas = self.refresh_everywhere
        self.listener = listener
        await self._read_schemas()
        await self._read_grants()
        channel.setblocking(False)
        if channel.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(lambda: Client(listener), sock=channel, backlog=1024)
        else:
            self._server = await loop.create_server(lambda: Client(listener), sock=channel, backlog=1024)
        self._loops = [
            loop.create_task(self._every(1.0, self._tick), name="tick"),
            loop.create_task(self._every(0.25, self._end_overdue), name="statement time"),
            loop.create_task(self._watch_schemas(), name="schemas"),
        ]
        if self.slot == 0:
            self._loops.append(loop.create_task(self._every(EVERY_S, self._recover), name="recovery"))
            self._loops.append(loop.create_task(self._every(LOAD_EVERY_S, self._read_loads), name="load"))
        if self.rules.users_from is not None:
            self._loops.append(loop.create_task(self._every(_GRANTS_EVERY_S, self._read_grants), name="grants"))

    def reload(self, rules: Rules) -> None:
        """Put new rules in force: for new statements at once, for transactions under way when they end."""
        assert self._clusters is not None
        assert self.listener is not None
        assert self._sequences is not None
        before, self.rules = self.rules, rules
        self._sequences.rules = rules
        try:
            self._clusters.apply(rules)
            self.listener.apply(rules, self._environment())
        except Exception:
            self.rules = self._sequences.rules = before
            self._clusters.apply(before)
            self.listener.apply(before, self._environment())
            raise
        self._schemas_wanted.set()

    async def drain(self, deadline_s: float) -> None:
        """Accept nobody, let transactions end until the deadline, then end the rest with error 1053."""
        if self._server is not None:
            self._server.close()
        listener = self.listener
        if listener is not None:
            listener.drain()
            await listener.empty(deadline_s)
            for client in list(listener.clients.values()):
                listener.dismiss(client)
            await asyncio.sleep(0.05)  # the last words go out
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._sequences is not None:
            self._sequences.close()
        if self._directories is not None:
            self._directories.close()
        if self._recovery is not None:
            self._recovery.close()
        self._loads.close()
        if self._clusters is not None:
            await self._clusters.close()

    # -- what the process asks ---------------------------------------------------------------------------------------

    def sessions(self) -> list[SessionState]:
        if self.listener is None:
            return []
        now = time.time()
        found: list[SessionState] = []
        for client in self.listener.clients.values():
            session = client.session
            if session is None:
                found.append(SessionState(client.connection_id, "", client.host, state="login"))
                continue
            running = session.running
            found.append(
                SessionState(
                    client.connection_id,
                    session.user,
                    client.host,
                    database=session.database,
                    state="running" if session.running_on is not None else "waiting" if session.busy else "idle",
                    cluster=", ".join(session.held) or _cluster_of(session.running_on),
                    transaction=session.in_transaction,
                    pinned=", ".join(sorted({*session.pinned.values(), *(["cursor"] if session.cursors else [])})),
                    shape=running.stats.shape.id if running is not None else "",
                    seconds=round(now - client.connected, 1),
                    statements=session.statements,
                )
            )
        return found

    async def sequences(self) -> list[SequenceState]:
        return await self._sequences.states() if self._sequences is not None else []

    def clusters(self) -> list[ServerState]:
        return [self._state(server) for server in self._clusters.servers()] if self._clusters is not None else []

    def kill(self, connection_id: int, query_only: bool, user: str, admin: bool) -> str:
        if self.listener is None:
            return "unknown"
        return self.listener.kill_here(connection_id, query_only, user, admin)

    def _schemas_changed(self) -> None:
        """DDL went through this worker."""
        self._others_wanted = True
        self._schemas_wanted.set()

    async def refresh(self) -> None:
        """Read the schemas again, now: what is planned from then on follows them. A server that does not answer in time
        is asked again in the background."""
        try:
            async with asyncio.timeout(_REFRESH_S):
                await self._read_schemas()
        except TimeoutError:
            self._schemas_wanted.set()
            log.warning("schemas could not be read in time, trying again", extra={"seconds": _REFRESH_S})

    async def refresh_everywhere(self) -> None:
        """The same in all workers: definitions have changed."""
        others = self._peers.refresh() if self._peers is not None else asyncio.sleep(0)
        try:
            await asyncio.gather(self.refresh(), others)
        except TurnoutError as error:  # they will read them by themselves, a few seconds later
            log.warning("other workers could not be told of changed schemas", extra={"error": error.message})

    def _state(self, server: Server) -> ServerState:
        idle = sum(len(pool.idle) for pool in server.pools.values())
        return ServerState(
            server.cluster,
            str(server.address),
            server.role.value,
            server.health.state.value,
            reason=server.health.reason,
            lag_s=server.health.lag_s if server.role is Role.REPLICA else None,
            busy=max(0, server.size - idle),
            idle=idle,
            pinned=sum(bool(connection.dirty or connection.cursors) for connection in server.connections),
            waiters=sum(pool.waiting for pool in server.pools.values()),
            limit=server.limit,
            read_only=server.health.baseline.read_only,
            status=self._loads.status(server),
        )

    # -- over time ---------------------------------------------------------------------------------------------------

    def _environment(self) -> Environment:
        assert self._clusters is not None
        assert self._directories is not None
        self._generation += 1
        caching = self._cache()
        return Environment(
            caching=caching,
            sequences=self._sequences,
            fingerprints=self._fingerprints(caching),
            definitions=self._definitions,
            rules=self.rules,
            catalog=self._directories.apply(self.rules, self._catalog),
            servers=dict(self._clusters.by_name),
            measures=self.measures,
            generation=self._generation,
            tokens=self._tokens,
        )

    def _cache(self) -> Caching | None:
        """The cache under the rules in force; values stay where they are over reloads."""
        rules = self.rules
        if not rules.cached_tables:
            if self._caching is not None and self._caching.store.remote is not None:
                self._spawn(self._caching.store.remote.close(), "close connections to memcached")
            self._caching = None
            return None
        caching = self._caching
        if caching is None or caching.rules.memcached != rules.cache.memcached:
            if caching is not None and caching.store.remote is not None:
                self._spawn(caching.store.remote.close(), "close connections to memcached")
            remote = None
            if rules.cache.memcached:
                remote = Memcached(rules.cache.memcached, self._spawn, self._memcached_counters)
            caching = self._caching = Caching(Store(rules.cache.local_bytes, remote), rules.cache)
        clocks = self.clocks
        by_cluster = (
            {name: clocks.source(index, self.slot) for name, index in self.sources.items()}
            if clocks is not None
            else {}
        )
        caching.apply(rules.cache, by_cluster)
        return caching

    def _fingerprints(self, caching: Caching | None) -> dict[str, int]:
        clocks = caching.clocks if caching is not None else {}
        return {name: fingerprint(self.rules, self._catalog, name) for name in clocks}

    def _spawn(self, work: object, what: str) -> None:
        if self.listener is not None:
            self.listener.spawn(work, what)  # type: ignore[arg-type]
            return
        task = asyncio.get_running_loop().create_task(work, name=what)  # type: ignore[arg-type,var-annotated]
        self._loops.append(task)

    async def _every(self, seconds: float, work: object) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()  # type: ignore[operator]
            except TurnoutError as error:
                log.warning("periodic work failed", extra={"error": error.message})

    async def _recover(self) -> None:
        """Finish what coordinators that are gone have left, also after the rules have changed to something else."""
        if self._recovery is None:
            if self.rules.transactions is not Transactions.ATOMIC:
                return
            self._recovery = Recovery(self._tokens, self.measures)
        assert self._clusters is not None
        try:
            await self._recovery.look_once(self.rules, self._clusters.by_name)
        except Exception as error:  # a mistake of ours must not keep branches prepared, and rows locked, for ever
            log.error("defect", exc_info=error)

    async def _tick(self) -> None:
        assert self._clusters is not None
        assert self.listener is not None
        self._clusters.trim(time.monotonic())
        if self._directories is not None:
            self._directories.count()
        caching = self._caching
        if caching is not None:
            caching.count(self.measures)
            environment = self.listener.environment
            if any(
                clock.incarnation
                and (
                    not clock.follows(environment.fingerprints.get(name, 0))
                    or clock.definitions != environment.definitions.get(name)
                )
                for name, clock in caching.clocks.items()
            ):
                self._schemas_wanted.set()  # the stream process has read other definitions
        self.listener.tick()

    async def _end_overdue(self) -> None:
        assert self.listener is not None
        self.listener.end_overdue()

    async def _watch_schemas(self) -> None:
        """Read the schemas again from time to time, and soon after DDL went through this worker."""
        while True:
            try:
                async with asyncio.timeout(_SCHEMAS_EVERY_S):
                    await self._schemas_wanted.wait()
                await asyncio.sleep(0.05)
            except TimeoutError:
                pass
            self._schemas_wanted.clear()
            others, self._others_wanted = self._others_wanted, False
            await (self.refresh_everywhere() if others else self._read_schemas())

    async def _read_schemas(self) -> None:
        assert self._clusters is not None
        assert self.listener is not None
        async with self._reading_schemas:  # what was read first must not replace what was read later
            clocks = self._caching.clocks if self._caching is not None else {}
            seen = {name: clock.definitions for name, clock in clocks.items()}
            catalog = await SchemaReader(self.rules, self._clusters).read(self._catalog)
            self._definitions = seen
            if catalog.generation != self._catalog.generation:
                self._catalog = catalog
                self.listener.move_to(self._environment())
                self._prepare_sequences()
                assert self._directories is not None
                if self.rules.directories:
                    self._spawn(self._directories.prepare(), "prepare directories")
            else:
                self.listener.environment.definitions = seen
            self._warn_of_foreign_keys()

    def _warn_of_foreign_keys(self) -> None:
        """One worker tells of foreign keys that the rules take apart, each once for as long as it is so."""
        asked = (self.rules, self._catalog.generation)
        if self.slot == 0 and asked != self._keys_seen:
            self._keys_seen = asked
            found = {one.message for one in apart(self.rules, self._catalog)}
            for message in sorted(found - self._keys_apart):
                log.warning("foreign key not kept", extra={"problem": message})
            self._keys_apart = found

    async def _read_loads(self) -> None:
        """Ask the servers how much they have to do, for the history; one worker does."""
        if self.rules.history is not None and self._clusters is not None:
            await self._loads.look(self._clusters.servers(), self.rules)

    def _prepare_sequences(self) -> None:
        """The table of sequences is made before it is needed."""
        assert self._sequences is not None
        homes = sequence_homes(self.rules, self._catalog)
        if homes:
            self._spawn(self._sequences.prepare(homes), "prepare sequences")

    async def _read_grants(self) -> None:
        name = self.rules.users_from
        if name is None or self._clusters is None or self.listener is None:
            return
        cluster = self.rules.clusters[name]
        account = cluster.service or self.rules.service
        if account is None:
            return
        server = self._clusters.by_name[name].primary
        try:
            connection = await server.connect(account.user, Secret.of_password(account.password.encode()), 0)
            try:
                self.listener.accounts.load(await connection.query(GRANT_TABLES))
            finally:
                connection.close()
        except TurnoutError as error:
            # What was read before stays in force: logins must not depend on one server being up.
            log.warning("cannot read accounts", extra={"cluster": name, "error": error.message})


def _cluster_of(connection: object) -> str:
    from proxy.back.connection import ServerConnection

    if isinstance(connection, ServerConnection) and connection.pool is not None:
        return connection.pool.server.cluster
    return ""
