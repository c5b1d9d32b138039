"""What takes too long: clients that say nothing, and statements that do not end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from proxy.back.connection import FileSink, ServerConnection, Sink
from proxy.errors import StatementRefused, TurnoutError
from proxy.front.session import Session
from proxy.plan.plan import Local
from proxy.wire import capability as cap
from proxy.wire.packets import encode_err

if TYPE_CHECKING:
    from proxy.front.client import Client
    from proxy.front.environment import Environment

INTERRUPTED = 1317
_DEFAULT_IDLE_S = 28800.0  # MySQL's own


@dataclass(frozen=True, slots=True)
class IdleLimits:
    """How long clients may say nothing: what one has set itself (`SET wait_timeout`) or its server begins with, and not
    longer than `limits.idle`."""

    most_s: float | None
    wait_s: float
    interactive_s: float

    @staticmethod
    def of(environment: Environment) -> IdleLimits:
        most_s = environment.rules.limits.idle_s
        home = environment.servers.get(environment.rules.default_home)
        if most_s is not None or home is None:
            base_s = _DEFAULT_IDLE_S if most_s is None else most_s
            return IdleLimits(most_s, base_s, base_s)
        baseline = home.primary.health.baseline
        return IdleLimits(None, baseline.wait_timeout_s, baseline.interactive_timeout_s)

    def seconds(self, client: Client, session: Session) -> float:
        value = session.settings.get("wait_timeout")
        if value is not None and (text := value.strip(b"'")).isdigit():
            return float(text) if self.most_s is None else min(float(text), self.most_s)
        return self.interactive_s if client.capabilities & cap.INTERACTIVE else self.wait_s


def idle_error(session: Session) -> TurnoutError | None:
    """What a client is told that has been idle for too long: MySQL says it since 8.0.24, MariaDB just goes."""
    if session.environment.mariadb:
        return None
    return TurnoutError(
        "The client was disconnected by the server because of inactivity. See wait_timeout and interactive_timeout for "
        "configuring this behavior.",
        4031,
        "HY000",
    )


def timeout_error(session: Session) -> StatementRefused:
    """A statement has taken longer than `limits.statement`: ER_STATEMENT_TIMEOUT, on MySQL ER_QUERY_TIMEOUT."""
    limit = session.environment.rules.limits.statement_s or 0.0
    if session.environment.mariadb:
        text = f"Query execution was interrupted (max_statement_time exceeded: limits.statement is {limit:g} s)"
        return StatementRefused(text, 1969, "70100", reason="statement-time")
    text = f"Query execution was interrupted, maximum statement execution time exceeded (limits.statement: {limit:g} s)"
    return StatementRefused(text, 3024, "HY000", reason="statement-time")


class Overdue:
    """Stands in for the sink of a statement that is being killed: "interrupted" is told as what it means."""

    def __init__(self, session: Session, sink: Sink) -> None:
        self._session = session
        self._sink = sink

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self._sink.on_data(connection, data)

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        scanner = connection.scanner
        if scanner.errno == INTERRUPTED:
            error = timeout_error(self._session)
            payload = encode_err(error.errno, error.sqlstate, error.message)
            response = b"".join(pieces)
            at = len(response) - len(scanner.error) - 4  # an ERR packet ends a response
            header = len(payload).to_bytes(3, "little") + response[at + 3 : at + 4]
            pieces = [response[:at] + header + payload]
            scanner.errno, scanner.error = error.errno, payload
            self._session.environment.measures.refused(error.reason)
        self._sink.on_end(connection, pieces)

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        self._sink.on_lost(connection, error)

    def on_file_asked(self, connection: ServerConnection) -> None:
        cast(FileSink, self._sink).on_file_asked(connection)


def is_overdue(session: Session, latest: int) -> bool:
    """Whether a statement is under way that began before `latest` (perf_counter_ns) and is not being killed yet. What
    Turnout carries out itself is not: most of all a COMMIT, which has to come to its end."""
    running = session.running
    if running is None or not session.busy or isinstance(running.plan, Local):
        return False
    return session.began < latest and session.overdue != session.began


def end_statement(session: Session) -> list[ServerConnection] | None:
    """Mark the statement under way as overdue; returns the connections on which it has to be killed. None: it is
    between two steps, and has to be looked at again."""
    running = session.running_connections()
    if not running and not session.waiting:
        return None
    session.overdue = session.began
    if not running:
        session.interrupt()
    for connection in running:
        if connection.sink is not None:
            connection.sink = Overdue(session, connection.sink)
    return running
