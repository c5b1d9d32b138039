"""sysbench as a client of Turnout: one run of one script, and every figure of its report that a test may hold it to."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from tests.servers.shop import APP, APP_PASSWORD, DATABASE


@dataclass(frozen=True, slots=True)
class Report:
    read: int  # SELECT statements
    write: int
    transactions: int  # events that ended well; for scripts without BEGIN one statement each
    ignored_errors: int  # deadlocks and lock wait timeouts: the event is begun again
    reconnects: int

    def __str__(self) -> str:
        return (
            f"{self.transactions} transactions, {self.read} reads, {self.write} writes, "
            f"{self.ignored_errors} ignored errors, {self.reconnects} reconnects"
        )


class Sysbench:
    """A sysbench that has been started. Its list of errors to ignore is left at the default: 1213, 1020, 1205."""

    def __init__(self, port: int, script: str, command: str, threads: int, seconds: int, options: list[str]) -> None:
        self._limit_s = seconds + 120
        argv = [
            "sysbench",
            script,
            "--db-driver=mysql",
            "--mysql-host=127.0.0.1",
            f"--mysql-port={port}",
            f"--mysql-user={APP}",
            f"--mysql-password={APP_PASSWORD}",
            f"--mysql-db={DATABASE}",
            f"--threads={threads}",
            f"--time={seconds}",
            *options,
            command,
        ]
        self._popen = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def output(self) -> str:
        """Waits until it ends. An error that it does not ignore ends it at once, with a FATAL line and a status."""
        try:
            output, _ = self._popen.communicate(timeout=self._limit_s)
        finally:
            self._popen.kill()
        assert self._popen.returncode == 0, output
        assert "FATAL" not in output, output
        return output

    def report(self) -> Report:
        """Waits until it ends; what it reported."""
        output = self.output()

        def figure(name: str) -> int:
            found = re.search(rf"^ +{name}: +(\d+)", output, re.MULTILINE)
            assert found is not None, f"no {name!r} in sysbench's output\n{output}"
            return int(found[1])

        return Report(
            read=figure("read"),
            write=figure("write"),
            transactions=figure("transactions"),
            ignored_errors=figure("ignored errors"),
            reconnects=figure("reconnects"),
        )
