"""Prepared statements (COM_STMT_*): the client's, and the servers' that stand for them.

A client's statement is its text, its plan and what the client bound; it belongs to no server. When it is executed, the
values choose the target, and the connection that is used gets the text prepared once (`ServerConnection.statements`,
bounded; the least recently used is closed). The id in the EXECUTE packet is then patched and the rest relayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from parser.fill import params_before
from parser.shape import Lexer
from parser.statement import Effect, Param
from proxy.back.connection import ServerConnection, ServerStatement
from proxy.back.directory import KeysUnknown
from proxy.back.settings import CHARSET_VARIABLES, Settings
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front import answers, caching, local
from proxy.front.caching import Known, Served
from proxy.front.environment import Entry, Environment, PlanCache, clusters_of
from proxy.front.guard import TRIES, DirectoryChanged, Guard, confirm, routed
from proxy.front.made_ids import reserve
from proxy.front.sequences import IdsVoided
from proxy.front.session import Session
from proxy.front.statements import (
    TRIES_FOR_IDS,
    Relay,
    check_afterthoughts,
    end_branches,
    join_transaction,
    obtain,
    run_text,
    settle,
    tell_ids,
    with_connection_id,
)
from proxy.front.statements import record as record_statement
from proxy.front.values import BoundValues
from proxy.plan import refusals
from proxy.plan.inserts import InsertRows
from proxy.plan.plan import Do, Local, Send
from proxy.plan.workbench import Workbench
from proxy.wire import command as com
from proxy.wire.binary import Execute, decode_params, parse_execute, rebuild_execute, with_integers
from proxy.wire.frames import encode
from proxy.wire.packets import encode_eof, parse_err
from proxy.wire.response import PREPARE, QUERY
from proxy.wire.resultset import ColumnDefinition, encode_column

_MAX_PREPARED = 16382  # per session: MySQL's default of max_prepared_stmt_count


@dataclass(slots=True)
class Prepared:
    """One statement of one client. `types`: two bytes a parameter, as last bound; `long_data` by parameter."""

    id: int
    sql: bytes
    shape: bytes
    literals: list[bytes]
    database: str | None
    lexer: Lexer
    environment: Environment
    entry: Entry
    settings: Settings  # at PREPARE, when the text was read
    params: int = 0
    columns: int = 0
    types: bytes | None = None
    long_data: dict[int, bytearray] = field(default_factory=dict)
    long_error: StatementRefused | None = None
    with_ids: dict[tuple[bool, ...], Prepared] = field(default_factory=dict)  # by rows with a parameter for it
    known: dict[bytes, Known] | None = None  # executions whose answers came from memory (`PlanCache.executions`)
    key: tuple[bytes, str | None, tuple[bytes | None, ...]] = field(init=False)
    # What makes two server-side statements the same: the text, and what changes how a server reads it.

    def __post_init__(self) -> None:
        self.key = self.make_key()

    def make_key(self) -> tuple[bytes, str | None, tuple[bytes | None, ...]]:
        return self.sql, self.database, reading(self.settings)


_NONE: frozenset[int] = frozenset()
READING = ("sql_mode", *CHARSET_VARIABLES)


def reading(settings: Settings) -> tuple[bytes | None, ...]:
    """The settings that decide what a text means when it is read."""
    return tuple(settings.get(name) for name in READING)


async def prepare(session: Session, sql: bytes) -> None:
    """COM_STMT_PREPARE. Raises TurnoutError."""
    if len(session.prepared) >= _MAX_PREPARED:
        raise StatementRefused(
            f"Can't create more than max_prepared_stmt_count statements (current value: {_MAX_PREPARED})",
            1461,
            "42000",
            reason="too-many-prepared",
        )
    shape, literals = session.lexer.shape(sql)
    cache = session.environment.cache(session.database, session.lexer, prepared=True)
    entry = _entry(session.environment, cache, shape, literals)
    session.running = entry
    prepared = Prepared(
        session.next_statement_id,
        sql,
        shape,
        literals,
        session.database,
        session.lexer,
        session.environment,
        entry,
        session.settings,
    )
    if entry.plan.effects & Effect.USES_CONNECTION_ID:  # the id that this client knows, not the server's
        prepared.sql = with_connection_id(session.connection_id, shape, literals)
        prepared.key = prepared.make_key()
    session.next_statement_id = session.next_statement_id % 0xFFFFFFFE + 1
    plan = entry.plan
    if isinstance(plan, Local):
        _prepare_local(session, prepared, plan)
        return
    if plan.kind == "refuse":
        plan.route(BoundValues([], literals, session.lexer), sql)
    if isinstance(plan, Workbench):
        raise refusals.WORKBENCH_PREPARED.error()
    cluster = _cluster_to_prepare_on(clusters_of(plan), entry, session)
    connection, fresh = await obtain(session, entry, Send(cluster), primary=True)
    try:
        response = await connection.command(bytes((com.COM_STMT_PREPARE,)) + prepared.sql, PREPARE)
    except BaseException:
        if fresh:
            session.give_back(connection)
        raise
    scanner = connection.scanner
    if scanner.errno:
        # Not `settle`: a connection that was taken to prepare on has no part in the session's transaction.
        session.environment.measures.error(scanner.errno)
        session.row_count, session.warning_count = -1, 1
        session.diagnostics = await connection.command(b"\x03SHOW WARNINGS")
        session.client.write(response)
        if fresh:
            session.give_back(connection)
        return
    prepared.params, prepared.columns = scanner.params, scanner.columns
    _remember(session, connection, prepared, ServerStatement(scanner.statement_id))
    session.prepared[prepared.id] = prepared
    session.client.write(response[:5] + prepared.id.to_bytes(4, "little") + response[9:])
    session.diagnostics = None
    session.warning_count = scanner.warnings
    if fresh:
        session.give_back(connection)


def _cluster_to_prepare_on(clusters: Sequence[str], entry: Entry, session: Session) -> str:
    if entry.cluster:
        return entry.cluster
    for cluster in clusters:
        if cluster in session.held:
            return cluster
    return clusters[0] if clusters else session.environment.rules.home(session.database)


def _entry(environment: Environment, cache: PlanCache, shape: bytes, literals: list[bytes]) -> Entry:
    entry = cache.get(shape)
    if entry is None:
        entry = environment.miss(cache, shape, literals, prepared=True)
    else:
        environment.measures.plan_hits += 1
    return entry


def _prepare_local(session: Session, prepared: Prepared, plan: Local) -> None:
    """PREPARE of a statement that the proxy answers itself: its columns are ours to describe."""
    if plan.do is Do.PREPARE or b"?" in prepared.shape:
        raise StatementRefused(
            "This command is not supported in the prepared statement protocol yet",
            1295,
            "HY000",
            reason="prepare-unsupported",
        )
    columns: list[ColumnDefinition] = []
    if plan.do is Do.ANSWER:
        columns = answers.session_columns(plan.statement.items, plan.statement.item_names)
    elif plan.do is Do.DIAGNOSTICS:
        columns = local.diagnostics_columns(plan.statement, prepared.sql)
    elif plan.do is Do.TURNOUT:
        raise StatementRefused(
            "This command is not supported in the prepared statement protocol yet",
            1295,
            "HY000",
            reason="prepare-unsupported",
        )
    prepared.columns = len(columns)
    session.prepared[prepared.id] = prepared
    head = b"\0" + prepared.id.to_bytes(4, "little") + len(columns).to_bytes(2, "little") + bytes(5)
    packets = [head, *(encode_column(c) for c in columns)]
    if columns:
        packets.append(encode_eof(0, session.status))
    session.client.write(b"".join(encode(p, i + 1) for i, p in enumerate(packets)))


def _remember(session: Session, connection: ServerConnection, prepared: Prepared, made: ServerStatement) -> None:
    """Keep a statement that was prepared on a connection; close the least recently used beyond the limit."""
    statements = connection.statements
    old = statements.pop(prepared.key, None)
    if old is not None and old.id != made.id:
        _close_on(connection, old)
    statements[prepared.key] = made
    limit = session.environment.rules.pool.max_statements
    while len(statements) > limit:
        _close_on(connection, statements.pop(next(iter(statements))))


def _close_on(connection: ServerConnection, statement: ServerStatement) -> None:
    connection.write(encode(bytes((com.COM_STMT_CLOSE,)) + statement.id.to_bytes(4, "little"), 0))  # has no answer


def find(session: Session, payload: bytes, what: str) -> Prepared:
    """The statement that a COM_STMT_* payload names. Raises StatementRefused (1243) when there is none."""
    number = int.from_bytes(payload[1:5], "little") if len(payload) >= 5 else 0
    prepared = session.prepared.get(number)
    if prepared is None:
        raise StatementRefused(
            f"Unknown prepared statement handler ({number}) given to {what}", 1243, "HY000", reason="unknown-prepared"
        )
    return prepared


def close(session: Session, payload: bytes) -> None:
    """COM_STMT_CLOSE: no answer. The servers keep theirs for others with the same text."""
    session.prepared.pop(int.from_bytes(payload[1:5], "little"), None)


def long_data(session: Session, payload: bytes) -> None:
    """COM_STMT_SEND_LONG_DATA: no answer; an error shows at the next EXECUTE."""
    prepared = session.prepared.get(int.from_bytes(payload[1:5], "little"))
    if prepared is None or len(payload) < 7:
        return
    number = int.from_bytes(payload[5:7], "little")
    if number >= prepared.params:
        prepared.long_error = StatementRefused("Incorrect arguments to mysqld_stmt_send_long_data", 1210, "HY000")
        return
    held = prepared.long_data.setdefault(number, bytearray())
    limit = session.environment.rules.limits.max_packet
    if sum(map(len, prepared.long_data.values())) + len(payload) - 7 > limit:
        prepared.long_error = StatementRefused(
            f"Parameter of prepared statement which is set through mysql_send_long_data() is longer than "
            f"limits.max_packet ({limit} bytes)",
            1301,
            "HY000",
            reason="long-data-too-long",
        )
        return
    held += payload[7:]


def reset(session: Session, payload: bytes) -> None:
    """COM_STMT_RESET: forget long data."""
    prepared = find(session, payload, "mysqld_stmt_reset")
    prepared.long_data.clear()
    prepared.long_error = None
    session.ok()


def start_execute(session: Session, prepared: Prepared, payload: bytes) -> None:
    """COM_STMT_EXECUTE: at once when the connection at hand has the statement, else as a task."""
    if prepared.environment is not session.environment:
        cache = session.environment.cache(prepared.database, prepared.lexer, prepared=True)
        prepared.entry = _entry(session.environment, cache, prepared.shape, prepared.literals)
        prepared.environment = session.environment
        prepared.known = None
    if prepared.known and not prepared.long_data and prepared.long_error is None:
        known = prepared.known.get(_bound_by(payload, prepared.types))
        if known is not None and prepared.database == session.database and caching.serve_known(session, known):
            prepared.types = known.types
            return
    entry = prepared.entry
    session.begin_statement(entry)
    if not entry.simple or prepared.long_data or prepared.long_error is not None:
        session.run(execute(session, prepared, payload))
        return
    types = prepared.types
    bound = parse_execute(payload, prepared.params, prepared.types)
    prepared.types = bound.types
    session.generated = entry.plan.generated_id
    cached = entry.cached is not None
    if entry.by_key or entry.asks_id or cached or entry.marks is not None:
        values = BoundValues(list(decode_params(bound, _NONE)), prepared.literals, prepared.lexer)
        if entry.asks_id:
            session.generated = entry.plan.generates_id(values)
            if session.generated is None:  # the server will have to be asked
                session.run(execute(session, prepared, payload))
                return
        try:
            sends = entry.plan.route(values, prepared.sql).sends
        except KeysUnknown:
            session.run(execute(session, prepared, payload))
            return
        if len(sends) != 1:
            raise _several_targets()
        cluster = sends[0].cluster
        if prepared.database != session.database:
            session.run(execute(session, prepared, payload))
            return
        if cached:
            read_by = (value if value is not None else b"-" for value in reading(prepared.settings))
            values_sent = (bound.null_bitmap, bound.types, payload[bound.values_offset :])
            literals = (*prepared.literals, *read_by, *values_sent)
            served = caching.serve(session, entry, cluster, literals, values)
            if served is Served.ANSWERED:
                if entry.cached is not None and entry.cached.cache_class.ttl_s is None and not entry.directories:
                    cache = session.environment.cache(prepared.database, prepared.lexer, prepared=True)
                    once = Known(entry, cluster, literals, bound.types)
                    prepared.known = session.environment.remember_execution(
                        cache, prepared.key, _bound_by(payload, types), once
                    )
                session.running = None
                session.busy = False
                return
            if served is Served.WAIT:
                session.guard = Guard.of(entry.directories) if entry.directories else None
                session.run(caching.wait(session, lambda: execute(session, prepared, payload)))
                return
        elif entry.marks is not None:
            caching.note_write(session, entry, values, (cluster,))
    else:
        cluster = entry.cluster
        if prepared.database != session.database:
            session.run(execute(session, prepared, payload))
            return
    connection = session.acquire_now(entry, cluster)
    if connection is None:
        session.run(execute(session, prepared, payload))
        return
    made = connection.statements.get(prepared.key)
    if made is None:
        session.send_prelude(connection)
        session.guard = Guard.of(entry.directories) if entry.directories else None
        session.run(_prepare_and_execute(session, prepared, bound.types, payload, connection, cluster))
        return
    packet = encode(rebuild_execute(bound, made.id), 0)
    session.execute_now(connection, packet, prepared, payload)


def _bound_by(payload: bytes, types: bytes | None) -> bytes:
    """What is the same for all executions of a statement with the same values: all of the packet but the client's
    number, and the types of the execution before, which it may refer to. No valid packet continues another."""
    return payload[5:] + types if types else payload[5:]


def _several_targets() -> StatementRefused:
    return StatementRefused(
        "A prepared statement that concerns several shards is not supported yet: pin its shard key to one value, or "
        "send it as text (most drivers have a setting for client-side parameters)",
        reason="prepared-over-shards",
    )


async def execute(session: Session, prepared: Prepared, payload: bytes, primary: bool = False) -> None:
    """COM_STMT_EXECUTE, all the way. `primary`: not on a replica (again). Raises TurnoutError."""
    entry = prepared.entry
    plan = entry.plan
    if prepared.long_error is not None:
        error, prepared.long_error = prepared.long_error, None
        prepared.long_data.clear()
        raise error
    if isinstance(plan, Local):
        session.binary = True
        try:
            await run_text(session, entry, prepared.sql, prepared.shape, prepared.literals)
        finally:
            session.binary = False
        return
    bound = parse_execute(payload, prepared.params, prepared.types)
    prepared.types = bound.types
    params: list[object] = list(decode_params(bound, set(prepared.long_data)))
    for number, data in prepared.long_data.items():
        params[number] = bytes(data)
    values = BoundValues(params, prepared.literals, prepared.lexer)
    if entry.makes_ids:
        await _insert(session, prepared, payload, values, bound)
        return
    for left in reversed(range(TRIES)):
        try:
            await _execute_routed(session, prepared, payload, values, bound, primary)
            return
        except DirectoryChanged:
            session.not_filled()
            if not left:
                raise


async def _execute_routed(
    session: Session, prepared: Prepared, payload: bytes, values: BoundValues, bound: Execute, primary: bool
) -> None:
    entry, plan = prepared.entry, prepared.entry.plan
    session.generated = plan.generates_id(values)
    check_afterthoughts(session, plan.effects)
    sends = (await routed(session, entry.directories, lambda: plan.route(values, prepared.sql))).sends
    if len(sends) != 1:
        raise _several_targets()
    if entry.marks is not None:
        caching.note_write(session, entry, values, (sends[0].cluster,))
    if plan.effects & Effect.IMPLICIT_COMMIT:
        await end_branches(session)
    connection = await _joined(session, prepared, sends[0], primary)
    await _execute_on(session, prepared, bound.types, payload, connection, sends[0].cluster)


async def _prepare_and_execute(
    session: Session, prepared: Prepared, types: bytes, payload: bytes, connection: ServerConnection, cluster: str
) -> None:
    """What the fast path has routed, on a connection that does not have the statement yet."""
    try:
        await _execute_on(session, prepared, types, payload, connection, cluster)
    except DirectoryChanged:
        await execute(session, prepared, payload)


async def _joined(session: Session, prepared: Prepared, send: Send, primary: bool) -> ServerConnection:
    """A connection for the statement, in the session's transaction if it has one."""
    connection, fresh = await obtain(session, prepared.entry, send, primary, prepared.database)
    try:
        await join_transaction(session, connection, send.cluster, fresh)
    except BaseException:
        if connection.holder is not session:
            session.give_back(connection)
        raise
    return connection


async def _insert(session: Session, prepared: Prepared, payload: bytes, values: BoundValues, bound: Execute) -> None:
    """An INSERT whose AUTO_INCREMENT column is Turnout's business. Raises TurnoutError."""
    plan = prepared.entry.plan
    check_afterthoughts(session, plan.effects)
    long_data = dict(prepared.long_data)
    try:
        await _insert_with_ids(session, prepared, payload, values, bound, long_data)
    finally:
        prepared.long_data.clear()


async def _insert_with_ids(
    session: Session,
    prepared: Prepared,
    payload: bytes,
    values: BoundValues,
    bound: Execute,
    long_data: Mapping[int, bytes | bytearray],
) -> None:
    entry, plan = prepared.entry, prepared.entry.plan
    assert isinstance(plan, InsertRows)
    for left in reversed(range(TRIES_FOR_IDS)):
        try:
            ids = await reserve(session, plan, values)
            # Its text is not what is sent: see `_with_ids`.
            text = Lexer.restore(prepared.shape, prepared.literals)
            route = await routed(session, entry.directories, partial(plan.route_with, values, text, ids))
            sends = route.sends
            if len(sends) != 1:
                raise _several_targets()
            if entry.marks is not None:
                caching.note_write(session, entry, values, (sends[0].cluster,))
            sent, types, packet = prepared, bound.types, payload
            if session.made is not None:
                sent, types, packet = _with_ids(session, prepared, plan, bound, ids, long_data)
            connection = await _joined(session, prepared, sends[0], True)
            await _execute_on(session, sent, types, packet, connection, sends[0].cluster)
            return
        except (IdsVoided, DirectoryChanged):
            if not left:
                raise
        finally:
            session.made = None


def _with_ids(
    session: Session,
    prepared: Prepared,
    plan: InsertRows,
    bound: Execute,
    ids: Sequence[int | None],
    long_data: Mapping[int, bytes | bytearray],
) -> tuple[Prepared, bytes, bytes]:
    """(a statement that takes these ids as parameters, the types of an execute of it, that execute). A parameter that
    was NULL or 0 becomes the id, other rows get one more parameter."""
    column, statement = plan.ids, plan.statement
    assert column is not None
    replaced: dict[int, int] = {}
    made: list[int | None] = []  # for rows that get a parameter
    for value, number in zip(column.values, ids, strict=True):
        if number is not None and isinstance(value, Param):
            replaced[value.index] = number
        made.append(None if isinstance(value, Param) else number)
    chosen = tuple(number is not None for number in made)
    sent = prepared.with_ids.get(chosen)
    if sent is None or sent.entry is not prepared.entry:
        # The text as it was planned: of `sql`, something may have been replaced.
        text = Lexer.restore(prepared.shape, prepared.literals)
        text = column.filled(statement, text, [b"?" if each else None for each in chosen])
        if statement.effects & Effect.USES_CONNECTION_ID:
            text = with_connection_id(session.connection_id, *prepared.lexer.shape(text))
        sent = replace(prepared, sql=text, params=prepared.params + sum(chosen), long_data={}, with_ids={})
        prepared.with_ids[chosen] = sent
    places = params_before(statement, prepared.shape, column.position, chosen) if any(chosen) else []
    added = list(zip(places, [number for number in made if number is not None], strict=True))
    packet, was = with_integers(bound, set(long_data), replaced, added)
    sent.long_data = {
        new: bytearray(long_data[old]) for new, old in enumerate(was) if old is not None and old in long_data
    }
    return sent, parse_execute(packet, sent.params, None).types, packet


async def _execute_on(
    session: Session, prepared: Prepared, types: bytes, payload: bytes, connection: ServerConnection, cluster: str
) -> None:
    """Execute on `connection`, which has the session's state; prepare there first if need be."""
    from proxy.front.statements import finish_statement, may_retry, pin, prelude

    entry = prepared.entry
    relay: Relay | None = None
    try:
        await session.dress(connection, prepared.database)
        made = connection.statements.pop(prepared.key, None)
        if made is None:
            if reading(session.settings) != reading(prepared.settings):
                # Only what matters for reading: another autocommit, say, would end the transaction.
                changes = dict(zip(READING, reading(prepared.settings)))
                await session.dress(connection, prepared.database, session.settings.with_changes(changes))
            await connection.command(bytes((com.COM_STMT_PREPARE,)) + prepared.sql, PREPARE)
            if connection.scanner.errno:
                error = parse_err(connection.scanner.error)
                raise ServerFailed(error.message.decode("utf-8", "replace"), error.errno, error.sqlstate)
            made = ServerStatement(connection.scanner.statement_id)
            prepared.columns = connection.scanner.columns  # the table may have got one since
            if connection.scanner.params != prepared.params:
                _close_on(connection, made)
                raise ServerFailed("Prepared statement needs to be re-prepared", 1615, "HY000")
        _remember(session, connection, prepared, made)
        await session.dress(connection, prepared.database)
        await prelude(session, entry, connection, cluster)
        await confirm(session, connection)  # nothing is awaited from here until the statement is sent
        for number, data in prepared.long_data.items():
            head = bytes((com.COM_STMT_SEND_LONG_DATA,)) + made.id.to_bytes(4, "little") + number.to_bytes(2, "little")
            connection.write(encode(head + bytes(data), 0))
        prepared.long_data.clear()
        if entry.plan.pins:
            pin(session, connection, entry.plan.pins)
        relay = Relay(session)
        session.sending(connection)
        connection.send(
            encode(rebuild_execute(parse_execute(payload, prepared.params, types), made.id), 0), relay, QUERY
        )
        await relay.done
        if session.made is not None:
            await tell_ids(session, entry, connection, relay)
    except BaseException as error:
        finish_statement(session, connection)
        if isinstance(error, TurnoutError) and may_retry(session, entry, connection, relay) and not prepared.long_data:
            await execute(session, prepared, payload, primary=True)
            return
        if relay is not None and relay.relayed and isinstance(error, ServerFailed):
            session.fail(error, broken=True)
            return
        raise
    record_statement(session, entry, connection.scanner.rows, relay.bytes, failed=connection.scanner.errno != 0)
    await settle(session, connection, entry)
