"""SET in all its forms.

System variables are set on a real server first, which judges values and privileges and reports (session tracking) what
they became; the session remembers that and gives it to every connection it uses. A constant SET that succeeded once is
answered from memory. User variables set to numbers are carried likewise; what cannot be carried (user variables set to
strings or expressions, TIMESTAMP, INSERT_ID, roles, ...) pins the session to a connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from parser.shape import Lexer
from parser.statement import Assignment, Effect, Hole, Scope, Statement, Word
from proxy.back.connection import ServerConnection
from proxy.back.settings import CHARSET_VARIABLES, UNCARRIED, tracked_value
from proxy.errors import StatementRefused
from proxy.front.caching import acknowledge, note_everything
from proxy.front.session import Session
from proxy.front.statements import (
    check_afterthoughts,
    check_variables,
    finish_statement,
    join_transaction,
    may_have_variables,
    pin,
    settle,
)
from proxy.front.transactions import finish
from proxy.plan.plan import Plan
from proxy.wire import command as com
from proxy.wire.packets import encode_ok
from proxy.wire.status import IN_TRANS

_ON = re.compile(rb"=\s*(1|on|true|'on')\s*;?\s*\Z", re.IGNORECASE)
_INTEGER = re.compile(rb"-?\d{1,18}\Z")

Known = tuple[str, str, bytes, Lexer]  # home cluster, account, text, how it is read

# (home cluster, SET text, lexer's modes) -> what it changed. Only SETs whose result depends on nothing else.
_known: dict[Known, dict[str, bytes | None]] = {}
_KNOWN_LIMIT = 2000

_INSERT_IDS = frozenset({"last_insert_id", "identity"})  # what the session itself keeps of it goes where it is needed
_OF_CONNECTION = frozenset({"character_set_connection", "collation_connection"})
# Two names each, depending on the server; the tracker always reports them, under the name that the server knows.
_ISOLATION = frozenset({"transaction_isolation", "tx_isolation"})
_ACCESS_MODE = frozenset({"transaction_read_only", "tx_read_only"})


async def run_set(session: Session, plan: Plan, sql: bytes, shape: bytes, literals: list[bytes]) -> None:
    """Carry out one SET statement. Raises TurnoutError."""
    statement = plan.statement
    assignments = statement.assignments
    if not assignments:
        raise StatementRefused("This form of SET is not understood", 1064, "42000", reason="set-not-understood")
    if all(a.scope is Scope.USER for a in assignments):
        changes = _carried_variables(assignments, literals)
        if changes is not None and not session.pinned:
            session.settings = session.settings.with_changes(changes)
            session.ok()
            return
    if all(a.scope is Scope.NEXT_TRANSACTION for a in assignments) and not session.in_transaction:
        session.next_transaction.append(sql)
        session.ok()
        return
    home = session.environment.rules.home(session.database)
    key = (home, session.user, sql, session.lexer)
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
        if not item.name.isascii():
            return None  # how the name is sent depends on the charset of the moment
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


async def _on_server(session: Session, plan: Plan, sql: bytes, home: str, key: Known | None) -> None:
    """Run the SET on a connection that the session holds, or on a primary, and read what it changed."""
    statement = plan.statement
    assignments = statement.assignments
    check_afterthoughts(session, statement.effects)
    touches_autocommit = any(a.scope is Scope.SESSION and a.name == "autocommit" for a in assignments)
    if touches_autocommit and len(session.held) > 1 and not session.autocommit:
        # A server commits when autocommit is turned on (and only then); here the transaction is on several.
        if len(assignments) > 1 or not _ON.search(sql):
            raise StatementRefused(
                "In a transaction over several clusters autocommit can only be turned on by itself: SET autocommit = 1",
                reason="autocommit-in-transaction",
            )
        await finish(session, b"COMMIT", list(session.held))
        session.transaction.clear()
    cluster = _cluster(session, plan, home)
    held = session.held.get(cluster)
    if held is not None:
        connection = held
        await session.dress(connection)
    else:
        servers = session.environment.cluster(cluster)
        servers.primary.check_up()
        connection = await session.take(servers.primary)
    session.sending(connection)
    try:
        if held is None and (session.transaction.explicit or statement.tables):
            await join_transaction(session, connection, cluster)
        if plan.marks is not None and connection.pool is not None:  # it may call functions
            note_everything(session, (connection.pool.server.cluster,))
        answer = await connection.command(bytes((com.COM_QUERY,)) + sql)
        acknowledge(session, bool(connection.scanner.status & IN_TRANS) or session.in_transaction)
        entry = session.running
        assert entry is not None
        if connection.scanner.errno:
            session.client.write(answer)
            await settle(session, connection, entry)
            return
        found_rows = session.found_rows
        warnings, diagnostics = await _take_over(session, connection, assignments, key)
    except BaseException:
        finish_statement(session, connection)
        raise
    await settle(session, connection, entry)
    session.found_rows, session.row_count, session.last_on = found_rows, 0, None
    if warnings or not session.environment.mariadb:
        session.warning_count, session.diagnostics = warnings, diagnostics
    session.client.send(encode_ok(0, 0, session.status, warnings, b""))


def _cluster(session: Session, plan: Plan, home: str) -> str:
    """Where a SET is carried out: where its tables are, or the variables that it reads; else on home, or where the
    session is. Raises StatementRefused."""
    effects = plan.statement.effects
    if plan.statement.tables and plan.pin_cluster:
        cluster = plan.pin_cluster
    elif effects & Effect.READS_USER_VARIABLE and (known := may_have_variables(session)):
        cluster = next(iter(known))
    else:
        cluster = home if home in session.held else next(iter(session.held), home)
    check_variables(session, effects, cluster)
    return cluster


async def _take_over(
    session: Session,
    connection: ServerConnection,
    assignments: Sequence[Assignment],
    key: Known | None,
) -> tuple[int, bytes | None]:
    """After a SET that a server accepted: make what it changed the session's. Returns the number of its warnings, and
    what SHOW WARNINGS says, which our own queries would take away."""
    scanner = connection.scanner
    warnings = scanner.warnings
    if scanner.session_state:
        session.observe(connection, scanner.session_state)
        scanner.session_state = []
    diagnostics = await connection.command(b"\x03SHOW WARNINGS") if warnings else None
    if any(item.name in _INSERT_IDS for item in assignments):
        session.last_insert_id = await connection.number("SELECT LAST_INSERT_ID() LIMIT 1") or 0
    await _read_back(session, connection, assignments)
    reason = _pin_reason(assignments)
    if reason:
        pin(session, connection, reason)
    elif key is not None and not warnings:
        if len(_known) >= _KNOWN_LIMIT:
            _known.clear()
        settings = session.settings.items
        _known[key] = {name: value for name, value in settings.items() if _is_assigned(name, assignments)}
    return warnings, diagnostics


def _is_assigned(name: str, assignments: Sequence[Assignment]) -> bool:
    """Whether the setting `name` is one that these assignments determine."""
    for item in assignments:
        if item.name == name:
            return True
        if item.scope is Scope.NAMES and name in CHARSET_VARIABLES:
            return True
        if item.name in _OF_CONNECTION and name in _OF_CONNECTION:
            return True
        if item.name in _ISOLATION and name in _ISOLATION:
            return True
        if item.name in _ACCESS_MODE and name in _ACCESS_MODE:
            return True
    return False


async def _read_back(session: Session, connection: ServerConnection, assignments: Iterable[Assignment]) -> None:
    """Ask what the variables became: MariaDB's tracker is silent about `SET @@name = ..` without SESSION, and about
    what SET NAMES does to collation_connection."""
    names: dict[str, None] = {}
    for item in assignments:
        if item.scope is Scope.NAMES or item.name in CHARSET_VARIABLES:
            names.update(dict.fromkeys(CHARSET_VARIABLES))
        elif item.scope is Scope.SESSION and item.name not in UNCARRIED and item.name not in _ISOLATION | _ACCESS_MODE:
            names[item.name] = None
    if not names:
        return
    # LIMIT: sql_select_limit may be 0.
    asked = "SELECT " + ",".join("@@session." + name for name in names) + " LIMIT 1"
    values = await connection.row(asked, len(names))
    changes: dict[str, bytes | None] = {
        name: tracked_value(name, value) if value is not None else b"NULL" for name, value in zip(names, values)
    }
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
        if item.scope is Scope.SESSION and item.name in UNCARRIED and item.name not in _INSERT_IDS:
            return "session variable"
    return ""
