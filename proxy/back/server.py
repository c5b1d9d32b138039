"""One database server as this worker sees it: its pools, its limit, its health, its position in replication."""

from __future__ import annotations

import asyncio
import enum
import os
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Final
from weakref import WeakValueDictionary

from proxy.back import init_connect
from proxy.back.connection import ServerConnection
from proxy.back.counters import Counters
from proxy.back.gtid import GtidPosition
from proxy.back.held_pool import HeldPool
from proxy.back.pool import Pool, PoolKey
from proxy.back.settings import Settings, for_charset
from proxy.errors import ServerFailed, TurnoutError
from proxy.rules import model
from proxy.wire import capability as cap
from proxy.wire import proxy_header
from proxy.wire.login import Secret
from proxy.wire.proxy_header import Source

# What we ask of every server connection, besides the flags that change results (proxy.front.capabilities).
BASE_CAPABILITIES: Final = (
    cap.LONG_PASSWORD
    | cap.LONG_FLAG
    | cap.PROTOCOL_41
    | cap.TRANSACTIONS
    | cap.SECURE_CONNECTION
    | cap.PLUGIN_AUTH
    | cap.PLUGIN_AUTH_LENENC
    | cap.CONNECT_ATTRS
    | cap.SESSION_TRACK
)


# Every pooled connection logs in with this collation; sessions that want another get it by SET (proxy.back.settings).
LOGIN_COLLATION: Final = 45
LOGIN_SETTINGS: Final = for_charset("utf8mb4", "utf8mb4_general_ci")


class Role(enum.Enum):
    PRIMARY = "primary"
    REPLICA = "replica"


class State(enum.Enum):
    UNKNOWN = "unknown"  # not probed yet: statements may try
    UP = "up"
    DOWN = "down"


_DOWN: Final = State.DOWN  # asked for with every statement, and a member of an enumeration costs as much as a call


@dataclass
class Baseline:
    """Global values of the server that a new session begins with."""

    version: str = ""  # as in its greeting
    sql_mode: str = ""
    read_only: bool = False
    lower_case_table_names: int = 0
    wait_timeout_s: float = 28800.0
    interactive_timeout_s: float = 28800.0
    init_connect: str = ""  # statements that begin sessions there (proxy.back.init_connect)
    charset: Settings = LOGIN_SETTINGS  # of a login whose collation is unknown


@dataclass
class Health:
    state: State = State.UNKNOWN
    reason: str = ""
    since: float = field(default_factory=time.monotonic)
    lag_s: float | None = None  # replicas only; None: not replicating or not known
    position: GtidPosition | None = None  # what a replica has applied
    baseline: Baseline = field(default_factory=Baseline)


class Server:
    """See the module. Everything is called from the worker's event loop."""

    def __init__(
        self,
        cluster: str,
        role: Role,
        address: model.Address,
        limit: int,
        tls: ssl.SSLContext | None,
        pool_rules: model.Pool,
        health_rules: model.Health,
        spawn: Callable[[Coroutine[object, object, None], str], None],
        counters: Counters,
        *,
        compress: bool = False,
        proxy_header: model.ProxyHeader = model.ProxyHeader.OFF,
    ) -> None:
        self.cluster = cluster
        self.role = role
        self.address = address
        self.limit = limit
        self.tls = tls
        self.compress = compress
        self.proxy_header = proxy_header
        self.pool_rules = pool_rules
        self.health_rules = health_rules
        self.spawn = spawn
        self.where = f"cluster {cluster}, {role.value} {address}"
        # Those that a session or a connection refers to: where servers hear of clients' addresses, they come and go.
        self.pools: WeakValueDictionary[PoolKey, HeldPool] = WeakValueDictionary()
        self.connections: set[ServerConnection] = set()
        self.size = 0
        self.starved: dict[Pool, None] = {}  # that could not open a connection for their waiters, in this order
        self._turn = False
        self.retired = False  # by new rules: connections go when their sessions let go
        self.generation = 0  # raised when connections made before must not be used again
        self.health = Health()
        self.counters = counters
        self.validated: set[tuple[bytes, str]] = set()  # (SET text, account) that succeeded here: may be pipelined

    # -- pools -----------------------------------------------------------------------------------------------------

    def pool(self, key: PoolKey, secret: Secret) -> Pool:
        """The pool for an account and set of flags."""
        if key.origin and self.proxy_header is model.ProxyHeader.OFF:
            key = replace(key, origin="")
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = HeldPool(self, key, secret)
        elif pool.secret != secret:
            pool.secret = secret
        return pool

    def evict_idle(self, wanting: Pool) -> bool:
        """Close another pool's longest idle connection so that `wanting` can open one."""
        others = [p for p in self.pools.values() if p is not wanting and p.idle and not p.waiting]
        if not others:
            return False
        victim = min(others, key=lambda p: p.idle[0].idle_since)
        connection = victim.idle.pop(0)
        victim.on_closed(connection)
        connection.close()
        return True

    def others_wait(self, pool: Pool) -> bool:
        """Whether another pool has waiters that it could not open a connection for."""
        return any(other is not pool and other.waiting for other in self.starved)

    def turn(self) -> bool:
        """Every other time: whether a pool with waiters of its own is to leave a connection to those that have none."""
        self._turn = not self._turn
        return self._turn

    def feed_starved(self, last: Pool | None = None) -> None:
        """A connection came free or was closed: pools that could not open one for their waiters may try again."""
        starved, self.starved = self.starved, {}
        for pool in sorted(starved, key=lambda p: p is last):
            if pool.waiting:
                pool._open_more()

    def allow(self, limit: int) -> None:
        """So many connections from now on. More are opened for those who wait; what is too many is closed when it is
        not in use."""
        self.limit = limit
        for pool in list(self.pools.values()):
            while self.size > limit and pool.idle:
                connection = pool.idle.pop(0)
                pool.on_closed(connection)
                connection.close()
            if pool.waiting:
                pool._open_more()

    def forget(self, connection: ServerConnection) -> None:
        self.size -= 1
        self.counters.closed.add("lost" if connection.lost else "closed")
        self.connections.discard(connection)

    async def connect(
        self,
        user: str,
        secret: Secret,
        capabilities: int,
        *,
        probe: bool = False,
        kind: type[ServerConnection] = ServerConnection,
        origin: str = "",
    ) -> ServerConnection:
        """A new connection, logged in and tracking its session's state. Raises ServerFailed; at once where it is
        known to be down, except for a `probe`, which is what finds out that it no longer is. `origin`: the address that
        the server is told it is for, if it is told; "": Turnout's own."""
        if not probe:
            self.check_up()
        loop = asyncio.get_running_loop()
        connection = kind(
            self.where,
            user=user,
            secret=secret,
            capabilities=capabilities | BASE_CAPABILITIES,
            charset=LOGIN_COLLATION,
            settings=LOGIN_SETTINGS,
            tls=self.tls,
            tls_name=self.address.host or None,
            attributes={b"program_name": b"turnout", b"_pid": str(os.getpid()).encode()},
            compress=self.compress,
            introduce=self._introduction(origin),
        )
        connection.generation = self.generation
        connection.role = self.role
        try:
            async with asyncio.timeout(self.health_rules.connect_timeout_s):
                if self.address.path:
                    await loop.create_unix_connection(lambda: connection, self.address.path)
                else:
                    await loop.create_connection(lambda: connection, self.address.host, self.address.port)
                await connection.ready()
                await connection.query(tracking(connection.server_version))
                if self.health.baseline.init_connect:
                    await init_connect.observe(connection)
        except TimeoutError:
            connection.abort(ServerFailed(f"{self.where} did not answer", errno=1429, sqlstate="HY000"))
            self.counters.open_failed.add("timeout")
            raise ServerFailed(
                f"Unable to connect to {self.where}: no answer within {self.health_rules.connect_timeout_s:g} s",
                errno=1429,
                sqlstate="HY000",
            ) from None
        except OSError as error:
            self.counters.open_failed.add("unreachable")
            raise ServerFailed(
                f"Unable to connect to {self.where}: {error.strerror or error}", errno=1429, sqlstate="HY000"
            ) from error
        except TurnoutError:
            self.counters.open_failed.add("login")
            connection.abort(ServerFailed(f"{self.where}: login failed"))
            raise
        self.counters.opened += 1
        return connection

    def _introduction(self, origin: str) -> Callable[[Source | None], bytes] | None:
        """What makes a PROXY header for a server, given its own address. Whom a connection serves changes, so there is
        no port: clients of one address share it."""
        if self.proxy_header is model.ProxyHeader.OFF:
            return None
        source = Source(origin, 0) if origin else None
        write = proxy_header.v1 if self.proxy_header is model.ProxyHeader.V1 else proxy_header.v2
        return lambda destination: write(source, destination)

    # -- health ----------------------------------------------------------------------------------------------------

    def check_up(self) -> None:
        """Raises ServerFailed when the server is known to be down."""
        if self.health.state is State.DOWN:
            raise self.down_error()

    def down_error(self) -> ServerFailed:
        return ServerFailed(f"Unable to connect to {self.where}: {self.health.reason}", errno=1429, sqlstate="HY000")

    @property
    def usable(self) -> bool:
        return self.health.state is not _DOWN

    def mark_up(self) -> bool:
        """Returns whether this is news."""
        news = self.health.state is not State.UP
        if news:
            self.health.state = State.UP
            self.health.reason = ""
            self.health.since = time.monotonic()
        return news

    def mark_unknown(self, reason: str) -> bool:
        """The server is there but cannot be probed: statements may try. Returns whether this is news."""
        news = self.health.state is not State.UNKNOWN or not self.health.reason
        if self.health.state is not State.UNKNOWN:
            self.health.state = State.UNKNOWN
            self.health.since = time.monotonic()
        self.health.reason = reason
        return news

    def mark_down(self, reason: str) -> bool:
        """Fail whatever runs on the server; returns whether this is news."""
        news = self.health.state is not State.DOWN
        self.health.state = State.DOWN
        self.health.reason = reason
        self.health.lag_s = None
        self.health.position = None
        if news:
            self.health.since = time.monotonic()
            self.generation += 1
            self.validated.clear()
            for connection in list(self.connections):
                connection.abort(
                    ServerFailed(
                        f"Lost {self.where}: {reason}; whether the statement took effect is not known", errno=1159
                    )
                )
            for pool in self.pools.values():
                pool._failed(self.down_error())
        return news

    def trim(self, now: float) -> None:
        for pool in list(self.pools.values()):
            pool.trim(now)

    def close(self) -> None:
        """Retire the server: idle connections go now, busy ones when their session lets go."""
        self.generation += 1
        self.retired = True
        for pool in self.pools.values():
            pool.close()


def tracking(server_version: str) -> str:
    """The statement that makes the server report its session's state changes with every OK packet."""
    own = "" if "MariaDB" in server_version else ", session_track_gtids=OWN_GTID"
    return f"SET session_track_system_variables='*', session_track_schema=ON, session_track_state_change=OFF{own}"
