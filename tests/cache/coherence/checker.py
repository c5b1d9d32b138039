"""The checker: servers, writers, readers and faults together, for a number of reads."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field

from tests.cache.coherence import writers as w
from tests.cache.coherence.faults import HARMFUL, HARMLESS, Fault, Gate, World
from tests.cache.coherence.ledger import Key, now_ns
from tests.cache.coherence.reader import Tally, read_on
from tests.front.raw import AsyncClient
from tests.servers import MariaDB, Memcached, Run, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, SERVICE, SERVICE_PASSWORD

STALENESS_S = 0.5
_QUIET_S = 12.0  # after a harmful fault, reads may fail for as long: connections, probes, a server that recovers
_CLASSES = {
    "counters": "{by: [id]}",
    "pairs": "{by: [id]}",
    "members": "[{by: [grp]}, {by: [id]}]",
    "children": "{by: [parent_id]}",
    "wards": "{by: [id]}",
    "defined": "{by: [id]}",
    "emptied": "{by: [id]}",
    "names": "{by: [name]}",
    "effects": "{by: [id]}",
    "made": "{by: [id]}",
    "bulk": "{by: [id]}",
    "loaded": "{by: [id]}",
    "slow": "{by: [grp]}",
    "ranged": "{by: [id]}",
    "prepared": "{by: [id]}",
}
# A server that loses nothing when it is killed; and small logs, so that files change.
DURABLE = ("--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", "--max-binlog-size=4M", "--log-bin-compress=1")


@dataclass(slots=True)
class Report:
    """What one run found."""

    seed: int
    tally: Tally
    seconds: float
    writes_through: int
    writes_direct: int
    write_failures: dict[str, int]
    faults: dict[str, int]
    hits_local: float
    hits_memcached: float
    refused: dict[str, float] = field(default_factory=dict)
    timeline: list[str] = field(default_factory=list)  # the last faults before the end, with their times
    unexpected: dict[str, int] = field(default_factory=dict)  # reads that failed when nothing allowed them to

    def __str__(self) -> str:
        tally = self.tally
        lines = [
            f"seed {self.seed}: {tally.reads:,} reads checked in {self.seconds:.0f} s, {tally.failed:,} failed, "
            f"{len(tally.violations)} violations",
            f"writes acknowledged: {self.writes_through:,} through the proxy, {self.writes_direct:,} past it",
            f"hits: {self.hits_local:,.0f} local, {self.hits_memcached:,.0f} memcached "
            f"(of the workers that live); refused: {_listed(self.refused)}",
            f"faults: {_listed(self.faults)}",
            f"reads that failed: {_listed(tally.failures)}",
            f"of these unexpected: {_listed(self.unexpected)}",
            f"writes that failed: {_listed(self.write_failures)}",
        ]
        if tally.violations:
            lines += self.timeline
        return "\n".join([*lines, *(str(one) for one in tally.violations[:5])])


def _listed(counts: dict[str, int] | dict[str, float]) -> str:
    return ", ".join(f"{what} {n:,.0f}" for what, n in sorted(counts.items())) or "none"


@dataclass(slots=True)
class Setting:
    """What a run is made of; the defaults are everything."""

    reads: int
    seed: int
    max_s: float
    workers: int = 2
    readers: int = 6
    batch: int = 24  # statements that some of the readers send at once
    faults: Sequence[Fault] = (*HARMLESS, *HARMFUL)
    fault_every_s: float = 1.5
    slower: float = 1.0  # writers' pauses are so many times as long
    make: Callable[[random.Random, Run], list[w.Writer]] | None = None
    memcached: bool = True
    environment: dict[str, str] = field(default_factory=dict)  # of Turnout
    server_options: Sequence[str] = DURABLE
    first_violation_ends: bool = True
    beside: Callable[[World, asyncio.Event], Coroutine[None, None, None]] | None = None  # goes on all the time
    progress: Callable[[int, float], None] | None = None


def all_writers(chance: random.Random, run: Run) -> list[w.Writer]:
    folder = run.place("loads")
    return [
        *(w.Counters(chance, instance) for instance in range(3)),
        w.Transactions(chance),
        w.Movers(chance),
        w.Families(chance),
        w.Definitions(chance),
        w.Truncated(chance),
        w.Names(chance),
        w.Triggered(chance),
        w.Generated(chance),
        w.Bulk(chance),
        w.Slow(chance),
        *(w.Ranges(chance, instance) for instance in range(2)),
        w.Loaded(chance, folder),
        w.TwoPhase(chance),
        w.Accounts(chance),
    ]


def check(run: Run, setting: Setting) -> Report:
    """One run on servers of its own."""
    chance = random.Random(setting.seed)
    primary = run.mariadb("cached", options=setting.server_options)
    memcached = [run.memcached(f"memcached{n}") for n in range(2)] if setting.memcached else []
    try:
        return asyncio.run(_check(run, setting, chance, primary, memcached))
    finally:
        for process in (primary, *memcached):
            process.kill()


async def _check(
    run: Run, setting: Setting, chance: random.Random, primary: MariaDB, memcached: list[Memcached]
) -> Report:
    writers = (setting.make or all_writers)(chance, run)
    primary.create_account(APP, APP_PASSWORD)
    primary.execute(f"GRANT ALL PRIVILEGES ON *.* TO '{APP}'@'%' WITH GRANT OPTION")
    primary.create_service_account(SERVICE, SERVICE_PASSWORD)
    primary.execute(f"CREATE DATABASE {DATABASE}")
    for statement in (statement for writer in writers for statement in writer.tables):
        primary.execute(statement, database=DATABASE)
    gate = Gate(memcached[1].port if memcached else 0)
    await gate.start()
    servers = f"memcached: ['{memcached[0].address}', '127.0.0.1:{gate.port}']" if memcached else ""

    def rules(whole: bool) -> str:
        left_out = () if whole else ("counters", "members", "names")
        classes = "\n".join(f"      {t}: {{cache: {c}}}" for t, c in _CLASSES.items() if t not in left_out)
        return f"""\
workers: {setting.workers}
users: {{{APP}: {{password: {APP_PASSWORD}}}}}
service: {{user: {SERVICE}, password: {SERVICE_PASSWORD}}}
clusters: {{main: {{primary: '{primary.address}'}}}}
health: {{every: 0.3s, timeout: 3s, connect_timeout: 1s}}
cache:
  local: 1MB
  max_staleness: {int(STALENESS_S * 1000)}ms
  {servers}
databases:
  {DATABASE}:
    home: main
    tables:
{classes}
"""

    turnout = await asyncio.to_thread(lambda: run.turnout(rules(True), "checked", wait=True, **setting.environment))
    world = World(primary, memcached, gate, turnout, rules, chance)
    try:
        return await _measured(setting, world, writers)
    finally:
        await asyncio.to_thread(turnout.kill)
        await gate.stop()


async def _measured(setting: Setting, world: World, writers: Sequence[w.Writer]) -> Report:
    primary, turnout = world.primary, world.turnout
    tally = Tally(int(STALENESS_S * 1e9))
    stop = asyncio.Event()
    account = (APP, APP_PASSWORD)

    def connect(port: int) -> w.Connect:
        async def connected() -> AsyncClient:
            async with asyncio.timeout(10):
                return await AsyncClient.connect(port, *account, DATABASE)

        return connected

    def keys() -> Sequence[Key]:
        return [key for writer in writers for key in writer.keys]

    await _served(turnout, connect(turnout.port), keys())
    faults: dict[str, int] = {}
    timeline: deque[str] = deque(maxlen=12)
    unexpected: dict[str, int] = {}
    harmful_until = [0.0]
    asks: list[w.Ask] = []
    began = time.monotonic()
    tasks: list[asyncio.Task[None]] = []
    for number in range(setting.readers):
        prepared = number % 3 == 2
        alone = number % 6 in (1, 2)  # one statement at a time, as most clients do
        batch = 1 if alone else setting.batch
        work = read_on(tally, turnout.port, account, DATABASE, keys, prepared, batch, stop, number)
        tasks.append(asyncio.create_task(work, name=f"reader {number}"))
    for writer in writers:
        through = w.Ask(connect(turnout.port), connect(primary.port), True)
        direct = w.Ask(connect(primary.port), connect(primary.port), False)
        asks += (through, direct)
        tasks.append(asyncio.create_task(w.write_on(writer, through, direct, stop, setting.slower)))
    if setting.faults:
        tasks.append(asyncio.create_task(_go_wrong(setting, world, faults, timeline, harmful_until, stop)))
    if setting.beside is not None:
        tasks.append(asyncio.create_task(setting.beside(world, stop)))
    failed_before = dict[str, int]()
    try:
        every = len(setting.faults) - (0 if world.memcached else sum("memcached" in f.__name__ for f in setting.faults))
        while time.monotonic() - began < setting.max_s:
            if tally.reads >= setting.reads and (len(faults) >= every or setting.fault_every_s > setting.max_s):
                break
            done, _ = await asyncio.wait(tasks, timeout=0.25, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            if time.monotonic() > harmful_until[0]:
                for what, count in tally.failures.items():
                    if count > failed_before.get(what, 0):
                        unexpected[what] = unexpected.get(what, 0) + count - failed_before.get(what, 0)
            failed_before = dict(tally.failures)
            if setting.progress is not None:
                setting.progress(tally.reads, time.monotonic() - began)
            if tally.violations and setting.first_violation_ends:
                break
        seconds = time.monotonic() - began
    finally:
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=30)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    counted = await asyncio.to_thread(_counted, turnout)
    failures: dict[str, int] = {}
    for ask in asks:
        for what, count in ask.failures.items():
            failures[what] = failures.get(what, 0) + count
    return Report(
        setting.seed,
        tally,
        seconds,
        sum(ask.answers for ask in asks if ask.through),
        sum(ask.answers for ask in asks if not ask.through),
        failures,
        faults,
        *counted,
        list(timeline),
        unexpected,
    )


async def _served(turnout: Turnout, connect: w.Connect, keys: Iterable[Key]) -> None:
    """Wait until reads are served from memory at all."""
    statement = next(iter(keys)).statement
    client = await connect()
    try:
        async with asyncio.timeout(30):
            while not turnout.metric("turnout_cache_hits_total"):
                for _ in range(5):
                    (await client.query(statement)).checked()
                await asyncio.sleep(0.1)
    finally:
        client.abort()


def _counted(turnout: Turnout) -> tuple[float, float, dict[str, float]]:
    """(hits from workers' memory, from memcached, refusals by reason), once workers have reported the last of them."""
    with contextlib.suppress(OSError):
        before = -1.0
        until = time.monotonic() + 10
        while (now := turnout.metric("turnout_statements_total")) != before and time.monotonic() < until:
            before = now
            time.sleep(1.2)  # they report once a second
        reasons = ("written", "being-written", "stale-clock", "stream")
        refused = {reason: turnout.metric("turnout_cache_refused_total", reason=reason) for reason in reasons}
        local = turnout.metric("turnout_cache_hits_total", memory="local")
        return local, turnout.metric("turnout_cache_hits_total", memory="memcached"), refused
    return 0.0, 0.0, {}


async def _go_wrong(
    setting: Setting,
    world: World,
    counts: dict[str, int],
    timeline: deque[str],
    harmful_until: list[float],
    stop: asyncio.Event,
) -> None:
    """Every fault once, in any order, and then again."""
    chance = world.chance
    while not stop.is_set():
        for fault in chance.sample(setting.faults, len(setting.faults)):
            if not world.memcached and fault.__name__.startswith("memcached"):
                continue
            await asyncio.sleep(setting.fault_every_s * 2 * chance.random())
            if stop.is_set():
                return
            if fault in HARMFUL:
                harmful_until[0] = float("inf")
            timeline.append(f"{now_ns() / 1e9:.3f} {fault.__name__} begins")
            try:
                await fault(world)
                timeline.append(f"{now_ns() / 1e9:.3f} {fault.__name__} ends")
            finally:
                if fault in HARMFUL:
                    harmful_until[0] = time.monotonic() + _QUIET_S
            counts[fault.__name__] = counts.get(fault.__name__, 0) + 1
