"""One run of sysbench against one address, and what it reported."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

TABLE_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    user: str
    password: str
    database: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A sysbench script; `prepared` uses server-side prepared statements. `options` are the script's own."""

    script: str
    prepared: bool = False
    options: tuple[str, ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        if self.label:
            return self.label
        return f"{self.script} (prepared)" if self.prepared else self.script


@dataclass(frozen=True, slots=True)
class Report:
    queries: int  # statements, BEGIN and COMMIT included
    reads: int  # SELECTs
    queries_per_s: float
    errors: int  # ignored ones: deadlocks, lock wait timeouts
    p95_ms: float


class SysbenchFailed(RuntimeError):
    """sysbench ended with an error; the message has its output."""


def arguments(port: int, account: Account, workload: Workload, clients: int, seconds: int) -> list[str]:
    return [
        "sysbench",
        workload.script,
        "--db-driver=mysql",
        "--mysql-host=127.0.0.1",
        f"--mysql-port={port}",
        f"--mysql-user={account.user}",
        f"--mysql-password={account.password}",
        f"--mysql-db={account.database}",
        "--tables=1",
        f"--table-size={TABLE_ROWS}",
        f"--threads={clients}",
        f"--time={seconds}",
        f"--db-ps-mode={'auto' if workload.prepared else 'disable'}",
        "--rand-type=uniform",
        *workload.options,
    ]


def prepare(port: int, account: Account, rows: int = TABLE_ROWS) -> None:
    """Makes and fills the table `sbtest1`."""
    workload = Workload("oltp_point_select", options=(f"--table-size={rows}",))
    _run([*arguments(port, account, workload, 1, 0), "prepare"], 300)


def run(port: int, account: Account, workload: Workload, clients: int, seconds: int) -> Report:
    return parse(_run([*arguments(port, account, workload, clients, seconds), "run"], seconds + 120))


def _run(argv: list[str], timeout_s: float) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise SysbenchFailed(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
    return done.stdout


def parse(output: str) -> Report:
    """Reads sysbench 1.0's report. Raises SysbenchFailed when a figure is missing."""

    def find(pattern: str) -> re.Match[str]:
        found = re.search(pattern, output)
        if found is None:
            raise SysbenchFailed(f"no {pattern!r} in sysbench's output\n{output}")
        return found

    queries = find(r"\n    queries: +(\d+) +\(([\d.]+) per sec\.\)")
    return Report(
        queries=int(queries[1]),
        reads=int(find(r"\n        read: +(\d+)")[1]),
        queries_per_s=float(queries[2]),
        errors=int(find(r"\n    ignored errors: +(\d+)")[1]),
        p95_ms=float(find(r"\n +95th percentile: +([\d.]+)")[1]),
    )
