"""Locks of tables that a session has on its connections: LOCK TABLES on one cluster, FLUSH TABLES .. WITH READ LOCK on
one, or without tables on all, UNLOCK TABLES wherever they are.

Locks by LOCK TABLES end with the next LOCK TABLES and with a transaction that begins, and their UNLOCK TABLES commits;
the others outlive all that. A session stays on connections that have locks (`Session.pinned`), and on no others when
they are unlocked, unless something else keeps it there. Source: MySQL "LOCK TABLES and UNLOCK TABLES Statements".
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, TurnoutError
from proxy.front.session import Session, checked
from proxy.plan.case import GLOBAL_READ_LOCK, LOCK_REASONS, LOCK_TABLES
from proxy.plan.server_work import clusters_in_use
from proxy.wire import command as com

_UNLOCK = b"\x03UNLOCK TABLES"


async def lock_everything(session: Session, sql: bytes) -> None:
    """FLUSH TABLES WITH READ LOCK on every cluster, or on none. Raises TurnoutError."""
    from proxy.front.statements import pin
    from proxy.front.transactions import finish

    rules = session.environment.rules
    clusters = sorted({rules.home(session.database), *clusters_in_use(rules)})  # in one order: two do not deadlock
    try:
        await finish(session, b"COMMIT", list(session.held))
    finally:
        session.transaction.clear()
    before = dict(session.locks)
    asked: list[str] = []
    try:
        for cluster in clusters:
            asked.append(cluster)
            connection = session.held.get(cluster)
            if connection is None:
                primary = session.environment.cluster(cluster).primary
                primary.check_up()
                connection = await session.take(primary)
            else:
                await session.dress(connection)
            pin(session, connection, GLOBAL_READ_LOCK)
            await checked(connection, bytes((com.COM_QUERY,)) + sql)
    except BaseException:
        if not session.closed:  # what it holds is dropped then
            await _unlock(session, [cluster for cluster in asked if cluster not in before])
            session.locks.update(before)
        raise
    session.ok()


async def unlock(session: Session) -> None:
    """UNLOCK TABLES. Raises TurnoutError."""
    from proxy.front.transactions import finish

    if any(LOCK_TABLES in kinds for kinds in session.locks.values()):
        try:
            await finish(session, b"COMMIT", list(session.held))
        finally:
            session.transaction.clear()
    await _unlock(session, list(session.pinned))  # also where a text that was not understood has locked some
    session.ok()


async def unlock_tables(session: Session, but: str = "") -> None:
    """What LOCK TABLES has locked, on any cluster `but` this one, is free: a transaction begins, or others are locked.
    Raises TurnoutError."""
    clusters = [cluster for cluster, kinds in session.locks.items() if LOCK_TABLES in kinds and cluster != but]
    both = [cluster for cluster in clusters if len(session.locks[cluster]) > 1 and cluster in session.held]
    await _unlock(session, [cluster for cluster in clusters if cluster not in both])
    for cluster in both:  # UNLOCK TABLES would end the other lock, too
        await checked(session.held[cluster], b"\x03BEGIN")
        await checked(session.held[cluster], b"\x03COMMIT")
        ended_by_begin(session, cluster)


def ended_by_begin(session: Session, cluster: str) -> None:
    """A transaction has begun there, which ends what LOCK TABLES has locked."""
    kinds = session.locks.get(cluster, frozenset()) - {LOCK_TABLES}
    if kinds:
        session.locks[cluster] = kinds
    else:
        session.locks.pop(cluster, None)


async def _unlock(session: Session, clusters: Iterable[str]) -> None:
    failure: TurnoutError | None = None
    for cluster in clusters:
        connection = session.held.get(cluster)
        if connection is None:
            session.locks.pop(cluster, None)
            continue
        try:
            if connection.sink is not None:
                raise ServerFailed("The statement was given up")
            await checked(connection, _UNLOCK)
        except TurnoutError as error:
            connection.abort(error)
            failure = error
        ended(session, connection, cluster)
        if connection.aborted is None and connection.holder is session:
            session._settle_held(connection)
    if failure is not None:
        raise failure


def locks_everything(session: Session) -> bool:
    """Does the session keep everybody from writing?"""
    return any(GLOBAL_READ_LOCK in kinds for kinds in session.locks.values())


def check_own_writes(session: Session) -> None:
    """Turnout is about to write something of its own for a statement of the session. It would wait for the session's
    own lock: raises ServerFailed with what a server says."""
    if locks_everything(session):
        raise ServerFailed("Can't execute the query because you have a conflicting read lock", 1223, "HY000")


def ended(session: Session, connection: ServerConnection, cluster: str) -> None:
    """A connection has no locks any more: the session stays on it only if there is another reason."""
    session.locks.pop(cluster, None)
    if session.pinned.get(cluster) in LOCK_REASONS:
        del session.pinned[cluster]
        connection.dirty = ""


def failed(session: Session, cluster: str, reason: str, before: frozenset[str], errno: int) -> None:
    """A statement that was to lock tables on a cluster has failed, where these locks were `before`."""
    if reason == LOCK_TABLES and errno != 1064:
        before -= {LOCK_TABLES}  # which it has ended
    if before:
        session.locks[cluster] = before
    else:
        session.locks.pop(cluster, None)
