"""The workers of one supervisor: started, replaced when they die, told about rules, drained."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace

from proxy.admin.overview import WorkerView
from proxy.cli import link as wire
from proxy.cli.link import Link, LinkBroken
from proxy.cli.nursery import ChildProcess, Nursery
from proxy.errors import TurnoutError
from proxy.measure.states import SequenceState, SessionState
from proxy.measure.windows import Window

log = logging.getLogger("turnout.supervisor")

SLOTS = 64  # a connection id modulo this is the slot of its worker
ANSWER_S = 10.0  # how long a worker may take to answer; it answers from memory
SILENT_S = 30  # a worker without a word for so long is stuck, and so are its clients: it is replaced
SOON_S = 10.0  # a worker that lived shorter than this crashed "at once"
MAX_BACKOFF_S = 10.0
GIVE_UP_AFTER = 4  # crashes in a row before the first worker ever was ready


@dataclass(frozen=True, slots=True)
class Orders:
    """What all workers are told at their start."""

    rules: bytes  # see proxy.rules.packed
    host: str
    port: int
    listen_fd: int | None  # a Unix socket that they accept from, instead of host and port
    clocks_fd: int = -1
    sources: dict[str, int] = field(default_factory=dict)  # cluster -> its clock


class CannotStart(TurnoutError):
    """Turnout, or any of its workers, cannot be started; the message is for the operator."""


class Child:
    """One worker process and the link to it."""

    def __init__(self, crew: Crew, slot: int) -> None:
        self.crew = crew
        self.slot = slot
        self.link = Link(self)
        self.process: ChildProcess | None = None
        self.started = time.time()
        self.silent_s = 0
        self.state = "starting"
        self.failure = ""
        self.snapshot: wire.Snapshot | None = None
        self.told: Orders | None = None  # what it has; None: it will be told the newest when it can be told anything

    async def spawn(self, command: Sequence[str], slots: int) -> None:
        orders = self.crew.orders
        ours, theirs = socket.socketpair()
        fds = {"--link-fd": theirs.fileno()}
        if orders.listen_fd is not None:
            fds["--listen-fd"] = orders.listen_fd
        if orders.clocks_fd >= 0:
            fds["--clocks-fd"] = orders.clocks_fd
        try:
            self.process = await self.crew.nursery.spawn(command, fds)
            ours.setblocking(False)
            await asyncio.get_running_loop().create_unix_connection(lambda: self.link, sock=ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        orders = self.crew.orders  # they may have changed meanwhile
        self.told = orders
        self.link.send(wire.Start(orders.rules, self.slot, slots, orders.host, orders.port, orders.sources))

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    # -- Receiver --------------------------------------------------------------------------------------------------

    def received(self, link: Link, message: wire.Message) -> None:
        self.silent_s = 0
        match message:
            case wire.Snapshot():
                self.snapshot = message
                self.crew.on_window(message.window)
            case wire.Ready():
                self.state = "ready"
                self.crew.on_ready(self)
            case wire.Failed(message=problem):
                self.failure = problem
            case wire.Drained():
                self.state = "draining"
            case wire.Show():
                self.crew.spawn_task(self._answer_show(link, message), "answer a worker's SHOW TURNOUT")
            case wire.Kill():
                self.crew.spawn_task(self._answer_kill(link, message), "forward a KILL")
            case wire.Refresh():
                self.crew.spawn_task(self._answer_refresh(link, message), "tell workers of changed schemas")
            case _:
                log.error("unexpected message from a worker", extra={"slot": self.slot, "type": type(message).__name__})

    def closed(self, link: Link) -> None:
        self.state = "draining"
        # Without its link a worker drains by itself; one that was only stuck in closing it is noticed by its silence.

    async def _answer_show(self, link: Link, request: wire.Show) -> None:
        link.send(await self.crew.show(request))

    async def _answer_kill(self, link: Link, request: wire.Kill) -> None:
        problem = await self.crew.kill(request)
        link.send(wire.Outcome(request.id, problem))

    async def _answer_refresh(self, link: Link, request: wire.Refresh) -> None:
        await self.crew.refresh(self)
        link.send(wire.Outcome(request.id))


class Crew:
    """See the module. `on_window` gets every window; `show` answers workers' SHOW TURNOUT."""

    def __init__(
        self,
        size: int,
        orders: Orders,
        on_window: Callable[[Window], None],
        answer_show: Callable[[wire.Show], Awaitable[wire.Rows]],
        command: Sequence[str],
        nursery: Nursery,
    ) -> None:
        self.size = size
        self.orders = orders
        self.on_window = on_window
        self._answer_show = answer_show
        self._command = command
        self.nursery = nursery
        self._children: list[Child | None] = [None] * size
        self._restarts = [0] * size
        self._keepers: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._stopping = asyncio.Event()
        self._moved = asyncio.Event()  # a worker has other rules than before, or is gone
        self.all_ready = asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ever_ready = False

    # -- lives -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._keepers = [asyncio.create_task(self._keep(slot), name=f"worker {slot}") for slot in range(self.size)]
        for keeper in self._keepers:
            keeper.add_done_callback(self._keeper_ended)
        self.spawn_task(self._watch_silence(), "watch for silent workers")

    def spawn_task(self, work: Coroutine[object, object, object], what: str) -> None:
        """Run a coroutine on the side: kept until it ends, logged when it fails."""
        task = asyncio.create_task(work, name=what)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("could not " + task.get_name(), exc_info=error)

    def _keeper_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def _keep(self, slot: int) -> None:
        """Have a worker in this slot until the end."""
        crashes = 0
        while not self._stopping.is_set():
            child = self._children[slot] = Child(self, slot)
            born = time.monotonic()
            await child.spawn(self._command, self.size)
            assert child.process is not None
            log.info("worker started", extra={"slot": slot, "pid": child.process.pid})
            code = await child.process.wait()
            child.link.close()
            lived = time.monotonic() - born
            self._children[slot] = None
            self._moved.set()
            if self._stopping.is_set():
                log.info("worker stopped", extra={"slot": slot, **exit_fields(code)})
                return
            if child.failure and not self._ever_ready:
                raise CannotStart(child.failure)
            self._restarts[slot] += 1
            # A worker that lived for a while and then died is replaced at once; one that dies right away is not worth
            # the processor time of starting it over and over.
            crashes = crashes + 1 if lived < SOON_S else 0
            if not self._ever_ready and crashes >= GIVE_UP_AFTER:
                raise CannotStart(f"The worker processes end as soon as they start ({exit_text(code)}): see the log.")
            delay_s = min(0.1 * 2 ** (crashes - 1), MAX_BACKOFF_S) if crashes else 0.0
            log.error(
                "worker ended, starting another",
                extra={
                    "slot": slot,
                    "pid": child.process.pid,
                    **exit_fields(code),
                    "lived_s": round(lived, 1),
                    "after_s": delay_s,
                    **({"reason": child.failure} if child.failure else {}),
                },
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s or 0.001)

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for child in self._children:
                if child is None or child.process is None or child.state == "draining":
                    continue
                child.silent_s += 1  # counted, not timed: time in which we were stopped ourselves says nothing
                if child.silent_s > SILENT_S:
                    log.error("worker is stuck, killing it", extra={"slot": child.slot, "silent_s": child.silent_s})
                    child.kill()
                    child.silent_s = 0

    def on_ready(self, child: Child) -> None:
        self._ever_ready = True
        log.info("worker ready", extra={"slot": child.slot})
        if child.told is not self.orders:  # the rules changed while it was starting
            self.spawn_task(self._give_rules([child]), "give a new worker the newest rules")
        if all(one is not None and one.state == "ready" for one in self._children):
            self.all_ready.set()

    async def drain(self, deadline_s: float) -> None:
        """Stop all workers, gracefully until the deadline, and wait until they are gone."""
        self._stopping.set()
        for child in self._children:
            if child is not None:
                child.link.send(wire.Drain(deadline_s))
        # Past their own deadline workers need a moment to say error 1053 to the rest.
        _, late = await asyncio.wait(self._keepers, timeout=deadline_s + 5.0)
        if late:
            self.kill_all()
            await asyncio.wait(late, timeout=5.0)
        await self._end_tasks()

    def kill_all(self) -> None:
        """Stop at once."""
        self._stopping.set()
        for child in self._children:
            if child is not None:
                child.kill()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- questions and orders --------------------------------------------------------------------------------------

    def views(self) -> tuple[WorkerView, ...]:
        return tuple(self._view(slot) for slot in range(self.size))

    def _view(self, slot: int) -> WorkerView:
        child = self._children[slot]
        if child is None or child.process is None:
            return WorkerView(slot, restarts=self._restarts[slot])
        snapshot = child.snapshot
        return WorkerView(
            slot,
            child.process.pid,
            child.state,
            child.started,
            self._restarts[slot],
            snapshot.window.gauges if snapshot else {},
            snapshot.memory_bytes if snapshot else 0,
            snapshot.servers if snapshot else [],
        )

    async def show(self, request: wire.Show) -> wire.Rows:
        return await self._answer_show(request)

    async def sessions(self) -> list[SessionState]:
        """Of all workers that answer in time; a worker that is just dying has none."""
        answers = await self._answers(wire.AskSessions)
        return [state for answer in answers if isinstance(answer, wire.Sessions) for state in answer.sessions]

    async def sequences(self) -> list[SequenceState]:
        """The same."""
        answers = await self._answers(wire.AskSequences)
        return [state for answer in answers if isinstance(answer, wire.Sequences) for state in answer.sequences]

    async def _answers(self, question: Callable[[int], wire.Message]) -> list[wire.Answer]:
        asked = (child.link.ask(question, ANSWER_S) for child in self._reachable())
        answers = []
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if not isinstance(answer, BaseException):
                answers.append(answer)
            elif not isinstance(answer, (LinkBroken, TimeoutError)):
                raise answer
        return answers

    async def kill(self, request: wire.Kill) -> str:
        """Forward to the worker that owns the id: "" when done, "unknown" or "denied"."""
        slot = request.connection_id % SLOTS
        child = self._children[slot] if slot < self.size else None
        if child is None or not child.link.is_open:
            return "unknown"
        try:
            answer = await child.link.ask(
                lambda id: wire.Kill(id, request.connection_id, request.query_only, request.user, request.admin),
                ANSWER_S,
            )
        except LinkBroken:  # it just died, and the session with it
            return "unknown"
        assert isinstance(answer, wire.Outcome)
        return answer.problem

    async def refresh(self, asking: Child) -> None:
        """Let all other workers read the schemas again. One that does not answer in time does so by itself, later."""
        others = [child for child in self._reachable() if child is not asking]
        answers = await asyncio.gather(*(c.link.ask(wire.Refresh, ANSWER_S) for c in others), return_exceptions=True)
        for child, answer in zip(others, answers, strict=True):
            if isinstance(answer, LinkBroken):
                continue
            if isinstance(answer, BaseException) and not isinstance(answer, TimeoutError):
                raise answer
            if not isinstance(answer, wire.Outcome) or answer.problem:
                log.warning("worker could not read schemas", extra={"slot": child.slot, "reason": str(answer)})

    async def reload(self, rules: bytes, sources: dict[str, int]) -> list[str]:
        """Give all workers these (packed) rules, later ones too. Returns what went wrong; a worker that could not take
        rules that the supervisor found valid is drained, and replaced by one that starts with them."""
        self.orders = replace(self.orders, rules=rules, sources=sources)
        return await self._give_rules(self._reachable())

    async def settled(self) -> None:
        """Wait until every worker that lives has the newest rules: those that were just starting get them when they are
        ready, those that could not take them, or are draining, have to be gone."""
        while any(child is not None and child.told not in (None, self.orders) for child in self._children):
            self._moved.clear()
            await self._moved.wait()

    async def _give_rules(self, children: list[Child]) -> list[str]:
        orders = self.orders
        answers = await asyncio.gather(
            *(child.link.ask(lambda id: wire.Reload(id, orders.rules, orders.sources), ANSWER_S) for child in children),
            return_exceptions=True,
        )
        problems = []
        for child, answer in zip(children, answers, strict=True):
            if isinstance(answer, wire.Outcome) and not answer.problem:
                child.told = orders
                self._moved.set()
                continue
            if isinstance(answer, LinkBroken):  # it died meanwhile: the next one starts with the new rules
                continue
            if isinstance(answer, TimeoutError):
                problem = "no answer"
            elif isinstance(answer, wire.Outcome):
                problem = answer.problem
            elif isinstance(answer, BaseException):
                raise answer
            else:
                problem = f"answered {type(answer).__name__}"
            problems.append(f"worker {child.slot}: {problem}; it is being replaced")
            child.state = "draining"
            if isinstance(answer, TimeoutError):
                child.kill()  # it does not even hear that it should drain
            else:
                child.link.send(wire.Drain(ANSWER_S))
        return problems

    def _reachable(self) -> list[Child]:
        return [
            child for child in self._children if child is not None and child.state == "ready" and child.link.is_open
        ]


def exit_fields(code: int) -> dict[str, object]:
    return {"signal": signal_name(-code)} if code < 0 else {"exit_code": code}


def exit_text(code: int) -> str:
    return f"signal {signal_name(-code)}" if code < 0 else f"exit code {code}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
