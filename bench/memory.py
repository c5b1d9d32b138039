"""What clients cost in the proxy's memory: idle ones, and one that reads a large result slowly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pymysql

from bench.topology import Target
from tests.servers import Process

SETTLE_S = 1.0
ROW_BYTES = 10_000
SLOW_ROWS = 500
SLOW_PAUSE_S = 0.01  # 1 MB/s for five seconds, in which the server could send everything


def idle_bytes_per_client(target: Target, clients: int) -> float:
    """Proportional memory of the proxy's processes per client that logged in, ran one statement, and now idles."""
    proxy = _proxy(target)
    with ExitStack() as stack:
        _open(target, 50, stack)  # grows pools, plans and buffers that are not any one client's
        time.sleep(SETTLE_S)
        before = proxy.memory_bytes()
        _open(target, clients, stack)
        time.sleep(SETTLE_S)
        return (proxy.memory_bytes() - before) / clients


def _open(target: Target, clients: int, stack: ExitStack) -> None:
    for _ in range(clients):
        connection = stack.enter_context(_connect(target))
        with connection.cursor() as cursor:
            cursor.execute("SELECT c FROM sbtest1 WHERE id = 1")
            cursor.fetchall()


def slow_reader_peak_bytes(target: Target, result_bytes: int) -> int:
    """How far the proxy's memory rises above where it was while one client reads a large result, slowly at first."""
    proxy = _proxy(target)
    rows = -(-result_bytes // ROW_BYTES)
    with _connect(target, cursorclass=pymysql.cursors.SSCursor) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT c FROM sbtest1 WHERE id = 1")
        cursor.fetchall()
        time.sleep(SETTLE_S)
        with Peak(proxy.memory_bytes) as peak:
            cursor.execute(f"SELECT REPEAT('x', {ROW_BYTES}) FROM seq_1_to_{rows}")
            seen = 0
            while (row := cursor.fetchone()) is not None:
                if len(row[0]) != ROW_BYTES:
                    raise RuntimeError(f"row {seen} of {target.name} has {len(row[0])} bytes, not {ROW_BYTES}")
                seen += 1
                if seen <= SLOW_ROWS:
                    time.sleep(SLOW_PAUSE_S)
        if seen != rows:
            raise RuntimeError(f"{target.name} gave {seen} rows of {rows}")
    return peak.rise


class Peak:
    """Samples a quantity in a thread until the block ends; `rise` is its highest value above its first."""

    def __init__(self, quantity: Callable[[], int], every_s: float = 0.02) -> None:
        self._quantity = quantity
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._first = self._highest = 0

    @property
    def rise(self) -> int:
        return self._highest - self._first

    def __enter__(self) -> Peak:
        self._first = self._highest = self._quantity()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            self._highest = max(self._highest, self._quantity())


def _connect(target: Target, **options: object) -> pymysql.connections.Connection:
    account = target.account
    return pymysql.connect(
        host="127.0.0.1",
        port=target.port,
        user=account.user,
        password=account.password,
        database=account.database,
        read_timeout=120,
        autocommit=True,  # otherwise each idle client would be in a transaction, and hold a connection
        **options,
    )


def _proxy(target: Target) -> Process:
    if target.proxy is None:
        raise ValueError(f"{target.name} has no proxy to measure")
    return target.proxy
