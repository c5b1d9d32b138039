"""Plays sessions between clients and servers of `tests.fuzz` through the real front and back of a worker.

    python -m tests.fuzz.sessions --seconds 60 [--seed N] [--input K [--trace]]

One input is a round: some clients at once, servers that are slow, fail, lose connections or lie, commands that are sent
ahead, in pieces, or changed. What holds, whatever they do: every command of a client that keeps to the protocol is
answered, or its connection closed; nothing is raised that is not a TurnoutError; when the clients are gone, so is
everything that was theirs. Where servers do not lie: every answer is the one to its own statement, numbered behind it,
and has nothing of other clients' in it; a transaction that a client was told is committed is, on all clusters, and one
that was rolled back on none; under `transactions: atomic` none is on some of them alone, whatever is lost on the way.
Rounds depend on seed and number only, to the last byte.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.back.clusters import ClusterServers
from proxy.back.server import Role, Server, State
from proxy.errors import TurnoutError
from proxy.front.environment import Environment
from proxy.front.listener import Listener
from proxy.front.recovery import EVERY_S, Recovery
from proxy.measure.measures import Measures
from proxy.rules.loader import parse
from proxy.rules.model import Address, Rules, Transactions
from tests.fuzz import campaign
from tests.fuzz.campaign import Campaign, Finding, Totals
from tests.fuzz.fake_client import FakeClient, Round
from tests.fuzz.fake_server import VERSION, FakeServer, Manners
from tests.fuzz.transfers import check
from tests.fuzz.virtual import End, Stuck, Trace, VirtualLoop, unchanging
from tests.wire.fuzz_wire import rsa_key

RULES = """
turnout: 1
listen: {mysql: "127.0.0.1:3307"}
users: {app: {password: app}}
service: {user: turnout, password: turnout}
clusters:
  main: {primary: "main:1", max_connections: 4}
  other: {primary: "other:1", max_connections: 4}
shardings: {by_id: {method: hash, clusters: [main, other]}}
transactions: {transactions}
databases:
  shop:
    home: main
    tables:
      spread_t: {sharding: by_id, key: id}
      away_t: {cluster: other}
limits: {logins_per_second: 0, logins_per_address: 0}
"""
MAX_CPU_S = 20.0  # for one round


@cache
def rules(transactions: Transactions) -> Rules:
    return parse(RULES.replace("{transactions}", transactions.value), Path("rules.yaml"), {})


@cache
def catalog() -> Catalog:
    columns = (Column("id", "int"), Column("c", "varchar", charset="utf8mb4"), Column("v", "int"))
    places = (("main", "plain_t"), ("main", "spread_t"), ("other", "spread_t"), ("other", "away_t"))
    return Catalog(
        {
            (cluster, "shop", name): TableSchema("shop", name, columns, primary_key=("id",), engine="InnoDB")
            for cluster, name in places
        },
        1,
    )


class Failures(logging.Handler):
    """What the proxy logs of its own mistakes, and tasks that failed of anything but a TurnoutError."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, TurnoutError | Stuck):
            formatter = logging.Formatter("%(message)s")
            self.found.append(formatter.format(record))

    def handler(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, TurnoutError | Finding):
            self.found.append(f"{context.get('message')}: {error!r}")


class World:
    """A worker without its process: two servers, one listener."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.manners = Manners()
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures = Failures()
        self.finding: BaseException | None = None
        chosen = rules(rng.choice((Transactions.BEST_EFFORT, Transactions.ATOMIC)))
        self.atomic = chosen.transactions is Transactions.ATOMIC
        limits = replace(
            chosen.limits,
            statement_s=rng.choice((None, None, 1e-9)),
            result_rows=rng.choice((0, 0, 0, 1, 2)),
            result_bytes=rng.choice((0, 0, 0, 40, 4000)),
        )
        own = replace(chosen, limits=limits)
        measures = Measures()
        self.servers = [self._server(name, own, measures) for name in own.clusters]
        self.clusters = clusters = {
            server.cluster: ClusterServers(server.cluster, server, ()) for server in self.servers
        }
        environment = Environment(own, catalog(), clusters, measures, 1)
        self.listener = Listener(own, environment, 0, measures)
        self.recovery = Recovery(environment.tokens, measures)

    def _server(self, name: str, own: Rules, measures: Measures) -> Server:
        server = Server(
            name,
            Role.PRIMARY,
            Address(name, 1),
            4,
            None,
            own.pool,
            own.health,
            self.spawn,
            measures.server(name, f"{name}:1", "primary"),
            compress=self.rng.random() < 0.2,
        )
        server.health.state = State.UP
        server.health.baseline.version = VERSION
        return server

    def spawn(self, work: Any, what: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=what)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, TurnoutError):
            self.finding = self.finding or error

    def answer(self, host: str, port: int, end: End) -> None:
        self.spawn(FakeServer(end, self.manners, self.rng, host).run(), f"server {host}")

    async def play(self) -> Round:
        rng, manners = self.rng, self.manners
        kind = rng.randrange(4)
        manners.slow, manners.fail, manners.many = rng.choice((0, 0.1)), rng.choice((0, 0.1)), rng.choice((0, 0.02))
        manners.lose, manners.lose_ends = rng.choice((0, 0.02)), rng.choice((0, 0.02, 0.2))
        manners.lie = 0.05 if kind == 3 else 0.0
        wild, writing, first = 0.1 if kind == 2 else 0.0, rng.choice((0.05, 0.5)), rng.randrange(10**6)
        together = Round(self.listener, kind != 3, wild, writing, count(first))
        recovering = asyncio.create_task(self._recover()) if self.atomic else None
        clients: list[asyncio.Task[None]] = []
        for _ in range(rng.choice((1, 3, 10, 20))):
            clients.append(asyncio.create_task(FakeClient(together, rng).run()))
            await asyncio.sleep(rng.choice((0, 0, 0.1, 3)))
            self.listener.end_overdue()
        while pending := [each for each in clients if not each.done()]:
            await asyncio.wait(pending, timeout=1.0)
            self.listener.end_overdue()
        for each in clients:
            each.result()
        if recovering is not None:
            recovering.cancel()
            await asyncio.wait([recovering])
        await asyncio.sleep(300)
        if recovering is not None:
            await self._recover_all()
        self._check()
        if together.honest:
            check(together.transfers, manners.clusters.values(), self.atomic)
        return together

    async def _recover(self) -> None:
        while True:
            try:
                await self.recovery.look_once(self.listener.rules, self.clusters)
            except Exception as error:
                self.finding = self.finding or error
            await asyncio.sleep(EVERY_S)

    async def _recover_all(self) -> None:
        """What servers still have of transactions whose coordinators are gone. They are given some time: they fail."""
        recovering = asyncio.create_task(self._recover())
        for _ in range(100):
            await asyncio.sleep(EVERY_S)
            if not any(cluster.prepared() for cluster in self.manners.clusters.values()):
                break
        recovering.cancel()
        await asyncio.wait([recovering])
        self.recovery.close()

    def _check(self) -> None:
        """The clients are gone: nothing of theirs is left."""
        listener = self.listener
        if listener.clients:
            raise Finding(f"{len(listener.clients)} clients are left")
        if listener._tasks:
            raise Finding(f"tasks are left: {listener._tasks}")
        for server in self.servers:
            if server.size != len(server.connections) or server.size > server.limit:
                raise Finding(f"{server.where} has {len(server.connections)} connections, and counts {server.size}")
            idle = [connection for pool in server.pools.values() for connection in pool.idle]
            if len(set(idle)) != len(idle):
                raise Finding(f"{server.where}: a connection is idle twice: {[c.thread_id for c in idle]}")
            if not set(idle) <= server.connections:
                gone = [(c.thread_id, str(c.aborted), c.lost) for c in set(idle) - server.connections]
                raise Finding(f"{server.where}: connections that are gone are idle: {gone}")
            if len(idle) != server.size:
                busy = [
                    f"{c.thread_id}: taken {c.taker is not None}, held {c.holder is not None}, in a command "
                    f"{c.sink is not None}, aborted {c.aborted}, dirty {c.dirty!r}"
                    for c in server.connections - set(idle)
                ]
                raise Finding(f"{server.where}: {server.size} connections, of which {len(idle)} are idle: {busy}")
            for connection in idle:
                if connection.sink is not None or connection.aborted is not None or connection.holder is not None:
                    raise Finding(f"{server.where}: an idle connection is not free")
            if any(pool.waiting for pool in server.pools.values()):
                raise Finding(f"{server.where}: somebody waits for a connection")

    async def end(self) -> None:
        for server in self.servers:
            server.close()
        await asyncio.sleep(10)


@dataclass(slots=True)
class Report:
    totals: Totals | None = None
    commands: int = 0
    answers: int = 0
    errors: int = 0

    def add(self, together: Round) -> None:
        self.commands += together.commands
        self.answers += together.answers
        self.errors += together.refused

    def __str__(self) -> str:
        rounds = self.totals.inputs if self.totals is not None else 1
        said = self.totals or "nothing found"
        return f"{rounds} rounds, {self.commands} commands, {self.answers} answers ({self.errors} errors); {said}"


def run_input(seed: int, number: int, trace: Trace | None = None) -> Round:
    """Plays one round; what was in it. Raises whatever it found."""
    rng, key = random.Random(f"{seed}:{number}"), rsa_key()
    world: World | None = None

    def answer(host: str, port: int, end: End) -> None:
        assert world is not None
        world.answer(host, port, end)

    loop = VirtualLoop(answer, trace)
    failures = Failures()
    logger = logging.getLogger("turnout")
    logger.addHandler(failures)
    loop.set_exception_handler(failures.handler)

    async def play() -> Round:
        nonlocal world
        with mock.patch.object(rsa, "generate_private_key", return_value=key):  # which takes long
            world = World(rng)
            together = await world.play()
            await world.end()
        return together

    try:
        asyncio.set_event_loop(loop)
        with unchanging(loop, rng):
            together = loop.run_until_complete(play())
        if world is not None and world.finding is not None:
            raise world.finding
        if failures.found:
            raise Finding("\n".join(failures.found))
    finally:
        logger.removeHandler(failures)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1000))
        asyncio.set_event_loop(None)
        loop.close()
    return together


CAMPAIGN = Campaign(run_input, MAX_CPU_S, warm_up=100)


def run(seconds: float, seed: int) -> Report:
    """Plays rounds for so long. Raises Finding with what plays the round again."""
    rsa_key()
    report = Report()
    gc.freeze()  # every round begins with a collection
    try:
        report.totals = CAMPAIGN.run(seconds, seed, report.add)
    finally:
        gc.unfreeze()
    return report


def again(seed: int, number: int, show: Callable[[str], None] | None = None) -> Report:
    """Plays one round. Raises whatever it found."""
    report, trace = Report(), Trace(show)
    try:
        report.add(run_input(seed, number, trace))
    finally:
        print(f"trace {trace}", flush=True)
    return report


def main() -> int:
    logging.getLogger("turnout").setLevel(logging.ERROR)
    logging.getLogger("turnout").propagate = False
    return campaign.main(__doc__, 60.0, run, again, partial(again, show=print))


if __name__ == "__main__":
    sys.exit(main())
