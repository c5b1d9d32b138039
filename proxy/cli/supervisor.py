"""`turnout serve`: the supervisor process. It reads the rules, keeps the workers, adds up their numbers and shows them.

It talks no MySQL. Signals: SIGHUP reloads; SIGTERM or SIGINT stops gracefully, and a second one at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy.admin.http import application
from proxy.admin.overview import Overview, servers
from proxy.admin.show import show
from proxy.cache.clocks import Clocks
from proxy.cli import link as wire
from proxy.cli import notify
from proxy.cli.control import Control, place
from proxy.cli.crew import SLOTS, CannotStart, Crew, Orders
from proxy.cli.keeper import Keeper
from proxy.cli.listening import reserve
from proxy.cli.nursery import Nursery
from proxy.cli.streams import STREAM_COMMAND, Streams
from proxy.cli.version import version
from proxy.cli.watch import Watch, signature
from proxy.errors import TurnoutError
from proxy.measure.recent import Recent
from proxy.measure.totals import Totals
from proxy.measure.windows import Window
from proxy.rules.diff import Severity, diff
from proxy.rules.loader import load
from proxy.rules.model import Address, Rules
from proxy.rules.packed import pack
from proxy.rules.problem import RulesInvalid
from proxy.rules.warning import warnings

log = logging.getLogger("turnout.supervisor")

STOPPED, FAILED, CUT = 0, 1, 3  # exit codes: gracefully; could not start or go on; stopped at once by a second signal
POLL_S = 1.0  # between looks at the rules file
WORKER_COMMAND = (sys.executable, "-m", "proxy.cli.worker_main")
IMPORTED = ("proxy.cli.worker_main", "proxy.cli.stream_main", "proxy.front.worker")  # what their processes need


class Supervisor:
    """One `turnout serve`. `run` returns the exit code."""

    def __init__(
        self,
        path: Path,
        worker_command: Sequence[str] = WORKER_COMMAND,
        stream_command: Sequence[str] = STREAM_COMMAND,
        nursery: Nursery | None = None,
    ) -> None:
        self.path = path
        self._stream_command = stream_command
        self._worker_command = worker_command
        self._nursery = nursery or Nursery()
        self._started = self._loaded = time.time()
        self._reloads_ok = self._reloads_failed = 0
        self._last_problem = ""
        self._stopping = False
        self._signals = 0
        self._stop = asyncio.Event()
        self._cut = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._file = Watch(path)
        self._certificates: dict[Path, Watch] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self.mysql = self.http = Address()
        self._recent = Recent()
        self._keeper: Keeper | None = None  # of the history, where the rules ask for one

    async def run(self) -> int:
        """Serve until a signal. Raises RulesInvalid, CannotListen, CannotStart or another TurnoutError at the start."""
        rules = load(self.path)
        if rules.workers > SLOTS:
            raise CannotStart(f"`workers: {rules.workers}` is too many: at most {SLOTS}")
        self.rules = self._first_rules = rules
        self._watch_certificates(rules)
        self.totals = Totals(rules.limits.shapes)
        for warning in warnings(rules):
            log.warning("rules", extra={"problem": str(warning)})
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            for number, handler in (
                (signal.SIGTERM, self._on_stop),
                (signal.SIGINT, self._on_stop),
                (signal.SIGHUP, self._on_hangup),
            ):
                loop.add_signal_handler(number, handler)
                stack.callback(loop.remove_signal_handler, number)
            reserved = stack.enter_context(reserve(rules.listen.mysql))
            if rules.listen.mysql.path:
                stack.callback(Path(rules.listen.mysql.path).unlink, missing_ok=True)
            self.mysql = bound(reserved)
            control = Control(place(self.path), self._answer_show, self._answer_reload)
            await self._start_control(control)
            stack.callback(control.close)
            clocks = Clocks.create(rules.workers)
            stack.callback(os.close, clocks.fd)
            self.streams = Streams(clocks, self._stream_command, self._nursery)
            await self.streams.stop_changed(rules)
            stack.push_async_callback(self.streams.stop)
            self.crew = Crew(
                rules.workers,
                self._orders(rules, reserved, clocks),
                self._on_window,
                self._answer_show,
                self._worker_command,
                self._nursery,
            )
            await self._start_http(rules, stack)
            if rules.history is not None:
                keeper = Keeper(rules.history.file, rules.limits.shapes, lambda: servers(self.crew.views()))
                await keeper.open()
                self._keeper = keeper
                stack.push_async_callback(keeper.close)  # the last numbers are in when the workers have ended
                self._spawn(keeper.run(), "keep the history")
            self.crew.start()
            self.streams.start_new(rules)
            log.info(
                "serving",
                extra={
                    "rules": str(self.path),
                    "mysql": str(self.mysql),
                    "http": str(self.http) if rules.listen.http else "",
                    "control": str(control.path),
                    "workers": rules.workers,
                    "pid": os.getpid(),
                },
            )
            self._spawn(self._announce(), "announce")
            self._spawn(self._watch(), "watch the rules file")
            return await self._until_stopped()

    async def _until_stopped(self) -> int:
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        waited: list[asyncio.Future[Any]] = [stop, self.crew.failed]
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self.crew.failed.done():
                self.crew.kill_all()
                await self.crew.drain(0.0)
                self.crew.failed.result()
            return await self._stop_gracefully()
        finally:
            stop.cancel()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop_gracefully(self) -> int:
        """Readiness has failed already; now no new clients, then no old ones."""
        deadline_s = self.rules.limits.drain_s
        log.info("stopping", extra={"drain_s": deadline_s})
        notify.stopping()
        drain = asyncio.create_task(self.crew.drain(deadline_s), name="drain")
        cut = asyncio.create_task(self._cut.wait(), name="cut")
        await asyncio.wait([drain, cut], return_when=asyncio.FIRST_COMPLETED)
        if not drain.done():
            log.warning("stopping at once")
            self.crew.kill_all()
        await drain
        cut.cancel()
        log.info("stopped", extra={"statements": self.totals.statements})
        return CUT if self._cut.is_set() else STOPPED

    # -- starting --------------------------------------------------------------------------------------------------

    def _orders(self, rules: Rules, reserved: socket.socket, clocks: Clocks) -> Orders:
        shared = reserved.fileno() if self.mysql.path else None
        host, port = self.mysql.host, self.mysql.port
        return Orders(pack(rules), host, port, shared, clocks.fd, self.streams.sources)

    async def _start_control(self, control: Control) -> None:
        try:
            await control.start()
        except OSError as error:
            raise CannotStart(
                f"Another Turnout serves {self.path} already, or its control socket {control.path} cannot be made: "
                f"{error.strerror or error}"
            ) from error

    async def _start_http(self, rules: Rules, stack: contextlib.AsyncExitStack) -> None:
        address = rules.listen.http
        if address is None:
            return
        reserved = reserve(address)  # for its messages; an HTTP port is not shared
        self.http = bound(reserved)
        runner = web.AppRunner(application(self.overview, self.http), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.SockSite(runner, reserved)
        await site.start()
        if address.path:
            stack.callback(Path(address.path).unlink, missing_ok=True)

    async def _announce(self) -> None:
        await self.crew.all_ready.wait()
        log.info("ready", extra={"mysql": str(self.mysql)})
        notify.ready()

    # -- signals ---------------------------------------------------------------------------------------------------

    def _on_stop(self) -> None:
        self._signals += 1
        self._stopping = True
        self._stop.set()
        if self._signals > 1:
            self._cut.set()

    def _on_hangup(self) -> None:
        self._spawn(self.reload("SIGHUP"), "reload")

    def _spawn(self, work: Coroutine[object, object, object], what: str) -> None:
        """Run a coroutine on the side: kept until it ends, logged when it fails."""
        task = asyncio.create_task(work, name=what)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("defect: could not " + task.get_name(), exc_info=error)

    # -- rules -----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            renewed = [path for path, watch in self._certificates.items() if watch.poll()]
            if self._file.poll():
                await self.reload("file changed")
            elif renewed:
                await self.reload(f"{renewed[0]} changed")

    def _watch_certificates(self, rules: Rules) -> None:
        known = self._certificates
        self._certificates = {path: known.get(path) or Watch(path) for path in rules.tls_files}

    async def reload(self, why: str) -> wire.Outcome:
        """Read the rules again and give them to all workers; a bad file changes nothing."""
        async with self._reloading:
            self._file.accept(signature(self.path))
            try:
                rules = load(self.path)
            except RulesInvalid as error:
                return self._refused(why, [str(problem) for problem in error.problems])
            changes = [*diff(self.rules, rules)]
            waiting = [change for change in diff(self._first_rules, rules) if change.severity is Severity.RESTART]
            notify.reloading()
            await self.streams.stop_changed(rules)
            problems = await self.crew.reload(pack(rules), self.streams.sources)
            self._spawn(self._follow(rules, self.crew.orders), "follow what the rules cache")
            self.rules = rules
            self._watch_certificates(rules)
            self.totals.max_shapes = rules.limits.shapes
            if self._keeper is not None:
                self._keeper.max_shapes = rules.limits.shapes
            before, self._loaded = self._loaded, time.time()
            self._reloads_ok += 1
            self._last_problem = ""
            notes = [str(change) for change in changes if change.severity is not Severity.RESTART]
            notes += [str(change) for change in waiting]
            if not changes:
                since = datetime.datetime.fromtimestamp(before).strftime("%Y-%m-%d %H:%M:%S")
                notes.append(f"They are the rules that have been in force since {since}.")
            for change in changes:
                if change.severity is not Severity.RESTART:
                    log.info("rules changed", extra={"where": change.where, "change": change.message})
            for change in waiting:
                log.warning("rules need a restart", extra={"where": change.where, "change": change.message})
            for warning in warnings(rules):
                log.warning("rules", extra={"problem": str(warning)})
            for problem in problems:
                log.error("a worker did not take the new rules", extra={"problem": problem})
            log.info("rules reloaded", extra={"why": why, "changes": len(changes), "rules": str(self.path)})
            notify.ready()
            return wire.Outcome(0, "", [*notes, *problems])

    async def _follow(self, rules: Rules, orders: Orders) -> None:
        """Start new stream processes once no worker is left that would mark its writes elsewhere."""
        await self.crew.settled()
        if self.crew.orders is orders:  # else there are newer ones, which are on their way
            self.streams.start_new(rules)

    def _refused(self, why: str, problems: list[str]) -> wire.Outcome:
        self._reloads_failed += 1
        self._last_problem = " | ".join(problems) or "unknown"
        for problem in problems:
            log.error("rules refused", extra={"why": why, "problem": problem})
        log.error("the rules in force stay as they were", extra={"problems": len(problems), "rules": str(self.path)})
        return wire.Outcome(0, "\n".join(problems))

    # -- numbers and answers ---------------------------------------------------------------------------------------

    def _on_window(self, window: Window) -> None:
        now = time.time()
        self.totals.add(window, now)
        self._recent.add(window, now)
        if self._keeper is not None:
            self._keeper.add(window)

    def overview(self) -> Overview:
        return Overview(
            rules=self.rules,
            totals=self.totals,
            workers=self.crew.views(),
            sessions=self.crew.sessions,
            sequences=self.crew.sequences,
            started=self._started,
            now=time.time(),
            version=version(),
            mysql=str(self.mysql),
            http=str(self.http) if self.rules.listen.http else "",
            rules_loaded=self._loaded,
            reloads_ok=self._reloads_ok,
            reloads_failed=self._reloads_failed,
            last_problem=self._last_problem,
            began=self.crew.all_ready.is_set(),
            stopping=self._stopping,
            streams=self.streams.views(),
            recent=self._recent,
            history=self._first_rules.history.file if self._keeper is not None and self._first_rules.history else None,
        )

    async def _answer_show(self, request: wire.Show) -> wire.Rows:
        try:
            columns, rows = await show(request.what, self.overview())
        except TurnoutError as error:
            return wire.Rows(request.id, [], [], error.message)
        return wire.Rows(request.id, columns, rows)

    async def _answer_reload(self, request: wire.ReloadNow) -> wire.Outcome:
        outcome = await self.reload("turnout reload")
        outcome.id = request.id
        return outcome


def bound(reserved: socket.socket) -> Address:
    """Where a socket really is: with the port that the kernel chose for 0."""
    if reserved.family == socket.AF_UNIX:
        return Address(path=reserved.getsockname())
    host, port = reserved.getsockname()[:2]
    return Address(host, port)
