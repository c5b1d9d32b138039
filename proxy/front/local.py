"""Statements that the session itself carries out (`Local` plans)."""

from __future__ import annotations

import re

from parser.rewrite import unescape
from parser.statement import Hole, Kind, Statement, Value
from proxy.errors import StatementRefused
from proxy.front import answers
from proxy.front.caching import note_everything
from proxy.front.environment import Entry
from proxy.front.session import Session
from proxy.front.set_statement import run_set
from proxy.front.statements import forward, may_ask_for_file
from proxy.front.table_locks import lock_everything, unlock
from proxy.front.transactions import begin, end, savepoint
from proxy.front.values import TextValues
from proxy.plan.plan import Do, Forward, Local, Plan, Send
from proxy.wire import command as com
from proxy.wire.resultset import ColumnDefinition

_COUNT = re.compile(rb"\bcount\s*\(", re.IGNORECASE)
_LIMIT = re.compile(r"\blimit\s+(\d+)(?:\s*,\s*(\d+)|\s+offset\s+(\d+))?", re.IGNORECASE)


async def carry_out(
    session: Session, plan: Local, entry: Entry, sql: bytes, shape: bytes, literals: list[bytes]
) -> None:
    """Do what the plan says and answer the client. Raises TurnoutError."""
    statement = plan.statement
    do = plan.do
    if do is Do.BEGIN:
        await begin(session, sql)
    elif do in (Do.COMMIT, Do.ROLLBACK):
        await end(session, entry, sql)
    elif do is Do.SAVEPOINT:
        await savepoint(session, statement, sql)
    elif do is Do.SET:
        await run_set(session, plan, sql, shape, literals)
    elif do is Do.USE:
        await use(session, statement.name)
    elif do is Do.KILL:
        await kill(session, statement, TextValues(literals, session.lexer))
    elif do is Do.ANSWER:
        answer(session, statement)
    elif do is Do.DIAGNOSTICS:
        diagnostics(session, statement, sql)
    elif do is Do.TURNOUT:
        await session.client.listener.turnout(session, statement, sql)
    elif do is Do.PREPARE:
        await prepare(session, entry, sql, shape, literals)
    elif do is Do.NAMED:
        from proxy.front.named import run_named

        await run_named(session, statement, literals)
    elif do is Do.LOCK:
        await lock_everything(session, sql)
    elif do is Do.UNLOCK:
        await unlock(session)
    else:
        check_not_empty(shape)
        session.ok()


def check_not_empty(shape: bytes) -> None:
    """Of a text without a statement. A comment in it makes it one that does nothing (`sql_yacc.yy`, END_OF_INPUT).
    Raises StatementRefused."""
    if not shape.strip(b" \t\r\n\v\f;"):
        raise StatementRefused("Query was empty", 1065, "42000", reason="empty")


def answer(session: Session, statement: Statement) -> None:
    """SELECT LAST_INSERT_ID() and the like."""
    row = answers.session_row(
        statement.items,
        last_insert_id=session.last_insert_id,
        found_rows=session.found_rows,
        row_count=session.row_count,
        connection_id=session.connection_id,
    )
    columns = answers.session_columns(statement.items, statement.item_names)
    values: list[bytes | None] = [b"%d" % value for value in row]
    response = answers.response(columns, [values], session.status, binary=session.binary)
    session.client.answer(response)
    session.found_rows = 1
    session.row_count = -1
    if not session.environment.mariadb:
        session.diagnostics = None
        session.warning_count = 0


def diagnostics(session: Session, statement: Statement, sql: bytes) -> None:
    """SHOW WARNINGS, SHOW ERRORS, SHOW COUNT(*) WARNINGS, SELECT @@warning_count: about the statement before."""
    columns = diagnostics_columns(statement, sql)
    rows = answers.diagnostics_rows(session.diagnostics)
    errors = [row for row in rows if row[0] == b"Error"]
    about_errors = "error" in (statement.items[0] if statement.items else statement.name)
    if len(columns) == 1:
        count = len(errors) if about_errors else session.warning_count
        rows = [[b"%d" % count]]
    else:
        rows = errors if about_errors else rows
        limit = _LIMIT.search(sql.decode("utf-8", "replace"))
        if limit is not None:
            first, second, offset = (int(g) if g else None for g in limit.groups())
            start, number = (first, second) if second is not None else (offset or 0, first)
            rows = rows[start or 0 :][:number]
    session.client.write(answers.response(columns, rows, session.status, binary=session.binary))
    session.row_count = -1
    if statement.items:  # a SELECT
        session.found_rows = 1


def diagnostics_columns(statement: Statement, sql: bytes) -> list[ColumnDefinition]:
    """The columns of SHOW WARNINGS / ERRORS, or the one of their counts."""
    if statement.items:
        return [answers.count_column(statement.item_names[0])]
    if _COUNT.search(sql) is None:
        return answers.warning_columns()
    return [answers.count_column("@@session.error_count" if "error" in statement.name else "@@session.warning_count")]


async def use(session: Session, database: str) -> None:
    """USE and COM_INIT_DB."""
    await find_database(session, database)
    session.ok()


async def find_database(session: Session, database: str) -> None:
    """Make `database` the session's default; home judges whether it exists and the account may use it. Raises
    ServerFailed with the server's own error."""
    cluster = session.environment.rules.home(database)
    connection = session.held.get(cluster)
    if connection is not None:
        await session.dress(connection, database)
    else:
        servers = session.environment.cluster(cluster)
        servers.primary.check_up()
        connection = await session.take(servers.primary, database)
        session.give_back(connection)
    session.database = database
    session.refresh()


async def kill(session: Session, statement: Statement, values: TextValues) -> None:
    """KILL [QUERY | CONNECTION] id, by the ids that clients see."""
    await kill_by_id(session, _kill_id(session, statement.value, values), statement.detail == "query")


async def kill_by_id(session: Session, number: int, query_only: bool) -> None:
    """KILL and COM_PROCESS_KILL. Raises StatementRefused with MySQL's own errors."""
    if number == session.connection_id:
        if query_only:
            raise StatementRefused("Query execution was interrupted", 1317, "70100", reason="killed")
        session.client.lose(StatementRefused("Connection was killed", 1927, "70100", reason="killed"))
        return
    outcome = await session.client.listener.kill(number, query_only, session.user, session.admin)
    if outcome == "unknown":
        raise StatementRefused(f"Unknown thread id: {number}", 1094, "HY000", reason="unknown-thread")
    if outcome == "denied":
        raise StatementRefused(f"You are not owner of thread {number}", 1095, "HY000", reason="not-owner")
    session.ok()


def _kill_id(session: Session, value: Value | None, values: TextValues) -> int:
    if isinstance(value, Hole):
        number = values(value)
        if isinstance(number, int):
            return number
    raise StatementRefused(
        "KILL through Turnout takes the connection's number, as in SHOW TURNOUT SESSIONS or SELECT CONNECTION_ID()",
        reason="kill-expression",
    )


async def prepare(session: Session, entry: Entry, sql: bytes, shape: bytes, literals: list[bytes]) -> None:
    """SQL-level PREPARE, EXECUTE and DEALLOCATE: on one cluster, which the session is pinned to."""
    from proxy.front.named import run_named, unknown

    statement = entry.plan.statement
    name = statement.name.lower()
    if statement.kind is not Kind.PREPARE and name in session.named:
        await run_named(session, statement, literals)
        return
    session.named.pop(name, None)
    if statement.kind is Kind.PREPARE:
        inner = _inner(session, statement, literals)
        if not isinstance(inner, Forward) or may_ask_for_file(inner):
            await run_named(session, statement, literals)
            return
        cluster = inner.cluster
    else:
        known = session.sql_prepared.get(name)
        if known is None:
            raise unknown(statement)
        cluster = known
    if statement.kind is Kind.EXECUTE:
        note_everything(session, (cluster,))
    pinned = Entry(_pinned(entry.plan, cluster), entry.stats, shape)
    await forward(session, pinned, Send(cluster), bytes((com.COM_QUERY,)) + sql, primary=True)
    if statement.kind is Kind.PREPARE:
        session.sql_prepared[name] = cluster
    elif statement.kind is Kind.DEALLOCATE:
        session.sql_prepared.pop(name, None)


def _inner(session: Session, statement: Statement, literals: list[bytes]) -> Plan | None:
    """The plan of the statement that PREPARE is given as a string; None for what is no string."""
    given = statement.value
    if not isinstance(given, Hole) or not given.is_string:
        return None
    sql = unescape(literals[given.index], session.lexer, b'"' if given.double_quoted else b"'")
    shape, inner_literals = session.lexer.shape(sql)
    cache = session.environment.cache(session.database, session.lexer, prepared=True)
    inner = cache.get(shape) or session.environment.miss(cache, shape, inner_literals, prepared=True)
    return inner.plan


def _pinned(plan: object, cluster: str) -> Forward:
    from proxy.plan.plan import Route

    assert isinstance(plan, Plan)
    return Forward(
        statement=plan.statement,
        cluster=cluster,
        fixed=Route((Send(cluster),)),
        writes=True,
        pins="prepared statement",
        effects=plan.effects,
    )
