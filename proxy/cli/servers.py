"""Asking the servers of some rules once, for `turnout check` and `turnout explain`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass

from proxy.back.catalog import EMPTY, Catalog
from proxy.back.clusters import Clusters
from proxy.back.server import State
from proxy.front.schemas import SchemaReader
from proxy.measure.measures import Measures
from proxy.rules.model import Rules

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the servers said, and (where, why) of those that said nothing."""

    catalog: Catalog
    unreachable: tuple[tuple[str, str], ...]  # (where, reason)
    asked: frozenset[str]  # clusters whose schemas are in the catalog


async def look(rules: Rules) -> Answer:
    """Probe all servers, and read the schemas of the databases that the rules name from those that answer."""
    tasks: set[asyncio.Task[object]] = set()

    def spawn(work: Coroutine[object, object, None], what: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=what)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    clusters = Clusters(spawn, Measures().server)
    clusters.apply(rules)
    try:
        await clusters.probed(TIMEOUT_S)
        catalog = await SchemaReader(rules, clusters).read(EMPTY)
        unreachable = tuple(
            (server.where, server.health.reason or "no answer")
            for server in clusters.servers()
            if server.health.state is not State.UP
        )
        asked = frozenset(
            name for name, servers in clusters.by_name.items() if servers.primary.health.state is State.UP
        )
        return Answer(catalog, unreachable, asked)
    finally:
        await clusters.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
