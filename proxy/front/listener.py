"""Accepting clients: who may log in, what they become, and the services that their sessions share."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine

from cryptography.hazmat.primitives.asymmetric import rsa

from parser.statement import Statement
from proxy.back.init_connect import begun_with
from proxy.back.server import LOGIN_SETTINGS, Server
from proxy.back.settings import NONE, Settings, for_charset
from proxy.errors import Defect, ProtocolError, StatementRefused, TurnoutError
from proxy.front import commands
from proxy.front.accounts import AccountBook
from proxy.front.answers import table_response
from proxy.front.busy_poll import BusyPoll
from proxy.front.client import Client
from proxy.front.environment import Entry, Environment
from proxy.front.guard import directory_lines
from proxy.front.killing import kill_on_server
from proxy.front.overdue import IdleLimits, end_statement, idle_error, is_overdue
from proxy.front.processors import IdleProcessors, busy_polling
from proxy.front.quiet import QuietClients
from proxy.front.rates import Rates
from proxy.front.session import Session
from proxy.front.values import TextValues
from proxy.measure.log import slow_statement
from proxy.measure.measures import Measures
from proxy.measure.peers import Peers
from proxy.plan.foreign_keys import lines as foreign_key_lines
from proxy.plan.places import unmatched
from proxy.plan.planner import plan as make_plan
from proxy.rules.model import Compression, ListenTls, Rules
from proxy.wire import auth
from proxy.wire import capability as cap
from proxy.wire.charsets import client_charset_allowed, collation
from proxy.wire.handshake import Greeting
from proxy.wire.login import Accepted, ClientLogin, Rejected
from proxy.wire.packets import encode_err

_time = time.time
_monotonic = time.monotonic
_now = time.perf_counter_ns
log = logging.getLogger("turnout.front")

# What clients may use. Not offered: SESSION_TRACK, DEPRECATE_EOF, QUERY_ATTRIBUTES; see docs/PROTOCOL.md.
# SSL is added where a certificate is configured, COMPRESS where the rules do not take it out.
OFFERED = (
    cap.LONG_PASSWORD
    | cap.FOUND_ROWS
    | cap.LONG_FLAG
    | cap.CONNECT_WITH_DB
    | cap.NO_SCHEMA
    | cap.ODBC
    | cap.LOCAL_FILES
    | cap.IGNORE_SPACE
    | cap.PROTOCOL_41
    | cap.INTERACTIVE
    | cap.IGNORE_SIGPIPE
    | cap.TRANSACTIONS
    | cap.RESERVED
    | cap.SECURE_CONNECTION
    | cap.MULTI_STATEMENTS
    | cap.MULTI_RESULTS
    | cap.PS_MULTI_RESULTS
    | cap.PLUGIN_AUTH
    | cap.CONNECT_ATTRS
    | cap.PLUGIN_AUTH_LENENC
    | cap.CAN_HANDLE_EXPIRED_PASSWORDS
)
# Flags that change what a server answers: connections with different ones are not interchangeable.
RESULT_FLAGS = (
    cap.FOUND_ROWS
    | cap.IGNORE_SPACE
    | cap.MULTI_STATEMENTS
    | cap.MULTI_RESULTS
    | cap.PS_MULTI_RESULTS
    | cap.NO_SCHEMA
    | cap.LOCAL_FILES
)

# Connection ids: the worker's slot is `id % SLOTS`; they begin where no server's thread ids are, so that a KILL by an
# id seen in a server's own process list cannot hit somebody else.
SLOTS = 64
FIRST_ID = 1 << 30
_DATABASE_KNOWN_S = 30.0
_FALLBACK_VERSION = "8.0.36"


def _nothing() -> None:
    """Nobody listens."""


async def _none() -> None:
    """There is nothing to wait for."""


class Listener:
    """What `Client` and `Session` ask of the worker. One per worker."""

    def __init__(self, rules: Rules, environment: Environment, slot: int, measures: Measures) -> None:
        self.rules = rules
        self.environment = environment
        self.slot = slot
        self.measures = measures
        self.accounts = AccountBook(rules)
        self.clients: dict[int, Client] = {}
        self.draining = False
        self.started = _time()
        self.tls: ssl.SSLContext | None = None
        self.peers: Peers | None = None  # the other workers: SHOW TURNOUT .., KILL of their clients
        self.schemas_changed: Callable[[], None] = _nothing  # called after DDL
        self.refresh_schemas: Callable[[], Awaitable[None]] = _none  # all workers read them again, before it returns
        self._empty: asyncio.Future[None] | None = None  # done when the last client of a drained worker is gone
        self._counter = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sha2_cache = auth.Sha2Cache(10_000)
        self._rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._databases: dict[tuple[str, str], float] = {}
        self._rates = Rates()
        self.quiet = QuietClients(_monotonic())
        self.busy_poll = BusyPoll(measures)
        self.busy_poll.stay_for(busy_polling(rules))
        self._idle = IdleProcessors()
        self.tls = tls_context(rules.listen.tls)

    # -- tasks -------------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[object, object, None], what: str) -> asyncio.Task[None]:
        """A task that is kept until it ends and whose failure is logged; the only way to make one here."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("task failed", exc_info=task.exception(), extra={"task": task.get_name()})

    # -- rules -------------------------------------------------------------------------------------------------------

    def apply(self, rules: Rules, environment: Environment) -> None:
        """New rules: for new logins at once, for sessions when their transaction ends."""
        self.rules = rules
        self.move_to(environment)
        accounts = AccountBook(rules)
        accounts.take_grants(self.accounts)
        self.accounts = accounts
        self._databases.clear()
        self.busy_poll.stay_for(busy_polling(rules))
        try:
            self.tls = tls_context(rules.listen.tls)
        except (OSError, ssl.SSLError) as error:  # they were right a moment ago, and are being replaced
            log.error("cannot read the certificate; the one in force stays", extra={"error": str(error)})

    def move_to(self, environment: Environment) -> None:
        """What statements are planned by from now on. Sessions follow when they are idle."""
        self.environment = environment
        for client in self.clients.values():
            if client.session is not None:
                client.session.outlive(environment)

    # -- logging in --------------------------------------------------------------------------------------------------

    def next_connection_id(self) -> int:
        return FIRST_ID + next(self._counter) * SLOTS + self.slot

    def admit(self, client: Client) -> TurnoutError | None:
        """A client has connected; an error when it must go."""
        self.measures.accepted += 1
        if self.draining:
            return TurnoutError("Server shutdown in progress", 1053, "08S01")
        if len(self.clients) >= self.rules.listen.max_connections:
            self.measures.login("too-many")
            return TurnoutError("Too many connections", 1040, "08004")
        self.clients[client.connection_id] = client
        self.measures.clients = len(self.clients)
        return None

    def admit_login(self, client: Client) -> TurnoutError | None:
        """It is known where a client is from; an error when it must not log in now."""
        refused = self._rates.admit(client.origin, self.rules.limits, _monotonic())
        if refused is None:
            return None
        outcome, error = refused
        self.measures.login(outcome)
        self.measures.error(error.errno)
        return error

    def bad_header(self, client: Client, error: ProtocolError) -> None:
        self.measures.login("proxy-header")
        self.measures.error(error.errno)
        log.warning("PROXY header refused", extra={"host": client.host, "reason": error.message})

    def gone(self, client: Client) -> None:
        self.clients.pop(client.connection_id, None)
        self.quiet.gone(client)
        self.measures.clients = len(self.clients)
        if self.draining and not self.clients and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def empty(self, timeout_s: float) -> None:
        """Wait until the last client is gone, or the time is over."""
        if not self.clients:
            return
        self._empty = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._empty], timeout=timeout_s)

    def login(self, client: Client) -> ClientLogin:
        return self._login(client, self._greeting(client.connection_id, auth.new_scramble()))

    def _login(self, client: Client, greeting: Greeting) -> ClientLogin:
        return ClientLogin(
            greeting,
            self.accounts.find,
            client.host,
            tls_available=self.tls is not None,
            tls_required=self.rules.listen.tls is not None and self.rules.listen.tls.require,
            secure=client.secure,
            rsa_key=self._rsa_key,
            sha2_cache=self._sha2_cache,
        )

    def _greeting(self, connection_id: int, scramble: bytes) -> Greeting:
        home = self.environment.servers.get(self.rules.default_home)
        version = home.primary.health.baseline.version if home is not None else ""
        return Greeting(
            server_version=(version or _FALLBACK_VERSION) + "-turnout",
            connection_id=connection_id,
            scramble=scramble,
            capabilities=self._offered(),
            charset=45,
            status=2,
            plugin="mysql_native_password" if "MariaDB" in version else "caching_sha2_password",
        )

    def _offered(self) -> int:
        compression = self.rules.listen.compression
        return OFFERED | cap.COMPRESS if compression is not Compression.OFF else OFFERED

    def change_user(self, session: Session, payload: bytes) -> None:
        """COM_CHANGE_USER: a login in the middle of a connection."""
        client = session.client
        client.change_user = self._login(client, self._greeting(client.connection_id, client.scramble))
        client.begin_change_user(client.change_user.start_change_user(payload, client.capabilities, client.sequence))

    def accepted(self, client: Client, event: Accepted) -> None:
        """The password was right: make the session, in its database."""
        old = client.session
        client.scramble = event.scramble
        client.capabilities = event.capabilities
        session = Session(
            client,
            self.environment,
            event.user,
            event.secret,
            event.capabilities & RESULT_FLAGS,
            self._initial_settings(event.charset),
            None,
            client.connection_id,
            self.accounts.is_admin(event.user),
        )
        known = not event.database or ((event.user, event.database) in self._databases and old is None)
        if known and (old is not None or self._begun_by(event.database) is None):
            session.database = event.database or None
            session.refresh()
            if old is None:
                self.measures.login()
                client.logged_in(session, event.sequence, event.leftover)
                return
        self.spawn(self._enter(client, session, old, event), "login")

    async def _enter(self, client: Client, session: Session, old: Session | None, event: Accepted) -> None:
        """The part of a login that has to wait: the old session's end, the database's existence."""
        from proxy.front.local import find_database

        if old is not None:
            await old.release_all()
            old.closed = True
        try:
            if event.database:
                await find_database(session, event.database)
            begun_by = self._begun_by(session.database) if old is None else None  # servers do not begin again either
            if begun_by is not None:
                await self._begin(session, begun_by)
        except TurnoutError as error:
            self.measures.login("unknown-database" if error.errno in (1044, 1049) else "server")
            client.refuse_login(encode_err(error.errno, error.sqlstate, error.message), event.sequence)
            return
        if event.database:
            if len(self._databases) > 10_000:
                self._databases.clear()
            self._databases[event.user, event.database] = _monotonic()
        self.measures.login()
        client.logged_in(session, event.sequence, event.leftover)

    def _begun_by(self, database: str | None) -> Server | None:
        """The server whose own statements (init_connect) begin a session in this database."""
        home = self.environment.servers.get(self.rules.home(database or None))
        return home.primary if home is not None and home.primary.health.baseline.init_connect else None

    async def _begin(self, session: Session, server: Server) -> None:
        """Give a session what those statements set for its account. Raises TurnoutError."""
        pool = server.pool(session.key, session.secret)
        if pool.initial is None:
            pool.release(await pool.take(session.settings, session.database))
        if pool.initial is not None:
            session.settings = begun_with(pool.initial, session.settings, LOGIN_SETTINGS)
            session.refresh()

    def _initial_settings(self, charset: int) -> Settings:
        """What a login with this collation id sets; the server's own defaults for ids that it does not know."""
        home = self.environment.servers.get(self.rules.default_home)
        mysql = home is not None and "MariaDB" not in home.primary.health.baseline.version
        found = collation(charset, mysql=mysql)
        if found is None or not client_charset_allowed(found.charset) or (not mysql and charset == 255):
            return home.primary.health.baseline.charset if home is not None else NONE
        return for_charset(found.charset, found.name)

    def rejected(self, client: Client, event: Rejected) -> None:
        self.measures.login("wrong-password" if event.errno == 1045 else "handshake")
        self.measures.error(event.errno)
        log.info("login refused", extra={"user": event.user, "host": client.host, "reason": event.reason})

    def timed_out(self, client: Client) -> None:
        self.measures.login("timeout")
        log.info("login timed out", extra={"host": client.host})

    def tick(self) -> None:
        """Once a second: forget databases that were seen too long ago, dismiss clients that say nothing."""
        now = _monotonic()
        if self.busy_poll.is_to_be_judged():
            self.busy_poll.judge(_now(), self._idle.since_last(now))
        self._databases = {key: at for key, at in self._databases.items() if at > now - _DATABASE_KNOWN_S}
        limits = IdleLimits.of(self.environment)
        for client, session in self.quiet.tick(now, limits):
            self.measures.dismissed("idle")
            client.sequence = -1  # nobody has asked
            client.lose(idle_error(session))

    def end_overdue(self) -> None:
        """Kill statements that have taken longer than `limits.statement`."""
        limit = self.rules.limits.statement_s
        if limit is None:
            return
        latest = _now() - int(limit * 1e9)
        for client in self.quiet.awake:
            session = client.session
            if session is None or not is_overdue(session, latest):
                continue
            running = end_statement(session)
            if running is not None:
                self.measures.killed("statement time")
            for connection in running or ():
                if connection.pool is not None:
                    self.spawn(kill_on_server(connection.pool.server, session, connection), "KILL")

    # -- sessions ----------------------------------------------------------------------------------------------------

    def command(self, session: Session, payload: bytes) -> None:
        commands.carry_out(session, payload)

    def slow(self, session: Session, entry: Entry, seconds: float) -> None:
        self.measures.slow_statements += 1
        began, sent = session.times
        total = int(seconds * 1e9)
        server = total - (sent - began) if sent >= began else 0
        slow_statement(
            entry.stats.shape.id,
            entry.stats.digest,
            entry.plan.kind,
            total,
            server,
            session.found_rows or 0,
            session.connection_id,
        )

    def unexpected(self, error: BaseException) -> Defect:
        """Our own mistake: logged under an id that the client is given."""
        number = secrets.token_hex(4)
        log.error("defect", exc_info=error, extra={"id": number})
        return Defect(f"Turnout failed on this statement by a mistake of its own; the log has it under id {number}")

    def statistics(self) -> str:
        """COM_STATISTICS, in the form that the server's own has."""
        sessions = [c.session for c in self.clients.values() if c.session is not None]
        total = sum(s.statements for s in sessions)
        return (
            f"Uptime: {int(_time() - self.started)}  Threads: {len(sessions)}  Questions: {total}  "
            f"Slow queries: {self.measures.slow_statements}"
        )

    async def kill(self, number: int, query_only: bool, user: str, admin: bool) -> str:
        """KILL by the id that clients see: "" when done, "unknown", "denied"."""
        if number >= FIRST_ID and number % SLOTS == self.slot:
            return self.kill_here(number, query_only, user, admin)
        if number >= FIRST_ID and self.peers is not None:
            return await self.peers.kill(number, query_only, user, admin)
        return "unknown"

    def kill_here(self, number: int, query_only: bool, user: str, admin: bool) -> str:
        """The same for a client of this worker."""
        client = self.clients.get(number)
        session = client.session if client is not None else None
        if client is None or session is None:
            return "unknown"
        if session.user != user and not admin:
            return "denied"
        self.measures.killed("query" if query_only else "connection")
        running = session.running_connections()
        if not running:
            session.interrupt()
        for connection in running:
            if connection.pool is not None:
                self.spawn(kill_on_server(connection.pool.server, session, connection), "KILL")
        if not query_only:
            session.doomed_by_kill()
        return ""

    async def turnout(self, session: Session, statement: Statement, sql: bytes) -> None:
        """SHOW TURNOUT .. and TURNOUT EXPLAIN. Raises StatementRefused."""
        if not session.admin:
            raise StatementRefused(
                "Access denied; SHOW TURNOUT and TURNOUT EXPLAIN are for accounts with 'admin: true' in the rules",
                1227,
                "42000",
                reason="not-admin",
            )
        if statement.inner is not None:
            plan = make_plan(statement.inner, self.environment.rules, self.environment.catalog, session.database)
            if self.peers is not None:
                columns, rows = self.peers.explain(plan)
            else:
                columns, rows = ["what", "value"], [list(line) for line in plan.describe()]
            reason = self.environment.not_served(plan)
            if reason:
                rows = [*rows, ["cache now", f"not served: {reason}"]]
            values = TextValues(session.lexer.shape(sql)[1], session.lexer)
            for line in unmatched(statement.inner.tables, session.database):
                rows = [*rows, ["note", line]]
            for line in foreign_key_lines(
                statement.inner, self.environment.rules, self.environment.catalog, session.database
            ):
                rows = [*rows, ["foreign key", line]]
            for line in await directory_lines(plan, values):
                rows = [*rows, ["directory", line]]
            session.client.write(table_response(columns, rows, session.status))
            return
        if self.peers is None:
            raise StatementRefused("SHOW TURNOUT is not available in this process", reason="no-console")
        columns, rows = await self.peers.show(statement.detail)
        session.client.write(table_response(columns, rows, session.status))

    def dismiss(self, client: Client) -> None:
        """Graceful stop: this client's time is over. One whose statement runs is told why; an idle one would take that
        for the answer to its next statement, and just sees the end of the connection, as with a server."""
        error = ProtocolError("Server shutdown in progress", 1053, "08S01")
        client.lose(error if client.session is not None and client.session.busy else None)

    def drain(self) -> None:
        """Refuse new clients and dismiss those that are between transactions."""
        self.draining = True
        for client in list(self.clients.values()):
            session = client.session
            if session is None or (not session.busy and not session.in_transaction):
                self.dismiss(client)


def tls_context(settings: ListenTls | None) -> ssl.SSLContext | None:
    """The server side of TLS towards clients, as the files are now. Raises OSError or ssl.SSLError."""
    if settings is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(settings.cert), str(settings.key))
    if settings.client_ca is not None:
        context.load_verify_locations(str(settings.client_ca))
        context.verify_mode = ssl.CERT_REQUIRED
    return context
