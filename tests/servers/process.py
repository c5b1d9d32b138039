"""One program of a run: its life, its log, and what it costs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_S = 30.0  # for a program to take notice of SIGSTOP


class NotReady(RuntimeError):
    """A program ended, or did not become ready in time; the message ends with the tail of its log."""


class Started(Protocol):
    """A process that was started; subprocess.Popen is one."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None, /) -> int: ...

    def send_signal(self, number: int, /) -> None: ...


class Process:
    """A program that is started in a session of its own (a Ctrl-C is for us), with its output in a log file.

    Subclasses say in `ready` when it can be used. `ready` raises OSError (or returns False) for "not yet".
    """

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, environment: Mapping[str, str], ready_s: float = 30.0
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.environment = dict(environment)
        self.ready_s = ready_s
        self._popen: Started | None = None
        self._paused = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} pid {self._popen.pid if self._popen else None}>"

    def ready(self) -> bool:
        return True

    @property
    def pid(self) -> int:
        if self._popen is None:
            raise NotReady(f"{self.name} was not started")
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        return None if self._popen is None else self._popen.poll()

    def launch(self) -> None:
        """Starts the program without waiting until it is ready."""
        if self.alive:
            raise RuntimeError(f"{self.name} runs already")
        self._popen = self._start()
        self._paused = False

    def _start(self) -> Started:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    def start(self) -> None:
        """Starts the program and waits until it is ready. Raises NotReady."""
        self.launch()
        self.wait_ready()

    def wait_ready(self, deadline_s: float | None = None) -> None:
        limit = self.ready_s if deadline_s is None else deadline_s
        last: list[OSError] = []

        def usable() -> bool:
            if not self.alive:
                raise NotReady(f"{self.name} ended with {self.returncode}\n{self.log_tail()}")
            try:
                return self.ready()
            except OSError as error:
                last[:] = [error]
                return False

        try:
            wait_until(usable, limit)
        except TimeoutError:
            raise NotReady(f"{self.name} was not ready after {limit:g} s: {last or ''}\n{self.log_tail()}") from None

    def stop(self, deadline_s: float = 20.0) -> int | None:
        """SIGTERM, then SIGKILL to it and its descendants after the deadline. Returns the exit status."""
        if self._popen is None:
            return None
        if self.alive:
            self.resume()
            self.signal(signal.SIGTERM)
            try:
                self._popen.wait(deadline_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._popen.wait()

    def kill(self) -> None:
        """kill -9 of the program and its descendants."""
        if self.alive:
            self._signal_all(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait()

    def _signal_all(self, number: signal.Signals) -> None:
        """To the program first, so that it does not replace the children that a signal ends."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def signal(self, number: signal.Signals) -> None:
        if self._popen is None or not self.alive:
            raise NotReady(f"{self.name} does not run")
        self._popen.send_signal(number)

    def pause(self) -> None:
        """SIGSTOP to the program and its descendants: connections stay open and nothing answers from now on.

        The signal only begins to stop a program: each of its threads goes on until it comes to take notice.
        """
        self._signal_all(signal.SIGSTOP)
        self._paused = True
        deadline = time.monotonic() + STOP_S
        while not all(_is_stopped(pid) for pid in self.pids()):
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} did not stop within {STOP_S:g} s of SIGSTOP")
            time.sleep(0.001)

    def resume(self) -> None:
        if self._paused:
            self._signal_all(signal.SIGCONT)
            self._paused = False

    def restart(self) -> None:
        """Stops the program if it runs, and starts it again at the same address with the same data."""
        self.stop()
        self.start()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])

    def pids(self) -> list[int]:
        """The program and all its descendants."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                stat = _stat(int(entry.name))
                if stat is not None:
                    parents.setdefault(int(stat[1]), []).append(int(entry.name))
        found, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += parents.get(pid, [])
        return found

    def named(self, name: str) -> list[int]:
        """Of the program and its descendants those that are called so now (`ps -o comm`)."""
        found = []
        for pid in self.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/comm").read_text() == f"{name}\n":
                    found.append(pid)
        return found

    def cpu_s(self) -> tuple[float, float]:
        """(user, system) CPU seconds used so far by the program and its living descendants."""
        used = [self.cpu_of(pid) for pid in self.pids()]
        return sum(user for user, _ in used), sum(system for _, system in used)

    @staticmethod
    def cpu_of(pid: int) -> tuple[float, float]:
        """(user, system) CPU seconds of one process; zeros when it is gone."""
        stat = _stat(pid)
        return (int(stat[11]) / TICKS_PER_S, int(stat[12]) / TICKS_PER_S) if stat else (0.0, 0.0)

    def memory_bytes(self) -> int:
        """Resident memory of the program and its descendants, shared pages shared out (PSS)."""
        total = 0
        for pid in self.pids():
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
        return total


def _is_stopped(pid: int) -> bool:
    """Whether no thread of the process runs; one that has ended does not."""
    states = []
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            states.append(thread.read_text().rpartition(")")[2].split()[0])
    return all(state in "TtZX" for state in states)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat after the command name (state is [0], ppid [1], utime [11], stime [12]); proc(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(") ")[2].split()


def runs(pid: int) -> bool:
    """False also where it has ended and its parent (of orphans: init) has not asked how."""
    stat = _stat(pid)
    return stat is not None and stat[0] != "Z"


def wait_until(condition: Callable[[], bool], deadline_s: float, every_s: float = 0.02) -> None:
    """Returns once `condition` holds. Raises TimeoutError after the deadline."""
    until = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not reached in {deadline_s:g} s")
        time.sleep(every_s)
