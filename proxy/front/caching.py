"""The coherent cache as a worker has it, and a session's part in it (docs/CACHE.md has the promise and its proof).

Three things happen here. A read that may be cached is *served* from memory when the hit rule allows it. Otherwise its
answer *fills* the cache, stamped with a position that was visible on the primary before the SELECT was sent. And a
write *marks* what it touched, in this worker's own clocks, before its OK goes to the client.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import random
import time
from typing import TYPE_CHECKING, Final

from proxy.back.connection import ServerConnection
from proxy.back.server import Role, Server
from proxy.back.settings import Settings
from proxy.back.tags import cluster_tag, slot_of
from proxy.cache.cached_value import CachedValue, memory_of
from proxy.cache.clocks import SourceClock, Stamp
from proxy.cache.memcached import COUNTED
from proxy.cache.store import Store
from proxy.cache.value import Family, RemoteKey, words_of
from proxy.cache.worth import SLOW_NS, Worth, in_sample
from proxy.front.known import Known
from proxy.front.samples import sample
from proxy.front.values import TextValues
from proxy.measure.measures import Measures
from proxy.plan.plan import ValueOf
from proxy.rules.model import Cache

if TYPE_CHECKING:
    from proxy.front.environment import Entry
    from proxy.front.session import Session

_now = time.perf_counter_ns
_PRIMARY: Final = Role.PRIMARY
_NO_STAMP: Final = Stamp(0, 0, 0)
_EVERYTHING: Final = slot_of(cluster_tag())
_MAX_PENDING: Final = 512  # slots that a transaction may collect; more become everything on the cluster
_MAX_IDENTITIES: Final = 100_000
_MAX_WORTHS: Final = 20_000
_MAX_FAMILIES: Final = 10_000
_MAX_AT_HAND: Final = 50_000  # known texts that have their answers at hand

# What local keys are made of: the shape's number, the session's number, cluster, literals.
LocalKey = tuple[int, int, str, tuple[bytes, ...]]


class Identities:
    """Small numbers for long parts of keys: equal parts have equal numbers while they are remembered. A number is never
    given twice, so that forgetting costs hits only."""

    __slots__ = ("_known", "_next")

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], int] = {}
        self._next = itertools.count(1)

    def of(self, *parts: object) -> int:
        number = self._known.get(parts)
        if number is None:
            if len(self._known) >= _MAX_IDENTITIES:
                self._known.clear()
            number = self._known[parts] = next(self._next)
        return number


class Caching:
    """One worker's cache: the values, and the clocks they are judged by. It outlives reloads of the rules; `clocks`
    (by cluster) and the limits are those of the newest."""

    def __init__(self, store: Store, rules: Cache) -> None:
        self.store = store
        self.peek, self.keep = store.peek, store.keep
        self.local = store.local
        self.local.let_go = self._let_go
        self.rules = rules
        self.verifies = rules.verify > 0
        self.clocks: dict[str, SourceClock] = {}
        self.max_staleness_ns = 0
        self.max_value_bytes = 0
        self.identities = Identities()
        self.flights: dict[LocalKey, Fill] = {}  # the answers on their way, for others who want the same
        self._at_hand: list[Known] = []  # those that have a value
        self._worth: dict[int, Worth] = {}
        self.families: dict[tuple[int, int, str, int], Family] = {}  # of shape, session, cluster, definitions

    def apply(self, rules: Cache, clocks: dict[str, SourceClock]) -> None:
        self.rules = rules
        self.verifies = rules.verify > 0
        self.clocks = clocks
        self.store.local.resize(rules.local_bytes)
        self.max_staleness_ns = int(rules.max_staleness_s * 1e9)
        self.max_value_bytes = rules.max_value_bytes

    def worth(self, statement: int) -> Worth:
        """That of a statement, by the number of its shape: new definitions and rules do not change it."""
        found = self._worth.get(statement)
        if found is None:
            if len(self._worth) >= _MAX_WORTHS:
                self._worth.clear()
            found = self._worth[statement] = Worth()
        return found

    def at_hand(self, known: Known) -> None:
        """It is about to get a value, which it forgets when the store makes room."""
        if len(self._at_hand) >= _MAX_AT_HAND:
            self._let_go()
        self._at_hand.append(known)

    def _let_go(self) -> None:
        for known in self._at_hand:
            known.value = None
        self._at_hand.clear()

    def count(self, measures: Measures) -> None:
        """Hand on what the stores have counted."""
        local, remote = self.store.local, self.store.remote
        measures.cache_bytes, measures.cache_entries = local.bytes, len(local)
        measures.cache_evictions = local.evictions
        if remote is not None:
            for name in COUNTED:
                setattr(measures, f"memcached_{name}", getattr(remote.counters, name))


class Fill:
    """An answer on its way into the cache; the session has it while its statement runs."""

    __slots__ = (
        "asked_ns",
        "caching",
        "clock",
        "cluster",
        "entry",
        "fingerprint",
        "flight",
        "follows",
        "key",
        "leads",
        "leased",
        "parts",
        "remote_key",
        "replica_stamp",
        "sends_late",
        "size",
        "slots",
        "stamp",
    )

    def __init__(
        self,
        caching: Caching,
        entry: Entry,
        cluster: str,
        key: LocalKey,
        clock: SourceClock | None,
        stamp: Stamp | None,
        slots: tuple[int, ...],
        fingerprint: int,
        asked_ns: int,
    ) -> None:
        self.caching = caching
        self.entry = entry
        self.cluster = cluster
        self.key = key
        self.clock = clock  # other rules may have another server and another clock for the cluster
        self.stamp = stamp  # None: a class with `ttl`, whose values need none
        self.slots = slots
        self.fingerprint = fingerprint  # of the definitions that `slots` follow from
        self.asked_ns = asked_ns
        self.parts: list[bytes] | None = None  # what has come of the answer, if it comes in several pieces
        self.size = 0  # of these parts; -1: too long to be kept
        self.remote_key: RemoteKey | None = None  # memcached is asked for it, and is to get the answer at once
        self.sends_late = False  # memcached is to get the answer when it is asked for again
        self.replica_stamp: Stamp | None = None  # if a replica answers: how far it had come before it was asked
        self.leads = False  # it is in `flights`
        self.flight: asyncio.Future[None] | None = None  # others wait for it
        self.follows: asyncio.Future[None] | None = None  # another session's that this one waits for
        self.leased = False  # other workers wait for it

    def may_come_from(self, replica: Server) -> bool:
        """May a replica be asked? Then the stamp says how far it had come, which it was asked a moment ago: what it
        answers is at least as new."""
        if self.stamp is None:
            return True
        clock, position = self.clock, replica.health.position
        if clock is None or position is None or len(position.domains) != 1:
            return False
        stamp = clock.stamp_of_replica(*position.domains[0])
        if stamp is None or not clock.follows(self.fingerprint):
            return False
        self.replica_stamp = stamp
        return True

    def add(self, data: bytes) -> None:
        """Some of the answer's bytes, as the client gets them."""
        if self.size < 0:
            return
        self.size += len(data)
        if self.size > self.caching.max_value_bytes:
            self.parts, self.size = None, -1
            self.entry.cache_stats.not_kept("too-long")
            self.landed()
            return
        if self.parts is None:
            self.parts = []
        self.parts.append(data)

    def complete(self, connection: ServerConnection, pieces: list[bytes], now_ns: int) -> None:
        """The answer is whole with its last `pieces`: keep it if nothing speaks against that."""
        entry, caching, scanner = self.entry, self.caching, connection.scanner
        if self.size or len(pieces) != 1:
            if self.size < 0:  # it is too long already
                entry.cache_fill_ns = 0
                return
            pieces = [b"".join((self.parts or []) + pieces)]
        response = pieces[0]
        length = len(response)
        stamp = self.stamp
        if stamp is None:
            stamp = _NO_STAMP
        elif connection.role is not _PRIMARY:
            # What a replica was known to have may not be visible on the primary yet, which may have answered instead.
            stamp = self.replica_stamp
        if (
            scanner.errno
            or scanner.warnings
            or not scanner.columns
            or connection.aborted is not None
            or length > caching.max_value_bytes
            or stamp is None
        ):
            self._not_kept(connection, length)
            return
        incarnation, log_id, position = stamp
        key, slots = self.key, self.slots
        size = memory_of(length, slots, key[3])
        value = CachedValue(incarnation, log_id, position, slots, response, scanner.rows, now_ns, size)
        if self.sends_late:
            value.unsent = self.fingerprint
        caching.keep(key, value)
        if self.remote_key is not None:
            caching.store.send(self.remote_key, value)
        took_ns = entry.cache_fill_ns = now_ns - self.asked_ns
        stats = entry.cache_stats
        stats.fills += 1
        stats.fill_ns += took_ns
        if self.flight is not None or self.leased:
            self.landed()
        elif self.leads:  # nobody waits for it, as nearly always
            self.leads = False
            caching.flights.pop(key, None)

    def _not_kept(self, connection: ServerConnection, length: int) -> None:
        scanner = connection.scanner
        if scanner.errno:
            reason = "error"
        elif scanner.warnings:
            reason = "warnings"
        elif not scanner.columns or connection.aborted is not None:
            reason = "incomplete"
        elif length > self.caching.max_value_bytes:
            reason = "too-long"
        else:
            reason = "replica"
        self.entry.cache_stats.not_kept(reason)
        self.entry.cache_fill_ns = 0
        self.landed()

    def landed(self) -> None:
        """Whatever became of it: nobody needs to wait for it any longer."""
        if self.leased and self.remote_key is not None:
            self.leased = False
            self.caching.store.end_lease(self.remote_key)
        if self.leads:
            self.leads = False
            self.caching.flights.pop(self.key, None)
            flight, self.flight = self.flight, None
            if flight is not None and not flight.done():
                flight.set_result(None)

    def landing(self) -> asyncio.Future[None]:
        """Done when this one, which leads, has landed."""
        if self.flight is None:
            self.flight = asyncio.get_running_loop().create_future()
        return self.flight


def keepable(settings: Settings, sql_mode: str) -> bool:
    """May answers under these settings be kept? Not what others have not committed yet, and not where Oracle's words
    (ROWNUM, SYSDATE, s.NEXTVAL) mean what the parser does not see in them."""
    isolation = settings.get("transaction_isolation") or settings.get("tx_isolation") or b""
    return b"UNCOMMITTED" not in isolation.upper() and "ORACLE" not in sql_mode.upper()


# -- reads ---------------------------------------------------------------------------------------------------------


class Served(enum.Enum):
    """What `serve` made of a read."""

    ANSWERED = "answered"
    ASK = "ask"  # the server has to be asked; `session.fill` is what its answer may become, or None
    WAIT = "wait"  # `elsewhere.look` goes on: somebody else may have the answer


# A member costs as much as a call where it is looked up with every statement.
ANSWERED: Final = Served.ANSWERED
ASK: Final = Served.ASK
WAIT: Final = Served.WAIT


def serve(
    session: Session, entry: Entry, cluster: str, literals: tuple[bytes, ...], values: ValueOf | None = None
) -> Served:
    """Answer a read of a cache class from this worker's memory, if it may be. `values`: those of a prepared statement,
    whose `literals` are made up."""
    environment = session.environment
    caching = environment.caching
    cached = entry.cached
    assert caching is not None
    assert cached is not None
    stats = entry.cache_stats
    identity = session.identity if session.cache_settings is session.settings else session.cache_identity()
    if identity == 0 or session.held or session.transaction.explicit or session.next_transaction:
        stats.bypass("settings" if identity == 0 and session.autocommit else "in-transaction")
        return ASK
    if session.client.write_paused:
        stats.bypass("slow-client")  # answers of servers wait for the client to read; ours would pile up
        return ASK
    key = (entry.cache_shape, identity, cluster, literals)
    value = caching.peek(key)
    if value is not None and judge(caching, entry, cluster, value, session.began):
        stats.hits_local += 1
        session.answer_cached(value)
        if value.unsent is not None:
            _send_late(session, entry, cluster, literals, value)
        if caching.verifies:
            _perhaps_sample(session, entry, cluster, value, literals)
        return ANSWERED
    quick = entry.text_slots
    slots = quick.of(literals) if quick is not None else None
    if slots is None:
        slots = cached.slots(values or TextValues(literals, session.lexer))
        if slots is None:
            stats.bypass("no-normal-form")
            return ASK
    clock = caching.clocks.get(cluster)
    stamp: Stamp | None = None
    fingerprint = environment.fingerprints.get(cluster, 0)
    if cached.cache_class.ttl_s is None:
        stamp = clock.stamp() if clock is not None else None
        if clock is None or stamp is None:
            stats.bypass("no-stream")
            return ASK
        if not clock.follows(fingerprint):
            stats.bypass("definitions")  # this worker or the stream process has older ones: their slots may differ
            return ASK
    fill = session.fill = Fill(caching, entry, cluster, key, clock, stamp, slots, fingerprint, session.began)
    flight = caching.flights.setdefault(key, fill)
    if flight is not fill:
        if not waiting_pays(fill):
            stats.misses += 1
            return ASK
        fill.follows = flight.landing()
        return WAIT
    fill.leads = True
    if caching.store.remote is not None and stamp is not None:  # no stamp, no telling how old it is, or of which server
        slow = (entry.cache_fill_ns or 0) >= SLOW_NS
        if slow or not entry.cache_worth.sparse or in_sample(slots[-1], session.began):
            fill.remote_key = remote_key(session, entry, cluster, literals, fingerprint)
            return WAIT
        fill.sends_late = True
        stats.unasked += 1
    stats.misses += 1
    return ASK


def _send_late(session: Session, entry: Entry, cluster: str, literals: tuple[bytes, ...], value: CachedValue) -> None:
    """To memcached, what was not worth sending before somebody asked for it a second time."""
    environment = session.environment
    fingerprint, value.unsent = value.unsent, None
    if environment.caching is not None and fingerprint == environment.fingerprints.get(cluster, 0):
        environment.caching.store.send(remote_key(session, entry, cluster, literals, fingerprint), value)


def _perhaps_sample(
    session: Session, entry: Entry, cluster: str, value: CachedValue, literals: tuple[bytes, ...]
) -> None:
    """Compare what was served with the primary, if the rules ask for it (`cache.verify`)."""
    caching = session.environment.caching
    if caching is not None and caching.rules.verify and random.random() < caching.rules.verify:
        sample(session, entry, cluster, value, literals)


def serve_known(session: Session, known: Known) -> bool:
    """Answer a text that has been answered from memory before, without reading it anew. False: nothing was done."""
    environment = session.environment
    caching = environment.caching
    client = session.client
    listener = client.listener
    identity = session.identity if session.cache_settings is session.settings else session.cache_identity()
    if (
        caching is None
        or identity == 0
        or session.held
        or session.transaction.explicit
        or session.next_transaction
        or client.write_paused
        or environment is not listener.environment  # there are newer rules
        or listener.draining
        or session.killed
        or session.doom is not None
    ):
        return False
    value = known.value
    if value is None or value.generation != caching.local.generation or known.identity != identity:
        value = known.find(caching, identity)
        if value is None or value.unsent is not None:  # `serve` sends it
            return False
    clock = caching.clocks.get(known.cluster)
    now_ns = session.began = _now()
    if clock is None or not clock.fresh(value, now_ns, caching.max_staleness_ns):
        return False
    entry = known.entry
    environment.measures.plan_hits += 1
    entry.cache_stats.hits_local += 1
    # As `Session.answer_cached`, which begins and ends a statement that was under way.
    response, rows = value.response, value.rows
    client.answer(response)
    session.found_rows = None if entry.offset else rows
    session.row_count = -1
    if not entry.keeps_diagnostics:
        session.diagnostics = None
        session.warning_count = 0
    session.last_on = None
    entry.stats.record_own(_now() - now_ns, rows, len(response))
    if caching.verifies:
        _perhaps_sample(session, entry, known.cluster, value, known.literals)
    return True


def serve_execution(session: Session, packet: bytes) -> bool:
    """The same for a whole COM_STMT_EXECUTE packet: answer it if it is known, as `prepared.start_execute` would.
    False: nothing was done."""
    prepared = session.prepared.get(int.from_bytes(packet[5:9], "little"))
    if prepared is None:
        return False
    executions = prepared.known
    if (
        not executions
        or session.cursors
        or prepared.environment is not session.environment
        or prepared.database != session.database
        or prepared.long_data
        or prepared.long_error is not None
    ):
        return False
    types = prepared.types
    known = executions.get(packet[9:] + types if types else packet[9:])
    if known is None or not serve_known(session, known):
        return False
    prepared.types = known.types
    return True


def waiting_pays(fill: Fill) -> bool:
    """Would an answer that a server gives now be served from the cache? Not while what it depends on is being written:
    whoever waits for another's answer then has to ask all the same."""
    if fill.stamp is None:
        return True
    caching = fill.caching
    clock = fill.clock
    stamp = clock.stamp() if clock is not None else None
    if clock is None or stamp is None:
        return False
    like_it = CachedValue(stamp.incarnation, stamp.log_id, stamp.position, fill.slots, b"", 0, 0)
    return clock.fresh(like_it, _now(), caching.max_staleness_ns)


def judge(caching: Caching, entry: Entry, cluster: str, value: CachedValue, now_ns: int) -> bool:
    """May this value be served now? The hit rule; a class with `ttl` goes by age alone."""
    assert entry.cached is not None
    ttl_s = entry.cached.cache_class.ttl_s
    if ttl_s is not None:
        if now_ns - value.created_ns <= ttl_s * 1e9:
            return True
        entry.cache_stats.refuse("expired")
        return False
    clock = caching.clocks.get(cluster)
    if clock is None:
        entry.cache_stats.refuse("stream")
        return False
    staleness_ns = caching.max_staleness_ns
    if clock.fresh(value, now_ns, staleness_ns):
        return True
    entry.cache_stats.refuse(clock.refusal(value, now_ns, staleness_ns))
    return False


def remote_key(
    session: Session, entry: Entry, cluster: str, literals: tuple[bytes, ...], fingerprint: int
) -> RemoteKey:
    """Everything that the answer depends on, in words that mean the same in every process. `fingerprint`: hosts with
    different definitions may have different slots for one key, so they do not share values."""
    caching = session.environment.caching
    assert caching is not None
    identity = session.cache_identity()
    of = (entry.cache_shape, identity, cluster, fingerprint)
    family = caching.families.get(of)
    if family is None:
        words = session.cache_words()
        parts = (cluster.encode(), b"%x" % fingerprint, *entry.cache_words, b"%d" % len(words), *words)
        family = Family(words_of(parts))
        if identity:  # else it says nothing of the session
            if len(caching.families) >= _MAX_FAMILIES:
                caching.families.clear()
            caching.families[of] = family
    return family.key(literals)


# -- writes --------------------------------------------------------------------------------------------------------


def note_write(session: Session, entry: Entry, values: ValueOf, clusters: tuple[str, ...]) -> None:
    """A statement that may change cached rows is about to be sent: remember what to mark when it is acknowledged."""
    marks = entry.marks
    assert marks is not None
    slots = marks.slots(values)
    for cluster in clusters:
        note(session, cluster, slots)
    if marks.generating:
        session.pending = session.pending or {}
        session.generating = (marks, clusters)


def note(session: Session, cluster: str, slots: tuple[int, ...]) -> None:
    pending = session.pending
    if pending is None:
        pending = session.pending = {}
    known = pending.get(cluster)
    if known is None:
        pending[cluster] = set(slots)
        return
    known.update(slots)
    if len(known) > _MAX_PENDING:
        pending[cluster] = {_EVERYTHING}


def note_everything(session: Session, clusters: tuple[str, ...]) -> None:
    """The same for a statement of which nothing is known."""
    for cluster in clusters:
        note(session, cluster, (_EVERYTHING,))


def _may_write(entry: Entry | None) -> bool:
    """Whatever the rules say of the tables concerned."""
    return entry is None or entry.may_write


def acknowledge(session: Session, in_transaction: bool, insert_id: int = 0) -> None:
    """An answer is about to go to the client: whoever reads after it must see what was written. Marks are kept while
    the transaction is open, since its rows show with its COMMIT only."""
    current = session.client.listener.environment
    if session.outdated and _may_write(session.running):
        note_everything(session, current.rules.cached_clusters)
    if session.generating is not None:
        (marks, clusters), session.generating = session.generating, None
        for cluster in clusters:
            note(session, cluster, marks.generated(insert_id if len(clusters) == 1 else 0))
    pending = session.pending
    if not pending:
        return
    if current.caching is not None:
        now = _now()
        planned_by = session.environment
        for cluster, slots in pending.items():
            clock = current.caching.clocks.get(cluster)
            if clock is not None:
                clock.mark(slots, now)
                known = planned_by.definitions.get(cluster) == clock.definitions
                if not known or not clock.follows(planned_by.fingerprints.get(cluster, 0)):
                    clock.mark((_EVERYTHING,), now)  # others may know these rows by other slots, or touch other tables
    if not in_transaction:
        session.pending = {} if session.outdated else None
