"""Commands other than COM_QUERY: what each byte means for a session."""

from __future__ import annotations

from collections.abc import Callable

from parser.statement import Access, Kind, Statement, TableRef
from proxy.errors import ProtocolError, StatementRefused, TurnoutError
from proxy.front import fetching, local, prepared
from proxy.front.environment import Entry
from proxy.front.session import Session
from proxy.front.statements import forward
from proxy.plan.plan import Forward, Send
from proxy.plan.planner import plan as make_plan
from proxy.wire import capability as cap
from proxy.wire import command as com
from proxy.wire.packets import encode_eof, encode_err, encode_ok
from proxy.wire.response import FIELDS, SINGLE


def carry_out(session: Session, payload: bytes) -> None:
    """One command that is not COM_QUERY. Answers, or starts a task that will."""
    code = payload[0] if payload else -1
    handler = _HANDLERS.get(code)
    if handler is None:
        session.client.send(encode_err(1047, "08S01", "Unknown command"))
        session.environment.measures.error(1047)
        return
    try:
        handler(session, payload)
    except TurnoutError as error:
        session.fail(error)


def _quit(session: Session, payload: bytes) -> None:
    session.client.lose(None)


def _ping(session: Session, payload: bytes) -> None:
    session.client.send(encode_ok(0, 0, session.status, 0, b""))


def _init_db(session: Session, payload: bytes) -> None:
    session.run(local.use(session, payload[1:].decode("utf-8", "surrogateescape")))


def _statistics(session: Session, payload: bytes) -> None:
    session.client.send(session.client.listener.statistics().encode())


def _process_kill(session: Session, payload: bytes) -> None:
    if len(payload) < 5:
        raise ProtocolError("Malformed packet: COM_PROCESS_KILL without an id")
    number = int.from_bytes(payload[1:5], "little")
    session.run(local.kill_by_id(session, number, query_only=False))


def _set_option(session: Session, payload: bytes) -> None:
    option = int.from_bytes(payload[1:3], "little") if len(payload) >= 3 else 2
    if option > 1:
        raise ProtocolError("Unknown command", 1047, "08S01")
    session.run(_switch_option(session, payload, option == 0))


async def _switch_option(session: Session, payload: bytes, on: bool) -> None:
    for connection in session.held.values():
        connection.dirty = connection.dirty or "option"  # it no longer is what its pool holds
        await connection.command(payload, SINGLE)
    session.set_capability(cap.MULTI_STATEMENTS, on)
    session.client.send(encode_eof(0, session.status))


def _reset_connection(session: Session, payload: bytes) -> None:
    session.run(_reset(session))


async def _reset(session: Session) -> None:
    await session.release_all()
    session.reset()
    session.ok()


def _change_user(session: Session, payload: bytes) -> None:
    session.client.listener.change_user(session, payload)


def _field_list(session: Session, payload: bytes) -> None:
    name, _, _wildcard = payload[1:].partition(b"\0")
    table = TableRef(0, None, name.decode("utf-8", "surrogateescape"), "", 0, Access.READ)
    statement = Statement(Kind.DESCRIBE, tables=(table,), digest="COM_FIELD_LIST")
    environment = session.environment
    plan = make_plan(statement, environment.rules, environment.catalog, session.database)
    entry = Entry(plan, environment.measures.shape("COM_FIELD_LIST", plan.kind), b"")
    session.begin_statement(entry)
    session.lists_fields()
    if not isinstance(plan, Forward):
        plan.route(lambda value: None, b"")
        raise StatementRefused("The table's columns cannot be listed", reason="field-list")
    session.run(forward(session, entry, Send(plan.cluster), payload, primary=True, mode=FIELDS))


def _prepare(session: Session, payload: bytes) -> None:
    session.run(prepared.prepare(session, payload[1:]))


def _execute(session: Session, payload: bytes) -> None:
    prepared.start_execute(session, prepared.find(session, payload, "mysqld_stmt_execute"), payload)


def _stmt_close(session: Session, payload: bytes) -> None:
    prepared.close(session, payload)


def _long_data(session: Session, payload: bytes) -> None:
    prepared.long_data(session, payload)


def _stmt_reset(session: Session, payload: bytes) -> None:
    prepared.reset(session, payload)


def _stmt_fetch(session: Session, payload: bytes) -> None:
    fetching.fetch(session, prepared.find(session, payload, "mysqld_stmt_fetch"), payload)


_HANDLERS: dict[int, Callable[[Session, bytes], None]] = {
    com.COM_QUIT: _quit,
    com.COM_PING: _ping,
    com.COM_INIT_DB: _init_db,
    com.COM_STATISTICS: _statistics,
    com.COM_PROCESS_KILL: _process_kill,
    com.COM_SET_OPTION: _set_option,
    com.COM_RESET_CONNECTION: _reset_connection,
    com.COM_CHANGE_USER: _change_user,
    com.COM_FIELD_LIST: _field_list,
    com.COM_STMT_PREPARE: _prepare,
    com.COM_STMT_EXECUTE: _execute,
    com.COM_STMT_CLOSE: _stmt_close,
    com.COM_STMT_SEND_LONG_DATA: _long_data,
    com.COM_STMT_RESET: _stmt_reset,
    com.COM_STMT_FETCH: _stmt_fetch,
}
