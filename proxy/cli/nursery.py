"""Starts workers and stream processes: forked from a process that has imported all they need, or executed.

A process that is forked there runs after milliseconds, where one that is executed imports for more than half a second,
and all of them share the memory of what was imported. The nursery itself is forked by `turnout serve` before there is a
thread or an event loop, does nothing but fork, and ends with the supervisor. It forks twice: the process between ends
at once, and so the supervisor, which adopts orphans, is the parent that hears of the child's end, whatever becomes of
the nursery. Where there is none (another system than Linux, or it was killed), processes are executed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, Protocol

from proxy.cli.process_name import adopt_orphans, name_process

log = logging.getLogger("turnout.supervisor")

ANSWER_S = 60.0  # imports of a cold start on a busy machine included
_REQUEST_BYTES = 65536
_MAX_FDS = 8
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the supervisor's business; children get them anew


class ChildProcess(Protocol):
    """What the supervisor needs of one; asyncio.subprocess.Process is one, too."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...

    def send_signal(self, number: int, /) -> None: ...


class Nursery:
    """See the module. One that was not opened executes everything."""

    def __init__(self) -> None:
        self._modules: frozenset[str] = frozenset()
        self._pid = 0
        self._channel: socket.socket | None = None
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    def open(cls, modules: Sequence[str]) -> Nursery:
        """Fork it; children will be able to run the `main` of these modules.

        Only before this process has threads or a running loop: a fork has neither.
        """
        nursery = cls()
        if not hasattr(os, "pidfd_open") or threading.active_count() > 1 or not adopt_orphans():
            return nursery
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _live(theirs, modules)
        theirs.close()
        ours.setblocking(False)
        nursery._modules, nursery._pid, nursery._channel = frozenset(modules), pid, ours
        return nursery

    @property
    def is_open(self) -> bool:
        return self._channel is not None

    @property
    def pid(self) -> int:
        """0 when there is none."""
        return self._pid

    def close(self) -> None:
        """End it. Its children live on."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    async def spawn(self, command: Sequence[str], fds: Mapping[str, int]) -> ChildProcess:
        """Start `command`, with an option for each of `fds` (option -> descriptor), in a session of its own.

        `python -m` of a module that the nursery knows is forked, anything else executed. Raises OSError.
        """
        if self._channel is not None and tuple(command[:2]) == (sys.executable, "-m") and command[2] in self._modules:
            try:
                return await self._fork(command[2], command[3:], fds)
            except (OSError, TimeoutError) as error:
                log.warning("no process can be forked, executing it", extra={"error": str(error) or "no answer"})
        argv = [*command]
        for option, fd in fds.items():
            argv += [option, str(fd)]
        # A session of its own: Ctrl-C at the terminal is for the supervisor, which then drains the workers.
        return await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, pass_fds=tuple(fds.values()), start_new_session=True
        )

    async def _fork(self, module: str, arguments: Sequence[str], fds: Mapping[str, int]) -> ChildProcess:
        async with self._one_at_a_time:
            channel = self._channel
            if channel is None:
                raise OSError("the nursery has ended")
            request = json.dumps({"module": module, "arguments": [*arguments], "options": [*fds]}).encode()
            try:
                socket.send_fds(channel, [request], list(fds.values()))
                number = int(await _answer(channel))
            except BaseException:  # an answer that comes later would be taken for that to the next request
                self.close()
                raise
            if number < 0:
                raise OSError(-number, os.strerror(-number))
            return _Forked(number)


async def _answer(channel: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(channel.fileno(), ready)
    try:
        async with asyncio.timeout(ANSWER_S):
            await readable
    finally:
        loop.remove_reader(channel.fileno())
    answer = channel.recv(64)
    if not answer:
        raise OSError("the nursery has ended")
    return answer


class _Forked:
    """A child that this process did not start itself, but is the parent of."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = loop.create_future()
        self._fd = os.pidfd_open(pid)
        loop.add_reader(self._fd, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended.set_result(self.returncode)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int, /) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._fd, number)


# -- in the nursery and its children -----------------------------------------------------------------------------------


def _live(channel: socket.socket, modules: Sequence[str]) -> NoReturn:
    """The nursery's life: import, then fork for every request, until the supervisor is gone."""
    try:
        os.setsid()
        for number in _PASSED_ON:
            signal.signal(number, signal.SIG_IGN)
        name_process("turnout-nursery")
        for module in modules:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()  # collections in children would write to, and so copy, the pages of what is there already
        while True:
            request, fds, _, _ = socket.recv_fds(channel, _REQUEST_BYTES, _MAX_FDS)
            if not request:
                os._exit(0)
            answer = _fork_twice(channel, json.loads(request), fds)
            for fd in fds:
                os.close(fd)
            channel.send(str(answer).encode())
    except BrokenPipeError:
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _fork_twice(channel: socket.socket, request: dict[str, object], fds: Sequence[int]) -> int:
    """The new process's id; the negated number of the error when there is none."""
    reading, writing = os.pipe()
    try:
        between = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        return -(error.errno or 1)
    if between == 0:
        try:
            child = os.fork()
        except OSError as error:
            child = -(error.errno or 1)
        if child == 0:
            os.close(reading)
            os.close(writing)
            channel.close()
            _become(request, fds)
        os.write(writing, str(child).encode())
        os._exit(0)
    os.close(writing)
    answer = os.read(reading, 64)
    os.close(reading)
    os.waitpid(between, 0)
    return int(answer)


def _become(request: dict[str, object], fds: Sequence[int]) -> NoReturn:
    def prepare() -> list[str]:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        arguments, options = request["arguments"], request["options"]
        assert isinstance(arguments, list)
        assert isinstance(options, list)
        for option, fd in zip(options, fds, strict=True):
            arguments += [option, str(fd)]
        return arguments

    run_main(str(request["module"]), prepare)


def run_main(module: str, prepare: Callable[[], list[str]]) -> NoReturn:
    """In a process that was forked: do what `python -m module arguments..` would, and end with its exit code, whatever
    happens. `prepare` gives the arguments."""
    code: int | str | None = 1
    try:
        for number in _PASSED_ON:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        sys.argv = [module, *prepare()]
        code = importlib.import_module(module).main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):  # nobody reads what is written any more
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else bool(code))
