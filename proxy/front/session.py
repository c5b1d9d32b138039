"""A client's session: what it has set, what it holds, and the shortest way from its statement to a server and back.

The fast path is `query`: shape, plan cache, target, an idle connection, one write; `on_data`/`on_end` relay the answer.
It runs inside the event loop's callbacks, with no task and no await. Whatever needs more (a connection to wait for, a
SET, several targets, ...) becomes one task (`_slow`), and the session takes no other command until it ends.

State that a server keeps for a session is kept here instead where it can be: settings, default database, last insert
id, found rows, warnings. Where it cannot, the session holds the connection: `held` maps a cluster to the connection
that has the session's transaction or other state, `pinned` says why it stays after the transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Iterable
from typing import TYPE_CHECKING, Final

from parser.shape import Lexer, lexer
from proxy.back.connection import Discarded, ServerConnection
from proxy.back.directory import KeysUnknown
from proxy.back.gtid import GtidPosition
from proxy.back.gtid import parse as parse_gtid
from proxy.back.pool import Pool, PoolKey
from proxy.back.server import Role, Server
from proxy.back.settings import Settings, delta
from proxy.errors import ProtocolError, ServerFailed, StatementRefused, TurnoutError
from proxy.front import caching, cursors, cut_short, elsewhere
from proxy.front.caching import ANSWERED, ASK
from proxy.front.environment import Entry, Environment, PlanCache, Quick
from proxy.front.guard import Guard, suits
from proxy.front.known import Known
from proxy.front.values import TextValues
from proxy.plan.inserts import InsertRows
from proxy.plan.plan import Marks, Route, Send
from proxy.rules.model import Transactions
from proxy.wire import capability as cap
from proxy.wire import command as com
from proxy.wire.frames import encode
from proxy.wire.login import Secret
from proxy.wire.packets import encode_err, encode_ok
from proxy.wire.response import CURSOR, QUERY
from proxy.wire.session_state import Gtids, Schema, SystemVariable, parse_session_state
from proxy.wire.status import ANSI_QUOTES, AUTOCOMMIT, CURSOR_EXISTS, IN_TRANS, NO_BACKSLASH_ESCAPES

if TYPE_CHECKING:
    from proxy.cache.cached_value import CachedValue
    from proxy.front.client import Client
    from proxy.front.cursors import Cursor
    from proxy.front.fetching import Opening
    from proxy.front.made_ids import MadeIds
    from proxy.front.prepared_statement import Prepared
    from proxy.front.reading import Receiver
    from proxy.front.results import Bound
    from proxy.measure.key_sampling import KeySampler

_now = time.perf_counter_ns
_REPLICA: Final = Role.REPLICA  # asked for with every statement, and a member of an enumeration costs as much as a call
_BEGIN: Final = Discarded("BEGIN")
_SET: Final = Discarded("SET")
BEGIN_PACKET: Final = b"\x06\x00\x00\x00\x03BEGIN"
COMMIT_PACKET: Final = b"\x07\x00\x00\x00\x03COMMIT"
ROLLBACK_PACKET: Final = b"\x09\x00\x00\x00\x03ROLLBACK"
_LAST_GTID: Final = b"\x09last_gtid"
_MAX_TOUCHED: Final = 1000  # statements of a transaction that is followed
_NOT_OF_READS: Final = cap.LOCAL_FILES | cap.MULTI_RESULTS | cap.PS_MULTI_RESULTS  # change no SELECT's answer


class Transaction:
    """What the session knows of its transaction besides what servers know."""

    __slots__ = (
        "_keys",
        "begin",
        "changed",
        "explicit",
        "first",
        "id",
        "once",
        "only_reads",
        "savepoints",
        "status",
        "touched",
        "writers",
    )

    def __init__(self, keys: KeySampler | None = None) -> None:
        self._keys = keys
        self.explicit = False  # BEGIN was answered; servers hear of it with their first statement
        self.begin = b"BEGIN"  # how it began (START TRANSACTION READ ONLY, ...)
        self.status = 0  # flags that the server added to its answer to that
        self.once: list[bytes] = []  # SET TRANSACTION .. before it: for every cluster that joins
        self.only_reads = False  # it has begun on several clusters without branches, and may not write
        self.savepoints: list[tuple[str, bytes]] = []  # name, statement: repeated on clusters that join later
        self.writers: set[str] = set()  # clusters that were written to
        self.changed: set[str] = set()  # the same and those that may have been: by a function that is not known
        self.id, self.first = "", ""  # once a cluster has joined with an XA branch: its name, and where it began
        # The tables of each statement so far, where it is one of those that are followed.
        self.touched: list[tuple[str, ...]] | None = [] if keys is not None and keys.follows_next() else None

    def clear(self) -> None:
        self.explicit = False
        self.begin = b"BEGIN"
        self.status = 0
        self.once = []
        self.savepoints.clear()
        keys = self._keys
        if keys is not None:
            if self.touched:
                keys.ended(self.touched)
            self.touched = [] if keys.follows_next() else None
        self.forget_clusters()

    def forget_clusters(self) -> None:
        """It has ended everywhere; what the client said of it stays."""
        self.writers.clear()
        self.changed.clear()
        self.only_reads = False
        self.id = self.first = ""


class Session:
    """See the module."""

    exceeded: TurnoutError | None = None  # the answer under way is too large (proxy.front.results), and is cut off
    bound: Bound | None = None  # what limits its answers

    def __init__(
        self,
        client: Client,
        environment: Environment,
        user: str,
        secret: Secret,
        capabilities: int,
        settings: Settings,
        database: str | None,
        connection_id: int,
        admin: bool,
    ) -> None:
        self.client = client
        self.environment = environment
        self.user = user
        self.secret = secret
        self.key = PoolKey(user, capabilities, client.origin)
        self.initial_settings = settings
        self.settings = settings
        self.database = database
        self.connection_id = connection_id
        self.admin = admin
        self.transaction = Transaction(environment.measures.keys)
        self.held: dict[str, ServerConnection] = {}
        self.pinned: dict[str, str] = {}
        self.locks: dict[str, frozenset[str]] = {}  # where it has locked tables, and by what (proxy.front.table_locks)
        self.file_variables: frozenset[str] = frozenset()  # that LOAD DATA has set where the session is pinned
        self.own_xa = ""  # the cluster on which the client has begun an XA transaction itself
        self.next_transaction: list[bytes] = []  # SET TRANSACTION .. that apply to the next one only
        self.one_shot: list[bytes] = []  # the same, given to a connection whose statement is a transaction by itself
        self.prepared: dict[int, Prepared] = {}
        self.cursors: dict[int, Cursor] = {}  # that are open, by the client's statement
        self.sql_prepared: dict[str, str] = {}  # SQL-level PREPARE: name -> cluster it lives on
        self.named: dict[str, Prepared] = {}  # the same, of those that no server keeps
        self.next_statement_id = 1
        self.last_prepared = 0  # the id of the statement that was prepared last; 0: it failed
        self.gtids: dict[str, GtidPosition] = {}  # by cluster: what this session wrote
        self.last_insert_id = 0
        self.found_rows: int | None = 0
        self.row_count = -1
        self.warning_count = 0
        self.diagnostics: bytes | None = None  # SHOW WARNINGS's response for the last statement; None: empty
        self._busy = False
        self.running: Entry | None = None  # the statement under way, for SHOW TURNOUT SESSIONS and the measurements
        self.running_on: ServerConnection | None = None
        self.spread: list[ServerConnection] = []  # where a statement over several targets runs
        self.task: asyncio.Task[None] | None = None
        self._work: object = None  # what the task carries out
        self.recorded = False  # the statement under way is in its shape's numbers
        self.statements = 0
        self.binary = False  # the command under way is an EXECUTE: rows are answered in the binary protocol
        self.closed = False
        self.killed = False  # KILL CONNECTION: the client goes when the answer to its statement is out
        self.waiting = False  # for a connection (the task does), or for an answer from elsewhere (there is no task)
        self.interrupted = False  # KILL QUERY before the statement reached a server
        self.last_on: ServerConnection | None = None  # where the last statement ran, if nothing of ours came after it
        self.fill: caching.Fill | None = None  # what the answer under way may become in the cache
        self.pending: dict[str, set[int]] | None = None  # by cluster: what to mark when a write is acknowledged
        self.outdated = False  # the environment is no longer the worker's: `pending` is never None then
        self.generating: tuple[Marks, tuple[str, ...]] | None = None  # and what follows from the key that is generated
        self.identity = 0
        self._cache_words: tuple[bytes, ...] = ()
        self.cache_settings: Settings | None = None  # the settings that these two were made from
        self.doom: TurnoutError | None = None  # state was lost: the next command is told so, then the client is closed
        self._pools: dict[Server, Pool] = {}
        # Clusters on which a part of a committed transaction is still to be committed, since their servers are away.
        self.owed: dict[str, asyncio.Task[None]] = {}
        self.generated: bool | None = False  # does the statement under way generate its insert id? None: ask afterwards
        self.receiver: Receiver | None = None  # takes the rows of a SELECT of ours in the client's place
        self.made: MadeIds | None = None  # ids that Turnout makes for the INSERT under way
        self.guard: Guard | None = None  # what the statement under way was routed by, where that may change
        self._on_replica = False
        self._prelude = b""  # commands that go out in one write with the statement; their sinks are already waiting
        # A read on a replica that may be asked of the primary: its packet, or the prepared statement and its EXECUTE.
        self._retry: bytes | tuple[Prepared, bytes] | None = None
        self.memory = 0  # of prepared statements: see proxy.front.session_memory
        self.overdue = -1  # when the statement began that is being killed because of limits.statement
        self.began = 0  # when the statement under way arrived (perf_counter_ns)
        self._sent = 0
        self._bytes = 0
        self._relayed = False
        self.lexer: Lexer
        self.plans: PlanCache
        self.refresh()

    @property
    def busy(self) -> bool:
        """A command is under way: the next one waits."""
        return self._busy

    @busy.setter
    def busy(self, value: bool) -> None:
        self._busy = value
        if not value and self.bound is not None:
            self.bound.end_answer()

    # -- environment -------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look up what follows from settings, database and environment: the lexer and the plan cache."""
        text = self.sql_mode
        charset = (self.settings.get("character_set_client") or b"'utf8mb4'").decode().strip("'")
        self.lexer = lexer("ANSI_QUOTES" in text, "NO_BACKSLASH_ESCAPES" in text, charset)
        self.plans = self.environment.cache(self.database, self.lexer)

    @property
    def sql_mode(self) -> str:
        """The session's, or what servers begin with."""
        return self.mode_of(self.settings)

    def mode_of(self, settings: Settings) -> str:
        """The sql_mode of these settings, or what servers begin with."""
        mode = settings.get("sql_mode")
        if mode is not None:
            return mode.decode("ascii", "replace").strip("'")
        home = self.environment.servers.get(self.environment.rules.home(self.database))
        return home.primary.health.baseline.sql_mode if home is not None else ""

    def adopt(self, environment: Environment) -> None:
        """Move to new rules, if no transaction or pinned state ties the session to the old ones. To new definitions of
        tables in any case: by old ones a row could go to a wrong shard. What it writes goes on being marked as
        everything then (`outlive`), since its transaction has begun under others."""
        if self.busy:
            return
        if not self.held and not self.transaction.explicit:
            self.environment = environment
            self._pools.clear()
            self.cache_settings = None
            self.outdated = False
            self.pending = None
            self.refresh()
            self.client.bound_results(self)
        elif environment.rules is self.environment.rules and environment is not self.environment:
            self.environment = environment
            self.cache_settings = None
            self.refresh()

    def outlive(self, environment: Environment) -> None:
        """There are new rules or definitions, and this session may be in the middle of something under older ones: what
        it writes until it adopts the new ones is not marked by what these say, so everything is."""
        if self.held or self.transaction.explicit or self.busy:
            self.outdated = True
            caching.note_everything(self, environment.rules.cached_clusters)

    @property
    def autocommit(self) -> bool:
        return self.settings.autocommit

    @property
    def in_transaction(self) -> bool:
        """Whether the client is inside a transaction as MySQL sees it (a server holds one, or BEGIN was answered)."""
        if self.transaction.explicit:
            return True
        return any(c.scanner.status & IN_TRANS for c in self.held.values())

    @property
    def status(self) -> int:
        """The status flags of answers that are our own."""
        lexing = NO_BACKSLASH_ESCAPES if self.lexer.no_backslash_escapes else 0
        if self.lexer.ansi_quotes and self.environment.mariadb:
            lexing |= ANSI_QUOTES
        transaction = (IN_TRANS | self.transaction.status) if self.in_transaction else 0
        return (AUTOCOMMIT if self.autocommit else 0) | transaction | lexing

    # -- the fast path -----------------------------------------------------------------------------------------------

    def query(self, payload: bytes, packet: bytes | None) -> None:
        """COM_QUERY. `packet` is the payload as it was framed, when it came in one piece."""
        if self.bound is not None:
            self.bound.begin_answer()
        self.began = began = _now()
        self._sent = 0
        self.guard = None
        sql = payload[1:]
        shape, literals = self.lexer.shape(sql)
        entry = self.plans.get(shape)
        if entry is None:
            entry = self.environment.miss(self.plans, shape, literals)
        else:
            self.environment.measures.plan_hits += 1
        self.running = entry
        self.busy = True
        tap = entry.tap
        if tap is not None:
            sample = tap.sample
            if not began & sample.mask or not sample.is_beyond(literals[tap.place]):  # seldom: see Tap
                tap(self, literals)
        if self.transaction.touched is not None:
            self._touch(entry)
        if not entry.simple or packet is None:
            if entry.inserts_one and self._insert_now(entry, sql, literals):
                return
            if entry.spreads and packet is not None and self._spread_now(entry, packet, sql, literals):
                return
            if not (entry.quick and self.quick(entry.quick)):
                self._spawn_statement(entry, sql, shape, literals)
            return
        self.generated = entry.plan.generated_id
        if entry.asks_id:
            if entry.id_place >= 0 and literals[entry.id_place] == b"0":  # as ORMs and sysbench write it
                self.generated = True
            else:
                self.generated = entry.plan.generates_id(TextValues(literals, self.lexer))
                if self.generated is None:  # the server will have to be asked
                    self._spawn_statement(entry, sql, shape, literals)
                    return
        cluster = entry.cluster
        if entry.hashed is not None:
            cluster = entry.hashed.cluster(literals)
        if not cluster:
            try:
                route = entry.plan.route(TextValues(literals, self.lexer), sql)
            except KeysUnknown:
                self._spawn_statement(entry, sql, shape, literals)
                return
            except StatementRefused as error:
                self.fail(error)
                return
            sends = route.sends
            if len(sends) != 1 or (sends[0].text is not None and not isinstance(entry.plan, InsertRows)):
                if entry.spreads and self._spread_now(entry, packet, sql, literals, route):
                    return
                self._spawn_statement(entry, sql, shape, literals)
                return
            cluster = sends[0].cluster
            if sends[0].text is not None:  # an INSERT with a list of columns that the client's had not
                packet = encode(bytes((com.COM_QUERY,)) + sends[0].text, 0)
        if entry.cached is not None:
            fixed = tuple(literals)
            served = caching.serve(self, entry, cluster, fixed)
            if served is ANSWERED:
                if entry.cached.cache_class.ttl_s is None and not entry.directories:
                    self.environment.remember(self.plans, packet, Known(entry, cluster, fixed))
                self.busy = False
                self.client.next_command()
                return
            if served is not ASK:
                self.guard = Guard.of(entry.directories) if entry.directories else None
                elsewhere.look(self, lambda: self._ask(entry, cluster, packet, sql, shape, literals))
                return
        elif entry.marks is not None:
            caching.note_write(self, entry, TextValues(literals, self.lexer), (cluster,))
        connection = self.acquire_now(entry, cluster)
        if connection is None:
            self._spawn_statement(entry, sql, shape, literals)
            return
        if self._on_replica:
            self._retry = packet
        self.send_now(connection, packet)

    def _touch(self, entry: Entry) -> None:
        """This session's transaction is one of those that are followed: which tables does it touch together?"""
        touched = self.transaction.touched
        if touched is not None and len(touched) < _MAX_TOUCHED and (self.transaction.explicit or not self.autocommit):
            touched.append(entry.stats.shape.tables)

    def _spread_now(
        self, entry: Entry, packet: bytes, sql: bytes, literals: list[bytes], route: Route | None = None
    ) -> bool:
        from proxy.front.spread import ask

        return ask(self, entry, packet, sql, literals, route)

    def _insert_now(self, entry: Entry, sql: bytes, literals: list[bytes]) -> bool:
        from proxy.front.made_ids import insert_now

        return insert_now(self, entry, sql, literals)

    def _ask(self, entry: Entry, cluster: str, packet: bytes, sql: bytes, shape: bytes, literals: list[bytes]) -> None:
        """A read that waited for an answer from elsewhere goes to its server: the fast way, if it still can."""
        connection = self.acquire_now(entry, cluster) if not entry.directories else None
        if connection is not None:
            if self._on_replica:
                self._retry = packet
            self.send_now(connection, packet)
            return
        if self.guard is not None and not self.guard.holds():
            self.not_filled()  # it may come from another cluster now
        self._spawn_statement(entry, sql, shape, literals)

    def acquire_now(self, entry: Entry, cluster: str) -> ServerConnection | None:
        """The connection for a simple statement, in this session's transaction, if nothing has to be waited for: the
        one held for the cluster, or an idle one. None: take the slow path."""
        connection = self.held.get(cluster)
        if connection is not None:
            if (
                connection.settings is not self.settings
                or connection.database != self.database
                or (entry.writes and not self._may_write(cluster))
                or (not connection.scanner.status & IN_TRANS and self._begins_here())
                or (entry.directories and not all(suits(connection, each) for each in entry.directories))
            ):
                return None
            self._on_replica = False
        else:
            transaction = self.transaction
            if self.next_transaction or (entry.writes and transaction.writers and not self._may_write(cluster)):
                return None
            if self.owed or (self.held and self._joins_later()):
                return None
            if transaction.savepoints or transaction.once or (transaction.explicit and transaction.begin != b"BEGIN"):
                return None
            server = self._server_for(entry, cluster)
            if server is None:
                return None
            pool = self._pools.get(server)
            if pool is None:
                pool = self._pools[server] = server.pool(self.key, self.secret)
            connection = cursors.parked(self, pool) if self.cursors else None
            if connection is None:
                connection = pool.take_now(self.settings, self.database)
            if connection is None:
                return None
            connection.taker = self
            connection.taken_ns = self.began
            if connection.settings is not self.settings or connection.database != self.database:
                change = self._pipelinable(connection)
                if change is None:
                    pool.release(connection)
                    return None
                if change:
                    connection.expect(_SET)
                    self._prelude = change
                    server.counters.preludes += 1
                connection.settings = self.settings
            if transaction.explicit:
                connection.expect(_BEGIN)
                self._prelude += BEGIN_PACKET
                server.counters.preludes += 1
                self.hold(connection)
            self._on_replica = server.role is _REPLICA
            server.counters.commands += 1
        if entry.may_write and (self.transaction.explicit or not self.autocommit):
            self.transaction.changed.add(cluster)
            if entry.writes:
                self.transaction.writers.add(cluster)
        return connection

    def begin_statement(self, entry: Entry) -> None:
        """A prepared statement is executed: what `query` notes of a text statement."""
        if self.bound is not None:
            self.bound.begin_answer()
        self.began = _now()
        self._sent = 0
        self.guard = None
        self.running = entry
        self.busy = True
        if self.transaction.touched is not None:
            self._touch(entry)

    def sending(self, connection: ServerConnection) -> None:
        """The statement goes out on `connection` now (slow path)."""
        self.running_on = connection
        self._sent = _now()

    def sending_to_several(self) -> None:
        """The same on several connections at once."""
        self._sent = _now()

    def send_now(self, connection: ServerConnection, packet: bytes, opening: Opening | None = None) -> None:
        """Send a command whose answer goes straight to the client (fast path), through `opening` if it may open a
        cursor."""
        self.running_on = connection
        if opening is None:
            connection.expect(self, QUERY, self.running.head if self.running is not None else b"")
        else:
            connection.expect(opening, CURSOR)
        if self._prelude:
            packet = self._prelude + packet
            self._prelude = b""
        self._sent = _now()
        connection.write_whole(packet)
        if opening is None:
            self.client.listener.busy_poll.sent(self._sent, False)

    def execute_now(
        self,
        connection: ServerConnection,
        packet: bytes,
        prepared: Prepared,
        payload: bytes,
        opening: Opening | None = None,
    ) -> None:
        """The same for a prepared statement."""
        if self._on_replica:
            self._retry = (prepared, payload)
        self.send_now(connection, packet, opening)

    def send_prelude(self, connection: ServerConnection) -> None:
        """What `acquire_now` left to be written, when the statement itself has to wait after all."""
        if self._prelude:
            connection.write(self._prelude)
            self._prelude = b""

    @property
    def times(self) -> tuple[int, int]:
        """When the statement under way arrived and when it was sent to a server (perf_counter_ns; 0: not yet)."""
        return self.began, self._sent

    def quick(self, what: Quick) -> bool:
        """BEGIN, COMMIT and ROLLBACK where nothing has to be waited for; False when it does."""
        if what is Quick.BEGIN:
            if self.held or self.transaction.explicit or self.transaction.savepoints:
                return False
            self.transaction.explicit = True
            self.answered()
            return True
        held = self.held
        if len(held) > 1 or self.pinned:
            return False
        if not held:
            self.transaction.clear()
            self.next_transaction = []
            self.answered()
            return True
        connection = next(iter(held.values()))
        if connection.sink is not None or connection.branch is not None:
            return False
        self.transaction.clear()
        self.generated = False
        self.running_on = connection
        self._sent = _now()
        connection.send(COMMIT_PACKET if what is Quick.COMMIT else ROLLBACK_PACKET, self)
        return True

    def answered(self) -> None:
        """The proxy itself answers OK to the statement under way, in the fast path."""
        entry = self.running
        assert entry is not None
        self.running = None
        self.ok()
        entry.stats.record(_now() - self.began, 0, 0, 11, False)
        self.busy = False
        self.client.next_command()

    def _server_for(self, entry: Entry, cluster: str) -> Server | None:
        """The server that a statement outside any held connection goes to; None: the slow path finds the error."""
        servers = self.environment.servers.get(cluster)
        if servers is None:
            return None
        if entry.replica_ok and servers.replicas and not self.transaction.explicit and self.autocommit:
            plan = entry.plan
            replica = servers.replica(plan.max_lag_s, self.gtids.get(cluster) if plan.own_writes else None)
            if replica is not None and (self.fill is None or self.fill.may_come_from(replica)):
                return replica
        if not servers.primary.usable:
            return None
        return servers.primary

    def _may_write(self, cluster: str) -> bool:
        writers = self.transaction.writers
        rules = self.environment.rules
        if self.transaction.only_reads:
            return False
        return not writers or writers == {cluster} or rules.transactions is Transactions.ATOMIC

    def _begins_here(self) -> bool:
        """Whether a held connection without a transaction has to be told of one first."""
        return bool(self.next_transaction) or self.transaction.explicit or (len(self.held) > 1 and self._joins_later())

    def _joins_later(self) -> bool:
        """Whether a connection that is not part of the session's transaction yet has to begin an XA branch, or, where
        the transaction was not announced and may have begun elsewhere, an ordinary one."""
        if self.own_xa:
            return True  # or may not, which the slow path says
        if not self.transaction.explicit and self.autocommit:
            return False
        return not self.transaction.explicit or self.environment.rules.transactions is Transactions.ATOMIC

    def _pipelinable(self, connection: ServerConnection) -> bytes | None:
        """The framed SET that gives `connection` this session's settings, if it may go in one write with the statement:
        only when the same SET succeeded on that server before. Otherwise a failing SET would not stop the statement."""
        if connection.database != self.database:
            return None
        text = delta(connection.settings, self.settings)
        pool = connection.pool
        if pool is None or (text, self.user) not in pool.server.validated:
            return None
        return encode(bytes((com.COM_QUERY,)) + text, 0) if text else b""

    # -- the cache ---------------------------------------------------------------------------------------------------

    def cache_identity(self) -> int:
        """A number for what this session's answers depend on besides statement and cluster; 0: nothing of it may be
        cached, since every statement begins a transaction."""
        if self.cache_settings is not self.settings:
            self.cache_settings = self.settings
            carried = sorted(item for item in self.settings.items.items() if item[0][0] != "@")
            self._cache_words = (
                self.user.encode(),
                b"%d" % (self.key.capabilities & ~_NOT_OF_READS),
                self.key.origin.encode() if self.environment.rules.tells_origins else b"",
                *(b"%s=%s" % (name.encode(), value) for name, value in carried),
            )
            shared = self.environment.caching
            kept = self.autocommit and not self.owed and caching.keepable(self.settings, self.sql_mode)
            self.identity = shared.identities.of(self._cache_words) if shared and kept else 0
        return self.identity

    def cache_words(self) -> tuple[bytes, ...]:
        return self._cache_words

    def answer_cached(self, value: CachedValue) -> None:
        """A server's earlier answer is the answer to the statement under way."""
        bound = self.bound
        if bound is not None:
            bound.begin_answer()
        entry = self.running
        assert entry is not None
        self.running = None
        self.client.answer(value.response)
        self.found_rows = None if entry.offset else value.rows
        self.row_count = -1
        if not entry.keeps_diagnostics:
            self.diagnostics = None
            self.warning_count = 0
        self.last_on = None
        entry.stats.record_own(_now() - self.began, value.rows, len(value.response))
        if bound is not None:
            if self.exceeded is not None:
                self.remember_error(self.exceeded)
            bound.end_answer()

    # -- the answer (Sink) -------------------------------------------------------------------------------------------

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        if self.fill is not None:
            self.fill.add(data)
        self._relayed = True
        self._bytes += len(data)
        self.client.relay(connection, data)

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        scanner = connection.scanner
        if self.exceeded is not None:
            self.told_otherwise(connection)
        if self.pending is not None:
            caching.acknowledge(self, bool(scanner.status & IN_TRANS) or self.in_transaction, scanner.insert_id)
        client, size = self.client, self._bytes
        if size == 0 and len(pieces) == 1:
            size = len(pieces[0])
            client.answer(pieces[0])
        else:
            for piece in pieces:
                size += len(piece)
                client.write(piece)
        now = _now()
        client.listener.busy_poll.answered(now, False)
        fill = self.fill
        if fill is not None:
            self.fill = None
            fill.complete(connection, pieces, now)
        entry = self.running
        assert entry is not None
        total = now - self.began
        entry.stats.record(total, now - self._sent, scanner.rows, size, scanner.errno != 0)
        if total > self.environment.slow_ns:
            self.client.listener.slow(self, entry, total / 1e9)
        self._bytes = 0
        self._retry = None
        self._relayed = False
        self.running = self.running_on = None
        if scanner.errno or scanner.warnings or connection.aborted is not None or self.closed:
            self._settle_later(connection, entry)
            return
        if scanner.session_state:
            try:
                self.observe(connection, scanner.session_state)
            except ServerFailed:
                self._settle_later(connection, entry)  # which is told the same, and tells the client
                return
        if scanner.columns:
            if scanner.learned:
                entry.head = scanner.learned
            self.found_rows = None if entry.offset or scanner.status & CURSOR_EXISTS else scanner.rows
            self.row_count = -1
        else:
            self.row_count = scanner.affected_rows
            if scanner.insert_id:
                if self.generated:
                    self.last_insert_id = scanner.insert_id
                elif self.generated is None:
                    self._settle_later(connection, entry)
                    return
        if not entry.keeps_diagnostics:
            self.diagnostics = None
            self.warning_count = 0
        self.last_on = connection
        held = self.held
        if held:
            self._settle_held(connection)
        elif scanner.status & IN_TRANS:  # autocommit is off
            self.hold(connection)
        else:
            pool = connection.pool
            if pool is not None:
                pool.release(connection)
        self.busy = False
        self.client.next_command()

    def filled(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        """The answer that was to be cached is complete."""
        fill, self.fill = self.fill, None
        if fill is not None:
            fill.complete(connection, pieces, _now())

    def not_filled(self) -> None:
        """The answer that was to be cached will not come."""
        fill, self.fill = self.fill, None
        if fill is not None:
            fill.landed()

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        retry, self._retry = self._retry, None
        if retry is not None and not self._relayed and not self.closed:
            # A read on a replica: nothing was changed and nothing was answered, so the primary may be asked instead.
            entry = self.running
            assert entry is not None
            if isinstance(retry, tuple):
                from proxy.front.prepared import execute

                self.run(execute(self, *retry, primary=True))
                return
            shape, literals = self.lexer.shape(retry[5:])
            self._spawn_statement(entry, retry[5:], shape, literals, primary=True)
            return
        self._bytes = 0
        relayed, self._relayed = self._relayed, False
        self.fail(error, broken=relayed)

    def on_held_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        """A connection that held this session's transaction or other state is gone, and so is that state. As with a
        server of its own, the client's connection ends too: statements that it still sends must not run without it."""
        self.held = {cluster: held for cluster, held in self.held.items() if held is not connection}
        self.locks = {cluster: kinds for cluster, kinds in self.locks.items() if cluster in self.held}
        self.doom = error

    def lists_fields(self) -> None:
        """The answer under way is that of COM_FIELD_LIST, which has no rows."""
        if self.bound is not None:
            self.bound.end_answer()

    def told_otherwise(self, connection: ServerConnection) -> None:
        """The statement failed as far as the client was told, whatever the server says."""
        error = self.exceeded
        if error is not None:
            scanner = connection.scanner
            scanner.errno, scanner.error = error.errno, encode_err(error.errno, error.sqlstate, error.message)

    async def quiet(self, connections: Iterable[ServerConnection]) -> None:
        """Wait until no KILL of ours can hit what comes next on these connections."""
        if self.bound is not None:
            await self.bound.quiet(connections)

    # -- what answers say about the session ----------------------------------------------------------------------------

    def observe(self, connection: ServerConnection, blocks: list[bytes]) -> None:
        """Take over the state changes that a server reported after a statement of this session. Raises ServerFailed
        where it makes no sense; the connection is lost then."""
        try:
            self._observe(connection, blocks)
        except ProtocolError as error:
            raise connection.broken(error) from None

    def _observe(self, connection: ServerConnection, blocks: list[bytes]) -> None:
        for block in blocks:
            if block[2:12] == _LAST_GTID and len(block) == block[1] + 2:
                if connection.pool is not None:
                    self.wrote(connection.pool.server.cluster, block[13:])
                continue
            changes: dict[str, bytes | None] = {}
            for event in parse_session_state(block):
                if isinstance(event, SystemVariable):
                    if event.name == "last_gtid":
                        if connection.pool is not None:
                            self.wrote(connection.pool.server.cluster, event.value)
                    else:
                        self._tracked(changes, event)
                elif isinstance(event, Gtids):
                    if connection.pool is not None:
                        self.wrote(connection.pool.server.cluster, event.value)
                elif isinstance(event, Schema):
                    self.database = connection.database = event.name or None
                    self.refresh()
            if changes:
                self.settings = self.settings.with_changes(changes)
                connection.settings = connection.settings.with_changes(changes)
                self.refresh()

    @staticmethod
    def _tracked(changes: dict[str, bytes | None], event: SystemVariable) -> None:
        from proxy.back.settings import UNCARRIED, tracked_value

        if event.name not in UNCARRIED:
            changes[event.name] = tracked_value(event.name, event.value)

    def wrote(self, cluster: str, position: bytes) -> None:
        """This session's writes on `cluster` are covered by a GTID position: replicas it reads from have to be, too."""
        servers = self.environment.servers.get(cluster)
        if servers is None or not servers.replicas or not position:
            return
        try:
            parsed = parse_gtid(position.decode("ascii"))
        except ValueError:
            return  # a format we do not know: reads of this session stay where the replica's position covers nothing
        known = self.gtids.get(cluster)
        self.gtids[cluster] = known.merged(parsed) if known is not None else parsed

    # -- holding -----------------------------------------------------------------------------------------------------

    def hold(self, connection: ServerConnection) -> None:
        """Keep a connection: its transaction, or state that cannot be carried, belongs to this session."""
        if connection.pool is not None:
            self.held[connection.pool.server.cluster] = connection
            connection.holder = self

    def _settle_held(self, connection: ServerConnection) -> None:
        """After a statement on a held connection (or on a free one beside it): keep, or give back."""
        pool = connection.pool
        if pool is None:
            return
        cluster = pool.server.cluster
        if self.held.get(cluster) is not connection:
            if connection.scanner.status & IN_TRANS:
                self.hold(connection)
            else:
                pool.release(connection)
            return
        if connection.scanner.status & IN_TRANS or connection.scanner.errno:
            return
        if self.transaction.explicit and not any(c.scanner.status & IN_TRANS for c in self.held.values()):
            self.transaction.clear()  # the server ended it (DDL's implicit commit, ...)
        connection.taken_ns = _now()
        if cluster not in self.pinned:
            del self.held[cluster]
            pool.release(connection)

    # -- everything else is a task -----------------------------------------------------------------------------------

    def _spawn_statement(
        self, entry: Entry, sql: bytes, shape: bytes, literals: list[bytes], primary: bool = False
    ) -> None:
        from proxy.front.statements import run_text

        self.run(run_text(self, entry, sql, shape, literals, primary))

    def _settle_later(self, connection: ServerConnection, entry: Entry) -> None:
        from proxy.front.statements import settle

        self.run(settle(self, connection, entry))

    def run(self, work: Awaitable[bool | None]) -> None:
        """Carry out one command as a task; errors become the client's, and the next command waits. `work` gives true if
        the command goes on without it: a server's answer will end it."""
        self.busy = True
        self._work = work
        self.task = self.client.spawn(self._run(work), "statement")

    async def _run(self, work: Awaitable[bool | None]) -> None:
        try:
            goes_on = await work
        except TurnoutError as error:
            self.task = None
            if not self.closed:
                self.fail(error)
            return
        except asyncio.CancelledError:
            if self.closed or not self.interrupted:
                raise
            self.interrupted = False
            self.task = None
            self.fail(_interrupted())
            return
        except Exception as error:
            self.task = None
            if not self.closed:
                self.fail(self.client.listener.unexpected(error), broken=True)
            return
        self.task = None
        if self.closed or goes_on:
            return
        self.running = self.running_on = None
        self.client.end_edit()
        self.busy = False
        self.client.next_command()

    def fail(self, error: TurnoutError, broken: bool = False) -> None:
        """Tell the client that its statement failed. `broken`: part of an answer is already out, so that only the end
        of the client's connection can say so."""
        told = self.exceeded
        if told is not None and self.bound is not None and self.bound.response.exceeded is not None:
            error = TurnoutError(told.message, told.errno, told.sqlstate)  # the client has its whole answer
            if broken and self.task is not None:  # which goes on to its end, and takes the next command then
                self.environment.measures.error(error.errno)
                self.remember_error(error)
                return
            broken = False
        self.not_filled()
        if self.pending is not None:
            caching.acknowledge(self, self.in_transaction)
        entry = self.running
        if error.errno == 1317 and self.overdue == self.began:
            from proxy.front.overdue import timeout_error

            error = timeout_error(self)
        if broken and not self.closed:
            cut_short.tell(self, error)
        if entry is not None:
            now = _now()
            entry.stats.record(max(0, now - self.began), 0, 0, 0, True)
        self.running = self.running_on = None
        measures = self.environment.measures
        measures.error(error.errno)
        if isinstance(error, StatementRefused):
            measures.refused(error.reason)
        self.remember_error(error)
        if self.closed:
            return
        if broken or self.doom is not None:
            self.client.lose(None if broken else error)
            return
        self.client.send(encode_err(error.errno, error.sqlstate, error.message))
        self.client.end_edit()
        self.busy = False
        self.client.next_command()

    def remember_error(self, error: TurnoutError) -> None:
        """What SHOW WARNINGS is to say about an error of our own."""
        from proxy.front.answers import warnings_response

        self.row_count = -1
        self.warning_count = 1
        self.diagnostics = warnings_response([("Error", error.errno, error.message)], self.status)

    def ok(
        self,
        affected_rows: int = 0,
        insert_id: int = 0,
        info: bytes = b"",
        warnings: int = 0,
        diagnostics: bytes | None = None,
    ) -> None:
        """Answer OK; a statement that the proxy carried out itself. `diagnostics`: the answer to SHOW WARNINGS."""
        if self.pending is not None:
            caching.acknowledge(self, self.in_transaction)
        if warnings or not self.environment.mariadb:  # which keeps them over statements without tables
            self.diagnostics = diagnostics
            self.warning_count = warnings
        self.row_count = affected_rows
        self.client.send(encode_ok(affected_rows, insert_id, self.status, warnings, info))

    # -- taking connections (slow path) ------------------------------------------------------------------------------

    async def take(
        self,
        server: Server,
        database: str | None = None,
        settings: Settings | None = None,
        *,
        parked: bool = False,
    ) -> ServerConnection:
        """A connection of this session's account to `server`, with its settings and database, or others. `parked`: one
        that it keeps because of open cursors will do. Raises TurnoutError."""
        pool = self._pools.get(server)
        if pool is None:
            pool = self._pools[server] = server.pool(self.key, self.secret)
        self.waiting = True
        try:
            wanted = settings if settings is not None else self.settings
            name = database if database is not None else self.database
            found = cursors.parked(self, pool, name) if parked and self.cursors else None
            connection = found if found is not None else await pool.take(wanted, name)
        finally:
            self.waiting = False
        connection.taker = self
        connection.taken_ns = _now()
        try:
            await self.dress(connection, database, settings)
        except BaseException:
            self.give_back(connection)
            raise
        return connection

    def give_back(self, connection: ServerConnection) -> None:
        if connection.sink is not None:
            connection.abort(ServerFailed("The statement was given up"))
        elif connection.pool is not None:
            connection.pool.release(connection)

    async def dress(
        self, connection: ServerConnection, database: str | None = None, settings: Settings | None = None
    ) -> None:
        """Give a connection this session's settings and database (or others), and wait until it has them. Raises
        ServerFailed with the server's own error when it refuses."""
        settings = settings if settings is not None else self.settings
        database = database if database is not None else self.database
        if connection.aborted is not None:
            raise connection.aborted
        if connection.settings is not settings:
            text = delta(connection.settings, settings)
            if text:
                await checked(connection, bytes((com.COM_QUERY,)) + text)
                if connection.pool is not None:
                    validated = connection.pool.server.validated
                    if len(validated) > 10_000:
                        validated.clear()
                    validated.add((text, self.user))
                    connection.pool.server.counters.preludes += 1
            connection.settings = settings
        if connection.database != database and database is not None:
            name = database.encode("utf-8", "surrogateescape")
            await checked(connection, bytes((com.COM_INIT_DB,)) + name)
            connection.database = database

    def target(self, send: Send, entry: Entry, primary: bool) -> Server:
        """The server for a statement outside held connections. Raises ServerFailed when it is down."""
        servers = self.environment.cluster(send.cluster)
        server = None if primary else self._server_for(entry, send.cluster)
        server = server if server is not None else servers.primary
        server.check_up()
        return server

    def owe(self, cluster: str, task: asyncio.Task[None]) -> None:
        """A committed transaction's part on `cluster` will be there when `task` ends; it is not looked for before."""
        self.owed[cluster] = task
        self.cache_settings = None  # nor in the cache

        def done(_: asyncio.Task[None]) -> None:
            if self.owed.get(cluster) is task:
                del self.owed[cluster]
                self.cache_settings = None

        task.add_done_callback(done)

    async def settle_owed(self, cluster: str) -> None:
        """Wait until what this session has committed is on `cluster`. Raises ServerFailed."""
        task = self.owed.get(cluster)
        if task is None:
            return
        await asyncio.wait([task], timeout=self.environment.rules.pool.wait_s)
        if not task.done():
            raise ServerFailed(
                f"A transaction of this session is committed, but its part on cluster {cluster} is not there yet: "
                "the cluster was lost during COMMIT. It will be completed as soon as the cluster answers",
                1158,
                "08S01",
            )

    def running_connections(self) -> list[ServerConnection]:
        """The server connections on which a statement of this session runs now."""
        candidates = [*self.held.values(), *([self.running_on] if self.running_on is not None else []), *self.spread]
        return [c for c in dict.fromkeys(candidates) if c.sink is not None]

    def doomed_by_kill(self) -> None:
        """KILL CONNECTION: the statement under way is being killed on its server; the client goes when it ends."""
        if self.busy and self.client.upload is None:
            self.killed = True
            self.interrupt()
        else:
            self.client.lose(None)  # clients take an unasked-for packet for the answer to their next statement

    def interrupt(self) -> None:
        """KILL of a statement that is not on a server yet (it waits for a connection): give it up."""
        if not self.waiting:
            return
        if self.task is not None:
            self.interrupted = True
            self.task.cancel()
        else:
            self.waiting = False
            self.fail(_interrupted())

    def set_capability(self, flag: int, on: bool) -> None:
        """Change a capability flag: from now on connections with the other value are used."""
        flags = self.key.capabilities | flag if on else self.key.capabilities & ~flag
        self.key = PoolKey(self.user, flags, self.key.origin)
        self.cache_settings = None
        self._pools.clear()

    async def release_all(self) -> None:
        """Let go of every held connection: roll back, and close those with state that nobody else may see."""
        cursors.close_all(self)
        held, self.held = self.held, {}
        pinned, self.pinned = self.pinned, {}
        self.locks.clear()
        self.own_xa = ""
        self.transaction.clear()
        for cluster, connection in held.items():
            connection.holder = None
            if cluster in pinned or connection.aborted is not None:
                connection.close()
            else:
                await _roll_back(connection)
        self._drop_taken("The session has begun anew")

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The client is gone: what runs is dropped, what is held is rolled back or closed."""
        self.closed = True
        self.not_filled()
        if self.task is not None:
            self.task.cancel()
            # Where the task has not even begun, nobody awaits its work.
            self.task.add_done_callback(lambda _: self._work.close() if isinstance(self._work, Coroutine) else None)
        running = self.running_on
        if running is not None and running.sink is self:
            running.abort(ServerFailed("The client went away while its statement was running"))
        cursors.close_all(self)
        for cluster, connection in list(self.held.items()):
            connection.holder = connection.taker = None
            if connection.sink is not None:
                connection.abort(ServerFailed("The client went away"))
            elif cluster in self.pinned or self.task is not None:  # what it was about to do with it is not known
                connection.close()
            else:
                self.client.spawn(_roll_back(connection), "rollback of a client that went away")
        self.held.clear()
        self.prepared.clear()
        # Wherever the task was when it was cancelled, what it had taken does not come back in a known state.
        self._drop_taken("The client went away while its statement was running")

    def _drop_taken(self, why: str) -> None:
        """What the session has taken and nobody gives back. It may come from pools that are no longer the session's
        (`set_capability`, `adopt`)."""
        for server in dict.fromkeys((*self.environment.every_server(), *self._pools)):
            for connection in [c for c in server.connections if c.taker is self]:
                connection.abort(ServerFailed(why))

    def reset(self) -> None:
        """COM_RESET_CONNECTION: back to what the session was after login (what is held must have been let go)."""
        self.settings = self.initial_settings
        self.transaction.clear()
        self.next_transaction = []
        self.prepared.clear()
        self.sql_prepared.clear()
        self.named.clear()
        self.last_insert_id = 0
        self.found_rows = 0
        self.row_count = -1
        self.warning_count = 0
        self.diagnostics = None
        self.refresh()


def _interrupted() -> StatementRefused:
    return StatementRefused("Query execution was interrupted", 1317, "70100", reason="killed")


async def checked(connection: ServerConnection, payload: bytes) -> None:
    """Send a command of ours that must succeed. Raises ServerFailed carrying the server's own error."""
    from proxy.wire.packets import parse_err

    await connection.command(payload)
    if connection.scanner.errno:
        error = parse_err(connection.scanner.error)
        raise ServerFailed(error.message.decode("utf-8", "replace"), error.errno, error.sqlstate)


async def roll_back(connection: ServerConnection) -> None:
    """End the transaction that is under way on a connection. Raises ServerFailed."""
    branch = connection.branch
    if branch is None:
        await checked(connection, b"\x03ROLLBACK")
        return
    # A branch that was prepared, or that a deadlock has undone, cannot be ended any more, but rolled back.
    await connection.command(bytes((com.COM_QUERY,)) + branch.end)
    await checked(connection, bytes((com.COM_QUERY,)) + branch.rollback)
    connection.branch = None


async def _roll_back(connection: ServerConnection) -> None:
    try:
        await roll_back(connection)
    except TurnoutError as error:
        connection.abort(error)
        return
    if connection.pool is not None:
        connection.pool.release(connection)
