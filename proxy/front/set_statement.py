"""SET in all its forms.

System variables are set on a real server first, which judges values and privileges and reports (session tracking) what
they became; the session remembers that and gives it to every connection it uses. A constant SET that succeeded once is
answered from memory. User variables set to numbers are carried likewise; what cannot be carried (user variables set to
strings or expressions, TIMESTAMP, INSERT_ID, roles, ...) pins the session to a connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from parser.statement import Assignment, Effect, Hole, Scope, Statement, Word
from proxy.back.connection import ServerConnection
from proxy.back.settings import CHARSET_VARIABLES, UNCARRIED, tracked_value
from proxy.errors import StatementRefused
from proxy.front.session import Session
from proxy.front.statements import Relay, pin, settle
from proxy.front.transactions import finish
from proxy.plan.plan import Plan
from proxy.wire import command as com
from proxy.wire.frames import encode

_INTEGER = re.compile(rb"-?\d{1,18}\Z")

# (home cluster, SET text, lexer's modes) -> what it changed. Only SETs whose result depends on nothing else.
_known: dict[tuple[str, bytes], dict[str, bytes | None]] = {}
_KNOWN_LIMIT = 2000


async def run_set(session: Session, plan: Plan, sql: bytes, shape: bytes, literals: list[bytes]) -> None:
    """Carry out one SET statement. Raises TurnoutError."""
    statement = plan.statement
    assignments = statement.assignments
    if not assignments:
        raise StatementRefused("This form of SET is not understood", 1064, "42000", reason="set-not-understood")
    if any(a.scope is Scope.SESSION and a.name == "sql_log_bin" for a in assignments):
        raise StatementRefused(
            "SET sql_log_bin is not possible through Turnout: replicas and the cache follow the binary log. "
            "Connect to the server itself for maintenance",
            reason="sql-log-bin",
        )
    if all(a.scope is Scope.USER for a in assignments):
        changes = _carried_variables(assignments, literals)
        if changes is not None and not session.pinned:
            session.settings = session.settings.with_changes(changes)
            session.ok()
            return
    if all(a.scope is Scope.NEXT_TRANSACTION for a in assignments) and not session.in_transaction and not session.held:
        session.next_transaction.append(sql)
        session.ok()
        return
    home = session.environment.rules.home(session.database)
    key = (home, sql)
    if _repeatable(statement) and not session.held:
        known = _known.get(key)
        if known is not None:
            _apply(session, known)
            session.ok()
            return
    await _on_server(session, plan, sql, home, key if _repeatable(statement) else None)


def _carried_variables(assignments: Iterable[Assignment], literals: list[bytes]) -> dict[str, bytes | None] | None:
    """User variables set to integers (or NULL) as settings; None when one of them is something else."""
    changes: dict[str, bytes | None] = {}
    for item in assignments:
        value = item.value
        if value is Word.NULL:
            changes["@" + item.name] = None
        elif isinstance(value, Hole) and not value.is_string:
            text = (b"-" if value.negative else b"") + literals[value.index]
            if not _INTEGER.match(text):
                return None
            changes["@" + item.name] = text
        else:
            return None
    return changes


def _repeatable(statement: Statement) -> bool:
    """Whether the statement always has the same effect: constants only, session scope, none of the special ones."""
    for item in statement.assignments:
        if item.scope not in (Scope.SESSION, Scope.NAMES) or not item.constant or item.value is Word.DEFAULT:
            return False
        if item.name in UNCARRIED or item.name == "autocommit" or item.name in ("charset", "character set"):
            return False
    return not statement.effects & (Effect.READS_SYSTEM_VARIABLE | Effect.READS_USER_VARIABLE)


def _apply(session: Session, changes: dict[str, bytes | None]) -> None:
    session.settings = session.settings.with_changes(changes)
    session.refresh()


async def _on_server(session: Session, plan: Plan, sql: bytes, home: str, key: tuple[str, bytes] | None) -> None:
    """Run the SET on the connection that the session holds, or on home's primary, and read what it changed."""
    statement = plan.statement
    assignments = statement.assignments
    touches_autocommit = any(a.scope is Scope.SESSION and a.name == "autocommit" for a in assignments)
    if touches_autocommit and len(session.held) > 1:
        await finish(session, b"COMMIT", list(session.held))  # turning autocommit on commits; off finds nothing open
        session.transaction.clear()
    held = session.held.get(home) or next(iter(session.held.values()), None)
    if held is not None:
        connection = held
        await session.dress(connection)
    else:
        servers = session.environment.cluster(home)
        servers.primary.check_up()
        connection = await session.take(servers.primary)
    reason = _pin_reason(assignments)
    relay = Relay(session)
    session.running_on = connection
    try:
        connection.send(encode(bytes((com.COM_QUERY,)) + sql, 0), relay)
        await relay.done
    except BaseException:
        if connection.holder is not session:
            session.give_back(connection)
        raise
    entry = session.running
    assert entry is not None
    if connection.scanner.errno:
        await settle(session, connection, entry)
        return
    before = session.settings
    if connection.scanner.session_state:
        session.observe(connection, connection.scanner.session_state)
        connection.scanner.session_state = []
    if any(a.scope is Scope.NAMES or a.name in CHARSET_VARIABLES for a in assignments):
        await _read_charset(session, connection)
    if reason:
        pin(session, connection, reason)
    elif key is not None and connection.scanner.warnings == 0:
        if len(_known) >= _KNOWN_LIMIT:
            _known.clear()
        _known[key] = {
            name: value for name, value in session.settings.items.items() if _assigned(name, assignments, before, value)
        }
    await settle(session, connection, entry)


def _assigned(name: str, assignments: Iterable[Assignment], before: object, value: bytes) -> bool:
    """Whether the setting `name` is one that these assignments determine."""
    for item in assignments:
        if item.scope is Scope.NAMES and name in CHARSET_VARIABLES:
            return True
        if item.name == name:
            return True
        if item.name in CHARSET_VARIABLES and name in CHARSET_VARIABLES:
            return item.name in ("character_set_connection", "collation_connection") and name in (
                "character_set_connection",
                "collation_connection",
            )
        if item.name in ("transaction_isolation", "tx_isolation") and name in ("transaction_isolation", "tx_isolation"):
            return True
        if item.name in ("transaction_read_only", "tx_read_only") and name in ("transaction_read_only", "tx_read_only"):
            return True
    return False


async def _read_charset(session: Session, connection: ServerConnection) -> None:
    """The tracker leaves out what SET NAMES does to collation_connection: ask."""
    status = connection.scanner.status
    rows = await connection.query("SELECT " + ",".join("@@" + name for name in CHARSET_VARIABLES))
    changes: dict[str, bytes | None] = {
        name: tracked_value(name, value or b"") for name, value in zip(CHARSET_VARIABLES, rows[0])
    }
    del status
    session.settings = session.settings.with_changes(changes)
    connection.settings = connection.settings.with_changes(changes)
    session.refresh()


def _pin_reason(assignments: Iterable[Assignment]) -> str:
    """Why the session must stay on the connection after this SET; empty when everything in it can be carried."""
    for item in assignments:
        if item.scope is Scope.USER:
            return "user variable"
        if item.scope is Scope.ROLE:
            return "role"
        if item.scope is Scope.NEXT_TRANSACTION:
            return ""
        if item.scope is Scope.SESSION and item.name in UNCARRIED:
            return "session variable"
    return ""
