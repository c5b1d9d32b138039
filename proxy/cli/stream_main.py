"""A stream process: started by the supervisor, follows one cluster's binary log, gone when the link is.

python -m proxy.cli.stream_main --link-fd N --clocks-fd M [--log-level ..] [--log-format ..]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from proxy.cache.clocks import Clocks
from proxy.cli import link as wire
from proxy.cli.link import Link
from proxy.cli.process_name import name_process
from proxy.measure import log as logs
from proxy.measure.memory import resident_bytes
from proxy.rules.packed import unpack
from proxy.stream.process import StreamProcess

log = logging.getLogger("turnout.stream")

REPORT_S = 1.0


class _Life:
    """This process, from its orders to its end."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._link = Link(self)
        loop = asyncio.get_running_loop()
        self._orders: asyncio.Future[wire.Follow] = loop.create_future()
        self._end: asyncio.Future[None] = loop.create_future()

    async def run(self, link_fd: int) -> int:
        loop = asyncio.get_running_loop()
        channel = socket.socket(fileno=link_fd)
        channel.setblocking(False)
        await loop.create_unix_connection(lambda: self._link, sock=channel)
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        for number in (signal.SIGINT, signal.SIGHUP):  # the supervisor's business
            loop.add_signal_handler(number, lambda: None)
        first: list[asyncio.Future[Any]] = [self._orders, self._end]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            return 0
        orders = self._orders.result()
        logs.add_common(cluster=orders.cluster)
        clock = self._clocks.source(orders.source)
        process = StreamProcess(unpack(orders.rules), orders.cluster, clock)
        following = asyncio.create_task(process.run(), name="follow")
        reporting = asyncio.create_task(self._report(process), name="report")
        try:
            waited: list[asyncio.Future[None]] = [self._end, following, reporting]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in (following, reporting):
                if task.done():
                    task.result()
            return 0
        finally:
            clock.stop("the stream process ended")  # also by a defect
            for task in (following, reporting):
                task.cancel()
            await asyncio.gather(following, reporting, return_exceptions=True)

    async def _report(self, process: StreamProcess) -> None:
        while True:
            progress = process.progress
            if self._link.is_open and not self._link.is_full:
                self._link.send(
                    wire.StreamState(
                        progress.state,
                        progress.reason,
                        progress.connected,
                        progress.events,
                        progress.rows,
                        progress.transactions,
                        progress.unknown,
                        progress.incarnations,
                        resident_bytes(),
                        int(time.process_time() * 1e6),
                    )
                )
            await asyncio.sleep(REPORT_S)

    def _stop(self) -> None:
        if not self._end.done():
            self._end.set_result(None)

    # -- Receiver --------------------------------------------------------------------------------------------------

    def received(self, link: Link, message: wire.Message) -> None:
        if isinstance(message, wire.Follow) and not self._orders.done():
            self._orders.set_result(message)
            return
        log.error("unexpected message from the supervisor", extra={"type": type(message).__name__})

    def closed(self, link: Link) -> None:
        self._stop()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A stream process of Turnout; started by `turnout serve`.")
    parser.add_argument("--link-fd", type=int, required=True)
    parser.add_argument("--clocks-fd", type=int, required=True)
    parser.add_argument("--log-level", choices=logs.LEVELS, default="info")
    parser.add_argument("--log-format", choices=logs.FORMATS, default="auto")
    options = parser.parse_args(argv)
    logs.configure(options.log_level, options.log_format)
    name_process("turnout-stream")

    async def live() -> int:
        return await _Life(Clocks.open(options.clocks_fd)).run(options.link_fd)

    return uvloop.run(live())


if __name__ == "__main__":
    sys.exit(main())
