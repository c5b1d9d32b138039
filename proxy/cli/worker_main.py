"""A worker process: started by the supervisor, told everything over the link, gone when the link is.

python -m proxy.cli.worker_main --link-fd N [--listen-fd M] [--log-level ..] [--log-format ..]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import uvloop

from proxy.admin.explain import explain
from proxy.cache.clocks import Clocks
from proxy.cli import link as wire
from proxy.cli.link import Link, LinkBroken
from proxy.cli.listening import open_shared
from proxy.cli.process_name import name_process
from proxy.cli.scheduling import schedule
from proxy.errors import StatementRefused, TurnoutError
from proxy.measure import log as logs
from proxy.measure.measures import Measures
from proxy.measure.memory import resident_bytes
from proxy.measure.peers import Described, Peers, Rows
from proxy.measure.states import SequenceState, ServerState, SessionState
from proxy.rules.model import Rules
from proxy.rules.packed import unpack

log = logging.getLogger("turnout.worker")

SNAPSHOT_S = 1.0
ANSWER_S = 15.0  # of the supervisor, which may itself have to ask all workers


class WorkerLike(Protocol):
    """`proxy.front.worker.Worker`, as far as this process's life needs it."""

    peers: Peers | None
    clocks: Clocks | None
    sources: dict[str, int]

    async def start(self, listener: socket.socket, /) -> None: ...

    def reload(self, rules: Rules, /) -> None: ...

    def sessions(self) -> list[SessionState]: ...

    async def sequences(self) -> list[SequenceState]: ...

    def clusters(self) -> list[ServerState]: ...

    def kill(self, connection_id: int, query_only: bool, user: str, admin: bool) -> str: ...

    async def refresh(self) -> None: ...

    async def drain(self, deadline_s: float, /) -> None: ...


T = TypeVar("T")
MakeWorker = Callable[[Rules, int, int, Measures], WorkerLike]


class LinkPeers:
    """The other workers and the supervisor, through the link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def show(self, what: str) -> tuple[list[str], Rows]:
        answer = await self._ask(lambda id: wire.Show(id, what))
        assert isinstance(answer, wire.Rows)
        if answer.problem:
            raise StatementRefused(answer.problem, reason="show")
        return answer.columns, answer.rows

    def explain(self, plan: Described) -> tuple[list[str], Rows]:
        return explain(plan)

    async def kill(self, connection_id: int, query_only: bool, user: str, admin: bool) -> str:
        answer = await self._ask(lambda id: wire.Kill(id, connection_id, query_only, user, admin))
        assert isinstance(answer, wire.Outcome)
        return answer.problem

    async def refresh(self) -> None:
        await self._ask(wire.Refresh)

    async def _ask(self, make: Callable[[int], wire.Message]) -> wire.Answer:
        try:
            return await self._link.ask(make, ANSWER_S)
        except (LinkBroken, TimeoutError) as error:
            raise TurnoutError("Turnout's supervisor does not answer: try again, or see its log") from error


class WorkerProcess:
    """The life of this process, from its first message to its exit."""

    def __init__(self, make_worker: MakeWorker, listen_fd: int | None, clocks: Clocks | None) -> None:
        self._make_worker = make_worker
        self._clocks = clocks
        self._listen_fd = listen_fd
        self._link = Link(self)
        self._start: asyncio.Future[wire.Start] = asyncio.get_running_loop().create_future()
        self._end: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()  # the drain's deadline
        self._worker: WorkerLike | None = None
        self._measures = Measures()
        self._rules: Rules | None = None
        self._cpu_us = 0
        self._started = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, link_fd: int) -> int:
        """Returns the exit code."""
        loop = asyncio.get_running_loop()
        channel = socket.socket(fileno=link_fd)
        channel.setblocking(False)
        await loop.create_unix_connection(lambda: self._link, sock=channel)
        loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        for number in (signal.SIGINT, signal.SIGHUP):  # the supervisor's business
            loop.add_signal_handler(number, lambda: None)
        if not await self._before_end(self._start):
            return 0
        snapshots = asyncio.create_task(self._send_snapshots(), name="snapshots")
        try:
            return await self._live(self._start.result())
        finally:
            snapshots.cancel()
            self._link.close()
            await self._flushed()

    async def _live(self, start: wire.Start) -> int:
        logs.add_common(worker=start.slot)
        starting = asyncio.create_task(self._begin(start), name="start")
        try:
            if not await self._before_end(starting):
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                return 0
            starting.result()
        except (OSError, TurnoutError) as error:
            log.error("worker cannot start", exc_info=error)
            self._link.send(wire.Failed(str(error)))
            return 1
        self._link.send(wire.Ready(os.getpid()))
        deadline_s = await self._end
        assert self._worker is not None
        assert self._rules is not None
        await self._worker.drain(self._rules.limits.drain_s if deadline_s is None else deadline_s)
        self._send_snapshot()
        self._link.send(wire.Drained())
        return 0

    async def _before_end(self, future: asyncio.Future[T]) -> bool:
        """Wait for it; False when this process was told to end first."""
        waited: list[asyncio.Future[Any]] = [future, self._end]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        return not self._end.done()

    async def _begin(self, start: wire.Start) -> None:
        self._rules = unpack(start.rules)
        schedule(self._rules.scheduling)
        worker = self._make_worker(self._rules, start.slot, start.slots, self._measures)
        worker.peers = LinkPeers(self._link)
        worker.clocks = self._clocks
        worker.sources = start.sources
        if self._listen_fd is not None:
            listener = socket.socket(fileno=self._listen_fd)
        else:
            listener = open_shared(start.host, start.port)
        self._worker = worker
        await worker.start(listener)
        self._started = True

    async def _flushed(self) -> None:
        """Wait until the last messages are out, at most a second."""
        for _ in range(100):
            if not self._link.is_flushing:
                return
            await asyncio.sleep(0.01)

    def _on_sigterm(self) -> None:
        if self._end.done():
            log.warning("second SIGTERM, ending at once")
            os._exit(1)
        self._end.set_result(None)

    # -- Receiver --------------------------------------------------------------------------------------------------

    def received(self, link: Link, message: wire.Message) -> None:
        match message:
            case wire.Start():
                self._start.set_result(message)
            case wire.Reload():
                link.send(wire.Outcome(message.id, self._reload(message)))
            case wire.AskSessions():
                link.send(wire.Sessions(message.id, self._sessions()))
            case wire.AskSequences():
                self._spawn(self._send_sequences(link, message), "sequences")
            case wire.Kill():
                problem = "unknown"
                if self._worker is not None:
                    problem = self._worker.kill(message.connection_id, message.query_only, message.user, message.admin)
                link.send(wire.Outcome(message.id, problem))
            case wire.Refresh():
                self._spawn(self._refresh(link, message), "refresh")
            case wire.Drain():
                if not self._end.done():
                    self._end.set_result(message.deadline_s)
            case _:
                log.error("unexpected message from the supervisor", extra={"type": type(message).__name__})

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def closed(self, link: Link) -> None:
        if not self._end.done():
            log.warning("the supervisor is gone, draining")
            self._end.set_result(None)

    def _reload(self, message: wire.Reload) -> str:
        if self._worker is None or not self._started:
            return "not started yet"
        try:
            rules = unpack(message.rules)
            before, self._worker.sources = self._worker.sources, message.sources
            try:
                self._worker.reload(rules)
            except BaseException:
                self._worker.sources = before
                raise
        except Exception as error:  # whatever it is, the supervisor has to know that this worker has the old rules
            log.exception("defect: cannot take new rules")
            return logs.describe(error)
        self._rules = rules
        schedule(rules.scheduling)
        return ""

    async def _refresh(self, link: Link, message: wire.Refresh) -> None:
        problem = ""
        if self._worker is not None and self._started:  # one that just starts reads them anyway
            try:
                await self._worker.refresh()
            except Exception as error:  # the worker that asked has to have an answer
                log.exception("defect: cannot read schemas")
                problem = logs.describe(error)
        link.send(wire.Outcome(message.id, problem))

    def _sessions(self) -> list[SessionState]:
        if self._worker is None:
            return []
        found = self._worker.sessions()
        for session in found:
            session.worker = self._start.result().slot
        return found

    async def _send_sequences(self, link: Link, message: wire.AskSequences) -> None:
        found: list[SequenceState] = []
        try:
            if self._worker is not None:
                found = await self._worker.sequences()
        except Exception:  # whoever asked has to have an answer
            log.exception("defect: cannot tell of sequences")
        link.send(wire.Sequences(message.id, found))

    async def _send_snapshots(self) -> None:
        while True:
            try:
                self._send_snapshot()
            except Exception:  # numbers are not worth clients' connections; the log says what is wrong
                log.exception("defect: cannot send numbers")
            await asyncio.sleep(SNAPSHOT_S)

    def _send_snapshot(self) -> None:
        if self._link.is_full or not self._link.is_open:
            return  # nothing is lost: the numbers stay where they are until the next window
        window = self._measures.take()
        cpu_us = int(time.process_time() * 1e6)
        window.counters["cpu_us"] = cpu_us - self._cpu_us
        self._cpu_us = cpu_us
        servers = self._worker.clusters() if self._worker is not None else []
        self._link.send(wire.Snapshot(window, servers, resident_bytes()))


def run(make_worker: MakeWorker, argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A worker of Turnout; started by `turnout serve`.")
    parser.add_argument("--link-fd", type=int, required=True)
    parser.add_argument("--listen-fd", type=int)
    parser.add_argument("--clocks-fd", type=int)
    parser.add_argument("--log-level", choices=logs.LEVELS, default="info")
    parser.add_argument("--log-format", choices=logs.FORMATS, default="auto")
    options = parser.parse_args(argv)
    logs.configure(options.log_level, options.log_format)
    name_process("turnout-worker")

    async def live() -> int:
        clocks = Clocks.open(options.clocks_fd) if options.clocks_fd is not None else None
        return await WorkerProcess(make_worker, options.listen_fd, clocks).run(options.link_fd)

    return uvloop.run(live())


def main() -> int:
    from proxy.front.worker import Worker

    return run(Worker)


if __name__ == "__main__":
    sys.exit(main())
