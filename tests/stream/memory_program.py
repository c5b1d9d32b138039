"""A stream process alone in a process: prints its memory as it goes. `python -m tests.stream.memory_program ADDRESS`

It prints "following BYTES", reads a position from its input, and prints "reached BYTES PEAK ROWS" (PEAK: resident
memory at its highest in between) once that is applied.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import uvloop

from proxy.cache.clocks import Clocks, SourceClock
from proxy.measure.memory import resident_bytes
from proxy.stream.process import StreamProcess
from tests.servers.process import wait_until
from tests.stream.following import TABLES
from tests.stream.reading import rules_at


async def main(address: str) -> None:
    clocks = Clocks.create(1, 1)
    os.close(clocks.fd)
    process = StreamProcess(rules_at(address, TABLES), "main", clocks.source(0))
    following = asyncio.create_task(process.run())
    await asyncio.wait(
        [following, asyncio.create_task(asyncio.to_thread(dialogue, clocks.source(0), process))],
        return_when=asyncio.FIRST_COMPLETED,
    )
    following.cancel()


def dialogue(clock: SourceClock, process: StreamProcess) -> None:
    wait_until(lambda: clock.t0 > 0, 60)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
    print("following", resident_bytes(), flush=True)
    position = int(sys.stdin.readline())
    # Rows are counted a batch at a time.
    wait_until(lambda: clock.applied >= position and process.progress.rows > 0, 120)
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    print("reached", resident_bytes(), int(found[1]) * 1024, process.progress.rows, flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
