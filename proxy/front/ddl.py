"""DDL on several clusters: the statement on one after the other, to be taken up again where it ended.

    1. What the session's transaction did is committed, as every server does before DDL.
    2. Nothing is touched before every cluster is there: a connection to its primary, which is not read-only, and the
       definitions as they are (SHOW CREATE ..). One statement at a time changes an object: a lock of that name is taken
       on the first of its clusters.
    3. The clusters are asked in turn; those that have it already are passed over (`proxy.plan.ddl_progress`). The first
       failure ends it, and says where the statement was carried out and where not.
    4. All workers read the schemas again before the client hears of it.

Servers wait for a table that transactions use for `lock_wait_timeout`, which is a day unless somebody has set it; where
the session has not, it is LOCK_WAIT_S.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass, field, replace

from proxy.back.catalog import Catalog
from proxy.back.connection import ServerConnection
from proxy.back.settings import Settings
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front.account_names import named_accounts
from proxy.front.answers import diagnostics_response, diagnostics_rows
from proxy.front.caching import acknowledge
from proxy.front.environment import Entry
from proxy.front.fanout import run_everywhere
from proxy.front.guard import confirm
from proxy.front.info_text import joined
from proxy.front.row_streams import server_error
from proxy.front.session import Session
from proxy.front.statements import record
from proxy.front.transactions import finish
from proxy.plan.ddl import Again, Ddl, SchemaObject, Thing
from proxy.plan.ddl_progress import ALREADY, State, are_same, definition, has_it, in_turn, what_differs
from proxy.plan.id_column import sequence_by_label
from proxy.plan.plan import Reply, Route
from proxy.plan.sharding import table_problems
from proxy.wire import command as com
from proxy.wire.packets import encode_ok

log = logging.getLogger("turnout.ddl")

LOCK_WAIT_S = 50
# Errors of SHOW CREATE .. for what is not there.
_MISSING = {
    Thing.TABLE: (1146, 1051),
    Thing.TRIGGER: (1360,),
    Thing.DATABASE: (1049,),
    Thing.USER: (1133, 1141, 1396),
    Thing.GRANTS: (1133, 1141, 1396),
}
_DENIED = frozenset({1044, 1142, 1143, 1227, 1370})
_PASSWORD = re.compile(rb" IDENTIFIED [^\n]*?(?= REQUIRE | WITH |\n|$)")
_ANYWHERE = "information_schema"  # the default database of statements that must not depend on one
# Which column has the definition.
_SHOWN = {Thing.TABLE: 1, Thing.DATABASE: 1, Thing.TRIGGER: 2, Thing.USER: 0, Thing.GRANTS: 0}

Row = list[bytes | None]


async def run_table_work(session: Session, entry: Entry, route: Route, sql: bytes) -> None:
    """OPTIMIZE TABLE and the like on several clusters. Raises TurnoutError."""
    await _commit(session)
    for send in route.sends:
        session.environment.cluster(send.cluster).primary.check_up()
    settings, session.settings = session.settings, _patient(session.settings)
    try:
        await run_everywhere(session, entry, route, sql)
    finally:
        session.settings = settings


async def run_ddl(session: Session, entry: Entry, plan: Ddl, sql: bytes, route: Route) -> None:
    """Carry it out and answer the client. Raises TurnoutError."""
    await _commit(session)
    objects = plan.objects or named_accounts(sql, plan.clusters)
    change = _Change(session, plan, objects, sql, {send.cluster: send.text or sql for send in route.sends})
    try:
        await change.run()
    except BaseException as error:
        if change.begun:
            # Also where the client has gone meanwhile: others must not plan by definitions that are no longer true.
            session.client.listener.schemas_changed()
            if isinstance(error, TurnoutError):
                await session.client.listener.refresh_schemas()
        raise
    before = session.environment.catalog
    await session.client.listener.refresh_schemas()
    if plan.what == "drop database" and plan.objects[0].name.lower() == (session.database or "").lower():
        session.database = None
        session.refresh()
    rules = session.environment.rules
    now = session.client.listener.environment.catalog
    if plan.counts_from:
        await _count_from(session, change, now)
    for label in plan.labels:
        known = set(table_problems(rules, before, label))
        change.tell("Note", *(str(each) for each in table_problems(rules, now, label) if each not in known))
    _answer(session, entry, plan, change)


async def _count_from(session: Session, change: _Change, catalog: Catalog) -> None:
    """AUTO_INCREMENT = n is for the sequence to know: it begins no lower than the counters of the servers."""
    environment = session.environment
    for label in change.plan.labels:
        sequence = sequence_by_label(environment.rules, catalog, label)
        if sequence is not None and environment.sequences is not None:
            try:
                await environment.sequences.of(sequence).move_past(sequence)
            except TurnoutError as error:
                change.tell("Warning", f"AUTO_INCREMENT does not count from there: {error.message}")


def _answer(session: Session, entry: Entry, plan: Ddl, change: _Change) -> None:
    if session.pending is not None:
        acknowledge(session, session.in_transaction)
    answers = list(change.answers.values())
    affected = answers[0].affected if plan.reply is Reply.FIRST else sum(each.affected for each in answers)
    warnings = change.warnings
    told = answers[:1] if plan.reply is Reply.FIRST else answers
    info = joined((each.info for each in told), len(warnings))
    session.row_count = affected
    session.warning_count = len(warnings)
    session.diagnostics = diagnostics_response(warnings[:64], session.status) if warnings else None
    session.last_on = None
    session.client.send(encode_ok(affected, 0, session.status, min(len(warnings), 65535), info))
    record(session, entry, 0, 11)


async def _commit(session: Session) -> None:
    """The implicit commit. Raises TurnoutError."""
    if session.own_xa and session.own_xa in session.held:
        raise StatementRefused(
            "XAER_RMFAIL: The command cannot be executed when global transaction is in the  ACTIVE state",
            1399,
            "XAE07",
            reason="xa-active",
        )
    try:
        if session.held:
            await finish(session, b"COMMIT", list(session.held))
    finally:
        session.transaction.clear()


@dataclass(slots=True)
class _Ran:
    """One server's answer."""

    affected: int
    info: bytes


@dataclass(slots=True)
class _Change:
    """One statement on its way through the clusters."""

    session: Session
    plan: Ddl
    objects: tuple[SchemaObject, ...] | None  # None: they cannot be told
    sql: bytes
    texts: dict[str, bytes]  # what each cluster is sent
    begun: bool = False  # something may have been changed
    answers: dict[str, _Ran] = field(default_factory=dict)
    had: list[str] = field(default_factory=list)  # clusters that had carried it out before
    warnings: list[Row] = field(default_factory=list)
    connections: dict[str, ServerConnection] = field(default_factory=dict)
    locks: list[tuple[ServerConnection, str]] = field(default_factory=list)

    async def run(self) -> None:
        """Raises TurnoutError, whose text says what was done."""
        session = self.session
        try:
            try:
                await self._connect()
                await self._lock()
                before = await self._states()
                await self._move_sequences()
            except TurnoutError as error:
                raise _prefixed(error, "Nothing was changed: ") from error
            await confirm(session)  # keys of a directory may have begun to move meanwhile
            if self.plan.drops and self.plan.again is Again.FAILS and before is not None:
                await self._drop(before)
            else:
                await self._carry_out(before)
        finally:
            session.spread = []
            await self._let_go()

    def tell(self, level: str, *messages: str) -> None:
        for message in messages:
            self.warnings.append([level.encode(), b"1105", message.encode("utf-8", "surrogateescape")])

    # -- before anything is touched ----------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """One connection per cluster, all or none, in an order by which two such statements cannot block each other."""
        session = self.session
        settings = _patient(session.settings)
        database = None if self.plan.in_database else _ANYWHERE
        for cluster in self.plan.clusters:
            session.environment.cluster(cluster).primary.check_up()
        for cluster in sorted(self.plan.clusters):
            await session.settle_owed(cluster)
            connection = session.held.get(cluster)
            try:
                if connection is not None:
                    await session.dress(connection, database, settings)
                else:
                    server = session.environment.cluster(cluster).primary
                    connection = await session.take(server, database, settings)
            except TurnoutError as error:
                raise _prefixed(error, f"cluster {cluster}: ") from error
            self.connections[cluster] = connection
        session.spread = list(self.connections.values())
        for cluster, (read_only,) in zip(self.connections, await self._ask_all("SELECT @@global.read_only LIMIT 1")):
            if read_only not in (b"0", b"OFF"):
                raise ServerFailed(f"the primary of cluster {cluster} is read-only", 1290, "HY000")

    async def _ask_all(self, sql: str) -> list[Row]:
        answers = await asyncio.gather(*(each.row(sql) for each in self.connections.values()), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def _lock(self) -> None:
        """Nobody else changes these objects meanwhile, as far as they go through Turnout."""
        wanted = {(each.clusters[0], each.name.lower()) for each in self.objects or ()}
        for cluster, name in sorted(wanted):
            connection = self.connections[cluster]
            lock = "turnout_ddl_" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:40]
            if await connection.number(f"SELECT GET_LOCK('{lock}', {LOCK_WAIT_S}) LIMIT 1") != 1:
                raise ServerFailed(f"another session has been changing {name} for {LOCK_WAIT_S} s", 1205, "HY000")
            self.locks.append((connection, lock))

    async def _states(self) -> dict[str, State] | None:
        """The definitions on every cluster; None where the account may not see them all."""
        if self.objects is None or not all(_is_readable(self.session, each) for each in self.objects):
            return None
        states = await asyncio.gather(*(self._state(cluster) for cluster in self.plan.clusters), return_exceptions=True)
        found: dict[str, State] = {}
        for cluster, state in zip(self.plan.clusters, states):
            if isinstance(state, ServerFailed) and state.errno in _DENIED:
                return None
            if isinstance(state, TurnoutError):
                raise _prefixed(state, f"cluster {cluster}: ")
            if isinstance(state, BaseException):
                raise state
            found[cluster] = state
        return found

    async def _state(self, cluster: str) -> State:
        state: list[str | None] = []
        for each in self.objects or ():
            state.append(await self._definition(cluster, each) if cluster in each.clusters else None)
        return tuple(state)

    async def _definition(self, cluster: str, each: SchemaObject) -> str | None:
        show = "SHOW GRANTS FOR" if each.thing is Thing.GRANTS else f"SHOW CREATE {each.thing.value}"
        try:
            connection, asked = self.connections[cluster], f"{show} {each.quoted}"
            rows = await connection.query(asked)
        except ServerFailed as error:
            if error.errno not in _MISSING[each.thing]:
                raise
            if each.database:  # which has to be there
                await self.connections[cluster].query(f"SHOW CREATE DATABASE {each.database}")
            return None
        column = _SHOWN[each.thing]
        if any(len(row) <= column for row in rows):
            raise connection.nonsense(asked)
        text = b"\n".join(row[column] or b"" for row in rows)
        return definition(_PASSWORD.sub(b"", text) if each.thing is Thing.GRANTS else text)

    async def _move_sequences(self) -> None:
        """A table that gets another's name also gets its sequence, which must not give ids that its rows have."""
        environment = self.session.environment
        for before, after in self.plan.renames:
            source = sequence_by_label(environment.rules, environment.catalog, before)
            if source is not None and environment.sequences is not None:
                home, (database, _, table) = environment.rules.home(after.partition(".")[0]), after.partition(".")
                target = replace(source, home=home, database=database, table=table)
                await environment.sequences.of(target).move_past(source)

    # -- carrying it out ---------------------------------------------------------------------------------------------

    async def _carry_out(self, before: dict[str, State] | None) -> None:
        plan = self.plan
        apart = before is not None and not are_same(before)
        after: dict[str, State] = {}
        doubtful: dict[str, TurnoutError] = {}
        for cluster in in_turn(plan.clusters, before, plan.grows):
            if before is not None and plan.again is Again.FAILS and has_it(cluster, before, after):
                self.had.append(cluster)
                continue
            try:
                await self._send(cluster, self.texts[cluster])
                if before is not None:
                    after[cluster] = await self._state(cluster)
            except TurnoutError as error:
                if not (apart and error.errno in ALREADY and self.connections[cluster].aborted is None):
                    raise self._failure(cluster, error, apart) from error
                doubtful[cluster] = error
        for cluster, doubt in doubtful.items():
            assert before is not None
            try:  # a try that was given up may have been completed meanwhile
                before[cluster] = await self._state(cluster)
            except TurnoutError as error:
                raise self._failure(cluster, error, apart) from error
            if not has_it(cluster, before, after):
                raise self._failure(cluster, doubt, apart) from doubt
            self.had.append(cluster)
        if before is not None:
            self._compare(before, {**before, **after})
        self._tell_who_had_it()

    def _tell_who_had_it(self) -> None:
        for cluster in self.had:
            self.tell("Note", f"cluster {cluster} had carried out this statement before")
        log.info("DDL", extra={**self._names, "done": list(self.answers), "done_before": self.had})

    @property
    def _names(self) -> dict[str, object]:
        return {"what": self.plan.what, "objects": [each.name for each in self.plan.objects]}

    async def _drop(self, before: dict[str, State]) -> None:
        """DROP TABLE: of each table wherever it is. One that is nowhere is an error, as on one server."""
        plan = self.plan
        nowhere = [
            index for index in range(len(plan.objects)) if all(state[index] is None for state in before.values())
        ]
        failure: tuple[str, TurnoutError] | None = None
        for cluster in plan.clusters:
            there = [index for index, text in enumerate(before[cluster]) if text is not None]
            if not there and len(nowhere) < len(plan.objects):
                self.had.append(cluster)
                continue
            text = plan.text_of(self.sql, [*there, *nowhere]) or self.sql
            try:
                await self._send(cluster, text)
            except TurnoutError as error:
                if not (nowhere and there and error.errno == 1051):
                    raise self._failure(cluster, error, not are_same(before)) from error
                failure = cluster, error
        if failure is not None:
            raise failure[1]
        self._tell_who_had_it()

    async def _send(self, cluster: str, text: bytes) -> None:
        """The statement itself. Raises TurnoutError."""
        session, connection = self.session, self.connections[cluster]
        session.sending(connection)
        self.begun = True
        await connection.command(bytes((com.COM_QUERY,)) + text)
        scanner = connection.scanner
        if scanner.errno:
            raise server_error(scanner.error)
        self.answers[cluster] = _Ran(scanner.affected_rows, scanner.info)
        if scanner.session_state:
            session.observe(connection, scanner.session_state)
        if scanner.warnings:
            for row in diagnostics_rows(await connection.command(b"\x03SHOW WARNINGS")):
                if row not in self.warnings:
                    self.warnings.append(row)

    def _compare(self, before: dict[str, State], after: dict[str, State]) -> None:
        """Whether the definitions are the same everywhere now. Raises ServerFailed where the statement made one that
        differs from what others had."""
        objects = [each for each in self.objects or () if each.thing not in (Thing.USER, Thing.GRANTS)]
        differs = what_differs([each.name for each in objects], after, [each.clusters for each in objects])
        if not differs:
            return
        look = f"{differs}: compare SHOW CREATE {objects[0].thing.value} with /* turnout: cluster=NAME */"
        made = any(None in before[cluster] and None not in state for cluster, state in after.items())
        if self.plan.again is Again.SAME and made:
            raise ServerFailed(f"The statement was carried out, but {look}, and make them the same", 1105, "HY000")
        self.tell("Warning", look)

    def _failure(self, cluster: str, error: TurnoutError, apart: bool) -> TurnoutError:
        """The error with what was done. Where nothing was, it is that of the one server that was asked."""
        plan = self.plan
        done = [each for each in plan.clusters if each in self.answers]
        if not done and not self.had and not apart:
            return error
        rest = [each for each in plan.clusters if each not in (*done, *self.had, cluster)]
        parts = [f"done on {', '.join(done)}" if done else "", f"not yet on {', '.join(rest)}" if rest else ""]
        if self.had:
            parts.insert(1, f"done before on {', '.join(self.had)}")
        said = "; ".join(part for part in parts if part)
        log.warning(
            "DDL ended half-way",
            extra={**self._names, "cluster": cluster, "done": done},
        )
        return ServerFailed(
            f"{error.message} (on cluster {cluster}; {said or 'nothing was done'}. Send the statement again when the "
            "cause is gone: clusters that have carried it out are passed over)",
            error.errno,
            error.sqlstate,
        )

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def _let_go(self) -> None:
        session = self.session
        session.running_on = None
        for connection, lock in self.locks:
            if connection.aborted is None and connection.sink is None:
                try:
                    await connection.query(f"SELECT RELEASE_LOCK('{lock}')")
                except TurnoutError as error:
                    connection.abort(error)
        for connection in self.connections.values():
            if connection.holder is session:
                session._settle_held(connection)
            elif connection.pool is not None:
                session.give_back(connection)


def _is_readable(session: Session, each: SchemaObject) -> bool:
    """Is its name one that our own statements can have on this session's connections?"""
    return each.quoted.isascii() or session.lexer.charset.startswith("utf8")


def _patient(settings: Settings) -> Settings:
    """The session's settings with a limit to how long a server waits for a table."""
    if settings.get("lock_wait_timeout") is not None:
        return settings
    return settings.with_changes({"lock_wait_timeout": b"%d" % LOCK_WAIT_S})


def _prefixed(error: TurnoutError, what: str) -> TurnoutError:
    return ServerFailed(what + error.message, error.errno, error.sqlstate)
