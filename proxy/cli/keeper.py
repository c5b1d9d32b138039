"""The supervisor's history keeper: numbers in, an SQLite file out, in a thread of its own.

What cannot be written (a full disk) waits, for an hour at most, and the log says so. Serving goes on whatever happens
here.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from proxy.measure.history import HistoryFile, HistoryUnusable
from proxy.measure.recorder import Recorder, SeenServer
from proxy.measure.windows import Window

log = logging.getLogger("turnout.history")

LOOK_S = 1.0  # between looks at the servers' states
WRITE_S = 1.0  # between looks for minutes that are over
RETRY_S = 30.0


class Keeper:
    """`servers` gives every server once, as it is now."""

    def __init__(self, path: Path, max_shapes: int, servers: Callable[[], Iterable[SeenServer]]) -> None:
        self._path = path
        self._servers = servers
        self._recorder = Recorder(max_shapes)
        self._thread = ThreadPoolExecutor(1, "history")
        self._file: HistoryFile | None = None
        self._failed = False
        self._looked = 0.0
        self._writing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises HistoryUnusable."""
        loop = asyncio.get_running_loop()
        self._file = await loop.run_in_executor(self._thread, functools.partial(HistoryFile, self._path))

    @property
    def max_shapes(self) -> int:
        return self._recorder.max_shapes

    @max_shapes.setter
    def max_shapes(self, limit: int) -> None:
        self._recorder.max_shapes = limit  # from the next minute on

    def add(self, window: Window) -> None:
        """Count a worker's window in; once a second, that is, and how servers do."""
        now = time.time()
        self._recorder.add(window, now)
        if abs(now - self._looked) >= LOOK_S:  # the clock may be set back
            self._looked = now
            self._recorder.look(self._servers(), now)

    async def run(self) -> None:
        """Write the minutes that are over, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_S if not self._failed else RETRY_S)
            self._writing = asyncio.create_task(self._write(), name="write the history")
            await asyncio.shield(self._writing)  # what has begun must be known to have ended, or it is written twice

    async def close(self) -> None:
        """Write what was counted so far."""
        if self._writing is not None:
            await self._writing
        self._recorder.end_minute()
        await self._write()
        if self._file is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._file.close)
        self._thread.shutdown(wait=False)

    async def _write(self) -> None:
        assert self._file is not None
        while (minute := self._recorder.due(time.time())) is not None:
            before = time.perf_counter()
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._file.write, minute)
            except HistoryUnusable as error:
                self._failed = True
                log.error("history not written", extra={"problem": error.message, "lost": self._recorder.lost})
                return
            if self._failed:
                self._failed = False
                log.info("history written again", extra={"lost": self._recorder.lost})
            self._recorder.written(minute)
            log.debug("history", extra={"shapes": len(minute.shapes), "ms": (time.perf_counter() - before) * 1000})
