"""What following a binary log costs and how soon it knows: `python -m bench.stream` prints a table.

Rows per second of CPU, reading a log over a connection with two of eight columns asked for, beside mysql-replication
reading the same log; and the time from a write's OK to its key being touched in the clocks, at 2,000 writes a second.
Beside it stands how long a process that does nothing else takes to answer a byte: on a busy machine both wait.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import socket
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.samples import Spread
from proxy.back.catalog import EMPTY
from proxy.back.catalog_loader import build, merge, queries
from proxy.back.tags import class_seed, key_slot
from proxy.cache.clocks import Clocks
from proxy.stream import source
from proxy.stream.process import StreamProcess
from proxy.stream.source import Follower, Place
from proxy.stream.tracker import Tracker
from proxy.stream.wanted import Wanted, wanted
from proxy.wire.login import Secret
from tests.servers import MariaDB, Process, Run
from tests.servers.process import wait_until
from tests.stream.reading import PASSWORD, USER, backend, end_of_log, rules_at

ROOT = Path(__file__).resolve().parents[1]
TABLES = "{orders: {cache: [{by: [id]}, {by: [customer_id]}]}}"
SCHEMA = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, customer_id INT NOT NULL,"
    " status VARCHAR(20) NOT NULL, note VARCHAR(400), total DECIMAL(10,2) NOT NULL, created DATETIME NOT NULL,"
    " updated TIMESTAMP NOT NULL, quantity SMALLINT)",
)
ROWS_BUDGET = 50_000  # per second of CPU
RATIO_BUDGET = 3.0
LAG_BUDGET_MS = 100.0
WRITES_PER_S = 2_000
_BATCH = 100  # rows of one transaction


@dataclass(frozen=True, slots=True)
class StreamResults:
    """Spreads are over rounds; the two readers take turns within each, and `ratio` is taken round by round."""

    rows: int  # in the log: half inserts, half updates
    ours: Spread  # rows per second of CPU
    theirs: Spread
    ratio: Spread
    writes_per_s: Spread
    lag_ms: Spread  # medians of each round
    lag_p99_ms: Spread
    lag_max_ms: Spread
    wake_p99_ms: Spread  # 99th percentile of an idle process's answers meanwhile: what the machine's load does
    cpu_share: Spread  # of the stream process, of one core, at that many writes


def measure(
    run: Run, rounds: int = 5, rows: int = 100_000, lag_s: float = 4.0, say: Callable[[str], None] = print
) -> StreamResults:
    server = run.mariadb("stream-bench")
    server.create_service_account()
    server.execute(*SCHEMA)
    start = end_of_log(server)
    _write_log(server, rows)
    end = end_of_log(server)
    ours, theirs = [], []
    for number in range(rounds):
        ours.append(rows / _ours_cpu_s(server, start, end, rows))
        theirs.append(rows / _theirs_cpu_s(server, start, end, rows))
        say(f"round {number + 1}: {ours[-1]:,.0f} rows per CPU second, mysql-replication {theirs[-1]:,.0f}")
    lags = [_lag(server, lag_s, say) for _ in range(rounds)]
    server.kill()
    return StreamResults(
        rows,
        Spread.of(ours),
        Spread.of(theirs),
        Spread.of(a / b for a, b in zip(ours, theirs, strict=True)),
        *(Spread.of(column) for column in zip(*lags, strict=True)),
    )


def markdown(results: StreamResults) -> str:
    """A table with what is wanted beside what was found."""

    def row(what: str, wanted: str, spread: Spread, unit: str, met: bool | None) -> str:
        found = f"{_number(spread.median)} ({_number(spread.low)}–{_number(spread.high)}){unit}"
        return f"| {what} | {wanted} | {found} | {'' if met is None else 'met' if met else '**not met**'} |"

    ours, ratio, lag = results.ours, results.ratio, results.lag_p99_ms
    return "\n".join(
        [
            "| what | budget | measured | |",
            "| --- | --- | --- | --- |",
            row("rows of a binary log, two of eight columns asked for, per second of CPU", f">= {ROWS_BUDGET:,}", ours,
                "", ours.median >= ROWS_BUDGET),
            row("the same log read by mysql-replication", "", results.theirs, "", None),
            row("ratio of the two", f">= {RATIO_BUDGET:g}", ratio, " x", ratio.median >= RATIO_BUDGET),
            row(f"writes per second meanwhile ({WRITES_PER_S:,} asked for)", "", results.writes_per_s, "", None),
            row("from a write's OK to its key being touched, median", "", results.lag_ms, " ms", None),
            row("the same, 99th percentile", f"<= {LAG_BUDGET_MS:g} ms", lag, " ms", lag.median <= LAG_BUDGET_MS),
            row("the same, longest", "", results.lag_max_ms, " ms", None),
            row("an idle process's answer to a byte, 99th percentile", "", results.wake_p99_ms, " ms", None),
            row("CPU of the stream process meanwhile, of one core", "", results.cpu_share, "", None),
        ]
    )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _write_log(server: MariaDB, rows: int) -> None:
    """Transactions of `_BATCH` rows: inserts, then updates of the same rows."""
    connection = server.admin("shop")
    try:
        with connection.cursor() as cursor:
            for first in range(1, rows // 2 + 1, _BATCH):
                cursor.execute(
                    "INSERT INTO orders SELECT seq, seq % 5000, 'paid', REPEAT('n', seq % 60), seq / 7, NOW(), NOW(),"
                    f" seq % 9 FROM seq_{first}_to_{first + _BATCH - 1}"
                )
            for first in range(1, rows // 2 + 1, _BATCH):
                cursor.execute(f"UPDATE orders SET quantity = 20 WHERE id BETWEEN {first} AND {first + _BATCH - 1}")
    finally:
        connection.close()


# -- CPU --------------------------------------------------------------------------------------------------------------


def _ours_cpu_s(server: MariaDB, start: Place, end: Place, rows: int) -> float:
    return uvloop.run(_follow(server, start, end, rows))


async def _follow(server: MariaDB, start: Place, end: Place, rows: int) -> float:
    connection = await source.connect(backend(server), USER, Secret.of_password(PASSWORD.encode()))
    try:
        known = await source.identity(connection)
        want = await _wanted(server)
        clocks = Clocks.create(1, 1)
        os.close(clocks.fd)
        clock = clocks.source(0)
        clock.begin(1, start.position)
        checksums = await source.prepare(connection, known)
        tracker = Tracker(clock, want, _unchanged)
        follower = Follower(connection, start, checksums)
        gc.collect()
        began = time.process_time()
        connection.dump(start, source.own_server_id())
        while follower.place.position < end.position:
            for packet in await follower.packets():
                event, position = follower.take(packet)
                tracker.feed(event, position)
        used = time.process_time() - began
    finally:
        connection.close()
    # An UPDATE has two images of one row.
    assert tracker.rows == rows, f"{tracker.rows} of {rows} rows"
    return used


async def _wanted(server: MariaDB) -> Wanted:
    connection = await source.connect(backend(server), USER, Secret.of_password(PASSWORD.encode()))
    try:
        answers = {what: await connection.query(sql) for what, sql in queries(["shop"]).items()}
    finally:
        connection.close()
    found = wanted(rules_at(server.address, TABLES), merge(EMPTY, "main", build("main", answers)), "main")
    assert len(found.tables["shop", "orders"].classes) == 2
    return found


def _unchanged() -> None:
    raise AssertionError("there is no DDL in the log")


def _theirs_cpu_s(server: MariaDB, start: Place, end: Place, rows: int) -> float:
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

    logging.getLogger("root").setLevel(logging.ERROR)  # it advises on settings
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        began = time.process_time()
        reader = BinLogStreamReader(
            connection_settings={"host": "127.0.0.1", "port": server.port, "user": USER, "passwd": PASSWORD},
            server_id=source.own_server_id(),
            log_file=start.file,
            log_pos=start.offset,
            resume_stream=True,
            only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        )
        found = sum(len(event.rows) for event in reader)
        used = time.process_time() - began
        reader.close()
    assert found == rows, f"{found} of {rows} rows"
    return used


# -- lag --------------------------------------------------------------------------------------------------------------


class _Echo:
    """A process that sends back what it gets; how long that takes is what scheduling costs anybody."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        argv = [sys.executable, "-c", "import os\nwhile b := os.read(0, 1): os.write(0, b)"]
        self._program = subprocess.Popen(argv, stdin=theirs.fileno())
        theirs.close()
        self._ours.sendall(b"x")
        self._ours.recv(1)  # it runs
        self._ours.setblocking(False)
        self._sent = self._last = 0.0  # the byte that is under way, if any, and the last one
        self.took_s: list[float] = []

    def look(self) -> None:
        """Take an answer that has come, and ask again every ten milliseconds."""
        now = time.perf_counter()
        if self._sent:
            try:
                self._ours.recv(1)
            except BlockingIOError:
                return
            self.took_s.append(now - self._sent)
            self._sent = 0.0
        elif now - self._last > 0.01:
            self._sent = self._last = now
            self._ours.send(b"x")

    def close(self) -> float:
        """99th percentile in ms."""
        self._ours.shutdown(socket.SHUT_WR)
        self._program.wait()
        self._ours.close()
        return 1000 * sorted(self.took_s)[int(len(self.took_s) * 0.99)]


def _lag(server: MariaDB, seconds: float, say: Callable[[str], None]) -> tuple[float, ...]:
    """One round with a stream process of its own: writes per second, median, 99th percentile and longest lag in ms, the
    99th percentile of an idle process's answers in ms, CPU share."""
    clocks = Clocks.create(1, 1)
    clock = clocks.source(0)
    argv = [sys.executable, "-m", "bench.stream", "--follow", server.address, "--clocks-fd", str(clocks.fd)]
    echo = _Echo()
    program = subprocess.Popen(argv, cwd=ROOT, env=server.environment, pass_fds=[clocks.fd])
    connection = server.admin("shop")
    try:
        wait_until(lambda: clock.t0 > 0, 30)
        touched, seed = clock.touched, class_seed("shop", "orders", ["id"])
        waiting: deque[tuple[int, int, float]] = deque()  # (slot, its W before, when acknowledged), in commit order
        lags: list[float] = []

        def look() -> None:
            while waiting and touched[waiting[0][0]] != waiting[0][1]:
                lags.append(time.perf_counter() - waiting.popleft()[2])

        with connection.cursor() as cursor:
            cursor.execute("SELECT MAX(id) FROM orders")
            first = int(cursor.fetchall()[0][0]) + 1
            cpu_before = sum(Process.cpu_of(program.pid))
            began = time.perf_counter()
            written = 0
            while time.perf_counter() - began < seconds:
                if written < (time.perf_counter() - began) * WRITES_PER_S:
                    key = first + written
                    slot = key_slot(seed, [b"%d" % key])
                    before = int(touched[slot])
                    cursor.execute(f"INSERT INTO orders VALUES ({key}, {key % 5000}, 'new', NULL, 1, NOW(), NOW(), 1)")
                    waiting.append((slot, before, time.perf_counter()))
                    written += 1
                else:
                    time.sleep(0.0001)
                look()
                echo.look()
            took = time.perf_counter() - began
            cpu = sum(Process.cpu_of(program.pid)) - cpu_before
            until = time.perf_counter() + 30
            while waiting and time.perf_counter() < until:
                look()
                time.sleep(0.0001)
        assert not waiting, f"{len(waiting)} writes were not seen"
    finally:
        connection.close()
        program.kill()
        program.wait()
        os.close(clocks.fd)
        wake_ms = echo.close()
    lags.sort()
    found = [1000 * lags[int(len(lags) * part)] for part in (0.5, 0.99)] + [1000 * lags[-1]]
    say(
        f"lag at {written / took:,.0f} writes/s: median {found[0]:.2f} ms, 99th {found[1]:.2f} ms, "
        f"longest {found[2]:.2f} ms; an idle process answers in {wake_ms:.2f} ms (99th)"
    )
    return written / took, *found, wake_ms, cpu / took


def follow(address: str, clocks_fd: int) -> None:
    """The stream process of one round."""
    clocks = Clocks.open(clocks_fd)

    async def run() -> None:
        await StreamProcess(rules_at(address, TABLES), "main", clocks.source(0)).run()

    uvloop.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.stream", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    parser.add_argument("--clocks-fd", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.follow:
        follow(arguments.follow, arguments.clocks_fd)
        return
    with Run() as run:
        print(markdown(measure(run, arguments.rounds, arguments.rows)))


if __name__ == "__main__":
    main()
