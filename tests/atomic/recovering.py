"""Recovery's passes in this process, with no time for coordinators to finish what they began."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path

from proxy.back.clusters import Clusters
from proxy.back.decisions import Tokens
from proxy.front.recovery import Recovery
from proxy.measure.measures import Measures
from proxy.rules.loader import parse
from tests.atomic.branch_office import Bank


def recover(bank: Bank, deadline_s: float = 30.0, passes: int = 0) -> dict[str, int]:
    """Pass after pass until nothing is prepared anywhere, or as many as said. Returns the branches that were finished,
    by outcome. Raises TimeoutError."""
    return asyncio.run(_recover(bank, deadline_s, passes))


async def _recover(bank: Bank, deadline_s: float, passes: int) -> dict[str, int]:
    head = "turnout: 1\nlisten: {mysql: 127.0.0.1:1}\n"
    rules = parse(head + bank.rules, Path("routing_rules.yaml"))
    measures = Measures()
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[object, object, None], what: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=what)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    clusters = Clusters(spawn, measures.server)
    clusters.apply(rules)
    recovery = Recovery(Tokens(), measures, grace_s=0)
    finished: dict[str, int] = {}
    until = time.monotonic() + deadline_s
    done = 0
    try:
        await clusters.probed(5)
        while True:
            await recovery.look_once(rules, clusters.by_name)
            for outcome, n in measures.take().labelled["recovered"].items():
                finished[outcome] = finished.get(outcome, 0) + n
            done += 1
            if done == passes or (not passes and not await asyncio.to_thread(bank.prepared)):
                return finished
            if time.monotonic() > until:
                raise TimeoutError(f"still prepared: {bank.prepared()}")
            await asyncio.sleep(0.05)
    finally:
        recovery.close()
        await clusters.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
