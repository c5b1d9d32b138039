"""A run: everything that one process started, and its end."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.servers import mariadb, watchdog
from tests.servers.haproxy import HAProxy
from tests.servers.mariadb import MariaDB
from tests.servers.memcached import Memcached
from tests.servers.ports import Ports
from tests.servers.process import Process
from tests.servers.tls import Authority, Certificate
from tests.servers.turnout import Turnout

P = TypeVar("P", bound=Process)


class Run:
    """Starts servers in one temporary folder, and ends them all in `close`, at exit, or when this process is killed.

    `keep` leaves the folder (logs, data) behind after an orderly end.
    """

    def __init__(self, keep: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="turnout-"))
        self.keep = keep
        self.marker = uuid.uuid4().hex
        self.environment = {**os.environ, watchdog.MARKER: self.marker}
        self._ports = Ports()
        self._processes: list[Process] = []
        self._template: Path | None = None
        self._authority: Authority | None = None
        self._numbers = itertools.count(1)
        self._closed = False
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, self.marker, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._watchdog.stdout is not None
        if self._watchdog.stdout.readline() != b"ready\n":
            raise RuntimeError("the watchdog did not start")
        atexit.register(self.close)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process of the run, latest first, and removes its folder. More than once is fine."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        for process in reversed(self._processes):
            process.kill()
        self._ports.close()
        if self.keep:
            left = watchdog.end(self.marker, str(self.folder))
            self._watchdog.kill()
        else:
            left = []
        assert self._watchdog.stdin is not None
        assert self._watchdog.stdout is not None
        self._watchdog.stdin.close()
        status = self._watchdog.wait(60)  # a slow disk takes its time with what is removed
        self._watchdog.stdout.close()
        if left or status == 1:
            raise RuntimeError(f"processes of run {self.marker} could not be ended")
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def port(self) -> int:
        return self._ports.free()

    def place(self, name: str) -> Path:
        """A new folder in the run's folder."""
        folder = self.folder / f"{next(self._numbers)}-{name}"
        folder.mkdir()
        return folder

    def started(self, process: P, wait: bool = True) -> P:
        """Starts a process of this run, which ends with the run (at once if it does not become ready)."""
        self._processes.append(process)
        process.launch()
        try:
            if wait:
                process.wait_ready()
        except BaseException:
            process.kill()
            raise
        return process

    @property
    def authority(self) -> Authority:
        """The run's certificate authority."""
        if self._authority is None:
            self._authority = Authority(self.place("tls"))
        return self._authority

    def mariadb(
        self,
        name: str,
        *,
        tls: Certificate | None = None,
        options: Sequence[str] = (),
        wait: bool = True,
    ) -> MariaDB:
        """A new MariaDB server with an empty database folder; `options` are further `--option=value` arguments."""
        if self._template is None:
            self._template = mariadb.make_template(self.place("template"), self.environment)
        folder = self.place(name)
        mariadb.copy_template(self._template, folder / "data")
        server_id = next(self._numbers)
        server = MariaDB(name, folder, self.port(), server_id, self.environment, tls=tls, options=options)
        return self.started(server, wait)

    def replica_of(self, primary: MariaDB, name: str = "", *, options: Sequence[str] = ()) -> MariaDB:
        """A new server that replicates `primary` from its first binary log on, read-only, caught up on return."""
        number = len(primary.replicas)
        replica = self.mariadb(name or f"{primary.name}-replica{number}", options=["--read-only=1", *options])
        replica.follow(primary)
        replica.catch_up()
        return replica

    def memcached(self, name: str = "memcached", size_mb: int = 64) -> Memcached:
        folder = self.place(name)
        return self.started(Memcached(name, folder, self.port(), self.environment, size_mb))

    def haproxy(self, backend_port: int, name: str = "haproxy", threads: int = 1, options: str = "") -> HAProxy:
        """HAProxy in TCP mode in front of one port of 127.0.0.1; `options` of its `server` line."""
        folder = self.place(name)
        return self.started(HAProxy(name, folder, self.port(), backend_port, self.environment, threads, options))

    def turnout(self, rules: str, name: str = "turnout", *, wait: bool = True, **environment: str) -> Turnout:
        """`turnout serve` on these rules; see `Turnout` for what is added to them."""
        folder = self.place(name)
        process = Turnout(name, folder, rules, self.port(), self.port(), {**self.environment, **environment})
        return self.started(process, wait)
