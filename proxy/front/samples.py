"""Served values compared with the primary, after the fact: how stale the answers really were (`cache.verify`).

A value that differs may be right all the same: what changed may have been written since, or by another way than this
host a moment ago. If it is still served, and still differs, when `max_staleness` is long over, something is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parser.shape import Lexer
from proxy.back.settings import Settings
from proxy.errors import TurnoutError
from proxy.wire import command as com

if TYPE_CHECKING:
    from proxy.cache.cached_value import CachedValue
    from proxy.front.caching import Caching
    from proxy.front.environment import Entry
    from proxy.front.session import Session

log = logging.getLogger("turnout.cache")

_MAX_AT_ONCE = 2  # in a worker; more are not compared
_under_way = 0


def sample(session: Session, entry: Entry, cluster: str, value: CachedValue, literals: Sequence[bytes]) -> None:
    """Compare a value that was served, in the background. Only of text statements: those have all in one packet."""
    if _under_way < _MAX_AT_ONCE and entry.cache_words[0] == b"text":
        sql = Lexer.restore(entry.cache_words[-1], list(literals))
        work = _compare(session, entry, cluster, value, sql, session.settings, session.database)
        session.client.spawn(work, "compare a served value")


async def _compare(
    session: Session,
    entry: Entry,
    cluster: str,
    value: CachedValue,
    sql: bytes,
    settings: Settings,
    database: str | None,
) -> None:
    global _under_way
    caching = session.environment.caching
    assert caching is not None
    assert entry.cached is not None
    stats = entry.cache_stats
    _under_way += 1
    try:
        served_ns = time.perf_counter_ns()
        same = await _is_same(session, cluster, value, sql, settings, database)
        if same is None:
            return
        stats.sampled += 1
        if same:
            return
        stats.sampled_stale += 1
        stats.sampled_stale_ns += served_ns - value.created_ns
        if entry.cached.cache_class.ttl_s is not None:
            return
        await asyncio.sleep(4 * caching.max_staleness_ns / 1e9)
        if not _is_served(caching, cluster, value):
            return
        same = await _is_same(session, cluster, value, sql, settings, database)
        await asyncio.sleep(2 * caching.max_staleness_ns / 1e9)  # it may have been written in between
        if same is False and _is_served(caching, cluster, value):
            stats.sampled_wrong += 1
            log.error(
                "defect: a cached value is served that the primary does not have",
                extra={"table": stats.table, "by": stats.by, "cluster": cluster},
            )
    except TurnoutError:
        return  # the server cannot be asked: nothing is compared
    finally:
        _under_way -= 1


def _is_served(caching: Caching, cluster: str, value: CachedValue) -> bool:
    clock = caching.clocks.get(cluster)
    now = time.perf_counter_ns()
    limit_ns = caching.max_staleness_ns
    return clock is not None and clock.fresh(value, now, limit_ns)


async def _is_same(
    session: Session, cluster: str, value: CachedValue, sql: bytes, settings: Settings, database: str | None
) -> bool | None:
    """Does the primary answer so now? None: it answers with an error. Raises TurnoutError."""
    servers = session.environment.cluster(cluster)
    pool = servers.primary.pool(session.key, session.secret)
    connection = await pool.take(settings, database)
    try:
        await session.dress(connection, database, settings)
        answer = await connection.command(bytes((com.COM_QUERY,)) + sql)
        if connection.scanner.errno:
            return None
        return _rows(answer) == _rows(value.response)
    finally:
        pool.release(connection)


def _rows(response: bytes) -> list[bytes]:
    """What an answer says, but for the order of its rows and the status behind them."""
    payloads = []
    at = 0
    while at < len(response):
        end = at + 4 + int.from_bytes(response[at : at + 3], "little")
        payloads.append(response[at + 4 : end])
        at = end
    return sorted(payloads[:-1])
