"""The rules as frozen, typed values: what the rest of Turnout sees of `routing_rules.yaml`.

Times are in seconds, sizes in bytes. Names of databases and tables are kept as written; look-ups go through
`Rules.database` and `Rules.table`, which also find a name that is written in another case (servers with
lower_case_table_names take it for the same).
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from parser.members import quick


@dataclass(frozen=True, slots=True)
class Address:
    """`host:port`, `[ipv6]:port`, or a Unix socket's path."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ListenTls:
    cert: Path
    key: Path
    client_ca: Path | None = None
    require: bool = False


@quick
class Compression(enum.Enum):
    OFF = "off"
    ZLIB = "zlib"


@quick
class ProxyHeader(enum.Enum):
    """The version of the PROXY protocol."""

    OFF = "off"
    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Trusted:
    """From where a connection begins with a PROXY header."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    unix: bool = False  # connections by a Unix socket

    def covers(self, host: str) -> bool:
        """`host`: an address, or "" for a Unix socket."""
        if not host:
            return self.unix
        address = ipaddress.ip_address(host)
        return any(address in network for network in self.networks)

    def __str__(self) -> str:
        return ", ".join([*(str(network) for network in self.networks), *(["unix"] if self.unix else [])]) or "none"


@quick
class HttpLogin(enum.Enum):
    """When the dashboard asks for an administrator's name and password."""

    REMOTE = "remote"  # unless it listens on loopback, and is asked for there
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Listen:
    mysql: Address
    http: Address | None = None
    tls: ListenTls | None = None
    max_connections: int = 10000  # clients, per worker
    compression: Compression = Compression.ZLIB  # what clients may ask for
    proxy_protocol: Trusted = Trusted()
    http_login: HttpLogin = HttpLogin.REMOTE


@quick
class AuthPlugin(enum.Enum):
    NATIVE = "mysql_native_password"
    CACHING_SHA2 = "caching_sha2_password"


@dataclass(frozen=True, slots=True)
class User:
    name: str
    password: str = field(repr=False)
    admin: bool = False
    reads: str | None = None  # name of a reporting database (later)
    auth: AuthPlugin | None = None  # None: whichever of the two the client prefers
    result_rows: int | None = None  # None: as `limits` say; 0: any number
    result_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClusterTls:
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    verify: bool = True  # the certificate, and the name if `ca` is given


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str
    primary: Address
    replicas: tuple[Address, ...] = ()
    service: ServiceAccount | None = None  # None: the rules' own
    tls: ClusterTls | None = None
    max_connections: int = 100  # to each server, per worker
    compression: Compression = Compression.OFF
    proxy_protocol: ProxyHeader = ProxyHeader.OFF  # what servers are told of whom a connection is for
    cores: int | None = None  # of each of its servers, for advice; None: nobody has said


@quick
class Method(enum.Enum):
    HASH = "hash"
    RANGE = "range"
    LIST = "list"
    DIRECTORY = "directory"


SLOTS = 4096


@dataclass(frozen=True, slots=True)
class Sharding:
    """A way to spread keys over clusters.

    HASH uses `slots` (4096 cluster names, by slot). RANGE uses `ranges`, ascending: (exclusive upper bound, cluster),
    the last bound None; bounds are int or str. LIST uses `values` and `default`. DIRECTORY uses `table`
    (database.table, on the database's home) and `weights`, by which new keys are placed.
    """

    name: str
    method: Method
    clusters: tuple[str, ...]  # every cluster that can hold rows, in a fixed order
    slots: tuple[str, ...] = ()
    ranges: tuple[tuple[int | str | None, str], ...] = ()
    values: Mapping[int | str, str] = field(default_factory=dict)
    default: str | None = None
    table: str = ""
    weights: Mapping[str, int] = field(default_factory=dict)


@quick
class ReadFrom(enum.Enum):
    PRIMARY = "primary"
    REPLICAS = "replicas"


@dataclass(frozen=True, slots=True)
class Reads:
    source: ReadFrom = ReadFrom.PRIMARY
    max_lag_s: float = 5.0
    own_writes: bool = True


@dataclass(frozen=True, slots=True)
class CacheClass:
    """Reads that pin these columns are served from memory."""

    by: tuple[str, ...]  # lower case, as ordered in the file
    ttl_s: float | None = None  # not None: by age alone, not coherent


@dataclass(frozen=True, slots=True)
class Cache:
    memcached: tuple[Address, ...] = ()
    local_bytes: int = 64 << 20  # per worker
    max_staleness_s: float = 0.5  # of what was written by another way than this host's Turnout
    max_value_bytes: int = 256 << 10  # longer answers are not kept
    verify: float = 0.0  # share of served values that are compared with the primary afterwards


@dataclass(frozen=True, slots=True)
class Table:
    """One table's entry. Exactly one of: on `cluster`; sharded by `sharding` and `key`; `everywhere`."""

    database: str
    name: str
    cluster: str  # home's name where the entry names none; "" when sharded
    reads: Reads
    sharding: Sharding | None = None
    key: str = ""  # lower-case column name
    everywhere: bool = False
    cache: tuple[CacheClass, ...] = ()


@dataclass(frozen=True, slots=True)
class Database:
    name: str
    home: str
    reads: Reads
    tables: Mapping[str, Table]


@quick
class Transactions(enum.Enum):
    SINGLE = "single"  # a transaction, and so a statement, writes on one cluster only
    BEST_EFFORT = "best_effort"  # several clusters commit one after the other
    ATOMIC = "atomic"  # on all of its clusters or on none, in two phases


@quick
class BusyPolling(enum.Enum):
    """What a worker stays awake for."""

    OFF = "off"
    SCATTER = "scatter"  # what a client asks next after a statement that several shards were asked for
    ALL = "all"  # what it asks next after any, and the answer of one server


class Scheduling(enum.Enum):
    """What the kernel does when a worker that slept has something to do and another process has its processor."""

    BATCH = "batch"  # the worker has to wait its turn, and finds more to do at once
    NORMAL = "normal"  # the worker may interrupt it


@dataclass(frozen=True, slots=True)
class Workbench:
    """Where SELECTs over several clusters are finished that cannot be merged, and how much one of them may take."""

    cluster: str
    max_rows: int = 1_000_000  # that all its pulls together bring
    max_time_s: float = 30.0  # until its answer begins


@dataclass(frozen=True, slots=True)
class Health:
    every_s: float = 1.0  # between probes of a server
    timeout_s: float = 3.0  # a server that has not answered a probe for so long is down: statements on it fail
    connect_timeout_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Pool:
    wait_s: float = 5.0  # how long a statement may wait for a connection
    max_waiters: int = 5000  # per pool
    max_idle_s: float = 60.0
    max_age_s: float = 3600.0
    max_statements: int = 200  # prepared statements kept on one connection


@dataclass(frozen=True, slots=True)
class Limits:
    login_s: float = 10.0
    drain_s: float = 30.0  # graceful stop: how long transactions may take to finish
    max_packet: int = 64 << 20  # a client's statement
    slow_statement_s: float = 1.0  # logged, without literals
    logins_per_second: int = 2000  # per worker; 0: any number
    logins_per_address: int = 2000  # the same from one address
    idle_s: float | None = None  # None: the servers' wait_timeout and interactive_timeout
    statement_s: float | None = None  # a statement that takes longer is killed; None: none is
    session_memory: int = 256 << 20  # that prepared statements of one session may take
    result_rows: int = 0  # that the answer to one statement may have; 0: any number
    result_bytes: int = 0
    shapes: int = 10_000  # plans kept per worker, and shapes measured


@dataclass(frozen=True, slots=True)
class ResultLimits:
    """How large the answer to one statement of an account may be; 0: of any size."""

    rows: int
    bytes: int

    @property
    def any(self) -> bool:
        return bool(self.rows or self.bytes)


@dataclass(frozen=True, slots=True)
class History:
    """Where it is kept what statements cost, by minute, hour and day."""

    file: Path


@dataclass(frozen=True, slots=True)
class Rules:
    path: Path
    listen: Listen
    workers: int
    users: Mapping[str, User]
    clusters: Mapping[str, Cluster]
    default_home: str  # where databases without an entry live: the first database's home, or the first cluster
    service: ServiceAccount | None = None
    users_from: str | None = None
    shardings: Mapping[str, Sharding] = field(default_factory=dict)
    databases: Mapping[str, Database] = field(default_factory=dict)
    cache: Cache = Cache()
    transactions: Transactions = Transactions.SINGLE
    workbench: Workbench | None = None
    health: Health = Health()
    pool: Pool = Pool()
    limits: Limits = Limits()
    history: History | None = None
    scheduling: Scheduling = Scheduling.BATCH
    busy_poll: BusyPolling | None = None  # None: as suits the machine
    text: str = field(default="", repr=False)  # the file as it was read, for SHOW TURNOUT RULES (passwords masked)

    def home(self, database: str | None) -> str:
        """The cluster where tables of `database` without an entry live."""
        entry = self.database(database)
        return entry.home if entry else self.default_home

    def result_limits(self, account: str) -> ResultLimits:
        user, limits = self.users.get(account), self.limits
        rows = user.result_rows if user is not None else None
        size = user.result_bytes if user is not None else None
        return ResultLimits(limits.result_rows if rows is None else rows, limits.result_bytes if size is None else size)

    @property
    def cached_tables(self) -> tuple[Table, ...]:
        """The tables with a cache class."""
        return tuple(table for one in self.databases.values() for table in one.tables.values() if table.cache)

    @property
    def cached_clusters(self) -> tuple[str, ...]:
        """The clusters that hold rows of a coherent class: their binary logs are followed."""
        found: dict[str, None] = {}
        for table in self.cached_tables:
            if any(one.ttl_s is None for one in table.cache):
                found.update(dict.fromkeys(table.sharding.clusters if table.sharding else (table.cluster,)))
        return tuple(found)

    @property
    def tells_origins(self) -> bool:
        """Whether some server hears of clients' addresses: what an account may see depends on them there."""
        return any(one.proxy_protocol is not ProxyHeader.OFF for one in self.clusters.values())

    @property
    def tls_files(self) -> tuple[Path, ...]:
        """The certificates and keys that the rules name."""
        every = (self.listen.tls, *(cluster.tls for cluster in self.clusters.values()))
        found = []
        for one in every:
            if isinstance(one, ListenTls):
                found += [one.cert, one.key, one.client_ca]
            elif one is not None:
                found += [one.ca, one.cert, one.key]
        return tuple(dict.fromkeys(path for path in found if path is not None))

    @property
    def directories(self) -> dict[str, Sharding]:
        """The directory shardings, by the lower-case name of their table (database.table)."""
        kinds = (one for one in self.shardings.values() if one.method is Method.DIRECTORY)
        return {one.table.lower(): one for one in kinds}

    def database(self, name: str | None) -> Database | None:
        """The entry of a database, or None. Names that differ only in case: one database on some servers, an error on
        others; the rules never have two such entries."""
        return _by_name(self.databases, name) if name else None

    def table(self, database: str | None, name: str) -> Table | None:
        """The entry of a table, or None when it has none (it lives on `home(database)`)."""
        entry = self.database(database)
        return _by_name(entry.tables, name) if entry else None


_Entry = TypeVar("_Entry")


def _by_name(entries: Mapping[str, _Entry], name: str) -> _Entry | None:
    found = entries.get(name)
    if found is None:
        folded = name.lower()
        found = next((entry for known, entry in entries.items() if known.lower() == folded), None)
    return found
