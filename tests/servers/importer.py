"""Starts Turnouts by forking a process that has imported it: a start costs a sixth of an execution's processor time.

The process that forks is one for each process of tests, executed at the first start, and ends with it. It runs this
module: a request with the arguments comes in over a socket, the child's number, or the status that it ended with, goes
out. Nothing here is known to Turnout: what is forked runs the same `main` as `python -m` would.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from proxy.cli.nursery import run_main

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = (
    "proxy.cli.main",
    "proxy.cli.supervisor",
    "proxy.cli.worker_main",
    "proxy.cli.stream_main",
    "proxy.front.worker",
)


class Forked:
    """A Turnout, with what `Process` uses of subprocess.Popen."""

    def __init__(self, importer: _Importer, pid: int) -> None:
        self.pid = pid
        self._importer = importer
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._importer.ask(poll=self.pid)
        return self._status

    def wait(self, timeout: float | None = None, /) -> int:
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(["turnout"], timeout or 0.0)
            time.sleep(0.01)
        return status

    def send_signal(self, number: int, /) -> None:
        if self.poll() is None:  # and as long as nobody asks again, the number is not given to another process
            os.kill(self.pid, number)


class _Importer:
    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from tests.servers import importer; importer.main()", str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self._close)

    def _close(self) -> None:
        self._channel.close()
        self._process.wait()

    def ask(self, **request: object) -> Any:
        self._channel.send(json.dumps(request).encode())
        answer = self._channel.recv(4096)
        if not answer:
            raise RuntimeError(f"the process that forks Turnouts ended with {self._process.wait()}")
        return json.loads(answer)


@functools.cache
def _importer() -> _Importer:
    return _Importer()


def start(module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
    """What `python -m module arguments..` would do, in a session of its own, with its output at the end of `log`."""
    importer = _importer()
    request = {"module": module, "arguments": [*arguments], "environment": {**environment}, "log": str(log)}
    return Forked(importer, importer.ask(start=request))


# -- in the process that forks -----------------------------------------------------------------------------------------


def _serve(channel: socket.socket) -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    while request := channel.recv(1 << 17):
        channel.send(json.dumps(_answer(channel, json.loads(request))).encode())


def _answer(channel: socket.socket, request: dict[str, Any]) -> int | None:
    if "poll" in request:
        pid, status = os.waitpid(request["poll"], os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None
    pid = os.fork()
    if pid == 0:
        channel.close()
        _become(**request["start"])
    return pid


def _become(module: str, arguments: list[str], environment: dict[str, str], log: str) -> NoReturn:
    def prepare() -> list[str]:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for fd, place in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(fd, place)
        os.close(nothing)
        os.close(output)
        os.environ.clear()
        os.environ.update(environment)
        return arguments

    run_main(module, prepare)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serve(socket.socket(fileno=int(sys.argv[1])))
