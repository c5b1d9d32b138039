"""SET STATEMENT .. FOR a statement that takes several steps: the session has the settings while it runs."""

from __future__ import annotations

from proxy.back.connection import ServerConnection
from proxy.back.settings import tracked_value
from proxy.front.inlined import run_inside
from proxy.front.row_streams import server_error
from proxy.front.session import Session
from proxy.plan.around_workbench import Within
from proxy.wire import command as com
from proxy.wire.resultset import read_resultset


async def run_within(session: Session, within: Within) -> None:
    """Carry out the statement and answer the client. Raises TurnoutError, also where a server refuses the settings."""
    home = session.environment.rules.home(session.database)
    held = session.held.get(home) or next(iter(session.held.values()), None)
    if held is not None:
        await session.dress(held)
        values = await _settings(held, within)
    else:
        servers = session.environment.cluster(home)
        servers.primary.check_up()
        connection = await session.take(servers.primary)
        try:
            values = await _settings(connection, within)
        finally:
            session.give_back(connection)
    session.last_on = None
    before = session.settings
    session.settings = before.with_changes(values)
    session.refresh()
    try:
        await run_inside(session, within.sql)
    finally:
        session.settings = before
        session.refresh()


async def _settings(connection: ServerConnection, within: Within) -> dict[str, bytes | None]:
    """What the settings become, as a server says. Raises ServerFailed."""
    answer = await connection.command(bytes((com.COM_QUERY,)) + within.settings)
    if connection.scanner.errno:
        raise server_error(connection.scanner.error)
    row = read_resultset(answer).rows[0]
    return {name: b"NULL" if value is None else tracked_value(name, value) for name, value in zip(within.names, row)}
