"""The stream processes of one supervisor: one for each cluster with a coherent cache class, replaced when they die.

Two processes must never write the same clock: the old one is killed, and waited for, before another starts. When rules
change what is cached, where a primary is, or how it is logged in to, the clocks concerned are stopped before any worker
hears of the change, and begin anew after all have: a worker with old rules cannot take what it reads for current.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Sequence

from proxy.admin.overview import StreamView
from proxy.cache.clocks import MAX_SOURCES, Clocks, SourceClock
from proxy.cli import link as wire
from proxy.cli.crew import exit_fields
from proxy.cli.link import Link
from proxy.cli.nursery import ChildProcess, Nursery
from proxy.rules.model import Rules
from proxy.rules.packed import pack

log = logging.getLogger("turnout.supervisor")

STREAM_COMMAND = (sys.executable, "-m", "proxy.cli.stream_main")
SILENT_S = 5  # a process without a word for so long is stuck: it is replaced
_SOON_S = 10.0
_LONGEST_PAUSE_S = 10.0


class Streams:
    """See the module. `sources` says which clock is whose."""

    def __init__(self, clocks: Clocks, command: Sequence[str], nursery: Nursery) -> None:
        self._clocks = clocks
        self._command = command
        self._nursery = nursery
        self._followed: dict[str, _Keeper] = {}
        self._next = 0

    @property
    def sources(self) -> dict[str, int]:
        return {name: keeper.source for name, keeper in self._followed.items()}

    async def stop_changed(self, rules: Rules) -> None:
        """Before workers get these rules: stop what follows something else than they say."""
        wanted = {cluster: signature(rules, cluster) for cluster in rules.cached_clusters}
        for name, keeper in list(self._followed.items()):
            if wanted.get(name) != keeper.signature:
                await keeper.stop("the rules changed")
                del self._followed[name]
        for name, meaning in wanted.items():
            if name not in self._followed:
                if self._next >= MAX_SOURCES:
                    log.error("too many clusters were ever cached: restart Turnout", extra={"cluster": name})
                    continue
                # Every change gets a clock of its own, so that nobody mistakes the old one for it.
                self._followed[name] = _Keeper(self._clocks, self._next, name, meaning, self._command, self._nursery)
                self._next += 1

    def start_new(self, rules: Rules) -> None:
        """After all workers have them: follow what is not followed yet."""
        for keeper in self._followed.values():
            keeper.rules = pack(rules)
            keeper.start()

    async def stop(self) -> None:
        await asyncio.gather(*(keeper.stop("Turnout is stopping") for keeper in self._followed.values()))

    def views(self) -> tuple[StreamView, ...]:
        return tuple(keeper.view() for keeper in self._followed.values())


def signature(rules: Rules, cluster: str) -> object:
    """What a stream process depends on."""
    entry = rules.clusters[cluster]
    tables = tuple(
        (table.database, table.name, table.cache)
        for table in rules.cached_tables
        if cluster in (table.sharding.clusters if table.sharding else (table.cluster,))
    )
    databases = frozenset(table.database.lower() for table in rules.cached_tables)
    how = (entry.tls, entry.proxy_protocol)
    return entry.primary, how, entry.service or rules.service, rules.health, tables, databases


class _Keeper:
    """Has a stream process for one cluster until it is stopped."""

    def __init__(
        self,
        clocks: Clocks,
        source: int,
        cluster: str,
        meaning: object,
        command: Sequence[str],
        nursery: Nursery,
    ) -> None:
        self.source = source
        self.cluster = cluster
        self.signature = meaning
        self.rules = b""
        self.clock: SourceClock = clocks.source(source)
        self._fd = clocks.fd
        self._command = command
        self._nursery = nursery
        self._task: asyncio.Task[None] | None = None
        self._process: ChildProcess | None = None
        self._link: Link | None = None
        self._silent_s = 0
        self._stopping = asyncio.Event()
        self._state: wire.StreamState | None = None
        self._totals = dict.fromkeys(
            ("connected", "events", "rows", "transactions", "unknown", "incarnations", "cpu_us"), 0
        )
        self._restarts = 0

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name=f"stream of {self.cluster}")
            self._task.add_done_callback(_log_defect)

    async def stop(self, reason: str) -> None:
        """End the process, wait for its death, and stop the clock."""
        self._stopping.set()
        self._kill()
        if self._task is not None:
            await asyncio.wait([self._task])
        self.clock.stop(reason)

    async def _keep(self) -> None:
        crashes = 0
        while not self._stopping.is_set():
            born = time.monotonic()
            try:
                await self._spawn()
            except OSError as error:  # no memory, no process, no descriptor: perhaps for a moment only
                self._kill()
                self.clock.stop(f"the stream process could not be started: {error}")
                log.error("no stream process", extra={"cluster": self.cluster, "error": str(error)})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _LONGEST_PAUSE_S)
                continue
            assert self._process is not None
            watch = asyncio.create_task(self._watch_silence(), name="watch a stream process")
            code = await self._process.wait()
            watch.cancel()
            if self._link is not None:
                self._link.close()
            self.clock.stop("the stream process is being replaced")
            self._count_in()
            if self._stopping.is_set():
                return
            self._restarts += 1
            crashes = crashes + 1 if time.monotonic() - born < _SOON_S else 0
            pause_s = min(0.1 * 2 ** (crashes - 1), _LONGEST_PAUSE_S) if crashes else 0.0
            log.error(
                "stream process ended, starting another",
                extra={"cluster": self.cluster, "pid": self._process.pid, **exit_fields(code), "after_s": pause_s},
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s or 0.001)

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        link = Link(self)
        try:
            self._process = await self._nursery.spawn(
                self._command, {"--link-fd": theirs.fileno(), "--clocks-fd": self._fd}
            )
            ours.setblocking(False)
            await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._link = link
        self._silent_s = 0
        log.info("stream process started", extra={"cluster": self.cluster, "pid": self._process.pid})
        link.send(wire.Follow(self.rules, self.cluster, self.source))
        if self._stopping.is_set():
            self._kill()

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._silent_s += 1  # counted, not timed: time in which we were stopped ourselves says nothing
            if self._silent_s > SILENT_S:
                log.error("stream process is stuck, killing it", extra={"cluster": self.cluster})
                self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    def _count_in(self) -> None:
        """What the process counted stays counted when it is replaced."""
        state, self._state = self._state, None
        if state is not None:
            for name in self._totals:
                self._totals[name] += getattr(state, name)

    def view(self) -> StreamView:
        state = self._state
        counters = {name: n + (getattr(state, name) if state else 0) for name, n in self._totals.items()}
        following = self.clock.incarnation != 0
        t0 = self.clock.t0
        return StreamView(
            cluster=self.cluster,
            pid=self._process.pid if self._process is not None and self._process.returncode is None else 0,
            following=following,
            reason=self.clock.reason if not following else "",
            lag_s=(time.perf_counter_ns() - t0) / 1e9 if following and t0 else None,
            applied=self.clock.applied,
            visible=self.clock.visible,
            restarts=self._restarts,
            memory_bytes=state.memory_bytes if state else 0,
            counters=counters,
        )

    # -- Receiver --------------------------------------------------------------------------------------------------

    def received(self, link: Link, message: wire.Message) -> None:
        if link is not self._link:
            return
        self._silent_s = 0
        if isinstance(message, wire.StreamState):
            self._state = message
        else:
            log.error("unexpected message from a stream process", extra={"type": type(message).__name__})

    def closed(self, link: Link) -> None:
        """The process is ending; `_keep` waits for it."""


def _log_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("defect: a stream is no longer kept", exc_info=task.exception())
