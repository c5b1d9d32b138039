"""Statements that need more than one step: the part of a session's work that may wait.

`run_text` carries out one text statement whatever its plan: it finds connections, gives them the session's settings and
transaction, relays the answer, and asks the server for what the session must remember of it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from parser.shape import Lexer
from parser.statement import Effect, Kind
from proxy.back.connection import Discarded, ServerConnection
from proxy.back.server import Role
from proxy.errors import PoolExhausted, ServerFailed, StatementRefused, TurnoutError
from proxy.front import table_locks
from proxy.front.caching import acknowledge, note_write
from proxy.front.environment import Entry
from proxy.front.guard import TRIES, DirectoryChanged, confirm, routed
from proxy.front.sequences import IdsVoided
from proxy.front.session import Session, checked
from proxy.front.values import TextValues
from proxy.plan.case import LOCK_REASONS
from proxy.plan.ddl import Ddl, TableWork
from proxy.plan.inserts import InsertRows
from proxy.plan.plan import Local, Plan, Route, Send, Several, ValueOf
from proxy.plan.workbench import LIFTED
from proxy.wire import capability as cap
from proxy.wire import command as com
from proxy.wire.frames import encode
from proxy.wire.response import QUERY
from proxy.wire.status import CURSOR_EXISTS, IN_TRANS

if TYPE_CHECKING:
    from proxy.front.prepared_statement import Execution
    from proxy.front.reading import Pairs
    from proxy.front.row_streams import RowStream

_now = time.perf_counter_ns
_AFTERTHOUGHTS = Effect.USES_FOUND_ROWS | Effect.USES_ROW_COUNT | Effect.USES_DIAGNOSTICS
# Errors by which a server may have rolled back the whole transaction: lock wait time, deadlock, and their like.
# The last three are what clients are told instead of 1317.
_MAY_ROLL_BACK = frozenset({1205, 1213, 1317, 1614, 1637, 1020, 1969, 3024, 1226})
# What is wrong with some value of a row: out of range, a subquery with more than one row. A shard's first rows may not
# be among the first of all, and one server would not have come to them.
_OF_A_VALUE = frozenset({1690, 1242})
_OPAQUE_KINDS = frozenset({Kind.CALL, Kind.UNKNOWN, Kind.MULTI})  # what is in them is not known
TRIES_FOR_IDS = 5  # of an INSERT whose ids were taken away before it was sent
_ASKS_FOR_FILE = frozenset({"load", "local", "infile"})
_ENDS = frozenset({Kind.COMMIT, Kind.ROLLBACK})
CONNECTION_ID = re.compile(rb"\bconnection_id\s*\(\s*\)", re.IGNORECASE)


class Relay:
    """The sink of a statement in the slow path: passes the answer on; `done` says when it is complete."""

    __slots__ = ("_session", "bytes", "done", "kept", "relayed")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.relayed = False
        self.bytes = 0
        self.kept: list[bytes] | None = None  # an OK packet that the client is to get when more is known

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self.relayed = True
        self.bytes += len(data)
        if self._session.pending is not None:  # a procedure's rows may tell of what it has committed before
            acknowledge(self._session, True)
        if self._session.fill is not None:
            self._session.fill.add(data)
        if not self._session.closed:
            self._session.client.relay(connection, data)

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        try:
            self._pass_on(connection, pieces)
        except Exception as error:
            self.relayed = True  # nobody knows how much of the answer the client has
            if not self.done.done():
                self.done.set_exception(error)
            raise
        if not self.done.done():
            self.done.set_result(None)

    def _pass_on(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        session = self._session
        if session.pending is not None:
            insert_id = connection.scanner.insert_id
            acknowledge(session, bool(connection.scanner.status & IN_TRANS) or session.in_transaction, insert_id)
        scanner = connection.scanner
        if session.made is not None and not scanner.columns and not scanner.errno:
            self.kept, pieces = pieces, []
        for piece in pieces:
            self.bytes += len(piece)
            if not self._session.closed:
                self._session.client.write(piece)
        if session.fill is not None:
            session.filled(connection, pieces)
        if session.exceeded is not None:
            session.told_otherwise(connection)

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def run_text(
    session: Session, entry: Entry, sql: bytes, shape: bytes, literals: list[bytes], primary: bool = False
) -> None:
    """One text statement. `primary`: not on a replica (again). Raises TurnoutError for the client."""
    plan = entry.plan
    session.guard = None
    if isinstance(plan, Local):
        from proxy.front.local import carry_out

        session.generated = False
        session.recorded = False
        await carry_out(session, plan, entry, sql, shape, literals)
        if not session.closed and not session.recorded:
            record(session, entry, 0, 0)
        return
    if isinstance(plan, Several) and session.key.capabilities & cap.MULTI_STATEMENTS:
        from proxy.front.several import run_several

        await run_several(session, entry, sql)
        return
    values = TextValues(literals, session.lexer)
    if entry.makes_ids:
        await _insert(session, entry, values, sql, primary)
        return
    for left in reversed(range(TRIES)):
        try:
            await _run_routed(session, entry, values, sql, shape, literals, primary)
            return
        except DirectoryChanged:
            session.not_filled()
            if not left:
                raise


async def _run_routed(
    session: Session, entry: Entry, values: TextValues, sql: bytes, shape: bytes, literals: list[bytes], primary: bool
) -> None:
    plan = entry.plan
    route = await routed(session, entry.directories, lambda: plan.route(values, sql))
    if entry.marks is not None:
        note_write(session, entry, values, route.clusters)
    session.generated = plan.generates_id(values)
    effects = plan.effects
    if effects & Effect.USES_CONNECTION_ID:
        route, sql = _with_connection_id(session, route, sql, shape, literals)
    check_afterthoughts(session, effects)
    if isinstance(plan, Ddl | TableWork):
        from proxy.front.ddl import run_ddl, run_table_work

        if isinstance(plan, Ddl):
            await run_ddl(session, entry, plan, sql, route)
        else:
            await run_table_work(session, entry, route, sql)
        return
    if len(route.sends) != 1:
        await on_several(session, entry, route, values, sql)
        return
    send = route.sends[0]
    payload = bytes((com.COM_QUERY,)) + (send.text if send.text is not None else sql)
    if may_ask_for_file(plan):
        from proxy.front.load_data import forward_load

        await forward_load(session, entry, send, payload)
    else:
        await forward(session, entry, send, payload, primary)


async def _insert(session: Session, entry: Entry, values: TextValues, sql: bytes, primary: bool) -> None:
    """An INSERT whose AUTO_INCREMENT column is Turnout's business. Raises TurnoutError."""
    from proxy.front.made_ids import reserve

    plan = entry.plan
    assert isinstance(plan, InsertRows)
    check_afterthoughts(session, plan.effects)
    for left in reversed(range(TRIES_FOR_IDS)):
        try:
            ids = await reserve(session, plan, values)
            route = await routed(session, entry.directories, partial(plan.route_with, values, sql, ids))
            if entry.marks is not None:
                note_write(session, entry, values, tuple(send.cluster for send in route.sends))
            if len(route.sends) > 1:
                from proxy.front.fanout import run_everywhere

                await run_everywhere(session, entry, route, sql)
                return
            own = route.sends[0].text
            text = own if own is not None else sql
            if plan.effects & Effect.USES_CONNECTION_ID:
                text = with_connection_id(session.connection_id, *session.lexer.shape(text))
            await forward(session, entry, route.sends[0], bytes((com.COM_QUERY,)) + text, primary)
            return
        except (IdsVoided, DirectoryChanged):
            if not left:
                raise
        finally:
            session.made = None


def may_ask_for_file(plan: Plan) -> bool:
    """Is it, or may it be, the client's own LOAD DATA LOCAL?"""
    statement = plan.statement
    if statement.kind in (Kind.UNKNOWN, Kind.MULTI):
        return statement.words.issuperset(_ASKS_FOR_FILE)
    return bool(plan.effects & Effect.LOCAL_INFILE)


async def on_several(
    session: Session,
    entry: Entry,
    route: Route,
    values: ValueOf,
    sql: bytes,
    execution: Execution | None = None,
) -> None:
    """A statement that does not run on one server alone; of a prepared one, an execution. Raises TurnoutError."""
    session.recorded = False
    await _on_several(session, entry, route, values, sql, execution)
    record_otherwise(session, entry)


async def _on_several(
    session: Session, entry: Entry, route: Route, values: ValueOf, sql: bytes, execution: Execution | None
) -> None:
    from proxy.front.explained import explain_pulls
    from proxy.front.fanout import run_everywhere
    from proxy.front.in_settings import run_within
    from proxy.front.insert_select import insert_selected
    from proxy.front.key_list import write_by_key
    from proxy.front.load_spread import load_spread
    from proxy.front.shows import execute_show, show
    from proxy.front.system_reads import run_gathered
    from proxy.front.workbench import finish_on_workbench

    if route.gather is not None:
        await run_gathered(session, entry, route.gather, sql)
        return
    if route.showing is not None:
        if execution is not None:
            await execute_show(session, entry, route.showing, execution, values)
        else:
            await show(session, entry, route.showing, sql)
        return
    if route.listed is not None:
        await write_by_key(session, entry, route.listed)
        return
    if route.selected is not None:
        await insert_selected(session, entry, route.selected)
        return
    if route.explaining is not None:
        await explain_pulls(session, entry, route.explaining)
        return
    if route.within is not None:
        await run_within(session, route.within)
        return
    if route.loading is not None:
        await load_spread(session, entry, route.loading)
        return
    work = route.work
    if work is None and entry.unmerged and route.otherwise is not None:
        work = route.otherwise.route(values, sql).work
    if work is not None:
        await finish_on_workbench(session, entry, work, execution)
        return
    await _or_on_workbench(
        session, entry, route, values, sql, run_everywhere(session, entry, route, sql, execution), execution
    )


async def _or_on_workbench(
    session: Session,
    entry: Entry,
    route: Route,
    values: ValueOf,
    sql: bytes,
    merging: Awaitable[None],
    execution: Execution | None = None,
) -> None:
    """Where answers turn out to be such that they cannot be merged, the workbench can perhaps. Raises TurnoutError."""
    from proxy.front.workbench import finish_on_workbench

    try:
        await merging
        return
    except StatementRefused as refusal:  # nothing of an answer is out
        if route.otherwise is None or refusal.reason not in LIFTED:
            raise
        session.environment.measures.fell_back(refusal.reason)
        entry.unmerged = True
    except ServerFailed as error:
        merge = route.merge
        if error.errno not in _OF_A_VALUE or merge is None or merge.limit is None or route.otherwise is None:
            raise
        session.environment.measures.fell_back("error-of-a-value")
    work = route.otherwise.route(values, sql).work
    assert work is not None
    await finish_on_workbench(session, entry, work, execution)


async def answer_spread(
    session: Session,
    entry: Entry,
    route: Route,
    values: ValueOf,
    sql: bytes,
    pairs: Pairs,
    streams: Sequence[RowStream],
) -> None:
    """A read of several targets that have been asked already (`proxy.front.spread`). Raises TurnoutError."""
    from proxy.front.fanout import answer

    await _or_on_workbench(session, entry, route, values, sql, answer(session, entry, route, pairs, streams))


def check_afterthoughts(session: Session, effects: Effect) -> None:
    """Values about the statement before are on the connection that it ran on, if that is held and nothing of ours came
    between. Raises StatementRefused."""
    if not effects & _AFTERTHOUGHTS:
        return
    if session.last_on not in session.held.values() or effects & Effect.USES_LAST_INSERT_ID:
        raise StatementRefused(
            "FOUND_ROWS(), ROW_COUNT(), @@warning_count and @@error_count inside a larger statement need the "
            "connection that the statement before ran on; select them alone, or inside a transaction",
            reason="found-rows-in-expression",
        )


async def forward(
    session: Session,
    entry: Entry,
    send: Send,
    payload: bytes,
    primary: bool = False,
    mode: int = QUERY,
    relay: Relay | None = None,
) -> None:
    """Send one command to the one target of `send` and relay the answer, by `relay` where that is given."""
    plan, given = entry.plan, relay
    if plan.effects & Effect.IMPLICIT_COMMIT:
        await end_branches(session, send.cluster)
    connection, fresh = await obtain(session, entry, send, primary)
    relay = None
    try:
        branches = not plan.effects & Effect.IMPLICIT_COMMIT
        await join_transaction(session, connection, send.cluster, fresh, branches)
        await prelude(session, entry, connection, send.cluster)
        pinned_before, locked_before = send.cluster in session.pinned, session.locks.get(send.cluster)
        if plan.pins:
            pin(session, connection, plan.pins)
        relay = given or Relay(session)
        await confirm(session, connection)
        session.sending(connection)
        connection.send(encode(payload, 0), relay, mode)
        await relay.done
        if session.made is not None:
            await tell_ids(session, entry, connection, relay)
        if plan.pins in LOCK_REASONS and connection.scanner.errno:
            table_locks.failed(session, send.cluster, plan.pins, locked_before or frozenset(), connection.scanner.errno)
        if plan.pins and not pinned_before and connection.scanner.errno == 1064:
            session.pinned.pop(send.cluster, None)  # it was not even read: nothing was left behind
            connection.dirty = ""
    except BaseException as error:
        if isinstance(error, TurnoutError) and may_retry(session, entry, connection, relay):
            await forward(session, entry, send, payload, True, mode)
            return
        finish_statement(session, connection)
        if isinstance(error, TurnoutError) and relay is not None and relay.relayed:
            session.fail(error, broken=True)
            return
        raise
    record(session, entry, connection.scanner.rows, relay.bytes, failed=connection.scanner.errno != 0)
    if plan.statement.kind is Kind.XA and not connection.scanner.errno:
        if plan.statement.name in ("start", "begin"):
            session.own_xa = send.cluster
        elif plan.statement.name in ("commit", "rollback"):
            session.own_xa = ""
    await settle(session, connection, entry)


async def tell_ids(session: Session, entry: Entry, connection: ServerConnection, relay: Relay) -> None:
    from proxy.front.made_ids import tell

    relay.bytes += sum(map(len, relay.kept or ()))
    await tell(session, entry, connection, relay.kept)


async def prelude(session: Session, entry: Entry, connection: ServerConnection, cluster: str) -> None:
    """What has to reach the server before the statement itself, besides settings and transaction."""
    plan = entry.plan
    if plan.effects & Effect.IMPLICIT_COMMIT:
        await _end_elsewhere(session, cluster)
    if plan.statement.kind is Kind.LOCK_TABLES:
        await table_locks.unlock_tables(session, but=cluster)
    if plan.effects & Effect.USES_LAST_INSERT_ID or _may_ask_last_insert_id(session, plan):
        # Also where it is asked afterwards: a statement that generates none leaves what some other session left there.
        text = b"\x03SET @@session.last_insert_id=%d" % session.last_insert_id
        await _before(session, connection, text, "SET last_insert_id")
    note_writer(session, entry, cluster)


def note_writer(session: Session, entry: Entry, cluster: str) -> None:
    """A statement is about to run in the session's transaction, if it has one."""
    if (
        entry.plan.statement.kind not in _ENDS
        and entry.may_write
        and (session.transaction.explicit or not session.autocommit)
    ):
        session.transaction.changed.add(cluster)
        if entry.writes:
            session.transaction.writers.add(cluster)


async def end_branches(session: Session, cluster: str) -> None:
    """A statement with an implicit commit is about to come, on `cluster`. A transaction that has XA branches, or would
    have one there, is committed now: a server cannot do it inside of one, or for the other clusters."""
    if any(
        connection.branch is not None or (held_on != cluster and connection.scanner.status & IN_TRANS)
        for held_on, connection in session.held.items()
    ):
        from proxy.front.transactions import finish

        try:
            await finish(session, b"COMMIT", list(session.held))
        finally:
            session.transaction.clear()


def finish_statement(session: Session, connection: ServerConnection) -> None:
    """After a failure on our side of things: a free connection goes back, one in the middle of an answer is dropped."""
    if connection.holder is not session:
        session.give_back(connection)
    elif connection.sink is not None:
        connection.abort(ServerFailed("The statement was given up"))


def may_retry(session: Session, entry: Entry, connection: ServerConnection, relay: Relay | None) -> bool:
    """A plain read that was lost on a replica before any of it reached the client may be asked of the primary."""
    return (
        entry.replica_ok
        and connection.role is Role.REPLICA
        and not session.closed
        and connection.holder is not session
        and not (relay is not None and relay.relayed)
        and connection.aborted is not None
    )


async def obtain(
    session: Session, entry: Entry, send: Send, primary: bool, database: str | None = None
) -> tuple[ServerConnection, bool]:
    """The connection for a statement: the one held for the cluster, or one from a pool (then True). `database`: the
    default database that the statement needs, if it is not the session's."""
    plan = entry.plan
    if plan.writes:
        check_writer(session, send.cluster)
    check_variables(session, plan.effects, send.cluster)
    if session.owed:
        await session.settle_owed(send.cluster)
    if session.own_xa:
        _check_own_xa(session, send.cluster)
    held = session.held.get(send.cluster)
    if held is not None:
        await session.dress(held, database)
        return held, False
    server = session.target(send, entry, primary)
    try:
        return await session.take(server, database, parked=True), True
    except (ServerFailed, PoolExhausted):
        if server.role is not Role.REPLICA:
            raise
        # Nothing was sent yet: a replica that cannot be had is no reason for the read to fail.
        return await session.take(session.target(send, entry, True), database, parked=True), True


def may_have_variables(session: Session) -> dict[str, str]:
    """The clusters on which the session may have changed its user variables, each with what it is pinned by."""
    return {cluster: why for cluster, why in session.pinned.items() if why not in LOCK_REASONS}


def check_variables(session: Session, effects: Effect, cluster: str) -> None:
    """Raises StatementRefused for a statement that reads user variables on a cluster that may not have them."""
    if not effects & Effect.READS_USER_VARIABLE or not session.pinned:
        return
    others = may_have_variables(session)
    others.pop(cluster, None)
    if others:
        raise StatementRefused(
            f"This statement is for cluster {cluster} and reads a user variable, but the session's user "
            f"variables may have changed on cluster {', '.join(sorted(others))}, where it is pinned "
            f"({', '.join(sorted(set(others.values())))}). Put the value into the statement instead",
            reason="user-variable-elsewhere",
        )


def _check_own_xa(session: Session, cluster: str) -> None:
    """The client's own XA transaction is on one cluster. Raises StatementRefused for a statement on another."""
    other = session.own_xa
    if other and other in session.held and other != cluster:
        raise StatementRefused(
            f"The session has an XA transaction of its own on cluster {other}, and this statement is for {cluster}: it "
            "would not be part of it. Use BEGIN and COMMIT, which `transactions: atomic` makes atomic over clusters",
            reason="xa-over-clusters",
        )


def check_writer(session: Session, cluster: str) -> None:
    """A transaction writes on one cluster only, unless the rules say best_effort. Raises StatementRefused."""
    from proxy.rules.model import Transactions

    if session.transaction.only_reads:
        raise StatementRefused(
            "This transaction has begun on several clusters while the session had FLUSH TABLES WITH READ LOCK, so that "
            "it could not be made atomic over clusters: it may only read. Commit first",
            reason="read-only-transaction",
        )
    writers = session.transaction.writers - {cluster}
    if writers and session.environment.rules.transactions is Transactions.SINGLE:
        other = ", ".join(sorted(writers))
        raise StatementRefused(
            f"This transaction has written on cluster {other} and would now write on {cluster}: with "
            "'transactions: single' a transaction writes on one cluster. Commit first, or set "
            "'transactions: atomic' in the rules (both are then committed, or none)",
            reason="cross-cluster-transaction",
        )


async def join_transaction(
    session: Session, connection: ServerConnection, cluster: str, fresh: bool = True, branches: bool = True
) -> None:
    """Make a connection part of the session's transaction, if it has one: a fresh one, or one that is held because of
    other state and that the transaction has not come to yet. What SET TRANSACTION has said of the next one is said
    there, too. `branches`: no XA branch begins for a statement that commits, which a server cannot do inside of one."""
    from proxy.front.atomic import branch_for, is_atomic, start_branch

    transaction = session.transaction
    branch = await branch_for(session, connection, cluster) if branches else None
    if not fresh and connection.scanner.status & IN_TRANS:
        return
    once, session.next_transaction = [*transaction.once, *session.next_transaction], []
    if transaction.explicit:
        transaction.once = once
    else:
        session.one_shot = once
    for text in once:
        await checked(connection, bytes((com.COM_QUERY,)) + text)
    if branch is not None:
        await start_branch(connection, branch)
        session.hold(connection)
    elif transaction.explicit:
        if transaction.begin == b"BEGIN":
            await _before(session, connection, b"\x03BEGIN", "BEGIN")
        else:
            await checked(connection, bytes((com.COM_QUERY,)) + transaction.begin)
        session.hold(connection)
    elif not session.autocommit and is_atomic(session):
        session.hold(connection)  # whoever joins next has to know that the transaction begins here
    elif not session.autocommit and any(held.scanner.status & IN_TRANS for held in session.held.values()):
        await _before(session, connection, b"\x03BEGIN", "BEGIN")  # one that has begun elsewhere
        session.hold(connection)
    for _, text in transaction.savepoints:
        await checked(connection, bytes((com.COM_QUERY,)) + text)
        session.hold(connection)


async def joined(
    session: Session, entry: Entry, send: Send, primary: bool = True, database: str | None = None
) -> ServerConnection:
    """A connection for the statement, in the session's transaction if it has one. Raises TurnoutError."""
    connection, fresh = await obtain(session, entry, send, primary, database)
    try:
        branches = not entry.plan.effects & Effect.IMPLICIT_COMMIT
        await join_transaction(session, connection, send.cluster, fresh, branches)
    except BaseException:
        if connection.holder is not session:
            session.give_back(connection)
        raise
    return connection


async def _before(session: Session, connection: ServerConnection, payload: bytes, what: str) -> None:
    """Send a command of ours ahead of the statement. Its answer is waited for only where `confirm` may yet refuse the
    statement: a connection that has not answered is of no use to the session any more, and its transaction is lost."""
    if session.guard is None and session.made is None:
        connection.send(encode(payload, 0), Discarded(what))
    else:
        await checked(connection, payload)


def pin(session: Session, connection: ServerConnection, reason: str) -> None:
    """From now on the session keeps this connection: state on it cannot be carried to another."""
    if connection.pool is None:
        return
    cluster = connection.pool.server.cluster
    known = session.pinned.get(cluster)
    if known is None:
        session.environment.measures.pinned(reason)
    if known is None or reason not in LOCK_REASONS:  # which end before the others do
        session.pinned[cluster] = connection.dirty = reason
    if reason in LOCK_REASONS:
        session.locks[cluster] = session.locks.get(cluster, frozenset()) | {reason}
    session.hold(connection)


async def settle(session: Session, connection: ServerConnection, entry: Entry) -> None:
    """After an answer: remember what it said, ask for what it did not say, keep or give back the connection.

    The client has its answer: a failure here can only be told with its next command.
    """
    try:
        await _settle(session, connection, entry)
    except TurnoutError as error:
        finish_statement(session, connection)
        session.doom = error


async def _settle(session: Session, connection: ServerConnection, entry: Entry) -> None:
    scanner = connection.scanner
    plan = entry.plan
    held = connection.holder is session
    if scanner.session_state:
        session.observe(connection, scanner.session_state)
    failed = scanner.errno != 0
    called = plan.statement.kind is Kind.CALL
    if failed:
        session.environment.measures.error(scanner.errno)
        session.row_count = -1
    elif scanner.columns and not called:
        session.found_rows = None if entry.offset or scanner.status & CURSOR_EXISTS else scanner.rows
        session.row_count = -1
    else:
        session.row_count = scanner.affected_rows
        if plan.statement.kind is Kind.DO:
            session.found_rows = 1
    insert_id, status = scanner.insert_id, scanner.status
    # A procedure's last OK does not count the warnings of the statements in it.
    wants_warnings = failed or scanner.warnings or called
    if connection.aborted is not None and not (not failed and _may_ask_last_insert_id(session, plan)):
        # The answer was complete. What was held is told to the session by itself; SHOW WARNINGS is all that is lost.
        session.diagnostics, session.warning_count = None, scanner.warnings
        return
    if connection.aborted is not None:
        raise connection.aborted
    explicit = session.transaction.explicit or not session.autocommit
    errno = scanner.errno
    kept = held and (status & IN_TRANS or (connection.pool and connection.pool.server.cluster in session.pinned))
    warnings = scanner.warnings
    commands = connection.commands
    exceeded = session.exceeded
    if exceeded is not None:
        await session.quiet((connection,))
        session.remember_error(exceeded)
    elif wants_warnings:
        made = session.made
        known = made.diagnostics if made is not None else None
        session.diagnostics = known or await connection.command(b"\x03SHOW WARNINGS")
        session.warning_count = warnings or len(connection.read(session.diagnostics).rows)
    elif not entry.keeps_diagnostics:
        session.diagnostics = None
        session.warning_count = 0
    # What had not begun before this statement, as `status` (of the answer before) says, cannot have been ended by it.
    begun_with_others = len(session.held) > 1 and status & IN_TRANS
    may_have_ended = begun_with_others or errno in _MAY_ROLL_BACK or plan.effects & Effect.IMPLICIT_COMMIT
    if failed and explicit and held and may_have_ended:
        if not await _still_in_transaction(session, connection):
            return
    if not failed:
        if called or plan.effects & Effect.CALC_FOUND_ROWS:  # a procedure's last SELECT may have gone to a variable
            session.found_rows = await connection.number("SELECT FOUND_ROWS() LIMIT 1") or 0
        if session.generated is True and insert_id:
            session.last_insert_id = insert_id
        elif session.made is None and _may_ask_last_insert_id(session, plan):
            session.last_insert_id = await connection.number("SELECT LAST_INSERT_ID() LIMIT 1") or 0
    if session.one_shot:
        await _end_one_shot(session, connection, consumed=not failed and bool(plan.statement.tables))
    if plan.statement.kind is Kind.DDL:
        session.client.listener.schemas_changed()
    asked = session.made is not None and session.made.asked
    session.last_on = connection if connection.commands == commands and not asked else None
    if plan.statement.kind is Kind.UNLOCK_TABLES:
        if connection.pool is not None:  # by a hint
            table_locks.ended(session, connection, connection.pool.server.cluster)
    if connection.aborted is not None:
        raise connection.aborted
    if failed and explicit and not kept and not held:
        session.hold(connection)  # autocommit is off: whether a transaction is open is not known, COMMIT will tell
        return
    if failed and held:
        return
    if held:
        session._settle_held(connection)
    elif connection.scanner.status & IN_TRANS and connection.pool is not None:
        session.hold(connection)
    elif connection.pool is not None:
        connection.pool.release(connection)


async def _end_one_shot(session: Session, connection: ServerConnection, consumed: bool) -> None:
    """SET TRANSACTION holds until a transaction has ended; a statement that touched no table, or failed, was none.
    The next session must not find it on the connection: COMMIT ends it there, and it is kept for the next statement."""
    one_shot, session.one_shot = session.one_shot, []
    if connection.scanner.status & IN_TRANS:
        return
    if not consumed:
        session.next_transaction = one_shot
    await checked(connection, b"\x03COMMIT")


def _may_ask_last_insert_id(session: Session, plan: Plan) -> bool:
    """Whether LAST_INSERT_ID() may have to be asked of the server after the statement."""
    if plan.effects & Effect.SETS_LAST_INSERT_ID or plan.statement.kind in _OPAQUE_KINDS:
        return True
    if plan.effects & Effect.RETURNING:  # the answer is rows, and has no insert id
        return session.generated is not False
    return plan.writes and session.generated is None


async def _end_elsewhere(session: Session, cluster: str) -> None:
    """A statement with an implicit commit: what the transaction did on other clusters is committed too."""
    from proxy.front.transactions import finish

    others = [c for c in session.held if c != cluster]
    if others:
        await finish(session, b"COMMIT", others)
    if cluster not in session.held:
        session.transaction.clear()


async def _still_in_transaction(session: Session, connection: ServerConnection) -> bool:
    """After an error that may have ended the transaction (a deadlock). If it did, what the session holds on other
    clusters is rolled back too, as one server would have done, and everything is given back."""
    await connection.command(bytes((com.COM_PING,)))  # its OK packet has the status that an ERR packet lacks
    if connection.scanner.status & IN_TRANS:
        return True
    from proxy.front.transactions import finish

    await finish(session, b"ROLLBACK", list(session.held))
    session.transaction.clear()
    return False


def _with_connection_id(
    session: Session, route: Route, sql: bytes, shape: bytes, literals: list[bytes]
) -> tuple[Route, bytes]:
    """The statement with the id that this client knows itself by in place of CONNECTION_ID()."""
    if len(route.sends) == 1 and (own := route.sends[0].text) is not None:
        text = with_connection_id(session.connection_id, *session.lexer.shape(own))
        return replace(route, sends=(replace(route.sends[0], text=text),)), sql
    if any(send.text is not None for send in route.sends):
        raise StatementRefused(
            "CONNECTION_ID() in a statement that is split over shards is not supported; select it first",
            reason="connection-id-in-split",
        )
    return route, with_connection_id(session.connection_id, shape, literals)


def with_connection_id(number: int, shape: bytes, literals: list[bytes]) -> bytes:
    return Lexer.restore(CONNECTION_ID.sub(b"%d" % number, shape), literals)


def record_otherwise(session: Session, entry: Entry) -> None:
    """Count a statement that has ended, unless what carried it out has done so."""
    if not session.recorded and session.running is not None and not session.closed:
        record(session, entry, 0, 11)


def record(session: Session, entry: Entry, rows: int, size: int, failed: bool = False) -> None:
    session.recorded = True
    began, sent = session.times
    now = _now()
    entry.stats.record(now - began, now - sent if sent >= began else 0, rows, size, failed)
    if now - began > session.environment.rules.limits.slow_statement_s * 1e9:
        session.client.listener.slow(session, entry, (now - began) / 1e9)
