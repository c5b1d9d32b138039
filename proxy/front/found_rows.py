"""The rows of a SELECT that Turnout asks for itself, in the session's transaction, to write what it finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from proxy.back.connection import ServerConnection
from proxy.errors import StatementRefused
from proxy.front.environment import Entry
from proxy.front.fanout import read
from proxy.front.guard import routed
from proxy.front.reading import Receiver
from proxy.front.row_streams import Splitter
from proxy.front.session import Session
from proxy.front.values import TextValues
from proxy.front.workbench import finish_on_workbench
from proxy.measure.shape_stats import ShapeStats
from proxy.plan import refusals
from proxy.plan.plan import Plan, Route, Send
from proxy.plan.workbench import LIFTED
from proxy.wire import lenenc
from proxy.wire.column import ColumnDefinition, parse_column
from proxy.wire.resultset import Row

Tables = frozenset[tuple[str | None, str]]  # database, table
_LIMIT = 32 << 20  # bytes of rows and keys that one statement may have in memory


class Rows(Receiver, Protocol):
    def restart(self) -> None:
        """The rows come again, from elsewhere; none of those so far has been written. Raises TurnoutError."""


class Gathered:
    """Takes all rows of an answer. Raises StatementRefused where these are too many to be kept."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The rows come again, from elsewhere."""
        self.columns: list[ColumnDefinition] = []
        self.rows: list[Row] = []
        self.size = 0
        self._splitter = Splitter(payloads=True)

    def feed(self, data: bytes) -> None:
        splitter = self._splitter
        splitter.feed(data)
        if splitter.header is not None and not splitter.checked:
            splitter.checked = True
            self.columns = [parse_column(packet[4:]) for packet in splitter.head_packets[1:-1]]
        payloads, splitter.rows = splitter.rows, []
        for payload in payloads:
            self.rows.append(cells(payload, len(self.columns)))
            self.size += len(payload) + 100
        if self.size > _LIMIT:
            raise refusals.KEY_LIST_MEMORY.error(limit=str(_LIMIT))

    async def drained(self) -> None:
        """Everything is taken at once."""


def cells(payload: bytes, columns: int) -> Row:
    """The values of a row in the text protocol."""
    row: Row = []
    pos = 0
    for _ in range(columns):
        value, pos = lenenc.read_bytes(payload, pos)
        row.append(value)
    return row


async def find(
    session: Session,
    plan: Plan,
    text: bytes,
    receiver: Rows,
    written: Tables,
    exact: bool = False,
    lock: bytes = b" FOR UPDATE",
) -> None:
    """Run a SELECT whose plan is `plan`, and lock what it finds; `written` is what will be changed.
    `exact`: strings come as they are stored. `lock`: for the end of the SELECT, where that runs on the servers
    themselves. Raises TurnoutError. What it warns of is in `session.diagnostics`."""
    shape, literals = session.lexer.shape(text)
    entry = Entry(plan, ShapeStats("", plan.kind), shape)
    values = TextValues(literals, session.lexer)
    settings = session.settings
    session.receiver = receiver
    changes: dict[str, bytes | None] = {"sql_select_limit": None}  # which is for SELECTs alone
    if exact:
        changes["character_set_results"] = b"NULL"
    session.settings = settings.with_changes(changes)
    try:
        directories = session.guard.directories if session.guard is not None else ()
        route = await routed(session, directories, lambda: plan.route(values, text))
        await _run(session, entry, route, values, text, receiver, written, lock)
    finally:
        session.receiver = None
        session.settings = settings


async def _run(
    session: Session,
    entry: Entry,
    route: Route,
    values: TextValues,
    text: bytes,
    receiver: Rows,
    written: Tables,
    lock: bytes,
) -> None:
    work = route.work
    if work is None:
        sends = tuple(Send(each.cluster, (each.text or text) + lock) for each in route.sends)
        try:
            await read(session, entry, replace(route, sends=sends), text)
            return
        except StatementRefused as refusal:
            if route.otherwise is None or refusal.reason not in LIFTED:
                raise
        receiver.restart()
        work = route.otherwise.route(values, text).work
    assert work is not None
    await finish_on_workbench(session, entry, replace(work, writes=written))


async def time_zone(session: Session, connection: ServerConnection) -> bytes:
    """The session's, as SQL text; the system's where that is what it says."""
    zone = session.settings.get("time_zone")
    if zone is None or zone.upper() in (b"'SYSTEM'", b"SYSTEM"):
        (said,) = await connection.row("SELECT IF(@@time_zone = 'SYSTEM', @@system_time_zone, @@time_zone) LIMIT 1")
        zone = said or b""
    return zone
