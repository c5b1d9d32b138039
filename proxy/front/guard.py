"""Statements over directory shardings: routed once their keys are known, sent only while that holds.

`routed` looks keys up as a plan asks for them. Between that and the moment at which a statement is sent, it may wait
for a connection: `confirm` is what everybody calls right before. `proxy.back.directory` says what may be relied on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.back.connection import ServerConnection
from proxy.back.directory import Directory, KeysUnknown
from proxy.errors import ServerFailed, StatementRefused, TurnoutError
from proxy.plan.inserts import InsertRows
from proxy.plan.keys import form_text
from proxy.plan.plan import Plan, Route, ValueOf
from proxy.plan.shard_routes import ByKey, KeyPin, constant
from proxy.plan.sharding import Placement
from proxy.wire.status import IN_TRANS

if TYPE_CHECKING:
    from proxy.front.session import Session

TRIES = 5  # of a statement under which a directory changed before it was sent
_POLL_S = 0.05  # while keys are held
_LOOKS = 20  # for one statement, after which the time counts
_now = time.monotonic


class DirectoryChanged(TurnoutError):
    """A directory has changed since the statement was routed, and it was not sent yet. 1205: try again."""

    errno = 1205
    sqlstate = "HY000"

    def __init__(self, table: str) -> None:
        super().__init__(f"{table} was changed while this statement waited to be sent; try it again")


@dataclass(frozen=True, slots=True)
class Guard:
    """What a statement was routed by: directories, each in one version."""

    uses: tuple[tuple[Directory, int], ...]

    @property
    def directories(self) -> tuple[Directory, ...]:
        return tuple(directory for directory, _ in self.uses)

    @classmethod
    def of(cls, directories: tuple[Directory, ...]) -> Guard:
        return cls(tuple((directory, directory.version) for directory in directories))

    def holds(self) -> bool:
        return all(directory.valid and directory.version == version for directory, version in self.uses)

    async def confirm(self) -> None:
        """Raises DirectoryChanged, TurnoutError."""
        while not self.holds():
            for directory, version in self.uses:
                if not directory.valid:
                    await renew(directory)
                if directory.version != version:
                    raise DirectoryChanged(directory.table)

    def check(self, connection: ServerConnection) -> None:
        """Raises StatementRefused where a transaction sees the connection's cluster as it was before a change."""
        for directory, _ in self.uses:
            if not suits(connection, directory):
                raise StatementRefused(
                    f"Rows of {directory.table} have moved since this transaction came to {connection.where}, which "
                    "may not show it what was moved there later; try restarting transaction",
                    1205,
                    "HY000",
                    reason="directory-changed-in-transaction",
                )


def suits(connection: ServerConnection, directory: Directory) -> bool:
    """Can the transaction under way on a connection see all rows that the directory has there?"""
    if connection.taken_ns >= directory.changed_ns:
        return True
    if connection.scanner.status & IN_TRANS:
        return False
    connection.taken_ns = time.perf_counter_ns()  # there is none yet
    return True


async def renew(directory: Directory) -> None:
    """Raises TurnoutError."""
    if directory.source is not None:
        await directory.source.look_up(())


async def confirm(session: Session, *connections: ServerConnection) -> None:
    """To be called right before a statement is sent on these. Raises TurnoutError."""
    guard, made = session.guard, session.made
    if guard is not None:
        await guard.confirm()
    if made is not None:
        await made.run.confirm()
        while guard is not None and not guard.holds():
            await guard.confirm()
            await made.run.confirm()
    if guard is not None:
        for connection in connections:
            guard.check(connection)


async def routed(session: Session, directories: tuple[Directory, ...], make: Callable[[], Route]) -> Route:
    """The route that `make` gives once the keys are known that it asks for; `session.guard` is set. Raises
    TurnoutError."""
    session.guard = None
    if not directories:
        return make()
    deadline = _now() + session.environment.rules.pool.wait_s
    absent: dict[Directory, set[bytes]] = {}
    session.waiting = True  # KILL QUERY ends it
    try:
        looks = 0  # since the last pause
        while True:
            looks += 1
            if looks > _LOOKS and _now() >= deadline:
                first = directories[0]
                raise ServerFailed(f"cluster {first.home} is too slow to go by what it says of {first.table}", 1159)
            for directory in directories:
                if not directory.valid:
                    await renew(directory)
            try:
                with ExitStack() as stack:
                    for directory, keys in absent.items():
                        stack.enter_context(directory.taken_as_absent(keys))
                    route = make()
            except KeysUnknown as unknown:
                if not await _learned(unknown, absent):
                    absent.clear()
                    await _pause(session, deadline, unknown.directory, "a key of this statement is")
                    looks = 0
                continue
            held = next((directory for directory in directories if directory.held), None)
            if held is not None and len(route.sends) != 1:
                absent.clear()
                await _pause(session, deadline, held, "some of its keys are")
                await renew(held)
                looks = 0
                continue
            if not all(directory.valid for directory in directories):
                continue
            session.guard = Guard.of(directories)
            return route
    finally:
        session.waiting = False


async def learn(session: Session, placement: Placement, texts: Iterable[bytes | None], new: bool = False) -> None:
    """Look up the keys that rows turned out to have, so that `placement` knows their clusters; `new`: enter those that
    are not there. What was routed before has to be confirmed all the same. Raises TurnoutError."""
    directory = placement.directory
    if directory is None:
        return
    keys = {text for text in texts if text is not None}
    deadline = _now() + session.environment.rules.pool.wait_s
    absent: dict[Directory, set[bytes]] = {}
    while unknown := directory.unknown(keys):
        if not await _learned(KeysUnknown(directory, unknown, new), absent):
            await _pause(session, deadline, directory, "a key of this statement is")
        if absent.get(directory):
            raise StatementRefused(
                f"There are rows with keys that {directory.table} does not have: enter them there, each with the "
                "cluster that has its rows",
                1105,
                "HY000",
                reason="directory-incomplete",
            )


async def _learned(unknown: KeysUnknown, absent: dict[Directory, set[bytes]]) -> bool:
    """Look keys up, and enter those that an INSERT brings. False: some are held. Raises TurnoutError."""
    directory = unknown.directory
    source = directory.source
    if source is None:
        raise unknown
    found = await source.look_up(unknown.keys)
    missing = unknown.keys - found.keys()
    if missing and unknown.new:
        await source.enter(missing)
        found = await source.look_up(missing)
    else:
        absent.setdefault(directory, set()).update(missing)
    for key, cluster in found.items():
        if key in unknown.keys and cluster and cluster not in directory.clusters:
            raise StatementRefused(
                f"{directory.table} has the key {key.decode('utf-8', 'replace')} on '{cluster}', which is no cluster "
                f"of the sharding {directory.sharding} in the rules",
                1105,
                "HY000",
                reason="directory-cluster-unknown",
            )
    return not any(found.get(key) == "" for key in unknown.keys)


async def _pause(session: Session, deadline: float, directory: Directory, what: str) -> None:
    """Wait a little for keys that are being moved: not while rows are locked for which the move may wait. Raises
    StatementRefused."""
    if _now() >= deadline or session.in_transaction:
        raise StatementRefused(
            f"{directory.table}: {what} being moved to another cluster; try the statement, or its transaction, again",
            1205,
            "HY000",
            reason="directory-held",
        )
    await asyncio.sleep(_POLL_S)


async def directory_lines(plan: Plan, value_of: ValueOf) -> list[str]:
    """Where a statement's keys are, by its directories, for EXPLAIN. Enters none. Raises TurnoutError."""
    if isinstance(plan, InsertRows):
        pins = [*plan.others, KeyPin(plan.table, plan.column, plan.values, plan.placement)]
    else:
        pins = list(plan.keys) if isinstance(plan, ByKey) else []
    lines: dict[str, None] = {}
    for pin in pins:
        directory = pin.placement.directory
        if directory is None or directory.source is None:
            continue
        texts = [form_text(pin.placement.form, constant(value, value_of)) for value in pin.values]
        keys = [text for text in texts if text is not None]
        found = await directory.source.look_up(keys)
        for key in keys:
            where = found.get(key)
            text = "is not there" if where is None else f"is on {where}" if where else "is being moved"
            lines[f"{directory.table}: {key.decode('utf-8', 'replace')} {text}"] = None
    return list(lines)
