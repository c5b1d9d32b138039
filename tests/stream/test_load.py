"""Much at once: a transaction of a million rows in bounded memory, and many small ones without falling behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.servers import MariaDB, Run
from tests.stream.following import ORDERS, SCHEMA, Following, Memory, by_id
from tests.stream.reading import end_of_log

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[2]
MB = 1 << 20


@pytest.fixture(scope="module")
def server(run: Run) -> Iterator[MariaDB]:
    started = run.mariadb("loaded")
    started.create_service_account()
    started.execute(*SCHEMA)
    yield started
    started.kill()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_transaction_of_a_million_rows(server: MariaDB) -> None:
    argv = [sys.executable, "-m", "tests.stream.memory_program", server.address]
    with subprocess.Popen(
        argv, cwd=ROOT, env=server.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdin is not None
            assert program.stdout is not None
            word, before = program.stdout.readline().split()
            assert word == "following"
            server.execute(
                "INSERT INTO shop.orders SELECT seq, CONCAT('customer ', seq), seq FROM seq_1_to_1000000",
                "UPDATE shop.orders SET n = n + 1 WHERE id <= 100000",
                database="shop",
            )
            program.stdin.write(f"{end_of_log(server).position}\n")
            program.stdin.flush()
            word, _, peak, rows = program.stdout.readline().split()
        finally:
            program.kill()
    assert word == "reached"
    assert int(rows) > 10_000  # taken apart until there were too many keys
    assert int(peak) - int(before) < 64 * MB
    server.execute("TRUNCATE shop.orders")


def test_writers_do_not_leave_it_behind(server: MariaDB) -> None:
    """Four clients write as fast as they can for a while; what each wrote is in W soon after it was acknowledged."""
    with Following(server, Memory()) as stream:
        stream.follows()
        stamp = stream.stamp()
        stop = threading.Event()
        written = [0] * 4

        def write(number: int) -> None:
            connection = server.admin("shop")
            try:
                with connection.cursor() as cursor:
                    while not stop.is_set():
                        written[number] += 1
                        key = 4 * written[number] + number
                        cursor.execute(f"INSERT INTO orders VALUES ({key}, 'x', 0)")
            finally:
                connection.close()

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        lags_s = []
        connection = server.admin("shop")
        try:
            with connection.cursor() as cursor:
                for number in range(50):
                    key = -1 - number
                    cursor.execute(f"INSERT INTO orders VALUES ({key}, 'y', 0)")
                    began = time.perf_counter()
                    slot = by_id(key)
                    stream.until(partial(stream.touched_since, slot, stamp), 20)
                    lags_s.append(time.perf_counter() - began)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            connection.close()
        keys = [4 * n + number for number, count in enumerate(written) for n in (1, count // 2, count) if n]
        assert not any(stream.fresh(stamp, by_id(key)) for key in keys)
        assert stream.fresh(stamp, ORDERS)
        assert sum(written) > 100
        assert sorted(lags_s)[25] < 5.0
        assert stream.progress.transactions >= sum(written)
