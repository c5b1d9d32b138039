"""The ids that Turnout makes for an INSERT into a sharded table, and what a client is told of them.

A shard gets every id as a value of the row, so it reports explicit ones: its OK packet has that of its last row, and
LAST_INSERT_ID() stays. What a server that counts for itself would have said is worked out here: the first id that was
made for a row that was inserted. INSERT IGNORE and ON DUPLICATE KEY UPDATE of several rows do not say which these are:
then the shards are asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from parser.rewrite import quoted
from parser.statement import Effect
from proxy.back.connection import ServerConnection
from proxy.back.directory import KeysUnknown
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.front import table_locks
from proxy.front.caching import note_write
from proxy.front.environment import Entry
from proxy.front.sequences import Run
from proxy.front.session import Session
from proxy.front.values import TextValues
from proxy.plan.inserts import InsertRows
from proxy.plan.plan import ValueOf
from proxy.wire.command import COM_QUERY
from proxy.wire.frames import encode
from proxy.wire.packets import encode_ok
from proxy.wire.response import ResponseScanner
from proxy.wire.status import SESSION_STATE_CHANGED

# What of an answer is still needed after the connection was asked something else.
_ANSWER = ("affected_rows", "columns", "errno", "error", "info", "insert_id", "rows", "session_state", "warnings")


Answers = Sequence[tuple[ServerConnection, "Answered"]]


@dataclass(frozen=True, slots=True)
class Answered:
    """What one shard said."""

    affected_rows: int
    insert_id: int
    has_rows: bool

    @classmethod
    def by(cls, connection: ServerConnection) -> Answered:
        scanner = connection.scanner
        return cls(scanner.affected_rows, scanner.insert_id, bool(scanner.columns))


@dataclass(slots=True)
class MadeIds:
    """The statement's. `diagnostics`: its SHOW WARNINGS, where the connection has forgotten them since."""

    run: Run
    diagnostics: bytes | None = None
    asked: bool = False  # the shards were: what they say about the statement before is no longer about this one


async def reserve(session: Session, plan: InsertRows, values: ValueOf) -> list[int | None]:
    """The ids for an INSERT's rows, None for those that bring their own; `session.made` is set where there are any.
    Raises TurnoutError."""
    table_locks.check_own_writes(session)
    session.made = None
    session.generated = False
    given = plan.given(values, "NO_AUTO_VALUE_ON_ZERO" in session.sql_mode)
    assert plan.ids is not None
    assert session.environment.sequences is not None
    sequence = session.environment.sequences.of(plan.ids.sequence)
    own = [number for number in given if number is not None]
    count = len(given) - len(own)
    session.waiting = True  # KILL QUERY ends it
    try:
        if own:
            await sequence.admit(own)
        if not count:
            return [None] * len(given)
        run = await sequence.take(count)
    finally:
        session.waiting = False
    session.made = MadeIds(run)
    made = iter(range(run.first, run.first + count))
    return [next(made) if number is None else None for number in given]


def insert_now(session: Session, entry: Entry, sql: bytes, literals: list[bytes]) -> bool:
    """The fast path of an INSERT of one row (`Entry.inserts_one`), whose answer can be relayed as it comes: the id of
    an inserted row is what both the shard and the client call the insert id. False: it has to wait for something."""
    plan = entry.plan
    assert isinstance(plan, InsertRows)
    assert plan.ids is not None
    sequences = session.environment.sequences
    if sequences is None:
        return False
    session.made = None
    values = TextValues(literals, session.lexer)
    try:
        (own,) = plan.given(values, "NO_AUTO_VALUE_ON_ZERO" in session.sql_mode)
        sequence = sequences.of(plan.ids.sequence)
        if own is None:
            run = sequence.take_now(1)
            if run is None:
                return False
            ids: list[int | None] = [run.first]
        elif sequence.blocks.is_free(own, time.monotonic()):
            ids = [None]
        else:
            return False
        (send,) = plan.route_with(values, sql, ids).sends
    except KeysUnknown:
        return False  # an id that was taken is lost
    except StatementRefused as error:
        session.fail(error)
        return True
    if entry.marks is not None:
        note_write(session, entry, values, (send.cluster,))
    connection = session.acquire_now(entry, send.cluster)
    if connection is None:
        return False  # an id that was taken is lost
    session.generated = own is None
    session.send_now(connection, encode(bytes((COM_QUERY,)) + (sql if send.text is None else send.text), 0))
    return True


async def tell(session: Session, entry: Entry, connection: ServerConnection, kept: list[bytes] | None) -> None:
    """After the answer of the one shard: what LAST_INSERT_ID() is, and the client's OK packet, if that was `kept`."""
    made = session.made
    assert made is not None
    scanner = connection.scanner
    if scanner.errno:
        return
    answer = {name: getattr(scanner, name) for name in _ANSWER}
    if scanner.warnings:
        made.diagnostics = await connection.command(b"\x03SHOW WARNINGS")
        made.asked = True
        _restore(scanner, answer)
    insert_id = await identify(session, entry, [(connection, Answered.by(connection))])
    _restore(scanner, answer)
    if kept is None or session.closed:
        return
    if insert_id == scanner.insert_id:
        for piece in kept:
            session.client.write(piece)
        return
    status = scanner.status & ~SESSION_STATE_CHANGED
    session.client.send(encode_ok(scanner.affected_rows, insert_id, status, scanner.warnings, scanner.info))


async def identify(session: Session, entry: Entry, answers: Answers) -> int:
    """The insert id of the statement that has succeeded with these answers.
    Sets LAST_INSERT_ID(). Raises TurnoutError."""
    made, plan = session.made, entry.plan
    assert made is not None
    assert isinstance(plan, InsertRows)
    first = _first_known(made, plan, [answer for _, answer in answers])
    if first is None:
        first = await _first_asked(made, plan, [connection for connection, _ in answers])
    if first:
        session.last_insert_id = first
        return first
    if plan.effects & Effect.SETS_LAST_INSERT_ID:
        session.last_insert_id = await answers[-1][0].number("SELECT LAST_INSERT_ID() LIMIT 1") or 0
        made.asked = True
    return answers[-1][1].insert_id


def _first_known(made: MadeIds, plan: InsertRows, answers: Sequence[Answered]) -> int | None:
    """The first id made for a row that was inserted; 0: there is none; None: the answers do not tell."""
    insert = plan.statement.insert
    assert insert is not None
    if not insert.ignore and not insert.on_duplicate:
        return made.run.first  # all rows, or the statement would have failed
    if answers[0].has_rows:  # RETURNING
        return None
    if len(insert.rows) == 1:
        return made.run.first if answers[0].insert_id == made.run.first else 0
    affected = sum(answer.affected_rows for answer in answers)
    if not insert.on_duplicate and affected == len(insert.rows):
        return made.run.first
    return None


async def _first_asked(made: MadeIds, plan: InsertRows, connections: Sequence[ServerConnection]) -> int:
    assert plan.ids is not None
    of, run = plan.ids.sequence, made.run
    column, table = quoted(of.column), quoted(of.database, of.table)
    first, last = run.first, run.first + run.count - 1
    found = []
    for connection in connections:
        made.asked = True
        try:
            least = await connection.number(
                f"SELECT MIN({column}) FROM {table} WHERE {column} BETWEEN {first} AND {last} LIMIT 1"
            )
        except TurnoutError as error:
            raise ServerFailed(
                f"The statement was carried out, but the first id that it generated could not be asked for: "
                f"{error.message}",
                error.errno,
                error.sqlstate,
            ) from error
        if least is not None:
            found.append(least)
    return min(found, default=0)


def _restore(scanner: ResponseScanner, answer: dict[str, object]) -> None:
    for name, value in answer.items():
        setattr(scanner, name, value)
