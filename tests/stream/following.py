"""A stream process in a thread of this one, on clocks of its own, with what a worker would ask them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

from proxy.back.tags import class_seed, key_slot, table_slot
from proxy.cache.clocks import Clocks, SourceClock, Stamp
from proxy.stream.process import Progress, StreamProcess
from tests.cache.stamped import stamped
from tests.servers import MariaDB
from tests.servers.process import wait_until
from tests.stream.reading import rules_for

TABLES = "{orders: {cache: [{by: [id]}, {by: [customer]}]}, notes: {cache: {by: [id]}}}"
DEADLINE_S = 30.0


class Memory:
    """The clocks of a host: they outlive stream processes."""

    def __init__(self) -> None:
        self.clocks = Clocks.create(1, 1)
        os.close(self.clocks.fd)

    def clock(self) -> SourceClock:
        return self.clocks.source(0, 0)


class Following:
    """with Following(server, memory) as stream: ... The process ends with the block, however it got on."""

    def __init__(self, server: MariaDB, memory: Memory, tables: str = TABLES) -> None:
        self.clock = memory.clock()
        self.process = StreamProcess(rules_for(server, tables), "main", memory.clock())
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.defect: BaseException | None = None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self.process.run())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.defect = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def __enter__(self) -> Following:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.defect is not None:
            raise AssertionError("the stream process failed") from self.defect

    @property
    def progress(self) -> Progress:
        return self.process.progress

    def until(self, condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
        def holds() -> bool:
            if self.defect is not None:
                raise AssertionError("the stream process failed") from self.defect
            return bool(condition())

        try:
            wait_until(holds, deadline_s, 0.005)
        except TimeoutError:
            raise AssertionError(f"not reached in {deadline_s:g} s: {self.progress}, {self.clock.reason}") from None

    def follows(self) -> None:
        """Until it follows, and a probe that was sent after this is covered."""
        self.until(lambda: self.clock.incarnation)
        self.covered()

    def covered(self) -> None:
        """Until everything that was acknowledged before is in W, and stamps may be taken."""
        now = time.perf_counter_ns()
        self.until(lambda: self.clock.incarnation and self.clock.t0 > now and self.clock.stamp() is not None)

    def stamp(self) -> Stamp:
        self.covered()
        found = self.clock.stamp()
        assert found is not None
        return found

    def touched_since(self, slot: int, stamp: Stamp) -> bool:
        return bool(self.clock.touched[slot] > stamp.position)

    def fresh(self, stamp: Stamp, *slots: int) -> bool:
        """May a value with this stamp and tags be served now?"""
        self.covered()
        return self.clock.fresh(stamped(stamp.incarnation, stamp.position, slots), time.perf_counter_ns(), 10**10)


def by_id(number: int) -> int:
    return key_slot(class_seed("shop", "orders", ["id"]), [b"%d" % number])


def by_customer(name: str) -> int:
    return key_slot(class_seed("shop", "orders", ["customer"]), [name.encode()])


ORDERS = table_slot("shop", "orders")
NOTES = table_slot("shop", "notes")
SCHEMA = (
    "CREATE DATABASE IF NOT EXISTS shop",
    "CREATE OR REPLACE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, customer VARCHAR(20), n INT)",
    "CREATE OR REPLACE TABLE shop.notes (id INT PRIMARY KEY, n INT)",
    "CREATE OR REPLACE TABLE shop.others (id INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)",
)
