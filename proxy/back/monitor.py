"""Watching one server: is it up, is it read-only, how far behind is it, what has it applied.

One connection of the service account per server and worker probes every `health.every_s`. A server that has not
answered for `health.timeout_s` is down: what runs on it fails, and new statements fail at once, until a probe succeeds.
"""

from __future__ import annotations

import asyncio
import logging
import time

from proxy.back import gtid
from proxy.back.connection import ServerConnection
from proxy.back.server import Role, Server
from proxy.back.settings import for_charset, tracked_value
from proxy.errors import ServerFailed, TurnoutError
from proxy.rules import model
from proxy.wire.login import Secret

log = logging.getLogger("turnout.health")

# Too many connections, to the server or of one account (MySQL: ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS,
# ER_USER_LIMIT_REACHED). Such a server serves the connections that it has.
FULL = frozenset({1040, 1203, 1226})

_BASELINE_EVERY_S = 30.0
_REPLICA_EVERY_S = 0.1  # while sessions wait to see their own writes on a replica, a stale position costs primary reads

_BASELINE_COLUMNS = 9
_BASELINE = (
    "SELECT @@global.sql_mode, @@global.read_only, @@global.lower_case_table_names, "
    "@@global.character_set_client, @@global.character_set_results, @@global.collation_connection, "
    "@@global.wait_timeout, @@global.interactive_timeout, @@global.init_connect"
)


class Monitor:
    """Probes `server` until cancelled; `server.health` holds what was found."""

    def __init__(self, server: Server, account: model.ServiceAccount) -> None:
        self.server = server
        self.account = account
        self._connection: ServerConnection | None = None
        self._baseline_at = 0.0
        self._lag_at = 0.0
        self.probed = asyncio.Event()  # set after the first probe, whatever it found

    async def run(self) -> None:
        rules = self.server.health_rules
        fails_since: float | None = None
        try:
            while True:
                started = time.monotonic()
                try:
                    # A server that hangs is noticed within the time limit as a whole, not per step.
                    left = rules.timeout_s - (started - fails_since if fails_since is not None else 0.0)
                    async with asyncio.timeout(max(left, 0.5)):
                        await self._probe_again_if_lost(started)
                except (TurnoutError, TimeoutError, OSError, ValueError) as error:
                    self._drop()
                    now = time.monotonic()
                    reason = _reason(error, self.server.where)
                    if isinstance(error, TurnoutError) and error.errno in FULL:
                        # Who is turned away at the door knows that somebody is in.
                        fails_since = None
                        if self.server.mark_unknown(reason):
                            log.warning("server full", extra={"server": self.server.where, "reason": reason})
                    else:
                        fails_since = started if fails_since is None else fails_since
                        refused = isinstance(error, TurnoutError) and error.errno != 1159
                        if refused or now - fails_since >= rules.timeout_s or isinstance(error, TimeoutError):
                            if self.server.mark_down(reason):
                                log.error("server down", extra={"server": self.server.where, "reason": reason})
                else:
                    fails_since = None
                    if self.server.mark_up():
                        log.info("server up", extra={"server": self.server.where})
                self.probed.set()
                pause = rules.every_s
                if self.server.role is Role.REPLICA and fails_since is None:
                    pause = min(pause, _REPLICA_EVERY_S)
                await asyncio.sleep(max(0.05, pause - (time.monotonic() - started)))
        finally:
            self._drop()

    def _drop(self) -> None:
        self.server.health.position = None  # a server that comes back may have lost what it had
        if self._connection is not None:
            self._connection.abort(ServerFailed(f"{self.server.where}: probe ended"))
            self._connection = None

    async def _probe_again_if_lost(self, now: float) -> None:
        """A probe whose own connection was closed (a KILL, `wait_timeout`) says nothing about the server: a new one."""
        known = self._connection is not None
        try:
            await self._probe(now)
        except TurnoutError:
            lost = known and self._connection is not None and self._connection.aborted is not None
            if not lost:
                raise
            await self._probe(now)

    async def _probe(self, now: float) -> None:
        connection = self._connection
        if connection is None or connection.aborted is not None:
            self._baseline_at = 0.0
            connection = self._connection = await self._connect()
        if now - self._baseline_at >= _BASELINE_EVERY_S:
            await self._read_baseline(connection)
            self._baseline_at = now
        if self.server.role is Role.REPLICA:
            await self._read_position(connection)
            if now - self._lag_at >= self.server.health_rules.every_s:
                await self._read_lag(connection)
                self._lag_at = now
        else:
            (read_only,) = await connection.row("SELECT @@global.read_only")
            self.server.health.baseline.read_only = _text(read_only) not in ("0", "OFF")

    async def _connect(self) -> ServerConnection:
        secret = Secret(password=self.account.password.encode(), native_stage1=None)
        return await self.server.connect(self.account.user, secret, 0, probe=True)

    async def _read_baseline(self, connection: ServerConnection) -> None:
        row = await connection.row(_BASELINE, _BASELINE_COLUMNS)
        baseline = self.server.health.baseline
        baseline.version = connection.server_version
        baseline.sql_mode = _text(row[0])
        baseline.read_only = _text(row[1]) not in ("0", "OFF")
        baseline.lower_case_table_names = int(_text(row[2]))
        baseline.wait_timeout_s, baseline.interactive_timeout_s = (float(_text(value)) for value in row[6:8])
        init_connect = _text(row[8])
        if baseline.init_connect != init_connect:
            baseline.init_connect = init_connect
            self.server.close()  # connections that were begun otherwise
        client, results, collation = (_text(value) for value in row[3:6])
        baseline.charset = for_charset(client, collation).with_changes(
            {"character_set_results": tracked_value("character_set_results", results.encode())}
        )

    async def _read_position(self, connection: ServerConnection) -> None:
        mariadb = "MariaDB" in connection.server_version
        (position,) = await connection.row("SELECT @@gtid_slave_pos" if mariadb else "SELECT @@gtid_executed")
        self.server.health.position = gtid.parse(_text(position))

    async def _read_lag(self, connection: ServerConnection) -> None:
        """Seconds behind the source as the server says; None when replication does not run."""
        mariadb = "MariaDB" in connection.server_version
        data = await connection.command(b"\x03" + (b"SHOW SLAVE STATUS" if mariadb else b"SHOW REPLICA STATUS"))
        self.server.health.lag_s = read_lag(data)


def read_lag(response: bytes) -> float | None:
    """The lag in a SHOW SLAVE STATUS / SHOW REPLICA STATUS response (framed). Raises ServerFailed on an error."""
    from proxy.wire.resultset import ResultsetReader

    reader = ResultsetReader()
    pos = 0
    while pos < len(response):
        n = int.from_bytes(response[pos : pos + 3], "little")
        reader.feed(response[pos + 4 : pos + 4 + n])
        pos += 4 + n
    if reader.err is not None:
        raise ServerFailed(
            f"SHOW SLAVE STATUS failed: {reader.err.message.decode('utf-8', 'replace')}; "
            "the service account needs REPLICA MONITOR (MariaDB) or REPLICATION CLIENT (MySQL)",
            errno=reader.err.errno,
        )
    names = [column.name.decode() for column in reader.columns]
    worst: float | None = None
    for row in reader.rows:
        values = dict(zip(names, row))
        lag = values.get("Seconds_Behind_Master", values.get("Seconds_Behind_Source"))
        if lag is None:
            return None
        worst = max(worst or 0.0, float(lag))
    return worst


def _reason(error: BaseException, where: str) -> str:
    """Why the server is down, without the place, which whoever tells of it names itself."""
    text = error.message if isinstance(error, TurnoutError) else str(error)
    for start in (f"Unable to connect to {where}: ", f"{where}: ", f"{where} "):
        text = text.removeprefix(start)
    return text or "no answer to a probe"


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")
