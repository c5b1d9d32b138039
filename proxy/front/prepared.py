"""Prepared statements (COM_STMT_*): the client's commands.

When a statement is executed, the values choose its targets; see `proxy.front.prepared_statement` for what these get.
With one target, the id in the EXECUTE packet is patched and the rest relayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from parser.params import param_places
from parser.statement import Effect, Kind
from proxy.back.connection import ServerConnection, ServerStatement
from proxy.back.directory import KeysUnknown
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front import answers, caching, cursors, elsewhere, fetching, local, session_memory
from proxy.front.caching import ANSWERED, ASK
from proxy.front.environment import Entry, Environment, PlanCache, clusters_of
from proxy.front.guard import TRIES, DirectoryChanged, Guard, confirm, routed
from proxy.front.inlined import execute_as_text
from proxy.front.key_use import tell_keys
from proxy.front.known import Known
from proxy.front.made_ids import reserve
from proxy.front.prepared_statement import Execution, Prepared, close_on, remember
from proxy.front.sequences import IdsVoided
from proxy.front.session import Session
from proxy.front.statements import (
    TRIES_FOR_IDS,
    Relay,
    check_afterthoughts,
    end_branches,
    joined,
    obtain,
    on_several,
    run_text,
    settle,
    tell_ids,
    with_connection_id,
)
from proxy.front.statements import record as record_statement
from proxy.front.system_reads import gathered
from proxy.front.values import BoundValues
from proxy.front.workbench import describe_on_workbench
from proxy.plan import refusals
from proxy.plan.around_workbench import ExplainPulls, InSettings
from proxy.plan.ddl import Ddl
from proxy.plan.insert_select import InsertSelect
from proxy.plan.inserts import InsertRows
from proxy.plan.key_list import ByKeyList
from proxy.plan.plan import Do, Local, Plan, Reply, Route, Send
from proxy.plan.workbench import Workbench
from proxy.wire import command as com
from proxy.wire.binary import READ_ONLY_CURSOR, decode_params, parse_execute, rebuild_execute, relayed_execute
from proxy.wire.frames import encode
from proxy.wire.packets import encode_eof
from proxy.wire.response import CURSOR, PREPARE, QUERY
from proxy.wire.resultset import ColumnDefinition, encode_column

_MAX_PREPARED: Final = 16382  # per session: MySQL's default of max_prepared_stmt_count
_MOST_DESCRIPTIONS, _LONGEST_DESCRIPTION = 1000, 16 * 1024
_NONE: Final[frozenset[int]] = frozenset()
_LAST: Final = 0xFFFFFFFF  # MariaDB: the statement prepared last, for an EXECUTE sent without waiting for its id


async def prepare(session: Session, sql: bytes) -> None:
    """COM_STMT_PREPARE. Raises TurnoutError."""
    session.last_prepared = 0
    check_room(session)
    prepared = read_statement(session, sql)
    session.running = prepared.entry
    session.next_statement_id = session.next_statement_id % 0xFFFFFFFE + 1
    plan = prepared.entry.plan
    if isinstance(plan, Local):
        _prepare_local(session, prepared, plan)
        return
    answer = await describe(session, prepared)
    if answer is not None:
        _prepared(session, prepared, *answer)


def check_room(session: Session) -> None:
    """Raises StatementRefused where the session has as many prepared statements as a server allows."""
    if len(session.prepared) + len(session.named) >= _MAX_PREPARED:
        raise StatementRefused(
            f"Can't create more than max_prepared_stmt_count statements (current value: {_MAX_PREPARED})",
            1461,
            "42000",
            reason="too-many-prepared",
        )


def read_statement(session: Session, sql: bytes) -> Prepared:
    """A text as a prepared statement of the session, which no server has seen yet."""
    session_memory.grow(session, text=len(sql))
    shape, literals = session.lexer.shape(sql)
    cache = session.environment.cache(session.database, session.lexer, prepared=True)
    entry = _entry(session.environment, cache, shape, literals)
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
    return prepared


async def describe(session: Session, prepared: Prepared) -> tuple[bytes, int, int] | None:
    """A server's answer to PREPARE, and how many parameters and warnings it tells of; None: it was an error, which the
    client has been told. Raises TurnoutError."""
    entry, plan = prepared.entry, prepared.entry.plan
    if plan.kind == "refuse":
        plan.route(BoundValues([], b"", prepared.literals, session.lexer, session.lexer.charset), prepared.sql)
    if isinstance(plan, Workbench):
        return await _described(session, entry, prepared)
    if isinstance(plan, ExplainPulls | InSettings):
        raise _around(plan)
    cluster, text = _cluster_to_prepare_on(clusters_of(plan), entry, session), prepared.sql
    if isinstance(plan, ByKeyList | InsertSelect):  # its tables need not all be on one cluster
        text = b"DO " + b",".join([b"?"] * len(param_places(prepared.shape, prepared.lexer)) or [b"1"])
    connection, fresh = await obtain(session, entry, Send(cluster), primary=True)
    try:
        response = await connection.command(bytes((com.COM_STMT_PREPARE,)) + text, PREPARE)
    except BaseException:
        if fresh:
            session.give_back(connection)
        raise
    scanner = connection.scanner
    params, warnings = scanner.params, scanner.warnings
    failed = scanner.errno != 0
    alike = failed or _counted_alike(prepared, params)
    if failed:
        # Not `settle`: a connection that was taken to prepare on has no part in the session's transaction.
        session.environment.measures.error(scanner.errno)
        session.row_count, session.warning_count = -1, 1
        session.diagnostics = await connection.command(b"\x03SHOW WARNINGS")
        session.client.write(response)
    elif not alike:
        close_on(connection, ServerStatement(scanner.statement_id))
    elif text is prepared.sql:
        remember(session, connection, prepared, ServerStatement(scanner.statement_id))
    else:
        close_on(connection, ServerStatement(scanner.statement_id))
    if fresh:
        session.give_back(connection)
    if not alike:
        raise ServerFailed(
            f"{connection.where} counts {params} parameters in a statement in which Turnout sees another number, and "
            "their values decide where it goes; write them into its text"
        )
    return None if failed else (response, params, warnings)


def _counted_alike(prepared: Prepared, params: int) -> bool:
    """Whether a server sees the parameters that Turnout does, where what is bound to them matters to Turnout."""
    entry = prepared.entry
    if entry.fixed is not None and not (entry.asks_id or entry.cached or entry.marks):
        return True
    try:
        return params == len(param_places(prepared.shape, prepared.lexer))
    except ValueError:
        return True  # a text that cannot be read has none that Turnout knows


def _around(plan: Plan) -> StatementRefused:
    verb = "EXPLAIN" if plan.statement.kind is Kind.EXPLAIN else "SET STATEMENT"
    return refusals.WORKBENCH_AROUND.error(verb=f"{verb} of a prepared statement")


async def _described(session: Session, entry: Entry, prepared: Prepared) -> tuple[bytes, int, int]:
    """The answer to PREPARE of a statement for the workbench. It is kept, since drivers prepare a statement for each
    execution, unless it may depend on the session. Raises TurnoutError."""
    if session.held or entry.plan.effects & Effect.READS_USER_VARIABLE:
        return await describe_on_workbench(session, entry, prepared)
    kept = session.environment.descriptions
    key = (prepared.key, session.user, session.settings)
    found = kept.get(key)
    if found is None:
        found = await describe_on_workbench(session, entry, prepared)
        if len(kept) >= _MOST_DESCRIPTIONS:
            kept.clear()
        if len(found[0]) <= _LONGEST_DESCRIPTION:
            kept[key] = found
    return found


def _prepared(session: Session, prepared: Prepared, response: bytes, params: int, warnings: int) -> None:
    """A server's answer to PREPARE is the client's, with an id of the session's."""
    prepared.params = params
    session.prepared[prepared.id] = prepared
    session.last_prepared = prepared.id
    session.client.write(response[:5] + prepared.id.to_bytes(4, "little") + response[9:])
    session.diagnostics = None
    session.warning_count = warnings


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
    if plan.do in (Do.PREPARE, Do.NAMED) or b"?" in prepared.shape:
        raise unsupported()
    if plan.do is Do.EMPTY:
        local.check_not_empty(prepared.shape)
    columns: list[ColumnDefinition] = []
    if plan.do is Do.ANSWER:
        columns = answers.session_columns(plan.statement.items, plan.statement.item_names)
    elif plan.do is Do.DIAGNOSTICS:
        columns = local.diagnostics_columns(plan.statement, prepared.sql)
    elif plan.do is Do.TURNOUT:
        raise unsupported()
    session.prepared[prepared.id] = prepared
    session.last_prepared = prepared.id
    head = b"\0" + prepared.id.to_bytes(4, "little") + len(columns).to_bytes(2, "little") + bytes(5)
    packets = [head, *(encode_column(c) for c in columns)]
    if columns:
        packets.append(encode_eof(0, session.status))
    session.client.write(b"".join(encode(p, i + 1) for i, p in enumerate(packets)))


def unsupported() -> StatementRefused:
    """The server's own error for what cannot be prepared."""
    message = "This command is not supported in the prepared statement protocol yet"
    return StatementRefused(message, 1295, "HY000", reason="prepare-unsupported")


def find(session: Session, payload: bytes, what: str) -> Prepared:
    """The statement that a COM_STMT_* payload names. Raises StatementRefused (1243) when there is none."""
    number = _number(session, payload)
    prepared = session.prepared.get(number)
    if prepared is None:
        raise StatementRefused(
            f"Unknown prepared statement handler ({number}) given to {what}", 1243, "HY000", reason="unknown-prepared"
        )
    return prepared


def _number(session: Session, payload: bytes) -> int:
    number = int.from_bytes(payload[1:5], "little") if len(payload) >= 5 else 0
    return session.last_prepared if number == _LAST else number


def close(session: Session, payload: bytes) -> None:
    """COM_STMT_CLOSE: no answer. The servers keep theirs for others with the same text."""
    number = _number(session, payload)
    session.prepared.pop(number, None)
    cursors.close(session, number)


def long_data(session: Session, payload: bytes) -> None:
    """COM_STMT_SEND_LONG_DATA: no answer; an error shows at the next EXECUTE."""
    prepared = session.prepared.get(_number(session, payload))
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
    try:
        session_memory.grow(session, data=len(payload) - 7)
    except StatementRefused as error:
        prepared.long_error = error
        return
    held += payload[7:]


def reset(session: Session, payload: bytes) -> None:
    """COM_STMT_RESET: forget long data, close the cursor."""
    prepared = find(session, payload, "mysqld_stmt_reset")
    cursors.close(session, prepared.id)
    prepared.long_data.clear()
    prepared.long_error = None
    session.ok()


def start_execute(session: Session, prepared: Prepared, payload: bytes) -> None:
    """COM_STMT_EXECUTE: at once when the connection at hand has the statement, else as a task."""
    if session.cursors and prepared.id in session.cursors:
        parse_execute(payload, prepared.params, prepared.types)  # what cannot be read leaves it open
        cursors.close(session, prepared.id)
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
        if not (entry.quick and prepared.long_error is None and session.quick(entry.quick)):
            session.run(execute(session, prepared, payload))
        return
    session.generated = entry.plan.generated_id
    if entry.tap is not None:
        tell_keys(session, entry.tap, prepared, payload)
    if entry.fixed is not None and not (entry.asks_id or entry.cached or entry.marks):
        # No value decides about the way.
        if prepared.database == session.database:
            _execute_now(session, prepared, payload, entry.cluster)
        else:
            session.run(execute(session, prepared, payload))
        return
    types = prepared.types
    bound = parse_execute(payload, prepared.params, prepared.types)
    prepared.types = bound.types
    cached = entry.cached is not None
    if entry.by_key or entry.asks_id or cached or entry.marks is not None:
        params, charset = decode_params(bound, _NONE), session.lexer.charset
        values = BoundValues(params, bound.types, prepared.literals, prepared.lexer, charset)
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
        if len(sends) != 1 or sends[0].text is not None:
            session.run(execute(session, prepared, payload))
            return
        cluster = sends[0].cluster
        if prepared.database != session.database:
            session.run(execute(session, prepared, payload))
            return
        if cached:
            literals = (*prepared.answered_by, bound.null_bitmap, bound.types, payload[bound.values_offset :])
            served = caching.serve(session, entry, cluster, literals, values)
            if served is ANSWERED:
                if entry.cached is not None and entry.cached.cache_class.ttl_s is None and not entry.directories:
                    cache = session.environment.cache(prepared.database, prepared.lexer, prepared=True)
                    once = Known(entry, cluster, literals, bound.types)
                    prepared.known = session.environment.remember_execution(
                        cache, prepared.key, _bound_by(payload, types), once
                    )
                session.running = None
                session.busy = False
                return
            if served is not ASK:
                session.guard = Guard.of(entry.directories) if entry.directories else None
                elsewhere.look(session, lambda: _ask(session, prepared, payload, cluster))
                return
        elif entry.marks is not None:
            caching.note_write(session, entry, values, (cluster,))
    else:
        cluster = entry.cluster
        if prepared.database != session.database:
            session.run(execute(session, prepared, payload))
            return
    _execute_now(session, prepared, payload, cluster)


def _ask(session: Session, prepared: Prepared, payload: bytes, cluster: str) -> None:
    """A read that waited for an answer from elsewhere goes to its server."""
    if prepared.entry.directories:
        session.run(execute(session, prepared, payload))  # its key may be on another cluster now
    else:
        _execute_now(session, prepared, payload, cluster)


def _execute_now(session: Session, prepared: Prepared, payload: bytes, cluster: str) -> None:
    """Execute on `cluster`: at once when the connection at hand has the statement, else as a task. Raises
    ProtocolError."""
    entry = prepared.entry
    relayed, prepared.types = relayed_execute(payload, prepared.params, prepared.types)
    connection = session.acquire_now(entry, cluster)
    if connection is None:
        session.run(execute(session, prepared, payload))
        return
    made = connection.statements.get(prepared.key)
    if made is None:
        session.send_prelude(connection)
        session.guard = Guard.of(entry.directories) if entry.directories else None
        execution = Execution.of(prepared, payload)
        session.run(_prepare_and_execute(session, execution, payload, connection, cluster))
    elif relayed[0]:  # a cursor is asked for
        bound = parse_execute(payload, prepared.params, prepared.types)
        if fetching.asked_for(session, bound, entry):
            opening = fetching.Opening(session, prepared)
            packet = encode(rebuild_execute(bound, made.id, READ_ONLY_CURSOR), 0)
            session.execute_now(connection, packet, prepared, payload, opening)
        else:
            session.execute_now(connection, encode(rebuild_execute(bound, made.id), 0), prepared, payload)
    else:
        session.execute_now(connection, encode(made.executing + relayed, 0), prepared, payload)


def _bound_by(payload: bytes, types: bytes | None) -> bytes:
    """What is the same for all executions of a statement with the same values: all of the packet but the client's
    number, and the types of the execution before, which it may refer to. No valid packet continues another."""
    return payload[5:] + types if types else payload[5:]


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
    if isinstance(plan, Ddl):  # which has no parameters and no rows
        await run_text(session, entry, prepared.sql, prepared.shape, prepared.literals)
        return
    if entry.tap is not None and not entry.simple and not prepared.long_data:
        tell_keys(session, entry.tap, prepared, payload)
    execution = Execution.of(prepared, payload)
    prepared.long_data.clear()
    if plan.effects & Effect.LOCAL_INFILE:
        await execute_as_text(session, execution)
        return
    values = execution.values(session.lexer.charset)
    if entry.makes_ids:
        await _insert(session, execution, payload, values)
        return
    for left in reversed(range(TRIES)):
        try:
            await _execute_routed(session, execution, payload, values, primary)
            return
        except DirectoryChanged:
            session.not_filled()
            if not left:
                raise


async def _execute_routed(
    session: Session, execution: Execution, payload: bytes, values: BoundValues, primary: bool
) -> None:
    prepared = execution.prepared
    entry, plan = prepared.entry, prepared.entry.plan
    text = prepared.text if plan.effects & Effect.USES_CONNECTION_ID else prepared.sql
    route = await routed(session, entry.directories, partial(plan.route, values, text))
    if route.explaining is not None or route.within is not None:
        raise _around(plan)
    if route.listed is not None or route.selected is not None:
        await execute_as_text(session, execution)
        return
    session.generated = plan.generates_id(values)
    if route.gather is not None:
        send = await gathered(session, plan, route.gather)
        route = Route((replace(send, params=tuple(range(prepared.params))),))
    elif route.reply is Reply.EXPLAIN:
        route = Route((Send(route.sends[0].cluster),))  # its columns were told when it was prepared
    await _on_targets(session, execution, payload, values, route, primary)


async def _on_targets(
    session: Session, execution: Execution, payload: bytes, values: BoundValues, route: Route, primary: bool
) -> None:
    """Carry out a route. Raises TurnoutError."""
    prepared = execution.prepared
    entry, sends = prepared.entry, route.sends
    check_afterthoughts(session, entry.plan.effects)
    if entry.marks is not None:
        caching.note_write(session, entry, values, tuple(send.cluster for send in sends))
    if len(sends) != 1:
        await on_several(session, entry, route, values, prepared.sql, execution)
        return
    if entry.plan.effects & Effect.IMPLICIT_COMMIT:
        await end_branches(session, sends[0].cluster)
    connection = await joined(session, prepared.entry, sends[0], primary, prepared.database)
    await _execute_on(session, execution.share(sends[0], session), payload, connection, sends[0].cluster)


async def _prepare_and_execute(
    session: Session, execution: Execution, payload: bytes, connection: ServerConnection, cluster: str
) -> None:
    """What the fast path has routed, on a connection that does not have the statement yet."""
    try:
        await _execute_on(session, execution, payload, connection, cluster)
    except DirectoryChanged:
        await execute(session, execution.prepared, payload)


async def _insert(session: Session, execution: Execution, payload: bytes, values: BoundValues) -> None:
    """An INSERT whose AUTO_INCREMENT column is Turnout's business. Raises TurnoutError."""
    prepared = execution.prepared
    plan = prepared.entry.plan
    assert isinstance(plan, InsertRows)
    for left in reversed(range(TRIES_FOR_IDS)):
        try:
            ids = await reserve(session, plan, values)
            make = partial(plan.route_with, values, prepared.text, ids, bound=True)
            route = await routed(session, prepared.entry.directories, make)
            await _on_targets(session, execution, payload, values, route, True)
            return
        except (IdsVoided, DirectoryChanged):
            if not left:
                raise
        finally:
            session.made = None


async def _execute_on(
    session: Session, execution: Execution, payload: bytes, connection: ServerConnection, cluster: str
) -> None:
    """Execute on `connection`, which has the session's state; prepare there first if need be. `payload`: the client's,
    in case it has to be asked again elsewhere."""
    from proxy.front.statements import finish_statement, may_retry, pin, prelude

    prepared = execution.prepared
    entry = prepared.entry
    if not execution.once and fetching.asked_for(session, execution.bound, entry):
        execution = replace(execution, cursor=True)
    relay: Relay | None = None
    try:
        frames = await execution.frames(session, connection)
        await prelude(session, entry, connection, cluster)
        await confirm(session, connection)  # nothing is awaited from here until the statement is sent
        if entry.plan.pins:
            pin(session, connection, entry.plan.pins)
        relay = Relay(session)
        session.sending(connection)
        connection.send(frames, relay, CURSOR if execution.cursor else QUERY)
        await relay.done
        if execution.cursor:
            fetching.opened(session, prepared, connection)
        if session.made is not None:
            await tell_ids(session, entry, connection, relay)
    except BaseException as error:
        finish_statement(session, connection)
        if isinstance(error, TurnoutError) and may_retry(session, entry, connection, relay):
            if not execution.long_data:
                await execute(session, prepared, payload, primary=True)
                return
        if relay is not None and relay.relayed and isinstance(error, ServerFailed):
            session.fail(error, broken=True)
            return
        raise
    record_statement(session, entry, connection.scanner.rows, relay.bytes, failed=connection.scanner.errno != 0)
    await settle(session, connection, entry)
