"""What every session of a worker shares: rules, catalog, servers, and the plan caches made from them.

An `Environment` is replaced as a whole when rules or catalog change; sessions move on to the new one when they hold no
transaction, so that a transaction ends under the rules it began with.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from parser.analyse import parse
from parser.shape import Lexer, is_opaque
from parser.statement import Effect, Hole, Kind, Statement
from proxy.back.catalog import Catalog
from proxy.back.clusters import ClusterServers
from proxy.back.decisions import Tokens
from proxy.back.directory import Directory
from proxy.back.server import Server
from proxy.back.text_slots import TextSlots
from proxy.cache.worth import Worth
from proxy.errors import StatementRefused
from proxy.front.caching import Caching
from proxy.front.known import SHARE, Known, Room, Texts
from proxy.front.sequences import Sequences
from proxy.measure.caches import CacheStats
from proxy.measure.key_sampling import KeySampler, Tap
from proxy.measure.measures import Measures
from proxy.measure.shape_stats import ShapeStats
from proxy.measure.shapes import MAX_SAMPLE, Sample
from proxy.plan.around_workbench import ExplainPulls, InSettings
from proxy.plan.ddl import Ddl, TableWork
from proxy.plan.insert_select import InsertSelect
from proxy.plan.inserts import InsertRows
from proxy.plan.key_list import ByKeyList
from proxy.plan.load_data import LoadSpread
from proxy.plan.places import of_cluster, sharded_names, table_clusters
from proxy.plan.plan import CachedRead, Forward, Marks, Plan, Route
from proxy.plan.planner import plan as make_plan
from proxy.plan.shard_routes import ByKey, Scatter
from proxy.plan.shows import Show
from proxy.plan.system_reads import SystemRead
from proxy.plan.workbench import Workbench
from proxy.plan.write_all import WriteAll
from proxy.rules.model import Method, Rules

# A statement with one of these needs more than "send it and relay the answer".
_SPECIAL: Final = (
    Effect.IMPLICIT_COMMIT
    | Effect.SETS_USER_VARIABLE
    | Effect.READS_USER_VARIABLE
    | Effect.TEMPORARY_TABLE
    | Effect.SESSION_LOCK
    | Effect.USES_LAST_INSERT_ID
    | Effect.SETS_LAST_INSERT_ID
    | Effect.USES_FOUND_ROWS
    | Effect.CALC_FOUND_ROWS
    | Effect.USES_ROW_COUNT
    | Effect.USES_CONNECTION_ID
    | Effect.USES_DIAGNOSTICS
    | Effect.RETURNING
)
_TABLELESS_KINDS: Final = frozenset({Kind.SELECT, Kind.SET, Kind.USE, Kind.DO, Kind.COMMIT, Kind.ROLLBACK})
_ONLY_READ: Final = frozenset({Kind.SELECT, Kind.SHOW, Kind.USE})  # apart from what their functions do
_MAY_CALL: Final = Effect.UNKNOWN_FUNCTION | Effect.SEQUENCE  # what may write, whatever the kind
_PLAIN_KINDS: Final = frozenset({Kind.SELECT, Kind.INSERT, Kind.REPLACE, Kind.UPDATE, Kind.DELETE})

# Shapes longer than this (INSERTs of many rows, mostly) are planned each time instead of filling the cache.
MAX_CACHED_SHAPE: Final = 16 * 1024


_OFFSET: Final = re.compile(rb"\blimit\s+[\0?]\s*,|\boffset\s+[\0?]")


def clusters_of(plan: Plan) -> tuple[str, ...]:
    """Every cluster that a plan can send to."""
    if isinstance(plan, Forward):
        return (plan.cluster,)
    if isinstance(plan, ByKey):
        return plan.keys[0].placement.sharding.clusters if plan.keys else (plan.any_cluster,)
    if isinstance(plan, InsertRows):
        return plan.placement.sharding.clusters
    if isinstance(plan, InSettings):
        return clusters_of(plan.inner)
    if isinstance(
        plan,
        Scatter
        | Workbench
        | SystemRead
        | Show
        | ByKeyList
        | InsertSelect
        | LoadSpread
        | Ddl
        | TableWork
        | ExplainPulls,
    ):
        return plan.clusters
    if isinstance(plan, WriteAll):
        return tuple(send.cluster for send in plan.fixed.sends)
    return ()


class Quick(enum.Enum):
    """Statements without a target that the fast path knows."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"


_QUICK: Final = {
    b"begin": Quick.BEGIN,
    b"begin work": Quick.BEGIN,
    b"start transaction": Quick.BEGIN,
    b"commit": Quick.COMMIT,
    b"commit work": Quick.COMMIT,
    b"rollback": Quick.ROLLBACK,
    b"rollback work": Quick.ROLLBACK,
}

_LONGEST_QUICK: Final = 64  # of a shape; with more white space it goes the way of all others


def may_write(plan: Plan) -> bool:
    """Whatever is known of the tables concerned: could it change rows?"""
    if plan.writes or plan.statement.kind not in _ONLY_READ:
        return True
    return plan.effects.meets(_MAY_CALL)


class Entry:
    """One shape's plan and measurements. `simple`: the session may send it at once and relay the answer."""

    __slots__ = (
        "asks_id",
        "by_key",
        "cache_fill_ns",
        "cache_shape",
        "cache_stats",
        "cache_words",
        "cache_worth",
        "cached",
        "cluster",
        "directories",
        "everywhere",
        "fixed",
        "hashed",
        "head",
        "id_place",
        "inserts_one",
        "keeps_diagnostics",
        "makes_ids",
        "marks",
        "may_write",
        "offset",
        "plan",
        "quick",
        "replica_ok",
        "simple",
        "spread_head",
        "spreads",
        "stats",
        "tap",
        "text_slots",
        "undivided",
        "unmerged",
        "writes",
    )

    def __init__(self, plan: Plan, stats: ShapeStats, shape: bytes, mariadb: bool = False) -> None:
        self.plan = plan
        self.stats = stats
        # MariaDB leaves SHOW WARNINGS as it was over a statement without tables that has nothing to say itself.
        self.keeps_diagnostics = mariadb and not plan.statement.tables and plan.statement.kind in _TABLELESS_KINDS
        self.head = b""  # what its answers begin with (ResponseScanner.begin); text and prepared plans are kept apart
        self.writes = plan.writes
        self.may_write = may_write(plan)
        self.replica_ok = plan.replica_ok
        self.fixed: Route | None = plan.fixed if isinstance(plan, Forward) else None
        self.unmerged = False  # its answers turned out to be such that only the workbench can put them together
        self.undivided = False  # a part of it turned out not to be answered by itself (`proxy.front.in_place`)
        self.by_key = isinstance(plan, ByKey | InsertRows)
        self.hashed = plan.hashed if isinstance(plan, ByKey) else None
        self.makes_ids = isinstance(plan, InsertRows) and plan.ids is not None  # or has to look at those it is given
        lower = shape.lower()
        skips = (b"limit" in lower or b"offset" in lower) and _OFFSET.search(lower) is not None
        self.offset = skips  # FOUND_ROWS() is then not the number of rows sent
        self.cluster = plan.cluster if isinstance(plan, Forward) else ""
        special = plan.effects.meets(_SPECIAL)
        self.simple = (
            (self.fixed is not None or self.by_key)
            and not plan.pins
            and not self.makes_ids
            and not special
            and plan.statement.kind in _PLAIN_KINDS
        )
        # May its answer be put together without a task (`proxy.front.spread`), if it comes from several shards?
        self.spreads = (
            isinstance(plan, ByKey | Scatter)
            and plan.statement.kind is Kind.SELECT
            and not self.may_write
            and not plan.pins
            and not special
        )
        # Where it goes whatever its literals are, if that is so and known.
        self.everywhere = plan.everywhere if isinstance(plan, Scatter) else None
        self.spread_head = b""  # the same as `head`, of what shards answer
        # An INSERT of one row that the fast path can give its id.
        self.inserts_one = self.makes_ids and not plan.pins and not special and _is_plain_row(plan)
        self.tap: Tap | None = None  # who is told which keys it asks for; set by Environment.miss
        self.directories: tuple[Directory, ...] = ()  # of the shardings of its tables; set by Environment.miss
        # Set by Environment.miss where a cache is in use:
        self.cached: CachedRead | None = None
        self.text_slots: TextSlots | None = None
        self.marks: Marks | None = None
        self.cache_fill_ns: int | None = None  # how long the last answer took that was kept; 0: it was not kept
        self.cache_shape = 0  # the same number for the same text of the same database
        self.cache_words: tuple[bytes, ...] = ()  # the same in words that mean the same in every process
        self.cache_stats: CacheStats
        self.cache_worth: Worth
        self.asks_id = plan.writes and plan.generated_id is None
        self.id_place = _id_place(plan)  # of the one literal that decides it; -1: it is not one number
        words = lower.rstrip(b" ;\r\n\t").split() if len(shape) <= _LONGEST_QUICK else ()
        self.quick = _QUICK.get(b" ".join(words))


def _id_place(plan: Plan) -> int:
    if len(plan.explicit_ids) != 1:
        return -1
    value = plan.explicit_ids[0]
    return value.index if isinstance(value, Hole) and not value.is_string and not value.negative else -1


def _sample(shape: bytes, cache: PlanCache, prepared: bool) -> Sample | None:
    """What it takes to plan the shape again, elsewhere; the plan cache has its text already."""
    if len(shape) > MAX_SAMPLE or is_opaque(shape):  # what cannot be taken apart still has its literals
        return None
    lexer = cache.lexer
    return Sample(shape, cache.database, prepared, lexer.charset, lexer.ansi_quotes, lexer.no_backslash_escapes)


def _is_plain_row(plan: Plan) -> bool:
    insert = plan.statement.insert
    return insert is not None and len(insert.rows) == 1 and not insert.ignore and not insert.on_duplicate


class PlanCache(dict[bytes, Entry]):
    """Shape to entry, for one database and one lexer. `texts` are the statements whose answers came from memory, by the
    packet that brought each: the same is often asked again, and one look-up says what lexer, plan and route did.
    `executions` are the same of prepared statements, by the statement and then by what was bound."""

    __slots__ = ("database", "executions", "lexer", "merged", "texts")

    def __init__(self, database: str | None, lexer: Lexer, merged: Collection[str] = frozenset()) -> None:
        """`merged`: see `parser.analyse.parse`."""
        super().__init__()
        self.database = database
        self.lexer = lexer
        self.merged = merged
        self.texts: Texts = {}
        self.executions: dict[Hashable, Texts] = {}

    def forget(self) -> None:
        """No text and no execution is known any longer. Whoever still holds a dictionary finds it empty."""
        self.texts.clear()
        for known in self.executions.values():
            known.clear()
        self.executions.clear()


@dataclass(slots=True)
class Environment:
    """See the module. `generation` rises with every change."""

    rules: Rules
    catalog: Catalog
    servers: dict[str, ClusterServers]
    measures: Measures
    generation: int
    caching: Caching | None = None  # None: the rules have no cache class
    sequences: Sequences | None = None  # None: not in a worker
    # Of the definitions by which statements are planned here, by cluster (`proxy.stream.wanted`).
    fingerprints: Mapping[str, int] = field(default_factory=dict)
    # How often the definitions of a cluster may have changed (`SourceClock.definitions`) before they were read.
    definitions: Mapping[str, int] = field(default_factory=dict)
    tokens: Tokens = field(default_factory=Tokens)  # of clusters, for transactions over several
    slow_ns: int = field(init=False)  # statements that take longer are logged
    # Answers to PREPARE of statements for the workbench, with their numbers of parameters and warnings.
    descriptions: dict[Hashable, tuple[bytes, int, int]] = field(default_factory=dict)
    _caches: dict[tuple[str | None, Lexer, bool], PlanCache] = field(default_factory=dict)
    _entries: int = 0
    _room: Room = field(init=False)  # for the plan caches' texts

    def __post_init__(self) -> None:
        self.slow_ns = int(self.rules.limits.slow_statement_s * 1e9)
        if self.rules.history is None:
            self.measures.keys = None
        elif self.measures.keys is None:
            self.measures.keys = KeySampler()
        self._room = Room(self.rules.cache.local_bytes // SHARE, self._texts)

    @property
    def mariadb(self) -> bool:
        """Whether clients were greeted as by MariaDB."""
        home = self.servers.get(self.rules.default_home)
        return home is not None and "MariaDB" in home.primary.health.baseline.version

    def cache(self, database: str | None, lexer: Lexer, prepared: bool = False) -> PlanCache:
        """The plan cache of sessions with this default database and lexer; text and prepared statements apart."""
        key = (database, lexer, prepared)
        found = self._caches.get(key)
        if found is None:
            if len(self._caches) >= 1000:  # databases and charsets by the thousand: begin again
                for each in self._caches.values():  # sessions may have some of them still
                    each.clear()
                    each.forget()
                self._caches.clear()
                self._entries = 0
                self._room.clear()
            found = self._caches[key] = PlanCache(database, lexer, sharded_names(self.rules, database))
        return found

    def miss(self, cache: PlanCache, shape: bytes, literals: list[bytes], prepared: bool = False) -> Entry:
        """Plan a shape that is not in the cache. Never raises: what cannot be planned is a Refuse plan."""
        self.measures.plan_misses += 1
        statement = parse(shape, literals, lexer=cache.lexer, prepared=prepared, merged=cache.merged)
        plan = make_plan(statement, self.rules, self.catalog, cache.database)
        stats = self.measures.shape(
            statement.digest or statement.kind.value,
            plan.kind,
            self._tables(statement, cache.database),
            clusters_of(plan),
            sample=_sample(shape, cache, prepared),
        )
        entry = Entry(plan, stats, shape, self.mariadb)
        if self.measures.keys is not None and len(shape) <= MAX_CACHED_SHAPE and not is_opaque(shape):
            entry.tap = self.measures.keys.tap(statement, shape, cache.database, self._columns)
        if self.catalog.directories:
            entry.directories = self._directories(statement, cache.database)
        if self.caching is not None:
            self._cache_traits(entry, shape, cache, prepared)
        if len(shape) <= MAX_CACHED_SHAPE and statement.kind is not Kind.TURNOUT:  # its words are not all in the shape
            if self._entries >= self.rules.limits.shapes:
                self._evict()
            cache[shape] = entry
            self._entries += 1
            self.measures.plans = self._entries
        return entry

    def remember(self, cache: PlanCache, packet: bytes, known: Known) -> None:
        """The statement of this packet was answered from memory: it may come again."""
        self._room.put(cache.texts, packet, known)

    def remember_execution(self, cache: PlanCache, statement: Hashable, bound: bytes, known: Known) -> Texts | None:
        """The same of a prepared statement's execution: all that are known of this statement. None: it was too long."""
        found = cache.executions.get(statement)
        if found is None:
            found = {}
        if not self._room.put(found, bound, known):
            return None
        cache.executions[statement] = found
        return found

    def _texts(self) -> list[Texts]:
        """All dictionaries of known texts and executions; those without any are let go."""
        found = []
        for cache in self._caches.values():
            cache.executions = {statement: texts for statement, texts in cache.executions.items() if texts}
            found += [cache.texts, *cache.executions.values()]
        return found

    def _cache_traits(self, entry: Entry, shape: bytes, cache: PlanCache, prepared: bool) -> None:
        """What the cache has to know of a statement."""
        assert self.caching is not None
        plan = entry.plan
        entry.marks = plan.marks
        read = plan.cached
        if read is not None and entry.simple:
            entry.cached = read
            entry.text_slots = None if prepared else read.text_slots
            by = read.cache_class
            table, columns = f"{read.database}.{read.table}", ",".join(by.by)
            entry.cache_stats = self.measures.cache(table, columns, by.ttl_s is None)
            database = (cache.database or "").encode("utf-8", "surrogateescape")
            read_by = cache.lexer
            reading = f"{read_by.charset} {read_by.ansi_quotes:d} {read_by.no_backslash_escapes:d}".encode()
            entry.cache_words = (b"prepared" if prepared else b"text", reading, database, shape)
            entry.cache_shape = self.caching.identities.of(*entry.cache_words, cache.lexer)
            entry.cache_worth = self.caching.worth(entry.cache_shape)

    def not_served(self, plan: Plan) -> str:
        """Why reads of a cacheable plan do not come from memory now, as far as the clocks say; "" where they may."""
        if plan.cached is None or self.caching is None or plan.cached.cache_class.ttl_s is not None:
            return ""
        reasons = []
        for cluster, clock in self.caching.clocks.items():
            if cluster in clusters_of(plan) and not clock.t0:
                reasons.append(of_cluster(cluster, clock.reason or "its binary log is not followed yet"))
        return "; ".join(reasons)

    def every_server(self) -> list[Server]:
        return [each for one in self.servers.values() for each in (one.primary, *one.replicas)]

    def cluster(self, name: str) -> ClusterServers:
        """Raises StatementRefused when the rules no longer know the cluster."""
        try:
            return self.servers[name]
        except KeyError:
            raise StatementRefused(f"No cluster '{name}' in the rules", reason="unknown-cluster") from None

    def _evict(self) -> None:
        """Make room: drop the older half of the entries that served nothing since measurements were last taken."""
        victims = 0
        wanted = max(1, self._entries // 8)
        for quiet_only in (True, False):
            for cache in self._caches.values():
                for shape in [s for s, e in cache.items() if not quiet_only or not e.stats.count]:
                    del cache[shape]
                    victims += 1
                    if victims >= wanted:
                        break
                if victims >= wanted:
                    break
            if victims >= wanted:
                break
        self._entries -= victims
        self.measures.plan_evictions += victims

    def _directories(self, statement: Statement, database: str | None) -> tuple[Directory, ...]:
        """Those of the tables of a statement, and of one inside it (EXPLAIN, SET STATEMENT)."""
        found: dict[str, Directory] = {}
        if statement.hint is not None and statement.hint.cluster is not None:
            return ()
        inner: Statement | None = statement
        while inner is not None:
            for table in inner.tables:
                entry = self.rules.table(table.database or database, table.name)
                if entry is not None and entry.sharding is not None and entry.sharding.method is Method.DIRECTORY:
                    found[entry.sharding.name] = self.catalog.directories[entry.sharding.name]
            inner = inner.inner
        return tuple(found.values())

    def _columns(self, database: str | None, name: str) -> tuple[str, ...] | None:
        """Those that an INSERT without a list of columns gives values to."""
        entry = self.rules.table(database, name)
        clusters = table_clusters(self.rules, entry) if entry is not None else (self.rules.home(database),)
        schema = self.catalog.find(clusters[0], database, name) if clusters else None
        return tuple(column.name for column in schema.columns if not column.invisible) if schema is not None else None

    @staticmethod
    def _tables(statement: Statement, database: str | None) -> list[str]:
        seen: dict[str, None] = {}
        for table in statement.tables[:16]:
            owner = table.database or database
            seen[f"{owner}.{table.name}" if owner else table.name] = None
        return list(seen)
