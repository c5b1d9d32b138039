"""BEGIN, COMMIT, ROLLBACK and savepoints of a session that may hold connections to several clusters.

BEGIN is answered at once; each cluster hears of it with its first statement. COMMIT goes to every cluster that joined:
first those that were only read, then those that were written to, one after the other (`transactions: best_effort`; with
`single` there is at most one of the latter). A failure in between is reported with what was and was not committed. With
`transactions: atomic` a second cluster joins as an XA branch, and `proxy.front.atomic` commits.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from parser.statement import Kind, Statement
from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front import table_locks
from proxy.front.environment import Entry
from proxy.front.session import Session, checked, roll_back
from proxy.plan.plan import Send
from proxy.wire import command as com
from proxy.wire.status import IN_TRANS, IN_TRANS_READONLY

_CHAIN = re.compile(rb"\bchain\b", re.IGNORECASE)
_NO = re.compile(rb"\bno\s+(chain|release)\b", re.IGNORECASE)
_RELEASE = re.compile(rb"\brelease\b", re.IGNORECASE)
_PLAIN_BEGIN = re.compile(rb"\s*(begin(\s+work)?|start\s+transaction)\s*;?\s*\Z", re.IGNORECASE)


async def begin(session: Session, sql: bytes) -> None:
    """BEGIN or START TRANSACTION, which ends a transaction that is under way."""
    if session.in_transaction or any(not _is_pin_only(session, c) for c in session.held):
        try:
            await finish(session, b"COMMIT", list(session.held))
        finally:  # a transaction whose COMMIT failed is over
            session.transaction.clear()
    await table_locks.unlock_tables(session)
    session.transaction.clear()
    session.transaction.explicit = True
    session.transaction.begin = b"BEGIN" if _PLAIN_BEGIN.match(sql) else sql
    session.transaction.once, session.next_transaction = session.next_transaction, []
    begun = ""
    if session.transaction.begin != b"BEGIN":
        # Its own syntax and privileges (READ WRITE on a read-only server, ...) are the server's to judge; with a
        # consistent snapshot it is also the moment that counts. Home hears of it now.
        home = session.environment.rules.home(session.database)
        connection = session.held.get(home)
        if connection is None:
            servers = session.environment.cluster(home)
            servers.primary.check_up()
            try:
                connection = await session.take(servers.primary)
            except TurnoutError:
                session.transaction.clear()
                raise
        try:
            for text in session.transaction.once:
                await checked(connection, bytes((com.COM_QUERY,)) + text)
            await checked(connection, bytes((com.COM_QUERY,)) + sql)
        except TurnoutError:
            session.transaction.clear()
            if home not in session.held:
                session.give_back(connection)
            raise
        session.transaction.status = connection.scanner.status & IN_TRANS_READONLY
        session.hold(connection)
        begun = home
    for cluster in session.pinned:
        if cluster in session.held and cluster != begun:
            await begin_pinned(session, session.held[cluster], cluster)
    session.ok()


async def begin_pinned(session: Session, connection: ServerConnection, cluster: str) -> None:
    """Begin the session's transaction on a connection that it keeps because of other state."""
    from proxy.front.atomic import branch_for, start_branch

    await session.dress(connection)  # autocommit cannot be switched on inside of a branch
    for text in session.transaction.once:
        await checked(connection, bytes((com.COM_QUERY,)) + text)
    branch = await branch_for(session, connection, cluster)
    if branch is not None:
        await start_branch(connection, branch)
    else:
        await checked(connection, bytes((com.COM_QUERY,)) + session.transaction.begin)


async def end(session: Session, entry: Entry, sql: bytes) -> None:
    """COMMIT or ROLLBACK, with AND CHAIN and RELEASE."""
    verb = b"COMMIT" if entry.plan.statement.kind is Kind.COMMIT else b"ROLLBACK"
    words = _NO.sub(b"", sql)
    chain = _CHAIN.search(words) is not None
    release = _RELEASE.search(words) is not None
    if len(session.held) == 1 and not release and next(iter(session.held.values())).branch is None:
        from proxy.front.statements import forward

        if verb == b"COMMIT" and session.doom is not None:  # a part was lost since the client sent this
            raise session.doom
        cluster = next(iter(session.held))
        session.next_transaction = []
        session.transaction.forget_clusters()
        session.transaction.savepoints.clear()
        if chain:  # the server begins the next one, with the isolation level and access mode of this one
            session.transaction.explicit = True
        else:
            session.transaction.clear()
        await forward(session, entry, Send(cluster), b"\x03" + (sql if chain else verb))
        if chain:
            table_locks.ended_by_begin(session, cluster)
        return
    begin_text, once = session.transaction.begin, session.transaction.once
    try:
        await finish(session, verb, list(session.held))
    finally:  # a transaction whose COMMIT failed is over
        session.transaction.clear()
        session.next_transaction = []
    if chain:
        await table_locks.unlock_tables(session)
        session.transaction.explicit = True
        session.transaction.begin, session.transaction.once = begin_text, once
        for cluster, connection in session.held.items():  # pinned
            await begin_pinned(session, connection, cluster)
    session.ok()
    if release:
        session.client.lose(None)


async def finish(session: Session, verb: bytes, clusters: Sequence[str]) -> None:
    """COMMIT or ROLLBACK on the held connections of `clusters`, and give them back. Raises ServerFailed."""
    if verb == b"COMMIT" and session.doom is not None:  # a part was lost since the client sent this
        raise session.doom
    if verb == b"COMMIT" and any(c in session.held and session.held[c].branch is not None for c in clusters):
        from proxy.front.atomic import commit

        await commit(session, clusters)
        return
    writers = session.transaction.writers
    order = sorted(clusters, key=lambda c: (c in writers, c))
    done: list[str] = []
    failure: TurnoutError | None = None
    failed_on = ""
    for cluster in order:
        connection = session.held.get(cluster)
        if connection is None:
            if session.doom is not None and failure is None and verb == b"COMMIT":  # it was lost just now
                failure, failed_on = session.doom, cluster
            continue
        this = b"ROLLBACK" if failure is not None else verb
        try:
            if connection.branch is not None:
                await roll_back(connection)
            else:
                await checked(connection, bytes((com.COM_QUERY,)) + this)
        except TurnoutError as error:
            if failure is None:
                failure, failed_on = error, cluster
            if connection.aborted is None:
                await _try_roll_back(connection_of=session, cluster=cluster)
        else:
            if failure is None and cluster in writers:
                done.append(cluster)
            if connection.scanner.session_state:
                session.observe(connection, connection.scanner.session_state)
        _give_back(session, cluster)
    if not any(connection.branch is not None for connection in session.held.values()):
        session.transaction.id = session.transaction.first = ""
    if failure is not None and verb == b"COMMIT":
        committed = f"committed on {', '.join(done)}; " if done else ""
        raise ServerFailed(
            f"COMMIT failed on cluster {failed_on} ({failure.message}); {committed}the rest was rolled back",
            failure.errno,
            failure.sqlstate,
        )


async def _try_roll_back(connection_of: Session, cluster: str) -> None:
    connection = connection_of.held.get(cluster)
    if connection is None:
        return
    try:
        await roll_back(connection)
    except TurnoutError as error:
        connection.abort(error)


def _give_back(session: Session, cluster: str) -> None:
    connection = session.held.get(cluster)
    if connection is None or connection.scanner.status & IN_TRANS:
        return
    connection.taken_ns = time.perf_counter_ns()
    if cluster in session.pinned:
        return
    del session.held[cluster]
    session.give_back(connection)


def _is_pin_only(session: Session, cluster: str) -> bool:
    return cluster in session.pinned and not session.held[cluster].scanner.status & IN_TRANS


async def savepoint(session: Session, statement: Statement, sql: bytes) -> None:
    """SAVEPOINT, ROLLBACK TO, RELEASE SAVEPOINT: on every cluster that joined, and kept for those that join later."""
    transaction = session.transaction
    name = statement.name.lower()
    known = [n for n, _ in transaction.savepoints]
    active = transaction.explicit or not session.autocommit
    if statement.kind is not Kind.SAVEPOINT and name not in known:
        raise StatementRefused(f"SAVEPOINT {statement.name} does not exist", 1305, "42000", reason="unknown-savepoint")
    warnings, diagnostics = 0, None
    for cluster, connection in list(session.held.items()):
        if cluster in session.pinned and not active and not connection.scanner.status & IN_TRANS:
            continue
        await session.dress(connection)
        await checked(connection, bytes((com.COM_QUERY,)) + sql)
        if connection.scanner.warnings:  # a temporary table stays, ..
            warnings += connection.scanner.warnings
            diagnostics = diagnostics or await connection.command(b"\x03SHOW WARNINGS")
    if statement.kind is Kind.SAVEPOINT:
        if active:
            transaction.savepoints = [(n, t) for n, t in transaction.savepoints if n != name]
            transaction.savepoints.append((name, sql))
    else:
        at = known.index(name)
        keep = at + (1 if statement.kind is Kind.ROLLBACK_TO else 0)
        transaction.savepoints = transaction.savepoints[:keep]
    session.ok(warnings=warnings, diagnostics=diagnostics)
