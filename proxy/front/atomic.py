"""Transactions over several clusters under `transactions: atomic`: how clusters join, and COMMIT in two phases.

The first cluster's part is an ordinary transaction, as the client wrote it. Every cluster that joins later begins an XA
branch. COMMIT prepares the branches that may have written, writes the decision into the first cluster's transaction,
commits that, and then the branches (`proxy.front.two_phase` has the order and what each failure means;
docs/TRANSACTIONS.md the promise). A COMMIT that has begun goes on when its client goes away.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Sequence

from proxy.back.connection import Collected, ServerConnection
from proxy.back.decisions import GRANT_CLIENT, Decision, NoToken, ask, commit_row, open_service, service_account
from proxy.back.xa import Branch
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front import table_locks
from proxy.front.recovery import finish_branch
from proxy.front.session import Session, roll_back
from proxy.front.two_phase import FINAL, TABLE, Ending, Event, Phase, ending
from proxy.rules.model import Transactions
from proxy.wire import command as com
from proxy.wire.frames import encode
from proxy.wire.packets import parse_err
from proxy.wire.status import IN_TRANS

log = logging.getLogger("turnout.transactions")

# From PREPARE to the sending of the decision's COMMIT. Far less than recovery keeps abort rows (two_phase).
DECIDE_WITHIN_S = 60.0
ASK_FOR_S = 15.0  # how long a client waits to hear what a lost COMMIT came to
FINISH_FOR_S = 3.0  # how long a client's COMMIT waits for branches whose connection was lost after the decision
_PAUSE_S = 0.2
_READ_ONLY = re.compile(rb"\bread\s+only\b", re.IGNORECASE)
_NO_DECISION_TABLE = frozenset({1044, 1049, 1142, 1146})


def is_atomic(session: Session) -> bool:
    return session.environment.rules.transactions is Transactions.ATOMIC


async def branch_for(session: Session, connection: ServerConnection, cluster: str) -> Branch | None:
    """The name of the branch that `connection` has to begin, before its next statement, to be part of the session's
    transaction; None where its part is an ordinary transaction, or there is no transaction. Raises TurnoutError."""
    transaction = session.transaction
    if not is_atomic(session) or connection.branch is not None or connection.scanner.status & IN_TRANS:
        return None
    if not transaction.explicit and session.autocommit:
        return None
    if _READ_ONLY.search(transaction.begin):  # nothing to decide
        return None
    first = await _first(session, cluster)
    if first is None:
        return None
    if table_locks.locks_everything(session):
        transaction.only_reads = True
        return None
    return await new_branch(session, first, cluster)


async def new_branch(session: Session, first: str, cluster: str) -> Branch:
    """A name for `cluster`'s part of the transaction that began on `first`. Raises TurnoutError."""
    table_locks.check_own_writes(session)
    transaction = session.transaction
    if not transaction.id or transaction.first != first:
        transaction.id, transaction.first = secrets.token_hex(12), first
    try:
        return Branch(transaction.id, await _token(session, transaction.first), await _token(session, cluster))
    except NoToken as error:
        raise StatementRefused(error.message, 1105, "HY000", reason="no-atomic-transactions") from error


async def start_branch(connection: ServerConnection, branch: Branch) -> None:
    """Raises ServerFailed with the server's own error."""
    (error,) = await send_all(connection, branch.start)
    if error is not None:
        raise error
    connection.branch = branch


async def _first(session: Session, joining: str) -> str | None:
    """The cluster on which the session's transaction began, if it is under way on another one than `joining`."""
    for cluster, connection in session.held.items():
        if cluster == joining or connection.branch is not None:
            continue
        if cluster in session.pinned and not connection.scanner.status & IN_TRANS:
            await connection.command(bytes((com.COM_PING,)))  # an error packet, the last perhaps, says nothing of it
            if not connection.scanner.status & IN_TRANS:
                continue
        return cluster
    return None


async def _token(session: Session, cluster: str) -> str:
    environment = session.environment
    server = environment.cluster(cluster).primary
    return await environment.tokens.of(server, service_account(environment.rules, cluster))


async def send_all(connection: ServerConnection, *texts: bytes) -> list[ServerFailed | None]:
    """Send statements in one write; what each came to. Raises the connection's error when it is lost."""
    if connection.aborted is not None:
        raise connection.aborted
    connection.commands += len(texts)
    sinks = [Collected() for _ in texts]
    for sink in sinks:
        connection.expect(sink)
    connection.write(b"".join(encode(bytes((com.COM_QUERY,)) + text, 0) for text in texts))
    results: list[ServerFailed | None] = []
    for response in await asyncio.gather(*(sink.future for sink in sinks)):
        if response[4] == 0xFF:
            error = parse_err(response[4:])
            results.append(ServerFailed(error.message.decode("utf-8", "replace"), error.errno, error.sqlstate))
        else:
            results.append(None)
    return results


async def commit(session: Session, clusters: Sequence[str]) -> None:
    """COMMIT of a transaction that has branches. Raises ServerFailed, which says what is known."""
    coordinator = Coordinator(session, clusters)
    session.transaction.forget_clusters()
    task = session.client.spawn(coordinator.run(), "COMMIT over clusters")
    await asyncio.shield(task)
    if coordinator.error is not None:
        raise coordinator.error


class Coordinator:
    """One COMMIT. It takes the connections over from the session and gives back what the session keeps."""

    def __init__(self, session: Session, clusters: Sequence[str]) -> None:
        transaction = session.transaction
        self._session = session
        self._environment = session.environment
        self._id = transaction.id
        self._parts = {cluster: session.held[cluster] for cluster in clusters if cluster in session.held}
        self._branches = {c: part.branch for c, part in self._parts.items() if part.branch is not None}
        self._began_on = transaction.first
        self._first = transaction.first if transaction.first in self._parts else None
        self._writers = frozenset(transaction.changed)
        self._ending = ending(tuple(self._branches), self._first, self._writers)
        self._began = time.monotonic()
        self._cause: TurnoutError | None = None  # the first failure, and where
        self._failed_on = ""
        self.error: TurnoutError | None = None  # for the client
        for cluster, connection in self._parts.items():
            del session.held[cluster]
            connection.holder = connection.taker = self

    def on_held_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        """Whoever uses the connection next is told."""

    async def run(self) -> None:
        try:
            await self._run(self._ending)
        except TurnoutError as error:  # every step has its own way with these: this one comes from outside them
            self.error = error
        finally:
            self._give_back()

    async def _run(self, plan: Ending) -> None:
        strays = [c for c, branch in self._branches.items() if branch.id != self._id]
        others = [c for c in self._parts if c not in self._branches and c != self._first and c in self._writers]
        if strays or others or (plan.decide and self._first is None):
            where = ", ".join([*strays, *others]) or self._began_on
            self._fail(where, ServerFailed("its part is not under way as it should be", 1180, "HY000"))
            await self._roll_back_all()
            self.error = self._rolled_back()
            return
        if plan.decide:
            await self._two_phases()
        elif await self._one_phase(plan):
            await self._let_go(plan.readers, first=plan.alone is not None)
        else:
            await self._roll_back_all()

    # -- where one part alone has written ------------------------------------------------------------------------------

    async def _one_phase(self, plan: Ending) -> bool:
        """Commit the one part that may have written; False when it did not take place."""
        cluster = plan.alone or self._first
        if cluster is None:
            return True
        connection = self._parts[cluster]
        branch = self._branches.get(cluster)
        texts = (branch.end, branch.commit_unprepared) if branch is not None else (b"COMMIT",)
        try:
            errors = await send_all(connection, *texts)
        except TurnoutError as error:
            self._fail(cluster, error)
            self.error = error  # as on one server: whether it took effect is not known
            self._session.doom = error
            return False
        self._observe(connection)
        if errors[-1] is not None:
            self._fail(cluster, errors[-1])
            self.error = self._rolled_back()
            return False
        connection.branch = None
        return True

    # -- where several have --------------------------------------------------------------------------------------------

    async def _two_phases(self) -> None:
        steps: dict[Phase, object] = {
            Phase.PREPARING: self._prepare,
            Phase.WRITING: self._write,
            Phase.COMMITTING: self._commit_first,
            Phase.ASKING: self._ask,
        }
        phase = Phase.PREPARING
        while phase not in FINAL:
            step = steps[phase]
            event: Event = await step()  # type: ignore[operator]
            phase = TABLE[phase, event]
        self._environment.measures.atomic(phase.value)
        if phase is Phase.COMMITTED:
            await self._commit_branches()
            await self._let_go(self._ending.readers)
        elif phase is Phase.ROLLED_BACK:
            await self._roll_back_all()
            self.error = self._rolled_back()
        else:
            self._leave()

    async def _prepare(self) -> Event:
        prepared = self._ending.prepare
        jobs = (send_all(self._parts[c], self._branches[c].end, self._branches[c].prepare) for c in prepared)
        event = Event.DONE
        for cluster, result in zip(prepared, await asyncio.gather(*jobs, return_exceptions=True), strict=True):
            if isinstance(result, TurnoutError):
                self._fail(cluster, result)
                event = Event.LOST
            elif isinstance(result, BaseException):
                raise result
            elif result[-1] is not None:
                self._fail(cluster, result[-1])
                event = Event.REFUSED if event is Event.DONE else event
        return event

    async def _write(self) -> Event:
        assert self._first is not None
        if self._late():
            return Event.LATE
        tokens = (self._branches[cluster].own for cluster in self._ending.prepare)
        event, error = await self._say(commit_row(self._id, tokens))
        if event is Event.REFUSED and error is not None and error.errno in _NO_DECISION_TABLE:
            grant = GRANT_CLIENT.format(user=self._session.user)
            self._cause = ServerFailed(
                f"{error.message}. The account needs the right to write decisions: {grant}", error.errno, error.sqlstate
            )
        return event

    async def _commit_first(self) -> Event:
        assert self._first is not None
        if self._late():
            return Event.LATE
        event, _ = await self._say(b"COMMIT")
        if event is Event.DONE:
            self._observe(self._parts[self._first])
        return event

    async def _say(self, text: bytes) -> tuple[Event, TurnoutError | None]:
        """Send one statement to the first cluster."""
        assert self._first is not None
        try:
            (error,) = await send_all(self._parts[self._first], text)
        except TurnoutError as lost:
            self._fail(self._first, lost)
            return Event.LOST, lost
        if error is None:
            return Event.DONE, None
        self._fail(self._first, error)
        return Event.REFUSED, error

    def _late(self) -> bool:
        if time.monotonic() - self._began < DECIDE_WITHIN_S:
            return False
        self._fail(self._first or "", ServerFailed(f"it took more than {DECIDE_WITHIN_S:g} s", 1180, "HY000"))
        return True

    async def _ask(self) -> Event:
        """Read what was decided from the first cluster, over another connection."""
        assert self._first is not None
        first = self._parts[self._first]
        if first.aborted is None:  # what it still holds would keep the question waiting
            first.abort(ServerFailed("COMMIT failed"))
        environment = self._environment
        server = environment.cluster(self._first).primary
        until = time.monotonic() + ASK_FOR_S
        while time.monotonic() < until:
            try:
                connection = await open_service(server, service_account(environment.rules, self._first))
                try:
                    async with asyncio.timeout(ASK_FOR_S):
                        found = await ask(connection, self._id)
                finally:
                    connection.close()
            except (TurnoutError, TimeoutError) as error:
                log.warning("cannot ask for a decision", extra={"transaction": self._id, "error": str(error)})
                found = None
            if found is not None:
                return Event.FOUND_COMMIT if found is Decision.COMMIT else Event.FOUND_ABORT
            await asyncio.sleep(_PAUSE_S)
        return Event.LATE

    # -- afterwards ----------------------------------------------------------------------------------------------------

    async def _commit_branches(self) -> None:
        """The transaction is committed: so is each branch, here or, where it cannot be told now, a little later."""

        async def tell(cluster: str) -> None:
            branch, connection = self._branches[cluster], self._parts[cluster]
            try:
                (error,) = await send_all(connection, branch.commit)
            except TurnoutError as lost:
                error = ServerFailed(lost.message, lost.errno, lost.sqlstate)
            if error is None:
                connection.branch = None
                self._observe(connection)
                return
            log.warning(
                "a branch will be committed over another connection",
                extra={"transaction": self._id, "cluster": cluster, "error": error.message},
            )
            connection.abort(error)  # nobody else can finish it as long as this one is there
            task = self._session.client.spawn(self._finish(cluster, branch), "finish a branch")
            done, _ = await asyncio.wait([task], timeout=FINISH_FOR_S)
            if not done and not self._session.closed:
                self._session.owe(cluster, task)

        await asyncio.gather(*(tell(cluster) for cluster in self._ending.prepare))

    async def _finish(self, cluster: str, branch: Branch) -> None:
        """Commit a prepared branch over a connection of our own, however long it takes to reach its server."""
        environment = self._environment
        server = environment.cluster(cluster).primary
        pause_s = _PAUSE_S
        while True:
            try:
                connection = await open_service(server, service_account(environment.rules, cluster))
                try:
                    if await finish_branch(connection, branch, Decision.COMMIT):
                        mariadb = "MariaDB" in connection.server_version
                        variable = "gtid_binlog_pos" if mariadb else "gtid_executed"
                        (position,) = await connection.row(f"SELECT @@{variable}")
                        self._session.wrote(cluster, position or b"")
                        return
                finally:
                    connection.close()
            except TurnoutError as error:
                log.warning(
                    "a branch is not committed yet",
                    extra={"transaction": self._id, "cluster": cluster, "error": error.message},
                )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)

    async def _roll_back_all(self) -> None:
        """Nothing was, or is going to be, decided for the transaction: no part stays."""

        async def undo(cluster: str, connection: ServerConnection) -> None:
            try:
                await roll_back(connection)
            except TurnoutError as error:
                connection.abort(error)  # not prepared: rolled back with its connection; prepared: recovery's

        await asyncio.gather(*(undo(cluster, part) for cluster, part in self._parts.items() if part.aborted is None))

    async def _let_go(self, readers: Sequence[str], first: bool = False) -> None:
        """The transaction is committed: end the parts that only read, the first among them or not. Nothing is lost with
        one but its connection."""

        async def end(connection: ServerConnection, *texts: bytes) -> None:
            try:
                errors = await send_all(connection, *texts)
            except TurnoutError:
                return
            if errors[-1] is not None:
                connection.abort(errors[-1])
            connection.branch = None

        jobs: list[Awaitable[None]] = []
        for cluster in readers:
            branch = self._branches[cluster]
            jobs.append(end(self._parts[cluster], branch.end, branch.commit_unprepared))
        for cluster, connection in self._parts.items():
            if cluster not in self._branches and (first or cluster != self._first):
                jobs.append(end(connection, b"COMMIT"))
        await asyncio.gather(*jobs)

    def _leave(self) -> None:
        """What was decided could not be learned in time: branches stay for recovery, which needs them let go."""
        cause = self._cause.message if self._cause is not None else ""
        self.error = ServerFailed(
            f"Cluster {self._first} was lost during COMMIT ({cause}), and whether the transaction was committed is not "
            f"known yet. It will be, on all its clusters or on none: `SELECT outcome FROM turnout.transactions WHERE "
            f"id = '{self._id}'` on {self._first} says which",
            1158,
            "08S01",
        )
        self._session.doom = self.error  # as with one server that is lost during COMMIT
        for connection in self._parts.values():
            if connection.aborted is None:
                connection.abort(self.error)

    def _fail(self, cluster: str, error: TurnoutError) -> None:
        if self._cause is None:
            self._cause, self._failed_on = error, cluster

    def _rolled_back(self) -> ServerFailed:
        cause = self._cause
        if cause is None:
            return ServerFailed("COMMIT failed; everything was rolled back on all clusters", 1180, "HY000")
        lost = cause.errno in (1158, 1159)  # a client may take these for "not known"
        return ServerFailed(
            f"COMMIT failed on cluster {self._failed_on} ({cause.message}); the transaction was rolled back on all "
            "clusters",
            1180 if lost else cause.errno,
            "HY000" if lost else cause.sqlstate,
        )

    def _observe(self, connection: ServerConnection) -> None:
        if connection.scanner.session_state and not self._session.closed:
            self._session.observe(connection, connection.scanner.session_state)

    def _give_back(self) -> None:
        session = self._session
        for cluster, connection in self._parts.items():
            connection.holder = connection.taker = None
            if connection.aborted is not None:
                if cluster in session.pinned and session.doom is None and not session.closed:
                    session.doom = connection.aborted  # what it was pinned for is gone
            elif cluster not in session.pinned:
                session.give_back(connection)
            elif session.closed:
                connection.close()
            else:
                connection.taker = session
                session.hold(connection)
